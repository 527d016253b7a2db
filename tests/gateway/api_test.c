/* The server API over a socket: who may call, what each method answers, and
 * what it does to clients on both shards. */
#include "gateway/api/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/talk.h"

static struct gate gate;
static struct gate_peer caller;

static const char config[] =
    "{\"client\":{\"insecure\":true},\"http_api\":{\"key\":\"secret\"},"
    "\"channel\":{\"max_publication_size\":1024,"
    "\"without_namespace\":{\"allow_patterns\":true},\"namespaces\":["
    "{\"name\":\"ob\",\"publication_data_format\":\"json_object\"},"
    "{\"name\":\"bin\",\"publication_data_format\":\"binary\"},"
    "{\"name\":\"many\",\"history_size\":100,\"history_ttl\":\"1h\"},"
    "{\"name\":\"kept\",\"publication_data_format\":\"binary\","
    "\"history_size\":2,\"history_ttl\":\"1h\"},"
    "{\"name\":\"re\",\"channel_regex\":\"^[a-c]+$\"}]}}";

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 2, config);
    gate_open(&gate, 0, &caller);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    gate_close(&caller);
    gate_settle(&gate);
    gate_fini(&gate);
    return 0;
}

static struct gate_answer ask(const char *target, const char *headers,
                              const char *body)
{
    struct buf b = BUF_INIT;
    struct gate_answer a;
    buf_printf(&b,
               "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s",
               target, headers, strlen(body), body);
    assert_true(gate_send(&caller, buf_view(&b)));
    gate_read(&caller);
    if (!gate_next_answer(&caller, false, &a))
        fail_msg("no answer to %s %s %s", target, headers, body);
    buf_free(&b);
    return a;
}

static void expect(const char *method, const char *body, const char *want)
{
    char target[64];
    snprintf(target, sizeof(target), "/api/%s", method);
    struct gate_answer a = ask(target, "X-API-Key: secret\r\n", body);
    assert_int_equal(a.status, 200);
    assert_true(gate_has_line(&a, "Content-Type: application/json"));
    if (!str_eq(a.body, str_of(want)))
        fail_msg("%s %s: [%.*s], not [%s]", method, body, STR_ARG(a.body),
                 want);
}

#define DONE "{\"result\":{}}"
#define BAD_REQUEST "{\"error\":{\"code\":107,\"message\":\"bad request\"}}"
#define UNKNOWN "{\"error\":{\"code\":102,\"message\":\"unknown channel\"}}"
#define NOT_AVAILABLE "{\"error\":{\"code\":108,\"message\":\"not available\"}}"

/* --- who ------------------------------------------------------------------ */

static void test_keys(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        const char *headers;
        int status;
    } table[] = {
        {"/api/info", "", 401},
        {"/api/info", "X-API-Key:\r\n", 401},
        {"/api/info", "X-API-Key: secre\r\n", 401},
        {"/api/info", "X-API-Key: secret2\r\n", 401},
        {"/api/info", "X-API-Key: secretsecret\r\n", 401},
        {"/api/info", "X-API-Key: SECRET\r\n", 401},
        {"/api/info", "Authorization: secret\r\n", 401},
        {"/api/info", "Authorization: Bearer secret\r\n", 401},
        {"/api/info", "Authorization: apikey secre\r\n", 401},
        {"/api/info?api_key=secre", "", 401},
        {"/api/info?api_key=", "", 401},
        {"/api/info?api_key=secret%2", "", 401},
        {"/api/nowhere", "", 401}, /* what exists is nobody's business */
        {"/api/info", "X-API-Key: secret\r\n", 200},
        {"/api/info", "Authorization: apikey secret\r\n", 200},
        {"/api/info", "Authorization: ApiKey secret\r\n", 200},
        {"/api/info?api_key=secret", "", 200},
        {"/api/info?x=y&api_key=%73ecret", "", 200},
        {"/api/nowhere", "X-API-Key: secret\r\n", 404},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct gate_answer a = ask(table[i].target, table[i].headers, "{}");
        if (a.status != table[i].status)
            fail_msg("%s %s: %d", table[i].target, table[i].headers, a.status);
        if (a.status == 401)
            assert_int_equal(a.body.n, 0);
    }
    static const char *const bad[] = {"",  "{",    "[]",          "null",
                                      "1", "{}{}", "{\"a\":\xFF}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(
            ask("/api/info", "X-API-Key: secret\r\n", bad[i]).status, 400);
}

