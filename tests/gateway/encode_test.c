/* What leaves: replies and pushes as protocol.md has them, in all four
 * encodings, with the payload's bytes as they came. */
#include "gateway/protocol/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/protocol/codes.h"
#include "gateway/protocol/json.h"
#include "gateway/transport/wire.h"
#include "tests/kit/gate.h"

static struct msg_budget budget = {.max_bytes = 64 << 20};

static struct msg *make(const char *channel, const char *data, const char *tags,
                        const char *info)
{
    struct msg_parts parts = {.channel = str_of(channel),
                              .data = str_of(data),
                              .tags = str_of(tags),
                              .info = str_of(info),
                              .is_json = true};
    struct msg *m = msg_new(&budget, &parts);
    assert_non_null(m);
    return m;
}

static void assert_text(struct str have, const char *want)
{
    if (!str_eq(have, str_of(want)))
        fail_msg("[%.*s]\nis not\n[%s]", STR_ARG(have), want);
}

/* The text of one publication in one encoding; a WebSocket frame is opened,
 * and what a client parses must be JSON. */
static void encode_pub(struct buf *to, enum encoding encoding,
                       const char *topic, bool is_pattern,
                       const struct codec_pub *p)
{
    struct buf b = BUF_INIT;
    struct json_value v;
    encode_codec.encode(&b, encoding, str_of(topic), is_pattern, p, 1);
    struct str rest = buf_view(&b);
    struct str text = rest;
    if (encoding == ENCODING_WS_JSON) {
        uint8_t first;
        assert_true(gate_cut_frame(&rest, &first, &text));
        assert_int_equal(first, WIRE_WS_TEXT);
        assert_int_equal(rest.n, 0);
        assert_int_equal(json_parse(text, &v), 0);
    } else {
        assert_true(str_starts(text, STR_LIT("data: ")));
        text = str_skip(text, 6);
        assert_true(text.n > 2 && memcmp(text.p + text.n - 2, "\n\n", 2) == 0);
        text.n -= 2;
        assert_null(memchr(text.p, '\n', text.n));
        assert_int_equal(json_parse(text, &v), 0);
    }
    buf_str(to, text);
    buf_free(&b);
}

static void encode_one(struct buf *to, enum encoding encoding,
                       const char *topic, bool is_pattern, struct msg *m)
{
    struct codec_pub p = {.msg = m, .n = 1, .age_ms = 7};
    encode_pub(to, encoding, topic, is_pattern, &p);
}

