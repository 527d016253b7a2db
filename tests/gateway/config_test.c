/* config_test.c — every key of the configuration from every source, and back
 * out; config_refusal_test.c has what is refused, config_throttle_test.c the
 * section `throttle`, config_history_test.c history, config_env_test.c how
 * the environment is written. */
#include "gateway/config.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"

#define ERR_LEN 1024

static struct config *parse_env(const char *json, char *const *env, char *err)
{
    err[0] = '\0';
    return config_parse(json, strlen(json), "config.json", env, err, ERR_LEN);
}

/* A configuration that must be right. */
static struct config *good(const char *json, char *const *env)
{
    char err[ERR_LEN];
    struct config *cfg = parse_env(json, env, err);
    if (!cfg)
        fail_msg("%s: %s", json, err);
    return cfg;
}

static char *printed(const struct config *cfg)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    config_print(cfg, f);
    fclose(f);
    return text;
}

/* The printed value of a dotted key as compact JSON; the caller frees. */
static char *printed_value(const struct config *cfg, const char *key)
{
    char *text = printed(cfg);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    struct str rest = str_of(key);
    json_t *v = root;
    while (rest.n) {
        struct str part = str_cut(&rest, '.');
        v = json_object_getn(v, part.p, part.n);
        if (!v)
            fail_msg("%s is not printed", key);
    }
    char *value = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    json_decref(root);
    free(text);
    return value;
}

static void assert_printed(const struct config *cfg, const char *key,
                           const char *want)
{
    char *value = printed_value(cfg, key);
    if (strcmp(value, want) != 0)
        fail_msg("%s is %s, want %s", key, value, want);
    free(value);
}

/* --- defaults --- */

/* The keys that every_key cannot change: only mode "all" has a buffer, only a
 * namespace without history tells gaps. */
#define BUFFER "channel.without_namespace.throttle.buffer"
#define TELL_GAPS "channel.without_namespace.tell_gaps"

