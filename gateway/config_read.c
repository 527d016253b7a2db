#include "gateway/config_read.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"

void config_read_init(struct config_read *r, struct config *cfg,
                      const char *file, char *err, size_t errlen)
{
    *r = (struct config_read){.cfg = cfg, .file = file, .err = err};
    r->errlen = errlen;
    r->origin = mem_zalloc(config_schema_key_count * sizeof(*r->origin));
    for (size_t i = 0; i < config_schema_key_count; i++)
        config_value_default(&config_schema_keys[i], cfg);
    cfg->channel.without_namespace.name = mem_strndup("", 0);
}

void config_read_fini(struct config_read *r)
{
    free(r->origin);
    r->origin = NULL;
}

struct json_t *config_read_json(struct config_read *r, struct str text)
{
    json_error_t error;
    json_t *v = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES,
                           &error);
    if (v)
        return v;
    /* What is near the place may be part of a secret; a name is not. */
    char *near = strstr(error.text, " near '");
    if (near && json_error_code(&error) != json_error_duplicate_key)
        *near = '\0';
    (void)config_message(r, ":%d:%d: %s", error.line, error.column, error.text);
    return NULL;
}

static int read_key(struct config_read *r, const struct config_key *key,
                    const json_t *v)
{
    int rc = config_value_set(r, key, r->cfg, key->name, v);
    if (rc == 0)
        r->origin[key - config_schema_keys] = r->now;
    return rc;
}

static int read_section(struct config_read *r, const char *path, json_t *v)
{
    if (!json_is_object(v))
        return config_message_bad(r, NULL, path, v, "an object");
    return config_read_object(r, path, v);
}

static int read_member(struct config_read *r, const char *path, json_t *v)
{
    const struct config_key *key = config_schema_find(path);
    if (key)
        return read_key(r, key, v);
    if (config_schema_is_section(path))
        return read_section(r, path, v);
    return config_message_unknown(
        r, json_is_object(v) ? CONFIG_NEAR_SECTION : CONFIG_NEAR_KEY, path, v);
}

int config_read_object(struct config_read *r, const char *prefix,
                       struct json_t *object)
{
    struct buf path = BUF_INIT;
    const char *name;
    json_t *v;
    int rc = 0;
    json_object_foreach(object, name, v) {
        buf_clear(&path);
        buf_printf(&path, "%s%s%s", prefix, *prefix ? "." : "", name);
        buf_char(&path, '\0');
        if (strchr(name, '.'))
            rc = config_message_bad(r, NULL, path.p, v,
                                    "an object for every dot in the name");
        else
            rc = read_member(r, path.p, v);
        if (rc < 0)
            break;
    }
    buf_free(&path);
    return rc;
}

/* channel.without_namespace as a whole: what it does not name gets its
 * default back. */
static int read_without_namespace(struct config_read *r, const char *text)
{
    json_t *v = config_read_json(r, str_of(text));
    if (!v)
        return ERR_INVALID;
    const char *prefix = CONFIG_WITHOUT_NAMESPACE ".";
    for (size_t i = 0; i < config_schema_key_count; i++) {
        const struct config_key *key = &config_schema_keys[i];
        if (!str_starts(str_of(key->name), str_of(prefix)))
            continue;
        config_value_free(key, r->cfg);
        config_value_default(key, r->cfg);
        r->origin[i] = r->now;
    }
    int rc = read_section(r, CONFIG_WITHOUT_NAMESPACE, v);
    json_decref(v);
    return rc;
}

int config_read_text(struct config_read *r, const char *name, const char *text)
{
    if (strcmp(name, CONFIG_WITHOUT_NAMESPACE) == 0)
        return read_without_namespace(r, text);
    const struct config_key *key = config_schema_find(name);
    if (!key) {
        json_t *shown = json_stringn(text, strlen(text));
        int rc = config_message_unknown(r, CONFIG_NEAR_KEY, name, shown);
        json_decref(shown);
        return rc;
    }
    bool is_list = key->type == CONFIG_STRINGS && text[0] == '[';
    bool is_json = is_list || key->type == CONFIG_NAMESPACES;
    json_t *v = is_json ? config_read_json(r, str_of(text))
                        : config_value_from_text(key, text);
    if (!v && is_json)
        return ERR_INVALID;
    int rc = v ? read_key(r, key, v)
               : config_message_bad(r, key, name, NULL, "UTF-8");
    json_decref(v);
    return rc;
}
