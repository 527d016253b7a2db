#include "hub/lane.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hub/fanout.h"
#include "hub/topic.h"

void lane_init(struct lane *l, struct topic *t, struct pace *pace)
{
    l->topic = t;
    l->pace = pace;
    l->slots = &l->one_slot;
    l->cap = 1;
    l->pending = &l->one_pending;
    l->pending_cap = 1;
}

void lane_fini(struct lane *l)
{
    CHECK(l->count == 0 && l->pending_count == 0 && !l->pass && !l->busy);
    if (l->slots != &l->one_slot)
        free(l->slots);
    if (l->pending != &l->one_pending)
        free(l->pending);
}

static void grow_slots(struct lane *l)
{
    bool is_first = l->slots == &l->one_slot;
    l->cap *= 2;
    l->slots =
        mem_realloc(is_first ? NULL : l->slots, l->cap * sizeof(*l->slots));
    if (is_first)
        l->slots[0] = l->one_slot;
}

void lane_add(struct lane *l, struct sub *s, uint64_t from)
{
    if (l->count == l->cap)
        grow_slots(l);
    l->slots[l->count] = (struct topic_slot){s->client, s};
    s->index = l->count++;
    s->lane = l;
    s->state = SUB_LIVE;
    s->from = 0;
    lane_skip(l, s, from);
}

static void move_slot(struct lane *l, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    l->slots[to] = l->slots[from];
    l->slots[to].sub->index = to;
}

/* The hole moves right, past one border at a time, to the end. */
void lane_remove(struct lane *l, struct sub *s)
{
    uint32_t hole = s->index;
    if (hole < l->cursor) {
        move_slot(l, --l->cursor, hole);
        hole = l->cursor;
    }
    if (hole < l->limit) {
        move_slot(l, --l->limit, hole);
        hole = l->limit;
    }
    move_slot(l, --l->count, hole);
    s->lane = NULL;
    if (l->cap > 16 && l->count < l->cap / 4) {
        l->cap /= 2;
        l->slots = mem_realloc(l->slots, l->cap * sizeof(*l->slots));
    }
}

void lane_skip(struct lane *l, struct sub *s, uint64_t from)
{
    CHECK(from >= s->from);
    s->from = from;
    if (from > l->joined)
        l->joined = from;
}

static void grow_pending(struct lane *l)
{
    bool is_first = l->pending == &l->one_pending;
    l->pending_cap *= 2;
    l->pending = mem_realloc(is_first ? NULL : l->pending,
                             l->pending_cap * sizeof(*l->pending));
    if (is_first)
        l->pending[0] = l->one_pending;
}

/* A moving head, so that a long backlog is not moved for every batch. */
void lane_push(struct lane *l, struct lane_pub pub)
{
    if (l->pending_head + l->pending_count == l->pending_cap) {
        if (l->pending_head <= l->pending_cap / 2)
            grow_pending(l);
        memmove(l->pending, l->pending + l->pending_head,
                l->pending_count * sizeof(*l->pending));
        l->pending_head = 0;
    }
    l->pending[l->pending_head + l->pending_count++] = pub;
    l->pushed++;
}

/* After a burst give its room back. */
static void rest_pending(struct lane *l)
{
    l->pending_head = 0;
    if (l->pending_cap <= FANOUT_BATCH_MAX)
        return;
    free(l->pending);
    l->pending = &l->one_pending;
    l->pending_cap = 1;
}

void lane_taken(struct lane *l, uint32_t count)
{
    l->pending_head += count;
    l->pending_count -= count;
    if (l->pending_count == 0)
        rest_pending(l);
}

void lane_drop_pending(struct lane *l)
{
    for (uint32_t i = 0; i < l->pending_count; i++)
        msg_unref(l->pending[l->pending_head + i].msg);
    l->ended += l->pending_count;
    l->pending_count = 0;
    rest_pending(l);
}

void lane_check(const struct lane *l)
{
    CHECK(l->cursor <= l->limit && l->limit <= l->count && l->count <= l->cap);
    CHECK(l->pass || l->limit == 0);
    CHECK(l->busy || (!l->pass && l->pending_count == 0));
    CHECK(l->pending_head + l->pending_count <= l->pending_cap);
    for (uint32_t i = 0; i < l->count; i++) {
        const struct sub *s = l->slots[i].sub;
        CHECK(s->index == i && s->lane == l && s->state == SUB_LIVE);
        CHECK(s->topic == l->topic);
        CHECK(l->slots[i].client == s->client && s->from <= l->joined);
    }
}
