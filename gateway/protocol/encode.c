#include "gateway/protocol/encode.h"

#include "gateway/auth/base64.h"
#include "gateway/protocol/codes.h"
#include "gateway/protocol/event_id.h"
#include "gateway/protocol/json.h"
#include "gateway/protocol/merge.h"
#include "gateway/transport/wire.h"

/* Publications joined into one WebSocket frame, as the reference does. */
#define JOIN_MAX 16

void encode_error(struct buf *to, uint32_t error)
{
    const struct error_info *e = error_info(error);
    buf_lit(to, "{\"code\":");
    buf_u64(to, e->code);
    buf_lit(to, ",\"message\":\"");
    buf_str(to, e->message);
    buf_char(to, '"');
    if (e->temporary)
        buf_lit(to, ",\"temporary\":true");
    buf_char(to, '}');
}

static void begin_reply(struct buf *to, uint32_t id, struct str name)
{
    buf_lit(to, "{\"id\":");
    buf_u64(to, id);
    buf_lit(to, ",\"");
    buf_str(to, name);
    buf_lit(to, "\":");
}

void encode_error_reply(struct buf *to, uint32_t id, uint32_t error)
{
    begin_reply(to, id, STR_LIT("error"));
    encode_error(to, error);
    buf_char(to, '}');
}

void encode_empty_reply(struct buf *to, uint32_t id, struct str name)
{
    begin_reply(to, id, name);
    buf_lit(to, "{}}");
}

void encode_connect(struct buf *to, const struct connect_result *r)
{
    buf_lit(to, "{\"client\":\"");
    buf_str(to, r->client);
    buf_lit(to, "\",\"version\":\"weir " WEIR_VERSION "\"");
    if (r->subs.n) {
        buf_lit(to, ",\"subs\":{");
        buf_str(to, r->subs);
        buf_char(to, '}');
    }
    if (r->ping_s) {
        buf_lit(to, ",\"ping\":");
        buf_u64(to, r->ping_s);
    }
    if (r->pong)
        buf_lit(to, ",\"pong\":true");
    if (r->session.n) {
        buf_lit(to, ",\"session\":\"");
        buf_str(to, r->session);
        buf_char(to, '"');
    }
    buf_char(to, '}');
}

void encode_push(struct buf *to, bool uni, struct str channel, struct str name,
                 struct str body)
{
    if (!uni)
        buf_lit(to, "{\"push\":");
    buf_char(to, '{');
    if (channel.n) {
        buf_lit(to, "\"channel\":");
        json_quote(to, channel);
        buf_char(to, ',');
    }
    buf_char(to, '"');
    buf_str(to, name);
    buf_lit(to, "\":");
    buf_str(to, body);
    buf_char(to, '}');
    if (!uni)
        buf_char(to, '}');
}

void encode_code_reason(struct buf *to, uint32_t code, struct str reason)
{
    buf_lit(to, "{\"code\":");
    buf_u64(to, code);
    buf_lit(to, ",\"reason\":");
    json_quote(to, reason);
    buf_char(to, '}');
}

void encode_client_info(struct buf *to, struct str user, struct str client)
{
    buf_lit(to, "{\"user\":");
    json_quote(to, user);
    buf_lit(to, ",\"client\":\"");
    buf_str(to, client);
    buf_lit(to, "\"}");
}

/* Will tags of ours go out with it? Mostly not, and then the publisher's are
 * copied without a look at them. */
static bool has_marks(const struct codec_pub *p)
{
    return p->annotate || p->lost;
}

/* Is this tag's name one that we use for this delivery? */
static bool is_ours(struct str key, bool has_channel, const struct codec_pub *p)
{
    if (has_channel && json_key_is(key, STR_LIT("channel")))
        return true;
    if (p->annotate &&
        (json_key_is(key, STR_LIT("n")) || json_key_is(key, STR_LIT("age_ms"))))
        return true;
    return has_marks(p) && json_key_is(key, STR_LIT("lost"));
}

