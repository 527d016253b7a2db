/* Streams that republish nothing to us, brought by a consumer; against a real
 * nats-server. */
#include "gateway/broker/follow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/stream_node.h"

static int publish(struct nats_node *n, const char *channel, const char *data)
{
    return nats_node_publish_code(n, channel, data);
}

#define FEED                                                                     \
    "{\"name\":\"FEED\",\"subjects\":[\"market.*.>\"],\"retention\":\"limits\"," \
    "\"storage\":\"file\",\"max_msgs\":-1,\"max_bytes\":-1,"                     \
    "\"max_consumers\":-1,\"num_replicas\":1}"

static void quotes_have_a_feed(struct config *cfg)
{
    struct namespace_options *o = nats_node_namespace(cfg, "quotes");
    nats_node_set_history(cfg, "quotes", 3, 60000);
    free(o->stream);
    o->stream = mem_strndup("FEED", 4);
}

static int setup_feed(void **state)
{
    nats_node_stored(state);
    struct nats_node *n = *state;
    n->adjust = quotes_have_a_feed;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_peer_api(&n->peer, "STREAM.CREATE.FEED", FEED, "\"created\"");
    nats_peer_pub(&n->peer, "market.quotes.old", "0");
    nats_peer_until(&n->peer, "STREAM.INFO.FEED", "\"last_seq\":1");
    nats_node_start(n, ",\"grace\":\"50ms\"");
    return 0;
}

static void an_existing_stream_is_followed(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "quotes:a");
    nats_peer_pub(&n->peer, "market.quotes.a", "1");
    nats_peer_pub(&n->peer, "market.bonds.a", "2");
    nats_peer_pub(&n->peer, "market.quotes.b", "3");
    nats_peer_pub(&n->peer, "market.quotes.a", "4");
    nats_node_expect(n, f,
                     "Pquotes:a|quotes:a|1|@2\n"
                     "Pquotes:a|quotes:a|4|@5\n");
    assert_int_equal(publish(n, "quotes:a", "6"), 0);
    assert_int_equal(n->last_position.offset, 6);
    nats_node_expect(n, f, "Pquotes:a|quotes:a|6|@6\n");
    assert_string_equal(stream_node_read(n, "quotes:a", 2), "2 6 6: 5=4 6=6");
    assert_string_equal(stream_node_read(n, "quotes:a", 0),
                        "1 6 6: 2=1 5=4 6=6");
    assert_string_equal(stream_node_read(n, "quotes:old", 0), "0 6 1: 1=0");
    fake_gone(f);
}

/* The consumer goes on where it was, over a lost connection too. */
static void a_followed_stream_goes_on(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "quotes:a");
    assert_int_equal(publish(n, "quotes:a", "2"), 0);
    nats_node_expect(n, f, "Pquotes:a|quotes:a|2|@2\n");
    nats_peer_close(&n->peer);
    nats_server_kill(&n->server);
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_peer_pub(&n->peer, "market.quotes.a", "3");
    nats_node_expect(n, f, "Pquotes:a|quotes:a|3|@3\n");
    fake_gone(f);
}

/* Somebody deletes the consumer: its signs of life are missed. */
static void a_lost_consumer_is_made_again(void **state)
{
    struct nats_node *n = *state;
    char name[64] = "";
    char what[128];
    struct fake_client *f = nats_node_subscriber(n, 0, "quotes:a");
    nats_peer_api(&n->peer, "CONSUMER.NAMES.FEED", "", "\"consumers\":[\"");
    const char *at =
        memmem(n->peer.in.p, n->peer.in.n, "\"consumers\":[\"", 14);
    assert_int_equal(sscanf(at, "\"consumers\":[\"%63[A-Za-z0-9]", name), 1);
    snprintf(what, sizeof(what), "CONSUMER.DELETE.FEED.%s", name);
    nats_peer_api(&n->peer, what, "", "\"success\"");
    assert_int_equal(publish(n, "quotes:a", "2"), 0);
    nats_node_expect(n, f, "Pquotes:a|quotes:a|2|@2\n");
    fake_gone(f);
}

/* Another stream of that name: it is followed from its end, and what may have
 * been missed is told. */
static void another_stream_is_followed_anew(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "quotes:a");
    assert_int_equal(publish(n, "quotes:a", "2"), 0);
    nats_node_expect(n, f, "Pquotes:a|quotes:a|2|@2\n");
    uint64_t epoch = n->last_position.epoch;
    uint64_t told = nats_node_status(n).gaps_told;
    nats_peer_api(&n->peer, "STREAM.DELETE.FEED", "", "\"success\"");
    assert_int_equal(publish(n, "quotes:a", "3"), 100);
    nats_peer_api(&n->peer, "STREAM.CREATE.FEED", FEED, "\"created\"");
    nats_node_publish_until_ok(n, "quotes:a", "4");
    NATS_NODE_PUMP(n, nats_node_status(n).gaps_told > told);
    while (nats_node_unread(f) == 0)
        nats_node_publish_until_ok(n, "quotes:a", "5");
    assert_int_not_equal(n->last_position.epoch, epoch);
    fake_gone(f);
}

/* Nobody here wants it any more. */
static void a_consumer_ends_after_the_grace(void **state)
{
    struct nats_node *n = *state;
    stream_node_acquire(n, "quotes:a");
    assert_true(n->last_feed.has_stream);
    nats_peer_api(&n->peer, "STREAM.INFO.FEED", "", "\"consumer_count\":1");
    n->hub.hub.broker.ops->release(n->broker, str_of("quotes:a"), false);
    nats_peer_until(&n->peer, "STREAM.INFO.FEED", "\"consumer_count\":0");
}

int main(void)
{
    log_set_level(getenv("TEST_LOG") ? LOG_DEBUG : LOG_NONE);
    const struct CMUnitTest tests[] = {
#define FEEDING(name) \
    cmocka_unit_test_setup_teardown(name, setup_feed, nats_node_free)
        FEEDING(an_existing_stream_is_followed),
        FEEDING(a_followed_stream_goes_on),
        FEEDING(a_lost_consumer_is_made_again),
        FEEDING(another_stream_is_followed_anew),
        FEEDING(a_consumer_ends_after_the_grace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
