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
    TAILQ_ENTRY(feed) link;     /* linked: table.idle or table.graves */
    natsSubscription *sub;      /* owned; NULL: nats.c refused it */
    struct delivery_port *port; /* borrowed */
    uint32_t users;
    uint64_t until_ms; /* idle: unsubscribed then; grave: freed then */
    size_t len;
    char subject[];
};

void feed_table_init(struct feed_table *t, uint64_t grace_ms)
{
    *t = (struct feed_table){.grace_ms = grace_ms};
    TAILQ_INIT(&t->idle);
    TAILQ_INIT(&t->graves);
}

/* Relaxed: a number for the scraper. */
static void count_subs(struct feed_table *t, bool add)
{
    uint64_t n = atomic_load_explicit(&t->count, memory_order_relaxed);
    atomic_store_explicit(&t->count, add ? n + 1 : n - 1, memory_order_relaxed);
}

static void subscribe(struct feed_table *t, struct feed *f)
{
    natsSubscription *sub = NULL;
    if (!t->nc ||
        natsConnection_Subscribe(&sub, t->nc, f->subject, delivery_on_message,
                                 f->port) != NATS_OK) {
        t->lacking++;
        return;
    }
    natsSubscription_SetPendingLimits(sub, PENDING_MAX_MSGS, PENDING_MAX_BYTES);
    f->sub = sub;
    count_subs(t, true);
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

/* Nobody wants it any more: out of the hash, into a grave. */
static void retire(struct feed_table *t, struct feed *f, uint64_t now_ms)
{
    set_idle(t, f, false);
    HASH_DEL(t->feeds, f);
    if (!f->sub) {
        t->lacking--;
        free(f);
        return;
    }
    t->dropped += dropped(f);
    natsSubscription_Unsubscribe(f->sub);
    count_subs(t, false);
    f->until_ms = now_ms + FEED_GRAVE_MS;
    TAILQ_INSERT_TAIL(&t->graves, f, link);
}

static void bury(struct feed_table *t, struct feed *f)
{
    TAILQ_REMOVE(&t->graves, f, link);
    destroy_sub(f);
    free(f);
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

void feed_table_detach(struct feed_table *t)
{
    struct feed *f;
    while ((f = TAILQ_FIRST(&t->graves)))
        bury(t, f);
    t->lacking = 0;
    for (f = t->feeds; f; f = f->hh.next) {
        t->lacking++;
        if (!f->sub)
            continue;
        t->dropped += dropped(f);
        destroy_sub(f);
        count_subs(t, false);
    }
    t->nc = NULL;
}

void feed_table_fini(struct feed_table *t)
{
    struct feed *f;
    struct feed *tmp;
    HASH_ITER(hh, t->feeds, f, tmp) {
        CHECK(!f->sub);
        HASH_DEL(t->feeds, f);
        free(f);
    }
    CHECK(TAILQ_EMPTY(&t->graves));
}

static struct feed *find(const struct feed_table *t, struct str subject)
{
    struct feed *f = NULL;
    HASH_FIND(hh, t->feeds, subject.p, subject.n, f);
    return f;
}

void feed_acquire(struct feed_table *t, struct str subject,
                  struct delivery_port *port)
{
    struct feed *f = find(t, subject);
    if (f) {
        if (f->users++ == 0)
            set_idle(t, f, false);
        return;
    }
    f = mem_zalloc(sizeof(*f) + subject.n + 1);
    memcpy(f->subject, subject.p, subject.n);
    f->len = subject.n;
    f->port = port;
    f->users = 1;
    HASH_ADD_KEYPTR(hh, t->feeds, f->subject, f->len, f);
    subscribe(t, f);
}

void feed_release(struct feed_table *t, struct str subject, uint64_t now_ms)
{
    struct feed *f = find(t, subject);
    if (!f || f->users == 0 || --f->users > 0)
        return;
    f->until_ms = now_ms + t->grace_ms;
    set_idle(t, f, true);
    if (t->idle_count > FEED_IDLE_MAX)
        retire(t, TAILQ_FIRST(&t->idle), now_ms);
}

static void mend(struct feed_table *t, uint64_t now_ms)
{
    if (!t->nc || !t->lacking || now_ms < t->mend_ms)
        return;
    t->mend_ms = now_ms + RETRY_MS;
    t->lacking = 0;
    for (struct feed *f = t->feeds; f; f = f->hh.next)
        if (!f->sub)
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
    while ((f = TAILQ_FIRST(&t->idle)) && f->until_ms <= now_ms)
        retire(t, f, now_ms);
    while ((f = TAILQ_FIRST(&t->graves)) && f->until_ms <= now_ms)
        bury(t, f);
    mend(t, now_ms);
    int64_t ms = sooner(-1, &t->idle, now_ms);
    ms = sooner(ms, &t->graves, now_ms);
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
