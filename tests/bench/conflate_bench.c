/* What does a publication cost that only replaces one that waits, and what
 * does an item cost that waits for a slow client?
 *
 *     offer   1,000 updates of each item between two ticks; it must not
 *             allocate, or a fast source would be the allocator's load
 *     tick    one offer and one take of each item
 *     slots   bytes of an item in a slow client's table, after the
 *             allocator's rounding, for every number of items; at most 32
 *     round   a value for each item of a slow client, by deficit round robin
 *
 * Prints times; aborts when something allocates or is too large; exits 0. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef WEIR_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "base/mem.h"
#include "tests/kit/cpu.h"
#include "throttle/conflate.h"
#include "throttle/waiting.h"

#define ITEMS_MAX 10000
#define UPDATES 1000
#define TICKS 20
#define INTERVAL_NS 200000000u
#define SLOT_ITEMS 1000
#define SLOT_BYTES 32 /* an item, from 16 items on */
#define ROUNDS 200

struct value {
    unsigned refs;
};

static void ref(void *value)
{
    ((struct value *)value)->refs++;
}

static void unref(void *value)
{
    ((struct value *)value)->refs--;
}

static const struct conflate_ops ops = {.ref = ref, .unref = unref};

/* Bytes this thread has allocated so far; only jemalloc counts them. */
#ifdef WEIR_JEMALLOC
#define COUNTS true
static uint64_t allocated_bytes(void)
{
    uint64_t bytes = 0;
    size_t n = sizeof(bytes);
    CHECK(mallctl("thread.allocated", &bytes, &n, NULL, 0) == 0);
    return bytes;
}
#else
#define COUNTS false
static uint64_t allocated_bytes(void)
{
    return 0;
}
#endif

struct bench {
    struct conflate conflate;
    struct value values[2];
    uint64_t seq;
    uint64_t now_ns;
    uint32_t items;
};

static bool offer(struct bench *b, uint32_t item)
{
    b->seq++;
    return conflate_offer(&b->conflate, (uint64_t)item * 0x9e3779b97f4a7c15u,
                          &b->values[b->seq & 1], b->seq, b->now_ns);
}

static void offer_all(struct bench *b)
{
    for (uint32_t i = 0; i < b->items; i++)
        CHECK(!offer(b, i));
}

static uint64_t take_all(struct bench *b)
{
    struct conflate_due due;
    uint64_t n = 0;
    while (conflate_take(&b->conflate, b->now_ns, &due)) {
        unref(due.value);
        n += due.n;
    }
    return n;
}

/* One publication with nothing around it that costs. */
static void measure_offers(uint32_t items)
{
    struct bench b = {.items = items, .now_ns = 1};
    uint64_t offers_ns = 0;
    uint64_t ticks_ns = 0;
    uint64_t bytes = 0;
    conflate_init(&b.conflate, INTERVAL_NS, ITEMS_MAX, &ops);
    uint64_t empty = allocated_bytes();
    for (uint32_t i = 0; i < items; i++)
        CHECK(offer(&b, i)); /* the leading edge */
    CHECK(!COUNTS || allocated_bytes() > empty);
    for (unsigned t = 0; t < TICKS; t++) {
        offer_all(&b); /* they begin to wait */
        uint64_t before = allocated_bytes();
        uint64_t start = cpu_now_ns();
        for (unsigned u = 0; u < UPDATES; u++)
            offer_all(&b);
        offers_ns += cpu_now_ns() - start;
        start = cpu_now_ns();
        CHECK(take_all(&b) == (uint64_t)items * (UPDATES + 1));
        offer_all(&b);
        ticks_ns += cpu_now_ns() - start;
        bytes += allocated_bytes() - before;
        CHECK(take_all(&b) == items);
    }
    CHECK(b.conflate.conflated == (uint64_t)items * UPDATES * TICKS);
    CHECK(bytes == 0);
    printf("conflate_bench: %5u items: %.1f ns a publication that waits, "
           "%.1f ns an item and tick; bytes allocated: %s\n",
           items, (double)offers_ns / ((double)items * UPDATES * TICKS),
           (double)ticks_ns / ((double)items * TICKS),
           COUNTS ? "none" : "not counted");
    conflate_fini(&b.conflate);
    CHECK(b.values[0].refs == 0 && b.values[1].refs == 0);
}

/* One value of each item; only its address says something. */
static char marks[SLOT_ITEMS];

static uint64_t key(const void *value)
{
    return (uint64_t)((const char *)value - marks);
}

static double slot_bytes(const struct waiting *w)
{
    return (double)malloc_usable_size(w->slots) / w->count;
}

/* Growing item by item, and shrinking again. */
static void measure_slots(void)
{
    struct waiting w;
    double most = 0;
    double all = 0;
    waiting_init(&w, key);
    for (uint32_t i = 0; i < SLOT_ITEMS; i++) {
        CHECK(waiting_add(&w, &marks[i], 0, 0, SLOT_ITEMS) == NULL);
        all = slot_bytes(&w);
        most = w.count >= 16 && all > most ? all : most;
    }
    for (uint32_t i = 0; w.count > 16; i++) {
        waiting_remove(&w, waiting_find(&w, i));
        most = slot_bytes(&w) > most ? slot_bytes(&w) : most;
    }
    printf("conflate_bench: slots of a slow client: %.1f bytes an item at "
           "1,000, at most %.1f; %zu bytes a client without any\n",
           all, most, sizeof(w));
    CHECK(most <= SLOT_BYTES);
    waiting_fini(&w);
}

/* Mostly small values, some of them large. */
static size_t cost(void *arg, void *item)
{
    (void)arg;
    return ((char *)item - marks) % 10 == 0 ? 4000 : 180;
}

static void measure_round(void)
{
    struct waiting w;
    uint64_t spent_ns = 0;
    waiting_init(&w, key);
    for (unsigned r = 0; r < ROUNDS; r++) {
        for (uint32_t i = 0; i < SLOT_ITEMS; i++)
            CHECK(waiting_add(&w, &marks[i], 0, 0, SLOT_ITEMS) == NULL);
        uint64_t start = cpu_now_ns();
        struct waiting_slot *slot;
        while ((slot = waiting_next(&w, 0, cost, NULL)) != NULL)
            waiting_remove(&w, slot);
        spent_ns += cpu_now_ns() - start;
    }
    printf("conflate_bench: %.0f ns to choose one of 1,000 items for a slow "
           "client\n",
           (double)spent_ns / ((double)ROUNDS * SLOT_ITEMS));
    waiting_fini(&w);
}

int main(void)
{
    static const uint32_t counts[] = {20, 1000, ITEMS_MAX};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        measure_offers(counts[i]);
    measure_slots();
    measure_round();
    return 0;
}
