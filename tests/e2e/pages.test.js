/* pages.test.js — the static pages: what is in web.root is served, nothing
 * else ever is, and the other paths stay what they are. */
'use strict';

const { describe, it, before, after } = require('node:test');
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const kit = require('./kit');

const LIMIT = { timeout: kit.ms(60000) };

describe('pages', LIMIT, () => {
    let gw;
    let dir;
    before(async () => {
        dir = kit.tempDir();
        const root = path.join(dir, 'root');
        fs.mkdirSync(path.join(root, 'sub'), { recursive: true });
        fs.writeFileSync(path.join(root, 'index.html'), '<h1>front</h1>');
        fs.writeFileSync(path.join(root, 'app.js'), 'let a = 1;\n');
        fs.writeFileSync(path.join(root, 'app.css'), 'h1 {}\n');
        fs.writeFileSync(path.join(root, 'sub', 'x.html'), 'x');
        fs.writeFileSync(path.join(root, '.hidden'), 'SECRET');
        fs.writeFileSync(path.join(dir, 'secret.html'), 'SECRET');
        gw = await kit.startGateway({ web: { enabled: true, root } });
    });
    after(async () => {
        await gw?.stop();
        fs.rmSync(dir, { recursive: true, force: true });
    });

    for (const [name, type, text] of [
        ['/', /^text\/html/, '<h1>front</h1>'],
        ['/index.html', /^text\/html/, '<h1>front</h1>'],
        ['/index.html?v=1', /^text\/html/, '<h1>front</h1>'],
        ['/app.js', /javascript/, 'let a = 1;\n'],
        ['/app.css', /^text\/css/, 'h1 {}\n'],
    ]) {
        it(`GET and HEAD ${name}`, async () => {
            const answer = await kit.request(gw, { path: name });
            assert.strictEqual(answer.status, 200);
            assert.match(answer.headers['content-type'], type);
            assert.strictEqual(answer.text, text);
            const head = await kit.request(gw,
                { path: name, method: 'HEAD' });
            assert.strictEqual(head.status, 200);
            assert.strictEqual(head.text, '');
            assert.strictEqual(Number(head.headers['content-length']),
                text.length);
        });
    }

    it('404 for what is not there', async () => {
        for (const name of ['/nope.html', '/sub', '/index.html/',
            '/app.js.map']) {
            const answer = await kit.request(gw, { path: name });
            assert.strictEqual(answer.status, 404, name);
        }
    });

    it('nothing outside the root and nothing hidden', async (t) => {
        for (const name of ['/../secret.html', '/%2e%2e/secret.html',
            '/..%2fsecret.html', '/sub/../../secret.html', '/.hidden',
            '//secret.html', '/./../secret.html', '/..\\secret.html',
            '/%2e%2e%2fsecret.html', '/sub/%2e%2e/%2e%2e/secret.html',
            '/index.html%00.js', `/${'../'.repeat(20)}etc/passwd`]) {
            const raw = await kit.RawSocket.connect(gw);
            kit.defer(t, () => raw.destroy());
            raw.write(kit.httpBytes('GET', name));
            const answer = await raw.response();
            assert.ok(answer.status >= 400, `${name} ${answer.status}`);
            assert.doesNotMatch(answer.text, /SECRET|root:/);
        }
    });

    it('405 for writing methods', async () => {
        for (const method of ['POST', 'PUT', 'DELETE']) {
            const answer = await kit.request(gw,
                { path: '/index.html', method });
            assert.strictEqual(answer.status, 405, method);
        }
    });

    it('the other paths keep their meaning', async () => {
        assert.ok((await kit.request(gw, { path: '/health' })).json.broker);
        assert.strictEqual((await kit.api(gw, 'info', {})).status, 200);
        assert.strictEqual(
            (await kit.request(gw, { path: '/sse' })).status, 400);
    });

    it('off by default', async (t) => {
        const off = await kit.gateway(t, {});
        assert.strictEqual(
            (await kit.request(off, { path: '/' })).status, 404);
    });
});
