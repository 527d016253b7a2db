/* RFC 7396 on text: what becomes of the values as jansson sees them, and of
 * the bytes nobody had to touch. */
#include "gateway/protocol/merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <jansson.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"

#define DEPTH_MAX 64 /* JSON_MAX_DEPTH; its header cannot stand by jansson's */

static struct str merge(struct buf *to, struct str state, struct str patch)
{
    buf_clear(to);
    assert_int_equal(merge_patch(to, state, patch, SIZE_MAX), 0);
    return buf_view(to);
}

static const struct {
    const char *state;
    const char *patch;
    const char *result;
} rfc[] = {
    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
     "{\"a\":{\"b\":\"d\"}}"},
    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
    {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
    {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
    {"{\"a\":\"foo\"}", "null", "null"},
    {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
    {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
    {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    /* the example of its section 3 */
    {"{\"title\":\"Goodbye!\",\"author\":{\"givenName\":\"John\","
     "\"familyName\":\"Doe\"},\"tags\":[\"example\",\"sample\"],"
     "\"content\":\"This will be unchanged\"}",
     "{\"title\":\"Hello!\",\"phoneNumber\":\"+01-123-456-7890\","
     "\"author\":{\"familyName\":null},\"tags\":[\"example\"]}",
     "{\"title\":\"Hello!\",\"author\":{\"givenName\":\"John\"},"
     "\"tags\":[\"example\"],\"content\":\"This will be unchanged\","
     "\"phoneNumber\":\"+01-123-456-7890\"}"},
};

static const struct {
    const char *state;
    const char *patch;
    const char *result;
} texts[] = {
    /* nothing is known */
    {"", "{\"a\":1,\"b\":null}", "{\"a\":1}"},
    {"", "5", "5"},
    {"null", "{}", "{}"},
    {"3", "{\"a\":{\"b\":null}}", "{\"a\":{}}"},
    {"{}", "{}", "{}"},
    /* numbers, strings and untouched values keep their bytes */
    {"{\"a\":1e400,\"b\":12345678901234567890.000,\"c\":\"\\/\\u0041\"}",
     "{\"d\":-0,\"e\":1.10}",
     "{\"a\":1e400,\"b\":12345678901234567890.000,\"c\":\"\\/\\u0041\","
     "\"d\":-0,\"e\":1.10}"},
    {"{\"a\": { \"x\" : 1 , \"x\":2 } ,\"b\":[ 1 , { } ]}", "{\"c\":[ null ]}",
     "{\"a\":{ \"x\" : 1 , \"x\":2 },\"b\":[ 1 , { } ],\"c\":[ null ]}"},
    {" { \"a\" : { \"b\" : 1 , \"c\" : [ 2 ] } } ", " { \"a\" : { } } ",
     "{\"a\":{\"b\":1,\"c\":[ 2 ]}}"},
    /* nulls in arrays are values */
    {"{\"a\":1}", "{\"a\":[null,{\"b\":null}]}", "{\"a\":[null,{\"b\":null}]}"},
    {"[1]", "[{\"a\":null}]", "[{\"a\":null}]"},
    /* order: the state's, then the patch's */
    {"{\"z\":1,\"y\":2,\"x\":3}", "{\"b\":4,\"x\":5,\"a\":6,\"z\":7}",
     "{\"z\":7,\"y\":2,\"x\":5,\"b\":4,\"a\":6}"},
    {"{\"a\":1,\"b\":2,\"c\":3}", "{\"b\":null}", "{\"a\":1,\"c\":3}"},
    {"{\"a\":1}", "{\"a\":null,\"b\":null}", "{}"},
    /* names are what they spell */
    {"{\"A\":1}", "{\"\\u0041\":2}", "{\"A\":2}"},
    {"{\"\\u0041\":1,\"b\":2}", "{\"A\":null}", "{\"b\":2}"},
    {"{\"\\u0041\":1}", "{\"A\":2}", "{\"\\u0041\":2}"},
    {"{\"\":1}", "{\"\":2,\" \":3}", "{\"\":2,\" \":3}"},
    {"{\"a\\u0000b\":1}", "{\"a\\u0000c\":2,\"a\\u0000b\":3}",
     "{\"a\\u0000b\":3,\"a\\u0000c\":2}"},
    {"{\"\\ud83d\\ude00\":1}", "{\"\xF0\x9F\x98\x80\":2}",
     "{\"\\ud83d\\ude00\":2}"},
    {"{\"\\n\":1,\"\\\"\":2}", "{\"\\u000a\":3,\"\\u0022\":4}",
     "{\"\\n\":3,\"\\\"\":4}"},
    /* of a repeated name the last counts, and it comes once */
    {"{\"a\":1,\"b\":2,\"a\":3}", "{}", "{\"a\":3,\"b\":2}"},
    {"{\"a\":1,\"\\u0061\":2}", "{\"b\":3}", "{\"a\":2,\"b\":3}"},
    {"{}", "{\"a\":1,\"a\":{\"b\":1,\"b\":2}}", "{\"a\":{\"b\":2}}"},
    {"{\"a\":0}", "{\"a\":1,\"a\":null}", "{}"},
    {"{\"a\":0}", "{\"a\":null,\"a\":1}", "{\"a\":1}"},
    {"{\"a\":{\"x\":1}}", "{\"a\":{\"b\":1},\"a\":{\"c\":2}}",
     "{\"a\":{\"x\":1,\"c\":2}}"},
    {"{\"a\":{\"x\":1},\"a\":{\"y\":1}}", "{\"a\":{\"c\":2}}",
     "{\"a\":{\"y\":1,\"c\":2}}"},
    {"{\"a\":{\"x\":1},\"a\":5}", "{\"a\":{\"c\":2}}", "{\"a\":{\"c\":2}}"},
    {"{\"a\":5,\"a\":{\"x\":1}}", "{\"a\":{\"c\":2}}",
     "{\"a\":{\"x\":1,\"c\":2}}"},
    /* a value changes its kind, both ways */
    {"{\"a\":{\"b\":1}}", "{\"a\":2}", "{\"a\":2}"},
    {"{\"a\":2}", "{\"a\":{\"b\":1,\"c\":null}}", "{\"a\":{\"b\":1}}"},
    {"{\"a\":[{\"b\":1}]}", "{\"a\":{\"b\":2}}", "{\"a\":{\"b\":2}}"},
    {"{\"a\":\"}\",\"b\":{\"c\":\"]{\"}}", "{\"b\":{\"d\":\"[\\\"\"}}",
     "{\"a\":\"}\",\"b\":{\"c\":\"]{\",\"d\":\"[\\\"\"}}"},
};

static void check_row(const char *state, const char *patch, const char *result)
{
    struct buf b = BUF_INIT;
    struct str have = merge(&b, str_of(state), str_of(patch));
    if (!str_eq(have, str_of(result)))
        fail_msg("%s\n+ %s\n= %.*s\nnot %s", state, patch, STR_ARG(have),
                 result);
    buf_free(&b);
}

static void test_rfc(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rfc); i++)
        check_row(rfc[i].state, rfc[i].patch, rfc[i].result);
}

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        check_row(texts[i].state, texts[i].patch, texts[i].result);
}

/* Too big or no JSON: what was in the buffer is all that is. */
static void test_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {"{", "", " ", "{}{}", "nul", "{a:1}"};
    struct buf b = BUF_INIT;
    struct str s = STR_LIT("{\"a\":1}");
    buf_lit(&b, "before");
    assert_int_equal(merge_patch(&b, s, STR_LIT("{\"b\":2}"), 12), ERR_TOO_BIG);
    assert_true(str_eq(buf_view(&b), STR_LIT("before")));
    assert_int_equal(merge_patch(&b, s, STR_LIT("{\"b\":2}"), 13), 0);
    assert_true(str_eq(buf_view(&b), STR_LIT("before{\"a\":1,\"b\":2}")));
    assert_int_equal(merge_patch(&b, s, STR_LIT(" \"text\" "), 5), ERR_TOO_BIG);
    assert_int_equal(merge_patch(&b, s, STR_LIT("{}"), 0), ERR_TOO_BIG);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(merge_patch(&b, s, str_of(bad[i]), 99), ERR_INVALID);
        if (*bad[i])
            assert_int_equal(merge_patch(&b, str_of(bad[i]), s, 99),
                             ERR_INVALID);
    }
    assert_int_equal(b.n, 19);
    buf_free(&b);
}

