#include "hub/splice.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/hub.h"

/* A read that failed is tried again after this. */
#define RETRY_MS 1000
/* Quiet streams are not looked at more often than this. */
#define CHECK_LEAST_MS 500

struct held {
    STAILQ_ENTRY(held) link; /* linked: splice.held */
    struct msg *msg;         /* shared */
};

enum splice_state {
    SPLICE_IDLE,    /* no read is asked for */
    SPLICE_QUEUED,  /* linked in home.reads */
    SPLICE_READING, /* the bus is reading */
};

struct splice {
    struct home_channel *channel; /* borrowed: owns us */
    bool ready;   /* home.history has all there is above its floor */
    bool suspect; /* the bus has lost something since it was proven */
    bool whole;   /* the next read is from the beginning */
    bool fresh;   /* it was read from the beginning just now */
    uint8_t state;
    uint64_t tag;    /* of the read under way */
    uint64_t gap;    /* the bus's count when the stream was proven */
    uint64_t last;   /* the bus's stream reaches so far */
    uint64_t epoch;  /* of `shown` */
    uint64_t shown;  /* the newest that patterns were given */
    uint32_t rounds; /* reads since something fitted */
    uint32_t held_count;
    size_t held_bytes;
    STAILQ_HEAD(, held) held;
    TAILQ_ENTRY(splice) link; /* linked: home.reads, when queued */
    struct wheel_timer timer; /* the next look at a quiet stream, or try */
};

static struct history_stream *stream_of(struct shard *home,
                                        const struct home_channel *e)
{
    return history_find(&home->home.history, home_channel_name(e), e->hash,
                        shard_now_ms(home));
}

size_t splice_held(const struct home_channel *e)
{
    return e->splice ? e->splice->held_count : 0;
}

bool splice_is_ready(const struct home_channel *e)
{
    return !e->splice || (e->splice->ready && e->splice->state == SPLICE_IDLE &&
                          STAILQ_EMPTY(&e->splice->held));
}

uint64_t splice_last(const struct home_channel *e)
{
    return e->splice ? e->splice->last : 0;
}

/* --- reading ------------------------------------------------------------ */

static void on_read(struct read_op *op);

static void send_read(struct shard *home, struct splice *sp)
{
    const struct broker *b = &home->hub->broker;
    const struct home_channel *e = sp->channel;
    const struct history_stream *s = stream_of(home, e);
    struct read_op *op = mem_zalloc(sizeof(*op) + e->len);
    op->origin = home;
    op->tag = sp->tag = ++home->home.next_read;
    /* Nothing of the channel lies between its top and what was proven last. */
    if (sp->ready && !sp->whole && s)
        op->since = s->top > sp->last ? s->top : sp->last;
    op->done = on_read;
    op->channel_len = e->len;
    memcpy(op->channel, e->name, e->len);
    sp->state = SPLICE_READING;
    home->home.reading++;
    home->stats.history_reads++;
    b->ops->read(b->self, op);
}

static void read_next(struct shard *home)
{
    struct splice *sp;
    /* When the node stops, the bus is gone before the last letters are read. */
    while (home->hub->broker.ops && home->home.reading < SPLICE_READS_MAX &&
           (sp = TAILQ_FIRST(&home->home.reads))) {
        TAILQ_REMOVE(&home->home.reads, sp, link);
        send_read(home, sp);
    }
}

static void start_read(struct shard *home, struct splice *sp)
{
    if (sp->state != SPLICE_IDLE)
        return;
    wheel_stop(&home->wheel, &sp->timer);
    sp->state = SPLICE_QUEUED;
    TAILQ_INSERT_TAIL(&home->home.reads, sp, link);
    read_next(home);
}

/* A quiet channel whose last publication never came would not know. It is
 * looked at while what it was proven by last is younger than what expires. */
static uint64_t check_ms(const struct shard *home, const struct splice *sp)
{
    uint64_t ms = home->hub->options.check_ms;
    uint64_t half_ms = sp->channel->history->ttl_ms / 2;
    if (half_ms < ms)
        ms = half_ms;
    return ms > CHECK_LEAST_MS ? ms : CHECK_LEAST_MS;
}

static void plan_check(struct shard *home, struct splice *sp, uint64_t wait_ms)
{
    uint64_t spread = wait_ms / 4 + 1;
    wheel_start(&home->wheel, &sp->timer,
                shard_now_ms(home) + wait_ms + rand_below(&home->rand, spread));
}

static void on_timer(struct wheel_timer *t)
{
    struct splice *sp = container_of(t, struct splice, timer);
    struct shard *home = sp->channel->home;
    uint64_t wait_ms = check_ms(home, sp);
    const struct history_stream *s = stream_of(home, sp->channel);
    bool is_calm = s && sp->ready && !sp->suspect && STAILQ_EMPTY(&sp->held);
    if (is_calm && shard_now_ms(home) < s->published_ms + wait_ms) {
        plan_check(home, sp, wait_ms);
        return;
    }
    home->stats.history_checks += is_calm;
    start_read(home, sp);
}

