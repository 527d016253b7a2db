/* What a POST changes on an open event stream. */
#include "gateway/transport/sse_conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "gateway/tune.h"
#include "hub/backlog.h"
#include "tests/kit/stream.h"

static struct gate gate;
static char far[32]; /* a channel that shard 0 must ask shard 1 for */

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 2, STREAM_CONFIG);
    gate_channel_of(&gate, 1, 0, far);
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

/* --- the session ----------------------------------------------------------- */

static void test_name(void **state)
{
    (void)state;
    struct stream a;
    struct stream b;
    unsigned shard = 9;
    char hex[64];
    char node[64];
    stream_open(&gate, &a, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    stream_open(&gate, &b, 1, "channel=a", "\"a\":" STREAM_PLAIN);
    assert_int_equal(
        sscanf(b.session, "%36[0-9a-f-].%u.%33[0-9a-f]", node, &shard, hex), 3);
    assert_string_equal(node, gate.app.node_id);
    assert_int_equal(shard, 1);
    assert_int_equal(strlen(hex), 32);
    assert_int_equal(strlen(b.session), 36 + 1 + 1 + 1 + 32);
    assert_string_not_equal(a.session + 39, b.session + 39);
    stream_end(&a.peer);
    stream_end(&b.peer);
    stream_post(&a, STREAM_LOOK, 404, STREAM_NOT_FOUND);
}

static void test_first_event(void **state)
{
    (void)state;
    struct stream s;
    struct stream keeper;
    stream_open(&gate, &keeper, 1, "channel=qq:a",
                "\"qq:a\":{\"rate\":20,\"mode\":\"latest\"}");
    stream_publish(&gate, "qq:a", "{\"s\":1}");
    /* In the order of asking; the snapshot follows it. */
    struct gate_peer *p = &s.peer;
    struct gate_answer a;
    stream_request(
        &gate, p, 0,
        "GET /sse?channel=b.*&channel=qq:a&channel=ee:x&rate=7&mode=latest", "",
        "");
    assert_int_equal(stream_take_answer(p, &a), 200);
    static const char want[] =
        "\",\"channels\":{\"b.*\":{\"rate\":5,\"mode\":\"latest\"},"
        "\"qq:a\":{\"rate\":5,\"mode\":\"latest\"},"
        "\"ee:x\":{\"rate\":5,\"mode\":\"latest\"}},\"resume\":[]}\n\n"
        "data: {\"channel\":\"qq:a\",\"data\":{\"s\":1}}\n\n";
    struct str tail = str_skip(a.body, a.body.n - strlen(want));
    if (!str_eq(tail, str_of(want)))
        fail_msg("%.*s", STR_ARG(a.body));
    stream_end(&s.peer);
    stream_end(&keeper.peer);
}

/* --- changes --------------------------------------------------------------- */

static void test_retune(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&gate, &s, 0, "channel=qq:a&channel=ee:x",
                "\"qq:a\":{\"rate\":20,\"mode\":\"latest\"},"
                "\"ee:x\":" STREAM_PLAIN);
    stream_post(&s, "{\"channels\":{\"qq:a\":{\"rate\":7}}}", 200,
                "{\"channels\":{\"qq:a\":{\"rate\":5,\"mode\":\"latest\"},"
                "\"ee:x\":" STREAM_PLAIN "}}");
    stream_publish(&gate, "qq:a", "{\"s\":1}");
    stream_expect(&s, "data: {\"channel\":\"qq:a\",\"data\":{\"s\":1}}\n\n");
    stream_publish(&gate, "qq:a", "{\"s\":1,\"n\":2}");
    stream_publish(&gate, "qq:a", "{\"s\":1,\"n\":3}");
    stream_expect(&s, "");
    gate_pass(&gate, 210);
    stream_expect(
        &s, "data: {\"channel\":\"qq:a\",\"data\":{\"s\":1,\"n\":3}}\n\n");
    /* What is not asked for is the namespace's, but latest stays. */
    stream_post(
        &s, "{\"channels\":{\"ee:x\":{\"mode\":\"latest\",\"rate\":0.5}}}", 200,
        "{\"channels\":{\"qq:a\":{\"rate\":5,\"mode\":\"latest\"},"
        "\"ee:x\":{\"rate\":0.5,\"mode\":\"latest\"}}}");
    stream_post(&s, "{\"channels\":{\"ee:x\":{},\"qq:a\":{\"rate\":null}}}",
                200,
                "{\"channels\":{\"qq:a\":{\"rate\":20,\"mode\":\"latest\"},"
                "\"ee:x\":{\"rate\":30,\"mode\":\"latest\"}}}");
    assert_int_equal(gate.loops[0]->shard->stats.rate_granted, 4);
    stream_end(&s.peer);
}

