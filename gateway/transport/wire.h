/* wire.h — WebSocket frame heads, and bytes that a socket may not take.
 *
 *     text frame, 130 bytes:  81 7e 00 82 <payload>
 *
 * Why:    frames are built once and shared, so the head is ours, not lws's.
 * Thread: any. Uses: base/buf, hub/transport. */
#ifndef WEIR_GATEWAY_TRANSPORT_WIRE_H
#define WEIR_GATEWAY_TRANSPORT_WIRE_H

#include <stdint.h>

#include "base/buf.h"
#include "hub/transport.h"

#define WIRE_WS_HEAD_MAX 10
#define WIRE_WS_TEXT 0x81
#define WIRE_WS_BINARY 0x82
#define WIRE_WS_CLOSE 0x88
#define WIRE_WS_PONG 0x8a

/* Write an unmasked server frame's head; returns its length. */
size_t wire_ws_head(uint8_t head[WIRE_WS_HEAD_MAX], uint8_t first_byte,
                    size_t payload);

/* Begin a text frame in `b`; returns a mark for wire_ws_end, which puts the
 * head before whatever was appended since. */
size_t wire_ws_begin(struct buf *b);
void wire_ws_end(struct buf *b, size_t mark);

/* A whole frame. */
void wire_ws_frame(struct buf *b, uint8_t first_byte, struct str payload);

/* Send n bytes on a non-blocking socket; what it does not take, and everything
 * while `out` holds something already, is kept in `out`. WRITE_CHOKED then:
 * the caller waits for the socket to be writable and calls wire_drain. */
enum write_result wire_send(int fd, struct buf *out, const char *p, size_t n);
/* The socket takes new bytes only while it holds less than
 * throttle.notsent_lowat unsent ones (0: whatever fits its buffer). */
struct config;
void wire_keep_late(int fd, const struct config *cfg);
/* Send what is kept: WRITE_DONE when nothing is left (out is freed). */
enum write_result wire_drain(int fd, struct buf *out);

#endif
