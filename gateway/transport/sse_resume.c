/* sse_resume.c — where an event stream goes on (sse.h): what an id sent back
 * says, what the ids of its events say, and what is told when it cannot.
 *
 *     Last-Event-ID: k3Xq_a0Z:17     subscribes with that position
 *     id: k3Xq_a0Z:18                one recoverable channel: shared bytes
 *     id: ~AgEC…                     several: a line in front of shared bytes
 *     event: reset                   data: {"channels":["a"],"reason":"too_old"}
 *
 * Why:    EventSource sends the last id back by itself, to any node.
 * Owns:   nothing. Thread: the loop's.
 * Bounds: EVENT_ID_MAX_CHANNELS recoverable channels a stream.
 * Uses:   protocol/event_id, gateway/recover. */
#include "gateway/protocol/encode.h"
#include "gateway/protocol/json.h"
#include "gateway/transport/sse_conn.h"
#include "hub/hub.h"

/* --- what an id says -------------------------------------------------------- */

static const struct position *position_of(const struct sse_resume *r,
                                          struct str channel)
{
    if (!r->known)
        return NULL;
    if (r->id.kind == EVENT_ID_MANY)
        return event_id_find(&r->id, event_id_name(channel));
    return r->recoverable == 1 ? &r->id.entries[0].position : NULL;
}

void sse_resume_read(struct sse_resume *r)
{
    if (r->text.n)
        r->known = event_id_parse(r->text, &r->id) == 0;
}

void sse_resume_wish(const struct sse_resume *r, struct str channel,
                     struct subscribe_options *o)
{
    struct position_wish *w = &o->wish;
    const struct position *at = position_of(r, channel);
    if (!o->recoverable)
        return;
    w->latest = r->latest ? LATEST_ALWAYS : LATEST_IF_LOST;
    w->recover = r->text.n > 0;
    w->foreign = !at;
    if (at)
        w->since = *at;
}

static bool goes_on(const struct subscribe_options *o)
{
    return o->wish.recover && !o->wish.foreign;
}

void sse_resume_await(struct sse_start *start, struct str channel,
                      const struct subscribe_options *o)
{
    if (goes_on(o))
        start->awaited[start->awaited_count++] =
            (struct event_id_entry){event_id_name(channel), o->wish.since};
}

void sse_resume_join(struct sse_start *start, const struct subscribe_options *o)
{
    start->joined += goes_on(o);
}

/* --- resets ------------------------------------------------------------------ */

static void add_name(struct buf *list, struct str channel)
{
    if (list->n)
        buf_char(list, ',');
    json_quote(list, channel);
}

/* What was missed leads on from where it asked; anything else that comes first
 * says by itself where the channel stands then. */
static void note_beginning(struct sub *sub, const struct sub_answer *answer)
{
    bool leads_on = answer->recovery == RECOVERY_DONE && !sub->newest;
    sub->begins = leads_on || answer->count == 0;
    sub->unsure = !sub->begins;
    if (!leads_on)
        sub->asked = sub->offset;
    else
        sub->offset = sub->asked;
}

void sse_resume_note(struct sse_conn *s, struct sub *sub,
                     const struct sub_answer *answer)
{
    struct sse_start *start = s->start;
    struct str name = topic_name(sub->topic);
    struct stats *st = &s->session.client.shard->stats;
    note_beginning(sub, answer);
    if (!start || !sub->recovers || answer->recovery == RECOVERY_DONE)
        return;
    if (!position_of(&start->resume, name)) {
        st->recover_foreign -= answer->recovery == RECOVERY_FOREIGN;
        st->recover_too_old -= answer->recovery != RECOVERY_FOREIGN;
        st->recover_unknown++;
        add_name(&start->unknown, name);
    } else if (answer->recovery == RECOVERY_FOREIGN) {
        add_name(&start->foreign, name);
    } else {
        add_name(&start->too_old, name);
    }
}

static void put_reset(struct buf *to, struct buf *channels, const char *reason)
{
    if (channels->n)
        buf_printf(to,
                   "event: reset\ndata: {\"channels\":[%.*s],"
                   "\"reason\":\"%s\"}\n\n",
                   STR_ARG(buf_view(channels)), reason);
    buf_free(channels);
}

