/* side.h — the node's second connection, for requests to JetStream.
 *
 *     thread of streams.h:  side_connect ... side_close
 *     workers:              side_enter -> requests -> side_leave
 *
 * Why:    a request waits for its answer; on the connection of publications
 *         that costs a millisecond more, because that one writes in batches.
 * Owns:   the connection. Borrows: the config.
 * Thread: side_connect, side_close one; side_enter, side_leave any.
 * Bounds: STREAM_WAIT_MS a request.
 * Uses:   base/, gateway/config, options, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_SIDE_H
#define WEIR_GATEWAY_BROKER_SIDE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <nats/nats.h>

#include "base/err.h"
#include "gateway/config.h"

struct side_link {
    natsConnection *nc;  /* owned */
    jsCtx *js;           /* owned */
    uint64_t generation; /* of the connections so far */
};

struct side {
    const struct config *cfg; /* borrowed */
    natsOptions *options;     /* owned; NULL until the first side_connect */
    char *inbox; /* owned: subjects of answers begin so, "weir.node.<id>.box" */
    uint64_t generation;
    _Atomic(struct side_link *) link; /* owned; NULL: no connection */
    /* Whoever enters counts and then looks at `link`, side_close takes `link`
     * away and then waits for the count: sequentially consistent. */
    _Atomic uint32_t users;
};

/* `s` is zeroed. */
void side_init(struct side *s, const struct config *cfg, const char *node);
void side_fini(struct side *s); /* after side_close */

/* 0 when it is connected (again), or else ERR_AGAIN. */
int side_connect(struct side *s) MUST_USE;
/* Waits for whoever is inside. */
void side_close(struct side *s);

/* NULL while there is no connection; else until side_leave. */
struct side_link *side_enter(struct side *s);
void side_leave(struct side *s);

#endif
