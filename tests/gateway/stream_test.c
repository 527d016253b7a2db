/* Streams behind namespaces, against a real nats-server with JetStream: what is
 * made, what is refused, where publications stand and what readers get. */
#include "tests/kit/stream_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/broker/stream.h"
#include "hub/home.h"

static int publish(struct nats_node *n, const char *channel, const char *data)
{
    return nats_node_publish_code(n, channel, data);
}

static void the_stream_is_made(void **state)
{
    struct nats_node *n = *state;
    nats_peer_api(&n->peer, "STREAM.INFO.WEIR_H_news", "",
                  "\"subjects\":[\"weir.pub.news.\\u003e\"]");
    nats_peer_api(&n->peer, "STREAM.INFO.WEIR_H_news", "",
                  "\"max_msgs_per_subject\":5");
    nats_peer_api(&n->peer, "STREAM.INFO.WEIR_H_news", "",
                  "\"max_age\":60000000000");
    nats_peer_api(&n->peer, "STREAM.INFO.WEIR_H_news", "",
                  "\"republish\":{\"src\":\"weir.pub.news.\\u003e\",\"dest\":"
                  "\"weir.live.news.\\u003e\"}");
    nats_peer_api(&n->peer, "STREAM.NAMES", "", "[\"WEIR_H_news\"]");
}

static void publications_have_places(void **state)
{
    struct nats_node *n = *state;
    stream_node_acquire(n, "news:a");
    assert_true(n->last_feed.has_stream);
    assert_int_equal(n->last_feed.error, 0);
    assert_int_equal(publish(n, "news:a", "1"), 0);
    assert_int_equal(n->last_position.offset, 1);
    assert_int_not_equal(n->last_position.epoch, 0);
    assert_int_equal(publish(n, "news:b", "2"), 0);
    assert_int_equal(publish(n, "news:a", "3"), 0);
    assert_int_equal(n->last_position.offset, 3);
    assert_string_equal(stream_node_read(n, "news:a", 0), "0 3 3: 1=1 3=3");
    assert_string_equal(stream_node_read(n, "news:a", 1), "1 3 3: 3=3");
    assert_string_equal(stream_node_read(n, "news:a", 2), "2 3 3: 3=3");
    assert_string_equal(stream_node_read(n, "news:a", 3), "3 3 3:");
    assert_string_equal(stream_node_read(n, "news:b", 2), "2 3 2:");
    assert_string_equal(stream_node_read(n, "news:c", 2), "2 3 0:");
    assert_string_equal(stream_node_read(n, "news:c", 0), "0 3 0:");
}

/* Three of five: nothing that came after the first can have been pushed out;
 * more than five: only what follows one that is still there is proven. */
static void reads_prove_what_they_can(void **state)
{
    struct nats_node *n = *state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(publish(n, "news:a", "0"), 0);
    assert_string_equal(stream_node_read(n, "news:a", 0),
                        "0 4 4: 1=0 2=0 3=0 4=0");
    for (int i = 0; i < 4; i++)
        assert_int_equal(publish(n, "news:a", "1"), 0);
    assert_int_equal(publish(n, "news:b", "2"), 0);
    assert_string_equal(stream_node_read(n, "news:a", 0),
                        "3 9 8: 4=0 5=1 6=1 7=1 8=1");
    assert_string_equal(stream_node_read(n, "news:a", 2),
                        "3 9 8: 4=0 5=1 6=1 7=1 8=1");
    assert_string_equal(stream_node_read(n, "news:a", 3),
                        "3 9 8: 4=0 5=1 6=1 7=1 8=1");
    assert_string_equal(stream_node_read(n, "news:a", 4),
                        "4 9 8: 5=1 6=1 7=1 8=1");
    assert_string_equal(stream_node_read(n, "news:a", 6), "6 9 8: 7=1 8=1");
    assert_string_equal(stream_node_read(n, "news:a", 8), "8 9 8:");
    assert_string_equal(stream_node_read(n, "news:a", 9), "9 9 8:");
    /* From the future: never more than is there. */
    assert_string_equal(stream_node_read(n, "news:a", 50), "9 9 8:");
    assert_string_equal(stream_node_read(n, "news:c", 50), "9 9 0:");
}

