#include "base/utf8.h"

#include <endian.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

static uint8_t byte_at(struct str text, size_t i)
{
    return (uint8_t)text.p[i];
}

/* Set up s for the bytes that must follow `lead`, which is above 127. The
 * first of them is where overlong forms, surrogates and what lies above
 * U+10FFFF are told apart; the others may be anything from 80 to BF. */
static int start_char(struct utf8_state *s, uint8_t lead)
{
    if (lead < 0xC2 || lead > 0xF4)
        return ERR_INVALID;
    s->missing = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    s->low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    s->high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return 0;
}

static int continue_char(struct utf8_state *s, uint8_t byte)
{
    if (byte < s->low || byte > s->high)
        return ERR_INVALID;
    s->missing--;
    s->low = 0x80;
    s->high = 0xBF;
    return 0;
}

size_t utf8_ascii_run(struct str text)
{
    size_t i = 0;
    for (; text.n - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, text.p + i, 8);
        uint64_t high = le64toh(word) & HIGH_BITS;
        if (high)
            return i + (size_t)__builtin_ctzll(high) / 8;
    }
    while (i < text.n && byte_at(text, i) < 0x80)
        i++;
    return i;
}

size_t utf8_char(struct str text)
{
    if (text.n == 0)
        return 0;
    if (byte_at(text, 0) < 0x80)
        return 1;
    struct utf8_state s;
    if (start_char(&s, byte_at(text, 0)) < 0)
        return 0;
    size_t n = 1u + s.missing;
    if (text.n < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (continue_char(&s, byte_at(text, i)) < 0)
            return 0;
    }
    return n;
}

size_t utf8_encode(uint32_t code, char to[4])
{
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        to[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    to[0] = (char)(lead[n] | code);
    return n;
}

bool utf8_valid(struct str text)
{
    struct utf8_state s;
    utf8_init(&s);
    return utf8_feed(&s, text.p, text.n) == 0 && utf8_done(&s);
}

void utf8_init(struct utf8_state *s)
{
    *s = (struct utf8_state){0};
}

int utf8_feed(struct utf8_state *s, const void *bytes, size_t n)
{
    struct str rest = str_n(bytes, n);
    while (rest.n > 0) {
        int rc = 0;
        if (s->missing > 0) {
            rc = continue_char(s, byte_at(rest, 0));
            rest = str_skip(rest, 1);
        } else if (byte_at(rest, 0) < 0x80) {
            rest = str_skip(rest, utf8_ascii_run(rest));
        } else {
            rc = start_char(s, byte_at(rest, 0));
            rest = str_skip(rest, 1);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

bool utf8_done(const struct utf8_state *s)
{
    return s->missing == 0;
}
