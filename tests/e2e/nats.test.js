/* nats.test.js — two gateways and one nats-server: what any of them accepts
 * reaches the subscribers of both, once, in order, and heals by itself. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(120000) };
const CHANNEL = {
    without_namespace: kit.OPEN,
    namespaces: [
        { name: 'pp', allow_patterns: true, ...kit.OPEN },
        { name: 'text', non_json: 'string', ...kit.OPEN },
        { name: 'quotes', subject: 'market.quotes', ...kit.OPEN },
        { name: 'sensors', subject: 'plant.sensors', allow_patterns: true,
            ...kit.OPEN },
        { name: 'uni', channel_regex: '.', ...kit.OPEN },
    ],
};

function config(server, more = {}) {
    return kit.merge({
        channel: CHANNEL,
        nats: { url: server.url, reconnect_wait: '100ms' },
    }, more);
}

async function brokerText(gw) {
    const { status, text } = await kit.request(gw, { path: '/health' });
    return { status, text };
}

/* Publish by `send` until `arrived` is true; the milliseconds it took. */
async function untilFlowing(send, arrived, what) {
    const start = Date.now();
    await kit.waitFor(async () => {
        await send();
        return arrived();
    }, what, 20000);
    return Date.now() - start;
}

describe('nats: two gateways, one bus', LIMIT, () => {
    let server;
    let one;
    let two;
    let bus;
    before(async () => {
        server = await new kit.NatsServer({}).start();
        one = await kit.startGateway(config(server));
        two = await kit.startGateway(config(server));
        bus = await kit.NatsClient.connect(server);
    });
    after(async () => {
        bus?.close();
        await one?.stop();
        await two?.stop();
        await server?.stop();
    });

    it('HTTP, client and PUB reach subscribers on both, once each',
        async (t) => {
            const all = [];
            for (const gw of [one, two]) {
                for (let i = 0; i < 4; i++) {
                    const ws = await kit.connected(t, gw);
                    await ws.subscribe('both');
                    all.push(ws);
                }
            }
            const stream = await kit.sse(t, two, '/sse?channel=both&raw=1');
            await kit.publish(one, 'both', 'http1');
            await kit.publish(two, 'both', 'http2');
            for (const ws of [all[0], all[4]]) {
                const reply = await ws.command('publish',
                    { channel: 'both', data: 'client' });
                assert.ok(reply.publish, JSON.stringify(reply));
            }
            bus.publish('weir.pub._.both', '"bus"');
            await bus.flush();
            const expected =
                ['bus', 'client', 'client', 'http1', 'http2'];
            for (const ws of all) {
                const got = await ws.pubs(5, 'both');
                assert.deepStrictEqual(got.map((p) => p.data).sort(),
                    expected);
                assert.strictEqual(ws.inbox.items.length, 0);
            }
            await stream.next('session');
            for (let i = 0; i < 5; i++) await stream.next();
            assert.strictEqual(stream.inbox.items.length, 0);
        });

    it('exact and overlapping pattern subscribers: once per subscription',
        async (t) => {
            const patterns = ['pp:o.a', 'pp:o.*', 'pp:o.>', 'pp:>', 'pp:*.a'];
            const clients = [];
            for (const gw of [one, one, one, two]) {
                const ws = await kit.connected(t, gw);
                for (const p of patterns) await ws.subscribe(p);
                clients.push(ws);
            }
            const lone = await kit.connected(t, one);
            await lone.subscribe('pp:o.a');
            await kit.publish(one, 'pp:o.a', 1);
            await kit.publish(two, 'pp:o.a', 2);
            bus.publish('weir.pub.pp.o.a', '3');
            await kit.publish(one, 'pp:o.a', 'end');
            for (const ws of clients) {
                for (const p of patterns) {
                    const got = await ws.pubs(4, p);
                    assert.deepStrictEqual(
                        got.map((x) => String(x.data)).sort(),
                        ['1', '2', '3', 'end'], p);
                }
                assert.strictEqual(ws.inbox.items.length, 0);
            }
            await lone.pubs(4, 'pp:o.a');
            assert.strictEqual(lone.inbox.items.length, 0);
        });

    it('keeps the order of each publisher', async (t) => {
        const N = 300;
        const watchers = [];
        for (const gw of [one, two, one, two]) {
            const ws = await kit.connected(t, gw);
            await ws.subscribe('ord');
            watchers.push(ws);
        }
        const pipeline = async (gw, name) => {
            const raw = await kit.RawSocket.connect(gw);
            kit.defer(t, () => raw.destroy());
            for (let from = 0; from < N; from += 50) {
                const batch = Array.from({ length: 50 }, (_, i) =>
                    kit.apiBytes(gw, 'publish',
                        { channel: 'ord', data: [name, from + i] }));
                raw.write(batch.join(''));
                for (const a of await raw.responses(50)) {
                    assert.strictEqual(a.text, '{"result":{}}');
                }
            }
        };
        const byClient = async (gw, name) => {
            const ws = await kit.connected(t, gw);
            for (let i = 0; i < N; i++) {
                ws.send({ publish: { channel: 'ord', data: [name, i] },
                    id: i + 2 });
            }
            await ws.reply(N + 1);
        };
        const byBus = async () => {
            for (let i = 0; i < N; i++) {
                bus.publish('weir.pub._.ord', `["bus",${i}]`);
            }
            await bus.flush();
        };
        await Promise.all([pipeline(one, 'h1'), pipeline(two, 'h2'),
            byClient(one, 'c1'), byClient(two, 'c2'), byBus()]);
        for (const ws of watchers) {
            const got = await ws.pubs(5 * N, 'ord');
            const next = {};
            for (const { data: [name, n] } of got) {
                assert.strictEqual(n, next[name] ?? 0, `${name}: ${n}`);
                next[name] = n + 1;
            }
            assert.strictEqual(ws.inbox.items.length, 0);
        }
    });

    it('a publication answered with success was on the bus', async (t) => {
        const ear = await kit.natsClient(t, server);
        await ear.subscribe('weir.pub.>');
        await kit.publish(one, 'pp:x.y', { a: 1 });
        const m = await ear.message('weir.pub.pp.x.y');
        assert.strictEqual(m.payload, '{"a":1}');
        assert.strictEqual(m.headers, '', 'no header without need');
    });

    it('payload bytes pass the bus unchanged, both ways', async (t) => {
        const ear = await kit.natsClient(t, server);
        await ear.subscribe('weir.pub._.exact');
        const ws = await kit.connected(t, two);
        await ws.subscribe('exact');
        const text = '{ "n" : 123456789012345678901234567890 , "s":"\\u00e9"}';
        await kit.api(one, 'publish', `{"channel":"exact","data":${text}}`);
        assert.strictEqual(
            (await ear.message('weir.pub._.exact')).payload, text);
        assert.ok((await ws.pub('exact')).raw.includes(`"data":${text}`));
        bus.publish('weir.pub._.exact', text);
        assert.ok((await ws.pub('exact')).raw.includes(`"data":${text}`));
    });

    it('a newline in a bus payload does not break the framing',
        async (t) => {
            const ws = await kit.connected(t, one);
            const stream = await kit.sse(t, one, '/sse?channel=nl&raw=1');
            await ws.subscribe('nl');
            bus.publish('weir.pub._.nl', '{\r\n"a":\n1}');
            assert.deepStrictEqual((await ws.pub('nl')).data, { a: 1 });
            assert.strictEqual((await stream.next()).data, '{"a":1}');
        });

    it('names with odd bytes are escaped as =XX', async (t) => {
        const ear = await kit.natsClient(t, server);
        await ear.subscribe('weir.pub.>');
        for (const [channel, subject] of [
            ['uni:caf\u00e9.x', 'weir.pub.uni.caf=C3=A9.x'],
            ['a=b', 'weir.pub._.a=3Db'], ['a*b', 'weir.pub._.a=2Ab'],
            ['uni:$SYS.x', 'weir.pub.uni.=24SYS.x'],
        ]) {
            const ws = await kit.connected(t, two);
            await ws.subscribe(channel);
            await kit.publish(one, channel, 1);
            assert.strictEqual((await ear.message(subject)).payload, '1');
            await ws.pub(channel);
            bus.publish(subject, '2');
            assert.strictEqual((await ws.pub(channel)).data, 2);
        }
    });

    it('info of a client publication crosses the bus', async (t) => {
        const a = await kit.connected(t, one);
        const b = await kit.connected(t, two);
        await b.subscribe('who');
        await a.command('publish', { channel: 'who', data: 1 });
        assert.deepStrictEqual((await b.pub('who')).info,
            { user: '', client: a.id });
    });

    it('tags of the API cross the bus', async (t) => {
        const ws = await kit.connected(t, two);
        await ws.subscribe('tag');
        const tags = { k: 'v', 'q"\u00e9': 'two\r\nlines' };
        await kit.publish(one, 'tag', 1, { tags });
        assert.deepStrictEqual((await ws.pub('tag')).tags, tags);
    });

    it('urgent of the API crosses the bus', async (t) => {
        const ear = await kit.natsClient(t, server);
        await ear.subscribe('weir.pub._.hurry');
        await kit.publish(one, 'hurry', 1, { urgent: true });
        const m = await ear.message('weir.pub._.hurry');
        assert.match(m.headers, /\r\nWeir-Urgent: true\r\n/);
        await kit.publish(one, 'hurry', 2, { urgent: false });
        assert.strictEqual(
            (await ear.message('weir.pub._.hurry')).headers, '');
    });

    it('reads Weir-Tags and Weir-Info of any publisher', async (t) => {
        const ws = await kit.connected(t, one);
        await ws.subscribe('heads');
        bus.publish('weir.pub._.heads', '1', {
            'Weir-Tags': '{"a":"b"}',
            'Weir-Info': '{"user":"u","client":"c","conn_info":{"x":1}}',
        });
        const pub = await ws.pub('heads');
        assert.deepStrictEqual(pub.tags, { a: 'b' });
        assert.deepStrictEqual(pub.info,
            { user: 'u', client: 'c', conn_info: { x: 1 } });
    });

    it('broken headers never reach a client as broken JSON', async (t) => {
        const ws = await kit.connected(t, one);
        await ws.subscribe('bent');
        for (const bad of ['{', 'x', '5', '[]', '"x"', '{"a":5}',
            '{"a":"b"}}', '{"a":"\u0001"}', '', '{ }', 'null']) {
            bus.publish('weir.pub._.bent', '"bent"',
                { 'Weir-Tags': bad, 'Weir-Info': bad });
        }
        bus.publish('weir.pub._.bent', '"end"');
        for (;;) {
            const pub = await ws.pub('bent');
            if (pub.data === 'end') break;
            for (const value of Object.values(pub.tags ?? {})) {
                assert.strictEqual(typeof value, 'string');
            }
        }
    });

    it('what is no JSON is dropped and counted, or becomes a string',
        async (t) => {
            const ws = await kit.connected(t, one);
            await ws.subscribe('drop');
            await ws.subscribe('text:x');
            const before = await kit.metrics(one);
            const bad = ['hello', '{"a":}', '', '\xff', '{"a":1}x'];
            for (const text of bad) {
                bus.publish('weir.pub._.drop', Buffer.from(text, 'latin1'));
            }
            bus.publish('weir.pub._.drop', '"fine"');
            assert.strictEqual((await ws.pub('drop')).data, 'fine');
            const name = 'weir_nats_not_json_total';
            await kit.waitFor(async () => (await kit.metrics(one)).sum(name) ===
                before.sum(name) + bad.length, 'the drops are counted');
            bus.publish('weir.pub.text.x', 'say "hi"\n\u0001 caf\u00e9');
            bus.publish('weir.pub.text.x', '{"is":"json"}');
            assert.strictEqual((await ws.pub('text:x')).data,
                'say "hi"\n\u0001 caf\u00e9');
            assert.deepStrictEqual((await ws.pub('text:x')).data,
                { is: 'json' });
        });

    it('subjects that map to no channel are counted, not delivered',
        async (t) => {
            const ws = await kit.connected(t, one);
            await ws.subscribe('pp:>');
            const before = await kit.metrics(one);
            const bad = ['a=2', 'a=zz', 'a=2d', 'a=41', 'caf\u00e9',
                'x'.repeat(300), 'a!b'];
            for (const rest of bad) {
                bus.publish(`weir.pub.pp.${rest}`, '"bad"');
            }
            bus.publish('weir.pub.pp.good', '"good"');
            assert.strictEqual((await ws.pub('pp:>')).data, 'good');
            const name = 'weir_nats_unmapped_total';
            await kit.waitFor(async () => (await kit.metrics(one)).sum(name) ===
                before.sum(name) + bad.length, 'all are counted');
        });

    it('publications over the size are counted, not delivered', async (t) => {
        const ws = await kit.connected(t, one);
        await ws.subscribe('fat');
        const before = await kit.metrics(one);
        bus.publish('weir.pub._.fat', `"${'x'.repeat(70000)}"`);
        bus.publish('weir.pub._.fat', '"slim"');
        assert.strictEqual((await ws.pub('fat')).data, 'slim');
        const name = 'weir_nats_too_big_total';
        await kit.waitFor(async () => (await kit.metrics(one)).sum(name) ===
            before.sum(name) + 1, 'it is counted');
    });

    it('a namespace with a subject shows a feed that already exists',
        async (t) => {
            const ws = await kit.connected(t, one);
            await ws.subscribe('quotes:AAPL');
            await ws.subscribe('quotes:de.SAP');
            bus.publish('market.quotes.AAPL', '189.25');
            bus.publish('market.quotes.MSFT', '0');
            bus.publish('market.quotes.de.SAP', '120');
            bus.publish('weir.pub.quotes.AAPL', '0');
            assert.strictEqual((await ws.pub('quotes:AAPL')).data, 189.25);
            assert.strictEqual((await ws.pub('quotes:de.SAP')).data, 120);
            await kit.publish(two, 'quotes:AAPL', 190);
            assert.strictEqual((await ws.pub('quotes:AAPL')).data, 190);
            assert.strictEqual(ws.inbox.items.length, 0);
        });

    it('patterns on a feed of one subject', async (t) => {
        const ws = await kit.connected(t, one);
        await ws.subscribe('sensors:hall.*.temp');
        await ws.subscribe('sensors:>');
        bus.publish('plant.sensors.hall.7.temp', '21');
        bus.publish('plant.sensors.yard', '1');
        const narrow = await ws.pub('sensors:hall.*.temp');
        assert.strictEqual(narrow.channel, 'sensors:hall.7.temp');
        const wide = await ws.pubs(2, 'sensors:>');
        assert.deepStrictEqual(wide.map((p) => p.channel).sort(),
            ['sensors:hall.7.temp', 'sensors:yard']);
        assert.strictEqual(ws.inbox.items.length, 0);
    });

    it('a literal wildcard subject is no channel', async (t) => {
        const ws = await kit.connected(t, one);
        await ws.subscribe('pp:lit.*');
        bus.publish('weir.pub.pp.lit.*', '"spoof"');
        bus.publish('weir.pub.pp.lit.>', '"spoof"');
        bus.publish('weir.pub.pp.lit.x', '"real"');
        assert.strictEqual((await ws.pub('pp:lit.*')).data, 'real');
        assert.strictEqual(ws.inbox.items.length, 0);
    });

    it('subscribe, leave and come back within the grace: still once',
        async (t) => {
            for (let round = 0; round < 5; round++) {
                const ws = await kit.connected(t, one);
                await ws.subscribe('grace');
                await kit.publish(two, 'grace', round);
                assert.strictEqual((await ws.pub('grace')).data, round);
                assert.strictEqual(ws.inbox.items.length, 0);
                await ws.close();
            }
        });

    it('a pattern beside existing exact subscribers doubles nothing',
        async (t) => {
            const exact = await kit.connected(t, one);
            await exact.subscribe('pp:late.a');
            bus.publish('weir.pub.pp.late.a', '1');
            await exact.pub('pp:late.a');
            const wide = await kit.connected(t, one);
            await wide.subscribe('pp:late.*');
            bus.publish('weir.pub.pp.late.a', '2');
            assert.strictEqual((await exact.pub('pp:late.a')).data, 2);
            assert.strictEqual((await wide.pub('pp:late.*')).data, 2);
            await wide.close();
            bus.publish('weir.pub.pp.late.a', '3');
            bus.publish('weir.pub.pp.late.a', '4');
            const rest = await exact.pubs(2, 'pp:late.a');
            assert.deepStrictEqual(rest.map((p) => p.data), [3, 4]);
            assert.strictEqual(exact.inbox.items.length, 0);
        });
});

