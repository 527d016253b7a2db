/* The first two bytes choose the limit and how the rest is cut; the rest is
 * what a client sends. Whole or in pieces, the reader must hand out the same
 * messages and the same verdict, and keep its promises about them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rand.h"
#include "gateway/transport/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct heard {
    struct buf log; /* opcode, length, payload of everything handed out */
    uint64_t max;
    bool stopped; /* a close frame ends the reading */
};

static bool on_frame(void *arg, enum frame_opcode opcode, struct str payload)
{
    struct heard *h = arg;
    bool control = opcode & 8;
    CHECK(opcode == FRAME_TEXT || opcode == FRAME_BINARY ||
          opcode == FRAME_CLOSE || opcode == FRAME_PING ||
          opcode == FRAME_PONG);
    CHECK(payload.n <= (control ? 125 : h->max));
    CHECK(opcode != FRAME_TEXT || utf8_valid(payload));
    if (opcode == FRAME_CLOSE) {
        uint32_t code = 0;
        int rc = frame_close_check(payload, &code);
        CHECK(rc == 0 || rc == 1002 || rc == 1007);
        CHECK(rc || code == 1005 || (code >= 1000 && code < 5000));
    }
    buf_char(&h->log, (char)opcode);
    buf_u64(&h->log, payload.n);
    buf_str(&h->log, payload);
    CHECK(!h->stopped);
    h->stopped = opcode == FRAME_CLOSE;
    return !h->stopped;
}

static int read_all(struct heard *h, const uint8_t *p, size_t n,
                    struct rand *cut)
{
    struct frame_reader r = {0};
    int rc = 0;
    while (n && rc == 0 && !h->stopped) {
        size_t piece = cut ? 1 + (size_t)rand_below(cut, 9) : n;
        if (cut && rand_below(cut, 4) == 0)
            piece *= 40;
        piece = piece < n ? piece : n;
        /* A copy of its own, so that a byte read too far is seen. */
        char *copy = mem_alloc(piece);
        memcpy(copy, p, piece);
        rc = frame_read(&r, copy, piece, h->max, on_frame, h);
        free(copy);
        CHECK(r.data.n <= h->max && r.control.n <= 125);
        p += piece;
        n -= piece;
    }
    frame_reader_free(&r);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t limits[] = {0, 1, 125, 126, 300, 65535, 65536};
    if (size < 2)
        return 0;
    struct heard whole = {.max = limits[data[0] % ARRAY_LEN(limits)]};
    struct heard pieces = {.max = whole.max};
    struct rand cut;
    rand_init(&cut, data[1]);
    int first = read_all(&whole, data + 2, size - 2, NULL);
    int second = read_all(&pieces, data + 2, size - 2, &cut);
    CHECK(first == 0 || first == 1002 || first == 1007 || first == 1009);
    CHECK(first == second && whole.stopped == pieces.stopped);
    CHECK(str_eq(buf_view(&whole.log), buf_view(&pieces.log)));
    buf_free(&whole.log);
    buf_free(&pieces.log);
    return 0;
}
