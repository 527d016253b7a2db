/* Clients that cannot keep up, on one shard and a clock that stands still.
 * The random lives are in throttle_model_test; these name what the design
 * promises. */
#include "hub/backlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
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
    .allow_client_rate = true,
    .order_group = 1,
};

static const struct throttle_policy ring3 = {
    .mode = THROTTLE_ALL,
    .on_full = THROTTLE_DROP_OLDEST,
    .allow_client_rate = true,
    .buffer = 3,
    .order_group = 1,
};

static void begin_with(uint32_t queue_max_bytes, uint32_t max_items)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 3,
                            .queue_max_bytes = queue_max_bytes,
                            .channel_limit = 8,
                            .max_items = max_items,
                            .last_max_bytes = 16 << 20,
                            .state_max_bytes = 65536};
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

static void pass(unsigned ms)
{
    still_pass_ns(ms * MS);
    settle();
}

static void subscribe(struct fake_client *f, const char *topic,
                      const struct throttle_policy *policy)
{
    shard_busy(shard);
    assert_int_equal(fake_subscribe_as(f, topic, policy, &as_it_is), 0);
    settle();
}

static struct fake_client *open_as(const struct throttle_policy *policy)
{
    shard_busy(shard);
    struct fake_client *f = fake_open(shard, ENCODING_WS_JSON);
    subscribe(f, "a", policy);
    fake_expect(f, "Sa|0\n");
    return f;
}

static void publish_to(const char *channel, const char *data, uint64_t item,
                       const struct throttle_policy *policy, bool urgent)
{
    shard_busy(shard);
    assert_true(
        fake_publish_as(shard, &(struct fake_publication){.channel = channel,
                                                          .data = data,
                                                          .item = item,
                                                          .policy = policy,
                                                          .urgent = urgent}));
}

static void publish(const char *data, uint64_t item)
{
    publish_to("a", data, item, &latest, false);
    settle();
}

/* Its next write is taken, then the socket is full. */
static void choke(struct fake_client *f)
{
    f->next_write = WRITE_CHOKED;
}

static void unchoke(struct fake_client *f, enum write_result next)
{
    f->next_write = next;
    shard_busy(shard);
    client_writable(&f->client);
    settle();
}

/* Full, with nothing in its queue. */
static struct fake_client *open_choked(const struct throttle_policy *policy)
{
    struct fake_client *f = open_as(policy);
    choke(f);
    publish_to("a", "0", 99, policy, false);
    settle();
    fake_expect(f, "Pa|a|0\n");
    assert_true(f->client.choked);
    return f;
}

static void test_value_is_chosen_when_it_can_be_taken(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_choked(&latest);
    publish("1", 1);
    publish("2", 2);
    publish("3", 1);
    assert_int_equal(backlog_count(&f->client), 2);
    publish("4", 1);
    fake_expect(f, "");
    unchoke(f, WRITE_DONE);
    assert_int_equal(backlog_count(&f->client), 0);
    struct str got = str_skip(buf_view(&f->wire), f->read_bytes);
    assert_int_equal(got.n, 2 * strlen("Pa|a|4\n"));
    assert_non_null(memmem(got.p, got.n, "|4", 2));
    assert_non_null(memmem(got.p, got.n, "|2", 2));
    assert_int_equal(shard->stats.throttle_conflated[THROTTLE_LATEST], 2);
    end();
}

static void test_who_keeps_up_has_no_backlog(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_as(&latest);
    for (unsigned i = 0; i < 100; i++)
        publish("x", 1 + i % 7);
    assert_null(f->client.backlog);
    assert_int_equal(node.hub.held.used_bytes, 0);
    end();
}

