/* badinput.test.js — every kind of broken input has an answer, and the one
 * who sends it harms only himself. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(120000) };
const CONFIG = {
    http_server: { header_timeout: kit.duration(700), idle_timeout: '60s' },
    uni_sse: { enabled: true },
    channel: { without_namespace: kit.OPEN },
};
const { frame } = kit;

async function assertAlive(gw) {
    for (let i = 0; i < 6; i++) {
        assert.strictEqual(
            (await kit.request(gw, { path: '/health' })).status, 200);
    }
}

/* Send bytes, then read to the end of the connection or to an answer: the
 * status, or null when the server just closed. */
async function answerTo(t, gw, bytes, { end = false } = {}) {
    const raw = await kit.RawSocket.connect(gw);
    kit.defer(t, () => raw.destroy());
    raw.write(bytes);
    if (end) raw.socket.end();
    const head = await raw.until((data) => {
        const eol = data.indexOf('\r\n');
        return (eol > 0 && { text: data.toString('latin1', 0, eol) }) ||
            (raw.over && { text: '' });
    }, 'an answer or the end');
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(head.text);
    return { raw, status: status ? Number(status[1]) : null };
}

describe('bad input: the upgrade', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway(CONFIG); });
    after(() => gw?.stop());

    const PATH = '/connection/websocket';
    const bytes = (headers, method = 'GET', path = PATH) =>
        kit.httpBytes(method, path, headers);

    it('the right one is accepted with the right key', async (t) => {
        const headers = kit.upgradeHeaders();
        const { raw, status } = await answerTo(t, gw, bytes(headers));
        assert.strictEqual(status, 101);
        await raw.until((d) => d.includes('\r\n\r\n'), 'head');
        const accept = kit.acceptKey(headers['Sec-WebSocket-Key']);
        assert.ok(raw.data.toString('latin1').includes(accept));
    });

    it('header names and values in any case', async (t) => {
        const { status } = await answerTo(t, gw, bytes({
            upgrade: 'WebSocket', CONNECTION: 'keep-alive, UPGRADE',
            'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
            'sec-websocket-version': '13',
        }));
        assert.strictEqual(status, 101);
    });

    for (const [what, expected, headers, method] of [
        ['a wrong version', [426, 400],
            kit.upgradeHeaders({ 'Sec-WebSocket-Version': '8' })],
        ['a version that is no number', [426, 400],
            kit.upgradeHeaders({ 'Sec-WebSocket-Version': 'x' })],
        ['no version', [426, 400],
            kit.upgradeHeaders({ 'Sec-WebSocket-Version': '' })],
        ['an empty key', [400],
            kit.upgradeHeaders({ 'Sec-WebSocket-Key': '' })],
        ['a short key', [400],
            kit.upgradeHeaders({ 'Sec-WebSocket-Key': 'AAAA' })],
        ['a key that is no base64', [400], kit.upgradeHeaders(
            { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' })],
        ['an overlong key', [400], kit.upgradeHeaders(
            { 'Sec-WebSocket-Key': 'A'.repeat(300) })],
        ['no upgrade at all', [400, 426], {}],
        ['another protocol', [400, 426],
            kit.upgradeHeaders({ Upgrade: 'h2c' })],
        ['Connection without Upgrade', [400, 426],
            kit.upgradeHeaders({ Connection: 'keep-alive' })],
        ['POST', [400, 405, 426], kit.upgradeHeaders(), 'POST'],
    ]) {
        it(`${what} is refused with ${expected.join(' or ')}`,
            async (t) => {
                const { status } = await answerTo(t, gw,
                    bytes(headers, method));
                assert.ok(expected.includes(status), `${status}`);
                await assertAlive(gw);
            });
    }

    it('404 for an upgrade of another path', async (t) => {
        for (const path of ['/', '/connection', '/connection/websocket/x',
            '/health']) {
            const { status } = await answerTo(t, gw,
                bytes(kit.upgradeHeaders(), 'GET', path));
            assert.notStrictEqual(status, 101, path);
            assert.ok(status === null || status === 404 || status === 200 ||
                status === 400, `${path} ${status}`);
        }
        await assertAlive(gw);
    });
});

describe('bad input: HTTP', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway(CONFIG); });
    after(() => gw?.stop());

    const filler = (n) => Object.fromEntries(Array.from({ length: n },
        (_, i) => [`X-Filler-${i}`, 'f'.repeat(500)]));

    for (const [method, path] of [['GET', '/health'],
        ['POST', '/api/info'], ['GET', '/connection/websocket']]) {
        it(`431 for headers over the limit: ${method} ${path}`,
            async (t) => {
                const more = path.includes('websocket')
                    ? kit.upgradeHeaders() : {};
                const { status, raw } = await answerTo(t, gw,
                    kit.httpBytes(method, path,
                        { ...more, 'X-API-Key': gw.key, ...filler(20) }));
                assert.strictEqual(status, 431);
                await raw.untilClosed('after 431');
            });

        it(`a request line over the limit: ${method} ${path}`,
            async (t) => {
                const { status } = await answerTo(t, gw, kit.httpBytes(
                    method, `${path}?x=${'y'.repeat(9000)}`));
                assert.ok([414, 431].includes(status), `${status}`);
            });

        it(`headers within the limit pass: ${method} ${path}`,
            async (t) => {
                const more = path.includes('websocket')
                    ? kit.upgradeHeaders() : {};
                const { status } = await answerTo(t, gw,
                    kit.httpBytes(method, path, {
                        ...more, 'X-API-Key': gw.key, 'Content-Length': 0,
                        ...filler(14),
                    }));
                assert.ok([200, 101, 400].includes(status), `${status}`);
                assert.notStrictEqual(status, 431);
            });
    }

    for (const [what, text] of [
        ['nothing', ''],
        ['half a method', 'PO'],
        ['half a GET', 'GET /health HTTP/1.1\r\nHost: x\r\nX-'],
        ['half a POST', 'POST /api/info HTTP/1.1\r\nHost: x\r\nX-'],
        ['half an upgrade',
            'GET /connection/websocket HTTP/1.1\r\nUpgrade: websocket\r\n'],
    ]) {
        it(`slow headers are cut off: ${what}`, async (t) => {
            const raw = await kit.RawSocket.connect(gw);
            kit.defer(t, () => raw.destroy());
            if (text) raw.write(text);
            const data = await raw.untilClosed('header_timeout');
            const answer = data.toString('latin1');
            assert.ok(answer === '' || answer.startsWith('HTTP/1.1 408') ||
                answer.startsWith('HTTP/1.0 408'), answer);
        });
    }

    it('dribbling one header byte at a time does not extend the time',
        async (t) => {
            const raw = await kit.RawSocket.connect(gw);
            kit.defer(t, () => raw.destroy());
            raw.write('POST /api/info HTTP/1.1\r\nHost: x\r\nX-A: ');
            raw.socket.on('error', () => {});
            const drip = setInterval(() => {
                if (!raw.over) raw.write('a');
            }, 50);
            kit.defer(t, () => clearInterval(drip));
            await raw.untilClosed('header_timeout');
        });

    it('a body shorter than its length is not obeyed', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('short');
        const body = '{"channel":"short","data":1}';
        const bytes = kit.httpBytes('POST', '/api/publish', {
            'X-API-Key': gw.key, 'Content-Length': body.length + 10,
        }, body);
        for (const end of [true, false]) {
            const { status, raw } = await answerTo(t, gw, bytes, { end });
            assert.ok([null, 400, 408].includes(status), `${status}`);
            await raw.untilClosed('the rest never came');
        }
        await kit.publish(gw, 'short', 2);
        assert.strictEqual((await ws.pub('short')).data, 2);
    });

    for (const [what, text] of [
        ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
        ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
        ['HTTP/0.9', 'GET /health\r\n\r\n'],
        ['an unknown version', 'GET /health HTTP/3.7\r\nHost: x\r\n\r\n'],
        ['a lower-case method', 'get /health HTTP/1.1\r\nHost: x\r\n\r\n'],
        ['an unknown method', 'DANCE / HTTP/1.1\r\nHost: x\r\n\r\n'],
        ['an endless method', 'A'.repeat(20000)],
        ['NUL bytes', '\0'.repeat(100)],
        ['0xff bytes', '\xff'.repeat(100)],
        ['only newlines', '\r\n'.repeat(5000)],
        ['a header without colon', 'POST / HTTP/1.1\r\nHost\r\n\r\n'],
        ['NUL in a header', 'POST / HTTP/1.1\r\nHost: a\0b\r\n\r\n'],
        ['a space in the path', 'POST /a b HTTP/1.1\r\nHost: x\r\n\r\n'],
        ['CONNECT', 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n'],
        ['a nats PUB', 'PUB weir.pub._.a 1\r\n1\r\n'],
    ]) {
        it(`${what} is answered with an error or closed`, async (t) => {
            const { status } = await answerTo(t, gw,
                Buffer.from(text, 'latin1'));
            assert.ok(status === null || status >= 400, `${status}`);
            await assertAlive(gw);
        });
    }

    for (const path of ['/sse?channel=%zz', '/sse?channel=%',
        '/sse?channel=%4', '/sse?channel', '/sse?&&&', '/sse?channel=%ff',
        '/sse?channel=%C3', '/sse?channel=a&channel=', '/sse?=a',
        '/sse?channel=a%2e%2eb', '/connection/uni_sse?cf_connect=%7b',
        '/connection/uni_sse?cf_connect=%00']) {
        it(`400 for ${path}`, async (t) => {
            const stream = await kit.sse(t, gw, path);
            assert.strictEqual(stream.status, 400);
        });
    }

    it('paths with dots and escapes reach nothing', async (t) => {
        for (const path of ['/../../etc/passwd', '/%2e%2e/etc/passwd',
            '/health/../metrics/..', '/%00', '/\\..\\..']) {
            const { raw, status } = await answerTo(t, gw,
                kit.httpBytes('GET', path));
            assert.ok(status === null || status >= 400, `${path} ${status}`);
            assert.ok(!raw.data.includes('root:'));
        }
    });
});

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;
const COMMAND = '{"unsubscribe":{"channel":"a"},"id":9}';

