/* raw.js — bytes on a TCP socket, HTTP answers and WebSocket frames by hand.
 * Why:    what a well-behaved library never sends must be sent by somebody. */
'use strict';

const crypto = require('node:crypto');
const net = require('node:net');
const { withDeadline, waitFor } = require('./wait');

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

class RawSocket {
    static async connect(gw, options = {}) {
        const socket = net.connect({
            host: gw.host, port: gw.port, noDelay: true, ...options,
        });
        socket.unref();
        const raw = new this(socket);
        await withDeadline(new Promise((resolve, reject) => {
            socket.once('connect', resolve);
            socket.once('error', reject);
        }), 'TCP connect');
        return raw;
    }

    constructor(socket) {
        this.socket = socket;
        this.chunks = [];
        this.bytes = Buffer.alloc(0);
        this.over = false;
        this.closed = new Promise((resolve) => {
            socket.once('close', () => { this.over = true; resolve(); });
        });
        socket.on('error', (error) => { this.error = error; });
        socket.on('data', (chunk) => this.chunks.push(chunk));
    }

    /* Everything received and not yet consumed. */
    get data() {
        if (this.chunks.length) {
            this.bytes = Buffer.concat([this.bytes, ...this.chunks]);
            this.chunks = [];
        }
        return this.bytes;
    }

    consume(count) { this.bytes = this.data.subarray(count); }

    write(data) { return this.socket.write(data); }

    /* Send in pieces that leave as packets of their own. */
    async writePieces(data, size = 1) {
        const bytes = Buffer.from(data);
        for (let at = 0; at < bytes.length; at += size) {
            await new Promise((resolve) => {
                this.socket.write(bytes.subarray(at, at + size), resolve);
            });
            await new Promise((resolve) => setImmediate(resolve));
        }
    }

    destroy() { this.socket.destroy(); }

    until(fits, what, timeoutMs) {
        return waitFor(() => fits(this.data) || this.giveUp(what),
            () => `${what}; has ${JSON.stringify(
                this.data.toString('latin1').slice(0, 500))}`, timeoutMs)
            .then((result) => {
                if (result instanceof Error) throw result;
                return result;
            });
    }

    giveUp(what) {
        if (!this.over || this.chunks.length) return false;
        return new Error(`connection over while waiting for ${what}; has ` +
            JSON.stringify(this.data.toString('latin1').slice(0, 500)));
    }

    /* Wait until the peer has ended the connection. */
    async untilClosed(what, timeoutMs) {
        await withDeadline(this.closed, `closed by the server: ${what}`,
            timeoutMs);
        return this.data;
    }

    /* `count` HTTP answers; `heads` are the indexes answered without body. */
    async responses(count, heads = []) {
        const got = await this.until((data) => {
            const all = parseResponses(data, heads, count);
            return all.list.length >= count && all;
        }, `${count} HTTP answers`);
        this.consume(got.used);
        return got.list;
    }

    async response() { return (await this.responses(1))[0]; }
}

function parseHead(text) {
    const lines = text.split('\r\n');
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(lines[0]);
    if (!status) throw new Error(`no HTTP answer: ${lines[0]}`);
    const headers = {};
    for (const line of lines.slice(1)) {
        const colon = line.indexOf(':');
        headers[line.slice(0, colon).toLowerCase()] =
            line.slice(colon + 1).trim();
    }
    return { status: Number(status[1]), headers };
}

/* A chunked body: { body, used } or null while incomplete. */
function parseChunks(data, from) {
    const parts = [];
    let at = from;
    for (;;) {
        const eol = data.indexOf('\r\n', at);
        if (eol < 0) return null;
        const size = parseInt(data.toString('latin1', at, eol), 16);
        if (data.length < eol + 4 + size) return null;
        parts.push(data.subarray(eol + 2, eol + 2 + size));
        at = eol + 4 + size;
        if (size === 0) return { body: Buffer.concat(parts), used: at };
    }
}

function parseBody(data, from, head, isHead) {
    const empty = isHead || head.status < 200 || head.status === 204 ||
        head.status === 304;
    if (empty) return { body: Buffer.alloc(0), used: from };
    if (head.headers['transfer-encoding'] === 'chunked') {
        return parseChunks(data, from);
    }
    const length = Number(head.headers['content-length'] || 0);
    if (data.length < from + length) return null;
    return { body: data.subarray(from, from + length), used: from + length };
}

/* The complete answers at the start of `data`, at most `most`:
 * { list, used }. */
function parseResponses(data, heads = [], most = Infinity) {
    const list = [];
    let used = 0;
    while (list.length < most) {
        const end = data.indexOf('\r\n\r\n', used);
        if (end < 0) break;
        const head = parseHead(data.toString('latin1', used, end));
        const rest = parseBody(data, end + 4, head,
            heads.includes(list.length));
        if (!rest) break;
        used = rest.used;
        list.push({ ...head, text: rest.body.toString() });
    }
    return { list, used };
}

