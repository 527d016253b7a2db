/* throttle-sse.test.js — the session of an event stream: what its first
 * event says, and what a POST to it, on any node, changes. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const { EventSource } = require('eventsource');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(60000) };
const LATEST = { mode: 'latest', key: '/s', rate: 20, snapshot: 1 };
const CONFIG = {
    channel: {
        without_namespace: kit.OPEN,
        namespaces: [
            { name: 'last', ...kit.OPEN, throttle: LATEST },
            { name: 'each', ...kit.OPEN, throttle: { snapshot: 3 } },
            { name: 'pat', ...kit.OPEN, allow_patterns: true,
                throttle: LATEST },
            { name: 'shut', throttle: LATEST },
        ],
    },
    sse: { channel_limit: 8 },
    client: { allowed_origins: ['https://*.example.com'] },
};
const SESSION = /^[^/\s]+\.\d+\.[0-9a-f]{32}$/;
const FULL = { rate: 20, mode: 'latest' };

const open = (t, gw, channels, ask) =>
    kit.reader(t, gw, 'sse', channels, ask);

async function posted(reader, channels, gw) {
    const answer = await reader.post(channels, gw);
    assert.strictEqual(answer.status, 200, answer.text);
    assert.match(answer.headers['content-type'], /^application\/json/);
    return answer.json;
}

/* The same session with another hex digit in place of the last. */
function forged(session) {
    return session.slice(0, -1) + (session.endsWith('0') ? '1' : '0');
}

