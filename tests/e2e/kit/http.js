/* http.js — requests by node's own client, and the server API on top. */
'use strict';

const http = require('node:http');
const { withDeadline } = require('./wait');

/* One request: { status, headers, text, json }. `gw` needs host and port. */
function request(gw, { method = 'GET', path = '/', headers = {}, body,
    agent = false } = {}) {
    const answer = new Promise((resolve, reject) => {
        const req = http.request({
            host: gw.host, port: gw.port, method, path, headers, agent,
        }, (res) => {
            const chunks = [];
            res.on('data', (chunk) => chunks.push(chunk));
            res.on('error', reject);
            res.on('end', () => {
                const text = Buffer.concat(chunks).toString();
                resolve({
                    status: res.statusCode, headers: res.headers, text,
                    get json() { return JSON.parse(text); },
                });
            });
        });
        req.on('error', reject);
        req.end(body);
    });
    return withDeadline(answer, `${method} ${path} is answered`);
}

/* POST /api/<method>; `body` an object, or text sent as it is. */
function api(gw, method, body = {}, headers = {}) {
    const text = typeof body === 'string' || Buffer.isBuffer(body)
        ? body : JSON.stringify(body);
    const key = gw.key ? { 'X-API-Key': gw.key } : {};
    return request(gw, {
        method: 'POST',
        path: `/api/${method}`,
        headers: {
            'Content-Length': Buffer.byteLength(text), ...key, ...headers,
        },
        body: text,
    });
}

/* An API call that must succeed: its result. */
async function call(gw, method, body) {
    const answer = await api(gw, method, body);
    if (answer.status !== 200 || answer.json.error) {
        throw new Error(`${method}: ${answer.status} ${answer.text}`);
    }
    return answer.json.result ?? answer.json;
}

function publish(gw, channel, data, more = {}) {
    return call(gw, 'publish', { channel, data, ...more });
}

module.exports = { request, api, call, publish };
