#include "gateway/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/session.h"
#include "gateway/transport/http.h"
#include "gateway/transport/wire.h"
#include "gateway/transport/ws.h"

#define ACCEPTS_PER_EVENT 64
#define BACKLOG 4096
/* Hand a connection over when its request is there, or after this time. */
#define DEFER_ACCEPT_S 1
/* A peer that acknowledges nothing this long is gone. */
#define USER_TIMEOUT_MS 30000

/* --- accepting --------------------------------------------------------- */

static void set_options(int fd)
{
    int one = 1;
    unsigned timeout = USER_TIMEOUT_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

/* What the peer sent is read first: closing over unread input would make the
 * kernel take the answer back. */
static void refuse(struct loop *l, int fd)
{
#define REFUSAL \
    "{\"error\":{\"code\":100,\"message\":\"too many connections on this node\"}}"
    char answer[256];
    int len = snprintf(answer, sizeof(answer),
                       "HTTP/1.1 503 Service Unavailable\r\n"
                       "Content-Type: application/json\r\n"
                       "Content-Length: %zu\r\nRetry-After: 5\r\n"
                       "Connection: close\r\n\r\n" REFUSAL,
                       sizeof(REFUSAL) - 1);
    static struct log_limit limit;
    char unread[4096];
    uint64_t missed;
    ssize_t n;
    unsigned reads = 0;
    do
        n = recv(fd, unread, sizeof(unread), MSG_DONTWAIT);
    while (n == (ssize_t)sizeof(unread) && ++reads < 16);
    n = send(fd, answer, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n;
    shutdown(fd, SHUT_WR);
    close(fd);
    l->shard->stats.accept_refused++;
    if (log_limit_pass(&limit, l->shard->now_ns, &missed))
        log_warn("connection_refused", "reason=fd_limit limit=%d also=%llu",
                 l->app->connection_limit, (unsigned long long)missed);
}

bool loop_is_full(const struct loop *l)
{
    int64_t most = l->app->config->client.connection_limit;
    return most && atomic_load(&l->app->sessions) >= most;
}

/* Out of descriptors: give the reserve up for one polite refusal, so that the
 * listener does not stay readable for ever. */
static void refuse_without_fd(struct loop *l)
{
    close(l->reserve_fd);
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd != -1)
        refuse(l, fd);
    l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool accept_one(struct loop *l)
{
    int fd = accept4(l->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd == -1 && (errno == EMFILE || errno == ENFILE)) {
        refuse_without_fd(l);
        return false;
    }
    if (fd == -1) {
        if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
            l->shard->stats.accept_errors++;
        return errno == ECONNABORTED || errno == EINTR;
    }
    if (atomic_fetch_add(&l->app->connections, 1) >= l->app->connection_limit) {
        atomic_fetch_sub(&l->app->connections, 1);
        refuse(l, fd);
        return true;
    }
    l->shard->stats.accepted++;
    set_options(fd);
    http_accept(l, fd);
    return true;
}

static void on_listener(uv_poll_t *handle, int status, int events)
{
    struct loop *l = handle->data;
    (void)events;
    shard_busy(l->shard);
    if (status < 0)
        return;
    for (unsigned i = 0; i < ACCEPTS_PER_EVENT && l->listen_fd != -1; i++) {
        if (!accept_one(l))
            break;
    }
}

static socklen_t make_address(const struct config *cfg, uint16_t port,
                              struct sockaddr_storage *to)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    const char *text = cfg->http_server.address;
    memset(to, 0, sizeof(*to));
    if (strchr(text, ':')) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        CHECK(inet_pton(AF_INET6, text, &v6->sin6_addr) ==
              1); /* config checked */
        return sizeof(*v6);
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    CHECK(inet_pton(AF_INET, text[0] ? text : "0.0.0.0", &v4->sin_addr) == 1);
    return sizeof(*v4);
}

/* SO_REUSEPORT would let a second weir share the port in silence: whether it
 * is free is asked without it, once. */
static int probe_port(const struct sockaddr *addr, socklen_t len)
{
    int one = 1;
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    int rc = bind(fd, addr, len);
    if (rc == 0)
        rc = listen(fd, 1);
    int saved = errno;
    close(fd);
    errno = saved;
    return rc;
}

static int open_listener(struct loop *l)
{
    struct sockaddr_storage addr;
    struct sockaddr *sa = (struct sockaddr *)&addr;
    bool first = l->shard->index == 0;
    int one = 1;
    int defer = DEFER_ACCEPT_S;
    socklen_t len = make_address(l->app->config, l->app->port, &addr);
    if (first && l->app->port && probe_port(sa, len) == -1)
        return -1;
    int fd =
        socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer, sizeof(defer));
    if (bind(fd, sa, len) == -1 || listen(fd, BACKLOG) == -1 ||
        getsockname(fd, sa, &len) == -1) {
        close(fd);
        return -1;
    }
    l->app->port =
        ntohs(sa->sa_family == AF_INET6 ? ((struct sockaddr_in6 *)sa)->sin6_port
                                        : ((struct sockaddr_in *)sa)->sin_port);
    return fd;
}

