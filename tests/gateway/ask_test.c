/* Requests between nodes against a real nats-server: one node of the kit, and
 * a plain socket that plays the other node, or an impostor. */
#include "gateway/broker/ask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "tests/kit/nats_node.h"

#define PEER_ID "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
#define OUR_REQUESTS "weir.node." NATS_NODE_ID ".req"
#define PEER_REQUESTS "weir.node." PEER_ID ".req"
#define OUR_INBOX "weir.node." NATS_NODE_ID ".rep."
#define PEER_INBOX "weir.node." PEER_ID ".rep."

/* --- what the node was asked ---------------------------------------------- */

static struct {
    struct letter_list held; /* owned: while `hold` */
    bool hold;
    unsigned count;
} requests;

/* Answers "<body>!", or keeps the request. */
static void on_request(void *reader, struct letter *self)
{
    struct shard *s = reader;
    struct node_request *r = container_of(self, struct node_request, letter);
    struct buf body = BUF_INIT;
    requests.count++;
    if (requests.hold) {
        STAILQ_INSERT_TAIL(&requests.held, self, link);
        return;
    }
    buf_str(&body, buf_view(&r->request));
    buf_char(&body, '!');
    broker_answer(&s->hub->broker, r, buf_view(&body));
    buf_free(&body);
}

static void on_asked(void *arg, struct node_request *r)
{
    struct nats_node *n = arg;
    r->letter.run = on_request;
    mailbox_post(&n->hub.hub.shards[1]->mailbox, &r->letter);
}

static void release_one(struct nats_node *n, const char *body)
{
    struct letter *l = STAILQ_FIRST(&requests.held);
    STAILQ_REMOVE_HEAD(&requests.held, link);
    broker_answer(&n->hub.hub.broker,
                  container_of(l, struct node_request, letter), str_of(body));
}

/* --- what the node asks --------------------------------------------------- */

static struct {
    unsigned sent;
    unsigned done;
    unsigned by_result[3]; /* 0, ERR_NOT_FOUND, ERR_AGAIN */
    int last;
    struct buf answer; /* owned: the last one's */
} asks;

static void on_done(struct node_op *op)
{
    assert_int_equal(op->request.n, 0);
    asks.done++;
    asks.last = op->result;
    asks.by_result[0] += op->result == 0;
    asks.by_result[1] += op->result == ERR_NOT_FOUND;
    asks.by_result[2] += op->result == ERR_AGAIN;
    buf_free(&asks.answer);
    asks.answer = op->answer;
    free(op);
}

static void ask(struct nats_node *n, unsigned shard, const char *node,
                struct str body)
{
    struct node_op *op = mem_zalloc(sizeof(*op));
    unsigned before = asks.done;
    op->origin = n->hub.hub.shards[shard];
    snprintf(op->node, sizeof(op->node), "%s", node);
    buf_str(&op->request, body);
    op->done = on_done;
    asks.sent++;
    n->hub.hub.broker.ops->ask(n->broker, op);
    assert_int_equal(asks.done, before); /* never inside the call */
}

/* Ask, wait for the end, and return the result. */
static int ask_code(struct nats_node *n, const char *node, const char *body)
{
    ask(n, 0, node, str_of(body));
    NATS_NODE_PUMP(n, asks.done == asks.sent);
    return asks.last;
}

static void ask_until_ok(struct nats_node *n, const char *node)
{
    int tries = 0;
    while (ask_code(n, node, "x") != 0) {
        assert_true(++tries < NATS_PATIENCE_MS / 10);
        usleep(10000);
    }
}

static bool answer_is(const char *text)
{
    return str_eq(buf_view(&asks.answer), str_of(text));
}

/* --- the other node ------------------------------------------------------- */

static void peer_listens(struct nats_node *n)
{
    nats_peer_send(&n->peer, "SUB " PEER_REQUESTS " 1\r\n");
    nats_peer_flush(&n->peer);
}

/* The request comes; `reply` becomes where its answer goes. */
static void peer_takes(struct nats_node *n, const char *body, char reply[128])
{
    static const char head[] = "MSG " PEER_REQUESTS " 1 ";
    char end[64];
    snprintf(end, sizeof(end), " %zu\r\n%s\r\n", strlen(body), body);
    nats_peer_wait(&n->peer, end);
    struct buf *in = &n->peer.in;
    const char *at = memmem(in->p, in->n, head, strlen(head));
    assert_non_null(at);
    at += strlen(head);
    size_t len = (size_t)((char *)memchr(at, ' ', 128) - at);
    assert_true(len < 128);
    memcpy(reply, at, len);
    reply[len] = '\0';
    buf_clear(in);
}

