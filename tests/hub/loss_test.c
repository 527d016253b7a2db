/* Positions of subscriptions that do not get everything: what a throttled lane
 * tells, what a slow client loses, and how a loss ends a subscription. One
 * shard, in-process, and a clock that stands still. */
#include "hub/fanout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/backlog.h"
#include "hub/hub.h"
#include "tests/kit/fake.h"
#include "tests/kit/still.h"

#define MS UINT64_C(1000000)
#define START_NS (UINT64_C(1000000) * MS)
#define TICK_MS 40 /* enough for a timer that is due at once */

static struct fake_node node;
static struct shard *shard;

static const struct history_policy keeps = {.size = 100, .ttl_ms = 3600000};
static const struct history_policy tells_gaps = {.tell_gaps = true};

static const struct throttle_policy latest5 = {
    .mode = THROTTLE_LATEST,
    .on_full = THROTTLE_CONFLATE,
    .allow_client_rate = true,
    .rate = 5000,
    .order_group = 1,
};
/* No rate: only a full socket conflates. */
static const struct throttle_policy latest = {
    .mode = THROTTLE_LATEST, .on_full = THROTTLE_CONFLATE, .order_group = 1};
static const struct throttle_policy newest3 = {.mode = THROTTLE_ALL,
                                               .on_full = THROTTLE_DROP_OLDEST,
                                               .allow_client_rate = true,
                                               .buffer = 3,
                                               .order_group = 1};

static void begin_with(uint32_t slice, uint32_t queue_bytes)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = slice,
                            .queue_max_bytes = queue_bytes,
                            .channel_limit = 8,
                            .max_items = 4,
                            .history_max_bytes = 1 << 20,
                            .recovery_limit = 100};
    still_at(START_NS);
    fake_node_init(&node, 1, &o);
    shard = node.hub.shards[0];
}

static void begin(void)
{
    begin_with(64, 1 << 20);
}

static void end(void)
{
    for (uint32_t i = 0; i < shard->slot_count; i++) {
        if (shard->slots[i].client)
            fake_gone(fake_of(shard->slots[i].client));
    }
    fake_settle(&node);
    assert_null(shard->topics.exact);
    assert_null(shard->home.channels);
    assert_int_equal(shard->waiting, 0);
    fake_node_fini(&node);
    still_at(0);
}

static void pass(unsigned ms)
{
    while (ms--) {
        still_pass_ns(MS);
        fake_turn(&node, 0);
        fake_settle(&node);
    }
}

static void subscribe_for(struct fake_client *f, const char *name,
                          const struct throttle_policy *policy,
                          const struct throttle_request *request)
{
    struct subscribe_options o = {
        .policy = policy,
        .history = &keeps,
        .wish.positioned = request != NULL,
        .grant = throttle_decide(
            policy, request ? request : &(struct throttle_request){0}),
    };
    shard_busy(shard);
    assert_int_equal(hub_subscribe(&f->client, str_of(name), &o), 0);
    fake_settle(&node);
}

static void subscribe(struct fake_client *f, const char *name,
                      const struct throttle_policy *policy, bool positioned)
{
    struct throttle_request as_it_is = {0};
    subscribe_for(f, name, policy, positioned ? &as_it_is : NULL);
}

/* Positioned, and the answer is read. */
static struct fake_client *open_on(const struct throttle_policy *policy)
{
    struct fake_client *f = fake_open(shard, ENCODING_WS_JSON);
    subscribe(f, "a", policy, true);
    fake_expect(f, "Sa|0@0\n");
    return f;
}

static void on_published(struct publish_op *op)
{
    free(op);
}

static void post(const char *channel, const char *data, uint64_t item,
                 bool urgent)
{
    struct msg_parts parts = {.channel = str_of(channel),
                              .data = str_of(data),
                              .item = item,
                              .policy = &latest,
                              .history = &keeps,
                              .urgent = urgent,
                              .is_json = true};
    struct publish_op *op = mem_zalloc(sizeof(*op));
    shard_busy(shard);
    op->msg = msg_new(&node.hub.budget, &parts);
    op->done = on_published;
    hub_publish(shard, op);
}

static void say(const char *data, uint64_t item)
{
    post("a", data, item, false);
    fake_settle(&node);
}

/* The socket is full from the next write on. */
static void choke(struct fake_client *f)
{
    f->next_write = WRITE_CHOKED;
    say("0", 99);
    assert_true(f->client.choked);
    f->next_write = WRITE_DONE;
    f->read_bytes = f->wire.n;
}

static void unchoke(struct fake_client *f)
{
    client_writable(&f->client);
    fake_settle(&node);
}

/* --- throttled lanes -------------------------------------------------------- */

