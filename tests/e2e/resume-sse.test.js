/* resume-sse.test.js — event streams that go on where they broke: ids,
 * Last-Event-ID, resume=latest, resets that say why, and uni_sse. */
'use strict';

const { describe, it } = require('node:test');
const assert = require('node:assert');
const { EventSource } = require('eventsource');
const kit = require('./kit');

const { EPOCH, HISTORY, range } = kit;
const CONFIG = {
    sse: { retry: '100ms' },
    uni_sse: { enabled: true },
    channel: {
        namespaces: [
            { name: 'hist', ...HISTORY, allow_patterns: true },
            { name: 'tiny', ...HISTORY, history_size: 3 },
            { name: 'items', ...HISTORY, throttle: { mode: 'latest',
                key: '/s', rate: 60, snapshot: 10 } },
            { name: 'plain', ...kit.OPEN, allow_patterns: true },
        ],
    },
};
const BOTH = { config: CONFIG, nodes: 2 };
const ID = /^([A-Za-z0-9_-]{8}):(0|[1-9][0-9]*)$/;

const idOf = ({ epoch, offset }) => `${epoch}:${offset}`;

function pathOf(channels, more = '') {
    return `/sse?${[].concat(channels).map((c) =>
        `channel=${encodeURIComponent(c)}`).join('&')}${more}`;
}

/* A stream, its session event read: { stream, session }. */
async function open(t, gw, channels, { id, more, query } = {}) {
    let path = pathOf(channels, more);
    if (query) path += `&last_event_id=${encodeURIComponent(id)}`;
    const stream = await kit.sse(t, gw, path, { headers:
        id !== undefined && !query ? { 'Last-Event-ID': id } : {} });
    assert.strictEqual(stream.status, 200, stream.text);
    return { stream, session: await stream.next('session') };
}

/* The next `count` messages: { id, channel, data }. */
async function take(stream, count) {
    const got = [];
    while (got.length < count) {
        const event = await stream.next();
        got.push({ id: event.id, ...event.json });
    }
    return got;
}

const dataOf = (events) => events.map((e) => e.data);

