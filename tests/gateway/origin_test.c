/* Where a message stands, and what JetStream says of one. */
#include "gateway/broker/origin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gateway/broker/puback.h"

static int parse(const char *reply, struct origin *o)
{
    return origin_parse(str_of(reply), o);
}

static void a_consumer_says_where_it_stands(void **state)
{
    struct origin o;
    (void)state;
    assert_int_equal(parse("$JS.ACK.FEED.c1.1.17.3.1700000000000000000.5", &o),
                     0);
    assert_true(str_eq(o.consumer, STR_LIT("c1")));
    assert_int_equal(o.stream_seq, 17);
    assert_int_equal(o.consumer_seq, 3);
    assert_int_equal(o.stored_ns, 1700000000000000000);
    assert_int_equal(o.pending, 5);
    /* With a domain and an account, and with what may come one day. */
    assert_int_equal(parse("$JS.ACK.hub.Acc.FEED.c2.1.18.4.9.0", &o), 0);
    assert_true(str_eq(o.consumer, STR_LIT("c2")));
    assert_int_equal(o.stream_seq, 18);
    assert_int_equal(o.pending, 0);
    assert_int_equal(
        parse("$JS.ACK._.Acc.FEED.c3.1.18446744073709551615.4.9.0.rnd", &o), 0);
    assert_true(str_eq(o.consumer, STR_LIT("c3")));
    assert_int_equal(o.stream_seq, UINT64_MAX);
}

static void anything_else_is_no_place(void **state)
{
    const char *bad[] = {"",
                         "$JS.ACK.",
                         "$JS.ACK.FEED",
                         "$JS.FC.FEED.c1.1.17.3.9.5",
                         "weir.node.x.ack.1",
                         "$JS.ACK.FEED.c1.1.17.3.9",
                         "$JS.ACK.FEED.c1.1.17.3.9.5.6",
                         "$JS.ACK.a.b.FEED.c1.1.17.3.9.5.x.y",
                         "$JS.ACK.FEED.c1.1.17.3.9.",
                         "$JS.ACK.FEED..1.17.3.9.5",
                         "$JS.ACK.FEED.c1.1.0.3.9.5",
                         "$JS.ACK.FEED.c1.1.17.0.9.5",
                         "$JS.ACK.FEED.c1.1.-17.3.9.5",
                         "$JS.ACK.FEED.c1.1.17x.3.9.5",
                         "$JS.ACK.FEED.c1.1.18446744073709551616.3.9.5",
                         NULL};
    struct origin o = {.stream_seq = 42};
    (void)state;
    for (int i = 0; bad[i]; i++)
        assert_int_equal(parse(bad[i], &o), ERR_INVALID);
    assert_int_equal(o.stream_seq, 42);
}

static void acknowledgements_are_read(void **state)
{
    struct puback p;
    (void)state;
    assert_int_equal(
        puback_parse(str_of("{\"stream\":\"S\", \"domain\":\"d\", \"seq\":17}"),
                     &p),
        0);
    assert_int_equal(p.seq, 17);
    assert_int_equal(p.error, 0);
    assert_false(p.duplicate);
    assert_int_equal(
        puback_parse(
            str_of("{\"stream\":\"S\",\"seq\":12,\"duplicate\": true}"), &p),
        0);
    assert_int_equal(p.seq, 12);
    assert_true(p.duplicate);
    assert_int_equal(
        puback_parse(str_of("{\"error\":{\"code\":400,\"err_code\":10071,"
                            "\"description\":\"wrong\"},\"stream\":\"S\","
                            "\"seq\":0}"),
                     &p),
        0);
    assert_int_equal(p.error, PUBACK_WRONG_LAST_SEQUENCE);
    assert_int_equal(p.seq, 0);
    assert_int_equal(puback_parse(str_of("{\"error\":{}}"), &p), 0);
    assert_int_not_equal(p.error, 0);
}

static void anything_else_is_no_acknowledgement(void **state)
{
    const char *bad[] = {"",
                         "+OK",
                         "{}",
                         "[]",
                         "{\"stream\":\"S\"}",
                         "{\"stream\":\"S\",\"seq\":0}",
                         "{\"stream\":\"S\",\"seq\":-1}",
                         "{\"stream\":\"S\",\"seq\":\"1\"}",
                         "{\"stream\":\"S\",\"seq\":1.5}",
                         "{\"stream\":\"S\",\"seq\":1,\"duplicate\":1}",
                         "{\"stream\":\"S\",\"seq\":1",
                         NULL};
    struct puback p = {.seq = 42};
    (void)state;
    for (int i = 0; bad[i]; i++)
        assert_int_equal(puback_parse(str_of(bad[i]), &p), ERR_INVALID);
    assert_int_equal(p.seq, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_consumer_says_where_it_stands),
        cmocka_unit_test(anything_else_is_no_place),
        cmocka_unit_test(acknowledgements_are_read),
        cmocka_unit_test(anything_else_is_no_acknowledgement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