/* The position of a quiet channel is the stream's: nothing of its own is
 * there, and the others are many more than a channel may keep. */
static void a_quiet_channel_is_proven_on_a_busy_stream(void **state)
{
    struct nats_node *n = *state;
    char channel[32];
    for (int i = 0; i < 40; i++) {
        snprintf(channel, sizeof(channel), "news:%d", i % 20);
        assert_int_equal(publish(n, i == 20 ? "news:quiet" : channel, "1"), 0);
    }
    assert_string_equal(stream_node_read(n, "news:quiet", 0), "0 40 21: 21=1");
    assert_string_equal(stream_node_read(n, "news:quiet", 10),
                        "10 40 21: 21=1");
    assert_string_equal(stream_node_read(n, "news:quiet", 30), "30 40 21:");
    assert_string_equal(stream_node_read(n, "news:none", 10), "10 40 0:");
}

static void a_removal_leaves_a_marker(void **state)
{
    struct nats_node *n = *state;
    assert_int_equal(publish(n, "news:a", "1"), 0);
    assert_int_equal(publish(n, "news:b", "2"), 0);
    assert_int_equal(publish(n, "news:a", "3"), 0);
    assert_int_equal(stream_node_remove(n, "news:a"), 0);
    nats_peer_api(&n->peer, "STREAM.INFO.WEIR_H_news", "", "\"messages\":2,");
    assert_string_equal(stream_node_read(n, "news:a", 0), "4 4 4:");
    assert_string_equal(stream_node_read(n, "news:a", 1), "4 4 4:");
    assert_string_equal(stream_node_read(n, "news:a", 4), "4 4 4:");
    assert_string_equal(stream_node_read(n, "news:b", 0), "1 4 2: 2=2");
    assert_int_equal(publish(n, "news:a", "5"), 0);
    assert_string_equal(stream_node_read(n, "news:a", 3), "4 5 5: 5=5");
    assert_string_equal(stream_node_read(n, "news:a", 4), "4 5 5: 5=5");
    assert_int_equal(stream_node_remove(n, "lobby"), 108);
    assert_string_equal(stream_node_read(n, "lobby", 0), "error 108");
}

/* Without its marker, what is gone would look as if it had never been. */
static void a_removal_that_fails_removes_nothing(void **state)
{
    struct nats_node *n = *state;
    assert_int_equal(publish(n, "news:b", "0"), 0);
    assert_int_equal(publish(n, "news:a", "1"), 0);
    assert_int_equal(publish(n, "news:a", "2"), 0);
    nats_peer_api(
        &n->peer, "STREAM.UPDATE.WEIR_H_news",
        "{\"name\":\"WEIR_H_news\",\"subjects\":[\"weir.pub.news.>\"],"
        "\"republish\":{\"src\":\"weir.pub.news.>\",\"dest\":"
        "\"weir.live.news.>\"},\"retention\":\"limits\",\"storage\":"
        "\"file\",\"max_msgs\":-1,\"max_bytes\":-1,\"max_consumers\":-1,"
        "\"max_msg_size\":1,\"num_replicas\":1}",
        "\"config\"");
    assert_int_equal(stream_node_remove(n, "news:a"), 100);
    assert_string_equal(stream_node_read(n, "news:a", 2), "2 3 3: 3=2");
}

/* --- what arrives --------------------------------------------------------- */

static void publications_are_chained(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *a = nats_node_subscriber(n, 0, "news:a");
    struct fake_client *b = nats_node_subscriber(n, 1, "news:b");
    assert_int_equal(publish(n, "news:a", "1"), 0);
    assert_int_equal(publish(n, "news:b", "2"), 0);
    /* Anything that speaks NATS publishes into the stream. */
    nats_peer_pub(&n->peer, "weir.pub.news.a", "3");
    nats_node_expect(n, a, "Pnews:a|news:a|1|@1\nPnews:a|news:a|3|@3<1\n");
    nats_node_expect(n, b, "Pnews:b|news:b|2|@2\n");
    struct msg_parts parts = {.channel = str_of("news:a"),
                              .data = str_of("4"),
                              .tags = str_of("{\"k\":\"v\"}"),
                              .urgent = true,
                              .is_json = true};
    nats_node_publish_parts(n, 0, parts);
    nats_node_expect(n, a, "Pnews:a|news:a|4|{\"k\":\"v\"}||urgent|@4<3\n");
    /* And what is read is as it was. */
    assert_string_equal(stream_node_read(n, "news:a", 3), "3 4 4: 4=4");
    fake_gone(a);
    fake_gone(b);
}

