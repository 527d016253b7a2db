#include "gateway/broker/reader.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/broker/origin.h"
#include "gateway/protocol/codes.h"

#define NS_PER_MS 1000000
#define GRAVE_MS 5000
/* Of a consumer that is not heard any more, and between signs of life. */
#define INACTIVE_NS (5 * INT64_C(1000000000))
#define HEARTBEAT_NS (500 * INT64_C(1000000))
#define PENDING_MAX_MSGS 65536
/* The broker's thread settles at once when it can. */
#define SETTLE_WAIT_MS 500
#define SETTLE_LOOK_US 500
/* Another try when the stream moved while it was read. */
#define TRIES 3

/* The stream's state. */
struct state {
    uint64_t first;
    uint64_t last;
    uint64_t epoch;
    int64_t max_per_subject; /* -1: no limit */
};

struct reading {
    struct worker *worker;
    struct side_link *link;
    struct stream *stream;
    struct read_op *op;
    const char *subject; /* borrowed: the worker's scratch */
    uint64_t end_ms;
    bool by_time; /* the consumer began at a time, not at a sequence */

    struct msg **msgs; /* owned; from `head` on */
    uint64_t *at_ms;   /* owned */
    uint32_t head;
    uint32_t count; /* after head */
    uint32_t cap;
    size_t bytes;
    uint64_t floor; /* nothing at or below it is in msgs */
    uint64_t raw;   /* messages above `since` that came, whatever they were */
    uint64_t top;   /* the last that came */
    bool has_since; /* the message at `since` came */
};

static uint64_t now_ms(void)
{
    return clock_ns_to_ms(clock_now_ns());
}

/* --- single requests ------------------------------------------------------ */

static int get_state(struct reading *r, struct state *out)
{
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus rc =
        js_GetStreamInfo(&info, r->link->js, r->stream->name, NULL, &code);
    if (rc != NATS_OK) {
        streams_poke(r->worker->all->streams);
        return ERR_AGAIN;
    }
    const jsStreamState *s = &info->State;
    *out = (struct state){.first = s->FirstSeq ? s->FirstSeq : s->LastSeq + 1,
                          .last = s->LastSeq,
                          .epoch = stream_epoch(r->stream->name, info->Created),
                          .max_per_subject = info->Config->MaxMsgsPerSubject};
    jsStreamInfo_Destroy(info);
    if (out->epoch != atomic_load(&r->stream->epoch))
        streams_poke(r->worker->all->streams);
    return 0;
}

/* The subject's last sequence; 0: it has none. Not by direct get: a replica
 * that is behind may answer that. */
static int get_last(struct reading *r, uint64_t *out)
{
    natsMsg *m = NULL;
    jsErrCode code = 0;
    natsStatus rc = js_GetLastMsg(&m, r->link->js, r->stream->name, r->subject,
                                  NULL, &code);
    if (rc == NATS_OK)
        *out = natsMsg_GetSequence(m);
    natsMsg_Destroy(m);
    if (rc == NATS_OK)
        return 0;
    if (code != JSNoMessageFoundErr)
        return ERR_AGAIN;
    *out = 0;
    return 0;
}

/* Is the subject's message of that sequence there? ERR_NOT_FOUND: no. */
static int find_stored(struct reading *r, uint64_t seq)
{
    natsMsg *m = NULL;
    jsErrCode code = 0;
    natsStatus rc =
        js_GetMsg(&m, r->link->js, r->stream->name, seq, NULL, &code);
    bool same = rc == NATS_OK && strcmp(natsMsg_GetSubject(m), r->subject) == 0;
    natsMsg_Destroy(m);
    if (rc == NATS_OK)
        return same ? 0 : ERR_NOT_FOUND;
    return code == JSNoMessageFoundErr ? ERR_NOT_FOUND : ERR_AGAIN;
}

/* --- what was read -------------------------------------------------------- */

