/* throttle-bad.test.js — broken and hostile wishes, data and publishers: each
 * has an answer, none costs more than its sender. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(120000) };
const CONFIG = {
    channel: {
        without_namespace: kit.OPEN,
        namespaces: [
            ['last', { mode: 'latest', key: '/s', rate: 20, snapshot: 1 }],
            ['rare', { mode: 'latest', key: '/s', rate: 0.2 }],
            ['deep', { mode: 'latest', key: '/a~1b/1/~0c', rate: 0.2 }],
            ['doc', { mode: 'merge', key: '/s', rate: 20, snapshot: 1 }],
            ['each', { snapshot: 10 }],
        ].map(([name, throttle]) => ({ name, ...kit.OPEN, throttle })),
    },
    throttle: { max_items: 100, max_bytes: 1 << 20 },
};
const FULL = { rate: 20, mode: 'latest' };

const range = (count, make) => Array.from({ length: count }, (_, i) => make(i));

/* Not numbers, or no rate. */
const WRONG_RATES = ['"5"', '"NaN"', '"x"', '""', 'true', 'false', '[]', '[5]',
    '{}', '-1', '-0.001', '-1e9', '-1e-9', '-999999999999999999999'];
const WRONG_MODES = ['5', 'true', '[]', '{}', '""', '"fast"', '"LATEST"',
    '"latest "', '"latest\\u0000"', '["latest"]', '"\\ud800"'];
const WRONG = [...WRONG_RATES.map((rate) => `{"rate":${rate}}`),
    ...WRONG_MODES.map((mode) => `{"mode":${mode}}`),
    '{"rate":5,"mode":"fast"}', '{"rate":"5","mode":"latest"}'];
/* What is no object, or asks for nothing. */
const NOTHING = ['{}', '[]', '5', '"rate"', 'true', 'null', '{"Rate":1}',
    '{"x":{"rate":"y"}}', '[{"rate":-1}]', '{"rate":null,"mode":null}'];

async function assertAlive(gw) {
    for (let i = 0; i < 4; i++) {
        assert.strictEqual(
            (await kit.request(gw, { path: '/health' })).status, 200);
    }
}

/* Publish data exactly as written. */
async function publishText(gw, channel, text, more = '') {
    const answer = await kit.api(gw, 'publish',
        `{"channel":${JSON.stringify(channel)},"data":${text}${more}}`);
    assert.ok(answer.status === 200 && !answer.json.error, answer.text);
}

