/* The first byte chooses a space, the rest is what follows its prefix in a
 * subject that arrives: whatever is accepted is a channel of that space,
 * concrete and UTF-8, whose subject is the one that came. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/broker/subject.h"
#include "hub/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SPACES 3
static struct namespace_options namespaces[SPACES] = {
    {.name = "news", .subject = "", .channel_regex = ""},
    {.name = "quotes", .subject = "market.quotes", .channel_regex = ""},
    {.name = "", .subject = "", .channel_regex = ""},
};

/* A map made by hand: the fuzzer is about subjects, not about the config. */
static struct subject_space spaces[SPACES] = {
    {&namespaces[0], {"news", 4}, {"weir.pub.news.", 14}},
    {&namespaces[1], {"quotes", 6}, {"market.quotes.", 14}},
    {&namespaces[2], {"", 0}, {"weir.pub._.", 11}},
};

static void check(const struct subject_space *s, struct str subject,
                  struct str channel, size_t max)
{
    struct channel_name name;
    struct buf again = BUF_INIT;
    CHECK(channel.n <= max && utf8_valid(channel));
    CHECK(channel_parse(channel, &name) == 0 && !name.is_pattern);
    CHECK(str_eq(name.ns, s->name));
    CHECK(subject_of(s, channel, &again) == 0);
    CHECK(str_eq(buf_view(&again), subject));
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct subject_space *s = &spaces[data[0] % SPACES];
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
