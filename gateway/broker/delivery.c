#include "gateway/broker/delivery.h"

#include <sched.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/home.h"

void delivery_init(struct delivery *d, const struct config *cfg,
                   struct hub *hub)
{
    d->cfg = cfg;
    d->hub = hub;
    intake_init(&d->intake, cfg);
    subject_map_init(&d->map, cfg);
    d->ports = mem_zalloc(d->map.count * sizeof(*d->ports));
    for (size_t i = 0; i < d->map.count; i++)
        d->ports[i] =
            (struct delivery_port){.delivery = d, .space = &d->map.spaces[i]};
}

/* natsMsg_Destroy wakes a thread of nats.c's that frees: a context switch for
 * each message of a calm stream. Many at once cost one. */
static void destroy_done(struct delivery *d)
{
    for (size_t i = 0; i < d->done_count; i++)
        natsMsg_Destroy(d->done[i]);
    d->done_count = 0;
    d->done_bytes = 0;
}

static void put_done(struct delivery *d, natsMsg *m)
{
    d->done[d->done_count++] = m;
    d->done_bytes += (size_t)natsMsg_GetDataLength(m);
    if (d->done_count == DELIVERY_DONE_MAX ||
        d->done_bytes > DELIVERY_DONE_MAX_BYTES)
        destroy_done(d);
}

void delivery_stop(struct delivery *d)
{
    atomic_store(&d->ending, true);
    while (atomic_load(&d->busy))
        sched_yield();
    destroy_done(d);
}

void delivery_fini(struct delivery *d)
{
    intake_fini(&d->intake);
    free(d->ports);
    d->ports = NULL;
    subject_map_fini(&d->map);
}

void delivery_set_streams(struct delivery *d, struct streams *streams,
                          struct bus *bus)
{
    d->streams = streams;
    d->bus = bus;
    for (size_t i = 0; i < d->map.count; i++) {
        d->ports[i].stream = stream_of(streams, d->ports[i].space);
        d->ports[i].is_live = d->ports[i].stream != NULL;
    }
}

struct delivery_port *delivery_port(struct delivery *d,
                                    const struct subject_space *s)
{
    return &d->ports[s - d->map.spaces];
}

/* Relaxed everywhere: the counters order nothing. Only the delivery thread
 * writes them. */
static void count(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

/* What the stream republishes says where it stands; what does not was never
 * stored. */
static void read_place(const struct delivery_port *port, natsMsg *m,
                       struct msg_parts *parts)
{
    struct stream *s = port->stream;
    parts->offset = intake_number(m, DELIVERY_SEQUENCE);
    if (parts->offset == 0) {
        parts->skip_history = true;
        return;
    }
    parts->prev = intake_number(m, DELIVERY_LAST_SEQUENCE);
    parts->epoch = atomic_load_explicit(&s->epoch, memory_order_relaxed);
    /* Streams only grow: this is another one. */
    if (parts->offset <= s->last_seen)
        streams_poke(port->delivery->streams);
    s->last_seen = parts->offset;
}

/* The SUB of a feed may have changed since it was sent. */
static bool is_place(const struct delivery_port *port, natsMsg *m)
{
    return port->stream &&
           subject_is_live(port->space, str_of(natsMsg_GetSubject(m)));
}

static void post(struct delivery *d, natsConnection *nc,
                 struct msg_parts *parts)
{
    /* Only without a predecessor does the count decide alone. */
    bool alone = parts->offset && parts->prev == 0;
    if (d->bus)
        parts->gap = bus_gaps(d->bus, alone ? nc : NULL);
    struct msg *out = msg_new(&d->hub->budget, parts);
    if (out) {
        home_post(d->hub, out);
        return;
    }
    count(&d->over_budget, 1);
    if (parts->offset || parts->history->tell_gaps)
        bus_note_gap(d->bus);
}

static void count_message(struct delivery *d, const natsMsg *m)
{
    count(&d->messages, 1);
    count(&d->bytes, (uint64_t)natsMsg_GetDataLength(m));
}

void delivery_take(const struct delivery_port *port, natsMsg *m,
                   struct msg_parts *parts)
{
    struct delivery *d = port->delivery;
    count_message(d, m);
    if (intake_read(&d->intake, port->space, m, parts) == 0)
        post(d, NULL, parts);
}

static void deliver(const struct delivery_port *port, natsConnection *nc,
                    natsMsg *m)
{
    struct delivery *d = port->delivery;
    struct msg_parts parts = {.born_ns = clock_now_ns()};
    count_message(d, m);
    bool placed = is_place(port, m);
    if (intake_read(&d->intake, port->space, m, &parts) < 0)
        return;
    if (placed)
        read_place(port, m, &parts);
    /* A followed stream's consumer brings it, with its place. */
    if (placed && parts.offset && stream_state(port->stream) != STREAM_LIVE)
        return;
    post(d, nc, &parts);
}

bool delivery_enter(struct delivery *d)
{
    atomic_store(&d->busy, true);
    return !atomic_load(&d->ending);
}

/* Release: what was done is visible to delivery_stop. */
void delivery_leave(struct delivery *d)
{
    atomic_store_explicit(&d->busy, false, memory_order_release);
}

void delivery_on_message(natsConnection *nc, natsSubscription *sub, natsMsg *m,
                         void *closure)
{
    const struct delivery_port *port = closure;
    (void)sub;
    if (delivery_enter(port->delivery)) {
        deliver(port, nc, m);
        put_done(port->delivery, m);
    } else {
        natsMsg_Destroy(m);
    }
    delivery_leave(port->delivery);
}
