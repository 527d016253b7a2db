/* meter.h — a token bucket: so much a second, so much at once.
 * Why:    bandwidth of a client, and how often it may change its mind.
 *         Exact: nothing is lost or gained by asking often or rarely.
 * Owns:   nothing. Thread: the owner's; time is the caller's. When it goes
 *         back, it stands still.
 * Bounds: debt is at most 2^32 - 1 units; more is forgiven.
 * Uses:   base/mem. */
#ifndef WEIR_THROTTLE_METER_H
#define WEIR_THROTTLE_METER_H

#include <stdbool.h>
#include <stdint.h>

struct meter {
    uint32_t rate;    /* units a second, > 0 */
    uint32_t burst;   /* units at most in the bucket, > 0 */
    int64_t level;    /* billionths of a unit; below 0: in debt */
    uint64_t last_ns; /* when level was right */
};

/* A full bucket. */
void meter_init(struct meter *m, uint32_t rate, uint32_t burst,
                uint64_t now_ns);
/* All or nothing: false leaves the bucket as it was. */
bool meter_take(struct meter *m, uint32_t units, uint64_t now_ns);
/* May something go? (level above 0; for goods that cannot be cut) */
bool meter_is_open(struct meter *m, uint64_t now_ns);
/* It went, whatever it left: the bucket may go into debt. */
void meter_charge(struct meter *m, uint32_t units, uint64_t now_ns);
/* Nanoseconds until meter_is_open; 0 when it is. */
uint64_t meter_wait_ns(struct meter *m, uint64_t now_ns);

#endif