describe('throttle, bad wishes: WebSocket', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway(CONFIG); });
    after(() => gw?.stop());

    /* One command, its body as written; the reply. */
    function command(ws, name, body) {
        const id = ws.lastId + 1;
        ws.send(`{"${name}":${body},"id":${id}}`);
        return ws.reply(id);
    }

    it('a subscribe with a wrong wish is 107, and subscribes to nothing',
        async (t) => {
            const ws = await kit.connected(t, gw);
            for (const channel of ['last:a', 'each:a', 'plain']) {
                for (const data of WRONG) {
                    const reply = await command(ws, 'subscribe',
                        `{"channel":"${channel}","data":${data}}`);
                    assert.strictEqual(reply.error?.code, 107,
                        `${channel} ${data}: ${JSON.stringify(reply)}`);
                }
                await ws.refused('rpc', { method: 'weir.throttle',
                    data: { channel, rate: 1 } }, 103);
            }
            assert.deepStrictEqual((await ws.subscribe('last:a')).data, FULL);
        });

    it('data that asks for nothing is ignored', async (t) => {
        for (const data of NOTHING) {
            const ws = await kit.connected(t, gw);
            const reply = await command(ws, 'subscribe',
                `{"channel":"last:b","data":${data}}`);
            assert.deepStrictEqual(reply.subscribe?.data, FULL, data);
            const plain = await command(ws, 'subscribe',
                `{"channel":"plain","data":${data}}`);
            assert.deepStrictEqual(plain.subscribe, {}, data);
        }
    });

    it('NaN, Infinity and the like are no JSON: 3501', async (t) => {
        for (const rate of ['NaN', 'Infinity', '-Infinity', '+5', '.5', '5.',
            '05', '0x5', '5,']) {
            const ws = await kit.connected(t, gw);
            ws.send(`{"subscribe":{"channel":"last:a","data":{"rate":${
                rate}}},"id":2}`);
            await ws.closedWith(3501);
        }
        await assertAlive(gw);
    });

    it('numbers beyond all measure are cut, not misread', async (t) => {
        for (const [rate, granted] of [['1e400', 20], ['1e-400', 0.2],
            [`1${'0'.repeat(5000)}`, 20], [`0.${'0'.repeat(5000)}1`, 0.2],
            [`${'9'.repeat(400)}e-400`, 0.5], ['5e0', 5], ['0.5E+1', 5],
            ['1e999999999999999999999', 20], ['1e-999999999999999999999', 0.2],
            ['4294967296', 20], ['4294967.297', 20], ['18446744073709551617',
                20], ['-0', 20], ['0e5', 20]]) {
            const ws = await kit.connected(t, gw);
            const reply = await command(ws, 'subscribe',
                `{"channel":"last:a","data":{"rate":${rate}}}`);
            assert.deepStrictEqual(reply.subscribe?.data,
                { rate: granted, mode: 'latest' }, rate.slice(0, 40));
        }
    });

    it('the RPC: 107 for a wrong wish, which changes nothing', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('last:a', { data: { rate: 3 } });
        const wrong = WRONG.map((data) =>
            data.replace('{', '{"channel":"last:a",'));
        wrong.push('{}', '[]', '5', '"last:a"', 'null', '{"rate":1}',
            '{"channel":5}', '{"channel":["last:a"]}', '{"channel":null}',
            '{"channel":"last:a","rate":1,"mode":5}');
        /* Only so many at once; see the floods below. */
        for (let i = 0; i < wrong.length; i++) {
            const reply = await kit.waitFor(async () => {
                const answer = await command(ws, 'rpc',
                    `{"method":"weir.throttle","data":${wrong[i]}}`);
                if (answer.error?.code !== 111) return answer;
                await kit.pause(100);
                return null;
            }, 'an answer that is not 111');
            assert.strictEqual(reply.error?.code, 107,
                `${wrong[i]}: ${JSON.stringify(reply)}`);
        }
        const none = await kit.waitFor(async () => {
            const answer = await command(ws, 'rpc',
                '{"method":"weir.throttle"}');
            return answer.error?.code !== 111 && answer;
        }, 'an answer');
        assert.strictEqual(none.error?.code, 107, JSON.stringify(none));
    });

    it('the RPC: 103 where not subscribed, 108 for other methods',
        async (t) => {
            const ws = await kit.connected(t, gw);
            await ws.subscribe('last:a');
            for (const channel of ['last:b', 'shut:x', 'plain', 'last:a.b',
                'last:A']) {
                await ws.refused('rpc', { method: 'weir.throttle',
                    data: { channel, rate: 1 } }, 103);
            }
            for (const method of ['weir', 'weir.throttle2', 'Weir.Throttle',
                'weir.throttle ', 'weir.throttle\u0000', '', 'x'.repeat(999)]) {
                await ws.refused('rpc', { method,
                    data: { channel: 'last:a', rate: 1 } }, 108);
            }
            await ws.command('unsubscribe', { channel: 'last:a' });
            await ws.refused('rpc', { method: 'weir.throttle',
                data: { channel: 'last:a', rate: 1 } }, 103);
        });

    it('10,000 changes in a second are limited with 111, nothing else is',
        async (t) => {
            const ws = await kit.connected(t, gw);
            await ws.subscribe('last:flood');
            await ws.subscribe('plain.flood');
            const start = Date.now();
            const rpc = (i) => ({ rpc: { method: 'weir.throttle', data: {
                channel: 'last:flood', rate: [1, 2, 3, 5, 10][i % 5] } },
            id: 10 + i });
            for (let from = 0; from < 10000; from += 100) {
                ws.send(...range(100, (i) => rpc(from + i)));
            }
            const last = await ws.reply(10009);
            const replies = [...ws.inbox.items.map((i) => i.msg), last];
            const seconds = (Date.now() - start) / 1000;
            const granted = replies.filter((r) => r.rpc).length;
            const refused = replies.filter((r) => r.error?.code === 111);
            assert.strictEqual(granted + refused.length, 10000);
            assert.ok(granted >= 20 && granted <= 21 + 5 * seconds,
                `${granted} granted in ${seconds} s`);
            assert.ok(refused[0].error.message);
            ws.inbox.items.length = 0;
            await kit.publish(gw, 'last:flood', { s: 'x', n: 1 });
            await kit.publish(gw, 'plain.flood', 2);
            assert.strictEqual((await ws.pub('last:flood')).data.n, 1);
            assert.strictEqual((await ws.pub('plain.flood')).data, 2);
            await kit.waitFor(async () => {
                const reply = await ws.command('rpc', {
                    method: 'weir.throttle',
                    data: { channel: 'last:flood', rate: 3 } });
                return reply.rpc?.data.rate === 3;
            }, 'a change is granted again');
        });

    it('the limit is each client\'s own', async (t) => {
        const loud = await kit.connected(t, gw);
        const calm = await kit.connected(t, gw);
        for (const ws of [loud, calm]) await ws.subscribe('last:own');
        const change = { method: 'weir.throttle',
            data: { channel: 'last:own', rate: 1 } };
        loud.send(...range(100, (i) => ({ rpc: change, id: 10 + i })));
        assert.strictEqual((await loud.reply(109)).error?.code, 111);
        for (let i = 0; i < 15; i++) {
            assert.ok((await calm.command('rpc', change)).rpc);
        }
    });

    it('subscribing and leaving at ever other rates leaves nothing',
        async (t) => {
            const ws = await kit.connected(t, gw);
            const source = kit.pump(t, { send: (...entries) => Promise.all(
                entries.map(([c, d]) => kit.publish(gw, c, d))) },
            (turn) => [['last:churn', { s: `i${turn % 7}`, n: turn }]], 2);
            const rates = [0.2, 0.5, 1, 2, 3, 5, 10, 20];
            for (let i = 0; i < 400; i++) {
                await ws.subscribe('last:churn',
                    { data: { rate: rates[i % 8] } });
                await ws.command('unsubscribe', { channel: 'last:churn' });
            }
            await source.stop();
            await ws.subscribe('last:churn');
            await kit.publish(gw, 'last:churn', { s: 'end', n: 0 });
            for (;;) {
                if ((await ws.pub('last:churn')).data.s === 'end') break;
            }
        });
});

