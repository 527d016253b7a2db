#include "gateway/broker/nats.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/mem.h"
#include "gateway/broker/ask.h"
#include "gateway/broker/bus.h"
#include "gateway/broker/delivery.h"
#include "gateway/broker/feed.h"
#include "gateway/broker/sender.h"
#include "gateway/broker/subject.h"
#include "gateway/config.h"
#include "gateway/protocol/codes.h"
#include "hub/hub.h"

/* How long a start may wait for the first attempt to connect. */
#define FIRST_ATTEMPT_MS 3000
/* One flush carries at most this, so that answers do not wait for ever. */
#define BATCH_MAX_LETTERS 1000
#define BATCH_MAX_BYTES (4 * 1024 * 1024)
/* What a waiting publication costs beside its bytes. */
#define PUBLISH_OVERHEAD_BYTES 256
#define SLOW_CHECK_MS 1000

/* The letters of one batch, until its flush is back. */
struct batch {
    struct letter_list publishes;
    struct letter_list feeds;
    size_t letters;
    size_t bytes;
    uint64_t sent; /* publications nats.c took */
    bool flush;
};

struct nats_broker {
    const struct config *cfg; /* borrowed */
    struct hub *hub;          /* borrowed */
    struct delivery delivery;
    struct bus bus;

    /* The broker thread's. */
    struct feed_table feeds;
    struct ask_table asks;
    struct letter_list letters; /* taken and not looked at yet */
    struct batch batch;
    struct sender sender;
    struct buf subject; /* owned: scratch */
    uint64_t slow_check_ms;

    /* Between threads. */
    pthread_t thread;
    struct mailbox mailbox;
    int wake_fd;  /* owned: eventfd */
    int tried_fd; /* owned: eventfd, readable after the first attempt */
    _Atomic int first_result; /* of the first attempt */
    _Atomic bool stopping;
    _Atomic int64_t queue_bytes;
    _Atomic uint64_t messages_out;
    _Atomic uint64_t publish_refused;
    _Atomic uint64_t slow_consumer;
};

/* A feed asked for or given back, on its way to the broker thread. */
struct feed_letter {
    struct letter letter;
    struct nats_broker *broker; /* borrowed */
    struct feed_op *op; /* owned; NULL: a release, or answered already */
    uint32_t len;
    char channel[];
};

/* --- answers: from any thread to the shard that asked --------------------- */

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
    op->result = result;
    op->letter.run = on_publish_answer;
    mailbox_post(&op->origin->mailbox, &op->letter);
}

static void on_feed_answer(void *reader, struct letter *self)
{
    struct feed_op *op = container_of(self, struct feed_op, letter);
    (void)reader;
    op->done(op);
}

static void answer_feed(struct feed_op *op)
{
    op->letter.run = on_feed_answer;
    mailbox_post(&op->home->mailbox, &op->letter);
}

/* --- publish -------------------------------------------------------------- */

/* Relaxed counters: they order nothing. */
static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static int64_t cost_of(const struct msg *m)
{
    return PUBLISH_OVERHEAD_BYTES + (int64_t)m->channel_len + m->data_len +
           m->tags_len + m->info_len;
}

/* Relaxed: the sum of what waits, it orders nothing. */
static bool reserve(struct nats_broker *b, int64_t n)
{
    int64_t was =
        atomic_fetch_add_explicit(&b->queue_bytes, n, memory_order_relaxed);
    if (was + n <= b->cfg->nats.queue_max_size)
        return true;
    atomic_fetch_sub_explicit(&b->queue_bytes, n, memory_order_relaxed);
    return false;
}

static void finish_publish(struct nats_broker *b, struct publish_op *op,
                           int result)
{
    atomic_fetch_sub_explicit(&b->queue_bytes, cost_of(op->msg),
                              memory_order_relaxed);
    if (result == ERROR_INTERNAL)
        count(&b->publish_refused, 1);
    answer_publish(op, result);
}

