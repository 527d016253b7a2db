/* hist.h — a histogram of durations with fixed, exponential buckets.
 * Why:    Prometheus wants cumulative buckets; recording must cost a few
 *         nanoseconds and never allocate.
 * Thread: the owner's; copied whole to be read elsewhere. Uses: libc. */
#ifndef WEIR_BASE_HIST_H
#define WEIR_BASE_HIST_H

#include <stddef.h>
#include <stdint.h>

/* Upper bounds: 1 us, 2 us, 4 us, ... 2^24 us (16.8 s); the last bucket
 * counts what is longer. */
#define HIST_BUCKETS 26

struct hist {
    uint64_t buckets[HIST_BUCKETS];
    uint64_t sum_ns;
    uint64_t count;
};

static inline void hist_add(struct hist *h, uint64_t ns)
{
    uint64_t us = (ns + 999) / 1000;
    unsigned at = us <= 1 ? 0 : 64u - (unsigned)__builtin_clzll(us - 1);
    h->buckets[at < HIST_BUCKETS - 1 ? at : HIST_BUCKETS - 1]++;
    h->sum_ns += ns;
    h->count++;
}

/* Upper bound of bucket i in seconds, i < HIST_BUCKETS - 1. */
static inline double hist_bound_s(unsigned i)
{
    return (double)(1ull << i) / 1e6;
}

#endif
