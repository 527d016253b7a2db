/* Where an event stream goes on: ids, resets, what is told when it cannot.
 * Random lives are in sse_resume_random_test.c. */
#include "gateway/transport/sse_conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/fanout.h"
#include "hub/hub.h"
#include "tests/kit/events.h"
#include "tests/kit/still.h"
#include "tests/kit/stream.h"
#include "tests/kit/talker.h"

/* hh: three publications are kept; qq: newest by /s; pp: positions without
 * recovery; gg: plain, and gaps are told; bb: binary. */
#define OPEN                               \
    "\"allow_subscribe_for_client\":true," \
    "\"allow_subscribe_for_anonymous\":true"
#define KEPT "\"history_size\":3,\"history_ttl\":\"1h\",\"force_recovery\":true"
#define CONFIG(queue)                                                        \
    "{\"client\":{\"allow_anonymous_connect_without_token\":true,"           \
    "\"queue_max_size\":" queue "},"                                         \
    "\"sse\":{\"ping_interval\":\"24h\"},\"http_api\":{\"insecure\":true},"  \
    "\"channel\":{\"without_namespace\":{" OPEN ",\"allow_patterns\":true}," \
    "\"namespaces\":[{\"name\":\"hh\"," OPEN "," KEPT "},"                   \
    "{\"name\":\"qq\"," OPEN "," KEPT ",\"throttle\":{\"mode\":\"latest\","  \
    "\"key\":\"/s\",\"rate\":20}},"                                          \
    "{\"name\":\"pp\"," OPEN ",\"history_size\":3,\"history_ttl\":\"1h\","   \
    "\"force_positioning\":true},"                                           \
    "{\"name\":\"gg\"," OPEN ",\"tell_gaps\":true},"                         \
    "{\"name\":\"bb\"," OPEN "," KEPT                                        \
    ",\"publication_data_format\":\"binary\"},"                              \
    "{\"name\":\"cc\"," OPEN "," KEPT                                        \
    ",\"force_recovery_mode\":\"cache\",\"auto_cache_recover\":true,"        \
    "\"throttle\":{\"mode\":\"latest\",\"key\":\"/s\",\"rate\":20}}]}}"

static struct gate gate;

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 2, CONFIG("8192"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gate_fini(&gate);
    return 0;
}

static void publish_body(const char *body)
{
    struct gate_peer p;
    struct gate_answer a;
    stream_request(&gate, &p, 1, "POST /api/publish", "", body);
    assert_int_equal(stream_take_answer(&p, &a), 200);
    assert_null(memmem(a.body.p, a.body.n, "error", 5));
    stream_end(&p);
}

static void publish(const char *channel, const char *data)
{
    char body[4096];
    int n = snprintf(body, sizeof(body), "{\"channel\":\"%s\",\"data\":%s}",
                     channel, data);
    assert_in_range(n, 1, sizeof(body) - 1);
    publish_body(body);
}

/* The epoch of a channel's stream. */
static const char *epoch_of(const char *channel)
{
    static char texts[4][9];
    static unsigned next;
    static const char mark[] = "\"epoch\":\"";
    struct gate_peer p;
    struct gate_answer a;
    char *text = texts[next++ % 4];
    char body[64];
    snprintf(body, sizeof(body), "{\"channel\":\"%s\"}", channel);
    stream_request(&gate, &p, 1, "POST /api/history", "", body);
    assert_int_equal(stream_take_answer(&p, &a), 200);
    const char *at = memmem(a.body.p, a.body.n, mark, strlen(mark));
    assert_non_null(at);
    snprintf(text, 9, "%.8s", at + strlen(mark));
    stream_end(&p);
    return text;
}

