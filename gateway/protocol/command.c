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
        {"name", JSON_STRING},     {"version", JSON_STRING},
        {"epoch", JSON_STRING},    {"recover", JSON_TRUE},
        {"positioned", JSON_TRUE}, {"recoverable", JSON_TRUE},
        {"join_leave", JSON_TRUE}, {"offset", JSON_NUMBER},
        {"flag", JSON_NUMBER},     {"limit", JSON_NUMBER},
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
