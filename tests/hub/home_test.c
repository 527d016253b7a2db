/* Home shards and interest on one, two and four shards, turned in random
 * order on one thread. The random lives are judged by tests/kit/sim. */
#include "hub/home.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/kit/fake.h"
#include "tests/kit/sim.h"

static struct fake_node node;

static void close_all(void)
{
    for (unsigned i = 0; i < node.hub.count; i++) {
        struct shard *s = node.hub.shards[i];
        for (uint32_t k = 0; k < s->slot_count; k++) {
            if (s->slots[k].client)
                fake_gone(fake_of(s->slots[k].client));
        }
    }
}

/* Everybody gone: no topic, no interest, no memory is left anywhere. */
static void end(void)
{
    close_all();
    fake_settle(&node);
    for (unsigned i = 0; i < node.hub.count; i++) {
        struct shard *s = node.hub.shards[i];
        assert_null(s->topics.exact);
        assert_null(s->home.channels);
        assert_int_equal(s->topics.patterns.node_count, 0);
        assert_int_equal(s->home.patterns.node_count, 0);
    }
    fake_node_fini(&node);
}

static struct shard *home(const char *channel)
{
    return home_of(&node.hub, msg_channel_hash(str_of(channel)));
}

static struct shard *not_home(const char *channel)
{
    return node.hub.shards[(home(channel)->index + 1) % node.hub.count];
}

static struct fake_client *open_on(struct shard *s, const char *topic)
{
    struct fake_client *f = fake_open(s, ENCODING_WS_JSON);
    assert_int_equal(fake_subscribe(f, topic), 0);
    return f;
}

static void live(unsigned shards, uint64_t seed, unsigned steps)
{
    struct sim_options o = {.seed = seed,
                            .steps = steps,
                            .shards = shards,
                            .witnesses = seed % 2,
                            .several = seed % 4 >= 2};
    struct sim_result r = sim_run(&o);
    assert_in_range(r.received, r.publications, UINT32_MAX);
    assert_in_range(r.answers, steps / 200, UINT32_MAX);
}

static void test_random_life_on_one_shard(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++)
        live(1, seed, 8000);
}

static void test_random_life_on_two_shards(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        live(2, seed, 8000);
}

static void test_random_life_on_four_shards(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        live(4, seed, 8000);
}

static void test_random_life_on_all_shards(void **state)
{
    (void)state;
    live(HOME_MAX_SHARDS, 1, 4000);
    live(HOME_MAX_SHARDS, 3, 4000);
}

static void test_answer_comes_from_the_home_shard(void **state)
{
    (void)state;
    fake_node_init(&node, 2, NULL);
    struct shard *s = not_home("a");
    struct fake_client *f = open_on(s, "a");
    fake_turn(&node, s->index);
    fake_expect(f, "");        /* asked, not answered */
    fake_publish(s, "a", "1"); /* behind the ask in the home's mailbox */
    fake_turn(&node, home("a")->index);
    fake_turn(&node, s->index);
    fake_expect(f, "Sa|0\nPa|a|1\n");
    end();
}

static void test_nobody_interested_no_letter(void **state)
{
    (void)state;
    fake_node_init(&node, 4, NULL);
    open_on(not_home("a"), "a");
    fake_settle(&node);
    for (unsigned i = 0; i < 4; i++)
        node.hub.shards[i]->stats.letters = 0;
    fake_publish(home("a"), "a", "1");
    fake_settle(&node);
    fake_publish(home("b"), "b", "1");
    fake_settle(&node);
    for (unsigned i = 0; i < 4; i++) {
        bool subscribes = i == not_home("a")->index;
        assert_int_equal(node.hub.shards[i]->stats.letters, subscribes);
    }
    end();
}

/* Published elsewhere, answered, and then published at the home itself: the
 * first is still a letter there and must not be overtaken. */
static void test_publishing_at_home_does_not_overtake(void **state)
{
    (void)state;
    fake_node_init(&node, 2, NULL);
    struct fake_client *f = open_on(home("a"), "a");
    fake_settle(&node);
    fake_publish(not_home("a"), "a", "1");
    fake_publish(home("a"), "a", "2");
    fake_settle(&node);
    fake_expect(f, "Sa|0\nPa|a|1\nPa|a|2\n");
    end();
}

/* The answer to a pattern waits for every shard, and a publish at any of them
 * after it is not missed. */