/* --- publish -------------------------------------------------------------- */

static const struct {
    const char *body;
    const char *want;
} publishes[] = {
    {"{\"channel\":\"a\",\"data\":1}", DONE},
    {"{\"channel\":\"a\",\"data\":null}", DONE},
    {"{\"channel\":\"\\u0061\",\"data\":1,\"tags\":{\"k\":\"v\"}}", DONE},
    {"{\"channel\":\"a\",\"data\":1,\"tags\":null,\"b64data\":null}", DONE},
    {"{\"channel\":\"a\",\"b64data\":\"e30=\"}", DONE},
    {"{\"channel\":\"a\",\"data\":1,\"idempotency_key\":\"k\","
     "\"skip_history\":true}",
     DONE},
    {"{}", BAD_REQUEST},
    {"{\"channel\":\"a\"}", BAD_REQUEST},
    {"{\"data\":1}", BAD_REQUEST},
    {"{\"channel\":\"\",\"data\":1}", BAD_REQUEST},
    {"{\"channel\":5,\"data\":1}", BAD_REQUEST},
    {"{\"channel\":null,\"data\":1}", BAD_REQUEST},
    {"{\"channel\":\"a b\",\"data\":1}", BAD_REQUEST},
    {"{\"channel\":\"a.*\",\"data\":1}", BAD_REQUEST},
    {"{\"channel\":\">\",\"data\":1}", BAD_REQUEST},
    {"{\"channel\":\"no:a\",\"data\":1}", UNKNOWN},
    {"{\"channel\":\"a\",\"b64data\":\"e30\"}", BAD_REQUEST},
    {"{\"channel\":\"a\",\"b64data\":\"!!!!\"}", BAD_REQUEST},
    {"{\"channel\":\"a\",\"b64data\":\"/w==\"}", BAD_REQUEST}, /* no JSON */
    {"{\"channel\":\"a\",\"b64data\":5}", BAD_REQUEST},
    {"{\"channel\":\"a\",\"data\":1,\"tags\":[]}", BAD_REQUEST},
    {"{\"channel\":\"a\",\"data\":1,\"tags\":{\"k\":5}}", BAD_REQUEST},
    {"{\"channel\":\"a\",\"data\":1,\"tags\":\"x\"}", BAD_REQUEST},
    {"{\"channel\":\"ob:a\",\"data\":{}}", DONE},
    {"{\"channel\":\"ob:a\",\"data\":[]}", BAD_REQUEST},
    {"{\"channel\":\"ob:a\",\"b64data\":\"e30=\"}", DONE},
    {"{\"channel\":\"ob:a\",\"b64data\":\"W10=\"}", BAD_REQUEST},
    {"{\"channel\":\"bin:a\",\"b64data\":\"/w==\"}", DONE},
    {"{\"channel\":\"re:abc\",\"data\":1}", DONE},
    {"{\"channel\":\"re:abd\",\"data\":1}", BAD_REQUEST},
};

static void test_publish(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(publishes); i++)
        expect("publish", publishes[i].body, publishes[i].want);
    /* The size is that of the payload, as it was sent. */
    for (size_t n = 1024; n <= 1025; n++) {
        struct buf b = BUF_INIT;
        buf_lit(&b, "{\"channel\":\"a\",\"data\":\"");
        for (size_t i = 0; i < n - 2; i++)
            buf_char(&b, 'x');
        buf_lit(&b, "\"}");
        buf_char(&b, '\0');
        expect("publish", b.p, n == 1024 ? DONE : BAD_REQUEST);
        buf_free(&b);
    }
}

