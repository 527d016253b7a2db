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

/* What a namespace says about the streams of its channels. Read-only after
 * start. */
struct history_policy {
    uint32_t size;        /* publications kept; 0: no history */
    uint64_t ttl_ms;      /* how long */
    uint64_t meta_ttl_ms; /* in-process: the position of a quiet channel */
    bool cache;           /* recovery gives the newest publication only */
    bool auto_cache;      /* and every subscription begins with it */
    bool tell_gaps;       /* without history: a possible gap is told */
};

/* Neither history nor gaps told. */
extern const struct history_policy history_none;

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
    const struct history_policy *history; /* borrowed: the namespace's */
    /* Its place in the channel's stream; 0: it has none. Set by the home shard
     * before anybody else sees it (in-process), or as the bus has it. */
    uint64_t epoch;
    uint64_t offset;
    /* From a bus: the offset of the publication before it, 0 when that is gone
     * (or MSG_PREV_UNKNOWN), and the bus's count of possible gaps when this one
     * came. */
    uint64_t prev;
    uint64_t gap;
    _Atomic(struct msg_budget *) budget; /* borrowed: outlives every msg */
    uint32_t channel_len;
    uint32_t data_len;
    uint32_t tags_len;
    uint32_t info_len;
    bool is_json;      /* data is one valid JSON value without raw newlines */
    bool urgent;       /* never conflated; flushes its order group first */
    bool keyless;      /* the namespace's key found nothing: the channel is the
                   * item */
    bool skip_history; /* gets no place in the stream */
    bool is_marker;    /* from a bus: the stream was emptied here; never sent */
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
    const struct history_policy *history; /* NULL: none */
    uint64_t epoch;
    uint64_t offset;
    uint64_t prev;
    uint64_t gap;
    bool is_json;
    bool urgent;
    bool keyless;
    bool skip_history;
    bool is_marker;
    uint64_t born_ns;
};

/* The bus brings all of the stream and does not say what was before: it is
 * whatever came before. */
#define MSG_PREV_UNKNOWN UINT64_MAX

/* One reference, owned by the caller; NULL when the budget is used up
 * (counted in budget->refused). */
struct msg *msg_new(struct msg_budget *b, const struct msg_parts *parts)
    MUST_USE;
void msg_unref(struct msg *m);
/* Somebody keeps it beyond its way through the node: it counts in `to` from
 * now on, not in what is in flight. Any thread that has a reference; all to
 * the same budget. */
void msg_hold(struct msg *m, struct msg_budget *to);

/* A reference of the caller's to the same publication in that budget, which
 * refuses nothing: itself, or a copy. What is in flight stays bounded by its
 * own budget, however long a copy is kept. */
struct msg *msg_copy(struct msg *m, struct msg_budget *to);

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
