#include "gateway/broker/ask.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "hub/shard.h"

/* rep.<slot><random>, in lower-case hex */
#define SLOT_DIGITS 4
#define TOKEN_DIGITS (SLOT_DIGITS + 16)
/* Other versions of weir may make longer ones. */
#define TOKEN_MAX_DIGITS 64
#define RETRY_MS 1000

/* An answer on its way from the delivery thread to the broker's. */
struct answer_letter {
    struct letter letter;
    struct ask_table *table; /* borrowed */
    struct ask_slot *slot;   /* borrowed: the table */
    uint64_t token;
    bool nobody; /* there is no such node */
    struct buf body;
};

/* Relaxed counters: they order nothing. */
static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* --- subjects ------------------------------------------------------------- */

static bool is_digits(struct str s, const char *digits)
{
    for (size_t i = 0; i < s.n; i++)
        if (!s.p[i] || !strchr(digits, s.p[i]))
            return false;
    return true;
}

static bool is_node_id(struct str s)
{
    return s.n == NODE_ID_LEN && is_digits(s, "0123456789abcdef-");
}

static bool is_token(struct str s)
{
    return s.n > 0 && s.n <= TOKEN_MAX_DIGITS &&
           is_digits(s, "0123456789abcdef");
}

/* Whoever may send us a request names the subject we publish to: it must be
 * the inbox of a node, nothing else. */
static bool is_reply(const struct ask_table *t, struct str subject)
{
    static const struct str mid = {".rep.", 5};
    struct str nodes = str_of(t->nodes);
    if (!str_starts(subject, nodes))
        return false;
    subject = str_skip(subject, nodes.n);
    if (subject.n < NODE_ID_LEN || !is_node_id(str_n(subject.p, NODE_ID_LEN)))
        return false;
    subject = str_skip(subject, NODE_ID_LEN);
    return str_starts(subject, mid) && is_token(str_skip(subject, mid.n));
}

/* The slot and the random part of a subject of our inbox; NULL when it is not
 * one that we made. */
static struct ask_slot *find_slot(const struct ask_table *t, struct str subject,
                                  uint64_t *token)
{
    char digits[TOKEN_DIGITS + 1];
    struct str inbox = str_of(t->inbox);
    if (!str_starts(subject, inbox))
        return NULL;
    struct str s = str_skip(subject, inbox.n);
    if (s.n != TOKEN_DIGITS || !is_token(s))
        return NULL;
    memcpy(digits, s.p, s.n);
    digits[s.n] = '\0';
    *token = strtoull(digits + SLOT_DIGITS, NULL, 16);
    digits[SLOT_DIGITS] = '\0';
    unsigned long i = strtoul(digits, NULL, 16);
    return i < NODE_ASKS_MAX ? &t->slots[i] : NULL;
}

/* --- asks: any shard, then the broker's thread ---------------------------- */

static void on_done(void *reader, struct letter *self)
{
    struct node_op *op = container_of(self, struct node_op, letter);
    (void)reader;
    op->done(op);
}

static void answer_op(struct node_op *op, int result)
{
    buf_free(&op->request);
    op->result = result;
    op->letter.run = on_done;
    mailbox_post(&op->origin->mailbox, &op->letter);
}

/* Relaxed: a number that orders nothing. */
static bool reserve(struct ask_table *t)
{
    if (atomic_fetch_add_explicit(&t->under_way, 1, memory_order_relaxed) <
        NODE_ASKS_MAX)
        return true;
    atomic_fetch_sub_explicit(&t->under_way, 1, memory_order_relaxed);
    return false;
}

static void finish(struct ask_table *t, struct node_op *op, int result)
{
    atomic_fetch_sub_explicit(&t->under_way, 1, memory_order_relaxed);
    answer_op(op, result);
}

bool ask_start(struct ask_table *t, struct node_op *op, bool up)
{
    int rc = 0;
    op->answer = BUF_INIT;
    op->end_ms = clock_ns_to_ms(clock_now_ns()) + NODE_TIMEOUT_MS;
    if (op->request.n > NODE_MAX_BYTES)
        rc = ERR_TOO_BIG;
    else if (!is_node_id(str_n(op->node, strnlen(op->node, sizeof(op->node)))))
        rc = ERR_NOT_FOUND;
    else if (!up || !reserve(t))
        rc = ERR_AGAIN;
    if (rc == 0)
        return true;
    if (rc == ERR_AGAIN)
        count(&t->refused);
    answer_op(op, rc);
    return false;
}

