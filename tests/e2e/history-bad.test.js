/* history-bad.test.js — broken and hostile positions, limits, ids and keys,
 * and a JetStream that is not what it was: each has its answer. */
'use strict';

const { describe, it } = require('node:test');
const assert = require('node:assert');
const kit = require('./kit');

const { HISTORY, dataOf, range, recoverFrom } = kit;
const CONFIG = {
    history: { heal_spread: '0s' },
    channel: {
        namespaces: [
            { name: 'hist', ...HISTORY },
            { name: 'plain', ...kit.OPEN, allow_history_for_client: true,
                allow_history_for_anonymous: true },
        ],
    },
};
const BOTH = { config: CONFIG };
const LIMIT = { timeout: kit.ms(120000) };

/* As JSON text: no number that is an offset. */
const BAD_OFFSETS = ['-1', '-9223372036854775808', '18446744073709551616',
    '1e400', '1e30', '1.5', '"5"', 'true', '[]', '{}'];
const FAR_OFFSETS = ['9007199254740993', '9223372036854775807',
    '9223372036854775808', '18446744073709551615'];
const BAD_LIMITS = ['2147483648', '-2147483649', '1e30', '1.5', '"5"',
    'true', '[]', '{}'];
const BAD_EPOCHS = ['5', 'true', '[]', '{}'];
/* No epoch of anybody's: not recovered, but no error. */
const ODD_EPOCHS = ['x', 'x'.repeat(10240), '\u0000', 'äöü',
    'AAAAAAAA', 'AAAAAAA=', '________________'];

async function assertAlive(gw) {
    for (let i = 0; i < 4; i++) {
        assert.strictEqual(
            (await kit.request(gw, { path: '/health' })).status, 200);
    }
}

async function answerOf(gw, method, text) {
    const { status, text: body, json } = await kit.api(gw, method, text);
    assert.strictEqual(status, 200, body);
    return json;
}

/* The API answers this code to a body as written. */
async function apiCode(gw, method, text, code) {
    const json = await answerOf(gw, method, text);
    assert.strictEqual(json.error?.code, code,
        `${method} ${text.slice(0, 200)}: ${JSON.stringify(json)}`);
}

/* A command as written closes with this code. */
async function closes(t, gw, text, code) {
    const ws = await kit.connected(t, gw);
    ws.send(text);
    await ws.closedWith(code);
}

