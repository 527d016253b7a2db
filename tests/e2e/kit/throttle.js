/* throttle.js — sources and readers for tests of conflation.
 * Why:    what a namespace promises holds for every broker and every
 *         transport: a test is written once and run on all of them.
 * A rig   is nats-server (or none) and gateways on it.
 * A source publishes lists: one batch in-process, PUB and HPUB over NATS.
 * A reader is one connection; what it was given is in `got`, in order:
 *         { channel, data, tags, at, snapshot }. */
'use strict';

const assert = require('node:assert');
const { SLOW, defer, ms, pause, waitFor } = require('./wait');
const { merge, startGateway } = require('./process');
const { NatsClient, NatsServer } = require('./nats');
const { call, request } = require('./http');
const { SseClient } = require('./sse');
const { WsClient } = require('./ws');

const BROKERS = ['in-process', 'nats'];
const READERS = ['websocket', 'sse'];

class Source {
    constructor(gw, bus) {
        this.gw = gw;
        this.bus = bus;
    }

    /* Entries are [channel, data] or [channel, data, { urgent, tags }]; when
     * this returns all of them were taken, in this order. */
    send(...entries) {
        return this.bus ? this.toBus(entries) : this.toApi(entries);
    }

    async toApi(entries) {
        const commands = entries.map(([channel, data, more]) =>
            ({ publish: { channel, data, ...more } }));
        const { replies } = await call(this.gw, 'batch', { commands });
        const bad = replies.find((reply) => reply.error);
        assert.ok(!bad, JSON.stringify(bad));
    }

    toBus(entries) {
        for (const [channel, data, more = {}] of entries) {
            const subject = channel.includes(':')
                ? channel.replace(':', '.') : `_.${channel}`;
            const headers = {};
            if (more.urgent) headers['Weir-Urgent'] = 'true';
            if (more.tags) headers['Weir-Tags'] = JSON.stringify(more.tags);
            this.bus.publish(`weir.pub.${subject}`, JSON.stringify(data),
                Object.keys(headers).length ? headers : undefined);
        }
        return this.bus.flush();
    }
}

class Rig {
    static async start(broker, config, nodes = 1) {
        const rig = new Rig();
        rig.broker = broker;
        rig.nodes = [];
        try {
            await rig.begin(config, nodes);
        } catch (error) {
            await rig.stop();
            throw error;
        }
        return rig;
    }

    async begin(config, nodes) {
        if (this.isNats) {
            this.server = await new NatsServer({}).start();
            this.bus = await NatsClient.connect(this.server);
            config = merge(config, {
                nats: { url: this.server.url, reconnect_wait: '100ms' },
            });
        }
        for (let i = 0; i < nodes; i++) {
            this.nodes.push(await startGateway(config));
        }
        this.source = new Source(this.gw, this.bus);
    }

    get isNats() { return this.broker === 'nats'; }
    get gw() { return this.nodes[0]; }

    async stop() {
        this.bus?.close();
        const ends = await Promise.allSettled(
            this.nodes.map((gw) => gw.stop()));
        await this.server?.stop();
        const bad = ends.find((end) => end.status === 'rejected');
        if (bad) throw bad.reason;
    }
}

async function rig(t, broker, config, nodes) {
    const made = await Rig.start(broker, config, nodes);
    defer(t, () => made.stop());
    return made;
}

class Reader {
    constructor(channels) {
        this.channels = channels;
        this.got = [];
        this.granted = {};
    }

    add(channel, pub, snapshot = false) {
        this.got.push({
            channel, data: pub.data, tags: pub.tags, snapshot,
            at: performance.now(),
        });
    }

    of(channel) { return this.got.filter((g) => g.channel === channel); }

    /* The first that fits, come or still to come. */
    until(fits, what, timeoutMs) {
        return this.search(0, fits, what, timeoutMs);
    }

    /* The same, of what comes after now. */
    next(fits, what, timeoutMs) {
        return this.search(this.got.length, fits, what, timeoutMs);
    }

    search(from, fits, what, timeoutMs) {
        return waitFor(() => {
            for (; from < this.got.length; from++) {
                if (fits(this.got[from])) return this.got[from];
            }
            return null;
        }, () => `${this.kind}: ${what}; ${this.got.length} came, the last ` +
            JSON.stringify(this.got.slice(-5)).slice(0, 600), timeoutMs);
    }
}

class WsReader extends Reader {
    kind = 'websocket';

    async open(t, gw, ask) {
        this.client = await WsClient.open(gw);
        defer(t, () => this.client.socket.terminate());
        const { inbox } = this.client;
        const keep = inbox.push.bind(inbox);
        inbox.push = (item) => { if (!this.onItem(item)) keep(item); };
        await this.client.connect();
        for (const channel of this.channels) {
            await this.subscribe(channel, ask);
        }
        return this;
    }

    onItem({ msg }) {
        const { push, subscribe } = msg;
        for (const pub of subscribe?.publications ?? []) {
            this.add(this.asking, pub, true);
        }
        if (!push?.pub) return false;
        this.add(push.pub.channel ?? push.channel, push.pub);
        return true;
    }

    async subscribe(channel, ask) {
        this.asking = channel;
        const result = await this.client.subscribe(channel,
            ask === undefined ? {} : { data: ask });
        this.granted[channel] = result.data;
    }