static void test_add(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    stream_publish(&gate, "qq:n", "{\"s\":1}");
    stream_publish(&gate, "qq:n", "{\"s\":2}");
    stream_post(&s, "{\"channels\":{\"qq:n\":{\"rate\":2}}}", 200,
                "{\"channels\":{\"a\":" STREAM_PLAIN ","
                "\"qq:n\":{\"rate\":2,\"mode\":\"latest\"}}}");
    stream_expect(&s, "data: {\"channel\":\"qq:n\",\"data\":{\"s\":1}}\n\n"
                      "data: {\"channel\":\"qq:n\",\"data\":{\"s\":2}}\n\n");
    stream_publish(&gate, "qq:n", "{\"s\":3}");
    stream_publish(&gate, "a", "4");
    stream_expect(&s, "data: {\"channel\":\"qq:n\",\"data\":{\"s\":3}}\n\n"
                      "data: {\"channel\":\"a\",\"data\":4}\n\n");
    stream_end(&s.peer);
}

/* A pattern has no snapshot, which is said once. */
static void test_no_snapshot(void **state)
{
    (void)state;
    struct stream s;
    stream_open(
        &gate, &s, 0, "channel=qq:*",
        "\"qq:*\":{\"rate\":20,\"mode\":\"latest\",\"snapshot\":false}");
    stream_post(
        &s, "{\"channels\":{\"qq:b.*\":{}}}", 200,
        "{\"channels\":{\"qq:*\":{\"rate\":20,\"mode\":\"latest\"},"
        "\"qq:b.*\":{\"rate\":20,\"mode\":\"latest\",\"snapshot\":false}}}");
    stream_post(&s, "{\"channels\":{\"qq:b.*\":{\"rate\":1}}}", 200,
                "{\"channels\":{\"qq:*\":{\"rate\":20,\"mode\":\"latest\"},"
                "\"qq:b.*\":{\"rate\":1,\"mode\":\"latest\"}}}");
    stream_end(&s.peer);
}

/* A publication comes once, whichever came first: channel or pattern. */
static void test_once(void **state)
{
    (void)state;
    static const char *const orders[][2] = {
        {"channel=b.c", "{\"channels\":{\"b.*\":{}}}"},
        {"channel=b.*", "{\"channels\":{\"b.c\":{}}}"},
        {"channel=b.%3E", "{\"channels\":{\"b.*\":{},\"b.c\":{}}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        struct stream s;
        struct gate_answer a;
        char line[64];
        snprintf(line, sizeof(line), "GET /sse?%s&raw=1", orders[i][0]);
        stream_request(&gate, &s.peer, 0, line, "", "");
        assert_int_equal(stream_take_answer(&s.peer, &a), 200);
        const char *at = memmem(a.body.p, a.body.n, "session\":\"", 10);
        assert_non_null(at);
        snprintf(s.session, sizeof(s.session), "%.71s", at + 10);
        stream_post(&s, orders[i][1], 200, NULL);
        stream_publish(&gate, "b.c", "1");
        stream_publish(&gate, "b.c", "2");
        stream_expect(&s, "data: 1\n\ndata: 2\n\n");
        stream_end(&s.peer);
    }
}

static void test_remove(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&gate, &s, 0, "channel=a&channel=b",
                "\"a\":" STREAM_PLAIN ","
                "\"b\":" STREAM_PLAIN);
    stream_post(&s,
                "{\"channels\":{\"a\":null,\"never\":null,\"shut:x\":null}}",
                200, "{\"channels\":{\"b\":" STREAM_PLAIN "}}");
    stream_publish(&gate, "a", "1");
    stream_publish(&gate, "b", "2");
    stream_expect(&s, "data: {\"channel\":\"b\",\"data\":2}\n\n");
    stream_post(&s, "{\"channels\":{\"b\":null}}", 200, "{\"channels\":{}}");
    stream_publish(&gate, "b", "3");
    stream_expect(&s, "");
    stream_post(&s, "{\"channels\":{\"b\":{}}}", 200,
                "{\"channels\":{\"b\":" STREAM_PLAIN "}}");
    stream_publish(&gate, "b", "4");
    stream_expect(&s, "data: {\"channel\":\"b\",\"data\":4}\n\n");
    stream_end(&s.peer);
}

