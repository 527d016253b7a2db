/* A reply subject of a consumer: what is accepted names a consumer that is one
 * token of it, and the numbers that follow. */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/broker/greeting.h"
#include "gateway/broker/origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Written again, it is a part of what came, leading zeros aside. */
static void check(struct str reply, const struct origin *o)
{
    struct origin again;
    struct buf b = BUF_INIT;
    CHECK(o->stream_seq && o->consumer_seq && o->consumer.n);
    CHECK(o->consumer.p > reply.p &&
          o->consumer.p + o->consumer.n < reply.p + reply.n);
    CHECK(!memchr(o->consumer.p, '.', o->consumer.n));
    buf_lit(&b, "$JS.ACK.S.");
    buf_str(&b, o->consumer);
    buf_lit(&b, ".1.");
    buf_u64(&b, o->stream_seq);
    buf_char(&b, '.');
    buf_u64(&b, o->consumer_seq);
    buf_char(&b, '.');
    buf_u64(&b, o->stored_ns);
    buf_char(&b, '.');
    buf_u64(&b, o->pending);
    CHECK(origin_parse(buf_view(&b), &again) == 0);
    CHECK(again.stream_seq == o->stream_seq && again.pending == o->pending);
    CHECK(again.consumer_seq == o->consumer_seq);
    CHECK(again.stored_ns == o->stored_ns);
    CHECK(str_eq(again.consumer, o->consumer));
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct origin o;
    uint32_t version;
    struct str s = str_n(data, size);
    if (origin_parse(s, &o) == 0)
        check(s, &o);
    /* The other thing a server says that we read ourselves. */
    if (greeting_parse(s, &version) == 0)
        CHECK(version <= GREETING_VERSION(999, 999, 999));
    return 0;
}