kit.forBrokers('history, bad input: WebSocket', BOTH, (stage) => {
    it('a wrong offset closes with 3501', async (t) => {
        for (const n of BAD_OFFSETS) {
            await closes(t, stage.gw, '{"subscribe":{"channel":"hist:a",' +
                `"recover":true,"epoch":"x","offset":${n}},"id":2}`, 3501);
            await closes(t, stage.gw, '{"history":{"channel":"hist:a",' +
                `"limit":1,"since":{"offset":${n}}},"id":2}`, 3501);
        }
        await assertAlive(stage.gw);
    });

    it('a wrong limit, epoch, since or reverse closes with 3501',
        async (t) => {
            const bodies = [
                ...BAD_LIMITS.map((n) => `"limit":${n}`),
                ...BAD_EPOCHS.map((e) => `"since":{"epoch":${e}}`),
                ...['5', '"x"', 'true', '[]'].map((s) => `"since":${s}`),
                '"reverse":1', '"reverse":"true"',
            ];
            for (const body of bodies) {
                await closes(t, stage.gw,
                    `{"history":{"channel":"hist:a",${body}},"id":2}`, 3501);
            }
            for (const epoch of BAD_EPOCHS) {
                await closes(t, stage.gw, '{"subscribe":{"channel":"hist:a",' +
                    `"recover":true,"epoch":${epoch}},"id":2}`, 3501);
            }
            await closes(t, stage.gw,
                '{"history":{"channel":""},"id":2}', 3501);
        });

    it('an offset of the far future is not recovered', async (t) => {
        const c = stage.channel('hist');
        const [{ epoch }] = await stage.fill(c, [1]);
        for (const n of FAR_OFFSETS) {
            const ws = await kit.connected(t, stage.gw);
            ws.send(`{"subscribe":{"channel":"${c}","recover":true,` +
                `"epoch":"${epoch}","offset":${n}},"id":2}`);
            const { subscribe } = await ws.reply(2);
            assert.strictEqual(subscribe.was_recovering, true);
            assert.strictEqual(subscribe.recovered, undefined);
            assert.strictEqual(subscribe.publications, undefined);
            ws.send(`{"history":{"channel":"${c}","limit":-1,"since":` +
                `{"offset":${n}}},"id":3}`);
            const { history } = await ws.reply(3);
            assert.deepStrictEqual(history.publications, []);
            ws.send(`{"history":{"channel":"${c}","limit":-1,"since":` +
                `{"offset":${n}},"reverse":true},"id":4}`);
            const back = (await ws.reply(4)).history;
            assert.deepStrictEqual(dataOf(back.publications), [1]);
            await ws.close();
        }
    });

    it('an odd epoch is not recovered, and 112 in history', async (t) => {
        const c = stage.channel('hist');
        const [{ offset }] = await stage.fill(c, [1]);
        for (const epoch of ODD_EPOCHS) {
            const ws = await kit.connected(t, stage.gw);
            const got = await ws.subscribe(c, recoverFrom({ epoch, offset }));
            assert.ok(got.was_recovering && !got.recovered,
                `${epoch.slice(0, 20)}: ${JSON.stringify(got)}`);
            await ws.refused('history',
                { channel: c, limit: 1, since: { epoch, offset } }, 112);
            await ws.close();
        }
    });

    it('a limit of a billion is capped', async (t) => {
        const c = stage.channel('hist');
        await stage.fill(c, range(1, 3));
        const ws = await kit.connected(t, stage.gw);
        for (const limit of [1000000000, 2147483647, -2147483648]) {
            const { history } = await ws.command('history',
                { channel: c, limit });
            assert.deepStrictEqual(dataOf(history.publications), [1, 2, 3]);
        }
    });

    it('recover where nothing recovers is a plain subscribe', async (t) => {
        const ws = await kit.connected(t, stage.gw);
        const got = await ws.subscribe(stage.channel('plain'),
            recoverFrom({ epoch: 'x', offset: 5 }));
        assert.deepStrictEqual(got, {});
    });

    it('1,000 history commands at once are all answered', async (t) => {
        const c = stage.channel('hist');
        await stage.fill(c, range(1, 20));
        const ws = await kit.connected(t, stage.gw);
        const commands = range(2, 1001).map((id) =>
            ({ history: { channel: c, limit: 20 }, id }));
        for (let i = 0; i < 1000; i += 50) {
            ws.send(...commands.slice(i, i + 50));
        }
        for (const { id } of commands) {
            const reply = await ws.reply(id);
            if (reply.error) {
                assert.ok([100, 111].includes(reply.error.code),
                    JSON.stringify(reply));
            } else {
                assert.strictEqual(reply.history.publications.length, 20);
            }
        }
        await assertAlive(stage.gw);
    });

    it('whoever leaves while history is read harms nobody', async (t) => {
        const c = stage.channel('hist');
        const at = await stage.fill(c, range(1, 50));
        for (let i = 0; i < 50; i++) {
            const ws = await kit.connected(t, stage.gw);
            ws.send({ history: { channel: c, limit: 50 }, id: 2 },
                { subscribe: { channel: c, ...recoverFrom(at[0]) }, id: 3 },
                { unsubscribe: { channel: c }, id: 4 });
            ws.socket.terminate();
        }
        await assertAlive(stage.gw);
        await kit.waitFor(async () => !((await kit.call(stage.gw,
            'channels', {})).channels[c]), 'nobody is left');
    });
});

