#include "tests/model/throttle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/model/throttle_parts.h"

const char *const model_topics[MODEL_TOPICS] = {"a", "b", "c", "d", "*"};

void model_fail(const struct model *m, const char *what, const char *file,
                int line)
{
    const struct model_sub *s = m->judged;
    fprintf(stderr, "the model says no: %s", m->label);
    if (s)
        fprintf(stderr,
                "%s by %s, mode %u rate %u, told %u untold %u, asked %u "
                "old %u live %u owed %u published %u\n",
                s->client->name, model_topics[s->topic], s->grant.mode,
                s->grant.rate, s->told_count, s->untold, s->asked, s->old,
                s->live, s->owed, s->published);
    mem_panic(what, file, line);
}

/* --- the wire ------------------------------------------------------------ */

static void encode(struct buf *to, enum encoding encoding, struct str topic,
                   bool is_pattern, const struct codec_pub *pubs, size_t count)
{
    (void)encoding;
    (void)is_pattern;
    for (size_t i = 0; i < count; i++) {
        buf_char(to, 'P');
        buf_str(to, topic);
        buf_char(to, '|');
        buf_str(to, msg_channel(pubs[i].msg));
        buf_char(to, '|');
        buf_str(to, msg_data(pubs[i].msg));
        if (pubs[i].annotate) {
            buf_lit(to, "|n=");
            buf_u64(to, pubs[i].n);
            buf_lit(to, "|age=");
            buf_u64(to, pubs[i].age_ms);
        }
        if (pubs[i].lost) {
            buf_lit(to, "|lost=");
            buf_u64(to, pubs[i].lost);
        }
        buf_char(to, '\n');
    }
}

uint32_t model_take_number(struct str *s)
{
    uint32_t n = 0;
    while (s->n && *s->p >= '0' && *s->p <= '9') {
        n = n * 10 + (uint32_t)(*s->p - '0');
        *s = str_skip(*s, 1);
    }
    return n;
}

static void print_state(struct buf *to, uint32_t number,
                        const uint32_t fields[MODEL_FIELDS])
{
    buf_u64(to, number);
    buf_char(to, ':');
    for (unsigned i = 0; i < MODEL_FIELDS; i++) {
        if (fields[i] == 0)
            continue;
        buf_char(to, (char)('a' + i));
        buf_u64(to, fields[i]);
        buf_char(to, ';');
    }
}

static int merge(struct buf *to, struct str state, struct str patch,
                 size_t max_bytes)
{
    uint32_t fields[MODEL_FIELDS] = {0};
    (void)max_bytes;
    (void)str_cut(&state, ':');
    while (state.n) {
        unsigned field = (unsigned)(*state.p - 'a');
        CHECK(field < MODEL_FIELDS);
        state = str_skip(state, 1);
        fields[field] = model_take_number(&state);
        state = str_skip(state, 1);
    }
    uint32_t number = model_take_number(&patch);
    char what = patch.p[1];
    bool sets = what >= 'a';
    fields[what - (sets ? 'a' : 'A')] = sets ? number : 0;
    print_state(to, number, fields);
    return 0;
}

const struct codec model_codec = {encode, merge};

/* --- times --------------------------------------------------------------- */

void model_add_time(struct model_times *t, uint64_t at_ns)
{
    t->at_ns[t->count++ % MODEL_TIMES] = at_ns;
}

/* How many after from_ns, of those remembered. */
unsigned model_count_times(const struct model_times *t, uint64_t from_ns)
{
    unsigned n = 0;
    while (n < t->count && n < MODEL_TIMES &&
           t->at_ns[(t->count - 1 - n) % MODEL_TIMES] > from_ns)
        n++;
    return n;
}

/* --- publications -------------------------------------------------------- */

static void trace_policies(const struct model *m)
{
    for (unsigned i = 0; i < m->policy_count; i++) {
        const struct throttle_policy *p = &m->policies[i];
        TRACE(m,
              "policy %u: mode %u rate %u on_full %u buffer %u snapshot %u "
              "bandwidth %u group %u annotate %u\n",
              i, p->mode, p->rate, p->on_full, p->buffer, p->snapshot,
              p->bandwidth, p->order_group, p->annotate);
    }
    for (unsigned i = 0; i < MODEL_TOPICS; i++)
        TRACE(m, "%s: policy %u\n", model_topics[i], m->policy_of[i]);
}

void model_init(struct model *m)
{
    trace_policies(m);
    m->cap = 64;
    m->pubs = mem_zalloc(m->cap * sizeof(*m->pubs));
}

void model_fini(struct model *m)
{
    free(m->pubs);
    m->pubs = NULL;
}

static struct model_pub *add_pub(struct model *m)
{
    if (++m->count == m->cap) {
        m->cap *= 2;
        m->pubs = mem_realloc(m->pubs, m->cap * sizeof(*m->pubs));
    }
    memset(&m->pubs[m->count], 0, sizeof(*m->pubs));
    return &m->pubs[m->count];
}

