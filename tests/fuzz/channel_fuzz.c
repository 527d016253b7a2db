/* The input is a pattern, a newline and a name. Both are parsed, and where
 * they may be matched the answer is compared with that of token arrays. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "hub/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tokens {
    struct str at[CHANNEL_MAX_BYTES];
    size_t n;
};

static void split(struct tokens *t, struct str rest)
{
    size_t start = 0;
    t->n = 0;
    for (size_t i = 0; i <= rest.n; i++) {
        if (i < rest.n && rest.p[i] != '.')
            continue;
        t->at[t->n++] = str_n(rest.p + start, i - start);
        start = i + 1;
    }
}

static bool is_tail(const struct tokens *t)
{
    return str_eq(t->at[t->n - 1], STR_LIT(">"));
}

static bool oracle_matches(struct channel_name p, struct channel_name n)
{
    static struct tokens want;
    static struct tokens have;
    split(&want, p.rest);
    split(&have, n.rest);
    size_t fixed = want.n - is_tail(&want);
    if (!str_eq(p.ns, n.ns))
        return false;
    if (is_tail(&want) ? have.n <= fixed : have.n != fixed)
        return false;
    for (size_t i = 0; i < fixed; i++) {
        if (!str_eq(want.at[i], STR_LIT("*")) &&
            !str_eq(want.at[i], have.at[i]))
            return false;
    }
    return true;
}

static void check_name(struct channel_name c, struct str text)
{
    static struct tokens t;
    bool wildcard = false;
    CHECK(text.n > 0 && text.n <= CHANNEL_MAX_BYTES && str_eq(c.full, text));
    CHECK(c.ns.n + c.rest.n + (c.ns.n > 0) == text.n);
    CHECK(c.ns.n == 0 || (c.ns.n >= 2 && c.ns.n <= 64));
    CHECK(c.ns.n > 0 || !memchr(text.p, ':', text.n));
    split(&t, c.rest);
    for (size_t i = 0; i < t.n; i++) {
        bool tail = str_eq(t.at[i], STR_LIT(">"));
        CHECK(t.at[i].n > 0 && (!tail || i + 1 == t.n));
        wildcard |= tail || str_eq(t.at[i], STR_LIT("*"));
    }
    CHECK(c.is_pattern == wildcard);
    for (size_t i = 0; i < text.n; i++)
        CHECK((uint8_t)text.p[i] > ' ' && text.p[i] != 127);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_alloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    struct str name = str_n(copy, size);
    struct str pattern = str_cut(&name, '\n');
    struct channel_name p;
    struct channel_name n;
    int pattern_rc = channel_parse(pattern, &p);
    int name_rc = channel_parse(name, &n);
    CHECK((pattern_rc == ERR_TOO_BIG) == (pattern.n > CHANNEL_MAX_BYTES));
    if (pattern_rc == 0)
        check_name(p, pattern);
    if (name_rc == 0)
        check_name(n, name);
    if (name_rc == 0 && !n.is_pattern) {
        CHECK(channel_matches(name, name));
        if (pattern_rc == 0)
            CHECK(channel_matches(pattern, name) == oracle_matches(p, n));
    }
    free(copy);
    return 0;
}
