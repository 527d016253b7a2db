/* scenario.h — what a run does, read from a file of `key value` lines.
 *
 *   # comment
 *   name     fanout-1000
 *   kind     fanout
 *   clients  1000
 *   target   ratio 1.10
 *
 * Why:    every row of the table is a file a reader can change.
 * Owns:   its strings, inline. Bounds: SCENARIO_TARGETS targets.
 * Uses:   libc. */
#ifndef LOADTEST_SCENARIO_H
#define LOADTEST_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#define SCENARIO_TARGETS 8
#define SCENARIO_TEXT 128

struct target {
    char metric[32];
    double limit; /* measured <= limit is reached */
};

struct scenario {
    char name[SCENARIO_TEXT];
    char title[SCENARIO_TEXT];
    char kind[SCENARIO_TEXT];      /* fanout idle accept rate slice churn slow
                                 throttle source choke stale storm
                                 keep jetstream */
    char transport[SCENARIO_TEXT]; /* a dialect */
    char publish[SCENARIO_TEXT];   /* http nchan nats */
    char config[SCENARIO_TEXT];    /* of weir, beside the scenario's folder */
    char subject_prefix[SCENARIO_TEXT]; /* before a channel on NATS */
    unsigned clients;
    unsigned channels;
    unsigned size;     /* bytes of a payload */
    unsigned inflight; /* messages per batch, closed loop */
    unsigned rate;     /* messages per second, fixed rate */
    unsigned seconds;
    unsigned rounds;       /* measured pairs */
    unsigned batches;      /* per round */
    unsigned cycles;       /* churn */
    unsigned slow_clients; /* slow */
    unsigned messages;     /* slow */
    unsigned sources;      /* client addresses */
    unsigned settle_ms;    /* rest before memory is read */
    /* storm, keep, jetstream */
    char history[SCENARIO_TEXT]; /* the namespace that keeps its publications */
    unsigned missed;             /* storm: publications before all come back */
    bool jetstream;              /* the server is on a bus with JetStream */
    bool restart;                /* storm: it restarts while they are away */
    /* throttle, source, choke, stale: items that change all the time */
    char throttled[SCENARIO_TEXT]; /* the namespace of their channels */
    unsigned items;                /* of each channel */
    unsigned updates;              /* of each item in a second */
    unsigned slow_updates;         /* source: the same of the slower source */
    unsigned granted;              /* deliveries of an item in a second */
    unsigned bunch;                /* messages the source writes at a time */
    unsigned link_bytes;           /* stale: a slow client reads in a second */
    unsigned receive_buffer;       /* SO_RCVBUF of slow clients; 0: any */
    unsigned segment;              /* TCP_MAXSEG of slow clients; 0: any */
    bool bare;                     /* measure the ceiling too */
    bool spin;                     /* the generator polls without sleeping */
    struct target targets[SCENARIO_TARGETS];
    unsigned target_count;
};

/* Defaults. */
void scenario_init(struct scenario *s);
/* Reads a file; on error prints file, line and reason and returns -1. */
int scenario_load(struct scenario *s, const char *path);
/* Sets one key from text; NULL, or why not. */
const char *scenario_set(struct scenario *s, const char *key,
                         const char *value);

#endif
