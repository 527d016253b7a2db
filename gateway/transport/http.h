/* http.h — a small HTTP/1.1 server on the shard's loop.
 *
 *     bytes -> head complete? -> route -> body complete? -> handler
 *     handler --http_respond--> exchange; answers leave in request order,
 *     all of one turn in one write
 *
 * Everything that is not WebSocket is served here: lws 4.1.6 hangs on
 * pipelined bodies (docs/adr/0001). A GET that asks for an upgrade is checked
 * here and then handed to ws.h with its bytes; an SSE stream takes the socket
 * over (sse.h).
 *
 * Why:    keep-alive and pipelining that cannot hang, and exact answers to
 *         bad input.
 * Owns:   its connections. Thread: the loop's.
 * Bounds: head http_server.max_header_size (431), body by route (413), time
 *         to complete a request http_server.header_timeout (408),
 *         HTTP_MAX_PIPELINE answers outstanding (then reading pauses).
 * Uses:   libuv, http-parser, gateway/loop. */
#ifndef WEIR_GATEWAY_TRANSPORT_HTTP_H
#define WEIR_GATEWAY_TRANSPORT_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define HTTP_MAX_PIPELINE 256

struct http_conn;
struct http_exchange;
struct loop;

/* X(field, header name in lower case): what handlers may look at. */
#define HTTP_HEADERS(X)                                  \
    X(host, "host")                                      \
    X(origin, "origin")                                  \
    X(upgrade, "upgrade")                                \
    X(connection, "connection")                          \
    X(authorization, "authorization")                    \
    X(api_key, "x-api-key")                              \
    X(error_mode, "x-centrifugo-error-mode")             \
    X(expect, "expect")                                  \
    X(ws_key, "sec-websocket-key")                       \
    X(ws_version, "sec-websocket-version")               \
    X(ws_protocol, "sec-websocket-protocol")             \
    X(request_headers, "access-control-request-headers") \
    X(last_event_id, "last-event-id")

enum http_verb {
    HTTP_OTHER,
    HTTP_IS_GET,
    HTTP_IS_HEAD,
    HTTP_IS_POST,
    HTTP_IS_OPTIONS
};

/* One request; every slice lives until the handler returns. */
struct http_request {
    enum http_verb method;
    struct str path;  /* as sent, without the query */
    struct str query; /* without '?'; empty if none */
    struct str body;
    bool has_origin;
#define FIELD(field, name) struct str field;
    HTTP_HEADERS(FIELD)
#undef FIELD
};

struct route;

/* A request's place in the line of answers. Held by a handler that answers
 * later: from handler to http_respond (exactly once). */
struct http_exchange;

struct loop *http_loop(const struct http_exchange *x);

struct http_response {
    int status;
    struct str content_type; /* empty: none */
    struct str body;
    struct str headers; /* more header lines, each with CRLF */
    bool close;         /* end the connection after it */
};

/* Answer; takes the exchange. The slices are copied. If the peer has gone
 * meanwhile the answer is dropped. */
void http_respond(struct http_exchange *x, const struct http_response *r);
/* {"error":{…}} with a status: the answer to a request that cannot be served
 * outside the API. `detail` (may be empty) says what would be right. */
void http_respond_error(struct http_exchange *x, int status, uint32_t code,
                        struct str detail);
/* The same with more header lines (CORS). */
void http_respond_error_with(struct http_exchange *x, int status, uint32_t code,
                             struct str detail, struct str headers);
/* Append the body of such an answer. */
void http_error_body(struct buf *to, uint32_t code, struct str detail);
/* Adds CORS lines for an allowed origin to `to`; false if the origin is not
 * allowed (client.allowed_origins). */
bool http_cors(struct loop *l, const struct http_request *r, struct buf *to);

/* Take the socket away from HTTP for a stream: everything asked before has
 * been answered. Takes the exchange; returns the fd (the caller's now) or -1
 * if the peer has gone or earlier answers are still to be written (the
 * request is answered 503 then). */
int http_take_socket(struct http_exchange *x);

/* An accepted, non-blocking socket. Takes fd. */
void http_accept(struct loop *l, int fd);
/* Write what answers of this turn wait. */
void http_flush(struct loop *l);
/* Close idle connections; the others after their answers. */
void http_drain(struct loop *l);
/* Close all, at once. */
void http_kill_all(struct loop *l);

/* Next `name=value` of a query or form, both percent-decoded into `to`,
 * which the slices point into: the caller reserves query->n bytes there
 * before the first call. False at the end; *bad is set when an escape is
 * broken. */
bool http_query_next(struct str *query, struct buf *to, struct str *name,
                     struct str *value, bool *bad);

#endif
