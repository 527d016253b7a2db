#include <ctype.h>
#include <jansson.h>

#include "gateway/config_read.h"

#define TEST_PREFIX CONFIG_VARIABLE_PREFIX "TEST_"

static bool has_suffix(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

/* "..._PORT_8000_TCP" and what may follow it. */
static bool is_port_link(struct str name)
{
    const char *at = memmem(name.p, name.n, "_PORT_", 6);
    if (!at)
        return false;
    struct str rest = str_skip(name, (size_t)(at - name.p) + 6);
    size_t digits = 0;
    while (digits < rest.n && isdigit((unsigned char)rest.p[digits]))
        digits++;
    if (digits == 0)
        return false;
    rest = str_skip(rest, digits);
    return str_starts(rest, STR_LIT("_TCP")) ||
           str_starts(rest, STR_LIT("_UDP")) ||
           str_starts(rest, STR_LIT("_SCTP"));
}

/* Kubernetes and container links describe a service that is called "weir" to
 * every process near it, and nobody can stop them:
 *
 *     WEIR_SERVICE_HOST=10.0.0.11           WEIR_SERVICE_PORT_HTTP=8000
 *     WEIR_PORT=tcp://10.0.0.11:8000        WEIR_PORT_8000_TCP_ADDR=10.0.0.11
 *
 * No key looks like that. WEIR_PORT=8000 is not one of them but a mistake. */
static bool is_service_link(struct str name, const char *value)
{
    if (has_suffix(name, STR_LIT("_SERVICE_HOST")) ||
        memmem(name.p, name.n, "_SERVICE_PORT", 13) || is_port_link(name))
        return true;
    return has_suffix(name, STR_LIT("_PORT")) && strstr(value, "://") &&
           (strncmp(value, "tcp", 3) == 0 || strncmp(value, "udp", 3) == 0 ||
            strncmp(value, "sctp", 4) == 0);
}

/* The key that the variable sets, or NULL. */
static const char *key_of(struct str variable)
{
    char name[CONFIG_NAME_MAX];
    for (size_t i = 0; i < config_schema_key_count; i++) {
        config_schema_variable(config_schema_keys[i].name, name);
        if (str_eq(variable, str_of(name)))
            return config_schema_keys[i].name;
    }
    config_schema_variable(CONFIG_WITHOUT_NAMESPACE, name);
    return str_eq(variable, str_of(name)) ? CONFIG_WITHOUT_NAMESPACE : NULL;
}

static int refuse(struct config_read *r, struct str variable, const char *value)
{
    char name[2 * CONFIG_NAME_MAX];
    snprintf(name, sizeof(name), "%.*s", STR_ARG(variable));
    json_t *shown = json_stringn(value, strlen(value));
    r->now.entry = "";
    int rc = config_message_unknown(r, CONFIG_NEAR_VARIABLE, name, shown);
    json_decref(shown);
    return rc;
}

/* `whole`: only the variable that sets an object of several keys; else all
 * others, which refine it. */
static int read_entry(struct config_read *r, const char *entry, bool whole)
{
    struct str value = str_of(entry);
    struct str variable = str_cut(&value, '=');
    if (!value.p || !str_starts(variable, STR_LIT(CONFIG_VARIABLE_PREFIX)) ||
        str_starts(variable, STR_LIT(TEST_PREFIX)))
        return 0;
    const char *key = key_of(variable);
    r->now = (struct config_origin){CONFIG_FROM_VARIABLE, entry};
    if (!key)
        return is_service_link(variable, value.p)
                   ? 0
                   : refuse(r, variable, value.p);
    if (whole != (strcmp(key, CONFIG_WITHOUT_NAMESPACE) == 0))
        return 0;
    return config_read_text(r, key, value.p);
}

int config_env_read(struct config_read *r, char *const *env)
{
    for (int pass = 0; pass < 2; pass++) {
        for (char *const *entry = env; entry && *entry; entry++) {
            int rc = read_entry(r, *entry, pass == 0);
            if (rc < 0)
                return rc;
        }
    }
    r->now = (struct config_origin){CONFIG_FROM_DEFAULT, NULL};
    return 0;
}
