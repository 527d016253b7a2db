/* base64.h — OpenSSL's base64 codec behind a few calls.
 *
 *     fb ff    standard, padded: +/8=    url: -_8
 *
 * Thread: any. Bounds: the caller's; lengths are an int's to OpenSSL.
 * Uses:   OpenSSL, base/buf, base/mem. */
#ifndef WEIR_GATEWAY_AUTH_BASE64_H
#define WEIR_GATEWAY_AUTH_BASE64_H

#include "base/buf.h"

/* Append the bytes `text` stands for (standard alphabet, padded, no white
 * space); ERR_INVALID otherwise. */
int base64_decode(struct buf *to, struct str text) MUST_USE;

/* Append the text that base64_decode reads. */
void base64_encode(struct buf *to, struct str bytes);

/* Append the text of `bytes`: URL-safe alphabet, without padding. */
void base64url_encode(struct buf *to, struct str bytes);
/* ERR_INVALID for what base64url_encode does not write; `to` is as before
 * then. */
int base64url_decode(struct buf *to, struct str text) MUST_USE;

#endif
