#include "hub/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

#define EPOCH UINT64_C(77)
#define NO_BOUND (SIZE_MAX / 2)
#define NEVER (UINT64_MAX / 4)

static const struct history_policy plain = {
    .size = 100,
    .ttl_ms = 1000,
    .meta_ttl_ms = 5000,
};

static struct msg_budget inflight = {.max_bytes = INT64_MAX};
static struct msg_budget held = {.max_bytes = INT64_MAX};
static struct history h;
static char forgotten[64]; /* the names of those that went by themselves */

static void on_forgotten(void *arg, const struct history_stream *s)
{
    assert_ptr_equal(arg, &h);
    assert_true(s->epoch == EPOCH);
    strncat(forgotten, s->name, s->len);
}

static void begin(size_t max_bytes, bool is_cache)
{
    history_init(&h, max_bytes, is_cache);
    h.forgotten = on_forgotten;
    h.arg = &h;
    forgotten[0] = '\0';
}

static void end(void)
{
    size_t n = strlen(forgotten);
    history_check(&h);
    history_fini(&h);
    assert_int_equal(h.bytes, 0);
    assert_null(h.streams);
    assert_int_equal(strlen(forgotten), n);
    assert_true(held.used_bytes == 0 && inflight.used_bytes == 0);
}

static struct history_stream *find(const char *name, uint64_t now_ms)
{
    struct str s = str_of(name);
    return history_find(&h, s, msg_channel_hash(s), now_ms);
}

static struct history_stream *get(const char *name,
                                  const struct history_policy *policy,
                                  uint64_t now_ms)
{
    struct str s = str_of(name);
    return history_get(&h, s, msg_channel_hash(s), policy, EPOCH, now_ms);
}

static struct msg *message_in(struct msg_budget *budget, uint64_t offset,
                              size_t data_len)
{
    static char data[4096];
    struct msg_parts parts = {
        .channel = STR_LIT("c"),
        .data = str_n(data, data_len),
        .offset = offset,
    };
    struct msg *m = msg_new(budget, &parts);
    assert_non_null(m);
    return m;
}

static struct msg *message(uint64_t offset, size_t data_len)
{
    return message_in(&inflight, offset, data_len);
}

static size_t cost(size_t data_len)
{
    return sizeof(struct msg) + 1 + data_len + HISTORY_ITEM_COST;
}

static void append_at(struct history_stream *s, uint64_t offset, uint64_t at_ms,
                      uint64_t now_ms)
{
    struct msg *m = message(offset, 10);
    history_append(&h, s, m, at_ms, now_ms, &held);
    msg_unref(m);
    history_check(&h);
}

static void append(struct history_stream *s, uint64_t offset, uint64_t now_ms)
{
    append_at(s, offset, now_ms, now_ms);
}

static void check_place(const struct history_stream *s, uint64_t floor,
                        uint64_t top, uint32_t count)
{
    assert_true(s->floor == floor);
    assert_true(s->top == top);
    assert_int_equal(s->count, count);
}

static void test_an_empty_stream(void **state)
{
    (void)state;
    begin(NO_BOUND, false);
    assert_null(find("a", 1));
    struct history_stream *s = get("a", &plain, 1);
    assert_ptr_equal(get("a", &plain, 2), s);
    assert_ptr_equal(find("a", 3), s);
    assert_true(s->epoch == EPOCH && s->policy == &plain && !s->cut);
    check_place(s, 0, 0, 0);
    assert_int_equal(history_after(s, 0), 0);
    assert_int_equal(s->published_ms, 0);
    assert_int_equal(s->used_ms, 3);
    assert_int_equal(h.bytes, HISTORY_STREAM_COST + 1);
    assert_true(str_eq(str_n(s->name, s->len), STR_LIT("a")));
    assert_null(find("", 3));
    assert_ptr_not_equal(get("", &plain, 3), s);
    end();
}

