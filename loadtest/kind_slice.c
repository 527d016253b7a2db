/* kind_slice.c — does a channel with very many subscribers stall the others?
 * One client on a channel of its own is published to at a fixed rate, first
 * alone, then while the big channel is published to without a pause.
 *
 * The probe has an epoll and a publisher of its own, served between every few
 * reads of the crowd, so that it does not wait in the generator's queue. */
#include "loadtest/bench.h"

#include <string.h>

#define PROBE_CHANNEL 0xbeef
#define TAIL (2 * LOOP_SECOND)

struct probe {
    struct loop loop;
    struct crowd crowd;
    struct pub pub;
    struct channel channel;
    uint64_t period_ns;
    uint64_t due_ns;
    bool stopped;
};

static void on_tick(void *arg)
{
    struct probe *p = arg;
    uint64_t now = loop_now_ns();
    bool any = false;
    while (!p->stopped && now >= p->due_ns) {
        pub_message(&p->pub, &p->channel, p->due_ns);
        p->due_ns += p->period_ns;
        any = true;
    }
    if (any)
        pub_flush(&p->pub);
    loop_turn(&p->loop, 0);
}

static int open_probe(struct bench *b, struct probe *p)
{
    if (loop_init(&p->loop) != 0)
        return -1;
    p->loop.spin = true;
    p->channel = (struct channel){.name = "probe", .id = PROBE_CHANNEL};
    p->period_ns = LOOP_SECOND / b->scenario->rate;
    crowd_init(&p->crowd, &p->loop, b->dialect, b->port, 1);
    crowd_assign(&p->crowd, &p->channel, 1);
    if (crowd_open(&p->crowd, 0, 1) != 0 ||
        pub_open(&p->pub, &p->loop, b->pub_kind,
                 b->pub_kind == PUB_NATS ? b->nats_port : b->port) != 0) {
        report_problem(&b->report, "probe: %s %s", p->crowd.first_failure,
                       p->pub.failure);
        return -1;
    }
    p->pub.size = b->scenario->size;
    if (b->pub_kind == PUB_NATS)
        p->pub.prefix = b->scenario->subject_prefix;
    return 0;
}

static bool is_caught_up(void *arg)
{
    const struct probe *p = arg;
    return p->crowd.deliveries >= p->pub.sent && pub_is_idle(&p->pub);
}

/* Lets the probe's last messages arrive. */
static int drain(struct bench *b, struct probe *p)
{
    p->stopped = true;
    if (loop_until(&b->loop, is_caught_up, p, TAIL))
        return 0;
    report_problem(&b->report, "probe: %llu of %llu deliveries",
                   (unsigned long long)p->crowd.deliveries,
                   (unsigned long long)p->pub.sent);
    return -1;
}

static void start_measuring(struct probe *p)
{
    hist_reset(&p->crowd.latency);
    p->crowd.measuring = true;
    p->stopped = false;
    p->due_ns = loop_now_ns() + p->period_ns;
}

static double quantile_ms(const struct probe *p, double q)
{
    return (double)hist_quantile(&p->crowd.latency, q) / 1e6;
}

static int run(struct bench *b, struct probe *p, struct crowd *k,
               struct pub *pub)
{
    const struct scenario *s = b->scenario;
    struct report *r = &b->report;
    if (bench_open(b, k) != 0 || bench_publisher(b, pub) != 0 ||
        open_probe(b, p) != 0)
        return -1;
    loop_for(&b->loop, s->settle_ms * LOOP_MS);
    b->loop.tick = on_tick;
    b->loop.tick_arg = p;
    start_measuring(p);
    loop_for(&b->loop, s->seconds * LOOP_SECOND / 2);
    if (drain(b, p) != 0)
        return -1;
    report_add(r, "calm_p50_ms", quantile_ms(p, 0.5));
    report_add(r, "calm_p99_ms", quantile_ms(p, 0.99));
    start_measuring(p);
    uint64_t before = k->deliveries;
    uint64_t start = loop_now_ns();
    while (loop_now_ns() - start < s->seconds * LOOP_SECOND)
        if (bench_batch(b, k, pub, b->channels) != 0)
            return -1;
    double wall = (double)(loop_now_ns() - start) / 1e9;
    report_add(r, "deliveries_s", (double)(k->deliveries - before) / wall);
    int rc = drain(b, p);
    report_add(r, "slice_p50_ms", quantile_ms(p, 0.5));
    report_add(r, "slice_p99_ms", quantile_ms(p, 0.99));
    report_add(r, "slice_p999_ms", quantile_ms(p, 0.999));
    return rc;
}

int kind_slice(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct probe p;
    static struct crowd k;
    struct pub pub;
    memset(&pub, 0, sizeof(pub));
    p.loop.epfd = -1;
    p.stopped = true;
    crowd_init(&k, &b->loop, b->dialect, b->port, s->clients);
    k.sources = (uint16_t)s->sources;
    crowd_assign(&k, b->channels, 1);
    int rc = run(b, &p, &k, &pub);
    b->loop.tick = NULL;
    crowd_settle(&k);
    crowd_settle(&p.crowd);
    report_crowd(&b->report, &k);
    if (p.crowd.losses.missing + p.crowd.losses.duplicate +
            p.crowd.losses.reordered + p.crowd.failed >
        0)
        report_problem(&b->report, "the probe lost or repeated something");
    bench_check_publisher(b, &pub);
    bench_check_publisher(b, &p.pub);
    pub_close(&pub);
    pub_close(&p.pub);
    crowd_fini(&k);
    crowd_fini(&p.crowd);
    loop_fini(&p.loop);
    return rc;
}
