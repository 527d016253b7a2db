/* late.h — what one throttled subscription is still to bring a client that
 * cannot keep up.
 *
 *     conflating lane: a slot for each item with the newest value that its
 *                      passes have brought: a pointer is written, no more
 *     drop_oldest:     a ring of the newest publications; how many were lost
 *                      is told with the next one
 *
 * Why:    what is sent is chosen when it can be sent.
 * Owns:   slots with references to msgs, or a ring of frames.
 * Thread: the shard's. Bounds: hub_options.max_items slots; policy.buffer
 *         frames and hub_options.queue_max_bytes. Over them the least
 *         recently visited item, the oldest publication goes (counted).
 * Uses:   throttle/waiting, hub/lane, hub/pass. */
#ifndef WEIR_HUB_LATE_H
#define WEIR_HUB_LATE_H

#include <sys/queue.h>

#include "hub/frame.h"
#include "hub/lane.h"
#include "throttle/waiting.h"

struct late {
    TAILQ_ENTRY(late) link; /* linked: backlog.lates, in turn */
    struct sub *sub;        /* borrowed: owns us */
    struct waiting slots;
    struct frame **ring; /* owned [policy->buffer]; shared frames */
    uint32_t head;
    uint32_t count; /* of the ring */
    uint32_t ring_bytes;
    uint32_t lost; /* not told yet */
    uint32_t left; /* how many more it may send in its turn */
};

struct late *late_new(struct sub *sub);
void late_free(struct late *l);

static inline size_t late_count(const struct late *l)
{
    return l->slots.count + l->count;
}

/* A publication of a conflating lane. `is_newest`: it takes the place of what
 * waits; else what waits stands for it, too. */
void late_put(struct late *l, const struct lane_pub *pub, bool is_newest);
/* One of a drop_oldest lane, as a frame of its own: behind all others, or
 * (taken back) before them. Takes the reference. */
void late_append(struct late *l, struct frame *single);
void late_prepend(struct late *l, struct frame *single);

/* What the next one will take, in bytes, about; something is in it. */
size_t late_cost(struct late *l);
/* The next one as a frame, the caller's. */
struct frame *late_take(struct late *l);
/* Hand out everything; the msgs are lent. `lost` of the first is set. */
void late_take_all(struct late *l,
                   void (*fn)(void *arg, const struct lane_pub *pub,
                              uint32_t lost),
                   void *arg);

#endif
