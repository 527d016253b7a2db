/* app.h — what all threads of a node share: read-only after start, plus a
 * few atomic counters.
 * Owns:   everything it points to. Thread: built and freed by main; read by
 *         all. Uses: gateway/config, hub/. */
#ifndef WEIR_GATEWAY_APP_H
#define WEIR_GATEWAY_APP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/config.h"
#include "hub/hub.h"

struct loop;
struct nats_broker;
struct pages;

struct app {
    const struct config *config; /* owned */
    struct hub hub;
    struct loop **loops;      /* owned: one per shard */
    struct nats_broker *nats; /* owned; NULL in-process */
    struct pages *pages;      /* owned; NULL without web.enabled */
    uint64_t started_ns;
    uint16_t port; /* the one really listened on */
    char node_id[37];
    char node_name[256];
    int connection_limit;    /* sockets: what the fd limit allows */
    _Atomic int connections; /* sockets accepted and not closed */
    _Atomic int sessions;    /* WebSocket and SSE clients among them */
    _Atomic bool draining;
};

#endif
