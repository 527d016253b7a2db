#include "loadtest/bare.h"
#include "loadtest/loop.h"
#include "loadtest/stamp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 4096

enum op { OP_HOLD, OP_TEMPLATE, OP_SEND };

struct command {
    uint32_t op;      /* enum op */
    uint32_t length;  /* OP_TEMPLATE: bytes that follow; OP_HOLD: sockets */
    uint64_t seq;     /* OP_SEND */
    uint16_t channel; /* OP_TEMPLATE */
};

/* The sender's side. */
struct sender {
    int control;
    int listener;
    int cpu;
    int *fds; /* owned */
    uint32_t count;
    char *bytes; /* owned */
    size_t length;
    uint16_t channel;
    char *stamps[BARE_STAMPS]; /* borrowed: into bytes */
    uint32_t stamp_count;
};

static int read_all(int fd, void *p, size_t n)
{
    char *out = p;
    while (n > 0) {
        ssize_t got = recv(fd, out, n, 0);
        if (got == -1 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        out += got;
        n -= (size_t)got;
    }
    return 0;
}

static int write_all(int fd, const void *p, size_t n)
{
    const char *in = p;
    while (n > 0) {
        ssize_t put = send(fd, in, n, MSG_NOSIGNAL);
        if (put == -1 && errno == EINTR)
            continue;
        if (put <= 0)
            return -1;
        in += put;
        n -= (size_t)put;
    }
    return 0;
}

static uint64_t own_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * LOOP_SECOND + (uint64_t)t.tv_nsec;
}

static int hold(struct sender *s, uint32_t n)
{
    const int on = 1;
    int *fds = realloc(s->fds, (s->count + n) * sizeof(*fds));
    if (fds == NULL)
        return -1;
    s->fds = fds;
    for (uint32_t end = s->count + n; s->count < end; s->count++) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd == -1)
            return -1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        s->fds[s->count] = fd;
    }
    return 0;
}

static int take_template(struct sender *s, const struct command *c)
{
    if (c->length > BARE_TEMPLATE_MAX)
        return -1;
    free(s->bytes);
    s->bytes = malloc(c->length);
    if (s->bytes == NULL || read_all(s->control, s->bytes, c->length) != 0)
        return -1;
    s->length = c->length;
    s->channel = c->channel;
    s->stamp_count = 0;
    char *p = s->bytes;
    const char *end = s->bytes + s->length;
    const char *hit;
    while (s->stamp_count < BARE_STAMPS &&
           (hit = stamp_find(p, (size_t)(end - p))) != NULL) {
        s->stamps[s->stamp_count++] = s->bytes + (hit - s->bytes);
        p = s->bytes + (hit - s->bytes) + STAMP_BYTES;
    }
    return 0;
}

/* The socket's buffer was full: wait for it. Rare in a closed loop. */
static int send_rest(int fd, const char *p, size_t n)
{
    while (n > 0) {
        struct pollfd w = {.fd = fd, .events = POLLOUT};
        poll(&w, 1, 1000);
        ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
        if (put == -1 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (put > 0) {
            p += put;
            n -= (size_t)put;
        }
    }
    return 0;
}

/* The ceiling itself. */
static void send_to_all(struct sender *s, struct bare_answer *a)
{
    for (uint32_t i = 0; i < s->count; i++) {
        ssize_t n = send(s->fds[i], s->bytes, s->length, MSG_NOSIGNAL);
        if (n == (ssize_t)s->length) {
            a->sent++;
            continue;
        }
        size_t done = n > 0 ? (size_t)n : 0;
        a->partial++;
        if (send_rest(s->fds[i], s->bytes + done, s->length - done) == 0)
            a->sent++;
    }
}

static void pass(struct sender *s, uint64_t seq, struct bare_answer *a)
{
    uint64_t softirq = proc_softirq_ns(s->cpu);
    uint64_t before = own_cpu_ns();
    struct stamp stamp = {
        .seq = seq, .time_ns = loop_now_ns(), .channel = s->channel};
    for (uint32_t i = 0; i < s->stamp_count; i++) {
        stamp.seq++;
        stamp_write(s->stamps[i], &stamp);
    }
    send_to_all(s, a);
    a->cpu_ns = own_cpu_ns() - before;
    a->cpu_ns += proc_softirq_ns(s->cpu) - softirq;
}

static void sender_main(int control, int listener, int cpu)
{
    struct sender s = {.control = control, .listener = listener, .cpu = cpu};
    struct command c;
    while (read_all(control, &c, sizeof(c)) == 0) {
        struct bare_answer a = {0};
        if (c.op == OP_HOLD && hold(&s, c.length) != 0)
            break;
        if (c.op == OP_TEMPLATE) {
            if (take_template(&s, &c) != 0)
                break;
            a.sent = s.stamp_count;
        }
        if (c.op == OP_SEND)
            pass(&s, c.seq, &a);
        if (write_all(control, &a, sizeof(a)) != 0)
            break;
    }
    _exit(0);
}

static int listen_on(uint16_t *port)
{
    const int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&a, n) == -1 || listen(fd, BACKLOG) == -1 ||
        getsockname(fd, (struct sockaddr *)&a, &n) == -1) {
        close(fd);
        return -1;
    }
    *port = ntohs(a.sin_port);
    return fd;
}

