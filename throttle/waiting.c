#include "throttle/waiting.h"

#include <stdlib.h>

#include "base/mem.h"

#define CREDIT_UNIT 16
#define SINCE_UNIT_MS 64
#define SINCE_MASK 0x7fffu
#define MAX_AGE ((WAITING_MAX_AGE_MS + SINCE_UNIT_MS - 1) / SINCE_UNIT_MS)
/* Doubled this often the quantum fills any credit. */
#define MAX_DOUBLINGS 10

#define MIN_CAP 8
/* Up to so many slots a table is not worth shrinking before it is empty. */
#define SMALL_CAP 28

_Static_assert(sizeof(struct waiting_slot) == 16,
               "2 slots an item are 32 bytes");
_Static_assert((WAITING_QUANTUM / CREDIT_UNIT) << MAX_DOUBLINGS >= UINT16_MAX,
               "credit saturates");

/* Where an item would like to be. Any capacity will do: the hash is a
 * fraction of the table, not a remainder. */
static uint32_t home_of(uint64_t key, uint32_t cap)
{
    uint64_t h = (key ^ key >> 32) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)((h >> 32) * cap >> 32);
}

static uint32_t after(const struct waiting *w, uint32_t i)
{
    return i + 1 == w->cap ? 0 : i + 1;
}

/* The item's slot, or the free one where it belongs; there is always one. */
static uint32_t probe(const struct waiting *w, uint64_t key)
{
    uint32_t i = home_of(key, w->cap);
    while (w->slots[i].value && w->key(w->slots[i].value) != key)
        i = after(w, i);
    return i;
}

/* Keeps who was seen; the cursor stays at about the same part of the circle,
 * because the order of homes does not depend on the capacity. */
static void resize(struct waiting *w, uint32_t cap)
{
    struct waiting_slot *old = w->slots;
    uint32_t old_cap = w->cap;
    w->slots = mem_zalloc(cap * sizeof(*w->slots));
    w->cap = cap;
    w->cursor = old_cap ? (uint32_t)((uint64_t)w->cursor * cap / old_cap) : 0;
    for (uint32_t i = 0; i < old_cap; i++) {
        if (old[i].value)
            w->slots[probe(w, w->key(old[i].value))] = old[i];
    }
    free(old);
}

/* Half as much again, rounded up to a quarter of a power of two: sizes that
 * allocators have, so that their slack is none. */
static uint32_t size_for(uint32_t count)
{
    uint32_t want = count + count / 2;
    if (want <= MIN_CAP)
        return MIN_CAP;
    uint32_t step = 1u << (31 - __builtin_clz(want - 1)) >> 2;
    return (want + step - 1) / step * step;
}

/* Full is 7/8; 2/3 at most after. */
static void make_room(struct waiting *w)
{
    if (w->count >= (uint64_t)w->cap * 7 / 8)
        resize(w, size_for(w->count + 1));
}

static void give_back(struct waiting *w)
{
    if (w->count == 0) {
        waiting_fini(w);
        waiting_init(w, w->key);
    } else if (w->cap > SMALL_CAP && w->cap / 2 >= w->count) {
        resize(w, size_for(w->count));
    }
}

void waiting_init(struct waiting *w, uint64_t (*key)(const void *value))
{
    *w = (struct waiting){.key = key};
}

void waiting_fini(struct waiting *w)
{
    free(w->slots);
    w->slots = NULL;
}

struct waiting_slot *waiting_find(const struct waiting *w, uint64_t key)
{
    if (w->count == 0)
        return NULL;
    struct waiting_slot *slot = &w->slots[probe(w, key)];
    return slot->value ? slot : NULL;
}

static void *drop_at_cursor(struct waiting *w)
{
    while (!w->slots[w->cursor].value)
        w->cursor = after(w, w->cursor);
    void *value = w->slots[w->cursor].value;
    waiting_remove(w, &w->slots[w->cursor]);
    return value;
}

static uint16_t stamp(uint64_t now_ms)
{
    return now_ms / SINCE_UNIT_MS & SINCE_MASK;
}

