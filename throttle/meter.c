#include "throttle/meter.h"

#include "base/mem.h"

/* With a level in billionths one nanosecond adds exactly `rate`: no remainder
 * to carry. A bucket of 2^32 - 1 units just fits in 63 bits. */
#define UNIT INT64_C(1000000000)
#define MAX_DEBT (UINT32_MAX * UNIT)

void meter_init(struct meter *m, uint32_t rate, uint32_t burst, uint64_t now_ns)
{
    CHECK(rate > 0 && burst > 0);
    *m = (struct meter){
        .rate = rate,
        .burst = burst,
        .level = burst * UNIT,
        .last_ns = now_ns,
    };
}

static void refill(struct meter *m, uint64_t now_ns)
{
    if (now_ns <= m->last_ns)
        return;
    uint64_t room = (uint64_t)(m->burst * UNIT) - (uint64_t)m->level;
    uint64_t gain;
    if (__builtin_mul_overflow(now_ns - m->last_ns, m->rate, &gain) ||
        gain > room)
        gain = room;
    m->level = (int64_t)((uint64_t)m->level + gain);
    m->last_ns = now_ns;
}

bool meter_take(struct meter *m, uint32_t units, uint64_t now_ns)
{
    refill(m, now_ns);
    if (m->level < units * UNIT)
        return false;
    m->level -= units * UNIT;
    return true;
}

bool meter_is_open(struct meter *m, uint64_t now_ns)
{
    refill(m, now_ns);
    return m->level > 0;
}

void meter_charge(struct meter *m, uint32_t units, uint64_t now_ns)
{
    /* What was earned up to now cannot be kept beyond the burst. */
    (void)meter_is_open(m, now_ns);
    m->level = m->level < units * UNIT - MAX_DEBT ? -MAX_DEBT
                                                  : m->level - units * UNIT;
}

uint64_t meter_wait_ns(struct meter *m, uint64_t now_ns)
{
    if (meter_is_open(m, now_ns))
        return 0;
    return (uint64_t)-m->level / m->rate + 1;
}
