#include "throttle/conflate.h"

#include <stdlib.h>

#include "base/mem.h"

static struct conflate_list *list_of(struct conflate *c,
                                     const struct conflate_item *item)
{
    return item->value ? &c->waiting : &c->resting;
}

static void enlist(struct conflate *c, struct conflate_item *item)
{
    TAILQ_INSERT_TAIL(list_of(c, item), item, link);
}

/* Before its value changes. */
static void unlist(struct conflate *c, struct conflate_item *item)
{
    TAILQ_REMOVE(list_of(c, item), item, link);
}

static struct conflate_item *find(const struct conflate *c, uint64_t key)
{
    struct conflate_item *item;
    HASH_FIND(hh, c->items, &key, sizeof(key), item);
    return item;
}

/* The one place that stamps: what only waits must not move the clock, or a
 * fast source would starve its own item. */
static void mark_sent(struct conflate_item *item, uint64_t now_ns)
{
    item->sent_count = item->count;
    item->sent_ns = now_ns;
}

static bool may_send(const struct conflate *c, const struct conflate_item *item,
                     uint64_t now_ns)
{
    return now_ns - item->sent_ns >= c->interval_ns;
}

static void forget(struct conflate *c, struct conflate_item *item)
{
    unlist(c, item);
    HASH_DEL(c->items, item);
    c->count--;
    free(item);
}

/* A new item has been sent just now. NULL: no room, at no loss. */
static struct conflate_item *add(struct conflate *c, uint64_t key,
                                 uint64_t now_ns)
{
    struct conflate_item *oldest = TAILQ_FIRST(&c->resting);
    if (c->count == c->max_items) {
        if (!oldest || !may_send(c, oldest, now_ns))
            return NULL;
        forget(c, oldest);
    }
    struct conflate_item *item = mem_zalloc(sizeof(*item));
    item->key = key;
    item->count = 1;
    HASH_ADD(hh, c->items, key, sizeof(item->key), item);
    c->count++;
    mark_sent(item, now_ns);
    enlist(c, item);
    return item;
}

void conflate_init(struct conflate *c, uint64_t interval_ns, uint32_t max_items,
                   const struct conflate_ops *ops)
{
    *c = (struct conflate){
        .ops = ops,
        .interval_ns = interval_ns,
        .max_items = max_items,
    };
    TAILQ_INIT(&c->waiting);
    TAILQ_INIT(&c->resting);
}

void conflate_fini(struct conflate *c)
{
    struct conflate_item *item;
    struct conflate_item *next;
    HASH_ITER(hh, c->items, item, next) {
        if (item->value)
            c->ops->unref(item->value);
        forget(c, item);
    }
}

static void put_value(struct conflate *c, struct conflate_item *item,
                      void *value)
{
    c->ops->ref(value);
    if (item->value) {
        c->ops->unref(item->value);
        item->value = value;
        c->conflated++;
        return;
    }
    unlist(c, item);
    item->value = value;
    item->first_seq = item->seq;
    enlist(c, item);
}

bool conflate_offer(struct conflate *c, uint64_t key, void *value, uint64_t seq,
                    uint64_t now_ns)
{
    if (c->interval_ns == 0)
        return true;
    struct conflate_item *item = find(c, key);
    if (!item) {
        if (!add(c, key, now_ns))
            c->untracked++;
        return true;
    }
    item->count++;
    if (item->value || !may_send(c, item, now_ns)) {
        item->seq = seq;
        put_value(c, item, value);
        return false;
    }
    unlist(c, item);
    mark_sent(item, now_ns);
    enlist(c, item);
    return true;
}

bool conflate_take(struct conflate *c, uint64_t now_ns,
                   struct conflate_due *out)
{
    struct conflate_item *item = TAILQ_FIRST(&c->waiting);
    if (!item)
        return false;
    *out = (struct conflate_due){
        .value = item->value,
        .seq = item->seq,
        .first_seq = item->first_seq,
        .n = item->count - item->sent_count,
    };
    unlist(c, item);
    item->value = NULL;
    mark_sent(item, now_ns);
    enlist(c, item);
    return true;
}

bool conflate_rest(struct conflate *c, uint64_t now_ns)
{
    struct conflate_item *item;
    while ((item = TAILQ_FIRST(&c->resting)) && may_send(c, item, now_ns))
        forget(c, item);
    return c->count > 0;
}

static uint32_t check_list(const struct conflate_list *list, bool has_value)
{
    uint32_t n = 0;
    const struct conflate_item *item;
    TAILQ_FOREACH(item, list, link) {
        CHECK((item->value != NULL) == has_value);
        CHECK(!item->value || item->count != item->sent_count);
        n++;
    }
    return n;
}

void conflate_check(const struct conflate *c)
{
    uint32_t listed =
        check_list(&c->waiting, true) + check_list(&c->resting, false);
    CHECK(listed == c->count && HASH_COUNT(c->items) == c->count);
    CHECK(c->count <= c->max_items && (c->interval_ns || c->count == 0));
    const struct conflate_item *item;
    for (item = c->items; item; item = item->hh.next)
        CHECK(find(c, item->key) == item);
}
