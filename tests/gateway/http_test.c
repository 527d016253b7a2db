/* The HTTP port, byte by byte: order of answers, bodies however they come,
 * and an exact answer to everything that is no request. */
#include "gateway/transport/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/gate.h"

static struct gate gate;

static const char config[] =
    "{\"http_server\":{\"max_header_size\":1024,\"max_body_size\":4096,"
    "\"header_timeout\":\"10s\",\"idle_timeout\":\"75s\"},"
    "\"http_api\":{\"insecure\":true},\"client\":{\"insecure\":true}}";

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 2, config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gate_fini(&gate);
    return 0;
}

#define HEALTH "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
#define METRICS "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
/* Sent to /api/publish with this body. */
#define PUBLISHED "{\"channel\":\"a\",\"data\":1}"

static void send_text(struct gate_peer *p, const char *text)
{
    assert_true(gate_send(p, str_of(text)));
}

static struct gate_answer answer(struct gate_peer *p)
{
    struct gate_answer a;
    gate_read(p);
    if (!gate_next_answer(p, false, &a))
        fail_msg("no answer, but [%.*s]", STR_ARG(gate_rest(p)));
    return a;
}

static void expect_status(struct gate_peer *p, int status)
{
    struct gate_answer a = answer(p);
    if (a.status != status)
        fail_msg("status %d, not %d: %.*s", a.status, status, STR_ARG(a.body));
}

static void expect_body(struct gate_peer *p, int status, const char *body)
{
    struct gate_answer a = answer(p);
    assert_int_equal(a.status, status);
    if (!str_eq(a.body, str_of(body)))
        fail_msg("body [%.*s], not [%s]", STR_ARG(a.body), body);
}

static void expect_silence(struct gate_peer *p)
{
    gate_read(p);
    assert_int_equal(gate_rest(p).n, 0);
    assert_false(p->eof);
}

/* It said everything and hung up. */
static void expect_end(struct gate_peer *p)
{
    gate_read(p);
    if (gate_rest(p).n)
        fail_msg("more: [%.*s]", STR_ARG(gate_rest(p)));
    assert_true(p->eof);
    gate_close(p);
    gate_settle(&gate);
    assert_int_equal(gate.app.connections, 0);
    assert_int_equal(gate.loops[0]->http_count, 0);
}

static void end(struct gate_peer *p)
{
    expect_silence(p);
    gate_close(p);
    gate_settle(&gate);
    assert_int_equal(gate.app.connections, 0);
    assert_int_equal(gate.loops[0]->http_count, 0);
}

/* --- order ---------------------------------------------------------------- */

static void test_answers_in_order(void **state)
{
    (void)state;
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    send_text(&p, METRICS HEALTH METRICS
              "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" HEALTH);
    for (unsigned i = 0; i < 5; i++)
        gate_turn(&gate, 0);
    /* Metrics wait for the other shard, everything else for metrics. */
    char byte;
    assert_int_equal(recv(p.fd, &byte, 1, MSG_DONTWAIT), -1);
    struct gate_answer a = answer(&p);
    assert_int_equal(a.status, 200);
    assert_true(gate_has_line(&a, "Content-Type: text/plain; version=0.0.4"));
    a = answer(&p);
    assert_true(gate_has_line(&a, "Content-Type: application/json"));
    a = answer(&p);
    assert_true(gate_has_line(&a, "Content-Type: text/plain; version=0.0.4"));
    expect_status(&p, 404);
    expect_status(&p, 200);
    end(&p);
}

static void test_many_in_one_packet(void **state)
{
    (void)state;
    struct gate_peer p;
    struct buf all = BUF_INIT;
    buf_lit(&all, METRICS);
    for (unsigned i = 0; i < 3 * HTTP_MAX_PIPELINE; i++)
        buf_lit(&all, HEALTH);
    gate_open(&gate, 0, &p);
    assert_true(gate_send(&p, buf_view(&all)));
    for (unsigned i = 0; i < 5; i++)
        gate_turn(&gate, 0);
    /* One is open: no more than so many wait behind it. */
    assert_in_range(gate.loops[0]->shard->stats.http_requests, 2,
                    HTTP_MAX_PIPELINE);
    for (unsigned i = 0; i < 3 * HTTP_MAX_PIPELINE + 1; i++)
        expect_status(&p, 200);
    end(&p);
    buf_free(&all);
}

