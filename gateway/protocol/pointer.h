/* pointer.h — JSON pointers (RFC 6901) on text, and the item they name.
 *
 *     /book/0/sym  in  {"book":[{"sym":"\u0041"}]}  finds "\u0041",
 *                                                   names item "A"
 *
 * Owns:   nothing. Borrows: the text. Thread: any.
 * Bounds: none of its own: reads the data once, then what the pointer leads
 *         through, once for each step.
 * Uses:   base/, protocol/json. */
#ifndef WEIR_GATEWAY_PROTOCOL_POINTER_H
#define WEIR_GATEWAY_PROTOCOL_POINTER_H

#include "base/buf.h"
#include "gateway/protocol/json.h"

/* The value the pointer leads to; "" is the root. Arrays are entered by index
 * (no leading zeros; "-" is behind the end), of a repeated name the last
 * member counts. False when there is none, or for what is no pointer. */
bool pointer_find(struct str pointer, struct json_value root,
                  struct json_value *out);

/* The text that names the item: the string, number or boolean the pointer
 * leads to. Numbers are as written (1 and 1.0 are two items); strings keep
 * their quotes ("1" is not 1), and however they were escaped, equal ones give
 * equal bytes. *item lies in the data or was appended to scratch, whose next
 * append may move it. False when `data` is no JSON, nothing is found, or what
 * is found is null, an object or an array. */
bool pointer_item(struct str pointer, struct str data, struct buf *scratch,
                  struct str *item);

#endif
