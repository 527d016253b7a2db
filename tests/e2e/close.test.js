/* close.test.js — every way the server closes a WebSocket: the code, a
 * reason that is never empty, and nobody else harmed. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(60000) };
const OPEN = { channel: { without_namespace: kit.OPEN } };

/* what, frame of a connected client that is answered with 3501 */
const BAD_REQUESTS = [
    ['an empty frame', ''],
    ['only a newline', '\n'],
    ['no JSON', 'hello'],
    ['half an object', '{"subscribe":{"channel":"a"}'],
    ['garbage behind an object', '{"subscribe":{"channel":"a"},"id":2}x'],
    ['an array', '[]'],
    ['a number', '5'],
    ['a string', '"subscribe"'],
    ['null', 'null'],
    ['no known command', '{"dance":{},"id":2}'],
    ['only an id', '{"id":2}'],
    ['a ping command', '{"ping":{},"id":2}'],
    ['a second connect', '{"connect":{},"id":2}'],
    ['a blank line between commands',
        '{"unsubscribe":{"channel":"a"},"id":2}\n\n' +
        '{"unsubscribe":{"channel":"a"},"id":3}'],
    ['a command that is no object', '{"subscribe":"a","id":2}'],
    ['a channel that is no string', '{"subscribe":{"channel":5},"id":2}'],
    ['no channel', '{"subscribe":{},"id":2}'],
    ['an empty channel', '{"subscribe":{"channel":""},"id":2}'],
    ['an id that is a string', '{"subscribe":{"channel":"a"},"id":"2"}'],
    ['a negative id', '{"subscribe":{"channel":"a"},"id":-1}'],
    ['a fractional id', '{"subscribe":{"channel":"a"},"id":1.5}'],
    ['an id over 32 bits',
        '{"subscribe":{"channel":"a"},"id":4294967296}'],
    ['nesting without end', '['.repeat(5000)],
    ['deep nesting in data', '{"publish":{"channel":"a","data":' +
        '['.repeat(5000) + ']'.repeat(5000) + '},"id":2}'],
    ['a raw control byte in a string',
        '{"subscribe":{"channel":"a\u0001"},"id":2}'],
    ['a bad escape', '{"subscribe":{"channel":"\\x"},"id":2}'],
    ['a trailing comma', '{"subscribe":{"channel":"a"},"id":2,}'],
    ['a leading zero', '{"subscribe":{"channel":"a"},"id":02}'],
    ['single quotes', "{'subscribe':{'channel':'a'},'id':2}"],
    ['a byte order mark', '\ufeff{"subscribe":{"channel":"a"},"id":2}'],
    ['an unknown delta',
        '{"subscribe":{"channel":"a","delta":"magic"},"id":2}'],
];

describe('close: 3501 bad request', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway(OPEN); });
    after(() => gw?.stop());

    for (const [what, text] of BAD_REQUESTS) {
        it(`for ${what}`, async (t) => {
            const ws = await kit.connected(t, gw);
            ws.send(text);
            await ws.closedWith(3501);
        });
    }

    for (const text of ['{"subscribe":{"channel":"a"},"id":1}',
        '{"publish":{"channel":"a","data":1},"id":1}',
        '{"unsubscribe":{"channel":"a"},"id":1}', 'x', '']) {
        it(`before connect for ${JSON.stringify(text)}`, async (t) => {
            const ws = await kit.wsClient(t, gw);
            ws.send(text);
            await ws.closedWith(3501);
        });
    }

    it('answers the commands before the bad one first', async (t) => {
        const ws = await kit.connected(t, gw);
        ws.send('{"unsubscribe":{"channel":"a"},"id":2}\nnope');
        assert.ok((await ws.reply(2)).unsubscribe);
        await ws.closedWith(3501);
    });

    it('3508 for send: there is no handler', async (t) => {
        const ws = await kit.connected(t, gw);
        ws.send('{"send":{"data":{}}}');
        await ws.closedWith(3508);
    });
});