static void test_connection_close(void **state)
{
    (void)state;
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    send_text(
        &p, METRICS
        "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" HEALTH);
    struct gate_answer a = answer(&p);
    assert_false(gate_has_line(&a, "Connection: close"));
    a = answer(&p);
    assert_true(gate_has_line(&a, "Connection: close"));
    expect_end(&p);
}

static void test_half_closed(void **state)
{
    (void)state;
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    send_text(&p, METRICS HEALTH);
    shutdown(p.fd, SHUT_WR);
    expect_status(&p, 200);
    expect_status(&p, 200);
    expect_end(&p);
    gate_open(&gate, 0, &p);
    send_text(&p, METRICS "GET /health HT");
    shutdown(p.fd, SHUT_WR);
    expect_status(&p, 200);
    expect_status(&p, 400);
    expect_end(&p);
    gate_open(&gate, 0, &p);
    shutdown(p.fd, SHUT_WR);
    expect_end(&p);
}

static void test_leaves_before_the_answer(void **state)
{
    (void)state;
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    send_text(&p, METRICS HEALTH METRICS);
    gate_turn(&gate, 0);
    gate_close(&p);
    gate_turn(&gate, 0);
    gate_settle(&gate);
    assert_int_equal(gate.app.connections, 0);
    assert_int_equal(gate.loops[0]->http_count, 0);
}

/* --- bodies --------------------------------------------------------------- */

#define POST(body_len, body)                    \
    "POST /api/publish HTTP/1.1\r\nHost: x\r\n" \
    "Content-Length: " body_len "\r\n\r\n" body
#define POST_CHUNKED(chunks)                    \
    "POST /api/publish HTTP/1.1\r\nHost: x\r\n" \
    "Transfer-Encoding: chunked\r\n\r\n" chunks

/* The same requests, cut at every byte. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    static const char text[] = POST("24", PUBLISHED) POST("3", "[1]") POST_CHUNKED(
        "8;x=\"y\"\r\n{\"channe\r\n10\r\nl\":\"a\",\"data\":1}\r\n0\r\nT: v\r\n\r\n")
        HEALTH POST("0", "") "\r\n" POST("24", PUBLISHED);
    static const int statuses[] = {200, 400, 200, 200, 400, 200};
    for (size_t cut = 0; cut <= sizeof(text) - 1; cut++) {
        struct gate_peer p;
        gate_open(&gate, 0, &p);
        assert_true(gate_send(&p, str_n(text, cut)));
        gate_turn(&gate, 0);
        assert_true(gate_send(&p, str_n(text + cut, sizeof(text) - 1 - cut)));
        for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
            expect_status(&p, statuses[i]);
        end(&p);
    }
    /* Byte by byte. */
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_true(gate_send(&p, str_n(text + i, 1)));
        gate_turn(&gate, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        expect_status(&p, statuses[i]);
    end(&p);
}

static void test_chunked(void **state)
{
    (void)state;
    static const struct {
        const char *chunks;
        int status; /* 200: it was read as PUBLISHED */
    } table[] = {
        {"18\r\n" PUBLISHED "\r\n0\r\n\r\n", 200},
        {"018\r\n" PUBLISHED "\r\n000\r\n\r\n", 200},
        {"18;name=value\r\n" PUBLISHED "\r\n0;last\r\n\r\n", 200},
        {"18\r\n" PUBLISHED "\r\n0\r\nA: b\r\nC: d\r\n\r\n", 200},
        {"17\r\n{\"channel\":\"a\",\"data\":1\r\n1\r\n}\r\n0\r\n\r\n", 200},
        {"0\r\n\r\n", 400}, /* no body is no JSON */
        {"x\r\n", 400},
        {"-1\r\n", 400},
        {"18\r\n" PUBLISHED "X\r\n0\r\n\r\n", 400},
        {"ffffffffffffffff\r\n", 400},
        {"fffffffffffffff\r\n", 413},
        {"fffffffffffffffff\r\n", 400},
        {"1001\r\n", 413},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct gate_peer p;
        struct buf b = BUF_INIT;
        gate_open(&gate, 0, &p);
        buf_lit(&b, POST_CHUNKED(""));
        buf_str(&b, str_of(table[i].chunks));
        if (table[i].status == 413) {
            for (unsigned k = 0; k < 4097; k++)
                buf_char(&b, 'x');
        }
        assert_true(gate_send(&p, buf_view(&b)));
        struct gate_answer a = answer(&p);
        if (a.status != table[i].status)
            fail_msg("%s: %d", table[i].chunks, a.status);
        if (a.status == 200)
            assert_true(str_eq(a.body, STR_LIT("{\"result\":{}}")));
        gate_close(&p);
        gate_settle(&gate);
        gate_pass(&gate, 3000);
        assert_int_equal(gate.app.connections, 0);
        buf_free(&b);
    }
}