static void write_subjects(struct ask_table *t, const struct ask_slot *s)
{
    buf_clear(&t->subject);
    buf_printf(&t->subject, "%s%s.req%c", t->nodes, s->op->node, 0);
    buf_clear(&t->reply);
    buf_printf(&t->reply, "%s%0*x%016llx%c", t->inbox, SLOT_DIGITS,
               (unsigned)(s - t->slots), (unsigned long long)s->token, 0);
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

/* There is a free slot for whatever was reserved. */
static struct ask_slot *take_slot(struct ask_table *t, struct node_op *op)
{
    struct ask_slot *s = TAILQ_FIRST(&t->free);
    CHECK(s);
    TAILQ_REMOVE(&t->free, s, link);
    TAILQ_INSERT_TAIL(&t->waiting, s, link);
    s->op = op;
    s->token = make_token();
    atomic_store(&s->awaited, s->token);
    return s;
}

static struct node_op *give_slot(struct ask_table *t, struct ask_slot *s)
{
    struct node_op *op = s->op;
    TAILQ_REMOVE(&t->waiting, s, link);
    /* Last in, first out would use one slot for all. */
    TAILQ_INSERT_TAIL(&t->free, s, link);
    s->op = NULL;
    atomic_store(&s->awaited, 0);
    return op;
}

bool ask_send(struct ask_table *t, struct node_op *op, bool up)
{
    if (!t->nc || !up) {
        count(&t->refused);
        finish(t, op, ERR_AGAIN);
        return false;
    }
    struct ask_slot *s = take_slot(t, op);
    write_subjects(t, s);
    natsStatus rc = natsConnection_PublishRequest(
        t->nc, t->subject.p, t->reply.p, op->request.p, (int)op->request.n);
    if (rc == NATS_OK) {
        count(&t->sent);
        return true;
    }
    count(&t->refused);
    finish(t, give_slot(t, s),
           rc == NATS_MAX_PAYLOAD ? ERR_TOO_BIG : ERR_AGAIN);
    return false;
}

/* --- answers to our asks -------------------------------------------------- */

static void on_answer_letter(void *reader, struct letter *self)
{
    struct answer_letter *l = container_of(self, struct answer_letter, letter);
    struct ask_slot *s = l->slot;
    (void)reader;
    if (s->op && s->token == l->token) {
        s->op->answer = l->body;
        finish(l->table, give_slot(l->table, s), l->nobody ? ERR_NOT_FOUND : 0);
    } else {
        count(&l->table->answers_dropped);
        buf_free(&l->body);
    }
    free(l);
}

/* Once for each token; 0 is none. */
static bool spend(struct ask_slot *s, uint64_t token)
{
    return token != 0 && atomic_compare_exchange_strong(&s->awaited, &token, 0);
}

/* On the delivery thread. */
static void take_answer(struct ask_table *t, natsMsg *m)
{
    uint64_t token = 0;
    size_t n = (size_t)natsMsg_GetDataLength(m);
    struct ask_slot *s = find_slot(t, str_of(natsMsg_GetSubject(m)), &token);
    if (n > NODE_MAX_BYTES || !s || !spend(s, token)) {
        count(&t->answers_dropped);
        return;
    }
    struct answer_letter *l = mem_zalloc(sizeof(*l));
    l->letter.run = on_answer_letter;
    l->table = t;
    l->slot = s;
    l->token = token;
    l->nobody = natsMsg_IsNoResponders(m);
    buf_add(&l->body, natsMsg_GetData(m), n);
    mailbox_post(t->mailbox, &l->letter);
}

static void on_answer(natsConnection *nc, natsSubscription *sub, natsMsg *m,
                      void *closure)
{
    struct ask_table *t = closure;
    (void)nc;
    (void)sub;
    if (delivery_enter(t->delivery))
        take_answer(t, m);
    natsMsg_Destroy(m);
    delivery_leave(t->delivery);
}

/* --- requests of other nodes ---------------------------------------------- */

static void give_back(struct ask_table *t, struct node_request *r)
{
    atomic_fetch_sub_explicit(&t->held, 1, memory_order_relaxed);
    node_request_free(r);
}

void ask_drop(struct ask_table *t, struct node_request *r)
{
    count(&t->requests_dropped);
    give_back(t, r);
}

static void note_unsent(struct ask_table *t, natsStatus rc)
{
    uint64_t missed;
    if (log_limit_pass(&t->log, clock_now_ns(), &missed))
        log_warn("nats_answer_failed", "error=%s missed=%llu",
                 log_quote(str_of(natsStatus_GetText(rc))),
                 (unsigned long long)missed);
}

bool ask_reply(struct ask_table *t, struct node_request *r, bool up)
{
    natsStatus rc = NATS_CONNECTION_DISCONNECTED;
    if (t->nc && up)
        rc = natsConnection_Publish(t->nc, r->reply, r->answer.p,
                                    (int)r->answer.n);
    if (rc == NATS_OK) {
        give_back(t, r);
        return true;
    }
    if (up)
        note_unsent(t, rc);
    ask_drop(t, r);
    return false;
}

/* Only this thread adds. */
static bool has_room(const struct ask_table *t)
{
    return atomic_load_explicit(&t->held, memory_order_relaxed) < NODE_ASKS_MAX;
}

/* On the delivery thread. */
static void take_request(struct ask_table *t, natsMsg *m)
{
    const struct broker *b = t->broker;
    struct str reply = str_of(natsMsg_GetReply(m));
    size_t n = (size_t)natsMsg_GetDataLength(m);
    count(&t->requests_in);
    if (!b->asked || n > NODE_MAX_BYTES || !is_reply(t, reply) ||
        !has_room(t)) {
        count(&t->requests_dropped);
        return;
    }
    struct node_request *r = mem_zalloc(sizeof(*r) + reply.n + 1);
    memcpy(r->reply, reply.p, reply.n);
    buf_add(&r->request, natsMsg_GetData(m), n);
    atomic_fetch_add_explicit(&t->held, 1, memory_order_relaxed);
    b->asked(b->asked_arg, r);
}

static void on_request(natsConnection *nc, natsSubscription *sub, natsMsg *m,
                       void *closure)
{
    struct ask_table *t = closure;
    (void)nc;
    (void)sub;
    if (delivery_enter(t->delivery))
        take_request(t, m);
    natsMsg_Destroy(m);
    delivery_leave(t->delivery);
}

/* --- the table ------------------------------------------------------------ */

static char *print(const char *prefix, const char *node, const char *end)
{
    struct buf b = BUF_INIT;
    size_t n;
    buf_printf(&b, "%s.node.%s%s%c", prefix, node, end, 0);
    return buf_take(&b, &n);
}

void ask_init(struct ask_table *t, const char *prefix,
              const struct broker *broker, struct delivery *delivery,
              struct mailbox *mailbox)
{
    CHECK(broker->node && is_node_id(str_of(broker->node)));
    t->broker = broker;
    t->delivery = delivery;
    t->mailbox = mailbox;
    t->nodes = print(prefix, "", "");
    t->inbox = print(prefix, broker->node, ".rep.");
    t->slots = mem_zalloc(NODE_ASKS_MAX * sizeof(*t->slots));
    TAILQ_INIT(&t->free);
    TAILQ_INIT(&t->waiting);
    for (unsigned i = 0; i < NODE_ASKS_MAX; i++)
        TAILQ_INSERT_TAIL(&t->free, &t->slots[i], link);
}

void ask_fini(struct ask_table *t)
{
    if (!t->slots)
        return;
    CHECK(!t->requests && !t->answers && TAILQ_EMPTY(&t->waiting));
    free(t->slots);
    t->slots = NULL;
    free(t->nodes);
    t->nodes = NULL;
    free(t->inbox);
    t->inbox = NULL;
    buf_free(&t->subject);
    buf_free(&t->reply);
}

/* Leaves it NULL when nats.c refuses. */
static void subscribe_to(struct ask_table *t, natsSubscription **sub,
                         const char *end, natsMsgHandler handler)
{
    if (*sub)
        return;
    natsSubscription *made = NULL;
    buf_clear(&t->subject);
    buf_printf(&t->subject, "%s%s%s%c", t->nodes, t->broker->node, end, 0);
    if (natsConnection_Subscribe(&made, t->nc, t->subject.p, handler, t) ==
        NATS_OK)
        *sub = made;
}

static void subscribe(struct ask_table *t)
{
    subscribe_to(t, &t->answers, ".rep.*", on_answer);
    subscribe_to(t, &t->requests, ".req", on_request);
}

void ask_attach(struct ask_table *t, natsConnection *nc)
{
    t->nc = nc;
    subscribe(t);
}

void ask_leave(struct ask_table *t)
{
    if (t->requests)
        natsSubscription_Unsubscribe(t->requests);
    if (t->answers)
        natsSubscription_Unsubscribe(t->answers);
}

void ask_detach(struct ask_table *t)
{
    struct ask_slot *s;
    natsSubscription_Destroy(t->requests);
    t->requests = NULL;
    natsSubscription_Destroy(t->answers);
    t->answers = NULL;
    t->nc = NULL;
    while ((s = TAILQ_FIRST(&t->waiting)))
        finish(t, give_slot(t, s), ERR_AGAIN);
}

static void mend(struct ask_table *t, uint64_t now_ms)
{
    if (!t->nc || (t->requests && t->answers) || now_ms < t->mend_ms)
        return;
    t->mend_ms = now_ms + RETRY_MS;
    subscribe(t);
}

int64_t ask_run(struct ask_table *t, uint64_t now_ms)
{
    struct ask_slot *s;
    mend(t, now_ms);
    while ((s = TAILQ_FIRST(&t->waiting)) && s->op->end_ms <= now_ms) {
        count(&t->timed_out);
        finish(t, give_slot(t, s), ERR_AGAIN);
    }
    return s ? (int64_t)(s->op->end_ms - now_ms) : -1;
}
