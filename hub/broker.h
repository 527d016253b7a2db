/* broker.h — where a node publishes to and hears from.
 * Why:    in-process and NATS behind one table; the hub calls down, letters
 *         come back, and no shard ever blocks on a bus.
 *
 *     NULL table: in-process. A publication goes straight to its home shard.
 *
 * Thread: every function may be called by any shard and returns at once; the
 *         answers are letters posted to the shard named in the request.
 * Uses:   base/, hub/msg. */
#ifndef WEIR_HUB_BROKER_H
#define WEIR_HUB_BROKER_H

#include <stdbool.h>

#include "base/mailbox.h"
#include "hub/msg.h"

struct shard;

/* A publish under way. Made by the shard that accepted it (which embeds it
 * in whatever knows the client), answered on that shard. */
struct publish_op {
    struct letter letter;
    struct shard *origin; /* borrowed */
    struct msg *msg;      /* owned until done() */
    int result;           /* 0, or the protocol's error code (100, 107) */
    /* On the origin's thread; takes the op. */
    void (*done)(struct publish_op *op);
};

/* A channel's feed from the bus, asked for by its home shard. */
struct feed_op {
    struct letter letter;
    struct shard *home; /* borrowed */
    bool is_pattern;
    uint32_t channel_len;
    /* On the home's thread, when publications on the channel arrive (or the
     * bus is away and will bring them later). Takes the op. */
    void (*done)(struct feed_op *op);
    char channel[];
};

struct broker_ops {
    /* Takes op; op->done runs later, never inside the call. */
    void (*publish)(void *broker, struct publish_op *op);
    /* Counted: each acquire needs one release. Takes op. */
    void (*acquire)(void *broker, struct feed_op *op);
    void (*release)(void *broker, struct str channel, bool is_pattern);
};

struct broker {
    const struct broker_ops *ops; /* NULL: in-process */
    void *self;                   /* borrowed */
};

#endif
