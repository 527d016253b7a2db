#include "gateway/config_schema.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)
#define YEAR (365 * 24 * HOUR)

/* Long enough for any path, URL or key; short enough to print. */
#define STRING_MAX 4096
#define NAME_MAX_BYTES 255

/* The order is that of the enums the index is stored in. */
static const char *const log_levels[] = {"none", "error", "warn",
                                         "info", "debug", NULL};
static const char *const error_modes[] = {"", "transport", NULL};
static const char *const data_formats[] = {"", "json", "json_object", "binary",
                                           NULL};
static const char *const non_json_modes[] = {"drop", "string", NULL};
static const char *const recovery_modes[] = {"", "stream", "cache", NULL};
static const char *const storages[] = {"file", "memory", NULL};
static const char *const throttle_modes[] = {"all", "latest", "merge", NULL};
static const char *const on_full_modes[] = {"", "disconnect", "conflate",
                                            "drop_oldest", NULL};

static_assert(LOG_NONE == 0 && LOG_ERROR == 1 && LOG_WARN == 2 &&
                  LOG_INFO == 3 && LOG_DEBUG == 4,
              "log_levels is indexed by enum log_level");
static_assert(DATA_FORMAT_ANY == 0 && DATA_FORMAT_JSON == 1 &&
                  DATA_FORMAT_JSON_OBJECT == 2 && DATA_FORMAT_BINARY == 3,
              "data_formats is indexed by enum data_format");
static_assert(NON_JSON_DROP == 0 && NON_JSON_STRING == 1,
              "non_json_modes is indexed by enum non_json");
static_assert(RECOVERY_DEFAULT == 0 && RECOVERY_STREAM == 1 &&
                  RECOVERY_CACHE == 2,
              "recovery_modes is indexed by enum recovery_mode");
static_assert(THROTTLE_ALL == 0 && THROTTLE_LATEST == 1 && THROTTLE_MERGE == 2,
              "throttle_modes is indexed by enum throttle_mode");
static_assert(THROTTLE_DISCONNECT == 0 && THROTTLE_CONFLATE == 1 &&
                  THROTTLE_DROP_OLDEST == 2,
              "on_full_modes is indexed by 1 + enum throttle_on_full");

#define FIELD(owner, f) \
    .at = offsetof(struct owner, f), .size = sizeof(((struct owner *)0)->f)

#define BOOL(key, f, def)                                               \
    {                                                                   \
        .name = key, .type = CONFIG_BOOL, FIELD(config, f), .init = def \
    }
#define INT(key, f, def, lo, hi)                                        \
    {                                                                   \
        .name = key, .type = CONFIG_INT, FIELD(config, f), .init = def, \
        .min = lo, .max = hi                                            \
    }
#define DURATION(key, f, def, lo, hi)                                        \
    {                                                                        \
        .name = key, .type = CONFIG_DURATION, FIELD(config, f), .init = def, \
        .min = lo, .max = hi                                                 \
    }
#define STRING(key, f, def, hi, fl)                                        \
    {                                                                      \
        .name = key, .type = CONFIG_STRING, FIELD(config, f), .init = def, \
        .max = hi, .flags = fl                                             \
    }
#define CHOICE(key, f, def, words)                                         \
    {                                                                      \
        .name = key, .type = CONFIG_CHOICE, FIELD(config, f), .init = def, \
        .choices = words                                                   \
    }

/* The options a namespace and without_namespace share: X(name, field, type,
 * default, choices, flags, min, max). */
#define FLAG(X, f) X(f, f, CONFIG_BOOL, "false", NULL, 0, 0, 0)
#define WORD(X, f, def, words) X(f, f, CONFIG_CHOICE, def, words, 0, 0, 0)
#define TEXT(X, f, hi) X(f, f, CONFIG_STRING, "", NULL, 0, 0, hi)
#define AGE(X, name, f) \
    X(name, f, CONFIG_DURATION, "0s", NULL, CONFIG_ZERO_OK, SECOND, YEAR)

