/* A stream on a bus at its home, case by case: what is lost, patterns, and
 * recoveries. */
#include "hub/splice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/hub.h"
#include "tests/kit/stage.h"

/* --- lost ------------------------------------------------------------------ */

static void test_unprovable_is_lost_and_begins_again(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    fake_bus_cut(&stage_bus);
    stage_publish('a', 12); /* two more than are kept */
    fake_bus_mend(&stage_bus);
    stage_deliver(1);
    stage_answer();
    stage_publish('a', 1);
    stage_deliver(1); /* not for f any more */
    fake_bus_serve(&stage_bus);
    stage_pass(STAGE_TICK_MS);
    fake_expect(f, "La|stream\n");
    assert_int_equal(stage_sum().history_lost, 1);
    struct fake_client *g = stage_open_since("a", 0);
    fake_expect(g, "Sa|0@13+too_old\n");
    stage_publish('a', 1);
    stage_deliver(1);
    fake_expect(g, "Pa|a|14|#14\n");
    fake_expect(f, "");
    stage_end();
}

static void test_over_the_held_bound_is_lost(void **state)
{
    (void)state;
    stage_begin_with(1, &stage_keeps3000, 8 << 20);
    struct fake_client *f = stage_open_live(0);
    struct fake_client *p = stage_open_pattern();
    fake_bus_cut(&stage_bus);
    stage_publish('a', 1);
    fake_bus_mend(&stage_bus);
    stage_deliver(1);
    fake_bus_run(&stage_bus, 0);
    stage_publish('a', SPLICE_HELD_MAX);
    stage_deliver(SPLICE_HELD_MAX);
    assert_int_equal(stage_sum().history_lost, 0);
    stage_publish('a', 1);
    stage_deliver(1);
    assert_int_equal(stage_sum().history_lost, 1);
    stage_answer(); /* of a read from before: it proves nothing now */
    fake_bus_serve(&stage_bus);
    stage_pass(STAGE_TICK_MS);
    fake_expect(f, "La|stream\n");
    struct fake_client *g = stage_open_since("a", SPLICE_HELD_MAX);
    fake_expect(g, "Sa|0@1002+recovered\nPa|a|1001|#1001\nPa|a|1002|#1002\n");
    /* But the one that never came, a pattern gets each. */
    char line[32];
    for (unsigned i = 2; i <= SPLICE_HELD_MAX + 2; i++) {
        struct fake_line got;
        snprintf(line, sizeof(line), "%u", i);
        assert_true(fake_next(p, &got));
        assert_true(str_eq(got.data, str_of(line)));
    }
    fake_expect(p, "");
    stage_end();
}

static void test_rounds_without_getting_ahead_are_lost(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 1);
    struct fake_client *f = stage_open_live(1);
    /* Of a stream that the reader does not see. */
    fake_bus_recreate(&stage_bus);
    stage_publish('a', 1);
    stage_bus.all[stage_bus.count - 1].epoch = 7;
    stage_bus.epoch = 1;
    stage_bus.last = 1;
    stage_bus.all[0].stored = true;
    stage_deliver(2);
    for (unsigned i = 0; i < SPLICE_ROUNDS - 1; i++)
        stage_answer();
    assert_int_equal(stage_sum().history_lost, 0);
    stage_answer();
    assert_int_equal(stage_sum().history_lost, 1);
    fake_bus_serve(&stage_bus);
    stage_pass(STAGE_TICK_MS);
    fake_expect(f, "La|stream\n");
    stage_end();
}

static void test_another_epoch_is_lost(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 3);
    struct fake_client *f = stage_open_live(3);
    fake_bus_recreate(&stage_bus);
    stage_publish('a', 2);
    fake_bus_serve(&stage_bus);
    stage_pass(STAGE_TICK_MS);
    fake_expect(f, "La|stream\n");
    stage_ask(f, "a",
              &(struct position_wish){
                  .positioned = true, .recover = true, .since = {1, 3}});
    fake_expect(f, "Sa|0@2+foreign\n");
    stage_publish('a', 1);
    fake_bus_serve(&stage_bus);
    fake_expect(f, "Pa|a|3|#3\n");
    stage_end();
}

