/* Random lives over a bus with a stream, on one, two and four shards, judged by
 * one strict rule: what a client gets of a channel is the next publication of
 * the truth after its position, each time, or it was told that something is
 * missing. */
#include "hub/splice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/hub.h"
#include "tests/kit/fake_bus.h"
#include "tests/kit/still.h"

#define MS UINT64_C(1000000)
#define START_NS (UINT64_C(1000000) * MS)
#define PLAYERS 6
#define CHANNELS 5
#define READS_ENOUGH 24

static const struct history_policy keeps8 = {.size = 8, .ttl_ms = 3600000};

enum state { OUT, ASKED, LIVE };

/* What a client knows of a channel. */
struct view {
    enum state state;
    bool has_position;
    bool recovers; /* the attempt that is under way */
    uint64_t epoch;
    uint64_t offset;
    uint64_t since_epoch;    /* of the attempt */
    uint64_t answered_epoch; /* from on_answer, for the S line to come */
    uint32_t answered_told;
    uint32_t told_left; /* of a recovery's list */
    uint64_t told_to;   /* where it ends */
};

struct player {
    struct fake_client *fake;
    struct view views[CHANNELS];
    bool is_pattern;
    bool is_in;                   /* pattern: answered */
    uint64_t newest[CHANNELS];    /* pattern: got so far */
    uint64_t published[CHANNELS]; /* pattern: the newest before it was in */
};

static struct {
    struct fake_node node;
    struct fake_bus bus;
    struct rand rand;
    struct player players[PLAYERS];
    bool is_lossy;
    bool is_tight; /* history is cut all the time, and patterns miss some */
    bool has_holes[CHANNELS]; /* the newest was lost without a word */
    uint64_t seed;
    /* What happened: */
    uint64_t got;
    uint64_t recovered;
    uint64_t too_old;
    uint64_t foreign;
    uint64_t lost;
    uint64_t errors;
} life;

#define JUDGE(cond)                                                          \
    do {                                                                     \
        if (!(cond)) {                                                       \
            fprintf(stderr,                                                  \
                    "seed %llu, %u shards: ", (unsigned long long)life.seed, \
                    life.node.hub.count);                                    \
            assert_true(cond);                                               \
        }                                                                    \
    } while (0)

static uint64_t below(uint64_t n)
{
    return rand_below(&life.rand, n);
}

static char letter_of(unsigned c)
{
    return (char)('a' + c);
}

/* --- the judge ----------------------------------------------------------- */

static uint64_t next_of(const struct view *v, unsigned c)
{
    return fake_bus_next(&life.bus, v->epoch, letter_of(c), v->offset);
}

static void end_told(struct view *v, unsigned c)
{
    uint64_t next = next_of(v, c);
    JUDGE(next == 0 || next > v->told_to);
    v->offset = v->told_to;
}

/* A pattern gets each one once, in order. It misses some where the bus lost
 * them, and where a busy stream was lost while it was behind. */
static bool misses_none(void)
{
    uint64_t lost = 0;
    for (unsigned i = 0; i < life.node.hub.count; i++)
        lost += life.node.hub.shards[i]->stats.history_lost;
    return !life.is_lossy && !life.is_tight && lost == 0;
}

static void judge_publication(struct player *p, const struct fake_line *line)
{
    unsigned c = (unsigned)(line->channel.p[0] - 'a');
    uint64_t offset = strtoull(line->data.p, NULL, 10);
    struct view *v = &p->views[c];
    life.got++;
    if (p->is_pattern) {
        JUDGE(p->is_in && offset > p->newest[c]);
        if (misses_none() && p->newest[c])
            JUDGE(fake_bus_next(&life.bus, life.bus.epoch, letter_of(c),
                                p->newest[c]) == offset);
        p->newest[c] = offset;
        return;
    }
    JUDGE(v->state == LIVE && offset == next_of(v, c));
    v->offset = offset;
    if (v->told_left && --v->told_left == 0)
        end_told(v, c);
}