static const struct {
    const char *topic;
    bool is_pattern;
    const char *channel;
    const char *data;
    const char *tags;
    const char *info;
    const char *pub;   /* as a push without its wrapper */
    const char *event; /* on /sse */
} shapes[] = {
    {"a", false, "a", "{\"x\":1}", "", "",
     "{\"channel\":\"a\",\"pub\":{\"data\":{\"x\":1}}}",
     "{\"channel\":\"a\",\"data\":{\"x\":1}}"},
    {"a", false, "a", "null", "", "",
     "{\"channel\":\"a\",\"pub\":{\"data\":null}}",
     "{\"channel\":\"a\",\"data\":null}"},
    {"a", false, "a", "1", "{\"k\":\"v\"}", "",
     "{\"channel\":\"a\",\"pub\":{\"data\":1,\"tags\":{\"k\":\"v\"}}}",
     "{\"channel\":\"a\",\"data\":1,\"tags\":{\"k\":\"v\"}}"},
    {"a", false, "a", "1", "", "{\"user\":\"\",\"client\":\"c\"}",
     "{\"channel\":\"a\",\"pub\":{\"data\":1,"
     "\"info\":{\"user\":\"\",\"client\":\"c\"}}}",
     "{\"channel\":\"a\",\"data\":1,\"info\":{\"user\":\"\",\"client\":\"c\"}}"},
    {"a.*", true, "a.b", "1", "", "",
     "{\"channel\":\"a.*\",\"pub\":{\"data\":1,\"tags\":{\"channel\":\"a.b\"},"
     "\"channel\":\"a.b\"}}",
     "{\"channel\":\"a.b\",\"data\":1}"},
    {"a.*", true, "a.b", "1", "{\"k\":\"v\"}",
     "{\"user\":\"u\",\"client\":\"c\"}",
     "{\"channel\":\"a.*\",\"pub\":{\"data\":1,"
     "\"info\":{\"user\":\"u\",\"client\":\"c\"},"
     "\"tags\":{\"k\":\"v\",\"channel\":\"a.b\"},\"channel\":\"a.b\"}}",
     "{\"channel\":\"a.b\",\"data\":1,"
     "\"info\":{\"user\":\"u\",\"client\":\"c\"},\"tags\":{\"k\":\"v\"}}"},
    {">", true, "b", "1", "{}", "",
     "{\"channel\":\">\",\"pub\":{\"data\":1,\"tags\":{\"channel\":\"b\"},"
     "\"channel\":\"b\"}}",
     "{\"channel\":\"b\",\"data\":1,\"tags\":{}}"},
    {">", true, "b", "1", "{ \t }", "",
     "{\"channel\":\">\",\"pub\":{\"data\":1,\"tags\":{\"channel\":\"b\"},"
     "\"channel\":\"b\"}}",
     "{\"channel\":\"b\",\"data\":1,\"tags\":{ \t }}"},
    {">", true, "b", "1", "{ \"k\" : \"v\" }", "",
     "{\"channel\":\">\",\"pub\":{\"data\":1,"
     "\"tags\":{\"k\":\"v\",\"channel\":\"b\"},\"channel\":\"b\"}}",
     "{\"channel\":\"b\",\"data\":1,\"tags\":{ \"k\" : \"v\" }}"},
    /* The concrete channel is ours to say, once. */
    {">", true, "b", "1",
     "{\"ch\\u0061nnel\":\"x\",\"k\":\"v\",\"channel\":\"y\"}", "",
     "{\"channel\":\">\",\"pub\":{\"data\":1,"
     "\"tags\":{\"k\":\"v\",\"channel\":\"b\"},\"channel\":\"b\"}}",
     "{\"channel\":\"b\",\"data\":1,\"tags\":{\"ch\\u0061nnel\":\"x\","
     "\"k\":\"v\",\"channel\":\"y\"}}"},
    {"q\"\\.>", true, "q\"\\.\xC3\xA9/<", "\"\\u2028\"", "", "",
     "{\"channel\":\"q\\\"\\\\.>\",\"pub\":{\"data\":\"\\u2028\","
     "\"tags\":{\"channel\":\"q\\\"\\\\.\xC3\xA9/<\"},"
     "\"channel\":\"q\\\"\\\\.\xC3\xA9/<\"}}",
     "{\"channel\":\"q\\\"\\\\.\xC3\xA9/<\",\"data\":\"\\u2028\"}"},
};

static void test_publications(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct buf b = BUF_INIT;
        char push[512];
        struct msg *m = make(shapes[i].channel, shapes[i].data, shapes[i].tags,
                             shapes[i].info);
        snprintf(push, sizeof(push), "{\"push\":%s}", shapes[i].pub);
        encode_one(&b, ENCODING_WS_JSON, shapes[i].topic, shapes[i].is_pattern,
                   m);
        assert_text(buf_view(&b), push);
        buf_clear(&b);
        encode_one(&b, ENCODING_UNI_SSE, shapes[i].topic, shapes[i].is_pattern,
                   m);
        assert_text(buf_view(&b), shapes[i].pub);
        buf_clear(&b);
        encode_one(&b, ENCODING_SSE, shapes[i].topic, shapes[i].is_pattern, m);
        assert_text(buf_view(&b), shapes[i].event);
        buf_clear(&b);
        encode_one(&b, ENCODING_SSE_RAW, shapes[i].topic, shapes[i].is_pattern,
                   m);
        assert_text(buf_view(&b), shapes[i].data);
        buf_free(&b);
        msg_unref(m);
    }
    assert_int_equal(budget.used_bytes, 0);
}

