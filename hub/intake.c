/* intake.c — what comes to a channel's home shard: publications, reads of its
 * history, gaps of the bus. Part of home.h.
 *
 *     in-process   number it, keep it, deliver it, answer the publisher
 *     from a bus   its stream is there already: splice.h puts it in order
 *
 * Thread: the home shard's, but for the posting ones. */
#include <stdlib.h>

#include "base/mem.h"
#include "hub/fanout.h"
#include "hub/home_parts.h"
#include "hub/hub.h"
#include "hub/recall.h"
#include "hub/splice.h"

struct pub_letter {
    struct letter letter;
    struct msg *msg; /* owned reference */
};

static struct pub_letter *pub_letter(struct msg *m,
                                     void (*run)(void *, struct letter *))
{
    struct pub_letter *l = mem_alloc(sizeof(*l));
    l->letter.run = run;
    l->msg = m;
    return l;
}

/* --- to the shards -------------------------------------------------------- */

static void on_deliver(void *reader, struct letter *self)
{
    struct pub_letter *l = container_of(self, struct pub_letter, letter);
    fanout_deliver(reader, l->msg);
    msg_unref(l->msg);
    free(l);
}

void home_deliver(struct shard *home, struct msg *m)
{
    struct hub *hub = home->hub;
    if (hub->count == 1) {
        fanout_deliver(home, m);
        msg_unref(m);
        return;
    }
    uint64_t shards = home_interested(home, m);
    while (shards) {
        struct shard *to = hub->shards[__builtin_ctzll(shards)];
        shards &= shards - 1;
        if (to == home)
            fanout_deliver(home, m);
        else
            mailbox_post(&to->mailbox,
                         &pub_letter(msg_ref(m), on_deliver)->letter);
    }
    msg_unref(m);
}

static void on_deliver_patterns(void *reader, struct letter *self)
{
    struct pub_letter *l = container_of(self, struct pub_letter, letter);
    fanout_deliver_patterns(reader, l->msg);
    msg_unref(l->msg);
    free(l);
}

void home_deliver_patterns(struct shard *home, struct msg *m)
{
    uint64_t shards = home_interested(home, m);
    while (shards) {
        struct shard *to = home->hub->shards[__builtin_ctzll(shards)];
        shards &= shards - 1;
        shard_send(home, to,
                   &pub_letter(msg_ref(m), on_deliver_patterns)->letter);
    }
    msg_unref(m);
}

struct lose_letter {
    struct letter letter;
    enum loss why;
    bool is_pattern;
    uint32_t hash;
    uint16_t len;
    char name[];
};

static void on_lose(void *reader, struct letter *self)
{
    struct lose_letter *l = container_of(self, struct lose_letter, letter);
    struct lost_topic lost = {str_n(l->name, l->len), l->hash, l->is_pattern};
    fanout_lose(reader, &lost, l->why);
    free(l);
}

static struct lose_letter *lose_letter(const struct home_channel *e,
                                       enum loss why)
{
    struct lose_letter *l = mem_alloc(sizeof(*l) + e->len);
    l->letter.run = on_lose;
    l->why = why;
    l->is_pattern = e->is_pattern;
    l->hash = e->hash;
    l->len = e->len;
    memcpy(l->name, e->name, e->len);
    return l;
}

/* Who is on this shard is told by `own`, when the caller is ready for it: with
 * the last one that is told, channels may go. */
static void lose(struct shard *home, const struct home_channel *e,
                 enum loss why, struct letter_list *own)
{
    uint64_t shards = e->shards;
    while (shards) {
        struct shard *to = home->hub->shards[__builtin_ctzll(shards)];
        struct lose_letter *l = lose_letter(e, why);
        shards &= shards - 1;
        if (to == home)
            STAILQ_INSERT_TAIL(own, &l->letter, link);
        else
            mailbox_post(&to->mailbox, &l->letter);
    }
}

static void run_own(struct shard *home, struct letter_list *own)
{
    struct letter *l;
    while ((l = STAILQ_FIRST(own))) {
        STAILQ_REMOVE_HEAD(own, link);
        l->run(home, l);
    }
}

void home_lose(struct shard *home, struct home_channel *e)
{
    struct letter_list own = STAILQ_HEAD_INITIALIZER(own);
    lose(home, e, LOSS_STREAM, &own);
    run_own(home, &own);
}

/* In-process: a stream was given up, and its epoch with it. */
void home_forgotten(void *arg, const struct history_stream *stream)
{
    struct shard *home = arg;
    struct home_channel *e =
        home_find(home, str_n(stream->name, stream->len), stream->hash);
    home->stats.history_forgotten++;
    if (e)
        home_lose(home, e);
}

/* --- publications --------------------------------------------------------- */

static struct history_stream *stream_for(struct shard *home,
                                         const struct msg *m)
{
    struct home *h = &home->home;
    if (!h->age.deadline_ms)
        wheel_start(&home->wheel, &h->age, shard_now_ms(home) + HOME_AGE_MS);
    return history_get(&h->history, msg_channel(m), m->channel_hash, m->history,
                       position_epoch_of(rand_next(&home->rand)),
                       shard_now_ms(home));
}

