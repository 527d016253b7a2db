/* bench.h — what every kind of run needs: server, publisher, clock, report.
 * Owns:   the server it started, the loop, the channels. Borrows: scenario.
 * Thread: the generator. Uses: everything above it: proc, conn, pub, report. */
#ifndef LOADTEST_BENCH_H
#define LOADTEST_BENCH_H

#include "loadtest/conn.h"
#include "loadtest/dialect.h"
#include "loadtest/proc.h"
#include "loadtest/pub.h"
#include "loadtest/report.h"
#include "loadtest/scenario.h"

/* A batch that takes longer has lost something. */
#define BENCH_PATIENCE (10 * LOOP_SECOND)

/* From the command line. */
struct options {
    const char *weir;        /* binary to start; NULL: attach */
    const char *nats_server; /* binary to start when publishing by NATS */
    const char *config_dir;  /* where the scenario's config lies */
    pid_t pid;               /* to attach to */
    uint16_t port;
    uint16_t nats_port; /* 0: start a nats-server when one is needed */
};

struct bench {
    const struct scenario *scenario; /* borrowed */
    const struct options *options;   /* borrowed */
    const struct dialect *dialect;   /* borrowed */
    enum pub_kind pub_kind;
    int server_cpu;
    int load_cpu;
    uint16_t port;
    uint16_t nats_port;
    struct proc server;
    struct proc nats;
    char nats_dir[64]; /* where JetStream stores; "": nowhere */
    struct loop loop;
    struct channel *channels; /* owned: scenario->channels of them */
    struct report report;
};

/* Pins, starts or attaches, waits for health. 0, or -1 with a message. */
int bench_start(struct bench *b, const struct scenario *s,
                const struct options *o);
/* Stops the server and starts it again with a variable in its environment
 * (NULL: as it was), on a port of its own. 0, or -1 with a problem in the
 * report. */
int bench_restart(struct bench *b, const char *name, const char *value);
/* Stops what was started; a server that died on the way is a problem. */
void bench_stop(struct bench *b);

/* Opens all clients of a crowd; failures go to the report. 0 or -1. */
int bench_open(struct bench *b, struct crowd *k);
/* Opens the publisher of the scenario. 0 or -1, in the report. */
int bench_publisher(struct bench *b, struct pub *p);
/* Publishes n messages to c in one write and waits until every live client of
 * k has them and they are answered. 0 or -1, in the report. */
int bench_batch(struct bench *b, struct crowd *k, struct pub *p,
                struct channel *c);
/* Waits until the server has nothing left to do. */
void bench_quiet(struct bench *b);
/* CPU time of the server so far, the kernel's softirq thread included. */
uint64_t bench_cpu_ns(const struct bench *b);
/* A row of the server's /metrics, the sum of all with that name; -1 when there
 * is none. Waits for the answer. */
double bench_metric(const struct bench *b, const char *name);
/* Notes RSS and PSS per connection since `before`. */
void bench_memory(struct bench *b, const struct proc_memory *before,
                  unsigned clients);
/* Publisher's failures go to the report. */
void bench_check_publisher(struct bench *b, const struct pub *p);

/* The kinds of run. Each returns 0, or -1 when it could not finish. */
int kind_fanout(struct bench *b);
int kind_idle(struct bench *b);
int kind_churn(struct bench *b);
int kind_accept(struct bench *b);
int kind_rate(struct bench *b);
int kind_slice(struct bench *b);
int kind_slow(struct bench *b);
int kind_throttle(struct bench *b);
int kind_source(struct bench *b);
int kind_choke(struct bench *b);
int kind_stale(struct bench *b);
int kind_storm(struct bench *b);
int kind_keep(struct bench *b);
int kind_jetstream(struct bench *b);

#endif
