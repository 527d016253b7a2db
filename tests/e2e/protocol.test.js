/* protocol.test.js — the JSON protocol over WebSocket, command by command:
 * what each answers, in which order, and with which error code. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const kit = require('./kit');

const UUID =
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const LIMIT = { timeout: kit.ms(60000) };

describe('protocol: connect', LIMIT, () => {
    let gw;
    before(async () => {
        gw = await kit.startGateway({
            channel: {
                without_namespace: kit.OPEN,
                namespaces: [{ name: 'shut' }],
            },
        });
    });
    after(() => gw?.stop());

    it('answers with client (UUIDv4), version, ping, pong, nothing else',
        async (t) => {
            const ws = await kit.wsClient(t, gw);
            ws.send('{"connect":{"name":"js"},"id":1}');
            const { msg } = await ws.inbox.take((i) => i.msg.id === 1,
                'connect reply');
            assert.deepStrictEqual(Object.keys(msg).sort(),
                ['connect', 'id']);
            const { client, version, ...rest } = msg.connect;
            assert.match(client, UUID);
            assert.ok(typeof version === 'string' && version.length > 0);
            assert.deepStrictEqual(rest, { ping: 25, pong: true });
        });

    it('gives every client an id of its own', async (t) => {
        const ids = new Set();
        for (let i = 0; i < 20; i++) {
            ids.add((await kit.connected(t, gw)).id);
        }
        assert.strictEqual(ids.size, 20);
    });

    it('takes id last, unknown fields, white space and escaped keys',
        async (t) => {
            const ws = await kit.wsClient(t, gw);
            ws.send(' { "new" : [ { } ] , "connect" : { "name" : "x" , ' +
                '"flag":7, "profile" : null } , "id" : 1 } ');
            assert.ok((await ws.reply(1)).connect);
            ws.send('{"\\u0073ubscribe":{"ch\\u0061nnel":"a","flag":1,' +
                '"data":{"x":1}},"id":2}');
            assert.deepStrictEqual(await ws.reply(2),
                { id: 2, subscribe: {} });
        });

    it('takes ids up to 4294967295', async (t) => {
        const ws = await kit.connected(t, gw);
        ws.send('{"unsubscribe":{"channel":"a"},"id":4294967295}');
        await ws.reply(4294967295);
    });

    it('answers the connect first when subscribes share its frame',
        async (t) => {
            const ws = await kit.wsClient(t, gw);
            const commands = ['a', 'b', 'c'].map((channel, i) =>
                ({ subscribe: { channel, flag: 1 }, id: i + 2 }));
            ws.send({ connect: {}, id: 1 }, ...commands,
                { publish: { channel: 'd', data: 1 }, id: 5 });
            await ws.reply(5);
            const order = ws.frames.flatMap((f) => f.trim().split('\n'))
                .map((raw) => JSON.parse(raw).id);
            /* Answers to subscribes may overtake each other, nothing else. */
            assert.strictEqual(order[0], 1);
            assert.strictEqual(order.at(-1), 5);
            assert.deepStrictEqual(order.sort(), [1, 2, 3, 4, 5]);
        });

    it('answers the subscribe before any publication of it', async (t) => {
        const feed = setInterval(() => {
            kit.publish(gw, 'busy', 1).catch(() => {});
        }, 1);
        kit.defer(t, () => clearInterval(feed));
        for (let round = 0; round < 20; round++) {
            const ws = await kit.wsClient(t, gw);
            ws.send({ connect: {}, id: 1 },
                { subscribe: { channel: 'busy' }, id: 2 });
            await ws.pub('busy');
            const all = ws.frames.flatMap((f) => f.trim().split('\n'))
                .map((raw) => JSON.parse(raw));
            const reply = all.findIndex((m) => m.id === 2);
            const push = all.findIndex((m) => m.push);
            assert.ok(reply >= 0 && reply < push);
        }
    });

    it('subscribes on the server side to what `subs` asks and may have',
        async (t) => {
            const ws = await kit.wsClient(t, gw);
            const reply = await ws.connect(
                { subs: { mine: {}, 'shut:x': {} } });
            assert.deepStrictEqual(reply.subs, { mine: {} });
            await kit.publish(gw, 'mine', { n: 1 });
            assert.deepStrictEqual((await ws.pub('mine')).data, { n: 1 });
        });

    it('closes 3501 when `subs` names an unknown namespace', async (t) => {
        const ws = await kit.wsClient(t, gw);
        ws.send({ connect: { subs: { 'nope:x': {} } }, id: 1 });
        await ws.closedWith(3501);
    });

    it('accepts the subprotocol centrifuge-json and echoes it',
        async (t) => {
            const ws = await kit.wsClient(t, gw,
                { protocols: ['centrifuge-json'] });
            assert.strictEqual(ws.socket.protocol, 'centrifuge-json');
            await ws.connect();
        });

    it('closes 3501 without credentials', async (t) => {
        const strict = await kit.gateway(t, {
            client: { allow_anonymous_connect_without_token: false },
        });
        const ws = await kit.wsClient(t, strict);
        ws.send({ connect: {}, id: 1 });
        await ws.closedWith(3501);
        assert.deepStrictEqual(ws.frames, [], 'no reply beside the close');
    });
});

