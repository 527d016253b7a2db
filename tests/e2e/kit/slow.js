/* slow.js — a peer behind a thin line.
 * Why:    a reader that only pauses has a deep receive buffer, and everything
 *         in it is old. A thin line has none: this one has a small SO_RCVBUF,
 *         which node cannot set, and reads a slice at a time. So a few lines
 *         of perl (essential in Debian) hold the socket. */
'use strict';

const { spawn } = require('node:child_process');
const { Duplex } = require('node:stream');
const { httpBytes, RawSocket, RawWs } = require('./raw');

/* host port receive-buffer bytes-a-slice slices-a-second */
const LINE = `
use strict;
use Socket;
my ($host, $port, $room, $slice, $per_second) = @ARGV;
socket(my $s, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($s, SOL_SOCKET, SO_RCVBUF, pack('l', $room)) or die "rcvbuf: $!";
connect($s, sockaddr_in($port, inet_aton($host))) or die "connect: $!";
my $up = '';
vec($up, fileno(STDIN), 1) = 1;
while (1) {
    my $ready = $up;
    if (select($ready, undef, undef, 1 / $per_second) > 0) {
        my $n = sysread(STDIN, my $bytes, 65536);
        last unless $n;
        while (length $bytes) {
            my $done = syswrite($s, $bytes);
            exit unless $done;
            substr($bytes, 0, $done) = '';
        }
        next;
    }
    my $down = '';
    vec($down, fileno($s), 1) = 1;
    next unless select($down, undef, undef, 0) > 0;
    last unless sysread($s, my $bytes, $slice);
    syswrite(STDOUT, $bytes);
}
`;

const SLICES = 8;

/* A socket to the gateway that takes `bytesPerSecond` (8,000: 64 kbit/s). */
function thinLine(gw, { bytesPerSecond = 8000, receiveBuffer = 4096 } = {}) {
    const child = spawn('perl', ['-e', LINE, gw.host, String(gw.port),
        String(receiveBuffer), String(Math.round(bytesPerSecond / SLICES)),
        String(SLICES)], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.on('error', () => {});
    const line = Duplex.from({ readable: child.stdout, writable: child.stdin });
    child.once('close', () => line.destroy());
    line.once('close', () => child.kill('SIGKILL'));
    for (const handle of [child, child.stdin, child.stdout]) handle.unref();
    return line;
}

/* Event streams and WebSockets over such a line, subscribed to `channel`. */
class SlowSocket extends RawSocket {
    static async connect(gw, options) {
        return new this(thinLine(gw, options));
    }

    static async open(gw, channel, options) {
        const raw = await this.connect(gw, options);
        raw.write(httpBytes('GET',
            `/sse?channel=${encodeURIComponent(channel)}`));
        await raw.until((data) => data.includes('text/event-stream'),
            'the stream');
        return raw;
    }
}

class SlowWs extends RawWs {
    static async connect(gw, options) {
        return new this(thinLine(gw, options));
    }

    static async open(gw, channel, options) {
        const ws = await super.open(gw, options);
        ws.send(JSON.stringify({ subscribe: { channel }, id: 2 }));
        await ws.frame((f) => f.text.includes('"id":2'), 'subscribed');
        return ws;
    }
}

module.exports = { SlowSocket, SlowWs, thinLine };
