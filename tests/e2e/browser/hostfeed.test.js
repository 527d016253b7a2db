/* hostfeed.test.js — the demo's feed: both ways in, a gateway and a
 * nats-server that go away, and what it says when it is called wrongly. */
'use strict';

const assert = require('node:assert');
const { test } = require('node:test');
const { HOSTFEED, demoConfig, demoGateway, endFeed, startFeed, startTicker } =
    require('./kit');
const { HOST, freePort, launch, natsClient, natsServer, run, sse, waitFor } =
    require('../kit');

const ALL = '/sse?channel=host:cpu&channel=host:mem&channel=host:net' +
    '&channel=host:disk';
const isShare = (n) => Number.isFinite(n) && n >= 0 && n <= 100;
const isCount = (n) => Number.isFinite(n) && n >= 0;

function checkCpu(d) {
    assert.ok(isShare(d.total) && d.cores.length > 0);
    assert.ok(d.cores.every(isShare), JSON.stringify(d.cores));
    assert.strictEqual(d.load.length, 3);
    assert.ok(d.uptime > 0 && typeof d.host === 'string');
}

function checkMem(d) {
    assert.ok(d.total > 0 && d.used > 0 && d.used < d.total);
    assert.ok([d.cached, d.swap_total, d.swap_used].every(isCount));
}

const checks = {
    'host:cpu': checkCpu,
    'host:mem': checkMem,
    'host:net': (d) => assert.ok(
        [d.rx, d.tx, d.lo, d.rx_total, d.tx_total].every(isCount)),
    'host:disk': (d) => assert.ok(
        [d.read, d.write, d.iops, d.fs_used].every(isCount) && d.fs_total > 0),
};

/* Every channel brings well-formed figures, with times that go forward. */
async function checkStream(stream, count) {
    const last = {};
    for (let i = 0; i < count; i++) {
        const { channel, data } = (await stream.next()).json;
        checks[channel](data);
        assert.ok(!(data.t < last[channel]), 'time went backwards');
        last[channel] = data.t;
    }
    assert.deepStrictEqual(Object.keys(last).sort(),
        Object.keys(checks).sort());
}

test('figures of this host arrive over the API', async (t) => {
    const gw = await demoGateway(t);
    const stream = await sse(t, gw, ALL);
    const feed = startFeed(t, gw);
    await checkStream(stream, 40);
    const end = await endFeed(feed, 'SIGTERM');
    assert.deepStrictEqual(end, { code: 0, signal: null });
});

test('it publishes again when the gateway is back', async (t) => {
    const gw = await demoGateway(t);
    const feed = startFeed(t, gw);
    await checkStream(await sse(t, gw, ALL), 8);
    await gw.kill();
    await waitFor(() => /trying again/.test(feed.stderr), 'it notices');
    await gw.restart();
    await checkStream(await sse(t, gw, ALL), 8);
    assert.strictEqual(feed.end, null);
    const end = await endFeed(feed, 'SIGINT');
    assert.deepStrictEqual(end, { code: 0, signal: null });
});

async function checkSubjects(nats, prefix) {
    for (const name of ['cpu', 'mem', 'net', 'disk']) {
        const { payload } = await nats.message(`${prefix}.pub.host.${name}`);
        checks[`host:${name}`](JSON.parse(payload));
    }
}

test('figures of this host arrive over NATS, and again after a restart',
    async (t) => {
        const server = await natsServer(t);
        const before = await natsClient(t, server);
        await before.subscribe('my.weir.pub.>');
        const feed = launch(HOSTFEED, ['--nats', server.url,
            '--prefix', 'my.weir', '--hz', '50']);
        t.after(() => endFeed(feed, 'SIGTERM'));
        await checkSubjects(before, 'my.weir');
        await server.kill();
        await server.start();
        const again = await natsClient(t, server);
        await again.subscribe('my.weir.pub.>');
        await checkSubjects(again, 'my.weir');
        assert.deepStrictEqual(again.errors, []);
        assert.strictEqual(feed.end, null);
    });

test('what it publishes over NATS reaches an event stream of the gateway',
    async (t) => {
        const server = await natsServer(t);
        const config = { ...demoConfig(), nats: { url: server.url } };
        const gw = await demoGateway(t, config);
        const stream = await sse(t, gw, ALL);
        const feed = launch(HOSTFEED, ['--nats', server.url]);
        t.after(() => endFeed(feed, 'SIGTERM'));
        await checkStream(stream, 40);
    });

