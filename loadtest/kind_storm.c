/* kind_storm.c — everybody was away and comes back at once:
 *
 *   all leave, `missed` publications, (the server restarts,) all connect in
 *   the same moment and ask for what came after the last one they had
 *
 *   round i: a storm on the gateway, the same on a bare server that answers
 *            with the bytes that the gateway gave
 *
 * A client's time runs from the first connect() of the storm until it has the
 * last of its publications; each must come once, in order. */
#include "loadtest/bare.h"
#include "loadtest/bench.h"

#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 100
#define STORM_CHANNEL 1
#define FROM_SIZE 128

struct side {
    struct bench *bench;     /* borrowed */
    const struct proc *proc; /* borrowed */
    struct crowd crowd;
    uint64_t *next;    /* owned: [client] the number that must come now */
    double *took_ms;   /* owned: [clients that are done] */
    uint32_t done;     /* clients that have all */
    uint64_t first;    /* number */
    uint64_t last;     /* number */
    uint64_t start_ns; /* of the storm */
};

struct outcome {
    double p50_ms;
    double p99_ms;
    double cpu_ns; /* per client */
    double bytes;  /* per client */
};

struct storm {
    struct bench *bench; /* borrowed */
    struct side gate;
    struct side floor;
    struct bare bare;
    struct channel channel;
    struct channel bare_channel;
    char from[FROM_SIZE];
    char epoch[32];
    char *answer; /* owned: what the bare server answers with */
    size_t answer_length;
    double reads; /* most of all storms */
    double recovered;
};

static bool on_stamp(struct conn *c, const struct stamp *s)
{
    struct crowd *k = c->crowd;
    struct side *side = k->stamp_arg;
    uint64_t *next = &side->next[c - k->conns];
    if (s->channel != STORM_CHANNEL || side->last == 0)
        return false;
    if (s->seq > *next)
        k->losses.missing += s->seq - *next;
    else if (s->seq < *next)
        k->losses.duplicate++;
    if (s->seq >= *next)
        *next = s->seq + 1;
    if (s->seq == side->last && side->done < k->count)
        side->took_ms[side->done++] =
            (double)(k->last_arrival_ns - side->start_ns) / 1e6;
    return true;
}

static void side_init(struct side *x, struct bench *b, const struct proc *proc,
                      uint16_t port, struct channel *channel)
{
    uint32_t n = b->scenario->clients;
    *x = (struct side){.bench = b, .proc = proc};
    crowd_init(&x->crowd, &b->loop, b->dialect, port, n);
    x->next = calloc(n, sizeof(*x->next));
    x->took_ms = calloc(n, sizeof(*x->took_ms));
    if (x->next == NULL || x->took_ms == NULL) {
        perror("weir-load");
        abort();
    }
    crowd_assign(&x->crowd, channel, 1);
    x->crowd.sources = (uint16_t)b->scenario->sources;
    x->crowd.on_stamp = on_stamp;
    x->crowd.stamp_arg = x;
}

static void side_fini(struct side *x)
{
    if (x->crowd.conns != NULL)
        crowd_fini(&x->crowd);
    free(x->next);
    x->next = NULL;
    free(x->took_ms);
    x->took_ms = NULL;
}

static bool is_whole(void *arg)
{
    const struct side *x = arg;
    return x->done == x->crowd.count || x->crowd.failed > 0;
}

/* All come, get [first, last], and leave. */
static int blow(struct side *x, struct outcome *out)
{
    struct bench *b = x->bench;
    struct crowd *k = &x->crowd;
    uint64_t bytes = k->received_bytes;
    for (uint32_t i = 0; i < k->count; i++)
        x->next[i] = x->first;
    x->done = 0;
    k->at_once = k->count;
    bench_quiet(b);
    uint64_t cpu = proc_cpu_ns(x->proc) + proc_softirq_ns(b->server_cpu);
    x->start_ns = loop_now_ns();
    if (bench_open(b, k) != 0)
        return -1;
    if (!loop_until(&b->loop, is_whole, x, BENCH_PATIENCE) || k->failed > 0) {
        report_problem(&b->report, "%u of %u clients have all; %s", x->done,
                       k->count, k->first_failure);
        return -1;
    }
    bench_quiet(b);
    cpu = proc_cpu_ns(x->proc) + proc_softirq_ns(b->server_cpu) - cpu;
    out->p50_ms = hist_of_sorted(x->took_ms, k->count, 0.5);
    out->p99_ms = hist_of_sorted(x->took_ms, k->count, 0.99);
    out->cpu_ns = (double)cpu / k->count;
    out->bytes = (double)(k->received_bytes - bytes) / k->count;
    return 0;
}