static void test_pattern_waits_for_all_shards(void **state)
{
    (void)state;
    fake_node_init(&node, 4, NULL);
    struct shard *h = home("ns:*");
    struct shard *s = not_home("ns:*");
    struct shard *slow = node.hub.shards[(h->index + 2) % 4];
    struct fake_client *f = open_on(s, "ns:*");
    fake_turn(&node, h->index);
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned k = 0; k < 4; k++) {
            if (k != slow->index)
                fake_turn(&node, k);
        }
    }
    fake_expect(f, "");
    fake_turn(&node, slow->index);
    fake_turn(&node, h->index);
    fake_turn(&node, s->index);
    fake_expect(f, "Sns:*|0\n");
    for (unsigned i = 0; i < 4; i++) {
        char channel[8];
        char line[32];
        snprintf(channel, sizeof(channel), "ns:%u", i);
        snprintf(line, sizeof(line), "Pns:*|%s|1\n", channel);
        fake_publish(node.hub.shards[i], channel, "1");
        fake_settle(&node);
        fake_expect(f, line);
    }
    end();
}

static void test_late_answer_finds_nobody(void **state)
{
    (void)state;
    fake_node_init(&node, 2, NULL);
    struct shard *s = not_home("a");
    struct fake_client *f = open_on(s, "a");
    fake_gone(f);
    fake_turn(&node, s->index); /* buried */
    struct fake_client *heir =
        fake_open(s, ENCODING_WS_JSON); /* the same slot */
    fake_settle(&node);
    assert_int_equal(heir->answers, 0);
    fake_expect(heir, "");
    assert_null(home("a")->home.channels);
    end();
}

static void test_late_answer_finds_a_newer_attempt(void **state)
{
    (void)state;
    fake_node_init(&node, 2, NULL);
    struct fake_client *f = open_on(not_home("a"), "a");
    fake_unsubscribe(f, "a");
    assert_int_equal(fake_subscribe(f, "a"), 0);
    assert_int_equal(fake_subscribe(f, "a"), ERR_EXISTS);
    fake_settle(&node);
    assert_int_equal(f->answers, 1);
    fake_publish(home("a"), "a", "1");
    fake_settle(&node);
    fake_expect(f, "Sa|0\nPa|a|1\n");
    end();
}

static void test_leave_and_return(void **state)
{
    (void)state;
    fake_node_init(&node, 4, NULL);
    static const char *const names[] = {"a", "ns:>", "b", "*"};
    struct rand r;
    rand_init(&r, 5);
    for (unsigned i = 0; i < 400; i++) {
        const char *name = names[i % 4];
        struct fake_client *f =
            open_on(node.hub.shards[rand_below(&r, 4)], name);
        for (uint64_t n = rand_below(&r, 8); n > 0; n--)
            fake_step(&node, &r);
        fake_gone(f);
        for (uint64_t n = rand_below(&r, 8); n > 0; n--)
            fake_step(&node, &r);
        fake_check(&node);
    }
    end();
}

/* Letters are left in mailboxes when the hub ends: each must still be run. */
static void test_end_with_letters_under_way(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        struct rand r;
        fake_node_init(&node, 4, NULL);
        rand_init(&r, turns);
        for (unsigned i = 0; i < 4; i++) {
            open_on(node.hub.shards[i], "a");
            open_on(node.hub.shards[i], "b.*");
            fake_publish(node.hub.shards[i], "b.c", "1");
        }
        for (unsigned i = 0; i < turns; i++)
            fake_step(&node, &r);
        close_all();
        fake_node_fini(&node);
    }
}

static void test_posts_from_outside(void **state)
{
    (void)state;
    fake_node_init(&node, 2, NULL);
    struct fake_client *f = open_on(not_home("a"), "a");
    fake_settle(&node);
    for (unsigned i = 0; i < 3; i++) {
        char data[2] = {(char)('0' + i), '\0'};
        struct msg_parts parts = {
            .channel = STR_LIT("a"), .data = str_of(data), .is_json = true};
        struct msg *m = msg_new(&node.hub.budget, &parts);
        assert_non_null(m);
        home_post(&node.hub, m);
    }
    fake_settle(&node);
    fake_expect(f, "Sa|0\nPa|a|0\nPa|a|1\nPa|a|2\n");
    assert_int_equal(home("a")->stats.pubs_in_broker, 3);
    end();
}

/* The handle is the first field of an entry, which home.c keeps to itself. */
static const UT_hash_table *table_of(const struct home *h)
{
    return ((const UT_hash_handle *)h->channels)->tbl;
}

/* Names of one home must still spread over the buckets of its table. */
static void test_homes_share_evenly_and_tables_stay_flat(void **state)
{
    (void)state;
    fake_node_init(&node, 4, NULL);
    struct fake_client *f[200];
    unsigned of[4] = {0};
    for (unsigned i = 0; i < 200; i++)
        f[i] = fake_open(node.hub.shards[i % 4], ENCODING_WS_JSON);
    for (unsigned i = 0; i < 20000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "ch%u", i);
        assert_int_equal(fake_subscribe(f[i % 200], name), 0);
        of[home(name)->index]++;
    }
    fake_settle(&node);
    for (unsigned i = 0; i < 4; i++) {
        assert_in_range(of[i], 4700, 5300);
        const UT_hash_table *table = table_of(&node.hub.shards[i]->home);
        assert_int_equal(table->noexpand, 0);
        assert_in_range(table->num_buckets, 5000 / 10, UINT32_MAX);
        assert_in_range(table->nonideal_items, 0, table->num_items / 2);
    }
    end();
}

