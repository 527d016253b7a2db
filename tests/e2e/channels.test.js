/* channels.test.js — what a channel name may be, what a namespace allows,
 * and what a pattern brings. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(60000) };

function namespace(name, ...options) {
    return { name, ...Object.fromEntries(options.map((o) => [o, true])) };
}

const SUB = 'allow_subscribe_for_client';
const SUB_ANON = 'allow_subscribe_for_anonymous';
const PUB = 'allow_publish_for_client';
const PUB_SUB = 'allow_publish_for_subscriber';
const PUB_ANON = 'allow_publish_for_anonymous';

/* namespace options, may an anonymous client subscribe, may it publish */
const RIGHTS = [
    ['none', [], false, false],
    ['sub', [SUB], false, false],
    ['subanon', [SUB, SUB_ANON], true, false],
    ['anononly', [SUB_ANON, PUB_ANON], false, false],
    ['pub', [PUB], false, false],
    ['pubanon', [PUB, PUB_ANON], false, true],
    ['both', [SUB, SUB_ANON, PUB, PUB_ANON], true, true],
];

describe('channels: rights of namespaces', LIMIT, () => {
    let gw;
    let insecure;
    before(async () => {
        const channel = {
            namespaces: [
                ...RIGHTS.map(([name, options]) =>
                    namespace(name, ...options)),
                namespace('wall', SUB, SUB_ANON, PUB_SUB, PUB_ANON),
                namespace('wallnot', SUB, SUB_ANON, PUB_SUB),
            ],
        };
        gw = await kit.startGateway({ channel });
        insecure = await kit.startGateway(
            { channel, client: { insecure: true } });
    });
    after(async () => {
        await gw?.stop();
        await insecure?.stop();
    });

    for (const [name, options, maySubscribe, mayPublish] of RIGHTS) {
        it(`${name} [${options}]: subscribe ${maySubscribe}, ` +
            `publish ${mayPublish}`, async (t) => {
            const ws = await kit.connected(t, gw);
            const channel = `${name}:x`;
            const sub = await ws.command('subscribe', { channel });
            assert.strictEqual(sub.error?.code,
                maySubscribe ? undefined : 103);
            const pub = await ws.command('publish', { channel, data: 1 });
            assert.strictEqual(pub.error?.code,
                mayPublish ? undefined : 103);
        });
    }

    it('allow_publish_for_subscriber: only while subscribed', async (t) => {
        const ws = await kit.connected(t, gw);
        const say = { channel: 'wall:x', data: 1 };
        await ws.refused('publish', say, 103);
        await ws.subscribe('wall:x');
        assert.ok((await ws.command('publish', say)).publish);
        await ws.command('unsubscribe', { channel: 'wall:x' });
        await ws.refused('publish', say, 103);
    });

    it('allow_publish_for_subscriber needs _anonymous for the nameless',
        async (t) => {
            const ws = await kit.connected(t, gw);
            await ws.subscribe('wallnot:x');
            await ws.refused('publish',
                { channel: 'wallnot:x', data: 1 }, 103);
        });

    it('client.insecure allows everything known', async (t) => {
        const ws = await kit.connected(t, insecure);
        for (const [name] of RIGHTS) {
            await ws.subscribe(`${name}:x`);
            assert.ok((await ws.command('publish',
                { channel: `${name}:x`, data: 1 })).publish);
        }
        await ws.refused('subscribe', { channel: 'nope:x' }, 102);
    });

    it('the API publishes where clients may not', async () => {
        await kit.publish(gw, 'none:x', 1);
    });
});

const LONGEST = 'c'.repeat(255);
const BAD_NAMES = [
    ['256 bytes', 'c'.repeat(256)],
    ['10,000 bytes', 'c'.repeat(10000)],
    ['an empty token', 'a..b'],
    ['a leading dot', '.a'],
    ['a trailing dot', 'a.'],
    ['a space', 'a b'],
    ['a tab', 'a\tb'],
    ['a newline', 'a\nb'],
    ['a carriage return', 'a\rb'],
    ['NUL', 'a\0b'],
    ['DEL', 'a\x7fb'],
    ['a token *', 'a.*'],
    ['only *', '*'],
    ['only >', '>'],
    ['a last >', 'a.>'],
    ['> before the end', 'a.>.b'],
    ['nothing behind the namespace', 'open:'],
    ['non-ASCII without a regex', 'caf\u00e9'],
];

