/* jsbare.h — the ceiling of acknowledged publishing: js_PublishAsync in a loop.
 * Why:    what nats.c and nats-server take without a gateway, on the same
 *         stream in the same run.
 * Owns:   a child process on the server's CPU; it ends with the generator.
 * Bounds: one run at a time. Uses: proc, stamp, nats.c. */
#ifndef LOADTEST_JSBARE_H
#define LOADTEST_JSBARE_H

#include "loadtest/proc.h"

#include <stddef.h>
#include <stdint.h>

#define JSBARE_TEXT 128

struct jsbare {
    struct proc proc;
    int fd; /* owned: commands to the child, answers from it; or -1 */
};

struct jsbare_command {
    uint32_t count;
    uint32_t window; /* not acknowledged at a time; 0: any number */
    uint32_t size;   /* bytes of a payload */
    char subject[JSBARE_TEXT];
};

struct jsbare_answer {
    uint64_t wall_ns; /* from the first publication to the last answer */
    uint64_t cpu_ns;  /* of all its threads */
    uint64_t last;    /* sequence that the stream gave so far */
    uint64_t errors;
    char error[JSBARE_TEXT]; /* the first one */
};

/* Starts the child; before the generator has threads. 0 or -1. */
int jsbare_start(struct jsbare *j, int cpu, uint16_t nats_port);
void jsbare_stop(struct jsbare *j);
/* Publishes and waits until everything is answered. 0; -1: the child is gone.
 */
int jsbare_run(struct jsbare *j, const struct jsbare_command *c,
               struct jsbare_answer *a);

#endif
