/* What a connected client asks for, gateway/commands.c: subscriptions, also
 * those of the server, publications, streams, pings. The transport is a
 * buffer and the clock stands still. */
#include "gateway/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/protocol/json.h"
#include "tests/kit/talk.h"

static struct gate gate;

/* --- around each test ----------------------------------------------------- */

static const char config[] =
    "{\"client\":{\"insecure\":true,\"ping_interval\":\"25s\",\"pong_timeout\":\"8s\","
    "\"stale_close_delay\":\"10s\",\"channel_limit\":8},"
    "\"channel\":{\"without_namespace\":{\"allow_patterns\":true},"
    "\"namespaces\":[{\"name\":\"rr\",\"throttle\":{\"mode\":\"all\","
    "\"on_full\":\"drop_oldest\"}}]}}";

static char near[32]; /* a channel whose home is shard 0, the clients' */
static char far[32];  /* one that must be asked for on shard 1 */
static char far2[32];

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 2, config);
    gate_channel_of(&gate, 0, 0, near);
    gate_channel_of(&gate, 1, 1, far);
    gate_channel_of(&gate, 1, 2, far2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gate_fini(&gate);
    return 0;
}

static struct talk *open_one(void)
{
    return talk_open(gate.loops[0]);
}

/* Shard 0 works alone: whatever is asked of shard 1 stays asked. */
static void turn_alone(void)
{
    for (unsigned i = 0; i < 5; i++)
        gate_turn(&gate, 0);
}

static struct sub *find_sub(struct talk *t, const char *channel)
{
    return client_find_sub(&t->session.client, str_of(channel));
}

static void assert_member(struct json_value o, const char *name,
                          const char *raw)
{
    struct json_value v;
    if (!raw) {
        assert_false(json_member(o, str_of(name), &v));
        return;
    }
    if (!json_member(o, str_of(name), &v))
        fail_msg("no %s", name);
    if (!str_eq(v.raw, str_of(raw)))
        fail_msg("%s is %.*s", name, STR_ARG(v.raw));
}

/* --- subscriptions -------------------------------------------------------- */

static void test_reply_precedes_publications(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    gate_publish(&gate, 1, far, "\"before the question came\"");
    talk_say(t,
             talk_text("{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}", far));
    turn_alone();
    gate_turn(&gate, 1); /* the question, and the answer */
    gate_publish(&gate, 1, far, "\"after\"");
    gate_publish(&gate, 0, far, "\"from here\"");
    talk_expect(
        t,
        talk_text(
            "{\"id\":2,\"subscribe\":{}}\n"
            "{\"push\":{\"channel\":\"%s\",\"pub\":{\"data\":\"after\"}}}\n"
            "{\"push\":{\"channel\":\"%s\",\"pub\":{\"data\":\"from here\"}}}\n",
            far, far));
    talk_end(t);
}

static void test_unsubscribe_while_asking(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(t,
             talk_text("{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}", far));
    talk_say(t,
             talk_text("{\"unsubscribe\":{\"channel\":\"%s\"},\"id\":3}", far));
    talk_say(t,
             talk_text("{\"subscribe\":{\"channel\":\"%s\"},\"id\":4}", far));
    turn_alone();
    assert_true(t->paused);
    talk_expect(t,
                "{\"id\":2,\"subscribe\":{}}\n{\"id\":3,\"unsubscribe\":{}}\n"
                "{\"id\":4,\"subscribe\":{}}\n");
    assert_int_equal(t->session.client.sub_count, 1);
    gate_publish(&gate, 0, far, "1");
    talk_expect(
        t, talk_text("{\"push\":{\"channel\":\"%s\",\"pub\":{\"data\":1}}}\n",
                     far));
    talk_end(t);
}

/* The answer that its command still gets is one too many for a slow client. */
static void test_unsubscribed_and_closed(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct client *c = &t->session.client;
    struct buf fill = BUF_INIT;
    talk_connect(t);
    t->next_write = WRITE_CHOKED;
    client_push_bytes(c, STR_LIT("choke"));
    turn_alone();
    talk_say(t,
             talk_text("{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}", far));
    turn_alone();
    size_t n = gate.app.hub.options.queue_max_bytes - c->queued_bytes - 8;
    memset(buf_reserve(&fill, n), ' ', n);
    fill.n = n;
    client_push_bytes(c, buf_view(&fill));
    buf_free(&fill);
    session_server_unsubscribe(&t->session, find_sub(t, far));
    assert_int_equal(c->close_code, 3008);
    t->next_write = WRITE_DONE;
    talk_end(t);
}