#define OPTIONS(X)                                                      \
    FLAG(X, allow_subscribe_for_client)                                 \
    FLAG(X, allow_subscribe_for_anonymous)                              \
    FLAG(X, allow_publish_for_client)                                   \
    FLAG(X, allow_publish_for_subscriber)                               \
    FLAG(X, allow_publish_for_anonymous)                                \
    FLAG(X, allow_patterns)                                             \
    TEXT(X, channel_regex, 1024)                                        \
    WORD(X, publication_data_format, "", data_formats)                  \
    TEXT(X, subject, NAME_MAX_BYTES)                                    \
    WORD(X, non_json, "drop", non_json_modes)                           \
    X(history_size, history_size, CONFIG_INT, "0", NULL, 0, 0, 1000000) \
    AGE(X, history_ttl, history_ttl_ms)                                 \
    AGE(X, history_meta_ttl, history_meta_ttl_ms)                       \
    FLAG(X, force_recovery)                                             \
    FLAG(X, allow_recovery)                                             \
    FLAG(X, force_positioning)                                          \
    FLAG(X, allow_positioning)                                          \
    WORD(X, force_recovery_mode, "", recovery_modes)                    \
    FLAG(X, auto_cache_recover)                                         \
    FLAG(X, allow_history_for_client)                                   \
    FLAG(X, allow_history_for_subscriber)                               \
    FLAG(X, allow_history_for_anonymous)                                \
    FLAG(X, tell_gaps)                                                  \
    TEXT(X, stream, NAME_MAX_BYTES)

/* Those of the section `throttle`, whose fields have the same names. */
#define THROTTLE_OPTIONS(X)                                       \
    X(mode, CONFIG_CHOICE, "all", throttle_modes, 0, 0, 0)        \
    X(key, CONFIG_STRING, "", NULL, 0, 0, 256)                    \
    X(rate, CONFIG_RATE, "0", NULL, 0, 0, THROTTLE_RATE_MAX)      \
    X(on_full, CONFIG_CHOICE, "", on_full_modes, 0, 0, 0)         \
    X(buffer, CONFIG_INT, "0", NULL, 0, 0, 65536)                 \
    X(snapshot, CONFIG_INT, "0", NULL, 0, 0, 1000)                \
    X(bandwidth, CONFIG_INT, "0", NULL, CONFIG_ZERO_OK, 256, GIB) \
    X(allow_client_rate, CONFIG_BOOL, "true", NULL, 0, 0, 0)      \
    X(annotate, CONFIG_BOOL, "false", NULL, 0, 0, 0)              \
    X(order_group, CONFIG_STRING, "", NULL, 0, 0, 64)

#define WITHOUT_NAMESPACE(key, f, kind, def, words, fl, lo, hi) \
    {.name = CONFIG_WITHOUT_NAMESPACE "." #key,                 \
     .type = kind,                                              \
     .flags = fl,                                               \
     .min = lo,                                                 \
     .max = hi,                                                 \
     FIELD(config, channel.without_namespace.f),                \
     .init = def,                                               \
     .choices = words},
#define OPTION(key, f, kind, def, words, fl, lo, hi) \
    {.name = #key,                                   \
     .type = kind,                                   \
     .flags = fl,                                    \
     .min = lo,                                      \
     .max = hi,                                      \
     FIELD(namespace_options, f),                    \
     .init = def,                                    \
     .choices = words},

#define THROTTLE_WITHOUT_NAMESPACE(f, ...) \
    WITHOUT_NAMESPACE(throttle.f, throttle_settings.f, __VA_ARGS__)
#define THROTTLE_OPTION(f, ...) \
    OPTION(throttle.f, throttle_settings.f, __VA_ARGS__)

