/* http_conn.h — the inside of http.h, shared by its three files:
 *   http.c        sockets, timers, order of answers
 *   http_parse.c  bytes to requests
 *   http_answer.c answers to bytes
 * Nobody else includes this. Thread: the loop's. */
#ifndef WEIR_GATEWAY_TRANSPORT_HTTP_CONN_H
#define WEIR_GATEWAY_TRANSPORT_HTTP_CONN_H

#include <sys/queue.h>

#include <http_parser.h>
#include <uv.h>

#include "gateway/loop.h"
#include "gateway/route.h"
#include "gateway/transport/http.h"

/* Reading and handling pause while this much of our answers is not taken. */
#define OUT_MAX (1u << 20)

/* A piece of conn->in, relative to the request's first byte, so that it
 * survives the buffer's growth. */
struct span {
    uint32_t at;
    uint32_t n;
};

enum http_header {
#define ENTRY(field, name) HEADER_##field,
    HTTP_HEADERS(ENTRY)
#undef ENTRY
        HEADER_COUNT,
};

enum http_phase {
    PHASE_HEAD,
    PHASE_LENGTH, /* body with Content-Length */
    PHASE_CHUNKED,
    PHASE_LINGER, /* our last word is said; wait for the peer's FIN */
};

/* The request being read. */
struct http_incoming {
    http_parser parser;
    struct http_conn *conn; /* borrowed */
    struct span url;
    struct span headers[HEADER_COUNT];
    struct span field; /* parser state: the name before the next value */
    int current;       /* enum http_header of that name, -1 for others */
    const char *base;  /* of the bytes being parsed; only during parsing */
    struct route route;
    uint32_t head_len;
    uint32_t fed; /* chunked: bytes of body given to the parser */
    uint64_t body_len;
    bool bad_field; /* folded, a space before the colon, a control byte, or a
                     * second Host */
    bool complete;  /* the parser saw the end of the message */
    bool continued; /* 100 Continue was sent */
    bool has_origin;
    bool keep_alive;
    bool upgrade;
};

struct http_exchange {
    STAILQ_ENTRY(http_exchange) link; /* linked: conn.exchanges */
    struct http_conn *conn; /* borrowed; NULL once the peer has gone */
    struct loop *loop;      /* borrowed */
    bool done;
    bool is_head;
    bool keep_alive;
    bool say_keep_alive; /* HTTP/1.0: it waits for the end otherwise */
    struct buf answer;   /* owned: waits for earlier ones */
};

/* uv closes handles later; so it is an allocation of its own. */
struct http_poll {
    uv_poll_t uv;
    struct http_conn *conn; /* borrowed; NULL when closing */
};

struct http_conn {
    TAILQ_ENTRY(http_conn) link;       /* linked: loop.http_conns */
    TAILQ_ENTRY(http_conn) dirty_link; /* linked: loop.http_dirty */
    struct grave grave;
    struct loop *loop;      /* borrowed */
    struct http_poll *poll; /* owned; NULL until we have to wait */
    int events;             /* what poll waits for */
    int fd;                 /* owned; -1 once taken or closed */
    enum http_phase phase;
    bool dirty;
    bool eof;  /* the peer will send no more */
    bool last; /* the request read last ends the connection */
    bool gone; /* in the grave */
    uint32_t exchange_count;
    uint64_t requests; /* complete ones so far */
    STAILQ_HEAD(, http_exchange) exchanges;
    struct wheel_timer timer;
    struct http_incoming *incoming; /* owned; NULL between requests */
    struct buf in;                  /* owned */
    size_t in_at;                   /* where the current request begins */
    size_t scanned;                 /* bytes of it known to hold no head end */
    struct buf body;                /* owned: decoded chunks */
    struct buf out;                 /* owned: answers to write */
    size_t out_at;
};

/* http_parse.c: handle every request that is complete. */
void http_process(struct http_conn *c);
/* http_answer.c: refuse what cannot be parsed and end the connection. */
void http_refuse(struct http_conn *c, int status, const char *detail);
struct http_exchange *http_exchange_new(struct http_conn *c,
                                        const struct http_incoming *in);
/* http.c */
void http_mark_dirty(struct http_conn *c);
void http_conn_close(struct http_conn *c);
/* Give the socket up: returns it, the connection goes to the grave. */
int http_conn_release(struct http_conn *c);
void http_arm_timer(struct http_conn *c);

#endif
