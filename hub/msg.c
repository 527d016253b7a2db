#include "hub/msg.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"

const struct history_policy history_none;

uint32_t msg_channel_hash(struct str channel)
{
    return (uint32_t)hash_bytes(channel.p, channel.n);
}

uint64_t msg_item_hash(struct str channel, struct str key)
{
    uint64_t parts[2] = {hash_bytes(channel.p, channel.n),
                         key.n ? hash_bytes(key.p, key.n) : 0};
    uint64_t hash = hash_bytes(parts, sizeof(parts));
    return hash ? hash : 1;
}

size_t msg_size(const struct msg *m)
{
    return sizeof(*m) + m->channel_len + m->data_len + m->tags_len +
           m->info_len;
}

static bool admit(struct msg_budget *b, int64_t n)
{
    /* Relaxed: the budget is a sum, it orders nothing. */
    int64_t used =
        atomic_fetch_add_explicit(&b->used_bytes, n, memory_order_relaxed);
    if (used + n <= b->max_bytes)
        return true;
    atomic_fetch_sub_explicit(&b->used_bytes, n, memory_order_relaxed);
    atomic_fetch_add_explicit(&b->refused, 1, memory_order_relaxed);
    return false;
}

static char *append(char *to, struct str s)
{
    if (s.n)
        memcpy(to, s.p, s.n);
    return to + s.n;
}

struct msg *msg_new(struct msg_budget *b, const struct msg_parts *parts)
{
    size_t n = sizeof(struct msg) + parts->channel.n + parts->data.n +
               parts->tags.n + parts->info.n;
    if (!admit(b, (int64_t)n))
        return NULL;
    struct msg *m = mem_alloc(n);
    atomic_init(&m->refs, 1);
    m->channel_hash = msg_channel_hash(parts->channel);
    m->born_ns = parts->born_ns;
    m->item =
        parts->item ? parts->item : msg_item_hash(parts->channel, STR_LIT(""));
    m->policy = parts->policy ? parts->policy : &throttle_plain;
    m->history = parts->history ? parts->history : &history_none;
    m->epoch = parts->epoch;
    m->offset = parts->offset;
    m->prev = parts->prev;
    m->gap = parts->gap;
    m->skip_history = parts->skip_history;
    m->is_marker = parts->is_marker;
    atomic_init(&m->budget, b);
    m->channel_len = (uint32_t)parts->channel.n;
    m->data_len = (uint32_t)parts->data.n;
    m->tags_len = (uint32_t)parts->tags.n;
    m->info_len = (uint32_t)parts->info.n;
    m->is_json = parts->is_json;
    m->urgent = parts->urgent;
    m->keyless = parts->keyless;
    char *to = append(m->bytes, parts->channel);
    to = append(to, parts->data);
    to = append(to, parts->tags);
    append(to, parts->info);
    return m;
}

void msg_unref(struct msg *m)
{
    /* Acquire-release: the last holder must see every earlier holder's reads
     * done before it frees; pairs with the other decrements. */
    if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct msg_budget *b =
        atomic_load_explicit(&m->budget, memory_order_relaxed);
    atomic_fetch_sub_explicit(&b->used_bytes, (int64_t)msg_size(m),
                              memory_order_relaxed);
    free(m);
}

struct msg *msg_copy(struct msg *m, struct msg_budget *to)
{
    /* Relaxed: it never leaves a budget that refuses nothing. */
    if (atomic_load_explicit(&m->budget, memory_order_relaxed) == to)
        return msg_ref(m);
    struct msg_parts parts = {
        .channel = msg_channel(m),
        .data = msg_data(m),
        .tags = msg_tags(m),
        .info = msg_info(m),
        .item = m->item,
        .policy = m->policy,
        .history = m->history,
        .epoch = m->epoch,
        .offset = m->offset,
        .prev = m->prev,
        .gap = m->gap,
        .is_json = m->is_json,
        .urgent = m->urgent,
        .keyless = m->keyless,
        .skip_history = m->skip_history,
        .is_marker = m->is_marker,
        .born_ns = m->born_ns,
    };
    struct msg *copy = msg_new(to, &parts);
    CHECK(copy);
    return copy;
}

void msg_hold(struct msg *m, struct msg_budget *to)
{
    int64_t n = (int64_t)msg_size(m);
    /* Relaxed: two sums; the pointer is read again only by the last holder,
     * after its acquiring decrement. */
    if (atomic_load_explicit(&m->budget, memory_order_relaxed) == to)
        return;
    struct msg_budget *from =
        atomic_exchange_explicit(&m->budget, to, memory_order_relaxed);
    if (from == to)
        return;
    atomic_fetch_add_explicit(&to->used_bytes, n, memory_order_relaxed);
    atomic_fetch_sub_explicit(&from->used_bytes, n, memory_order_relaxed);
}
