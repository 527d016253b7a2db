/* The broker against a real nats-server, which each test starts for itself
 * on a free port. The shards are the fake kit's: turned by the test's thread
 * while nats.c's threads and the broker's post to them, or (threads_*) on
 * threads of their own. The other side is a plain socket that speaks NATS. */
#include "gateway/broker/nats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/broker/feed.h"
#include "tests/kit/nats_node.h"
#include "tests/kit/threads.h"

/* --- tests ---------------------------------------------------------------- */

static void publications_reach_every_shard_once(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *a = nats_node_subscriber(n, 0, "a.b");
    struct fake_client *b = nats_node_subscriber(n, 1, "a.b");
    assert_int_equal(nats_node_publish_code(n, "a.b", "{\"n\":1}"), 0);
    nats_node_publish(n, 1, "a.b", "2");
    nats_node_expect(n, a, "Pa.b|a.b|{\"n\":1}\nPa.b|a.b|2\n");
    nats_node_expect(n, b, "Pa.b|a.b|{\"n\":1}\nPa.b|a.b|2\n");
    NATS_NODE_PUMP(n, n->answered == 2);
    assert_int_equal(n->ok, 2);
    assert_int_equal(nats_node_status(n).feeds, 1);
    assert_int_equal(nats_node_status(n).messages_out, 2);
    assert_int_equal(nats_node_status(n).messages_in, 2);
    assert_int_equal(nats_node_status(n).queue_bytes, 0);
    fake_gone(a);
    fake_gone(b);
}

static void any_nats_client_can_publish_and_listen(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *cafe = nats_node_subscriber(n, 1, "caf/e");
    struct fake_client *news = nats_node_subscriber(n, 0, "news:eu.x");
    struct fake_client *quotes = nats_node_subscriber(n, 0, "quotes:eur.usd");
    nats_peer_pub(&n->peer, "weir.pub._.caf=2Fe", "\"c\"");
    nats_peer_pub(&n->peer, "weir.pub.news.eu.x", "[1]");
    nats_peer_pub(&n->peer, "market.quotes.eur.usd", "1.07");
    nats_node_expect(n, cafe, "Pcaf/e|caf/e|\"c\"\n");
    nats_node_expect(n, news, "Pnews:eu.x|news:eu.x|[1]\n");
    nats_node_expect(n, quotes, "Pquotes:eur.usd|quotes:eur.usd|1.07\n");

    nats_peer_send(&n->peer, "SUB market.> 1\r\nSUB weir.pub.> 2\r\n");
    nats_peer_flush(&n->peer);
    assert_int_equal(nats_node_publish_code(n, "quotes:chf", "2"), 0);
    nats_peer_wait(&n->peer, "MSG market.quotes.chf 1 1\r\n2\r\n");
    assert_int_equal(nats_node_publish_code(n, "news:a/b", "{}"), 0);
    nats_peer_wait(&n->peer, "MSG weir.pub.news.a=2Fb 2 2\r\n{}\r\n");
    fake_gone(cafe);
    fake_gone(news);
    fake_gone(quotes);
}

static void patterns_share_one_feed(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *exact = nats_node_subscriber(n, 0, "all:a.b");
    struct fake_client *star = nats_node_subscriber(n, 1, "all:a.*");
    struct fake_client *tail = nats_node_subscriber(n, 0, "all:>");
    struct buf want[3] = {BUF_INIT, BUF_INIT, BUF_INIT};
    assert_int_equal(nats_node_status(n).feeds, 1);
    for (int i = 0; i < 200; i++) {
        char data[16];
        snprintf(data, sizeof(data), "%d", i);
        if (i % 2)
            nats_node_publish(n, (unsigned)i / 2 % 2, "all:a.b", data);
        else
            nats_peer_pub(&n->peer, "weir.pub.all.a.b", data);
        buf_printf(&want[0], "Pall:a.b|all:a.b|%d\n", i);
        buf_printf(&want[1], "Pall:a.*|all:a.b|%d\n", i);
        buf_printf(&want[2], "Pall:>|all:a.b|%d\n", i);
        NATS_NODE_PUMP(n, nats_node_unread(exact) == want[0].n);
    }
    struct fake_client *clients[] = {exact, star, tail};
    for (int i = 0; i < 3; i++) {
        buf_char(&want[i], '\0');
        nats_node_expect(n, clients[i], want[i].p);
        buf_free(&want[i]);
        fake_gone(clients[i]);
    }
    NATS_NODE_PUMP(n, nats_node_status(n).feeds == 0);
}

