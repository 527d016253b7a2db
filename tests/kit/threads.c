#include "tests/kit/threads.h"

#include <pthread.h>

#include "base/mem.h"

/* One wake flag per shard; a test program has one threaded hub at a time. */
struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rings;
    bool rung;
};

static struct bell bells[HOME_MAX_SHARDS];

struct runner {
    pthread_t thread;
    struct shard *shard; /* borrowed */
    threads_actor_fn actor;
    void *arg;              /* borrowed */
    _Atomic unsigned *left; /* actors that have not ended */
};

static void wake(void *arg)
{
    struct bell *b = arg;
    pthread_mutex_lock(&b->lock);
    b->rung = true;
    pthread_cond_signal(&b->rings);
    pthread_mutex_unlock(&b->lock);
}

void threads_init(struct hub *hub, const struct hub_options *options)
{
    void *args[HOME_MAX_SHARDS];
    for (unsigned i = 0; i < options->shards; i++) {
        pthread_mutex_init(&bells[i].lock, NULL);
        pthread_cond_init(&bells[i].rings, NULL);
        bells[i].rung = false;
        args[i] = &bells[i];
    }
    hub_init(hub, options, wake, args);
}

static void wait_for_bell(struct bell *b)
{
    pthread_mutex_lock(&b->lock);
    while (!b->rung)
        pthread_cond_wait(&b->rings, &b->lock);
    b->rung = false;
    pthread_mutex_unlock(&b->lock);
}

/* The last actor to end rings everybody, so that nobody waits for ever. */
static void leave(struct runner *r)
{
    struct hub *hub = r->shard->hub;
    if (atomic_fetch_sub(r->left, 1) != 1)
        return;
    for (unsigned i = 0; i < hub->count; i++)
        wake(&bells[i]);
}

static void *run(void *arg)
{
    struct runner *r = arg;
    bool acting = true;
    while (acting || atomic_load(r->left)) {
        if (acting && !r->actor(r->shard, r->arg)) {
            acting = false;
            leave(r);
        }
        int64_t sleep_ms = shard_turn(r->shard);
        if (!acting && sleep_ms != 0 && atomic_load(r->left))
            wait_for_bell(&bells[r->shard->index]);
    }
    return NULL;
}

static bool is_busy(struct shard *s)
{
    return mailbox_depth(&s->mailbox) || !TAILQ_EMPTY(&s->busy) ||
           !TAILQ_EMPTY(&s->dirty) || !SLIST_EMPTY(&s->graves);
}

void threads_settle(struct hub *hub)
{
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < hub->count; i++) {
            if (!is_busy(hub->shards[i]))
                continue;
            shard_turn(hub->shards[i]);
            any = true;
        }
    }
}

void threads_run(struct hub *hub, threads_actor_fn actor, void *const *args)
{
    struct runner runners[HOME_MAX_SHARDS];
    _Atomic unsigned left = hub->count;
    for (unsigned i = 0; i < hub->count; i++) {
        runners[i] = (struct runner){0, hub->shards[i], actor, args[i], &left};
        CHECK(pthread_create(&runners[i].thread, NULL, run, &runners[i]) == 0);
    }
    for (unsigned i = 0; i < hub->count; i++)
        pthread_join(runners[i].thread, NULL);
    threads_settle(hub);
}
