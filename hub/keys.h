/* keys.h — results of publications with an idempotency key, for a while.
 *
 *     (channel, key) -> position          kept KEYS_TTL_MS, oldest first out
 *
 * Why:    the same publication sent again gets the same result, and nobody
 *         gets it twice. A key is its channel's alone.
 * Owns:   its entries. Thread: one home shard's each.
 * Bounds: max_count entries: over it the oldest goes (counted: evicted).
 * Uses:   base/hash, base/buf, base/mem, hub/position. */
#ifndef WEIR_HUB_KEYS_H
#define WEIR_HUB_KEYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/str.h"
#include "hub/position.h"

#define KEYS_TTL_MS 300000
/* Of one key; longer ones are refused before they come here. */
#define KEYS_KEY_MAX_BYTES 255

struct keys_entry;
TAILQ_HEAD(keys_list, keys_entry);

struct keys {
    struct keys_entry *entries; /* hash by channel and key */
    struct keys_list order;     /* oldest first */
    size_t count;
    size_t max_count;
    uint64_t evicted;
};

void keys_init(struct keys *k, size_t max_count);
void keys_fini(struct keys *k);

/* NULL when it is not known (any more). Valid until the next call. */
const struct position *keys_find(struct keys *k, struct str channel,
                                 struct str key, uint64_t now_ms);
/* A key that keys_find does not know. */
void keys_put(struct keys *k, struct str channel, struct str key,
              struct position result, uint64_t now_ms);

/* Asserts every invariant; for tests. */
void keys_check(const struct keys *k);

#endif
