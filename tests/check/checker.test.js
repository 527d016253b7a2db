/* checker.test.js — logs made by hand: legal stories pass, and each kind of
 * violation is found, by its name, numbers and client. */
'use strict';

const { describe, it } = require('node:test');
const assert = require('node:assert');
const { check, checkText, describe: textOf } = require('./checker');

/* A story in few words. Time passes with every line. */
class Story {
    constructor() {
        this.events = [];
        this.t = 0;
    }

    add(k, fields) {
        this.t += 10;
        this.events.push({ k, ch: 'c', t: this.t, ...fields });
        return this;
    }

    /* Published at offset n * 10 of epoch "e". */
    pub(n, more = {}) {
        return this.add('pub',
            { n, out: 'ack', epoch: 'e', offset: n * 10, ...more });
    }

    pubs(...numbers) {
        numbers.forEach((n) => this.pub(n));
        return this;
    }

    unknown(n) {
        return this.add('pub', { n, out: 'unknown' });
    }

    plain(...numbers) {
        numbers.forEach((n) => this.add('pub', { n, out: 'ack' }));
        return this;
    }

    sub(more = {}) {
        return this.add('sub', { client: 'A', fresh: true, was: false,
            ok: false, epoch: 'e', offset: 0, ...more });
    }

    /* Without a position. */
    subPlain(more = {}) {
        return this.sub({ epoch: undefined, offset: undefined, ...more });
    }

    recovered(more = {}) {
        return this.sub({ fresh: false, was: true, ok: true, ...more });
    }

    lost(offset, more = {}) {
        return this.sub(
            { fresh: false, was: true, ok: false, offset, ...more });
    }

    got(...numbers) {
        for (const n of numbers) {
            this.add('got', { client: 'A', n, epoch: 'e', offset: n * 10 });
        }
        return this;
    }

    gotBy(client, n, more = {}) {
        return this.add('got', { client, n, epoch: 'e', offset: n * 10,
            ...more });
    }

    gotBare(...numbers) {
        numbers.forEach((n) => this.add('got', { client: 'A', n }));
        return this;
    }

    gap(why) { return this.add('gap', { client: 'A', why }); }
    down(client = 'A') { return this.add('down', { client }); }
    quit() { return this.add('quit', { client: 'A' }); }

    /* No violation; the sums. */
    passes(sums = {}) {
        const result = check(this.events);
        assert.deepStrictEqual(result.violations.map(textOf), []);
        for (const [name, value] of Object.entries(sums)) {
            assert.strictEqual(result.sums[name], value, name);
        }
    }

    /* Exactly these: [kind, numbers]. */
    fails(...expected) {
        const { violations } = check(this.events);
        assert.deepStrictEqual(violations.map((v) => [v.kind, v.numbers]),
            expected, violations.map(textOf).join('\n'));
        return violations;
    }
}

const story = () => new Story();

