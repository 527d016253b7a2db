#include "throttle/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"

#define ROUNDS 200000

static const uint32_t RATES[] = {
    200, 500, 1000, 2000, 3000, 5000, 10000, 20000, 30000, 60000,
};

static struct throttle_policy policy_of(enum throttle_mode mode, uint32_t rate)
{
    return (struct throttle_policy){
        .mode = (uint8_t)mode,
        .on_full =
            mode == THROTTLE_ALL ? THROTTLE_DISCONNECT : THROTTLE_CONFLATE,
        .rate = rate,
        .allow_client_rate = true,
    };
}

static struct throttle_grant wish_rate(const struct throttle_policy *p,
                                       uint32_t rate)
{
    struct throttle_request r = {.has_rate = true, .rate = rate};
    return throttle_decide(p, &r);
}

static struct throttle_grant wish_mode(const struct throttle_policy *p,
                                       enum throttle_mode mode)
{
    struct throttle_request r = {.has_mode = true, .mode = (uint8_t)mode};
    return throttle_decide(p, &r);
}

static void test_a_wish_is_rounded_down(void **state)
{
    (void)state;
    static const struct {
        uint32_t has;
        uint32_t wish;
        uint32_t granted;
    } rows[] = {
        {20000, 7000, 5000},
        {20000, 19999, 10000},
        {20000, 20000, 20000},
        {20000, 20001, 20000},
        {20000, 1000000, 20000},
        {20000, 0, 20000},
        {20000, 10000, 10000},
        {20000, 9999, 5000},
        {20000, 4999, 3000},
        {20000, 2999, 2000},
        {20000, 1999, 1000},
        {20000, 999, 500},
        {20000, 499, 200},
        {20000, 200, 200},
        {20000, 199, 200},
        {20000, 1, 200},
        /* The namespace's own rate need not be one of the list. */
        {7000, 6999, 5000},
        {7000, 7000, 7000},
        {7000, 8000, 7000},
        /* Slower than the slowest class: a wish never gives more. */
        {100, 50, 100},
        {100, 100, 100},
        {100, 150, 100},
        {200, 100, 200},
        {300, 250, 200},
        /* Without a limit every wish is for less, but that for none. */
        {0, 0, 0},
        {0, 1000000, 60000},
        {0, 60000, 60000},
        {0, 59999, 30000},
        {0, 1, 200},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct throttle_policy p = policy_of(THROTTLE_LATEST, rows[i].has);
        assert_int_equal(wish_rate(&p, rows[i].wish).rate, rows[i].granted);
        p.mode = THROTTLE_MERGE;
        assert_int_equal(wish_rate(&p, rows[i].wish).rate, rows[i].granted);
        assert_int_equal(wish_rate(&p, rows[i].wish).mode, THROTTLE_MERGE);
    }
}

static void test_no_wish_gives_what_the_namespace_has(void **state)
{
    (void)state;
    struct throttle_request none = {.rate = 1000, .mode = THROTTLE_LATEST};
    struct throttle_policy p = policy_of(THROTTLE_MERGE, 7000);
    struct throttle_grant g = throttle_decide(&p, &none);
    assert_int_equal(g.mode, THROTTLE_MERGE);
    assert_int_equal(g.rate, 7000);
    p = policy_of(THROTTLE_ALL, 7000);
    g = throttle_decide(&p, &none);
    assert_int_equal(g.mode, THROTTLE_ALL);
    assert_int_equal(g.rate, 0);
}

static void test_mode_changes_only_from_all_to_latest(void **state)
{
    (void)state;
    for (unsigned has = 0; has < THROTTLE_MODES; has++)
        for (unsigned wish = 0; wish < THROTTLE_MODES; wish++) {
            struct throttle_policy p = policy_of(has, 5000);
            struct throttle_grant g = wish_mode(&p, wish);
            if (has == THROTTLE_ALL && wish == THROTTLE_LATEST)
                assert_int_equal(g.mode, THROTTLE_LATEST);
            else
                assert_int_equal(g.mode, has);
            assert_int_equal(g.rate, g.mode == THROTTLE_ALL ? 0 : 5000);
        }
}

static void test_all_has_no_rate_until_it_is_latest(void **state)
{
    (void)state;
    struct throttle_policy p = policy_of(THROTTLE_ALL, 0);
    assert_int_equal(wish_rate(&p, 1000).mode, THROTTLE_ALL);
    assert_int_equal(wish_rate(&p, 1000).rate, 0);
    struct throttle_request both = {
        .has_rate = true,
        .rate = 1500,
        .has_mode = true,
        .mode = THROTTLE_LATEST,
    };
    struct throttle_grant g = throttle_decide(&p, &both);
    assert_int_equal(g.mode, THROTTLE_LATEST);
    assert_int_equal(g.rate, 1000);
}

