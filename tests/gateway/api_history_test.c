/* What the API and the history command say about the past of a channel, and
 * what a publisher may want of it. */
#include "gateway/api/task.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/talk.h"

/* hh: five publications, everybody may read; nn: nobody may; ss: subscribers
 * may; ff: subscribers recover; bb: binary. */
#define KEPT "\"history_size\":5,\"history_ttl\":\"60s\""
#define SUB                                 \
    ",\"allow_subscribe_for_client\":true," \
    "\"allow_subscribe_for_anonymous\":true"
#define CONFIG                                                         \
    "{\"client\":{\"allow_anonymous_connect_without_token\":true,"     \
    "\"history_max_publication_limit\":4},"                            \
    "\"http_api\":{\"insecure\":true},\"channel\":{"                   \
    "\"without_namespace\":{\"allow_history_for_client\":true,"        \
    "\"allow_history_for_anonymous\":true" SUB "},"                    \
    "\"namespaces\":[{\"name\":\"hh\"," KEPT                           \
    ",\"allow_history_for_client\":true,"                              \
    "\"allow_history_for_anonymous\":true" SUB "},"                    \
    "{\"name\":\"nn\"," KEPT SUB "},"                                  \
    "{\"name\":\"ss\"," KEPT ",\"allow_history_for_subscriber\":true," \
    "\"allow_history_for_anonymous\":true" SUB "},"                    \
    "{\"name\":\"ff\",\"force_recovery\":true," KEPT SUB "},"          \
    "{\"name\":\"bb\",\"publication_data_format\":\"binary\"," KEPT    \
    ",\"allow_history_for_client\":true,"                              \
    "\"allow_history_for_anonymous\":true" SUB "}]}}"

static struct gate gate;
static struct gate_peer caller;

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 2, CONFIG);
    gate_open(&gate, 0, &caller);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gate_close(&caller);
    gate_settle(&gate);
    gate_fini(&gate);
    return 0;
}

static struct str ask(const char *method, const char *body)
{
    struct buf b = BUF_INIT;
    struct gate_answer a;
    buf_printf(&b,
               "POST /api/%s HTTP/1.1\r\nHost: x\r\nContent-Length: "
               "%zu\r\n\r\n%s",
               method, strlen(body), body);
    assert_true(gate_send(&caller, buf_view(&b)));
    gate_read(&caller);
    assert_true(gate_next_answer(&caller, false, &a));
    assert_int_equal(a.status, 200);
    buf_free(&b);
    return a.body;
}

/* Every `@` in `want` stands for the epoch of hh:a (or of `channel`). */
static void check(struct str got, const char *channel, const char *want)
{
    struct buf b = BUF_INIT;
    char epoch[8];
    struct str name = str_of(channel);
    uint32_t hash = msg_channel_hash(name);
    struct shard *home = home_of(&gate.app.hub, hash);
    struct history_stream *s = history_find(&home->home.history, name, hash, 0);
    if (s)
        position_epoch_format(s->epoch, epoch);
    for (; *want; want++) {
        if (*want != '@') {
            buf_char(&b, *want);
            continue;
        }
        assert_non_null(s);
        buf_add(&b, epoch, sizeof(epoch));
    }
    if (!str_eq(got, buf_view(&b)))
        fail_msg("%.*s, not %.*s", STR_ARG(got), STR_ARG(buf_view(&b)));
    buf_free(&b);
}

static void expect(const char *method, const char *body, const char *want)
{
    check(ask(method, body), "hh:a", want);
}

/* The command's answer is the API's. */
static void expect_both(struct talk *t, const char *fields, const char *want)
{
    char text[512];
    struct str line;
    snprintf(text, sizeof(text), "{\"channel\":\"hh:a\"%s}", fields);
    struct buf b = BUF_INIT;
    buf_printf(&b, "{\"result\":%s}", want);
    buf_char(&b, '\0');
    expect("history", text, b.p);
    buf_clear(&b);
    snprintf(text, sizeof(text),
             "{\"history\":{\"channel\":\"hh:a\"%s},\"id\":5}", fields);
    talk_say(t, text);
    assert_true(talk_next(t, &line));
    buf_printf(&b, "{\"id\":5,\"history\":%s}", want);
    buf_char(&b, '\0');
    check(line, "hh:a", b.p);
    buf_free(&b);
}

