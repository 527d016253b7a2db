/* Clients that get a publication once, however many of their subscriptions it
 * matches, while these come, go and change their rates. One shard, and a clock
 * that stands still. */
#include "hub/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/backlog.h"
#include "hub/fanout.h"
#include "tests/kit/fake.h"
#include "tests/kit/still.h"

#define MS UINT64_C(1000000)
#define START_NS (UINT64_C(1000000) * MS)

static struct fake_node node;
static struct shard *shard;

static const struct throttle_policy latest5 = {
    .mode = THROTTLE_LATEST,
    .on_full = THROTTLE_CONFLATE,
    .allow_client_rate = true,
    .rate = 5000,
};

/* No rate: only a full socket conflates. */
static const struct throttle_policy latest = {
    .mode = THROTTLE_LATEST,
    .on_full = THROTTLE_CONFLATE,
};

static void begin_with(uint32_t slice)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = slice,
                            .queue_max_bytes = 1 << 20,
                            .channel_limit = 8,
                            .max_items = 1000};
    still_at(START_NS);
    fake_node_init(&node, 1, &o);
    shard = node.hub.shards[0];
}

static void begin(void)
{
    begin_with(3);
}

static void end(void)
{
    for (uint32_t i = 0; i < shard->slot_count; i++) {
        if (shard->slots[i].client)
            fake_gone(fake_of(shard->slots[i].client));
    }
    fake_settle(&node);
    assert_null(shard->topics.exact);
    assert_int_equal(shard->waiting, 0);
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

static struct fake_client *open_several(void)
{
    shard_busy(shard);
    struct fake_client *f = fake_open(shard, ENCODING_SSE);
    f->client.several = true;
    return f;
}

static void subscribe(struct fake_client *f, const char *topic,
                      const struct throttle_policy *policy, uint32_t rate)
{
    struct throttle_request wish = {.has_rate = true, .rate = rate};
    char line[32];
    shard_busy(shard);
    assert_int_equal(fake_subscribe_as(f, topic, policy, &wish), 0);
    settle();
    snprintf(line, sizeof(line), "S%s|0\n", topic);
    fake_expect(f, line);
}

static void leave(struct fake_client *f, const char *topic)
{
    shard_busy(shard);
    fake_unsubscribe(f, topic);
}

static void retune(struct fake_client *f, const char *topic, uint32_t rate)
{
    struct throttle_request wish = {.has_rate = true, .rate = rate};
    struct sub *s = client_find_sub(&f->client, str_of(topic));
    shard_busy(shard);
    hub_retune(&f->client, s, throttle_decide(s->policy, &wish));
    settle();
}

/* To channel a.b, which all topics here match. */
static void publish(const char *data, const struct throttle_policy *policy,
                    bool urgent)
{
    shard_busy(shard);
    assert_true(
        fake_publish_as(shard, &(struct fake_publication){.channel = "a.b",
                                                          .data = data,
                                                          .policy = policy,
                                                          .urgent = urgent}));
}

static void say(const char *data)
{
    publish(data, &latest5, false);
    settle();
}

/* --- the one that brings it leaves ----------------------------------------- */

static void test_what_waits_comes_by_the_other(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_several();
    subscribe(f, "a.b", &latest5, 200);
    subscribe(f, "a.*", &latest5, 5000);
    say("1");
    say("2");
    fake_expect(f, "Pa.b|a.b|1\n");
    pass(1000); /* The other one's tick has passed it over. */
    fake_expect(f, "");
    leave(f, "a.b");
    pass(6000);
    fake_expect(f, "Pa.*|a.b|2\n");
    end();
}

/* The other one is still to come to it by itself: nothing comes twice. */
static void test_what_is_coming_is_not_given(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_several();
    subscribe(f, "a.b", &latest5, 200);
    subscribe(f, "a.*", &latest5, 5000);
    say("1");
    say("2");
    leave(f, "a.b");
    settle();
    fake_expect(f, "Pa.b|a.b|1\n");
    pass(6000);
    fake_expect(f, "Pa.*|a.b|2\n");
    end();
}

static void test_backlog_comes_by_the_other(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_several();
    subscribe(f, "a.b", &latest, 0);
    subscribe(f, "a.*", &latest, 0);
    f->next_write = WRITE_CHOKED;
    publish("1", &latest, false);
    settle();
    publish("2", &latest, false);
    settle();
    fake_expect(f, "Pa.b|a.b|1\n");
    assert_int_equal(backlog_count(&f->client), 1);
    leave(f, "a.b");
    settle();
    assert_int_equal(backlog_count(&f->client), 1);
    f->next_write = WRITE_DONE;
    shard_busy(shard);
    client_writable(&f->client);
    settle();
    fake_expect(f, "Pa.*|a.b|2\n");
    end();
}

static void test_nobody_else_brings_it(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_several();
    subscribe(f, "a.b", &latest5, 200);
    subscribe(f, "c.*", &latest5, 5000);
    say("1");
    say("2");
    leave(f, "a.b");
    pass(6000);
    fake_expect(f, "Pa.b|a.b|1\n");
    end();
}

/* In the middle of a fan-out: the exact name was served, and left to the
 * pattern; the pattern was not. */
static void test_left_within_a_slice(void **state)
{
    (void)state;
    begin_with(1);
    struct fake_client *f = open_several();
    subscribe(f, "a.*", &throttle_plain, 0);
    subscribe(f, "a.b", &throttle_plain, 0);
    publish("1", &throttle_plain, false);
    publish("2", &throttle_plain, false);
    fake_turn(&node, 0);
    fake_expect(f, "");
    leave(f, "a.*");
    settle();
    fake_expect(f, "Pa.b|a.b|1\nPa.b|a.b|2\n");
    end();
}

/* The same before anybody was served. */
static void test_left_before_a_slice(void **state)
{
    (void)state;
    begin_with(1);
    struct fake_client *f = open_several();
    subscribe(f, "a.*", &throttle_plain, 0);
    subscribe(f, "a.b", &throttle_plain, 0);
    publish("1", &throttle_plain, false);
    leave(f, "a.*");
    settle();
    fake_expect(f, "Pa.b|a.b|1\n");
    end();
}

static void test_left_within_a_throttled_slice(void **state)
{
    (void)state;
    begin_with(1);
    struct fake_client *f = open_several();
    subscribe(f, "a.*", &latest, 0);
    subscribe(f, "a.b", &latest, 0);
    publish("1", &latest, false);
    fake_turn(&node, 0);
    fake_expect(f, "");
    leave(f, "a.*");
    settle();
    fake_expect(f, "Pa.b|a.b|1\n");
    end();
}

/* --- rates ----------------------------------------------------------------- */

/* The one that does not bring it ticks faster from now on: it has nothing to
 * bring all the same. */
static void test_retuned_twin_brings_nothing(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_several();
    subscribe(f, "a.b", &latest5, 5000);
    subscribe(f, "a.*", &latest5, 200);
    say("1");
    say("2");
    pass(300);
    fake_expect(f, "Pa.b|a.b|1\nPa.b|a.b|2\n");
    retune(f, "a.*", 5000);
    pass(6000);
    fake_expect(f, "");
    say("3");
    fake_expect(f, "Pa.b|a.b|3\n");
    end();
}

/* How many lines there are, all of them of `topic`. */
static unsigned count_lines(struct fake_client *f, const char *topic)
{
    struct fake_line line;
    unsigned n = 0;
    while (fake_next(f, &line)) {
        assert_int_equal(line.kind, 'P');
        assert_true(str_eq(line.topic, str_of(topic)));
        n++;
    }
    return n;
}

static void say_for(unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 50) {
        say("1");
        pass(50);
    }
}

