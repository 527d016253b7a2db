/* throttle-slow.test.js — clients that cannot keep up: they get what is new,
 * not what is old; what they lose is told; they cost nobody anything. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(120000) };
const CONFIG = {
    channel: {
        without_namespace: kit.OPEN,
        namespaces: [
            ['free', { mode: 'latest', key: '/s' }],
            ['last', { mode: 'latest', key: '/s', rate: 20 }],
            ['note', { mode: 'latest', key: '/s', annotate: true }],
            ['doc', { mode: 'merge', key: '/s' }],
            ['ring', { on_full: 'drop_oldest', buffer: 16 }],
            ['strict', { mode: 'latest', key: '/s', on_full: 'disconnect' }],
            ['each', {}],
            ['quote', { mode: 'latest', key: '/s', order_group: 'acct' }],
            ['fill', { order_group: 'acct' }],
            ['seldom', { mode: 'latest', key: '/s', rate: 0.5, snapshot: 1 }],
            ['band', { mode: 'latest', key: '/s', bandwidth: 20000 }],
        ].map(([name, throttle]) => ({ name, ...kit.OPEN, throttle })),
    },
};

const item = (data) => data.s;
const range = (count, make) => Array.from({ length: count }, (_, i) => make(i));
const latest = { mode: 'latest' };

async function counted(gw, name, labels) {
    return (await kit.metrics(gw)).sum(`weir_throttle_${name}_total`, labels);
}

/* Publishes to `channel` over some items, and knows the newest of each. */
class Feed {
    constructor(source, channel, { items = 50, pad = 500 } = {}) {
        Object.assign(this, { source, channel, items });
        this.pad = 'x'.repeat(pad);
        this.n = 0;
        this.newest = new Map();
    }

    make(s = `i${this.n % this.items}`, more = {}) {
        this.newest.set(s, ++this.n);
        return [this.channel,
            { s, n: this.n, pad: this.pad, ...more }];
    }

    send(count) {
        return this.source.send(...range(count, () => this.make()));
    }

    /* Until the metric of the gateway has grown by that much. */
    async until(gw, name, labels, growth) {
        const start = await counted(gw, name, labels);
        await kit.waitFor(async () => {
            await this.send(200);
            return await counted(gw, name, labels) - start >= growth;
        }, `${name} grows by ${growth}`, 30000);
    }

    async reaches(reader, what = '') {
        for (const [s, n] of this.newest) {
            await reader.until((g) => g.data.s === s && g.data.n === n,
                `${what} ${s} ends with ${n}`, 20000);
        }
    }
}