static void expect_both_error(struct talk *t, const char *fields,
                              const char *error)
{
    char text[512];
    char want[256];
    snprintf(text, sizeof(text), "{\"channel\":\"hh:a\"%s}", fields);
    snprintf(want, sizeof(want), "{\"error\":%s}", error);
    expect("history", text, want);
    snprintf(text, sizeof(text),
             "{\"history\":{\"channel\":\"hh:a\"%s},\"id\":5}", fields);
    talk_say(t, text);
    talk_expect(t, talk_text("{\"id\":5,\"error\":%s}\n", error));
}

static struct talk *open_one(void)
{
    struct talk *t = talk_open(gate.loops[0]);
    talk_connect(t);
    return t;
}

#define BAD_REQUEST "{\"code\":107,\"message\":\"bad request\"}"
#define NOT_AVAILABLE "{\"code\":108,\"message\":\"not available\"}"
#define DENIED "{\"code\":103,\"message\":\"permission denied\"}"
#define UNRECOVERABLE "{\"code\":112,\"message\":\"unrecoverable position\"}"

#define PUB(n) "{\"data\":" #n ",\"offset\":" #n "}"
#define PUBS(list, top) \
    "{\"publications\":[" list "],\"epoch\":\"@\",\"offset\":" #top "}"

/* Publications 1 to 7, of which 3 to 7 are kept. */
static void publish_seven(void)
{
    for (unsigned i = 1; i <= 7; i++) {
        char body[64];
        char want[64];
        snprintf(body, sizeof(body), "{\"channel\":\"hh:a\",\"data\":%u}", i);
        snprintf(want, sizeof(want),
                 "{\"result\":{\"offset\":%u,\"epoch\":\"@\"}}", i);
        expect("publish", body, want);
    }
}

/* --- history ---------------------------------------------------------------- */

static void test_limits(void **state)
{
    (void)state;
    struct talk *t = open_one();
    expect_both(t, "", PUBS("", 0)); /* even that makes its epoch */
    publish_seven();
    expect_both(t, "", PUBS("", 7));
    expect_both(t, ",\"limit\":0", PUBS("", 7));
    expect_both(t, ",\"limit\":null,\"reverse\":null,\"since\":null",
                PUBS("", 7));
    expect_both(t, ",\"limit\":2", PUBS(PUB(3) "," PUB(4), 7));
    expect_both(t, ",\"limit\":-1",
                PUBS(PUB(3) "," PUB(4) "," PUB(5) "," PUB(6), 7));
    expect_both(t, ",\"limit\":-2147483648,\"reverse\":true",
                PUBS(PUB(7) "," PUB(6) "," PUB(5) "," PUB(4), 7));
    expect_both(t, ",\"limit\":2147483647",
                PUBS(PUB(3) "," PUB(4) "," PUB(5) "," PUB(6), 7));
    expect_both(t, ",\"limit\":1,\"reverse\":true", PUBS(PUB(7), 7));
    talk_end(t);
}

static void test_since(void **state)
{
    (void)state;
    struct talk *t = open_one();
    publish_seven();
    expect_both(t, ",\"limit\":-1,\"since\":{\"offset\":5}",
                PUBS(PUB(6) "," PUB(7), 7));
    expect_both(t, ",\"limit\":1,\"since\":{\"offset\":5}", PUBS(PUB(6), 7));
    /* Where it began is gone: from the oldest on. */
    expect_both(t, ",\"limit\":2,\"since\":{\"offset\":0}",
                PUBS(PUB(3) "," PUB(4), 7));
    expect_both(t, ",\"limit\":-1,\"since\":{\"offset\":7}", PUBS("", 7));
    expect_both(t, ",\"limit\":-1,\"since\":{\"offset\":18446744073709551615}",
                PUBS("", 7));
    expect_both(t, ",\"limit\":-1,\"reverse\":true,\"since\":{\"offset\":5}",
                PUBS(PUB(4) "," PUB(3), 7));
    expect_both(t, ",\"limit\":1,\"reverse\":true,\"since\":{\"offset\":5}",
                PUBS(PUB(4), 7));
    expect_both(t, ",\"limit\":-1,\"reverse\":true,\"since\":{\"offset\":3}",
                PUBS("", 7));
    expect_both(t, ",\"limit\":-1,\"since\":{\"offset\":6,\"epoch\":\"\"}",
                PUBS(PUB(7), 7));
    talk_end(t);
}

