#include "gateway/protocol/event_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "gateway/auth/base64.h"

#define EPOCH UINT64_C(0x0c0b0a090807)
#define NAME UINT64_C(0x060504030201)

static void refuse(struct str text)
{
    struct event_id id = {.count = 99};
    assert_int_equal(event_id_parse(text, &id), ERR_INVALID);
    assert_int_equal(id.count, 99);
}

static void check_one(uint64_t epoch, uint64_t offset, const char *text)
{
    struct event_id id;
    struct position p = {epoch, offset};
    struct buf to = BUF_INIT;
    buf_lit(&to, "id: ");
    event_id_add_one(&to, p);
    assert_true(str_eq(str_skip(buf_view(&to), 4), str_of(text)));
    buf_free(&to);
    assert_int_equal(event_id_parse(str_of(text), &id), 0);
    assert_int_equal(id.kind, EVENT_ID_ONE);
    assert_int_equal(id.count, 1);
    assert_true(id.entries[0].name == 0);
    assert_true(id.entries[0].position.epoch == epoch);
    assert_true(id.entries[0].position.offset == offset);
    assert_null(event_id_find(&id, 0));
    assert_null(event_id_find(&id, event_id_name(STR_LIT("news"))));
}

static void test_one_channel(void **state)
{
    (void)state;
    check_one(1, 0, "AAAAAAAB:0");
    check_one(1, 9, "AAAAAAAB:9");
    check_one(64, 10, "AAAAAABA:10");
    check_one(POSITION_EPOCH_MAX, UINT64_MAX, "________:18446744073709551615");
    check_one(POSITION_EPOCH_MAX, UINT64_MAX / 10 * 10,
              "________:18446744073709551610");
}

static void test_it_writes_no_further_than_it_says(void **state)
{
    (void)state;
    char to[EVENT_ID_ONE_MAX_BYTES];
    memset(to, '#', sizeof(to));
    assert_int_equal(event_id_write_one(to, (struct position){1, 12}), 11);
    assert_memory_equal(to, "AAAAAAAB:12##################", sizeof(to));
    assert_int_equal(event_id_write_one(to, (struct position){1, UINT64_MAX}),
                     sizeof(to));
}

static void test_what_is_no_id_of_one(void **state)
{
    (void)state;
    refuse((struct str){NULL, 0});
    refuse(STR_LIT("AAAAAAAB"));
    refuse(STR_LIT("AAAAAAAB:"));
    refuse(STR_LIT("AAAAAAAA:1"));
    refuse(STR_LIT("AAAAAAAB:01"));
    refuse(STR_LIT("AAAAAAAB:00"));
    refuse(STR_LIT("AAAAAAAB:-1"));
    refuse(STR_LIT("AAAAAAAB:+1"));
    refuse(STR_LIT("AAAAAAAB: 1"));
    refuse(STR_LIT("AAAAAAAB:1 "));
    refuse(STR_LIT("AAAAAAAB:1a"));
    refuse(STR_LIT("AAAAAAAB:1\0"));
    refuse(STR_LIT("AAAAAAAB:\xb1"));
    refuse(STR_LIT("AAAAAAAB:18446744073709551616"));
    refuse(STR_LIT("AAAAAAAB:18446744073709551620"));
    refuse(STR_LIT("AAAAAAAB:99999999999999999999"));
    refuse(STR_LIT("AAAAAAAB:118446744073709551615"));
    refuse(STR_LIT("AAAAAAAB;1"));
    refuse(STR_LIT("AAAAAAB:1"));
    refuse(STR_LIT("AAAAAAAAB:1"));
    refuse(STR_LIT("17"));
}

static void check_many(const struct event_id_entry *entries, size_t count,
                       const char *text)
{
    struct event_id id;
    struct buf to = BUF_INIT;
    buf_lit(&to, "id: ");
    assert_int_equal(event_id_add_many(&to, entries, count), 0);
    struct str written = str_skip(buf_view(&to), 4);
    assert_true(written.n <= EVENT_ID_MAX_BYTES);
    assert_true(!text || str_eq(written, str_of(text)));
    assert_int_equal(event_id_parse(written, &id), 0);
    assert_int_equal(id.kind, EVENT_ID_MANY);
    assert_int_equal(id.count, count);
    for (size_t i = 0; i < count; i++) {
        const struct position *p = event_id_find(&id, entries[i].name);
        assert_ptr_equal(p, &id.entries[i].position);
        assert_true(p->epoch == entries[i].position.epoch);
        assert_true(p->offset == entries[i].position.offset);
    }
    buf_free(&to);
}

