/* clock.h — monotonic time.
 * Why:    one name for "now", in units the name says; tests inject their own
 *         by passing plain numbers to whatever takes a time.
 * Thread: any. Uses: libc. */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t clock_ns_to_ms(uint64_t ns)
{
    return ns / 1000000u;
}

#endif
