/* A WebSocket through the real transport: handshake, frames in any pieces,
 * control frames, and how it ends from either side. */
#include "gateway/transport/ws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/session.h"
#include "gateway/transport/wire.h"
#include "tests/kit/gate.h"

static struct gate gate;

static const char config[] =
    "{\"client\":{\"insecure\":true,\"allowed_origins\":[\"https://*.test\"]},"
    "\"websocket\":{\"message_size_limit\":1024}}";

static int set_up(void **state)
{
    (void)state;
    gate_init(&gate, 1, config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(gate.app.connections, 0);
    assert_int_equal(gate.loops[0]->shard->client_count, 0);
    gate_fini(&gate);
    return 0;
}

/* Close, and let the gateway see it. */
static void end(struct gate_peer *p)
{
    gate_close(p);
    gate_settle(&gate);
}

static void expect_frame(struct gate_peer *p, uint8_t first, struct str want)
{
    uint8_t have;
    struct str payload;
    gate_read(p);
    if (!gate_next_frame(p, &have, &payload))
        fail_msg("no frame");
    assert_int_equal(have, first);
    if (!str_eq(payload, want))
        fail_msg("[%.*s], not [%.*s]", STR_ARG(payload), STR_ARG(want));
}

static void expect_close(struct gate_peer *p, unsigned code, const char *reason)
{
    char want[128];
    want[0] = (char)(code >> 8);
    want[1] = (char)code;
    memcpy(want + 2, reason, strlen(reason));
    expect_frame(p, WIRE_WS_CLOSE, str_n(want, 2 + strlen(reason)));
    assert_int_equal(gate_rest(p).n, 0);
}

static void connect_it(struct gate_peer *p)
{
    uint8_t first;
    struct str payload;
    gate_open_ws(&gate, 0, p);
    assert_true(
        gate_send_frame(p, WIRE_WS_TEXT, STR_LIT("{\"connect\":{},\"id\":1}")));
    gate_read(p);
    assert_true(gate_next_frame(p, &first, &payload));
    assert_true(str_starts(payload, STR_LIT("{\"id\":1,\"connect\":{")));
}

/* --- handshake ------------------------------------------------------------ */

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"

static void test_handshakes(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        int status;
        const char *line; /* that the answer has */
    } table[] = {
        {KEY VERSION, 101, "Connection: Upgrade"},
        {KEY VERSION "Sec-WebSocket-Protocol: centrifuge-json\r\n", 101,
         "Sec-WebSocket-Protocol: centrifuge-json"},
        {KEY VERSION "Sec-WebSocket-Protocol: x, Centrifuge-JSON\r\n", 101,
         "Sec-WebSocket-Protocol: centrifuge-json"},
        {KEY VERSION "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n", 400,
         NULL},
        {KEY VERSION "Origin: https://a.test\r\n", 101, NULL},
        {KEY VERSION "Origin: https://a.evil\r\n", 403, NULL},
        {KEY VERSION "Origin:\r\n", 403, NULL},
        {KEY, 426, "Sec-WebSocket-Version: 13"},
        {KEY "Sec-WebSocket-Version: 8\r\n", 426, "Sec-WebSocket-Version: 13"},
        {VERSION, 400, NULL},
        {VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n", 400, NULL},
        {VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSEh\r\n", 400, NULL},
        {VERSION "Sec-WebSocket-Key: !GhlIHNhbXBsZSBub25jZQ==\r\n", 400, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct gate_peer p;
        struct gate_answer a;
        struct buf b = BUF_INIT;
        buf_printf(
            &b,
            "GET /connection/websocket HTTP/1.1\r\nHost: x\r\n"
            "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n%s\r\n",
            table[i].headers);
        gate_open(&gate, 0, &p);
        assert_true(gate_send(&p, buf_view(&b)));
        gate_read(&p);
        assert_true(gate_next_answer(&p, false, &a));
        if (a.status != table[i].status)
            fail_msg("%d for %s", a.status, table[i].headers);
        if (table[i].line)
            assert_true(gate_has_line(&a, table[i].line));
        end(&p);
        gate_pass(&gate, 3000);
        buf_free(&b);
    }
}

/* Frames in the packet of the handshake are not lost. */
static void test_frames_with_the_handshake(void **state)
{
    (void)state;
    struct gate_peer p;
    struct gate_answer a;
    struct buf b = BUF_INIT;
    buf_lit(&b,
            "GET /connection/websocket HTTP/1.1\r\nHost: x\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n" KEY VERSION "\r\n");
    gate_put_frame(&b, WIRE_WS_TEXT, STR_LIT("{\"connect\":{},\"id\":1}"), 7);
    gate_put_frame(&b, WIRE_WS_TEXT, STR_LIT("{\"rpc\":{},\"id\":2}"), 8);
    gate_open(&gate, 0, &p);
    assert_true(gate_send(&p, buf_view(&b)));
    gate_read(&p);
    assert_true(gate_next_answer(&p, false, &a) && a.status == 101);
    uint8_t first;
    struct str payload;
    assert_true(gate_next_frame(&p, &first, &payload));
    assert_true(str_starts(payload, STR_LIT("{\"id\":1,\"connect\":")));
    expect_frame(&p, WIRE_WS_TEXT,
                 STR_LIT("{\"id\":2,\"error\":{\"code\":108,"
                         "\"message\":\"not available\"}}"));
    end(&p);
    buf_free(&b);
}

/* --- frames --------------------------------------------------------------- */

static void test_pieces(void **state)
{
    (void)state;
    struct gate_peer p;
    struct buf b = BUF_INIT;
    connect_it(&p);
    gate_put_frame(&b, FRAME_TEXT, STR_LIT("{\"subscribe\":{\"chan"), 1);
    gate_put_frame(&b, 0x89, STR_LIT("between"), 2);
    gate_put_frame(&b, 0x80, STR_LIT("nel\":\"a\"},\"id\":2}"), 3);
    for (size_t i = 0; i < b.n; i++) {
        assert_true(gate_send(&p, str_n(b.p + i, 1)));
        gate_turn(&gate, 0);
    }
    expect_frame(&p, WIRE_WS_PONG, STR_LIT("between"));
    expect_frame(&p, WIRE_WS_TEXT, STR_LIT("{\"id\":2,\"subscribe\":{}}"));
    /* Every ping has its pong, also of those that come together. */
    buf_clear(&b);
    gate_put_frame(&b, 0x89, STR_LIT("1"), 4);
    gate_put_frame(&b, 0x89, STR_LIT(""), 5);
    gate_put_frame(&b, 0x8A, STR_LIT("unasked"), 6);
    gate_put_frame(&b, 0x89, STR_LIT("3"), 7);
    assert_true(gate_send(&p, buf_view(&b)));
    expect_frame(&p, WIRE_WS_PONG, STR_LIT("1"));
    expect_frame(&p, WIRE_WS_PONG, STR_LIT(""));
    expect_frame(&p, WIRE_WS_PONG, STR_LIT("3"));
    gate_publish(&gate, 0, "a", "{\"x\":[1]}");
    expect_frame(&p, WIRE_WS_TEXT,
                 STR_LIT("{\"push\":{\"channel\":\"a\","
                         "\"pub\":{\"data\":{\"x\":[1]}}}}"));
    end(&p);
    buf_free(&b);
}

static void test_violations(void **state)
{
    (void)state;
    static const struct {
        struct str bytes;
        unsigned code;
    } table[] = {
        {{"\x81\x02{}", 4}, 1002},
        {{"\xC1\x80\0\0\0\0", 6}, 1002},
        {{"\x81\x81\0\0\0\0\xFF", 7}, 1007},
        {{"\x81\xFE\x04\x01\0\0\0\0", 8}, 1009},
        {{"\x81\x80\0\0\0\0", 6}, 3501},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct gate_peer p;
        connect_it(&p);
        assert_true(gate_send(&p, table[i].bytes));
        /* What follows is not looked at. */
        gate_send_frame(&p, WIRE_WS_TEXT, STR_LIT("{\"rpc\":{},\"id\":2}"));
        gate_read(&p);
        uint8_t first;
        struct str payload;
        assert_true(gate_next_frame(&p, &first, &payload));
        assert_int_equal(first, WIRE_WS_CLOSE);
        unsigned code = (uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1];
        assert_int_equal(code, table[i].code);
        assert_int_equal(gate_rest(&p).n, 0);
        end(&p);
    }
}

/* --- the end -------------------------------------------------------------- */

static void test_peer_closes(void **state)
{
    (void)state;
    static const struct {
        struct str payload;
        struct str echo;
    } table[] = {
        {{"", 0}, {"", 0}},
        {{"\x03\xE8", 2}, {"\x03\xE8", 2}},
        {{"\x03\xE9 going away", 13}, {"\x03\xE9", 2}},
        {{"\x0F\xA0", 2}, {"\x0F\xA0", 2}},
        {{"\x03", 1}, {"\x03\xEA", 2}},         /* 1002 */
        {{"\x03\xED", 2}, {"\x03\xEA", 2}},     /* 1005 may not be sent */
        {{"\x03\xE8\xFF", 3}, {"\x03\xEF", 2}}, /* 1007 */
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct gate_peer p;
        connect_it(&p);
        assert_true(gate_send_frame(&p, WIRE_WS_CLOSE, table[i].payload));
        expect_frame(&p, WIRE_WS_CLOSE, table[i].echo);
        /* Its close and ours: the server hangs up first. */
        gate_read(&p);
        assert_true(p.eof);
        end(&p);
    }
}

static void close_all(uint32_t code)
{
    struct shard *s = gate.loops[0]->shard;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].client)
            session_close(session_of(s->slots[i].client), code);
    }
}

