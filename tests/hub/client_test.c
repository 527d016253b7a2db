/* One client's queue: one write a turn, its bound, sockets that choke or
 * break, and how it ends. */
#include "hub/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/fake.h"

static struct fake_node node;

static struct shard *begin_with(uint32_t queue_max_bytes)
{
    struct hub_options o = {.inflight_bytes = 64 << 20,
                            .slice = 1000,
                            .queue_max_bytes = queue_max_bytes,
                            .channel_limit = 10};
    fake_node_init(&node, 1, &o);
    return node.hub.shards[0];
}

static struct shard *begin(void)
{
    return begin_with(1 << 20);
}

static void end(void)
{
    struct shard *s = node.hub.shards[0];
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].client)
            fake_gone(fake_of(s->slots[i].client));
    }
    fake_settle(&node);
    assert_int_equal(s->queued_bytes, 0);
    fake_node_fini(&node);
}

static void turn(void)
{
    fake_turn(&node, 0);
    fake_check(&node);
}

static struct fake_client *follow(struct shard *s, const char *topic)
{
    struct fake_client *f = fake_open(s, ENCODING_WS_JSON);
    assert_int_equal(fake_subscribe(f, topic), 0);
    turn();
    f->read_bytes = f->wire.n;
    f->writes = 0;
    return f;
}

static void push(struct fake_client *f, const char *text)
{
    client_push_bytes(&f->client, str_of(text));
}

static void test_one_write_a_turn(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = fake_open(s, ENCODING_WS_JSON);
    for (unsigned i = 0; i < 50; i++)
        push(f, "x\n");
    assert_int_equal(f->writes, 0);
    turn();
    assert_int_equal(f->writes, 1);
    assert_int_equal(f->wire.n, 100);
    turn();
    assert_int_equal(f->writes, 1);
    end();
}

/* The queue's array wraps, grows and shrinks; the bytes stay in order. */
static void test_queue_against_a_list(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = fake_open(s, ENCODING_WS_JSON);
    struct rand r;
    unsigned pushed = 0;
    unsigned seen = 0;
    rand_init(&r, 1);
    for (unsigned i = 0; i < 3000; i++) {
        struct fake_line line;
        for (uint64_t n = rand_below(&r, i % 50 ? 6 : 300); n > 0; n--) {
            char text[16];
            snprintf(text, sizeof(text), "n%u\n", pushed++);
            push(f, text);
        }
        f->next_write = rand_below(&r, 2) ? WRITE_CHOKED : WRITE_DONE;
        if (f->client.choked && rand_below(&r, 2))
            client_writable(&f->client);
        turn();
        while (fake_next(f, &line))
            assert_int_equal(strtoul(line.topic.p, NULL, 10), seen++);
    }
    f->next_write = WRITE_DONE;
    client_writable(&f->client);
    turn();
    seen += (unsigned)(f->wire.n > f->read_bytes);
    assert_true(pushed > 10000 && seen > pushed - 400);
    assert_int_equal(f->client.queue_count, 0);
    end();
}

static void test_choked_waits_for_writable(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = follow(s, "a");
    f->next_write = WRITE_CHOKED;
    fake_publish(s, "a", "1");
    turn();
    fake_expect(f, "Pa|a|1\n"); /* all was taken, some waits below */
    fake_publish(s, "a", "2");
    fake_publish(s, "a", "3");
    turn();
    turn();
    fake_expect(f, "");
    assert_int_equal(f->client.queued_bytes, 14);
    f->next_write = WRITE_DONE;
    client_writable(&f->client);
    turn();
    fake_expect(f, "Pa|a|2\nPa|a|3\n");
    assert_int_equal(s->stats.choked, 1);
    end();
}

static void test_slow_client_is_closed(void **state)
{
    (void)state;
    struct shard *s = begin_with(100);
    struct fake_client *slow = follow(s, "a");
    struct fake_client *good = follow(s, "a");
    slow->next_write = WRITE_CHOKED;
    unsigned published = 0;
    while (!slow->closes) {
        fake_publish(s, "a", "0");
        published++;
        turn();
        assert_true(slow->client.queued_bytes <= 100);
        assert_true(published < 50);
    }
    assert_int_equal(slow->close_code, 3008);
    assert_int_equal(slow->closings, 1);
    fake_expect(slow, "Pa|a|0\n"); /* what choked it, and nothing after */
    assert_int_equal(published, 1 + 100 / 7 + 1);
    assert_int_equal(s->stats.drop_slow, published - 1);
    assert_int_equal(s->stats.close_slow, 1);
    assert_int_equal(slow->client.sub_count, 0);
    assert_int_equal(good->wire.n - good->read_bytes, published * 7);
    fake_publish(s, "a", "0");
    turn();
    assert_int_equal(slow->closes, 1);
    end();
}

/* A socket that takes everything is not slow, however much one turn brings. */
static void test_burst_is_not_slowness(void **state)
{
    (void)state;
    struct shard *s = begin_with(1000);
    struct fake_client *f = follow(s, "a");
    char data[401];
    memset(data, '1', 400);
    data[400] = '\0';
    for (unsigned i = 0; i < 40; i++) {
        for (unsigned k = 0; k < 50; k++)
            push(f, "x\n");
    }
    for (unsigned i = 0; i < 2; i++)
        fake_publish(s, "a", data);
    turn();
    assert_int_equal(f->closings, 0);
    assert_int_equal(f->wire.n - f->read_bytes, 40 * 50 * 2 + 2 * 406);
    end();
}

