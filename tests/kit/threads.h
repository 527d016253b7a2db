/* threads.h — a fake node whose shards have real threads.
 * Why:    the same hub under ThreadSanitizer; sockets would hide nothing more.
 * Owns:   the threads. Thread: the one that made it; actors run on shards.
 * Bounds: ends when every actor has said so and no letter is under way.
 * Uses:   tests/kit/fake, pthread. */
#ifndef WEIR_TESTS_KIT_THREADS_H
#define WEIR_TESTS_KIT_THREADS_H

#include "tests/kit/fake.h"

/* hub_init with wakes that ring the shards' threads. One such hub at a time. */
void threads_init(struct hub *hub, const struct hub_options *options);

/* Called on the shard's thread before each turn, until it returns false. */
typedef bool (*threads_actor_fn)(struct shard *s, void *arg);

/* Run every shard of a fresh hub on a thread of its own; args[i] goes to
 * shard i's actor. When all actors have ended the threads are joined, and what
 * they left under way is turned to the end on the calling thread. */
void threads_run(struct hub *hub, threads_actor_fn actor, void *const *args);

/* Turn all shards on this thread until nothing is left to do; only while no
 * shard has a thread of its own. */
void threads_settle(struct hub *hub);

#endif
