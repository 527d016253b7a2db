/* sse.test.js — event streams: weir's own /sse for a bare EventSource and
 * uni_sse of the protocol, byte for byte and through real clients. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const { EventSource } = require('eventsource');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(60000) };
const CHANNEL = {
    without_namespace: kit.OPEN,
    namespaces: [
        { name: 'pp', allow_patterns: true, ...kit.OPEN },
        { name: 'shut' },
        { name: 'bin', publication_data_format: 'binary', ...kit.OPEN },
    ],
};

describe('sse: the stream', LIMIT, () => {
    let gw;
    before(async () => { gw = await kit.startGateway({ channel: CHANNEL }); });
    after(() => gw?.stop());

    it('has the headers a proxy must see', async (t) => {
        const stream = await kit.sse(t, gw, '/sse?channel=a');
        assert.strictEqual(stream.status, 200);
        assert.match(stream.headers['content-type'],
            /^text\/event-stream(; ?charset=utf-8)?$/i);
        assert.match(stream.headers['cache-control'], /no-cache/);
        assert.strictEqual(stream.headers['x-accel-buffering'], 'no');
        assert.ok(!('content-length' in stream.headers));
    });

    it('events are one data line of JSON with channel and data',
        async (t) => {
            const stream = await kit.sse(t, gw, '/sse?channel=a');
            await kit.publish(gw, 'a', { x: 1 });
            const { raw } = await stream.next();
            assert.strictEqual(raw, 'data: {"channel":"a","data":{"x":1}}');
        });

    it('raw=1 gives the bare payload', async (t) => {
        const stream = await kit.sse(t, gw, '/sse?channel=a&raw=1');
        await kit.publish(gw, 'a', { x: 1 });
        assert.strictEqual((await stream.next()).raw, 'data: {"x":1}');
    });

    it('several channels come on one stream', async (t) => {
        const stream = await kit.sse(t, gw,
            '/sse?channel=a&channel=pp:b&channel=c%2Ed');
        await stream.next('session');
        for (const c of ['a', 'pp:b', 'c.d', 'other']) {
            await kit.publish(gw, c, c);
        }
        const got = [];
        for (let i = 0; i < 3; i++) got.push((await stream.next()).json);
        got.sort((a, b) => a.channel < b.channel ? -1 : 1);
        assert.deepStrictEqual(got, ['a', 'c.d', 'pp:b']
            .map((c) => ({ channel: c, data: c })));
        assert.strictEqual(stream.inbox.items.length, 0);
    });

    it('what matches several parameters comes once', async (t) => {
        const stream = await kit.sse(t, gw, '/sse?channel=pp:m.a' +
            '&channel=pp:m.*&channel=pp:%3E&channel=pp:m.a&channel=pp:*.a');
        await stream.next('session');
        await kit.publish(gw, 'pp:m.a', 1);
        await kit.publish(gw, 'pp:m.b', 2);
        await kit.publish(gw, 'pp:end', 3);
        const got = [];
        for (let i = 0; i < 3; i++) got.push((await stream.next()).json);
        assert.deepStrictEqual(got.map((e) => e.data).sort(), [1, 2, 3]);
        assert.deepStrictEqual(got.map((e) => e.channel).sort(),
            ['pp:end', 'pp:m.a', 'pp:m.b']);
        assert.strictEqual(stream.inbox.items.length, 0);
    });

    it('has a retry line, different per client', async (t) => {
        const seen = new Set();
        for (let i = 0; i < 12; i++) {
            const stream = await kit.sse(t, gw, '/sse?channel=a');
            await kit.waitFor(() => stream.retry !== null, 'retry line');
            assert.ok(Number.isInteger(stream.retry) && stream.retry > 0);
            assert.ok(stream.retry <= 10000, `retry ${stream.retry}`);
            seen.add(stream.retry);
        }
        assert.ok(seen.size > 1, `retry always ${[...seen]}`);
    });

    it('has bytes before the first event', async (t) => {
        const stream = await kit.sse(t, gw, '/sse?channel=quiet');
        await kit.waitFor(() => stream.text.length > 0, 'first bytes');
    });

    it('beats with comments that are no events', async (t) => {
        const quick = await kit.gateway(t, {
            channel: CHANNEL, sse: { ping_interval: '200ms' },
        });
        const stream = await kit.sse(t, quick, '/sse?channel=a');
        await stream.next('session');
        const first = stream.comments;
        await kit.waitFor(() => stream.comments >= first + 3, 'heartbeats');
        assert.strictEqual(stream.inbox.items.length, 0);
        await kit.publish(quick, 'a', 1);
        await stream.next();
    });

    it('every stream on every shard gets everything in order', async (t) => {
        const streams = [];
        for (let i = 0; i < 24; i++) {
            streams.push(await kit.sse(t, gw, '/sse?channel=all&raw=1'));
        }
        for (let n = 0; n < 100; n++) await kit.publish(gw, 'all', n);
        for (const stream of streams) {
            for (let n = 0; n < 100; n++) {
                assert.strictEqual((await stream.next()).data, String(n));
            }
        }
    });

    it('curl -N shows an event at once', async (t) => {
        const curl = kit.launch('curl',
            ['-sN', '--max-time', '30', gw.url('/sse?channel=curl')]);
        kit.defer(t, () => curl.child.kill());
        await kit.waitFor(() => curl.stdout.length > 0, 'stream is open');
        await kit.publish(gw, 'curl', { seen: true });
        await kit.waitFor(() => curl.stdout.includes(
            'data: {"channel":"curl","data":{"seen":true}}\n\n'),
        () => `event in ${JSON.stringify(curl.stdout)}`);
        assert.strictEqual(curl.end, null, 'curl still reads');
    });

    it('a client that leaves is forgotten', async (t) => {
        const stream = await kit.sse(t, gw, '/sse?channel=leaving');
        await kit.waitFor(async () => 'leaving' in
            (await kit.call(gw, 'channels', {})).channels, 'it is there');
        stream.close();
        await kit.waitFor(async () => !('leaving' in
            (await kit.call(gw, 'channels', {})).channels), 'it is gone');
    });

    it('bytes sent up an open stream harm nobody', async (t) => {
        const other = await kit.sse(t, gw, '/sse?channel=calm&raw=1');
        const talkers = [];
        for (const text of ['GET /health HTTP/1.1\r\nHost: x\r\n\r\n',
            'POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 2' +
            '\r\n\r\n{}', '\r\n\r\n', '\0\xff\0', 'x'.repeat(100000)]) {
            const raw = await kit.RawSocket.connect(gw);
            kit.defer(t, () => raw.destroy());
            raw.write(kit.httpBytes('GET', '/sse?channel=calm'));
            await raw.until((d) => d.includes('text/event-stream'),
                'stream');
            raw.write(text);
            talkers.push(raw);
        }
        for (let n = 0; n < 50; n++) await kit.publish(gw, 'calm', n);
        for (let n = 0; n < 50; n++) {
            assert.strictEqual((await other.next()).data, String(n));
        }
        for (let i = 0; i < 8; i++) {
            assert.strictEqual(
                (await kit.request(gw, { path: '/health' })).status, 200);
        }
    });

    it('a stream asked for behind another request: answered in order',
        async (t) => {
            const raw = await kit.RawSocket.connect(gw);
            kit.defer(t, () => raw.destroy());
            raw.write(kit.httpBytes('GET', '/health'));
            assert.strictEqual((await raw.response()).status, 200);
            raw.write(kit.httpBytes('GET', '/sse?channel=pipe'));
            await raw.until((d) => d.includes('text/event-stream'), 'open');
            await kit.publish(gw, 'pipe', 'through');
            await raw.until((d) => d.includes('"through"'), 'event');
        });

    it('in one packet with another request: that one is answered first',
        async (t) => {
            const raw = await kit.RawSocket.connect(gw);
            kit.defer(t, () => raw.destroy());
            raw.write(kit.httpBytes('GET', '/health') +
                kit.httpBytes('GET', '/sse?channel=pipe'));
            const [health] = await raw.responses(1);
            assert.ok(health.text.includes('broker'), health.text);
            await raw.until((d) => /^HTTP\/1\.1 (200|503) /.test(d),
                'the stream or 503');
        });
});

describe('sse: before the stream starts', LIMIT, () => {
    let gw;
    before(async () => {
        gw = await kit.startGateway({
            channel: CHANNEL, sse: { channel_limit: 4 },
            client: { allowed_origins: ['https://*.example.com'] },
        });
    });
    after(() => gw?.stop());

    const many = Array.from({ length: 5 }, (_, i) => `channel=c${i}`);
    for (const [status, what, path] of [
        [404, 'an unknown namespace', '/sse?channel=nope:x'],
        [403, 'a forbidden channel', '/sse?channel=shut:x'],
        [403, 'one forbidden channel of two', '/sse?channel=a&channel=shut:x'],
        [400, 'no channel', '/sse'],
        [400, 'an empty channel', '/sse?channel='],
        [400, 'too many channels', `/sse?${many.join('&')}`],
        [400, 'a bad name', '/sse?channel=a..b'],
        [400, 'a name with a space', '/sse?channel=a%20b'],
        [400, 'a name with a newline', '/sse?channel=a%0Ab'],
        [400, 'a name with NUL', '/sse?channel=a%00b'],
        [400, 'a pattern where none may be', '/sse?channel=a.*'],
        [400, 'a name of 256 bytes', `/sse?channel=${'c'.repeat(256)}`],
    ]) {
        it(`${status} with a JSON body for ${what}`, async (t) => {
            const stream = await kit.sse(t, gw, path);
            assert.strictEqual(stream.status, status);
            await stream.ended();
            assert.match(stream.headers['content-type'],
                /^application\/json/);
            const body = stream.json();
            assert.strictEqual(typeof body, 'object', stream.text);
            assert.ok(body.error, stream.text);
        });
    }

    it('405 for POST', async (t) => {
        const stream = await kit.sse(t, gw, '/sse?channel=a',
            { method: 'POST' });
        assert.strictEqual(stream.status, 405);
    });

    it('an allowed origin is named, a refused one gets 403', async (t) => {
        const origin = 'https://app.example.com';
        const good = await kit.sse(t, gw, '/sse?channel=a',
            { headers: { Origin: origin } });
        assert.strictEqual(good.status, 200);
        assert.strictEqual(good.headers['access-control-allow-origin'],
            origin);
        assert.strictEqual(good.headers['access-control-allow-credentials'],
            'true');
        const bad = await kit.sse(t, gw, '/sse?channel=a',
            { headers: { Origin: 'https://evil.example.org' } });
        assert.strictEqual(bad.status, 403);
        assert.ok(!('access-control-allow-origin' in bad.headers));
        const none = await kit.sse(t, gw, '/sse?channel=a');
        assert.strictEqual(none.status, 200);
    });

    it('an error tells an allowed origin why, so that a page can read it',
        async (t) => {
            const origin = 'https://app.example.com';
            const stream = await kit.sse(t, gw, '/sse?channel=nope:x',
                { headers: { Origin: origin } });
            assert.strictEqual(stream.status, 404);
            assert.strictEqual(
                stream.headers['access-control-allow-origin'], origin);
        });

    it('OPTIONS is answered for an allowed origin', async () => {
        const answer = await kit.request(gw, {
            method: 'OPTIONS', path: '/sse', headers: {
                Origin: 'https://app.example.com',
                'Access-Control-Request-Headers': 'x-one, x-two',
            },
        });
        assert.strictEqual(answer.status, 204);
        assert.strictEqual(answer.headers['access-control-allow-origin'],
            'https://app.example.com');
        assert.strictEqual(answer.headers['access-control-allow-headers'],
            'x-one, x-two');
    });

    it('404 when switched off', async (t) => {
        const off = await kit.gateway(t, { sse: { enabled: false } });
        const stream = await kit.sse(t, off, '/sse?channel=a');
        assert.strictEqual(stream.status, 404);
    });

    it('401 or 403 when anonymous clients may not connect', async (t) => {
        const strict = await kit.gateway(t, {
            channel: CHANNEL,
            client: { allow_anonymous_connect_without_token: false },
        });
        const stream = await kit.sse(t, strict, '/sse?channel=a');
        assert.ok([401, 403].includes(stream.status), `${stream.status}`);
    });
});

describe('sse: the end', LIMIT, () => {
    it('shutdown says event: disconnect with code and reason, then ends',
        async (t) => {
            const gw = await kit.gateway(t, { channel: CHANNEL });
            const streams = [];
            for (let i = 0; i < 8; i++) {
                streams.push(await kit.sse(t, gw, '/sse?channel=a'));
            }
            const stopping = gw.stop();
            for (const stream of streams) {
                const { json } = await stream.next('disconnect');
                assert.deepStrictEqual(json,
                    { code: 3001, reason: 'shutdown' });
                await stream.ended();
            }
            await stopping;
        });

    it('an API disconnect says so too', async (t) => {
        const gw = await kit.gateway(t, { channel: CHANNEL });
        const stream = await kit.sse(t, gw, '/sse?channel=a');
        await kit.call(gw, 'disconnect', { user: '' });
        const { json } = await stream.next('disconnect');
        assert.strictEqual(json.code, 3503);
        assert.ok(json.reason.length > 0);
        await stream.ended();
    });

    it('API verbs for the anonymous user do not disturb the events',
        async (t) => {
            const gw = await kit.gateway(t, { channel: CHANNEL });
            const stream = await kit.sse(t, gw,
                '/sse?channel=a&channel=b&raw=1');
            await kit.call(gw, 'subscribe', { user: '', channel: 'c' });
            await kit.call(gw, 'unsubscribe', { user: '', channel: 'a' });
            await kit.publish(gw, 'b', 'still');
            assert.strictEqual((await stream.next()).data, '"still"');
        });

    it('a reader that does not read is cut off, the others get all',
        async (t) => {
            const gw = await kit.gateway(t, {
                channel: CHANNEL, client: { queue_max_size: 65536 },
            });
            const slow = await kit.RawSocket.connect(gw);
            kit.defer(t, () => slow.destroy());
            slow.write(kit.httpBytes('GET', '/sse?channel=flood'));
            await slow.until((d) => d.includes('text/event-stream'), 'open');
            slow.socket.pause();
            const good = await kit.sse(t, gw, '/sse?channel=flood');
            const text = 'x'.repeat(60000);
            let sent = 0;
            await kit.waitFor(async () => {
                for (let i = 0; i < 20; i++, sent++) {
                    await kit.publish(gw, 'flood', { n: sent, text });
                }
                return kit.closesBy(await kit.metrics(gw), 'slow') > 0;
            }, 'the slow stream is closed', 30000);
            for (let n = 0; n < sent; n++) {
                assert.strictEqual((await good.next()).json.data.n, n);
            }
        });
});

describe('sse: EventSource', LIMIT, () => {
    function listen(t, gw, path) {
        const source = new EventSource(gw.url(path));
        source.got = [];
        source.onmessage = (event) => source.got.push(JSON.parse(event.data));
        kit.defer(t, () => source.close());
        return source;
    }

    function opened(source) {
        return kit.waitFor(() => source.readyState === EventSource.OPEN,
            'EventSource is open');
    }

    it('receives events', async (t) => {
        const gw = await kit.gateway(t, { channel: CHANNEL });
        const source = listen(t, gw, '/sse?channel=a&channel=pp:*');
        await opened(source);
        await kit.publish(gw, 'a', { n: 1 });
        await kit.publish(gw, 'pp:x', { n: 2 });
        await kit.waitFor(() => source.got.length === 2, 'two events');
        assert.deepStrictEqual(
            source.got.sort((a, b) => a.data.n - b.data.n),
            [{ channel: 'a', data: { n: 1 } },
                { channel: 'pp:x', data: { n: 2 } }]);
    });

    it('heals by itself when the gateway comes back', async (t) => {
        const gw = await kit.gateway(t,
            { channel: CHANNEL, sse: { retry: '100ms' } });
        const source = listen(t, gw, '/sse?channel=a');
        const why = [];
        source.addEventListener('disconnect',
            (event) => why.push(JSON.parse(event.data).code));
        await opened(source);
        await gw.stop();
        await kit.waitFor(() => source.readyState !== EventSource.OPEN,
            'EventSource noticed');
        assert.deepStrictEqual(why, [3001]);
        await gw.restart();
        await opened(source);
        await kit.waitFor(async () => {
            await kit.publish(gw, 'a', 1);
            return source.got.length > 0;
        }, 'events again');
    });
});

describe('uni_sse', LIMIT, () => {
    const PATH = '/connection/uni_sse';
    let gw;
    before(async () => {
        gw = await kit.startGateway({
            channel: CHANNEL, uni_sse: { enabled: true },
            client: { ping_interval: '400ms', pong_timeout: '200ms' },
        });
    });
    after(() => gw?.stop());

    function get(body) {
        return `${PATH}?cf_connect=${encodeURIComponent(
            typeof body === 'string' ? body : JSON.stringify(body))}`;
    }

    it('is off by default', async (t) => {
        const off = await kit.gateway(t, {});
        const stream = await kit.sse(t, off, PATH);
        assert.strictEqual(stream.status, 404);
    });

    it('GET with cf_connect: connect push first, then publications',
        async (t) => {
            const stream = await kit.sse(t, gw,
                get({ name: 'x', subs: { a: {}, 'pp:b': {} } }));
            assert.strictEqual(stream.status, 200);
            assert.strictEqual(stream.headers['x-accel-buffering'], 'no');
            const { connect } = await stream.member('connect');
            assert.ok(stream.text.startsWith('\r\ndata: {"connect":'),
                JSON.stringify(stream.text.slice(0, 60)));
            assert.match(connect.client, /^[0-9a-f-]{36}$/);
            assert.match(connect.session, /^[0-9a-f-]{36}$/);
            assert.deepStrictEqual(connect.subs, { a: {}, 'pp:b': {} });
            assert.ok(!('pong' in connect));
            await kit.publish(gw, 'a', { n: 1 });
            assert.deepStrictEqual(await stream.member('pub'),
                { channel: 'a', pub: { data: { n: 1 } } });
        });

    it('GET without cf_connect, and null, are an empty request',
        async (t) => {
            for (const path of [PATH, get('null'), get('{}')]) {
                const stream = await kit.sse(t, gw, path);
                const { connect } = await stream.member('connect');
                assert.ok(!('subs' in connect), JSON.stringify(connect));
            }
        });

    it('POST takes the request as body', async (t) => {
        const body = '{"subs":{"posted":{}}}';
        const stream = await kit.sse(t, gw, PATH, {
            method: 'POST', body,
            headers: { 'Content-Length': String(body.length) },
        });
        assert.strictEqual(stream.status, 200);
        const { connect } = await stream.member('connect');
        assert.deepStrictEqual(connect.subs, { posted: {} });
        await kit.publish(gw, 'posted', 1);
        assert.strictEqual((await stream.member('pub')).pub.data, 1);
    });

    it('pings with {} and expects nothing back', async (t) => {
        const stream = await kit.sse(t, gw, PATH);
        for (let i = 0; i < 4; i++) {
            await stream.inbox.take((e) => e.data === '{}', 'ping');
        }
    });

    it('patterns name the pattern and the channel', async (t) => {
        const stream = await kit.sse(t, gw, get({ subs: { 'pp:*': {} } }));
        await stream.member('connect');
        await kit.publish(gw, 'pp:q', 1);
        const push = await stream.member('pub');
        assert.strictEqual(push.channel, 'pp:*');
        assert.strictEqual(push.pub.channel, 'pp:q');
    });

    it('subscriptions that are not allowed are left out', async (t) => {
        const stream = await kit.sse(t, gw,
            get({ subs: { 'shut:x': {}, a: {} } }));
        const { connect } = await stream.member('connect');
        assert.deepStrictEqual(connect.subs, { a: {} });
    });

    it('an unknown namespace ends in a disconnect push 3501', async (t) => {
        const stream = await kit.sse(t, gw, get({ subs: { 'nope:x': {} } }));
        const { disconnect } = await stream.member('disconnect');
        assert.strictEqual(disconnect.code, 3501);
        await stream.ended();
    });

    it('no credentials end in a disconnect push', async (t) => {
        const strict = await kit.gateway(t, {
            uni_sse: { enabled: true },
            client: { allow_anonymous_connect_without_token: false },
        });
        const stream = await kit.sse(t, strict, PATH);
        assert.strictEqual(stream.status, 200);
        const { disconnect } = await stream.member('disconnect');
        assert.strictEqual(disconnect.code, 3501);
        await stream.ended();
    });

    for (const text of ['{', '[]', '5', '"x"', '{"subs":5}', 'x']) {
        it(`400 for cf_connect ${text}, GET and POST`, async (t) => {
            assert.strictEqual((await kit.sse(t, gw, get(text))).status, 400);
            const post = await kit.sse(t, gw, PATH, {
                method: 'POST', body: text,
                headers: { 'Content-Length': String(text.length) },
            });
            assert.strictEqual(post.status, 400);
        });
    }

    it('405 for other methods, 413 for a body over the limit',
        async (t) => {
            const del = await kit.sse(t, gw, PATH, { method: 'DELETE' });
            assert.strictEqual(del.status, 405);
            const body = JSON.stringify({ name: 'x'.repeat(65536) });
            const large = await kit.sse(t, gw, PATH, {
                method: 'POST', body,
                headers: { 'Content-Length': String(body.length) },
            });
            assert.strictEqual(large.status, 413);
        });

    it('origins are checked as everywhere', async (t) => {
        const bad = await kit.sse(t, gw, PATH,
            { headers: { Origin: 'https://evil.example.org' } });
        assert.strictEqual(bad.status, 403);
    });

    it('shutdown is a disconnect push 3001', async (t) => {
        const own = await kit.gateway(t, 
            { channel: CHANNEL, uni_sse: { enabled: true } });
        const stream = await kit.sse(t, own, PATH);
        await stream.member('connect');
        const stopping = own.stop();
        const push = await stream.member('disconnect');
        assert.deepStrictEqual(push,
            { disconnect: { code: 3001, reason: 'shutdown' } });
        await stream.ended();
        await stopping;
    });
});