static void test_since_errors(void **state)
{
    (void)state;
    struct talk *t = open_one();
    publish_seven();
    expect_both_error(t, ",\"reverse\":true,\"since\":{\"offset\":0}",
                      BAD_REQUEST);
    expect_both_error(t, ",\"reverse\":true,\"since\":{}", BAD_REQUEST);
    expect_both_error(t, ",\"since\":{\"offset\":6,\"epoch\":\"aBcD\"}",
                      UNRECOVERABLE);
    expect_both_error(t,
                      ",\"since\":{\"offset\":6,\"epoch\":\"AAAAAAAB\"},"
                      "\"limit\":1",
                      UNRECOVERABLE);
    /* Ten kilobytes of epoch are as foreign. */
    struct buf b = BUF_INIT;
    buf_printf(&b,
               "{\"channel\":\"hh:a\",\"since\":{\"offset\":6,\"epoch\":"
               "\"%010240d\"}}",
               0);
    buf_char(&b, '\0');
    expect("history", b.p, "{\"error\":" UNRECOVERABLE "}");
    buf_free(&b);
    talk_end(t);
}

static void test_wrong_types(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"channel\":\"\"}",
        "{\"channel\":7}",
        "{\"channel\":\"hh:a\",\"limit\":\"1\"}",
        "{\"channel\":\"hh:a\",\"limit\":1.5}",
        "{\"channel\":\"hh:a\",\"limit\":2147483648}",
        "{\"channel\":\"hh:a\",\"limit\":-2147483649}",
        "{\"channel\":\"hh:a\",\"reverse\":1}",
        "{\"channel\":\"hh:a\",\"since\":7}",
        "{\"channel\":\"hh:a\",\"since\":{\"offset\":-1}}",
        "{\"channel\":\"hh:a\",\"since\":{\"offset\":\"1\"}}",
        "{\"channel\":\"hh:a\",\"since\":{\"offset\":18446744073709551616}}",
        "{\"channel\":\"hh:a\",\"since\":{\"epoch\":1}}",
        "{\"channel\":\"hh:*\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect("history", bad[i], "{\"error\":" BAD_REQUEST "}");
    expect("history", "{\"channel\":\"never:a\"}",
           "{\"error\":{\"code\":102,\"message\":\"unknown channel\"}}");
    expect("history", "{\"channel\":\"plain\"}",
           "{\"error\":" NOT_AVAILABLE "}");
    expect("history_remove", "{\"channel\":\"plain\"}",
           "{\"error\":" NOT_AVAILABLE "}");
    expect("history_remove", "{}", "{\"error\":" BAD_REQUEST "}");
    expect("history_remove", "{\"channel\":[]}", "{\"error\":" BAD_REQUEST "}");
}

static void test_who_may_read(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    talk_say(t, "{\"history\":{\"channel\":\"nn:a\"},\"id\":2}");
    talk_expect(t, "{\"id\":2,\"error\":" DENIED "}\n");
    talk_say(t, "{\"history\":{\"channel\":\"ss:a\"},\"id\":3}");
    talk_expect(t, "{\"id\":3,\"error\":" DENIED "}\n");
    talk_say(t, "{\"subscribe\":{\"channel\":\"ss:a\"},\"id\":4}\n"
                "{\"history\":{\"channel\":\"ss:a\"},\"id\":5}");
    assert_true(talk_next(t, &line));
    assert_true(talk_next(t, &line));
    check(line, "ss:a",
          "{\"id\":5,\"history\":{\"publications\":[],\"epoch\":\"@\","
          "\"offset\":0}}");
    talk_say(t, "{\"history\":{\"channel\":\"plain\"},\"id\":6}");
    talk_expect(t, "{\"id\":6,\"error\":" NOT_AVAILABLE "}\n");
    talk_say(t, "{\"history\":{\"channel\":\"hh:*\"},\"id\":7}");
    talk_expect(t, "{\"id\":7,\"error\":" BAD_REQUEST "}\n");
    talk_say(t, "{\"history\":{},\"id\":8}");
    talk_expect_close(t, 3501, "bad request");
    talk_end(t);
    /* The API may. */
    check(ask("history", "{\"channel\":\"nn:a\"}"), "nn:a",
          "{\"result\":{\"publications\":[],\"epoch\":\"@\",\"offset\":0}}");
}

