/* msg.h — a publication: immutable bytes that every thread may hold.
 *
 *     one allocation:  [struct msg | channel | data | tags | info]
 *
 * Why:    from the moment it is admitted until the last shard has handed it
 *         on, a publication is copied once (when a shard encodes it).
 * Owns:   its bytes, freed with the last reference.
 * Thread: written by the thread that makes it, read-only afterwards; the
 *         count is atomic. Bounds: the node's msg_budget, checked on entry,
 *         so that no mailbox behind the entry needs a bound of its own.
 * Uses:   base/, throttle/policy. */
#ifndef WEIR_HUB_MSG_H
#define WEIR_HUB_MSG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "throttle/policy.h"

/* Bytes of publications admitted and not yet handed to every subscriber. */
struct msg_budget {
    _Atomic int64_t used_bytes;
    int64_t max_bytes;
    _Atomic uint64_t refused; /* counter: publications turned away */
};

struct msg {
    _Atomic uint32_t refs;
    uint32_t channel_hash;
    uint64_t born_ns; /* clock_now_ns when it entered this node */
    uint64_t item;    /* what it is the newest value of: msg_item_hash */
    const struct throttle_policy *policy; /* borrowed: the namespace's */
    _Atomic(struct msg_budget *) budget;  /* borrowed: outlives every msg */
    uint32_t channel_len;
    uint32_t data_len;
    uint32_t tags_len;
    uint32_t info_len;
    bool is_json; /* data is one valid JSON value without raw newlines */
    bool urgent;  /* never conflated; flushes its order group first */
    bool keyless; /* the namespace's key found nothing: the channel is the
                   * item */
    char bytes[];
};

/* What goes into a msg. All borrowed until msg_new returns. `tags` is a JSON
 * object of strings or empty, `info` a ClientInfo JSON object or empty. */
struct msg_parts {
    struct str channel;
    struct str data;
    struct str tags;
    struct str info;
    uint64_t item;                        /* msg_item_hash; 0: the channel's */
    const struct throttle_policy *policy; /* NULL: plain */
    bool is_json;
    bool urgent;
    bool keyless;
    uint64_t born_ns;
};

/* One reference, owned by the caller; NULL when the budget is used up
 * (counted in budget->refused). */
struct msg *msg_new(struct msg_budget *b, const struct msg_parts *parts)
    MUST_USE;
void msg_unref(struct msg *m);
/* Somebody keeps it beyond its way through the node: it counts in `to` from
 * now on, not in what is in flight. Any thread that has a reference; all to
 * the same budget. */
void msg_hold(struct msg *m, struct msg_budget *to);

static inline struct msg *msg_ref(struct msg *m)
{
    /* Relaxed: whoever hands a msg over already synchronises by mailbox. */
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

static inline struct str msg_channel(const struct msg *m)
{
    return str_n(m->bytes, m->channel_len);
}

static inline struct str msg_data(const struct msg *m)
{
    return str_n(m->bytes + m->channel_len, m->data_len);
}

static inline struct str msg_tags(const struct msg *m)
{
    return str_n(m->bytes + m->channel_len + m->data_len, m->tags_len);
}

static inline struct str msg_info(const struct msg *m)
{
    return str_n(m->bytes + m->channel_len + m->data_len + m->tags_len,
                 m->info_len);
}

/* Bytes it takes, all parts counted. */
size_t msg_size(const struct msg *m);

/* The hash that names a channel's home shard and its place in every index. */
uint32_t msg_channel_hash(struct str channel);
/* Names an item of a channel on this node: the seeded hash of both, never 0.
 * `key` is what the namespace's pointer found, as JSON text; empty: the
 * channel itself. 64 bits nobody can steer: taken as the identity. */
uint64_t msg_item_hash(struct str channel, struct str key);

#endif