void *waiting_add(struct waiting *w, void *value, uint32_t n, uint64_t now_ms,
                  uint32_t max)
{
    CHECK(value && max > 0);
    void *dropped = w->count >= max ? drop_at_cursor(w) : NULL;
    make_room(w);
    struct waiting_slot *slot = &w->slots[probe(w, w->key(value))];
    CHECK(!slot->value);
    *slot = (struct waiting_slot){
        .value = value,
        .n = n,
        .since = stamp(now_ms),
        .seen = w->round,
    };
    w->count++;
    return dropped;
}

/* The next item that this round has not visited; count > 0. */
static struct waiting_slot *advance(struct waiting *w)
{
    if (w->unseen == 0) {
        w->round ^= 1;
        w->unseen = w->count;
    }
    for (;;) {
        struct waiting_slot *slot = &w->slots[w->cursor];
        if (slot->value && slot->seen != w->round) {
            slot->seen = w->round;
            w->unseen--;
            return slot;
        }
        w->cursor = after(w, w->cursor);
    }
}

static void give_credit(struct waiting_slot *slot, uint32_t fruitless_rounds)
{
    uint32_t doublings =
        fruitless_rounds < MAX_DOUBLINGS ? fruitless_rounds : MAX_DOUBLINGS;
    uint32_t credit =
        slot->credit + ((WAITING_QUANTUM / CREDIT_UNIT) << doublings);
    slot->credit = credit < UINT16_MAX ? (uint16_t)credit : UINT16_MAX;
}

/* Credit that cannot grow any more is enough for everything. */
static bool may_go(const struct waiting_slot *slot, uint64_t now_ms,
                   size_t cost)
{
    uint32_t age = (uint32_t)(stamp(now_ms) - slot->since) & SINCE_MASK;
    return slot->credit == UINT16_MAX || age >= MAX_AGE ||
           cost <= (size_t)slot->credit * CREDIT_UNIT;
}

struct waiting_slot *waiting_next(struct waiting *w, uint64_t now_ms,
                                  size_t (*cost)(void *arg, void *value),
                                  void *arg)
{
    if (w->has_turn)
        return waiting_find(w, w->turn);
    if (w->count == 0)
        return NULL;
    for (uint64_t visits = 0;; visits++) {
        struct waiting_slot *slot = advance(w);
        give_credit(slot, (uint32_t)(visits / w->count));
        if (may_go(slot, now_ms, cost(arg, slot->value))) {
            w->turn = w->key(slot->value);
            w->has_turn = true;
            return slot;
        }
    }
}

/* Backward shift: whoever probed across the hole and may sit in it moves into
 * it, and so on with the hole he leaves. */
static void close_hole(struct waiting *w, uint32_t hole)
{
    for (uint32_t i = after(w, hole); w->slots[i].value; i = after(w, i)) {
        uint32_t home = home_of(w->key(w->slots[i].value), w->cap);
        bool is_between =
            hole < i ? hole < home && home <= i : hole < home || home <= i;
        if (is_between)
            continue;
        w->slots[hole] = w->slots[i];
        hole = i;
    }
    w->slots[hole] = (struct waiting_slot){.value = NULL};
}

void waiting_remove(struct waiting *w, struct waiting_slot *slot)
{
    if (w->has_turn && w->turn == w->key(slot->value))
        w->has_turn = false;
    if (slot->seen != w->round)
        w->unseen--;
    w->count--;
    close_hole(w, (uint32_t)(slot - w->slots));
    give_back(w);
}

void waiting_check(const struct waiting *w)
{
    uint32_t count = 0;
    uint32_t unseen = 0;
    for (uint32_t i = 0; i < w->cap; i++) {
        const struct waiting_slot *slot = &w->slots[i];
        if (!slot->value)
            continue;
        CHECK(waiting_find(w, w->key(slot->value)) == slot);
        count++;
        unseen += slot->seen != w->round;
    }
    CHECK(count == w->count && unseen == w->unseen);
    CHECK((count == 0) == (w->cap == 0) && (count == 0) == !w->slots);
    CHECK(count < w->cap || w->cap == 0);
    CHECK(w->cursor < w->cap || w->cursor == 0);
    CHECK(w->cap <= SMALL_CAP || w->cap <= 2 * count);
    CHECK(!w->has_turn || waiting_find(w, w->turn));
}
