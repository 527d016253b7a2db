#include "tests/kit/sim.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "hub/channel.h"

#define CLIENTS 14
#define NEVER UINT32_MAX

static const char *const topics[] = {
    "a",      "b", "a.b", "a.c",  "ns:a", "ns:b",   "ns:a.b",
    "ns:a.c", /* channels */
    ">",      "*", "a.*", "ns:>", "ns:*", "ns:a.*", "ns:*.b",
};
#define CHANNELS 8
#define TOPICS ARRAY_LEN(topics)

/* One subscription from the question to the end, in publication numbers. */
struct interval {
    unsigned client; /* unique over the whole run */
    unsigned topic;
    bool at_home; /* its shard is the channel's home */
    bool several;
    uint32_t asked_at;
    uint32_t answered_at; /* NEVER: not answered */
    uint32_t ended_at;    /* NEVER: it lasted */
    bool complete;        /* when it ended nothing was under way */
    uint32_t *got;        /* owned: numbers of publications, as they came */
    uint32_t got_count;
    uint32_t got_cap;
};

struct player {
    struct fake_client *fake; /* NULL: the place is free */
    unsigned client;
    bool is_witness;
    int first;        /* its first interval, or -1 */
    int open[TOPICS]; /* its interval that lasts, or -1 */
    int wire[TOPICS]; /* the one whose publications are read, or -1 */
};

struct sim {
    struct sim_options o;
    struct sim_result result;
    struct rand rand;
    struct fake_node node;
    struct player players[CLIENTS + CHANNELS];
    unsigned next_client;
    struct interval *intervals; /* owned */
    int interval_count;
    int interval_cap;
    uint8_t *channel_of;       /* owned: of each publication */
    uint8_t *from_of;          /* owned: the shard that published it */
    uint32_t *order[CHANNELS]; /* owned: publication numbers */
    uint32_t order_count[CHANNELS];
    uint32_t *position; /* owned: of each publication in its order */
};

static bool dice(struct sim *s, unsigned one_in)
{
    return rand_below(&s->rand, one_in) == 0;
}

static unsigned find_topic(struct str name)
{
    for (unsigned i = 0; i < TOPICS; i++) {
        if (str_eq(str_of(topics[i]), name))
            return i;
    }
    CHECK(!"a topic of the simulation");
    return 0;
}

static bool covers(unsigned topic, unsigned channel)
{
    return channel_matches(str_of(topics[topic]), str_of(topics[channel]));
}

static void add_interval(struct sim *s, struct player *p, unsigned topic)
{
    if (s->interval_count == s->interval_cap) {
        s->interval_cap = s->interval_cap ? s->interval_cap * 2 : 256;
        s->intervals = mem_realloc(s->intervals, (size_t)s->interval_cap *
                                                     sizeof(*s->intervals));
    }
    const struct shard *home =
        home_of(&s->node.hub, msg_channel_hash(str_of(topics[topic])));
    struct interval *v = &s->intervals[s->interval_count];
    *v = (struct interval){.client = p->client,
                           .topic = topic,
                           .at_home = home == p->fake->client.shard,
                           .several = p->fake->client.several,
                           .asked_at = s->result.publications,
                           .answered_at = NEVER,
                           .ended_at = NEVER};
    p->open[topic] = s->interval_count++;
    p->first = p->first < 0 ? p->open[topic] : p->first;
}

static void end_interval(struct sim *s, struct player *p, unsigned topic)
{
    if (p->open[topic] < 0)
        return;
    struct interval *v = &s->intervals[p->open[topic]];
    v->ended_at = s->result.publications;
    v->complete = fake_is_idle(&s->node) && !p->fake->client.choked;
    p->open[topic] = -1;
}

static void end_all(struct sim *s, struct player *p)
{
    for (unsigned i = 0; i < TOPICS; i++)
        end_interval(s, p, i);
}

/* --- what the clients see ---------------------------------------------------- */

static struct sim *current; /* for the callback of the clients */

static void on_answer(struct fake_client *f, struct sub *sub, uint32_t error)
{
    struct sim *s = current;
    struct player *p = f->arg;
    unsigned topic = find_topic(topic_name(sub->topic));
    CHECK(error == 0);
    if (f->next_write == WRITE_DEAD)
        return; /* Its account is closed already. */
    CHECK(p->open[topic] >= 0);
    struct interval *v = &s->intervals[p->open[topic]];
    CHECK(v->answered_at == NEVER);
    v->answered_at = s->result.publications;
    s->result.answers++;
    if (p->is_witness || f->client.several)
        return;
    if (dice(s, 60)) {
        end_interval(s, p, topic);
        hub_unsubscribe(&f->client, sub);
    } else if (dice(s, 60)) {
        end_all(s, p);
        client_close(&f->client, 3000, STR_LIT("changed its mind"));
    }
}

