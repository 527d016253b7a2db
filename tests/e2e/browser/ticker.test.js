/* ticker.test.js — one feed at three rates: what each lane shows and counts,
 * how a rate is changed, and that it comes back after a break. */
'use strict';

const assert = require('node:assert');
const { after, before, test } = require('node:test');
const kit = require('./kit');
const { withDeadline } = require('../kit');

const SYMBOLS = 12;

let browser;
before(async () => { browser = await kit.startBrowser(); });
after(() => browser.close());

const number = (text) => Number(text.replaceAll(',', ''));

/* A figure of every lane, left to right. */
const figures = (page, name) => page.$$eval(`[data-is="${name}"]`,
    (nodes) => nodes.map((node) => node.textContent));

const prices = (page) => page.$$eval('.quotes', (tables) => tables.map(
    (table) => [...table.rows].map((row) =>
        `${row.cells[0].textContent} ${row.cells[1].textContent}`)));

async function counts(page) {
    const delivered = (await figures(page, 'delivered')).map(number);
    const skipped = (await figures(page, 'skipped')).map(number);
    return delivered.map((n, i) => ({ delivered: n, skipped: skipped[i] }));
}

async function waitGranted(page, expected) {
    await kit.waitFor(async () => JSON.stringify(
        await figures(page, 'granted')) === JSON.stringify(expected),
    `granted: ${expected}`);
}

const DEFAULTS = ['granted 20 /s', 'granted 2 /s', 'granted 0.2 /s'];

async function openTicker(t, gw, options) {
    const page = await kit.openPage(t, browser, gw.url('/ticker.html'),
        options);
    await waitGranted(page, DEFAULTS);
    return page;
}

test('three lanes account for every update, each in its own way',
    async (t) => {
        const gw = await kit.demoGateway(t);
        const page = await openTicker(t, gw);
        const feed = kit.startTicker(t, gw, ['--seconds', '4']);
        await kit.waitState(page, 'live');
        await kit.waitFor(async () => (await counts(page)).every(
            (lane) => lane.delivered >= SYMBOLS), 'every lane has quotes');
        await withDeadline(feed.exited, 'the feed ends', 20000);
        const sent = Number(/done, (\d+) of/.exec(feed.stderr)[1]) * SYMBOLS;
        await kit.waitFor(async () => (await counts(page)).every(
            (lane) => lane.delivered + lane.skipped === sent),
        `every lane accounts for ${sent} updates`, 20000);
        const [fast, slow, slowest] = await counts(page);
        assert.ok(fast.delivered > slow.delivered, 'the second gets fewer');
        assert.ok(slow.delivered > slowest.delivered, 'the third still less');
        assert.ok(fast.skipped > 0, 'even the first skips');
        const [first, ...others] = await prices(page);
        assert.strictEqual(first.length, SYMBOLS);
        for (const other of others) assert.deepStrictEqual(other, first);
        assert.deepStrictEqual(page.problems, []);
    });

test('counts grow and the pictures move', async (t) => {
    const gw = await kit.demoGateway(t);
    kit.startTicker(t, gw);
    const page = await openTicker(t, gw);
    await kit.waitState(page, 'live');
    const start = await counts(page);
    const picture = () => page.$$eval('.lane canvas',
        (all) => all.map((canvas) => canvas.toDataURL()));
    const drawn = await picture();
    await kit.waitFor(async () => (await counts(page)).every((lane, i) =>
        lane.delivered > start[i].delivered &&
        lane.skipped > start[i].skipped), 'all counts grow', 20000);
    await kit.waitFor(async () => (await picture()).every(
        (url, i) => url !== drawn[i]), 'all pictures move');
    await kit.waitFor(async () =>
        Number(await page.textContent('#source')) > 0, 'the source rate');
    assert.strictEqual(await page.textContent('#symbols'), String(SYMBOLS));
    await page.click('.lane >> nth=1 >> [data-symbol="NILE"]');
    assert.strictEqual(await page.$$eval('.picked[data-symbol="NILE"]',
        (rows) => rows.length), 3);
    await kit.screenshot(page, 'ticker-desktop');
    assert.deepStrictEqual(page.problems, []);
});