static void test_rapid_pairs(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct buf all = BUF_INIT;
    struct buf want = BUF_INIT;
    talk_connect(t);
    for (unsigned i = 0; i < 10; i++) {
        buf_printf(&all, "{\"subscribe\":{\"channel\":\"%s\"},\"id\":%u}\n",
                   far, 2 * i + 2);
        buf_printf(&all, "{\"unsubscribe\":{\"channel\":\"%s\"},\"id\":%u}\n",
                   far, 2 * i + 3);
        buf_printf(&want, "{\"id\":%u,\"subscribe\":{}}\n", 2 * i + 2);
        buf_printf(&want, "{\"id\":%u,\"unsubscribe\":{}}\n", 2 * i + 3);
    }
    buf_char(&all, '\0');
    buf_char(&want, '\0');
    talk_say(t, all.p);
    talk_expect(t, want.p);
    assert_int_equal(t->session.client.sub_count, 0);
    buf_free(&all);
    buf_free(&want);
    talk_end(t);
}

static void test_unsubscribe_unknown(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(t, "{\"unsubscribe\":{\"channel\":\"never.seen\"},\"id\":2}");
    talk_expect(t, "{\"id\":2,\"unsubscribe\":{}}\n");
    talk_end(t);
}

static void expect_subscribe_error(struct talk *t, const char *channel,
                                   const char *error)
{
    char want[128];
    talk_say(
        t, talk_text("{\"subscribe\":{\"channel\":\"%s\"},\"id\":9}", channel));
    snprintf(want, sizeof(want), "{\"id\":9,\"error\":{%s}}\n", error);
    talk_expect(t, want);
    assert_int_equal(t->closes, 0);
}

static void test_subscribe_errors(void **state)
{
    (void)state;
    struct talk *t = open_one();
    char longest[400];
    memset(longest, 'x', sizeof(longest));
    longest[256] = '\0';
    talk_connect(t);
    expect_subscribe_error(t, "nowhere:a",
                           "\"code\":102,\"message\":\"unknown channel\"");
    expect_subscribe_error(t, "a b",
                           "\"code\":107,\"message\":\"bad request\"");
    expect_subscribe_error(t, "a\\nb",
                           "\"code\":107,\"message\":\"bad request\"");
    expect_subscribe_error(t, "a\\u0000b",
                           "\"code\":107,\"message\":\"bad request\"");
    expect_subscribe_error(t, "a..b",
                           "\"code\":107,\"message\":\"bad request\"");
    expect_subscribe_error(t, ">.b",
                           "\"code\":107,\"message\":\"bad request\"");
    expect_subscribe_error(t, "caf\xC3\xA9",
                           "\"code\":107,\"message\":\"bad request\"");
    expect_subscribe_error(t, longest,
                           "\"code\":107,\"message\":\"bad request\"");
    /* Twice: whether the first was answered already or is still asked. */
    talk_say(t, talk_text("{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}\n"
                          "{\"subscribe\":{\"channel\":\"%s\"},\"id\":3}",
                          far, far));
    talk_expect(
        t,
        "{\"id\":3,\"error\":{\"code\":105,\"message\":\"already subscribed\"}}\n"
        "{\"id\":2,\"subscribe\":{}}\n");
    expect_subscribe_error(t, far,
                           "\"code\":105,\"message\":\"already subscribed\"");
    for (unsigned i = 1; i < 8; i++) {
        talk_say(t, talk_text("{\"subscribe\":{\"channel\":\"n%u\"},\"id\":%u}",
                              i, i));
        talk_expect(t, talk_text("{\"id\":%u,\"subscribe\":{}}\n", i));
    }
    expect_subscribe_error(t, "n8",
                           "\"code\":106,\"message\":\"limit exceeded\"");
    /* With a token, although no key could verify it. */
    talk_say(t,
             "{\"unsubscribe\":{\"channel\":\"n1\"},\"id\":5}\n"
             "{\"subscribe\":{\"channel\":\"n1\",\"token\":\"t\"},\"id\":6}");
    talk_expect(
        t,
        "{\"id\":5,\"unsubscribe\":{}}\n"
        "{\"id\":6,\"error\":{\"code\":103,\"message\":\"permission denied\"}}\n");
    assert_int_equal(t->closes, 0);
    talk_end(t);
}

