/* Ten thousand short lives of throttled subscribers, judged by the naive
 * account of tests/model/throttle. Time stands still until a step lets it
 * pass; a life is a function of its seed: WEIR_MODEL_SEED=n runs that one
 * alone and tells what happens. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/backlog.h"
#include "tests/kit/fake.h"
#include "tests/kit/still.h"
#include "tests/model/throttle.h"

/* Sanitizers are slow. */
#ifdef NDEBUG
#define LIVES 10000
#else
#define LIVES 1000
#endif

#define START_NS (UINT64_C(1000) * 1000000000)
#define MS UINT64_C(1000000)
#define PLAYERS 5
struct player {
    struct fake_client *fake; /* NULL: the place is free */
    struct model_client account;
};

struct life {
    struct model model;
    struct fake_node node;
    struct rand rand;
    struct player players[PLAYERS];
    unsigned from[MODEL_CHANNELS]; /* the shard that publishes */
    unsigned channels;
    unsigned items;
    unsigned large; /* bytes, of a few publications */
    bool has_pattern;
    bool keeps_values; /* snapshots or states stay at home */
    struct buf data;
};

struct sums {
    uint64_t publications;
    uint64_t deliveries;
    uint64_t conflated;
    uint64_t lost;
    uint64_t flushed;
    uint64_t told;
    uint64_t retuned;
    uint64_t choked;
};

static struct sums sums;
static char label[64];

static void on_abort(int signal)
{
    (void)signal;
    if (write(2, label, strlen(label)) == -1)
        _exit(2);
}

static unsigned below(struct life *l, unsigned n)
{
    return (unsigned)rand_below(&l->rand, n);
}

static bool dice(struct life *l, unsigned one_in)
{
    return below(l, one_in) == 0;
}

static unsigned one_of(struct life *l, const unsigned *of, unsigned count)
{
    return of[below(l, count)];
}
#define ONE_OF(l, ...)                         \
    one_of(l, (const unsigned[]){__VA_ARGS__}, \
           ARRAY_LEN(((const unsigned[]){__VA_ARGS__})))

/* --- what the clients get ------------------------------------------------ */

static unsigned topic_of(const struct sub *s)
{
    unsigned topic = 0;
    while (!str_eq(topic_name(s->topic), str_of(model_topics[topic])))
        topic++;
    return topic;
}

static struct life *current; /* for the callback of the clients */

static void on_answer(struct fake_client *f, struct sub *s, uint32_t error)
{
    struct player *p = f->arg;
    CHECK(error == 0);
    model_answered(&current->model, &p->account, topic_of(s), f->told,
                   f->untold, still_now_ns());
}

static void look_at(struct life *l, struct player *p)
{
    struct fake_client *f = p->fake;
    if (!f)
        return;
    CHECK(!f->client.closing && !f->client.closed);
    if (f->client.choked && !p->account.choked) {
        model_choked(&p->account);
        sums.choked++;
    }
    if (f->wire.n)
        model_read(&l->model, &p->account, buf_view(&f->wire), still_now_ns());
    buf_clear(&f->wire);
}

static void look(struct life *l)
{
    for (unsigned i = 0; i < PLAYERS; i++)
        look_at(l, &l->players[i]);
}

static bool has_bandwidth(const struct life *l)
{
    for (unsigned i = 0; i < l->model.policy_count; i++) {
        if (l->model.policies[i].bandwidth)
            return true;
    }
    return false;
}

/* Nothing is under way, and no time has passed. */
static void settle(struct life *l)
{
    while (fake_step(&l->node, &l->rand))
        look(l);
    look(l);
    l->model.settled = l->model.count;
    for (unsigned i = 0; i < PLAYERS; i++) {
        struct player *p = &l->players[i];
        if (!p->fake)
            continue;
        if (!p->account.was_choked && !has_bandwidth(l))
            CHECK(backlog_count(&p->fake->client) == 0);
    }
}

static void judge(struct life *l)
{
    for (unsigned i = 0; i < PLAYERS; i++) {
        if (l->players[i].fake)
            model_judge(&l->model, &l->players[i].account, still_now_ns());
    }
}

static void turn_all(struct life *l)
{
    for (unsigned i = 0; i < l->node.hub.count; i++)
        fake_turn(&l->node, i);
    settle(l);
}

/* As loops do it: they sleep until the next timer. */
static void pass_promptly(struct life *l, uint64_t ms)
{
    settle(l);
    while (ms) {
        uint64_t step = ms;
        for (unsigned i = 0; i < l->node.hub.count; i++) {
            int64_t sleep = shard_sleep_ms(l->node.hub.shards[i]);
            if (sleep >= 0 && (uint64_t)sleep < step)
                step = sleep ? (uint64_t)sleep : 1;
        }
        still_pass_ns(step * MS);
        ms -= step;
        turn_all(l);
        judge(l);
    }
}

