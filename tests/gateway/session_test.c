/* The conversation of gateway/session.c and commands.c, state by state. The
 * transport is a buffer, the clock stands still, and who may connect is
 * answered by the test (auth_ask below stands in for gateway/auth). */
#include "gateway/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/auth/auth.h"
#include "gateway/protocol/json.h"
#include "tests/kit/talk.h"

static struct gate gate;

/* --- who may connect ------------------------------------------------------ */

static struct auth_verdict verdict;
static bool answer_late;
static struct {
    void (*done)(void *arg, const struct auth_verdict *v);
    void *arg;
} asked;

void auth_ask(const struct config *cfg, const struct auth_question *q,
              void (*done)(void *arg, const struct auth_verdict *v), void *arg)
{
    (void)cfg;
    (void)q;
    if (!answer_late) {
        done(arg, &verdict);
        return;
    }
    assert_null(asked.done);
    asked.done = done;
    asked.arg = arg;
}

static void answer_now(void)
{
    void (*done)(void *arg, const struct auth_verdict *v) = asked.done;
    assert_non_null(done);
    asked.done = NULL;
    done(asked.arg, &verdict);
}

/* --- around each test ----------------------------------------------------- */

static const char config[] =
    "{\"client\":{\"insecure\":true,\"ping_interval\":\"25s\",\"pong_timeout\":\"8s\","
    "\"stale_close_delay\":\"10s\",\"channel_limit\":8},"
    "\"channel\":{\"without_namespace\":{\"allow_patterns\":true}}}";

static char near[32]; /* a channel whose home is shard 0, the clients' */
static char far[32];  /* one that must be asked for on shard 1 */
static char far2[32];

static int set_up(void **state)
{
    (void)state;
    verdict = (struct auth_verdict){.user = STR_LIT("")};
    answer_late = false;
    asked.done = NULL;
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

/* --- connect -------------------------------------------------------------- */

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

static void test_connect(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    struct json_value v;
    struct json_value id;
    struct json_value result;
    talk_say(
        t, "{\"connect\":{\"name\":\"js\",\"unknown\":[1]},\"id\":4294967295}");
    assert_true(talk_next(t, &line));
    assert_int_equal(json_parse(line, &v), 0);
    assert_member(v, "id", "4294967295");
    assert_true(json_member(v, STR_LIT("connect"), &result));
    assert_true(json_member(result, STR_LIT("client"), &id));
    assert_int_equal(id.raw.n, 38);
    assert_member(result, "ping", "25");
    assert_member(result, "pong", "true");
    assert_member(result, "subs", NULL);
    assert_member(result, "session", NULL);
    assert_member(result, "version", "\"weir " WEIR_VERSION "\"");
    assert_int_equal(t->session.state, SESSION_CONNECTED);
    talk_expect(t, "");
    talk_end(t);
}

static void test_must_connect_first(void **state)
{
    (void)state;
    static const char *const first[] = {
        "{\"subscribe\":{\"channel\":\"a\"},\"id\":1}",
        "{\"publish\":{\"channel\":\"a\",\"data\":1},\"id\":1}",
        "{\"rpc\":{},\"id\":1}",
        "{\"ping\":{},\"id\":1}",
        "{\"send\":{\"data\":1}}",
        "{\"id\":7}",
        "{}", /* a pong before there was a ping */
        "{\"subscribe\":{\"channel\":\"a\"},\"id\":1}\n{\"connect\":{},\"id\":2}",
    };
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        struct talk *t = open_one();
        talk_say(t, first[i]);
        talk_expect(t, "");
        talk_expect_close(t, 3501, "bad request");
        talk_end(t);
    }
}

