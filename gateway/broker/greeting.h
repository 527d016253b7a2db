/* greeting.h — what a nats-server says first, before anybody asks.
 *
 *     INFO {"server_id":"…","version":"2.9.10",…}
 *
 * Why:    nats.c 3.4.1 reads it and does not tell; the version says what a
 *         stream costs.
 * Owns:   nothing. Thread: any; waits for the server, GREETING_WAIT_MS for
 *         each step. Bounds: GREETING_MAX_BYTES.
 * Uses:   base/, gateway/protocol/json, sockets. */
#ifndef WEIR_GATEWAY_BROKER_GREETING_H
#define WEIR_GATEWAY_BROKER_GREETING_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define GREETING_WAIT_MS 1000
#define GREETING_MAX_BYTES 8192

/* Of a version "2.9.10": 2009010. */
#define GREETING_VERSION(major, minor, patch) \
    ((uint32_t)(major)*1000000 + (uint32_t)(minor)*1000 + (uint32_t)(patch))

/* The server at a URL as nats.c prints it: 0 and *version, or ERR_SYSTEM when
 * it does not answer like a nats-server. */
int greeting_version(const char *url, uint32_t *version) MUST_USE;

/* From the first line that was received. */
int greeting_parse(struct str line, uint32_t *version) MUST_USE;

#endif
