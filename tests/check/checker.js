/* checker.js — was each publication delivered once, in order, or told?
 *
 *     log line                                    what it says
 *     {"k":"pub","ch","n","t","out","epoch","offset"}
 *         number n was published at t; out: "ack", "refused", "unknown"
 *     {"k":"sub","client","ch","t","fresh","was","ok","epoch","offset"}
 *         a subscription is answered. fresh: nothing was asked to be
 *         recovered; was: was_recovering; ok: recovered
 *     {"k":"got","client","ch","t","n","epoch","offset"}
 *     {"k":"gap","client","ch","t","why"}
 *         "reset" and "gap" leave the subscription open; others (2500, 3010)
 *         end it
 *     {"k":"early","client","ch","t","n"}
 *         seen on the wire before the subscription was answered
 *     {"k":"down","client","ch","t"}    the subscription or connection ended
 *     {"k":"quit","client","ch","t"}    nothing more is owed to it
 *
 * "pub" and "got" may stand for `count` of them: n, n+1, … at offset,
 * offset+1, … . epoch and offset are absent where nobody could know them.
 *
 * The order of a channel is that of its positions; epochs follow each other as
 * they are first seen. A channel without any position is ordered by number
 * (it has one publisher). Publications nobody knows the outcome of count as
 * published when somebody got them: then everybody must.
 *
 * Why:    judging is apart from running, so that it can be tested with logs
 *         made by hand.
 * Bounds: a violation names NUMBERS_SHOWN numbers. Pure: no I/O, no clock. */
'use strict';

const NUMBERS_SHOWN = 10;

class Channel {
    constructor(name) {
        this.name = name;
        this.pubs = new Map(); /* n -> { n, t, out, epoch, offset, seen } */
        this.epochs = new Map(); /* epoch -> when it was first seen */
        this.order = [];
        this.loose = new Map(); /* n of no known offset -> what precedes it */
    }

    meetEpoch(epoch, t) {
        if (epoch === undefined) return;
        const before = this.epochs.get(epoch);
        if (before === undefined || t < before) this.epochs.set(epoch, t);
    }

    /* Negative, 0, positive as a stands before, at or behind b. */
    compare(a, b) {
        if (a.epoch !== b.epoch) {
            return this.rank.get(a.epoch) - this.rank.get(b.epoch);
        }
        return a.offset - b.offset;
    }

    sort() {
        const epochs = [...this.epochs].sort((a, b) => a[1] - b[1]);
        this.rank = new Map(epochs.map(([epoch], i) => [epoch, i]));
        const there = [...this.pubs.values()]
            .filter((p) => p.out === 'ack' || p.seen);
        const placed = there.filter((p) => p.offset !== undefined);
        this.hasPositions = placed.length > 0 || this.epochs.size > 0;
        this.order = this.hasPositions
            ? placed.sort((a, b) => this.compare(a, b))
            : there.sort((a, b) => a.n - b.n);
        this.number();
        const loose = this.hasPositions
            ? there.filter((p) => p.offset === undefined) : [];
        this.loosePubs = loose.filter((p) => p.seen);
        this.lost = loose.filter((p) => !p.seen);
    }

    number() {
        this.order.forEach((pub, i) => { pub.index = i; });
    }

    /* Those of no known offset stand right behind the last one that any
     * client got before them. */
    insertLoose() {
        if (!this.loosePubs.length) return;
        const behind = new Map();
        for (const pub of this.loosePubs) {
            const after = this.loose.get(pub.n) ?? -1;
            pub.isLoose = true;
            pub.after = after < 0 ? null : this.order[after];
            if (!behind.has(after)) behind.set(after, []);
            behind.get(after).push(pub);
        }
        const all = [...behind.get(-1) ?? []];
        this.order.forEach((pub, i) => {
            all.push(pub, ...behind.get(i) ?? []);
        });
        this.order = all;
        this.number();
    }

