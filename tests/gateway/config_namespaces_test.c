/* config_namespaces_test.c — looking a namespace up by its name. */
#include "gateway/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

static struct config *good(const char *json)
{
    char err[1024] = "";
    struct config *cfg =
        config_parse(json, strlen(json), "config.json", NULL, err, sizeof(err));
    if (!cfg)
        fail_msg("%s: %s", json, err);
    return cfg;
}

static void test_namespace_lookup(void **state)
{
    (void)state;
    struct config *cfg =
        good("{\"channel\":{\"namespaces\":[{\"name\":\"news\"},"
             "{\"name\":\"chat\"},{\"name\":\"chat-2\"},{\"name\":\"ch\"},"
             "{\"name\":\"Chat\"},{\"name\":\"_x\"}]}}");
    static const char *const known[] = {"news", "chat", "chat-2",
                                        "ch",   "Chat", "_x"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const struct namespace_options *ns =
            config_namespace(cfg, str_of(known[i]));
        assert_non_null(ns);
        assert_string_equal(ns->name, known[i]);
    }
    /* A slice, not a string: only its bytes count. */
    assert_string_equal(config_namespace(cfg, str_n("chat:room", 4))->name,
                        "chat");
    static const char *const unknown[] = {"cha", "chat-", "chat-22", "nEws",
                                          "a",   "zz",    "chat-1",  "c"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        assert_null(config_namespace(cfg, str_of(unknown[i])));
    assert_null(config_namespace(cfg, str_n("chat\0", 5)));
    assert_ptr_equal(config_namespace(cfg, str_of("")),
                     &cfg->channel.without_namespace);
    config_free(cfg);
}

static void test_ten_thousand_namespaces(void **state)
{
    (void)state;
    char *json = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&json, &n);
    fprintf(f, "{\"channel\":{\"namespaces\":[");
    for (int i = 0; i < 10000; i++)
        fprintf(f, "%s{\"name\":\"n%d\",\"subject\":\"feed.%d\"}", i ? "," : "",
                7919 * i % 10000, i);
    fprintf(f, "]}}");
    fclose(f);
    struct config *cfg = good(json);
    assert_int_equal(cfg->channel.namespace_count, 10000);
    for (int i = 0; i < 10000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        assert_non_null(config_namespace(cfg, str_of(name)));
    }
    config_free(cfg);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_namespace_lookup),
        cmocka_unit_test(test_ten_thousand_namespaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
