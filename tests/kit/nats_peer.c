#include "tests/kit/nats_peer.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

int nats_server_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    close(fd);
    return ntohs(a.sin_port);
}

static int dial(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    close(fd);
    return -1;
}

void nats_server_store(struct nats_server *s)
{
    snprintf(s->store, sizeof(s->store), "/tmp/weir-js-XXXXXX");
    CHECK(mkdtemp(s->store));
}

static int on_entry(const char *path, const struct stat *st, int kind,
                    struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void nats_server_forget(struct nats_server *s)
{
    CHECK(s->pid == 0);
    if (*s->store)
        nftw(s->store, on_entry, 16, FTW_DEPTH | FTW_PHYS);
    *s->store = '\0';
}

/* The command line cannot say how large the store may be. */
static void write_config(const struct nats_server *s, const char *path)
{
    FILE *f = fopen(path, "w");
    CHECK(f);
    fprintf(f, "jetstream { store_dir: \"%s\"\n", s->store);
    if (s->max_store_bytes)
        fprintf(f, "max_file_store: %lld\n", (long long)s->max_store_bytes);
    fprintf(f, "}\n%s\n", s->config ? s->config : "");
    CHECK(fclose(f) == 0);
}

static void run_server(const struct nats_server *s, const char *user)
{
    char port[16];
    char config[64];
    const char *args[16] = {"nats-server", "-a", "127.0.0.1", "-p", port};
    size_t n = 5;
    snprintf(port, sizeof(port), "%d", s->port);
    if (*s->store) {
        snprintf(config, sizeof(config), "%s/nats.conf", s->store);
        write_config(s, config);
        args[n++] = "-c";
        args[n++] = config;
    }
    if (user) {
        args[n++] = "--user";
        args[n++] = user;
        args[n++] = "--pass";
        args[n++] = user;
    }
    execvp("nats-server", (char *const *)args);
}

void nats_server_start(struct nats_server *s, const char *user)
{
    s->pid = fork();
    CHECK(s->pid >= 0);
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(126);
        run_server(s, user);
        _exit(127);
    }
    for (int i = 0; i < NATS_PATIENCE_MS / 10; i++) {
        int fd = dial(s->port);
        if (fd != -1) {
            close(fd);
            return;
        }
        CHECK(waitpid(s->pid, NULL, WNOHANG) == 0);
        usleep(10000);
    }
    CHECK(!"nats-server starts");
}

void nats_server_kill(struct nats_server *s)
{
    if (s->pid == 0)
        return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

void nats_server_freeze(struct nats_server *s)
{
    int status;
    kill(s->pid, SIGSTOP);
    CHECK(waitpid(s->pid, &status, WUNTRACED) == s->pid && WIFSTOPPED(status));
}

void nats_server_thaw(struct nats_server *s)
{
    kill(s->pid, SIGCONT);
}

void nats_peer_send(struct nats_peer *p, const char *bytes)
{
    size_t n = strlen(bytes);
    CHECK(send(p->fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
}

static bool peer_has(const struct nats_peer *p, const char *text)
{
    return p->in.n && memmem(p->in.p, p->in.n, text, strlen(text));
}

void nats_peer_wait(struct nats_peer *p, const char *text)
{
    uint64_t end = clock_now_ns() + NATS_PATIENCE_MS * UINT64_C(1000000);
    while (!peer_has(p, text)) {
        struct pollfd f = {.fd = p->fd, .events = POLLIN};
        CHECK(clock_now_ns() < end);
        if (poll(&f, 1, 1000) != 1)
            continue;
        ssize_t n = recv(p->fd, buf_reserve(&p->in, 4096), 4096, 0);
        CHECK(n > 0);
        p->in.n += (size_t)n;
    }
}

void nats_peer_flush(struct nats_peer *p)
{
    buf_clear(&p->in);
    nats_peer_send(p, "PING\r\n");
    nats_peer_wait(p, "PONG\r\n");
}

void nats_peer_open(struct nats_peer *p, const struct nats_server *s)
{
    *p = (struct nats_peer){.fd = dial(s->port)};
    CHECK(p->fd >= 0);
    nats_peer_send(p, "CONNECT {\"verbose\":false,\"headers\":true}\r\n");
    nats_peer_flush(p);
}

void nats_peer_close(struct nats_peer *p)
{
    close(p->fd);
    buf_free(&p->in);
}

/* Answers end with the line of their JSON. */
static bool ask_api(struct nats_peer *p, const char *what, const char *body,
                    const char *text)
{
    struct buf b = BUF_INIT;
    nats_peer_send(p, "SUB peer.api 9\r\n");
    nats_peer_flush(p);
    buf_printf(&b, "PUB $JS.API.%s peer.api %zu\r\n%s\r\n%c", what,
               strlen(body), body, 0);
    nats_peer_send(p, b.p);
    buf_free(&b);
    nats_peer_wait(p, "MSG peer.api 9 ");
    nats_peer_wait(p, "}\r\n");
    nats_peer_send(p, "UNSUB 9\r\n");
    return peer_has(p, text);
}

void nats_peer_api(struct nats_peer *p, const char *what, const char *body,
                   const char *text)
{
    bool ok = ask_api(p, what, body, text);
    if (!ok)
        fprintf(stderr, "%s: %.*s\n", what, (int)p->in.n, p->in.p);
    CHECK(ok);
}

void nats_peer_until(struct nats_peer *p, const char *what, const char *text)
{
    for (int i = 0; i < NATS_PATIENCE_MS / 10; i++) {
        if (ask_api(p, what, "", text))
            return;
        usleep(10000);
    }
    fprintf(stderr, "%s: %.*s\n", what, (int)p->in.n, p->in.p);
    CHECK(!"the answer comes");
}

void nats_peer_pub(struct nats_peer *p, const char *subject, const char *data)
{
    char head[512];
    snprintf(head, sizeof(head), "PUB %s %zu\r\n", subject, strlen(data));
    nats_peer_send(p, head);
    nats_peer_send(p, data);
    nats_peer_send(p, "\r\n");
}

void nats_peer_hpub(struct nats_peer *p, const char *subject,
                    const char *headers, const char *data)
{
    struct buf b = BUF_INIT;
    size_t n = strlen("NATS/1.0\r\n") + strlen(headers) + 2;
    buf_printf(&b, "HPUB %s %zu %zu\r\nNATS/1.0\r\n%s\r\n%s\r\n%c", subject, n,
               n + strlen(data), headers, data, 0);
    nats_peer_send(p, b.p);
    buf_free(&b);
}