/* What is queued and was not taken goes back and is replaced. */
static void test_queue_is_taken_back(void **state)
{
    (void)state;
    char large[3000];
    begin();
    struct fake_client *f = open_choked(&latest);
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    for (uint64_t item = 1; item <= 3; item++)
        publish(large, item);
    unchoke(f, WRITE_CHOKED); /* one of them, then it is full again */
    assert_int_equal(f->wire.n - f->read_bytes, sizeof(large) + 5);
    assert_int_equal(f->client.queue_count, 0);
    f->read_bytes = f->wire.n;
    for (uint64_t item = 1; item <= 3; item++)
        publish("new", item);
    unchoke(f, WRITE_DONE);
    fake_expect(f, "Pa|a|new\nPa|a|new\nPa|a|new\n");
    end();
}

/* Three values of an item, each large enough for a pass of its own, and small
 * enough for the queue: the first is written, two come back. */
static void test_newest_stays_when_two_are_taken_back(void **state)
{
    (void)state;
    static const struct throttle_policy wide = {.mode = THROTTLE_LATEST,
                                                .on_full = THROTTLE_CONFLATE,
                                                .bandwidth = 10000000};
    static char data[8151];
    begin();
    struct fake_client *f = open_as(&wide);
    choke(f);
    for (char c = '1'; c <= '3'; c++) {
        memset(data, c, sizeof(data) - 1);
        publish_to("a", data, 1, &wide, false);
    }
    settle();
    assert_int_equal(f->wire.n - f->read_bytes, sizeof(data) + 5);
    assert_int_equal(f->wire.p[f->wire.n - 2], '1');
    assert_int_equal(f->client.queue_count, 0);
    assert_int_equal(backlog_count(&f->client), 1);
    f->read_bytes = f->wire.n;
    unchoke(f, WRITE_DONE);
    assert_int_equal(f->wire.n - f->read_bytes, sizeof(data) + 5);
    assert_int_equal(f->wire.p[f->wire.n - 2], '3');
    end();
}

static void test_nothing_before_an_urgent_one_is_taken_back(void **state)
{
    (void)state;
    static const struct throttle_policy wide = {.mode = THROTTLE_LATEST,
                                                .on_full = THROTTLE_CONFLATE,
                                                .bandwidth = 10000000};
    static char data[8151];
    begin();
    struct fake_client *f = open_as(&wide);
    choke(f);
    for (char c = '1'; c <= '2'; c++) {
        memset(data, c, sizeof(data) - 1);
        publish_to("a", data, (uint64_t)c, &wide, false);
    }
    publish_to("a", "now", 3, &wide, true);
    settle();
    assert_int_equal(f->wire.p[f->wire.n - 2], '1');
    assert_int_equal(f->client.queue_count, 2);
    f->read_bytes = f->wire.n;
    unchoke(f, WRITE_DONE);
    assert_int_equal(f->wire.p[f->read_bytes + 5], '2');
    f->read_bytes += sizeof(data) + 5;
    fake_expect(f, "Pa|a|now\n");
    end();
}

/* Much in one turn is not slowness: the socket takes it all. */
static void test_burst_loses_nothing(void **state)
{
    (void)state;
    static char data[5001];
    begin();
    struct fake_client *f = open_as(&ring3);
    memset(data, 'x', sizeof(data) - 1);
    for (unsigned i = 0; i < 40; i++)
        publish_to("a", data, 1, &ring3, false);
    settle();
    assert_int_equal(f->wire.n - f->read_bytes, 40 * (sizeof(data) + 5));
    assert_int_equal(shard->stats.throttle_dropped[THROTTLE_ALL], 0);
    end();
}

static void test_late_for_a_while(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_choked(&latest);
    unchoke(f, WRITE_DONE);
    publish("1", 1);
    fake_expect(f, "Pa|a|1\n");
    assert_non_null(f->client.backlog);
    pass(11000);
    publish("2", 1);
    publish("3", 1);
    fake_expect(f, "Pa|a|2\nPa|a|3\n");
    assert_int_equal(backlog_count(&f->client), 0);
    end();
}

