/* api.test.js — the server API: methods, errors, authorisation, and HTTP as
 * real clients and real attackers speak it. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const http = require('node:http');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(60000) };
const CHANNEL = {
    without_namespace: kit.OPEN,
    namespaces: [{ name: 'shut' }],
};

/* Every shard still answers: connections are spread by the kernel. */
async function assertAlive(gw) {
    const all = Array.from({ length: 12 },
        () => kit.request(gw, { path: '/health' }));
    for (const answer of await Promise.all(all)) {
        assert.strictEqual(answer.status, 200);
    }
}

async function rawSocket(t, gw) {
    const raw = await kit.RawSocket.connect(gw);
    kit.defer(t, () => raw.destroy());
    return raw;
}

describe('api: methods', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway({ channel: CHANNEL }); });
    after(() => gw?.stop());

    async function errorOf(method, body) {
        const answer = await kit.api(gw, method, body);
        assert.strictEqual(answer.status, 200);
        assert.deepStrictEqual(Object.keys(answer.json), ['error']);
        return answer.json.error;
    }

    it('publish answers {"result":{}}', async () => {
        const answer = await kit.api(gw, 'publish',
            { channel: 'a', data: { x: 1 } });
        assert.strictEqual(answer.status, 200);
        assert.match(answer.headers['content-type'], /^application\/json/);
        assert.strictEqual(answer.text, '{"result":{}}');
    });

    it('publish: 102 unknown namespace, 107 bad requests', async () => {
        assert.deepStrictEqual(
            await errorOf('publish', { channel: 'nope:x', data: 1 }),
            { code: 102, message: 'unknown channel' });
        for (const body of [{ data: 1 }, { channel: '', data: 1 },
            { channel: 'a' }, { channel: 'a..b', data: 1 },
            { channel: 5, data: 1 }, { channel: 'a', b64data: '***' },
            { channel: 'a', data: 1, tags: { x: 5 } },
            { channel: 'a', data: 1, tags: 'x' }, {}]) {
            const answer = await kit.api(gw, 'publish', body);
            const code = answer.json.error?.code;
            assert.ok(answer.status === 200 && code === 107,
                `${JSON.stringify(body)} -> ${answer.text}`);
        }
    });

    it('publish ignores fields that are for later', async () => {
        await kit.publish(gw, 'a', 1, {
            skip_history: true, idempotency_key: 'k', delta: true,
            version: 1, version_epoch: 'e', something: [1],
        });
    });

    it('107 over 64 KiB, 64 KiB itself passes', async () => {
        await kit.publish(gw, 'a', 'x'.repeat(65534));
        const error = await errorOf('publish',
            { channel: 'a', data: 'x'.repeat(65535) });
        assert.strictEqual(error.code, 107);
    });

    it('broadcast answers per channel, in order', async (t) => {
        const ws = await kit.connected(t, gw);
        for (const c of ['b1', 'b2']) await ws.subscribe(c);
        const result = await kit.call(gw, 'broadcast', {
            channels: ['b1', 'nope:x', 'b2', 'a..b'], data: { n: 1 },
            tags: { k: 'v' },
        });
        const codes = result.responses.map((r) => r.error?.code ?? r.result);
        assert.deepStrictEqual(codes, [{}, 102, {}, 107]);
        for (const c of ['b1', 'b2']) {
            const { data, tags } = await ws.pub(c);
            assert.deepStrictEqual({ data, tags },
                { data: { n: 1 }, tags: { k: 'v' } });
        }
    });

    it('broadcast without channels is 107', async () => {
        assert.strictEqual(
            (await errorOf('broadcast', { data: 1 })).code, 107);
    });

    it('batch answers each command under its name, in order', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('batched');
        const answer = await kit.api(gw, 'batch', {
            commands: [
                { publish: { channel: 'batched', data: 1 } },
                { publish: { channel: 'nope:x', data: 2 } },
                { broadcast: { channels: ['batched'], data: 3 } },
                { publish: { channel: 'batched', data: 4 } },
            ],
        });
        const { replies } = answer.json;
        assert.strictEqual(replies.length, 4, answer.text);
        assert.deepStrictEqual(replies[0], { publish: {} });
        assert.strictEqual(replies[1].error.code, 102);
        assert.deepStrictEqual(replies[2],
            { broadcast: { responses: [{ result: {} }] } });
        assert.deepStrictEqual(replies[3], { publish: {} });
        const got = await ws.pubs(3, 'batched');
        assert.deepStrictEqual(got.map((p) => p.data).sort(), [1, 3, 4]);
    });

    it('channels lists names with subscriber counts, by glob', async (t) => {
        const a = await kit.connected(t, gw);
        const b = await kit.connected(t, gw);
        for (const c of ['list.x', 'list.y', 'other']) await a.subscribe(c);
        await b.subscribe('list.x');
        const { channels } = await kit.call(gw, 'channels',
            { pattern: 'list.*' });
        assert.deepStrictEqual(channels, {
            'list.x': { num_clients: 2 }, 'list.y': { num_clients: 1 },
        });
        const all = (await kit.call(gw, 'channels', {})).channels;
        for (const c of ['list.x', 'list.y', 'other']) assert.ok(all[c]);
    });

    it('info describes this node', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('counted');
        const { nodes } = await kit.call(gw, 'info', {});
        assert.strictEqual(nodes.length, 1);
        const [node] = nodes;
        for (const key of ['uid', 'name', 'version']) {
            assert.ok(typeof node[key] === 'string' && node[key], key);
        }
        for (const key of ['num_clients', 'num_users', 'num_channels',
            'num_subs']) {
            assert.ok(node[key] >= 1, `${key} ${node[key]}`);
        }
        assert.ok(Number.isInteger(node.uptime) && node.uptime >= 0);
    });

    it('unsubscribe, disconnect and subscribe of nobody answer {}',
        async () => {
            for (const method of ['unsubscribe', 'subscribe']) {
                assert.deepStrictEqual(await kit.call(gw, method,
                    { user: 'nobody', channel: 'a' }), {});
            }
            assert.deepStrictEqual(
                await kit.call(gw, 'disconnect', { user: 'nobody' }), {});
        });

    it('an empty body is {}', async () => {
        const answer = await kit.api(gw, 'info', '');
        assert.ok([200, 400].includes(answer.status));
        await assertAlive(gw);
    });
});

