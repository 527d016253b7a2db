/* kind_fanout.c — one channel, all clients, closed loop; the gateway and a
 * bare send() loop take turns, round by round, with the same bytes:
 *
 *   round 1: gateway x batches, bare x batches -> ratio 1
 *   round 2: bare x batches, gateway x batches -> ratio 2 ...
 *
 * The bytes are what the gateway really sent to one client for one batch. */
#include "loadtest/bench.h"
#include "loadtest/ceiling.h"

#define WARM_UP_BATCHES 5
#define ROUNDS_MAX 1000
#define CAPTURE_TRIES 5

struct fanout {
    struct bench *bench; /* borrowed */
    struct crowd crowd;
    struct pub pub;
    struct ceiling ceiling;
    struct sample sample; /* what one client got of one batch */
    uint64_t wall_ns;     /* of the gateway's rounds */
    uint64_t deliveries;  /* in them */
    uint64_t bytes;
};

/* CPU per delivery of one round of the gateway, in ns; negative on failure. */
static double gateway_round(struct fanout *f)
{
    struct bench *b = f->bench;
    const struct scenario *s = b->scenario;
    bench_quiet(b);
    uint64_t bytes = f->crowd.received_bytes;
    uint64_t cpu = bench_cpu_ns(b);
    uint64_t start = loop_now_ns();
    for (unsigned i = 0; i < s->batches; i++)
        if (bench_batch(b, &f->crowd, &f->pub, b->channels) != 0)
            return -1;
    uint64_t wall = loop_now_ns() - start;
    bench_quiet(b);
    cpu = bench_cpu_ns(b) - cpu;
    uint64_t count = (uint64_t)s->batches * s->inflight * f->crowd.live;
    f->wall_ns += wall;
    f->deliveries += count;
    f->bytes += f->crowd.received_bytes - bytes;
    return (double)cpu / (double)count;
}

/* Publishes a batch and keeps its bytes as one client got them. */
static int copy_bytes(struct fanout *f)
{
    struct bench *b = f->bench;
    struct crowd *k = &f->crowd;
    int rc = -1;
    for (int i = 0; rc != 0 && i < CAPTURE_TRIES; i++) {
        crowd_tap(k, &k->conns[k->count / 2]);
        if (bench_batch(b, k, &f->pub, b->channels) != 0)
            break;
        bench_quiet(b);
        rc = sample_take(&f->sample, k->tap, k->tap_length,
                         b->scenario->inflight);
    }
    crowd_untap(k);
    return rc;
}

static int open_bare(struct fanout *f)
{
    if (ceiling_open(&f->ceiling) != 0)
        return -1;
    if (copy_bytes(f) == 0)
        return 0;
    report_problem(&f->bench->report, "no clean batch to copy for the ceiling");
    return -1;
}

static double bare_round(struct fanout *f)
{
    return ceiling_round(&f->ceiling, &f->sample, f->bench->scenario->batches,
                         0);
}

static void report_rounds(struct fanout *f, double *cost, double *bare,
                          unsigned n)
{
    struct report *r = &f->bench->report;
    double ratio[ROUNDS_MAX];
    for (unsigned i = 0; i < n; i++)
        ratio[i] = bare[i] > 0 ? cost[i] / bare[i] : 0;
    double seconds = (double)f->wall_ns / 1e9;
    double deliveries_s = seconds > 0 ? (double)f->deliveries / seconds : 0;
    report_add(r, "messages_s", deliveries_s / f->crowd.count);
    report_add(r, "deliveries_s", deliveries_s);
    report_add(r, "bytes", (double)f->bytes / (double)f->deliveries);
    report_add(r, "cpu_us", hist_of_sorted(cost, n, 0.5) / 1000);
    if (!f->bench->scenario->bare)
        return;
    report_add(r, "bare_us", hist_of_sorted(bare, n, 0.5) / 1000);
    report_add(r, "ratio", hist_of_sorted(ratio, n, 0.5));
    report_add(r, "ratio_p25", hist_of_sorted(ratio, n, 0.25));
    report_add(r, "ratio_p75", hist_of_sorted(ratio, n, 0.75));
}

static int run_rounds(struct fanout *f)
{
    const struct scenario *s = f->bench->scenario;
    double cost[ROUNDS_MAX];
    double bare[ROUNDS_MAX] = {0};
    f->crowd.measuring = true;
    for (unsigned i = 0; i < s->rounds; i++) {
        if (s->bare && i % 2 == 1)
            bare[i] = bare_round(f);
        cost[i] = gateway_round(f);
        if (s->bare && i % 2 == 0)
            bare[i] = bare_round(f);
        if (cost[i] < 0 || bare[i] < 0) {
            report_problem(&f->bench->report, "round %u did not finish", i);
            return -1;
        }
    }
    f->crowd.measuring = false;
    report_rounds(f, cost, bare, s->rounds);
    return 0;
}

static int run(struct fanout *f)
{
    struct bench *b = f->bench;
    const struct scenario *s = b->scenario;
    struct proc_memory before = proc_memory(&b->server);
    if (bench_open(b, &f->crowd) != 0)
        return -1;
    loop_for(&b->loop, s->settle_ms * LOOP_MS);
    bench_memory(b, &before, s->clients);
    if (bench_publisher(b, &f->pub) != 0)
        return -1;
    for (int i = 0; i < WARM_UP_BATCHES; i++)
        if (bench_batch(b, &f->crowd, &f->pub, b->channels) != 0)
            return -1;
    if (s->bare && open_bare(f) != 0)
        return -1;
    return run_rounds(f);
}

int kind_fanout(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct fanout f; /* large: histograms */
    f = (struct fanout){.bench = b};
    if (s->rounds == 0 || s->batches == 0)
        return -1;
    if (s->bare && ceiling_start(&f.ceiling, b) != 0)
        return -1;
    crowd_init(&f.crowd, &b->loop, b->dialect, b->port, s->clients);
    f.crowd.sources = (uint16_t)s->sources;
    crowd_assign(&f.crowd, b->channels, 1);
    int rc = run(&f);
    crowd_settle(&f.crowd);
    report_crowd(&b->report, &f.crowd);
    bench_check_publisher(b, &f.pub);
    pub_close(&f.pub);
    crowd_fini(&f.crowd);
    if (s->bare)
        ceiling_stop(&f.ceiling);
    sample_fini(&f.sample);
    return rc;
}
