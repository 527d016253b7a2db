/* The walk that goes into what is nested without finding its end first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/protocol/json.h"

static void walk_in(struct json_iter *it, struct buf *seen)
{
    struct str key;
    enum json_type type;
    while (json_next_key(it, &key, &type)) {
        buf_str(seen, key);
        if (type == JSON_OBJECT) {
            struct json_iter inner = json_enter(it);
            buf_char(seen, '(');
            walk_in(&inner, seen);
            buf_char(seen, ')');
            json_leave(it, &inner);
            continue;
        }
        struct json_value v = json_take(it);
        assert_int_equal(v.type, type);
        buf_char(seen, '=');
        buf_str(seen, v.raw);
    }
}

static void test_walk_nested(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *seen;
    } table[] = {
        {"{}", ""},
        {"[{\"a\":1}]", ""},
        {"{\"a\":{}}", "\"a\"()"},
        {"{\"a\":{\"b\":{\"c\":1}},\"d\":[{\"e\":2}]}",
         "\"a\"(\"b\"(\"c\"=1))\"d\"=[{\"e\":2}]"},
        {" { \"a\" : { \"b\" : { } , \"c\" : 1 } , \"d\" : \"}\" } ",
         "\"a\"(\"b\"()\"c\"=1)\"d\"=\"}\""},
        {"{\"}\":{\"]\":true},\"\":null}", "\"}\"(\"]\"=true)\"\"=null"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct json_value v;
        struct buf seen = BUF_INIT;
        assert_int_equal(json_parse(str_of(table[i].text), &v), 0);
        struct json_iter it = json_iter(v);
        walk_in(&it, &seen);
        if (!str_eq(buf_view(&seen), str_of(table[i].seen)))
            fail_msg("%s: %.*s", table[i].text, STR_ARG(buf_view(&seen)));
        buf_free(&seen);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk_nested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
