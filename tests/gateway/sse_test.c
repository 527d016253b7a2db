/* Event streams over a socket: /sse for plain EventSource, and the
 * unidirectional one of centrifuge. */
#include "gateway/transport/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/session.h"
#include "tests/kit/gate.h"

static struct gate gate;
static char far[32]; /* a channel that shard 0 must ask shard 1 for */

static const char config[] =
    "{\"client\":{\"allow_anonymous_connect_without_token\":true,"
    "\"allowed_origins\":[\"https://*.test\"],\"channel_limit\":4},"
    "\"uni_sse\":{\"enabled\":true},"
    "\"sse\":{\"channel_limit\":3,\"retry\":\"3s\",\"ping_interval\":\"10s\"},"
    "\"channel\":{\"without_namespace\":{\"allow_subscribe_for_client\":true,"
    "\"allow_subscribe_for_anonymous\":true,\"allow_patterns\":true},"
    "\"namespaces\":[{\"name\":\"shut\"}]}}";

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 2, config);
    gate_channel_of(&gate, 1, 0, far);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(gate.app.connections, 0);
    assert_int_equal(gate.loops[0]->shard->sub_count, 0);
    gate_fini(&gate);
    return 0;
}

static void end(struct gate_peer *p)
{
    gate_close(p);
    gate_settle(&gate);
}

static void request(struct gate_peer *p, const char *line, const char *headers,
                    const char *body)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s",
               line, headers, strlen(body), body);
    gate_open(&gate, 0, p);
    assert_true(gate_send(p, buf_view(&b)));
    buf_free(&b);
}

/* The head of a stream that is open, and what came with it. */
static struct gate_answer open_stream(struct gate_peer *p, const char *line,
                                      const char *headers)
{
    struct gate_answer a;
    request(p, line, headers, "");
    gate_read(p);
    assert_true(gate_next_answer(p, false, &a));
    if (a.status != 200)
        fail_msg("%s: %d %.*s", line, a.status, STR_ARG(a.body));
    return a;
}

static void expect(struct gate_peer *p, const char *want)
{
    gate_read(p);
    if (!str_eq(gate_rest(p), str_of(want)))
        fail_msg("[%.*s], not [%s]", STR_ARG(gate_rest(p)), want);
    p->at = p->in.n;
}

static void close_all(uint32_t code)
{
    struct shard *s = gate.loops[0]->shard;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].client)
            session_close(session_of(s->slots[i].client), code);
    }
}

/* --- /sse ----------------------------------------------------------------- */

static void test_head(void **state)
{
    (void)state;
    struct gate_peer p;
    struct gate_answer a =
        open_stream(&p, "GET /sse?channel=a", "Origin: https://page.test\r\n");
    static const char *const lines[] = {
        "Content-Type: text/event-stream; charset=utf-8",
        "X-Accel-Buffering: no",
        "Access-Control-Allow-Origin: https://page.test",
        "Access-Control-Allow-Credentials: true",
        "Vary: Origin",
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (!gate_has_line(&a, lines[i]))
            fail_msg("no %s", lines[i]);
    }
    unsigned retry = 0;
    assert_int_equal(sscanf(a.body.p, ":\nretry: %u\n\n", &retry), 1);
    assert_in_range(retry, 3000, 6000);
    /* The session is the first event, and ends the head. */
    static const char event[] = "\n\nevent: session\ndata: {\"session\":\"";
    static const char last[] =
        ",\"channels\":{\"a\":{\"rate\":0,\"mode\":\"all\"}},\"resume\":[]}\n\n";
    const char *at = memmem(a.body.p, a.body.n, event, strlen(event));
    assert_non_null(at);
    struct str rest = str_skip(a.body, (size_t)(at - a.body.p) + strlen(event));
    struct str name = str_cut(&rest, '"');
    assert_true(str_starts(name, str_of(gate.app.node_id)));
    assert_true(str_eq(rest, str_of(last)));
    end(&p);
}

/* The stream begins when every subscription is answered, not before. */
static void test_begins_when_answered(void **state)
{
    (void)state;
    struct gate_peer p;
    struct gate_answer a;
    char line[64];
    char byte;
    snprintf(line, sizeof(line), "GET /sse?channel=%s&channel=a", far);
    request(&p, line, "", "");
    for (unsigned i = 0; i < 5; i++)
        gate_turn(&gate, 0);
    assert_int_equal(recv(p.fd, &byte, 1, MSG_DONTWAIT), -1);
    /* Already live: it comes behind the head. */
    gate_publish(&gate, 0, "a", "\"early\"");
    gate_read(&p);
    assert_true(gate_next_answer(&p, false, &a));
    assert_int_equal(a.status, 200);
    assert_true(str_starts(a.body, STR_LIT(":\nretry: ")));
    assert_non_null(memmem(a.body.p, a.body.n, "\"early\"}\n\n", 10));
    gate_publish(&gate, 0, far, "\"late\"");
    char want[128];
    snprintf(want, sizeof(want),
             "data: {\"channel\":\"%s\",\"data\":\"late\"}\n\n", far);
    expect(&p, want);
    end(&p);
}

