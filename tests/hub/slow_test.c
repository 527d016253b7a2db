/* What a client on a slow link is promised, byte by byte and millisecond by
 * millisecond: 50 items, 1,000 updates a second, 64 kbit/s for a minute, on a
 * clock that stands still.
 *
 *     shard 0: the slow client, and two in its class that keep up
 *     shard 1: the witness, in the same class without a slow one: what it has
 *              got is what the class has sent
 */
#include "hub/backlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hub/hub.h"
#include "hub/late.h"
#include "tests/kit/fake.h"
#include "tests/kit/still.h"

#define MS UINT64_C(1000000)
#define START_NS (UINT64_C(1000000) * MS)
#define RUN_MS 60000

#define ITEMS 50
#define LINK_BYTES_S 8000u
#define NS_A_BYTE (UINT64_C(1000000000) / LINK_BYTES_S)
#define WRITE_MAX_BYTES 4096u
#define CLASS_MS 200
/* A write waits for its millisecond, a tick or timer for its wheel's. */
#define SLACK_MS 10
/* Between two values of one item: two rounds and the write on the link. */
#define LONGEST_MS 2500

static struct fake_node node;
static const struct throttle_request as_it_is;
static const char *const names[] = {"a", "b"};

static const struct throttle_policy latest5 = {
    .mode = THROTTLE_LATEST,
    .on_full = THROTTLE_CONFLATE,
    .rate = 5000,
};

static const struct throttle_policy narrow5 = {
    .mode = THROTTLE_LATEST,
    .on_full = THROTTLE_CONFLATE,
    .rate = 5000,
    .bandwidth = LINK_BYTES_S,
};

struct run {
    const struct throttle_policy *policy; /* the slow client's */
    unsigned channels;                    /* the items are spread over */
    struct fake_client *slow;
    struct fake_client *keepers[2];
    struct fake_client *witness;
    uint32_t published[ITEMS]; /* newest number of each */
    size_t sizes[ITEMS];       /* of their lines */
    uint32_t sent[ITEMS];      /* by the class */
    uint32_t got[ITEMS];       /* by the slow client */
    unsigned counts[ITEMS];    /* how often the slow client got it */
    unsigned got_ms[ITEMS];    /* when the last time */
    unsigned longest_ms;       /* any item did not come */
    unsigned now_ms;
    uint32_t number;  /* of the next publication */
    uint64_t free_ns; /* the link is */
    size_t bytes;     /* the slow client got */
    size_t most_held; /* for it, in bytes, between turns */
};

static bool has_link(const struct run *r)
{
    return r->policy->bandwidth == 0;
}

static struct fake_client *open_on(const struct run *r, unsigned shard,
                                   const struct throttle_policy *policy)
{
    shard_busy(node.hub.shards[shard]);
    struct fake_client *f = fake_open(node.hub.shards[shard], ENCODING_WS_JSON);
    for (unsigned i = 0; i < r->channels; i++)
        assert_int_equal(fake_subscribe_as(f, names[i], policy, &as_it_is), 0);
    fake_settle(&node);
    assert_int_equal(f->answers, r->channels);
    f->read_bytes = f->wire.n;
    return f;
}

static void begin(struct run *r)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 128,
                            .queue_max_bytes = 1 << 20,
                            .channel_limit = 8,
                            .max_items = 1000};
    still_at(START_NS);
    fake_node_init(&node, 2, &o);
    r->slow = open_on(r, 0, r->policy);
    r->witness = open_on(r, 1, &latest5);
    /* Everybody in a namespace has its bandwidth: who has more is elsewhere. */
    for (unsigned i = 0; i < ARRAY_LEN(r->keepers); i++)
        r->keepers[i] = open_on(r, has_link(r) ? 0 : 1, &latest5);
    if (has_link(r))
        r->slow->next_write = WRITE_CHOKED;
}

