#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/config_read.h"

/* A message is one line that fits a terminal and a log. */
#define SHOWN_VALUE_MAX 100
#define SHOWN_NAME_MAX 200

#define MASK "***"

static void put_source(struct config_read *r, struct config_origin origin,
                       struct buf *b)
{
    switch (origin.from) {
    case CONFIG_FROM_DEFAULT:
    case CONFIG_FROM_FILE:
        buf_str(b, str_of(r->file));
        break;
    case CONFIG_FROM_VARIABLE:
        buf_printf(b, "environment%s%.*s", *origin.entry ? " " : "",
                   (int)strcspn(origin.entry, "="), origin.entry);
        break;
    case CONFIG_FROM_CALLER:
        buf_lit(b, "command line");
        break;
    }
}

/* At most `max` bytes of `text`, not cut inside a UTF-8 sequence. */
static void put_clipped(struct buf *b, const char *text, size_t max)
{
    size_t n = strlen(text);
    if (n <= max) {
        buf_add(b, text, n);
        return;
    }
    n = max;
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    buf_add(b, text, n);
    buf_lit(b, "...");
}

static void put_dump(struct buf *b, const json_t *v, size_t max)
{
    char *text =
        v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | CONFIG_REALS) : NULL;
    put_clipped(b, text ? text : "(not UTF-8)", max);
    free(text);
}

/* In quotes, so that whatever a name holds stays on the line. */
static void put_name(struct buf *b, const char *name)
{
    json_t *v = json_stringn(name, strlen(name));
    put_dump(b, v, SHOWN_NAME_MAX);
    json_decref(v);
}

/* The user and password of a URL end at its last @. */
static void put_url(struct buf *b, const char *url)
{
    const char *at = strrchr(url, '@');
    const char *scheme = strstr(url, "://");
    struct buf masked = BUF_INIT;
    if (at && scheme && scheme < at)
        buf_add(&masked, url, (size_t)(scheme + 3 - url));
    if (at)
        buf_lit(&masked, MASK);
    buf_str(&masked, str_of(at ? at : url));
    json_t *v = json_stringn(masked.p, masked.n);
    put_dump(b, v, SHOWN_VALUE_MAX);
    json_decref(v);
    buf_free(&masked);
}

static void put_value(struct buf *b, const json_t *v, unsigned flags)
{
    if (json_is_object(v))
        buf_lit(b, "{...}");
    else if (json_is_array(v))
        buf_lit(b, "[...]");
    else if (flags & CONFIG_SECRET)
        buf_lit(b, MASK);
    else if ((flags & CONFIG_URL) && json_is_string(v))
        put_url(b, json_string_value(v));
    else
        put_dump(b, v, SHOWN_VALUE_MAX);
}

static int finish(struct config_read *r, struct buf *b)
{
    if (r->errlen)
        snprintf(r->err, r->errlen, "%.*s", (int)b->n, b->p);
    buf_free(b);
    return ERR_INVALID;
}

static void put_format(struct buf *b, const char *fmt, va_list ap)
{
    char *text = NULL;
    CHECK(vasprintf(&text, fmt, ap) >= 0);
    buf_str(b, str_of(text));
    free(text);
}

/* Where the value in question was read: now, or when its key was set. */
static struct config_origin origin_of(const struct config_read *r,
                                      const struct config_key *key)
{
    if (r->now.from == CONFIG_FROM_DEFAULT && key &&
        config_schema_find(key->name) == key)
        return r->origin[key - config_schema_keys];
    return r->now;
}

static int bad(struct config_read *r, const struct config_key *key,
               const char *path, const json_t *v, struct buf *want)
{
    struct config_origin origin = origin_of(r, key);
    struct buf b = BUF_INIT;
    put_source(r, origin, &b);
    buf_lit(&b, ": key ");
    put_name(&b, path);
    buf_lit(&b, " has value ");
    put_value(&b, v, key ? key->flags : 0);
    if (origin.from == CONFIG_FROM_DEFAULT)
        buf_lit(&b, " (the default)");
    buf_lit(&b, "; want ");
    buf_str(&b, buf_view(want));
    buf_free(want);
    return finish(r, &b);
}

int config_message_bad(struct config_read *r, const struct config_key *key,
                       const char *path, const struct json_t *v,
                       const char *want, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;
    va_start(ap, want);
    put_format(&text, want, ap);
    va_end(ap);
    return bad(r, key, path, v, &text);
}

int config_message_field(struct config_read *r, const struct config_key *key,
                         const char *want, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;
    va_start(ap, want);
    put_format(&text, want, ap);
    va_end(ap);
    json_t *v = config_value_json(key, r->cfg, false);
    int rc = bad(r, key, key->name, v, &text);
    json_decref(v);
    return rc;
}

/* A misspelt secret is still a secret. */
static bool looks_secret(const char *path, const char *nearest)
{
    static const char *const words[] = {"key",        "password", "secret",
                                        "credential", "token",    "pass"};
    const struct config_key *key = config_schema_find(nearest);
    if (key && (key->flags & CONFIG_SECRET))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasestr(path, words[i]) || strcasestr(nearest, words[i]))
            return true;
    return false;
}

int config_message_unknown(struct config_read *r, enum config_near among,
                           const char *path, const struct json_t *v)
{
    char nearest[CONFIG_NAME_MAX];
    const char *item = strstr(path, "].");
    bool in_list = among == CONFIG_NEAR_OPTION && item;
    config_schema_nearest(among, in_list ? item + 2 : path, nearest);
    bool is_secret = !json_is_boolean(v) && looks_secret(path, nearest);
    struct buf b = BUF_INIT;
    put_source(r, r->now, &b);
    buf_lit(&b, ": unknown ");
    buf_str(&b, str_of(among == CONFIG_NEAR_VARIABLE ? "variable " : "key "));
    put_name(&b, path);
    buf_lit(&b, " (value ");
    put_value(&b, v, is_secret ? CONFIG_SECRET : CONFIG_URL);
    buf_lit(&b, "); did you mean ");
    put_name(&b, nearest);
    buf_char(&b, '?');
    return finish(r, &b);
}

int config_message(struct config_read *r, const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    put_source(r, r->now, &b);
    va_list ap;
    va_start(ap, fmt);
    put_format(&b, fmt, ap);
    va_end(ap);
    return finish(r, &b);
}