static void test_each_publication_once(void **state)
{
    (void)state;
    struct gate_peer p;
    open_stream(&p, "GET /sse?channel=a.b&channel=a.*&channel=%3E&channel=a.b",
                "");
    gate_publish(&gate, 1, "a.b", "1");
    gate_publish(&gate, 1, "a.c", "2");
    gate_publish(&gate, 1, "d", "{\"x\":null}");
    gate_read(&p);
    expect(&p, "data: {\"channel\":\"a.b\",\"data\":1}\n\n"
               "data: {\"channel\":\"a.c\",\"data\":2}\n\n"
               "data: {\"channel\":\"d\",\"data\":{\"x\":null}}\n\n");
    end(&p);
    open_stream(&p, "GET /sse?channel=a.*&raw=1", "");
    gate_publish(&gate, 0, "a.b", "[1, 2]");
    expect(&p, "data: [1, 2]\n\n");
    end(&p);
}

static void test_heartbeats(void **state)
{
    (void)state;
    struct gate_peer p;
    open_stream(&p, "GET /sse?channel=a", "");
    gate_pass(&gate, 10020);
    expect(&p, ":\n\n");
    for (unsigned i = 0; i < 3; i++) {
        gate_pass(&gate, 10020);
        expect(&p, ":\n\n");
    }
    end(&p);
}

static void test_says_why_it_ends(void **state)
{
    (void)state;
    struct gate_peer p;
    open_stream(&p, "GET /sse?channel=a", "");
    gate_publish(&gate, 0, "a", "1");
    gate_settle(&gate);
    close_all(DISCONNECT_SHUTDOWN);
    expect(
        &p,
        "data: {\"channel\":\"a\",\"data\":1}\n\n"
        "event: disconnect\ndata: {\"code\":3001,\"reason\":\"shutdown\"}\n\n");
    assert_true(p.eof);
    /* Everything is said and nothing unread: nobody waits for its FIN. */
    assert_int_equal(gate.app.connections, 0);
    end(&p);
}

static void test_ends_before_it_begins(void **state)
{
    (void)state;
    struct gate_peer p;
    struct gate_answer a;
    char line[64];
    snprintf(line, sizeof(line), "GET /sse?channel=%s", far);
    request(&p, line, "", "");
    gate_turn(&gate, 0);
    close_all(DISCONNECT_SHUTDOWN);
    gate_read(&p);
    assert_true(gate_next_answer(&p, false, &a));
    assert_int_equal(a.status, 503);
    assert_int_equal(gate_rest(&p).n, 0);
    assert_true(p.eof);
    end(&p);
    /* Or the peer goes meanwhile. */
    request(&p, line, "", "");
    gate_turn(&gate, 0);
    end(&p);
    assert_int_equal(home_channel_count(&gate.loops[1]->shard->home), 0);
}

static const struct {
    const char *line;
    const char *headers;
    int status;
} refused[] = {
    {"GET /sse", "", 400},
    {"GET /sse?", "", 400},
    {"GET /sse?chan=a", "", 400},
    {"GET /sse?channel=", "", 400},
    {"GET /sse?channel", "", 400},
    {"GET /sse?channel=a%20b", "", 400},
    {"GET /sse?channel=a%00b", "", 400},
    {"GET /sse?channel=a%0Ab", "", 400},
    {"GET /sse?channel=a&channel=%zz", "", 400},
    {"GET /sse?channel=a&channel=b&channel=c&channel=d", "", 400},
    {"GET /sse?channel=no:a", "", 404},
    {"GET /sse?channel=shut:a", "", 403},
    {"GET /sse?channel=shut:*", "", 400},
    {"GET /sse?channel=a", "Origin: https://evil.example\r\n", 403},
    {"GET /sse?channel=a", "Origin: null\r\n", 403},
    {"GET /sse?channel=a&rate=x", "", 400},
    {"GET /sse?channel=a&rate=-1", "", 400},
    {"GET /sse?channel=a&rate=", "", 400},
    {"GET /sse?channel=a&mode=newest", "", 400},
    {"POST /sse?channel=a", "", 405},
    {"OPTIONS /sse", "Origin: https://a.test\r\n", 204},
    {"OPTIONS /sse", "Origin: https://evil.example\r\n", 403},
    {"GET /connection/uni_sse?cf_connect=%7B", "", 400},
    {"GET /connection/uni_sse?cf_connect=5", "", 400},
    {"GET /connection/uni_sse?cf_connect=[]", "", 400},
    {"GET /connection/uni_sse?cf_connect=%", "", 400},
    {"GET /connection/uni_sse?cf_connect=%7B%22subs%22:5%7D", "", 400},
    {"PUT /connection/uni_sse", "", 405},
    {"OPTIONS /connection/uni_sse", "", 204},
};

