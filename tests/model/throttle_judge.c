/* What came over the wires, line by line, and what did not come. */
#include "tests/model/throttle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/model/throttle_parts.h"

#define SECOND_NS UINT64_C(1000000000)

/* --- one delivery -------------------------------------------------------- */

struct line {
    unsigned topic;
    uint32_t number;
    uint32_t n; /* 0: not told */
    uint32_t age_ms;
    uint32_t lost;
    uint32_t bytes;
};

static unsigned topic_of(struct str name)
{
    for (unsigned i = 0; i < MODEL_TOPICS; i++) {
        if (str_eq(name, str_of(model_topics[i])))
            return i;
    }
    CHECK(!"a topic of the model");
    return 0;
}

static uint32_t tag_of(struct str *rest, struct str name)
{
    if (!str_starts(*rest, name))
        return 0;
    *rest = str_skip(*rest, name.n);
    return model_take_number(rest);
}

/* Its text must be the published one, to the byte. */
static void parse_line(struct model *m, struct str text, struct line *out)
{
    struct str rest = str_skip(text, 1);
    *out = (struct line){.bytes = (uint32_t)text.n + 1};
    out->topic = topic_of(str_cut(&rest, '|'));
    unsigned channel = topic_of(str_cut(&rest, '|'));
    struct str number = rest;
    out->number = model_take_number(&number);
    JUDGE(m, out->number && out->number <= m->count);
    const struct model_pub *p = &m->pubs[out->number];
    JUDGE(m, p->channel == channel);
    JUDGE(m, str_starts(rest, str_of(p->text)));
    rest = str_skip(rest, strlen(p->text));
    for (unsigned i = 0; i < p->padding; i++) {
        JUDGE(m, rest.n && *rest.p == '-');
        rest = str_skip(rest, 1);
    }
    bool annotated = str_starts(rest, STR_LIT("|n="));
    out->n = tag_of(&rest, STR_LIT("|n="));
    JUDGE(m, !annotated || out->n);
    out->age_ms = tag_of(&rest, STR_LIT("|age="));
    bool tells_loss = str_starts(rest, STR_LIT("|lost="));
    out->lost = tag_of(&rest, STR_LIT("|lost="));
    JUDGE(m, !tells_loss || out->lost);
    JUDGE(m, rest.n == 0);
}

static void judge_rate(struct model *m, struct model_sub *s,
                       struct model_view *v, uint32_t number, uint64_t now_ns)
{
    uint64_t window = throttle_interval_ns(s->grant.rate);
    if (window == 0 || s->ended)
        return;
    /* It was in the queue when the rate changed. */
    if (number <= s->retuned_at && s->client->was_choked)
        return;
    if (window < SECOND_NS)
        window = SECOND_NS;
    if (!v->times)
        v->times = mem_zalloc(sizeof(*v->times));
    model_add_time(v->times, now_ns);
    if (!m->is_prompt)
        return;
    unsigned max = (unsigned)(s->grant.rate * window / 1000 / SECOND_NS) + 1;
    unsigned n = model_count_times(v->times, now_ns - window);
    if (n <= max)
        return;
    max += model_count_times(&s->kicks, now_ns - window - 1);
    /* A late value, then those in time. */
    if (s->client->was_choked || s->policy->bandwidth)
        max += 1 + (s->client->was_choked ? 3 * s->client->urgent : 0);
    if (n > max)
        fprintf(stderr, "%u deliveries, at most %u\n", n, max);
    JUDGE(m, n <= max);
}

