#include "gateway/broker/workers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/broker/reader.h"
#include "gateway/broker/writer.h"
#include "gateway/protocol/codes.h"
#include "hub/shard.h"

/* After a request that took too long all others that wait are answered at
 * once, for so long: what waits would wait for hours. */
#define SICK_MS 1000

/* --- posting -------------------------------------------------------------- */

static struct worker *worker_of(struct workers *w, struct str channel)
{
    return &w->workers[msg_channel_hash(channel) % WORKERS_COUNT];
}

/* Relaxed: the sum of what waits, it orders nothing. */
static bool reserve(struct workers *w)
{
    if (!atomic_load(&w->stopping) &&
        atomic_fetch_add_explicit(&w->waiting, 1, memory_order_relaxed) <
            WORKERS_WAITING_MAX)
        return true;
    if (!atomic_load(&w->stopping))
        atomic_fetch_sub_explicit(&w->waiting, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->refused, 1, memory_order_relaxed);
    return false;
}

static void release(struct workers *w, uint32_t error)
{
    atomic_fetch_sub_explicit(&w->waiting, 1, memory_order_relaxed);
    if (error == ERROR_INTERNAL)
        atomic_fetch_add_explicit(&w->failed, 1, memory_order_relaxed);
}

/* --- reads and removals --------------------------------------------------- */

static void on_read_done(void *reader, struct letter *self)
{
    struct read_op *op = container_of(self, struct read_op, letter);
    (void)reader;
    op->done(op);
}

static void on_remove_done(void *reader, struct letter *self)
{
    struct remove_op *op = container_of(self, struct remove_op, letter);
    (void)reader;
    op->done(op);
}

/* NULL: its space has none. */
static struct stream *find_stream(const struct workers *w, struct str channel)
{
    const struct subject_space *space = subject_find(w->map, channel);
    return space ? stream_of(w->streams, space) : NULL;
}

static uint64_t now_ms(void)
{
    return clock_ns_to_ms(clock_now_ns());
}

static bool is_sick(const struct workers *all)
{
    return !bus_is_up(all->bus) || now_ms() < atomic_load(&all->sick_ms);
}

static bool is_hopeless(const struct workers *all)
{
    return atomic_load(&all->stopping) || is_sick(all);
}

/* What began at `from` is over. */
static void note_end(struct workers *all, uint64_t from, int code)
{
    uint64_t to = now_ms();
    if (code == ERROR_INTERNAL && to - from >= STREAM_WAIT_MS)
        atomic_store(&all->sick_ms, to + SICK_MS);
}

static void read_now(struct worker *w, struct side_link *l, struct read_op *op)
{
    struct workers *all = w->all;
    struct stream *s = find_stream(all, str_n(op->channel, op->channel_len));
    uint64_t from = now_ms();
    atomic_fetch_add_explicit(&all->reads, 1, memory_order_relaxed);
    reader_read(w, l, s, op);
    note_end(all, from, (int)op->error);
}

static void on_read(void *reader, struct letter *self)
{
    struct worker *w = reader;
    struct workers *all = w->all;
    struct read_op *op = container_of(self, struct read_op, letter);
    struct side_link *l = NULL;
    op->error = ERROR_INTERNAL;
    if (!is_hopeless(all))
        l = side_enter(&all->streams->side);
    if (l) {
        read_now(w, l, op);
        side_leave(&all->streams->side);
    }
    release(all, op->error);
    op->letter.run = on_read_done;
    mailbox_post(&op->origin->mailbox, &op->letter);
}

static void on_remove(void *reader, struct letter *self)
{
    struct worker *w = reader;
    struct workers *all = w->all;
    struct remove_op *op = container_of(self, struct remove_op, letter);
    struct stream *s = find_stream(all, str_n(op->channel, op->channel_len));
    struct side_link *l = NULL;
    uint64_t from = now_ms();
    op->error = ERROR_INTERNAL;
    if (!is_hopeless(all))
        l = side_enter(&all->streams->side);
    if (l) {
        op->error = (uint32_t)writer_remove(w, l, s, op);
        note_end(all, from, (int)op->error);
        side_leave(&all->streams->side);
    }
    release(all, op->error);
    op->letter.run = on_remove_done;
    mailbox_post(&op->origin->mailbox, &op->letter);
}

bool workers_read(struct workers *w, struct read_op *op)
{
    if (!reserve(w))
        return false;
    op->letter.run = on_read;
    mailbox_post(&worker_of(w, str_n(op->channel, op->channel_len))->mailbox,
                 &op->letter);
    return true;
}

bool workers_remove(struct workers *w, struct remove_op *op)
{
    if (!reserve(w))
        return false;
    op->letter.run = on_remove;
    mailbox_post(&worker_of(w, str_n(op->channel, op->channel_len))->mailbox,
                 &op->letter);
    return true;
}

void workers_post(struct workers *w, struct letter *l)
{
    mailbox_post(&w->workers[0].mailbox, l);
}

/* --- publications --------------------------------------------------------- */