for (const broker of kit.BROKERS) {
    describe(`throttle on SSE: the session, ${broker}`, LIMIT, () => {
        let rig;
        before(async () => { rig = await kit.Rig.start(broker, CONFIG); });
        after(() => rig?.stop());

        it('the first event names the session and what was granted',
            async (t) => {
                const keeper = await open(t, rig.gw, ['last:a', 'each:a']);
                await rig.source.send(['last:a', { s: 'x', n: 1 }],
                    ['last:a', { s: 'y', n: 2 }], ['each:a', 3],
                    ['each:a', 4]);
                await keeper.until((g) => g.data === 4, 'live');
                await keeper.until((g) => g.data.n === 2, 'live');
                const stream = await kit.sse(t, rig.gw, '/sse?channel=last:a' +
                    '&channel=each:a&channel=plain&channel=pat:*' +
                    '&rate=5&mode=latest');
                await kit.waitFor(() => stream.inbox.items.length >= 5,
                    'the snapshot');
                const [session, ...events] = stream.inbox.items;
                assert.strictEqual(session.event, 'session');
                assert.match(session.raw, /^event: session\ndata: \{/);
                const { session: name, channels } = JSON.parse(session.data);
                assert.match(name, SESSION);
                const granted = { rate: 5, mode: 'latest' };
                assert.deepStrictEqual(channels, {
                    'last:a': granted, 'each:a': granted, plain: granted,
                    'pat:*': { ...granted, snapshot: false },
                });
                const got = events.map((e) => JSON.parse(e.data));
                const of = (c) => got.filter((g) => g.channel === c)
                    .map((g) => g.data);
                assert.deepStrictEqual(of('last:a'),
                    [{ s: 'x', n: 1 }, { s: 'y', n: 2 }]);
                assert.deepStrictEqual(of('each:a'), [3, 4]);
                assert.strictEqual(got.length, 4);
            });

        it('every session has a name of its own', async (t) => {
            const names = new Set();
            for (let i = 0; i < 10; i++) {
                names.add((await open(t, rig.gw, 'last:a')).session);
            }
            assert.strictEqual(names.size, 10);
        });

        it('raw=1 gives bare payloads behind the session event',
            async (t) => {
                const stream = await kit.sse(t, rig.gw,
                    '/sse?channel=last:raw&raw=1&rate=1');
                const { json } = await stream.next('session');
                assert.deepStrictEqual(json.channels['last:raw'].rate, 1);
                await rig.source.send(['last:raw', { s: 'x', n: 1 }]);
                assert.strictEqual((await stream.next()).raw,
                    'data: {"s":"x","n":1}');
            });

        it('what several parameters match still comes once', async (t) => {
            const stream = await open(t, rig.gw,
                ['pat:m.a', 'pat:m.*', 'pat:>']);
            const values = Array.from({ length: 200 }, (_, n) =>
                ['pat:m.a', { s: 'x', n }]);
            await rig.source.send(...values);
            await stream.until((g) => g.data.n === 199, 'the last');
            await kit.publish(rig.gw, 'pat:end', { s: 'end', n: 0 });
            await stream.until((g) => g.data.s === 'end', 'the end');
            kit.assertGrowing(stream.got, (d) => d.s, 'merged');
            assert.ok(stream.got.length < 30, `${stream.got.length}`);
        });

        it('POST adds a channel, its snapshot follows, then it is live',
            async (t) => {
                const keeper = await open(t, rig.gw, 'last:new');
                await rig.source.send(['last:new', { s: 'x', n: 1 }],
                    ['last:new', { s: 'y', n: 2 }]);
                await keeper.until((g) => g.data.n === 2, 'live');
                const stream = await open(t, rig.gw, 'last:old', { rate: 2 });
                const answer = await posted(stream,
                    { 'last:new': { rate: 5 } });
                assert.deepStrictEqual(answer.channels['last:new'],
                    { rate: 5, mode: 'latest' });
                assert.strictEqual(answer.channels['last:old'].rate, 2);
                assert.ok(!('errors' in answer), JSON.stringify(answer));
                for (const n of [1, 2]) {
                    await stream.until((g) => g.data.n === n, 'snapshot');
                }
                await rig.source.send(['last:new', { s: 'z', n: 3 }],
                    ['last:old', { s: 'z', n: 4 }]);
                for (const n of [3, 4]) {
                    await stream.until((g) => g.data.n === n, 'live');
                }
                assert.strictEqual(stream.got.length, 4);
            });

        it('an empty object adds at the rate of the namespace', async (t) => {
            const stream = await open(t, rig.gw, 'plain', { rate: 1 });
            const { channels } = await posted(stream, { 'last:e': {} });
            assert.strictEqual(channels['last:e'].rate, 20);
            assert.strictEqual(channels['last:e'].mode, 'latest');
        });

        it('POST changes a rate up and down: the newest comes, the rate holds',
            async (t) => {
                const stream = await open(t, rig.gw, 'last:c', { rate: 0.2 });
                let n = 0;
                const next = () => ['last:c', { s: 'x', n: ++n }];
                await rig.source.send(next());
                await stream.until((g) => g.data.n === 1, 'the leading edge');
                await rig.source.send(next(), next(), next());
                assert.deepStrictEqual(
                    await stream.change('last:c', { rate: 20 }), FULL);
                await stream.until((g) => g.data.n === 4, 'the newest', 2500);
                await stream.change('last:c', { rate: 1 });
                const since = performance.now();
                const source = kit.pump(t, rig.source, () => [next()], 2);
                await kit.pause(3200);
                await source.stop();
                await stream.until((g) => g.data.n === n, 'the last');
                kit.assertGrowing(stream.got, (d) => d.s, 'sse');
                kit.assertRate(stream.got.filter((g) => g.at > since), 1,
                    'sse');
            });

        it('null removes, also the last one, and the stream stays',
            async (t) => {
                const stream = await open(t, rig.gw, ['last:r', 'plain.r']);
                const first = await posted(stream, { 'last:r': null });
                assert.deepStrictEqual(Object.keys(first.channels),
                    ['plain.r']);
                await kit.publish(rig.gw, 'last:r', { s: 'x', n: 'no' });
                await kit.publish(rig.gw, 'plain.r', { n: 'yes' });
                await stream.until((g) => g.data.n === 'yes', 'the other');
                const none = await posted(stream,
                    { 'plain.r': null, 'last:never': null });
                assert.deepStrictEqual(none.channels, {});
                await kit.publish(rig.gw, 'plain.r', { n: 'no' });
                await posted(stream, { 'last:r2': {} });
                await kit.publish(rig.gw, 'last:r2', { s: 'x', n: 'end' });
                await stream.until((g) => g.data.n === 'end', 'added again');
                assert.ok(stream.got.every((g) => g.data.n !== 'no'));
            });

        it('what fails is told by channel, the rest is done', async (t) => {
            const stream = await open(t, rig.gw, 'last:f');
            const { channels, errors } = await posted(stream, {
                'shut:x': {}, 'nope:x': {}, 'a..b': {}, 'last:*': {},
                'last:f': { rate: 1 }, 'last:g': { rate: 2 },
            });
            assert.deepStrictEqual(errors['shut:x'],
                { code: 103, message: 'permission denied' });
            assert.deepStrictEqual(errors['nope:x'],
                { code: 102, message: 'unknown channel' });
            assert.strictEqual(errors['a..b'].code, 107);
            assert.ok(errors['last:*'].code > 0);
            assert.strictEqual(Object.keys(errors).length, 4);
            assert.strictEqual(channels['last:f'].rate, 1);
            assert.strictEqual(channels['last:g'].rate, 2);
            assert.strictEqual(Object.keys(channels).length, 2);
        });

        it('sse.channel_limit holds for what is added', async (t) => {
            const stream = await open(t, rig.gw, 'last:l0');
            const more = {};
            for (let i = 1; i < 12; i++) more[`last:l${i}`] = {};
            const { channels, errors } = await posted(stream, more);
            assert.strictEqual(Object.keys(channels).length, 8);
            assert.strictEqual(Object.keys(errors).length, 4);
            for (const error of Object.values(errors)) {
                assert.strictEqual(error.code, 106);
            }
        });

        it('a session ends with its stream', async (t) => {
            const stream = await open(t, rig.gw, 'last:gone');
            assert.strictEqual((await stream.post({})).status, 200);
            stream.close();
            await kit.waitFor(async () =>
                (await stream.post({})).status === 404, '404');
        });
    });
}

describe('throttle on SSE: who may POST', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway(CONFIG); });
    after(() => gw?.stop());

    it('404 for what is no session, and nobody is changed', async (t) => {
        const stream = await open(t, gw, 'last:a');
        const other = await open(t, gw, 'last:b');
        const [, node, shard, secret] =
            /^(.*)\.(\d+)\.([0-9a-f]{32})$/.exec(stream.session);
        const otherSecret = other.session.split('.').at(-1);
        const ws = await kit.connected(t, gw);
        const own = new Set([stream.session, other.session]);
        for (const name of ['x', '.', '..', '...', '0.0.0', secret,
            `${node}.${shard}.`, `${node}.${shard}`, `.${shard}.${secret}`,
            forged(stream.session), forged(other.session),
            `${node}.${shard}.${secret}0`, `${node}.${shard}.0${secret}`,
            `${node}.${shard}.${secret.slice(1)}`,
            `${node}.${1 - Number(shard)}.${secret}`,
            `${node}.${shard}.${secret.toUpperCase()}A`,
            `${node}.9.${secret}`, `${node}.-1.${secret}`,
            `${node}.99999999999999999999.${secret}`,
            `${node}.x.${secret}`, `other.${shard}.${secret}`,
            `${node}x.${shard}.${secret}`, `${stream.session}/x`,
            `${stream.session}%00`, '%00', '*', '%3E',
            `${node}.${shard}.${'0'.repeat(32)}`, 'x'.repeat(2000),
            `${node}.${1 - Number(shard)}.${otherSecret}`, ws.id]) {
            if (own.has(name)) continue;
            const answer = await kit.postSession(gw, name,
                { channels: { 'last:a': null, 'last:b': null } });
            assert.ok([404, 400].includes(answer.status),
                `${name}: ${answer.status}`);
            if (/^[\w.-]+$/.test(name)) {
                assert.strictEqual(answer.status, 404, name);
            }
        }
        for (const [reader, channel] of [[stream, 'last:a'],
            [other, 'last:b']]) {
            assert.deepStrictEqual((await posted(reader, {})).channels,
                { [channel]: FULL });
        }
    });

    it('from any connection, so from any shard', async (t) => {
        const stream = await open(t, gw, 'last:a');
        for (const rate of [1, 2, 3, 5, 10, 1, 2, 3, 5, 10]) {
            const { channels } = await posted(stream, { 'last:a': { rate } });
            assert.strictEqual(channels['last:a'].rate, rate);
        }
    });

    it('POSTs in one pipeline are answered in order', async (t) => {
        const stream = await open(t, gw, 'last:a');
        const raw = await kit.RawSocket.connect(gw);
        kit.defer(t, () => raw.destroy());
        const rates = [1, 2, 3, 5, 10, 20];
        raw.write(rates.map((rate) => {
            const body = JSON.stringify({ channels: { 'last:a': { rate } } });
            return kit.httpBytes('POST', `/sse/${stream.session}`,
                { 'Content-Length': body.length }, body);
        }).join(''));
        const answers = await raw.responses(rates.length);
        assert.deepStrictEqual(answers.map((a) =>
            JSON.parse(a.text).channels['last:a'].rate), rates);
    });

    it('an allowed origin is named, a refused one gets 403', async (t) => {
        const stream = await open(t, gw, 'last:a');
        const origin = 'https://app.example.com';
        const good = await kit.postSession(gw, stream.session,
            { channels: { 'last:a': { rate: 1 } } }, { Origin: origin });
        assert.strictEqual(good.status, 200);
        assert.strictEqual(good.headers['access-control-allow-origin'],
            origin);
        assert.strictEqual(good.headers['access-control-allow-credentials'],
            'true');
        const bad = await kit.postSession(gw, stream.session,
            { channels: { 'last:a': null } },
            { Origin: 'https://evil.example.org' });
        assert.strictEqual(bad.status, 403);
        assert.ok(!('access-control-allow-origin' in bad.headers));
        assert.strictEqual(
            (await posted(stream, {})).channels['last:a'].rate, 1);
        const lost = await kit.postSession(gw, forged(stream.session),
            { channels: {} }, { Origin: origin });
        assert.strictEqual(lost.status, 404);
        assert.strictEqual(lost.headers['access-control-allow-origin'],
            origin);
    });

    it('OPTIONS is answered for an allowed origin', async (t) => {
        const { session } = await open(t, gw, 'last:a');
        const answer = await kit.request(gw, {
            method: 'OPTIONS', path: `/sse/${session}`, headers: {
                Origin: 'https://app.example.com',
                'Access-Control-Request-Method': 'POST',
                'Access-Control-Request-Headers': 'content-type',
            },
        });
        assert.strictEqual(answer.status, 204);
        assert.strictEqual(answer.headers['access-control-allow-origin'],
            'https://app.example.com');
        assert.strictEqual(answer.headers['access-control-allow-headers'],
            'content-type');
    });

    it('405 for other methods', async (t) => {
        const { session } = await open(t, gw, 'last:a');
        for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
            const answer = await kit.request(gw,
                { method, path: `/sse/${session}` });
            assert.strictEqual(answer.status, 405, method);
        }
    });

    it('EventSource: the session event, and a tab that hides', async (t) => {
        const source = new EventSource(gw.url('/sse?channel=last:tab'));
        kit.defer(t, () => source.close());
        const got = [];
        source.onmessage = (event) => got.push(JSON.parse(event.data).data.n);
        const { session } = JSON.parse(await kit.withDeadline(
            new Promise((resolve) => source.addEventListener('session',
                (event) => resolve(event.data))), 'the session event'));
        await kit.publish(gw, 'last:tab', { s: 'x', n: 1 });
        await kit.waitFor(() => got.length === 1, 'live');
        const answer = await kit.postSession(gw, session,
            { channels: { 'last:tab': { rate: 0.2 } } });
        assert.deepStrictEqual(answer.json.channels['last:tab'],
            { rate: 0.2, mode: 'latest' });
        for (let n = 2; n <= 100; n++) {
            await kit.publish(gw, 'last:tab', { s: 'x', n });
        }
        await kit.postSession(gw, session,
            { channels: { 'last:tab': { rate: 10 } } });
        await kit.waitFor(() => got.at(-1) === 100, 'the newest');
        assert.ok(got.length < 20, `${got.length} of 100`);
    });
});

