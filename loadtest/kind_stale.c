/* kind_stale.c — how old is what a client on a slow link reads?
 *
 *   source -> items of a throttled channel -> fast clients
 *                                          -> slow ones: `link_bytes` a second
 *   probe  -> a plain channel              -> fast clients
 *
 * Twice: as configured, and with a server that lets the kernel's buffers fill
 * (throttle.notsent_lowat 0). The fast clients must not notice: their ages and
 * the probe's latency, without and beside the slow ones. */
#include "loadtest/source.h"

#define LOWAT "WEIR_THROTTLE_NOTSENT_LOWAT"
/* Read at a time: a small fraction of what a link carries in a second. */
#define SIP_BYTES 256
#define PROBES 100 /* a second */
/* Until the buffers on the way are as full as they get: a part of the time. */
#define FILL_PART 4
#define CATCH_UP (60 * LOOP_SECOND)
#define SETS 2

/* Clients of one kind and what they read. */
struct side {
    struct crowd crowd;
    struct ledger ledger;
    struct hist age;    /* of values of the throttled channel */
    struct hist probe;  /* of the plain one */
    uint32_t throttled; /* items below this one are throttled */
    uint64_t from_ns;   /* ages count from then on */
};

struct stale {
    struct bench *bench; /* borrowed */
    struct pub pub;
    struct items items;
    struct items probed;
    struct channel channels[SETS];
    char wish[SOURCE_WISH_SIZE];
    struct source source;
    struct source probe;
    struct side fast;
    struct side slow;
    uint64_t sip_ns; /* when the slow links carry the next bytes */
};

/* Names of the ages of one of the two servers. */
struct names {
    const char *p50;
    const char *p90;
    const char *longest;
    const char *end;
};

static bool on_stamp(struct conn *c, const struct stamp *s)
{
    struct crowd *k = c->crowd;
    struct side *side = k->stamp_arg;
    if (s->channel >= side->ledger.items)
        return false;
    ledger_see(&side->ledger, (uint32_t)(c - k->conns), s->channel, s->seq);
    uint64_t now = k->last_arrival_ns;
    if (now >= side->from_ns)
        hist_add(s->channel < side->throttled ? &side->age : &side->probe,
                 now > s->time_ns ? now - s->time_ns : 0);
    return true;
}

/* Forgets the ages so far; those from `from_ns` on count. */
static void side_measure(struct side *s, uint64_t from_ns)
{
    hist_reset(&s->age);
    hist_reset(&s->probe);
    s->from_ns = from_ns;
}

static void side_init(struct side *s, struct stale *x, uint32_t clients,
                      uint16_t channels)
{
    struct bench *b = x->bench;
    *s = (struct side){.throttled = x->items.count};
    crowd_init(&s->crowd, &b->loop, b->dialect, b->port, clients);
    ledger_init(&s->ledger, clients,
                x->items.count + (channels > 1 ? x->probed.count : 0));
    crowd_assign_all(&s->crowd, x->channels, channels);
    s->crowd.on_stamp = on_stamp;
    s->crowd.stamp_arg = s;
}

static void side_fini(struct side *s)
{
    crowd_fini(&s->crowd);
    ledger_fini(&s->ledger);
}

/* What a link does not carry in time it does not carry later. */
static void on_tick(void *arg)
{
    struct stale *x = arg;
    const struct crowd *k = &x->slow.crowd;
    source_tick(&x->source);
    source_tick(&x->probe);
    uint64_t now = loop_now_ns();
    if (now < x->sip_ns)
        return;
    x->sip_ns = now + LOOP_SECOND * SIP_BYTES / x->bench->scenario->link_bytes;
    for (uint32_t i = 0; i < k->count; i++)
        if (k->conns[i].state == CONN_LIVE)
            conn_sip(&k->conns[i], SIP_BYTES);
}

static bool is_over(void *arg)
{
    const struct stale *x = arg;
    return source_is_over(&x->source) && source_is_over(&x->probe);
}

static bool is_current(void *arg)
{
    const struct stale *x = arg;
    return x->slow.crowd.failed > 0 ||
           items_behind(&x->items, &x->slow.ledger) == 0;
}