static void test_burst_meets_a_broken_socket(void **state)
{
    (void)state;
    struct shard *s = begin_with(100);
    struct fake_client *f = follow(s, "a");
    f->next_write = WRITE_DEAD;
    for (unsigned i = 0; i < 100; i++)
        push(f, "xxxxxxxxx\n");
    turn();
    assert_true(f->client.closed);
    assert_int_equal(f->closes, 0); /* the transport tells by itself */
    assert_int_equal(f->writes, 1);
    assert_int_equal(s->stats.close_write_error, 1);
    end();
}

static void test_close_writes_what_is_queued_first(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = follow(s, "a");
    fake_publish(s, "a", "1");
    turn();
    push(f, "last\n");
    client_close(&f->client, 3503, STR_LIT("force"));
    client_close(&f->client, 3000, STR_LIT("later"));
    push(f, "too late\n");
    assert_int_equal(f->closes, 0);
    assert_int_equal(f->closings, 1);
    assert_int_equal(f->client.sub_count, 0);
    turn();
    fake_expect(f, "Pa|a|1\nlast\n");
    assert_int_equal(f->closes, 1);
    assert_int_equal(f->close_code, 3503);
    assert_int_equal(s->stats.close_force, 1);
    end();
}

static void test_close_of_a_choked_client_waits(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = follow(s, "a");
    f->next_write = WRITE_CHOKED;
    push(f, "1\n");
    turn();
    push(f, "2\n");
    client_close(&f->client, 3001, STR_LIT("shutdown"));
    turn();
    assert_int_equal(f->closes, 0);
    f->next_write = WRITE_DONE;
    client_writable(&f->client);
    turn();
    fake_expect(f, "1\n2\n");
    assert_int_equal(f->closes, 1);
    end();
}

static void test_dead_socket(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = follow(s, "a");
    f->next_write = WRITE_DEAD;
    fake_publish(s, "a", "1");
    turn();
    assert_true(f->client.closed);
    fake_publish(s, "a", "2");
    client_close(&f->client, 3000, STR_LIT("too late"));
    turn();
    assert_int_equal(f->writes, 1);
    assert_int_equal(f->closes, 0);
    assert_int_equal(s->stats.close_write_error, 1);
    assert_int_equal(s->stats.drop_slow, 0);
    assert_int_equal(s->stats.drop_gone, 1);
    end();
}

/* Big queues leave in pieces, so that little is taken that may not go. */
static void test_writes_are_bounded(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f = fake_open(s, ENCODING_WS_JSON);
    char *piece = mem_alloc(20001);
    memset(piece, 'x', 20000);
    piece[20000] = '\0';
    for (unsigned i = 0; i < 10; i++)
        push(f, piece);
    f->next_write = WRITE_CHOKED;
    turn();
    assert_int_equal(f->wire.n, 60000);
    assert_int_equal(f->client.queued_bytes, 140000);
    f->next_write = WRITE_DONE;
    client_writable(&f->client);
    turn();
    assert_int_equal(f->wire.n, 200000);
    assert_int_equal(f->writes, 4);
    free(piece);
    end();
}

/* Clients with the same backlog are handed the same bytes. */
static struct {
    const char *bytes[8];
    unsigned count;
} handed;

static enum write_result on_write(struct client *c, const char *p, size_t n)
{
    (void)c;
    (void)n;
    handed.bytes[handed.count++] = p;
    return WRITE_DONE;
}

static void test_same_backlog_is_shared(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct fake_client *f[4];
    struct transport spy;
    for (size_t i = 0; i < 4; i++) {
        f[i] = follow(s, "a");
        assert_int_equal(fake_subscribe(f[i], "b"), 0);
        turn();
    }
    spy = *f[0]->client.transport;
    spy.write = on_write;
    handed.count = 0;
    for (size_t i = 0; i < 4; i++)
        f[i]->client.transport = &spy;
    fake_publish(s, "a", "1");
    fake_publish(s, "b", "2");
    turn();
    assert_int_equal(handed.count, 4);
    for (size_t i = 1; i < 4; i++)
        assert_ptr_equal(handed.bytes[i], handed.bytes[0]);
    end();
}

static void test_refs_tell_late_from_alive(void **state)
{
    (void)state;
    struct shard *s = begin();
    struct client_ref refs[200];
    struct fake_client *f[200];
    for (size_t i = 0; i < 200; i++) {
        f[i] = fake_open(s, ENCODING_SSE);
        refs[i] = f[i]->client.ref;
    }
    for (size_t i = 0; i < 200; i++)
        assert_ptr_equal(client_find(s, refs[i]), &f[i]->client);
    for (size_t i = 0; i < 200; i += 2)
        fake_gone(f[i]);
    fake_settle(&node);
    for (size_t i = 0; i < 200; i += 2)
        f[i] = fake_open(s, ENCODING_SSE);
    for (size_t i = 0; i < 200; i++)
        assert_ptr_equal(client_find(s, refs[i]), i % 2 ? &f[i]->client : NULL);
    assert_null(client_find(s, (struct client_ref){1u << 30, 1}));
    assert_int_equal(s->client_count, 200);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_write_a_turn),
        cmocka_unit_test(test_queue_against_a_list),
        cmocka_unit_test(test_choked_waits_for_writable),
        cmocka_unit_test(test_slow_client_is_closed),
        cmocka_unit_test(test_burst_is_not_slowness),
        cmocka_unit_test(test_burst_meets_a_broken_socket),
        cmocka_unit_test(test_close_writes_what_is_queued_first),
        cmocka_unit_test(test_close_of_a_choked_client_waits),
        cmocka_unit_test(test_dead_socket),
        cmocka_unit_test(test_writes_are_bounded),
        cmocka_unit_test(test_same_backlog_is_shared),
        cmocka_unit_test(test_refs_tell_late_from_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