static void peer_asks(struct nats_node *n, const char *reply, const char *body)
{
    char head[256];
    snprintf(head, sizeof(head), "PUB " OUR_REQUESTS " %s %zu\r\n", reply,
             strlen(body));
    nats_peer_send(&n->peer, head);
    nats_peer_send(&n->peer, body);
    nats_peer_send(&n->peer, "\r\n");
}

static int running(void **state)
{
    nats_node_new(state);
    struct nats_node *n = *state;
    memset(&requests, 0, sizeof(requests));
    memset(&asks, 0, sizeof(asks));
    STAILQ_INIT(&requests.held);
    n->asked = on_asked;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    nats_node_start(n, "");
    ask_until_ok(n, NATS_NODE_ID); /* its SUBs have reached the server */
    return 0;
}

static int stop(void **state)
{
    nats_node_free(state);
    assert_int_equal(asks.done, asks.sent);
    assert_true(STAILQ_EMPTY(&requests.held));
    buf_free(&asks.answer);
    return 0;
}

/* --- tests ---------------------------------------------------------------- */

static void a_node_asks_another(void **state)
{
    struct nats_node *n = *state;
    char reply[128];
    uint64_t before = nats_node_status(n).asks;
    peer_listens(n);
    ask(n, 1, PEER_ID, STR_LIT("{\"a\":1}"));
    peer_takes(n, "{\"a\":1}", reply);
    nats_peer_pub(&n->peer, reply, "{\"b\":2}");
    NATS_NODE_PUMP(n, asks.done == asks.sent);
    assert_int_equal(asks.last, 0);
    assert_true(answer_is("{\"b\":2}"));
    assert_int_equal(nats_node_status(n).asks, before + 1);
    /* Nothing is an answer, too. */
    ask(n, 0, PEER_ID, STR_LIT(""));
    peer_takes(n, "", reply);
    nats_peer_pub(&n->peer, reply, "");
    NATS_NODE_PUMP(n, asks.done == asks.sent);
    assert_int_equal(asks.last, 0);
    assert_true(answer_is(""));
}

static void a_node_answers_another(void **state)
{
    struct nats_node *n = *state;
    nats_peer_send(&n->peer, "SUB " PEER_INBOX "> 1\r\n");
    nats_peer_flush(&n->peer);
    peer_asks(n, PEER_INBOX "ab01", "hello");
    NATS_NODE_PUMP(n, requests.count == 2);
    nats_peer_wait(&n->peer, "MSG " PEER_INBOX "ab01 1 6\r\nhello!\r\n");
    assert_int_equal(nats_node_status(n).requests, 2);
    assert_int_equal(nats_node_status(n).requests_dropped, 0);
}

/* Both ends of the same node, from both shards, many at a time. */
static void answers_go_to_who_asked(void **state)
{
    struct nats_node *n = *state;
    unsigned before = asks.done;
    for (unsigned i = 0; i < NODE_ASKS_MAX; i++)
        ask(n, i % 2, i % 3 ? NATS_NODE_ID : PEER_ID, STR_LIT("q"));
    NATS_NODE_PUMP(n, asks.done == before + NODE_ASKS_MAX);
    assert_int_equal(asks.by_result[1], (NODE_ASKS_MAX + 2) / 3);
    assert_int_equal(asks.by_result[2], 0);
}

static void sizes_are_bounded(void **state)
{
    struct nats_node *n = *state;
    struct buf big = BUF_INIT;
    memset(buf_reserve(&big, NODE_MAX_BYTES + 1), 'x', NODE_MAX_BYTES + 1);
    big.n = NODE_MAX_BYTES + 1;
    ask(n, 0, NATS_NODE_ID, buf_view(&big));
    NATS_NODE_PUMP(n, asks.done == asks.sent);
    assert_int_equal(asks.last, ERR_TOO_BIG);
    big.n--; /* the answer has one byte more */
    ask(n, 0, NATS_NODE_ID, buf_view(&big));
    NATS_NODE_PUMP(n, asks.done == asks.sent);
    assert_int_equal(asks.last, ERR_AGAIN);
    assert_int_equal(nats_node_status(n).requests_dropped, 1);
    big.n--;
    ask(n, 0, NATS_NODE_ID, buf_view(&big));
    NATS_NODE_PUMP(n, asks.done == asks.sent);
    assert_int_equal(asks.last, 0);
    assert_int_equal(asks.answer.n, NODE_MAX_BYTES);
    buf_free(&big);
}

static void there_is_no_such_node(void **state)
{
    static const char *const never[] = {
        "",
        "*",
        ">",
        "7D444840-9DC0-4DD1-B245-5FFDCE74FAD2",
        "7d444840-9dc0-4dd1-b245-5ffdce74fad",
        "7d444840.9dc0-4dd1-b245-5ffdce74fad2",
        "7d444840 9dc0-4dd1-b245-5ffdce74fad2",
        "7d444840\r9dc0-4dd1-b245-5ffdce74fad2",
    };
    struct nats_node *n = *state;
    assert_int_equal(ask_code(n, PEER_ID, "x"), ERR_NOT_FOUND);
    uint64_t before = nats_node_status(n).asks;
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        assert_int_equal(ask_code(n, never[i], "x"), ERR_NOT_FOUND);
    assert_int_equal(nats_node_status(n).asks, before); /* not even sent */
    assert_int_equal(nats_node_status(n).asks_refused, 0);
}

