#include "gateway/broker/feed.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"

/* What may wait inside nats.c for the delivery thread, which never blocks.
 * Over it the newest is dropped and counted. */
#define PENDING_MAX_MSGS 65536
#define PENDING_MAX_BYTES (64 * 1024 * 1024)

#define RETRY_MS 1000

struct feed {
    UT_hash_handle hh;          /* linked: table.feeds, while not in a grave */
    TAILQ_ENTRY(feed) link;     /* linked: table.idle, .graves or .waiting */
    natsSubscription *sub;      /* owned; NULL: waits, or lacking */
    struct delivery_port *port; /* borrowed */
    struct letter_list asking;  /* while it waits: whom to tell */
    uint32_t askers;
    uint32_t users;
    bool waits;
    uint64_t until_ms; /* idle: unsubscribed then; grave: freed then */
    size_t len;
    char subject[];
};

void feed_table_init(struct feed_table *t, uint64_t grace_ms)
{
    *t = (struct feed_table){.grace_ms = grace_ms};
    TAILQ_INIT(&t->idle);
    TAILQ_INIT(&t->graves);
    TAILQ_INIT(&t->waiting);
    STAILQ_INIT(&t->served);
}

/* Relaxed: numbers for the scraper; only the broker's thread writes them. */
static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add(_Atomic uint64_t *counter, int n)
{
    atomic_store_explicit(counter, get(counter) + (uint64_t)n,
                          memory_order_relaxed);
}

/* SUBs in use. What is idle always has one. */
static uint64_t used(const struct feed_table *t)
{
    return get(&t->count) - t->idle_count;
}

static void note_use(struct feed_table *t)
{
    if (used(t) > t->peak)
        t->peak = used(t);
}

/* May there be one more SUB, in use? Always while no more than FEED_IDLE_MAX
 * are idle, and as long as they all were in use already at one time. */
static bool has_room(const struct feed_table *t)
{
    uint64_t need = used(t) + 1;
    return need + t->idle_count <=
           (need > t->peak ? need : t->peak) + FEED_IDLE_MAX;
}

/* What the SUB is for: the subject, or where its stream republishes it. */
static const char *subject_now(struct feed_table *t, const struct feed *f)
{
    if (!f->port || !f->port->is_live)
        return f->subject;
    buf_clear(&t->live);
    if (subject_to_live(f->port->space, str_n(f->subject, f->len), &t->live) <
        0)
        return NULL;
    return t->live.p;
}

static void subscribe(struct feed_table *t, struct feed *f)
{
    natsSubscription *sub = NULL;
    const char *subject = subject_now(t, f);
    if (!t->nc || !subject ||
        natsConnection_Subscribe(&sub, t->nc, subject, delivery_on_message,
                                 f->port) != NATS_OK) {
        t->lacking++;
        return;
    }
    natsSubscription_SetPendingLimits(sub, PENDING_MAX_MSGS, PENDING_MAX_BYTES);
    f->sub = sub;
    add(&t->count, 1);
    note_use(t);
}

static uint64_t dropped(const struct feed *f)
{
    int64_t n = 0;
    if (!f->sub || natsSubscription_GetDropped(f->sub, &n) != NATS_OK)
        return 0;
    return (uint64_t)n;
}

static void destroy_sub(struct feed *f)
{
    natsSubscription_Destroy(f->sub);
    f->sub = NULL;
}

static void set_idle(struct feed_table *t, struct feed *f, bool idle)
{
    if (idle) {
        TAILQ_INSERT_TAIL(&t->idle, f, link);
        t->idle_count++;
        return;
    }
    TAILQ_REMOVE(&t->idle, f, link);
    t->idle_count--;
}

static void start_waiting(struct feed_table *t, struct feed *f)
{
    f->waits = true;
    TAILQ_INSERT_TAIL(&t->waiting, f, link);
    add(&t->waited, 1);
}

static void stop_waiting(struct feed_table *t, struct feed *f)
{
    f->waits = false;
    TAILQ_REMOVE(&t->waiting, f, link);
    STAILQ_CONCAT(&t->served, &f->asking);
    t->askers -= f->askers;
    f->askers = 0;
}