static void test_the_ring_keeps_the_newest(void **state)
{
    (void)state;
    static const struct history_policy five = {5, 1000, 5000, 0, 0, 0};
    begin(NO_BOUND, false);
    struct history_stream *s = get("a", &five, 0);
    for (uint64_t i = 1; i <= 5; i++)
        append(s, i, i);
    check_place(s, 0, 5, 5);
    for (uint64_t i = 6; i <= 18; i++)
        append(s, i, i);
    check_place(s, 13, 18, 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_true(history_at(s, i)->msg->offset == 14 + i);
        assert_true(history_at(s, i)->at_ms == 14 + i);
    }
    assert_int_equal(s->cap, 5);
    assert_int_equal(h.evicted, 0);
    assert_int_equal(h.bytes, HISTORY_STREAM_COST + 1 + 5 * cost(10));
    assert_int_equal(s->published_ms, 18);
    end();
}

static void test_size_one(void **state)
{
    (void)state;
    static const struct history_policy one = {.size = 1, .ttl_ms = 1000};
    begin(NO_BOUND, true);
    struct history_stream *s = get("a", &one, 0);
    append(s, 7, 0);
    check_place(s, 0, 7, 1);
    append(s, 9, 0);
    check_place(s, 7, 9, 1);
    assert_int_equal(s->cap, 1);
    end();
}

static void test_without_a_size_only_the_top_moves(void **state)
{
    (void)state;
    for (int is_cache = 0; is_cache < 2; is_cache++) {
        begin(NO_BOUND, is_cache);
        struct history_stream *s = get("a", &history_none, 3);
        append(s, 4, 4);
        check_place(s, 4, 4, 0);
        append(s, 9, 5);
        check_place(s, 9, 9, 0);
        assert_false(s->cut);
        assert_int_equal(s->published_ms, 5);
        /* Its policy has no meta_ttl_ms: it does not expire. */
        assert_ptr_equal(find("a", NEVER), s);
        end();
    }
}

static void test_after_finds_the_next_item(void **state)
{
    (void)state;
    begin(NO_BOUND, true);
    struct history_stream *s = get("a", &plain, 0);
    history_reset(&h, s, EPOCH, 17);
    append(s, 19, 0);
    append(s, 23, 0);
    append(s, 31, 0);
    check_place(s, 17, 31, 3);
    assert_int_equal(history_after(s, 0), 0);
    assert_int_equal(history_after(s, 17), 0);
    assert_int_equal(history_after(s, 18), 0);
    assert_int_equal(history_after(s, 19), 1);
    assert_int_equal(history_after(s, 22), 1);
    assert_int_equal(history_after(s, 23), 2);
    assert_int_equal(history_after(s, 30), 2);
    assert_int_equal(history_after(s, 31), 3);
    assert_int_equal(history_after(s, UINT64_MAX), 3);
    end();
}

static void test_in_process_the_list_expires_as_a_whole(void **state)
{
    (void)state;
    begin(NO_BOUND, false);
    struct history_stream *s = get("a", &plain, 0);
    append(s, 1, 100);
    append(s, 2, 900);
    assert_ptr_equal(find("a", 1899), s);
    check_place(s, 0, 2, 2); /* the first is older than ttl_ms */
    assert_ptr_equal(find("a", 1900), s);
    check_place(s, 2, 2, 0);
    assert_true(s->epoch == EPOCH && !s->cut && s->cap == 0);
    append(s, 3, 2000);
    check_place(s, 2, 3, 1);
    append(s, 4, 3000); /* what it came too late for does not come back */
    check_place(s, 3, 4, 1);
    assert_string_equal(forgotten, "");
    assert_int_equal(h.evicted, 0);
    end();
}

static void test_in_a_cache_each_item_expires(void **state)
{
    (void)state;
    begin(NO_BOUND, true);
    struct history_stream *s = get("a", &plain, 5000);
    append_at(s, 10, 4500, 5000);
    append_at(s, 20, 4600, 5000);
    append_at(s, 30, 4700, 5000);
    assert_ptr_equal(find("a", 5499), s);
    check_place(s, 0, 30, 3);
    find("a", 5500);
    check_place(s, 10, 30, 2);
    append_at(s, 40, 5650, 5650);
    check_place(s, 20, 40, 2);
    s->cut = true;
    find("a", 9000);
    check_place(s, 40, 40, 0);
    assert_true(s->cut);
    append_at(s, 50, 7000, 9000); /* too old before it came */
    check_place(s, 50, 50, 0);
    assert_int_equal(s->published_ms, 7000);
    append_at(s, 60, 9500, 9000); /* by a clock that is ahead */
    check_place(s, 50, 60, 1);
    assert_string_equal(forgotten, "");
    assert_ptr_equal(find("a", NEVER), s); /* the position never goes */
    end();
}