for (const broker of kit.BROKERS) {
    describe(`throttle: slow clients, ${broker}`, LIMIT, () => {
        let rig;
        before(async () => { rig = await kit.Rig.start(broker, CONFIG); });
        after(() => rig?.stop());

        for (const kind of kit.READERS) {
            for (const channel of ['free:a', 'last:a', 'doc:a']) {
                it(`${kind}, ${channel}: after a stall the newest of each ` +
                    'item, not what it missed', async (t) => {
                    const reader = await kit.reader(t, rig.gw, kind, channel);
                    const feed = new Feed(rig.source, channel);
                    await feed.send(1);
                    await reader.until(() => true, 'it flows');
                    reader.pause();
                    const mode = channel.startsWith('doc') ? 'merge'
                        : 'latest';
                    await feed.until(rig.gw, 'conflated', { mode }, 5000);
                    await feed.send(feed.items);
                    reader.resume();
                    await feed.reaches(reader);
                    kit.assertGrowing(reader.got, item, kind);
                    assert.ok(reader.got.length < feed.n / 2,
                        `${reader.got.length} of ${feed.n}`);
                    assert.strictEqual(kit.closesBy(
                        await kit.metrics(rig.gw), 'slow'), 0);
                    /* Nothing is left behind: it is as quick as before. */
                    await feed.send(feed.items);
                    await feed.reaches(reader, 'after the stall');
                });
            }

            it(`${kind}: drop_oldest says how many, and it adds up`,
                async (t) => {
                    const reader = await kit.reader(t, rig.gw, kind, 'ring:a');
                    const other = await kit.reader(t, rig.gw, kind, 'ring:a');
                    const all = { mode: 'all' };
                    const start = await counted(rig.gw, 'dropped', all);
                    const feed = new Feed(rig.source, 'ring:a');
                    for (let round = 0; round < 3; round++) {
                        reader.pause();
                        await feed.until(rig.gw, 'dropped', all, 300);
                        reader.resume();
                        const end = feed.n;
                        await reader.until((g) => g.data.n === end,
                            `the end ${end} of round ${round}`);
                    }
                    await feed.send(1);
                    for (const one of [reader, other]) {
                        await one.until((g) => g.data.n === feed.n, 'the end');
                    }
                    let lost = 0;
                    for (const one of [reader, other]) {
                        let last = 0;
                        for (const { data, tags } of one.got) {
                            const told = Number(tags?.lost ?? 0);
                            assert.strictEqual(data.n - last - 1, told,
                                `${kind}: ${data.n} after ${last}, told ` +
                                JSON.stringify(tags));
                            last = data.n;
                            lost += told;
                        }
                        assert.strictEqual(last, feed.n);
                    }
                    assert.ok(reader.got.length < feed.n, 'it lost some');
                    assert.strictEqual(
                        await counted(rig.gw, 'dropped', all) - start, lost);
                });

            it(`${kind}: an urgent publication waits for the newest values`,
                async (t) => {
                    const reader = await kit.reader(t, rig.gw, kind,
                        ['quote:a', 'fill:a']);
                    const witness = await kit.reader(t, rig.gw, kind,
                        'quote:a');
                    const feed = new Feed(rig.source, 'quote:a');
                    await feed.send(1);
                    await reader.until(() => true, 'it flows');
                    const before = [];
                    reader.pause();
                    await feed.until(rig.gw, 'conflated', latest, 2000);
                    for (let u = 0; u < 5; u++) {
                        await feed.send(300);
                        before[u] = new Map(feed.newest);
                        await feed.reaches(witness);
                        await rig.source.send(
                            ['fill:a', { u }, { urgent: true }]);
                    }
                    await feed.send(300);
                    reader.resume();
                    await feed.reaches(reader);
                    const seen = new Map();
                    const urgents = [];
                    for (const { data } of reader.got) {
                        if (data.u === undefined) {
                            seen.set(data.s, data.n);
                            continue;
                        }
                        urgents.push(data.u);
                        for (const [s, n] of before[data.u]) {
                            assert.ok(seen.get(s) >= n, `${s} before urgent ` +
                                `${data.u}: ${seen.get(s)}, not ${n}`);
                        }
                    }
                    assert.deepStrictEqual(urgents, [0, 1, 2, 3, 4]);
                    kit.assertGrowing(reader.of('quote:a'), item, kind);
                });

            it(`${kind}: urgent values of a busy item come once each, in order`,
                async (t) => {
                    const channel = 'quote:own';
                    const reader = await kit.reader(t, rig.gw, kind, channel);
                    const quick = await kit.reader(t, rig.gw, kind, channel);
                    const feed = new Feed(rig.source, channel, { items: 7 });
                    reader.pause();
                    await feed.until(rig.gw, 'conflated', latest, 2000);
                    const before = [];
                    for (let u = 0; u < 20; u++) {
                        const batch = range(30, () => feed.make());
                        before[u] = new Map(feed.newest);
                        batch.push([...feed.make(`i${u % 3}`, { u }),
                            { urgent: true }]);
                        batch.push(...range(u % 10, () => feed.make()));
                        await rig.source.send(...batch);
                    }
                    await feed.reaches(quick);
                    reader.resume();
                    await feed.send(1);
                    for (const one of [reader, quick]) {
                        await feed.reaches(one);
                        kit.assertGrowing(one.got, item, kind);
                        assert.deepStrictEqual(one.got.map((g) => g.data.u)
                            .filter((u) => u !== undefined),
                        range(20, (u) => u));
                    }
                    const seen = new Map();
                    for (const { data } of reader.got) {
                        for (const [s, n] of before[data.u] ?? []) {
                            assert.ok(s === data.s || seen.get(s) >= n,
                                `${s} before urgent ${data.u}: ` +
                                `${seen.get(s)}, not ${n}`);
                        }
                        seen.set(data.s, data.n);
                    }
                });
        }
    });
}