/* How many updates it stands for: no fewer than the client saw of them. */
static void judge_marks(struct model *m, const struct model_sub *s,
                        const struct model_view *v, const struct line *l,
                        uint64_t now_ns)
{
    const struct model_pub *p = &m->pubs[l->number];
    JUDGE(m, (l->n != 0) == s->policy->annotate || s->retuned ||
                 s->grant.mode == THROTTLE_ALL);
    if (l->n == 0)
        return;
    JUDGE(m, l->age_ms <= (now_ns - p->at_ns) / 1000000);
    if (l->number <= s->live)
        return; /* of a snapshot, where one may stand for another */
    if (s->grant.mode == THROTTLE_ALL || p->urgent) {
        JUDGE(m, l->n == 1 || (s->retuned && !p->urgent));
        return;
    }
    uint32_t own = p->nth_of_item - m->pubs[v->got].nth_of_item;
    if (l->n > p->nth_of_item || (v->by_lane && l->n != own))
        TRACE(m, "item's publication %u, stands for %u, own are %u after %u\n",
              p->nth_of_item, l->n, own, v->got);
    bool late = s->client->was_choked || s->policy->bandwidth;
    JUDGE(m, late || l->n <= p->nth_of_item);
    if (v->by_lane && !s->was_ring)
        JUDGE(m, l->n >= own);
    if (v->by_lane && !late && !s->retuned && !s->flushed)
        JUDGE(m, l->n == own);
}

static uint32_t before(const struct model *m, unsigned channel, uint32_t number)
{
    uint32_t n = m->newest_of_channel[channel];
    while (n > number)
        n = m->pubs[n].channel_before;
    return n;
}

/* Each is delivered, or told as lost where it is missing. */
static void judge_loss(struct model *m, struct model_sub *s,
                       const struct line *l)
{
    const struct model_pub *p = &m->pubs[l->number];
    uint32_t last = s->channel_got[p->channel];
    m->lost += l->lost;
    s->lost += l->lost;
    s->delivered++;
    if (s->untold && l->number <= s->live)
        s->delivered--; /* of the snapshot */
    if (s->topic == MODEL_PATTERN || s->retuned || s->is_vague ||
        (s->untold && l->number <= s->live))
        return;
    uint32_t low = last;
    uint32_t high = last;
    if (last <= s->live) { /* the first one */
        low = before(m, p->channel, s->untold ? s->live : s->old);
        high = before(m, p->channel, s->live);
    }
    uint32_t from = p->nth_of_channel - l->lost;
    if (from <= m->pubs[low].nth_of_channel ||
        from > m->pubs[high].nth_of_channel + 1)
        fprintf(stderr, "lost %u before %u, after %u\n", l->lost, l->number,
                low);
    JUDGE(m, from > m->pubs[low].nth_of_channel);
    JUDGE(m, from <= m->pubs[high].nth_of_channel + 1);
}

/* Everything of a group mate that was published before, or newer. */
static void judge_flushed(struct model *m, const struct model_sub *o,
                          unsigned channel, uint32_t number)
{
    uint32_t newest = before(m, channel, number - 1);
    if (model_may_lose(o)) {
        JUDGE(m, newest <= o->live || o->topic == MODEL_PATTERN ||
                     o->channel_got[channel] >= newest);
        return;
    }
    for (unsigned i = 0; i < MODEL_ITEMS; i++) {
        uint32_t n = m->newest[channel][i];
        while (n >= number)
            n = m->pubs[n].item_before;
        if (n <= o->live || (o->was_ring && n <= o->owed) ||
            o->views[channel][i].got >= n)
            continue;
        /* Who is late is given what is newest: that comes behind. */
        bool late = o->client->was_choked || o->policy->bandwidth;
        if (!late || m->newest[channel][i] < number)
            fprintf(stderr, "%u by %s (mode %u rate %u) was overtaken by %u\n",
                    n, model_topics[o->topic], o->grant.mode, o->grant.rate,
                    number);
        JUDGE(m, late && m->newest[channel][i] >= number);
    }
}

static void judge_urgent(struct model *m, struct model_sub *s,
                         const struct model_pub *p, uint32_t number)
{
    struct model_sub *o;
    uint32_t last = p->urgent_before;
    JUDGE(m, last <= s->live || s->urgent_got[p->channel] >= last);
    s->urgent_got[p->channel] = number;
    m->flushed++;
    for (o = s->client->subs; o; o = o->next) {
        if (o->ended || !o->begun || o->told_left || !model_same_group(o, s))
            continue;
        for (unsigned c = 0; c < MODEL_CHANNELS; c++) {
            if (model_covers(o, c) && m->home_of[c] == m->home_of[p->channel])
                judge_flushed(m, o, c, number);
        }
    }
}

