/* centrifuge_browser.test.js — the unmodified `centrifuge` package in a real
 * browser, on a page of another origin. */
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { after, before, test } = require('node:test');
const kit = require('./kit');
const { HOST, OPEN, freePort, gateway, publish } = require('../kit');

const BUNDLE = path.join(path.dirname(require.resolve('centrifuge')), '..',
    'dist', 'centrifuge.js');
const PAGE = '<!doctype html><title>sdk</title><script src="/sdk.js"></script>';

let browser;
before(async () => { browser = await kit.startBrowser(); });
after(() => browser.close());

/* A site of somebody else that uses the gateway. */
async function startSite(t) {
    const bundle = fs.readFileSync(BUNDLE);
    const server = http.createServer((req, res) => {
        const isSdk = req.url === '/sdk.js';
        res.setHeader('Content-Type',
            isSdk ? 'text/javascript' : 'text/html');
        res.end(isSdk ? bundle : PAGE);
    });
    await new Promise((resolve) => server.listen(0, HOST, resolve));
    t.after(() => new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
    }));
    return `http://${HOST}:${server.address().port}`;
}

/* window.sdk: one connection, everything it heard in `log`. */
async function startClient(page, url) {
    await page.evaluate((endpoint) => {
        const client = new Centrifuge(endpoint,
            { minReconnectDelay: 50, maxReconnectDelay: 500 });
        const log = [];
        for (const event of ['connecting', 'connected', 'disconnected']) {
            client.on(event, (c) => log.push({ event, code: c.code }));
        }
        client.on('error', (c) => log.push({ event: 'error', ...c.error }));
        window.sdk = { client, log, got: [] };
        client.connect();
    }, url);
}

async function subscribe(page, channel) {
    await page.evaluate(async (name) => {
        const sub = window.sdk.client.newSubscription(name);
        sub.on('publication', (c) => window.sdk.got.push(c.data));
        sub.subscribe();
        window.sdk.sub = sub;
        await sub.ready(10000);
    }, channel);
}

const got = (page) => page.evaluate(() => window.sdk.got);

async function waitGot(page, expected) {
    await kit.waitFor(async () =>
        (await got(page)).length >= expected.length,
    `${expected.length} publications`);
    assert.deepStrictEqual(await got(page), expected);
}

async function setUp(t) {
    const site = await startSite(t);
    const gw = await gateway(t, {
        client: { allowed_origins: [site] },
        channel: { namespaces: [{ name: 'open', ...OPEN }] },
    });
    const page = await kit.openPage(t, browser, `${site}/`);
    await startClient(page, gw.wsUrl());
    await page.evaluate(() => window.sdk.client.ready(10000));
    return { gw, page };
}

test('the SDK connects, subscribes, publishes and receives', async (t) => {
    const { gw, page } = await setUp(t);
    await subscribe(page, 'open:room');
    await page.evaluate(() => window.sdk.sub.publish({ from: 'page', n: 1 }));
    await publish(gw, 'open:room', { from: 'api', n: 2 });
    await page.evaluate(() =>
        window.sdk.client.publish('open:room', { from: 'page', n: 3 }));
    await waitGot(page, [{ from: 'page', n: 1 }, { from: 'api', n: 2 },
        { from: 'page', n: 3 }]);
    assert.deepStrictEqual(page.problems, []);
});

test('ten rapid subscribe and unsubscribe pairs end in one subscription',
    async (t) => {
        const { gw, page } = await setUp(t);
        await subscribe(page, 'open:room');
        await page.evaluate(async () => {
            for (let i = 0; i < 10; i++) {
                window.sdk.sub.unsubscribe();
                window.sdk.sub.subscribe();
            }
            await window.sdk.sub.ready(10000);
        });
        await publish(gw, 'open:room', { n: 1 });
        await publish(gw, 'open:room', { n: 2 });
        await waitGot(page, [{ n: 1 }, { n: 2 }]);
        const events = await page.evaluate(() =>
            window.sdk.log.map((entry) => entry.event));
        assert.deepStrictEqual(events, ['connecting', 'connected']);
    });

test('the SDK comes back by itself after the gateway was killed',
    async (t) => {
        const { gw, page } = await setUp(t);
        await subscribe(page, 'open:room');
        await gw.kill();
        await kit.waitFor(() => page.evaluate(() =>
            window.sdk.client.state === 'connecting'), 'the break is noticed');
        await gw.restart();
        await page.evaluate(async () => {
            await window.sdk.client.ready(10000);
            await window.sdk.sub.ready(10000);
        });
        await publish(gw, 'open:room', { n: 1 });
        await waitGot(page, [{ n: 1 }]);
        assert.deepStrictEqual(page.problems, []);
    });

test('a page of an origin that is not allowed stays outside', async (t) => {
    const site = await startSite(t);
    const elsewhere = `http://${HOST}:${await freePort()}`;
    const gw = await gateway(t, { client: { allowed_origins: [elsewhere] } });
    const page = await kit.openPage(t, browser, `${site}/`);
    await startClient(page, gw.wsUrl());
    const events = () => page.evaluate(() =>
        window.sdk.log.map((entry) => entry.event));
    await kit.waitFor(async () =>
        (await events()).filter((event) => event === 'error').length >= 2,
    'two refusals');
    assert.ok(!(await events()).includes('connected'));
});
