/* Every violation of RFC 6455 has its close code, and every valid stream of
 * frames comes out the same however it is cut. */
#include "gateway/transport/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "gateway/transport/wire.h"

#define FIN 0x80
#define MASK "\x11\x22\x33\x44"

struct heard {
    struct buf log; /* "<opcode>:<payload>;" of everything handed out */
    unsigned count;
    unsigned stop_after; /* 0: never */
};

static bool on_frame(void *arg, enum frame_opcode opcode, struct str payload)
{
    struct heard *h = arg;
    buf_u64(&h->log, opcode);
    buf_char(&h->log, ':');
    buf_str(&h->log, payload);
    buf_char(&h->log, ';');
    return ++h->count != h->stop_after;
}

/* Feed pieces of `step` bytes, each in memory of its own. */
static int feed(struct heard *h, struct str bytes, size_t step, uint64_t max)
{
    struct frame_reader r = {0};
    int rc = 0;
    while (bytes.n && !rc) {
        size_t n = bytes.n < step ? bytes.n : step;
        char *copy = mem_alloc(n);
        memcpy(copy, bytes.p, n);
        rc = frame_read(&r, copy, n, max, on_frame, h);
        free(copy);
        bytes = str_skip(bytes, n);
    }
    frame_reader_free(&r);
    return rc;
}

static const char *what = ""; /* for the message of a failure */

/* In one piece and byte by byte: the code, and what was handed out before. */
static void expect(struct str bytes, uint64_t max, int code, const char *log)
{
    static const size_t steps[] = {SIZE_MAX, 1, 2, 3, 7};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct heard h = {.log = BUF_INIT};
        int rc = feed(&h, bytes, steps[i], max);
        if (rc != code || !str_eq(buf_view(&h.log), str_of(log)))
            fail_msg("%s, step %zd: %d not %d, [%.*s] not [%s]", what,
                     (ssize_t)steps[i], rc, code, STR_ARG(buf_view(&h.log)),
                     log);
        buf_free(&h.log);
    }
}

static void put_masked(struct buf *to, struct str payload, const char *key)
{
    for (size_t i = 0; i < payload.n; i++)
        buf_char(to, (char)(payload.p[i] ^ key[i & 3]));
}

/* A frame with the shortest head that can say its length. */
static void put(struct buf *to, uint8_t first, struct str payload)
{
    uint8_t head[WIRE_WS_HEAD_MAX];
    size_t n = wire_ws_head(head, first, payload.n);
    head[1] |= 0x80;
    buf_add(to, head, n);
    buf_lit(to, MASK);
    put_masked(to, payload, MASK);
}

static void put_text(struct buf *to, uint8_t first, const char *payload)
{
    put(to, first, str_of(payload));
}

/* --- violations ----------------------------------------------------------- */

#define RAW(lit)                \
    {                           \
        "" lit, sizeof(lit) - 1 \
    }

static const struct {
    const char *what;
    struct str bytes;
} heads[] = {
    {"not masked", RAW("\x81\x01")},
    {"not masked, empty", RAW("\x81\x00")},
    {"a close that is not masked", RAW("\x88\x00")},
    {"RSV1", RAW("\xC1")},
    {"RSV2", RAW("\xA1")},
    {"RSV3", RAW("\x91")},
    {"RSV1 of a control frame", RAW("\xC9")},
    {"opcode 3", RAW("\x83")},
    {"opcode 4", RAW("\x84")},
    {"opcode 5", RAW("\x85")},
    {"opcode 6", RAW("\x86")},
    {"opcode 7", RAW("\x87")},
    {"opcode 11", RAW("\x8B")},
    {"opcode 12", RAW("\x8C")},
    {"opcode 13", RAW("\x8D")},
    {"opcode 14", RAW("\x8E")},
    {"opcode 15", RAW("\x8F")},
    {"a fragmented ping", RAW("\x09\x80")},
    {"a fragmented pong", RAW("\x0A\x80")},
    {"a fragmented close", RAW("\x08\x80")},
    {"a ping of 126 bytes", RAW("\x89\xFE")},
    {"a close of 64 bits", RAW("\x88\xFF")},
    {"a continuation of nothing", RAW("\x80\x81")},
    {"a continuation of nothing, more to come", RAW("\x00\x81")},
    {"16 bits for 0", RAW("\x81\xFE\x00\x00" MASK)},
    {"16 bits for 125", RAW("\x81\xFE\x00\x7D" MASK)},
    {"64 bits for 125", RAW("\x82\xFF\0\0\0\0\0\0\0\x7D" MASK)},
    {"64 bits for 65535", RAW("\x82\xFF\0\0\0\0\0\0\xFF\xFF" MASK)},
    {"top bit of 64", RAW("\x82\xFF\x80\0\0\0\0\0\0\0" MASK)},
    {"all bits of 64", RAW("\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF" MASK)},
};

