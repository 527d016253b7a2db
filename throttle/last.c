#include "throttle/last.h"

#include <stdlib.h>

#include "base/mem.h"

/* One value of a channel, an item's or a recent one. */
struct entry {
    TAILQ_ENTRY(entry) link; /* linked: items or recent of its channel */
    void *value;             /* shared */
    uint64_t put;            /* which last_put it came with */
};

TAILQ_HEAD(entries, entry);

/* Items of all channels are in one table: most channels have one item, and a
 * table each would outweigh it. */
struct item_key {
    const struct last_channel *channel; /* borrowed: outlives its items */
    uint64_t item;
};

struct last_item {
    UT_hash_handle hh; /* linked: last.items */
    struct item_key key;
    struct entry entry;
};

struct last_channel {
    UT_hash_handle hh;              /* linked: last.channels */
    TAILQ_ENTRY(last_channel) link; /* linked: last.order */
    struct entries items;           /* least recently updated first */
    struct entries recent;          /* oldest first */
    uint32_t item_count;
    uint32_t recent_count;
    size_t len;
    char name[];
};

_Static_assert(sizeof(struct last_item) + sizeof(struct UT_hash_bucket) <=
                   LAST_ITEM_COST,
               "an item costs what it says");

static size_t channel_cost(struct str name)
{
    return LAST_CHANNEL_COST + name.n;
}

static size_t value_cost(const struct last *l, const void *value)
{
    return LAST_ITEM_COST + l->ops->weigh(value);
}

static struct last_channel *find(const struct last *l, struct str name,
                                 uint32_t hash)
{
    struct last_channel *c;
    HASH_FIND_BYHASHVALUE(hh, l->channels, name.p, name.n, hash, c);
    return c;
}

static struct last_channel *add(struct last *l, struct str name, uint32_t hash)
{
    struct last_channel *c = mem_zalloc(sizeof(*c) + name.n);
    TAILQ_INIT(&c->items);
    TAILQ_INIT(&c->recent);
    c->len = name.n;
    memcpy(c->name, name.p, name.n);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, l->channels, c->name, c->len, hash, c);
    TAILQ_INSERT_TAIL(&l->order, c, link);
    l->bytes += channel_cost(name);
    return c;
}

static void touch(struct last *l, struct last_channel *c)
{
    TAILQ_REMOVE(&l->order, c, link);
    TAILQ_INSERT_TAIL(&l->order, c, link);
}

static struct last_item *find_item(const struct last *l,
                                   const struct last_channel *c, uint64_t item)
{
    struct item_key key = {c, item};
    struct last_item *i;
    HASH_FIND(hh, l->items, &key, sizeof(key), i);
    return i;
}

static void hold(struct last *l, struct entry *e, void *value)
{
    l->ops->ref(value);
    e->value = value;
    e->put = l->puts;
    l->bytes += value_cost(l, value);
}

static void let_go(struct last *l, struct entry *e)
{
    l->bytes -= value_cost(l, e->value);
    l->ops->unref(e->value);
    e->value = NULL;
}

static void drop_item(struct last *l, struct last_channel *c, struct entry *e)
{
    struct last_item *i = container_of(e, struct last_item, entry);
    let_go(l, e);
    TAILQ_REMOVE(&c->items, e, link);
    HASH_DEL(l->items, i);
    free(i);
    c->item_count--;
}

static void drop_recent(struct last *l, struct last_channel *c)
{
    struct entry *e = TAILQ_FIRST(&c->recent);
    let_go(l, e);
    TAILQ_REMOVE(&c->recent, e, link);
    free(e);
    c->recent_count--;
}

static bool is_empty(const struct last_channel *c)
{
    return TAILQ_EMPTY(&c->items) && TAILQ_EMPTY(&c->recent);
}

static void drop_channel(struct last *l, struct last_channel *c)
{
    while (!TAILQ_EMPTY(&c->items))
        drop_item(l, c, TAILQ_FIRST(&c->items));
    while (!TAILQ_EMPTY(&c->recent))
        drop_recent(l, c);
    TAILQ_REMOVE(&l->order, c, link);
    HASH_DEL(l->channels, c);
    l->bytes -= channel_cost(str_n(c->name, c->len));
    free(c);
}

/* The least recently updated value of a channel that has one. */
static void evict_oldest(struct last *l, struct last_channel *c)
{
    struct entry *item = TAILQ_FIRST(&c->items);
    const struct entry *recent = TAILQ_FIRST(&c->recent);
    if (item && (!recent || item->put < recent->put))
        drop_item(l, c, item);
    else
        drop_recent(l, c);
    l->evicted++;
}

/* Ends before the value that was put last: alone it is not too heavy, and
 * its channel is the last in the order. */
static void evict_for_bytes(struct last *l)
{
    while (l->bytes > l->max_bytes) {
        struct last_channel *c = TAILQ_FIRST(&l->order);
        evict_oldest(l, c);
        if (is_empty(c))
            drop_channel(l, c);
    }
}

static void put_item(struct last *l, struct last_channel *c, uint64_t item,
                     void *value)
{
    struct last_item *i = find_item(l, c, item);
    if (i) {
        /* It may be the same value: take the new reference first. */
        struct entry old = i->entry;
        hold(l, &i->entry, value);
        let_go(l, &old);
        TAILQ_REMOVE(&c->items, &i->entry, link);
    } else {
        i = mem_zalloc(sizeof(*i));
        i->key = (struct item_key){c, item};
        HASH_ADD(hh, l->items, key, sizeof(i->key), i);
        hold(l, &i->entry, value);
        c->item_count++;
    }
    TAILQ_INSERT_TAIL(&c->items, &i->entry, link);
    while (c->item_count > l->max_items) {
        drop_item(l, c, TAILQ_FIRST(&c->items));
        l->evicted++;
    }
}

