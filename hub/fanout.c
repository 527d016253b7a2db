#include "hub/fanout.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/channel.h"
#include "hub/hub.h"

/* How many subscribers of one topic before the next topic has its turn. */
#define QUANTUM 64

/* A batch on its way to the subscribers of one topic. */
struct pass {
    struct frame *frames[ENCODING_COUNT]; /* shared; NULL until first needed */
    struct frame **singles; /* owned array [count * ENCODING_COUNT] or NULL:
                             * one publication each, for clients that must
                             * not get all of the batch */
    uint32_t count;
    uint32_t binary_end; /* behind the last that is not JSON; 0: all are */
    uint64_t *seqs;      /* of the msgs; behind them in the same block */
    struct msg *msgs[];  /* shared */
};

static void grow_pending(struct topic *t)
{
    bool is_first = t->pending == &t->one_pending;
    t->pending_cap *= 2;
    t->pending = mem_realloc(is_first ? NULL : t->pending,
                             t->pending_cap * sizeof(*t->pending));
    if (is_first)
        t->pending[0] = t->one_pending;
}

/* A moving head, so that a long backlog is not moved for every batch. */
static void push_pending(struct topic *t, struct msg *m, uint64_t seq)
{
    if (t->pending_head + t->pending_count == t->pending_cap) {
        if (t->pending_head <= t->pending_cap / 2)
            grow_pending(t);
        memmove(t->pending, t->pending + t->pending_head,
                t->pending_count * sizeof(*t->pending));
        t->pending_head = 0;
    }
    t->pending[t->pending_head + t->pending_count++] =
        (struct topic_pending){msg_ref(m), seq};
}

/* After a burst give its room back. */
static void rest_pending(struct topic *t)
{
    t->pending_head = 0;
    if (t->pending_cap <= FANOUT_BATCH_MAX)
        return;
    free(t->pending);
    t->pending = &t->one_pending;
    t->pending_cap = 1;
}

/* A publication and the topics found for it. With many topics nothing of one
 * is in the cache; so they are collected, and while one is looked at the
 * others' lines are on their way. */
struct delivery {
    struct shard *shard;
    struct msg *msg;
    uint64_t seq;
    unsigned count;
    struct topic *found[16];
};

#define CACHE_LINE 64

static void prefetch_two(const void *p)
{
    __builtin_prefetch(p);
    __builtin_prefetch((const char *)p + CACHE_LINE);
}

static void deliver_to(struct delivery *d, struct topic *t)
{
    if (t->count == 0)
        return;
    __builtin_prefetch(t->slots->client, 1);
    push_pending(t, d->msg, d->seq);
    d->shard->stats.pubs_matched++;
    if (t->busy)
        return;
    t->busy = true;
    TAILQ_INSERT_TAIL(&d->shard->busy, t, busy_link);
}

static void deliver_found(struct delivery *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        const struct topic *t = d->found[i];
        __builtin_prefetch(t->slots);
        __builtin_prefetch(t->pending + t->pending_head + t->pending_count, 1);
    }
    /* Backwards: the exact name, which was found last, comes first. */
    for (unsigned i = d->count; i-- > 0;)
        deliver_to(d, d->found[i]);
    d->count = 0;
}

static void on_match(void *arg, void *value)
{
    struct delivery *d = arg;
    prefetch_two(value);
    d->found[d->count++] = value;
    if (d->count == ARRAY_LEN(d->found))
        deliver_found(d);
}

void fanout_deliver(struct shard *s, struct msg *m)
{
    struct delivery d = {.shard = s, .msg = m, .seq = ++s->delivered};
    topic_match(&s->topics, msg_channel(m), m->channel_hash, on_match, &d);
    deliver_found(&d);
}

static uint32_t count_batch(const struct topic *t)
{
    uint32_t n = 0;
    size_t bytes = 0;
    while (n < t->pending_count && n < FANOUT_BATCH_MAX) {
        bytes += msg_size(t->pending[t->pending_head + n].msg);
        if (n && bytes > FANOUT_BATCH_BYTES)
            break;
        n++;
    }
    return n;
}

