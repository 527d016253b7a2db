/* kind_fanout.c — one channel, all clients, closed loop; the gateway and a
 * bare send() loop take turns, round by round, with the same bytes:
 *
 *   round 1: gateway x batches, bare x batches -> ratio 1
 *   round 2: bare x batches, gateway x batches -> ratio 2 ...
 *
 * The bytes are what the gateway really sent to one client for one batch. */
#include "loadtest/bare.h"
#include "loadtest/bench.h"

#include <stdlib.h>
#include <string.h>

#define WARM_UP_BATCHES 5
#define BARE_CHANNEL 0xbaee
#define ROUNDS_MAX 1000
#define CAPTURE_TRIES 5

struct fanout {
    struct bench *bench; /* borrowed */
    struct crowd crowd;
    struct pub pub;
    struct bare bare;
    struct crowd bare_crowd;
    struct channel bare_channel;
    unsigned stamps;     /* in the template: messages per pass */
    uint64_t wall_ns;    /* of the gateway's rounds */
    uint64_t deliveries; /* in them */
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

struct pass {
    struct fanout *fanout;
    uint64_t deliveries;
    struct bare_answer answer;
    int answered; /* as bare_poll */
};

static bool is_passed(void *arg)
{
    struct pass *p = arg;
    if (p->answered == 0)
        p->answered = bare_poll(&p->fanout->bare, &p->answer);
    if (p->answered < 0 || p->fanout->bare_crowd.failed > 0)
        return true;
    return p->answered == 1 &&
           p->fanout->bare_crowd.deliveries >= p->deliveries;
}

/* The same for the bare sender. */
static double bare_round(struct fanout *f)
{
    struct bench *b = f->bench;
    struct crowd *k = &f->bare_crowd;
    uint64_t cpu = 0;
    uint64_t per_pass = (uint64_t)f->stamps * k->live;
    for (unsigned i = 0; i < b->scenario->batches; i++) {
        struct pass p = {.fanout = f, .deliveries = k->deliveries + per_pass};
        if (bare_send(&f->bare, f->bare_channel.seq) != 0)
            return -1;
        f->bare_channel.seq += f->stamps;
        if (!loop_until(&b->loop, is_passed, &p, BENCH_PATIENCE) ||
            p.answered != 1 || k->failed > 0)
            return -1;
        cpu += p.answer.cpu_ns;
    }
    return (double)cpu / ((double)per_pass * b->scenario->batches);
}

/* Number of stamps in captured bytes; 0 when something else is among them. */
static unsigned count_stamps(const char *p, size_t n)
{
    const char *end = p + n;
    unsigned count = 0;
    const char *hit;
    if (memmem(p, n, "{}", 2) != NULL || memmem(p, n, "\n:", 2) != NULL)
        return 0;
    while ((hit = stamp_find(p, (size_t)(end - p))) != NULL) {
        count++;
        p = hit + STAMP_BYTES;
    }
    return count;
}

/* Publishes a batch, hands its bytes as one client got them to the sender. */
static int copy_bytes(struct fanout *f)
{
    struct bench *b = f->bench;
    struct crowd *k = &f->crowd;
    for (int i = 0; i < CAPTURE_TRIES; i++) {
        crowd_tap(k, &k->conns[k->count / 2]);
        if (bench_batch(b, k, &f->pub, b->channels) != 0)
            return -1;
        bench_quiet(b);
        f->stamps = count_stamps(k->tap, k->tap_length);
        if (f->stamps != b->scenario->inflight)
            continue;
        int n = bare_template(&f->bare, k->tap, k->tap_length, BARE_CHANNEL);
        crowd_untap(k);
        return n == (int)f->stamps ? 0 : -1;
    }
    crowd_untap(k);
    return -1;
}

static int open_bare(struct fanout *f)
{
    struct bench *b = f->bench;
    const struct scenario *s = b->scenario;
    struct crowd *k = &f->bare_crowd;
    crowd_init(k, &b->loop, dialect_bare(b->dialect), f->bare.port, s->clients);
    k->sources = (uint16_t)s->sources;
    f->bare_channel = (struct channel){.name = "bare", .id = BARE_CHANNEL};
    crowd_assign(k, &f->bare_channel, 1);
    /* In steps, so that the listener's queue never overflows. */
    for (uint32_t i = 0; i < s->clients; i += 1000) {
        uint32_t n = s->clients - i < 1000 ? s->clients - i : 1000;
        if (crowd_open(k, i, n) != 0 || bare_hold(&f->bare, n) != 0) {
            report_problem(&b->report, "bare: %s", k->first_failure);
            return -1;
        }
    }
    if (copy_bytes(f) != 0) {
        report_problem(&b->report, "no clean batch to copy for the ceiling");
        return -1;
    }
    return 0;
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
    f = (struct fanout){.bench = b, .bare.fd = -1};
    if (s->rounds == 0 || s->batches == 0)
        return -1;
    if (s->bare && bare_start_sender(&f.bare, b->server_cpu) != 0)
        return -1;
    crowd_init(&f.crowd, &b->loop, b->dialect, b->port, s->clients);
    f.crowd.sources = (uint16_t)s->sources;
    crowd_assign(&f.crowd, b->channels, 1);
    int rc = run(&f);
    crowd_settle(&f.crowd);
    report_crowd(&b->report, &f.crowd);
    bench_check_publisher(b, &f.pub);
    if (f.bare_crowd.losses.missing > 0)
        report_problem(&b->report, "the bare sender lost bytes");
    pub_close(&f.pub);
    crowd_fini(&f.crowd);
    crowd_fini(&f.bare_crowd);
    bare_stop(&f.bare);
    return rc;
}