static void judge_position(struct view *v, unsigned c, struct str said)
{
    uint64_t told = strtoull(said.p, NULL, 10);
    (void)str_cut(&said, '+');
    bool is_recovered = str_eq(said, STR_LIT("recovered"));
    bool is_foreign = str_eq(said, STR_LIT("foreign"));
    JUDGE(v->recovers == (said.n > 0));
    JUDGE(v->recovers ? is_foreign == (v->since_epoch != v->answered_epoch)
                      : true);
    v->state = LIVE;
    v->has_position = true;
    v->epoch = v->answered_epoch;
    v->told_to = told;
    v->told_left = v->answered_told;
    life.recovered += is_recovered;
    life.foreign += is_foreign;
    life.too_old += v->recovers && !is_recovered && !is_foreign;
    JUDGE(is_recovered || v->told_left == 0);
    if (!is_recovered)
        v->offset = told;
    else if (v->told_left == 0)
        end_told(v, c);
}

static void judge_answer(struct player *p, const struct fake_line *line)
{
    struct str said = line->channel;
    if (line->topic.p[0] == '>') {
        p->is_in = true;
        return;
    }
    unsigned c = (unsigned)(line->topic.p[0] - 'a');
    struct view *v = &p->views[c];
    struct str error = str_cut(&said, '@');
    JUDGE(v->state == ASKED);
    if (!str_eq(error, STR_LIT("0"))) {
        JUDGE(str_eq(error, STR_LIT("100")));
        v->state = OUT;
        life.errors++;
        return;
    }
    JUDGE(said.n > 0);
    judge_position(v, c, said);
}

static void judge_loss(struct player *p, const struct fake_line *line)
{
    struct view *v = &p->views[line->topic.p[0] - 'a'];
    JUDGE(v->state == LIVE && v->told_left == 0);
    v->state = OUT;
    life.lost++;
}

static void judge(struct player *p)
{
    struct fake_line line;
    while (p->fake && fake_next(p->fake, &line)) {
        if (line.kind == 'S')
            judge_answer(p, &line);
        else if (line.kind == 'L')
            judge_loss(p, &line);
        else
            judge_publication(p, &line);
    }
}

static void judge_all(void)
{
    for (unsigned i = 0; i < PLAYERS; i++)
        judge(&life.players[i]);
}

/* --- what players do ----------------------------------------------------- */

static void on_answer(struct fake_client *f, struct sub *s, uint32_t error)
{
    struct player *p = f->arg;
    if (error || s->topic->is_pattern)
        return;
    struct view *v = &p->views[topic_name(s->topic).p[0] - 'a'];
    v->answered_epoch = s->epoch;
    v->answered_told = f->told;
}

static void come(struct player *p)
{
    unsigned shard = (unsigned)below(life.node.hub.count);
    p->fake = fake_open(life.node.hub.shards[shard], ENCODING_WS_JSON);
    p->fake->on_answer = on_answer;
    p->fake->arg = p;
    if (p->is_pattern)
        assert_int_equal(fake_subscribe(p->fake, ">"), 0);
}

static void go(struct player *p)
{
    fake_gone(p->fake);
    p->fake = NULL;
    for (unsigned c = 0; c < CHANNELS; c++) {
        struct view *v = &p->views[c];
        v->state = OUT;
        /* In the middle of a list: what it has had of it counts. */
        v->told_left = 0;
    }
}

static void subscribe(struct player *p, unsigned c)
{
    struct view *v = &p->views[c];
    const char name[2] = {letter_of(c), '\0'};
    struct position_wish wish = {.positioned = true};
    v->recovers = v->has_position && below(4) > 0;
    v->since_epoch = v->epoch;
    if (v->recovers) {
        wish.recover = true;
        wish.since = (struct position){v->epoch, v->offset};
    }
    v->state = ASKED;
    assert_int_equal(fake_subscribe_wish(p->fake, name, &keeps8, &wish), 0);
}