/* An HTTP/1.1 request as bytes. */
function httpBytes(method, path, headers = {}, body = '') {
    const all = { Host: 'localhost', ...headers };
    const lines = Object.entries(all).map(([k, v]) => `${k}: ${v}\r\n`);
    return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
}

/* A POST to the server API as bytes. */
function apiBytes(gw, method, body, headers = {}) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return httpBytes('POST', `/api/${method}`, {
        'X-API-Key': gw.key, 'Content-Length': Buffer.byteLength(text),
        ...headers,
    }, text);
}

/* One client frame. Options: fin, mask, rsv (0..7), length (what the header
 * claims), wide (bytes of the length field: 1, 2 or 8). */
function frame(opcode, payload = '', options = {}) {
    const { fin = true, mask = true, rsv = 0 } = options;
    const body = Buffer.from(payload);
    const length = options.length ?? body.length;
    const wide = options.wide ?? (length < 126 ? 1 : length < 65536 ? 2 : 8);
    const head = Buffer.alloc(1 + (wide === 1 ? 1 : 1 + wide));
    head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
    if (wide === 1) head[1] = length;
    if (wide === 2) { head[1] = 126; head.writeUInt16BE(length, 2); }
    if (wide === 8) {
        head[1] = 127;
        head.writeBigUInt64BE(BigInt(length), 2);
    }
    if (!mask) return Buffer.concat([head, body]);
    head[1] |= 0x80;
    const key = crypto.randomBytes(4);
    const masked = Buffer.from(body);
    for (let i = 0; i < masked.length; i++) masked[i] ^= key[i & 3];
    return Buffer.concat([head, key, masked]);
}

/* The complete server frames in `data`: { list, used }. */
function parseFrames(data) {
    const list = [];
    let at = 0;
    while (data.length >= at + 2) {
        let length = data[at + 1] & 0x7f;
        let head = 2;
        if (length === 126) {
            head = 4;
            if (data.length < at + head) break;
            length = data.readUInt16BE(at + 2);
        } else if (length === 127) {
            head = 10;
            if (data.length < at + head) break;
            length = Number(data.readBigUInt64BE(at + 2));
        }
        if (data.length < at + head + length) break;
        const payload = data.subarray(at + head, at + head + length);
        list.push({
            fin: (data[at] & 0x80) !== 0, rsv: (data[at] >> 4) & 7,
            opcode: data[at] & 15, masked: (data[at + 1] & 0x80) !== 0,
            payload, text: payload.toString(),
        });
        at += head + length;
    }
    return { list, used: at };
}

function upgradeHeaders(more = {}) {
    return {
        Upgrade: 'websocket', Connection: 'Upgrade',
        'Sec-WebSocket-Key': crypto.randomBytes(16).toString('base64'),
        'Sec-WebSocket-Version': '13', ...more,
    };
}

function acceptKey(key) {
    return crypto.createHash('sha1').update(key + GUID).digest('base64');
}

/* A WebSocket on a bare socket: after the upgrade, and after `connect` when
 * the test wants a session. */
class RawWs extends RawSocket {
    static async open(gw, { path = '/connection/websocket', connect = true,
        ...options } = {}) {
        const ws = await this.connect(gw, options);
        ws.list = [];
        ws.write(httpBytes('GET', path, upgradeHeaders()));
        const head = await ws.until((data) => {
            const end = data.indexOf('\r\n\r\n');
            return end > 0 && { end };
        }, '101 Switching Protocols');
        const text = ws.data.toString('latin1', 0, head.end);
        if (!text.startsWith('HTTP/1.1 101')) throw new Error(text);
        ws.consume(head.end + 4);
        if (connect) {
            ws.send('{"connect":{},"id":1}');
            await ws.frame((f) => f.text.includes('"connect"'),
                'connect reply');
        }
        return ws;
    }

    send(text) { return this.write(frame(1, text)); }

    /* The first frame that fits and was not yet taken. */
    frame(fits, what, timeoutMs) {
        return this.until((data) => {
            const got = parseFrames(data);
            this.consume(got.used);
            this.list.push(...got.list);
            const at = this.list.findIndex(fits);
            return at >= 0 && this.list.splice(at, 1)[0];
        }, what, timeoutMs);
    }

    /* The code of the close frame; null when the connection just ended. */
    async closeCode(what, timeoutMs) {
        const end = await this.until((data) => {
            const got = parseFrames(data);
            this.consume(got.used);
            this.list.push(...got.list);
            return this.list.find((f) => f.opcode === 8) ||
                (this.over && 'over');
        }, `close: ${what}`, timeoutMs);
        if (end === 'over' || end.payload.length < 2) return null;
        return end.payload.readUInt16BE(0);
    }
}

module.exports = {
    RawSocket, RawWs, parseResponses, httpBytes, apiBytes, frame, parseFrames,
    upgradeHeaders, acceptKey,
};