function closePayload(code, reason = '') {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16BE(code);
    return Buffer.concat([bytes, Buffer.from(reason, 'latin1')]);
}

/* what, codes that are right, the frames */
const BAD_FRAMES = [
    ['an unmasked frame', [1002], [frame(TEXT, COMMAND, { mask: false })]],
    ['an unmasked ping', [1002], [frame(PING, 'x', { mask: false })]],
    ['reserved opcode 3', [1002], [frame(3, 'x')]],
    ['reserved opcode 7', [1002], [frame(7, 'x')]],
    ['reserved opcode 11', [1002], [frame(11, 'x')]],
    ['reserved opcode 15', [1002], [frame(15, 'x')]],
    ['RSV1', [1002], [frame(TEXT, COMMAND, { rsv: 4 })]],
    ['RSV2', [1002], [frame(TEXT, COMMAND, { rsv: 2 })]],
    ['RSV3', [1002], [frame(TEXT, COMMAND, { rsv: 1 })]],
    ['RSV on a ping', [1002], [frame(PING, 'x', { rsv: 7 })]],
    ['a ping over 125 bytes', [1002], [frame(PING, 'x'.repeat(126))]],
    ['a pong over 125 bytes', [1002], [frame(PONG, 'x'.repeat(126))]],
    ['a close over 125 bytes', [1002],
        [frame(CLOSE, closePayload(1000, 'x'.repeat(130)))]],
    ['a fragmented ping', [1002], [frame(PING, 'x', { fin: false })]],
    ['a fragmented close', [1002],
        [frame(CLOSE, closePayload(1000), { fin: false })]],
    ['a continuation of nothing', [1002], [frame(0, COMMAND)]],
    ['an unfinished continuation of nothing', [1002],
        [frame(0, 'x', { fin: false })]],
    ['a new message inside another', [1002],
        [frame(TEXT, '{', { fin: false }), frame(TEXT, COMMAND)]],
    ['a continuation behind the end', [1002],
        [frame(TEXT, COMMAND), frame(0, 'x')]],
    ['a close of one byte', [1002], [frame(CLOSE, 'x')]],
    ['close code 0', [1002], [frame(CLOSE, closePayload(0))]],
    ['close code 999', [1002], [frame(CLOSE, closePayload(999))]],
    ['close code 1005', [1002], [frame(CLOSE, closePayload(1005))]],
    ['close code 1006', [1002], [frame(CLOSE, closePayload(1006))]],
    ['close code 1015', [1002], [frame(CLOSE, closePayload(1015))]],
    ['close code 2999', [1002], [frame(CLOSE, closePayload(2999))]],
    ['close code 65535', [1002], [frame(CLOSE, closePayload(65535))]],
    ['a close reason that is no UTF-8', [1007, 1002],
        [frame(CLOSE, closePayload(1000, '\xff\xfe'))]],
    ['text that is no UTF-8', [1007],
        [frame(TEXT, Buffer.from([0x22, 0xff, 0x22]))]],
    ['overlong UTF-8', [1007],
        [frame(TEXT, Buffer.from([0x22, 0xc0, 0xaf, 0x22]))]],
    ['a UTF-8 surrogate', [1007],
        [frame(TEXT, Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))]],
    ['UTF-8 above U+10FFFF', [1007],
        [frame(TEXT, Buffer.from([0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]))]],
    ['UTF-8 that ends too early', [1007],
        [frame(TEXT, Buffer.from([0x22, 0xe2, 0x82]))]],
    ['bad UTF-8 in the second fragment', [1007],
        [frame(TEXT, '{"a":"', { fin: false }), frame(0, Buffer.from([0xff]),
            { fin: true })]],
    ['a frame that says 65537 bytes', [1009],
        [frame(TEXT, 'x', { length: 65537 })]],
    ['a frame that says 1 GiB', [1009],
        [frame(TEXT, 'x', { length: 2 ** 30 })]],
    ['a length with the top bit set', [1002, 1009], [Buffer.from(
        [0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 0])]],
    ['a length of 2^63-1', [1009], [Buffer.from(
        [0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4,
            0])]],
    ['an empty frame', [3501], [frame(TEXT, '')]],
    ['an empty message in fragments', [3501],
        [frame(TEXT, '', { fin: false }), frame(0, '')]],
];

