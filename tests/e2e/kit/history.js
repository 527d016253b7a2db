/* history.js — what tests of history need on every broker.
 * Why:    what a namespace with history promises holds in-process and over
 *         JetStream; a test is written once, and the stage it runs on says
 *         what the two do differently. */
'use strict';

const assert = require('node:assert');
const { describe, before, after } = require('node:test');
const { ms } = require('./wait');
const { OPEN, merge, startGateway } = require('./process');
const { NatsClient, NatsServer } = require('./nats');
const { call, publish } = require('./http');

const EPOCH = /^[A-Za-z0-9_-]{8}$/;
const STAGES = ['in-process', 'nats'];

/* Namespace options: history of 100, recovered without being asked. */
const HISTORY = Object.freeze({
    ...OPEN,
    history_size: 100,
    history_ttl: '300s',
    force_recovery: true,
    allow_history_for_client: true,
    allow_history_for_anonymous: true,
});

/* nats-server with JetStream (or none), and the gateways on it. */
class Stage {
    constructor(broker) {
        this.broker = broker;
        this.nodes = [];
        this.names = 0;
    }

    get isNats() { return this.broker === 'nats'; }
    get gw() { return this.nodes[0]; }
    /* Another node, where the broker allows one. */
    get other() { return this.nodes.at(-1); }

    async start(config, nodes = 1) {
        try {
            await this.begin(config, nodes);
        } catch (error) {
            await this.stop().catch(() => {});
            throw error;
        }
        return this;
    }

    async begin(config, nodes) {
        if (this.isNats) {
            this.server = await new NatsServer({ jetstream: true }).start();
            this.bus = await NatsClient.connect(this.server);
            config = merge({ nats: { reconnect_wait: '100ms' } }, config);
            config.nats.url = this.server.url;
        }
        for (let i = 0; i < (this.isNats ? nodes : 1); i++) {
            this.nodes.push(await startGateway(config));
        }
    }

    async stop() {
        this.bus?.close();
        const ends = await Promise.allSettled(
            this.nodes.map((gw) => gw.stop()));
        await this.server?.stop();
        const bad = ends.find((end) => end.status === 'rejected');
        if (bad) throw bad.reason;
    }

    /* A channel of the namespace that no test has used. */
    channel(namespace) { return `${namespace}:c${++this.names}`; }

    /* Publish each of `data`; the positions. */
    async fill(channel, data, gw = this.gw) {
        const positions = [];
        for (const item of data) {
            positions.push(await publish(gw, channel, item));
        }
        this.assertRising(positions);
        return positions;
    }

    /* In-process an offset is one more than the last; a stream on the bus
     * has the messages of many channels. */
    assertRising(positions) {
        positions.forEach(({ offset, epoch }, i) => {
            assert.match(epoch, EPOCH);
            assert.strictEqual(epoch, positions[0].epoch);
            if (i === 0) return;
            const before = positions[i - 1].offset;
            if (this.isNats) assert.ok(offset > before, `${offset} ${before}`);
            else assert.strictEqual(offset, before + 1);
        });
    }

    history(channel, more = {}, gw = this.gw) {
        return call(gw, 'history', { channel, limit: -1, ...more });
    }
}

/* describe() on each broker; `body` gets the stage, which is there when its
 * tests run. Options: config, nodes, brokers, timeout. */
function forBrokers(name, { config, nodes, brokers = STAGES,
    timeout = 120000 }, body) {
    for (const broker of brokers) {
        describe(`${name}: ${broker}`, { timeout: ms(timeout) }, () => {
            const stage = new Stage(broker);
            before(() => stage.start(config, nodes));
            after(() => stage.stop());
            body(stage);
        });
    }
}

/* The subscribe request that resumes from a position. */
function recoverFrom({ epoch, offset }, more = {}) {
    return { recover: true, epoch, offset, ...more };
}

const dataOf = (publications) => (publications ?? []).map((p) => p.data);
const range = (from, to) =>
    Array.from({ length: to - from + 1 }, (_, i) => from + i);

module.exports = {
    EPOCH, HISTORY, Stage, forBrokers, recoverFrom, dataOf, range,
};