static void on_publish(void *reader, struct letter *self)
{
    struct nats_broker *b = reader;
    struct publish_op *op = container_of(self, struct publish_op, letter);
    int code = ERROR_INTERNAL;
    if (b->bus.nc && bus_is_up(&b->bus))
        code = sender_send(&b->sender, b->bus.nc, op->msg);
    if (code) {
        finish_publish(b, op, code);
        return;
    }
    STAILQ_INSERT_TAIL(&b->batch.publishes, self, link);
    b->batch.bytes += (size_t)cost_of(op->msg);
    b->batch.sent++;
    b->batch.flush = true;
}

/* On any shard. */
static void publish(void *self, struct publish_op *op)
{
    struct nats_broker *b = self;
    if (!bus_is_up(&b->bus) || !reserve(b, cost_of(op->msg))) {
        count(&b->publish_refused, 1);
        answer_publish(op, ERROR_INTERNAL);
        return;
    }
    op->letter.run = on_publish;
    mailbox_post(&b->mailbox, &op->letter);
}

/* --- feeds ---------------------------------------------------------------- */

/* b->subject becomes the subject of the SUB for the channel. */
static struct subject_space *find_feed(struct nats_broker *b,
                                       struct str channel)
{
    struct subject_space *space = subject_find(&b->delivery.map, channel);
    buf_clear(&b->subject);
    if (!space || subject_of_feed(space, channel, &b->subject) < 0)
        return NULL;
    return space;
}

static void on_acquire(void *reader, struct letter *self)
{
    struct nats_broker *b = reader;
    struct feed_letter *l = container_of(self, struct feed_letter, letter);
    struct letter *who = l->op ? &l->op->letter : NULL;
    struct subject_space *space = find_feed(b, str_n(l->channel, l->len));
    int rc = 0;
    if (space)
        rc = feed_acquire(&b->feeds, buf_view(&b->subject),
                          delivery_port(&b->delivery, space), who);
    if (rc == ERR_FULL) /* what comes before the SUB is missed */
        bus_note_gap(&b->bus);
    if (who && rc != ERR_AGAIN) {
        STAILQ_INSERT_TAIL(&b->batch.feeds, who, link);
        b->batch.flush = true;
    }
    free(l);
}

static void on_release(void *reader, struct letter *self)
{
    struct nats_broker *b = reader;
    struct feed_letter *l = container_of(self, struct feed_letter, letter);
    if (find_feed(b, str_n(l->channel, l->len)))
        feed_release(&b->feeds, buf_view(&b->subject),
                     clock_ns_to_ms(clock_now_ns()));
    free(l);
}

static struct feed_letter *make_feed_letter(struct str channel)
{
    struct feed_letter *l = mem_zalloc(sizeof(*l) + channel.n);
    l->len = (uint32_t)channel.n;
    memcpy(l->channel, channel.p, channel.n);
    return l;
}

/* On any shard. */
static void acquire(void *self, struct feed_op *op)
{
    struct nats_broker *b = self;
    struct feed_letter *l =
        make_feed_letter(str_n(op->channel, op->channel_len));
    bool up = bus_is_up(&b->bus);
    l->letter.run = on_acquire;
    l->op = up ? op : NULL;
    mailbox_post(&b->mailbox, &l->letter);
    /* The thread may be waiting for a server that is not there. */
    if (!up)
        answer_feed(op);
}

/* On any shard. */
static void release(void *self, struct str channel, bool is_pattern)
{
    struct nats_broker *b = self;
    struct feed_letter *l = make_feed_letter(channel);
    (void)is_pattern; /* the space decides what feeds it */
    l->letter.run = on_release;
    mailbox_post(&b->mailbox, &l->letter);
}

/* --- other nodes ---------------------------------------------------------- */

static void on_ask(void *reader, struct letter *self)
{
    struct nats_broker *b = reader;
    struct node_op *op = container_of(self, struct node_op, letter);
    b->batch.bytes += op->request.n;
    b->batch.flush |= ask_send(&b->asks, op, bus_is_up(&b->bus));
}

