/* utf8.h — is this text UTF-8?
 * Why:    WebSocket text, JSON and channel names must be; a peer that sends
 *         anything else is refused before the bytes reach another client.
 *         Strict (RFC 3629): no surrogates, no overlong forms, nothing
 *         above U+10FFFF.
 *
 *     F0 9F | 92 A9      one character in two fragments:
 *     feed 0  feed 0     fine so far, and done only after the second
 *     F0 8F              refused at 8F: no third byte can mend it
 *
 * Owns:   nothing. Borrows: the bytes. Thread: any.
 * Uses:   base/. */
#ifndef WEIR_BASE_UTF8_H
#define WEIR_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* Between two calls of utf8_feed: what the next byte has to be. */
struct utf8_state {
    uint8_t missing; /* continuation bytes still to come, 0..3 */
    uint8_t low;     /* bounds of the next one, when missing > 0 */
    uint8_t high;
};

/* Is all of `text` UTF-8? */
bool utf8_valid(struct str text);

/* Bytes of the character at the start of `text`: 1 to 4, or 0 when there is
 * none (malformed, cut off, or `text` is empty). */
size_t utf8_char(struct str text);

/* Write the character `code` (a scalar value: no surrogate, at most 10FFFF)
 * and return its bytes. */
size_t utf8_encode(uint32_t code, char to[4]);

/* Where the run of ASCII bytes at the start of `text` ends: 0..text.n. */
size_t utf8_ascii_run(struct str text);

void utf8_init(struct utf8_state *s);
/* Continue with the next n bytes. ERR_INVALID as soon as nothing that
 * follows could make the text valid; feed no more after that. */
int utf8_feed(struct utf8_state *s, const void *bytes, size_t n) MUST_USE;
/* Not inside a character: the text may end here. */
bool utf8_done(const struct utf8_state *s);

#endif