describe('bad input: WebSocket frames', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway(CONFIG); });
    after(() => gw?.stop());

    for (const [what, codes, frames] of BAD_FRAMES) {
        it(`${codes.join(' or ')} for ${what}`, async (t) => {
            const ws = await kit.RawWs.open(gw);
            kit.defer(t, () => ws.destroy());
            ws.write(Buffer.concat(frames));
            const code = await ws.closeCode(what);
            assert.ok(codes.includes(code), `${code}`);
            ws.socket.end();
            await ws.untilClosed(what);
        });
    }

    it('the same in single bytes', async (t) => {
        for (const [what, codes, frames] of BAD_FRAMES) {
            const bytes = Buffer.concat(frames);
            if (bytes.length > 60) continue;
            const ws = await kit.RawWs.open(gw);
            kit.defer(t, () => ws.destroy());
            await ws.writePieces(bytes);
            const code = await ws.closeCode(what);
            assert.ok(codes.includes(code), `${what}: ${code}`);
            ws.destroy();
        }
    });

    async function ids(ws, count) {
        const got = [];
        while (got.length < count) {
            const f = await ws.frame((x) => x.opcode === TEXT &&
                x.text.includes('"id"'), `reply ${got.length}`);
            for (const line of f.text.split('\n')) {
                got.push(JSON.parse(line).id);
            }
        }
        return got;
    }

    it('a message in fragments with control frames between', async (t) => {
        const ws = await kit.RawWs.open(gw);
        kit.defer(t, () => ws.destroy());
        ws.write(Buffer.concat([
            frame(TEXT, COMMAND.slice(0, 5), { fin: false }),
            frame(PING, 'first'),
            frame(0, '', { fin: false }),
            frame(0, COMMAND.slice(5, 9), { fin: false }),
            frame(PONG, 'unasked'),
            frame(PING, 'second'),
            frame(0, COMMAND.slice(9)),
        ]));
        assert.deepStrictEqual(await ids(ws, 1), [9]);
        await ws.frame((f) => f.opcode === PONG && f.text === 'second',
            'the pong to the last ping');
    });

    it('every ping is answered, also two at once', async (t) => {
        const ws = await kit.RawWs.open(gw);
        kit.defer(t, () => ws.destroy());
        ws.write(Buffer.concat([frame(PING, 'one'), frame(PING, 'two'),
            frame(PING, '')]));
        for (const text of ['one', 'two', '']) {
            const pong = await ws.frame((f) => f.opcode === PONG &&
                f.text === text, `pong ${text}`);
            assert.ok(pong.fin && !pong.masked);
        }
    });

    it('a ping of 125 bytes in single bytes', async (t) => {
        const ws = await kit.RawWs.open(gw);
        kit.defer(t, () => ws.destroy());
        const text = 'p'.repeat(125);
        await ws.writePieces(frame(PING, text));
        await ws.frame((f) => f.opcode === PONG && f.text === text, 'pong');
    });

    it('UTF-8 may be cut anywhere between fragments', async (t) => {
        const ws = await kit.RawWs.open(gw);
        kit.defer(t, () => ws.destroy());
        const bytes = Buffer.from('{"publish":{"channel":"a",' +
            '"data":"\u00e9\u20ac\u{1f600}"},"id":9}');
        const frames = [...bytes].map((b, i) => frame(i ? 0 : TEXT,
            Buffer.from([b]), { fin: i === bytes.length - 1 }));
        ws.write(Buffer.concat(frames));
        assert.deepStrictEqual(await ids(ws, 1), [9]);
    });

    it('several frames in one packet, one frame in many', async (t) => {
        const ws = await kit.RawWs.open(gw);
        kit.defer(t, () => ws.destroy());
        const all = Array.from({ length: 100 }, (_, i) =>
            frame(TEXT, COMMAND.replace('9', String(i + 2))));
        ws.write(Buffer.concat(all));
        assert.deepStrictEqual(await ids(ws, 100),
            all.map((_, i) => i + 2));
        await ws.writePieces(frame(TEXT, COMMAND));
        assert.deepStrictEqual(await ids(ws, 1), [9]);
    });

    it('the first frame may come with the upgrade', async (t) => {
        const raw = await kit.RawSocket.connect(gw);
        kit.defer(t, () => raw.destroy());
        raw.write(Buffer.concat([
            Buffer.from(kit.httpBytes('GET', '/connection/websocket',
                kit.upgradeHeaders())),
            frame(TEXT, '{"connect":{},"id":1}'),
        ]));
        await raw.until((d) => d.includes('"connect"'), 'connect reply');
    });

    it('a length in more bytes than it needs is refused or read right',
        async (t) => {
            for (const wide of [2, 8]) {
                const ws = await kit.RawWs.open(gw);
                kit.defer(t, () => ws.destroy());
                ws.write(frame(TEXT, COMMAND, { wide }));
                const end = await ws.frame((f) => f.opcode === CLOSE ||
                    f.text.includes('"id":9'), 'reply or close');
                if (end.opcode === CLOSE) {
                    assert.strictEqual(end.payload.readUInt16BE(), 1002);
                }
            }
        });

    it('a binary frame is read or refused, never ignored', async (t) => {
        const ws = await kit.RawWs.open(gw);
        kit.defer(t, () => ws.destroy());
        ws.write(frame(BINARY, COMMAND));
        const end = await ws.frame((f) => f.opcode === CLOSE ||
            f.text.includes('"id":9'), 'reply or close');
        if (end.opcode === CLOSE) {
            assert.ok([1003, 3501].includes(end.payload.readUInt16BE()));
        }
    });

    it('what follows a close frame is ignored', async (t) => {
        const other = await kit.connected(t, gw);
        await other.subscribe('late');
        const ws = await kit.RawWs.open(gw);
        kit.defer(t, () => ws.destroy());
        ws.write(Buffer.concat([frame(CLOSE, closePayload(1000)),
            frame(TEXT,
                '{"publish":{"channel":"late","data":"x"},"id":2}')]));
        assert.strictEqual(await ws.closeCode('answer'), 1000);
        await kit.publish(gw, 'late', 'y');
        assert.strictEqual((await other.pub('late')).data, 'y');
    });

    it('server frames are never masked, whole and without RSV',
        async (t) => {
            const ws = await kit.RawWs.open(gw);
            kit.defer(t, () => ws.destroy());
            ws.send('{"subscribe":{"channel":"s"},"id":2}');
            await ids(ws, 1);
            for (const n of [10, 125, 126, 200, 65000]) {
                await kit.publish(gw, 's', 'x'.repeat(n));
                const f = await ws.frame((x) => x.text.includes('"push"'),
                    'push');
                assert.deepStrictEqual(
                    [f.fin, f.rsv, f.opcode, f.masked],
                    [true, 0, TEXT, false]);
            }
        });
});