describe('api: who may, and how errors look', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway({ channel: CHANNEL }); });
    after(() => gw?.stop());

    const body = '{"channel":"a","data":1}';

    function post(to, headers, path = '/api/publish') {
        return kit.request(to, {
            method: 'POST', path, body,
            headers: { 'Content-Length': body.length, ...headers },
        });
    }

    it('401 with an empty body without or with a wrong key', async () => {
        for (const headers of [{}, { 'X-API-Key': 'wrong' },
            { 'X-API-Key': '' }, { 'X-API-Key': 'test-key2' },
            { 'X-API-Key': 'test-ke' }, { Authorization: 'apikey no' },
            { Authorization: 'test-key' }]) {
            const answer = await post(gw, headers);
            assert.strictEqual(answer.status, 401, JSON.stringify(headers));
            assert.strictEqual(answer.text, '');
        }
    });

    it('takes the key as X-API-Key, Authorization or api_key', async () => {
        for (const [headers, path] of [
            [{ 'X-API-Key': 'test-key' }], [{ 'x-api-key': 'test-key' }],
            [{ Authorization: 'apikey test-key' }],
            [{}, '/api/publish?api_key=test-key'],
        ]) {
            const answer = await post(gw, headers, path);
            assert.strictEqual(answer.status, 200);
        }
    });

    it('without a configured key nobody may, unless http_api.insecure',
        async (t) => {
            const closed = await kit.gateway(t,
                { http_api: { key: '' }, channel: CHANNEL });
            for (const headers of [{}, { 'X-API-Key': '' },
                { 'X-API-Key': 'x' }]) {
                assert.strictEqual((await post(closed, headers)).status, 401);
            }
            const open = await kit.gateway(t, {
                http_api: { key: '', insecure: true }, channel: CHANNEL,
            });
            assert.strictEqual((await post(open, {})).status, 200);
        });

    it('404 when switched off', async (t) => {
        const off = await kit.gateway(t, { http_api: { disabled: true } });
        assert.strictEqual(
            (await post(off, { 'X-API-Key': 'test-key' })).status, 404);
    });

    it('405 for other methods than POST', async () => {
        for (const method of ['GET', 'PUT', 'DELETE', 'PATCH', 'HEAD']) {
            const answer = await kit.request(gw, {
                method, path: '/api/publish',
                headers: { 'X-API-Key': 'test-key' },
            });
            assert.strictEqual(answer.status, 405, method);
        }
    });

    it('400 for a body that is no JSON object', async () => {
        for (const text of ['{', 'x', '[]', '5', '{"channel":"a"}}',
            '{"channel":"\xff","data":1}', '{"a":1,}']) {
            const answer = await kit.api(gw, 'publish',
                Buffer.from(text, 'latin1'));
            assert.strictEqual(answer.status, 400, text);
        }
    });

    it('404 for an unknown method and an unknown path', async () => {
        assert.strictEqual((await kit.api(gw, 'dance', {})).status, 404);
        for (const path of ['/nope', '/api', '/api/', '/apix',
            '/healthy', '//']) {
            const answer = await kit.request(gw, { path });
            assert.ok([401, 404, 405].includes(answer.status),
                `${path} ${answer.status}`);
        }
        assert.strictEqual(
            (await kit.request(gw, { path: '/nope' })).status, 404);
    });

    it('error mode transport maps codes to statuses', async (t) => {
        const header = { 'X-Centrifugo-Error-Mode': 'transport' };
        const mapped = async (to, headers) => {
            const unknown = await kit.api(to, 'publish',
                { channel: 'nope:x', data: 1 }, headers);
            assert.strictEqual(unknown.status, 404);
            assert.deepStrictEqual(unknown.json,
                { code: 102, message: 'unknown channel' });
            const bad = await kit.api(to, 'publish', { channel: 'a' },
                headers);
            assert.strictEqual(bad.status, 400);
            assert.strictEqual(bad.json.code, 107);
            const good = await kit.api(to, 'publish',
                { channel: 'a', data: 1 }, headers);
            assert.strictEqual(good.status, 200);
            assert.deepStrictEqual(good.json, { result: {} });
        };
        await mapped(gw, header);
        const own = await kit.gateway(t, {
            channel: CHANNEL, http_api: { error_mode: 'transport' },
        });
        await mapped(own, {});
    });

    it('needs no Content-Type and takes any', async () => {
        for (const type of ['text/plain', 'application/json; charset=utf-8',
            'application/x-www-form-urlencoded']) {
            const answer = await kit.api(gw, 'publish',
                { channel: 'a', data: 1 }, { 'Content-Type': type });
            assert.strictEqual(answer.status, 200);
        }
    });
});

