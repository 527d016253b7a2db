#include "base/hist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"

/* The oracle looks for the first bound that is not below the value. */
static unsigned oracle(uint64_t ns)
{
    uint64_t bound_ns = 1000;
    for (unsigned i = 0; i < HIST_BUCKETS - 1; i++, bound_ns *= 2) {
        if (ns <= bound_ns)
            return i;
    }
    return HIST_BUCKETS - 1;
}

static void assert_lands(uint64_t ns)
{
    struct hist h = {{0}, 0, 0};
    hist_add(&h, ns);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.sum_ns, ns);
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        assert_int_equal(h.buckets[i], i == oracle(ns));
}

static void test_borders(void **state)
{
    (void)state;
    assert_lands(0);
    assert_lands(1);
    for (unsigned i = 0; i < HIST_BUCKETS + 8; i++) {
        assert_lands((1000ull << i) - 1);
        assert_lands(1000ull << i);
        assert_lands((1000ull << i) + 1);
    }
    assert_lands(UINT64_MAX / 2);
}

static void test_random(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 5);
    for (unsigned i = 0; i < 100000; i++)
        assert_lands(rand_next(&r) >> (1 + rand_below(&r, 63)));
}

static void test_sums(void **state)
{
    (void)state;
    struct hist h = {{0}, 0, 0};
    uint64_t all = 0;
    for (unsigned i = 0; i < 1000; i++)
        hist_add(&h, i * 1000);
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        all += h.buckets[i];
    assert_int_equal(h.count, 1000);
    assert_int_equal(all, 1000);
    assert_int_equal(h.sum_ns, 499500u * 1000u);
}

static void test_bounds_in_seconds(void **state)
{
    (void)state;
    assert_true(hist_bound_s(0) > 0.99e-6 && hist_bound_s(0) < 1.01e-6);
    for (unsigned i = 1; i < HIST_BUCKETS - 1; i++)
        assert_true(hist_bound_s(i) > 1.99 * hist_bound_s(i - 1));
    double last_s = hist_bound_s(HIST_BUCKETS - 2);
    assert_true(last_s > 16.7 && last_s < 16.8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_borders),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_bounds_in_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