static int run_sources(struct stale *x, uint64_t duration_ns)
{
    struct bench *b = x->bench;
    const struct scenario *s = b->scenario;
    x->source = (struct source){.pub = &x->pub,
                                .items = &x->items,
                                .pace = {.per_second = s->items * s->updates,
                                         .bunch = s->bunch,
                                         .duration_ns = duration_ns}};
    x->probe = (struct source){
        .pub = &x->pub,
        .items = &x->probed,
        .pace = {.per_second = PROBES, .bunch = 1, .duration_ns = duration_ns}};
    source_begin(&x->source);
    source_begin(&x->probe);
    if (loop_until(&b->loop, is_over, x, duration_ns + BENCH_PATIENCE) &&
        !x->pub.broken && x->fast.crowd.failed == 0)
        return 0;
    report_problem(&b->report, "the server fell behind its source");
    return -1;
}

static void report_fast(struct stale *x, const char *const names[4])
{
    const struct hist *age = &x->fast.age;
    const struct hist *probe = &x->fast.probe;
    struct report *r = &x->bench->report;
    report_add(r, names[0], (double)hist_quantile(age, 0.5) / 1e6);
    report_add(r, names[1], (double)hist_quantile(age, 0.99) / 1e6);
    report_add(r, names[2], (double)hist_quantile(probe, 0.5) / 1e6);
    report_add(r, names[3], (double)hist_quantile(probe, 0.99) / 1e6);
}

