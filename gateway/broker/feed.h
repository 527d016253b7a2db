/* feed.h — the SUBs of this node: one per subject that somebody here wants.
 *
 *     acquire            release            grace over         5 s later
 *     SUB, in use  --->  idle          -->  UNSUB, grave  -->  freed
 *                  <---
 *                  acquire
 *     no room for a SUB: the feed waits  -->  SUB, in use: the asker is told
 *
 * Why:    two SUBs that match a message bring it twice, so users of a subject
 *         share one; a page that reloads must not cost a SUB and an UNSUB.
 *         nats.c before 3.6.1 uses a subscription after natsSubscription_
 *         Destroy when a message for it is just being read: Unsubscribe at
 *         once, Destroy only long after (the grave).
 * Owns:   feeds and subscriptions. Borrows: the connection.
 * Thread: the broker's; `count`, `evicted` and `waited` any.
 * Bounds: feeds in use by the node's subscriptions. FEED_IDLE_MAX idle ones:
 *         over it the oldest goes to its grave early. FEED_GRAVES_MAX graves:
 *         over it an idle feed stays until one is free. And never more SUBs
 *         than were in use at one time, plus FEED_IDLE_MAX: over it an unknown
 *         subject waits for its SUB, in order; known ones do not. Those who
 *         ask wait with it, FEED_ASKERS_MAX of them: over it they are told at
 *         once, as if the bus were away. With the numbers below 20,480
 *         subjects may be left in one go and 3,276 a second for ever.
 *         A feed is known by the subject it is published on; where its stream
 *         republishes it, the SUB is on that subject.
 * Uses:   base/, delivery, uthash, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_FEED_H
#define WEIR_GATEWAY_BROKER_FEED_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

#include <nats/nats.h>

#include "base/err.h"
#include "base/mailbox.h"
#include "base/str.h"
#include "gateway/broker/delivery.h"

#define FEED_GRAVE_MS 5000
#define FEED_IDLE_MAX 4096
#define FEED_GRAVES_MAX 16384
#define FEED_ASKERS_MAX 16384

struct feed;

TAILQ_HEAD(feed_list, feed);

struct feed_table {
    natsConnection *nc; /* borrowed; NULL while there is none */
    uint64_t grace_ms;
    struct feed *feeds;        /* hash by subject */
    struct feed_list idle;     /* by the time they became idle */
    struct feed_list graves;   /* by the time they were unsubscribed */
    struct feed_list waiting;  /* by the time they were asked for */
    struct letter_list served; /* owned by the caller: whose feed waited */
    struct buf live;           /* owned: scratch */
    size_t idle_count;
    size_t grave_count;
    size_t askers;            /* of what waits */
    uint64_t peak;            /* the most SUBs that were in use at one time */
    size_t lacking;           /* feeds that nats.c refused a SUB */
    uint64_t mend_ms;         /* not before this: try those again */
    uint64_t dropped;         /* by nats.c, of feeds that are gone */
    _Atomic uint64_t count;   /* SUBs */
    _Atomic uint64_t evicted; /* idle feeds that did not get their grace */
    _Atomic uint64_t waited;  /* feeds that waited for their SUB */
};

void feed_table_init(struct feed_table *t, uint64_t grace_ms);
/* After feed_table_detach. */
void feed_table_fini(struct feed_table *t);

/* A new connection: subscribe to everything anew. */
void feed_table_attach(struct feed_table *t, natsConnection *nc);
/* Before the connection is closed for good: no message comes any more. */
void feed_table_leave(struct feed_table *t);
/* The connection is closed and will be destroyed. Nothing waits any more. */
void feed_table_detach(struct feed_table *t);

/* One more user of the subject (NUL-terminated); messages go to `port`. 0: a
 * flush from now on carries the SUB, or there is no connection. ERR_AGAIN: it
 * waits, and `who` (may be NULL) comes back in t->served when that is over.
 * ERR_FULL: it waits, but so many do that `who` is not taken. In all cases
 * there is one user more. */
int feed_acquire(struct feed_table *t, struct str subject,
                 struct delivery_port *port, struct letter *who) MUST_USE;
/* One less. Unknown subjects are ignored. */
void feed_release(struct feed_table *t, struct str subject, uint64_t now_ms);

/* port->is_live is another one than before: all its SUBs are given up and made
 * anew. Their graves come on top of FEED_GRAVES_MAX. */
void feed_table_move(struct feed_table *t, const struct delivery_port *port,
                     uint64_t now_ms);

/* End what is over, serve what waits, try again what failed. Returns the
 * milliseconds until there is more to do, -1: nothing; 0 while t->served
 * holds letters, which the caller takes. */
int64_t feed_table_run(struct feed_table *t, uint64_t now_ms);

/* Messages nats.c dropped because they waited too long in it. O(feeds). */
uint64_t feed_table_dropped(const struct feed_table *t);

#endif
