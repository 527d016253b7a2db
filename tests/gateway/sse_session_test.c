/* Who finds an open event stream by its session's name, and who does not:
 * from another shard, and from another node, which a table of functions
 * plays. */
#include "gateway/transport/sse.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/tune.h"
#include "tests/kit/stream.h"

#define PEER "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
#define NO_SECRET "00000000000000000000000000000000"

static struct gate gate;

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 2, STREAM_CONFIG);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(gate.app.connections, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(gate.loops[i]->shard->sub_count, 0);
        assert_null(gate.loops[i]->streams);
    }
    gate_fini(&gate);
    return 0;
}

/* --- what is refused ------------------------------------------------------- */

static void test_bad_bodies(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "{",
        "5",
        "null",
        "[]",
        "{}",
        "{\"channels\":[]}",
        "{\"channels\":null}",
        "{\"channels\":5}",
        "{\"channels\":{}} x",
        "{\"channels\":{\"a\":5}}",
        "{\"channels\":{\"a\":[]}}",
        "{\"channels\":{\"a\":\"x\"}}",
        "{\"channels\":{\"a\":true}}",
        "{\"channels\":{\"\":{}}}",
        "{\"channels\":{\"\":null}}",
        "{\"channels\":{\"a\":{\"rate\":-1}}}",
        "{\"channels\":{\"a\":{\"rate\":\"5\"}}}",
        "{\"channels\":{\"a\":{\"rate\":[]}}}",
        "{\"channels\":{\"a\":{\"mode\":\"newest\"}}}",
        "{\"channels\":{\"a\":{\"mode\":5}}}",
        "{\"channels\":{\"qq:new\":{},\"a\":null,\"b\":{\"rate\":{}}}}",
    };
    struct stream s;
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        stream_post(&s, bodies[i], 400, NULL);
    /* Nothing was done, not even in part, and none of them counted. */
    assert_true(ARRAY_LEN(bodies) > TUNE_BURST);
    stream_post(&s, STREAM_LOOK, 200,
                "{\"channels\":{\"a\":" STREAM_PLAIN "}}");
    stream_post(&s, "{\"channels\":5,\"channels\":{\"a\":null},\"more\":1}",
                200, "{\"channels\":{}}");
    stream_end(&s.peer);
}

static void test_body_size(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    char *body = mem_zalloc(SSE_CONTROL_MAX + 2);
    memset(body, ' ', SSE_CONTROL_MAX + 1);
    memcpy(body, STREAM_LOOK, strlen(STREAM_LOOK));
    stream_post(&s, body, 413, NULL);
    body[SSE_CONTROL_MAX] = '\0';
    stream_post(&s, body, 200, NULL);
    free(body);
    stream_end(&s.peer);
}

static void expect_not_found(const char *name)
{
    for (unsigned shard = 0; shard < 2; shard++)
        stream_post_from(&gate, shard, name, "{\"channels\":{\"a\":null}}", 404,
                         STREAM_NOT_FOUND);
}

/* All answers are the same: they do not say which part was wrong. */
static void test_wrong_names(void **state)
{
    (void)state;
    static const char *const formats[] = {
        "%.36s.%c.%.31s",   "%.36s.%c.%.32s0",     "%.36s.%c.0%.32s",
        "%.36s.0%c.%.32s",  "%.36s.+%c.%.32s",     "%.36s.%c0.%.32s",
        "%.36s.%c9.%.32s",  "%.36s.9%c9999.%.32s", "%.36s.-%c.%.32s",
        "%.35s.%c.%.32s",   "%.36s0.%c.%.32s",     "%.36s%c.%.32s",
        "%.36s.%c%.32s",    ".%.36s.%c.%.32s",     "%.36s.%c.%.32s.",
        "%.36s.%c..%.32s",  "%.36s.%c.%.32s/",     "%.36s.%c.%.32s/x",
        "%.36s.%c.%%%.31s", "%.36s.%c.%.31sg",     "%.36s.%c.%.31sA",
    };
    struct stream s;
    char name[160];
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    const char *secret = s.session + 39;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        snprintf(name, sizeof(name), formats[i], s.session, '0', secret);
        expect_not_found(name);
    }
    snprintf(name, sizeof(name), "%s", s.session);
    name[70] = name[70] == '0' ? '1' : '0';
    expect_not_found(name);
    snprintf(name, sizeof(name), "%s", s.session);
    for (char *c = name + 39; *c; c++)
        *c = (char)toupper(*c);
    expect_not_found(name);
    snprintf(name, sizeof(name), "%.36s.1.%s", s.session, secret);
    expect_not_found(name);
    snprintf(name, sizeof(name), "%s.0.%s", PEER, secret);
    expect_not_found(name);
    snprintf(name, sizeof(name), "%.36s.0.%s", s.session, NO_SECRET);
    expect_not_found(name);
    static const char *const others[] = {"", ".", "..", "...", "x", "%00", "/"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        expect_not_found(others[i]);
    stream_post(&s, STREAM_LOOK, 200,
                "{\"channels\":{\"a\":" STREAM_PLAIN "}}");
    stream_end(&s.peer);
}

