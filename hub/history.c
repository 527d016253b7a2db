#include "hub/history.h"

#include <stdlib.h>

#include "base/mem.h"

/* A ring is not made smaller than this, nor made larger one by one. */
#define RING_MIN 4

static size_t stream_cost(size_t name_len)
{
    return HISTORY_STREAM_COST + name_len;
}

static size_t item_cost(const struct msg *m)
{
    return HISTORY_ITEM_COST + msg_size(m);
}

static void add_bytes(struct history *h, struct history_stream *s, size_t n)
{
    s->bytes += n;
    h->bytes += n;
}

static void sub_bytes(struct history *h, struct history_stream *s, size_t n)
{
    s->bytes -= n;
    h->bytes -= n;
}

/* A clock of the bus may be ahead of ours. */
static bool is_over(uint64_t since_ms, uint64_t ttl_ms, uint64_t now_ms)
{
    return now_ms >= since_ms && now_ms - since_ms >= ttl_ms;
}

/* --- the ring ------------------------------------------------------------- */

static void resize_ring(struct history_stream *s, uint32_t cap)
{
    struct history_item *ring = mem_alloc(cap * sizeof(*ring));
    for (uint32_t i = 0; i < s->count; i++)
        ring[i] = *history_at(s, i);
    free(s->ring);
    s->ring = ring;
    s->cap = cap;
    s->head = 0;
}

/* The policy's size is more than count. */
static void grow_ring(struct history_stream *s)
{
    uint32_t size = s->policy->size;
    uint32_t cap = s->cap <= UINT32_MAX / 2 ? s->cap * 2 : UINT32_MAX;
    if (cap < RING_MIN)
        cap = RING_MIN;
    resize_ring(s, cap < size ? cap : size);
}

static void shrink_ring(struct history_stream *s)
{
    if (s->count == 0) {
        free(s->ring);
        s->ring = NULL;
        s->cap = 0;
        s->head = 0;
    } else if (s->cap > RING_MIN && s->count <= s->cap / 4) {
        uint32_t cap = s->count * 2;
        resize_ring(s, cap > RING_MIN ? cap : RING_MIN);
    }
}

/* --- what is in the order of use ------------------------------------------ */

/* A cache keeps positions for ever: what has nothing to give up would be in
 * the way of every search for something that has. */
static bool is_ordered(const struct history *h, const struct history_stream *s)
{
    return !h->is_cache || s->count > 0;
}

static void use(struct history *h, struct history_stream *s, uint64_t now_ms)
{
    s->used_ms = now_ms;
    if (!is_ordered(h, s))
        return;
    TAILQ_REMOVE(&h->order, s, use);
    TAILQ_INSERT_TAIL(&h->order, s, use);
}

/* Takes the reference. */
static void push_item(struct history *h, struct history_stream *s,
                      struct msg *m, uint64_t at_ms)
{
    bool was_ordered = is_ordered(h, s);
    if (s->count == s->cap)
        grow_ring(s);
    s->ring[(uint32_t)(((uint64_t)s->head + s->count) % s->cap)] =
        (struct history_item){m, at_ms};
    s->count++;
    add_bytes(h, s, item_cost(m));
    if (!was_ordered)
        TAILQ_INSERT_TAIL(&h->order, s, use);
}

static void pop_item(struct history *h, struct history_stream *s)
{
    struct msg *m = history_at(s, 0)->msg;
    s->floor = m->offset;
    s->head = (s->head + 1) % s->cap;
    s->count--;
    sub_bytes(h, s, item_cost(m));
    msg_unref(m);
    if (!is_ordered(h, s))
        TAILQ_REMOVE(&h->order, s, use);
}

static void pop_all(struct history *h, struct history_stream *s)
{
    while (s->count > 0)
        pop_item(h, s);
    shrink_ring(s);
}

/* --- streams -------------------------------------------------------------- */

static struct history_stream *lookup(const struct history *h,
                                     struct str channel, uint32_t hash)
{
    struct history_stream *s;
    HASH_FIND_BYHASHVALUE(hh, h->streams, channel.p, channel.n, hash, s);
    return s;
}

