#include "gateway/config.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/config_read.h"

#define FILE_MAX_BYTES (16 << 20)

static int read_file_text(struct config_read *r, struct str text)
{
    r->now = (struct config_origin){CONFIG_FROM_FILE, NULL};
    json_t *root = config_read_json(r, text);
    if (!root)
        return ERR_INVALID;
    int rc = json_is_object(root)
                 ? config_read_object(r, "", root)
                 : config_message(r, ": has an array; want an object");
    json_decref(root);
    return rc;
}

/* `text` NULL: no file. */
static struct config *load(struct config_read *r, const struct str *text,
                           char *const *env)
{
    int rc = text ? read_file_text(r, *text) : 0;
    if (rc == 0)
        rc = config_env_read(r, env);
    if (rc == 0)
        rc = config_check(r);
    config_read_fini(r);
    if (rc == 0)
        return r->cfg;
    config_free(r->cfg);
    return NULL;
}

static struct config *new_config(struct config_read *r, const char *source,
                                 char *err, size_t errlen)
{
    struct config *cfg = mem_zalloc(sizeof(*cfg));
    config_read_init(r, cfg, source, err, errlen);
    return cfg;
}

struct config *config_parse(const char *json, size_t len, const char *source,
                            char *const *env, char *err, size_t errlen)
{
    struct config_read r;
    struct str text = {json, len};
    new_config(&r, source, err, errlen);
    return load(&r, &text, env);
}

/* Up to one byte more than allowed, so that the caller can tell. */
static int read_all(const char *path, struct buf *to)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return ERR_SYSTEM;
    size_t n = 1;
    while (n > 0 && to->n <= FILE_MAX_BYTES) {
        char *room = buf_reserve(to, 1 << 16);
        n = fread(room, 1, 1 << 16, f);
        to->n += n;
    }
    int saved = ferror(f) ? errno : 0;
    fclose(f);
    errno = saved;
    return saved ? ERR_SYSTEM : 0;
}

struct config *config_load(const char *path, char *const *env, char *err,
                           size_t errlen)
{
    struct config_read r;
    if (!path) {
        new_config(&r, "configuration", err, errlen);
        return load(&r, NULL, env);
    }
    struct buf text = BUF_INIT;
    struct config *cfg = NULL;
    if (read_all(path, &text) < 0)
        snprintf(err, errlen, "%s: %s", path, strerror(errno));
    else if (text.n > FILE_MAX_BYTES)
        snprintf(err, errlen, "%s: larger than 16 MiB", path);
    else
        cfg = config_parse(text.p, text.n, path, env, err, errlen);
    buf_free(&text);
    return cfg;
}

/* Frees what the struct owns, not the struct. */
static void fini_config(struct config *cfg)
{
    for (size_t i = 0; i < config_schema_key_count; i++)
        config_value_free(&config_schema_keys[i], cfg);
    struct namespace_options *ns = &cfg->channel.without_namespace;
    free(ns->name);
    ns->name = NULL;
    if (ns->regex)
        regfree(ns->regex);
    free(ns->regex);
    ns->regex = NULL;
}

void config_free(struct config *cfg)
{
    if (!cfg)
        return;
    fini_config(cfg);
    free(cfg);
}

static json_t *config_json(const struct config *cfg, bool mask)
{
    json_t *root = json_object();
    CHECK(root != NULL);
    for (size_t i = 0; i < config_schema_key_count; i++)
        config_value_put(root, &config_schema_keys[i], cfg, mask);
    return root;
}

/* A copy is made by the way that is tested most: write and read. */
static int copy_values(struct config_read *r, const struct config *from)
{
    json_t *all = config_json(from, false);
    r->now = (struct config_origin){CONFIG_FROM_FILE, NULL};
    int rc = config_read_object(r, "", all);
    json_decref(all);
    return rc;
}

int config_set(struct config *cfg, const char *key, const char *value,
               char *err, size_t errlen)
{
    struct config_read r;
    struct config *next = new_config(&r, "configuration", err, errlen);
    int rc = copy_values(&r, cfg);
    if (rc == 0) {
        r.now = (struct config_origin){CONFIG_FROM_CALLER, NULL};
        rc = config_read_text(&r, key, value);
    }
    if (rc == 0)
        rc = config_check(&r);
    config_read_fini(&r);
    if (rc == 0) {
        struct config old = *cfg;
        *cfg = *next;
        *next = old;
    }
    config_free(next);
    return rc;
}

void config_print(const struct config *cfg, FILE *to)
{
    json_t *root = config_json(cfg, true);
    json_dumpf(root, to, JSON_INDENT(2) | CONFIG_REALS);
    fputc('\n', to);
    json_decref(root);
}

const struct namespace_options *config_namespace(const struct config *cfg,
                                                 struct str name)
{
    if (name.n == 0)
        return &cfg->channel.without_namespace;
    size_t low = 0;
    size_t high = cfg->channel.namespace_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct namespace_options *ns = &cfg->channel.namespaces[middle];
        size_t n = strlen(ns->name);
        int order = memcmp(ns->name, name.p, n < name.n ? n : name.n);
        if (order == 0 && n == name.n)
            return ns;
        if (order < 0 || (order == 0 && n < name.n))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
