/* bounds.test.js — what reviews found a peer could do, and cannot any more. */
'use strict';

const { describe, it } = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(60000) };
const OPEN = { channel: { without_namespace: kit.OPEN } };

async function open(t, gw) {
    const raw = await kit.RawSocket.connect(gw);
    kit.defer(t, () => raw.destroy());
    return raw;
}

describe('bounds: the API', LIMIT, () => {
    it('a list over 10,000 is refused whole, nothing of it is done',
        async (t) => {
            const gw = await kit.gateway(t, OPEN);
            const channels = Array.from({ length: 10001 }, () => 'a');
            const commands = channels.map(() =>
                ({ publish: { channel: 'a', data: 1 } }));
            for (const [method, body] of [
                ['broadcast', { channels, data: 1 }],
                ['batch', { commands }]]) {
                const answer = await kit.api(gw, method, body);
                assert.strictEqual(answer.json.error.code, 107, method);
            }
            const all = await kit.api(gw, 'broadcast',
                { channels: channels.slice(1), data: 1 });
            assert.strictEqual(all.json.result.responses.length, 10000);
        });

    it('a stranger is answered before a body is read', async (t) => {
        const gw = await kit.gateway(t, OPEN);
        const raw = await open(t, gw);
        raw.write('POST /api/publish HTTP/1.1\r\nHost: x\r\n' +
            'Content-Length: 500000\r\n\r\n');
        const [answer] = await raw.responses(1);
        assert.strictEqual(answer.status, 401);
    });

    it('per-user methods say whose: no user is 107, "" is the anonymous',
        async (t) => {
            const gw = await kit.gateway(t, OPEN);
            for (const method of ['disconnect', 'subscribe', 'unsubscribe']) {
                for (const body of [{ channel: 'a' },
                    { user: null, channel: 'a' },
                    { user: '\u0000joe', channel: 'a' }]) {
                    const answer = await kit.api(gw, method, body);
                    assert.strictEqual(answer.json.error?.code, 107,
                        `${method} ${JSON.stringify(body)}`);
                }
                const answer = await kit.api(gw, method,
                    { user: '', channel: 'a' });
                assert.deepStrictEqual(answer.json, { result: {} });
            }
        });

    it('without a key, a foreign page cannot publish', async (t) => {
        const gw = await kit.gateway(t, {
            ...OPEN,
            http_api: { insecure: true },
            client: { allowed_origins: ['https://mine.example'] },
        });
        for (const [origin, status] of [['https://evil.example', 403],
            ['https://mine.example', 200]]) {
            const answer = await kit.api(gw, 'publish',
                { channel: 'a', data: 1 }, { Origin: origin });
            assert.strictEqual(answer.status, status, origin);
        }
    });

    it('tags count as the publication they go out with', async (t) => {
        const gw = await kit.gateway(t, OPEN);
        const answer = await kit.api(gw, 'publish',
            { channel: 'a', data: 1, tags: { t: 'x'.repeat(65536) } });
        assert.strictEqual(answer.json.error.code, 107);
    });
});

describe('bounds: HTTP', LIMIT, () => {
    it('answers nobody reads are not piled up', async (t) => {
        const root = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-pages-'));
        kit.defer(t, () => fs.rmSync(root, { recursive: true }));
        fs.writeFileSync(path.join(root, 'index.html'), 'x'.repeat(400000));
        const gw = await kit.gateway(t,
            { ...OPEN, web: { enabled: true, root } });
        const raw = await open(t, gw);
        const before = gw.rssBytes();
        raw.socket.pause();
        raw.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2000));
        for (let i = 0; i < 20; i++) {
            const answer = await kit.request(gw, { path: '/health' });
            assert.strictEqual(answer.status, 200);
        }
        /* All 2,000 would be 800 MB. */
        const grown = gw.rssBytes() - before;
        assert.ok(grown < 300e6, `RSS grew by ${grown}`);
    });
});