static void on_publish(void *reader, struct letter *self)
{
    struct worker *w = reader;
    struct workers *all = w->all;
    struct publish_op *op = container_of(self, struct publish_op, letter);
    struct stream *s = find_stream(all, msg_channel(op->msg));
    struct side_link *l = is_sick(all) ? NULL : side_enter(&all->streams->side);
    uint64_t from = now_ms();
    int code = ERROR_INTERNAL;
    if (l) {
        code = writer_publish(w, l, s, op);
        note_end(all, from, code);
        side_leave(&all->streams->side);
    }
    all->finish(all->arg, op, code);
}

static void on_claim(void *reader, struct letter *self)
{
    struct worker *w = reader;
    struct workers *all = w->all;
    struct publish_op *op = container_of(self, struct publish_op, letter);
    struct side_link *l = is_sick(all) ? NULL : streams_enter(all->streams);
    uint64_t from = now_ms();
    uint64_t seq = 0;
    int code = ERROR_INTERNAL;
    if (l) {
        code = writer_claim(w, l, op, &seq);
        note_end(all, from, code);
        side_leave(&all->streams->side);
    }
    if (code || seq == 0) { /* or it was published before */
        all->finish(all->arg, op, code);
        return;
    }
    op->position.offset = seq;
    all->claimed(all->arg, op);
}

static void on_give_back(void *reader, struct letter *self)
{
    struct worker *w = reader;
    struct workers *all = w->all;
    struct publish_op *op = container_of(self, struct publish_op, letter);
    struct side_link *l = side_enter(&all->streams->side);
    if (l) {
        writer_give_back(w, l, op->position.offset);
        side_leave(&all->streams->side);
    }
    op->position = (struct position){0};
    all->finish(all->arg, op, ERROR_INTERNAL);
}

static void post_publish(struct workers *w, struct publish_op *op,
                         void (*run_it)(void *, struct letter *))
{
    op->letter.run = run_it;
    mailbox_post(&worker_of(w, msg_channel(op->msg))->mailbox, &op->letter);
}

void workers_publish(struct workers *w, struct publish_op *op)
{
    post_publish(w, op, on_publish);
}

void workers_claim(struct workers *w, struct publish_op *op)
{
    post_publish(w, op, on_claim);
}

void workers_give_back(struct workers *w, struct publish_op *op)
{
    post_publish(w, op, on_give_back);
}

/* --- the threads ---------------------------------------------------------- */

static void wake(void *arg)
{
    struct worker *w = arg;
    uint64_t one = 1;
    /* Fails only when the counter is full: then it is awake anyway. */
    if (write(w->wake_fd, &one, sizeof(one)) == -1)
        CHECK(errno == EAGAIN || errno == EINTR);
}

static void *run(void *arg)
{
    struct worker *w = arg;
    uint64_t n;
    for (;;) {
        struct letter *l;
        bool stop = atomic_load(&w->all->stopping);
        mailbox_take(&w->mailbox, &w->letters);
        while ((l = STAILQ_FIRST(&w->letters))) {
            STAILQ_REMOVE_HEAD(&w->letters, link);
            l->run(w, l);
        }
        if (stop)
            break;
        /* Blocks until somebody wakes. */
        if (read(w->wake_fd, &n, sizeof(n)) == -1)
            CHECK(errno == EINTR);
    }
    nats_ReleaseThreadMemory();
    return NULL;
}

static void start(struct workers *all, struct worker *w, const char *node)
{
    const struct config *cfg = all->map->cfg;
    struct buf b = BUF_INIT;
    size_t n;
    w->all = all;
    w->wake_fd = eventfd(0, EFD_CLOEXEC);
    CHECK(w->wake_fd != -1);
    STAILQ_INIT(&w->letters);
    STAILQ_INIT(&w->inbox.graves);
    mailbox_init(&w->mailbox, wake, w);
    intake_init(&w->intake, cfg);
    sender_init(&w->sender, all->map);
    buf_printf(&b, "%s.node.%s.in.%u.%c", cfg->nats.prefix, node,
               (unsigned)(w - all->workers), 0);
    w->inbox.prefix = buf_take(&b, &n);
    CHECK(pthread_create(&w->thread, NULL, run, w) == 0);
}

void workers_start(struct workers *w, const char *node)
{
    w->workers = mem_zalloc(WORKERS_COUNT * sizeof(*w->workers));
    for (unsigned i = 0; i < WORKERS_COUNT; i++)
        start(w, &w->workers[i], node);
}

void workers_stop(struct workers *w)
{
    if (!w->workers)
        return;
    atomic_store(&w->stopping, true);
    for (unsigned i = 0; i < WORKERS_COUNT; i++) {
        struct worker *one = &w->workers[i];
        wake(one);
        pthread_join(one->thread, NULL);
        mailbox_fini(&one->mailbox);
        intake_fini(&one->intake);
        sender_fini(&one->sender);
        buf_free(&one->subject);
        close(one->wake_fd);
    }
}

void workers_fini(struct workers *w)
{
    if (!w->workers)
        return;
    for (unsigned i = 0; i < WORKERS_COUNT; i++)
        inbox_fini(&w->workers[i].inbox);
    free(w->workers);
    w->workers = NULL;
}
