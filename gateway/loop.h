/* loop.h — one thread: a libuv loop and an lws context around a shard.
 *
 *     uv_run once (sockets: listener, http, sse, lws) -> shard_turn -> http
 *     answers leave -> sleep as long as the shard allows
 *
 * Owns:   its handles, connections and scratch buffers. Borrows: app, shard.
 * Thread: its own. Uses: libuv; lws only by opaque pointers here. */
#ifndef WEIR_GATEWAY_LOOP_H
#define WEIR_GATEWAY_LOOP_H

#include <pthread.h>
#include <sys/queue.h>

#include <uv.h>

#include "base/buf.h"
#include "gateway/app.h"

struct http_conn;
struct session;
struct sse_conn;
struct lws_context;
struct stop_letter;
struct ws_app;
struct ws_context;
struct lws_vhost;

struct loop {
    struct app *app;     /* borrowed */
    struct shard *shard; /* borrowed */
    pthread_t thread;
    uv_loop_t uv;
    uv_poll_t wake;
    int wake_fd; /* owned: eventfd */
    uv_timer_t timer;
    uv_poll_t listener;
    int listen_fd;  /* owned; -1 when not listening */
    int reserve_fd; /* owned: given up to refuse a connection politely */
    struct lws_context *lws; /* owned */
    struct lws_vhost *vhost; /* borrowed: of lws */
    struct ws_context *ws;   /* owned: ws.h's */
    bool lws_poke;           /* an lws timer was touched outside lws: wake it */
    bool stopping;           /* SIGTERM: leave when everybody is gone */
    bool cut;                /* the time for that is over */
    struct stop_letter *stop; /* owned; NULL until loop_stop */

    TAILQ_HEAD(, http_conn) http_conns;
    TAILQ_HEAD(, http_conn) http_dirty; /* answers to write at turn's end */
    uint32_t http_count;

    struct session *replying;   /* whose message is being handled */
    struct buf reply;           /* owned: its replies so far */
    struct buf scratch;         /* owned: short-lived encoding */
    struct buf strings;         /* owned: unescaped strings of one command */
    struct frame *ping_ws;      /* shared */
    struct frame *ping_event;   /* shared: {} as an event */
    struct frame *ping_comment; /* shared: an SSE comment */
    struct sse_conn *streams;   /* hash by secret: open plain streams */
    uint64_t date_s;
    char date[32];
};

static inline struct loop *loop_of(const struct shard *s)
{
    return s->loop;
}

/* Make the loop (l->shard may still be unset); lws contexts are made one
 * after another, before threads. `ws` stands behind WebSockets. 0, or
 * ERR_SYSTEM with a message. */
int loop_init(struct loop *l, struct app *app, const struct ws_app *ws,
              char *err, size_t errlen) MUST_USE;
/* Listen on a port with SO_REUSEPORT; 0 means any, the one taken is stored
 * in app->port for the next loops. */
int loop_listen(struct loop *l, char *err, size_t errlen) MUST_USE;
/* One round: sockets, the shard's turn, answers. Returns how long the next may
 * sleep (shard_turn). The thread does nothing else; tests call it too. */
int64_t loop_turn(struct loop *l, uv_run_mode mode);
void loop_start(struct loop *l);
/* Any thread: say goodbye to every client, then leave the thread, at the
 * latest after shutdown.timeout. */
void loop_stop(struct loop *l);
void loop_join(struct loop *l);
/* Wakes the loop of a shard (hub's wake). */
void loop_wake(void *loop);
/* After the threads are joined. */
void loop_fini(struct loop *l);
/* After hub_fini: until then other shards' last letters wake it. */
void loop_free(struct loop *l);

/* Does the node have client.connection_limit clients already? */
bool loop_is_full(const struct loop *l);

/* The Date header's value, made once a second. */
const char *loop_date(struct loop *l);

#endif