static void drop_oldest(struct reading *r)
{
    struct msg *m = r->msgs[r->head];
    r->floor = m->offset;
    r->bytes -= msg_size(m);
    r->head++;
    r->count--;
    msg_unref(m);
}

static void drop_up_to(struct reading *r, uint64_t offset)
{
    while (r->count && r->msgs[r->head]->offset <= offset)
        drop_oldest(r);
    if (r->floor < offset)
        r->floor = offset;
}

static void make_room(struct reading *r)
{
    if (r->head + r->count < r->cap)
        return;
    if (r->head > r->cap / 2) {
        memmove(r->msgs, r->msgs + r->head, r->count * sizeof(struct msg *));
        memmove(r->at_ms, r->at_ms + r->head, r->count * sizeof(*r->at_ms));
        r->head = 0;
        return;
    }
    r->cap = r->cap ? r->cap * 2 : 16;
    r->msgs = mem_realloc(r->msgs, r->cap * sizeof(struct msg *));
    r->at_ms = mem_realloc(r->at_ms, r->cap * sizeof(*r->at_ms));
}

/* From the server's clock to ours. */
static uint64_t when(uint64_t stored_ns)
{
    struct timespec ts;
    uint64_t now = now_ms();
    clock_gettime(CLOCK_REALTIME, &ts);
    uint64_t wall_ms =
        (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / NS_PER_MS;
    uint64_t stored_ms = stored_ns / NS_PER_MS;
    uint64_t age_ms = wall_ms > stored_ms ? wall_ms - stored_ms : 0;
    return age_ms < now ? now - age_ms : 0;
}

static struct msg *make_msg(struct reading *r, struct msg_parts *parts)
{
    struct hub *hub = r->worker->all->hub;
    struct msg *m = msg_new(&hub->budget, parts);
    return m ? m : msg_new(&hub->held, parts); /* it will be kept */
}

static void keep(struct reading *r, struct msg *m, uint64_t at_ms)
{
    make_room(r);
    r->msgs[r->head + r->count] = m;
    r->at_ms[r->head + r->count] = at_ms;
    r->count++;
    r->bytes += msg_size(m);
    while (r->count && (r->count > r->stream->space->ns->history.size ||
                        r->bytes > READER_MAX_BYTES))
        drop_oldest(r);
}

static void take(struct reading *r, natsMsg *m, const struct origin *o)
{
    struct msg_parts parts = {.born_ns = clock_now_ns(),
                              .offset = o->stream_seq,
                              .epoch = r->op->epoch,
                              .gap = r->op->gap};
    r->top = o->stream_seq;
    if (o->stream_seq <= r->op->since) {
        r->has_since |= o->stream_seq == r->op->since;
        return;
    }
    r->raw++;
    if (intake_read(&r->worker->intake, r->stream->space, m, &parts) < 0)
        return;
    if (parts.is_marker) {
        drop_up_to(r, o->stream_seq);
        return;
    }
    struct msg *out = make_msg(r, &parts);
    if (out)
        keep(r, out, when(o->stored_ns));
    else /* never: `held` has no bound */
        drop_up_to(r, o->stream_seq);
}

/* --- a consumer ----------------------------------------------------------- */

static void bury(struct inbox *in, bool all)
{
    struct inbox_grave *g;
    while ((g = STAILQ_FIRST(&in->graves)) &&
           (all || g->until_ms <= now_ms())) {
        STAILQ_REMOVE_HEAD(&in->graves, link);
        natsSubscription_Destroy(g->sub);
        free(g);
    }
}

/* The server ends what delivers there. */
static void abandon(struct inbox *in)
{
    if (!in->sub)
        return;
    struct inbox_grave *g = mem_zalloc(sizeof(*g));
    g->sub = in->sub;
    g->until_ms = now_ms() + GRAVE_MS;
    in->sub = NULL;
    natsSubscription_Unsubscribe(g->sub);
    STAILQ_INSERT_TAIL(&in->graves, g, link);
}

void inbox_fini(struct inbox *in)
{
    natsSubscription_Destroy(in->sub); /* the connection is closed */
    in->sub = NULL;
    bury(in, true);
    free(in->prefix);
    in->prefix = NULL;
    buf_free(&in->subject);
}

/* For nats-server 2.9 nobody listens to a deliver subject unless there is a SUB
 * on exactly it: all consumers of a worker, one after the other, share one. */
static int open_inbox(struct inbox *in, const struct side_link *l)
{
    bury(in, false);
    if (in->sub && in->generation == l->generation)
        return 0;
    abandon(in);
    buf_clear(&in->subject);
    buf_printf(&in->subject, "%s%llu%c", in->prefix,
               (unsigned long long)++in->subs, 0);
    if (natsConnection_SubscribeSync(&in->sub, l->nc, in->subject.p) !=
        NATS_OK) {
        in->sub = NULL;
        return ERR_AGAIN;
    }
    natsSubscription_SetPendingLimits(in->sub, PENDING_MAX_MSGS,
                                      2 * READER_MAX_BYTES);
    in->generation = l->generation;
    return 0;
}

/* From `since` on, or the newest that are not too old. */
static void set_start(struct reading *r, jsConsumerConfig *c)
{
    const struct history_policy *h = &r->stream->space->ns->history;
    r->by_time = !r->stream->is_ours && r->op->since == 0 && h->ttl_ms;
    c->DeliverPolicy = js_DeliverByStartSequence;
    c->OptStartSeq = r->op->since ? r->op->since : 1;
    if (!r->by_time)
        return;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    c->DeliverPolicy = js_DeliverByStartTime;
    c->OptStartSeq = 0;
    c->OptStartTime = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec -
                      (int64_t)h->ttl_ms * NS_PER_MS;
}

static jsConsumerInfo *open_consumer(struct reading *r)
{
    jsConsumerConfig c;
    jsConsumerInfo *info = NULL;
    jsErrCode code = 0;
    jsConsumerConfig_Init(&c);
    c.DeliverSubject = r->worker->inbox.subject.p;
    c.AckPolicy = js_AckNone;
    c.FilterSubject = r->subject;
    c.MemoryStorage = true;
    c.FlowControl = true;
    c.Heartbeat = HEARTBEAT_NS;
    c.InactiveThreshold = INACTIVE_NS;
    set_start(r, &c);
    if (js_AddConsumer(&info, r->link->js, r->stream->name, &c, NULL, &code) ==
        NATS_OK)
        return info;
    return NULL;
}

static void close_consumer(struct reading *r, jsConsumerInfo *info)
{
    jsErrCode code = 0;
    if (js_DeleteConsumer(r->link->js, r->stream->name, info->Name, NULL,
                          &code) != NATS_OK)
        abandon(&r->worker->inbox);
    jsConsumerInfo_Destroy(info);
}

/* A consumer has something to say beside messages. True: it has sent `sent`
 * messages, and there are no more just now. */
static bool answer_status(struct reading *r, natsMsg *m, uint64_t sent)
{
    const char *to = NULL;
    if (natsMsgHeader_Get(m, "Nats-Consumer-Stalled", &to) != NATS_OK)
        to = natsMsg_GetReply(m);
    if (!to)
        return intake_number(m, "Nats-Last-Consumer") == sent;
    natsConnection_PublishString(r->link->nc, to, "");
    return false;
}

/* The consumer's message after the first `sent`: 0; ERR_NOT_FOUND: there is
 * none; ERR_AGAIN. */
static int next(struct reading *r, const jsConsumerInfo *info, uint64_t sent,
                struct origin *o, natsMsg **out)
{
    for (;;) {
        natsMsg *m = NULL;
        int64_t left = (int64_t)(r->end_ms - now_ms());
        if (left <= 0 ||
            natsSubscription_NextMsg(&m, r->worker->inbox.sub, left) != NATS_OK)
            return ERR_AGAIN;
        const char *reply = natsMsg_GetReply(m);
        bool is_message = reply && origin_parse(str_of(reply), o) == 0;
        if (is_message && str_eq(o->consumer, str_of(info->Name))) {
            *out = m;
            return 0;
        }
        bool idle = !is_message && answer_status(r, m, sent);
        natsMsg_Destroy(m);
        if (idle)
            return ERR_NOT_FOUND;
    }
}

/* Everything the consumer has, up to `last` in any case. */
static int drain(struct reading *r, const jsConsumerInfo *info, uint64_t last)
{
    uint64_t sent = 0;
    struct origin o;
    natsMsg *m = NULL;
    int rc = 0;
    do {
        rc = next(r, info, sent, &o, &m);
        if (rc < 0)
            break;
        if (o.consumer_seq == ++sent)
            take(r, m, &o);
        else /* nats.c dropped some */
            rc = ERR_AGAIN;
        natsMsg_Destroy(m);
    } while (rc == 0 && (o.pending || o.stream_seq < last));
    if (rc == ERR_NOT_FOUND) /* or what was the last one is gone */
        return r->top >= last || r->by_time ? 0 : ERR_AGAIN;
    return rc;
}

static int consume(struct reading *r, uint64_t last)
{
    if (open_inbox(&r->worker->inbox, r->link) < 0)
        return ERR_AGAIN;
    jsConsumerInfo *info = open_consumer(r);
    if (!info)
        return ERR_AGAIN;
    int rc = drain(r, info, last);
    close_consumer(r, info);
    return rc;
}

/* --- what it proves ------------------------------------------------------- */

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The oldest that is still stored: everything after it is there, too. */
static int prove_by_oldest(struct reading *r)
{
    uint32_t from = 0;
    uint32_t to = r->count;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        int rc = find_stored(r, r->msgs[r->head + mid]->offset);
        if (rc == ERR_AGAIN)
            return rc;
        if (rc == 0)
            to = mid;
        else
            from = mid + 1;
    }
    if (from == r->count) /* it proves nothing about what was before now */
        drop_up_to(r, greater(r->top, r->op->last));
    else
        drop_up_to(r, r->msgs[r->head + from]->offset - 1);
    return 0;
}