kit.forBrokers('resume: one channel', BOTH, (stage) => {
    it('every event has an id, the session too', async (t) => {
        const c = stage.channel('hist');
        const before = await stage.fill(c, [0]);
        const { stream, session } = await open(t, stage.gw, c);
        assert.match(session.id, ID);
        assert.strictEqual(session.id.slice(0, 8), before[0].epoch);
        assert.deepStrictEqual(session.json.resume, [c]);
        const at = await stage.fill(c, [1, 2, 3]);
        const got = await take(stream, 3);
        assert.deepStrictEqual(got.map((e) => e.id), at.map(idOf));
        assert.deepStrictEqual(dataOf(got), [1, 2, 3]);
    });

    it('an empty channel has an id to resume from', async (t) => {
        const c = stage.channel('hist');
        const { session } = await open(t, stage.gw, c);
        assert.match(session.id, ID);
        await stage.fill(c, [1, 2]);
        const { stream } = await open(t, stage.gw, c, { id: session.id });
        assert.deepStrictEqual(dataOf(await take(stream, 2)), [1, 2]);
        assert.strictEqual(stream.inbox.items.length, 0);
    });

    for (const query of [false, true]) {
        it(`resumes exactly, by ${query ? 'query' : 'header'}`,
            async (t) => {
                for (const gw of [stage.gw, stage.other]) {
                    const c = stage.channel('hist');
                    const at = await stage.fill(c, range(1, 5));
                    const { stream, session } = await open(t, gw, c,
                        { id: idOf(at[1]), query });
                    assert.deepStrictEqual(session.json.resume, [c]);
                    const got = await take(stream, 3);
                    assert.deepStrictEqual(dataOf(got), [3, 4, 5]);
                    assert.deepStrictEqual(got.map((e) => e.id),
                        at.slice(2).map(idOf));
                    await stage.fill(c, ['live']);
                    assert.deepStrictEqual(dataOf(await take(stream, 1)),
                        ['live']);
                    assert.strictEqual(stream.inbox.items.length, 0);
                }
            });
    }

    it('the session id of a resumed stream is where it resumes from',
        async (t) => {
            const c = stage.channel('hist');
            const at = await stage.fill(c, range(1, 3));
            const first = await open(t, stage.gw, c, { id: idOf(at[0]) });
            assert.strictEqual(first.session.id, idOf(at[0]));
            /* Broken right behind the session event: nothing is lost. */
            const again = await open(t, stage.gw, c,
                { id: first.session.id });
            assert.deepStrictEqual(dataOf(await take(again.stream, 2)),
                [2, 3]);
        });

    it('raw=1 has ids too', async (t) => {
        const c = stage.channel('hist');
        const { stream } = await open(t, stage.gw, c, { more: '&raw=1' });
        const [at] = await stage.fill(c, [1]);
        const event = await stream.next();
        assert.strictEqual(event.id, idOf(at));
        assert.strictEqual(event.data, '1');
    });

    it('a publication that skips history has no id', async (t) => {
        const c = stage.channel('hist');
        const { stream } = await open(t, stage.gw, c);
        await kit.publish(stage.gw, c, 'skipped', { skip_history: true });
        const event = await stream.next();
        assert.strictEqual(event.id, null);
        assert.strictEqual(event.json.data, 'skipped');
    });

    it('plain channels and patterns have no ids and do not resume',
        async (t) => {
            const plain = stage.channel('plain');
            for (const channels of [plain, 'plain:*', 'hist:*']) {
                const { stream, session } = await open(t, stage.gw, channels);
                assert.ok(!session.json.resume?.length, session.data);
                assert.strictEqual(session.id, null);
                if (channels !== plain) continue;
                await kit.publish(stage.gw, plain, 1);
                assert.strictEqual((await stream.next()).id, null);
            }
        });

    it('an EventSource that was cut off misses nothing', async (t) => {
        const c = stage.channel('hist');
        const source = new EventSource(stage.gw.url(pathOf(c)));
        kit.defer(t, () => source.close());
        const got = [];
        let sessions = 0;
        source.onmessage = (e) => got.push(JSON.parse(e.data).data);
        source.addEventListener('session', () => { sessions++; });
        source.addEventListener('reset', (e) => got.push(e.data));
        await kit.waitFor(() => sessions === 1, 'open');
        for (let turn = 1; turn <= 3; turn++) {
            await stage.fill(c, [`${turn}a`]);
            await kit.waitFor(() => got.at(-1) === `${turn}a`, 'live');
            await kit.call(stage.gw, 'disconnect', { user: '' });
            await stage.fill(c, [`${turn}b`, `${turn}c`]);
            await kit.waitFor(() => sessions === turn + 1, 'back');
            await kit.waitFor(() => got.at(-1) === `${turn}c`, 'missed');
        }
        assert.deepStrictEqual(got, [1, 2, 3].flatMap((n) =>
            [`${n}a`, `${n}b`, `${n}c`]));
    });
});