/* What goes live first brings it, at whatever rate it is asked for later. */
static void test_retuned_one_keeps_bringing(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_several();
    subscribe(f, "a.b", &latest5, 5000);
    subscribe(f, "a.*", &latest5, 200);
    say_for(1000);
    assert_in_range(count_lines(f, "a.b"), 5, 6);
    retune(f, "a.b", 3000);
    say_for(4000);
    assert_in_range(count_lines(f, "a.b"), 10, 14);
    retune(f, "a.*", 1000);
    say_for(4000);
    assert_in_range(count_lines(f, "a.b"), 10, 14);
    retune(f, "a.b", 200);
    say_for(5000);
    assert_in_range(count_lines(f, "a.b"), 1, 3);
    end();
}

/* --- urgent ---------------------------------------------------------------- */

static const struct throttle_policy grouped = {
    .mode = THROTTLE_LATEST,
    .on_full = THROTTLE_CONFLATE,
    .allow_client_rate = true,
    .rate = 5000,
    .order_group = 1,
};

static void urgent_comes_once(const char *first, const char *second)
{
    char want[32];
    begin();
    struct fake_client *f = open_several();
    subscribe(f, first, &grouped, 200);
    subscribe(f, second, &grouped, 200);
    publish("1", &grouped, true);
    pass(300);
    snprintf(want, sizeof(want), "P%s|a.b|1\n", first);
    fake_expect(f, want);
    publish("2", &grouped, false);
    publish("3", &grouped, true);
    pass(6000);
    snprintf(want, sizeof(want), "P%s|a.b|2\nP%s|a.b|3\n", first, first);
    fake_expect(f, want);
    end();
}

