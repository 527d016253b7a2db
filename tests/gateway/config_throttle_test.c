/* config_throttle_test.c — the section `throttle` of a namespace: the policy
 * that is made of it, and what is refused. Messages are compared whole: an
 * operator acts on them. */
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

/* --- the policy --- */

/* The policy of a namespace with this section; *cfg for the caller to free. */
static const struct throttle_policy *policy_of(const char *section,
                                               struct config **cfg)
{
    char json[512];
    snprintf(json, sizeof(json),
             "{\"channel\":{\"namespaces\":[{\"name\":\"ns\","
             "\"throttle\":%s}]}}",
             section);
    *cfg = good(json, NULL);
    return &(*cfg)->channel.namespaces[0].throttle;
}

static void test_defaults(void **state)
{
    (void)state;
    struct config *cfg;
    const struct throttle_policy *p = policy_of("{}", &cfg);
    assert_int_equal(p->mode, THROTTLE_ALL);
    assert_int_equal(p->on_full, THROTTLE_DISCONNECT);
    assert_int_equal(p->rate, 0);
    assert_int_equal(p->buffer, 0);
    assert_int_equal(p->snapshot, 0);
    assert_int_equal(p->bandwidth, 0);
    assert_int_equal(p->order_group, 0);
    assert_int_equal(p->key.n, 0);
    assert_true(p->allow_client_rate);
    assert_false(p->annotate);
    config_free(cfg);
}

static void test_on_full(void **state)
{
    (void)state;
    static const struct {
        const char *section;
        enum throttle_on_full on_full;
        uint32_t buffer;
    } cases[] = {
        {"{\"mode\":\"all\",\"rate\":5}", THROTTLE_DISCONNECT, 0},
        {"{\"mode\":\"latest\"}", THROTTLE_CONFLATE, 0},
        {"{\"mode\":\"merge\"}", THROTTLE_CONFLATE, 0},
        {"{\"mode\":\"merge\",\"on_full\":\"disconnect\"}", THROTTLE_DISCONNECT,
         0},
        {"{\"on_full\":\"drop_oldest\"}", THROTTLE_DROP_OLDEST, 128},
        {"{\"on_full\":\"drop_oldest\",\"buffer\":0}", THROTTLE_DROP_OLDEST,
         128},
        {"{\"on_full\":\"drop_oldest\",\"buffer\":65536}", THROTTLE_DROP_OLDEST,
         65536},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *cfg;
        const struct throttle_policy *p = policy_of(cases[i].section, &cfg);
        assert_int_equal(p->on_full, cases[i].on_full);
        assert_int_equal(p->buffer, cases[i].buffer);
        config_free(cfg);
    }
}

static void test_buffer_from_the_environment(void **state)
{
    (void)state;
    char *env[] = {
        "WEIR_CHANNEL_WITHOUT_NAMESPACE_THROTTLE_ON_FULL=drop_oldest",
        "WEIR_CHANNEL_WITHOUT_NAMESPACE_THROTTLE_BUFFER=7", NULL};
    struct config *cfg = good("{}", env);
    assert_int_equal(cfg->channel.without_namespace.throttle.buffer, 7);
    char *text = printed(cfg);
    assert_non_null(strstr(text, "\"buffer\": 7,"));
    free(text);
    config_free(cfg);
}

static void test_rates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t rate;
        const char *print;
    } rates[] = {
        {"0", 0, "0"},
        {"0.0", 0, "0"},
        {"0.001", 1, "0.001"},
        {"0.2", 200, "0.2"},
        {"0.5", 500, "0.5"},
        {"1.1", 1100, "1.1"},
        {"2.675", 2675, "2.675"},
        {"5", 5000, "5"},
        {"5.000", 5000, "5"},
        {"1e2", 100000, "100"},
        {"999.999", 999999, "999.999"},
        {"1000", 1000000, "1000"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        char text[128];
        struct config *cfg;
        snprintf(text, sizeof(text), "{\"rate\":%s}", rates[i].text);
        assert_int_equal(policy_of(text, &cfg)->rate, rates[i].rate);
        config_free(cfg);

        snprintf(text, sizeof(text),
                 "WEIR_CHANNEL_WITHOUT_NAMESPACE_THROTTLE_RATE=%s",
                 rates[i].text);
        char *env[] = {text, NULL};
        cfg = good("{}", env);
        assert_int_equal(cfg->channel.without_namespace.throttle.rate,
                         rates[i].rate);
        char *all = printed(cfg);
        snprintf(text, sizeof(text), "\"rate\": %s,", rates[i].print);
        if (!strstr(all, text))
            fail_msg("%s is not printed as %s", rates[i].text, rates[i].print);
        struct config *again = good(all, NULL);
        assert_int_equal(again->channel.without_namespace.throttle.rate,
                         rates[i].rate);
        config_free(again);
        free(all);
        config_free(cfg);
    }
}