static void test_server_closes(void **state)
{
    (void)state;
    struct gate_peer p;
    connect_it(&p);
    close_all(DISCONNECT_SHUTDOWN);
    expect_close(&p, 3001, "shutdown");
    /* It answers, and the server hangs up. */
    assert_false(p.eof);
    assert_true(gate_send_frame(&p, WIRE_WS_CLOSE, STR_LIT("\x0B\xB9")));
    gate_read(&p);
    assert_true(p.eof);
    assert_int_equal(gate_rest(&p).n, 0);
    end(&p);
    /* It does not answer: five seconds, whatever else it says. */
    connect_it(&p);
    close_all(DISCONNECT_FORCE);
    expect_close(&p, 3503, "force disconnect");
    assert_true(
        gate_send_frame(&p, WIRE_WS_TEXT, STR_LIT("{\"rpc\":{},\"id\":2}")));
    gate_pass(&gate, 4900);
    gate_read(&p);
    assert_int_equal(gate_rest(&p).n, 0);
    assert_false(p.eof);
    gate_pass(&gate, 200);
    gate_read(&p);
    assert_true(p.eof);
    assert_int_equal(gate.app.connections, 0);
    end(&p);
}

static void test_just_gone(void **state)
{
    (void)state;
    struct gate_peer p;
    gate_open_ws(&gate, 0, &p);
    end(&p);
    assert_int_equal(gate.app.connections, 0);
    connect_it(&p);
    shutdown(p.fd, SHUT_WR);
    gate_read(&p);
    assert_true(p.eof);
    assert_int_equal(gate.app.connections, 0);
    end(&p);
    /* With something to write. */
    connect_it(&p);
    assert_true(
        gate_send_frame(&p, WIRE_WS_TEXT, STR_LIT("{\"rpc\":{},\"id\":2}")));
    gate_close(&p);
    gate_settle(&gate);
    gate_pass(&gate, 40000);
    assert_int_equal(gate.app.connections, 0);
}

