/* dashboard.test.js — the dashboard and the landing page on live input: what
 * hostfeed publishes is drawn, as often as the reader asks for, and an open
 * page heals by itself. */
'use strict';

const assert = require('node:assert');
const { after, before, test } = require('node:test');
const kit = require('./kit');
const { publish } = require('../kit');

const CANVASES = ['cpu-chart', 'cores-chart', 'mem-chart', 'net-chart',
    'disk-chart'];
const TITLES = {
    index: 'weir', dashboard: 'Dashboard', ticker: 'Ticker', chat: 'Chat',
};

let browser;
before(async () => { browser = await kit.startBrowser(); });
after(() => browser.close());

const text = (page, id) => page.textContent(`#${id}`);

async function waitNumber(page, id, fits, what) {
    await kit.waitFor(async () => fits(Number(await text(page, id))),
        `#${id} ${what}`);
}

async function waitPicturesMove(page) {
    for (const id of CANVASES) {
        await kit.waitFor(() => kit.colouredPixels(page, id), `${id} drawn`);
        const first = await kit.picture(page, id);
        await kit.waitFor(async () => await kit.picture(page, id) !== first,
            `${id} moves`);
    }
}

test('the dashboard shows and draws live input', async (t) => {
    const gw = await kit.demoGateway(t);
    kit.startFeed(t, gw);
    const page = await kit.openPage(t, browser, gw.url('/dashboard.html'));
    await kit.waitState(page, 'live');
    await waitNumber(page, 'rate', (n) => n > 0, 'counts updates');
    await waitNumber(page, 'mem-used', (n) => n > 0, 'shows memory');
    await waitNumber(page, 'cpu-total', (n) => n >= 0 && n <= 100, 'is a %');
    /* All of them: a busy host may show 100.0 % CPU for long. */
    const first = await page.textContent('.grid');
    await kit.waitFor(async () => await page.textContent('.grid') !== first,
        'the figures move');
    await waitPicturesMove(page);
    assert.match(await text(page, 'cores-note'), /^\d+ cores?$/);
    await kit.waitFor(() => kit.colouredPixels(page, 'cpu-chart', 0.6),
        'the curve travels to the left', 40000);
    await kit.screenshot(page, 'dashboard-desktop');
    assert.deepStrictEqual(page.problems, []);
});

test('the dashboard fits a phone, in the dark too', async (t) => {
    const gw = await kit.demoGateway(t);
    kit.startFeed(t, gw);
    for (const colorScheme of ['light', 'dark']) {
        const page = await kit.openPage(t, browser, gw.url('/dashboard.html'),
            { ...kit.PHONE, colorScheme });
        await kit.waitState(page, 'live');
        await waitPicturesMove(page);
        await kit.screenshot(page, `dashboard-phone-${colorScheme}`);
        assert.deepStrictEqual(page.problems, []);
    }
});

