/* options.h — the configuration in nats.c's words.
 * Why:    two dozen setters whose results matter, away from what happens
 *         while connected.
 * Owns:   nothing. Thread: any. Bounds: OPTIONS_SERVERS_MAX servers.
 * Uses:   base/, gateway/config, nats.c. */
#ifndef WEIR_GATEWAY_BROKER_OPTIONS_H
#define WEIR_GATEWAY_BROKER_OPTIONS_H

#include <stddef.h>

#include <nats/nats.h>

#include "base/str.h"
#include "gateway/config.h"

#define OPTIONS_SERVERS_MAX 64

/* *out is the caller's to destroy, also when the status is not NATS_OK
 * (it may be NULL then). Callbacks are the caller's to set. */
natsStatus options_make(const struct config *cfg, natsOptions **out);

/* A server's URL without user and password, for the log; cut to `size`. */
struct str options_bare_url(const char *url, char *to, size_t size);

#endif
