/* The scanner and jansson must agree on random documents, whole and
 * mutilated. The two share names, so those of the scanner's header are set
 * aside while it is read. */
#define JSON_NULL OUR_NULL
#define JSON_FALSE OUR_FALSE
#define JSON_TRUE OUR_TRUE
#define JSON_NUMBER OUR_NUMBER
#define JSON_STRING OUR_STRING
#define JSON_ARRAY OUR_ARRAY
#define JSON_OBJECT OUR_OBJECT
#include "gateway/protocol/json.h"
#undef JSON_NULL
#undef JSON_FALSE
#undef JSON_TRUE
#undef JSON_NUMBER
#undef JSON_STRING
#undef JSON_ARRAY
#undef JSON_OBJECT

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <jansson.h>
#include <cmocka.h>

#include "base/mem.h"

static uint64_t random_state;

static uint32_t pick(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % below;
}

static void random_space(struct buf *to)
{
    while (pick(8) == 0)
        buf_char(to, " \t\r\n"[pick(4)]);
}

static void random_string(struct buf *to)
{
    static const char *const pieces[] = {"a",
                                         "key",
                                         "\\n",
                                         "\\\"",
                                         "\\\\",
                                         "\\/",
                                         "\\u0041",
                                         "\\u0000",
                                         "\\u00e9",
                                         "\xC3\xA9",
                                         "\\ud83d\\udca9",
                                         "\\ud83d",
                                         "0123456789",
                                         "\xF0\x9F\x92\xA9",
                                         "[{",
                                         "]}",
                                         ",:",
                                         " "};
    buf_char(to, '"');
    while (pick(3))
        buf_str(to, str_of(pieces[pick(ARRAY_LEN(pieces))]));
    buf_char(to, '"');
}

static void random_number(struct buf *to)
{
    static const char *const pieces[] = {"0",
                                         "-0",
                                         "7",
                                         "-12",
                                         "1.5",
                                         "0.25",
                                         "1e5",
                                         "-2E-3",
                                         "3.0e+2",
                                         "9223372036854775807",
                                         "9223372036854775808",
                                         "1e400"};
    buf_str(to, str_of(pieces[pick(ARRAY_LEN(pieces))]));
}

static void random_value(struct buf *to, unsigned depth)
{
    uint32_t kind = pick(depth ? 8 : 5);
    random_space(to);
    if (kind < 3) {
        buf_str(to, str_of((const char *[]){"null", "true", "false"}[kind]));
    } else if (kind == 3) {
        random_number(to);
    } else if (kind == 4) {
        random_string(to);
    } else {
        bool object = kind > 5;
        buf_char(to, object ? '{' : '[');
        random_space(to);
        for (uint32_t i = pick(4); i > 0; i--) {
            if (object) {
                random_space(to);
                random_string(to);
                random_space(to);
                buf_char(to, ':');
            }
            random_value(to, depth - 1);
            if (i > 1)
                buf_char(to, ',');
        }
        buf_char(to, object ? '}' : ']');
    }
    random_space(to);
}

static void mutilate(struct buf *b)
{
    static const char alphabet[] =
        "{}[]:,\"\\ \n0159-+.eEutfnrl\x01\x80\xC3\xFF";
    size_t at = pick((uint32_t)b->n);
    char c = alphabet[pick(sizeof(alphabet))]; /* with the NUL at its end */
    switch (pick(4)) {
    case 0:
        b->p[at] = c;
        break;
    case 1:
        buf_char(b, c);
        memmove(b->p + at + 1, b->p + at, b->n - at - 1);
        b->p[at] = c;
        break;
    case 2:
        memmove(b->p + at, b->p + at + 1, b->n - at - 1);
        b->n--;
        break;
    default:
        b->n = at;
    }
}

static void compare_scalar(struct json_value v, const json_t *j,
                           struct buf *scratch)
{
    int64_t n = 0;
    struct str text;
    switch (v.type) {
    case OUR_NULL:
        assert_true(json_is_null(j));
        break;
    case OUR_FALSE:
        assert_true(json_is_false(j));
        break;
    case OUR_TRUE:
        assert_true(json_is_true(j));
        break;
    case OUR_NUMBER:
        assert_true(json_is_number(j));
        assert_int_equal(json_i64(v, &n) == 0, json_is_integer(j));
        assert_true(n == json_integer_value(j)); /* 0 for a real */
        break;
    default:
        assert_int_equal(json_text(v, scratch, &text), 0);
        assert_true(
            str_eq(text, str_n(json_string_value(j), json_string_length(j))));
    }
}

/* Both accepted the text: is it the same document? */
static void compare(struct json_value v, json_t *j, struct buf *scratch)
{
    struct json_value item;
    struct str key;
    struct json_iter it = json_iter(v);
    if (v.type == OUR_ARRAY) {
        size_t i = 0;
        while (json_next_item(&it, &item))
            compare(item, json_array_get(j, i++), scratch);
        assert_int_equal(i, json_array_size(j));
    } else if (v.type == OUR_OBJECT) {
        const char *name;
        json_t *child;
        json_object_foreach(j, name, child) {
            assert_true(json_member(v, str_of(name), &item));
            compare(item, child, scratch);
        }
        while (json_next_member(&it, &key, &item)) {
            struct json_value k = {OUR_STRING, key};
            struct str text;
            assert_int_equal(json_text(k, scratch, &text), 0);
            char *z = mem_strndup(text.p, text.n);
            assert_non_null(json_object_get(j, z));
            free(z);
        }
    } else {
        compare_scalar(v, j, scratch);
    }
}

/* jansson refuses what we document to take: numbers of any size, NUL in keys
 * and surrogates without their other half. */
static bool is_known_difference(const json_error_t *e)
{
    enum json_error_code code = json_error_code(e);
    return code == json_error_numeric_overflow ||
           code == json_error_null_byte_in_key ||
           strstr(e->text, "invalid Unicode '");
}

/* True when the text is accepted by both. */
static bool agree(struct str s, struct buf *scratch)
{
    struct json_value v;
    bool ours = json_parse(s, &v) == 0;
    if (s.n > 0 && memchr(s.p, '\0', s.n)) {
        /* jansson takes it for the end of the text behind a value. */
        assert_false(ours);
        return false;
    }
    json_error_t e;
    json_t *j = json_loadb(s.p, s.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (ours != !!j && (j || !is_known_difference(&e)))
        fail_msg("ours %d: %.*s (%s)", ours, STR_ARG(s), e.text);
    if (!j)
        return false;
    compare(v, j, scratch);
    json_decref(j);
    return true;
}

static void test_against_jansson(void **state)
{
    (void)state;
    random_state = 0x5EED0007;
    struct buf text = BUF_INIT;
    struct buf scratch = BUF_INIT;
    size_t both = 0;
    for (int round = 0; round < 200000; round++) {
        buf_clear(&text);
        buf_clear(&scratch);
        random_value(&text, 5);
        for (uint32_t i = pick(3); i > 0 && text.n > 0; i--)
            mutilate(&text);
        both += agree(buf_view(&text), &scratch);
    }
    assert_in_range(both, 40000, 160000);
    buf_free(&text);
    buf_free(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_jansson),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
