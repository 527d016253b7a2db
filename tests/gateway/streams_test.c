/* Making, checking and losing streams, against a real nats-server. */
#include "gateway/broker/streams.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/broker/greeting.h"
#include "tests/kit/stream_node.h"

#define INFO "STREAM.INFO.WEIR_H_news"
#define CREATE "STREAM.CREATE.WEIR_H_news"
#define REST                                                         \
    "\"retention\":\"limits\",\"storage\":\"file\",\"max_msgs\":-1," \
    "\"max_bytes\":-1,\"max_consumers\":-1,\"num_replicas\":1}"
#define NEWS "{\"name\":\"WEIR_H_news\",\"subjects\":[\"weir.pub.news.>\"],"
#define REPUBLISH \
    "\"republish\":{\"src\":\"weir.pub.news.>\",\"dest\":\"weir.live.news.>\"},"

/* --- made and changed ----------------------------------------------------- */

static void other_limits_are_changed(void **state)
{
    struct nats_node *n = *state;
    nats_peer_api(&n->peer, CREATE,
                  NEWS REPUBLISH "\"max_msgs_per_subject\":9,"
                                 "\"max_age\":7000000000,"
                                 "\"duplicate_window\":1000000000," REST,
                  "\"created\"");
    nats_node_start(n, "");
    nats_peer_api(&n->peer, INFO, "", "\"max_msgs_per_subject\":5,");
    nats_peer_api(&n->peer, INFO, "", "\"max_age\":60000000000,");
    nats_peer_api(&n->peer, INFO, "", "\"duplicate_window\":60000000000,");
    nats_peer_api(&n->peer, INFO, "", "\"allow_direct\":true");
    assert_int_equal(nats_node_publish_code(n, "news:a", "1"), 0);
}

/* What an operator bounds beside ours stays. */
static void limits_that_are_not_ours_stay(void **state)
{
    struct nats_node *n = *state;
    nats_peer_api(&n->peer, CREATE,
                  NEWS REPUBLISH
                  "\"max_msgs_per_subject\":9,\"retention\":\"limits\","
                  "\"storage\":\"file\",\"max_msgs\":77,\"max_bytes\":1000000,"
                  "\"max_consumers\":-1,\"num_replicas\":1}",
                  "\"created\"");
    nats_node_start(n, "");
    nats_peer_api(&n->peer, INFO, "", "\"max_msgs_per_subject\":5,");
    nats_peer_api(&n->peer, INFO, "", "\"max_msgs\":77,");
    nats_peer_api(&n->peer, INFO, "", "\"max_bytes\":1000000,");
}

static void refuse(struct nats_node *n, const char *const *words)
{
    char err[512] = "";
    assert_int_equal(nats_node_try(n, "", err, sizeof(err)), ERR_INVALID);
    for (; *words; words++)
        if (!strstr(err, *words))
            fail_msg("no %s in: %s", *words, err);
    assert_null(n->broker);
    fake_node_fini(&n->hub);
}

static void another_republish_stops_the_start(void **state)
{
    struct nats_node *n = *state;
    const char *words[] = {"namespace news",
                           "WEIR_H_news",
                           "republish",
                           "weir.live.news.>",
                           "nothing",
                           "nats stream rm WEIR_H_news",
                           NULL};
    nats_peer_api(&n->peer, CREATE, NEWS REST, "\"created\"");
    refuse(n, words);
}

static void other_subjects_stop_the_start(void **state)
{
    struct nats_node *n = *state;
    const char *words[] = {"WEIR_H_news", "subjects is weir.pub.> and",
                           "nats stream rm WEIR_H_news", NULL};
    nats_peer_api(&n->peer, CREATE,
                  "{\"name\":\"WEIR_H_news\",\"subjects\":[\"weir.pub.>\"],"
                  "\"republish\":{\"src\":\"weir.pub.news.>\",\"dest\":"
                  "\"weir.live.news.>\"}," REST,
                  "\"created\"");
    refuse(n, words);
}

static void name_a_stream(struct config *cfg)
{
    struct namespace_options *o = nats_node_namespace(cfg, "news");
    stream_node_adjust(cfg);
    free(o->stream);
    o->stream = mem_strndup("FEED", 4);
}

static void a_named_stream_must_exist(void **state)
{
    struct nats_node *n = *state;
    const char *words[] = {"namespace news", "no stream FEED", NULL};
    n->adjust = name_a_stream;
    refuse(n, words);
}

