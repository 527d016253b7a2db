/* sse_conn.h — one event stream, for the files that serve it: sse.c (its
 * socket and its beginning) and sse_control.c (its session id, and what is
 * changed on it by POST).
 * Owns:   see the members. Thread: the loop's. Bounds: sse.h.
 * Uses:   libuv, gateway/session, base/hash. */
#ifndef WEIR_GATEWAY_TRANSPORT_SSE_CONN_H
#define WEIR_GATEWAY_TRANSPORT_SSE_CONN_H

#include <uv.h>

#include "base/hash.h"
#include "gateway/session.h"
#include "gateway/transport/http.h"

#define SSE_SECRET_BYTES 16

struct sse_change;

struct sse_poll {
    uv_poll_t uv;
    struct sse_conn *conn; /* borrowed; NULL when closing */
};

struct sse_conn {
    struct session session; /* first: session_of */
    struct sse_poll *poll;  /* owned: uv closes it later */
    int fd;                 /* owned */
    bool head_sent;
    bool fin_sent;
    bool gone;
    bool listed;       /* linked in loop.streams */
    uint32_t error;    /* of a subscription, before the head was sent */
    uint32_t input;    /* bytes the client sent on the stream */
    struct buf out;    /* owned: what the kernel did not take */
    struct buf head;   /* owned: waits until the subscriptions are answered */
    UT_hash_handle hh; /* linked: loop.streams, by session.session_id */
    struct sse_change *change; /* owned: the POST under way; mostly NULL */
};

/* Wrong origins, OPTIONS, and other methods than those of "GET, OPTIONS" are
 * answered: true. Otherwise *cors has the lines for the answer. */
bool sse_answered_early(struct http_exchange *x, const struct http_request *r,
                        const char *methods, struct buf *cors);

/* The stream begins: give it its secret, list it, and append the `session`
 * event to its head. */
void sse_control_begin(struct sse_conn *s, struct buf *head);
/* A subscription that was added to the open stream is answered (sub and
 * answer are NULL: it ended before it was). Returns how many of the snapshot
 * were sent. */
uint32_t sse_control_answered(struct sse_conn *s, struct sub *sub,
                              const struct sub_answer *answer);
/* The stream ends: nobody finds it any more, and a POST under way is answered
 * 404. May come more than once. */
void sse_control_end(struct sse_conn *s);

#endif
