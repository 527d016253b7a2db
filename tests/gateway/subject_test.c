#include "gateway/broker/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "gateway/rules.h"
#include "hub/channel.h"

static const char config_text[] =
    "{\"nats\":{\"prefix\":\"acme.weir\"},\"channel\":{\"namespaces\":["
    "{\"name\":\"news\"},"
    "{\"name\":\"all\",\"allow_patterns\":true},"
    "{\"name\":\"quotes\",\"subject\":\"market.quotes\"},"
    "{\"name\":\"plant\",\"subject\":\"site.3\",\"allow_patterns\":true,"
    "\"channel_regex\":\".\"},"
    "{\"name\":\"short\",\"channel_regex\":\"^[a-z\xC3\xA9.]{2,4}$\","
    "\"allow_patterns\":true}]}}";

struct fixture {
    struct config *cfg;
    struct subject_map map;
    struct buf out;
};

static int set_up(void **state)
{
    char err[256] = "";
    struct fixture *f = mem_zalloc(sizeof(*f));
    f->cfg = config_parse(config_text, strlen(config_text), "test", NULL, err,
                          sizeof(err));
    if (!f->cfg)
        fail_msg("%s", err);
    subject_map_init(&f->map, f->cfg);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    subject_map_fini(&f->map);
    config_free(f->cfg);
    buf_free(&f->out);
    free(f);
    return 0;
}

static struct subject_space *space(struct fixture *f, const char *channel)
{
    struct subject_space *s = subject_find(&f->map, str_of(channel));
    assert_non_null(s);
    return s;
}

static void expect(struct fixture *f, const char *text)
{
    assert_int_equal(f->out.n, strlen(text));
    assert_memory_equal(f->out.p, text, f->out.n);
    buf_clear(&f->out);
}

static void expect_subject(struct fixture *f, const char *channel,
                           const char *subject)
{
    int rc = subject_of(space(f, channel), str_of(channel), &f->out);
    assert_int_equal(rc, 0);
    assert_string_equal(f->out.p, subject); /* the NUL is there */
    expect(f, subject);
}

static void channels_have_subjects(void **state)
{
    struct fixture *f = *state;
    expect_subject(f, "a", "acme.weir.pub._.a");
    expect_subject(f, "a.b-c_D9", "acme.weir.pub._.a.b-c_D9");
    expect_subject(f, "caf\xC3\xA9", "acme.weir.pub._.caf=C3=A9");
    expect_subject(f, "news:eu.politics", "acme.weir.pub.news.eu.politics");
    expect_subject(f, "news:a:b/c", "acme.weir.pub.news.a=3Ab=2Fc");
    expect_subject(f, "news:a*.>b", "acme.weir.pub.news.a=2A.=3Eb");
    expect_subject(f, "all:x.y", "acme.weir.pub.all.x.y");
    expect_subject(f, "quotes:eur.usd", "market.quotes.eur.usd");
    expect_subject(f, "plant:pump=1", "site.3.pump=3D1");
}

static void expect_feed(struct fixture *f, const char *channel,
                        const char *subject)
{
    int rc = subject_of_feed(space(f, channel), str_of(channel), &f->out);
    assert_int_equal(rc, 0);
    assert_string_equal(f->out.p, subject);
    expect(f, subject);
}

static void spaces_with_patterns_have_one_feed(void **state)
{
    struct fixture *f = *state;
    expect_feed(f, "a.b", "acme.weir.pub._.a.b");
    expect_feed(f, "news:a", "acme.weir.pub.news.a");
    expect_feed(f, "all:a", "acme.weir.pub.all.>");
    expect_feed(f, "all:a.*.c", "acme.weir.pub.all.>");
    expect_feed(f, "all:>", "acme.weir.pub.all.>");
    expect_feed(f, "plant:a", "site.3.>");
    expect_feed(f, "quotes:a", "market.quotes.a");
}

