#include "gateway/broker/origin.h"

#include <stdbool.h>
#include <stddef.h>

#define LEAD "$JS.ACK."
/* stream, consumer, delivered, stream seq, consumer seq, time, pending */
#define TOKENS 7
/* And domain and account before them, and one that may be behind. */
#define TOKENS_DOMAIN 9
#define TOKENS_MAX 10

static bool read_number(struct str s, uint64_t *out)
{
    uint64_t n = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

/* How many there are; TOKENS_MAX + 1 for more than there may be. */
static size_t split(struct str s, struct str tokens[TOKENS_MAX])
{
    size_t count = 0;
    for (;;) {
        const char *dot = s.n ? memchr(s.p, '.', s.n) : NULL;
        size_t n = dot ? (size_t)(dot - s.p) : s.n;
        if (n == 0 || count == TOKENS_MAX)
            return TOKENS_MAX + 1;
        tokens[count++] = str_n(s.p, n);
        if (!dot)
            return count;
        s = str_skip(s, n + 1);
    }
}

int origin_parse(struct str reply, struct origin *out)
{
    struct str tokens[TOKENS_MAX];
    struct str lead = str_of(LEAD);
    struct origin o;
    if (!str_starts(reply, lead))
        return ERR_INVALID;
    size_t count = split(str_skip(reply, lead.n), tokens);
    if (count != TOKENS && count != TOKENS_DOMAIN && count != TOKENS_MAX)
        return ERR_INVALID;
    const struct str *t = tokens + (count == TOKENS ? 0 : 2);
    o.consumer = t[1];
    if (!read_number(t[3], &o.stream_seq) ||
        !read_number(t[4], &o.consumer_seq) ||
        !read_number(t[5], &o.stored_ns) || !read_number(t[6], &o.pending) ||
        o.stream_seq == 0 || o.consumer_seq == 0)
        return ERR_INVALID;
    *out = o;
    return 0;
}
