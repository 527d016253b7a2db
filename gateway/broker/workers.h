/* workers.h — threads for what has to wait for answers of JetStream.
 *
 *     any thread --read_op, remove_op, publish_op--> the worker of the channel
 *     shard <-- done()                           reader.h, writer.h
 *
 * Why:    a read takes three to six requests, one after the other; the broker
 *         thread has publications to send meanwhile.
 * Owns:   threads and their scratch. Borrows: hub, streams, map, bus.
 * Thread: start and stop by the owner, the rest any. What concerns one channel
 *         is done by one worker, in order.
 * Bounds: WORKERS_WAITING_MAX reads and removals; over it they are refused.
 *         Publications: nats.queue_max_size, where they came in.
 * Uses:   base/, hub/, intake, sender, side, streams. */
#ifndef WEIR_GATEWAY_BROKER_WORKERS_H
#define WEIR_GATEWAY_BROKER_WORKERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/mailbox.h"
#include "gateway/broker/bus.h"
#include "gateway/broker/intake.h"
#include "gateway/broker/sender.h"
#include "gateway/broker/streams.h"
#include "hub/hub.h"

#define WORKERS_COUNT 4
#define WORKERS_WAITING_MAX 8192

struct workers;

/* A SUB that was given up: nats.c before 3.6.1 may still use it. */
struct inbox_grave {
    STAILQ_ENTRY(inbox_grave) link;
    natsSubscription *sub; /* owned */
    uint64_t until_ms;
};

/* Where consumers of one worker deliver to. */
struct inbox {
    natsSubscription *sub; /* owned; NULL: none */
    uint64_t generation;   /* of the connection it is on */
    char *prefix;          /* owned: "weir.node.<id>.in.<worker>." */
    struct buf subject;    /* owned: of the SUB */
    uint64_t subs;         /* made so far */
    STAILQ_HEAD(, inbox_grave) graves;
};

struct worker {
    struct workers *all; /* borrowed */
    pthread_t thread;
    struct mailbox mailbox;
    struct letter_list letters;
    int wake_fd; /* owned: eventfd */
    struct intake intake;
    struct sender sender;
    struct inbox inbox;
    struct buf subject; /* owned: scratch */
    bool has_keys;      /* the stream of keys was there */
};

struct workers {
    struct hub *hub;               /* borrowed */
    const struct subject_map *map; /* borrowed */
    struct streams *streams;       /* borrowed */
    struct bus *bus;               /* borrowed */
    /* Any thread; takes the op. */
    void (*finish)(void *arg, struct publish_op *op, int result);
    /* The same: its key is claimed, it is to be published. */
    void (*claimed)(void *arg, struct publish_op *op);
    void *arg;              /* borrowed */
    struct worker *workers; /* owned; NULL: not started */
    _Atomic bool stopping;
    _Atomic int64_t waiting;  /* reads and removals */
    _Atomic uint64_t sick_ms; /* until then nothing is tried */
    _Atomic uint64_t reads;
    _Atomic uint64_t refused;
    _Atomic uint64_t failed; /* reads and removals answered with 100 */
};

/* `w` is zeroed but for what is borrowed. */
void workers_start(struct workers *w, const char *node);
/* Reads are refused from now on, publications still go out; waits for all. */
void workers_stop(struct workers *w);
/* After that, and when the second connection is closed. */
void workers_fini(struct workers *w);

/* The channel's namespace has a stream. Takes op; false: refused, and op is
 * the caller's to answer. */
bool workers_read(struct workers *w, struct read_op *op) MUST_USE;
bool workers_remove(struct workers *w, struct remove_op *op) MUST_USE;
/* Anything else; runs with a struct worker. */
void workers_post(struct workers *w, struct letter *l);
/* A publication with a version, into its stream. */
void workers_publish(struct workers *w, struct publish_op *op);
/* A publication with a key, where there is no stream: claim the key, or give
 * it back (op->position.offset is the claim) and finish with 100. */
void workers_claim(struct workers *w, struct publish_op *op);
void workers_give_back(struct workers *w, struct publish_op *op);

#endif