static void test_no_session_of_others(void **state)
{
    (void)state;
    /* A WebSocket's session has no secret: its name must not be found. */
    struct gate_peer ws;
    char name[160];
    gate_open_ws(&gate, 0, &ws);
    snprintf(name, sizeof(name), "%s.0.%s", gate.app.node_id, NO_SECRET);
    expect_not_found(name);
    stream_end(&ws);
}

static const struct {
    const char *method;
    const char *headers;
    int status;
    const char *line;
} methods[] = {
    {"GET", "", 405, "Allow: POST, OPTIONS"},
    {"HEAD", "", 405, "Allow: POST, OPTIONS"},
    {"PUT", "", 405, "Allow: POST, OPTIONS"},
    {"DELETE", "Origin: https://a.test\r\n", 405,
     "Access-Control-Allow-Origin: https://a.test"},
    {"OPTIONS",
     "Origin: https://a.test\r\n"
     "Access-Control-Request-Headers: content-type\r\n",
     204, "Access-Control-Allow-Methods: POST, OPTIONS"},
    {"OPTIONS",
     "Origin: https://a.test\r\n"
     "Access-Control-Request-Headers: content-type\r\n",
     204, "Access-Control-Allow-Headers: content-type"},
    {"OPTIONS", "", 204, "Access-Control-Max-Age: 300"},
    {"OPTIONS", "Origin: https://evil.example\r\n", 403,
     "Content-Type: application/json"},
    {"POST", "Origin: https://evil.example\r\n", 403,
     "Content-Type: application/json"},
    {"POST", "Origin: null\r\n", 403, "Content-Type: application/json"},
    {"POST", "Origin: https://a.test\r\nContent-Type: text/plain\r\n", 200,
     "Access-Control-Allow-Origin: https://a.test"},
    {"POST", "Origin: https://a.test\r\n", 200,
     "Access-Control-Allow-Credentials: true"},
};

static void test_methods(void **state)
{
    (void)state;
    struct stream s;
    struct gate_peer p;
    struct gate_answer a;
    char line[160];
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        bool to_head = strcmp(methods[i].method, "HEAD") == 0;
        snprintf(line, sizeof(line), "%s /sse/%s", methods[i].method,
                 s.session);
        stream_request(&gate, &p, i % 2, line, methods[i].headers, STREAM_LOOK);
        gate_read(&p);
        assert_true(gate_next_answer(&p, to_head, &a));
        if (a.status != methods[i].status ||
            !gate_has_line(&a, methods[i].line))
            fail_msg("%zu: %.*s", i, STR_ARG(a.head));
        stream_end(&p);
    }
    /* Errors carry them too, or a page could not read them. */
    stream_request(&gate, &p, 0, "POST /sse/x", "Origin: https://a.test\r\n",
                   STREAM_LOOK);
    assert_int_equal(stream_take_answer(&p, &a), 404);
    assert_true(
        gate_has_line(&a, "Access-Control-Allow-Origin: https://a.test"));
    stream_end(&p);
    stream_end(&s.peer);
}

