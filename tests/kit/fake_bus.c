#include "tests/kit/fake_bus.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

static uint64_t now_ms(void)
{
    return clock_now_ns() / 1000000u;
}

/* --- the stream ---------------------------------------------------------- */

static bool is_of(const struct fake_bus *b, const struct fake_pub *p,
                  char channel)
{
    return p->epoch == b->epoch && p->channel == channel;
}

static uint64_t newest_of(const struct fake_bus *b, char channel)
{
    for (size_t i = b->count; i-- > 0;) {
        if (is_of(b, &b->all[i], channel) && b->all[i].stored)
            return b->all[i].offset;
    }
    return 0;
}

static void evict(struct fake_bus *b, char channel)
{
    uint32_t kept = 0;
    for (size_t i = b->count; i-- > 0;) {
        struct fake_pub *p = &b->all[i];
        if (is_of(b, p, channel) && p->stored && ++kept > b->keep)
            p->stored = false;
    }
}

static void queue(struct fake_bus *b, size_t index, bool is_gap)
{
    struct fake_live *l = mem_zalloc(sizeof(*l));
    l->index = index;
    l->gap = b->gap;
    l->is_gap = is_gap;
    STAILQ_INSERT_TAIL(&b->live, l, link);
    b->live_count++;
}

static uint64_t store(struct fake_bus *b, char channel, bool is_marker)
{
    if (b->count == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 64;
        b->all = mem_realloc(b->all, b->cap * sizeof(*b->all));
    }
    b->all[b->count] = (struct fake_pub){
        .epoch = b->epoch,
        .offset = ++b->last,
        .prev = newest_of(b, channel),
        .at_ms = now_ms(),
        .channel = channel,
        .is_marker = is_marker,
        .stored = true,
    };
    if (!b->away && (b->fed[(int)channel] || b->fed['>']))
        queue(b, b->count, false);
    b->count++;
    evict(b, channel);
    return b->last;
}

uint64_t fake_bus_publish(struct fake_bus *b, char channel)
{
    return store(b, channel, false);
}

void fake_bus_purge(struct fake_bus *b, char channel, bool has_marker)
{
    for (size_t i = 0; i < b->count; i++) {
        if (is_of(b, &b->all[i], channel))
            b->all[i].stored = false;
    }
    if (has_marker)
        store(b, channel, true);
}

void fake_bus_expire(struct fake_bus *b, uint64_t upto)
{
    for (size_t i = 0; i < b->count; i++) {
        struct fake_pub *p = &b->all[i];
        if (p->epoch == b->epoch && p->offset <= upto)
            p->stored = false;
    }
}

void fake_bus_recreate(struct fake_bus *b)
{
    for (size_t i = 0; i < b->count; i++)
        b->all[i].stored = false;
    b->epoch++;
    b->last = 0;
    b->gap++;
    if (b->away)
        return;
    b->settled = b->gap;
    queue(b, 0, true);
}

uint64_t fake_bus_next(const struct fake_bus *b, uint64_t epoch, char channel,
                       uint64_t offset)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct fake_pub *p = &b->all[i];
        if (p->epoch == epoch && p->channel == channel && !p->is_marker &&
            p->offset > offset)
            return p->offset;
    }
    return 0;
}

/* --- live ---------------------------------------------------------------- */

static struct msg *make_msg(const struct fake_bus *b, const struct fake_pub *p)
{
    char data[24];
    int n = snprintf(data, sizeof(data), "%llu", (unsigned long long)p->offset);
    struct msg_parts parts = {
        .channel = str_n(&p->channel, 1),
        .data = str_n(data, (size_t)n),
        .history = b->policy,
        .epoch = p->epoch,
        .offset = p->offset,
        .is_json = true,
        .is_marker = p->is_marker,
        .born_ns = clock_now_ns(),
    };
    struct msg *m = msg_new(&b->node->hub.budget, &parts);
    CHECK(m);
    return m;
}

static struct fake_live *pop_live(struct fake_bus *b)
{
    struct fake_live *l = STAILQ_FIRST(&b->live);
    if (!l)
        return NULL;
    STAILQ_REMOVE_HEAD(&b->live, link);
    b->live_count--;
    return l;
}

bool fake_bus_deliver(struct fake_bus *b)
{
    struct fake_live *l = pop_live(b);
    if (!l)
        return false;
    if (l->is_gap) {
        home_post_gap(&b->node->hub, l->gap);
    } else {
        struct msg *m = make_msg(b, &b->all[l->index]);
        m->prev = b->hides_prev ? MSG_PREV_UNKNOWN : b->all[l->index].prev;
        m->gap = b->stamps_late ? b->gap : l->gap;
        home_post(&b->node->hub, m);
    }
    free(l);
    return true;
}

bool fake_bus_lose(struct fake_bus *b)
{
    struct fake_live *l = STAILQ_FIRST(&b->live);
    if (!l || l->is_gap)
        return false;
    free(pop_live(b));
    return true;
}

void fake_bus_cut(struct fake_bus *b)
{
    CHECK(!b->away);
    b->away = true;
    b->gap++;
}

void fake_bus_mend(struct fake_bus *b)
{
    CHECK(b->away);
    b->away = false;
    b->settled = b->gap;
    queue(b, 0, true);
}

/* --- feeds --------------------------------------------------------------- */

static void on_acquire(void *self, struct feed_op *op)
{
    struct fake_bus *b = self;
    CHECK(b->feed_count < ARRAY_LEN(b->feeds) && op->channel_len == 1);
    b->feeds[b->feed_count++] = op;
}

static void on_release(void *self, struct str channel, bool is_pattern)
{
    struct fake_bus *b = self;
    CHECK(channel.n == 1 && is_pattern == (channel.p[0] == '>'));
    CHECK(b->fed[(int)channel.p[0]]-- > 0);
}

