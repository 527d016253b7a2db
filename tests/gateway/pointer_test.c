/* RFC 6901 on text, and the names of items. */
#include "gateway/protocol/pointer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"

static struct json_value parse(struct str text)
{
    struct json_value v;
    assert_int_equal(json_parse(text, &v), 0);
    return v;
}

/* The document of RFC 6901, section 5. */
static const char document[] =
    "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,"
    "\"g|h\":4,\"i\\\\j\":5,\"k\\\"l\":6,\" \":7,\"m~n\":8}";

static const struct {
    const char *text;
    const char *pointer;
    const char *value; /* NULL: none */
} rows[] = {
    {document, "", document},
    {document, "/foo", "[\"bar\",\"baz\"]"},
    {document, "/foo/0", "\"bar\""},
    {document, "/", "0"},
    {document, "/a~1b", "1"},
    {document, "/c%d", "2"},
    {document, "/e^f", "3"},
    {document, "/g|h", "4"},
    {document, "/i\\j", "5"},
    {document, "/k\"l", "6"},
    {document, "/ ", "7"},
    {document, "/m~0n", "8"},
    /* arrays */
    {document, "/foo/1", "\"baz\""},
    {document, "/foo/2", NULL},
    {document, "/foo/-", NULL},
    {document, "/foo/00", NULL},
    {document, "/foo/01", NULL},
    {document, "/foo/+1", NULL},
    {document, "/foo/-0", NULL},
    {document, "/foo/1e0", NULL},
    {document, "/foo/ 1", NULL},
    {document, "/foo/", NULL},
    {document, "/foo/18446744073709551616", NULL},
    {document, "/foo/18446744073709551615", NULL},
    {"[[1,[2]],{\"0\":3}]", "/0/1/0", "2"},
    {"[[1,[2]],{\"0\":3}]", "/1/0", "3"},
    {"[0,1,2,3,4,5,6,7,8,9,[10]]", "/10/0", "10"},
    {"[]", "/0", NULL},
    /* objects take such names as they stand */
    {"{\"-\":1,\"01\":2}", "/-", "1"},
    {"{\"-\":1,\"01\":2}", "/01", "2"},
    {"{\"a\":{\"a\":1}}", "/a/a", "1"},
    {"{\"\":{\"\":1}}", "//", "1"},
    {"{\"a\":{\"b\":1},\"a\":{\"c\":2}}", "/a/c", "2"},
    {"{\"a\":{\"b\":1},\"a\":{\"c\":2}}", "/a/b", NULL},
    {"{\"\\u0061\":1}", "/a", "1"},
    {"{ \"a\" : [ 1 , { \"b\" : 2 } ] }", "/a/1/b", "2"},
    {"{\"~\":1,\"/\":2,\"~1\":3}", "/~0", "1"},
    {"{\"~\":1,\"/\":2,\"~1\":3}", "/~1", "2"},
    {"{\"~\":1,\"/\":2,\"~1\":3}", "/~01", "3"},
    {"{\"a\":null}", "/a", "null"},
    {"{\"a\":null}", "/a/b", NULL},
    {"{\"a\":\"text\"}", "/a/0", NULL},
    {"1", "", "1"},
    {"1", "/", NULL},
    /* what is no pointer */
    {"{\"a\":1}", "a", NULL},
    {"{\"a\":1}", "#/a", NULL},
    {"{\"~\":1}", "/~", NULL},
    {"{\"~2\":1}", "/~2", NULL},
    {"{\"a~\":1}", "/a~", NULL},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_value v = {JSON_NULL, STR_LIT("")};
        bool found = pointer_find(str_of(rows[i].pointer),
                                  parse(str_of(rows[i].text)), &v);
        if (found != !!rows[i].value || !str_eq(v.raw, str_of(rows[i].value)))
            fail_msg("%s in %s: %.*s", rows[i].pointer, rows[i].text,
                     STR_ARG(v.raw));
    }
}

