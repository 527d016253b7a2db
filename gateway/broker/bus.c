#include "gateway/broker/bus.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/broker/options.h"

#define BEAT_MS 1000
#define BEATS_MISSED 3
/* Between two looks at a stuck bus, should a flush fail without waiting. */
#define STUCK_PAUSE_MS 10
/* nats.c's threads end with the connection; one may be waiting for a server
 * that does not answer. */
#define FINI_MS 10000
#define FINISH_MS 2000
#define FINISH_LOOK_US 500

/* --- state ---------------------------------------------------------------- */

/* Relaxed counters throughout: they order nothing. */
static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

void bus_note_gap(struct bus *bus)
{
    count(&bus->gaps);
    bus->wake(bus->wake_arg);
}

/* How often nats.c reconnected this connection; 0 when it does not say. */
static uint64_t reconnects_of(struct bus *bus, natsConnection *nc)
{
    uint64_t n = 0;
    if (!bus->stats || natsConnection_GetStats(nc, bus->stats) != NATS_OK ||
        natsStatistics_GetCounts(bus->stats, NULL, NULL, NULL, NULL, &n) !=
            NATS_OK)
        return 0;
    return n;
}

uint64_t bus_gaps(struct bus *bus, natsConnection *nc)
{
    uint64_t lost;
    uint64_t gaps;
    if (!nc)
        return atomic_load(&bus->gaps);
    uint64_t reconnects = reconnects_of(bus, nc);
    do { /* both of one moment: `lost` is counted after its gap */
        lost = atomic_load(&bus->lost);
        gaps = atomic_load(&bus->gaps);
    } while (lost != atomic_load(&bus->lost));
    return reconnects > lost ? gaps + (reconnects - lost) : gaps;
}

/* Relaxed, both: whoever acts on it must live with its being late anyway. */
static bool is_connected(const struct bus *bus)
{
    return atomic_load_explicit(&bus->state, memory_order_relaxed) & 1;
}

bool bus_is_up(const struct bus *bus)
{
    return is_connected(bus) &&
           !atomic_load_explicit(&bus->stuck, memory_order_relaxed);
}

/* Acquire pairs with the release in on_closed: its callback was the last. */
bool bus_is_closed(const struct bus *bus)
{
    return atomic_load_explicit(&bus->closed, memory_order_acquire);
}

static bool is_ending(const struct bus *bus)
{
    return atomic_load_explicit(&bus->ending, memory_order_acquire);
}

/* Connected, unless a disconnect came after `before` was read. */
static bool set_up(struct bus *bus, uint64_t before)
{
    return atomic_compare_exchange_strong(&bus->state, &before, before | 1);
}

/* True when it was up. */
static bool set_away(struct bus *bus)
{
    uint64_t was = atomic_load(&bus->state);
    while (!atomic_compare_exchange_weak(&bus->state, &was, (was | 1) + 1))
        ;
    return was & 1;
}

/* --- log ------------------------------------------------------------------ */

static void log_up(struct bus *bus, natsConnection *nc)
{
    char url[512] = "";
    char bare[512];
    natsConnection_GetConnectedUrl(nc, url, sizeof(url));
    log_info("nats_connected", "url=%s connects=%llu",
             log_quote(options_bare_url(url, bare, sizeof(bare))),
             (unsigned long long)atomic_load(&bus->connects));
}

/* --- nats.c's callbacks, on its threads ----------------------------------- */

static void note_up(struct bus *bus, natsConnection *nc)
{
    atomic_store(&bus->heard_ns, atomic_load(&bus->heard) ? clock_now_ns() : 0);
    atomic_store(&bus->stuck, false);
    count(&bus->connects);
    log_up(bus, nc);
    bus->wake(bus->wake_arg);
}

static void on_reconnected(natsConnection *nc, void *closure)
{
    struct bus *bus = closure;
    if (is_ending(bus))
        return;
    if (set_up(bus, atomic_load(&bus->state)))
        note_up(bus, nc);
}

static void on_disconnected(natsConnection *nc, void *closure)
{
    struct bus *bus = closure;
    const char *why = NULL;
    if (is_ending(bus))
        return;
    natsConnection_GetLastError(nc, &why);
    set_away(bus);
    count(&bus->disconnects);
    bus_note_gap(bus);
    atomic_fetch_add(&bus->lost, 1);
    bus->wake(bus->wake_arg); /* who waits for acknowledgements */
    log_warn("nats_disconnected", "reason=%s",
             log_quote(str_of(why && *why ? why : "connection lost")));
}

/* The last callback of a connection. */
static void on_closed(natsConnection *nc, void *closure)
{
    struct bus *bus = closure;
    (void)nc;
    if (is_ending(bus))
        return;
    /* A disconnect that nats.c gave no time of its own. */
    if (set_away(bus)) {
        count(&bus->disconnects);
        bus_note_gap(bus);
    }
    atomic_store_explicit(&bus->closed, true, memory_order_release);
    bus->wake(bus->wake_arg);
}

