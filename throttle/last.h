/* last.h — the last values of channels: what a newcomer is given first.
 *
 *     channel -> items: key -> newest value        (snapshot 1, merge)
 *             -> recent: the last N values          (snapshot N)
 *
 * Why:    a snapshot at once, then updates; and the state patches merge into.
 * Owns:   its entries and references to values, counted by the ops. The ops
 *         and what last_each calls must leave it alone.
 * Thread: one home shard's each.
 * Bounds: max_items items a channel: the least recently updated goes;
 *         max_bytes in all (values as the caller weighs them, plus
 *         LAST_ITEM_COST and LAST_CHANNEL_COST; what is both an item's and a
 *         recent one counts twice): the least recently used channel loses
 *         its least recently updated value, and itself with its last one.
 *         Counted: evicted. Recent values beyond N are not.
 * Uses:   base/hash, base/mem, base/str. */
#ifndef WEIR_THROTTLE_LAST_H
#define WEIR_THROTTLE_LAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/str.h"

/* Both with their share of the hash tables; a channel's with its name. */
#define LAST_ITEM_COST 128
#define LAST_CHANNEL_COST 256

struct last_ops {
    void (*ref)(void *value);
    void (*unref)(void *value);
    size_t (*weigh)(const void *value); /* bytes; the same every time */
};

struct last_channel;
struct last_item;
TAILQ_HEAD(last_channels, last_channel);

struct last {
    const struct last_ops *ops; /* borrowed: constant */
    size_t max_bytes;
    uint32_t max_items;
    size_t bytes;
    struct last_channel *channels; /* hash by name */
    struct last_channels order;    /* least recently used first */
    struct last_item *items;       /* hash by channel and item, of all */
    uint64_t puts;                 /* so far: the age of a value */
    uint64_t evicted;              /* counter: values given up for a bound */
};

void last_init(struct last *l, size_t max_bytes, uint32_t max_items,
               const struct last_ops *ops);
void last_fini(struct last *l);

/* A new value (a reference is taken). `by_item`: it becomes the newest of
 * `item`. recent > 0: it is also the newest of the last `recent` values of
 * the channel. A value that alone is over max_bytes is not kept, and takes
 * with it what it would have made outdated: the item's value, the recent
 * ones (counted). A use of the channel. */
void last_put(struct last *l, struct str channel, uint32_t hash, uint64_t item,
              void *value, bool by_item, uint32_t recent);
/* The newest value of an item; NULL if unknown. Still ours, until the next
 * last_put or last_drop. */
void *last_get(const struct last *l, struct str channel, uint32_t hash,
               uint64_t item);
/* Is anything known of the channel? */
bool last_knows(const struct last *l, struct str channel, uint32_t hash);
/* Every item's value, least recently updated first; or, with recent > 0, the
 * last `recent` values, oldest first. A use of the channel. */
void last_each(struct last *l, struct str channel, uint32_t hash,
               uint32_t recent, void (*fn)(void *arg, void *value), void *arg);
/* Forget a channel. */
void last_drop(struct last *l, struct str channel, uint32_t hash);

/* Forget every channel for which `want` is true. */
void last_drop_if(struct last *l,
                  bool (*want)(void *arg, struct str channel, uint32_t hash),
                  void *arg);

/* Asserts every invariant; for tests. */
void last_check(const struct last *l);

#endif
