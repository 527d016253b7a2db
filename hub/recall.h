/* recall.h — what a home shard says of a channel's past: where the stream
 * stands, what came after a position, the newest of each item.
 *
 *     recover since 5, ring 6 7 8      6 7 8, recovered
 *     the same, floor 6                nothing, too old: the position is 8
 *
 * Why:    subscriptions, the history command and the API ask the same stream.
 * Owns:   nothing. Thread: the home shard's.
 * Bounds: hub_options.recovery_limit and history_limit publications;
 *         recoveries also half of queue_max_bytes.
 * Uses:   hub/history, hub/splice, hub/home_parts. */
#ifndef WEIR_HUB_RECALL_H
#define WEIR_HUB_RECALL_H

#include "hub/home_parts.h"

/* Fill in the answer: position, recovery, and what a recovery or `latest`
 * brings. Last values are the caller's. */
void recall_answer(struct shard *home, const struct home_channel *e,
                   struct ask *a);
/* Fill in the answer of a history_op from its channel's stream. */
void recall_history(struct shard *home, const struct history_stream *s,
                    struct history_op *op);
/* The same from what was read for it (op->error is 0). */
void recall_read(struct shard *home, const struct read_op *read,
                 struct history_op *op);

#endif