/* By a pattern, too, nobody hears what nobody can name. */
static void names_from_the_bus_follow_the_rules(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "all:>");
    nats_peer_pub(&n->peer, "weir.pub.all.caf=C3=A9", "1");
    nats_peer_pub(&n->peer, "weir.pub.all.cafe", "2");
    nats_node_expect(n, f, "Pall:>|all:cafe|2\n");
    assert_int_equal(nats_node_status(n).unmapped, 1);
    fake_gone(f);
}

/* Two publishers, each in its own order, to both shards. */
static void order_of_a_publisher_is_kept(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f[] = {nats_node_subscriber(n, 0, "o"),
                               nats_node_subscriber(n, 1, "o")};
    const unsigned each = 1000;
    for (unsigned i = 0; i < each; i++) {
        char data[16];
        snprintf(data, sizeof(data), "[0,%u]", i);
        nats_node_publish(n, 0, "o", data);
        data[1] = '1';
        nats_peer_pub(&n->peer, "weir.pub._.o", data);
    }
    NATS_NODE_PUMP(n, n->answered == each);
    assert_int_equal(n->ok, each);
    for (int c = 0; c < 2; c++) {
        unsigned next[2] = {0, 0};
        while (next[0] + next[1] < 2 * each) {
            struct fake_line line;
            NATS_NODE_PUMP(n, fake_next(f[c], &line));
            int who = line.data.p[1] - '0';
            assert_int_equal(atoi(line.data.p + 3), next[who]++);
        }
        assert_int_equal(nats_node_unread(f[c]), 0);
        fake_gone(f[c]);
    }
}

static void payloads_are_judged_by_the_namespace(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *plain = nats_node_subscriber(n, 0, "j");
    struct fake_client *plant = nats_node_subscriber(n, 1, "plant:>");
    struct fake_client *object = nats_node_subscriber(n, 0, "objects:o");
    struct fake_client *bytes = nats_node_subscriber(n, 1, "bytes:b");
    char big[1002];
    memset(big, '7', sizeof(big) - 1);
    big[1001] = '\0';

    nats_peer_pub(&n->peer, "weir.pub._.j", "hello");
    nats_peer_pub(&n->peer, "weir.pub._.j", "");
    nats_peer_pub(&n->peer, "weir.pub._.j", "{\"a\":1");
    nats_peer_pub(&n->peer, "weir.pub._.j", big);
    nats_peer_pub(&n->peer, "weir.pub._.j",
                  "{\r\n\"a\": 12345678901234567890\n}");
    nats_node_expect(n, plain, "Pj|j|{\"a\": 12345678901234567890}\n");

    nats_peer_pub(&n->peer, "site.3.p1", "21.5 \xFF\n\"C\"");
    nats_peer_pub(&n->peer, "site.3.a/b", "1"); /* no channel */
    nats_peer_pub(&n->peer, "site.3.p1", "22");
    nats_node_expect(n, plant,
                     "Pplant:>|plant:p1|\"21.5 \xEF\xBF\xBD\\n\\\"C\\\"\"\n"
                     "Pplant:>|plant:p1|22\n");

    nats_peer_pub(&n->peer, "weir.pub.objects.o", "[1]");
    nats_peer_pub(&n->peer, "weir.pub.objects.o", "text");
    nats_peer_pub(&n->peer, "weir.pub.objects.o", "{}");
    nats_node_expect(n, object, "Pobjects:o|objects:o|{}\n");

    /* What is no JSON ends a client that speaks nothing else. */
    nats_peer_pub(&n->peer, "weir.pub.bytes.b", "[]");
    nats_node_expect(n, bytes, "Pbytes:b|bytes:b|[]\n");
    nats_peer_pub(&n->peer, "weir.pub.bytes.b", "\x01\x02");
    NATS_NODE_PUMP(n, bytes->closes == 1);
    assert_int_equal(nats_node_unread(bytes), 0);

    struct nats_status s = nats_node_status(n);
    assert_int_equal(s.not_json, 5);
    assert_int_equal(s.too_big, 1);
    assert_int_equal(s.unmapped, 1);
    assert_int_equal(s.messages_in, 13);
    fake_gone(plain);
    fake_gone(plant);
    fake_gone(object);
    fake_gone(bytes);
}

