#include "hub/keys.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"

/* The name is one run of bytes, for uthash, and never that of another pair:
 * [u32 length of the channel | channel | key]. */
struct keys_entry {
    UT_hash_handle hh;             /* linked: keys.entries */
    TAILQ_ENTRY(keys_entry) order; /* linked: keys.order */
    struct position result;
    uint64_t put_ms;
    size_t len;
    char name[];
};

static void add_name(struct buf *to, struct str channel, struct str key)
{
    uint32_t n = (uint32_t)channel.n;
    buf_reserve(to, sizeof(n) + channel.n + key.n);
    buf_add(to, &n, sizeof(n));
    buf_str(to, channel);
    buf_str(to, key);
}

static struct keys_entry *lookup(const struct keys *k, struct str name)
{
    struct keys_entry *e;
    HASH_FIND(hh, k->entries, name.p, name.n, e);
    return e;
}

static void drop_oldest(struct keys *k)
{
    struct keys_entry *e = TAILQ_FIRST(&k->order);
    TAILQ_REMOVE(&k->order, e, order);
    HASH_DEL(k->entries, e);
    free(e);
    k->count--;
}

static void expire(struct keys *k, uint64_t now_ms)
{
    const struct keys_entry *e;
    while ((e = TAILQ_FIRST(&k->order)) && now_ms >= e->put_ms &&
           now_ms - e->put_ms >= KEYS_TTL_MS)
        drop_oldest(k);
}

void keys_init(struct keys *k, size_t max_count)
{
    *k = (struct keys){.max_count = max_count};
    TAILQ_INIT(&k->order);
}

void keys_fini(struct keys *k)
{
    while (k->count > 0)
        drop_oldest(k);
}

const struct position *keys_find(struct keys *k, struct str channel,
                                 struct str key, uint64_t now_ms)
{
    struct buf name = BUF_INIT;
    expire(k, now_ms);
    if (k->count == 0)
        return NULL;
    add_name(&name, channel, key);
    const struct keys_entry *e = lookup(k, buf_view(&name));
    buf_free(&name);
    return e ? &e->result : NULL;
}

void keys_put(struct keys *k, struct str channel, struct str key,
              struct position result, uint64_t now_ms)
{
    struct buf name = BUF_INIT;
    expire(k, now_ms);
    add_name(&name, channel, key);
    CHECK(!lookup(k, buf_view(&name)));
    struct keys_entry *e = mem_zalloc(sizeof(*e) + name.n);
    e->result = result;
    e->put_ms = now_ms;
    e->len = name.n;
    memcpy(e->name, name.p, name.n);
    buf_free(&name);
    HASH_ADD_KEYPTR(hh, k->entries, e->name, e->len, e);
    TAILQ_INSERT_TAIL(&k->order, e, order);
    k->count++;
    while (k->count > k->max_count) {
        drop_oldest(k);
        k->evicted++;
    }
}

void keys_check(const struct keys *k)
{
    size_t count = 0;
    uint64_t put_ms = 0;
    const struct keys_entry *e;
    TAILQ_FOREACH(e, &k->order, order) {
        CHECK(lookup(k, str_n(e->name, e->len)) == e);
        CHECK(e->put_ms >= put_ms);
        put_ms = e->put_ms;
        count++;
    }
    CHECK(count == k->count && count == HASH_COUNT(k->entries));
    CHECK(count <= k->max_count);
}