static void test_one_switch_for_clients_wishes(void **state)
{
    (void)state;
    struct throttle_policy p = policy_of(THROTTLE_LATEST, 20000);
    p.allow_client_rate = false;
    assert_int_equal(wish_rate(&p, 1000).rate, 20000);
    p = policy_of(THROTTLE_ALL, 20000);
    p.allow_client_rate = false;
    assert_int_equal(wish_mode(&p, THROTTLE_LATEST).mode, THROTTLE_ALL);
    assert_int_equal(wish_mode(&p, THROTTLE_LATEST).rate, 0);
}

static void test_plain_is_all_or_3008(void **state)
{
    (void)state;
    struct throttle_policy p = policy_of(THROTTLE_ALL, 0);
    struct throttle_grant all = {.mode = THROTTLE_ALL};
    struct throttle_grant latest = {.mode = THROTTLE_LATEST};
    struct throttle_grant merge = {.mode = THROTTLE_MERGE};
    p.bandwidth = 1000;
    assert_true(throttle_is_plain(&p, all));
    assert_false(throttle_is_plain(&p, latest));
    p.on_full = THROTTLE_DROP_OLDEST;
    assert_false(throttle_is_plain(&p, all));
    p.on_full = THROTTLE_CONFLATE;
    assert_false(throttle_is_plain(&p, all));
    p = policy_of(THROTTLE_ALL, 0);
    p.annotate = true;
    assert_false(throttle_is_plain(&p, all));
    p.annotate = false;
    p.order_group = 1;
    assert_false(throttle_is_plain(&p, all));
    p = policy_of(THROTTLE_MERGE, 0);
    p.on_full = THROTTLE_DISCONNECT;
    assert_false(throttle_is_plain(&p, merge));
}

static void test_mode_names(void **state)
{
    (void)state;
    static const char *names[] = {"all", "latest", "merge"};
    for (unsigned i = 0; i < THROTTLE_MODES; i++) {
        enum throttle_mode mode = THROTTLE_MODES;
        assert_true(str_eq(throttle_mode_name(i), str_of(names[i])));
        assert_int_equal(throttle_mode_parse(str_of(names[i]), &mode), 0);
        assert_int_equal(mode, i);
    }
    static const char *others[] = {"", "al", "alll", "Latest", "none"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        enum throttle_mode mode = THROTTLE_MODES;
        assert_int_equal(throttle_mode_parse(str_of(others[i]), &mode),
                         ERR_NOT_FOUND);
        assert_int_equal(mode, THROTTLE_MODES);
    }
}

static void test_parse_reads_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t rate;
    } rows[] = {
        {"0", 0},
        {"0.0", 0},
        {"0e99999999999999999999", 0},
        {"5", 5000},
        {"0.2", 200},
        {"0.25", 250},
        {"5.000", 5000},
        {"1.0009", 1000},
        {"0.001", 1},
        {"0.0019", 1},
        {"0.0001", 1},
        {"0.00000000000000000000000000000000000000001", 1},
        {"1000", 1000000},
        {"1000.0009", 1000000},
        {"1000.001", 1000000},
        {"1001", 1000000},
        {"18446744073709551616", 1000000},
        {"99999999999999999999999999999999999999999999", 1000000},
        {"00000000000000000000000000000000000000000007", 7000},
        {"7.0000000000000000000000000000000000000000009", 7000},
        {"1e1", 10000},
        {"1E+1", 10000},
        {"1.5e1", 15000},
        {"20e-2", 200},
        {"20000000000000000000000e-22", 2000},
        {"0.0000000000000000000002e22", 2000},
        {"1e-7", 1},
        {"1e-99999999999999999999", 1},
        {"1e99999999999999999999", 1000000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t rate = 77;
        assert_int_equal(throttle_rate_parse(str_of(rows[i].text), &rate), 0);
        assert_int_equal(rate, rows[i].rate);
    }
}

static void test_parse_refuses_the_rest(void **state)
{
    (void)state;
    static const char *texts[] = {
        "",    "-1",   "-0",  "+1",    ".5",    "5.",   ".",    " 5",   "5 ",
        "5/s", "0x10", "NaN", "inf",   "1e",    "1e+",  "1e-",  "1e5x", "1.e5",
        "e5",  "1..2", "1,5", "1.2.3", "\"5\"", "null", "true",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint32_t rate = 77;
        assert_int_equal(throttle_rate_parse(str_of(texts[i]), &rate),
                         ERR_INVALID);
        assert_int_equal(rate, 77);
    }
    uint32_t rate = 77;
    assert_int_equal(throttle_rate_parse(STR_LIT("5\0"), &rate), ERR_INVALID);
}

