#include "gateway/broker/follow.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/broker/origin.h"

#define GRAVE_MS 5000
#define RETRY_MS 1000
#define HEARTBEAT_MS 1000
#define SILENT_MS (3 * HEARTBEAT_MS)
#define INACTIVE_MS 5000
#define NS_PER_MS INT64_C(1000000)
/* Between two looks at what may be silent. */
#define LOOK_MS 250

/* --- messages, on the delivery thread ------------------------------------- */

/* The broker's thread starts it again. */
static void give_up(struct follow *f)
{
    struct bus *bus = f->table->delivery->bus;
    if (!atomic_exchange(&f->broken, true))
        bus->wake(bus->wake_arg);
}

/* A sign of life says how many messages there were. */
static void take_status(struct follow *f, natsMsg *m)
{
    if (intake_number(m, "Nats-Last-Consumer") != f->count)
        give_up(f);
}

static void take_message(struct follow *f, natsMsg *m, const struct origin *o)
{
    struct msg_parts parts = {.born_ns = clock_now_ns(),
                              .offset = o->stream_seq,
                              .prev = MSG_PREV_UNKNOWN};
    if (o->consumer_seq != ++f->count) {
        give_up(f);
        return;
    }
    /* Relaxed: it changes with a gap, which makes everybody look. */
    parts.epoch = atomic_load_explicit(&f->stream->epoch, memory_order_relaxed);
    delivery_take(f->port, m, &parts);
    atomic_store(&f->last, o->stream_seq);
}

static void take(struct follow *f, natsSubscription *sub, natsMsg *m)
{
    struct origin o;
    const char *reply = natsMsg_GetReply(m);
    if (sub != atomic_load(&f->sub) || atomic_load(&f->broken))
        return;
    if (sub != f->seen) {
        f->seen = sub;
        f->count = 0;
    }
    /* Relaxed: a time stamp. */
    atomic_store_explicit(&f->heard_ns, clock_now_ns(), memory_order_relaxed);
    if (reply && origin_parse(str_of(reply), &o) == 0)
        take_message(f, m, &o);
    else
        take_status(f, m);
}

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *m,
                       void *closure)
{
    struct follow *f = closure;
    struct delivery *d = f->table->delivery;
    (void)nc;
    if (delivery_enter(d))
        take(f, sub, m);
    natsMsg_Destroy(m);
    delivery_leave(d);
}

/* --- a consumer, on a worker ---------------------------------------------- */

static natsStatus make_consumer(struct side_link *l, const struct stream *s,
                                const struct follow_start *start)
{
    jsConsumerConfig c;
    jsConsumerInfo *info = NULL;
    jsErrCode code = 0;
    jsConsumerConfig_Init(&c);
    c.DeliverSubject = start->deliver;
    c.DeliverPolicy = js_DeliverByStartSequence;
    c.OptStartSeq = start->after + 1;
    c.AckPolicy = js_AckNone;
    c.FilterSubject = s->filter;
    c.MemoryStorage = true;
    c.Heartbeat = HEARTBEAT_MS * NS_PER_MS;
    c.InactiveThreshold = INACTIVE_MS * NS_PER_MS;
    natsStatus rc = js_AddConsumer(&info, l->js, s->name, &c, NULL, &code);
    jsConsumerInfo_Destroy(info);
    return rc;
}

static void find_start(struct follow_start *start, const jsStreamInfo *info,
                       uint64_t epoch)
{
    if (start->epoch == epoch && start->after <= info->State.LastSeq) {
        start->is_gap = info->State.FirstSeq > start->after + 1;
        return;
    }
    start->is_gap = start->epoch != 0;
    start->after = info->State.LastSeq;
    start->epoch = epoch;
}

static void on_started(void *reader, struct letter *self);

