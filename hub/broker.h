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
#include "hub/position.h"

struct shard;

/* What a publisher may ask for beside the publication itself. One allocation,
 * freed with free(). */
struct publish_wish {
    uint64_t version; /* 0: none */
    uint16_t key_len; /* of the idempotency key; 0: none */
    uint16_t version_epoch_len;
    char bytes[]; /* the key, the version's epoch */
};

static inline struct str publish_wish_key(const struct publish_wish *w)
{
    return str_n(w->bytes, w->key_len);
}

static inline struct str publish_wish_epoch(const struct publish_wish *w)
{
    return str_n(w->bytes + w->key_len, w->version_epoch_len);
}

/* A publish under way. Made by the shard that accepted it (which embeds it
 * in whatever knows the client), answered on that shard. */
struct publish_op {
    struct letter letter;
    struct shard *origin;      /* borrowed */
    struct msg *msg;           /* owned until done() */
    struct publish_wish *wish; /* owned until done(); mostly NULL */
    int result;                /* 0, or the protocol's error code (100, 107) */
    /* Where it stands in its channel's stream (or, when it is old or was
     * published already, the top or the first one); epoch 0: nowhere. */
    struct position position;
    /* On the origin's thread; takes the op. */
    void (*done)(struct publish_op *op);
};

/* A channel's feed from the bus, asked for by its home shard. */
struct feed_op {
    struct letter letter;
    struct shard *home; /* borrowed */
    bool is_pattern;
    /* Answer: the channel has a stream on the bus, and what arrives has its
     * offsets. False where the namespace has no history, or the bus cannot
     * give it one; then error is 0. Never for a pattern. */
    bool has_stream;
    /* Answer: 0, or 100: the namespace has history, and nobody knows yet
     * whether the bus has its stream. The feed is acquired all the same. */
    uint32_t error;
    uint32_t channel_len;
    /* On the home's thread, when publications on the channel arrive (or the
     * bus is away and will bring them later). Takes the op. */
    void (*done)(struct feed_op *op);
    char channel[];
};

/* What a channel's stream on the bus holds, asked for by its home shard (or,
 * for somebody who is not subscribed, by any). */
struct read_op {
    struct letter letter;
    struct shard *origin; /* borrowed */
    uint64_t tag;         /* the origin's */
    void *arg;            /* the origin's */
    /* Publications above this are wanted; 0: all that are stored. */
    uint64_t since;
    /* Answer: 0; 100: the bus is away, too slow, or too many reads wait; 108:
     * the namespace has no stream. Of the rest only with 0: */
    uint32_t error;
    uint64_t epoch;
    /* Every publication of the channel above `floor` and up to `last` is in
     * msgs (but what is above `since` only). floor <= since: nothing between
     * was lost. floor > since: what lay between cannot be proven. */
    uint64_t floor;
    /* The stream's last sequence when the read began, or the offset of the
     * newest of msgs if that is greater: a position that is proven. */
    uint64_t last;
    /* The newest publication that is stored, since or not; 0: none is. */
    uint64_t newest;
    /* The bus's count of possible gaps before the read began, without one that
     * is not over: what is lost later in that is not in the read. */
    uint64_t gap;
    struct msg **msgs; /* owned array of references, by offset */
    uint64_t *at_ms;   /* owned array: how old each is, on clock_now's scale */
    uint32_t count;
    /* On the origin's thread; takes the op, with read_op_free. */
    void (*done)(struct read_op *op);
    uint32_t channel_len;
    char channel[];
};

/* Empty a channel's stream on the bus. */
struct remove_op {
    struct letter letter;
    struct shard *origin; /* borrowed */
    uint32_t error;       /* answer: 0, 100 or 108 */
    /* On the origin's thread; takes the op. */
    void (*done)(struct remove_op *op);
    uint32_t channel_len;
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
    /* Take op; op->done runs later, never inside the call. Readers are at least
     * as new as the feed's answer: read after it, and nothing is missed
     * between. */
    void (*read)(void *broker, struct read_op *op);
    void (*remove)(void *broker, struct remove_op *op);
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

static inline void read_op_free(struct read_op *op)
{
    for (uint32_t i = 0; i < op->count; i++)
        msg_unref(op->msgs[i]);
    free(op->msgs);
    free(op->at_ms);
    free(op);
}

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
