/* recover.test.js — who was away gets what was missed, once and in order, or
 * is told: exact replies, the splice with what is live, lost nodes and lost
 * servers, by raw frames and by the official client. */
'use strict';

const { describe, it } = require('node:test');
const assert = require('node:assert');
const { Centrifuge } = require('centrifuge');
const WebSocket = require('ws');
const kit = require('./kit');

const { EPOCH, HISTORY, dataOf, range, recoverFrom } = kit;
const ASKED = { ...HISTORY, force_recovery: false };
const CACHE = { ...HISTORY, force_recovery_mode: 'cache' };
const CONFIG = {
    client: { recovery_max_publication_limit: 50 },
    history: { heal_spread: '0s' },
    channel: {
        namespaces: [
            { name: 'hist', ...HISTORY },
            { name: 'tiny', ...HISTORY, history_size: 3 },
            { name: 'brief', ...HISTORY, history_ttl: '1s' },
            { name: 'deep', ...HISTORY, history_size: 10000 },
            { name: 'asked', ...ASKED, allow_recovery: true,
                allow_history_for_client: false },
            { name: 'placed', ...ASKED, allow_positioning: true,
                allow_history_for_client: false },
            { name: 'always', ...ASKED, force_positioning: true,
                allow_history_for_client: false },
            { name: 'none', ...ASKED, allow_history_for_client: false },
            { name: 'cache', ...CACHE },
            { name: 'auto', ...CACHE, auto_cache_recover: true },
            { name: 'plain', ...kit.OPEN },
        ],
    },
};
const BOTH = { config: CONFIG, nodes: 2 };

/* A result without its position, and the position. */
function split({ epoch, offset, ...rest }) {
    return { at: { epoch, offset: offset ?? 0 }, rest };
}

kit.forBrokers('recover: what a subscription is told', BOTH, (stage) => {
    const FULL = { recoverable: true, positioned: true };

    it('forced: the position, where there is history and where not yet',
        async (t) => {
            const c = stage.channel('hist');
            const ws = await kit.connected(t, stage.gw);
            const empty = split(await ws.subscribe(c));
            assert.deepStrictEqual(empty.rest, FULL);
            assert.match(empty.at.epoch, EPOCH);
            const last = (await stage.fill(c, range(1, 3))).at(-1);
            const other = await kit.connected(t, stage.other);
            const { at, rest } = split(await other.subscribe(c));
            assert.deepStrictEqual(rest, FULL);
            assert.strictEqual(at.epoch, last.epoch);
            assert.ok(at.offset >= last.offset);
            if (!stage.isNats) assert.deepStrictEqual(at, last);
        });

    for (const [namespace, ask, expected] of [
        ['asked', {}, {}],
        ['asked', { recoverable: true }, FULL],
        ['asked', { positioned: true }, {}],
        ['placed', {}, {}],
        ['placed', { positioned: true }, { positioned: true }],
        ['placed', { recoverable: true }, {}],
        ['always', {}, { positioned: true }],
        ['none', { recoverable: true, positioned: true }, {}],
        ['plain', { recoverable: true, positioned: true }, {}],
    ]) {
        it(`${namespace}, asked ${JSON.stringify(ask)}`, async (t) => {
            const ws = await kit.connected(t, stage.gw);
            const { at, rest } = split(
                await ws.subscribe(stage.channel(namespace), ask));
            assert.deepStrictEqual(rest, expected);
            assert.strictEqual(at.epoch !== undefined,
                Object.keys(expected).length > 0);
        });
    }

    it('who may read history may also ask for positions', async (t) => {
        const gw = await kit.gateway(t, { channel: { namespaces: [
            { name: 'read', ...ASKED }] } });
        const ws = await kit.connected(t, gw);
        assert.deepStrictEqual(
            split(await ws.subscribe('read:a', { recoverable: true })).rest,
            FULL);
    });

    it('in subs of connect, and recovers there', async (t) => {
        const c = stage.channel('hist');
        const at = await stage.fill(c, range(1, 4));
        const ws = await kit.wsClient(t, stage.gw);
        const { subs } = await ws.connect(
            { subs: { [c]: recoverFrom(at[1]) } });
        assert.deepStrictEqual(dataOf(subs[c].publications), [3, 4]);
        assert.strictEqual(subs[c].recovered, true);
        await stage.fill(c, [5]);
        assert.deepStrictEqual(dataOf(await ws.pubs(1, c)), [5]);
    });
});

