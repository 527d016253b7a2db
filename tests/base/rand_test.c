#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void test_uuid_text(void **state)
{
    (void)state;
    uint8_t bytes[16];
    char text[RAND_UUID_LEN];
    for (size_t i = 0; i < 16; i++)
        bytes[i] = (uint8_t)(i * 0x11);
    rand_uuid_format(bytes, text);
    assert_memory_equal(text, "00112233-4455-6677-8899-aabbccddeeff",
                        RAND_UUID_LEN);
}

static void test_uuids_are_version_4_and_differ(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static char texts[COUNT][RAND_UUID_LEN];
    for (size_t i = 0; i < COUNT; i++) {
        uint8_t bytes[16];
        rand_uuid_init(bytes);
        rand_uuid_format(bytes, texts[i]);
        for (size_t at = 0; at < RAND_UUID_LEN; at++) {
            bool dash = at == 8 || at == 13 || at == 18 || at == 23;
            const char *allowed = dash ? "-" : "0123456789abcdef";
            assert_non_null(memchr(allowed, texts[i][at], strlen(allowed)));
        }
        assert_int_equal(texts[i][14], '4');
        assert_non_null(memchr("89ab", texts[i][19], 4));
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(texts[i], texts[k], RAND_UUID_LEN);
    }
}

static void test_same_seed_same_numbers(void **state)
{
    (void)state;
    struct rand a;
    struct rand b;
    struct rand c;
    rand_init(&a, 7);
    rand_init(&b, 7);
    rand_init(&c, 8);
    unsigned same = 0;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t v = rand_next(&a);
        assert_true(v == rand_next(&b));
        same += v == rand_next(&c);
    }
    assert_int_equal(same, 0);
}

/* SplitMix64 is published: its first numbers from seed 1234567 are known. */
static void test_known_numbers(void **state)
{
    (void)state;
    static const uint64_t known[] = {6457827717110365317u, 3203168211198807973u,
                                     9817491932198370423u};
    struct rand r;
    rand_init(&r, 1234567);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        assert_true(rand_next(&r) == known[i]);
}

static void test_below_is_even(void **state)
{
    (void)state;
    struct rand r;
    unsigned seen[10] = {0};
    rand_init(&r, 9);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t v = rand_below(&r, 10);
        assert_true(v < 10);
        seen[v]++;
    }
    /* The seed is fixed, so these never change: 10 sigma around 10,000. */
    for (size_t i = 0; i < 10; i++)
        assert_in_range(seen[i], 9050, 10950);
    assert_int_equal(rand_below(&r, 1), 0);
}

static void test_bytes_fill_all(void **state)
{
    (void)state;
    unsigned char a[64];
    unsigned char ored[64] = {0};
    for (unsigned i = 0; i < 64; i++) {
        rand_bytes(a, sizeof(a));
        for (size_t k = 0; k < sizeof(a); k++)
            ored[k] |= a[k];
    }
    /* A byte left alone would stay 0; that 64 random ones do is 2^-512. */
    for (size_t k = 0; k < sizeof(ored); k++)
        assert_int_not_equal(ored[k], 0);
    rand_bytes(a, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uuid_text),
        cmocka_unit_test(test_uuids_are_version_4_and_differ),
        cmocka_unit_test(test_same_seed_same_numbers),
        cmocka_unit_test(test_known_numbers),
        cmocka_unit_test(test_below_is_even),
        cmocka_unit_test(test_bytes_fill_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