static void note_answer(struct sim *s, struct player *p, unsigned topic)
{
    int i = p->wire[topic] + 1;
    while (i < s->interval_count && (s->intervals[i].client != p->client ||
                                     s->intervals[i].topic != topic ||
                                     s->intervals[i].answered_at == NEVER))
        i++;
    CHECK(i < s->interval_count);
    p->wire[topic] = i;
}

static void note_publication(struct sim *s, struct player *p,
                             const struct fake_line *line)
{
    unsigned topic = find_topic(line->topic);
    uint32_t number = (uint32_t)strtoul(line->data.p, NULL, 10);
    CHECK(number < s->result.publications);
    CHECK(s->channel_of[number] == find_topic(line->channel));
    CHECK(covers(topic, s->channel_of[number]));
    CHECK(p->wire[topic] >= 0); /* The reply precedes every publication. */
    bool together = p->fake->client.several;
    struct interval *v = &s->intervals[together ? p->first : p->wire[topic]];
    if (v->got_count == v->got_cap) {
        v->got_cap = v->got_cap ? v->got_cap * 2 : 4;
        v->got = mem_realloc(v->got, v->got_cap * sizeof(*v->got));
    }
    v->got[v->got_count++] = number;
    s->result.received++;
}

static void read_wire(struct sim *s, struct player *p)
{
    struct fake_line line;
    while (fake_next(p->fake, &line)) {
        if (line.kind == 'S')
            note_answer(s, p, find_topic(line.topic));
        else
            note_publication(s, p, &line);
    }
    buf_clear(&p->fake->wire);
    p->fake->read_bytes = 0;
}

/* --- what the clients do ------------------------------------------------------ */

static struct shard *random_shard(struct sim *s)
{
    return s->node.hub.shards[rand_below(&s->rand, s->node.hub.count)];
}

static void enter(struct sim *s, struct player *p)
{
    p->fake =
        fake_open(random_shard(s), (enum encoding)rand_below(&s->rand, 4));
    p->fake->on_answer = on_answer;
    p->fake->arg = p;
    p->client = s->next_client++;
    p->first = -1;
    for (unsigned i = 0; i < TOPICS; i++) {
        p->open[i] = -1;
        p->wire[i] = -1;
    }
    p->fake->client.several = !p->is_witness && s->o.several && dice(s, 2);
}

static void leave(struct sim *s, struct player *p)
{
    read_wire(s, p);
    end_all(s, p);
    fake_gone(p->fake);
    p->fake = NULL;
    s->result.closes++;
}

static void subscribe(struct sim *s, struct player *p, unsigned topic)
{
    if (p->open[topic] >= 0) {
        CHECK(fake_subscribe(p->fake, topics[topic]) == ERR_EXISTS);
        return;
    }
    add_interval(s, p, topic);
    s->result.subscriptions++;
    CHECK(fake_subscribe(p->fake, topics[topic]) == 0);
}

static void unsubscribe(struct sim *s, struct player *p, unsigned topic)
{
    if (p->open[topic] < 0 || p->fake->client.several)
        return;
    read_wire(s, p);
    end_interval(s, p, topic);
    fake_unsubscribe(p->fake, topics[topic]);
}

static void publish(struct sim *s)
{
    unsigned channel = (unsigned)rand_below(&s->rand, CHANNELS);
    unsigned number = s->result.publications;
    struct shard *from = random_shard(s);
    char data[16];
    if (!s->o.witnesses)
        from = s->node.hub.shards[channel % s->node.hub.count];
    snprintf(data, sizeof(data), "%u", number);
    if (!fake_publish(from, topics[channel], data)) {
        s->result.refused++;
        return;
    }
    s->channel_of[number] = (uint8_t)channel;
    s->from_of[number] = (uint8_t)from->index;
    s->result.publications++;
}

static void say_goodbye(struct sim *s, struct player *p)
{
    read_wire(s, p);
    end_all(s, p);
    if (dice(s, 2))
        client_close(&p->fake->client, 3000, STR_LIT("bye"));
    else
        leave(s, p);
}

static void choke(struct sim *s, struct player *p)
{
    struct fake_client *f = p->fake;
    f->next_write = f->next_write == WRITE_DONE ? WRITE_CHOKED : WRITE_DONE;
    if (!dice(s, 30))
        return;
    f->next_write = WRITE_DEAD;
    end_all(s, p);
}