kit.forBrokers('history, bad input: API', BOTH, (stage) => {
    it('history: wrong positions and limits are 107', async () => {
        const bodies = [
            ...BAD_OFFSETS.map((n) => `"limit":1,"since":{"offset":${n}}`),
            ...BAD_LIMITS.map((n) => `"limit":${n}`),
            ...BAD_EPOCHS.map((e) => `"since":{"epoch":${e}}`),
            ...['5', '"x"', 'true', '[]'].map((s) => `"since":${s}`),
            '"reverse":1', '"reverse":"true"',
            '"limit":1,"reverse":true,"since":{"offset":0}',
        ];
        for (const body of bodies) {
            await apiCode(stage.gw, 'history',
                `{"channel":"hist:a",${body}}`, 107);
        }
        for (const channel of ['""', '5', 'null', '"hist:a b"', '"hist:>"']) {
            await apiCode(stage.gw, 'history', `{"channel":${channel}}`, 107);
        }
        await apiCode(stage.gw, 'history', '{}', 107);
    });

    it('history: an odd epoch is 112, a far offset is empty', async () => {
        const c = stage.channel('hist');
        await stage.fill(c, [1]);
        for (const epoch of ODD_EPOCHS) {
            await apiCode(stage.gw, 'history', JSON.stringify(
                { channel: c, limit: 1, since: { epoch, offset: 1 } }), 112);
        }
        for (const n of FAR_OFFSETS) {
            const { result } = await answerOf(stage.gw, 'history',
                `{"channel":"${c}","limit":5,"since":{"offset":${n}}}`);
            assert.deepStrictEqual(result.publications, []);
        }
    });

    it('publish: wrong keys and versions are 107, nothing is published',
        async () => {
            const c = stage.channel('hist');
            const bodies = [
                ...['5', 'true', '[]', '{}'].map((k) =>
                    `"idempotency_key":${k}`),
                ...BAD_OFFSETS.map((n) => `"version":${n}`),
                ...['5', 'true', '[]', '{}'].map((e) =>
                    `"version":1,"version_epoch":${e}`),
                '"skip_history":1', '"skip_history":"true"',
                `"idempotency_key":"${'k'.repeat(100000)}"`,
                `"version":1,"version_epoch":"${'e'.repeat(100000)}"`,
            ];
            for (const body of bodies) {
                await apiCode(stage.gw, 'publish',
                    `{"channel":"${c}","data":1,${body}}`, 107);
            }
            assert.deepStrictEqual(
                (await stage.history(c)).publications, []);
        });

    it('publish: odd keys and the greatest version are fine', async () => {
        const c = stage.channel('hist');
        const keys = ['\u0000', 'ü'.repeat(20), '\r\nNats-Msg-Id: x', '"', ' ',
            'k'.repeat(128)];
        for (const idempotency_key of keys) {
            const first = await kit.publish(stage.gw, c, 1,
                { idempotency_key });
            assert.deepStrictEqual(await kit.publish(stage.gw, c, 2,
                { idempotency_key }), first);
        }
        const top = `{"channel":"${c}","data":3,` +
            '"version":18446744073709551615,"version_epoch":"\\r\\nx: y"}';
        const { result } = await answerOf(stage.gw, 'publish', top);
        assert.deepStrictEqual(
            (await answerOf(stage.gw, 'publish', top)).result, result);
        assert.deepStrictEqual(dataOf((await stage.history(c)).publications),
            [...keys.map(() => 1), 3]);
    });

    it('history_remove of odd names is 107', async () => {
        for (const channel of ['""', '5', '"hist:a b"', '"hist:>"',
            '"hist:*"']) {
            await apiCode(stage.gw, 'history_remove',
                `{"channel":${channel}}`, 107);
        }
    });
});

