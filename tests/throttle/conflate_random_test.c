#include "throttle/conflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "tests/kit/value.h"

#define KEYS 24
#define STEPS 25000

/* --- the model: an array of items, searched for everything --------------- */

struct mitem {
    bool live;
    uint64_t key;
    uint64_t wait_seq;  /* 0: nothing waits */
    uint64_t first_seq; /* of those that waited in its place */
    uint64_t sent_ns;
    uint64_t entered; /* when it began to wait, or to rest */
    uint32_t count;
    uint32_t sent_count;
};

struct world {
    struct conflate c;
    struct rand rand;
    uint64_t now_ns;
    uint64_t seq;
    uint64_t entries; /* stamps of mitem.entered */
    struct mitem items[KEYS];
    uint64_t newest[KEYS];  /* seq of the newest offer of a key */
    uint64_t sent_ns[KEYS]; /* when a key was last sent */
    uint64_t conflated;
    uint64_t untracked;
};

static struct world w;

static void enter(struct mitem *m)
{
    m->entered = ++w.entries;
}

static struct mitem *mfind(uint64_t key)
{
    for (size_t i = 0; i < ARRAY_LEN(w.items); i++)
        if (w.items[i].live && w.items[i].key == key)
            return &w.items[i];
    return NULL;
}

static unsigned mcount(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(w.items); i++)
        n += w.items[i].live;
    return n;
}

/* Of those that wait, or of those that rest. */
static struct mitem *mfirst(bool waits)
{
    struct mitem *first = NULL;
    for (size_t i = 0; i < ARRAY_LEN(w.items); i++) {
        struct mitem *m = &w.items[i];
        if (m->live && (m->wait_seq != 0) == waits &&
            (!first || m->entered < first->entered))
            first = m;
    }
    return first;
}

static bool mmay_send(const struct mitem *m)
{
    return w.now_ns >= m->sent_ns + w.c.interval_ns;
}

static void mmark(struct mitem *m)
{
    m->wait_seq = 0;
    m->sent_count = m->count;
    m->sent_ns = w.now_ns;
    enter(m);
}

/* A new one is sent at once, tracked or not. */
static void madd(uint64_t key)
{
    if (mcount() == w.c.max_items) {
        struct mitem *oldest = mfirst(false);
        if (!oldest || !mmay_send(oldest)) {
            w.untracked++;
            return;
        }
        oldest->live = false;
    }
    struct mitem *m = w.items;
    while (m->live)
        m++;
    *m = (struct mitem){.live = true, .key = key, .count = 1};
    mmark(m);
}

/* What an offer must answer. */
static bool moffer(uint64_t key, uint64_t seq)
{
    struct mitem *m = mfind(key);
    if (w.c.interval_ns == 0)
        return true;
    if (!m) {
        madd(key);
        return true;
    }
    m->count++;
    if (!m->wait_seq && mmay_send(m)) {
        mmark(m);
        return true;
    }
    if (m->wait_seq) {
        w.conflated++;
    } else {
        m->first_seq = seq;
        enter(m);
    }
    m->wait_seq = seq;
    return false;
}

/* --- one step: do it, and compare ---------------------------------------- */

static void do_offer(void)
{
    uint64_t key = rand_below(&w.rand, KEYS);
    struct value *v = value_new(key, ++w.seq);
    w.newest[key] = w.seq;
    bool expected = moffer(key, w.seq);
    bool now = conflate_offer(&w.c, key, v, w.seq, w.now_ns);
    assert_int_equal(now, expected);
    value_unref(v);
    if (!now)
        return;
    /* With room for all keys nothing is forgotten before its time. */
    if (w.c.max_items == KEYS && w.sent_ns[key])
        assert_true(w.now_ns - w.sent_ns[key] >= w.c.interval_ns);
    w.sent_ns[key] = w.now_ns;
}

