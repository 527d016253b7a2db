#include "gateway/broker/delivery.h"

#include <sched.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/broker/sender.h"
#include "gateway/protocol/json.h"
#include "gateway/publish.h"
#include "hub/home.h"

void delivery_init(struct delivery *d, const struct config *cfg,
                   struct hub *hub)
{
    d->cfg = cfg;
    d->hub = hub;
    subject_map_init(&d->map, cfg);
    d->ports = mem_zalloc(d->map.count * sizeof(*d->ports));
    for (size_t i = 0; i < d->map.count; i++)
        d->ports[i] = (struct delivery_port){d, &d->map.spaces[i]};
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
    buf_free(&d->channel);
    buf_free(&d->data);
    buf_free(&d->item);
    free(d->ports);
    d->ports = NULL;
    subject_map_fini(&d->map);
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

static bool has_newline(struct str s)
{
    return s.n && (memchr(s.p, '\n', s.n) || memchr(s.p, '\r', s.n));
}

/* Decide what goes out for a payload; false when nothing does. *data points
 * into the payload or into d->data. */
static bool read_payload(struct delivery *d, const struct namespace_options *ns,
                         struct str payload, struct msg_parts *parts)
{
    struct json_value v;
    bool json = json_parse(payload, &v) == 0;
    parts->data = payload;
    parts->is_json = true;
    if (ns->publication_data_format == DATA_FORMAT_BINARY) {
        parts->is_json = json && !has_newline(payload);
        return true;
    }
    bool object = ns->publication_data_format == DATA_FORMAT_JSON_OBJECT;
    if (json && (!object || v.type == JSON_OBJECT)) {
        if (!has_newline(payload))
            return true;
        buf_clear(&d->data);
        json_compact_newlines(&d->data, payload);
        parts->data = buf_view(&d->data);
        return true;
    }
    if (json || object || ns->non_json != NON_JSON_STRING)
        return false;
    buf_clear(&d->data);
    json_quote(&d->data, payload);
    parts->data = buf_view(&d->data);
    return true;
}

static bool is_tags(struct json_value v)
{
    struct str key;
    struct json_value value;
    struct json_iter it = json_iter(v);
    while (json_next_member(&it, &key, &value))
        if (value.type != JSON_STRING)
            return false;
    return true;
}

/* The JSON object in a header; empty without one, or when it is not what it
 * should be: headers are anybody's. The library owns the bytes. */
static struct str read_header(struct delivery *d, natsMsg *m, const char *key,
                              bool tags)
{
    const char *text = NULL;
    struct json_value v;
    uint64_t missed;
    if (natsMsgHeader_Get(m, key, &text) != NATS_OK || !text)
        return STR_LIT("");
    struct str s = str_of(text);
    if (s.n <= DELIVERY_HEADER_MAX_BYTES && !has_newline(s) &&
        json_parse(s, &v) == 0 && v.type == JSON_OBJECT &&
        (!tags || is_tags(v)))
        return v.raw;
    if (log_limit_pass(&d->header_log, clock_now_ns(), &missed))
        log_warn("nats_header_ignored", "header=%s subject=%s missed=%llu", key,
                 log_quote(str_of(natsMsg_GetSubject(m))),
                 (unsigned long long)missed);
    return STR_LIT("");
}

/* Anything but yes is no: it is no reason to lose a publication. */
static bool is_urgent(natsMsg *m)
{
    const char *text = NULL;
    if (natsMsgHeader_Get(m, SENDER_URGENT, &text) != NATS_OK || !text)
        return false;
    return strcmp(text, "1") == 0 || strcasecmp(text, "true") == 0;
}

static void note_unmapped(struct delivery *d, const char *subject)
{
    uint64_t missed;
    count(&d->unmapped, 1);
    if (log_limit_pass(&d->unmapped_log, clock_now_ns(), &missed))
        log_warn("nats_subject_unmapped", "subject=%s missed=%llu",
                 log_quote(str_of(subject)), (unsigned long long)missed);
}

static void deliver(const struct delivery_port *port, natsMsg *m)
{
    struct delivery *d = port->delivery;
    const char *subject = natsMsg_GetSubject(m);
    struct str payload =
        str_n(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m));
    struct msg_parts parts = {.born_ns = clock_now_ns()};

    count(&d->messages, 1);
    count(&d->bytes, payload.n);
    buf_clear(&d->channel);
    if (subject_channel(port->space, str_of(subject),
                        (size_t)d->cfg->channel.max_length, &d->channel) < 0) {
        note_unmapped(d, subject);
        return;
    }
    if ((int64_t)payload.n > d->cfg->channel.max_publication_size) {
        count(&d->too_big, 1);
        return;
    }
    if (!read_payload(d, port->space->ns, payload, &parts)) {
        count(&d->not_json, 1);
        return;
    }
    parts.channel = buf_view(&d->channel);
    parts.tags = read_header(d, m, SENDER_TAGS, true);
    parts.info = read_header(d, m, SENDER_INFO, false);
    parts.urgent = is_urgent(m);
    publish_item(port->space->ns, parts.channel, parts.data, parts.is_json,
                 &d->item, &parts);
    struct msg *out = msg_new(&d->hub->budget, &parts);
    if (!out) {
        count(&d->over_budget, 1);
        return;
    }
    home_post(d->hub, out);
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
    (void)nc;
    (void)sub;
    if (delivery_enter(port->delivery)) {
        deliver(port, m);
        put_done(port->delivery, m);
    } else {
        natsMsg_Destroy(m);
    }
    delivery_leave(port->delivery);
}