static void tags_and_info_survive(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 1, "t");
    struct msg_parts p = {.channel = STR_LIT("t"),
                          .data = STR_LIT("1"),
                          .tags = STR_LIT("{\"a\":\n\"\xC3\xA9\"}"),
                          .info = STR_LIT("{\"client\":\"x\"}"),
                          .is_json = true};
    nats_peer_send(&n->peer, "SUB weir.pub._.t 1\r\n");
    nats_peer_flush(&n->peer);
    nats_node_publish_parts(n, 0, p);
    nats_node_expect(n, f, "Pt|t|1|{\"a\":\"\xC3\xA9\"}|{\"client\":\"x\"}\n");
    nats_peer_wait(&n->peer, "Weir-Tags: {\"a\":\"\xC3\xA9\"}\r\n");
    p.info = STR_LIT("");
    nats_node_publish_parts(n, 0, p);
    nats_node_expect(n, f, "Pt|t|1|{\"a\":\"\xC3\xA9\"}|\n");
    /* Bare when there is nothing to say. */
    nats_node_publish(n, 0, "t", "2");
    nats_node_expect(n, f, "Pt|t|2\n");
    nats_peer_wait(&n->peer, "\r\nMSG weir.pub._.t 1 1\r\n2\r\n");

    nats_peer_hpub(&n->peer, "weir.pub._.t", "Weir-Tags: {\"k\":\"v\"}\r\n",
                   "3");
    nats_node_expect(n, f, "Pt|t|3|{\"k\":\"v\"}|\n");
    static const char *const bad[] = {
        "Weir-Tags: {\"k\":1}\r\n", "Weir-Tags: \"k\"\r\n", "Weir-Tags: {\r\n",
        "Weir-Info: [1]\r\n",       "Weir-Info: \r\n",      "Other: {}\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        nats_peer_hpub(&n->peer, "weir.pub._.t", bad[i], "4");
        nats_node_expect(n, f, "Pt|t|4\n");
    }
    fake_gone(f);
}

static void urgency_survives(void **state)
{
    static const char *const yes[] = {"true", "True", "TRUE", "1"};
    static const char *const no[] = {"false", "0", "yes", "", "11", "truer"};
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 1, "u");
    char header[64];
    nats_peer_send(&n->peer, "SUB weir.pub._.u 1\r\n");
    nats_peer_flush(&n->peer);
    nats_node_publish_parts(n, 0,
                            (struct msg_parts){.channel = STR_LIT("u"),
                                               .data = STR_LIT("1"),
                                               .is_json = true,
                                               .urgent = true});
    nats_node_expect(n, f, "Pu|u|1|urgent\n");
    nats_peer_wait(&n->peer, "Weir-Urgent: true\r\n\r\n1\r\n");
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        snprintf(header, sizeof(header), "Weir-Urgent: %s\r\n", yes[i]);
        nats_peer_hpub(&n->peer, "weir.pub._.u", header, "2");
        nats_node_expect(n, f, "Pu|u|2|urgent\n");
    }
    for (size_t i = 0; i < ARRAY_LEN(no); i++) {
        snprintf(header, sizeof(header), "Weir-Urgent: %s\r\n", no[i]);
        nats_peer_hpub(&n->peer, "weir.pub._.u", header, "3");
        nats_node_expect(n, f, "Pu|u|3\n");
    }
    fake_gone(f);
}

static void items_are_named_by_the_namespace(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 1, "keys:a");
    struct fake_client *none = nats_node_subscriber(n, 1, "news:a");
    nats_peer_pub(&n->peer, "weir.pub.keys.a", "{\"k\":\"EUR\"}");
    nats_node_expect(n, f, "Pkeys:a|keys:a|{\"k\":\"EUR\"}|item\n");
    nats_peer_pub(&n->peer, "weir.pub.keys.a", "{\"k\":{}}");
    nats_node_expect(n, f, "Pkeys:a|keys:a|{\"k\":{}}|keyless\n");
    nats_peer_pub(&n->peer, "weir.pub.news.a", "{\"k\":\"EUR\"}");
    nats_node_expect(n, none, "Pnews:a|news:a|{\"k\":\"EUR\"}\n");
    fake_gone(f);
    fake_gone(none);
}