static void test_urgent_comes_once(void **state)
{
    (void)state;
    urgent_comes_once("a.b", "a.*");
    urgent_comes_once("a.*", "a.b");
}

/* What a lost subscription leaves to another one ends a client that is too
 * slow for it, and with it the lost one. */
static void test_lost_and_closed(void **state)
{
    (void)state;
    static const struct history_policy kept = {.size = 10, .ttl_ms = 60000};
    static char data[1000];
    memset(data, '1', sizeof(data) - 1);
    begin();
    shard->hub->options.queue_max_bytes = 4096;
    struct fake_client *f = open_several();
    struct subscribe_options o = {
        .policy = &latest, .history = &kept, .wish = {.positioned = true}};
    o.grant = throttle_decide(&latest, &(struct throttle_request){0});
    shard_busy(shard);
    assert_int_equal(hub_subscribe(&f->client, STR_LIT("a.b"), &o), 0);
    assert_int_equal(fake_subscribe(f, "a.*"), 0);
    settle();
    f->next_write = WRITE_CHOKED;
    for (uint64_t item = 1; item < 20; item++) {
        assert_true(
            fake_publish_as(shard, &(struct fake_publication){.channel = "a.b",
                                                              .data = data,
                                                              .policy = &latest,
                                                              .item = item}));
        settle();
    }
    assert_in_range(backlog_count(&f->client), 10, 19);
    fanout_overrun(client_find_sub(&f->client, STR_LIT("a.b")));
    pass(2000);
    assert_int_equal(f->client.close_code, 3008);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lost_and_closed),
        cmocka_unit_test(test_what_waits_comes_by_the_other),
        cmocka_unit_test(test_what_is_coming_is_not_given),
        cmocka_unit_test(test_backlog_comes_by_the_other),
        cmocka_unit_test(test_nobody_else_brings_it),
        cmocka_unit_test(test_left_within_a_slice),
        cmocka_unit_test(test_left_before_a_slice),
        cmocka_unit_test(test_left_within_a_throttled_slice),
        cmocka_unit_test(test_retuned_twin_brings_nothing),
        cmocka_unit_test(test_retuned_one_keeps_bringing),
        cmocka_unit_test(test_urgent_comes_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