static void judge_bytes(struct model *m, struct model_sub *s,
                        const struct line *l, uint64_t now_ns)
{
    uint32_t rate = s->policy->bandwidth;
    struct model_bucket *b = &s->client->buckets[m->policy_of[s->topic]];
    if (rate == 0 || (s->grant.mode == THROTTLE_ALL &&
                      s->policy->on_full == THROTTLE_DISCONNECT))
        return;
    b->level -= (double)rate * (double)(now_ns - b->at_ns) / 1e9;
    b->level = b->level < 0 ? 0 : b->level;
    b->at_ns = now_ns;
    TRACE(m, "%s: %.0f bytes of %u in the bucket, %u more\n", s->client->name,
          b->level, rate / 4 + 1, l->bytes);
    /* Written late, but counted when it was chosen. */
    if (s->client->free_ns == now_ns || s->client->choked)
        return;
    /* With an urgent one goes what is on its way; rings do not take what a
     * snapshot has, nor what another class had. */
    bool may_be = s->client->flushed_ns == now_ns || !m->is_prompt ||
                  m->pubs[l->number].urgent ||
                  (s->grant.mode == THROTTLE_ALL &&
                   (l->number <= s->live || l->number <= s->retuned_at));
    if (b->level > rate / 4 + 1 && !may_be)
        b->over_ns = now_ns;
    b->level += l->bytes;
}

/* It is not held back, and takes along what is on its way. */
static void explain_bytes(struct model_client *c)
{
    for (unsigned i = 0; i < MODEL_POLICIES; i++)
        c->buckets[i].over_ns = 0;
    c->flushed_ns = c->now_ns;
}

static void note_got(struct model *m, const struct model_sub *s,
                     struct model_view *v, uint32_t number)
{
    uint32_t next = m->pubs[number].item_after;
    while (s->was_ring && next && next <= s->owed)
        next = m->pubs[next].item_after;
    v->got = number;
    v->got_ns = s->client->now_ns;
    v->at_once = false;
    v->owed_ns = next ? m->pubs[next].at_ns : 0;
}

static void judge_publication(struct model *m, struct model_sub *s,
                              const struct line *l, uint64_t now_ns)
{
    const struct model_pub *p = &m->pubs[l->number];
    struct model_view *v = &s->views[p->channel][p->item];
    m->deliveries++;
    JUDGE(m, l->number > v->got); /* none twice, none older */
    /* Nothing from before, but what the snapshot had more. */
    JUDGE(m, l->number > s->old);
    if (!s->ended)
        judge_marks(m, s, v, l, now_ns);
    if (s->grant.mode == THROTTLE_ALL && !s->ended)
        judge_loss(m, s, l);
    else
        JUDGE(m, s->ended || s->retuned || l->lost == 0);
    judge_rate(m, s, v, l->number, now_ns);
    judge_bytes(m, s, l, now_ns);
    if (v->by_lane)
        m->conflated += p->nth_of_item - m->pubs[v->got].nth_of_item - 1;
    v->by_lane = l->number > s->live;
    note_got(m, s, v, l->number);
    if (l->number > s->channel_got[p->channel])
        s->channel_got[p->channel] = l->number;
    if (p->urgent)
        explain_bytes(s->client);
    if (p->urgent && !s->ended && l->number > s->live)
        judge_urgent(m, s, p, l->number);
}

/* --- snapshots ----------------------------------------------------------- */

/* How many values a snapshot has after publication n of its channel. */
static uint32_t count_snapshot(const struct model *m, const struct model_sub *s,
                               uint32_t n)
{
    uint32_t recent = s->policy->snapshot;
    uint32_t nth = m->pubs[n].nth_of_channel;
    uint32_t known = 0;
    if (recent > 1)
        return nth < recent ? nth : recent;
    for (unsigned i = 0; i < MODEL_ITEMS; i++) {
        uint32_t first = m->newest[s->topic][i];
        while (m->pubs[first].item_before)
            first = m->pubs[first].item_before;
        known += first && first <= n;
    }
    return known;
}

