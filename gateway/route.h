/* route.h — one table: which path is served by whom.
 * Thread: any loop's. Uses: gateway/transport/http. */
#ifndef WEIR_GATEWAY_ROUTE_H
#define WEIR_GATEWAY_ROUTE_H

#include <stddef.h>

#include "gateway/transport/http.h"

struct app;

typedef void (*route_fn)(struct http_exchange *x, const struct http_request *r);

struct route {
    route_fn handle; /* NULL: no such path */
    /* NULL, or asked when the head is there, before a body is read: false
     * refuses with 401. */
    bool (*admit)(const struct app *app, const struct http_request *r);
    size_t body_max; /* bytes of request body it takes */
    bool is_websocket;
};

/* By path (and the configuration: what is switched off is not there). */
struct route route_find(const struct app *app, struct str path);

#endif