static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus why,
                     void *closure)
{
    struct bus *bus = closure;
    struct log_limit *limit = &bus->error_log;
    const char *text = NULL;
    uint64_t missed;
    (void)sub; /* may be destroyed: nats.c before 3.7.0 */
    if (is_ending(bus))
        return;
    if (why == NATS_SLOW_CONSUMER) {
        bus_note_gap(bus);
        atomic_store(&bus->slow, true);
        limit = &bus->slow_log;
    }
    if (!log_limit_pass(limit, clock_now_ns(), &missed))
        return;
    natsConnection_GetLastError(nc, &text);
    log_warn(why == NATS_SLOW_CONSUMER ? "nats_slow_consumer" : "nats_error",
             "error=%s text=%s missed=%llu",
             log_quote(str_of(natsStatus_GetText(why))),
             log_quote(str_of(text ? text : "")), (unsigned long long)missed);
}

static void on_beat(natsConnection *nc, natsSubscription *sub, natsMsg *m,
                    void *closure)
{
    struct bus *bus = closure;
    (void)nc;
    (void)sub;
    natsMsg_Destroy(m);
    atomic_store(&bus->heard, true);
    /* Relaxed: a time stamp. */
    atomic_store_explicit(&bus->heard_ns, clock_now_ns(), memory_order_relaxed);
}

/* --- options -------------------------------------------------------------- */

static natsStatus set_callbacks(natsOptions *o, struct bus *bus)
{
    natsStatus s = natsOptions_SetDisconnectedCB(o, on_disconnected, bus);
    if (s == NATS_OK)
        s = natsOptions_SetReconnectedCB(o, on_reconnected, bus);
    if (s == NATS_OK)
        s = natsOptions_SetClosedCB(o, on_closed, bus);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(o, on_error, bus);
    return s;
}

static void name_beat(struct bus *bus)
{
    uint64_t id;
    rand_bytes(&id, sizeof(id));
    snprintf(bus->beat_subject, sizeof(bus->beat_subject), "%s.node.%016llx.hb",
             bus->cfg->nats.prefix, (unsigned long long)id);
    rand_init(&bus->rand, id);
}

int bus_init(struct bus *bus, const struct config *cfg, void (*wake)(void *),
             void *wake_arg, char *err, size_t errlen)
{
    bus->cfg = cfg;
    bus->wake = wake;
    bus->wake_arg = wake_arg;
    if (*cfg->nats.credentials && access(cfg->nats.credentials, R_OK) == -1) {
        snprintf(err, errlen, "nats.credentials: %s: %s", cfg->nats.credentials,
                 strerror(errno));
        return ERR_INVALID;
    }
    natsStatus s = options_make(cfg, &bus->options);
    if (s == NATS_OK)
        s = set_callbacks(bus->options, bus);
    if (s != NATS_OK) {
        snprintf(err, errlen, "nats: nats.c refuses the options: %s",
                 natsStatus_GetText(s));
        return ERR_INVALID;
    }
    name_beat(bus);
    if (natsStatistics_Create(&bus->stats) != NATS_OK)
        bus->stats = NULL;
    return 0;
}

void bus_fini(struct bus *bus)
{
    if (!bus->options)
        return; /* nats.c was never called */
    natsOptions_Destroy(bus->options);
    bus->options = NULL;
    natsStatistics_Destroy(bus->stats);
    bus->stats = NULL;
    natsStatus s = nats_CloseAndWait(FINI_MS);
    if (s != NATS_OK)
        log_warn("nats_close", "error=%s",
                 log_quote(str_of(natsStatus_GetText(s))));
}

/* --- connecting ----------------------------------------------------------- */

static void note_failure(struct bus *bus, natsStatus s)
{
    char bare[512];
    if (bus->told_away)
        return;
    bus->told_away = true;
    log_warn(
        "nats_unreachable", "url=%s reason=%s",
        log_quote(options_bare_url(bus->cfg->nats.url, bare, sizeof(bare))),
        log_quote(str_of(natsStatus_GetText(s))));
}

/* Several nodes that lost a server do not come back all at once. */
static void plan_attempt(struct bus *bus, uint64_t now_ms)
{
    uint64_t wait = (uint64_t)bus->cfg->nats.reconnect_wait_ms;
    bus->try_ms = now_ms + wait + rand_below(&bus->rand, wait + 1);
}