/* Statuses, and the connection stays good for another try. */
static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct gate_peer p;
        struct gate_answer a;
        request(&p, refused[i].line, refused[i].headers, "");
        gate_read(&p);
        assert_true(gate_next_answer(&p, false, &a));
        if (a.status != refused[i].status)
            fail_msg("%s: %d", refused[i].line, a.status);
        assert_true(
            gate_send(&p, STR_LIT("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")));
        gate_read(&p);
        assert_true(gate_next_answer(&p, false, &a));
        assert_int_equal(a.status, 200);
        end(&p);
    }
}

/* --- uni_sse -------------------------------------------------------------- */

static void expect_connect(struct gate_answer *a, const char *member)
{
    static const char first[] = "\r\ndata: {\"connect\":{\"client\":\"";
    assert_true(str_starts(a->body, str_of(first)));
    if (!memmem(a->body.p, a->body.n, member, strlen(member)))
        fail_msg("no %s in %.*s", member, STR_ARG(a->body));
}

static void test_uni(void **state)
{
    (void)state;
    struct gate_peer p;
    struct gate_answer a = open_stream(&p, "GET /connection/uni_sse", "");
    expect_connect(&a, "\"ping\":25");
    end(&p);
    a = open_stream(&p, "GET /connection/uni_sse?cf_connect=null", "");
    expect_connect(&a, "\"session\":\"");
    end(&p);
    a = open_stream(
        &p,
        "GET /connection/uni_sse?cf_connect="
        "%7B%22subs%22:%7B%22a.*%22:%7B%7D,%22shut:x%22:%7B%7D%7D%7D",
        "");
    expect_connect(&a, "\"subs\":{\"a.*\":{}}");
    gate_publish(&gate, 1, "a.b", "1");
    expect(&p, "data: {\"channel\":\"a.*\",\"pub\":{\"data\":1,"
               "\"tags\":{\"channel\":\"a.b\"},\"channel\":\"a.b\"}}\n\n");
    close_all(DISCONNECT_FORCE);
    expect(&p, "data: {\"disconnect\":{\"code\":3503,"
               "\"reason\":\"force disconnect\"}}\n\n");
    assert_true(p.eof);
    end(&p);
}

static void test_uni_post(void **state)
{
    (void)state;
    struct gate_peer p;
    struct gate_answer a;
    request(&p, "POST /connection/uni_sse", "",
            "{\"subs\":{\"a\":{}},\"name\":\"x\"}");
    gate_read(&p);
    assert_true(gate_next_answer(&p, false, &a) && a.status == 200);
    expect_connect(&a, "\"subs\":{\"a\":{}}");
    end(&p);
    request(&p, "POST /connection/uni_sse", "", "{\"token\":\"x\"}");
    gate_read(&p);
    assert_true(gate_next_answer(&p, false, &a) && a.status == 200);
    assert_true(
        str_eq(a.body, STR_LIT("\r\ndata: {\"disconnect\":{\"code\":3500,"
                               "\"reason\":\"invalid token\"}}\n\n")));
    end(&p);
}

/* --- the peer ------------------------------------------------------------- */

/* What it says on the stream is thrown away, up to a bound. */
static void test_talkative_peer(void **state)
{
    (void)state;
    struct gate_peer p;
    struct buf b = BUF_INIT;
    open_stream(&p, "GET /sse?channel=a", "");
    for (unsigned i = 0; i < 4096; i++)
        buf_char(&b, 'x');
    for (unsigned i = 0; i < SSE_INPUT_MAX / 4096; i++) {
        assert_true(gate_send(&p, buf_view(&b)));
        gate_settle(&gate);
    }
    gate_publish(&gate, 0, "a", "1");
    expect(&p, "data: {\"channel\":\"a\",\"data\":1}\n\n");
    assert_true(gate_send(&p, STR_LIT("x")));
    gate_read(&p);
    assert_true(p.eof);
    assert_int_equal(gate.app.connections, 0);
    end(&p);
    buf_free(&b);
}

static void test_slow_peer(void **state)
{
    (void)state;
    struct gate_peer p;
    char data[40000];
    memset(data, '1', sizeof(data) - 1);
    data[sizeof(data) - 1] = '\0';
    open_stream(&p, "GET /sse?channel=a&raw=1", "");
    for (unsigned i = 0; i < 15; i++) {
        gate_publish(&gate, 0, "a", data);
        gate_settle(&gate);
    }
    assert_true(gate.loops[0]->shard->stats.choked > 0);
    gate_read(&p); /* late, but everything */
    assert_int_equal(gate_rest(&p).n, 15 * (6 + sizeof(data) - 1 + 2));
    p.at = p.in.n;
    for (unsigned i = 0; i < 60; i++) {
        gate_publish(&gate, 0, "a", data);
        gate_settle(&gate);
    }
    assert_int_equal(gate.loops[0]->shard->stats.close_slow, 1);
    gate_pass(&gate, 5100);
    assert_int_equal(gate.app.connections, 0);
    end(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_head),
        TEST(test_begins_when_answered),
        TEST(test_each_publication_once),
        TEST(test_heartbeats),
        TEST(test_says_why_it_ends),
        TEST(test_ends_before_it_begins),
        TEST(test_refused),
        TEST(test_uni),
        TEST(test_uni_post),
        TEST(test_talkative_peer),
        TEST(test_slow_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
