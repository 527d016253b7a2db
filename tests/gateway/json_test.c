#include "gateway/protocol/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/utf8.h"

#define LIT(lit)                \
    {                           \
        "" lit, sizeof(lit) - 1 \
    }

static uint64_t random_state;

static uint32_t pick(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % below;
}

static void assert_str(struct str have, struct str want)
{
    if (!str_eq(have, want))
        fail_msg("[%.*s] is not [%.*s]", STR_ARG(have), STR_ARG(want));
}

/* Parse a copy that ends where its memory ends, so that the address
 * sanitizer sees a byte read too far. */
static bool accepts(struct str text)
{
    char *copy = mem_alloc(text.n ? text.n : 1);
    if (text.n)
        memcpy(copy, text.p, text.n);
    struct json_value v;
    int rc = json_parse(str_n(copy, text.n), &v);
    free(copy);
    assert_true(rc == 0 || rc == ERR_INVALID);
    return rc == 0;
}

static struct json_value parsed(struct str text)
{
    struct json_value v;
    if (json_parse(text, &v) != 0)
        fail_msg("refused: %.*s", STR_ARG(text));
    return v;
}

static const struct str good_texts[] = {
    LIT("null"),
    LIT("true"),
    LIT("false"),
    LIT("0"),
    LIT("-0"),
    LIT("\"\""),
    LIT("{}"),
    LIT("[]"),
    LIT(" \t\r\n[ \t\r\n] \t\r\n"),
    LIT("{ \n }"),
    LIT("7"),
    LIT("-7"),
    LIT("10"),
    LIT("0.0"),
    LIT("0.50"),
    LIT("-0.5"),
    LIT("1e0"),
    LIT("1E+00"),
    LIT("1e-07"),
    LIT("0e9"),
    LIT("12.5e10"),
    LIT("123456789012345678901234567890123456789012345678901234567890"),
    LIT("-1e99999999"),
    LIT("0.00000000000000000000000000000000000000001"),
    LIT("[1,2 , 3\n,4]"),
    LIT("[[],[[]],{}]"),
    LIT("[null,true,false]"),
    LIT("{\"a\":1}"),
    LIT("{ \"a\" : 1 , \"b\" : [ ] }"),
    LIT("{\"\":{\"\":{\"\":0}}}"),
    LIT("{\"a\":1,\"a\":2}"),
    LIT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    LIT("\"\\u0000\""),
    LIT("\"\\u00e9\\u00E9\\uABCD\\uabcd\""),
    LIT("\"\\ud83d\\udca9\""),
    LIT("\"\\ud83d\""),
    LIT("\"\\udca9\""),
    LIT("\"\\udca9\\ud83d\""),
    LIT("\"\x7F\""),
    LIT("\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x92\xA9\""),
    LIT("\"\xEF\xBB\xBF\xEF\xBF\xBF\xE2\x80\xA8\""),
    LIT("\"// no comment\""),
    LIT("\"0123456\xC3\xA9 123456\xE2\x82\xAC"
        "12345\xF0\x9F\x92\xA9\""),
    LIT("{\"\xC3\xA9\\n\":\"]}\",\"x\":\"[{\"}"),
    LIT("{\"publish\":{\"channel\":\"a\",\"data\":{\"x\":1}},\"id\":5}"),
};