/* A full stream may have others instead, in one request. */
static void test_limit(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&gate, &s, 0,
                "channel=a&channel=b&channel=c&channel=d&raw=1&rate=1",
                "\"a\":" STREAM_PLAIN ","
                "\"b\":" STREAM_PLAIN ","
                "\"c\":" STREAM_PLAIN ","
                "\"d\":" STREAM_PLAIN);
    stream_post(
        &s, "{\"channels\":{\"e\":{},\"a\":{}}}", 200,
        "{\"channels\":{\"a\":" STREAM_PLAIN ","
        "\"b\":" STREAM_PLAIN ","
        "\"c\":" STREAM_PLAIN ","
        "\"d\":" STREAM_PLAIN "},"
        "\"errors\":{\"e\":{\"code\":106,\"message\":\"limit exceeded\"}}}");
    stream_post(&s,
                "{\"channels\":{\"1\":{},\"2\":{},\"3\":{},\"4\":{},"
                "\"a\":null,\"b\":null,\"c\":null,\"d\":null}}",
                200,
                "{\"channels\":{\"1\":" STREAM_PLAIN ","
                "\"2\":" STREAM_PLAIN ","
                "\"3\":" STREAM_PLAIN ","
                "\"4\":" STREAM_PLAIN "}}");
    stream_post(&s,
                "{\"channels\":{\"1\":{},\"2\":{},\"3\":{},\"4\":{},"
                "\"5\":{},\"6\":{},\"7\":{},\"8\":{},\"9\":{}}}",
                400, NULL);
    stream_end(&s.peer);
}

static void test_channel_errors(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    stream_post(
        &s,
        "{\"channels\":{\"shut:x\":{},\"nono:x\":{},\"a b\":{\"rate\":1},"
        "\"ee:*\":{},\"qq:\\u0061\":{}}}",
        200,
        "{\"channels\":{\"a\":" STREAM_PLAIN ","
        "\"qq:a\":{\"rate\":20,\"mode\":\"latest\"}},"
        "\"errors\":{"
        "\"shut:x\":{\"code\":103,\"message\":\"permission denied\"},"
        "\"nono:x\":{\"code\":102,\"message\":\"unknown channel\"},"
        "\"a b\":{\"code\":107,\"message\":\"bad request\"},"
        "\"ee:*\":{\"code\":107,\"message\":\"bad request\"}}}");
    stream_end(&s.peer);
}

/* The same name twice in one object: it leaves first, and the last counts. */
static void test_repeated_names(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&gate, &s, 0, "channel=qq:a&rate=1",
                "\"qq:a\":{\"rate\":1,\"mode\":\"latest\"}");
    stream_post(
        &s,
        "{\"channels\":{\"qq:a\":{\"rate\":2},\"qq:a\":null,"
        "\"qq:b\":{\"rate\":3},\"qq:b\":{\"rate\":5},\"qq:a\":{\"rate\":10}}}",
        200,
        "{\"channels\":{\"qq:a\":{\"rate\":10,\"mode\":\"latest\"},"
        "\"qq:b\":{\"rate\":5,\"mode\":\"latest\"}}}");
    stream_publish(&gate, "qq:a", "{}");
    stream_expect(&s, "data: {\"channel\":\"qq:a\",\"data\":{}}\n\n");
    stream_end(&s.peer);
}

/* --- while subscriptions are asked for ------------------------------------- */

/* A POST that adds `far`, which waits for shard 1. */
static void begin_far(const struct stream *s, struct gate_peer *p)
{
    char body[64];
    snprintf(body, sizeof(body), "{\"channels\":{\"%s\":{}}}", far);
    stream_begin_post(&gate, p, 0, s->session, body);
    for (unsigned i = 0; i < 5; i++)
        gate_turn(&gate, 0);
    assert_int_equal(recv(p->fd, body, 1, MSG_DONTWAIT), -1);
}

static void test_one_at_a_time(void **state)
{
    (void)state;
    struct stream s;
    struct gate_peer p;
    struct gate_peer second;
    struct gate_answer a;
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    begin_far(&s, &p);
    stream_begin_post(&gate, &second, 0, s.session, STREAM_LOOK);
    for (unsigned i = 0; i < 5; i++)
        gate_turn(&gate, 0);
    assert_int_equal(stream_take_answer(&p, &a), 200);
    char want[256];
    snprintf(want, sizeof(want),
             "{\"channels\":{\"a\":" STREAM_PLAIN ","
             "\"%s\":" STREAM_PLAIN "}}",
             far);
    assert_true(str_eq(a.body, str_of(want)));
    assert_int_equal(stream_take_answer(&second, &a), 429);
    stream_end(&second);
    stream_end(&p);
    stream_post(&s, STREAM_LOOK, 200, want);
    stream_end(&s.peer);
}