describe('checker: what is legal passes', () => {
    it('everything is delivered in order', () => {
        story().sub().pubs(1, 2, 3).got(1, 2, 3)
            .passes({ published: 3, delivered: 3, toldGaps: 0 });
    });

    it('what was published before the position is not owed', () => {
        story().pubs(1, 2).sub({ offset: 20 }).pub(3).got(3).passes();
    });

    it('a position between two sparse offsets', () => {
        story().pubs(1, 2).sub({ offset: 27 }).pub(3).got(3).passes();
    });

    it('a reconnect that recovers', () => {
        story().sub().pubs(1).got(1).down().pubs(2, 3).recovered()
            .got(2, 3).passes({ recovered: 1 });
    });

    it('a reconnect that says it could not recover', () => {
        story().sub().pubs(1).got(1).down().pubs(2, 3).lost(30).pub(4)
            .got(4).passes({ recovered: 0, toldGaps: 1, toldPubs: 2 });
    });

    it('a new epoch that is told', () => {
        story().sub().pubs(1, 2).got(1).down()
            .lost(1, { epoch: 'f' })
            .pub(3, { epoch: 'f', offset: 2 })
            .gotBy('A', 3, { epoch: 'f', offset: 2 })
            .passes({ toldGaps: 1, toldPubs: 1 });
    });

    it('taken off with 2500, and recovered', () => {
        story().sub().pubs(1).got(1).pub(2).gap('2500').recovered().got(2)
            .passes({ toldGaps: 1, toldPubs: 0 });
    });

    it('a reset, the newest value, and on', () => {
        story().sub().pubs(1, 2, 3).got(1).down()
            .recovered().gap('reset').got(3).pub(4).got(4)
            .passes({ toldGaps: 1, toldPubs: 1 });
    });

    it('a reset may bring what the client had as its newest', () => {
        story().sub().pubs(1).got(1).down().recovered().gap('reset').got(1)
            .pub(2).got(2).passes();
    });

    it('an unknown publication that nobody got', () => {
        story().sub().pub(1).unknown(2).pub(3).got(1, 3)
            .passes({ published: 2, unknown: 1 });
    });

    it('an unknown publication that everybody got', () => {
        story().sub().sub({ client: 'B' }).pub(1).unknown(2).pub(3)
            .got(1, 2, 3).gotBy('B', 1).gotBy('B', 2).gotBy('B', 3).passes();
    });

    it('an unknown publication of unknown offset that everybody got', () => {
        story().sub().sub({ client: 'B' }).pub(1).unknown(2).pub(3)
            .got(1).gotBare(2).got(3)
            .gotBy('B', 1).gotBy('B', 2, { offset: undefined }).gotBy('B', 3)
            .passes();
    });

    it('two publishers: offsets decide the order, not numbers', () => {
        story().sub().pub(1, { offset: 7 }).pub(2, { offset: 5 })
            .gotBy('A', 2, { offset: 5 }).gotBy('A', 1, { offset: 7 })
            .passes();
    });

    it('a plain channel: a gap event, also when it comes late', () => {
        story().subPlain().plain(1, 2, 3).gotBare(1, 3).gap('gap').plain(4)
            .gotBare(4).passes({ toldGaps: 1, toldPubs: 1 });
    });

    it('a plain channel: who comes back has not asked for what was', () => {
        story().subPlain().plain(1).gotBare(1).down().plain(2).subPlain()
            .plain(3).gotBare(3).passes();
    });

    it('nothing is owed to who has left', () => {
        story().sub().pub(1).got(1).down().quit().pub(2).passes();
    });

    it('a refused publication that did not come', () => {
        story().sub().add('pub', { n: 1, out: 'refused' }).pub(2).got(2)
            .passes({ refused: 1 });
    });

    it('runs of numbers stand for each of them', () => {
        story().sub().add('pub', { n: 1, count: 500, out: 'ack', epoch: 'e',
            offset: 11 })
            .add('got', { client: 'A', n: 1, count: 300, epoch: 'e',
                offset: 11 })
            .down().recovered()
            .add('got', { client: 'A', n: 301, count: 200, epoch: 'e',
                offset: 311 })
            .passes({ published: 500, delivered: 500 });
    });
});

