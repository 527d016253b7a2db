#include "hub/topic.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/pace.h"

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
    lane_init(&t->plain, t, NULL);
    SLIST_INIT(&t->paces);
    if (is_pattern)
        trie_insert(&ix->patterns, name, t);
    else
        HASH_ADD_KEYPTR_BYHASHVALUE(hh, ix->exact, t->name, t->len, hash, t);
    return t;
}

uint32_t topic_subscribers(const struct topic *t)
{
    const struct pace *p;
    uint32_t n = t->plain.count;
    SLIST_FOREACH(p, &t->paces, link) {
        n += p->lane.count;
    }
    return n;
}

bool topic_is_quiet(const struct topic *t)
{
    return t->plain.count == 0 && !t->plain.busy && SLIST_EMPTY(&t->paces);
}

void topic_free(struct topic_index *ix, struct topic *t)
{
    CHECK(topic_is_quiet(t) && t->asking == 0);
    if (t->is_pattern)
        trie_remove(&ix->patterns, topic_name(t));
    else
        HASH_DEL(ix->exact, t);
    lane_fini(&t->plain);
    free(t);
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
    const struct pace *p;
    uint32_t paces = 0;
    lane_check(&t->plain);
    SLIST_FOREACH(p, &t->paces, link) {
        lane_check(&p->lane);
        conflate_check(&p->conflate);
        CHECK(p->lane.count || p->lane.busy);
        paces++;
    }
    CHECK(paces == t->plain.paces);
    CHECK(!topic_is_quiet(t) || t->asking);
}

void topic_index_check(const struct topic_index *ix)
{
    trie_check(&ix->patterns);
    trie_each(&ix->patterns, check_topic, NULL);
    for (struct topic *t = ix->exact; t; t = t->hh.next)
        check_topic(NULL, t);
}
