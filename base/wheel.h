/* wheel.h — a hashed timing wheel.
 *
 *     slot = (deadline / tick) % SLOTS; a timer further away than one turn of
 *     the wheel stays in its slot until its deadline has really come.
 *
 * Why:    ten thousand clients have a ping deadline each; start and stop are
 *         O(1) and a tick looks at one slot.
 * Owns:   nothing: timers live in their owners. A timer must be stopped
 *         before its owner is freed.
 * Thread: the owner's. Bounds: resolution of one tick, never early.
 * Uses:   sys/queue.h. Time is the caller's, in milliseconds. */
#ifndef WEIR_BASE_WHEEL_H
#define WEIR_BASE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* The tick of a wheel for time-outs. */
#define WHEEL_TICK_MS 20
#define WHEEL_SLOTS 1024

struct wheel_timer {
    TAILQ_ENTRY(wheel_timer) link; /* linked: a slot, or a list being run */
    uint64_t deadline_ms;          /* 0: not running */
    void (*fire)(struct wheel_timer *t);
};

TAILQ_HEAD(wheel_list, wheel_timer);

struct wheel {
    uint32_t tick_ms;
    uint64_t tick; /* the last tick that was run */
    size_t count;  /* timers running */
    struct wheel_list slots[WHEEL_SLOTS];
};

/* tick_ms: 1..1000. */
void wheel_init(struct wheel *w, uint32_t tick_ms, uint64_t now_ms);
/* (Re)start `t`; fires once at or after deadline_ms, at the latest one tick
 * after wheel_run is called with such a time. t->fire must be set. */
void wheel_start(struct wheel *w, struct wheel_timer *t, uint64_t deadline_ms);
void wheel_stop(struct wheel *w, struct wheel_timer *t); /* idempotent */
/* Fire what is due. A callback may start and stop any timer. */
void wheel_run(struct wheel *w, uint64_t now_ms);
/* How long a loop may sleep: -1 without timers, else milliseconds to the
 * next tick. */
int64_t wheel_next_ms(const struct wheel *w, uint64_t now_ms);
/* Asserts every invariant; for tests. */
void wheel_check(const struct wheel *w);

#endif
