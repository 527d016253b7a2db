/* config_refusal_test.c — what the configuration refuses, from every source,
 * and the right neighbours of it. Messages are compared whole: an operator
 * acts on them. */
#include "gateway/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

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

static void refused_variable(const char *entry, const char *want)
{
    char *env[] = {(char *)entry, NULL};
    refused("{}", env, want);
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

/* --- what is refused in the file --- */

static const struct {
    const char *json;
    const char *message;
} refusals[] = {
    /* unknown keys */
    {"{\"client\":{\"insecrue\":true}}",
     "config.json: unknown key \"client.insecrue\" (value true); did you mean "
     "\"client.insecure\"?"},
    {"{\"clinet\":{\"insecure\":true}}",
     "config.json: unknown key \"clinet\" (value {...}); did you mean "
     "\"client\"?"},
    {"{\"port\":8000}",
     "config.json: unknown key \"port\" (value 8000); did you mean "
     "\"http_server.port\"?"},
    {"{\"shard\":2}", "config.json: unknown key \"shard\" (value 2); did you "
                      "mean \"shards\"?"},
    {"{\"client\":{\"alowed_origins\":[\"*\"]}}",
     "config.json: unknown key \"client.alowed_origins\" (value [...]); did "
     "you mean \"client.allowed_origins\"?"},
    {"{\"channel\":{\"without_namespace\":{\"allow_pattern\":true}}}",
     "config.json: unknown key \"channel.without_namespace.allow_pattern\" "
     "(value true); did you mean "
     "\"channel.without_namespace.allow_patterns\"?"},
    {"{\"channel\":{\"namespaces\":[{\"name\":\"ok\"},{\"nmae\":\"a\"}]}}",
     "config.json: unknown key \"channel.namespaces[1].nmae\" (value \"a\"); "
     "did you mean \"name\"?"},
    {"{\"channel\":{\"namespaces\":[{\"x.name\":\"aa\"}]}}",
     "config.json: key \"channel.namespaces[0].x.name\" has value \"aa\"; "
     "want an object for every dot in the name"},
    {"{\"http_api\":{\"api_key\":\"S3CR\"}}",
     "config.json: unknown key \"http_api.api_key\" (value ***); did you mean "
     "\"http_api.key\"?"},
    {"{\"nats\":{\"uri\":\"nats://u:S3CR@h\"}}",
     "config.json: unknown key \"nats.uri\" (value \"nats://***@h\"); did you "
     "mean \"nats.url\"?"},
    {"{\"shar\\nd\":\"\\u0007\"}",
     "config.json: unknown key \"shar\\nd\" (value \"\\u0007\"); did you mean "
     "\"shards\"?"},
    {"{\"client.insecure\":true}",
     "config.json: key \"client.insecure\" has value true; want an object for "
     "every dot in the name"},

    /* wrong types */
    {"{\"client\":{\"ping_interval\":25}}",
     "config.json: key \"client.ping_interval\" has value 25; want a duration "
     "string such as \"25s\""},
    {"{\"client\":{\"ping_interval\":\"25\"}}",
     "config.json: key \"client.ping_interval\" has value \"25\"; want a "
     "duration string such as \"25s\""},
    {"{\"client\":5}",
     "config.json: key \"client\" has value 5; want an object"},
    {"{\"client\":{\"insecure\":\"true\"}}",
     "config.json: key \"client.insecure\" has value \"true\"; want true or "
     "false"},
    {"{\"client\":{\"insecure\":null}}",
     "config.json: key \"client.insecure\" has value null; want true or "
     "false"},
    {"{\"http_server\":{\"port\":\"8000\"}}",
     "config.json: key \"http_server.port\" has value \"8000\"; want an "
     "integer from 0 to 65535"},
    {"{\"http_server\":{\"port\":8000.0}}",
     "config.json: key \"http_server.port\" has value 8000.0; want an integer "
     "from 0 to 65535"},
    {"{\"node\":{\"name\":{\"a\":1}}}",
     "config.json: key \"node.name\" has value {...}; want a string of at "
     "most 255 bytes, no control characters"},
    {"{\"node\":{\"name\":\"a\\tb\"}}",
     "config.json: key \"node.name\" has value \"a\\tb\"; want a string of at "
     "most 255 bytes, no control characters"},
    {"{\"http_api\":{\"key\":12345}}",
     "config.json: key \"http_api.key\" has value ***; want a string of at "
     "most 4096 bytes, no control characters"},
    {"{\"log\":{\"level\":\"trace\"}}",
     "config.json: key \"log.level\" has value \"trace\"; want one of "
     "\"none\", \"error\", \"warn\", \"info\", \"debug\""},
    {"{\"log\":{\"level\":1}}",
     "config.json: key \"log.level\" has value 1; want one of \"none\", "
     "\"error\", \"warn\", \"info\", \"debug\""},
    {"{\"http_api\":{\"error_mode\":\"x\"}}",
     "config.json: key \"http_api.error_mode\" has value \"x\"; want one of "
     "\"\", \"transport\""},
    {"{\"client\":{\"allowed_origins\":\"*\"}}",
     "config.json: key \"client.allowed_origins\" has value \"*\"; want an "
     "array of at most 1000 strings"},
    {"{\"client\":{\"allowed_origins\":[\"*\",7]}}",
     "config.json: key \"client.allowed_origins[1]\" has value 7; want a "
     "string of 1 to 1024 bytes, no control characters"},
    {"{\"client\":{\"allowed_origins\":[\"\"]}}",
     "config.json: key \"client.allowed_origins[0]\" has value \"\"; want a "
     "string of 1 to 1024 bytes, no control characters"},
    {"{\"channel\":{\"namespaces\":{}}}",
     "config.json: key \"channel.namespaces\" has value {...}; want an array "
     "of at most 10000 namespaces"},
    {"{\"channel\":{\"namespaces\":[\"a\"]}}",
     "config.json: key \"channel.namespaces[0]\" has value \"a\"; want an "
     "object with a \"name\""},
    {"{\"channel\":{\"namespaces\":[{\"name\":\"ok\",\"allow_patterns\":1}]}}",
     "config.json: key \"channel.namespaces[0].allow_patterns\" has value 1; "
     "want true or false"},

    /* out of range */
    {"{\"http_server\":{\"port\":65536}}",
     "config.json: key \"http_server.port\" has value 65536; want an integer "
     "from 0 to 65535"},
    {"{\"shards\":-1}",
     "config.json: key \"shards\" has value -1; want an integer from 0 to "
     "64"},
    {"{\"client\":{\"ping_interval\":\"99ms\"}}",
     "config.json: key \"client.ping_interval\" has value \"99ms\"; want a "
     "duration from \"100ms\" to \"24h\", or \"0s\""},
    {"{\"sse\":{\"ping_interval\":\"0s\"}}",
     "config.json: key \"sse.ping_interval\" has value \"0s\"; want a "
     "duration from \"100ms\" to \"24h\""},
    {"{\"shutdown\":{\"timeout\":\"1h1ms\"}}",
     "config.json: key \"shutdown.timeout\" has value \"1h1ms\"; want a "
     "duration from \"0s\" to \"1h\""},

    /* not JSON */
    {"", "config.json:1:0: '[' or '{' expected near end of file"},
    {"{\"shards\":1\n \"client\":{}}", "config.json:2:9: '}' expected"},
    {"{\"shards\":1,\"shards\":2}",
     "config.json:1:20: duplicate object key near '\"shards\"'"},
    {"{\"http_api\":{\"key\":S3CR}}", "config.json:1:20: invalid token"},
    {"{} {}", "config.json:1:4: end of file expected"},
    {"[]", "config.json: has an array; want an object"},
    {"{\"shards\":99999999999999999999}", "config.json:1:30: too big integer"},

    /* what involves more than one key */
    {"{\"client\":{\"pong_timeout\":\"25s\"}}",
     "config.json: key \"client.pong_timeout\" has value \"25s\"; want a "
     "duration below client.ping_interval, which is \"25s\""},
    {"{\"client\":{\"ping_interval\":\"5s\"}}",
     "config.json: key \"client.pong_timeout\" has value \"8s\" (the "
     "default); want a duration below client.ping_interval, which is "
     "\"5s\""},
    {"{\"http_server\":{\"address\":\"localhost\"}}",
     "config.json: key \"http_server.address\" has value \"localhost\"; want "
     "an IPv4 or IPv6 address such as \"127.0.0.1\" or \"::1\", or \"\" for "
     "all"},
    {"{\"sse\":{\"handler_prefix\":\"sse\"}}",
     "config.json: key \"sse.handler_prefix\" has value \"sse\"; want a path "
     "that begins with \"/\", of letters, digits and the characters / - . _ "
     "~"},
    {"{\"sse\":{\"handler_prefix\":\"/\"}}",
     "config.json: key \"sse.handler_prefix\" has value \"/\"; want a path "
     "that begins with \"/\", of letters, digits and the characters / - . _ "
     "~"},
    {"{\"sse\":{\"handler_prefix\":\"/a?b\"}}",
     "config.json: key \"sse.handler_prefix\" has value \"/a?b\"; want a path "
     "that begins with \"/\", of letters, digits and the characters / - . _ "
     "~"},
    {"{\"sse\":{\"handler_prefix\":\"/connection//websocket\"}}",
     "config.json: key \"sse.handler_prefix\" has value "
     "\"/connection//websocket\"; want a path that begins with \"/\", of "
     "letters, digits and the characters / - . _ ~"},
    {"{\"http_api\":{\"handler_prefix\":\"/sse/\"}}",
     "config.json: key \"http_api.handler_prefix\" has value \"/sse\"; want a "
     "path that differs from sse.handler_prefix"},
    {"{\"web\":{\"enabled\":true}}",
     "config.json: key \"web.root\" has value \"\" (the default); want an "
     "existing directory, since web.enabled is true"},
    {"{\"web\":{\"enabled\":true,\"root\":\"/dev/null\"}}",
     "config.json: key \"web.root\" has value \"/dev/null\"; want an existing "
     "directory, since web.enabled is true"},

    /* NATS */
    {"{\"nats\":{\"url\":\"localhost:4222\"}}",
     "config.json: key \"nats.url\" has value \"localhost:4222\"; want "
     "\"nats://host:port\" or \"tls://host:port\", several separated by "
     "commas"},
    {"{\"nats\":{\"url\":\"joe:S3CR@h\"}}",
     "config.json: key \"nats.url\" has value \"***@h\"; want "
     "\"nats://host:port\" or \"tls://host:port\", several separated by "
     "commas"},
    {"{\"nats\":{\"url\":\"nats://a,\"}}",
     "config.json: key \"nats.url\" has value \"nats://a,\"; want "
     "\"nats://host:port\" or \"tls://host:port\", several separated by "
     "commas"},
    {"{\"nats\":{\"url\":\"nats://\"}}",
     "config.json: key \"nats.url\" has value \"nats://\"; want "
     "\"nats://host:port\" or \"tls://host:port\", several separated by "
     "commas"},
    {"{\"nats\":{\"prefix\":\"a.*\"}}",
     "config.json: key \"nats.prefix\" has value \"a.*\"; want words of the "
     "characters -, _, a-z, A-Z, 0-9, separated by dots"},
    {"{\"nats\":{\"prefix\":\"a..b\"}}",
     "config.json: key \"nats.prefix\" has value \"a..b\"; want words of the "
     "characters -, _, a-z, A-Z, 0-9, separated by dots"},
    {"{\"nats\":{\"prefix\":\"\"}}",
     "config.json: key \"nats.prefix\" has value \"\"; want words of the "
     "characters -, _, a-z, A-Z, 0-9, separated by dots"},

    /* namespaces */
    {"{\"channel\":{\"namespaces\":[{}]}}",
     "config.json: key \"channel.namespaces[0].name\" has value \"\"; want a "
     "name of 2 to 64 of the characters -, _, a-z, A-Z, 0-9"},
    {"{\"channel\":{\"namespaces\":[{\"name\":\"a:b\"}]}}",
     "config.json: key \"channel.namespaces[0].name\" has value \"a:b\"; want "
     "a name of 2 to 64 of the characters -, _, a-z, A-Z, 0-9"},
    {"{\"channel\":{\"namespaces\":[{\"name\":\"a\"}]}}",
     "config.json: key \"channel.namespaces[0].name\" has value \"a\"; want a "
     "name of 2 to 64 of the characters -, _, a-z, A-Z, 0-9"},
    {"{\"channel\":{\"namespaces\":[{\"name\":\"ab\"},{\"name\":\"cd\"},"
     "{\"name\":\"ab\"}]}}",
     "config.json: key \"channel.namespaces.name\" has value \"ab\"; want a "
     "name that no other namespace has"},
    {"{\"channel\":{\"namespaces\":[{\"name\":\"ab\","
     "\"channel_regex\":\"(\"}]}}",
     "config.json: key \"channel.namespaces[0].channel_regex\" has value "
     "\"(\"; want a POSIX extended regular expression (Unmatched ( or \\()"},
    {"{\"channel\":{\"without_namespace\":{\"channel_regex\":\"[a\"}}}",
     "config.json: key \"channel.without_namespace.channel_regex\" has value "
     "\"[a\"; want a POSIX extended regular expression (Unmatched [, [^, [:, "
     "[., or [=)"},
    {"{\"channel\":{\"without_namespace\":{\"channel_regex\":"
     "\"((a{255}){255}){255}\"}}}",
     "config.json: key \"channel.without_namespace.channel_regex\" has value "
     "\"((a{255}){255}){255}\"; want a smaller regular expression (what "
     "repeat counts copy adds up)"},
    {"{\"channel\":{\"namespaces\":[{\"name\":\"ab\","
     "\"subject\":\"a.*\"}]}}",
     "config.json: key \"channel.namespaces[0].subject\" has value \"a.*\"; "
     "want a NATS subject without wildcards such as \"market.quotes\""},
    {"{\"channel\":{\"without_namespace\":{\"subject\":\"a.\"}}}",
     "config.json: key \"channel.without_namespace.subject\" has value "
     "\"a.\"; want a NATS subject without wildcards such as "
     "\"market.quotes\""},

    /* subjects that overlap */
    {"{\"channel\":{\"namespaces\":[{\"name\":\"ab\",\"subject\":\"m.q\"},"
     "{\"name\":\"cd\",\"subject\":\"m.q\"}]}}",
     "config.json: key \"channel.namespaces[cd].subject\" has value \"m.q\"; "
     "want a subject that does not overlap \"m.q\", another namespace's"},
    {"{\"channel\":{\"namespaces\":[{\"name\":\"ab\",\"subject\":\"m.q.x\"},"
     "{\"name\":\"ef\",\"subject\":\"m-q\"},"
     "{\"name\":\"cd\",\"subject\":\"m\"}]}}",
     "config.json: key \"channel.namespaces[ab].subject\" has value "
     "\"m.q.x\"; want a subject that does not overlap \"m\", another "
     "namespace's"},
    {"{\"channel\":{\"without_namespace\":{\"subject\":\"m\"},"
     "\"namespaces\":[{\"name\":\"ab\",\"subject\":\"m.q\"}]}}",
     "config.json: key \"channel.namespaces[ab].subject\" has value \"m.q\"; "
     "want a subject that does not overlap \"m\", another namespace's"},
    {"{\"channel\":{\"namespaces\":[{\"name\":\"ab\","
     "\"subject\":\"weir.pub\"}]}}",
     "config.json: key \"channel.namespaces[ab].subject\" has value "
     "\"weir.pub\"; want a subject that does not overlap \"weir\", "
     "nats.prefix"},
    {"{\"nats\":{\"prefix\":\"x.y\"},"
     "\"channel\":{\"without_namespace\":{\"subject\":\"x\"}}}",
     "config.json: key \"channel.without_namespace.subject\" has value "
     "\"x\"; want a subject that does not overlap \"x.y\", nats.prefix"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++)
        refused(refusals[i].json, NULL, refusals[i].message);
}

/* Neighbours of the refusals that must be accepted. */
static void test_just_right(void **state)
{
    (void)state;
    static const char *const right[] = {
        "{}",
        "{\"client\":{}}",
        "{\"client\":{\"ping_interval\":\"0s\"}}",
        "{\"client\":{\"ping_interval\":\"0s\",\"pong_timeout\":\"30s\"}}",
        "{\"client\":{\"ping_interval\":\"8001ms\"}}",
        "{\"http_server\":{\"port\":0,\"address\":\"::1\"}}",
        "{\"http_server\":{\"port\":65535,\"address\":\"0.0.0.0\"}}",
        "{\"web\":{\"root\":\"/nowhere\"}}",
        "{\"nats\":{\"url\":\"tls://h\"}}",
        "{\"channel\":{\"namespaces\":["
        "{\"name\":\"ab\",\"subject\":\"market.quotes\"},"
        "{\"name\":\"cd\",\"subject\":\"market.quotes2\"},"
        "{\"name\":\"ef\",\"subject\":\"market.quotes-x\"},"
        "{\"name\":\"gh\",\"subject\":\"weird\"}]}}",
        "{\"channel\":{\"without_namespace\":{\"channel_regex\":"
        "\"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$\"}}}",
        "{\"channel\":{\"without_namespace\":{\"channel_regex\":"
        "\"^([]a[:alpha:]{]|\\\\(|\\\\{9999)+$\"}}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(right); i++)
        config_free(good(right[i], NULL));
}

static void test_long_values_are_cut(void **state)
{
    (void)state;
    char json[800];
    char err[ERR_LEN];
    int n = snprintf(json, sizeof(json), "{\"log\":{\"level\":\"");
    for (int i = 0; i < 300; i++)
        n += snprintf(json + n, sizeof(json) - (size_t)n, "\u00e4");
    snprintf(json + n, sizeof(json) - (size_t)n, "\"}}");
    assert_null(parse_env(json, NULL, err));
    const char *cut = strstr(err, "...; want one of");
    assert_non_null(cut);
    /* 100 bytes: a quote and whole characters, so one byte less. */
    assert_int_equal(cut - strstr(err, "value \""), 6 + 99);
}

static void test_small_message_buffer(void **state)
{
    (void)state;
    char err[12] = "unchanged!!";
    assert_null(config_parse("{\"x\":1}", 7, "c", NULL, err, 8));
    assert_string_equal(err, "c: unkn");
    assert_string_equal(err + 8, "d!!");
}

static void test_no_durations(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "s",
        "25",
        "-1s",
        "+1s",
        "1 s",
        "1s ",
        " 1s",
        "1.s",
        ".5s",
        "1e3s",
        "1d",
        "1us",
        "1S",
        "0.5ms",
        "1.0001s",
        "1s1",
        "1,5s",
        "99999999999999999999s",
        "9007199254740993ms",
        "2501999792984h",
        "0.9999999999h",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char json[128];
        char want[256];
        snprintf(json, sizeof(json), "{\"sse\":{\"retry\":\"%s\"}}", wrong[i]);
        snprintf(want, sizeof(want),
                 "config.json: key \"sse.retry\" has value \"%s\"; want a "
                 "duration string such as \"3s\"",
                 wrong[i]);
        refused(json, NULL, want);
    }
}

/* --- the environment --- */

static void test_environment_refusals(void **state)
{
    (void)state;
    refused_variable("WEIR_CLIENT_INSECRUE=true",
                     "environment: unknown variable \"WEIR_CLIENT_INSECRUE\" "
                     "(value \"true\"); did you mean "
                     "\"WEIR_CLIENT_INSECURE\"?");
    refused_variable("WEIR_PORT=9000",
                     "environment: unknown variable \"WEIR_PORT\" (value "
                     "\"9000\"); did you mean \"WEIR_HTTP_SERVER_PORT\"?");
    refused_variable("WEIR_HTTP_APIKEY=S3CR",
                     "environment: unknown variable \"WEIR_HTTP_APIKEY\" "
                     "(value ***); did you mean \"WEIR_HTTP_API_KEY\"?");
    refused_variable("WEIR_CHANNEL_WITHOUT_NAMESPACES={}",
                     "environment: unknown variable "
                     "\"WEIR_CHANNEL_WITHOUT_NAMESPACES\" (value \"{}\"); did "
                     "you mean \"WEIR_CHANNEL_WITHOUT_NAMESPACE\"?");
    refused_variable("WEIR_HTTP_SERVER_PORT=80a",
                     "environment WEIR_HTTP_SERVER_PORT: key "
                     "\"http_server.port\" has value \"80a\"; want an integer "
                     "from 0 to 65535");
    refused_variable("WEIR_HTTP_SERVER_PORT=",
                     "environment WEIR_HTTP_SERVER_PORT: key "
                     "\"http_server.port\" has value \"\"; want an integer "
                     "from 0 to 65535");
    refused_variable("WEIR_SHARDS=99999999999999999999",
                     "environment WEIR_SHARDS: key \"shards\" has value "
                     "\"99999999999999999999\"; want an integer from 0 to 64");
    refused_variable("WEIR_CLIENT_INSECURE=yes",
                     "environment WEIR_CLIENT_INSECURE: key "
                     "\"client.insecure\" has value \"yes\"; want true or "
                     "false");
}

static void test_environment_refuses_bytes_and_json(void **state)
{
    (void)state;
    refused_variable("WEIR_NODE_NAME=\xff",
                     "environment WEIR_NODE_NAME: key \"node.name\" has value "
                     "(not UTF-8); want UTF-8");
    refused_variable("WEIR_SHARD=\xff",
                     "environment: unknown variable \"WEIR_SHARD\" (value (not "
                     "UTF-8)); did you mean \"WEIR_SHARDS\"?");
    refused_variable("WEIR_CLIENT_ALLOWED_ORIGINS=a,\xff",
                     "environment WEIR_CLIENT_ALLOWED_ORIGINS: key "
                     "\"client.allowed_origins\" has value (not UTF-8); want "
                     "UTF-8");
    refused_variable("WEIR_CLIENT_ALLOWED_ORIGINS=[\"a\",]",
                     "environment WEIR_CLIENT_ALLOWED_ORIGINS:1:6: unexpected "
                     "token");
    refused_variable("WEIR_CHANNEL_NAMESPACES=[{\"name\":\"a b\"}]",
                     "environment WEIR_CHANNEL_NAMESPACES: key "
                     "\"channel.namespaces[0].name\" has value \"a b\"; want "
                     "a name of 2 to 64 of the characters -, _, a-z, A-Z, "
                     "0-9");
    refused_variable("WEIR_CHANNEL_WITHOUT_NAMESPACE=[]",
                     "environment WEIR_CHANNEL_WITHOUT_NAMESPACE: key "
                     "\"channel.without_namespace\" has value [...]; want an "
                     "object");
    refused_variable("WEIR_CHANNEL_WITHOUT_NAMESPACE={\"subject\":\"weir\"}",
                     "environment WEIR_CHANNEL_WITHOUT_NAMESPACE: key "
                     "\"channel.without_namespace.subject\" has value "
                     "\"weir\"; want a subject that does not overlap "
                     "\"weir\", nats.prefix");
    /* The check comes later, and still knows where the value is from. */
    refused_variable("WEIR_NATS_URL=http://h",
                     "environment WEIR_NATS_URL: key \"nats.url\" has value "
                     "\"http://h\"; want \"nats://host:port\" or "
                     "\"tls://host:port\", several separated by commas");
}

/* --- one key at a time --- */

static void set_refused(struct config *cfg, const char *key, const char *value,
                        const char *want)
{
    char err[ERR_LEN];
    char *before = printed(cfg);
    assert_int_equal(config_set(cfg, key, value, err, sizeof(err)),
                     ERR_INVALID);
    assert_string_equal(err, want);
    char *after = printed(cfg);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static const char some_keys[] =
    "{\"http_api\":{\"key\":\"k\"},\"nats\":{\"url\":\"nats://u:p@h\"},"
    "\"client\":{\"ping_interval\":\"11s\",\"pong_timeout\":\"6s\"},"
    "\"channel\":{\"namespaces\":[{\"name\":\"ab\"}]}}";

static void test_set_refusals(void **state)
{
    (void)state;
    struct config *cfg = good(some_keys, NULL);
    set_refused(cfg, "http_server.prot", "9000",
                "command line: unknown key \"http_server.prot\" (value "
                "\"9000\"); did you mean \"http_server.port\"?");
    set_refused(cfg, "http_server.port", "90000",
                "command line: key \"http_server.port\" has value 90000; want "
                "an integer from 0 to 65535");
    set_refused(cfg, "client.pong_timeout", "1h",
                "command line: key \"client.pong_timeout\" has value \"1h\"; "
                "want a duration below client.ping_interval, which is "
                "\"11s\"");
    set_refused(cfg, "client.ping_interval", "6s",
                "configuration: key \"client.pong_timeout\" has value "
                "\"6s\"; want a duration below client.ping_interval, which "
                "is \"6s\"");
    set_refused(cfg, "channel.namespaces", "[{]",
                "command line:1:3: string or '}' expected");
    config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_just_right),
        cmocka_unit_test(test_long_values_are_cut),
        cmocka_unit_test(test_small_message_buffer),
        cmocka_unit_test(test_no_durations),
        cmocka_unit_test(test_environment_refusals),
        cmocka_unit_test(test_environment_refuses_bytes_and_json),
        cmocka_unit_test(test_set_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