/* --- holding ------------------------------------------------------------ */

static struct msg *pop_held(struct splice *sp)
{
    struct held *h = STAILQ_FIRST(&sp->held);
    struct msg *m = h->msg;
    STAILQ_REMOVE_HEAD(&sp->held, link);
    sp->held_count--;
    sp->held_bytes -= msg_size(m);
    free(h);
    return m;
}

static void hold(struct splice *sp, struct msg *m)
{
    struct held *h = mem_alloc(sizeof(*h));
    h->msg = m;
    STAILQ_INSERT_TAIL(&sp->held, h, link);
    sp->held_count++;
    sp->held_bytes += msg_size(m);
}

/* --- losing ------------------------------------------------------------- */

static void note_shown(struct splice *sp, const struct msg *m)
{
    sp->epoch = m->epoch;
    sp->shown = m->offset;
}

static bool is_shown(const struct splice *sp, const struct msg *m)
{
    return sp->epoch == m->epoch && m->offset <= sp->shown;
}

/* Whoever knows no position takes what comes. */
static void release_lost(struct shard *home, struct splice *sp, struct msg *m)
{
    if (m->is_marker || is_shown(sp, m)) {
        msg_unref(m);
        return;
    }
    note_shown(sp, m);
    m = home_keep(home, m);
    if (m)
        home_deliver(home, m);
}

/* Nothing is proven any more. Who waits for an answer gets one when the stream
 * was read anew. */
static void lose(struct shard *home, struct splice *sp)
{
    struct history_stream *s = stream_of(home, sp->channel);
    home->stats.history_lost++;
    sp->ready = false;
    sp->suspect = false;
    sp->whole = true;
    sp->rounds = 0;
    /* What a read under way brings is older than what was dropped. */
    sp->tag = 0;
    if (s)
        history_drop(&home->home.history, s);
    home_lose(home, sp->channel);
    while (!STAILQ_EMPTY(&sp->held))
        release_lost(home, sp, pop_held(sp));
}

static bool is_over(const struct splice *sp, const struct msg *m)
{
    return sp->held_count >= SPLICE_HELD_MAX ||
           sp->held_bytes + msg_size(m) > SPLICE_HELD_BYTES;
}

/* --- live --------------------------------------------------------------- */

static void append(struct shard *home, struct splice *sp,
                   struct history_stream *s, struct msg *m, uint64_t at_ms)
{
    history_append(&home->home.history, s, m, at_ms, shard_now_ms(home),
                   &home->hub->held);
    if (m->offset > sp->last)
        sp->last = m->offset;
}

/* It is the next one: keep it and give it to everybody. */
static void accept(struct shard *home, struct splice *sp,
                   struct history_stream *s, struct msg *m)
{
    uint64_t offset = m->offset;
    sp->rounds = 0;
    note_shown(sp, m);
    m = home_keep(home, m);
    if (m) {
        append(home, sp, s, m, shard_now_ms(home));
        home_deliver(home, m);
        return;
    }
    s->top = offset;
}

/* Does nothing of the channel lie between our top and this one? */
static bool follows(const struct splice *sp, const struct history_stream *s,
                    const struct msg *m)
{
    if (m->prev == s->top && m->prev)
        return true;
    bool is_calm = !sp->suspect && m->gap == sp->gap;
    return is_calm && (m->prev <= s->top || m->prev == MSG_PREV_UNKNOWN);
}

static void take_marker(struct shard *home, struct splice *sp,
                        struct history_stream *s, struct msg *m)
{
    history_reset(&home->home.history, s, s->epoch, m->offset);
    last_drop(&home->home.last, msg_channel(m), m->channel_hash);
    if (m->offset > sp->last)
        sp->last = m->offset;
    msg_unref(m);
}

/* It was in a read. If that was a first one, who was live before it has not had
 * it: patterns, and after a loss those without a position. Of the channel's own
 * subscriptions nobody wants it who was answered since. */
static void take_known(struct shard *home, struct splice *sp,
                       const struct history_stream *s, struct msg *m)
{
    if (is_shown(sp, m)) {
        home->stats.history_duplicates++;
        msg_unref(m);
        return;
    }
    note_shown(sp, m);
    if (m->is_marker) {
        msg_unref(m);
        return;
    }
    /* As it was kept: patches are merged. */
    uint32_t i = history_after(s, m->offset - 1);
    if (i < s->count && history_at(s, i)->msg->offset == m->offset) {
        msg_unref(m);
        m = msg_ref(history_at(s, i)->msg);
    }
    if (sp->fresh)
        home_deliver(home, m);
    else
        home_deliver_patterns(home, m);
}