static void act(struct sim *s, struct player *p)
{
    unsigned topic = (unsigned)rand_below(&s->rand, TOPICS);
    if (!p->fake) {
        enter(s, p);
        return;
    }
    if (p->fake->client.closing || p->fake->client.closed ||
        p->fake->next_write == WRITE_DEAD) {
        if (p->fake->closes || p->fake->client.choked || dice(s, 3))
            leave(s, p);
        return;
    }
    switch (rand_below(&s->rand, 16)) {
    case 0:
        say_goodbye(s, p);
        break;
    case 1:
        choke(s, p);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        unsubscribe(s, p, topic);
        break;
    default:
        subscribe(s, p, topic);
        break;
    }
}

static void unchoke(struct player *p)
{
    if (!p->fake || !p->fake->client.choked)
        return;
    if (p->fake->next_write == WRITE_CHOKED)
        p->fake->next_write = WRITE_DONE;
    client_writable(&p->fake->client);
}

static struct player *random_player(struct sim *s)
{
    return &s->players[rand_below(&s->rand, CLIENTS)];
}

static void turn(struct sim *s)
{
    fake_step(&s->node, &s->rand);
    for (size_t i = 0; i < ARRAY_LEN(s->players); i++) {
        if (s->players[i].fake)
            read_wire(s, &s->players[i]);
    }
}

static void step(struct sim *s)
{
    switch (rand_below(&s->rand, 16)) {
    case 0:
    case 1:
        act(s, random_player(s));
        break;
    case 2:
        unchoke(random_player(s));
        break;
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
        publish(s);
        break;
    case 8:
        if (dice(s, 8)) {
            fake_settle(&s->node);
            turn(s);
        }
        break;
    default:
        turn(s);
        break;
    }
    fake_check(&s->node);
}

/* --- the judgement ------------------------------------------------------------ */

static void note_order(struct sim *s, unsigned channel, const uint32_t *numbers,
                       uint32_t n)
{
    int64_t last[HOME_MAX_SHARDS];
    memset(last, 0xff, sizeof(last));
    for (uint32_t i = 0; i < n; i++) {
        unsigned from = s->from_of[numbers[i]];
        CHECK(s->channel_of[numbers[i]] == channel);
        CHECK(last[from] < numbers[i]); /* each publisher's order is kept */
        last[from] = numbers[i];
        CHECK(s->position[numbers[i]] == NEVER); /* none twice */
        s->position[numbers[i]] = i;
    }
    s->order[channel] = mem_alloc((n + 1) * sizeof(uint32_t));
    if (n)
        memcpy(s->order[channel], numbers, n * sizeof(uint32_t));
    s->order_count[channel] = n;
}

/* The order is what the witness saw, or that of publishing. */
static void find_order(struct sim *s, unsigned channel)
{
    uint32_t *numbers =
        mem_alloc((s->result.publications + 1) * sizeof(uint32_t));
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->result.publications; i++) {
        if (s->channel_of[i] == channel)
            numbers[n++] = i;
    }
    if (s->o.witnesses) {
        const struct player *p = &s->players[CLIENTS + channel];
        const struct interval *v = &s->intervals[p->wire[channel]];
        CHECK(v->got_count == n); /* and note_order: each once */
        note_order(s, channel, v->got, n);
    } else {
        note_order(s, channel, numbers, n);
    }
    free(numbers);
}

/* What came of one channel, given as positions in its order. */
struct run {
    uint32_t first; /* NEVER: nothing came */
    uint32_t next;
};

static void extend(struct sim *s, struct run *r, uint32_t number)
{
    uint32_t at = s->position[number];
    CHECK(at != NEVER);
    if (r->first == NEVER)
        r->first = at;
    else
        CHECK(at == r->next); /* no gap, none twice, in order */
    r->next = at + 1;
}

/* Publications from `from` on and before `until` are owed. */
static void judge(struct sim *s, unsigned channel, const struct run *r,
                  uint32_t from, uint32_t until, bool to_the_end)
{
    for (uint32_t i = 0; i < s->order_count[channel]; i++) {
        uint32_t number = s->order[channel][i];
        bool came = r->first != NEVER && i >= r->first && i < r->next;
        if (came || number < from || number >= until)
            continue;
        /* It did not come though it was owed: only what was still under way
         * when the subscription ended may be missing, and that is last. */
        CHECK(!to_the_end);
        CHECK(r->first == NEVER || i >= r->next);
    }
}

