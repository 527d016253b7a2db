/* cpu.h — the processor time of this thread, for benchmarks.
 * Why:    on a machine that others use too, the wall clock measures them.
 * Thread: any. Uses: libc. */
#ifndef WEIR_TESTS_KIT_CPU_H
#define WEIR_TESTS_KIT_CPU_H

#include <stdint.h>
#include <time.h>

static inline uint64_t cpu_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
