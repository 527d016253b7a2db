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
#include "gateway/broker/acks.h"
#include "gateway/broker/ask.h"
#include "gateway/broker/bus.h"
#include "gateway/broker/delivery.h"
#include "gateway/broker/feed.h"
#include "gateway/broker/follow.h"
#include "gateway/broker/publisher.h"
#include "gateway/broker/streams.h"
#include "gateway/broker/subject.h"
#include "gateway/broker/workers.h"
#include "gateway/config.h"
#include "gateway/protocol/codes.h"
#include "hub/home.h"
#include "hub/hub.h"

/* How long a start may wait for the first attempt to connect. */
#define FIRST_ATTEMPT_MS 3000
/* One flush carries at most this, so that answers do not wait for ever. */
#define BATCH_MAX_LETTERS 1000
#define BATCH_MAX_BYTES (4 * 1024 * 1024)
#define SLOW_CHECK_MS 1000
/* Between two gaps that the hub is told. */
#define GAP_PAUSE_MS 200
/* At a stop: how long to wait for what JetStream has not acknowledged. */
#define LAST_ACKS_MS 1000

/* The letters of one batch, until its flush is back. */
struct batch {
    struct letter_list feeds;
    size_t letters;
    size_t bytes;
    bool flush;
};

struct nats_broker {
    const struct config *cfg; /* borrowed */
    struct hub *hub;          /* borrowed */
    struct delivery delivery;
    struct bus bus;
    struct streams streams;
    struct workers workers;

    /* The broker thread's. */
    struct feed_table feeds;
    struct follow_table follows;
    struct ask_table asks;
    struct acks acks;
    struct letter_list letters; /* taken and not looked at yet */
    struct batch batch;
    struct publisher publisher;
    struct buf subject; /* owned: scratch */
    uint64_t slow_check_ms;
    uint64_t gap_ms;      /* not before this: tell the hub */
    uint64_t gaps_posted; /* the last count it was told */

    /* Between threads. */
    pthread_t thread;
    struct mailbox mailbox;
    int wake_fd;  /* owned: eventfd */
    int tried_fd; /* owned: eventfd, readable after the first attempt */
    _Atomic int first_result; /* of the first attempt */
    _Atomic bool stopping;
    _Atomic uint64_t slow_consumer;
    _Atomic uint64_t gaps_told;
};

/* A feed asked for or given back, on its way to the broker thread. */
struct feed_letter {
    struct letter letter;
    struct nats_broker *broker; /* borrowed */
    struct feed_op *op; /* owned; NULL: a release, or answered already */
    uint32_t len;
    char channel[];
};

/* --- feeds ---------------------------------------------------------------- */

static void on_feed_answer(void *reader, struct letter *self)
{
    struct feed_op *op = container_of(self, struct feed_op, letter);
    (void)reader;
    op->done(op);
}

static void answer_feed(struct nats_broker *b, struct feed_op *op)
{
    struct stream *s =
        op->is_pattern ? NULL
                       : publisher_stream(&b->publisher,
                                          str_n(op->channel, op->channel_len));
    if (s && stream_state(s) != STREAM_PLAIN) {
        op->has_stream = stream_is_known(s);
        op->error = op->has_stream ? 0 : ERROR_INTERNAL;
    }
    op->letter.run = on_feed_answer;
    mailbox_post(&op->home->mailbox, &op->letter);
}

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
    if (space && stream_of(&b->streams, space)) {
        bool waits = follow_acquire(&b->follows, stream_of(&b->streams, space),
                                    rc == ERR_AGAIN ? NULL : who) < 0;
        rc = waits ? ERR_AGAIN : rc;
    }
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
    uint64_t now_ms = clock_ns_to_ms(clock_now_ns());
    const struct subject_space *space = find_feed(b, str_n(l->channel, l->len));
    if (space)
        feed_release(&b->feeds, buf_view(&b->subject), now_ms);
    if (space && stream_of(&b->streams, space))
        follow_release(&b->follows, stream_of(&b->streams, space), now_ms);
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
        answer_feed(b, op);
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

/* --- publications --------------------------------------------------------- */

