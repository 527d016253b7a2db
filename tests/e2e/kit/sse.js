/* sse.js — an event stream read byte for byte, so that tests see what a
 * proxy and a browser would see: lines, comments, retry, order. */
'use strict';

const http = require('node:http');
const { defer, Inbox, withDeadline } = require('./wait');

class SseClient {
    static open(gw, path, { method = 'GET', headers = {}, body } = {}) {
        const opened = new Promise((resolve, reject) => {
            const req = http.request({
                host: gw.host, port: gw.port, path, method, agent: false,
                headers: { Accept: 'text/event-stream', ...headers },
            }, (res) => resolve(new SseClient(req, res)));
            req.on('error', reject);
            req.end(body);
        });
        return withDeadline(opened, `${method} ${path} is answered`);
    }

    constructor(req, res) {
        this.req = req;
        this.status = res.statusCode;
        this.headers = res.headers;
        this.text = '';
        this.pending = '';
        this.comments = 0;
        this.retry = null;
        this.inbox = new Inbox('event stream');
        req.on('error', () => {});
        res.on('error', () => {});
        res.setEncoding('utf8');
        res.on('data', (text) => this.onText(text));
        this.closed = new Promise((resolve) => {
            res.once('close', () => {
                this.inbox.end('stream ended');
                resolve();
            });
        });
    }

    onText(text) {
        this.text += text;
        this.pending += text;
        let end;
        while ((end = this.pending.search(/\r?\n\r?\n/)) >= 0) {
            const block = this.pending.slice(0, end);
            this.pending = this.pending.slice(end).replace(
                /^\r?\n\r?\n/, '');
            this.onBlock(block);
        }
    }

    onBlock(block) {
        const event = { event: 'message', data: [], id: null };
        for (const line of block.split(/\r?\n/)) {
            if (line.startsWith(':')) { this.comments++; continue; }
            const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
            if (name === 'data') event.data.push(value);
            if (name === 'event') event.event = value;
            if (name === 'id') event.id = value;
            if (name === 'retry') this.retry = Number(value);
        }
        if (!event.data.length) return;
        event.data = event.data.join('\n');
        event.raw = block;
        this.inbox.push(event);
    }

    /* The next event of that name: { event, data, raw, json }. */
    async next(name = 'message', timeoutMs) {
        const event = await this.inbox.take((e) => e.event === name,
            `event ${name}`, timeoutMs);
        return { ...event, get json() { return JSON.parse(event.data); } };
    }

    /* The next event whose JSON has this member (uni_sse pushes). */
    async member(key, timeoutMs) {
        const event = await this.inbox.take(
            (e) => Object.hasOwn(JSON.parse(e.data), key),
            `event with ${key}`, timeoutMs);
        return JSON.parse(event.data);
    }

    json() { return JSON.parse(this.text); }

    ended(timeoutMs) {
        return withDeadline(this.closed, 'the stream ends', timeoutMs);
    }

    close() { this.req.destroy(); }
}

async function sse(t, gw, path, options) {
    const stream = await SseClient.open(gw, path, options);
    defer(t, () => stream.close());
    return stream;
}

module.exports = { SseClient, sse };