/* A forked copy of a client's socket would keep it open. */
static void keep_only(int a, int b)
{
    unsigned low = (unsigned)(a < 0 || b < a ? b : a);
    unsigned high = (unsigned)(a > b ? a : b);
    if (low > 3)
        close_range(3, low - 1, 0);
    if (high > low + 1)
        close_range(low + 1, high - 1, 0);
    close_range(high + 1, ~0u, 0);
}

/* Forks a child on its CPU, without any descriptor but the two it needs. */
static int start(struct bare *b, int cpu, int control, const char *reply,
                 size_t n)
{
    int listener = listen_on(&b->port);
    pid_t parent = getpid();
    if (listener == -1)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        keep_only(control, listener);
        proc_pin_self(cpu);
        if (control >= 0)
            sender_main(control, listener, cpu);
        bare_acceptor_main(listener, reply, n);
    }
    close(listener);
    b->proc = (struct proc){.pid = pid, .ours = true};
    proc_refresh(&b->proc);
    return pid == -1 ? -1 : 0;
}

int bare_start_sender(struct bare *b, int cpu)
{
    int pair[2];
    *b = (struct bare){.fd = -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
        return -1;
    int rc = start(b, cpu, pair[1], NULL, 0);
    close(pair[1]);
    b->fd = pair[0];
    return rc;
}

int bare_start_acceptor(struct bare *b, int cpu, const char *reply, size_t n)
{
    *b = (struct bare){.fd = -1};
    return start(b, cpu, -1, reply, n);
}

void bare_stop(struct bare *b)
{
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
    proc_stop(&b->proc);
}

int bare_hold(struct bare *b, uint32_t n)
{
    struct command c = {.op = OP_HOLD, .length = n};
    struct bare_answer a;
    if (write_all(b->fd, &c, sizeof(c)) != 0)
        return -1;
    return read_all(b->fd, &a, sizeof(a));
}

int bare_template(struct bare *b, const char *p, size_t n, uint16_t channel)
{
    struct command c = {
        .op = OP_TEMPLATE, .length = (uint32_t)n, .channel = channel};
    struct bare_answer a;
    if (n > BARE_TEMPLATE_MAX || write_all(b->fd, &c, sizeof(c)) != 0 ||
        write_all(b->fd, p, n) != 0 || read_all(b->fd, &a, sizeof(a)) != 0)
        return -1;
    return (int)a.sent;
}

int bare_send(struct bare *b, uint64_t seq)
{
    struct command c = {.op = OP_SEND, .seq = seq};
    return write_all(b->fd, &c, sizeof(c));
}

int bare_poll(struct bare *b, struct bare_answer *a)
{
    ssize_t n = recv(b->fd, a, sizeof(*a), MSG_DONTWAIT | MSG_PEEK);
    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    if (n < (ssize_t)sizeof(*a))
        return 0;
    return read_all(b->fd, a, sizeof(*a)) == 0 ? 1 : -1;
}
