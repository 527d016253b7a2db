/* kind_choke.c — memory of what is held back, per (client, item).
 *
 *   idle      clients have subscribed
 *   reading   all items change all the time, everybody reads
 *
 * Then the same number of new clients, with small buffers:
 *
 *   narrow    nobody reads, a tenth of the items changes
 *   wide      nobody reads, all items change
 *   awake     everybody reads again and must get every item's newest value
 *
 * reading - idle is what the clients cost that keep up, wide - narrow what an
 * item more costs for a client that does not: buffers of the connection are in
 * both. */
#include "loadtest/source.h"

#define NARROW 10 /* of as many items one */
/* Freed memory goes back to the system after about two seconds. */
#define DECAY (4 * LOOP_SECOND)
#define WAITING "weir_throttle_waiting"
#define GRACE (100 * LOOP_MS)
#define SAMPLE (200 * LOOP_MS)

struct choke {
    struct bench *bench; /* borrowed */
    struct crowd crowd;
    struct ledger ledger;
    struct pub pub;
    struct items items;
    struct channel channel;
    char wish[SOURCE_WISH_SIZE];
    struct source source;
    double flowing_kb; /* RSS near the end of the last publishing */
};

static double rss_kb(const struct choke *c)
{
    return (double)proc_memory(&c->bench->server).rss_kb;
}

static double rested_kb(struct choke *c)
{
    loop_for(&c->bench->loop, DECAY);
    return rss_kb(c);
}

static void on_tick(void *arg)
{
    struct choke *c = arg;
    source_tick(&c->source);
    if (c->flowing_kb == 0 && loop_now_ns() + SAMPLE > c->source.end_ns)
        c->flowing_kb = rss_kb(c);
}

static bool is_over(void *arg)
{
    const struct choke *c = arg;
    return source_is_over(&c->source);
}

/* Publishes every one of the first n items `updates` times a second, and
 * waits for the last tick. */
static int publish(struct choke *c, uint32_t n)
{
    struct bench *b = c->bench;
    const struct scenario *s = b->scenario;
    struct items some = c->items;
    some.count = n;
    c->flowing_kb = 0;
    c->source =
        (struct source){.pub = &c->pub,
                        .items = &some,
                        .pace = {.per_second = n * s->updates,
                                 .bunch = s->bunch,
                                 .duration_ns = s->seconds * LOOP_SECOND}};
    source_begin(&c->source);
    b->loop.tick_arg = c;
    b->loop.tick = on_tick;
    bool over = loop_until(&b->loop, is_over, c,
                           s->seconds * LOOP_SECOND + BENCH_PATIENCE);
    b->loop.tick = NULL;
    loop_for(&b->loop, LOOP_SECOND / s->granted + GRACE);
    if (!over)
        report_problem(&b->report, "the server fell behind its source");
    return over && !c->pub.broken && c->crowd.failed == 0 ? 0 : -1;
}

/* Everybody reads again. */
static int wake(struct choke *c)
{
    struct crowd *k = &c->crowd;
    for (uint32_t i = 0; i < k->count; i++) {
        k->conns[i].deaf = false;
        conn_read(&k->conns[i]);
    }
    c->bench->loop.spin = false;
    return items_settle(c->bench, &c->items, &c->ledger) < 0 ? -1 : 0;
}

static void deafen(struct crowd *k)
{
    for (uint32_t i = 0; i < k->count; i++)
        k->conns[i].deaf = true;
}

/* receive_buffer and segment as in struct crowd. */
static int open_crowd(struct choke *c, unsigned receive_buffer,
                      unsigned segment)
{
    struct bench *b = c->bench;
    const struct scenario *s = b->scenario;
    struct crowd *k = &c->crowd;
    crowd_init(k, &b->loop, b->dialect, b->port, s->clients);
    ledger_init(&c->ledger, s->clients, s->items);
    crowd_assign_all(k, &c->channel, 1);
    k->on_stamp = ledger_on_stamp;
    k->stamp_arg = &c->ledger;
    k->sources = (uint16_t)s->sources;
    k->receive_buffer = (int)receive_buffer;
    k->segment = (int)segment;
    return bench_open(b, k);
}

