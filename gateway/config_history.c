#include <ctype.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "gateway/config_read.h"

static bool has_history(const struct namespace_options *ns)
{
    return ns->history_size > 0 && ns->history_ttl_ms > 0;
}

static int check_pair(struct config_read *r, const struct namespace_options *ns,
                      const char *path)
{
    if (ns->history_size > 0 && ns->history_ttl_ms == 0)
        return config_namespaces_refuse(
            r, ns, path, "history_ttl",
            "a duration of at least \"1s\", since history_size is not 0");
    if (ns->history_ttl_ms > 0 && ns->history_size == 0)
        return config_namespaces_refuse(
            r, ns, path, "history_size",
            "an integer of at least 1, since history_ttl is not \"0s\"");
    return 0;
}

/* Options that mean nothing without something to recover from. */
static int check_recovery(struct config_read *r,
                          const struct namespace_options *ns, const char *path)
{
    const bool cache = ns->force_recovery_mode == RECOVERY_CACHE;
    const char *option = NULL;
    if (ns->force_recovery)
        option = "force_recovery";
    else if (ns->allow_recovery)
        option = "allow_recovery";
    if (option && !has_history(ns))
        return config_namespaces_refuse(
            r, ns, path, option,
            "false, unless history_size and history_ttl are set");
    if (cache && !has_history(ns))
        return config_namespaces_refuse(
            r, ns, path, "force_recovery_mode",
            "\"\" or \"stream\"; \"cache\" needs history_size and "
            "history_ttl");
    if (ns->auto_cache_recover && !cache)
        return config_namespaces_refuse(
            r, ns, path, "auto_cache_recover",
            "false, unless force_recovery_mode is \"cache\"");
    return 0;
}

static bool is_stream(const char *name)
{
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '-' && *name != '_')
            return false;
    return true;
}

static int check_stream(struct config_read *r,
                        const struct namespace_options *ns, const char *path)
{
    if (!is_stream(ns->stream))
        return config_namespaces_refuse(
            r, ns, path, "stream",
            "the name of a JetStream stream, of the characters -, _, a-z, "
            "A-Z, 0-9, or \"\" for weir's own");
    if (*ns->stream && !has_history(ns))
        return config_namespaces_refuse(
            r, ns, path, "stream",
            "\"\", unless history_size and history_ttl are set");
    if (ns->tell_gaps && has_history(ns))
        return config_namespaces_refuse(
            r, ns, path, "tell_gaps",
            "false, since history_size and history_ttl are set: gaps are "
            "healed or told by recovery there");
    return 0;
}

int config_history_check(struct config_read *r, struct namespace_options *ns,
                         const char *path)
{
    int rc = check_pair(r, ns, path);
    if (rc == 0)
        rc = check_recovery(r, ns, path);
    if (rc == 0)
        rc = check_stream(r, ns, path);
    if (rc < 0)
        return rc;
    ns->history = (struct history_policy){
        .size = (uint32_t)ns->history_size,
        .ttl_ms = (uint64_t)ns->history_ttl_ms,
        .meta_ttl_ms = (uint64_t)ns->history_meta_ttl_ms,
        .cache = ns->force_recovery_mode == RECOVERY_CACHE,
        .auto_cache = ns->auto_cache_recover,
        .tell_gaps = ns->tell_gaps,
    };
    return 0;
}

/* A position must not be forgotten before what it is a position in. */
static int check_meta(struct config_read *r, const struct namespace_options *ns,
                      const char *path)
{
    int64_t own = ns->history_meta_ttl_ms;
    int64_t meta = own ? own : r->cfg->channel.history_meta_ttl_ms;
    char limit[32];
    char want[160];
    if (!has_history(ns) || meta >= ns->history_ttl_ms)
        return 0;
    config_value_print_duration(own ? ns->history_ttl_ms : meta, limit);
    if (own)
        snprintf(want, sizeof(want),
                 "a duration of at least \"%s\", which is history_ttl", limit);
    else
        snprintf(want, sizeof(want),
                 "a duration of at most \"%s\", which is "
                 "channel.history_meta_ttl, or a longer history_meta_ttl",
                 limit);
    return config_namespaces_refuse(
        r, ns, path, own ? "history_meta_ttl" : "history_ttl", want);
}

/* On NATS the stream's sequence is the position; nothing else numbers. */
static int check_position(struct config_read *r,
                          const struct namespace_options *ns, const char *path)
{
    const char *option = NULL;
    if (ns->force_positioning)
        option = "force_positioning";
    else if (ns->allow_positioning)
        option = "allow_positioning";
    if (!option || has_history(ns) || !*r->cfg->nats.url)
        return 0;
    return config_namespaces_refuse(
        r, ns, path, option,
        "false, since nats.url is set: on NATS a position needs history_size "
        "and history_ttl");
}

static int finish(struct config_read *r, struct namespace_options *ns,
                  const char *path)
{
    int rc = check_meta(r, ns, path);
    if (rc == 0)
        rc = check_position(r, ns, path);
    if (rc == 0 && ns->history.meta_ttl_ms == 0)
        ns->history.meta_ttl_ms = (uint64_t)r->cfg->channel.history_meta_ttl_ms;
    return rc;
}

/* The list is sorted by now: a namespace has its name, not its place. */
int config_history_finish(struct config_read *r)
{
    struct buf path = BUF_INIT;
    int rc =
        finish(r, &r->cfg->channel.without_namespace, CONFIG_WITHOUT_NAMESPACE);
    for (size_t i = 0; i < r->cfg->channel.namespace_count && rc == 0; i++) {
        struct namespace_options *ns = &r->cfg->channel.namespaces[i];
        buf_clear(&path);
        buf_printf(&path, "channel.namespaces[%s]", ns->name);
        buf_char(&path, '\0');
        rc = finish(r, ns, path.p);
    }
    buf_free(&path);
    return rc;
}
