/* source.h — items that change all the time, and the one who says so.
 *
 *   items   channel 0: item 0, 1, ...   channel 1: item 0, 1, ...   numbered
 *           through; the number is the stamp's channel and the payload's "k"
 *   source  publishes them round robin, `bunch` messages in one write, at a
 *           fixed rate, late or not: a stamp has the time it was due
 *
 * Why:    what a throttled channel saves depends on how fast its source is.
 * Owns:   items: their channels. Borrows: bench, publisher, items.
 * Thread: the generator. Uses: bench, pub. */
#ifndef LOADTEST_SOURCE_H
#define LOADTEST_SOURCE_H

#include "loadtest/bench.h"
#include "loadtest/ledger.h"

#define SOURCE_WISH_SIZE 32

/* `channels` channels of `per_channel` items each. */
struct items {
    struct channel *all; /* owned: [count], one for each item */
    uint32_t count;
    uint32_t per_channel;
    uint32_t first; /* number of all[0] */
};

/* What is published in a time. */
struct pace {
    unsigned per_second; /* messages, all items together */
    unsigned bunch;
    uint64_t duration_ns;
};

struct source {
    struct pub *pub;     /* borrowed */
    struct items *items; /* borrowed */
    struct pace pace;
    /* Set by source_begin. */
    uint64_t due_ns; /* of the next bunch */
    uint64_t end_ns;
    uint32_t next; /* item */
    uint64_t published;
};

/* Names channels `prefix`0, `prefix`1, ... and numbers their items. */
void items_init(struct items *t, const char *prefix, uint32_t channels,
                uint32_t per_channel, uint32_t first);
void items_fini(struct items *t);
/* Fills to[0..channels) with what a client subscribes to; `wish` as there. */
uint32_t items_channels(const struct items *t, struct channel *to,
                        const char *wish);
/* {"rate":5} */
void items_wish(char wish[SOURCE_WISH_SIZE], unsigned granted);
/* How many (client, item) pairs of a crowd have not got the newest value. */
uint64_t items_behind(const struct items *t, const struct ledger *l);
/* They must all get it: 0 when they have, 1 when that took a while, -1 with a
 * problem in the report. */
int items_settle(struct bench *b, const struct items *t,
                 const struct ledger *l);

/* Begins now; source_tick publishes what is due. */
void source_begin(struct source *s);
void source_tick(struct source *s);
/* Everything is published and answered, or nothing will be. */
bool source_is_over(const struct source *s);

/* What a run of a source cost the server, beginning and ending at rest. */
struct cost {
    uint64_t cpu_ns;
    uint64_t published;
    uint64_t deliveries; /* of crowd k */
    uint64_t wall_ns;
};

/* Runs a source from its beginning to its end and `tail_ns` longer; a crowd
 * that measures latencies stops at the source's end. 0 or -1, in the
 * report. */
int source_run(struct bench *b, struct source *s, struct crowd *k,
               uint64_t tail_ns, struct cost *out);

#endif