function checkQuote(d) {
    assert.match(d.symbol, /^[A-Z]{3,4}$/);
    assert.ok(d.price > 0 && d.open > 0 && d.t > 0, JSON.stringify(d));
    assert.ok(Number.isInteger(d.seq) && d.seq > 0);
}

test('quotes arrive, and every skipped one is accounted for', async (t) => {
    const gw = await demoGateway(t);
    const stream = await sse(t, gw, '/sse?channel=ticker:quotes&rate=5');
    await stream.next('session');
    startTicker(t, gw);
    const stoodFor = new Map();
    for (let i = 0; i < 60; i++) {
        const { channel, data, tags } = (await stream.next()).json;
        assert.strictEqual(channel, 'ticker:quotes');
        checkQuote(data);
        const sum = (stoodFor.get(data.symbol) ?? 0) + Number(tags.n);
        assert.strictEqual(data.seq, sum, data.symbol);
        stoodFor.set(data.symbol, sum);
    }
    assert.strictEqual(stoodFor.size, 12);
});

test('quotes go out over NATS, too', async (t) => {
    const server = await natsServer(t);
    const nats = await natsClient(t, server);
    await nats.subscribe('weir.pub.ticker.quotes');
    const feed = launch(HOSTFEED, ['--ticker', '--nats', server.url]);
    t.after(() => endFeed(feed, 'SIGTERM'));
    for (let i = 0; i < 24; i++) {
        const { payload } = await nats.message('weir.pub.ticker.quotes');
        checkQuote(JSON.parse(payload));
    }
});

test('it stops by itself after --seconds, with or without a gateway',
    async (t) => {
        const gw = await demoGateway(t);
        const there = await run(HOSTFEED, ['--api', gw.url(''),
            '--key', gw.key, '--seconds', '1']);
        assert.strictEqual(there.code, 0, there.stderr);
        assert.match(there.stderr, /[1-9]\d* of \d+ beats sent/);
        const nobody = await run(HOSTFEED, ['--seconds', '1', '--api',
            `http://${HOST}:${await freePort()}`]);
        assert.strictEqual(nobody.code, 0, nobody.stderr);
        assert.match(nobody.stderr, /cannot connect/);
        assert.match(nobody.stderr, / 0 of \d+ beats sent/);
    });

test('a wrong key ends it with a reason', async (t) => {
    const gw = await demoGateway(t);
    const end = await run(HOSTFEED, ['--api', gw.url(''), '--key', 'wrong']);
    assert.strictEqual(end.code, 1);
    assert.match(end.stderr, /401.*--key/);
});

test('a namespace the gateway lacks is said once', async (t) => {
    const gw = await demoGateway(t);
    const end = await run(HOSTFEED, ['--api', gw.url(''), '--key', gw.key,
        '--namespace', 'nowhere', '--seconds', '1']);
    assert.strictEqual(end.code, 0);
    assert.strictEqual(end.stderr.match(/refused: /g)?.length, 1, end.stderr);
});

const MISTAKES = [
    [['--hz', '0'], /--hz takes a number from 1 to 100/],
    [['--hz', '5x'], /--hz takes a number/],
    [['--seconds', '-1'], /--seconds takes a number/],
    [['--api', 'ftp://h'], /does not start with http:/],
    [['--api', 'http://h/path'], /has a path/],
    [['--api', 'http://u:p@h'], /has a user/],
    [['--api', 'http://h:99999'], /port takes a number from 1 to 65535/],
    [['--api', 'http://'], /is not http:\/\/host:port/],
    [['--nats', 'http://h'], /does not start with nats:/],
    [['--api', 'http://h', '--nats', 'nats://h'], /exclude each other/],
    [['--namespace', 'a b'], /--namespace takes/],
    [['--prefix', 'a>'], /--prefix takes/],
    [['--key', 'a\r\nX: y'], /--key may hold printable ASCII/],
    [['--bogus'], /bogus/],
    [['extra'], /"extra" is not an option/],
];

test('a wrong call is explained and ends with 2', async () => {
    for (const [args, message] of MISTAKES) {
        const end = await run(HOSTFEED, args);
        assert.strictEqual(end.code, 2, args.join(' '));
        assert.match(end.stderr, message);
        assert.match(end.stderr, /hostfeed --help/);
    }
    const help = await run(HOSTFEED, ['--help']);
    assert.strictEqual(help.code, 0);
    assert.match(help.stdout, /^usage: hostfeed/);
});
