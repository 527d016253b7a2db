/* ask.h — requests between nodes, and their answers.
 *
 *     PUB weir.node.<B>.req weir.node.<A>.rep.<token> 7   A asks B
 *     PUB weir.node.<A>.rep.<token> 2                     B answers
 *
 *     any shard --ask_start--> broker thread --ask_send--> slot, token, PUB
 *     done() <-- ask_run: too late                           |
 *     done() <-- a letter  <-- delivery thread <-- MSG on rep.<token>
 *
 * A token names the slot and has 64 random bits, good for one answer and for
 * NODE_TIMEOUT_MS. The delivery thread compares and spends it, so what is
 * late, forged or comes twice goes no further. nats-server itself answers for
 * a node that is not there.
 *
 * Why:    a session lives on one node, its next request comes to any; and a
 *         request of nats.c's own would block its caller.
 * Owns:   asks under way and both SUBs. Borrows: the connection, the delivery
 *         (its thread brings the messages), the broker thread's mailbox.
 * Thread: the broker's, except where it says any; counters any.
 * Bounds: NODE_ASKS_MAX asks, and as many requests that shards hold; over it
 *         an ask is refused, a request dropped. NODE_MAX_BYTES each way.
 *         Answers waiting for the thread: one for each ask.
 * Uses:   base/, hub/broker, delivery, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_ASK_H
#define WEIR_GATEWAY_BROKER_ASK_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

#include <nats/nats.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "gateway/broker/delivery.h"
#include "hub/broker.h"

struct ask_slot {
    TAILQ_ENTRY(ask_slot) link; /* linked: table.free or .waiting */
    struct node_op *op;         /* owned; NULL: free */
    uint64_t token;
    _Atomic uint64_t awaited; /* the token; 0: spent, or no ask */
};

TAILQ_HEAD(ask_slot_list, ask_slot);

struct ask_table {
    struct delivery *delivery;   /* borrowed */
    struct mailbox *mailbox;     /* borrowed */
    const struct broker *broker; /* borrowed: whom a request is given to */
    natsConnection *nc;          /* borrowed; NULL while there is none */
    natsSubscription *requests;  /* owned; NULL: not yet, or refused */
    natsSubscription *answers;   /* owned; the same */
    char *nodes;                 /* owned: "weir.node." */
    char *inbox;                 /* owned: "weir.node.<id>.rep." */
    struct ask_slot *slots;      /* owned; NODE_ASKS_MAX */
    struct ask_slot_list free;
    struct ask_slot_list waiting; /* by the time they were sent */
    struct buf subject;           /* owned: scratch */
    struct buf reply;             /* owned: scratch */
    uint64_t mend_ms;             /* not before this: try a SUB again */

    _Atomic uint32_t under_way; /* asks taken and not answered */
    _Atomic uint32_t held;      /* requests given out and not given back */
    struct log_limit log;
    _Atomic uint64_t sent;
    _Atomic uint64_t timed_out;
    _Atomic uint64_t refused;     /* at once: too many, or the bus is away */
    _Atomic uint64_t requests_in; /* of others */
    _Atomic uint64_t requests_dropped; /* and not answered */
    _Atomic uint64_t answers_dropped;  /* late, forged or too large */
};

/* `t` is zeroed; broker->node is set. */
void ask_init(struct ask_table *t, const char *prefix,
              const struct broker *broker, struct delivery *delivery,
              struct mailbox *mailbox);
/* After ask_detach, when the delivery thread is gone. */
void ask_fini(struct ask_table *t);

/* A new connection: subscribe to both subjects. */
void ask_attach(struct ask_table *t, natsConnection *nc);
/* Before the connection is closed for good: no message comes any more. */
void ask_leave(struct ask_table *t);
/* The connection is closed and will be destroyed. All asks are answered. */
void ask_detach(struct ask_table *t);

/* Any thread, before the op is posted to the broker thread. False: refused,
 * and answered by letter. `up`: the bus is there. */
bool ask_start(struct ask_table *t, struct node_op *op, bool up) MUST_USE;
/* What ask_start accepted; takes op. True when something was sent, which the
 * next flush carries. */
bool ask_send(struct ask_table *t, struct node_op *op, bool up) MUST_USE;
/* Send r->answer and free r. True as above. */
bool ask_reply(struct ask_table *t, struct node_request *r, bool up) MUST_USE;
/* Any thread: r gets no answer; frees it. */
void ask_drop(struct ask_table *t, struct node_request *r);

/* Answer what took too long. Returns the milliseconds until there is more to
 * do, -1: nothing. */
int64_t ask_run(struct ask_table *t, uint64_t now_ms);

#endif