/* Shards are late: what an event has begun goes on after some time only. */
static void pass_raggedly(struct life *l, uint64_t ms)
{
    for (unsigned i = 0; i < l->node.hub.count; i++) {
        if (l->node.hub.shards[i]->busy_since_ns)
            fake_turn(&l->node, i);
    }
    look(l);
    still_pass_ns(ms * MS);
}

static void pass(struct life *l, uint64_t ms)
{
    if (l->model.is_prompt)
        pass_promptly(l, ms);
    else
        pass_raggedly(l, ms);
}

static void tell(const struct life *l, const struct player *p, const char *what)
{
    if (l->model.trace)
        fprintf(stderr, "%llu %s %s, shard %u\n",
                (unsigned long long)(still_now_ns() / MS), p->account.name,
                what, p->fake->client.shard->index);
}

/* --- what happens to them ------------------------------------------------ */

static struct shard *shard_of(const struct player *p)
{
    shard_busy(p->fake->client.shard);
    return p->fake->client.shard;
}

static void enter(struct life *l, struct player *p)
{
    struct shard *s = l->node.hub.shards[below(l, l->node.hub.count)];
    shard_busy(s);
    p->fake = fake_open(s, (enum encoding)below(l, ENCODING_COUNT));
    p->fake->on_answer = on_answer;
    p->fake->arg = p;
    p->fake->keep_back = dice(l, 3) ? below(l, 6) : 0;
    model_client_init(&l->model, &p->account,
                      &"A\0B\0C\0D\0E"[2 * (p - l->players)]);
    tell(l, p, "enters");
}

static void leave(struct player *p)
{
    fake_gone(p->fake);
    p->fake = NULL;
    model_client_fini(&p->account);
}

static unsigned random_topic(struct life *l)
{
    if (l->has_pattern && dice(l, 4))
        return MODEL_PATTERN;
    return below(l, l->channels);
}

static struct throttle_request random_request(struct life *l)
{
    struct throttle_request r = {
        .has_rate = dice(l, 2),
        .has_mode = dice(l, 3),
        .mode = THROTTLE_LATEST,
    };
    r.rate = ONE_OF(l, 0, 200, 1000, 5000, 20000, 60000);
    return r;
}

static void subscribe(struct life *l, struct player *p)
{
    unsigned topic = random_topic(l);
    const struct throttle_policy *policy =
        &l->model.policies[l->model.policy_of[topic]];
    struct throttle_request request = random_request(l);
    if (model_open_sub(&p->account, topic))
        return;
    uint32_t settled =
        l->node.hub.count == 1 ? l->model.count : l->model.settled;
    (void)shard_of(p);
    model_ask(&l->model, &p->account, topic, throttle_decide(policy, &request),
              settled);
    CHECK(fake_subscribe_as(p->fake, model_topics[topic], policy, &request) ==
          0);
}

static void unsubscribe(struct life *l, struct player *p)
{
    unsigned topic = random_topic(l);
    struct model_sub *s = model_open_sub(&p->account, topic);
    if (!s)
        return;
    (void)shard_of(p);
    tell(l, p, "unsubscribes");
    model_ended(s);
    fake_unsubscribe(p->fake, model_topics[topic]);
}

static void retune(struct life *l, struct player *p)
{
    unsigned topic = random_topic(l);
    struct throttle_request request = random_request(l);
    struct model_sub *s = model_open_sub(&p->account, topic);
    if (!s)
        return;
    struct throttle_grant grant = throttle_decide(s->policy, &request);
    if (l->model.is_prompt)
        settle(l);
    (void)shard_of(p);
    model_retuned(&l->model, s, grant, still_now_ns());
    hub_retune(&p->fake->client,
               client_find_sub(&p->fake->client, str_of(model_topics[topic])),
               grant);
    sums.retuned++;
}

static void free_socket(struct life *l, struct player *p)
{
    tell(l, p, "is free");
    p->fake->next_write = WRITE_DONE;
    if (!p->fake->client.choked)
        return;
    (void)shard_of(p);
    model_free(&p->account, still_now_ns());
    client_writable(&p->fake->client);
}

