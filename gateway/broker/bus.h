/* bus.h — the one connection to NATS, and whether it is there.
 *
 *     away --bus_connect, again and again--> up
 *     up   --connection lost--> away: nats.c reconnects and resubscribes
 *     up   --no answer to a flush--> stuck: away for publishers, until it answers
 *     away --nats.c gave up (credentials refused)--> closed: anew from the top
 *
 * Why:    everything about connecting, its callbacks and its log lines in one
 *         place; the rest asks bus_is_up.
 * Owns:   the connection and its heartbeat. Borrows: the config.
 * Thread: the broker's, except bus_is_up and the counters; nats.c's callbacks
 *         touch atomics only.
 * Bounds: nats.connect_timeout a server for an attempt, BUS_FLUSH_MS a flush.
 * Uses:   base/, gateway/config, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_BUS_H
#define WEIR_GATEWAY_BROKER_BUS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <nats/nats.h>

#include "base/err.h"
#include "base/log.h"
#include "base/rand.h"
#include "gateway/config.h"

#define BUS_FLUSH_MS 1000

struct bus {
    const struct config *cfg; /* borrowed */
    natsOptions *options;     /* owned */
    natsConnection *nc;       /* owned; NULL until connected, and closed */
    void (*wake)(void *arg);  /* of the broker's thread; any thread */
    void *wake_arg;           /* borrowed */
    struct rand rand;
    uint64_t try_ms; /* not before this: the next attempt */
    bool told_away;  /* this absence is in the log */
    bool told_stuck; /* and this silence */

    /* Twice the number of disconnects, plus one while connected: a late
     * "connected" cannot hide a disconnect that came first. */
    _Atomic uint64_t state;
    _Atomic bool stuck;  /* connected, but a flush was not answered */
    _Atomic bool closed; /* nats.c gave up */
    _Atomic bool ending; /* bus_finish: callbacks say nothing more */
    _Atomic bool idle;   /* the delivery thread has seen its last message */
    _Atomic bool slow;   /* nats.c dropped messages */

    natsSubscription *beat; /* owned: our own heartbeat */
    char beat_subject[128];
    uint64_t beat_ms;          /* not before this: the next one */
    bool frozen;               /* no heartbeat comes back */
    _Atomic bool heard;        /* ever: we are permitted to */
    _Atomic uint64_t heard_ns; /* the last one, or the connection; 0: neither */

    struct log_limit error_log;
    struct log_limit slow_log;
    _Atomic uint64_t connects;
    _Atomic uint64_t disconnects;
    _Atomic uint64_t gaps;
    _Atomic uint64_t settled; /* gaps, when it was last known to be all right */
    _Atomic uint64_t lost;    /* disconnects of this connection */
    natsStatistics *stats;    /* owned: the delivery thread's scratch */
};

/* `bus` is zeroed. ERR_INVALID, with a message in err, for options nats.c
 * refuses or credentials that cannot be read; bus_fini follows then, too. */
int bus_init(struct bus *bus, const struct config *cfg, void (*wake)(void *),
             void *wake_arg, char *err, size_t errlen) MUST_USE;
/* After bus_close. Waits for nats.c's threads. */
void bus_fini(struct bus *bus);

/* One attempt, when there is no connection and it is time for one. ERR_AGAIN
 * when it is not there (yet), ERR_EXISTS when it is there already, ERR_INVALID
 * for a URL nats.c cannot read. */
int bus_connect(struct bus *bus, uint64_t now_ms) MUST_USE;
/* nats.c gave up: bus_close and bus_connect are due. */
bool bus_is_closed(const struct bus *bus);
/* Wait until nats.c's delivery thread is done with every message, when all
 * other subscriptions were given up: what it still handles when nats.c is
 * unloaded would leak there. No callback says anything from here on. */
void bus_finish(struct bus *bus);
/* Close; then every subscription may be destroyed, and bus_drop frees the
 * connection, for a new attempt or for good. */
void bus_close(struct bus *bus);
void bus_drop(struct bus *bus);

/* Are publications sent now likely to arrive? Any thread. */
bool bus_is_up(const struct bus *bus);

/* Wait until the server has read everything that was sent. A failure makes
 * the bus stuck. */
bool bus_flush(struct bus *bus);

/* Once a second: send a heartbeat, see whether the last one came back; when
 * stuck, wait at most BUS_FLUSH_MS for an answer. Returns the milliseconds
 * until it wants to be called again. */
int64_t bus_run(struct bus *bus, uint64_t now_ms);

/* The bus may have lost something: count it. */
void bus_note_gap(struct bus *bus);
/* The count for a message that just came. With `nc`, on the delivery thread,
 * a reconnect counts from its first message on, even if nats.c's callback comes
 * later. */
uint64_t bus_gaps(struct bus *bus, natsConnection *nc);
/* Note that whatever was counted until now is over, once a flush has shown
 * that the server knows all SUBs: false while the bus is away, stuck or
 * frozen. */
bool bus_settle(struct bus *bus) MUST_USE;

#endif
