/* wire.h — the bytes around a message: WebSocket frame heads, SSE lines.
 *
 *     text frame, 130 bytes:  81 7e 00 82 <payload>
 *
 * Why:    frames are built once and shared, so the head is ours, not lws's.
 * Thread: any. Uses: base/buf. */
#ifndef WEIR_GATEWAY_TRANSPORT_WIRE_H
#define WEIR_GATEWAY_TRANSPORT_WIRE_H

#include <stdint.h>

#include "base/buf.h"

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

#endif