static void test_offset_is_told_when_nothing_waits(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_on(&latest5);
    say("1", 1);
    say("2", 2);
    say("3", 1); /* waits */
    say("4", 3); /* at once, but 3 is still to come */
    fake_expect(f, "Pa|a|1|#1\nPa|a|2|#2\nPa|a|4\n");
    say("5", 2); /* waits too */
    pass(300);
    fake_expect(f, "Pa|a|3\nPa|a|5|#5\n");
    end();
}

/* The newest of all may wait for less long than an older one. */
static void test_offset_is_the_greatest_that_was_brought(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_on(&latest5);
    say("1", 1);
    say("2", 1);
    say("3", 2);
    fake_expect(f, "Pa|a|1|#1\nPa|a|3\n");
    pass(300);
    fake_expect(f, "Pa|a|2|#3\n");
    end();
}

static void test_late_values_tell_none(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_on(&latest);
    choke(f);
    say("1", 1);
    say("2", 2);
    say("3", 1);
    unchoke(f);
    fake_expect(f, "Pa|a|2\nPa|a|3\n");
    pass(11000); /* it keeps up again */
    say("4", 1);
    fake_expect(f, "Pa|a|4|#5\n");
    end();
}

/* --- overruns --------------------------------------------------------------- */

static void overrun(struct fake_client *f)
{
    choke(f);
    for (unsigned i = 1; i <= 4; i++) {
        char data[2] = {(char)('0' + i), '\0'};
        say(data, 1);
    }
}

static void test_drop_oldest_with_a_position_is_lost(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_on(&newest3);
    overrun(f);
    unchoke(f);
    say("5", 1);
    fake_expect(f, "");
    pass(TICK_MS);
    fake_expect(f, "La|stream\n");
    assert_int_equal(shard->stats.subs_lost, 1);
    say("6", 1);
    fake_expect(f, "");
    subscribe(f, "a", &newest3, true);
    fake_expect(f, "Sa|0@7\n");
    end();
}

static void test_drop_oldest_without_a_position_goes_on(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = fake_open(shard, ENCODING_WS_JSON);
    subscribe(f, "a", &newest3, false);
    overrun(f);
    unchoke(f);
    pass(TICK_MS);
    fake_expect(f, "Pa|a|2|lost=1|#3\nPa|a|3|#4\nPa|a|4|#5\n");
    end();
}

static void test_bound_that_is_met_exactly_is_no_loss(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_on(&newest3);
    choke(f);
    say("1", 1);
    say("2", 1);
    say("3", 1);
    unchoke(f);
    pass(TICK_MS);
    fake_expect(f, "Pa|a|1|#2\nPa|a|2|#3\nPa|a|3|#4\n");
    end();
}

static void test_evicted_items_are_lost(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_on(&latest);
    choke(f);
    for (unsigned i = 1; i <= 5; i++) /* max_items is 4 */
        say("1", i);
    unchoke(f);
    fake_expect(f, "");
    pass(TICK_MS);
    fake_expect(f, "La|stream\n");
    end();
}

/* An urgent one of the group brings along what waits, but not of a subscription
 * that has missed something. */
static void test_urgent_brings_nothing_of_what_is_overrun(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_on(&newest3);
    subscribe(f, "b", &latest, false);
    fake_expect(f, "Sb|0\n");
    overrun(f);
    post("b", "9", 1, true);
    fake_settle(&node);
    unchoke(f);
    fake_expect(f, "Pb|b|9|#1\n");
    pass(TICK_MS);
    fake_expect(f, "La|stream\n");
    end();
}

/* In the other lane it would go at once. */
static void test_retuning_brings_nothing_of_what_is_overrun(void **state)
{
    (void)state;
    struct throttle_request newest = {.has_mode = true,
                                      .mode = THROTTLE_LATEST};
    begin();
    struct fake_client *f = fake_open(shard, ENCODING_WS_JSON);
    subscribe_for(f, "a", &newest3, &newest);
    choke(f);
    for (unsigned i = 1; i <= 5; i++)
        say("1", i);
    unchoke(f);
    shard_busy(shard);
    hub_retune(&f->client, client_find_sub(&f->client, STR_LIT("a")),
               (struct throttle_grant){.mode = THROTTLE_ALL});
    say("2", 1);
    fake_expect(f, "");
    pass(TICK_MS);
    fake_expect(f, "La|stream\n");
    end();
}

/* --- several subscriptions ---------------------------------------------------- */

static struct fake_client *open_several(const char *first, const char *second)
{
    struct fake_client *f = fake_open(shard, ENCODING_SSE);
    f->client.several = true;
    subscribe(f, first, &throttle_plain, true);
    if (strchr(second, '>'))
        assert_int_equal(fake_subscribe(f, second), 0);
    else
        subscribe(f, second, &throttle_plain, true);
    fake_settle(&node);
    return f;
}

