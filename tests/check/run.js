/* run.js — lets things break for a while, and has checker.js judge what
 * everybody got.
 *
 *   node tests/check/run.js [--seconds N] [--only NAME[,NAME]] [--seed N]
 *                           [--logs DIR] [--keep]
 *
 * Exit status 0: no violation. Appends "gaps passed failed" to $TEST_RESULTS
 * when that is set: a scenario passes, or each violation fails. */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const kit = require('../e2e/kit');
const { check, describe } = require('./checker');
const { SseReader, WsReader } = require('./clients');
const { FAULTS } = require('./faults');
const { Log } = require('./log');
const { ApiPublisher, ClientPublisher, FloodPublisher } =
    require('./publishers');

const SHOWN = 12; /* violations printed of a scenario */
const SETTLE_MS = 45000;

/* Rates are of all publishers together; `pad` bytes make messages heavy. */
const USUAL = { broker: 'nats', nodes: 3, rate: 300, pad: 60, faults: [] };
const SCENARIOS = [
    { name: 'gateway-killed', faults: ['killGateway'] },
    { name: 'server-killed', faults: ['killServer'], plain: true },
    { name: 'server-frozen', faults: ['freezeServer'], plain: true },
    { name: 'reconnects', faults: ['dropReader'] },
    { name: 'slow-clients', faults: ['slowReader'], pad: 16000,
        queue: 65536 },
    { name: 'everything', faults: Object.keys(FAULTS), pad: 1000,
        queue: 65536 },
    { name: 'in-process', broker: 'in-process', nodes: 1, rate: 20000,
        pad: 0, faults: ['dropReader'], flood: true },
].map((scenario) => ({ ...USUAL, ...scenario }));

/* mulberry32: the same faults for the same seed. */
class Random {
    constructor(seed) { this.state = seed >>> 0; }

    below(n) {
        this.state = (this.state + 0x6d2b79f5) >>> 0;
        let x = this.state;
        x = Math.imul(x ^ (x >>> 15), x | 1);
        x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
        return Math.floor(((x ^ (x >>> 14)) >>> 0) / 4294967296 * n);
    }
}

function gatewayConfig({ queue, flood }) {
    const history = { ...kit.HISTORY, history_ttl: '600s' };
    return {
        client: { recovery_max_publication_limit: flood ? 10000 : 1000,
            ...queue ? { queue_max_size: queue } : {} },
        history: { heal_spread: '500ms' },
        channel: { namespaces: [
            { name: 'deep', ...history, history_size: flood ? 10000 : 3000 },
            { name: 'tiny', ...history, history_size: flood ? 500 : 40 },
            { name: 'plain', ...kit.OPEN, tell_gaps: true },
        ] },
    };
}

/* Everything that runs in one scenario. */
class World {
    constructor(scenario, options) {
        this.scenario = scenario;
        this.random = new Random(options.seed);
        this.log = new Log();
        this.stage = new kit.Stage(scenario.broker);
        this.readers = [];
        this.publishers = [];
        this.faultCount = 0;
        this.anyNode = () => {
            const up = this.nodes.filter((gw) => !gw.isDown);
            const from = up.length ? up : this.nodes;
            return from[this.random.below(from.length)];
        };
    }

    get nodes() { return this.stage.nodes; }
    get server() { return this.stage.server; }

    async start() {
        const { scenario } = this;
        await this.stage.start(gatewayConfig(scenario), scenario.nodes);
        const count = scenario.flood ? 20 : 10;
        this.channels = kit.range(1, count).map((i) =>
            `${i % 5 === 0 ? 'tiny' : 'deep'}:${i}`);
        this.plain = scenario.plain ? ['plain:a', 'plain:b'] : [];
        if (scenario.flood) this.floodPeers();
        else this.usualPeers();
        for (const reader of this.readers) reader.start();
        await this.untilUp('subscribed at first');
        for (const publisher of this.publishers) publisher.start();
    }

    pick(count) {
        const all = [...this.channels];
        return kit.range(1, count).map(() =>
            all.splice(this.random.below(all.length), 1)[0]);
    }

