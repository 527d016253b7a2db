/* What of a stream a WebSocket client gets: what it asks for, what it may
 * have, how it is told, and what it is told when something is lost. */
#include "gateway/recover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/protocol/command.h"
#include "hub/fanout.h"
#include "tests/kit/talk.h"

/* force: always; allow: on request; none: history, and nobody may; reader: who
 * may read may recover; posit: positions only; forced: positions always; cache:
 * the newest; bin: binary. */
#define KEPT "\"history_size\":5,\"history_ttl\":\"1h\""
#define NAMESPACES                                                                   \
    "\"namespaces\":[{\"name\":\"force\",\"force_recovery\":true," KEPT SUB          \
    "},{\"name\":\"allow\",\"allow_recovery\":true,\"allow_positioning\":true," KEPT \
        SUB "},{\"name\":\"none\"," KEPT SUB "},"                                    \
    "{\"name\":\"reader\",\"allow_history_for_client\":true,"                        \
    "\"allow_history_for_anonymous\":true," KEPT SUB "},"                            \
    "{\"name\":\"posit\",\"allow_positioning\":true," KEPT SUB "},"                  \
    "{\"name\":\"forced\",\"force_positioning\":true," KEPT SUB "},"                 \
    "{\"name\":\"cache\",\"force_recovery\":true,"                                   \
    "\"force_recovery_mode\":\"cache\"," KEPT SUB "},"                               \
    "{\"name\":\"bin\",\"force_recovery\":true,"                                     \
    "\"publication_data_format\":\"binary\"," KEPT SUB "}]"
#define SUB                                 \
    ",\"allow_subscribe_for_client\":true," \
    "\"allow_subscribe_for_anonymous\":true"
#define CONFIG(client, http)                                                  \
    "{\"client\":{" client "\"allow_anonymous_connect_without_token\":true}," \
    "\"http_api\":{" http "\"insecure\":true},\"channel\":{"                  \
    "\"without_namespace\":{\"allow_patterns\":true" SUB "}," NAMESPACES "}}"

static struct gate gate;

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 1, CONFIG("\"queue_max_size\":4096,", ""));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gate_fini(&gate);
    return 0;
}

/* --- options ---------------------------------------------------------------- */

static struct subscribe_options options_of(const char *channel,
                                           const struct recover_request *r)
{
    struct rules_channel ch;
    struct subscribe_options o = {0};
    assert_int_equal(rules_channel(gate.app.config, str_of(channel),
                                   RULES_CONCRETE_OR_PATTERN, &ch),
                     0);
    recover_options(gate.app.config, &ch, STR_LIT(""), r, &o);
    return o;
}

static void test_options(void **state)
{
    (void)state;
    /* What is granted for: nothing, positioned, recoverable, recover. */
    static const struct {
        const char *channel;
        const char *grants[4]; /* p, r (recoverable), R (recovers) */
    } table[] = {
        {"force:a", {"pr", "pr", "pr", "prR"}},
        {"allow:a", {"", "p", "pr", "prR"}},
        {"none:a", {"", "", "", ""}},
        {"reader:a", {"", "p", "pr", "prR"}},
        {"posit:a", {"", "p", "", ""}},
        {"forced:a", {"p", "p", "p", "p"}},
        {"plain", {"", "", "", ""}},
        {"plain.*", {"", "", "", ""}},
    };
    static const struct recover_request requests[4] = {
        {.positioned = false},
        {.positioned = true},
        {.recoverable = true, .latest = LATEST_ALWAYS},
        {.recover = true, .latest = LATEST_IF_LOST},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (size_t k = 0; k < 4; k++) {
            struct subscribe_options o =
                options_of(table[i].channel, &requests[k]);
            const char *want = table[i].grants[k];
            char got[4];
            snprintf(got, sizeof(got), "%s%s%s", o.wish.positioned ? "p" : "",
                     o.recoverable ? "r" : "", o.wish.recover ? "R" : "");
            if (strcmp(got, want) != 0)
                fail_msg("%s %zu: %s, not %s", table[i].channel, k, got, want);
            assert_int_equal(o.wish.latest,
                             o.recoverable ? requests[k].latest : LATEST_NEVER);
        }
    }
}