/* Payloads nobody may touch: as they came, in every encoding. */
static void test_payload_bytes(void **state)
{
    (void)state;
    static const char *const payloads[] = {
        "1e400",
        "123456789012345678901234567890.000",
        "-0",
        "{ \"b\" :1,\t\"a\":2, \"a\":3 }",
        "\"\\/\\u0041\\ud800\xE2\x80\xA8\x7F\"",
        "[ ]",
        "\"data: x\"",
        "{\"push\":{}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
        struct msg *m = make("a", payloads[i], "", "");
        for (unsigned e = 0; e < ENCODING_COUNT; e++) {
            struct buf b = BUF_INIT;
            encode_one(&b, (enum encoding)e, "a", false, m);
            assert_non_null(memmem(b.p, b.n, payloads[i], strlen(payloads[i])));
            buf_free(&b);
        }
        msg_unref(m);
    }
}

static const struct {
    const char *tags;
    struct codec_pub p; /* without the msg */
    const char *plain;  /* the tags on a channel */
    const char *behind; /* and behind a pattern */
} marks[] = {
    {"",
     {.n = 3, .age_ms = 250, .annotate = true},
     "{\"n\":\"3\",\"age_ms\":\"250\"}",
     "{\"n\":\"3\",\"age_ms\":\"250\",\"channel\":\"a.b\"}"},
    {"{}",
     {.n = 1, .annotate = true},
     "{\"n\":\"1\",\"age_ms\":\"0\"}",
     "{\"n\":\"1\",\"age_ms\":\"0\",\"channel\":\"a.b\"}"},
    {"",
     {.n = 1, .age_ms = 9, .lost = 4294967295},
     "{\"lost\":\"4294967295\"}",
     "{\"lost\":\"4294967295\",\"channel\":\"a.b\"}"},
    {"{\"k\":\"v\"}",
     {.n = 2, .age_ms = 1, .lost = 5, .annotate = true},
     "{\"k\":\"v\",\"n\":\"2\",\"age_ms\":\"1\",\"lost\":\"5\"}",
     "{\"k\":\"v\",\"n\":\"2\",\"age_ms\":\"1\",\"lost\":\"5\","
     "\"channel\":\"a.b\"}"},
    /* Names of ours are ours when we use them, however they are spelt. */
    {"{\"n\":\"x\",\"lost\":\"y\",\"\\u0061ge_ms\":\"z\",\"channel\":\"c\"}",
     {.n = 2, .age_ms = 1, .annotate = true},
     "{\"channel\":\"c\",\"n\":\"2\",\"age_ms\":\"1\"}",
     "{\"n\":\"2\",\"age_ms\":\"1\",\"channel\":\"a.b\"}"},
    {"{\"n\":\"x\",\"lost\":\"y\",\"age_ms\":\"z\"}",
     {.n = 2, .lost = 1},
     "{\"n\":\"x\",\"age_ms\":\"z\",\"lost\":\"1\"}",
     "{\"n\":\"x\",\"age_ms\":\"z\",\"lost\":\"1\",\"channel\":\"a.b\"}"},
    /* Nothing to tell: not looked at. */
    {"{ \"n\" : \"x\", \"lost\":\"y\" }",
     {.n = 2, .age_ms = 1},
     "{ \"n\" : \"x\", \"lost\":\"y\" }",
     "{\"n\":\"x\",\"lost\":\"y\",\"channel\":\"a.b\"}"},
};