static void on_start(void *reader, struct letter *self)
{
    struct follow *f = container_of(self, struct follow, start.letter);
    struct streams *streams = f->table->workers->streams;
    struct side_link *l = side_enter(&streams->side);
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    (void)reader;
    f->start.ok = false;
    if (l && js_GetStreamInfo(&info, l->js, f->stream->name, NULL, &code) ==
                 NATS_OK) {
        find_start(&f->start, info,
                   stream_epoch(f->stream->name, info->Created));
        f->start.ok = make_consumer(l, f->stream, &f->start) == NATS_OK;
    }
    jsStreamInfo_Destroy(info);
    if (l)
        side_leave(&streams->side);
    if (!f->start.ok)
        streams_poke(streams);
    f->start.letter.run = on_started;
    mailbox_post(f->table->mailbox, &f->start.letter);
}

/* --- start and stop ------------------------------------------------------- */

static void bury(struct follow_table *t, uint64_t now_ms, bool all)
{
    struct follow_grave *g;
    while ((g = STAILQ_FIRST(&t->graves)) && (all || g->until_ms <= now_ms)) {
        STAILQ_REMOVE_HEAD(&t->graves, link);
        natsSubscription_Destroy(g->sub);
        free(g);
    }
}

/* The server ends a consumer that nobody hears. */
static void stop(struct follow *f, uint64_t now_ms)
{
    natsSubscription *sub = atomic_exchange(&f->sub, NULL);
    f->running = false;
    if (!sub)
        return;
    struct follow_grave *g = mem_zalloc(sizeof(*g));
    g->sub = sub;
    g->until_ms = now_ms + GRAVE_MS;
    natsSubscription_Unsubscribe(sub);
    STAILQ_INSERT_TAIL(&f->table->graves, g, link);
}

static void name_subject(struct follow *f)
{
    struct buf b = BUF_INIT;
    size_t n;
    buf_printf(&b, "%s%u.%llu%c", f->table->inbox,
               (unsigned)(f - f->table->items), (unsigned long long)++f->subs,
               0);
    free(f->start.deliver);
    f->start.deliver = buf_take(&b, &n);
    f->start.sub = f->subs;
}

static void start(struct follow *f, uint64_t now_ms)
{
    natsSubscription *sub = NULL;
    f->try_ms = now_ms + RETRY_MS;
    stop(f, now_ms);
    name_subject(f);
    if (natsConnection_Subscribe(&sub, f->table->nc, f->start.deliver,
                                 on_message, f) != NATS_OK)
        return;
    atomic_store(&f->broken, false);
    atomic_store(&f->heard_ns, clock_now_ns());
    atomic_store(&f->sub, sub);
    f->lost = atomic_load(&f->table->delivery->bus->lost);
    f->begun = atomic_load(&f->last);
    f->start.after = f->begun;
    f->start.is_under_way = true;
    f->start.is_gap = false;
    f->start.letter.run = on_start;
    workers_post(f->table->workers, &f->start.letter);
}

static void serve(struct follow *f)
{
    STAILQ_CONCAT(f->table->served, &f->asking);
    f->askers = 0;
}

static void on_started(void *reader, struct letter *self)
{
    struct follow *f = container_of(self, struct follow, start.letter);
    struct bus *bus = f->table->delivery->bus;
    (void)reader;
    f->start.is_under_way = false;
    if (!f->start.ok || f->start.sub != f->subs || !atomic_load(&f->sub))
        return;
    /* Unless a message came already. */
    uint64_t before = f->begun;
    atomic_compare_exchange_strong(&f->last, &before, f->start.after);
    if (f->start.is_gap || f->early)
        bus_note_gap(bus);
    f->running = true;
    f->early = false;
    f->try_ms = 0;
    serve(f);
}

/* --- the table ------------------------------------------------------------ */

void follow_init(struct follow_table *t, const char *node)
{
    struct streams *streams = t->workers->streams;
    struct buf b = BUF_INIT;
    size_t n;
    buf_printf(&b, "%s.node.%s.fol.%c", streams->cfg->nats.prefix, node, 0);
    t->inbox = buf_take(&b, &n);
    STAILQ_INIT(&t->graves);
    t->items = mem_zalloc((streams->count + 1) * sizeof(*t->items));
    for (size_t i = 0; i < streams->count; i++) {
        struct follow *f = &t->items[i];
        f->table = t;
        f->stream = &streams->items[i];
        f->port = delivery_port(t->delivery, f->stream->space);
        STAILQ_INIT(&f->asking);
    }
}

