/* chat.test.js — two people in the lobby, what was said before they came, and
 * what happens to their words when the gateway goes away. */
'use strict';

const assert = require('node:assert');
const { after, before, test } = require('node:test');
const kit = require('./kit');
const { natsServer, publish } = require('../kit');

const MISSING = 'Some messages may be missing here';

let browser;
before(async () => { browser = await kit.startBrowser(); });
after(() => browser.close());

/* Takes the rights that begin so from everybody in the lobby. */
function forbid(config, prefix) {
    const chat = config.channel.namespaces.find((n) => n.name === 'chat');
    for (const key of Object.keys(chat)) {
        if (key.startsWith(prefix)) delete chat[key];
    }
}

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
    forbid(config, 'allow_publish');
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

const events = (page) => page.$$eval('#talk .event',
    (nodes) => nodes.slice(1).map((node) => node.textContent));

const heads = (page) => page.$$eval('#talk .who',
    (nodes) => nodes.map((node) => node.textContent));

/* All there is in the list but the words at its top, events in brackets. */
const list = (page) => page.$$eval('#talk li:not(:first-child)',
    (nodes) => nodes.map((node) => node.className === 'event'
        ? `[${node.textContent}]` : node.querySelector('.text').textContent));

function range(word, from, to) {
    return Array.from({ length: to - from }, (_, i) => `${word} ${from + i}`);
}

async function publishAll(gw, texts) {
    for (const text of texts) {
        await publish(gw, 'chat:lobby', { name: 'Jonas', text });
    }
}

test('the last 50 messages are there on load, with the times that are known',
    async (t) => {
        const gw = await kit.demoGateway(t);
        const past = range('said', 0, 60);
        await publishAll(gw, past);
        const page = await join(t, gw, 'Mira', kit.PHONE);
        await waitLines(page, past.slice(10));
        assert.deepStrictEqual(await heads(page), Array(50).fill('Jonas'));
        await say(page, 'mine');
        await waitFate(page, 'Sent');
        const now = Date.now();
        for (const at of [now, now - 3 * 86400000, -1, 1e300, '1', null]) {
            await publish(gw, 'chat:lobby', { name: 'Jonas', text: 'x', at });
        }
        const all = [...past.slice(10), 'mine', ...Array(6).fill('x')];
        await waitLines(page, all);
        for (const head of (await heads(page)).slice(-6)) {
            assert.match(head, /^Jonas · .*\d/);
        }
        await page.reload();
        await waitLines(page, all.slice(-50));
        const shown = (await heads(page)).slice(-7);
        assert.match(shown[0], /^Mira · .*\d/);
        assert.match(shown[1], /^Jonas · .*\d/);
        assert.match(shown[2], /^Jonas · [A-Z][a-z]+,? \d/);
        assert.deepStrictEqual(shown.slice(3), Array(4).fill('Jonas'));
        assert.deepStrictEqual(await kit.overflowing(page), []);
        await kit.screenshot(page, 'chat-history-phone', false);
        assert.deepStrictEqual(await events(page), []);
        assert.deepStrictEqual(page.problems, []);
    });

/* The page's socket in the hands of the test: `holds` says what waits, as
 * 'history asked' or 'history told'; cut() closes it and keeps it closed. */
async function tapSocket(page) {
    const tap = { holds: '', held: [], isCut: false };
    tap.pass = (kind, text, to) => {
        if (tap.holds === kind && text.includes('"history":')) {
            tap.held.push(() => to.send(text));
        } else {
            to.send(text);
        }
    };
    tap.release = (holds) => {
        tap.holds = holds;
        for (const go of tap.held.splice(0)) go();
    };
    tap.cut = () => {
        tap.isCut = true;
        return tap.socket.close({ code: 3000, reason: 'cut' });
    };
    await page.routeWebSocket(/connection/, (socket) => {
        if (tap.isCut) {
            socket.close({ code: 3000, reason: 'cut' });
            return;
        }
        tap.socket = socket;
        const server = socket.connectToServer();
        socket.onMessage((text) => tap.pass('history asked', text, server));
        server.onMessage((text) => tap.pass('history told', text, socket));
    });
    return tap;
}

test('what is said while the page loads is there once, in its place',
    async (t) => {
        const gw = await kit.demoGateway(t);
        await publishAll(gw, ['before 0', 'before 1']);
        const page = await join(t, gw, 'Mira');
        const tap = await tapSocket(page);
        tap.holds = 'history asked';
        await page.reload();
        await kit.waitFor(() => tap.held.length, 'history is asked');
        await publishAll(gw, ['in both']);
        await waitLines(page, ['in both']);
        tap.release('history told');
        await kit.waitFor(() => tap.held.length, 'history is told');
        await publishAll(gw, ['only live']);
        await waitLines(page, ['in both', 'only live']);
        tap.release('');
        const all = ['before 0', 'before 1', 'in both', 'only live'];
        await waitLines(page, all);
        tap.holds = 'history told';
        await page.reload();
        await kit.waitFor(() => tap.held.length, 'history is told');
        await publishAll(gw, ['newer']);
        await say(page, 'mine');
        await waitFate(page, 'Sent');
        await waitLines(page, ['newer', 'mine']);
        tap.release('');
        await waitLines(page, [...all, 'newer', 'mine']);
        assert.deepStrictEqual(await events(page), []);
        assert.deepStrictEqual(page.problems, []);
    });

