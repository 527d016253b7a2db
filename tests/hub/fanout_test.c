/* Fan-out in slices of 3 on one shard. The random lives are judged by the
 * account of tests/kit/sim; the others name what once went wrong. */
#include "hub/fanout.h"

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

static struct shard *begin(void)
{
    fake_node_init(&node, 1, NULL);
    return node.hub.shards[0];
}

/* What is still open goes; nothing may be left. */
static void end(void)
{
    struct shard *s = node.hub.shards[0];
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].client)
            fake_gone(fake_of(s->slots[i].client));
    }
    fake_settle(&node);
    assert_null(s->topics.exact);
    assert_null(s->home.channels);
    assert_int_equal(s->home.patterns.node_count, 0);
    assert_int_equal(s->sub_count, 0);
    assert_int_equal(s->queued_bytes, 0);
    fake_node_fini(&node);
}

static struct fake_client *open_on(struct shard *s, const char *topic)
{
    struct fake_client *f = fake_open(s, ENCODING_WS_JSON);
    assert_int_equal(fake_subscribe(f, topic), 0);
    return f;
}

static void turn(void)
{
    fake_turn(&node, 0);
    fake_check(&node);
}

/* --- random lives ------------------------------------------------------------ */

static void live(struct sim_options o)
{
    struct sim_result r = sim_run(&o);
    assert_in_range(r.received, r.publications, UINT32_MAX);
    assert_in_range(r.answers, o.steps / 100, UINT32_MAX);
    assert_in_range(r.closes, o.steps / 1000, UINT32_MAX);
}

static void test_random_life(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        live((struct sim_options){
            .seed = seed, .steps = 10000, .shards = 1, .witnesses = seed % 2});
}

static void test_random_life_of_several(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 112; seed++)
        live((struct sim_options){.seed = seed,
                                  .steps = 10000,
                                  .shards = 1,
                                  .witnesses = seed % 2,
                                  .several = true});
}

static void test_random_life_short_of_memory(void **state)
{
    (void)state;
    struct sim_options o = {
        .seed = 200, .steps = 10000, .shards = 1, .inflight_bytes = 1000};
    struct sim_result r = sim_run(&o);
    assert_true(r.refused > 100);
    assert_true(r.publications > 1000);
}

/* --- named cases -------------------------------------------------------------- */

static void test_reply_then_publications(void **state)
{
    (void)state;
    struct shard *s = begin();
    fake_publish(s, "a", "0");
    struct fake_client *f = open_on(s, "a");
    fake_publish(s, "a", "1");
    fake_publish(s, "b", "2");
    fake_publish(s, "a", "3");
    turn();
    fake_expect(f, "Sa|0\nPa|a|1\nPa|a|3\n");
    assert_int_equal(f->writes, 1); /* one write for a turn */
    end();
}

static void test_nothing_from_before_the_subscription(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *old = open_on(s, "a");
    fake_publish(s, "a", "1"); /* still pending when the newcomer joins */
    struct fake_client *new = open_on(s, "a");
    fake_publish(s, "a", "2"); /* the same batch as the first one */
    turn();
    fake_expect(old, "Sa|0\nPa|a|1\nPa|a|2\n");
    fake_expect(new, "Sa|0\nPa|a|2\n");
    end();
}

static void test_all_leave_and_one_comes_before_the_turn(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *old = open_on(s, "a");
    fake_publish(s, "a", "1");
    fake_unsubscribe(old, "a");
    struct fake_client *new = open_on(s, "a");
    turn();
    fake_expect(new, "Sa|0\n");
    fake_publish(s, "a", "2");
    turn();
    fake_expect(new, "Pa|a|2\n");
    end();
}

static void close_in_answer(struct fake_client *f, struct sub *sub,
                            uint32_t error)
{
    (void)sub;
    (void)error;
    client_close(&f->client, 3000, STR_LIT("no"));
}

static void test_client_closed_in_its_answer(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = fake_open(s, ENCODING_SSE);
    f->on_answer = close_in_answer;
    assert_int_equal(fake_subscribe(f, "a"), 0);
    fake_publish(s, "a", "1");
    turn();
    fake_expect(f, "Sa|0\n");
    assert_int_equal(f->closes, 1);
    assert_int_equal(f->close_code, 3000);
    assert_int_equal(f->closings, 1);
    end();
}

