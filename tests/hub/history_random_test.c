#include "hub/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"

#define CHANNELS 10
#define SIZE_MOST 40
#define STEPS 30000
#define NO_BOUND (SIZE_MAX / 2)

/* --- the model: arrays, searched and moved for everything ----------------- */

struct mitem {
    uint64_t offset;
    uint64_t at_ms;
    size_t bytes; /* msg_size */
};

struct mstream {
    bool live;
    uint64_t epoch;
    uint64_t top;
    uint64_t floor;
    bool cut;
    unsigned count;
    struct mitem items[SIZE_MOST + 1];
    uint64_t used_ms;
    uint64_t published_ms;
    uint64_t used; /* which use, of all, was the last */
    uint64_t born; /* which stream, of all, it is */
    uint64_t version;
    struct str version_epoch;
};

struct world {
    struct history h;
    struct rand rand;
    bool is_sparse;
    uint64_t now_ms;
    uint64_t uses;
    uint64_t births;
    uint64_t swept; /* born of the stream it goes on with; 0: the first */
    uint64_t evicted;
    uint64_t gone;      /* streams that went by themselves */
    uint64_t told;      /* of these, by the callback */
    uint64_t told_born; /* what the epochs it gave come to */
    uint64_t gone_born;
    struct mstream streams[CHANNELS];
};

static struct world w;
static struct msg_budget inflight = {.max_bytes = INT64_MAX};
static struct msg_budget held = {.max_bytes = INT64_MAX};

static const struct history_policy policies[] = {
    {.size = 10, .ttl_ms = 60, .meta_ttl_ms = 150},
    {.size = 1, .ttl_ms = 100, .meta_ttl_ms = 300},
    {.size = SIZE_MOST, .ttl_ms = 400, .meta_ttl_ms = 400},
    {.size = 0, .ttl_ms = 60, .meta_ttl_ms = 200},
    {.size = 17, .ttl_ms = 300, .meta_ttl_ms = 0},
};

static const struct history_policy *policy_of(unsigned c)
{
    return &policies[c % ARRAY_LEN(policies)];
}

/* Names of all lengths; hashes that collide. */
static struct str name_of(unsigned c)
{
    return str_n("channel-name", c);
}

static uint32_t hash_of(unsigned c)
{
    return c % 3;
}

static uint64_t below(uint64_t n)
{
    return rand_below(&w.rand, n);
}

static size_t mbytes_of(const struct mstream *m)
{
    size_t n = HISTORY_STREAM_COST + name_of((unsigned)(m - w.streams)).n;
    for (unsigned i = 0; i < m->count; i++)
        n += HISTORY_ITEM_COST + m->items[i].bytes;
    return n;
}

static size_t mbytes(void)
{
    size_t n = 0;
    for (unsigned c = 0; c < CHANNELS; c++)
        n += w.streams[c].live ? mbytes_of(&w.streams[c]) : 0;
    return n;
}

/* The stream that comes after this birth; 0: there is none. */
static uint64_t mborn_after(uint64_t born)
{
    uint64_t next = 0;
    for (unsigned c = 0; c < CHANNELS; c++) {
        const struct mstream *m = &w.streams[c];
        if (m->live && m->born > born && (!next || m->born < next))
            next = m->born;
    }
    return next;
}

static void mdrop(struct mstream *m)
{
    if (w.swept == m->born)
        w.swept = mborn_after(m->born);
    m->live = false;
}

static void mforget(struct mstream *m)
{
    w.gone++;
    w.gone_born += m->born;
    mdrop(m);
}

static void mpop(struct mstream *m)
{
    m->floor = m->items[0].offset;
    m->count--;
    memmove(m->items, m->items + 1, m->count * sizeof(m->items[0]));
}

static void mexpire(struct mstream *m)
{
    const struct history_policy *p = policy_of((unsigned)(m - w.streams));
    bool is_cache = w.h.is_cache;
    if (!is_cache && p->meta_ttl_ms && m->used_ms + p->meta_ttl_ms <= w.now_ms)
        mforget(m);
    while (m->live && m->count > 0) {
        uint64_t since = is_cache ? m->items[0].at_ms : m->published_ms;
        if (since + p->ttl_ms > w.now_ms)
            break;
        mpop(m);
    }
}

static void muse(struct mstream *m)
{
    m->used_ms = w.now_ms;
    m->used = ++w.uses;
}

/* Who pays next, but not `keep` while there is another. */
static struct mstream *mvictim(struct mstream *keep)
{
    struct mstream *least = NULL;
    for (unsigned c = 0; c < CHANNELS; c++) {
        struct mstream *m = &w.streams[c];
        if (m->live && m != keep && (m->count > 0 || !w.h.is_cache) &&
            (!least || m->used < least->used))
            least = m;
    }
    return least;
}