int bus_connect(struct bus *bus, uint64_t now_ms)
{
    if (bus->nc)
        return ERR_EXISTS;
    if (now_ms < bus->try_ms)
        return ERR_AGAIN;
    uint64_t before = atomic_load(&bus->state);
    natsConnection *nc = NULL;
    atomic_store(&bus->lost, 0);
    natsStatus s = natsConnection_Connect(&nc, bus->options);
    plan_attempt(bus, now_ms);
    if (s != NATS_OK) {
        note_failure(bus, s);
        return s == NATS_INVALID_ARG ? ERR_INVALID : ERR_AGAIN;
    }
    bus->nc = nc;
    bus->told_away = false;
    if (set_up(bus, before))
        note_up(bus, nc);
    return 0;
}

/* Leaves it NULL when nats.c refuses. */
static void subscribe_beat(struct bus *bus)
{
    natsSubscription *sub = NULL;
    if (!bus->beat && natsConnection_Subscribe(&sub, bus->nc, bus->beat_subject,
                                               on_beat, bus) == NATS_OK)
        bus->beat = sub;
}

static void on_complete(void *closure)
{
    struct bus *bus = closure;
    atomic_store(&bus->idle, true);
}

/* There is one delivery thread and it works in order, so the end of the last
 * subscription is the end of all. */
void bus_finish(struct bus *bus)
{
    uint64_t end_ns = clock_now_ns() + FINISH_MS * UINT64_C(1000000);
    atomic_store_explicit(&bus->ending, true, memory_order_release);
    if (!bus->nc)
        return;
    if (!bus->beat)
        subscribe_beat(bus);
    if (!bus->beat ||
        natsSubscription_SetOnCompleteCB(bus->beat, on_complete, bus) !=
            NATS_OK ||
        natsSubscription_Unsubscribe(bus->beat) != NATS_OK)
        return;
    while (!atomic_load(&bus->idle) && clock_now_ns() < end_ns)
        usleep(FINISH_LOOK_US);
}

void bus_close(struct bus *bus)
{
    natsConnection_Close(bus->nc);
    natsSubscription_Destroy(bus->beat);
    bus->beat = NULL;
}

void bus_drop(struct bus *bus)
{
    natsConnection_Destroy(bus->nc);
    bus->nc = NULL;
    atomic_store(&bus->closed, false);
}

static natsStatus wait_for_answer(struct bus *bus)
{
    return natsConnection_FlushTimeout(bus->nc, BUS_FLUSH_MS);
}

bool bus_flush(struct bus *bus)
{
    if (!bus->nc || !bus_is_up(bus))
        return false;
    natsStatus s = wait_for_answer(bus);
    if (s == NATS_OK)
        return true;
    atomic_store(&bus->stuck, true);
    /* Anything else is a lost connection, which says so itself. */
    if (s == NATS_TIMEOUT && !bus->told_stuck) {
        bus->told_stuck = true;
        log_warn("nats_not_answering", "waited_ms=%d", BUS_FLUSH_MS);
    }
    return false;
}

bool bus_settle(struct bus *bus)
{
    uint64_t now = atomic_load(&bus->gaps);
    if (now == atomic_load(&bus->settled))
        return true;
    if (!bus->nc || bus->frozen || !bus_flush(bus))
        return false;
    atomic_store(&bus->settled, now);
    return true;
}

/* Publications are refused while it is stuck: what is sent now may arrive,
 * but nobody would know. */
static void unstick(struct bus *bus)
{
    if (wait_for_answer(bus) != NATS_OK)
        return;
    atomic_store(&bus->stuck, false);
    if (bus->told_stuck)
        log_info("nats_answering", "connects=%llu",
                 (unsigned long long)atomic_load(&bus->connects));
    bus->told_stuck = false;
}

/* --- heartbeat ------------------------------------------------------------ */

static void judge_beats(struct bus *bus, uint64_t now_ms)
{
    uint64_t heard = clock_ns_to_ms(atomic_load(&bus->heard_ns));
    /* None ever: not permitted to hear it, perhaps. */
    bool silent =
        heard && is_connected(bus) && now_ms > heard + BEATS_MISSED * BEAT_MS;
    if (silent && !bus->frozen) {
        bus_note_gap(bus);
        log_warn("nats_frozen", "silent_ms=%llu",
                 (unsigned long long)(now_ms - heard));
    }
    bus->frozen = silent;
}

static void beat(struct bus *bus)
{
    subscribe_beat(bus);
    natsConnection_Publish(bus->nc, bus->beat_subject, NULL, 0);
}

int64_t bus_run(struct bus *bus, uint64_t now_ms)
{
    bool connected = bus->nc && is_connected(bus);
    if (now_ms >= bus->beat_ms) {
        bus->beat_ms = now_ms + BEAT_MS;
        judge_beats(bus, now_ms);
        if (connected)
            beat(bus);
    }
    if (connected && atomic_load(&bus->stuck)) {
        unstick(bus);
        return STUCK_PAUSE_MS;
    }
    return (int64_t)(bus->beat_ms - now_ms);
}