static void choke(struct life *l, struct player *p)
{
    if (p->fake->next_write == WRITE_DONE) {
        tell(l, p, "will choke");
        p->fake->next_write = WRITE_CHOKED;
    } else if (p->fake->client.choked && dice(l, 2)) {
        tell(l, p, "takes one more");
        (void)shard_of(p); /* one more write, then it is full again */
        model_kicked(&p->account, still_now_ns());
        p->account.choked = false;
        p->account.free_ns = still_now_ns();
        client_writable(&p->fake->client);
    } else {
        free_socket(l, p);
    }
}

static void publish(struct life *l)
{
    unsigned channel = below(l, l->channels);
    unsigned item = below(l, l->items);
    struct shard *from = l->node.hub.shards[l->from[channel]];
    bool urgent = dice(l, 12);
    unsigned padding = dice(l, 8) ? below(l, l->large) : below(l, 60);
    shard_busy(from);
    model_publish(&l->model, channel, item, urgent, below(l, MODEL_FIELDS + 2),
                  padding, still_now_ns(), &l->data);
    struct fake_publication p = {
        .channel = model_topics[channel],
        .data = l->data.p,
        .item = 1 + channel * MODEL_ITEMS + item,
        .policy = &l->model.policies[l->model.policy_of[channel]],
        .urgent = urgent,
    };
    CHECK(fake_publish_as(from, &p));
}

static void burst(struct life *l)
{
    unsigned n = dice(l, 3) ? 1 + below(l, 8) : 1;
    for (unsigned i = 0; i < n; i++)
        publish(l);
}

static void act(struct life *l)
{
    struct player *p = &l->players[below(l, PLAYERS)];
    if (!p->fake) {
        enter(l, p);
        subscribe(l, p);
        return;
    }
    switch (below(l, 16)) {
    case 0:
        look_at(l, p);
        tell(l, p, "leaves");
        leave(p);
        break;
    case 1:
    case 2:
        unsubscribe(l, p);
        break;
    case 3:
    case 4:
    case 5:
        retune(l, p);
        break;
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
        choke(l, p);
        break;
    default:
        subscribe(l, p);
        break;
    }
}

static void step(struct life *l)
{
    switch (below(l, 16)) {
    case 0:
    case 1:
        pass(l, 1 + below(l, 20));
        break;
    case 2:
    case 3:
        pass(l, below(l, 300));
        break;
    case 4:
    case 5:
    case 6:
        act(l);
        break;
    case 7:
    case 8:
        fake_step(&l->node, &l->rand);
        look(l);
        break;
    default:
        burst(l);
        break;
    }
    if (l->model.is_prompt && !dice(l, 4))
        settle(l);
    if (dice(l, 8))
        fake_check(&l->node);
}

/* --- a life -------------------------------------------------------------- */

static struct throttle_policy random_policy(struct life *l)
{
    struct throttle_policy p = {
        .mode = (uint8_t)ONE_OF(l, THROTTLE_ALL, THROTTLE_LATEST,
                                THROTTLE_LATEST, THROTTLE_MERGE),
        .on_full = THROTTLE_CONFLATE,
        .allow_client_rate = !dice(l, 8),
        .annotate = dice(l, 2),
        .snapshot = ONE_OF(l, 0, 1, 1, 2, 5),
        .order_group = below(l, 2),
        .buffer = 1 + below(l, 6),
    };
    if (p.mode == THROTTLE_ALL)
        p.on_full =
            (uint8_t)ONE_OF(l, THROTTLE_DISCONNECT, THROTTLE_DROP_OLDEST);
    else
        p.rate = ONE_OF(l, 0, 200, 1000, 5000, 20000, 60000);
    if (dice(l, 4))
        p.bandwidth = 100 + below(l, 4000);
    return p;
}

static void choose(struct life *l)
{
    struct model *m = &l->model;
    m->policy_count = 1 + below(l, MODEL_POLICIES);
    for (unsigned i = 0; i < m->policy_count; i++) {
        m->policies[i] = random_policy(l);
        l->keeps_values |= m->policies[i].snapshot > 0 ||
                           m->policies[i].mode == THROTTLE_MERGE;
    }
    for (unsigned i = 0; i < MODEL_TOPICS; i++)
        m->policy_of[i] = below(l, m->policy_count);
    l->channels = 1 + below(l, MODEL_CHANNELS);
    l->items = 1 + below(l, MODEL_ITEMS);
    l->has_pattern = dice(l, 3);
    /* Some fill a queue beyond what one write takes. */
    l->large = dice(l, 16) ? 60000 : 2000;
    m->is_prompt = !dice(l, 3);
}

