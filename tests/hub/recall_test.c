/* What a home says of a channel's past, in-process: recoveries, the newest of
 * each item, the history command. */
#include "hub/recall.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/hub.h"
#include "tests/kit/fake.h"

static struct fake_node node;
static struct shard *shard;

#define HOUR_MS 3600000

static const struct history_policy keeps5 = {.size = 5, .ttl_ms = HOUR_MS};
static const struct history_policy keeps100 = {.size = 100, .ttl_ms = HOUR_MS};
static const struct history_policy caches = {
    .size = 5, .ttl_ms = HOUR_MS, .cache = true};
static const struct history_policy begins_with_it = {
    .size = 5, .ttl_ms = HOUR_MS, .cache = true, .auto_cache = true};

static const struct throttle_policy latest = {.mode = THROTTLE_LATEST,
                                              .on_full = THROTTLE_CONFLATE};

static void begin_with(uint32_t queue_bytes)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 64,
                            .queue_max_bytes = queue_bytes,
                            .channel_limit = 8,
                            .max_items = 4,
                            .history_max_bytes = 1 << 20,
                            .max_keys = 100,
                            .recovery_limit = 10,
                            .history_limit = 20};
    fake_node_init(&node, 1, &o);
    shard = node.hub.shards[0];
}

static void begin(void)
{
    begin_with(1 << 20);
}

static void end(void)
{
    for (uint32_t k = 0; k < shard->slot_count; k++) {
        if (shard->slots[k].client)
            fake_gone(fake_of(shard->slots[k].client));
    }
    fake_settle(&node);
    fake_node_fini(&node);
}

static void on_published(struct publish_op *op)
{
    free(op);
}

/* `count` on "a"; data is the number, the items are numbers modulo `items`. */
static void publish(const struct history_policy *policy, unsigned count,
                    unsigned items)
{
    static unsigned number;
    number = policy ? number : 0;
    for (unsigned i = 0; policy && i < count; i++) {
        char data[16];
        snprintf(data, sizeof(data), "%u", ++number);
        struct msg_parts parts = {.channel = STR_LIT("a"),
                                  .data = str_of(data),
                                  .item = 1 + number % items,
                                  .history = policy,
                                  .is_json = true};
        struct publish_op *op = mem_zalloc(sizeof(*op));
        op->msg = msg_new(&node.hub.budget, &parts);
        op->done = on_published;
        hub_publish(shard, op);
    }
    fake_settle(&node);
}

static void begin_counting(void)
{
    publish(NULL, 0, 1);
}

static uint64_t epoch(const struct history_policy *policy)
{
    struct str name = STR_LIT("a");
    return history_get(&shard->home.history, name, msg_channel_hash(name),
                       policy, 77, shard_now_ms(shard))
        ->epoch;
}

static struct fake_client *open_wish(const struct history_policy *policy,
                                     const struct position_wish *wish)
{
    struct fake_client *f = fake_open(shard, ENCODING_WS_JSON);
    assert_int_equal(fake_subscribe_wish(f, "a", policy, wish), 0);
    fake_settle(&node);
    return f;
}

static struct fake_client *open_since(const struct history_policy *policy,
                                      uint64_t offset, enum latest latest_too)
{
    return open_wish(policy,
                     &(struct position_wish){.positioned = true,
                                             .recover = true,
                                             .latest = latest_too,
                                             .since = {epoch(policy), offset}});
}

/* Conflating, which wants the newest of each item only. */
static struct fake_client *open_conflating(const struct history_policy *policy,
                                           uint64_t offset)
{
    struct fake_client *f = fake_open(shard, ENCODING_WS_JSON);
    struct subscribe_options o = {
        .policy = &latest,
        .history = policy,
        .grant = {.mode = THROTTLE_LATEST},
        .wish = {.positioned = true,
                 .recover = true,
                 .since = {epoch(policy), offset}},
    };
    assert_int_equal(hub_subscribe(&f->client, STR_LIT("a"), &o), 0);
    fake_settle(&node);
    return f;
}

/* --- recoveries ------------------------------------------------------------ */

static void test_fresh_is_told_where_it_stands(void **state)
{
    (void)state;
    begin();
    begin_counting();
    struct position_wish wish = {.positioned = true};
    fake_expect(open_wish(&keeps5, &wish), "Sa|0@0\n");
    publish(&keeps5, 3, 1);
    struct fake_client *f = open_wish(&keeps5, &wish);
    publish(&keeps5, 1, 1);
    fake_expect(f, "Sa|0@3\nPa|a|4|#4\n");
    end();
}

static void test_without_a_position_nothing_is_told(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps5, 3, 1);
    fake_expect(open_wish(&keeps5, &(struct position_wish){0}), "Sa|0\n");
    end();
}

