/* The table of SUBs with time handed in, on a real connection: graces and
 * graves pass while messages for them are under way. */
#include "gateway/broker/feed.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/config.h"
#include "tests/kit/fake.h"
#include "tests/kit/nats_peer.h"

#define GRACE_MS 1000

struct fixture {
    struct nats_server server;
    struct nats_peer peer;
    struct config *cfg;
    struct fake_node node;
    struct delivery delivery;
    struct feed_table feeds;
    natsConnection *nc;
};

static natsConnection *connect_to(const struct nats_server *s)
{
    natsConnection *nc = NULL;
    natsOptions *o = NULL;
    char url[64];
    snprintf(url, sizeof(url), "nats://127.0.0.1:%d", s->port);
    assert_int_equal(natsOptions_Create(&o), NATS_OK);
    assert_int_equal(natsOptions_SetURL(o, url), NATS_OK);
    assert_int_equal(natsOptions_UseGlobalMessageDelivery(o, true), NATS_OK);
    assert_int_equal(nats_SetMessageDeliveryPoolSize(1), NATS_OK);
    assert_int_equal(natsConnection_Connect(&nc, o), NATS_OK);
    natsOptions_Destroy(o);
    return nc;
}

/* What feed_acquire says. */
static int ask(struct fixture *f, const char *channel, struct letter *who)
{
    char subject[128];
    int n = snprintf(subject, sizeof(subject), "weir.pub._.%s", channel);
    struct subject_space *s = subject_find(&f->delivery.map, str_of(channel));
    assert_non_null(s);
    return feed_acquire(&f->feeds, str_n(subject, (size_t)n),
                        delivery_port(&f->delivery, s), who);
}

static void acquire(struct fixture *f, const char *channel)
{
    assert_int_equal(ask(f, channel, NULL), 0);
}

static void release(struct fixture *f, const char *channel, uint64_t now_ms)
{
    char subject[128];
    int n = snprintf(subject, sizeof(subject), "weir.pub._.%s", channel);
    feed_release(&f->feeds, str_n(subject, (size_t)n), now_ms);
}

static int set_up(void **state)
{
    char err[256] = "";
    struct fixture *f = mem_zalloc(sizeof(*f));
    f->server.port = nats_server_port();
    nats_server_start(&f->server, NULL);
    nats_peer_open(&f->peer, &f->server);
    f->cfg = config_parse("{}", 2, "test", NULL, err, sizeof(err));
    if (!f->cfg)
        fail_msg("%s", err);
    fake_node_init(&f->node, 1, NULL);
    delivery_init(&f->delivery, f->cfg, &f->node.hub);
    feed_table_init(&f->feeds, GRACE_MS);
    f->nc = connect_to(&f->server);
    feed_table_attach(&f->feeds, f->nc);
    acquire(f, "marker"); /* tells when all before it has arrived */
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    delivery_stop(&f->delivery);
    natsConnection_Close(f->nc);
    feed_table_detach(&f->feeds);
    natsConnection_Destroy(f->nc);
    STAILQ_INIT(&f->feeds.served);
    assert_int_equal(nats_CloseAndWait(NATS_PATIENCE_MS), NATS_OK);
    feed_table_fini(&f->feeds);
    fake_settle(&f->node);
    fake_node_fini(&f->node);
    delivery_fini(&f->delivery);
    config_free(f->cfg);
    nats_peer_close(&f->peer);
    nats_server_kill(&f->server);
    free(f);
    return 0;
}

static void flush(struct fixture *f)
{
    assert_int_equal(natsConnection_FlushTimeout(f->nc, NATS_PATIENCE_MS),
                     NATS_OK);
}

static uint64_t heard(struct fixture *f)
{
    return atomic_load(&f->delivery.messages);
}

static void wait_heard(struct fixture *f, uint64_t n)
{
    uint64_t end = clock_now_ns() + NATS_PATIENCE_MS * UINT64_C(1000000);
    while (heard(f) < n) {
        assert_true(clock_now_ns() < end);
        usleep(1000);
    }
}

