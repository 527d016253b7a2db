/* hostfeed_link.h — one connection to a gateway's HTTP API or to nats-server
 * that carries batches of publications.
 * Why:    shows both ways in, each in its smallest honest form: keep-alive
 *         HTTP/1.1 with POST /api/batch, or NATS's text protocol.
 * Owns:   the socket and its buffers. Borrows: struct link_target's strings.
 * Thread: the caller's; the only wait is connecting, at most a second an
 *         address.
 * Bounds: LINK_UNANSWERED_MAX batches in flight, LINK_OUT_MAX bytes waiting;
 *         above either link_publish refuses (a newer sample comes anyway).
 * Away:   it connects again for ever, with a pause that grows to 2 s.
 * Uses:   libc, hostfeed_text. */
#ifndef HOSTFEED_LINK_H
#define HOSTFEED_LINK_H

#include <stdint.h>

#include "examples/hostfeed_text.h"

#define LINK_OUT_MAX (256 * 1024)
#define LINK_IN_MAX (16 * 1024)
#define LINK_UNANSWERED_MAX 8

struct link_target {
    bool nats; /* else the HTTP API */
    char host[256];
    char port[8];
    char user[128];     /* NATS "user:password", or empty */
    const char *key;    /* borrowed: API key, or NULL */
    const char *prefix; /* borrowed: NATS subject prefix */
    const char *space;  /* borrowed: namespace of the channels */
};

struct link_item {
    const char *name; /* channel within the namespace */
    const char *json;
    size_t json_n;
};

struct link {
    struct link_target target;
    int fd;          /* -1: away */
    bool ready;      /* batches may be sent */
    bool complained; /* this outage has been logged */
    bool refused;    /* no retry can help; the reason has been logged */
    int unanswered;
    int64_t heard_ns; /* last answer, or first question after it */
    int64_t retry_ns; /* when to connect again */
    int64_t pause_ns;
    char last_refusal[160];
    size_t out_n;
    size_t in_n;
    char out[LINK_OUT_MAX];
    char in[LINK_IN_MAX];
};

void link_init(struct link *l, const struct link_target *target);
void link_fini(struct link *l);

/* Connects if it is time to, writes, reads; waits for the socket until
 * `until_ns` at most (monotonic) and may return before. */
void link_run(struct link *l, int64_t until_ns);

/* False: not connected, or too much is in flight; nothing was taken. */
bool link_publish(struct link *l, const struct link_item *items, int count);

bool link_is_idle(const struct link *l); /* everything answered, or away */

#endif