/* On any shard. */
static void ask(void *self, struct node_op *op)
{
    struct nats_broker *b = self;
    if (!ask_start(&b->asks, op, bus_is_up(&b->bus)))
        return;
    op->letter.run = on_ask;
    mailbox_post(&b->mailbox, &op->letter);
}

static void on_reply(void *reader, struct letter *self)
{
    struct nats_broker *b = reader;
    struct node_request *r = container_of(self, struct node_request, letter);
    b->batch.bytes += r->answer.n;
    b->batch.flush |= ask_reply(&b->asks, r, bus_is_up(&b->bus));
}

/* On any shard. */
static void answer(void *self, struct node_request *r, struct str body)
{
    struct nats_broker *b = self;
    if (body.n > NODE_MAX_BYTES) {
        ask_drop(&b->asks, r);
        return;
    }
    buf_str(&r->answer, body);
    r->letter.run = on_reply;
    mailbox_post(&b->mailbox, &r->letter);
}

static const struct broker_ops ops = {
    .publish = publish,
    .acquire = acquire,
    .release = release,
    .ask = ask,
    .answer = answer,
};

/* --- the thread ----------------------------------------------------------- */

static void wake(void *arg)
{
    struct nats_broker *b = arg;
    uint64_t one = 1;
    /* Fails only when the counter is full: then it is awake anyway. */
    if (write(b->wake_fd, &one, sizeof(one)) == -1)
        CHECK(errno == EAGAIN || errno == EINTR);
}

static void fill_batch(struct nats_broker *b)
{
    struct batch *batch = &b->batch;
    struct letter *l;
    *batch = (struct batch){0};
    STAILQ_INIT(&batch->publishes);
    STAILQ_INIT(&batch->feeds);
    batch->flush = !STAILQ_EMPTY(&b->feeds.served);
    STAILQ_CONCAT(&batch->feeds, &b->feeds.served);
    while (batch->letters < BATCH_MAX_LETTERS &&
           batch->bytes < BATCH_MAX_BYTES && (l = STAILQ_FIRST(&b->letters))) {
        STAILQ_REMOVE_HEAD(&b->letters, link);
        batch->letters++;
        l->run(b, l);
    }
}

static void answer_batch(struct nats_broker *b, bool ok)
{
    struct letter *l;
    if (ok)
        count(&b->messages_out, b->batch.sent);
    while ((l = STAILQ_FIRST(&b->batch.publishes))) {
        STAILQ_REMOVE_HEAD(&b->batch.publishes, link);
        finish_publish(b, container_of(l, struct publish_op, letter),
                       ok ? 0 : ERROR_INTERNAL);
    }
    while ((l = STAILQ_FIRST(&b->batch.feeds))) {
        STAILQ_REMOVE_HEAD(&b->batch.feeds, link);
        answer_feed(container_of(l, struct feed_op, letter));
    }
}

/* False when a flush failed. */
static bool run_batch(struct nats_broker *b)
{
    bool ok = true;
    fill_batch(b);
    if (b->batch.flush)
        ok = bus_flush(&b->bus);
    answer_batch(b, ok);
    return ok;
}

/* nats.c gave up, or never began: start anew. */
static void keep_connected(struct nats_broker *b, uint64_t now_ms)
{
    if (bus_is_closed(&b->bus)) {
        bus_close(&b->bus);
        feed_table_detach(&b->feeds);
        ask_detach(&b->asks);
        bus_drop(&b->bus);
    }
    if (bus_connect(&b->bus, now_ms) < 0)
        return;
    /* Who subscribed while there was nothing has missed what there was. */
    if (b->feeds.feeds && atomic_load(&b->bus.disconnects) == 0)
        bus_note_gap(&b->bus);
    feed_table_attach(&b->feeds, b->bus.nc);
    ask_attach(&b->asks, b->bus.nc);
}