/* It reads nothing: the queue fills, it is closed 3008 and cut off. */
static void test_never_reads(void **state)
{
    (void)state;
    struct gate_peer p;
    struct buf data = BUF_INIT;
    connect_it(&p);
    assert_true(gate_send_frame(
        &p, WIRE_WS_TEXT,
        STR_LIT("{\"subscribe\":{\"channel\":\"a\"},\"id\":2}")));
    gate_settle(&gate);
    buf_char(&data, '"');
    for (unsigned i = 0; i < 60000; i++)
        buf_char(&data, 'x');
    buf_lit(&data, "\"");
    buf_char(&data, '\0');
    for (unsigned i = 0; i < 60; i++) {
        gate_publish(&gate, 0, "a", data.p);
        gate_settle(&gate);
    }
    assert_int_equal(gate.loops[0]->shard->stats.close_slow, 1);
    assert_int_equal(gate.loops[0]->shard->queued_bytes, 0);
    gate_pass(&gate, 5100);
    assert_int_equal(gate.app.connections, 0);
    end(&p);
    buf_free(&data);
}

/* It reads slowly, and misses nothing. */
static void test_reads_late(void **state)
{
    (void)state;
    struct gate_peer p;
    char data[40000];
    connect_it(&p);
    assert_true(gate_send_frame(
        &p, WIRE_WS_TEXT,
        STR_LIT("{\"subscribe\":{\"channel\":\"a\"},\"id\":2}")));
    expect_frame(&p, WIRE_WS_TEXT, STR_LIT("{\"id\":2,\"subscribe\":{}}"));
    memset(data, ' ', sizeof(data));
    for (unsigned i = 0; i < 20; i++) {
        snprintf(data, 16, "%u", 100 + i);
        memset(data + 3, '0', sizeof(data) - 4);
        data[sizeof(data) - 1] = '\0';
        gate_publish(&gate, 0, "a", data);
        gate_settle(&gate);
    }
    assert_true(gate.loops[0]->shard->stats.choked > 0);
    gate_read(&p);
    unsigned seen = 0;
    uint8_t first;
    struct str payload;
    while (gate_next_frame(&p, &first, &payload)) {
        while (payload.p) {
            char want[48];
            snprintf(want, sizeof(want), "\"pub\":{\"data\":%u0", 100 + seen++);
            struct str line = str_cut(&payload, '\n');
            assert_non_null(memmem(line.p, line.n, want, strlen(want)));
        }
    }
    assert_int_equal(seen, 20);
    assert_int_equal(gate_rest(&p).n, 0);
    end(&p);
}

