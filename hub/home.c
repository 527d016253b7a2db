#include "hub/home.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/fanout.h"
#include "hub/hub.h"

/* Every shard's copy of who wants a pattern. */
struct pattern_interest {
    uint64_t shards; /* bit set */
    uint16_t len;
    char name[];
};

struct home_channel {
    UT_hash_handle hh;     /* linked: home.channels */
    uint64_t shards;       /* bit set: who has subscribers (or asks) */
    struct ask_list asks;  /* linked: waiting for feed and acknowledgements */
    uint32_t acks_missing; /* pattern: shards that have not confirmed */
    bool fed;              /* the bus brings the channel (true in-process) */
    bool is_pattern;
    uint16_t len;
    char name[];
};

void home_init(struct home *h)
{
    h->channels = NULL;
    trie_init(&h->patterns);
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
            free(a);
        }
        free(e);
    }
    trie_each(&h->patterns, free_value, NULL);
    trie_fini(&h->patterns);
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

/* Patterns and exact channels cannot have the same name, so one table holds
 * both. */
static struct home_channel *find(struct shard *s, struct str name,
                                 uint32_t hash)
{
    struct home_channel *e = NULL;
    HASH_FIND_BYHASHVALUE(hh, s->home.channels, name.p, name.n, hash, e);
    return e;
}

static void send_answer(struct shard *home, struct ask *a);

static void try_answer(struct shard *home, struct home_channel *e)
{
    if (!e->fed || e->acks_missing)
        return;
    struct ask_list ready = STAILQ_HEAD_INITIALIZER(ready);
    STAILQ_CONCAT(&ready, &e->asks);
    struct ask *a;
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

static void note_pattern(struct home *h, const struct pattern_letter *l)
{
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
    if (p->shards == 0)
        free(trie_remove(&h->patterns, name));
}

static void on_pattern_ack(void *reader, struct letter *self)
{
    struct shard *home = reader;
    struct pattern_letter *l =
        container_of(self, struct pattern_letter, letter);
    struct home_channel *e = find(home, str_n(l->name, l->len), l->hash);
    if (e && e->acks_missing && --e->acks_missing == 0)
        try_answer(home, e);
    free(l);
}

static void on_pattern(void *reader, struct letter *self)
{
    struct shard *s = reader;
    struct pattern_letter *l =
        container_of(self, struct pattern_letter, letter);
    note_pattern(&s->home, l);
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
    struct home_channel *e = find(op->home, name, msg_channel_hash(name));
    if (e && !e->fed) {
        e->fed = true;
        try_answer(op->home, e);
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

static struct home_channel *get(struct shard *home, const struct ask *a)
{
    struct home_channel *e = find(home, str_n(a->channel, a->len), a->hash);
    if (e)
        return e;
    e = mem_zalloc(sizeof(*e) + a->len);
    memcpy(e->name, a->channel, a->len);
    e->len = a->len;
    e->is_pattern = a->is_pattern;
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
    try_answer(home, e);
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

static void send_answer(struct shard *home, struct ask *a)
{
    a->letter.run = on_answer;
    shard_send(home, a->from, &a->letter);
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
    struct leave_letter *l = container_of(self, struct leave_letter, letter);
    struct str name = str_n(l->name, l->len);
    struct home_channel *e = find(home, name, l->hash);
    CHECK(e);
    e->shards &= ~bit(l->from);
    if (e->is_pattern)
        tell_pattern(home, e, bit(l->from), false);
    if (e->shards == 0) {
        const struct broker *b = &home->hub->broker;
        CHECK(STAILQ_EMPTY(&e->asks));
        if (b->ops)
            b->ops->release(b->self, name, e->is_pattern);
        HASH_DEL(home->home.channels, e);
        free(e);
    }
    free(l);
}

void home_leave(struct shard *from, struct str channel, uint32_t hash,
                bool is_pattern)
{
    (void)is_pattern;
    struct leave_letter *l = mem_alloc(sizeof(*l) + channel.n);
    l->letter.run = on_leave;
    l->from = from;
    l->hash = hash;
    l->len = (uint16_t)channel.n;
    memcpy(l->name, channel.p, channel.n);
    shard_send(from, home_of(from->hub, hash), &l->letter);
}

struct pub_letter {
    struct letter letter;
    struct msg *msg; /* owned reference */
};

static struct pub_letter *pub_letter(struct msg *m,
                                     void (*run)(void *, struct letter *))
{
    struct pub_letter *l = mem_alloc(sizeof(*l));
    l->letter.run = run;
    l->msg = m;
    return l;
}

static void on_deliver(void *reader, struct letter *self)
{
    struct pub_letter *l = container_of(self, struct pub_letter, letter);
    fanout_deliver(reader, l->msg);
    msg_unref(l->msg);
    free(l);
}

static void add_shards(void *arg, void *value)
{
    const struct pattern_interest *p = value;
    *(uint64_t *)arg |= p->shards;
}

static uint64_t interested(const struct shard *home, const struct msg *m)
{
    const struct home_channel *e =
        find((struct shard *)home, msg_channel(m), m->channel_hash);
    uint64_t shards = e ? e->shards : 0;
    if (home->home.patterns.pattern_count)
        trie_match(&home->home.patterns, msg_channel(m), add_shards, &shards);
    return shards;
}

void home_publish(struct shard *home, struct msg *m)
{
    struct hub *hub = home->hub;
    if (hub->count == 1) {
        fanout_deliver(home, m);
        msg_unref(m);
        return;
    }
    uint64_t shards = interested(home, m);
    while (shards) {
        struct shard *to = hub->shards[__builtin_ctzll(shards)];
        shards &= shards - 1;
        if (to == home)
            fanout_deliver(home, m);
        else
            mailbox_post(&to->mailbox,
                         &pub_letter(msg_ref(m), on_deliver)->letter);
    }
    msg_unref(m);
}

static void on_publish(void *reader, struct letter *self)
{
    struct pub_letter *l = container_of(self, struct pub_letter, letter);
    home_publish(reader, l->msg);
    free(l);
}

static void on_bus_publish(void *reader, struct letter *self)
{
    ((struct shard *)reader)->stats.pubs_in_broker++;
    on_publish(reader, self);
}

void home_post(struct hub *hub, struct msg *m)
{
    struct shard *home = home_of(hub, m->channel_hash);
    mailbox_post(&home->mailbox, &pub_letter(m, on_bus_publish)->letter);
}

/* Are there letters that came before what is done now? */
static bool is_behind(struct shard *s)
{
    return s->hub->count > 1 && (s->draining || mailbox_depth(&s->mailbox) > 0);
}

void home_send(struct shard *from, struct msg *m)
{
    struct shard *home = home_of(from->hub, m->channel_hash);
    /* A publication answered on another shard may still be a letter in our
     * mailbox: one that was published after that answer must not pass it. */
    if (home == from && !is_behind(home))
        home_publish(home, m);
    else
        mailbox_post(&home->mailbox, &pub_letter(m, on_publish)->letter);
}