static void end(struct run *r)
{
    assert_int_equal(r->slow->closings, 0);
    fake_gone(r->slow);
    fake_gone(r->witness);
    for (unsigned i = 0; i < ARRAY_LEN(r->keepers); i++)
        fake_gone(r->keepers[i]);
    fake_settle(&node);
    assert_int_equal(node.hub.shards[0]->waiting, 0);
    fake_node_fini(&node);
    still_at(0);
}

/* --- the source ------------------------------------------------------------ */

#define DATA_HEAD "{\"item\":"

/* From its home, so that both shards have it before their ticks. */
static void publish(struct run *r, unsigned item)
{
    char data[256];
    const char *channel = names[item % r->channels];
    uint32_t hash = msg_channel_hash(str_of(channel));
    struct shard *home = home_of(&node.hub, hash);
    uint32_t number = ++r->number;
    int pad = 72 + (int)((item * 7 + number * 5) % 57);
    (void)snprintf(data, sizeof(data), DATA_HEAD "%02u,\"n\":%u,\"pad\":\"%0*d",
                   item, number, pad, 0);
    strcat(data, "\"}");
    shard_busy(home);
    assert_true(
        fake_publish_as(home, &(struct fake_publication){.channel = channel,
                                                         .data = data,
                                                         .item = item + 1,
                                                         .policy = r->policy}));
    r->published[item] = number;
    r->sizes[item] = strlen(data) + strlen("Pa|a|\n");
}

/* --- what comes ------------------------------------------------------------ */

struct value {
    unsigned item;
    uint32_t number;
};

static bool next_value(struct fake_client *f, struct value *v)
{
    struct fake_line line;
    char *after;
    if (!fake_next(f, &line))
        return false;
    CHECK(line.kind == 'P' && str_starts(line.data, STR_LIT(DATA_HEAD)));
    v->item = (unsigned)strtoul(line.data.p + strlen(DATA_HEAD), &after, 10);
    v->number = (uint32_t)strtoul(after + strlen(",\"n\":"), NULL, 10);
    CHECK(v->item < ITEMS);
    return true;
}

static struct str unread(const struct fake_client *f)
{
    return str_skip(buf_view(&f->wire), f->read_bytes);
}

/* What the class sends comes to all that keep up, at the same time. */
static void read_class(struct run *r)
{
    struct value v;
    struct str sent = unread(r->witness);
    for (unsigned i = 0; i < ARRAY_LEN(r->keepers); i++) {
        assert_true(str_eq(unread(r->keepers[i]), sent));
        r->keepers[i]->read_bytes = r->keepers[i]->wire.n;
    }
    while (next_value(r->witness, &v)) {
        assert_true(v.number > r->sent[v.item]);
        r->sent[v.item] = v.number;
    }
}

static void note_got(struct run *r, const struct value *v)
{
    unsigned gap = r->now_ms - r->got_ms[v->item];
    assert_int_equal(v->number, r->sent[v->item]);
    assert_true(v->number > r->got[v->item]);
    r->got[v->item] = v->number;
    r->counts[v->item]++;
    r->got_ms[v->item] = r->now_ms;
    if (gap > r->longest_ms)
        r->longest_ms = gap;
}

/* All of one turn; a socket that chokes takes one write. The first one comes
 * before anybody knows. */
static void read_slow(struct run *r)
{
    struct value v;
    size_t bytes = unread(r->slow).n;
    unsigned n = 0;
    for (; next_value(r->slow, &v); n++)
        note_got(r, &v);
    if (r->bytes)
        assert_true(n <= 1 || bytes <= WRITE_MAX_BYTES);
    r->bytes += bytes;
    if (bytes)
        r->free_ns = still_now_ns() + bytes * NS_A_BYTE;
}

static size_t held(const struct client *c)
{
    const struct sub *s;
    size_t bytes = 0;
    for (uint32_t i = 0; i < c->queue_count; i++)
        bytes += c->queue[c->queue_head + i]->len;
    TAILQ_FOREACH(s, &c->subs, link) {
        if (s->late)
            bytes += sizeof(*s->late) +
                     s->late->slots.cap * sizeof(struct waiting_slot);
    }
    return bytes;
}