static void test_loss_is_told(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_choked(&ring3);
    for (char data[2] = "1"; *data <= '7'; ++*data) {
        publish_to("a", data, 1, &ring3, false);
        settle();
    }
    assert_int_equal(backlog_count(&f->client), 3);
    unchoke(f, WRITE_DONE);
    fake_expect(f, "Pa|a|5|lost=4\nPa|a|6\nPa|a|7\n");
    assert_int_equal(shard->stats.throttle_dropped[THROTTLE_ALL], 4);
    publish_to("a", "8", 1, &ring3, false);
    settle();
    fake_expect(f, "Pa|a|8\n");
    end();
}

static void test_loss_is_told_by_a_flush(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_choked(&ring3);
    for (char data[2] = "1"; *data <= '5'; ++*data) {
        publish_to("a", data, 1, &ring3, false);
        settle();
    }
    publish_to("a", "6", 1, &ring3, true);
    settle();
    assert_int_equal(backlog_count(&f->client), 0);
    unchoke(f, WRITE_DONE);
    fake_expect(f, "Pa|a|3|lost=2\nPa|a|4\nPa|a|5\nPa|a|6\n");
    publish_to("a", "7", 1, &ring3, false);
    settle();
    fake_expect(f, "Pa|a|7\n");
    end();
}

static void test_urgent_follows_what_waits_for_its_group(void **state)
{
    (void)state;
    static const struct throttle_policy stranger = {
        .mode = THROTTLE_LATEST, .on_full = THROTTLE_CONFLATE};
    begin();
    struct fake_client *f = open_as(&latest);
    subscribe(f, "b", &ring3);
    subscribe(f, "c", &stranger);
    choke(f);
    publish("0", 1);
    fake_expect(f, "Sb|0\nSc|0\nPa|a|0\n");
    publish("1", 1);
    publish_to("b", "2", 2, &ring3, false);
    publish_to("b", "3", 2, &ring3, false);
    publish_to("c", "4", 3, &stranger, false);
    publish_to("b", "5", 2, &ring3, true);
    settle();
    publish_to("c", "6", 3, &stranger, false);
    publish("7", 1);
    unchoke(f, WRITE_DONE);
    fake_expect(f, "Pa|a|1\nPb|b|2\nPb|b|3\nPb|b|5\nPc|c|6\nPa|a|7\n");
    end();
}

/* Two urgent ones on two channels, and something between them. */
static void test_urgent_ones_keep_their_order(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_as(&latest);
    subscribe(f, "b", &latest);
    fake_expect(f, "Sb|0\n");
    publish_to("b", "1", 2, &latest, true);
    publish_to("b", "2", 3, &latest, false);
    publish_to("a", "3", 1, &latest, true);
    publish_to("b", "4", 2, &latest, false);
    settle();
    struct str got = buf_view(&f->wire);
    const char *at[4];
    for (unsigned i = 0; i < 4; i++) {
        char what[3] = {'|', (char)('1' + i), '\0'};
        at[i] = memmem(got.p, got.n, what, 2);
        assert_non_null(at[i]);
    }
    assert_true(at[0] < at[1] && at[1] < at[2]);
    end();
}

static void test_urgent_ones_pile_up_in_order(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_choked(&latest);
    publish("1", 1);
    for (char data[2] = "2"; *data <= '4'; ++*data) {
        publish_to("a", data, 1, &latest, true);
        settle();
    }
    publish("5", 1);
    assert_int_equal(backlog_count(&f->client), 1);
    unchoke(f, WRITE_DONE);
    fake_expect(f, "Pa|a|1\nPa|a|2\nPa|a|3\nPa|a|4\nPa|a|5\n");
    end();
}

/* A busy item and large ones do not keep the others out. */
static void test_every_item_has_its_turn(void **state)
{
    (void)state;
    char large[3000];
    char data[24];
    begin();
    struct fake_client *f = open_choked(&latest);
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    for (uint64_t item = 1; item <= 5; item++)
        publish(large, item);
    for (uint64_t item = 6; item <= 10; item++) {
        snprintf(data, sizeof(data), "item%u;", (unsigned)item);
        publish(data, item);
    }
    for (unsigned writes = 0; backlog_count(&f->client); writes++) {
        assert_true(writes < 30);
        publish(large, 1); /* again and again */
        unchoke(f, WRITE_CHOKED);
        still_pass_ns(10 * MS);
        if (writes > 10) {
            f->next_write = WRITE_DONE;
            unchoke(f, WRITE_DONE);
        }
    }
    for (uint64_t item = 6; item <= 10; item++) {
        snprintf(data, sizeof(data), "item%u;", (unsigned)item);
        assert_non_null(memmem(f->wire.p, f->wire.n, data, strlen(data)));
    }
    end();
}