static void unknown_names_have_no_space(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {
        "", "other:a", "news:", "a b", "a..b", ":a", ".a", "a\n", "NEWS:a"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_null(subject_find(&f->map, str_of(names[i])));
    assert_ptr_equal(space(f, "a"), &f->map.spaces[f->map.count - 1]);
}

static void expect_channel(struct fixture *f, const char *where,
                           const char *subject, const char *channel)
{
    int rc = subject_channel(space(f, where), str_of(subject), 255, &f->out);
    assert_int_equal(rc, 0);
    expect(f, channel);
}

static void subjects_have_channels(void **state)
{
    struct fixture *f = *state;
    expect_channel(f, "a", "acme.weir.pub._.a", "a");
    expect_channel(f, "news:a", "acme.weir.pub.news.eu.x", "news:eu.x");
    expect_channel(f, "news:a", "acme.weir.pub.news.a=3Ab", "news:a:b");
    expect_channel(f, "quotes:a", "market.quotes.eur.usd", "quotes:eur.usd");
    expect_channel(f, "plant:a", "site.3.pump=3D1", "plant:pump=1");
    expect_channel(f, "plant:a", "site.3.caf=C3=A9.x", "plant:caf\xC3\xA9.x");
}

static void expect_unmapped(struct fixture *f, const char *where,
                            const char *subject)
{
    buf_lit(&f->out, "before");
    int rc = subject_channel(space(f, where), str_of(subject), 255, &f->out);
    if (rc != ERR_INVALID)
        fail_msg("%s is a channel", subject);
    expect(f, "before");
}

static void other_subjects_have_none(void **state)
{
    struct fixture *f = *state;
    static const char *const plain[] = {
        "",
        "acme.weir.pub._",
        "acme.weir.pub._.",
        "acme.weir.pub.news.a", /* another space */
        "acme.weir.pub._.a/b",  /* raw */
        "acme.weir.pub._.caf\xC3\xA9",
        "acme.weir.pub._.a=2f", /* lower case */
        "acme.weir.pub._.=61",  /* needless */
        "acme.weir.pub._.a=",
        "acme.weir.pub._.a=2",
        "acme.weir.pub._.=20", /* a space */
        "acme.weir.pub._.=00",
        "acme.weir.pub._.a..b",
        "acme.weir.pub._.*",
        "acme.weir.pub._.=2A", /* a pattern */
        "acme.weir.pub._.a.=3E",
        "acme.weir.pub._.news=3Aa", /* would be news:a */
        "acme.weir.pub._.a=FF",     /* no UTF-8 */
        "acme.weir.pub._.=C3",
        "acme.weir.pub._.caf=C3=A9", /* no client may name it */
        "acme.weir.pub._.a=7F",
    };
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        expect_unmapped(f, "a", plain[i]);
    expect_unmapped(f, "quotes:a", "market.quotes.EUR/USD");
    expect_unmapped(f, "quotes:a", "market.quotesx.a");
    expect_unmapped(f, "plant:a", "site.3");
    expect_unmapped(f, "plant:a", "site.3.=C3");
    expect_unmapped(f, "plant:a", "site.3.a=FF");
    expect_unmapped(f, "plant:a", "site.3.=ED=A0=80"); /* a surrogate */
}

static void only_what_clients_may_name(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {
        "short:ab",        "short:abcd",  "short:a.bc", "short:\xC3\xA9",
        "short:a",         "short:abcde", "short:AB",   "short:a1",
        "short:a\xC3\xA8", "all:ab",      "all:A1",     "all:a\xC3\xA9",
        "plant:\xC3\xA9",  "caf\xC3\xA9", "cafe",       "news:a\xC3\xA9"};
    unsigned good = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct rules_channel ch;
        struct buf back = BUF_INIT;
        struct str name = str_of(names[i]);
        struct subject_space *s = space(f, names[i]);
        bool may = rules_channel(f->cfg, name, RULES_CONCRETE, &ch) == 0;
        assert_int_equal(subject_of(s, name, &f->out), 0);
        int rc = subject_channel(s, buf_view(&f->out), 255, &back);
        if ((rc == 0) != may)
            fail_msg("%s: %d, clients: %d", names[i], rc, may);
        assert_true(str_eq(buf_view(&back), may ? name : STR_LIT("")));
        good += may;
        buf_free(&back);
        buf_clear(&f->out);
    }
    assert_int_equal(good, 8);
}

/* The longest name and what follows it in the buffer from before. */
static void a_regex_sees_the_name_and_no_more(void **state)
{
    struct fixture *f = *state;
    buf_lit(&f->out, "short:abcdefgh");
    buf_clear(&f->out);
    expect_channel(f, "short:ab", "acme.weir.pub.short.ab", "short:ab");
    expect_unmapped(f, "short:ab", "acme.weir.pub.short.abcde");
    buf_lit(&f->out, "before");
    int rc = subject_channel(space(f, "short:ab"),
                             STR_LIT("acme.weir.pub.short.abcd"), 255, &f->out);
    assert_int_equal(rc, 0);
    expect(f, "beforeshort:abcd");
}