static const struct str bad_texts[] = {
    /* nothing, or more than one value */
    LIT(""),
    LIT(" "),
    LIT("\n\t"),
    LIT("1 2"),
    LIT("{}{}"),
    LIT("[] x"),
    LIT("\"a\" \"b\""),
    LIT("null,"),
    LIT("{},"),
    LIT("\xEF\xBB\xBF{}"),
    LIT("[]\0"),
    LIT("\0[]"),
    LIT("[\0]"),
    LIT("[1\0]"),
    LIT("\f[]"),
    LIT("[\v]"),
    LIT("[]\xC2\xA0"),
    LIT("[\xE2\x80\xA8]"),
    LIT("\\"),
    /* words */
    LIT("nul"),
    LIT("nulll"),
    LIT("True"),
    LIT("NULL"),
    LIT("tru"),
    LIT("falsE"),
    LIT("undefined"),
    LIT("NaN"),
    LIT("Infinity"),
    LIT("nan"),
    LIT("[true false]"),
    LIT("n"),
    LIT("truefalse"),
    LIT("abc"),
    LIT("'a'"),
    /* numbers */
    LIT("-"),
    LIT("+1"),
    LIT("01"),
    LIT("-01"),
    LIT("00"),
    LIT("1."),
    LIT(".5"),
    LIT("-.5"),
    LIT("1.e3"),
    LIT("1e"),
    LIT("1e+"),
    LIT("1E-"),
    LIT("1e1.5"),
    LIT("--1"),
    LIT("-a"),
    LIT("0x10"),
    LIT("1_000"),
    LIT("1.2.3"),
    LIT("1a"),
    LIT("1e1e1"),
    LIT("- 1"),
    LIT("1 .5"),
    LIT("[1.]"),
    LIT("[-]"),
    LIT("[0e]"),
    LIT("-Infinity"),
    LIT("\xEF\xBC\x91"),
    /* strings */
    LIT("\""),
    LIT("\"a"),
    LIT("\"\\"),
    LIT("\"\\\""),
    LIT("\"\\u\""),
    LIT("\"\\u12\""),
    LIT("\"\\u123"),
    LIT("\"\\u123g\""),
    LIT("\"\\u 123\""),
    LIT("\"\\x41\""),
    LIT("\"\\a\""),
    LIT("\"\\'\""),
    LIT("\"\\0\""),
    LIT("\"\\U0041\""),
    LIT("\"\\\n\""),
    LIT("\"a\nb\""),
    LIT("\"a\0b\""),
    LIT("\"\t\""),
    LIT("\"\x1F\""),
    LIT("\"12345678\x01\""),
    LIT("\"\\\0\""),
    LIT("\"\\ud83d\\u\""),
    LIT("\"\\\xC3\xA9\""),
    LIT("\"\\u00\xC3\xA9\""),
    /* UTF-8 */
    LIT("\"\x80\""),
    LIT("\"\xC0\xAF\""),
    LIT("\"\xC3\""),
    LIT("\"\xC3"),
    LIT("\"\xE2\x82\""),
    LIT("\"\xED\xA0\x80\""),
    LIT("\"\xF4\x90\x80\x80\""),
    LIT("\"\xFF\""),
    LIT("\"caf\xE9\""),
    LIT("\"\xF0\x9F\x92"),
    LIT("\xC3\xA9"),
    LIT("\"\xC3\xA9\x80\""),
    LIT("{\"\xE9\":1}"),
    LIT("\"\xC3\xA9\n\""),
    /* arrays */
    LIT("["),
    LIT("]"),
    LIT("[1"),
    LIT("[1,"),
    LIT("[1,]"),
    LIT("[,]"),
    LIT("[,1]"),
    LIT("[1,,2]"),
    LIT("[1 2]"),
    LIT("[1]]"),
    LIT("[[1]"),
    LIT("[1}"),
    LIT("[\"a\":1]"),
    LIT("[1;2]"),
    LIT("[\"a"),
    LIT("[\"a\""),
    LIT("[]]"),
    LIT("[}"),
    LIT("[][]"),
    LIT("[ "),
    LIT("(1)"),
    LIT("[*]"),
    /* objects */
    LIT("{"),
    LIT("}"),
    LIT("{]"),
    LIT("{\"a\"}"),
    LIT("{\"a\":}"),
    LIT("{\"a\":1"),
    LIT("{\"a\":1,"),
    LIT("{\"a\":1,}"),
    LIT("{,}"),
    LIT("{a:1}"),
    LIT("{'a':1}"),
    LIT("{1:1}"),
    LIT("{null:1}"),
    LIT("{\"a\" 1}"),
    LIT("{\"a\",1}"),
    LIT("{\"a\"::1}"),
    LIT("{\"a\""),
    LIT("{\"a\":"),
    LIT("{\"a"),
    LIT("{\"a\":1 \"b\":2}"),
    LIT("{\"a\":1]"),
    LIT("{\"a\":1,,\"b\":2}"),
    LIT("{\"a\":1}}"),
    LIT("{[]:1}"),
    LIT("{\"a\":1,2}"),
    LIT("{\"a\":1;}"),
    LIT("{ "),
    LIT("{\"a\": }"),
    LIT("{{}}"),
    LIT("{:1}"),
    LIT("{\"a\"=1}"),
    LIT("{\"a\\\":1}"),
    /* dialects */
    LIT("[1]//x"),
    LIT("/**/[1]"),
    LIT("[/**/1]"),
    LIT("#\n1"),
    LIT("`a`"),
    LIT("{\"a\":1 /* b */}"),
    LIT("[...]"),
    LIT("<null>"),
    LIT("[1]#"),
};