static bool has_place(const struct msg *m)
{
    return m->history->size && !m->skip_history;
}

/* In-process: its place in the stream, before anybody sees it. */
static void number(struct shard *home, struct msg *m)
{
    uint64_t now_ms = shard_now_ms(home);
    struct history_stream *s = stream_for(home, m);
    m->epoch = s->epoch;
    m->offset = s->top + 1;
    history_append(&home->home.history, s, m, now_ms, now_ms, &home->hub->held);
}

/* Takes a reference. Returns where it stands; epoch 0: nowhere. */
static struct position publish_here(struct shard *home, struct msg *m)
{
    struct position at = {0, 0};
    m = home_keep(home, m);
    if (!m)
        return at;
    if (has_place(m)) {
        number(home, m);
        at = (struct position){m->epoch, m->offset};
    }
    home_deliver(home, m);
    return at;
}

/* From a bus, and not in the stream of a channel that somebody here reads. */
static void pass_on(struct shard *home, struct msg *m)
{
    if (m->is_marker) {
        msg_unref(m);
        return;
    }
    m = home_keep(home, m);
    if (m)
        home_deliver(home, m);
}

void home_publish(struct shard *home, struct msg *m)
{
    if (!home->hub->broker.ops) {
        (void)publish_here(home, m);
        return;
    }
    struct home_channel *e =
        m->offset ? home_find(home, msg_channel(m), m->channel_hash) : NULL;
    if (e && e->splice)
        splice_take(home, e, m);
    else
        pass_on(home, m);
}

static void on_publish(void *reader, struct letter *self)
{
    struct pub_letter *l = container_of(self, struct pub_letter, letter);
    home_publish(reader, l->msg);
    free(l);
}

static void on_bus_publish(void *reader, struct letter *self)
{
    ((struct shard *)reader)->stats.pubs_in_broker++;
    on_publish(reader, self);
}

void home_post(struct hub *hub, struct msg *m)
{
    struct shard *home = home_of(hub, m->channel_hash);
    mailbox_post(&home->mailbox, &pub_letter(m, on_bus_publish)->letter);
}

/* Are there letters that came before what is done now? */
static bool is_behind(struct shard *s)
{
    return s->hub->count > 1 && (s->draining || mailbox_depth(&s->mailbox) > 0);
}

void home_send(struct shard *from, struct msg *m)
{
    struct shard *home = home_of(from->hub, m->channel_hash);
    /* A publication answered on another shard may still be a letter in our
     * mailbox: one that was published after that answer must not pass it. */
    if (home == from && !is_behind(home))
        home_publish(home, m);
    else
        mailbox_post(&home->mailbox, &pub_letter(m, on_publish)->letter);
}

/* --- publications with an answer, in-process ------------------------------- */

/* Was it published already, or something newer of it? Then op->position says
 * where. */
static bool is_known(struct shard *home, struct publish_op *op)
{
    const struct publish_wish *w = op->wish;
    const struct msg *m = op->msg;
    const struct position *known = NULL;
    if (w && w->key_len)
        known = keys_find(&home->home.keys, msg_channel(m), publish_wish_key(w),
                          shard_now_ms(home));
    if (known) {
        op->position = *known;
        home->stats.publish_repeated++;
        return true;
    }
    if (!w || !w->version || !has_place(m))
        return false;
    const struct history_stream *s = stream_for(home, m);
    if (!history_is_old_version(s, w->version, publish_wish_epoch(w)))
        return false;
    op->position = (struct position){s->epoch, s->top};
    home->stats.publish_outdated++;
    return true;
}

static void note_wish(struct shard *home, struct publish_op *op)
{
    const struct publish_wish *w = op->wish;
    const struct msg *m = op->msg;
    struct home *h = &home->home;
    if (!w)
        return;
    if (w->version && has_place(m))
        history_set_version(stream_for(home, m), w->version,
                            publish_wish_epoch(w));
    if (w->key_len)
        keys_put(&h->keys, msg_channel(m), publish_wish_key(w), op->position,
                 shard_now_ms(home));
}

static void on_answer(void *reader, struct letter *self)
{
    struct publish_op *op = container_of(self, struct publish_op, letter);
    (void)reader;
    msg_unref(op->msg);
    op->msg = NULL;
    free(op->wish);
    op->wish = NULL;
    op->done(op);
}

static void on_publish_op(void *reader, struct letter *self)
{
    struct shard *home = reader;
    struct publish_op *op = container_of(self, struct publish_op, letter);
    if (!is_known(home, op)) {
        op->position = publish_here(home, msg_ref(op->msg));
        note_wish(home, op);
    }
    op->letter.run = on_answer;
    shard_send(home, op->origin, &op->letter);
}

void home_send_op(struct shard *from, struct publish_op *op)
{
    struct shard *home = home_of(from->hub, op->msg->channel_hash);
    op->letter.run = on_publish_op;
    if (home == from && !is_behind(home))
        on_publish_op(home, &op->letter);
    else
        mailbox_post(&home->mailbox, &op->letter);
}

/* --- history --------------------------------------------------------------- */

