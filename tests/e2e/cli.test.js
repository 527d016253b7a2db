/* cli.test.js — the command line: what it prints, what it refuses and how
 * its messages help, and how the process ends. */
'use strict';

const { describe, it } = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(60000) };

function configFile(t, content) {
    const dir = kit.tempDir();
    kit.defer(t, () => fs.rmSync(dir, { recursive: true, force: true }));
    const file = path.join(dir, 'weir-test.json');
    fs.writeFileSync(file, typeof content === 'string'
        ? content : JSON.stringify(content));
    return file;
}

async function check(t, content, env) {
    const file = configFile(t, content);
    return kit.runWeir(['-c', file, '--check-config'], { env });
}

describe('cli: flags that print', LIMIT, () => {
    it('--version prints the version of the tree', async () => {
        const version = fs.readFileSync(
            path.join(kit.ROOT, 'VERSION'), 'utf8').trim();
        const { code, stdout } = await kit.runWeir(['--version']);
        assert.strictEqual(code, 0);
        assert.ok(stdout.includes(version), stdout);
    });

    it('--help names every flag', async () => {
        const { code, stdout } = await kit.runWeir(['--help']);
        assert.strictEqual(code, 0);
        for (const flag of ['-c', '-p', '--nats', '--shards',
            '--check-config', '--print-config', '--version']) {
            assert.ok(stdout.includes(flag), flag);
        }
    });

    it('an unknown flag is refused', async () => {
        const { code, stderr } = await kit.runWeir(['--dance']);
        assert.ok(code > 0);
        assert.match(stderr, /dance/);
    });

    it('--check-config says yes with 0', async (t) => {
        const { code } = await check(t, { client: { insecure: true } });
        assert.strictEqual(code, 0);
    });

    it('--print-config is JSON, without secrets, and valid input',
        async (t) => {
            const file = configFile(t, {
                http_api: { key: 'very-secret' },
                nats: { password: 'also-secret', token: 'third-secret' },
                client: { ping_interval: '10s' },
                channel: {
                    namespaces: [{ name: 'quotes', subject: 'm.q' }],
                },
            });
            const { code, stdout, stderr } = await kit.runWeir(
                ['-c', file, '--print-config']);
            assert.strictEqual(code, 0, stderr);
            assert.doesNotMatch(stdout + stderr, /secret/);
            const printed = JSON.parse(stdout);
            assert.strictEqual(printed.http_api.key, '***');
            assert.strictEqual(printed.client.ping_interval, '10s');
            assert.strictEqual(printed.client.pong_timeout, '8s');
            assert.strictEqual(printed.http_server.port, 8000);
            assert.strictEqual(printed.channel.namespaces[0].name, 'quotes');
            const again = await check(t, stdout);
            assert.strictEqual(again.code, 0, again.stderr);
        });
});

