/* throttle.test.js — what a subscriber of a throttled namespace is given:
 * the newest of each item, as often as agreed, nothing stale, nothing lost
 * that counts. Every promise on WebSocket and SSE, in-process and over NATS. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const { Centrifuge } = require('centrifuge');
const WebSocket = require('ws');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(120000) };

function space(name, throttle, more = {}) {
    return { name, ...kit.OPEN, ...more, throttle };
}

const CHANNEL = {
    without_namespace: kit.OPEN,
    namespaces: [
        space('last', { mode: 'latest', key: '/s', rate: 20, snapshot: 1 }),
        space('rare', { mode: 'latest', key: '/s', rate: 0.2 }),
        space('whole', { mode: 'latest', rate: 20 }),
        space('note',
            { mode: 'latest', key: '/s', rate: 5, annotate: true }),
        space('free', { mode: 'latest', key: '/s', snapshot: 1 }),
        space('odd', { mode: 'latest', rate: 7 }),
        space('fixed',
            { mode: 'latest', rate: 20, allow_client_rate: false }),
        space('each', { key: '/s', snapshot: 10 }),
        space('eachfixed', { allow_client_rate: false }),
        space('eachrate', { rate: 5 }),
        space('doc', { mode: 'merge', key: '/id', rate: 20, snapshot: 1 }),
        space('one', { mode: 'merge', rate: 20, snapshot: 1 }),
        space('pat', { mode: 'latest', key: '/s', rate: 5, snapshot: 1 },
            { allow_patterns: true }),
        space('quote',
            { mode: 'latest', key: '/s', rate: 1, order_group: 'acct' }),
        space('fill', { order_group: 'acct' }),
        space('mixed', { mode: 'latest', key: '/s', rate: 1 }),
    ],
};
const CONFIG = {
    channel: CHANNEL, uni_sse: { enabled: true },
    throttle: { idle_ttl: '1s' }, nats: { grace: '300ms' },
};

const item = (data) => data.s;
const range = (count, make) => Array.from({ length: count }, (_, i) => make(i));

/* The newest n of each item that was published. */
class Newest {
    constructor() { this.n = 0; this.of = new Map(); }

    make(s, more = {}) {
        this.of.set(s, ++this.n);
        return { s, n: this.n, ...more };
    }

    async reaches(reader) {
        for (const [s, n] of this.of) {
            await reader.until((g) => g.data.s === s && g.data.n === n,
                `${s} ends with ${n}`);
        }
    }
}

