/* kit.js — a real Chromium on the demo pages of a real gateway.
 * Env:    HOSTFEED_BIN    the feed (default build/hostfeed)
 *         CHROMIUM_BIN    the browser (default /usr/bin/chromium)
 *         WEIR_ARTIFACTS  where screenshots go (default build/artifacts)
 *         and what ../kit.js reads
 * Bounds: every wait has a deadline; browser and children end with the test. */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');
const { HOST, ROOT, launch, ms, startGateway, waitFor, withDeadline } =
    require('../kit');

const HOSTFEED = path.resolve(process.env.HOSTFEED_BIN ||
    path.join(ROOT, 'build', 'hostfeed'));
const ARTIFACTS = path.resolve(process.env.WEIR_ARTIFACTS ||
    path.join(ROOT, 'build', 'artifacts'));
const DEADLINE_MS = 20000;
const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 };
const NARROW_PHONE = {
    viewport: { width: 375, height: 667 }, deviceScaleFactor: 2,
};
const DESKTOP = { viewport: { width: 1440, height: 900 } };

/* The configuration people start the demo with, on a port of the test. */
function demoConfig() {
    const file = path.join(ROOT, 'deploy', 'demo.json');
    const config = JSON.parse(fs.readFileSync(file, 'utf8'));
    delete config.http_server;
    config.web.root = path.join(ROOT, 'web');
    return config;
}

/* A gateway with the demo's configuration; it ends with the test. */
async function demoGateway(t, config = demoConfig()) {
    const gw = await startGateway(config);
    gw.key = config.http_api.key;
    t.after(() => gw.stop());
    return gw;
}

/* hostfeed against a gateway's API, until the test ends. */
function startFeed(t, gw, more = []) {
    const proc = launch(HOSTFEED, ['--api', `http://${HOST}:${gw.port}`,
        '--key', gw.key, ...more]);
    t.after(() => endFeed(proc, 'SIGTERM'));
    return proc;
}

/* The same with the quotes of the ticker page. */
function startTicker(t, gw, more = []) {
    return startFeed(t, gw, ['--ticker', ...more]);
}

/* How it ended: { code, signal }. */
function endFeed(proc, signal) {
    proc.child.kill(signal);
    return withDeadline(proc.exited, () => `hostfeed ends; ${proc.stderr}`);
}

async function startBrowser() {
    return chromium.launch({
        executablePath: process.env.CHROMIUM_BIN || '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic',
            '--no-first-run', '--disable-background-networking',
            '--disable-component-update', '--disable-sync'],
    });
}

/* A page that remembers what went wrong in it: page.problems. */
async function openPage(t, browser, url, options = DESKTOP) {
    const context = await browser.newContext(options);
    t.after(() => context.close());
    context.setDefaultTimeout(ms(DEADLINE_MS));
    const page = await context.newPage();
    page.problems = [];
    page.on('pageerror', (error) => page.problems.push(error.message));
    await page.goto(url);
    return page;
}

async function waitState(page, state) {
    await page.waitForSelector(`#state[data-state="${state}"]`);
}

/* Has anything been drawn in the colours of data, not only the grid? Counts
 * pixels that are clearly coloured (the grid and the words are grey) in the
 * left `share` of the canvas. */
function colouredPixels(page, id, share = 1) {
    return page.evaluate(([canvasId, part]) => {
        const canvas = document.getElementById(canvasId);
        const width = Math.floor(canvas.width * part);
        const { height } = canvas;
        if (!width || !height) return 0;
        const { data } = canvas.getContext('2d')
            .getImageData(0, 0, width, height);
        let count = 0;
        for (let i = 0; i < data.length; i += 4) {
            const most = Math.max(data[i], data[i + 1], data[i + 2]);
            const least = Math.min(data[i], data[i + 1], data[i + 2]);
            if (data[i + 3] > 0 && most - least > 60) count++;
        }
        return count;
    }, [id, share]);
}

function picture(page, id) {
    return page.evaluate((canvasId) =>
        document.getElementById(canvasId).toDataURL(), id);
}

async function screenshot(page, name, fullPage = true) {
    fs.mkdirSync(ARTIFACTS, { recursive: true });
    await page.screenshot({
        path: path.join(ARTIFACTS, `${name}.png`), fullPage,
    });
}

/* As if another tab were in front: a headless browser has no tabs to hide. */
function setHidden(page, hidden) {
    return page.evaluate((value) => {
        Object.defineProperties(document, {
            hidden: { value, configurable: true },
            visibilityState: {
                value: value ? 'hidden' : 'visible', configurable: true,
            },
        });
        document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
}

/* What lies outside the window, left or right, or is cut by its own box. */
function overflowing(page) {
    return page.$$eval('body *', (nodes) => nodes
        .map((node) => ({ node, box: node.getBoundingClientRect() }))
        .filter(({ node, box }) => box.width > 0 &&
            (box.left < -0.5 || box.right > window.innerWidth + 0.5 ||
            (node.clientWidth > 0 && node.scrollWidth > node.clientWidth)))
        .map(({ node }) => node.outerHTML.slice(0, 80)));
}

/* A mark that a reload would wipe away. */
async function markPage(page) {
    await page.evaluate(() => { window.neverReloaded = true; });
}

function isSamePage(page) {
    return page.evaluate(() => window.neverReloaded === true);
}

module.exports = {
    PHONE, NARROW_PHONE, DESKTOP, HOSTFEED, demoConfig, demoGateway,
    startFeed, startTicker, endFeed, startBrowser, openPage, waitState,
    colouredPixels, picture, screenshot, setHidden, overflowing, markPage,
    isSamePage, waitFor,
};
