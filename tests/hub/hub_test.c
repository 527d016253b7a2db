/* The verbs of hub.h that are not about fan-out: limits, survey, users, the
 * publish budget. */
#include "hub/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/fake.h"

static struct fake_node node;

static void end(void)
{
    for (unsigned i = 0; i < node.hub.count; i++) {
        struct shard *s = node.hub.shards[i];
        for (uint32_t k = 0; k < s->slot_count; k++) {
            if (s->slots[k].client)
                fake_gone(fake_of(s->slots[k].client));
        }
    }
    fake_settle(&node);
    fake_node_fini(&node);
}

static void test_subscribe_limits(void **state)
{
    (void)state;
    struct hub_options o = {.inflight_bytes = 1 << 20,
                            .slice = 3,
                            .queue_max_bytes = 1 << 20,
                            .channel_limit = 3};
    fake_node_init(&node, 2, &o);
    struct fake_client *f = fake_open(node.hub.shards[0], ENCODING_WS_JSON);
    assert_int_equal(fake_subscribe(f, "a"), 0);
    assert_int_equal(fake_subscribe(f, "b"), 0);
    assert_int_equal(fake_subscribe(f, "a"), ERR_EXISTS);
    assert_int_equal(fake_subscribe(f, "c"), 0);
    assert_int_equal(fake_subscribe(f, "d"), ERR_FULL);
    assert_int_equal(fake_subscribe(f, "c"), ERR_EXISTS);
    fake_unsubscribe(f, "b");
    assert_int_equal(fake_subscribe(f, "d"), 0);
    fake_settle(&node);
    assert_int_equal(f->client.sub_count, 3);
    end();
}

/* --- survey ------------------------------------------------------------------ */

struct part {
    unsigned shard;
    uint32_t clients;
};

static unsigned surveys_done;

static void *visit(struct shard *s, void *question)
{
    assert_string_equal(question, "how many?");
    if (s->index == 1)
        return NULL;
    struct part *p = mem_alloc(sizeof(*p));
    *p = (struct part){s->index, s->client_count};
    return p;
}

static void on_survey(struct shard *from, void *question, void **parts,
                      unsigned count)
{
    assert_int_equal(count, node.hub.count);
    assert_int_equal(from->index, 0);
    for (unsigned i = 0; i < count; i++) {
        struct part *p = parts[i];
        if (i == 1) {
            assert_null(p);
            continue;
        }
        assert_int_equal(p->shard, i);
        assert_int_equal(p->clients, i);
        free(p);
    }
    free(question);
    surveys_done++;
}

static void survey(unsigned shards)
{
    fake_node_init(&node, shards, NULL);
    for (unsigned i = 0; i < shards; i++) {
        for (unsigned k = 0; k < i; k++)
            fake_open(node.hub.shards[i], ENCODING_SSE);
    }
    struct survey s = {visit, on_survey, mem_strndup("how many?", 9)};
    surveys_done = 0;
    hub_survey(node.hub.shards[0], &s);
    assert_int_equal(surveys_done, shards == 1);
    fake_settle(&node);
    assert_int_equal(surveys_done, 1);
    end();
}

static void test_survey(void **state)
{
    (void)state;
    survey(1);
    survey(2);
    survey(4);
    survey(HOME_MAX_SHARDS);
}

/* The hub ends with a survey under way: it is answered, not leaked. */
static void test_survey_at_the_end(void **state)
{
    (void)state;
    fake_node_init(&node, 4, NULL);
    struct survey s = {visit, on_survey, mem_strndup("how many?", 9)};
    surveys_done = 0;
    for (unsigned i = 2; i < 4; i++) {
        for (unsigned k = 0; k < i; k++)
            fake_open(node.hub.shards[i], ENCODING_SSE);
    }
    hub_survey(node.hub.shards[0], &s);
    fake_turn(&node, 2);
    fake_turn(&node, 3);
    for (unsigned i = 2; i < 4; i++) {
        struct shard *shard = node.hub.shards[i];
        for (uint32_t k = 0; k < shard->slot_count; k++) {
            if (shard->slots[k].client)
                fake_gone(fake_of(shard->slots[k].client));
        }
    }
    fake_node_fini(&node);
    assert_int_equal(surveys_done, 1);
}

/* --- users -------------------------------------------------------------------- */

static uint32_t count_user(struct shard *s, const char *name)
{
    struct user *u = shard_find_user(s, str_of(name));
    uint32_t n = 0;
    struct client *c;
    if (!u)
        return 0;
    LIST_FOREACH(c, &u->clients, user_link) {
        assert_true(str_eq(client_user(c), str_of(name)));
        n++;
    }
    assert_int_equal(n, u->count);
    return n;
}

