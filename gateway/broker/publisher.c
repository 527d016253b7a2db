#include "gateway/broker/publisher.h"

#include <stdlib.h>

#include "base/mem.h"
#include "gateway/protocol/codes.h"
#include "hub/shard.h"

/* What a waiting publication costs beside its bytes. */
#define OVERHEAD_BYTES 256

void publisher_init(struct publisher *p)
{
    sender_init(&p->sender, p->streams->map);
    STAILQ_INIT(&p->sent);
}

void publisher_fini(struct publisher *p)
{
    sender_fini(&p->sender);
}

static void on_publish_answer(void *reader, struct letter *self)
{
    struct publish_op *op = container_of(self, struct publish_op, letter);
    (void)reader;
    op->done(op);
}

static void answer_publish(struct publish_op *op, int result)
{
    msg_unref(op->msg);
    op->msg = NULL;
    free(op->wish);
    op->wish = NULL;
    op->result = result;
    op->letter.run = on_publish_answer;
    mailbox_post(&op->origin->mailbox, &op->letter);
}

/* NULL: its namespace has no history, or there is no such channel. */
struct stream *publisher_stream(const struct publisher *p, struct str channel)
{
    const struct subject_space *space = subject_find(p->streams->map, channel);
    return space ? stream_of(p->streams, space) : NULL;
}

/* Relaxed counters: they order nothing. */
static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static int64_t cost_of(const struct msg *m)
{
    return OVERHEAD_BYTES + (int64_t)m->channel_len + m->data_len +
           m->tags_len + m->info_len;
}

/* Relaxed: the sum of what waits, it orders nothing. */
static bool reserve(struct publisher *p, int64_t n)
{
    int64_t was =
        atomic_fetch_add_explicit(&p->queue_bytes, n, memory_order_relaxed);
    if (was + n <= p->cfg->nats.queue_max_size)
        return true;
    atomic_fetch_sub_explicit(&p->queue_bytes, n, memory_order_relaxed);
    return false;
}

/* Any thread. */
void publisher_finish(void *self, struct publish_op *op, int result)
{
    struct publisher *p = self;
    atomic_fetch_sub_explicit(&p->queue_bytes, cost_of(op->msg),
                              memory_order_relaxed);
    if (result == ERROR_INTERNAL)
        count(&p->refused, 1);
    answer_publish(op, result);
}

/* What no stream answers for. A claimed key (its sequence is in the position)
 * is given back when nobody knows whether the publication went out. */
static void end_publish(struct publisher *p, struct publish_op *op, int result)
{
    if (result && op->position.offset && !p->draining) {
        workers_give_back(p->workers, op);
        return;
    }
    op->position = (struct position){0};
    publisher_finish(p, op, result);
}

/* Answered with the flush of this batch. */
static void send_unstored(struct publisher *p, struct publish_op *op,
                          bool is_live)
{
    struct sender_order order = {.msg = op->msg, .is_live = is_live};
    int code = sender_send(&p->sender, p->bus->nc, &order);
    if (code) {
        end_publish(p, op, code);
        return;
    }
    if (op->position.offset)
        sender_confirm(&p->sender, p->bus->nc, op);
    STAILQ_INSERT_TAIL(&p->sent, &op->letter, link);
    p->sent_count++;
}

/* Answered with its acknowledgement. */
static void send_stored(struct publisher *p, struct publish_op *op,
                        struct stream *s)
{
    int code = acks_send(p->acks, op, s);
    if (code)
        publisher_finish(p, op, code);
    else
        p->sent_count++;
}

/* It has a key that nobody has claimed for it yet. */
static bool needs_claim(const struct publish_op *op)
{
    return op->wish && op->wish->key_len && op->position.offset == 0;
}

static void send_publish(struct publisher *p, struct publish_op *op)
{
    struct stream *s = publisher_stream(p, msg_channel(op->msg));
    bool is_plain = !s || stream_state(s) == STREAM_PLAIN;
    bool is_stored = !is_plain && !op->msg->skip_history;
    bool by_worker =
        is_stored ? op->wish && op->wish->version : needs_claim(op);
    if ((!is_plain && !stream_is_known(s)) || (by_worker && p->draining))
        end_publish(p, op, ERROR_INTERNAL);
    else if (by_worker && is_stored)
        workers_publish(p->workers, op);
    else if (by_worker)
        workers_claim(p->workers, op);
    else if (is_stored)
        send_stored(p, op, s);
    else
        send_unstored(p, op, !is_plain);
}

size_t publisher_send(struct publisher *p, struct publish_op *op)
{
    size_t bytes = (size_t)cost_of(op->msg);
    if (p->bus->nc && bus_is_up(p->bus))
        send_publish(p, op);
    else
        end_publish(p, op, ERROR_INTERNAL);
    return bytes;
}

void publisher_flushed(struct publisher *p, bool ok)
{
    struct letter *l;
    if (ok)
        count(&p->messages_out, p->sent_count);
    p->sent_count = 0;
    while ((l = STAILQ_FIRST(&p->sent))) {
        STAILQ_REMOVE_HEAD(&p->sent, link);
        end_publish(p, container_of(l, struct publish_op, letter),
                    ok ? 0 : ERROR_INTERNAL);
    }
}

bool publisher_accept(struct publisher *p, struct publish_op *op)
{
    op->position = (struct position){0};
    if (bus_is_up(p->bus) && reserve(p, cost_of(op->msg)))
        return true;
    count(&p->refused, 1);
    answer_publish(op, ERROR_INTERNAL);
    return false;
}
