#include "throttle/conflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "tests/kit/value.h"

static struct value *offer(struct conflate *c, uint64_t key, uint64_t seq,
                           uint64_t now_ns, bool expected)
{
    struct value *v = value_new(key, seq);
    assert_int_equal(conflate_offer(c, key, v, seq, now_ns), expected);
    conflate_check(c);
    return v;
}

static void take(struct conflate *c, uint64_t now_ns)
{
    struct conflate_due due;
    assert_true(conflate_take(c, now_ns, &due));
    conflate_check(c);
    value_unref(due.value);
}

static void end(struct conflate *c)
{
    conflate_fini(c);
    assert_int_equal(values_alive, 0);
}

static void test_leading_edge_then_the_newest(void **state)
{
    (void)state;
    struct conflate c;
    struct conflate_due due;
    conflate_init(&c, 100, 10, &VALUE_OPS);
    value_unref(offer(&c, 7, 1, 1000, true));
    assert_false(conflate_take(&c, 1000, &due));
    value_unref(offer(&c, 7, 2, 1010, false));
    value_unref(offer(&c, 7, 3, 1020, false));
    assert_true(conflate_take(&c, 1050, &due));
    assert_true(due.seq == 3 && due.first_seq == 2);
    assert_int_equal(due.n, 2);
    value_unref(due.value);
    assert_false(conflate_take(&c, 1050, &due));
    /* The tick was a send: the next edge is one interval after it. */
    value_unref(offer(&c, 7, 4, 1149, false));
    take(&c, 1150);
    value_unref(offer(&c, 7, 5, 1250, true));
    end(&c);
}

static void test_waiting_items_keep_their_turn(void **state)
{
    (void)state;
    struct conflate c;
    struct conflate_due due;
    conflate_init(&c, 100, 10, &VALUE_OPS);
    for (uint64_t key = 1; key <= 3; key++)
        value_unref(offer(&c, key, key, 1000, true));
    for (uint64_t key = 1; key <= 3; key++)
        value_unref(offer(&c, key, 3 + key, 1001, false));
    /* A newer value does not move an item that waits. */
    value_unref(offer(&c, 1, 7, 1002, false));
    assert_true(c.conflated == 1);
    for (uint64_t key = 1; key <= 3; key++) {
        assert_true(conflate_take(&c, 1050, &due));
        assert_true(((struct value *)due.value)->key == key);
        assert_int_equal(due.n, key == 1 ? 2 : 1);
        value_unref(due.value);
    }
    end(&c);
}

/* Stamping what is only kept as if it were sent would put off an item for as
 * long as its source is faster than its rate. */
static void test_a_fast_source_never_starves(void **state)
{
    (void)state;
    struct conflate c;
    struct conflate_due due;
    const uint64_t interval = 200;
    const uint64_t first = 1000;
    conflate_init(&c, interval, 10, &VALUE_OPS);
    uint64_t last_sent = first;
    unsigned sends = 0;
    for (uint64_t now = first; now <= first + 50 * interval; now++) {
        uint64_t seq = now;
        struct value *v = value_new(1, seq);
        bool edge = conflate_offer(&c, 1, v, seq, now);
        value_unref(v);
        if (edge) {
            assert_true(sends == 0 || now - last_sent >= interval);
            last_sent = now;
            sends++;
        }
        assert_true(c.items->sent_ns == last_sent);
        if (now % interval == 50 && conflate_take(&c, now, &due)) {
            assert_true(due.seq == seq);
            value_unref(due.value);
            last_sent = now;
            sends++;
        }
        assert_true(now - last_sent <= interval);
        assert_true(c.items->sent_ns == last_sent);
    }
    assert_int_equal(sends, 51);
    end(&c);
}

/* Sources of all speeds, ticks on a grid: what the clients see. */
static void test_rate_and_final_value(void **state)
{
    (void)state;
    enum { ITEMS = 8, INTERVAL = 100, SPAN = 20000 };
    struct conflate c;
    struct conflate_due due;
    struct rand r;
    uint64_t sends[ITEMS][SPAN / INTERVAL * 2 + 2];
    unsigned count[ITEMS] = {0};
    uint64_t offered[ITEMS] = {0};
    uint64_t delivered[ITEMS] = {0};
    rand_init(&r, 4);
    conflate_init(&c, INTERVAL, ITEMS, &VALUE_OPS);
    for (uint64_t now = 1000; now < 1000 + SPAN; now++) {
        uint64_t key = rand_below(&r, ITEMS);
        if (rand_below(&r, 1 + key * 20) == 0 && now < SPAN) {
            struct value *v = value_new(key, now);
            offered[key] = now;
            if (conflate_offer(&c, key, v, now, now)) {
                sends[key][count[key]++] = now;
                delivered[key] = now;
            }
            value_unref(v);
        }
        while (now % INTERVAL == 33 && conflate_take(&c, now, &due)) {
            key = ((struct value *)due.value)->key;
            assert_true(due.seq == offered[key]);
            sends[key][count[key]++] = now;
            delivered[key] = due.seq;
            value_unref(due.value);
        }
        if (now % INTERVAL == 70)
            conflate_rest(&c, now);
        conflate_check(&c);
    }
    for (size_t key = 0; key < ITEMS; key++) {
        assert_true(delivered[key] == offered[key]);
        /* No 10 intervals have more than 11 sends. */
        for (unsigned i = 11; i < count[key]; i++)
            assert_true(sends[key][i] - sends[key][i - 11] >= 10 * INTERVAL);
    }
    assert_true(count[0] > SPAN / INTERVAL / 2);
    end(&c);
}