static void start_pass(struct topic *t)
{
    uint32_t n = count_batch(t);
    struct topic_pending *from = t->pending + t->pending_head;
    struct pass *p =
        mem_zalloc(sizeof(*p) + n * (sizeof(struct msg *) + sizeof(uint64_t)));
    p->seqs = (uint64_t *)(p->msgs + n);
    p->count = n;
    for (uint32_t i = 0; i < n; i++) {
        p->msgs[i] = from[i].msg;
        p->seqs[i] = from[i].seq;
        if (!p->msgs[i]->is_json)
            p->binary_end = i + 1;
    }
    t->pending_head += n;
    t->pending_count -= n;
    if (t->pending_count == 0)
        rest_pending(t);
    t->pass = p;
    t->cursor = 0;
    t->limit = t->count;
}

static void end_pass(struct topic *t)
{
    struct pass *p = t->pass;
    for (unsigned e = 0; e < ENCODING_COUNT; e++) {
        if (p->frames[e])
            frame_unref(p->frames[e]);
    }
    for (uint32_t i = 0; p->singles && i < p->count * ENCODING_COUNT; i++) {
        if (p->singles[i])
            frame_unref(p->singles[i]);
    }
    free(p->singles);
    for (uint32_t i = 0; i < p->count; i++)
        msg_unref(p->msgs[i]);
    free(p);
    t->pass = NULL;
    t->cursor = 0;
    t->limit = 0;
}

static struct frame *encode(struct shard *s, const struct topic *t,
                            enum encoding e, struct msg *const *msgs,
                            uint32_t count)
{
    buf_clear(&s->encode);
    s->hub->options.codec->encode(&s->encode, e, topic_name(t), t->is_pattern,
                                  msgs, count);
    struct frame *f = frame_new(buf_view(&s->encode));
    f->publications = count;
    f->born_ns = msgs[0]->born_ns;
    return f;
}

static bool is_reached_by(const struct topic *t, const struct msg *m)
{
    if (t->is_pattern)
        return channel_matches(topic_name(t), msg_channel(m));
    return t->hash == m->channel_hash && str_eq(topic_name(t), msg_channel(m));
}

/* Which of a client's subscriptions brings it this channel: the one that went
 * live first, so that a newer one changes nothing for what is under way. (If
 * the first one goes, what is under way may come twice.) */
static bool is_designated(const struct client *c, const struct topic *t,
                          const struct msg *m)
{
    const struct sub *by = NULL;
    const struct sub *s;
    if (!c->several || c->sub_count == 1)
        return true;
    TAILQ_FOREACH(s, &c->subs, link) {
        if (s->state != SUB_LIVE || (by && by->from <= s->from))
            continue;
        if (is_reached_by(s->topic, m))
            by = s;
    }
    return by && by->topic == t;
}

static void push_each(struct shard *s, struct topic *t, struct client *c,
                      uint32_t first)
{
    struct pass *p = t->pass;
    if (!p->singles)
        p->singles =
            mem_zalloc(p->count * ENCODING_COUNT * sizeof(struct frame *));
    for (uint32_t i = first; i < p->count; i++) {
        if (!is_designated(c, t, p->msgs[i]))
            continue;
        struct frame **f = &p->singles[i * ENCODING_COUNT + c->encoding];
        if (!*f)
            *f = encode(s, t, c->encoding, &p->msgs[i], 1);
        client_push(c, *f);
    }
}

/* What is not JSON cannot be told to a client that speaks JSON. */
static void refuse_binary(struct shard *s, struct client *c, uint32_t count)
{
    s->stats.drop_not_json += count;
    client_close(c, 3506, STR_LIT("inappropriate protocol"));
}

/* The first publication of the batch that the subscription is to get: not
 * those that already waited here when it went live. */