/* clang-format off */
const struct config_key config_schema_keys[] = {
    CHOICE("log.level", log.level, "info", log_levels),
    STRING("node.name", node.name, "", NAME_MAX_BYTES, 0),
    INT("shards", shards, "0", 0, 64),

    STRING("http_server.address", http_server.address, "", NAME_MAX_BYTES, 0),
    INT("http_server.port", http_server.port, "8000", 0, 65535),
    INT("http_server.max_header_size", http_server.max_header_size, "8192",
        512, 64 * KIB),
    INT("http_server.max_body_size", http_server.max_body_size, "1048576",
        KIB, 256 * MIB),
    DURATION("http_server.header_timeout", http_server.header_timeout_ms,
             "10s", 10, HOUR),
    DURATION("http_server.idle_timeout", http_server.idle_timeout_ms, "75s",
             10, 24 * HOUR),

    {.name = "client.allowed_origins", .type = CONFIG_STRINGS, .init = "",
     .max = 1024, FIELD(config, client.allowed_origins)},
    BOOL("client.insecure", client.insecure, "false"),
    BOOL("client.allow_anonymous_connect_without_token",
         client.allow_anonymous_connect_without_token, "false"),
    {.name = "client.ping_interval", .type = CONFIG_DURATION, .init = "25s",
     .min = 100, .max = 24 * HOUR, .flags = CONFIG_ZERO_OK,
     FIELD(config, client.ping_interval_ms)},
    DURATION("client.pong_timeout", client.pong_timeout_ms, "8s", 10,
             24 * HOUR),
    DURATION("client.stale_close_delay", client.stale_close_delay_ms, "10s",
             10, HOUR),
    INT("client.queue_max_size", client.queue_max_size, "1048576", 4 * KIB,
        GIB),
    INT("client.channel_limit", client.channel_limit, "128", 1, 10000),
    INT("client.connection_limit", client.connection_limit, "0", 0,
        100000000),
    INT("client.recovery_max_publication_limit",
        client.recovery_max_publication_limit, "300", 1, 10000),
    INT("client.history_max_publication_limit",
        client.history_max_publication_limit, "300", 1, 10000),
    DURATION("client.channel_position_check_delay",
             client.channel_position_check_delay_ms, "40s", 100, 24 * HOUR),

    BOOL("websocket.disabled", websocket.disabled, "false"),
    STRING("websocket.handler_prefix", websocket.handler_prefix,
           "/connection/websocket", NAME_MAX_BYTES, CONFIG_PREFIX),
    INT("websocket.message_size_limit", websocket.message_size_limit, "65536",
        64, 256 * MIB),

    BOOL("uni_sse.enabled", uni_sse.enabled, "false"),
    STRING("uni_sse.handler_prefix", uni_sse.handler_prefix,
           "/connection/uni_sse", NAME_MAX_BYTES, CONFIG_PREFIX),
    INT("uni_sse.max_request_body_size", uni_sse.max_request_body_size,
        "65536", 64, 256 * MIB),

    BOOL("sse.enabled", sse.enabled, "true"),
    STRING("sse.handler_prefix", sse.handler_prefix, "/sse", NAME_MAX_BYTES,
           CONFIG_PREFIX),
    DURATION("sse.ping_interval", sse.ping_interval_ms, "25s", 100,
             24 * HOUR),
    DURATION("sse.retry", sse.retry_ms, "3s", 10, HOUR),
    INT("sse.channel_limit", sse.channel_limit, "128", 1, 10000),

    BOOL("http_api.disabled", http_api.disabled, "false"),
    STRING("http_api.key", http_api.key, "", STRING_MAX, CONFIG_SECRET),
    BOOL("http_api.insecure", http_api.insecure, "false"),
    CHOICE("http_api.error_mode", http_api.error_mode_transport, "",
           error_modes),
    STRING("http_api.handler_prefix", http_api.handler_prefix, "/api",
           NAME_MAX_BYTES, CONFIG_PREFIX),

    BOOL("health.enabled", health.enabled, "true"),
    STRING("health.handler_prefix", health.handler_prefix, "/health",
           NAME_MAX_BYTES, CONFIG_PREFIX),
    BOOL("prometheus.enabled", prometheus.enabled, "true"),
    STRING("prometheus.handler_prefix", prometheus.handler_prefix, "/metrics",
           NAME_MAX_BYTES, CONFIG_PREFIX),
    BOOL("web.enabled", web.enabled, "false"),
    STRING("web.root", web.root, "", STRING_MAX, 0),

    DURATION("shutdown.timeout", shutdown.timeout_ms, "10s", 0, HOUR),

    INT("hub.inflight_max_size", hub.inflight_max_size, "268435456", KIB,
        1024 * GIB),
    INT("hub.slice", hub.slice, "128", 16, 65536),

    INT("throttle.max_items", throttle.max_items, "1000", 1, 1000000),
    INT("throttle.max_bytes", throttle.max_bytes, "67108864", 64 * KIB,
        1024 * GIB),
    DURATION("throttle.idle_ttl", throttle.idle_ttl_ms, "60s", 10, 24 * HOUR),
    {.name = "throttle.notsent_lowat", .type = CONFIG_INT, .init = "4096",
     .min = KIB, .max = MIB, .flags = CONFIG_ZERO_OK,
     FIELD(config, throttle.notsent_lowat)},

    INT("history.max_bytes", history.max_bytes, "268435456", 64 * KIB,
        1024 * GIB),
    DURATION("history.idle_ttl", history.idle_ttl_ms, "60s", 10, 24 * HOUR),
    DURATION("history.heal_spread", history.heal_spread_ms, "5s", 0,
             600 * SECOND),
    INT("history.max_keys", history.max_keys, "100000", 1, 100000000),

    STRING("nats.url", nats.url, "", STRING_MAX, CONFIG_URL),
    STRING("nats.prefix", nats.prefix, "weir", 64, 0),
    INT("nats.queue_max_size", nats.queue_max_size, "16777216", KIB,
        1024 * GIB),
    DURATION("nats.connect_timeout", nats.connect_timeout_ms, "1s", 10,
             60 * SECOND),
    DURATION("nats.reconnect_wait", nats.reconnect_wait_ms, "250ms", 10,
             HOUR),
    DURATION("nats.ping_interval", nats.ping_interval_ms, "5s", 10, HOUR),
    STRING("nats.user", nats.user, "", STRING_MAX, 0),
    STRING("nats.password", nats.password, "", STRING_MAX, CONFIG_SECRET),
    STRING("nats.token", nats.token, "", STRING_MAX, CONFIG_SECRET),
    STRING("nats.credentials", nats.credentials, "", STRING_MAX, 0),
    DURATION("nats.grace", nats.grace_ms, "20s", 10, 24 * HOUR),
    INT("nats.stream_replicas", nats.stream_replicas, "1", 1, 5),
    CHOICE("nats.stream_storage", nats.stream_in_memory, "file", storages),
    DURATION("nats.publish_timeout", nats.publish_timeout_ms, "5s", 100,
             600 * SECOND),

    INT("channel.max_length", channel.max_length, "255", 1, 255),
    INT("channel.max_publication_size", channel.max_publication_size,
        "65536", 1, 256 * MIB),
    DURATION("channel.history_meta_ttl", channel.history_meta_ttl_ms, "720h",
             SECOND, YEAR),
    OPTIONS(WITHOUT_NAMESPACE)
    THROTTLE_OPTIONS(THROTTLE_WITHOUT_NAMESPACE)
    {.name = "channel.namespaces", .type = CONFIG_NAMESPACES, .init = "[]",
     .max = 10000, FIELD(config, channel.namespaces)},
};

