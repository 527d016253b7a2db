/* Reads of a stream that is being written to and pushes publications out: what
 * a read says must be true, whatever it could prove. */
#include "gateway/broker/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "tests/kit/stream_node.h"

#define ROUNDS 1500
#define CHANNELS 3
#define READS_MAX 2000

struct result {
    unsigned channel;
    uint64_t since;
    uint64_t floor;
    uint64_t last;
    uint64_t offsets[8];
    uint32_t count;
};

static const char *const channels[CHANNELS] = {"news:a", "news:b", "news:c"};
/* Of each channel, by arrival. */
static uint64_t published[CHANNELS][ROUNDS];
static unsigned published_count[CHANNELS];
static struct result results[READS_MAX];
static unsigned started;
static unsigned answered;
static unsigned failed;

struct numbered_op {
    struct publish_op op;
    unsigned channel;
};

static void on_numbered(struct publish_op *op)
{
    unsigned c = container_of(op, struct numbered_op, op)->channel;
    CHECK(op->result == 0);
    published[c][published_count[c]++] = op->position.offset;
    free(op);
}

static void publish(struct nats_node *n, unsigned channel)
{
    struct numbered_op *o = mem_zalloc(sizeof(*o));
    struct msg_parts parts = {.channel = str_of(channels[channel]),
                              .data = str_of("1"),
                              .is_json = true,
                              .born_ns = clock_now_ns()};
    o->channel = channel;
    o->op.msg = msg_new(&n->hub.hub.budget, &parts);
    o->op.done = on_numbered;
    CHECK(o->op.msg);
    hub_publish(n->hub.hub.shards[0], &o->op);
}

struct numbered_read {
    unsigned index; /* of its result */
    struct read_op op;
};

static void on_read(struct read_op *op)
{
    struct numbered_read *r = container_of(op, struct numbered_read, op);
    struct result *to = &results[r->index];
    answered++;
    failed += op->error != 0;
    to->floor = op->error ? UINT64_MAX : op->floor;
    to->last = op->last;
    to->count = op->count;
    CHECK(op->count <= ARRAY_LEN(to->offsets));
    for (uint32_t i = 0; i < op->count; i++) {
        to->offsets[i] = op->msgs[i]->offset;
        msg_unref(op->msgs[i]);
    }
    free(op->msgs);
    free(op->at_ms);
    free(r);
}

static void start_read(struct nats_node *n, unsigned channel, uint64_t since)
{
    size_t len = strlen(channels[channel]);
    struct numbered_read *r = mem_zalloc(sizeof(*r) + len);
    r->index = started;
    results[started++] = (struct result){.channel = channel, .since = since};
    r->op.origin = n->hub.hub.shards[1];
    r->op.since = since;
    r->op.done = on_read;
    r->op.channel_len = (uint32_t)len;
    memcpy(r->op.channel, channels[channel], len);
    n->hub.hub.broker.ops->read(n->broker, &r->op);
}

static bool has(const struct result *r, uint64_t offset)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (r->offsets[i] == offset)
            return true;
    return false;
}

/* All between is there, in order, and nothing else. */
static void judge(const struct result *r)
{
    uint64_t from = r->floor > r->since ? r->floor : r->since;
    unsigned found = 0;
    for (unsigned i = 0; i < published_count[r->channel]; i++) {
        uint64_t offset = published[r->channel][i];
        if (offset <= from || offset > r->last)
            continue;
        if (!has(r, offset))
            fail_msg("since %llu, floor %llu, last %llu: no %llu",
                     (unsigned long long)r->since, (unsigned long long)r->floor,
                     (unsigned long long)r->last, (unsigned long long)offset);
        found++;
    }
    assert_int_equal(found, r->count);
    for (uint32_t i = 1; i < r->count; i++)
        assert_true(r->offsets[i] > r->offsets[i - 1]);
}

static void reads_under_fire_are_true(struct nats_node *n, unsigned least)
{
    struct rand rand;
    unsigned proven = 0;
    rand_init(&rand, 7);
    for (unsigned i = 0; i < ROUNDS; i++) {
        /* Mostly one channel: it pushes its own out. */
        unsigned c = rand_below(&rand, 4) ? 0 : 1 + (unsigned)(i % 2);
        publish(n, c);
        unsigned of = rand_below(&rand, CHANNELS);
        unsigned count = published_count[of];
        unsigned back =
            rand_below(&rand, 2) ? 4 : (unsigned)rand_below(&rand, 8);
        if (rand_below(&rand, 2) == 0)
            start_read(n, of,
                       back < count ? published[of][count - 1 - back] : 0);
        if (rand_below(&rand, 8) == 0) /* let some be answered */
            NATS_NODE_PUMP(n, answered + 8 >= started);
    }
    NATS_NODE_PUMP(n, answered == started);
    NATS_NODE_PUMP(
        n,
        published_count[0] + published_count[1] + published_count[2] == ROUNDS);
    for (unsigned i = 0; i < started; i++) {
        if (results[i].floor == UINT64_MAX)
            continue;
        judge(&results[i]);
        proven += results[i].floor <= results[i].since;
    }
    assert_true(proven > least);
    assert_true(failed < started / 10);
}

static void reads_of_five_under_fire_are_true(void **state)
{
    reads_under_fire_are_true(*state, 50);
}

static void one_of_each(struct config *cfg)
{
    nats_node_set_history(cfg, "news", 1, 60000);
}

static int setup_one(void **state)
{
    nats_node_stored(state);
    struct nats_node *n = *state;
    n->adjust = one_of_each;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_node_start(n, "");
    return 0;
}

static void reads_of_one_under_fire_are_true(void **state)
{
    memset(published_count, 0, sizeof(published_count));
    started = answered = failed = 0;
    reads_under_fire_are_true(*state, 0);
}

/* Far more than fits into one burst, and than the namespace keeps. */
static void long_reads_are_cut(void **state)
{
    struct nats_node *n = *state;
    nats_peer_api(
        &n->peer, "STREAM.UPDATE.WEIR_H_news",
        "{\"name\":\"WEIR_H_news\",\"subjects\":[\"weir.pub.news.>\"],"
        "\"republish\":{\"src\":\"weir.pub.news.>\",\"dest\":"
        "\"weir.live.news.>\"},\"retention\":\"limits\",\"storage\":"
        "\"file\",\"max_msgs\":-1,\"max_bytes\":-1,\"max_consumers\":-1,"
        "\"num_replicas\":1}",
        "\"config\"");
    for (int i = 0; i < 3000; i++)
        nats_peer_pub(&n->peer, "weir.pub.news.a", "1");
    nats_peer_until(&n->peer, "STREAM.INFO.WEIR_H_news", "\"last_seq\":3000");
    assert_string_equal(stream_node_read(n, "news:a", 0),
                        "2995 3000 3000: 2996=1 2997=1 2998=1 2999=1 3000=1");
    assert_string_equal(stream_node_read(n, "news:a", 100),
                        "2995 3000 3000: 2996=1 2997=1 2998=1 2999=1 3000=1");
    assert_string_equal(stream_node_read(n, "news:a", 2998),
                        "2998 3000 3000: 2999=1 3000=1");
}

int main(void)
{
    log_set_level(getenv("TEST_LOG") ? LOG_DEBUG : LOG_NONE);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_of_five_under_fire_are_true,
                                        stream_node_running, nats_node_free),
        cmocka_unit_test_setup_teardown(reads_of_one_under_fire_are_true,
                                        setup_one, nats_node_free),
        cmocka_unit_test_setup_teardown(long_reads_are_cut, stream_node_running,
                                        nats_node_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
