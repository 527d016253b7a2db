/* nats.js — a nats-server of the test's own, and a NATS client small enough
 * to send what no library would.
 * Options of a server: mqtt: true; jetstream: true, or { limits } of its
 * block in nats.conf (max_file_store). */
'use strict';

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { defer, Inbox, withDeadline, waitFor } = require('./wait');
const proc = require('./process');

class NatsServer {
    constructor(options) {
        this.options = options;
        this.host = proc.HOST;
        this.dir = proc.tempDir();
    }

    get url() { return `nats://${this.host}:${this.port}`; }

    /* A port that was free may be somebody else's by now: another is tried,
     * unless this server had it before. */
    async start() {
        for (let tries = this.port ? 1 : 5; ; tries--) {
            const ports = [this.port, this.mqttPort];
            await this.launch();
            if (!this.proc.end) return this;
            if (tries <= 1 || !/address already in use/.test(this.proc.stderr))
                throw new Error(this.proc.stderr);
            [this.port, this.mqttPort] = ports;
        }
    }

    async launch() {
        this.port = this.port || await proc.freePort();
        this.mqttPort = this.options.mqtt &&
            (this.mqttPort || await proc.freePort());
        const file = path.join(this.dir, 'nats.conf');
        fs.writeFileSync(file, this.config());
        this.proc = proc.launch('nats-server', ['-c', file]);
        await waitFor(async () => {
            if (this.proc.end) return true;
            await this.probe(this.port);
            if (this.mqttPort) await this.probe(this.mqttPort);
            return true;
        }, () => `nats-server listens: ${this.proc.stderr}`);
    }

    config() {
        const lines = [`server_name: weir-test`,
            `listen: "${this.host}:${this.port}"`];
        const { jetstream } = this.options;
        if (this.options.mqtt || jetstream) {
            const more = Object.entries(jetstream?.limits ?? {})
                .map(([key, value]) => `, ${key}: ${value}`).join('');
            lines.push(`jetstream { store_dir: "${this.dir}"${more} }`);
        }
        if (this.mqttPort) {
            lines.push(`mqtt { listen: "${this.host}:${this.mqttPort}" }`);
        }
        return lines.join('\n') + '\n';
    }

    probe(port) {
        return new Promise((resolve, reject) => {
            const socket = net.connect({ host: this.host, port }, () => {
                socket.destroy();
                resolve();
            });
            socket.once('error', reject);
        });
    }

    async kill(signal = 'SIGKILL') {
        if (this.proc.end) return;
        this.proc.child.kill(signal);
        await withDeadline(this.proc.exited, 'nats-server exits');
    }

    /* Again on the same port and store, after kill(). */
    restart() { return this.start(); }

    async stop() {
        await this.kill();
        fs.rmSync(this.dir, { recursive: true, force: true });
    }
}

async function natsServer(t, options = {}) {
    const server = await new NatsServer(options).start();
    defer(t, () => server.stop());
    return server;
}

/* PUB, HPUB, SUB and PING; messages land in `inbox` as { subject, headers,
 * payload, raw }. */
class NatsClient {
    static async connect(server) {
        const socket = net.connect({
            host: server.host, port: server.port, noDelay: true,
        });
        const client = new NatsClient(socket);
        await withDeadline(new Promise((resolve, reject) => {
            socket.once('connect', resolve);
            socket.once('error', reject);
        }), 'NATS connect');
        socket.write('CONNECT {"verbose":false,"headers":true,' +
            '"no_responders":false,"pedantic":false}\r\n');
        await client.flush();
        return client;
    }

    constructor(socket) {
        this.socket = socket;
        this.buffer = Buffer.alloc(0);
        this.inbox = new Inbox('NATS');
        this.pongs = [];
        this.errors = [];
        this.sids = 0;
        socket.on('error', () => {});
        socket.on('close', () => this.inbox.end('connection closed'));
        socket.on('data', (chunk) => {
            this.buffer = Buffer.concat([this.buffer, chunk]);
            while (this.parse());
        });
    }

    parse() {
        const eol = this.buffer.indexOf('\r\n');
        if (eol < 0) return false;
        const words = this.buffer.toString('latin1', 0, eol).split(' ');
        const isMessage = words[0] === 'MSG' || words[0] === 'HMSG';
        const size = isMessage ? Number(words.at(-1)) : 0;
        const total = eol + 2 + (isMessage ? size + 2 : 0);
        if (this.buffer.length < total) return false;
        if (isMessage) {
            this.onMessage(words, this.buffer.subarray(eol + 2, total - 2));
        }
        if (words[0] === 'PING') this.socket.write('PONG\r\n');
        if (words[0] === 'PONG') this.pongs.shift()?.();
        if (words[0] === '-ERR') this.errors.push(words.join(' '));
        this.buffer = this.buffer.subarray(total);
        return true;
    }

    onMessage(words, body) {
        const head = words[0] === 'HMSG' ? Number(words.at(-2)) : 0;
        const payload = body.subarray(head).toString();
        this.inbox.push({
            subject: words[1], headers: body.subarray(0, head).toString(),
            payload, raw: `${words[1]} ${payload}`,
        });
    }

    publish(subject, payload, headers) {
        const body = Buffer.from(payload);
        if (!headers) {
            this.socket.write(Buffer.concat([
                Buffer.from(`PUB ${subject} ${body.length}\r\n`), body,
                Buffer.from('\r\n')]));
            return;
        }
        const lines = Object.entries(headers)
            .map(([k, v]) => `${k}: ${v}\r\n`).join('');
        const head = Buffer.from(`NATS/1.0\r\n${lines}\r\n`);
        this.socket.write(Buffer.concat([
            Buffer.from(`HPUB ${subject} ${head.length} ` +
                `${head.length + body.length}\r\n`),
            head, body, Buffer.from('\r\n')]));
    }

    async subscribe(subject) {
        this.socket.write(`SUB ${subject} ${++this.sids}\r\n`);
        await this.flush();
    }

    /* When this returns the server has seen everything sent before. */
    flush() {
        const pong = new Promise((resolve) => this.pongs.push(resolve));
        this.socket.write('PING\r\n');
        return withDeadline(pong, 'PONG of nats-server');
    }

    message(subject) {
        return this.inbox.take((m) => m.subject === subject,
            `message on ${subject}`);
    }

    /* A request that is answered with JSON. */
    async request(subject, payload = '') {
        const inbox = `_INBOX.weir-test.${this.sids + 1}`;
        await this.subscribe(inbox);
        const text = typeof payload === 'string' ? payload
            : JSON.stringify(payload);
        this.socket.write(`PUB ${subject} ${inbox} ` +
            `${Buffer.byteLength(text)}\r\n${text}\r\n`);
        return JSON.parse((await this.message(inbox)).payload);
    }

    /* INFO, CREATE, UPDATE, DELETE or PURGE of a JetStream stream. */
    async stream(verb, name, body) {
        const answer = await this.request(`$JS.API.STREAM.${verb}.${name}`,
            body && { name, ...body });
        if (answer.error) throw new Error(JSON.stringify(answer.error));
        return answer;
    }

    close() { this.socket.destroy(); }
}

async function natsClient(t, server) {
    const client = await NatsClient.connect(server);
    defer(t, () => client.close());
    return client;
}

module.exports = { NatsServer, natsServer, NatsClient, natsClient };