static void wrong_names_are_bad_requests(void **state)
{
    struct nats_node *n = *state;
    assert_int_equal(nats_node_publish_code(n, "nowhere:a", "1"), 107);
    assert_int_equal(nats_node_publish_code(n, "a b", "1"), 107);
    assert_int_equal(nats_node_publish_code(n, "a", "1"), 0);
    assert_int_equal(nats_node_status(n).publish_refused, 0);
}

static void feeds_are_left_after_the_grace(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "g");
    struct fake_client *other = nats_node_subscriber(n, 1, "h");
    assert_int_equal(nats_node_status(n).feeds, 2);
    fake_unsubscribe(f, "g");
    NATS_NODE_PUMP(n, nats_node_status(n).feeds == 1);
    assert_int_equal(fake_subscribe(f, "g"), 0);
    nats_node_expect(n, f, "Sg|0\n");
    assert_int_equal(nats_node_status(n).feeds, 2);
    nats_peer_pub(&n->peer, "weir.pub._.g", "1");
    nats_node_expect(n, f, "Pg|g|1\n");
    /* Back and forth within the grace: one SUB, nothing twice. */
    for (int i = 0; i < 20; i++) {
        fake_unsubscribe(f, "g");
        assert_int_equal(fake_subscribe(f, "g"), 0);
        nats_node_expect(n, f, "Sg|0\n");
    }
    nats_peer_pub(&n->peer, "weir.pub._.g", "2");
    nats_node_expect(n, f, "Pg|g|2\n");
    fake_gone(f);
    fake_gone(other);
    NATS_NODE_PUMP(n, nats_node_status(n).feeds == 0);
}

static void the_node_comes_up_without_nats(void **state)
{
    struct nats_node *n = *state;
    nats_node_start(n, "");
    assert_false(nats_node_status(n).connected);
    struct fake_client *f =
        nats_node_subscriber(n, 1, "a"); /* answered at once */
    assert_int_equal(nats_node_publish_code(n, "a", "1"), 100);
    assert_int_equal(nats_node_status(n).publish_refused, 1);
    nats_server_start(&n->server, NULL);
    NATS_NODE_PUMP(n, nats_node_status(n).connected &&
                          nats_node_status(n).feeds == 1);
    assert_int_equal(nats_node_status(n).gaps,
                     1); /* what came before is missed */
    assert_int_equal(nats_node_publish_code(n, "a", "2"), 0);
    nats_node_expect(n, f, "Pa|a|2\n");
    assert_int_equal(nats_node_status(n).connects, 1);
    assert_int_equal(nats_node_status(n).disconnects, 0);
    fake_gone(f);
}

static void flow_resumes_after_a_restart(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "r");
    struct fake_client *all = nats_node_subscriber(n, 1, "all:>");
    for (unsigned round = 1; round <= 3; round++) {
        nats_server_kill(&n->server);
        NATS_NODE_PUMP(n, !nats_node_status(n).connected);
        assert_int_equal(nats_node_publish_code(n, "r", "\"lost\""), 100);
        assert_int_equal(fake_subscribe(f, round == 1   ? "s"
                                           : round == 2 ? "t"
                                                        : "u"),
                         0);
        NATS_NODE_PUMP(n,
                       f->answers == 1 + round); /* at once, there is no NATS */
        f->read_bytes = f->wire.n;
        nats_server_start(&n->server, NULL);
        NATS_NODE_PUMP(n, nats_node_status(n).connected);
        nats_node_publish_until_ok(n, "r", "1");
        nats_node_expect(n, f, "Pr|r|1\n");
        nats_node_publish_until_ok(n, round == 1 ? "s" : "all:x", "2");
        if (round == 1)
            nats_node_expect(n, f, "Ps|s|2\n");
        else
            nats_node_expect(n, all, "Pall:>|all:x|2\n");
        assert_int_equal(nats_node_status(n).disconnects, round);
        assert_int_equal(nats_node_status(n).connects, round + 1);
        assert_true(nats_node_status(n).gaps >= round);
    }
    fake_gone(f);
    fake_gone(all);
}

