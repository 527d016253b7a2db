/* pub.h — the publisher: one connection, stamped payloads.
 *
 *   pub_message  pub_message ... pub_flush     K messages in one write
 *
 * Why:    pipelined POSTs on one keep-alive connection, or PUBs to NATS.
 * Owns:   the socket, its buffers. Borrows: loop. Thread: the generator.
 * Bounds: PUB_OUT_BYTES not yet written, answers of PUB_IN_BYTES.
 * Uses:   loop, stamp, conn (struct channel). */
#ifndef LOADTEST_PUB_H
#define LOADTEST_PUB_H

#include "loadtest/conn.h"
#include "loadtest/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUB_OUT_BYTES ((size_t)8 << 20)
#define PUB_IN_BYTES ((size_t)64 << 10)

enum pub_kind {
    PUB_HTTP,  /* POST /api/publish, X-API-Key */
    PUB_NCHAN, /* POST /pub?id=c */
    PUB_NATS,  /* PUB subject size */
};

struct pub {
    struct watch watch; /* must be first */
    struct loop *loop;  /* borrowed */
    enum pub_kind kind;
    const char *prefix; /* borrowed: before the channel in a NATS subject */
    size_t size;        /* bytes of a payload */
    bool keyed;         /* payloads name their item */
    bool ready;
    bool broken;
    char failure[120]; /* why it is broken, or the first refusal */
    uint64_t sent;
    uint64_t answered; /* HTTP: with 2xx and no error in the body */
    uint64_t refused;
    char *out; /* owned */
    size_t out_length;
    size_t out_used;
    char *in; /* owned */
    size_t in_length;
};

#define PUB_API_KEY "loadtest"

/* "http", "nchan" or "nats"; -1 when it is none. */
int pub_kind_of(const char *name);
/* Connects to 127.0.0.1:port and waits until it can publish. 0 or -1. */
int pub_open(struct pub *p, struct loop *l, enum pub_kind kind, uint16_t port);
void pub_close(struct pub *p);
/* Adds a message to the next write; the channel's number goes up by one. */
void pub_message(struct pub *p, struct channel *c, uint64_t time_ns);
/* Adds n messages as one POST /api/batch, with one answer. HTTP only. */
void pub_batch(struct pub *p, struct channel *c, unsigned n, uint64_t time_ns);
/* Writes what was added; the rest goes out when the socket takes it. */
void pub_flush(struct pub *p);
/* Reads answers now, without waiting for the loop. */
void pub_read(struct pub *p);
/* True when everything is written and answered, or nothing will be. */
bool pub_is_idle(const struct pub *p);

#endif