kit.forBrokers('resume: several channels', BOTH, (stage) => {
    it('one opaque id has all positions', async (t) => {
        const all = [stage.channel('hist'), stage.channel('tiny'),
            stage.channel('hist')];
        const first = await open(t, stage.gw, all);
        assert.match(first.session.id, /^~[A-Za-z0-9_-]+$/);
        assert.deepStrictEqual(first.session.json.resume.sort(),
            [...all].sort());
        for (const c of all) await stage.fill(c, [`${c} 1`]);
        const got = await take(first.stream, 3);
        for (const { id } of got) assert.match(id, /^~[A-Za-z0-9_-]+$/);
        first.stream.close();
        for (const c of all) await stage.fill(c, [`${c} 2`]);
        /* From each id: what came behind it, of every channel. */
        for (const [i, { id }] of got.entries()) {
            const { stream } = await open(t, stage.other, all, { id });
            const more = await take(stream, 2 - i + 3);
            assert.deepStrictEqual(dataOf(more).sort(),
                [...got.slice(i + 1).map((e) => e.data),
                    ...all.map((c) => `${c} 2`)].sort());
            assert.strictEqual(stream.inbox.items.length, 0);
        }
    });

    it('the order of the channels does not matter', async (t) => {
        const [a, b] = [stage.channel('hist'), stage.channel('hist')];
        const { session } = await open(t, stage.gw, [a, b]);
        await stage.fill(a, [1]);
        await stage.fill(b, [2]);
        const { stream } = await open(t, stage.gw, [b, a],
            { id: session.id });
        assert.deepStrictEqual(dataOf(await take(stream, 2)).sort(), [1, 2]);
    });

    it('plain channels and patterns beside them are not in `resume`',
        async (t) => {
            const [a, b] = [stage.channel('hist'), stage.channel('hist')];
            const plain = stage.channel('plain');
            const channels = [a, plain, b, 'plain:x.*'];
            const { stream, session } = await open(t, stage.gw, channels);
            assert.deepStrictEqual(session.json.resume.sort(),
                [a, b].sort());
            assert.deepStrictEqual(Object.keys(session.json.channels),
                channels);
            stream.close();
            await kit.publish(stage.gw, plain, 'lost');
            await stage.fill(a, ['kept']);
            const again = await open(t, stage.gw, channels,
                { id: session.id });
            assert.deepStrictEqual(dataOf(await take(again.stream, 1)),
                ['kept']);
            assert.strictEqual(again.stream.inbox.items.length, 0);
        });

    it('32 recoverable channels in an id of at most 1 KiB, 33 are 400',
        async (t) => {
            const all = range(1, 33).map(() => stage.channel('hist'));
            const most = all.slice(0, 32);
            const { session } = await open(t, stage.gw,
                [...most, stage.channel('plain')]);
            assert.ok(session.id.length <= 1024, `${session.id.length}`);
            assert.strictEqual(session.json.resume.length, 32);
            for (const c of most) await stage.fill(c, [c]);
            const { stream } = await open(t, stage.gw, most,
                { id: session.id });
            assert.deepStrictEqual(dataOf(await take(stream, 32)).sort(),
                [...most].sort());
            const { status, json } = await kit.request(stage.gw,
                { path: pathOf(all) });
            assert.strictEqual(status, 400);
            assert.ok(json.error.message, JSON.stringify(json));
        });
});

/* What a node gives up for history.max_bytes is still on the bus. */
kit.forBrokers('resume: a node that has given up what it read', {
    brokers: ['nats'],
    config: { ...CONFIG, shards: 1, history: { max_bytes: 65536 } },
}, (stage) => {
    it('resume=latest brings the newest all the same', async (t) => {
        const [quiet, busy] = [stage.channel('hist'), stage.channel('hist')];
        await stage.fill(quiet, range(1, 9));
        await open(t, stage.gw, quiet);
        await open(t, stage.gw, busy);
        await stage.fill(busy, range(1, 90).map(() => 'x'.repeat(1000)));
        const { stream } = await open(t, stage.gw, quiet,
            { more: '&resume=latest' });
        assert.deepStrictEqual(dataOf(await take(stream, 1)), [9]);
    });
});