describe('close: limits and time', LIMIT, () => {
    it('3502 when connect does not come', async (t) => {
        const gw = await kit.gateway(t,
            { client: { stale_close_delay: kit.duration(300) } });
        const ws = await kit.wsClient(t, gw);
        await ws.closedWith(3502);
    });

    it('3502 also for a client that sends half a message', async (t) => {
        const gw = await kit.gateway(t,
            { client: { stale_close_delay: kit.duration(300) } });
        const ws = await kit.RawWs.open(gw, { connect: false });
        ws.write(kit.frame(1, '{"connect":', { fin: false }));
        assert.strictEqual(await ws.closeCode('stale'), 3502);
    });

    it('3012 when no pong comes; other traffic is no pong', async (t) => {
        const gw = await kit.gateway(t, {
            ...OPEN, client: {
                ping_interval: kit.duration(600),
                pong_timeout: kit.duration(300),
            },
        });
        const good = await kit.connected(t, gw);
        const silent = await kit.connected(t, gw, { autoPong: false });
        const chatty = await kit.connected(t, gw, { autoPong: false });
        const chat = setInterval(() => {
            if (chatty.socket.readyState === 1) {
                chatty.send({ publish: { channel: 'a', data: 1 }, id: 7 });
            }
        }, 20);
        kit.defer(t, () => clearInterval(chat));
        await silent.closedWith(3012);
        await chatty.closedWith(3012);
        await kit.waitFor(() => good.pings >= 3, 'three pings');
        await good.subscribe('alive');
    });

    it('1009 for a message over 65536 bytes, whole or in fragments',
        async (t) => {
            const gw = await kit.gateway(t, OPEN);
            const pad = (total) => {
                const text = '{"unsubscribe":{"channel":"a"},"id":2}';
                return text + ' '.repeat(total - text.length);
            };
            const ws = await kit.connected(t, gw);
            ws.send(pad(65536));
            assert.ok((await ws.reply(2)).unsubscribe);
            ws.send(pad(65537));
            await ws.closedWith(1009);

            const raw = await kit.RawWs.open(gw);
            const piece = Buffer.from(' '.repeat(10000));
            raw.write(kit.frame(1, piece, { fin: false }));
            for (let i = 0; i < 6; i++) {
                raw.write(kit.frame(0, piece, { fin: false }));
            }
            assert.strictEqual(await raw.closeCode('too long'), 1009);
        });

    it('3008 for a client that does not read; others get everything',
        async (t) => {
            const gw = await kit.gateway(t,
                { ...OPEN, client: { queue_max_size: 65536 } });
            const slow = await kit.RawWs.open(gw);
            slow.send('{"subscribe":{"channel":"flood"},"id":2}');
            await slow.frame((f) => f.text.includes('"id":2'), 'subscribed');
            slow.socket.pause();
            const good = await kit.connected(t, gw);
            await good.subscribe('flood');

            const before = await kit.metrics(gw);
            const text = 'x'.repeat(60000);
            let sent = 0;
            const closes = (m) => kit.closesBy(m, 'slow');
            await kit.waitFor(async () => {
                for (let i = 0; i < 20; i++, sent++) {
                    await kit.publish(gw, 'flood', { n: sent, text });
                }
                return closes(await kit.metrics(gw)) > closes(before);
            }, 'the slow client is closed', 30000);
            const got = await good.pubs(sent, 'flood');
            assert.deepStrictEqual(got.map((p) => p.data.n),
                got.map((_, n) => n));

            slow.socket.resume();
            const code = await slow.closeCode('slow');
            assert.ok(code === 3008 || code === null, `code ${code}`);
        });

    it('503 over client.connection_limit, and room again after a leave',
        async (t) => {
            const gw = await kit.gateway(t,
                { client: { connection_limit: 3 } });
            const held = [];
            await kit.waitFor(async () => {
                const status = await kit.handshakeStatus(gw);
                return status === 101;
            }, 'room for one');
            for (let i = 0; i < 3; i++) {
                held.push(await kit.waitFor(() => kit.wsClient(t, gw),
                    'a place'));
            }
            assert.strictEqual(await kit.handshakeStatus(gw), 503);
            await held[0].close();
            await kit.waitFor(async () =>
                await kit.handshakeStatus(gw) === 101, 'a freed place');
        });
});