static void test_second_connect(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(t, "{\"connect\":{},\"id\":2}");
    talk_expect(t, "");
    talk_expect_close(t, 3501, "bad request");
    talk_end(t);
    /* In one message, and while the first has no answer yet. */
    t = open_one();
    struct str line;
    talk_say(t, "{\"connect\":{},\"id\":1}\n{\"connect\":{},\"id\":2}");
    assert_true(talk_next(t, &line)); /* the reply to the first left before */
    talk_expect(t, "");
    talk_expect_close(t, 3501, "bad request");
    talk_end(t);
    t = open_one();
    answer_late = true;
    talk_say(t, "{\"connect\":{},\"id\":1}\n{\"connect\":{},\"id\":2}");
    assert_true(t->paused);
    answer_now();
    assert_true(talk_next(t, &line));
    talk_expect(t, "");
    talk_expect_close(t, 3501, "bad request");
    talk_end(t);
}

static void test_bad_messages(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "\n",
        " ",
        "null",
        "[]",
        "1",
        "{",
        "{}}",
        "{} {}",
        "{}\n\n",
        "\n{}",
        "{}\n\n{}",
        "{\"id\":-1}",
        "{\"id\":1.0}",
        "{\"id\":\"1\"}",
        "{\"id\":4294967296}",
        "{\"id\":1,\"subscribe\":[]}",
        "{\"id\":1,\"subscribe\":1}",
        "{\"id\":1,\"ping\":{}}",
        "{\"id\":1,\"nonsense\":{}}",
        "{\"id\":1}",
        "{\"id\":1,\"subscribe\":{}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"\"}}",
        "{\"id\":1,\"subscribe\":{\"channel\":null}}",
        "{\"id\":1,\"subscribe\":{\"channel\":5}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"token\":5}}",
        "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"delta\":\"other\"}}",
        "{\"id\":1,\"unsubscribe\":{}}",
        "{\"id\":1,\"unsubscribe\":{\"channel\":false}}",
        "{\"id\":1,\"publish\":{\"data\":1}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct talk *t = open_one();
        talk_connect(t);
        talk_say(t, bad[i]);
        talk_expect(t, "");
        if (t->closes == 0)
            fail_msg("not refused: %s", bad[i]);
        talk_expect_close(t, 3501, "bad request");
        talk_end(t);
    }
}

static void test_replies_before_a_close(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(
        t,
        "{\"rpc\":{},\"id\":2}\n{\"rpc\":{},\"id\":3}\nnonsense\n{\"rpc\":{},\"id\":4}");
    talk_expect(
        t,
        "{\"id\":2,\"error\":{\"code\":108,\"message\":\"not available\"}}\n"
        "{\"id\":3,\"error\":{\"code\":108,\"message\":\"not available\"}}\n");
    talk_expect_close(t, 3501, "bad request");
    talk_end(t);
}

static void test_connect_error(void **state)
{
    (void)state;
    struct talk *t = open_one();
    verdict.error = ERROR_TOKEN_EXPIRED;
    /* The rest of the message is dropped, the connection is of no use. */
    talk_say(t, "{\"connect\":{\"token\":\"x\"},\"id\":1}\n"
                "{\"subscribe\":{\"channel\":\"a\"},\"id\":2}");
    talk_expect(
        t,
        "{\"id\":1,\"error\":{\"code\":109,\"message\":\"token expired\"}}\n");
    assert_int_equal(t->closes, 0);
    gate_pass(&gate, 9000);
    assert_int_equal(t->closes, 0);
    gate_pass(&gate, 1100);
    talk_expect_close(t, 3502, "stale");
    talk_end(t);
    /* Any further command ends it at once. */
    t = open_one();
    talk_say(t, "{\"connect\":{\"token\":\"x\"},\"id\":1}");
    talk_say(t, "{\"connect\":{},\"id\":2}");
    talk_expect(
        t,
        "{\"id\":1,\"error\":{\"code\":109,\"message\":\"token expired\"}}\n");
    talk_expect_close(t, 3501, "bad request");
    talk_end(t);
}

