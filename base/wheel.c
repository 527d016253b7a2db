#include "base/wheel.h"

#include "base/mem.h"

void wheel_init(struct wheel *w, uint32_t tick_ms, uint64_t now_ms)
{
    w->tick_ms = tick_ms;
    w->tick = now_ms / tick_ms;
    w->count = 0;
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        TAILQ_INIT(&w->slots[i]);
}

/* The first tick at or after the deadline, so that no timer fires early. */
static uint64_t due_tick(const struct wheel *w, uint64_t deadline_ms)
{
    return (deadline_ms + w->tick_ms - 1) / w->tick_ms;
}

static struct wheel_list *slot_of(struct wheel *w, const struct wheel_timer *t)
{
    return &w->slots[due_tick(w, t->deadline_ms) % WHEEL_SLOTS];
}

void wheel_start(struct wheel *w, struct wheel_timer *t, uint64_t deadline_ms)
{
    wheel_stop(w, t);
    uint64_t soonest = (w->tick + 1) * w->tick_ms;
    t->deadline_ms = deadline_ms > soonest ? deadline_ms : soonest;
    TAILQ_INSERT_TAIL(slot_of(w, t), t, link);
    w->count++;
}

void wheel_stop(struct wheel *w, struct wheel_timer *t)
{
    if (t->deadline_ms == 0)
        return;
    TAILQ_REMOVE(slot_of(w, t), t, link);
    t->deadline_ms = 0;
    w->count--;
}

/* Callbacks may stop timers that wait in the same slot, so look for the next
 * due one from the head each time; those not yet due rotate to the tail. */
static void run_slot(struct wheel *w, struct wheel_list *slot, uint64_t tick)
{
    struct wheel_timer mark = {.deadline_ms = 0};
    TAILQ_INSERT_TAIL(slot, &mark, link);
    struct wheel_timer *t;
    while ((t = TAILQ_FIRST(slot)) != &mark) {
        if (due_tick(w, t->deadline_ms) > tick) {
            TAILQ_REMOVE(slot, t, link);
            TAILQ_INSERT_TAIL(slot, t, link);
            continue;
        }
        wheel_stop(w, t);
        t->fire(t);
    }
    TAILQ_REMOVE(slot, &mark, link);
}

void wheel_run(struct wheel *w, uint64_t now_ms)
{
    uint64_t now_tick = now_ms / w->tick_ms;
    if (now_tick <= w->tick)
        return;
    if (w->count == 0) {
        w->tick = now_tick;
        return;
    }
    uint64_t from = w->tick + 1;
    if (now_tick - w->tick > WHEEL_SLOTS)
        from = now_tick - WHEEL_SLOTS + 1;
    w->tick = now_tick;
    for (uint64_t tick = from; tick <= now_tick; tick++)
        run_slot(w, &w->slots[tick % WHEEL_SLOTS], now_tick);
}

int64_t wheel_next_ms(const struct wheel *w, uint64_t now_ms)
{
    if (w->count == 0)
        return -1;
    /* Look at most a second ahead: an idle shard wakes once a second then,
     * which costs nothing and keeps this O(1). */
    for (uint64_t i = 1; i <= 1000 / w->tick_ms; i++) {
        uint64_t tick = w->tick + i;
        if (TAILQ_EMPTY(&w->slots[tick % WHEEL_SLOTS]))
            continue;
        uint64_t at_ms = tick * w->tick_ms;
        return at_ms > now_ms ? (int64_t)(at_ms - now_ms) : 0;
    }
    return 1000;
}

void wheel_check(const struct wheel *w)
{
    size_t n = 0;
    for (size_t i = 0; i < WHEEL_SLOTS; i++) {
        const struct wheel_timer *t;
        TAILQ_FOREACH(t, &w->slots[i], link) {
            CHECK(t->deadline_ms != 0);
            CHECK(due_tick(w, t->deadline_ms) % WHEEL_SLOTS == i);
            CHECK(due_tick(w, t->deadline_ms) > w->tick);
            n++;
        }
    }
    CHECK(n == w->count);
}
