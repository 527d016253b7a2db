#include "tests/kit/still.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NUDGE_NS 100000u

static uint64_t frozen_ns; /* 0: the clock runs */
static unsigned patience;  /* reads until it moves by itself; 0: never */

static void count_read(void)
{
    if (patience == 1)
        frozen_ns += NUDGE_NS;
    else if (patience)
        patience--;
}

/* Takes libc's place in this program. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
    if (frozen_ns && (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE)) {
        count_read();
        ts->tv_sec = (time_t)(frozen_ns / 1000000000u);
        ts->tv_nsec = (long)(frozen_ns % 1000000000u);
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, id, ts);
}

void still_at(uint64_t ns)
{
    frozen_ns = ns;
    patience = 0;
}

uint64_t still_now_ns(void)
{
    return frozen_ns;
}

void still_pass_ns(uint64_t ns)
{
    frozen_ns += ns;
}

void still_be_patient(unsigned reads)
{
    patience = reads;
}