static void test_accepts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good_texts); i++) {
        if (!accepts(good_texts[i]))
            fail_msg("refused: %.*s", STR_ARG(good_texts[i]));
    }
}

static void test_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_texts); i++) {
        if (accepts(bad_texts[i]))
            fail_msg("accepted: %.*s", STR_ARG(bad_texts[i]));
    }
    assert_false(accepts(str_of(NULL)));
}

/* A bad text stays bad as an item, and a good one good. */
static void test_wrapped(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good_texts) + ARRAY_LEN(bad_texts); i++) {
        bool good = i < ARRAY_LEN(good_texts);
        struct str text =
            good ? good_texts[i] : bad_texts[i - ARRAY_LEN(good_texts)];
        struct buf b = BUF_INIT;
        buf_lit(&b, "[{\"k\" :");
        buf_str(&b, text);
        buf_lit(&b, "},[ ]]");
        if (accepts(buf_view(&b)) != good)
            fail_msg("%.*s", STR_ARG(text));
        buf_free(&b);
    }
}

/* No proper beginning of a container or string is a value. */
static void test_cut_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good_texts); i++) {
        struct json_value v = parsed(good_texts[i]);
        if (v.type < JSON_STRING)
            continue;
        for (size_t n = 0; n < v.raw.n; n++)
            assert_false(accepts(str_n(v.raw.p, n)));
    }
}

static void nest(struct buf *to, size_t depth, const char *kinds)
{
    buf_clear(to);
    size_t n = strlen(kinds);
    for (size_t i = 0; i < depth; i++)
        buf_str(to, str_of(kinds[i % n] == '[' ? "[" : "{\"k\":"));
    buf_char(to, '1');
    for (size_t i = depth; i-- > 0;)
        buf_char(to, kinds[i % n] == '[' ? ']' : '}');
}

static void test_depth(void **state)
{
    (void)state;
    static const char *const kinds[] = {"[", "{", "[{", "{[[", "[{{[{"};
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        for (size_t depth = 0; depth <= JSON_MAX_DEPTH + 2; depth++) {
            nest(&b, depth, kinds[i]);
            assert_int_equal(accepts(buf_view(&b)), depth <= JSON_MAX_DEPTH);
        }
        nest(&b, JSON_MAX_DEPTH, kinds[i]); /* each bracket is remembered */
        for (size_t at = 0; at < b.n; at++) {
            char was = b.p[at];
            if (was != ']' && was != '}')
                continue;
            b.p[at] = was == ']' ? '}' : ']';
            assert_false(accepts(buf_view(&b)));
            b.p[at] = was;
        }
    }
    /* Neighbours do not add up. */
    buf_clear(&b);
    buf_lit(&b, "[0");
    for (int i = 0; i < 1000; i++)
        buf_lit(&b, ",[],{}");
    buf_char(&b, ']');
    assert_true(accepts(buf_view(&b)));
    buf_clear(&b);
    for (int i = 0; i < 200000; i++)
        buf_char(&b, '[');
    assert_false(accepts(buf_view(&b)));
    buf_free(&b);
}

/* Each interesting byte at each distance from the eight-byte steps. */
static void test_string_offsets(void **state)
{
    (void)state;
    for (size_t n = 3; n <= 42; n++) {
        for (size_t at = 1; at + 1 < n; at++) {
            for (int c = 0; c < 256; c++) {
                char text[48];
                memset(text, 'x', n);
                text[0] = text[n - 1] = '"';
                text[at] = (char)c;
                bool good = c >= ' ' && c < 0x80 && c != '"' && c != '\\';
                assert_int_equal(accepts(str_n(text, n)), good);
            }
        }
    }
}

