#include "base/utf8.h"

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

static uint64_t random_state;

static uint32_t pick(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32) % below;
}

/* The oracle decodes by the bit patterns alone and judges the number after,
 * where the code under test narrows the second byte. 0 when malformed. */
static size_t oracle_char(struct str s)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = (unsigned char)s.p[0];
    if (lead < 0x80)
        return 1;
    size_t n = (lead & 0xE0) == 0xC0   ? 2
               : (lead & 0xF0) == 0xE0 ? 3
               : (lead & 0xF8) == 0xF0 ? 4
                                       : 0;
    if (n == 0 || s.n < n)
        return 0;
    uint32_t code = lead & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s.p[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | ((unsigned char)s.p[i] & 0x3F);
    }
    bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    return code < lowest[n] || code > 0x10FFFF || surrogate ? 0 : n;
}

static bool oracle_valid(struct str s)
{
    while (s.n > 0) {
        size_t n = oracle_char(s);
        if (n == 0)
            return false;
        s = str_skip(s, n);
    }
    return true;
}

/* Can something follow that makes `s` valid? Of the continuation bytes, one
 * of the two extremes is always allowed wherever any is. */
static bool oracle_open(struct str s)
{
    char full[64];
    assert_true(s.n + 3 <= sizeof(full));
    memcpy(full, s.p, s.n);
    for (unsigned more = 0; more <= 3; more++) {
        for (unsigned bits = 0; bits < 1u << more; bits++) {
            for (unsigned i = 0; i < more; i++)
                full[s.n + i] = (char)(bits >> i & 1 ? 0xBF : 0x80);
            if (oracle_valid(str_n(full, s.n + more)))
                return true;
        }
    }
    return false;
}

static void test_good(void **state)
{
    (void)state;
    static const struct str good[] = {
        LIT(""),
        LIT("plain"),
        LIT("a\0b"),
        LIT("\x7F"),
        LIT("\xC2\x80"),
        LIT("\xDF\xBF"),
        LIT("\xE0\xA0\x80"),
        LIT("\xED\x9F\xBF"),
        LIT("\xEE\x80\x80"),
        LIT("\xEF\xBF\xBF"),
        LIT("\xF0\x90\x80\x80"),
        LIT("\xF4\x8F\xBF\xBF"),
        LIT("\xEF\xBB\xBF"
            "after a byte order mark"),
        LIT("gr\xC3\xBC\xC3\x9F dich, \xE4\xB8\x96\xE7\x95\x8C \xF0\x9F\x92\xA9"),
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(utf8_valid(good[i]));
    assert_true(utf8_valid(str_of(NULL)));
}

static void test_bad(void **state)
{
    (void)state;
    static const struct str bad[] = {
        LIT("\x80"), /* continuation first */
        LIT("\xBF"),
        LIT("\xC0\x80"), /* overlong NUL */
        LIT("\xC1\xBF"),
        LIT("\xE0\x9F\xBF"),     /* overlong in three */
        LIT("\xF0\x8F\xBF\xBF"), /* overlong in four */
        LIT("\xED\xA0\x80"),     /* surrogates */
        LIT("\xED\xBF\xBF"),
        LIT("\xED\xA0\xBD\xED\xB2\xA9"), /* a pair of them (CESU-8) */
        LIT("\xF4\x90\x80\x80"),         /* above U+10FFFF */
        LIT("\xF5\x80\x80\x80"),
        LIT("\xF8\x88\x80\x80\x80"), /* five bytes */
        LIT("\xFE"),
        LIT("\xFF"),
        LIT("\xC3"), /* cut off */
        LIT("\xE4\xB8"),
        LIT("\xF0\x9F\x92"),
        LIT("\xC3("), /* ASCII inside a character */
        LIT("\xE4\xB8"
            "a"),
        LIT("caf\xE9"), /* Latin-1 */
        LIT("12345678\xE9"
            "2345678"),
        LIT("\xE4\xB8\x96\x96"), /* one byte too many */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(utf8_valid(bad[i]));
}

static void test_every_character(void **state)
{
    (void)state;
    size_t count = 0;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        if (code >= 0xD800 && code <= 0xDFFF)
            continue;
        char to[4];
        struct str s = str_n(to, utf8_encode(code, to));
        if (!utf8_valid(s) || utf8_char(s) != s.n || oracle_char(s) != s.n)
            fail_msg("U+%04X", (unsigned)code);
        count++;
    }
    assert_int_equal(count, 0x110000 - 0x800);
}

static void compare(struct str s)
{
    if (utf8_valid(s) != oracle_valid(s) || utf8_char(s) != oracle_char(s))
        fail_msg("%02X %02X %02X %02X of %zu", (unsigned char)s.p[0],
                 (unsigned char)s.p[1], (unsigned char)s.p[2],
                 (unsigned char)s.p[3], s.n);
}

static void test_short_strings(void **state)
{
    (void)state;
    char s[4] = {0};
    for (unsigned bits = 0; bits < 1u << 16; bits++) {
        s[0] = (char)(bits >> 8);
        s[1] = (char)bits;
        compare(str_n(s, 1));
        compare(str_n(s, 2));
    }
    for (unsigned bits = 0xC0u << 16; bits < 1u << 24; bits++) {
        s[0] = (char)(bits >> 16);
        s[1] = (char)(bits >> 8);
        s[2] = (char)bits;
        compare(str_n(s, 3));
    }
}

static void test_four_bytes(void **state)
{
    (void)state;
    static const unsigned char last[] = {0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF};
    for (unsigned bits = 0xEF00; bits < 1u << 16; bits++) {
        for (size_t k = 0; k < ARRAY_LEN(last) * ARRAY_LEN(last); k++) {
            char s[4] = {(char)(bits >> 8), (char)bits,
                         (char)last[k % ARRAY_LEN(last)],
                         (char)last[k / ARRAY_LEN(last)]};
            compare(str_n(s, 4));
        }
    }
}

static void test_ascii_run(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 40; n++) {
        char *s = mem_alloc(n + 1); /* exact: no byte behind may be read */
        memset(s, 'a', n);
        assert_int_equal(utf8_ascii_run(str_n(s, n)), n);
        for (size_t at = 0; at < n; at++) {
            s[at] = (char)0x80;
            assert_int_equal(utf8_ascii_run(str_n(s, n)), at);
            assert_false(utf8_valid(str_n(s, n)));
            s[at] = 0x7F;
            assert_int_equal(utf8_ascii_run(str_n(s, n)), n);
        }
        free(s);
    }
}

