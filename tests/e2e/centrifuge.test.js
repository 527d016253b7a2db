/* centrifuge.test.js — the proof of the protocol: the npm package
 * `centrifuge`, unmodified, against the real gateway. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const { Centrifuge } = require('centrifuge');
const WebSocket = require('ws');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(90000) };
const OPEN = { channel: { without_namespace: kit.OPEN } };

function client(t, gw, options = {}) {
    const centrifuge = new Centrifuge(gw.wsUrl(), {
        websocket: WebSocket,
        minReconnectDelay: 50,
        maxReconnectDelay: 200,
        timeout: kit.ms(5000),
        ...options,
    });
    kit.defer(t, () => centrifuge.disconnect());
    return centrifuge;
}

function once(emitter, event, what = event) {
    return kit.withDeadline(
        new Promise((resolve) => emitter.once(event, resolve)), what, 20000);
}

async function connect(t, gw, options) {
    const centrifuge = client(t, gw, options);
    const context = once(centrifuge, 'connected');
    centrifuge.connect();
    return { centrifuge, context: await context };
}

/* A subscription whose publications are collected. */
function collect(centrifuge, channel) {
    const sub = centrifuge.newSubscription(channel);
    sub.got = [];
    sub.on('publication', (ctx) => sub.got.push(ctx));
    return sub;
}

async function subscribed(sub) {
    sub.subscribe();
    await sub.ready(kit.ms(20000));
}

async function subscriberCount(gw, channel) {
    const { channels } = await kit.call(gw, 'channels', {});
    return channels[channel]?.num_clients ?? 0;
}