struct asked_history {
    unsigned count;
    uint64_t top;
    bool done;
    struct history_op op; /* ends with the channel's name */
};

static void on_history(struct history_op *op)
{
    struct asked_history *a = container_of(op, struct asked_history, op);
    assert_int_equal(op->error, 0);
    a->count = op->count;
    a->top = op->position.offset;
    a->done = true;
    history_op_fini(op);
}

/* How many there are at the channel's home, and its position. */
static unsigned history_of(struct nats_node *n, const char *channel,
                           uint64_t *top)
{
    size_t len = strlen(channel);
    struct asked_history *a = mem_zalloc(sizeof(*a) + len);
    struct namespace_options *o = nats_node_namespace(n->cfg, "news");
    a->op.history = &o->history;
    a->op.limit = -1;
    a->op.done = on_history;
    a->op.channel_len = (uint32_t)len;
    memcpy(a->op.channel, channel, len);
    home_history(n->hub.hub.shards[0], &a->op);
    NATS_NODE_PUMP(n, a->done);
    unsigned count = a->count;
    *top = a->top;
    free(a);
    return count;
}

/* What anybody puts into the stream, and no client can be given, empties
 * nothing. */
static void what_is_no_publication_empties_nothing(void **state)
{
    struct nats_node *n = *state;
    uint64_t top = 0;
    n->hub.hub.options.history_limit = 100;
    assert_int_equal(publish(n, "news:a", "1"), 0);
    assert_int_equal(publish(n, "news:a", "2"), 0);
    nats_peer_pub(&n->peer, "weir.pub.news.a", "not json");
    stream_node_read_until(n, "news:a", 0, "0 3 3: 1=1 2=2");
    struct fake_client *f = fake_open(n->hub.hub.shards[0], ENCODING_WS_JSON);
    struct namespace_options *o = nats_node_namespace(n->cfg, "news");
    struct position_wish wish = {.positioned = true};
    CHECK(fake_subscribe_wish(f, "news:a", &o->history, &wish) == 0);
    NATS_NODE_PUMP(n, f->answers == 1);
    f->read_bytes = f->wire.n;
    assert_int_equal(history_of(n, "news:a", &top), 2);
    assert_int_equal(top, 3);
    /* It is the next one's predecessor. */
    assert_int_equal(publish(n, "news:a", "4"), 0);
    nats_node_expect(n, f, "Pnews:a|news:a|4|@4<3\n");
    assert_int_equal(history_of(n, "news:a", &top), 3);
    assert_int_equal(stream_node_remove(n, "news:a"), 0);
    NATS_NODE_PUMP(n, history_of(n, "news:a", &top) == 0);
    fake_gone(f);
}

static void what_skips_history_has_no_place(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "news:a");
    struct msg_parts parts = {.channel = str_of("news:a"),
                              .data = str_of("2"),
                              .skip_history = true,
                              .is_json = true};
    assert_int_equal(publish(n, "news:a", "1"), 0);
    nats_node_expect(n, f, "Pnews:a|news:a|1|@1\n");
    nats_node_publish_parts(n, 0, parts);
    NATS_NODE_PUMP(n, n->answered == n->sent);
    assert_int_equal(n->last_code, 0);
    assert_int_equal(n->last_position.epoch, 0);
    nats_node_expect(n, f, "Pnews:a|news:a|2\n");
    assert_string_equal(stream_node_read(n, "news:a", 0), "0 1 1: 1=1");
    fake_gone(f);
}

/* What a client may not be sent is not in a read either; its place is. */
static void reads_judge_as_delivery_does(void **state)
{
    struct nats_node *n = *state;
    nats_peer_pub(&n->peer, "weir.pub.news.a", "not json");
    nats_peer_pub(&n->peer, "weir.pub.news.a", "[1,\n2]");
    stream_node_read_until(n, "news:a", 0, "0 2 2: 2=[1,2]");
}