    /* The index of the last publication that a position covers; -1: none. */
    indexOf(position) {
        let from = 0;
        let to = this.order.length;
        while (from < to) {
            const middle = (from + to) >> 1;
            if (this.isCovered(this.order[middle], position)) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        return from - 1;
    }

    isCovered(pub, position) {
        if (!pub.isLoose) return this.compare(pub, position) <= 0;
        return pub.after === null || this.compare(pub.after, position) < 0;
    }
}

/* One client on one channel. */
class Follower {
    constructor(client, channel, report, sums) {
        this.client = client;
        this.channel = channel;
        this.report = report;
        this.sums = sums;
        this.events = [];
        this.up = false;
        this.begun = false;
        this.over = false;
        this.cursor = -1; /* index of the last one that is settled */
        this.epoch = undefined;
        /* What was sent before it may be missing; null: nothing may. */
        this.excusedUntil = null;
        this.mayRepeat = false; /* the newest value comes after a reset */
        this.holes = []; /* of a channel without positions: told later? */
    }

    fail(kind, t, numbers, text) {
        this.report({
            kind, client: this.client, channel: this.channel.name, t,
            count: numbers.length, numbers: numbers.slice(0, NUMBERS_SHOWN),
            text,
        });
    }

    on(e) {
        if (e.k === 'sub') this.onSub(e);
        if (e.k === 'got') {
            for (let i = 0; i < (e.count ?? 1); i++) this.onGot(e, e.n + i);
        }
        if (e.k === 'early') this.fail('before_reply', e.t, [e.n], 'early');
        if (e.k === 'gap') this.onGap(e);
        if (e.k === 'down') this.onDown();
        if (e.k === 'quit') this.over = true;
    }

    onSub(e) {
        const isPlaced = e.offset !== undefined;
        const to = isPlaced ? this.channel.indexOf(e) : -1;
        this.mayRepeat = false;
        if (!this.begun || e.fresh || !this.channel.hasPositions) {
            this.start(e, isPlaced, to);
        } else if (!e.was) {
            this.fail('recover_ignored', e.t, [],
                'asked to recover, answered as if it had not');
            this.moveTo(to, isPlaced, e);
        } else if (e.ok) {
            this.sums.recovered++;
            if (e.epoch !== undefined && this.epoch !== undefined &&
                e.epoch !== this.epoch) {
                this.fail('recovered_elsewhere', e.t, [],
                    `recovered in ${e.epoch} what it had of ${this.epoch}`);
            }
        } else {
            this.sums.toldGaps++;
            this.sums.toldPubs += Math.max(0, to - this.cursor);
            this.moveTo(to, isPlaced, e);
        }
        this.epoch = e.epoch ?? this.epoch;
        this.begun = true;
        this.up = true;
    }

    start(e, isPlaced, to) {
        if (isPlaced) {
            this.moveTo(to, true, e);
        } else {
            this.excusedUntil = e.t;
        }
    }

    moveTo(to, isPlaced, e) {
        if (!isPlaced) {
            this.excusedUntil = e.t;
            return;
        }
        if (to < this.cursor) {
            this.fail('position_back', e.t, [this.numberAt(this.cursor)],
                `subscribed at ${e.epoch}:${e.offset}, before what it has`);
            return;
        }
        this.cursor = to;
        this.excusedUntil = null;
    }

    numberAt(index) { return this.channel.order[index]?.n; }

    onGot(e, n) {
        const pub = this.channel.pubs.get(n);
        this.sums.delivered++;
        if (!this.up) {
            this.fail('before_reply', e.t, [n], 'no subscription was answered');
        }
        if (!pub || pub.index === undefined) return; /* reported already */
        if (pub.index <= this.cursor) {
            this.onOld(e, pub);
        } else {
            this.settle(this.owedBefore(pub.index), e.t,
                `not delivered before ${n}`);
            this.cursor = pub.index;
            this.excusedUntil = null;
        }
        this.mayRepeat = false;
        this.seen.add(n);
    }

    /* Not ahead of what is settled: mostly wrong. */
    onOld(e, pub) {
        const { n } = pub;
        if (this.seen.has(n)) {
            if (this.mayRepeat && pub.index === this.cursor) return;
            this.fail('duplicate', e.t, [n], 'it had this one');
        } else if (!pub.isLoose) {
            this.fail('reordered', e.t, [n],
                `after ${this.numberAt(this.cursor) ?? 'its position'}`);
        }
    }