static void do_take(void)
{
    struct conflate_due due;
    struct mitem *m = mfirst(true);
    bool got = conflate_take(&w.c, w.now_ns, &due);
    assert_int_equal(got, m != NULL);
    if (!m)
        return;
    const struct value *v = due.value;
    assert_true(v->key == m->key);
    assert_true(v->seq == w.newest[m->key]);
    assert_true(due.seq == v->seq && due.first_seq == m->first_seq);
    assert_int_equal(due.n, m->count - m->sent_count);
    assert_true(due.n > 0);
    mmark(m);
    w.sent_ns[m->key] = w.now_ns;
    value_unref(due.value);
}

static void do_rest(void)
{
    struct mitem *m;
    while ((m = mfirst(false)) && mmay_send(m))
        m->live = false;
    assert_int_equal(conflate_rest(&w.c, w.now_ns), mcount() > 0);
}

/* Returns how many values wait. */
static int compare_items(void)
{
    const struct conflate_item *item;
    int waiting = 0;
    for (item = w.c.items; item; item = item->hh.next) {
        const struct mitem *m = mfind(item->key);
        assert_non_null(m);
        const struct value *v = item->value;
        assert_true((v ? v->seq : 0) == m->wait_seq);
        assert_true(!v || v->seq == w.newest[item->key]);
        assert_true(!v || item->seq == v->seq);
        assert_true(item->sent_ns == m->sent_ns);
        assert_int_equal(item->count, m->count);
        assert_int_equal(item->sent_count, m->sent_count);
        waiting += v != NULL;
    }
    return waiting;
}

static void compare(void)
{
    conflate_check(&w.c);
    assert_int_equal(w.c.count, mcount());
    assert_true(w.c.count <= w.c.max_items);
    assert_true(w.c.conflated == w.conflated);
    assert_true(w.c.untracked == w.untracked);
    assert_int_equal(values_alive, compare_items());
}

static void finish(void)
{
    conflate_fini(&w.c);
    assert_int_equal(values_alive, 0);
}

/* `weights`: how often offer, take and rest come. */
static void run(uint64_t interval_ns, uint32_t max_items,
                const unsigned weights[3])
{
    static void (*const steps[3])(void) = {do_offer, do_take, do_rest};
    w = (struct world){.now_ns = 1000};
    rand_init(&w.rand, interval_ns * 1000 + max_items);
    conflate_init(&w.c, interval_ns, max_items, &VALUE_OPS);
    unsigned sum = weights[0] + weights[1] + weights[2];
    for (int k = 0; k < STEPS; k++) {
        uint64_t at = rand_below(&w.rand, sum);
        int i = 0;
        for (; at >= weights[i]; i++)
            at -= weights[i];
        steps[i]();
        compare();
        w.now_ns += rand_below(&w.rand, 5);
    }
}

static const unsigned MANY_TAKES[3] = {8, 8, 1};
static const unsigned FEW_TAKES[3] = {20, 2, 1};

static void test_random_with_room_for_all(void **state)
{
    (void)state;
    run(100, KEYS, MANY_TAKES);
    assert_true(w.c.conflated > 0 && w.c.untracked == 0);
    finish();
    run(100, KEYS, FEW_TAKES);
    assert_true(w.c.conflated > 0 && w.c.untracked == 0);
    finish();
    run(1, KEYS, MANY_TAKES);
    finish();
}

static void test_random_in_a_full_table(void **state)
{
    (void)state;
    run(100, 8, MANY_TAKES);
    assert_true(w.c.conflated > 0 && w.c.untracked > 0);
    finish();
    run(20, 8, FEW_TAKES);
    assert_true(w.c.conflated > 0 && w.c.untracked > 0);
    finish();
    run(100, 0, MANY_TAKES);
    assert_true(w.c.untracked > 0 && w.c.count == 0);
    finish();
}

static void test_random_without_a_rate(void **state)
{
    (void)state;
    run(0, KEYS, MANY_TAKES);
    assert_true(w.c.count == 0 && w.c.conflated == 0 && w.c.untracked == 0);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_with_room_for_all),
        cmocka_unit_test(test_random_in_a_full_table),
        cmocka_unit_test(test_random_without_a_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
