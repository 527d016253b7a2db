/* The first byte chooses a space, the rest is what follows its prefix in a
 * subject that arrives: whatever is accepted is a channel of that space,
 * concrete, ASCII or what the regex takes, whose subject is the one that
 * came. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/broker/subject.h"
#include "hub/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SPACES 4
static struct namespace_options namespaces[SPACES] = {
    {.name = "news", .subject = "", .channel_regex = ""},
    {.name = "quotes", .subject = "market.quotes", .channel_regex = ""},
    {.name = "", .subject = "", .channel_regex = ""},
    {.name = "uni", .subject = "", .channel_regex = "^[^xX]+$"},
};

/* A map made by hand: the fuzzer is about subjects, not about the config. */
static struct subject_space spaces[SPACES] = {
    {&namespaces[0], {"news", 4}, {"weir.pub.news.", 14}, {"", 0}},
    {&namespaces[1], {"quotes", 6}, {"market.quotes.", 14}, {"", 0}},
    {&namespaces[2], {"", 0}, {"weir.pub._.", 11}, {"", 0}},
    {&namespaces[3], {"uni", 3}, {"weir.pub.uni.", 13}, {"", 0}},
};

/* Compiled at the first input, kept to the end. */
static void compile_regex(struct namespace_options *ns)
{
    static regex_t regex;
    if (ns->regex)
        return;
    CHECK(regcomp(&regex, ns->channel_regex, REG_EXTENDED | REG_NOSUB) == 0);
    ns->regex = &regex;
}

static bool may_be_named(const struct subject_space *s, struct str rest)
{
    if (!s->ns->regex)
        return utf8_ascii_run(rest) == rest.n;
    return utf8_valid(rest) && !memchr(rest.p, 'x', rest.n) &&
           !memchr(rest.p, 'X', rest.n);
}

static void check(const struct subject_space *s, struct str subject,
                  struct str channel, size_t max)
{
    struct channel_name name;
    struct buf again = BUF_INIT;
    CHECK(channel.n <= max);
    CHECK(channel_parse(channel, &name) == 0 && !name.is_pattern);
    CHECK(str_eq(name.ns, s->name) && may_be_named(s, name.rest));
    CHECK(subject_of(s, channel, &again) == 0);
    CHECK(str_eq(buf_view(&again), subject));
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct subject_space *s = &spaces[data[0] % SPACES];
    compile_regex(&namespaces[SPACES - 1]);
    size_t max = data[0] & 0x80 ? 255 : 20;
    struct buf subject = BUF_INIT;
    struct buf channel = BUF_INIT;
    if (!(data[0] & 0x40))
        buf_str(&subject, s->prefix);
    buf_add(&subject, data + 1, size - 1);
    if (subject_channel(s, buf_view(&subject), max, &channel) == 0)
        check(s, buf_view(&subject), buf_view(&channel), max);
    else
        CHECK(channel.n == 0);
    buf_free(&channel);
    buf_free(&subject);
    return 0;
}