static void test_types_and_slices(void **state)
{
    (void)state;
    static const struct {
        struct str text;
        enum json_type type;
        struct str raw;
    } cases[] = {
        {LIT(" null "), JSON_NULL, LIT("null")},
        {LIT("true"), JSON_TRUE, LIT("true")},
        {LIT("\nfalse"), JSON_FALSE, LIT("false")},
        {LIT("-1.5\t"), JSON_NUMBER, LIT("-1.5")},
        {LIT(" \"a \" "), JSON_STRING, LIT("\"a \"")},
        {LIT(" [ 1 ] "), JSON_ARRAY, LIT("[ 1 ]")},
        {LIT("\r{ }\r"), JSON_OBJECT, LIT("{ }")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_value v = parsed(cases[i].text);
        assert_int_equal(v.type, cases[i].type);
        assert_str(v.raw, cases[i].raw);
    }
}

static void test_parse_next(void **state)
{
    (void)state;
    struct str rest = STR_LIT(" {\"a\":1}\n[2]{}\"x\"\"y\" 3 4\nnull\n ");
    static const char *const want[] = {"{\"a\":1}", "[2]", "{}", "\"x\"",
                                       "\"y\"",     "3",   "4",  "null"};
    struct json_value v = {0};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_int_equal(json_parse_next(&rest, &v), 0);
        assert_str(v.raw, str_of(want[i]));
    }
    assert_int_equal(json_parse_next(&rest, &v), ERR_NOT_FOUND);
    rest = str_of(NULL);
    assert_int_equal(json_parse_next(&rest, &v), ERR_NOT_FOUND);

    static const char *const bad[] = {"01",     "1[",      "true{}", "nullnull",
                                      "1\"a\"", "}",       ",1",     "-",
                                      "[1}",    "{\"a\":1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        rest = str_of(bad[i]);
        assert_int_equal(json_parse_next(&rest, &v), ERR_INVALID);
        assert_str(rest, str_of(bad[i]));
        assert_str(v.raw, STR_LIT("null"));
    }
}

static void test_walk_object(void **state)
{
    (void)state;
    struct json_value v = parsed(STR_LIT(
        "{ \"a\" : 1 ,\"b\\\"}\":\"x\\\\\",\n\"\":[1,{\"c\":\"]\"}] ,\"d\":{}}"));
    static const char *const want[][2] = {
        {"\"a\"", "1"},
        {"\"b\\\"}\"", "\"x\\\\\""},
        {"\"\"", "[1,{\"c\":\"]\"}]"},
        {"\"d\"", "{}"},
    };
    struct json_iter it = json_iter(v);
    struct str key;
    struct json_value value;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(json_next_member(&it, &key, &value));
        assert_str(key, str_of(want[i][0]));
        assert_str(value.raw, str_of(want[i][1]));
    }
    assert_false(json_next_member(&it, &key, &value));
    assert_false(json_next_member(&it, &key, &value));
}

static void test_walk_array(void **state)
{
    (void)state;
    struct json_value v = parsed(
        STR_LIT("[ true,-1.5e3 ,null\n, \"a,]\",[[],[2]], {\"x\":[1]},\"\" ]"));
    static const char *const want[] = {
        "true", "-1.5e3", "null", "\"a,]\"", "[[],[2]]", "{\"x\":[1]}", "\"\""};
    static const enum json_type types[] = {
        JSON_TRUE,  JSON_NUMBER, JSON_NULL,  JSON_STRING,
        JSON_ARRAY, JSON_OBJECT, JSON_STRING};
    struct json_iter it = json_iter(v);
    struct json_value item;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(json_next_item(&it, &item));
        assert_str(item.raw, str_of(want[i]));
        assert_int_equal(item.type, types[i]);
    }
    assert_false(json_next_item(&it, &item));
}