/* nats.c closes for good when credentials are refused twice. */
static void refused_credentials_are_tried_for_ever(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "c");
    nats_server_kill(&n->server);
    nats_server_start(&n->server, "somebody");
    NATS_NODE_PUMP(n, !nats_node_status(n).connected &&
                          nats_node_status(n).feeds == 0);
    assert_int_equal(nats_node_publish_code(n, "c", "1"), 100);
    struct fake_client *late = nats_node_subscriber(n, 1, "d");
    nats_server_kill(&n->server);
    nats_server_start(&n->server, NULL);
    NATS_NODE_PUMP(n, nats_node_status(n).connected &&
                          nats_node_status(n).feeds == 2);
    nats_node_publish_until_ok(n, "c", "2");
    nats_node_expect(n, f, "Pc|c|2\n");
    nats_node_publish_until_ok(n, "d", "3");
    nats_node_expect(n, late, "Pd|d|3\n");
    fake_gone(f);
    fake_gone(late);
}

/* A server that stands still: what waits is bounded, the shards are not held
 * up, every publication gets its answer. */
static void the_queue_is_bounded(void **state)
{
    struct nats_node *n = *state;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_peer_send(&n->peer, "SUB weir.node.> 1\r\n");
    nats_peer_flush(&n->peer);
    nats_node_start(n, ",\"queue_max_size\":4096");
    NATS_NODE_PUMP(n, nats_node_status(n).connected);
    nats_peer_wait(&n->peer, "MSG weir.node.");
    struct fake_client *f = nats_node_subscriber(n, 0, "q");
    assert_int_equal(nats_node_publish_code(n, "q", "0"), 0);
    nats_node_expect(n, f, "Pq|q|0\n"); /* and so the heartbeat before it */
    nats_server_freeze(&n->server);
    for (int i = 0; i < 100; i++) {
        nats_node_publish(n, (unsigned)i % 2, "q", "1");
        assert_true(nats_node_status(n).queue_bytes <= 4096);
    }
    fake_settle(&n->hub);
    unsigned refused = n->answered - 1;
    assert_true(refused >= 80 && refused < 100);
    NATS_NODE_PUMP(n, n->answered == 101);
    assert_int_equal(n->ok, 1);
    assert_int_equal(nats_node_status(n).publish_refused, 100);
    assert_int_equal(nats_node_status(n).queue_bytes, 0);
    assert_false(nats_node_status(n).connected);
    /* The heartbeats notice before nats.c does. */
    NATS_NODE_PUMP(n, nats_node_status(n).gaps == 1);
    assert_int_equal(nats_node_status(n).disconnects, 0);
    nats_server_thaw(&n->server);
    NATS_NODE_PUMP(n, nats_node_status(n).connected);
    nats_node_publish_until_ok(n, "q", "2");
    assert_int_equal(nats_node_status(n).connects, 1);
    fake_gone(f);
}

static void the_budget_of_the_node_holds(void **state)
{
    struct nats_node *n = *state;
    n->inflight_bytes = 3000;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_node_start(n, "");
    struct fake_client *f = nats_node_subscriber(n, 0, "b");
    for (int i = 0; i < 100; i++)
        nats_peer_pub(&n->peer, "weir.pub._.b", "\"0123456789\"");
    while (nats_node_status(n).messages_in < 100) /* the shards stand still */
        usleep(1000);
    /* The counters of this message follow its count. */
    nats_peer_pub(&n->peer, "weir.pub._.b", "not json");
    while (nats_node_status(n).not_json == 0)
        usleep(1000);
    unsigned over = (unsigned)nats_node_status(n).over_budget;
    assert_in_range(over, 1, 99);
    NATS_NODE_PUMP(n, nats_node_unread(f) ==
                          (100 - over) * strlen("Pb|b|\"0123456789\"\n"));
    assert_int_equal(n->hub.hub.budget.used_bytes, 0);
    fake_gone(f);
}

static void tell_of_gaps(struct config *cfg)
{
    nats_node_namespace(cfg, "")->history.tell_gaps = true;
}

