#include "tests/kit/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "gateway/session.h"

void stream_request(struct gate *g, struct gate_peer *p, unsigned shard,
                    const char *line, const char *headers, const char *body)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s",
               line, headers, strlen(body), body);
    gate_open(g, shard, p);
    assert_true(gate_send(p, buf_view(&b)));
    buf_free(&b);
}

void stream_end(struct gate_peer *p)
{
    gate_close(p);
    gate_settle(p->gate);
}

void stream_open(struct gate *g, struct stream *s, unsigned shard,
                 const char *query, const char *channels)
{
    char line[256];
    struct gate_answer a;
    struct buf want = BUF_INIT;
    snprintf(line, sizeof(line), "GET /sse?%s", query);
    stream_request(g, &s->peer, shard, line, "", "");
    gate_read(&s->peer);
    assert_true(gate_next_answer(&s->peer, false, &a));
    assert_int_equal(a.status, 200);
    static const char begin[] = "event: session\ndata: {\"session\":\"";
    const char *at = memmem(a.body.p, a.body.n, begin, strlen(begin));
    assert_non_null(at);
    struct str rest = str_skip(a.body, (size_t)(at - a.body.p) + strlen(begin));
    struct str session = str_cut(&rest, '"');
    snprintf(s->session, sizeof(s->session), "%.*s", STR_ARG(session));
    buf_printf(&want, ",\"channels\":{%s},\"resume\":[]}\n\n", channels);
    if (!str_eq(rest, buf_view(&want)))
        fail_msg("%.*s, not %.*s", STR_ARG(rest), STR_ARG(buf_view(&want)));
    buf_free(&want);
}

void stream_expect(struct stream *s, const char *want)
{
    gate_read(&s->peer);
    if (!str_eq(gate_rest(&s->peer), str_of(want)))
        fail_msg("[%.*s], not [%s]", STR_ARG(gate_rest(&s->peer)), want);
    s->peer.at = s->peer.in.n;
}

void stream_begin_post(struct gate *g, struct gate_peer *p, unsigned shard,
                       const char *session, const char *body)
{
    char line[2200];
    snprintf(line, sizeof(line), "POST /sse/%s", session);
    stream_request(g, p, shard, line, "", body);
}

int stream_take_answer(struct gate_peer *p, struct gate_answer *a)
{
    gate_read(p);
    assert_true(gate_next_answer(p, false, a));
    return a->status;
}

void stream_post_from(struct gate *g, unsigned shard, const char *session,
                      const char *body, int status, const char *want)
{
    struct gate_peer p;
    struct gate_answer a;
    stream_begin_post(g, &p, shard, session, body);
    if (stream_take_answer(&p, &a) != status)
        fail_msg("%s: %d %.*s", body, a.status, STR_ARG(a.body));
    assert_true(gate_has_line(&a, "Content-Type: application/json"));
    if (want && !str_eq(a.body, str_of(want)))
        fail_msg("%s: %.*s, not %s", body, STR_ARG(a.body), want);
    stream_end(&p);
}

void stream_post(const struct stream *s, const char *body, int status,
                 const char *want)
{
    stream_post_from(s->peer.gate, 0, s->session, body, status, want);
}

void stream_publish(struct gate *g, const char *channel, const char *data)
{
    struct gate_peer p;
    struct gate_answer a;
    char body[256];
    snprintf(body, sizeof(body), "{\"channel\":\"%s\",\"data\":%s}", channel,
             data);
    stream_request(g, &p, 1, "POST /api/publish", "", body);
    assert_int_equal(stream_take_answer(&p, &a), 200);
    assert_true(str_eq(a.body, STR_LIT("{\"result\":{}}")));
    stream_end(&p);
}

struct session *stream_session(struct gate *g, unsigned shard)
{
    struct shard *s = g->loops[shard]->shard;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slots[i].client)
            return session_of(s->slots[i].client);
    }
    return NULL;
}