/* --- wishes --------------------------------------------------------------- */

static int publish_wish(struct nats_node *n, const char *channel,
                        const char *data, struct publish_wish *wish)
{
    nats_node_publish_wish(n, 0,
                           (struct msg_parts){.channel = str_of(channel),
                                              .data = str_of(data),
                                              .is_json = true},
                           wish);
    NATS_NODE_PUMP(n, n->answered == n->sent);
    return n->last_code;
}

static void a_key_is_published_once(void **state)
{
    struct nats_node *n = *state;
#define KEYED(channel, data, key) \
    assert_int_equal(             \
        publish_wish(n, channel, data, nats_node_wish(key, 0, "")), 0)
    KEYED("news:a", "1", "k");
    assert_int_equal(n->last_position.offset, 1);
    KEYED("news:a", "2", "other");
    assert_int_equal(n->last_position.offset, 2);
    KEYED("news:a", "3", "k");
    assert_int_equal(n->last_position.offset, 1);
    assert_int_not_equal(n->last_position.epoch, 0);
    KEYED("news:b", "4", "k"); /* another channel's key */
    assert_int_equal(n->last_position.offset, 3);
    assert_string_equal(stream_node_read(n, "news:a", 0), "0 3 2: 1=1 2=2");
    struct msg_parts skips = {.channel = str_of("news:c"),
                              .data = str_of("5"),
                              .skip_history = true,
                              .is_json = true};
    struct fake_client *f = nats_node_subscriber(n, 0, "news:c");
    nats_node_publish_wish(n, 0, skips, nats_node_wish("k", 0, ""));
    nats_node_publish_wish(n, 0, skips, nats_node_wish("k", 0, ""));
    NATS_NODE_PUMP(n, n->answered == n->sent);
    assert_int_equal(n->ok, n->sent);
    assert_int_equal(publish(n, "news:c", "6"), 0);
    nats_node_expect(n, f, "Pnews:c|news:c|5\nPnews:c|news:c|6|@4\n");
    fake_gone(f);
}

static void a_key_without_history_is_published_once(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "lobby");
    KEYED("lobby", "1", "k");
    KEYED("lobby", "2", "k");
    KEYED("lobby", "3", "other");
    KEYED("quotes:a", "4", "k");
    assert_int_equal(n->last_position.offset, 0);
    nats_node_expect(n, f, "Plobby|lobby|1\nPlobby|lobby|3\n");
    nats_peer_api(&n->peer, "STREAM.INFO.WEIR_KEYS", "", "\"messages\":3");
    fake_gone(f);
}

/* The server grants what nobody waits for any more. */
static void a_claim_that_was_not_used_swallows_nothing(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "lobby");
    KEYED("lobby", "0", "other");
    nats_node_expect(n, f, "Plobby|lobby|0\n");
    nats_server_freeze(&n->server);
    assert_int_equal(publish_wish(n, "lobby", "1", nats_node_wish("k", 0, "")),
                     100);
    nats_server_thaw(&n->server);
    for (int i = 0; i < NATS_PATIENCE_MS / 20 && n->last_code; i++) {
        usleep(20000);
        publish_wish(n, "lobby", "1", nats_node_wish("k", 0, ""));
    }
    KEYED("lobby", "1", "k");
    assert_int_equal(publish(n, "lobby", "2"), 0);
    nats_node_expect(n, f, "Plobby|lobby|1\nPlobby|lobby|2\n");
    fake_gone(f);
}

static void old_versions_are_not_published(void **state)
{
    struct nats_node *n = *state;
#define VERSION(data, version, epoch)                                        \
    assert_int_equal(                                                        \
        publish_wish(n, "news:a", data, nats_node_wish("", version, epoch)), \
        0)
    VERSION("1", 5, "");
    assert_int_equal(n->last_position.offset, 1);
    VERSION("2", 5, "");
    assert_int_equal(n->last_position.offset, 1);
    VERSION("3", 4, "");
    assert_int_equal(n->last_position.offset, 1);
    VERSION("4", 6, "e\n");
    assert_int_equal(n->last_position.offset, 2);
    VERSION("5", 3, "e\n"); /* of the same epoch */
    assert_int_equal(n->last_position.offset, 2);
    VERSION("6", 3, "f"); /* of another */
    assert_int_equal(n->last_position.offset, 3);
    VERSION("7", UINT64_MAX, "f");
    assert_int_equal(n->last_position.offset, 4);
    assert_string_equal(stream_node_read(n, "news:a", 0),
                        "0 4 4: 1=1 2=4 3=6 4=7");
}