static void on_feed_letter(void *reader, struct letter *self)
{
    struct feed_op *op = container_of(self, struct feed_op, letter);
    CHECK(op->home == reader);
    op->done(op);
}

bool fake_bus_feed(struct fake_bus *b)
{
    if (b->feed_count == 0)
        return false;
    struct feed_op *op = b->feeds[0];
    memmove(b->feeds, b->feeds + 1, --b->feed_count * sizeof(*b->feeds));
    b->fed[(int)op->channel[0]]++;
    op->has_stream = b->has_stream && !b->feed_error && !op->is_pattern;
    op->error = op->is_pattern ? 0 : b->feed_error;
    op->letter.run = on_feed_letter;
    mailbox_post(&op->home->mailbox, &op->letter);
    return true;
}

/* --- reads --------------------------------------------------------------- */

static void on_read(void *self, struct read_op *op)
{
    struct fake_bus *b = self;
    CHECK(b->read_count < FAKE_BUS_MAX_READS && op->channel_len == 1);
    b->reads[b->read_count++] = (struct fake_read){op, false};
    b->reads_total++;
}

static void add_msg(const struct fake_bus *b, struct read_op *op,
                    const struct fake_pub *p)
{
    uint32_t n = op->count + 1;
    op->msgs = mem_realloc(op->msgs, n * sizeof(*op->msgs));
    op->at_ms = mem_realloc(op->at_ms, n * sizeof(*op->at_ms));
    op->msgs[op->count] = make_msg(b, p);
    op->at_ms[op->count] = p->at_ms;
    op->count = n;
}

/* floor: the last publication that is gone, or the marker behind it. */
static void compute(const struct fake_bus *b, struct read_op *op)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct fake_pub *p = &b->all[i];
        if (!is_of(b, p, op->channel[0]))
            continue;
        if (p->stored)
            op->newest = p->offset;
        if (p->stored == p->is_marker)
            op->floor = p->offset;
        else if (p->stored && p->offset > op->since)
            add_msg(b, op, p);
    }
    op->epoch = b->epoch;
    op->last = b->last;
    op->gap = b->settled;
    if (b->is_vague && op->floor > op->since)
        op->floor = op->count ? op->msgs[0]->offset - 1 : b->last;
    if (op->floor < op->since && op->since <= b->last)
        op->floor = op->since;
}

void fake_bus_run(struct fake_bus *b, size_t i)
{
    struct fake_read *r = &b->reads[i];
    CHECK(i < b->read_count);
    if (r->is_run)
        return;
    r->is_run = true;
    r->op->error = b->read_error;
    if (r->op->error == 0)
        compute(b, r->op);
}

static void on_read_letter(void *reader, struct letter *self)
{
    struct read_op *op = container_of(self, struct read_op, letter);
    CHECK(op->origin == reader);
    op->done(op);
}

void fake_bus_answer(struct fake_bus *b, size_t i)
{
    fake_bus_run(b, i);
    struct read_op *op = b->reads[i].op;
    memmove(b->reads + i, b->reads + i + 1,
            (--b->read_count - i) * sizeof(*b->reads));
    op->letter.run = on_read_letter;
    mailbox_post(&op->origin->mailbox, &op->letter);
}

/* --- the rest of the table ------------------------------------------------ */

static void on_publish_letter(void *reader, struct letter *self)
{
    struct publish_op *op = container_of(self, struct publish_op, letter);
    CHECK(op->origin == reader);
    msg_unref(op->msg);
    op->msg = NULL;
    free(op->wish);
    op->wish = NULL;
    op->done(op);
}

static void on_publish(void *self, struct publish_op *op)
{
    struct fake_bus *b = self;
    op->position.offset = store(b, op->msg->bytes[0], false);
    op->position.epoch = b->epoch;
    op->letter.run = on_publish_letter;
    mailbox_post(&op->origin->mailbox, &op->letter);
}

static void on_remove_letter(void *reader, struct letter *self)
{
    struct remove_op *op = container_of(self, struct remove_op, letter);
    CHECK(op->origin == reader);
    op->done(op);
}

static void on_remove(void *self, struct remove_op *op)
{
    fake_bus_purge(self, op->channel[0], true);
    op->letter.run = on_remove_letter;
    mailbox_post(&op->origin->mailbox, &op->letter);
}

static const struct broker_ops ops = {
    .publish = on_publish,
    .acquire = on_acquire,
    .release = on_release,
    .read = on_read,
    .remove = on_remove,
};

/* --- begin and end -------------------------------------------------------- */

void fake_bus_init(struct fake_bus *b, struct fake_node *n,
                   const struct history_policy *policy)
{
    *b = (struct fake_bus){
        .node = n,
        .policy = policy,
        .keep = policy->size,
        .has_stream = true,
        .epoch = 1,
    };
    STAILQ_INIT(&b->live);
    n->hub.broker.ops = &ops;
    n->hub.broker.self = b;
}

void fake_bus_fini(struct fake_bus *b)
{
    struct fake_live *l;
    while ((l = pop_live(b)))
        free(l);
    while (b->feed_count)
        free(b->feeds[--b->feed_count]);
    while (b->read_count)
        read_op_free(b->reads[--b->read_count].op);
    free(b->all);
    b->all = NULL;
}

void fake_bus_serve(struct fake_bus *b)
{
    fake_settle(b->node);
    for (bool any = true; any;) {
        any = false;
        while (fake_bus_feed(b))
            any = true;
        fake_settle(b->node);
        for (; b->read_count; any = true)
            fake_bus_answer(b, 0);
        fake_settle(b->node);
        while (fake_bus_deliver(b))
            any = true;
        fake_settle(b->node);
    }
}
