#include "loadtest/sha1.h"

#include <string.h>

#define BLOCK_BYTES 64

static uint32_t roll(uint32_t x, unsigned n)
{
    return (x << n) | (x >> (32 - n));
}

/* One round's function and constant, FIPS 180-4, 4.1.1 and 4.2.1. */
static uint32_t mix(unsigned t, uint32_t b, uint32_t c, uint32_t d)
{
    if (t < 20)
        return ((b & c) | (~b & d)) + 0x5a827999;
    if (t < 40)
        return (b ^ c ^ d) + 0x6ed9eba1;
    if (t < 60)
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    return (b ^ c ^ d) + 0xca62c1d6;
}

static void eat_block(uint32_t h[5], const uint8_t *p)
{
    uint32_t w[80];
    uint32_t s[5];
    for (unsigned t = 0; t < 16; t++, p += 4)
        w[t] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
               (uint32_t)p[2] << 8 | p[3];
    for (unsigned t = 16; t < 80; t++)
        w[t] = roll(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    memcpy(s, h, sizeof(s));
    for (unsigned t = 0; t < 80; t++) {
        uint32_t x = roll(s[0], 5) + mix(t, s[1], s[2], s[3]) + s[4] + w[t];
        s[4] = s[3];
        s[3] = s[2];
        s[2] = roll(s[1], 30);
        s[1] = s[0];
        s[0] = x;
    }
    for (unsigned i = 0; i < 5; i++)
        h[i] += s[i];
}

void sha1(const void *data, size_t n, uint8_t out[SHA1_BYTES])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476,
                     0xc3d2e1f0};
    uint8_t tail[2 * BLOCK_BYTES] = {0};
    const uint8_t *p = data;
    uint64_t bits = (uint64_t)n * 8;
    for (; n >= BLOCK_BYTES; n -= BLOCK_BYTES, p += BLOCK_BYTES)
        eat_block(h, p);
    memcpy(tail, p, n);
    tail[n] = 0x80;
    size_t end = n + 9 <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    for (size_t i = 0; i < 8; i++)
        tail[end - 1 - i] = (uint8_t)(bits >> (8 * i));
    for (size_t i = 0; i < end; i += BLOCK_BYTES)
        eat_block(h, tail + i);
    for (size_t i = 0; i < SHA1_BYTES; i++)
        out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void sha1_base64(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    for (; n > 0; out += 4) {
        size_t take = n < 3 ? n : 3;
        uint32_t v = (uint32_t)p[0] << 16;
        v |= take > 1 ? (uint32_t)p[1] << 8 : 0;
        v |= take > 2 ? p[2] : 0;
        out[0] = digits[v >> 18];
        out[1] = digits[(v >> 12) & 63];
        out[2] = take > 1 ? digits[(v >> 6) & 63] : '=';
        out[3] = take > 2 ? digits[v & 63] : '=';
        p += take;
        n -= take;
    }
    *out = '\0';
}

void sha1_accept(const char *key, size_t n, char out[SHA1_ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t digest[SHA1_BYTES];
    char text[64 + sizeof(guid)];
    n = n < 64 ? n : 64;
    memcpy(text, key, n);
    memcpy(text + n, guid, sizeof(guid) - 1);
    sha1(text, n + sizeof(guid) - 1, digest);
    sha1_base64(digest, sizeof(digest), out);
}
