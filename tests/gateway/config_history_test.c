/* config_history_test.c — what a namespace says about history: the policy that
 * is made of it, and what is refused. Messages are compared whole: an operator
 * acts on them. */
#include "gateway/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define ERR_LEN 1024
#define HOUR_MS 3600000

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

/* A configuration that must be refused with exactly this message. */
static void refused(const char *json, char *const *env, const char *want)
{
    char err[ERR_LEN];
    struct config *cfg = parse_env(json, env, err);
    config_free(cfg);
    if (cfg)
        fail_msg("accepted: %s", json);
    assert_string_equal(err, want);
}

/* One namespace "ns" with these options; `rest` goes before "channel". */
static char *make_json(const char *rest, const char *options)
{
    char *json = NULL;
    assert_true(asprintf(&json,
                         "{%s\"channel\":{\"namespaces\":[{\"name\":\"ns\"%s%s}"
                         "]}}",
                         rest, *options ? "," : "", options) > 0);
    return json;
}

static struct config *with_options(const char *options)
{
    char *json = make_json("", options);
    struct config *cfg = good(json, NULL);
    free(json);
    return cfg;
}

#define HISTORY "\"history_size\":100,\"history_ttl\":\"5m\""
#define CACHE HISTORY ",\"force_recovery_mode\":\"cache\""
#define NATS "\"nats\":{\"url\":\"nats://h:1\"},"

/* --- the policy --- */

static void test_defaults(void **state)
{
    (void)state;
    struct config *cfg = with_options("");
    const struct history_policy *p = &cfg->channel.namespaces[0].history;
    assert_int_equal(p->size, 0);
    assert_int_equal(p->ttl_ms, 0);
    assert_int_equal(p->meta_ttl_ms, 720 * (uint64_t)HOUR_MS);
    assert_false(p->cache);
    assert_false(p->auto_cache);
    assert_false(p->tell_gaps);
    assert_int_equal(cfg->channel.without_namespace.history.meta_ttl_ms,
                     720 * (uint64_t)HOUR_MS);
    config_free(cfg);
}

static void test_policy(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        struct history_policy want;
    } cases[] = {
        {HISTORY, {100, 300000, 720 * (uint64_t)HOUR_MS, false, false, false}},
        {HISTORY ",\"history_meta_ttl\":\"1h\"",
         {100, 300000, HOUR_MS, false, false, false}},
        {HISTORY ",\"force_recovery_mode\":\"stream\"",
         {100, 300000, 720 * (uint64_t)HOUR_MS, false, false, false}},
        {CACHE, {100, 300000, 720 * (uint64_t)HOUR_MS, true, false, false}},
        {CACHE ",\"auto_cache_recover\":true",
         {100, 300000, 720 * (uint64_t)HOUR_MS, true, true, false}},
        {"\"tell_gaps\":true",
         {0, 0, 720 * (uint64_t)HOUR_MS, false, false, true}},
        {"\"history_size\":1000000,\"history_ttl\":\"720h\"",
         {1000000, 720 * (uint64_t)HOUR_MS, 720 * (uint64_t)HOUR_MS, false,
          false, false}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *cfg = with_options(cases[i].options);
        const struct history_policy *p = &cfg->channel.namespaces[0].history;
        assert_int_equal(p->size, cases[i].want.size);
        assert_int_equal(p->ttl_ms, cases[i].want.ttl_ms);
        assert_int_equal(p->meta_ttl_ms, cases[i].want.meta_ttl_ms);
        assert_int_equal(p->cache, cases[i].want.cache);
        assert_int_equal(p->auto_cache, cases[i].want.auto_cache);
        assert_int_equal(p->tell_gaps, cases[i].want.tell_gaps);
        config_free(cfg);
    }
}

