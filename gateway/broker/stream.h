/* stream.h — the JetStream stream behind one namespace with history.
 *
 *     unknown --stream_check--> live      what it stores is republished to us
 *                               followed  it is not: a consumer brings it
 *                               broken    not as it must be, or gone: 100
 *     unknown --no JetStream--> plain     until the node ends
 *
 *     WEIR_H_news   captures weir.pub.news.>, republishes to weir.live.news.>
 *
 * Why:    what such a stream must look like is said, made and judged in one
 *         place.
 * Owns:   its names. Borrows: the config, the space.
 * Thread: stream_check and stream_set on the thread of streams.h; the atomics
 *         are read by any, `last_seen` by the delivery thread only.
 * Bounds: STREAM_WAIT_MS a request.
 * Uses:   base/, hub/position, gateway/config, subject, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_STREAM_H
#define WEIR_GATEWAY_BROKER_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nats/nats.h>

#include "base/err.h"
#include "base/log.h"
#include "gateway/broker/subject.h"

#define STREAM_WAIT_MS 2000

enum stream_state {
    STREAM_UNKNOWN,
    STREAM_PLAIN,
    STREAM_LIVE,
    STREAM_FOLLOWED,
    STREAM_BROKEN,
};

struct stream {
    const struct config *cfg;          /* borrowed */
    const struct subject_space *space; /* borrowed: the map */
    char *name;                        /* owned */
    char *filter; /* owned: all subjects of the space, "weir.pub.news.>" */
    char *live;   /* owned: where they are republished, "weir.live.news.>" */
    bool is_ours;
    bool is_adjusted; /* its limits were compared and, if need be, changed */
    bool is_told;     /* what is wrong with it is in the log */
    int64_t created;  /* by the server's clock; 0: not known */
    struct log_limit log;

    _Atomic int state;      /* enum stream_state */
    _Atomic uint64_t epoch; /* of the stream that was there last */
    uint64_t last_seen;     /* the delivery thread's: the highest sequence */
};

/* `s` is zeroed; the space has history. */
void stream_init(struct stream *s, const struct config *cfg,
                 const struct subject_space *space);
void stream_fini(struct stream *s);

/* Relaxed: whoever acts on it must live with its being late anyway. */
static inline enum stream_state stream_state(const struct stream *s)
{
    return (enum stream_state)atomic_load_explicit(&s->state,
                                                   memory_order_relaxed);
}

/* May publications be stored and read? */
static inline bool stream_is_known(const struct stream *s)
{
    enum stream_state state = stream_state(s);
    return state == STREAM_LIVE || state == STREAM_FOLLOWED;
}

/* The same on every node. */
uint64_t stream_epoch(const char *name, int64_t created);

/* Look at it, make it if it is ours and not there, and set the state. 0;
 * ERR_AGAIN: nobody can say now, a known state becomes broken only when the
 * server says that the stream is gone; ERR_INVALID, with a message in err,
 * when a person must act: the state is broken. *changed: another state, or
 * another stream, than before. */
struct stream_look {
    bool changed;
    char err[512];
};
int stream_check(struct stream *s, jsCtx *js, struct stream_look *look)
    MUST_USE;
/* True when it had another one. */
bool stream_set(struct stream *s, enum stream_state state);

/* Is every subject that `inner` matches matched by `outer`? */
bool stream_covers(struct str outer, struct str inner);

#endif
