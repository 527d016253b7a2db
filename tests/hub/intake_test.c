/* What comes to a home, in-process: numbers, idempotency keys, versions, streams
 * that are given up; and recoveries while several shards publish, against a
 * plain list. */
#include "hub/home.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/hub.h"
#include "tests/kit/fake.h"
#include "tests/kit/still.h"

#define MS UINT64_C(1000000)
#define START_NS (UINT64_C(1000000) * MS)

static struct fake_node node;

static const struct history_policy keeps = {.size = 20, .ttl_ms = 60000};
static const struct history_policy forgets = {
    .size = 20, .ttl_ms = 1000, .meta_ttl_ms = 5000};

static void begin(unsigned shards, size_t history_bytes)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 3,
                            .queue_max_bytes = 1 << 20,
                            .channel_limit = 8,
                            .max_items = 100,
                            .history_max_bytes = history_bytes,
                            .max_keys = 100,
                            .recovery_limit = 20,
                            .history_limit = 20};
    still_at(START_NS);
    fake_node_init(&node, shards, &o);
}

static void end(void)
{
    for (unsigned i = 0; i < node.hub.count; i++) {
        struct shard *s = node.hub.shards[i];
        for (uint32_t k = 0; k < s->slot_count; k++) {
            if (s->slots[k].client)
                fake_gone(fake_of(s->slots[k].client));
        }
    }
    fake_settle(&node);
    fake_node_fini(&node);
    still_at(0);
}

static void pass(uint64_t ms)
{
    for (uint64_t left = ms; left; left -= left < 100 ? left : 100) {
        still_pass_ns((left < 100 ? left : 100) * MS);
        for (unsigned i = 0; i < node.hub.count; i++)
            fake_turn(&node, i);
        fake_settle(&node);
    }
}

struct wanted {
    const char *channel;
    const char *data;
    const struct history_policy *history;
    const char *key;
    uint64_t version;
    const char *version_epoch;
    bool skip_history;
};

static struct position answered;

static void on_published(struct publish_op *op)
{
    assert_int_equal(op->result, 0);
    assert_null(op->msg);
    assert_null(op->wish);
    answered = op->position;
    free(op);
}

static struct publish_wish *make_wish(const struct wanted *w)
{
    size_t key = w->key ? strlen(w->key) : 0;
    size_t epoch = w->version_epoch ? strlen(w->version_epoch) : 0;
    if (!key && !w->version)
        return NULL;
    struct publish_wish *wish = mem_zalloc(sizeof(*wish) + key + epoch);
    wish->version = w->version;
    wish->key_len = (uint16_t)key;
    wish->version_epoch_len = (uint16_t)epoch;
    if (key)
        memcpy(wish->bytes, w->key, key);
    if (epoch)
        memcpy(wish->bytes + key, w->version_epoch, epoch);
    return wish;
}

static void post(struct shard *from, const struct wanted *w)
{
    struct msg_parts parts = {.channel = str_of(w->channel),
                              .data = str_of(w->data),
                              .history = w->history,
                              .skip_history = w->skip_history,
                              .is_json = true};
    struct publish_op *op = mem_zalloc(sizeof(*op));
    op->msg = msg_new(&node.hub.budget, &parts);
    op->wish = make_wish(w);
    op->done = on_published;
    hub_publish(from, op);
}

/* Where it stands, by its answer. */
static uint64_t put_as(const struct wanted *w)
{
    answered = (struct position){9, 9};
    post(node.hub.shards[node.hub.count - 1], w);
    fake_settle(&node);
    assert_true((answered.epoch == 0) == (answered.offset == 0));
    return answered.offset;
}

static uint64_t put(const char *channel, const char *data,
                    const struct history_policy *history)
{
    return put_as(
        &(struct wanted){.channel = channel, .data = data, .history = history});
}

static struct fake_client *open_on(const char *channel,
                                   const struct history_policy *history,
                                   struct position_wish wish)
{
    struct fake_client *f = fake_open(node.hub.shards[0], ENCODING_WS_JSON);
    wish.positioned = history != NULL;
    assert_int_equal(fake_subscribe_wish(f, channel, history, &wish), 0);
    fake_settle(&node);
    return f;
}

