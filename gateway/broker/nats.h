/* nats.h — the NATS broker: a node's door to the bus.
 *
 *     shards --publish_op/feed_op--> broker thread --PUB/SUB--> nats-server
 *     shards <--publications-- one delivery callback <--MSG--
 *     shards <--node_op, node_request--> other nodes: ask.h
 *     shards <--read_op, remove_op--> workers --requests--> JetStream
 *
 * Why:    nats.c calls may block; they happen on the broker thread only. It
 *         takes what the shards posted in batches, one flush each; an op is
 *         answered when the flush that carried it came back (at
 *         most 1 s), or when JetStream has acknowledged it, so success means
 *         that the bus has it: publisher.h. The delivery callback makes a msg
 *         and posts it to its home shard. Streams: streams.h.
 * Owns:   the connection, its subscriptions and their graveyard.
 * Thread: start and stop by main; the broker_ops table by any shard; status
 *         by any thread.
 * Bounds: nats.queue_max_size bytes of publications wait for the thread;
 *         over it, or while NATS is away, a publish is answered with 100.
 *         SUBs: feed.h; new ones may have to wait, nothing else does.
 *         Reads: workers.h.
 *         Other nodes: ask.h.
 * Uses:   base/, hub/, gateway/config, gateway/protocol/json, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_NATS_H
#define WEIR_GATEWAY_BROKER_NATS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "hub/broker.h"

struct config;
struct hub;
struct nats_broker;

/* Connect (waits at most 3 s for the first attempt; NATS being away is no
 * error: it keeps trying) and fill hub->broker, whose `node`, and `asked` if
 * there is one, are set already. ERR_INVALID with a message in err for options
 * nats.c refuses (bad URL, unreadable credentials) and
 * for a stream of a namespace with history that is not as it must be. cfg and hub outlive the
 * broker; the hub's shards exist already. */
int nats_broker_start(const struct config *cfg, struct hub *hub,
                      struct nats_broker **out, char *err, size_t errlen)
    MUST_USE;
/* Call when no shard runs any more, but before hub_fini, and while shards may
 * still be woken: what was accepted for publication is sent (bounded: one
 * failed flush ends it), and every op still here goes back to its shard's
 * mailbox, whose owner runs it when it is freed. Frees everything, nats.c's
 * own threads and memory too: one broker at a time in a process. */
void nats_broker_stop(struct nats_broker *b);

struct nats_status {
    bool connected;
    uint64_t connects; /* successful connects and reconnects */
    uint64_t disconnects;
    uint64_t gaps;      /* times the bus may have lost something */
    uint64_t gaps_told; /* times the hub was told so, when it was over */
    uint64_t messages_in;
    uint64_t bytes_in;
    uint64_t messages_out;
    uint64_t publish_refused; /* queue full or NATS away */
    uint64_t unmapped;        /* subjects that are no channel */
    uint64_t not_json;        /* payloads dropped by non_json */
    uint64_t too_big;         /* over channel.max_publication_size */
    uint64_t over_budget;     /* dropped: node's publications in flight */
    uint64_t slow_consumer;   /* messages nats.c dropped */
    uint64_t feeds;           /* SUBs now */
    uint64_t feeds_evicted;   /* given up before nats.grace: too many */
    uint64_t feeds_waited;    /* SUBs that waited for others to be freed */
    uint64_t asks;            /* requests to other nodes */
    uint64_t asks_timed_out;
    uint64_t asks_refused;     /* too many under way, or NATS away */
    uint64_t answers_dropped;  /* late, forged or too large */
    uint64_t requests;         /* of other nodes */
    uint64_t requests_dropped; /* too many or malformed, or NATS away */
    uint64_t acks_waiting;     /* publications JetStream has not answered */
    uint64_t acks_timed_out;
    uint64_t acks_refused;  /* by JetStream, or there was no stream */
    uint64_t reads;         /* of streams */
    uint64_t reads_refused; /* reads and removals: too many waiting */
    uint64_t reads_failed;  /* reads and removals: error 100 */
    uint64_t stream_errors; /* looks at a stream that failed */
    uint64_t queue_bytes;   /* publications waiting now */
};
void nats_broker_status(struct nats_broker *b, struct nats_status *out);

#endif