static const struct {
    const char *data;
    const char *item; /* of /k; NULL: none */
} items[] = {
    {"{\"k\":\"EURUSD\",\"x\":1}", "\"EURUSD\""},
    {"{\"k\":\"\\u0045UR\\/USD\"}", "\"EUR/USD\""},
    {"{\"k\":\"EUR/USD\"}", "\"EUR/USD\""},
    {"{\"k\":\"\\u000a\"}", "\"\\n\""},
    {"{\"k\":\"\\n\"}", "\"\\n\""},
    {"{\"k\":\"\\u0000\\u001F\\\"\\\\\"}", "\"\\u0000\\u001f\\\"\\\\\""},
    {"{\"k\":\"\\ud83d\\ude00\"}", "\"\xF0\x9F\x98\x80\""},
    {"{\"k\":\"\xF0\x9F\x98\x80\"}", "\"\xF0\x9F\x98\x80\""},
    {"{\"k\":\"\"}", "\"\""},
    {"{\"k\":5}", "5"},
    {"{\"k\":\"5\"}", "\"5\""},
    {"{\"k\": 5.0 }", "5.0"},
    {"{\"k\":12345678901234567890}", "12345678901234567890"},
    {"{\"k\":true}", "true"},
    {"{\"k\":false}", "false"},
    {" {\"k\":1,\"k\":2} ", "2"},
    {"{\"k\":null}", NULL},
    {"{\"k\":{}}", NULL},
    {"{\"k\":[1]}", NULL},
    {"{\"j\":1}", NULL},
    {"[1]", NULL},
    {"\"k\"", NULL},
    {"", NULL},
    {"{\"k\":1", NULL},
    {"{\"k\":1}x", NULL},
    {"{\"k\":\"\xFF\"}", NULL},
};

static void test_items(void **state)
{
    (void)state;
    struct buf scratch = BUF_INIT;
    struct str item;
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        item = STR_LIT("");
        bool found =
            pointer_item(STR_LIT("/k"), str_of(items[i].data), &scratch, &item);
        if (found != !!items[i].item || !str_eq(item, str_of(items[i].item)))
            fail_msg("%s: %.*s", items[i].data, STR_ARG(item));
    }
    assert_true(pointer_item(STR_LIT(""), STR_LIT(" 1 "), &scratch, &item));
    assert_true(str_eq(item, STR_LIT("1")));
    buf_free(&scratch);
}

/* --- random documents: each value's own pointer leads to it --------------- */

static struct rand random_state;

static uint32_t pick(uint32_t below)
{
    return (uint32_t)rand_below(&random_state, below);
}

static void random_value(struct buf *to, unsigned depth)
{
    static const char *const keys[] = {"a",       "~",        "/", "",
                                       "~1",      "\\u007e",  "0", "\\/b",
                                       "\\u0061", "\xC3\xA9", "-", "\\n"};
    uint32_t kind = depth ? pick(4) : 0;
    if (kind == 0) {
        buf_u64(to, pick(1000));
        return;
    }
    bool object = kind > 1;
    buf_char(to, object ? '{' : '[');
    for (uint32_t i = pick(8); i > 0; i--) {
        if (object)
            buf_printf(to, "\"%s\" :", keys[pick(ARRAY_LEN(keys))]);
        random_value(to, depth - 1);
        if (i > 1)
            buf_char(to, ',');
    }
    buf_char(to, object ? '}' : ']');
}

static void add_token(struct buf *pointer, struct str name)
{
    buf_char(pointer, '/');
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '~')
            buf_lit(pointer, "~0");
        else if (name.p[i] == '/')
            buf_lit(pointer, "~1");
        else
            buf_char(pointer, name.p[i]);
    }
}

/* Returns how many values were looked up. `pointer` leads to v. */
static size_t look_up_all(struct buf *pointer, struct json_value v,
                          struct json_value root)
{
    struct json_value found;
    struct json_value child;
    struct str key;
    size_t count = 1;
    size_t n = pointer->n;
    assert_true(pointer_find(buf_view(pointer), root, &found));
    assert_true(found.raw.p == v.raw.p && found.raw.n == v.raw.n);
    struct json_iter it = json_iter(v);
    for (size_t i = 0; json_next_item(&it, &child); i++, pointer->n = n) {
        buf_printf(pointer, "/%zu", i);
        count += look_up_all(pointer, child, root);
    }
    while (json_next_member(&it, &key, &child)) {
        struct buf scratch = BUF_INIT;
        struct json_value last;
        struct str name;
        assert_int_equal(
            json_text((struct json_value){JSON_STRING, key}, &scratch, &name),
            0);
        add_token(pointer, name);
        if (json_member(v, name, &last) && last.raw.p == child.raw.p)
            count += look_up_all(pointer, child, root);
        pointer->n = n;
        buf_free(&scratch);
    }
    return count;
}

static void test_random(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    struct buf pointer = BUF_INIT;
    size_t count = 0;
    rand_init(&random_state, 0x5EED6901);
    for (int round = 0; round < 2000; round++) {
        buf_clear(&text);
        buf_clear(&pointer);
        random_value(&text, 5);
        struct json_value root = parse(buf_view(&text));
        count += look_up_all(&pointer, root, root);
    }
    assert_true(count > 10000);
    buf_free(&text);
    buf_free(&pointer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