/* Who leaves before the answer gets none. */
static void test_leaves_before_answer(void **state)
{
    (void)state;
    char channel[32];
    char name[40];
    struct talk *t = open_one();
    unsigned n = 0;
    do {
        gate_channel_of(&gate, 1, n++, channel);
        snprintf(name, sizeof(name), "hh:%s", channel);
    } while (home_of(&gate.app.hub, msg_channel_hash(str_of(name)))->index !=
             1);
    talk_say(t, talk_text("{\"history\":{\"channel\":\"%s\"},\"id\":2}", name));
    gate_turn(&gate, 0);
    talk_end(t);
    gate_settle(&gate);
    assert_int_equal(gate.loops[0]->shard->client_count, 0);
}

static void test_whole_publications(void **state)
{
    (void)state;
    ask("publish", "{\"channel\":\"hh:a\",\"data\":{\"x\":\"\\u00e9\"},"
                   "\"tags\":{\"k\":\"v\"}}");
    expect("history", "{\"channel\":\"hh:a\",\"limit\":1}",
           "{\"result\":{\"publications\":[{\"data\":{\"x\":\"\\u00e9\"},"
           "\"offset\":1,\"epoch\":\"@\",\"tags\":{\"k\":\"v\"}}],"
           "\"epoch\":\"@\",\"offset\":1}}");
}

/* Regression: JSON cannot say it as it is. */
static void test_binary(void **state)
{
    (void)state;
    struct talk *t = open_one();
    ask("publish", "{\"channel\":\"bb:a\",\"data\":1}");
    ask("publish", "{\"channel\":\"bb:a\",\"b64data\":\"/w==\"}");
    check(ask("history", "{\"channel\":\"bb:a\",\"limit\":-1}"), "bb:a",
          "{\"result\":{\"publications\":[{\"data\":1,\"offset\":1,"
          "\"epoch\":\"@\"},{\"b64data\":\"/w==\",\"offset\":2}],"
          "\"epoch\":\"@\",\"offset\":2}}");
    talk_say(t, "{\"history\":{\"channel\":\"bb:a\",\"limit\":-1},\"id\":2}");
    talk_expect_close(t, 3506, "inappropriate protocol");
    talk_end(t);
}

static void test_remove(void **state)
{
    (void)state;
    publish_seven();
    expect("history_remove", "{\"channel\":\"hh:a\"}", "{\"result\":{}}");
    expect("history", "{\"channel\":\"hh:a\",\"limit\":-1}",
           "{\"result\":" PUBS("", 7) "}");
    expect("publish", "{\"channel\":\"hh:a\",\"data\":8}",
           "{\"result\":{\"offset\":8,\"epoch\":\"@\"}}");
    expect("history", "{\"channel\":\"hh:a\",\"limit\":-1}",
           "{\"result\":" PUBS(PUB(8), 8) "}");
    /* Nothing is there to be removed. */
    expect("history_remove", "{\"channel\":\"hh:never\"}", "{\"result\":{}}");
    /* In a batch. */
    expect("batch",
           "{\"commands\":[{\"history_remove\":{\"channel\":\"hh:a\"}},"
           "{\"history\":{\"channel\":\"hh:a\",\"limit\":1}},"
           "{\"history\":{\"channel\":\"plain\"}}]}",
           "{\"replies\":[{\"history_remove\":{}},{\"history\":" PUBS(
               "", 8) "},"
                      "{\"error\":" NOT_AVAILABLE "}]}");
}

static void test_age(void **state)
{
    (void)state;
    publish_seven();
    gate_pass(&gate, 59000);
    expect("history", "{\"channel\":\"hh:a\",\"limit\":1}",
           "{\"result\":" PUBS(PUB(3), 7) "}");
    gate_pass(&gate, 2000);
    expect("history", "{\"channel\":\"hh:a\",\"limit\":1}",
           "{\"result\":" PUBS("", 7) "}");
}

/* --- publishing ------------------------------------------------------------- */

static void test_publish_without_history(void **state)
{
    (void)state;
    expect("publish", "{\"channel\":\"plain\",\"data\":1}", "{\"result\":{}}");
    expect("publish", "{\"channel\":\"hh:a\",\"data\":1,\"skip_history\":true}",
           "{\"result\":{}}");
    expect("publish",
           "{\"channel\":\"hh:a\",\"data\":1,\"skip_history\":false}",
           "{\"result\":{\"offset\":1,\"epoch\":\"@\"}}");
    struct talk *t = open_one();
    struct str line;
    talk_say(t, "{\"subscribe\":{\"channel\":\"ff:a\"},\"id\":2}");
    assert_true(talk_next(t, &line));
    ask("publish", "{\"channel\":\"ff:a\",\"data\":1,\"skip_history\":true}");
    ask("publish", "{\"channel\":\"ff:a\",\"data\":2}");
    assert_true(talk_next(t, &line));
    check(line, "ff:a",
          "{\"push\":{\"channel\":\"ff:a\",\"pub\":{\"data\":1}}}");
    assert_true(talk_next(t, &line));
    check(line, "ff:a",
          "{\"push\":{\"channel\":\"ff:a\",\"pub\":{\"data\":2,\"offset\":1,"
          "\"epoch\":\"@\"}}}");
    talk_end(t);
}

