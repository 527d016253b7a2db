#include "hub/home.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/fanout.h"
#include "hub/home_parts.h"
#include "hub/hub.h"
#include "hub/recall.h"
#include "hub/splice.h"

/* Every shard's copy of who wants a pattern. */
struct pattern_interest {
    uint64_t shards; /* bit set */
    uint16_t len;
    char name[];
};

static void ref_value(void *value)
{
    msg_ref(value);
}

static void unref_value(void *value)
{
    msg_unref(value);
}

static size_t weigh_value(const void *value)
{
    return msg_size(value);
}

static void on_sweep(struct wheel_timer *t);

static const struct last_ops last_ops = {ref_value, unref_value, weigh_value};

/* Expired history is looked for in so many streams at a time. */
#define AGE_STREAMS 2000

static void on_age(struct wheel_timer *t)
{
    struct home *h = container_of(t, struct home, age);
    struct shard *s = container_of(h, struct shard, home);
    history_sweep(&h->history, shard_now_ms(s), AGE_STREAMS);
    if (h->history.streams)
        wheel_start(&s->wheel, &h->age, shard_now_ms(s) + HOME_AGE_MS);
}

void home_init(struct home *h, const struct hub *hub)
{
    h->channels = NULL;
    trie_init(&h->patterns);
    h->sweep.fire = on_sweep;
    h->age.fire = on_age;
    TAILQ_INIT(&h->reads);
    history_init(&h->history, hub->options.history_max_bytes / hub->count,
                 false);
    h->history.forgotten = home_forgotten;
    h->history.arg = container_of(h, struct shard, home);
    keys_init(&h->keys, hub->options.max_keys / hub->count);
    last_init(&h->last, hub->options.last_max_bytes / hub->count,
              hub->options.max_items, &last_ops);
}

void home_free_ask(struct ask *a)
{
    for (uint32_t i = 0; i < a->snapshot_count; i++)
        msg_unref(a->snapshot[i]);
    free(a->snapshot);
    free(a);
}

static void free_value(void *arg, void *value)
{
    (void)arg;
    free(value);
}

void home_fini(struct home *h)
{
    struct home_channel *e;
    struct home_channel *tmp;
    HASH_ITER(hh, h->channels, e, tmp) {
        HASH_DEL(h->channels, e);
        while (!STAILQ_EMPTY(&e->asks)) {
            struct ask *a = STAILQ_FIRST(&e->asks);
            STAILQ_REMOVE_HEAD(&e->asks, waiting);
            home_free_ask(a);
        }
        wheel_stop(&e->home->wheel, &e->idle);
        splice_fini(e->home, e);
        free(e);
    }
    trie_each(&h->patterns, free_value, NULL);
    trie_fini(&h->patterns);
    last_fini(&h->last);
    history_fini(&h->history);
    keys_fini(&h->keys);
    buf_free(&h->merge);
}

void home_check(const struct home *h)
{
    trie_check(&h->patterns);
    last_check(&h->last);
    history_check(&h->history);
    keys_check(&h->keys);
}

struct shard *home_of(struct hub *hub, uint32_t channel_hash)
{
    /* By the high bits: the home's table takes the low ones, and if all its
     * names agreed in some of those, most of its buckets would stay empty. */
    return hub->shards[(uint64_t)channel_hash * hub->count >> 32];
}

size_t home_channel_count(const struct home *h)
{
    return HASH_COUNT(h->channels);
}

static uint64_t bit(const struct shard *s)
{
    return (uint64_t)1 << s->index;
}

static void complete(struct shard *home, const struct home_channel *e,
                     struct ask *a);
static void send_answer(struct shard *home, struct ask *a);

static void refuse(struct shard *home, struct ask *a, uint32_t error);