    /* The numbers behind the cursor and before `end` nobody excused. */
    owedBefore(end) {
        const owed = [];
        let told = 0;
        for (let i = this.cursor + 1; i < end; i++) {
            const pub = this.channel.order[i];
            if (this.excusedUntil !== null && pub.t < this.excusedUntil) {
                told++;
            } else {
                owed.push(pub.n);
            }
        }
        if (this.begun && this.hadGap) this.sums.toldPubs += told;
        this.hadGap = false;
        return owed;
    }

    /* Without positions a loss may be told after what followed it. */
    settle(owed, t, text) {
        if (!owed.length) return;
        if (!this.channel.hasPositions) this.holes.push({ owed, t, text });
        else this.fail('missing', t, owed, text);
    }

    onGap(e) {
        this.sums.toldGaps++;
        for (const { owed } of this.holes) this.sums.toldPubs += owed.length;
        this.holes = [];
        const isOpen = e.why === 'reset' || e.why === 'gap';
        if (!isOpen) {
            this.onDown();
            return;
        }
        if (!this.up) this.fail('before_reply', e.t, [], `${e.why} while down`);
        if (e.why === 'gap' && this.channel.hasPositions) {
            this.fail('gap_unasked', e.t, [], 'a channel with positions heals');
            return;
        }
        this.excusedUntil = e.t;
        this.hadGap = true;
        this.mayRepeat = e.why === 'reset';
    }

    onDown() {
        this.up = false;
        this.mayRepeat = false;
    }

    end(t) {
        if (this.over) return;
        if (!this.up) {
            this.fail('not_back', t, [], 'not subscribed at the end');
            return;
        }
        this.settle(this.owedBefore(this.channel.order.length), t,
            'not delivered up to the end');
        for (const hole of this.holes) {
            this.fail('missing', hole.t, hole.owed, hole.text);
        }
    }

    /* Taken, of no known place, and nobody got it: everybody lost it who was
     * there before and was told nothing since. */
    checkLost(t) {
        const excuses = this.events.filter((e) => e.k === 'gap' ||
            (e.k === 'sub' && !e.ok));
        for (const pub of this.channel.lost) {
            const first = excuses[0]?.t ?? Infinity;
            const last = excuses.at(-1)?.t ?? Infinity;
            if (this.over || first > pub.t || last >= pub.t) continue;
            this.fail('missing', t, [pub.n], 'taken, and nobody got it');
        }
    }

    judge(t) {
        this.seen = new Set();
        for (const e of this.events) this.on(e);
        this.checkLost(t);
        this.end(t);
    }
}

class Check {
    constructor() {
        this.channels = new Map();
        this.followers = new Map();
        this.violations = [];
        this.lastAt = 0;
        this.sums = {
            published: 0, refused: 0, unknown: 0, delivered: 0, recovered: 0,
            toldGaps: 0, toldPubs: 0,
        };
        this.report = (violation) => this.violations.push(violation);
    }

    channel(name) {
        if (!this.channels.has(name)) {
            this.channels.set(name, new Channel(name));
        }
        return this.channels.get(name);
    }

    follower(client, ch) {
        const key = `${client} ${ch}`;
        if (!this.followers.has(key)) {
            this.followers.set(key, new Follower(client, this.channel(ch),
                this.report, this.sums));
        }
        return this.followers.get(key);
    }

    add(e) {
        const channel = this.channel(e.ch);
        this.lastAt = Math.max(this.lastAt, e.t);
        channel.meetEpoch(e.epoch, e.t);
        if (e.k === 'pub') this.addPub(channel, e);
        else this.follower(e.client, e.ch).events.push(e);
    }

    addPub(channel, e) {
        const names = { ack: 'published', refused: 'refused' };
        for (let i = 0; i < (e.count ?? 1); i++) {
            const n = e.n + i;
            this.sums[names[e.out] ?? 'unknown']++;
            if (channel.pubs.has(n)) {
                throw new Error(`${e.ch}: number ${n} is in the log twice`);
            }
            channel.pubs.set(n, {
                n, t: e.t, out: e.out, epoch: e.epoch, seen: false,
                offset: e.offset === undefined ? undefined : e.offset + i,
            });
        }
    }