void follow_fini(struct follow_table *t)
{
    if (!t->items)
        return;
    for (size_t i = 0; i < t->workers->streams->count; i++)
        free(t->items[i].start.deliver);
    free(t->items);
    t->items = NULL;
    free(t->inbox);
    t->inbox = NULL;
}

void follow_attach(struct follow_table *t, natsConnection *nc)
{
    t->nc = nc;
}

void follow_leave(struct follow_table *t)
{
    for (size_t i = 0; i < t->workers->streams->count; i++)
        stop(&t->items[i], 0);
}

void follow_detach(struct follow_table *t)
{
    follow_leave(t);
    for (size_t i = 0; i < t->workers->streams->count; i++)
        serve(&t->items[i]);
    bury(t, 0, true);
    t->nc = NULL;
}

static struct follow *find(struct follow_table *t, const struct stream *s)
{
    return &t->items[s - t->workers->streams->items];
}

int follow_acquire(struct follow_table *t, const struct stream *s,
                   struct letter *who)
{
    struct follow *f = find(t, s);
    bool waits = stream_state(s) == STREAM_FOLLOWED && !f->running && t->nc;
    f->users++;
    /* Nothing brings it yet, and nobody waits until something does. */
    if (!stream_is_known(s) || (!waits && !f->running))
        f->early = true;
    if (!waits)
        return 0;
    if (!who || f->askers >= FEED_ASKERS_MAX) {
        f->early = true;
        return 0;
    }
    if (f->askers++ == 0)
        f->asked_ms = clock_ns_to_ms(clock_now_ns());
    STAILQ_INSERT_TAIL(&f->asking, who, link);
    return ERR_AGAIN;
}

void follow_release(struct follow_table *t, const struct stream *s,
                    uint64_t now_ms)
{
    struct follow *f = find(t, s);
    if (f->users > 0 && --f->users == 0)
        f->idle_ms = now_ms;
}

static bool is_wanted(const struct follow *f, uint64_t now_ms)
{
    return stream_state(f->stream) == STREAM_FOLLOWED &&
           (f->users > 0 ||
            (f->running && now_ms < f->idle_ms + f->table->grace_ms));
}

static bool is_dead(const struct follow *f, uint64_t now_ms)
{
    uint64_t heard = clock_ns_to_ms(atomic_load(&f->heard_ns));
    return !f->running || atomic_load(&f->broken) ||
           f->lost != atomic_load(&f->table->delivery->bus->lost) ||
           now_ms > heard + SILENT_MS;
}

static void run_one(struct follow *f, uint64_t now_ms)
{
    if (f->askers && now_ms >= f->asked_ms + STREAM_WAIT_MS) {
        f->early = true;
        serve(f);
    }
    if (f->start.is_under_way)
        return;
    if (!is_wanted(f, now_ms)) {
        stop(f, now_ms);
        if (f->users == 0)
            f->start.epoch = 0; /* the next one begins anew */
        serve(f);
        return;
    }
    if (is_dead(f, now_ms) && now_ms >= f->try_ms)
        start(f, now_ms);
}

int64_t follow_run(struct follow_table *t, uint64_t now_ms)
{
    bool any = !STAILQ_EMPTY(&t->graves);
    bury(t, now_ms, false);
    if (!t->nc || !bus_is_up(t->delivery->bus))
        return any ? LOOK_MS : -1;
    for (size_t i = 0; i < t->workers->streams->count; i++) {
        struct follow *f = &t->items[i];
        run_one(f, now_ms);
        any |= atomic_load(&f->sub) != NULL || f->users > 0;
    }
    if (!STAILQ_EMPTY(t->served))
        return 0;
    return any ? LOOK_MS : -1;
}
