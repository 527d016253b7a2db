#include "gateway/broker/acks.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "gateway/protocol/codes.h"

/* ack.<slot><random>, in lower-case hex */
#define SLOT_DIGITS 4
#define TOKEN_DIGITS (SLOT_DIGITS + 16)
#define TIMEOUT_MS 5000
#define RETRY_MS 1000

/* Relaxed counters: they order nothing. */
static void count(_Atomic uint64_t *counter, int n)
{
    atomic_fetch_add_explicit(counter, (uint64_t)n, memory_order_relaxed);
}

/* --- slots ---------------------------------------------------------------- */

/* NULL: all wait. */
static struct ack_slot *take_slot(struct acks *a)
{
    struct ack_slot *s = TAILQ_FIRST(&a->free);
    if (s) {
        TAILQ_REMOVE(&a->free, s, link);
        return s;
    }
    return a->made < ACKS_MAX ? &a->slots[a->made++] : NULL;
}

static void give_slot(struct acks *a, struct ack_slot *s)
{
    /* Last in, first out would use one slot for all. */
    TAILQ_INSERT_TAIL(&a->free, s, link);
}

/* While its letter is on its way the slot is not free. */
static void finish(struct acks *a, struct ack_slot *s, int result,
                   bool is_coming)
{
    struct publish_op *op = s->op;
    TAILQ_REMOVE(&a->waiting, s, link);
    count(&a->count, -1);
    s->op = NULL;
    if (!is_coming)
        give_slot(a, s);
    a->finish(a->arg, op, result);
}

/* No answer. The delivery thread may have spent the token just now. */
static void give_up(struct acks *a, struct ack_slot *s)
{
    bool is_coming = atomic_exchange(&s->awaited, 0) == 0;
    finish(a, s, ERROR_INTERNAL, is_coming);
}

/* 0 says that nothing is awaited. */
static uint64_t make_token(void)
{
    uint64_t token;
    do
        rand_bytes(&token, sizeof(token));
    while (token == 0);
    return token;
}

static struct ack_slot *find_slot(const struct acks *a, struct str subject,
                                  uint64_t *token)
{
    char digits[TOKEN_DIGITS + 1];
    struct str inbox = str_of(a->inbox);
    if (!a->slots || !str_starts(subject, inbox) ||
        subject.n != inbox.n + TOKEN_DIGITS)
        return NULL;
    memcpy(digits, subject.p + inbox.n, TOKEN_DIGITS);
    digits[TOKEN_DIGITS] = '\0';
    if (strspn(digits, "0123456789abcdef") != TOKEN_DIGITS)
        return NULL;
    *token = strtoull(digits + SLOT_DIGITS, NULL, 16);
    digits[SLOT_DIGITS] = '\0';
    unsigned long i = strtoul(digits, NULL, 16);
    return i < ACKS_MAX ? &a->slots[i] : NULL;
}

/* --- answers -------------------------------------------------------------- */

int acks_judge(const struct puback *answer, const struct stream *stream,
               struct position *to)
{
    if (answer->error == PUBACK_MESSAGE_TOO_BIG)
        return ERROR_BAD_REQUEST;
    if (answer->error)
        return ERROR_INTERNAL;
    to->epoch = atomic_load(&stream->epoch);
    to->offset = answer->seq;
    return 0;
}

/* A full store, for one, only says so here. */
static void note_refusal(struct acks *a, const struct ack_slot *s)
{
    uint64_t missed;
    count(&a->refused, 1);
    if (log_limit_pass(&a->log, clock_now_ns(), &missed))
        log_warn("nats_publish_refused", "stream=%s code=%d missed=%llu",
                 s->stream->name, s->is_nobody ? 503 : s->answer.error,
                 (unsigned long long)missed);
}

static void on_answer_letter(void *reader, struct letter *self)
{
    struct ack_slot *s = container_of(self, struct ack_slot, letter);
    struct acks *a = s->acks;
    (void)reader;
    if (!s->op) { /* it took too long */
        give_slot(a, s);
        return;
    }
    int code = ERROR_INTERNAL;
    if (!s->is_nobody)
        code = acks_judge(&s->answer, s->stream, &s->op->position);
    if (code)
        note_refusal(a, s);
    if (code == ERROR_INTERNAL) /* is the stream still there? */
        streams_poke(a->delivery->streams);
    finish(a, s, code, false);
}

/* Once for each token; 0 is none. */
static bool spend(struct ack_slot *s, uint64_t token)
{
    return token != 0 && atomic_compare_exchange_strong(&s->awaited, &token, 0);
}

/* On the delivery thread. */
static void take_answer(struct acks *a, natsMsg *m)
{
    uint64_t token = 0;
    struct ack_slot *s = find_slot(a, str_of(natsMsg_GetSubject(m)), &token);
    if (!s || !spend(s, token))
        return;
    struct str body =
        str_n(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m));
    s->is_nobody = natsMsg_IsNoResponders(m);
    /* Whatever it is, it is no acknowledgement. */
    if (!s->is_nobody && puback_parse(body, &s->answer) < 0)
        s->is_nobody = true;
    s->letter.run = on_answer_letter;
    mailbox_post(a->mailbox, &s->letter);
}