static void test_late_connect_error(void **state)
{
    (void)state;
    struct talk *t = open_one();
    answer_late = true;
    verdict.error = ERROR_TOO_MANY_REQUESTS;
    talk_say(t, "{\"connect\":{},\"id\":1}\n{\"rpc\":{},\"id\":2}");
    talk_expect(t, "");
    assert_true(t->paused);
    answer_now();
    talk_expect(
        t,
        "{\"id\":1,\"error\":{\"code\":111,\"message\":\"too many requests\","
        "\"temporary\":true}}\n");
    assert_int_equal(t->closes, 0);
    gate_pass(&gate, 10100);
    talk_expect_close(t, 3502, "stale");
    talk_end(t);
}

static void test_connect_disconnect(void **state)
{
    (void)state;
    struct talk *t = open_one();
    verdict.disconnect = DISCONNECT_INVALID_TOKEN;
    talk_say(t,
             "{\"connect\":{\"token\":\"x\"},\"id\":1}\n{\"rpc\":{},\"id\":2}");
    talk_expect(t, "");
    talk_expect_close(t, 3500, "invalid token");
    talk_end(t);
    t = open_one();
    answer_late = true;
    talk_say(t,
             "{\"connect\":{\"token\":\"x\"},\"id\":1}\n{\"rpc\":{},\"id\":2}");
    turn_alone();
    answer_now();
    talk_expect(t, "");
    talk_expect_close(t, 3500, "invalid token");
    talk_end(t);
}

/* The verdict comes when nobody waits for it any more. */
static void test_verdict_too_late(void **state)
{
    (void)state;
    struct talk *t = open_one();
    answer_late = true;
    talk_say(
        t,
        "{\"connect\":{\"subs\":{\"a\":{}}},\"id\":1}\n{\"rpc\":{},\"id\":2}");
    talk_end(t);
    answer_now();
    gate_settle(&gate);
    t = open_one();
    talk_say(t, "{\"connect\":{\"subs\":{\"a\":{}}},\"id\":1}");
    session_close(&t->session, DISCONNECT_FORCE);
    answer_now();
    talk_expect(t, "");
    talk_expect_close(t, 3503, "force disconnect");
    assert_int_equal(t->session.client.sub_count, 0);
    talk_end(t);
    /* The stale timer runs on while connect waits. */
    t = open_one();
    talk_say(t, "{\"connect\":{},\"id\":1}");
    gate_pass(&gate, 10100);
    talk_expect_close(t, 3502, "stale");
    answer_now();
    talk_expect(t, "");
    talk_end(t);
}

/* --- commands that wait --------------------------------------------------- */

static void test_held_until_connected(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    answer_late = true;
    talk_say(
        t,
        talk_text(
            "{\"connect\":{},\"id\":1}\n{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}\n"
            "{\"publish\":{\"channel\":\"%s\",\"data\":[1]},\"id\":3}",
            near, near));
    talk_say(t,
             "{\"rpc\":{},\"id\":4}"); /* the transport had read it already */
    talk_expect(t, "");
    assert_true(t->paused);
    answer_now();
    assert_true(talk_next(t, &line));
    assert_true(
        str_starts(line, STR_LIT("{\"id\":1,\"connect\":{\"client\":\"")));
    char id[RAND_UUID_LEN + 1] = "";
    memcpy(id, line.p + strlen("{\"id\":1,\"connect\":{\"client\":\""),
           RAND_UUID_LEN);
    assert_true(talk_next(t, &line));
    assert_true(str_eq(line, STR_LIT("{\"id\":2,\"subscribe\":{}}")));
    /* The publication may come before or after the replies to what was sent
     * with it, but never before the subscription's answer. */
    talk_expect(
        t,
        talk_text(
            "{\"id\":3,\"publish\":{}}\n"
            "{\"id\":4,\"error\":{\"code\":108,\"message\":\"not available\"}}\n"
            "{\"push\":{\"channel\":\"%s\",\"pub\":{\"data\":[1],"
            "\"info\":{\"user\":\"\",\"client\":\"%s\"}}}}\n",
            near, id));
    assert_false(t->paused);
    talk_end(t);
}