static void mevict(struct mstream *keep)
{
    while (mbytes() > w.h.max_bytes) {
        struct mstream *m = mvictim(keep);
        if (!m && keep->count == 0)
            return;
        if (!m) {
            mpop(keep);
            keep->cut = true;
            w.evicted++;
            continue;
        }
        w.evicted += m->count;
        if (!w.h.is_cache) {
            mforget(m);
            continue;
        }
        while (m->count > 0)
            mpop(m);
        m->cut = true;
    }
}

static bool mfind(struct mstream *m)
{
    if (m->live)
        mexpire(m);
    if (m->live)
        muse(m);
    return m->live;
}

static void mget(struct mstream *m, uint64_t epoch)
{
    if (mfind(m))
        return;
    *m = (struct mstream){.live = true, .epoch = epoch, .born = epoch};
    muse(m);
    mevict(m);
}

static void mappend(struct mstream *m, const struct msg *msg, uint64_t at_ms)
{
    const struct history_policy *p = policy_of((unsigned)(m - w.streams));
    while (!w.h.is_cache && m->count > 0 &&
           m->published_ms + p->ttl_ms <= w.now_ms)
        mpop(m);
    m->items[m->count++] = (struct mitem){msg->offset, at_ms, msg_size(msg)};
    m->top = msg->offset;
    m->published_ms = at_ms;
    muse(m);
    while (m->count > p->size)
        mpop(m);
    mexpire(m);
    mevict(m);
}

/* --- the same to both ----------------------------------------------------- */

/* In the tests an epoch is the number of its birth. */
static void on_forgotten(void *arg, const struct history_stream *s)
{
    assert_ptr_equal(arg, &w);
    w.told++;
    w.told_born += s->epoch;
}

static struct history_stream *get(unsigned c)
{
    uint64_t epoch = ++w.births;
    mget(&w.streams[c], epoch);
    struct history_stream *s = history_get(&w.h, name_of(c), hash_of(c),
                                           policy_of(c), epoch, w.now_ms);
    assert_non_null(s);
    return s;
}

/* Without a use. */
static struct history_stream *peek(unsigned c)
{
    struct str name = name_of(c);
    struct history_stream *s;
    HASH_FIND_BYHASHVALUE(hh, w.h.streams, name.p, name.n, hash_of(c), s);
    return s;
}

static void do_append(unsigned c)
{
    static const char data[2000];
    struct history_stream *s = get(c);
    struct msg_parts parts = {
        .channel = name_of(c),
        .data = str_n(data, below(50) ? below(100) : below(sizeof(data))),
        .offset = s->top + 1 + (w.is_sparse ? below(4) * below(10) : 0),
    };
    struct msg *m = msg_new(&inflight, &parts);
    assert_non_null(m);
    w.now_ms += below(8) ? 0 : below(200);
    uint64_t at_ms = w.now_ms;
    if (w.h.is_cache && below(3) == 0)
        at_ms = w.now_ms + 20 - below(150);
    mappend(&w.streams[c], m, at_ms);
    history_append(&w.h, s, m, at_ms, w.now_ms, &held);
    msg_unref(m);
}

static void do_find(unsigned c)
{
    bool expected = mfind(&w.streams[c]);
    struct history_stream *s =
        history_find(&w.h, name_of(c), hash_of(c), w.now_ms);
    assert_int_equal(s != NULL, expected);
    assert_ptr_equal(s, peek(c));
}

static void do_get(unsigned c)
{
    get(c);
}

static void do_clear(unsigned c)
{
    struct mstream *m = &w.streams[c];
    if (!m->live)
        return;
    m->count = 0;
    m->floor = m->top;
    m->cut = false;
    history_clear(&w.h, peek(c));
}

static void do_reset(unsigned c)
{
    struct mstream *m = &w.streams[c];
    if (!m->live)
        return;
    m->count = 0;
    m->top = m->floor = below(1000);
    m->cut = false;
    history_reset(&w.h, peek(c), m->epoch, m->top);
}

static void do_drop(unsigned c)
{
    if (!w.streams[c].live)
        return;
    mdrop(&w.streams[c]);
    history_drop(&w.h, peek(c));
}

static void do_sweep(unsigned c)
{
    uint32_t most = c % 5;
    unsigned live = 0;
    for (unsigned i = 0; i < CHANNELS; i++)
        live += w.streams[i].live;
    for (uint32_t n = 0; n < most && n < live; n++) {
        uint64_t born = w.swept ? w.swept : mborn_after(0);
        w.swept = mborn_after(born);
        for (unsigned i = 0; i < CHANNELS; i++)
            if (w.streams[i].live && w.streams[i].born == born)
                mexpire(&w.streams[i]);
    }
    history_sweep(&w.h, w.now_ms, most);
}

static void do_version(unsigned c)
{
    static const struct str epochs[] = {{"", 0}, {"x", 1}, {"yy", 2}};
    struct mstream *m = &w.streams[c];
    struct history_stream *s = peek(c);
    struct str epoch = epochs[below(ARRAY_LEN(epochs))];
    uint64_t version = below(8);
    if (!m->live)
        return;
    bool is_same = epoch.n == 0 || str_eq(epoch, m->version_epoch);
    bool is_old = version > 0 && is_same && m->version >= version;
    assert_int_equal(history_is_old_version(s, version, epoch), is_old);
    if (below(2)) {
        history_set_version(s, version, epoch);
        if (version > 0) {
            m->version = version;
            m->version_epoch = epoch;
        }
    }
}