/* Each namespace has its own, whatever order they are written in. */
static void test_policies_of_several(void **state)
{
    (void)state;
    struct config *cfg = good(
        "{\"channel\":{\"namespaces\":["
        "{\"name\":\"zz\",\"history_size\":3,\"history_ttl\":\"3s\","
        "\"stream\":\"S\"},"
        "{\"name\":\"mm\"},"
        "{\"name\":\"aa\",\"history_size\":5,\"history_ttl\":\"5s\","
        "\"history_meta_ttl\":\"6s\",\"stream\":\"S\"}],"
        "\"without_namespace\":{\"history_size\":7,\"history_ttl\":\"7s\"},"
        "\"history_meta_ttl\":\"8s\"}}",
        NULL);
    static const struct {
        const char *name;
        uint32_t size;
        uint64_t meta_ttl_ms;
        const char *stream;
    } want[] = {
        {"zz", 3, 8000, "S"},
        {"mm", 0, 8000, ""},
        {"aa", 5, 6000, "S"},
        {"", 7, 8000, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const struct namespace_options *ns =
            config_namespace(cfg, str_of(want[i].name));
        assert_int_equal(ns->history.size, want[i].size);
        assert_int_equal(ns->history.meta_ttl_ms, want[i].meta_ttl_ms);
        assert_string_equal(ns->stream, want[i].stream);
    }
    config_free(cfg);
}

static void test_recovery_modes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum recovery_mode mode;
    } modes[] = {
        {"", RECOVERY_DEFAULT},
        {"stream", RECOVERY_STREAM},
        {"cache", RECOVERY_CACHE},
    };
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        char options[128];
        snprintf(options, sizeof(options),
                 HISTORY ",\"force_recovery_mode\":\"%s\"", modes[i].text);
        struct config *cfg = with_options(options);
        assert_int_equal(cfg->channel.namespaces[0].force_recovery_mode,
                         modes[i].mode);
        config_free(cfg);
    }
}

/* In whichever order its variables come. */
static void test_environment(void **state)
{
    (void)state;
    char *env[] = {"WEIR_CHANNEL_WITHOUT_NAMESPACE_FORCE_RECOVERY=1",
                   "WEIR_CHANNEL_WITHOUT_NAMESPACE_HISTORY_TTL=1.5s",
                   "WEIR_CHANNEL_WITHOUT_NAMESPACE_HISTORY_SIZE=9",
                   "WEIR_CHANNEL_HISTORY_META_TTL=2s", NULL};
    struct config *cfg = good("{}", env);
    const struct namespace_options *ns = &cfg->channel.without_namespace;
    assert_true(ns->force_recovery);
    assert_int_equal(ns->history.size, 9);
    assert_int_equal(ns->history.ttl_ms, 1500);
    assert_int_equal(ns->history.meta_ttl_ms, 2000);
    config_free(cfg);

    char *gaps[] = {"WEIR_CHANNEL_WITHOUT_NAMESPACE_TELL_GAPS=1", NULL};
    cfg = good("{}", gaps);
    assert_true(cfg->channel.without_namespace.tell_gaps);
    assert_true(cfg->channel.without_namespace.history.tell_gaps);
    config_free(cfg);
}

/* --- what is refused --- */

/* In a namespace; alone, and once all are known by name. */
#define NS "config.json: key \"channel.namespaces[0]."
#define NAMED "config.json: key \"channel.namespaces[ns]."
#define UNLESS "; want false, unless history_size and history_ttl are set"
#define WANT_AGE "; want a duration from \"1s\" to \"8760h\", or \"0s\""
#define WANT_TTL \
    "; want a duration of at least \"1s\", since history_size is not 0"
#define WANT_SIZE \
    "; want an integer of at least 1, since history_ttl is not \"0s\""
#define WANT_STREAM                                                        \
    "; want the name of a JetStream stream, of the characters -, _, a-z, " \
    "A-Z, 0-9, or \"\" for weir's own"
#define WANT_NATS                                                    \
    "; want false, since nats.url is set: on NATS a position needs " \
    "history_size and history_ttl"
#define WANT_NO_CACHE \
    "; want \"\" or \"stream\"; \"cache\" needs history_size and history_ttl"

