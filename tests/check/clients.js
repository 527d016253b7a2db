/* clients.js — who reads: centrifuge-js over WebSocket, and an event stream
 * that sends Last-Event-ID, both of which lose their connection at will.
 * Why:    each logs what it got and what it was told, nothing else: judging
 *         is checker.js's. */
'use strict';

const http = require('node:http');
const { Centrifuge } = require('centrifuge');
const WebSocket = require('ws');

const RECONNECT = { minReconnectDelay: 30, maxReconnectDelay: 500 };
const RESUBSCRIBE = { minResubscribeDelay: 30, maxResubscribeDelay: 500 };

/* A socket that goes to any node, and is looked at: what was asked, and
 * whether anything came before it was answered. */
function watchedSocket(reader) {
    return class extends WebSocket {
        constructor(_, ...rest) {
            super(reader.anyNode().wsUrl(), ...rest);
            this.asked = new Map(); /* command id -> subscribe request */
            this.answered = new Set();
            reader.socket = this;
            this.on('message', (data) => this.look(String(data), reader));
        }

        send(text, ...rest) {
            for (const line of String(text).split('\n')) {
                const { id, subscribe, unsubscribe } = JSON.parse(line);
                if (subscribe) {
                    this.asked.set(id, subscribe);
                    reader.asked.set(subscribe.channel, !!subscribe.recover);
                }
                if (unsubscribe) this.answered.delete(unsubscribe.channel);
            }
            super.send(text, ...rest);
        }

        look(text, { log, name }) {
            for (const line of text.trim().split('\n')) {
                const { id, subscribe, push } = JSON.parse(line);
                if (subscribe) this.answered.add(this.asked.get(id)?.channel);
                if (push?.unsubscribe) this.answered.delete(push.channel);
                if (push?.pub && !this.answered.has(push.channel)) {
                    log.early(name, push.channel, push.pub.data.n);
                }
            }
        }
    };
}

class WsReader {
    constructor(name, channels, { log, anyNode }) {
        Object.assign(this, { name, channels, log, anyNode });
        this.asked = new Map();
        this.told = [];
        this.epochs = new Map();
    }

    start() {
        this.client = new Centrifuge('ws://unused', {
            websocket: watchedSocket(this), ...RECONNECT,
        });
        this.client.on('disconnected', (ctx) => this.told.push(ctx.code));
        this.client.on('connecting', (ctx) => this.told.push(ctx.code));
        this.client.on('error', () => {});
        for (const channel of this.channels) this.follow(channel);
        this.client.connect();
    }

    follow(ch) {
        const { log, name } = this;
        const sub = this.client.newSubscription(ch, RESUBSCRIBE);
        sub.on('subscribed', (ctx) => {
            const { epoch, offset } = ctx.streamPosition ?? {};
            this.epochs.set(ch, epoch);
            log.sub(name, ch, { fresh: !this.asked.get(ch), epoch, offset,
                was: ctx.wasRecovering, ok: ctx.recovered });
        });
        sub.on('publication', ({ data, offset }) => log.got(name, ch, data.n,
            offset === undefined ? {}
                : { epoch: this.epochs.get(ch), offset }));
        const down = ({ code }) => {
            if (code < 2500) {
                log.down(name, ch);
                return;
            }
            this.told.push(code);
            log.gap(name, ch, String(code));
        };
        sub.on('subscribing', down);
        sub.on('unsubscribed', down);
        sub.on('error', () => {});
        sub.subscribe();
    }

    /* As a network would, or as a page does. */
    drop(away, isPolite) {
        if (!isPolite) {
            this.socket?.terminate();
            return;
        }
        this.client.disconnect();
        setTimeout(() => this.isOver || this.client.connect(), away);
    }

    pause(duration) {
        const { socket } = this;
        if (socket?.readyState !== WebSocket.OPEN || socket.isPaused) return;
        socket.pause();
        setTimeout(() => socket.resume(), duration);
    }

