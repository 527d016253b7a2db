/* hostfeed_link.c — see hostfeed_link.h. */
#include "examples/hostfeed_link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define CONNECT_TIMEOUT_MS 1000
#define ANSWER_TIMEOUT_NS (5 * NS_PER_S)
#define RETRY_FIRST_NS (100 * NS_PER_MS)
#define RETRY_MOST_NS (2 * NS_PER_S)
#define BATCH_MAX (LINK_OUT_MAX / LINK_UNANSWERED_MAX)

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static void drop(struct link *l, const char *why)
{
    if (l->fd != -1)
        close(l->fd);
    if (!l->complained && !l->refused)
        fprintf(stderr, "hostfeed: %s; trying again\n", why);
    l->fd = -1;
    l->ready = false;
    l->complained = true;
    l->unanswered = 0;
    l->out_n = l->in_n = 0;
    l->pause_ns = l->pause_ns ? l->pause_ns * 2 : RETRY_FIRST_NS;
    if (l->pause_ns > RETRY_MOST_NS)
        l->pause_ns = RETRY_MOST_NS;
    l->retry_ns = now_ns() + l->pause_ns;
}

static void refuse(struct link *l, const char *why)
{
    fprintf(stderr, "hostfeed: %s\n", why);
    l->refused = true;
    drop(l, why);
}

/* A refusal that comes back with every batch is logged once. */
static void complain(struct link *l, const char *detail)
{
    char line[sizeof l->last_refusal];
    snprintf(line, sizeof line, "%.*s", (int)sizeof line - 1, detail);
    if (strcmp(line, l->last_refusal))
        fprintf(stderr, "hostfeed: refused: %s\n", line);
    memcpy(l->last_refusal, line, sizeof line);
}

static void mark_answered(struct link *l)
{
    if (l->complained)
        fprintf(stderr, "hostfeed: publishing again\n");
    l->complained = false;
    l->ready = true;
    l->pause_ns = 0;
    l->heard_ns = now_ns();
    if (l->unanswered)
        l->unanswered--;
}

/* ---- connecting ------------------------------------------------------- */

static int connect_one(const struct addrinfo *at)
{
    int error = 0;
    socklen_t size = sizeof error;
    int fd =
        socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    if (connect(fd, at->ai_addr, at->ai_addrlen) == 0)
        return fd;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (errno == EINPROGRESS && poll(&p, 1, CONNECT_TIMEOUT_MS) == 1 &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && !error)
        return fd;
    close(fd);
    return -1;
}

static void open_link(struct link *l)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(l->target.host, l->target.port, &hints, &list) != 0) {
        drop(l, "the host name does not resolve");
        return;
    }
    for (struct addrinfo *at = list; at && l->fd == -1; at = at->ai_next)
        l->fd = connect_one(at);
    freeaddrinfo(list);
    if (l->fd == -1) {
        drop(l, "cannot connect");
        return;
    }
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    l->ready = !l->target.nats; /* nats-server speaks first */
    l->unanswered = l->target.nats ? 1 : 0;
    l->heard_ns = now_ns();
}

/* ---- writing ---------------------------------------------------------- */

static bool push(struct link *l, const struct text *t)
{
    if (t->full || t->n > LINK_OUT_MAX - l->out_n)
        return false;
    memcpy(l->out + l->out_n, t->p, t->n);
    l->out_n += t->n;
    return true;
}

/* Writes what the kernel takes; the rest waits for POLLOUT. */
static void flush(struct link *l)
{
    while (l->fd != -1 && l->out_n) {
        ssize_t n = send(l->fd, l->out, l->out_n, MSG_NOSIGNAL);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1 && errno == EAGAIN)
            return;
        if (n == -1) {
            drop(l, "connection lost");
            return;
        }
        l->out_n -= (size_t)n;
        memmove(l->out, l->out + n, l->out_n);
    }
}

static void write_http(struct text *t, const struct link_target *to,
                       const struct link_item *items, int count)
{
    char buf[BATCH_MAX];
    struct text body = {.p = buf, .max = sizeof buf};
    text_add(&body, "{\"commands\":[");
    for (int i = 0; i < count; i++)
        text_add(&body, "%s{\"publish\":{\"channel\":\"%s:%s\",\"data\":%.*s}}",
                 i ? "," : "", to->space, items[i].name, (int)items[i].json_n,
                 items[i].json);
    text_add(&body, "]}");
    text_add(t, "POST /api/batch HTTP/1.1\r\nHost: %s:%s\r\n", to->host,
             to->port);
    text_add(t, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
             body.n);
    if (to->key)
        text_add(t, "X-API-Key: %s\r\n", to->key);
    text_add(t, "\r\n%.*s", (int)body.n, buf);
    t->full |= body.full;
}

/* The PING makes nats-server say when it has taken the batch. */
static void write_nats(struct text *t, const struct link_target *to,
                       const struct link_item *items, int count)
{
    for (int i = 0; i < count; i++)
        text_add(t, "PUB %s.pub.%s.%s %zu\r\n%.*s\r\n", to->prefix, to->space,
                 items[i].name, items[i].json_n, (int)items[i].json_n,
                 items[i].json);
    text_add(t, "PING\r\n");
}

/* ---- reading ---------------------------------------------------------- */

static void answer_http(struct link *l, int status, const char *body)
{
    if (status == 401) {
        refuse(l, "the gateway answers 401: is --key right?");
        return;
    }
    if (status == 404) {
        refuse(l, "404: there is no gateway API at the --api address");
        return;
    }
    mark_answered(l);
    if (status != 200)
        complain(l, "the gateway answers a status other than 200");
    else if (strstr(body, "\"error\""))
        complain(l, body);
}