/* It has no SUB, so it needs no grave. */
static void forget(struct feed_table *t, struct feed *f)
{
    if (f->waits)
        stop_waiting(t, f);
    else
        t->lacking--;
    HASH_DEL(t->feeds, f);
    free(f);
}

/* Nobody wants it any more: out of the hash, into a grave. */
static void retire(struct feed_table *t, struct feed *f, uint64_t now_ms)
{
    set_idle(t, f, false);
    HASH_DEL(t->feeds, f);
    t->dropped += dropped(f);
    natsSubscription_Unsubscribe(f->sub);
    add(&t->count, -1);
    f->until_ms = now_ms + FEED_GRAVE_MS;
    TAILQ_INSERT_TAIL(&t->graves, f, link);
    t->grave_count++;
}

static void bury(struct feed_table *t, struct feed *f)
{
    TAILQ_REMOVE(&t->graves, f, link);
    t->grave_count--;
    destroy_sub(f);
    free(f);
}

static bool has_grave(const struct feed_table *t)
{
    return t->grave_count < FEED_GRAVES_MAX;
}

/* As many as may be idle, or as there are graves for. */
static void evict(struct feed_table *t, uint64_t now_ms)
{
    while (t->idle_count > FEED_IDLE_MAX && has_grave(t)) {
        retire(t, TAILQ_FIRST(&t->idle), now_ms);
        add(&t->evicted, 1);
    }
}

/* The SUB alone goes to a grave. */
static void abandon(struct feed_table *t, struct feed *f, uint64_t now_ms)
{
    struct feed *grave = mem_zalloc(sizeof(*grave) + 1);
    grave->sub = f->sub;
    f->sub = NULL;
    t->dropped += dropped(grave);
    natsSubscription_Unsubscribe(grave->sub);
    add(&t->count, -1);
    grave->until_ms = now_ms + FEED_GRAVE_MS;
    TAILQ_INSERT_TAIL(&t->graves, grave, link);
    t->grave_count++;
}

void feed_table_move(struct feed_table *t, const struct delivery_port *port,
                     uint64_t now_ms)
{
    struct feed *f;
    struct feed *next;
    for (f = TAILQ_FIRST(&t->idle); f; f = next) {
        next = TAILQ_NEXT(f, link);
        if (f->port == port)
            retire(t, f, now_ms);
    }
    for (f = t->feeds; f; f = f->hh.next) {
        if (f->port != port || !f->sub)
            continue;
        abandon(t, f, now_ms);
        subscribe(t, f);
    }
}

void feed_table_attach(struct feed_table *t, natsConnection *nc)
{
    t->nc = nc;
    t->lacking = 0;
    for (struct feed *f = t->feeds; f; f = f->hh.next)
        subscribe(t, f);
}

void feed_table_leave(struct feed_table *t)
{
    for (struct feed *f = t->feeds; f; f = f->hh.next)
        if (f->sub)
            natsSubscription_Unsubscribe(f->sub);
}

/* The connection is closed: no grave is needed for what is idle. */
static void end_idle(struct feed_table *t)
{
    struct feed *f;
    while ((f = TAILQ_FIRST(&t->idle)))
        retire(t, f, 0);
    while ((f = TAILQ_FIRST(&t->graves)))
        bury(t, f);
}

void feed_table_detach(struct feed_table *t)
{
    struct feed *f;
    end_idle(t);
    while ((f = TAILQ_FIRST(&t->waiting)))
        stop_waiting(t, f);
    t->lacking = 0;
    for (f = t->feeds; f; f = f->hh.next) {
        t->lacking++;
        if (!f->sub)
            continue;
        t->dropped += dropped(f);
        destroy_sub(f);
        add(&t->count, -1);
    }
    t->nc = NULL;
}

