#include "hub/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"

#define CHANNELS 4
#define KEYS 6
#define STEPS 40000

static struct keys k;

static void put(const char *channel, const char *key, uint64_t offset,
                uint64_t now_ms)
{
    keys_put(&k, str_of(channel), str_of(key), (struct position){5, offset},
             now_ms);
    keys_check(&k);
}

/* The offset; 0 when it is not known. */
static uint64_t find(const char *channel, const char *key, uint64_t now_ms)
{
    const struct position *p =
        keys_find(&k, str_of(channel), str_of(key), now_ms);
    keys_check(&k);
    assert_true(!p || p->epoch == 5);
    return p ? p->offset : 0;
}

static void test_a_key_is_its_channels_alone(void **state)
{
    (void)state;
    keys_init(&k, 100);
    assert_int_equal(find("a", "x", 0), 0);
    put("a", "x", 1, 0);
    put("b", "x", 2, 0);
    put("a", "y", 3, 0);
    put("ab", "c", 4, 0);
    put("a", "bc", 5, 0); /* the same bytes, divided elsewhere */
    put("", "abc", 6, 0);
    assert_int_equal(find("a", "x", 0), 1);
    assert_int_equal(find("b", "x", 0), 2);
    assert_int_equal(find("a", "y", 0), 3);
    assert_int_equal(find("ab", "c", 0), 4);
    assert_int_equal(find("a", "bc", 0), 5);
    assert_int_equal(find("", "abc", 0), 6);
    assert_int_equal(find("b", "y", 0), 0);
    assert_int_equal(find("abc", "", 0), 0);
    assert_int_equal(k.evicted, 0);
    keys_fini(&k);
    assert_null(k.entries);
}

static void test_a_result_without_a_place_is_known_too(void **state)
{
    (void)state;
    keys_init(&k, 100);
    keys_put(&k, STR_LIT("a"), STR_LIT("x"), (struct position){0, 0}, 0);
    const struct position *p = keys_find(&k, STR_LIT("a"), STR_LIT("x"), 0);
    assert_non_null(p);
    assert_true(p->epoch == 0 && p->offset == 0);
    keys_fini(&k);
}

static void test_a_key_expires(void **state)
{
    (void)state;
    keys_init(&k, 100);
    put("a", "x", 1, 1000);
    put("a", "y", 2, 2000);
    assert_int_equal(find("a", "x", 1000 + KEYS_TTL_MS - 1), 1);
    assert_int_equal(find("a", "x", 1000 + KEYS_TTL_MS), 0);
    assert_int_equal(k.count, 1);
    put("a", "x", 3, 2000 + KEYS_TTL_MS); /* finding it did not prolong y */
    assert_int_equal(k.count, 1);
    assert_int_equal(find("a", "x", 2000 + KEYS_TTL_MS), 3);
    assert_int_equal(k.evicted, 0);
    keys_fini(&k);
}

static void test_the_oldest_goes(void **state)
{
    (void)state;
    keys_init(&k, 2);
    put("a", "x", 1, 0);
    put("a", "y", 2, 0);
    assert_int_equal(find("a", "x", 0), 1); /* not a use */
    put("a", "z", 3, 0);
    assert_int_equal(find("a", "x", 0), 0);
    assert_int_equal(find("a", "y", 0), 2);
    assert_int_equal(find("a", "z", 0), 3);
    assert_int_equal(k.evicted, 1);
    keys_fini(&k);
    keys_init(&k, 0);
    put("a", "x", 1, 0);
    assert_int_equal(find("a", "x", 0), 0);
    assert_int_equal(k.evicted, 1);
    keys_fini(&k);
}

static void test_the_longest(void **state)
{
    (void)state;
    static char text[KEYS_KEY_MAX_BYTES];
    static char channel[UINT16_MAX];
    struct str name = str_n(channel, sizeof(channel));
    struct str key = str_n(text, sizeof(text));
    keys_init(&k, 2);
    keys_put(&k, name, key, (struct position){1, 2}, 0);
    assert_non_null(keys_find(&k, name, key, 0));
    text[KEYS_KEY_MAX_BYTES - 1] = 1;
    assert_null(keys_find(&k, name, key, 0));
    keys_fini(&k);
}

/* The model: what was put when, of every pair. */
struct line {
    bool known;
    uint64_t offset; /* which put it was, of all: the order too */
    uint64_t put_ms;
};

static struct line lines[CHANNELS][KEYS];
static uint64_t put_count;
static uint64_t evicted;

static size_t expire_lines(uint64_t now_ms)
{
    size_t count = 0;
    for (unsigned c = 0; c < CHANNELS; c++)
        for (unsigned i = 0; i < KEYS; i++) {
            struct line *l = &lines[c][i];
            l->known = l->known && l->put_ms + KEYS_TTL_MS > now_ms;
            count += l->known;
        }
    return count;
}

static void forget_oldest_line(void)
{
    struct line *oldest = NULL;
    for (unsigned c = 0; c < CHANNELS; c++)
        for (unsigned i = 0; i < KEYS; i++)
            if (lines[c][i].known &&
                (!oldest || lines[c][i].offset < oldest->offset))
                oldest = &lines[c][i];
    oldest->known = false;
    evicted++;
}

static void step(struct rand *r, uint64_t now_ms)
{
    unsigned c = (unsigned)rand_below(r, CHANNELS);
    unsigned i = (unsigned)rand_below(r, KEYS);
    struct str channel = str_n("aaaa", c); /* so that pairs look alike */
    struct str key = str_n("aaaaaa", i);
    struct line *l = &lines[c][i];
    expire_lines(now_ms);
    const struct position *p = keys_find(&k, channel, key, now_ms);
    assert_int_equal(p != NULL, l->known);
    assert_true(!p || (p->offset == l->offset && p->epoch == l->put_ms));
    if (!p && rand_below(r, 2)) {
        *l = (struct line){true, ++put_count, now_ms};
        keys_put(&k, channel, key, (struct position){now_ms, put_count},
                 now_ms);
        if (expire_lines(now_ms) > k.max_count)
            forget_oldest_line();
    }
    keys_check(&k);
    assert_int_equal(k.count, expire_lines(now_ms));
    assert_int_equal(k.evicted, evicted);
}

static void test_random_against_lines(void **state)
{
    (void)state;
    static const size_t bounds[] = {CHANNELS * KEYS, 11, 1, 0};
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        struct rand r;
        uint64_t now_ms = 7;
        rand_init(&r, i);
        memset(lines, 0, sizeof(lines));
        put_count = evicted = 0;
        keys_init(&k, bounds[i]);
        for (int n = 0; n < STEPS; n++) {
            step(&r, now_ms);
            now_ms += rand_below(&r, 3) ? 0 : rand_below(&r, KEYS_TTL_MS / 8);
        }
        assert_int_equal(evicted > 0, i > 0);
        keys_fini(&k);
        assert_int_equal(k.count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_is_its_channels_alone),
        cmocka_unit_test(test_a_result_without_a_place_is_known_too),
        cmocka_unit_test(test_a_key_expires),
        cmocka_unit_test(test_the_oldest_goes),
        cmocka_unit_test(test_the_longest),
        cmocka_unit_test(test_random_against_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
