#include "gateway/protocol/command.h"

#include "base/mem.h"

static const struct str kind_keys[] = {
#define ENTRY(kind, key) {key, sizeof(key) - 1},
    COMMAND_KINDS(ENTRY)
#undef ENTRY
};

static enum command_kind kind_of(struct str key)
{
    for (size_t i = 0; i < ARRAY_LEN(kind_keys); i++) {
        if (json_key_is(key, kind_keys[i]))
            return (enum command_kind)i;
    }
    return COMMAND_NONE;
}

int command_parse(struct str text, struct command *out)
{
    struct json_value v;
    struct str key;
    struct json_value member;
    if (json_parse(text, &v) < 0 || v.type != JSON_OBJECT)
        return ERR_INVALID;
    *out = (struct command){.kind = COMMAND_NONE};
    struct json_iter it = json_iter(v);
    while (json_next_member(&it, &key, &member)) {
        if (member.type == JSON_NULL)
            continue;
        if (json_key_is(key, STR_LIT("id"))) {
            if (json_u32(member, &out->id) < 0)
                return ERR_INVALID;
            continue;
        }
        enum command_kind kind = kind_of(key);
        if (kind == COMMAND_NONE)
            continue;
        if (member.type != JSON_OBJECT)
            return ERR_INVALID;
        if (kind <= out->kind) {
            out->kind = kind;
            out->body = member;
        }
    }
    return 0;
}

/* Fields nothing is done with yet still have their types. */
static bool has_wrong_type(struct str key, struct json_value v)
{
    static const struct {
        const char *name;
        enum json_type type; /* JSON_TRUE stands for both booleans */
    } fields[] = {
        {"name", JSON_STRING},
        {"version", JSON_STRING},
        {"join_leave", JSON_TRUE},
        {"headers", JSON_OBJECT},
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (!json_key_is(key, str_of(fields[i].name)))
            continue;
        if (fields[i].type == JSON_TRUE && v.type == JSON_FALSE)
            return false;
        return v.type != fields[i].type;
    }
    return false;
}

static int take_object(struct json_value v, struct json_value *out)
{
    if (v.type != JSON_OBJECT)
        return ERR_INVALID;
    *out = v;
    return 0;
}

static int take_limit(struct json_value v, int32_t *out)
{
    int64_t n;
    if (json_i64(v, &n) < 0 || n < INT32_MIN || n > INT32_MAX)
        return ERR_INVALID;
    *out = (int32_t)n;
    return 0;
}

/* {"offset":5,"epoch":"…"} of a history. */
static int take_since(struct json_value v, struct buf *strings,
                      struct command_fields *out)
{
    struct json_value member;
    if (v.type != JSON_OBJECT)
        return ERR_INVALID;
    out->has_since = true;
    if (json_member(v, STR_LIT("offset"), &member) &&
        member.type != JSON_NULL && json_u64(member, &out->offset) < 0)
        return ERR_INVALID;
    if (json_member(v, STR_LIT("epoch"), &member) && member.type != JSON_NULL)
        return json_text(member, strings, &out->epoch);
    return 0;
}

/* What subscriptions and histories say about positions. ERR_NOT_FOUND: it is
 * something else. */
static int take_position(struct str key, struct json_value v,
                         struct buf *strings, struct command_fields *out)
{
    if (json_key_is(key, STR_LIT("recover")))
        return json_bool(v, &out->recover);
    if (json_key_is(key, STR_LIT("positioned")))
        return json_bool(v, &out->positioned);
    if (json_key_is(key, STR_LIT("recoverable")))
        return json_bool(v, &out->recoverable);
    if (json_key_is(key, STR_LIT("reverse")))
        return json_bool(v, &out->reverse);
    if (json_key_is(key, STR_LIT("offset")))
        return json_u64(v, &out->offset);
    if (json_key_is(key, STR_LIT("epoch")))
        return json_text(v, strings, &out->epoch);
    if (json_key_is(key, STR_LIT("flag")))
        return json_i64(v, &out->flag);
    if (json_key_is(key, STR_LIT("limit")))
        return take_limit(v, &out->limit);
    if (json_key_is(key, STR_LIT("since")))
        return take_since(v, strings, out);
    return ERR_NOT_FOUND;
}

static int take_field(struct str key, struct json_value v, struct buf *strings,
                      struct command_fields *out)
{
    if (json_key_is(key, STR_LIT("data"))) {
        out->data = v.raw; /* null is a payload like any other */
        return 0;
    }
    if (v.type == JSON_NULL)
        return 0;
    if (json_key_is(key, STR_LIT("channel")))
        return json_text(v, strings, &out->channel);
    if (json_key_is(key, STR_LIT("token")))
        return json_text(v, strings, &out->token);
    if (json_key_is(key, STR_LIT("delta")))
        return json_text(v, strings, &out->delta);
    if (json_key_is(key, STR_LIT("method")))
        return json_text(v, strings, &out->method);
    if (json_key_is(key, STR_LIT("type")))
        return json_i64(v, &out->type);
    if (json_key_is(key, STR_LIT("subs")))
        return take_object(v, &out->subs);
    if (json_key_is(key, STR_LIT("tf")))
        return take_object(v, &out->filter);
    int rc = take_position(key, v, strings, out);
    if (rc != ERR_NOT_FOUND)
        return rc;
    return has_wrong_type(key, v) ? ERR_INVALID : 0;
}

int command_fields(struct json_value body, struct buf *strings,
                   struct command_fields *out)
{
    struct str key;
    struct json_value v;
    *out = (struct command_fields){
        .subs = {.type = JSON_NULL},
        .filter = {.type = JSON_NULL},
    };
    /* No decoded string is longer than the body: the slices stay put. */
    buf_reserve(strings, body.raw.n);
    struct json_iter it = json_iter(body);
    while (json_next_member(&it, &key, &v)) {
        if (take_field(key, v, strings, out) < 0)
            return ERR_INVALID;
    }
    return 0;
}