describe('protocol: subscribe, unsubscribe, publish', LIMIT, () => {
    let gw;
    before(async () => {
        gw = await kit.startGateway({
            client: { channel_limit: 4 },
            websocket: { message_size_limit: 200000 },
            channel: {
                without_namespace: kit.OPEN,
                namespaces: [{ name: 'shut' }],
            },
        });
    });
    after(() => gw?.stop());

    it('subscribe answers {} and publications follow', async (t) => {
        const ws = await kit.connected(t, gw);
        ws.send('{"subscribe":{"channel":"news"},"id":2}');
        const { raw } = await ws.inbox.take((i) => i.msg.id === 2, 'reply');
        assert.strictEqual(raw, '{"id":2,"subscribe":{}}');
        await kit.publish(gw, 'news', { a: 1 });
        const { raw: push } = await ws.push('news');
        assert.strictEqual(push,
            '{"push":{"channel":"news","pub":{"data":{"a":1}}}}');
    });

    it('unsubscribe answers {} also when not subscribed', async (t) => {
        const ws = await kit.connected(t, gw);
        for (let i = 0; i < 2; i++) {
            const reply = await ws.command('unsubscribe',
                { channel: 'never' });
            assert.deepStrictEqual(reply,
                { id: reply.id, unsubscribe: {} });
        }
    });

    it('after an unsubscribe nothing comes, after a new subscribe all does',
        async (t) => {
            const ws = await kit.connected(t, gw);
            await ws.subscribe('u');
            await ws.command('unsubscribe', { channel: 'u' });
            await kit.publish(gw, 'u', 'lost');
            await ws.subscribe('u');
            await kit.publish(gw, 'u', 'seen');
            assert.strictEqual((await ws.pub('u')).data, 'seen');
        });

    it('publish answers {} and reaches the publisher too', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('chat');
        const reply = await ws.command('publish',
            { channel: 'chat', data: { b: 2 } });
        assert.deepStrictEqual(reply, { id: reply.id, publish: {} });
        assert.deepStrictEqual((await ws.pub('chat')).data, { b: 2 });
    });

    it('many commands in one frame are answered in order', async (t) => {
        const ws = await kit.connected(t, gw);
        const commands = [];
        for (let id = 2; id < 102; id++) {
            commands.push({ publish: { channel: 'x', data: id }, id });
        }
        ws.send(commands.map((c) => JSON.stringify(c)).join('\n') + '\n');
        await ws.reply(101);
        const ids = ws.frames.flatMap((f) => f.trim().split('\n'))
            .map((raw) => JSON.parse(raw).id);
        assert.deepStrictEqual(ids.slice(1), commands.map((c) => c.id));
    });

    it('every subscriber on every shard gets each publication once',
        async (t) => {
            const all = [];
            for (let i = 0; i < 24; i++) {
                const ws = await kit.connected(t, gw);
                await ws.subscribe('all');
                all.push(ws);
            }
            for (let n = 0; n < 50; n++) await kit.publish(gw, 'all', n);
            const expected = Array.from({ length: 50 }, (_, n) => n);
            for (const ws of all) {
                const got = await ws.pubs(50, 'all');
                assert.deepStrictEqual(got.map((p) => p.data), expected);
                assert.strictEqual(ws.inbox.items.length, 0);
            }
        });

    it('102 for an unknown namespace', async (t) => {
        const ws = await kit.connected(t, gw);
        const error = await ws.refused('subscribe',
            { channel: 'nope:x' }, 102);
        assert.deepStrictEqual(error,
            { code: 102, message: 'unknown channel' });
        await ws.refused('publish', { channel: 'nope:x', data: 1 }, 102);
    });

    it('103 where the namespace does not allow it', async (t) => {
        const ws = await kit.connected(t, gw);
        const error = await ws.refused('subscribe',
            { channel: 'shut:x' }, 103);
        assert.deepStrictEqual(error,
            { code: 103, message: 'permission denied' });
        await ws.refused('publish', { channel: 'shut:x', data: 1 }, 103);
    });

    it('105 when already subscribed, and the first one stays', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('twice');
        await ws.refused('subscribe', { channel: 'twice' }, 105);
        await kit.publish(gw, 'twice', 1);
        await kit.publish(gw, 'twice', 2);
        assert.deepStrictEqual((await ws.pubs(2, 'twice'))
            .map((p) => p.data), [1, 2]);
    });

    it('106 over client.channel_limit; a freed place can be used again',
        async (t) => {
            const ws = await kit.connected(t, gw);
            for (let i = 0; i < 4; i++) await ws.subscribe(`c${i}`);
            const error = await ws.refused('subscribe',
                { channel: 'c4' }, 106);
            assert.strictEqual(error.message, 'limit exceeded');
            await ws.command('unsubscribe', { channel: 'c0' });
            await ws.subscribe('c4');
        });

    it('107 for a publish without data, 3501 without a channel',
        async (t) => {
            const ws = await kit.connected(t, gw);
            const error = await ws.refused('publish',
                { channel: 'a' }, 107);
            assert.strictEqual(error.message, 'bad request');
            ws.send({ subscribe: {}, id: 50 });
            await ws.closedWith(3501);
        });

    it('107 for a publication over channel.max_publication_size',
        async (t) => {
            const ws = await kit.connected(t, gw);
            const fits = '"' + 'x'.repeat(65534) + '"';
            ws.send(`{"publish":{"channel":"a","data":${fits}},"id":2}`);
            assert.ok((await ws.reply(2)).publish);
            const over = '"' + 'x'.repeat(65535) + '"';
            ws.send(`{"publish":{"channel":"a","data":${over}},"id":3}`);
            assert.strictEqual((await ws.reply(3)).error.code, 107);
        });

    for (const [name, body] of [
        ['presence', { channel: 'a' }],
        ['presence_stats', { channel: 'a' }],
        ['history', { channel: 'a', limit: 1 }],
        ['rpc', { method: 'm', data: {} }],
        ['refresh', { token: 'x' }],
    ]) {
        it(`108 for ${name}`, async (t) => {
            const ws = await kit.connected(t, gw);
            const error = await ws.refused(name, body, 108);
            assert.deepStrictEqual(error,
                { code: 108, message: 'not available' });
            await ws.subscribe('a');
        });
    }

    it('sub_refresh: 103 when not subscribed, else 108', async (t) => {
        const ws = await kit.connected(t, gw);
        const body = { channel: 'a', token: 'x' };
        const early = await ws.command('sub_refresh', body);
        assert.ok([103, 108].includes(early.error.code),
            JSON.stringify(early));
        await ws.subscribe('a');
        await ws.refused('sub_refresh', body, 108);
    });
});