static void on_publish(void *reader, struct letter *self)
{
    struct nats_broker *b = reader;
    struct publish_op *op = container_of(self, struct publish_op, letter);
    b->batch.bytes += publisher_send(&b->publisher, op);
    b->batch.flush = true;
}

static void post_publish(struct nats_broker *b, struct publish_op *op)
{
    op->letter.run = on_publish;
    mailbox_post(&b->mailbox, &op->letter);
}

/* On a worker; the argument is the publisher. */
static void on_claimed(void *arg, struct publish_op *op)
{
    post_publish(container_of(arg, struct nats_broker, publisher), op);
}

/* On any shard. */
static void publish(void *self, struct publish_op *op)
{
    struct nats_broker *b = self;
    if (publisher_accept(&b->publisher, op))
        post_publish(b, op);
}

/* --- streams -------------------------------------------------------------- */

/* 0: the channel's stream can be asked; else the code. */
static uint32_t judge_stream(const struct nats_broker *b, struct str channel)
{
    const struct stream *s = publisher_stream(&b->publisher, channel);
    if (!s || stream_state(s) == STREAM_PLAIN)
        return ERROR_NOT_AVAILABLE;
    return stream_is_known(s) && bus_is_up(&b->bus) ? 0 : ERROR_INTERNAL;
}

static void on_read_answer(void *reader, struct letter *self)
{
    struct read_op *op = container_of(self, struct read_op, letter);
    (void)reader;
    op->done(op);
}

/* On any shard. */
static void read_stream(void *self, struct read_op *op)
{
    struct nats_broker *b = self;
    op->error = judge_stream(b, str_n(op->channel, op->channel_len));
    if (op->error == 0 && workers_read(&b->workers, op))
        return;
    if (op->error == 0)
        op->error = ERROR_INTERNAL;
    op->letter.run = on_read_answer;
    mailbox_post(&op->origin->mailbox, &op->letter);
}

static void on_remove_answer(void *reader, struct letter *self)
{
    struct remove_op *op = container_of(self, struct remove_op, letter);
    (void)reader;
    op->done(op);
}

/* On any shard. */
static void remove_stream(void *self, struct remove_op *op)
{
    struct nats_broker *b = self;
    op->error = judge_stream(b, str_n(op->channel, op->channel_len));
    if (op->error == 0 && workers_remove(&b->workers, op))
        return;
    if (op->error == 0)
        op->error = ERROR_INTERNAL;
    op->letter.run = on_remove_answer;
    mailbox_post(&op->origin->mailbox, &op->letter);
}

