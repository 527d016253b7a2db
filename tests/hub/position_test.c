#include "hub/position.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"

static void check_text(uint64_t epoch, const char *text)
{
    char to[POSITION_EPOCH_LEN];
    uint64_t back = 0;
    position_epoch_format(epoch, to);
    assert_memory_equal(to, text, POSITION_EPOCH_LEN);
    assert_int_equal(position_epoch_parse(str_of(text), &back), 0);
    assert_true(back == epoch);
}

static void test_the_text_of_an_epoch(void **state)
{
    (void)state;
    check_text(1, "AAAAAAAB");
    check_text(25, "AAAAAAAZ");
    check_text(26, "AAAAAAAa");
    check_text(51, "AAAAAAAz");
    check_text(52, "AAAAAAA0");
    check_text(61, "AAAAAAA9");
    check_text(62, "AAAAAAA-");
    check_text(63, "AAAAAAA_");
    check_text(64, "AAAAAABA");
    check_text(UINT64_C(1) << 42, "BAAAAAAA");
    check_text(POSITION_EPOCH_MAX, "________");
}

static void test_any_bits_become_an_epoch(void **state)
{
    (void)state;
    assert_true(position_epoch_of(0) == 1);
    assert_true(position_epoch_of(1) == 1);
    assert_true(position_epoch_of(POSITION_EPOCH_MAX) == POSITION_EPOCH_MAX);
    /* The high bits count: here they take the low ones away. */
    assert_true(position_epoch_of(UINT64_C(1) << 48 | 1) == 1);
    assert_true(position_epoch_of(UINT64_C(1) << 48) == 1);
    assert_true(position_epoch_of(UINT64_C(6) << 48 | 3) == 5);
    assert_true(position_epoch_of(UINT64_MAX) == POSITION_EPOCH_MAX - 0xffff);
}

static void test_random_epochs_come_back(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 4);
    for (int i = 0; i < 100000; i++) {
        char text[POSITION_EPOCH_LEN];
        uint64_t back = 0;
        uint64_t epoch = position_epoch_of(rand_next(&r));
        assert_true(epoch > 0 && epoch <= POSITION_EPOCH_MAX);
        position_epoch_format(epoch, text);
        assert_int_equal(position_epoch_parse(str_n(text, sizeof(text)), &back),
                         0);
        assert_true(back == epoch);
    }
}

static void refuse(struct str text)
{
    uint64_t out = 99;
    assert_int_equal(position_epoch_parse(text, &out), ERR_INVALID);
    assert_true(out == 99);
}

static void test_what_no_epoch_looks_like(void **state)
{
    (void)state;
    refuse((struct str){NULL, 0});
    refuse(STR_LIT("AAAAAAB"));
    refuse(STR_LIT("AAAAAAAAB"));
    refuse(STR_LIT("AAAAAAAA")); /* 0 */
    refuse(STR_LIT("AAAAAA B"));
    refuse(STR_LIT("AAAAAA+B"));
    refuse(STR_LIT("AAAAAA/B"));
    refuse(STR_LIT("AAAAAAB="));
    refuse(STR_LIT("AAAAAA\0B"));
    refuse(STR_LIT("AAAAAA:1"));
    refuse(STR_LIT("AAAAAA\xc3\xa4"));
}

static void test_every_byte_is_a_letter_or_refused(void **state)
{
    (void)state;
    int letters = 0;
    for (int byte = 0; byte < 256; byte++) {
        char text[POSITION_EPOCH_LEN] = {'B', 'B', 'B', 'B', 'B', 'B', 'B'};
        char back[POSITION_EPOCH_LEN];
        uint64_t epoch;
        text[7] = (char)byte;
        if (position_epoch_parse(str_n(text, sizeof(text)), &epoch) < 0)
            continue;
        position_epoch_format(epoch, back);
        assert_memory_equal(back, text, sizeof(text));
        letters++;
    }
    assert_int_equal(letters, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_text_of_an_epoch),
        cmocka_unit_test(test_any_bits_become_an_epoch),
        cmocka_unit_test(test_random_epochs_come_back),
        cmocka_unit_test(test_what_no_epoch_looks_like),
        cmocka_unit_test(test_every_byte_is_a_letter_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