describe('protocol: server-side verbs of the API', LIMIT, () => {
    let gw;
    before(async () => {
        gw = await kit.startGateway(
            { channel: { without_namespace: kit.OPEN } });
    });
    after(() => gw?.stop());

    it('unsubscribe pushes 2000 and frees the channel', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('kick');
        await kit.call(gw, 'unsubscribe',
            { user: '', channel: 'kick', client: ws.id });
        const { push } = await ws.push('kick');
        assert.strictEqual(push.unsubscribe.code, 2000);
        assert.ok(push.unsubscribe.reason.length > 0);
        await kit.publish(gw, 'kick', 'lost');
        await ws.subscribe('kick');
        await kit.publish(gw, 'kick', 'seen');
        assert.strictEqual((await ws.pub('kick')).data, 'seen');
    });

    it('unsubscribe of one client leaves the others', async (t) => {
        const a = await kit.connected(t, gw);
        const b = await kit.connected(t, gw);
        await a.subscribe('pair');
        await b.subscribe('pair');
        await kit.call(gw, 'unsubscribe',
            { user: '', channel: 'pair', client: a.id });
        await a.push('pair');
        await kit.publish(gw, 'pair', 1);
        assert.strictEqual((await b.pub('pair')).data, 1);
    });

    it('subscribe pushes `subscribe`, then publications come', async (t) => {
        const ws = await kit.connected(t, gw);
        await kit.call(gw, 'subscribe',
            { user: '', channel: 'given', client: ws.id });
        const { push } = await ws.push('given');
        assert.deepStrictEqual(push.subscribe, {});
        await kit.publish(gw, 'given', { n: 1 });
        assert.deepStrictEqual((await ws.pub('given')).data, { n: 1 });
    });

    it('disconnect closes 3503 by default', async (t) => {
        const ws = await kit.connected(t, gw);
        await kit.call(gw, 'disconnect', { user: '', client: ws.id });
        await ws.closedWith(3503);
    });

    it('disconnect takes code and reason', async (t) => {
        const ws = await kit.connected(t, gw);
        await kit.call(gw, 'disconnect', {
            user: '', client: ws.id,
            disconnect: { code: 4242, reason: 'because' },
        });
        const close = await ws.closedWith(4242);
        assert.strictEqual(close.reason, 'because');
    });

    it('disconnect of a user spares the whitelist and other users',
        async (t) => {
            const spared = await kit.connected(t, gw);
            const gone = await kit.connected(t, gw);
            await kit.call(gw, 'disconnect', { user: 'somebody' });
            await kit.call(gw, 'disconnect',
                { user: '', whitelist: [spared.id] });
            await gone.closedWith(3503);
            await spared.subscribe('still-here');
        });
});

describe('protocol: pings', LIMIT, () => {
    it('come as {} to every client, spread in time', async (t) => {
        const gw = await kit.gateway(t, {
            client: {
                ping_interval: kit.duration(2000),
                pong_timeout: kit.duration(1000),
            },
        });
        const all = await Promise.all(Array.from({ length: 40 },
            () => kit.connected(t, gw)));
        await kit.waitFor(() => all.every((ws) => ws.pings >= 2),
            'two pings for everybody');
        const times = all.map((ws) => ws.firstPingAt);
        const spread = Math.max(...times) - Math.min(...times);
        assert.ok(spread > 100, `first pings within ${spread} ms`);
        for (const ws of all) assert.ok(ws.frames.includes('{}'));
    });

    it('off: no ping and no pong in the connect reply', async (t) => {
        const gw = await kit.gateway(t, { client: { ping_interval: '0s' } });
        const ws = await kit.wsClient(t, gw);
        const reply = await ws.connect();
        assert.ok(!('ping' in reply) && !('pong' in reply),
            JSON.stringify(reply));
    });
});