/* Each is known from the head alone, and also behind a message. */
static void test_bad_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct buf b = BUF_INIT;
        what = heads[i].what;
        expect(heads[i].bytes, 1 << 20, 1002, "");
        put_text(&b, FIN | FRAME_TEXT, "x");
        buf_str(&b, heads[i].bytes);
        expect(buf_view(&b), 1 << 20, 1002, "1:x;");
        buf_free(&b);
    }
}

static void test_message_inside_message(void **state)
{
    (void)state;
    static const uint8_t second[] = {FRAME_TEXT, FRAME_BINARY, FIN | FRAME_TEXT,
                                     FIN | FRAME_BINARY};
    for (size_t i = 0; i < ARRAY_LEN(second); i++) {
        struct buf b = BUF_INIT;
        put_text(&b, FRAME_TEXT, "a");
        put_text(&b, FIN | FRAME_PING, "p");
        put_text(&b, second[i], "b");
        expect(buf_view(&b), 100, 1002, "9:p;");
        buf_free(&b);
    }
    /* After its end the next may begin, and no continuation may follow. */
    struct buf b = BUF_INIT;
    put_text(&b, FRAME_TEXT, "a");
    put_text(&b, FIN | FRAME_CONTINUATION, "b");
    put_text(&b, FIN | FRAME_BINARY, "c");
    put_text(&b, FIN | FRAME_CONTINUATION, "d");
    expect(buf_view(&b), 100, 1002, "1:ab;2:c;");
    buf_free(&b);
}

/* --- limits --------------------------------------------------------------- */

static void test_too_big(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    put_text(&b, FIN | FRAME_TEXT, "12345");
    expect(buf_view(&b), 5, 0, "1:12345;");
    expect(buf_view(&b), 4, 1009, "");
    buf_clear(&b);
    put_text(&b, FRAME_TEXT, "123");
    put_text(&b, FRAME_CONTINUATION, "4");
    put_text(&b, FIN | FRAME_CONTINUATION, "5");
    expect(buf_view(&b), 5, 0, "1:12345;");
    expect(buf_view(&b), 4, 1009, "");
    /* The limit is of a message, not of what was said before. */
    put_text(&b, FIN | FRAME_TEXT, "12345");
    expect(buf_view(&b), 5, 0, "1:12345;1:12345;");
    /* Control frames are none of it. */
    buf_clear(&b);
    put_text(&b, FRAME_BINARY, "");
    put_text(&b, FIN | FRAME_PING, "12345");
    put_text(&b, FIN | FRAME_CONTINUATION, "");
    expect(buf_view(&b), 0, 0, "9:12345;2:;");
    buf_free(&b);
}

/* Refused by the head: nothing of the payload was sent, nothing is taken. */
static void test_too_big_takes_no_memory(void **state)
{
    (void)state;
    static const struct str big[] = {
        RAW("\x82\xFF\0\0\0\0\0\1\0\1" MASK),
        RAW("\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF" MASK),
        RAW("\x01\xFF\0\0\1\0\0\0\0\0" MASK),
    };
    for (size_t i = 0; i < ARRAY_LEN(big); i++) {
        struct frame_reader r = {0};
        struct heard h = {.log = BUF_INIT};
        char copy[14];
        memcpy(copy, big[i].p, big[i].n);
        assert_int_equal(frame_read(&r, copy, 14, 65536, on_frame, &h), 1009);
        assert_int_equal(r.data.cap + r.control.cap, 0);
        frame_reader_free(&r);
    }
    /* A sum that would pass 64 bits. */
    struct buf b = BUF_INIT;
    put_text(&b, FRAME_BINARY, "x");
    buf_lit(&b, "\x80\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF" MASK);
    expect(buf_view(&b), UINT64_MAX >> 1, 1009, "");
    buf_free(&b);
}