void feed_table_fini(struct feed_table *t)
{
    struct feed *f;
    struct feed *tmp;
    HASH_ITER(hh, t->feeds, f, tmp) {
        CHECK(!f->sub && !f->waits);
        HASH_DEL(t->feeds, f);
        free(f);
    }
    CHECK(TAILQ_EMPTY(&t->graves) && STAILQ_EMPTY(&t->served));
    buf_free(&t->live);
}

static struct feed *find(const struct feed_table *t, struct str subject)
{
    struct feed *f = NULL;
    HASH_FIND(hh, t->feeds, subject.p, subject.n, f);
    return f;
}

static struct feed *make(struct feed_table *t, struct str subject,
                         struct delivery_port *port)
{
    struct feed *f = mem_zalloc(sizeof(*f) + subject.n + 1);
    memcpy(f->subject, subject.p, subject.n);
    f->len = subject.n;
    f->port = port;
    STAILQ_INIT(&f->asking);
    HASH_ADD_KEYPTR(hh, t->feeds, f->subject, f->len, f);
    if (t->nc && !has_room(t))
        start_waiting(t, f);
    else
        subscribe(t, f);
    return f;
}

int feed_acquire(struct feed_table *t, struct str subject,
                 struct delivery_port *port, struct letter *who)
{
    struct feed *f = find(t, subject);
    if (!f)
        f = make(t, subject, port);
    else if (f->users == 0)
        set_idle(t, f, false);
    f->users++;
    note_use(t);
    if (!f->waits)
        return 0;
    if (!who)
        return ERR_AGAIN;
    if (t->askers >= FEED_ASKERS_MAX)
        return ERR_FULL;
    STAILQ_INSERT_TAIL(&f->asking, who, link);
    f->askers++;
    t->askers++;
    return ERR_AGAIN;
}

void feed_release(struct feed_table *t, struct str subject, uint64_t now_ms)
{
    struct feed *f = find(t, subject);
    if (!f || f->users == 0 || --f->users > 0)
        return;
    if (!f->sub) {
        forget(t, f);
        return;
    }
    f->until_ms = now_ms + t->grace_ms;
    set_idle(t, f, true);
    evict(t, now_ms);
}

/* First come, first served. */
static void serve(struct feed_table *t)
{
    struct feed *f;
    while ((f = TAILQ_FIRST(&t->waiting)) && has_room(t)) {
        stop_waiting(t, f);
        subscribe(t, f);
    }
}

static void mend(struct feed_table *t, uint64_t now_ms)
{
    if (!t->nc || !t->lacking || now_ms < t->mend_ms)
        return;
    t->mend_ms = now_ms + RETRY_MS;
    t->lacking = 0;
    for (struct feed *f = t->feeds; f; f = f->hh.next)
        if (!f->sub && !f->waits)
            subscribe(t, f);
}

static int64_t sooner(int64_t ms, const struct feed_list *list, uint64_t now_ms)
{
    const struct feed *first = TAILQ_FIRST(list);
    if (!first)
        return ms;
    int64_t left = (int64_t)(first->until_ms - now_ms);
    return ms < 0 || left < ms ? left : ms;
}

int64_t feed_table_run(struct feed_table *t, uint64_t now_ms)
{
    struct feed *f;
    while ((f = TAILQ_FIRST(&t->graves)) && f->until_ms <= now_ms)
        bury(t, f);
    while ((f = TAILQ_FIRST(&t->idle)) && f->until_ms <= now_ms && has_grave(t))
        retire(t, f, now_ms);
    evict(t, now_ms);
    serve(t);
    mend(t, now_ms);
    if (!STAILQ_EMPTY(&t->served))
        return 0;
    int64_t ms = sooner(-1, &t->graves, now_ms);
    if (has_grave(t))
        ms = sooner(ms, &t->idle, now_ms);
    if (t->lacking && t->nc && (ms < 0 || ms > RETRY_MS))
        return RETRY_MS;
    return ms;
}

uint64_t feed_table_dropped(const struct feed_table *t)
{
    uint64_t n = t->dropped;
    for (const struct feed *f = t->feeds; f; f = f->hh.next)
        n += dropped(f);
    return n;
}