static struct history_stream *add(struct history *h, struct str channel,
                                  uint32_t hash)
{
    CHECK(channel.n <= UINT16_MAX);
    struct history_stream *s = mem_zalloc(sizeof(*s) + channel.n);
    s->hash = hash;
    s->len = (uint16_t)channel.n;
    if (channel.n)
        memcpy(s->name, channel.p, channel.n);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, h->streams, s->name, s->len, hash, s);
    if (is_ordered(h, s))
        TAILQ_INSERT_TAIL(&h->order, s, use);
    add_bytes(h, s, stream_cost(s->len));
    return s;
}

static void forget(struct history *h, struct history_stream *s)
{
    if (h->forgotten)
        h->forgotten(h->arg, s);
    history_drop(h, s);
}

/* Of one stream, so that it costs no more than what goes: the oldest first, as
 * the bus does it. False: the stream went too. */
static bool expire(struct history *h, struct history_stream *s, uint64_t now_ms)
{
    const struct history_policy *p = s->policy;
    if (h->is_cache) {
        while (s->count > 0 &&
               is_over(history_at(s, 0)->at_ms, p->ttl_ms, now_ms))
            pop_item(h, s);
        shrink_ring(s);
        return true;
    }
    if (p->meta_ttl_ms > 0 && is_over(s->used_ms, p->meta_ttl_ms, now_ms)) {
        forget(h, s);
        return false;
    }
    if (s->count > 0 && is_over(s->published_ms, p->ttl_ms, now_ms))
        pop_all(h, s);
    return true;
}

static void give_up_items(struct history *h, struct history_stream *s)
{
    h->evicted += s->count;
    if (!h->is_cache) {
        forget(h, s);
        return;
    }
    pop_all(h, s);
    s->cut = true;
}

static void give_up_oldest(struct history *h, struct history_stream *s)
{
    while (h->bytes > h->max_bytes && s->count > 0) {
        pop_item(h, s);
        s->cut = true;
        h->evicted++;
    }
    shrink_ring(s);
}

/* `keep`, just used, is the last in the order if it is in it. What is left of
 * a bound too small for it alone are positions, which somebody needs. */
static void evict(struct history *h, struct history_stream *keep)
{
    while (h->bytes > h->max_bytes) {
        struct history_stream *s = TAILQ_FIRST(&h->order);
        if (!s || s == keep) {
            give_up_oldest(h, keep);
            return;
        }
        give_up_items(h, s);
    }
}

/* --- public --------------------------------------------------------------- */

void history_init(struct history *h, size_t max_bytes, bool is_cache)
{
    *h = (struct history){.max_bytes = max_bytes, .is_cache = is_cache};
    TAILQ_INIT(&h->order);
}

void history_fini(struct history *h)
{
    while (h->streams)
        history_drop(h, h->streams);
}

struct history_stream *history_find(struct history *h, struct str channel,
                                    uint32_t hash, uint64_t now_ms)
{
    struct history_stream *s = lookup(h, channel, hash);
    if (!s || !expire(h, s, now_ms))
        return NULL;
    use(h, s, now_ms);
    return s;
}

struct history_stream *history_get(struct history *h, struct str channel,
                                   uint32_t hash,
                                   const struct history_policy *policy,
                                   uint64_t epoch, uint64_t now_ms)
{
    struct history_stream *s = history_find(h, channel, hash, now_ms);
    if (s)
        return s;
    s = add(h, channel, hash);
    s->policy = policy;
    s->epoch = epoch;
    s->used_ms = now_ms;
    evict(h, s);
    return s;
}

void history_append(struct history *h, struct history_stream *s, struct msg *m,
                    uint64_t at_ms, uint64_t now_ms, struct msg_budget *held)
{
    CHECK(m->offset > s->top);
    uint32_t size = s->policy->size;
    /* What expired before this one came does not live on with it. */
    if (!h->is_cache && s->count > 0 &&
        is_over(s->published_ms, s->policy->ttl_ms, now_ms))
        pop_all(h, s);
    while (s->count > 0 && s->count >= size)
        pop_item(h, s);
    s->top = m->offset;
    s->published_ms = at_ms;
    if (size > 0)
        push_item(h, s, msg_copy(m, held), at_ms);
    else
        s->floor = s->top;
    use(h, s, now_ms);
    expire(h, s, now_ms); /* not s itself: it was used now */
    evict(h, s);
}

