/* bare.h — the ceilings: what the kernel alone costs.
 *
 *   sender    holds n accepted sockets; on command sends the same bytes to
 *             each of them by one send(), and measures its own CPU clock
 *   acceptor  a plain epoll server: accept4, read the upgrade, answer 101,
 *             read the first frame, answer connect and subscribe; or give
 *             the bytes that a gateway gave
 *
 * Why:    ratios taken in one run, round by round, survive a shared machine.
 * Owns:   a child process on the server's CPU; it ends with the generator.
 * Bounds: BARE_TEMPLATE_MAX bytes, BARE_STAMPS stamps in a template.
 * Uses:   proc, loop, stamp, frame, sha1. */
#ifndef LOADTEST_BARE_H
#define LOADTEST_BARE_H

#include "loadtest/proc.h"

#include <stddef.h>
#include <stdint.h>

#define BARE_TEMPLATE_MAX ((size_t)1 << 20)
#define BARE_STAMPS 1024

struct bare {
    struct proc proc;
    int fd; /* owned: commands to the sender, answers from it; or -1 */
    uint16_t port;
};

/* What one pass over all sockets took. */
struct bare_answer {
    uint64_t cpu_ns;  /* the sender's own clock, softirq thread included */
    uint64_t sent;    /* sockets that took the bytes */
    uint64_t partial; /* sockets that did not take them at once */
};

/* Starts a sender that accepts on b->port. 0 or -1. */
int bare_start_sender(struct bare *b, int cpu);
/* Starts an acceptor on b->port. `reply`: what the first frame is answered
 * with, frames and all; n 0: connect and subscribe, joined. 0 or -1. */
int bare_start_acceptor(struct bare *b, int cpu, const char *reply, size_t n);
/* Ends either. */
void bare_stop(struct bare *b);

/* Tells the sender to hold the n connections that were made; waits. 0 or -1. */
int bare_hold(struct bare *b, uint32_t n);
/* Gives the sender the bytes to send; every stamp in them will be renewed, as
 * of channel `channel`. Returns the number of stamps, or -1. */
int bare_template(struct bare *b, const char *p, size_t n, uint16_t channel);
/* Asks for one pass; the stamps get numbers seq + 1, seq + 2, ... 0 or -1. */
int bare_send(struct bare *b, uint64_t seq);
/* Takes the answer when it is there: 1; 0: not yet; -1: the sender is gone. */
int bare_poll(struct bare *b, struct bare_answer *a);

/* The acceptor's whole life; in the child. */
void bare_acceptor_main(int listener, const char *reply, size_t length)
    __attribute__((noreturn));

#endif