    /* 30 readers: centrifuge-js, streams of one channel, and of several. */
    usualPeers() {
        const { scenario } = this;
        for (let i = 0; i < 16; i++) {
            this.addReader(WsReader, `ws${i}`,
                [...this.pick(3), ...i % 4 ? [] : this.plain]);
        }
        for (let i = 0; i < 7; i++) {
            this.addReader(SseReader, `one${i}`, this.pick(1));
            this.addReader(SseReader, `sse${i}`,
                [...this.pick(3), ...i % 4 ? [] : this.plain]);
        }
        const rate = scenario.rate / 3;
        const options = { ...scenario, log: this.log, anyNode: this.anyNode,
            rate };
        this.publishers = [new ApiPublisher(this.channels, options),
            new ApiPublisher(this.channels, options),
            new ClientPublisher(this.channels, options)];
        /* The order of a plain channel is that of its one publisher. */
        for (const ch of this.plain) {
            this.publishers.push(new OrderedPublisher([ch],
                { ...options, rate: 10, anyNode: () => this.nodes[0] }));
        }
    }

    floodPeers() {
        const { rate, pad } = this.scenario;
        for (let i = 0; i < 7; i++) {
            this.addReader(WsReader, `ws${i}`, this.pick(2));
        }
        for (let i = 0; i < 3; i++) {
            this.addReader(SseReader, `one${i}`, this.pick(1));
        }
        this.addReader(SseReader, 'sse0', this.pick(2));
        const parts = 5;
        for (let i = 0; i < parts; i++) {
            /* The last one publishes where the others do. */
            const channels = this.channels.filter((_, c) =>
                i < parts - 1 ? c % (parts - 1) === i : c % 5 === 0);
            this.publishers.push(new FloodPublisher(channels, {
                log: this.log, anyNode: this.anyNode, each: 10, pad,
                rate: rate / parts,
            }));
        }
    }

    addReader(Kind, name, channels) {
        this.readers.push(new Kind(name, channels, this));
    }

    async breakThings(seconds) {
        const end = Date.now() + seconds * 1000;
        const rounds = this.scenario.faults.map(async (name) => {
            const { act, every } = FAULTS[name];
            await kit.pause(Math.min(1500, every));
            while (Date.now() < end) {
                await act(this);
                this.faultCount++;
                await kit.pause(every / 2 + this.random.below(every));
            }
        });
        await Promise.all([...rounds, kit.pause(end - Date.now())]);
    }

    /* Who is not subscribed to what. */
    absent() {
        return this.readers.flatMap((r) => r.channels
            .filter((ch) => !this.log.up.has(`${r.name} ${ch}`))
            .map((ch) => `${r.name} ${ch}`));
    }

    untilUp(what) {
        return kit.waitFor(() => this.absent().length === 0,
            () => `${what}: ${this.absent().join(', ')}`, SETTLE_MS);
    }

    /* Calm, a last message on each channel, and time for everybody. What is
     * not there then is for the checker to tell. */
    async settle() {
        for (const publisher of this.publishers) await publisher.stop();
        await kit.pause(1000);
        await this.untilUp('back').catch((e) => console.log(`  ${e.message}`));
        const last = new Map();
        const closer = new ApiPublisher([], { log: this.log, rate: 0,
            anyNode: () => this.nodes[0] });
        for (const ch of [...this.channels, ...this.plain]) {
            last.set(ch, await kit.waitFor(async () => {
                const answer = await closer.one(ch);
                return answer.result && answer;
            }, `a last message on ${ch}`, SETTLE_MS));
        }
        const waits = () => this.readers.flatMap((r) => r.channels
            .filter((ch) => !this.has(r.name, ch, last.get(ch))));
        await kit.waitFor(() => waits().length === 0, 'the last messages',
            SETTLE_MS).catch(() => {});
    }

    has(name, ch, { n, result }) {
        const state = this.log.up.get(`${name} ${ch}`);
        return state && (state.n >= n || (result.epoch !== undefined &&
            state.epoch === result.epoch && state.offset >= result.offset));
    }

    async stop() {
        this.log.close();
        for (const reader of this.readers) reader.stop();
        for (const publisher of this.publishers) publisher.stop();
        await this.stage.stop();
    }
}

