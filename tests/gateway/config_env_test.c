/* config_env_test.c — how values are written in the environment, what wins, and
 * the variables that are not ours. */
#include "gateway/config.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define ERR_LEN 1024

/* A configuration that must be right. */
static struct config *good(const char *json, char *const *env)
{
    char err[ERR_LEN] = "";
    struct config *cfg =
        config_parse(json, strlen(json), "config.json", env, err, ERR_LEN);
    if (!cfg)
        fail_msg("%s: %s", json, err);
    return cfg;
}

static struct config *with_variable(const char *entry)
{
    char *env[] = {(char *)entry, NULL};
    return good("{}", env);
}

static void test_environment_wins_over_the_file(void **state)
{
    (void)state;
    char *env[] = {"HOME=/",
                   "WEIR",
                   "WEIR_HTTP_SERVER_PORT=9000",
                   "WEIR_TEST_ANYTHING=1",
                   "XWEIR_Y=1",
                   "WEIR_CLIENT_INSECURE=1",
                   "WEIR_NODE_NAME=",
                   NULL};
    struct config *cfg = good("{\"http_server\":{\"port\":1},"
                              "\"shards\":2,\"node\":{\"name\":\"n\"}}",
                              env);
    assert_int_equal(cfg->http_server.port, 9000);
    assert_int_equal(cfg->shards, 2);
    assert_true(cfg->client.insecure);
    assert_string_equal(cfg->node.name, "");
    config_free(cfg);
}

/* `want` is a JSON array. */
static void assert_origins(const char *entry, const char *want)
{
    struct config *cfg = with_variable(entry);
    const struct string_list *list = &cfg->client.allowed_origins;
    json_t *array = json_loads(want, 0, NULL);
    assert_non_null(array);
    assert_int_equal(list->count, json_array_size(array));
    for (size_t i = 0; i < list->count; i++)
        assert_string_equal(list->items[i],
                            json_string_value(json_array_get(array, i)));
    json_decref(array);
    config_free(cfg);
}

static void test_environment_lists(void **state)
{
    (void)state;
    assert_origins("WEIR_CLIENT_ALLOWED_ORIGINS=", "[]");
    assert_origins("WEIR_CLIENT_ALLOWED_ORIGINS=*", "[\"*\"]");
    assert_origins(
        "WEIR_CLIENT_ALLOWED_ORIGINS= https://a, https://b https://c",
        "[\"https://a\",\"https://b\",\"https://c\"]");
    assert_origins("WEIR_CLIENT_ALLOWED_ORIGINS=[\"a b\",\"c\"]",
                   "[\"a b\",\"c\"]");
}

static void test_environment_booleans(void **state)
{
    (void)state;
    static const char *const yes[] = {"true", "TRUE", "1"};
    static const char *const no[] = {"false", "False", "0"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        char entry[64];
        snprintf(entry, sizeof(entry), "WEIR_CLIENT_INSECURE=%s", yes[i]);
        struct config *cfg = with_variable(entry);
        assert_true(cfg->client.insecure);
        config_free(cfg);
        snprintf(entry, sizeof(entry), "WEIR_SSE_ENABLED=%s", no[i]);
        cfg = with_variable(entry);
        assert_false(cfg->sse.enabled);
        config_free(cfg);
    }
}

static void test_environment_namespaces(void **state)
{
    (void)state;
    /* The object replaces the file's, the single options refine it, in
     * whichever order they come. */
    char *env[] = {
        "WEIR_CHANNEL_WITHOUT_NAMESPACE_ALLOW_SUBSCRIBE_FOR_CLIENT=true",
        "WEIR_CHANNEL_WITHOUT_NAMESPACE={\"allow_patterns\":true,"
        "\"allow_subscribe_for_client\":false}",
        "WEIR_CHANNEL_NAMESPACES=[{\"name\":\"env\"}]", NULL};
    struct config *cfg =
        good("{\"channel\":{\"namespaces\":[{\"name\":\"file\"}],"
             "\"without_namespace\":{\"allow_publish_for_client\":true,"
             "\"channel_regex\":\"^a\",\"subject\":\"s\"}}}",
             env);
    const struct namespace_options *ns = &cfg->channel.without_namespace;
    assert_true(ns->allow_subscribe_for_client);
    assert_true(ns->allow_patterns);
    assert_false(ns->allow_publish_for_client);
    assert_string_equal(ns->channel_regex, "");
    assert_null(ns->regex);
    assert_string_equal(ns->subject, "");
    assert_non_null(config_namespace(cfg, STR_LIT("env")));
    assert_null(config_namespace(cfg, STR_LIT("file")));
    config_free(cfg);
}

/* What Kubernetes sets when a service is called weir. */
static void test_environment_service_links(void **state)
{
    (void)state;
    char *env[] = {"WEIR_SERVICE_HOST=10.0.0.11",
                   "WEIR_SERVICE_PORT=8000",
                   "WEIR_SERVICE_PORT_HTTP=8000",
                   "WEIR_PORT=tcp://10.0.0.11:8000",
                   "WEIR_PORT_8000_TCP=tcp://10.0.0.11:8000",
                   "WEIR_PORT_8000_TCP_PROTO=tcp",
                   "WEIR_PORT_8000_TCP_PORT=8000",
                   "WEIR_PORT_8000_TCP_ADDR=10.0.0.11",
                   "WEIR_DEMO_PORT_53_UDP_ADDR=10.0.0.12",
                   "WEIR_HTTP_SERVER_PORT=8001",
                   NULL};
    struct config *cfg = good("{}", env);
    assert_int_equal(cfg->http_server.port, 8001);
    config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment_wins_over_the_file),
        cmocka_unit_test(test_environment_lists),
        cmocka_unit_test(test_environment_booleans),
        cmocka_unit_test(test_environment_namespaces),
        cmocka_unit_test(test_environment_service_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
