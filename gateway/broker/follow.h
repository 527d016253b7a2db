/* follow.h — streams that do not republish to us, brought by a consumer.
 *
 *     idle --a feed is acquired--> SUB, a worker makes the consumer --> running
 *     running --silent, a message missing, connection lost--> again, from the
 *               message after the last that came
 *     running --no feed for nats.grace--> idle: UNSUB, the server ends it
 *
 *     MSG market.quotes.eur.usd 9 $JS.ACK.<stream>.<consumer>.1.17.3.<ts>.0 7
 *
 * Why:    RePublish cannot be added to a stream that exists.
 * Owns:   SUBs. Borrows: connection, delivery, streams, workers, mailbox.
 * Thread: the broker's; a worker fills in `start`; messages come on the
 *         delivery thread, which has `last`, `heard_ns` and `broken` in common
 *         with the broker's.
 * Bounds: one consumer a namespace; FEED_ASKERS_MAX who wait for it, for
 *         STREAM_WAIT_MS; over it they are answered at once, a possible gap.
 * Uses:   base/, bus, delivery, origin, streams, workers, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_FOLLOW_H
#define WEIR_GATEWAY_BROKER_FOLLOW_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

#include <nats/nats.h>

#include "base/mailbox.h"
#include "gateway/broker/delivery.h"
#include "gateway/broker/feed.h"
#include "gateway/broker/workers.h"

struct follow_table;

struct follow_grave {
    STAILQ_ENTRY(follow_grave) link; /* linked: follow_table.graves */
    natsSubscription *sub;           /* owned */
    uint64_t until_ms;
};

/* A worker's question to the stream, and what came of it. */
struct follow_start {
    struct letter letter;
    bool is_under_way;
    char *deliver;  /* owned: the SUB's subject */
    uint64_t sub;   /* the number of the SUB */
    uint64_t after; /* begin behind it */
    uint64_t epoch; /* of the stream that is of; 0: begin behind all there is */
    /* The answer. */
    bool ok;
    bool is_gap; /* something between is missing */
};

struct follow {
    struct follow_table *table; /* borrowed */
    struct stream *stream;      /* borrowed */
    struct delivery_port *port; /* borrowed */
    struct follow_start start;  /* the worker's while it is under way */
    struct letter_list asking;  /* who waits for the first message */
    size_t askers;
    uint64_t asked_ms; /* the first of them */
    uint64_t users;
    uint64_t idle_ms; /* without users: since */
    uint64_t try_ms;  /* not before this */
    uint64_t subs;    /* made so far */
    uint64_t begun;   /* `last` when it was started */
    uint64_t lost;    /* the connection's disconnects when it began */
    bool running;
    bool early; /* somebody was answered before it ran */

    _Atomic(natsSubscription *) sub; /* owned; NULL: none */
    _Atomic uint64_t last;           /* sequence of the last that came */
    _Atomic uint64_t heard_ns;
    _Atomic bool broken;
    natsSubscription *seen; /* the delivery thread's: of the last message */
    uint64_t count;         /* the delivery thread's: messages on it */
};

struct follow_table {
    struct delivery *delivery;  /* borrowed */
    struct workers *workers;    /* borrowed */
    struct mailbox *mailbox;    /* borrowed */
    struct letter_list *served; /* borrowed: who has waited long enough */
    uint64_t grace_ms;
    natsConnection *nc;   /* borrowed; NULL while there is none */
    char *inbox;          /* owned: "weir.node.<id>.fol." */
    struct follow *items; /* owned; one for each stream */
    STAILQ_HEAD(, follow_grave) graves;
};

/* `t` is zeroed but for what is borrowed, and grace_ms. */
void follow_init(struct follow_table *t, const char *node);
void follow_fini(struct follow_table *t); /* after follow_detach */
void follow_attach(struct follow_table *t, natsConnection *nc);
void follow_leave(struct follow_table *t);
void follow_detach(struct follow_table *t);

/* A feed in the stream's space, of a channel or of all. 0; ERR_AGAIN: `who`
 * comes to t->served when messages come. */
int follow_acquire(struct follow_table *t, const struct stream *s,
                   struct letter *who) MUST_USE;
void follow_release(struct follow_table *t, const struct stream *s,
                    uint64_t now_ms);
/* Returns the milliseconds until there is more to do, -1: nothing. */
int64_t follow_run(struct follow_table *t, uint64_t now_ms);

#endif
