/* conflate.h — what one rate class of one topic still has to send.
 *
 *     offer(k, v1), quiet    -> true: send it now (leading edge)
 *     offer(k, v2)           -> false: it waits for the class's tick
 *     offer(k, v3)           -> false: takes v2's place, v2 is conflated
 *     take at the tick       -> v3, n = 2
 *
 * Why:    conflation is done once for all members of a class.
 * Owns:   items and references to values, counted by the ops.
 * Thread: the owner's. Time is the caller's.
 * Bounds: max_items items. When all are in use, a further one is sent at once
 *         instead of being tracked (counted: untracked).
 * Uses:   base/hash. */
#ifndef WEIR_THROTTLE_CONFLATE_H
#define WEIR_THROTTLE_CONFLATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/hash.h"

struct conflate;

struct conflate_ops {
    void (*ref)(void *value);
    void (*unref)(void *value);
};

struct conflate_item {
    UT_hash_handle hh;               /* linked: conflate.items */
    TAILQ_ENTRY(conflate_item) link; /* linked: conflate.waiting or resting */
    uint64_t key;
    void *value;         /* shared: newest one that was not sent, or NULL */
    uint64_t seq;        /* of value */
    uint64_t first_seq;  /* of the first one that waited in its place */
    uint64_t sent_ns;    /* when one was sent last */
    uint32_t count;      /* values offered so far; wraps */
    uint32_t sent_count; /* count at the last send */
};

TAILQ_HEAD(conflate_list, conflate_item);

struct conflate {
    const struct conflate_ops *ops; /* borrowed: constant */
    uint64_t interval_ns;           /* 0: everything is sent at once */
    uint32_t max_items;
    uint32_t count;
    struct conflate_item *items;  /* hash by key */
    struct conflate_list waiting; /* with a value; first offered first */
    struct conflate_list resting; /* without; least recently sent first */
    uint64_t conflated;           /* counter: values replaced unsent */
    uint64_t untracked;           /* counter: sent at once, table full */
};

/* One value to send. */
struct conflate_due {
    void *value;
    uint64_t seq;
    uint64_t first_seq; /* of the first one it stands for */
    uint32_t n;         /* how many values it stands for, itself included */
};

void conflate_init(struct conflate *c, uint64_t interval_ns, uint32_t max_items,
                   const struct conflate_ops *ops);
void conflate_fini(struct conflate *c);

/* A new value of an item. `value` is borrowed: a reference is taken if it is
 * kept. True: it is to be sent now, counts as sent at now_ns, and stands for
 * itself alone. False: it waits; call conflate_take at the next tick. `seq`
 * grows from call to call. With interval 0 always true, and nothing is
 * remembered. */
bool conflate_offer(struct conflate *c, uint64_t key, void *value, uint64_t seq,
                    uint64_t now_ns);
/* The next waiting item, in the order in which they began to wait; counts as
 * sent at now_ns. The caller gets out->value's reference. False when nothing
 * waits. */
bool conflate_take(struct conflate *c, uint64_t now_ns,
                   struct conflate_due *out);
/* Forget items that may be sent at once anyway. True if some are left that
 * will be forgotten later: call again after interval. */
bool conflate_rest(struct conflate *c, uint64_t now_ns);

/* Asserts every invariant; for tests. */
void conflate_check(const struct conflate *c);

#endif