static const char *text_of(const char *fmt, ...) PRINTF_LIKE(1, 2);
static const char *text_of(const char *fmt, ...)
{
    static char text[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    assert_in_range(n, 0, sizeof(text) - 1);
    return text;
}

/* The session event has this id and says that these resume. */
static void expect_session(struct talker *t, const char *id, const char *resume)
{
    struct events_event e;
    assert_true(talker_next(t, &e));
    assert_true(str_eq(e.kind, STR_LIT("session")));
    if (!str_eq(e.id, str_of(id ? id : "")))
        fail_msg("id %.*s, not %s", STR_ARG(e.id), id);
    const char *want = text_of("},\"resume\":[%s]}", resume);
    size_t n = strlen(want);
    assert_true(e.data.n > n);
    if (memcmp(e.data.p + e.data.n - n, want, n) != 0)
        fail_msg("%.*s, not %s", STR_ARG(e.data), want);
}

static void end(struct talker *t)
{
    stream_end(&t->peer);
}

#define DATA(channel, data) "{\"channel\":\"" channel "\",\"data\":" data "}"

/* --- one channel ------------------------------------------------------------ */

static void test_one(void **state)
{
    (void)state;
    struct talker t;
    const char *epoch = epoch_of("hh:a");
    char id[32];
    assert_int_equal(talker_open(&gate, &t, "channel=hh:a", NULL), 200);
    snprintf(id, sizeof(id), "%s:0", epoch);
    expect_session(&t, id, "\"hh:a\"");
    publish("hh:a", "1");
    publish("hh:a", "2");
    snprintf(id, sizeof(id), "%s:1", epoch);
    talker_expect(&t, "", id, DATA("hh:a", "1"));
    snprintf(id, sizeof(id), "%s:2", epoch);
    talker_expect(&t, "", id, DATA("hh:a", "2"));
    end(&t);
    publish("hh:a", "3");
    publish_body("{\"channel\":\"hh:a\",\"data\":0,\"skip_history\":true}");
    /* The header and the query say the same. */
    for (unsigned i = 0; i < 2; i++) {
        const char *query =
            i ? text_of("channel=hh:a&raw=1&last_event_id=%s:2", epoch)
              : "channel=hh:a&raw=1";
        assert_int_equal(talker_open(&gate, &t, query, i ? NULL : id), 200);
        expect_session(&t, id, "\"hh:a\"");
        talker_expect(&t, "", text_of("%s:3", epoch), "3");
        talker_expect_nothing(&t);
        end(&t);
    }
    /* What the browser says is newer than its URL. */
    assert_int_equal(
        talker_open(&gate, &t,
                    text_of("channel=hh:a&last_event_id=%s:0", epoch), id),
        200);
    expect_session(&t, id, "\"hh:a\"");
    talker_expect(&t, "", text_of("%s:3", epoch), DATA("hh:a", "3"));
    talker_expect_nothing(&t);
    end(&t);
}

/* A publication without a place in the stream has no id. */
static void test_no_place(void **state)
{
    (void)state;
    struct talker t;
    const char *epoch = epoch_of("hh:a");
    assert_int_equal(talker_open(&gate, &t, "channel=hh:a&channel=a", NULL),
                     200);
    expect_session(&t, text_of("%s:0", epoch), "\"hh:a\"");
    publish_body("{\"channel\":\"hh:a\",\"data\":0,\"skip_history\":true}");
    publish("a", "1");
    publish("hh:a", "2");
    talker_expect(&t, "", NULL, DATA("hh:a", "0"));
    talker_expect(&t, "", NULL, DATA("a", "1"));
    talker_expect(&t, "", text_of("%s:1", epoch), DATA("hh:a", "2"));
    end(&t);
}

/* Regression: other channels' offsets are not this one's. */
static void test_beside_positions(void **state)
{
    (void)state;
    struct talker t;
    const char *epoch = epoch_of("hh:a");
    assert_int_equal(talker_open(&gate, &t, "channel=hh:a&channel=pp:a", NULL),
                     200);
    expect_session(&t, text_of("%s:0", epoch), "\"hh:a\"");
    publish("pp:a", "1");
    publish("hh:a", "2");
    publish("pp:a", "3");
    publish("pp:a", "4");
    /* Those of pp say where hh:a stands, since they are told positions. */
    talker_expect(&t, "", text_of("%s:0", epoch), DATA("pp:a", "1"));
    talker_expect(&t, "", text_of("%s:1", epoch), DATA("hh:a", "2"));
    talker_expect(&t, "", text_of("%s:1", epoch), DATA("pp:a", "3"));
    talker_expect(&t, "", text_of("%s:1", epoch), DATA("pp:a", "4"));
    end(&t);
    /* Alone it has nothing to go on from. */
    assert_int_equal(talker_open(&gate, &t, "channel=pp:a", NULL), 200);
    expect_session(&t, NULL, "");
    publish("pp:a", "5");
    talker_expect(&t, "", NULL, DATA("pp:a", "5"));
    end(&t);
}

static void test_pattern(void **state)
{
    (void)state;
    struct talker t;
    assert_int_equal(talker_open(&gate, &t, "channel=b.*", "AAAAAAAA:1"), 200);
    expect_session(&t, NULL, "");
    publish("b.c", "1");
    talker_expect(&t, "", NULL, DATA("b.c", "1"));
    end(&t);
}

/* --- resets ----------------------------------------------------------------- */

static void expect_reset(const char *query, const char *id, const char *data)
{
    struct talker t;
    struct events_event e;
    assert_int_equal(talker_open(&gate, &t, query, id), 200);
    assert_true(talker_next(&t, &e));
    assert_true(str_eq(e.kind, STR_LIT("session")));
    talker_expect(&t, "reset", NULL, data);
    talker_expect(&t, "", text_of("%s:4", epoch_of("hh:a")), DATA("hh:a", "4"));
    talker_expect_nothing(&t);
    end(&t);
}

static void test_resets(void **state)
{
    (void)state;
    static const char *const garbage[] = {
        "x",   "AAAAAAAB",    "AAAAAAAB:01", "AAAAAAAB:99999999999999999999",
        "~AA", "~AgECAwQFBg", ":",           "-1"};
    for (unsigned i = 1; i <= 4; i++)
        publish("hh:a", text_of("%u", i));
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++)
        expect_reset("channel=hh:a", garbage[i],
                     "{\"channels\":[\"hh:a\"],\"reason\":\"unknown_id\"}");
    expect_reset("channel=hh:a", "AAAAAAAB:3",
                 "{\"channels\":[\"hh:a\"],\"reason\":\"foreign\"}");
    char id[32];
    snprintf(id, sizeof(id), "%s:0", epoch_of("hh:a"));
    expect_reset("channel=hh:a", id,
                 "{\"channels\":[\"hh:a\"],\"reason\":\"too_old\"}");
    /* From the future. */
    snprintf(id, sizeof(id), "%s:5", epoch_of("hh:a"));
    expect_reset("channel=hh:a", id,
                 "{\"channels\":[\"hh:a\"],\"reason\":\"too_old\"}");
    const struct stats *st = &gate.loops[0]->shard->stats;
    assert_int_equal(st->recover_unknown, ARRAY_LEN(garbage));
    assert_int_equal(st->recover_foreign, 1);
    assert_int_equal(st->recover_too_old, 2);
    assert_int_equal(st->recovered, 0);
}

