/* sim.h — a random life of a node, and the naive account of what every client
 * must have received.
 *
 *     step: subscribe, unsubscribe, publish, close, choke, or turn one shard
 *     end:  for every subscription and channel, what came is a run without
 *           gaps of the channel's one order; it begins no later than with
 *           the first publication after the answer; it ends with the last
 *           one, if the subscription lasted until the end
 *
 * Why:    the same account judges slices, shards and overlapping patterns.
 * Owns:   node and clients. Thread: one. Bounds: sim_options.steps.
 * Uses:   tests/kit/fake. */
#ifndef WEIR_TESTS_KIT_SIM_H
#define WEIR_TESTS_KIT_SIM_H

#include "tests/kit/fake.h"

struct sim_options {
    uint64_t seed;
    unsigned steps;
    unsigned shards;
    int64_t inflight_bytes; /* 0: plenty */
    /* A client per channel that never leaves and whose order is the order.
     * Without, each channel has one publishing shard, so that the order is
     * known and channels can lose their last subscriber. */
    bool witnesses;
    bool several; /* clients that want each publication once */
};

/* What came about, so that a test can see that it was worth it. */
struct sim_result {
    unsigned publications;
    unsigned refused;
    unsigned received;
    unsigned subscriptions;
    unsigned answers;
    unsigned closes;
};

/* Runs and judges; an assertion stops the program. */
struct sim_result sim_run(const struct sim_options *o);

#endif
