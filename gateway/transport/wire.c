#include "gateway/transport/wire.h"

size_t wire_ws_head(uint8_t head[WIRE_WS_HEAD_MAX], uint8_t first_byte,
                    size_t payload)
{
    head[0] = first_byte;
    if (payload < 126) {
        head[1] = (uint8_t)payload;
        return 2;
    }
    if (payload < 65536) {
        head[1] = 126;
        head[2] = (uint8_t)(payload >> 8);
        head[3] = (uint8_t)payload;
        return 4;
    }
    head[1] = 127;
    for (unsigned i = 0; i < 8; i++)
        head[2 + i] = (uint8_t)((uint64_t)payload >> (56 - 8 * i));
    return 10;
}

size_t wire_ws_begin(struct buf *b)
{
    size_t mark = b->n;
    buf_reserve(b, WIRE_WS_HEAD_MAX);
    b->n += WIRE_WS_HEAD_MAX;
    return mark;
}

void wire_ws_end(struct buf *b, size_t mark)
{
    uint8_t head[WIRE_WS_HEAD_MAX];
    size_t payload = b->n - mark - WIRE_WS_HEAD_MAX;
    size_t n = wire_ws_head(head, WIRE_WS_TEXT, payload);
    memmove(b->p + mark + n, b->p + mark + WIRE_WS_HEAD_MAX, payload);
    memcpy(b->p + mark, head, n);
    b->n = mark + n + payload;
}

void wire_ws_frame(struct buf *b, uint8_t first_byte, struct str payload)
{
    uint8_t head[WIRE_WS_HEAD_MAX];
    buf_add(b, head, wire_ws_head(head, first_byte, payload.n));
    buf_str(b, payload);
}