static void test_a_quiet_stream_goes_with_its_epoch(void **state)
{
    (void)state;
    begin(NO_BOUND, false);
    append(get("a", &plain, 0), 1, 0);
    assert_non_null(find("a", 4999)); /* a read is a use */
    assert_non_null(find("a", 9998));
    assert_null(find("a", 14998));
    assert_string_equal(forgotten, "a");
    append(get("a", &plain, 20000), 1, 24000); /* so is a publication */
    assert_non_null(find("a", 28999));
    struct history_stream *s = get("a", &plain, 40000);
    assert_string_equal(forgotten, "aa");
    check_place(s, 0, 0, 0);
    history_drop(&h, s);
    assert_string_equal(forgotten, "aa");
    assert_null(h.streams);
    end();
}

static void test_clear_and_reset(void **state)
{
    (void)state;
    begin(NO_BOUND, true);
    struct history_stream *s = get("a", &plain, 0);
    append(s, 3, 0);
    append(s, 8, 0);
    s->cut = true;
    history_clear(&h, s);
    history_check(&h);
    check_place(s, 8, 8, 0);
    assert_true(s->epoch == EPOCH && !s->cut);
    assert_int_equal(held.used_bytes, 0);
    append(s, 9, 0);
    s->cut = true;
    history_reset(&h, s, 78, 4);
    history_check(&h);
    check_place(s, 4, 4, 0);
    assert_true(s->epoch == 78 && !s->cut);
    append(s, 5, 0);
    check_place(s, 4, 5, 1);
    s->epoch = EPOCH;
    end();
}

static void test_what_is_kept_counts_in_another_budget(void **state)
{
    (void)state;
    static const struct history_policy two = {.size = 2, .ttl_ms = 1000};
    begin(NO_BOUND, true);
    struct history_stream *s = get("a", &two, 0);
    struct msg *m = message(1, 10);
    int64_t n = (int64_t)msg_size(m);
    history_append(&h, s, m, 0, 0, &held);
    assert_true(m->refs == 1);
    assert_true(held.used_bytes == n && inflight.used_bytes == n);
    msg_unref(m);
    assert_true(held.used_bytes == n && inflight.used_bytes == 0);
    append(s, 2, 0);
    append(s, 3, 0);
    assert_true(held.used_bytes == 2 * n);
    m = message_in(&held, 4, 10); /* it is there already: shared */
    history_append(&h, s, m, 0, 0, &held);
    assert_true(m->refs == 2 && held.used_bytes == 2 * n);
    msg_unref(m);

    m = message(5, 10); /* not kept: it stays what it was */
    history_append(&h, s, m, 0, 5000, &held);
    assert_true(m->refs == 1);
    assert_true(held.used_bytes == 0 && inflight.used_bytes == n);
    msg_unref(m);
    end();
}

/* Room for three streams with two items each. */
static void begin_full(bool is_cache)
{
    begin(3 * (HISTORY_STREAM_COST + 1 + 2 * cost(10)), is_cache);
    append(get("a", &plain, 1), 1, 1);
    append(get("b", &plain, 2), 1, 2);
    append(get("c", &plain, 3), 1, 3);
    append(get("c", &plain, 4), 2, 4);
    append(get("b", &plain, 5), 2, 5);
    append(get("a", &plain, 6), 2, 6);
    assert_int_equal(h.bytes, h.max_bytes);
    assert_int_equal(h.evicted, 0);
}

static void test_in_process_the_least_recently_used_stream_goes(void **state)
{
    (void)state;
    begin_full(false);
    assert_non_null(find("c", 7)); /* b is the least recently used now */
    append(get("c", &plain, 8), 3, 8);
    assert_string_equal(forgotten, "b");
    assert_int_equal(h.evicted, 2);
    check_place(find("a", 9), 0, 2, 2);
    check_place(find("c", 9), 0, 3, 3);
    assert_null(find("b", 9));
    get("d", &plain, 10); /* a new one costs too */
    get("e", &plain, 10);
    assert_string_equal(forgotten, "ba");
    assert_int_equal(h.evicted, 4);
    end();
}

