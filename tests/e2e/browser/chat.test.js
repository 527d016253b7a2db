/* chat.test.js — two people in the lobby, and what happens to their words
 * when the gateway goes away. */
'use strict';

const assert = require('node:assert');
const { after, before, test } = require('node:test');
const kit = require('./kit');
const { publish } = require('../kit');

let browser;
before(async () => { browser = await kit.startBrowser(); });
after(() => browser.close());

async function join(t, gw, name, options) {
    const page = await kit.openPage(t, browser, gw.url('/chat.html'), options);
    await page.fill('#name', name);
    await kit.waitState(page, 'live');
    return page;
}

async function say(page, text) {
    await page.fill('#words', text);
    await page.press('#words', 'Enter');
}

const lines = (page) => page.$$eval('#talk .text',
    (nodes) => nodes.map((node) => node.textContent));

const fates = (page) => page.$$eval('#talk .mine',
    (nodes) => nodes.map((node) => node.dataset.fate));

async function waitLines(page, expected) {
    await kit.waitFor(async () =>
        JSON.stringify(await lines(page)) === JSON.stringify(expected),
    `the page shows ${JSON.stringify(expected)}`);
}

test('two pages talk, in order, and see their words confirmed', async (t) => {
    const gw = await kit.demoGateway(t);
    const mira = await join(t, gw, 'Mira');
    const jonas = await join(t, gw, 'Jonas', kit.PHONE);
    await say(mira, 'Is this the real thing?');
    await waitLines(jonas, ['Is this the real thing?']);
    const burst = Array.from({ length: 20 }, (_, i) => `line ${i}`);
    for (const line of burst) await say(jonas, line);
    const all = ['Is this the real thing?', ...burst];
    await waitLines(mira, all);
    await waitLines(jonas, all);
    await kit.waitFor(async () =>
        (await fates(jonas)).every((fate) => fate === 'sent'), 'confirmed');
    assert.deepStrictEqual(await fates(mira), ['sent']);
    assert.match(await mira.textContent('#talk .who >> nth=1'), /^Jonas/);
    await publish(gw, 'chat:lobby', { name: 'curl', text: 'from outside' });
    await waitLines(mira, [...all, 'from outside']);
    await kit.screenshot(mira, 'chat-desktop', false);
    await kit.screenshot(jonas, 'chat-phone', false);
    assert.deepStrictEqual([...mira.problems, ...jonas.problems], []);
});

test('what others write is text, whatever it is', async (t) => {
    const gw = await kit.demoGateway(t);
    const page = await join(t, gw, 'Mira');
    const evil = '<img src=x onerror="window.owned=1">' +
        '<script>window.owned=1</script>';
    await publish(gw, 'chat:lobby', { name: evil, text: evil });
    for (const odd of [{}, { text: 7 }, { text: '' }, { text: { a: 1 } }]) {
        await publish(gw, 'chat:lobby', odd);
    }
    await publish(gw, 'chat:lobby', { name: 5, text: 'nameless' });
    await waitLines(page, [evil, 'nameless']);
    assert.strictEqual(await page.$$eval('#talk img, #talk script',
        (nodes) => nodes.length), 0);
    assert.strictEqual(await page.evaluate(() => window.owned), undefined);
    assert.deepStrictEqual(page.problems, []);
});

test('words written while the gateway is away are sent once it is back',
    async (t) => {
        const gw = await kit.demoGateway(t);
        const mira = await join(t, gw, 'Mira');
        const jonas = await join(t, gw, 'Jonas');
        await say(mira, 'before');
        await waitLines(jonas, ['before']);
        await kit.markPage(mira);
        await kit.markPage(jonas);
        await gw.kill();
        for (const page of [mira, jonas]) {
            await page.waitForSelector('#state:not([data-state="live"])');
        }
        await say(mira, 'during');
        assert.deepStrictEqual(await fates(mira), ['sent', 'pending']);
        await kit.screenshot(mira, 'chat-gateway-away', false);
        await gw.restart();
        await kit.waitState(mira, 'live');
        await kit.waitState(jonas, 'live');
        await kit.waitFor(async () =>
            (await fates(mira)).every((fate) => fate === 'sent'), 'sent');
        await say(jonas, 'after');
        await waitLines(mira, ['before', 'during', 'after']);
        const seen = await lines(jonas);
        assert.deepStrictEqual(seen.filter((s) => s !== 'during'),
            ['before', 'after']);
        assert.ok(await kit.isSamePage(mira) && await kit.isSamePage(jonas),
            'a page was reloaded');
        assert.deepStrictEqual([...mira.problems, ...jonas.problems], []);
    });