static void test_recovery_lists_what_lies_between(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps5, 7, 1);
    fake_expect(open_since(&keeps5, 5, LATEST_NEVER),
                "Sa|0@7+recovered\nPa|a|6|#6\nPa|a|7|#7\n");
    fake_expect(open_since(&keeps5, 7, LATEST_NEVER), "Sa|0@7+recovered\n");
    fake_expect(open_since(&keeps5, 2, LATEST_NEVER),
                "Sa|0@7+recovered\nPa|a|3|#3\nPa|a|4|#4\nPa|a|5|#5\n"
                "Pa|a|6|#6\nPa|a|7|#7\n");
    fake_expect(open_since(&keeps5, 1, LATEST_NEVER), "Sa|0@7+too_old\n");
    fake_expect(open_since(&keeps5, 0, LATEST_NEVER), "Sa|0@7+too_old\n");
    end();
}

static void test_offsets_nobody_gave(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps5, 2, 1);
    fake_expect(open_since(&keeps5, 3, LATEST_NEVER), "Sa|0@2+too_old\n");
    fake_expect(open_since(&keeps5, UINT64_MAX, LATEST_NEVER),
                "Sa|0@2+too_old\n");
    end();
}

static void test_epochs(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps5, 2, 1);
    struct position_wish wish = {.positioned = true, .recover = true};
    wish.since.offset = 1;
    fake_expect(open_wish(&keeps5, &wish), "Sa|0@2+recovered\nPa|a|2|#2\n");
    wish.since.epoch = epoch(&keeps5) + 1;
    fake_expect(open_wish(&keeps5, &wish), "Sa|0@2+foreign\n");
    wish.since.epoch = 0;
    wish.foreign = true;
    fake_expect(open_wish(&keeps5, &wish), "Sa|0@2+foreign\n");
    end();
}

static void test_recovery_limit(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps100, 11, 1);
    assert_int_equal(open_since(&keeps100, 1, LATEST_NEVER)->told, 10);
    struct fake_client *f = open_since(&keeps100, 0, LATEST_NEVER);
    fake_expect(f, "Sa|0@11+too_old\n");
    end();
}

/* What one recovery brings is bounded by half a queue. */
static void test_recovery_bytes(void **state)
{
    (void)state;
    begin_with(1024);
    begin_counting();
    publish(&keeps100, 10, 1);
    size_t one = msg_size(history_at(shard->home.history.streams, 9)->msg);
    unsigned fits = (unsigned)(512 / one);
    assert_in_range(fits, 2, 9);
    assert_int_equal(open_since(&keeps100, 10 - fits, LATEST_NEVER)->told,
                     fits);
    fake_expect(open_since(&keeps100, 9 - fits, LATEST_NEVER),
                "Sa|0@10+too_old\n");
    end();
}

static void test_conflating_recovery(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps100, 9, 3);
    fake_expect(open_conflating(&keeps100, 1),
                "Sa|0@9+recovered\nPa|a|7|#7\nPa|a|8|#8\nPa|a|9|#9\n");
    fake_expect(open_conflating(&keeps100, 8), "Sa|0@9+recovered\nPa|a|9|#9\n");
    end();
}

/* More items than are kept of a channel (4) are no less complete for it; more
 * than one recovery brings are not recovered. */
static void test_conflating_recovery_leaves_no_item_out(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps100, 30, 10);
    assert_int_equal(open_conflating(&keeps100, 0)->told, 10);
    publish(&keeps100, 30, 11);
    struct fake_client *f = open_conflating(&keeps100, 0);
    assert_int_equal(f->told, 0);
    fake_expect(f, "Sa|0@60+too_old\n");
    end();
}

/* --- the newest ------------------------------------------------------------ */

static void test_latest_if_lost(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps5, 8, 3);
    fake_expect(open_since(&keeps5, 7, LATEST_IF_LOST),
                "Sa|0@8+recovered\nPa|a|8|#8\n");
    fake_expect(open_since(&keeps5, 1, LATEST_IF_LOST),
                "Sa|0@8+too_old\nPa|a|6|#6\nPa|a|7|#7\nPa|a|8|#8\n");
    end();
}

static void test_latest_always(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps5, 8, 2);
    fake_expect(open_since(&keeps5, 7, LATEST_ALWAYS),
                "Sa|0@8+recovered\nPa|a|7|#7\nPa|a|8|#8\n");
    end();
}

static void test_latest_is_bounded_by_items(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps100, 30, 10);
    fake_expect(open_since(&keeps100, 30, LATEST_ALWAYS),
                "Sa|0@30+recovered\nPa|a|27|#27\nPa|a|28|#28\nPa|a|29|#29\n"
                "Pa|a|30|#30\n");
    end();
}

/* --- cache mode ------------------------------------------------------------ */

static void test_cache_mode(void **state)
{
    (void)state;
    begin();
    begin_counting();
    fake_expect(open_since(&caches, 0, LATEST_NEVER), "Sa|0@0+recovered\n");
    fake_expect(open_wish(&caches, &(struct position_wish){.positioned = true,
                                                           .recover = true}),
                "Sa|0@0+too_old\n");
    publish(&caches, 7, 1);
    fake_expect(open_since(&caches, 0, LATEST_NEVER),
                "Sa|0@7+recovered\nPa|a|7|#7\n");
    fake_expect(open_since(&caches, 7, LATEST_NEVER), "Sa|0@7+recovered\n");
    fake_expect(open_wish(&caches, &(struct position_wish){.positioned = true}),
                "Sa|0@7\n");
    struct position_wish foreign = {
        .positioned = true, .recover = true, .foreign = true};
    fake_expect(open_wish(&caches, &foreign), "Sa|0@7+recovered\nPa|a|7|#7\n");
    end();
}