static void test_in_a_cache_it_keeps_its_position(void **state)
{
    (void)state;
    begin_full(true);
    find("c", 7);
    append(get("c", &plain, 8), 3, 8);
    assert_string_equal(forgotten, "");
    assert_int_equal(h.evicted, 2);
    struct history_stream *b = find("b", 9);
    check_place(b, 2, 2, 0);
    assert_true(b->cut && b->cap == 0);
    check_place(find("c", 9), 0, 3, 3);
    check_place(find("a", 9), 0, 2, 2);
    assert_false(find("a", 9)->cut);
    append(b, 3, 10); /* now c, with three, pays */
    append(b, 4, 10);
    check_place(b, 2, 4, 2);
    assert_true(b->cut);
    check_place(find("c", 11), 3, 3, 0);
    check_place(find("a", 11), 0, 2, 2);
    assert_int_equal(h.evicted, 5);
    history_reset(&h, b, EPOCH, 3);
    assert_false(b->cut);
    end();
}

static void test_alone_a_stream_gives_up_its_oldest(void **state)
{
    (void)state;
    for (int is_cache = 0; is_cache < 2; is_cache++) {
        begin(HISTORY_STREAM_COST + 1 + 3 * cost(10), is_cache);
        struct history_stream *s = get("a", &plain, 0);
        for (uint64_t i = 1; i <= 5; i++) {
            append(s, i, 0);
            assert_int_equal(s->cut, i > 3);
        }
        check_place(s, 2, 5, 3);
        assert_int_equal(h.evicted, 2);
        struct msg *m = message(6, 4000); /* fits not even alone */
        history_append(&h, s, m, 0, 0, &held);
        msg_unref(m);
        history_check(&h);
        check_place(s, 6, 6, 0);
        assert_int_equal(h.evicted, 6);
        assert_string_equal(forgotten, "");
        end();
    }
}

static void test_positions_alone_may_be_over_the_bound(void **state)
{
    (void)state;
    begin(0, true);
    struct history_stream *a = get("a", &plain, 0);
    struct history_stream *b = get("b", &plain, 0);
    append(a, 1, 0);
    check_place(a, 1, 1, 0);
    assert_true(a->cut && !b->cut);
    assert_ptr_equal(find("b", 0), b);
    end();
    begin(0, false);
    get("a", &plain, 0);
    history_check(&h);
    get("b", &plain, 0);
    assert_string_equal(forgotten, "a");
    assert_non_null(find("b", 0));
    end();
}

static void test_the_ring_gives_memory_back(void **state)
{
    (void)state;
    begin(NO_BOUND, true);
    struct history_stream *s = get("a", &plain, 0);
    uint32_t caps[] = {4, 4, 4, 4, 8, 8, 8, 8, 16};
    for (uint32_t i = 0; i < ARRAY_LEN(caps); i++) {
        append(s, i + 1, i);
        assert_int_equal(s->cap, caps[i]);
    }
    for (uint32_t i = 9; i < 100; i++)
        append(s, i + 1, i);
    assert_int_equal(s->cap, 100);
    find("a", 1073); /* 26 are left */
    assert_int_equal(s->count, 26);
    assert_int_equal(s->cap, 100);
    find("a", 1074);
    assert_int_equal(s->count, 25);
    assert_int_equal(s->cap, 50);
    for (uint32_t i = 0; i < 25; i++)
        assert_true(history_at(s, i)->msg->offset == 76 + i);
    find("a", 1098);
    assert_int_equal(s->count, 1);
    assert_int_equal(s->cap, 4);
    find("a", 1099);
    assert_int_equal(s->cap, 0);
    assert_null(s->ring);
    end();
}

