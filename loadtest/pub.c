#include "loadtest/pub.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define OPEN_TIMEOUT (5 * LOOP_SECOND)
#define HEAD_MAX 512

int pub_kind_of(const char *name)
{
    static const char *const names[] = {"http", "nchan", "nats"};
    for (int i = 0; i < 3; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static void fail(struct pub *p, const char *why, const char *detail, size_t n)
{
    if (p->failure[0] == '\0')
        snprintf(p->failure, sizeof(p->failure), "publisher: %s %.*s", why,
                 (int)(n < 60 ? n : 60), detail);
}

static void break_off(struct pub *p, const char *why)
{
    fail(p, why, "", 0);
    p->broken = true;
    if (p->watch.fd >= 0)
        close(p->watch.fd);
    p->watch.fd = -1;
}

static void write_out(struct pub *p)
{
    while (!p->broken && p->out_used < p->out_length) {
        ssize_t n =
            send(p->watch.fd, p->out + p->out_used, p->out_length - p->out_used,
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n == -1 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n == -1) {
            break_off(p, strerror(errno));
            return;
        }
        p->out_used += (size_t)n;
    }
    p->out_used = 0;
    p->out_length = 0;
}

/* Room for n more bytes; what is written already makes place first. */
static char *reserve(struct pub *p, size_t n)
{
    if (p->out_length + n > PUB_OUT_BYTES && p->out_used > 0) {
        p->out_length -= p->out_used;
        memmove(p->out, p->out + p->out_used, p->out_length);
        p->out_used = 0;
    }
    if (p->out_length + n > PUB_OUT_BYTES) {
        break_off(p, "the server does not read its input");
        return NULL;
    }
    return p->out + p->out_length;
}

static void append(struct pub *p, const char *text, size_t n)
{
    char *room = reserve(p, n);
    if (room == NULL)
        return;
    memcpy(room, text, n);
    p->out_length += n;
}

/* Value of Content-Length in a head; 0 without one, -1 when the length is
 * given in another way. */
static long body_length(const char *head, size_t n)
{
    static const char name[] = "content-length:";
    const char *end = head + n;
    for (const char *line = head; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (stop == NULL)
            break;
        if (strncasecmp(line, name, sizeof(name) - 1) == 0)
            return strtol(line + sizeof(name) - 1, NULL, 10);
        if (strncasecmp(line, "transfer-encoding:", 18) == 0)
            return -1;
        line = stop + 1;
    }
    return 0;
}

/* Eats one HTTP answer; returns its size, 0 when it is not whole yet. */
static size_t eat_answer(struct pub *p, const char *in, size_t n)
{
    const char *head_end = memmem(in, n, "\r\n\r\n", 4);
    if (head_end == NULL)
        return 0;
    size_t head = (size_t)(head_end - in) + 4;
    long body = body_length(in, head);
    if (body < 0 || memcmp(in, "HTTP/1.1 ", 9) != 0) {
        break_off(p, "an answer that is not understood");
        return 0;
    }
    if (n < head + (size_t)body)
        return 0;
    if (in[9] == '2' &&
        memmem(in + head, (size_t)body, "\"error\"", 7) == NULL) {
        p->answered++;
    } else {
        p->refused++;
        fail(p, "refused:", in[9] == '2' ? in + head : in,
             in[9] == '2' ? (size_t)body : 12);
    }
    return head + (size_t)body;
}

/* Eats one line of the NATS protocol. */
static size_t eat_line(struct pub *p, const char *in, size_t n)
{
    const char *end = memchr(in, '\n', n);
    if (end == NULL)
        return 0;
    size_t length = (size_t)(end - in) + 1;
    if (n >= 4 && memcmp(in, "INFO", 4) == 0) {
        static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":"
                                    "false,\"name\":\"weir-load\"}\r\nPING\r\n";
        append(p, hello, sizeof(hello) - 1);
    } else if (n >= 4 && memcmp(in, "PING", 4) == 0) {
        append(p, "PONG\r\n", 6);
    } else if (n >= 4 && memcmp(in, "PONG", 4) == 0) {
        p->ready = true;
    } else if (n >= 4 && memcmp(in, "-ERR", 4) == 0) {
        p->refused++;
        fail(p, "nats:", in, length);
    }
    write_out(p);
    return length;
}

static void eat(struct pub *p)
{
    size_t used = 0;
    while (!p->broken && used < p->in_length) {
        const char *in = p->in + used;
        size_t n = p->kind == PUB_NATS ? eat_line(p, in, p->in_length - used)
                                       : eat_answer(p, in, p->in_length - used);
        if (n == 0)
            break;
        used += n;
    }
    p->in_length -= used;
    memmove(p->in, p->in + used, p->in_length);
}

void pub_read(struct pub *p)
{
    while (!p->broken) {
        size_t room = PUB_IN_BYTES - p->in_length;
        if (room == 0) {
            break_off(p, "an answer that is too long");
            return;
        }
        ssize_t n = recv(p->watch.fd, p->in + p->in_length, room, MSG_DONTWAIT);
        if (n == -1 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            break_off(p, n == 0 ? "closed by the server" : strerror(errno));
            return;
        }
        p->in_length += (size_t)n;
        eat(p);
        if ((size_t)n < room)
            return;
    }
}

static void on_event(struct watch *w, uint32_t events)
{
    struct pub *p = (struct pub *)w;
    if ((events & EPOLLOUT) != 0) {
        if (p->kind != PUB_NATS)
            p->ready = true;
        write_out(p);
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0)
        pub_read(p);
}

static bool is_settled(void *arg)
{
    const struct pub *p = arg;
    return p->ready || p->broken;
}

int pub_open(struct pub *p, struct loop *l, enum pub_kind kind, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *p = (struct pub){.watch = {.fd = fd, .on_event = on_event},
                      .loop = l,
                      .kind = kind,
                      .prefix = "",
                      .size = 128};
    p->out = malloc(PUB_OUT_BYTES);
    p->in = malloc(PUB_IN_BYTES);
    if (fd == -1 || p->out == NULL || p->in == NULL ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) == -1 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1 ||
        loop_add(l, &p->watch) == -1) {
        break_off(p, strerror(errno));
        return -1;
    }
    loop_until(l, is_settled, p, OPEN_TIMEOUT);
    if (!p->ready)
        fail(p, "no answer", "", 0);
    return p->ready && !p->broken ? 0 : -1;
}

void pub_close(struct pub *p)
{
    if (p->out != NULL && p->watch.fd >= 0)
        close(p->watch.fd);
    p->watch.fd = -1;
    p->broken = true;
    free(p->out);
    p->out = NULL;
    free(p->in);
    p->in = NULL;
}

/* What stands before and after the payload, by kind. */
static size_t write_head(const struct pub *p, const struct channel *c,
                         char *out)
{
    int n;
    switch (p->kind) {
    case PUB_NATS:
        n = snprintf(out, HEAD_MAX, "PUB %s%s %zu\r\n", p->prefix, c->name,
                     p->size);
        break;
    case PUB_NCHAN:
        n = snprintf(out, HEAD_MAX,
                     "POST /pub?id=%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                     "Content-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     c->name, p->size);
        break;
    default:
        n = snprintf(out, HEAD_MAX,
                     "POST /api/publish HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                     "X-API-Key: " PUB_API_KEY "\r\n"
                     "Content-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n"
                     "{\"channel\":\"%s\",\"data\":",
                     p->size + strlen(c->name) + 22, c->name);
        break;
    }
    return (size_t)n;
}

void pub_message(struct pub *p, struct channel *c, uint64_t time_ns)
{
    struct stamp s = {.seq = ++c->seq, .time_ns = time_ns, .channel = c->id};
    char *out = p->broken ? NULL : reserve(p, HEAD_MAX + p->size + 2);
    p->sent++;
    if (out == NULL)
        return;
    size_t n = write_head(p, c, out);
    if (p->keyed)
        stamp_item_payload(out + n, p->size, &s);
    else
        stamp_payload(out + n, p->size, &s);
    n += p->size;
    if (p->kind == PUB_NATS) {
        memcpy(out + n, "\r\n", 2);
        n += 2;
    } else if (p->kind == PUB_HTTP) {
        out[n++] = '}';
    }
    p->out_length += n;
}

void pub_batch(struct pub *p, struct channel *c, unsigned n, uint64_t time_ns)
{
    static const char end[] = "]}";
    char head[HEAD_MAX];
    char command[HEAD_MAX];
    size_t each =
        (size_t)snprintf(command, sizeof(command),
                         "{\"publish\":{\"channel\":\"%s\",\"data\":", c->name);
    size_t body =
        n * (each + p->size + 3) - 1 + sizeof("{\"commands\":[]}") - 1;
    int length = snprintf(head, sizeof(head),
                          "POST /api/batch HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                          "X-API-Key: " PUB_API_KEY "\r\n"
                          "Content-Type: application/json\r\n"
                          "Content-Length: %zu\r\n\r\n{\"commands\":[",
                          body);
    append(p, head, (size_t)length);
    for (unsigned i = 0; i < n && !p->broken; i++) {
        struct stamp s = {
            .seq = ++c->seq, .time_ns = time_ns, .channel = c->id};
        append(p, command, each);
        char *out = reserve(p, p->size);
        if (out == NULL)
            return;
        stamp_payload(out, p->size, &s);
        p->out_length += p->size;
        append(p, "}},", i + 1 < n ? 3 : 2);
    }
    append(p, end, sizeof(end) - 1);
    p->sent++;
}

void pub_flush(struct pub *p)
{
    write_out(p);
}

bool pub_is_idle(const struct pub *p)
{
    if (p->broken)
        return true;
    return p->out_length == 0 &&
           (p->kind == PUB_NATS || p->answered + p->refused == p->sent);
}