static void put_recent(struct last *l, struct last_channel *c, void *value,
                       uint32_t recent)
{
    struct entry *e = mem_zalloc(sizeof(*e));
    hold(l, e, value);
    TAILQ_INSERT_TAIL(&c->recent, e, link);
    c->recent_count++;
    while (c->recent_count > recent)
        drop_recent(l, c);
}

/* A value that cannot be kept: what it would have replaced is outdated, and
 * the last N values would have a hole. */
static void give_up(struct last *l, struct last_channel *c,
                    const uint64_t *item, bool with_recent)
{
    struct last_item *i = item ? find_item(l, c, *item) : NULL;
    if (i) {
        drop_item(l, c, &i->entry);
        l->evicted++;
    }
    while (with_recent && !TAILQ_EMPTY(&c->recent)) {
        drop_recent(l, c);
        l->evicted++;
    }
}

void last_init(struct last *l, size_t max_bytes, uint32_t max_items,
               const struct last_ops *ops)
{
    *l = (struct last){
        .ops = ops,
        .max_bytes = max_bytes,
        .max_items = max_items,
    };
    TAILQ_INIT(&l->order);
}

void last_fini(struct last *l)
{
    while (!TAILQ_EMPTY(&l->order))
        drop_channel(l, TAILQ_FIRST(&l->order));
}

void last_put(struct last *l, struct str channel, uint32_t hash, uint64_t item,
              void *value, bool by_item, uint32_t recent)
{
    size_t holders = (size_t)by_item + (recent > 0);
    if (holders == 0)
        return;
    l->puts++;
    struct last_channel *c = find(l, channel, hash);
    if (channel_cost(channel) + holders * value_cost(l, value) > l->max_bytes) {
        l->evicted++;
        if (c)
            give_up(l, c, by_item ? &item : NULL, recent > 0);
    } else {
        c = c ? c : add(l, channel, hash);
        if (by_item)
            put_item(l, c, item, value);
        if (recent > 0)
            put_recent(l, c, value, recent);
    }
    if (!c)
        return;
    touch(l, c);
    if (is_empty(c))
        drop_channel(l, c);
    evict_for_bytes(l);
}

void *last_get(const struct last *l, struct str channel, uint32_t hash,
               uint64_t item)
{
    const struct last_channel *c = find(l, channel, hash);
    const struct last_item *i = c ? find_item(l, c, item) : NULL;
    return i ? i->entry.value : NULL;
}

bool last_knows(const struct last *l, struct str channel, uint32_t hash)
{
    return find(l, channel, hash) != NULL;
}

void last_each(struct last *l, struct str channel, uint32_t hash,
               uint32_t recent, void (*fn)(void *arg, void *value), void *arg)
{
    struct last_channel *c = find(l, channel, hash);
    if (!c)
        return;
    touch(l, c);
    const struct entry *e;
    if (recent == 0) {
        TAILQ_FOREACH(e, &c->items, link)
            fn(arg, e->value);
        return;
    }
    uint32_t skip = c->recent_count > recent ? c->recent_count - recent : 0;
    TAILQ_FOREACH(e, &c->recent, link) {
        if (skip > 0)
            skip--;
        else
            fn(arg, e->value);
    }
}

void last_drop(struct last *l, struct str channel, uint32_t hash)
{
    struct last_channel *c = find(l, channel, hash);
    if (c)
        drop_channel(l, c);
}

void last_drop_if(struct last *l,
                  bool (*want)(void *arg, struct str channel, uint32_t hash),
                  void *arg)
{
    struct last_channel *next;
    for (struct last_channel *c = TAILQ_FIRST(&l->order); c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (want(arg, str_n(c->name, c->len), c->hh.hashv))
            drop_channel(l, c);
    }
}

/* Values in order of age; their cost. */
static size_t check_entries(const struct last *l, const struct entries *list,
                            uint32_t count)
{
    size_t bytes = 0;
    uint64_t put = 0;
    const struct entry *e;
    TAILQ_FOREACH(e, list, link) {
        CHECK(e->value && e->put > put && e->put <= l->puts);
        put = e->put;
        bytes += value_cost(l, e->value);
        CHECK(count > 0);
        count--;
    }
    CHECK(count == 0);
    return bytes;
}

void last_check(const struct last *l)
{
    size_t bytes = 0;
    size_t items = 0;
    size_t channels = 0;
    const struct last_channel *c;
    TAILQ_FOREACH(c, &l->order, link) {
        struct str name = str_n(c->name, c->len);
        CHECK(find(l, name, c->hh.hashv) == c);
        CHECK(!is_empty(c) && c->item_count <= l->max_items);
        bytes += channel_cost(name);
        bytes += check_entries(l, &c->items, c->item_count);
        bytes += check_entries(l, &c->recent, c->recent_count);
        items += c->item_count;
        channels++;
    }
    const struct last_item *i;
    for (i = l->items; i; i = i->hh.next)
        CHECK(find_item(l, i->key.channel, i->key.item) == i);
    CHECK(channels == HASH_COUNT(l->channels));
    CHECK(items == HASH_COUNT(l->items));
    CHECK(bytes == l->bytes && bytes <= l->max_bytes);
}
