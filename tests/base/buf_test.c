#include "base/buf.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"

#define MODEL_MAX 20000

static void assert_holds(const struct buf *b, const char *text)
{
    assert_true(str_eq(buf_view(b), str_of(text)));
}

static void test_appends(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_lit(&b, "a=");
    buf_u64(&b, 0);
    buf_char(&b, ' ');
    buf_u64(&b, UINT64_MAX);
    buf_char(&b, ' ');
    buf_i64(&b, INT64_MIN);
    buf_char(&b, ' ');
    buf_i64(&b, INT64_MAX);
    buf_str(&b, STR_LIT(" end"));
    assert_holds(&b, "a=0 18446744073709551615 -9223372036854775808 "
                     "9223372036854775807 end");
    buf_free(&b);
    assert_null(b.p);
}

static void test_printf_grows(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    char expected[400];
    snprintf(expected, sizeof(expected), "x%0300d|%s", 7, "tail");
    buf_char(&b, 'x');
    buf_printf(&b, "%0300d|%s", 7, "tail");
    assert_holds(&b, expected);
    buf_printf(&b, "%s", "");
    assert_holds(&b, expected);
    buf_free(&b);
}

static void test_numbers_like_printf(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 3);
    struct buf b = BUF_INIT;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t v = rand_next(&r) >> rand_below(&r, 64);
        char expected[64];
        snprintf(expected, sizeof(expected), "%" PRIu64 " %" PRId64, v,
                 (int64_t)v);
        buf_clear(&b);
        buf_u64(&b, v);
        buf_char(&b, ' ');
        buf_i64(&b, (int64_t)v);
        assert_holds(&b, expected);
    }
    buf_free(&b);
}

/* Nothing in, nothing out, without touching storage that is not there. */
static void test_empty(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    size_t n = 1;
    buf_add(&b, NULL, 0);
    buf_str(&b, (struct str){NULL, 0});
    buf_consume(&b, 0);
    buf_clear(&b);
    assert_int_equal(buf_view(&b).n, 0);
    assert_null(buf_take(&b, &n));
    assert_int_equal(n, 0);
    buf_free(&b);
}

static void test_take_leaves_it_empty(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    size_t n;
    buf_lit(&b, "mine");
    char *p = buf_take(&b, &n);
    assert_true(str_eq(str_n(p, n), STR_LIT("mine")));
    assert_null(b.p);
    buf_lit(&b, "new");
    assert_holds(&b, "new");
    free(p);
    buf_free(&b);
}

static void test_random_against_an_array(void **state)
{
    (void)state;
    static char model[MODEL_MAX];
    size_t n = 0;
    struct rand r;
    struct buf b = BUF_INIT;
    rand_init(&r, 4);
    for (unsigned i = 0; i < 200000; i++) {
        char piece[64];
        size_t add = rand_below(&r, sizeof(piece));
        size_t drop = rand_below(&r, 60);
        for (size_t k = 0; k < add; k++)
            piece[k] = (char)rand_next(&r);
        if (n + add <= MODEL_MAX) {
            memcpy(model + n, piece, add);
            n += add;
            buf_add(&b, piece, add);
        }
        if (rand_below(&r, 5000) == 0)
            drop = n;
        drop = drop < n ? drop : n;
        memmove(model, model + drop, n - drop);
        n -= drop;
        buf_consume(&b, drop);
        assert_true(str_eq(buf_view(&b), str_n(model, n)) && b.n <= b.cap);
    }
    buf_free(&b);
}

static void test_reserve_leaves_room(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_lit(&b, "ab");
    char *room = buf_reserve(&b, 1000);
    assert_ptr_equal(room, b.p + 2);
    memset(room, 'x', 1000);
    b.n += 1000;
    assert_int_equal(b.n, 1002);
    assert_memory_equal(b.p, "abx", 3);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_printf_grows),
        cmocka_unit_test(test_numbers_like_printf),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_take_leaves_it_empty),
        cmocka_unit_test(test_random_against_an_array),
        cmocka_unit_test(test_reserve_leaves_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