/* What is published now brings `n` messages, and the marker's. */
static void expect_heard(struct fixture *f, const char *subject, uint64_t n)
{
    uint64_t before = heard(f);
    flush(f);
    nats_peer_pub(&f->peer, subject, "1");
    nats_peer_flush(&f->peer);
    nats_peer_pub(&f->peer, "weir.pub._.marker", "1");
    wait_heard(f, before + n + 1);
    assert_int_equal(heard(f), before + n + 1);
}

/* Without the marker's. */
static uint64_t subs(struct fixture *f)
{
    return atomic_load(&f->feeds.count) - 1;
}

static void users_share_one_sub(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++)
        acquire(f, "a");
    assert_int_equal(subs(f), 1);
    expect_heard(f, "weir.pub._.a", 1);
    release(f, "a", 10);
    release(f, "a", 10);
    assert_int_equal(feed_table_run(&f->feeds, 100000), -1);
    expect_heard(f, "weir.pub._.a", 1);
    release(f, "a", 100000);
    release(f, "a", 100000); /* one too many: nothing happens */
    release(f, "never", 100000);
    assert_int_equal(feed_table_run(&f->feeds, 100000), GRACE_MS);
}

static void graces_and_graves_pass_in_order(void **state)
{
    struct fixture *f = *state;
    acquire(f, "a");
    acquire(f, "b");
    release(f, "a", 1000);
    release(f, "b", 1400);
    assert_int_equal(feed_table_run(&f->feeds, 1999), 1);
    assert_int_equal(subs(f), 2);
    assert_int_equal(feed_table_run(&f->feeds, 2000), 400);
    assert_int_equal(subs(f), 1);
    expect_heard(f, "weir.pub._.a", 0);
    expect_heard(f, "weir.pub._.b", 1);

    acquire(f, "b"); /* just in time */
    assert_int_equal(feed_table_run(&f->feeds, 2500), 4500);
    assert_int_equal(subs(f), 1);
    acquire(f, "a"); /* its old SUB is in a grave */
    assert_int_equal(subs(f), 2);
    expect_heard(f, "weir.pub._.a", 1);
    assert_false(TAILQ_EMPTY(&f->feeds.graves));
    feed_table_run(&f->feeds, 7000);
    assert_true(TAILQ_EMPTY(&f->feeds.graves));
    expect_heard(f, "weir.pub._.a", 1);
}

static void the_oldest_idle_feed_makes_room(void **state)
{
    struct fixture *f = *state;
    char name[32];
    for (unsigned i = 0; i <= FEED_IDLE_MAX; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        acquire(f, name);
        release(f, name, i / 1000);
    }
    assert_int_equal(subs(f), FEED_IDLE_MAX);
    assert_int_equal(f->feeds.idle_count, FEED_IDLE_MAX);
    assert_int_equal(f->feeds.evicted, 1);
    expect_heard(f, "weir.pub._.n1", 1);
    expect_heard(f, "weir.pub._.n0", 0);
}

static void visit(struct fixture *f, const char *lead, unsigned i)
{
    char name[32];
    snprintf(name, sizeof(name), "%s%u", lead, i);
    acquire(f, name);
    release(f, name, 0);
}

/* At time 0, one after the other: all graves are taken, as many feeds idle
 * as may be, and one more. */
static void fill(struct fixture *f)
{
    for (unsigned i = 0; i <= FEED_IDLE_MAX + FEED_GRAVES_MAX; i++)
        visit(f, "n", i);
    assert_int_equal(f->feeds.grave_count, FEED_GRAVES_MAX);
    assert_int_equal(f->feeds.idle_count, FEED_IDLE_MAX + 1);
    assert_int_equal(f->feeds.evicted, FEED_GRAVES_MAX);
    assert_int_equal(f->feeds.waited, 0);
}

static void expect_served(struct fixture *f, struct letter *who)
{
    assert_ptr_equal(STAILQ_FIRST(&f->feeds.served), who);
    if (who)
        STAILQ_REMOVE_HEAD(&f->feeds.served, link);
}