static const struct {
    const char *key;
    const char *value;
} defaults[] = {
    {"log.level", "\"info\""},
    {"node.name", "\"\""},
    {"shards", "0"},
    {"http_server.address", "\"\""},
    {"http_server.port", "8000"},
    {"http_server.max_header_size", "8192"},
    {"http_server.max_body_size", "1048576"},
    {"http_server.header_timeout", "\"10s\""},
    {"http_server.idle_timeout", "\"1m15s\""},
    {"client.allowed_origins", "[]"},
    {"client.insecure", "false"},
    {"client.allow_anonymous_connect_without_token", "false"},
    {"client.ping_interval", "\"25s\""},
    {"client.pong_timeout", "\"8s\""},
    {"client.stale_close_delay", "\"10s\""},
    {"client.queue_max_size", "1048576"},
    {"client.channel_limit", "128"},
    {"client.connection_limit", "0"},
    {"client.recovery_max_publication_limit", "300"},
    {"client.history_max_publication_limit", "300"},
    {"client.channel_position_check_delay", "\"40s\""},
    {"websocket.disabled", "false"},
    {"websocket.handler_prefix", "\"/connection/websocket\""},
    {"websocket.message_size_limit", "65536"},
    {"uni_sse.enabled", "false"},
    {"uni_sse.handler_prefix", "\"/connection/uni_sse\""},
    {"uni_sse.max_request_body_size", "65536"},
    {"sse.enabled", "true"},
    {"sse.handler_prefix", "\"/sse\""},
    {"sse.ping_interval", "\"25s\""},
    {"sse.retry", "\"3s\""},
    {"sse.channel_limit", "128"},
    {"http_api.disabled", "false"},
    {"http_api.key", "\"\""},
    {"http_api.insecure", "false"},
    {"http_api.error_mode", "\"\""},
    {"http_api.handler_prefix", "\"/api\""},
    {"health.enabled", "true"},
    {"health.handler_prefix", "\"/health\""},
    {"prometheus.enabled", "true"},
    {"prometheus.handler_prefix", "\"/metrics\""},
    {"web.enabled", "false"},
    {"web.root", "\"\""},
    {"shutdown.timeout", "\"10s\""},
    {"hub.inflight_max_size", "268435456"},
    {"hub.slice", "128"},
    {"throttle.max_items", "1000"},
    {"throttle.max_bytes", "67108864"},
    {"throttle.idle_ttl", "\"1m\""},
    {"throttle.notsent_lowat", "4096"},
    {"history.max_bytes", "268435456"},
    {"history.idle_ttl", "\"1m\""},
    {"history.heal_spread", "\"5s\""},
    {"history.max_keys", "100000"},
    {"nats.url", "\"\""},
    {"nats.prefix", "\"weir\""},
    {"nats.queue_max_size", "16777216"},
    {"nats.connect_timeout", "\"1s\""},
    {"nats.reconnect_wait", "\"250ms\""},
    {"nats.ping_interval", "\"5s\""},
    {"nats.user", "\"\""},
    {"nats.password", "\"\""},
    {"nats.token", "\"\""},
    {"nats.credentials", "\"\""},
    {"nats.grace", "\"20s\""},
    {"nats.stream_replicas", "1"},
    {"nats.stream_storage", "\"file\""},
    {"nats.publish_timeout", "\"5s\""},
    {"channel.max_length", "255"},
    {"channel.max_publication_size", "65536"},
    {"channel.history_meta_ttl", "\"720h\""},
    {"channel.without_namespace.allow_subscribe_for_client", "false"},
    {"channel.without_namespace.allow_subscribe_for_anonymous", "false"},
    {"channel.without_namespace.allow_publish_for_client", "false"},
    {"channel.without_namespace.allow_publish_for_subscriber", "false"},
    {"channel.without_namespace.allow_publish_for_anonymous", "false"},
    {"channel.without_namespace.allow_patterns", "false"},
    {"channel.without_namespace.channel_regex", "\"\""},
    {"channel.without_namespace.publication_data_format", "\"\""},
    {"channel.without_namespace.subject", "\"\""},
    {"channel.without_namespace.non_json", "\"drop\""},
    {"channel.without_namespace.history_size", "0"},
    {"channel.without_namespace.history_ttl", "\"0s\""},
    {"channel.without_namespace.history_meta_ttl", "\"0s\""},
    {"channel.without_namespace.force_recovery", "false"},
    {"channel.without_namespace.allow_recovery", "false"},
    {"channel.without_namespace.force_positioning", "false"},
    {"channel.without_namespace.allow_positioning", "false"},
    {"channel.without_namespace.force_recovery_mode", "\"\""},
    {"channel.without_namespace.auto_cache_recover", "false"},
    {"channel.without_namespace.allow_history_for_client", "false"},
    {"channel.without_namespace.allow_history_for_subscriber", "false"},
    {"channel.without_namespace.allow_history_for_anonymous", "false"},
    {TELL_GAPS, "false"},
    {"channel.without_namespace.stream", "\"\""},
    {"channel.without_namespace.throttle.mode", "\"all\""},
    {"channel.without_namespace.throttle.key", "\"\""},
    {"channel.without_namespace.throttle.rate", "0"},
    {"channel.without_namespace.throttle.on_full", "\"\""},
    {BUFFER, "0"},
    {"channel.without_namespace.throttle.snapshot", "0"},
    {"channel.without_namespace.throttle.bandwidth", "0"},
    {"channel.without_namespace.throttle.allow_client_rate", "true"},
    {"channel.without_namespace.throttle.annotate", "false"},
    {"channel.without_namespace.throttle.order_group", "\"\""},
    {"channel.namespaces", "[]"},
};

static size_t leaf_count(json_t *v)
{
    const char *name;
    json_t *member;
    size_t n = 0;
    if (!json_is_object(v))
        return 1;
    json_object_foreach(v, name, member)
        n += leaf_count(member);
    return n;
}