/* An id of one channel says nothing of two, and each has its own reason. */
static void test_resets_of_several(void **state)
{
    (void)state;
    struct talker t;
    struct events_event e;
    struct buf id = BUF_INIT;
    struct event_id_entry entries[] = {
        {event_id_name(STR_LIT("hh:a")), {1, 1}},
        {event_id_name(STR_LIT("hh:b")), {0, 0}},
    };
    for (unsigned i = 1; i <= 5; i++)
        publish("hh:b", text_of("%u", i));
    publish("hh:a", "1");
    assert_int_equal(position_epoch_parse(str_of(epoch_of("hh:b")),
                                          &entries[1].position.epoch),
                     0);
    assert_int_equal(event_id_add_many(&id, entries, 2), 0);
    buf_char(&id, '\0');
    assert_int_equal(talker_open(&gate, &t,
                                 "channel=hh:a&channel=hh:b&channel=hh:c&raw=1",
                                 id.p),
                     200);
    assert_true(talker_next(&t, &e));
    talker_expect(&t, "reset", NULL,
                  "{\"channels\":[\"hh:c\"],\"reason\":\"unknown_id\"}");
    talker_expect(&t, "reset", NULL,
                  "{\"channels\":[\"hh:a\"],\"reason\":\"foreign\"}");
    talker_expect(&t, "reset", NULL,
                  "{\"channels\":[\"hh:b\"],\"reason\":\"too_old\"}");
    assert_true(talker_next(&t, &e) && str_eq(e.data, STR_LIT("1")));
    assert_true(talker_next(&t, &e) && str_eq(e.data, STR_LIT("5")));
    talker_expect_nothing(&t);
    end(&t);
    buf_free(&id);
}

