/* history.test.js — what was published can be read again: positions, the
 * history command and API, limits, idempotency, versions, on both brokers. */
'use strict';

const { describe, it } = require('node:test');
const assert = require('node:assert');
const kit = require('./kit');

const { EPOCH, HISTORY, dataOf, range } = kit;
const CONFIG = {
    client: { history_max_publication_limit: 50 },
    channel: {
        namespaces: [
            { name: 'hist', ...HISTORY },
            { name: 'two', ...HISTORY },
            { name: 'tiny', ...HISTORY, history_size: 3 },
            { name: 'brief', ...HISTORY, history_ttl: '1s' },
            { name: 'shut', ...HISTORY, allow_history_for_client: false,
                allow_history_for_anonymous: false },
            { name: 'member', ...HISTORY, allow_history_for_client: false,
                allow_history_for_subscriber: true },
            { name: 'user', ...HISTORY, allow_history_for_anonymous: false },
            { name: 'plain', ...kit.OPEN, allow_history_for_client: true,
                allow_history_for_anonymous: true },
        ],
    },
};
const BOTH = { config: CONFIG, nodes: 2 };

/* By the API and by a client: what both answer alike. */
const ASKERS = ['API', 'client'];

async function historyOf(t, stage, asker, channel, more) {
    if (asker === 'API') {
        return kit.call(stage.gw, 'history', { channel, ...more });
    }
    const ws = await kit.connected(t, stage.gw);
    const reply = await ws.command('history', { channel, ...more });
    assert.ok(reply.history, JSON.stringify(reply));
    return reply.history;
}

async function apiError(gw, method, body, code) {
    const { status, text, json } = await kit.api(gw, method, body);
    assert.strictEqual(status, 200, text);
    assert.strictEqual(json.error?.code, code,
        `${method} ${JSON.stringify(body).slice(0, 200)}: ${text}`);
}

kit.forBrokers('history: positions', BOTH, (stage) => {
    it('a publish is answered with its offset and epoch', async () => {
        const c = stage.channel('hist');
        const positions = await stage.fill(c, range(1, 5));
        if (!stage.isNats) assert.strictEqual(positions[0].offset, 1);
        assert.deepStrictEqual(Object.keys(positions[0]).sort(),
            ['epoch', 'offset']);
    });

    it('without history there is no position', async () => {
        assert.deepStrictEqual(
            await kit.publish(stage.gw, 'plain:x', 1), {});
    });

    it('broadcast and batch answer with one for each', async () => {
        const [a, b] = [stage.channel('hist'), stage.channel('two')];
        const { responses } = await kit.call(stage.gw, 'broadcast',
            { channels: [a, 'plain:x', b], data: 1 });
        assert.match(responses[0].result.epoch, EPOCH);
        assert.deepStrictEqual(responses[1].result, {});
        assert.ok(responses[2].result.offset >= 1);
        const { replies } = await kit.call(stage.gw, 'batch', { commands: [
            { publish: { channel: a, data: 2 } },
            { history: { channel: a, limit: -1 } },
        ] });
        assert.ok(replies[0].publish.offset > responses[0].result.offset);
        assert.strictEqual(replies[1].history.epoch,
            responses[0].result.epoch);
    });

    it('pushes carry the offset, on every node, in one order', async (t) => {
        const c = stage.channel('hist');
        const readers = [];
        for (const gw of [stage.gw, stage.gw, stage.other, stage.other]) {
            const ws = await kit.connected(t, gw);
            await ws.subscribe(c);
            readers.push(ws);
        }
        const sent = await Promise.all(range(1, 40).map((n) =>
            kit.publish(n % 2 ? stage.gw : stage.other, c, n)
                .then(({ offset }) => ({ data: n, offset }))));
        sent.sort((a, b) => a.offset - b.offset);
        for (const ws of readers) {
            const got = await ws.pubs(40, c);
            assert.deepStrictEqual(
                got.map(({ data, offset }) => ({ data, offset })), sent);
            assert.strictEqual(ws.inbox.items.length, 0);
        }
    });

    it('what a client publishes is in history, with its info', async (t) => {
        const c = stage.channel('hist');
        const ws = await kit.connected(t, stage.gw);
        const reply = await ws.command('publish', { channel: c, data: 'me' });
        assert.deepStrictEqual(reply.publish, {});
        const { publications } = await stage.history(c);
        assert.deepStrictEqual(publications.map(({ data, info }) =>
            [data, info.client]), [['me', ws.id]]);
    });

    it('the first publication of a stream also says its epoch', async (t) => {
        if (stage.isNats) return; /* there the stream is never empty */
        const c = stage.channel('hist');
        const ws = await kit.connected(t, stage.gw);
        const sub = await ws.subscribe(c);
        await stage.fill(c, [1, 2]);
        const [first, second] = await ws.pubs(2, c);
        assert.strictEqual(first.epoch, sub.epoch);
        assert.strictEqual(second.epoch, undefined);
    });
});