test('no page is wider than a phone', async (t) => {
    const gw = await kit.demoGateway(t);
    for (const [name, title] of Object.entries(TITLES)) {
        const page = await kit.openPage(t, browser, gw.url(`/${name}.html`),
            kit.PHONE);
        assert.match(await page.title(), new RegExp(title));
        const wide = await page.evaluate(() =>
            document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(wide <= 0, `${name} is ${wide} px too wide`);
    }
});

/* Host figures at a rate the reader chooses; 20 a second are published. */
async function choose(page, rate) {
    await page.check(`#pace input[value="${rate}"]`, { force: true });
}

async function waitGranted(page, words) {
    await kit.waitFor(async () => await text(page, 'granted') === words,
        `granted: ${words}`);
}

/* The demo's configuration with another rate of the namespace "host". */
function configWithRate(rate) {
    const config = kit.demoConfig();
    const host = config.channel.namespaces.find((n) => n.name === 'host');
    host.throttle.rate = rate;
    return config;
}

test('the reader chooses how often the figures come', async (t) => {
    const gw = await kit.demoGateway(t);
    kit.startFeed(t, gw);
    const page = await kit.openPage(t, browser, gw.url('/dashboard.html'));
    await kit.waitState(page, 'live');
    await waitGranted(page, 'all');
    await waitNumber(page, 'stands', (n) => n === 1, 'one update is one');
    await choose(page, 1);
    await waitGranted(page, '1 /s');
    await waitNumber(page, 'stands', (n) => n > 3, 'updates are skipped');
    await waitNumber(page, 'rate', (n) => n > 0 && n < 20, 'fewer come');
    await waitPicturesMove(page);
    await kit.screenshot(page, 'dashboard-one-per-second');
    await choose(page, 0);
    await waitGranted(page, 'all');
    await waitNumber(page, 'stands', (n) => n < 3, 'none is skipped');
    assert.deepStrictEqual(page.problems, []);
});

test('what was granted is shown, not what was asked for', async (t) => {
    const gw = await kit.demoGateway(t, configWithRate(3));
    const page = await kit.openPage(t, browser, gw.url('/dashboard.html'));
    await waitGranted(page, '3 /s');
    for (const [rate, granted] of [[0.5, '0.5 /s'], [10, '3 /s'],
        [2, '2 /s'], [5, '3 /s']]) {
        await choose(page, rate);
        await waitGranted(page, granted);
    }
    assert.deepStrictEqual(page.problems, []);
});

test('a namespace without wishes says so by its own rate', async (t) => {
    const config = configWithRate(2);
    const host = config.channel.namespaces.find((n) => n.name === 'host');
    host.throttle.allow_client_rate = false;
    const gw = await kit.demoGateway(t, config);
    kit.startFeed(t, gw);
    const page = await kit.openPage(t, browser, gw.url('/dashboard.html'));
    await waitGranted(page, '2 /s');
    const answered = page.waitForResponse((r) => /\/sse\/./.test(r.url()));
    await choose(page, 0.2);
    assert.strictEqual((await answered).status(), 200);
    await kit.waitState(page, 'live');
    assert.strictEqual(await text(page, 'granted'), '2 /s');
});

test('a hidden tab asks for little and is up to date when it comes back',
    async (t) => {
        const gw = await kit.demoGateway(t);
        const feed = kit.startFeed(t, gw);
        const page = await kit.openPage(t, browser, gw.url('/dashboard.html'));
        await kit.waitState(page, 'live');
        await choose(page, 10);
        await waitGranted(page, '10 /s');
        await kit.setHidden(page, true);
        await waitGranted(page, '0.2 /s');
        await kit.endFeed(feed, 'SIGTERM');
        const last = {
            t: Date.now() + 60000, host: 'newest', total: 43.2, cores: [43.2],
            load: [0, 0, 0], uptime: 60,
        };
        await publish(gw, 'host:cpu', { ...last, host: 'older' });
        await publish(gw, 'host:cpu', last);
        await kit.setHidden(page, false);
        await waitGranted(page, '10 /s');
        await kit.waitFor(async () => await text(page, 'host') === 'newest',
            'the newest state is shown');
        assert.strictEqual(await text(page, 'cpu-total'), '43.2');
        assert.deepStrictEqual(page.problems, []);
    });

test('a page opened in the back asks for little at once', async (t) => {
    const gw = await kit.demoGateway(t);
    const context = await browser.newContext(kit.DESKTOP);
    t.after(() => context.close());
    await context.addInitScript(() => Object.defineProperty(document,
        'hidden', { value: true, configurable: true }));
    const page = await context.newPage();
    await page.goto(gw.url('/dashboard.html'));
    await waitGranted(page, '0.2 /s');
    await kit.setHidden(page, false);
    await waitGranted(page, 'all');
});

test('a new stream gets the chosen rate, and its session takes changes',
    async (t) => {
        const config = configWithRate(0);
        const gw = await kit.demoGateway(t, config);
        kit.startFeed(t, gw);
        const page = await kit.openPage(t, browser, gw.url('/dashboard.html'));
        await kit.waitState(page, 'live');
        await choose(page, 2);
        await waitGranted(page, '2 /s');
        await kit.markPage(page);
        await gw.kill();
        await page.waitForSelector('body.stale');
        await choose(page, 1);
        /* Only the new session can say that less is granted. */
        config.channel = configWithRate(0.5).channel;
        await gw.restart();
        await kit.waitState(page, 'live');
        await waitGranted(page, '0.5 /s');
        await choose(page, 0.2);
        await waitGranted(page, '0.2 /s');
        assert.ok(await kit.isSamePage(page), 'the page was reloaded');
        assert.deepStrictEqual(page.problems, []);
    });

test('the landing page is served at / and is live', async (t) => {
    const gw = await kit.demoGateway(t);
    kit.startFeed(t, gw);
    kit.startTicker(t, gw);
    const page = await kit.openPage(t, browser, gw.url('/'));
    await kit.waitState(page, 'live');
    await kit.waitFor(() => kit.colouredPixels(page, 'preview'),
        'the preview is drawn');
    await kit.waitFor(async () => await page.$$eval('#quotes b',
        (nodes) => nodes.length) === 4, 'four quotes are shown');
    const quotes = await text(page, 'quotes');
    assert.match(quotes, /^([A-Z]+\d+\.\d\d){4}$/);
    await kit.waitFor(async () => await text(page, 'quotes') !== quotes,
        'the quotes move');
    assert.match(await text(page, 'publish'),
        new RegExp(`^curl http://127.0.0.1:${gw.port}/api/publish`));
    await kit.screenshot(page, 'landing-desktop');
    assert.deepStrictEqual(page.problems, []);
});

/* Stops the gateway by `end`, starts it again on the same port, and expects
 * the open page to come back without a reload. */
async function checkHealing(t, end) {
    const gw = await kit.demoGateway(t);
    kit.startFeed(t, gw);
    const page = await kit.openPage(t, browser, gw.url('/dashboard.html'));
    await kit.waitState(page, 'live');
    await kit.markPage(page);
    await end(gw);
    await page.waitForSelector('body.stale');
    assert.notStrictEqual(await text(page, 'state'), 'Live');
    await kit.screenshot(page, 'dashboard-gateway-away');
    await gw.restart();
    await kit.waitState(page, 'live');
    await page.waitForSelector('body:not(.stale)');
    await waitNumber(page, 'reconnects', (n) => n >= 1, 'counts the break');
    await waitNumber(page, 'rate', (n) => n > 0, 'counts updates again');
    await waitPicturesMove(page);
    assert.ok(await kit.isSamePage(page), 'the page was reloaded');
    assert.deepStrictEqual(page.problems, []);
}

test('the dashboard heals after kill -9 of the gateway',
    (t) => checkHealing(t, (gw) => gw.kill()));

test('the dashboard heals after a clean restart of the gateway',
    (t) => checkHealing(t, (gw) => gw.stop()));

test('a refused stream is opened again: EventSource alone gives up',
    async (t) => {
        const config = kit.demoConfig();
        const spaces = config.channel.namespaces;
        config.channel.namespaces = spaces.filter((n) => n.name !== 'host');
        const gw = await kit.demoGateway(t, config);
        const page = await kit.openPage(t, browser, gw.url('/dashboard.html'));
        await kit.waitState(page, 'waiting');
        await kit.markPage(page);
        await gw.stop();
        config.channel.namespaces = spaces;
        await gw.restart();
        kit.startFeed(t, gw);
        await kit.waitState(page, 'live');
        assert.ok(await kit.isSamePage(page), 'the page was reloaded');
    });

test('a feed that ends is not called live', async (t) => {
    const gw = await kit.demoGateway(t);
    const feed = kit.startFeed(t, gw);
    const page = await kit.openPage(t, browser, gw.url('/dashboard.html'));
    await kit.waitState(page, 'live');
    feed.child.kill('SIGTERM');
    await kit.waitState(page, 'quiet');
    assert.match(await text(page, 'state'), /^No data for \d+ s$/);
});