void history_clear(struct history *h, struct history_stream *s)
{
    pop_all(h, s);
    s->floor = s->top;
    s->cut = false;
}

void history_reset(struct history *h, struct history_stream *s, uint64_t epoch,
                   uint64_t offset)
{
    history_clear(h, s);
    s->epoch = epoch;
    s->top = offset;
    s->floor = offset;
}

void history_drop(struct history *h, struct history_stream *s)
{
    while (s->count > 0)
        pop_item(h, s);
    if (h->swept == s)
        h->swept = s->hh.next;
    if (is_ordered(h, s))
        TAILQ_REMOVE(&h->order, s, use);
    HASH_DEL(h->streams, s);
    sub_bytes(h, s, stream_cost(s->len));
    free(s->ring);
    free(s->version_epoch);
    free(s);
}

uint32_t history_after(const struct history_stream *s, uint64_t offset)
{
    uint32_t from = 0;
    uint32_t to = s->count;
    while (from < to) {
        uint32_t i = from + (to - from) / 2;
        if (history_at(s, i)->msg->offset > offset)
            to = i;
        else
            from = i + 1;
    }
    return from;
}

bool history_is_old_version(const struct history_stream *s, uint64_t version,
                            struct str version_epoch)
{
    return version > 0 && version <= s->version &&
           (version_epoch.n == 0 ||
            str_eq(version_epoch, str_of(s->version_epoch)));
}

void history_set_version(struct history_stream *s, uint64_t version,
                         struct str version_epoch)
{
    if (version == 0)
        return;
    s->version = version;
    if (str_eq(version_epoch, str_of(s->version_epoch)))
        return;
    free(s->version_epoch);
    s->version_epoch =
        version_epoch.n ? mem_strndup(version_epoch.p, version_epoch.n) : NULL;
}

void history_sweep(struct history *h, uint64_t now_ms, uint32_t most)
{
    uint32_t n = HASH_COUNT(h->streams);
    for (n = n < most ? n : most; n > 0; n--) {
        struct history_stream *s = h->swept ? h->swept : h->streams;
        h->swept = s->hh.next;
        expire(h, s, now_ms);
    }
}

/* Over a bus the position may lie behind a publication that did not fit, or of
 * a channel that has none. */
static size_t check_items(const struct history *h,
                          const struct history_stream *s)
{
    size_t bytes = 0;
    uint64_t offset = s->floor;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct msg *m = history_at(s, i)->msg;
        CHECK(m->offset > offset);
        offset = m->offset;
        bytes += item_cost(m);
    }
    CHECK(offset == s->top || (h->is_cache && offset < s->top));
    return bytes;
}

static void check_stream(const struct history *h,
                         const struct history_stream *s)
{
    CHECK(lookup(h, str_n(s->name, s->len), s->hash) == s);
    CHECK(s->policy && s->count <= s->policy->size);
    CHECK(s->count <= s->cap && s->cap <= s->policy->size);
    CHECK(s->cap == 0 ? !s->ring && s->head == 0 : s->head < s->cap);
    CHECK(s->bytes == stream_cost(s->len) + check_items(h, s));
    CHECK(!s->version_epoch || *s->version_epoch);
}

void history_check(const struct history *h)
{
    size_t bytes = 0;
    size_t ordered = 0;
    bool has_swept = !h->swept;
    const struct history_stream *s;
    for (s = h->streams; s; s = s->hh.next) {
        check_stream(h, s);
        bytes += s->bytes;
        ordered += is_ordered(h, s);
        has_swept = has_swept || h->swept == s;
    }
    CHECK(has_swept);
    TAILQ_FOREACH(s, &h->order, use) {
        CHECK(is_ordered(h, s) && ordered > 0);
        ordered--;
    }
    CHECK(ordered == 0);
    CHECK(bytes == h->bytes);
    /* Over the bound are positions only. */
    s = TAILQ_FIRST(&h->order);
    CHECK(bytes <= h->max_bytes ||
          (h->is_cache ? !s : s->count == 0 && !TAILQ_NEXT(s, use)));
}
