/* A stream on a bus at its home, case by case: first reads and what comes live,
 * in the order each test gives them. Losses are in splice_loss_test, random lives
 * in splice_random_test. */
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

/* --- the first read ------------------------------------------------------ */

static void test_read_after_the_feed_and_answer_after_the_read(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 2);
    struct fake_client *f = stage_open_fresh("a");
    assert_int_equal(stage_bus.read_count, 0);
    stage_feed();
    assert_int_equal(stage_bus.read_count, 1);
    fake_expect(f, "");
    stage_answer();
    fake_expect(f, "Sa|0@2\n");
    stage_end();
}

static void test_what_comes_while_it_is_read_follows_the_answer(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 2);
    struct fake_client *f = stage_open_fresh("a");
    stage_feed();
    stage_publish('a', 1);
    fake_bus_run(&stage_bus, 0); /* has 1 2 3 */
    stage_publish('a', 2);
    stage_deliver(3); /* 3 4 5 */
    fake_expect(f, "");
    stage_answer();
    fake_expect(f, "Sa|0@5\n");
    struct fake_client *late = stage_open_since("a", 2);
    fake_expect(late, "Sa|0@5+recovered\nPa|a|3|#3\nPa|a|4|#4\nPa|a|5|#5\n");
    stage_publish('a', 1);
    stage_deliver(1);
    fake_expect(f, "Pa|a|6|#6\n");
    fake_expect(late, "Pa|a|6|#6\n");
    assert_int_equal(stage_bus.reads_total, 1);
    stage_end();
}

static void test_position_of_an_empty_channel_is_the_streams(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('b', 7);
    struct fake_client *f = stage_open_live(7);
    stage_publish('a', 1);
    stage_publish('b', 2);
    fake_bus_serve(&stage_bus);
    fake_expect(f, "Pa|a|8|#8\n");
    fake_expect(stage_open_since("a", 7), "Sa|0@8+recovered\nPa|a|8|#8\n");
    assert_int_equal(stage_bus.reads_total, 1);
    stage_end();
}

static void test_first_publication_of_an_empty_stream(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    stage_publish('a', 2);
    fake_bus_serve(&stage_bus);
    fake_expect(f, "Pa|a|1|#1\nPa|a|2|#2\n");
    fake_expect(stage_open_since("a", 0),
                "Sa|0@2+recovered\nPa|a|1|#1\nPa|a|2|#2\n");
    stage_end();
}

static void test_first_read_fails(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 1);
    struct fake_client *f = stage_open_fresh("a");
    struct fake_client *g = stage_open_since("a", 0);
    stage_feed();
    stage_fail_read(100);
    fake_expect(f, "Sa|100\n");
    fake_expect(g, "Sa|100\n");
    stage_ask(f, "a", &(struct position_wish){.positioned = true});
    fake_expect(f, "");
    assert_int_equal(stage_bus.read_count, 0); /* it waits for its second */
    stage_pass(1500);
    stage_answer();
    fake_expect(f, "Sa|0@1\n");
    stage_end();
}

static void test_feed_that_nobody_knows_about(void **state)
{
    (void)state;
    stage_begin();
    stage_bus.feed_error = 100;
    struct fake_client *f = stage_open_fresh("a");
    stage_feed();
    fake_expect(f, "Sa|100\n");
    stage_bus.feed_error = 0;
    stage_ask(f, "a", &(struct position_wish){.positioned = true});
    fake_bus_serve(&stage_bus);
    fake_expect(f, "Sa|0@0\n");
    stage_end();
}

static void test_bus_without_a_stream_is_plain(void **state)
{
    (void)state;
    stage_begin();
    stage_bus.has_stream = false;
    struct fake_client *f = stage_open_fresh("a");
    struct fake_client *g = stage_open_since("a", 3);
    fake_bus_serve(&stage_bus);
    fake_expect(f, "Sa|0\n");
    fake_expect(g, "Sa|108\n");
    assert_int_equal(stage_bus.reads_total, 0);
    stage_end();
}

static void test_stream_that_turns_out_to_be_none(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    struct fake_client *g = stage_open_fresh("b");
    struct fake_client *h = stage_open_since("b", 3);
    stage_feed();
    stage_fail_read(108);
    fake_expect(g, "Sb|0\n");
    fake_expect(h, "Sb|108\n");
    stage_publish('b', 1);
    stage_deliver(1);
    fake_expect(g, "Pb|b|1|#1\n");
    stage_pass(STAGE_CHECK_MS * 3 / 2);
    stage_fail_read(108);
    stage_pass(STAGE_TICK_MS);
    fake_expect(f, "La|stream\n");
    stage_end();
}