static void who_does_not_answer_is_given_up(void **state)
{
    struct nats_node *n = *state;
    char reply[128];
    peer_listens(n);
    assert_int_equal(ask_code(n, PEER_ID, "x"), ERR_AGAIN);
    assert_int_equal(nats_node_status(n).asks_timed_out, 1);
    peer_takes(n, "x", reply);
    nats_peer_pub(&n->peer, reply, "late");
    NATS_NODE_PUMP(n, nats_node_status(n).answers_dropped == 1);
    assert_int_equal(ask_code(n, NATS_NODE_ID, "y"), 0);
    assert_true(answer_is("y!"));
}

static void forged_answers_are_dropped(void **state)
{
    struct nats_node *n = *state;
    struct buf big = BUF_INIT;
    char reply[128];
    char other[160];
    peer_listens(n);
    ask(n, 0, PEER_ID, STR_LIT("x"));
    peer_takes(n, "x", reply);
    size_t token = strlen(OUR_INBOX);
    assert_memory_equal(reply, OUR_INBOX, token);
    /* Another slot, another token, none, and what is no token at all. */
    for (size_t i = token; i < strlen(reply); i++) {
        snprintf(other, sizeof(other), "%s", reply);
        other[i] = other[i] == '0' ? '1' : '0';
        nats_peer_pub(&n->peer, other, "forged");
    }
    unsigned forged = (unsigned)(strlen(reply) - token);
    nats_peer_hpub(&n->peer, other, "Status: 503\r\n", "");
    snprintf(other, sizeof(other), "%.*s0000000000000000", (int)token + 4,
             reply);
    nats_peer_pub(&n->peer, other, "forged");
    snprintf(other, sizeof(other), "%s0", reply);
    nats_peer_pub(&n->peer, other, "forged");
    nats_peer_pub(&n->peer, OUR_INBOX "0", "forged");
    nats_peer_pub(&n->peer, OUR_INBOX "ffff0123456789abcdef", "forged");
    nats_peer_pub(&n->peer, OUR_INBOX "-000000000000000000a", "forged");
    memset(buf_reserve(&big, NODE_MAX_BYTES + 2), 'x', NODE_MAX_BYTES + 1);
    big.p[NODE_MAX_BYTES + 1] = '\0';
    nats_peer_pub(&n->peer, reply, big.p);
    buf_free(&big);
    nats_peer_flush(&n->peer);
    nats_peer_pub(&n->peer, reply, "true");
    nats_peer_pub(&n->peer, reply, "again");
    NATS_NODE_PUMP(n, nats_node_status(n).answers_dropped == forged + 8);
    NATS_NODE_PUMP(n, asks.done == asks.sent);
    assert_int_equal(asks.last, 0);
    assert_true(answer_is("true"));
}

/* Or anybody could make this node publish wherever it may. */
static void answers_go_to_inboxes_only(void **state)
{
    static const char *const bad[] = {
        "", /* none */
        "weir.pub._.x",
        "weir.node",
        "weir.node." PEER_ID,
        "weir.node." PEER_ID ".req",
        "weir.node." PEER_ID ".rep.",
        "weir.node." PEER_ID ".rep.x",
        "weir.node." PEER_ID ".rep.a.b",
        "weir.node.x.rep.ab",
        "other.node." PEER_ID ".rep.ab",
    };
    struct nats_node *n = *state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        peer_asks(n, bad[i], "secret");
    NATS_NODE_PUMP(n, nats_node_status(n).requests_dropped == ARRAY_LEN(bad));
    assert_int_equal(requests.count, 1); /* of the set-up */
}

static void a_flood_of_asks_is_refused(void **state)
{
    struct nats_node *n = *state;
    peer_listens(n);
    for (unsigned i = 0; i < NODE_ASKS_MAX; i++)
        ask(n, i % 2, PEER_ID, STR_LIT("x"));
    unsigned before = asks.by_result[2];
    unsigned late = 0;
    /* A slow machine may have given up some of them meanwhile. */
    ask(n, 0, NATS_NODE_ID, STR_LIT("x"));
    late = (unsigned)nats_node_status(n).asks_timed_out;
    assert_true(late > 0 || nats_node_status(n).asks_refused == 1);
    NATS_NODE_PUMP(n, asks.done == asks.sent);
    assert_true(asks.by_result[2] >= before + NODE_ASKS_MAX);
    assert_int_equal(nats_node_status(n).asks_timed_out, NODE_ASKS_MAX);
    assert_int_equal(ask_code(n, NATS_NODE_ID, "y"), 0);
}

