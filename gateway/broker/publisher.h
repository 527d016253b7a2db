/* publisher.h — which way a publication goes, and when it is answered.
 *
 *     namespace     without history     with history, its stream is there
 *     plain         PUB, next flush     PUB with a reply, its acknowledgement
 *     with a key    a claim, then so    the same
 *     version       PUB, next flush     a worker
 *     skip_history  PUB, next flush     PUB to the live subject, next flush
 *
 * Why:    success means that the bus has it, whatever that takes.
 * Owns:   what waits for the next flush, the sender. Borrows: the rest.
 * Thread: publisher_accept any shard, publisher_finish any, the rest the
 *         broker's.
 * Bounds: nats.queue_max_size bytes of publications that are not answered;
 *         over it, or while NATS is away, a publication is refused with 100.
 * Uses:   base/, hub/broker, acks, bus, sender, streams, workers. */
#ifndef WEIR_GATEWAY_BROKER_PUBLISHER_H
#define WEIR_GATEWAY_BROKER_PUBLISHER_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "gateway/broker/acks.h"
#include "gateway/broker/bus.h"
#include "gateway/broker/sender.h"
#include "gateway/broker/streams.h"
#include "gateway/broker/workers.h"
#include "hub/broker.h"

struct publisher {
    const struct config *cfg; /* borrowed */
    struct bus *bus;          /* borrowed */
    struct streams *streams;  /* borrowed */
    struct workers *workers;  /* borrowed */
    struct acks *acks;        /* borrowed */
    struct sender sender;
    struct letter_list sent; /* what the next flush answers */
    uint64_t sent_count;     /* and what nats.c took beside it */
    bool draining;           /* the workers are gone */
    _Atomic int64_t queue_bytes;
    _Atomic uint64_t messages_out;
    _Atomic uint64_t refused;
};

/* `p` is zeroed but for what is borrowed. */
void publisher_init(struct publisher *p);
void publisher_fini(struct publisher *p);

/* True: the op is for publisher_send. False: it is answered. */
bool publisher_accept(struct publisher *p, struct publish_op *op) MUST_USE;
/* Takes what was accepted. Returns its bytes; a flush is due. */
size_t publisher_send(struct publisher *p, struct publish_op *op);
/* The flush is back. */
void publisher_flushed(struct publisher *p, bool ok);
/* Answer what was accepted; `self` is the publisher. */
void publisher_finish(void *self, struct publish_op *op, int result);

/* NULL: the channel's namespace has no history, or there is no such channel. */
struct stream *publisher_stream(const struct publisher *p, struct str channel);

#endif