static void test_lengths(void **state)
{
    (void)state;
    static const size_t lengths[] = {0,   1,     2,     7,     8,    9,
                                     124, 125,   126,   127,   128,  255,
                                     256, 65534, 65535, 65536, 70000};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct buf payload = BUF_INIT;
        struct buf b = BUF_INIT;
        struct heard h = {.log = BUF_INIT};
        for (size_t k = 0; k < lengths[i]; k++)
            buf_char(&payload, (char)(k * 131 + (k >> 8)));
        put(&b, FIN | FRAME_BINARY, buf_view(&payload));
        assert_int_equal(feed(&h, buf_view(&b), 4093, 70000), 0);
        assert_int_equal(h.count, 1);
        assert_int_equal(h.log.n, lengths[i] + 3);
        assert_true(str_eq(str_n(h.log.p + 2, lengths[i]), buf_view(&payload)));
        buf_free(&h.log);
        buf_free(&payload);
        buf_free(&b);
    }
}

static void test_control_frames(void **state)
{
    (void)state;
    char big[126];
    memset(big, 'p', 125);
    big[125] = '\0';
    struct buf b = BUF_INIT;
    char log[256];
    put_text(&b, FIN | FRAME_PING, big);
    put_text(&b, FIN | FRAME_PONG, "");
    put_text(&b, FRAME_TEXT, "a");
    put_text(&b, FIN | FRAME_PING, "1");
    put_text(&b, FRAME_CONTINUATION, "");
    put_text(&b, FIN | FRAME_PONG, "2");
    put_text(&b, FIN | FRAME_PING, "");
    put_text(&b, FIN | FRAME_CONTINUATION, "b");
    put_text(&b, FRAME_BINARY, "");
    put_text(&b, FIN | FRAME_CLOSE, "\x03\xE8");
    put_text(&b, FIN | FRAME_CONTINUATION, "");
    snprintf(log, sizeof(log), "9:%s;10:;9:1;10:2;9:;1:ab;8:\x03\xE8;2:;", big);
    expect(buf_view(&b), 2, 0, log);
    buf_free(&b);
}

static void test_empty_frames(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    put_text(&b, FIN | FRAME_TEXT, "");
    put_text(&b, FRAME_TEXT, "");
    put_text(&b, FRAME_CONTINUATION, "");
    put_text(&b, FIN | FRAME_CONTINUATION, "");
    put_text(&b, FRAME_TEXT, "");
    put_text(&b, FIN | FRAME_CONTINUATION, "x");
    put_text(&b, FRAME_BINARY, "y");
    put_text(&b, FIN | FRAME_CONTINUATION, "");
    expect(buf_view(&b), 1, 0, "1:;1:;1:x;2:y;");
    buf_free(&b);
}

/* --- UTF-8 ---------------------------------------------------------------- */

static void test_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "a\xFF",        "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
        "\xE2\x82",     "ok \xC3",  "\x80",         "\xF8\x88\x80\x80\x80",
        "\xF0\x9F\x92z"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf b = BUF_INIT;
        put_text(&b, FIN | FRAME_TEXT, bad[i]);
        expect(buf_view(&b), 100, 1007, "");
        buf_clear(&b);
        put_text(&b, FIN | FRAME_BINARY, bad[i]);
        put_text(&b, FIN | FRAME_PING, bad[i]);
        struct heard h = {.log = BUF_INIT};
        assert_int_equal(feed(&h, buf_view(&b), SIZE_MAX, 100), 0);
        assert_int_equal(h.count, 2);
        buf_free(&h.log);
        buf_free(&b);
    }
    /* A character over fragments, with a ping inside it. */
    struct buf b = BUF_INIT;
    put_text(&b, FRAME_TEXT, "\xF0");
    put_text(&b, FIN | FRAME_PING, "\xFF");
    put_text(&b, FRAME_CONTINUATION, "\x9F\x92");
    put_text(&b, FRAME_CONTINUATION, "");
    put_text(&b, FIN | FRAME_CONTINUATION, "\xA9!");
    expect(buf_view(&b), 5, 0, "9:\xFF;1:\xF0\x9F\x92\xA9!;");
    buf_free(&b);
}