/* A held message is cut where the waiting began, and is not run twice. */
static void test_held_in_order(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(
        t,
        talk_text(
            "{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}\n{\"rpc\":{},\"id\":3}\n"
            "{\"subscribe\":{\"channel\":\"%s\"},\"id\":4}\n{\"rpc\":{},\"id\":5}\n",
            far, far2));
    turn_alone();
    assert_int_equal(t->session.asking, 1);
    assert_true(t->paused);
    assert_null(find_sub(t, far2));
    talk_expect(
        t,
        "{\"id\":2,\"subscribe\":{}}\n"
        "{\"id\":3,\"error\":{\"code\":108,\"message\":\"not available\"}}\n"
        "{\"id\":4,\"subscribe\":{}}\n"
        "{\"id\":5,\"error\":{\"code\":108,\"message\":\"not available\"}}\n");
    assert_false(t->paused);
    assert_int_equal(t->session.held.n, 0);
    talk_end(t);
}

/* Subscribes do not wait for one another; all come before what follows. */
static void test_subscribes_overlap(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(
        t,
        talk_text(
            "{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}\n"
            "{\"subscribe\":{\"channel\":\"%s\"},\"id\":3}\n"
            "{\"subscribe\":{\"channel\":\"%s\"},\"id\":4}\n{\"rpc\":{},\"id\":5}",
            far, near, far2));
    assert_int_equal(t->session.asking, 2);
    turn_alone();
    talk_expect(
        t,
        "{\"id\":3,\"subscribe\":{}}\n{\"id\":2,\"subscribe\":{}}\n"
        "{\"id\":4,\"subscribe\":{}}\n"
        "{\"id\":5,\"error\":{\"code\":108,\"message\":\"not available\"}}\n");
    talk_end(t);
}

static void test_pong_overtakes(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    gate_pass(&gate, 25000);
    talk_expect(t, "{}\n");
    assert_true(t->session.awaiting_pong);
    talk_say(t,
             talk_text("{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}", far));
    talk_say(t, "{}");
    assert_false(t->session.awaiting_pong);
    assert_false(t->paused);
    talk_expect(t, "{\"id\":2,\"subscribe\":{}}\n");
    talk_end(t);
}

static void test_held_is_bounded(void **state)
{
    (void)state;
    struct talk *t = open_one();
    char *big = mem_alloc(70000);
    memset(big, ' ', 70000);
    memcpy(big, "{\"id\":2,\"rpc\":{}", 16);
    big[69998] = '}';
    big[69999] = '\0';
    answer_late = true;
    talk_say(t, "{\"connect\":{},\"id\":1}");
    size_t most =
        SESSION_HELD_MAX +
        (size_t)t->session.loop->app->config->websocket.message_size_limit;
    for (size_t held = 69999; held <= most; held += 70000)
        talk_say(t, big);
    assert_int_equal(t->session.client.closing, false);
    assert_true(t->session.held.n <= most);
    talk_say(t, big);
    talk_expect_close(t, 3501, "bad request");
    answer_now();
    talk_expect(t, "");
    free(big);
    talk_end(t);
}

/* It leaves, or is closed, with commands held and an answer on its way. */
static void test_end_while_held(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        struct talk *t = open_one();
        talk_connect(t);
        talk_say(
            t,
            talk_text(
                "{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}\n{\"rpc\":{},\"id\":3}",
                far));
        assert_true(t->paused);
        gate_turn(&gate, 0);
        if (how)
            gate_turn(&gate, 1);
        if (how == 2)
            session_close(&t->session, DISCONNECT_FORCE);
        else
            talk_leave(t);
        gate_settle(&gate);
        assert_int_equal(t->closes, how == 2);
        talk_end(t);
        assert_int_equal(gate.loops[1]->shard->home.channels, NULL);
    }
}

/* --- closing -------------------------------------------------------------- */