static void test_insecure(void **state)
{
    (void)state;
    struct recover_request r = {.recover = true};
    gate_fini(&gate);
    gate_init(&gate, 1, CONFIG("\"insecure\":true,", ""));
    assert_true(options_of("none:a", &r).wish.recover);
    assert_true(options_of("posit:a", &r).wish.recover);
    /* There is nothing to recover from. */
    assert_false(options_of("plain", &r).wish.recover);
}

static void test_epochs(void **state)
{
    (void)state;
    uint64_t epoch = 7;
    bool foreign = true;
    char text[8];
    recover_epoch(STR_LIT(""), &epoch, &foreign);
    assert_false(foreign);
    assert_int_equal(epoch, 0);
    position_epoch_format(12345, text);
    recover_epoch(str_n(text, 8), &epoch, &foreign);
    assert_false(foreign);
    assert_int_equal(epoch, 12345);
    static const char *const bad[] = {"aBcD", "123456789", "........",
                                      "AAAAAAAA"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        recover_epoch(str_of(bad[i]), &epoch, &foreign);
        assert_true(foreign);
        assert_int_equal(epoch, 0);
    }
    struct recover_request r = {
        .recover = true, .offset = 9, .epoch = str_n(text, 8)};
    struct subscribe_options o = options_of("force:a", &r);
    assert_int_equal(o.wish.since.offset, 9);
    assert_int_equal(o.wish.since.epoch, 12345);
    assert_false(o.reject);
}

/* --- subscribing ------------------------------------------------------------ */

static struct talk *open_one(void)
{
    struct talk *t = talk_open(gate.loops[0]);
    talk_connect(t);
    return t;
}

/* Through the API's way: with the namespace's policies. */
static void publish_text(const char *channel, const char *data)
{
    struct gate_peer p;
    struct gate_answer a;
    struct buf b = BUF_INIT;
    struct buf body = BUF_INIT;
    buf_printf(&body, "{\"channel\":\"%s\",%s}", channel, data);
    buf_printf(&b,
               "POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: "
               "%zu\r\n\r\n%.*s",
               body.n, STR_ARG(buf_view(&body)));
    gate_open(&gate, 0, &p);
    assert_true(gate_send(&p, buf_view(&b)));
    gate_read(&p);
    assert_true(gate_next_answer(&p, false, &a));
    if (memmem(a.body.p, a.body.n, "error", 5))
        fail_msg("%.*s", STR_ARG(a.body));
    gate_close(&p);
    gate_settle(&gate);
    buf_free(&b);
    buf_free(&body);
}

static void publish(const char *channel, unsigned from, unsigned to)
{
    for (; from <= to; from++) {
        char data[32];
        snprintf(data, sizeof(data), "\"data\":%u", from);
        publish_text(channel, data);
    }
}

static const char *epoch_of(const char *channel)
{
    static char text[9];
    struct history_stream *s =
        history_find(&gate.loops[0]->shard->home.history, str_of(channel),
                     msg_channel_hash(str_of(channel)), 0);
    assert_non_null(s);
    position_epoch_format(s->epoch, text);
    return text;
}

/* Subscribe (command 9) and look at the reply. `fields` begin with a comma. */
static void subscribe(struct talk *t, const char *channel, const char *fields,
                      const char *want)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "{\"subscribe\":{\"channel\":\"%s\"%s},\"id\":9}", channel,
               fields);
    buf_char(&b, '\0');
    talk_say(t, b.p);
    buf_clear(&b);
    buf_printf(&b, "{\"id\":9,%s}\n", want);
    buf_char(&b, '\0');
    talk_expect(t, b.p);
    buf_free(&b);
}

static void unsubscribe(struct talk *t, const char *channel)
{
    struct str line;
    talk_say(t, talk_text("{\"unsubscribe\":{\"channel\":\"%s\"},\"id\":10}",
                          channel));
    assert_true(talk_next(t, &line));
}

