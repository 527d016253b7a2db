#include "gateway/publish.h"

#include "gateway/protocol/codes.h"
#include "gateway/protocol/json.h"
#include "gateway/protocol/pointer.h"

bool publish_tags_valid(struct str tags)
{
    struct json_value v;
    struct str key;
    struct json_value item;
    if (json_parse(tags, &v) < 0 || v.type != JSON_OBJECT)
        return false;
    struct json_iter it = json_iter(v);
    while (json_next_member(&it, &key, &item)) {
        if (item.type != JSON_STRING)
            return false;
    }
    return true;
}

/* 0 or an error; *is_json says whether JSON clients can be given it. */
static uint32_t check_format(const struct namespace_options *o,
                             const struct publish_request *r, bool *is_json)
{
    struct json_value v;
    bool binary = o->publication_data_format == DATA_FORMAT_BINARY;
    if (r->data.n == 0)
        return ERROR_BAD_REQUEST;
    *is_json = r->data_is_json || json_parse(r->data, &v) == 0;
    if (binary)
        return 0;
    if (!*is_json)
        return ERROR_BAD_REQUEST;
    if (o->publication_data_format != DATA_FORMAT_JSON_OBJECT)
        return 0;
    if (json_parse(r->data, &v) < 0 || v.type != JSON_OBJECT)
        return ERROR_BAD_REQUEST;
    return 0;
}

static bool has_newline(struct str s)
{
    return s.n && (memchr(s.p, '\n', s.n) || memchr(s.p, '\r', s.n));
}

void publish_item(const struct namespace_options *o, struct str channel,
                  struct str data, bool is_json, struct buf *scratch,
                  struct msg_parts *parts)
{
    const struct throttle_policy *policy = &o->throttle;
    struct str key;
    parts->policy = policy;
    parts->history = &o->history;
    parts->item = 0;
    parts->keyless = false;
    if (policy->key.n == 0)
        return;
    buf_clear(scratch);
    if (is_json && pointer_item(policy->key, data, scratch, &key))
        parts->item = msg_item_hash(channel, key);
    else
        parts->keyless = true;
}

uint32_t publish_make(const struct config *cfg, struct msg_budget *budget,
                      const struct publish_request *r, struct msg **out)
{
    bool is_json;
    /* Tags count: they go out with every copy. */
    if (r->data.n + r->tags.n > (size_t)cfg->channel.max_publication_size)
        return ERROR_BAD_REQUEST;
    uint32_t error = check_format(r->channel->options, r, &is_json);
    if (error)
        return error;
    if (r->tags.n && !r->tags_are_valid && !publish_tags_valid(r->tags))
        return ERROR_BAD_REQUEST;
    struct buf data = BUF_INIT;
    struct buf tags = BUF_INIT;
    struct buf scratch = BUF_INIT;
    struct msg_parts parts = {
        .channel = r->channel->name.full,
        .data = r->data,
        .tags = r->tags,
        .info = r->info,
        .is_json = is_json,
        .urgent = r->urgent,
        .skip_history = r->skip_history,
        .born_ns = r->born_ns,
    };
    if (is_json && has_newline(r->data)) {
        json_compact_newlines(&data, r->data);
        parts.data = buf_view(&data);
    }
    if (has_newline(r->tags)) {
        json_compact_newlines(&tags, r->tags);
        parts.tags = buf_view(&tags);
    }
    publish_item(r->channel->options, parts.channel, parts.data, is_json,
                 &scratch, &parts);
    *out = msg_new(budget, &parts);
    buf_free(&scratch);
    buf_free(&data);
    buf_free(&tags);
    return *out ? 0 : ERROR_TOO_MANY_REQUESTS;
}
