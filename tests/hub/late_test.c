/* What waits for one slow subscription: slots that late values are put into,
 * a ring of publications, their bounds, and what is counted of them. */
#include "hub/late.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/backlog.h"
#include "hub/pace.h"
#include "hub/pass.h"
#include "tests/kit/fake.h"

#define ITEMS_MAX 4
#define RING_MAX 3
#define BYTES_MAX 60

static const struct throttle_policy latest = {.mode = THROTTLE_LATEST,
                                              .on_full = THROTTLE_CONFLATE};
static const struct throttle_policy annotated = {
    .mode = THROTTLE_LATEST, .on_full = THROTTLE_CONFLATE, .annotate = true};
static const struct throttle_policy ring = {
    .mode = THROTTLE_ALL, .on_full = THROTTLE_DROP_OLDEST, .buffer = RING_MAX};

static struct fake_node node;
static struct fake_client *client;
static struct late *late;
static uint64_t last_seq;

static struct shard *shard(void)
{
    return node.hub.shards[0];
}

static struct late *follow(const struct throttle_policy *policy)
{
    client = fake_open(shard(), ENCODING_WS_JSON);
    assert_int_equal(
        fake_subscribe_as(client, "a", policy, &(struct throttle_request){0}),
        0);
    fake_settle(&node);
    struct sub *sub = client_find_sub(&client->client, STR_LIT("a"));
    assert_non_null(sub->lane->pace);
    return late_new(sub);
}

static void begin(const struct throttle_policy *policy)
{
    struct hub_options o = {.inflight_bytes = 1 << 20,
                            .slice = 10,
                            .queue_max_bytes = BYTES_MAX,
                            .channel_limit = 10,
                            .max_items = ITEMS_MAX};
    fake_node_init(&node, 1, &o);
    late = follow(policy);
}

/* And CHECKs that no publication is left. */
static void end(void)
{
    late_free(late);
    assert_true(shard()->waiting == 0);
    fake_gone(client);
    fake_settle(&node);
    fake_node_fini(&node);
}

static struct msg *make(uint64_t item, const char *data, size_t n)
{
    struct msg_parts parts = {.channel = STR_LIT("a"),
                              .data = str_n(data, n),
                              .item = item,
                              .is_json = true};
    struct msg *m = msg_new(&node.hub.budget, &parts);
    assert_non_null(m);
    return m;
}

static void put_in(struct late *l, uint64_t item, const char *data, uint32_t n,
                   bool is_newest)
{
    struct lane_pub pub = {.msg = make(item, data, strlen(data)), .n = n};
    late_put(l, &pub, is_newest);
    msg_unref(pub.msg);
}

static void put(uint64_t item, const char *data, uint32_t n)
{
    put_in(late, item, data, n, true);
}

/* Takes the reference. */
static void push(struct msg *m)
{
    lane_push(late->sub->lane,
              (struct lane_pub){.msg = m, .seq = ++last_seq, .n = 1});
}

/* One pass with a publication of each letter. */
static struct pass *make_pass(const char *letters)
{
    for (const char *p = letters; *p; p++)
        push(make(0, p, 1));
    struct pass *pass = pass_begin(late->sub->lane);
    assert_int_equal(pass->count, strlen(letters));
    return pass;
}

static void append(const char *letters)
{
    struct pass *p = make_pass(letters);
    for (uint32_t i = 0; i < p->count; i++)
        late_append(late, pass_new_single(shard(), p, i, ENCODING_WS_JSON));
    pass_end(p);
}

/* Taken back from the newest to the oldest. */
static void prepend(const char *letters)
{
    struct pass *p = make_pass(letters);
    for (uint32_t i = p->count; i-- > 0;)
        late_prepend(late, pass_new_single(shard(), p, i, ENCODING_WS_JSON));
    pass_end(p);
}

static void expect_frame(struct frame *f, const char *line)
{
    if (!str_eq(str_n(f->bytes, f->len), str_of(line)))
        fprintf(stderr, "expected %s, got %.*s", line, (int)f->len, f->bytes);
    assert_true(str_eq(str_n(f->bytes, f->len), str_of(line)));
    assert_int_equal(f->publications, 1);
    frame_unref(f);
}

static void expect(const char *line)
{
    assert_true(shard()->waiting == late_count(late));
    expect_frame(late_take(late), line);
    assert_true(shard()->waiting == late_count(late));
}

/* What late_take_all handed out, as `data/n` or `data/n-lost`. */
struct heard {
    char text[200];
    size_t len;
};

