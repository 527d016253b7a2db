/* config.h — everything an operator can set, read once, then immutable.
 * Why:    one table of keys serves the file, the environment, --print-config
 *         and the documentation, so none of them can disagree.
 * Owns:   every string inside; freed by config_free.
 * Thread: loaded by main before any other thread; read-only afterwards.
 * Bounds: each key's own, checked at load; 10,000 namespaces, 16 MiB file.
 * Uses:   base/; jansson and libc's regcomp, in gateway/config*.c only.
 *         docs/configuration.md explains every key. */
#ifndef WEIR_GATEWAY_CONFIG_H
#define WEIR_GATEWAY_CONFIG_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"
#include "hub/msg.h"
#include "throttle/policy.h"

enum data_format {
    DATA_FORMAT_ANY, /* "": valid JSON, not empty */
    DATA_FORMAT_JSON,
    DATA_FORMAT_JSON_OBJECT,
    DATA_FORMAT_BINARY, /* any bytes; reaches no JSON client */
};

/* The first two mean the same: ask for RECOVERY_CACHE. */
enum recovery_mode { RECOVERY_DEFAULT, RECOVERY_STREAM, RECOVERY_CACHE };

enum non_json { NON_JSON_DROP, NON_JSON_STRING };

/* The section `throttle` of a namespace as it was written. */
struct throttle_settings {
    enum throttle_mode mode;
    int on_full;       /* 0: the mode's own; else 1 + enum throttle_on_full */
    char *key;         /* owned; JSON pointer, "" for none */
    char *order_group; /* owned; "" for none */
    int64_t rate;      /* millihertz; 0: no limit */
    int64_t buffer;    /* 0: the default, where there is one */
    int64_t snapshot;
    int64_t bandwidth;
    bool allow_client_rate;
    bool annotate;
};

struct namespace_options {
    char *name; /* owned; "" for without_namespace */
    bool allow_subscribe_for_client;
    bool allow_subscribe_for_anonymous;
    bool allow_publish_for_client;
    bool allow_publish_for_subscriber;
    bool allow_publish_for_anonymous;
    bool allow_patterns;
    char *channel_regex; /* owned; "" for none */
    regex_t *regex;      /* owned; compiled channel_regex or NULL */
    enum data_format publication_data_format;
    char *subject; /* owned; "" unless the namespace is a foreign feed */
    enum non_json non_json;
    int64_t history_size;
    int64_t history_ttl_ms;
    int64_t history_meta_ttl_ms; /* 0: channel.history_meta_ttl */
    bool force_recovery;
    bool allow_recovery;
    bool force_positioning;
    bool allow_positioning;
    enum recovery_mode force_recovery_mode;
    bool auto_cache_recover;
    bool allow_history_for_client;
    bool allow_history_for_subscriber;
    bool allow_history_for_anonymous;
    bool tell_gaps;
    char *stream; /* owned; an existing JetStream stream; "": one of ours */
    struct history_policy history; /* made of the above */
    struct throttle_settings throttle_settings;
    struct throttle_policy throttle; /* made of the settings; borrows them */
};

struct string_list {
    char **items; /* owned */
    size_t count;
};

/* Durations are milliseconds, sizes are bytes. */
struct config {
    struct {
        int level; /* enum log_level of base/log.h */
    } log;
    struct {
        char *name;
    } node;
    int64_t shards; /* as configured; 0 = CPUs this process may use */
    struct {
        char *address;
        int64_t port;
        int64_t max_header_size;
        int64_t max_body_size;
        int64_t header_timeout_ms;
        int64_t idle_timeout_ms;
    } http_server;
    struct {
        struct string_list allowed_origins;
        bool insecure;
        bool allow_anonymous_connect_without_token;
        int64_t ping_interval_ms;
        int64_t pong_timeout_ms;
        int64_t stale_close_delay_ms;
        int64_t queue_max_size;
        int64_t channel_limit;
        int64_t connection_limit;
        int64_t recovery_max_publication_limit;
        int64_t history_max_publication_limit;
        int64_t channel_position_check_delay_ms;
    } client;
    struct {
        bool disabled;
        char *handler_prefix;
        int64_t message_size_limit;
    } websocket;
    struct {
        bool enabled;
        char *handler_prefix;
        int64_t max_request_body_size;
    } uni_sse;
    struct {
        bool enabled;
        char *handler_prefix;
        int64_t ping_interval_ms;
        int64_t retry_ms;
        int64_t channel_limit;
    } sse;
    struct {
        bool disabled;
        char *key;
        bool insecure;
        bool error_mode_transport;
        char *handler_prefix;
    } http_api;
    struct {
        bool enabled;
        char *handler_prefix;
    } health;
    struct {
        bool enabled;
        char *handler_prefix;
    } prometheus;
    struct {
        bool enabled;
        char *root;
    } web;
    struct {
        int64_t timeout_ms;
    } shutdown;
    struct {
        int64_t inflight_max_size;
        int64_t slice;
    } hub;
    struct {
        int64_t max_items;
        int64_t max_bytes;
        int64_t idle_ttl_ms;
        int64_t notsent_lowat; /* 0: the kernel's own */
    } throttle;
    struct {
        int64_t max_bytes;
        int64_t idle_ttl_ms;    /* over a bus: after the last subscriber */
        int64_t heal_spread_ms; /* 2500s of one gap are spread over this */
        int64_t max_keys;       /* idempotency keys of the node */
    } history;
    struct {
        char *url;
        char *prefix;
        int64_t queue_max_size;
        int64_t connect_timeout_ms;
        int64_t reconnect_wait_ms;
        int64_t ping_interval_ms;
        char *user;
        char *password;
        char *token;
        char *credentials;
        int64_t grace_ms;
        int64_t stream_replicas;
        bool stream_in_memory;
        int64_t publish_timeout_ms; /* until JetStream has acknowledged */
    } nats;
    struct {
        int64_t max_length;
        int64_t max_publication_size;
        int64_t history_meta_ttl_ms;
        struct namespace_options without_namespace;
        struct namespace_options *namespaces; /* owned, sorted by name */
        size_t namespace_count;
    } channel;
};

/* Defaults, then the file (path may be NULL: none), then the environment
 * (`env` like environ, may be NULL; WEIR_ + the key in upper case with `.`
 * as `_`; lists and objects as JSON). Result: a config the caller frees, or
 * NULL with a one-line message in err[errlen] that names source, key, value
 * and what would be right (an unknown key: the nearest known one). */
struct config *config_load(const char *path, char *const *env, char *err,
                           size_t errlen) MUST_USE;

/* The same from memory; `source` is what messages call it. For tests. */
struct config *config_parse(const char *json, size_t len, const char *source,
                            char *const *env, char *err, size_t errlen)
    MUST_USE;

void config_free(struct config *cfg);

/* Set one key as if the file had it (the command line's --port and so on);
 * `value` in the environment's syntax. Re-validates the whole; 0 or
 * ERR_INVALID with a message, and then cfg is as it was. Every pointer taken
 * out of cfg before is gone: for use before anybody has one. */
int config_set(struct config *cfg, const char *key, const char *value,
               char *err, size_t errlen) MUST_USE;

/* The effective configuration as JSON that config_load accepts, except that
 * secrets, those inside nats.url included, are printed as "***". */
void config_print(const struct config *cfg, FILE *to);

/* Options for a namespace name ("" = without_namespace); NULL if unknown.
 * The pointer lives as long as cfg. O(log namespaces). */
const struct namespace_options *config_namespace(const struct config *cfg,
                                                 struct str name);

#endif