/* No thousandth is lost on the way through a double. */
static void test_rates_across_the_range(void **state)
{
    (void)state;
    for (uint32_t rate = 0; rate <= THROTTLE_RATE_MAX; rate += 997) {
        struct config *cfg;
        char section[64];
        snprintf(section, sizeof(section), "{\"rate\":%u.%03u}", rate / 1000,
                 rate % 1000);
        assert_int_equal(policy_of(section, &cfg)->rate, rate);
        config_free(cfg);
    }
}

static uint32_t group_of(const struct config *cfg, const char *name)
{
    return config_namespace(cfg, str_of(name))->throttle.order_group;
}

static void test_order_groups(void **state)
{
    (void)state;
    struct config *cfg =
        good("{\"channel\":{\"without_namespace\":{\"throttle\":"
             "{\"order_group\":\"stocks\"}},\"namespaces\":["
             "{\"name\":\"quotes\",\"throttle\":{\"order_group\":\"stocks\"}},"
             "{\"name\":\"alone\"},"
             "{\"name\":\"fx\",\"throttle\":{\"order_group\":\"fx\"}},"
             "{\"name\":\"fills\",\"throttle\":{\"order_group\":\"stocks\"}},"
             "{\"name\":\"none\",\"throttle\":{\"order_group\":\"\"}},"
             "{\"name\":\"fxfills\",\"throttle\":{\"order_group\":\"fx\"}}]}}",
             NULL);
    assert_int_equal(group_of(cfg, "alone"), 0);
    assert_int_equal(group_of(cfg, "none"), 0);
    assert_true(group_of(cfg, "fx") > 0);
    assert_true(group_of(cfg, "quotes") > 0);
    assert_int_equal(group_of(cfg, "fx"), group_of(cfg, "fxfills"));
    assert_int_equal(group_of(cfg, "quotes"), group_of(cfg, "fills"));
    assert_int_equal(group_of(cfg, "quotes"), group_of(cfg, ""));
    assert_int_not_equal(group_of(cfg, "fx"), group_of(cfg, "fills"));
    config_free(cfg);
}

/* As an object: what it does not name is at its default again. */
static void test_sources(void **state)
{
    (void)state;
    char *env[] = {
        "WEIR_CHANNEL_WITHOUT_NAMESPACE_THROTTLE_SNAPSHOT=1",
        "WEIR_CHANNEL_WITHOUT_NAMESPACE={\"throttle\":{\"mode\":\"latest\","
        "\"key\":\"/b\"}}",
        "WEIR_CHANNEL_NAMESPACES=[{\"name\":\"env\",\"throttle\":"
        "{\"mode\":\"latest\",\"rate\":0.5}}]",
        NULL};
    struct config *cfg =
        good("{\"channel\":{\"without_namespace\":{\"throttle\":"
             "{\"mode\":\"merge\",\"key\":\"/a\",\"rate\":7}}}}",
             env);
    const struct throttle_policy *p = &cfg->channel.without_namespace.throttle;
    assert_int_equal(p->mode, THROTTLE_LATEST);
    assert_true(str_eq(p->key, STR_LIT("/b")));
    assert_int_equal(p->rate, 0);
    assert_int_equal(p->snapshot, 1);
    p = &config_namespace(cfg, STR_LIT("env"))->throttle;
    assert_int_equal(p->mode, THROTTLE_LATEST);
    assert_int_equal(p->rate, 500);
    config_free(cfg);
}

/* --- what is refused --- */