/* Was told the newest value of each item at publication n. */
static void judge_items(struct model *m, const struct model_sub *s, uint32_t n)
{
    for (unsigned i = 0; i < MODEL_ITEMS; i++) {
        uint32_t newest = m->newest[s->topic][i];
        while (newest > n)
            newest = m->pubs[newest].item_before;
        JUDGE(m, s->views[s->topic][i].got == newest);
    }
}

/* The snapshot was that of one moment, after publication n of the channel;
 * the first one behind it continues there. */
static void end_snapshot(struct model *m, struct model_sub *s)
{
    if (s->policy->snapshot == 0 || s->topic == MODEL_PATTERN) {
        JUDGE(m, s->told_count + s->untold == 0);
        return;
    }
    if (s->untold && s->asked != s->published) {
        s->old = s->told_last; /* Which moment it was is not known. */
        s->is_vague = true;
        return;
    }
    uint32_t n = s->told_last;
    if (s->untold)
        n = before(m, s->topic, s->asked);
    JUDGE(m, n >= before(m, s->topic, s->asked));
    JUDGE(m, s->told_count + s->untold == count_snapshot(m, s, n));
    if (s->policy->snapshot == 1 && s->untold == 0)
        judge_items(m, s, n);
    s->old = s->told_last;
    s->live = n;
    uint32_t owed = s->told_last;
    if (s->untold && s->policy->snapshot > 1) {
        owed = n;
        for (uint32_t i = 0; i < s->untold; i++)
            owed = m->pubs[owed].channel_before;
    }
    if (!s->was_ring)
        s->owed = owed;
}

/* After the answer: what is owed of what is known, and what came since. */
static void owe_rest(struct model *m, struct model_sub *s)
{
    for (unsigned c = 0; c < MODEL_CHANNELS; c++) {
        for (unsigned i = 0; model_covers(s, c) && i < MODEL_ITEMS; i++) {
            struct model_view *v = &s->views[c][i];
            uint32_t n = m->newest[c][i];
            if (n > s->owed && n > v->got && !v->owed_ns)
                v->owed_ns = s->since_ns;
        }
    }
    if (s->topic != MODEL_PATTERN)
        s->channel_got[s->topic] = s->told_last;
}

static void judge_told(struct model *m, struct model_sub *s,
                       const struct line *l)
{
    const struct model_pub *p = &m->pubs[l->number];
    struct model_view *v = &s->views[p->channel][p->item];
    m->told++;
    JUDGE(m, l->number <= s->published);
    JUDGE(m, l->number > s->told_last);
    if (s->policy->snapshot > 1 && s->told_count)
        JUDGE(m, p->channel_before == s->told_last);
    /* The newest of its item: nothing newer was known. */
    if (s->policy->snapshot == 1)
        JUDGE(m, v->got == 0 && (!p->item_after || p->item_after > s->asked));
    s->told_last = l->number;
    s->told_count++;
    note_got(m, s, v, l->number);
    if (--s->told_left == 0) {
        end_snapshot(m, s);
        owe_rest(m, s);
    }
}

/* --- reading ------------------------------------------------------------- */

static struct model_sub *wire_sub(const struct model_client *c, unsigned topic)
{
    struct model_sub *s;
    struct model_sub *found = NULL;
    for (s = c->subs; s; s = s->next) {
        if (s->topic == topic && s->begun)
            found = s;
    }
    return found;
}

static void begin_sub(struct model *m, struct model_client *c, unsigned topic)
{
    struct model_sub *s = c->subs;
    while (s && (s->topic != topic || s->begun || !s->answered))
        s = s->next;
    JUDGE(m, s);
    m->judged = s;
    s->begun = true;
    if (s->told_left == 0) {
        end_snapshot(m, s);
        owe_rest(m, s);
    }
}

