#include "loadtest/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define START_TRIES 200 /* of 50 ms */
/* Less CPU than this in half a millisecond is a server asleep. */
#define QUIET_NS 20000
#define QUIET_STEP (LOOP_MS / 2)
#define QUIET_TRIES 400
#define METRICS_BYTES ((size_t)256 << 10)

/* One GET on its own connection; what fits of the answer, and a NUL. Returns
 * whether its status is 200. */
static bool get(uint16_t port, const char *path, char *answer, size_t size)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 1};
    char request[128];
    size_t have = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return false;
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                     "Connection: close\r\n\r\n",
                     path);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
        send(fd, request, (size_t)n, MSG_NOSIGNAL) == n) {
        ssize_t got;
        while (have + 1 < size &&
               (got = recv(fd, answer + have, size - 1 - have, 0)) > 0)
            have += (size_t)got;
    }
    close(fd);
    answer[have] = '\0';
    return strncmp(answer, "HTTP/1.1 200", 12) == 0 ||
           strncmp(answer, "HTTP/1.0 200", 12) == 0;
}

static bool is_healthy(uint16_t port)
{
    char answer[1024];
    return get(port, "/health", answer, sizeof(answer));
}

/* NATS greets whoever connects. */
static bool is_nats(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 1};
    char hello[5] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    bool ok = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
              recv(fd, hello, 4, MSG_WAITALL) == 4 &&
              strcmp(hello, "INFO") == 0;
    close(fd);
    return ok;
}

static int await_start(struct proc *p, const char *what, uint16_t port,
                       bool (*is_up)(uint16_t port))
{
    for (int i = 0; i < START_TRIES; i++) {
        if (!proc_is_alive(p)) {
            fprintf(stderr, "%s ended at its start\n", what);
            return -1;
        }
        if (is_up(port)) {
            proc_refresh(p);
            return 0;
        }
        usleep(50000);
    }
    fprintf(stderr, "%s does not answer on port %u\n", what, port);
    return -1;
}

/* The bus runs beside the generator: the server's CPU is the server's. */
static int start_nats(struct bench *b, const struct options *o)
{
    char port[8];
    b->nats_port = proc_free_port();
    snprintf(port, sizeof(port), "%u", b->nats_port);
    char binary[256];
    snprintf(binary, sizeof(binary), "%s", o->nats_server);
    char *argv[11] = {binary, "-a", "127.0.0.1", "-p",
                      port,   "-l", "/dev/null", NULL};
    if (b->scenario->jetstream) {
        snprintf(b->nats_dir, sizeof(b->nats_dir), "/tmp/weir-load-XXXXXX");
        if (mkdtemp(b->nats_dir) == NULL) {
            perror(b->nats_dir);
            b->nats_dir[0] = '\0';
            return -1;
        }
        argv[7] = "-js";
        argv[8] = "-sd";
        argv[9] = b->nats_dir;
    }
    if (proc_spawn(&b->nats, argv, b->load_cpu) != 0)
        return -1;
    return await_start(&b->nats, "nats-server", b->nats_port, is_nats);
}

