/* broker.h — where a node publishes to and hears from.
 * Why:    in-process and NATS behind one table; the hub calls down, letters
 *         come back, and no shard ever blocks on a bus.
 *
 *     NULL table: in-process. A publication goes straight to its home shard,
 *     and there is no other node to ask.
 *
 *     node A: ask(node_op) ---> node B: asked(node_request)
 *     done(node_op)        <---         answer(node_request)
 *
 * Thread: every function may be called by any shard and returns at once; the
 *         answers are letters posted to the shard named in the request.
 * Bounds: NODE_ASKS_MAX asks of a node under way, as many requests of others;
 *         NODE_MAX_BYTES each, and NODE_TIMEOUT_MS.
 * Uses:   base/, hub/msg. */
#ifndef WEIR_HUB_BROKER_H
#define WEIR_HUB_BROKER_H

#include <stdbool.h>
#include <stdlib.h>

#include "base/buf.h"
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

#define NODE_ID_LEN 36 /* of a node's id, a UUID in lower case */
#define NODE_ASKS_MAX 1024
#define NODE_MAX_BYTES 65536
#define NODE_TIMEOUT_MS 1000

/* A question to another node. Made by a shard (which embeds it in whatever
 * knows why), answered on that shard. */
struct node_op {
    struct letter letter;
    struct shard *origin; /* borrowed */
    char node[NODE_ID_LEN + 1];
    struct buf request; /* owned; empty in done() */
    struct buf answer;  /* owned: when the result is 0 */
    /* 0; ERR_NOT_FOUND: there is no such node; ERR_AGAIN: the bus is away, too
     * many are asked, or no answer came in time, so nobody knows whether the
     * request was heard; ERR_TOO_BIG. */
    int result;
    uint64_t end_ms; /* the broker's */
    /* On the origin's thread; takes the op. */
    void (*done)(struct node_op *op);
};

/* What another node asks. Given to broker.asked, given back by
 * broker_answer, exactly once. */
struct node_request {
    struct letter letter; /* the receiver's until then */
    struct buf request;   /* owned */
    struct buf answer;    /* owned: the broker's */
    char reply[];         /* the broker's: where the answer goes */
};

struct broker_ops {
    /* Takes op; op->done runs later, never inside the call. */
    void (*publish)(void *broker, struct publish_op *op);
    /* Counted: each acquire needs one release. Takes op. */
    void (*acquire)(void *broker, struct feed_op *op);
    void (*release)(void *broker, struct str channel, bool is_pattern);
    /* Takes op; op->done runs later, never inside the call. `node` may be
     * anything a client sent. */
    void (*ask)(void *broker, struct node_op *op);
    /* Takes r; body is copied. A body over NODE_MAX_BYTES is not sent. */
    void (*answer)(void *broker, struct node_request *r, struct str body);
};

struct broker {
    const struct broker_ops *ops; /* NULL: in-process */
    void *self;                   /* borrowed */

    /* Set before the broker starts. */
    const char *node; /* borrowed: the id of this node */
    /* On a thread of the bus: may only post r to a shard's mailbox. NULL:
     * nothing is answered. */
    void (*asked)(void *arg, struct node_request *r);
    void *asked_arg; /* borrowed */
};

static inline void node_request_free(struct node_request *r)
{
    buf_free(&r->request);
    buf_free(&r->answer);
    free(r);
}

/* On any shard. When the node stops, the broker may be gone before a request
 * it handed over was looked at. */
static inline void broker_answer(const struct broker *b, struct node_request *r,
                                 struct str body)
{
    if (b->ops)
        b->ops->answer(b->self, r, body);
    else
        node_request_free(r);
}

#endif
