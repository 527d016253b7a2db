/* dashboard.test.js — the dashboard and the landing page on live input: what
 * hostfeed publishes is drawn, and an open page heals by itself. */
'use strict';

const assert = require('node:assert');
const { after, before, test } = require('node:test');
const kit = require('./kit');

const CANVASES = ['cpu-chart', 'cores-chart', 'mem-chart', 'net-chart',
    'disk-chart'];
const TITLES = { index: 'weir', dashboard: 'Dashboard', chat: 'Chat' };

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

test('the landing page is served at / and is live', async (t) => {
    const gw = await kit.demoGateway(t);
    kit.startFeed(t, gw);
    const page = await kit.openPage(t, browser, gw.url('/'));
    await kit.waitState(page, 'live');
    await kit.waitFor(() => kit.colouredPixels(page, 'preview'),
        'the preview is drawn');
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
