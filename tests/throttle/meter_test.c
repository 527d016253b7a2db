#include "throttle/meter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"

#define SECOND 1000000000u
#define OPS 300000

static void test_a_burst_then_the_rate(void **state)
{
    (void)state;
    struct meter m;
    meter_init(&m, 5, 20, 1000);
    for (unsigned i = 0; i < 20; i++)
        assert_true(meter_take(&m, 1, 1000));
    assert_false(meter_take(&m, 1, 1000));
    assert_false(meter_take(&m, 1, 1000 + SECOND / 5 - 1));
    assert_true(meter_take(&m, 1, 1000 + SECOND / 5));
    assert_false(meter_take(&m, 1, 1000 + SECOND / 5));
    /* Ten seconds would be 50: the bucket holds 20. */
    uint64_t later = 1000 + 10 * (uint64_t)SECOND;
    assert_false(meter_take(&m, 21, later));
    assert_true(meter_take(&m, 20, later));
    assert_false(meter_take(&m, 1, later));
}

static void test_a_refusal_takes_nothing(void **state)
{
    (void)state;
    struct meter m;
    meter_init(&m, 1, 10, 0);
    assert_false(meter_take(&m, 11, 0));
    assert_true(meter_take(&m, 10, 0));
    assert_true(meter_take(&m, 0, 0));
}

static void test_debt_is_waited_for(void **state)
{
    (void)state;
    struct meter m;
    meter_init(&m, 1000, 100, 0);
    assert_true(meter_is_open(&m, 0));
    assert_int_equal(meter_wait_ns(&m, 0), 0);
    meter_charge(&m, 4100, 0);
    assert_false(meter_is_open(&m, 0));
    assert_int_equal(meter_wait_ns(&m, 0), 4 * (uint64_t)SECOND + 1);
    assert_false(meter_is_open(&m, 4 * (uint64_t)SECOND));
    assert_int_equal(meter_wait_ns(&m, 4 * (uint64_t)SECOND), 1);
    assert_true(meter_is_open(&m, 4 * (uint64_t)SECOND + 1));
}

static void test_asked_often_nothing_is_lost(void **state)
{
    (void)state;
    struct rand rand;
    struct meter m;
    uint64_t now = 12345;
    uint64_t taken = 0;
    rand_init(&rand, 1);
    meter_init(&m, 3, 5, now);
    assert_true(meter_take(&m, 5, now));
    for (unsigned i = 0; i < OPS; i++) {
        now += rand_below(&rand, 3000000);
        taken += meter_take(&m, 1, now);
        assert_int_equal(taken, (now - 12345) * 3 / SECOND);
    }
    assert_true(taken > 1000);
}

static void test_time_that_goes_back_stands_still(void **state)
{
    (void)state;
    struct meter m;
    meter_init(&m, 10, 10, 5 * (uint64_t)SECOND);
    assert_true(meter_take(&m, 10, 5 * (uint64_t)SECOND));
    assert_false(meter_take(&m, 1, SECOND));
    assert_false(meter_take(&m, 1, 5 * (uint64_t)SECOND));
    assert_true(meter_take(&m, 10, 6 * (uint64_t)SECOND));
    assert_false(meter_take(&m, 1, 6 * (uint64_t)SECOND));
}

/* The model: more bits than anything can fill. */
static void charge_model(__int128 *level, __int128 units)
{
    __int128 most_debt = -(__int128)UINT32_MAX * SECOND;
    *level -= units * SECOND;
    if (*level < most_debt)
        *level = most_debt;
}

/* Opens exactly when it says. */
static void check_wait(struct meter m, uint64_t now)
{
    uint64_t wait = meter_wait_ns(&m, now);
    struct meter early = m;
    if (wait == 0 || now + wait < now)
        return;
    assert_false(meter_is_open(&early, now + wait - 1));
    assert_true(meter_is_open(&m, now + wait));
}

static uint32_t random_units(struct rand *rand)
{
    return (uint32_t)(rand_next(rand) >> (32 + rand_below(rand, 32)));
}

static void run_random(struct rand *rand)
{
    uint32_t rate = random_units(rand) | 1;
    uint32_t burst = random_units(rand) | 1;
    uint64_t now = rand_next(rand) >> rand_below(rand, 64);
    struct meter m;
    meter_init(&m, rate, burst, now);
    __int128 full = (__int128)burst * SECOND;
    __int128 level = full;
    for (unsigned i = 0; i < 100; i++) {
        uint64_t gap = rand_next(rand) >> rand_below(rand, 64);
        gap = gap < UINT64_MAX - now ? gap : UINT64_MAX - now;
        now += gap;
        level += (__int128)gap * rate;
        level = level < full ? level : full;
        uint32_t units = random_units(rand);
        bool takes = level >= (__int128)units * SECOND;
        assert_true(meter_is_open(&m, now) == (level > 0));
        check_wait(m, now);
        if (rand_below(rand, 2)) {
            assert_true(meter_take(&m, units, now) == takes);
            level -= takes ? (__int128)units * SECOND : 0;
        } else {
            meter_charge(&m, units, now);
            charge_model(&level, units);
        }
        assert_true(m.level == level);
    }
}

static void test_random_against_wide_numbers(void **state)
{
    (void)state;
    struct rand rand;
    rand_init(&rand, 2);
    for (unsigned i = 0; i < OPS / 100; i++)
        run_random(&rand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_burst_then_the_rate),
        cmocka_unit_test(test_a_refusal_takes_nothing),
        cmocka_unit_test(test_debt_is_waited_for),
        cmocka_unit_test(test_asked_often_nothing_is_lost),
        cmocka_unit_test(test_time_that_goes_back_stands_still),
        cmocka_unit_test(test_random_against_wide_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