kit.forBrokers('history, bad input: SSE', BOTH, (stage) => {
    const opened = (t, c, id, query) => kit.sse(t, stage.gw,
        `/sse?channel=${c}${query
            ? `&last_event_id=${encodeURIComponent(id)}` : ''}`,
        { headers: query ? {} : { 'Last-Event-ID': id } });

    it('garbage is reset, unknown_id, and then the newest', async (t) => {
        const c = stage.channel('hist');
        const [{ epoch }] = await stage.fill(c, [1, 2]);
        const ids = ['x', '0', '-1', ':', `${epoch}`, `${epoch}:`,
            `${epoch}:-1`, `${epoch}:01`, `${epoch}:1x`, ` ${epoch}:1 x`,
            `${epoch}:18446744073709551616`, `:${1}`, `${epoch}${epoch}:1`,
            '~', '~A', '~====', '~AAAA', `~${'A'.repeat(1400)}`,
            `~${'_'.repeat(40)}`, 'x'.repeat(4000), '{"a":1}', '%00'];
        for (const id of ids) {
            for (const query of [false, true]) {
                const stream = await opened(t, c, id, query);
                assert.strictEqual(stream.status, 200, stream.text);
                const { json } = await stream.next('reset');
                assert.deepStrictEqual(json,
                    { channels: [c], reason: 'unknown_id' }, id.slice(0, 50));
                assert.strictEqual((await stream.next()).json.data, 2);
                stream.close();
            }
        }
    });

    it('an empty id is none', async (t) => {
        const c = stage.channel('hist');
        await stage.fill(c, [1]);
        for (const query of [false, true]) {
            const stream = await opened(t, c, '', query);
            await stream.next('session');
            await stage.fill(c, ['live']);
            assert.strictEqual((await stream.next()).json.data, 'live');
            assert.strictEqual(stream.inbox.items.length, 0);
        }
    });

    it('an offset of the future is reset', async (t) => {
        const c = stage.channel('hist');
        const [{ epoch }] = await stage.fill(c, [1]);
        for (const n of FAR_OFFSETS) {
            const stream = await opened(t, c, `${epoch}:${n}`);
            assert.deepStrictEqual((await stream.next('reset')).json,
                { channels: [c], reason: 'too_old' });
            assert.strictEqual((await stream.next()).json.data, 1);
        }
    });

    it('the id of another server is reset, foreign', async (t) => {
        const c = stage.channel('hist');
        const gw = await kit.gateway(t, CONFIG);
        const theirs = await kit.publish(gw, c, 1);
        await stage.fill(c, [2]);
        const stream = await opened(t, c,
            `${theirs.epoch}:${theirs.offset}`);
        assert.deepStrictEqual((await stream.next('reset')).json,
            { channels: [c], reason: 'foreign' });
        assert.strictEqual((await stream.next()).json.data, 2);
    });

    it('an id of a megabyte is refused, the node lives', async (t) => {
        for (const bytes of [
            kit.httpBytes('GET', '/sse?channel=hist:a',
                { 'Last-Event-ID': 'x'.repeat(1 << 20) }),
            kit.httpBytes('GET',
                `/sse?channel=hist:a&last_event_id=${'x'.repeat(1 << 20)}`),
        ]) {
            const raw = await kit.RawSocket.connect(stage.gw);
            kit.defer(t, () => raw.destroy());
            raw.write(bytes);
            const { text } = await raw.until((data) => {
                const end = data.indexOf('\r\n');
                return (end > 0 || raw.over) &&
                    { text: data.toString('latin1', 0, Math.max(end, 0)) };
            }, 'an answer or the end');
            assert.ok(text === '' || /^HTTP\/1\.1 4[13][14]/.test(text), text);
        }
        await assertAlive(stage.gw);
    });

    it('uni_sse: a wrong position in subs is 400', async (t) => {
        const gw = await kit.gateway(t,
            kit.merge(CONFIG, { uni_sse: { enabled: true } }));
        for (const n of BAD_OFFSETS) {
            const body = encodeURIComponent(
                `{"subs":{"hist:a":{"recover":true,"offset":${n}}}}`);
            const { status } = await kit.request(gw,
                { path: `/connection/uni_sse?cf_connect=${body}` });
            assert.strictEqual(status, 400, n);
        }
    });
});

/* A gateway on a nats-server with JetStream, and a client of the bus. */
async function stageOf(t, options = {}, more = {}, gateway = {}) {
    const server = await kit.natsServer(t, { jetstream: true, ...options });
    const config = kit.merge(CONFIG, kit.merge(
        { nats: { url: server.url, reconnect_wait: '100ms' } }, more));
    const gw = await kit.gateway(t, config, gateway);
    const bus = await kit.natsClient(t, server);
    return { server, gw, bus, config };
}