describe('channels: names', LIMIT, () => {
    let gw;
    before(async () => {
        gw = await kit.startGateway({
            channel: {
                without_namespace: kit.OPEN,
                namespaces: [
                    { name: 'open', ...kit.OPEN },
                    { name: 'rx', channel_regex: '^[a-z]{2,4}$',
                        ...kit.OPEN },
                    { name: 'uni', channel_regex: '.', ...kit.OPEN },
                ],
            },
        });
    });
    after(() => gw?.stop());

    for (const [what, channel] of BAD_NAMES) {
        it(`107 for ${what}`, async (t) => {
            const ws = await kit.connected(t, gw);
            await ws.refused('subscribe', { channel }, 107);
            await ws.refused('publish', { channel, data: 1 }, 107);
            await ws.subscribe('fine');
        });
    }

    for (const channel of [LONGEST, 'a', 'a.b.c', 'a-b_c/d', 'a*b', 'x>y',
        'open:a:b', 'open:a.b', '\u0041', 'quote"d', 'back\\slash']) {
        it(`takes ${JSON.stringify(channel).slice(0, 20)}`, async (t) => {
            const ws = await kit.connected(t, gw);
            await ws.subscribe(channel);
            await kit.publish(gw, channel, 1);
            assert.strictEqual((await ws.pub(channel)).data, 1);
        });
    }

    it('channel_regex decides on the part behind the namespace',
        async (t) => {
            const ws = await kit.connected(t, gw);
            await ws.subscribe('rx:abc');
            for (const channel of ['rx:a', 'rx:abcde', 'rx:ABC', 'rx:a1']) {
                await ws.refused('subscribe', { channel }, 107);
                await ws.refused('publish', { channel, data: 1 }, 107);
            }
        });

    it('a namespace with a regex may have non-ASCII names', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('uni:caf\u00e9.\u{1f600}');
        await kit.publish(gw, 'uni:caf\u00e9.\u{1f600}', 1);
        await ws.pub('uni:caf\u00e9.\u{1f600}');
    });

    it('a name spelled with escapes is the same channel', async (t) => {
        const ws = await kit.connected(t, gw);
        ws.send('{"subscribe":{"channel":"sp\\u0065lled"},"id":2}');
        await ws.reply(2);
        await kit.publish(gw, 'spelled', 1);
        await ws.pub('spelled');
    });

    it('unsubscribing from a bad name does not hurt', async (t) => {
        const ws = await kit.connected(t, gw);
        for (const [, channel] of BAD_NAMES) {
            const reply = await ws.command('unsubscribe', { channel });
            assert.ok(reply.unsubscribe, JSON.stringify(reply));
        }
    });
});