static void test_idempotency_key(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    talk_say(t, "{\"subscribe\":{\"channel\":\"hh:a\"},\"id\":2}\n"
                "{\"subscribe\":{\"channel\":\"plain\"},\"id\":3}");
    assert_true(talk_next(t, &line) && talk_next(t, &line));
    for (unsigned i = 0; i < 3; i++) {
        expect("publish",
               "{\"channel\":\"hh:a\",\"data\":1,\"idempotency_key\":\"k\"}",
               "{\"result\":{\"offset\":1,\"epoch\":\"@\"}}");
        expect("publish",
               "{\"channel\":\"plain\",\"data\":2,\"idempotency_key\":\"k\"}",
               "{\"result\":{}}");
    }
    expect("publish",
           "{\"channel\":\"hh:a\",\"data\":3,\"idempotency_key\":\"\"}",
           "{\"result\":{\"offset\":2,\"epoch\":\"@\"}}");
    assert_true(talk_next(t, &line));
    check(line, "hh:a",
          "{\"push\":{\"channel\":\"hh:a\",\"pub\":{\"data\":1,\"offset\":1,"
          "\"epoch\":\"@\"}}}");
    talk_expect(t, "{\"push\":{\"channel\":\"plain\",\"pub\":{\"data\":2}}}\n"
                   "{\"push\":{\"channel\":\"hh:a\",\"pub\":{\"data\":3,"
                   "\"offset\":2}}}\n");
    /* Five minutes later it is another one. */
    talk_end(t);
    gate_close(&caller);
    gate_pass(&gate, 300001);
    gate_open(&gate, 0, &caller);
    expect("publish",
           "{\"channel\":\"hh:a\",\"data\":4,\"idempotency_key\":\"k\"}",
           "{\"result\":{\"offset\":3,\"epoch\":\"@\"}}");
}

/* All channels of a broadcast share the key, each for itself. */
static void test_broadcast(void **state)
{
    (void)state;
    static const char body[] =
        "{\"channels\":[\"hh:a\",\"plain\",\"hh:a\",\"hh:*\"],\"data\":1,"
        "\"idempotency_key\":\"k\"}";
    for (unsigned i = 0; i < 2; i++)
        expect("broadcast", body,
               "{\"result\":{\"responses\":["
               "{\"result\":{\"offset\":1,\"epoch\":\"@\"}},{\"result\":{}},"
               "{\"result\":{\"offset\":1,\"epoch\":\"@\"}},"
               "{\"error\":" BAD_REQUEST "}]}}");
    expect("broadcast",
           "{\"channels\":[\"hh:a\"],\"data\":1,\"skip_history\":true}",
           "{\"result\":{\"responses\":[{\"result\":{}}]}}");
}

static void test_version(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        unsigned offset;
    } steps[] = {
        {"\"version\":5", 1},
        {"\"version\":5", 1},
        {"\"version\":4,\"version_epoch\":\"\"", 1},
        {"\"version\":6", 2},
        {"\"version\":0", 3}, /* none */
        {"\"version\":6", 3},
        {"\"version\":1,\"version_epoch\":\"e\"", 4},
        {"\"version\":1,\"version_epoch\":\"e\"", 4},
        {"\"version\":18446744073709551615,\"version_epoch\":\"e\"", 5},
        {"\"version\":18446744073709551614,\"version_epoch\":\"e\"", 5},
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        char body[160];
        char want[80];
        snprintf(body, sizeof(body), "{\"channel\":\"hh:a\",\"data\":1,%s}",
                 steps[i].fields);
        snprintf(want, sizeof(want),
                 "{\"result\":{\"offset\":%u,\"epoch\":\"@\"}}",
                 steps[i].offset);
        expect("publish", body, want);
    }
    /* A stream is needed to have one. */
    expect("publish", "{\"channel\":\"plain\",\"data\":1,\"version\":1}",
           "{\"result\":{}}");
}