/* The publisher's tags but those of our names, each with a comma. */
static void encode_other_tags(struct buf *to, const struct codec_pub *p,
                              bool has_channel)
{
    struct str tags = msg_tags(p->msg);
    struct json_value object;
    struct json_value value;
    struct str key;
    if (tags.n == 0 || json_parse(tags, &object) < 0)
        return;
    struct json_iter it = json_iter(object);
    while (json_next_member(&it, &key, &value)) {
        if (is_ours(key, has_channel, p))
            continue;
        buf_str(to, key);
        buf_char(to, ':');
        buf_str(to, value.raw);
        buf_char(to, ',');
    }
}

/* "name":"123", with its comma. */
static void encode_number_tag(struct buf *to, struct str name, uint32_t v)
{
    buf_char(to, '"');
    buf_str(to, name);
    buf_lit(to, "\":\"");
    buf_u64(to, v);
    buf_lit(to, "\",");
}

/* The publication's tags; a pattern's subscribers find the concrete channel
 * there too, because today's SDKs do not show pub.channel. */
static void encode_tags(struct buf *to, const struct codec_pub *p,
                        struct str concrete)
{
    struct str tags = msg_tags(p->msg);
    if (tags.n == 0 && concrete.n == 0 && !has_marks(p))
        return;
    buf_lit(to, ",\"tags\":");
    if (concrete.n == 0 && !has_marks(p)) {
        buf_str(to, tags);
        return;
    }
    buf_char(to, '{');
    encode_other_tags(to, p, concrete.n > 0);
    if (p->annotate) {
        encode_number_tag(to, STR_LIT("n"), p->n);
        encode_number_tag(to, STR_LIT("age_ms"), p->age_ms);
    }
    if (p->lost)
        encode_number_tag(to, STR_LIT("lost"), p->lost);
    if (concrete.n) {
        buf_lit(to, "\"channel\":");
        json_quote(to, concrete);
    } else {
        to->n--; /* the last comma */
    }
    buf_char(to, '}');
}

static void encode_info(struct buf *to, struct str info)
{
    if (info.n == 0)
        return;
    buf_lit(to, ",\"info\":");
    buf_str(to, info);
}

void encode_epoch(struct buf *to, uint64_t epoch)
{
    char text[POSITION_EPOCH_LEN];
    position_epoch_format(epoch, text);
    buf_lit(to, "\"epoch\":\"");
    buf_add(to, text, sizeof(text));
    buf_char(to, '"');
}

/* Where the stream stands after it. The first publication of all names the
 * epoch too: who subscribed to an empty stream learns it. */
static void encode_position(struct buf *to, const struct codec_pub *p)
{
    if (p->offset == 0)
        return;
    buf_lit(to, ",\"offset\":");
    buf_u64(to, p->offset);
    if (p->offset == 1) {
        buf_char(to, ',');
        encode_epoch(to, p->msg->epoch);
    }
}

/* "data":…; what is not JSON is never pushed, but the API is told it. */
static void encode_data(struct buf *to, const struct msg *m)
{
    if (m->is_json) {
        buf_lit(to, "\"data\":");
        buf_str(to, msg_data(m));
        return;
    }
    buf_lit(to, "\"b64data\":\"");
    base64_encode(to, msg_data(m));
    buf_char(to, '"');
}

/* {"data":…,"info":…,"offset":…,"tags":…}, and the channel behind a pattern. */
static void encode_pub(struct buf *to, bool is_pattern,
                       const struct codec_pub *p)
{
    const struct msg *m = p->msg;
    buf_char(to, '{');
    encode_data(to, m);
    encode_info(to, msg_info(m));
    if (!is_pattern)
        encode_position(to, p);
    encode_tags(to, p, is_pattern ? msg_channel(m) : STR_LIT(""));
    if (is_pattern) {
        buf_lit(to, ",\"channel\":");
        json_quote(to, msg_channel(m));
    }
    buf_char(to, '}');
}

/* {"channel":"topic","pub":{…}} */
static void encode_publication(struct buf *to, struct str topic,
                               bool is_pattern, const struct codec_pub *p)
{
    buf_lit(to, "{\"channel\":");
    json_quote(to, topic);
    buf_lit(to, ",\"pub\":");
    encode_pub(to, is_pattern, p);
    buf_char(to, '}');
}

