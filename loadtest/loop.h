/* loop.h — the generator's event loop: one epoll, one thread, a clock.
 * Why:    thousands of sockets, read the same way whether the gateway or the
 *         bare sender is at the other end. Edge-triggered; it may spin, so
 *         that the sender never pays for waking the reader.
 * Owns:   the epoll descriptor. Borrows: every watch (caller removes it, or
 *         keeps its memory until the turn ends). Thread: the generator.
 * Uses:   libc. */
#ifndef LOADTEST_LOOP_H
#define LOADTEST_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#define LOOP_MS ((uint64_t)1000000)
#define LOOP_SECOND ((uint64_t)1000000000)

/* First member of everything that waits for a socket. */
struct watch {
    int fd; /* -1 when closed: late events of the same turn are dropped */
    void (*on_event)(struct watch *w, uint32_t events);
};

struct loop {
    int epfd;                /* owned */
    bool spin;               /* poll without sleeping */
    void (*tick)(void *arg); /* called every few events; may be NULL */
    void *tick_arg;          /* borrowed */
    uint64_t wake_at_ns;     /* sleep no longer than to here; 0: any time */
};

int loop_init(struct loop *l);
void loop_fini(struct loop *l);
/* Watches w->fd for input, output and errors, edge-triggered. 0 or -1. */
int loop_add(struct loop *l, struct watch *w);
/* Serves what is ready; sleeps at most max_ns when nothing is (not at all
 * when spinning). */
void loop_turn(struct loop *l, uint64_t max_ns);
/* Turns until done(arg), or for timeout_ns. True when done. */
bool loop_until(struct loop *l, bool (*done)(void *arg), void *arg,
                uint64_t timeout_ns);
/* Turns for a time. */
void loop_for(struct loop *l, uint64_t duration_ns);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t loop_now_ns(void);

#endif
