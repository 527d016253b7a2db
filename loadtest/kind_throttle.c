/* kind_throttle.c — does a throttled delivery cost what any delivery costs?
 * The same clients read throttled channels, whose source is far faster than
 * what is granted, and plain ones, whose source is just that fast. By turns:
 *
 *   throttled   items x updates a second published, items x granted delivered
 *   plain       items x granted a second published, one by one, and delivered
 *   together    the same, all items in one write, as a tick delivers them
 *   nobody      what is published costs when nobody reads it
 *   bare        a send() loop of what one client got of a tick, of one item
 */
#include "loadtest/ceiling.h"
#include "loadtest/source.h"

#include <stdlib.h>

#define ROUNDS_MAX 200
#define CHANNELS_MAX 50
#define IDS_MAX 60000
#define CAPTURE_TRIES 5
/* After the last publication its value must come within one tick. */
#define GRACE (100 * LOOP_MS)

/* Numbers of every round, in ns. */
struct rounds {
    double throttled[ROUNDS_MAX]; /* per delivery */
    double plain[ROUNDS_MAX];
    double together[ROUNDS_MAX];
    double net[ROUNDS_MAX];    /* throttled, less what publishing costs */
    double nobody[ROUNDS_MAX]; /* per message */
    double bare_tick[ROUNDS_MAX];
    double bare_one[ROUNDS_MAX];
    unsigned count;
};

struct throttle {
    struct bench *bench; /* borrowed */
    struct crowd crowd;
    struct ledger ledger; /* of items throttled, plain */
    struct pub pub;
    struct items throttled;
    struct items plain;
    struct items nobody;
    struct channel channels[2 * CHANNELS_MAX];
    char wish[SOURCE_WISH_SIZE];
    struct ceiling ceiling;
    struct sample tick; /* what one client got of one channel's tick */
    struct sample one;  /* of one plain publication */
    uint64_t tail_ns;
    uint64_t published; /* to throttled channels while measuring */
    uint64_t delivered;
    uint64_t wall_ns;
    unsigned late; /* rounds whose last values took longer than they may */
    struct rounds rounds;
};

/* One run of a source; -1 with the reason in the report. */
static int run_source(struct throttle *t, struct items *items,
                      unsigned per_second, unsigned bunch, struct cost *out)
{
    const struct scenario *s = t->bench->scenario;
    struct source source = {.pub = &t->pub,
                            .items = items,
                            .pace = {.per_second = per_second,
                                     .bunch = bunch,
                                     .duration_ns = s->seconds * LOOP_SECOND}};
    return source_run(t->bench, &source, &t->crowd, t->tail_ns, out);
}

static double per_delivery(const struct cost *c)
{
    return c->deliveries > 0 ? (double)c->cpu_ns / (double)c->deliveries : 0;
}

/* The newest value must be there, and between two ticks at most one. */
static int check_throttled(struct throttle *t, const struct cost *c)
{
    const struct scenario *s = t->bench->scenario;
    uint64_t pairs = (uint64_t)t->crowd.live * t->throttled.count;
    uint64_t per_pair = (uint64_t)s->granted * s->seconds;
    int late = items_settle(t->bench, &t->throttled, &t->ledger);
    if (late < 0)
        return -1;
    t->late += (unsigned)late;
    if (c->deliveries > pairs * (per_pair + 2) ||
        c->deliveries < pairs * (per_pair - 1))
        report_problem(&t->bench->report,
                       "%.1f deliveries of an item where %llu were granted",
                       (double)c->deliveries / (double)pairs,
                       (unsigned long long)per_pair);
    return t->bench->report.problems > 0 ? -1 : 0;
}

static int run_throttled(struct throttle *t, struct cost *out)
{
    const struct scenario *s = t->bench->scenario;
    t->crowd.measuring = true;
    if (run_source(t, &t->throttled, t->throttled.count * s->updates, s->bunch,
                   out) != 0)
        return -1;
    return check_throttled(t, out);
}

/* Publishes items [0, n) once. */
static void publish_once(struct throttle *t, struct items *items, uint32_t n)
{
    uint64_t now = loop_now_ns();
    for (uint32_t i = 0; i < n; i++)
        pub_message(&t->pub, &items->all[i], now);
    pub_flush(&t->pub);
}

