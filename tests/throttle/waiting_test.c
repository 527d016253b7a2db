#include "throttle/waiting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"

#define THINGS 5000
#define ALL UINT32_MAX

/* The model: a set is a flag each. A thing is a value and its item, too. */
struct thing {
    size_t cost;
    uint32_t n;
    bool in;
    unsigned added;
    unsigned left; /* served, removed or dropped */
    unsigned served;
};

static struct thing things[THINGS];
static struct rand rnd;
static unsigned calls;

static size_t cost_of(void *arg, void *value)
{
    (void)arg;
    calls++;
    return ((struct thing *)value)->cost;
}

static uint64_t key_of(const void *value)
{
    return (uintptr_t)value;
}

static struct waiting_slot *find(const struct waiting *w, const struct thing *t)
{
    return waiting_find(w, key_of(t));
}

static void begin(struct waiting *w)
{
    memset(things, 0, sizeof(things));
    rand_init(&rnd, 1);
    calls = 0;
    waiting_init(w, key_of);
}

static void leave(struct thing *t)
{
    assert_true(t->in);
    t->in = false;
    t->left++;
}

static struct thing *add(struct waiting *w, struct thing *t, uint64_t now_ms,
                         uint32_t max)
{
    assert_false(t->in);
    t->in = true;
    t->added++;
    t->n = (uint32_t)rand_next(&rnd);
    struct thing *dropped = waiting_add(w, t, t->n, now_ms, max);
    if (dropped)
        leave(dropped);
    return dropped;
}

static void remove_slot(struct waiting *w, struct waiting_slot *slot)
{
    struct thing *t = slot->value;
    assert_int_equal(slot->n, t->n);
    leave(t);
    waiting_remove(w, slot);
}

/* Serve whose turn it is. */
static struct thing *serve(struct waiting *w, uint64_t now_ms)
{
    struct waiting_slot *slot = waiting_next(w, now_ms, cost_of, NULL);
    assert_non_null(slot);
    struct thing *t = slot->value;
    t->served++;
    remove_slot(w, slot);
    return t;
}

static void check_memory(const struct waiting *w)
{
    size_t bytes = w->cap * sizeof(*w->slots);
    if (w->count == 0)
        assert_true(!w->slots && bytes == 0);
    else
        assert_true(bytes <= 32 * (size_t)(w->count < 16 ? 16 : w->count));
}

static void check_members(const struct waiting *w, unsigned n)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct waiting_slot *slot = find(w, &things[i]);
        assert_true((slot != NULL) == things[i].in);
        assert_true(!slot || slot->n == things[i].n);
        count += things[i].in;
    }
    assert_int_equal(count, w->count);
    waiting_check(w);
    check_memory(w);
}

static void step(struct waiting *w, unsigned n, uint64_t now_ms, uint32_t max)
{
    struct thing *t = &things[rand_below(&rnd, n)];
    struct waiting_slot *slot = NULL;
    switch (rand_below(&rnd, 8)) {
    case 0:
    case 1:
        if (w->count > 0)
            assert_true(serve(w, now_ms)->served > 0);
        break;
    case 2:
        slot = find(w, t);
        break;
    case 3: /* it stands for more */
        slot = find(w, t);
        if (slot)
            t->n = ++slot->n;
        slot = NULL;
        break;
    case 4: /* asked, but the socket took nothing */
        assert_true((waiting_next(w, now_ms, cost_of, NULL) != NULL) ==
                    (w->count > 0));
        break;
    default:
        t->cost = rand_below(&rnd, 3000) << rand_below(&rnd, 12);
        if (!t->in) {
            bool is_full = w->count == max;
            assert_true((add(w, t, now_ms, max) != NULL) == is_full);
        }
        break;
    }
    if (slot)
        remove_slot(w, slot);
}