describe('channels: patterns', LIMIT, () => {
    let gw;
    before(async () => {
        const open = { ...kit.OPEN, allow_patterns: true };
        gw = await kit.startGateway({
            channel: {
                without_namespace: kit.OPEN,
                namespaces: [
                    { name: 'pp', ...open },
                    { name: 'qq', ...open },
                    { name: 'plain', ...kit.OPEN },
                ],
            },
        });
    });
    after(() => gw?.stop());

    it('the push names the pattern, the publication the channel',
        async (t) => {
            const ws = await kit.connected(t, gw);
            assert.deepStrictEqual(await ws.subscribe('pp:a.*'), {});
            await kit.publish(gw, 'pp:a.b', { n: 1 });
            const { push } = await ws.push();
            assert.deepStrictEqual(push, {
                channel: 'pp:a.*',
                pub: {
                    data: { n: 1 }, channel: 'pp:a.b',
                    tags: { channel: 'pp:a.b' },
                },
            });
        });

    it('tags of the publication stay beside tags.channel', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('pp:t.*');
        await kit.publish(gw, 'pp:t.x', 1, { tags: { k: 'v' } });
        const { push } = await ws.push();
        assert.deepStrictEqual(push.pub.tags, { k: 'v', channel: 'pp:t.x' });
    });

    it('empty tags, also with white space, stay JSON', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('pp:e.*');
        for (const tags of ['{}', '{ }', '{\n}', 'null']) {
            await kit.api(gw, 'publish',
                `{"channel":"pp:e.x","data":1,"tags":${tags}}`);
            assert.deepStrictEqual((await ws.pub('pp:e.*')).tags,
                { channel: 'pp:e.x' }, tags);
        }
    });

    it('a tag named channel does not hide the channel', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('pp:h.*');
        await kit.publish(gw, 'pp:h.x', 1, { tags: { channel: 'other' } });
        assert.strictEqual((await ws.pub('pp:h.*')).tags.channel, 'pp:h.x');
    });

    it('* is one token, > is one or more', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('pp:m.*.z');
        await ws.subscribe('pp:m.>');
        for (const channel of ['pp:m', 'pp:m.y', 'pp:m.y.z', 'pp:m.y.y.z',
            'pp:mm.y.z', 'pp:m.end']) {
            await kit.publish(gw, channel, channel);
        }
        const tail = await ws.pubs(4, 'pp:m.>');
        assert.deepStrictEqual(tail.map((p) => p.channel).sort(),
            ['pp:m.end', 'pp:m.y', 'pp:m.y.y.z', 'pp:m.y.z']);
        const one = await ws.pub('pp:m.*.z');
        assert.strictEqual(one.channel, 'pp:m.y.z');
        assert.strictEqual(ws.inbox.items.length, 0);
    });

    it('each matching subscription gets it once, exact ones too',
        async (t) => {
            const ws = await kit.connected(t, gw);
            for (const channel of ['pp:o.a', 'pp:o.*', 'pp:>', 'pp:*.a']) {
                await ws.subscribe(channel);
            }
            await kit.publish(gw, 'pp:o.a', 1);
            const pushes = [];
            for (let i = 0; i < 4; i++) pushes.push((await ws.push()).push);
            assert.deepStrictEqual(pushes.map((p) => p.channel).sort(),
                ['pp:*.a', 'pp:>', 'pp:o.*', 'pp:o.a']);
            const exact = pushes.find((p) => p.channel === 'pp:o.a');
            assert.deepStrictEqual(exact.pub, { data: 1 });
        });

    it('a pattern reaches every shard', async (t) => {
        const all = [];
        for (let i = 0; i < 16; i++) {
            const ws = await kit.connected(t, gw);
            await ws.subscribe('pp:s.>');
            all.push(ws);
        }
        for (let i = 0; i < 16; i++) await kit.publish(gw, `pp:s.${i}`, i);
        for (const ws of all) {
            const got = await ws.pubs(16, 'pp:s.>');
            assert.deepStrictEqual(got.map((p) => p.data).sort((a, b) =>
                a - b), Array.from({ length: 16 }, (_, i) => i));
        }
    });

    it('a pattern never leaves its namespace', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('qq:>');
        await ws.subscribe('qq:*');
        await kit.publish(gw, 'pp:a', 1);
        await kit.publish(gw, 'a', 1);
        await kit.publish(gw, 'qq:a', 2);
        assert.strictEqual((await ws.pub('qq:>')).data, 2);
        assert.strictEqual((await ws.pub('qq:*')).data, 2);
        assert.strictEqual(ws.inbox.items.length, 0);
    });

    it('107 in a namespace without allow_patterns, and across namespaces',
        async (t) => {
            const ws = await kit.connected(t, gw);
            for (const channel of ['plain:*', 'plain:a.>', '>', '*.a']) {
                await ws.refused('subscribe', { channel }, 107);
            }
            for (const channel of ['*:a', '>:a']) {
                const reply = await ws.command('subscribe', { channel });
                assert.ok([102, 107].includes(reply.error?.code),
                    JSON.stringify(reply));
            }
        });

    it('107 for publishing to a pattern, client and API', async (t) => {
        const ws = await kit.connected(t, gw);
        for (const channel of ['pp:*', 'pp:a.>']) {
            await ws.refused('publish', { channel, data: 1 }, 107);
            const answer = await kit.api(gw, 'publish', { channel, data: 1 });
            assert.strictEqual(answer.json.error.code, 107);
        }
    });

    it('recover, positioned and recoverable are ignored on a pattern',
        async (t) => {
            const ws = await kit.connected(t, gw);
            assert.deepStrictEqual(await ws.subscribe('pp:r.*', {
                recover: true, positioned: true, recoverable: true,
                offset: 5, epoch: 'x', flag: 1,
            }), {});
        });

    it('after unsubscribing a pattern its matches stop', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('pp:w.*');
        await ws.subscribe('pp:w.>');
        await ws.command('unsubscribe', { channel: 'pp:w.*' });
        await kit.publish(gw, 'pp:w.a', 1);
        await kit.publish(gw, 'pp:w.a', 2);
        await ws.pubs(2, 'pp:w.>');
        assert.strictEqual(ws.inbox.items.length, 0);
    });
});