/* What one bad client does to a gateway, `count` times. Every helper takes
 * how many inputs to send and returns when all were answered. */
const LOCAL = Array.from({ length: 8 }, (_, i) => `127.0.0.${i + 2}`);

async function badCommands(gw, count) {
    const ws = await kit.RawWs.open(gw, { localAddress: LOCAL[0] });
    const names = ['a..b', 'nope:x', 'a b', '*', '>', 'x'.repeat(9000),
        'a\\u0000b', 'caf\u00e9'];
    let id = 2;
    for (let sent = 0; sent < count;) {
        const frames = [];
        for (let i = 0; i < 200 && sent < count; i++, sent++, id++) {
            const channel = names[i % names.length];
            frames.push(frame(TEXT, i % 3
                ? `{"subscribe":{"channel":"${channel}"},"id":${id}}`
                : `{"publish":{"channel":"${channel}","data":1},"id":${id}}`));
        }
        ws.write(Buffer.concat(frames));
        await ws.frame((f) => f.text.includes(`"id":${id - 1},`) ||
            f.text.includes(`"id":${id - 1}}`), `reply ${id - 1}`);
        ws.list.length = 0;
    }
    ws.destroy();
}

async function badPosts(gw, count) {
    const raw = await kit.RawSocket.connect(gw, { localAddress: LOCAL[1] });
    const posts = [
        kit.apiBytes(gw, 'publish', '{"channel":'),
        kit.apiBytes(gw, 'dance', '{}'),
        kit.apiBytes(gw, 'publish', '{}'),
        kit.apiBytes(gw, 'publish', '{"channel":"nope:x","data":1}'),
        kit.apiBytes(gw, 'publish', '{}', { 'X-API-Key': 'wrong' }),
        kit.apiBytes(gw, 'batch', '{"commands":[{"x":{}},5]}'),
    ];
    for (let sent = 0; sent < count;) {
        const some = [];
        for (let i = 0; i < 100 && sent < count; i++, sent++) {
            some.push(posts[i % posts.length]);
        }
        raw.write(some.join(''));
        await raw.responses(some.length);
    }
    raw.destroy();
}

