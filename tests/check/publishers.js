/* publishers.js — who writes: numbers for every channel, through any node,
 * and what became of each.
 * Why:    "taken", "refused" and "nobody knows" are different promises, and
 *         only the publisher knows which one it was given. */
'use strict';

const http = require('node:http');
const { Centrifuge } = require('centrifuge');
const WebSocket = require('ws');
const { now } = require('./log');

const OUTSTANDING = 64; /* requests under way, of one publisher */
const TICK_MS = 10;
const REQUEST_MS = 15000;

/* A POST to the API over `agent`: the parsed body; throws on anything else. */
function post(gw, agent, method, body) {
    return new Promise((resolve, reject) => {
        const text = JSON.stringify(body);
        const req = http.request({
            host: gw.host, port: gw.port, method: 'POST', agent,
            path: `/api/${method}`, timeout: REQUEST_MS,
            headers: { 'X-API-Key': gw.key,
                'Content-Length': Buffer.byteLength(text) },
        }, (res) => {
            let answer = '';
            res.setEncoding('utf8');
            res.on('data', (chunk) => { answer += chunk; });
            res.on('error', reject);
            res.on('end', () => {
                try {
                    resolve(JSON.parse(answer));
                } catch (error) {
                    reject(error);
                }
            });
        });
        req.on('timeout', () => req.destroy(new Error('no answer')));
        req.on('error', reject);
        req.end(text);
    });
}

/* 100 says that something broke on the way: it may be in or not. */
function note(log, ch, n, t, { result, error }) {
    if (error) {
        log.pub(ch, n, t, error.code === 100 ? 'unknown' : 'refused');
    } else {
        log.pub(ch, n, t, 'ack', result);
    }
}

class Publisher {
    constructor(channels, { log, anyNode, rate, pad = 0 }) {
        Object.assign(this, { channels, log, anyNode, rate });
        this.pad = 'x'.repeat(pad);
        this.underWay = 0;
        this.turn = 0;
        this.running = true;
        this.refusals = new Map(); /* error code -> how many */
    }

    message(n) { return this.pad ? { n, pad: this.pad } : { n }; }

    start() {
        const began = performance.now();
        let sent = 0;
        this.timer = setInterval(() => {
            const due = (performance.now() - began) / 1000 * this.rate;
            /* What could not be sent in time is not made up for. */
            if (due - sent > this.rate / 2) sent = Math.floor(due) - 1;
            for (; sent < due && this.underWay < OUTSTANDING; sent++) {
                this.one(this.channels[this.turn++ % this.channels.length]);
            }
        }, TICK_MS);
    }

    async one(ch) {
        const n = this.log.number(ch);
        const t = now();
        this.underWay++;
        let answer;
        try {
            answer = await this.send(ch, n);
        } catch {
            answer = { error: { code: 100 } };
        }
        this.underWay--;
        if (answer.error) {
            const { code } = answer.error;
            this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
        }
        note(this.log, ch, n, t, answer);
        return { n, ...answer };
    }

    async stop() {
        clearInterval(this.timer);
        while (this.underWay) {
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
        this.agent?.destroy();
        this.client?.disconnect();
    }
}

/* POST /api/publish on any node. */
class ApiPublisher extends Publisher {
    start() {
        this.agent = new http.Agent({ keepAlive: true });
        super.start();
    }

    send(channel, n) {
        return post(this.anyNode(), this.agent, 'publish',
            { channel, data: this.message(n) });
    }
}

/* centrifuge-js; a client is told no position. */
class ClientPublisher extends Publisher {
    start() {
        const { anyNode } = this;
        this.client = new Centrifuge('ws://unused', {
            minReconnectDelay: 30, maxReconnectDelay: 500,
            websocket: class extends WebSocket {
                constructor(_, ...rest) { super(anyNode().wsUrl(), ...rest); }
            },
        });
        this.client.on('error', () => {});
        this.client.connect();
        super.start();
    }

    /* Errors of the library itself have codes below 100: nobody knows. */
    async send(channel, n) {
        try {
            await this.client.publish(channel, this.message(n));
            return { result: {} };
        } catch ({ code }) {
            return { error: { code: code > 100 ? code : 100 } };
        }
    }
}

/* In a hurry: batches, one after another on each connection, so that each
 * channel of its own gets its numbers in order. */
class FloodPublisher extends Publisher {
    constructor(channels, { each, ...options }) {
        super(channels, options);
        this.each = each;
    }

    start() {
        this.agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        this.ended = this.flood();
    }

    async flood() {
        const size = this.channels.length * this.each;
        const began = performance.now();
        for (let sent = 0; this.running; sent += size) {
            const early = sent / this.rate * 1000 -
                (performance.now() - began);
            if (early > 1) {
                await new Promise((resolve) => setTimeout(resolve, early));
            }
            await this.batch();
        }
    }

    async batch() {
        const sent = [];
        for (const ch of this.channels) {
            for (let i = 0; i < this.each; i++) {
                sent.push({ ch, n: this.log.number(ch), t: now() });
            }
        }
        const commands = sent.map(({ ch, n }) =>
            ({ publish: { channel: ch, data: this.message(n) } }));
        let replies = [];
        try {
            ({ replies } = await post(this.anyNode(), this.agent, 'batch',
                { commands }));
        } catch { /* unknown, each of them */ }
        sent.forEach(({ ch, n, t }, i) => {
            const { publish, error } = replies[i] ??
                { error: { code: 100 } };
            note(this.log, ch, n, t, { result: publish, error });
        });
    }

    async stop() {
        this.running = false;
        await this.ended;
        this.agent.destroy();
    }
}

module.exports = { ApiPublisher, ClientPublisher, FloodPublisher };