void encode_snapshot(struct buf *to, bool is_pattern,
                     const struct codec_pub *pubs, size_t count)
{
    buf_char(to, '[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_char(to, ',');
        encode_pub(to, is_pattern, &pubs[i]);
    }
    buf_char(to, ']');
}

void encode_history(struct buf *to, struct position at, struct msg *const *msgs,
                    uint32_t count)
{
    buf_lit(to, "{\"publications\":[");
    for (uint32_t i = 0; i < count; i++) {
        struct codec_pub p = {.msg = msgs[i], .offset = msgs[i]->offset};
        if (i)
            buf_char(to, ',');
        encode_pub(to, false, &p);
    }
    buf_lit(to, "],");
    encode_epoch(to, at.epoch);
    buf_lit(to, ",\"offset\":");
    buf_u64(to, at.offset);
    buf_char(to, '}');
}

void encode_throttle_grant(struct buf *to, struct throttle_grant g,
                           bool tell_no_snapshot)
{
    char rate[THROTTLE_RATE_TEXT];
    size_t n = throttle_rate_format(g.rate, rate);
    buf_lit(to, "{\"rate\":");
    buf_add(to, rate, n);
    buf_lit(to, ",\"mode\":\"");
    buf_str(to, throttle_mode_name((enum throttle_mode)g.mode));
    buf_char(to, '"');
    if (tell_no_snapshot)
        buf_lit(to, ",\"snapshot\":false");
    buf_char(to, '}');
}

static void encode_ws(struct buf *to, struct str topic, bool is_pattern,
                      const struct codec_pub *pubs, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t mark = wire_ws_begin(to);
        for (size_t joined = 0; i < count && joined < JOIN_MAX; joined++, i++) {
            if (joined)
                buf_char(to, '\n');
            buf_lit(to, "{\"push\":");
            encode_publication(to, topic, is_pattern, &pubs[i]);
            buf_char(to, '}');
        }
        wire_ws_end(to, mark);
    }
}

static void encode_sse_event(struct buf *to, const struct codec_pub *p)
{
    const struct msg *m = p->msg;
    buf_lit(to, "{\"channel\":");
    json_quote(to, msg_channel(m));
    buf_lit(to, ",\"data\":");
    buf_str(to, msg_data(m));
    encode_info(to, msg_info(m));
    encode_tags(to, p, STR_LIT(""));
    buf_char(to, '}');
}

static void encode_event_id(struct buf *to, struct position at)
{
    char text[EVENT_ID_ONE_MAX_BYTES];
    size_t n = event_id_write_one(text, at);
    buf_lit(to, "id: ");
    buf_add(to, text, n);
    buf_char(to, '\n');
}

static void encode_events(struct buf *to, enum encoding encoding,
                          struct str topic, bool is_pattern,
                          const struct codec_pub *pubs, size_t count)
{
    bool has_id =
        encoding == ENCODING_SSE_ID || encoding == ENCODING_SSE_RAW_ID;
    bool is_bare =
        encoding == ENCODING_SSE_RAW || encoding == ENCODING_SSE_RAW_ID;
    for (size_t i = 0; i < count; i++) {
        if (has_id && !is_pattern && pubs[i].offset)
            encode_event_id(
                to, (struct position){pubs[i].msg->epoch, pubs[i].offset});
        buf_lit(to, "data: ");
        if (encoding == ENCODING_UNI_SSE)
            encode_publication(to, topic, is_pattern, &pubs[i]);
        else if (!is_bare)
            encode_sse_event(to, &pubs[i]);
        else
            buf_str(to, msg_data(pubs[i].msg));
        buf_lit(to, "\n\n");
    }
}

static void encode_batch(struct buf *to, enum encoding encoding,
                         struct str topic, bool is_pattern,
                         const struct codec_pub *pubs, size_t count)
{
    if (encoding == ENCODING_WS_JSON)
        encode_ws(to, topic, is_pattern, pubs, count);
    else
        encode_events(to, encoding, topic, is_pattern, pubs, count);
}

const struct codec encode_codec = {
    .encode = encode_batch,
    .merge = merge_patch,
};
