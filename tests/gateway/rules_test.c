/* Which names may stand where, and who may do what: rules.h and publish.h
 * against every option of a namespace. */
#include "gateway/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/protocol/codes.h"
#include "gateway/publish.h"

static struct config *parse(const char *json)
{
    char err[512];
    struct config *cfg =
        config_parse(json, strlen(json), "test", NULL, err, sizeof(err));
    if (!cfg)
        fail_msg("%s", err);
    return cfg;
}

/* --- names ---------------------------------------------------------------- */

static const char names_config[] =
    "{\"channel\":{\"max_length\":20,\"namespaces\":["
    "{\"name\":\"plain\"},{\"name\":\"pat\",\"allow_patterns\":true},"
    "{\"name\":\"re\",\"channel_regex\":\"^[a-c]+$\",\"allow_patterns\":true},"
    "{\"name\":\"any\",\"channel_regex\":\".\"}]}}";

static const struct {
    const char *name;
    uint32_t publish; /* the error, 0: fine */
    uint32_t subscribe;
} names[] = {
    {"a", 0, 0},
    {"a.b.c", 0, 0},
    {"$private", 0, 0},
    {"12345678901234567890", 0, 0},
    {"123456789012345678901", 107, 107},
    {"", 107, 107},
    {".", 107, 107},
    {"a b", 107, 107},
    {"a\x7F", 107, 107},
    {"caf\xC3\xA9", 107, 107}, /* ASCII only, without a regex */
    {"a.*", 107, 107},         /* no patterns here */
    {">", 107, 107},
    {"a*", 0, 0}, /* no token of its own: an ordinary byte */
    {"plain:a", 0, 0},
    {"plain:a.*", 107, 107},
    {"plain:", 107, 107},
    {"pat:a", 0, 0},
    {"pat:a.*", 107, 0},
    {"pat:>", 107, 0},
    {"pat:>.a", 107, 107},
    {"re:abc", 0, 0},
    {"re:abd", 107, 107},
    {"re:*", 107, 0}, /* a regex is about concrete names */
    {"any:caf\xC3\xA9", 0, 0},
    {"none:a", 102, 102},
    {"none:a.*", 102, 102},
    {"x:a", 107, 107}, /* no name of a namespace */
};

static void test_names(void **state)
{
    (void)state;
    struct config *cfg = parse(names_config);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct rules_channel ch;
        struct str name = str_of(names[i].name);
        uint32_t publish = rules_channel(cfg, name, RULES_CONCRETE, &ch);
        uint32_t subscribe =
            rules_channel(cfg, name, RULES_CONCRETE_OR_PATTERN, &ch);
        if (publish != names[i].publish || subscribe != names[i].subscribe)
            fail_msg("%s: %u %u", names[i].name, publish, subscribe);
    }
    config_free(cfg);
}

/* A NUL ends a C string, not a name. */
static void test_nul(void **state)
{
    (void)state;
    struct config *cfg = parse(names_config);
    struct rules_channel ch;
    assert_int_equal(
        rules_channel(cfg, STR_LIT("re:ab\0d"), RULES_CONCRETE, &ch), 107);
    assert_int_equal(rules_channel(cfg, STR_LIT("\0"), RULES_CONCRETE, &ch),
                     107);
    config_free(cfg);
}

/* --- permissions ---------------------------------------------------------- */

enum { SUB = 1, SUB_ANON = 2, PUB = 4, PUB_SUB = 8, PUB_ANON = 16 };

static struct config *with_options(unsigned options, bool insecure)
{
    char json[512];
    static const char *const words[] = {"false", "true"};
    snprintf(
        json, sizeof(json),
        "{\"client\":{\"insecure\":%s},\"channel\":{\"without_namespace\":{"
        "\"allow_subscribe_for_client\":%s,"
        "\"allow_subscribe_for_anonymous\":%s,"
        "\"allow_publish_for_client\":%s,"
        "\"allow_publish_for_subscriber\":%s,"
        "\"allow_publish_for_anonymous\":%s}}}",
        words[insecure], words[!!(options & SUB)],
        words[!!(options & SUB_ANON)], words[!!(options & PUB)],
        words[!!(options & PUB_SUB)], words[!!(options & PUB_ANON)]);
    return parse(json);
}

static void check_permissions(unsigned o)
{
    struct config *cfg = with_options(o, false);
    struct config *open = with_options(o, true);
    struct rules_channel ch;
    assert_int_equal(rules_channel(cfg, STR_LIT("a"), RULES_CONCRETE, &ch), 0);
    for (unsigned k = 0; k < 4; k++) {
        struct str user = k & 1 ? STR_LIT("u") : STR_LIT("");
        bool subscribed = k & 2;
        bool may_sub = o & SUB && (user.n || o & SUB_ANON);
        bool may_pub = (user.n || o & PUB_ANON) &&
                       (o & PUB || (o & PUB_SUB && subscribed));
        assert_int_equal(rules_subscribe(cfg, &ch, user), may_sub ? 0 : 103);
        assert_int_equal(rules_publish(cfg, &ch, user, subscribed),
                         may_pub ? 0 : 103);
        assert_int_equal(rules_subscribe(open, &ch, user), 0);
        assert_int_equal(rules_publish(open, &ch, user, subscribed), 0);
    }
    config_free(cfg);
    config_free(open);
}

static void test_permissions(void **state)
{
    (void)state;
    for (unsigned o = 0; o < 32; o++)
        check_permissions(o);
    /* A private channel needs a token, whatever the namespace allows. */
    struct config *cfg = with_options(31, false);
    struct rules_channel ch;
    assert_int_equal(rules_channel(cfg, STR_LIT("$a"), RULES_CONCRETE, &ch), 0);
    assert_int_equal(rules_subscribe(cfg, &ch, STR_LIT("u")), 103);
    config_free(cfg);
}

