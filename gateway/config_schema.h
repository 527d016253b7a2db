/* config_schema.h — the table of configuration keys.
 * Why:    the file, the environment, the defaults, --print-config and every
 *         error message walk this one table, so none of them can disagree.
 * Owns:   nothing; the tables are constants.
 * Thread: any.
 * Bounds: CONFIG_NAME_MAX bytes for a key and for its variable's name.
 * Uses:   gateway/config.h. For gateway/config*.c only. */
#ifndef WEIR_GATEWAY_CONFIG_SCHEMA_H
#define WEIR_GATEWAY_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/config.h"

#define CONFIG_NAME_MAX 96
#define CONFIG_VARIABLE_PREFIX "WEIR_"
#define CONFIG_WITHOUT_NAMESPACE "channel.without_namespace"

/* The C type of the field is given in brackets. */
enum config_type {
    CONFIG_BOOL,       /* [bool] */
    CONFIG_INT,        /* [int64_t] min..max; sizes are bytes */
    CONFIG_DURATION,   /* [int64_t] milliseconds, min..max */
    CONFIG_RATE,       /* [int64_t] millihertz, min..max; written in hertz */
    CONFIG_STRING,     /* [char *] of at most max bytes, never NULL */
    CONFIG_CHOICE,     /* [enum, int or bool] index into choices */
    CONFIG_STRINGS,    /* [struct string_list] each 1..max bytes */
    CONFIG_NAMESPACES, /* [struct namespace_options *, then its count] */
};

enum config_flag {
    CONFIG_SECRET = 1,  /* never shown */
    CONFIG_URL = 2,     /* may carry user:password@, which is never shown */
    CONFIG_PREFIX = 4,  /* an HTTP path that a handler answers under */
    CONFIG_ZERO_OK = 8, /* 0 is allowed although it is below min: "off" */
};

struct config_key {
    const char *name; /* "client.ping_interval" */
    enum config_type type;
    unsigned flags; /* enum config_flag */
    size_t at;      /* offset of the field */
    size_t size;    /* of the field */
    int64_t min;
    int64_t max;
    const char *init;           /* default, in the environment's syntax */
    const char *const *choices; /* NULL-terminated; CONFIG_CHOICE only */
};

/* Offsets are into struct config. */
extern const struct config_key config_schema_keys[];
extern const size_t config_schema_key_count;

/* What an item of channel.namespaces may have, "throttle.mode" with the
 * sections inside it; offsets are into struct namespace_options. The first
 * is `name`. */
extern const struct config_key config_schema_options[];
extern const size_t config_schema_option_count;

/* The key with exactly this dotted name, or NULL. */
const struct config_key *config_schema_find(const char *name);
const struct config_key *config_schema_find_option(const char *name);

/* Whether keys begin with `name` and a dot. */
bool config_schema_is_section(const char *name);
bool config_schema_is_option_section(const char *name);

/* "client.insecure" -> "WEIR_CLIENT_INSECURE", cut to CONFIG_NAME_MAX. */
void config_schema_variable(const char *name, char out[CONFIG_NAME_MAX]);

/* What a misspelt name may have meant; always something. */
enum config_near {
    CONFIG_NEAR_KEY,
    CONFIG_NEAR_SECTION,
    CONFIG_NEAR_OPTION,
    CONFIG_NEAR_VARIABLE,
};
void config_schema_nearest(enum config_near among, const char *name,
                           char out[CONFIG_NAME_MAX]);

#endif
