/* The same hub with a thread per shard: what one shard's clients see is
 * checked afterwards against the order that a witness of each channel saw.
 * Meant for ThreadSanitizer too. */
#include "tests/kit/threads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/channel.h"

#define SHARDS 4
#define CLIENTS 4 /* of each shard, besides the witnesses */
#define ROUNDS 1500

static const char *const topics[] = {"a", "b", "ns:a", "ns:b.c",
                                     ">", "*", "ns:>", "ns:*.c"};
#define CHANNELS 4
#define TOPICS ARRAY_LEN(topics)

/* One subscription that was answered. `own_next` is the number of the first
 * publication its own shard made on each channel after the answer. */
struct period {
    uint32_t own_next[CHANNELS];
    bool lasted;
};

struct actor;

struct follower {
    struct fake_client *fake;
    struct actor *actor;
    struct period *periods[TOPICS]; /* owned arrays */
    uint32_t period_count[TOPICS];
};

struct actor {
    struct shard *shard;
    struct rand rand;
    unsigned rounds;
    uint32_t next[CHANNELS]; /* of the publications of this shard */
    struct follower followers[CLIENTS];
    struct fake_client *witness; /* of the channel with the shard's number */
    unsigned surveys;
};

static struct actor actors[SHARDS];
static struct hub hub;

static unsigned find_topic(struct str name)
{
    for (unsigned i = 0; i < TOPICS; i++) {
        if (str_eq(str_of(topics[i]), name))
            return i;
    }
    abort();
}

static void on_answer(struct fake_client *f, struct sub *s, uint32_t error)
{
    struct follower *w = f->arg;
    unsigned topic = find_topic(topic_name(s->topic));
    CHECK(error == 0);
    uint32_t n = w->period_count[topic]++;
    w->periods[topic] =
        mem_realloc(w->periods[topic], (n + 1) * sizeof(struct period));
    struct period *p = &w->periods[topic][n];
    memcpy(p->own_next, w->actor->next, sizeof(p->own_next));
    p->lasted = true;
}

static void toggle(struct actor *a, struct follower *w)
{
    unsigned topic = (unsigned)rand_below(&a->rand, TOPICS);
    struct sub *s = client_find_sub(&w->fake->client, str_of(topics[topic]));
    if (!s) {
        CHECK(fake_subscribe(w->fake, topics[topic]) == 0);
        return;
    }
    if (s->state == SUB_LIVE)
        w->periods[topic][w->period_count[topic] - 1].lasted = false;
    hub_unsubscribe(&w->fake->client, s);
}

static void publish(struct actor *a)
{
    unsigned channel = (unsigned)rand_below(&a->rand, CHANNELS);
    char data[32];
    snprintf(data, sizeof(data), "%u.%u", a->shard->index, a->next[channel]);
    if (fake_publish(a->shard, topics[channel], data))
        a->next[channel]++;
}

static void *visit(struct shard *s, void *question)
{
    (void)question;
    struct stats *copy = mem_alloc(sizeof(*copy));
    *copy = s->stats;
    return copy;
}

static void on_survey(struct shard *from, void *question, void **parts,
                      unsigned count)
{
    (void)question;
    for (unsigned i = 0; i < count; i++) {
        CHECK(parts[i]);
        free(parts[i]);
    }
    actors[from->index].surveys++;
}

/* Clients that come for a moment, so that answers find nobody. */
static void pass_by(struct actor *a)
{
    struct fake_client *f = fake_open(a->shard, ENCODING_SSE);
    client_identify(&f->client, STR_LIT("passer"));
    CHECK(fake_subscribe(f, topics[rand_below(&a->rand, TOPICS)]) == 0);
    CHECK(fake_subscribe(f, "rare") == 0);
    CHECK(fake_subscribe(f, "rare.*") == 0);
    fake_gone(f);
}

static bool act(struct shard *s, void *arg)
{
    struct actor *a = arg;
    struct survey survey = {visit, on_survey, NULL};
    CHECK(a->shard == s);
    for (uint64_t n = rand_below(&a->rand, 4); n > 0; n--)
        publish(a);
    toggle(a, &a->followers[rand_below(&a->rand, CLIENTS)]);
    if (a->rounds % 8 == 0)
        pass_by(a);
    if (a->rounds % 64 == 0)
        hub_survey(s, &survey);
    return --a->rounds > 0;
}

/* --- the check afterwards ------------------------------------------------------ */

/* Where a publication stands in its channel's order; the order itself. */
static uint32_t *places[CHANNELS][SHARDS]; /* owned */
static uint32_t order_count[CHANNELS];

static void split_number(struct str data, unsigned *shard, uint32_t *number)
{
    char *dot;
    *shard = (unsigned)strtoul(data.p, &dot, 10);
    *number = (uint32_t)strtoul(dot + 1, NULL, 10);
}

static void read_order(unsigned channel)
{
    struct fake_line line;
    uint32_t next[SHARDS] = {0};
    for (unsigned i = 0; i < SHARDS; i++)
        places[channel][i] =
            mem_alloc((actors[i].next[channel] + 1) * sizeof(uint32_t));
    assert_true(fake_next(actors[channel].witness, &line));
    assert_int_equal(line.kind, 'S');
    while (fake_next(actors[channel].witness, &line)) {
        unsigned shard;
        uint32_t number;
        split_number(line.data, &shard, &number);
        assert_int_equal(number, next[shard]); /* in order, none missing */
        next[shard]++;
        places[channel][shard][number] = order_count[channel]++;
    }
    for (unsigned i = 0; i < SHARDS; i++)
        assert_int_equal(next[i], actors[i].next[channel]);
}

