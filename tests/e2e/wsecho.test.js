/* wsecho.test.js — the WebSocket transport under a conformance load, by the
 * echo tool: what goes in comes out, however it was cut. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const crypto = require('node:crypto');
const path = require('node:path');
const WebSocket = require('ws');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(90000) };
const BIN = path.join(path.dirname(kit.BIN), 'wsecho');
const PATH = '/echo';
const { frame } = kit;
const TEXT = 1;
const BINARY = 2;

async function startEcho(...args) {
    const port = await kit.freePort();
    const proc = kit.launch(BIN, ['-p', String(port), ...args],
        { env: kit.cleanEnv() });
    const echo = {
        host: kit.HOST, port, proc,
        async stop() {
            proc.child.kill('SIGTERM');
            await kit.withDeadline(proc.exited, 'wsecho ends', 20000);
            assert.strictEqual(proc.end.code, 0, proc.stderr);
            assert.doesNotMatch(proc.stderr, kit.SANITIZER);
        },
    };
    await kit.waitFor(async () => {
        const raw = await kit.RawSocket.connect(echo);
        raw.destroy();
        return true;
    }, () => `wsecho listens: ${proc.stderr}`);
    return echo;
}

describe('wsecho', LIMIT, () => {
    let echo;
    before(async () => { echo = await startEcho(); });
    after(() => echo?.stop());

    async function rawWs(t, to = echo) {
        const ws = await kit.RawWs.open(to, { path: PATH, connect: false });
        kit.defer(t, () => ws.destroy());
        return ws;
    }

    async function expect(ws, opcode, payload) {
        const f = await ws.frame((x) => x.opcode < 8, 'echo');
        assert.strictEqual(f.opcode, opcode);
        assert.ok(f.fin && !f.masked && f.rsv === 0);
        assert.ok(f.payload.equals(Buffer.from(payload)),
            `${f.payload.length} bytes back`);
    }

    const SIZES = [0, 1, 2, 124, 125, 126, 127, 128, 4095, 4096, 4097, 65534,
        65535, 65536, 65537, 300000, 1 << 20];

    for (const size of SIZES) {
        it(`${size} bytes, text and binary`, async (t) => {
            const ws = await rawWs(t);
            const text = 'x'.repeat(size);
            ws.write(frame(TEXT, text));
            await expect(ws, TEXT, text);
            const bytes = crypto.randomBytes(size);
            ws.write(frame(BINARY, bytes));
            await expect(ws, BINARY, bytes);
        });
    }

    it('fragments of every size, empty ones included', async (t) => {
        const ws = await rawWs(t);
        const bytes = crypto.randomBytes(2000);
        for (const size of [1, 7, 125, 126, 999]) {
            const frames = [frame(BINARY, '', { fin: false })];
            for (let at = 0; at < bytes.length; at += size) {
                frames.push(frame(0, bytes.subarray(at, at + size),
                    { fin: false }), frame(9, 'ping'));
            }
            frames.push(frame(0, ''));
            ws.write(Buffer.concat(frames));
            await expect(ws, BINARY, bytes);
        }
    });

    it('frames cut into packets at every place', async (t) => {
        const ws = await rawWs(t);
        const bytes = crypto.randomBytes(300);
        const whole = frame(BINARY, bytes);
        for (let cut = 1; cut < whole.length; cut++) {
            await ws.writePieces(whole.subarray(0, cut), cut);
            ws.write(whole.subarray(cut));
            await expect(ws, BINARY, bytes);
        }
    });

    it('many messages in one packet keep their order', async (t) => {
        const ws = await rawWs(t);
        const texts = Array.from({ length: 3000 }, (_, i) => `message ${i}`);
        ws.write(Buffer.concat(texts.map((x) => frame(TEXT, x))));
        for (const text of texts) await expect(ws, TEXT, text);
    });

    it('UTF-8 in fragments cut inside characters', async (t) => {
        const ws = await rawWs(t);
        const text = '\u00e9\u20ac\u{1f600}\u07ff\uffff'.repeat(50);
        const bytes = Buffer.from(text);
        const frames = [...bytes].map((b, i) => frame(i ? 0 : TEXT,
            Buffer.from([b]), { fin: i === bytes.length - 1 }));
        ws.write(Buffer.concat(frames));
        await expect(ws, TEXT, text);
    });

    it('the package ws agrees, both ways', async (t) => {
        const socket = new WebSocket(`ws://${kit.HOST}:${echo.port}${PATH}`);
        kit.defer(t, () => socket.terminate());
        await kit.withDeadline(new Promise((resolve, reject) => {
            socket.once('open', resolve);
            socket.once('error', reject);
        }), 'open');
        const back = [];
        socket.on('message', (data, isBinary) => back.push([data, isBinary]));
        const sent = [];
        for (let i = 0; i < 200; i++) {
            const bytes = crypto.randomBytes(i * 37);
            sent.push([bytes, true], [Buffer.from(`t${i}`), false]);
            socket.send(bytes, { binary: true });
            socket.send(`t${i}`);
        }
        await kit.waitFor(() => back.length === sent.length, 'all back');
        assert.deepStrictEqual(back, sent);
        socket.close(4321, 'done');
        const code = await kit.withDeadline(new Promise((resolve) =>
            socket.once('close', resolve)), 'closed');
        assert.strictEqual(code, 4321);
    });

    for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011,
        1012, 1013, 1014, 3000, 3999, 4000, 4999]) {
        it(`close ${code} is answered with itself`, async (t) => {
            const ws = await rawWs(t);
            const payload = Buffer.alloc(2);
            payload.writeUInt16BE(code);
            ws.write(frame(8, Buffer.concat([payload, Buffer.from('bye')])));
            assert.strictEqual(await ws.closeCode('echo'), code);
            await ws.untilClosed('after the closing handshake');
        });
    }

    it('a close without a code is answered without one', async (t) => {
        const ws = await rawWs(t);
        ws.write(frame(8, ''));
        const f = await ws.frame((x) => x.opcode === 8, 'close');
        assert.strictEqual(f.payload.length, 0);
        await ws.untilClosed('after the closing handshake');
    });

    it('--max-message is the limit of a message', async (t) => {
        const small = await startEcho('--max-message', '1000');
        kit.defer(t, () => small.stop());
        const ws = await rawWs(t, small);
        ws.write(frame(BINARY, Buffer.alloc(1000)));
        await expect(ws, BINARY, Buffer.alloc(1000));
        ws.write(frame(BINARY, Buffer.alloc(1001)));
        assert.strictEqual(await ws.closeCode('too long'), 1009);
        const other = await rawWs(t, small);
        other.write(Buffer.concat([
            frame(BINARY, Buffer.alloc(600), { fin: false }),
            frame(0, Buffer.alloc(401))]));
        assert.strictEqual(await other.closeCode('too long'), 1009);
    });
});
