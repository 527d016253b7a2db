/* history.h — the streams of channels: what was published, and where it stands.
 *
 *     floor      ring                          top
 *       4        [5] [6] [7] [8]                8      in-process: dense
 *      17        [19] [23] [31]                31      over a bus: sparse
 *
 * `top` is the position of the newest publication, or (over a bus) a later one
 * that nothing of the channel lies before; the ring has EVERY publication of
 * the channel above `floor`. So what lies after P is known exactly when
 * floor <= P <= top.
 *
 * Why:    one answer to "what came after P", whoever numbers the publications.
 * Owns:   streams, references to publications. Borrows: policies.
 * Thread: one home shard's each.
 * Bounds: policy.size publications and policy.ttl_ms a channel; max_bytes in
 *         all (msg_size of what is kept, HISTORY_ITEM_COST each, and
 *         HISTORY_STREAM_COST with the name for a stream): over it the least
 *         recently used channels go first. Counted: evicted.
 * Uses:   base/hash, base/mem, hub/msg, hub/position. */
#ifndef WEIR_HUB_HISTORY_H
#define WEIR_HUB_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/str.h"
#include "hub/msg.h"
#include "hub/position.h"

#define HISTORY_ITEM_COST 32
#define HISTORY_STREAM_COST 256

struct history_item {
    struct msg *msg; /* shared; its offset is set */
    uint64_t at_ms;  /* when it was published */
};

struct history_stream {
    UT_hash_handle hh;                   /* linked: history.streams */
    TAILQ_ENTRY(history_stream) use;     /* linked: history.order */
    const struct history_policy *policy; /* borrowed */
    uint64_t epoch;
    uint64_t top;
    uint64_t floor;
    bool cut; /* floor was raised for max_bytes: the bus may know more */
    struct history_item *ring; /* owned */
    uint32_t head;
    uint32_t count;
    uint32_t cap;
    size_t bytes;          /* of it in history.bytes, all counted */
    uint64_t used_ms;      /* last published to, or read */
    uint64_t published_ms; /* last published to; 0: never */
    uint64_t version;      /* of the newest versioned publication; 0: none */
    char *version_epoch;   /* owned; NULL: "" */
    uint32_t hash;
    uint16_t len;
    char name[];
};

TAILQ_HEAD(history_order, history_stream);

struct history {
    size_t max_bytes;
    size_t bytes;
    /* True over a bus: each publication has its own ttl, and a stream over
     * max_bytes loses its items but never its position. False in-process: the
     * ttl is of the whole list, from the last publication; streams expire by
     * meta_ttl_ms (0: never) and go with their epoch. */
    bool is_cache;
    struct history_stream *streams; /* hash by name */
    /* Least recently used first; of a cache only those that have items. */
    struct history_order order;
    struct history_stream *swept; /* where history_sweep goes on; NULL */
    uint64_t evicted; /* counter: publications given up for max_bytes */
    /* A stream goes, with its epoch: for max_bytes or by meta_ttl_ms. It may
     * look at the stream and must not call back. May be NULL. */
    void (*forgotten)(void *arg, const struct history_stream *s);
    void *arg; /* borrowed */
};

void history_init(struct history *h, size_t max_bytes, bool is_cache);
void history_fini(struct history *h);

/* What has expired by now_ms goes first. find: NULL if there is none. get
 * makes an empty one: `epoch`, top and floor 0. Both are a use. The pointer
 * holds until the next call with another channel. */
struct history_stream *history_find(struct history *h, struct str channel,
                                    uint32_t hash, uint64_t now_ms);
struct history_stream *history_get(struct history *h, struct str channel,
                                   uint32_t hash,
                                   const struct history_policy *policy,
                                   uint64_t epoch, uint64_t now_ms);

/* The newest publication: m->offset > s->top, what is kept is msg_copy in
 * `held`. at_ms is when it was published (now_ms, or earlier
 * when it was read from the bus). With policy size 0 only top moves. May evict
 * others, never `s`; of `s` alone over the bound the oldest go (cut). */
void history_append(struct history *h, struct history_stream *s, struct msg *m,
                    uint64_t at_ms, uint64_t now_ms, struct msg_budget *held);
/* The items go, the position stays: floor = top. */
void history_clear(struct history *h, struct history_stream *s);
/* Nothing is known before it: items go, floor = top = offset. */
void history_reset(struct history *h, struct history_stream *s, uint64_t epoch,
                   uint64_t offset);
void history_drop(struct history *h, struct history_stream *s);

static inline const struct history_item *history_at(
    const struct history_stream *s, uint32_t i)
{
    return &s->ring[(s->head + i) % s->cap];
}

/* The index of the first item with an offset above P; s->count if none. */
uint32_t history_after(const struct history_stream *s, uint64_t offset);

/* Is this version not newer than what the stream has? version 0: no. A version
 * of another version_epoch is newer; an empty one is of every epoch. Setting
 * version 0 changes nothing. */
bool history_is_old_version(const struct history_stream *s, uint64_t version,
                            struct str version_epoch);
void history_set_version(struct history_stream *s, uint64_t version,
                         struct str version_epoch);

/* Let expire what is due, looking at no more than `most` streams; the next call
 * goes on behind them. */
void history_sweep(struct history *h, uint64_t now_ms, uint32_t most);

/* Asserts every invariant; for tests. */
void history_check(const struct history *h);

#endif