static void judge_interval(struct sim *s, const struct interval *v,
                           unsigned channel)
{
    struct run r = {NEVER, 0};
    for (uint32_t i = 0; i < v->got_count; i++) {
        uint32_t number = v->got[i];
        if (s->channel_of[number] != channel)
            continue;
        extend(s, &r, number);
        /* Nothing from before: with one shard not from before the answer. */
        CHECK(s->node.hub.count > 1 || number >= v->answered_at);
        CHECK(v->topic >= CHANNELS || v->at_home || number >= v->asked_at);
    }
    if (v->answered_at == NEVER)
        CHECK(r.first == NEVER);
    else
        judge(s, channel, &r, v->answered_at, v->ended_at,
              v->ended_at == NEVER || v->complete);
}

/* A client that wants each publication once: what came by all its
 * subscriptions stands, in order, in its first interval. */
static void judge_several(struct sim *s, int first, unsigned channel)
{
    const struct interval *v = &s->intervals[first];
    uint32_t from = NEVER;
    struct run r = {NEVER, 0};
    for (int i = first; i < s->interval_count; i++) {
        const struct interval *w = &s->intervals[i];
        if (w->client == v->client && covers(w->topic, channel) &&
            w->answered_at < from)
            from = w->answered_at;
    }
    for (uint32_t i = 0; i < v->got_count; i++) {
        if (s->channel_of[v->got[i]] == channel)
            extend(s, &r, v->got[i]);
    }
    judge(s, channel, &r, from, v->ended_at,
          v->ended_at == NEVER || v->complete);
}

static bool is_first_of_client(const struct sim *s, int at)
{
    for (int i = 0; i < at; i++) {
        if (s->intervals[i].client == s->intervals[at].client)
            return false;
    }
    return true;
}

static void judge_all(struct sim *s)
{
    memset(s->position, 0xff, s->o.steps * sizeof(*s->position));
    for (unsigned c = 0; c < CHANNELS; c++)
        find_order(s, c);
    for (int i = 0; i < s->interval_count; i++) {
        const struct interval *v = &s->intervals[i];
        bool together = v->several && is_first_of_client(s, i);
        for (unsigned c = 0; c < CHANNELS; c++) {
            if (together)
                judge_several(s, i, c);
            else if (!v->several && covers(v->topic, c))
                judge_interval(s, v, c);
        }
    }
}

/* --- the whole ----------------------------------------------------------------- */

static void begin(struct sim *s, const struct sim_options *o)
{
    struct hub_options hub = {
        .inflight_bytes = o->inflight_bytes ? o->inflight_bytes : 64 << 20,
        .slice = 3,
        .queue_max_bytes = 1 << 20,
        .channel_limit = TOPICS};
    *s = (struct sim){.o = *o};
    rand_init(&s->rand, o->seed);
    fake_node_init(&s->node, o->shards, &hub);
    s->channel_of = mem_zalloc(o->steps);
    s->from_of = mem_zalloc(o->steps);
    s->position = mem_alloc(o->steps * sizeof(*s->position));
    for (unsigned i = 0; o->witnesses && i < CHANNELS; i++) {
        struct player *p = &s->players[CLIENTS + i];
        p->is_witness = true;
        enter(s, p);
        subscribe(s, p, i);
    }
    fake_settle(&s->node);
}

/* Everybody can take everything; nothing is left under way. */
static void settle(struct sim *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->players); i++) {
        struct player *p = &s->players[i];
        if (p->fake && p->fake->next_write == WRITE_CHOKED)
            p->fake->next_write = WRITE_DONE;
        unchoke(p);
    }
    fake_settle(&s->node);
    turn(s);
}

static void end(struct sim *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->players); i++) {
        if (s->players[i].fake)
            fake_gone(s->players[i].fake);
    }
    fake_settle(&s->node);
    fake_node_fini(&s->node);
    for (int i = 0; i < s->interval_count; i++)
        free(s->intervals[i].got);
    for (unsigned i = 0; i < CHANNELS; i++)
        free(s->order[i]);
    free(s->intervals);
    free(s->channel_of);
    free(s->from_of);
    free(s->position);
}

struct sim_result sim_run(const struct sim_options *o)
{
    struct sim *s = mem_alloc(sizeof(*s));
    current = s;
    begin(s, o);
    for (unsigned i = 0; i < o->steps; i++)
        step(s);
    settle(s);
    judge_all(s);
    end(s);
    struct sim_result result = s->result;
    free(s);
    return result;
}
