#include "gateway/transport/http.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "gateway/protocol/codes.h"
#include "gateway/transport/http_conn.h"

#define READ_CHUNK 65536
#define READS_PER_EVENT 4
/* After the last answer the peer has this long to close: closing with unread
 * input would make the kernel take the answer back. */
#define LINGER_MS 2000

static void on_poll(uv_poll_t *handle, int status, int events);

static void bury(struct grave *g)
{
    struct http_conn *c = container_of(g, struct http_conn, grave);
    free(c);
}

static void on_poll_closed(uv_handle_t *h)
{
    free(container_of((uv_poll_t *)h, struct http_poll, uv));
}

static void drop_poll(struct http_conn *c)
{
    if (!c->poll)
        return;
    c->poll->conn = NULL;
    uv_close((uv_handle_t *)&c->poll->uv, on_poll_closed);
    c->poll = NULL;
    c->events = 0;
}

/* Wait for exactly these events. */
static void wait_for(struct http_conn *c, int events)
{
    if (c->gone || c->events == events)
        return;
    if (!c->poll) {
        c->poll = mem_zalloc(sizeof(*c->poll));
        c->poll->conn = c;
        CHECK(uv_poll_init(&c->loop->uv, &c->poll->uv, c->fd) == 0);
    }
    c->events = events;
    if (events)
        CHECK(uv_poll_start(&c->poll->uv, events, on_poll) == 0);
    else
        CHECK(uv_poll_stop(&c->poll->uv) == 0);
}

static void free_contents(struct http_conn *c)
{
    struct http_exchange *x;
    while ((x = STAILQ_FIRST(&c->exchanges))) {
        STAILQ_REMOVE_HEAD(&c->exchanges, link);
        buf_free(&x->answer);
        x->conn = NULL;
        if (x->done)
            free(x);
    }
    free(c->incoming);
    c->incoming = NULL;
    buf_free(&c->in);
    buf_free(&c->body);
    buf_free(&c->out);
}

int http_conn_release(struct http_conn *c)
{
    struct loop *l = c->loop;
    int fd = c->fd;
    c->fd = -1;
    c->gone = true;
    drop_poll(c);
    wheel_stop(&l->shard->wheel, &c->timer);
    if (c->dirty)
        TAILQ_REMOVE(&l->http_dirty, c, dirty_link);
    c->dirty = false;
    TAILQ_REMOVE(&l->http_conns, c, link);
    l->http_count--;
    free_contents(c);
    shard_bury(l->shard, &c->grave);
    return fd;
}

void http_conn_close(struct http_conn *c)
{
    if (c->gone)
        return;
    struct loop *l = c->loop;
    close(http_conn_release(c));
    l->app->connections--;
}

void http_mark_dirty(struct http_conn *c)
{
    if (c->dirty || c->gone)
        return;
    c->dirty = true;
    TAILQ_INSERT_TAIL(&c->loop->http_dirty, c, dirty_link);
}

static bool is_between(const struct http_conn *c)
{
    return c->phase == PHASE_HEAD && c->in_at == c->in.n;
}

/* Between requests the idle time runs; within one, and before the first, the
 * request time. */
void http_arm_timer(struct http_conn *c)
{
    const struct config *cfg = c->loop->app->config;
    bool idle = is_between(c) && c->requests;
    int64_t ms = idle ? cfg->http_server.idle_timeout_ms
                      : cfg->http_server.header_timeout_ms;
    if (c->phase == PHASE_LINGER)
        ms = LINGER_MS;
    wheel_start(&c->loop->shard->wheel, &c->timer,
                shard_now_ms(c->loop->shard) + (uint64_t)ms);
}

static void on_timer(struct wheel_timer *t)
{
    struct http_conn *c = container_of(t, struct http_conn, timer);
    if (c->phase == PHASE_LINGER || c->last) {
        http_conn_close(c);
        return;
    }
    if (c->exchange_count) {
        http_arm_timer(c);
        return;
    }
    if (is_between(c)) {
        http_conn_close(c);
        return;
    }
    http_refuse(c, 408, "the request did not arrive in time");
    http_arm_timer(c);
}

static bool may_read(const struct http_conn *c)
{
    return !c->eof && c->exchange_count < HTTP_MAX_PIPELINE &&
           c->out.n - c->out_at < OUT_MAX;
}

static void rearm(struct http_conn *c)
{
    int events = 0;
    if (c->gone)
        return;
    if (may_read(c) || c->phase == PHASE_LINGER)
        events |= UV_READABLE;
    if (c->out_at < c->out.n)
        events |= UV_WRITABLE;
    wait_for(c, events);
}

/* The last answer is out: say so, then wait for the peer to close. */
static void begin_linger(struct http_conn *c)
{
    if (c->eof) {
        http_conn_close(c);
        return;
    }
    shutdown(c->fd, SHUT_WR);
    c->phase = PHASE_LINGER;
    http_arm_timer(c);
}

