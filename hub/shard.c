#include "hub/shard.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/backlog.h"
#include "hub/fanout.h"
#include "hub/hub.h"

/* 60/s is a tick in 17 ms. */
#define CLASS_TICK_MS 2

struct shard *shard_new(struct hub *hub, unsigned index, void (*wake)(void *),
                        void *arg)
{
    struct shard *s = mem_zalloc(sizeof(*s));
    uint64_t seed;
    s->hub = hub;
    s->index = index;
    s->now_ns = clock_now_ns();
    s->slot_free = UINT32_MAX;
    mailbox_init(&s->mailbox, wake, arg);
    wheel_init(&s->wheel, WHEEL_TICK_MS, shard_now_ms(s));
    wheel_init(&s->ticks, CLASS_TICK_MS, shard_now_ms(s));
    topic_index_init(&s->topics);
    home_init(&s->home, hub);
    rand_bytes(&seed, sizeof(seed));
    rand_init(&s->rand, seed);
    TAILQ_INIT(&s->busy);
    TAILQ_INIT(&s->dirty);
    SLIST_INIT(&s->graves);
    return s;
}

static bool drain_mailbox(struct shard *s)
{
    struct letter_list letters = STAILQ_HEAD_INITIALIZER(letters);
    bool any = mailbox_take(&s->mailbox, &letters);
    struct letter *l;
    while ((l = STAILQ_FIRST(&letters))) {
        STAILQ_REMOVE_HEAD(&letters, link);
        s->draining = !STAILQ_EMPTY(&letters);
        s->stats.letters++;
        l->run(s, l);
    }
    return any;
}

/* Who is dirty again has its turn after the lanes had theirs. */
static void flush_dirty(struct shard *s)
{
    struct client *c;
    uint32_t count = s->dirty_count;
    for (uint32_t n = 0; n < count && (c = TAILQ_FIRST(&s->dirty)); n++) {
        client_unmark_dirty(c);
        if ((n & 31) == 0)
            s->now_ns = clock_now_ns();
        client_flush(c);
    }
}

static void forget_gathered(struct shard *s)
{
    for (uint32_t i = 0; i < s->gathered_count; i++)
        frame_unref(s->gathered[i]);
    s->gathered_count = 0;
}

static void bury_all(struct shard *s)
{
    struct grave *g;
    while ((g = SLIST_FIRST(&s->graves))) {
        SLIST_REMOVE_HEAD(&s->graves, link);
        g->bury(g);
    }
}

void shard_busy(struct shard *s)
{
    if (s->busy_since_ns)
        return;
    s->now_ns = clock_now_ns();
    s->busy_since_ns = s->now_ns;
}

int64_t shard_turn(struct shard *s)
{
    shard_busy(s);
    drain_mailbox(s);
    wheel_run(&s->wheel, shard_now_ms(s));
    wheel_run(&s->ticks, shard_now_ms(s));
    if (!TAILQ_EMPTY(&s->busy))
        fanout_run(s);
    flush_dirty(s);
    forget_gathered(s);
    if (s->waiting == 0)
        pass_cache_clear(&s->cache);
    bury_all(s);
    s->now_ns = clock_now_ns();
    hist_add(&s->stats.turn, s->now_ns - s->busy_since_ns);
    s->busy_since_ns = 0;
    return shard_sleep_ms(s);
}

/* Burying may close sockets, closing may make somebody dirty. */
int64_t shard_sleep_ms(const struct shard *s)
{
    if (!TAILQ_EMPTY(&s->busy) || !TAILQ_EMPTY(&s->dirty) ||
        !SLIST_EMPTY(&s->graves))
        return 0;
    int64_t timeout = wheel_next_ms(&s->wheel, shard_now_ms(s));
    int64_t tick = wheel_next_ms(&s->ticks, shard_now_ms(s));
    return tick < 0 || (timeout >= 0 && timeout < tick) ? timeout : tick;
}

bool shard_drain(struct shard *s)
{
    bool any = drain_mailbox(s);
    while (fanout_run(s))
        ;
    while (!TAILQ_EMPTY(&s->dirty))
        flush_dirty(s);
    forget_gathered(s);
    if (s->waiting == 0)
        pass_cache_clear(&s->cache);
    bury_all(s);
    return any;
}

void shard_free(struct shard *s)
{
    CHECK(s->client_count == 0);
    topic_index_fini(&s->topics);
    wheel_stop(&s->wheel, &s->home.sweep);
    home_fini(&s->home);
    mailbox_fini(&s->mailbox);
    pass_cache_clear(&s->cache);
    buf_free(&s->encode);
    buf_free(&s->gather);
    free(s->slots);
    free(s);
}

void shard_bury(struct shard *s, struct grave *g)
{
    SLIST_INSERT_HEAD(&s->graves, g, link);
}

void shard_send(struct shard *from, struct shard *to, struct letter *l)
{
    if (from == to)
        l->run(to, l);
    else
        mailbox_post(&to->mailbox, l);
}

struct user *shard_find_user(struct shard *s, struct str name)
{
    struct user *u = NULL;
    HASH_FIND(hh, s->users, name.p ? name.p : "", name.n, u);
    return u;
}

static void check_client(const struct shard *s, const struct client *c,
                         size_t *subs, size_t *bytes)
{
    size_t queued = 0;
    uint32_t n = 0;
    const struct sub *sub;
    for (uint32_t i = 0; i < c->queue_count; i++)
        queued += c->queue[c->queue_head + i]->len;
    CHECK(queued == c->queued_bytes && c->shard == s);
    CHECK(c->queue_head + c->queue_count <= c->queue_cap);
    TAILQ_FOREACH(sub, &c->subs, link) {
        CHECK(sub->client == c);
        n++;
    }
    CHECK(n == c->sub_count);
    *subs += n;
    *bytes += queued;
}

void shard_check(const struct shard *s)
{
    size_t subs = 0;
    size_t bytes = 0;
    size_t waiting = 0;
    uint32_t clients = 0;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (!s->slots[i].client)
            continue;
        clients++;
        check_client(s, s->slots[i].client, &subs, &bytes);
        waiting += backlog_count(s->slots[i].client);
    }
    CHECK(clients == s->client_count && subs == s->sub_count);
    CHECK(bytes == s->queued_bytes && waiting == s->waiting);
    topic_index_check(&s->topics);
    wheel_check(&s->wheel);
    wheel_check(&s->ticks);
    home_check(&s->home);
}
