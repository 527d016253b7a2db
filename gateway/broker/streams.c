#include "gateway/broker/streams.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/broker/greeting.h"

/* While something is not as it should be. */
#define RETRY_MS 1000
/* Between two looks, however often somebody pokes. */
#define PAUSE_MS 100
/* JetStream is believed to be off when nobody answered for it so often: one
 * server of several may just be coming up. */
#define STRIKES 3
#define STRIKE_PAUSE_MS 200
/* Before it, making room costs as much as a stream has channels. */
#define FAST_EVICTION GREETING_VERSION(2, 9, 16)

/* --- init ----------------------------------------------------------------- */

static size_t count_spaces(const struct subject_map *map)
{
    size_t n = 0;
    for (size_t i = 0; i < map->count; i++)
        n += map->spaces[i].live.n > 0;
    return n;
}

void streams_init(struct streams *t, const struct subject_map *map,
                  const char *node, struct mailbox *mailbox,
                  void (*on_changed)(void *, struct letter *))
{
    size_t n = count_spaces(map);
    t->cfg = map->cfg;
    t->map = map;
    t->mailbox = mailbox;
    t->on_changed = on_changed;
    t->by_space = mem_zalloc(map->count * sizeof(struct stream *));
    t->items = mem_zalloc((n + 1) * sizeof(*t->items));
    for (size_t i = 0; i < map->count; i++) {
        if (map->spaces[i].live.n == 0)
            continue;
        struct stream *s = &t->items[t->count++];
        stream_init(s, t->cfg, &map->spaces[i]);
        t->by_space[i] = s;
    }
    side_init(&t->side, t->cfg, node);
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    t->first_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(t->wake_fd != -1 && t->first_fd != -1);
}

void streams_fini(struct streams *t)
{
    if (!t->items)
        return;
    free(t->by_space);
    t->by_space = NULL;
    for (size_t i = 0; i < t->count; i++)
        stream_fini(&t->items[i]);
    free(t->items);
    t->items = NULL;
    side_fini(&t->side);
    close(t->wake_fd);
    close(t->first_fd);
}

/* --- letters and wakes ---------------------------------------------------- */

static void ring(int fd)
{
    uint64_t one = 1;
    /* Fails only when the counter is full: then it is awake anyway. */
    if (write(fd, &one, sizeof(one)) == -1)
        CHECK(errno == EAGAIN || errno == EINTR);
}

void streams_poke(struct streams *t)
{
    ring(t->wake_fd);
}

struct side_link *streams_enter(struct streams *t)
{
    struct side_link *l = side_enter(&t->side);
    uint64_t end_ms = clock_ns_to_ms(clock_now_ns()) + STREAM_WAIT_MS;
    if (l || atomic_exchange(&t->needed, true))
        return l;
    streams_poke(t); /* the first who needs it */
    while (!l && !atomic_load(&t->stopping) &&
           clock_ns_to_ms(clock_now_ns()) < end_ms) {
        usleep(PAUSE_MS * 100);
        l = side_enter(&t->side);
    }
    return l;
}

static void tell_changed(struct streams *t)
{
    if (atomic_exchange(&t->told, true))
        return;
    t->changed.run = t->on_changed;
    mailbox_post(t->mailbox, &t->changed);
}

void streams_heard(struct streams *t)
{
    atomic_store(&t->told, false);
}

/* --- a look --------------------------------------------------------------- */

static bool is_any(const struct streams *t, enum stream_state state)
{
    for (size_t i = 0; i < t->count; i++)
        if (stream_state(&t->items[i]) == state)
            return true;
    return false;
}

/* ERR_NOT_FOUND: the server says that it has no JetStream for us. */
static int find_jetstream(jsCtx *js)
{
    jsAccountInfo *info = NULL;
    jsErrCode code = 0;
    natsStatus rc = js_GetAccountInfo(&info, js, NULL, &code);
    jsAccountInfo_Destroy(info);
    if (rc == NATS_NO_RESPONDERS || code == JSNotEnabledErr ||
        code == JSNotEnabledForAccountErr)
        return ERR_NOT_FOUND;
    return rc == NATS_OK ? 0 : ERR_AGAIN;
}

static void do_without(struct streams *t)
{
    for (size_t i = 0; i < t->count; i++) {
        struct stream *s = &t->items[i];
        if (stream_state(s) != STREAM_UNKNOWN)
            continue;
        stream_set(s, STREAM_PLAIN);
        log_warn("nats_no_jetstream", "namespace=%s",
                 log_quote(s->space->name.n ? s->space->name
                                            : STR_LIT("without_namespace")));
    }
    tell_changed(t);
}