kit.forBrokers('recover: exact replies', BOTH, (stage) => {
    const recover = async (t, c, at, more = {}, gw = stage.gw) => {
        const ws = await kit.connected(t, gw);
        return ws.subscribe(c, recoverFrom(at, more));
    };

    it('what was missed, and the offset that was asked from', async (t) => {
        const c = stage.channel('hist');
        const at = await stage.fill(c, range(1, 5));
        for (const gw of [stage.gw, stage.other]) {
            assert.deepStrictEqual(await recover(t, c, at[2], {}, gw), {
                recoverable: true, positioned: true, epoch: at[2].epoch,
                offset: at[2].offset, recovered: true, was_recovering: true,
                publications: [{ data: 4, offset: at[3].offset },
                    { data: 5, offset: at[4].offset }],
            });
        }
    });

    it('nothing was missed', async (t) => {
        const c = stage.channel('hist');
        const at = await stage.fill(c, range(1, 5));
        assert.deepStrictEqual(await recover(t, c, at[4]), {
            recoverable: true, positioned: true, ...at[4], recovered: true,
            was_recovering: true,
        });
    });

    it('from the position of an empty channel', async (t) => {
        const c = stage.channel('hist');
        const ws = await kit.connected(t, stage.gw);
        const { at } = split(await ws.subscribe(c));
        await stage.fill(c, [1, 2]);
        const got = await recover(t, c, at);
        assert.strictEqual(got.recovered, true);
        assert.deepStrictEqual(dataOf(got.publications), [1, 2]);
    });

    it('an empty epoch is any', async (t) => {
        const c = stage.channel('hist');
        const at = await stage.fill(c, range(1, 3));
        const got = await recover(t, c,
            { offset: at[0].offset, epoch: undefined });
        assert.strictEqual(got.recovered, true);
        assert.deepStrictEqual(dataOf(got.publications), [2, 3]);
    });

    it('in a namespace where it must be asked for', async (t) => {
        const c = stage.channel('asked');
        const at = await stage.fill(c, range(1, 3));
        const got = await recover(t, c, at[1], { recoverable: true });
        assert.deepStrictEqual(dataOf(got.publications), [3]);
    });

    /* [what, namespace, how many are published, from where] */
    for (const [what, namespace, count, from] of [
        ['too much was missed for history_size', 'tiny', 10, (at) => at[3]],
        ['more than recovery_max_publication_limit', 'hist', 60, (at) => at[5]],
        ['another epoch', 'hist', 5,
            (at) => ({ epoch: 'AAAAAAAB', offset: at[2].offset })],
        ['an offset of the future', 'hist', 5,
            (at) => ({ epoch: at[0].epoch, offset: at[4].offset + 1000 })],
    ]) {
        it(`not recovered: ${what}`, async (t) => {
            const c = stage.channel(namespace);
            const at = await stage.fill(c, range(1, count));
            const { at: top, rest } = split(
                await recover(t, c, from(at)));
            assert.deepStrictEqual(rest, { recoverable: true,
                positioned: true, was_recovering: true });
            assert.strictEqual(top.epoch, at[0].epoch);
            assert.ok(top.offset >= at.at(-1).offset);
            if (!stage.isNats) assert.deepStrictEqual(top, at.at(-1));
        });

        it(`flag 2: error 112: ${what}`, async (t) => {
            const c = stage.channel(namespace);
            const at = await stage.fill(c, range(1, count));
            const ws = await kit.connected(t, stage.gw);
            await ws.refused('subscribe',
                { channel: c, ...recoverFrom(from(at)), flag: 2 }, 112);
            await stage.fill(c, ['unheard']);
            assert.ok(await ws.subscribe(c));
            await stage.fill(c, ['end']);
            assert.deepStrictEqual(dataOf(await ws.pubs(1, c)), ['end']);
        });
    }

    it('not recovered: what was missed has expired', async (t) => {
        const c = stage.channel('brief');
        const at = await stage.fill(c, range(1, 3));
        await kit.waitFor(async () =>
            (await stage.history(c)).publications.length === 0, 'expired');
        const got = await recover(t, c, at[1]);
        assert.ok(got.was_recovering && !got.recovered, JSON.stringify(got));
    });

    it('not recovered: what was missed was removed', async (t) => {
        const c = stage.channel('hist');
        const at = await stage.fill(c, range(1, 3));
        await kit.call(stage.other, 'history_remove', { channel: c });
        const got = await recover(t, c, at[1]);
        assert.ok(got.was_recovering && !got.recovered, JSON.stringify(got));
        assert.strictEqual(got.epoch, at[1].epoch);
    });

    it('exactly history_size and exactly the limit are recovered',
        async (t) => {
            const tiny = stage.channel('tiny');
            const few = await stage.fill(tiny, range(1, 4));
            assert.deepStrictEqual(
                dataOf((await recover(t, tiny, few[1])).publications),
                [3, 4]);
            const c = stage.channel('hist');
            const at = await stage.fill(c, range(0, 60));
            const got = await recover(t, c, at[10]);
            assert.deepStrictEqual(dataOf(got.publications), range(11, 60));
        });

    it('the size in-process: all that is kept and nothing before it',
        async (t) => {
            if (stage.isNats) return; /* there the proof needs P itself */
            const c = stage.channel('tiny');
            const at = await stage.fill(c, range(1, 10));
            const got = await recover(t, c, at[6]);
            assert.deepStrictEqual(dataOf(got.publications), [8, 9, 10]);
            assert.ok(!(await recover(t, c, at[5])).recovered);
        });

    it('channels of one namespace do not disturb each other', async (t) => {
        const [a, b] = [stage.channel('tiny'), stage.channel('tiny')];
        const at = await stage.fill(a, [1, 2]);
        await stage.fill(b, range(1, 20));
        const got = await recover(t, a, at[0]);
        assert.strictEqual(got.recovered, true);
        assert.deepStrictEqual(dataOf(got.publications), [2]);
    });
});