static void test_walk_nothing(void **state)
{
    (void)state;
    static const char *const members[] = {
        "{}", "{ }", "[\"a\",\"b\"]", "[1]", "\"a\"", "1", "null", "\"\""};
    static const char *const items[] = {"[]",    "[\n]", "{\"a\":1}", "{}",
                                        "\"a\"", "1",    "true",      "0"};
    struct str key;
    struct json_value v;
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        struct json_iter it = json_iter(parsed(str_of(members[i])));
        assert_false(json_next_member(&it, &key, &v));
        assert_false(json_member(parsed(str_of(members[i])), STR_LIT("a"), &v));
        it = json_iter(parsed(str_of(items[i])));
        assert_false(json_next_item(&it, &v));
    }
}

static void test_key_is(void **state)
{
    (void)state;
    static const struct {
        struct str key;
        struct str name;
        bool is;
    } cases[] = {
        {LIT("\"channel\""), LIT("channel"), true},
        {LIT("\"chan\\u006eel\""), LIT("channel"), true},
        {LIT("\"chan\\u006Eel\""), LIT("channel"), true},
        {LIT("\"chan\\u006fel\""), LIT("channel"), false},
        {LIT("\"\\u0063\\u0068\""), LIT("ch"), true},
        {LIT("\"\\u0063\\u0068\""), LIT("c"), false},
        {LIT("\"\\u0063\\u0068\""), LIT("cha"), false},
        {LIT("\"Channel\""), LIT("channel"), false},
        {LIT("\"channe\""), LIT("channel"), false},
        {LIT("\"channels\""), LIT("channel"), false},
        {LIT("\"\""), LIT(""), true},
        {LIT("\"a\""), LIT(""), false},
        {LIT("\"\""), LIT("a"), false},
        {LIT("\"a\\/b\""), LIT("a/b"), true},
        {LIT("\"a\\nb\""), LIT("a\nb"), true},
        {LIT("\"a\\nb\""), LIT("a\\nb"), false},
        {LIT("\"a\\\\nb\""), LIT("a\\nb"), true},
        {LIT("\"\\u00e9\""), LIT("\xC3\xA9"), true},
        {LIT("\"\xC3\xA9\""), LIT("\xC3\xA9"), true},
        {LIT("\"\\ud83d\\udca9\""), LIT("\xF0\x9F\x92\xA9"), true},
        {LIT("\"\\ud83d\""), LIT("\xEF\xBF\xBD"), true},
        {LIT("\"a\\u0000b\""), LIT("a\0b"), true},
        {LIT("\"a\\u0000b\""), LIT("a"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (json_key_is(cases[i].key, cases[i].name) != cases[i].is)
            fail_msg("%.*s", STR_ARG(cases[i].key));
    }
}

static void test_member(void **state)
{
    (void)state;
    struct json_value v = parsed(STR_LIT(
        "{\"id\":1,\"x\":{\"id\":2},\"y\":\"\\\"id\\\":3\",\"i\\u0064\":4}"));
    struct json_value out = {0};
    assert_true(json_member(v, STR_LIT("id"), &out));
    assert_str(out.raw, STR_LIT("4")); /* the last one */
    assert_true(json_member(v, STR_LIT("x"), &out));
    assert_str(out.raw, STR_LIT("{\"id\":2}"));
    assert_false(json_member(v, STR_LIT("z"), &out));
    assert_str(out.raw, STR_LIT("{\"id\":2}"));
}

static void test_string(void **state)
{
    (void)state;
    static const struct {
        struct str raw;
        struct str text;
    } cases[] = {
        {LIT("\"\""), LIT("")},
        {LIT("\"plain\""), LIT("plain")},
        {LIT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), LIT("\"\\/\b\f\n\r\t")},
        {LIT("\"a\\u0000b\""), LIT("a\0b")},
        {LIT("\"\\u007f\\u0080\\u07FF\\u0800\\uFFFF\""),
         LIT("\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF")},
        {LIT("\"\\uD83D\\uDCA9!\""), LIT("\xF0\x9F\x92\xA9!")},
        {LIT("\"\\uD800\\uDC00\\uDBFF\\uDFFF\""),
         LIT("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF")},
        {LIT("\"\\ud83d\""), LIT("\xEF\xBF\xBD")},
        {LIT("\"\\ud83dx\""), LIT("\xEF\xBF\xBDx")},
        {LIT("\"\\ud83d\\n\""), LIT("\xEF\xBF\xBD\n")},
        {LIT("\"\\udca9\\ud83d\""), LIT("\xEF\xBF\xBD\xEF\xBF\xBD")},
        {LIT("\"\\udca9\\udca9\""), LIT("\xEF\xBF\xBD\xEF\xBF\xBD")},
        {LIT("\"\\ud83d\\ud83d\\udca9\""), LIT("\xEF\xBF\xBD\xF0\x9F\x92\xA9")},
        {LIT("\"\\ud83d\\u0041\""), LIT("\xEF\xBF\xBD"
                                        "A")},
        {LIT("\"caf\xC3\xA9 \\u00e9\""), LIT("caf\xC3\xA9 \xC3\xA9")},
    };
    struct buf scratch = BUF_INIT;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_value v = parsed(cases[i].raw);
        struct str out;
        buf_clear(&scratch);
        buf_lit(&scratch, "kept");
        assert_int_equal(json_text(v, &scratch, &out), 0);
        assert_str(out, cases[i].text);
        assert_true(str_starts(buf_view(&scratch), STR_LIT("kept")));
        bool escaped = memchr(v.raw.p, '\\', v.raw.n);
        assert_true(out.p == (escaped ? scratch.p + 4 : v.raw.p + 1));
        assert_int_equal(scratch.n, escaped ? 4 + out.n : 4);
    }
    static const char *const others[] = {"1", "null", "[\"a\"]", "{}", "true"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct str out = STR_LIT("kept");
        assert_int_equal(json_text(parsed(str_of(others[i])), &scratch, &out),
                         ERR_INVALID);
        assert_str(out, STR_LIT("kept"));
    }
    buf_free(&scratch);
}