void sse_resume_resets(struct sse_conn *s, struct buf *to)
{
    struct sse_start *start = s->start;
    if (!start)
        return;
    put_reset(to, &start->unknown, "unknown_id");
    put_reset(to, &start->foreign, "foreign");
    put_reset(to, &start->too_old, "too_old");
}

/* --- ids of events ------------------------------------------------------------ */

void sse_resume_choose(struct sse_conn *s, uint32_t recoverable,
                       uint32_t channels)
{
    struct client *c = &s->session.client;
    bool is_raw =
        c->encoding == ENCODING_SSE_RAW || c->encoding == ENCODING_SSE_RAW_ID;
    s->is_named |= recoverable > 1;
    c->marks = recoverable && (s->is_named || channels > 1);
    if (recoverable && !c->marks)
        c->encoding = is_raw ? ENCODING_SSE_RAW_ID : ENCODING_SSE_ID;
    else
        c->encoding = is_raw ? ENCODING_SSE_RAW : ENCODING_SSE;
}

void sse_resume_arrange(struct session *session)
{
    const struct sub *sub;
    uint32_t recoverable = 0;
    uint32_t channels = 0;
    TAILQ_FOREACH(sub, &session->client.subs, link) {
        recoverable += sub->recoverable;
        channels += !sub->topic->is_pattern;
    }
    sse_resume_choose((struct sse_conn *)session, recoverable, channels);
}

/* Where a channel stands; epoch 0: that cannot be said yet, or never. */
static struct position standing(const struct sub *sub, bool head)
{
    struct position none = {0, 0};
    struct position asked = {sub->epoch, sub->asked};
    if (!sub->recoverable)
        return none;
    if (sub->state == SUB_ASKING && !sub->positioned)
        return asked;
    if (!sub->positioned)
        return none;
    if (head)
        return sub->begins ? asked : none;
    return sub->unsure ? none : (struct position){sub->epoch, sub->offset};
}

/* Returns how many there are. */
static size_t list_positions(const struct sse_conn *s, bool head,
                             struct event_id_entry *entries)
{
    const struct sse_start *start = s->start;
    const struct sub *sub;
    size_t n = 0;
    TAILQ_FOREACH(sub, &s->session.client.subs, link) {
        struct position p = standing(sub, head);
        if (p.epoch && n < EVENT_ID_MAX_CHANNELS)
            entries[n++] = (struct event_id_entry){
                event_id_name(topic_name(sub->topic)), p};
    }
    for (uint32_t i = start ? start->joined : 0;
         start && i < start->awaited_count && n < EVENT_ID_MAX_CHANNELS; i++)
        entries[n++] = start->awaited[i];
    return n;
}

void sse_resume_mark(const struct sse_conn *s, bool head, struct buf *to)
{
    struct event_id_entry entries[EVENT_ID_MAX_CHANNELS];
    size_t n = list_positions(s, head, entries);
    size_t at = to->n;
    if (n == 0)
        return;
    buf_lit(to, "id: ");
    if (!s->is_named)
        event_id_add_one(to, entries[0].position);
    else if (event_id_add_many(to, entries, n) < 0)
        to->n = at;
    if (to->n > at)
        buf_char(to, '\n');
}

void sse_resume_channels(const struct sse_conn *s, struct buf *to)
{
    const struct sub *sub;
    struct buf names = BUF_INIT;
    TAILQ_FOREACH(sub, &s->session.client.subs, link) {
        if (sub->recoverable && sub->positioned)
            add_name(&names, topic_name(sub->topic));
    }
    buf_lit(to, "\"resume\":[");
    buf_str(to, buf_view(&names));
    buf_char(to, ']');
    buf_free(&names);
}

/* --- gaps --------------------------------------------------------------------- */

void sse_resume_gap(struct session *session, const struct sub *sub)
{
    struct buf event = BUF_INIT;
    buf_lit(&event, "event: gap\ndata: {\"channels\":[");
    json_quote(&event, topic_name(sub->topic));
    buf_lit(&event, "]}\n\n");
    client_push_bytes(&session->client, buf_view(&event));
    buf_free(&event);
}