static void test_format_is_short_and_parses_back(void **state)
{
    (void)state;
    static const struct {
        uint32_t rate;
        const char *text;
    } rows[] = {
        {0, "0"},         {1, "0.001"},
        {200, "0.2"},     {1000, "1"},
        {5000, "5"},      {10000, "10"},
        {1001, "1.001"},  {THROTTLE_RATE_MAX, "1000"},
        {12340, "12.34"}, {UINT32_MAX, "4294967.295"},
    };
    char text[THROTTLE_RATE_TEXT];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = throttle_rate_format(rows[i].rate, text);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(n, strlen(text));
    }
    struct rand r;
    rand_init(&r, 1);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t rate = (uint32_t)rand_below(&r, THROTTLE_RATE_MAX + 1);
        uint32_t back = 0;
        size_t n = throttle_rate_format(rate, text);
        assert_int_equal(throttle_rate_parse(str_n(text, n), &back), 0);
        assert_int_equal(back, rate);
    }
}

static void test_interval(void **state)
{
    (void)state;
    assert_int_equal(throttle_interval_ns(0), 0);
    assert_int_equal(throttle_interval_ns(1), UINT64_C(1000000000000));
    assert_int_equal(throttle_interval_ns(200), UINT64_C(5000000000));
    assert_int_equal(throttle_interval_ns(5000), 200000000);
    /* Three of these take no less than a second. */
    assert_int_equal(throttle_interval_ns(3000), 333333334);
    assert_int_equal(throttle_interval_ns(THROTTLE_RATE_MAX), 1000000);
}

static uint32_t random_rate(struct rand *r)
{
    if (rand_below(r, 2))
        return RATES[rand_below(r, ARRAY_LEN(RATES))];
    return 1 + (uint32_t)rand_below(r, THROTTLE_RATE_MAX);
}

/* From the first moments of a clock to thousands of years. */
static uint64_t random_now(struct rand *r)
{
    uint64_t now = rand_next(r) >> rand_below(r, 64);
    return now > UINT64_MAX / 2 ? now / 2 : now;
}

static void test_ticks_are_a_grid(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 2);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t rate = random_rate(&r);
        uint32_t phase = (uint32_t)rand_next(&r);
        uint64_t now = random_now(&r);
        uint64_t interval = throttle_interval_ns(rate);
        uint64_t tick = throttle_next_tick(rate, phase, now);
        assert_true(tick > now);
        assert_true(tick - now <= interval);
        /* The same tick from anywhere since the one before. */
        assert_true(throttle_next_tick(rate, phase, tick - 1) == tick);
        assert_true(throttle_next_tick(rate, phase, tick) == tick + interval);
        /* One grid at all times: the first tick decides. */
        uint64_t first = throttle_next_tick(rate, phase, 0);
        assert_true((tick - first) % interval == 0);
    }
}

static void test_phases_spread_over_the_interval(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(RATES); i++) {
        uint64_t interval = throttle_interval_ns(RATES[i]);
        unsigned quarters[4] = {0};
        struct rand r;
        rand_init(&r, 3);
        for (int k = 0; k < 4000; k++) {
            uint32_t phase = (uint32_t)rand_next(&r);
            uint64_t at = throttle_next_tick(RATES[i], phase, 100 * interval);
            quarters[(at - 100 * interval - 1) * 4 / interval]++;
        }
        for (int k = 0; k < 4; k++)
            assert_in_range(quarters[k], 800, 1200);
    }
    /* The ends of the hash, at the longest interval of all. */
    uint64_t longest = throttle_interval_ns(1);
    assert_true(throttle_next_tick(1, UINT32_MAX, 0) < longest);
    assert_true(throttle_next_tick(1, UINT32_MAX, 0) > longest - 1000);
    assert_true(throttle_next_tick(1, 0, 0) == longest);
}

static void test_classes(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(RATES) + 1, THROTTLE_CLASSES);
    assert_int_equal(throttle_class(0), 0);
    assert_int_equal(throttle_class_rate(0), 0);
    for (unsigned i = 0; i < ARRAY_LEN(RATES); i++) {
        assert_int_equal(throttle_class_rate(i + 1), RATES[i]);
        assert_int_equal(throttle_class(RATES[i]), i + 1);
        assert_int_equal(throttle_class(RATES[i] + 1), i + 1);
        assert_int_equal(throttle_class(RATES[i] - 1), i ? i : 1);
    }
    assert_int_equal(throttle_class(1), 1);
    assert_int_equal(throttle_class(UINT32_MAX), THROTTLE_CLASSES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wish_is_rounded_down),
        cmocka_unit_test(test_no_wish_gives_what_the_namespace_has),
        cmocka_unit_test(test_mode_changes_only_from_all_to_latest),
        cmocka_unit_test(test_all_has_no_rate_until_it_is_latest),
        cmocka_unit_test(test_one_switch_for_clients_wishes),
        cmocka_unit_test(test_plain_is_all_or_3008),
        cmocka_unit_test(test_mode_names),
        cmocka_unit_test(test_parse_reads_numbers),
        cmocka_unit_test(test_parse_refuses_the_rest),
        cmocka_unit_test(test_format_is_short_and_parses_back),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_ticks_are_a_grid),
        cmocka_unit_test(test_phases_spread_over_the_interval),
        cmocka_unit_test(test_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