static const struct {
    const char *rest; /* what goes before "channel" */
    const char *options;
    const char *message;
} refusals[] = {
    /* unknown keys */
    {"", "\"histroy_size\":1",
     "config.json: unknown key \"channel.namespaces[0].histroy_size\" (value "
     "1); did you mean \"history_size\"?"},
    {"", "\"allow_recover\":true",
     "config.json: unknown key \"channel.namespaces[0].allow_recover\" (value "
     "true); did you mean \"allow_recovery\"?"},

    /* types and bounds */
    {"", "\"history_size\":-1",
     NS "history_size\" has value -1; want an integer from 0 to 1000000"},
    {"", "\"history_size\":1000001",
     NS "history_size\" has value 1000001; want an integer from 0 to 1000000"},
    {"", "\"history_ttl\":60",
     NS "history_ttl\" has value 60; want a duration string such as \"1s\""},
    {"", "\"history_ttl\":\"999ms\"",
     NS "history_ttl\" has value \"999ms\"" WANT_AGE},
    {"", "\"history_ttl\":\"8760h1ms\"",
     NS "history_ttl\" has value \"8760h1ms\"" WANT_AGE},
    {"", "\"history_meta_ttl\":\"999ms\"",
     NS "history_meta_ttl\" has value \"999ms\"" WANT_AGE},
    {"", "\"force_recovery\":1",
     NS "force_recovery\" has value 1; want true or false"},
    {"", "\"force_recovery_mode\":\"latest\"",
     NS "force_recovery_mode\" has value \"latest\"; want one of \"\", "
        "\"stream\", \"cache\""},
    {"", HISTORY ",\"stream\":\"a.b\"",
     NS "stream\" has value \"a.b\"" WANT_STREAM},
    {"", "\"stream\":\"a b\"", NS "stream\" has value \"a b\"" WANT_STREAM},
    {"", HISTORY ",\"stream\":\"\xc3\xa9\"",
     NS "stream\" has value \"\xc3\xa9\"" WANT_STREAM},

    /* size and time go together */
    {"", "\"history_size\":1", NS "history_ttl\" has value \"0s\"" WANT_TTL},
    {"", "\"history_size\":1,\"history_ttl\":\"0s\"",
     NS "history_ttl\" has value \"0s\"" WANT_TTL},
    {"", "\"history_ttl\":\"1s\"", NS "history_size\" has value 0" WANT_SIZE},

    /* what needs history */
    {"", "\"force_recovery\":true",
     NS "force_recovery\" has value true" UNLESS},
    {"", "\"allow_recovery\":true",
     NS "allow_recovery\" has value true" UNLESS},
    {"", "\"force_recovery_mode\":\"cache\"",
     NS "force_recovery_mode\" has value \"cache\"" WANT_NO_CACHE},
    {"", "\"force_recovery_mode\":\"cache\",\"auto_cache_recover\":true",
     NS "force_recovery_mode\" has value \"cache\"" WANT_NO_CACHE},
    {"", "\"stream\":\"S\"",
     NS "stream\" has value \"S\"; want \"\", unless history_size and "
        "history_ttl are set"},
    {"", HISTORY ",\"auto_cache_recover\":true",
     NS "auto_cache_recover\" has value true; want false, unless "
        "force_recovery_mode is \"cache\""},
    {"",
     HISTORY ",\"force_recovery_mode\":\"stream\","
             "\"auto_cache_recover\":true",
     NS "auto_cache_recover\" has value true; want false, unless "
        "force_recovery_mode is \"cache\""},

    /* and what does not go with it */
    {"", HISTORY ",\"tell_gaps\":true",
     NS "tell_gaps\" has value true; want false, since history_size and "
        "history_ttl are set: gaps are healed or told by recovery there"},

    /* with keys outside the namespace */
    {"", HISTORY ",\"history_meta_ttl\":\"4m59s999ms\"",
     NAMED "history_meta_ttl\" has value \"4m59s999ms\"; want a duration of "
           "at least \"5m\", which is history_ttl"},
    {"", "\"history_size\":1,\"history_ttl\":\"720h1ms\"",
     NAMED "history_ttl\" has value \"720h1ms\"; want a duration of at most "
           "\"720h\", which is channel.history_meta_ttl, or a longer "
           "history_meta_ttl"},
    {NATS, "\"force_positioning\":true",
     NAMED "force_positioning\" has value true" WANT_NATS},
    {NATS, "\"allow_positioning\":true",
     NAMED "allow_positioning\" has value true" WANT_NATS},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        char *json = make_json(refusals[i].rest, refusals[i].options);
        refused(json, NULL, refusals[i].message);
        free(json);
    }
}