/* --- live ------------------------------------------------------------------ */

static void test_hole_is_healed_in_order(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    struct fake_client *p = stage_open_pattern();
    stage_publish('a', 1);
    fake_bus_serve(&stage_bus);
    fake_expect(f, "Pa|a|1|#1\n");
    stage_publish('a', 4);
    assert_true(fake_bus_lose(&stage_bus)); /* 2 */
    assert_true(fake_bus_lose(&stage_bus)); /* 3 */
    stage_deliver(1);                       /* 4 */
    fake_expect(f, "");
    stage_deliver(1); /* 5, held too */
    fake_bus_run(&stage_bus, 0);
    stage_publish('a', 1);
    stage_deliver(1); /* 6, which the read does not have */
    fake_expect(f, "");
    stage_answer();
    fake_expect(f, "Pa|a|2|#2\nPa|a|3|#3\nPa|a|4|#4\nPa|a|5|#5\nPa|a|6|#6\n");
    fake_expect(p, "P>|a|1\nP>|a|2\nP>|a|3\nP>|a|4\nP>|a|5\nP>|a|6\n");
    assert_int_equal(stage_sum().history_lost, 0);
    stage_end();
}

static void test_duplicates_are_dropped(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    stage_publish('a', 3);
    assert_true(fake_bus_lose(&stage_bus));
    stage_deliver(1);
    stage_answer(); /* all three */
    fake_expect(f, "Pa|a|1|#1\nPa|a|2|#2\nPa|a|3|#3\n");
    uint64_t before = stage_sum().history_duplicates;
    stage_deliver(1);
    fake_expect(f, "");
    assert_int_equal(stage_sum().history_duplicates, before + 1);
    stage_end();
}

/* The one before has expired: nothing is missing as long as the bus says that
 * it has lost nothing. */
static void test_lower_prev_is_believed_when_calm(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 3);
    struct fake_client *f = stage_open_live(3);
    fake_bus_expire(&stage_bus, 3);
    uint64_t before = stage_bus.reads_total;
    stage_publish('a', 1);
    stage_deliver(1);
    fake_expect(f, "Pa|a|4|#4\n");
    assert_int_equal(stage_bus.reads_total, before);
    stage_end();
}

static void test_lower_prev_is_not_believed_after_a_gap(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 3);
    struct fake_client *f = stage_open_live(3);
    fake_bus_cut(&stage_bus);
    stage_publish('a', 1); /* lost */
    fake_bus_expire(&stage_bus, 4);
    stage_bus.away = false; /* back, and not told yet */
    stage_publish('a', 1);
    stage_deliver(1);
    fake_expect(f, "");
    stage_answer(); /* which cannot prove it: 4 is gone */
    stage_pass(STAGE_TICK_MS);
    fake_expect(f, "La|stream\n");
    stage_end();
}

/* It names our top, so nothing lies between, whatever the bus has lost. */
static void test_prev_that_is_the_top_is_believed_after_a_gap(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 3);
    struct fake_client *f = stage_open_live(3);
    fake_bus_cut(&stage_bus);
    stage_bus.away = false;
    stage_publish('a', 1);
    stage_deliver(1);
    fake_expect(f, "Pa|a|4|#4\n");
    stage_end();
}

static void test_unknown_prev_is_believed_when_calm(void **state)
{
    (void)state;
    stage_begin();
    stage_bus.hides_prev = true;
    struct fake_client *f = stage_open_live(0);
    stage_publish('a', 2);
    stage_deliver(2);
    fake_expect(f, "Pa|a|1|#1\nPa|a|2|#2\n");
    fake_bus_cut(&stage_bus);
    stage_publish('a', 1);
    stage_bus.away = false;
    stage_publish('a', 1);
    stage_deliver(1);
    fake_expect(f, "");
    stage_answer();
    fake_expect(f, "Pa|a|3|#3\nPa|a|4|#4\n");
    stage_end();
}

static void test_gap_is_healed(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    fake_bus_cut(&stage_bus);
    stage_publish('a', 2);
    fake_bus_mend(&stage_bus);
    stage_deliver(1);
    stage_answer();
    fake_expect(f, "Pa|a|1|#1\nPa|a|2|#2\n");
    assert_int_equal(stage_sum().history_healed, 2);
    stage_end();
}