const struct config_key config_schema_options[] = {
    {.name = "name", .type = CONFIG_STRING, .init = "", .max = 64,
     FIELD(namespace_options, name)},
    OPTIONS(OPTION)
    THROTTLE_OPTIONS(THROTTLE_OPTION)
};
/* clang-format on */

const size_t config_schema_key_count = ARRAY_LEN(config_schema_keys);
const size_t config_schema_option_count = ARRAY_LEN(config_schema_options);

static const struct config_key *find(const struct config_key *keys,
                                     size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

const struct config_key *config_schema_find(const char *name)
{
    return find(config_schema_keys, config_schema_key_count, name);
}

const struct config_key *config_schema_find_option(const char *name)
{
    return find(config_schema_options, config_schema_option_count, name);
}

static bool has_section(const struct config_key *keys, size_t count,
                        const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < count; i++)
        if (strncmp(keys[i].name, name, n) == 0 && keys[i].name[n] == '.')
            return true;
    return false;
}

bool config_schema_is_section(const char *name)
{
    return has_section(config_schema_keys, config_schema_key_count, name);
}

bool config_schema_is_option_section(const char *name)
{
    return has_section(config_schema_options, config_schema_option_count, name);
}

void config_schema_variable(const char *name, char out[CONFIG_NAME_MAX])
{
    snprintf(out, CONFIG_NAME_MAX, CONFIG_VARIABLE_PREFIX "%s", name);
    for (char *p = out; *p; p++)
        *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many bytes must be inserted, removed or replaced to make b of a;
 * letters match in either case. Only the first CONFIG_NAME_MAX bytes count. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[CONFIG_NAME_MAX + 1];
    size_t m = strnlen(a, CONFIG_NAME_MAX);
    size_t n = strnlen(b, CONFIG_NAME_MAX);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t above = row[j];
            bool same = tolower((unsigned char)a[i - 1]) ==
                        tolower((unsigned char)b[j - 1]);
            row[j] =
                least(diagonal + (same ? 0 : 1), 1 + least(above, row[j - 1]));
            diagonal = above;
        }
    }
    return row[n];
}