describe('throttle on SSE: another node', LIMIT, () => {
    it('a POST to B changes, adds and removes on a stream of A',
        async (t) => {
            const rig = await kit.rig(t, 'nats', CONFIG, 2);
            const [a, b] = rig.nodes;
            const stream = await open(t, a, ['last:x', 'last:y']);
            const { channels, errors } = await posted(stream, {
                'last:x': { rate: 1 }, 'last:y': null, 'last:z': { rate: 5 },
                'shut:x': {},
            }, b);
            assert.strictEqual(channels['last:x'].rate, 1);
            assert.strictEqual(channels['last:z'].rate, 5);
            assert.ok(!('last:y' in channels));
            assert.strictEqual(errors['shut:x'].code, 103);
            await kit.publish(b, 'last:y', { s: 'x', n: 'no' });
            await kit.publish(b, 'last:z', { s: 'x', n: 1 });
            await stream.until((g) => g.data.n === 1, 'added through B');
            assert.strictEqual(stream.got.length, 1);
            assert.strictEqual((await kit.postSession(b,
                forged(stream.session), { channels: {} })).status, 404);
            for (const bad of ['', '{', '{"channels":5}']) {
                assert.strictEqual((await kit.postSession(b, stream.session,
                    bad)).status, 400, bad);
            }
            const many = await Promise.all(Array.from({ length: 30 }, () =>
                stream.post({ 'last:x': { rate: 2 } }, b)));
            for (const answer of many) {
                assert.ok([200, 429].includes(answer.status),
                    `${answer.status}`);
            }
            assert.ok(many.some((answer) => answer.status === 200));
        });

    it('503 while A is frozen, and it works again after', async (t) => {
        const rig = await kit.rig(t, 'nats', CONFIG, 2);
        const [a, b] = rig.nodes;
        const stream = await open(t, a, 'last:x');
        await posted(stream, { 'last:x': { rate: 5 } }, b);
        process.kill(a.pid, 'SIGSTOP');
        try {
            const answers = await Promise.all([1, 2, 3].map((rate) =>
                stream.post({ 'last:x': { rate } }, b)));
            for (const answer of answers) {
                assert.strictEqual(answer.status, 503, answer.text);
            }
            for (let i = 0; i < 4; i++) {
                const alive = await kit.request(b, { path: '/health' });
                assert.strictEqual(alive.status, 200);
            }
        } finally {
            process.kill(a.pid, 'SIGCONT');
        }
        await kit.waitFor(async () => {
            const answer = await stream.post({ 'last:x': { rate: 10 } }, b);
            return answer.status === 200 &&
                answer.json.channels['last:x'].rate === 10;
        }, 'A answers again', 20000);
        await kit.publish(b, 'last:x', { s: 'x', n: 1 });
        await stream.until((g) => g.data.n === 1, 'the stream lives');
    });

    it('404 or 503 when A is dead', async (t) => {
        const rig = await kit.rig(t, 'nats', CONFIG, 1);
        const a = await kit.startGateway(
            kit.merge(CONFIG, { nats: { url: rig.server.url } }));
        const stream = await open(t, a, 'last:x');
        await posted(stream, {}, rig.gw);
        await a.kill();
        for (let i = 0; i < 3; i++) {
            const { status } = await stream.post({}, rig.gw);
            assert.ok([404, 503].includes(status), `${status}`);
        }
    });

    it('503 or 404 while NATS is away, 200 where the stream is',
        async (t) => {
            const rig = await kit.rig(t, 'nats', CONFIG, 2);
            const [a, b] = rig.nodes;
            const stream = await open(t, a, 'last:x');
            await rig.server.kill();
            const { status } = await stream.post({}, b);
            assert.ok([404, 503].includes(status), `${status}`);
            const own = await stream.post({ 'last:x': { rate: 1 } }, a);
            assert.strictEqual(own.status, 200, own.text);
        });

    it('in-process there is no other node: 404', async (t) => {
        const one = await kit.gateway(t, CONFIG);
        const two = await kit.gateway(t, CONFIG);
        const stream = await open(t, one, 'last:x');
        assert.strictEqual((await stream.post({}, two)).status, 404);
        assert.strictEqual((await stream.post({})).status, 200);
    });
});