static void test_rest_forgets_what_it_may(void **state)
{
    (void)state;
    struct conflate c;
    conflate_init(&c, 100, 10, &VALUE_OPS);
    assert_false(conflate_rest(&c, 1000));
    value_unref(offer(&c, 1, 1, 1000, true));
    value_unref(offer(&c, 2, 2, 1050, true));
    assert_true(conflate_rest(&c, 1099));
    assert_int_equal(c.count, 2);
    assert_true(conflate_rest(&c, 1100));
    assert_int_equal(c.count, 1);
    value_unref(offer(&c, 2, 3, 1140, false));
    assert_true(conflate_rest(&c, 1500)); /* it waits: not forgotten */
    take(&c, 1500);
    assert_false(conflate_rest(&c, 1600));
    assert_int_equal(c.count, 0);
    end(&c);
}

static void test_without_a_rate_nothing_is_remembered(void **state)
{
    (void)state;
    struct conflate c;
    struct conflate_due due;
    conflate_init(&c, 0, 2, &VALUE_OPS);
    for (uint64_t seq = 1; seq <= 6; seq++) {
        value_unref(offer(&c, seq % 3, seq, 1000, true));
        assert_int_equal(values_alive, 0);
    }
    assert_int_equal(c.count, 0);
    assert_true(c.untracked == 0 && c.conflated == 0);
    assert_false(conflate_take(&c, 1000, &due));
    assert_false(conflate_rest(&c, 1000));
    end(&c);
}

static void test_a_full_table_forgets_who_may_go_at_once(void **state)
{
    (void)state;
    struct conflate c;
    conflate_init(&c, 100, 2, &VALUE_OPS);
    value_unref(offer(&c, 0, 1, 1000, true));
    value_unref(offer(&c, 1, 2, 1010, true));
    value_unref(offer(&c, 0, 3, 1100, true)); /* 1 is the oldest now */
    value_unref(offer(&c, 2, 4, 1109, true));
    assert_true(c.untracked == 1);
    value_unref(offer(&c, 2, 5, 1109, true)); /* not tracked: at once again */
    assert_true(c.untracked == 2);
    value_unref(offer(&c, 2, 6, 1110, true)); /* takes the place of 1 */
    assert_true(c.untracked == 2);
    assert_int_equal(c.count, 2);
    value_unref(offer(&c, 0, 7, 1111, false));
    value_unref(offer(&c, 2, 8, 1111, false));
    end(&c);
}

static void test_a_full_table_of_waiting_items_loses_none(void **state)
{
    (void)state;
    struct conflate c;
    struct conflate_due due;
    conflate_init(&c, 100, 2, &VALUE_OPS);
    for (uint64_t key = 0; key < 2; key++) {
        value_unref(offer(&c, key, key + 1, 1000, true));
        value_unref(offer(&c, key, key + 3, 1001, false));
    }
    value_unref(offer(&c, 2, 5, 5000, true));
    assert_true(c.untracked == 1);
    for (uint64_t key = 0; key < 2; key++) {
        assert_true(conflate_take(&c, 5000, &due));
        assert_true(due.seq == key + 3 && due.n == 1);
        value_unref(due.value);
    }
    end(&c);
}

static void test_what_still_waits_goes_with_the_table(void **state)
{
    (void)state;
    struct conflate c;
    conflate_init(&c, 100, 2, &VALUE_OPS);
    value_unref(offer(&c, 1, 1, 1000, true));
    value_unref(offer(&c, 1, 2, 1001, false));
    assert_int_equal(values_alive, 1);
    value_unref(offer(&c, 1, 3, 1002, false));
    assert_int_equal(values_alive, 1);
    end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leading_edge_then_the_newest),
        cmocka_unit_test(test_waiting_items_keep_their_turn),
        cmocka_unit_test(test_a_fast_source_never_starves),
        cmocka_unit_test(test_rate_and_final_value),
        cmocka_unit_test(test_rest_forgets_what_it_may),
        cmocka_unit_test(test_without_a_rate_nothing_is_remembered),
        cmocka_unit_test(test_a_full_table_forgets_who_may_go_at_once),
        cmocka_unit_test(test_a_full_table_of_waiting_items_loses_none),
        cmocka_unit_test(test_what_still_waits_goes_with_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