static void test_pattern_pushes(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(t, "{\"subscribe\":{\"channel\":\"k.*\"},\"id\":2}");
    talk_expect(t, "{\"id\":2,\"subscribe\":{}}\n");
    gate_publish(&gate, 1, "k.a", "{}");
    talk_expect(t, "{\"push\":{\"channel\":\"k.*\",\"pub\":{\"data\":{},"
                   "\"tags\":{\"channel\":\"k.a\"},\"channel\":\"k.a\"}}}\n");
    talk_end(t);
}

/* --- subscriptions of the server ------------------------------------------ */

static void test_server_subscribe(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    assert_int_equal(session_server_subscribe(&t->session, str_of(far), NULL),
                     0);
    assert_int_equal(session_server_subscribe(&t->session, str_of(far), NULL),
                     0);
    turn_alone();
    talk_say(t, "{\"rpc\":{},\"id\":2}");
    talk_expect(
        t,
        talk_text(
            "{\"push\":{\"channel\":\"%s\",\"subscribe\":{}}}\n"
            "{\"id\":2,\"error\":{\"code\":108,\"message\":\"not available\"}}\n",
            far));
    assert_int_equal(t->session.asking, 0);
    gate_publish(&gate, 0, far, "1");
    session_server_unsubscribe(&t->session, find_sub(t, far));
    gate_publish(&gate, 0, far, "2");
    gate_settle(&gate);
    /* The publication was on its way to shard 1 when the order came. */
    talk_expect(
        t, talk_text(
               "{\"push\":{\"channel\":\"%s\",\"unsubscribe\":{\"code\":2000,"
               "\"reason\":\"server unsubscribe\"}}}\n",
               far));
    assert_int_equal(
        session_server_subscribe(&t->session, STR_LIT("no:such"), NULL),
        ERROR_UNKNOWN_CHANNEL);
    assert_int_equal(
        session_server_subscribe(&t->session, STR_LIT("a b"), NULL),
        ERROR_BAD_REQUEST);
    talk_expect(t, "");
    talk_end(t);
}

static void test_server_unsubscribe_while_asking(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    /* The client's own question gets its answer, then the push. */
    talk_say(
        t,
        talk_text(
            "{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}\n{\"rpc\":{},\"id\":3}",
            far));
    session_server_unsubscribe(&t->session, find_sub(t, far));
    assert_int_equal(t->session.asking, 0);
    talk_expect(
        t,
        talk_text(
            "{\"id\":2,\"subscribe\":{}}\n"
            "{\"push\":{\"channel\":\"%s\",\"unsubscribe\":{\"code\":2000,"
            "\"reason\":\"server unsubscribe\"}}}\n"
            "{\"id\":3,\"error\":{\"code\":108,\"message\":\"not available\"}}\n",
            far));
    assert_false(t->paused);
    /* The server's own one was never announced. */
    assert_int_equal(session_server_subscribe(&t->session, str_of(far), NULL),
                     0);
    session_server_unsubscribe(&t->session, find_sub(t, far));
    talk_expect(t, "");
    assert_int_equal(t->session.asking, 0);
    assert_int_equal(t->session.client.sub_count, 0);
    talk_end(t);
}

static void test_server_verbs_while_connecting(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    talk_say(
        t, talk_text("{\"connect\":{\"subs\":{\"%s\":{},\"%s\":{}}},\"id\":1}",
                     far, far2));
    assert_int_equal(t->session.state, SESSION_CONNECTING);
    assert_int_equal(t->session.asking, 2);
    session_server_unsubscribe(&t->session, find_sub(t, far));
    assert_int_equal(session_server_subscribe(&t->session, str_of(near), NULL),
                     0);
    turn_alone();
    talk_say(t, "{\"rpc\":{},\"id\":2}");
    assert_int_equal(t->session.state, SESSION_CONNECTING);
    assert_true(talk_next(t, &line));
    struct json_value v;
    struct json_value result;
    assert_int_equal(json_parse(line, &v), 0);
    assert_true(json_member(v, STR_LIT("connect"), &result));
    assert_member(result, "subs",
                  talk_text("{\"%s\":{},\"%s\":{}}", near, far2));
    talk_expect(
        t,
        "{\"id\":2,\"error\":{\"code\":108,\"message\":\"not available\"}}\n");
    assert_int_equal(t->session.client.sub_count, 2);
    talk_end(t);
    /* The only one is taken away: connect is answered without it. */
    t = open_one();
    talk_say(t,
             talk_text("{\"connect\":{\"subs\":{\"%s\":{}}},\"id\":1}", far));
    session_server_unsubscribe(&t->session, find_sub(t, far));
    assert_int_equal(t->session.state, SESSION_CONNECTED);
    assert_true(talk_next(t, &line));
    assert_null(memmem(line.p, line.n, "subs", 4));
    talk_expect(t, "");
    talk_end(t);
}