static void test_bad_wishes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"skip_history\":1",     "\"idempotency_key\":1",
        "\"version\":-1",         "\"version\":\"1\"",
        "\"version\":1.5",        "\"version\":18446744073709551616",
        "\"version_epoch\":1",    "\"version_epoch\":{}",
        "\"idempotency_key\":[]", "\"skip_history\":\"true\"",
    };
    char body[700];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(body, sizeof(body), "{\"channel\":\"hh:a\",\"data\":1,%s}",
                 bad[i]);
        expect("publish", body, "{\"error\":" BAD_REQUEST "}");
    }
    for (int n = 255; n <= 256; n++) {
        snprintf(body, sizeof(body),
                 "{\"channel\":\"hh:a\",\"data\":1,"
                 "\"idempotency_key\":\"%0*d\",\"version\":1,"
                 "\"version_epoch\":\"e\"}",
                 n, 0);
        expect("publish", body,
               n == 255 ? "{\"result\":{\"offset\":1,\"epoch\":\"@\"}}"
                        : "{\"error\":" BAD_REQUEST "}");
        snprintf(body, sizeof(body),
                 "{\"channel\":\"hh:a\",\"data\":1,\"version\":2,"
                 "\"version_epoch\":\"%0*d\"}",
                 n, 0);
        expect("publish", body,
               n == 255 ? "{\"result\":{\"offset\":2,\"epoch\":\"@\"}}"
                        : "{\"error\":" BAD_REQUEST "}");
    }
    expect("publish",
           "{\"channel\":\"hh:a\",\"data\":1,\"skip_history\":null,"
           "\"version\":null,\"idempotency_key\":null,"
           "\"version_epoch\":null}",
           "{\"result\":{\"offset\":3,\"epoch\":\"@\"}}");
}

/* --- subscribing somebody ----------------------------------------------------- */

static void test_recover_since(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    for (unsigned i = 1; i <= 2; i++)
        ask("publish", "{\"channel\":\"ff:a\",\"data\":1}");
    expect("subscribe",
           "{\"user\":\"\",\"channel\":\"ff:a\",\"recover_since\":{"
           "\"offset\":1}}",
           "{\"result\":{}}");
    assert_true(talk_next(t, &line));
    check(line, "ff:a",
          "{\"push\":{\"channel\":\"ff:a\",\"subscribe\":{"
          "\"recoverable\":true,\"positioned\":true,\"epoch\":\"@\","
          "\"recovered\":true,\"offset\":1,\"was_recovering\":true}}}");
    talk_expect(t, "{\"push\":{\"channel\":\"ff:a\",\"pub\":{\"data\":1,"
                   "\"offset\":2}}}\n");
    expect("subscribe",
           "{\"user\":\"\",\"channel\":\"ff:b\",\"recover_since\":{"
           "\"offset\":1,\"epoch\":\"aBcD\"}}",
           "{\"result\":{}}");
    assert_true(talk_next(t, &line));
    check(line, "ff:b",
          "{\"push\":{\"channel\":\"ff:b\",\"subscribe\":{"
          "\"recoverable\":true,\"positioned\":true,\"epoch\":\"@\","
          "\"was_recovering\":true}}}");
    static const char *const bad[] = {"1", "{\"offset\":-1}", "{\"epoch\":7}",
                                      "[]"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char body[128];
        snprintf(body, sizeof(body),
                 "{\"user\":\"\",\"channel\":\"ff:c\",\"recover_since\":%s}",
                 bad[i]);
        expect("subscribe", body, "{\"error\":" BAD_REQUEST "}");
    }
    expect("subscribe",
           "{\"channel\":\"ff:c\",\"recover_since\":{\"epoch\":\"x\"}}",
           "{\"error\":" BAD_REQUEST "}");
    talk_end(t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_limits),
        TEST(test_since),
        TEST(test_since_errors),
        TEST(test_wrong_types),
        TEST(test_who_may_read),
        TEST(test_leaves_before_answer),
        TEST(test_whole_publications),
        TEST(test_binary),
        TEST(test_remove),
        TEST(test_age),
        TEST(test_publish_without_history),
        TEST(test_idempotency_key),
        TEST(test_broadcast),
        TEST(test_version),
        TEST(test_bad_wishes),
        TEST(test_recover_since),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