/* One at a time. */
class OrderedPublisher extends ApiPublisher {
    async one(ch) {
        if (this.underWay) return undefined;
        return super.one(ch);
    }
}

/* How often each thing was told. */
function toldCounts(readers) {
    const counts = {};
    for (const code of readers.flatMap((r) => r.told)) {
        if (code < 100) continue; /* the library's own */
        counts[code] = (counts[code] ?? 0) + 1;
    }
    return Object.entries(counts).map(([what, n]) => `${n}x ${what}`)
        .join(', ');
}

async function runScenario(scenario, options) {
    const world = new World(scenario, options);
    const began = Date.now();
    console.log(`== ${scenario.name}: ${options.seconds} s, ` +
        `seed ${options.seed}`);
    let trouble;
    try {
        await world.start();
        await world.breakThings(options.seconds);
        await world.settle();
    } catch (error) {
        trouble = error;
    }
    await world.stop().catch((error) => { trouble ??= error; });
    const { violations, sums } = check(world.log.events);
    const file = path.join(options.logs, `${scenario.name}.jsonl`);
    if (violations.length || trouble || options.keep) world.log.write(file);
    for (const violation of violations.slice(0, SHOWN)) {
        console.log(`  VIOLATION ${describe(violation)}`);
    }
    if (violations.length > SHOWN) {
        console.log(`  and ${violations.length - SHOWN} more`);
    }
    if (trouble) console.log(`  TROUBLE ${trouble.stack}`);
    if (violations.length || trouble) console.log(`  the log: ${file}`);
    const told = toldCounts(world.readers);
    if (told) console.log(`  told: ${told}`);
    return { name: scenario.name, ...sums, faults: world.faultCount,
        violations: violations.length + (trouble ? 1 : 0),
        seconds: Math.round((Date.now() - began) / 1000) };
}

const COLUMNS = [['scenario', 'name'], ['seconds', 'seconds'],
    ['faults', 'faults'], ['published', 'published'],
    ['unknown', 'unknown'], ['delivered', 'delivered'],
    ['recovered', 'recovered'], ['told gaps', 'toldGaps'],
    ['told pubs', 'toldPubs'], ['violations', 'violations']];

function table(rows) {
    const lines = [COLUMNS.map(([title]) => title),
        ...rows.map((row) => COLUMNS.map(([, key]) => String(row[key])))];
    const widths = COLUMNS.map((_, i) =>
        Math.max(...lines.map((line) => line[i].length)));
    return lines.map((line) => line.map((cell, i) =>
        i ? cell.padStart(widths[i]) : cell.padEnd(widths[i])).join('  '))
        .join('\n');
}

function readOptions() {
    const { values } = parseArgs({ options: {
        seconds: { type: 'string', default: '60' },
        only: { type: 'string' },
        seed: { type: 'string', default: String(Date.now() % 1000000) },
        logs: { type: 'string',
            default: path.join(kit.ROOT, 'build', 'test-logs', 'check') },
        keep: { type: 'boolean', default: false },
    } });
    const only = values.only?.split(',');
    const chosen = SCENARIOS.filter((s) => !only || only.includes(s.name));
    if (!chosen.length || !(Number(values.seconds) > 0)) {
        throw new Error(`--only ${SCENARIOS.map((s) => s.name).join(',')}; ` +
            '--seconds above 0');
    }
    return { ...values, seconds: Number(values.seconds),
        seed: Number(values.seed), chosen };
}

async function main() {
    const options = readOptions();
    const rows = [];
    for (const scenario of options.chosen) {
        rows.push(await runScenario(scenario, options));
    }
    console.log(`\n${table(rows)}`);
    const passed = rows.filter((row) => row.violations === 0).length;
    const failed = rows.reduce((sum, row) => sum + row.violations, 0);
    if (process.env.TEST_RESULTS) {
        fs.appendFileSync(process.env.TEST_RESULTS,
            `gaps ${passed} ${failed}\n`);
    }
    console.log(`gaps: ${passed} passed, ${failed} failed`);
    process.exit(failed ? 1 : 0);
}

/* By way of exit, so that no node outlives the run. */
for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => process.exit(130));
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