/* what, content, what the message must name */
const BAD = [
    ['an unknown key', { client: { insecur: true } },
        [/client\.insecur\b/, /true/, /client\.insecure\b/]],
    ['an unknown section', { clients: { insecure: true } },
        [/clients/, /client\b/]],
    ['an unknown namespace option',
        { channel: { namespaces: [{ name: 'nn', allow_pattern: true }] } },
        [/allow_pattern\b/, /allow_patterns\b/]],
    ['a wrong type', { client: { insecure: 'yes' } },
        [/client\.insecure/, /yes/]],
    ['a number as a duration', { client: { ping_interval: 25 } },
        [/client\.ping_interval/, /25/]],
    ['a bad duration', { client: { ping_interval: '25 parsecs' } },
        [/client\.ping_interval/, /25 parsecs/]],
    ['a port out of range', { http_server: { port: 70000 } },
        [/http_server\.port/, /70000/]],
    ['too many shards', { shards: 65 }, [/shards/, /65/]],
    ['an unknown enum value', { log: { level: 'loud' } },
        [/log\.level/, /loud/, /warn/]],
    ['a pong timeout over the ping interval',
        { client: { ping_interval: '5s', pong_timeout: '6s' } },
        [/pong_timeout/]],
    ['a bad namespace name', { channel: { namespaces: [{ name: 'a b' }] } },
        [/name/, /a b/]],
    ['a namespace without a name',
        { channel: { namespaces: [{ allow_patterns: true }] } }, [/name/]],
    ['a namespace twice',
        { channel: { namespaces: [{ name: 'aa' }, { name: 'aa' }] } },
        [/aa/]],
    ['a bad channel_regex',
        { channel: { namespaces: [{ name: 'aa', channel_regex: '[' }] } },
        [/channel_regex/, /\[/]],
    ['overlapping subjects', { channel: { namespaces: [
        { name: 'aa', subject: 'm.q' }, { name: 'bb', subject: 'm.q.x' },
    ] } }, [/subject/, /m\.q/]],
    ['a NATS prefix with a dot or space', { nats: { prefix: 'a b' } },
        [/nats\.prefix/, /a b/]],
    ['no JSON', '{"client":', [/weir-test\.json/]],
    ['a JSON array', '[]', [/weir-test\.json/]],
    ['a key twice', '{"shards":1,"shards":2}', [/shards/]],
];

describe('cli: a bad configuration stops the start', LIMIT, () => {
    for (const [what, content, names] of BAD) {
        it(`${what}: the message names it`, async (t) => {
            const { code, stderr } = await check(t, content);
            assert.ok(code > 0, 'exit code');
            assert.match(stderr, /weir-test\.json/);
            for (const name of names) assert.match(stderr, name);
            assert.ok(stderr.trim().split('\n').length <= 3, stderr);
        });
    }

    it('the server does not start either', async (t) => {
        const file = configFile(t, { client: { insecur: true } });
        const { code, stderr } = await kit.runWeir(['-c', file]);
        assert.ok(code > 0);
        assert.match(stderr, /client\.insecure\b/);
    });

    it('a file that is not there is named', async () => {
        const { code, stderr } = await kit.runWeir(
            ['-c', '/nowhere/weir.json', '--check-config']);
        assert.ok(code > 0);
        assert.match(stderr, /\/nowhere\/weir\.json/);
    });
});

describe('cli: environment and flags over the file', LIMIT, () => {
    async function printed(t, content, env, args = []) {
        const file = configFile(t, content);
        const result = await kit.runWeir(
            ['-c', file, ...args, '--print-config'], { env });
        assert.strictEqual(result.code, 0, result.stderr);
        return JSON.parse(result.stdout);
    }

    it('every kind of key can come from the environment', async (t) => {
        const got = await printed(t, { client: { insecure: false } }, {
            WEIR_CLIENT_INSECURE: 'true',
            WEIR_HTTP_SERVER_PORT: '9123',
            WEIR_CLIENT_PING_INTERVAL: '7s',
            WEIR_CLIENT_PONG_TIMEOUT: '300ms',
            WEIR_CLIENT_ALLOWED_ORIGINS: '["https://a.example"]',
            WEIR_CHANNEL_NAMESPACES: '[{"name":"env"}]',
            WEIR_NATS_PREFIX: 'other',
        });
        assert.strictEqual(got.client.insecure, true);
        assert.strictEqual(got.http_server.port, 9123);
        assert.strictEqual(got.client.ping_interval, '7s');
        assert.strictEqual(got.client.pong_timeout, '300ms');
        assert.deepStrictEqual(got.client.allowed_origins,
            ['https://a.example']);
        assert.strictEqual(got.channel.namespaces[0].name, 'env');
        assert.strictEqual(got.nats.prefix, 'other');
    });

    it('a bad value in the environment is named', async (t) => {
        const { code, stderr } = await check(t, {},
            { WEIR_CLIENT_INSECURE: 'perhaps' });
        assert.ok(code > 0);
        assert.match(stderr, /WEIR_CLIENT_INSECURE/);
        assert.match(stderr, /perhaps/);
    });

    it('a secret from the environment is not shown', async (t) => {
        const got = await printed(t, {}, { WEIR_HTTP_API_KEY: 'hush' });
        assert.strictEqual(got.http_api.key, '***');
    });

    it('-p, --nats and --shards win', async (t) => {
        const got = await printed(t, { http_server: { port: 1 } },
            { WEIR_HTTP_SERVER_PORT: '2' },
            ['-p', '3', '--shards', '4', '--nats', 'nats://127.0.0.1:5']);
        assert.strictEqual(got.http_server.port, 3);
        assert.strictEqual(got.shards, 4);
        assert.strictEqual(got.nats.url, 'nats://127.0.0.1:5');
    });

    it('bad flag values are refused', async () => {
        for (const args of [['-p', 'x'], ['-p', '70000'], ['--shards', '-1'],
            ['--shards', '65'], ['-p'], ['-c']]) {
            const { code } = await kit.runWeir([...args, '--check-config']);
            assert.ok(code > 0, args.join(' '));
        }
    });
});

describe('cli: starting and ending', LIMIT, () => {
    it('says in one line that the port is in use', async (t) => {
        const gw = await kit.gateway(t, {});
        const file = configFile(t,
            { http_server: { address: '127.0.0.1', port: gw.port } });
        const { code, stderr } = await kit.runWeir(['-c', file]);
        assert.ok(code > 0);
        assert.match(stderr, new RegExp(`${gw.port}`));
        assert.match(stderr, /in use/i);
        assert.strictEqual(
            (await kit.request(gw, { path: '/health' })).status, 200,
            'the first one still has the port');
    });

    it('--shards sets the number of threads that serve', async (t) => {
        for (const shards of ['1', '3']) {
            const gw = await kit.gateway(t,
                { channel: { without_namespace: kit.OPEN } },
                { args: ['--shards', shards] });
            const all = [];
            for (let i = 0; i < 9; i++) {
                const ws = await kit.connected(t, gw);
                await ws.subscribe('x');
                all.push(ws);
            }
            await kit.publish(gw, 'x', 1);
            for (const ws of all) await ws.pub('x');
        }
    });

    for (const signal of ['SIGTERM', 'SIGINT']) {
        it(`${signal} with streams open ends with 0`, async (t) => {
            const gw = await kit.gateway(t, {
                uni_sse: { enabled: true },
                channel: { without_namespace: kit.OPEN },
            });
            const ws = await kit.connected(t, gw);
            await ws.subscribe('a');
            const streams = [
                await kit.sse(t, gw, '/sse?channel=a'),
                await kit.sse(t, gw, '/connection/uni_sse'),
            ];
            const kept = await kit.RawSocket.connect(gw);
            kit.defer(t, () => kept.destroy());
            kept.write(kit.apiBytes(gw, 'info', {}));
            await kept.response();
            await gw.stop(signal);
            await ws.closedWith(3001);
            for (const stream of streams) await stream.ended();
            await kept.untilClosed('shutdown');
            assert.strictEqual(gw.proc.stdout, '');
        });
    }

    it('SIGPIPE does not end it', async (t) => {
        const gw = await kit.gateway(t, {});
        gw.proc.child.kill('SIGPIPE');
        assert.strictEqual(
            (await kit.request(gw, { path: '/health' })).status, 200);
    });

    it('starts and ends quickly many times', async (t) => {
        for (let i = 0; i < 5; i++) {
            const gw = await kit.gateway(t, {});
            await gw.stop();
        }
    });
});