static bool is_published(void *arg)
{
    return pub_is_idle(arg);
}

/* The publications that nobody is there for. */
static int publish_missed(struct storm *x)
{
    struct bench *b = x->bench;
    struct pub p;
    int rc = bench_publisher(b, &p);
    uint64_t before = x->channel.seq;
    for (unsigned i = 0; i < b->scenario->missed && rc == 0; i++)
        pub_message(&p, &x->channel, loop_now_ns());
    if (rc == 0) {
        pub_flush(&p);
        if (!loop_until(&b->loop, is_published, &p, BENCH_PATIENCE))
            report_problem(&b->report, "publishing took more than 10 s");
    }
    bench_check_publisher(b, &p);
    pub_close(&p);
    x->gate.first = before + 1;
    x->gate.last = x->channel.seq;
    /* The channel is alone in its namespace: numbers are offsets. */
    snprintf(x->from, sizeof(x->from),
             "\"recover\":true,\"epoch\":\"%s\",\"offset\":%llu", x->epoch,
             (unsigned long long)before);
    x->channel.from = x->from;
    return b->report.problems > 0 ? -1 : 0;
}

/* One storm on the gateway, with its reads of the bus. */
static int blow_gate(struct storm *x, struct outcome *out)
{
    struct bench *b = x->bench;
    static const char reads[] = "weir_history_reads_total";
    static const char recovered[] = "weir_recovered_publications_total";
    crowd_close(&x->gate.crowd);
    if (publish_missed(x) != 0)
        return -1;
    if (b->scenario->restart && bench_restart(b, NULL, NULL) != 0)
        return -1;
    x->gate.crowd.port = b->port;
    double before[2] = {bench_metric(b, reads), bench_metric(b, recovered)};
    if (blow(&x->gate, out) != 0)
        return -1;
    double read = bench_metric(b, reads) - before[0];
    x->reads = read > x->reads ? read : x->reads;
    x->recovered +=
        (bench_metric(b, recovered) - before[1]) / b->scenario->clients;
    return 0;
}

static int blow_floor(struct storm *x, struct outcome *out)
{
    crowd_close(&x->floor.crowd);
    return blow(&x->floor, out);
}

/* The epoch in what the first client was answered. */
static int find_epoch(struct storm *x)
{
    static const char key[] = "\"epoch\":\"";
    struct crowd *k = &x->gate.crowd;
    const char *hit = memmem(k->tap, k->tap_length, key, sizeof(key) - 1);
    if (hit != NULL && sscanf(hit + sizeof(key) - 1, "%31[^\"]", x->epoch) == 1)
        return 0;
    report_problem(&x->bench->report, "no epoch in the answer to a subscribe");
    return -1;
}

/* What a client got behind the upgrade's head, for the bare server. */
static int take_answer(struct storm *x)
{
    struct crowd *k = &x->gate.crowd;
    size_t head = dialect_head(k->tap, k->tap_length);
    x->answer_length = k->tap_length - head;
    x->answer = malloc(x->answer_length);
    if (head == 0 || x->answer == NULL)
        return -1;
    memcpy(x->answer, k->tap + head, x->answer_length);
    return 0;
}

/* First a subscription to learn the epoch, then a storm that is not counted. */
static int prepare(struct storm *x)
{
    struct bench *b = x->bench;
    struct crowd *k = &x->gate.crowd;
    struct outcome ignored;
    crowd_tap(k, &k->conns[0]);
    if (bench_open(b, k) != 0 || find_epoch(x) != 0)
        return -1;
    crowd_close(k);
    crowd_tap(k, &k->conns[0]);
    if (blow_gate(x, &ignored) != 0 || take_answer(x) != 0)
        return -1;
    crowd_untap(k);
    x->recovered = 0;
    if (bare_start_acceptor(&x->bare, b->server_cpu, x->answer,
                            x->answer_length) != 0)
        return -1;
    side_init(&x->floor, b, &x->bare.proc, x->bare.port, &x->bare_channel);
    x->floor.first = x->gate.first;
    x->floor.last = x->gate.last;
    return blow_floor(x, &ignored);
}