static void what_is_over_the_budget_is_a_gap(void **state)
{
    struct nats_node *n = *state;
    n->inflight_bytes = 3000;
    n->adjust = tell_of_gaps;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_node_start(n, "");
    struct fake_client *f = nats_node_subscriber(n, 0, "b");
    assert_int_equal(nats_node_status(n).gaps_told, 0);
    for (int i = 0; i < 100; i++)
        nats_peer_pub(&n->peer, "weir.pub._.b", "1");
    while (nats_node_status(n).over_budget == 0) /* the shards stand still */
        usleep(1000);
    NATS_NODE_PUMP(n, nats_node_status(n).gaps_told > 0);
    fake_gone(f);
}

/* Wakes of a shard that hold up whoever wakes it: nats.c's delivery thread
 * stands still, and what it cannot take in is dropped by nats.c. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void on_gated_wake(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static void a_slow_node_counts_what_it_lost(void **state)
{
    struct nats_node *n = *state;
    struct hub hub;
    struct nats_status s;
    char err[256] = "";
    void *arg[1] = {NULL};
    struct hub_options o = nats_node_hub_options;
    const unsigned flood = 80000;
    o.shards = 1;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    n->cfg = nats_node_config(n->server.port, "");
    hub_init(&hub, &o, on_gated_wake, arg);
    hub.broker.node = NATS_NODE_ID;
    struct nats_broker *b = NULL;
    assert_int_equal(nats_broker_start(n->cfg, &hub, &b, err, sizeof(err)), 0);
    struct fake_client *f = fake_open(hub.shards[0], ENCODING_WS_JSON);
    f->mute = true;
    assert_int_equal(fake_subscribe(f, "s"), 0);
    while (f->answers == 0)
        shard_turn(hub.shards[0]);

    pthread_mutex_lock(&gate);
    for (unsigned i = 0; i < flood; i++)
        nats_peer_pub(&n->peer, "weir.pub._.s", "1");
    nats_peer_flush(&n->peer);
    do {
        usleep(1000);
        nats_broker_status(b, &s);
    } while (s.slow_consumer == 0);
    assert_true(s.gaps >= 1);
    pthread_mutex_unlock(&gate);
    do {
        shard_turn(hub.shards[0]);
        nats_broker_status(b, &s);
    } while (s.messages_in + s.slow_consumer < flood);
    assert_int_equal(s.messages_in + s.slow_consumer, flood);
    nats_broker_stop(b);
    fake_gone(f);
    shard_turn(hub.shards[0]);
    hub_fini(&hub);
}

/* Messages are under way for every feed that is being left: nats.c's weak
 * place, and the reason for the graves. */
static void many_feeds_come_and_go(void **state)
{
    struct nats_node *n = *state;
    const unsigned rounds = 40;
    const unsigned each = 500;
    struct fake_client *f = nats_node_subscriber(n, 0, "steady");
    for (unsigned r = 0; r < rounds; r++) {
        char name[32];
        for (unsigned i = 0; i < each; i++) {
            snprintf(name, sizeof(name), "churn.%u", (r % 3) * 400 + i);
            nats_node_acquire(n, name);
        }
        NATS_NODE_PUMP(n, n->fed == (r + 1) * each);
        for (unsigned i = 0; i < each; i++) {
            char subject[64];
            snprintf(subject, sizeof(subject), "weir.pub._.churn.%u",
                     (r % 3) * 400 + i);
            nats_peer_pub(&n->peer, subject, "1");
        }
        for (unsigned i = 0; i < each; i++) {
            snprintf(name, sizeof(name), "churn.%u", (r % 3) * 400 + i);
            n->hub.hub.broker.ops->release(n->broker, str_of(name), false);
        }
        if (r % 4 == 3)
            NATS_NODE_PUMP(n, nats_node_status(n).feeds == 1);
    }
    assert_int_equal(n->fed, 20000);
    NATS_NODE_PUMP(n, nats_node_status(n).feeds == 1);
    assert_int_equal(nats_node_publish_code(n, "steady", "1"), 0);
    nats_node_expect(n, f, "Psteady|steady|1\n");
    fake_gone(f);
}

