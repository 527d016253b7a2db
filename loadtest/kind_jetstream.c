/* kind_jetstream.c — publications that JetStream acknowledges, through the
 * gateway and without it, by turns, into the same stream:
 *
 *   http    one a request, `inflight` of them not answered at a time
 *   batch   `bunch` in a request, as many publications not answered
 *   bare    js_PublishAsync in a loop, as many not answered
 *   free    the same, any number not answered
 *
 * Sequences of the stream prove that everything was stored, and once: the last
 * one that the loop is told is the number of all publications so far.
 *
 * nats-server shares the generator's CPU; the gateway, or the loop in its
 * place, has the other one. */
#include "loadtest/bench.h"
#include "loadtest/jsbare.h"

#define ROUNDS_MAX 100

enum way { HTTP, BATCH, BARE, FREE, WAYS };

struct result {
    double per_second[ROUNDS_MAX];
    double own_us[ROUNDS_MAX];  /* CPU per message, gateway or loop */
    double nats_us[ROUNDS_MAX]; /* of nats-server */
};

struct jetstream {
    struct bench *bench; /* borrowed */
    struct pub pub;
    struct jsbare bare;
    struct channel channel;
    /* Of the way that runs. */
    uint64_t stored; /* publications that were answered, all ways */
    unsigned step;   /* messages a request */
    unsigned left;   /* messages that are not published yet */
    struct result results[WAYS];
};

/* Fills the window; true when everything is answered. */
static bool is_over(void *arg)
{
    struct jetstream *x = arg;
    const struct scenario *s = x->bench->scenario;
    struct pub *p = &x->pub;
    unsigned most = s->inflight / x->step;
    bool any = false;
    while (x->left > 0 && !p->broken &&
           p->sent - p->answered - p->refused < most) {
        if (x->step == 1)
            pub_message(p, &x->channel, 0);
        else
            pub_batch(p, &x->channel, x->step, 0);
        x->left -= x->step;
        any = true;
    }
    if (any)
        pub_flush(p);
    return p->broken || (x->left == 0 && pub_is_idle(p));
}

static int run_gate(struct jetstream *x, unsigned step, uint64_t *wall_ns,
                    uint64_t *cpu_ns)
{
    struct bench *b = x->bench;
    x->step = step;
    x->left = b->scenario->messages / step * step;
    uint64_t cpu = bench_cpu_ns(b);
    uint64_t start = loop_now_ns();
    bool over = loop_until(&b->loop, is_over, x, 6 * BENCH_PATIENCE);
    *wall_ns = loop_now_ns() - start;
    *cpu_ns = bench_cpu_ns(b) - cpu;
    if (!over || x->pub.broken || x->pub.refused > 0) {
        report_problem(&b->report, "%u not published; %s", x->left,
                       x->pub.failure);
        return -1;
    }
    return 0;
}

static int run_bare(struct jetstream *x, unsigned window, uint64_t *wall_ns,
                    uint64_t *cpu_ns)
{
    struct bench *b = x->bench;
    const struct scenario *s = b->scenario;
    struct jsbare_command c = {
        .count = s->messages, .window = window, .size = s->size};
    struct jsbare_answer a = {.error = "the loop ended"};
    snprintf(c.subject, sizeof(c.subject), "weir.pub.%.32s.bare", s->history);
    if (jsbare_run(&x->bare, &c, &a) != 0 || a.errors > 0) {
        report_problem(&b->report, "js_PublishAsync: %llu errors, %s",
                       (unsigned long long)a.errors, a.error);
        return -1;
    }
    if (a.last != x->stored + s->messages) {
        report_problem(&b->report, "%llu publications answered, %llu stored",
                       (unsigned long long)(x->stored + s->messages),
                       (unsigned long long)a.last);
        return -1;
    }
    *wall_ns = a.wall_ns;
    *cpu_ns = a.cpu_ns;
    return 0;
}

