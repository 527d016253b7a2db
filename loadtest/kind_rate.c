/* kind_rate.c — a fixed rate over many channels: latency counts from when a
 * message was due, not from when the generator came round to sending it. */
#include "loadtest/bench.h"

#define LEAD_IN (20 * LOOP_MS)
#define TAIL (2 * LOOP_SECOND)
#define WARM_UP LOOP_SECOND

struct rate {
    struct bench *bench; /* borrowed */
    struct crowd crowd;
    struct pub pub;
    uint64_t period_ns;
    uint64_t due_ns; /* of the next message */
    uint64_t end_ns;
    unsigned next; /* channel */
    uint64_t published;
};

static void on_tick(void *arg)
{
    struct rate *r = arg;
    struct bench *b = r->bench;
    uint64_t now = loop_now_ns();
    if (now < r->due_ns || r->due_ns >= r->end_ns)
        return;
    while (r->due_ns <= now && r->due_ns < r->end_ns) {
        pub_message(&r->pub, &b->channels[r->next], r->due_ns);
        r->next = (r->next + 1) % b->scenario->channels;
        r->due_ns += r->period_ns;
        r->published++;
    }
    b->loop.wake_at_ns = r->due_ns < r->end_ns ? r->due_ns : 0;
    pub_flush(&r->pub);
}

static bool is_over(void *arg)
{
    const struct rate *r = arg;
    return r->due_ns >= r->end_ns || r->pub.broken || r->crowd.failed > 0;
}

struct arrival {
    const struct rate *rate;
    uint64_t expected;
};

static bool has_arrived(void *arg)
{
    const struct arrival *a = arg;
    return a->rate->crowd.deliveries >= a->expected &&
           pub_is_idle(&a->rate->pub);
}

/* Publishes for a time; -1 when not all of it arrived. */
static int phase(struct rate *r, uint64_t duration_ns)
{
    struct bench *b = r->bench;
    uint64_t before = r->crowd.deliveries;
    unsigned per_message = b->scenario->clients / b->scenario->channels;
    r->published = 0;
    r->due_ns = loop_now_ns() + LEAD_IN;
    r->end_ns = r->due_ns + duration_ns;
    b->loop.wake_at_ns = r->due_ns;
    loop_until(&b->loop, is_over, r, duration_ns + BENCH_PATIENCE);
    struct arrival a = {r, before + r->published * per_message};
    if (loop_until(&b->loop, has_arrived, &a, TAIL))
        return 0;
    report_problem(&b->report, "%llu of %llu deliveries",
                   (unsigned long long)(r->crowd.deliveries - before),
                   (unsigned long long)(a.expected - before));
    return -1;
}

static int run(struct rate *r)
{
    struct bench *b = r->bench;
    const struct scenario *s = b->scenario;
    if (bench_open(b, &r->crowd) != 0 || bench_publisher(b, &r->pub) != 0)
        return -1;
    loop_for(&b->loop, s->settle_ms * LOOP_MS);
    b->loop.tick = on_tick;
    b->loop.tick_arg = r;
    if (phase(r, WARM_UP) != 0)
        return -1;
    r->crowd.measuring = true;
    bench_quiet(b);
    uint64_t cpu = bench_cpu_ns(b);
    int rc = phase(r, s->seconds * LOOP_SECOND);
    bench_quiet(b);
    cpu = bench_cpu_ns(b) - cpu;
    r->crowd.measuring = false;
    report_add(&b->report, "messages_s",
               (double)r->published / (double)s->seconds);
    if (r->published > 0)
        report_add(&b->report, "msg_cpu_us",
                   (double)cpu / (double)r->published / 1000);
    return rc;
}

int kind_rate(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct rate r;
    r = (struct rate){.bench = b, .period_ns = LOOP_SECOND / s->rate};
    if (s->clients % s->channels != 0 || s->seconds == 0) {
        report_problem(&b->report, "rate: clients must be a multiple of "
                                   "channels, seconds at least 1");
        return -1;
    }
    crowd_init(&r.crowd, &b->loop, b->dialect, b->port, s->clients);
    r.crowd.sources = (uint16_t)s->sources;
    crowd_assign(&r.crowd, b->channels, s->channels);
    int rc = run(&r);
    b->loop.tick = NULL;
    b->loop.wake_at_ns = 0;
    crowd_settle(&r.crowd);
    report_crowd(&b->report, &r.crowd);
    bench_check_publisher(b, &r.pub);
    pub_close(&r.pub);
    crowd_fini(&r.crowd);
    return rc;
}
