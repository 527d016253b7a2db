#include "hub/pace.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/fanout.h"
#include "hub/hub.h"
#include "hub/pass.h"

#define TICK_SLACK_NS 3000000u

static void ref_value(void *value)
{
    msg_ref(value);
}

static void unref_value(void *value)
{
    msg_unref(value);
}

static const struct conflate_ops ops = {ref_value, unref_value};

static void arm(struct pace *p, uint64_t now_ns)
{
    uint64_t at_ns =
        throttle_next_tick(p->grant.rate, p->lane.topic->hash, now_ns);
    wheel_start(&p->shard->ticks, &p->tick, (at_ns + 999999) / 1000000);
}

static struct lane_pub pub_of(struct msg *m, uint64_t seq, uint64_t first_seq,
                              uint32_t n)
{
    uint64_t behind = seq - first_seq;
    uint32_t most = UINT32_MAX;
    return (struct lane_pub){m, seq, n, behind < most ? (uint32_t)behind : most,
                             0};
}

/* Where the stream stands is told by what leaves nothing behind: while an item
 * waits, a newer publication of another one moves nothing. */
static void note_position(struct pace *p)
{
    struct lane *l = &p->lane;
    struct lane_pub *last = &l->pending[l->pending_head + l->pending_count - 1];
    if (last->msg->offset && TAILQ_EMPTY(&p->conflate.waiting))
        last->offset = p->top;
}

/* The lane gets everything that waits; the values' references go along. */
static void send_waiting(struct pace *p)
{
    struct conflate_due due;
    bool any = false;
    while (conflate_take(&p->conflate, p->shard->now_ns, &due)) {
        lane_push(&p->lane, pub_of(due.value, due.seq, due.first_seq, due.n));
        p->shard->stats.throttle_conflated[p->grant.mode] += due.n - 1;
        any = true;
    }
    if (!any)
        return;
    note_position(p);
    fanout_busy(p->shard, &p->lane);
}

static void on_tick(struct wheel_timer *timer)
{
    struct pace *p = container_of(timer, struct pace, tick);
    struct shard *s = p->shard;
    /* Still at the last tick's work: there will be a newer value then. */
    if ((int32_t)(p->lane.ended - p->fence) < 0) {
        wheel_start(&s->ticks, &p->tick, shard_now_ms(s) + 1);
        return;
    }
    send_waiting(p);
    p->fence = p->lane.pushed;
    if (conflate_rest(&p->conflate, s->now_ns))
        arm(p, s->now_ns);
}

static struct pace *find(const struct topic *t, struct throttle_grant grant)
{
    struct pace *p;
    SLIST_FOREACH(p, &t->paces, link) {
        if (p->grant.mode == grant.mode && p->grant.rate == grant.rate)
            return p;
    }
    return NULL;
}

/* How long an item must not have been sent to go at once. Ticks come late by
 * their wheel's resolution and a turn; without the same on top, an item could
 * be sent by a late tick and at once in every interval. */
static uint64_t quiet_ns(struct throttle_grant grant)
{
    return grant.rate ? throttle_interval_ns(grant.rate) + TICK_SLACK_NS : 0;
}

struct lane *pace_lane(struct shard *s, struct topic *t,
                       const struct throttle_policy *policy,
                       struct throttle_grant grant)
{
    if (throttle_is_plain(policy, grant))
        return &t->plain;
    struct pace *p = find(t, grant);
    if (p)
        return &p->lane;
    p = mem_zalloc(sizeof(*p));
    lane_init(&p->lane, t, p);
    p->policy = policy;
    p->grant = grant;
    p->shard = s;
    p->id = ++s->next_pace_id;
    p->tick.fire = on_tick;
    conflate_init(&p->conflate, quiet_ns(grant), s->hub->options.max_items,
                  &ops);
    SLIST_INSERT_HEAD(&t->paces, p, link);
    t->plain.paces++;
    return &p->lane;
}

void pace_free(struct pace *p)
{
    struct topic *t = p->lane.topic;
    SLIST_REMOVE(&t->paces, p, pace, link);
    t->plain.paces--;
    wheel_stop(&p->shard->ticks, &p->tick);
    conflate_fini(&p->conflate);
    lane_fini(&p->lane);
    free(p);
}

static void send_now(struct pace *p, struct msg *m, uint64_t seq)
{
    lane_push(&p->lane, pub_of(msg_ref(m), seq, seq, 1));
    note_position(p);
    fanout_busy(p->shard, &p->lane);
}

/* Never conflated: what it must not overtake has gone. */
static void offer_urgent(struct pace *p, struct msg *m, uint64_t seq)
{
    if (conflate_offer(&p->conflate, m->item, m, seq, p->shard->now_ns))
        send_now(p, m, seq);
    else
        send_waiting(p);
}

void pace_offer(struct pace *p, struct msg *m, uint64_t seq)
{
    struct shard *s = p->shard;
    s->stats.throttle_publications[p->grant.mode]++;
    /* It may be kept for as long as nothing newer comes, or a slow client does
     * not take it: publishers do not wait for that. */
    msg_hold(m, &s->hub->held);
    /* What an urgent one must not overtake goes before it, and says where the
     * stream stood without it. */
    if (m->urgent && pace_conflates(p))
        send_waiting(p);
    if (m->offset > p->top)
        p->top = m->offset;
    if (!pace_conflates(p)) {
        send_now(p, m, seq);
        return;
    }
    uint64_t before = p->conflate.untracked;
    if (m->urgent)
        offer_urgent(p, m, seq);
    else if (conflate_offer(&p->conflate, m->item, m, seq, s->now_ns))
        send_now(p, m, seq);
    s->stats.throttle_untracked += p->conflate.untracked - before;
    /* Also to forget the item when it is quiet. */
    if (p->grant.rate && !p->tick.deadline_ms)
        arm(p, s->now_ns);
}

static void each_pub(const struct lane_pub *pubs, uint32_t count, uint64_t from,
                     void (*fn)(void *arg, const struct lane_pub *pub),
                     void *arg)
{
    for (uint32_t i = 0; i < count; i++) {
        if (pubs[i].seq > from)
            fn(arg, &pubs[i]);
    }
}

void pace_each_unseen(struct lane *l, const struct sub *sub,
                      void (*fn)(void *arg, const struct lane_pub *pub),
                      void *arg)
{
    const struct conflate_item *item;
    /* Only what stands in the middle part is still to be served. */
    if (l->pass && sub->index >= l->cursor && sub->index < l->limit)
        each_pub(l->pass->pubs, l->pass->count, sub->from, fn, arg);
    each_pub(l->pending + l->pending_head, l->pending_count, sub->from, fn,
             arg);
    if (!l->pace)
        return;
    TAILQ_FOREACH(item, &l->pace->conflate.waiting, link) {
        struct lane_pub pub = pub_of(item->value, item->seq, item->first_seq,
                                     item->count - item->sent_count);
        each_pub(&pub, 1, sub->from, fn, arg);
    }
}