static void without_a_grave_new_subjects_wait(void **state)
{
    struct fixture *f = *state;
    struct letter who[4];
    fill(f);
    assert_int_equal(ask(f, "a", &who[0]), ERR_AGAIN);
    assert_int_equal(ask(f, "b", &who[1]), ERR_AGAIN);
    assert_int_equal(ask(f, "c", &who[2]), ERR_AGAIN);
    assert_int_equal(ask(f, "a", &who[3]), ERR_AGAIN);
    release(f, "b", 0); /* who asked is told all the same */
    expect_served(f, &who[1]);
    assert_int_equal(f->feeds.waited, 3);
    assert_int_equal(subs(f), FEED_IDLE_MAX + 1);

    /* Graces are over, but there are no graves: nothing to do till then. */
    int64_t ms = feed_table_run(&f->feeds, FEED_GRAVE_MS - 1);
    assert_int_equal(ms, 1);
    assert_int_equal(f->feeds.grave_count, FEED_GRAVES_MAX);
    expect_served(f, NULL);
    expect_heard(f, "weir.pub._.a", 0);

    assert_int_equal(feed_table_run(&f->feeds, FEED_GRAVE_MS), 0);
    expect_served(f, &who[0]); /* by their feeds */
    expect_served(f, &who[3]);
    expect_served(f, &who[2]);
    expect_served(f, NULL);
    assert_int_equal(subs(f), 2);
    assert_int_equal(f->feeds.evicted, FEED_GRAVES_MAX); /* grace over */
    expect_heard(f, "weir.pub._.a", 1);
    expect_heard(f, "weir.pub._.b", 0);
    expect_heard(f, "weir.pub._.c", 1);
}

static void known_subjects_do_not_wait(void **state)
{
    struct fixture *f = *state;
    struct letter who;
    char last[32];
    fill(f);
    assert_int_equal(ask(f, "a", &who), ERR_AGAIN);
    assert_int_equal(ask(f, "marker", &who), 0);
    release(f, "marker", 0);
    snprintf(last, sizeof(last), "n%u", FEED_IDLE_MAX + FEED_GRAVES_MAX);
    assert_int_equal(ask(f, last, NULL), 0);
    /* It is idle no more: that made room. */
    assert_int_equal(feed_table_run(&f->feeds, 0), 0);
    expect_served(f, &who);
    expect_heard(f, "weir.pub._.a", 1);
}

/* However many leave at once, others come: the node had as many SUBs. */
static void a_great_exit_holds_nobody_up(void **state)
{
    struct fixture *f = *state;
    const unsigned many = 2 * (FEED_GRAVES_MAX + FEED_IDLE_MAX);
    char name[32];
    for (unsigned i = 0; i < many; i++) {
        snprintf(name, sizeof(name), "m%u", i);
        acquire(f, name);
    }
    for (unsigned i = 0; i < many; i++) {
        snprintf(name, sizeof(name), "m%u", i);
        release(f, name, 0);
    }
    assert_int_equal(f->feeds.idle_count, many - FEED_GRAVES_MAX);
    for (unsigned i = 0; i < FEED_GRAVES_MAX + FEED_IDLE_MAX; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        acquire(f, name);
    }
    assert_int_equal(ask(f, "over", NULL), ERR_AGAIN);
    assert_int_equal(subs(f), many + FEED_IDLE_MAX);
}

static void too_many_askers_are_not_kept(void **state)
{
    struct fixture *f = *state;
    struct letter *who = mem_zalloc(FEED_ASKERS_MAX * sizeof(*who));
    struct letter over;
    char name[32];
    fill(f);
    for (unsigned i = 0; i < FEED_ASKERS_MAX; i++) {
        snprintf(name, sizeof(name), "w%u", i / 2);
        assert_int_equal(ask(f, name, &who[i]), ERR_AGAIN);
    }
    assert_int_equal(ask(f, "w0", &over), ERR_FULL);
    assert_int_equal(ask(f, "over", &over), ERR_FULL);
    assert_int_equal(ask(f, "gone", &over), ERR_FULL);
    release(f, "gone", 0);
    expect_served(f, NULL);
    feed_table_run(&f->feeds, FEED_GRAVE_MS);
    for (unsigned i = 0; i < FEED_ASKERS_MAX; i++)
        expect_served(f, &who[i]);
    expect_served(f, NULL);
    assert_int_equal(f->feeds.askers, 0);
    assert_int_equal(subs(f), FEED_ASKERS_MAX / 2 + 1);
    expect_heard(f, "weir.pub._.over", 1);
    free(who);
}