static void lengths_are_bounded(void **state)
{
    struct fixture *f = *state;
    char subject[2048];
    char x[300];
    memset(x, 'x', sizeof(x));
    struct subject_space *s = space(f, "news:a");
    for (int max = 6; max <= 255; max += 83) {
        for (int n = max - 6; n <= max - 4; n++) {
            snprintf(subject, sizeof(subject), "acme.weir.pub.news.x%.*s", n,
                     x);
            int rc = subject_channel(s, str_of(subject), (size_t)max, &f->out);
            assert_int_equal(rc, n + 6 <= max ? 0 : ERR_INVALID);
            assert_int_equal(f->out.n, rc == 0 ? n + 6 : 0);
            buf_clear(&f->out);
        }
    }
}

/* A prefix of 64 bytes and a channel of which every byte is escaped. */
static void subjects_are_bounded(void **state)
{
    struct fixture *f = *state;
    char text[400];
    char err[256] = "";
    char long_subject[256];
    char channel[256] = "qq:";
    memset(long_subject, 's', 255);
    long_subject[255] = '\0';
    snprintf(text, sizeof(text),
             "{\"channel\":{\"namespaces\":[{\"name\":\"qq\",\"subject\":"
             "\"%s\"}]}}",
             long_subject);
    memset(channel + 3, '/', 252);
    channel[255] = '\0';
    struct config *cfg =
        config_parse(text, strlen(text), "test", NULL, err, sizeof(err));
    if (!cfg)
        fail_msg("%s", err);
    struct subject_map map;
    subject_map_init(&map, cfg);
    struct subject_space *s = subject_find(&map, str_of(channel));
    assert_non_null(s);
    buf_lit(&f->out, "before");
    /* 256 + 3 * 252 = 1012 */
    assert_int_equal(subject_of(s, str_of(channel), &f->out), 0);
    assert_int_equal(f->out.n, 6 + 1012);
    assert_true(f->out.n - 6 <= SUBJECT_MAX_BYTES);
    subject_map_fini(&map);
    config_free(cfg);
}

/* A channel that clients may name comes back from its subject. */
static void random_channels_come_back(void **state)
{
    static const char *const leads[] = {"",
                                        "news:", "all:", "quotes:", "plant:"};
    static const char bytes[] = "aZ09-_.=:*>/\xC3\xA9\"$";
    struct fixture *f = *state;
    struct rand r;
    unsigned mapped = 0;
    unsigned foreign = 0;
    rand_init(&r, 20260101);
    for (int i = 0; i < 200000; i++) {
        char name[64];
        struct channel_name parsed;
        size_t n = 0;
        const char *lead = leads[rand_below(&r, ARRAY_LEN(leads))];
        while (lead[n]) {
            name[n] = lead[n];
            n++;
        }
        for (size_t k = 1 + rand_below(&r, 8); k > 0; k--)
            name[n++] = bytes[rand_below(&r, sizeof(bytes) - 1)];
        struct str channel = str_n(name, n);
        if (channel_parse(channel, &parsed) < 0 || parsed.is_pattern)
            continue;
        struct subject_space *s = subject_find(&f->map, channel);
        if (!s)
            continue;
        buf_clear(&f->out);
        assert_int_equal(subject_of(s, channel, &f->out), 0);
        struct buf back = BUF_INIT;
        if (subject_channel(s, buf_view(&f->out), 255, &back) == 0) {
            mapped++;
            foreign += utf8_ascii_run(channel) < n;
            assert_true(str_eq(buf_view(&back), channel));
        } else {
            /* What clients may not name, and broken UTF-8. */
            assert_true(memchr(name, 0xC3, n) || memchr(name, 0xA9, n));
        }
        buf_free(&back);
    }
    assert_true(mapped > 10000);
    assert_true(foreign > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(channels_have_subjects),
        TEST(spaces_with_patterns_have_one_feed),
        TEST(unknown_names_have_no_space),
        TEST(subjects_have_channels),
        TEST(other_subjects_have_none),
        TEST(only_what_clients_may_name),
        TEST(a_regex_sees_the_name_and_no_more),
        TEST(lengths_are_bounded),
        TEST(subjects_are_bounded),
        TEST(random_channels_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