/* Where the key has a name of its own; what was not written is known. */
static void test_refusals_outside_namespaces(void **state)
{
    (void)state;
    char *env[] = {"WEIR_CHANNEL_WITHOUT_NAMESPACE_HISTORY_SIZE=3", NULL};
    refused("{}", env,
            "config.json: key \"channel.without_namespace.history_ttl\" has "
            "value \"0s\" (the default)" WANT_TTL);
    char *two[] = {"WEIR_CHANNEL_WITHOUT_NAMESPACE_FORCE_POSITIONING=true",
                   "WEIR_NATS_URL=nats://h:1", NULL};
    refused("{}", two,
            "environment WEIR_CHANNEL_WITHOUT_NAMESPACE_FORCE_POSITIONING: key "
            "\"channel.without_namespace.force_positioning\" has value "
            "true" WANT_NATS);
    refused("{\"channel\":{\"history_meta_ttl\":\"1s\",\"without_namespace\":{"
            "\"history_size\":1,\"history_ttl\":\"2s\"}}}",
            NULL,
            "config.json: key \"channel.without_namespace.history_ttl\" has "
            "value \"2s\"; want a duration of at most \"1s\", which is "
            "channel.history_meta_ttl, or a longer history_meta_ttl");
}

/* Keys of the node: just below and above what is right. */
static const struct {
    const char *key;
    const char *low;
    const char *least;
    const char *most;
    const char *high;
    const char *want;
} bounds[] = {
    {"channel.history_meta_ttl", "0s", "1s", "8760h", "8761h",
     "a duration from \"1s\" to \"8760h\""},
    {"client.recovery_max_publication_limit", "0", "1", "10000", "10001",
     "an integer from 1 to 10000"},
    {"client.history_max_publication_limit", "0", "1", "10000", "10001",
     "an integer from 1 to 10000"},
    {"client.channel_position_check_delay", "99ms", "100ms", "24h", "24h1ms",
     "a duration from \"100ms\" to \"24h\""},
    {"history.max_bytes", "65535", "65536", "1099511627776", "1099511627777",
     "an integer from 65536 to 1099511627776"},
    {"history.idle_ttl", "0s", "10ms", "24h", "25h",
     "a duration from \"10ms\" to \"24h\""},
    {"history.heal_spread", NULL, "0s", "10m", "10m1ms",
     "a duration from \"0s\" to \"10m\""},
    {"history.max_keys", "0", "1", "100000000", "100000001",
     "an integer from 1 to 100000000"},
    {"nats.stream_replicas", "0", "1", "5", "6", "an integer from 1 to 5"},
    {"nats.stream_storage", "", "file", "memory", "disk",
     "one of \"file\", \"memory\""},
    {"nats.publish_timeout", "99ms", "100ms", "10m", "11m",
     "a duration from \"100ms\" to \"10m\""},
};

static void refuse_set(struct config *cfg, size_t i, const char *value)
{
    char err[ERR_LEN] = "";
    if (!value)
        return;
    if (config_set(cfg, bounds[i].key, value, err, sizeof(err)) == 0)
        fail_msg("%s=%s is accepted", bounds[i].key, value);
    const char *want = strstr(err, "; want ");
    assert_non_null(want);
    assert_string_equal(want + strlen("; want "), bounds[i].want);
    assert_non_null(strstr(err, bounds[i].key));
}

static void test_bounds_of_the_node(void **state)
{
    (void)state;
    struct config *cfg = good("{}", NULL);
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        char err[ERR_LEN];
        refuse_set(cfg, i, bounds[i].low);
        refuse_set(cfg, i, bounds[i].high);
        assert_int_equal(
            config_set(cfg, bounds[i].key, bounds[i].least, err, sizeof(err)),
            0);
        assert_int_equal(
            config_set(cfg, bounds[i].key, bounds[i].most, err, sizeof(err)),
            0);
    }
    config_free(cfg);
    refused("{\"history\":{\"max_byte\":1}}", NULL,
            "config.json: unknown key \"history.max_byte\" (value 1); did you "
            "mean \"history.max_bytes\"?");
}