/* In a namespace; "channel.namespaces[0]." goes before the name. */
#define NS "config.json: key \"channel.namespaces[0]."
#define WANT_RATE "; want a number from 0 to 1000 with at most three decimals"
#define WANT_KEY                                                           \
    "; want a JSON pointer such as \"/symbol\", in which ~ is ~0 and a / " \
    "inside a name is ~1, or \"\" for none"
#define WANT_BANDWIDTH                                           \
    "; want 0, unless throttle.on_full is \"conflate\" or "      \
    "\"drop_oldest\": with \"disconnect\", the default of mode " \
    "\"all\", nothing waits"
#define WANT_NO_BUFFER "; want 0, unless throttle.on_full is \"drop_oldest\""

static const struct {
    const char *options;
    const char *message;
} refusals[] = {
    /* unknown keys */
    {"\"throttle\":{\"mood\":\"latest\"}",
     "config.json: unknown key \"channel.namespaces[0].throttle.mood\" "
     "(value \"latest\"); did you mean \"throttle.mode\"?"},
    {"\"throtle\":{\"mode\":\"latest\"}",
     "config.json: unknown key \"channel.namespaces[0].throtle\" (value "
     "{...}); did you mean \"throttle\"?"},
    {"\"mode\":\"latest\"",
     "config.json: unknown key \"channel.namespaces[0].mode\" (value "
     "\"latest\"); did you mean \"throttle.mode\"?"},
    {"\"throttle\":{\"\":1}",
     "config.json: unknown key \"channel.namespaces[0].throttle.\" (value "
     "1); did you mean \"throttle\"?"},
    {"\"throttle.mode\":\"latest\"",
     NS "throttle.mode\" has value \"latest\"; want an object for every dot "
        "in the name"},
    {"\"throttle\":{\"throttle.mode\":\"latest\"}",
     NS "throttle.throttle.mode\" has value \"latest\"; want an object for "
        "every dot in the name"},

    /* types and bounds */
    {"\"throttle\":\"latest\"",
     NS "throttle\" has value \"latest\"; want an object"},
    {"\"throttle\":[]", NS "throttle\" has value [...]; want an object"},
    {"\"throttle\":{\"mode\":\"newest\"}",
     NS "throttle.mode\" has value \"newest\"; want one of \"all\", "
        "\"latest\", \"merge\""},
    {"\"throttle\":{\"on_full\":\"drop\"}",
     NS "throttle.on_full\" has value \"drop\"; want one of \"\", "
        "\"disconnect\", \"conflate\", \"drop_oldest\""},
    {"\"throttle\":{\"rate\":\"5\"}",
     NS "throttle.rate\" has value \"5\"" WANT_RATE},
    {"\"throttle\":{\"rate\":null}",
     NS "throttle.rate\" has value null" WANT_RATE},
    {"\"throttle\":{\"rate\":-0.2}",
     NS "throttle.rate\" has value -0.2" WANT_RATE},
    {"\"throttle\":{\"rate\":0.2345}",
     NS "throttle.rate\" has value 0.2345" WANT_RATE},
    {"\"throttle\":{\"rate\":0.0001}",
     NS "throttle.rate\" has value 0.0001" WANT_RATE},
    {"\"throttle\":{\"rate\":1000.001}",
     NS "throttle.rate\" has value 1000.001" WANT_RATE},
    {"\"throttle\":{\"rate\":1001}",
     NS "throttle.rate\" has value 1001" WANT_RATE},
    {"\"throttle\":{\"rate\":9223372036854775807}",
     NS "throttle.rate\" has value 9223372036854775807" WANT_RATE},
    {"\"throttle\":{\"buffer\":65537}",
     NS "throttle.buffer\" has value 65537; want an integer from 0 to "
        "65536"},
    {"\"throttle\":{\"snapshot\":1001}",
     NS "throttle.snapshot\" has value 1001; want an integer from 0 to "
        "1000"},
    {"\"throttle\":{\"bandwidth\":255}",
     NS "throttle.bandwidth\" has value 255; want an integer from 256 to "
        "1073741824, or 0 for off"},
    {"\"throttle\":{\"annotate\":1}",
     NS "throttle.annotate\" has value 1; want true or false"},
    {"\"throttle\":{\"order_group\":\"a.b\"}",
     NS "throttle.order_group\" has value \"a.b\"; want a name of 2 to 64 of "
        "the characters -, _, a-z, A-Z, 0-9, or \"\" for none"},

    /* pointers */
    {"\"throttle\":{\"key\":\"symbol\"}",
     NS "throttle.key\" has value \"symbol\"" WANT_KEY},
    {"\"throttle\":{\"key\":\"/a~2\"}",
     NS "throttle.key\" has value \"/a~2\"" WANT_KEY},
    {"\"throttle\":{\"key\":\"/a~\"}",
     NS "throttle.key\" has value \"/a~\"" WANT_KEY},
    {"\"throttle\":{\"key\":[\"symbol\"]}",
     NS "throttle.key\" has value [...]; want a string of at most 256 bytes, "
        "no control characters"},

    /* what involves more than one key */
    {"\"throttle\":{\"on_full\":\"conflate\"}",
     NS "throttle.on_full\" has value \"conflate\"; want \"disconnect\" or "
        "\"drop_oldest\", since throttle.mode is \"all\"; with \"latest\" "
        "or \"merge\" it may be \"conflate\""},
    {"\"throttle\":{\"mode\":\"latest\",\"on_full\":\"drop_oldest\"}",
     NS "throttle.on_full\" has value \"drop_oldest\"; want \"conflate\" or "
        "\"disconnect\"; only where throttle.mode is \"all\" it may be "
        "\"drop_oldest\""},
    {"\"throttle\":{\"mode\":\"merge\",\"on_full\":\"drop_oldest\"}",
     NS "throttle.on_full\" has value \"drop_oldest\"; want \"conflate\" or "
        "\"disconnect\"; only where throttle.mode is \"all\" it may be "
        "\"drop_oldest\""},
    {"\"throttle\":{\"buffer\":1}",
     NS "throttle.buffer\" has value 1" WANT_NO_BUFFER},
    {"\"throttle\":{\"mode\":\"latest\",\"buffer\":10}",
     NS "throttle.buffer\" has value 10" WANT_NO_BUFFER},
    {"\"throttle\":{\"bandwidth\":256}",
     NS "throttle.bandwidth\" has value 256" WANT_BANDWIDTH},
    {"\"throttle\":{\"mode\":\"latest\",\"on_full\":\"disconnect\","
     "\"bandwidth\":4096}",
     NS "throttle.bandwidth\" has value 4096" WANT_BANDWIDTH},
    {"\"publication_data_format\":\"binary\","
     "\"throttle\":{\"mode\":\"merge\"}",
     NS "throttle.mode\" has value \"merge\"; want \"all\" or \"latest\", "
        "since publication_data_format is \"binary\" and only JSON can be "
        "merged"},
    {"\"throttle\":{\"mode\":\"latest\",\"key\":\"/s\"},"
     "\"publication_data_format\":\"binary\"",
     NS "throttle.key\" has value \"/s\"; want \"\", since "
        "publication_data_format is \"binary\" and a JSON pointer finds "
        "nothing there"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        char json[512];
        snprintf(json, sizeof(json),
                 "{\"channel\":{\"namespaces\":[{\"name\":\"ns\",%s}]}}",
                 refusals[i].options);
        refused(json, NULL, refusals[i].message);
    }
}