/* --- the newest ------------------------------------------------------------- */

static void test_latest(void **state)
{
    (void)state;
    struct talker t;
    struct events_event e;
    publish("hh:a", "1");
    publish("hh:a", "2");
    publish("qq:a", "{\"s\":1,\"n\":1}");
    publish("qq:a", "{\"s\":2,\"n\":2}");
    publish("qq:a", "{\"s\":1,\"n\":3}");
    /* Without an id, with one, and with nonsense: no reset but for that. */
    const char *ids[] = {NULL, text_of("%s:1", epoch_of("hh:a")), "x"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        assert_int_equal(
            talker_open(&gate, &t, "channel=hh:a&resume=latest", ids[i]), 200);
        assert_true(talker_next(&t, &e));
        if (i == 2)
            talker_expect(&t, "reset", NULL, NULL);
        talker_expect(&t, "", text_of("%s:2", epoch_of("hh:a")),
                      DATA("hh:a", "2"));
        talker_expect_nothing(&t);
        end(&t);
    }
    assert_int_equal(
        talker_open(&gate, &t, "channel=qq:a&resume=latest&raw=1", NULL), 200);
    assert_true(talker_next(&t, &e));
    const char *epoch = epoch_of("qq:a");
    talker_expect(&t, "", text_of("%s:2", epoch), "{\"s\":2,\"n\":2}");
    talker_expect(&t, "", text_of("%s:3", epoch), "{\"s\":1,\"n\":3}");
    end(&t);
    assert_int_equal(talker_open(&gate, &t, "channel=qq:a&resume=all", NULL),
                     400);
    end(&t);
}

/* --- bounds ------------------------------------------------------------------ */

static void put_many(char *query, size_t size, unsigned n)
{
    size_t at = 0;
    for (unsigned i = 0; i < n; i++)
        at += (size_t)snprintf(query + at, size - at, "%schannel=hh:c%u",
                               i ? "&" : "", i);
}

/* A recovery in cache mode brings the newest: not twice, however it is asked
 * for. */
static void test_latest_of_cache(void **state)
{
    (void)state;
    struct talker t;
    struct events_event e;
    static const char *const ids[] = {NULL, "x", ":1"};
    const char *epoch = epoch_of("cc:a");
    publish("cc:a", "{\"s\":1}");
    publish("cc:a", "{\"s\":2}");
    publish("cc:a", "{\"s\":3}");
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        const char *id = i == 2 ? text_of("%s:1", epoch) : ids[i];
        assert_int_equal(
            talker_open(&gate, &t, "channel=cc:a&resume=latest", id), 200);
        assert_true(talker_next(&t, &e));
        for (int n = 1; n <= 3; n++) {
            assert_true(talker_next(&t, &e));
            while (str_eq(e.kind, STR_LIT("reset")))
                assert_true(talker_next(&t, &e));
            assert_non_null(
                memmem(e.data.p, e.data.n, text_of("{\"s\":%d}", n), 7));
        }
        talker_expect_nothing(&t);
        end(&t);
    }
}

static void test_most_channels(void **state)
{
    (void)state;
    static char query[1400];
    struct talker t;
    struct events_event e;
    struct event_id id;
    struct str name;
    put_many(query, sizeof(query), 32);
    assert_int_equal(talker_open(&gate, &t, query, NULL), 200);
    assert_true(talker_next(&t, &e));
    assert_int_equal(event_id_parse(e.id, &id), 0);
    assert_int_equal(id.count, 32);
    /* Plain ones do not count; one more by POST is one too many. */
    static const char mark[] = "\"session\":\"";
    const char *at = memmem(e.data.p, e.data.n, mark, strlen(mark));
    name = str_n(at + strlen(mark), 71);
    char session[80];
    snprintf(session, sizeof(session), "%.*s", STR_ARG(name));
    struct gate_peer p;
    struct gate_answer a;
    stream_begin_post(&gate, &p, 0, session,
                      "{\"channels\":{\"hh:x\":{},\"plain\":{}}}");
    assert_int_equal(stream_take_answer(&p, &a), 200);
    assert_non_null(memmem(a.body.p, a.body.n,
                           "\"errors\":{\"hh:x\":{\"code\":106",
                           strlen("\"errors\":{\"hh:x\":{\"code\":106")));
    assert_non_null(memmem(a.body.p, a.body.n, "\"plain\":{", 9));
    stream_end(&p);
    end(&t);
    put_many(query, sizeof(query), 33);
    assert_int_equal(talker_open(&gate, &t, query, NULL), 400);
    end(&t);
}

