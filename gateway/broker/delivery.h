/* delivery.h — what the bus brings becomes a msg at its channel's home shard.
 *
 *     MSG weir.pub.news.eu 7\r\n{"a":1}     -> intake.h -> msg -> home_post
 *     MSG weir.live.news.eu 7\r\n{"a":1}    the same, with a place:
 *       Nats-Sequence: 17                    offset 17 of its stream;
 *       Nats-Last-Sequence: 12               without it: skip_history
 *
 * Why:    nats.c's one delivery thread does this and nothing else.
 * Owns:   its scratch. Borrows: config, hub, spaces.
 * Thread: delivery_on_message on nats.c's delivery thread (one, because the
 *         pool has one); counters any.
 * Bounds: intake.h's, the hub's msg budget; what is over is dropped and
 *         counted, and a possible gap when it had a place.
 * Uses:   base/, hub/, bus, intake, streams, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_DELIVERY_H
#define WEIR_GATEWAY_BROKER_DELIVERY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <nats/nats.h>

#include "base/log.h"
#include "gateway/broker/bus.h"
#include "gateway/broker/intake.h"
#include "gateway/broker/streams.h"
#include "gateway/broker/subject.h"
#include "hub/hub.h"

/* Of what a stream republishes. */
#define DELIVERY_SEQUENCE "Nats-Sequence"
#define DELIVERY_LAST_SEQUENCE "Nats-Last-Sequence"
/* Messages that were handled and wait to be freed. */
#define DELIVERY_DONE_MAX 64
#define DELIVERY_DONE_MAX_BYTES 65536

struct delivery;

/* One for each space, so that a message knows its namespace. */
struct delivery_port {
    struct delivery *delivery;         /* borrowed */
    const struct subject_space *space; /* borrowed: the map */
    struct stream *stream;             /* borrowed; NULL: no history */
    bool is_live; /* the broker thread's: SUBs are on the live subjects */
};

struct delivery {
    const struct config *cfg; /* borrowed */
    struct hub *hub;          /* borrowed */
    struct streams *streams;  /* borrowed */
    struct bus *bus;          /* borrowed */
    struct subject_map map;
    struct delivery_port *ports; /* owned; map.count */

    struct intake intake;             /* the delivery thread's */
    natsMsg *done[DELIVERY_DONE_MAX]; /* owned: see delivery.c */
    size_t done_count;
    size_t done_bytes;
    /* delivery_stop sets `ending` and then waits for `busy`, a message sets
     * `busy` and then looks at `ending`: sequentially consistent, so one of
     * them sees the other. */
    _Atomic bool ending;
    _Atomic bool busy;

    _Atomic uint64_t messages;
    _Atomic uint64_t bytes;
    _Atomic uint64_t over_budget;
};

/* `d` is zeroed; cfg and hub outlive it. */
void delivery_init(struct delivery *d, const struct config *cfg,
                   struct hub *hub);
/* Before any message comes. */
void delivery_set_streams(struct delivery *d, struct streams *streams,
                          struct bus *bus);
/* From now on messages are thrown away; waits for one being handled. Call
 * while nats.c still runs. */
void delivery_stop(struct delivery *d);
/* After delivery_stop, when the delivery thread is gone. */
void delivery_fini(struct delivery *d);

/* Around all that the delivery thread does. False after delivery_stop: leave
 * again without touching anything but the message. */
bool delivery_enter(struct delivery *d) MUST_USE;
void delivery_leave(struct delivery *d);

/* The closure for subscriptions in this space. */
struct delivery_port *delivery_port(struct delivery *d,
                                    const struct subject_space *s);

/* Between enter and leave: a message with the place in *parts, of a consumer.
 * Keeps m. */
void delivery_take(const struct delivery_port *port, natsMsg *m,
                   struct msg_parts *parts);

/* A natsMsgHandler; the closure is a struct delivery_port. Takes m. */
void delivery_on_message(natsConnection *nc, natsSubscription *sub, natsMsg *m,
                         void *closure);

#endif
