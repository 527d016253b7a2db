#include "loadtest/ceiling.h"

#include <stdlib.h>
#include <string.h>

#define BARE_CHANNEL 0xbaee
/* In steps, so that the listener's queue never overflows. */
#define OPEN_STEP 1000

int ceiling_start(struct ceiling *c, struct bench *b)
{
    *c = (struct ceiling){.bench = b};
    c->channel = (struct channel){.name = "bare", .id = BARE_CHANNEL};
    return bare_start_sender(&c->bare, b->server_cpu);
}

int ceiling_open(struct ceiling *c)
{
    struct bench *b = c->bench;
    const struct scenario *s = b->scenario;
    struct crowd *k = &c->crowd;
    crowd_init(k, &b->loop, dialect_bare(b->dialect), c->bare.port, s->clients);
    k->sources = (uint16_t)s->sources;
    crowd_assign(k, &c->channel, 1);
    for (uint32_t i = 0; i < s->clients; i += OPEN_STEP) {
        uint32_t n = s->clients - i < OPEN_STEP ? s->clients - i : OPEN_STEP;
        if (crowd_open(k, i, n) != 0 || bare_hold(&c->bare, n) != 0) {
            report_problem(&b->report, "bare: %s", k->first_failure);
            return -1;
        }
    }
    return 0;
}

void ceiling_stop(struct ceiling *c)
{
    if (c->crowd.losses.missing > 0)
        report_problem(&c->bench->report, "the bare sender lost bytes");
    crowd_fini(&c->crowd);
    bare_stop(&c->bare);
}

/* Number of stamps in captured bytes; 0 when something else is among them. */
static unsigned count_stamps(const char *p, size_t n)
{
    const char *end = p + n;
    unsigned count = 0;
    const char *hit;
    if (memmem(p, n, "{}", 2) != NULL || memmem(p, n, "\n:", 2) != NULL)
        return 0;
    while ((hit = stamp_find(p, (size_t)(end - p))) != NULL) {
        count++;
        p = hit + STAMP_BYTES;
    }
    return count;
}

int sample_take(struct sample *s, const char *p, size_t n, unsigned stamps)
{
    if (count_stamps(p, n) != stamps || n > BARE_TEMPLATE_MAX)
        return -1;
    sample_fini(s);
    s->bytes = malloc(n);
    if (s->bytes == NULL)
        return -1;
    memcpy(s->bytes, p, n);
    s->length = n;
    s->stamps = stamps;
    return 0;
}

void sample_fini(struct sample *s)
{
    free(s->bytes);
    s->bytes = NULL;
    s->length = 0;
}

struct pass {
    struct ceiling *ceiling;
    uint64_t deliveries;
    struct bare_answer answer;
    int answered; /* as bare_poll */
};

static bool is_passed(void *arg)
{
    struct pass *p = arg;
    if (p->answered == 0)
        p->answered = bare_poll(&p->ceiling->bare, &p->answer);
    if (p->answered < 0 || p->ceiling->crowd.failed > 0)
        return true;
    return p->answered == 1 && p->ceiling->crowd.deliveries >= p->deliveries;
}

/* CPU of one pass in ns, or 0. */
static uint64_t one_pass(struct ceiling *c, unsigned stamps)
{
    struct crowd *k = &c->crowd;
    struct pass p = {.ceiling = c,
                     .deliveries = k->deliveries + (uint64_t)stamps * k->live};
    if (bare_send(&c->bare, c->channel.seq) != 0)
        return 0;
    c->channel.seq += stamps;
    if (!loop_until(&c->bench->loop, is_passed, &p, BENCH_PATIENCE) ||
        p.answered != 1 || k->failed > 0)
        return 0;
    return p.answer.cpu_ns;
}

double ceiling_round(struct ceiling *c, const struct sample *s, unsigned passes,
                     uint64_t period_ns)
{
    uint64_t cpu = 0;
    if (bare_template(&c->bare, s->bytes, s->length, BARE_CHANNEL) !=
        (int)s->stamps)
        return -1;
    uint64_t due = loop_now_ns();
    for (unsigned i = 0; i < passes; i++) {
        uint64_t took = one_pass(c, s->stamps);
        if (took == 0)
            return -1;
        cpu += took;
        due += period_ns;
        uint64_t now = loop_now_ns();
        if (due > now)
            loop_for(&c->bench->loop, due - now);
    }
    return (double)cpu / ((double)s->stamps * c->crowd.live * passes);
}