/* False: it has to wait for a read; it is still the caller's. */
static bool take_now(struct shard *home, struct splice *sp, struct msg *m)
{
    struct history_stream *s = stream_of(home, sp->channel);
    if (!s || m->epoch != s->epoch)
        return false;
    if (m->offset <= s->top) {
        take_known(home, sp, s, m);
        return true;
    }
    if (!follows(sp, s, m))
        return false;
    if (m->is_marker)
        take_marker(home, sp, s, m);
    else
        accept(home, sp, s, m);
    return true;
}

void splice_take(struct shard *home, struct home_channel *e, struct msg *m)
{
    struct splice *sp = e->splice;
    bool is_free =
        sp->ready && sp->state == SPLICE_IDLE && STAILQ_EMPTY(&sp->held);
    if (is_free && take_now(home, sp, m))
        return;
    bool over = is_over(sp, m);
    hold(sp, m);
    if (over)
        lose(home, sp);
    start_read(home, sp);
}

/* --- merging ------------------------------------------------------------ */

/* One stored publication. `known`: subscribers have had everything up to
 * there. Takes a reference of its own. */
static void merge_one(struct shard *home, struct splice *sp,
                      struct history_stream *s, struct msg *m, uint64_t at_ms,
                      uint64_t known)
{
    uint64_t offset = m->offset;
    m = home_keep(home, msg_ref(m));
    if (!m) {
        s->top = offset;
        return;
    }
    append(home, sp, s, m, at_ms);
    if (offset > known) {
        home->stats.history_healed++;
        note_shown(sp, m);
        home_deliver(home, m);
    } else {
        msg_unref(m);
    }
}

static void show(struct shard *home, struct splice *sp, struct msg *m)
{
    if (is_shown(sp, m))
        return;
    note_shown(sp, m);
    home_deliver_patterns(home, msg_ref(m));
}

/* Patterns may be behind a first read, until what it had has come. Before they
 * get what is newer they get that. */
static void catch_up(struct shard *home, struct splice *sp,
                     const struct history_stream *s, const struct read_op *op)
{
    if (sp->shown == 0 || sp->epoch != s->epoch || op->newest <= s->top)
        return;
    for (uint32_t i = 0; i < s->count; i++)
        show(home, sp, history_at(s, i)->msg);
    for (uint32_t i = 0; i < op->count && op->msgs[i]->offset <= s->top; i++)
        show(home, sp, op->msgs[i]);
}

static void merge(struct shard *home, struct splice *sp,
                  const struct read_op *op)
{
    struct history *h = &home->home.history;
    const struct home_channel *e = sp->channel;
    struct str name = home_channel_name(e);
    struct history_stream *s = history_get(h, name, e->hash, e->history,
                                           op->epoch, shard_now_ms(home));
    /* Nobody has a live subscription before the first read. */
    uint64_t known = sp->ready ? s->top : UINT64_MAX;
    if (sp->ready)
        catch_up(home, sp, s, op);
    if (op->since == 0) {
        last_drop(&home->home.last, name, e->hash);
        history_reset(h, s, op->epoch, op->floor);
        sp->last = 0; /* it may be another stream's */
    }
    for (uint32_t i = 0; i < op->count; i++) {
        if (op->msgs[i]->offset > s->top)
            merge_one(home, sp, s, op->msgs[i], op->at_ms[i], known);
    }
    if (op->newest > s->top && op->floor >= op->newest) {
        /* A marker is the newest. */
        history_reset(h, s, op->epoch, op->newest);
    } else if (op->newest > s->top) {
        /* Or what no client can be given: it takes nothing away. */
        s->top = op->newest;
    } else if (op->newest == 0 && op->last > s->top) {
        s->top = op->last;
    }
    if (op->last > sp->last)
        sp->last = op->last;
    if (s->top > sp->last)
        sp->last = s->top;
}

/* Is all that came after what the subscribers have had in it? `top` was ours
 * when it began. */
static bool is_proven(struct shard *home, const struct splice *sp,
                      const struct read_op *op, uint64_t top)
{
    const struct history_stream *s = stream_of(home, sp->channel);
    if (!s || s->epoch != op->epoch || op->last < top || op->last < op->since)
        return false;
    return op->floor <= s->top || op->floor <= op->since;
}

/* What arrived meanwhile, in order, until one does not follow, or is above
 * `most`. */
static void release_held(struct shard *home, struct splice *sp, uint64_t most)
{
    struct held *h;
    while ((h = STAILQ_FIRST(&sp->held)) && h->msg->offset <= most) {
        struct msg *m = msg_ref(h->msg);
        if (!take_now(home, sp, m)) {
            msg_unref(m);
            return;
        }
        msg_unref(pop_held(sp));
    }
}

