/* The input is taken twice: as the escaped end of a subject that arrives,
 * and as a channel name that goes out. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "hub/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted names one concrete channel, which has this subject. */
static void check_arriving(struct str escaped)
{
    struct buf name = BUF_INIT;
    struct buf again = BUF_INIT;
    buf_lit(&name, "ns:");
    if (channel_unescape(&name, escaped) < 0) {
        CHECK(str_eq(buf_view(&name), STR_LIT("ns:")));
    } else {
        struct channel_name c;
        int rc = channel_parse(buf_view(&name), &c);
        if (name.n > CHANNEL_MAX_BYTES)
            CHECK(rc == ERR_TOO_BIG);
        else
            CHECK(rc == 0 && !c.is_pattern);
        channel_escape(&again, str_skip(buf_view(&name), 3), false);
        CHECK(str_eq(buf_view(&again), escaped));
    }
    buf_free(&again);
    buf_free(&name);
}

static bool is_subject(struct str s, bool pattern)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                    (c >= 'a' && c <= 'z') || c == '-' || c == '_';
        if (!word && c != '.' && c != '=' &&
            !(pattern && (c == '*' || c == '>')))
            return false;
    }
    return s.n > 0;
}

static void check_leaving(struct str name)
{
    struct channel_name c;
    if (channel_parse(name, &c) < 0)
        return;
    struct buf plain = BUF_INIT;
    struct buf wild = BUF_INIT;
    struct buf back = BUF_INIT;
    channel_escape(&plain, c.rest, false);
    channel_escape(&wild, c.rest, true);
    CHECK(is_subject(buf_view(&plain), false));
    CHECK(is_subject(buf_view(&wild), c.is_pattern));
    CHECK(str_eq(buf_view(&plain), buf_view(&wild)) == !c.is_pattern);
    int rc = channel_unescape(&back, buf_view(&plain));
    CHECK(rc == (c.is_pattern ? ERR_INVALID : 0));
    CHECK(c.is_pattern || str_eq(buf_view(&back), c.rest));
    buf_clear(&back);
    rc = channel_unescape(&back, buf_view(&wild));
    CHECK(rc == (c.is_pattern ? ERR_INVALID : 0));
    buf_free(&back);
    buf_free(&wild);
    buf_free(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_alloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    check_arriving(str_n(copy, size));
    check_leaving(str_n(copy, size));
    free(copy);
    return 0;
}
