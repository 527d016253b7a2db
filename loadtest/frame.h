/* frame.h — WebSocket frames, both directions (RFC 6455, 5.2).
 *
 *    0                   1
 *   |FIN rsv3 opcode4|MASK len7|ext len 0,2,8|mask key 0,4|payload|
 *
 * Why:    the clients read frames of a server, the bare server those of a
 *         client. Owns: nothing; a parsed frame points into the input.
 * Bounds: FRAME_MAX_PAYLOAD. Uses: libc. */
#ifndef LOADTEST_FRAME_H
#define LOADTEST_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FRAME_MAX_PAYLOAD ((uint64_t)16 << 20)
#define FRAME_HEAD_MAX 14

enum frame_op {
    FRAME_CONTINUATION = 0x0,
    FRAME_TEXT = 0x1,
    FRAME_BINARY = 0x2,
    FRAME_CLOSE = 0x8,
    FRAME_PING = 0x9,
    FRAME_PONG = 0xa,
};

struct frame {
    uint8_t op; /* enum frame_op */
    bool fin;
    bool masked;
    uint8_t key[4];      /* when masked */
    const char *payload; /* borrowed from the input, still masked */
    size_t length;
};

/* Reads one whole frame at p. Returns its size on the wire, 0 when more bytes
 * are needed, -1 when it is no legal frame. */
ssize_t frame_read(const char *p, size_t n, struct frame *f);
/* Writes a client's frame (masked) to out, which holds n + FRAME_HEAD_MAX.
 * Returns its size on the wire. */
size_t frame_write_masked(char *out, enum frame_op op, const char *p, size_t n);
/* Writes a server's frame head (FIN, not masked); returns its size. */
size_t frame_write_head(char *out, enum frame_op op, size_t n);
/* Takes the mask off: out[i] = p[i] ^ key[i % 4]. out may be p. */
void frame_unmask(char *out, const char *p, size_t n, const uint8_t key[4]);

#endif