static void on_answer(natsConnection *nc, natsSubscription *sub, natsMsg *m,
                      void *closure)
{
    struct acks *a = closure;
    (void)nc;
    (void)sub;
    if (delivery_enter(a->delivery))
        take_answer(a, m);
    natsMsg_Destroy(m);
    delivery_leave(a->delivery);
}

/* --- init ----------------------------------------------------------------- */

void acks_init(struct acks *a, struct delivery *delivery,
               struct mailbox *mailbox, struct sender *sender, const char *node)
{
    const struct config *cfg = delivery->cfg;
    struct buf b = BUF_INIT;
    size_t n;
    a->delivery = delivery;
    a->bus = delivery->bus;
    a->mailbox = mailbox;
    a->sender = sender;
    a->timeout_ms = cfg->nats.publish_timeout_ms
                        ? (uint64_t)cfg->nats.publish_timeout_ms
                        : TIMEOUT_MS;
    buf_printf(&b, "%s.node.%s.ack.%c", cfg->nats.prefix, node, 0);
    a->inbox = buf_take(&b, &n);
    TAILQ_INIT(&a->free);
    TAILQ_INIT(&a->waiting);
    if (delivery->streams->count)
        a->slots = mem_zalloc(ACKS_MAX * sizeof(*a->slots));
}

void acks_fini(struct acks *a)
{
    CHECK(!a->sub && (!a->inbox || TAILQ_EMPTY(&a->waiting)));
    free(a->slots);
    a->slots = NULL;
    free(a->inbox);
    a->inbox = NULL;
    buf_free(&a->reply);
}

/* Leaves it NULL when nats.c refuses. */
static void subscribe(struct acks *a)
{
    struct buf b = BUF_INIT;
    natsSubscription *sub = NULL;
    if (!a->slots || a->sub)
        return;
    buf_printf(&b, "%s*%c", a->inbox, 0);
    if (natsConnection_Subscribe(&sub, a->nc, b.p, on_answer, a) == NATS_OK)
        a->sub = sub;
    buf_free(&b);
}

void acks_attach(struct acks *a, natsConnection *nc)
{
    a->nc = nc;
    subscribe(a);
}

void acks_leave(struct acks *a)
{
    if (a->sub)
        natsSubscription_Unsubscribe(a->sub);
}

void acks_detach(struct acks *a)
{
    struct ack_slot *s;
    natsSubscription_Destroy(a->sub);
    a->sub = NULL;
    a->nc = NULL;
    while ((s = TAILQ_FIRST(&a->waiting)))
        give_up(a, s);
}

/* --- what goes out -------------------------------------------------------- */

static void start_waiting(struct acks *a, struct ack_slot *s,
                          struct publish_op *op, struct stream *stream)
{
    s->acks = a;
    s->op = op;
    s->stream = stream;
    s->token = make_token();
    s->lost = atomic_load(&a->bus->lost);
    s->end_ms = clock_ns_to_ms(clock_now_ns()) + a->timeout_ms;
    TAILQ_INSERT_TAIL(&a->waiting, s, link);
    count(&a->count, 1);
    atomic_store(&s->awaited, s->token);
}

int acks_send(struct acks *a, struct publish_op *op, struct stream *stream)
{
    struct ack_slot *s = a->sub ? take_slot(a) : NULL;
    if (!s)
        return ERROR_INTERNAL;
    start_waiting(a, s, op, stream);
    buf_clear(&a->reply);
    buf_printf(&a->reply, "%s%0*x%016llx%c", a->inbox, SLOT_DIGITS,
               (unsigned)(s - a->slots), (unsigned long long)s->token, 0);
    struct sender_order order = {.msg = op->msg,
                                 .wish = op->wish,
                                 .reply = a->reply.p,
                                 .is_stored = true};
    int code = sender_send(a->sender, a->nc, &order);
    if (code == 0)
        return 0;
    /* Not sent, so nobody has seen the token. */
    atomic_store(&s->awaited, 0);
    TAILQ_REMOVE(&a->waiting, s, link);
    count(&a->count, -1);
    s->op = NULL;
    give_slot(a, s);
    return code;
}

int64_t acks_run(struct acks *a, uint64_t now_ms)
{
    struct ack_slot *s;
    uint64_t lost = atomic_load(&a->bus->lost);
    if (a->nc && !a->sub && now_ms >= a->mend_ms) {
        a->mend_ms = now_ms + RETRY_MS;
        subscribe(a);
    }
    while ((s = TAILQ_FIRST(&a->waiting)) &&
           (s->end_ms <= now_ms || s->lost != lost)) {
        if (s->lost == lost) {
            count(&a->timed_out, 1);
            streams_poke(a->delivery->streams);
        }
        give_up(a, s);
    }
    return s ? (int64_t)(s->end_ms - now_ms) : -1;
}