static void test_anonymous(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool may;
    } table[] = {
        {"{}", false},
        {"{\"client\":{\"insecure\":true}}", true},
        {"{\"client\":{\"allow_anonymous_connect_without_token\":true}}", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct config *cfg = parse(table[i].json);
        assert_int_equal(rules_anonymous(cfg), table[i].may);
        config_free(cfg);
    }
}

/* --- publications --------------------------------------------------------- */

static uint32_t make(const struct config *cfg, struct msg_budget *budget,
                     const char *channel, struct publish_request r,
                     struct msg **out)
{
    struct rules_channel ch;
    assert_int_equal(rules_channel(cfg, str_of(channel), RULES_CONCRETE, &ch),
                     0);
    r.channel = &ch;
    *out = NULL;
    return publish_make(cfg, budget, &r, out);
}

static const struct {
    const char *channel;
    struct str data;
    uint32_t error;
    bool is_json;
} formats[] = {
    {"a", {"1", 1}, 0, true},          {"a", {" 1 ", 3}, 0, true},
    {"a", {"", 0}, 107, false},        {"a", {"x", 1}, 107, false},
    {"a", {"\xFF", 1}, 107, false},    {"js:a", {"[1]", 3}, 0, true},
    {"js:a", {"x", 1}, 107, false},    {"ob:a", {"{}", 2}, 0, true},
    {"ob:a", {"[]", 2}, 107, false},   {"ob:a", {"null", 4}, 107, false},
    {"bi:a", {"\xFF\0", 2}, 0, false}, {"bi:a", {"{}", 2}, 0, true},
    {"bi:a", {"", 0}, 107, false},
};

static void test_formats(void **state)
{
    (void)state;
    struct config *cfg =
        parse("{\"channel\":{\"namespaces\":["
              "{\"name\":\"js\",\"publication_data_format\":\"json\"},"
              "{\"name\":\"ob\",\"publication_data_format\":"
              "\"json_object\"},"
              "{\"name\":\"bi\",\"publication_data_format\":\"binary\"}]}}");
    struct msg_budget budget = {.max_bytes = 1 << 20};
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        struct msg *m;
        struct publish_request r = {.data = formats[i].data};
        uint32_t error = make(cfg, &budget, formats[i].channel, r, &m);
        if (error != formats[i].error ||
            (m && m->is_json != formats[i].is_json))
            fail_msg("row %zu: %u", i, error);
        if (m) {
            assert_true(str_eq(msg_data(m), formats[i].data));
            msg_unref(m);
        }
    }
    assert_int_equal(budget.used_bytes, 0);
    config_free(cfg);
}

/* No raw line break may reach a line protocol; nothing else is touched. */
static void test_newlines(void **state)
{
    (void)state;
    struct config *cfg = parse("{\"channel\":{\"namespaces\":[{\"name\":\"bi\","
                               "\"publication_data_format\":\"binary\"}]}}");
    struct msg_budget budget = {.max_bytes = 1 << 20};
    struct msg *m;
    struct publish_request r = {.data = STR_LIT("{\r\n \"a\" :\n[1 ,\r2]}\n"),
                                .tags = STR_LIT("{\n\"k\":\r\"v\"}"),
                                .info = STR_LIT("{\"user\":\"u\"}")};
    assert_int_equal(make(cfg, &budget, "a", r, &m), 0);
    assert_true(str_eq(msg_data(m), STR_LIT("{ \"a\" :[1 ,2]}")));
    assert_true(str_eq(msg_tags(m), STR_LIT("{\"k\":\"v\"}")));
    assert_true(str_eq(msg_info(m), r.info));
    msg_unref(m);
    r = (struct publish_request){.data = STR_LIT("a\r\nb")};
    assert_int_equal(make(cfg, &budget, "bi:a", r, &m), 0);
    assert_true(str_eq(msg_data(m), r.data));
    msg_unref(m);
    config_free(cfg);
}

static void test_tags(void **state)
{
    (void)state;
    static const struct {
        const char *tags;
        bool valid;
    } table[] = {
        {"{}", true},
        {" { } ", true},
        {"{\"a\":\"b\",\"a\":\"\"}", true},
        {"[]", false},
        {"null", false},
        {"\"a\"", false},
        {"{", false},
        {"{\"a\":1}", false},
        {"{\"a\":null}", false},
        {"", false},
        {"{\"a\":{}}", false},
        {"{\"a\":\"b\"}{}", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (publish_tags_valid(str_of(table[i].tags)) != table[i].valid)
            fail_msg("%s", table[i].tags);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct config *cfg = parse("{\"channel\":{\"max_publication_size\":1024}}");
    struct msg_budget budget = {.max_bytes = 1 << 20};
    struct msg *m;
    char digits[1025];
    memset(digits, '1', sizeof(digits));
    struct publish_request r = {.data = str_n(digits, 1024)};
    assert_int_equal(make(cfg, &budget, "a", r, &m), 0);
    msg_unref(m);
    r.data.n = 1025;
    assert_int_equal(make(cfg, &budget, "a", r, &m), ERROR_BAD_REQUEST);
    r.data.n = 1024;
    budget.max_bytes = 100;
    assert_int_equal(make(cfg, &budget, "a", r, &m), ERROR_TOO_MANY_REQUESTS);
    assert_int_equal(budget.refused, 1);
    assert_int_equal(budget.used_bytes, 0);
    config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_nul),
        cmocka_unit_test(test_permissions), cmocka_unit_test(test_anonymous),
        cmocka_unit_test(test_formats),     cmocka_unit_test(test_newlines),
        cmocka_unit_test(test_tags),        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
