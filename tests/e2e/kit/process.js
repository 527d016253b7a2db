/* process.js — the gateway and nats-server as child processes.
 * Why:    each test file drives the real binary with a configuration of its
 *         own, on a port of its own, and sees how it ended.
 * Bounds: every start and stop has a deadline; children die with the test. */
'use strict';

const assert = require('node:assert');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { defer, waitFor, withDeadline } = require('./wait');
const { request } = require('./http');

const HOST = '127.0.0.1';
const ROOT = path.join(__dirname, '..', '..', '..');
const BIN = path.resolve(process.env.WEIR_BIN ||
    path.join(ROOT, 'build', 'weir'));
const SANITIZER =
    /(Address|Thread|Leak|Memory|UndefinedBehavior)Sanitizer|runtime error:/;

const running = new Set();
const tempDirs = new Set();
process.on('exit', () => {
    for (const child of running) child.kill('SIGKILL');
    for (const dir of tempDirs) {
        fs.rmSync(dir, { recursive: true, force: true });
    }
});

async function freePort() {
    const server = net.createServer();
    await new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, HOST, resolve);
    });
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    return port;
}

function tempDir() {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-e2e-'));
    tempDirs.add(dir);
    return dir;
}

/* The environment without WEIR_*: those are keys of the gateway. */
function cleanEnv(extra = {}) {
    const env = { ...process.env };
    for (const name of Object.keys(env)) {
        if (name.startsWith('WEIR_')) delete env[name];
    }
    return { ...env, ...extra };
}

/* A child whose output is kept: { child, stdout, stderr, exited }. */
function launch(command, args, options = {}) {
    const child = spawn(command, args, {
        stdio: ['ignore', 'pipe', 'pipe'],
        ...options,
    });
    const proc = { child, pid: child.pid, stdout: '', stderr: '', end: null };
    running.add(child);
    /* A test that failed half-way must not keep the test process alive. */
    for (const handle of [child, child.stdout, child.stderr]) handle.unref();
    child.stdout.on('data', (data) => { proc.stdout += data; });
    child.stderr.on('data', (data) => { proc.stderr += data; });
    proc.exited = new Promise((resolve) => {
        child.once('error', (error) => {
            proc.end = { code: null, signal: null, error };
            running.delete(child);
            resolve(proc.end);
        });
        child.once('close', (code, signal) => {
            proc.end = { code, signal };
            running.delete(child);
            resolve(proc.end);
        });
    });
    return proc;
}

/* Run to the end: { code, signal, stdout, stderr }. */
async function run(command, args, options = {}) {
    const proc = launch(command, args, options);
    try {
        await withDeadline(proc.exited, `${command} ${args.join(' ')} ends`);
    } finally {
        proc.child.kill('SIGKILL');
    }
    return { ...proc.end, stdout: proc.stdout, stderr: proc.stderr };
}

/* The gateway's command line, run to the end. */
function runWeir(args, options = {}) {
    return run(BIN, args, { ...options, env: cleanEnv(options.env) });
}

function isPlainObject(value) {
    return value !== null && typeof value === 'object' &&
        !Array.isArray(value);
}

function merge(base, over) {
    const out = { ...base };
    for (const [key, value] of Object.entries(over)) {
        out[key] = isPlainObject(value) && isPlainObject(base[key])
            ? merge(base[key], value) : value;
    }
    return out;
}

/* What every test gateway has unless the test says otherwise. Two shards on
 * any machine, so that every path that crosses shards is crossed. */
function baseConfig(port) {
    return {
        shards: 2,
        http_server: { address: HOST, port },
        http_api: { key: 'test-key' },
        client: { allow_anonymous_connect_without_token: true },
        shutdown: { timeout: '10s' },
    };
}

/* Options that let anonymous clients do everything in a namespace. */
const OPEN = Object.freeze({
    allow_subscribe_for_client: true,
    allow_subscribe_for_anonymous: true,
    allow_publish_for_client: true,
    allow_publish_for_anonymous: true,
});