describe('checker: each violation is found', () => {
    it('missing between two', () => {
        const [v] = story().sub().pubs(1, 2, 3, 4).got(1, 4)
            .fails(['missing', [2, 3]]);
        assert.deepStrictEqual([v.client, v.channel, v.count, v.t],
            ['A', 'c', 2, 70]);
        assert.match(textOf(v), /missing 2, 3: A on c at 70 ms/);
    });

    it('missing at the end', () => {
        story().sub().pubs(1, 2).got(1).fails(['missing', [2]]);
    });

    it('missing after a reply that says recovered', () => {
        story().sub().pubs(1).got(1).down().pubs(2, 3).recovered().got(3)
            .fails(['missing', [2]]);
    });

    it('missing at the start of a subscription', () => {
        story().pub(1).sub({ offset: 10 }).pubs(2, 3).got(3)
            .fails(['missing', [2]]);
    });

    it('missing behind the position of a told gap', () => {
        story().sub().pubs(1, 2).down().lost(20).pubs(3, 4).got(4)
            .fails(['missing', [3]]);
    });

    it('missing after 2500 and a recovery that says it is whole', () => {
        story().sub().pubs(1).got(1).gap('2500').pubs(2, 3).recovered()
            .got(3).fails(['missing', [2]]);
    });

    it('missing behind the newest value of a reset', () => {
        story().sub().pubs(1, 2, 3).got(1).down().recovered().gap('reset')
            .got(2).pub(4).got(4).fails(['missing', [3]]);
    });

    it('published after a reset and never delivered', () => {
        story().sub().pub(1).got(1).down().recovered().gap('reset').pub(2)
            .fails(['missing', [2]]);
    });

    it('duplicate, live and by recovery', () => {
        story().sub().pubs(1, 2).got(1, 2, 2).fails(['duplicate', [2]]);
        story().sub().pubs(1, 2).got(1, 2).down().recovered().got(2)
            .fails(['duplicate', [2]]);
    });

    it('reordered', () => {
        story().sub().pubs(1, 2, 3).got(1, 3, 2)
            .fails(['missing', [2]], ['reordered', [2]]);
    });

    it('what the position already covers', () => {
        story().pubs(1, 2).sub({ offset: 20 }).got(2)
            .fails(['reordered', [2]]);
    });

    it('live data before the reply', () => {
        story().pub(1).got(1).sub({ offset: 10 })
            .fails(['before_reply', [1]]);
        story().sub().pubs(1, 2).got(1).down().got(2).recovered()
            .fails(['before_reply', [2]]);
    });

    it('never published', () => {
        story().sub().pub(1).got(1, 9).fails(['never_published', [9]]);
    });

    it('refused and delivered', () => {
        story().sub().add('pub', { n: 1, out: 'refused' }).got(1)
            .fails(['refused_delivered', [1]]);
    });

    it('one number at two positions', () => {
        story().sub().pub(1).gotBy('A', 1, { offset: 11 })
            .fails(['position_differs', [1]]);
        story().sub().sub({ client: 'B' }).unknown(1)
            .gotBy('A', 1, { offset: 3 }).gotBy('B', 1, { offset: 4 })
            .fails(['position_differs', [1]]);
    });

    it('two numbers at one position', () => {
        story().sub().pub(1).pub(2, { offset: 10 }).got(1)
            .gotBy('A', 2, { offset: 10 }).fails(['same_position', [1, 2]]);
    });

    it('asked to recover and not told how it went', () => {
        story().sub().pub(1).got(1).down().pub(2)
            .sub({ fresh: false, offset: 20 }).pub(3).got(3)
            .fails(['recover_ignored', []]);
    });

    it('recovered from another epoch', () => {
        story().sub().pub(1).got(1).down().recovered({ epoch: 'f' })
            .fails(['recovered_elsewhere', []]);
    });

    it('a position behind what the client has', () => {
        story().sub().pubs(1, 2).got(1, 2).down().lost(10)
            .fails(['position_back', [2]]);
    });

    it('not subscribed at the end', () => {
        story().sub().pub(1).got(1).down().fails(['not_back', []]);
    });

    it('a gap event where history should have healed', () => {
        story().sub().pub(1).got(1).gap('gap').fails(['gap_unasked', []]);
    });

    it('an unknown publication that only some got', () => {
        story().sub().sub({ client: 'B' }).pub(1).unknown(2).pub(3)
            .got(1, 2, 3).gotBy('B', 1).gotBy('B', 3)
            .fails(['missing', [2]]);
    });

    it('the same without its offset', () => {
        const [v] = story().sub().sub({ client: 'B' }).pub(1).unknown(2)
            .pub(3).got(1).gotBare(2).got(3).gotBy('B', 1).gotBy('B', 3)
            .fails(['missing', [2]]);
        assert.strictEqual(v.client, 'B');
    });

    it('taken without a position, and nobody got it', () => {
        const taken = { n: 2, out: 'ack' };
        story().sub().pub(1).add('pub', taken).pub(3).got(1, 3)
            .fails(['missing', [2]]);
        story().sub().pub(1).got(1).add('pub', taken).down().lost(10)
            .pub(3).got(3).passes();
        story().sub().add('pub', taken).pub(3).gotBy('A', 2, { offset: 7 })
            .got(3).passes();
    });

    it('seen on the wire before the reply', () => {
        story().pub(1).add('early', { client: 'A', n: 1 }).sub({ offset: 10 })
            .fails(['before_reply', [1]]);
    });

    it('a plain channel: a hole nobody told', () => {
        story().subPlain().plain(1, 2, 3).gotBare(1, 3)
            .fails(['missing', [2]]);
    });

    it('other clients and channels are judged apart', () => {
        const violations = story().sub().sub({ client: 'B' })
            .sub({ ch: 'd' }).pubs(1, 2)
            .add('pub', { ch: 'd', n: 1, out: 'ack', epoch: 'g', offset: 1 })
            .got(1, 2).gotBy('B', 2)
            .fails(['missing', [1]], ['missing', [1]]);
        assert.deepStrictEqual(violations.map((v) => [v.client, v.channel]),
            [['B', 'c'], ['A', 'd']]);
    });

    it('shows ten numbers and counts the others', () => {
        const [v] = story().sub().add('pub', { n: 1, count: 50, out: 'ack',
            epoch: 'e', offset: 1 }).fails(['missing',
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]);
        assert.match(textOf(v), /and 40 more/);
    });

    it('reads JSON lines; a number twice is a broken log', () => {
        const lines = story().sub().pubs(1, 2).got(1).events
            .map((e) => JSON.stringify(e));
        assert.strictEqual(checkText(lines.join('\n')).violations.length, 1);
        lines.push(lines[1]);
        assert.throws(() => checkText(lines.join('\n')), /twice/);
    });
});
