#include "throttle/policy.h"

#include <stdio.h>

#include "base/mem.h"

const struct throttle_policy throttle_plain = {
    .mode = THROTTLE_ALL,
    .on_full = THROTTLE_DISCONNECT,
};

/* Few, so that clients with similar wishes share a class. Row 0: no limit. */
static const uint32_t CLASS_RATES[THROTTLE_CLASSES] = {
    0, 200, 500, 1000, 2000, 3000, 5000, 10000, 20000, 30000, 60000,
};

static const struct str MODE_NAMES[THROTTLE_MODES] = {
    [THROTTLE_ALL] = {"all", 3},
    [THROTTLE_LATEST] = {"latest", 6},
    [THROTTLE_MERGE] = {"merge", 5},
};

bool throttle_is_plain(const struct throttle_policy *p,
                       struct throttle_grant grant)
{
    return grant.mode == THROTTLE_ALL && p->on_full == THROTTLE_DISCONNECT &&
           !p->annotate && p->order_group == 0;
}

static uint32_t decide_rate(const struct throttle_policy *p, uint32_t wish)
{
    if (wish == 0 || (p->rate && wish >= p->rate))
        return p->rate;
    uint32_t rate = throttle_class_rate(throttle_class(wish));
    /* The lowest class may still be more than a slow namespace has. */
    return p->rate && rate > p->rate ? p->rate : rate;
}

struct throttle_grant throttle_decide(const struct throttle_policy *p,
                                      const struct throttle_request *request)
{
    struct throttle_grant grant = {.mode = p->mode, .rate = p->rate};
    if (p->allow_client_rate && request->has_mode && p->mode == THROTTLE_ALL &&
        request->mode == THROTTLE_LATEST)
        grant.mode = THROTTLE_LATEST;
    if (grant.mode == THROTTLE_ALL)
        grant.rate = 0;
    else if (p->allow_client_rate && request->has_rate)
        grant.rate = decide_rate(p, request->rate);
    return grant;
}

struct str throttle_mode_name(enum throttle_mode mode)
{
    CHECK(mode < THROTTLE_MODES);
    return MODE_NAMES[mode];
}

int throttle_mode_parse(struct str name, enum throttle_mode *out)
{
    for (unsigned i = 0; i < THROTTLE_MODES; i++)
        if (str_eq(name, MODE_NAMES[i])) {
            *out = (enum throttle_mode)i;
            return 0;
        }
    return ERR_NOT_FOUND;
}

/* A decimal number: digits * 10^scale. */
struct decimal {
    uint64_t digits;
    int64_t scale;
};

/* Beyond this many, digits only move the scale. */
#define DIGITS_MAX UINT64_C(10000000000000000)
/* Far outside of what any text that fits in memory could move back. */
#define EXPONENT_MAX (INT64_C(1) << 60)

/* One or more digits from the start of *rest; false if there is none. */
static bool take_digits(struct str *rest, struct decimal *to, bool fraction)
{
    size_t n = 0;
    for (; n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9'; n++) {
        bool counts = to->digits < DIGITS_MAX;
        if (counts)
            to->digits = to->digits * 10 + (uint64_t)(rest->p[n] - '0');
        to->scale += (fraction ? -1 : 0) + (counts ? 0 : 1);
    }
    *rest = str_skip(*rest, n);
    return n > 0;
}

/* What follows the `e`. */
static bool take_exponent(struct str *rest, struct decimal *to)
{
    bool negative = str_starts(*rest, STR_LIT("-"));
    if (negative || str_starts(*rest, STR_LIT("+")))
        *rest = str_skip(*rest, 1);
    if (rest->n == 0)
        return false;
    int64_t exponent = 0;
    for (; rest->n; *rest = str_skip(*rest, 1)) {
        if (*rest->p < '0' || *rest->p > '9')
            return false;
        if (exponent < EXPONENT_MAX / 10)
            exponent = exponent * 10 + (*rest->p - '0');
    }
    to->scale += negative ? -exponent : exponent;
    return true;
}

/* In millihertz, within what a rate can be. */
static uint32_t decimal_rate(const struct decimal *d)
{
    uint64_t rate = d->digits;
    int64_t scale = d->scale + 3;
    if (rate == 0)
        return 0;
    for (; scale > 0 && rate < THROTTLE_RATE_MAX; scale--)
        rate *= 10;
    for (; scale < 0 && rate > 0; scale++)
        rate /= 10;
    if (rate > THROTTLE_RATE_MAX)
        return THROTTLE_RATE_MAX;
    return rate ? (uint32_t)rate : 1;
}

int throttle_rate_parse(struct str text, uint32_t *out)
{
    struct decimal d = {0};
    if (!take_digits(&text, &d, false))
        return ERR_INVALID;
    if (str_starts(text, STR_LIT("."))) {
        text = str_skip(text, 1);
        if (!take_digits(&text, &d, true))
            return ERR_INVALID;
    }
    if (str_starts(text, STR_LIT("e")) || str_starts(text, STR_LIT("E"))) {
        text = str_skip(text, 1);
        if (!take_exponent(&text, &d))
            return ERR_INVALID;
    }
    if (text.n)
        return ERR_INVALID;
    *out = decimal_rate(&d);
    return 0;
}

size_t throttle_rate_format(uint32_t rate, char to[THROTTLE_RATE_TEXT])
{
    uint32_t part = rate % 1000;
    int n = snprintf(to, THROTTLE_RATE_TEXT, "%u.%03u", rate / 1000, part);
    CHECK(n > 4 && n < THROTTLE_RATE_TEXT);
    while (to[n - 1] == '0')
        n--;
    if (to[n - 1] == '.')
        n--;
    to[n] = '\0';
    return (size_t)n;
}

uint64_t throttle_interval_ns(uint32_t rate)
{
    return rate ? (UINT64_C(1000000000000) + rate - 1) / rate : 0;
}

uint64_t throttle_next_tick(uint32_t rate, uint32_t phase, uint64_t now_ns)
{
    CHECK(rate != 0);
    uint64_t interval = throttle_interval_ns(rate);
    /* interval * phase / 2^32 in two halves: the product can be 72 bits. */
    uint64_t first =
        (interval >> 32) * phase + (((interval & UINT32_MAX) * phase) >> 32);
    if (now_ns < first)
        return first;
    return now_ns + interval - (now_ns - first) % interval;
}

unsigned throttle_class(uint32_t rate)
{
    if (rate == 0)
        return 0;
    unsigned row = THROTTLE_CLASSES - 1;
    while (row > 1 && CLASS_RATES[row] > rate)
        row--;
    return row;
}

uint32_t throttle_class_rate(unsigned row)
{
    CHECK(row < THROTTLE_CLASSES);
    return CLASS_RATES[row];
}
