/* stream.h — event streams of a gate (gate.h) and what is POSTed to them.
 *
 *     stream_open -> stream_post -> stream_expect -> stream_end
 *
 * Why:    a change of a stream takes two connections and a name: the tests
 *         say what comes out of it.
 * Owns:   a stream its peer. Thread: one.
 * Uses:   tests/kit/gate, cmocka: what is not as it should be fails the
 *         test. */
#ifndef WEIR_TESTS_KIT_STREAM_H
#define WEIR_TESTS_KIT_STREAM_H

#include "tests/kit/gate.h"

/* Channels without a namespace are plain; `qq` is latest by /s, 20/s, with
 * snapshot; `ee` is all, 30/s; nobody may subscribe in `shut`. Four channels a
 * stream. */
#define STREAM_CONFIG                                                          \
    "{\"client\":{\"allow_anonymous_connect_without_token\":true,"             \
    "\"allowed_origins\":[\"https://*.test\"],\"channel_limit\":8},"           \
    "\"sse\":{\"channel_limit\":4,\"ping_interval\":\"24h\"},"                 \
    "\"http_api\":{\"insecure\":true},"                                        \
    "\"channel\":{\"without_namespace\":{\"allow_subscribe_for_client\":true," \
    "\"allow_subscribe_for_anonymous\":true,\"allow_patterns\":true},"         \
    "\"namespaces\":[{\"name\":\"shut\"},"                                     \
    "{\"name\":\"qq\",\"allow_subscribe_for_client\":true,"                    \
    "\"allow_subscribe_for_anonymous\":true,\"allow_patterns\":true,"          \
    "\"throttle\":{\"mode\":\"latest\",\"key\":\"/s\",\"rate\":20,"            \
    "\"snapshot\":1}},"                                                        \
    "{\"name\":\"ee\",\"allow_subscribe_for_client\":true,"                    \
    "\"allow_subscribe_for_anonymous\":true,"                                  \
    "\"throttle\":{\"rate\":30}}]}}"

/* The body of every 404. */
#define STREAM_NOT_FOUND                                         \
    "{\"error\":{\"code\":104,\"message\":\"method not found\"," \
    "\"detail\":\"no such session\"}}\n"
/* A change that changes nothing. */
#define STREAM_LOOK "{\"channels\":{}}"
/* What a channel without throttle is granted. */
#define STREAM_PLAIN "{\"rate\":0,\"mode\":\"all\"}"

struct session;

struct stream {
    struct gate_peer peer; /* owned until stream_end */
    char session[128];     /* its name */
};

/* GET /sse?<query>: 200, and the session event says `channels`, members of
 * its object. */
void stream_open(struct gate *g, struct stream *s, unsigned shard,
                 const char *query, const char *channels);
/* Exactly this has come since. */
void stream_expect(struct stream *s, const char *want);
/* Close and settle: for streams and for the peers of requests. */
void stream_end(struct gate_peer *p);

/* Send a request on a connection of its own. */
void stream_request(struct gate *g, struct gate_peer *p, unsigned shard,
                    const char *line, const char *headers, const char *body);
void stream_begin_post(struct gate *g, struct gate_peer *p, unsigned shard,
                       const char *session, const char *body);
/* Settle; there is an answer. Returns its status. */
int stream_take_answer(struct gate_peer *p, struct gate_answer *a);
/* POST; the answer has this status and, unless it is NULL, this body. */
void stream_post_from(struct gate *g, unsigned shard, const char *session,
                      const char *body, int status, const char *want);
/* The same, from shard 0. */
void stream_post(const struct stream *s, const char *body, int status,
                 const char *want);

/* Through the API, so that the namespace's policy counts. */
void stream_publish(struct gate *g, const char *channel, const char *data);
/* A session of a shard; NULL if it has none. */
struct session *stream_session(struct gate *g, unsigned shard);

#endif