describe('centrifuge-js', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway(OPEN); });
    after(() => gw?.stop());

    it('connects', async (t) => {
        const { centrifuge, context } = await connect(t, gw);
        assert.strictEqual(centrifuge.state, 'connected');
        assert.strictEqual(context.transport, 'websocket');
        assert.match(context.client, /^[0-9a-f-]{36}$/);
    });

    it('subscribes before it is connected', async (t) => {
        const centrifuge = client(t, gw);
        const subs = ['a', 'b', 'c'].map((c) => collect(centrifuge, c));
        for (const sub of subs) sub.subscribe();
        centrifuge.connect();
        for (const sub of subs) await sub.ready(kit.ms(20000));
        for (const sub of subs) await kit.publish(gw, sub.channel, 1);
        await kit.waitFor(() => subs.every((s) => s.got.length === 1),
            'one publication each');
    });

    it('publishes to a channel, by subscription and by client',
        async (t) => {
            const { centrifuge, context } = await connect(t, gw);
            const sub = collect(centrifuge, 'chat');
            await subscribed(sub);
            await sub.publish({ n: 1 });
            await centrifuge.publish('chat', { n: 2 });
            await kit.waitFor(() => sub.got.length === 2, 'both come');
            assert.deepStrictEqual(sub.got.map((p) => p.data),
                [{ n: 1 }, { n: 2 }]);
            assert.strictEqual(sub.got[0].info.client, context.client);
        });

    it('survives 10 rapid subscribe/unsubscribe pairs, ending subscribed',
        async (t) => {
            const { centrifuge } = await connect(t, gw);
            const sub = collect(centrifuge, 'rapid');
            for (let i = 0; i < 10; i++) {
                sub.subscribe();
                sub.unsubscribe();
            }
            await subscribed(sub);
            await kit.publish(gw, 'rapid', 'once');
            await kit.publish(gw, 'rapid', 'end');
            await kit.waitFor(() => sub.got.at(-1)?.data === 'end', 'end');
            assert.deepStrictEqual(sub.got.map((p) => p.data),
                ['once', 'end']);
            assert.strictEqual(await subscriberCount(gw, 'rapid'), 1);
            assert.strictEqual(centrifuge.state, 'connected');
        });

    it('survives 10 rapid pairs with awaited subscribes, ending without',
        async (t) => {
            const { centrifuge } = await connect(t, gw);
            const sub = collect(centrifuge, 'rapid2');
            for (let i = 0; i < 10; i++) {
                await subscribed(sub);
                sub.unsubscribe();
            }
            await kit.waitFor(
                async () => await subscriberCount(gw, 'rapid2') === 0,
                'nobody is subscribed');
            assert.strictEqual(centrifuge.state, 'connected');
        });

    it('holds 128 channels; the 129th gets error 106', async (t) => {
        const { centrifuge } = await connect(t, gw);
        const subs = [];
        for (let i = 0; i < 128; i++) {
            subs.push(collect(centrifuge, `many.${i}`));
            subs[i].subscribe();
        }
        for (const sub of subs) await sub.ready(kit.ms(20000));
        const extra = collect(centrifuge, 'many.128');
        const refused = once(extra, 'unsubscribed');
        extra.subscribe();
        assert.strictEqual((await refused).code, 106);
        for (let i = 0; i < 128; i++) await kit.publish(gw, `many.${i}`, i);
        await kit.waitFor(() => subs.every((s) => s.got.length === 1),
            'one publication on each of 128 channels');
        subs.forEach((s, i) => assert.strictEqual(s.got[0].data, i));
    });

    it('is told terminal errors as it expects them', async (t) => {
        const { centrifuge } = await connect(t, gw);
        for (const [channel, code] of [['nope:x', 102], ['a..b', 107]]) {
            const sub = collect(centrifuge, channel);
            const refused = once(sub, 'unsubscribed');
            sub.subscribe();
            assert.strictEqual((await refused).code, code);
        }
        await assert.rejects(centrifuge.history('a', { limit: 1 }),
            { code: 108 });
        await assert.rejects(centrifuge.presence('a'), { code: 108 });
        await assert.rejects(centrifuge.rpc('m', {}), { code: 108 });
        assert.strictEqual(centrifuge.state, 'connected');
    });

    it('an API unsubscribe is final, an API disconnect too', async (t) => {
        const { centrifuge, context } = await connect(t, gw);
        const sub = collect(centrifuge, 'out');
        await subscribed(sub);
        const left = once(sub, 'unsubscribed');
        await kit.call(gw, 'unsubscribe',
            { user: '', channel: 'out', client: context.client });
        assert.strictEqual((await left).code, 2000);
        const gone = once(centrifuge, 'disconnected');
        await kit.call(gw, 'disconnect',
            { user: '', client: context.client });
        assert.strictEqual((await gone).code, 3503);
    });

    it('answers pings and stays', async (t) => {
        const quick = await kit.gateway(t, {
            ...OPEN, client: {
                ping_interval: kit.duration(1000),
                pong_timeout: kit.duration(600),
            },
        });
        const { centrifuge } = await connect(t, quick);
        const before = await kit.metrics(quick);
        const other = await kit.wsClient(t, quick);
        await other.connect();
        await kit.waitFor(() => other.pings >= 4, 'four pings');
        assert.strictEqual(centrifuge.state, 'connected');
        assert.strictEqual(kit.closesBy(await kit.metrics(quick), 'no_pong'),
            kit.closesBy(before, 'no_pong'));
    });
});

describe('centrifuge-js: reconnect', LIMIT, () => {
    for (const how of ['stop', 'kill']) {
        it(`after the server went by ${how} and came back`, async (t) => {
            const gw = await kit.gateway(t, OPEN);
            const { centrifuge } = await connect(t, gw);
            const subs = ['x', 'y'].map((c) => collect(centrifuge, c));
            for (const sub of subs) await subscribed(sub);
            const connecting = once(centrifuge, 'connecting');
            const codes = [];
            centrifuge.on('connecting', (ctx) => codes.push(ctx.code));
            await gw[how]();
            await connecting;
            if (how === 'stop') assert.ok(codes.includes(3001), codes);
            await gw.restart();
            for (const sub of subs) await sub.ready(kit.ms(20000));
            for (const sub of subs) await kit.publish(gw, sub.channel, 'on');
            await kit.waitFor(() => subs.every((s) => s.got.length === 1),
                'publications flow again');
        });
    }
});
