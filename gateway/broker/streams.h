/* streams.h — all streams of the node, and the thread that looks after them.
 *
 *     start:  connect, is there JetStream, stream_check each --> first result
 *     later:  the same every STREAMS_LOOK_MS, and soon after streams_poke
 *     a state or a stream is another one: `changed` to the broker's thread
 *
 * Why:    looking after streams means waiting for answers, and nobody who has
 *         publications to send can.
 * Owns:   the streams, the second connection, the thread. Borrows: the config,
 *         the map, the broker's mailbox.
 * Thread: init, start, wait_first, stop, fini by the owner; poke and stream_of
 *         by any.
 * Bounds: a stream for each namespace with history; STREAM_WAIT_MS a request.
 * Uses:   base/, side, stream, subject. */
#ifndef WEIR_GATEWAY_BROKER_STREAMS_H
#define WEIR_GATEWAY_BROKER_STREAMS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mailbox.h"
#include "gateway/broker/side.h"
#include "gateway/broker/stream.h"
#include "gateway/broker/subject.h"

#define STREAMS_LOOK_MS 10000

struct streams {
    const struct config *cfg; /* borrowed */
    struct stream *items;     /* owned; of the namespaces with history */
    size_t count;
    struct stream **by_space;      /* owned; of the map's spaces; NULL: none */
    const struct subject_map *map; /* borrowed */
    struct side side;

    /* Of whoever is told that something changed. */
    struct mailbox *mailbox; /* borrowed */
    void (*on_changed)(void *reader, struct letter *self);
    struct letter changed;
    _Atomic bool told; /* `changed` is on its way */

    pthread_t thread;
    bool running;
    int wake_fd;  /* owned: eventfd */
    int first_fd; /* owned: eventfd, readable after the first look */
    _Atomic int first_result; /* stored after first_err, before first_fd */
    char first_err[512];
    bool looked; /* once */
    bool asked_for_version;
    unsigned strikes;    /* times that nobody answered for JetStream */
    _Atomic bool needed; /* the connection, even without a stream */
    _Atomic bool stopping;
    _Atomic uint64_t failures; /* looks at a stream that failed */
};

/* `t` is zeroed. `on_changed` runs on the reader of `mailbox`, and calls
 * streams_heard first. */
void streams_init(struct streams *t, const struct subject_map *map,
                  const char *node, struct mailbox *mailbox,
                  void (*on_changed)(void *, struct letter *));
void streams_fini(struct streams *t);
/* Connects when there is a namespace with history, or when somebody needs it.
 */
void streams_start(struct streams *t);
/* Until the first look is over or the time is up. ERR_INVALID, with a message
 * in err, when a person must act. */
int streams_wait_first(struct streams *t, uint64_t end_ms, char *err,
                       size_t errlen) MUST_USE;
/* Ends the thread and the second connection; waits for the workers to leave
 * it. */
void streams_stop(struct streams *t);

/* Look again soon. */
void streams_poke(struct streams *t);
void streams_heard(struct streams *t);
/* side_enter for a worker that has no stream: the first one waits until there
 * is a connection. */
struct side_link *streams_enter(struct streams *t);

/* NULL: the space has no history. */
static inline struct stream *stream_of(const struct streams *t,
                                       const struct subject_space *space)
{
    return t->by_space[space - t->map->spaces];
}

#endif