kit.forBrokers('recover: the newest value (cache)', BOTH, (stage) => {
    const subscribe = async (t, c, more) =>
        (await kit.connected(t, stage.gw)).subscribe(c, more);

    it('exactly the newest, however much was missed', async (t) => {
        const c = stage.channel('cache');
        const at = await stage.fill(c, range(1, 80));
        const got = await subscribe(t, c, recoverFrom(at[3]));
        assert.strictEqual(got.recovered, true);
        assert.strictEqual(got.was_recovering, true);
        assert.deepStrictEqual(got.publications,
            [{ data: 80, offset: at[79].offset }]);
    });

    it('nothing when the client has it', async (t) => {
        const c = stage.channel('cache');
        const at = await stage.fill(c, range(1, 3));
        const got = await subscribe(t, c, recoverFrom(at[2]));
        assert.strictEqual(got.recovered, true);
        assert.strictEqual(got.publications, undefined);
    });

    it('another epoch: the newest all the same', async (t) => {
        const c = stage.channel('cache');
        await stage.fill(c, range(1, 3));
        const got = await subscribe(t, c,
            recoverFrom({ epoch: 'AAAAAAAB', offset: 2 }));
        assert.strictEqual(got.recovered, true);
        assert.deepStrictEqual(dataOf(got.publications), [3]);
    });

    it('a first subscribe may ask', async (t) => {
        const c = stage.channel('cache');
        await stage.fill(c, range(1, 3));
        const got = await subscribe(t, c, { recover: true });
        assert.deepStrictEqual(dataOf(got.publications), [3]);
        const plain = await subscribe(t, c, {});
        assert.strictEqual(plain.publications, undefined);
        assert.ok(!plain.was_recovering);
    });

    it('nothing to give: not recovered', async (t) => {
        const got = await subscribe(t, stage.channel('cache'),
            { recover: true });
        assert.ok(got.was_recovering && !got.recovered, JSON.stringify(got));
    });

    it('auto_cache_recover gives it unasked', async (t) => {
        const c = stage.channel('auto');
        await stage.fill(c, range(1, 3));
        const got = await subscribe(t, c, {});
        assert.strictEqual(got.recovered, true);
        assert.strictEqual(got.was_recovering, true);
        assert.deepStrictEqual(dataOf(got.publications), [3]);
    });
});