    /* What clients got says where publications stand that no answer did. */
    place(follower) {
        const { client, channel } = follower;
        const fail = (kind, t, n, text) => this.report({
            kind, client, channel: channel.name, t, count: 1, numbers: [n],
            text,
        });
        for (const e of follower.events) {
            if (e.k !== 'got') continue;
            for (let i = 0; i < (e.count ?? 1); i++) {
                const offset = e.offset === undefined ? undefined
                    : e.offset + i;
                this.placeOne(channel, { ...e, n: e.n + i, offset }, fail);
            }
        }
    }

    placeOne(channel, e, fail) {
        const pub = channel.pubs.get(e.n);
        if (!pub) {
            fail('never_published', e.t, e.n, 'nobody published it');
            return;
        }
        if (pub.out === 'refused') {
            fail('refused_delivered', e.t, e.n, 'its publisher was told no');
            return;
        }
        pub.seen = true;
        if (e.offset === undefined) return;
        if (pub.offset === undefined) {
            pub.offset = e.offset;
            pub.epoch = e.epoch;
        } else if (pub.offset !== e.offset ||
            (e.epoch !== undefined && pub.epoch !== e.epoch)) {
            fail('position_differs', e.t, e.n, `came as ${e.epoch}:` +
                `${e.offset}, elsewhere it is ${pub.epoch}:${pub.offset}`);
        }
    }

    checkPositions(channel) {
        for (let i = 1; i < channel.order.length; i++) {
            const [a, b] = [channel.order[i - 1], channel.order[i]];
            if (b.offset === undefined || a.epoch !== b.epoch ||
                a.offset !== b.offset) continue;
            this.report({
                kind: 'same_position', client: null, channel: channel.name,
                t: b.t, count: 2, numbers: [a.n, b.n],
                text: `both are ${a.epoch}:${a.offset}`,
            });
        }
    }

    noteLoose({ channel, events }) {
        if (!channel.loosePubs.length) return;
        let last = -1;
        for (const e of events) {
            if (e.k !== 'got') continue;
            for (let i = 0; i < (e.count ?? 1); i++) {
                const pub = channel.pubs.get(e.n + i);
                if (pub?.index !== undefined) {
                    last = Math.max(last, pub.index);
                } else if (pub?.seen) {
                    channel.loose.set(pub.n,
                        Math.max(last, channel.loose.get(pub.n) ?? -1));
                }
            }
        }
    }

    finish() {
        const channels = [...this.channels.values()];
        const followers = [...this.followers.values()];
        followers.forEach((f) => this.place(f));
        channels.forEach((c) => { c.sort(); this.checkPositions(c); });
        followers.forEach((f) => this.noteLoose(f));
        channels.forEach((c) => c.insertLoose());
        followers.forEach((f) => f.judge(this.lastAt));
        return { violations: this.violations, sums: this.sums };
    }
}

/* `events`: objects as above, in the order in which they happened. */
function check(events) {
    const all = new Check();
    for (const e of events) all.add(e);
    return all.finish();
}

/* The same for JSON lines. */
function checkText(text) {
    return check(text.split('\n').filter(Boolean)
        .map((line) => JSON.parse(line)));
}

function describe(v) {
    const numbers = v.numbers.length
        ? ` ${v.numbers.join(', ')}${v.count > v.numbers.length
            ? ` and ${v.count - v.numbers.length} more` : ''}` : '';
    return `${v.kind}${numbers}: ${v.client ?? 'everybody'} on ${v.channel}` +
        ` at ${v.t} ms: ${v.text}`;
}

module.exports = { check, checkText, describe };

if (require.main === module) {
    const text = require('node:fs').readFileSync(process.argv[2], 'utf8');
    const { violations, sums } = checkText(text);
    for (const violation of violations) console.log(describe(violation));
    console.log(JSON.stringify(sums));
    process.exit(violations.length ? 1 : 0);
}