static void test_several_channels(void **state)
{
    (void)state;
    /* The texts were made by another program. */
    static const struct event_id_entry three[] = {
        {NAME, {EPOCH, 127}},
        {EVENT_ID_NAME_MAX, {1, 128}},
        {0, {POSITION_EPOCH_MAX, UINT64_MAX}},
    };
    static const struct event_id_entry one = {NAME, {EPOCH, 0}};
    check_many(&one, 1, "~AQECAwQFBgcICQoLDAA");
    check_many(three, 3,
               "~AwECAwQFBgcICQoLDH________8BAAAAAACAAQAAAAAAAP__________"
               "_________wE");
}

static void test_the_longest(void **state)
{
    (void)state;
    struct event_id_entry all[EVENT_ID_MAX_CHANNELS];
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i] = (struct event_id_entry){EVENT_ID_NAME_MAX - i,
                                         {POSITION_EPOCH_MAX, UINT64_MAX}};
    check_many(all, ARRAY_LEN(all), NULL);
}

static void test_the_name_of_a_channel(void **state)
{
    (void)state;
    struct event_id id;
    /* XXH3's own number for nothing is 2d06800538d394c2. */
    assert_true(event_id_name(STR_LIT("")) == UINT64_C(0x800538d394c2));
    struct event_id_entry two[] = {
        {event_id_name(STR_LIT("news")), {1, 5}},
        {event_id_name(STR_LIT("chat:room")), {2, 6}},
    };
    struct buf to = BUF_INIT;
    assert_int_equal(event_id_add_many(&to, two, 2), 0);
    assert_int_equal(event_id_parse(buf_view(&to), &id), 0);
    assert_true(event_id_find(&id, event_id_name(STR_LIT("news")))->offset ==
                5);
    assert_true(
        event_id_find(&id, event_id_name(STR_LIT("chat:room")))->epoch == 2);
    assert_null(event_id_find(&id, event_id_name(STR_LIT("chat:roo"))));
    buf_free(&to);
}

static void refuse_to_write(const struct event_id_entry *entries, size_t count)
{
    struct buf to = BUF_INIT;
    buf_lit(&to, "kept");
    assert_int_equal(event_id_add_many(&to, entries, count), ERR_INVALID);
    assert_true(str_eq(buf_view(&to), STR_LIT("kept")));
    buf_free(&to);
}

static void test_what_no_id_can_say(void **state)
{
    (void)state;
    struct event_id_entry all[EVENT_ID_MAX_CHANNELS + 1];
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i] = (struct event_id_entry){i, {1, 1}};
    refuse_to_write(all, 0);
    refuse_to_write(all, ARRAY_LEN(all));
    check_many(all, ARRAY_LEN(all) - 1, NULL);
    all[2].name = all[0].name; /* two of one name */
    refuse_to_write(all, 3);
    check_many(all, 2, NULL);
    all[2].name = EVENT_ID_NAME_MAX + 1;
    refuse_to_write(all, 3);
    all[2].name = 2;
    all[2].position.epoch = 0;
    refuse_to_write(all, 3);
    all[2].position.epoch = POSITION_EPOCH_MAX + 1;
    refuse_to_write(all, 3);
}

/* What stands in an id of several, as bytes. */
static struct str text_of(struct buf *to, struct str bytes)
{
    buf_clear(to);
    buf_char(to, '~');
    base64url_encode(to, bytes);
    return buf_view(to);
}

#define AB "\1\2\3\4\5\6" /* a name, or an epoch */
#define AC "\1\2\3\4\5\7"
#define ZERO "\0\0\0\0\0\0"

static void test_bytes_that_are_written(void **state)
{
    (void)state;
    static const struct str good[] = {
        STR_LIT("\1" AB AC "\0"),
        STR_LIT("\1" ZERO AC "\x7f"),
        STR_LIT("\1" AB AC "\x80\1"),
        STR_LIT("\1" AB AC "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"),
        STR_LIT("\2" AB AC "\5" AC AC "\5"),
    };
    struct event_id id;
    struct buf text = BUF_INIT;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(event_id_parse(text_of(&text, good[i]), &id), 0);
    assert_true(id.count == 2 &&
                id.entries[1].name == UINT64_C(0x070504030201));
    buf_free(&text);
}