kit.forBrokers('recover: splice', BOTH, (stage) => {
    /* Publishers on every node until `stop`; all data in order of offset. */
    const storm = (c, publishers) => {
        const sent = [];
        let running = true;
        const all = range(1, publishers).map(async (p) => {
            const gw = p % 2 ? stage.gw : stage.other;
            for (let n = 0; running; n++) {
                const { offset } = await kit.publish(gw, c, `${p}.${n}`);
                sent.push({ offset, data: `${p}.${n}` });
            }
        });
        return async () => {
            running = false;
            await Promise.all(all);
            return sent.sort((a, b) => a.offset - b.offset);
        };
    };
    const plain = ({ offset, data }) => ({ offset, data });

    it('leaving and recovering while many publish: no hole, no repeat',
        async (t) => {
            const c = stage.channel('deep');
            await stage.fill(c, ['first']);
            const stop = storm(c, 6);
            const clients = await Promise.all(range(1, 6).map(async (i) => {
                const ws = await kit.connected(t,
                    i % 2 ? stage.gw : stage.other);
                return ws;
            }));
            const lives = await Promise.all(clients.map(async (ws) => {
                const got = [];
                let { epoch, offset } = await ws.subscribe(c);
                const start = offset;
                for (let turn = 0; turn < 25; turn++) {
                    const pubs = await ws.pubs(1 + turn % 5, c);
                    await ws.command('unsubscribe', { channel: c });
                    /* What came before the reply belongs to it. */
                    pubs.push(...ws.inbox.items.splice(0)
                        .filter((i) => i.msg.push?.pub)
                        .map((i) => i.msg.push.pub));
                    got.push(...pubs);
                    offset = got.at(-1).offset;
                    const back = await ws.subscribe(c,
                        recoverFrom({ epoch, offset }));
                    assert.strictEqual(back.recovered, true,
                        JSON.stringify(back).slice(0, 300));
                    got.push(...back.publications ?? []);
                }
                return { got, start };
            }));
            const sent = await stop();
            for (const { got, start } of lives) {
                const from = sent.findIndex((s) => s.offset > start);
                assert.deepStrictEqual(got.map(plain),
                    sent.slice(from, from + got.length));
            }
        });

    it('new subscribers: live data goes on exactly at the position',
        async (t) => {
            const c = stage.channel('deep');
            const stop = storm(c, 4);
            const lives = [];
            for (let i = 0; i < 40; i++) {
                const ws = await kit.connected(t,
                    i % 2 ? stage.gw : stage.other);
                const { offset = 0 } = await ws.subscribe(c);
                lives.push({ ws, offset });
            }
            const sent = await stop();
            for (const { ws, offset } of lives) {
                const owed = sent.filter((s) => s.offset > offset);
                const got = await ws.pubs(owed.length, c);
                assert.deepStrictEqual(got.map(plain), owed);
                assert.strictEqual(ws.inbox.items.length, 0);
            }
        });

    it('100 at once recover the same 40', async (t) => {
        const c = stage.channel('hist');
        const at = await stage.fill(c, range(0, 40));
        const all = await Promise.all(range(1, 100).map((i) =>
            kit.connected(t, i % 2 ? stage.gw : stage.other)));
        const got = await Promise.all(all.map((ws) =>
            ws.subscribe(c, recoverFrom(at[0]))));
        for (const { publications, recovered } of got) {
            assert.strictEqual(recovered, true);
            assert.deepStrictEqual(dataOf(publications), range(1, 40));
        }
    });
});

/* A client of the package, and what its subscription was told. */
function follow(t, urls, channel, options = {}) {
    let turn = 0;
    const centrifuge = new Centrifuge(urls[0], {
        websocket: class extends WebSocket {
            constructor(_, ...rest) {
                super(urls[turn++ % urls.length], ...rest);
            }
        },
        minReconnectDelay: 20, maxReconnectDelay: 200,
        timeout: kit.ms(5000),
    });
    kit.defer(t, () => centrifuge.disconnect());
    const sub = centrifuge.newSubscription(channel, {
        minResubscribeDelay: 20, maxResubscribeDelay: 200, ...options });
    sub.got = [];
    sub.told = [];
    sub.client = centrifuge;
    sub.on('publication', (ctx) => sub.got.push(ctx.data));
    sub.on('subscribed', ({ wasRecovering, recovered }) =>
        sub.told.push({ wasRecovering, recovered }));
    sub.on('subscribing', ({ code }) => code >= 2500 && sub.told.push(code));
    sub.subscribe();
    centrifuge.connect();
    return sub.ready(kit.ms(20000)).then(() => sub);
}

const FIRST = { wasRecovering: false, recovered: false };
const WHOLE = { wasRecovering: true, recovered: true };
const LOST = { wasRecovering: true, recovered: false };