/* nats.url from the command line comes after the file. */
static void test_nats_from_the_command_line(void **state)
{
    (void)state;
    char err[ERR_LEN];
    struct config *cfg = with_options("\"allow_positioning\":true");
    assert_int_equal(config_set(cfg, "nats.url", "nats://h:1", err, ERR_LEN),
                     ERR_INVALID);
    assert_string_equal(
        err, "configuration: key \"channel.namespaces[ns].allow_positioning\" "
             "has value true" WANT_NATS);
    assert_string_equal(cfg->nats.url, "");
    config_free(cfg);

    cfg = with_options(HISTORY ",\"allow_positioning\":true,\"stream\":\"S\"");
    assert_int_equal(config_set(cfg, "nats.url", "nats://h:1", err, ERR_LEN),
                     0);
    assert_int_equal(cfg->channel.namespaces[0].history.size, 100);
    assert_string_equal(cfg->channel.namespaces[0].stream, "S");
    config_free(cfg);
}

/* Bytes of a stream's name. */
static void test_stream_length(void **state)
{
    (void)state;
    char err[ERR_LEN];
    for (int n = 255; n <= 256; n++) {
        char options[400];
        int at = snprintf(options, sizeof(options), HISTORY ",\"stream\":\"");
        memset(options + at, 's', (size_t)n);
        strcpy(options + at + n, "\"");
        char *json = make_json("", options);
        struct config *cfg = parse_env(json, NULL, err);
        assert_int_equal(cfg != NULL, n == 255);
        config_free(cfg);
        free(json);
    }
}

static void test_just_right(void **state)
{
    (void)state;
    static const struct {
        const char *rest;
        const char *options;
    } right[] = {
        {"", "\"history_size\":0,\"history_ttl\":\"0s\""},
        {"", "\"history_size\":1,\"history_ttl\":\"1s\""},
        {"", "\"history_size\":1,\"history_ttl\":\"8760h\","
             "\"history_meta_ttl\":\"8760h\""},
        {"", HISTORY ",\"history_meta_ttl\":\"5m\""},
        {"", "\"history_meta_ttl\":\"1s\""},
        {"", HISTORY ",\"force_recovery\":true,\"allow_recovery\":true"},
        {"", CACHE ",\"force_recovery\":true,\"auto_cache_recover\":true"},
        {"", HISTORY ",\"publication_data_format\":\"binary\""},
        {"", HISTORY ",\"force_recovery\":true,"
                     "\"throttle\":{\"on_full\":\"drop_oldest\"}"},
        {"", HISTORY ",\"subject\":\"market.quotes\",\"stream\":\"A_z-9\""},
        {"", "\"force_positioning\":true,\"allow_positioning\":true"},
        {"", "\"force_recovery_mode\":\"stream\""},
        {"", "\"allow_history_for_client\":true,"
             "\"allow_history_for_subscriber\":true,"
             "\"allow_history_for_anonymous\":true"},
        {"", "\"tell_gaps\":true,\"force_positioning\":true"},
        {NATS, "\"tell_gaps\":true"},
        {NATS, HISTORY ",\"force_positioning\":true,"
                       "\"allow_positioning\":true"},
    };
    for (size_t i = 0; i < ARRAY_LEN(right); i++) {
        char *json = make_json(right[i].rest, right[i].options);
        config_free(good(json, NULL));
        free(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_policy),
        cmocka_unit_test(test_policies_of_several),
        cmocka_unit_test(test_recovery_modes),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refusals_outside_namespaces),
        cmocka_unit_test(test_bounds_of_the_node),
        cmocka_unit_test(test_nats_from_the_command_line),
        cmocka_unit_test(test_stream_length),
        cmocka_unit_test(test_just_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
