/* The turn in which a socket turns out to be full, and what is special about
 * clients whose values are chosen late. One shard, and a clock that stands
 * still; backlog_test has what follows. */
#include "hub/backlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/hub.h"
#include "tests/kit/fake.h"
#include "tests/kit/still.h"

#define MS UINT64_C(1000000)
#define START_NS (UINT64_C(1000000) * MS)

static struct fake_node node;
static struct shard *shard;
static const struct throttle_request as_it_is;

/* No rate: only a full socket conflates. */
static const struct throttle_policy latest = {
    .mode = THROTTLE_LATEST,
    .on_full = THROTTLE_CONFLATE,
};

static const struct throttle_policy latest5 = {
    .mode = THROTTLE_LATEST,
    .on_full = THROTTLE_CONFLATE,
    .rate = 5000,
};

static const struct throttle_policy ring = {
    .mode = THROTTLE_ALL,
    .on_full = THROTTLE_DROP_OLDEST,
    .buffer = 128,
};

static void begin_with(uint32_t queue_max_bytes, uint32_t max_items)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 128,
                            .queue_max_bytes = queue_max_bytes,
                            .channel_limit = 8,
                            .max_items = max_items};
    still_at(START_NS);
    fake_node_init(&node, 1, &o);
    shard = node.hub.shards[0];
}

