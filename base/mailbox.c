#include "base/mailbox.h"

#include "base/mem.h"

void mailbox_init(struct mailbox *m, void (*wake)(void *arg), void *arg)
{
    CHECK(pthread_mutex_init(&m->lock, NULL) == 0);
    STAILQ_INIT(&m->letters);
    m->count = 0;
    m->peak = 0;
    m->wake = wake;
    m->wake_arg = arg;
}

void mailbox_fini(struct mailbox *m)
{
    CHECK(STAILQ_EMPTY(&m->letters));
    pthread_mutex_destroy(&m->lock);
}

void mailbox_post(struct mailbox *m, struct letter *l)
{
    pthread_mutex_lock(&m->lock);
    bool was_empty = STAILQ_EMPTY(&m->letters);
    STAILQ_INSERT_TAIL(&m->letters, l, link);
    if (++m->count > m->peak)
        m->peak = m->count;
    pthread_mutex_unlock(&m->lock);
    if (was_empty)
        m->wake(m->wake_arg);
}

bool mailbox_take(struct mailbox *m, struct letter_list *to)
{
    pthread_mutex_lock(&m->lock);
    bool any = !STAILQ_EMPTY(&m->letters);
    STAILQ_CONCAT(to, &m->letters);
    m->count = 0;
    pthread_mutex_unlock(&m->lock);
    return any;
}

size_t mailbox_depth(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    size_t n = m->count;
    pthread_mutex_unlock(&m->lock);
    return n;
}

size_t mailbox_peak(struct mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    size_t n = m->peak;
    m->peak = m->count;
    pthread_mutex_unlock(&m->lock);
    return n;
}