/* What one period brought of each channel: the next place, UINT32_MAX while
 * nothing came. */
struct reading {
    bool open;
    uint32_t periods;
    uint32_t first[CHANNELS];
    uint32_t next[CHANNELS];
};

static void close_reading(const struct follower *w, unsigned topic,
                          struct reading *r)
{
    if (!r->open)
        return;
    const struct period *p = &w->periods[topic][r->periods - 1];
    unsigned own = w->actor->shard->index;
    for (unsigned c = 0; c < CHANNELS; c++) {
        uint32_t all = w->actor->next[c];
        if (!channel_matches(str_of(topics[topic]), str_of(topics[c])))
            continue;
        /* Its own shard's first publication after the answer is owed, if
         * anything came at all or the subscription lasted. */
        if (p->own_next[c] < all && (r->first[c] != UINT32_MAX || p->lasted))
            assert_true(r->first[c] <= places[c][own][p->own_next[c]]);
        if (p->lasted && r->first[c] != UINT32_MAX)
            assert_int_equal(r->next[c], order_count[c]);
    }
}

static void read_line(const struct follower *w, const struct fake_line *line,
                      struct reading *readings)
{
    unsigned topic = find_topic(line->topic);
    struct reading *r = &readings[topic];
    if (line->kind == 'S') {
        close_reading(w, topic, r);
        *r = (struct reading){.open = true, .periods = r->periods + 1};
        memset(r->first, 0xff, sizeof(r->first));
        return;
    }
    unsigned channel = find_topic(line->channel);
    unsigned shard;
    uint32_t number;
    split_number(line->data, &shard, &number);
    uint32_t place = places[channel][shard][number];
    assert_true(r->open); /* the reply comes first */
    if (r->first[channel] == UINT32_MAX)
        r->first[channel] = place;
    else
        assert_int_equal(place, r->next[channel]); /* no gap, none twice */
    r->next[channel] = place + 1;
}

static unsigned check_follower(struct follower *w)
{
    struct reading readings[TOPICS] = {{.open = false}};
    struct fake_line line;
    unsigned lines = 0;
    while (fake_next(w->fake, &line)) {
        read_line(w, &line, readings);
        lines++;
    }
    for (unsigned i = 0; i < TOPICS; i++) {
        close_reading(w, i, &readings[i]);
        assert_int_equal(readings[i].periods, w->period_count[i]);
        free(w->periods[i]);
    }
    return lines;
}

/* --- the whole ------------------------------------------------------------------- */

static void begin(uint64_t seed)
{
    struct hub_options o = {.shards = SHARDS,
                            .inflight_bytes = 64 << 20,
                            .slice = 3,
                            .queue_max_bytes = 64 << 20,
                            .channel_limit = TOPICS,
                            .codec = &fake_codec};
    threads_init(&hub, &o);
    memset(actors, 0, sizeof(actors));
    memset(order_count, 0, sizeof(order_count));
    for (unsigned i = 0; i < SHARDS; i++) {
        struct actor *a = &actors[i];
        a->shard = hub.shards[i];
        a->rounds = ROUNDS;
        rand_init(&a->rand, seed * SHARDS + i);
        a->witness = fake_open(a->shard, ENCODING_WS_JSON);
        CHECK(fake_subscribe(a->witness, topics[i]) == 0);
        for (unsigned k = 0; k < CLIENTS; k++) {
            struct follower *w = &a->followers[k];
            w->actor = a;
            w->fake = fake_open(a->shard, ENCODING_UNI_SSE);
            w->fake->on_answer = on_answer;
            w->fake->arg = w;
        }
    }
    threads_settle(&hub); /* The witnesses are answered before all else. */
}

static void end(void)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        fake_gone(actors[i].witness);
        for (unsigned k = 0; k < CLIENTS; k++)
            fake_gone(actors[i].followers[k].fake);
        for (unsigned c = 0; c < CHANNELS; c++)
            free(places[c][i]);
    }
    threads_settle(&hub);
    for (unsigned i = 0; i < SHARDS; i++) {
        shard_check(hub.shards[i]);
        assert_null(hub.shards[i]->home.channels);
        assert_null(hub.shards[i]->users);
    }
    hub_fini(&hub);
    assert_int_equal(hub.budget.used_bytes, 0);
}

static void test_threads(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        void *args[SHARDS];
        unsigned lines = 0;
        begin(seed);
        for (unsigned i = 0; i < SHARDS; i++)
            args[i] = &actors[i];
        threads_run(&hub, act, args);
        for (unsigned c = 0; c < CHANNELS; c++)
            read_order(c);
        for (unsigned i = 0; i < SHARDS; i++) {
            shard_check(hub.shards[i]);
            assert_int_equal(actors[i].surveys, ROUNDS / 64);
            for (unsigned k = 0; k < CLIENTS; k++)
                lines += check_follower(&actors[i].followers[k]);
        }
        assert_true(lines > ROUNDS);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
