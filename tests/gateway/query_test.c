/* http_query_next: names and values of a query or form. */
#include "gateway/transport/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

static const struct {
    const char *query;
    const char *pairs; /* name=value; of all that were read */
    bool bad;
} queries[] = {
    {"", "", false},
    {"&&&", "", false},
    {"a", "a=;", false},
    {"a=", "a=;", false},
    {"=b", "=b;", false},
    {"=", "=;", false},
    {"a=b", "a=b;", false},
    {"a=b=c", "a=b=c;", false},
    {"a=b&a=c", "a=b;a=c;", false},
    {"&a=b&&c=d&", "a=b;c=d;", false},
    {"a+b=c+d", "a b=c d;", false},
    {"%41%2b=%26%3D%3d", "A+=&==;", false},
    {"a=%E2%82%AC", "a=\xE2\x82\xAC;", false},
    {"a=%zz", "", true},
    {"a=%4", "", true},
    {"a=%", "", true},
    {"a=%%41", "", true},
    {"%4g=b", "", true},
    {"a=b&c=%", "a=b;", true},
};

static void test_query(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        size_t n = strlen(queries[i].query);
        char *copy = mem_alloc(n + 1);
        memcpy(copy, queries[i].query, n);
        struct str query = str_n(copy, n);
        struct str name;
        struct str value;
        struct buf text = BUF_INIT;
        struct buf pairs = BUF_INIT;
        bool bad = false;
        buf_reserve(&text, n + 1);
        while (http_query_next(&query, &text, &name, &value, &bad) && !bad)
            buf_printf(&pairs, "%.*s=%.*s;", STR_ARG(name), STR_ARG(value));
        if (bad != queries[i].bad ||
            !str_eq(buf_view(&pairs), str_of(queries[i].pairs)))
            fail_msg("%s: %.*s", queries[i].query, STR_ARG(buf_view(&pairs)));
        buf_free(&text);
        buf_free(&pairs);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_query)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