static void test_publish_arrives(void **state)
{
    (void)state;
    struct talk *t[2];
    for (unsigned i = 0; i < 2; i++) {
        t[i] = talk_open(gate.loops[i]);
        talk_connect(t[i]);
        talk_say(t[i], "{\"subscribe\":{\"channel\":\"a\"},\"id\":2}");
        talk_expect(t[i], "{\"id\":2,\"subscribe\":{}}\n");
    }
    expect("publish",
           "{\"channel\":\"a\",\"data\":{\"n\" :\r\n 1.50},"
           "\"tags\":{\"k\":\n\"v\"}}",
           DONE);
    expect("publish", "{\"channel\":\"a\",\"b64data\":\"eyJiIjoKMX0=\"}", DONE);
    for (unsigned i = 0; i < 2; i++) {
        talk_expect(
            t[i],
            "{\"push\":{\"channel\":\"a\",\"pub\":{\"data\":{\"n\" : 1.50},"
            "\"tags\":{\"k\":\"v\"}}}}\n"
            "{\"push\":{\"channel\":\"a\",\"pub\":{\"data\":{\"b\":1}}}}\n");
        talk_end(t[i]);
    }
}

static void test_broadcast(void **state)
{
    (void)state;
    expect("broadcast",
           "{\"channels\":[\"a\",\"no:b\",5,\"\",\"c\",\"a b\"],\"data\":1}",
           "{\"result\":{\"responses\":[" DONE "," UNKNOWN "," BAD_REQUEST
           "," BAD_REQUEST "," DONE "," BAD_REQUEST "]}}");
    expect("broadcast", "{\"channels\":[],\"data\":1}",
           "{\"result\":{\"responses\":[]}}");
    expect("broadcast", "{\"channels\":\"a\",\"data\":1}", BAD_REQUEST);
    expect("broadcast", "{\"data\":1}", BAD_REQUEST);
    expect("broadcast", "{\"channels\":[\"a\"]}", BAD_REQUEST);
    /* All of them, or none. */
    struct buf b = BUF_INIT;
    buf_lit(&b, "{\"data\":1,\"channels\":[\"a\"");
    for (unsigned i = 0; i < API_MAX_CHILDREN; i++)
        buf_lit(&b, ",\"a\"");
    buf_lit(&b, "]}");
    buf_char(&b, '\0');
    uint64_t before = gate.loops[0]->shard->stats.pubs_in_api;
    expect("broadcast", b.p, BAD_REQUEST);
    assert_int_equal(gate.loops[0]->shard->stats.pubs_in_api, before);
    buf_free(&b);
}

static void test_batch(void **state)
{
    (void)state;
    expect(
        "batch",
        "{\"commands\":[{\"publish\":{\"channel\":\"a\",\"data\":1}},"
        "{\"publish\":{\"channel\":\"no:a\",\"data\":1}},"
        "{\"broadcast\":{\"channels\":[\"a\"],\"data\":1}},"
        "{\"history\":{\"channel\":\"a\"}},{\"channels\":{}},{\"unsubscribe\":{\"user\":\"\","
        "\"channel\":\"a\"}},{\"batch\":{}},{\"nonsense\":{}},{},5,"
        "{\"publish\":5}]}",
        "{\"replies\":[{\"publish\":{}}," UNKNOWN
        ",{\"broadcast\":{\"responses\":[" DONE "]}}," NOT_AVAILABLE
        ",{\"channels\":{\"channels\":{}}},"
        "{\"unsubscribe\":{}}," BAD_REQUEST "," BAD_REQUEST "," BAD_REQUEST
        "," BAD_REQUEST "," BAD_REQUEST "]}");
    expect("batch", "{\"commands\":[]}", "{\"replies\":[]}");
    expect("batch", "{}", BAD_REQUEST);
    expect("batch", "{\"commands\":{}}", BAD_REQUEST);
}