describe('throttle: slow clients and everybody else', LIMIT, () => {
    let rig;
    let gw;
    before(async () => {
        rig = await kit.Rig.start('in-process', kit.merge(CONFIG,
            { client: { queue_max_size: 65536 } }));
        gw = rig.gw;
    });
    after(() => rig?.stop());

    it('annotate: what a stalled client gets stands for what it missed',
        async (t) => {
            const all = [...await kit.readers(t, gw, 'note:a'),
                ...await kit.readers(t, gw, 'note:a')];
            const [quick, ...stalled] = all;
            const feed = new Feed(rig.source, 'note:a', { items: 5 });
            stalled.forEach((reader) => reader.pause());
            await feed.until(gw, 'conflated', latest, 4000);
            stalled.forEach((reader) => reader.resume());
            await feed.send(200);
            const counts = Object.fromEntries(range(5,
                (i) => [`i${i}`, feed.n / 5]));
            for (const reader of [...stalled, quick]) {
                await feed.reaches(reader);
                const sums = {};
                for (const { data, tags } of reader.got) {
                    sums[data.s] = (sums[data.s] ?? 0) + Number(tags.n);
                }
                assert.deepStrictEqual(sums, counts, reader.kind);
                assert.ok(reader === quick ||
                    reader.got.some((g) => Number(g.tags.n) > 1));
            }
        });

    for (const kind of kit.READERS) {
        it(`${kind}: on_full disconnect closes with 3008, others see all`,
            async (t) => {
                const slow = await kit.reader(t, gw, kind, 'strict:a');
                const good = await kit.reader(t, gw, kind, 'strict:a');
                const before = kit.closesBy(await kit.metrics(gw), 'slow');
                slow.pause();
                const feed = new Feed(rig.source, 'strict:a',
                    { items: 1e9, pad: 8000 });
                await kit.waitFor(async () => {
                    await feed.send(5);
                    await good.until((g) => g.data.n === feed.n, 'all');
                    return kit.closesBy(await kit.metrics(gw), 'slow') >
                        before;
                }, 'the slow client is closed', 30000);
                assert.deepStrictEqual(good.got.map((g) => g.data.n),
                    range(feed.n, (i) => i + 1));
                slow.resume();
                if (kind === 'sse') {
                    await slow.stream.ended();
                    return;
                }
                const { code } = await kit.withDeadline(slow.client.closed,
                    'the close');
                assert.ok(code === 3008 || code === 1006, `code ${code}`);
            });

        it(`${kind}: a choked client changes its rate, leaves, comes back`,
            async (t) => {
                const channel = 'last:moves';
                const reader = await kit.reader(t, gw, kind,
                    [channel, 'plain.moves']);
                const feed = new Feed(rig.source, channel);
                await feed.send(1);
                await reader.until(() => true, 'it flows');
                reader.pause();
                await feed.until(gw, 'conflated', latest, 2000);
                const changed = reader.change(channel, { rate: 10 });
                await feed.send(500);
                reader.resume();
                assert.deepStrictEqual(await changed,
                    { rate: 10, mode: 'latest' });
                await feed.reaches(reader, 'after the change');
                kit.assertGrowing(reader.got, item, kind);
                reader.pause();
                await feed.until(gw, 'conflated', latest, 2000);
                const left = kind === 'sse'
                    ? reader.post({ [channel]: null })
                    : reader.client.command('unsubscribe', { channel });
                await feed.send(100);
                reader.resume();
                await left;
                await kit.publish(gw, 'plain.moves', { n: 'marker' });
                await reader.until((g) => g.data.n === 'marker', 'marker');
                const seen = reader.got.length;
                await feed.send(100);
                await kit.publish(gw, 'plain.moves', { n: 'second' });
                await reader.until((g) => g.data.n === 'second', 'second');
                assert.strictEqual(reader.got.length, seen + 1);
                if (kind === 'sse') await reader.post({ [channel]: {} });
                else await reader.subscribe(channel);
                await feed.send(feed.items);
                await feed.reaches(reader, 'after it came back');
            });
    }

    it('a snapshot larger than a queue, while its items wait for their time',
        async (t) => {
            const channel = 'seldom:a';
            const feed = new Feed(rig.source, channel,
                { items: 100, pad: 2000 });
            const conflated = () => counted(gw, 'conflated', latest);
            const before = await conflated();
            const all = await kit.readers(t, gw, channel);
            /* The second time they wait. */
            await feed.send(100);
            await feed.send(100);
            for (let i = 0; i < 2; i++) {
                const more = await kit.readers(t, gw, channel);
                for (const reader of more) await feed.reaches(reader);
                all.push(...more);
                await feed.send(100);
            }
            for (const reader of all) {
                await feed.reaches(reader);
                kit.assertGrowing(reader.got, item, reader.kind);
            }
            const grown = await conflated() - before;
            assert.ok(grown >= 0 && grown <= feed.n * all.length, `${grown}`);
        });

    it('clients that go away choked leave nothing behind', async (t) => {
        const held = async () => (await kit.metrics(gw)).sum(
            'weir_throttle_held_bytes');
        const before = await held();
        const all = [];
        for (let i = 0; i < 10; i++) {
            all.push(...await kit.readers(t, gw, ['free:gone', 'ring:gone']));
        }
        const feed = new Feed(rig.source, 'free:gone');
        const ring = new Feed(rig.source, 'ring:gone');
        all.forEach((reader) => reader.pause());
        await feed.until(gw, 'conflated', latest, 20000);
        await ring.until(gw, 'dropped', { mode: 'all' }, 2000);
        all.forEach((reader) => reader.close());
        await feed.send(200);
        await kit.waitFor(async () => {
            const { channels } = await kit.call(gw, 'channels', {});
            return !('free:gone' in channels) && !('ring:gone' in channels);
        }, 'nobody is subscribed');
        await kit.waitFor(async () => await held() <= before,
            'held values are freed');
    });

    it('forty clients that do not read cost next to nothing', async (t) => {
        const all = [];
        for (let i = 0; i < 20; i++) {
            all.push(...await kit.readers(t, gw, 'free:deaf'));
        }
        const feed = new Feed(rig.source, 'free:deaf', { pad: 1000 });
        await feed.send(500);
        all.forEach((reader) => reader.pause());
        await feed.until(gw, 'conflated', latest, 1000);
        const closes = kit.closesBy(await kit.metrics(gw), 'slow');
        const before = gw.rssBytes();
        for (let i = 0; i < 60; i++) await feed.send(500);
        /* Forty queues of 64 KB would be 2.6 MB, the feed itself is 30 MB
         * for each of them. */
        kit.assertGrowth(gw, before, 12e6, 'forty deaf clients');
        assert.strictEqual(kit.closesBy(await kit.metrics(gw), 'slow'),
            closes);
        for (const reader of all) reader.resume();
        for (const reader of all) {
            await feed.reaches(reader);
            kit.assertGrowing(reader.got, item, reader.kind);
        }
    });

    it('bandwidth holds, and a flood starves no quiet item', async (t) => {
        const channel = 'band:a';
        const all = await kit.readers(t, gw, channel);
        const feed = new Feed(rig.source, channel, { items: 20, pad: 1000 });
        const source = kit.pump(t, rig.source, () =>
            range(10, () => feed.make()), 10);
        await Promise.all(all.map((reader) =>
            reader.until((g) => g.data.n > 200, 'it flows')));
        for (const s of ['quiet1', 'quiet2', 'quiet3']) {
            await rig.source.send(feed.make(s));
            await Promise.all(all.map((reader) => reader.until(
                (g) => g.data.s === s, `${s} arrives`, 6000)));
        }
        await kit.pause(3000);
        await source.stop();
        for (const reader of all) {
            await feed.reaches(reader);
            kit.assertGrowing(reader.got, item, reader.kind);
            for (let i = 0; i < 20; i++) {
                const own = reader.got.filter((g) => g.data.s === `i${i}`);
                assert.ok(own.length >= 2, `i${i} came ${own.length} times`);
            }
            /* Each is a good 1,000 bytes; the burst is one second's. */
            const most = kit.mostWithin(reader.got, 3);
            assert.ok(most <= 4 * 20 * 1.3,
                `${reader.kind}: ${most} KB in 3 s at 20 KB/s`);
        }
    });
});

