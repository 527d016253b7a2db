/* reader.h — what a channel's stream holds, and what that proves.
 *
 *     stream    ... 5 [7] 8 9 [12] 14 15 [17] 20       [ ] this channel's
 *     since 7   -> 12, 17; floor 7: 7 is still there, so nothing after it is
 *                  gone (what goes, goes oldest first)
 *     since 6   -> 7, 12, 17; floor 6 when the stream still begins at or before
 *                  7 and keeps more than three of a channel; else floor is 7 - 1
 *
 * The proof is taken after the publications were read: what it says held all
 * the time before.
 *
 * Why:    a recovery may not claim more than can be shown.
 * Owns:   nothing between calls. Thread: a worker's.
 * Bounds: READER_MAX_BYTES of publications and the namespace's history_size;
 *         over it the oldest go and the floor rises. READER_MAX_MS.
 * Uses:   base/, hub/, intake, origin, stream, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_READER_H
#define WEIR_GATEWAY_BROKER_READER_H

#include "gateway/broker/workers.h"

#define READER_MAX_BYTES (64 * 1024 * 1024)
#define READER_MAX_MS 5000

/* Fills op in; op->error says how it went. */
void reader_read(struct worker *w, struct side_link *l, struct stream *s,
                 struct read_op *op);

void inbox_fini(struct inbox *in);

#endif