static void test_stream_goes_meanwhile(void **state)
{
    (void)state;
    struct stream s;
    struct gate_peer p;
    struct gate_answer a;
    /* The page goes, */
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    begin_far(&s, &p);
    gate_close(&s.peer);
    gate_turn(&gate, 0);
    assert_int_equal(stream_take_answer(&p, &a), 404);
    stream_end(&p);
    /* or the server ends it: at once, not when the page has taken note. */
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    begin_far(&s, &p);
    session_close(stream_session(&gate, 0), DISCONNECT_SHUTDOWN);
    assert_int_equal(stream_take_answer(&p, &a), 404);
    assert_true(str_eq(a.body, STR_LIT(STREAM_NOT_FOUND)));
    stream_post(&s, STREAM_LOOK, 404, STREAM_NOT_FOUND);
    stream_end(&p);
    stream_end(&s.peer);
}

static void test_poster_goes_meanwhile(void **state)
{
    (void)state;
    struct stream s;
    struct gate_peer p;
    char want[128];
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    begin_far(&s, &p);
    gate_close(&p);
    gate_settle(&gate);
    stream_publish(&gate, far, "1");
    snprintf(want, sizeof(want), "data: {\"channel\":\"%s\",\"data\":1}\n\n",
             far);
    stream_expect(&s, want);
    stream_end(&s.peer);
}

/* By the API; what is left of the change is answered. */
static void test_unsubscribed_meanwhile(void **state)
{
    (void)state;
    struct stream s;
    struct gate_peer p;
    struct gate_answer a;
    char want[160];
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    begin_far(&s, &p);
    struct session *session = stream_session(&gate, 0);
    session_server_unsubscribe(session,
                               client_find_sub(&session->client, str_of(far)));
    assert_int_equal(session->asking, 0);
    assert_int_equal(stream_take_answer(&p, &a), 200);
    assert_true(str_eq(a.body, STR_LIT("{\"channels\":{\"a\":{\"rate\":0,"
                                       "\"mode\":\"all\"}}}")));
    snprintf(want, sizeof(want),
             "event: unsubscribe\ndata: {\"channel\":\"%s\",\"unsubscribe\":"
             "{\"code\":2000,\"reason\":\"server unsubscribe\"}}\n\n",
             far);
    stream_expect(&s, want);
    stream_end(&p);
    /* One that the API asks for may be left before it is there. */
    assert_int_equal(session_server_subscribe(session, str_of(far), NULL), 0);
    stream_begin_post(&gate, &p, 0, s.session, STREAM_LOOK);
    for (unsigned i = 0; i < 5; i++)
        gate_turn(&gate, 0);
    snprintf(want, sizeof(want), "{\"channels\":{\"%s\":null}}", far);
    struct gate_peer second;
    stream_begin_post(&gate, &second, 0, s.session, want);
    for (unsigned i = 0; i < 5; i++)
        gate_turn(&gate, 0);
    assert_int_equal(session->asking, 0);
    assert_int_equal(stream_take_answer(&p, &a), 200);
    assert_int_equal(stream_take_answer(&second, &a), 200);
    stream_expect(&s, "");
    stream_end(&second);
    stream_end(&p);
    stream_end(&s.peer);
}

/* One that says goodbye to a full socket is no stream any more. */
static void test_closing_stream(void **state)
{
    (void)state;
    struct stream s;
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    struct session *session = stream_session(&gate, 0);
    session->client.choked = true;
    session_close(session, DISCONNECT_SHUTDOWN);
    stream_post(&s, STREAM_LOOK, 404, STREAM_NOT_FOUND);
    stream_post(&s, "no body", 404, STREAM_NOT_FOUND);
    stream_end(&s.peer);
}

