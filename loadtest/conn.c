#include "loadtest/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* One buffer serves every socket: the generator is one thread. */
#define READ_BYTES ((size_t)256 << 10)
#define REQUEST_BYTES 1024
#define OPEN_TIMEOUT (30 * LOOP_SECOND)
/* Client addresses are 127.0.0.10, .11, ...: 28,000 ports each. */
#define FIRST_SOURCE 10

static char read_buffer[READ_BYTES];

static void *must(void *p)
{
    if (p == NULL) {
        perror("weir-load");
        abort();
    }
    return p;
}

static void forget_input(struct conn *c)
{
    free(c->carry);
    c->carry = NULL;
    c->carry_length = 0;
    free(c->part);
    c->part = NULL;
    c->part_length = 0;
}

static void shut(struct conn *c)
{
    struct crowd *k = c->crowd;
    if (c->state == CONN_CLOSED)
        return;
    if (c->state == CONN_LIVE)
        k->live--;
    else
        k->opening--;
    c->state = CONN_CLOSED;
    close(c->watch.fd);
    c->watch.fd = -1;
    forget_input(c);
}

int conn_fail(struct conn *c, const char *fmt, ...)
{
    struct crowd *k = c->crowd;
    if (k->failed++ == 0) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(k->first_failure, sizeof(k->first_failure), fmt, args);
        va_end(args);
    }
    shut(c);
    return -1;
}

int conn_send(struct conn *c, const char *p, size_t n)
{
    ssize_t sent = send(c->watch.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent == (ssize_t)n)
        return 0;
    return conn_fail(c, "send: %s", sent == -1 ? strerror(errno) : "short");
}

void conn_live(struct conn *c)
{
    c->state = CONN_LIVE;
    c->crowd->opening--;
    c->crowd->live++;
    tally_start(&c->tally, c->channel->seq);
}

static void count_one(struct conn *c, const char *hit, uint64_t now)
{
    struct crowd *k = c->crowd;
    struct stamp s;
    bool ours = stamp_read(hit, &s) == 0;
    if (ours && k->on_stamp != NULL)
        ours = k->on_stamp(c, &s);
    else if (ours)
        ours = s.channel == c->channel->id;
    if (!ours) {
        k->losses.stray++;
        return;
    }
    if (k->on_stamp == NULL)
        tally_see(&c->tally, s.seq, &k->losses);
    k->deliveries++;
    if (k->measuring)
        hist_add(&k->latency, now > s.time_ns ? now - s.time_ns : 0);
}

unsigned conn_count(struct conn *c, const char *p, size_t n)
{
    const char *end = p + n;
    unsigned found = 0;
    const char *hit;
    while ((hit = stamp_find(p, (size_t)(end - p))) != NULL) {
        count_one(c, hit, c->crowd->last_arrival_ns);
        p = hit + STAMP_BYTES;
        found++;
    }
    return found;
}

/* Keeps what the dialect could not use yet. */
static void keep_rest(struct conn *c, const char *p, size_t n)
{
    free(c->carry);
    c->carry = NULL;
    c->carry_length = (uint32_t)n;
    if (n == 0)
        return;
    c->carry = must(malloc(n));
    memcpy(c->carry, p, n);
}

/* Bytes that follow an incomplete unit are joined to it. */
static int eat_joined(struct conn *c, const char *p, size_t n)
{
    size_t total = c->carry_length + n;
    if (total > CONN_CARRY_MAX)
        return conn_fail(c, "a message of more than %zu bytes", CONN_CARRY_MAX);
    char *joined = must(malloc(total));
    memcpy(joined, c->carry, c->carry_length);
    memcpy(joined + c->carry_length, p, n);
    ssize_t used = c->crowd->dialect->on_bytes(c, joined, total);
    if (used >= 0 && c->state != CONN_CLOSED)
        keep_rest(c, joined + used, total - (size_t)used);
    free(joined);
    return used >= 0 ? 0 : -1;
}

static int eat(struct conn *c, const char *p, size_t n)
{
    struct crowd *k = c->crowd;
    k->received_bytes += n;
    if (k->tapped == c && k->tap_length + n <= k->tap_size) {
        memcpy(k->tap + k->tap_length, p, n);
        k->tap_length += n;
    }
    if (c->carry_length > 0)
        return eat_joined(c, p, n);
    ssize_t used = k->dialect->on_bytes(c, p, n);
    if (used < 0)
        return -1;
    if (c->state != CONN_CLOSED && (size_t)used < n)
        keep_rest(c, p + used, n - (size_t)used);
    return 0;
}

/* One recv() of at most `most` bytes. Returns how many, 0 when there was
 * nothing or the connection is no more. */
static size_t read_once(struct conn *c, size_t most)
{
    ssize_t n = recv(c->watch.fd, read_buffer, most, MSG_DONTWAIT);
    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n == -1) {
        conn_fail(c, "read: %s", strerror(errno));
        return 0;
    }
    if (n == 0) {
        conn_fail(c, "closed by the server, code %u in state %u", c->close_code,
                  c->state);
        return 0;
    }
    c->crowd->last_arrival_ns = loop_now_ns();
    return eat(c, read_buffer, (size_t)n) == 0 ? (size_t)n : 0;
}

void conn_read(struct conn *c)
{
    do {
        if (c->state == CONN_CLOSED || (c->deaf && c->state == CONN_LIVE))
            return;
    } while (read_once(c, READ_BYTES) == READ_BYTES);
}

