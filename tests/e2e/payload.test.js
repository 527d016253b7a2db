/* payload.test.js — payload bytes leave exactly as they were published, on
 * every way in and out; who published is told when it was a client. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(60000) };

/* what, text as published */
const EXACT = [
    ['big integers', '{"n":123456789012345678901234567890}'],
    ['numbers no double can hold', '[1e400,-0,0.10,1E+2,1.000000000000001]'],
    ['odd spacing', '{  "a" :\t[ 1 ,2 ]  , "b":{ } }'],
    ['unicode escapes', '"\\u00e9\\u0041\\ud83d\\ude00\\/\\b"'],
    ['raw UTF-8', '"caf\u00e9 \u{1f600} \u2028\u2029"'],
    ['duplicate keys', '{"a":1,"a":2}'],
    ['a lone surrogate escape', '"\\ud800"'],
    ['escaped control characters', '"\\n\\r\\t\\u0000"'],
    ['keys that look like ours', '{"push":{"channel":"x"},"data":{"id":1}}'],
    ['a bare string', '"plain"'],
    ['a bare number', '42'],
    ['an empty string', '""'],
    ['false', 'false'],
    ['deep nesting', '['.repeat(40) + ']'.repeat(40)],
    ['HTML', '"<script>alert(1)</script>&amp;"'],
];

describe('payload: bytes', LIMIT, () => {
    let gw;
    before(async () => {
        gw = await kit.startGateway({
            uni_sse: { enabled: true },
            channel: { without_namespace: kit.OPEN },
        });
    });
    after(() => gw?.stop());

    function expected(channel, text) {
        return `{"push":{"channel":"${channel}","pub":{"data":${text}}}}`;
    }

    for (const [what, text] of EXACT) {
        it(`${what}: kept from API and client to WebSocket and SSE`,
            async (t) => {
                const ws = await kit.connected(t, gw);
                const raw = await kit.sse(t, gw, '/sse?channel=p&raw=1');
                const stream = await kit.sse(t, gw, '/sse?channel=p');
                await ws.subscribe('p');

                const answer = await kit.api(gw, 'publish',
                    `{"channel":"p","data":${text}}`);
                assert.deepStrictEqual(answer.json, { result: {} });
                assert.strictEqual((await ws.push('p')).raw,
                    expected('p', text));
                assert.strictEqual((await raw.next()).data, text);
                assert.strictEqual((await stream.next()).data,
                    `{"channel":"p","data":${text}}`);

                ws.send(`{"publish":{"channel":"p","data":${text}},"id":9}`);
                const { raw: push } = await ws.push('p');
                assert.ok(push.includes(`"data":${text}`), push);
                assert.strictEqual((await raw.next()).data, text);
            });
    }

    it('CR and LF outside strings are removed, nothing else', async (t) => {
        const ws = await kit.connected(t, gw);
        const raw = await kit.sse(t, gw, '/sse?channel=nl&raw=1');
        await ws.subscribe('nl');
        await kit.api(gw, 'publish',
            '{"channel":"nl","data":{\r\n  "a":\n[1,\r\n\n 2 ],\n' +
            '"s":"x\\ny"\r}\n}');
        const text = '{  "a":[1, 2 ],"s":"x\\ny"}';
        assert.strictEqual((await ws.push('nl')).raw, expected('nl', text));
        assert.strictEqual((await raw.next()).data, text);
    });

    it('b64data is the payload, byte for byte', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('b64');
        const text = '{"a" : "\u00e9"}';
        await kit.call(gw, 'publish', {
            channel: 'b64',
            b64data: Buffer.from(text).toString('base64'),
        });
        assert.strictEqual((await ws.push('b64')).raw,
            expected('b64', text));
    });

    it('64 KiB arrive whole, and several of them at once', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('large');
        const text = '"' + 'y'.repeat(65534) + '"';
        for (let i = 0; i < 10; i++) {
            await kit.api(gw, 'publish',
                `{"channel":"large","data":${text}}`);
        }
        for (let i = 0; i < 10; i++) {
            assert.strictEqual((await ws.push('large')).raw,
                expected('large', text));
        }
    });

    it('every payload size around the frame-length borders arrives',
        async (t) => {
            const ws = await kit.connected(t, gw);
            await ws.subscribe('sz');
            const sizes = [];
            for (const border of [125, 126, 65535, 65536]) {
                for (let d = -80; d <= 4; d++) sizes.push(border + d);
            }
            const fits = sizes.filter((n) => n >= 2 && n <= 65536);
            for (const size of fits) {
                await kit.publish(gw, 'sz', 'z'.repeat(size - 2));
            }
            for (const size of fits) {
                const pub = await ws.pub('sz');
                assert.strictEqual(pub.data.length, size - 2);
            }
        });

    it('channel names are escaped where they must be', async (t) => {
        const ws = await kit.connected(t, gw);
        const channel = 'q"uo\\te';
        await ws.subscribe(channel);
        const stream = await kit.sse(t, gw,
            `/sse?channel=${encodeURIComponent(channel)}`);
        await kit.publish(gw, channel, 1);
        assert.strictEqual((await ws.push()).push.channel, channel);
        assert.strictEqual((await stream.next()).json.channel, channel);
    });
});

describe('payload: info and tags', LIMIT, () => {
    let gw;
    before(async () => {
        gw = await kit.startGateway(
            { channel: { without_namespace: kit.OPEN } });
    });
    after(() => gw?.stop());

    it('a client publication names its client, an API one nobody',
        async (t) => {
            const a = await kit.connected(t, gw);
            const b = await kit.connected(t, gw);
            await a.subscribe('who');
            await b.subscribe('who');
            await a.command('publish', { channel: 'who', data: 1 });
            const info = { user: '', client: a.id };
            assert.deepStrictEqual((await a.pub('who')).info, info);
            assert.deepStrictEqual((await b.pub('who')).info, info);
            await kit.publish(gw, 'who', 2);
            assert.ok(!('info' in await b.pub('who')));
        });

    it('tags of the API reach subscribers, escaped as JSON', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('tag');
        const tags = { k: 'v', 'q"': 'line\nbreak', '\u00e9': '\u{1f600}' };
        await kit.publish(gw, 'tag', 1, { tags });
        assert.deepStrictEqual((await ws.pub('tag')).tags, tags);
    });
});
