/* What does it cost the hub to keep a publication? By turns, on one shard
 * without sockets, with nobody subscribed and with 100 subscribers:
 *
 *     plain    bench:p, a namespace without history
 *     kept     bench:k, its newest 100 are kept; the ring is full, so that
 *              each publication pushes one out
 *
 * A publication is msg_new, hub_publish and its part of the turn that flushes
 * sixteen. Prints nanoseconds and what is allocated for one. Of a gateway's
 * publication this is a small part (docs/performance.md, History): the ratio
 * with nobody subscribed, where the hub does nearly nothing, is for comparing
 * with itself. Ends with 1 ("missed") when history costs more than 1.3 times as
 * much with 100 subscribers; aborts when it costs more than one allocation. */
#include <stdio.h>
#include <stdlib.h>

#ifdef WEIR_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/protocol/encode.h"
#include "tests/kit/cpu.h"
#include "tests/kit/fake.h"
#include "tests/kit/still.h"

#define PUBLISHES 16000
#define ROUNDS 15
#define TURN 16 /* publications before the flush */
#define KEPT 100
#define SUBSCRIBERS 100
#define BOUND 1.3

static const struct history_policy keeps = {
    .size = KEPT, .ttl_ms = 3600000, .meta_ttl_ms = 3600000};

struct world {
    struct fake_node node;
    unsigned clients;
    struct fake_client *fakes[2 * SUBSCRIBERS]; /* the hub buries them */
    uint64_t answered;
};

struct side {
    const char *channel;
    const struct history_policy *history; /* NULL: none */
};

static const struct side sides[2] = {{"bench:p", NULL}, {"bench:k", &keeps}};

static void world_init(struct world *w, unsigned subscribers)
{
    struct hub_options o = {.inflight_bytes = 1 << 30,
                            .slice = 512,
                            .queue_max_bytes = 1 << 20,
                            .channel_limit = 128,
                            .history_max_bytes = 64 << 20,
                            .max_keys = 1000,
                            .recovery_limit = 300,
                            .history_limit = 300,
                            .codec = &encode_codec};
    const struct position_wish wish = {.positioned = true};
    fake_node_init(&w->node, 1, &o);
    w->clients = 2 * subscribers;
    for (unsigned i = 0; i < w->clients; i++) {
        const struct side *s = &sides[i % 2];
        struct fake_client *f =
            fake_open(w->node.hub.shards[0], ENCODING_WS_JSON);
        f->mute = true;
        w->fakes[i] = f;
        if (s->history)
            CHECK(fake_subscribe_wish(f, s->channel, s->history, &wish) == 0);
        else
            CHECK(fake_subscribe(f, s->channel) == 0);
    }
    fake_settle(&w->node);
}

static void world_fini(struct world *w)
{
    for (unsigned i = 0; i < w->clients; i++)
        fake_gone(w->fakes[i]);
    fake_settle(&w->node);
    fake_node_fini(&w->node);
}

struct bench_op {
    struct publish_op op;
    struct world *world; /* borrowed */
};

static void on_published(struct publish_op *op)
{
    struct bench_op *b = (struct bench_op *)op;
    CHECK(op->result == 0);
    b->world->answered++;
    free(b);
}

static void publish(struct world *w, const struct side *s)
{
    struct msg_parts parts = {
        .channel = str_of(s->channel),
        .data = STR_LIT("{\"temperature\":21.5,\"unit\":\"C\",\"place\":\"the "
                        "third floor, beside the stairs\",\"sensor\":4711}"),
        .history = s->history,
        .is_json = true,
        .born_ns = clock_now_ns()};
    struct bench_op *b = mem_zalloc(sizeof(*b));
    b->world = w;
    b->op.msg = msg_new(&w->node.hub.budget, &parts);
    CHECK(b->op.msg);
    b->op.done = on_published;
    hub_publish(w->node.hub.shards[0], &b->op);
}

/* CPU of PUBLISHES of them. */
static uint64_t publish_all(struct world *w, const struct side *s)
{
    uint64_t before = w->answered;
    uint64_t start = cpu_now_ns();
    for (unsigned i = 0; i < PUBLISHES; i += TURN) {
        for (unsigned k = 0; k < TURN; k++)
            publish(w, s);
        do
            fake_turn(&w->node, 0);
        while (w->node.more[0]);
    }
    uint64_t spent = cpu_now_ns() - start;
    CHECK(w->answered - before == PUBLISHES);
    return spent;
}

struct allocations {
    uint64_t count;
    uint64_t bytes;
};

#ifdef WEIR_JEMALLOC
static uint64_t counter(const char *name)
{
    uint64_t value = 0;
    size_t n = sizeof(value);
    CHECK(mallctl(name, &value, &n, NULL, 0) == 0);
    return value;
}

/* Everything so far; the thread's own cache is counted when it is flushed. */
static struct allocations allocated(void)
{
    uint64_t epoch = 1;
    CHECK(mallctl("thread.tcache.flush", NULL, NULL, NULL, 0) == 0);
    CHECK(mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) == 0);
    /* 4096 is MALLCTL_ARENAS_ALL. */
    return (struct allocations){
        counter("stats.arenas.4096.small.nrequests") +
            counter("stats.arenas.4096.large.nrequests"),
        counter("thread.allocated")};
}
#else
static struct allocations allocated(void)
{
    return (struct allocations){0, 0};
}
#endif

static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x;
    double b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(double *all)
{
    qsort(all, ROUNDS, sizeof(*all), by_size);
    return all[ROUNDS / 2];
}

/* History keeps a copy, and that is all. */
static void print_allocations(struct world *w)
{
    double count[2];
    for (int i = 0; i < 2; i++) {
        struct allocations before = allocated();
        (void)publish_all(w, &sides[i]);
        struct allocations after = allocated();
        count[i] = (double)(after.count - before.count) / PUBLISHES;
        printf("history_bench:   %s: %.2f allocations, %.0f bytes a "
               "publication\n",
               i ? "kept " : "plain", count[i],
               (double)(after.bytes - before.bytes) / PUBLISHES);
    }
    CHECK(count[1] < count[0] + 1.01);
}

/* The median of the rounds' ratios. */
static double measure(unsigned subscribers)
{
    static struct world w;
    double ns[2][ROUNDS];
    double ratio[ROUNDS];
    world_init(&w, subscribers);
    (void)publish_all(&w, &sides[0]);
    (void)publish_all(&w, &sides[1]);
    for (unsigned r = 0; r < ROUNDS; r++) {
        unsigned first = r % 2;
        ns[first][r] = (double)publish_all(&w, &sides[first]) / PUBLISHES;
        ns[!first][r] = (double)publish_all(&w, &sides[!first]) / PUBLISHES;
        ratio[r] = ns[1][r] / ns[0][r];
    }
    double result = median(ratio);
    printf("history_bench: %3u subscribers: plain %.0f ns, kept %.0f ns a "
           "publication (ratio %.2f, rounds %.2f to %.2f)\n",
           subscribers, median(ns[0]), median(ns[1]), result, ratio[0],
           ratio[ROUNDS - 1]);
    print_allocations(&w);
    CHECK(w.node.hub.shards[0]->home.history.streams->count == KEPT);
    world_fini(&w);
    return result;
}

int main(void)
{
    /* A reading of the kit's clock is a system call unless it stands still:
     * that would hide what is compared. */
    still_at(1000000000);
    (void)measure(0);
    return measure(SUBSCRIBERS) > BOUND;
}