static void test_pattern_and_positioned_bring_each_once(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_several("a", ">");
    fake_expect(f, "Sa|0@0\nS>|0\n");
    struct fake_client *g = fake_open(shard, ENCODING_SSE);
    g->client.several = true;
    assert_int_equal(fake_subscribe(g, ">"), 0);
    say("1", 0);
    subscribe(g, "a", &throttle_plain, true);
    fake_expect(g, "S>|0\nP>|a|1\nSa|0@1\n");
    say("2", 0);
    post("b", "3", 0, false);
    fake_settle(&node);
    fake_expect(f, "Pa|a|1|#1\nPa|a|2|#2\nP>|b|3\n");
    fake_expect(g, "Pa|a|2|#2\nP>|b|3\n");
    end();
}

static void lose(const char *channel)
{
    struct str name = str_of(channel);
    struct lost_topic lost = {name, msg_channel_hash(name), false};
    fanout_lose(shard, &lost, LOSS_STREAM);
}

/* What the lost one was to bring comes by the pattern. */
static void test_pattern_brings_on_what_is_lost(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_several("a", ">");
    fake_expect(f, "Sa|0@0\nS>|0\n");
    post("a", "1", 0, false); /* no turn yet */
    lose("a");
    say("2", 0);
    fake_expect(f, "P>|a|1\nP>|a|2\n");
    pass(TICK_MS);
    fake_expect(f, "La|stream\n");
    end();
}

/* Giving that may be too much for its queue, and end it, with the subscription
 * that is being told. */
static void test_loss_that_ends_the_client(void **state)
{
    (void)state;
    char big[300];
    memset(big, '1', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    begin_with(64, 800);
    struct fake_client *f = fake_open(shard, ENCODING_SSE);
    f->client.several = true;
    subscribe(f, "a", &latest, true);
    assert_int_equal(fake_subscribe(f, ">"), 0);
    fake_settle(&node);
    choke(f);
    for (unsigned i = 1; i <= 5; i++)
        say(big, i);
    assert_int_equal(f->close_code, 0);
    pass(TICK_MS);
    assert_int_equal(f->client.close_code, 3008);
    fake_expect(f, "");
    end();
}

/* --- gaps ---------------------------------------------------------------------- */

static void subscribe_plain(struct fake_client *f, const char *name,
                            const struct history_policy *history)
{
    shard_busy(shard);
    assert_int_equal(
        fake_subscribe_wish(f, name, history, &(struct position_wish){0}), 0);
    fake_settle(&node);
}

static void test_gaps_are_told_where_the_namespace_says_so(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = fake_open(shard, ENCODING_WS_JSON);
    struct fake_client *g = fake_open(shard, ENCODING_SSE);
    g->goes_on = true;
    subscribe_plain(f, "a", &tells_gaps);
    subscribe_plain(f, "b", NULL);
    subscribe_plain(g, "a", &tells_gaps);
    home_post_gap(&node.hub, 1);
    fake_settle(&node);
    pass(TICK_MS);
    fake_expect(f, "Sa|0\nSb|0\nLa|gap\n");
    fake_expect(g, "Sa|0\n");
    assert_int_equal(shard->stats.subs_gap, 2);
    end();
}

static void close_it(struct fake_client *f, struct sub *s)
{
    (void)s;
    client_close(&f->client, 3008, STR_LIT("slow"));
}

/* With the client its other channels go, while the home looks at them. */
static void test_gap_that_ends_the_client(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d"};
    begin();
    struct fake_client *f = fake_open(shard, ENCODING_SSE);
    f->goes_on = true;
    f->on_gap = close_it;
    for (unsigned i = 0; i < 4; i++)
        subscribe_plain(f, names[i], &tells_gaps);
    home_post_gap(&node.hub, 1);
    fake_settle(&node);
    assert_int_equal(f->close_code, 3008);
    assert_int_equal(home_channel_count(&shard->home), 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offset_is_told_when_nothing_waits),
        cmocka_unit_test(test_offset_is_the_greatest_that_was_brought),
        cmocka_unit_test(test_late_values_tell_none),
        cmocka_unit_test(test_drop_oldest_with_a_position_is_lost),
        cmocka_unit_test(test_drop_oldest_without_a_position_goes_on),
        cmocka_unit_test(test_bound_that_is_met_exactly_is_no_loss),
        cmocka_unit_test(test_evicted_items_are_lost),
        cmocka_unit_test(test_urgent_brings_nothing_of_what_is_overrun),
        cmocka_unit_test(test_retuning_brings_nothing_of_what_is_overrun),
        cmocka_unit_test(test_pattern_and_positioned_bring_each_once),
        cmocka_unit_test(test_pattern_brings_on_what_is_lost),
        cmocka_unit_test(test_loss_that_ends_the_client),
        cmocka_unit_test(test_gaps_are_told_where_the_namespace_says_so),
        cmocka_unit_test(test_gap_that_ends_the_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