/* What does not fit into half of the queue with the others follows. */
static void test_latest_of_large(void **state)
{
    (void)state;
    static const char *const ids[] = {NULL, "x"};
    static char data[2400];
    struct talker t;
    struct events_event e;
    memset(data, '1', sizeof(data) - 1);
    publish("hh:a", data);
    publish("hh:b", data);
    publish("hh:c", data);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        unsigned values = 0;
        assert_int_equal(
            talker_open(&gate, &t,
                        "channel=hh:a&channel=hh:b&channel=hh:c&resume=latest",
                        ids[i]),
            200);
        while (talker_next(&t, &e))
            values += e.kind.n == 0 && e.data.n > sizeof(data);
        assert_int_equal(values, 3);
        end(&t);
    }
}

/* The ids of many channels are longer than what they are about, and all that
 * was missed waits until the stream begins: what there is no room for begins
 * anew, and the stream does begin. */
static void test_missed_of_many(void **state)
{
    (void)state;
    static char query[1400];
    char id[EVENT_ID_MAX_BYTES + 1];
    struct talker t;
    struct events_event e;
    unsigned resumed = 0;
    unsigned reset = 0;
    put_many(query, sizeof(query), 30);
    assert_int_equal(talker_open(&gate, &t, query, NULL), 200);
    assert_true(talker_next(&t, &e));
    snprintf(id, sizeof(id), "%.*s", STR_ARG(e.id));
    end(&t);
    for (unsigned i = 0; i < 90; i++)
        publish(text_of("hh:c%u", i % 30), "1");
    assert_int_equal(talker_open(&gate, &t, query, id), 200);
    while (talker_next(&t, &e)) {
        resumed += e.kind.n == 0;
        for (size_t i = 0; str_eq(e.kind, STR_LIT("reset")) && i < e.data.n;
             i++)
            reset += e.data.p[i] == ':';
    }
    assert_false(t.peer.eof);
    reset -= 2; /* of the event's own members */
    assert_in_range(reset, 1, 29);
    assert_int_equal(resumed, 3 * (30 - reset) + reset);
    end(&t);
}

/* --- several ------------------------------------------------------------------ */

static uint64_t offset_in(struct str text, const char *channel)
{
    struct event_id id;
    assert_int_equal(event_id_parse(text, &id), 0);
    const struct position *p =
        event_id_find(&id, event_id_name(str_of(channel)));
    return p ? p->offset : UINT64_MAX;
}

/* Regression: every event of a stream that goes on names all its channels,
 * those too whose turn to begin had not come. */
static void test_first_events_name_all(void **state)
{
    (void)state;
    struct talker t;
    struct events_event e;
    char id[128];
    assert_int_equal(talker_open(&gate, &t, "channel=hh:a&channel=hh:b", NULL),
                     200);
    assert_true(talker_next(&t, &e));
    snprintf(id, sizeof(id), "%.*s", STR_ARG(e.id));
    end(&t);
    publish("hh:a", "1");
    publish("hh:b", "2");
    assert_int_equal(
        talker_open(&gate, &t, "channel=hh:a&channel=hh:b&raw=1", id), 200);
    assert_true(talker_next(&t, &e));
    assert_true(str_eq(e.id, str_of(id)));
    assert_true(talker_next(&t, &e) && str_eq(e.data, STR_LIT("1")));
    assert_int_equal(offset_in(e.id, "hh:a"), 1);
    assert_int_equal(offset_in(e.id, "hh:b"), 0);
    assert_true(talker_next(&t, &e) && str_eq(e.data, STR_LIT("2")));
    assert_int_equal(offset_in(e.id, "hh:a"), 1);
    assert_int_equal(offset_in(e.id, "hh:b"), 1);
    end(&t);
}

/* Regression: the first channel has moved on when a second one joins, and the
 * ids name it when the second one has left. */