/* Refused at the byte that cannot be mended: neither the rest of the frame
 * nor the end of the message is waited for. */
static void test_utf8_fails_fast(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    put_text(&b, FIN | FRAME_TEXT, "abc\xF4\x90 the rest does not matter");
    expect(str_n(b.p, 6 + 4), 100, 0, "");
    expect(str_n(b.p, 6 + 5), 100, 1007, "");
    buf_clear(&b);
    put_text(&b, FRAME_TEXT, "abc\xE2");
    put_text(&b, FRAME_CONTINUATION, "\x28 and more");
    expect(str_n(b.p, 10 + 6), 100, 0, "");
    expect(str_n(b.p, 10 + 7), 100, 1007, "");
    /* The end of the message inside a character. */
    buf_clear(&b);
    put_text(&b, FRAME_TEXT, "abc\xE2");
    put_text(&b, FIN | FRAME_CONTINUATION, "\x82");
    expect(buf_view(&b), 100, 1007, "");
    buf_free(&b);
}

/* --- stopping ------------------------------------------------------------- */

static void test_stop(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    put_text(&b, FIN | FRAME_TEXT, "a");
    put_text(&b, FIN | FRAME_CLOSE, "");
    put_text(&b, FIN | FRAME_TEXT, "b");
    buf_lit(&b, "\xFF\xFF");
    struct heard h = {.stop_after = 2};
    assert_int_equal(feed(&h, buf_view(&b), SIZE_MAX, 100), 0);
    assert_true(str_eq(buf_view(&h.log), STR_LIT("1:a;8:;")));
    buf_free(&h.log);
    buf_free(&b);
}

static const struct {
    struct str payload;
    int wrong;
    uint32_t code;
} closes[] = {
    {RAW(""), 0, 1005},
    {RAW("\x03"), 1002, 0},
    {RAW("\x03\xE8"), 0, 1000},
    {RAW("\x03\xE8 bye \xE2\x82\xAC"), 0, 1000},
    {RAW("\x03\xE8\xFF"), 1007, 0},
    {RAW("\x03\xE8\xE2\x82"), 1007, 0},
    {RAW("\x03\xE9"), 0, 1001},
    {RAW("\x03\xEA"), 0, 1002},
    {RAW("\x03\xEB"), 0, 1003},
    {RAW("\x03\xEC"), 1002, 0},
    {RAW("\x03\xED"), 1002, 0},
    {RAW("\x03\xEE"), 1002, 0},
    {RAW("\x03\xEF"), 0, 1007},
    {RAW("\x03\xF0"), 0, 1008},
    {RAW("\x03\xF1"), 0, 1009},
    {RAW("\x03\xF2"), 0, 1010},
    {RAW("\x03\xF3"), 0, 1011},
    {RAW("\x03\xF6"), 0, 1014},
    {RAW("\x03\xF7"), 1002, 0}, /* 1015 */
    {RAW("\x03\xF8"), 1002, 0}, /* 1016 */
    {RAW("\x00\x00"), 1002, 0},
    {RAW("\x03\xE7"), 1002, 0}, /* 999 */
    {RAW("\x04\x4C"), 1002, 0}, /* 1100 */
    {RAW("\x07\xD0"), 1002, 0}, /* 2000 */
    {RAW("\x0B\xB7"), 1002, 0}, /* 2999 */
    {RAW("\x0B\xB8"), 0, 3000},
    {RAW("\x13\x87"), 0, 4999},
    {RAW("\x13\x88"), 1002, 0}, /* 5000 */
    {RAW("\xFF\xFF"), 1002, 0},
};