describe('throttle, bad wishes: SSE', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway(CONFIG); });
    after(() => gw?.stop());

    for (const query of ['rate=', 'rate=x', 'rate=-1', 'rate=-0.001',
        'rate=NaN', 'rate=Infinity', 'rate=0x5', 'rate=5,5', 'rate=5%205',
        'rate=%00', 'rate=5%00', 'rate=1e', 'rate=.', 'rate=%D9%A5',
        'rate=true', 'rate=%225%22', 'rate=--5', 'mode=', 'mode=fast',
        'mode=LATEST', 'mode=latest%00', 'mode=5', 'rate=5&mode=x',
        'mode=latest&rate=x']) {
        it(`400 with a JSON body for ${query}`, async (t) => {
            const stream = await kit.sse(t, gw,
                `/sse?channel=last:a&channel=plain&${query}`);
            assert.strictEqual(stream.status, 400);
            await stream.ended();
            assert.strictEqual(stream.json().error.code, 107, stream.text);
        });
    }

    it('400 for a body that is not what it should be, nothing is done',
        async (t) => {
            const stream = await kit.reader(t, gw, 'sse', 'last:a',
                { rate: 3 });
            const bodies = ['', ' ', '{', 'x', '5', 'null', '[]', '"x"',
                '{"channels":5}', '{"channels":[]}', '{"channels":"last:a"}',
                '{"channels":null}', '{"channels":{"last:a":5}}',
                '{"channels":{"last:a":[]}}', '{"channels":{"last:a":"x"}}',
                '{"channels":{"last:a":true}}', '{"channels":{"last:a":null}',
                '{"channels":{"last:a":null}}x', '{"channels":{last:null}}',
                `${'['.repeat(5000)}`, '\0', '{"channels":{"last:a":null,}}'];
            for (const body of bodies) {
                const answer = await kit.postSession(gw, stream.session, body);
                assert.strictEqual(answer.status, 400,
                    `${body.slice(0, 60)}: ${answer.text}`);
                assert.ok(answer.json.error.code, answer.text);
            }
            const answer = await kit.waitFor(async () => {
                const last = await stream.post({});
                return last.status === 200 && last;
            }, 'no 429');
            assert.deepStrictEqual(answer.json.channels,
                { 'last:a': { rate: 3, mode: 'latest' } });
        });

    it('a wrong wish in a body is refused, and changes nothing', async (t) => {
        for (const wish of WRONG) {
            const stream = await kit.reader(t, gw, 'sse', 'last:a',
                { rate: 3 });
            const answer = await kit.postSession(gw, stream.session,
                `{"channels":{"last:a":${wish},"last:b":${wish}}}`);
            /* As a whole, or channel by channel. */
            if (answer.status !== 400) {
                assert.strictEqual(answer.status, 200, answer.text);
                for (const channel of ['last:a', 'last:b']) {
                    assert.strictEqual(answer.json.errors[channel].code, 107);
                }
            }
            const { json } = await stream.post({});
            assert.deepStrictEqual(json.channels,
                { 'last:a': { rate: 3, mode: 'latest' } }, wish);
            stream.close();
        }
    });

    it('a body over the limit is 413', async (t) => {
        const stream = await kit.reader(t, gw, 'sse', 'last:a');
        const answer = await kit.postSession(gw, stream.session,
            `{"channels":{}${' '.repeat(70000)}}`);
        assert.strictEqual(answer.status, 413);
        assert.strictEqual((await stream.post({})).status, 200);
    });

    it('odd channel names in a body harm nobody', async (t) => {
        const stream = await kit.reader(t, gw, 'sse', 'last:a');
        const names = [' ', '\u0000', 'last:a\n', 'last:\ud800', 'last:',
            ':', 'last:*', 'last:>', 'x'.repeat(5000), 'caf\u00e9', '__proto__',
            'a..b', 'last:a\u2028'];
        const answer = await stream.post(Object.fromEntries(
            names.map((name) => [name, { rate: 1 }])));
        assert.strictEqual(answer.status, 200, answer.text);
        for (const { code } of Object.values(answer.json.errors)) {
            assert.ok([102, 103, 107].includes(code), answer.text);
        }
        const none = await stream.post({ '': {}, 'last:a': null });
        assert.strictEqual(none.status, 400, none.text);
        const left = await stream.post({});
        assert.deepStrictEqual(left.json.channels['last:a'], FULL);
        await kit.publish(gw, 'last:a', { s: 'x', n: 1 });
        await stream.until((g) => g.data.n === 1, 'it lives');
    });

    it('a flood of POSTs is limited with 429, the stream stays', async (t) => {
        const stream = await kit.reader(t, gw, 'sse', 'last:a');
        const raw = await kit.RawSocket.connect(gw);
        kit.defer(t, () => raw.destroy());
        const start = Date.now();
        raw.write(range(1000, (i) => {
            const body = JSON.stringify({ channels: {
                'last:a': { rate: [1, 2, 3, 5, 10][i % 5] } } });
            return kit.httpBytes('POST', `/sse/${stream.session}`,
                { 'Content-Length': body.length }, body);
        }).join(''));
        const answers = await raw.responses(1000);
        const seconds = (Date.now() - start) / 1000;
        const granted = answers.filter((a) => a.status === 200).length;
        const refused = answers.filter((a) => a.status === 429).length;
        assert.strictEqual(granted + refused, 1000);
        assert.ok(granted >= 20 && granted <= 21 + 5 * seconds,
            `${granted} granted in ${seconds} s`);
        await kit.publish(gw, 'last:a', { s: 'x', n: 1 });
        await stream.until((g) => g.data.n === 1, 'it lives');
        await kit.waitFor(async () => (await stream.post(
            { 'last:a': { rate: 1 } })).status === 200, 'granted again');
    });
});