static int remove_one(const char *path, const struct stat *info, int type,
                      struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

static void stop_nats(struct bench *b)
{
    proc_stop(&b->nats);
    if (b->nats_dir[0] != '\0' &&
        nftw(b->nats_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        perror(b->nats_dir);
    b->nats_dir[0] = '\0';
}

/* Is the server on a bus? */
static bool has_bus(const struct bench *b)
{
    return b->pub_kind == PUB_NATS || b->scenario->jetstream;
}

static int start_weir(struct bench *b, const struct options *o)
{
    char binary[512];
    char config[512];
    char port[8];
    char url[64];
    b->port = proc_free_port();
    snprintf(binary, sizeof(binary), "%s", o->weir);
    snprintf(config, sizeof(config), "%s/%s", o->config_dir,
             b->scenario->config);
    snprintf(port, sizeof(port), "%u", b->port);
    snprintf(url, sizeof(url), "nats://127.0.0.1:%u", b->nats_port);
    char *argv[] = {binary,     "-c", config, "-p", port,
                    "--shards", "1",  NULL,   NULL, NULL};
    if (has_bus(b)) {
        argv[7] = "--nats";
        argv[8] = url;
    }
    if (proc_spawn(&b->server, argv, b->server_cpu) != 0)
        return -1;
    return await_start(&b->server, "weir", b->port, is_healthy);
}

static int make_channels(struct bench *b)
{
    unsigned n = b->scenario->channels;
    b->channels = calloc(n, sizeof(*b->channels));
    if (b->channels == NULL)
        return -1;
    for (unsigned i = 0; i < n; i++) {
        snprintf(b->channels[i].name, CHANNEL_NAME_SIZE, n == 1 ? "c" : "c%u",
                 i);
        b->channels[i].id = (uint16_t)i;
    }
    return 0;
}

static int check_scenario(struct bench *b)
{
    const struct scenario *s = b->scenario;
    int kind = pub_kind_of(s->publish);
    b->dialect = dialect_find(s->transport);
    if (b->dialect == NULL || kind < 0) {
        fprintf(stderr, "%s: unknown transport %s or publish %s\n", s->name,
                s->transport, s->publish);
        return -1;
    }
    bool needs_clients = strcmp(s->kind, "keep") != 0;
    if (s->size < STAMP_PAYLOAD_MIN || (needs_clients && s->clients == 0) ||
        s->channels == 0 || s->inflight == 0 || s->rate == 0 ||
        s->sources == 0) {
        fprintf(stderr,
                "%s: size >= %d, and clients, channels, inflight, "
                "rate, sources >= 1\n",
                s->name, STAMP_PAYLOAD_MIN);
        return -1;
    }
    b->pub_kind = (enum pub_kind)kind;
    return 0;
}

int bench_start(struct bench *b, const struct scenario *s,
                const struct options *o)
{
    *b = (struct bench){.scenario = s,
                        .options = o,
                        .port = o->port,
                        .nats_port = o->nats_port,
                        .server_cpu = proc_allowed_cpu(0),
                        .load_cpu = proc_allowed_cpu(1)};
    b->loop.epfd = -1;
    if (b->load_cpu == -1) {
        fprintf(stderr, "only one CPU: numbers mean little\n");
        b->load_cpu = b->server_cpu;
    }
    if (check_scenario(b) != 0 || loop_init(&b->loop) != 0 ||
        make_channels(b) != 0)
        return -1;
    b->loop.spin = s->spin;
    if (has_bus(b) && b->nats_port == 0 && start_nats(b, o) != 0)
        return -1;
    if (o->pid == 0 && start_weir(b, o) != 0)
        return -1;
    if (o->pid != 0 && proc_attach(&b->server, o->pid, b->server_cpu) != 0) {
        fprintf(stderr, "pid %d: %s\n", (int)o->pid, strerror(errno));
        return -1;
    }
    return proc_pin_self(b->load_cpu);
}

static void stop_weir(struct bench *b)
{
    if (b->server.pid <= 0 && !b->server.ours)
        return;
    bool alive = proc_is_alive(&b->server);
    int status = proc_stop(&b->server);
    if (!alive)
        report_problem(&b->report, "the server died during the run");
    else if (status != 0)
        report_problem(&b->report, "the server ended with wait status %d",
                       status);
}

int bench_restart(struct bench *b, const char *name, const char *value)
{
    if (!b->server.ours) {
        report_problem(&b->report, "an attached server is not restarted");
        return -1;
    }
    stop_weir(b);
    if ((name == NULL || setenv(name, value, 1) == 0) &&
        start_weir(b, b->options) == 0)
        return 0;
    report_problem(&b->report, "no start with %s=%s", name != NULL ? name : "",
                   value != NULL ? value : "");
    return -1;
}

void bench_stop(struct bench *b)
{
    stop_weir(b);
    stop_nats(b);
    loop_fini(&b->loop);
    free(b->channels);
    b->channels = NULL;
}

int bench_open(struct bench *b, struct crowd *k)
{
    if (crowd_open(k, 0, k->count) == 0)
        return 0;
    report_problem(&b->report, "%u of %u connections failed, the first: %s",
                   k->failed, k->count, k->first_failure);
    return -1;
}

int bench_publisher(struct bench *b, struct pub *p)
{
    uint16_t port = b->pub_kind == PUB_NATS ? b->nats_port : b->port;
    int rc = pub_open(p, &b->loop, b->pub_kind, port);
    p->size = b->scenario->size;
    if (b->pub_kind == PUB_NATS)
        p->prefix = b->scenario->subject_prefix;
    if (rc != 0)
        report_problem(&b->report, "%s", p->failure);
    return rc;
}

void bench_check_publisher(struct bench *b, const struct pub *p)
{
    if (p->broken || p->refused > 0)
        report_problem(&b->report, "%llu publishes refused; %s",
                       (unsigned long long)p->refused, p->failure);
}

/* What bench_batch waits for. */
struct goal {
    const struct crowd *crowd;
    const struct pub *pub;
    uint64_t deliveries;
    uint32_t failed;
};

static bool is_reached(void *arg)
{
    const struct goal *g = arg;
    if (g->crowd->failed > g->failed || g->pub->broken)
        return true;
    return g->crowd->deliveries >= g->deliveries && pub_is_idle(g->pub);
}

int bench_batch(struct bench *b, struct crowd *k, struct pub *p,
                struct channel *c)
{
    unsigned n = b->scenario->inflight;
    struct goal g = {.crowd = k,
                     .pub = p,
                     .deliveries = k->deliveries + (uint64_t)n * k->live,
                     .failed = k->failed};
    uint64_t now = loop_now_ns();
    for (unsigned i = 0; i < n; i++)
        pub_message(p, c, now);
    pub_flush(p);
    if (!loop_until(&b->loop, is_reached, &g, BENCH_PATIENCE)) {
        report_problem(&b->report, "%llu of %llu deliveries after 10 s",
                       (unsigned long long)(k->deliveries +
                                            (uint64_t)n * k->live -
                                            g.deliveries),
                       (unsigned long long)n * k->live);
        return -1;
    }
    return k->failed > g.failed || p->broken ? -1 : 0;
}

void bench_quiet(struct bench *b)
{
    uint64_t last = proc_cpu_ns(&b->server);
    for (int i = 0; i < QUIET_TRIES; i++) {
        loop_for(&b->loop, QUIET_STEP);
        uint64_t now = proc_cpu_ns(&b->server);
        if (now - last < QUIET_NS)
            return;
        last = now;
    }
}

uint64_t bench_cpu_ns(const struct bench *b)
{
    return proc_cpu_ns(&b->server) + proc_softirq_ns(b->server_cpu);
}

double bench_metric(const struct bench *b, const char *name)
{
    static char answer[METRICS_BYTES];
    size_t n = strlen(name);
    double sum = -1;
    if (!get(b->port, "/metrics", answer, sizeof(answer)))
        return -1;
    for (const char *line = answer; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) != 0 || (line[n] != ' ' && line[n] != '{'))
            continue;
        const char *value = line[n] == ' ' ? line + n : strstr(line, "} ");
        if (value != NULL)
            sum = (sum < 0 ? 0 : sum) + strtod(value + 1, NULL);
    }
    return sum;
}

void bench_memory(struct bench *b, const struct proc_memory *before,
                  unsigned clients)
{
    struct proc_memory now = proc_memory(&b->server);
    report_add(&b->report, "base_mb", (double)before->rss_kb / 1024);
    report_add(&b->report, "full_mb", (double)now.rss_kb / 1024);
    report_add(&b->report, "rss_kb",
               ((double)now.rss_kb - (double)before->rss_kb) / clients);
    report_add(&b->report, "pss_kb",
               ((double)now.pss_kb - (double)before->pss_kb) / clients);
}