/* What the API asks for at the same time is not waited for. */
static void test_api_meanwhile(void **state)
{
    (void)state;
    struct stream s;
    struct gate_peer p;
    struct gate_answer a;
    char other[32];
    char want[160];
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    begin_far(&s, &p);
    gate_channel_of(&gate, 1, 1, other);
    assert_int_equal(
        session_server_subscribe(stream_session(&gate, 0), str_of(other), NULL),
        0);
    assert_int_equal(stream_take_answer(&p, &a), 200);
    snprintf(want, sizeof(want),
             "{\"channels\":{\"a\":" STREAM_PLAIN ","
             "\"%s\":" STREAM_PLAIN "}}",
             far);
    if (!str_eq(a.body, str_of(want)))
        fail_msg("%.*s, not %s", STR_ARG(a.body), want);
    stream_end(&p);
    stream_end(&s.peer);
}

/* A snapshot does not end a stream that is full: it waits. */
static void test_snapshot_of_a_full_stream(void **state)
{
    (void)state;
    struct stream s;
    struct gate_peer p;
    struct gate_answer a;
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    stream_publish(&gate, "qq:big", "{\"s\":1}");
    struct client *c = &stream_session(&gate, 0)->client;
    /* As if its socket were full, and its queue. */
    char queued[1000];
    memset(queued, ':', sizeof(queued));
    gate.app.hub.options.queue_max_bytes = sizeof(queued);
    c->choked = true;
    client_push_bytes(c, str_n(queued, sizeof(queued)));
    stream_begin_post(&gate, &p, 0, s.session,
                      "{\"channels\":{\"qq:big\":{},\"b\":{}}}");
    assert_int_equal(stream_take_answer(&p, &a), 200);
    assert_int_equal(gate.loops[0]->shard->stats.close_slow, 0);
    assert_int_equal(backlog_count(c), 1);
    stream_end(&p);
    stream_end(&s.peer);
}

/* --- against a model ------------------------------------------------------- */

static const char *const names[] = {"a", "b", "c.d", "c.*", "qq:x", "shut:y"};

/* Random changes; the answer and what is brought are as the naive set says. */
static void test_random(void **state)
{
    (void)state;
    struct rand rand;
    struct stream s;
    bool has[ARRAY_LEN(names)] = {true};
    rand_init(&rand, 12345);
    stream_open(&gate, &s, 0, "channel=a", "\"a\":" STREAM_PLAIN);
    for (unsigned step = 0; step < 300; step++) {
        struct buf body = BUF_INIT;
        size_t i = rand_below(&rand, ARRAY_LEN(names));
        size_t j = (i + 1 + rand_below(&rand, 4)) % ARRAY_LEN(names);
        bool leave_i = rand_below(&rand, 2);
        unsigned count = 0;
        buf_printf(&body, "{\"channels\":{\"%s\":%s,\"%s\":null}}", names[i],
                   leave_i ? "null" : "{}", names[j]);
        buf_char(&body, '\0');
        gate_pass(&gate, 1000 / TUNE_RATE + 1);
        struct gate_peer p;
        struct gate_answer a;
        stream_begin_post(&gate, &p, step % 2, s.session, body.p);
        assert_int_equal(stream_take_answer(&p, &a), 200);
        has[j] = false;
        for (size_t k = 0; k < ARRAY_LEN(names); k++)
            count += has[k];
        has[i] = !leave_i && i != 5 && (has[i] || count < 4);
        for (size_t k = 0; k < ARRAY_LEN(names); k++) {
            char want[32];
            int n = snprintf(want, sizeof(want), "\"%s\":{\"rate\"", names[k]);
            if (!memmem(a.body.p, a.body.n, want, (size_t)n) == has[k])
                fail_msg("step %u: %s in %.*s", step, names[k],
                         STR_ARG(a.body));
        }
        stream_end(&p);
        buf_free(&body);
        gate_publish(&gate, step % 2, "c.d", "1");
        stream_expect(&s, has[2] || has[3]
                              ? "data: {\"channel\":\"c.d\",\"data\":1}\n\n"
                              : "");
    }
    stream_end(&s.peer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_name),
        TEST(test_first_event),
        TEST(test_retune),
        TEST(test_add),
        TEST(test_no_snapshot),
        TEST(test_once),
        TEST(test_remove),
        TEST(test_limit),
        TEST(test_channel_errors),
        TEST(test_repeated_names),
        TEST(test_one_at_a_time),
        TEST(test_stream_goes_meanwhile),
        TEST(test_poster_goes_meanwhile),
        TEST(test_unsubscribed_meanwhile),
        TEST(test_closing_stream),
        TEST(test_api_meanwhile),
        TEST(test_snapshot_of_a_full_stream),
        TEST(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