static void test_fresh(void **state)
{
    (void)state;
    struct talk *t = open_one();
    publish("force:a", 1, 2);
    char want[256];
    snprintf(want, sizeof(want),
             "\"subscribe\":{\"recoverable\":true,\"positioned\":true,"
             "\"epoch\":\"%s\",\"offset\":2}",
             epoch_of("force:a"));
    subscribe(t, "force:a", "", want);
    publish("force:a", 3, 3);
    talk_expect(t, "{\"push\":{\"channel\":\"force:a\",\"pub\":{\"data\":3,"
                   "\"offset\":3}}}\n");
    publish("forced:a", 1, 1);
    snprintf(want, sizeof(want),
             "\"subscribe\":{\"positioned\":true,\"epoch\":\"%s\","
             "\"offset\":1}",
             epoch_of("forced:a"));
    subscribe(t, "forced:a", "", want);
    subscribe(t, "none:a", ",\"recover\":true", "\"subscribe\":{}");
    talk_end(t);
}

/* The first publication of a stream names its epoch. */
static void test_empty(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    talk_say(t, "{\"subscribe\":{\"channel\":\"force:a\"},\"id\":2}");
    assert_true(talk_next(t, &line));
    assert_null(memmem(line.p, line.n, "offset", 6));
    publish("force:a", 1, 1);
    char want[256];
    snprintf(want, sizeof(want),
             "{\"push\":{\"channel\":\"force:a\",\"pub\":{\"data\":1,"
             "\"offset\":1,\"epoch\":\"%s\"}}}\n",
             epoch_of("force:a"));
    talk_expect(t, want);
    talk_end(t);
}

#define RECOVERED                                                               \
    "\"subscribe\":{\"recoverable\":true,\"positioned\":true,\"epoch\":\"%s\"," \
    "\"recovered\":true,%s\"was_recovering\":true%s}"
#define LOST                                                                    \
    "\"subscribe\":{\"recoverable\":true,\"positioned\":true,\"epoch\":\"%s\"," \
    "\"offset\":%d,\"was_recovering\":true}"

static void test_recovery(void **state)
{
    (void)state;
    struct talk *t = open_one();
    char want[512];
    char fields[128];
    publish("force:a", 1, 7); /* 3 to 7 are kept */
    const char *epoch = epoch_of("force:a");
    snprintf(fields, sizeof(fields),
             ",\"recover\":true,\"offset\":5,\"epoch\":\"%s\"", epoch);
    snprintf(want, sizeof(want), RECOVERED, epoch, "\"offset\":5,",
             ",\"publications\":[{\"data\":6,\"offset\":6},"
             "{\"data\":7,\"offset\":7}]");
    subscribe(t, "force:a", fields, want);
    unsubscribe(t, "force:a");
    /* Nothing was missed. */
    snprintf(fields, sizeof(fields),
             ",\"recover\":true,\"offset\":7,\"epoch\":\"%s\"", epoch);
    snprintf(want, sizeof(want), RECOVERED, epoch, "\"offset\":7,", "");
    subscribe(t, "force:a", fields, want);
    unsubscribe(t, "force:a");
    /* Too old, from the future, of another stream. */
    static const char *const lost[] = {
        ",\"recover\":true,\"offset\":1",
        ",\"recover\":true",
        ",\"recover\":true,\"offset\":8",
        ",\"recover\":true,\"offset\":18446744073709551615",
        ",\"recover\":true,\"offset\":7,\"epoch\":\"aBcD\"",
        ",\"recover\":true,\"offset\":7,\"epoch\":\"AAAAAAAB\"",
    };
    snprintf(want, sizeof(want), LOST, epoch, 7);
    for (size_t i = 0; i < ARRAY_LEN(lost); i++) {
        subscribe(t, "force:a", lost[i], want);
        unsubscribe(t, "force:a");
    }
    const struct stats *st = &gate.loops[0]->shard->stats;
    assert_int_equal(st->recovered, 2);
    assert_int_equal(st->recovered_pubs, 2);
    assert_int_equal(st->recover_foreign, 2);
    assert_int_equal(st->recover_too_old, 4);
    talk_end(t);
}

static void test_cache(void **state)
{
    (void)state;
    struct talk *t = open_one();
    char want[512];
    publish("cache:a", 1, 3);
    snprintf(want, sizeof(want), RECOVERED, epoch_of("cache:a"), "",
             ",\"publications\":[{\"data\":3,\"offset\":3}]");
    subscribe(t, "cache:a", ",\"recover\":true", want);
    talk_end(t);
}

