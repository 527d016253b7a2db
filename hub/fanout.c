#include "hub/fanout.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/backlog.h"
#include "hub/channel.h"
#include "hub/hub.h"
#include "hub/pace.h"
#include "hub/pass.h"

/* How many subscribers of one topic before the next topic has its turn. */
#define QUANTUM 64

void fanout_busy(struct shard *s, struct lane *l)
{
    if (l->busy)
        return;
    l->busy = true;
    TAILQ_INSERT_TAIL(&s->busy, l, busy_link);
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
    struct lane *l = &t->plain;
    struct pace *p;
    if (l->paces) {
        SLIST_FOREACH(p, &t->paces, link) {
            if (p->lane.count)
                pace_offer(p, d->msg, d->seq);
        }
        d->shard->stats.pubs_matched += l->count == 0;
    }
    if (l->count == 0)
        return;
    __builtin_prefetch(l->slots->client, 1);
    lane_push(l,
              (struct lane_pub){msg_ref(d->msg), d->seq, 1, 0, d->msg->offset});
    d->shard->stats.pubs_matched++;
    fanout_busy(d->shard, l);
}

static void deliver_found(struct delivery *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        const struct lane *l = &d->found[i]->plain;
        __builtin_prefetch(l->slots);
        __builtin_prefetch(l->pending + l->pending_head + l->pending_count, 1);
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

static void on_match_pattern(void *arg, void *value)
{
    if (((const struct topic *)value)->is_pattern)
        on_match(arg, value);
}

void fanout_deliver_patterns(struct shard *s, struct msg *m)
{
    struct delivery d = {.shard = s, .msg = m, .seq = ++s->delivered};
    topic_match(&s->topics, msg_channel(m), m->channel_hash, on_match_pattern,
                &d);
    deliver_found(&d);
}

static bool is_reached_by(const struct topic *t, const struct msg *m)
{
    if (t->is_pattern)
        return channel_matches(topic_name(t), msg_channel(m));
    return t->hash == m->channel_hash && str_eq(topic_name(t), msg_channel(m));
}

/* Only an exact subscription knows where the stream stands: what came after
 * its beginning is its to bring. */
static bool brings_stream(const struct sub *s, const struct msg *m)
{
    return s->positioned && m->epoch == s->epoch && m->offset > s->start;
}

/* Which of a client's subscriptions brings it this channel: the one that went
 * live first, so that a newer one changes nothing for what is under way. (If
 * the first one goes, what is under way may come twice.) */
struct sub *fanout_designated(const struct client *c, const struct msg *m)
{
    struct sub *by = NULL;
    struct sub *s;
    TAILQ_FOREACH(s, &c->subs, link) {
        if (s->state != SUB_LIVE || !is_reached_by(s->topic, m))
            continue;
        if (brings_stream(s, m))
            return s;
        if (!by || s->since < by->since)
            by = s;
    }
    return by;
}

bool fanout_is_designated(const struct client *c, const struct topic *t,
                          const struct msg *m)
{
    if (!c->several || c->sub_count == 1)
        return true;
    const struct sub *by = fanout_designated(c, m);
    return by && by->topic == t;
}

static void push(struct client *c, const struct lane *l, struct frame *f)
{
    client_push(c, f);
    if (l->pace && !c->closing && !c->closed)
        backlog_delivered(c, l->pace, f);
}

/* The client's streams stand elsewhere once it has this: it says so in front.
 * In a throttled lane both are one frame, which is never taken back: others
 * behind it say the same. */
static void push_marked(struct shard *s, struct lane *l, struct sub *sub,
                        uint32_t i)
{
    struct client *c = sub->client;
    struct buf mark = BUF_INIT;
    struct frame *f = pass_single(s, l->pass, i, c->encoding);
    sub->offset = l->pass->pubs[i].offset;
    sub->unsure = false;
    c->events->mark(c, sub, &mark);
    if (l->pace) {
        f = frame_behind(buf_view(&mark), f);
        push(c, l, f);
        frame_unref(f);
    } else {
        client_push_bytes(c, buf_view(&mark));
        push(c, l, f);
    }
    buf_free(&mark);
}

/* Their ids are in the bytes that all share. */
static void note_shared(struct client *c, struct sub *sub, const struct pass *p)
{
    if (!encoding_has_ids(c->encoding) || !sub->positioned)
        return;
    if (c->queue_count == 0)
        sub->firm = sub->offset;
    for (uint32_t i = p->count; i-- > 0;) {
        if (p->pubs[i].seq <= sub->from || !p->pubs[i].offset)
            continue;
        sub->offset = p->pubs[i].offset;
        return;
    }
}

static void push_each(struct shard *s, struct lane *l, struct sub *sub)
{
    struct pass *p = l->pass;
    struct client *c = sub->client;
    uint64_t from = sub->from;
    bool marks = c->marks && sub->positioned;
    note_shared(c, sub, p);
    for (uint32_t i = 0; i < p->count && !c->closing && !c->closed; i++) {
        if (p->pubs[i].seq <= from ||
            !fanout_is_designated(c, l->topic, p->pubs[i].msg))
            continue;
        if (marks && p->pubs[i].offset)
            push_marked(s, l, sub, i);
        else
            push(c, l, pass_single(s, p, i, c->encoding));
    }
}

/* What is not JSON cannot be told to a client that speaks JSON. */
static void refuse_binary(struct shard *s, struct client *c, uint32_t count)
{
    s->stats.drop_not_json += count;
    client_close(c, 3506, STR_LIT("inappropriate protocol"));
}

/* How many of the batch the subscription is not to get: those that already
 * waited here when it went live, or that it has got in another way. */
static uint32_t count_seen(const struct lane *l, const struct sub *sub)
{
    const struct pass *p = l->pass;
    uint32_t n = 0;
    if (l->joined < p->least_seq)
        return 0; /* Nobody is that new, the usual case. */
    for (uint32_t i = 0; i < p->count; i++)
        n += p->pubs[i].seq <= sub->from;
    return n;
}

static void serve(struct shard *s, struct lane *l,
                  const struct topic_slot *slot)
{
    struct pass *p = l->pass;
    struct client *c = slot->client;
    uint64_t from = slot->sub->from;
    uint32_t seen = count_seen(l, slot->sub);
    if (seen == p->count || slot->sub->overrun)
        return;
    if (p->binary_seq > from) {
        refuse_binary(s, c, p->count - seen);
        return;
    }
    if (p->urgent && !fanout_is_designated(c, l->topic, p->pubs[0].msg))
        return;
    if (p->urgent ? backlog_flush_group(c, slot->sub, &p->pubs[0])
                  : l->pace && backlog_takes(c, slot->sub, p))
        return;
    if (seen || c->several || (c->marks && slot->sub->positioned)) {
        push_each(s, l, slot->sub);
        return;
    }
    note_shared(c, slot->sub, p);
    push(c, l, pass_frame(s, p, c->encoding));
}

/* A client that serve() closes leaves the topic at once: its slot is filled
 * from the part still to serve, so the cursor looks at each slot afresh. */
static uint32_t serve_slice(struct shard *s, struct lane *l, uint32_t budget)
{
    uint32_t served = 0;
    while (l->cursor < l->limit && served < budget) {
        struct topic_slot slot = l->slots[l->cursor++];
        uint64_t before = s->stats.deliveries;
        serve(s, l, &slot);
        served++;
        /* An urgent one brings others along, client by client. */
        if (l->pass->urgent && s->stats.deliveries > before)
            served += (uint32_t)(s->stats.deliveries - before) / 16;
    }
    return served < budget ? served : budget;
}

static uint32_t run_lane(struct shard *s, struct lane *l, uint32_t budget)
{
    if (!l->pass && l->pending_count == 0)
        return 0; /* Its subscribers left, and the publications with them. */
    if (!l->pass) {
        l->pass = pass_begin(l);
        l->cursor = 0;
        l->limit = l->count;
    }
    uint32_t served = serve_slice(s, l, budget);
    if (l->cursor < l->limit)
        return served;
    l->ended += l->pass->count;
    pass_end(l->pass);
    l->pass = NULL;
    l->cursor = 0;
    l->limit = 0;
    return served;
}

bool fanout_run(struct shard *s)
{
    uint32_t left = s->hub->options.slice;
    struct lane *l;
    while (left && (l = TAILQ_FIRST(&s->busy))) {
        uint32_t quantum = left < QUANTUM ? left : QUANTUM;
        uint32_t served = run_lane(s, l, quantum);
        left -= served ? served : 1;
        TAILQ_REMOVE(&s->busy, l, busy_link);
        if (l->pass || l->pending_count) {
            TAILQ_INSERT_TAIL(&s->busy, l, busy_link);
            continue;
        }
        l->busy = false;
        fanout_settle(s, l);
    }
    s->stats.slices++;
    return !TAILQ_EMPTY(&s->busy);
}

void fanout_settle(struct shard *s, struct lane *l)
{
    struct topic *t = l->topic;
    if (l->count == 0)
        lane_drop_pending(l);
    /* A busy lane may be in the middle of run_lane: it settles there. */
    if (l->pace && l->count == 0 && !l->busy)
        pace_free(l->pace);
    if (!topic_is_quiet(t) || t->asking)
        return;
    home_leave(s, topic_name(t), t->hash);
    topic_free(&s->topics, t);
}

static struct sub *find_asking(struct client *c, const struct ask *a)
{
    struct sub *sub = client_find_sub(c, str_n(a->channel, a->len));
    if (!sub || sub->gen != a->sub_gen || sub->state != SUB_ASKING)
        return NULL;
    return sub;
}

/* The part of a snapshot that was not told in the answer: it follows as
 * ordinary publications, chosen when they can be taken. */
static void give_rest(struct client *c, struct sub *sub, const struct ask *a,
                      uint32_t told)
{
    for (uint32_t i = told; i < a->snapshot_count && !c->closing; i++) {
        struct msg *m = a->snapshot[i];
        /* Older than anything the lane will send. */
        struct lane_pub pub = {m, 0, 1, 0, 0};
        backlog_give(c, sub, &pub);
    }
}

static void go_live(struct shard *s, struct client *c, struct sub *sub,
                    struct ask *a)
{
    struct topic *t = sub->topic;
    struct sub_answer answer = {
        .snapshot = a->snapshot,
        .count = a->snapshot_count,
        .known = a->known,
        .position = a->position,
        .recovery = (uint8_t)a->recovery,
    };
    sub->positioned = a->position.epoch != 0;
    sub->epoch = a->position.epoch;
    sub->offset = sub->start = a->position.offset;
    uint32_t told = c->events->subscribed(c, sub, &answer);
    /* The session may have thought better of it meanwhile. */
    if (find_asking(c, a) != sub)
        return;
    sub->since = s->delivered;
    sub->firm = sub->offset;
    lane_add(pace_lane(s, t, sub->policy, sub->grant), sub, s->delivered);
    hub_note_throttled(sub);
    give_rest(c, sub, a, told);
}

/* --- losses -------------------------------------------------------------- */

static void on_tell_lost(struct wheel_timer *t)
{
    struct sub *sub = container_of(t, struct sub, tell_lost);
    struct client *c = sub->client;
    if (sub->state == SUB_LIVE)
        fanout_lose_sub(sub, LOSS_STREAM);
    if (c->closing || c->closed)
        return; /* and the subscription went with it */
    wheel_stop(&c->shard->wheel, t);
    c->events->lost(c, sub, (enum loss)sub->loss);
}

static void plan_tell(struct sub *sub, uint64_t spread_ms)
{
    struct shard *s = sub->client->shard;
    sub->tell_lost.fire = on_tell_lost;
    wheel_start(&s->wheel, &sub->tell_lost,
                shard_now_ms(s) + rand_below(&s->rand, spread_ms + 1));
}

void fanout_overrun(struct sub *sub)
{
    if (!sub->positioned || sub->overrun)
        return;
    sub->overrun = true;
    plan_tell(sub, 0);
}

void fanout_lose_sub(struct sub *sub, enum loss why)
{
    struct client *c = sub->client;
    struct shard *s = c->shard;
    struct lane *l = sub->lane;
    struct backlog_rest *rest = backlog_leave(c, sub);
    if (why == LOSS_GAP)
        s->stats.subs_gap++;
    else
        s->stats.subs_lost++;
    lane_remove(l, sub);
    sub->state = SUB_LOST;
    sub->loss = (uint8_t)why;
    sub->topic->asking++; /* it stays until the subscription ends */
    plan_tell(sub, s->hub->options.heal_spread_ms);
    fanout_settle(s, l);
    /* Last: it may end the client, and with it the subscription. */
    backlog_give_rest(c, rest);
}

struct subs {
    struct sub **items; /* owned */
    size_t count;
};

static void collect(struct subs *to, const struct lane *l, enum loss why)
{
    to->items =
        mem_realloc(to->items, (to->count + l->count + 1) * sizeof(*to->items));
    for (uint32_t i = 0; i < l->count; i++) {
        struct sub *sub = l->slots[i].sub;
        if (sub->positioned || why == LOSS_GAP)
            to->items[to->count++] = sub;
    }
}

void fanout_lose(struct shard *s, const struct lost_topic *lost, enum loss why)
{
    struct topic *t =
        topic_find(&s->topics, lost->name, lost->hash, lost->is_pattern);
    struct subs all = {0};
    struct pace *p;
    if (!t)
        return;
    collect(&all, &t->plain, why);
    SLIST_FOREACH(p, &t->paces, link)
        collect(&all, &p->lane, why);
    /* Each is another client's, so none goes with one before it. */
    for (size_t i = 0; i < all.count; i++) {
        struct client *c = all.items[i]->client;
        if (why == LOSS_GAP && c->events->gap(c, all.items[i]))
            s->stats.subs_gap++;
        else
            fanout_lose_sub(all.items[i], why);
    }
    free(all.items);
}

/* --- answers ------------------------------------------------------------- */

static void refuse(struct client *c, struct sub *sub, const struct ask *a)
{
    struct sub_answer answer = {.error = a->error};
    c->events->subscribed(c, sub, &answer);
    sub = find_asking(c, a);
    if (sub)
        hub_unsubscribe(c, sub);
}

void fanout_answer(struct shard *s, struct ask *a)
{
    struct topic *t = topic_find(&s->topics, str_n(a->channel, a->len), a->hash,
                                 a->is_pattern);
    CHECK(t && t->asking);
    struct client *c = client_find(s, a->client);
    struct sub *sub = c ? find_asking(c, a) : NULL;
    if (sub && a->error == 0)
        go_live(s, c, sub, a);
    else if (sub)
        refuse(c, sub, a);
    /* Only now: the callback may have closed the client, and the topic must
     * not go with it under us. */
    t->asking--;
    fanout_settle(s, &t->plain);
    home_free_ask(a);
}