/* Regression: lws 4.1.6 does not read a socket while it holds output for it,
 * and the loop spins on what is unread. So it never holds any: a client that
 * takes nothing is still heard, and its FIN ends it at once. */
static void test_choked_is_heard(void **state)
{
    (void)state;
    struct gate_peer p;
    char data[40000];
    const struct stats *st = &gate.loops[0]->shard->stats;
    connect_it(&p);
    assert_true(gate_send_frame(
        &p, WIRE_WS_TEXT,
        STR_LIT("{\"subscribe\":{\"channel\":\"a\"},\"id\":2}")));
    gate_settle(&gate);
    memset(data, '1', sizeof(data) - 1);
    data[sizeof(data) - 1] = '\0';
    while (st->choked == 0) {
        gate_publish(&gate, 0, "a", data);
        gate_settle(&gate);
    }
    uint64_t heard = st->bytes_in;
    uint64_t commands = st->commands;
    assert_true(gate_send_frame(
        &p, WIRE_WS_TEXT,
        STR_LIT("{\"unsubscribe\":{\"channel\":\"a\"},\"id\":3}")));
    gate_settle(&gate);
    assert_true(st->bytes_in > heard);
    assert_int_equal(st->commands, commands + 1);
    shutdown(p.fd, SHUT_WR);
    gate_settle(&gate);
    assert_int_equal(gate.app.connections, 0);
    gate_close(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_handshakes),  TEST(test_frames_with_the_handshake),
        TEST(test_pieces),      TEST(test_violations),
        TEST(test_peer_closes), TEST(test_server_closes),
        TEST(test_just_gone),   TEST(test_never_reads),
        TEST(test_reads_late),  TEST(test_choked_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