/* What conflation did is told in tags, in every encoding that has them. */
static void test_marks(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        struct buf b = BUF_INIT;
        char want[256];
        struct msg *m = make("a.b", "1", marks[i].tags, "");
        struct codec_pub p = marks[i].p;
        p.msg = m;
        encode_pub(&b, ENCODING_SSE, "a.*", true, &p);
        snprintf(want, sizeof(want),
                 "{\"channel\":\"a.b\",\"data\":1,\"tags\":%s}",
                 marks[i].plain);
        assert_text(buf_view(&b), want);
        buf_clear(&b);
        encode_pub(&b, ENCODING_UNI_SSE, "a.b", false, &p);
        snprintf(want, sizeof(want),
                 "{\"channel\":\"a.b\",\"pub\":{\"data\":1,\"tags\":%s}}",
                 marks[i].plain);
        assert_text(buf_view(&b), want);
        buf_clear(&b);
        encode_pub(&b, ENCODING_WS_JSON, "a.*", true, &p);
        snprintf(want, sizeof(want),
                 "{\"push\":{\"channel\":\"a.*\",\"pub\":{\"data\":1,"
                 "\"tags\":%s,\"channel\":\"a.b\"}}}",
                 marks[i].behind);
        assert_text(buf_view(&b), want);
        buf_clear(&b);
        encode_pub(&b, ENCODING_SSE_RAW, "a.b", false, &p);
        assert_text(buf_view(&b), "1");
        buf_free(&b);
        msg_unref(m);
    }
}

static void test_snapshots(void **state)
{
    (void)state;
    struct msg *a = make("a", "{\"x\":1}", "", "{\"user\":\"u\"}");
    struct msg *b = make("a", "2", "{\"k\":\"v\"}", "");
    struct codec_pub pubs[] = {
        {.msg = a, .n = 1},
        {.msg = b, .n = 4, .age_ms = 30, .annotate = true},
        {.msg = b, .n = 1},
    };
    struct buf to = BUF_INIT;
    buf_lit(&to, "before");
    encode_snapshot(&to, false, pubs, 0);
    assert_text(buf_view(&to), "before[]");
    buf_clear(&to);
    encode_snapshot(&to, false, pubs, 3);
    assert_text(buf_view(&to),
                "[{\"data\":{\"x\":1},\"info\":{\"user\":\"u\"}},"
                "{\"data\":2,\"tags\":{\"k\":\"v\",\"n\":\"4\","
                "\"age_ms\":\"30\"}},"
                "{\"data\":2,\"tags\":{\"k\":\"v\"}}]");
    buf_clear(&to);
    encode_snapshot(&to, true, pubs, 1);
    assert_text(buf_view(&to),
                "[{\"data\":{\"x\":1},\"info\":{\"user\":\"u\"},"
                "\"tags\":{\"channel\":\"a\"},\"channel\":\"a\"}]");
    buf_free(&to);
    msg_unref(a);
    msg_unref(b);
}

static void test_grants(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct throttle_grant g = {.mode = THROTTLE_LATEST, .rate = 5000};
    encode_throttle_grant(&b, g, false);
    assert_text(buf_view(&b), "{\"rate\":5,\"mode\":\"latest\"}");
    buf_clear(&b);
    g = (struct throttle_grant){.mode = THROTTLE_ALL, .rate = 200};
    encode_throttle_grant(&b, g, true);
    assert_text(buf_view(&b),
                "{\"rate\":0.2,\"mode\":\"all\",\"snapshot\":false}");
    buf_clear(&b);
    g = (struct throttle_grant){.mode = THROTTLE_MERGE};
    encode_throttle_grant(&b, g, false);
    assert_text(buf_view(&b), "{\"rate\":0,\"mode\":\"merge\"}");
    buf_free(&b);
}

/* The hub's way to merge_patch. */
static void test_merge(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    assert_int_equal(
        encode_codec.merge(&b, STR_LIT("{\"a\":1}"), STR_LIT("{\"b\":2}"), 13),
        0);
    assert_text(buf_view(&b), "{\"a\":1,\"b\":2}");
    assert_int_equal(
        encode_codec.merge(&b, STR_LIT(""), STR_LIT("{\"b\":2}"), 6),
        ERR_TOO_BIG);
    buf_free(&b);
}

static void check_frames(struct buf *b, size_t count)
{
    struct str rest = buf_view(b);
    struct str payload;
    uint8_t first;
    size_t seen = 0;
    while (gate_cut_frame(&rest, &first, &payload)) {
        size_t lines = 0;
        while (payload.p) {
            char want[64];
            snprintf(want, sizeof(want),
                     "{\"push\":{\"channel\":\"a\",\"pub\":{\"data\":%zu}}}",
                     seen++);
            assert_text(str_cut(&payload, '\n'), want);
            lines++;
        }
        assert_int_equal(lines, seen == count && count % 16 ? count % 16 : 16);
    }
    assert_int_equal(rest.n, 0);
    assert_int_equal(seen, count);
}