#define UNRECOVERABLE \
    "\"error\":{\"code\":112,\"message\":\"unrecoverable position\"}"

static void test_reject(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    publish("force:a", 1, 7);
    for (int flag = 2; flag <= 3; flag++) {
        char fields[64];
        snprintf(fields, sizeof(fields),
                 ",\"recover\":true,\"offset\":1,\"flag\":%d", flag);
        subscribe(t, "force:a", fields, UNRECOVERABLE);
    }
    /* It is not subscribed. */
    publish("force:a", 8, 8);
    assert_false(talk_next(t, &line));
    assert_int_equal(gate.loops[0]->shard->sub_count, 0);
    /* What can be recovered is; who does not recover is not refused. */
    talk_say(t, "{\"subscribe\":{\"channel\":\"force:a\",\"recover\":true,"
                "\"offset\":8,\"flag\":2},\"id\":3}");
    assert_true(talk_next(t, &line));
    assert_non_null(memmem(line.p, line.n, "\"recovered\":true", 16));
    talk_say(t, "{\"subscribe\":{\"channel\":\"force:b\",\"flag\":2},"
                "\"id\":4}");
    assert_true(talk_next(t, &line));
    assert_null(memmem(line.p, line.n, "error", 5));
    talk_end(t);
}

/* --- room ------------------------------------------------------------------- */

static void publish_large(const char *channel, unsigned count)
{
    char data[1100];
    snprintf(data, sizeof(data), "\"data\":\"%*s\"", 700, "");
    while (count--)
        publish_text(channel, data);
}

/* All that was missed fits, but not with what waits already: later. */
static void test_no_room_now(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    publish_large("force:a", 2);
    publish_large("force:b", 2);
    publish_large("force:c", 2);
    talk_say(t, "{\"subscribe\":{\"channel\":\"force:a\",\"recover\":true},"
                "\"id\":2}\n"
                "{\"subscribe\":{\"channel\":\"force:b\",\"recover\":true},"
                "\"id\":3}\n"
                "{\"subscribe\":{\"channel\":\"force:c\",\"recover\":true},"
                "\"id\":4}");
    assert_true(talk_next(t, &line));
    assert_non_null(memmem(line.p, line.n, "\"recovered\":true", 16));
    assert_true(talk_next(t, &line));
    assert_non_null(memmem(line.p, line.n, "\"recovered\":true", 16));
    assert_true(talk_next(t, &line));
    assert_true(str_eq(line, STR_LIT("{\"id\":4,\"error\":{\"code\":111,"
                                     "\"message\":\"too many requests\","
                                     "\"temporary\":true}}")));
    talk_say(t, "{\"subscribe\":{\"channel\":\"force:c\",\"recover\":true},"
                "\"id\":5}");
    assert_true(talk_next(t, &line));
    assert_non_null(memmem(line.p, line.n, "\"recovered\":true", 16));
    assert_false(talk_next(t, &line));
    assert_int_equal(gate.loops[0]->shard->sub_count, 3);
    talk_end(t);
}

/* --- losses ------------------------------------------------------------------ */

/* The stream is given up, as for history.max_bytes. */
static void give_up(const char *channel)
{
    struct shard *s = gate.loops[0]->shard;
    struct history *h = &s->home.history;
    struct history_stream *stream = history_find(
        h, str_of(channel), msg_channel_hash(str_of(channel)), shard_now_ms(s));
    assert_non_null(stream);
    h->forgotten(h->arg, stream);
    history_drop(h, stream);
}