static void write_out(struct http_conn *c)
{
    while (c->out_at < c->out.n) {
        ssize_t n = send(c->fd, c->out.p + c->out_at, c->out.n - c->out_at,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1 && errno == EAGAIN)
            break;
        if (n == -1) {
            http_conn_close(c);
            return;
        }
        c->out_at += (size_t)n;
    }
    if (c->out_at < c->out.n) {
        /* A peer that is never quite done must not keep what it has. */
        if (c->out_at > READ_CHUNK && c->out_at > c->out.n / 2) {
            buf_consume(&c->out, c->out_at);
            c->out_at = 0;
        }
        return;
    }
    buf_free(&c->out);
    c->out_at = 0;
    if (c->exchange_count || c->phase == PHASE_LINGER)
        return;
    if (c->last)
        begin_linger(c);
    else if (c->eof)
        http_conn_close(c);
}

/* Bytes into c->in; false when there is nothing more for now. */
static bool read_some(struct http_conn *c)
{
    static _Thread_local char chunk[READ_CHUNK];
    ssize_t n = recv(c->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n == -1 && errno == EINTR)
        return true;
    if (n == -1 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        c->eof = true;
        if (n == -1)
            http_conn_close(c);
        return false;
    }
    c->loop->shard->stats.bytes_in += (uint64_t)n;
    if (c->phase != PHASE_LINGER && !c->last)
        buf_add(&c->in, chunk, (size_t)n);
    return (size_t)n == sizeof(chunk);
}

static void on_eof(struct http_conn *c)
{
    if (c->gone)
        return;
    if (c->phase == PHASE_LINGER) {
        http_conn_close(c);
        return;
    }
    bool midway = c->incoming || c->in_at < c->in.n;
    if (midway && !c->last)
        http_refuse(c, 400, "the request ended before it was complete");
    else if (c->exchange_count == 0 && c->out_at == c->out.n)
        http_conn_close(c);
}

static void on_readable(struct http_conn *c)
{
    unsigned reads = 0;
    bool between = is_between(c);
    uint64_t requests = c->requests;
    while (!c->gone && reads++ < READS_PER_EVENT && may_read(c)) {
        bool more = read_some(c);
        if (!c->gone && c->phase != PHASE_LINGER)
            http_process(c);
        if (!more)
            break;
    }
    if (c->gone)
        return;
    /* A request's time runs from its first byte: what dribbles in does not
     * start it anew. */
    if (between != is_between(c) || requests != c->requests)
        http_arm_timer(c);
    if (c->eof)
        on_eof(c);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct http_conn *c = container_of(handle, struct http_poll, uv)->conn;
    if (!c)
        return;
    shard_busy(c->loop->shard);
    if (status < 0) {
        http_conn_close(c);
        return;
    }
    if (events & UV_WRITABLE)
        http_mark_dirty(c);
    if (events & UV_READABLE)
        on_readable(c);
    rearm(c);
}

void http_accept(struct loop *l, int fd)
{
    struct http_conn *c = mem_zalloc(sizeof(*c));
    c->loop = l;
    c->fd = fd;
    c->grave.bury = bury;
    c->timer.fire = on_timer;
    STAILQ_INIT(&c->exchanges);
    TAILQ_INSERT_TAIL(&l->http_conns, c, link);
    l->http_count++;
    /* The head counts from now, also for a peer that sends nothing. */
    wheel_start(&l->shard->wheel, &c->timer,
                shard_now_ms(l->shard) +
                    (uint64_t)l->app->config->http_server.header_timeout_ms);
    /* TCP_DEFER_ACCEPT: the request is mostly here already, and a WebSocket
     * upgrade then never costs a poll handle of ours. */
    on_readable(c);
    rearm(c);
}

void http_flush(struct loop *l)
{
    struct http_conn *c;
    while ((c = TAILQ_FIRST(&l->http_dirty))) {
        TAILQ_REMOVE(&l->http_dirty, c, dirty_link);
        c->dirty = false;
        write_out(c);
        /* Room for answers again: go on with what was read before. */
        if (!c->gone && c->in_at < c->in.n && may_read(c) && !c->last)
            http_process(c);
        if (!c->gone && c->eof && !c->dirty)
            on_eof(c);
        rearm(c);
    }
}

int http_take_socket(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    if (!c) {
        free(x);
        return -1;
    }
    if (x != STAILQ_FIRST(&c->exchanges) || c->out.n > c->out_at) {
        http_respond_error(x, 503, ERROR_INTERNAL,
                           STR_LIT("a stream must wait for earlier answers"));
        return -1;
    }
    STAILQ_REMOVE_HEAD(&c->exchanges, link);
    c->exchange_count--;
    free(x);
    return http_conn_release(c);
}

void http_drain(struct loop *l)
{
    struct http_conn *c;
    struct http_conn *next;
    for (c = TAILQ_FIRST(&l->http_conns); c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->exchange_count == 0 && c->out_at == c->out.n)
            http_conn_close(c);
        else
            c->last = true;
    }
}

void http_kill_all(struct loop *l)
{
    struct http_conn *c;
    while ((c = TAILQ_FIRST(&l->http_conns)))
        http_conn_close(c);
}