/* How much nats.c drops is known to the subscriptions only. */
static void count_slow(struct nats_broker *b, uint64_t now_ms)
{
    if (now_ms < b->slow_check_ms || !atomic_load(&b->bus.slow))
        return;
    b->slow_check_ms = now_ms + SLOW_CHECK_MS;
    atomic_store(&b->bus.slow, false);
    uint64_t n = feed_table_dropped(&b->feeds);
    if (n != atomic_load(&b->slow_consumer))
        atomic_store(&b->bus.slow, true); /* it may not be over */
    atomic_store(&b->slow_consumer, n);
}

/* `other` may be -1: nothing to do. */
static int64_t sooner(int64_t ms, int64_t other)
{
    return other >= 0 && other < ms ? other : ms;
}

/* Returns how long the thread may sleep. */
static int64_t turn(struct nats_broker *b)
{
    mailbox_take(&b->mailbox, &b->letters);
    run_batch(b);
    uint64_t now_ms = clock_ns_to_ms(clock_now_ns());
    keep_connected(b, now_ms);
    int64_t ms = bus_run(&b->bus, now_ms);
    ms = sooner(ms, feed_table_run(&b->feeds, now_ms));
    ms = sooner(ms, ask_run(&b->asks, now_ms));
    count_slow(b, now_ms);
    if (!STAILQ_EMPTY(&b->letters))
        return 0;
    if (!b->bus.nc && (int64_t)(b->bus.try_ms - now_ms) < ms)
        ms = (int64_t)(b->bus.try_ms - now_ms);
    return ms > 0 ? ms : 0;
}

static void sleep_ms(struct nats_broker *b, int64_t ms)
{
    struct pollfd p = {.fd = b->wake_fd, .events = POLLIN};
    uint64_t n;
    if (poll(&p, 1, (int)ms) == 1 && read(b->wake_fd, &n, sizeof(n)) == -1)
        CHECK(errno == EAGAIN || errno == EINTR);
}

/* The shards are gone. What they accepted goes out as long as that works. */
static void drain(struct nats_broker *b)
{
    bool ok = true;
    mailbox_take(&b->mailbox, &b->letters);
    while (ok && !STAILQ_EMPTY(&b->letters))
        ok = run_batch(b);
    delivery_stop(&b->delivery);
    /* For whoever is left: nothing is sent, everything is answered. */
    feed_table_leave(&b->feeds);
    ask_leave(&b->asks);
    bus_finish(&b->bus);
    bus_close(&b->bus);
    feed_table_detach(&b->feeds);
    ask_detach(&b->asks);
    bus_drop(&b->bus);
    mailbox_take(&b->mailbox, &b->letters); /* what was delivered meanwhile */
    do
        run_batch(b);
    while (!STAILQ_EMPTY(&b->letters));
}

static void *run(void *arg)
{
    struct nats_broker *b = arg;
    uint64_t one = 1;
    int rc = bus_connect(&b->bus, clock_ns_to_ms(clock_now_ns()));
    if (rc == 0) {
        feed_table_attach(&b->feeds, b->bus.nc);
        ask_attach(&b->asks, b->bus.nc);
    }
    atomic_store(&b->first_result, rc);
    CHECK(write(b->tried_fd, &one, sizeof(one)) == sizeof(one));
    while (!atomic_load(&b->stopping)) {
        int64_t ms = turn(b);
        if (ms > 0)
            sleep_ms(b, ms);
    }
    drain(b);
    nats_ReleaseThreadMemory();
    return NULL;
}

/* --- for main ------------------------------------------------------------- */

static void free_broker(struct nats_broker *b)
{
    bus_fini(&b->bus);
    feed_table_fini(&b->feeds);
    ask_fini(&b->asks);
    delivery_fini(&b->delivery);
    mailbox_fini(&b->mailbox);
    buf_free(&b->subject);
    sender_fini(&b->sender);
    close(b->wake_fd);
    close(b->tried_fd);
    free(b);
}