static void test_loss(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    publish("force:a", 1, 1);
    char epoch[9];
    snprintf(epoch, sizeof(epoch), "%s", epoch_of("force:a"));
    talk_say(t, "{\"subscribe\":{\"channel\":\"force:a\"},\"id\":2}\n"
                "{\"subscribe\":{\"channel\":\"none:a\"},\"id\":3}");
    assert_true(talk_next(t, &line) && talk_next(t, &line));
    give_up("force:a");
    /* Of the new stream it gets nothing before it was told. */
    publish("force:a", 2, 2);
    publish("none:a", 1, 1);
    talk_expect(t, talk_text("{\"push\":{\"channel\":\"none:a\",\"pub\":{"
                             "\"data\":1,\"offset\":1,\"epoch\":\"%s\"}}}\n",
                             epoch_of("none:a")));
    gate_pass(&gate, 5100); /* history.heal_spread */
    talk_expect(t, "{\"push\":{\"channel\":\"force:a\",\"unsubscribe\":{"
                   "\"code\":2500,\"reason\":\"insufficient state\"}}}\n");
    char want[256];
    char fields[128];
    snprintf(fields, sizeof(fields),
             ",\"recover\":true,\"offset\":1,\"epoch\":\"%s\"", epoch);
    snprintf(want, sizeof(want), LOST, epoch_of("force:a"), 1);
    subscribe(t, "force:a", fields, want);
    assert_int_equal(gate.loops[0]->shard->stats.subs_lost, 1);
    talk_end(t);
}

/* It cannot subscribe by itself to what the server subscribed it to. */
static void test_loss_of_servers(void **state)
{
    (void)state;
    struct talk *t = open_one();
    struct str line;
    publish("force:a", 1, 2);
    struct recover_request since = {.recover = true, .offset = 1};
    assert_int_equal(
        session_server_subscribe(&t->session, STR_LIT("force:a"), &since), 0);
    char want[512];
    snprintf(want, sizeof(want),
             "{\"push\":{\"channel\":\"force:a\",\"subscribe\":{"
             "\"recoverable\":true,\"positioned\":true,\"epoch\":\"%s\","
             "\"recovered\":true,\"offset\":1,\"was_recovering\":true}}}\n"
             "{\"push\":{\"channel\":\"force:a\",\"pub\":{\"data\":2,"
             "\"offset\":2}}}\n",
             epoch_of("force:a"));
    talk_expect(t, want);
    give_up("force:a");
    assert_false(talk_next(t, &line));
    gate_pass(&gate, 5100);
    talk_expect_close(t, 3010, "insufficient state");
    talk_end(t);
}

static void test_binary(void **state)
{
    (void)state;
    struct talk *t = open_one();
    publish_text("bin:a", "\"b64data\":\"/w==\"");
    talk_say(t, "{\"subscribe\":{\"channel\":\"bin:a\",\"recover\":true},"
                "\"id\":2}");
    talk_expect_close(t, 3506, "inappropriate protocol");
    talk_end(t);
}

/* --- connect ------------------------------------------------------------------ */

static void test_connect(void **state)
{
    (void)state;
    struct talk *t = talk_open(gate.loops[0]);
    struct str line;
    publish("allow:a", 1, 3);
    talk_say(t, talk_text("{\"connect\":{\"subs\":{\"allow:a\":{"
                          "\"recover\":true,\"offset\":2,\"epoch\":\"%s\"},"
                          "\"allow:b\":{},\"none:a\":{\"recover\":true}}},"
                          "\"id\":1}",
                          epoch_of("allow:a")));
    assert_true(talk_next(t, &line));
    char want[512];
    snprintf(want, sizeof(want),
             "\"subs\":{\"allow:a\":{\"recoverable\":true,"
             "\"positioned\":true,\"epoch\":\"%s\",\"recovered\":true,"
             "\"offset\":2,\"was_recovering\":true,\"publications\":["
             "{\"data\":3,\"offset\":3}]},\"allow:b\":{},\"none:a\":{}}",
             epoch_of("allow:a"));
    if (!memmem(line.p, line.n, want, strlen(want)))
        fail_msg("%.*s, not %s", STR_ARG(line), want);
    talk_end(t);
}

/* Many at once: what does not fit any more begins anew, since the client
 * cannot ask for it again. */