static struct fake_client *open_fresh(const char *channel,
                                      const struct history_policy *history)
{
    return open_on(channel, history, (struct position_wish){0});
}

static struct fake_client *open_since(const char *channel,
                                      struct position since)
{
    return open_on(channel, &keeps,
                   (struct position_wish){.recover = true, .since = since});
}

/* --- numbers ---------------------------------------------------------------- */

static void test_each_channel_counts_by_itself(void **state)
{
    (void)state;
    begin(2, 1 << 20);
    assert_int_equal(put("a", "1", &keeps), 1);
    uint64_t epoch = answered.epoch;
    assert_int_equal(put("b", "1", &keeps), 1);
    assert_int_equal(put("a", "1", &keeps), 2);
    assert_int_equal(answered.epoch, epoch);
    assert_int_equal(put("c", "1", NULL), 0);
    end();
}

static void test_skip_history_has_no_place(void **state)
{
    (void)state;
    begin(2, 1 << 20);
    struct fake_client *f = open_fresh("a", &keeps);
    assert_int_equal(put("a", "1", &keeps), 1);
    assert_int_equal(
        put_as(&(struct wanted){"a", "2", &keeps, .skip_history = true}), 0);
    assert_int_equal(put("a", "3", &keeps), 2);
    fake_expect(f, "Sa|0@0\nPa|a|1|#1\nPa|a|2\nPa|a|3|#2\n");
    fake_expect(open_since("a", (struct position){0, 0}),
                "Sa|0@2+recovered\nPa|a|1|#1\nPa|a|3|#2\n");
    end();
}

static void test_ttl_empties_and_keeps_the_position(void **state)
{
    (void)state;
    begin(1, 1 << 20);
    put("a", "1", &keeps);
    struct position one = answered;
    put("a", "2", &keeps);
    pass(61000);
    fake_expect(open_since("a", one), "Sa|0@2+too_old\n");
    one.offset = 2;
    fake_expect(open_since("a", one), "Sa|0@2+recovered\n");
    assert_int_equal(put("a", "3", &keeps), 3);
    end();
}

/* --- streams that are given up ------------------------------------------------ */

static void test_forgotten_for_others_is_lost(void **state)
{
    (void)state;
    begin(1, 1024); /* two streams with little in them */
    struct fake_client *f = open_fresh("a", &keeps);
    put("a", "1", &keeps);
    uint64_t epoch = answered.epoch;
    for (unsigned i = 0; i < 8; i++)
        put("b", "1", &keeps);
    pass(40);
    fake_expect(f, "Sa|0@0\nPa|a|1|#1\nLa|stream\n");
    assert_int_equal(node.hub.shards[0]->stats.history_forgotten, 1);
    fake_expect(open_since("a", (struct position){epoch, 1}),
                "Sa|0@0+foreign\n");
    end();
}

static void test_forgotten_by_time_is_lost(void **state)
{
    (void)state;
    begin(2, 1 << 20);
    struct fake_client *f = open_fresh("a", &forgets);
    put("a", "1", &forgets);
    uint64_t epoch = answered.epoch;
    pass(4000);
    fake_expect(f, "Sa|0@0\nPa|a|1|#1\n");
    pass(3000);
    fake_expect(f, "La|stream\n");
    assert_int_equal(put("a", "2", &forgets), 1);
    assert_int_not_equal(answered.epoch, epoch);
    end();
}

static void on_removed(struct remove_op *op)
{
    assert_int_equal(op->error, 0);
    free(op);
}

static void test_removed(void **state)
{
    (void)state;
    begin(2, 1 << 20);
    struct fake_client *f = open_fresh("a", &keeps);
    put("a", "1", &keeps);
    struct remove_op *op = mem_zalloc(sizeof(*op) + 1);
    op->channel_len = 1;
    op->channel[0] = 'a';
    op->done = on_removed;
    home_remove(node.hub.shards[1], op);
    fake_settle(&node);
    assert_int_equal(put("a", "2", &keeps), 2);
    fake_expect(f, "Sa|0@0\nPa|a|1|#1\nPa|a|2|#2\n");
    fake_expect(open_since("a", (struct position){0, 0}), "Sa|0@2+too_old\n");
    fake_expect(open_since("a", (struct position){0, 1}),
                "Sa|0@2+recovered\nPa|a|2|#2\n");
    end();
}