static void test_second_joins_and_leaves(void **state)
{
    (void)state;
    struct stream s;
    struct talker t;
    struct events_event e;
    struct gate_answer a;
    static const char mark[] = "\"session\":\"";
    assert_int_equal(talker_open(&gate, &t, "channel=hh:a&raw=1", NULL), 200);
    assert_true(talker_next(&t, &e));
    const char *at = memmem(e.data.p, e.data.n, mark, strlen(mark));
    snprintf(s.session, sizeof(s.session), "%.71s", at + strlen(mark));
    publish("hh:a", "1");
    publish("hh:a", "2");
    talker_expect(&t, "", text_of("%s:1", epoch_of("hh:a")), "1");
    talker_expect(&t, "", text_of("%s:2", epoch_of("hh:a")), "2");
    static const char *const bodies[] = {"{\"channels\":{\"hh:b\":{}}}",
                                         "{\"channels\":{\"hh:b\":null}}"};
    stream_begin_post(&gate, &s.peer, 1, s.session, bodies[0]);
    assert_int_equal(stream_take_answer(&s.peer, &a), 200);
    stream_end(&s.peer);
    publish("hh:b", "3");
    assert_true(talker_next(&t, &e) && str_eq(e.data, STR_LIT("3")));
    assert_int_equal(offset_in(e.id, "hh:a"), 2);
    assert_int_equal(offset_in(e.id, "hh:b"), 1);
    stream_begin_post(&gate, &s.peer, 1, s.session, bodies[1]);
    assert_int_equal(stream_take_answer(&s.peer, &a), 200);
    stream_end(&s.peer);
    publish("hh:a", "4");
    assert_true(talker_next(&t, &e) && str_eq(e.data, STR_LIT("4")));
    assert_int_equal(offset_in(e.id, "hh:a"), 3);
    assert_int_equal(offset_in(e.id, "hh:b"), UINT64_MAX);
    end(&t);
}

/* Regression: the same, when the first one had gone on from somewhere. */
static void test_second_joins_after_resume(void **state)
{
    (void)state;
    struct stream s;
    struct talker t;
    struct events_event e;
    struct gate_answer a;
    static const char mark[] = "\"session\":\"";
    publish("hh:a", "1");
    publish("hh:a", "2");
    char id[32];
    snprintf(id, sizeof(id), "%s:1", epoch_of("hh:a"));
    assert_int_equal(talker_open(&gate, &t, "channel=hh:a&raw=1", id), 200);
    assert_true(talker_next(&t, &e));
    const char *at = memmem(e.data.p, e.data.n, mark, strlen(mark));
    snprintf(s.session, sizeof(s.session), "%.71s", at + strlen(mark));
    assert_true(talker_next(&t, &e) && str_eq(e.data, STR_LIT("2")));
    stream_begin_post(&gate, &s.peer, 1, s.session,
                      "{\"channels\":{\"hh:b\":{}}}");
    assert_int_equal(stream_take_answer(&s.peer, &a), 200);
    stream_end(&s.peer);
    publish("hh:b", "3");
    assert_true(talker_next(&t, &e) && str_eq(e.data, STR_LIT("3")));
    assert_int_equal(offset_in(e.id, "hh:a"), 2);
    assert_int_equal(offset_in(e.id, "hh:b"), 1);
    end(&t);
}

/* Regression: a subscription of the server's has its place in the ids. */
static void test_servers_subscription(void **state)
{
    (void)state;
    struct talker t;
    struct events_event e;
    assert_int_equal(talker_open(&gate, &t, "channel=hh:a&raw=1", NULL), 200);
    assert_true(talker_next(&t, &e));
    struct session *s = stream_session(&gate, 0);
    assert_int_equal(session_server_subscribe(s, STR_LIT("hh:b"), NULL), 0);
    publish("hh:b", "1");
    assert_true(talker_next(&t, &e) && str_eq(e.kind, STR_LIT("subscribe")));
    assert_true(talker_next(&t, &e) && str_eq(e.data, STR_LIT("1")));
    assert_int_equal(offset_in(e.id, "hh:a"), 0);
    assert_int_equal(offset_in(e.id, "hh:b"), 1);
    end(&t);
}

/* Regression: what waited goes before the urgent one, and is not told as if
 * that had gone, too. */