/* The least served item of the slow clients in percent of the most served. */
static double least_pct(const struct ledger *l)
{
    uint64_t least = l->item[0].seen;
    uint64_t most = least;
    for (uint32_t i = 1; i < l->items; i++) {
        uint64_t n = l->item[i].seen;
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    return most > 0 ? 100 * (double)least / (double)most : 0;
}

/* The source runs, with the slow links; ages go to the report. */
static int run_slow(struct stale *x, const struct names *names)
{
    struct bench *b = x->bench;
    struct report *r = &b->report;
    struct crowd *k = &x->slow.crowd;
    uint64_t duration = b->scenario->seconds * LOOP_SECOND;
    uint64_t start = loop_now_ns();
    side_measure(&x->fast, start);
    side_measure(&x->slow, start + duration / FILL_PART);
    if (run_sources(x, duration) != 0)
        return -1;
    uint64_t end = loop_now_ns();
    const struct hist *age = &x->slow.age;
    report_add(r, names->p50, (double)hist_quantile(age, 0.5) / 1e6);
    report_add(r, names->p90, (double)hist_quantile(age, 0.9) / 1e6);
    report_add(r, names->longest, (double)age->max / 1e6);
    if (!loop_until(&b->loop, is_current, x, CATCH_UP) || k->failed > 0) {
        report_problem(r, "the slow clients did not come to the newest values");
        return -1;
    }
    report_add(r, names->end, (double)(loop_now_ns() - end) / 1e6);
    return 0;
}

static int open_fast(struct stale *x)
{
    struct bench *b = x->bench;
    side_init(&x->fast, x, b->scenario->clients, SETS);
    if (bench_open(b, &x->fast.crowd) != 0 || bench_publisher(b, &x->pub) != 0)
        return -1;
    x->pub.keyed = true;
    loop_for(&b->loop, b->scenario->settle_ms * LOOP_MS);
    b->loop.tick_arg = x;
    b->loop.tick = on_tick;
    return 0;
}

static int open_slow(struct stale *x)
{
    const struct scenario *s = x->bench->scenario;
    side_init(&x->slow, x, s->slow_clients, 1);
    x->slow.crowd.receive_buffer = (int)s->receive_buffer;
    x->slow.crowd.segment = (int)s->segment;
    for (uint32_t i = 0; i < s->slow_clients; i++)
        x->slow.crowd.conns[i].deaf = true;
    return bench_open(x->bench, &x->slow.crowd);
}

/* What everybody saw must hold together: the fast clients end at the newest
 * values, and of the plain channel they miss nothing. */
static void settle(struct stale *x)
{
    struct bench *b = x->bench;
    struct losses *l = &x->fast.crowd.losses;
    const struct items *p = &x->probed;
    b->loop.tick = NULL;
    loop_for(&b->loop, LOOP_SECOND / b->scenario->granted + 100 * LOOP_MS);
    l->missing += items_behind(&x->items, &x->fast.ledger) +
                  items_behind(p, &x->fast.ledger) +
                  ledger_sum(&x->fast.ledger, p->first, p->count).skipped;
    ledger_settle(&x->fast.ledger, l);
    ledger_settle(&x->slow.ledger, l);
    l->stray += x->slow.crowd.losses.stray;
    bench_check_publisher(b, &x->pub);
}

static void close_all(struct stale *x)
{
    x->bench->loop.tick = NULL;
    pub_close(&x->pub);
    side_fini(&x->fast);
    side_fini(&x->slow);
}

static void renumber(struct items *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        t->all[i].seq = 0;
}

/* As configured. */
static int run_first(struct stale *x)
{
    static const char *const calm[] = {"fast_calm_p50_ms", "fast_calm_p99_ms",
                                       "probe_calm_p50_ms",
                                       "probe_calm_p99_ms"};
    static const char *const beside[] = {"fast_slow_p50_ms", "fast_slow_p99_ms",
                                         "probe_slow_p50_ms",
                                         "probe_slow_p99_ms"};
    static const struct names names = {"stale_p50_ms", "stale_p90_ms",
                                       "stale_max_ms", "stale_end_ms"};
    const struct scenario *s = x->bench->scenario;
    uint64_t duration = s->seconds * LOOP_SECOND / 2;
    if (open_fast(x) != 0)
        return -1;
    side_measure(&x->fast, loop_now_ns() + duration / FILL_PART);
    if (run_sources(x, duration) != 0)
        return -1;
    report_fast(x, calm);
    if (open_slow(x) != 0 || run_slow(x, &names) != 0)
        return -1;
    report_fast(x, beside);
    report_add(&x->bench->report, "stale_values_s",
               (double)x->slow.age.count / s->slow_clients /
                   (s->seconds * (FILL_PART - 1.0) / FILL_PART));
    report_add(&x->bench->report, "stale_least_pct",
               least_pct(&x->slow.ledger));
    settle(x);
    return 0;
}

/* With a server that writes what the kernel takes. */
static int run_second(struct stale *x)
{
    static const struct names names = {"deep_p50_ms", "deep_p90_ms",
                                       "deep_max_ms", "deep_end_ms"};
    close_all(x);
    renumber(&x->items);
    renumber(&x->probed);
    if (bench_restart(x->bench, LOWAT, "0") != 0 || open_fast(x) != 0 ||
        open_slow(x) != 0 || run_slow(x, &names) != 0)
        return -1;
    settle(x);
    return 0;
}

int kind_stale(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct stale x; /* large: histograms */
    char prefix[CHANNEL_NAME_SIZE];
    x = (struct stale){.bench = b};
    if (s->items == 0 || s->granted == 0 || s->bunch == 0 ||
        s->link_bytes == 0 || s->slow_clients == 0 || s->seconds == 0 ||
        b->dialect != &dialect_ws || b->pub_kind != PUB_HTTP) {
        report_problem(&b->report, "stale: transport ws, publish http, "
                                   "link_bytes, slow_clients at least 1");
        return -1;
    }
    snprintf(prefix, sizeof(prefix), "%.20s:c", s->throttled);
    items_init(&x.items, prefix, 1, s->items, 0);
    items_init(&x.probed, "probe", 1, 1, s->items);
    items_wish(x.wish, s->granted);
    items_channels(&x.items, x.channels, x.wish);
    items_channels(&x.probed, x.channels + 1, NULL);
    int rc = run_first(&x);
    report_crowd(&b->report, &x.fast.crowd);
    uint64_t first = b->report.problems;
    if (rc == 0 && first == 0)
        rc = run_second(&x);
    const struct losses *l = &x.fast.crowd.losses;
    if (l->missing + l->duplicate + l->reordered + l->stray > 0)
        report_problem(&b->report, "lost or repeated without notsent_lowat");
    close_all(&x);
    items_fini(&x.items);
    items_fini(&x.probed);
    return rc;
}
