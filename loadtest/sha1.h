/* sha1.h — SHA-1 and the answer to a WebSocket upgrade.
 * Why:    the bare accept server must do the same steps as the gateway, and
 *         the client checks the answer. Not for anything that needs security.
 * Owns:   nothing. Uses: libc. */
#ifndef LOADTEST_SHA1_H
#define LOADTEST_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_BYTES 20
#define SHA1_ACCEPT_SIZE 29 /* 28 characters of base64 and a NUL */

/* The digest of n bytes at p. */
void sha1(const void *p, size_t n, uint8_t out[SHA1_BYTES]);
/* Base64 with padding; out holds 4 * ceil(n / 3) characters and a NUL. */
void sha1_base64(const uint8_t *p, size_t n, char *out);
/* Sec-WebSocket-Accept for a key of at most 64 bytes (RFC 6455, 4.2.2). */
void sha1_accept(const char *key, size_t n, char out[SHA1_ACCEPT_SIZE]);

#endif