static void test_every_default(void **state)
{
    (void)state;
    char err[ERR_LEN];
    struct config *cfg = config_load(NULL, NULL, err, sizeof(err));
    assert_non_null(cfg);
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        assert_printed(cfg, defaults[i].key, defaults[i].value);
    char *text = printed(cfg);
    json_t *root = json_loads(text, 0, NULL);
    assert_int_equal(leaf_count(root), ARRAY_LEN(defaults));
    json_decref(root);
    free(text);
    assert_string_equal(cfg->channel.without_namespace.name, "");
    config_free(cfg);
}

/* --- every key and the field it belongs to --- */

static const char every_key[] =
    "{\"log\":{\"level\":\"debug\"},\"node\":{\"name\":\"n1\"},\"shards\":3,"
    "\"http_server\":{\"address\":\"127.0.0.9\",\"port\":9001,"
    "\"max_header_size\":9002,\"max_body_size\":9003,"
    "\"header_timeout\":\"4s\",\"idle_timeout\":\"5s\"},"
    "\"client\":{\"allowed_origins\":[\"https://a\",\"https://*.b\"],"
    "\"insecure\":true,\"allow_anonymous_connect_without_token\":true,"
    "\"ping_interval\":\"11s\",\"pong_timeout\":\"6s\","
    "\"stale_close_delay\":\"7s\",\"queue_max_size\":9008,"
    "\"channel_limit\":9009,\"connection_limit\":9010,"
    "\"recovery_max_publication_limit\":931,"
    "\"history_max_publication_limit\":932,"
    "\"channel_position_check_delay\":\"33s\"},"
    "\"websocket\":{\"disabled\":true,\"handler_prefix\":\"/ws\","
    "\"message_size_limit\":9011},"
    "\"uni_sse\":{\"enabled\":true,\"handler_prefix\":\"/u\","
    "\"max_request_body_size\":9012},"
    "\"sse\":{\"enabled\":false,\"handler_prefix\":\"/e\","
    "\"ping_interval\":\"13s\",\"retry\":\"14s\",\"channel_limit\":915},"
    "\"http_api\":{\"disabled\":true,\"key\":\"k\",\"insecure\":true,"
    "\"error_mode\":\"transport\",\"handler_prefix\":\"/a\"},"
    "\"health\":{\"enabled\":false,\"handler_prefix\":\"/h\"},"
    "\"prometheus\":{\"enabled\":false,\"handler_prefix\":\"/m\"},"
    "\"web\":{\"enabled\":true,\"root\":\"/\"},"
    "\"shutdown\":{\"timeout\":\"16s\"},"
    "\"hub\":{\"inflight_max_size\":9017,\"slice\":918},"
    "\"throttle\":{\"max_items\":9025,\"max_bytes\":90026,"
    "\"idle_ttl\":\"27s\",\"notsent_lowat\":9028},"
    "\"history\":{\"max_bytes\":90034,\"idle_ttl\":\"35s\","
    "\"heal_spread\":\"36s\",\"max_keys\":9037},"
    "\"nats\":{\"url\":\"nats://h:1\",\"prefix\":\"p.q\","
    "\"queue_max_size\":9019,\"connect_timeout\":\"20s\","
    "\"reconnect_wait\":\"21s\",\"ping_interval\":\"22s\",\"user\":\"u\","
    "\"password\":\"pw\",\"token\":\"t\",\"credentials\":\"/c\","
    "\"grace\":\"23s\",\"stream_replicas\":3,"
    "\"stream_storage\":\"memory\",\"publish_timeout\":\"38s\"},"
    "\"channel\":{\"max_length\":99,\"max_publication_size\":9024,"
    "\"history_meta_ttl\":\"39h\","
    "\"without_namespace\":{\"allow_subscribe_for_client\":true,"
    "\"allow_subscribe_for_anonymous\":true,"
    "\"allow_publish_for_client\":true,"
    "\"allow_publish_for_subscriber\":true,"
    "\"allow_publish_for_anonymous\":true,\"allow_patterns\":true,"
    "\"channel_regex\":\"^x\",\"publication_data_format\":\"json\","
    "\"subject\":\"s.one\",\"non_json\":\"string\","
    "\"history_size\":940,\"history_ttl\":\"41s\","
    "\"history_meta_ttl\":\"42s\",\"force_recovery\":true,"
    "\"allow_recovery\":true,\"force_positioning\":true,"
    "\"allow_positioning\":true,\"force_recovery_mode\":\"cache\","
    "\"auto_cache_recover\":true,\"allow_history_for_client\":true,"
    "\"allow_history_for_subscriber\":true,"
    "\"allow_history_for_anonymous\":true,\"tell_gaps\":false,"
    "\"stream\":\"S-1\","
    "\"throttle\":{\"mode\":\"merge\",\"key\":\"/a~1b/~0\",\"rate\":0.2,"
    "\"on_full\":\"conflate\",\"buffer\":0,\"snapshot\":29,"
    "\"bandwidth\":9030,\"allow_client_rate\":false,\"annotate\":true,"
    "\"order_group\":\"gg\"}},"
    "\"namespaces\":[{\"name\":\"zz\",\"allow_publish_for_client\":true,"
    "\"channel_regex\":\"^[0-9]{1,4}$\","
    "\"publication_data_format\":\"binary\",\"subject\":\"s.two\","
    "\"throttle\":{\"mode\":\"latest\",\"rate\":20}},"
    "{\"name\":\"aa\",\"publication_data_format\":\"json_object\","
    "\"tell_gaps\":true}]}}";