static void leave(struct player *p, unsigned c)
{
    const char name[2] = {letter_of(c), '\0'};
    /* What is queued for it would come behind. */
    if (p->fake->client.queue_count)
        return;
    judge(p);
    if (p->views[c].state == OUT)
        return;
    /* It may be lost, and not told so yet. */
    fake_unsubscribe(p->fake, name);
    p->views[c].state = OUT;
}

static void play(void)
{
    struct player *p = &life.players[below(PLAYERS)];
    unsigned c = (unsigned)below(CHANNELS);
    if (!p->fake)
        come(p);
    else if (p->is_pattern)
        return;
    else if (p->views[c].state == OUT)
        subscribe(p, c);
    else if (below(8) == 0)
        go(p);
    else if (below(3) == 0)
        leave(p, c);
}

/* --- what the bus does ---------------------------------------------------- */

static void publish(unsigned count)
{
    unsigned c = (unsigned)below(CHANNELS);
    while (count--)
        (void)fake_bus_publish(&life.bus, letter_of(c));
    life.has_holes[c] = false;
}

/* Only while the stream has it can anybody find out that one never came. */
static void lose(void)
{
    const struct fake_live *l = STAILQ_FIRST(&life.bus.live);
    if (!l || l->is_gap || life.bus.hides_prev)
        return;
    const struct fake_pub *p = &life.bus.all[l->index];
    unsigned c = (unsigned)(p->channel - 'a');
    if (fake_bus_next(&life.bus, p->epoch, p->channel, p->offset) == 0)
        life.has_holes[c] = true;
    if (p->stored)
        fake_bus_lose(&life.bus);
}

static bool any_holes(void)
{
    for (unsigned c = 0; c < CHANNELS; c++) {
        if (life.has_holes[c])
            return true;
    }
    return false;
}

static void wear(void)
{
    unsigned c = (unsigned)below(CHANNELS);
    switch (below(8)) {
    case 0:
        if (life.bus.away)
            fake_bus_mend(&life.bus);
        else
            fake_bus_cut(&life.bus);
        break;
    case 1:
        if (!life.has_holes[c])
            fake_bus_purge(&life.bus, letter_of(c), below(2));
        break;
    case 2:
        if (!any_holes())
            fake_bus_expire(&life.bus, below(life.bus.last + 1));
        break;
    case 3:
        if (below(20) == 0 && !life.players[0].is_pattern) {
            fake_bus_recreate(&life.bus);
            memset(life.has_holes, 0, sizeof(life.has_holes));
        }
        break;
    case 4:
        life.bus.is_vague = below(8) == 0;
        break;
    default:
        lose();
    }
}

static void read_some(void)
{
    size_t n = life.bus.read_count;
    if (n == 0)
        return;
    life.bus.read_error = below(12) == 0 ? 100 : 0;
    if (below(2))
        fake_bus_run(&life.bus, below(n));
    else
        fake_bus_answer(&life.bus, below(n));
    while (life.bus.read_count > READS_ENOUGH)
        fake_bus_answer(&life.bus, 0);
    life.bus.read_error = 0;
}

static void pass(uint64_t ms)
{
    still_pass_ns(ms * MS);
    for (unsigned i = 0; i < life.node.hub.count; i++)
        fake_turn(&life.node, i);
}

static void step(void)
{
    uint64_t dice = below(100);
    if (dice < 38) {
        (void)fake_step(&life.node, &life.rand);
    } else if (dice < 50) {
        publish(1 + (below(20) == 0 ? (unsigned)below(12) : 0));
    } else if (dice < 68) {
        (void)fake_bus_deliver(&life.bus);
    } else if (dice < 74) {
        (void)fake_bus_feed(&life.bus);
    } else if (dice < 84) {
        read_some();
    } else if (dice < 94) {
        play();
    } else if (dice < 97) {
        pass(below(20) ? below(60) : below(30000));
    } else if (life.is_lossy) {
        wear();
    }
    judge_all();
}

/* --- a life ---------------------------------------------------------------- */

