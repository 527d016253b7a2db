/* talker.h — an event stream of a gate, read event by event.
 *
 *     talker_open(&gate, &t, "channel=a", last_id) -> talker_expect(&t, …)
 *
 * Why:    what an EventSource sees: kinds, ids and data, nothing else.
 * Owns:   a talker its peer until stream_end. Thread: one.
 * Uses:   tests/kit/stream, tests/kit/events, cmocka. */
#ifndef WEIR_TESTS_KIT_TALKER_H
#define WEIR_TESTS_KIT_TALKER_H

#include "tests/kit/events.h"
#include "tests/kit/stream.h"

struct talker {
    struct gate_peer peer;
    size_t at; /* of what was not looked at yet */
};

/* Ask shard 0 for a stream, with a Last-Event-ID unless it is NULL; returns
 * the status. */
int talker_open(struct gate *g, struct talker *t, const char *query,
                const char *id);
bool talker_next(struct talker *t, struct events_event *e);
/* The next event is this one; `id` NULL: it has none; `data` NULL: any. */
void talker_expect(struct talker *t, const char *kind, const char *id,
                   const char *data);
void talker_expect_nothing(struct talker *t);

#endif