void history_op_fini(struct history_op *op)
{
    for (uint32_t i = 0; i < op->count; i++)
        msg_unref(op->msgs[i]);
    free(op->msgs);
    op->msgs = NULL;
    op->count = 0;
}

bool history_op_is_json(const struct history_op *op)
{
    for (uint32_t i = 0; i < op->count; i++) {
        if (!op->msgs[i]->is_json)
            return false;
    }
    return true;
}

static void on_history_answer(void *reader, struct letter *self)
{
    struct history_op *op = container_of(self, struct history_op, letter);
    (void)reader;
    op->done(op);
}

static void answer_history(struct shard *home, struct history_op *op)
{
    op->letter.run = on_history_answer;
    shard_send(home, op->origin, &op->letter);
}

static void on_history_read(struct read_op *read)
{
    struct history_op *op = read->arg;
    op->error = read->error;
    if (op->error == 0)
        recall_read(read->origin, read, op);
    answer_history(read->origin, op);
    read_op_free(read);
}

static void read_history(struct shard *home, struct history_op *op)
{
    const struct broker *b = &home->hub->broker;
    struct read_op *read = mem_zalloc(sizeof(*read) + op->channel_len);
    read->origin = home;
    read->arg = op;
    read->done = on_history_read;
    read->channel_len = op->channel_len;
    memcpy(read->channel, op->channel, op->channel_len);
    home->stats.history_reads++;
    b->ops->read(b->self, read);
}

/* Over a bus the stream here is as good as the bus's where it is complete. */
static const struct history_stream *stream_here(struct shard *home,
                                                struct history_op *op)
{
    struct str name = str_n(op->channel, op->channel_len);
    uint32_t hash = msg_channel_hash(name);
    struct home *h = &home->home;
    if (!home->hub->broker.ops) {
        if (!h->age.deadline_ms)
            wheel_start(&home->wheel, &h->age,
                        shard_now_ms(home) + HOME_AGE_MS);
        return history_get(&h->history, name, hash, op->history,
                           position_epoch_of(rand_next(&home->rand)),
                           shard_now_ms(home));
    }
    const struct home_channel *e = home_find(home, name, hash);
    if (!e || !e->splice || !splice_is_ready(e))
        return NULL;
    const struct history_stream *s =
        history_find(&h->history, name, hash, shard_now_ms(home));
    return s && !s->cut ? s : NULL;
}

static void on_history(void *reader, struct letter *self)
{
    struct shard *home = reader;
    struct history_op *op = container_of(self, struct history_op, letter);
    const struct history_stream *s = stream_here(home, op);
    if (!s) {
        read_history(home, op);
        return;
    }
    recall_history(home, s, op);
    answer_history(home, op);
}

void home_history(struct shard *from, struct history_op *op)
{
    struct str name = str_n(op->channel, op->channel_len);
    op->origin = from;
    op->letter.run = on_history;
    shard_send(from, home_of(from->hub, msg_channel_hash(name)), &op->letter);
}

static void on_removed(void *reader, struct letter *self)
{
    struct remove_op *op = container_of(self, struct remove_op, letter);
    (void)reader;
    op->done(op);
}

static void on_remove(void *reader, struct letter *self)
{
    struct shard *home = reader;
    struct remove_op *op = container_of(self, struct remove_op, letter);
    struct str name = str_n(op->channel, op->channel_len);
    uint32_t hash = msg_channel_hash(name);
    struct history_stream *s =
        history_find(&home->home.history, name, hash, shard_now_ms(home));
    if (s)
        history_clear(&home->home.history, s);
    last_drop(&home->home.last, name, hash); /* as a marker of the bus does */
    op->letter.run = on_removed;
    shard_send(home, op->origin, &op->letter);
}

void home_remove(struct shard *from, struct remove_op *op)
{
    const struct broker *b = &from->hub->broker;
    struct str name = str_n(op->channel, op->channel_len);
    op->origin = from;
    if (b->ops) {
        b->ops->remove(b->self, op);
        return;
    }
    op->letter.run = on_remove;
    shard_send(from, home_of(from->hub, msg_channel_hash(name)), &op->letter);
}

/* --- gaps ------------------------------------------------------------------ */

struct gap_letter {
    struct letter letter;
    uint64_t gap;
};

static void on_gap(void *reader, struct letter *self)
{
    struct shard *home = reader;
    struct gap_letter *l = container_of(self, struct gap_letter, letter);
    struct letter_list own = STAILQ_HEAD_INITIALIZER(own);
    struct home_channel *e;
    struct home_channel *next;
    HASH_ITER(hh, home->home.channels, e, next) {
        if (e->splice)
            splice_note_gap(home, e, l->gap);
        else if (e->history->tell_gaps)
            lose(home, e, LOSS_GAP, &own);
    }
    run_own(home, &own);
    free(l);
}

void home_post_gap(struct hub *hub, uint64_t gap)
{
    for (unsigned i = 0; i < hub->count; i++) {
        struct gap_letter *l = mem_alloc(sizeof(*l));
        l->letter.run = on_gap;
        l->gap = gap;
        mailbox_post(&hub->shards[i]->mailbox, &l->letter);
    }
}