for (const asker of ASKERS) {
    kit.forBrokers(`history by ${asker}`, BOTH, (stage) => {
        const ask = (t, channel, more) =>
            historyOf(t, stage, asker, channel, more);

        it('limit 0 or none: the position alone', async (t) => {
            const c = stage.channel('hist');
            const last = (await stage.fill(c, range(1, 5))).at(-1);
            for (const more of [{}, { limit: 0 }]) {
                const got = await ask(t, c, more);
                assert.deepStrictEqual(got.publications, []);
                assert.strictEqual(got.epoch, last.epoch);
                assert.ok(got.offset >= last.offset);
            }
        });

        it('limit, since and reverse', async (t) => {
            const c = stage.channel('hist');
            const at = await stage.fill(c, range(0, 9));
            for (const [more, expected] of [
                [{ limit: -1 }, range(0, 9)],
                [{ limit: 3 }, [0, 1, 2]],
                [{ limit: 100 }, range(0, 9)],
                [{ limit: 3, reverse: true }, [9, 8, 7]],
                [{ limit: -1, reverse: true }, range(0, 9).reverse()],
                [{ limit: -1, since: at[6] }, [7, 8, 9]],
                [{ limit: 2, since: at[3] }, [4, 5]],
                [{ limit: 2, since: at[3], reverse: true }, [2, 1]],
                [{ limit: -1, since: at[3], reverse: true }, [2, 1, 0]],
                [{ limit: -1, since: at[9] }, []],
                [{ limit: -1, since: { offset: at[6].offset } }, [7, 8, 9]],
                [{ limit: -1, since: { offset: 0, epoch: at[0].epoch } },
                    range(0, 9)],
            ]) {
                const got = await ask(t, c, more);
                assert.deepStrictEqual(dataOf(got.publications), expected,
                    JSON.stringify(more));
                assert.deepStrictEqual(
                    got.publications.map((p) => p.offset),
                    expected.map((n) => at[n].offset));
            }
        });

        it('tags come with it', async (t) => {
            const c = stage.channel('hist');
            await kit.publish(stage.gw, c, 1, { tags: { a: 'b' } });
            const { publications } = await ask(t, c, { limit: 1 });
            assert.deepStrictEqual(publications[0].tags, { a: 'b' });
        });

        it('an empty channel has a position that stays', async (t) => {
            const c = stage.channel('hist');
            const first = await ask(t, c, { limit: 10 });
            assert.deepStrictEqual(first.publications, []);
            assert.match(first.epoch, EPOCH);
            assert.strictEqual((await ask(t, c, {})).epoch, first.epoch);
            const { epoch } = await kit.publish(stage.gw, c, 1);
            assert.strictEqual(epoch, first.epoch);
        });

        /* The limit is of clients: the backend may have all. */
        if (asker === 'client') {
            it('is at most history_max_publication_limit', async (t) => {
                const c = stage.channel('hist');
                await stage.fill(c, range(1, 60));
                for (const limit of [-1, 51, 2147483647]) {
                    const got = await ask(t, c, { limit });
                    assert.deepStrictEqual(dataOf(got.publications),
                        range(1, 50));
                }
            });
        }

        it('starts at the oldest when what was asked is gone', async (t) => {
            const c = stage.channel('tiny');
            const at = await stage.fill(c, range(1, 8));
            const got = await ask(t, c, { limit: -1, since: at[1] });
            assert.deepStrictEqual(dataOf(got.publications), [6, 7, 8]);
        });

        it('off is 108, another epoch 112, reverse from 0 is 107',
            async (t) => {
                const c = stage.channel('hist');
                await stage.fill(c, [1]);
                const since = { offset: 1, epoch: 'AAAAAAAB' };
                for (const [body, code] of [
                    [{ channel: 'plain:x', limit: 1 }, 108],
                    [{ channel: 'none:x', limit: 1 }, 102],
                    [{ channel: c, limit: 1, since }, 112],
                    [{ channel: c, limit: 1, since: { offset: 0 },
                        reverse: true }, 107],
                ]) {
                    if (asker === 'API') {
                        await apiError(stage.gw, 'history', body, code);
                    } else {
                        const ws = await kit.connected(t, stage.gw);
                        await ws.refused('history', body, code);
                    }
                }
            });
    });
}