    stop() {
        this.isOver = true;
        this.client.disconnect();
    }
}

/* What an EventSource does, with the ids in its own hands. */
class SseReader {
    constructor(name, channels, { log, anyNode }) {
        Object.assign(this, { name, channels, log, anyNode });
        this.told = [];
        this.id = undefined;
    }

    start() { this.open(); }

    open() {
        if (this.isOver || this.req) return;
        const path = `/sse?${this.channels.map((c) =>
            `channel=${encodeURIComponent(c)}`).join('&')}`;
        const { host, port } = this.anyNode();
        const headers = { Accept: 'text/event-stream' };
        if (this.id !== undefined) headers['Last-Event-ID'] = this.id;
        const req = http.get({ host, port, path, headers, agent: false });
        this.req = req;
        this.asked = this.id;
        req.setTimeout(20000, () => req.destroy());
        req.on('response', (res) => this.read(req, res));
        req.on('error', () => this.ended(req));
    }

    read(req, res) {
        this.res = res;
        if (res.statusCode !== 200) this.told.push(res.statusCode);
        let text = '';
        res.setEncoding('utf8');
        res.on('data', (chunk) => {
            if (this.req !== req) return;
            text += chunk;
            for (let end; this.req === req &&
                (end = text.indexOf('\n\n')) >= 0;) {
                this.onBlock(text.slice(0, end));
                text = text.slice(end + 2);
            }
        });
        res.on('error', () => {});
        res.on('close', () => this.ended(req));
    }

    ended(req, away = 30 + Math.random() * 200) {
        if (this.req !== req) return;
        this.req = null;
        this.res = null;
        for (const ch of this.channels) this.log.down(this.name, ch);
        setTimeout(() => this.open(), away);
    }

    onBlock(block) {
        let name = 'message';
        let data = '';
        let id;
        for (const line of block.split('\n')) {
            if (line.startsWith('event: ')) name = line.slice(7);
            if (line.startsWith('data: ')) data += line.slice(6);
            if (line.startsWith('id: ')) id = line.slice(4);
        }
        if (!data) return;
        if (id !== undefined) this.id = id;
        this.onEvent(name, JSON.parse(data), this.positionOf(id));
    }

    /* Of an id of one channel: "<epoch>:<offset>". */
    positionOf(id) {
        const found = /^([^:~]+):(\d+)$/.exec(id ?? '');
        return found ? { epoch: found[1], offset: Number(found[2]) } : {};
    }

    onEvent(event, data, position) {
        const { log, name } = this;
        if (event === 'message') {
            log.got(name, data.channel, data.data.n, position);
        } else if (event === 'session') {
            this.onSession(data, position);
        } else if (event === 'reset' || event === 'gap') {
            this.told.push(data.reason ?? event);
            for (const ch of data.channels) {
                log.gap(name, ch, event, data.reason);
            }
        } else if (event === 'unsubscribe') {
            const { code } = data.unsubscribe;
            this.told.push(code);
            log.gap(name, data.channel, String(code));
            this.drop(100);
        } else if (event === 'disconnect') {
            this.told.push(data.code);
        }
    }

    onSession({ resume = [] }, position) {
        const was = this.asked !== undefined;
        for (const ch of this.channels) {
            const mayResume = was && resume.includes(ch);
            this.log.sub(this.name, ch, { fresh: !mayResume, was: mayResume,
                ok: mayResume, ...mayResume ? {} : position });
        }
    }

    drop(away) {
        const { req } = this;
        if (!req) return;
        req.destroy();
        this.ended(req, away);
    }

    pause(duration) {
        const { res } = this;
        if (!res || res.isPaused()) return;
        res.pause();
        setTimeout(() => res.resume(), duration);
    }

    stop() {
        this.isOver = true;
        this.req?.destroy();
    }
}

module.exports = { WsReader, SseReader };