for (const broker of kit.BROKERS) {
    describe(`throttle, hostile data, ${broker}`, LIMIT, () => {
        let rig;
        let gw;
        before(async () => {
            rig = await kit.Rig.start(broker, CONFIG);
            gw = rig.gw;
        });
        after(() => rig?.stop());

        /* At 0.2/s only what is an item of its own comes at once. */
        it('every key that is one names its own item', async (t) => {
            const keys = ['""', '" "', '"a"', '"A"', '"1"', '1', '0', '-1',
                'true', 'false', '"true"', '"\\u0000"', '"\\u0001"', '"\\\\"',
                '"\\""', '"caf\u00e9"', '"\u20ac\ud83d\ude00"', '1e308',
                '123456789012345678901234567890',
                '123456789012345678901234567891',
                `"${'x'.repeat(30000)}"`, `"${'x'.repeat(29999)}y"`];
            const all = await kit.readers(t, gw, 'rare:keys');
            for (const key of keys) {
                await publishText(gw, 'rare:keys',
                    `{"s":${key},"n":${keys.indexOf(key)}}`);
            }
            for (const reader of all) {
                for (let n = 0; n < keys.length; n++) {
                    await reader.until((g) => g.data.n === n, keys[n], 3000);
                }
                assert.strictEqual(reader.got.length, keys.length);
            }
        });

        it('however a key is spelled it is the same item', async (t) => {
            const reader = await kit.reader(t, gw, 'websocket', 'rare:spell');
            const spelled = ['{"s":"A","n":', '{"s":"\\u0041","n":',
                '{"\\u0073":"A","n":', '{ "x" : {"s":"B"}, "s" : "A", "n":',
                '{"s":"B","s":"A","n":'];
            for (let n = 0; n < 30; n++) {
                await publishText(gw, 'rare:spell',
                    `${spelled[n % spelled.length]}${n}}`);
            }
            await publishText(gw, 'rare:spell', '{"s":"end","n":-1}');
            await reader.until((g) => g.data.n === -1, 'another item');
            /* The leading edge, and a tick if one happened to fall here. */
            assert.ok(reader.got.length <= 3, `${reader.got.length}`);
            await reader.until((g) => g.data.n === 29, 'the last of A');
        });

        it('a pointer with escapes and an index; what lacks it is keyless',
            async (t) => {
                const keyless = async () => (await kit.metrics(gw)).sum(
                    'weir_throttle_keyless_total');
                const before = await keyless();
                const reader = await kit.reader(t, gw, 'sse', 'deep:a');
                for (let n = 0; n < 3; n++) {
                    await kit.publish(gw, 'deep:a',
                        { 'a/b': [0, { '~c': `i${n}` }], n });
                }
                for (let n = 0; n < 3; n++) {
                    await reader.until((g) => g.data.n === n, `${n}`, 3000);
                }
                const lacking = [{ 'a/b': [] }, { 'a/b': { 2: { '~c': 1 } } },
                    { 'a/b': [0, { '~c': null }] }, { 'a/b': [0, 5] },
                    { 'a/b': [0, { '~c': {} }] }, { 'a/b': '01' }, {}, [],
                    5, 'text', true, [[[[]]]]];
                lacking.push({ end: 1 });
                for (const data of lacking) {
                    await kit.publish(gw, 'deep:a', data);
                }
                await reader.until((g) => g.data.end, 'the last');
                assert.ok(reader.got.length <= 3 + 3, `${reader.got.length}`);
                await kit.waitFor(async () =>
                    await keyless() - before === lacking.length,
                'they are counted');
            });

        it('20,000 items where 100 are told apart: bounded, and over with it',
            async (t) => {
                const all = await kit.readers(t, gw, 'last:many');
                const evicted = async () => (await kit.metrics(gw)).sum(
                    'weir_throttle_items_evicted_total');
                const before = await evicted();
                const pad = 'x'.repeat(400);
                const send = (from, count) => rig.source.send(
                    ...range(count, (i) => ['last:many',
                        { s: `i${from + i}`, n: from + i, pad }]));
                await send(0, 500);
                const rss = gw.rssBytes();
                for (let from = 500; from < 20000; from += 500) {
                    await send(from, 500);
                }
                for (const reader of all) {
                    await reader.until((g) => g.data.n === 19999, 'the last',
                        30000);
                }
                kit.assertGrowth(gw, rss, 8e6, '20,000 items');
                assert.ok(await evicted() - before >= 19000, 'evictions');
                const m = await kit.metrics(gw);
                assert.ok(m.sum('weir_throttle_held_bytes') < 4e6);
                const late = await kit.reader(t, gw, 'websocket', 'last:many');
                assert.deepStrictEqual(late.got.map((g) => g.data.n),
                    range(100, (i) => 19900 + i));
                await send(20000, 50);
                for (const reader of all) {
                    for (let n = 20000; n < 20050; n++) {
                        await reader.until((g) => g.data.n === n, `${n}`);
                    }
                    kit.assertGrowing(reader.got, (d) => d.s, reader.kind);
                }
            });

        it('last values of many channels stay within throttle.max_bytes',
            async (t) => {
                const keeper = await kit.reader(t, gw, 'websocket',
                    range(60, (i) => `last:c${i}`));
                const pad = 'x'.repeat(1000);
                for (let from = 0; from < 60; from++) {
                    await rig.source.send(...range(100, (i) =>
                        [`last:c${from}`, { s: `i${i}`, n: i, pad }]));
                }
                await keeper.until((g) => g.channel === 'last:c59' &&
                    g.data.n === 99, 'the last');
                await kit.waitFor(async () => {
                    const m = await kit.metrics(gw);
                    return m.sum('weir_throttle_held_bytes') < 3e6;
                }, '6 MB are not held');
                const late = await kit.reader(t, gw, 'websocket',
                    ['last:c59']);
                assert.strictEqual(late.got.length, 100);
            });

        it('a merged state that only grows is bounded', async (t) => {
            const all = await kit.readers(t, gw, 'doc:grow');
            const pad = 'x'.repeat(1000);
            const rss = gw.rssBytes();
            for (let from = 0; from < 3000; from += 100) {
                await rig.source.send(...range(100, (i) => ['doc:grow',
                    { s: 'big', n: from + i, [`m${from + i}`]: pad }]));
            }
            await rig.source.send(['doc:grow', { s: 'small', n: 1 }],
                ['doc:grow', { s: 'small', m: 2 }]);
            for (const reader of all) {
                await reader.until((g) => g.data.s === 'small' &&
                    g.data.m === 2 && g.data.n === 1, 'another item', 30000);
                for (const { data } of reader.got) {
                    assert.ok(JSON.stringify(data).length <= 70000);
                }
            }
            kit.assertGrowth(gw, rss, 25e6, 'a state that grows');
            await assertAlive(gw);
        });

        it('merge patches of odd shapes give states that are JSON',
            async (t) => {
                const all = await kit.readers(t, gw, 'doc:odd');
                const nest = (depth) =>
                    '{"a":'.repeat(depth) + '1' + '}'.repeat(depth);
                for (const text of ['{"s":"x","a":1,"a":null,"b":2}',
                    '{"s":"x","\\u0062":3}', '{"s":"x","":{"":{"":0}}}',
                    '{"s":"x","n":123456789012345678901234567890}',
                    '{"s":"x","f":1e400,"z":-0}',
                    '{"s":"x","u":"\\ud800","v":"\\u0000\\u2028"}',
                    `{"s":"x","d":${nest(60)}}`,
                    `{"s":"x","d":${'['.repeat(60)}${']'.repeat(60)}}`,
                    '{"s":"x","d":null,"l":[{"a":null}]}',
                    '{ "s" : "x" , "w" :\t[ 1 ,\r\n 2 ] }']) {
                    await publishText(gw, 'doc:odd', text);
                }
                await publishText(gw, 'doc:odd', '{"s":"x","end":1}');
                for (const reader of all) {
                    const { data } = await reader.until((g) => g.data.end,
                        'the end');
                    delete data.f;
                    delete data.n;
                    assert.deepStrictEqual(data, {
                        s: 'x', b: 3, '': { '': { '': 0 } }, z: -0,
                        u: data.u, v: '\u0000\u2028', l: [{ a: null }],
                        w: [1, 2], end: 1,
                    });
                }
                const ws = await kit.connected(t, gw);
                const { publications } = await ws.subscribe('doc:odd');
                assert.strictEqual(publications.length, 1);
                const raw = ws.frames.at(-1);
                assert.ok(raw.includes('123456789012345678901234567890'),
                    'a number keeps its digits');
            });

        it('a wrong urgent is refused', async () => {
            for (const urgent of ['"true"', '1', '[]', '{}']) {
                const answer = await kit.api(gw, 'publish',
                    `{"channel":"last:u","data":1,"urgent":${urgent}}`);
                assert.strictEqual(answer.json.error?.code, 107, urgent);
            }
            await publishText(gw, 'last:u', '1', ',"urgent":null');
        });
    });
}

