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
 * Uses:   hub/topic, hub/pass, hub/pace, hub/backlog, hub/client. */
#ifndef WEIR_HUB_FANOUT_H
#define WEIR_HUB_FANOUT_H

#include "hub/shard.h"

#define FANOUT_BATCH_MAX 64
#define FANOUT_BATCH_BYTES 65536

/* Queue a publication for everybody on this shard that it reaches. The msg
 * stays the caller's. */
void fanout_deliver(struct shard *s, struct msg *m);
/* The same, but to patterns only. */
void fanout_deliver_patterns(struct shard *s, struct msg *m);
/* Serve up to hub_options.slice subscribers; true if work is left. */
bool fanout_run(struct shard *s);

/* The home shard's answer to a subscription. Takes the ask. */
void fanout_answer(struct shard *s, struct ask *a);
/* The channel's live subscriptions that would be told (positioned ones; for
 * LOSS_GAP all) get nothing more; each is told later (events->lost). */
struct lost_topic {
    struct str name;
    uint32_t hash;
    bool is_pattern;
};
void fanout_lose(struct shard *s, const struct lost_topic *lost, enum loss why);
/* The same for one live subscription. */
void fanout_lose_sub(struct sub *sub, enum loss why);
/* A positioned subscription of a slow client had to give something up: it gets
 * nothing more, and is lost as soon as nothing is done with its lane. */
void fanout_overrun(struct sub *sub);
/* The lane has something pending. */
void fanout_busy(struct shard *s, struct lane *l);
/* Let a lane go, and its topic, when nothing holds them: tells the home
 * shard. */
void fanout_settle(struct shard *s, struct lane *l);
/* The client's subscription that brings it a publication; NULL: none. */
struct sub *fanout_designated(const struct client *c, const struct msg *m);
/* Is it this topic's subscription that brings the client a publication? */
bool fanout_is_designated(const struct client *c, const struct topic *t,
                          const struct msg *m);

#endif