/* A small batch asks for much: there is a bound to what is told. */
static void test_many_histories(void **state)
{
    (void)state;
    enum { DATA = 1000, ASKED = 500 };
    static char data[DATA];
    struct buf b = BUF_INIT;
    unsigned refused = 0;
    memset(data, '1', DATA - 1);
    buf_printf(&b, "{\"channel\":\"many:a\",\"data\":%s}", data);
    buf_char(&b, '\0');
    for (unsigned i = 0; i < 100; i++)
        (void)ask("/api/publish", "X-API-Key: secret\r\n", b.p);
    buf_clear(&b);
    buf_lit(&b, "{\"commands\":[");
    for (unsigned i = 0; i < ASKED; i++)
        buf_printf(&b, "%s{\"history\":{\"channel\":\"many:a\",\"limit\":-1}}",
                   i ? "," : "");
    buf_lit(&b, "]}");
    buf_char(&b, '\0');
    struct gate_answer a = ask("/api/batch", "X-API-Key: secret\r\n", b.p);
    assert_in_range(a.body.n, 16 << 20, API_HISTORIES_MAX_BYTES);
    const char *at = a.body.p;
    while ((at = memmem(at, (size_t)(a.body.p + a.body.n - at), BAD_REQUEST,
                        strlen(BAD_REQUEST)))) {
        refused++;
        at++;
    }
    assert_in_range(refused, 1, ASKED / 2);
    buf_free(&b);
}