bool model_covers(const struct model_sub *s, unsigned channel)
{
    return s->topic == MODEL_PATTERN || s->topic == channel;
}

bool model_same_group(const struct model_sub *a, const struct model_sub *b)
{
    return a == b || (a->policy->order_group &&
                      a->policy->order_group == b->policy->order_group);
}

bool model_may_lose(const struct model_sub *s)
{
    return s->grant.mode == THROTTLE_ALL &&
           s->policy->on_full == THROTTLE_DROP_OLDEST;
}

static void link_pub(struct model *m, struct model_pub *p)
{
    uint32_t number = m->count;
    uint32_t *newest = &m->newest[p->channel][p->item];
    p->item_before = *newest;
    p->channel_before = m->newest_of_channel[p->channel];
    p->urgent_before = m->urgent_of_channel[p->channel];
    p->nth_of_item = m->pubs[*newest].nth_of_item + 1;
    p->nth_of_channel = m->pubs[p->channel_before].nth_of_channel + 1;
    if (*newest)
        m->pubs[*newest].item_after = number;
    *newest = number;
    m->newest_of_channel[p->channel] = number;
    if (p->urgent)
        m->urgent_of_channel[p->channel] = number;
}

static void write_data(struct model *m, struct model_pub *p, unsigned field,
                       struct buf *data)
{
    struct buf text = BUF_INIT;
    uint32_t *fields = m->fields[p->channel][p->item];
    buf_clear(data);
    if (m->policies[m->policy_of[p->channel]].mode == THROTTLE_MERGE) {
        bool sets = field < MODEL_FIELDS;
        fields[field % MODEL_FIELDS] = sets ? m->count : 0;
        print_state(&text, m->count, fields);
        buf_printf(data, "%u:%c", m->count,
                   (sets ? 'a' : 'A') + (int)(field % MODEL_FIELDS));
        p->padding = 0;
    } else {
        buf_printf(&text, "%u:", m->count);
        buf_str(data, buf_view(&text));
        for (unsigned i = 0; i < p->padding; i++)
            buf_char(data, '-');
    }
    CHECK(text.n < sizeof(p->text));
    memcpy(p->text, text.p, text.n);
    buf_char(data, '\0');
    buf_free(&text);
}

/* Was the last one of the item that its class has sent long ago, and does it
 * know that one? (Then, or when there is no other, the class sends this one
 * at once.) */
static bool is_quiet(const struct model *m, const struct model_sub *s,
                     const struct model_view *v, const struct model_pub *p)
{
    uint64_t rest = throttle_interval_ns(s->grant.rate) + MODEL_SLACK_NS;
    if (!m->is_prompt || s->client->was_choked || s->policy->bandwidth)
        return false;
    if (p->urgent || p->nth_of_item == 1)
        return true;
    return v->by_lane && v->got == p->item_before && !s->flushed &&
           !s->retuned && p->at_ns - v->got_ns >= rest;
}

/* Everybody who will get it is owed it from now on. */
static void owe_pub(struct model *m, struct model_sub *s,
                    const struct model_pub *p)
{
    struct model_view *v = &s->views[p->channel][p->item];
    if (!s->answered || s->ended || !model_covers(s, p->channel))
        return;
    if (!v->owed_ns)
        v->at_once = is_quiet(m, s, v, p);
    if (!v->owed_ns)
        v->owed_ns = p->at_ns;
}

/* What waits for the group goes before it. */
static void kick_group(struct model_client *c, struct model_sub *by,
                       uint64_t now_ns)
{
    struct model_sub *s;
    c->urgent++;
    for (s = c->subs; s; s = s->next) {
        if (s->ended || !model_same_group(s, by))
            continue;
        model_add_time(&s->kicks, now_ns);
        /* And itself, and what has come behind it meanwhile. */
        for (unsigned i = 0; s == by && i < 2; i++)
            model_add_time(&s->kicks, now_ns);
        s->flushed = true;
    }
}

static void tell_clients(struct model *m, const struct model_pub *p)
{
    struct model_client *c;
    struct model_sub *s;
    LIST_FOREACH(c, &m->clients, link) {
        for (s = c->subs; s; s = s->next) {
            owe_pub(m, s, p);
            if (p->urgent && !s->ended && model_covers(s, p->channel))
                kick_group(c, s, p->at_ns);
        }
    }
}

void model_publish(struct model *m, unsigned channel, unsigned item,
                   bool urgent, unsigned field, unsigned padding,
                   uint64_t now_ns, struct buf *data)
{
    struct model_pub *p = add_pub(m);
    p->at_ns = now_ns;
    p->channel = (uint8_t)channel;
    p->item = (uint8_t)item;
    p->urgent = urgent;
    p->padding = (uint16_t)padding;
    link_pub(m, p);
    write_data(m, p, field, data);
    tell_clients(m, p);
    TRACE(m, "%" PRIu64 " publish %s item %u%s: %s +%u\n", now_ns / 1000000,
          model_topics[channel], item, urgent ? " urgent" : "", p->text,
          p->padding);
}