static void test_bytes_that_are_not(void **state)
{
    (void)state;
    static const struct str bad[] = {
        STR_LIT(""),
        STR_LIT("\0"),
        STR_LIT("\1"),
        STR_LIT("\1" AB),
        STR_LIT("\1" AB AC),                 /* no offset */
        STR_LIT("\1" AB AC "\x80"),          /* half an offset */
        STR_LIT("\1" AB AC "\5\5"),          /* more behind it */
        STR_LIT("\0" AB AC "\5"),            /* none */
        STR_LIT("\2" AB AC "\5"),            /* one is missing */
        STR_LIT("\1" AB AC "\5" AC AC "\5"), /* one too many */
        STR_LIT("\2" AB AC "\5" AB AB "\6"), /* twice */
        STR_LIT("\1" AB ZERO "\5"),          /* no epoch */
        STR_LIT("\1" AB AC "\x80\0"),        /* 0, too long */
        STR_LIT("\1" AB AC "\x85\x80\0"),    /* 5, too long */
        STR_LIT("\1" AB AC "\xff\xff\xff\xff\xff\xff\xff\xff\xff\2"),
        STR_LIT("\1" AB AC "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\0"),
        STR_LIT("\1" AB AC "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81"),
        STR_LIT("\x21" AB AC "\5"),
        STR_LIT("\xff" AB AC "\5"),
    };
    struct buf text = BUF_INIT;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refuse(text_of(&text, bad[i]));
    buf_free(&text);
}

static void test_33_channels_are_too_many(void **state)
{
    (void)state;
    struct event_id id;
    struct buf bytes = BUF_INIT;
    struct buf text = BUF_INIT;
    buf_char(&bytes, EVENT_ID_MAX_CHANNELS);
    for (unsigned i = 0; i < EVENT_ID_MAX_CHANNELS; i++) {
        buf_char(&bytes, (char)i);
        buf_lit(&bytes, "\0\0\0\0\0" AB "\1");
    }
    assert_int_equal(event_id_parse(text_of(&text, buf_view(&bytes)), &id), 0);
    bytes.p[0]++;
    buf_lit(&bytes, AB AB "\1");
    refuse(text_of(&text, buf_view(&bytes)));
    buf_free(&text);
    buf_free(&bytes);
}

static void test_text_that_is_not_written(void **state)
{
    (void)state;
    static char longest[EVENT_ID_MAX_BYTES + 1];
    refuse(STR_LIT("~"));
    refuse(STR_LIT("AQECAwQFBgcICQoLDAA"));
    refuse(STR_LIT("~~AQECAwQFBgcICQoLDAA"));
    refuse(STR_LIT("~AQECAwQFBgcICQoLDAA="));
    refuse(STR_LIT("~AQECAwQFBgcICQoLDAB")); /* spare bits */
    refuse(STR_LIT("~AQECAwQFBgcICQoLDAA "));
    refuse(STR_LIT("~AQECAwQFBgcICQoLD+A"));
    refuse(STR_LIT("~AQECAwQFBgcICQoLDA"));
    memset(longest, 'A', sizeof(longest));
    longest[0] = '~';
    refuse(str_n(longest, sizeof(longest)));
    memcpy(longest, "AAAAAAAB:", 9);
    refuse(str_n(longest, sizeof(longest)));
}

static void test_random_ids_come_back(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 32);
    for (int i = 0; i < 20000; i++) {
        struct event_id_entry entries[EVENT_ID_MAX_CHANNELS];
        size_t count = 1 + rand_below(&r, EVENT_ID_MAX_CHANNELS);
        for (size_t k = 0; k < count; k++) {
            entries[k].name = rand_next(&r) & EVENT_ID_NAME_MAX;
            entries[k].position.epoch = position_epoch_of(rand_next(&r));
            entries[k].position.offset = rand_next(&r) >> rand_below(&r, 64);
        }
        check_many(entries, count, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_channel),
        cmocka_unit_test(test_it_writes_no_further_than_it_says),
        cmocka_unit_test(test_what_is_no_id_of_one),
        cmocka_unit_test(test_several_channels),
        cmocka_unit_test(test_the_longest),
        cmocka_unit_test(test_the_name_of_a_channel),
        cmocka_unit_test(test_what_no_id_can_say),
        cmocka_unit_test(test_bytes_that_are_written),
        cmocka_unit_test(test_bytes_that_are_not),
        cmocka_unit_test(test_33_channels_are_too_many),
        cmocka_unit_test(test_text_that_is_not_written),
        cmocka_unit_test(test_random_ids_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