static void test_not_available(void **state)
{
    (void)state;
    static const char *const methods[] = {"refresh", "presence",
                                          "presence_stats"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        expect(methods[i], "{}", NOT_AVAILABLE);
    /* Their namespace has no history. */
    expect("history", "{\"channel\":\"a\"}", NOT_AVAILABLE);
    expect("history_remove", "{\"channel\":\"a\"}", NOT_AVAILABLE);
    expect("history", "{}", BAD_REQUEST);
    expect("rpc", "{}",
           "{\"error\":{\"code\":104,\"message\":\"method not found\"}}");
}

static void test_transport_errors(void **state)
{
    (void)state;
    static const char headers[] = "X-API-Key: secret\r\n"
                                  "X-Centrifugo-Error-Mode: transport\r\n";
    struct gate_answer a =
        ask("/api/publish", headers, "{\"channel\":\"no:a\",\"data\":1}");
    assert_int_equal(a.status, 404);
    assert_true(str_eq(
        a.body, STR_LIT("{\"code\":102,\"message\":\"unknown channel\"}")));
    a = ask("/api/publish", headers, "{}");
    assert_int_equal(a.status, 400);
    a = ask("/api/publish", headers, "{\"channel\":\"a\",\"data\":1}");
    assert_int_equal(a.status, 200);
    assert_true(str_eq(a.body, STR_LIT(DONE)));
}

/* --- users ---------------------------------------------------------------- */

static void test_users(void **state)
{
    (void)state;
    struct talk *t[2];
    for (unsigned i = 0; i < 2; i++) {
        t[i] = talk_open(gate.loops[i]);
        talk_connect(t[i]);
    }
    expect("subscribe", "{\"user\":\"\",\"channel\":\"a\"}", DONE);
    expect("subscribe", "{\"user\":\"\",\"channel\":\"a\"}", DONE);
    expect("subscribe", "{\"user\":\"nobody\",\"channel\":\"b\"}", DONE);
    expect("channels", "{}",
           "{\"result\":{\"channels\":{\"a\":{\"num_clients\":2}}}}");
    expect("channels", "{\"pattern\":\"b*\"}",
           "{\"result\":{\"channels\":{}}}");
    expect("channels", "{\"pattern\":\"[a]\"}",
           "{\"result\":{\"channels\":{\"a\":{\"num_clients\":2}}}}");
    expect("unsubscribe", "{\"user\":\"\",\"channel\":\"a\"}", DONE);
    for (unsigned i = 0; i < 2; i++)
        talk_expect(
            t[i], "{\"push\":{\"channel\":\"a\",\"subscribe\":{}}}\n"
                  "{\"push\":{\"channel\":\"a\",\"unsubscribe\":{\"code\":2000,"
                  "\"reason\":\"server unsubscribe\"}}}\n");
    expect("channels", "{}", "{\"result\":{\"channels\":{}}}");
    char id[RAND_UUID_LEN + 1] = "";
    rand_uuid_format(t[1]->session.client.id, id);
    expect("disconnect",
           talk_text("{\"user\":\"\",\"whitelist\":[\"%s\"],"
                     "\"disconnect\":{\"code\":4001,\"reason\":\"go\"}}",
                     id),
           DONE);
    talk_expect_close(t[0], 4001, "go");
    assert_int_equal(t[1]->closes, 0);
    expect("disconnect", talk_text("{\"user\":\"\",\"client\":\"%s\"}", id),
           DONE);
    talk_expect_close(t[1], 3503, "force disconnect");
    for (unsigned i = 0; i < 2; i++)
        talk_end(t[i]);
}

static void test_user_errors(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"user\":null}",
        "{\"user\":5}",
        "{\"user\":\"\",\"client\":5}",
        "{\"user\":\"\",\"whitelist\":5}",
        "{\"user\":\"\",\"whitelist\":[5]}",
        "{\"user\":\"\",\"disconnect\":5}",
        "{\"user\":\"\",\"disconnect\":{\"code\":1000}}",
        "{\"user\":\"\",\"disconnect\":{\"code\":5000}}",
        "{\"user\":\"\",\"disconnect\":{\"code\":\"4000\"}}",
        "{\"user\":\"\",\"disconnect\":{\"code\":4000,\"reason\":5}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect("disconnect", bad[i], BAD_REQUEST);
    static const char *const methods[] = {"subscribe", "unsubscribe"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        expect(methods[i], "{\"user\":\"\"}", BAD_REQUEST);
        expect(methods[i], "{\"user\":\"\",\"channel\":\"\"}", BAD_REQUEST);
        expect(methods[i], "{\"user\":\"\",\"channel\":7}", BAD_REQUEST);
        expect(methods[i], "{\"user\":\"\",\"channel\":\"a b\"}", BAD_REQUEST);
        expect(methods[i], "{\"user\":\"\",\"channel\":\"no:a\"}", UNKNOWN);
    }
    expect("channels", "{\"pattern\":5}", BAD_REQUEST);
}

static void test_info(void **state)
{
    (void)state;
    struct talk *t = talk_open(gate.loops[1]);
    talk_connect(t);
    talk_say(t, "{\"subscribe\":{\"channel\":\"a\"},\"id\":2}\n"
                "{\"subscribe\":{\"channel\":\"b.*\"},\"id\":3}");
    gate_pass(&gate, 5000);
    expect("info", "{}",
           "{\"result\":{\"nodes\":[{\"uid\":"
           "\"00000000-0000-4000-8000-000000000000\",\"name\":\"gate\","
           "\"version\":\"" WEIR_VERSION "\",\"num_clients\":1,\"num_users\":1,"
           "\"num_subs\":2,\"num_channels\":2,\"uptime\":5}]}}");
    talk_end(t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keys),
        TEST(test_publish),
        TEST(test_publish_arrives),
        TEST(test_broadcast),
        TEST(test_batch),
        TEST(test_many_histories),
        TEST(test_not_available),
        TEST(test_transport_errors),
        TEST(test_users),
        TEST(test_user_errors),
        TEST(test_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
