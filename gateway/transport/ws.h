/* ws.h — WebSocket connections: handshake, frames, closing.
 *
 *     http_parse.c checks the upgrade -> ws_adopt: 101, the socket goes to lws
 *     in:  lws reads -> frame.h -> whole messages -> ws_app.message
 *     out: send() of ready-made frames; what the kernel refuses waits here
 *
 * lws is the socket layer (its raw role): loop, flow control, later TLS. Frames
 * are read by frame.h because lws 4.1.6 accepts unmasked ones, drops pings
 * and rewrites close codes (docs/adr/0001).
 *
 * Owns:   each connection's state. Thread: the loop's.
 * Bounds: message websocket.message_size_limit (close 1009); a peer has 5 s
 *         to answer a close.
 * Uses:   libwebsockets, gateway/session, transport/frame and wire. */
#ifndef WEIR_GATEWAY_TRANSPORT_WS_H
#define WEIR_GATEWAY_TRANSPORT_WS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct http_request;
struct loop;
struct session;

/* What stands behind a WebSocket: the centrifuge session, or a test's echo. */
struct ws_app {
    void (*message)(struct session *s, struct str bytes, bool is_text);
};

extern const struct ws_app ws_centrifuge;

/* Make the loop's lws context. One after another, before threads start. */
int ws_init(struct loop *l, const struct ws_app *app, char *err, size_t errlen)
    MUST_USE;
/* After the loop's last turn: begin to close lws's handles, and, when the
 * loop has closed every handle, free the rest. */
void ws_fini(struct loop *l);
void ws_free(struct loop *l);

/* 0 if the upgrade can be served, else the HTTP status that refuses it and
 * *why in words. */
int ws_refusal(struct loop *l, const struct http_request *r, const char **why);

/* Take a socket whose upgrade was checked; `rest` is what the client sent
 * behind it already (it is unmasked in place). */
void ws_adopt(struct loop *l, int fd, const struct http_request *r, char *rest,
              size_t n);

/* Queue a message of our own (the echo tool's answers). */
void ws_send(struct session *s, struct str payload, bool is_text);

/* After a turn: let lws look at timers that were touched outside of it. */
void ws_poke(struct loop *l);

#endif