/* --- time ------------------------------------------------------------------ */

static void pass_ms(struct run *r, bool with_source)
{
    struct client *slow = &r->slow->client;
    still_pass_ns(MS);
    r->now_ms++;
    if (with_source)
        publish(r, r->now_ms % ITEMS);
    if (slow->choked && still_now_ns() >= r->free_ns) {
        shard_busy(slow->shard);
        client_writable(slow);
    }
    fake_turn(&node, 0);
    fake_turn(&node, 1);
    fake_settle(&node);
    read_class(r);
    read_slow(r);
    if (held(slow) > r->most_held)
        r->most_held = held(slow);
}

/* When its last byte is through the link. */
static uint64_t arrived_ns(const struct run *r)
{
    return r->free_ns > still_now_ns() ? r->free_ns : still_now_ns();
}

/* Of all items' newest values on the wire. */
static size_t bytes_of_all(const struct run *r)
{
    size_t n = 0;
    for (unsigned i = 0; i < ITEMS; i++)
        n += r->sizes[i];
    return n;
}

/* The class sends its last; after what the link still holds each item comes
 * once more at most. */
static void check_the_end(struct run *r)
{
    unsigned stop_ms = r->now_ms;
    while (memcmp(r->sent, r->published, sizeof(r->sent)) != 0) {
        pass_ms(r, false);
        assert_true(r->now_ms <= stop_ms + CLASS_MS + SLACK_MS);
    }
    size_t before = r->bytes;
    uint64_t most_ns = bytes_of_all(r) * NS_A_BYTE + SLACK_MS * MS;
    uint64_t end_ns = arrived_ns(r) + most_ns;
    while (memcmp(r->got, r->published, sizeof(r->got)) != 0) {
        pass_ms(r, false);
        assert_true(still_now_ns() <= end_ns);
    }
    assert_true(arrived_ns(r) <= end_ns);
    assert_true(r->bytes - before <= bytes_of_all(r));
    assert_int_equal(backlog_count(&r->slow->client), 0);
}

static void check_fairness(const struct run *r)
{
    unsigned least = r->counts[0];
    unsigned most = r->counts[0];
    for (unsigned i = 0; i < ITEMS; i++) {
        least = r->counts[i] < least ? r->counts[i] : least;
        most = r->counts[i] > most ? r->counts[i] : most;
        assert_true(r->now_ms - r->got_ms[i] <= LONGEST_MS);
    }
    assert_true(r->longest_ms <= LONGEST_MS);
    assert_true(2 * least >= most);
}

static void check_bytes(const struct run *r)
{
    size_t most = (size_t)LINK_BYTES_S * RUN_MS / 1000;
    size_t slots = 80 * sizeof(struct waiting_slot);
    assert_in_range(r->bytes, most * 95 / 100, most + WRITE_MAX_BYTES);
    assert_int_equal(r->most_held, r->channels * sizeof(struct late) + slots);
    assert_true(r->most_held + WRITE_MAX_BYTES <= 8192);
}

static void run(struct run *r)
{
    begin(r);
    while (r->now_ms < RUN_MS)
        pass_ms(r, true);
    assert_true(has_link(r) == (node.hub.shards[0]->stats.choked > 0));
    check_fairness(r);
    check_bytes(r);
    check_the_end(r);
    end(r);
}

static void test_full_socket(void **state)
{
    (void)state;
    run(&(struct run){.policy = &latest5, .channels = 1});
}

static void test_full_socket_two_channels(void **state)
{
    (void)state;
    run(&(struct run){.policy = &latest5, .channels = 2});
}

static void test_bandwidth(void **state)
{
    (void)state;
    run(&(struct run){.policy = &narrow5, .channels = 1});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_socket),
        cmocka_unit_test(test_full_socket_two_channels),
        cmocka_unit_test(test_bandwidth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