describe('throttle, bad configuration', LIMIT, () => {
    for (const [throttle, names] of [
        [5, 'throttle'], [[], 'throttle'], [{ speed: 5 }, 'speed'],
        [{ mode: 'fast' }, 'mode'], [{ mode: 5 }, 'mode'],
        [{ rate: -1 }, 'rate'], [{ rate: '5' }, 'rate'],
        [{ rate: 1001 }, 'rate'], [{ key: 'symbol' }, 'key'],
        [{ key: '/a~2' }, 'key'], [{ snapshot: -1 }, 'snapshot'],
        [{ on_full: 'explode' }, 'on_full'],
        [{ mode: 'latest', on_full: 'drop_oldest' }, 'on_full'],
        [{ mode: 'all', on_full: 'conflate' }, 'on_full'],
        [{ buffer: 1e9 }, 'buffer'], [{ bandwidth: -1 }, 'bandwidth'],
        [{ order_group: 'a b' }, 'order_group'],
        [{ allow_client_rate: 'yes' }, 'allow_client_rate'],
    ]) {
        it(`${JSON.stringify(throttle)} stops the start and is named`,
            async (t) => {
                const dir = kit.tempDir();
                kit.defer(t, () => fs.rmSync(dir, { recursive: true }));
                const file = path.join(dir, 'weir.json');
                fs.writeFileSync(file, JSON.stringify({ channel: {
                    namespaces: [{ name: 'quotes', throttle }] } }));
                const { code, stdout, stderr } = await kit.runWeir(
                    ['-c', file, '--check-config']);
                assert.ok(code > 0);
                const text = (stdout + stderr).trim();
                assert.ok(text.includes(names), text);
                assert.ok(text.includes('quotes') || text.includes('channel'),
                    text);
                assert.strictEqual(text.split('\n').length, 1, text);
            });
    }
});