static void test_versions(void **state)
{
    (void)state;
    begin(NO_BOUND, false);
    struct history_stream *s = get("a", &plain, 0);
    struct str none = STR_LIT("");
    struct str x = STR_LIT("x");
    assert_false(history_is_old_version(s, 0, none));
    assert_false(history_is_old_version(s, 1, none));
    history_set_version(s, 5, none);
    assert_false(history_is_old_version(s, 0, none));
    assert_true(history_is_old_version(s, 4, none));
    assert_true(history_is_old_version(s, 5, none));
    assert_false(history_is_old_version(s, 6, none));
    assert_false(history_is_old_version(s, 4, x));
    history_set_version(s, 3, x);
    assert_true(history_is_old_version(s, 3, x));
    assert_true(history_is_old_version(s, 3, none));
    assert_false(history_is_old_version(s, 4, none));
    assert_false(history_is_old_version(s, 1, STR_LIT("xx")));
    assert_false(history_is_old_version(s, 1, STR_LIT("y")));
    history_set_version(s, 0, none); /* says nothing */
    assert_true(history_is_old_version(s, 3, x));
    history_clear(&h, s);
    assert_true(history_is_old_version(s, 3, x));
    history_set_version(s, UINT64_MAX, none);
    assert_true(history_is_old_version(s, UINT64_MAX, none));
    assert_false(history_is_old_version(s, 1, x));
    history_check(&h);
    end();
}

static void test_the_sweep_goes_on_where_it_was(void **state)
{
    (void)state;
    begin(NO_BOUND, false);
    history_sweep(&h, 0, 10);
    for (char name[2] = "a"; name[0] <= 'f'; name[0]++)
        get(name, &plain, 0);
    find("a", 100);
    history_sweep(&h, 5000, 0);
    assert_string_equal(forgotten, "");
    history_sweep(&h, 5000, 2);
    assert_string_equal(forgotten, "b");
    history_drop(&h, h.swept); /* c, where it would go on */
    history_check(&h);
    history_sweep(&h, 5000, 1);
    assert_string_equal(forgotten, "bd");
    get("g", &plain, 5000);
    history_sweep(&h, 5000, 100);
    assert_string_equal(forgotten, "bdef");
    history_sweep(&h, 5100, 100); /* a sweep is no use */
    assert_string_equal(forgotten, "bdefa");
    history_sweep(&h, 10000, 1);
    assert_string_equal(forgotten, "bdefag");
    end();
}

static void test_the_sweep_goes_round(void **state)
{
    (void)state;
    begin(NO_BOUND, true);
    append(get("a", &plain, 0), 1, 0);
    append(get("b", &plain, 500), 1, 500);
    append(get("c", &plain, 0), 1, 0);
    history_sweep(&h, 1000, 2);
    assert_int_equal(h.bytes, 3 * (HISTORY_STREAM_COST + 1) + 2 * cost(10));
    history_sweep(&h, 1500, 2); /* c, then a: not b */
    assert_int_equal(h.bytes, 3 * (HISTORY_STREAM_COST + 1) + cost(10));
    history_sweep(&h, 1500, 1);
    assert_int_equal(h.bytes, 3 * (HISTORY_STREAM_COST + 1));
    assert_int_equal(h.evicted, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_stream),
        cmocka_unit_test(test_the_ring_keeps_the_newest),
        cmocka_unit_test(test_size_one),
        cmocka_unit_test(test_without_a_size_only_the_top_moves),
        cmocka_unit_test(test_after_finds_the_next_item),
        cmocka_unit_test(test_in_process_the_list_expires_as_a_whole),
        cmocka_unit_test(test_in_a_cache_each_item_expires),
        cmocka_unit_test(test_a_quiet_stream_goes_with_its_epoch),
        cmocka_unit_test(test_clear_and_reset),
        cmocka_unit_test(test_what_is_kept_counts_in_another_budget),
        cmocka_unit_test(test_in_process_the_least_recently_used_stream_goes),
        cmocka_unit_test(test_in_a_cache_it_keeps_its_position),
        cmocka_unit_test(test_alone_a_stream_gives_up_its_oldest),
        cmocka_unit_test(test_positions_alone_may_be_over_the_bound),
        cmocka_unit_test(test_the_ring_gives_memory_back),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_the_sweep_goes_on_where_it_was),
        cmocka_unit_test(test_the_sweep_goes_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