static void a_named_stream_must_cover_the_namespace(void **state)
{
    struct nats_node *n = *state;
    const char *words[] = {"stream FEED", "subjects must cover",
                           "weir.pub.news.>", NULL};
    n->adjust = name_a_stream;
    nats_peer_api(&n->peer, "STREAM.CREATE.FEED",
                  "{\"name\":\"FEED\",\"subjects\":[\"weir.pub.news.*\"]," REST,
                  "\"created\"");
    refuse(n, words);
}

/* What is acknowledged there goes from the middle: no recovery could tell. */
static void a_named_stream_must_keep_by_limits(void **state)
{
    struct nats_node *n = *state;
    const char *words[] = {"stream FEED", "retention must be limits", NULL};
    n->adjust = name_a_stream;
    nats_peer_api(&n->peer, "STREAM.CREATE.FEED",
                  "{\"name\":\"FEED\",\"subjects\":[\"weir.pub.news.>\"],"
                  "\"retention\":\"interest\",\"storage\":\"file\","
                  "\"max_msgs\":-1,\"max_bytes\":-1,\"max_consumers\":-1,"
                  "\"num_replicas\":1}",
                  "\"created\"");
    refuse(n, words);
}

/* A stream that republishes as ours would is as good; it is not changed. */
static void a_named_stream_may_republish(void **state)
{
    struct nats_node *n = *state;
    n->adjust = name_a_stream;
    nats_peer_api(
        &n->peer, "STREAM.CREATE.FEED",
        "{\"name\":\"FEED\",\"subjects\":[\"weir.pub.*.>\"]," REPUBLISH REST,
        "\"created\"");
    nats_node_start(n, "");
    struct fake_client *f = nats_node_subscriber(n, 0, "news:a");
    assert_int_equal(nats_node_publish_code(n, "news:a", "1"), 0);
    nats_node_expect(n, f, "Pnews:a|news:a|1|@1\n");
    nats_peer_api(&n->peer, "STREAM.INFO.FEED", "",
                  "\"max_msgs_per_subject\":-1");
    nats_peer_api(&n->peer, "STREAM.INFO.FEED", "", "\"consumer_count\":0");
    fake_gone(f);
}

/* --- several at once ------------------------------------------------------ */

#define NODES 4

struct starter {
    pthread_t thread;
    const struct config *cfg;
    const struct subject_space *space;
    struct stream stream;
    int rc;
};

static void *check_once(void *arg)
{
    struct starter *s = arg;
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    struct stream_look look;
    CHECK(natsConnection_ConnectTo(&nc, s->cfg->nats.url) == NATS_OK);
    CHECK(natsConnection_JetStream(&js, nc, NULL) == NATS_OK);
    s->rc = stream_check(&s->stream, js, &look);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    nats_ReleaseThreadMemory();
    return NULL;
}

static void nodes_that_start_at_once_agree(void **state)
{
    struct nats_node *n = *state;
    struct subject_map map;
    struct starter s[NODES] = {0};
    n->cfg = nats_node_config(n->server.port, "");
    stream_node_adjust(n->cfg);
    subject_map_init(&map, n->cfg);
    const struct subject_space *space = subject_find(&map, str_of("news:a"));
    for (int i = 0; i < NODES; i++) {
        s[i].cfg = n->cfg;
        stream_init(&s[i].stream, n->cfg, space);
        CHECK(pthread_create(&s[i].thread, NULL, check_once, &s[i]) == 0);
    }
    for (int i = 0; i < NODES; i++) {
        pthread_join(s[i].thread, NULL);
        assert_int_equal(s[i].rc, 0);
        assert_int_equal(stream_state(&s[i].stream), STREAM_LIVE);
        assert_int_equal(s[i].stream.epoch, s[0].stream.epoch);
        stream_fini(&s[i].stream);
    }
    subject_map_fini(&map);
    assert_int_equal(nats_CloseAndWait(10000), NATS_OK);
}

/* --- away and gone -------------------------------------------------------- */