for (const broker of kit.BROKERS) {
    describe(`throttle: what arrives, ${broker}`, LIMIT, () => {
        let rig;
        before(async () => { rig = await kit.Rig.start(broker, CONFIG); });
        after(() => rig?.stop());

        it('a snapshot of every item, then what is newer, while it is busy',
            async (t) => {
                const channel = 'last:busy';
                const items = range(5, (i) => `i${i}`);
                const newest = new Newest();
                const keeper = await kit.reader(t, rig.gw, 'websocket',
                    channel);
                const source = kit.pump(t, rig.source, () =>
                    items.map((s) => [channel, newest.make(s)]), 2);
                await keeper.until((g) => g.data.n > 20, 'it flows');
                const all = [keeper];
                for (let i = 0; i < 6; i++) {
                    all.push(...await kit.readers(t, rig.gw, channel));
                }
                await source.stop();
                for (const reader of all) {
                    await newest.reaches(reader);
                    kit.assertGrowing(reader.got, item, reader.kind);
                    const first = reader.got.slice(0, items.length);
                    assert.strictEqual(new Set(first.map((g) => g.data.s)).size,
                        items.length, `${reader.kind}: a snapshot of all`);
                }
                for (const reader of all.slice(1)) {
                    if (reader.kind !== 'websocket') continue;
                    assert.strictEqual(
                        reader.got.filter((g) => g.snapshot).length,
                        items.length);
                }
            });

        it('the last N publications, then the next one: no hole, no twin',
            async (t) => {
                const channel = 'each:busy';
                const keeper = await kit.reader(t, rig.gw, 'sse', channel);
                let n = 0;
                const source = kit.pump(t, rig.source, () =>
                    range(5, () => [channel, { n: ++n }]), 2);
                await keeper.until((g) => g.data.n > 20, 'it flows');
                const all = [keeper];
                for (let i = 0; i < 6; i++) {
                    all.push(...await kit.readers(t, rig.gw, channel));
                }
                await source.stop();
                for (const reader of all) {
                    await reader.until((g) => g.data.n === n, `the end ${n}`);
                    const first = reader.got[0].data.n;
                    reader.got.forEach((g, i) => assert.strictEqual(g.data.n,
                        first + i, `${reader.kind}: after ${first + i - 1}`));
                    const old = reader.got.filter((g) => g.snapshot).length;
                    assert.strictEqual(old,
                        reader === keeper || reader.kind === 'sse' ? 0 : 10);
                }
            });

        it('a quiet item goes at once, whatever the rate', async (t) => {
            const all = await kit.readers(t, rig.gw, 'rare:quiet');
            for (const s of ['a', 'b', 'c']) {
                await rig.source.send(['rare:quiet', { s, n: 1 }]);
                await Promise.all(all.map((reader) => reader.until(
                    (g) => g.data.s === s, `${s} at once`, 2500)));
            }
            await rig.source.send(['rare:quiet', { s: 'a', n: 2 }]);
            await Promise.all(all.map((reader) => reader.until(
                (g) => g.data.n === 2, 'the trailing edge')));
        });

        it('a busy item: fresh, at most at its rate, never starved',
            async (t) => {
                const channel = 'last:fast';
                const asked = [[20, undefined], [5, { rate: 5 }],
                    [1, { rate: 1 }]];
                const all = [];
                for (const [rate, ask] of asked) {
                    for (const reader of await kit.readers(t, rig.gw,
                        channel, ask)) {
                        all.push([rate, reader]);
                    }
                }
                const seconds = 4;
                const newest = new Newest();
                const source = kit.pump(t, rig.source, () =>
                    [[channel, newest.make('x', { t: performance.now() })]],
                1);
                await kit.pause(seconds * 1000);
                await source.stop();
                for (const [rate, reader] of all) {
                    await newest.reaches(reader);
                    const what = `${reader.kind} at ${rate}/s`;
                    kit.assertRate(reader.got, rate, what);
                    kit.assertGrowing(reader.got, item, what);
                    assert.ok(reader.got.length >= rate * seconds / 4,
                        `${what}: only ${reader.got.length}`);
                    const old = Math.max(...reader.got.slice(1, -1)
                        .map((g) => g.at - g.data.t));
                    assert.ok(old < kit.ms(1500),
                        `${what}: a value ${old} ms old`);
                }
                assert.ok(newest.n > 20 * seconds * 2, 'it was busy');
            });

        it('the final value always arrives, however a burst ends',
            async (t) => {
                const all = await kit.readers(t, rig.gw, 'last:bursts');
                const newest = new Newest();
                for (let round = 0; round < 25; round++) {
                    const burst = range(1 + round * 7 % 9, (i) =>
                        ['last:bursts', newest.make(`i${(round + i) % 3}`)]);
                    await rig.source.send(...burst);
                    await kit.pause(round * 13 % 70);
                    if (round % 2) continue;
                    for (const reader of all) await newest.reaches(reader);
                }
                for (const reader of all) {
                    await newest.reaches(reader);
                    kit.assertGrowing(reader.got, item, reader.kind);
                }
            });

        it('without a key the channel is the item', async (t) => {
            const all = await kit.readers(t, rig.gw, 'whole:a');
            const values = range(500, (n) => ({ s: `i${n}`, n }));
            await rig.source.send(...values.map((v) => ['whole:a', v]));
            for (const reader of all) {
                await reader.until((g) => g.data.n === 499, 'the last');
                assert.ok(reader.got.length <= 60, `${reader.got.length}`);
                kit.assertGrowing(reader.got, () => 'x', reader.kind);
            }
        });

        it('a pattern: each channel and item by itself, and no snapshot',
            async (t) => {
                await rig.source.send(['pat:a', { s: 'x', n: 0 }]);
                const all = await kit.readers(t, rig.gw, 'pat:*');
                for (const reader of all) {
                    assert.deepStrictEqual(reader.granted['pat:*'],
                        { rate: 5, mode: 'latest', snapshot: false });
                }
                const values = [];
                for (let n = 1; n <= 100; n++) {
                    for (const c of ['pat:a', 'pat:b']) {
                        values.push([c, { s: 'x', n }], [c, { s: 'y', n }]);
                    }
                }
                await rig.source.send(...values);
                for (const reader of all) {
                    for (const c of ['pat:a', 'pat:b']) {
                        for (const s of ['x', 'y']) {
                            await reader.until((g) => g.channel === c &&
                                g.data.s === s && g.data.n === 100,
                            `${c} ${s} ends with 100`);
                        }
                        kit.assertGrowing(reader.of(c), item, c);
                    }
                    assert.ok(reader.got.every((g) => g.data.n > 0));
                    assert.ok(reader.got.length < 100,
                        `${reader.got.length} of 400`);
                }
            });

        it('annotate: what one delivery stands for adds up, and its age',
            async (t) => {
                const channel = 'note:a';
                const all = await kit.readers(t, rig.gw, channel);
                const newest = new Newest();
                for (let i = 0; i < 100; i++) {
                    await rig.source.send(
                        [channel, newest.make('x')],
                        [channel, newest.make('x'), { tags: { k: 'v' } }],
                        [channel, newest.make('y')]);
                    await kit.pause(5);
                }
                for (const reader of all) {
                    await newest.reaches(reader);
                    const sums = { x: 0, y: 0 };
                    for (const { data, tags } of reader.got) {
                        assert.match(tags.n, /^[1-9]\d*$/);
                        assert.match(tags.age_ms, /^\d+$/);
                        assert.ok(Number(tags.age_ms) < kit.ms(2000),
                            tags.age_ms);
                        sums[data.s] += Number(tags.n);
                        assert.strictEqual(tags.k,
                            data.s === 'x' && data.n % 3 === 2 ? 'v'
                                : undefined);
                    }
                    assert.deepStrictEqual(sums, { x: 200, y: 100 });
                    assert.strictEqual(reader.got[0].tags.n, '1');
                }
            });

        it('an urgent publication comes after the quotes before it, always',
            async (t) => {
                const channel = 'mixed:a';
                const all = await kit.readers(t, rig.gw, channel);
                const newest = new Newest();
                const quote = (s) => [channel, newest.make(s)];
                const before = [];
                const urgent = (u) => {
                    before[u] = new Map(newest.of);
                    return [channel, { u }, { urgent: true }];
                };
                for (let round = 0; round < 20; round++) {
                    await rig.source.send(quote('a'), quote('a'), quote('b'),
                        quote('a'), quote('b'), urgent(3 * round),
                        quote('a'), urgent(3 * round + 1),
                        urgent(3 * round + 2), quote('b'));
                }
                for (const reader of all) {
                    await newest.reaches(reader);
                    const seen = new Map();
                    const urgents = [];
                    for (const { data } of reader.got) {
                        if (data.s) seen.set(data.s, data.n);
                        if (data.u === undefined) continue;
                        urgents.push(data.u);
                        assert.deepStrictEqual(seen, before[data.u],
                            `${reader.kind}: before urgent ${data.u}`);
                    }
                    assert.deepStrictEqual(urgents, range(60, (u) => u));
                    kit.assertGrowing(reader.got.filter((g) => g.data.s),
                        item, reader.kind);
                }
            });

        it('an order group spans namespaces', async (t) => {
            const all = await kit.readers(t, rig.gw,
                ['quote:a', 'quote:b', 'fill:me']);
            const newest = new Newest();
            for (let u = 0; u < 10; u++) {
                for (let i = 0; i < 4; i++) {
                    await rig.source.send(['quote:a', newest.make('a')],
                        ['quote:b', newest.make('b')],
                        ['quote:b', newest.make('c')]);
                }
                /* A round trip: what was published is on its way. */
                await kit.publish(rig.gw, 'fill:me', { calm: u });
                await Promise.all(all.map((reader) => reader.until(
                    (g) => g.data.calm === u, `calm ${u}`)));
                await rig.source.send(['fill:me', { u }, { urgent: true }]);
                for (const reader of all) {
                    const fill = await reader.until((g) => g.data.u === u,
                        `fill ${u}`);
                    const earlier =
                        reader.got.slice(0, reader.got.indexOf(fill));
                    for (const [s, n] of newest.of) {
                        const last = earlier.filter((g) => g.data.s === s)
                            .at(-1);
                        assert.strictEqual(last?.data.n, n,
                            `${reader.kind}: ${s} before fill ${u}`);
                    }
                }
            }
        });

        it('merge: every delivery is the whole state', async (t) => {
            const channel = 'doc:a';
            const states = new Map();
            const now = {};
            let n = 0;
            const values = [null, 1, 'text', true, [1, null], { k: 1 },
                { k: null, l: { m: 2 } }, { l: { m: null } }, {}, 12.5];
            const patch = () => {
                const id = `d${n % 3}`;
                const made = { id, n: ++n };
                for (let i = 0; i < 2; i++) {
                    made['wxyz'[(n * 3 + i) % 4]] =
                        values[(n * 7 + i * 3 + (n >> 3)) % values.length];
                }
                now[id] = kit.mergePatch(now[id], made);
                states.set(n, now[id]);
                return [channel, made];
            };
            const all = await kit.readers(t, rig.gw, channel);
            const source = kit.pump(t, rig.source, () => range(5, patch), 3);
            for (let i = 0; i < 5; i++) {
                await all[0].next(() => true, 'it flows');
                all.push(...await kit.readers(t, rig.gw, channel));
            }
            await all[0].until((g) => g.data.n > 500, 'many patches');
            await source.stop();
            for (const reader of all) {
                for (const { id, n: last } of Object.values(now)) {
                    await reader.until((g) => g.data.id === id &&
                        g.data.n === last, `${id} ends with ${last}`);
                }
                for (const { data } of reader.got) {
                    assert.deepStrictEqual(data, states.get(data.n));
                }
                kit.assertGrowing(reader.got, (d) => d.id, reader.kind);
            }
        });

        it('merge: what is no object replaces, deleted members are gone',
            async (t) => {
                const all = await kit.readers(t, rig.gw, 'one:a');
                let state;
                for (const patch of [{ a: 1, b: { c: 1 } },
                    { b: { d: 2 } }, { b: { c: null }, a: null }, { b: null },
                    5, { b: 2 }, [1, null], { x: null, y: { z: null } }, 'text',
                    { 'a/b~"\u00e9\u0000': 1 },
                    { 'a/b~"\u00e9\u0000': null, '': 0 },
                    false, {}]) {
                    state = kit.mergePatch(state, patch);
                    const what = `the state after ${JSON.stringify(patch)}`;
                    const arrivals = all.map((reader) =>
                        reader.next(() => true, what));
                    await rig.source.send(['one:a', patch]);
                    for (const { data } of await Promise.all(arrivals)) {
                        assert.deepStrictEqual(data, state);
                    }
                    const late = await kit.reader(t, rig.gw, 'websocket',
                        'one:a');
                    assert.deepStrictEqual(late.got.map((g) => g.data),
                        [state]);
                    late.close();
                }
            });

        it('a rate changed live: the newest comes, and the new rate holds',
            async (t) => {
                const channel = 'last:live';
                const all = await kit.readers(t, rig.gw, channel,
                    { rate: 0.2 });
                const newest = new Newest();
                const send = () => rig.source.send([channel,
                    newest.make('x')]);
                await send();
                for (const reader of all) await newest.reaches(reader);
                await rig.source.send(...range(5, () =>
                    [channel, newest.make('x')]));
                await Promise.all(all.map(async (reader) => {
                    const granted = await reader.change(channel, { rate: 100 });
                    assert.deepStrictEqual(granted,
                        { rate: 20, mode: 'latest' });
                    await reader.until((g) => g.data.n === newest.n,
                        'the newest after going up', 2500);
                }));
                for (const reader of all) {
                    assert.deepStrictEqual(
                        await reader.change(channel, { rate: 1.9 }),
                        { rate: 1, mode: 'latest' });
                }
                const since = performance.now();
                const source = kit.pump(t, rig.source, () =>
                    [[channel, newest.make('x')]], 2);
                await kit.pause(3200);
                await source.stop();
                for (const reader of all) {
                    await newest.reaches(reader);
                    kit.assertGrowing(reader.got, item, reader.kind);
                    kit.assertRate(reader.got.filter((g) => g.at >= since), 1,
                        reader.kind);
                }
            });

        it('from all to latest, while publications come', async (t) => {
            const channel = 'each:turn';
            const all = await kit.readers(t, rig.gw, channel);
            for (const reader of all) {
                const granted = { ...reader.granted[channel] };
                delete granted.snapshot;
                assert.deepStrictEqual(granted, { rate: 0, mode: 'all' });
            }
            const newest = new Newest();
            const send = (count) => rig.source.send(...range(count, () =>
                [channel, newest.make('x')]));
            await send(50);
            for (const reader of all) {
                await newest.reaches(reader);
                assert.deepStrictEqual(reader.got.map((g) => g.data.n),
                    range(50, (i) => i + 1));
            }
            const source = kit.pump(t, rig.source, () =>
                [[channel, newest.make('x')]], 2);
            for (const reader of all) {
                assert.deepStrictEqual(await reader.change(channel,
                    { mode: 'latest', rate: 5 }),
                { rate: 5, mode: 'latest' });
            }
            await Promise.all(all.map((reader) => reader.next(
                (g) => g.data.n > 50, 'it goes on')));
            await source.stop();
            for (const reader of all) await newest.reaches(reader);
            const seen = all.map((reader) => reader.got.length);
            await send(500);
            for (const [i, reader] of all.entries()) {
                await newest.reaches(reader);
                kit.assertGrowing(reader.got, item, reader.kind);
                const more = reader.got.length - seen[i];
                assert.ok(more <= 15, `${reader.kind}: ${more} of 500`);
            }
        });

        it('the metrics tell what was published, conflated and refused',
            async (t) => {
                const sums = async (name, labels) =>
                    (await kit.metrics(rig.gw)).sum(
                        `weir_throttle_${name}`, labels);
                const latest = { mode: 'latest' };
                const counted = ['publications_total', 'delivered_total',
                    'conflated_total'];
                const before = {};
                for (const name of counted) {
                    before[name] = await sums(name, latest);
                }
                const keyless = await sums('keyless_total');
                const one = await kit.reader(t, rig.gw, 'websocket',
                    'last:metrics');
                const data = [{ x: 1 }, { s: null }, { s: {} }, { s: [1] }, 5,
                    'text', [], { S: 'x' }];
                await rig.source.send(...data.map((d) => ['last:metrics', d]),
                    ...range(300, (n) => ['last:metrics', { s: 'x', n }]));
                await one.until((g) => g.data.n === 299, 'the last');
                await one.until((g) => g.data.S === 'x', 'the last keyless');
                await kit.waitFor(async () => await sums('keyless_total') ===
                    keyless + data.length, 'keyless ones are counted');
                await kit.waitFor(async () =>
                    await sums('publications_total', latest) -
                    before.publications_total === 300 + data.length,
                'publications are counted');
                const delivered = await sums('delivered_total', latest) -
                    before.delivered_total;
                assert.strictEqual(delivered, one.got.length);
                const conflated = await sums('conflated_total', latest) -
                    before.conflated_total;
                assert.strictEqual(conflated,
                    300 + data.length - one.got.length);
                const m = await kit.metrics(rig.gw);
                assert.strictEqual(m.types.get(
                    'weir_throttle_staleness_seconds'), 'histogram');
                assert.ok(m.sum('weir_throttle_staleness_seconds_count',
                    { class: '20' }) > 0);
                assert.ok(m.has('weir_throttle_held_bytes'));
            });
    });
}

