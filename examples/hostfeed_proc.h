/* hostfeed_proc.h — counters of this host from /proc, and JSON made of two
 * readings of them.
 * Why:    the kernel counts CPU time in ticks of 10 ms: over one beat of 50 ms
 *         a core could only read 0, 20, 40 %. The caller therefore compares
 *         with a sample that is about half a second old.
 * Owns:   nothing. Thread: one (it reads into a static buffer).
 * Bounds: PROC_CORES_MAX cores; 64 KiB of each file of /proc.
 * Uses:   libc, hostfeed_text. */
#ifndef HOSTFEED_PROC_H
#define HOSTFEED_PROC_H

#include <stdint.h>

#include "examples/hostfeed_text.h"

#define PROC_CORES_MAX 256

enum proc_topic {
    PROC_CPU,
    PROC_MEM,
    PROC_NET,
    PROC_DISK,
    PROC_TOPICS,
};

struct proc_core {
    uint64_t busy; /* ticks */
    uint64_t all;
};

struct proc_sample {
    int64_t at_ns;                             /* monotonic */
    struct proc_core core[PROC_CORES_MAX + 1]; /* [0]: all of them */
    int cores;
    uint64_t rx_bytes;
    uint64_t tx_bytes;
    uint64_t lo_bytes;
    uint64_t sectors_read;
    uint64_t sectors_written;
    uint64_t ios;
};

int64_t proc_now_ns(void); /* monotonic */

/* The channel's name in its namespace: "cpu", "mem", "net", "disk". */
const char *proc_topic_name(enum proc_topic topic);

void proc_read(struct proc_sample *s);

/* Appends one JSON object. Rates are per second between the two samples:
 *   cpu   {"t":ms,"host":"name","total":7.5,"cores":[5.0,10.0],
 *          "load":[0.4,0.3,0.2],"uptime":s}
 *   mem   {"t":ms,"total":B,"used":B,"cached":B,"swap_total":B,"swap_used":B}
 *   net   {"t":ms,"rx":B/s,"tx":B/s,"lo":B/s,"rx_total":B,"tx_total":B}
 *   disk  {"t":ms,"read":B/s,"write":B/s,"iops":n/s,"fs_total":B,"fs_used":B}
 * where t is Unix time and cpu figures are percent. */
void proc_write(struct text *t, enum proc_topic topic,
                const struct proc_sample *was, const struct proc_sample *is);

#endif