enum stage {
    AT_NEW,
    AT_VERDICT,
    AT_SUBS,
    AT_CONNECTED,
    AT_ASKING,
    AT_FAILED,
    STAGES
};

static struct talk *bring_to(enum stage stage)
{
    struct talk *t = open_one();
    answer_late = stage == AT_VERDICT;
    verdict.error = stage == AT_FAILED ? ERROR_EXPIRED : 0;
    if (stage == AT_SUBS)
        talk_say(
            t,
            talk_text(
                "{\"connect\":{\"subs\":{\"%s\":{}}},\"id\":1}\n{\"rpc\":{},\"id\":2}",
                far));
    else if (stage != AT_NEW)
        talk_say(t, "{\"connect\":{},\"id\":1}");
    if (stage == AT_CONNECTED || stage == AT_ASKING)
        gate_settle(&gate);
    if (stage == AT_ASKING)
        talk_say(
            t,
            talk_text(
                "{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}\n{\"rpc\":{},\"id\":3}",
                far));
    return t;
}

static void end_stage(struct talk *t)
{
    if (asked.done)
        answer_now();
    gate_settle(&gate);
    talk_end(t);
    gate_settle(&gate);
    assert_int_equal(gate.loops[0]->shard->sub_count, 0);
    assert_int_equal(home_channel_count(&gate.loops[1]->shard->home), 0);
}

static void test_close_in_every_stage(void **state)
{
    (void)state;
    for (enum stage stage = AT_NEW; stage < STAGES; stage++) {
        struct talk *t = bring_to(stage);
        session_close_reason(&t->session, 4001, STR_LIT("because"));
        session_close(&t->session,
                      DISCONNECT_SHUTDOWN); /* the first one counts */
        talk_say(t, "{\"rpc\":{},\"id\":9}");
        talk_expect_close(t, 4001, "because");
        gate_pass(&gate, 5100);
        assert_int_equal(t->kills, 1);
        end_stage(t);
    }
}

static void test_leave_in_every_stage(void **state)
{
    (void)state;
    for (enum stage stage = AT_NEW; stage < STAGES; stage++) {
        struct talk *t = bring_to(stage);
        talk_leave(t);
        gate_settle(&gate);
        gate_pass(&gate, 60000);
        assert_int_equal(t->closes, 0);
        end_stage(t);
    }
}

static void test_stale_in_every_stage(void **state)
{
    (void)state;
    for (enum stage stage = AT_NEW; stage < STAGES; stage++) {
        struct talk *t = bring_to(stage);
        /* No settling before the clock moves, so the other shard is silent:
         * it is turned after this one, when the timer has fired already. */
        gate_pass(&gate, 10100);
        bool stale = stage != AT_CONNECTED && stage != AT_ASKING;
        assert_int_equal(t->closes, stale);
        if (stale)
            assert_int_equal(t->close_code, 3502);
        end_stage(t);
    }
}

static void test_close_reasons(void **state)
{
    (void)state;
    char big[300];
    memset(big, 'r', sizeof(big));
    struct talk *t = open_one();
    session_close_reason(&t->session, 4999, str_n(big, sizeof(big)));
    gate_settle(&gate);
    assert_int_equal(t->close_code, 4999);
    assert_in_range(strlen(t->close_reason), 100, 123);
    talk_end(t);
    t = open_one();
    session_close_reason(&t->session, 3503, STR_LIT(""));
    talk_expect_close(t, 3503, "force disconnect");
    talk_end(t);
    t = open_one();
    session_close_reason(&t->session, 4000, STR_LIT(""));
    talk_expect_close(t, 4000, "disconnect");
    talk_end(t);
}