/* --- a bus -------------------------------------------------------------------- */

static struct {
    struct feed_op *acquiring;
    struct publish_op *publishing;
    unsigned acquires;
    unsigned releases;
} bus;

static void bus_publish(void *self, struct publish_op *op)
{
    assert_ptr_equal(self, &bus);
    bus.publishing = op;
}

static void bus_acquire(void *self, struct feed_op *op)
{
    assert_ptr_equal(self, &bus);
    bus.acquiring = op;
    bus.acquires++;
}

static void bus_release(void *self, struct str channel, bool is_pattern)
{
    assert_ptr_equal(self, &bus);
    assert_true(str_eq(channel, STR_LIT("a")) && !is_pattern);
    bus.releases++;
}

static const struct broker_ops bus_ops = {
    .publish = bus_publish,
    .acquire = bus_acquire,
    .release = bus_release,
};

static void on_feed_letter(void *reader, struct letter *self)
{
    struct feed_op *op = container_of(self, struct feed_op, letter);
    assert_ptr_equal(op->home, reader);
    op->done(op);
}

static void feed_is_up(void)
{
    struct feed_op *op = bus.acquiring;
    bus.acquiring = NULL;
    op->letter.run = on_feed_letter;
    mailbox_post(&op->home->mailbox, &op->letter);
}

static void begin_with_bus(void)
{
    memset(&bus, 0, sizeof(bus));
    fake_node_init(&node, 2, NULL);
    node.hub.broker.ops = &bus_ops;
    node.hub.broker.self = &bus;
}

static void test_answer_waits_for_the_feed(void **state)
{
    (void)state;
    begin_with_bus();
    struct fake_client *f = open_on(not_home("a"), "a");
    struct fake_client *g = open_on(home("a"), "a");
    fake_settle(&node);
    assert_int_equal(bus.acquires, 1);
    assert_int_equal(f->answers + g->answers, 0);
    assert_true(
        str_eq(str_n(bus.acquiring->channel, bus.acquiring->channel_len),
               STR_LIT("a")));
    feed_is_up();
    fake_settle(&node);
    fake_expect(f, "Sa|0\n");
    fake_expect(g, "Sa|0\n");
    struct fake_client *late = open_on(home("a"), "a");
    fake_settle(&node);
    fake_expect(late, "Sa|0\n");
    assert_int_equal(bus.acquires, 1);
    end();
    assert_int_equal(bus.releases, 1);
}

static void test_feed_comes_up_for_nobody(void **state)
{
    (void)state;
    begin_with_bus();
    struct fake_client *f = open_on(not_home("a"), "a");
    fake_settle(&node);
    fake_gone(f);
    fake_settle(&node);
    assert_int_equal(bus.releases, 0); /* the question is not answered yet */
    feed_is_up();
    end();
    assert_int_equal(bus.acquires, 1);
    assert_int_equal(bus.releases, 1);
}

static void on_published(struct publish_op *op)
{
    msg_unref(op->msg);
    assert_int_equal(op->result, 100);
    free(op);
}

static void test_bus_answers_publishes(void **state)
{
    (void)state;
    begin_with_bus();
    struct msg_parts parts = {
        .channel = STR_LIT("a"), .data = STR_LIT("1"), .is_json = true};
    struct publish_op *op = mem_zalloc(sizeof(*op));
    op->msg = msg_new(&node.hub.budget, &parts);
    op->done = on_published;
    hub_publish(node.hub.shards[1], op);
    assert_ptr_equal(bus.publishing, op);
    assert_ptr_equal(op->origin, node.hub.shards[1]);
    op->result = 100;
    op->done(op);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_life_on_one_shard),
        cmocka_unit_test(test_random_life_on_two_shards),
        cmocka_unit_test(test_random_life_on_four_shards),
        cmocka_unit_test(test_random_life_on_all_shards),
        cmocka_unit_test(test_answer_comes_from_the_home_shard),
        cmocka_unit_test(test_nobody_interested_no_letter),
        cmocka_unit_test(test_publishing_at_home_does_not_overtake),
        cmocka_unit_test(test_pattern_waits_for_all_shards),
        cmocka_unit_test(test_late_answer_finds_nobody),
        cmocka_unit_test(test_late_answer_finds_a_newer_attempt),
        cmocka_unit_test(test_leave_and_return),
        cmocka_unit_test(test_end_with_letters_under_way),
        cmocka_unit_test(test_posts_from_outside),
        cmocka_unit_test(test_homes_share_evenly_and_tables_stay_flat),
        cmocka_unit_test(test_answer_waits_for_the_feed),
        cmocka_unit_test(test_feed_comes_up_for_nobody),
        cmocka_unit_test(test_bus_answers_publishes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
