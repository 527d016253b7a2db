/* kind_accept.c — CPU to accept, upgrade, connect and subscribe, against a
 * bare epoll server doing the same steps, `clients` per round, all kept:
 *
 *   round i: gateway gets n more clients, the bare server gets n more
 */
#include "loadtest/bare.h"
#include "loadtest/bench.h"

#define ROUNDS_MAX 1000

struct side {
    const struct proc *proc; /* borrowed */
    struct crowd crowd;
};

/* CPU per connection of one side's round, in ns; negative on failure. */
static double one_round(struct bench *b, struct side *side, unsigned round)
{
    uint32_t n = b->scenario->clients;
    bench_quiet(b);
    uint64_t cpu = proc_cpu_ns(side->proc) + proc_softirq_ns(b->server_cpu);
    if (crowd_open(&side->crowd, round * n, n) != 0)
        return -1;
    bench_quiet(b);
    cpu = proc_cpu_ns(side->proc) + proc_softirq_ns(b->server_cpu) - cpu;
    return (double)cpu / n;
}

static int run(struct bench *b, struct side *gate, struct side *bare)
{
    const struct scenario *s = b->scenario;
    struct report *r = &b->report;
    double cost[ROUNDS_MAX];
    double floor[ROUNDS_MAX];
    double ratio[ROUNDS_MAX];
    for (unsigned i = 0; i < s->rounds; i++) {
        if (i % 2 == 1)
            floor[i] = one_round(b, bare, i);
        cost[i] = one_round(b, gate, i);
        if (i % 2 == 0)
            floor[i] = one_round(b, bare, i);
        if (cost[i] < 0 || floor[i] < 0) {
            report_problem(r, "round %u: gateway: %s; bare: %s", i,
                           gate->crowd.first_failure,
                           bare->crowd.first_failure);
            return -1;
        }
        ratio[i] = cost[i] / floor[i];
    }
    report_add(r, "accept_us", hist_of_sorted(cost, s->rounds, 0.5) / 1000);
    report_add(r, "bare_accept_us",
               hist_of_sorted(floor, s->rounds, 0.5) / 1000);
    report_add(r, "accept_ratio", hist_of_sorted(ratio, s->rounds, 0.5));
    report_add(r, "accept_ratio_p25", hist_of_sorted(ratio, s->rounds, 0.25));
    report_add(r, "accept_ratio_p75", hist_of_sorted(ratio, s->rounds, 0.75));
    return 0;
}

int kind_accept(struct bench *b)
{
    const struct scenario *s = b->scenario;
    static struct side gate;
    static struct side floor;
    struct bare bare;
    uint32_t total = s->clients * s->rounds;
    if (total == 0 || total > 9500 || b->dialect != &dialect_ws) {
        report_problem(&b->report, "accept: transport ws, clients * rounds "
                                   "between 1 and 9500");
        return -1;
    }
    if (bare_start_acceptor(&bare, b->server_cpu, NULL, 0) != 0)
        return -1;
    gate.proc = &b->server;
    floor.proc = &bare.proc;
    crowd_init(&gate.crowd, &b->loop, b->dialect, b->port, total);
    crowd_init(&floor.crowd, &b->loop, b->dialect, bare.port, total);
    gate.crowd.sources = (uint16_t)s->sources;
    floor.crowd.sources = (uint16_t)s->sources;
    crowd_assign(&gate.crowd, b->channels, s->channels);
    crowd_assign(&floor.crowd, b->channels, s->channels);
    int rc = run(b, &gate, &floor);
    report_crowd(&b->report, &gate.crowd);
    crowd_fini(&gate.crowd);
    crowd_fini(&floor.crowd);
    bare_stop(&bare);
    return rc;
}
