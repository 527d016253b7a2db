#include "loadtest/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_TURN 256
/* A tick costs about one system call; eight reads cost about 20 us. */
#define EVENTS_PER_TICK 8

uint64_t loop_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * LOOP_SECOND + (uint64_t)t.tv_nsec;
}

int loop_init(struct loop *l)
{
    *l = (struct loop){.epfd = epoll_create1(EPOLL_CLOEXEC)};
    return l->epfd == -1 ? -1 : 0;
}

void loop_fini(struct loop *l)
{
    if (l->epfd >= 0)
        close(l->epfd);
    l->epfd = -1;
}

int loop_add(struct loop *l, struct watch *w)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                            .data.ptr = w};
    return epoll_ctl(l->epfd, EPOLL_CTL_ADD, w->fd, &e);
}

static void tick(struct loop *l)
{
    if (l->tick != NULL)
        l->tick(l->tick_arg);
}

/* How long the loop may sleep now. */
static struct timespec patience(const struct loop *l, uint64_t max_ns)
{
    if (l->spin)
        return (struct timespec){0};
    if (l->wake_at_ns != 0) {
        uint64_t now = loop_now_ns();
        uint64_t left = l->wake_at_ns > now ? l->wake_at_ns - now : 0;
        max_ns = left < max_ns ? left : max_ns;
    }
    return (struct timespec){.tv_sec = (time_t)(max_ns / LOOP_SECOND),
                             .tv_nsec = (long)(max_ns % LOOP_SECOND)};
}

void loop_turn(struct loop *l, uint64_t max_ns)
{
    struct epoll_event events[EVENTS_PER_TURN];
    struct timespec wait = patience(l, max_ns);
    int n = epoll_pwait2(l->epfd, events, EVENTS_PER_TURN, &wait, NULL);
    tick(l);
    for (int i = 0; i < n; i++) {
        struct watch *w = events[i].data.ptr;
        if (w->fd >= 0)
            w->on_event(w, events[i].events);
        if (i % EVENTS_PER_TICK == EVENTS_PER_TICK - 1)
            tick(l);
    }
}

bool loop_until(struct loop *l, bool (*done)(void *arg), void *arg,
                uint64_t timeout_ns)
{
    uint64_t end = loop_now_ns() + timeout_ns;
    while (!done(arg)) {
        if (loop_now_ns() >= end)
            return false;
        loop_turn(l, 10 * LOOP_MS);
    }
    return true;
}

void loop_for(struct loop *l, uint64_t duration_ns)
{
    uint64_t end = loop_now_ns() + duration_ns;
    for (;;) {
        uint64_t now = loop_now_ns();
        if (now >= end)
            return;
        loop_turn(l, end - now);
    }
}