/* What comes through a thin line, as it comes: data.t is when it was
 * published. */
class ThinReader {
    static async open(t, gw, kind, channel) {
        const Line = kind === 'sse' ? kit.SlowSocket : kit.SlowWs;
        const raw = await Line.open(gw, channel);
        kit.defer(t, () => raw.destroy());
        return new ThinReader(raw, kind);
    }

    constructor(raw, kind) {
        this.kind = kind;
        this.ages = [];
        this.seen = new Map();
        let rest = raw.data.toString('latin1');
        raw.socket.on('data', (chunk) => {
            rest += chunk.toString('latin1');
            let end = 0;
            for (const m of rest.matchAll(
                /\{"s":"(\w+)","n":(\d+),"pad":"x*","t":(\d+)\}/g)) {
                this.ages.push(Date.now() - Number(m[3]));
                this.seen.set(m[1], Number(m[2]));
                end = m.index + m[0].length;
            }
            rest = rest.slice(end);
        });
    }
}

describe('throttle: a thin line of 64 kbit/s', LIMIT, () => {
    it('sees values that are fresh, costs no memory, holds nobody up',
        async (t) => {
            const rig = await kit.rig(t, 'in-process', CONFIG);
            const { gw } = rig;
            const channel = 'free:thin';
            const thin = [];
            for (const kind of kit.READERS) {
                thin.push(await ThinReader.open(t, gw, kind, channel));
            }
            const fast = await kit.readers(t, gw, channel);
            const all = await kit.readers(t, gw, 'each:thin');
            const feed = new Feed(rig.source, channel, { pad: 100 });
            let n = 0;
            const source = kit.pump(t, rig.source, () => range(10, () => {
                const made = feed.make(undefined, { t: Date.now() });
                return [made, ['each:thin', { n: ++n }]];
            }).flat(), 8);
            const newest = (thinOne) => Math.max(0, ...thinOne.seen.values());
            for (const one of thin) {
                await kit.waitFor(() => newest(one) > 1500, () =>
                    `${one.kind}: it gets through, ${newest(one)}`, 30000);
            }
            const rss = gw.rssBytes();
            const quiet = ['quiet', { t: Date.now() }];
            await rig.source.send(feed.make(...quiet));
            await kit.pause(10000);
            await source.stop();
            kit.assertGrowth(gw, rss, 6e6, 'a thin line');
            assert.ok(feed.n > 4000, `${feed.n} were published`);
            for (const reader of fast) await feed.reaches(reader);
            for (const reader of all) {
                await reader.until((g) => g.data.n === n, 'all');
                assert.deepStrictEqual(reader.got.map((g) => g.data.n),
                    range(n, (i) => i + 1));
            }
            for (const one of thin) {
                /* A queue of 64 kbit/s would be as old as the test. */
                const oldest = Math.max(...one.ages);
                assert.ok(oldest < 6000,
                    `${one.kind}: a value ${oldest} ms old`);
                assert.ok(one.seen.has('quiet'), 'the quiet item came');
                await kit.waitFor(() => [...feed.newest].every(([s, last]) =>
                    one.seen.get(s) === last),
                `${one.kind}: every final value`, 20000);
            }
            assert.strictEqual(
                kit.closesBy(await kit.metrics(gw), 'slow'), 0);
        });
});
