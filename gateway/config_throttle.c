#include <stdlib.h>

#include "base/mem.h"
#include "gateway/config_read.h"

#define BUFFER_DEFAULT 128

/* RFC 6901. */
static bool is_pointer(const char *p)
{
    if (*p && *p != '/')
        return false;
    for (; *p; p++)
        if (*p == '~' && p[1] != '0' && p[1] != '1')
            return false;
    return true;
}

static enum throttle_on_full on_full_of(const struct throttle_settings *s)
{
    if (s->on_full)
        return (enum throttle_on_full)(s->on_full - 1);
    return s->mode == THROTTLE_ALL ? THROTTLE_DISCONNECT : THROTTLE_CONFLATE;
}

static int check_data(struct config_read *r, const struct namespace_options *ns,
                      const char *path)
{
    const struct throttle_settings *s = &ns->throttle_settings;
    if (!is_pointer(s->key))
        return config_namespaces_refuse(
            r, ns, path, "throttle.key",
            "a JSON pointer such as \"/symbol\", in which ~ is ~0 and a / "
            "inside a name is ~1, or \"\" for none");
    if (ns->publication_data_format != DATA_FORMAT_BINARY)
        return 0;
    if (s->mode == THROTTLE_MERGE)
        return config_namespaces_refuse(
            r, ns, path, "throttle.mode",
            "\"all\" or \"latest\", since publication_data_format is "
            "\"binary\" and only JSON can be merged");
    if (*s->key)
        return config_namespaces_refuse(
            r, ns, path, "throttle.key",
            "\"\", since publication_data_format is \"binary\" and a JSON "
            "pointer finds nothing there");
    return 0;
}

static int check_full(struct config_read *r, const struct namespace_options *ns,
                      const char *path)
{
    const struct throttle_settings *s = &ns->throttle_settings;
    enum throttle_on_full on_full = on_full_of(s);
    if (on_full == THROTTLE_CONFLATE && s->mode == THROTTLE_ALL)
        return config_namespaces_refuse(
            r, ns, path, "throttle.on_full",
            "\"disconnect\" or \"drop_oldest\", since throttle.mode is "
            "\"all\"; with \"latest\" or \"merge\" it may be \"conflate\"");
    if (on_full == THROTTLE_DROP_OLDEST && s->mode != THROTTLE_ALL)
        return config_namespaces_refuse(
            r, ns, path, "throttle.on_full",
            "\"conflate\" or \"disconnect\"; only where throttle.mode is "
            "\"all\" it may be \"drop_oldest\"");
    if (on_full != THROTTLE_DROP_OLDEST && s->buffer)
        return config_namespaces_refuse(
            r, ns, path, "throttle.buffer",
            "0, unless throttle.on_full is \"drop_oldest\"");
    if (on_full == THROTTLE_DISCONNECT && s->bandwidth)
        return config_namespaces_refuse(
            r, ns, path, "throttle.bandwidth",
            "0, unless throttle.on_full is \"conflate\" or \"drop_oldest\": "
            "with \"disconnect\", the default of mode \"all\", nothing waits");
    return 0;
}

static void make_policy(struct throttle_policy *to,
                        const struct throttle_settings *s)
{
    *to = (struct throttle_policy){
        .mode = (uint8_t)s->mode,
        .on_full = (uint8_t)on_full_of(s),
        .allow_client_rate = s->allow_client_rate,
        .annotate = s->annotate,
        .rate = (uint32_t)s->rate,
        .buffer = (uint32_t)s->buffer,
        .snapshot = (uint32_t)s->snapshot,
        .bandwidth = (uint32_t)s->bandwidth,
        .key = str_of(s->key),
    };
    if (to->on_full == THROTTLE_DROP_OLDEST && to->buffer == 0)
        to->buffer = BUFFER_DEFAULT;
}

int config_throttle_check(struct config_read *r, struct namespace_options *ns,
                          const char *path)
{
    const char *group = ns->throttle_settings.order_group;
    int rc = check_data(r, ns, path);
    if (rc == 0)
        rc = check_full(r, ns, path);
    if (rc < 0)
        return rc;
    if (*group && !config_namespaces_is_name(group))
        return config_namespaces_refuse(r, ns, path, "throttle.order_group",
                                        CONFIG_NAME_WANT ", or \"\" for none");
    make_policy(&ns->throttle, &ns->throttle_settings);
    return 0;
}

static int by_group(const void *a, const void *b)
{
    const struct namespace_options *const *x = a;
    const struct namespace_options *const *y = b;
    return strcmp((*x)->throttle_settings.order_group,
                  (*y)->throttle_settings.order_group);
}

/* Sorted by the group's name, "" first:
 *
 *     ""  ""  "fx"  "fx"  "stocks"
 *      0   0    1     1      2     */
void config_throttle_number(struct config *cfg)
{
    size_t count = cfg->channel.namespace_count + 1;
    struct namespace_options **all = mem_alloc(count * sizeof(*all));
    for (size_t i = 0; i + 1 < count; i++)
        all[i] = &cfg->channel.namespaces[i];
    all[count - 1] = &cfg->channel.without_namespace;
    qsort(all, count, sizeof(struct namespace_options *), by_group);
    const char *last = "";
    uint32_t number = 0;
    for (size_t i = 0; i < count; i++) {
        const char *group = all[i]->throttle_settings.order_group;
        number += strcmp(group, last) != 0;
        all[i]->throttle.order_group = number;
        last = group;
    }
    free(all);
}
