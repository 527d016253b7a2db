#include "base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"

#define TIMERS 200
#define OPS 1000000

/* The model: a plain list of what runs and until when. */
struct slot {
    struct wheel_timer timer;
    bool running;
    uint64_t deadline_ms;
    uint64_t started_ms; /* the wheel's time when it was started */
    unsigned fired;
};

struct model {
    struct wheel wheel;
    struct rand rand;
    struct slot slots[TIMERS];
    uint64_t now_ms; /* of the last wheel_run */
    unsigned fired;
};

static struct model model;

static void start(struct slot *s, uint64_t deadline_ms)
{
    wheel_start(&model.wheel, &s->timer, deadline_ms);
    s->running = true;
    s->deadline_ms = deadline_ms;
    s->started_ms = model.now_ms;
}

static void stop(struct slot *s)
{
    wheel_stop(&model.wheel, &s->timer);
    s->running = false;
}

/* Mostly near, sometimes several turns of the wheel away, sometimes past. */
static uint64_t random_deadline(void)
{
    static const uint64_t reach_ms[] = {40, 1000, 25000, 100000};
    uint64_t reach = reach_ms[rand_below(&model.rand, 4)];
    uint64_t at = model.now_ms + rand_below(&model.rand, reach);
    return rand_below(&model.rand, 20) ? at : at / 2;
}

static struct slot *random_slot(void)
{
    return &model.slots[rand_below(&model.rand, TIMERS)];
}

static void on_fire(struct wheel_timer *t)
{
    struct slot *s = container_of(t, struct slot, timer);
    assert_true(s->running);
    assert_true(model.now_ms >= s->deadline_ms);
    assert_int_equal(t->deadline_ms, 0);
    s->running = false;
    s->fired++;
    model.fired++;
    switch (rand_below(&model.rand, 4)) {
    case 0:
        start(s, random_deadline());
        break;
    case 1:
        start(random_slot(), random_deadline());
        break;
    case 2:
        stop(random_slot());
        break;
    default:
        break;
    }
}

static void init_model(uint64_t seed)
{
    model = (struct model){.now_ms = 1000000};
    rand_init(&model.rand, seed);
    wheel_init(&model.wheel, WHEEL_TICK_MS, model.now_ms);
    for (size_t i = 0; i < TIMERS; i++)
        model.slots[i].timer.fire = on_fire;
}

/* Whatever had to fire by now did; whoever sleeps as told misses nothing. */
static void check_model(void)
{
    size_t running = 0;
    int64_t sleep_ms = wheel_next_ms(&model.wheel, model.now_ms);
    for (size_t i = 0; i < TIMERS; i++) {
        const struct slot *s = &model.slots[i];
        if (!s->running)
            continue;
        running++;
        uint64_t from =
            s->deadline_ms > s->started_ms ? s->deadline_ms : s->started_ms;
        assert_true(model.now_ms < from + WHEEL_TICK_MS);
        assert_true(sleep_ms >= 0);
        assert_true(model.now_ms + (uint64_t)sleep_ms <
                    from + 2 * WHEEL_TICK_MS);
    }
    assert_int_equal(running, model.wheel.count);
    assert_true(sleep_ms <= 1000 && (running > 0 || sleep_ms == -1));
}

static void run_model(void)
{
    static const uint64_t jumps_ms[] = {1, 19, 20, 21, 400, 5000, 30000};
    model.now_ms +=
        rand_below(&model.rand, jumps_ms[rand_below(&model.rand, 7)] + 1);
    wheel_run(&model.wheel, model.now_ms);
    check_model();
}

static void test_random_against_a_list(void **state)
{
    (void)state;
    init_model(1);
    for (unsigned i = 0; i < OPS; i++) {
        switch (rand_below(&model.rand, 10)) {
        case 0:
            run_model();
            break;
        case 1:
        case 2:
        case 3:
            stop(random_slot());
            break;
        default:
            start(random_slot(), random_deadline());
            break;
        }
        if (i % 16 == 0)
            wheel_check(&model.wheel);
    }
    assert_true(model.fired > OPS / 100);
}

static unsigned shots;

static void on_shot(struct wheel_timer *t)
{
    (void)t;
    shots++;
}

static void test_never_early_and_once(void **state)
{
    (void)state;
    struct wheel w;
    struct wheel_timer t = {.fire = on_shot};
    wheel_init(&w, WHEEL_TICK_MS, 1000);
    shots = 0;
    wheel_start(&w, &t, 1030);
    for (uint64_t ms = 1001; ms < 1030; ms++) {
        wheel_run(&w, ms);
        assert_int_equal(shots, 0);
    }
    for (uint64_t ms = 1030; ms < 1030 + WHEEL_TICK_MS; ms++)
        wheel_run(&w, ms);
    assert_int_equal(shots, 1);
    wheel_run(&w, 5000);
    assert_int_equal(shots, 1);
}

static void test_far_away_and_a_long_sleep(void **state)
{
    (void)state;
    struct wheel w;
    wheel_init(&w, WHEEL_TICK_MS, 0);
    struct wheel_timer near = {.fire = on_shot};
    struct wheel_timer far = {.fire = on_shot};
    uint64_t turn_ms = (uint64_t)WHEEL_SLOTS * WHEEL_TICK_MS;
    shots = 0;
    wheel_start(&w, &near, 100);
    wheel_start(&w, &far, 100 + 3 * turn_ms); /* the same slot */
    wheel_run(&w, 100);
    assert_int_equal(shots, 1);
    wheel_run(&w, 100 + turn_ms);
    wheel_run(&w, 99 + 3 * turn_ms);
    assert_int_equal(shots, 1);
    wheel_run(&w, 100 + 50 * turn_ms); /* a laptop that slept */
    assert_int_equal(shots, 2);
    assert_int_equal(wheel_next_ms(&w, 0), -1);
    wheel_check(&w);
}

static void test_start_again_moves_and_stop_is_idempotent(void **state)
{
    (void)state;
    struct wheel w;
    wheel_init(&w, WHEEL_TICK_MS, 0);
    struct wheel_timer t = {.fire = on_shot};
    shots = 0;
    wheel_stop(&w, &t);
    wheel_start(&w, &t, 100);
    wheel_start(&w, &t, 500);
    assert_int_equal(w.count, 1);
    wheel_run(&w, 400);
    assert_int_equal(shots, 0);
    wheel_run(&w, 500);
    assert_int_equal(shots, 1);
    wheel_start(&w, &t, 600);
    wheel_stop(&w, &t);
    wheel_stop(&w, &t);
    wheel_run(&w, 10000);
    assert_int_equal(shots, 1);
    wheel_check(&w);
}

static void test_a_past_deadline_fires_on_the_next_tick(void **state)
{
    (void)state;
    struct wheel w;
    wheel_init(&w, WHEEL_TICK_MS, 1000);
    struct wheel_timer t = {.fire = on_shot};
    shots = 0;
    wheel_start(&w, &t, 0);
    assert_int_equal(wheel_next_ms(&w, 1000), WHEEL_TICK_MS);
    wheel_run(&w, 1000 + WHEEL_TICK_MS);
    assert_int_equal(shots, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_against_a_list),
        cmocka_unit_test(test_never_early_and_once),
        cmocka_unit_test(test_far_away_and_a_long_sleep),
        cmocka_unit_test(test_start_again_moves_and_stop_is_idempotent),
        cmocka_unit_test(test_a_past_deadline_fires_on_the_next_tick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