static void test_connect_without_room(void **state)
{
    (void)state;
    struct talk *t = talk_open(gate.loops[0]);
    struct str line;
    publish_large("allow:a", 2);
    publish_large("allow:b", 2);
    publish_large("allow:c", 2);
    talk_say(t, "{\"connect\":{\"subs\":{\"allow:a\":{\"recover\":true},"
                "\"allow:b\":{\"recover\":true},"
                "\"allow:c\":{\"recover\":true}}},\"id\":1}");
    assert_true(talk_next(t, &line));
    const char *at = memmem(line.p, line.n, "\"allow:c\":", 10);
    assert_non_null(at);
    struct str last = str_n(at, (size_t)(line.p + line.n - at));
    assert_null(memmem(last.p, last.n, "\"recovered\"", 11));
    assert_non_null(memmem(last.p, last.n, "\"offset\":2", 10));
    assert_non_null(memmem(last.p, last.n, "\"was_recovering\":true", 21));
    assert_int_equal(gate.loops[0]->shard->stats.recovered, 2);
    assert_int_equal(gate.loops[0]->shard->stats.recover_too_old, 1);
    /* Nor does it come as if it were new. */
    assert_false(talk_next(t, &line));
    talk_end(t);
}

/* --- wrong types ---------------------------------------------------------------- */

static void test_wrong_types(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"recover\":1",
        "\"recover\":\"true\"",
        "\"recoverable\":\"x\"",
        "\"positioned\":[]",
        "\"offset\":-1",
        "\"offset\":\"1\"",
        "\"offset\":1.5",
        "\"offset\":18446744073709551616",
        "\"epoch\":1",
        "\"epoch\":{}",
        "\"flag\":\"2\"",
        "\"flag\":9223372036854775808",
        "\"limit\":2147483648",
        "\"limit\":-2147483649",
        "\"limit\":\"1\"",
        "\"reverse\":0",
        "\"since\":5",
        "\"since\":{\"offset\":-1}",
        "\"since\":{\"offset\":18446744073709551616}",
        "\"since\":{\"epoch\":7}",
    };
    static const char *const commands[] = {"subscribe", "history"};
    for (size_t i = 0; i < 2 * ARRAY_LEN(bad); i++) {
        struct talk *t = open_one();
        talk_say(t, talk_text("{\"%s\":{\"channel\":\"force:a\",%s},\"id\":2}",
                              commands[i & 1], bad[i / 2]));
        gate_settle(&gate);
        if (t->closes != 1)
            fail_msg("%s %s", commands[i & 1], bad[i / 2]);
        talk_expect_close(t, 3501, "bad request");
        talk_end(t);
    }
}

static int fields_of(const char *json, struct command_fields *f)
{
    struct json_value v;
    struct buf strings = BUF_INIT;
    assert_int_equal(json_parse(str_of(json), &v), 0);
    int rc = command_fields(v, &strings, f);
    buf_free(&strings);
    return rc;
}

static void test_limits_of_integers(void **state)
{
    (void)state;
    struct command_fields f;
    assert_int_equal(fields_of("{\"offset\":18446744073709551615,"
                               "\"flag\":9223372036854775807,"
                               "\"limit\":2147483647}",
                               &f),
                     0);
    assert_true(f.offset == UINT64_MAX && f.flag == INT64_MAX &&
                f.limit == INT32_MAX && !f.has_since);
    assert_int_equal(fields_of("{\"flag\":-9223372036854775808,"
                               "\"limit\":-2147483648,\"since\":{"
                               "\"offset\":18446744073709551615}}",
                               &f),
                     0);
    assert_true(f.offset == UINT64_MAX && f.flag == INT64_MIN &&
                f.limit == INT32_MIN && f.has_since && f.epoch.n == 0);
    /* null is like absent. */
    assert_int_equal(fields_of("{\"offset\":null,\"epoch\":null,\"flag\":null,"
                               "\"limit\":null,\"recover\":null,"
                               "\"reverse\":null,\"since\":null}",
                               &f),
                     0);
    assert_true(!f.offset && !f.flag && !f.limit && !f.recover && !f.has_since);
    assert_int_equal(
        fields_of("{\"since\":{\"offset\":null,\"epoch\":null}}", &f), 0);
    assert_true(f.has_since && f.offset == 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_options),         TEST(test_insecure),
        TEST(test_epochs),          TEST(test_fresh),
        TEST(test_empty),           TEST(test_recovery),
        TEST(test_cache),           TEST(test_reject),
        TEST(test_no_room_now),     TEST(test_loss),
        TEST(test_loss_of_servers), TEST(test_binary),
        TEST(test_connect),         TEST(test_connect_without_room),
        TEST(test_wrong_types),     TEST(test_limits_of_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
