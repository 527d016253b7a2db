#include "loadtest/source.h"

#include <stdio.h>
#include <stdlib.h>

#define LEAD_IN (5 * LOOP_MS)

void items_init(struct items *t, const char *prefix, uint32_t channels,
                uint32_t per_channel, uint32_t first)
{
    *t = (struct items){.count = channels * per_channel,
                        .per_channel = per_channel,
                        .first = first};
    t->all = calloc(t->count, sizeof(*t->all));
    if (t->all == NULL) {
        perror("weir-load");
        abort();
    }
    for (uint32_t i = 0; i < t->count; i++) {
        snprintf(t->all[i].name, CHANNEL_NAME_SIZE, "%s%u", prefix,
                 i / per_channel);
        t->all[i].id = (uint16_t)(first + i);
    }
}

void items_fini(struct items *t)
{
    free(t->all);
    t->all = NULL;
    t->count = 0;
}

uint32_t items_channels(const struct items *t, struct channel *to,
                        const char *wish)
{
    uint32_t n = t->count / t->per_channel;
    for (uint32_t i = 0; i < n; i++) {
        to[i] = t->all[i * t->per_channel];
        to[i].wish = wish;
    }
    return n;
}

void items_wish(char wish[SOURCE_WISH_SIZE], unsigned granted)
{
    snprintf(wish, SOURCE_WISH_SIZE, "{\"rate\":%u}", granted);
}

uint64_t items_behind(const struct items *t, const struct ledger *l)
{
    uint64_t behind = 0;
    for (uint32_t i = 0; i < l->clients; i++)
        behind += ledger_behind(l, i, t->first, t->all, t->count);
    return behind;
}

struct settling {
    const struct items *items;
    const struct ledger *ledger;
};

static bool is_settled(void *arg)
{
    const struct settling *s = arg;
    return items_behind(s->items, s->ledger) == 0;
}

int items_settle(struct bench *b, const struct items *t, const struct ledger *l)
{
    struct settling s = {t, l};
    if (is_settled(&s))
        return 0;
    if (loop_until(&b->loop, is_settled, &s, BENCH_PATIENCE))
        return 1;
    report_problem(&b->report,
                   "%llu clients' items never came to their newest value",
                   (unsigned long long)items_behind(t, l));
    return -1;
}

void source_begin(struct source *s)
{
    s->due_ns = loop_now_ns() + LEAD_IN;
    s->end_ns = s->due_ns + s->pace.duration_ns;
    s->next = 0;
    s->published = 0;
}

void source_tick(struct source *s)
{
    uint64_t now = loop_now_ns();
    bool any = false;
    while (s->due_ns <= now && s->due_ns < s->end_ns) {
        for (unsigned i = 0; i < s->pace.bunch; i++) {
            pub_message(s->pub, &s->items->all[s->next], s->due_ns);
            s->next = (s->next + 1) % s->items->count;
        }
        s->published += s->pace.bunch;
        s->due_ns += LOOP_SECOND * s->pace.bunch / s->pace.per_second;
        any = true;
    }
    if (any)
        pub_flush(s->pub);
}

bool source_is_over(const struct source *s)
{
    if (s->pub->broken)
        return true;
    return s->due_ns >= s->end_ns && pub_is_idle(s->pub);
}

static void on_tick(void *arg)
{
    source_tick(arg);
}

static bool is_over(void *arg)
{
    return source_is_over(arg);
}

int source_run(struct bench *b, struct source *s, struct crowd *k,
               uint64_t tail_ns, struct cost *out)
{
    bench_quiet(b);
    uint64_t deliveries = k->deliveries;
    uint64_t cpu = bench_cpu_ns(b);
    uint64_t start = loop_now_ns();
    source_begin(s);
    b->loop.tick = on_tick;
    b->loop.tick_arg = s;
    bool over =
        loop_until(&b->loop, is_over, s, s->pace.duration_ns + BENCH_PATIENCE);
    b->loop.tick = NULL;
    k->measuring = false;
    loop_for(&b->loop, tail_ns);
    uint64_t wall = loop_now_ns() - start;
    bench_quiet(b);
    *out = (struct cost){.cpu_ns = bench_cpu_ns(b) - cpu,
                         .published = s->published,
                         .deliveries = k->deliveries - deliveries,
                         .wall_ns = wall};
    if (!over)
        report_problem(&b->report, "the server fell behind its source");
    return over && !s->pub->broken && k->failed == 0 ? 0 : -1;
}
