/* What ends an event stream, or is told on it: gaps of the bus, losses, what is
 * not JSON, a bus that is away. */
#include "gateway/transport/sse_conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/fanout.h"
#include "hub/hub.h"
#include "tests/kit/stream.h"
#include "tests/kit/talker.h"

/* hh: three publications are kept; gg: plain, and gaps are told; bb: binary. */
#define OPEN                               \
    "\"allow_subscribe_for_client\":true," \
    "\"allow_subscribe_for_anonymous\":true"
#define KEPT "\"history_size\":3,\"history_ttl\":\"1h\",\"force_recovery\":true"
#define CONFIG                                                              \
    "{\"client\":{\"allow_anonymous_connect_without_token\":true},"         \
    "\"sse\":{\"ping_interval\":\"24h\"},\"http_api\":{\"insecure\":true}," \
    "\"channel\":{\"namespaces\":[{\"name\":\"hh\"," OPEN "," KEPT "},"     \
    "{\"name\":\"gg\"," OPEN ",\"tell_gaps\":true},"                        \
    "{\"name\":\"bb\"," OPEN "," KEPT                                       \
    ",\"publication_data_format\":\"binary\"}]}}"

static struct gate gate;

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 2, CONFIG);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gate_fini(&gate);
    return 0;
}

/* Returns the position it got, as an id; valid until the next call. */
static const char *publish(const char *body)
{
    static char id[64];
    struct gate_peer p;
    struct gate_answer a;
    unsigned long long offset = 0;
    char epoch[16] = "";
    stream_request(&gate, &p, 1, "POST /api/publish", "", body);
    assert_int_equal(stream_take_answer(&p, &a), 200);
    (void)sscanf(a.body.p, "{\"result\":{\"offset\":%llu,\"epoch\":\"%8[^\"]",
                 &offset, epoch);
    snprintf(id, sizeof(id), "%s:%llu", epoch, offset);
    stream_end(&p);
    return id;
}

static void end(struct talker *t)
{
    stream_end(&t->peer);
}

#define DATA(channel, data) "{\"channel\":\"" channel "\",\"data\":" data "}"
#define BODY(channel, data) DATA(channel, data)

static void lose(const char *channel, enum loss why)
{
    struct lost_topic lost = {.name = str_of(channel),
                              .hash = msg_channel_hash(str_of(channel))};
    fanout_lose(gate.loops[0]->shard, &lost, why);
}

static void test_gap(void **state)
{
    (void)state;
    struct talker t;
    struct events_event e;
    assert_int_equal(talker_open(&gate, &t, "channel=gg:a", NULL), 200);
    assert_true(talker_next(&t, &e));
    lose("gg:a", LOSS_GAP);
    talker_expect(&t, "gap", NULL, "{\"channels\":[\"gg:a\"]}");
    (void)publish(BODY("gg:a", "1"));
    talker_expect(&t, "", NULL, DATA("gg:a", "1"));
    assert_int_equal(gate.loops[0]->shard->stats.subs_gap, 1);
    end(&t);
}

static void test_loss(void **state)
{
    (void)state;
    struct talker t;
    struct events_event e;
    assert_int_equal(talker_open(&gate, &t, "channel=hh:a", NULL), 200);
    assert_true(talker_next(&t, &e));
    const char *id = publish(BODY("hh:a", "1"));
    talker_expect(&t, "", id, DATA("hh:a", "1"));
    lose("hh:a", LOSS_STREAM);
    (void)publish(BODY("hh:a", "2"));
    gate_pass(&gate, 6000); /* history.heal_spread */
    talker_expect(&t, "disconnect", NULL,
                  "{\"code\":3010,\"reason\":\"insufficient state\"}");
    talker_expect_nothing(&t);
    assert_true(t.peer.eof);
    assert_int_equal(gate.loops[0]->shard->stats.close_insufficient, 1);
    end(&t);
}

static void test_binary(void **state)
{
    (void)state;
    struct talker t;
    char id[64];
    snprintf(id, sizeof(id), "%s", publish(BODY("bb:a", "1")));
    (void)publish("{\"channel\":\"bb:a\",\"b64data\":\"/w==\"}");
    assert_int_equal(talker_open(&gate, &t, "channel=bb:a", id), 503);
    end(&t);
}

/* What the bus says to whoever wants a feed. */
static void on_fed(void *reader, struct letter *self)
{
    struct feed_op *op = container_of(self, struct feed_op, letter);
    (void)reader;
    op->done(op);
}

static void acquire_in_vain(void *broker, struct feed_op *op)
{
    (void)broker;
    op->error = 100;
    op->letter.run = on_fed;
    mailbox_post(&op->home->mailbox, &op->letter);
}

static void release(void *broker, struct str channel, bool is_pattern)
{
    (void)broker;
    (void)channel;
    (void)is_pattern;
}

static const struct broker_ops in_vain = {.acquire = acquire_in_vain,
                                          .release = release};

/* Trying again helps, which EventSource does only if the stream began. */
static void test_bus_is_away(void **state)
{
    (void)state;
    struct talker t;
    gate.app.hub.broker.ops = &in_vain;
    assert_int_equal(talker_open(&gate, &t, "channel=hh:a&channel=hh:b", "x"),
                     200);
    talker_expect(&t, "disconnect", NULL,
                  "{\"code\":3004,\"reason\":\"internal server error\"}");
    talker_expect_nothing(&t);
    assert_true(t.peer.eof);
    /* Nothing began anew. */
    assert_int_equal(gate.loops[0]->shard->stats.recover_unknown, 0);
    assert_int_equal(gate.loops[0]->shard->stats.recover_too_old, 0);
    end(&t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_gap),
        TEST(test_loss),
        TEST(test_binary),
        TEST(test_bus_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