static void test_subs_at_connect(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    struct json_value v;
    struct json_value result;
    /* Not a channel: ignored. Escaped and unescaped keys are one channel. */
    talk_say(
        t,
        talk_text(
            "{\"connect\":{\"subs\":{\"a b\":{},\"%s\":{},\"\\u0063%s\":{},\"k.*\":{}}},"
            "\"id\":1}",
            near, near + 1));
    assert_true(talk_next(t, &line));
    assert_int_equal(json_parse(line, &v), 0);
    assert_true(json_member(v, STR_LIT("connect"), &result));
    assert_member(result, "subs", talk_text("{\"%s\":{},\"k.*\":{}}", near));
    gate_publish(&gate, 0, near, "1");
    talk_expect(
        t, talk_text("{\"push\":{\"channel\":\"%s\",\"pub\":{\"data\":1}}}\n",
                     near));
    talk_end(t);
    t = open_one();
    talk_say(t, "{\"connect\":{\"subs\":{\"nowhere:a\":{}}},\"id\":1}");
    talk_expect(t, "");
    talk_expect_close(t, 3501, "bad request");
    talk_end(t);
    t = open_one();
    talk_say(
        t,
        "{\"connect\":{\"subs\":{\"n1\":{},\"n2\":{},\"n3\":{},\"n4\":{},\"n5\":{},"
        "\"n6\":{},\"n7\":{},\"n8\":{},\"n9\":{}}},\"id\":1}");
    talk_expect(t, "");
    talk_expect_close(t, 3505, "channel limit");
    assert_int_equal(t->session.client.sub_count, 0);
    talk_end(t);
}

/* --- publish -------------------------------------------------------------- */

static void test_publish(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(t, "{\"publish\":{\"channel\":\"k.*\",\"data\":1},\"id\":2}\n"
                "{\"publish\":{\"channel\":\"xx:y\",\"data\":1},\"id\":3}\n"
                "{\"publish\":{\"channel\":\"k\"},\"id\":4}\n"
                "{\"publish\":{\"channel\":\"k\",\"data\":null},\"id\":5}\n"
                "{\"publish\":{\"channel\":\"k\",\"data\":1},\"id\":6}");
    talk_expect(
        t,
        "{\"id\":2,\"error\":{\"code\":107,\"message\":\"bad request\"}}\n"
        "{\"id\":3,\"error\":{\"code\":102,\"message\":\"unknown channel\"}}\n"
        "{\"id\":4,\"error\":{\"code\":107,\"message\":\"bad request\"}}\n"
        "{\"id\":5,\"publish\":{}}\n{\"id\":6,\"publish\":{}}\n");
    assert_int_equal(t->frames, 2); /* connect's, and one for all of these */
    talk_end(t);
}

static void test_not_available(void **state)
{
    (void)state;
    static const char *const kinds[] = {"presence", "presence_stats",
                                        "history",  "rpc",
                                        "refresh",  "sub_refresh"};
    struct talk *t = open_one();
    talk_connect(t);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        talk_say(t, talk_text("{\"%s\":{\"channel\":\"a\"},\"id\":%zu}",
                              kinds[i], i + 2));
        talk_expect(
            t,
            talk_text(
                "{\"id\":%zu,\"error\":{\"code\":108,\"message\":\"not available\"}}\n",
                i + 2));
    }
    talk_say(t, "{\"send\":{\"data\":1}}");
    talk_expect(t, "");
    talk_expect_close(t, 3508, "not available");
    talk_end(t);
}