/* One client, ever new names: SUBs stay bounded, everything is answered, and
 * who stays hears. At the end some names still wait, perhaps. */
static void a_flood_of_names_is_bounded(void **state)
{
    struct nats_node *n = *state;
    const unsigned each = 128; /* client.channel_limit */
    unsigned asked = 0;
    char name[32];
    struct fake_client *f = nats_node_subscriber(n, 0, "steady");
    while (asked < 25000) {
        for (unsigned i = 0; i < each; i++) {
            snprintf(name, sizeof(name), "flood.%u", asked + i);
            nats_node_acquire(n, name);
        }
        asked += each;
        NATS_NODE_PUMP(n, n->fed == asked);
        assert_true(nats_node_status(n).feeds <=
                    FEED_IDLE_MAX + 2 * (uint64_t)each + 1);
        for (unsigned i = 1; i <= each; i++) {
            snprintf(name, sizeof(name), "flood.%u", asked - i);
            n->hub.hub.broker.ops->release(n->broker, str_of(name), false);
        }
    }
    assert_int_equal(nats_node_publish_code(n, "steady", "1"), 0);
    nats_node_expect(n, f, "Psteady|steady|1\n");
    for (unsigned i = 0; i < each; i++) {
        snprintf(name, sizeof(name), "last.%u", i);
        nats_node_acquire(n, name);
    }
    fake_gone(f);
    nats_broker_stop(n->broker);
    n->broker = NULL;
    fake_settle(&n->hub);
    fake_node_fini(&n->hub);
    assert_int_equal(n->fed, asked + each);
}

/* What was accepted before the stop goes out, and its op comes home. */
static void a_stop_sends_what_waits(void **state)
{
    struct nats_node *n = *state;
    nats_peer_send(&n->peer, "SUB weir.pub.> 1\r\n");
    nats_peer_flush(&n->peer);
    for (int i = 0; i < 2500; i++)
        nats_node_publish(n, 0, "last", "1");
    nats_node_acquire(n, "late");
    nats_node_publish(n, 0, "last", "\"end\"");
    nats_broker_stop(n->broker);
    n->broker = NULL;
    fake_settle(&n->hub);
    fake_node_fini(&n->hub);
    assert_int_equal(n->answered, 2501);
    assert_int_equal(n->ok, 2501);
    assert_int_equal(n->fed, 1);
    nats_peer_wait(&n->peer, "\"end\"\r\n");
}

static void bad_options_stop_the_start(void **state)
{
    struct nats_node *n = *state;
    char err[256] = "";
    n->cfg = nats_node_config(n->server.port,
                              ",\"credentials\":\"/nonexistent/x.creds\"");
    fake_node_init(&n->hub, 1, &nats_node_hub_options);
    n->hub.hub.broker.node = NATS_NODE_ID;
    int rc =
        nats_broker_start(n->cfg, &n->hub.hub, &n->broker, err, sizeof(err));
    assert_int_equal(rc, ERR_INVALID);
    assert_non_null(strstr(err, "/nonexistent/x.creds"));
    assert_null(n->hub.hub.broker.ops);
    fake_node_fini(&n->hub);
}

/* --- shards on threads of their own --------------------------------------- */

#define THREAD_ROUNDS 400

/* Even ones go to "plain", odd ones to "all:x.y". */
static const char *const thread_topics[] = {"plain", "all:x.*", "all:x.y"};

struct actor {
    struct fake_client *client;
    bool ready;
    unsigned sent;
    unsigned received;
    unsigned seen[3][2]; /* by topic and publishing shard */
};

static _Atomic unsigned thread_answers;

static void on_thread_done(struct publish_op *op)
{
    CHECK(op->result == 0);
    atomic_fetch_add(&thread_answers, 1);
    free(op);
}

static void thread_publish(struct shard *s, unsigned i)
{
    char data[32];
    snprintf(data, sizeof(data), "[%u,%u]", s->index, i);
    struct msg_parts parts = {.channel = str_of(i % 2 ? "all:x.y" : "plain"),
                              .data = str_of(data),
                              .is_json = true,
                              .born_ns = clock_now_ns()};
    struct publish_op *op = mem_zalloc(sizeof(*op));
    op->msg = msg_new(&s->hub->budget, &parts);
    CHECK(op->msg);
    op->done = on_thread_done;
    hub_publish(s, op);
}