static void close_crowd(struct choke *c)
{
    crowd_fini(&c->crowd);
    ledger_fini(&c->ledger);
}

/* Everybody reads; what an item takes for each of them. */
static int run_reading(struct choke *c)
{
    struct bench *b = c->bench;
    double pairs = (double)b->scenario->clients * c->items.count;
    if (open_crowd(c, 0, 0) != 0 || bench_publisher(b, &c->pub) != 0)
        return -1;
    c->pub.keyed = true;
    double idle = rested_kb(c);
    if (publish(c, c->items.count) != 0 ||
        items_settle(b, &c->items, &c->ledger) < 0)
        return -1;
    report_add(&b->report, "base_mb", idle / 1024);
    report_add(&b->report, "reading_b", 1024 * (c->flowing_kb - idle) / pairs);
    ledger_settle(&c->ledger, &c->crowd.losses);
    report_crowd(&b->report, &c->crowd);
    close_crowd(c);
    return 0;
}

/* Nobody reads. */
static int run_choked(struct choke *c)
{
    struct bench *b = c->bench;
    const struct scenario *s = b->scenario;
    struct report *r = &b->report;
    uint32_t n = c->items.count;
    double clients = s->clients;
    if (open_crowd(c, s->receive_buffer, s->segment) != 0)
        return -1;
    double idle = rested_kb(c);
    deafen(&c->crowd);
    if (publish(c, n / NARROW) != 0)
        return -1;
    double narrow = rested_kb(c);
    double some = bench_metric(b, WAITING);
    if (publish(c, n) != 0)
        return -1;
    double wide = rested_kb(c);
    double all = bench_metric(b, WAITING);
    if (all < clients * n)
        report_problem(r, "only %.0f of %.0f items wait", all, clients * n);
    report_add(r, "full_mb", wide / 1024);
    report_add(r, "choked_kb", (narrow - idle) / clients);
    report_add(r, "waiting", all / clients);
    report_add(r, "waiting_b",
               all > some ? 1024 * (wide - narrow) / (all - some) : 0);
    return 0;
}

static int run(struct choke *c)
{
    struct bench *b = c->bench;
    if (run_reading(c) != 0 || run_choked(c) != 0)
        return -1;
    uint64_t before = c->crowd.deliveries;
    if (wake(c) != 0)
        return -1;
    double pairs = (double)b->scenario->clients * c->items.count;
    report_add(&b->report, "awake_mb", rested_kb(c) / 1024);
    report_add(&b->report, "woken",
               (double)(c->crowd.deliveries - before) / pairs);
    return 0;
}

int kind_choke(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct choke c; /* large: histograms */
    char prefix[CHANNEL_NAME_SIZE];
    c = (struct choke){.bench = b};
    if (s->items < NARROW || s->granted == 0 || s->bunch == 0 ||
        s->seconds == 0 || b->dialect != &dialect_ws ||
        b->pub_kind != PUB_HTTP) {
        report_problem(&b->report,
                       "choke: transport ws, publish http, "
                       "at least %d items",
                       NARROW);
        return -1;
    }
    snprintf(prefix, sizeof(prefix), "%.20s:c", s->throttled);
    items_init(&c.items, prefix, 1, s->items, 0);
    items_wish(c.wish, s->granted);
    items_channels(&c.items, &c.channel, c.wish);
    int rc = run(&c);
    const struct ledger *l = &c.ledger;
    if (c.crowd.failed > 0 || l->repeats + l->backwards > 0)
        report_problem(&b->report, "%u failed, %llu repeated or reordered: %s",
                       c.crowd.failed,
                       (unsigned long long)(l->repeats + l->backwards),
                       c.crowd.first_failure);
    bench_check_publisher(b, &c.pub);
    pub_close(&c.pub);
    close_crowd(&c);
    items_fini(&c.items);
    return rc;
}
