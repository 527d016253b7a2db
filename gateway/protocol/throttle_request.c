#include "gateway/protocol/throttle_request.h"

/* Exponents beyond are taken for this: no text has as many digits. */
#define EXPONENT_MAX INT64_C(1000000000000)
/* Digits that count: more cannot change a rate that is not capped. */
#define DIGITS_MAX 18

/* A number is value * 10^exponent, its digits after DIGITS_MAX cut. */
struct decimal {
    uint64_t value;
    int64_t exponent;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The digits and the point. */
static void read_digits(struct str *rest, struct decimal *d)
{
    unsigned digits = 0;
    bool fraction = false;
    for (; rest->n && (is_digit(*rest->p) || *rest->p == '.');
         *rest = str_skip(*rest, 1)) {
        if (*rest->p == '.') {
            fraction = true;
            continue;
        }
        if (digits == DIGITS_MAX) {
            d->exponent += !fraction;
            continue;
        }
        d->value = d->value * 10 + (uint64_t)(*rest->p - '0');
        d->exponent -= fraction;
        digits += d->value > 0;
    }
}

/* What follows the e, maybe nothing. */
static int64_t read_exponent(struct str rest)
{
    int64_t e = 0;
    bool negative = rest.n && *rest.p == '-';
    for (; rest.n; rest = str_skip(rest, 1)) {
        if (is_digit(*rest.p) && e < EXPONENT_MAX)
            e = e * 10 + (*rest.p - '0');
    }
    return negative ? -e : e;
}

static int read_rate(struct json_value v, uint32_t *out)
{
    if (v.type != JSON_NUMBER)
        return ERR_INVALID;
    struct decimal d = {0, 3}; /* hertz to millihertz */
    bool negative = v.raw.p[0] == '-';
    struct str rest = str_skip(v.raw, negative);
    read_digits(&rest, &d);
    if (rest.n)
        d.exponent += read_exponent(str_skip(rest, 1));
    if (negative && d.value)
        return ERR_INVALID;
    bool positive = d.value > 0;
    for (; d.exponent < 0 && d.value > 0; d.exponent++)
        d.value /= 10;
    for (; d.exponent > 0 && d.value > 0 && d.value < THROTTLE_RATE_MAX;
         d.exponent--)
        d.value *= 10;
    if (d.value > THROTTLE_RATE_MAX)
        d.value = THROTTLE_RATE_MAX;
    *out = d.value == 0 && positive ? 1 : (uint32_t)d.value;
    return 0;
}

static int read_mode(struct json_value v, uint8_t *out)
{
    struct buf scratch = BUF_INIT;
    struct str name;
    enum throttle_mode mode;
    int rc = json_text(v, &scratch, &name);
    if (rc == 0)
        rc = throttle_mode_parse(name, &mode);
    buf_free(&scratch);
    if (rc < 0)
        return ERR_INVALID;
    *out = (uint8_t)mode;
    return 0;
}

static bool asks(struct json_value data, struct str name, struct json_value *v)
{
    return json_member(data, name, v) && v->type != JSON_NULL;
}

int throttle_request_read(struct json_value data, struct throttle_request *out)
{
    struct throttle_request r = {.has_rate = false};
    struct json_value v;
    if (asks(data, STR_LIT("rate"), &v)) {
        if (read_rate(v, &r.rate) < 0)
            return ERR_INVALID;
        r.has_rate = true;
    }
    if (asks(data, STR_LIT("mode"), &v)) {
        if (read_mode(v, &r.mode) < 0)
            return ERR_INVALID;
        r.has_mode = true;
    }
    *out = r;
    return 0;
}