/* Both bring the newest one: it comes once. */
static void test_cache_mode_and_the_newest(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&caches, 7, 2);
    fake_expect(open_since(&caches, 1, LATEST_ALWAYS),
                "Sa|0@7+recovered\nPa|a|6|#6\nPa|a|7|#7\n");
    end();
}

static void test_auto_cache(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&begins_with_it, 7, 1);
    fake_expect(
        open_wish(&begins_with_it, &(struct position_wish){.positioned = true}),
        "Sa|0@7+recovered\nPa|a|7|#7\n");
    end();
}

/* --- history --------------------------------------------------------------- */

struct question {
    int64_t limit;
    bool reverse;
    bool has_since;
    struct position since;
    bool foreign;
};

static bool is_answered;

static void on_history(struct history_op *op)
{
    (void)op;
    is_answered = true;
}

/* The answer's offsets, as text. */
static void expect_history(struct question q, const char *offsets)
{
    struct buf text = BUF_INIT;
    struct history_op *op = mem_zalloc(sizeof(*op) + 1);
    *op = (struct history_op){.limit = q.limit,
                              .reverse = q.reverse,
                              .has_since = q.has_since,
                              .since = q.since,
                              .foreign = q.foreign,
                              .history = &keeps100,
                              .done = on_history,
                              .channel_len = 1};
    op->channel[0] = 'a';
    is_answered = false;
    home_history(shard, op);
    fake_settle(&node);
    assert_true(is_answered);
    if (op->error)
        buf_printf(&text, "error %u", op->error);
    else
        buf_printf(&text, "@%u", (unsigned)op->position.offset);
    for (uint32_t i = 0; i < op->count; i++)
        buf_printf(&text, " %u", (unsigned)op->msgs[i]->offset);
    buf_char(&text, '\0');
    assert_string_equal(text.p, offsets);
    history_op_fini(op);
    buf_free(&text);
    free(op);
}

static void test_history(void **state)
{
    (void)state;
    static const struct {
        struct question q;
        const char *offsets;
    } cases[] = {
        {{.limit = 0}, "@6"},
        {{.limit = -1}, "@6 2 3 4 5 6"},
        {{.limit = 2}, "@6 2 3"},
        {{.limit = 2, .reverse = true}, "@6 6 5"},
        {{.limit = INT64_MAX}, "@6 2 3 4 5 6"},
        {{.limit = -1, .has_since = true, .since = {0, 4}}, "@6 5 6"},
        {{.limit = 1, .has_since = true, .since = {0, 4}}, "@6 5"},
        {{.limit = -1, .has_since = true, .since = {0, 0}}, "@6 2 3 4 5 6"},
        {{.limit = -1, .has_since = true, .since = {0, 6}}, "@6"},
        {{.limit = -1, .has_since = true, .since = {0, UINT64_MAX}}, "@6"},
        {{.limit = 2, .reverse = true, .has_since = true, .since = {0, 5}},
         "@6 4 3"},
        {{.limit = -1, .reverse = true, .has_since = true, .since = {0, 0}},
         "@6"},
        {{.limit = -1, .reverse = true, .has_since = true, .since = {0, 99}},
         "@6 6 5 4 3 2"},
        {{.limit = -1, .has_since = true, .since = {1, 4}}, "error 112"},
        {{.limit = -1, .has_since = true, .foreign = true}, "error 112"},
    };
    begin();
    begin_counting();
    publish(&keeps5, 6, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_history(cases[i].q, cases[i].offsets);
    end();
}

static void test_history_limit(void **state)
{
    (void)state;
    begin();
    begin_counting();
    publish(&keeps100, 30, 1);
    expect_history((struct question){.limit = -1},
                   "@30 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20");
    expect_history((struct question){.limit = 21, .reverse = true},
                   "@30 30 29 28 27 26 25 24 23 22 21 20 19 18 17 16 15 14 13"
                   " 12 11");
    end();
}

static void test_history_of_nothing(void **state)
{
    (void)state;
    begin();
    expect_history((struct question){.limit = -1}, "@0");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh_is_told_where_it_stands),
        cmocka_unit_test(test_without_a_position_nothing_is_told),
        cmocka_unit_test(test_recovery_lists_what_lies_between),
        cmocka_unit_test(test_offsets_nobody_gave),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_recovery_limit),
        cmocka_unit_test(test_recovery_bytes),
        cmocka_unit_test(test_conflating_recovery),
        cmocka_unit_test(test_conflating_recovery_leaves_no_item_out),
        cmocka_unit_test(test_latest_if_lost),
        cmocka_unit_test(test_latest_always),
        cmocka_unit_test(test_latest_is_bounded_by_items),
        cmocka_unit_test(test_cache_mode),
        cmocka_unit_test(test_cache_mode_and_the_newest),
        cmocka_unit_test(test_auto_cache),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_history_limit),
        cmocka_unit_test(test_history_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