class Gateway {
    constructor(config, options) {
        this.overrides = config;
        this.options = options;
        this.host = HOST;
        this.key = 'test-key';
        this.dir = tempDir();
        this.past = '';
    }

    get stderr() { return this.past + (this.proc ? this.proc.stderr : ''); }
    get pid() { return this.proc.pid; }

    url(pathname = '/') { return `http://${HOST}:${this.port}${pathname}`; }
    wsUrl(pathname = '/connection/websocket') {
        return `ws://${HOST}:${this.port}${pathname}`;
    }

    async start() {
        this.port = this.port || await freePort();
        const config = merge(baseConfig(this.port), this.overrides);
        if (config.http_api.insecure) this.key = null;
        this.file = path.join(this.dir, 'config.json');
        fs.writeFileSync(this.file, JSON.stringify(config, null, 2));
        this.proc = launch(BIN, ['-c', this.file, ...this.options.args || []],
            { cwd: this.dir, env: cleanEnv(this.options.env) });
        await this.ready();
        return this;
    }

    /* Wait until /health answers: 200, or anything with `degraded`. */
    async ready() {
        try {
            await waitFor(async () => {
                if (this.proc.end) return true;
                const answer = await request(this, { path: '/health' });
                return this.options.degraded || answer.status === 200;
            }, () => `gateway ready; stderr: ${this.stderr}`, 15000);
        } catch (error) {
            this.proc.child.kill('SIGKILL');
            throw error;
        }
        if (this.proc.end) {
            throw new Error(`gateway did not start ` +
                `(${JSON.stringify(this.proc.end)}): ${this.stderr}`);
        }
    }

    /* SIGTERM, and it must end well: exit 0, no sanitizer report. */
    async stop(signal = 'SIGTERM') {
        if (!this.proc || this.stopped) return;
        this.stopped = true;
        this.proc.child.kill(signal);
        await this.ended();
        assert.deepStrictEqual(
            { code: this.proc.end.code, signal: this.proc.end.signal },
            { code: 0, signal: null },
            `gateway ended badly; stderr: ${this.stderr.slice(-8000)}`);
        this.checkStderr();
        fs.rmSync(this.dir, { recursive: true, force: true });
    }

    async ended() {
        try {
            await withDeadline(this.proc.exited, () =>
                `gateway exits; stderr: ${this.stderr.slice(-4000)}`, 20000);
        } catch (error) {
            this.proc.child.kill('SIGKILL');
            throw error;
        }
    }

    checkStderr() {
        assert.doesNotMatch(this.stderr, SANITIZER);
    }

    /* As a crash would: no goodbye. */
    async kill() {
        this.proc.child.kill('SIGKILL');
        await this.ended();
        this.checkStderr();
    }

    /* Again on the same port, after stop() or kill(). */
    async restart() {
        this.past += this.proc.stderr;
        this.stopped = false;
        if (!fs.existsSync(this.dir)) this.dir = tempDir();
        return this.start();
    }

    rssBytes() {
        const status = fs.readFileSync(`/proc/${this.pid}/status`, 'utf8');
        return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
    }
}

/* Start a gateway. Options: args, env, degraded (ready although /health
 * does not say 200). The caller stops it. */
function startGateway(config = {}, options = {}) {
    const gw = new Gateway(config, options);
    if (options.port) gw.port = options.port;
    return gw.start();
}

/* The same for one test; it ends with the test. */
async function gateway(t, config = {}, options = {}) {
    const gw = await startGateway(config, options);
    defer(t, () => gw.stop());
    return gw;
}

module.exports = {
    HOST, ROOT, BIN, OPEN, SANITIZER, Gateway, startGateway, gateway, freePort,
    tempDir, launch, run, runWeir, merge, cleanEnv,
};