static void again_in_answer(struct fake_client *f, struct sub *sub,
                            uint32_t error)
{
    (void)error;
    f->on_answer = NULL;
    hub_unsubscribe(&f->client, sub);
    assert_int_equal(fake_subscribe(f, "a"), 0);
}

static void test_client_subscribes_again_in_its_answer(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = fake_open(s, ENCODING_SSE);
    f->on_answer = again_in_answer;
    assert_int_equal(fake_subscribe(f, "a"), 0);
    fake_publish(s, "a", "1");
    turn();
    fake_expect(f, "Sa|0\nSa|0\nPa|a|1\n");
    assert_int_equal(f->client.sub_count, 1);
    end();
}

/* Ten subscribers, three a turn; some go and come between the slices. */
static void test_slices(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f[10];
    for (size_t i = 0; i < 10; i++)
        f[i] = open_on(s, "a");
    turn();
    fake_publish(s, "a", "1");
    turn();
    for (size_t i = 0; i < 10; i++)
        fake_expect(f[i], i < 3 ? "Sa|0\nPa|a|1\n" : "Sa|0\n");
    fake_unsubscribe(f[0], "a");                       /* served */
    client_close(&f[5]->client, 3000, STR_LIT("bye")); /* not served yet */
    struct fake_client *late = open_on(s, "a");
    fake_publish(s, "a", "2");
    fake_settle(&node);
    fake_expect(f[0], "");
    fake_expect(f[1], "Pa|a|2\n");
    fake_expect(f[5], "");
    fake_expect(f[9], "Pa|a|1\nPa|a|2\n");
    fake_expect(late, "Sa|0\nPa|a|2\n");
    end();
}

/* While 30 subscribers of one channel are served, another channel's one
 * subscriber waits for its turn in the round, not for all of them. */
static void test_topics_take_turns(void **state)
{
    (void)state;
    struct shard *s = begin();
    for (size_t i = 0; i < 30; i++)
        open_on(s, "crowd");
    struct fake_client *f = open_on(s, "b");
    turn();
    fake_expect(f, "Sb|0\n");
    fake_publish(s, "crowd", "1");
    turn();
    fake_publish(s, "b", "2");
    unsigned turns = 0;
    while (f->wire.n == f->read_bytes) {
        turn();
        turns++;
    }
    assert_in_range(turns, 1, 2);
    assert_non_null(topic_find(&s->topics, STR_LIT("crowd"),
                               msg_channel_hash(STR_LIT("crowd")), false)
                        ->plain.pass);
    fake_expect(f, "Pb|b|2\n");
    end();
}

static void on_answer_count(struct fake_client *f, struct sub *sub,
                            uint32_t error)
{
    (void)sub;
    (void)error;
    assert_true(f->client.several);
}

static void test_several_get_each_once(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = fake_open(s, ENCODING_SSE);
    f->client.several = true;
    f->on_answer = on_answer_count;
    assert_int_equal(fake_subscribe(f, "a.*"), 0);
    assert_int_equal(fake_subscribe(f, "a.b"), 0);
    assert_int_equal(fake_subscribe(f, ">"), 0);
    fake_publish(s, "a.b", "1");
    fake_publish(s, "a.c", "2");
    fake_publish(s, "x", "3");
    fake_settle(&node);
    fake_expect(f, "Sa.*|0\nSa.b|0\nS>|0\nPa.*|a.b|1\nPa.*|a.c|2\nP>|x|3\n");
    end();
}

/* What is under way by the pattern must not be lost to the exact name that
 * came later and does not bring it. */
static void test_several_join_while_one_is_under_way(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = fake_open(s, ENCODING_SSE);
    f->client.several = true;
    assert_int_equal(fake_subscribe(f, "a.*"), 0);
    fake_publish(s, "a.b", "1");
    assert_int_equal(fake_subscribe(f, "a.b"), 0);
    fake_publish(s, "a.b", "2");
    fake_settle(&node);
    fake_expect(f, "Sa.*|0\nSa.b|0\nPa.*|a.b|1\nPa.*|a.b|2\n");
    end();
}

static void test_clients_that_are_not_several_get_each_by_each(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = open_on(s, "a");
    assert_int_equal(fake_subscribe(f, "*"), 0);
    fake_publish(s, "a", "1");
    fake_settle(&node);
    fake_expect(f, "Sa|0\nS*|0\nPa|a|1\nP*|a|1\n");
    end();
}