static void begin(struct life *l, uint64_t seed, bool trace)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 3,
                            .queue_max_bytes = 64 << 20,
                            .channel_limit = 128,
                            .max_items = 1000,
                            .last_max_bytes = 16 << 20,
                            .state_max_bytes = 65536,
                            .idle_ttl_ms = 60000,
                            .codec = &model_codec};
    memset(l, 0, sizeof(*l));
    rand_init(&l->rand, seed);
    snprintf(label, sizeof(label), "WEIR_MODEL_SEED=%llu\n",
             (unsigned long long)seed);
    l->model.label = label;
    l->model.trace = trace;
    still_at(START_NS + below(l, 1000000) * 1000);
    unsigned shards = dice(l, 2) ? 1 : 1 + below(l, 3);
    fake_node_init(&l->node, shards, &o);
    choose(l);
    model_init(&l->model);
    for (unsigned i = 0; i < MODEL_CHANNELS; i++) {
        uint32_t hash = msg_channel_hash(str_of(model_topics[i]));
        l->from[i] = below(l, shards);
        l->model.home_of[i] = home_of(&l->node.hub, hash)->index;
    }
    current = l;
}

static bool is_waiting(const struct life *l)
{
    for (unsigned i = 0; i < PLAYERS; i++) {
        if (l->players[i].fake && backlog_count(&l->players[i].fake->client))
            return true;
    }
    return false;
}

/* Items that are quiet are forgotten, and their class's timer with them. */
static void check_rest(struct shard *s)
{
    struct pace *p;
    CHECK(s->ticks.count == 0);
    for (unsigned i = 0; i < MODEL_TOPICS; i++) {
        struct str name = str_of(model_topics[i]);
        struct topic *t = topic_find(&s->topics, name, msg_channel_hash(name),
                                     i == MODEL_PATTERN);
        if (!t)
            continue;
        SLIST_FOREACH(p, &t->paces, link)
            CHECK(p->conflate.count == 0);
    }
}

/* Everybody can take everything, and nothing new comes. */
static void calm_down(struct life *l)
{
    uint64_t longest = 0;
    for (unsigned i = 0; i < PLAYERS; i++) {
        struct player *p = &l->players[i];
        if (!p->fake)
            continue;
        free_socket(l, p);
        p->account.free_ns = still_now_ns(); /* its shard may be late, too */
        uint64_t wait = model_longest_ns(&p->account);
        longest = wait > longest ? wait : longest;
    }
    pass_promptly(l, longest / MS + 5);
    for (unsigned i = 0; is_waiting(l); i++) {
        CHECK(i < 10000);
        still_pass_ns(1000 * MS);
        turn_all(l);
    }
    for (unsigned i = 0; i < PLAYERS; i++) {
        if (l->players[i].fake)
            model_judge_end(&l->model, &l->players[i].account);
    }
    still_pass_ns(11000 * MS);
    turn_all(l);
    fake_check(&l->node);
    for (unsigned i = 0; i < l->node.hub.count; i++)
        check_rest(l->node.hub.shards[i]);
    if (!l->keeps_values)
        CHECK(l->node.hub.held.used_bytes == 0);
}

static void end(struct life *l)
{
    sums.publications += l->model.count;
    sums.deliveries += l->model.deliveries;
    sums.conflated += l->model.conflated;
    sums.lost += l->model.lost;
    sums.flushed += l->model.flushed;
    sums.told += l->model.told;
    for (unsigned i = 0; i < PLAYERS; i++) {
        if (l->players[i].fake)
            leave(&l->players[i]);
    }
    fake_settle(&l->node);
    fake_node_fini(&l->node);
    model_fini(&l->model);
    buf_free(&l->data);
    still_at(0);
}

static void live(uint64_t seed, bool trace)
{
    struct life l;
    begin(&l, seed, trace);
    unsigned steps = 40 + below(&l, 120);
    for (unsigned i = 0; i < steps; i++)
        step(&l);
    calm_down(&l);
    end(&l);
}

static void test_lives(void **state)
{
    (void)state;
    const char *one = getenv("WEIR_MODEL_SEED");
    signal(SIGABRT, on_abort);
    if (one) {
        live(strtoull(one, NULL, 10), true);
        return;
    }
    for (uint64_t seed = 1; seed <= LIVES; seed++)
        live(seed, false);
    /* Was it worth it? */
    assert_true(sums.publications > 30 * LIVES);
    assert_true(sums.deliveries > 30 * LIVES);
    assert_true(sums.conflated > 5 * LIVES);
    assert_true(sums.lost > LIVES / 10);
    assert_true(sums.flushed > LIVES);
    assert_true(sums.told > LIVES);
    assert_true(sums.retuned > LIVES / 2);
    assert_true(sums.choked > LIVES / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