async function oneBadConnection(gw, n) {
    const options = { localAddress: LOCAL[n % LOCAL.length] };
    if (n % 3 === 0) {
        const raw = await kit.RawSocket.connect(gw, options);
        raw.write(n % 2 ? 'DANCE / HTTP/9.9\r\n\r\n'
            : 'GET /sse?channel=a..b HTTP/1.1\r\nHost: x\r\n' +
            'Connection: close\r\n\r\n');
        await raw.untilClosed('bad HTTP');
        return;
    }
    const ws = await kit.RawWs.open(gw, { ...options, connect: n % 2 === 0 });
    const [, , frames] = BAD_FRAMES[n % BAD_FRAMES.length];
    ws.write(Buffer.concat(frames));
    await ws.closeCode('bad frame');
    ws.destroy();
}

async function badConnections(gw, count) {
    const queue = Array.from({ length: count }, (_, n) => n);
    await Promise.all(Array.from({ length: 16 }, async () => {
        for (let n; (n = queue.pop()) !== undefined;) {
            await oneBadConnection(gw, n);
        }
    }));
}

function storm(gw, count) {
    return Promise.all([badCommands(gw, Math.ceil(count * 0.7)),
        badPosts(gw, Math.ceil(count * 0.25)),
        badConnections(gw, Math.ceil(count * 0.05))]);
}