static void test_users(void **state)
{
    (void)state;
    fake_node_init(&node, 1, NULL);
    struct shard *s = node.hub.shards[0];
    struct fake_client *f[6];
    static const char *const names[] = {"ann", "bob", "ann", "", "", "ann"};
    for (size_t i = 0; i < 6; i++) {
        f[i] = fake_open(s, ENCODING_WS_JSON);
        assert_true(str_eq(client_user(&f[i]->client), STR_LIT("")));
        client_identify(&f[i]->client, str_of(names[i]));
    }
    assert_int_equal(s->connected_count, 6);
    assert_int_equal(s->stats.connects, 6);
    assert_int_equal(count_user(s, "ann"), 3);
    assert_int_equal(count_user(s, "bob"), 1);
    assert_int_equal(count_user(s, ""), 2);
    assert_int_equal(count_user(s, "an"), 0);
    fake_gone(f[0]);
    fake_gone(f[1]);
    fake_gone(f[3]);
    assert_int_equal(count_user(s, "ann"), 2);
    assert_null(shard_find_user(s, STR_LIT("bob")));
    assert_int_equal(count_user(s, ""), 1);
    assert_int_equal(s->connected_count, 3);
    end();
}

static void test_users_come_and_go(void **state)
{
    (void)state;
    enum { CLIENTS = 60, USERS = 8 };
    fake_node_init(&node, 1, NULL);
    struct shard *s = node.hub.shards[0];
    struct fake_client *f[CLIENTS] = {NULL};
    unsigned of[CLIENTS] = {0};
    uint32_t model[USERS] = {0};
    struct rand r;
    rand_init(&r, 3);
    for (unsigned i = 0; i < 20000; i++) {
        size_t at = (size_t)rand_below(&r, CLIENTS);
        char name[8];
        if (f[at]) {
            model[of[at]]--;
            fake_gone(f[at]);
            f[at] = NULL;
        } else {
            of[at] = (unsigned)rand_below(&r, USERS);
            snprintf(name, sizeof(name), "u%u", of[at]);
            f[at] = fake_open(s, ENCODING_SSE);
            client_identify(&f[at]->client, str_of(name));
            model[of[at]]++;
        }
        unsigned user = (unsigned)rand_below(&r, USERS);
        snprintf(name, sizeof(name), "u%u", user);
        assert_int_equal(count_user(s, name), model[user]);
        if (i % 64 == 0)
            fake_settle(&node);
    }
    end();
    assert_null(node.hub.shards[0]);
}

/* --- the budget --------------------------------------------------------------- */

static void test_budget(void **state)
{
    (void)state;
    struct hub_options o = {.inflight_bytes = 2000,
                            .slice = 3,
                            .queue_max_bytes = 1 << 20,
                            .channel_limit = 3};
    fake_node_init(&node, 2, &o);
    struct shard *s = node.hub.shards[0];
    struct fake_client *f = fake_open(s, ENCODING_WS_JSON);
    assert_int_equal(fake_subscribe(f, "a"), 0);
    fake_settle(&node);
    unsigned taken = 0;
    while (fake_publish(s, "a", "12345678"))
        taken++;
    assert_in_range(taken, 10, 40);
    assert_int_equal(node.hub.budget.refused, 1);
    assert_true(node.hub.budget.used_bytes <= 2000);
    assert_false(fake_publish(node.hub.shards[1], "b", "1234567812345678"));
    assert_int_equal(node.hub.budget.refused, 2);
    fake_settle(&node);
    assert_int_equal(node.hub.budget.used_bytes, 0);
    assert_true(fake_publish(s, "a", "again"));
    assert_int_equal(node.hub.budget.refused, 2);
    end();
    assert_int_equal(node.hub.budget.used_bytes, 0);
}

static void test_msg_keeps_its_parts(void **state)
{
    (void)state;
    struct msg_budget b = {.max_bytes = 1000};
    struct msg_parts parts = {.channel = STR_LIT("ns:a.b"),
                              .data = STR_LIT("{\"x\":1}"),
                              .tags = STR_LIT("{\"t\":\"1\"}"),
                              .info = STR_LIT("{\"user\":\"\"}"),
                              .is_json = true,
                              .born_ns = 77};
    struct msg *m = msg_new(&b, &parts);
    assert_true(str_eq(msg_channel(m), parts.channel));
    assert_true(str_eq(msg_data(m), parts.data));
    assert_true(str_eq(msg_tags(m), parts.tags));
    assert_true(str_eq(msg_info(m), parts.info));
    assert_int_equal(m->born_ns, 77);
    assert_int_equal(m->channel_hash, msg_channel_hash(parts.channel));
    assert_true(b.used_bytes > 0);
    msg_ref(m);
    msg_unref(m);
    assert_true(b.used_bytes > 0);
    msg_unref(m);
    assert_int_equal(b.used_bytes, 0);
}

static void test_msg_of_nothing(void **state)
{
    (void)state;
    struct msg_budget b = {.max_bytes = 1000};
    struct msg_parts parts = {.channel = STR_LIT("a")};
    struct msg *m = msg_new(&b, &parts);
    assert_int_equal(msg_data(m).n + msg_tags(m).n + msg_info(m).n, 0);
    msg_unref(m);
    b.max_bytes = 10;
    assert_null(msg_new(&b, &parts));
    assert_int_equal(b.refused, 1);
    assert_int_equal(b.used_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subscribe_limits),
        cmocka_unit_test(test_survey),
        cmocka_unit_test(test_survey_at_the_end),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_users_come_and_go),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_msg_keeps_its_parts),
        cmocka_unit_test(test_msg_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