static void check_front(const struct config *cfg)
{
    assert_int_equal(cfg->log.level, LOG_DEBUG);
    assert_string_equal(cfg->node.name, "n1");
    assert_int_equal(cfg->shards, 3);
    assert_string_equal(cfg->http_server.address, "127.0.0.9");
    assert_int_equal(cfg->http_server.port, 9001);
    assert_int_equal(cfg->http_server.max_header_size, 9002);
    assert_int_equal(cfg->http_server.max_body_size, 9003);
    assert_int_equal(cfg->http_server.header_timeout_ms, 4000);
    assert_int_equal(cfg->http_server.idle_timeout_ms, 5000);
    assert_int_equal(cfg->client.allowed_origins.count, 2);
    assert_string_equal(cfg->client.allowed_origins.items[0], "https://a");
    assert_string_equal(cfg->client.allowed_origins.items[1], "https://*.b");
    assert_true(cfg->client.insecure);
    assert_true(cfg->client.allow_anonymous_connect_without_token);
    assert_int_equal(cfg->client.ping_interval_ms, 11000);
    assert_int_equal(cfg->client.pong_timeout_ms, 6000);
    assert_int_equal(cfg->client.stale_close_delay_ms, 7000);
    assert_int_equal(cfg->client.queue_max_size, 9008);
    assert_int_equal(cfg->client.channel_limit, 9009);
    assert_int_equal(cfg->client.connection_limit, 9010);
    assert_int_equal(cfg->client.recovery_max_publication_limit, 931);
    assert_int_equal(cfg->client.history_max_publication_limit, 932);
    assert_int_equal(cfg->client.channel_position_check_delay_ms, 33000);
}