static void without_jetstream_it_is_plain(void **state)
{
    struct nats_node *n = *state;
    n->adjust = stream_node_adjust;
    nats_server_start(&n->server, NULL);
    nats_node_start(n, "");
    struct fake_client *f = nats_node_subscriber(n, 0, "news:a");
    stream_node_acquire(n, "news:b");
    assert_false(n->last_feed.has_stream);
    assert_int_equal(n->last_feed.error, 0);
    assert_int_equal(nats_node_publish_code(n, "news:a", "1"), 0);
    assert_int_equal(n->last_position.epoch, 0);
    nats_node_expect(n, f, "Pnews:a|news:a|1\n");
    assert_string_equal(stream_node_read(n, "news:a", 0), "error 108");
    assert_int_equal(stream_node_remove(n, "news:a"), 108);
    nats_node_publish_wish(n, 0,
                           (struct msg_parts){.channel = str_of("news:a"),
                                              .data = str_of("2"),
                                              .is_json = true},
                           nats_node_wish("k", 0, ""));
    NATS_NODE_PUMP(n, n->answered == n->sent);
    assert_int_equal(n->last_code, 100); /* nobody can say it is the first */
    assert_int_equal(nats_node_status(n).queue_bytes, 0);
    fake_gone(f);
}

static void nobody_knows_while_nats_is_away(void **state)
{
    struct nats_node *n = *state;
    n->adjust = stream_node_adjust;
    nats_node_start(n, "");
    stream_node_acquire(n, "news:a");
    assert_false(n->last_feed.has_stream);
    assert_int_equal(n->last_feed.error, 100);
    stream_node_acquire(n, "lobby");
    assert_int_equal(n->last_feed.error, 0);
    assert_int_equal(nats_node_publish_code(n, "news:a", "1"), 100);
    assert_string_equal(stream_node_read(n, "news:a", 0), "error 100");
    nats_server_start(&n->server, NULL);
    nats_node_publish_until_ok(n, "news:a", "2");
    assert_int_equal(n->last_position.offset, 1);
    stream_node_acquire(n, "news:a");
    assert_true(n->last_feed.has_stream);
    assert_int_equal(n->last_feed.error, 0);
    NATS_NODE_PUMP(n, nats_node_status(n).gaps_told > 0);
}

/* JetStream off, found out late: feeds that were acquired for a stream hear
 * what is published without one. */
static void feeds_move_when_there_is_no_stream(void **state)
{
    struct nats_node *n = *state;
    n->adjust = stream_node_adjust;
    nats_node_start(n, "");
    stream_node_acquire(n, "news:a");
    nats_server_start(&n->server, NULL);
    nats_node_publish_until_ok(n, "news:a", "1");
    NATS_NODE_PUMP(n, nats_node_status(n).connected);
    uint64_t before = nats_node_status(n).messages_in;
    nats_node_publish_until_ok(n, "news:a", "2");
    NATS_NODE_PUMP(n, nats_node_status(n).messages_in > before);
}

static void a_lost_stream_is_made_anew(void **state)
{
    struct nats_node *n = *state;
    assert_int_equal(nats_node_publish_code(n, "news:a", "1"), 0);
    uint64_t epoch = n->last_position.epoch;
    uint64_t told = nats_node_status(n).gaps_told;
    nats_peer_api(&n->peer, "STREAM.DELETE.WEIR_H_news", "", "\"success\"");
    assert_int_equal(nats_node_publish_code(n, "news:a", "2"), 100);
    nats_node_publish_until_ok(n, "news:a", "3");
    assert_int_equal(n->last_position.offset, 1);
    NATS_NODE_PUMP(n, nats_node_status(n).gaps_told > told);
    assert_int_equal(nats_node_publish_code(n, "news:a", "4"), 0);
    assert_int_not_equal(n->last_position.epoch, epoch);
    assert_string_equal(stream_node_read(n, "news:a", 0), "0 2 2: 1=3 2=4");
}

/* Somebody made one that cannot serve: 100, until somebody mends it. */
static void a_wrong_stream_is_waited_for(void **state)
{
    struct nats_node *n = *state;
    nats_peer_api(&n->peer, "STREAM.DELETE.WEIR_H_news", "", "\"success\"");
    nats_peer_api(&n->peer, CREATE, NEWS REST, "\"created\"");
    NATS_NODE_PUMP(n, nats_node_status(n).stream_errors > 0);
    assert_int_equal(nats_node_publish_code(n, "news:a", "1"), 100);
    assert_string_equal(stream_node_read(n, "news:a", 0), "error 100");
    stream_node_acquire(n, "news:a");
    assert_int_equal(n->last_feed.error, 100);
    nats_peer_api(&n->peer, "STREAM.DELETE.WEIR_H_news", "", "\"success\"");
    nats_node_publish_until_ok(n, "news:a", "2");
    assert_string_equal(stream_node_read(n, "news:a", 0), "0 1 1: 1=2");
}

