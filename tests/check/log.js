/* log.js — what happened, as checker.js reads it.
 * Why:    one clock for publishers and clients, and runs of consecutive
 *         numbers in one entry, so that a minute of a flood fits in memory.
 * Bounds: as long as the run. */
'use strict';

const fs = require('node:fs');
const path = require('node:path');

/* Milliseconds, fine enough that no two events share one by rounding. */
const now = () => Math.round(performance.now() * 1000) / 1000;

class Log {
    constructor() {
        this.events = [];
        this.runs = new Map(); /* who and channel -> its last event */
        this.counters = new Map(); /* channel -> its last number */
        this.up = new Map(); /* client and channel -> { n, epoch, offset } */
        this.isClosed = false; /* nothing counts any more */
    }

    number(ch) {
        const n = (this.counters.get(ch) ?? 0) + 1;
        this.counters.set(ch, n);
        return n;
    }

    /* t: when it was sent. */
    pub(ch, n, t, out, { epoch, offset } = {}) {
        this.append(`pub ${ch}`, { k: 'pub', ch, n, t, out, epoch, offset });
    }

    got(client, ch, n, { epoch, offset } = {}) {
        this.append(`${client} ${ch}`,
            { k: 'got', client, ch, n, t: now(), epoch, offset });
        const state = this.up.get(`${client} ${ch}`);
        if (state) Object.assign(state, { n, offset });
    }

    /* Lengthen the last run of `who`, or begin another. */
    append(who, e) {
        if (this.isClosed) return;
        const last = this.runs.get(who);
        const count = last?.count ?? 1;
        const fits = last && last.k === e.k && last.out === e.out &&
            last.epoch === e.epoch && last.n + count === e.n &&
            e.offset !== undefined && last.offset + count === e.offset &&
            e.t - last.t < 100;
        if (fits) {
            last.count = count + 1;
            return;
        }
        this.events.push(e);
        this.runs.set(who, e);
    }

    note(e) {
        if (this.isClosed) return;
        e.t = now();
        this.events.push(e);
        this.runs.delete(`${e.client} ${e.ch}`);
    }

    sub(client, ch, { fresh, was, ok, epoch, offset }) {
        this.note({ k: 'sub', client, ch, fresh, was, ok, epoch, offset });
        this.up.set(`${client} ${ch}`, { n: 0, epoch, offset });
    }

    /* `reason` is for who reads the log. */
    gap(client, ch, why, reason) {
        this.note({ k: 'gap', client, ch, why, reason });
        if (why !== 'reset' && why !== 'gap') this.up.delete(`${client} ${ch}`);
    }

    down(client, ch) {
        if (!this.up.delete(`${client} ${ch}`)) return;
        this.note({ k: 'down', client, ch });
    }

    close() { this.isClosed = true; }

    early(client, ch, n) { this.note({ k: 'early', client, ch, n }); }

    write(file) {
        fs.mkdirSync(path.dirname(file), { recursive: true });
        const out = fs.openSync(file, 'w');
        for (let i = 0; i < this.events.length; i += 1000) {
            fs.writeSync(out, this.events.slice(i, i + 1000)
                .map((e) => `${JSON.stringify(e)}\n`).join(''));
        }
        fs.closeSync(out);
    }
}

module.exports = { Log, now };