static void check_endpoints(const struct config *cfg)
{
    assert_true(cfg->websocket.disabled);
    assert_string_equal(cfg->websocket.handler_prefix, "/ws");
    assert_int_equal(cfg->websocket.message_size_limit, 9011);
    assert_true(cfg->uni_sse.enabled);
    assert_string_equal(cfg->uni_sse.handler_prefix, "/u");
    assert_int_equal(cfg->uni_sse.max_request_body_size, 9012);
    assert_false(cfg->sse.enabled);
    assert_string_equal(cfg->sse.handler_prefix, "/e");
    assert_int_equal(cfg->sse.ping_interval_ms, 13000);
    assert_int_equal(cfg->sse.retry_ms, 14000);
    assert_int_equal(cfg->sse.channel_limit, 915);
    assert_true(cfg->http_api.disabled);
    assert_string_equal(cfg->http_api.key, "k");
    assert_true(cfg->http_api.insecure);
    assert_true(cfg->http_api.error_mode_transport);
    assert_string_equal(cfg->http_api.handler_prefix, "/a");
    assert_false(cfg->health.enabled);
    assert_string_equal(cfg->health.handler_prefix, "/h");
    assert_false(cfg->prometheus.enabled);
    assert_string_equal(cfg->prometheus.handler_prefix, "/m");
    assert_true(cfg->web.enabled);
    assert_string_equal(cfg->web.root, "/");
}

static void check_back(const struct config *cfg)
{
    assert_int_equal(cfg->shutdown.timeout_ms, 16000);
    assert_int_equal(cfg->hub.inflight_max_size, 9017);
    assert_int_equal(cfg->hub.slice, 918);
    assert_int_equal(cfg->throttle.max_items, 9025);
    assert_int_equal(cfg->throttle.max_bytes, 90026);
    assert_int_equal(cfg->throttle.idle_ttl_ms, 27000);
    assert_int_equal(cfg->throttle.notsent_lowat, 9028);
    assert_int_equal(cfg->history.max_bytes, 90034);
    assert_int_equal(cfg->history.idle_ttl_ms, 35000);
    assert_int_equal(cfg->history.heal_spread_ms, 36000);
    assert_int_equal(cfg->history.max_keys, 9037);
    assert_string_equal(cfg->nats.url, "nats://h:1");
    assert_string_equal(cfg->nats.prefix, "p.q");
    assert_int_equal(cfg->nats.queue_max_size, 9019);
    assert_int_equal(cfg->nats.connect_timeout_ms, 20000);
    assert_int_equal(cfg->nats.reconnect_wait_ms, 21000);
    assert_int_equal(cfg->nats.ping_interval_ms, 22000);
    assert_string_equal(cfg->nats.user, "u");
    assert_string_equal(cfg->nats.password, "pw");
    assert_string_equal(cfg->nats.token, "t");
    assert_string_equal(cfg->nats.credentials, "/c");
    assert_int_equal(cfg->nats.grace_ms, 23000);
    assert_int_equal(cfg->nats.stream_replicas, 3);
    assert_true(cfg->nats.stream_in_memory);
    assert_int_equal(cfg->nats.publish_timeout_ms, 38000);
    assert_int_equal(cfg->channel.max_length, 99);
    assert_int_equal(cfg->channel.max_publication_size, 9024);
    assert_int_equal(cfg->channel.history_meta_ttl_ms, 39 * 3600000);
}

static void check_namespaces(const struct config *cfg)
{
    const struct namespace_options *ns = &cfg->channel.without_namespace;
    assert_true(ns->allow_subscribe_for_client);
    assert_true(ns->allow_subscribe_for_anonymous);
    assert_true(ns->allow_publish_for_client);
    assert_true(ns->allow_publish_for_subscriber);
    assert_true(ns->allow_publish_for_anonymous);
    assert_true(ns->allow_patterns);
    assert_string_equal(ns->channel_regex, "^x");
    assert_int_equal(regexec(ns->regex, "xy", 0, NULL, 0), 0);
    assert_int_equal(ns->publication_data_format, DATA_FORMAT_JSON);
    assert_string_equal(ns->subject, "s.one");
    assert_int_equal(ns->non_json, NON_JSON_STRING);

    assert_int_equal(cfg->channel.namespace_count, 2);
    ns = &cfg->channel.namespaces[0];
    assert_string_equal(ns->name, "aa");
    assert_int_equal(ns->publication_data_format, DATA_FORMAT_JSON_OBJECT);
    assert_false(ns->allow_publish_for_client);
    assert_null(ns->regex);
    assert_int_equal(ns->non_json, NON_JSON_DROP);
    ns = &cfg->channel.namespaces[1];
    assert_string_equal(ns->name, "zz");
    assert_int_equal(ns->publication_data_format, DATA_FORMAT_BINARY);
    assert_true(ns->allow_publish_for_client);
    assert_false(ns->allow_publish_for_subscriber);
    assert_string_equal(ns->subject, "s.two");
    assert_int_equal(regexec(ns->regex, "1234", 0, NULL, 0), 0);
    assert_int_equal(regexec(ns->regex, "12345", 0, NULL, 0), REG_NOMATCH);
}

