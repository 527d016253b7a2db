/* hist.h — histogram of latencies with a bounded relative error.
 * Why:    p99.9 of millions of deliveries without keeping them.
 * Owns:   its counters, inline (18 KB). Thread: the one that holds it.
 * Bounds: values up to 2^40 ns (18 minutes) within 1/64; above: clamped.
 * Uses:   libc. */
#ifndef LOADTEST_HIST_H
#define LOADTEST_HIST_H

#include <stddef.h>
#include <stdint.h>

#define HIST_SUB_BITS 6
#define HIST_SUB (1u << HIST_SUB_BITS)
#define HIST_MAX_BITS 40
#define HIST_SLOTS ((HIST_MAX_BITS - HIST_SUB_BITS + 1) * HIST_SUB)

struct hist {
    uint64_t count;
    uint64_t max;
    uint64_t slots[HIST_SLOTS];
};

/* Empties the histogram. */
void hist_reset(struct hist *h);
/* Counts one value. */
void hist_add(struct hist *h, uint64_t value);
/* The value below which the fraction q (0..1) lies; 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double q);

/* Quantile q of n plain numbers; sorts them in place. 0 when n is 0. */
double hist_of_sorted(double *values, size_t n, double q);

#endif