/* {"a":{"a":…<leaf>…}} with `levels` objects in one another. */
static void nest(struct buf *to, unsigned levels, const char *leaf)
{
    buf_clear(to);
    for (unsigned i = 1; i < levels; i++)
        buf_lit(to, "{\"a\":");
    buf_str(to, str_of(leaf));
    for (unsigned i = 1; i < levels; i++)
        buf_char(to, '}');
}

static void test_depth(void **state)
{
    (void)state;
    struct buf s = BUF_INIT;
    struct buf p = BUF_INIT;
    struct buf want = BUF_INIT;
    struct buf b = BUF_INIT;
    nest(&s, DEPTH_MAX, "{\"b\":1,\"c\":[]}");
    assert_int_equal(merge_patch(&b, STR_LIT(""), buf_view(&s), 9999),
                     ERR_INVALID);
    nest(&s, DEPTH_MAX, "{\"b\":1,\"c\":2}");
    nest(&p, DEPTH_MAX, "{\"d\":3,\"b\":null}");
    nest(&want, DEPTH_MAX, "{\"c\":2,\"d\":3}");
    struct str have = merge(&b, buf_view(&s), buf_view(&p));
    assert_true(str_eq(have, buf_view(&want)));
    nest(&want, DEPTH_MAX, "{\"d\":3}");
    have = merge(&b, STR_LIT("[]"), buf_view(&p));
    assert_true(str_eq(have, buf_view(&want)));
    nest(&p, DEPTH_MAX, "{}");
    have = merge(&b, buf_view(&s), buf_view(&p));
    assert_true(str_eq(have, buf_view(&s)));
    buf_free(&s);
    buf_free(&p);
    buf_free(&want);
    buf_free(&b);
}