/* The words under the last own line, and whether all of them can be seen
 * between the bar and the input row; null while there are none. */
const lastFate = (page) => page.evaluate(() => {
    const label = document.querySelector('#talk li:last-child .fate');
    if (!label) return null;
    const box = label.getBoundingClientRect();
    const list = document.getElementById('scroll').getBoundingClientRect();
    const row = document.getElementById('say').getBoundingClientRect();
    return {
        words: label.textContent,
        inSight: box.height > 0 && box.top >= list.top - 0.5 &&
            box.bottom <= row.top + 0.5,
    };
});

async function waitFate(page, words) {
    await kit.waitFor(async () => (await lastFate(page))?.words === words,
        `the last line says "${words}"`);
    assert.deepStrictEqual(await lastFate(page), { words, inSight: true });
}

test('a narrow phone shows all of it, connected or not', async (t) => {
    const gw = await kit.demoGateway(t);
    const page = await join(t, gw, '', kit.NARROW_PHONE);
    const heard = Array.from({ length: 12 }, (_, i) => `heard ${i}`);
    for (const text of heard) {
        await publish(gw, 'chat:lobby', { name: 'Jonas', text });
    }
    await waitLines(page, heard);
    assert.ok(await page.$eval('#scroll',
        (box) => box.scrollHeight > box.clientHeight), 'the list is too short');
    await say(page, 'said');
    await waitFate(page, 'Sent');
    assert.deepStrictEqual(await kit.overflowing(page), []);
    await kit.screenshot(page, 'chat-narrow', false);
    await gw.kill();
    await page.waitForSelector('#state:has-text("Reconnecting")');
    await say(page, 'said while away');
    await waitFate(page, 'Waiting for the connection');
    assert.strictEqual(await page.textContent('#state'), 'Reconnecting');
    assert.deepStrictEqual(await kit.overflowing(page), []);
    await kit.screenshot(page, 'chat-narrow-away', false);
    await page.setViewportSize({ width: 375, height: 380 });
    await kit.waitFor(async () => (await lastFate(page)).inSight,
        'the last line stays in sight above the keyboard');
    await gw.restart();
    await waitFate(page, 'Sent');
    assert.deepStrictEqual(page.problems, []);
});

test('who reads further up is left there', async (t) => {
    const gw = await kit.demoGateway(t);
    const page = await join(t, gw, 'Mira', kit.NARROW_PHONE);
    const heard = Array.from({ length: 30 }, (_, i) => `heard ${i}`);
    for (const text of heard) {
        await publish(gw, 'chat:lobby', { name: 'Jonas', text });
    }
    await waitLines(page, heard);
    await page.hover('#scroll');
    await page.mouse.wheel(0, -5000);
    const top = () => page.$eval('#scroll', (box) => box.scrollTop);
    await kit.waitFor(async () => await top() === 0, 'scrolled up');
    await publish(gw, 'chat:lobby', { name: 'Jonas', text: 'one more' });
    await waitLines(page, [...heard, 'one more']);
    assert.strictEqual(await top(), 0);
    await say(page, 'down again');
    await waitFate(page, 'Sent');
});

test('a refused message says so and can be tried again', async (t) => {
    const config = kit.demoConfig();
    const chat = config.channel.namespaces.find((n) => n.name === 'chat');
    for (const key of Object.keys(chat)) {
        if (key.startsWith('allow_publish')) delete chat[key];
    }
    const gw = await kit.demoGateway(t, config);
    const page = await join(t, gw, 'Mira');
    await say(page, 'may I?');
    await page.waitForSelector('#talk .mine[data-fate="failed"]');
    assert.match(await page.textContent('#talk .fate'), /^Not sent: /);
    await page.click('#talk .fate button');
    await page.waitForSelector('#talk .mine[data-fate="failed"]');
    assert.deepStrictEqual(await lines(page), ['may I?']);
});

test('a gateway that says "do not come back" is obeyed', async (t) => {
    const gw = await kit.demoGateway(t);
    const page = await join(t, gw, 'Mira');
    const { api } = require('../kit');
    const answer = await api(gw, 'disconnect', { user: '' });
    assert.strictEqual(answer.status, 200);
    await kit.waitState(page, 'closed');
    assert.match(await page.textContent('#state'), /^Closed: force disconnect/);
});
