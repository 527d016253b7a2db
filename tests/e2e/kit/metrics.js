/* metrics.js — reads the Prometheus text of /metrics, strictly. */
'use strict';

const assert = require('node:assert');
const { request } = require('./http');

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`);
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)/gy;

function parseLabels(text) {
    const labels = {};
    if (!text) return labels;
    LABEL.lastIndex = 0;
    let used = 0;
    for (let m; (m = LABEL.exec(text)); used = LABEL.lastIndex) {
        labels[m[1]] = m[2];
    }
    assert.strictEqual(used, text.length, `labels: ${text}`);
    return labels;
}

function parseValue(text) {
    const special = { '+Inf': Infinity, '-Inf': -Infinity, NaN };
    const value = text in special ? special[text] : Number(text);
    assert.ok(text === 'NaN' || !Number.isNaN(value), `value: ${text}`);
    return value;
}

/* { samples: [{ name, labels, value }], types: Map }; throws on a line that
 * a scraper would refuse. */
function parseMetrics(text) {
    assert.ok(text.endsWith('\n'), 'the text ends with a newline');
    const samples = [];
    const types = new Map();
    for (const line of text.split('\n')) {
        if (line === '') continue;
        const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/
            .exec(line);
        if (type) {
            assert.ok(!types.has(type[1]), `one TYPE for ${type[1]}`);
            types.set(type[1], type[2]);
        }
        if (line.startsWith('#')) continue;
        const sample = SAMPLE.exec(line);
        assert.ok(sample, `not a sample: ${line}`);
        samples.push({
            name: sample[1], labels: parseLabels(sample[2]),
            value: parseValue(sample[3]),
        });
    }
    return { samples, types };
}

class Metrics {
    constructor(text) {
        this.text = text;
        Object.assign(this, parseMetrics(text));
    }

    /* Sum over all samples of the name whose labels include `labels`. */
    sum(name, labels = {}) {
        const found = this.samples.filter((s) => s.name === name &&
            Object.entries(labels).every(([k, v]) => s.labels[k] === v));
        return found.reduce((total, s) => total + s.value, 0);
    }

    has(name) { return this.samples.some((s) => s.name === name); }
}

async function metrics(gw) {
    const answer = await request(gw, { path: '/metrics' });
    assert.strictEqual(answer.status, 200);
    return new Metrics(answer.text);
}

/* How many clients went away for this reason. */
function closesBy(m, reason) {
    return m.sum('weir_client_closes_total', { reason });
}

module.exports = { closesBy, metrics, Metrics, parseMetrics };