static void test_unsigned(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc32;
        int rc64;
        uint64_t value;
    } cases[] = {
        {"0", 0, 0, 0},
        {"5", 0, 0, 5},
        {"4294967295", 0, 0, UINT32_MAX},
        {"4294967296", ERR_INVALID, 0, UINT64_C(4294967296)},
        {"18446744073709551615", ERR_INVALID, 0, UINT64_MAX},
        {"18446744073709551616", ERR_INVALID, ERR_INVALID, 0},
        {"99999999999999999999", ERR_INVALID, ERR_INVALID, 0},
        {"184467440737095516150", ERR_INVALID, ERR_INVALID, 0},
        {"-1", ERR_INVALID, ERR_INVALID, 0},
        {"-0", ERR_INVALID, ERR_INVALID, 0},
        {"1.0", ERR_INVALID, ERR_INVALID, 0},
        {"1e1", ERR_INVALID, ERR_INVALID, 0},
        {"\"1\"", ERR_INVALID, ERR_INVALID, 0},
        {"null", ERR_INVALID, ERR_INVALID, 0},
        {"[1]", ERR_INVALID, ERR_INVALID, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_value v = parsed(str_of(cases[i].text));
        uint32_t u32 = 77;
        uint64_t u64 = 77;
        assert_int_equal(json_u32(v, &u32), cases[i].rc32);
        assert_int_equal(json_u64(v, &u64), cases[i].rc64);
        assert_true(u32 == (cases[i].rc32 ? 77 : cases[i].value));
        assert_true(u64 == (cases[i].rc64 ? 77 : cases[i].value));
    }
}

