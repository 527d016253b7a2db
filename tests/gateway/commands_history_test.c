/* What a connected client asks of a channel's past, gateway/commands.c: the
 * answers of many histories, of what is not JSON, of a bus without streams. */
#include "gateway/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/publish.h"
#include "tests/kit/talk.h"

static struct gate gate;

/* --- around each test ----------------------------------------------------- */

#define KEPT "\"history_size\":10,\"history_ttl\":\"1h\""
static const char config[] =
    "{\"client\":{\"insecure\":true},\"channel\":{\"namespaces\":["
    "{\"name\":\"hh\"," KEPT "},"
    "{\"name\":\"aa\"," KEPT ",\"force_recovery_mode\":\"cache\","
    "\"auto_cache_recover\":true},"
    "{\"name\":\"ss\"," KEPT ",\"throttle\":{\"snapshot\":1}},"
    "{\"name\":\"bb\"," KEPT ",\"publication_data_format\":\"binary\"}]}}";

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 2, config);
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

/* --- history -------------------------------------------------------------- */

/* A channel of the namespace whose home is shard 0. */
static const char *near_in(const char *ns)
{
    static char name[64];
    for (unsigned i = 0;; i++) {
        snprintf(name, sizeof(name), "%s:%u", ns, i);
        if (home_of(&gate.app.hub, msg_channel_hash(str_of(name))) ==
            gate.loops[0]->shard)
            return name;
    }
}

static void say_publish(struct talk *t, const char *channel, const char *data)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "{\"publish\":{\"channel\":\"%s\",\"data\":%s},\"id\":9}",
               channel, data);
    buf_char(&b, '\0');
    talk_say(t, b.p);
    talk_expect(t, "{\"id\":9,\"publish\":{}}\n");
    buf_free(&b);
}

static void publish_binary(const char *channel)
{
    struct rules_channel ch;
    struct publish_request r = {.channel = &ch, .data = STR_LIT("\xff")};
    const struct config *cfg = gate.app.config;
    struct msg *m;
    assert_int_equal(rules_channel(cfg, str_of(channel), RULES_CONCRETE, &ch),
                     0);
    assert_int_equal(publish_make(cfg, &gate.app.hub.budget, &r, &m), 0);
    home_send(gate.loops[0]->shard, m);
    gate_settle(&gate);
}

static void say_histories(struct talk *t, const char *channel, unsigned n)
{
    struct buf b = BUF_INIT;
    for (unsigned i = 0; i < n; i++)
        buf_printf(&b,
                   "{\"history\":{\"channel\":\"%s\",\"limit\":-1},"
                   "\"id\":%u}\n",
                   channel, i + 2);
    buf_char(&b, '\0');
    talk_say(t, b.p);
    buf_free(&b);
}

/* A small message asks for much: its answers do not wait for each other. */
static void test_many_histories(void **state)
{
    (void)state;
    enum { DATA = 60000, ASKED = 60 };
    static char data[DATA];
    const char *channel = near_in("hh");
    struct str line;
    unsigned answers = 0;
    memset(data, '1', DATA - 1);
    struct talk *t = open_one();
    talk_connect(t);
    for (unsigned i = 0; i < 10; i++)
        say_publish(t, channel, data);
    say_histories(t, channel, ASKED);
    while (talk_next(t, &line))
        answers += line.n > 10 * (DATA - 1);
    assert_int_equal(answers, ASKED);
    assert_in_range(gate.loops[0]->reply.cap, 0, 4 << 20);
    /* Who does not take them is closed, and none is made any more. */
    t->next_write = WRITE_CHOKED;
    say_histories(t, channel, ASKED);
    assert_in_range(gate.loops[0]->reply.cap, 0, 4 << 20);
    assert_int_equal(t->session.client.close_code, 3008);
    t->next_write = WRITE_DONE;
    talk_end(t);
}

/* What is not JSON cannot be told to a client that speaks JSON. */
static void test_binary_history(void **state)
{
    (void)state;
    const char *channel = near_in("bb");
    struct talk *t = open_one();
    talk_connect(t);
    say_publish(t, channel, "1");
    say_histories(t, channel, 1);
    struct str line;
    assert_true(talk_next(t, &line));
    assert_non_null(memmem(line.p, line.n, "{\"data\":1,", 10));
    publish_binary(channel);
    say_histories(t, channel, 1);
    talk_expect_close(t, 3506, "inappropriate protocol");
    talk_end(t);
}

static void on_removed(struct remove_op *op)
{
    free(op);
}

static void remove_history(const char *channel)
{
    struct remove_op *op = mem_zalloc(sizeof(*op) + strlen(channel));
    op->done = on_removed;
    op->channel_len = (uint32_t)strlen(channel);
    memcpy(op->channel, channel, op->channel_len);
    home_remove(gate.loops[0]->shard, op);
    gate_settle(&gate);
}

/* What was removed is not in a snapshot either, as over a bus. */
static void test_removed(void **state)
{
    (void)state;
    const char *channel = near_in("ss");
    struct str line;
    struct talk *t = open_one();
    talk_connect(t);
    say_publish(t, channel, "\"secret\"");
    remove_history(channel);
    talk_say(
        t, talk_text("{\"subscribe\":{\"channel\":\"%s\"},\"id\":2}", channel));
    assert_true(talk_next(t, &line));
    assert_null(memmem(line.p, line.n, "secret", 6));
    talk_end(t);
}

static void on_fed(void *reader, struct letter *self)
{
    struct feed_op *op = container_of(self, struct feed_op, letter);
    (void)reader;
    op->done(op);
}

static void acquire_without_stream(void *broker, struct feed_op *op)
{
    (void)broker;
    op->letter.run = on_fed;
    mailbox_post(&op->home->mailbox, &op->letter);
}

static void release(void *broker, struct str channel, bool is_pattern)
{
    (void)broker;
    (void)channel;
    (void)is_pattern;
}

/* A bus without streams (JetStream is disabled): subscribes come without
 * positions, and recoveries are 108, if somebody asks for one. */
static void test_no_stream(void **state)
{
    (void)state;
    static const struct broker_ops ops = {.acquire = acquire_without_stream,
                                          .release = release};
    gate.app.hub.broker.ops = &ops;
    struct talk *t = open_one();
    talk_connect(t);
    talk_say(t, "{\"subscribe\":{\"channel\":\"aa:1\"},\"id\":2}");
    talk_expect(t, "{\"id\":2,\"subscribe\":{}}\n");
    talk_say(t, "{\"subscribe\":{\"channel\":\"aa:2\",\"recoverable\":true},"
                "\"id\":3}");
    talk_expect(t, "{\"id\":3,\"subscribe\":{}}\n");
    talk_say(t, "{\"subscribe\":{\"channel\":\"aa:3\",\"recover\":true},"
                "\"id\":4}");
    talk_expect(t, "{\"id\":4,\"error\":{\"code\":108,"
                   "\"message\":\"not available\"}}\n");
    talk_end(t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_many_histories),
        TEST(test_binary_history),
        TEST(test_removed),
        TEST(test_no_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
