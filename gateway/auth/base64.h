/* base64.h — OpenSSL's base64 decoder behind one call.
 * Thread: any. Uses: OpenSSL, base/buf. */
#ifndef WEIR_GATEWAY_AUTH_BASE64_H
#define WEIR_GATEWAY_AUTH_BASE64_H

#include "base/buf.h"

/* Append the bytes `text` stands for (standard alphabet, padded, no white
 * space); ERR_INVALID otherwise. */
int base64_decode(struct buf *to, struct str text) MUST_USE;

#endif