kit.forBrokers('resume: the newest instead', BOTH, (stage) => {
    it('resume=latest: one value of each channel, also at first',
        async (t) => {
            const all = [stage.channel('hist'), stage.channel('hist')];
            const at = [];
            for (const c of all) at.push(await stage.fill(c, range(1, 9)));
            for (const id of [undefined, 'garbage']) {
                const { stream } = await open(t, stage.gw, all,
                    { more: '&resume=latest', id });
                const got = await take(stream, 2);
                assert.deepStrictEqual(
                    got.map((e) => [e.channel, e.data]).sort(),
                    all.map((c) => [c, 9]).sort());
                await stage.fill(all[0], ['live']);
                assert.deepStrictEqual(dataOf(await take(stream, 1)),
                    ['live']);
                assert.ok(!stream.inbox.items.some((e) =>
                    e.event === 'message'));
                await stage.fill(all[0], [9]);
            }
        });

    it('resume=latest with an id: the newest, not the backlog',
        async (t) => {
            const c = stage.channel('hist');
            const at = await stage.fill(c, range(1, 9));
            const { stream } = await open(t, stage.gw, c,
                { more: '&resume=latest', id: idOf(at[2]) });
            assert.deepStrictEqual(dataOf(await take(stream, 1)), [9]);
            await stage.fill(c, ['live']);
            assert.deepStrictEqual(dataOf(await take(stream, 1)), ['live']);
        });

    it('resume=latest of an empty channel: nothing', async (t) => {
        const c = stage.channel('hist');
        const { stream } = await open(t, stage.gw, c,
            { more: '&resume=latest' });
        await stage.fill(c, [1]);
        assert.deepStrictEqual(dataOf(await take(stream, 1)), [1]);
    });

    it('resume=latest: one of each item', async (t) => {
        const c = stage.channel('items');
        for (const n of range(1, 5)) {
            for (const s of ['x', 'y', 'z']) {
                await kit.publish(stage.gw, c, { s, n });
            }
        }
        const { stream } = await open(t, stage.gw, c,
            { more: '&resume=latest' });
        const got = dataOf(await take(stream, 3));
        assert.deepStrictEqual(got.map(({ s, n }) => `${s}${n}`).sort(),
            ['x5', 'y5', 'z5']);
    });

    it('another value of resume is 400', async () => {
        const { status } = await kit.request(stage.gw,
            { path: pathOf('hist:a', '&resume=all') });
        assert.strictEqual(status, 400);
    });

    const assertReset = async (stream, channels, reason) => {
        const reset = await stream.next('reset');
        assert.deepStrictEqual(reset.json, { channels, reason });
        return reset;
    };

    it('an unknown id: reset, then the newest', async (t) => {
        const c = stage.channel('hist');
        const at = await stage.fill(c, range(1, 9));
        const { stream } = await open(t, stage.gw, c, { id: '17' });
        await assertReset(stream, [c], 'unknown_id');
        const [newest] = await take(stream, 1);
        assert.deepStrictEqual([newest.data, newest.id], [9, idOf(at[8])]);
        await stage.fill(c, ['live']);
        assert.deepStrictEqual(dataOf(await take(stream, 1)), ['live']);
    });

    it('the epoch of another stream: reset, foreign', async (t) => {
        const c = stage.channel('hist');
        const at = await stage.fill(c, range(1, 9));
        const { stream } = await open(t, stage.gw, c,
            { id: `AAAAAAAB:${at[3].offset}` });
        await assertReset(stream, [c], 'foreign');
        assert.deepStrictEqual(dataOf(await take(stream, 1)), [9]);
    });

    it('what is gone: reset, too_old', async (t) => {
        const c = stage.channel('tiny');
        const at = await stage.fill(c, range(1, 9));
        const { stream } = await open(t, stage.gw, c, { id: idOf(at[1]) });
        await assertReset(stream, [c], 'too_old');
        assert.deepStrictEqual(dataOf(await take(stream, 1)), [9]);
        await stage.fill(c, ['live']);
        assert.deepStrictEqual(dataOf(await take(stream, 1)), ['live']);
    });

    it('of several, only those that cannot resume are reset', async (t) => {
        const [good, old] = [stage.channel('hist'), stage.channel('tiny')];
        const { session } = await open(t, stage.gw, [good, old]);
        await stage.fill(good, [1, 2, 3]);
        await stage.fill(old, range(1, 9));
        const { stream } = await open(t, stage.gw, [good, old],
            { id: session.id });
        await assertReset(stream, [old], 'too_old');
        const got = await take(stream, 4);
        assert.deepStrictEqual(
            dataOf(got.filter((e) => e.channel === good)), [1, 2, 3]);
        assert.deepStrictEqual(
            dataOf(got.filter((e) => e.channel === old)), [9]);
    });

    it('a channel the id does not know is reset, the others resume',
        async (t) => {
            const [a, b, added] = range(1, 3).map(() => stage.channel('hist'));
            const { session } = await open(t, stage.gw, [a, b]);
            await stage.fill(a, [1]);
            await stage.fill(added, ['x', 'y']);
            const { stream } = await open(t, stage.gw, [a, b, added],
                { id: session.id });
            await assertReset(stream, [added], 'unknown_id');
            assert.deepStrictEqual(
                (await take(stream, 2)).map((e) => e.data).sort(),
                [1, 'y']);
        });

    it('an EventSource over a reset resumes from what came after it',
        async (t) => {
            const c = stage.channel('tiny');
            await stage.fill(c, range(1, 5));
            const { stream } = await open(t, stage.gw, c, { id: 'x' });
            await stream.next('reset');
            const [newest] = await take(stream, 1);
            await stage.fill(c, [6]);
            const again = await open(t, stage.gw, c, { id: newest.id });
            assert.deepStrictEqual(dataOf(await take(again.stream, 1)), [6]);
            assert.strictEqual(again.stream.inbox.items.length, 0);
        });
});

