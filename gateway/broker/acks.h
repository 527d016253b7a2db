/* acks.h — publications that JetStream has not acknowledged yet.
 *
 *     PUB weir.pub.news.eu weir.node.<id>.ack.<token> 7      acks_send
 *     PUB weir.node.<id>.ack.<token> 33                      nats-server
 *     {"stream":"WEIR_H_news","seq":17}
 *
 *     broker thread --acks_send--> slot, token, PUB
 *     finish() <-- acks_run: too late, or the connection was lost
 *     finish() <-- the slot's letter  <-- delivery thread <-- MSG on ack.<token>
 *
 * A token names the slot and has 64 random bits, good for one answer. The
 * delivery thread compares and spends it, and then the slot is its to fill
 * until its letter is read.
 *
 * Why:    nobody waits for an acknowledgement, and each has a time-out of its
 *         own: nats.c 3.4.1 keeps what js_PublishAsync sent for ever when no
 *         answer comes (and may block its caller when much waits).
 * Owns:   what waits, the SUB. Borrows: connection, delivery, mailbox.
 * Thread: the broker's, counters any.
 * Bounds: ACKS_MAX; over it a publication is refused. nats.publish_timeout.
 * Uses:   base/, hub/broker, bus, delivery, puback, sender, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_ACKS_H
#define WEIR_GATEWAY_BROKER_ACKS_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

#include <nats/nats.h>

#include "base/buf.h"
#include "base/mailbox.h"
#include "gateway/broker/bus.h"
#include "gateway/broker/delivery.h"
#include "gateway/broker/puback.h"
#include "gateway/broker/sender.h"
#include "hub/broker.h"

#define ACKS_MAX 65536

struct acks;

struct ack_slot {
    TAILQ_ENTRY(ack_slot) link; /* linked: acks.free or .waiting */
    struct letter letter;       /* of the answer */
    struct acks *acks;          /* borrowed */
    struct publish_op *op;      /* owned; NULL: free */
    struct stream *stream;      /* borrowed */
    uint64_t end_ms;
    uint64_t lost; /* the connection's disconnects when it was sent */
    uint64_t token;
    _Atomic uint64_t awaited; /* the token; 0: spent, or no answer is due */
    bool is_nobody;           /* of the answer: no stream took it */
    struct puback answer;
};

TAILQ_HEAD(ack_slot_list, ack_slot);

struct acks {
    struct bus *bus;           /* borrowed */
    struct delivery *delivery; /* borrowed */
    struct mailbox *mailbox;   /* borrowed */
    struct sender *sender;     /* borrowed */
    /* Takes the op; its result and position are set. */
    void (*finish)(void *arg, struct publish_op *op, int result);
    void *arg;              /* borrowed */
    natsConnection *nc;     /* borrowed; NULL while there is none */
    natsSubscription *sub;  /* owned; NULL: not yet, or refused */
    char *inbox;            /* owned: "weir.node.<id>.ack." */
    struct ack_slot *slots; /* owned; ACKS_MAX; NULL: no history */
    size_t made;            /* of them in use, or free again */
    struct ack_slot_list free;
    struct ack_slot_list waiting; /* by the time they were sent */
    struct buf reply;             /* owned: scratch */
    uint64_t timeout_ms;
    uint64_t mend_ms; /* not before this: try the SUB again */
    struct log_limit log;
    _Atomic uint64_t count;
    _Atomic uint64_t timed_out;
    _Atomic uint64_t refused; /* by the server, or nobody took it */
};

/* `a` is zeroed; delivery, bus, mailbox and sender are set up. */
void acks_init(struct acks *a, struct delivery *delivery,
               struct mailbox *mailbox, struct sender *sender,
               const char *node);
/* After acks_detach, when the delivery thread is gone. */
void acks_fini(struct acks *a);

/* A new connection. */
void acks_attach(struct acks *a, natsConnection *nc);
/* Before the connection is closed for good: no message comes any more. */
void acks_leave(struct acks *a);
/* The connection is closed and will be destroyed. Everything is answered. */
void acks_detach(struct acks *a);

/* Publish into the stream: 0, and op is taken; or the publisher's code, and
 * it is not. */
int acks_send(struct acks *a, struct publish_op *op, struct stream *stream)
    MUST_USE;

/* Answer what took too long or went over a connection that was lost. Returns
 * the milliseconds until there is more to do, -1: nothing. */
int64_t acks_run(struct acks *a, uint64_t now_ms);

/* What the publisher is told: 0 and *to, or a code. */
int acks_judge(const struct puback *answer, const struct stream *stream,
               struct position *to) MUST_USE;

#endif
