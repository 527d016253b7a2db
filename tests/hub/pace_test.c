/* Rate classes on one shard, on a clock that stands still. The random lives
 * are in throttle_model_test; these name what the design promises. */
#include "hub/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/backlog.h"
#include "tests/kit/fake.h"
#include "tests/kit/still.h"

#define MS UINT64_C(1000000)
#define START_NS (UINT64_C(1000000) * MS)
/* A tick is up to 1 ms after its moment on the grid, the wheel up to 2. */
#define SLACK_MS 4

static struct fake_node node;
static struct shard *shard;
static const struct throttle_request as_it_is;

static const struct throttle_policy latest5 = {
    .mode = THROTTLE_LATEST,
    .on_full = THROTTLE_CONFLATE,
    .allow_client_rate = true,
    .rate = 5000,
};

static void begin(void)
{
    still_at(START_NS);
    fake_node_init(&node, 1, NULL);
    shard = node.hub.shards[0];
}

static void end(void)
{
    for (uint32_t i = 0; i < shard->slot_count; i++) {
        if (shard->slots[i].client)
            fake_gone(fake_of(shard->slots[i].client));
    }
    fake_settle(&node);
    assert_null(shard->topics.exact);
    assert_int_equal(shard->ticks.count, 0);
    fake_node_fini(&node);
    still_at(0);
}

static void settle(void)
{
    fake_turn(&node, 0);
    fake_settle(&node);
}

/* Millisecond by millisecond, as a busy shard would see it. */
static void pass(unsigned ms)
{
    while (ms--) {
        still_pass_ns(MS);
        settle();
    }
}

static struct fake_client *open_as(const char *topic,
                                   const struct throttle_policy *policy,
                                   const struct throttle_request *request)
{
    shard_busy(shard);
    struct fake_client *f = fake_open(shard, ENCODING_WS_JSON);
    assert_int_equal(fake_subscribe_as(f, topic, policy, request), 0);
    settle();
    fake_expect(f, "Sa|0\n");
    return f;
}

static struct fake_client *open_latest(void)
{
    return open_as("a", &latest5, &as_it_is);
}

static void publish_item(const char *data, uint64_t item,
                         const struct throttle_policy *policy, bool urgent)
{
    shard_busy(shard);
    assert_true(
        fake_publish_as(shard, &(struct fake_publication){.channel = "a",
                                                          .data = data,
                                                          .item = item,
                                                          .policy = policy,
                                                          .urgent = urgent}));
}

static void publish(const char *data)
{
    publish_item(data, 1, &latest5, false);
}

static struct pace *only_pace(void)
{
    struct pace *p = SLIST_FIRST(&shard->topics.exact->paces);
    assert_non_null(p);
    assert_null(SLIST_NEXT(p, link));
    return p;
}

static unsigned count_lines(struct fake_client *f)
{
    struct fake_line line;
    unsigned n = 0;
    while (fake_next(f, &line))
        n++;
    return n;
}

/* Until something comes, at most `ms`; how long it took. */
static unsigned wait_for(struct fake_client *f, unsigned ms)
{
    size_t before = f->wire.n;
    unsigned n = 0;
    while (f->wire.n == before && n < ms) {
        pass(1);
        n++;
    }
    assert_true(f->wire.n > before);
    return n;
}

static void test_quiet_item_comes_at_once(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_latest();
    publish("1");
    settle();
    fake_expect(f, "Pa|a|1\n");
    pass(200 + SLACK_MS);
    publish("2");
    settle();
    fake_expect(f, "Pa|a|2\n");
    end();
}

static void test_busy_item_waits_and_the_newest_comes(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_latest();
    publish("1");
    settle();
    fake_expect(f, "Pa|a|1\n");
    publish("2");
    settle();
    publish("3");
    settle();
    fake_expect(f, "");
    assert_in_range(wait_for(f, 300), 1, 200 + SLACK_MS);
    fake_expect(f, "Pa|a|3\n");
    pass(1000);
    fake_expect(f, "");
    assert_int_equal(node.hub.held.used_bytes, 0);
    end();
}

/* What only waits must not move the clock of what is sent. */
static void test_fast_source_does_not_starve_its_item(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_latest();
    unsigned total = 0;
    for (unsigned second = 0; second < 5; second++) {
        for (unsigned i = 0; i < 1000; i++) {
            publish("x");
            pass(1);
        }
        unsigned n = count_lines(f);
        assert_in_range(n, 4, 6);
        total += n;
    }
    assert_in_range(total, 25, 26);
    assert_int_equal(shard->stats.throttle_publications[THROTTLE_LATEST], 5000);
    end();
}

