/* dialect.h — how a subscriber asks for a channel and reads what comes.
 *
 *   ws         Centrifuge JSON at /connection/websocket (protocol.md 4, 5)
 *   sse        /sse?channel=c
 *   nchan-ws   /sub?id=c by WebSocket    nchan-sse  the same by EventSource
 *   nats-ws    the NATS protocol in binary frames
 *   bare-ws, bare-sse   no handshake at all: bytes of a bare send() loop
 *
 * Owns: nothing. Uses: conn, frame, sha1. */
#ifndef LOADTEST_DIALECT_H
#define LOADTEST_DIALECT_H

#include "loadtest/conn.h"

/* Finds a dialect by name; NULL when there is none. */
const struct dialect *dialect_find(const char *name);
/* The bare twin of a dialect: same reading, no handshake. */
const struct dialect *dialect_bare(const struct dialect *d);

/* The dialects, defined in ws.c and sse.c. */
extern const struct dialect dialect_ws;
extern const struct dialect dialect_nchan_ws;
extern const struct dialect dialect_nats_ws;
extern const struct dialect dialect_bare_ws;
extern const struct dialect dialect_sse;
extern const struct dialect dialect_nchan_sse;
extern const struct dialect dialect_bare_sse;

/* Looks for the end of an HTTP head in n bytes; its length or 0. */
size_t dialect_head(const char *p, size_t n);
/* Length of the first line, for messages. At most 100. */
int dialect_line(const char *p, size_t n);

#endif