static void run_random(unsigned n, uint32_t max, unsigned ops)
{
    struct waiting w;
    uint64_t now_ms = 1000;
    begin(&w);
    for (unsigned i = 0; i < ops; i++) {
        now_ms += rand_below(&rnd, 30);
        step(&w, n, now_ms, max);
        assert_true(w.count <= max);
        if (i % 8 == 0)
            check_members(&w, n);
    }
    while (w.count > 0)
        serve(&w, now_ms);
    check_members(&w, n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(things[i].added, things[i].left);
    waiting_fini(&w);
}

static void test_random_against_a_set(void **state)
{
    (void)state;
    run_random(5, ALL, 20000);
    run_random(60, ALL, 40000);
    run_random(400, ALL, 40000);
    run_random(60, 7, 20000);
    run_random(60, 1, 5000);
}

/* Whoever may go at his visit goes before anybody was served more than twice
 * since he came: in the round he came into, and in his own. */
static void test_nobody_is_overtaken_twice_a_round(void **state)
{
    (void)state;
    enum { N = 64 };
    static unsigned before[N][N]; /* [waiting][served] since it came */
    struct waiting w;
    begin(&w);
    memset(before, 0, sizeof(before));
    for (unsigned i = 0; i < 50000; i++) {
        unsigned busy = i / 5000 % 2 ? N : 8;
        struct thing *t = &things[rand_below(&rnd, busy)];
        t->cost = rand_below(&rnd, WAITING_QUANTUM + 1);
        if (!t->in) {
            add(&w, t, 0, ALL);
            memset(before[t - things], 0, sizeof(before[0]));
        }
        struct waiting_slot *other = find(&w, &things[rand_below(&rnd, N)]);
        if (other && rand_below(&rnd, 4) == 0)
            remove_slot(&w, other);
        if (w.count == 0 || rand_below(&rnd, 3) == 0)
            continue;
        t = serve(&w, 0);
        for (unsigned k = 0; k < N; k++) {
            before[k][t - things]++;
            assert_true(!things[k].in || before[k][t - things] <= 2);
        }
        if (busy == 8) { /* always something new of it */
            add(&w, t, 0, ALL);
            memset(before[t - things], 0, sizeof(before[0]));
        }
    }
    waiting_fini(&w);
}

static void test_a_fat_item_and_many_thin_share(void **state)
{
    (void)state;
    enum { N = 200, FAT = 100000, THIN = 900 };
    struct waiting w;
    begin(&w);
    for (unsigned i = 0; i < N; i++) {
        things[i].cost = i == 0 ? FAT : THIN;
        add(&w, &things[i], 0, ALL);
    }
    while (things[0].served < 20)
        add(&w, serve(&w, 0), 0, ALL);
    unsigned least = UINT32_MAX;
    unsigned most = 0;
    for (unsigned i = 1; i < N; i++) {
        least = things[i].served < least ? things[i].served : least;
        most = things[i].served > most ? things[i].served : most;
    }
    assert_true(most - least <= 2);
    assert_in_range(20 * FAT, least * THIN / 2, most * THIN * 2);
    waiting_check(&w);
    waiting_fini(&w);
}

static void test_fat_items_share_by_bytes(void **state)
{
    (void)state;
    enum { N = 30 };
    struct waiting w;
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    begin(&w);
    for (unsigned i = 0; i < N; i++) {
        things[i].cost = 2000 + i * 2000;
        add(&w, &things[i], 0, ALL);
    }
    for (unsigned i = 0; i < 20000; i++)
        add(&w, serve(&w, 0), 0, ALL);
    for (unsigned i = 0; i < N; i++) {
        uint64_t bytes = things[i].served * (uint64_t)things[i].cost;
        least = bytes < least ? bytes : least;
        most = bytes > most ? bytes : most;
    }
    assert_true(most <= 3 * least);
    waiting_fini(&w);
}

static void test_a_turn_is_found_in_few_rounds(void **state)
{
    (void)state;
    enum { N = 500 };
    struct waiting w;
    begin(&w);
    for (unsigned i = 0; i < N; i++) {
        things[i].cost = SIZE_MAX; /* more than any credit */
        add(&w, &things[i], 0, ALL);
    }
    for (unsigned i = 0; i < N; i++) {
        calls = 0;
        serve(&w, 0);
        assert_true(calls <= N * 12);
    }
    assert_int_equal(w.count, 0);
    waiting_fini(&w);
}

/* Many thin ones keep each round short of a fat one's cost. */
static unsigned rounds_until_fat_goes(uint64_t from_ms, uint64_t later_ms)
{
    struct waiting w;
    begin(&w);
    things[0].cost = 50 * WAITING_QUANTUM;
    add(&w, &things[0], from_ms, ALL);
    for (unsigned i = 1; i < 20; i++) {
        things[i].cost = 10;
        add(&w, &things[i], from_ms, ALL);
    }
    while (things[0].served == 0)
        add(&w, serve(&w, from_ms + later_ms), from_ms + later_ms, ALL);
    waiting_fini(&w);
    return things[1].served;
}

static void test_an_old_item_goes_at_its_visit(void **state)
{
    (void)state;
    uint64_t turn_ms = UINT64_C(64) << 15; /* after which stamps repeat */
    const uint64_t from_ms[] = {0, 77, turn_ms - 1, turn_ms - 1000, 1u << 30};
    for (size_t i = 0; i < ARRAY_LEN(from_ms); i++) {
        uint64_t at = from_ms[i];
        assert_in_range(rounds_until_fat_goes(at, 0), 48, 51);
        assert_in_range(rounds_until_fat_goes(at, WAITING_MAX_AGE_MS - 64), 48,
                        51);
        assert_in_range(rounds_until_fat_goes(at, WAITING_MAX_AGE_MS + 112), 0,
                        1);
    }
}

static void test_what_need_not_be_sent_goes_at_once(void **state)
{
    (void)state;
    struct waiting w;
    begin(&w);
    for (unsigned i = 0; i < 40; i++) {
        things[i].cost = i % 2 ? 0 : WAITING_QUANTUM + 1;
        add(&w, &things[i], 0, ALL);
    }
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(serve(&w, 0)->cost, 0);
    assert_int_equal(w.count, 20);
    waiting_fini(&w);
}

static void test_a_turn_stays_until_it_is_taken(void **state)
{
    (void)state;
    struct waiting w;
    begin(&w);
    assert_null(waiting_next(&w, 0, cost_of, NULL));
    for (unsigned i = 0; i < 300; i++)
        add(&w, &things[i], 0, ALL);
    struct thing *t = waiting_next(&w, 0, cost_of, NULL)->value;
    t->cost = SIZE_MAX;                  /* grew meanwhile */
    for (unsigned i = 0; i < 600; i++) { /* it moves: holes and sizes */
        struct thing *other = &things[i % 300];
        if (other != t && other->in)
            remove_slot(&w, find(&w, other));
        if (i % 300 > 250)
            add(&w, &things[300 + i], 0, ALL);
        assert_ptr_equal(waiting_next(&w, 0, cost_of, NULL)->value, t);
        waiting_check(&w);
    }
    remove_slot(&w, find(&w, t));
    assert_ptr_not_equal(waiting_next(&w, 0, cost_of, NULL)->value, t);
    waiting_fini(&w);
}

static void test_a_full_table_drops_one(void **state)
{
    (void)state;
    struct waiting w;
    begin(&w);
    for (unsigned i = 0; i < 100; i++) {
        const struct thing *dropped = add(&w, &things[i], 0, 20);
        assert_true((dropped != NULL) == (i >= 20));
        assert_ptr_not_equal(dropped, &things[i]);
    }
    check_members(&w, 100);
    assert_int_equal(w.count, 20);
    waiting_fini(&w);
    begin(&w);
    add(&w, &things[0], 0, 1);
    assert_ptr_equal(waiting_next(&w, 0, cost_of, NULL)->value, &things[0]);
    assert_ptr_equal(add(&w, &things[1], 0, 1), &things[0]);
    assert_ptr_equal(serve(&w, 0), &things[1]);
    check_members(&w, 2);
}

static void test_memory_follows_the_count(void **state)
{
    (void)state;
    struct waiting w;
    begin(&w);
    unsigned resized = 0;
    uint32_t cap = 0;
    for (unsigned i = 0; i < 2 * THINGS; i++) {
        if (i < THINGS)
            add(&w, &things[i], 0, ALL);
        else
            remove_slot(&w, find(&w, &things[i - THINGS]));
        check_memory(&w);
        resized += w.cap != cap;
        cap = w.cap;
    }
    assert_null(w.slots);
    assert_true(resized < 50);
}

/* Values that name their item, as a publication does. */
struct version {
    uint64_t key;
    size_t cost;
};

static uint64_t version_key(const void *value)
{
    return ((const struct version *)value)->key;
}

static size_t version_cost(void *arg, void *value)
{
    (void)arg;
    return ((struct version *)value)->cost;
}

#define VERSIONS 300
static struct version versions[2 * VERSIONS]; /* older, newer */

static void make_versions(void)
{
    for (unsigned i = 0; i < VERSIONS; i++) {
        struct version v = {.key = rand_next(&rnd),
                            .cost = rand_below(&rnd, 6000)};
        versions[i] = v;
        versions[VERSIONS + i] = v;
    }
}

static uint64_t serve_version(struct waiting *w, uint64_t now_ms)
{
    struct waiting_slot *slot = waiting_next(w, now_ms, version_cost, NULL);
    uint64_t key = version_key(slot->value);
    waiting_remove(w, slot);
    return key;
}

/* Two tables with the same items: in one of them they change all the time. */
static void test_a_newer_value_keeps_its_place(void **state)
{
    (void)state;
    struct waiting quiet;
    struct waiting busy;
    begin(&quiet);
    make_versions();
    waiting_init(&quiet, version_key);
    waiting_init(&busy, version_key);
    unsigned renewed = 0;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t now_ms = i * 3;
        struct version *v = &versions[rand_below(&rnd, VERSIONS)];
        struct waiting_slot *slot = waiting_find(&busy, v->key);
        assert_true((slot != NULL) == (waiting_find(&quiet, v->key) != NULL));
        if (slot) {
            slot->value = slot->value == v ? v + VERSIONS : v;
            renewed++;
        } else {
            assert_null(waiting_add(&quiet, v, 1, now_ms, ALL));
            assert_null(waiting_add(&busy, v, 1, now_ms, ALL));
        }
        waiting_check(&busy);
        if (quiet.count && rand_below(&rnd, 3) == 0)
            assert_true(serve_version(&quiet, now_ms) ==
                        serve_version(&busy, now_ms));
    }
    while (quiet.count)
        assert_true(serve_version(&quiet, 0) == serve_version(&busy, 0));
    assert_int_equal(busy.count, 0);
    assert_true(renewed > 1000);
}