/* On every topic each publisher's in its order, and none twice. */
static void count_lines(struct actor *a)
{
    struct fake_line line;
    while (fake_next(a->client, &line)) {
        unsigned t = 0;
        unsigned who;
        unsigned i;
        if (line.kind != 'P')
            continue;
        while (!str_eq(line.topic, str_of(thread_topics[t])))
            t++;
        CHECK(sscanf(line.data.p, "[%u,%u]", &who, &i) == 2 && who < 2);
        CHECK(i == 2 * a->seen[t][who]++ + (t > 0));
        a->received++;
    }
}

static _Atomic unsigned subscribed;

static bool act(struct shard *s, void *arg)
{
    struct actor *a = arg;
    if (!a->client) {
        a->client = fake_open(s, ENCODING_WS_JSON);
        for (size_t t = 0; t < ARRAY_LEN(thread_topics); t++)
            CHECK(fake_subscribe(a->client, thread_topics[t]) == 0);
        return true;
    }
    if (a->client->answers == 3 && !a->ready) {
        a->ready = true;
        atomic_fetch_add(&subscribed, 1);
    }
    if (atomic_load(&subscribed) == 2 && a->sent < THREAD_ROUNDS)
        thread_publish(s, a->sent++);
    else
        usleep(200);
    count_lines(a);
    /* Half on "plain" once, half on all:x.y by two subscriptions. */
    if (a->received < 3 * THREAD_ROUNDS ||
        atomic_load(&thread_answers) < 2 * THREAD_ROUNDS)
        return true;
    fake_gone(a->client);
    return false;
}

static void threads_publish_and_hear(void **state)
{
    struct nats_node *n = *state;
    struct hub hub;
    struct actor actors[2] = {0};
    void *args[2] = {&actors[0], &actors[1]};
    char err[256] = "";
    nats_server_start(&n->server, NULL);
    n->cfg = nats_node_config(n->server.port, ",\"grace\":\"10ms\"");
    threads_init(&hub, &nats_node_hub_options);
    hub.broker.node = NATS_NODE_ID;
    struct nats_broker *b = NULL;
    assert_int_equal(nats_broker_start(n->cfg, &hub, &b, err, sizeof(err)), 0);
    threads_run(&hub, act, args);
    for (int i = 0; i < 2; i++)
        assert_int_equal(actors[i].received, 3 * THREAD_ROUNDS);
    nats_broker_stop(b);
    hub_fini(&hub);
    assert_int_equal(hub.budget.used_bytes, 0);
}

int main(void)
{
    log_set_level(getenv("TEST_LOG") ? LOG_DEBUG : LOG_NONE);
    const struct CMUnitTest tests[] = {
#define RUNNING(name) \
    cmocka_unit_test_setup_teardown(name, nats_node_running, nats_node_free)
#define ALONE(name) \
    cmocka_unit_test_setup_teardown(name, nats_node_new, nats_node_free)
        RUNNING(publications_reach_every_shard_once),
        RUNNING(any_nats_client_can_publish_and_listen),
        RUNNING(names_from_the_bus_follow_the_rules),
        RUNNING(patterns_share_one_feed),
        RUNNING(order_of_a_publisher_is_kept),
        RUNNING(payloads_are_judged_by_the_namespace),
        RUNNING(tags_and_info_survive),
        RUNNING(urgency_survives),
        RUNNING(items_are_named_by_the_namespace),
        RUNNING(wrong_names_are_bad_requests),
        RUNNING(feeds_are_left_after_the_grace),
        ALONE(the_node_comes_up_without_nats),
        RUNNING(flow_resumes_after_a_restart),
        RUNNING(refused_credentials_are_tried_for_ever),
        ALONE(the_queue_is_bounded),
        ALONE(the_budget_of_the_node_holds),
        ALONE(what_is_over_the_budget_is_a_gap),
        ALONE(a_slow_node_counts_what_it_lost),
        RUNNING(many_feeds_come_and_go),
        RUNNING(a_flood_of_names_is_bounded),
        RUNNING(a_stop_sends_what_waits),
        ALONE(bad_options_stop_the_start),
        ALONE(threads_publish_and_hear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
