/* json.h — a bounded, validating JSON scanner that hands out slices.
 * Why:    payloads must leave byte for byte as they came; a tree parser
 *         re-serialises them and refuses big integers. One pass validates,
 *         the rest walks validated bytes.
 *
 *     {"publish":{"channel":"a","data":{"x":1}},"id":5}
 *                                       ^-----^ a json_value: type + slice
 *
 * Owns:   nothing. Borrows: the text. Thread: any.
 * Bounds: nesting JSON_MAX_DEPTH; no allocation, no recursion.
 *         No file can include this and jansson.h: the names collide.
 * Uses:   base/. */
#ifndef WEIR_GATEWAY_PROTOCOL_JSON_H
#define WEIR_GATEWAY_PROTOCOL_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define JSON_MAX_DEPTH 64

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json_value {
    enum json_type type;
    struct str raw; /* no surrounding white space; strings with quotes */
};

struct json_iter {
    const char *p;   /* borrowed from the text, as is `end` */
    const char *end; /* the closing bracket */
    enum json_type type;
};

/* Validate that `text` is exactly one JSON value (RFC 8259, valid UTF-8, no
 * byte order mark, at most JSON_MAX_DEPTH containers in one another), white
 * space around it allowed. Numbers may be of any size, keys may repeat, and
 * a lone surrogate is fine as an escape, as it is for JSON.parse. 0 and
 * *out, or ERR_INVALID. Everything below works only on values that come from
 * here. */
int json_parse(struct str text, struct json_value *out) MUST_USE;

/* Validate one value at the start of *rest and move *rest behind it: for
 * concatenated values. Numbers, true, false and null must be followed by
 * white space or the end. ERR_NOT_FOUND when only white space is left; *rest
 * stays where it was unless the result is 0. */
int json_parse_next(struct str *rest, struct json_value *out) MUST_USE;

/* Walk an object (by member) or an array (by item); a walk of the other kind,
 * or over a scalar, ends at once. */
struct json_iter json_iter(struct json_value v);
/* The next member; false at the end. `key` is the raw string with quotes. */
bool json_next_member(struct json_iter *it, struct str *key,
                      struct json_value *value);
bool json_next_item(struct json_iter *it, struct json_value *value);

/* The same walk without finding a value's end first, so that looking into
 * what is nested reads each byte once, however deep it is:
 *
 *     while (json_next_key(&it, &key, &type))
 *         if (type == JSON_OBJECT) {
 *             struct json_iter inner = json_enter(&it);
 *             ... walk `inner` until it ends ...
 *             json_leave(&it, &inner);
 *         } else {
 *             value = json_take(&it);
 *         }
 *
 * After each key either the value is taken or its container walked and left. */
bool json_next_key(struct json_iter *it, struct str *key, enum json_type *type);
struct json_value json_take(struct json_iter *it);
struct json_iter json_enter(const struct json_iter *it);
void json_leave(struct json_iter *it, const struct json_iter *inner);

/* Does the raw key (with quotes, maybe with escapes) spell `name`? */
bool json_key_is(struct str key, struct str name);
/* The member of that name (the last one wins, as in JSON.parse); false when
 * there is none or `object` is no object. */
bool json_member(struct json_value object, struct str name,
                 struct json_value *out);

/* Decode a JSON_STRING's text. *out points into the raw text when nothing is
 * escaped, else to what was appended to scratch (whose bytes it then shares;
 * later appends may move them). A lone surrogate escape decodes to U+FFFD.
 * ERR_INVALID when `v` is no string. */
int json_text(struct json_value v, struct buf *scratch, struct str *out)
    MUST_USE;
/* Integers only (no fraction, no exponent), in range; else ERR_INVALID. The
 * unsigned ones take no minus sign, not even before 0. */
int json_u32(struct json_value v, uint32_t *out) MUST_USE;
int json_u64(struct json_value v, uint64_t *out) MUST_USE;
int json_i64(struct json_value v, int64_t *out) MUST_USE;
int json_bool(struct json_value v, bool *out) MUST_USE;

/* Append a validated value without CR and LF (which are white space there);
 * everything else stays byte for byte. */
void json_compact_newlines(struct buf *to, struct str raw);
/* Append `text` as a JSON string with quotes. Control bytes, quotes and
 * backslashes are escaped; each byte that is not valid UTF-8 becomes U+FFFD.
 * U+2028/9, DEL and '/' stay. */
void json_quote(struct buf *to, struct str text);

#endif
