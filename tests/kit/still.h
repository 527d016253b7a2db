/* still.h — a clock that stands still until the test moves it.
 * Why:    what a test sees is a function of what it did, not of how long that
 *         took; time that passes is a number.
 * Owns:   CLOCK_MONOTONIC in the whole process: the file has a clock_gettime
 *         of its own, which libraries get, too.
 * Thread: one. Uses: libc. */
#ifndef WEIR_TESTS_KIT_STILL_H
#define WEIR_TESTS_KIT_STILL_H

#include <stdint.h>

/* From now on it is ns; 0: the clock runs again. */
void still_at(uint64_t ns);
uint64_t still_now_ns(void);
void still_pass_ns(uint64_t ns);
/* After so many more reads each one moves it by 0.1 ms: some libraries ask
 * until it does. 0: never, as at the beginning. */
void still_be_patient(unsigned reads);

#endif