describe('resume: restarts', { timeout: kit.ms(90000) }, () => {
    const start = async (t, broker, nodes) => {
        const stage = new kit.Stage(broker);
        kit.defer(t, () => stage.stop());
        return stage.start(CONFIG, nodes);
    };

    it('in-process: the epoch is another one: reset, foreign', async (t) => {
        const stage = await start(t, 'in-process');
        const [at] = await stage.fill('hist:a', [1]);
        await stage.gw.kill();
        await stage.gw.restart();
        await stage.fill('hist:a', ['new']);
        const { stream } = await open(t, stage.gw, 'hist:a', { id: idOf(at) });
        assert.deepStrictEqual((await stream.next('reset')).json,
            { channels: ['hist:a'], reason: 'foreign' });
        assert.deepStrictEqual(dataOf(await take(stream, 1)), ['new']);
    });

    it('nats: another node resumes when the first was killed', async (t) => {
        const stage = await start(t, 'nats', 2);
        const { stream } = await open(t, stage.gw, 'hist:a');
        await stage.fill('hist:a', [1, 2], stage.other);
        const [, second] = await take(stream, 2);
        await stage.gw.kill();
        await stage.fill('hist:a', [3, 4], stage.other);
        const again = await open(t, stage.other, 'hist:a', { id: second.id });
        assert.deepStrictEqual(dataOf(await take(again.stream, 2)), [3, 4]);
        await stage.gw.restart();
    });
});

kit.forBrokers('resume: uni_sse', BOTH, (stage) => {
    const connect = async (t, gw, subs) => {
        const path = '/connection/uni_sse?cf_connect=' +
            encodeURIComponent(JSON.stringify({ subs }));
        const stream = await kit.sse(t, gw, path);
        const { connect: reply } = await stream.member('connect');
        return { stream, subs: reply.subs };
    };

    it('recovers by the subs of cf_connect', async (t) => {
        const c = stage.channel('hist');
        const at = await stage.fill(c, range(1, 4));
        for (const gw of [stage.gw, stage.other]) {
            const { subs } = await connect(t, gw,
                { [c]: kit.recoverFrom(at[1]) });
            assert.deepStrictEqual(subs[c], {
                recoverable: true, positioned: true, ...at[1],
                recovered: true, was_recovering: true,
                publications: at.slice(2).map(({ offset }, i) =>
                    ({ data: i + 3, offset })),
            });
        }
    });

    it('says when it cannot, and goes on live', async (t) => {
        const c = stage.channel('tiny');
        const at = await stage.fill(c, range(1, 9));
        const { stream, subs } = await connect(t, stage.gw,
            { [c]: kit.recoverFrom(at[1]) });
        assert.strictEqual(subs[c].was_recovering, true);
        assert.strictEqual(subs[c].recovered, undefined);
        assert.strictEqual(subs[c].publications, undefined);
        assert.match(subs[c].epoch, EPOCH);
        const [live] = await stage.fill(c, ['live']);
        const { pub } = await stream.member('pub');
        assert.deepStrictEqual(pub, { data: 'live', offset: live.offset });
    });
});