void home_refuse(struct shard *home, struct home_channel *e, uint32_t error)
{
    struct ask_list all = STAILQ_HEAD_INITIALIZER(all);
    STAILQ_CONCAT(&all, &e->asks);
    struct ask *a;
    while ((a = STAILQ_FIRST(&all))) {
        STAILQ_REMOVE_HEAD(&all, waiting);
        refuse(home, a, error);
    }
}

/* A recovery, or whoever wants the newest, may need more of the stream than is
 * here. It looks twice: the first read may have begun before it came. */
#define LOOKS 2

static bool is_ready(struct shard *home, struct home_channel *e, struct ask *a)
{
    const struct position_wish *w = &a->wish;
    bool newest = w->latest == LATEST_ALWAYS || a->history->auto_cache ||
                  (w->foreign && w->latest);
    if (!e->splice || !w->positioned || a->looks >= LOOKS)
        return true;
    if (!newest && (!w->recover || w->foreign))
        return true;
    if (splice_can_tell(home, e, newest ? (struct position){0, 0} : w->since))
        return true;
    a->looks++;
    return false;
}

/* Those whose answers need no further read. */
static void take_ready(struct shard *home, struct home_channel *e,
                       struct ask_list *ready)
{
    struct ask_list all = STAILQ_HEAD_INITIALIZER(all);
    struct ask *a;
    STAILQ_CONCAT(&all, &e->asks);
    while ((a = STAILQ_FIRST(&all))) {
        STAILQ_REMOVE_HEAD(&all, waiting);
        if (is_ready(home, e, a))
            STAILQ_INSERT_TAIL(ready, a, waiting);
        else
            STAILQ_INSERT_TAIL(&e->asks, a, waiting);
    }
}

/* Answers are complete before the first is sent: with it, e may go. */
void home_try_answer(struct shard *home, struct home_channel *e)
{
    struct ask_list ready = STAILQ_HEAD_INITIALIZER(ready);
    struct ask *a;
    if (!e->fed || e->acks_missing)
        return;
    if (e->error) {
        home_refuse(home, e, e->error);
        return;
    }
    if (!splice_is_ready(e))
        return;
    take_ready(home, e, &ready);
    STAILQ_FOREACH(a, &ready, waiting)
        complete(home, e, a);
    while ((a = STAILQ_FIRST(&ready))) {
        STAILQ_REMOVE_HEAD(&ready, waiting);
        send_answer(home, a);
    }
}

/* Interest of one shard in one pattern, told to all shards. */
struct pattern_letter {
    struct letter letter;
    struct shard *home; /* borrowed: gets the acknowledgement; NULL: none */
    uint64_t bit;
    bool add;
    uint32_t hash;
    uint16_t len;
    char name[];
};

static void add_shards(void *arg, void *value)
{
    const struct pattern_interest *p = value;
    *(uint64_t *)arg |= p->shards;
}

/* Does the bus bring all of this channel here? */
static bool is_fed(struct shard *home, struct str channel, uint32_t hash)
{
    uint64_t shards = 0;
    if (!home->hub->broker.ops || home_find(home, channel, hash))
        return true;
    if (home->home.patterns.pattern_count)
        trie_match(&home->home.patterns, channel, add_shards, &shards);
    return shards != 0;
}

/* Over a bus the pattern's feed may have been all that kept last values
 * complete: without an entry of its own a channel loses them. A walk for many
 * patterns; a publication that comes before it finds out by itself (keep). */
#define SWEEP_MS 1000

static bool is_orphan(void *arg, struct str channel, uint32_t hash)
{
    struct shard *s = arg;
    return !is_fed(s, channel, hash);
}

static void on_sweep(struct wheel_timer *t)
{
    struct home *h = container_of(t, struct home, sweep);
    struct shard *s = container_of(h, struct shard, home);
    last_drop_if(&h->last, is_orphan, s);
}