describe('throttle: snapshots over NATS', LIMIT, () => {
    let rig;
    before(async () => { rig = await kit.Rig.start('nats', CONFIG); });
    after(() => rig?.stop());

    it('the first subscriber of a node is told that there is none',
        async (t) => {
            await rig.source.send(['last:a', { s: 'x', n: 1 }]);
            const first = await kit.reader(t, rig.gw, 'websocket', 'last:a');
            assert.deepStrictEqual(first.granted['last:a'],
                { rate: 20, mode: 'latest', snapshot: false });
            assert.strictEqual(first.got.length, 0);
            await rig.source.send(['last:a', { s: 'x', n: 2 }]);
            await first.until((g) => g.data.n === 2, 'live');
            for (const second of await kit.readers(t, rig.gw, 'last:a')) {
                assert.deepStrictEqual(second.granted['last:a'],
                    { rate: 20, mode: 'latest' });
                await second.until((g) => g.data.n === 2, 'the snapshot');
            }
        });

    it('values stay for throttle.idle_ttl after the last subscriber',
        async (t) => {
            const first = await kit.reader(t, rig.gw, 'websocket', 'last:ttl');
            await rig.source.send(['last:ttl', { s: 'x', n: 1 }]);
            await first.until((g) => g.data.n === 1, 'live');
            first.close();
            const again = await kit.reader(t, rig.gw, 'sse', 'last:ttl');
            await again.until((g) => g.data.n === 1, 'the snapshot');
            again.close();
            await kit.waitFor(async () => {
                await kit.pause(2500);
                const late = await kit.reader(t, rig.gw, 'websocket',
                    'last:ttl');
                late.close();
                return late.granted['last:ttl'].snapshot === false;
            }, 'the values are forgotten', 20000);
        });

    it('both header values of Weir-Urgent, and no other', async (t) => {
        const reader = await kit.reader(t, rig.gw, 'sse', 'rare:u');
        const values = ['0', 'false', '', 'yes', 'true', '1'];
        values.forEach((value, n) => rig.bus.publish('weir.pub.rare.u',
            JSON.stringify({ s: 'x', n, value }), { 'Weir-Urgent': value }));
        await reader.until((g) => g.data.value === '1', 'urgent');
        assert.deepStrictEqual(reader.got.map((g) => g.data.value),
            ['0', 'yes', 'true', '1']);
    });

    it('urgent of the API crosses the bus as a header', async (t) => {
        const ear = await kit.natsClient(t, rig.server);
        await ear.subscribe('weir.pub.rare.out');
        await kit.publish(rig.gw, 'rare:out', 1, { urgent: true });
        const m = await ear.message('weir.pub.rare.out');
        assert.match(m.headers, /^Weir-Urgent: ?(true|1)\r$/m);
        await kit.publish(rig.gw, 'rare:out', 2, { urgent: false });
        assert.strictEqual((await ear.message('weir.pub.rare.out')).headers,
            '');
    });
});