static void test_close_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(closes); i++) {
        uint32_t code = 0;
        int wrong = frame_close_check(closes[i].payload, &code);
        if (wrong != closes[i].wrong || (!wrong && code != closes[i].code))
            fail_msg("row %zu: %d, code %u", i, wrong, code);
    }
}

/* --- model ---------------------------------------------------------------- */

/* A random text of whole characters, or random bytes. */
static void random_payload(struct rand *r, bool text, struct buf *to)
{
    size_t n = rand_below(r, rand_below(r, 10) ? 40 : 400);
    for (size_t i = 0; i < n; i++) {
        char utf8[4];
        uint32_t code =
            (uint32_t)rand_below(r, rand_below(r, 2) ? 0x80 : 0xD800);
        if (text)
            buf_add(to, utf8, utf8_encode(code, utf8));
        else
            buf_char(to, (char)rand_next(r));
    }
}

static void say(struct buf *log, unsigned opcode, struct str payload)
{
    buf_u64(log, opcode);
    buf_char(log, ':');
    buf_str(log, payload);
    buf_char(log, ';');
}

static void random_control(struct rand *r, struct buf *wire, struct buf *log)
{
    struct buf p = BUF_INIT;
    uint8_t opcode = rand_below(r, 2) ? FRAME_PING : FRAME_PONG;
    random_payload(r, false, &p);
    struct str cut = str_n(p.p, p.n < 125 ? p.n : 125);
    put(wire, FIN | opcode, cut);
    say(log, opcode, cut);
    buf_free(&p);
}

/* One message in some fragments, with control frames between them. */
static void random_message(struct rand *r, struct buf *wire, struct buf *log)
{
    struct buf p = BUF_INIT;
    bool text = rand_below(r, 2);
    uint8_t opcode = text ? FRAME_TEXT : FRAME_BINARY;
    unsigned fragments = rand_below(r, 2) ? 0 : (unsigned)rand_below(r, 5);
    random_payload(r, text, &p);
    struct str rest = buf_view(&p);
    uint8_t next = opcode;
    for (unsigned i = 0; i < fragments; i++) {
        size_t n = (size_t)rand_below(r, rest.n + 1);
        put(wire, next, str_n(rest.p, n));
        rest = n ? str_skip(rest, n) : rest;
        next = FRAME_CONTINUATION;
        while (rand_below(r, 3) == 0)
            random_control(r, wire, log);
    }
    put(wire, FIN | next, rest);
    say(log, opcode, buf_view(&p));
    buf_free(&p);
}

static void check_stream(struct rand *r)
{
    struct buf wire = BUF_INIT;
    struct buf log = BUF_INIT;
    struct heard h = {.log = BUF_INIT};
    struct frame_reader reader = {0};
    unsigned messages = 1 + (unsigned)rand_below(r, 6);
    for (unsigned i = 0; i < messages; i++)
        random_message(r, &wire, &log);
    size_t biggest = 1 + (size_t)rand_below(r, rand_below(r, 2) ? 8 : 600);
    struct str rest = buf_view(&wire);
    while (rest.n) {
        size_t n = 1 + (size_t)rand_below(r, biggest);
        n = n < rest.n ? n : rest.n;
        char *copy = mem_alloc(n);
        memcpy(copy, rest.p, n);
        assert_int_equal(frame_read(&reader, copy, n, 2000, on_frame, &h), 0);
        free(copy);
        rest = str_skip(rest, n);
    }
    assert_true(str_eq(buf_view(&h.log), buf_view(&log)));
    /* Nothing is kept between messages. */
    assert_int_equal(reader.data.cap + reader.control.cap, 0);
    assert_int_equal(reader.message, 0);
    assert_int_equal(reader.head_len, 0);
    frame_reader_free(&reader);
    buf_free(&wire);
    buf_free(&log);
    buf_free(&h.log);
}

static void test_random_streams(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 20240607);
    for (unsigned i = 0; i < 20000; i++)
        check_stream(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_message_inside_message),
        cmocka_unit_test(test_too_big),
        cmocka_unit_test(test_too_big_takes_no_memory),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_control_frames),
        cmocka_unit_test(test_empty_frames),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_fails_fast),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_close_check),
        cmocka_unit_test(test_random_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
