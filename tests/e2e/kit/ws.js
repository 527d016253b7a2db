/* ws.js — a protocol client on the package `ws`: one call per command,
 * nothing hidden. Messages keep their bytes (`raw`) beside the parsed form. */
'use strict';

const assert = require('node:assert');
const WebSocket = require('ws');
const { defer, Inbox, withDeadline } = require('./wait');

class HandshakeError extends Error {
    constructor(status, headers) {
        super(`handshake answered ${status}`);
        this.status = status;
        this.headers = headers;
    }
}

class WsClient {
    static async open(gw, { path, headers, protocols = [], autoPong = true,
        ...options } = {}) {
        const socket = new WebSocket(gw.wsUrl(path), protocols,
            { headers, ...options });
        const client = new WsClient(socket, autoPong);
        await withDeadline(new Promise((resolve, reject) => {
            socket.once('open', resolve);
            socket.once('error', reject);
            socket.once('unexpected-response', (req, res) => {
                reject(new HandshakeError(res.statusCode, res.headers));
                req.destroy();
            });
        }), 'WebSocket opens');
        return client;
    }

    constructor(socket, autoPong) {
        this.socket = socket;
        this.inbox = new Inbox('WebSocket');
        this.frames = [];
        this.pings = 0;
        this.lastId = 0;
        socket.on('error', () => {});
        socket.on('message', (data) => this.onFrame(String(data), autoPong));
        this.closed = new Promise((resolve) => {
            socket.once('close', (code, reason) => {
                this.inbox.end(`close ${code} ${reason}`);
                resolve({ code, reason: String(reason) });
            });
        });
    }

    onFrame(text, autoPong) {
        this.frames.push(text);
        for (const raw of text.trim().split('\n')) {
            const msg = JSON.parse(raw);
            if (raw !== '{}') {
                this.inbox.push({ raw, msg });
                continue;
            }
            this.pings++;
            this.firstPingAt = this.firstPingAt || Date.now();
            if (autoPong) this.socket.send('{}');
        }
    }

    /* Commands (objects or text) in one frame. */
    send(...commands) {
        this.socket.send(commands.map((command) =>
            typeof command === 'string' ? command : JSON.stringify(command))
            .join('\n'));
    }

    /* Send one command with the next id; the whole reply message. */
    command(name, body = {}) {
        const id = ++this.lastId;
        this.send({ [name]: body, id });
        return this.reply(id);
    }

    async reply(id) {
        this.lastId = Math.max(this.lastId, id);
        return (await this.inbox.take((i) => i.msg.id === id,
            `reply ${id}`)).msg;
    }

    async connect(body = {}) {
        const reply = await this.command('connect', body);
        assert.ok(reply.connect, JSON.stringify(reply));
        this.id = reply.connect.client;
        return reply.connect;
    }

    async subscribe(channel, more = {}) {
        const reply = await this.command('subscribe', { channel, ...more });
        assert.ok(reply.subscribe, JSON.stringify(reply));
        return reply.subscribe;
    }

    /* A command that must be refused with this code. */
    async refused(name, body, code) {
        const reply = await this.command(name, body);
        assert.strictEqual(reply.error?.code, code,
            `${name} ${JSON.stringify(body).slice(0, 200)} -> ` +
            JSON.stringify(reply));
        assert.ok(reply.error.message, 'an error has a message');
        return reply.error;
    }

    /* The next push, of a channel when one is named: { raw, msg, push }. */
    async push(channel, timeoutMs) {
        const item = await this.inbox.take((i) => i.msg.push &&
            (channel === undefined || i.msg.push.channel === channel),
            `push ${channel ?? ''}`, timeoutMs);
        return { ...item, push: item.msg.push };
    }

    async pub(channel, timeoutMs) {
        const item = await this.inbox.take((i) => i.msg.push?.pub &&
            (channel === undefined || i.msg.push.channel === channel),
            `publication of ${channel ?? 'any channel'}`, timeoutMs);
        return { ...item.msg.push.pub, raw: item.raw };
    }

    pubs(count, channel, timeoutMs) {
        return this.inbox.takeMany(count, (i) => i.msg.push?.pub &&
            i.msg.push.channel === channel, `publications of ${channel}`,
        timeoutMs).then((items) => items.map((i) => i.msg.push.pub));
    }

    /* The server must close with this code and say why. */
    async closedWith(code, timeoutMs) {
        const close = await withDeadline(this.closed,
            () => `close ${code}; has ${this.inbox.summary()}`, timeoutMs);
        assert.strictEqual(close.code, code, JSON.stringify(close));
        if (code >= 3000) {
            assert.ok(close.reason.length > 0, 'a close has a reason');
            assert.ok(Buffer.byteLength(close.reason) < 123);
        }
        return close;
    }

    async close() {
        this.socket.close();
        await withDeadline(this.closed, 'client close is acknowledged');
    }
}

/* Open clients that end with the test. */
async function wsClient(t, gw, options) {
    const client = await WsClient.open(gw, options);
    defer(t, () => client.socket.terminate());
    return client;
}

async function connected(t, gw, options = {}) {
    const client = await wsClient(t, gw, options);
    await client.connect(options.connect);
    return client;
}

/* The HTTP status with which a WebSocket handshake is refused. */
async function handshakeStatus(gw, options) {
    try {
        const client = await WsClient.open(gw, options);
        client.socket.terminate();
        return 101;
    } catch (error) {
        if (error instanceof HandshakeError) return error.status;
        throw error;
    }
}

module.exports = {
    WsClient, wsClient, connected, handshakeStatus, HandshakeError,
};
