/* feed.h — the SUBs of this node: one per subject that somebody here wants.
 *
 *     acquire            release            grace over         5 s later
 *     SUB, in use  --->  idle          -->  UNSUB, grave  -->  freed
 *                  <---
 *                  acquire
 *
 * Why:    two SUBs that match a message bring it twice, so users of a subject
 *         share one; a page that reloads must not cost a SUB and an UNSUB.
 *         nats.c before 3.6.1 uses a subscription after natsSubscription_
 *         Destroy when a message for it is just being read: Unsubscribe at
 *         once, Destroy only long after (the grave).
 * Owns:   feeds and subscriptions. Borrows: the connection.
 * Thread: the broker's; `count` any.
 * Bounds: FEED_IDLE_MAX idle feeds, the oldest goes first; feeds in use are
 *         bounded by the node's subscriptions.
 * Uses:   base/, delivery, uthash, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_FEED_H
#define WEIR_GATEWAY_BROKER_FEED_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

#include <nats/nats.h>

#include "base/str.h"
#include "gateway/broker/delivery.h"

#define FEED_GRAVE_MS 5000
#define FEED_IDLE_MAX 65536

struct feed;

TAILQ_HEAD(feed_list, feed);

struct feed_table {
    natsConnection *nc; /* borrowed; NULL while there is none */
    uint64_t grace_ms;
    struct feed *feeds;      /* hash by subject */
    struct feed_list idle;   /* by the time they became idle */
    struct feed_list graves; /* by the time they were unsubscribed */
    size_t idle_count;
    size_t lacking;         /* feeds without a SUB */
    uint64_t mend_ms;       /* not before this: try those again */
    uint64_t dropped;       /* by nats.c, of feeds that are gone */
    _Atomic uint64_t count; /* SUBs */
};

void feed_table_init(struct feed_table *t, uint64_t grace_ms);
/* After feed_table_detach. */
void feed_table_fini(struct feed_table *t);

/* A new connection: subscribe to everything anew. */
void feed_table_attach(struct feed_table *t, natsConnection *nc);
/* Before the connection is closed for good: no message comes any more. */
void feed_table_leave(struct feed_table *t);
/* The connection is closed and will be destroyed. */
void feed_table_detach(struct feed_table *t);

/* One more user of the subject (NUL-terminated); messages go to `port`. */
void feed_acquire(struct feed_table *t, struct str subject,
                  struct delivery_port *port);
/* One less. Unknown subjects are ignored. */
void feed_release(struct feed_table *t, struct str subject, uint64_t now_ms);

/* End what is over, try again what failed. Returns the milliseconds until
 * there is more to do, -1: nothing. */
int64_t feed_table_run(struct feed_table *t, uint64_t now_ms);

/* Messages nats.c dropped because they waited too long in it. O(feeds). */
uint64_t feed_table_dropped(const struct feed_table *t);

#endif