/* Who waits for an answer is not lost: the answer is of the new reading. */
static void test_asks_outlive_a_loss(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    fake_bus_cut(&stage_bus);
    stage_publish('a', 12);
    fake_bus_mend(&stage_bus);
    stage_deliver(1);
    struct fake_client *g = stage_open_since("a", 5);
    stage_answer();
    fake_expect(g, "");
    stage_answer();
    fake_expect(g, "Sa|0@12+recovered\nPa|a|6|#6\nPa|a|7|#7\nPa|a|8|#8\n"
                   "Pa|a|9|#9\nPa|a|10|#10\nPa|a|11|#11\nPa|a|12|#12\n");
    stage_pass(STAGE_TICK_MS);
    fake_expect(f, "La|stream\n");
    stage_end();
}

/* Bus and home have nothing in common but what is live: what was held leads on
 * by itself, however far the stream has gone meanwhile. */
static void test_held_ones_that_follow_need_no_proof(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 1);
    struct fake_client *f = stage_open_live(1);
    fake_bus_cut(&stage_bus);
    fake_bus_mend(&stage_bus);
    stage_publish('a', 12); /* two more than are kept */
    stage_deliver(13);
    fake_expect(f, "");
    stage_answer();
    fake_expect(f, "Pa|a|2|#2\nPa|a|3|#3\nPa|a|4|#4\nPa|a|5|#5\n"
                   "Pa|a|6|#6\nPa|a|7|#7\nPa|a|8|#8\nPa|a|9|#9\n"
                   "Pa|a|10|#10\nPa|a|11|#11\nPa|a|12|#12\nPa|a|13|#13\n");
    assert_int_equal(stage_sum().history_lost, 0);
    stage_end();
}

/* The read is older than what was held, and still proves what it has. */
static void test_held_ones_may_be_newer_than_the_read(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    stage_publish('a', 1);
    stage_deliver(1);
    fake_bus_cut(&stage_bus);
    fake_bus_mend(&stage_bus);
    stage_deliver(1);
    fake_bus_run(&stage_bus, 0);
    stage_publish('a', 2);
    stage_deliver(2);
    fake_expect(f, "Pa|a|1|#1\n");
    stage_answer();
    fake_expect(f, "Pa|a|2|#2\nPa|a|3|#3\n");
    assert_int_equal(stage_sum().history_lost, 0);
    stage_end();
}

/* --- patterns -------------------------------------------------------------- */

/* The first read of a channel is ahead of what is live: nobody who subscribes
 * needs that, but patterns have not had it. */
static void test_pattern_gets_what_the_first_read_had(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *p = stage_open_pattern();
    stage_publish('a', 1);
    stage_deliver(1);
    struct fake_client *f = stage_open_fresh("a");
    stage_feed();
    stage_publish('a', 3); /* 2 3 4 */
    stage_deliver(1);
    stage_answer();
    fake_expect(f, "Sa|0@4\n");
    stage_deliver(2);
    stage_publish('a', 1);
    stage_deliver(1);
    fake_expect(f, "Pa|a|5|#5\n");
    fake_expect(p, "P>|a|1\nP>|a|2\nP>|a|3\nP>|a|4\nP>|a|5\n");
    stage_end();
}