static void check_history(const struct config *cfg)
{
    const struct namespace_options *ns = &cfg->channel.without_namespace;
    assert_int_equal(ns->history_size, 940);
    assert_int_equal(ns->history_ttl_ms, 41000);
    assert_int_equal(ns->history_meta_ttl_ms, 42000);
    assert_true(ns->force_recovery);
    assert_true(ns->allow_recovery);
    assert_true(ns->force_positioning);
    assert_true(ns->allow_positioning);
    assert_int_equal(ns->force_recovery_mode, RECOVERY_CACHE);
    assert_true(ns->auto_cache_recover);
    assert_true(ns->allow_history_for_client);
    assert_true(ns->allow_history_for_subscriber);
    assert_true(ns->allow_history_for_anonymous);
    assert_false(ns->tell_gaps);
    assert_string_equal(ns->stream, "S-1");

    assert_true(cfg->channel.namespaces[0].tell_gaps);
    ns = &cfg->channel.namespaces[1];
    assert_int_equal(ns->history_size, 0);
    assert_int_equal(ns->force_recovery_mode, RECOVERY_DEFAULT);
    assert_false(ns->tell_gaps);
    assert_string_equal(ns->stream, "");
}

static void check_policies(const struct config *cfg)
{
    const struct namespace_options *ns = &cfg->channel.without_namespace;
    const struct throttle_policy *p = &ns->throttle;
    assert_int_equal(p->mode, THROTTLE_MERGE);
    assert_true(str_eq(p->key, STR_LIT("/a~1b/~0")));
    assert_ptr_equal(p->key.p, ns->throttle_settings.key);
    assert_int_equal(p->rate, 200);
    assert_int_equal(p->on_full, THROTTLE_CONFLATE);
    assert_int_equal(p->buffer, 0);
    assert_int_equal(p->snapshot, 29);
    assert_int_equal(p->bandwidth, 9030);
    assert_false(p->allow_client_rate);
    assert_true(p->annotate);
    assert_int_equal(p->order_group, 1);

    p = &cfg->channel.namespaces[1].throttle;
    assert_int_equal(p->mode, THROTTLE_LATEST);
    assert_int_equal(p->rate, 20000);
    assert_int_equal(p->on_full, THROTTLE_CONFLATE);
    assert_true(p->allow_client_rate);
    assert_int_equal(p->order_group, 0);
}

static void check_every_key(const struct config *cfg)
{
    check_front(cfg);
    check_endpoints(cfg);
    check_back(cfg);
    check_namespaces(cfg);
    check_history(cfg);
    check_policies(cfg);
}

static void test_every_key_from_the_file(void **state)
{
    (void)state;
    struct config *cfg = good(every_key, NULL);
    check_every_key(cfg);
    /* None of them is at its default, or the check would be worth less. */
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
        if (strcmp(defaults[i].key, BUFFER) == 0 ||
            strcmp(defaults[i].key, TELL_GAPS) == 0)
            continue;
        char *value = printed_value(cfg, defaults[i].key);
        if (strcmp(value, defaults[i].value) == 0)
            fail_msg("%s is at its default", defaults[i].key);
        free(value);
    }
    config_free(cfg);
}

