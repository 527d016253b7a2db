/* stage.h — a fake node over a fake bus on a clock that stands still, for cases
 * that are told step by step.
 * Why:    a case is what happens, not how it is set up.
 * Owns:   the one node and the one bus of the test. Thread: one.
 * Uses:   tests/kit/fake_bus, tests/kit/still. */
#ifndef WEIR_TESTS_KIT_STAGE_H
#define WEIR_TESTS_KIT_STAGE_H

#include "tests/kit/fake_bus.h"

#define STAGE_CHECK_MS 40000
#define STAGE_TICK_MS 40 /* enough for a timer that is due at once */

extern struct fake_node stage_node;
extern struct fake_bus stage_bus;
extern const struct history_policy stage_keeps10;
extern const struct history_policy stage_keeps3000;

/* One shard, stage_keeps10, and enough of everything. */
void stage_begin(void);
void stage_begin_with(unsigned shards, const struct history_policy *policy,
                      size_t history_bytes);
/* Everybody goes; CHECKs that nothing is left. */
void stage_end(void);
void stage_pass(uint64_t ms);
/* What all shards have counted of streams. */
struct stats stage_sum(void);

void stage_publish(char channel, unsigned count);
/* So many live ones come, and shards turn until they are idle. */
void stage_deliver(unsigned count);
/* The oldest feed, the oldest read is answered now; there is one. */
void stage_feed(void);
void stage_answer(void);
void stage_fail_read(uint32_t error);

void stage_ask(struct fake_client *f, const char *channel,
               const struct position_wish *wish);
/* New clients on shard 0. The first ones wait for their answer. */
struct fake_client *stage_open_fresh(const char *channel);
struct fake_client *stage_open_since(const char *channel, uint64_t offset);
/* Subscribed to ">", and answered. */
struct fake_client *stage_open_pattern(void);
/* On "a", and answered: at that position. */
struct fake_client *stage_open_live(uint64_t offset);

#endif
