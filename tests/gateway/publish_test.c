/* What a publication is the newest value of, and who says so. */
#include "gateway/publish.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

static struct msg_budget budget = {.max_bytes = 1 << 20};

/* Made by hand: what the configuration may say is tested with it. */
static struct msg *make(struct str key, const char *data, bool urgent)
{
    char err[128];
    struct config *cfg = config_parse("{}", 2, "test", NULL, err, sizeof(err));
    static struct namespace_options o;
    struct msg *m = NULL;
    assert_non_null(cfg);
    o = (struct namespace_options){.throttle = {.key = key},
                                   .publication_data_format =
                                       DATA_FORMAT_BINARY};
    struct rules_channel ch = {.name = {.full = STR_LIT("q:a")}, .options = &o};
    struct publish_request r = {
        .channel = &ch, .data = str_of(data), .urgent = urgent};
    assert_int_equal(publish_make(cfg, &budget, &r, &m), 0);
    assert_true(m->policy == &o.throttle);
    assert_int_equal(m->urgent, urgent);
    config_free(cfg);
    return m;
}

static void check(struct str key, const char *data, const char *item,
                  bool keyless)
{
    struct msg *m = make(key, data, false);
    if (m->item != msg_item_hash(STR_LIT("q:a"), str_of(item)) ||
        m->keyless != keyless)
        fail_msg("%s", data);
    msg_unref(m);
}

static void test_items(void **state)
{
    (void)state;
    struct str key = STR_LIT("/s");
    check(key, "{\"s\":\"A\"}", "\"A\"", false);
    check(key, "{\n\"s\" :\r\"\\u0041\"}", "\"A\"", false);
    check(key, "{\"s\":7}", "7", false);
    check(key, "{\"t\":7}", "", true);
    check(key, "{\"s\":null}", "", true);
    check(key, "{\"s\":{}}", "", true);
    check(key, "[1]", "", true);
    check(key, "not JSON", "", true);
    check(STR_LIT(""), "{\"s\":\"A\"}", "", false);
    check(STR_LIT(""), "not JSON", "", false);
    assert_int_equal(budget.used_bytes, 0);
}

static void test_urgent(void **state)
{
    (void)state;
    struct msg *m = make(STR_LIT(""), "1", true);
    assert_true(m->urgent);
    msg_unref(m);
}

/* What other entries share: only what it says it fills in, and always all of
 * that. */
static void test_parts(void **state)
{
    (void)state;
    struct namespace_options o = {.throttle = {.key = STR_LIT("/s")}};
    struct buf scratch = BUF_INIT;
    struct msg_parts parts = {.tags = STR_LIT("{}"), .urgent = true};
    struct str channel = STR_LIT("c");
    buf_lit(&scratch, "left over");
    publish_item(&o, channel, STR_LIT("{\"s\":\"\\n\"}"), true, &scratch,
                 &parts);
    assert_true(parts.policy == &o.throttle && !parts.keyless);
    assert_true(parts.item == msg_item_hash(channel, STR_LIT("\"\\n\"")));
    assert_true(parts.urgent && parts.tags.n == 2 && parts.data.n == 0);
    publish_item(&o, channel, STR_LIT("{\"s\":1}"), false, &scratch, &parts);
    assert_true(parts.item == 0 && parts.keyless);
    o.throttle.key = STR_LIT("");
    publish_item(&o, channel, STR_LIT("{\"s\":1}"), true, &scratch, &parts);
    assert_true(parts.item == 0 && !parts.keyless);
    buf_free(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_urgent),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