/* The mode changes from `all` to `latest` and not back, also when that is
 * asked for by name. */
static void test_latest_stays(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        const char *granted;
    } wishes[] = {
        {"\"mode\":\"all\"", "\"rate\":0,\"mode\":\"all\""},
        {"\"mode\":\"latest\",\"rate\":2", "\"rate\":2,\"mode\":\"latest\""},
        {"\"mode\":\"all\",\"rate\":1", "\"rate\":1,\"mode\":\"latest\""},
        {"\"mode\":\"all\"", "\"rate\":0,\"mode\":\"latest\""},
        {"\"rate\":5", "\"rate\":5,\"mode\":\"latest\""},
    };
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(t, "{\"subscribe\":{\"channel\":\"rr:a\"},\"id\":2}");
    talk_expect(t, "{\"id\":2,\"subscribe\":{\"data\":{\"rate\":0,"
                   "\"mode\":\"all\"}}}\n");
    for (unsigned i = 0; i < ARRAY_LEN(wishes); i++) {
        talk_say(t, talk_text("{\"rpc\":{\"method\":\"weir.throttle\","
                              "\"data\":{\"channel\":\"rr:a\",%s}},"
                              "\"id\":%u}",
                              wishes[i].data, i + 3));
        talk_expect(t, talk_text("{\"id\":%u,\"rpc\":{\"data\":{%s}}}\n", i + 3,
                                 wishes[i].granted));
    }
    talk_end(t);
}

/* --- time ----------------------------------------------------------------- */

static void test_stale(void **state)
{
    (void)state;
    struct talk *t = open_one();
    gate_pass(&gate, 9900);
    assert_int_equal(t->closes, 0);
    gate_pass(&gate, 200);
    talk_expect_close(t, 3502, "stale");
    /* The peer has five seconds to answer the close. */
    gate_pass(&gate, 4900);
    assert_int_equal(t->kills, 0);
    gate_pass(&gate, 200);
    assert_int_equal(t->kills, 1);
    talk_end(t);
}

/* How long until its next ping, by steps of a wheel's tick. */
static uint64_t wait_for_ping(struct talk *t, uint64_t most_ms)
{
    struct str line;
    for (uint64_t ms = 20; ms <= most_ms + 20; ms += 20) {
        gate_pass(&gate, 20);
        if (!talk_next(t, &line))
            continue;
        assert_true(str_eq(line, STR_LIT("{}")));
        return ms;
    }
    fail_msg("no ping in %u ms", (unsigned)most_ms);
    return 0;
}

static void test_pings(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    uint64_t first = wait_for_ping(t, 25000);
    assert_in_range(first, 12500, 25020);
    for (unsigned i = 0; i < 3; i++) {
        talk_say(t, "{}");
        assert_in_range(wait_for_ping(t, 25000), 24980, 25020);
    }
    /* Other traffic is no pong; an id does not make one either. */
    gate_pass(&gate, 4000);
    talk_say(t, "{\"rpc\":{},\"id\":2}");
    gate_pass(&gate, 3900);
    assert_int_equal(t->closes, 0);
    gate_pass(&gate, 140);
    talk_expect(
        t,
        "{\"id\":2,\"error\":{\"code\":108,\"message\":\"not available\"}}\n");
    talk_expect_close(t, 3012, "no pong");
    gate_pass(&gate, 5100);
    assert_int_equal(t->kills, 1);
    talk_end(t);
}

/* First pings are spread over the second half of the interval. */
static void test_first_pings_are_spread(void **state)
{
    (void)state;
    struct talk *clients[64];
    unsigned early = 0;
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = open_one();
        talk_connect(clients[i]);
    }
    gate_pass(&gate, 12400);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        assert_false(clients[i]->session.awaiting_pong);
    gate_pass(&gate, 6350);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        early += clients[i]->session.awaiting_pong;
    assert_in_range(early, 8, 56); /* half of them, but for odds of 1e-9 */
    gate_pass(&gate, 6350);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        assert_true(clients[i]->session.awaiting_pong);
        talk_end(clients[i]);
    }
}

/* A pong that nobody asked for neither helps nor harms; a command with id 0
 * counts as one whatever else it holds. */
