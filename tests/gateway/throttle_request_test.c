/* What clients may write for a rate and a mode, and what they may not. */
#include "gateway/protocol/throttle_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

static int read_text(const char *text, struct throttle_request *out)
{
    struct json_value v;
    assert_int_equal(json_parse(str_of(text), &v), 0);
    return throttle_request_read(v, out);
}

static const struct {
    const char *number;
    uint32_t rate; /* millihertz */
} rates[] = {
    {"0", 0},
    {"-0", 0},
    {"-0.000e7", 0},
    {"5", 5000},
    {"5e0", 5000},
    {"5E+0", 5000},
    {"0.5e1", 5000},
    {"50e-1", 5000},
    {"5000000000000000000000e-21", 5000},
    {"0.000000000000000000000005e24", 5000},
    {"4.99999999999999999999999", 4999},
    {"1E2", 100000},
    {"0.2", 200},
    {"2e-1", 200},
    {"0.3333333", 333},
    {"0.0019", 1},
    {"0.001", 1},
    {"0.0009", 1},
    {"1e-400", 1},
    {"1e-99999999999999999999999", 1},
    {"0e99999999999999999999999", 0},
    {"1000", 1000000},
    {"999.9999", 999999},
    {"1000.001", 1000000},
    {"1e400", 1000000},
    {"1e99999999999999999999999", 1000000},
    {"123456789012345678901234567890", 1000000},
    {"18446744073709551617", 1000000},
    {"0.00000000000000000000000000001e99", 1000000},
};

static void test_rates(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct throttle_request r;
        char text[128];
        snprintf(text, sizeof(text), "{\"rate\":%s}", rates[i].number);
        if (read_text(text, &r) < 0 || !r.has_rate || r.has_mode ||
            r.rate != rates[i].rate)
            fail_msg("%s: %u", rates[i].number, r.rate);
    }
}

static void test_modes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum throttle_mode mode;
    } table[] = {
        {"{\"mode\":\"all\"}", THROTTLE_ALL},
        {"{\"mode\":\"latest\"}", THROTTLE_LATEST},
        {"{\"mode\":\"merge\"}", THROTTLE_MERGE},
        {"{\"m\\u006fde\":\"l\\u0061test\",\"channel\":7}", THROTTLE_LATEST},
        {"{\"mode\":5,\"mode\":\"latest\",\"rate\":null}", THROTTLE_LATEST},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct throttle_request r;
        assert_int_equal(read_text(table[i].text, &r), 0);
        assert_true(r.has_mode && !r.has_rate);
        assert_int_equal(r.mode, table[i].mode);
    }
}

static void test_nothing_asked(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}",
                                        "null",
                                        "[{\"rate\":5}]",
                                        "5",
                                        "\"rate\"",
                                        "{\"Rate\":5}",
                                        "true",
                                        "{\"rate\":null,\"mode\":null}",
                                        "{\"rate\":5,\"rate\":null}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct throttle_request r = {.has_rate = true, .has_mode = true};
        assert_int_equal(read_text(texts[i], &r), 0);
        assert_true(!r.has_rate && !r.has_mode);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const values[] = {
        "\"rate\":-1",       "\"rate\":-0.0001", "\"rate\":-1e-400",
        "\"rate\":\"5\"",    "\"rate\":true",    "\"rate\":false",
        "\"rate\":[5]",      "\"rate\":{}",      "\"mode\":\"\"",
        "\"mode\":\"most\"", "\"mode\":\"ALL\"", "\"mode\":\"latest \"",
        "\"mode\":0",        "\"mode\":true",    "\"mode\":[]",
        "\"mode\":{}",
    };
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct throttle_request r = {.rate = 77};
        char text[128];
        snprintf(text, sizeof(text), "{\"mode\":\"all\",\"rate\":1,%s}",
                 values[i]);
        if (read_text(text, &r) != ERR_INVALID || r.rate != 77)
            fail_msg("%s", values[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_nothing_asked),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