static void hear(void *arg, const struct lane_pub *pub, uint32_t lost)
{
    struct heard *h = arg;
    char *to = h->text + h->len;
    size_t n = sizeof(h->text) - h->len;
    struct str data = msg_data(pub->msg);
    int len = lost ? snprintf(to, n, "%.*s/%u-%u ", STR_ARG(data), pub->n, lost)
                   : snprintf(to, n, "%.*s/%u ", STR_ARG(data), pub->n);
    h->len += (size_t)len;
}

static void expect_all(const char *expected)
{
    struct heard h = {.text = ""};
    late_take_all(late, hear, &h);
    assert_string_equal(h.text, expected);
    assert_int_equal(late_count(late), 0);
    assert_true(shard()->waiting == 0);
}

/* --- slots --------------------------------------------------------------- */

static void test_the_newest_replaces_and_stands_for_all(void **state)
{
    (void)state;
    begin(&annotated);
    put(1, "a", 1);
    put(2, "b", 5);
    put(1, "c", 3);
    put(1, "d", 2);
    assert_int_equal(late_count(late), 2);
    assert_true(shard()->stats.throttle_conflated[THROTTLE_LATEST] == 2);
    struct frame *f = late_take(late);
    bool is_first = f->bytes[5] == 'd'; /* the order is the hash's */
    expect_frame(f, is_first ? "Pa|a|d|n=6\n" : "Pa|a|b|n=5\n");
    expect(is_first ? "Pa|a|b|n=5\n" : "Pa|a|d|n=6\n");
    put(1, "e", 1);
    expect("Pa|a|e|n=1\n");
    end();
}

static void test_an_older_one_is_stood_for(void **state)
{
    (void)state;
    begin(&annotated);
    put(1, "new", 2);
    put_in(late, 1, "old", 3, false);
    put_in(late, 2, "only", 4, false);
    assert_int_equal(late_count(late), 2);
    struct frame *f = late_take(late);
    bool is_first = f->bytes[5] == 'n';
    expect_frame(f, is_first ? "Pa|a|new|n=5\n" : "Pa|a|only|n=4\n");
    expect(is_first ? "Pa|a|only|n=4\n" : "Pa|a|new|n=5\n");
    end();
}

/* Between the question what it costs and the write there may be a newer one:
 * the turn is the item's. */
static void test_the_value_is_chosen_when_it_is_taken(void **state)
{
    (void)state;
    begin(&latest);
    put(1, "a", 1);
    put(2, "b", 1);
    size_t cost = late_cost(late);
    struct msg *sample = make(1, "a", 1);
    assert_int_equal(cost, msg_size(sample));
    msg_unref(sample);
    bool is_first = late->slots.turn == 1;
    put(1, "much longer", 1);
    put(2, "also longer", 1);
    assert_int_equal(late_cost(late), cost + 10);
    expect(is_first ? "Pa|a|much longer\n" : "Pa|a|also longer\n");
    expect(is_first ? "Pa|a|also longer\n" : "Pa|a|much longer\n");
    end();
}

static void test_one_encoding_for_all_who_are_late(void **state)
{
    (void)state;
    begin(&latest);
    struct fake_client *first = client;
    struct late *other = follow(&latest);
    struct lane_pub pub = {.msg = make(7, "x", 1), .n = 1};
    late_put(late, &pub, true);
    late_put(other, &pub, true);
    msg_unref(pub.msg);
    struct frame *f = late_take(late);
    struct frame *g = late_take(other);
    assert_ptr_equal(f, g);
    frame_unref(g);
    put(7, "y", 1);
    expect("Pa|a|y\n");
    expect_frame(f, "Pa|a|x\n");
    late_free(other);
    fake_gone(first);
    end();
}

static void test_slots_are_bounded_by_count(void **state)
{
    (void)state;
    begin(&latest);
    const struct stats *st = &shard()->stats;
    for (uint64_t item = 1; item <= ITEMS_MAX + 3; item++) {
        put(item, "x", 1);
        bool is_full = item > ITEMS_MAX;
        assert_int_equal(late_count(late), is_full ? ITEMS_MAX : item);
        assert_true(shard()->waiting == late_count(late));
        assert_non_null(waiting_find(&late->slots, item));
    }
    assert_true(st->throttle_evicted == 3);
    assert_true(st->throttle_dropped[THROTTLE_LATEST] == 3);
    for (unsigned i = 0; i < ITEMS_MAX; i++)
        expect("Pa|a|x\n");
    end();
}