static void begin(void)
{
    begin_with(1 << 20, 1000);
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

static void subscribe(struct fake_client *f, const char *topic,
                      const struct throttle_policy *policy)
{
    shard_busy(shard);
    assert_int_equal(fake_subscribe_as(f, topic, policy, &as_it_is), 0);
    settle();
    f->read_bytes = f->wire.n;
}

static struct fake_client *open_as(enum encoding encoding,
                                   const struct throttle_policy *policy)
{
    shard_busy(shard);
    struct fake_client *f = fake_open(shard, encoding);
    subscribe(f, "a", policy);
    return f;
}

static void publish(const struct fake_publication *p)
{
    shard_busy(shard);
    assert_true(fake_publish_as(shard, p));
}

static void say(const char *channel, uint64_t item, const char *data,
                const struct throttle_policy *policy)
{
    publish(&(struct fake_publication){
        .channel = channel, .data = data, .item = item, .policy = policy});
}

/* `data`, then x up to n bytes; for one use at a time. */
static const char *text(const char *data, size_t n)
{
    static char to[65536];
    CHECK(n < sizeof(to) && strlen(data) <= n);
    memset(to, 'x', n);
    memcpy(to, data, strlen(data));
    to[n] = '\0';
    return to;
}

/* A line of the session's, n bytes with its end. */
static void push_line(struct fake_client *f, size_t n)
{
    struct buf line = BUF_INIT;
    buf_str(&line, str_of(text("L", n - 1)));
    buf_char(&line, '\n');
    client_push_bytes(&f->client, buf_view(&line));
    buf_free(&line);
}

static void unchoke(struct fake_client *f, enum write_result next)
{
    f->next_write = next;
    shard_busy(shard);
    client_writable(&f->client);
    settle();
}

/* The first byte of each unread publication's data, in order. */
static const char *next_letters(struct fake_client *f)
{
    static char to[256];
    struct fake_line line;
    size_t n = 0;
    while (fake_next(f, &line)) {
        if (line.kind != 'P')
            continue;
        CHECK(n + 1 < sizeof(to) && line.data.n);
        to[n++] = line.data.p[0];
    }
    to[n] = '\0';
    return to;
}

/* --- a push that has to write, and chokes ---------------------------------- */

/* What was taken back is older than what the caller pushes next: here, what
 * waits for b's tick, and the urgent one behind it. */
static void test_urgent_is_not_passed(void **state)
{
    (void)state;
    static const struct throttle_policy grouped = {.mode = THROTTLE_LATEST,
                                                   .on_full = THROTTLE_CONFLATE,
                                                   .rate = 5000,
                                                   .order_group = 1};
    begin();
    struct fake_client *f = open_as(ENCODING_WS_JSON, &grouped);
    subscribe(f, "b", &grouped);
    f->next_write = WRITE_CHOKED;
    push_line(f, 16380);
    say("b", 1, "1", &grouped);
    (void)fanout_run(shard);
    assert_int_equal(f->client.queue_count, 2); /* more than one write */
    for (unsigned i = 0; i < 16; i++)
        push_line(f, 64450);
    say("b", 1, text("2", 10000), &grouped);
    publish(&(struct fake_publication){.channel = "a",
                                       .data = "3",
                                       .item = 2,
                                       .policy = &grouped,
                                       .urgent = true});
    (void)fanout_run(shard);
    assert_true(f->client.choked); /* before the end of the turn */
    settle();
    unchoke(f, WRITE_DONE);
    assert_string_equal(next_letters(f), "123");
    assert_int_equal(f->closings, 0);
    end();
}

/* One that joins within a batch gets the rest of it one by one: the write in
 * the middle of that leaves none of them behind. The long name makes them take
 * more on the wire than was reckoned with. */
static void test_ring_keeps_its_order(void **state)
{
    (void)state;
    char name[201];
    char data[2] = "0";
    begin_with(4096, 1000);
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct fake_client *first = open_as(ENCODING_WS_JSON, &throttle_plain);
    subscribe(first, name, &ring);
    shard_busy(shard);
    struct fake_client *f = fake_open(shard, ENCODING_WS_JSON);
    say(name, 0, "-", &ring);
    assert_int_equal(fake_subscribe_as(f, name, &ring, &as_it_is), 0);
    client_flush(&f->client);
    f->read_bytes = f->wire.n;
    f->next_write = WRITE_CHOKED;
    for (unsigned i = 0; i < 60; i++)
        push_line(f, 23);
    for (; data[0] <= '7'; data[0]++)
        say(name, 0, data, &ring);
    settle();
    assert_true(f->client.choked);
    assert_int_equal(f->writes, 2);
    assert_true(f->wire.n - f->read_bytes < 3500); /* not all at once */
    unchoke(f, WRITE_DONE);
    assert_string_equal(next_letters(f), "01234567");
    assert_string_equal(next_letters(first), "-01234567");
    end();
}

/* A newer value in front of an older one would be the last one it gets. */
static void newest_is_last(uint32_t queue_max_bytes, size_t size)
{
    static const struct throttle_policy wide = {.mode = THROTTLE_LATEST,
                                                .on_full = THROTTLE_CONFLATE,
                                                .bandwidth = 100000000};
    begin_with(queue_max_bytes, 1000);
    struct fake_client *f = open_as(ENCODING_WS_JSON, &latest);
    subscribe(f, "w", &wide); /* from now on writes are small */
    say("w", 1, "0", &wide);
    settle();
    f->read_bytes = f->wire.n;
    f->next_write = WRITE_CHOKED;
    push_line(f, 3000);
    say("a", 1, text("1", 1000), &latest);
    say("a", 1, text("2", size), &latest);
    say("a", 1, text("3", 10), &latest);
    settle();
    for (unsigned i = 0; i < 3 && f->client.choked; i++)
        unchoke(f, WRITE_DONE);
    const char *got = next_letters(f);
    assert_true(got[0]);
    assert_int_equal(got[strlen(got) - 1], '3');
    for (size_t i = 1; got[i]; i++)
        assert_true(got[i - 1] < got[i]);
    assert_int_equal(f->closings, 0);
    end();
}

static void test_newest_is_last(void **state)
{
    (void)state;
    newest_is_last(16384, 14000);
    newest_is_last(16384, 30000);
    newest_is_last(4096, 2000);
    newest_is_last(4096, 3000);
    newest_is_last(4096, 14000);
    newest_is_last(1 << 20, 14000);
}

/* Its queue is small and not empty: the value waits. */
static void test_conflating_client_is_not_closed(void **state)
{
    (void)state;
    begin_with(4096, 1000);
    struct fake_client *f = open_as(ENCODING_WS_JSON, &latest);
    f->next_write = WRITE_CHOKED;
    push_line(f, 4000);
    say("a", 1, text("1", 5000), &latest);
    settle();
    assert_int_equal(f->closings, 0);
    say("a", 2, text("2", 5000), &latest);
    say("a", 3, text("3", 100), &latest);
    settle();
    while (f->client.choked)
        unchoke(f, f->writes % 2 ? WRITE_DONE : WRITE_CHOKED);
    assert_int_equal(strlen(next_letters(f)), 3);
    assert_int_equal(f->closings, 0);
    end();
}

/* --- not JSON -------------------------------------------------------------- */

static void say_binary(uint64_t item)
{
    publish(&(struct fake_publication){.channel = "a",
                                       .data = "BIN",
                                       .item = item,
                                       .policy = &latest5,
                                       .is_binary = true});
}

/* In a tick's batch the numbers go up and down: for the second client only the
 * first one of the batch is new. */
static void test_binary_in_a_batch(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_as(ENCODING_WS_JSON, &latest5);
    say("a", 1, "1", &latest5);
    say("a", 2, "2", &latest5);
    settle();
    fake_expect(f, "Pa|a|1\nPa|a|2\n");
    say("a", 1, "3", &latest5);
    say_binary(2);
    settle();
    struct fake_client *g = open_as(ENCODING_WS_JSON, &latest5);
    say_binary(1);
    pass(300);
    assert_int_equal(f->close_code, 3506);
    assert_int_equal(g->close_code, 3506);
    fake_expect(f, "");
    fake_expect(g, "");
    end();
}

/* What it has not got is no matter to it. */
static void test_binary_before_it_came(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_as(ENCODING_WS_JSON, &latest5);
    say("a", 1, "1", &latest5);
    say("a", 2, "2", &latest5);
    say("a", 1, "3", &latest5);
    say_binary(2);
    settle();
    struct fake_client *g = open_as(ENCODING_WS_JSON, &latest5);
    say("a", 1, "4", &latest5);
    pass(300);
    assert_int_equal(f->close_code, 3506);
    assert_int_equal(g->closes, 0);
    fake_expect(g, "Pa|a|4\n");
    end();
}

/* --- ticks ----------------------------------------------------------------- */

/* All leave within a pass and one comes back before its end: ticks still wait
 * for the passes of the last one. */
static void test_fence_of_ticks(void **state)
{
    (void)state;
    begin();
    node.hub.options.slice = 1;
    struct fake_client *f = open_as(ENCODING_WS_JSON, &latest5);
    struct fake_client *g = open_as(ENCODING_WS_JSON, &latest5);
    for (uint64_t item = 1; item < 100; item++)
        say("a", item, "1", &latest5);
    fake_turn(&node, 0);
    shard_busy(shard);
    fake_unsubscribe(f, "a");
    fake_unsubscribe(g, "a");
    assert_int_equal(
        fake_subscribe_as(f, "a", &latest5, &(struct throttle_request){0}), 0);
    settle();
    const struct lane *l = client_find_sub(&f->client, STR_LIT("a"))->lane;
    assert_int_equal(l->ended, l->pushed);
    end();
}

static void test_untracked_items_are_counted(void **state)
{
    (void)state;
    begin_with(1 << 20, 4);
    struct fake_client *f = open_as(ENCODING_WS_JSON, &latest5);
    for (uint64_t item = 1; item <= 10; item++)
        say("a", item, "1", &latest5);
    settle();
    assert_int_equal(shard->stats.throttle_untracked, 6);
    assert_int_equal(strlen(next_letters(f)), 10);
    end();
}

/* --- the kernel's share ---------------------------------------------------- */

static void test_keep_late_is_asked_for_once(void **state)
{
    (void)state;
    static const struct throttle_policy all = {
        .mode = THROTTLE_ALL,
        .on_full = THROTTLE_DISCONNECT,
        .allow_client_rate = true,
    };
    static const struct throttle_request newest = {.has_mode = true,
                                                   .mode = THROTTLE_LATEST};
    begin();
    struct fake_client *f = open_as(ENCODING_WS_JSON, &throttle_plain);
    struct fake_client *g = open_as(ENCODING_WS_JSON, &all);
    say("a", 1, "1", &throttle_plain);
    settle();
    assert_int_equal(f->keep_lates, 0);
    assert_int_equal(g->keep_lates, 0);
    subscribe(f, "b", &latest);
    assert_int_equal(f->keep_lates, 1);
    subscribe(f, "c", &ring);
    fake_unsubscribe(f, "b");
    subscribe(f, "b", &latest);
    assert_int_equal(f->keep_lates, 1);
    shard_busy(shard);
    hub_retune(&g->client, client_find_sub(&g->client, STR_LIT("a")),
               throttle_decide(&all, &newest));
    settle();
    assert_int_equal(g->keep_lates, 1);
    end();
}

/* --- in turn --------------------------------------------------------------- */

/* One subscription has always something to send; the other gets its turns. */
static void test_busy_subscription_takes_turns(void **state)
{
    (void)state;
    struct fake_line line;
    unsigned got[2] = {0};
    begin();
    struct fake_client *f = open_as(ENCODING_WS_JSON, &latest);
    subscribe(f, "b", &latest);
    f->next_write = WRITE_CHOKED;
    say("a", 99, "0", &latest);
    settle();
    f->read_bytes = f->wire.n;
    for (unsigned writes = 0; writes < 20; writes++) {
        for (uint64_t item = 1; item <= 8; item++)
            say("a", item, text("1", 1000), &latest);
        say("b", 1, text("2", 1000), &latest);
        settle();
        unchoke(f, WRITE_CHOKED);
    }
    while (fake_next(f, &line))
        got[str_eq(line.topic, STR_LIT("b"))]++;
    /* A round is eight items of one and one of the other. */
    assert_in_range(got[0] + got[1], 50, 80);
    assert_in_range(got[1], got[0] / 8 - 1, got[0] / 8 + 1);
    end();
}

/* What is kept for the next one is kept for its encoding. */
static void test_each_its_encoding(void **state)
{
    (void)state;
    begin();
    fake_tells_encoding = true;
    struct fake_client *f[3] = {open_as(ENCODING_WS_JSON, &latest),
                                open_as(ENCODING_SSE, &latest),
                                open_as(ENCODING_SSE_RAW, &latest)};
    for (unsigned i = 0; i < 3; i++)
        f[i]->next_write = WRITE_CHOKED;
    say("a", 1, "0", &latest);
    settle();
    say("a", 1, "1", &latest);
    settle();
    shard_busy(shard);
    for (unsigned i = 0; i < 3; i++) {
        f[i]->next_write = WRITE_DONE;
        client_writable(&f[i]->client);
    }
    settle();
    fake_expect(f[0], "Pa|a|0|e=0\nPa|a|1|e=0\n");
    fake_expect(f[1], "Pa|a|0|e=2\nPa|a|1|e=2\n");
    fake_expect(f[2], "Pa|a|0|e=3\nPa|a|1|e=3\n");
    fake_tells_encoding = false;
    end();
}

/* --- what waits is not in flight ------------------------------------------- */

static void test_publishers_do_not_wait_for_a_ring(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_as(ENCODING_WS_JSON, &ring);
    f->next_write = WRITE_CHOKED;
    for (unsigned i = 0; i < 5; i++) {
        say("a", 1, "1", &ring);
        settle();
    }
    assert_int_equal(backlog_count(&f->client), 4);
    assert_int_equal(node.hub.budget.used_bytes, 0);
    assert_true(node.hub.held.used_bytes > 0);
    unchoke(f, WRITE_DONE);
    assert_int_equal(strlen(next_letters(f)), 5);
    assert_int_equal(node.hub.held.used_bytes, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urgent_is_not_passed),
        cmocka_unit_test(test_ring_keeps_its_order),
        cmocka_unit_test(test_newest_is_last),
        cmocka_unit_test(test_conflating_client_is_not_closed),
        cmocka_unit_test(test_binary_in_a_batch),
        cmocka_unit_test(test_binary_before_it_came),
        cmocka_unit_test(test_fence_of_ticks),
        cmocka_unit_test(test_untracked_items_are_counted),
        cmocka_unit_test(test_keep_late_is_asked_for_once),
        cmocka_unit_test(test_busy_subscription_takes_turns),
        cmocka_unit_test(test_each_its_encoding),
        cmocka_unit_test(test_publishers_do_not_wait_for_a_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