test('what is typed before there was a connection comes after the history',
    async (t) => {
        for (const isAllowed of [true, false]) {
            const config = kit.demoConfig();
            if (!isAllowed) forbid(config, 'allow_publish');
            const gw = await kit.demoGateway(t, config);
            await publishAll(gw, ['before 0', 'before 1']);
            const page = await join(t, gw, 'Mira');
            const tap = await tapSocket(page);
            tap.isCut = true;
            await page.reload();
            await say(page, 'mine');
            await waitLines(page, ['mine']);
            tap.isCut = false;
            await waitLines(page, ['before 0', 'before 1', 'mine']);
            await kit.waitFor(async () => (await fates(page))[0] ===
                (isAllowed ? 'sent' : 'failed'), 'its fate is known');
        }
    });

test('a gap too long for recovery is filled from the history, or told',
    async (t) => {
        const config = kit.demoConfig();
        config.client.recovery_max_publication_limit = 5;
        const gw = await kit.demoGateway(t, config);
        const page = await join(t, gw, 'Mira');
        const tap = await tapSocket(page);
        await page.reload();
        await kit.waitState(page, 'live');
        await publishAll(gw, range('said', 0, 3));
        await waitLines(page, range('said', 0, 3));
        const missAll = async (texts) => {
            await tap.cut();
            await kit.waitState(page, 'waiting');
            await publishAll(gw, texts);
            tap.isCut = false;
        };
        await missAll(range('said', 3, 6));
        await waitLines(page, range('said', 0, 6));
        await missAll(range('said', 6, 26));
        await waitLines(page, range('said', 0, 26));
        assert.deepStrictEqual(await events(page), []);
        await missAll(range('said', 26, 86));
        await kit.waitFor(async () => (await events(page)).length, 'told');
        assert.deepStrictEqual(await list(page), [...range('said', 0, 26),
            `[${MISSING}]`, ...range('said', 36, 86)]);
        assert.deepStrictEqual(page.problems, []);
    });

test('without a right to the history the page says so', async (t) => {
    const config = kit.demoConfig();
    forbid(config, 'allow_history');
    const gw = await kit.demoGateway(t, config);
    await publishAll(gw, ['before']);
    const page = await join(t, gw, 'Mira');
    await page.waitForSelector('#talk .event >> nth=1');
    assert.deepStrictEqual(await events(page),
        ['What was said before cannot be shown']);
    await publishAll(gw, ['after']);
    await waitLines(page, ['after']);
});

test('over NATS a killed gateway costs the page nothing', async (t) => {
    const config = kit.demoConfig();
    config.nats = { url: (await natsServer(t, { jetstream: true })).url };
    const first = await kit.demoGateway(t, config);
    const second = await kit.demoGateway(t, config);
    await publishAll(second, range('said', 0, 3));
    const page = await join(t, first, 'Mira');
    await waitLines(page, range('said', 0, 3));
    await kit.markPage(page);
    /* More at a time than the page would get by asking for the history. */
    for (const [from, to] of [[3, 63], [63, 123]]) {
        await first.kill();
        await kit.waitState(page, 'waiting');
        await publishAll(second, range('said', from, to));
        await first.restart();
        await waitLines(page, range('said', 0, to));
    }
    await say(page, 'mine');
    await waitFate(page, 'Sent');
    await publishAll(first, ['after']);
    await waitLines(page, [...range('said', 0, 123), 'mine', 'after']);
    assert.deepStrictEqual(await events(page), []);
    assert.ok(await kit.isSamePage(page), 'the page was reloaded');
    const other = await join(t, second, 'Jonas');
    await waitLines(other, [...range('said', 75, 123), 'mine', 'after']);
    await kit.screenshot(other, 'chat-history-desktop', false);
    assert.deepStrictEqual([...page.problems, ...other.problems], []);
});

test('in-process a restart is told: messages may be missing', async (t) => {
    const gw = await kit.demoGateway(t);
    await publishAll(gw, ['before']);
    const page = await join(t, gw, 'Mira');
    await waitLines(page, ['before']);
    await kit.markPage(page);
    await gw.kill();
    await kit.waitState(page, 'waiting');
    await say(page, 'mine');
    await gw.restart();
    await waitFate(page, 'Sent');
    await kit.waitFor(async () => (await events(page)).length, 'told');
    assert.deepStrictEqual(await list(page),
        ['before', `[${MISSING}]`, 'mine']);
    await publishAll(gw, ['after']);
    await waitLines(page, ['before', 'mine', 'after']);
    assert.deepStrictEqual(await events(page), [MISSING]);
    await kit.screenshot(page, 'chat-missing', false);
    assert.ok(await kit.isSamePage(page), 'the page was reloaded');
    assert.deepStrictEqual(page.problems, []);
});