/* Many at once: one wins each round, none is lost or published twice. */
static void versions_are_compared_by_the_stream(void **state)
{
    struct nats_node *n = *state;
    char data[16];
    for (unsigned i = 1; i <= 40; i++) {
        snprintf(data, sizeof(data), "%u", i);
        nats_node_publish_wish(n, i % 2,
                               (struct msg_parts){.channel = str_of("news:a"),
                                                  .data = str_of(data),
                                                  .is_json = true},
                               nats_node_wish("", i, ""));
    }
    NATS_NODE_PUMP(n, n->answered == n->sent);
    assert_int_equal(n->ok, 40);
    assert_string_equal(stream_node_read(n, "news:a", 39), "39 40 40: 40=40");
}

/* --- away, slow, full ----------------------------------------------------- */

static void quick_timeouts(struct config *cfg)
{
    stream_node_adjust(cfg);
    cfg->nats.publish_timeout_ms = 300;
}

static void a_frozen_server_times_out(void **state)
{
    struct nats_node *n = *state;
    n->adjust = quick_timeouts;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_node_start(n, "");
    assert_int_equal(publish(n, "news:a", "1"), 0);
    nats_server_freeze(&n->server);
    for (int i = 0; i < 10; i++)
        nats_node_publish(n, 0, "news:a", "2");
    for (int i = 0; i < 1000; i++)
        stream_node_read_start(n, "news:a", 0);
    unsigned before = stream_node_reads;
    NATS_NODE_PUMP(n, n->answered == n->sent);
    assert_int_equal(n->ok, 1);
    assert_int_equal(n->last_code, 100);
    assert_int_equal(nats_node_status(n).acks_waiting, 0);
    assert_int_equal(nats_node_status(n).queue_bytes, 0);
    NATS_NODE_PUMP(n, stream_node_reads == before + 1000);
    nats_server_thaw(&n->server);
    nats_node_publish_until_ok(n, "news:b", "3");
    assert_int_not_equal(n->last_position.offset, 0);
}

static unsigned removals;

static void on_late_removal(struct remove_op *op)
{
    assert_int_equal(op->error, 100);
    removals++;
    free(op);
}

static void start_removal(struct nats_node *n, const char *channel)
{
    size_t len = strlen(channel);
    struct remove_op *op = mem_zalloc(sizeof(*op) + len);
    op->origin = n->hub.hub.shards[0];
    op->channel_len = (uint32_t)len;
    op->done = on_late_removal;
    memcpy(op->channel, channel, len);
    n->hub.hub.broker.ops->remove(n->broker, op);
}

/* The second connection does not notice within this test. */
static void what_writes_does_not_queue_for_ever(void **state)
{
    struct nats_node *n = *state;
    struct msg_parts parts = {
        .channel = str_of("news:b"), .data = str_of("1"), .is_json = true};
    n->adjust = stream_node_adjust;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_node_start(n, ",\"ping_interval\":\"10m\"");
    assert_int_equal(publish(n, "news:a", "1"), 0);
    removals = 0;
    nats_server_freeze(&n->server);
    for (uint64_t i = 1; i <= 100; i++) {
        start_removal(n, "news:a");
        nats_node_publish_wish(n, 0, parts, nats_node_wish("", i, ""));
    }
    NATS_NODE_PUMP(n, removals == 100 && n->answered == n->sent);
    assert_int_equal(n->last_code, 100);
    nats_server_thaw(&n->server);
    nats_node_publish_until_ok(n, "news:b", "2");
}

static void too_many_reads_are_refused(void **state)
{
    struct nats_node *n = *state;
    unsigned before = stream_node_reads;
    nats_server_freeze(&n->server);
    for (unsigned i = 0; i < 10000; i++)
        stream_node_read_start(n, "news:a", 0);
    assert_in_range(nats_node_status(n).reads_refused, 10000 - 8192 - 4,
                    10000 - 8192);
    NATS_NODE_PUMP(n, stream_node_reads == before + 10000);
    nats_server_thaw(&n->server);
    nats_node_publish_until_ok(n, "news:a", "1");
    stream_node_read_until(n, "news:a", 0, "0 1 1: 1=1");
}