static void a_flood_of_requests_is_dropped(void **state)
{
    struct nats_node *n = *state;
    const unsigned more = 10;
    requests.hold = true;
    requests.count = 0;
    nats_peer_send(&n->peer, "SUB " PEER_INBOX "> 1\r\n");
    nats_peer_flush(&n->peer);
    for (unsigned i = 0; i < NODE_ASKS_MAX + more; i++)
        peer_asks(n, PEER_INBOX "1", "x");
    NATS_NODE_PUMP(n, requests.count == NODE_ASKS_MAX);
    NATS_NODE_PUMP(n, nats_node_status(n).requests_dropped == more);
    release_one(n, "first");
    nats_peer_wait(&n->peer, "MSG " PEER_INBOX "1 1 5\r\nfirst\r\n");
    peer_asks(n, PEER_INBOX "2", "x");
    NATS_NODE_PUMP(n, requests.count == NODE_ASKS_MAX + 1);
    while (!STAILQ_EMPTY(&requests.held))
        release_one(n, "");
    nats_peer_wait(&n->peer, "MSG " PEER_INBOX "2 1 0\r\n");
    assert_int_equal(nats_node_status(n).requests_dropped, more);
}

static void nodes_find_each_other_after_a_restart(void **state)
{
    struct nats_node *n = *state;
    struct fake_client *f = nats_node_subscriber(n, 0, "a");
    for (unsigned round = 1; round <= 3; round++) {
        /* Twice nats.c reconnects, once it gives up for good. */
        const char *user = round == 2 ? "somebody" : NULL;
        nats_server_kill(&n->server);
        NATS_NODE_PUMP(n, !nats_node_status(n).connected);
        uint64_t before = nats_node_status(n).asks_refused;
        assert_int_equal(ask_code(n, NATS_NODE_ID, "x"), ERR_AGAIN);
        assert_int_equal(nats_node_status(n).asks_refused, before + 1);
        if (user) {
            nats_server_start(&n->server, user);
            NATS_NODE_PUMP(n, nats_node_status(n).feeds == 0);
            nats_server_kill(&n->server);
        }
        nats_server_start(&n->server, NULL);
        ask_until_ok(n, NATS_NODE_ID);
        assert_true(answer_is("x!"));
    }
    fake_gone(f);
}

/* Nothing is held up, and everything is answered. */
static void a_server_that_stands_still(void **state)
{
    struct nats_node *n = *state;
    nats_server_freeze(&n->server);
    for (unsigned i = 0; i < 100; i++)
        ask(n, i % 2, NATS_NODE_ID, STR_LIT("x"));
    unsigned ok = asks.by_result[0];
    NATS_NODE_PUMP(n, asks.done == asks.sent);
    assert_int_equal(asks.by_result[0], ok);
    assert_int_equal(asks.by_result[2], 100);
    nats_server_thaw(&n->server);
    ask_until_ok(n, NATS_NODE_ID);
}

/* stop() looks at what is left. */
static void a_stop_leaves_nothing(void **state)
{
    struct nats_node *n = *state;
    peer_listens(n);
    requests.hold = true;
    requests.count = 0;
    for (unsigned i = 0; i < 50; i++)
        ask(n, i % 2, i % 2 ? PEER_ID : NATS_NODE_ID, STR_LIT("x"));
    NATS_NODE_PUMP(n, requests.count == 25);
    nats_broker_stop(n->broker);
    n->broker = NULL;
    while (!STAILQ_EMPTY(&requests.held))
        release_one(n, "nobody listens");
    requests.hold = false;
    fake_settle(&n->hub);
    assert_int_equal(asks.done, asks.sent);
    assert_int_equal(asks.by_result[2], 50);
    fake_node_fini(&n->hub);
}

int main(void)
{
    log_set_level(getenv("TEST_LOG") ? LOG_DEBUG : LOG_NONE);
    const struct CMUnitTest tests[] = {
#define RUNNING(name) cmocka_unit_test_setup_teardown(name, running, stop)
        RUNNING(a_node_asks_another),
        RUNNING(a_node_answers_another),
        RUNNING(answers_go_to_who_asked),
        RUNNING(sizes_are_bounded),
        RUNNING(there_is_no_such_node),
        RUNNING(who_does_not_answer_is_given_up),
        RUNNING(forged_answers_are_dropped),
        RUNNING(answers_go_to_inboxes_only),
        RUNNING(a_flood_of_asks_is_refused),
        RUNNING(a_flood_of_requests_is_dropped),
        RUNNING(nodes_find_each_other_after_a_restart),
        RUNNING(a_server_that_stands_still),
        RUNNING(a_stop_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