/* Where the key has a name of its own. */
static void test_refusals_outside_namespaces(void **state)
{
    (void)state;
    refused("{\"channel\":{\"without_namespace\":{\"throttle\":"
            "{\"mood\":1}}}}",
            NULL,
            "config.json: unknown key "
            "\"channel.without_namespace.throttle.mood\" (value 1); did you "
            "mean \"channel.without_namespace.throttle.mode\"?");
    refused("{\"throttle\":{\"max_item\":1}}", NULL,
            "config.json: unknown key \"throttle.max_item\" (value 1); did "
            "you mean \"throttle.max_items\"?");
    refused("{\"throttle\":{\"max_items\":0}}", NULL,
            "config.json: key \"throttle.max_items\" has value 0; want an "
            "integer from 1 to 1000000");
    refused("{\"throttle\":{\"max_bytes\":65535}}", NULL,
            "config.json: key \"throttle.max_bytes\" has value 65535; want "
            "an integer from 65536 to 1099511627776");
    refused("{\"throttle\":{\"idle_ttl\":60}}", NULL,
            "config.json: key \"throttle.idle_ttl\" has value 60; want a "
            "duration string such as \"60s\"");
    refused("{\"throttle\":{\"notsent_lowat\":1023}}", NULL,
            "config.json: key \"throttle.notsent_lowat\" has value 1023; "
            "want an integer from 1024 to 1048576, or 0 for off");
    refused_variable("WEIR_CHANNEL_WITHOUT_NAMESPACE_THROTTLE_MOOD=all",
                     "environment: unknown variable "
                     "\"WEIR_CHANNEL_WITHOUT_NAMESPACE_THROTTLE_MOOD\" "
                     "(value \"all\"); did you mean "
                     "\"WEIR_CHANNEL_WITHOUT_NAMESPACE_THROTTLE_MODE\"?");
    static const char *const rates[] = {"0,2", "\"\"", ".5", "5/s", "nan"};
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        char entry[96];
        snprintf(entry, sizeof(entry),
                 "WEIR_CHANNEL_WITHOUT_NAMESPACE_THROTTLE_RATE=%s", rates[i]);
        char *env[] = {entry, NULL};
        char err[ERR_LEN];
        assert_null(parse_env("{}", env, err));
        assert_non_null(strstr(err, WANT_RATE));
    }
    /* Checked last, and still known where it is from. */
    refused_variable("WEIR_CHANNEL_WITHOUT_NAMESPACE_THROTTLE_BUFFER=1",
                     "environment "
                     "WEIR_CHANNEL_WITHOUT_NAMESPACE_THROTTLE_BUFFER: key "
                     "\"channel.without_namespace.throttle.buffer\" has "
                     "value 1" WANT_NO_BUFFER);
}