static void test_too_many(void **state)
{
    (void)state;
    struct stream s;
    struct stream other;
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    stream_open(&gate, &other, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    for (unsigned i = 0; i < TUNE_BURST; i++)
        stream_post(&s, STREAM_LOOK, 200, NULL);
    stream_post(&s, "{\"channels\":{\"a\":null}}", 429,
                "{\"error\":{\"code\":111,\"message\":\"too many requests\","
                "\"detail\":\"too many changes of this stream\"}}\n");
    stream_post(&other, STREAM_LOOK, 200, NULL);
    assert_int_equal(gate.loops[0]->shard->stats.rate_refused, 1);
    gate_pass(&gate, 1000 / TUNE_RATE + 10);
    stream_post(&s, STREAM_LOOK, 200,
                "{\"channels\":{\"a\":" STREAM_PLAIN "}}");
    stream_post(&s, STREAM_LOOK, 429, NULL);
    stream_end(&s.peer);
    stream_end(&other.peer);
}

/* --- another shard, another node ------------------------------------------- */

static void test_other_shard(void **state)
{
    (void)state;
    struct stream s;
    char near[32];
    char body[128];
    char want[256];
    gate_channel_of(&gate, 0, 7, near);
    stream_open(&gate, &s, 1, "channel=qq:a",
                "\"qq:a\":{\"rate\":20,\"mode\":\"latest\"}");
    snprintf(body, sizeof(body),
             "{\"channels\":{\"qq:a\":{\"rate\":1},\"%s\":{}}}", near);
    snprintf(want, sizeof(want),
             "{\"channels\":{\"qq:a\":{\"rate\":1,\"mode\":\"latest\"},"
             "\"%s\":" STREAM_PLAIN "}}",
             near);
    stream_post(&s, body, 200, want);
    stream_post_from(&gate, 1, s.session, STREAM_LOOK, 200, want);
    stream_post(&s, "{\"channels\":5}", 400, NULL);
    /* The peer has gone before the letters are back. */
    struct gate_peer p;
    stream_begin_post(&gate, &p, 0, s.session,
                      "{\"channels\":{\"qq:a\":null}}");
    gate_turn(&gate, 0);
    gate_close(&p);
    gate_turn(&gate, 0);
    gate_settle(&gate);
    snprintf(want, sizeof(want), "{\"channels\":{\"%s\":" STREAM_PLAIN "}}",
             near);
    stream_post(&s, STREAM_LOOK, 200, want);
    stream_end(&s.peer);
}

static struct {
    struct node_op *op; /* owned: asked, not answered */
    struct buf answer;  /* owned: of the last broker_answer */
    unsigned answers;
} bus;

static void bus_ask(void *self, struct node_op *op)
{
    assert_ptr_equal(self, &bus);
    assert_null(bus.op);
    bus.op = op;
}

static void bus_answer(void *self, struct node_request *r, struct str body)
{
    assert_ptr_equal(self, &bus);
    buf_clear(&bus.answer);
    buf_str(&bus.answer, body);
    bus.answers++;
    node_request_free(r);
}

static const struct broker_ops bus_ops = {.ask = bus_ask, .answer = bus_answer};

/* Only while nothing is subscribed or published. */
static void put_bus(bool there)
{
    gate.app.hub.broker.ops = there ? &bus_ops : NULL;
    gate.app.hub.broker.self = there ? &bus : NULL;
}

static void ask_us(struct str request)
{
    struct node_request *r = mem_zalloc(sizeof(*r) + 1);
    unsigned before = bus.answers;
    buf_str(&r->request, request);
    sse_control_asked(&gate.app, r);
    assert_int_equal(bus.answers, before); /* it only posts */
    gate_settle(&gate);
    assert_int_equal(bus.answers, before + 1);
}

static void expect_answer(const char *want)
{
    if (!str_eq(buf_view(&bus.answer), str_of(want)))
        fail_msg("%.*s, not %s", STR_ARG(buf_view(&bus.answer)), want);
}

static void forget_bus(void)
{
    assert_null(bus.op);
    put_bus(false);
    buf_free(&bus.answer);
}

/* Ask for a stream of another node; the bus has the question then. */
static void begin_remote(struct gate_peer *p, const char *body)
{
    stream_begin_post(&gate, p, 0, PEER ".7." NO_SECRET, body);
    gate_settle(&gate);
    assert_non_null(bus.op);
    assert_string_equal(bus.op->node, PEER);
    assert_ptr_equal(bus.op->origin, gate.loops[0]->shard);
    char want[256];
    snprintf(want, sizeof(want), "sse %s.7.%s\n%s", PEER, NO_SECRET, body);
    assert_true(str_eq(buf_view(&bus.op->request), str_of(want)));
}

static void finish_remote(int result, const char *answer)
{
    struct node_op *op = bus.op;
    bus.op = NULL;
    buf_free(&op->request);
    op->result = result;
    if (answer)
        buf_str(&op->answer, str_of(answer));
    op->done(op);
}

static const struct {
    int result;
    const char *answer;
    int status;
    const char *body; /* NULL: an error of ours */
} remote[] = {
    {0, "200\n{\"channels\":{}}", 200, "{\"channels\":{}}"},
    {0, "400\n{}", 400, "{}"},
    {0, "404\n" STREAM_NOT_FOUND, 404, STREAM_NOT_FOUND},
    {0, "429\nx", 429, "x"},
    {0, "503\nx", 503, "x"},
    {0, "200\n", 200, ""},
    {0, "200", 503, NULL},
    {0, "", 503, NULL},
    {0, "301\nx", 503, NULL},
    {0, "20", 503, NULL},
    {0, "x", 503, NULL},
    {ERR_NOT_FOUND, NULL, 404, STREAM_NOT_FOUND},
    {ERR_AGAIN, NULL, 503, NULL},
    {ERR_TOO_BIG, NULL, 503, NULL},
};

static void test_ask_node(void **state)
{
    (void)state;
    put_bus(true);
    for (size_t i = 0; i < ARRAY_LEN(remote); i++) {
        struct gate_peer p;
        struct gate_answer a;
        begin_remote(&p, "{\"channels\":{\"a\":null}}");
        finish_remote(remote[i].result, remote[i].answer);
        if (stream_take_answer(&p, &a) != remote[i].status ||
            (remote[i].body && !str_eq(a.body, str_of(remote[i].body))))
            fail_msg("%zu: %d %.*s", i, a.status, STR_ARG(a.body));
        stream_end(&p);
    }
    /* The peer has gone, and so what comes is nobody's. */
    struct gate_peer p;
    begin_remote(&p, "{}");
    stream_end(&p);
    finish_remote(0, "200\n{}");
    /* The bus is not asked for what is no name, or one of ours. */
    static const char *const others[] = {PEER ".64." NO_SECRET, PEER ".1.x",
                                         PEER, ("x.1." NO_SECRET)};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        expect_not_found(others[i]);
    char own[128];
    snprintf(own, sizeof(own), "%s.9.%s", gate.app.node_id, NO_SECRET);
    expect_not_found(own);
    forget_bus();
    expect_not_found(PEER ".7." NO_SECRET);
}

static void test_asked_by_node(void **state)
{
    (void)state;
    struct stream s;
    char request[256];
    stream_open(&gate, &s, 1, "channel=qq:a",
                "\"qq:a\":{\"rate\":20,\"mode\":\"latest\"}");
    put_bus(true);
    snprintf(request, sizeof(request),
             "sse %s\n{\"channels\":{\"qq:a\":{\"rate\":1}}}", s.session);
    ask_us(str_of(request));
    expect_answer("200\n{\"channels\":{\"qq:a\":{\"rate\":1,"
                  "\"mode\":\"latest\"}}}");
    snprintf(request, sizeof(request), "sse %s\n{\"channels\":5}", s.session);
    ask_us(str_of(request));
    assert_true(str_starts(buf_view(&bus.answer), STR_LIT("400\n{\"error\":")));
    /* A body with newlines is whole. */
    snprintf(request, sizeof(request), "sse %s\n{\"channels\":\n{}\n}\n",
             s.session);
    ask_us(str_of(request));
    assert_true(str_starts(buf_view(&bus.answer), STR_LIT("200\n")));
    static const char *const formats[] = {
        "sse %.70s\n" STREAM_LOOK,
        "sse %sx\n" STREAM_LOOK,
        "ssf %s\n" STREAM_LOOK,
        "sse%s\n" STREAM_LOOK,
        "%s\n" STREAM_LOOK,
        " sse %s\n" STREAM_LOOK,
        "sse %.38s0\n" STREAM_LOOK,
        "sse %.36s\n",
        "sse \n%s",
        "\n%s",
    };
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        snprintf(request, sizeof(request), formats[i], s.session);
        ask_us(str_of(request));
        expect_answer("404\n" STREAM_NOT_FOUND);
    }
    ask_us(STR_LIT(""));
    expect_answer("404\n" STREAM_NOT_FOUND);
    ask_us(STR_LIT("sse " PEER ".0." NO_SECRET "\n" STREAM_LOOK));
    expect_answer("404\n" STREAM_NOT_FOUND);
    forget_bus();
    stream_end(&s.peer);
}

/* What is too long for the bus is said to be done; it must not time out. */
static void test_long_answer(void **state)
{
    (void)state;
    struct stream s;
    struct buf request = BUF_INIT;
    stream_open(&gate, &s, 1, "channel=a", "\"a\":" STREAM_PLAIN);
    buf_printf(&request, "sse %s\n{\"channels\":{\"", s.session);
    for (unsigned i = 0; i < 50000; i++)
        buf_lit(&request, "\\u0001");
    request.n = NODE_MAX_BYTES - 30;
    while (request.p[request.n - 1] != '1')
        request.n--;
    buf_lit(&request, "\":{},\"b c\":{}}}");
    put_bus(true);
    ask_us(buf_view(&request));
    assert_true(bus.answer.n <= NODE_MAX_BYTES);
    assert_true(str_starts(buf_view(&bus.answer), STR_LIT("503\n{\"error\":")));
    forget_bus();
    buf_free(&request);
    stream_end(&s.peer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bad_bodies),    TEST(test_body_size),
        TEST(test_wrong_names),   TEST(test_no_session_of_others),
        TEST(test_methods),       TEST(test_too_many),
        TEST(test_other_shard),   TEST(test_ask_node),
        TEST(test_asked_by_node), TEST(test_long_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
