#include "loadtest/frame.h"

#include <string.h>

/* Length field: 0..125 inline, 126 = two bytes follow, 127 = eight. */
static size_t write_length(char *out, uint8_t mask_bit, uint64_t n)
{
    if (n < 126) {
        out[0] = (char)(mask_bit | n);
        return 1;
    }
    size_t bytes = n <= 0xffff ? 2 : 8;
    out[0] = (char)(mask_bit | (bytes == 2 ? 126 : 127));
    for (size_t i = 0; i < bytes; i++)
        out[1 + i] = (char)(n >> (8 * (bytes - 1 - i)));
    return 1 + bytes;
}

ssize_t frame_read(const char *input, size_t n, struct frame *f)
{
    const uint8_t *p = (const uint8_t *)input;
    if (n < 2)
        return 0;
    if ((p[0] & 0x70) != 0)
        return -1;
    uint64_t length = p[1] & 0x7f;
    size_t head = 2;
    size_t wide = length == 126 ? 2 : length == 127 ? 8 : 0;
    bool masked = (p[1] & 0x80) != 0;
    bool control = (p[0] & 0x08) != 0;
    if (control && (length > 125 || (p[0] & 0x80) == 0))
        return -1;
    if (n < head + wide + (masked ? 4 : 0))
        return 0;
    if (wide > 0)
        length = 0;
    for (size_t i = 0; i < wide; i++)
        length = length << 8 | p[head++];
    if (length > FRAME_MAX_PAYLOAD)
        return -1;
    if (masked) {
        memcpy(f->key, p + head, 4);
        head += 4;
    }
    if (n - head < length)
        return 0;
    f->op = p[0] & 0x0f;
    f->fin = (p[0] & 0x80) != 0;
    f->masked = masked;
    f->payload = input + head;
    f->length = (size_t)length;
    return (ssize_t)(head + length);
}

void frame_unmask(char *out, const char *p, size_t n, const uint8_t key[4])
{
    for (size_t i = 0; i < n; i++)
        out[i] = (char)((uint8_t)p[i] ^ key[i & 3]);
}

size_t frame_write_masked(char *out, enum frame_op op, const char *p, size_t n)
{
    static const uint8_t key[4] = {0x5a, 0xc3, 0x17, 0x9e};
    out[0] = (char)(0x80 | op);
    size_t head = 1 + write_length(out + 1, 0x80, n);
    memcpy(out + head, key, 4);
    frame_unmask(out + head + 4, p, n, key);
    return head + 4 + n;
}

size_t frame_write_head(char *out, enum frame_op op, size_t n)
{
    out[0] = (char)(0x80 | op);
    return 1 + write_length(out + 1, 0, n);
}