/* Up to 16 publications share a frame; each is a line of its own. */
static void test_batches(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 15, 16, 17, 32, 33, 64};
    struct msg *msgs[64];
    struct codec_pub pubs[64];
    char data[8];
    for (size_t i = 0; i < ARRAY_LEN(msgs); i++) {
        snprintf(data, sizeof(data), "%zu", i);
        msgs[i] = make("a", data, "", "");
        pubs[i] = (struct codec_pub){.msg = msgs[i], .n = 1};
    }
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct buf b = BUF_INIT;
        struct buf want = BUF_INIT;
        encode_codec.encode(&b, ENCODING_WS_JSON, STR_LIT("a"), false, pubs,
                            counts[i]);
        check_frames(&b, counts[i]);
        buf_clear(&b);
        encode_codec.encode(&b, ENCODING_SSE_RAW, STR_LIT("a"), false, pubs,
                            counts[i]);
        for (size_t k = 0; k < counts[i]; k++)
            buf_printf(&want, "data: %zu\n\n", k);
        assert_true(str_eq(buf_view(&b), buf_view(&want)));
        buf_free(&b);
        buf_free(&want);
    }
    for (size_t i = 0; i < ARRAY_LEN(msgs); i++)
        msg_unref(msgs[i]);
}

/* The frame's head grows with its payload; what was there before stays. */
static void test_big_frames(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 125, 126, 65535, 65536, 200000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf b = BUF_INIT;
        struct buf same = BUF_INIT;
        struct buf x = BUF_INIT;
        for (size_t k = 0; k < sizes[i]; k++)
            buf_char(&x, (char)('a' + k % 26));
        buf_lit(&b, "before");
        size_t mark = wire_ws_begin(&b);
        buf_str(&b, buf_view(&x));
        wire_ws_end(&b, mark);
        assert_true(str_starts(buf_view(&b), STR_LIT("before")));
        wire_ws_frame(&same, WIRE_WS_TEXT, buf_view(&x));
        struct str frame = str_skip(buf_view(&b), 6);
        assert_true(str_eq(frame, buf_view(&same)));
        uint8_t first;
        struct str payload;
        assert_true(gate_cut_frame(&frame, &first, &payload));
        assert_true(str_eq(payload, buf_view(&x)) && frame.n == 0);
        buf_free(&b);
        buf_free(&same);
        buf_free(&x);
    }
}

/* --- replies -------------------------------------------------------------- */

static void test_replies(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    encode_empty_reply(&b, 4294967295u, STR_LIT("unsubscribe"));
    assert_text(buf_view(&b), "{\"id\":4294967295,\"unsubscribe\":{}}");
    buf_clear(&b);
    encode_error_reply(&b, 7, ERROR_PERMISSION_DENIED);
    assert_text(
        buf_view(&b),
        "{\"id\":7,\"error\":{\"code\":103,\"message\":\"permission denied\"}}");
    buf_clear(&b);
    encode_push(&b, false, STR_LIT("a\"b"), STR_LIT("subscribe"),
                STR_LIT("{}"));
    assert_text(buf_view(&b),
                "{\"push\":{\"channel\":\"a\\\"b\",\"subscribe\":{}}}");
    buf_clear(&b);
    encode_push(&b, true, STR_LIT(""), STR_LIT("disconnect"), STR_LIT("{}"));
    assert_text(buf_view(&b), "{\"disconnect\":{}}");
    buf_clear(&b);
    encode_code_reason(&b, 3001, STR_LIT("say \"bye\"\n"));
    assert_text(buf_view(&b),
                "{\"code\":3001,\"reason\":\"say \\\"bye\\\"\\n\"}");
    buf_clear(&b);
    encode_client_info(&b, STR_LIT("u\\"), STR_LIT("id"));
    assert_text(buf_view(&b), "{\"user\":\"u\\\\\",\"client\":\"id\"}");
    buf_free(&b);
}