kit.forBrokers('history: rights', BOTH, (stage) => {
    it('needs the right, or a subscription where that is enough',
        async (t) => {
            const ws = await kit.connected(t, stage.gw);
            const ask = (channel) => ({ channel, limit: 1 });
            await ws.refused('history', ask('shut:a'), 103);
            await ws.refused('history', ask('user:a'), 103);
            await ws.refused('history', ask('$hist:a'), 103);
            await ws.refused('history', ask('member:a'), 103);
            await ws.subscribe('member:a');
            const reply = await ws.command('history', ask('member:a'));
            assert.ok(reply.history, JSON.stringify(reply));
        });

    it('client.insecure gives it', async (t) => {
        const gw = await kit.gateway(t, kit.merge(CONFIG,
            { client: { insecure: true } }));
        const ws = await kit.connected(t, gw);
        const reply = await ws.command('history', { channel: 'shut:a' });
        assert.ok(reply.history, JSON.stringify(reply));
    });
});

kit.forBrokers('history: limits', BOTH, (stage) => {
    it('keeps the newest history_size', async () => {
        const c = stage.channel('tiny');
        const at = await stage.fill(c, range(1, 10));
        const { publications, offset } = await stage.history(c);
        assert.deepStrictEqual(dataOf(publications), [8, 9, 10]);
        assert.ok(offset >= at.at(-1).offset);
    });

    it('history_ttl empties it, the position stays', async () => {
        const c = stage.channel('brief');
        const at = (await stage.fill(c, range(1, 5))).at(-1);
        await kit.waitFor(async () =>
            (await stage.history(c)).publications.length === 0, 'expired');
        const { epoch, offset } = await stage.history(c);
        assert.strictEqual(epoch, at.epoch);
        assert.ok(offset >= at.offset);
        const next = await kit.publish(stage.gw, c, 6);
        assert.ok(next.offset > at.offset);
        assert.strictEqual(next.epoch, at.epoch);
    });

    it('history_remove empties it, the position stays', async (t) => {
        const c = stage.channel('hist');
        const ws = await kit.connected(t, stage.gw);
        await ws.subscribe(c);
        const at = await stage.fill(c, range(1, 5));
        assert.deepStrictEqual(
            await kit.call(stage.gw, 'history_remove', { channel: c }), {});
        const { publications, epoch, offset } = await stage.history(c);
        assert.deepStrictEqual(publications, []);
        assert.strictEqual(epoch, at[0].epoch);
        if (stage.isNats) assert.ok(offset >= at[4].offset);
        else assert.strictEqual(offset, at[4].offset);
        await stage.fill(c, [6]);
        assert.deepStrictEqual(dataOf(await ws.pubs(6, c)), range(1, 6));
        assert.strictEqual(ws.inbox.items.length, 0);
        assert.deepStrictEqual(
            dataOf((await stage.history(c)).publications), [6]);
    });

    it('history_remove: 108 without history, 102 without namespace',
        async () => {
            for (const [channel, code] of
                [['plain:x', 108], ['none:x', 102], ['', 107]]) {
                await apiError(stage.gw, 'history_remove', { channel }, code);
            }
        });

    it('skip_history is delivered, without offset, and not kept',
        async (t) => {
            const c = stage.channel('hist');
            const readers = [await kit.connected(t, stage.gw),
                await kit.connected(t, stage.other)];
            for (const ws of readers) await ws.subscribe(c);
            await stage.fill(c, [1]);
            const more = { skip_history: true };
            assert.deepStrictEqual(
                await kit.publish(stage.gw, c, 'skipped', more), {});
            await stage.fill(c, [2]);
            for (const ws of readers) {
                const got = await ws.pubs(3, c);
                assert.deepStrictEqual(dataOf(got).sort(),
                    [1, 2, 'skipped'].sort());
                const skipped = got.find((p) => p.data === 'skipped');
                assert.strictEqual(skipped.offset, undefined);
            }
            assert.deepStrictEqual(
                dataOf((await stage.history(c)).publications), [1, 2]);
        });
});