/* "client.insecure", true -> "WEIR_CLIENT_INSECURE=true" */
static char *make_variable(const char *key, json_t *v)
{
    char name[128];
    size_t n = 0;
    for (; key[n]; n++)
        name[n] =
            key[n] == '.' ? '_' : (char)(key[n] - (key[n] >= 'a' ? 32 : 0));
    name[n] = '\0';
    char *text = json_is_string(v) ? strdup(json_string_value(v))
                                   : json_dumps(v, JSON_ENCODE_ANY);
    char *entry = NULL;
    assert_true(asprintf(&entry, "WEIR_%s=%s", name, text) > 0);
    free(text);
    return entry;
}

static void test_every_key_from_the_environment(void **state)
{
    (void)state;
    json_t *root = json_loads(every_key, 0, NULL);
    char *env[ARRAY_LEN(defaults) + 1];
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
        struct str rest = str_of(defaults[i].key);
        json_t *v = root;
        while (rest.n) {
            struct str part = str_cut(&rest, '.');
            v = json_object_getn(v, part.p, part.n);
        }
        assert_non_null(v);
        env[i] = make_variable(defaults[i].key, v);
    }
    env[ARRAY_LEN(defaults)] = NULL;
    struct config *cfg = good("{}", env);
    check_every_key(cfg);
    config_free(cfg);
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        free(env[i]);
    json_decref(root);
}

static void test_print_is_read_again(void **state)
{
    (void)state;
    struct config *cfg = good(every_key, NULL);
    char *first = printed(cfg);
    struct config *again = good(first, NULL);
    char *second = printed(again);
    assert_string_equal(first, second);
    assert_int_equal(strncmp(first, "{\n  \"log\": {\n    \"level\"", 22), 0);
    check_front(again);
    check_namespaces(again);
    check_history(again);
    check_policies(again);
    free(first);
    free(second);
    config_free(cfg);
    config_free(again);
}

static void test_print_hides_secrets(void **state)
{
    (void)state;
    struct config *cfg =
        good("{\"http_api\":{\"key\":\"S3CR\"},\"nats\":{\"password\":\"S3CR\","
             "\"token\":\"S3CR\",\"url\":\"nats://joe:S3CR@h:1 , tls://h:2,"
             "nats://S3CR@h:3\"}}",
             NULL);
    assert_string_equal(cfg->nats.url,
                        "nats://joe:S3CR@h:1,tls://h:2,nats://S3CR@h:3");
    assert_printed(cfg, "http_api.key", "\"***\"");
    assert_printed(cfg, "nats.password", "\"***\"");
    assert_printed(cfg, "nats.token", "\"***\"");
    assert_printed(cfg, "nats.url",
                   "\"nats://joe:***@h:1,tls://h:2,nats://***@h:3\"");
    char *text = printed(cfg);
    assert_null(strstr(text, "S3CR"));
    struct config *again = good(text, NULL);
    config_free(again);
    free(text);
    config_free(cfg);
}

/* --- durations --- */

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
        const char *print;
    } times[] = {
        {"0s", 0, "\"0s\""},
        {"0", 0, "\"0s\""},
        {"25s", 25000, "\"25s\""},
        {"300ms", 300, "\"300ms\""},
        {"1m30s", 90000, "\"1m30s\""},
        {"90s", 90000, "\"1m30s\""},
        {"1h", 3600000, "\"1h\""},
        {"1.5s", 1500, "\"1s500ms\""},
        {"0.25s", 250, "\"250ms\""},
        {"1.5h", 5400000, "\"1h30m\""},
        {"23h59m59s999ms", 86399999, "\"23h59m59s999ms\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct config *cfg = good("{}", NULL);
        char err[ERR_LEN];
        const char *key =
            times[i].ms ? "http_server.idle_timeout" : "client.ping_interval";
        assert_int_equal(config_set(cfg, key, times[i].text, err, sizeof(err)),
                         0);
        assert_int_equal(times[i].ms ? cfg->http_server.idle_timeout_ms
                                     : cfg->client.ping_interval_ms,
                         times[i].ms);
        assert_printed(cfg, key, times[i].print);
        config_free(cfg);
    }
}