/* More than a batch holds, and more bytes than one takes. */
static void test_batches(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = open_on(s, "a");
    char *big = mem_alloc(40001);
    struct fake_line line;
    memset(big, '7', 40000);
    big[40000] = '\0';
    for (unsigned i = 0; i < 3 * FANOUT_BATCH_MAX + 5; i++) {
        char data[16];
        snprintf(data, sizeof(data), "%u", i);
        assert_true(fake_publish(s, "a", data));
    }
    for (unsigned i = 0; i < 4; i++)
        assert_true(fake_publish(s, "a", big));
    fake_settle(&node);
    assert_true(fake_next(f, &line));
    for (unsigned i = 0; i < 3 * FANOUT_BATCH_MAX + 5; i++) {
        assert_true(fake_next(f, &line));
        assert_int_equal(strtoul(line.data.p, NULL, 10), i);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_true(fake_next(f, &line));
        assert_int_equal(line.data.n, 40000);
    }
    assert_false(fake_next(f, &line));
    free(big);
    end();
}

static void publish_binary(struct shard *s, const char *channel)
{
    struct msg_parts parts = {.channel = str_of(channel),
                              .data = STR_LIT("\x01")};
    struct msg *m = msg_new(&node.hub.budget, &parts);
    assert_non_null(m);
    fanout_deliver(s, m);
    msg_unref(m);
}

static void test_binary_closes_json_clients(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f[5];
    for (size_t i = 0; i < 5; i++)
        f[i] = open_on(s, "a");
    struct fake_client *other = open_on(s, "b");
    publish_binary(s, "a");
    struct fake_client *late = open_on(s, "a");
    fake_settle(&node);
    for (size_t i = 0; i < 5; i++) {
        fake_expect(f[i], "Sa|0\n");
        assert_int_equal(f[i]->close_code, 3506);
    }
    assert_int_equal(other->closes, 0);
    assert_int_equal(late->closes, 0); /* it was from before its time */
    assert_int_equal(s->stats.drop_not_json, 5);
    assert_int_equal(s->stats.close_inappropriate_protocol, 5);
    end();
}

/* A client that leaves in the middle of a pass: before its slot, at it and
 * behind it, by close and by a socket that is gone. */
static void test_gone_in_the_middle_of_a_pass(void **state)
{
    (void)state;
    for (unsigned who = 0; who < 10; who++) {
        struct shard *s = begin();
        struct fake_client *f[10];
        for (size_t i = 0; i < 10; i++)
            f[i] = open_on(s, "a");
        fake_publish(s, "a", "1");
        turn();
        turn();
        fake_gone(f[who]);
        fake_settle(&node);
        for (size_t i = 0; i < 10; i++) {
            if (i != who)
                fake_expect(f[i], "Sa|0\nPa|a|1\n");
        }
        end();
    }
}

static void test_counters(void **state)
{
    (void)state;
    struct shard *s = begin();
    for (size_t i = 0; i < 4; i++)
        open_on(s, "a");
    fake_publish(s, "a", "1");
    fake_publish(s, "nobody", "1");
    fake_settle(&node);
    assert_int_equal(s->stats.pubs_matched, 1);
    assert_int_equal(s->stats.deliveries, 4);
    assert_int_equal(s->stats.slices, 2);
    assert_int_equal(node.hub.budget.used_bytes, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_life),
        cmocka_unit_test(test_random_life_of_several),
        cmocka_unit_test(test_random_life_short_of_memory),
        cmocka_unit_test(test_reply_then_publications),
        cmocka_unit_test(test_nothing_from_before_the_subscription),
        cmocka_unit_test(test_all_leave_and_one_comes_before_the_turn),
        cmocka_unit_test(test_client_closed_in_its_answer),
        cmocka_unit_test(test_client_subscribes_again_in_its_answer),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_topics_take_turns),
        cmocka_unit_test(test_several_get_each_once),
        cmocka_unit_test(test_several_join_while_one_is_under_way),
        cmocka_unit_test(test_clients_that_are_not_several_get_each_by_each),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_binary_closes_json_clients),
        cmocka_unit_test(test_gone_in_the_middle_of_a_pass),
        cmocka_unit_test(test_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