static void begin(unsigned shards, uint64_t seed)
{
    memset(&life, 0, sizeof(life));
    life.seed = seed;
    life.is_lossy = seed % 4 != 0;
    life.is_tight = seed % 3 == 0;
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 3,
                            .queue_max_bytes = 1 << 20,
                            .channel_limit = 8,
                            .max_items = 1000,
                            .history_max_bytes = life.is_tight ? 4096 : 8 << 20,
                            .history_idle_ttl_ms = seed % 2 ? 500 : 3600000,
                            .heal_spread_ms = 200,
                            .check_ms = 5000,
                            .recovery_limit = 50,
                            .history_limit = 50};
    rand_init(&life.rand, seed);
    still_at(START_NS);
    fake_node_init(&life.node, shards, &o);
    /* What shards do by chance is the seed's, too. */
    for (unsigned i = 0; i < shards; i++)
        rand_init(&life.node.hub.shards[i]->rand, seed + i);
    fake_bus_init(&life.bus, &life.node, &keeps8);
    life.bus.hides_prev = seed % 5 == 4;
    life.bus.stamps_late = seed % 7 < 3;
    life.players[0].is_pattern = seed % 2 == 0;
}

static void serve(void)
{
    fake_bus_serve(&life.bus);
    for (unsigned i = 0; i < 60; i++) {
        pass(200);
        fake_settle(&life.node);
    }
    fake_bus_serve(&life.bus);
    judge_all();
}

static void judge_end(struct player *p)
{
    for (unsigned c = 0; c < CHANNELS; c++) {
        struct view *v = &p->views[c];
        uint64_t next = fake_bus_next(&life.bus, life.bus.epoch, letter_of(c),
                                      p->newest[c]);
        if (p->is_pattern)
            JUDGE(life.is_lossy || p->newest[c] == 0 || next == 0);
        else
            JUDGE(v->state == LIVE && v->epoch == life.bus.epoch &&
                  next_of(v, c) == 0);
    }
}

/* Nothing is lost any more: everybody comes to have everything. */
static void heal(void)
{
    if (life.bus.away)
        fake_bus_mend(&life.bus);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < PLAYERS; i++) {
            struct player *p = &life.players[i];
            if (!p->fake)
                come(p);
            for (unsigned c = 0; c < CHANNELS && !p->is_pattern; c++) {
                if (p->views[c].state == OUT)
                    subscribe(p, c);
            }
        }
        serve();
    }
    for (unsigned i = 0; i < PLAYERS; i++)
        judge_end(&life.players[i]);
}

static void live(unsigned shards, uint64_t seed, unsigned steps)
{
    begin(shards, seed);
    for (unsigned i = 0; i < steps; i++) {
        step();
        if (i % 64 == 0)
            fake_check(&life.node);
    }
    heal();
    for (unsigned i = 0; i < PLAYERS; i++)
        fake_gone(life.players[i].fake);
    fake_settle(&life.node);
    fake_bus_fini(&life.bus);
    fake_node_fini(&life.node);
    still_at(0);
    JUDGE(life.got > steps / 20);
}

#define STEPS 6000
#define SEEDS 40

static void live_all(unsigned shards)
{
    uint64_t recovered = 0;
    uint64_t too_old = 0;
    uint64_t foreign = 0;
    uint64_t lost = 0;
    uint64_t errors = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        live(shards, seed, STEPS);
        recovered += life.recovered;
        too_old += life.too_old;
        foreign += life.foreign;
        lost += life.lost;
        errors += life.errors;
    }
    /* What is judged has happened. */
    assert_true(recovered > 20 * SEEDS);
    assert_true(too_old > SEEDS && foreign > SEEDS);
    assert_true(lost > SEEDS && errors > SEEDS);
}

static void test_one_shard(void **state)
{
    (void)state;
    live_all(1);
}

static void test_two_shards(void **state)
{
    (void)state;
    live_all(2);
}

static void test_four_shards(void **state)
{
    (void)state;
    live_all(4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_shard),
        cmocka_unit_test(test_two_shards),
        cmocka_unit_test(test_four_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
