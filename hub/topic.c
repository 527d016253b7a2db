#include "hub/topic.h"

#include <stdlib.h>

#include "base/mem.h"

void topic_index_init(struct topic_index *ix)
{
    ix->exact = NULL;
    trie_init(&ix->patterns);
}

void topic_index_fini(struct topic_index *ix)
{
    CHECK(ix->exact == NULL && ix->patterns.pattern_count == 0);
    trie_fini(&ix->patterns);
}

struct topic *topic_find(const struct topic_index *ix, struct str name,
                         uint32_t hash, bool is_pattern)
{
    if (is_pattern)
        return trie_find(&ix->patterns, name);
    struct topic *t = NULL;
    HASH_FIND_BYHASHVALUE(hh, ix->exact, name.p, name.n, hash, t);
    return t;
}

struct topic *topic_get(struct topic_index *ix, struct str name, uint32_t hash,
                        bool is_pattern)
{
    struct topic *t = topic_find(ix, name, hash, is_pattern);
    if (t)
        return t;
    t = mem_zalloc(sizeof(*t) + name.n);
    memcpy(t->name, name.p, name.n);
    t->len = (uint16_t)name.n;
    t->hash = hash;
    t->is_pattern = is_pattern;
    t->slots = &t->one_slot;
    t->cap = 1;
    t->pending = &t->one_pending;
    t->pending_cap = 1;
    if (is_pattern)
        trie_insert(&ix->patterns, name, t);
    else
        HASH_ADD_KEYPTR_BYHASHVALUE(hh, ix->exact, t->name, t->len, hash, t);
    return t;
}

void topic_free(struct topic_index *ix, struct topic *t)
{
    CHECK(t->count == 0 && t->asking == 0 && t->pending_count == 0 && !t->pass);
    CHECK(!t->busy);
    if (t->is_pattern)
        trie_remove(&ix->patterns, topic_name(t));
    else
        HASH_DEL(ix->exact, t);
    if (t->slots != &t->one_slot)
        free(t->slots);
    if (t->pending != &t->one_pending)
        free(t->pending);
    free(t);
}

static void grow_slots(struct topic *t)
{
    bool is_first = t->slots == &t->one_slot;
    t->cap *= 2;
    t->slots =
        mem_realloc(is_first ? NULL : t->slots, t->cap * sizeof(*t->slots));
    if (is_first)
        t->slots[0] = t->one_slot;
}

void topic_add(struct topic *t, struct sub *s, uint64_t from)
{
    if (t->count == t->cap)
        grow_slots(t);
    t->slots[t->count] = (struct topic_slot){s->client, s};
    s->index = t->count++;
    s->from = from;
    s->state = SUB_LIVE;
    t->joined = from;
}

static void move_slot(struct topic *t, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    t->slots[to] = t->slots[from];
    t->slots[to].sub->index = to;
}

/* The hole moves right, past one border at a time, to the end. */
void topic_remove(struct topic *t, struct sub *s)
{
    uint32_t hole = s->index;
    if (hole < t->cursor) {
        move_slot(t, --t->cursor, hole);
        hole = t->cursor;
    }
    if (hole < t->limit) {
        move_slot(t, --t->limit, hole);
        hole = t->limit;
    }
    move_slot(t, --t->count, hole);
    if (t->cap > 16 && t->count < t->cap / 4) {
        t->cap /= 2;
        t->slots = mem_realloc(t->slots, t->cap * sizeof(*t->slots));
    }
}

/* Of a million buckets it is hardly ever in the cache: let it come while the
 * trie is walked. */
static void prefetch_bucket(const struct topic_index *ix, uint32_t hash)
{
    unsigned bucket;
    if (!ix->exact)
        return;
    HASH_TO_BKT(hash, ix->exact->hh.tbl->num_buckets, bucket);
    __builtin_prefetch(&ix->exact->hh.tbl->buckets[bucket]);
}

void topic_match(const struct topic_index *ix, struct str channel,
                 uint32_t hash, void (*fn)(void *arg, void *topic), void *arg)
{
    prefetch_bucket(ix, hash);
    if (ix->patterns.pattern_count)
        trie_match(&ix->patterns, channel, fn, arg);
    struct topic *t = topic_find(ix, channel, hash, false);
    if (t)
        fn(arg, t);
}

static void check_topic(void *arg, void *value)
{
    (void)arg;
    const struct topic *t = value;
    CHECK(t->cursor <= t->limit && t->limit <= t->count && t->count <= t->cap);
    CHECK(t->pass || t->limit == 0);
    CHECK(t->busy || (!t->pass && t->pending_count == 0));
    CHECK(t->pending_head + t->pending_count <= t->pending_cap);
    CHECK(t->count || t->asking || t->busy);
    for (uint32_t i = 0; i < t->count; i++) {
        const struct sub *s = t->slots[i].sub;
        CHECK(s->index == i && s->topic == t && s->state == SUB_LIVE);
        CHECK(t->slots[i].client == s->client && s->from <= t->joined);
    }
}

void topic_index_check(const struct topic_index *ix)
{
    trie_check(&ix->patterns);
    trie_each(&ix->patterns, check_topic, NULL);
    for (struct topic *t = ix->exact; t; t = t->hh.next)
        check_topic(NULL, t);
}
