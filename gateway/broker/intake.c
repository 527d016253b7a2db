#include "gateway/broker/intake.h"

#include <strings.h>

#include "base/clock.h"
#include "gateway/broker/sender.h"
#include "gateway/protocol/json.h"
#include "gateway/publish.h"

void intake_init(struct intake *in, const struct config *cfg)
{
    in->cfg = cfg;
}

void intake_fini(struct intake *in)
{
    buf_free(&in->channel);
    buf_free(&in->data);
    buf_free(&in->item);
}

/* Relaxed: the counters order nothing, and only one thread writes them. */
static void count(_Atomic uint64_t *counter)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + 1, memory_order_relaxed);
}

static bool has_newline(struct str s)
{
    return s.n && (memchr(s.p, '\n', s.n) || memchr(s.p, '\r', s.n));
}

/* Decide what goes out for a payload; false when nothing does. *data points
 * into the payload or into d->data. */
static bool read_payload(struct intake *in, const struct namespace_options *ns,
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
        buf_clear(&in->data);
        json_compact_newlines(&in->data, payload);
        parts->data = buf_view(&in->data);
        return true;
    }
    if (json || object || ns->non_json != NON_JSON_STRING)
        return false;
    buf_clear(&in->data);
    json_quote(&in->data, payload);
    parts->data = buf_view(&in->data);
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
static struct str read_header(struct intake *in, natsMsg *m, const char *key,
                              bool tags)
{
    const char *text = NULL;
    struct json_value v;
    uint64_t missed;
    if (natsMsgHeader_Get(m, key, &text) != NATS_OK || !text)
        return STR_LIT("");
    struct str s = str_of(text);
    if (s.n <= INTAKE_HEADER_MAX_BYTES && !has_newline(s) &&
        json_parse(s, &v) == 0 && v.type == JSON_OBJECT &&
        (!tags || is_tags(v)))
        return v.raw;
    if (log_limit_pass(&in->header_log, clock_now_ns(), &missed))
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

static void note_unmapped(struct intake *in, const char *subject)
{
    uint64_t missed;
    count(&in->unmapped);
    if (log_limit_pass(&in->unmapped_log, clock_now_ns(), &missed))
        log_warn("nats_subject_unmapped", "subject=%s missed=%llu",
                 log_quote(str_of(subject)), (unsigned long long)missed);
}

uint64_t intake_number(natsMsg *m, const char *header)
{
    const char *text = NULL;
    uint64_t n = 0;
    if (natsMsgHeader_Get(m, header, &text) != NATS_OK || !text)
        return 0;
    for (const char *p = text; *p; p++) {
        unsigned digit = (unsigned char)*p - (unsigned)'0';
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return 0;
        n = n * 10 + digit;
    }
    return n;
}

static bool is_marker(natsMsg *m)
{
    const char *text = NULL;
    return natsMsgHeader_Get(m, SENDER_REMOVED, &text) == NATS_OK && text &&
           strcmp(text, "true") == 0;
}

/* The bytes of the publication: 0, or ERR_INVALID when they are dropped. */
static int read_data(struct intake *in, const struct namespace_options *ns,
                     natsMsg *m, struct msg_parts *parts)
{
    struct str payload =
        str_n(natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m));
    if ((int64_t)payload.n > in->cfg->channel.max_publication_size) {
        count(&in->too_big);
        return ERR_INVALID;
    }
    if (!read_payload(in, ns, payload, parts)) {
        count(&in->not_json);
        return ERR_INVALID;
    }
    parts->tags = read_header(in, m, SENDER_TAGS, true);
    parts->info = read_header(in, m, SENDER_INFO, false);
    parts->urgent = is_urgent(m);
    publish_item(ns, parts->channel, parts->data, parts->is_json, &in->item,
                 parts);
    return 0;
}

int intake_read(struct intake *in, const struct subject_space *space,
                natsMsg *m, struct msg_parts *parts)
{
    const char *subject = natsMsg_GetSubject(m);
    buf_clear(&in->channel);
    if (subject_channel(space, str_of(subject),
                        (size_t)in->cfg->channel.max_length,
                        &in->channel) < 0) {
        note_unmapped(in, subject);
        return ERR_INVALID;
    }
    parts->channel = buf_view(&in->channel);
    parts->history = &space->ns->history;
    if (space->live.n && is_marker(m)) {
        parts->is_marker = true;
        return 0;
    }
    return read_data(in, space->ns, m, parts);
}