/* Sanitizer builds take a share of it: they look for other things. */
const STORM = kit.SLOW === 1 ? 100000 : 20000;

describe('bad input: 100,000 of them', { timeout: kit.ms(300000) }, () => {
    it('leave no gap in another stream and memory where it was',
        async (t) => {
            const gw = await kit.gateway(t, CONFIG);
            const ws = await kit.connected(t, gw);
            await ws.subscribe('steady');
            const stream = await kit.sse(t, gw, '/sse?channel=steady&raw=1');
            let sent = 0;
            let stop = false;
            const feed = (async () => {
                while (!stop) {
                    await kit.publish(gw, 'steady', sent++);
                    await kit.pause(2);
                }
            })();
            await storm(gw, STORM / 5);
            const before = gw.rssBytes();
            await storm(gw, STORM);
            stop = true;
            await feed;
            const got = await ws.pubs(sent, 'steady');
            got.forEach((p, n) => assert.strictEqual(p.data, n));
            for (let n = 0; n < sent; n++) {
                assert.strictEqual((await stream.next()).data, String(n));
            }
            const grown = gw.rssBytes() - before;
            t.diagnostic(`${sent} publications beside the storm; RSS ` +
                `${(before / 1e6).toFixed(1)} MB, ` +
                `grown by ${(grown / 1e6).toFixed(1)} MB`);
            if (kit.SLOW === 1) {
                assert.ok(grown < before * 0.25 + 2e6,
                    `grown by ${grown} of ${before}`);
            }
            const { channels } = await kit.call(gw, 'channels', {});
            assert.deepStrictEqual(Object.keys(channels), ['steady']);
        });
});