static int64_t held(void)
{
    return node.hub.held.used_bytes;
}

static void test_what_waits_is_held_and_not_in_flight(void **state)
{
    (void)state;
    begin(&latest);
    struct msg *sample = make(1, "x", 1);
    int64_t one = (int64_t)msg_size(sample);
    msg_unref(sample);
    put(1, "x", 1);
    put(2, "y", 1);
    put(2, "z", 1);
    put_in(late, 2, "w", 1, false);
    assert_true(held() == 2 * one && node.hub.budget.used_bytes == 0);
    for (uint64_t item = 3; item < 3 + ITEMS_MAX; item++)
        put(item, "x", 1);
    assert_true(held() == ITEMS_MAX * one);
    frame_unref(late_take(late)); /* and the cache has it until nobody waits */
    assert_true(held() == ITEMS_MAX * one);
    struct heard h = {.text = ""};
    late_take_all(late, hear, &h);
    assert_true(held() == one);
    fake_turn(&node, 0);
    assert_true(held() == 0);
    put(1, "x", 1); /* goes with it */
    end();
}

static void test_all_slots_are_handed_out(void **state)
{
    (void)state;
    begin(&latest);
    uint32_t sum = 0;
    struct heard h = {.text = ""};
    for (uint64_t item = 1; item <= ITEMS_MAX; item++) {
        char data[2] = {(char)('a' + item - 1)};
        put(item, data, (uint32_t)item);
        put(item, data, 1);
    }
    late_take_all(late, hear, &h);
    for (const char *p = h.text; *p; p += 4)
        sum += (uint32_t)(p[0] - 'a' + 2 == p[2] - '0');
    assert_int_equal(h.len, 4 * ITEMS_MAX);
    assert_int_equal(sum, ITEMS_MAX);
    expect_all("");
    put(1, "again", 1);
    expect_all("again/1 ");
    end();
}

/* --- ring ---------------------------------------------------------------- */

static void test_the_ring_keeps_the_order(void **state)
{
    (void)state;
    begin(&ring);
    append("ab");
    assert_int_equal(late_cost(late), strlen("Pa|a|a\n"));
    expect("Pa|a|a\n");
    append("cd");
    expect("Pa|a|b\n");
    expect("Pa|a|c\n");
    expect("Pa|a|d\n");
    assert_true(shard()->stats.throttle_dropped[THROTTLE_ALL] == 0);
    end();
}

static void test_the_oldest_goes_and_is_told_once(void **state)
{
    (void)state;
    begin(&ring);
    append("abcde");
    assert_int_equal(late_count(late), RING_MAX);
    assert_true(shard()->stats.throttle_dropped[THROTTLE_ALL] == 2);
    expect("Pa|a|c|lost=2\n");
    expect("Pa|a|d\n");
    append("fgh"); /* a second loss before the first is forgotten */
    expect("Pa|a|f|lost=1\n");
    expect("Pa|a|g\n");
    expect("Pa|a|h\n");
    assert_true(shard()->stats.throttle_dropped[THROTTLE_ALL] == 3);
    end();
}

static void test_what_was_taken_back_comes_first(void **state)
{
    (void)state;
    begin(&ring);
    append("c");
    prepend("ab");
    expect("Pa|a|a\n");
    expect("Pa|a|b\n");
    expect("Pa|a|c\n");
    end();
}

/* It is the oldest itself, and the loss is told with what follows it. */
static void test_what_does_not_fit_before_the_others_is_lost(void **state)
{
    (void)state;
    begin(&ring);
    append("cd");
    prepend("ab");
    assert_int_equal(late_count(late), RING_MAX);
    assert_true(shard()->stats.throttle_dropped[THROTTLE_ALL] == 1);
    expect("Pa|a|b|lost=1\n");
    expect("Pa|a|c\n");
    expect("Pa|a|d\n");
    end();
}

static void fill(char *text, size_t n)
{
    memset(text, 'x', n);
    text[n] = '\0';
}

static struct frame *single(size_t data_bytes)
{
    char data[100];
    fill(data, data_bytes);
    push(make(0, data, data_bytes));
    struct pass *p = pass_begin(late->sub->lane);
    struct frame *f = pass_new_single(shard(), p, 0, ENCODING_WS_JSON);
    pass_end(p);
    return f;
}

