/* What a publication costs on its way between shards, without threads: no
 * letter, one letter, two, and one to each of four shards. Then with threads:
 * every shard publishes to channels whose subscribers are everywhere.
 * Prints; exits 0. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/kit/cpu.h"
#include "tests/kit/threads.h"

#define BURST 64 /* publications before everybody has a turn */
#define BURSTS 5000
#define SHARDS 4

static const struct hub_options options = {.shards = SHARDS,
                                           .inflight_bytes = 1 << 30,
                                           .slice = 512,
                                           .queue_max_bytes = 64 << 20,
                                           .channel_limit = 100,
                                           .codec = &fake_codec};

static struct fake_client *follow(struct shard *s, const char *topic)
{
    struct fake_client *f = fake_open(s, ENCODING_WS_JSON);
    f->mute = true;
    CHECK(fake_subscribe(f, topic) == 0);
    return f;
}

static uint64_t count_letters(const struct hub *hub)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < hub->count; i++)
        n += hub->shards[i]->stats.letters;
    return n;
}

static void turn_all(struct fake_node *n)
{
    while (!fake_is_idle(n)) {
        for (unsigned i = 0; i < n->hub.count; i++)
            fake_turn(n, i);
    }
}

/* Publish from shard home + `from`; subscribers at home + to[0..count). */
static double measure(const char *name, unsigned from, unsigned count,
                      const unsigned *to, double base_ns)
{
    struct fake_node n;
    struct fake_client *f[SHARDS];
    fake_node_init(&n, SHARDS, &options);
    unsigned home = home_of(&n.hub, msg_channel_hash(STR_LIT("a")))->index;
    for (unsigned i = 0; i < count; i++)
        f[i] = follow(n.hub.shards[(home + to[i]) % SHARDS], "a");
    turn_all(&n);
    uint64_t letters = count_letters(&n.hub);
    uint64_t start_ns = cpu_now_ns();
    for (unsigned i = 0; i < BURSTS; i++) {
        for (unsigned k = 0; k < BURST; k++)
            CHECK(fake_publish(n.hub.shards[(home + from) % SHARDS], "a",
                               "{\"x\":1}"));
        turn_all(&n);
    }
    double ns = (double)(cpu_now_ns() - start_ns) / (BURSTS * BURST);
    printf(
        "letters_bench: %-32s %5.0f ns a publication, %.1f letters, %u deliveries",
        name, ns, (double)(count_letters(&n.hub) - letters) / (BURSTS * BURST),
        count);
    if (base_ns > 0)
        printf(" (%.2fx)", ns / base_ns);
    printf("\n");
    for (unsigned i = 0; i < count; i++)
        fake_gone(f[i]);
    turn_all(&n);
    fake_node_fini(&n);
    return ns;
}

/* --- threads -------------------------------------------------------------------- */

struct actor {
    struct rand rand;
    unsigned bursts;
    struct fake_client *client;
};

static bool act(struct shard *s, void *arg)
{
    struct actor *a = arg;
    for (unsigned i = 0; i < BURST; i++) {
        char channel[8];
        snprintf(channel, sizeof(channel), "c%u",
                 (unsigned)rand_below(&a->rand, 32));
        CHECK(fake_publish(s, channel, "{\"x\":1}"));
    }
    return --a->bursts > 0;
}

static void measure_threads(unsigned shards)
{
    static struct hub hub;
    struct hub_options o = options;
    struct actor actors[SHARDS];
    void *args[SHARDS];
    char channel[8];
    o.shards = shards;
    threads_init(&hub, &o);
    for (unsigned i = 0; i < shards; i++) {
        actors[i] = (struct actor){.bursts = BURSTS / 5};
        rand_init(&actors[i].rand, i);
        args[i] = &actors[i];
        actors[i].client = fake_open(hub.shards[i], ENCODING_WS_JSON);
        actors[i].client->mute = true;
        for (unsigned c = i; c < 32; c += shards) {
            snprintf(channel, sizeof(channel), "c%u", c);
            CHECK(fake_subscribe(actors[i].client, channel) == 0);
        }
    }
    threads_settle(&hub);
    uint64_t start_ns = clock_now_ns();
    threads_run(&hub, act, args);
    double ns = (double)(clock_now_ns() - start_ns) /
                ((double)shards * BURSTS / 5 * BURST);
    printf(
        "letters_bench: %u threads, 1 subscriber a channel: %.0f ns a publication "
        "(wall, all threads together), %llu letters\n",
        shards, ns, (unsigned long long)count_letters(&hub));
    for (unsigned i = 0; i < shards; i++)
        fake_gone(actors[i].client);
    threads_settle(&hub);
    hub_fini(&hub);
}

int main(void)
{
    double base_ns = measure("all at home", 0, 1, (const unsigned[]){0}, 0);
    measure("published at home, read elsewhere", 0, 1, (const unsigned[]){1},
            base_ns);
    measure("published elsewhere, read at home", 1, 1, (const unsigned[]){0},
            base_ns);
    measure("published and read elsewhere", 1, 1, (const unsigned[]){2},
            base_ns);
    measure("read on all four shards", 1, 4, (const unsigned[]){0, 1, 2, 3},
            base_ns);
    measure_threads(1);
    measure_threads(2);
    return 0;
}