static void note_pattern(struct shard *s, const struct pattern_letter *l)
{
    struct home *h = &s->home;
    struct str name = str_n(l->name, l->len);
    struct pattern_interest *p = trie_find(&h->patterns, name);
    if (!p) {
        CHECK(l->add);
        p = mem_zalloc(sizeof(*p) + name.n);
        memcpy(p->name, name.p, name.n);
        p->len = l->len;
        trie_insert(&h->patterns, name, p);
    }
    p->shards = l->add ? p->shards | l->bit : p->shards & ~l->bit;
    if (p->shards)
        return;
    free(trie_remove(&h->patterns, name));
    if (s->hub->broker.ops && !h->sweep.deadline_ms)
        wheel_start(&s->wheel, &h->sweep, shard_now_ms(s) + SWEEP_MS);
}

static void on_pattern_ack(void *reader, struct letter *self)
{
    struct shard *home = reader;
    struct pattern_letter *l =
        container_of(self, struct pattern_letter, letter);
    struct home_channel *e = home_find(home, str_n(l->name, l->len), l->hash);
    if (e && e->acks_missing && --e->acks_missing == 0)
        home_try_answer(home, e);
    free(l);
}

static void on_pattern(void *reader, struct letter *self)
{
    struct shard *s = reader;
    struct pattern_letter *l =
        container_of(self, struct pattern_letter, letter);
    note_pattern(s, l);
    if (!l->home) {
        free(l);
        return;
    }
    struct shard *home = l->home;
    l->letter.run = on_pattern_ack;
    shard_send(s, home, &l->letter);
}

static void tell_pattern(struct shard *home, struct home_channel *e,
                         uint64_t who, bool add)
{
    struct hub *hub = home->hub;
    if (add)
        e->acks_missing += hub->count;
    for (unsigned i = 0; i < hub->count; i++) {
        struct pattern_letter *l = mem_zalloc(sizeof(*l) + e->len);
        l->letter.run = on_pattern;
        l->home = add ? home : NULL;
        l->bit = who;
        l->add = add;
        l->hash = msg_channel_hash(str_n(e->name, e->len));
        l->len = e->len;
        memcpy(l->name, e->name, e->len);
        shard_send(home, hub->shards[i], &l->letter);
    }
}

static void on_fed(struct feed_op *op)
{
    struct str name = str_n(op->channel, op->channel_len);
    struct home_channel *e = home_find(op->home, name, msg_channel_hash(name));
    if (e && !e->fed) {
        e->fed = true;
        e->error = op->error;
        if (op->has_stream && !e->is_pattern)
            splice_begin(op->home, e);
        home_try_answer(op->home, e);
    }
    free(op);
}

static void acquire_feed(struct shard *home, struct home_channel *e)
{
    const struct broker *b = &home->hub->broker;
    if (!b->ops) {
        e->fed = true;
        return;
    }
    struct feed_op *op = mem_zalloc(sizeof(*op) + e->len);
    op->home = home;
    op->is_pattern = e->is_pattern;
    op->channel_len = e->len;
    op->done = on_fed;
    memcpy(op->channel, e->name, e->len);
    b->ops->acquire(b->self, op);
}

static void let_go(struct home_channel *e)
{
    struct shard *home = e->home;
    const struct broker *b = &home->hub->broker;
    struct str name = str_n(e->name, e->len);
    CHECK(STAILQ_EMPTY(&e->asks) && e->shards == 0);
    wheel_stop(&home->wheel, &e->idle);
    splice_end(home, e);
    if (b->ops) {
        last_drop(&home->home.last, name, msg_channel_hash(name));
        b->ops->release(b->self, name, e->is_pattern);
    }
    HASH_DEL(home->home.channels, e);
    free(e);
}

static void on_idle(struct wheel_timer *t)
{
    let_go(container_of(t, struct home_channel, idle));
}