describe('throttle: what is granted', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway(CONFIG); });
    after(() => gw?.stop());

    for (const [channel, ask, rate, mode] of [
        ['last:g', undefined, 20], ['last:g', {}, 20],
        ['last:g', { rate: 5 }, 5], ['last:g', { rate: 7 }, 5],
        ['last:g', { rate: 19.999 }, 10], ['last:g', { rate: 20 }, 20],
        ['last:g', { rate: 21 }, 20], ['last:g', { rate: 1e6 }, 20],
        ['last:g', { rate: 1e30 }, 20], ['last:g', { rate: 0 }, 20],
        ['last:g', { rate: 1.5 }, 1], ['last:g', { rate: 0.99 }, 0.5],
        ['last:g', { rate: 0.3 }, 0.2], ['last:g', { rate: 0.001 }, 0.2],
        ['last:g', { rate: 5, mode: 'all' }, 5],
        ['last:g', { mode: 'merge' }, 20],
        ['odd:g', undefined, 7], ['odd:g', { rate: 7 }, 7],
        ['odd:g', { rate: 6.9 }, 5], ['rare:g', { rate: 5 }, 0.2],
        ['free:g', undefined, 0], ['free:g', { rate: 0 }, 0],
        ['free:g', { rate: 59 }, 30], ['free:g', { rate: 1000 }, 60],
        ['fixed:g', undefined, 20], ['fixed:g', { rate: 1 }, 20],
        ['fixed:g', { rate: 1, mode: 'latest' }, 20],
        ['doc:g', { rate: 5, mode: 'latest' }, 5, 'merge'],
        ['each:g', undefined, 0, 'all'], ['each:g', { rate: 5 }, 0, 'all'],
        ['each:g', { rate: 5, mode: 'latest' }, 5],
        ['each:g', { mode: 'latest' }, 0],
        ['each:g', { mode: 'merge' }, 0, 'all'],
        ['eachrate:g', { mode: 'latest', rate: 60 }, 5],
        ['eachfixed:g', { mode: 'latest', rate: 1 }, 0, 'all'],
        ['plain', { mode: 'latest', rate: 2 }, 2],
        ['plain', { rate: 2 }, 0, 'all'],
    ]) {
        const want = { rate, mode: mode ?? 'latest' };
        it(`${channel} asked for ${JSON.stringify(ask)}: ` +
            JSON.stringify(want), async (t) => {
            for (const reader of await kit.readers(t, gw, channel, ask)) {
                assert.deepStrictEqual(reader.granted[channel], want,
                    reader.kind);
            }
            for (const reader of await kit.readers(t, gw, channel)) {
                assert.deepStrictEqual(
                    await reader.change(channel, ask ?? {}), want,
                    reader.kind);
            }
        });
    }

    it('as JSON it is a number, and the reply of a plain one has none',
        async (t) => {
            const ws = await kit.connected(t, gw);
            ws.send('{"subscribe":{"channel":"last:raw","data":' +
                '{"rate":2e-1}},"id":2}');
            const { raw } = await ws.inbox.take((i) => i.msg.id === 2, 'reply');
            assert.strictEqual(raw, '{"id":2,"subscribe":' +
                '{"data":{"rate":0.2,"mode":"latest"}}}');
            ws.send('{"rpc":{"method":"weir.throttle","data":' +
                '{"channel":"last:raw","rate":5.0}},"id":3}');
            const rpc = await ws.inbox.take((i) => i.msg.id === 3, 'reply');
            assert.strictEqual(rpc.raw, '{"id":3,"rpc":{"data":' +
                '{"rate":5,"mode":"latest"}}}');
            assert.deepStrictEqual(await ws.subscribe('plain'), {});
        });

    it('a snapshot stands in the reply, oldest first', async (t) => {
        for (let n = 0; n < 12; n++) await kit.publish(gw, 'each:snap', { n });
        const ws = await kit.connected(t, gw);
        const { publications } = await ws.subscribe('each:snap');
        assert.deepStrictEqual(publications,
            range(10, (i) => ({ data: { n: i + 2 } })));
    });

    it('counts what was granted and what was refused', async (t) => {
        const changes = async (result) => (await kit.metrics(gw)).sum(
            'weir_throttle_rate_changes_total', { result });
        const granted = await changes('granted');
        const refused = await changes('refused');
        const ws = await kit.reader(t, gw, 'websocket', 'last:count');
        await ws.change('last:count', { rate: 1 });
        await ws.change('last:count', { rate: 2 });
        await ws.client.refused('rpc', { method: 'weir.throttle',
            data: { channel: 'last:count', rate: 'x' } }, 107);
        await kit.waitFor(async () =>
            await changes('granted') - granted === 2 &&
            await changes('refused') - refused === 1, 'they are counted');
    });

    it('uni_sse: asked for in the connect request, told in its answer',
        async (t) => {
            await kit.publish(gw, 'last:uni', { s: 'x', n: 1 });
            const body = JSON.stringify({ subs: {
                'last:uni': { data: { rate: 2 } } } });
            const stream = await kit.sse(t, gw, '/connection/uni_sse' +
                `?cf_connect=${encodeURIComponent(body)}`);
            const { connect } = await stream.member('connect');
            assert.deepStrictEqual(connect.subs['last:uni'], {
                publications: [{ data: { s: 'x', n: 1 } }],
                data: { rate: 2, mode: 'latest' },
            });
            for (let n = 2; n <= 200; n++) {
                await kit.publish(gw, 'last:uni', { s: 'x', n });
            }
            let last = { n: 1 };
            let count = 0;
            while (last.n < 200) {
                const { pub } = await stream.member('pub');
                assert.ok(pub.data.n > last.n);
                last = pub.data;
                count++;
            }
            assert.ok(count < 50, `${count} of 199`);
        });
});