static void test_continue(void **state)
{
    (void)state;
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    for (unsigned i = 0; i < 2; i++) {
        send_text(&p, "POST /api/publish HTTP/1.1\r\nHost: x\r\n"
                      "Expect: 100-Continue\r\nContent-Length: 24\r\n\r\n");
        expect_status(&p, 100);
        send_text(&p, "{\"channel\":\"a\"");
        expect_silence(&p);
        send_text(&p, ",\"data\":1}");
        expect_body(&p, 200, "{\"result\":{}}");
    }
    send_text(
        &p, "POST /api/publish HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            "Transfer-Encoding: chunked\r\n\r\n");
    expect_status(&p, 100);
    send_text(&p, "18\r\n" PUBLISHED "\r\n0\r\n\r\n");
    expect_body(&p, 200, "{\"result\":{}}");
    /* The body is there already, or will be refused: no invitation. */
    send_text(&p,
              "POST /api/publish HTTP/1.1\r\nHost: x\r\n"
              "Expect: 100-continue\r\nContent-Length: 24\r\n\r\n" PUBLISHED);
    expect_body(&p, 200, "{\"result\":{}}");
    send_text(&p, "POST /api/publish HTTP/1.1\r\nHost: x\r\n"
                  "Expect: 100-continue\r\nContent-Length: 4097\r\n\r\n");
    expect_status(&p, 413);
    expect_end(&p);
}

static void test_sizes(void **state)
{
    (void)state;
    struct gate_peer p;
    struct buf b = BUF_INIT;
    /* A body of exactly the limit. */
    buf_lit(&b, POST("4096", PUBLISHED));
    for (size_t i = sizeof(PUBLISHED) - 1; i < 4096; i++)
        buf_char(&b, ' ');
    gate_open(&gate, 0, &p);
    assert_true(gate_send(&p, buf_view(&b)));
    expect_status(&p, 200);
    end(&p);
    /* A head of exactly the limit, and one more. */
    for (size_t size = 1024; size <= 1025; size++) {
        buf_clear(&b);
        buf_lit(&b, "GET /health HTTP/1.1\r\nHost: x\r\nX: ");
        while (b.n < size - 4)
            buf_char(&b, 'x');
        buf_lit(&b, "\r\n\r\n");
        gate_open(&gate, 0, &p);
        assert_true(gate_send(&p, buf_view(&b)));
        expect_status(&p, size == 1024 ? 200 : 431);
        if (size == 1024)
            end(&p);
        else
            expect_end(&p);
    }
    /* Without an end it is refused as soon as it is too long. */
    gate_open(&gate, 0, &p);
    assert_true(gate_send(&p, str_n(b.p, 1024)));
    expect_silence(&p);
    send_text(&p, "x");
    expect_status(&p, 431);
    expect_end(&p);
    buf_free(&b);
}

/* --- what is no request --------------------------------------------------- */

static const struct {
    const char *text;
    int status;
} refused[] = {
    {"nonsense\r\n\r\n", 400},
    {"GET\r\n\r\n", 400},
    {"GET /health\r\n\r\n", 505},
    {"GET health HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"GET ftp://x/health HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"GET /health HTTP/1.1\r\n\r\n", 400}, /* no Host */
    {"GET /health HTEP/1.1\r\nHost: x\r\n\r\n", 400},
    {"GET /health HTTP/2.0\r\nHost: x\r\n\r\n", 505},
    {"GET /health HTTP/0.9\r\nHost: x\r\n\r\n", 505},
    {"GET /health HTTP/1.2\r\nHost: x\r\n\r\n", 505},
    {"GET /hea lth HTTP/1.1\r\nHost: x\r\n\r\n", 400},
    {"GET /health HTTP/1.1\r\nHost x\r\n\r\n", 400},
    {"GET /health HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400},
    {"GET /health HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", 400},
    {"GET /health HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400},
    {"GET /health HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n", 400},
    {"GET /health HTTP/1.1\r\nHost: x\r\nOrigin: b\r\n c\r\n\r\n", 400},
    {"GET /health HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n", 400},
    {"GET /health HTTP/1.1\r\nHost: x\r\nA: b\x7F\r\n\r\n", 400},
    {"GET /health HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400},
    {"POST /api/info HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
     "Transfer-Encoding: chunked\r\n\r\n{}",
     400},
    {"POST /api/info HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
     "Content-Length: 2\r\n\r\n{}",
     400},
    {"POST /api/info HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
     "Content-Length: 3\r\n\r\n{}",
     400},
    {"POST /api/info HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
    {"POST /api/info HTTP/1.1\r\nHost: x\r\nContent-Length: 2x\r\n\r\n", 400},
    {"POST /api/info HTTP/1.1\r\nHost: x\r\n"
     "Content-Length: 18446744073709551616\r\n\r\n",
     400},
    {"POST /api/info HTTP/1.1\r\nHost: x\r\nContent-Length: 4097\r\n\r\n", 413},
    {"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n", 413},
    {"GET /health HTTP/1.1\r\nHost: x\r\nExpect: the moon\r\n\r\n", 417},
    {"GET /health HTTP/1.1\r\nHost: x\r\nExpect: 1\r\n\r\n", 417},
    {"GET /connection/websocket HTTP/1.1\r\nHost: x\r\n\r\n", 426},
    {"POST /connection/websocket HTTP/1.1\r\nHost: x\r\n"
     "Content-Length: 0\r\n\r\n",
     426},
    {"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
     "Upgrade: h2c\r\n\r\n",
     426},
};

/* Refused, and nothing after it is read: who knows what it would be. */
static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct gate_peer p;
        gate_open(&gate, 0, &p);
        send_text(&p, HEALTH);
        send_text(&p, refused[i].text);
        gate_send(&p, STR_LIT(HEALTH));
        expect_status(&p, 200);
        struct gate_answer a = answer(&p);
        if (a.status != refused[i].status)
            fail_msg("%d for %s", a.status, refused[i].text);
        assert_true(gate_has_line(&a, "Connection: close"));
        expect_end(&p);
    }
}

/* An unknown transfer coding can be refused in two ways; never be served. */
static void test_unknown_transfer_coding(void **state)
{
    (void)state;
    static const char *const codings[] = {"gzip", "gzip, chunked, gzip",
                                          "chunked, gzip", "xchunked"};
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        struct gate_peer p;
        struct buf b = BUF_INIT;
        buf_printf(&b,
                   "POST /api/info HTTP/1.1\r\nHost: x\r\n"
                   "Transfer-Encoding: %s\r\n\r\n{}",
                   codings[i]);
        gate_open(&gate, 0, &p);
        assert_true(gate_send(&p, buf_view(&b)));
        struct gate_answer a = answer(&p);
        if (a.status != 400 && a.status != 501)
            fail_msg("%s: %d", codings[i], a.status);
        expect_end(&p);
        buf_free(&b);
    }
}

static void test_lenient(void **state)
{
    (void)state;
    static const char *const fine[] = {
        "GET /health HTTP/1.1\nHost: x\n\n",
        "GET /health HTTP/1.1\r\nHost: x\n\r\n",
        "GET /health HTTP/1.1\nHost: x\r\n\n",
        "\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost:x\r\nX:\r\n\r\n",
        "GET /health HTTP/1.1\r\nhOST: x\r\n\r\n",
        "GET /health?a=b&c HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        "GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n",
        "GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    for (size_t i = 0; i < ARRAY_LEN(fine); i++) {
        send_text(&p, fine[i]);
        struct gate_answer a = answer(&p);
        if (a.status != 200)
            fail_msg("%d for %s", a.status, fine[i]);
    }
    end(&p);
}

static void test_methods(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int status;
        const char *allow;
    } table[] = {
        {"PUT /health", 405, "Allow: GET, HEAD"},
        {"DELETE /metrics", 405, "Allow: GET, HEAD"},
        {"GET /api/info", 405, "Allow: POST"},
        {"POST /sse?channel=a", 405, "Allow: GET, OPTIONS"},
        {"PATCH /nowhere", 404, NULL},
        {"POST /api/nowhere", 404, NULL},
        {"POST /api/", 404, NULL},
        {"GET /api", 404, NULL},
        {"GET /", 404, NULL},
    };
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct buf b = BUF_INIT;
        buf_printf(&b, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
                   table[i].line);
        assert_true(gate_send(&p, buf_view(&b)));
        struct gate_answer a = answer(&p);
        if (a.status != table[i].status)
            fail_msg("%s: %d", table[i].line, a.status);
        if (table[i].allow)
            assert_true(gate_has_line(&a, table[i].allow));
        buf_free(&b);
    }
    end(&p);
}

static void test_head(void **state)
{
    (void)state;
    struct gate_peer p;
    struct gate_answer get;
    struct gate_answer head;
    gate_open(&gate, 0, &p);
    send_text(&p, HEALTH "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n" HEALTH);
    gate_read(&p);
    assert_true(gate_next_answer(&p, false, &get));
    assert_true(gate_next_answer(&p, true, &head));
    assert_true(str_eq(get.head, head.head));
    assert_true(gate_next_answer(&p, false, &get));
    /* Errors too have no body then. */
    send_text(&p, "HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
                  "HEAD health HTTP/1.1\r\nHost: x\r\n\r\n");
    gate_read(&p);
    assert_true(gate_next_answer(&p, true, &head));
    assert_int_equal(head.status, 404);
    assert_true(gate_next_answer(&p, true, &head));
    assert_int_equal(head.status, 400);
    expect_end(&p);
}

static void test_http_1_0(void **state)
{
    (void)state;
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    send_text(&p, "GET /health HTTP/1.0\r\n\r\n" HEALTH);
    struct gate_answer a = answer(&p);
    assert_int_equal(a.status, 200);
    assert_true(gate_has_line(&a, "Connection: close"));
    expect_end(&p);
    /* Such a client waits for the end unless it is told otherwise. */
    gate_open(&gate, 0, &p);
    for (unsigned i = 0; i < 2; i++) {
        send_text(&p, "GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        a = answer(&p);
        assert_int_equal(a.status, 200);
        assert_true(gate_has_line(&a, "Connection: keep-alive"));
    }
    end(&p);
}

/* --- time ----------------------------------------------------------------- */

static void test_silent(void **state)
{
    (void)state;
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    gate_pass(&gate, 9900);
    expect_silence(&p);
    gate_pass(&gate, 200);
    gate_pass(&gate, 2100);
    gate_read(&p);
    assert_true(p.eof);
    gate_close(&p);
    assert_int_equal(gate.app.connections, 0);
}

/* The time is that of the whole head, or of the body: dribbling does not
 * start it anew. */
static void test_slow_request(void **state)
{
    (void)state;
    static const char head[] = "POST /api/info HTTP/1.1\r\nHost: x\r\n";
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    send_text(&p, "P");
    expect_silence(&p);
    for (size_t i = 1; i <= 9; i++) {
        gate_pass(&gate, 1000);
        assert_true(gate_send(&p, str_n(head + i, 1)));
        expect_silence(&p);
    }
    gate_pass(&gate, 1100);
    expect_status(&p, 408);
    expect_end(&p);
    gate_open(&gate, 0, &p);
    send_text(&p, HEALTH);
    expect_status(&p, 200);
    gate_pass(&gate, 60000);
    expect_silence(&p);
    send_text(&p, head);
    send_text(&p, "Content-Length: 20\r\n\r\n{");
    expect_silence(&p);
    for (size_t i = 0; i < 9; i++) {
        gate_pass(&gate, 1000);
        send_text(&p, " ");
        expect_silence(&p);
    }
    gate_pass(&gate, 1100);
    expect_status(&p, 408);
    expect_end(&p);
}

static void test_idle(void **state)
{
    (void)state;
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    for (unsigned i = 0; i < 3; i++) {
        send_text(&p, HEALTH);
        expect_status(&p, 200);
        gate_pass(&gate, 74000);
    }
    expect_silence(&p);
    gate_pass(&gate, 1100);
    expect_end(&p);
}

/* Our last word is said: the peer may still send, and has two seconds. */
static void test_linger(void **state)
{
    (void)state;
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    send_text(&p, "nonsense\r\n\r\n");
    expect_status(&p, 400);
    assert_true(p.eof);
    assert_int_equal(gate.loops[0]->http_count, 1);
    assert_true(gate_send(&p, STR_LIT(HEALTH HEALTH)));
    gate_settle(&gate);
    gate_pass(&gate, 1900);
    assert_int_equal(gate.loops[0]->http_count, 1);
    gate_pass(&gate, 200);
    assert_int_equal(gate.loops[0]->http_count, 0);
    expect_end(&p);
}

/* --- taking over ---------------------------------------------------------- */

static void test_stream_after_answers(void **state)
{
    (void)state;
    static const char sse[] = "GET /sse?channel=a HTTP/1.1\r\nHost: x\r\n\r\n";
    struct gate_peer p;
    /* One still asks the other shard; one is answered but not written. */
    static const char *const before[] = {METRICS, HEALTH};
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        gate_open(&gate, 0, &p);
        send_text(&p, before[i]);
        send_text(&p, sse);
        expect_status(&p, 200);
        expect_status(&p, 503);
        send_text(&p, HEALTH);
        expect_status(&p, 200);
        end(&p);
    }
    gate_open(&gate, 0, &p);
    send_text(&p, HEALTH);
    expect_status(&p, 200);
    send_text(&p, sse);
    struct gate_answer a = answer(&p);
    assert_int_equal(a.status, 200);
    assert_true(
        gate_has_line(&a, "Content-Type: text/event-stream; charset=utf-8"));
    assert_int_equal(gate.loops[0]->http_count, 0);
    gate_close(&p);
    gate_settle(&gate);
    assert_int_equal(gate.app.connections, 0);
}

static void test_upgrade_after_answers(void **state)
{
    (void)state;
    static const char upgrade[] =
        "GET /connection/websocket HTTP/1.1\r\nHost: x\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct gate_peer p;
    gate_open(&gate, 0, &p);
    send_text(&p, METRICS);
    send_text(&p, upgrade);
    expect_status(&p, 200);
    expect_status(&p, 400);
    expect_end(&p);
    gate_open(&gate, 0, &p);
    send_text(&p, HEALTH);
    expect_status(&p, 200);
    send_text(&p, upgrade);
    expect_status(&p, 101);
    gate_close(&p);
    gate_settle(&gate);
    assert_int_equal(gate.app.connections, 0);
}

/* --- the end -------------------------------------------------------------- */

static void test_drain(void **state)
{
    (void)state;
    struct gate_peer idle;
    struct gate_peer waiting;
    gate_open(&gate, 0, &idle);
    gate_open(&gate, 0, &waiting);
    send_text(&idle, HEALTH);
    expect_status(&idle, 200);
    send_text(&waiting, METRICS);
    gate_turn(&gate, 0);
    http_drain(gate.loops[0]);
    expect_status(&waiting, 200);
    gate_read(&idle);
    assert_true(idle.eof);
    gate_close(&idle);
    expect_end(&waiting);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answers_in_order),
        TEST(test_many_in_one_packet),
        TEST(test_connection_close),
        TEST(test_half_closed),
        TEST(test_leaves_before_the_answer),
        TEST(test_cut_anywhere),
        TEST(test_chunked),
        TEST(test_continue),
        TEST(test_sizes),
        TEST(test_refused),
        TEST(test_unknown_transfer_coding),
        TEST(test_lenient),
        TEST(test_methods),
        TEST(test_head),
        TEST(test_http_1_0),
        TEST(test_silent),
        TEST(test_slow_request),
        TEST(test_idle),
        TEST(test_linger),
        TEST(test_stream_after_answers),
        TEST(test_upgrade_after_answers),
        TEST(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