static void check_all(struct streams *t, jsCtx *js)
{
    struct stream_look look;
    for (size_t i = 0; i < t->count && !atomic_load(&t->stopping); i++) {
        if (stream_state(&t->items[i]) == STREAM_PLAIN)
            continue;
        int rc = stream_check(&t->items[i], js, &look);
        /* Relaxed: a counter. */
        if (rc < 0)
            atomic_fetch_add_explicit(&t->failures, 1, memory_order_relaxed);
        if (rc == ERR_INVALID && !t->looked &&
            atomic_load(&t->first_result) == 0) {
            memcpy(t->first_err, look.err, sizeof(t->first_err));
            atomic_store(&t->first_result, ERR_INVALID);
        }
        if (look.changed)
            tell_changed(t);
    }
}

/* Only keeping several of a channel is slow. */
static uint32_t largest_history(const struct streams *t)
{
    uint32_t size = 0;
    for (size_t i = 0; i < t->count; i++)
        if (t->items[i].space->ns->history.size > size)
            size = t->items[i].space->ns->history.size;
    return size;
}

/* Once. */
static void look_at_version(struct streams *t, natsConnection *nc)
{
    char url[512] = "";
    uint32_t version;
    if (t->asked_for_version || largest_history(t) <= 1)
        return;
    t->asked_for_version = true;
    if (natsConnection_GetConnectedUrl(nc, url, sizeof(url)) != NATS_OK ||
        greeting_version(url, &version) < 0 || version >= FAST_EVICTION)
        return;
    log_warn("nats_server_slow_eviction",
             "version=%u.%u.%u wanted=2.9.16 history_size=%u",
             version / 1000000, version / 1000 % 1000, version % 1000,
             largest_history(t));
}

/* Returns how long to wait until the next one. */
static int look(struct streams *t)
{
    if (t->count == 0 && !atomic_load(&t->needed))
        return -1;
    if (side_connect(&t->side) < 0)
        return RETRY_MS;
    struct side_link *l = side_enter(&t->side);
    if (!l)
        return RETRY_MS;
    int ms = STREAMS_LOOK_MS;
    int rc = is_any(t, STREAM_UNKNOWN) ? find_jetstream(l->js) : 0;
    if (rc != ERR_NOT_FOUND) {
        t->strikes = 0;
        check_all(t, l->js);
    } else if (++t->strikes < STRIKES) {
        ms = STRIKE_PAUSE_MS;
    } else {
        do_without(t);
    }
    if (t->looked) /* it may take a while */
        look_at_version(t, l->nc);
    side_leave(&t->side);
    if (ms > RETRY_MS &&
        (is_any(t, STREAM_UNKNOWN) || is_any(t, STREAM_BROKEN)))
        ms = RETRY_MS;
    return ms;
}

/* --- the thread ----------------------------------------------------------- */

static void wait_for(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t n;
    if (poll(&p, 1, ms) == 1 && read(fd, &n, sizeof(n)) == -1)
        CHECK(errno == EAGAIN || errno == EINTR);
}

static void *run(void *arg)
{
    struct streams *t = arg;
    while (!atomic_load(&t->stopping)) {
        int ms = look(t);
        bool going_on = ms == STRIKE_PAUSE_MS;
        if (!t->looked && !going_on) {
            t->looked = true;
            ring(t->first_fd);
        }
        if (!going_on && !atomic_load(&t->stopping)) {
            wait_for(t->wake_fd, ms);
            ms = PAUSE_MS;
        }
        if (!atomic_load(&t->stopping))
            usleep((useconds_t)ms * 1000);
    }
    nats_ReleaseThreadMemory();
    return NULL;
}

void streams_start(struct streams *t)
{
    CHECK(pthread_create(&t->thread, NULL, run, t) == 0);
    t->running = true;
}

int streams_wait_first(struct streams *t, uint64_t end_ms, char *err,
                       size_t errlen)
{
    for (;;) {
        struct pollfd p = {.fd = t->first_fd, .events = POLLIN};
        uint64_t now = clock_ns_to_ms(clock_now_ns());
        if (now >= end_ms)
            return 0;
        int n = poll(&p, 1, (int)(end_ms - now));
        if (n == 0)
            return 0;
        if (n == 1)
            break;
        CHECK(errno == EINTR);
    }
    int rc = atomic_load(&t->first_result);
    if (rc == ERR_INVALID)
        snprintf(err, errlen, "%s", t->first_err);
    return rc;
}

void streams_stop(struct streams *t)
{
    if (!t->running)
        return;
    atomic_store(&t->stopping, true);
    streams_poke(t);
    pthread_join(t->thread, NULL);
    t->running = false;
    side_close(&t->side);
}
