/* frame.h — reads WebSocket frames from a client, strictly (RFC 6455).
 *
 *     81 83 mask[4] xx xx xx      one text message of 3 bytes
 *     01 .. | 89 .. | 80 ..       a fragmented one with a ping in between
 *
 * Whole unfragmented frames are handed out in place; only what is fragmented
 * or arrives in pieces is copied.
 *
 * Why:    every violation has its close code: unmasked, reserved bits or
 *         opcodes, long or fragmented control frames, bad lengths 1002;
 *         text that is not UTF-8 1007, as soon as it can be known; a message
 *         over the limit 1009, before memory is taken.
 * Owns:   the message being assembled. Thread: the owner's.
 * Bounds: message_max bytes a message.
 * Uses:   base/buf, base/utf8. */
#ifndef WEIR_GATEWAY_TRANSPORT_FRAME_H
#define WEIR_GATEWAY_TRANSPORT_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/utf8.h"

enum frame_opcode {
    FRAME_CONTINUATION = 0,
    FRAME_TEXT = 1,
    FRAME_BINARY = 2,
    FRAME_CLOSE = 8,
    FRAME_PING = 9,
    FRAME_PONG = 10,
};

struct frame_reader {
    uint64_t left;      /* payload bytes of the current frame still to come */
    struct buf data;    /* owned: a message's payload so far */
    struct buf control; /* owned: a control frame's */
    struct utf8_state utf8;
    uint8_t head[14];
    uint8_t head_len; /* bytes of head received */
    uint8_t mask_at;  /* position in the mask of the next payload byte */
    uint8_t opcode;   /* of the current frame */
    uint8_t message;  /* opcode of the message being assembled, 0: none */
    bool in_payload;
    bool fin;
};

/* Returns false to stop reading (the connection is being closed). */
typedef bool (*frame_fn)(void *arg, enum frame_opcode opcode,
                         struct str payload);

/* Feed n bytes, which are unmasked in place. fn gets whole messages (TEXT or
 * BINARY, text is valid UTF-8) and control frames, in order. Result: 0, or
 * the close code; feed no more after that. */
int frame_read(struct frame_reader *r, char *p, size_t n, uint64_t message_max,
               frame_fn fn, void *arg);
void frame_reader_free(struct frame_reader *r);

/* What a close frame's payload says: 0 when it is fine (*code is 1005 if it
 * is empty), else the close code to answer with. */
int frame_close_check(struct str payload, uint32_t *code);

#endif