/* Is nothing of the channel behind what was read? */
static int is_end(struct reading *r, bool *yes)
{
    uint64_t last;
    if (get_last(r, &last) < 0)
        return ERR_AGAIN;
    *yes = last == r->top;
    return 0;
}

/* Nothing is missing above what is gone from the whole stream, when it keeps
 * more of a channel than there are: even if all that came meanwhile was this
 * channel's, or nothing of that was. */
static int prove_by_count(struct reading *r, bool *proven)
{
    struct state end;
    *proven = false;
    if (r->by_time)
        return 0;
    if (get_state(r, &end) < 0)
        return ERR_AGAIN;
    if (end.epoch != r->op->epoch)
        return 0;
    uint64_t keeps =
        end.max_per_subject > 0 ? (uint64_t)end.max_per_subject : UINT64_MAX;
    uint64_t later = end.last > r->top ? end.last - r->top : 0;
    if (r->raw >= keeps)
        return 0;
    *proven = later < keeps - r->raw;
    if (!*proven && is_end(r, proven) < 0)
        return ERR_AGAIN;
    if (*proven)
        drop_up_to(r, greater(r->op->since, end.first - 1));
    return 0;
}

static int prove(struct reading *r)
{
    bool proven = false;
    if (r->has_since) {
        int rc = find_stored(r, r->op->since);
        if (rc == 0)
            drop_up_to(r, r->op->since);
        if (rc != ERR_NOT_FOUND)
            return rc;
    } else {
        int rc = prove_by_count(r, &proven);
        if (rc < 0 || proven)
            return rc;
    }
    return prove_by_oldest(r);
}