describe('channels: publication_data_format', LIMIT, () => {
    let gw;
    before(async () => {
        const of = (name, format) => ({
            name, publication_data_format: format, ...kit.OPEN,
        });
        gw = await kit.startGateway({
            channel: {
                without_namespace: kit.OPEN,
                namespaces: [of('js', 'json'), of('obj', 'json_object'),
                    of('bin', 'binary')],
            },
        });
    });
    after(() => gw?.stop());

    it('json takes every JSON value', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('js:x');
        const values = [1, 'a', [1], { a: 1 }, true, null];
        for (const data of values) await kit.publish(gw, 'js:x', data);
        const got = await ws.pubs(values.length, 'js:x');
        assert.deepStrictEqual(got.map((p) => p.data), values);
    });

    it('json_object refuses what is no object with 107', async (t) => {
        const ws = await kit.connected(t, gw);
        for (const data of [1, 'a', [1], true]) {
            await ws.refused('publish', { channel: 'obj:x', data }, 107);
            const answer = await kit.api(gw, 'publish',
                { channel: 'obj:x', data });
            assert.strictEqual(answer.json.error?.code, 107);
        }
        assert.ok((await ws.command('publish',
            { channel: 'obj:x', data: {} })).publish);
    });

    it('107 for API bytes that are no JSON in a JSON namespace',
        async () => {
            const b64data = Buffer.from([0, 255, 1]).toString('base64');
            for (const channel of ['x', 'js:x', 'obj:x']) {
                const answer = await kit.api(gw, 'publish',
                    { channel, b64data });
                assert.strictEqual(answer.json.error?.code, 107, channel);
            }
        });

    it('binary bytes on a JSON connection close it 3506', async (t) => {
        const ws = await kit.connected(t, gw);
        await ws.subscribe('bin:x');
        await kit.call(gw, 'publish', {
            channel: 'bin:x',
            b64data: Buffer.from([0, 255, 1]).toString('base64'),
        });
        await ws.closedWith(3506);
    });
});

describe('channels: origins', LIMIT, () => {
    const open = { channel: { without_namespace: kit.OPEN } };

    async function statuses(t, origins, list) {
        const gw = await kit.gateway(t,
            { ...open, client: { allowed_origins: list } });
        const out = [];
        for (const origin of origins) {
            const headers = origin ? { Origin: origin } : {};
            out.push(await kit.handshakeStatus(gw, { headers }));
        }
        return out;
    }

    it('none configured: only requests without Origin', async (t) => {
        assert.deepStrictEqual(
            await statuses(t, [null, 'https://a.example'], []), [101, 403]);
    });

    it('* allows all', async (t) => {
        assert.deepStrictEqual(
            await statuses(t, [null, 'https://a.example'], ['*']),
            [101, 101]);
    });

    it('globs match the whole origin', async (t) => {
        const origins = ['https://app.example.com', 'https://example.com',
            'https://app.example.com.evil.org', 'http://app.example.com',
            'null'];
        assert.deepStrictEqual(
            await statuses(t, origins, ['https://*.example.com']),
            [101, 403, 403, 403, 403]);
    });
});

describe('channels: private names', LIMIT, () => {
    it('103 for $ without a token; the API may publish there', async (t) => {
        const gw = await kit.gateway(t,
            { channel: { without_namespace: kit.OPEN } });
        const ws = await kit.connected(t, gw);
        await ws.refused('subscribe', { channel: '$private' }, 103);
        await kit.publish(gw, '$private', 1);
    });

    it('3500 for a connection token nobody can verify', async (t) => {
        const gw = await kit.gateway(t, {});
        const ws = await kit.wsClient(t, gw);
        ws.send({ connect: { token: 'a.b.c' }, id: 1 });
        await ws.closedWith(3500);
    });
});
