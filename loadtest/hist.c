#include "loadtest/hist.h"

#include <stdlib.h>
#include <string.h>

/* Slots: values below 64 have a slot each; every power of two above is cut
 * into 64 equal parts:
 *
 *   0..63 | 64..127 by 1 | 128..255 by 2 | 256..511 by 4 | ... */
static size_t slot_of(uint64_t v)
{
    if (v < HIST_SUB)
        return v;
    unsigned top = 63u - (unsigned)__builtin_clzll(v);
    unsigned shift = top - HIST_SUB_BITS;
    if (top >= HIST_MAX_BITS)
        return HIST_SLOTS - 1;
    return (size_t)(shift + 1) * HIST_SUB + ((v >> shift) & (HIST_SUB - 1));
}

/* The middle of the values a slot stands for. */
static uint64_t value_of(size_t slot)
{
    if (slot < HIST_SUB)
        return slot;
    unsigned shift = (unsigned)(slot / HIST_SUB) - 1;
    uint64_t low = (HIST_SUB + (uint64_t)(slot % HIST_SUB)) << shift;
    return low + (((uint64_t)1 << shift) >> 1);
}

void hist_reset(struct hist *h)
{
    memset(h, 0, sizeof(*h));
}

void hist_add(struct hist *h, uint64_t value)
{
    h->slots[slot_of(value)]++;
    h->count++;
    if (value > h->max)
        h->max = value;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
    if (h->count == 0)
        return 0;
    uint64_t rank = (uint64_t)(q * (double)h->count);
    if (rank >= h->count)
        rank = h->count - 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_SLOTS; i++) {
        seen += h->slots[i];
        if (seen > rank)
            return value_of(i) < h->max ? value_of(i) : h->max;
    }
    return h->max;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

double hist_of_sorted(double *values, size_t n, double q)
{
    if (n == 0)
        return 0;
    qsort(values, n, sizeof(*values), by_value);
    double at = q * (double)(n - 1);
    size_t low = (size_t)at;
    if (low + 1 >= n)
        return values[n - 1];
    double part = at - (double)low;
    return values[low] * (1 - part) + values[low + 1] * part;
}
