/* kind_source.c — what do clients of a throttled channel cost when its source
 * is ten times faster? By turns, for a slower and a faster source:
 *
 *   many     all clients: publishing and delivering
 *   one      one client: publishing, and conflating for nearly nobody
 *   nobody   no client: publishing alone
 *
 *   the clients' side = many - nobody (or - one), per delivery
 */
#include "loadtest/source.h"

#define ROUNDS_MAX 200
#define GRACE (100 * LOOP_MS)

enum reader { MANY, ONE, NOBODY, READERS };
enum speed { SLOW, FAST, SPEEDS };

struct subject {
    struct items items;
    struct channel channel; /* what is subscribed to */
    struct crowd crowd;
    struct ledger ledger;
};

struct source_run {
    struct bench *bench; /* borrowed */
    struct subject subjects[READERS];
    struct pub pub;
    char wish[SOURCE_WISH_SIZE];
    /* Of every round, in ns. */
    double message[SPEEDS][READERS][ROUNDS_MAX]; /* per message */
    double side[SPEEDS][READERS][ROUNDS_MAX];    /* per delivery, less these */
    unsigned rounds;
};

static int run_one(struct source_run *x, enum speed speed, enum reader reader,
                   struct cost *out)
{
    const struct scenario *s = x->bench->scenario;
    struct subject *j = &x->subjects[reader];
    unsigned updates = speed == FAST ? s->updates : s->slow_updates;
    struct source source = {.pub = &x->pub,
                            .items = &j->items,
                            .pace = {.per_second = s->items * updates,
                                     .bunch = s->bunch,
                                     .duration_ns = s->seconds * LOOP_SECOND}};
    if (source_run(x->bench, &source, &j->crowd,
                   LOOP_SECOND / s->granted + GRACE, out) != 0)
        return -1;
    return items_settle(x->bench, &j->items, &j->ledger) < 0 ? -1 : 0;
}

static int run_speed(struct source_run *x, enum speed speed, unsigned round)
{
    struct cost cost[READERS];
    for (int r = 0; r < READERS; r++) {
        /* Every round begins with another one. */
        enum reader reader = (enum reader)((r + (int)round) % READERS);
        if (run_one(x, speed, reader, &cost[reader]) != 0)
            return -1;
    }
    const struct cost *many = &cost[MANY];
    for (int r = 0; r < READERS; r++) {
        double message = (double)cost[r].cpu_ns / (double)cost[r].published;
        x->message[speed][r][round] = message;
        x->side[speed][r][round] =
            ((double)many->cpu_ns - message * (double)many->published) /
            (double)many->deliveries;
    }
    return 0;
}

static double median_us(const double *ns, unsigned n)
{
    double sorted[ROUNDS_MAX];
    for (unsigned i = 0; i < n; i++)
        sorted[i] = ns[i] / 1000;
    return hist_of_sorted(sorted, n, 0.5);
}

/* Medians of either speed first: a round's difference of differences is
 * mostly noise. */
static double growth_pct(const struct source_run *x, enum reader reader)
{
    double slow = median_us(x->side[SLOW][reader], x->rounds);
    double fast = median_us(x->side[FAST][reader], x->rounds);
    return slow > 0 ? 100 * (fast - slow) / slow : 0;
}

static void report_all(const struct source_run *x)
{
    struct report *r = &x->bench->report;
    unsigned n = x->rounds;
    report_add(r, "source_pct", growth_pct(x, NOBODY));
    report_add(r, "source_one_pct", growth_pct(x, ONE));
    report_add(r, "side_slow_us", median_us(x->side[SLOW][NOBODY], n));
    report_add(r, "side_fast_us", median_us(x->side[FAST][NOBODY], n));
    report_add(r, "side_slow_one_us", median_us(x->side[SLOW][ONE], n));
    report_add(r, "side_fast_one_us", median_us(x->side[FAST][ONE], n));
    report_add(r, "msg_slow_us", median_us(x->message[SLOW][NOBODY], n));
    report_add(r, "msg_fast_us", median_us(x->message[FAST][NOBODY], n));
    report_add(r, "msg_slow_one_us", median_us(x->message[SLOW][ONE], n));
    report_add(r, "msg_fast_one_us", median_us(x->message[FAST][ONE], n));
}

static int open_all(struct source_run *x)
{
    struct bench *b = x->bench;
    const struct scenario *s = b->scenario;
    static const char letters[READERS] = {'m', 'o', 'n'};
    uint32_t clients[READERS] = {s->clients, 1, 0};
    items_wish(x->wish, s->granted);
    for (int r = 0; r < READERS; r++) {
        struct subject *j = &x->subjects[r];
        char prefix[CHANNEL_NAME_SIZE];
        snprintf(prefix, sizeof(prefix), "%.20s:%c", s->throttled, letters[r]);
        items_init(&j->items, prefix, 1, s->items, 0);
        items_channels(&j->items, &j->channel, x->wish);
        crowd_init(&j->crowd, &b->loop, b->dialect, b->port, clients[r]);
        ledger_init(&j->ledger, clients[r], s->items);
        crowd_assign_all(&j->crowd, &j->channel, 1);
        j->crowd.on_stamp = ledger_on_stamp;
        j->crowd.stamp_arg = &j->ledger;
        j->crowd.sources = (uint16_t)s->sources;
        if (bench_open(b, &j->crowd) != 0)
            return -1;
    }
    return 0;
}

static int run(struct source_run *x)
{
    struct bench *b = x->bench;
    struct cost warm_up;
    if (open_all(x) != 0 || bench_publisher(b, &x->pub) != 0)
        return -1;
    x->pub.keyed = true;
    loop_for(&b->loop, b->scenario->settle_ms * LOOP_MS);
    if (run_one(x, FAST, MANY, &warm_up) != 0)
        return -1;
    for (unsigned i = 0; i < b->scenario->rounds; i++) {
        if (run_speed(x, i % 2 ? SLOW : FAST, i) != 0 ||
            run_speed(x, i % 2 ? FAST : SLOW, i) != 0)
            return -1;
        x->rounds++;
    }
    report_all(x);
    return 0;
}

int kind_source(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct source_run x; /* large: histograms */
    x = (struct source_run){.bench = b};
    if (s->rounds == 0 || s->rounds > ROUNDS_MAX || s->seconds == 0 ||
        s->granted == 0 || s->bunch == 0 || s->items == 0 ||
        b->dialect != &dialect_ws || b->pub_kind != PUB_HTTP) {
        report_problem(&b->report, "source: transport ws, publish http, "
                                   "1 to 200 rounds");
        return -1;
    }
    int rc = run(&x);
    struct crowd *k = &x.subjects[MANY].crowd;
    ledger_settle(&x.subjects[MANY].ledger, &k->losses);
    ledger_settle(&x.subjects[ONE].ledger, &k->losses);
    report_crowd(&b->report, k);
    bench_check_publisher(b, &x.pub);
    pub_close(&x.pub);
    for (int r = 0; r < READERS; r++) {
        crowd_fini(&x.subjects[r].crowd);
        ledger_fini(&x.subjects[r].ledger);
        items_fini(&x.subjects[r].items);
    }
    return rc;
}