kit.forBrokers('history: idempotency', BOTH, (stage) => {
    const key = { idempotency_key: 'order-17' };

    it('the same key: the same result, delivered once', async (t) => {
        const c = stage.channel('hist');
        const ws = await kit.connected(t, stage.other);
        await ws.subscribe(c);
        const first = await kit.publish(stage.gw, c, 'once', key);
        for (const gw of [stage.gw, stage.other, stage.gw]) {
            assert.deepStrictEqual(
                await kit.publish(gw, c, 'again', key), first);
        }
        await stage.fill(c, ['end']);
        assert.deepStrictEqual(dataOf(await ws.pubs(2, c)), ['once', 'end']);
        assert.strictEqual(ws.inbox.items.length, 0);
    });

    it('never swallows what another channel or key publishes', async () => {
        const channels = [stage.channel('hist'), stage.channel('hist'),
            stage.channel('two')];
        for (const c of channels) await kit.publish(stage.gw, c, c, key);
        await kit.publish(stage.gw, channels[0], 'other',
            { idempotency_key: 'order-18' });
        for (const c of channels) {
            const got = dataOf((await stage.history(c)).publications);
            assert.deepStrictEqual(got,
                c === channels[0] ? [c, 'other'] : [c]);
        }
    });

    it('many at once on every node are one', async () => {
        const c = stage.channel('hist');
        const results = await Promise.all(range(1, 30).map((i) =>
            kit.publish(i % 2 ? stage.gw : stage.other, c, i, key)));
        for (const result of results) {
            assert.deepStrictEqual(result, results[0]);
        }
        assert.strictEqual((await stage.history(c)).publications.length, 1);
    });

    it('in broadcast it counts for each channel', async () => {
        const channels = [stage.channel('hist'), stage.channel('hist')];
        const once = () => kit.call(stage.gw, 'broadcast',
            { channels, data: 1, ...key });
        const first = await once();
        assert.deepStrictEqual(await once(), first);
        for (const c of channels) {
            assert.strictEqual(
                (await stage.history(c)).publications.length, 1);
        }
    });

    it('holds on a plain channel too, on every node', async (t) => {
        const c = stage.channel('plain');
        const ws = await kit.connected(t, stage.other);
        await ws.subscribe(c);
        for (const gw of [stage.gw, stage.other, stage.gw]) {
            assert.deepStrictEqual(await kit.publish(gw, c, 'once', key), {});
        }
        await kit.publish(stage.gw, stage.channel('plain'), 'else', key);
        await kit.publish(stage.gw, c, 'end');
        await kit.publish(stage.other, c, 'end');
        assert.deepStrictEqual(dataOf(await ws.pubs(3, c)),
            ['once', 'end', 'end']);
    });
});