static void test_pattern_on_other_shards(void **state)
{
    (void)state;
    stage_begin_with(4, &stage_keeps10, 8 << 20);
    struct fake_client *p[4];
    for (unsigned i = 0; i < 4; i++) {
        p[i] = fake_open(stage_node.hub.shards[i], ENCODING_WS_JSON);
        assert_int_equal(fake_subscribe(p[i], ">"), 0);
    }
    fake_bus_serve(&stage_bus);
    struct fake_client *f = stage_open_fresh("a");
    stage_feed();
    stage_publish('a', 3);
    stage_deliver(1);
    stage_answer();
    stage_deliver(2);
    fake_expect(f, "Sa|0@3\n");
    for (unsigned i = 0; i < 4; i++)
        fake_expect(p[i], "S>|0\nP>|a|1\nP>|a|2\nP>|a|3\n");
    stage_end();
}

/* The pattern is to get these numbers, each once. */
static void expect_numbers(struct fake_client *p, unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++) {
        char data[16];
        struct fake_line got;
        snprintf(data, sizeof(data), "%u", i);
        assert_true(fake_next(p, &got));
        assert_true(str_eq(got.data, str_of(data)));
    }
    fake_expect(p, "");
}

/* Healed, and then lost: what patterns had by the heal does not come again. */
static void test_pattern_gets_nothing_twice_over_a_loss(void **state)
{
    (void)state;
    stage_begin_with(1, &stage_keeps3000, 8 << 20);
    (void)stage_open_live(0);
    struct fake_client *p = stage_open_pattern();
    stage_publish('a', 3);
    assert_true(fake_bus_lose(&stage_bus));
    stage_deliver(1); /* 2, without 1 */
    stage_answer();   /* 1 2 3 */
    fake_bus_cut(&stage_bus);
    home_post_gap(&stage_node.hub, stage_bus.gap);
    stage_bus.away = false;
    fake_settle(&stage_node);
    stage_publish('a', SPLICE_HELD_MAX);
    stage_deliver(SPLICE_HELD_MAX + 1); /* 3, too */
    assert_int_equal(stage_sum().history_lost, 1);
    fake_bus_serve(&stage_bus);
    expect_numbers(p, 1, SPLICE_HELD_MAX + 3);
    stage_end();
}

/* Nobody else is left who would want it. */
static void test_pattern_gets_what_was_held_when_the_channel_goes(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    struct fake_client *p = stage_open_pattern();
    fake_gone(f);
    fake_settle(&stage_node);
    stage_pass(55000); /* it is looked at, before it goes */
    assert_int_equal(stage_bus.read_count, 1);
    stage_publish('a', 2);
    stage_deliver(2);
    fake_expect(p, "");
    stage_pass(6000);
    expect_numbers(p, 1, 2);
    stage_end();
}

/* --- recoveries ------------------------------------------------------------ */

static void test_a_thousand_recoveries_cost_one_read(void **state)
{
    (void)state;
    static struct fake_client *f[1000];
    stage_begin();
    stage_publish('a', 10);
    for (unsigned i = 0; i < ARRAY_LEN(f); i++)
        f[i] = stage_open_since("a", 7);
    fake_bus_serve(&stage_bus);
    for (unsigned i = 0; i < ARRAY_LEN(f); i++)
        fake_expect(f[i], "Sa|0@10+recovered\nPa|a|8|#8\nPa|a|9|#9\n"
                          "Pa|a|10|#10\n");
    assert_int_equal(stage_bus.reads_total, 1);
    stage_end();
}

/* Told by another stage_node, which was ahead of ours. */
static void test_offset_from_the_future_is_looked_for(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 2);
    struct fake_client *f = stage_open_live(2);
    stage_publish('a', 2); /* not here yet */
    struct fake_client *g = stage_open_since("a", 4);
    fake_expect(g, "");
    stage_answer();
    fake_expect(g, "Sa|0@4+recovered\n");
    stage_deliver(2);
    stage_publish('a', 1);
    stage_deliver(1);
    fake_expect(f, "Pa|a|3|#3\nPa|a|4|#4\nPa|a|5|#5\n");
    fake_expect(g, "Pa|a|5|#5\n");
    struct fake_client *liar = stage_open_since("a", 1000);
    for (unsigned looks = 0; stage_bus.read_count; looks++) {
        assert_true(looks < 2);
        stage_answer();
    }
    fake_expect(liar, "Sa|0@5+too_old\n");
    stage_end();
}