static void test_a_newer_value_keeps_its_turn(void **state)
{
    (void)state;
    struct waiting w;
    begin(&w);
    make_versions();
    waiting_init(&w, version_key);
    for (unsigned i = 0; i < VERSIONS; i++)
        assert_null(waiting_add(&w, &versions[i], 1, 0, ALL));
    struct waiting_slot *slot = waiting_next(&w, 0, version_cost, NULL);
    struct version *first = slot->value;
    struct version *newer = first + VERSIONS;
    newer->cost = SIZE_MAX;
    slot->value = newer;
    assert_ptr_equal(waiting_next(&w, 0, version_cost, NULL)->value, newer);
    assert_ptr_equal(waiting_find(&w, first->key)->value, newer);
    waiting_check(&w);
    assert_int_equal(w.count, VERSIONS);
    assert_true(serve_version(&w, 0) == first->key);
    assert_null(waiting_find(&w, first->key));
    assert_true(serve_version(&w, 0) != first->key);
    waiting_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_against_a_set),
        cmocka_unit_test(test_nobody_is_overtaken_twice_a_round),
        cmocka_unit_test(test_a_fat_item_and_many_thin_share),
        cmocka_unit_test(test_fat_items_share_by_bytes),
        cmocka_unit_test(test_a_turn_is_found_in_few_rounds),
        cmocka_unit_test(test_an_old_item_goes_at_its_visit),
        cmocka_unit_test(test_what_need_not_be_sent_goes_at_once),
        cmocka_unit_test(test_a_turn_stays_until_it_is_taken),
        cmocka_unit_test(test_a_full_table_drops_one),
        cmocka_unit_test(test_memory_follows_the_count),
        cmocka_unit_test(test_a_newer_value_keeps_its_place),
        cmocka_unit_test(test_a_newer_value_keeps_its_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