/* A stream came, went or is another one. */
static void on_streams_changed(void *reader, struct letter *self)
{
    struct nats_broker *b = reader;
    struct delivery *d = &b->delivery;
    (void)self;
    streams_heard(&b->streams);
    for (size_t i = 0; i < d->map.count; i++) {
        struct delivery_port *p = &d->ports[i];
        bool is_live = p->stream && stream_state(p->stream) != STREAM_PLAIN;
        if (p->is_live == is_live)
            continue;
        p->is_live = is_live;
        feed_table_move(&b->feeds, p, clock_ns_to_ms(clock_now_ns()));
    }
    bus_note_gap(&b->bus);
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
    .read = read_stream,
    .remove = remove_stream,
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
    publisher_flushed(&b->publisher, ok);
    while ((l = STAILQ_FIRST(&b->batch.feeds))) {
        STAILQ_REMOVE_HEAD(&b->batch.feeds, link);
        answer_feed(b, container_of(l, struct feed_op, letter));
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

static void attach(struct nats_broker *b)
{
    feed_table_attach(&b->feeds, b->bus.nc);
    ask_attach(&b->asks, b->bus.nc);
    acks_attach(&b->acks, b->bus.nc);
    follow_attach(&b->follows, b->bus.nc);
}

/* The connection is closed. */
static void detach(struct nats_broker *b)
{
    follow_detach(&b->follows);
    feed_table_detach(&b->feeds);
    ask_detach(&b->asks);
    acks_detach(&b->acks);
    bus_drop(&b->bus);
}

/* nats.c gave up, or never began: start anew. */
static void keep_connected(struct nats_broker *b, uint64_t now_ms)
{
    if (bus_is_closed(&b->bus)) {
        bus_close(&b->bus);
        detach(b);
    }
    if (bus_connect(&b->bus, now_ms) < 0)
        return;
    /* Who subscribed while there was nothing has missed what there was. */
    if (b->feeds.feeds && atomic_load(&b->bus.disconnects) == 0)
        bus_note_gap(&b->bus);
    attach(b);
    streams_poke(&b->streams);
}

/* What may have been lost is over, and the server knows all SUBs (again): the
 * hub may look what it was, a few times a second at most. Returns when to look
 * again, -1: no need. */
static int64_t tell_gaps(struct nats_broker *b, uint64_t now_ms)
{
    if (!bus_settle(&b->bus))
        return GAP_PAUSE_MS;
    uint64_t gaps = atomic_load(&b->bus.settled);
    if (gaps == b->gaps_posted)
        return -1;
    if (now_ms < b->gap_ms)
        return (int64_t)(b->gap_ms - now_ms);
    b->gap_ms = now_ms + GAP_PAUSE_MS;
    b->gaps_posted = gaps;
    home_post_gap(b->hub, gaps);
    atomic_fetch_add_explicit(&b->gaps_told, 1, memory_order_relaxed);
    streams_poke(&b->streams);
    return -1;
}

/* How much nats.c drops is known to the subscriptions only. */
static void count_slow(struct nats_broker *b, uint64_t now_ms)
{
    if (now_ms < b->slow_check_ms || !atomic_load(&b->bus.slow))
        return;
    b->slow_check_ms = now_ms + SLOW_CHECK_MS;
    atomic_store(&b->bus.slow, false);
    uint64_t n = feed_table_dropped(&b->feeds);
    if (n != atomic_load(&b->slow_consumer)) {
        atomic_store(&b->bus.slow, true); /* it may not be over */
        bus_note_gap(&b->bus); /* of what was dropped since the first one */
    }
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
    ms = sooner(ms, acks_run(&b->acks, now_ms));
    ms = sooner(ms, follow_run(&b->follows, now_ms));
    count_slow(b, now_ms);
    ms = sooner(ms, tell_gaps(b, now_ms));
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

/* Everything that waits, as long as flushes work. */
static void run_all(struct nats_broker *b)
{
    bool ok = true;
    mailbox_take(&b->mailbox, &b->letters);
    while (ok && !STAILQ_EMPTY(&b->letters))
        ok = run_batch(b);
}

static void wait_for_acks(struct nats_broker *b)
{
    uint64_t end_ms = clock_ns_to_ms(clock_now_ns()) + LAST_ACKS_MS;
    uint64_t now_ms;
    while ((now_ms = clock_ns_to_ms(clock_now_ns())) < end_ms &&
           acks_run(&b->acks, now_ms) >= 0) {
        sleep_ms(b, (int64_t)(end_ms - now_ms));
        run_all(b);
    }
}

/* The shards are gone. What they accepted goes out as long as that works. */
static void drain(struct nats_broker *b)
{
    run_all(b);
    workers_stop(&b->workers);
    b->publisher.draining = true;
    run_all(b);
    wait_for_acks(b);
    streams_stop(&b->streams);
    workers_fini(&b->workers);
    delivery_stop(&b->delivery);
    /* For whoever is left: nothing is sent, everything is answered. */
    feed_table_leave(&b->feeds);
    ask_leave(&b->asks);
    acks_leave(&b->acks);
    follow_leave(&b->follows);
    bus_finish(&b->bus);
    bus_close(&b->bus);
    detach(b);
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
    if (rc == 0)
        attach(b);
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
    acks_fini(&b->acks);
    follow_fini(&b->follows);
    delivery_fini(&b->delivery);
    streams_fini(&b->streams);
    mailbox_fini(&b->mailbox);
    buf_free(&b->subject);
    publisher_fini(&b->publisher);
    close(b->wake_fd);
    close(b->tried_fd);
    free(b);
}

/* A signal may cut the wait short; the deadline stays. */
static void wait_first_attempt(struct nats_broker *b, uint64_t end)
{
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

static struct nats_broker *make_broker(const struct config *cfg,
                                       struct hub *hub)
{
    struct nats_broker *b = mem_zalloc(sizeof(*b));
    const char *node = hub->broker.node;
    b->cfg = cfg;
    b->hub = hub;
    b->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->tried_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(b->wake_fd != -1 && b->tried_fd != -1);
    STAILQ_INIT(&b->letters);
    mailbox_init(&b->mailbox, wake, b);
    feed_table_init(&b->feeds, (uint64_t)cfg->nats.grace_ms);
    delivery_init(&b->delivery, cfg, hub);
    ask_init(&b->asks, cfg->nats.prefix, &hub->broker, &b->delivery,
             &b->mailbox);
    streams_init(&b->streams, &b->delivery.map, node, &b->mailbox,
                 on_streams_changed);
    delivery_set_streams(&b->delivery, &b->streams, &b->bus);
    b->acks = (struct acks){.finish = publisher_finish, .arg = &b->publisher};
    b->publisher = (struct publisher){.cfg = cfg,
                                      .bus = &b->bus,
                                      .streams = &b->streams,
                                      .workers = &b->workers,
                                      .acks = &b->acks};
    publisher_init(&b->publisher);
    acks_init(&b->acks, &b->delivery, &b->mailbox, &b->publisher.sender, node);
    b->workers = (struct workers){.hub = hub,
                                  .map = &b->delivery.map,
                                  .streams = &b->streams,
                                  .bus = &b->bus,
                                  .finish = publisher_finish,
                                  .claimed = on_claimed,
                                  .arg = &b->publisher};
    b->follows =
        (struct follow_table){.delivery = &b->delivery,
                              .workers = &b->workers,
                              .mailbox = &b->mailbox,
                              .served = &b->feeds.served,
                              .grace_ms = (uint64_t)cfg->nats.grace_ms};
    follow_init(&b->follows, node);
    return b;
}

/* ERR_INVALID with a message: a person must act. */
static int wait_first(struct nats_broker *b, char *err, size_t errlen)
{
    uint64_t end_ms = clock_ns_to_ms(clock_now_ns()) + FIRST_ATTEMPT_MS;
    wait_first_attempt(b, end_ms);
    if (atomic_load(&b->first_result) == ERR_INVALID) {
        snprintf(err, errlen, "nats.url: nats.c cannot read it");
        return ERR_INVALID;
    }
    return streams_wait_first(&b->streams, end_ms, err, errlen);
}

int nats_broker_start(const struct config *cfg, struct hub *hub,
                      struct nats_broker **out, char *err, size_t errlen)
{
    struct nats_broker *b = make_broker(cfg, hub);
    int rc = bus_init(&b->bus, cfg, wake, b, err, errlen);
    if (rc < 0) {
        free_broker(b);
        return rc;
    }
    streams_start(&b->streams);
    workers_start(&b->workers, hub->broker.node);
    CHECK(pthread_create(&b->thread, NULL, run, b) == 0);
    rc = wait_first(b, err, errlen);
    if (rc < 0) {
        nats_broker_stop(b);
        return rc;
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
    int64_t queued = LOAD(b->publisher.queue_bytes);
    *out = (struct nats_status){
        .connected = bus_is_up(&b->bus),
        .connects = LOAD(b->bus.connects),
        .disconnects = LOAD(b->bus.disconnects),
        .gaps = LOAD(b->bus.gaps),
        .gaps_told = LOAD(b->gaps_told),
        .messages_in = LOAD(b->delivery.messages),
        .bytes_in = LOAD(b->delivery.bytes),
        .messages_out = LOAD(b->publisher.messages_out),
        .publish_refused = LOAD(b->publisher.refused),
        .unmapped = LOAD(b->delivery.intake.unmapped),
        .not_json = LOAD(b->delivery.intake.not_json),
        .too_big = LOAD(b->delivery.intake.too_big),
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
        .acks_waiting = LOAD(b->acks.count),
        .acks_timed_out = LOAD(b->acks.timed_out),
        .acks_refused = LOAD(b->acks.refused),
        .reads = LOAD(b->workers.reads),
        .reads_refused = LOAD(b->workers.refused),
        .reads_failed = LOAD(b->workers.failed),
        .stream_errors = LOAD(b->streams.failures),
        .queue_bytes = queued > 0 ? (uint64_t)queued : 0,
    };
}