/* A cut must not leave half a character: browsers refuse such a close. */
static void test_close_reason_is_utf8(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    for (unsigned lead = 0; lead < 3; lead++) {
        buf_clear(&b);
        for (unsigned i = 0; i < lead; i++)
            buf_char(&b, 'x');
        for (unsigned i = 0; i < 100; i++)
            buf_lit(&b, "\xE2\x82\xAC");
        struct talk *t = open_one();
        session_close_reason(&t->session, 4999, buf_view(&b));
        gate_settle(&gate);
        assert_true(utf8_valid(str_of(t->close_reason)));
        assert_in_range(strlen(t->close_reason), 100, 123);
        talk_end(t);
    }
    buf_free(&b);
}

/* The socket takes nothing: what is queued is bounded, then 3008. */
static void test_slow(void **state)
{
    (void)state;
    gate_fini(&gate);
    gate_init(&gate, 1,
              "{\"client\":{\"insecure\":true,\"queue_max_size\":4096}}");
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(t, "{\"subscribe\":{\"channel\":\"a\"},\"id\":2}");
    talk_expect(t, "{\"id\":2,\"subscribe\":{}}\n");
    t->next_write = WRITE_CHOKED;
    for (unsigned i = 0; i < 200; i++) {
        gate_publish(&gate, 0, "a",
                     "\"0123456789012345678901234567890123456789\"");
        gate_settle(&gate);
    }
    talk_expect_close(t, 3008, "slow");
    assert_int_equal(t->writes, 3);
    talk_end(t);
}

static void test_dead_socket(void **state)
{
    (void)state;
    struct talk *t = open_one();
    talk_connect(t);
    t->next_write = WRITE_DEAD;
    talk_say(t, "{\"rpc\":{},\"id\":2}");
    gate_settle(&gate);
    talk_say(t, "{\"rpc\":{},\"id\":3}");
    gate_settle(&gate);
    assert_int_equal(t->closes, 0);
    assert_int_equal(gate.loops[0]->shard->stats.close_write_error, 1);
    /* Nobody waits for a transport that never notices. */
    gate_pass(&gate, 60000);
    assert_int_equal(t->kills, 1);
    talk_end(t);
}

/* --- streams -------------------------------------------------------------- */

static void test_uni_connect_errors(void **state)
{
    (void)state;
    static const struct {
        uint32_t error;
        uint32_t code;
    } table[] = {
        {ERROR_TOKEN_EXPIRED, 3005},     {ERROR_EXPIRED, 3005},
        {ERROR_TOO_MANY_REQUESTS, 3013}, {ERROR_PERMISSION_DENIED, 3507},
        {ERROR_INTERNAL, 3004},          {ERROR_BAD_REQUEST, 3004}};
    struct json_value request;
    assert_int_equal(json_parse(STR_LIT("{}"), &request), 0);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct talk *t = talk_open_uni(gate.loops[0]);
        verdict.error = table[i].error;
        session_connect_uni(&t->session, &request);
        gate_settle(&gate);
        assert_int_equal(t->close_code, table[i].code);
        talk_end(t);
    }
    assert_int_equal(json_parse(STR_LIT("{\"subs\":5}"), &request), 0);
    struct talk *t = talk_open_uni(gate.loops[0]);
    session_connect_uni(&t->session, &request);
    talk_expect_close(t, 3501, "bad request");
    talk_end(t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connect),
        TEST(test_must_connect_first),
        TEST(test_second_connect),
        TEST(test_bad_messages),
        TEST(test_replies_before_a_close),
        TEST(test_connect_error),
        TEST(test_late_connect_error),
        TEST(test_connect_disconnect),
        TEST(test_verdict_too_late),
        TEST(test_held_until_connected),
        TEST(test_held_in_order),
        TEST(test_subscribes_overlap),
        TEST(test_pong_overtakes),
        TEST(test_held_is_bounded),
        TEST(test_end_while_held),
        TEST(test_close_in_every_stage),
        TEST(test_leave_in_every_stage),
        TEST(test_stale_in_every_stage),
        TEST(test_close_reasons),
        TEST(test_close_reason_is_utf8),
        TEST(test_slow),
        TEST(test_dead_socket),
        TEST(test_uni_connect_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