int loop_listen(struct loop *l, char *err, size_t errlen)
{
    const struct config *cfg = l->app->config;
    uint16_t wanted = l->app->port;
    l->listen_fd = open_listener(l);
    if (l->listen_fd == -1) {
        snprintf(
            err, errlen,
            "cannot listen on %s:%u: %s (http_server.address, http_server.port)",
            cfg->http_server.address[0] ? cfg->http_server.address : "0.0.0.0",
            wanted, strerror(errno));
        return ERR_SYSTEM;
    }
    l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(uv_poll_init(&l->uv, &l->listener, l->listen_fd) == 0);
    l->listener.data = l;
    CHECK(uv_poll_start(&l->listener, UV_READABLE, on_listener) == 0);
    return 0;
}

static void stop_listening(struct loop *l)
{
    if (l->listen_fd == -1)
        return;
    uv_close((uv_handle_t *)&l->listener, NULL);
    close(l->listen_fd);
    close(l->reserve_fd);
    l->listen_fd = -1;
}

/* --- the loop ---------------------------------------------------------- */

static void on_wake(uv_poll_t *handle, int status, int events)
{
    struct loop *l = handle->data;
    uint64_t count;
    (void)status;
    (void)events;
    /* Its work is done: the loop has come round. */
    ssize_t n = read(l->wake_fd, &count, sizeof(count));
    (void)n;
}

/* libuv 1.44 runs timers before it polls, too: one that has fired there would
 * leave the poll waiting for the next timer of anybody. */
static void on_timer(uv_timer_t *handle)
{
    uv_stop(handle->loop);
}

void loop_wake(void *loop)
{
    struct loop *l = loop;
    uint64_t one = 1;
    ssize_t n = write(l->wake_fd, &one, sizeof(one));
    (void)n; /* a full counter is awake already */
}

static bool everybody_left(const struct loop *l)
{
    return l->stopping && l->shard->client_count == 0 && l->http_count == 0;
}

static void sleep_at_most(struct loop *l, int64_t ms)
{
    if (ms > 0)
        uv_timer_start(&l->timer, on_timer, (uint64_t)ms, 0);
    else
        uv_timer_stop(&l->timer);
}

int64_t loop_turn(struct loop *l, uv_run_mode mode)
{
    uv_run(&l->uv, mode);
    shard_turn(l->shard);
    http_flush(l);
    ws_poke(l);
    /* Writing answers may have started timers and requests. */
    return shard_sleep_ms(l->shard);
}