test('a subscriber sees the last quotes of a feed that has ended',
    async (t) => {
        const gw = await kit.demoGateway(t);
        const early = await openTicker(t, gw);
        const feed = kit.startTicker(t, gw, ['--seconds', '1']);
        await withDeadline(feed.exited, 'the feed ends', 20000);
        const page = await openTicker(t, gw);
        await kit.waitFor(async () => (await prices(page)).every(
            (lane) => lane.length === SYMBOLS), 'the snapshot is shown');
        await kit.waitFor(async () => JSON.stringify(await prices(early)) ===
            JSON.stringify(await prices(page)), 'both pages agree', 20000);
        assert.deepStrictEqual(await counts(page),
            Array(3).fill({ delivered: 0, skipped: 0 }));
    });

test('the rate of a lane is changed while it runs', async (t) => {
    const gw = await kit.demoGateway(t);
    kit.startTicker(t, gw);
    const page = await openTicker(t, gw);
    const [first, , third] = await page.$$('.lane select');
    await first.selectOption('0');
    await waitGranted(page, ['granted 30 /s', ...DEFAULTS.slice(1)]);
    await third.selectOption('10');
    await waitGranted(page,
        ['granted 30 /s', 'granted 2 /s', 'granted 10 /s']);
    const at = (await counts(page)).map((lane) => lane.delivered);
    await kit.waitFor(async () => {
        const now = await counts(page);
        return now[2].delivered - at[2] > 100 + now[1].delivered - at[1];
    }, 'the third lane overtakes the second', 30000);
    assert.deepStrictEqual(page.problems, []);
});

test('a hidden tab asks for little in every lane', async (t) => {
    const gw = await kit.demoGateway(t);
    kit.startTicker(t, gw);
    const page = await openTicker(t, gw);
    await kit.waitState(page, 'live');
    await kit.setHidden(page, true);
    await waitGranted(page, Array(3).fill('granted 0.2 /s'));
    await kit.setHidden(page, false);
    await waitGranted(page, DEFAULTS);
    await kit.waitState(page, 'live');
    assert.deepStrictEqual(page.problems, []);
});

test('the ticker heals after kill -9 of the gateway, with its rates',
    async (t) => {
        const gw = await kit.demoGateway(t);
        kit.startTicker(t, gw);
        const page = await openTicker(t, gw);
        await kit.waitState(page, 'live');
        await kit.markPage(page);
        await gw.kill();
        await page.waitForSelector('body.stale');
        await (await page.$('.lane select')).selectOption('5');
        await gw.restart();
        await kit.waitState(page, 'live');
        await waitGranted(page, ['granted 5 /s', ...DEFAULTS.slice(1)]);
        const was = await counts(page);
        await kit.waitFor(async () => (await counts(page)).every(
            (lane, i) => lane.delivered > was[i].delivered),
        'all lanes go on', 20000);
        assert.ok(await kit.isSamePage(page), 'the page was reloaded');
        assert.deepStrictEqual(page.problems, []);
    });

test('the ticker fits phones, side by side, in the dark too', async (t) => {
    const gw = await kit.demoGateway(t);
    kit.startTicker(t, gw);
    for (const colorScheme of ['light', 'dark']) {
        const page = await openTicker(t, gw, { ...kit.PHONE, colorScheme });
        await kit.waitState(page, 'live');
        await kit.waitFor(async () => (await prices(page)).every(
            (lane) => lane.length === SYMBOLS), 'quotes in every lane');
        const tops = await page.$$eval('.lane',
            (lanes) => lanes.map((lane) => lane.getBoundingClientRect().top));
        assert.strictEqual(new Set(tops).size, 1, 'lanes stand side by side');
        await kit.screenshot(page, `ticker-phone-${colorScheme}`);
        await page.setViewportSize(kit.NARROW_PHONE.viewport);
        assert.deepStrictEqual(await kit.overflowing(page), []);
        assert.deepStrictEqual(page.problems, []);
    }
});