static void a_full_store_is_error_100(void **state)
{
    struct nats_node *n = *state;
    char data[900];
    int code = 0;
    n->adjust = stream_node_adjust;
    n->server.max_store_bytes = 64 * 1024;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_node_start(n, "");
    memset(data, '1', sizeof(data) - 1);
    data[sizeof(data) - 1] = '\0';
    for (int i = 0; i < 200 && code == 0; i++) {
        char channel[32];
        snprintf(channel, sizeof(channel), "news:%d", i);
        code = publish(n, channel, data);
    }
    assert_int_equal(code, 100);
    assert_true(nats_node_status(n).acks_refused > 0);
    assert_int_equal(nats_node_status(n).acks_waiting, 0);
}

static void short_lived(struct config *cfg)
{
    nats_node_set_history(cfg, "news", 5, 1000);
}

/* What expired is gone, and nothing is claimed about it. */
static void what_expired_is_not_proven(void **state)
{
    struct nats_node *n = *state;
    n->adjust = short_lived;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_node_start(n, "");
    assert_int_equal(publish(n, "news:a", "1"), 0);
    assert_int_equal(publish(n, "news:b", "2"), 0);
    stream_node_read_until(n, "news:a", 0, "2 2 0:");
    assert_string_equal(stream_node_read(n, "news:a", 1), "2 2 0:");
    assert_string_equal(stream_node_read(n, "news:a", 2), "2 2 0:");
    assert_int_equal(publish(n, "news:a", "3"), 0);
    assert_string_equal(stream_node_read(n, "news:a", 1), "2 3 3: 3=3");
    assert_string_equal(stream_node_read(n, "news:a", 2), "2 3 3: 3=3");
}

/* The stream's publications do not wait for its subjects' others. */
static void a_purge_by_subject_proves_by_the_last(void **state)
{
    struct nats_node *n = *state;
    assert_int_equal(publish(n, "news:b", "1"), 0);
    assert_int_equal(publish(n, "news:a", "2"), 0);
    nats_peer_api(&n->peer, "STREAM.PURGE.WEIR_H_news", "", "\"success\"");
    assert_string_equal(stream_node_read(n, "news:a", 0), "2 2 0:");
    assert_string_equal(stream_node_read(n, "news:a", 1), "2 2 0:");
    assert_string_equal(stream_node_read(n, "news:a", 2), "2 2 0:");
}

int main(void)
{
    log_set_level(getenv("TEST_LOG") ? LOG_DEBUG : LOG_NONE);
    const struct CMUnitTest tests[] = {
#define STORED(name) \
    cmocka_unit_test_setup_teardown(name, nats_node_stored, nats_node_free)
#define RUNNING(name) \
    cmocka_unit_test_setup_teardown(name, stream_node_running, nats_node_free)
        RUNNING(the_stream_is_made),
        RUNNING(publications_have_places),
        RUNNING(reads_prove_what_they_can),
        RUNNING(a_quiet_channel_is_proven_on_a_busy_stream),
        RUNNING(a_removal_leaves_a_marker),
        RUNNING(a_removal_that_fails_removes_nothing),
        RUNNING(publications_are_chained),
        RUNNING(what_is_no_publication_empties_nothing),
        RUNNING(what_skips_history_has_no_place),
        RUNNING(reads_judge_as_delivery_does),
        RUNNING(a_key_is_published_once),
        RUNNING(a_key_without_history_is_published_once),
        RUNNING(a_claim_that_was_not_used_swallows_nothing),
        RUNNING(old_versions_are_not_published),
        RUNNING(versions_are_compared_by_the_stream),
        STORED(a_frozen_server_times_out),
        STORED(what_writes_does_not_queue_for_ever),
        RUNNING(too_many_reads_are_refused),
        STORED(a_full_store_is_error_100),
        STORED(what_expired_is_not_proven),
        RUNNING(a_purge_by_subject_proves_by_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
