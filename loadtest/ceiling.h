/* ceiling.h — a bare sender beside the gateway, with as many sockets.
 *
 *   sample   bytes one client of the gateway got, with known stamps
 *   round    the sender sends them to everybody, n times: CPU per delivery
 *
 * Why:    what the kernel alone costs, in the same run on the same machine.
 * Owns:   the sender, its sockets at both ends. Borrows: bench.
 * Thread: the generator. Uses: bare, bench. */
#ifndef LOADTEST_CEILING_H
#define LOADTEST_CEILING_H

#include "loadtest/bare.h"
#include "loadtest/bench.h"

struct ceiling {
    struct bench *bench; /* borrowed */
    struct bare bare;
    struct crowd crowd;
    struct channel channel;
};

struct sample {
    char *bytes; /* owned */
    size_t length;
    unsigned stamps; /* publications in it */
};

/* Starts the sender; early, since it is a fork of the generator. 0 or -1. */
int ceiling_start(struct ceiling *c, struct bench *b);
/* Connects the scenario's number of clients to it. 0 or -1, in the report. */
int ceiling_open(struct ceiling *c);
/* Ends both sides. What got lost is a problem of the report. */
void ceiling_stop(struct ceiling *c);

/* Copies n bytes that hold `stamps` publications and nothing else; -1 when
 * they do not. */
int sample_take(struct sample *s, const char *p, size_t n, unsigned stamps);
void sample_fini(struct sample *s);

/* Sends a sample to everybody `passes` times, one pass every period_ns (0: as
 * fast as it is read). CPU per publication in ns; negative on failure. */
double ceiling_round(struct ceiling *c, const struct sample *s, unsigned passes,
                     uint64_t period_ns);

#endif
