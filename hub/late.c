#include "hub/late.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/fanout.h"
#include "hub/hub.h"
#include "hub/pace.h"
#include "hub/pass.h"

static struct shard *shard_of(const struct late *l)
{
    return l->sub->client->shard;
}

static uint64_t *dropped_of(const struct late *l)
{
    return &shard_of(l)->stats.throttle_dropped[l->sub->grant.mode];
}

static uint64_t item_of(const void *value)
{
    return ((const struct msg *)value)->item;
}

struct late *late_new(struct sub *sub)
{
    struct late *l = mem_zalloc(sizeof(*l));
    l->sub = sub;
    waiting_init(&l->slots, item_of);
    return l;
}

/* --- slots ------------------------------------------------------------- */

static void lose(struct late *l, struct msg *m)
{
    ++*dropped_of(l);
    shard_of(l)->stats.throttle_evicted++;
    fanout_overrun(l->sub);
    msg_unref(m);
}

void late_put(struct late *l, const struct lane_pub *pub, bool is_newest)
{
    struct shard *s = shard_of(l);
    struct waiting_slot *slot = waiting_find(&l->slots, pub->msg->item);
    msg_hold(pub->msg, &s->hub->held);
    if (slot) {
        s->stats.throttle_conflated[l->sub->grant.mode]++;
        slot->n += pub->n;
        if (!is_newest)
            return;
        msg_unref(slot->value);
        slot->value = msg_ref(pub->msg);
        return;
    }
    struct msg *out = waiting_add(&l->slots, msg_ref(pub->msg), pub->n,
                                  shard_now_ms(s), s->hub->options.max_items);
    if (out)
        lose(l, out);
    else
        s->waiting++;
}

static size_t cost(void *arg, void *value)
{
    (void)arg;
    return msg_size(value);
}

static struct waiting_slot *next_slot(struct late *l)
{
    return waiting_next(&l->slots, shard_now_ms(shard_of(l)), cost, NULL);
}

static void forget_slot(struct late *l, struct waiting_slot *slot)
{
    struct msg *m = slot->value;
    waiting_remove(&l->slots, slot);
    shard_of(l)->waiting--;
    msg_unref(m);
}

static struct frame *take_slot(struct late *l)
{
    struct waiting_slot *slot = next_slot(l);
    struct lane_pub pub = {.msg = slot->value, .n = slot->n};
    struct frame *f = pass_encode_for(shard_of(l), l->sub->lane,
                                      l->sub->client->encoding, &pub, 0);
    forget_slot(l, slot);
    return f;
}

/* --- ring -------------------------------------------------------------- */

static uint32_t size_of(const struct late *l)
{
    return l->sub->policy->buffer;
}

static struct frame *pop(struct late *l)
{
    struct frame *f = l->ring[l->head];
    l->head = (l->head + 1) % size_of(l);
    l->count--;
    l->ring_bytes -= f->len;
    shard_of(l)->waiting--;
    return f;
}

static void lose_frame(struct late *l, struct frame *f)
{
    l->lost += f->publications;
    *dropped_of(l) += f->publications;
    fanout_overrun(l->sub);
    frame_unref(f);
}

static bool is_full(const struct late *l, const struct frame *f)
{
    return l->count == size_of(l) ||
           (l->count &&
            l->ring_bytes + f->len > shard_of(l)->hub->options.queue_max_bytes);
}

static void count_in(struct late *l, const struct frame *f)
{
    l->count++;
    l->ring_bytes += f->len;
    shard_of(l)->waiting++;
}

static void make_ring(struct late *l)
{
    if (!l->ring)
        l->ring = mem_zalloc(size_of(l) * sizeof(*l->ring));
}

void late_append(struct late *l, struct frame *single)
{
    make_ring(l);
    while (is_full(l, single))
        lose_frame(l, pop(l));
    l->ring[(l->head + l->count) % size_of(l)] = single;
    count_in(l, single);
}

/* It is the oldest itself. */
void late_prepend(struct late *l, struct frame *single)
{
    make_ring(l);
    /* What is told as lost stands before everything in the ring. */
    if (l->lost || is_full(l, single)) {
        lose_frame(l, single);
        return;
    }
    l->head = (l->head + size_of(l) - 1) % size_of(l);
    l->ring[l->head] = single;
    count_in(l, single);
}

static const struct lane_pub *pub_of(const struct frame *f)
{
    return &f->pass->pubs[f->index];
}

static struct frame *take_frame(struct late *l)
{
    struct frame *f = pop(l);
    if (l->lost == 0)
        return f;
    struct frame *told =
        pass_encode_for(shard_of(l), l->sub->lane, l->sub->client->encoding,
                        pub_of(f), l->lost);
    l->lost = 0;
    frame_unref(f);
    return told;
}

/* --- both -------------------------------------------------------------- */

size_t late_cost(struct late *l)
{
    if (l->slots.count)
        return cost(NULL, next_slot(l)->value);
    return l->ring[l->head]->len;
}

struct frame *late_take(struct late *l)
{
    return l->slots.count ? take_slot(l) : take_frame(l);
}

void late_take_all(struct late *l,
                   void (*fn)(void *arg, const struct lane_pub *pub,
                              uint32_t lost),
                   void *arg)
{
    for (uint32_t i = 0; i < l->slots.cap; i++) {
        struct waiting_slot *slot = &l->slots.slots[i];
        struct lane_pub pub = {.msg = slot->value, .n = slot->n};
        if (!slot->value)
            continue;
        fn(arg, &pub, 0);
        msg_unref(slot->value);
        shard_of(l)->waiting--;
    }
    waiting_fini(&l->slots);
    waiting_init(&l->slots, item_of);
    while (l->count) {
        struct frame *f = pop(l);
        fn(arg, pub_of(f), l->lost);
        l->lost = 0;
        frame_unref(f);
    }
}

static void ignore(void *arg, const struct lane_pub *pub, uint32_t lost)
{
    (void)arg;
    (void)pub;
    (void)lost;
}

void late_free(struct late *l)
{
    late_take_all(l, ignore, NULL);
    free(l->ring);
    free(l);
}
