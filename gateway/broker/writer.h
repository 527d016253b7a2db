/* writer.h — publications that must look at the stream first.
 *
 *     version    the subject's last message has a lower one, or none:
 *                PUB with Nats-Expected-Last-Subject-Sequence, and again when
 *                somebody was faster
 *     removal    a message with Weir-Removed: true, then purge what was before
 *     claim      (no stream of its own) weir.key.<id> in WEIR_KEYS: whoever
 *                stores it first publishes, and then says so there; a claim
 *                that was not used in time is anybody's again
 *
 * A claim is a message of its own and not an id in the server's duplicates
 * window, so that it can be given back when the publication could not be sent.
 *
 * Why:    a comparison and a publication that nobody comes between.
 * Owns:   nothing between calls. Thread: a worker's.
 * Bounds: WRITER_TRIES; the stream of keys: WRITER_KEYS_MAX_BYTES, KEYS_TTL_MS.
 * Uses:   base/, hub/broker, acks, puback, sender, stream, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_WRITER_H
#define WEIR_GATEWAY_BROKER_WRITER_H

#include "gateway/broker/workers.h"

#define WRITER_TRIES 5
#define WRITER_KEYS_MAX_BYTES (64 * 1024 * 1024)

/* 0, with a position, or the publisher's code. */
int writer_publish(struct worker *w, struct side_link *l, struct stream *s,
                   struct publish_op *op) MUST_USE;
int writer_remove(struct worker *w, struct side_link *l, struct stream *s,
                  const struct remove_op *op) MUST_USE;
/* 0, and *seq is the claim; 0 and 0: somebody published it before. */
int writer_claim(struct worker *w, struct side_link *l,
                 const struct publish_op *op, uint64_t *seq) MUST_USE;
void writer_give_back(struct worker *w, struct side_link *l, uint64_t seq);

#endif