static void test_signed_and_bool(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        int64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"-5", 0, -5},
        {"9223372036854775807", 0, INT64_MAX},
        {"9223372036854775808", ERR_INVALID, 0},
        {"-9223372036854775808", 0, INT64_MIN},
        {"-9223372036854775809", ERR_INVALID, 0},
        {"-99999999999999999999", ERR_INVALID, 0},
        {"-1.5", ERR_INVALID, 0},
        {"-1e0", ERR_INVALID, 0},
        {"true", ERR_INVALID, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t n = 77;
        assert_int_equal(json_i64(parsed(str_of(cases[i].text)), &n),
                         cases[i].rc);
        assert_true(n == (cases[i].rc ? 77 : cases[i].value));
    }
    bool b = false;
    assert_int_equal(json_bool(parsed(STR_LIT("true")), &b), 0);
    assert_true(b);
    assert_int_equal(json_bool(parsed(STR_LIT("null")), &b), ERR_INVALID);
    assert_int_equal(json_bool(parsed(STR_LIT("0")), &b), ERR_INVALID);
    assert_true(b);
    assert_int_equal(json_bool(parsed(STR_LIT("false")), &b), 0);
    assert_false(b);
}

static void test_compact_newlines(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"a\": 1}", "{\"a\": 1}"},
        {"{\n  \"a\": 1\n}", "{  \"a\": 1}"},
        {"[1,\r\n2,\r3]", "[1,2,3]"},
        {"[\n\n\n]", "[]"},
        {"\"a\\nb\\r\"", "\"a\\nb\\r\""},
        {"[\"\\n\"\n]", "[\"\\n\"]"},
        {"[\r]", "[]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = BUF_INIT;
        buf_lit(&out, "x");
        json_compact_newlines(&out, parsed(str_of(cases[i][0])).raw);
        assert_str(str_skip(buf_view(&out), 1), str_of(cases[i][1]));
        buf_free(&out);
    }
}

static void test_quote(void **state)
{
    (void)state;
    static const struct str cases[][2] = {
        {LIT(""), LIT("\"\"")},
        {LIT("plain /"), LIT("\"plain /\"")},
        {LIT("\"\\"), LIT("\"\\\"\\\\\"")},
        {LIT("\b\f\n\r\t"), LIT("\"\\b\\f\\n\\r\\t\"")},
        {LIT("a\0\x01\x0B\x1F\x7F"),
         LIT("\"a\\u0000\\u0001\\u000b\\u001f\x7F\"")},
        {LIT("\xC3\xA9\xE2\x80\xA8\xF0\x9F\x92\xA9"),
         LIT("\"\xC3\xA9\xE2\x80\xA8\xF0\x9F\x92\xA9\"")},
        {LIT("a\xE9"), LIT("\"a\xEF\xBF\xBD\"")},
        {LIT("\xED\xA0\x80z"),
         LIT("\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"")},
        {LIT("12345678\"2345678"), LIT("\"12345678\\\"2345678\"")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = BUF_INIT;
        json_quote(&out, cases[i][0]);
        assert_str(buf_view(&out), cases[i][1]);
        buf_free(&out);
    }
}

/* What was quoted decodes to what it was, whatever the bytes. */
static void test_quote_round_trip(void **state)
{
    (void)state;
    random_state = 0x5EED0006;
    struct buf quoted = BUF_INIT;
    struct buf scratch = BUF_INIT;
    for (int round = 0; round < 100000; round++) {
        char text[40];
        size_t n = pick(sizeof(text));
        for (size_t i = 0; i < n; i++)
            text[i] = (char)(pick(6) ? pick(128) : pick(256));
        buf_clear(&quoted);
        buf_clear(&scratch);
        json_quote(&quoted, str_n(text, n));
        struct str out;
        assert_int_equal(json_text(parsed(buf_view(&quoted)), &scratch, &out),
                         0);
        assert_true(utf8_valid(out));
        if (utf8_valid(str_n(text, n)))
            assert_str(out, str_n(text, n));
    }
    buf_free(&quoted);
    buf_free(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_wrapped),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_string_offsets),
        cmocka_unit_test(test_types_and_slices),
        cmocka_unit_test(test_parse_next),
        cmocka_unit_test(test_walk_object),
        cmocka_unit_test(test_walk_array),
        cmocka_unit_test(test_walk_nothing),
        cmocka_unit_test(test_key_is),
        cmocka_unit_test(test_member),
        cmocka_unit_test(test_string),
        cmocka_unit_test(test_unsigned),
        cmocka_unit_test(test_signed_and_bool),
        cmocka_unit_test(test_compact_newlines),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_quote_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
