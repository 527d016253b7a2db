/* splice.h — a channel whose stream is on the bus, at its home: what was
 * stored and what arrives become one sequence without hole or duplicate.
 *
 *     feed up --> READING --> READY --hole, or a gap of the bus--> READING
 *                   |           ^                                     |
 *        live ones  |           |  missing ones are delivered,        |
 *        are held   `-----------'  then the held ones, by offset  <---'
 *
 *     what cannot be proven: home_lose, then READING from the beginning
 *
 * A live publication names the offset before it (prev). It follows when prev
 * is our top; or lower, and the bus lost nothing since we were proven: then
 * the one before has expired. A higher prev is a hole.
 *
 * Why:    the reader of the bus and the live feed race each other, and a bus
 *         loses things: one place decides what is proven.
 * Owns:   what is held. Thread: the home shard's.
 * Bounds: SPLICE_HELD_MAX publications or SPLICE_HELD_BYTES held a channel:
 *         over it, lost. SPLICE_READS_MAX reads of a home at a time, others
 *         wait their turn. SPLICE_ROUNDS reads without getting ahead: lost.
 * Uses:   hub/history, hub/broker, hub/home_parts. */
#ifndef WEIR_HUB_SPLICE_H
#define WEIR_HUB_SPLICE_H

#include "hub/home_parts.h"

#define SPLICE_HELD_MAX 1000
#define SPLICE_HELD_BYTES (1024 * 1024)
#define SPLICE_READS_MAX 128
#define SPLICE_ROUNDS 8

/* The feed says that the channel has a stream: start reading it. */
void splice_begin(struct shard *home, struct home_channel *e);
/* It has none any more, or nobody is left: patterns get what is held. */
void splice_end(struct shard *home, struct home_channel *e);
/* The same at the end of the node: nobody gets anything. */
void splice_fini(struct shard *home, struct home_channel *e);

/* Is everything up to now known, so that a subscription can be answered? */
bool splice_is_ready(const struct home_channel *e);
/* The bus brought a publication of the channel (or a marker), with its offset.
 * Takes the reference; delivers it and what had to wait for it. */
void splice_take(struct shard *home, struct home_channel *e, struct msg *m);
/* A recovery wants what lies after an offset. True: what is known is enough to
 * say so, or to deny it. False: it is being read. */
bool splice_can_tell(struct shard *home, struct home_channel *e,
                     struct position since);
/* The stream reaches at least so far: nothing of the channel lies between its
 * own top and this. */
uint64_t splice_last(const struct home_channel *e);
/* The bus has lost something before it came back: `gap` is its count. */
void splice_note_gap(struct shard *home, struct home_channel *e, uint64_t gap);

/* Publications held; for tests. */
size_t splice_held(const struct home_channel *e);

#endif