/* --- files --- */

static void test_files(void **state)
{
    (void)state;
    char err[ERR_LEN];
    char path[] = "/tmp/weir-config-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "{\"shards\":4}", 12), 12);
    struct config *cfg = config_load(path, NULL, err, sizeof(err));
    assert_non_null(cfg);
    assert_int_equal(cfg->shards, 4);
    config_free(cfg);

    char want[256];
    assert_int_equal(ftruncate(fd, 11), 0);
    assert_null(config_load(path, NULL, err, sizeof(err)));
    snprintf(want, sizeof(want), "%s:1:11: '}' expected near end of file",
             path);
    assert_string_equal(err, want);

    assert_int_equal(ftruncate(fd, (16 << 20) + 1), 0);
    assert_null(config_load(path, NULL, err, sizeof(err)));
    snprintf(want, sizeof(want), "%s: larger than 16 MiB", path);
    assert_string_equal(err, want);
    close(fd);
    unlink(path);

    assert_null(config_load(path, NULL, err, sizeof(err)));
    snprintf(want, sizeof(want), "%s: No such file or directory", path);
    assert_string_equal(err, want);
    assert_null(config_load("/", NULL, err, sizeof(err)));
    assert_string_equal(err, "/: Is a directory");
}

/* --- one key at a time --- */

static void test_set(void **state)
{
    (void)state;
    char err[ERR_LEN];
    struct config *cfg = good(every_key, NULL);
    assert_int_equal(
        config_set(cfg, "http_server.port", "9000", err, sizeof(err)), 0);
    assert_int_equal(cfg->http_server.port, 9000);
    assert_string_equal(cfg->http_api.key, "k"); /* not "***" */
    check_namespaces(cfg);
    check_history(cfg);
    check_policies(cfg);
    assert_int_equal(
        config_set(cfg, "nats.url", "nats://u:p@h,tls://i", err, sizeof(err)),
        0);
    assert_int_equal(config_set(cfg, "shards", "2", err, sizeof(err)), 0);
    assert_string_equal(cfg->nats.url, "nats://u:p@h,tls://i");
    assert_int_equal(cfg->shards, 2);
    config_free(cfg);
}

/* --- the reference --- */

static char *read_reference(void)
{
    char path[512];
    const char *tests = strstr(__FILE__, "tests/gateway/");
    assert_non_null(tests);
    snprintf(path, sizeof(path), "%.*sdocs/configuration.md",
             (int)(tests - __FILE__), __FILE__);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot read %s: run from the top of the tree", path);
    char *text = calloc(1, 1 << 20);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

/* | `key` | type | default | with the variable in the same row. */
static void test_reference_names_every_key(void **state)
{
    (void)state;
    char *text = read_reference();
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
        char row[160];
        snprintf(row, sizeof(row), "\n| `%s` |", defaults[i].key);
        char *at = strstr(text, row);
        if (!at)
            fail_msg("docs/configuration.md has no row for %s",
                     defaults[i].key);
        char *line = strndup(at + 1, strcspn(at + 1, "\n"));
        json_t *empty = json_null();
        char *entry = make_variable(defaults[i].key, empty);
        *strchr(entry, '=') = '\0';
        if (!strstr(line, entry))
            fail_msg("the row of %s lacks %s", defaults[i].key, entry);
        char value[96];
        snprintf(value, sizeof(value), "| `%s` |", defaults[i].value);
        if (!strstr(line, value))
            fail_msg("the row of %s lacks the default %s", defaults[i].key,
                     defaults[i].value);
        free(entry);
        free(line);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_default),
        cmocka_unit_test(test_every_key_from_the_file),
        cmocka_unit_test(test_every_key_from_the_environment),
        cmocka_unit_test(test_print_is_read_again),
        cmocka_unit_test(test_print_hides_secrets),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_reference_names_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