/* A read that began before the second loss does not prove it away. */
static void test_gap_during_a_read_is_read_again(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    fake_bus_cut(&stage_bus);
    stage_publish('a', 1);
    fake_bus_mend(&stage_bus);
    stage_deliver(1);
    fake_bus_run(&stage_bus, 0);
    fake_bus_cut(&stage_bus);
    stage_publish('a', 1);
    fake_bus_mend(&stage_bus);
    stage_deliver(1);
    stage_answer();
    fake_expect(f, "Pa|a|1|#1\n");
    stage_answer();
    fake_expect(f, "Pa|a|2|#2\n");
    assert_int_equal(stage_bus.read_count, 0);
    stage_end();
}

static void test_failed_heal_is_tried_again(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    stage_publish('a', 3);
    stage_deliver(1);
    assert_true(fake_bus_lose(&stage_bus));
    stage_deliver(1);
    stage_fail_read(100);
    assert_int_equal(stage_bus.read_count, 0);
    stage_pass(1500);
    stage_fail_read(100);
    stage_pass(1500);
    fake_expect(f, "Pa|a|1|#1\n");
    stage_answer();
    fake_expect(f, "Pa|a|2|#2\nPa|a|3|#3\n");
    assert_int_equal(stage_sum().subs_lost, 0);
    stage_end();
}

static void test_quiet_stream_is_looked_at(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    stage_publish('a', 1);
    assert_true(fake_bus_lose(&stage_bus)); /* and nothing comes behind it */
    stage_pass(STAGE_CHECK_MS - 1000);
    assert_int_equal(stage_bus.read_count, 0);
    stage_pass(STAGE_CHECK_MS);
    stage_answer();
    fake_expect(f, "Pa|a|1|#1\n");
    assert_int_equal(stage_sum().history_checks, 1);
    stage_pass(STAGE_CHECK_MS * 3 / 2); /* and again */
    assert_int_equal(stage_bus.read_count, 1);
    stage_end();
}

static void test_marker_moves_the_position(void **state)
{
    (void)state;
    stage_begin();
    struct fake_client *f = stage_open_live(0);
    stage_publish('a', 2);
    fake_bus_purge(&stage_bus, 'a', true); /* 3 */
    stage_publish('a', 1);
    fake_bus_serve(&stage_bus);
    fake_expect(f, "Pa|a|1|#1\nPa|a|2|#2\nPa|a|4|#4\n");
    fake_expect(stage_open_since("a", 1), "Sa|0@4+too_old\n");
    fake_expect(stage_open_since("a", 3), "Sa|0@4+recovered\nPa|a|4|#4\n");
    stage_end();
}

static void test_marker_in_the_first_read(void **state)
{
    (void)state;
    stage_begin();
    stage_publish('a', 2);
    fake_bus_purge(&stage_bus, 'a', true);
    struct fake_client *f = stage_open_live(3);
    stage_publish('a', 1);
    fake_bus_serve(&stage_bus);
    fake_expect(f, "Pa|a|4|#4\n");
    stage_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_after_the_feed_and_answer_after_the_read),
        cmocka_unit_test(test_what_comes_while_it_is_read_follows_the_answer),
        cmocka_unit_test(test_position_of_an_empty_channel_is_the_streams),
        cmocka_unit_test(test_first_publication_of_an_empty_stream),
        cmocka_unit_test(test_first_read_fails),
        cmocka_unit_test(test_feed_that_nobody_knows_about),
        cmocka_unit_test(test_bus_without_a_stream_is_plain),
        cmocka_unit_test(test_stream_that_turns_out_to_be_none),
        cmocka_unit_test(test_hole_is_healed_in_order),
        cmocka_unit_test(test_duplicates_are_dropped),
        cmocka_unit_test(test_lower_prev_is_believed_when_calm),
        cmocka_unit_test(test_lower_prev_is_not_believed_after_a_gap),
        cmocka_unit_test(test_prev_that_is_the_top_is_believed_after_a_gap),
        cmocka_unit_test(test_unknown_prev_is_believed_when_calm),
        cmocka_unit_test(test_gap_is_healed),
        cmocka_unit_test(test_gap_during_a_read_is_read_again),
        cmocka_unit_test(test_failed_heal_is_tried_again),
        cmocka_unit_test(test_quiet_stream_is_looked_at),
        cmocka_unit_test(test_marker_moves_the_position),
        cmocka_unit_test(test_marker_in_the_first_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
