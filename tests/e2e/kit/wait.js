/* wait.js — waiting that always ends.
 * Why:    no test sleeps and hopes: it waits for a condition with a
 *         deadline, and the message says what did not happen. */
'use strict';

const SLOW = Math.max(1, Number(process.env.WEIR_TEST_SLOW) || 1);
const DEADLINE_MS = 10000;

/* A duration of a plain release build, stretched for slow builds. */
function ms(duration) {
    return Math.round(duration * SLOW);
}

/* The same as a configuration value. */
function duration(durationMs) {
    return `${ms(durationMs)}ms`;
}

function pause(durationMs) {
    return new Promise((resolve) => setTimeout(resolve, durationMs));
}

function withDeadline(promise, what, timeoutMs = DEADLINE_MS) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(
            () => reject(new Error(`deadline passed: ${describe(what)}`)),
            ms(timeoutMs));
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function describe(what) {
    return typeof what === 'function' ? what() : what;
}

/* Ask until `probe` gives something true; its result. An exception of the
 * probe counts as "not yet" and is shown when the deadline passes. */
async function waitFor(probe, what, timeoutMs = DEADLINE_MS) {
    const end = Date.now() + ms(timeoutMs);
    let last;
    for (;;) {
        try {
            const result = await probe();
            if (result) return result;
            last = undefined;
        } catch (error) {
            last = error;
        }
        if (Date.now() > end) {
            const cause = last ? ` (${last.message})` : '';
            throw new Error(`deadline passed: ${describe(what)}${cause}`);
        }
        await pause(10);
    }
}

/* What has arrived and was not yet asked for. `take` waits for the first
 * item that fits and removes it; the others keep their order. */
class Inbox {
    constructor(name) {
        this.name = name;
        this.items = [];
        this.waiters = new Set();
        this.over = null;
    }

    push(item) {
        for (const waiter of this.waiters) {
            if (!waiter.fits(item)) continue;
            this.waiters.delete(waiter);
            waiter.resolve(item);
            return;
        }
        this.items.push(item);
    }

    /* Nothing more will come: waiters fail at once instead of late. */
    end(why) {
        this.over = why;
        for (const waiter of this.waiters) {
            waiter.reject(new Error(`${this.name} ended (${why}) while ` +
                `waiting for ${waiter.what}; has ${this.summary()}`));
        }
        this.waiters.clear();
    }

    take(fits, what, timeoutMs = DEADLINE_MS) {
        const at = this.items.findIndex(fits);
        if (at >= 0) return Promise.resolve(this.items.splice(at, 1)[0]);
        if (this.over) {
            return Promise.reject(new Error(`${this.name} is over ` +
                `(${this.over}), no ${what}; has ${this.summary()}`));
        }
        const waiter = { fits, what };
        const arrival = new Promise((resolve, reject) => {
            Object.assign(waiter, { resolve, reject });
        });
        this.waiters.add(waiter);
        return withDeadline(arrival,
            () => `${this.name}: ${what}; has ${this.summary()}`, timeoutMs)
            .finally(() => this.waiters.delete(waiter));
    }

    /* `count` items that fit, in the order they came. */
    async takeMany(count, fits, what, timeoutMs = DEADLINE_MS) {
        const got = [];
        while (got.length < count) {
            got.push(await this.take(fits,
                `${what} (${got.length} of ${count})`, timeoutMs));
        }
        return got;
    }

    summary() {
        const text = this.items.slice(-5)
            .map((item) => item.raw ?? JSON.stringify(item))
            .join(' | ');
        return `${this.items.length} other: ${text.slice(0, 600)}`;
    }
}

/* Run at the end of test `t`, in the order given, all of them: t.after
 * alone stops at the first that fails, and what is left open then keeps the
 * process alive. */
const deferred = new WeakMap();

function defer(t, action) {
    if (deferred.has(t)) {
        deferred.get(t).push(action);
        return;
    }
    const actions = [action];
    deferred.set(t, actions);
    t.after(async () => {
        const errors = [];
        for (const run of actions) {
            await Promise.resolve().then(run).catch((e) => errors.push(e));
        }
        if (errors.length) throw errors[0];
    });
}

module.exports = {
    SLOW, defer, ms, duration, pause, withDeadline, waitFor, Inbox,
};