/* --- a read --------------------------------------------------------------- */

static void forget(struct reading *r)
{
    while (r->count)
        drop_oldest(r);
    free(r->msgs);
    free(r->at_ms);
    r->msgs = NULL;
    r->at_ms = NULL;
    r->head = r->cap = 0;
    r->floor = r->raw = r->top = 0;
    r->has_since = false;
}

static void give(struct reading *r)
{
    struct read_op *op = r->op;
    if (r->head && r->count) {
        memmove(r->msgs, r->msgs + r->head, r->count * sizeof(struct msg *));
        memmove(r->at_ms, r->at_ms + r->head, r->count * sizeof(*r->at_ms));
    }
    op->msgs = r->msgs;
    op->at_ms = r->at_ms;
    op->count = r->count;
    op->floor = r->floor;
    op->last = greater(greater(op->last, r->top), op->floor);
}

/* The channel has nothing above `since`. */
static int prove_nothing(struct reading *r, const struct state *begin)
{
    struct read_op *op = r->op;
    struct state end = *begin;
    op->floor = op->last;
    if (op->since > op->last)
        return 0; /* of another life of the stream */
    if (op->newest) {
        op->floor = op->since;
        return 0;
    }
    if (op->since == op->last) {
        op->floor = op->since;
        return 0;
    }
    /* What expired since the question was asked counts, too. */
    if (get_state(r, &end) < 0)
        return ERR_AGAIN;
    if (end.epoch == op->epoch)
        op->floor = greater(op->since, end.first - 1);
    if (op->floor > op->last)
        op->last = op->floor;
    return 0;
}