const STREAM = 'WEIR_H_hist';

async function until(gw, channel, data) {
    return kit.waitFor(() => kit.publish(gw, channel, data),
        'a publish is taken', 30000);
}

describe('history, bad input: JetStream', LIMIT, () => {
    it('one stream per namespace, as configured', async (t) => {
        const { gw, bus } = await stageOf(t);
        await kit.publish(gw, 'hist:a', 1);
        const { config } = await bus.stream('INFO', STREAM);
        assert.strictEqual(config.max_msgs_per_subject, 100);
        assert.strictEqual(config.max_age, 300e9);
        assert.deepStrictEqual(config.subjects, ['weir.pub.hist.>']);
        assert.strictEqual(config.discard, 'old');
        assert.ok(config.republish.dest.startsWith('weir.live.hist.'));
        const { streams } = await bus.request('$JS.API.STREAM.NAMES');
        assert.deepStrictEqual(streams, [STREAM], 'no other namespace has one');
    });

    it('limits that differ are said, and updated', async (t) => {
        const { gw, bus, config } = await stageOf(t);
        await kit.publish(gw, 'hist:a', 1);
        const more = { history_size: 7, history_ttl: '600s' };
        const namespaces = [{ ...config.channel.namespaces[0], ...more }];
        const second = await kit.gateway(t,
            { ...config, channel: { namespaces } });
        await kit.waitFor(async () => {
            const { config: now } = await bus.stream('INFO', STREAM);
            return now.max_msgs_per_subject === 7 && now.max_age === 600e9;
        }, 'updated');
        assert.match(second.stderr, /nats_stream_limits/);
        assert.strictEqual((await kit.call(second, 'history',
            { channel: 'hist:a', limit: 1 })).publications.length, 1);
    });

    it('a stream of that name that republishes nothing stops the start',
        async (t) => {
            const server = await kit.natsServer(t, { jetstream: true });
            const bus = await kit.natsClient(t, server);
            await bus.stream('CREATE', STREAM,
                { subjects: ['weir.pub.hist.>'], storage: 'file' });
            await assert.rejects(
                kit.startGateway({ ...CONFIG, nats: { url: server.url } }),
                (error) => /WEIR_H_hist/.test(error.message) &&
                    /nats stream rm WEIR_H_hist/.test(error.message));
        });

    it('a subject of its own, and a stream that was there before',
        async (t) => {
            const server = await kit.natsServer(t, { jetstream: true });
            const bus = await kit.natsClient(t, server);
            await bus.stream('CREATE', 'MARKET', { subjects: ['market.>'],
                storage: 'file', max_msgs_per_subject: 10 });
            bus.publish('market.quotes.x', '"before"');
            await bus.flush();
            const before = await bus.stream('INFO', 'MARKET');
            const gw = await kit.gateway(t, {
                nats: { url: server.url },
                channel: { namespaces: [{ name: 'quotes', ...HISTORY,
                    subject: 'market.quotes', stream: 'MARKET' }] },
            });
            const ws = await kit.connected(t, gw);
            const sub = await ws.subscribe('quotes:x');
            assert.strictEqual(sub.offset, 1);
            const at = await kit.publish(gw, 'quotes:x', 'by API');
            bus.publish('market.quotes.x', '"by bus"');
            const got = await ws.pubs(2, 'quotes:x');
            assert.deepStrictEqual(got.map((p) => [p.data, p.offset]),
                [['by API', at.offset], ['by bus', at.offset + 1]]);
            const { publications } = await kit.call(gw, 'history',
                { channel: 'quotes:x', limit: -1 });
            assert.deepStrictEqual(dataOf(publications),
                ['before', 'by API', 'by bus']);
            assert.deepStrictEqual(
                (await bus.stream('INFO', 'MARKET')).config, before.config);
            const other = await kit.connected(t, gw);
            const back = await other.subscribe('quotes:x',
                recoverFrom({ epoch: sub.epoch, offset: 1 }));
            assert.deepStrictEqual(dataOf(back.publications),
                ['by API', 'by bus']);
        });

    it('bare NATS publishers get history', async (t) => {
        const { gw, bus } = await stageOf(t);
        const ws = await kit.connected(t, gw);
        const at = await ws.subscribe('hist:a');
        for (const n of range(1, 5)) bus.publish('weir.pub.hist.a', `${n}`);
        const got = await ws.pubs(5, 'hist:a');
        assert.ok(got.every((p) => p.offset > 0), JSON.stringify(got));
        const { publications } = await kit.call(gw, 'history',
            { channel: 'hist:a', limit: -1 });
        assert.deepStrictEqual(publications.map((p) => p.offset),
            got.map((p) => p.offset));
        const back = await (await kit.connected(t, gw)).subscribe('hist:a',
            recoverFrom({ epoch: at.epoch, offset: got[1].offset }));
        assert.deepStrictEqual(dataOf(back.publications), [3, 4, 5]);
    });

    it('a stream deleted under the gateway: told, and there again',
        async (t) => {
            const { gw, bus } = await stageOf(t);
            const ws = await kit.connected(t, gw);
            const first = await ws.subscribe('hist:a');
            await kit.publish(gw, 'hist:a', 1);
            await ws.pub('hist:a');
            await bus.stream('DELETE', STREAM);
            const answer = await kit.api(gw, 'publish',
                { channel: 'hist:a', data: 2 });
            assert.ok(answer.json.result || answer.json.error.code === 100,
                answer.text);
            const at = await until(gw, 'hist:a', 3);
            assert.notStrictEqual(at.epoch, first.epoch);
            const { push } = await ws.push('hist:a', 30000);
            assert.strictEqual(push.unsubscribe?.code, 2500,
                JSON.stringify(push));
            const back = await ws.subscribe('hist:a', recoverFrom(
                { epoch: first.epoch, offset: (first.offset ?? 0) + 1 }));
            assert.ok(back.was_recovering && !back.recovered,
                JSON.stringify(back));
            assert.strictEqual(back.epoch, at.epoch);
            await kit.publish(gw, 'hist:a', 'end');
            assert.strictEqual((await ws.pub('hist:a')).data, 'end');
        });

    it('an event stream of which one channel must wait ends with no id',
        async (t) => {
            const server = await kit.natsServer(t, { jetstream: true });
            const bus = await kit.natsClient(t, server);
            await bus.stream('CREATE', 'MARKET',
                { subjects: ['market.>'], storage: 'file' });
            const config = {
                nats: { url: server.url },
                channel: { namespaces: [{ name: 'hist', ...HISTORY },
                    { name: 'quotes', ...HISTORY, subject: 'market.quotes',
                        stream: 'MARKET' }] },
            };
            /* The second one knows nothing of the channels. */
            const gw = await kit.gateway(t, config);
            const other = await kit.gateway(t, config);
            const path = '/sse?channel=hist:a&channel=quotes:x';
            const first = await kit.sse(t, gw, path);
            const { id } = await first.next('session');
            first.close();
            await kit.publish(gw, 'hist:a', 1);
            await bus.stream('DELETE', 'MARKET');
            await kit.waitFor(async () => (await kit.api(other, 'history',
                { channel: 'quotes:y' })).json.error?.code === 100,
            'the stream is missed');
            /* An event with an id that lacks quotes:x would lose its place. */
            const stream = await kit.sse(t, other, path,
                { headers: { 'Last-Event-ID': id } });
            await stream.next('disconnect');
            await stream.ended();
            assert.doesNotMatch(stream.text, /^id:|event: reset|"hist:a"/m);
        });

    it('a stream purged under the gateway: what was missed is not proven',
        async (t) => {
            const { gw, bus } = await stageOf(t);
            const ws = await kit.connected(t, gw);
            await ws.subscribe('hist:a');
            const at = await kit.publish(gw, 'hist:a', 1);
            await kit.publish(gw, 'hist:a', 2);
            await ws.pubs(2, 'hist:a');
            await bus.stream('PURGE', STREAM);
            /* Another node: this one may have them in its memory. */
            const other = await kit.gateway(t,
                { ...CONFIG, nats: gw.overrides.nats });
            const late = await kit.connected(t, other);
            const back = await late.subscribe('hist:a', recoverFrom(at));
            assert.ok(back.was_recovering && !back.recovered,
                JSON.stringify(back));
            assert.strictEqual(back.epoch, at.epoch);
            await kit.publish(gw, 'hist:a', 3);
            assert.strictEqual((await ws.pub('hist:a')).data, 3);
            assert.strictEqual((await late.pub('hist:a')).data, 3);
        });

    it('JetStream disabled: said at start, plain, 108', async (t) => {
        const server = await kit.natsServer(t, {});
        const gw = await kit.gateway(t,
            { ...CONFIG, nats: { url: server.url } });
        assert.match(gw.stderr, /nats_no_jetstream.*\bhist\b/);
        const ws = await kit.connected(t, gw);
        assert.deepStrictEqual(await ws.subscribe('hist:a'), {});
        assert.deepStrictEqual(await kit.publish(gw, 'hist:a', 1), {});
        assert.strictEqual((await ws.pub('hist:a')).offset, undefined);
        await ws.refused('history', { channel: 'hist:a', limit: 1 }, 108);
        await ws.refused('subscribe', { channel: 'hist:b',
            ...recoverFrom({ epoch: 'x', offset: 1 }) }, 108);
        for (const method of ['history', 'history_remove']) {
            await apiCode(gw, method, '{"channel":"hist:a"}', 108);
        }
    });

    it('NATS away at the start: 100, until it is there', async (t) => {
        const server = await kit.natsServer(t, { jetstream: true });
        await server.kill();
        const gw = await kit.gateway(t, { ...CONFIG,
            nats: { url: server.url, reconnect_wait: '100ms' } },
        { degraded: true });
        await apiCode(gw, 'publish', '{"channel":"hist:a","data":1}', 100);
        await apiCode(gw, 'history', '{"channel":"hist:a"}', 100);
        const ws = await kit.connected(t, gw);
        await ws.refused('subscribe', { channel: 'hist:a' }, 100);
        await server.restart();
        assert.ok((await until(gw, 'hist:a', 1)).offset >= 1);
        await kit.waitFor(async () => (await ws.command('subscribe',
            { channel: 'hist:a' })).subscribe?.recoverable, 'subscribed');
    });

    it('a disk that is full: publish is 100, the rest goes on', async (t) => {
        const limits = { max_file_store: 200000 };
        const { gw, server } = await stageOf(t, { jetstream: { limits } });
        const data = 'x'.repeat(10000);
        let last;
        await kit.waitFor(async () => {
            const { json } = await kit.api(gw, 'publish',
                { channel: 'hist:a', data });
            last = json.result ?? last;
            return json.error?.code === 100;
        }, 'the store is full', 30000);
        assert.ok(last, 'some were taken');
        const { publications } = await kit.call(gw, 'history',
            { channel: 'hist:a', limit: -1 });
        assert.ok(publications.length > 0);
        const ws = await kit.connected(t, gw);
        assert.ok((await ws.subscribe('hist:a')).recoverable);
        assert.deepStrictEqual(await kit.publish(gw, 'plain:a', 1), {});
        /* A purge gives nothing back on such a server (2.9.10). */
        await server.kill();
        limits.max_file_store *= 10;
        await server.restart();
        await until(gw, 'hist:a', 'room again');
    });

    it('positions without history stop the start over NATS', async (t) => {
        const server = await kit.natsServer(t, { jetstream: true });
        const namespaces = [{ name: 'posit', force_positioning: true }];
        await assert.rejects(kit.startGateway({ channel: { namespaces },
            nats: { url: server.url } }), /force_positioning/);
        await kit.gateway(t, { channel: { namespaces } });
    });
});