/* A gap is told when it is over. */
static void a_reconnect_is_told(void **state)
{
    struct nats_node *n = *state;
    nats_node_acquire(n, "news:a");
    NATS_NODE_PUMP(n, n->fed == 1);
    NATS_NODE_PUMP(n,
                   nats_node_status(n).gaps_told == nats_node_status(n).gaps);
    struct nats_status before = nats_node_status(n);
    nats_peer_close(&n->peer);
    nats_server_kill(&n->server);
    NATS_NODE_PUMP(n, nats_node_status(n).gaps > before.gaps);
    assert_int_equal(nats_node_status(n).gaps_told, before.gaps_told);
    assert_string_equal(stream_node_read(n, "news:a", 0), "error 100");
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    NATS_NODE_PUMP(n, nats_node_status(n).gaps_told > before.gaps_told);
    assert_true(nats_node_status(n).connected);
}

/* --- permissions ---------------------------------------------------------- */

/* The example of docs/nats.md, and an operator who may do all. */
static const char permissions[] =
    "authorization { users = ["
    "{user: weir, password: w, permissions: {"
    " publish: [\"weir.pub.>\", \"weir.live.>\", \"weir.key.>\","
    " \"weir.node.>\", \"market.quotes.>\", \"$JS.API.>\", \"$JS.FC.>\"],"
    " subscribe: [\"weir.pub.>\", \"weir.live.>\", \"weir.node.>\","
    " \"market.quotes.>\"]}},"
    "{user: admin, password: a}"
    "]}\nno_auth_user: admin\n";

static void followed_too(struct config *cfg)
{
    struct namespace_options *o = nats_node_namespace(cfg, "quotes");
    stream_node_adjust(cfg);
    nats_node_set_history(cfg, "quotes", 5, 60000);
    free(o->stream);
    o->stream = mem_strndup("FEED", 4);
}

static void wish(struct nats_node *n, const char *channel, uint64_t version)
{
    nats_node_publish_wish(n, 0,
                           (struct msg_parts){.channel = str_of(channel),
                                              .data = str_of("1"),
                                              .is_json = true},
                           nats_node_wish("k", version, ""));
    NATS_NODE_PUMP(n, n->answered == n->sent);
    assert_int_equal(n->last_code, 0);
}

static void the_documented_permissions_suffice(void **state)
{
    struct nats_node *n = *state;
    char data[900];
    n->server.config = permissions;
    n->adjust = followed_too;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_peer_api(&n->peer, "STREAM.CREATE.FEED",
                  "{\"name\":\"FEED\",\"subjects\":[\"market.>\"]," REST,
                  "\"created\"");
    nats_node_start(n, ",\"user\":\"weir\",\"password\":\"w\"");
    struct fake_client *a = nats_node_subscriber(n, 0, "news:a");
    struct fake_client *q = nats_node_subscriber(n, 0, "quotes:a");
    assert_int_equal(nats_node_publish_code(n, "news:a", "1"), 0);
    assert_int_equal(nats_node_publish_code(n, "quotes:a", "1"), 0);
    nats_node_expect(n, a, "Pnews:a|news:a|1|@1\n");
    nats_node_expect(n, q, "Pquotes:a|quotes:a|1|@1\n");
    wish(n, "lobby", 0);
    wish(n, "news:b", 7);
    assert_int_equal(stream_node_remove(n, "news:b"), 0);
    /* So much that the consumer waits to be told to go on. */
    memset(data, '1', sizeof(data) - 1);
    data[sizeof(data) - 1] = '\0';
    for (int i = 0; i < 5000; i++)
        nats_peer_pub(&n->peer, "market.quotes.b", data);
    nats_peer_until(&n->peer, "STREAM.INFO.FEED", "\"last_seq\":5001");
    assert_int_equal(strncmp(stream_node_read(n, "quotes:b", 0),
                             "4996 5001 5001: 4997=1", 22),
                     0);
    fake_gone(a);
    fake_gone(q);
}

/* --- small parts ---------------------------------------------------------- */