static void test_writes_are_small(void **state)
{
    (void)state;
    char text[1000];
    begin();
    struct fake_client *f = open_choked(&latest);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (uint64_t item = 1; item <= 40; item++)
        publish(text, item);
    while (backlog_count(&f->client)) {
        f->read_bytes = f->wire.n;
        unchoke(f, WRITE_CHOKED);
        assert_in_range(f->wire.n - f->read_bytes, 1, BACKLOG_WRITE_BYTES);
    }
    end();
}

static void test_bandwidth(void **state)
{
    (void)state;
    static const struct throttle_policy narrow = {.mode = THROTTLE_LATEST,
                                                  .on_full = THROTTLE_CONFLATE,
                                                  .bandwidth = 1000};
    char text[101];
    begin();
    struct fake_client *f = open_as(&narrow);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (unsigned second = 0; second < 5; second++) {
        size_t before = f->wire.n;
        for (unsigned i = 0; i < 100; i++) {
            publish_to("a", text, 1 + i % 10, &narrow, false);
            pass(10);
        }
        assert_in_range(f->wire.n - before, 850, 1000 + 250 + 106);
    }
    for (uint64_t item = 1; item <= 10; item++)
        publish_to("a", "last", item, &narrow, false);
    size_t before = f->wire.n;
    for (unsigned i = 0; i < 100; i++)
        pass(10);
    assert_int_equal(f->wire.n - before, 10 * strlen("Pa|a|last\n"));
    assert_int_equal(backlog_count(&f->client), 0);
    end();
}

/* Urgent ones are not held back, but what follows pays for them. */
static void test_bandwidth_and_urgent(void **state)
{
    (void)state;
    static const struct throttle_policy narrow = {.mode = THROTTLE_LATEST,
                                                  .on_full = THROTTLE_CONFLATE,
                                                  .bandwidth = 1000};
    char text[2001];
    begin();
    struct fake_client *f = open_as(&narrow);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    pass(5000);
    publish_to("a", text, 1, &narrow, true);
    settle();
    assert_int_equal(f->wire.n - f->read_bytes, sizeof(text) + 5);
    f->read_bytes = f->wire.n;
    publish_to("a", "1", 1, &narrow, false);
    for (unsigned i = 0; i < 17; i++)
        pass(100);
    fake_expect(f, "");
    pass(100);
    fake_expect(f, "Pa|a|1\n");
    end();
}

static void test_more_items_than_may_wait(void **state)
{
    (void)state;
    begin_with(1 << 20, 4);
    struct fake_client *f = open_choked(&latest);
    for (uint64_t item = 1; item <= 10; item++)
        publish("1", item);
    assert_int_equal(backlog_count(&f->client), 4);
    assert_int_equal(shard->stats.throttle_dropped[THROTTLE_LATEST], 6);
    unchoke(f, WRITE_DONE);
    fake_expect(f, "Pa|a|1\nPa|a|1\nPa|a|1\nPa|a|1\n");
    end();
}

static void test_ends_with_a_backlog(void **state)
{
    (void)state;
    begin();
    struct fake_client *f = open_choked(&latest);
    struct fake_client *g = open_choked(&ring3);
    publish("1", 1);
    publish("2", 2);
    assert_int_equal(backlog_count(&f->client), 3); /* and g's "0" */
    assert_true(node.hub.held.used_bytes > 0);
    shard_busy(shard);
    fake_unsubscribe(f, "a");
    settle();
    assert_int_equal(backlog_count(&f->client), 0);
    fake_gone(g);
    settle();
    assert_int_equal(shard->waiting, 0);
    assert_int_equal(node.hub.held.used_bytes, 0);
    end();
}