describe('throttle: centrifuge-js', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway(CONFIG); });
    after(() => gw?.stop());

    function once(emitter, event) {
        return kit.withDeadline(new Promise((resolve) =>
            emitter.once(event, resolve)), event);
    }

    function client(t) {
        const centrifuge = new Centrifuge(gw.wsUrl(), {
            websocket: WebSocket, minReconnectDelay: 50,
            maxReconnectDelay: 200, timeout: kit.ms(5000),
        });
        kit.defer(t, () => centrifuge.disconnect());
        return centrifuge;
    }

    it('asks, is told, changes, and gets the snapshot as publications',
        async (t) => {
            await kit.publish(gw, 'last:js', { s: 'a', n: 1 });
            const centrifuge = client(t);
            const sub = centrifuge.newSubscription('last:js',
                { data: { rate: 5 } });
            const got = [];
            sub.on('publication', (ctx) => got.push(ctx.data));
            const subscribed = once(sub, 'subscribed');
            sub.subscribe();
            centrifuge.connect();
            assert.deepStrictEqual((await subscribed).data,
                { rate: 5, mode: 'latest' });
            await kit.waitFor(() => got.length === 1, 'the snapshot');
            assert.deepStrictEqual(got, [{ s: 'a', n: 1 }]);
            const { data } = await centrifuge.rpc('weir.throttle',
                { channel: 'last:js', rate: 0.2 });
            assert.deepStrictEqual(data, { rate: 0.2, mode: 'latest' });
            await assert.rejects(centrifuge.rpc('weir.throttle',
                { channel: 'last:other', rate: 1 }), { code: 103 });
            await assert.rejects(centrifuge.rpc('other', {}), { code: 108 });
        });

    it('after a reconnect: the newest of each item, not what was missed',
        async (t) => {
            const centrifuge = client(t);
            const sub = centrifuge.newSubscription('free:js',
                { data: { rate: 10 } });
            const got = [];
            sub.on('publication', (ctx) => got.push(ctx.data));
            sub.subscribe();
            centrifuge.connect();
            await sub.ready(kit.ms(10000));
            await kit.publish(gw, 'free:js', { s: 'a', n: 0 });
            await kit.waitFor(() => got.length === 1, 'live');
            const gone = once(centrifuge, 'disconnected');
            centrifuge.disconnect();
            await gone;
            for (let n = 1; n <= 500; n++) {
                await kit.publish(gw, 'free:js', { s: 'abc'[n % 3], n });
            }
            got.length = 0;
            const back = once(sub, 'subscribed');
            centrifuge.connect();
            assert.deepStrictEqual((await back).data,
                { rate: 10, mode: 'latest' });
            await kit.waitFor(() => got.length === 3, 'three items');
            assert.deepStrictEqual(got.map((d) => d.n).sort(),
                [498, 499, 500]);
            await kit.publish(gw, 'free:js', { s: 'a', n: 501 });
            await kit.waitFor(() => got.at(-1).n === 501, 'live again');
            assert.strictEqual(got.length, 4);
        });
});