describe('api: HTTP', LIMIT, () => {
    let gw;
    before(async () => {
        gw = await kit.startGateway({
            channel: CHANNEL, http_server: { max_body_size: 200000 },
        });
    });
    after(() => gw?.stop());

    const one = (data) => kit.apiBytes(gw, 'publish', { channel: 'h', data });

    async function subscriber(t) {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('h');
        return ws;
    }

    async function assertGot(ws, expected) {
        const got = await ws.pubs(expected.length, 'h');
        assert.deepStrictEqual(got.map((p) => p.data), expected);
        assert.strictEqual(ws.inbox.items.length, 0);
    }

    it('keeps a connection alive', async () => {
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        const ports = new Set();
        for (let i = 0; i < 5; i++) {
            const text = JSON.stringify({ channel: 'h', data: i });
            await new Promise((resolve, reject) => {
                const req = http.request({
                    host: gw.host, port: gw.port, agent, method: 'POST',
                    path: '/api/publish', headers: {
                        'X-API-Key': gw.key, 'Content-Length': text.length,
                    },
                }, (res) => {
                    assert.strictEqual(res.statusCode, 200);
                    ports.add(res.socket.localPort);
                    res.resume();
                    res.on('end', resolve);
                });
                req.on('error', reject);
                req.end(text);
            });
        }
        agent.destroy();
        assert.strictEqual(ports.size, 1, 'one connection served all');
    });

    it('two POSTs in one packet: two answers, in order', async (t) => {
        const ws = await subscriber(t);
        const raw = await rawSocket(t, gw);
        raw.write(one(1) + one(2));
        const answers = await raw.responses(2);
        for (const a of answers) assert.strictEqual(a.text, '{"result":{}}');
        await assertGot(ws, [1, 2]);
        await assertAlive(gw);
    });

    it('50 pipelined POSTs: 50 answers and publications in order',
        async (t) => {
            const ws = await subscriber(t);
            const raw = await rawSocket(t, gw);
            const numbers = Array.from({ length: 50 }, (_, i) => i);
            raw.write(numbers.map(one).join(''));
            const answers = await raw.responses(50);
            assert.ok(answers.every((a) => a.status === 200));
            await assertGot(ws, numbers);
        });

    it('pipelined answers keep the order of different methods',
        async (t) => {
            const raw = await rawSocket(t, gw);
            raw.write(one(1) + kit.apiBytes(gw, 'dance', {}) +
                kit.apiBytes(gw, 'info', {}) +
                kit.apiBytes(gw, 'publish', { channel: 'nope:x', data: 1 }) +
                one(2));
            const answers = await raw.responses(5);
            assert.deepStrictEqual(answers.map((a) => a.status),
                [200, 404, 200, 200, 200]);
            assert.ok(answers[2].text.includes('"nodes"'));
            assert.ok(answers[3].text.includes('102'));
        });

    it('a publisher that waits for each answer keeps its order',
        async (t) => {
            const ws = await subscriber(t);
            const stream = await kit.sse(t, gw, '/sse?channel=h&raw=1');
            const numbers = Array.from({ length: 1000 }, (_, i) => i);
            for (const n of numbers) await kit.publish(gw, 'h', n);
            await assertGot(ws, numbers);
            for (const n of numbers) {
                assert.strictEqual((await stream.next()).data, String(n));
            }
        });

    /* P is a POST, G a GET; all in one packet on one connection. */
    for (const order of ['GG', 'PG', 'GP', 'GPP', 'PGP', 'PPGGPP',
        'GGGGPPPP']) {
        it(`${order} in one packet: all answered, nothing hangs`,
            async (t) => {
                const ws = await subscriber(t);
                const raw = await rawSocket(t, gw);
                const get = kit.httpBytes('GET', '/health');
                raw.write([...order].map((c, i) =>
                    c === 'P' ? one(i) : get).join(''));
                const answers = await raw.responses(order.length);
                for (const a of answers) assert.strictEqual(a.status, 200);
                await assertGot(ws, [...order].map((c, i) => [c, i])
                    .filter(([c]) => c === 'P').map(([, i]) => i));
                await assertAlive(gw);
            });
    }

    it('a GET first, then two POSTs in one packet on the same connection',
        async (t) => {
            const ws = await subscriber(t);
            const raw = await rawSocket(t, gw);
            raw.write(kit.httpBytes('GET', '/health'));
            assert.strictEqual((await raw.response()).status, 200);
            raw.write(one(1) + one(2));
            const answers = await raw.responses(2);
            for (const a of answers) assert.strictEqual(a.status, 200);
            await assertGot(ws, [1, 2]);
            await assertAlive(gw);
        });

    it('a request in single bytes is one request', async (t) => {
        const ws = await subscriber(t);
        const raw = await rawSocket(t, gw);
        await raw.writePieces(one('slowly'));
        assert.strictEqual((await raw.response()).status, 200);
        await assertGot(ws, ['slowly']);
    });

    it('a body in many packets, up to the limit', async (t) => {
        const ws = await subscriber(t);
        const channels = Array.from({ length: 10 }, () => 'h');
        const text = JSON.stringify(
            { channels, data: 'x'.repeat(60000) });
        const raw = await rawSocket(t, gw);
        await raw.writePieces(kit.apiBytes(gw, 'broadcast', text), 1000);
        assert.strictEqual((await raw.response()).status, 200);
        await ws.pubs(10, 'h');
        const full = text + ' '.repeat(200000 - text.length);
        assert.strictEqual(
            (await kit.api(gw, 'broadcast', full)).status, 200);
        await ws.pubs(10, 'h');
    });

    it('a chunked body, also cut anywhere', async (t) => {
        const ws = await subscriber(t);
        const bytes = kit.httpBytes('POST', '/api/publish', {
            'X-API-Key': gw.key, 'Transfer-Encoding': 'chunked',
        }, '5\r\n{"cha\r\n1;ext=1\r\nn\r\n13\r\nnel":"h","data":"c"\r\n' +
            '1\r\n}\r\n0\r\nTrailer: x\r\n\r\n');
        const raw = await rawSocket(t, gw);
        raw.write(bytes);
        assert.strictEqual((await raw.response()).status, 200);
        await raw.writePieces(bytes, 7);
        assert.strictEqual((await raw.response()).status, 200);
        await assertGot(ws, ['c', 'c']);
    });

    it('Expect: 100-continue is answered before the body', async (t) => {
        const ws = await subscriber(t);
        const raw = await rawSocket(t, gw);
        const text = '{"channel":"h","data":"after"}';
        raw.write(kit.httpBytes('POST', '/api/publish', {
            'X-API-Key': gw.key, 'Content-Length': text.length,
            Expect: '100-continue',
        }));
        assert.strictEqual((await raw.response()).status, 100);
        raw.write(text);
        assert.strictEqual((await raw.response()).status, 200);
        await assertGot(ws, ['after']);
    });

    it('413 over http_server.max_body_size, before the body is sent',
        async (t) => {
            const raw = await rawSocket(t, gw);
            raw.write(kit.httpBytes('POST', '/api/publish', {
                'X-API-Key': gw.key, 'Content-Length': 200001,
            }));
            assert.strictEqual((await raw.response()).status, 413);
            await raw.untilClosed('after 413');
        });

    it('413 for a chunked body over the limit', async (t) => {
        const raw = await rawSocket(t, gw);
        raw.write(kit.httpBytes('POST', '/api/publish', {
            'X-API-Key': gw.key, 'Transfer-Encoding': 'chunked',
        }));
        const chunk = `2710\r\n${' '.repeat(10000)}\r\n`;
        for (let i = 0; i < 21; i++) raw.write(chunk);
        assert.strictEqual((await raw.response()).status, 413);
        await raw.untilClosed('after 413');
    });

    it('Connection: close is honoured', async (t) => {
        const raw = await rawSocket(t, gw);
        raw.write(kit.apiBytes(gw, 'info', {}, { Connection: 'close' }));
        assert.strictEqual((await raw.response()).status, 200);
        await raw.untilClosed('as asked');
    });

    it('HTTP/1.0 is answered and closed', async (t) => {
        const raw = await rawSocket(t, gw);
        raw.write(kit.apiBytes(gw, 'info', {})
            .replace('HTTP/1.1', 'HTTP/1.0'));
        assert.strictEqual((await raw.response()).status, 200);
        await raw.untilClosed('HTTP/1.0');
    });

    it('an idle kept-alive connection is closed in time', async (t) => {
        const own = await kit.gateway(t, {
            http_server: { idle_timeout: kit.duration(300) },
        });
        for (const bytes of [kit.apiBytes(own, 'info', {}),
            kit.httpBytes('GET', '/health')]) {
            const raw = await rawSocket(t, own);
            raw.write(bytes);
            assert.strictEqual((await raw.response()).status, 200);
            await raw.untilClosed('idle');
        }
    });

    /* Two readings of where a request ends are how requests are smuggled. */
    const inner = 'POST /api/publish HTTP/1.1\r\nHost: x\r\n' +
        'X-API-Key: test-key\r\nContent-Length: 30\r\n\r\n' +
        '{"channel":"h","data":"inner"}';
    for (const [what, headers, text] of [
        ['both Content-Length and Transfer-Encoding',
            'Content-Length: 5\r\nTransfer-Encoding: chunked',
            '0\r\n\r\n'],
        ['both, the other way round',
            'Transfer-Encoding: chunked\r\nContent-Length: 5',
            '0\r\n\r\n'],
        ['two different Content-Lengths',
            'Content-Length: 0\r\nContent-Length: 30', ''],
        ['a Content-Length with a sign', 'Content-Length: +2', '{}'],
        ['a negative Content-Length', 'Content-Length: -1', ''],
        ['a hexadecimal Content-Length', 'Content-Length: 0x2', '{}'],
        ['a Content-Length with a list', 'Content-Length: 2, 3', '{}'],
        ['a Content-Length of two words', 'Content-Length: 2 2', '{}'],
        ['an empty Content-Length', 'Content-Length:', '{}'],
        ['a Content-Length beyond 64 bits',
            'Content-Length: 18446744073709551618', '{}'],
        ['a space before the colon', 'Content-Length : 2', '{}'],
        ['an unknown Transfer-Encoding', 'Transfer-Encoding: magic', '{}'],
        ['chunked not last', 'Transfer-Encoding: chunked, magic',
            '0\r\n\r\n'],
        ['a chunk size that is no number', 'Transfer-Encoding: chunked',
            'zz\r\n{}\r\n0\r\n\r\n'],
        ['a chunk size beyond 64 bits', 'Transfer-Encoding: chunked',
            '10000000000000002\r\n{}\r\n0\r\n\r\n'],
        ['a chunk longer than it says', 'Transfer-Encoding: chunked',
            '2\r\n{}{}\r\n0\r\n\r\n'],
    ]) {
        it(`400 and close for ${what}`, async (t) => {
            const ws = await subscriber(t);
            const raw = await rawSocket(t, gw);
            raw.write(`POST /api/info HTTP/1.1\r\nHost: x\r\n` +
                `X-API-Key: test-key\r\n${headers}\r\n\r\n${text}${inner}`);
            const { status } = await raw.response();
            assert.ok([400, 413, 501].includes(status), `${status}`);
            await raw.untilClosed('a connection nobody can trust');
            await kit.publish(gw, 'h', 'outer');
            assert.strictEqual((await ws.pub('h')).data, 'outer',
                'what was hidden in the body was not obeyed');
        });
    }
});