describe('close: the end of the server', LIMIT, () => {
    it('SIGTERM closes every client with 3001 shutdown', async (t) => {
        const gw = await kit.gateway(t, OPEN);
        const all = [];
        for (let i = 0; i < 20; i++) {
            const ws = await kit.connected(t, gw);
            await ws.subscribe('last');
            all.push(ws);
        }
        const stopping = gw.stop();
        for (const ws of all) {
            const close = await ws.closedWith(3001);
            assert.strictEqual(close.reason, 'shutdown');
        }
        await stopping;
    });

    it('SIGTERM lets a slow reader have what was queued for it first',
        async (t) => {
            const gw = await kit.gateway(t, OPEN);
            const slow = await kit.RawWs.open(gw);
            slow.send('{"subscribe":{"channel":"last"},"id":2}');
            await slow.frame((f) => f.text.includes('"id":2'), 'subscribed');
            const fast = await kit.connected(t, gw);
            await fast.subscribe('last');
            slow.socket.pause();
            const text = 'x'.repeat(60000);
            const count = 12;
            for (let n = 0; n < count; n++) {
                await kit.publish(gw, 'last', { n, text });
            }
            await fast.pubs(count, 'last');
            const m = await kit.metrics(gw);
            const stopping = gw.stop();
            await fast.closedWith(3001);
            slow.socket.resume();
            assert.strictEqual(await slow.closeCode('shutdown'), 3001);
            const got = slow.list.filter((f) => f.text.includes('"push"'));
            assert.ok(kit.closesBy(m, 'slow') === 0 && got.length > 0);
            assert.strictEqual(got.map((f) => f.text).join('\n')
                .split('\n').length, count);
            slow.socket.end();
            await stopping;
        });

    it('SIGTERM ends clients that did not connect or do not read too',
        async (t) => {
            const gw = await kit.gateway(t, 
                { ...OPEN, shutdown: { timeout: '2s' } });
            const silent = await kit.wsClient(t, gw);
            const half = await kit.RawSocket.connect(gw);
            half.write('GET /connection/websocket HTTP/1.1\r\nHost');
            const idle = await kit.RawSocket.connect(gw);
            idle.write(kit.httpBytes('GET', '/health'));
            await idle.response();
            const deaf = await kit.RawWs.open(gw);
            deaf.send('{"subscribe":{"channel":"a"},"id":2}');
            await deaf.frame((f) => f.text.includes('"id":2'), 'subscribed');
            deaf.socket.pause();
            for (let i = 0; i < 60; i++) {
                await kit.publish(gw, 'a', 'x'.repeat(60000));
            }
            await gw.stop();
            await silent.closed;
            await half.untilClosed('half a request');
            await idle.untilClosed('an idle connection');
        });

    it('a closing handshake of the client is answered', async (t) => {
        const gw = await kit.gateway(t, OPEN);
        const ws = await kit.connected(t, gw);
        ws.socket.close(1000, 'bye');
        const { code } = await kit.withDeadline(ws.closed, 'close answered');
        assert.strictEqual(code, 1000);
    });

    it('a client that vanishes leaves nothing behind', async (t) => {
        const gw = await kit.gateway(t, OPEN);
        for (let i = 0; i < 20; i++) {
            const ws = await kit.connected(t, gw);
            await ws.subscribe('ghost');
            ws.socket.terminate();
        }
        await kit.waitFor(async () => {
            const { channels } = await kit.call(gw, 'channels', {});
            return !('ghost' in channels);
        }, 'no subscriber of ghost is left');
    });
});