static int run_way(struct jetstream *x, enum way way, unsigned round)
{
    struct bench *b = x->bench;
    const struct scenario *s = b->scenario;
    struct result *r = &x->results[way];
    uint64_t wall = 0;
    uint64_t cpu = 0;
    int rc;
    bench_quiet(b);
    uint64_t nats = proc_cpu_ns(&b->nats);
    if (way == HTTP || way == BATCH)
        rc = run_gate(x, way == HTTP ? 1 : s->bunch, &wall, &cpu);
    else
        rc = run_bare(x, way == BARE ? s->inflight : 0, &wall, &cpu);
    nats = proc_cpu_ns(&b->nats) - nats;
    if (rc != 0 || wall == 0)
        return -1;
    x->stored += s->messages;
    double n = s->messages;
    r->per_second[round] = n * LOOP_SECOND / (double)wall;
    r->own_us[round] = (double)cpu / n / 1000;
    r->nats_us[round] = (double)nats / n / 1000;
    return 0;
}

static double ratio(const struct jetstream *x, enum way way, enum way to)
{
    double all[ROUNDS_MAX];
    unsigned n = x->bench->scenario->rounds;
    for (unsigned i = 0; i < n; i++)
        all[i] = x->results[way].per_second[i] / x->results[to].per_second[i];
    return hist_of_sorted(all, n, 0.5);
}

static void report_all(struct jetstream *x)
{
    static const char *const keys[WAYS][3] = {
        {"js_http_s", "js_http_us", "js_http_nats_us"},
        {"js_batch_s", "js_batch_us", "js_batch_nats_us"},
        {"js_bare_s", "js_bare_us", "js_bare_nats_us"},
        {"js_free_s", "js_free_us", "js_free_nats_us"},
    };
    struct report *r = &x->bench->report;
    unsigned n = x->bench->scenario->rounds;
    report_add(r, "js_http_ratio", ratio(x, HTTP, BARE));
    report_add(r, "js_batch_ratio", ratio(x, BATCH, BARE));
    report_add(r, "js_batch_free_ratio", ratio(x, BATCH, FREE));
    for (int i = 0; i < WAYS; i++)
        report_add(r, keys[i][0],
                   hist_of_sorted(x->results[i].per_second, n, 0.5));
    for (int i = 0; i < WAYS; i++)
        report_add(r, keys[i][1], hist_of_sorted(x->results[i].own_us, n, 0.5));
    for (int i = 0; i < WAYS; i++)
        report_add(r, keys[i][2],
                   hist_of_sorted(x->results[i].nats_us, n, 0.5));
}

static int run(struct jetstream *x)
{
    struct bench *b = x->bench;
    if (bench_publisher(b, &x->pub) != 0)
        return -1;
    for (unsigned way = 0; way < WAYS; way++) /* to warm up */
        if (run_way(x, way, 0) != 0)
            return -1;
    for (unsigned i = 0; i < b->scenario->rounds; i++)
        for (unsigned way = 0; way < WAYS; way++)
            if (run_way(x, (way + i) % WAYS, i) != 0)
                return -1;
    report_all(x);
    return 0;
}

int kind_jetstream(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct jetstream x; /* large: results */
    x = (struct jetstream){.bench = b};
    if (!s->jetstream || b->pub_kind != PUB_HTTP || s->rounds == 0 ||
        s->rounds > ROUNDS_MAX || s->bunch < 2 || s->inflight % s->bunch != 0 ||
        s->inflight > 256 || s->messages == 0 || s->messages % s->bunch != 0) {
        report_problem(&b->report,
                       "jetstream: publish http, jetstream yes, 1 to 100 "
                       "rounds, inflight at most 256; it and messages are "
                       "multiples of bunch, which is at least 2");
        return -1;
    }
    snprintf(x.channel.name, CHANNEL_NAME_SIZE, "%.20s:gate", s->history);
    if (jsbare_start(&x.bare, b->server_cpu, b->nats_port) != 0)
        return -1;
    int rc = run(&x);
    bench_check_publisher(b, &x.pub);
    pub_close(&x.pub);
    jsbare_stop(&x.bare);
    return rc;
}