static void test_retuned_while_choked(void **state)
{
    (void)state;
    begin();
    struct throttle_request one = {.has_rate = true, .rate = 1000};
    struct fake_client *f = open_choked(&latest);
    publish("1", 1);
    publish("2", 2);
    shard_busy(shard);
    hub_retune(&f->client, client_find_sub(&f->client, STR_LIT("a")),
               throttle_decide(&latest, &one));
    publish("3", 1);
    settle();
    assert_int_equal(backlog_count(&f->client), 2);
    unchoke(f, WRITE_DONE);
    struct str got = str_skip(buf_view(&f->wire), f->read_bytes);
    assert_int_equal(got.n, 2 * strlen("Pa|a|3\n"));
    assert_non_null(memmem(got.p, got.n, "|3", 2));
    assert_non_null(memmem(got.p, got.n, "|2", 2));
    end();
}

/* The rest of a snapshot waits like everything else, and a newer value takes
 * its place. */
static void test_snapshot_of_a_choked_client(void **state)
{
    (void)state;
    struct throttle_policy last = latest;
    last.snapshot = 1;
    begin();
    for (uint64_t item = 1; item <= 3; item++)
        publish_to("b", "old", item, &last, false);
    struct fake_client *f = open_choked(&latest);
    f->keep_back = 2;
    subscribe(f, "b", &last);
    publish_to("b", "new", 2, &last, false);
    settle();
    unchoke(f, WRITE_DONE);
    struct str got = str_skip(buf_view(&f->wire), f->read_bytes);
    assert_true(str_starts(got, STR_LIT("Sb|0\nPb|b|old\n")));
    got = str_skip(got, strlen("Sb|0\nPb|b|old\n"));
    assert_int_equal(got.n, 2 * strlen("Pb|b|old\n"));
    assert_non_null(memmem(got.p, got.n, "old", 3));
    assert_non_null(memmem(got.p, got.n, "new", 3));
    end();
}

static void test_rather_closed_than_conflated(void **state)
{
    (void)state;
    static const struct throttle_policy strict = {
        .mode = THROTTLE_LATEST, .on_full = THROTTLE_DISCONNECT};
    begin_with(100, 1000);
    struct fake_client *f = open_choked(&strict);
    for (unsigned i = 0; i < 30; i++) {
        publish_to("a", "1", 1, &strict, false);
        settle();
    }
    assert_int_equal(f->closes, 1);
    assert_int_equal(f->close_code, 3008);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_is_chosen_when_it_can_be_taken),
        cmocka_unit_test(test_who_keeps_up_has_no_backlog),
        cmocka_unit_test(test_queue_is_taken_back),
        cmocka_unit_test(test_newest_stays_when_two_are_taken_back),
        cmocka_unit_test(test_nothing_before_an_urgent_one_is_taken_back),
        cmocka_unit_test(test_burst_loses_nothing),
        cmocka_unit_test(test_late_for_a_while),
        cmocka_unit_test(test_loss_is_told),
        cmocka_unit_test(test_loss_is_told_by_a_flush),
        cmocka_unit_test(test_urgent_follows_what_waits_for_its_group),
        cmocka_unit_test(test_urgent_ones_keep_their_order),
        cmocka_unit_test(test_urgent_ones_pile_up_in_order),
        cmocka_unit_test(test_every_item_has_its_turn),
        cmocka_unit_test(test_writes_are_small),
        cmocka_unit_test(test_bandwidth),
        cmocka_unit_test(test_bandwidth_and_urgent),
        cmocka_unit_test(test_more_items_than_may_wait),
        cmocka_unit_test(test_ends_with_a_backlog),
        cmocka_unit_test(test_retuned_while_choked),
        cmocka_unit_test(test_snapshot_of_a_choked_client),
        cmocka_unit_test(test_rather_closed_than_conflated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