static void test_rate_of_a_fifth(void **state)
{
    (void)state;
    begin();
    struct throttle_request slow = {.has_rate = true, .rate = 200};
    struct fake_client *f = open_as("a", &latest5, &slow);
    publish("1");
    settle();
    fake_expect(f, "Pa|a|1\n");
    publish("2");
    assert_in_range(wait_for(f, 6000), 1, 5000 + SLACK_MS);
    fake_expect(f, "Pa|a|2\n");
    end();
}

/* The class is never at rest: in each turn a quiet item has made it busy
 * before its timer is looked at. */
static void test_busy_class_still_ticks(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_latest();
    publish_item("w1", 1, &latest5, false);
    settle();
    publish_item("w2", 1, &latest5, false);
    settle();
    fake_expect(f, "Pa|a|w1\n");
    unsigned ms = 0;
    for (uint64_t item = 2;; item++, ms++) {
        assert_true(ms <= 200 + SLACK_MS);
        still_pass_ns(MS);
        publish_item("q", item, &latest5, false);
        fake_turn(&node, 0); /* one turn: there is more to do already */
        if (memmem(f->wire.p, f->wire.n, "|w2", 3))
            break;
    }
    end();
}

static void test_items_of_a_tick_go_as_one_batch(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_latest();
    publish_item("1", 1, &latest5, false);
    publish_item("2", 2, &latest5, false);
    settle();
    publish_item("3", 1, &latest5, false);
    publish_item("4", 2, &latest5, false);
    settle();
    fake_expect(f, "Pa|a|1\nPa|a|2\n");
    unsigned writes = f->writes;
    wait_for(f, 300);
    fake_expect(f, "Pa|a|3\nPa|a|4\n");
    assert_int_equal(f->writes, writes + 1);
    end();
}

static void test_no_rate_is_at_once(void **state)
{
    (void)state;
    struct throttle_policy free_rate = latest5;
    free_rate.rate = 0;
    begin();
    struct fake_client *f = open_as("a", &free_rate, &as_it_is);
    publish("1");
    publish("2");
    settle();
    publish("3");
    settle();
    fake_expect(f, "Pa|a|1\nPa|a|2\nPa|a|3\n");
    assert_int_equal(shard->ticks.count, 0);
    end();
}

static void test_urgent_follows_what_waits(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_latest();
    publish_item("1", 1, &latest5, false);
    publish_item("2", 2, &latest5, false);
    settle();
    fake_expect(f, "Pa|a|1\nPa|a|2\n");
    publish_item("3", 1, &latest5, false);
    publish_item("4", 2, &latest5, false);
    publish_item("5", 2, &latest5, true);
    publish_item("6", 2, &latest5, true);
    settle();
    fake_expect(f, "Pa|a|3\nPa|a|4\nPa|a|5\nPa|a|6\n");
    pass(1000);
    fake_expect(f, "");
    end();
}

static void test_same_grant_shares_a_class(void **state)
{
    (void)state;
    begin();
    struct throttle_request one = {.has_rate = true, .rate = 1000};
    struct fake_client *f = open_latest();
    struct fake_client *g = open_latest();
    struct pace *p = only_pace();
    assert_int_equal(p->lane.count, 2);
    struct fake_client *h = open_as("a", &latest5, &one);
    assert_int_equal(shard->topics.exact->plain.paces, 2);
    shard_busy(shard);
    fake_unsubscribe(h, "a");
    settle();
    assert_ptr_equal(only_pace(), p);
    publish("1");
    settle();
    fake_expect(f, "Pa|a|1\n");
    fake_expect(g, "Pa|a|1\n");
    end();
}

static void test_joiner_gets_only_what_is_newer(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_latest();
    publish("1");
    settle();
    publish("2"); /* waits */
    struct fake_client *g = open_latest();
    wait_for(f, 300);
    fake_expect(f, "Pa|a|1\nPa|a|2\n");
    fake_expect(g, "");
    publish("3");
    wait_for(f, 300);
    fake_expect(g, "Pa|a|3\n");
    end();
}

static void test_snapshot_then_the_next_value(void **state)
{
    (void)state;
    struct throttle_policy last = latest5;
    last.snapshot = 1;
    begin();
    shard_busy(shard);
    struct fake_client *f = fake_open(shard, ENCODING_WS_JSON);
    publish_item("1", 1, &last, false);
    publish_item("2", 2, &last, false);
    assert_int_equal(fake_subscribe_as(f, "a", &last, &as_it_is), 0);
    publish_item("3", 1, &last, false);
    settle();
    fake_expect(f, "Sa|0\nPa|a|1\nPa|a|2\nPa|a|3\n");
    publish_item("4", 1, &last, false); /* waits; also in g's snapshot */
    struct fake_client *g = fake_open(shard, ENCODING_WS_JSON);
    assert_int_equal(fake_subscribe_as(g, "a", &last, &as_it_is), 0);
    pass(300);
    fake_expect(f, "Pa|a|4\n");
    fake_expect(g, "Sa|0\nPa|a|2\nPa|a|4\n");
    end();
}