/* --- clients ------------------------------------------------------------- */

void model_client_init(struct model *m, struct model_client *c,
                       const char *name)
{
    memset(c, 0, sizeof(*c));
    c->name = name;
    LIST_INSERT_HEAD(&m->clients, c, link);
}

static void free_sub(struct model_sub *s)
{
    for (unsigned i = 0; i < MODEL_CHANNELS; i++) {
        for (unsigned j = 0; j < MODEL_ITEMS; j++)
            free(s->views[i][j].times);
    }
    free(s);
}

void model_client_fini(struct model_client *c)
{
    LIST_REMOVE(c, link);
    while (c->subs) {
        struct model_sub *s = c->subs;
        c->subs = s->next;
        free_sub(s);
    }
}

/* Something urgent that comes by a new subscription may flush all. */
static void note_under_way(struct model *m, struct model_client *c)
{
    struct model_sub *s;
    for (s = c->subs; s; s = s->next) {
        s->flushed |= !m->is_prompt || m->count > m->settled;
        for (uint32_t i = m->settled + 1; i <= m->count; i++)
            model_add_time(&s->kicks, m->pubs[i].at_ns);
    }
}

struct model_sub *model_ask(struct model *m, struct model_client *c,
                            unsigned topic, struct throttle_grant grant,
                            uint32_t settled)
{
    struct model_sub *s = mem_zalloc(sizeof(*s));
    struct model_sub **to = &c->subs;
    while (*to)
        to = &(*to)->next;
    *to = s;
    s->client = c;
    s->topic = topic;
    s->policy = &m->policies[m->policy_of[topic]];
    s->grant = grant;
    s->asked = settled;
    note_under_way(m, c);
    TRACE(m, "%s asks for %s: mode %u rate %u of policy %u\n", c->name,
          model_topics[topic], grant.mode, grant.rate, m->policy_of[topic]);
    return s;
}

struct model_sub *model_open_sub(const struct model_client *c, unsigned topic)
{
    struct model_sub *s;
    for (s = c->subs; s; s = s->next) {
        if (s->topic == topic && !s->ended)
            return s;
    }
    return NULL;
}

void model_answered(struct model *m, struct model_client *c, unsigned topic,
                    uint32_t told, uint32_t untold, uint64_t now_ns)
{
    struct model_sub *s = model_open_sub(c, topic);
    CHECK(s && !s->answered);
    s->answered = true;
    s->published = m->count;
    s->old = s->asked;
    s->live = m->count;
    s->owed = m->count;
    s->told_left = told;
    s->untold = untold;
    s->since_ns = now_ns;
    for (uint32_t i = 0; i < 1 + untold; i++)
        model_add_time(&s->kicks, now_ns);
    TRACE(m, "%" PRIu64 " %s answered %s told %u untold %u\n", now_ns / 1000000,
          c->name, model_topics[topic], told, untold);
}

void model_retuned(struct model *m, struct model_sub *s,
                   struct throttle_grant grant, uint64_t now_ns)
{
    if (s->grant.mode == grant.mode && s->grant.rate == grant.rate)
        return;
    /* What its ring has lost does not come any more. */
    s->was_ring |= model_may_lose(s);
    if (model_may_lose(s))
        s->owed = m->count;
    s->retuned_at = m->count;
    s->grant = grant;
    s->retuned = true;
    s->since_ns = now_ns;
    model_add_time(&s->kicks, now_ns);
    for (unsigned i = 0; i < MODEL_CHANNELS; i++) {
        for (unsigned j = 0; j < MODEL_ITEMS; j++) {
            struct model_view *v = &s->views[i][j];
            free(v->times);
            v->times = NULL;
            v->by_lane = false;
            if (s->owed == m->count)
                v->owed_ns = 0;
        }
    }
    TRACE(m, "%" PRIu64 " %s %s retuned to %u %u\n", now_ns / 1000000,
          s->client->name, model_topics[s->topic], grant.mode, grant.rate);
}

void model_ended(struct model_sub *s)
{
    s->ended = true;
}

void model_choked(struct model_client *c)
{
    c->choked = true;
    c->was_choked = true;
}

void model_kicked(struct model_client *c, uint64_t now_ns)
{
    struct model_sub *s;
    c->was_choked = true;
    for (s = c->subs; s; s = s->next)
        model_add_time(&s->kicks, now_ns);
    for (unsigned i = 0; i < MODEL_POLICIES; i++)
        c->buckets[i].over_ns = 0;
}

void model_free(struct model_client *c, uint64_t now_ns)
{
    model_kicked(c, now_ns);
    c->choked = false;
    c->free_ns = now_ns;
}

uint64_t model_longest_ns(const struct model_client *c)
{
    const struct model_sub *s;
    uint64_t longest = 0;
    for (s = c->subs; s; s = s->next) {
        uint64_t wait = s->ended ? 0 : throttle_interval_ns(s->grant.rate);
        longest = wait > longest ? wait : longest;
    }
    return longest;
}