static void subjects_cover_subjects(void **state)
{
    (void)state;
#define COVERS(outer, inner) stream_covers(str_of(outer), str_of(inner))
    assert_true(COVERS("a.b.>", "a.b.>"));
    assert_true(COVERS("a.>", "a.b.>"));
    assert_true(COVERS(">", "a.b.>"));
    assert_true(COVERS("a.*.>", "a.b.>"));
    assert_true(COVERS("*.b.>", "a.b.>"));
    assert_true(COVERS("a.b", "a.b"));
    assert_true(COVERS("a.>", "a.>"));
    assert_true(COVERS("a.>", "a.*"));
    assert_false(COVERS("a.b", "a.b.>"));
    assert_false(COVERS("a.*", "a.>"));
    assert_false(COVERS("a.b.c.>", "a.b.>"));
    assert_false(COVERS("a.b.*", "a.b.>"));
    assert_false(COVERS("b.>", "a.b.>"));
    assert_false(COVERS("a.b.c", "a.b"));
    assert_false(COVERS("a.b", "a.*"));
}

static void epochs_are_the_same_everywhere(void **state)
{
    (void)state;
    /* Changing this makes every client of a running cluster lose its
     * position. */
    assert_int_equal(stream_epoch("WEIR_H_news", 1700000000000000000),
                     UINT64_C(0x920608309955));
    assert_int_not_equal(stream_epoch("WEIR_H_news", 1700000000000000001),
                         stream_epoch("WEIR_H_news", 1700000000000000000));
    assert_int_not_equal(stream_epoch("WEIR_H_old", 1700000000000000000),
                         stream_epoch("WEIR_H_news", 1700000000000000000));
}

static void greetings_have_versions(void **state)
{
    uint32_t v = 0;
    (void)state;
    assert_int_equal(
        greeting_parse(str_of("INFO {\"version\":\"2.9.10\",\"x\":1} "), &v),
        0);
    assert_int_equal(v, GREETING_VERSION(2, 9, 10));
    assert_int_equal(
        greeting_parse(str_of("INFO {\"version\":\"2.10.0-beta.1\"}"), &v), 0);
    assert_int_equal(v, GREETING_VERSION(2, 10, 0));
    const char *bad[] = {"",
                         "INFO ",
                         "INFO {}",
                         "INFO {\"version\":2}",
                         "INFO {\"version\":\"two\"}",
                         "INFO {\"version\":\"2.9\"}",
                         "HTTP/1.1 400 Bad Request",
                         NULL};
    for (int i = 0; bad[i]; i++)
        assert_int_equal(greeting_parse(str_of(bad[i]), &v), ERR_SYSTEM);
}

static void a_server_greets(void **state)
{
    struct nats_node *n = *state;
    char url[64];
    uint32_t v = 0;
    snprintf(url, sizeof(url), "nats://u:p@127.0.0.1:%d", n->server.port);
    assert_int_equal(greeting_version(url, &v), 0);
    assert_true(v >= GREETING_VERSION(2, 0, 0));
    nats_server_kill(&n->server);
    assert_int_equal(greeting_version(url, &v), ERR_SYSTEM);
    assert_int_equal(greeting_version("nats://nowhere", &v), ERR_SYSTEM);
}

int main(void)
{
    log_set_level(getenv("TEST_LOG") ? LOG_DEBUG : LOG_NONE);
    const struct CMUnitTest tests[] = {
#define RUNNING(name) \
    cmocka_unit_test_setup_teardown(name, stream_node_running, nats_node_free)
#define SERVER(name) \
    cmocka_unit_test_setup_teardown(name, stream_node_server, nats_node_free)
#define STORED(name) \
    cmocka_unit_test_setup_teardown(name, nats_node_stored, nats_node_free)
#define ALONE(name) \
    cmocka_unit_test_setup_teardown(name, nats_node_new, nats_node_free)
        SERVER(other_limits_are_changed),
        SERVER(limits_that_are_not_ours_stay),
        SERVER(another_republish_stops_the_start),
        SERVER(other_subjects_stop_the_start),
        SERVER(a_named_stream_must_exist),
        SERVER(a_named_stream_must_cover_the_namespace),
        SERVER(a_named_stream_must_keep_by_limits),
        SERVER(a_named_stream_may_republish),
        SERVER(nodes_that_start_at_once_agree),
        ALONE(without_jetstream_it_is_plain),
        STORED(nobody_knows_while_nats_is_away),
        ALONE(feeds_move_when_there_is_no_stream),
        RUNNING(a_lost_stream_is_made_anew),
        RUNNING(a_wrong_stream_is_waited_for),
        RUNNING(a_reconnect_is_told),
        STORED(the_documented_permissions_suffice),
        cmocka_unit_test(subjects_cover_subjects),
        cmocka_unit_test(epochs_are_the_same_everywhere),
        cmocka_unit_test(greetings_have_versions),
        SERVER(a_server_greets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