/* --- keys --------------------------------------------------------------------- */

static uint64_t repeated(void)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < node.hub.count; i++)
        n += node.hub.shards[i]->stats.publish_repeated;
    return n;
}

static void test_key_gives_the_same_result(void **state)
{
    (void)state;
    begin(2, 1 << 20);
    struct fake_client *f = open_fresh("a", &keeps);
    struct wanted w = {"a", "1", &keeps, .key = "k"};
    assert_int_equal(put_as(&w), 1);
    assert_int_equal(put_as(&(struct wanted){"a", "2", &keeps, .key = "l"}), 2);
    assert_int_equal(put_as(&w), 1);
    /* Another channel's. */
    assert_int_equal(put_as(&(struct wanted){"b", "3", &keeps, .key = "k"}), 1);
    fake_expect(f, "Sa|0@0\nPa|a|1|#1\nPa|a|2|#2\n");
    assert_int_equal(repeated(), 1);
    pass(KEYS_TTL_MS + 100);
    assert_int_equal(put_as(&w), 3);
    end();
}

static void test_key_of_a_plain_channel(void **state)
{
    (void)state;
    begin(2, 1 << 20);
    struct fake_client *f = open_fresh("a", NULL);
    struct wanted w = {"a", "1", NULL, .key = "k"};
    assert_int_equal(put_as(&w), 0);
    assert_int_equal(put_as(&w), 0);
    fake_expect(f, "Sa|0\nPa|a|1\n");
    assert_int_equal(repeated(), 1);
    end();
}

/* --- versions ----------------------------------------------------------------- */

static void test_versions(void **state)
{
    (void)state;
    begin(2, 1 << 20);
    struct fake_client *f = open_fresh("a", &keeps);
    struct wanted w = {"a", "1", &keeps, .version = 5};
    assert_int_equal(put_as(&w), 1);
    w.data = "2";
    assert_int_equal(put_as(&w), 1); /* not newer: the top */
    w.version = 4;
    assert_int_equal(put_as(&w), 1);
    w.version = 6;
    assert_int_equal(put_as(&w), 2);
    w.version = 1;
    w.version_epoch = "x";
    w.data = "3";
    assert_int_equal(put_as(&w), 3);
    assert_int_equal(put_as(&w), 3);
    assert_int_equal(put("a", "4", &keeps), 4);
    fake_expect(f, "Sa|0@0\nPa|a|1|#1\nPa|a|2|#2\nPa|a|3|#3\nPa|a|4|#4\n");
    end();
}

static void test_version_without_history_means_nothing(void **state)
{
    (void)state;
    begin(1, 1 << 20);
    struct fake_client *f = open_fresh("a", NULL);
    struct wanted w = {"a", "1", NULL, .version = 5};
    put_as(&w);
    put_as(&w);
    fake_expect(f, "Sa|0\nPa|a|1\nPa|a|1\n");
    end();
}

/* --- random lives --------------------------------------------------------------- */

#define CHANNELS 3
#define PLAYERS 6

struct player {
    struct fake_client *fake; /* NULL: away */
    bool live[CHANNELS];
    struct position at[CHANNELS]; /* epoch 0: never was there */
    bool recovers[CHANNELS];
    uint64_t epoch[CHANNELS]; /* by the answer */
    uint64_t top[CHANNELS];   /* by the answer: what is told ends here */
};

static struct {
    struct rand rand;
    struct player players[PLAYERS];
    uint64_t count[CHANNELS]; /* published; offsets are dense */
    uint64_t got;
    uint64_t recovered;
    uint64_t too_old;
} life;

static void on_answer(struct fake_client *f, struct sub *s, uint32_t error)
{
    struct player *p = f->arg;
    unsigned c = (unsigned)(topic_name(s->topic).p[0] - 'a');
    assert_int_equal(error, 0);
    p->epoch[c] = s->epoch;
}