/* A signal may cut the wait short; the caller's deadline stays. */
static void wait_first_attempt(struct nats_broker *b)
{
    uint64_t end = clock_ns_to_ms(clock_now_ns()) + FIRST_ATTEMPT_MS;
    for (;;) {
        struct pollfd p = {.fd = b->tried_fd, .events = POLLIN};
        uint64_t now = clock_ns_to_ms(clock_now_ns());
        if (now >= end)
            return;
        int n = poll(&p, 1, (int)(end - now));
        if (n >= 0 || errno != EINTR)
            return;
    }
}

int nats_broker_start(const struct config *cfg, struct hub *hub,
                      struct nats_broker **out, char *err, size_t errlen)
{
    struct nats_broker *b = mem_zalloc(sizeof(*b));
    b->cfg = cfg;
    b->hub = hub;
    b->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->tried_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(b->wake_fd != -1 && b->tried_fd != -1);
    STAILQ_INIT(&b->letters);
    mailbox_init(&b->mailbox, wake, b);
    feed_table_init(&b->feeds, (uint64_t)cfg->nats.grace_ms);
    delivery_init(&b->delivery, cfg, hub);
    sender_init(&b->sender, &b->delivery.map);
    ask_init(&b->asks, cfg->nats.prefix, &hub->broker, &b->delivery,
             &b->mailbox);
    int rc = bus_init(&b->bus, cfg, wake, b, err, errlen);
    if (rc < 0) {
        free_broker(b);
        return rc;
    }
    CHECK(pthread_create(&b->thread, NULL, run, b) == 0);
    wait_first_attempt(b);
    if (atomic_load(&b->first_result) == ERR_INVALID) {
        snprintf(err, errlen, "nats.url: nats.c cannot read it");
        nats_broker_stop(b);
        return ERR_INVALID;
    }
    hub->broker.ops = &ops;
    hub->broker.self = b;
    *out = b;
    return 0;
}

void nats_broker_stop(struct nats_broker *b)
{
    if (!b)
        return;
    atomic_store(&b->stopping, true);
    wake(b);
    pthread_join(b->thread, NULL);
    b->hub->broker.ops = NULL;
    b->hub->broker.self = NULL;
    free_broker(b);
}

/* Relaxed loads: numbers for a scraper. */
#define LOAD(counter) atomic_load_explicit(&(counter), memory_order_relaxed)

void nats_broker_status(struct nats_broker *b, struct nats_status *out)
{
    int64_t queued = LOAD(b->queue_bytes);
    *out = (struct nats_status){
        .connected = bus_is_up(&b->bus),
        .connects = LOAD(b->bus.connects),
        .disconnects = LOAD(b->bus.disconnects),
        .gaps = LOAD(b->bus.gaps),
        .messages_in = LOAD(b->delivery.messages),
        .bytes_in = LOAD(b->delivery.bytes),
        .messages_out = LOAD(b->messages_out),
        .publish_refused = LOAD(b->publish_refused),
        .unmapped = LOAD(b->delivery.unmapped),
        .not_json = LOAD(b->delivery.not_json),
        .too_big = LOAD(b->delivery.too_big),
        .over_budget = LOAD(b->delivery.over_budget),
        .slow_consumer = LOAD(b->slow_consumer),
        .feeds = LOAD(b->feeds.count),
        .feeds_evicted = LOAD(b->feeds.evicted),
        .feeds_waited = LOAD(b->feeds.waited),
        .asks = LOAD(b->asks.sent),
        .asks_timed_out = LOAD(b->asks.timed_out),
        .asks_refused = LOAD(b->asks.refused),
        .answers_dropped = LOAD(b->asks.answers_dropped),
        .requests = LOAD(b->asks.requests_in),
        .requests_dropped = LOAD(b->asks.requests_dropped),
        .queue_bytes = queued > 0 ? (uint64_t)queued : 0,
    };
}