static void *run(void *arg)
{
    struct loop *l = arg;
    int64_t wait_ms = 0;
    while (!everybody_left(l) && !l->cut) {
        sleep_at_most(l, wait_ms);
        wait_ms = loop_turn(l, wait_ms == 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    }
    return NULL;
}

struct stop_letter {
    struct letter letter;
    struct wheel_timer timer;
    struct loop *loop; /* borrowed */
};

static void kill_clients(struct shard *s)
{
    for (uint32_t i = 0; i < s->slot_count; i++) {
        struct client *c = s->slots[i].client;
        if (c)
            c->transport->kill(c);
    }
}

static void on_cut(struct wheel_timer *t)
{
    struct stop_letter *stop = container_of(t, struct stop_letter, timer);
    struct loop *l = stop->loop;
    log_warn("shutdown_cut", "shard=%u clients=%u", l->shard->index,
             l->shard->client_count);
    l->cut = true;
}

static void on_stop(void *reader, struct letter *self)
{
    struct stop_letter *stop = container_of(self, struct stop_letter, letter);
    struct loop *l = stop->loop;
    struct shard *s = reader;
    if (l->stopping)
        return;
    l->stopping = true;
    stop_listening(l);
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].client)
            session_close(session_of(s->slots[i].client), DISCONNECT_SHUTDOWN);
    }
    http_drain(l);
    stop->timer.fire = on_cut;
    wheel_start(&s->wheel, &stop->timer,
                shard_now_ms(s) +
                    (uint64_t)l->app->config->shutdown.timeout_ms);
}

void loop_stop(struct loop *l)
{
    /* Lives as long as the loop: its timer may fire at any time. */
    struct stop_letter *stop = mem_zalloc(sizeof(*stop));
    stop->letter.run = on_stop;
    stop->loop = l;
    l->stop = stop;
    mailbox_post(&l->shard->mailbox, &stop->letter);
}

void loop_start(struct loop *l)
{
    CHECK(pthread_create(&l->thread, NULL, run, l) == 0);
}

void loop_join(struct loop *l)
{
    pthread_join(l->thread, NULL);
}

static struct frame *make_ping_ws(void)
{
    struct buf b = BUF_INIT;
    wire_ws_frame(&b, WIRE_WS_TEXT, STR_LIT("{}"));
    struct frame *f = frame_new(buf_view(&b));
    buf_free(&b);
    return f;
}

int loop_init(struct loop *l, struct app *app, const struct ws_app *ws,
              char *err, size_t errlen)
{
    l->app = app;
    l->listen_fd = -1;
    TAILQ_INIT(&l->http_conns);
    TAILQ_INIT(&l->http_dirty);
    CHECK(uv_loop_init(&l->uv) == 0);
    /* Not uv_async: its reader spins while the writer, which it has just
     * preempted on the same CPU, is still inside uv_async_send. */
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    CHECK(l->wake_fd != -1);
    CHECK(uv_poll_init(&l->uv, &l->wake, l->wake_fd) == 0);
    l->wake.data = l;
    CHECK(uv_poll_start(&l->wake, UV_READABLE, on_wake) == 0);
    CHECK(uv_timer_init(&l->uv, &l->timer) == 0);
    l->ping_ws = make_ping_ws();
    l->ping_event = frame_new(STR_LIT("data: {}\n\n"));
    l->ping_comment = frame_new(STR_LIT(":\n\n"));
    return ws_init(l, ws, err, errlen);
}

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void loop_fini(struct loop *l)
{
    stop_listening(l);
    http_kill_all(l);
    kill_clients(l->shard);
    shard_turn(l->shard);
    ws_fini(l);
    if (l->stop)
        wheel_stop(&l->shard->wheel, &l->stop->timer);
    free(l->stop);
    l->stop = NULL;
    uv_run(&l->uv, UV_RUN_NOWAIT);
    uv_walk(&l->uv, close_handle, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    ws_free(l);
    CHECK(uv_loop_close(&l->uv) == 0);
    frame_unref(l->ping_ws);
    frame_unref(l->ping_event);
    frame_unref(l->ping_comment);
    buf_free(&l->reply);
    buf_free(&l->scratch);
    buf_free(&l->strings);
}

void loop_free(struct loop *l)
{
    close(l->wake_fd);
    free(l);
}

const char *loop_date(struct loop *l)
{
    time_t now = time(NULL);
    struct tm tm;
    if ((uint64_t)now == l->date_s)
        return l->date;
    gmtime_r(&now, &tm);
    strftime(l->date, sizeof(l->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    l->date_s = (uint64_t)now;
    return l->date;
}