static void test_key_length(void **state)
{
    (void)state;
    char err[ERR_LEN];
    for (int n = 256; n <= 257; n++) {
        char json[512];
        int at = snprintf(json, sizeof(json),
                          "{\"channel\":{\"without_namespace\":"
                          "{\"throttle\":{\"key\":\"/");
        memset(json + at, 'k', (size_t)n - 1);
        strcpy(json + at + n - 1, "\"}}}}");
        struct config *cfg = parse_env(json, NULL, err);
        assert_int_equal(cfg != NULL, n == 256);
        config_free(cfg);
    }
}

static void test_just_right(void **state)
{
    (void)state;
    static const char *const right[] = {
        "\"throttle\":{}",
        "\"throttle\":{\"rate\":5}",
        "\"throttle\":{\"key\":\"/a\",\"allow_client_rate\":false}",
        "\"throttle\":{\"key\":\"/\"}",
        "\"throttle\":{\"key\":\"/~0~1/0\"}",
        "\"throttle\":{\"on_full\":\"disconnect\"}",
        "\"throttle\":{\"on_full\":\"drop_oldest\",\"bandwidth\":256}",
        "\"throttle\":{\"mode\":\"latest\",\"bandwidth\":1073741824}",
        "\"throttle\":{\"mode\":\"latest\",\"on_full\":\"conflate\"}",
        "\"throttle\":{\"mode\":\"latest\",\"on_full\":\"disconnect\"}",
        "\"throttle\":{\"mode\":\"latest\"},"
        "\"publication_data_format\":\"binary\"",
        "\"throttle\":{\"mode\":\"merge\",\"key\":\"/a\"},"
        "\"publication_data_format\":\"json_object\"",
        "\"throttle\":{\"snapshot\":1000,\"order_group\":\"gg\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(right); i++) {
        char json[512];
        snprintf(json, sizeof(json),
                 "{\"channel\":{\"namespaces\":[{\"name\":\"ns\",%s}]}}",
                 right[i]);
        config_free(good(json, NULL));
    }
    config_free(good("{\"throttle\":{\"notsent_lowat\":0,"
                     "\"max_bytes\":65536,\"max_items\":1000000}}",
                     NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_on_full),
        cmocka_unit_test(test_buffer_from_the_environment),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_rates_across_the_range),
        cmocka_unit_test(test_order_groups),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refusals_outside_namespaces),
        cmocka_unit_test(test_key_length),
        cmocka_unit_test(test_just_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