kit.forBrokers('recover: centrifuge-js', BOTH, (stage) => {
    const socketOf = (sub) => sub.client._transport._transport;

    it('a broken connection: what was missed comes, once', async (t) => {
        const c = stage.channel('hist');
        const sub = await follow(t, [stage.gw.wsUrl(), stage.other.wsUrl()],
            c);
        await stage.fill(c, [1, 2]);
        await kit.waitFor(() => sub.got.length === 2, 'two');
        sub.client.disconnect();
        await stage.fill(c, [3, 4, 5]);
        sub.client.connect();
        await kit.waitFor(() => sub.got.length === 5, 'missed ones');
        await stage.fill(c, [6]);
        await kit.waitFor(() => sub.got.length === 6, 'a live one');
        assert.deepStrictEqual(sub.got, range(1, 6));
        assert.deepStrictEqual(sub.told, [FIRST, WHOLE]);
        assert.ok(socketOf(sub) !== undefined);
    });

    it('too much was missed: it is told', async (t) => {
        const c = stage.channel('tiny');
        const sub = await follow(t, [stage.gw.wsUrl()], c);
        await stage.fill(c, [1]);
        await kit.waitFor(() => sub.got.length === 1, 'one');
        sub.client.disconnect();
        await stage.fill(c, range(2, 20));
        sub.client.connect();
        await kit.waitFor(() => sub.told.length === 2, 'told');
        await stage.fill(c, [21]);
        await kit.waitFor(() => sub.got.includes(21), 'live again');
        assert.deepStrictEqual(sub.got, [1, 21]);
        assert.deepStrictEqual(sub.told, [FIRST, LOST]);
    });

    it('since: {offset: 0, epoch: ""} gives the newest in cache mode',
        async (t) => {
            const c = stage.channel('cache');
            await stage.fill(c, range(1, 9));
            const sub = await follow(t, [stage.gw.wsUrl()], c,
                { since: { offset: 0, epoch: '' } });
            await kit.waitFor(() => sub.got.length, 'the newest');
            assert.deepStrictEqual(sub.got, [9]);
        });

    it('history() and publish() of a subscription', async (t) => {
        const c = stage.channel('hist');
        const sub = await follow(t, [stage.gw.wsUrl()], c);
        for (const n of [1, 2, 3]) await sub.publish(n);
        const { publications, epoch } = await sub.history({ limit: 10 });
        assert.deepStrictEqual(dataOf(publications), [1, 2, 3]);
        assert.match(epoch, EPOCH);
        const back = await sub.history({ limit: 1, reverse: true,
            since: { offset: publications[2].offset, epoch } });
        assert.deepStrictEqual(dataOf(back.publications), [2]);
    });
});

