#include "gateway/protocol/encode.h"

#include "gateway/protocol/codes.h"
#include "gateway/protocol/json.h"
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

/* The publisher's tags but one called `channel`, each with a comma. */
static void encode_other_tags(struct buf *to, struct str tags)
{
    struct json_value object;
    struct json_value value;
    struct str key;
    if (tags.n == 0 || json_parse(tags, &object) < 0)
        return;
    struct json_iter it = json_iter(object);
    while (json_next_member(&it, &key, &value)) {
        if (json_key_is(key, STR_LIT("channel")))
            continue;
        buf_str(to, key);
        buf_char(to, ':');
        buf_str(to, value.raw);
        buf_char(to, ',');
    }
}

/* The publication's tags; a pattern's subscribers find the concrete channel
 * there too, because today's SDKs do not show pub.channel. */
static void encode_tags(struct buf *to, struct str tags, struct str concrete)
{
    if (tags.n == 0 && concrete.n == 0)
        return;
    buf_lit(to, ",\"tags\":");
    if (concrete.n == 0) {
        buf_str(to, tags);
        return;
    }
    buf_char(to, '{');
    encode_other_tags(to, tags);
    buf_lit(to, "\"channel\":");
    json_quote(to, concrete);
    buf_char(to, '}');
}

static void encode_info(struct buf *to, struct str info)
{
    if (info.n == 0)
        return;
    buf_lit(to, ",\"info\":");
    buf_str(to, info);
}

/* {"channel":"topic","pub":{…}} */
static void encode_publication(struct buf *to, struct str topic,
                               bool is_pattern, const struct msg *m)
{
    buf_lit(to, "{\"channel\":");
    json_quote(to, topic);
    buf_lit(to, ",\"pub\":{\"data\":");
    buf_str(to, msg_data(m));
    encode_info(to, msg_info(m));
    encode_tags(to, msg_tags(m), is_pattern ? msg_channel(m) : STR_LIT(""));
    if (is_pattern) {
        buf_lit(to, ",\"channel\":");
        json_quote(to, msg_channel(m));
    }
    buf_lit(to, "}}");
}

static void encode_ws(struct buf *to, struct str topic, bool is_pattern,
                      struct msg *const *msgs, size_t count)
{
    for (size_t i = 0; i < count;) {
        size_t mark = wire_ws_begin(to);
        for (size_t joined = 0; i < count && joined < JOIN_MAX; joined++, i++) {
            if (joined)
                buf_char(to, '\n');
            buf_lit(to, "{\"push\":");
            encode_publication(to, topic, is_pattern, msgs[i]);
            buf_char(to, '}');
        }
        wire_ws_end(to, mark);
    }
}

static void encode_sse_event(struct buf *to, const struct msg *m)
{
    buf_lit(to, "{\"channel\":");
    json_quote(to, msg_channel(m));
    buf_lit(to, ",\"data\":");
    buf_str(to, msg_data(m));
    encode_info(to, msg_info(m));
    encode_tags(to, msg_tags(m), STR_LIT(""));
    buf_char(to, '}');
}

static void encode_events(struct buf *to, enum encoding encoding,
                          struct str topic, bool is_pattern,
                          struct msg *const *msgs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_lit(to, "data: ");
        if (encoding == ENCODING_UNI_SSE)
            encode_publication(to, topic, is_pattern, msgs[i]);
        else if (encoding == ENCODING_SSE)
            encode_sse_event(to, msgs[i]);
        else
            buf_str(to, msg_data(msgs[i]));
        buf_lit(to, "\n\n");
    }
}

static void encode_batch(struct buf *to, enum encoding encoding,
                         struct str topic, bool is_pattern,
                         struct msg *const *msgs, size_t count)
{
    if (encoding == ENCODING_WS_JSON)
        encode_ws(to, topic, is_pattern, msgs, count);
    else
        encode_events(to, encoding, topic, is_pattern, msgs, count);
}

const struct codec encode_codec = {encode_batch};
