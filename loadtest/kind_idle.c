/* kind_idle.c — what connections cost that do nothing, and what they leave
 * behind when they are gone. */
#include "loadtest/bench.h"

/* idle: opens all clients, reads the memory, then the CPU of `seconds`. */
int kind_idle(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct crowd k;
    struct proc_memory before = proc_memory(&b->server);
    crowd_init(&k, &b->loop, b->dialect, b->port, s->clients);
    k.sources = (uint16_t)s->sources;
    crowd_assign(&k, b->channels, s->channels);
    uint64_t start = loop_now_ns();
    int rc = bench_open(b, &k);
    uint64_t took = loop_now_ns() - start;
    if (rc == 0) {
        b->loop.spin = false;
        loop_for(&b->loop, s->settle_ms * LOOP_MS);
        bench_memory(b, &before, s->clients);
        uint64_t cpu = bench_cpu_ns(b);
        start = loop_now_ns();
        loop_for(&b->loop, s->seconds * LOOP_SECOND);
        double wall = (double)(loop_now_ns() - start);
        if (s->seconds > 0)
            report_add(&b->report, "idle_cpu_pct",
                       100 * (double)(bench_cpu_ns(b) - cpu) / wall);
        report_add(&b->report, "pings", (double)k.pings);
        report_add(&b->report, "connect_s", s->clients / ((double)took / 1e9));
    }
    crowd_settle(&k);
    report_crowd(&b->report, &k);
    crowd_fini(&k);
    return rc;
}

/* One wave of clients comes, rests, and goes. */
static int wave(struct bench *b, double *rss_mb)
{
    const struct scenario *s = b->scenario;
    static struct crowd k;
    crowd_init(&k, &b->loop, b->dialect, b->port, s->clients);
    k.sources = (uint16_t)s->sources;
    crowd_assign(&k, b->channels, s->channels);
    int rc = bench_open(b, &k);
    loop_for(&b->loop, s->settle_ms * LOOP_MS);
    crowd_close(&k);
    crowd_fini(&k);
    bench_quiet(b);
    loop_for(&b->loop, s->settle_ms * LOOP_MS);
    *rss_mb = (double)proc_memory(&b->server).rss_kb / 1024;
    return rc;
}

/* churn: all clients come and go `cycles` times. */
int kind_churn(struct bench *b)
{
    const struct scenario *s = b->scenario;
    struct proc_memory before = proc_memory(&b->server);
    double first = 0;
    double last = 0;
    b->loop.spin = false;
    for (unsigned i = 0; i < s->cycles; i++) {
        if (wave(b, &last) != 0)
            return -1;
        if (i == 0)
            first = last;
    }
    report_add(&b->report, "base_mb", (double)before.rss_kb / 1024);
    report_add(&b->report, "rss_first_mb", first);
    report_add(&b->report, "rss_last_mb", last);
    report_add(&b->report, "rss_growth_pct",
               first > 0 ? 100 * (last - first) / first : 0);
    report_add(&b->report, "failed", 0);
    return 0;
}