static void judge_answer(struct player *p, unsigned c, struct str said)
{
    (void)str_cut(&said, '@');
    uint64_t top = strtoull(said.p, NULL, 10);
    (void)str_cut(&said, '+');
    assert_false(p->live[c]);
    p->live[c] = true;
    p->top[c] = top;
    assert_true(p->at[c].epoch == 0 || p->at[c].epoch == p->epoch[c]);
    p->at[c].epoch = p->epoch[c];
    if (str_eq(said, STR_LIT("recovered"))) {
        life.recovered++;
        return;
    }
    if (p->recovers[c]) {
        /* Only what is gone is too old. */
        assert_true(str_eq(said, STR_LIT("too_old")));
        assert_true(top - p->at[c].offset > keeps.size);
        life.too_old++;
    }
    p->at[c].offset = top;
}

/* The number behind the `#`, in a text that nothing ends. */
static uint64_t offset_told(struct str text)
{
    uint64_t offset = 0;
    (void)str_cut(&text, '#');
    for (size_t i = 0; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++)
        offset = offset * 10 + (uint64_t)(text.p[i] - '0');
    return offset;
}

static void judge(struct player *p)
{
    struct fake_line line;
    while (p->fake && fake_next(p->fake, &line)) {
        unsigned c = (unsigned)(line.topic.p[0] - 'a');
        if (line.kind == 'S') {
            judge_answer(p, c, line.channel);
            continue;
        }
        assert_true(line.kind == 'P' && p->live[c]);
        assert_int_equal(offset_told(line.data), p->at[c].offset + 1);
        p->at[c].offset++;
        life.got++;
    }
}

static void subscribe(struct player *p, unsigned c)
{
    const char name[2] = {(char)('a' + c), '\0'};
    struct position_wish wish = {.positioned = true};
    p->recovers[c] = p->at[c].epoch != 0;
    wish.recover = p->recovers[c];
    wish.since = p->at[c];
    assert_int_equal(fake_subscribe_wish(p->fake, name, &keeps, &wish), 0);
}

static void play(struct player *p)
{
    if (p->fake && rand_below(&life.rand, 3)) {
        fake_gone(p->fake);
        p->fake = NULL;
        memset(p->live, 0, sizeof(p->live));
        return;
    }
    if (p->fake)
        return;
    p->fake =
        fake_open(node.hub.shards[rand_below(&life.rand, node.hub.count)], 0);
    p->fake->on_answer = on_answer;
    p->fake->arg = p;
    for (unsigned c = 0; c < CHANNELS; c++)
        subscribe(p, c);
}

static void step(void)
{
    uint64_t dice = rand_below(&life.rand, 100);
    unsigned c = (unsigned)rand_below(&life.rand, CHANNELS);
    const char name[2] = {(char)('a' + c), '\0'};
    if (dice < 60) {
        (void)fake_step(&node, &life.rand);
    } else if (dice < 94) {
        life.count[c]++;
        post(node.hub.shards[rand_below(&life.rand, node.hub.count)],
             &(struct wanted){.channel = name, .data = "1", .history = &keeps});
    } else {
        play(&life.players[rand_below(&life.rand, PLAYERS)]);
    }
    for (unsigned i = 0; i < PLAYERS; i++)
        judge(&life.players[i]);
}

static void live(unsigned shards, uint64_t seed)
{
    begin(shards, 1 << 20);
    memset(&life, 0, sizeof(life));
    rand_init(&life.rand, seed);
    for (unsigned i = 0; i < 6000; i++)
        step();
    fake_settle(&node);
    for (unsigned i = 0; i < PLAYERS; i++) {
        struct player *p = &life.players[i];
        if (!p->fake)
            play(p);
        fake_settle(&node);
        judge(p);
        for (unsigned c = 0; c < CHANNELS; c++)
            assert_int_equal(p->at[c].offset, life.count[c]);
    }
    assert_true(life.got > 1000 && life.recovered > 20 && life.too_old > 0);
    end();
}

static void test_recoveries_under_publishing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        live(1, seed);
        live(2, seed);
        live(4, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_channel_counts_by_itself),
        cmocka_unit_test(test_skip_history_has_no_place),
        cmocka_unit_test(test_ttl_empties_and_keeps_the_position),
        cmocka_unit_test(test_forgotten_for_others_is_lost),
        cmocka_unit_test(test_forgotten_by_time_is_lost),
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_key_gives_the_same_result),
        cmocka_unit_test(test_key_of_a_plain_channel),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_version_without_history_means_nothing),
        cmocka_unit_test(test_recoveries_under_publishing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
