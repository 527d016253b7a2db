/* sse_conn.h — one event stream, for the files that serve it: sse.c (its
 * socket and its beginning) and sse_control.c (its session id, and what is
 * changed on it by POST).
 * Owns:   see the members. Thread: the loop's. Bounds: sse.h.
 * Uses:   libuv, gateway/session, base/hash. */
#ifndef WEIR_GATEWAY_TRANSPORT_SSE_CONN_H
#define WEIR_GATEWAY_TRANSPORT_SSE_CONN_H

#include <uv.h>

#include "base/hash.h"
#include "gateway/protocol/event_id.h"
#include "gateway/session.h"
#include "gateway/transport/http.h"

#define SSE_SECRET_BYTES 16

struct sse_change;
struct subscribe_options;

/* Where a stream is to go on, as its request says. */
struct sse_resume {
    struct str text; /* borrowed: the id sent back; empty: none */
    bool latest;     /* the newest of each channel instead of what was missed */
    bool known;      /* text is an id */
    uint32_t recoverable; /* channels of the request that have a stream */
    struct event_id id;
};

/* Until the stream has begun: what its head will say. */
struct sse_start {
    struct sse_resume resume; /* its text is gone */
    /* Where channels go on that are not subscribed to yet: behind `joined`. */
    struct event_id_entry awaited[EVENT_ID_MAX_CHANNELS];
    uint32_t awaited_count;
    uint32_t joined;
    struct buf unknown; /* owned: names that must begin anew */
    struct buf foreign;
    struct buf too_old;
};

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
    bool listed;     /* linked in loop.streams */
    bool is_named;   /* it has or had several channels that ids are about */
    uint32_t error;  /* of a subscription, before the head was sent */
    uint32_t input;  /* bytes the client sent on the stream */
    struct buf out;  /* owned: what the kernel did not take */
    struct buf head; /* owned: waits until the subscriptions are answered */
    struct sse_start *start;   /* owned; NULL when the stream has begun */
    UT_hash_handle hh;         /* linked: loop.streams, by session.session_id */
    struct sse_change *change; /* owned: the POST under way; mostly NULL */
};

/* Understand r->text; then fill in where a channel goes on. */
void sse_resume_read(struct sse_resume *r);
void sse_resume_wish(const struct sse_resume *r, struct str channel,
                     struct subscribe_options *o);
/* A subscription of the beginning is answered; append the events about those
 * that could not go on. */
void sse_resume_note(struct sse_conn *s, struct sub *sub,
                     const struct sub_answer *answer);
void sse_resume_resets(struct sse_conn *s, struct buf *to);
/* Before the first subscription: a channel will go on as `o` wishes. Then, in
 * the same order, each is about to be subscribed to. */
void sse_resume_await(struct sse_start *start, struct str channel,
                      const struct subscribe_options *o);
void sse_resume_join(struct sse_start *start,
                     const struct subscribe_options *o);
/* Choose how events get their ids: in their shared bytes, where the stream's
 * only channel goes on (patterns do not count), or in front of them. Once it
 * had several such channels, ids name them for ever: its URL still does. */
void sse_resume_choose(struct sse_conn *s, uint32_t recoverable,
                       uint32_t channels);
/* The stream's channels are others. */
void sse_resume_arrange(struct session *session);
/* Append the line "id: …" that says where all channels stand when the client
 * has everything that is queued, or (`head`) nothing of it. Nothing when none
 * has a stream. */
void sse_resume_mark(const struct sse_conn *s, bool head, struct buf *to);
/* "resume":["a","b"]: the channels that the ids are about. */
void sse_resume_channels(const struct sse_conn *s, struct buf *to);
void sse_resume_gap(struct session *session, const struct sub *sub);

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