static void test_odd_pongs(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(t, "{}\n{}");
    gate_pass(&gate, 25000);
    talk_expect(t, "{}\n");
    gate_pass(&gate, 7000);
    talk_say(t, "{\"subscribe\":{\"channel\":\"a\"},\"id\":0}");
    assert_null(find_sub(t, "a"));
    gate_pass(&gate, 2000);
    assert_int_equal(t->closes, 0);
    talk_expect(t, "");
    talk_end(t);
}

static void test_no_pings(void **state)
{
    (void)state;
    gate_fini(&gate);
    gate_init(&gate, 1,
              "{\"client\":{\"insecure\":true,\"ping_interval\":\"0s\"}}");
    struct talk *t = open_one();
    struct str line;
    talk_say(t, "{\"connect\":{},\"id\":1}");
    assert_true(talk_next(t, &line));
    assert_null(memmem(line.p, line.n, "ping", 4));
    assert_null(memmem(line.p, line.n, "pong", 4));
    gate_pass(&gate, 3600 * 1000);
    talk_expect(t, "");
    assert_int_equal(t->closes, 0);
    talk_end(t);
}

/* --- streams -------------------------------------------------------------- */

static void test_uni_connect(void **state)
{
    (void)state;
    struct talk *t = talk_open_uni(gate.loops[0]);
    struct json_value request;
    struct str line;
    assert_int_equal(
        json_parse(str_of(talk_text("{\"subs\":{\"%s\":{}}}", far)), &request),
        0);
    session_connect_uni(&t->session, &request);
    assert_true(talk_next(t, &line));
    assert_true(str_starts(line, STR_LIT("data: {\"connect\":{\"client\":\"")));
    assert_non_null(memmem(line.p, line.n, "\"session\":\"", 11));
    assert_null(memmem(line.p, line.n, "pong", 4));
    assert_true(talk_next(t, &line) && line.n == 0);
    gate_publish(&gate, 0, far, "7");
    talk_expect(
        t,
        talk_text("data: {\"channel\":\"%s\",\"pub\":{\"data\":7}}\n\n", far));
    /* Pings are {} and need no answer, for ever. */
    for (unsigned i = 0; i < 3; i++) {
        gate_pass(&gate, 25100);
        talk_expect(t, "data: {}\n\n");
    }
    session_server_unsubscribe(&t->session, find_sub(t, far));
    talk_expect(
        t, talk_text("data: {\"channel\":\"%s\",\"unsubscribe\":{\"code\":2000,"
                     "\"reason\":\"server unsubscribe\"}}\n\n",
                     far));
    talk_end(t);
}

static void test_plain_stream(void **state)
{
    (void)state;
    struct talk *t = talk_open_plain(gate.loops[0], ENCODING_SSE);
    assert_int_equal(session_server_subscribe(&t->session, str_of(near), NULL),
                     0);
    talk_expect(
        t,
        talk_text(
            "event: subscribe\ndata: {\"channel\":\"%s\",\"subscribe\":{}}\n\n",
            near));
    gate_publish(&gate, 0, near, "[7]");
    talk_expect(t,
                talk_text("data: {\"channel\":\"%s\",\"data\":[7]}\n\n", near));
    session_server_unsubscribe(&t->session, find_sub(t, near));
    talk_expect(
        t, talk_text(
               "event: unsubscribe\ndata: {\"channel\":\"%s\",\"unsubscribe\":{"
               "\"code\":2000,\"reason\":\"server unsubscribe\"}}\n\n",
               near));
    gate_pass(&gate, 25100);
    talk_expect(t, ":\n\n");
    talk_end(t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reply_precedes_publications),
        TEST(test_unsubscribe_while_asking),
        TEST(test_unsubscribed_and_closed),
        TEST(test_rapid_pairs),
        TEST(test_unsubscribe_unknown),
        TEST(test_subscribe_errors),
        TEST(test_pattern_pushes),
        TEST(test_server_subscribe),
        TEST(test_server_unsubscribe_while_asking),
        TEST(test_server_verbs_while_connecting),
        TEST(test_subs_at_connect),
        TEST(test_publish),
        TEST(test_not_available),
        TEST(test_latest_stays),
        TEST(test_stale),
        TEST(test_pings),
        TEST(test_first_pings_are_spread),
        TEST(test_odd_pongs),
        TEST(test_no_pings),
        TEST(test_uni_connect),
        TEST(test_plain_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