kit.forBrokers('history: versions', BOTH, (stage) => {
    it('an old version is dropped, and answered with the top', async (t) => {
        const c = stage.channel('hist');
        const ws = await kit.connected(t, stage.gw);
        await ws.subscribe(c);
        const put = (version, more = {}, gw = stage.gw) =>
            kit.publish(gw, c, version, { version, ...more });
        const five = await put(5);
        assert.deepStrictEqual(await put(4), five);
        assert.deepStrictEqual(await put(5, {}, stage.other), five);
        const six = await put(6, {}, stage.other);
        assert.ok(six.offset > five.offset);
        assert.deepStrictEqual(await put(5), six);
        assert.deepStrictEqual(dataOf(await ws.pubs(2, c)), [5, 6]);
        await stage.fill(c, ['end']);
        assert.deepStrictEqual(dataOf(await ws.pubs(1, c)), ['end']);
    });

    it('another version_epoch starts anew', async () => {
        const c = stage.channel('hist');
        const put = (version, version_epoch) => kit.publish(stage.gw, c,
            `${version_epoch}${version}`, { version, version_epoch });
        await put(10, 'a');
        await put(9, 'a');
        await put(1, 'b');
        await put(1, 'b');
        await put(2, 'b');
        assert.deepStrictEqual(
            dataOf((await stage.history(c)).publications),
            ['a10', 'b1', 'b2']);
    });

    it('of many at once the newest stands at the end', async () => {
        const c = stage.channel('hist');
        const answers = await Promise.all(range(1, 6).map((version) =>
            kit.api(version % 2 ? stage.gw : stage.other, 'publish',
                { channel: c, data: version, version })));
        for (const { json } of answers) {
            assert.ok(json.result || json.error.code === 100,
                JSON.stringify(json));
        }
        const got = dataOf((await stage.history(c)).publications);
        assert.deepStrictEqual(got, [...got].sort((a, b) => a - b));
        assert.strictEqual(new Set(got).size, got.length);
        assert.strictEqual(got.at(-1), 6);
    });
});

describe('history: bounds of a node', { timeout: kit.ms(60000) }, () => {
    const config = (more, options = {}) => kit.merge(more, { channel: {
        namespaces: [{ name: 'hist', ...HISTORY, ...options }] } });

    it('over history.max_bytes the least recently used channel goes first',
        async (t) => {
            const gw = await kit.gateway(t, config(
                { shards: 1, history: { max_bytes: 65536 } }));
            const first = await kit.publish(gw, 'hist:old', 'x');
            await kit.publish(gw, 'hist:kept', 'x');
            const data = 'x'.repeat(1000);
            for (let i = 0; i < 150; i++) {
                await kit.publish(gw, `hist:fill${i % 15}`, data);
                await kit.call(gw, 'history', { channel: 'hist:kept' });
            }
            const at = (channel) =>
                kit.call(gw, 'history', { channel, limit: -1 });
            const old = await at('hist:old');
            assert.deepStrictEqual(old.publications, []);
            assert.notStrictEqual(old.epoch, first.epoch);
            assert.strictEqual((await at('hist:kept')).publications.length, 1);
        });

    it('whoever has a position of it is told', async (t) => {
        const gw = await kit.gateway(t, config(
            { shards: 1, history: { max_bytes: 65536, heal_spread: '0s' } }));
        const ws = await kit.connected(t, gw);
        await ws.subscribe('hist:old');
        await kit.publish(gw, 'hist:old', 'x');
        const { offset } = (await ws.pubs(1, 'hist:old'))[0];
        for (let i = 0; i < 150; i++) {
            await kit.publish(gw, `hist:fill${i % 15}`, 'x'.repeat(1000));
        }
        await kit.publish(gw, 'hist:old', 'y');
        const { push } = await ws.push('hist:old');
        assert.strictEqual(push.unsubscribe?.code, 2500,
            `after offset ${offset}: ${JSON.stringify(push)}`);
    });

    it('history_meta_ttl ends the epoch', async (t) => {
        const gw = await kit.gateway(t, config({},
            { history_ttl: '1s', history_meta_ttl: '1s' }));
        const first = await kit.publish(gw, 'hist:a', 1);
        /* Asking is a use, so ask seldom. */
        await kit.pause(kit.ms(2500));
        const { epoch } = await kit.publish(gw, 'hist:a', 2);
        assert.notStrictEqual(epoch, first.epoch);
    });
});
