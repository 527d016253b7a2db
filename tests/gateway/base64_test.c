#include "gateway/auth/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"

static void check_url(struct str bytes, const char *text)
{
    struct buf to = BUF_INIT;
    struct buf back = BUF_INIT;
    buf_lit(&to, "<");
    base64url_encode(&to, bytes);
    assert_true(str_eq(str_skip(buf_view(&to), 1), str_of(text)));
    buf_lit(&back, "<");
    assert_int_equal(base64url_decode(&back, str_of(text)), 0);
    assert_true(str_eq(str_skip(buf_view(&back), 1), bytes));
    buf_free(&back);
    buf_free(&to);
}

static void test_url_text(void **state)
{
    (void)state;
    /* RFC 4648, 10, and what the alphabets have not in common. */
    check_url(STR_LIT(""), "");
    check_url(STR_LIT("f"), "Zg");
    check_url(STR_LIT("fo"), "Zm8");
    check_url(STR_LIT("foo"), "Zm9v");
    check_url(STR_LIT("foob"), "Zm9vYg");
    check_url(STR_LIT("fooba"), "Zm9vYmE");
    check_url(STR_LIT("foobar"), "Zm9vYmFy");
    check_url(STR_LIT("\xfb\xff"), "-_8");
    check_url(STR_LIT("\xff\xff\xff"), "____");
    check_url(STR_LIT("\0\0\0\0"), "AAAAAA");
}

static void refuse_url(struct str text)
{
    struct buf to = BUF_INIT;
    buf_lit(&to, "kept");
    assert_int_equal(base64url_decode(&to, text), ERR_INVALID);
    assert_true(str_eq(buf_view(&to), STR_LIT("kept")));
    buf_free(&to);
}

static void test_what_is_no_url_text(void **state)
{
    (void)state;
    refuse_url(STR_LIT("A"));
    refuse_url(STR_LIT("AAAAA"));
    refuse_url(STR_LIT("Zg=="));
    refuse_url(STR_LIT("Zg="));
    refuse_url(STR_LIT("Zm8="));
    refuse_url(STR_LIT("===="));
    refuse_url(STR_LIT("+/8"));
    refuse_url(STR_LIT("AA+A"));
    refuse_url(STR_LIT("AA/A"));
    refuse_url(STR_LIT("A=AA"));
    refuse_url(STR_LIT(" AAAA"));
    refuse_url(STR_LIT("AAA\n"));
    refuse_url(STR_LIT("AA\0A"));
    refuse_url(STR_LIT("AA\xff\x41"));
    refuse_url(STR_LIT("Zh")); /* spare bits */
    refuse_url(STR_LIT("Zm9"));
}

static void test_random_bytes_come_back(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 64);
    for (int i = 0; i < 20000; i++) {
        char bytes[100];
        struct buf text = BUF_INIT;
        struct buf back = BUF_INIT;
        size_t n = rand_below(&r, sizeof(bytes));
        for (size_t k = 0; k < n; k++)
            bytes[k] = (char)rand_next(&r);
        base64url_encode(&text, str_n(bytes, n));
        assert_int_equal(text.n, (n * 8 + 5) / 6);
        assert_int_equal(base64url_decode(&back, buf_view(&text)), 0);
        assert_true(str_eq(buf_view(&back), str_n(bytes, n)));
        buf_free(&back);
        buf_free(&text);
    }
}

/* The standard one, which API requests use. */
static void test_standard_text(void **state)
{
    (void)state;
    struct buf to = BUF_INIT;
    assert_int_equal(base64_decode(&to, STR_LIT("+/8=")), 0);
    assert_int_equal(base64_decode(&to, STR_LIT("Zm9v")), 0);
    assert_true(str_eq(buf_view(&to), STR_LIT("\xfb\xff"
                                              "foo")));
    assert_int_equal(base64_decode(&to, STR_LIT("-_8=")), ERR_INVALID);
    assert_int_equal(base64_decode(&to, STR_LIT("+/8")), ERR_INVALID);
    assert_int_equal(base64_decode(&to, STR_LIT(" +/8")), ERR_INVALID);
    assert_int_equal(to.n, 5);
    buf_free(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_text),
        cmocka_unit_test(test_what_is_no_url_text),
        cmocka_unit_test(test_random_bytes_come_back),
        cmocka_unit_test(test_standard_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