static void read_line(struct model *m, struct model_client *c, struct str text,
                      uint64_t now_ns)
{
    struct line l;
    m->judged = NULL;
    struct str tags = str_n(text.p + text.n, 0);
    while (tags.p > text.p && tags.p[-1] != '-')
        tags = str_n(tags.p - 1, tags.n + 1);
    TRACE(m, "%" PRIu64 " %s < %.*s %.*s\n", now_ns / 1000000, c->name,
          text.n > 14 ? 14 : (int)text.n, text.p, STR_ARG(tags));
    if (*text.p == 'S') {
        struct str rest = str_skip(text, 1);
        begin_sub(m, c, topic_of(str_cut(&rest, '|')));
        JUDGE(m, str_eq(rest, STR_LIT("0")));
        return;
    }
    parse_line(m, text, &l);
    struct model_sub *s = wire_sub(c, l.topic);
    JUDGE(m, s && model_covers(s, m->pubs[l.number].channel));
    m->judged = s;
    if (s->told_left)
        judge_told(m, s, &l);
    else
        judge_publication(m, s, &l, now_ns);
}

void model_read(struct model *m, struct model_client *c, struct str wire,
                uint64_t now_ns)
{
    c->now_ns = now_ns;
    while (wire.n)
        read_line(m, c, str_cut(&wire, '\n'), now_ns);
}

/* --- what did not come --------------------------------------------------- */

static void judge_sub(struct model *m, const struct model_sub *s,
                      uint64_t now_ns)
{
    uint64_t wait = throttle_interval_ns(s->grant.rate) + MODEL_SLACK_NS;
    uint64_t from = s->since_ns;
    if (s->client->free_ns > from)
        from = s->client->free_ns;
    if (s->policy->bandwidth || (model_may_lose(s) && s->client->was_choked))
        return;
    for (unsigned c = 0; c < MODEL_CHANNELS; c++) {
        for (unsigned i = 0; model_covers(s, c) && i < MODEL_ITEMS; i++) {
            const struct model_view *v = &s->views[c][i];
            uint64_t owed = v->owed_ns > from ? v->owed_ns : from;
            if (!v->owed_ns || now_ns <= owed + (v->at_once ? 0 : wait))
                continue;
            fprintf(stderr, "%s item %u: %u is the newest got, %u exists\n",
                    model_topics[c], i, v->got, m->newest[c][i]);
            JUDGE(m, !"a value in time");
        }
    }
}

void model_judge(struct model *m, struct model_client *c, uint64_t now_ns)
{
    const struct model_sub *s;
    m->judged = c->subs;
    for (unsigned i = 0; i < m->policy_count; i++)
        JUDGE(m, !c->buckets[i].over_ns);
    for (s = c->subs; s; s = s->next) {
        m->judged = s;
        if (s->begun && !s->ended && !c->choked)
            judge_sub(m, s, now_ns);
    }
}

static uint32_t count_after(const struct model *m, const struct model_sub *s,
                            uint32_t number)
{
    uint32_t n = 0;
    for (uint32_t i = number + 1; i <= m->count; i++)
        n += model_covers(s, m->pubs[i].channel);
    return n;
}

static void judge_sub_end(struct model *m, const struct model_sub *s)
{
    JUDGE(m, s->begun && s->told_left == 0);
    if (s->grant.mode == THROTTLE_ALL && !s->retuned && !s->is_vague) {
        uint32_t known = s->delivered + s->lost;
        JUDGE(m, known >= count_after(m, s, s->live));
        JUDGE(m, known <= count_after(m, s, s->untold ? s->live : s->old));
    }
    for (unsigned c = 0; c < MODEL_CHANNELS; c++) {
        if (!model_covers(s, c))
            continue;
        uint32_t n = m->urgent_of_channel[c];
        JUDGE(m, n <= s->live || s->urgent_got[c] == n);
        n = m->newest_of_channel[c];
        JUDGE(m, n <= s->live || s->channel_got[c] == n ||
                     s->topic == MODEL_PATTERN);
        for (unsigned i = 0; !model_may_lose(s) && i < MODEL_ITEMS; i++) {
            n = m->newest[c][i];
            if (n > s->owed && s->views[c][i].got != n)
                fprintf(stderr, "%s item %u: %u never came\n", model_topics[c],
                        i, n);
            JUDGE(m, n <= s->owed || s->views[c][i].got == n);
        }
    }
}

void model_judge_end(struct model *m, struct model_client *c)
{
    const struct model_sub *s;
    for (s = c->subs; s; s = s->next) {
        m->judged = s;
        if (!s->ended)
            judge_sub_end(m, s);
    }
}