/* Takes one whole answer from the start of the buffer: its length, 0 when it
 * has not all come yet, -1 when it is not an answer we can read. */
static ssize_t take_http(struct link *l)
{
    int status;
    char *end = memmem(l->in, l->in_n, "\r\n\r\n", 4);
    if (!end)
        return l->in_n == LINK_IN_MAX - 1 ? -1 : 0;
    *end = '\0';
    bool known = sscanf(l->in, "HTTP/1.%*1[01] %3d", &status) == 1;
    const char *length = strcasestr(l->in, "\r\nContent-Length:");
    *end = '\r';
    unsigned long n = length ? strtoul(length + 17, NULL, 10) : 0;
    size_t head = (size_t)(end + 4 - l->in);
    if (!known || n >= LINK_IN_MAX - head)
        return -1;
    if (head + n > l->in_n)
        return 0;
    char next = l->in[head + n];
    l->in[head + n] = '\0';
    answer_http(l, status, l->in + head);
    l->in[head + n] = next;
    return (ssize_t)(head + n);
}

/* Quotes and backslashes of a password must not end the JSON string. */
static void add_escaped(struct text *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        text_add(t, s[i] == '"' || s[i] == '\\' ? "\\%c" : "%c", s[i]);
}

static void greet_nats(struct link *l)
{
    char buf[1024];
    struct text t = {.p = buf, .max = sizeof buf};
    const char *user = l->target.user;
    size_t user_n = strcspn(user, ":");
    const char *password = user + user_n + (user[user_n] == ':');
    text_add(&t, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\","
                 "\"version\":\"1\",\"name\":\"hostfeed\",\"protocol\":1");
    if (*user) {
        text_add(&t, ",\"user\":\"");
        add_escaped(&t, user, user_n);
        text_add(&t, "\",\"pass\":\"");
        add_escaped(&t, password, strlen(password));
        text_add(&t, "\"");
    }
    text_add(&t, "}\r\nPING\r\n");
    push(l, &t);
}

static ssize_t take_nats(struct link *l)
{
    char *end = memmem(l->in, l->in_n, "\r\n", 2);
    if (!end)
        return l->in_n == LINK_IN_MAX - 1 ? -1 : 0;
    *end = '\0';
    if (!strncmp(l->in, "INFO ", 5)) {
        if (strstr(l->in, "\"tls_required\":true"))
            refuse(l, "nats-server wants TLS, which hostfeed does not speak");
        else if (!l->ready)
            greet_nats(l);
    } else if (!strcmp(l->in, "PING")) {
        push(l, &(struct text){.p = (char[]){"PONG\r\n"}, .n = 6});
    } else if (!strcmp(l->in, "PONG")) {
        mark_answered(l);
    } else if (!strncmp(l->in, "-ERR", 4)) {
        complain(l, l->in);
    }
    return end + 2 - l->in;
}

static void take_answers(struct link *l)
{
    while (l->fd != -1 && l->in_n) {
        ssize_t n = l->target.nats ? take_nats(l) : take_http(l);
        if (n == 0 || l->fd == -1)
            return;
        if (n == -1) {
            drop(l, "the peer speaks another protocol");
            return;
        }
        l->in_n -= (size_t)n;
        memmove(l->in, l->in + n, l->in_n);
    }
}

static void receive(struct link *l)
{
    ssize_t n = recv(l->fd, l->in + l->in_n, LINK_IN_MAX - 1 - l->in_n, 0);
    if (n == -1 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        drop(l, "connection lost");
        return;
    }
    l->in_n += (size_t)n;
    take_answers(l);
}

/* ---- public ----------------------------------------------------------- */

void link_init(struct link *l, const struct link_target *target)
{
    memset(l, 0, sizeof *l);
    l->target = *target;
    l->fd = -1;
}

void link_fini(struct link *l)
{
    if (l->fd != -1)
        close(l->fd);
    l->fd = -1;
}

void link_run(struct link *l, int64_t until_ns)
{
    if (l->fd == -1 && now_ns() >= l->retry_ns)
        open_link(l);
    int64_t wake_ns =
        l->fd == -1 && l->retry_ns < until_ns ? l->retry_ns : until_ns;
    int64_t wait_ns = wake_ns - now_ns();
    int events = POLLIN | (l->out_n ? POLLOUT : 0);
    struct pollfd p = {.fd = l->fd, .events = (short)events};
    int timeout_ms =
        wait_ns > 0 ? (int)((wait_ns + NS_PER_MS - 1) / NS_PER_MS) : 0;
    if (poll(&p, 1, timeout_ms) == 1 &&
        p.revents & (POLLIN | POLLHUP | POLLERR))
        receive(l);
    flush(l);
    if (l->unanswered && now_ns() - l->heard_ns > ANSWER_TIMEOUT_NS)
        drop(l, "no answer for 5 seconds");
}

bool link_publish(struct link *l, const struct link_item *items, int count)
{
    static char buf[BATCH_MAX + 1024];
    struct text t = {.p = buf, .max = sizeof buf};
    if (!l->ready || l->unanswered == LINK_UNANSWERED_MAX)
        return false;
    if (l->target.nats)
        write_nats(&t, &l->target, items, count);
    else
        write_http(&t, &l->target, items, count);
    if (!push(l, &t))
        return false;
    if (!l->unanswered++)
        l->heard_ns = now_ns();
    flush(l);
    return l->fd != -1;
}

bool link_is_idle(const struct link *l)
{
    return l->fd == -1 || (!l->unanswered && !l->out_n);
}
