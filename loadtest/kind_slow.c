/* kind_slow.c — some clients never read. The others must lose nothing, and
 * the server must let the slow ones go (close 3008) at a bounded price. */
#include "loadtest/bench.h"

#include <string.h>

#define DRAIN_TIME (15 * LOOP_SECOND)
#define CLOSE_SLOW 3008
#define MEMORY_EVERY 50 /* batches */

static bool is_empty(void *arg)
{
    const struct crowd *k = arg;
    return k->live == 0;
}

/* Wakes the slow clients up: what is left in their sockets is read until the
 * server's end is seen. */
static void hear_again(struct bench *b, struct crowd *slow)
{
    for (uint32_t i = 0; i < slow->count; i++) {
        slow->conns[i].deaf = false;
        if (slow->conns[i].state == CONN_LIVE)
            conn_read_to_end(&slow->conns[i]);
    }
    loop_until(&b->loop, is_empty, slow, DRAIN_TIME);
}

static unsigned count_coded(const struct crowd *slow)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < slow->count; i++)
        n += slow->conns[i].close_code == CLOSE_SLOW;
    return n;
}

static int run(struct bench *b, struct crowd *fast, struct crowd *slow,
               struct pub *pub)
{
    const struct scenario *s = b->scenario;
    uint64_t highest = 0;
    if (bench_open(b, fast) != 0 || bench_open(b, slow) != 0 ||
        bench_publisher(b, pub) != 0)
        return -1;
    loop_for(&b->loop, s->settle_ms * LOOP_MS);
    struct proc_memory before = proc_memory(&b->server);
    fast->measuring = true;
    uint64_t start = loop_now_ns();
    for (unsigned i = 0; i * s->inflight < s->messages; i++) {
        if (bench_batch(b, fast, pub, b->channels) != 0)
            return -1;
        if (i % MEMORY_EVERY != 0)
            continue;
        uint64_t now = proc_memory(&b->server).rss_kb;
        highest = now > highest ? now : highest;
    }
    double wall = (double)(loop_now_ns() - start) / 1e9;
    fast->measuring = false;
    hear_again(b, slow);
    double grown =
        highest > before.rss_kb ? (double)(highest - before.rss_kb) : 0;
    report_add(&b->report, "deliveries_s", (double)fast->deliveries / wall);
    report_add(&b->report, "slow_kb", grown / slow->count);
    report_add(&b->report, "slow_left", slow->live);
    report_add(&b->report, "slow_coded", count_coded(slow));
    return 0;
}

int kind_slow(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct crowd fast;
    static struct crowd slow;
    struct pub pub;
    memset(&pub, 0, sizeof(pub));
    if (s->slow_clients == 0) {
        report_problem(&b->report, "slow: slow_clients at least 1");
        return -1;
    }
    crowd_init(&fast, &b->loop, b->dialect, b->port, s->clients);
    crowd_init(&slow, &b->loop, b->dialect, b->port, s->slow_clients);
    crowd_assign(&fast, b->channels, 1);
    crowd_assign(&slow, b->channels, 1);
    for (uint32_t i = 0; i < slow.count; i++)
        slow.conns[i].deaf = true;
    int rc = run(b, &fast, &slow, &pub);
    crowd_settle(&fast);
    report_crowd(&b->report, &fast);
    /* A slow client may miss what came after it was let go, nothing before,
     * and nothing twice. */
    if (slow.losses.missing + slow.losses.duplicate + slow.losses.reordered > 0)
        report_problem(&b->report, "a slow client got a stream with holes");
    bench_check_publisher(b, &pub);
    pub_close(&pub);
    crowd_fini(&fast);
    crowd_fini(&slow);
    return rc;
}
