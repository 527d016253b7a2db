#include "hub/channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define LIT(lit)                \
    {                           \
        "" lit, sizeof(lit) - 1 \
    }
#define X10 "xxxxxxxxxx"
#define X64 X10 X10 X10 X10 X10 X10 "xxxx"
#define X255 X64 X64 X64 X10 X10 X10 X10 X10 X10 "xxx"

static uint64_t random_state;

static uint32_t pick(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % below;
}

static int parse_rc(struct str name)
{
    struct channel_name out;
    return channel_parse(name, &out);
}

static void assert_str(struct str have, struct str want)
{
    if (!str_eq(have, want))
        fail_msg("%.*s is not %.*s", STR_ARG(have), STR_ARG(want));
}

static void test_parse_good(void **state)
{
    (void)state;
    static const struct {
        struct str name;
        struct str ns;
        struct str rest;
        bool is_pattern;
    } good[] = {
        {LIT("a"), LIT(""), LIT("a"), false},
        {LIT("a.b.c"), LIT(""), LIT("a.b.c"), false},
        {LIT("news:eu.politics"), LIT("news"), LIT("eu.politics"), false},
        {LIT("-_:a"), LIT("-_"), LIT("a"), false},
        {LIT("news:a:b"), LIT("news"), LIT("a:b"), false},
        {LIT("news::"), LIT("news"), LIT(":"), false},
        {LIT(X64 ":a"), LIT(X64), LIT("a"), false},
        {LIT("caf\xC3\xA9"), LIT(""), LIT("caf\xC3\xA9"), false},
        {LIT("\x80\xFF"), LIT(""), LIT("\x80\xFF"), false},
        {LIT("$private"), LIT(""), LIT("$private"), false},
        {LIT("chat#12,15"), LIT(""), LIT("chat#12,15"), false},
        {LIT("!\"/\\=~"), LIT(""), LIT("!\"/\\=~"), false},
        {LIT(X255), LIT(""), LIT(X255), false},
        {LIT("*"), LIT(""), LIT("*"), true},
        {LIT(">"), LIT(""), LIT(">"), true},
        {LIT("news:>"), LIT("news"), LIT(">"), true},
        {LIT("news:eu.*"), LIT("news"), LIT("eu.*"), true},
        {LIT("*.a"), LIT(""), LIT("*.a"), true},
        {LIT("*.*.>"), LIT(""), LIT("*.*.>"), true},
        {LIT("a*.>b"), LIT(""), LIT("a*.>b"), false},
        {LIT("**"), LIT(""), LIT("**"), false},
        {LIT(">>.a"), LIT(""), LIT(">>.a"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct channel_name out;
        assert_int_equal(channel_parse(good[i].name, &out), 0);
        assert_str(out.full, good[i].name);
        assert_str(out.ns, good[i].ns);
        assert_str(out.rest, good[i].rest);
        assert_int_equal(out.is_pattern, good[i].is_pattern);
    }
}

static void test_parse_bad(void **state)
{
    (void)state;
    static const struct str bad[] = {
        LIT(""),      LIT("."),      LIT(".a"),     LIT("a."),
        LIT("a..b"),  LIT("news:"),  LIT("news:."), LIT("news:a."),
        LIT(":"),     LIT(":a"),     LIT("n:a"),    LIT(X64 "x:a"),
        LIT("a.b:c"), LIT("*:a"),    LIT("ne*:a"),  LIT("$ns:a"),
        LIT("a b"),   LIT(" "),      LIT("a\tb"),   LIT("a\nb"),
        LIT("a\0b"),  LIT("\x7F"),   LIT("a\x1F"),  LIT("n\xC3\xA9:a"),
        LIT(">.a"),   LIT("a.>.b"),  LIT(">.>"),    LIT("news:>.a"),
        LIT("*."),    LIT("ns\0:a"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (parse_rc(bad[i]) != ERR_INVALID)
            fail_msg("accepted: %.*s", STR_ARG(bad[i]));
    }
    assert_int_equal(parse_rc(str_of(NULL)), ERR_INVALID);
    assert_int_equal(parse_rc(STR_LIT(X255 "x")), ERR_TOO_BIG);
    assert_int_equal(parse_rc(STR_LIT("ns:" X255)), ERR_TOO_BIG);
}

static void test_parse_every_byte(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char name[3] = {'a', (char)c, 'b'};
        bool bad = c <= ' ' || c == 127 || c == ':';
        assert_int_equal(parse_rc(str_n(name, 3)), bad ? ERR_INVALID : 0);
        char ns[4] = {'a', (char)c, ':', 'b'};
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c >= '0' && c <= '9') || c == '-' || c == '_';
        assert_int_equal(parse_rc(str_n(ns, 4)), word ? 0 : ERR_INVALID);
    }
}

static void test_failure_writes_nothing(void **state)
{
    (void)state;
    struct channel_name out = {.full = STR_LIT("before")};
    assert_int_equal(channel_parse(STR_LIT("ns:a.."), &out), ERR_INVALID);
    assert_str(out.full, STR_LIT("before"));
    assert_null(out.ns.p);
}

static void test_matches(void **state)
{
    (void)state;
    static const struct {
        struct str pattern;
        struct str name;
        bool matches;
    } cases[] = {
        {LIT("a.b"), LIT("a.b"), true},      {LIT("a.b"), LIT("a"), false},
        {LIT("a"), LIT("a.b"), false},       {LIT("a"), LIT("ab"), false},
        {LIT("*"), LIT("a"), true},          {LIT("*"), LIT("a.b"), false},
        {LIT(">"), LIT("a"), true},          {LIT(">"), LIT("a.b.c"), true},
        {LIT("a.>"), LIT("a"), false},       {LIT("a.>"), LIT("a.b"), true},
        {LIT("a.>"), LIT("a.b.c"), true},    {LIT("a.>"), LIT("ab.c"), false},
        {LIT("a.*"), LIT("a"), false},       {LIT("a.*.c"), LIT("a.b.c"), true},
        {LIT("a.*.c"), LIT("a.b.d"), false}, {LIT("*.*"), LIT("a.b"), true},
        {LIT("*.*"), LIT("a"), false},       {LIT("*.>"), LIT("a"), false},
        {LIT("*.>"), LIT("a.b.c"), true},    {LIT("a*"), LIT("ab"), false},
        {LIT("a*"), LIT("a*"), true},        {LIT(">>"), LIT("a"), false},
        {LIT("ns:>"), LIT("ns:a.b"), true},  {LIT("ns:*"), LIT("ns:a"), true},
        {LIT("ns:*"), LIT("n2:a"), false},   {LIT("ns:>"), LIT("a"), false},
        {LIT("ns:>"), LIT("ns"), false},     {LIT(">"), LIT("ns:a"), false},
        {LIT("*"), LIT("ns:a"), false},      {LIT("ns:a"), LIT("ns:a"), true},
        {LIT("ns:*"), LIT("nss:a"), false},  {LIT("ns:*"), LIT("ns:a:b"), true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (channel_matches(cases[i].pattern, cases[i].name) !=
            cases[i].matches)
            fail_msg("%.*s on %.*s", STR_ARG(cases[i].pattern),
                     STR_ARG(cases[i].name));
    }
}

/* The oracle: byte by byte, recursively, on what follows the namespaces. */
static bool oracle_rest(struct str p, struct str n)
{
    if (p.n == 0 || n.n == 0)
        return p.n == 0 && n.n == 0;
    bool whole = p.n == 1 || p.p[1] == '.';
    if (p.p[0] == '>' && p.n == 1)
        return true;
    if (p.p[0] == '*' && whole) {
        size_t end = 0;
        while (end < n.n && n.p[end] != '.')
            end++;
        return oracle_rest(str_skip(p, 1), str_skip(n, end));
    }
    while (p.n > 0 && n.n > 0 && p.p[0] == n.p[0] && p.p[0] != '.') {
        p = str_skip(p, 1);
        n = str_skip(n, 1);
    }
    if (p.n == 0 || n.n == 0)
        return p.n == 0 && n.n == 0;
    if (p.p[0] != '.' || n.p[0] != '.')
        return false;
    return oracle_rest(str_skip(p, 1), str_skip(n, 1));
}

static bool oracle_matches(struct str pattern, struct str name)
{
    struct channel_name p;
    struct channel_name n;
    assert_int_equal(channel_parse(pattern, &p), 0);
    assert_int_equal(channel_parse(name, &n), 0);
    return str_eq(p.ns, n.ns) && oracle_rest(p.rest, n.rest);
}

/* A well-formed name of a few short tokens, so that matches are frequent. */
static void random_name(struct buf *to, bool pattern)
{
    static const char *const tokens[] = {"a", "b", "ab", "a*", ">a", "a:"};
    static const char *const spaces[] = {"", "", "ns:", "n2:", "nsx:"};
    const char *ns = spaces[pick(ARRAY_LEN(spaces))];
    buf_clear(to);
    buf_str(to, str_of(ns));
    uint32_t count = 1 + pick(4);
    for (uint32_t i = 0; i < count; i++) {
        bool last = i + 1 == count;
        uint32_t kind = pattern ? pick(5) : 4;
        if (kind == 0)
            buf_char(to, '*');
        else if (kind == 1 && last)
            buf_char(to, '>');
        else /* a colon would start a namespace where there is none */
            buf_str(to, str_of(tokens[pick(ns[0] ? 6 : 5)]));
        if (!last)
            buf_char(to, '.');
    }
}

static void test_matches_oracle(void **state)
{
    (void)state;
    random_state = 0x5EED0003;
    struct buf pattern = BUF_INIT;
    struct buf name = BUF_INIT;
    size_t hits = 0;
    for (int round = 0; round < 300000; round++) {
        random_name(&pattern, true);
        random_name(&name, false);
        struct str p = buf_view(&pattern);
        struct str n = buf_view(&name);
        bool want = oracle_matches(p, n);
        if (channel_matches(p, n) != want)
            fail_msg("%.*s on %.*s", STR_ARG(p), STR_ARG(n));
        assert_true(channel_matches(n, n));
        hits += want;
    }
    assert_in_range(hits, 3000, 200000);
    buf_free(&pattern);
    buf_free(&name);
}

static void test_escape(void **state)
{
    (void)state;
    static const struct {
        struct str rest;
        bool pattern;
        struct str want;
    } cases[] = {
        {LIT("eu.politics"), false, LIT("eu.politics")},
        {LIT("aZ09_-"), false, LIT("aZ09_-")},
        {LIT("caf\xC3\xA9"), false, LIT("caf=C3=A9")},
        {LIT("a=b"), false, LIT("a=3Db")},
        {LIT("a:b/c.d$"), false, LIT("a=3Ab=2Fc.d=24")},
        {LIT("\xFF"), false, LIT("=FF")},
        {LIT("a.*"), true, LIT("a.*")},
        {LIT("*.>"), true, LIT("*.>")},
        {LIT("a.*"), false, LIT("a.=2A")},
        {LIT("a.>"), false, LIT("a.=3E")},
        {LIT("a*.>b.*"), true, LIT("a=2A.=3Eb.*")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = BUF_INIT;
        buf_lit(&out, "weir.pub._.");
        channel_escape(&out, cases[i].rest, cases[i].pattern);
        assert_str(str_skip(buf_view(&out), 11), cases[i].want);
        buf_free(&out);
    }
}

static void test_unescape_bad(void **state)
{
    (void)state;
    static const struct str bad[] = {
        LIT(""),
        LIT("."),
        LIT("a."),
        LIT(".a"),
        LIT("a..b"),
        LIT("*"),
        LIT(">"),
        LIT("a.*"),
        LIT("a.>"),
        LIT("a*"),
        LIT("=2A"),
        LIT("a.=3E"),
        LIT("=2A.b"),
        LIT("=c3=a9"),
        LIT("=C3=a9"),
        LIT("=61"),
        LIT("=5F"),
        LIT("=2D"),
        LIT("=2E"),
        LIT("="),
        LIT("=C"),
        LIT("a="),
        LIT("=G0"),
        LIT("=0G"),
        LIT("=00"),
        LIT("=20"),
        LIT("=7F"),
        LIT("=0A"),
        LIT("a b"),
        LIT("a\0b"),
        LIT("caf\xC3\xA9"),
        LIT("a:b"),
        LIT("=\0"
            "1"),
        LIT("= 1"),
        LIT("=+1"),
        LIT("=CG"),
        LIT("=G3"),
        LIT("=c3"),
        LIT(X255 "x"),
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf out = BUF_INIT;
        buf_lit(&out, "kept");
        if (channel_unescape(&out, bad[i]) != ERR_INVALID)
            fail_msg("accepted: %.*s", STR_ARG(bad[i]));
        assert_str(buf_view(&out), STR_LIT("kept"));
        buf_free(&out);
    }
}

/* Whatever is accepted is what channel_escape makes of a concrete name. */
static void test_unescape_is_inverse(void **state)
{
    (void)state;
    static const char alphabet[] = "aF=0123ACE.*>:-~";
    random_state = 0x5EED0004;
    struct buf name = BUF_INIT;
    struct buf again = BUF_INIT;
    size_t good = 0;
    for (int round = 0; round < 500000; round++) {
        char text[12];
        size_t n = 1 + pick(sizeof(text));
        for (size_t i = 0; i < n; i++)
            text[i] = alphabet[pick(sizeof(alphabet) - 1)];
        buf_clear(&name);
        buf_lit(&name, "ns:");
        if (channel_unescape(&name, str_n(text, n)) < 0)
            continue;
        struct channel_name out;
        assert_int_equal(channel_parse(buf_view(&name), &out), 0);
        assert_false(out.is_pattern);
        buf_clear(&again);
        channel_escape(&again, out.rest, false);
        assert_str(buf_view(&again), str_n(text, n));
        good++;
    }
    assert_in_range(good, 10000, 400000);
    buf_free(&name);
    buf_free(&again);
}

static bool is_subject(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!strchr("=.-_", c) && !(c >= '0' && c <= '9') &&
            !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z'))
            return false;
    }
    return s.n > 0;
}

static void test_round_trip(void **state)
{
    (void)state;
    random_state = 0x5EED0005;
    struct buf subject = BUF_INIT;
    struct buf back = BUF_INIT;
    size_t done = 0;
    while (done < 1000000) {
        char rest[24];
        size_t n = 1 + pick(sizeof(rest));
        for (size_t i = 0; i < n; i++)
            rest[i] = (char)(pick(4) ? pick(256) : (uint32_t) "*>.:"[pick(4)]);
        struct channel_name out;
        if (channel_parse(str_n(rest, n), &out) < 0 || out.is_pattern)
            continue;
        done++;
        buf_clear(&subject);
        buf_clear(&back);
        channel_escape(&subject, out.rest, pick(2));
        assert_true(is_subject(buf_view(&subject)));
        assert_int_equal(channel_unescape(&back, buf_view(&subject)), 0);
        assert_str(buf_view(&back), out.rest);
    }
    buf_free(&subject);
    buf_free(&back);
}

static void test_longest(void **state)
{
    (void)state;
    char rest[CHANNEL_MAX_BYTES];
    memset(rest, '\xA9', sizeof(rest));
    struct buf subject = BUF_INIT;
    struct buf back = BUF_INIT;
    channel_escape(&subject, str_n(rest, sizeof(rest)), false);
    assert_int_equal(subject.n, 3 * sizeof(rest));
    assert_int_equal(channel_unescape(&back, buf_view(&subject)), 0);
    assert_str(buf_view(&back), str_n(rest, sizeof(rest)));
    buf_lit(&subject, "=A9");
    assert_int_equal(channel_unescape(&back, buf_view(&subject)), ERR_INVALID);
    buf_free(&subject);
    buf_free(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_good),
        cmocka_unit_test(test_parse_bad),
        cmocka_unit_test(test_parse_every_byte),
        cmocka_unit_test(test_failure_writes_nothing),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_matches_oracle),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_unescape_bad),
        cmocka_unit_test(test_unescape_is_inverse),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