static uint32_t first_for(const struct topic *t, const struct topic_slot *slot)
{
    const struct pass *p = t->pass;
    uint32_t i = 0;
    if (t->joined < p->seqs[0])
        return 0; /* Nobody is that new, the usual case. */
    while (i < p->count && p->seqs[i] <= slot->sub->from)
        i++;
    return i;
}

static void serve(struct shard *s, struct topic *t,
                  const struct topic_slot *slot)
{
    struct pass *p = t->pass;
    struct client *c = slot->client;
    uint32_t first = first_for(t, slot);
    if (first == p->count)
        return;
    if (first < p->binary_end) {
        refuse_binary(s, c, p->count - first);
        return;
    }
    if (first || (c->several && t->is_pattern)) {
        push_each(s, t, c, first);
        return;
    }
    if (!is_designated(c, t, p->msgs[0]))
        return;
    if (!p->frames[c->encoding])
        p->frames[c->encoding] = encode(s, t, c->encoding, p->msgs, p->count);
    client_push(c, p->frames[c->encoding]);
}

/* A client that serve() closes leaves the topic at once: its slot is filled
 * from the part still to serve, so the cursor looks at each slot afresh. */
static uint32_t run_topic(struct shard *s, struct topic *t, uint32_t budget)
{
    uint32_t served = 0;
    if (!t->pass && t->pending_count == 0)
        return 0; /* Its subscribers left, and the publications with them. */
    if (!t->pass)
        start_pass(t);
    while (t->cursor < t->limit && served < budget) {
        struct topic_slot slot = t->slots[t->cursor++];
        serve(s, t, &slot);
        served++;
    }
    if (t->cursor >= t->limit)
        end_pass(t);
    return served;
}

bool fanout_run(struct shard *s)
{
    uint32_t left = s->hub->options.slice;
    struct topic *t;
    while (left && (t = TAILQ_FIRST(&s->busy))) {
        uint32_t quantum = left < QUANTUM ? left : QUANTUM;
        uint32_t served = run_topic(s, t, quantum);
        left -= served ? served : 1;
        TAILQ_REMOVE(&s->busy, t, busy_link);
        if (t->pass || t->pending_count) {
            TAILQ_INSERT_TAIL(&s->busy, t, busy_link);
            continue;
        }
        t->busy = false;
        fanout_settle(s, t);
    }
    s->stats.slices++;
    return !TAILQ_EMPTY(&s->busy);
}

static void drop_pending(struct topic *t)
{
    for (uint32_t i = 0; i < t->pending_count; i++)
        msg_unref(t->pending[t->pending_head + i].msg);
    t->pending_count = 0;
    rest_pending(t);
}

void fanout_settle(struct shard *s, struct topic *t)
{
    if (t->count)
        return;
    drop_pending(t);
    /* A busy topic may be in the middle of run_topic: it settles there. */
    if (t->busy || t->asking)
        return;
    home_leave(s, topic_name(t), t->hash, t->is_pattern);
    topic_free(&s->topics, t);
}

static struct sub *find_asking(struct client *c, const struct ask *a)
{
    struct sub *sub = client_find_sub(c, str_n(a->channel, a->len));
    if (!sub || sub->gen != a->sub_gen || sub->state != SUB_ASKING)
        return NULL;
    return sub;
}

void fanout_answer(struct shard *s, struct ask *a)
{
    struct topic *t = topic_find(&s->topics, str_n(a->channel, a->len), a->hash,
                                 a->is_pattern);
    CHECK(t && t->asking);
    struct client *c = client_find(s, a->client);
    struct sub *sub = c ? find_asking(c, a) : NULL;
    if (sub && a->error == 0) {
        c->events->subscribed(c, sub, 0);
        /* The session may have thought better of it meanwhile. */
        if (find_asking(c, a) == sub)
            topic_add(t, sub, s->delivered);
    } else if (sub) {
        c->events->subscribed(c, sub, a->error);
        sub = find_asking(c, a);
        if (sub)
            hub_unsubscribe(c, sub);
    }
    /* Only now: the callback may have closed the client, and the topic must
     * not go with it under us. */
    t->asking--;
    fanout_settle(s, t);
    free(a);
}