struct search {
    const char *name; /* borrowed; what was written */
    const char *tail; /* borrowed; its last part */
    size_t score;
    size_t whole; /* breaks ties */
    char *best;   /* borrowed; CONFIG_NAME_MAX bytes */
};

/* A right last word in the wrong section is as good as one wrong letter. */
static void consider(struct search *s, const char *name, const char *tail)
{
    size_t whole = edit_distance(s->name, name);
    size_t score = least(whole, 1 + edit_distance(s->tail, tail));
    if (score > s->score || (score == s->score && whole >= s->whole))
        return;
    s->score = score;
    s->whole = whole;
    snprintf(s->best, CONFIG_NAME_MAX, "%s", name);
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

static void consider_keys(struct search *s, const struct config_key *keys,
                          size_t count)
{
    for (size_t i = 0; i < count; i++)
        consider(s, keys[i].name, last_part(keys[i].name));
}

static void consider_sections(struct search *s, const struct config_key *keys,
                              size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[CONFIG_NAME_MAX];
        snprintf(name, sizeof(name), "%s", keys[i].name);
        for (char *dot = strrchr(name, '.'); dot; dot = strrchr(name, '.')) {
            *dot = '\0';
            consider(s, name, last_part(name));
        }
    }
}

static void consider_variable(struct search *s, const char *key)
{
    char name[CONFIG_NAME_MAX];
    config_schema_variable(key, name);
    consider(s, name, name + strlen(name) - strlen(last_part(key)));
}

void config_schema_nearest(enum config_near among, const char *name,
                           char out[CONFIG_NAME_MAX])
{
    struct search s = {name, last_part(name), SIZE_MAX, SIZE_MAX, out};
    const size_t skip = sizeof(CONFIG_VARIABLE_PREFIX) - 1;
    if (among == CONFIG_NEAR_VARIABLE &&
        strncmp(name, CONFIG_VARIABLE_PREFIX, skip) == 0)
        s.tail = name + skip;
    switch (among) {
    case CONFIG_NEAR_SECTION:
        consider_sections(&s, config_schema_keys, config_schema_key_count);
        break;
    case CONFIG_NEAR_OPTION:
        consider_keys(&s, config_schema_options, config_schema_option_count);
        consider_sections(&s, config_schema_options,
                          config_schema_option_count);
        break;
    case CONFIG_NEAR_VARIABLE:
        for (size_t i = 0; i < config_schema_key_count; i++)
            consider_variable(&s, config_schema_keys[i].name);
        consider_variable(&s, CONFIG_WITHOUT_NAMESPACE);
        break;
    case CONFIG_NEAR_KEY:
        consider_keys(&s, config_schema_keys, config_schema_key_count);
        break;
    }
}