struct column {
    double gate[ROUNDS_MAX];
    double floor[ROUNDS_MAX];
    double ratio[ROUNDS_MAX];
};

static void fill(struct column *c, unsigned i, double gate, double floor)
{
    c->gate[i] = gate;
    c->floor[i] = floor;
    c->ratio[i] = gate / floor;
}

static void report_all(struct storm *x, struct column *p50, struct column *p99,
                       struct column *cpu)
{
    struct report *r = &x->bench->report;
    unsigned n = x->bench->scenario->rounds;
    report_add(r, "storm_p50_ms", hist_of_sorted(p50->gate, n, 0.5));
    report_add(r, "storm_p99_ms", hist_of_sorted(p99->gate, n, 0.5));
    report_add(r, "storm_bare_p50_ms", hist_of_sorted(p50->floor, n, 0.5));
    report_add(r, "storm_bare_p99_ms", hist_of_sorted(p99->floor, n, 0.5));
    report_add(r, "storm_p50_ratio", hist_of_sorted(p50->ratio, n, 0.5));
    report_add(r, "storm_p99_ratio", hist_of_sorted(p99->ratio, n, 0.5));
    report_add(r, "storm_p99_low", p99->ratio[0]);
    report_add(r, "storm_p99_high", p99->ratio[n - 1]);
    report_add(r, "storm_us", hist_of_sorted(cpu->gate, n, 0.5) / 1000);
    report_add(r, "storm_bare_us", hist_of_sorted(cpu->floor, n, 0.5) / 1000);
    report_add(r, "storm_cpu_ratio", hist_of_sorted(cpu->ratio, n, 0.5));
    report_add(r, "history_reads", x->reads);
    report_add(r, "recovered", x->recovered / n);
}

static int run(struct storm *x)
{
    const struct scenario *s = x->bench->scenario;
    static struct column p50;
    static struct column p99;
    static struct column cpu;
    double bytes = 0;
    if (prepare(x) != 0)
        return -1;
    for (unsigned i = 0; i < s->rounds; i++) {
        struct outcome gate = {0};
        struct outcome floor = {0};
        if (i % 2 == 1 && blow_floor(x, &floor) != 0)
            return -1;
        if (blow_gate(x, &gate) != 0)
            return -1;
        if (i % 2 == 0 && blow_floor(x, &floor) != 0)
            return -1;
        fill(&p50, i, gate.p50_ms, floor.p50_ms);
        fill(&p99, i, gate.p99_ms, floor.p99_ms);
        fill(&cpu, i, gate.cpu_ns, floor.cpu_ns);
        bytes += gate.bytes / s->rounds;
    }
    report_all(x, &p50, &p99, &cpu);
    report_add(&x->bench->report, "storm_bytes", bytes);
    return 0;
}

int kind_storm(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct storm x;
    x = (struct storm){.bench = b};
    if (b->dialect != &dialect_ws || b->pub_kind != PUB_HTTP ||
        s->rounds == 0 || s->rounds > ROUNDS_MAX || s->missed == 0 ||
        (s->restart && !s->jetstream)) {
        report_problem(&b->report, "storm: transport ws, publish http, 1 to "
                                   "100 rounds, missed >= 1; restart only "
                                   "with jetstream");
        return -1;
    }
    x.bare.fd = -1;
    snprintf(x.channel.name, CHANNEL_NAME_SIZE, "%.20s:storm", s->history);
    x.channel.id = STORM_CHANNEL;
    x.bare_channel = x.channel;
    side_init(&x.gate, b, &b->server, b->port, &x.channel);
    int rc = run(&x);
    report_crowd(&b->report, &x.gate.crowd);
    if (x.floor.crowd.losses.missing > 0)
        report_problem(&b->report, "the bare server lost bytes");
    side_fini(&x.gate);
    side_fini(&x.floor);
    bare_stop(&x.bare);
    free(x.answer);
    return rc;
}