static struct home_channel *get(struct shard *home, const struct ask *a)
{
    struct home_channel *e =
        home_find(home, str_n(a->channel, a->len), a->hash);
    if (e) {
        wheel_stop(&home->wheel, &e->idle);
        return e;
    }
    e = mem_zalloc(sizeof(*e) + a->len);
    memcpy(e->name, a->channel, a->len);
    e->len = a->len;
    e->hash = a->hash;
    e->is_pattern = a->is_pattern;
    e->history = a->history;
    e->home = home;
    e->idle.fire = on_idle;
    STAILQ_INIT(&e->asks);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, home->home.channels, e->name, e->len,
                                a->hash, e);
    acquire_feed(home, e);
    return e;
}

static void on_ask(void *reader, struct letter *self)
{
    struct shard *home = reader;
    struct ask *a = container_of(self, struct ask, letter);
    struct home_channel *e = get(home, a);
    STAILQ_INSERT_TAIL(&e->asks, a, waiting);
    if (!(e->shards & bit(a->from))) {
        e->shards |= bit(a->from);
        if (e->is_pattern) {
            /* Acknowledgements may come within the call and answer. */
            tell_pattern(home, e, bit(a->from), true);
            return;
        }
    }
    home_try_answer(home, e);
}

void home_ask(struct shard *from, struct ask *a)
{
    a->from = from;
    a->letter.run = on_ask;
    shard_send(from, home_of(from->hub, a->hash), &a->letter);
}

static void on_answer(void *reader, struct letter *self)
{
    fanout_answer(reader, container_of(self, struct ask, letter));
}

static void add_value(void *arg, void *value)
{
    struct ask *a = arg;
    uint32_t n = a->snapshot_count;
    if (n == 0 || (n >= 16 && (n & (n - 1)) == 0))
        a->snapshot =
            mem_realloc(a->snapshot, (n ? n * 2 : 16) * sizeof(*a->snapshot));
    a->snapshot[a->snapshot_count++] = msg_ref(value);
}

static void add_snapshot(struct shard *home, struct ask *a)
{
    struct last *last = &home->home.last;
    struct str name = str_n(a->channel, a->len);
    uint32_t recent = a->policy->snapshot > 1 ? a->policy->snapshot : 0;
    if (a->policy->snapshot == 0 || a->is_pattern)
        return;
    a->known = !home->hub->broker.ops || last_knows(last, name, a->hash);
    last_each(last, name, a->hash, recent, add_value, a);
}

static void complete(struct shard *home, const struct home_channel *e,
                     struct ask *a)
{
    bool has_stream = !home->hub->broker.ops || e->splice;
    if (a->is_pattern) {
        add_snapshot(home, a);
        return;
    }
    if (!has_stream && a->wish.recover) {
        a->recovery = RECOVERY_FOREIGN;
        a->error = a->wish.latest ? 0 : 108;
    }
    recall_answer(home, e, a);
    bool is_told =
        a->recovery == RECOVERY_DONE && a->wish.latest != LATEST_ALWAYS;
    if (!a->error && !is_told && a->snapshot_count == 0)
        add_snapshot(home, a);
    if (home->home.history.streams && !home->home.age.deadline_ms)
        wheel_start(&home->wheel, &home->home.age,
                    shard_now_ms(home) + HOME_AGE_MS);
}

static void send_answer(struct shard *home, struct ask *a)
{
    a->letter.run = on_answer;
    shard_send(home, a->from, &a->letter);
}

static void refuse(struct shard *home, struct ask *a, uint32_t error)
{
    a->error = error;
    send_answer(home, a);
}

struct leave_letter {
    struct letter letter;
    struct shard *from; /* borrowed */
    uint32_t hash;
    uint16_t len;
    char name[];
};