static void test_what_was_cut_is_read_again(void **state)
{
    (void)state;
    /* Room for about two publications. */
    stage_begin_with(1, &stage_keeps10, 2 * HISTORY_STREAM_COST + 450);
    stage_publish('a', 6);
    struct fake_client *f = stage_open_live(6);
    stage_publish('b', 1);
    struct fake_client *g = stage_open_fresh("b");
    fake_bus_serve(&stage_bus);
    fake_expect(g, "Sb|0@7\n"); /* and a's are cut */
    stage_publish('b', 4);
    fake_bus_serve(&stage_bus);
    uint64_t before = stage_bus.reads_total;
    struct fake_client *h = stage_open_since("a", 5);
    assert_int_equal(stage_bus.reads_total, before + 1);
    stage_publish('a', 1);
    stage_deliver(1);
    stage_answer();
    fake_expect(h, "Sa|0@12+recovered\nPa|a|6|#6\nPa|a|12|#12\n");
    fake_expect(f, "Pa|a|12|#12\n");
    stage_end();
}

static void test_read_of_a_channel_that_was_let_go(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    fake_gone(f);
    fake_settle(&stage_node);
    stage_pass(
        61000); /* idle_ttl, which is longer than it takes to be looked at */
    assert_int_equal(stage_bus.read_count, 1);
    assert_int_equal(home_channel_count(&stage_node.hub.shards[0]->home), 0);
    stage_publish('a', 1);
    f = stage_open_fresh("a");
    stage_feed();
    assert_int_equal(stage_bus.read_count, 2);
    stage_bus.read_error = 100;
    fake_bus_answer(&stage_bus, 0); /* nobody's any more */
    fake_settle(&stage_node);
    stage_bus.read_error = 0;
    fake_expect(f, "");
    stage_answer();
    fake_expect(f, "Sa|0@1\n");
    stage_end();
}

static void test_reads_of_a_home_wait_their_turn(void **state)
{
    (void)state;
    stage_begin();
    struct shard *s = stage_node.hub.shards[0];
    s->home.reading = SPLICE_READS_MAX - 1; /* as if so many were under way */
    struct fake_client *f = stage_open_fresh("a");
    struct fake_client *g = stage_open_fresh("b");
    stage_feed();
    stage_feed();
    assert_int_equal(stage_bus.read_count, 1);
    stage_answer();
    fake_expect(f, "Sa|0@0\n");
    fake_expect(g, "");
    stage_answer();
    fake_expect(g, "Sb|0@0\n");
    assert_int_equal(s->home.reading, SPLICE_READS_MAX - 1);
    stage_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unprovable_is_lost_and_begins_again),
        cmocka_unit_test(test_over_the_held_bound_is_lost),
        cmocka_unit_test(test_rounds_without_getting_ahead_are_lost),
        cmocka_unit_test(test_another_epoch_is_lost),
        cmocka_unit_test(test_asks_outlive_a_loss),
        cmocka_unit_test(test_held_ones_that_follow_need_no_proof),
        cmocka_unit_test(test_held_ones_may_be_newer_than_the_read),
        cmocka_unit_test(test_pattern_gets_what_the_first_read_had),
        cmocka_unit_test(test_pattern_on_other_shards),
        cmocka_unit_test(test_pattern_gets_nothing_twice_over_a_loss),
        cmocka_unit_test(test_pattern_gets_what_was_held_when_the_channel_goes),
        cmocka_unit_test(test_a_thousand_recoveries_cost_one_read),
        cmocka_unit_test(test_offset_from_the_future_is_looked_for),
        cmocka_unit_test(test_what_was_cut_is_read_again),
        cmocka_unit_test(test_read_of_a_channel_that_was_let_go),
        cmocka_unit_test(test_reads_of_a_home_wait_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