static void do_after(unsigned c)
{
    const struct mstream *m = &w.streams[c];
    if (!m->live)
        return;
    uint64_t offset = m->top + 2 - below(m->top + 3 < 100 ? m->top + 3 : 100);
    uint32_t expected = 0;
    while (expected < m->count && m->items[expected].offset <= offset)
        expected++;
    assert_int_equal(history_after(peek(c), offset), expected);
}

static void compare_stream(unsigned c)
{
    const struct mstream *m = &w.streams[c];
    const struct history_stream *s = peek(c);
    assert_int_equal(s != NULL, m->live);
    if (!s)
        return;
    assert_ptr_equal(s->policy, policy_of(c));
    assert_true(s->epoch == m->epoch && s->top == m->top);
    assert_true(s->floor == m->floor && s->cut == m->cut);
    assert_true(s->used_ms == m->used_ms);
    assert_true(s->published_ms == m->published_ms);
    assert_true(s->version == m->version);
    assert_true(str_eq(str_of(s->version_epoch), m->version_epoch));
    assert_int_equal(s->bytes, mbytes_of(m));
    assert_int_equal(s->count, m->count);
    for (unsigned i = 0; i < m->count; i++) {
        assert_true(history_at(s, i)->msg->offset == m->items[i].offset);
        assert_true(history_at(s, i)->at_ms == m->items[i].at_ms);
        assert_int_equal(msg_size(history_at(s, i)->msg), m->items[i].bytes);
        assert_true(history_at(s, i)->msg->refs == 1);
    }
}

static void compare(void)
{
    int64_t kept = 0;
    unsigned live = 0;
    history_check(&w.h);
    for (unsigned c = 0; c < CHANNELS; c++) {
        const struct mstream *m = &w.streams[c];
        compare_stream(c);
        live += m->live;
        for (unsigned i = 0; m->live && i < m->count; i++)
            kept += (int64_t)m->items[i].bytes;
    }
    assert_int_equal(HASH_COUNT(w.h.streams), live);
    assert_int_equal(w.h.bytes, mbytes());
    assert_true(w.h.evicted == w.evicted);
    assert_true(w.told == w.gone && w.told_born == w.gone_born);
    assert_true(held.used_bytes == kept && inflight.used_bytes == 0);
}

static void step(void)
{
    static void (*const rare[])(unsigned) = {do_get,   do_clear,   do_reset,
                                             do_drop,  do_sweep,   do_sweep,
                                             do_after, do_version, do_version};
    unsigned c = (unsigned)below(CHANNELS);
    uint64_t what = below(100);
    if (what < 60)
        do_append(c);
    else if (what < 75)
        do_find(c);
    else
        rare[below(ARRAY_LEN(rare))](c);
    w.now_ms += below(100) ? below(4) : below(400);
}

static void run(size_t max_bytes, bool is_cache, bool is_sparse)
{
    w = (struct world){.now_ms = 1000, .is_sparse = is_sparse};
    rand_init(&w.rand, max_bytes * 4 + is_cache * 2 + is_sparse);
    history_init(&w.h, max_bytes, is_cache);
    w.h.forgotten = on_forgotten;
    w.h.arg = &w;
    for (int i = 0; i < STEPS; i++) {
        step();
        compare();
    }
}

static void finish(void)
{
    uint64_t told = w.told;
    history_fini(&w.h);
    assert_true(w.h.bytes == 0 && w.told == told);
    assert_true(held.used_bytes == 0 && inflight.used_bytes == 0);
}

static void test_random_in_process(void **state)
{
    (void)state;
    run(NO_BOUND, false, false);
    assert_true(w.told > 0 && w.evicted == 0);
    finish();
    run(NO_BOUND, false, true);
    finish();
}

static void test_random_in_process_in_little_room(void **state)
{
    (void)state;
    static const size_t bounds[] = {0, 300, 3000, 10000};
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        run(bounds[i], false, i % 2);
        assert_true(w.told > 0 && w.evicted > 0);
        finish();
    }
}

static void test_random_in_a_cache(void **state)
{
    (void)state;
    run(NO_BOUND, true, true);
    assert_true(w.told == 0 && w.evicted == 0);
    finish();
    run(NO_BOUND, true, false);
    finish();
}

static void test_random_in_a_cache_in_little_room(void **state)
{
    (void)state;
    static const size_t bounds[] = {0, 3000, 4500, 10000};
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        run(bounds[i], true, i % 2 == 0);
        assert_true(w.told == 0 && w.evicted > 0);
        finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_in_process),
        cmocka_unit_test(test_random_in_process_in_little_room),
        cmocka_unit_test(test_random_in_a_cache),
        cmocka_unit_test(test_random_in_a_cache_in_little_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