describe('api: health and metrics', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway({ channel: CHANNEL }); });
    after(() => gw?.stop());

    it('GET /health is 200 with the broker as JSON', async () => {
        const answer = await kit.request(gw, { path: '/health' });
        assert.strictEqual(answer.status, 200);
        assert.match(answer.headers['content-type'], /^application\/json/);
        assert.ok(answer.json.broker !== undefined, answer.text);
    });

    it('HEAD has no body and the same length', async () => {
        for (const path of ['/health', '/nope']) {
            const get = await kit.request(gw, { path });
            const head = await kit.request(gw, { method: 'HEAD', path });
            assert.strictEqual(head.status, get.status);
            assert.strictEqual(head.text, '');
        }
    });

    it('pipelined HEAD and GET stay apart', async (t) => {
        const raw = await rawSocket(t, gw);
        raw.write(kit.httpBytes('HEAD', '/health') +
            kit.httpBytes('HEAD', '/health') +
            kit.apiBytes(gw, 'info', {}));
        const answers = await raw.responses(3, [0, 1]);
        assert.deepStrictEqual(answers.map((a) => a.status),
            [200, 200, 200]);
        assert.ok(answers[2].text.includes('"nodes"'));
    });

    it('metrics are Prometheus text with types', async () => {
        const answer = await kit.request(gw, { path: '/metrics' });
        assert.match(answer.headers['content-type'], /^text\/plain/);
        const m = new kit.Metrics(answer.text);
        for (const sample of m.samples) {
            const base = sample.name.replace(/_(bucket|sum|count)$/, '');
            assert.ok(m.types.has(sample.name) || m.types.has(base),
                `TYPE of ${sample.name}`);
        }
        for (const [name, type] of m.types) {
            if (type === 'counter') assert.match(name, /_total$/);
        }
    });

    it('counters count', async (t) => {
        const a = await kit.connected(t, gw);
        const b = await kit.sse(t, gw, '/sse?channel=m');
        await a.subscribe('m');
        const before = await kit.metrics(gw);
        for (let i = 0; i < 10; i++) await kit.publish(gw, 'm', i);
        await a.command('publish', { channel: 'm', data: 10 });
        await a.pubs(11, 'm');
        for (let i = 0; i < 11; i++) await b.next();
        const grown = async (name, labels) =>
            (await kit.metrics(gw)).sum(name, labels) -
            before.sum(name, labels);
        assert.strictEqual(
            await grown('weir_publications_in_total', { source: 'api' }), 10);
        assert.strictEqual(await grown('weir_publications_in_total',
            { source: 'client' }), 1);
        assert.strictEqual(await grown('weir_deliveries_total'), 22);
        assert.ok(await grown('weir_bytes_total', { direction: 'out' }) > 0);
        assert.ok(await grown('weir_http_requests_total') >= 10);
    });

    it('gauges follow connections, subscriptions and channels', async (t) => {
        const gauge = async (pattern) => {
            const m = await kit.metrics(gw);
            const names = [...m.types.keys()].filter((n) => pattern.test(n) &&
                m.types.get(n) === 'gauge');
            assert.ok(names.length > 0, `a gauge like ${pattern}`);
            return names.reduce((sum, n) => sum + m.sum(n), 0);
        };
        const patterns = [/^weir_.*(clients|connections)$/,
            /^weir_.*subscriptions$/, /^weir_.*channels$/];
        const before = [];
        for (const p of patterns) before.push(await gauge(p));
        const ws = await kit.connected(t, gw);
        await ws.subscribe('gauge.1');
        await ws.subscribe('gauge.2');
        const during = [];
        for (const p of patterns) during.push(await gauge(p));
        during.forEach((n, i) => assert.ok(n > before[i], `${patterns[i]}`));
        ws.socket.terminate();
        await kit.waitFor(async () => {
            const now = [];
            for (const p of patterns) now.push(await gauge(p));
            return now.every((n, i) => n <= before[i]);
        }, 'the gauges return');
    });

    it('histograms are cumulative and complete', async () => {
        await kit.publish(gw, 'm', 1);
        const m = await kit.metrics(gw);
        const names = [...m.types].filter(([, t]) => t === 'histogram')
            .map(([n]) => n);
        assert.ok(names.length >= 2, `histograms: ${names}`);
        for (const name of names) {
            const shards = new Map();
            for (const s of m.samples) {
                if (s.name !== `${name}_bucket`) continue;
                const { le, ...rest } = s.labels;
                const key = JSON.stringify(rest);
                if (!shards.has(key)) shards.set(key, { rest, list: [] });
                shards.get(key).list.push([Number(
                    le.replace('+Inf', 'Infinity')), s.value]);
            }
            /* One for each rate that something was delivered at. */
            const byClass = name === 'weir_throttle_staleness_seconds';
            assert.ok(shards.size > 0 || byClass, name);
            for (const { rest, list } of shards.values()) {
                for (let i = 1; i < list.length; i++) {
                    assert.ok(list[i][0] > list[i - 1][0]);
                    assert.ok(list[i][1] >= list[i - 1][1]);
                }
                assert.strictEqual(list.at(-1)[0], Infinity);
                assert.strictEqual(list.at(-1)[1],
                    m.sum(`${name}_count`, rest));
            }
        }
    });

    it('both can be switched off and moved', async (t) => {
        const own = await kit.gateway(t, {
            health: { handler_prefix: '/health' },
            prometheus: { enabled: false },
        });
        assert.strictEqual(
            (await kit.request(own, { path: '/metrics' })).status, 404);
        const moved = await kit.gateway(t,
            { prometheus: { handler_prefix: '/inner/metrics' } });
        assert.strictEqual(
            (await kit.request(moved, { path: '/inner/metrics' })).status,
            200);
    });

    it('logs name neither payloads nor keys', async (t) => {
        const own = await kit.gateway(t,
            { log: { level: 'debug' }, channel: CHANNEL });
        const ws = await kit.connected(t, own);
        await ws.subscribe('quiet');
        await kit.publish(own, 'quiet', 'SECRETPAYLOAD');
        await ws.pub('quiet');
        ws.send('{"publish":{"channel":"quiet","data":"SECRETPAYLOAD"},' +
            '"id":9}');
        await ws.reply(9);
        await kit.api(own, 'publish', '{"SECRETPAYLOAD"');
        await own.stop();
        assert.doesNotMatch(own.stderr, /SECRETPAYLOAD|test-key/);
        for (const line of own.stderr.trim().split('\n')) {
            assert.match(line, /^ts=\S+ level=\w+ event=\w+/);
        }
    });
});
