/* kind_keep.c — what does it cost to keep a publication? By turns, with as
 * many subscribers (or none) and the same pipelined requests:
 *
 *   plain   a channel of the namespace "plain"
 *   kept    a channel of the namespace with history
 */
#include "loadtest/bench.h"

#define ROUNDS_MAX 1000

enum which { PLAIN, KEPT, SIDES };

struct keep {
    struct bench *bench; /* borrowed */
    struct crowd crowd[SIDES];
    struct channel channel[SIDES];
    struct pub pub;
};

/* CPU per publication in ns; negative on failure. */
static double one_round(struct keep *x, enum which side)
{
    struct bench *b = x->bench;
    const struct scenario *s = b->scenario;
    bench_quiet(b);
    uint64_t cpu = bench_cpu_ns(b);
    for (unsigned i = 0; i < s->batches; i++)
        if (bench_batch(b, &x->crowd[side], &x->pub, &x->channel[side]) != 0)
            return -1;
    bench_quiet(b);
    return (double)(bench_cpu_ns(b) - cpu) / ((double)s->batches * s->inflight);
}

static int run(struct keep *x)
{
    struct bench *b = x->bench;
    struct report *r = &b->report;
    unsigned n = b->scenario->rounds;
    static double cost[SIDES][ROUNDS_MAX];
    static double ratio[ROUNDS_MAX];
    for (int i = 0; i < SIDES; i++)
        if (bench_open(b, &x->crowd[i]) != 0)
            return -1;
    if (bench_publisher(b, &x->pub) != 0 || one_round(x, PLAIN) < 0 ||
        one_round(x, KEPT) < 0)
        return -1;
    for (unsigned i = 0; i < n; i++) {
        enum which first = i % 2 == 0 ? PLAIN : KEPT;
        enum which second = i % 2 == 0 ? KEPT : PLAIN;
        cost[first][i] = one_round(x, first);
        cost[second][i] = one_round(x, second);
        if (cost[PLAIN][i] <= 0 || cost[KEPT][i] <= 0)
            return -1;
        ratio[i] = cost[KEPT][i] / cost[PLAIN][i];
    }
    report_add(r, "keep_ratio", hist_of_sorted(ratio, n, 0.5));
    report_add(r, "keep_ratio_p25", hist_of_sorted(ratio, n, 0.25));
    report_add(r, "keep_ratio_p75", hist_of_sorted(ratio, n, 0.75));
    report_add(r, "kept_us", hist_of_sorted(cost[KEPT], n, 0.5) / 1000);
    report_add(r, "unkept_us", hist_of_sorted(cost[PLAIN], n, 0.5) / 1000);
    return 0;
}

int kind_keep(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct keep x;
    x = (struct keep){.bench = b};
    if (s->rounds == 0 || s->rounds > ROUNDS_MAX || s->batches == 0 ||
        b->dialect != &dialect_ws || b->pub_kind != PUB_HTTP) {
        report_problem(&b->report, "keep: transport ws, publish http, 1 to "
                                   "1000 rounds, batches >= 1");
        return -1;
    }
    for (int i = 0; i < SIDES; i++) {
        struct channel *c = &x.channel[i];
        snprintf(c->name, CHANNEL_NAME_SIZE, "%.20s:keep",
                 i == KEPT ? s->history : "plain");
        c->id = (uint16_t)i;
        crowd_init(&x.crowd[i], &b->loop, b->dialect, b->port, s->clients);
        x.crowd[i].sources = (uint16_t)s->sources;
        crowd_assign(&x.crowd[i], c, 1);
    }
    int rc = run(&x);
    for (int i = 0; i < SIDES; i++)
        crowd_settle(&x.crowd[i]);
    if (x.crowd[PLAIN].losses.missing > 0 || x.crowd[PLAIN].failed > 0)
        report_problem(&b->report,
                       "clients without history: %llu lost, %u failed",
                       (unsigned long long)x.crowd[PLAIN].losses.missing,
                       x.crowd[PLAIN].failed);
    report_crowd(&b->report, &x.crowd[KEPT]);
    bench_check_publisher(b, &x.pub);
    pub_close(&x.pub);
    for (int i = 0; i < SIDES; i++)
        crowd_fini(&x.crowd[i]);
    return rc;
}
