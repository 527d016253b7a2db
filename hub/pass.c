#include "hub/pass.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/fanout.h"
#include "hub/hub.h"
#include "hub/pace.h"
#include "hub/topic.h"

/* An urgent publication is a batch of its own. */
static uint32_t count_batch(const struct lane *l)
{
    const struct lane_pub *from = l->pending + l->pending_head;
    uint32_t n = 0;
    size_t bytes = 0;
    while (n < l->pending_count && n < FANOUT_BATCH_MAX) {
        if (from[n].msg->urgent)
            return n ? n : 1;
        bytes += msg_size(from[n].msg);
        if (n && bytes > (l->pace ? PACE_BATCH_BYTES : FANOUT_BATCH_BYTES))
            break;
        n++;
    }
    return n;
}

struct pass *pass_begin(struct lane *l)
{
    uint32_t n = count_batch(l);
    struct pass *p = mem_zalloc(sizeof(*p) + n * sizeof(struct lane_pub));
    p->refs = 1;
    p->count = n;
    p->lane = l;
    p->lane_id = l->pace ? l->pace->id : 0;
    memcpy(p->pubs, l->pending + l->pending_head, n * sizeof(*p->pubs));
    p->urgent = p->pubs[0].msg->urgent;
    p->least_seq = p->pubs[0].seq;
    for (uint32_t i = 0; i < n; i++) {
        p->bytes += (uint32_t)msg_size(p->pubs[i].msg);
        if (p->pubs[i].seq < p->least_seq)
            p->least_seq = p->pubs[i].seq;
        if (!p->pubs[i].msg->is_json && p->pubs[i].seq > p->binary_seq)
            p->binary_seq = p->pubs[i].seq;
    }
    lane_taken(l, n);
    return p;
}

void pass_end(struct pass *p)
{
    for (unsigned e = 0; e < ENCODING_COUNT; e++) {
        if (p->frames[e])
            frame_unref(p->frames[e]);
        p->frames[e] = NULL;
    }
    for (uint32_t i = 0; p->singles && i < p->count * ENCODING_COUNT; i++) {
        if (p->singles[i])
            frame_unref(p->singles[i]);
    }
    free(p->singles);
    p->singles = NULL;
    pass_unref(p);
}

void pass_unref(struct pass *p)
{
    if (--p->refs)
        return;
    for (uint32_t i = 0; i < p->count; i++)
        msg_unref(p->pubs[i].msg);
    free(p);
}

static struct frame *encode(struct shard *s, const struct lane *l,
                            enum encoding e, const struct lane_pub *pubs,
                            uint32_t count, uint32_t lost)
{
    struct codec_pub out[FANOUT_BATCH_MAX];
    const struct topic *t = l->topic;
    bool annotate = l->pace && l->pace->policy->annotate;
    for (uint32_t i = 0; i < count; i++) {
        const struct msg *m = pubs[i].msg;
        out[i] = (struct codec_pub){
            .msg = m, .n = pubs[i].n, .lost = lost, .offset = pubs[i].offset};
        if (!annotate)
            continue;
        out[i].annotate = true;
        if (s->now_ns > m->born_ns)
            out[i].age_ms = (uint32_t)((s->now_ns - m->born_ns) / 1000000);
    }
    buf_clear(&s->encode);
    s->hub->options.codec->encode(&s->encode, e, topic_name(t), t->is_pattern,
                                  out, count);
    struct frame *f = frame_new(buf_view(&s->encode));
    f->publications = count;
    f->born_ns = pubs[0].msg->born_ns;
    f->urgent = pubs[0].msg->urgent;
    return f;
}

/* A frame that can be taken back knows where it came from. */
static void link_frame(struct pass *p, struct frame *f, uint32_t index)
{
    if (p->lane_id == 0 || p->urgent)
        return;
    f->pass = p;
    f->index = index;
    p->refs++;
}

struct frame *pass_frame(struct shard *s, struct pass *p, enum encoding e)
{
    if (p->frames[e])
        return p->frames[e];
    p->frames[e] = encode(s, p->lane, e, p->pubs, p->count, 0);
    link_frame(p, p->frames[e], FRAME_WHOLE);
    return p->frames[e];
}

struct frame *pass_new_single(struct shard *s, struct pass *p, uint32_t i,
                              enum encoding e)
{
    struct frame *f = encode(s, p->lane, e, &p->pubs[i], 1, 0);
    link_frame(p, f, i);
    return f;
}

struct frame *pass_single(struct shard *s, struct pass *p, uint32_t i,
                          enum encoding e)
{
    if (!p->singles)
        p->singles =
            mem_zalloc(p->count * ENCODING_COUNT * sizeof(struct frame *));
    struct frame **f = &p->singles[i * ENCODING_COUNT + e];
    if (!*f)
        *f = pass_new_single(s, p, i, e);
    return *f;
}

static void clear_entry(struct pass_cache *cache, uint32_t i)
{
    if (!cache->entries[i].msg)
        return;
    msg_unref(cache->entries[i].msg);
    frame_unref(cache->entries[i].frame);
    cache->entries[i].msg = NULL;
    cache->count--;
}

static struct frame *cached(struct shard *s, const struct lane *l,
                            enum encoding e, const struct lane_pub *pub)
{
    struct pass_cache *cache = &s->cache;
    uint64_t id = l->pace->id;
    uint64_t hash = (pub->msg->item ^ id) * 0x9e3779b97f4a7c15u + e;
    uint32_t i = (uint32_t)(hash >> 32) % PASS_CACHE_SIZE;
    if (cache->entries[i].msg == pub->msg && cache->entries[i].lane_id == id &&
        cache->entries[i].encoding == e)
        return cache->entries[i].frame;
    clear_entry(cache, i);
    cache->entries[i].msg = msg_ref(pub->msg);
    cache->entries[i].frame = encode(s, l, e, pub, 1, 0);
    cache->entries[i].lane_id = id;
    cache->entries[i].encoding = e;
    cache->count++;
    return cache->entries[i].frame;
}

struct frame *pass_encode_for(struct shard *s, const struct lane *l,
                              enum encoding e, const struct lane_pub *pub,
                              uint32_t lost)
{
    if (!l->pace || l->pace->policy->annotate || lost)
        return encode(s, l, e, pub, 1, lost);
    return frame_ref(cached(s, l, e, pub));
}

void pass_cache_clear(struct pass_cache *cache)
{
    for (uint32_t i = 0; cache->count && i < PASS_CACHE_SIZE; i++)
        clear_entry(cache, i);
}