static void test_retuned_takes_along_what_waits(void **state)
{
    (void)state;
    begin();
    struct throttle_request one = {.has_rate = true, .rate = 1000};
    struct fake_client *f = open_latest();
    struct fake_client *g = open_latest();
    publish("1");
    settle();
    publish("2"); /* waits */
    settle();
    shard_busy(shard);
    hub_retune(&f->client, client_find_sub(&f->client, STR_LIT("a")),
               throttle_decide(&latest5, &one));
    settle();
    fake_expect(f, "Pa|a|1\nPa|a|2\n");
    fake_expect(g, "Pa|a|1\n");
    pass(300);
    fake_expect(f, "");
    fake_expect(g, "Pa|a|2\n");
    /* The new class has sent nothing yet. */
    publish("3");
    publish("4");
    settle();
    fake_expect(f, "Pa|a|3\n");
    pass(300);
    fake_expect(f, "");
    fake_expect(g, "Pa|a|3\nPa|a|4\n");
    pass(800);
    fake_expect(f, "Pa|a|4\n");
    end();
}

static void test_class_goes_with_its_last_member(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_latest();
    struct fake_client *plain = open_as("a", &throttle_plain, &as_it_is);
    publish("1");
    publish("2"); /* waits */
    settle();
    shard_busy(shard);
    fake_unsubscribe(f, "a");
    settle();
    assert_true(SLIST_EMPTY(&shard->topics.exact->paces));
    assert_int_equal(shard->ticks.count, 0);
    assert_int_equal(node.hub.held.used_bytes, 0);
    fake_expect(plain, "Pa|a|1\nPa|a|2\n");
    end();
}

static void test_marks(void **state)
{
    (void)state;
    struct throttle_policy marks = latest5;
    marks.annotate = true;
    begin();
    struct fake_client *f = open_as("a", &marks, &as_it_is);
    publish_item("1", 1, &marks, false);
    settle();
    for (unsigned i = 0; i < 3; i++)
        publish_item("2", 1, &marks, false);
    wait_for(f, 300);
    fake_expect(f, "Pa|a|1|n=1\nPa|a|2|n=3\n");
    publish_item("3", 1, &marks, false);
    publish_item("4", 1, &marks, true);
    settle();
    fake_expect(f, "Pa|a|3|n=1\nPa|a|4|n=1\n");
    end();
}

/* More items than the class may know: sent, not lost. */
static void test_more_items_than_the_table_has(void **state)
{
    (void)state;
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 128,
                            .queue_max_bytes = 1 << 20,
                            .channel_limit = 8,
                            .max_items = 4,
                            .state_max_bytes = 1000};
    still_at(START_NS);
    fake_node_init(&node, 1, &o);
    shard = node.hub.shards[0];
    struct fake_client *f = open_latest();
    for (uint64_t item = 1; item <= 6; item++)
        publish_item("1", item, &latest5, false);
    settle();
    assert_int_equal(count_lines(f), 6);
    for (uint64_t item = 1; item <= 6; item++)
        publish_item("2", item, &latest5, false);
    pass(300);
    assert_int_equal(count_lines(f), 6);
    assert_int_equal(only_pace()->conflate.count <= 4, true);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet_item_comes_at_once),
        cmocka_unit_test(test_busy_item_waits_and_the_newest_comes),
        cmocka_unit_test(test_fast_source_does_not_starve_its_item),
        cmocka_unit_test(test_rate_of_a_fifth),
        cmocka_unit_test(test_busy_class_still_ticks),
        cmocka_unit_test(test_items_of_a_tick_go_as_one_batch),
        cmocka_unit_test(test_no_rate_is_at_once),
        cmocka_unit_test(test_urgent_follows_what_waits),
        cmocka_unit_test(test_same_grant_shares_a_class),
        cmocka_unit_test(test_joiner_gets_only_what_is_newer),
        cmocka_unit_test(test_snapshot_then_the_next_value),
        cmocka_unit_test(test_retuned_takes_along_what_waits),
        cmocka_unit_test(test_class_goes_with_its_last_member),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_more_items_than_the_table_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