/* Keeps what one client gets of one tick of the first channel. What is
 * published first leaves at once, so that the rest has to wait. */
static int copy_tick(struct throttle *t)
{
    struct crowd *k = &t->crowd;
    uint32_t n = t->throttled.per_channel;
    int rc = -1;
    for (int i = 0; rc != 0 && i < CAPTURE_TRIES; i++) {
        publish_once(t, &t->throttled, n);
        loop_for(&t->bench->loop, GRACE / 5);
        crowd_tap(k, &k->conns[k->count / 2]);
        publish_once(t, &t->throttled, n);
        loop_for(&t->bench->loop, t->tail_ns);
        rc = sample_take(&t->tick, k->tap, k->tap_length, n);
    }
    crowd_untap(k);
    return rc;
}

static int copy_one(struct throttle *t)
{
    struct crowd *k = &t->crowd;
    crowd_tap(k, &k->conns[k->count / 2]);
    publish_once(t, &t->plain, 1);
    loop_for(&t->bench->loop, t->tail_ns);
    int rc = sample_take(&t->one, k->tap, k->tap_length, 1);
    crowd_untap(k);
    return rc;
}

static double run_bare(struct throttle *t, const struct sample *sample,
                       unsigned per_second)
{
    return ceiling_round(&t->ceiling, sample,
                         per_second * t->bench->scenario->seconds,
                         LOOP_SECOND / per_second);
}

static int run_round(struct throttle *t, struct rounds *r, unsigned i)
{
    const struct scenario *s = t->bench->scenario;
    uint32_t n = t->plain.count;
    struct cost throttled;
    struct cost nobody;
    struct cost plain;
    struct cost together;
    if (run_throttled(t, &throttled) != 0 ||
        run_source(t, &t->nobody, n * s->updates, s->bunch, &nobody) != 0 ||
        run_source(t, &t->plain, n * s->granted, 1, &plain) != 0 ||
        run_source(t, &t->plain, n * s->granted, n, &together) != 0)
        return -1;
    r->bare_tick[i] = run_bare(t, &t->tick, s->channels * s->granted);
    r->bare_one[i] = run_bare(t, &t->one, n * s->granted);
    r->throttled[i] = per_delivery(&throttled);
    r->plain[i] = per_delivery(&plain);
    r->together[i] = per_delivery(&together);
    r->nobody[i] = (double)nobody.cpu_ns / (double)nobody.published;
    r->net[i] = ((double)throttled.cpu_ns -
                 r->nobody[i] * (double)throttled.published) /
                (double)throttled.deliveries;
    t->published += throttled.published;
    t->delivered += throttled.deliveries;
    t->wall_ns += throttled.wall_ns;
    return r->bare_tick[i] < 0 || r->bare_one[i] < 0 ? -1 : 0;
}

/* Medians, in us. */
static void add_us(struct report *r, const char *key, const double *ns,
                   unsigned n)
{
    double sorted[ROUNDS_MAX];
    for (unsigned i = 0; i < n; i++)
        sorted[i] = ns[i] / 1000;
    report_add(r, key, hist_of_sorted(sorted, n, 0.5));
}

static void add_ratio(struct report *r, const char *key, const double *of,
                      const double *to, unsigned n)
{
    double ratio[ROUNDS_MAX];
    for (unsigned i = 0; i < n; i++)
        ratio[i] = to[i] > 0 ? of[i] / to[i] : 0;
    report_add(r, key, hist_of_sorted(ratio, n, 0.5));
}

static void report_rounds(struct throttle *t)
{
    const struct scenario *s = t->bench->scenario;
    struct report *r = &t->bench->report;
    const struct rounds *c = &t->rounds;
    unsigned n = c->count;
    double seconds = (double)s->seconds * n;
    report_add(r, "messages_s", (double)t->published / seconds);
    report_add(r, "deliveries_s",
               1e9 * (double)t->delivered / (double)t->wall_ns);
    report_add(r, "stands_for",
               (double)t->published * t->crowd.count / (double)t->delivered);
    report_add(r, "late_ends", t->late);
    add_us(r, "cpu_us", c->throttled, n);
    add_us(r, "plain_us", c->plain, n);
    add_us(r, "together_us", c->together, n);
    add_us(r, "msg_cpu_us", c->nobody, n);
    add_us(r, "net_us", c->net, n);
    add_us(r, "bare_us", c->bare_tick, n);
    add_us(r, "bare_one_us", c->bare_one, n);
    add_ratio(r, "throttle_ratio", c->throttled, c->plain, n);
    add_ratio(r, "together_ratio", c->throttled, c->together, n);
    add_ratio(r, "net_ratio", c->net, s->channels == 1 ? c->together : c->plain,
              n);
    add_ratio(r, "ratio", c->throttled, c->bare_tick, n);
    add_ratio(r, "plain_ratio", c->plain, c->bare_one, n);
}