static void test_urgent_behind_waiting(void **state)
{
    (void)state;
    struct talker t;
    struct events_event e;
    const char *epoch = epoch_of("qq:a");
    assert_int_equal(talker_open(&gate, &t, "channel=qq:a&raw=1", NULL), 200);
    assert_true(talker_next(&t, &e));
    publish("qq:a", "{\"s\":1,\"n\":1}");
    publish("qq:a", "{\"s\":1,\"n\":2}");
    publish_body("{\"channel\":\"qq:a\",\"urgent\":true,"
                 "\"data\":{\"s\":2,\"n\":3}}");
    talker_expect(&t, "", text_of("%s:1", epoch), "{\"s\":1,\"n\":1}");
    talker_expect(&t, "", text_of("%s:2", epoch), "{\"s\":1,\"n\":2}");
    talker_expect(&t, "", text_of("%s:3", epoch), "{\"s\":2,\"n\":3}");
    end(&t);
}

static void publish_padded(struct buf *commands, const char *channel, int s,
                           int pad)
{
    buf_printf(commands,
               "%s{\"publish\":{\"channel\":\"%s\",\"data\":{\"s\":%d,"
               "\"pad\":\"%*s\"}}}",
               commands->n ? "," : "", channel, s, pad, "");
}

static void send_batch(struct buf *commands)
{
    struct buf body = BUF_INIT;
    buf_printf(&body, "{\"commands\":[%.*s]}", STR_ARG(buf_view(commands)));
    buf_char(&body, '\0');
    struct gate_peer p;
    struct gate_answer a;
    stream_request(&gate, &p, 0, "POST /api/batch", "", body.p);
    assert_int_equal(stream_take_answer(&p, &a), 200);
    stream_end(&p);
    buf_free(&body);
    buf_free(commands);
}

/* Regression: its socket is full in the middle of a batch. What waits in front
 * of an event with an id is not taken back: that id speaks for it. */
static void test_full_before_mark(void **state)
{
    (void)state;
    struct talker t;
    struct events_event e;
    struct buf b = BUF_INIT;
    gate_fini(&gate);
    gate_init(&gate, 1, CONFIG("1048576"));
    assert_int_equal(
        talker_open(&gate, &t, "channel=hh:a&channel=qq:a&raw=1", NULL), 200);
    assert_true(talker_next(&t, &e));
    struct session *s = stream_session(&gate, 0);
    int bytes = 4608;
    assert_int_equal(setsockopt(((struct sse_conn *)s)->fd, SOL_SOCKET,
                                SO_SNDBUF, &bytes, sizeof(bytes)),
                     0);
    for (int i = 1; i <= 3; i++)
        publish_padded(&b, "qq:a", i, 1);
    send_batch(&b);
    for (int i = 1; i <= 3; i++)
        assert_true(talker_next(&t, &e));
    for (int i = 1; i <= 3; i++)
        publish_padded(&b, "qq:a", i, 1500);
    send_batch(&b); /* they wait for the tick */
    talker_expect_nothing(&t);
    still_pass_ns(60000000);
    publish_padded(&b, "hh:a", 0, 14000);
    send_batch(&b); /* in one turn with it */
    assert_int_equal(gate.loops[0]->shard->stats.choked, 1);
    assert_true(talker_next(&t, &e) && e.data.n > 14000);
    for (int i = 1; i <= 3; i++) {
        char start[32];
        assert_true(talker_next(&t, &e));
        snprintf(start, sizeof(start), "{\"s\":%d,", i);
        if (!str_starts(e.data, str_of(start)))
            fail_msg("%.20s, not %s", e.data.p, start);
        assert_int_equal(e.ids, i == 3);
    }
    assert_int_equal(offset_in(e.id, "qq:a"), 6);
    end(&t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_one),
        TEST(test_no_place),
        TEST(test_beside_positions),
        TEST(test_pattern),
        TEST(test_resets),
        TEST(test_resets_of_several),
        TEST(test_latest),
        TEST(test_latest_of_cache),
        TEST(test_most_channels),
        TEST(test_missed_of_many),
        TEST(test_latest_of_large),
        TEST(test_first_events_name_all),
        TEST(test_second_joins_and_leaves),
        TEST(test_second_joins_after_resume),
        TEST(test_servers_subscription),
        TEST(test_urgent_behind_waiting),
        TEST(test_full_before_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