describe('nats: grace', LIMIT, () => {
    it('a channel resubscribed after its SUB was left gets everything',
        async (t) => {
            const server = await kit.natsServer(t);
            const gw = await kit.gateway(t,
                config(server, { nats: { grace: '200ms' } }));
            const bus = await kit.natsClient(t, server);
            const feeds = async () =>
                (await kit.metrics(gw)).sum('weir_nats_feeds');
            for (let round = 0; round < 3; round++) {
                const ws = await kit.connected(t, gw);
                await ws.subscribe('come-and-go');
                bus.publish('weir.pub._.come-and-go', `${round}`);
                assert.strictEqual((await ws.pub('come-and-go')).data,
                    round);
                assert.strictEqual(await feeds(), 1);
                await ws.close();
                await kit.waitFor(async () => await feeds() === 0,
                    'the SUB is left');
            }
        });
});

describe('nats: away and back', LIMIT, () => {
    it('kill -9 and restart of nats-server: flow resumes by itself',
        async (t) => {
            const server = await kit.natsServer(t);
            const one = await kit.gateway(t, config(server));
            const two = await kit.gateway(t, config(server));
            const a = await kit.connected(t, one);
            const b = await kit.connected(t, two);
            for (const ws of [a, b]) {
                await ws.subscribe('heal');
                await ws.subscribe('pp:heal.*');
            }
            await kit.publish(one, 'heal', 'before');
            assert.strictEqual((await b.pub('heal')).data, 'before');

            await server.kill();
            await kit.waitFor(async () =>
                (await brokerText(one)).status === 503,
            'health says the broker is away');
            const answer = await kit.api(one, 'publish',
                { channel: 'heal', data: 'lost' });
            assert.strictEqual(answer.json.error?.code, 100, answer.text);
            const error = await a.refused('publish',
                { channel: 'heal', data: 'lost' }, 100);
            assert.strictEqual(error.temporary, true);
            await a.subscribe('new-while-away');

            await server.start();
            let got = 0;
            const took = await untilFlowing(async () => {
                await kit.api(one, 'publish', { channel: 'heal', data: 1 });
                const item = b.inbox.items.find((i) =>
                    i.msg.push?.channel === 'heal');
                if (item) got++;
            }, () => got > 0, 'publications flow from one to two');
            t.diagnostic(`flow resumed ${took} ms after the restart`);
            await kit.publish(two, 'pp:heal.x', 2);
            assert.strictEqual((await a.pub('pp:heal.*')).data, 2);
            await kit.publish(two, 'new-while-away', 3);
            assert.strictEqual((await a.pub('new-while-away')).data, 3);
            await kit.waitFor(async () =>
                (await brokerText(one)).status === 200, 'healthy again');
        });

    it('a long absence ends as well', async (t) => {
        const server = await kit.natsServer(t);
        const gw = await kit.gateway(t, config(server));
        const ws = await kit.connected(t, gw);
        await ws.subscribe('x');
        for (let round = 0; round < 3; round++) {
            await server.kill(round % 2 ? 'SIGTERM' : 'SIGKILL');
            await kit.waitFor(async () =>
                (await brokerText(gw)).status === 503, 'away');
            await server.start();
            await kit.waitFor(async () =>
                (await brokerText(gw)).status === 200, 'back', 20000);
            await kit.publish(gw, 'x', round);
            assert.strictEqual((await ws.pub('x')).data, round);
        }
        const reconnects = gw.stderr.split('\n')
            .filter((line) => /reconnect/.test(line)).length;
        assert.ok(reconnects <= 12, `${reconnects} log lines`);
    });

    it('away at start: the node serves, says so, and joins later',
        async (t) => {
            const server = new kit.NatsServer({});
            server.port = await kit.freePort();
            kit.defer(t, () => server.stop());
            const gw = await kit.gateway(t, config(server),
                { degraded: true });
            const health = await brokerText(gw);
            assert.strictEqual(health.status, 503, health.text);
            JSON.parse(health.text);
            const ws = await kit.connected(t, gw);
            await ws.subscribe('early');
            const answer = await kit.api(gw, 'publish',
                { channel: 'early', data: 1 });
            assert.strictEqual(answer.json.error?.code, 100, answer.text);
            await server.start();
            await kit.waitFor(async () =>
                (await brokerText(gw)).status === 200, 'joined', 20000);
            await kit.publish(gw, 'early', 2);
            assert.strictEqual((await ws.pub('early')).data, 2);
        });

    it('a frozen nats-server blocks no shard', async (t) => {
        const server = await kit.natsServer(t);
        const gw = await kit.gateway(t, config(server));
        const ws = await kit.connected(t, gw);
        await ws.subscribe('x');
        server.proc.child.kill('SIGSTOP');
        kit.defer(t, () => server.proc.child.kill('SIGCONT'));
        const pending = Array.from({ length: 20 }, (_, n) =>
            kit.api(gw, 'publish', { channel: 'x', data: n })
                .catch((error) => error));
        for (let i = 0; i < 20; i++) {
            const other = await kit.connected(t, gw);
            assert.ok((await other.command('unsubscribe',
                { channel: 'y' })).unsubscribe);
        }
        server.proc.child.kill('SIGCONT');
        for (const answer of await Promise.all(pending)) {
            assert.strictEqual(answer.status, 200, String(answer));
        }
        await kit.waitFor(async () => {
            const answer = await kit.api(gw, 'publish',
                { channel: 'x', data: 'on' });
            return !answer.json.error;
        }, 'publishing works again', 20000);
    });

    it('SIGTERM ends it cleanly while NATS is away', async (t) => {
        const server = await kit.natsServer(t);
        const gw = await kit.gateway(t, config(server));
        const ws = await kit.connected(t, gw);
        await ws.subscribe('x');
        await server.kill();
        await gw.stop();
        await ws.closedWith(3001);
    });
});

describe('nats: MQTT devices', LIMIT, () => {
    it('mosquitto_pub reaches an event stream and a WebSocket',
        async (t) => {
            const server = await kit.natsServer(t, { mqtt: true });
            const gw = await kit.gateway(t, config(server));
            const stream = await kit.sse(t, gw, '/sse?channel=dev.1');
            const ws = await kit.connected(t, gw);
            await ws.subscribe('dev.1');
            const sent = await kit.run('mosquitto_pub', [
                '-h', server.host, '-p', String(server.mqttPort),
                '-t', 'weir/pub/_/dev/1', '-m', '{"temp":21.5}',
            ]);
            assert.strictEqual(sent.code, 0, sent.stderr);
            assert.deepStrictEqual((await stream.next()).json,
                { channel: 'dev.1', data: { temp: 21.5 } });
            assert.deepStrictEqual((await ws.pub('dev.1')).data,
                { temp: 21.5 });
        });
});