/* There is room again, but what was lost stands between it and the rest. */
static void test_what_comes_back_before_a_loss_is_lost(void **state)
{
    (void)state;
    begin(&ring);
    late_append(late, single(BYTES_MAX * 2 / 3));
    late_append(late, single(BYTES_MAX * 2 / 3));
    assert_int_equal(late_count(late), 1);
    assert_int_equal(late->lost, 1);
    late_prepend(late, single(1));
    assert_int_equal(late_count(late), 1);
    assert_int_equal(late->lost, 2);
    frame_unref(late_take(late));
    assert_int_equal(late->lost, 0);
    end();
}

/* "Pa|a|" and the end of the line are 6. */
static void test_the_ring_is_bounded_by_bytes(void **state)
{
    (void)state;
    begin(&ring);
    late_append(late, single(BYTES_MAX / 2 - 6));
    late_append(late, single(BYTES_MAX / 2 - 6));
    assert_int_equal(late_count(late), 2);
    assert_int_equal(late->ring_bytes, BYTES_MAX);
    late_prepend(late, single(1));
    assert_int_equal(late_count(late), 2);
    assert_int_equal(late->lost, 1);
    late_append(late, single(1));
    assert_int_equal(late_count(late), 2);
    assert_int_equal(late->lost, 2);
    late_append(late, single(BYTES_MAX)); /* alone it may be larger */
    assert_int_equal(late_count(late), 1);
    assert_int_equal(late->lost, 4);
    assert_int_equal(late->ring_bytes, BYTES_MAX + 6);
    assert_true(shard()->waiting == 1);
    assert_true(shard()->stats.throttle_dropped[THROTTLE_ALL] == 4);
    frame_unref(late_take(late));
    assert_int_equal(late->ring_bytes, 0);
    end();
}

static void test_all_of_the_ring_is_handed_out_in_order(void **state)
{
    (void)state;
    begin(&ring);
    append("abcd");
    expect_all("b/1-1 c/1 d/1 ");
    assert_int_equal(late->ring_bytes, 0);
    append("e");
    expect_all("e/1 ");
    append("fg"); /* goes with it */
    end();
}

/* A list in an array, oldest first. */
static void test_the_ring_against_a_list(void **state)
{
    (void)state;
    char list[RING_MAX + 1] = "";
    unsigned lost = 0;
    unsigned all_lost = 0;
    struct rand r;
    begin(&ring);
    rand_init(&r, 9);
    for (unsigned i = 0; i < 3000; i++) {
        size_t n = strlen(list);
        char letter[2] = {(char)('a' + i % 26)};
        uint64_t dice = rand_below(&r, 8);
        if (dice < 3 && n) {
            char line[40];
            int len = snprintf(line, sizeof(line), "Pa|a|%c", list[0]);
            snprintf(line + len, sizeof(line) - (size_t)len,
                     lost ? "|lost=%u\n" : "\n", lost);
            expect(line);
            memmove(list, list + 1, n);
            lost = 0;
            continue;
        }
        bool is_full = n == RING_MAX;
        lost += is_full;
        all_lost += is_full;
        if (dice == 3) {
            prepend(letter);
            if (!is_full)
                memmove(list + 1, list, n + 1);
            if (!is_full)
                list[0] = letter[0];
            continue;
        }
        append(letter);
        if (is_full)
            memmove(list, list + 1, n);
        strcat(list, letter);
    }
    assert_true(shard()->stats.throttle_dropped[THROTTLE_ALL] == all_lost);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_replaces_and_stands_for_all),
        cmocka_unit_test(test_an_older_one_is_stood_for),
        cmocka_unit_test(test_the_value_is_chosen_when_it_is_taken),
        cmocka_unit_test(test_one_encoding_for_all_who_are_late),
        cmocka_unit_test(test_slots_are_bounded_by_count),
        cmocka_unit_test(test_what_waits_is_held_and_not_in_flight),
        cmocka_unit_test(test_all_slots_are_handed_out),
        cmocka_unit_test(test_the_ring_keeps_the_order),
        cmocka_unit_test(test_the_oldest_goes_and_is_told_once),
        cmocka_unit_test(test_what_was_taken_back_comes_first),
        cmocka_unit_test(test_what_does_not_fit_before_the_others_is_lost),
        cmocka_unit_test(test_what_comes_back_before_a_loss_is_lost),
        cmocka_unit_test(test_the_ring_is_bounded_by_bytes),
        cmocka_unit_test(test_all_of_the_ring_is_handed_out_in_order),
        cmocka_unit_test(test_the_ring_against_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