static int run(struct throttle *t)
{
    struct bench *b = t->bench;
    struct cost warm_up;
    if (bench_open(b, &t->crowd) != 0 || bench_publisher(b, &t->pub) != 0 ||
        ceiling_open(&t->ceiling) != 0)
        return -1;
    t->pub.keyed = true;
    loop_for(&b->loop, b->scenario->settle_ms * LOOP_MS);
    if (copy_tick(t) != 0 || copy_one(t) != 0) {
        report_problem(&b->report, "no clean tick to copy for the ceiling");
        return -1;
    }
    if (run_throttled(t, &warm_up) != 0)
        return -1;
    hist_reset(&t->crowd.latency);
    t->late = 0;
    for (unsigned i = 0; i < b->scenario->rounds; i++) {
        if (run_round(t, &t->rounds, i) != 0)
            return -1;
        t->rounds.count++;
    }
    report_rounds(t);
    return 0;
}

static int prepare(struct throttle *t)
{
    struct bench *b = t->bench;
    const struct scenario *s = b->scenario;
    char prefix[CHANNEL_NAME_SIZE];
    uint32_t n = s->channels * s->items;
    if (s->rounds == 0 || s->rounds > ROUNDS_MAX || s->seconds == 0 ||
        s->granted == 0 || s->bunch == 0 || s->channels > CHANNELS_MAX ||
        s->items == 0 || 3 * n > IDS_MAX || b->dialect != &dialect_ws ||
        b->pub_kind != PUB_HTTP) {
        report_problem(&b->report, "throttle: transport ws, publish http, "
                                   "1 to 50 channels, 1 to 200 rounds");
        return -1;
    }
    snprintf(prefix, sizeof(prefix), "%.20s:c", s->throttled);
    items_init(&t->throttled, prefix, s->channels, s->items, 0);
    items_init(&t->plain, "c", s->channels, s->items, n);
    snprintf(prefix, sizeof(prefix), "%.20s:n", s->throttled);
    items_init(&t->nobody, prefix, s->channels, s->items, 2 * n);
    items_wish(t->wish, s->granted);
    t->tail_ns = LOOP_SECOND / s->granted + GRACE;
    crowd_init(&t->crowd, &b->loop, b->dialect, b->port, s->clients);
    ledger_init(&t->ledger, s->clients, 2 * n);
    uint32_t count = items_channels(&t->throttled, t->channels, t->wish);
    count += items_channels(&t->plain, t->channels + count, NULL);
    crowd_assign_all(&t->crowd, t->channels, (uint16_t)count);
    t->crowd.on_stamp = ledger_on_stamp;
    t->crowd.stamp_arg = &t->ledger;
    t->crowd.sources = (uint16_t)s->sources;
    return 0;
}

int kind_throttle(struct bench *b)
{
    static struct throttle t; /* large: histograms */
    t = (struct throttle){.bench = b};
    if (ceiling_start(&t.ceiling, b) != 0)
        return -1;
    int rc = prepare(&t);
    if (rc == 0)
        rc = run(&t);
    struct losses *l = &t.crowd.losses;
    ledger_settle(&t.ledger, l);
    if (rc == 0)
        l->missing +=
            items_behind(&t.plain, &t.ledger) +
            ledger_sum(&t.ledger, t.plain.first, t.plain.count).skipped;
    report_crowd(&b->report, &t.crowd);
    bench_check_publisher(b, &t.pub);
    pub_close(&t.pub);
    ceiling_stop(&t.ceiling);
    sample_fini(&t.tick);
    sample_fini(&t.one);
    crowd_fini(&t.crowd);
    ledger_fini(&t.ledger);
    items_fini(&t.throttled);
    items_fini(&t.plain);
    items_fini(&t.nobody);
    return rc;
}