size_t conn_sip(struct conn *c, size_t n)
{
    if (c->state == CONN_CLOSED)
        return 0;
    return read_once(c, n < READ_BYTES ? n : READ_BYTES);
}

void conn_read_to_end(struct conn *c)
{
    uint64_t before;
    do {
        before = c->crowd->received_bytes;
        conn_read(c);
    } while (c->crowd->received_bytes != before);
}

static void on_connected(struct conn *c)
{
    char request[REQUEST_BYTES];
    int error = 0;
    socklen_t n = sizeof(error);
    getsockopt(c->watch.fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error != 0) {
        conn_fail(c, "connect: %s", strerror(error));
        return;
    }
    if (c->crowd->dialect->request == NULL) {
        conn_live(c);
        return;
    }
    c->state = CONN_UPGRADING;
    size_t length = c->crowd->dialect->request(c, request, sizeof(request));
    conn_send(c, request, length);
}

static void on_event(struct watch *w, uint32_t events)
{
    struct conn *c = (struct conn *)w;
    if (c->state == CONN_CONNECTING && (events & (EPOLLOUT | EPOLLERR)) != 0)
        on_connected(c);
    if ((events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0)
        conn_read_to_end(c);
    else if ((events & EPOLLIN) != 0)
        conn_read(c);
}

/* What the handshake tells the server must be set before it. */
static void set_options(const struct crowd *k, int fd)
{
    const int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (k->receive_buffer > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &k->receive_buffer,
                   sizeof(k->receive_buffer));
    if (k->segment > 0)
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &k->segment,
                   sizeof(k->segment));
}

/* Starts one connection from its own address of 127.0.0.0/8. */
static int start(struct crowd *k, uint32_t i)
{
    struct conn *c = &k->conns[i];
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(k->port)};
    from.sin_addr.s_addr = htonl(0x7f000000u + FIRST_SOURCE + i % k->sources);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->watch = (struct watch){.fd = fd, .on_event = on_event};
    c->state = CONN_CONNECTING;
    c->close_code = 0;
    k->opening++;
    if (fd == -1)
        return conn_fail(c, "socket: %s", strerror(errno));
    set_options(k, fd);
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) == -1)
        return conn_fail(c, "bind: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == -1 &&
        errno != EINPROGRESS)
        return conn_fail(c, "connect: %s", strerror(errno));
    if (loop_add(k->loop, &c->watch) == -1)
        return conn_fail(c, "epoll: %s", strerror(errno));
    return 0;
}

void crowd_init(struct crowd *k, struct loop *l, const struct dialect *d,
                uint16_t port, uint32_t count)
{
    *k = (struct crowd){.loop = l,
                        .dialect = d,
                        .port = port,
                        .sources = 4,
                        .at_once = CONN_OPENING,
                        .count = count};
    k->conns = must(calloc(count, sizeof(*k->conns)));
    for (uint32_t i = 0; i < count; i++) {
        k->conns[i].crowd = k;
        k->conns[i].channel_count = 1;
        k->conns[i].watch.fd = -1;
    }
}

void crowd_fini(struct crowd *k)
{
    for (uint32_t i = 0; i < k->count; i++)
        shut(&k->conns[i]);
    free(k->conns);
    k->conns = NULL;
    k->count = 0;
    crowd_untap(k);
}

void crowd_assign(struct crowd *k, struct channel *channels, uint32_t n)
{
    for (uint32_t i = 0; i < k->count; i++)
        k->conns[i].channel = &channels[i % n];
}

void crowd_assign_all(struct crowd *k, struct channel *channels, uint16_t n)
{
    for (uint32_t i = 0; i < k->count; i++) {
        k->conns[i].channel = channels;
        k->conns[i].channel_count = n;
    }
}

int crowd_open(struct crowd *k, uint32_t from, uint32_t n)
{
    uint32_t failed_before = k->failed;
    uint64_t end = loop_now_ns() + OPEN_TIMEOUT;
    uint32_t next = from;
    while (next < from + n || k->opening > 0) {
        while (next < from + n && k->opening < k->at_once)
            start(k, next++);
        loop_turn(k->loop, LOOP_MS);
        if (loop_now_ns() > end)
            break;
    }
    for (uint32_t i = from; i < from + n && k->opening > 0; i++)
        if (k->conns[i].state != CONN_LIVE && k->conns[i].state != CONN_CLOSED)
            conn_fail(&k->conns[i], "no answer in state %u", k->conns[i].state);
    return k->failed == failed_before ? 0 : -1;
}

void crowd_close(struct crowd *k)
{
    for (uint32_t i = 0; i < k->count; i++) {
        struct conn *c = &k->conns[i];
        if (c->state == CONN_LIVE && k->dialect->on_leave != NULL)
            k->dialect->on_leave(c);
        shut(c);
    }
}

void crowd_settle(struct crowd *k)
{
    for (uint32_t i = 0; i < k->count; i++) {
        struct conn *c = &k->conns[i];
        if (c->state == CONN_LIVE && !c->deaf)
            tally_end(&c->tally, c->channel->seq, &k->losses);
    }
}

void crowd_tap(struct crowd *k, const struct conn *c)
{
    crowd_untap(k);
    k->tapped = c;
    k->tap_size = (size_t)4 << 20;
    k->tap = must(malloc(k->tap_size));
}

void crowd_untap(struct crowd *k)
{
    k->tapped = NULL;
    free(k->tap);
    k->tap = NULL;
    k->tap_length = 0;
    k->tap_size = 0;
}