#define MANY 8000

/* The state has the names 0..MANY-1; the patch every second of them in
 * another spelling and MANY new ones, and deletes each third it names. */
static void test_many_members(void **state)
{
    (void)state;
    struct buf s = BUF_INIT;
    struct buf p = BUF_INIT;
    struct buf want = BUF_INIT;
    struct buf b = BUF_INIT;
    for (unsigned i = 0; i < 2 * MANY; i++) {
        bool is_known = i < MANY;
        bool is_patched = !is_known || i % 2;
        bool is_deleted = is_patched && i % 3 == 0;
        if (is_known)
            buf_printf(&s, "%c\"n%u\":1", s.n ? ',' : '{', i);
        if (is_patched)
            buf_printf(&p, "%c\"%s%u\":%s", p.n ? ',' : '{',
                       is_known ? "\\u006e" : "n", i,
                       is_deleted ? "null" : "2");
        if (!is_deleted)
            buf_printf(&want, "%c\"n%u\":%d", want.n ? ',' : '{', i,
                       is_patched ? 2 : 1);
    }
    buf_char(&s, '}');
    buf_char(&p, '}');
    buf_char(&want, '}');
    struct str have = merge(&b, buf_view(&s), buf_view(&p));
    assert_true(str_eq(have, buf_view(&want)));
    have = merge(&b, buf_view(&want), buf_view(&p));
    assert_true(str_eq(have, buf_view(&want)));
    buf_free(&s);
    buf_free(&p);
    buf_free(&want);
    buf_free(&b);
}

/* --- against jansson ------------------------------------------------------ */

static struct rand random_state;

static uint32_t pick(uint32_t below)
{
    return (uint32_t)rand_below(&random_state, below);
}

/* The same names in several spellings. */
static void random_key(struct buf *to)
{
    static const char *const keys[] = {"\"a\"",
                                       "\"\\u0061\"",
                                       "\"b\"",
                                       "\"\"",
                                       "\"\xC3\xA9\"",
                                       "\"\\u00e9\"",
                                       "\"\\n\"",
                                       "\"\\u000A\"",
                                       "\"\\\\\"",
                                       "\"\\u005c\"",
                                       "\"/\"",
                                       "\"\\/\"",
                                       "\"\\ud83d\\ude00\"",
                                       "\"\xF0\x9F\x98\x80\"",
                                       "\"{\"",
                                       "\"]\""};
    if (pick(3))
        buf_str(to, str_of(keys[pick(ARRAY_LEN(keys))]));
    else
        buf_printf(to, "\"name %u\"", pick(40));
}

