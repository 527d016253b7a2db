/* fanout.h — from a topic's pending publications to its clients' queues.
 *
 *     pending: m1 m2 m3          one pass takes them all (bounded), encodes
 *     pass:    [m1 m2 m3] -> one frame per encoding, then visits subscribers
 *              in slices; topics take turns, so a channel with 100,000
 *              subscribers does not hold up the others
 *
 * Why:    one visit per subscriber and batch; a slice bounds what a turn
 *         costs. Order within a topic is kept; publications that come while
 *         a pass runs form the next batch, so a busy channel batches itself.
 * Thread: the shard's. Bounds: pending is bounded by the msg budget; a batch
 *         by FANOUT_BATCH_MAX and FANOUT_BATCH_BYTES; a slice by hub_options.
 * Uses:   hub/topic, hub/client, hub/codec. */
#ifndef WEIR_HUB_FANOUT_H
#define WEIR_HUB_FANOUT_H

#include "hub/shard.h"

#define FANOUT_BATCH_MAX 64
#define FANOUT_BATCH_BYTES 65536

/* Queue a publication for everybody on this shard that it reaches. The msg
 * stays the caller's. */
void fanout_deliver(struct shard *s, struct msg *m);
/* Serve up to hub_options.slice subscribers; true if work is left. */
bool fanout_run(struct shard *s);

/* The home shard's answer to a subscription. Takes the ask. */
void fanout_answer(struct shard *s, struct ask *a);
/* Let a topic go when nothing holds it: tells the home shard. */
void fanout_settle(struct shard *s, struct topic *t);

#endif