describe('recover: nodes and servers that die', { timeout: kit.ms(120000) },
    () => {
        const stageOf = async (t, broker, nodes, more = {}) => {
            const stage = new kit.Stage(broker);
            kit.defer(t, () => stage.stop());
            return stage.start(kit.merge(CONFIG, more), nodes);
        };

        it('nats: a killed node: on another one with nothing lost',
            async (t) => {
                const stage = await stageOf(t, 'nats', 2);
                const c = stage.channel('hist');
                const sub = await follow(t,
                    [stage.gw.wsUrl(), stage.other.wsUrl()], c);
                await stage.fill(c, [1, 2], stage.other);
                await kit.waitFor(() => sub.got.length === 2, 'two');
                await stage.gw.kill();
                await stage.fill(c, [3, 4], stage.other);
                await kit.waitFor(() => sub.got.length === 4, 'the others');
                assert.deepStrictEqual(sub.got, [1, 2, 3, 4]);
                assert.deepStrictEqual(sub.told, [FIRST, WHOLE]);
                await stage.gw.restart();
            });

        it('nats: a restarted node knows what was before', async (t) => {
            const stage = await stageOf(t, 'nats', 1);
            const c = stage.channel('hist');
            const at = await stage.fill(c, range(1, 5));
            await stage.gw.stop();
            await stage.gw.restart();
            const ws = await kit.connected(t, stage.gw);
            const got = await ws.subscribe(c, recoverFrom(at[1]));
            assert.deepStrictEqual(dataOf(got.publications), [3, 4, 5]);
        });

        it('in-process: a killed node: another epoch, told', async (t) => {
            const stage = await stageOf(t, 'in-process', 1);
            const sub = await follow(t, [stage.gw.wsUrl()], 'hist:a');
            const before = (await stage.fill('hist:a', [1, 2])).at(-1);
            await kit.waitFor(() => sub.got.length === 2, 'two');
            await stage.gw.kill();
            await stage.gw.restart();
            await kit.waitFor(() => sub.told.length === 2, 'back');
            const after = (await stage.fill('hist:a', [3]))[0];
            await kit.waitFor(() => sub.got.length === 3, 'three');
            assert.notStrictEqual(after.epoch, before.epoch);
            assert.deepStrictEqual(sub.told, [FIRST, LOST]);
        });

        /* The gateways are away from the bus while it takes publications. */
        const outage = async (t, namespace, count) => {
            const stage = await stageOf(t, 'nats', 2,
                { nats: { reconnect_wait: kit.duration(1500) } });
            const c = stage.channel(namespace);
            const subs = [];
            for (const gw of stage.nodes) {
                subs.push(await follow(t, [gw.wsUrl()], c));
            }
            await stage.fill(c, [1]);
            for (const sub of subs) {
                await kit.waitFor(() => sub.got.length === 1, 'one');
            }
            stage.bus.close();
            await stage.server.kill();
            await stage.server.restart();
            const bus = await kit.natsClient(t, stage.server);
            const subject = `weir.pub.${c.replace(':', '.')}`;
            for (const n of range(2, count)) bus.publish(subject, `${n}`);
            await bus.flush();
            return { stage, c, subs };
        };

        it('nats: restarted: the nodes heal what they missed', async (t) => {
            const { stage, c, subs } = await outage(t, 'hist', 40);
            for (const sub of subs) {
                await kit.waitFor(() => sub.got.length >= 40,
                    () => `healed: ${sub.got}`);
                assert.deepStrictEqual(sub.told, [FIRST]);
            }
            await kit.waitFor(() => kit.publish(stage.gw, c, 41), 'a publish');
            for (const sub of subs) {
                await kit.waitFor(() => sub.got.includes(41), 'live');
                assert.deepStrictEqual(sub.got, range(1, 41));
            }
        });

        it('nats: restarted: what cannot be healed is told', async (t) => {
            const { stage, c, subs } = await outage(t, 'tiny', 40);
            await kit.waitFor(() => kit.publish(stage.gw, c, 41), 'a publish');
            for (const sub of subs) {
                await kit.waitFor(() => sub.told.length >= 3, 'told');
                assert.deepStrictEqual(sub.told.slice(0, 3),
                    [FIRST, 2500, LOST]);
                await kit.publish(stage.gw, c, 'end');
                await kit.waitFor(() => sub.got.includes('end'), 'live');
                assert.deepStrictEqual(
                    sub.got.filter((n) => n > 1 && n < 38), []);
            }
        });
    });

describe('recover: plain channels over NATS', { timeout: kit.ms(60000) },
    () => {
        const config = { channel: { namespaces: [
            { name: 'told', ...kit.OPEN, tell_gaps: true },
            { name: 'still', ...kit.OPEN },
        ] } };

        it('a possible gap is told where tell_gaps says so', async (t) => {
            const stage = new kit.Stage('nats');
            kit.defer(t, () => stage.stop());
            await stage.start(config);
            const ws = await kit.connected(t, stage.gw);
            await ws.subscribe('told:a');
            await ws.subscribe('still:a');
            const stream = await kit.sse(t, stage.gw,
                '/sse?channel=told:a&channel=still:a');
            await stream.next('session');
            stage.bus.close();
            await stage.server.kill();
            await stage.server.restart();
            const { push } = await ws.push('told:a', 20000);
            assert.strictEqual(push.unsubscribe.code, 2500);
            assert.ok(push.unsubscribe.reason.length > 0);
            const gap = await stream.next('gap', 20000);
            assert.deepStrictEqual(gap.json, { channels: ['told:a'] });
            await kit.publish(stage.gw, 'told:a', 1);
            await kit.publish(stage.gw, 'still:a', 2);
            assert.deepStrictEqual([(await stream.next()).json.data,
                (await stream.next()).json.data].sort(), [1, 2]);
            assert.deepStrictEqual(dataOf(await ws.pubs(1, 'still:a')), [2]);
            assert.ok(!ws.inbox.items.some((i) =>
                i.msg.push?.channel === 'still:a'), 'nothing else is told');
        });
    });