/* What the bus may have lost until now must be over: what came before its SUBs
 * were there again is in the stream only, and no count would tell. */
static int wait_settled(struct reading *r)
{
    struct bus *bus = r->worker->all->bus;
    uint64_t gaps = atomic_load(&bus->gaps);
    uint64_t end_ms = now_ms() + SETTLE_WAIT_MS;
    while (atomic_load(&bus->settled) < gaps) {
        if (now_ms() >= end_ms || !bus_is_up(bus) ||
            atomic_load(&r->worker->all->stopping))
            return ERR_AGAIN;
        usleep(SETTLE_LOOK_US);
    }
    r->op->gap = atomic_load(&bus->settled);
    return 0;
}

static int read_once(struct reading *r)
{
    struct read_op *op = r->op;
    struct state begin;
    uint64_t last = 0;
    if (wait_settled(r) < 0)
        return ERR_AGAIN;
    if (get_state(r, &begin) < 0 || get_last(r, &last) < 0)
        return ERR_AGAIN;
    op->epoch = begin.epoch;
    op->last = begin.last;
    op->newest = last;
    if (last <= op->since)
        return prove_nothing(r, &begin);
    int rc = consume(r, last);
    if (rc == 0)
        rc = prove(r);
    if (rc < 0)
        return rc;
    op->newest = greater(last, r->top);
    give(r);
    return 0;
}

void reader_read(struct worker *w, struct side_link *l, struct stream *s,
                 struct read_op *op)
{
    struct reading r = {.worker = w,
                        .link = l,
                        .stream = s,
                        .op = op,
                        .end_ms = now_ms() + READER_MAX_MS};
    buf_clear(&w->subject);
    op->error = ERROR_INTERNAL;
    if (subject_of(s->space, str_n(op->channel, op->channel_len), &w->subject) <
        0) {
        op->error = ERROR_BAD_REQUEST;
        return;
    }
    r.subject = w->subject.p;
    for (int i = 0;
         i < TRIES && now_ms() < r.end_ms && !atomic_load(&w->all->stopping);
         i++) {
        if (read_once(&r) == 0) {
            op->error = 0;
            return;
        }
        forget(&r);
    }
}
