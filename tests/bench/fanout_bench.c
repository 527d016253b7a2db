/* 100,000 subscribers of one channel on one shard: what a delivery costs, and
 * how long somebody else's publication waits meanwhile.
 *
 * Publications of another channel are due every 2 ms of processor time,
 * whatever the shard is doing; the wait runs from then until their write begins. The
 * slice of 512 is held against one that takes everybody at once, on a write
 * that costs nothing and on one that takes 6 us, like a real send.
 * Prints; exits 0. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tests/kit/cpu.h"
#include "tests/kit/fake.h"

#define SUBSCRIBERS 100000
#define DUE_EVERY_NS 2000000u
#define WAITS_MAX 20000

static uint64_t burn_ns; /* what a write to one of the crowd takes */

static enum write_result write_crowd(struct client *c, const char *p, size_t n)
{
    (void)c;
    (void)p;
    (void)n;
    if (burn_ns) {
        uint64_t until = cpu_now_ns() + burn_ns;
        while (cpu_now_ns() < until)
            ;
    }
    return WRITE_DONE;
}

struct bench {
    struct fake_node node;
    struct shard *shard;
    struct transport crowd_transport;
    struct transport other_transport;
    struct fake_client *crowd[SUBSCRIBERS];
    struct fake_client *other;
    unsigned turn;
    uint64_t next_due_ns;
    uint64_t due_ns[WAITS_MAX]; /* of those published to the other client */
    unsigned due_turn[WAITS_MAX];
    unsigned published;
    unsigned written;
    double wait_us[WAITS_MAX];
    unsigned worst_turns;
};

static struct bench b;

static enum write_result write_other(struct client *c, const char *p, size_t n)
{
    (void)c;
    uint64_t now_ns = cpu_now_ns();
    for (size_t i = 0; i < n; i++) {
        if (p[i] != '\n' || b.written == b.published)
            continue;
        unsigned turns = b.turn - b.due_turn[b.written];
        b.wait_us[b.written] = (double)(now_ns - b.due_ns[b.written]) / 1e3;
        b.worst_turns = turns > b.worst_turns ? turns : b.worst_turns;
        b.written++;
    }
    return WRITE_DONE;
}

/* One turn, and then what became due while it ran. */
static void turn(void)
{
    fake_turn(&b.node, 0);
    uint64_t now_ns = cpu_now_ns();
    while (b.next_due_ns <= now_ns && b.published < WAITS_MAX) {
        b.due_ns[b.published] = b.next_due_ns;
        b.due_turn[b.published++] = b.turn;
        b.next_due_ns += DUE_EVERY_NS;
        CHECK(fake_publish(b.shard, "other", "{\"x\":1}"));
    }
    b.turn++;
}

static void begin(uint32_t slice)
{
    struct hub_options o = {.inflight_bytes = 1 << 30,
                            .slice = slice,
                            .queue_max_bytes = 1 << 20,
                            .channel_limit = 10};
    memset(&b, 0, sizeof(b));
    fake_node_init(&b.node, 1, &o);
    b.shard = b.node.hub.shards[0];
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        b.crowd[i] = fake_open(b.shard, ENCODING_WS_JSON);
        b.crowd[i]->mute = true;
        CHECK(fake_subscribe(b.crowd[i], "crowd") == 0);
    }
    b.other = fake_open(b.shard, ENCODING_WS_JSON);
    b.other->mute = true;
    CHECK(fake_subscribe(b.other, "other") == 0);
    fake_turn(&b.node, 0);
    b.crowd_transport = *b.other->client.transport;
    b.other_transport = b.crowd_transport;
    b.crowd_transport.write = write_crowd;
    b.other_transport.write = write_other;
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        b.crowd[i]->client.transport = &b.crowd_transport;
    b.other->client.transport = &b.other_transport;
}

static void end(void)
{
    for (size_t i = 0; i < SUBSCRIBERS; i++)
        fake_gone(b.crowd[i]);
    fake_gone(b.other);
    fake_turn(&b.node, 0);
    fake_node_fini(&b.node);
}

static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x;
    double c = *(const double *)y;
    return (a > c) - (a < c);
}

static void report(uint32_t slice, uint64_t spent_ns, unsigned rounds)
{
    char name[16] = "all";
    if (slice < SUBSCRIBERS)
        snprintf(name, sizeof(name), "%u", slice);
    qsort(b.wait_us, b.written, sizeof(double), by_size);
    printf(
        "fanout_bench: write %llu us, slice %-4s  %6.0f ns a delivery  other client waits "
        "p50 %.0f us  p99 %.0f us  worst %.0f us, %u turns (%u waits)\n",
        (unsigned long long)(burn_ns / 1000), name,
        (double)spent_ns / ((double)rounds * SUBSCRIBERS),
        b.wait_us[b.written / 2], b.wait_us[b.written * 99 / 100],
        b.wait_us[b.written - 1], b.worst_turns, b.written);
}

static void measure(uint32_t slice, uint64_t write_ns, unsigned rounds)
{
    burn_ns = write_ns;
    begin(slice);
    uint64_t start_ns = cpu_now_ns();
    b.next_due_ns = start_ns + DUE_EVERY_NS;
    for (unsigned i = 0; i < rounds; i++) {
        CHECK(fake_publish(b.shard, "crowd", "{\"temperature\":21.5}"));
        do
            turn();
        while (!fake_is_idle(&b.node));
    }
    uint64_t spent_ns = cpu_now_ns() - start_ns;
    CHECK(b.shard->stats.deliveries ==
          (uint64_t)rounds * SUBSCRIBERS + b.written);
    CHECK(b.written == b.published && b.written > 0);
    report(slice, spent_ns, rounds);
    end();
}

int main(void)
{
    measure(512, 0, 50);
    measure(1000000000, 0, 50);
    measure(512, 6000, 5);
    measure(1000000000, 6000, 5);
    return 0;
}
