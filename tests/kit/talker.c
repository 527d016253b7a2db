#include "tests/kit/talker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

int talker_open(struct gate *g, struct talker *t, const char *query,
                const char *id)
{
    struct gate_answer a;
    char line[1400];
    char header[1400] = "";
    snprintf(line, sizeof(line), "GET /sse?%s", query);
    if (id)
        snprintf(header, sizeof(header), "Last-Event-ID: %s\r\n", id);
    stream_request(g, &t->peer, 0, line, header, "");
    gate_read(&t->peer);
    assert_true(gate_next_answer(&t->peer, false, &a));
    t->at = (size_t)(a.body.p - t->peer.in.p);
    return a.status;
}

bool talker_next(struct talker *t, struct events_event *e)
{
    gate_read(&t->peer);
    while (events_next(buf_view(&t->peer.in), &t->at, e)) {
        if (e->datas || e->ids)
            return true;
    }
    return false;
}

void talker_expect(struct talker *t, const char *kind, const char *id,
                   const char *data)
{
    struct events_event e;
    if (!talker_next(t, &e))
        fail_msg("no event %s", data);
    if (!str_eq(e.kind, str_of(kind)) || !str_eq(e.id, str_of(id ? id : "")) ||
        (data && !str_eq(e.data, str_of(data))))
        fail_msg("[%.*s] [%.*s] [%.*s], not [%s] [%s] [%s]", STR_ARG(e.kind),
                 STR_ARG(e.id), STR_ARG(e.data), kind, id ? id : "", data);
}

void talker_expect_nothing(struct talker *t)
{
    struct events_event e;
    if (talker_next(t, &e))
        fail_msg("[%.*s] [%.*s]", STR_ARG(e.kind), STR_ARG(e.data));
}