static void on_leave(void *reader, struct letter *self)
{
    struct shard *home = reader;
    struct hub *hub = home->hub;
    struct leave_letter *l = container_of(self, struct leave_letter, letter);
    struct str name = str_n(l->name, l->len);
    struct home_channel *e = home_find(home, name, l->hash);
    CHECK(e);
    e->shards &= ~bit(l->from);
    if (e->is_pattern)
        tell_pattern(home, e, bit(l->from), false);
    /* The feed goes on for as long as its last values, or what came after a
     * position, may be asked for. */
    uint64_t kept_ms = e->splice ? hub->options.history_idle_ttl_ms : 0;
    if (hub->broker.ops && last_knows(&home->home.last, name, l->hash) &&
        hub->options.idle_ttl_ms > kept_ms)
        kept_ms = hub->options.idle_ttl_ms;
    if (e->shards == 0 && kept_ms)
        wheel_start(&home->wheel, &e->idle, shard_now_ms(home) + kept_ms);
    else if (e->shards == 0)
        let_go(e);
    free(l);
}

void home_leave(struct shard *from, struct str channel, uint32_t hash)
{
    struct leave_letter *l = mem_alloc(sizeof(*l) + channel.n);
    l->letter.run = on_leave;
    l->from = from;
    l->hash = hash;
    l->len = (uint16_t)channel.n;
    memcpy(l->name, channel.p, channel.n);
    shard_send(from, home_of(from->hub, hash), &l->letter);
}

uint64_t home_interested(const struct shard *home, const struct msg *m)
{
    const struct home_channel *e =
        home_find((struct shard *)home, msg_channel(m), m->channel_hash);
    uint64_t shards = e ? e->shards : 0;
    if (home->home.patterns.pattern_count)
        trie_match(&home->home.patterns, msg_channel(m), add_shards, &shards);
    return shards;
}

/* The item's state with this patch, as a publication in the patch's place.
 * NULL, and the patch is lost, when that would be too big. Takes `m`. */
static struct msg *merge(struct shard *home, struct msg *m)
{
    struct hub *hub = home->hub;
    struct buf *text = &home->home.merge;
    const struct msg *state =
        last_get(&home->home.last, msg_channel(m), m->channel_hash, m->item);
    struct msg *merged = NULL;
    buf_clear(text);
    if (hub->options.codec->merge(text, state ? msg_data(state) : STR_LIT(""),
                                  msg_data(m),
                                  hub->options.state_max_bytes) == 0) {
        struct msg_parts parts = {
            .channel = msg_channel(m),
            .data = buf_view(text),
            .tags = msg_tags(m),
            .info = msg_info(m),
            .item = m->item,
            .policy = m->policy,
            .history = m->history,
            .epoch = m->epoch,
            .offset = m->offset,
            .skip_history = m->skip_history,
            .is_json = true,
            .urgent = m->urgent,
            .keyless = m->keyless,
            .born_ns = m->born_ns,
        };
        merged = msg_new(&hub->held, &parts);
    } else {
        home->stats.drop_state++;
    }
    msg_unref(m);
    return merged;
}

/* What the channel remembers of a publication. Takes it, and gives what is
 * to be delivered: NULL for nothing. */
struct msg *home_keep(struct shard *home, struct msg *m)
{
    const struct throttle_policy *p = m->policy;
    struct last *last = &home->home.last;
    home->stats.throttle_keyless += m->keyless;
    if ((p->mode != THROTTLE_MERGE && p->snapshot == 0) || !m->is_json)
        return m;
    if (!is_fed(home, msg_channel(m), m->channel_hash)) {
        last_drop(last, msg_channel(m), m->channel_hash);
        return m;
    }
    if (p->mode == THROTTLE_MERGE)
        m = merge(home, m);
    if (!m)
        return NULL;
    uint64_t before = last->evicted;
    msg_hold(m, &home->hub->held);
    last_put(last, msg_channel(m), m->channel_hash, m->item, m,
             p->mode == THROTTLE_MERGE || p->snapshot == 1,
             p->snapshot > 1 ? p->snapshot : 0);
    home->stats.throttle_evicted += last->evicted - before;
    return m;
}