static void random_value(struct buf *to, unsigned depth);

/* Names repeat here. */
static void random_object(struct buf *to, unsigned depth)
{
    uint32_t count = pick(4) ? pick(4) : pick(40);
    buf_char(to, '{');
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            buf_str(to, pick(4) ? STR_LIT(",") : STR_LIT(" ,\t"));
        random_key(to);
        buf_str(to, pick(4) ? STR_LIT(":") : STR_LIT(" : "));
        random_value(to, depth - 1);
    }
    buf_char(to, '}');
}

static void random_value(struct buf *to, unsigned depth)
{
    static const char *const plain[] = {"null",
                                        "null",
                                        "true",
                                        "false",
                                        "0",
                                        "-1.50",
                                        "7e1",
                                        "\"\"",
                                        "\"}\\\"\"",
                                        "\"\\u0041\"",
                                        "[]",
                                        "[null,[1],{}]",
                                        "[{\"a\":null},\"]\"]",
                                        "{}",
                                        "{\"a\":null}"};
    if (depth == 0 || pick(3))
        buf_str(to, str_of(plain[pick(ARRAY_LEN(plain))]));
    else
        random_object(to, depth);
}

static void random_document(struct buf *to)
{
    buf_clear(to);
    if (pick(16))
        random_object(to, 4);
    else
        random_value(to, 3);
}

static json_t *load(struct str text, size_t flags)
{
    json_error_t e;
    json_t *j = json_loadb(text.p, text.n, JSON_DECODE_ANY | flags, &e);
    if (!j)
        fail_msg("%s: %.*s", e.text, STR_ARG(text));
    return j;
}

/* The pseudo code of RFC 7396, section 2. */
static json_t *naive(const json_t *target, json_t *patch)
{
    const char *name;
    json_t *value;
    if (!json_is_object(patch))
        return json_deep_copy(patch);
    json_t *result =
        json_is_object(target) ? json_deep_copy(target) : json_object();
    json_object_foreach(patch, name, value) {
        if (json_is_null(value))
            json_object_del(result, name);
        else
            json_object_set_new(result, name,
                                naive(json_object_get(result, name), value));
    }
    return result;
}

static void compare(struct str state, struct str patch, struct str result,
                    size_t flags)
{
    json_t *s = state.n ? load(state, 0) : json_null();
    json_t *p = load(patch, 0);
    json_t *have = load(result, flags);
    json_t *want = naive(s, p);
    if (!json_equal(have, want))
        fail_msg("%.*s\n+ %.*s\n= %.*s", STR_ARG(state), STR_ARG(patch),
                 STR_ARG(result));
    json_decref(s);
    json_decref(p);
    json_decref(have);
    json_decref(want);
}

static void test_random(void **state)
{
    (void)state;
    struct buf raw = BUF_INIT;
    struct buf clean = BUF_INIT;
    struct buf patch = BUF_INIT;
    struct buf once = BUF_INIT;
    struct buf twice = BUF_INIT;
    rand_init(&random_state, 0x5EED7396);
    for (int round = 0; round < 5000; round++) {
        random_document(&raw);
        random_document(&patch);
        struct str p = buf_view(&patch);
        compare(buf_view(&raw), p, merge(&once, buf_view(&raw), p), 0);
        /* A state that only merges made has each name once. */
        struct str s = merge(&clean, STR_LIT(""), buf_view(&raw));
        compare(STR_LIT(""), buf_view(&raw), s, JSON_REJECT_DUPLICATES);
        struct str r = merge(&once, s, p);
        compare(s, p, r, JSON_REJECT_DUPLICATES);
        /* The same patch again changes no byte. */
        assert_true(str_eq(merge(&twice, r, p), r));
    }
    buf_free(&raw);
    buf_free(&clean);
    buf_free(&patch);
    buf_free(&once);
    buf_free(&twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc),          cmocka_unit_test(test_texts),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_depth),
        cmocka_unit_test(test_many_members), cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