static void end_merge(struct shard *home, struct splice *sp)
{
    struct home_channel *e = sp->channel;
    release_held(home, sp, UINT64_MAX);
    sp->fresh = false;
    if (STAILQ_EMPTY(&sp->held) && !sp->suspect) {
        sp->rounds = 0;
        plan_check(home, sp, check_ms(home, sp));
        home_try_answer(home, e);
        return;
    }
    if (++sp->rounds >= SPLICE_ROUNDS)
        lose(home, sp);
    start_read(home, sp);
}

/* What is still stored of a busy channel may all be newer than our top: what
 * was held leads there by itself. But a read from the beginning takes the place
 * of what is here, and must not be older. */
static bool lead_on(struct shard *home, struct splice *sp,
                    const struct read_op *op)
{
    const struct history_stream *s = stream_of(home, sp->channel);
    uint64_t top = s ? s->top : 0;
    release_held(home, sp, op->since ? UINT64_MAX : top);
    return is_proven(home, sp, op, top);
}

static void take_read(struct shard *home, struct splice *sp,
                      const struct read_op *op)
{
    if (sp->ready && !lead_on(home, sp, op)) {
        lose(home, sp);
        start_read(home, sp);
        return;
    }
    /* Counted before the read began: what was lost later is not healed. */
    sp->suspect = sp->suspect && op->gap < sp->gap;
    merge(home, sp, op);
    sp->fresh = !sp->ready;
    sp->ready = true;
    sp->whole = false;
    if (op->gap > sp->gap)
        sp->gap = op->gap;
    end_merge(home, sp);
}

/* The bus has no stream after all. */
static void give_up(struct shard *home, struct home_channel *e)
{
    home_lose(home, e);
    splice_end(home, e);
    home_try_answer(home, e);
}

/* Nothing was read. Those who wait are not kept waiting. */
static void retry_later(struct shard *home, struct splice *sp)
{
    plan_check(home, sp, RETRY_MS);
    home_refuse(home, sp->channel, 100);
}

static void on_read(struct read_op *op)
{
    struct shard *home = op->origin;
    struct str name = str_n(op->channel, op->channel_len);
    struct home_channel *e = home_find(home, name, msg_channel_hash(name));
    home->home.reading--;
    struct splice *sp = e ? e->splice : NULL;
    if (sp && sp->state == SPLICE_READING && op->tag == sp->tag) {
        sp->state = SPLICE_IDLE;
        if (op->error == 0)
            take_read(home, sp, op);
        else if (op->error == 108)
            give_up(home, e);
        else
            retry_later(home, sp);
    } else if (sp && sp->state == SPLICE_READING && sp->tag == 0) {
        /* Lost meanwhile. */
        sp->state = SPLICE_IDLE;
        start_read(home, sp);
    }
    read_op_free(op);
    read_next(home);
}

/* --- for the home -------------------------------------------------------- */

void splice_begin(struct shard *home, struct home_channel *e)
{
    struct splice *sp = mem_zalloc(sizeof(*sp));
    CHECK(!e->splice);
    home->home.history.is_cache = true;
    sp->channel = e;
    sp->timer.fire = on_timer;
    STAILQ_INIT(&sp->held);
    e->splice = sp;
    start_read(home, sp);
}

void splice_end(struct shard *home, struct home_channel *e)
{
    struct splice *sp = e->splice;
    while (sp && !STAILQ_EMPTY(&sp->held))
        release_lost(home, sp, pop_held(sp));
    splice_fini(home, e);
}

void splice_fini(struct shard *home, struct home_channel *e)
{
    struct splice *sp = e->splice;
    if (!sp)
        return;
    struct history_stream *s = stream_of(home, e);
    if (s)
        history_drop(&home->home.history, s);
    if (sp->state == SPLICE_QUEUED)
        TAILQ_REMOVE(&home->home.reads, sp, link);
    wheel_stop(&home->wheel, &sp->timer);
    while (!STAILQ_EMPTY(&sp->held))
        msg_unref(pop_held(sp));
    free(sp);
    e->splice = NULL;
}

bool splice_can_tell(struct shard *home, struct home_channel *e,
                     struct position since)
{
    struct splice *sp = e->splice;
    const struct history_stream *s = sp ? stream_of(home, e) : NULL;
    if (!s || (since.epoch && since.epoch != s->epoch))
        return true;
    bool is_cut = since.offset < s->floor && s->cut;
    if (!is_cut && since.offset <= sp->last)
        return true;
    sp->whole |= is_cut;
    start_read(home, sp);
    return false;
}

void splice_note_gap(struct shard *home, struct home_channel *e, uint64_t gap)
{
    struct splice *sp = e->splice;
    if (gap == sp->gap)
        return;
    sp->gap = gap;
    sp->suspect = true;
    start_read(home, sp);
}