    async change(channel, ask) {
        const reply = await this.client.command('rpc',
            { method: 'weir.throttle', data: { channel, ...ask } });
        assert.ok(reply.rpc, JSON.stringify(reply));
        return reply.rpc.data;
    }

    pause() { this.client.socket.pause(); }
    resume() { this.client.socket.resume(); }
    close() { this.client.socket.terminate(); }
}

/* The query of a stream. */
function ssePath(channels, ask = {}, more = '') {
    const parts = channels.map((c) => `channel=${encodeURIComponent(c)}`);
    for (const [name, value] of Object.entries(ask)) {
        parts.push(`${name}=${encodeURIComponent(value)}`);
    }
    return `/sse?${parts.join('&')}${more}`;
}

/* POST /sse/<session>; `body` an object, or text sent as it is. */
function postSession(gw, session, body, headers = {}) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return request(gw, {
        method: 'POST', path: `/sse/${session}`, body: text,
        headers: {
            'Content-Type': 'application/json',
            'Content-Length': Buffer.byteLength(text), ...headers,
        },
    });
}

class SseReader extends Reader {
    kind = 'sse';

    async open(t, gw, ask) {
        this.gw = gw;
        this.stream = await SseClient.open(gw, ssePath(this.channels, ask));
        defer(t, () => this.stream.close());
        assert.strictEqual(this.stream.status, 200, this.stream.text);
        const { inbox } = this.stream;
        const keep = inbox.push.bind(inbox);
        const early = inbox.items.splice(0);
        inbox.push = (event) => { if (!this.onEvent(event)) keep(event); };
        early.forEach((event) => inbox.push(event));
        const { json } = await this.stream.next('session');
        this.session = json.session;
        this.granted = json.channels;
        return this;
    }

    onEvent(event) {
        if (event.event !== 'message') return false;
        const pub = JSON.parse(event.data);
        this.add(pub.channel, pub);
        return true;
    }

    /* POST to the session, by default through the node of the stream. */
    post(channels, gw = this.gw) {
        return postSession(gw, this.session, { channels });
    }

    async change(channel, ask) {
        const answer = await this.post({ [channel]: ask });
        assert.strictEqual(answer.status, 200, answer.text);
        return answer.json.channels[channel];
    }

    pause() { this.stream.req.res.pause(); }
    resume() { this.stream.req.res.resume(); }
    close() { this.stream.close(); }
}

/* A connection that is subscribed to `channels` (one or a list), asking for
 * `ask` ({ rate, mode }) when given. */
function reader(t, gw, kind, channels, ask) {
    const Kind = kind === 'sse' ? SseReader : WsReader;
    return new Kind([].concat(channels)).open(t, gw, ask);
}

/* One of each kind. */
async function readers(t, gw, channels, ask) {
    const all = [];
    for (const kind of READERS) {
        all.push(await reader(t, gw, kind, channels, ask));
    }
    return all;
}

/* Publish what `make(turn)` gives, every `everyMs`, until stop(). */
function pump(t, source, make, everyMs = 5) {
    let running = true;
    const run = async () => {
        for (let turn = 0; running; turn++) {
            await source.send(...make(turn));
            await pause(everyMs);
        }
    };
    const ended = run();
    ended.catch(() => {});
    const stop = () => { running = false; return ended; };
    defer(t, () => stop().catch(() => {}));
    return { stop };
}

/* The most deliveries in any window of that many seconds. */
function mostWithin(deliveries, seconds) {
    const times = deliveries.map((g) => g.at);
    let most = 0;
    for (let first = 0, last = 0; last < times.length; last++) {
        while (times[last] - times[first] >= seconds * 1000) first++;
        most = Math.max(most, last - first + 1);
    }
    return most;
}

/* At most rate + 1 in a second is what the server promises; here over three
 * seconds, with what the network and this process may clump. */
function assertRate(deliveries, rate, what) {
    const most = mostWithin(deliveries, 3);
    const allowed = Math.floor(3 * rate + 2 + rate * ms(300) / 1000);
    assert.ok(most <= allowed,
        `${what}: ${most} in 3 s at ${rate}/s, allowed ${allowed}`);
}

/* data.n grows from delivery to delivery of the same item. */
function assertGrowing(deliveries, item, what) {
    const last = new Map();
    for (const { data } of deliveries) {
        const before = last.get(item(data)) ?? -Infinity;
        assert.ok(data.n > before,
            `${what}: ${item(data)} ${data.n} after ${before}`);
        last.set(item(data), data.n);
    }
}

/* Memory of the gateway; allocators of sanitizer builds keep what was
 * freed. */
function assertGrowth(gw, before, most, what) {
    const grown = gw.rssBytes() - before;
    const allowed = most + (SLOW > 1 ? 400e6 : 0);
    assert.ok(grown < allowed, `${what}: RSS grew by ${grown}`);
}

function isObject(value) {
    return value !== null && typeof value === 'object' &&
        !Array.isArray(value);
}

/* RFC 7396, as it stands there. */
function mergePatch(target, patch) {
    if (!isObject(patch)) return patch;
    const out = isObject(target) ? { ...target } : {};
    for (const [key, value] of Object.entries(patch)) {
        if (value === null) delete out[key];
        else out[key] = mergePatch(out[key], value);
    }
    return out;
}

module.exports = {
    BROKERS, READERS, Rig, rig, reader, readers, pump, ssePath, postSession,
    mostWithin, assertRate, assertGrowing, assertGrowth, mergePatch,
};