static void nobody_waits_for_a_closed_connection(void **state)
{
    struct fixture *f = *state;
    struct letter who[2];
    fill(f);
    assert_int_equal(ask(f, "a", &who[0]), ERR_AGAIN);
    assert_int_equal(ask(f, "b", &who[1]), ERR_AGAIN);
    natsConnection_Close(f->nc);
    feed_table_detach(&f->feeds);
    natsConnection_Destroy(f->nc);
    expect_served(f, &who[0]);
    expect_served(f, &who[1]);
    expect_served(f, NULL);
    acquire(f, "c");
    f->nc = connect_to(&f->server);
    feed_table_attach(&f->feeds, f->nc);
    assert_int_equal(subs(f), 3);
    expect_heard(f, "weir.pub._.a", 1);
    expect_heard(f, "weir.pub._.c", 1);
}

static void a_new_connection_gets_every_sub(void **state)
{
    struct fixture *f = *state;
    acquire(f, "a");
    acquire(f, "b");
    release(f, "b", 0);
    release(f, "gone", 0);
    natsConnection_Close(f->nc);
    feed_table_detach(&f->feeds);
    natsConnection_Destroy(f->nc);
    assert_int_equal(f->feeds.count, 0);
    acquire(f, "c"); /* while there is none */
    feed_table_run(&f->feeds, 1);
    assert_int_equal(f->feeds.count, 0);
    f->nc = connect_to(&f->server);
    feed_table_attach(&f->feeds, f->nc);
    assert_int_equal(subs(f), 2); /* nobody wants b */
    expect_heard(f, "weir.pub._.a", 1);
    expect_heard(f, "weir.pub._.c", 1);
    expect_heard(f, "weir.pub._.b", 0);
    assert_int_equal(feed_table_run(&f->feeds, GRACE_MS), -1);
}

/* SUB, UNSUB and free again and again while messages for them arrive: under
 * AddressSanitizer, and with nats.c before 3.6.1. */
static void graves_hold_under_fire(void **state)
{
    struct fixture *f = *state;
    char name[32];
    char subject[64];
    uint64_t now_ms = 1;
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 50; i++) {
            snprintf(name, sizeof(name), "c%d", i);
            acquire(f, name);
        }
        flush(f);
        for (int i = 0; i < 200; i++) {
            snprintf(subject, sizeof(subject), "weir.pub._.c%d", i % 50);
            nats_peer_pub(&f->peer, subject, "1");
        }
        /* Once for certain; in later rounds the UNSUB may win every race. */
        for (int ms = 0; round == 0 && heard(f) == 0 && ms < 10000; ms++) {
            poll(NULL, 0, 1);
            fake_settle(&f->node);
        }
        for (int i = 0; i < 50; i++) {
            snprintf(name, sizeof(name), "c%d", i);
            release(f, name, now_ms);
        }
        now_ms += GRACE_MS;
        feed_table_run(&f->feeds, now_ms); /* UNSUB, under fire */
        flush(f);
        if (round % 4 == 3)
            feed_table_run(&f->feeds, now_ms += FEED_GRAVE_MS);
        fake_settle(&f->node);
    }
    assert_int_equal(subs(f), 0);
    assert_true(heard(f) > 0);
    expect_heard(f, "weir.pub._.c1", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(users_share_one_sub),
        TEST(graces_and_graves_pass_in_order),
        TEST(the_oldest_idle_feed_makes_room),
        TEST(without_a_grave_new_subjects_wait),
        TEST(known_subjects_do_not_wait),
        TEST(a_great_exit_holds_nobody_up),
        TEST(too_many_askers_are_not_kept),
        TEST(nobody_waits_for_a_closed_connection),
        TEST(a_new_connection_gets_every_sub),
        TEST(graves_hold_under_fire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