static void test_char_needs_all_bytes(void **state)
{
    (void)state;
    struct str pile = STR_LIT("\xF0\x9F\x92\xA9"
                              "x");
    assert_int_equal(utf8_char(pile), 4);
    for (size_t n = 0; n < 4; n++)
        assert_int_equal(utf8_char(str_n(pile.p, n)), 0);
    assert_int_equal(utf8_char(STR_LIT("x")), 1);
}

static size_t random_text(char *to, size_t max)
{
    size_t n = 0;
    while (n + 4 <= max && pick(12) != 0) {
        uint32_t code = pick(4)   ? pick(0x80)
                        : pick(2) ? pick(0x3000)
                                  : pick(0x110000);
        if (code < 0xD800 || code > 0xDFFF)
            n += utf8_encode(code, to + n);
    }
    if (n > 0 && pick(2))
        to[pick((uint32_t)n)] = (char)pick(256);
    return n;
}

/* Feed the pieces; stop at the first refusal, as a connection would. */
static bool feed_accepts(struct str a, struct str b, struct str c)
{
    struct utf8_state s;
    utf8_init(&s);
    return utf8_feed(&s, a.p, a.n) == 0 && utf8_feed(&s, b.p, b.n) == 0 &&
           utf8_feed(&s, c.p, c.n) == 0 && utf8_done(&s);
}

static void test_every_split(void **state)
{
    (void)state;
    random_state = 0x5EED0001;
    size_t valid_count = 0;
    for (int round = 0; round < 20000; round++) {
        char text[48];
        struct str s = str_n(text, random_text(text, sizeof(text)));
        bool valid = utf8_valid(s);
        valid_count += valid;
        assert_int_equal(valid, oracle_valid(s));
        for (size_t at = 0; at <= s.n; at++) {
            size_t second = at + pick((uint32_t)(s.n - at) + 1);
            bool accepted =
                feed_accepts(str_n(s.p, at), str_n(s.p + at, second - at),
                             str_skip(s, second));
            assert_int_equal(accepted, valid);
        }
    }
    assert_in_range(valid_count, 5000, 19000); /* both kinds were there */
}

static void test_refuses_at_once(void **state)
{
    (void)state;
    random_state = 0x5EED0002;
    for (int round = 0; round < 5000; round++) {
        char text[48];
        size_t n = random_text(text, sizeof(text));
        struct utf8_state s;
        utf8_init(&s);
        for (size_t i = 0; i < n; i++) {
            int rc = utf8_feed(&s, text + i, 1);
            struct str prefix = str_n(text, i + 1);
            assert_int_equal(rc, oracle_open(prefix) ? 0 : ERR_INVALID);
            if (rc < 0)
                break;
            assert_int_equal(utf8_done(&s), oracle_valid(prefix));
        }
    }
}

static void test_empty_fragments(void **state)
{
    (void)state;
    struct utf8_state s;
    utf8_init(&s);
    assert_true(utf8_done(&s));
    assert_int_equal(utf8_feed(&s, NULL, 0), 0);
    assert_int_equal(utf8_feed(&s, "\xE4", 1), 0);
    assert_false(utf8_done(&s));
    assert_int_equal(utf8_feed(&s, "", 0), 0);
    assert_false(utf8_done(&s));
    assert_int_equal(utf8_feed(&s, "\xB8\x96", 2), 0);
    assert_true(utf8_done(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_short_strings),
        cmocka_unit_test(test_four_bytes),
        cmocka_unit_test(test_ascii_run),
        cmocka_unit_test(test_char_needs_all_bytes),
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_refuses_at_once),
        cmocka_unit_test(test_empty_fragments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