static void test_connect_results(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct connect_result r = {.client = STR_LIT("c")};
    encode_connect(&b, &r);
    assert_text(buf_view(&b),
                "{\"client\":\"c\",\"version\":\"weir " WEIR_VERSION "\"}");
    buf_clear(&b);
    r = (struct connect_result){.client = STR_LIT("c"),
                                .session = STR_LIT("s"),
                                .ping_s = 25,
                                .pong = true,
                                .subs = STR_LIT("\"a\":{}")};
    encode_connect(&b, &r);
    assert_text(buf_view(&b),
                "{\"client\":\"c\",\"version\":\"weir " WEIR_VERSION
                "\",\"subs\":{\"a\":{}},\"ping\":25,\"pong\":true,"
                "\"session\":\"s\"}");
    buf_free(&b);
}

/* --- codes ---------------------------------------------------------------- */

static const struct {
    uint32_t code;
    const char *text;
} error_texts[] = {
    {100,
     "{\"code\":100,\"message\":\"internal server error\",\"temporary\":true}"},
    {101, "{\"code\":101,\"message\":\"unauthorized\"}"},
    {102, "{\"code\":102,\"message\":\"unknown channel\"}"},
    {103, "{\"code\":103,\"message\":\"permission denied\"}"},
    {104, "{\"code\":104,\"message\":\"method not found\"}"},
    {105, "{\"code\":105,\"message\":\"already subscribed\"}"},
    {106, "{\"code\":106,\"message\":\"limit exceeded\"}"},
    {107, "{\"code\":107,\"message\":\"bad request\"}"},
    {108, "{\"code\":108,\"message\":\"not available\"}"},
    {109, "{\"code\":109,\"message\":\"token expired\"}"},
    {110, "{\"code\":110,\"message\":\"expired\"}"},
    {111,
     "{\"code\":111,\"message\":\"too many requests\",\"temporary\":true}"},
    {112, "{\"code\":112,\"message\":\"unrecoverable position\"}"},
    {113,
     "{\"code\":113,\"message\":\"concurrent pagination\",\"temporary\":true}"},
    /* not in the table: ours is the fault */
    {99,
     "{\"code\":100,\"message\":\"internal server error\",\"temporary\":true}"},
};

static void test_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(error_texts); i++) {
        struct buf b = BUF_INIT;
        encode_error(&b, error_texts[i].code);
        assert_text(buf_view(&b), error_texts[i].text);
        buf_free(&b);
    }
}

static void test_disconnects(void **state)
{
    (void)state;
    static const struct {
        uint32_t code;
        const char *reason;
    } table[] = {
        {3000, "connection closed"},
        {3001, "shutdown"},
        {3004, "internal server error"},
        {3005, "connection expired"},
        {3006, "subscription expired"},
        {3008, "slow"},
        {3009, "write error"},
        {3010, "insufficient state"},
        {3011, "force reconnect"},
        {3012, "no pong"},
        {3013, "too many requests"},
        {3500, "invalid token"},
        {3501, "bad request"},
        {3502, "stale"},
        {3503, "force disconnect"},
        {3504, "connection limit"},
        {3505, "channel limit"},
        {3506, "inappropriate protocol"},
        {3507, "permission denied"},
        {3508, "not available"},
        {4242, "disconnect"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_text(disconnect_reason(table[i].code), table[i].reason);
    assert_int_equal(error_info(ERROR_UNKNOWN_CHANNEL)->http_status, 404);
    assert_int_equal(error_info(ERROR_CONFLICT)->http_status, 409);
    assert_int_equal(error_info(ERROR_UNRECOVERABLE)->http_status, 416);
    assert_int_equal(error_info(ERROR_NOT_AVAILABLE)->http_status, 400);
    assert_int_equal(error_info(ERROR_INTERNAL)->http_status, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publications),
        cmocka_unit_test(test_payload_bytes),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_snapshots),
        cmocka_unit_test(test_grants),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_big_frames),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_connect_results),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_disconnects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
