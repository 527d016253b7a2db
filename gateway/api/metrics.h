/* metrics.h — GET /metrics and GET /health.
 * Why:    shards count with plain integers; a scrape asks each by letter and
 *         sums, so no counter is shared between threads.
 * Thread: the loop that took the request. Uses: hub/stats, broker status. */
#ifndef WEIR_GATEWAY_API_METRICS_H
#define WEIR_GATEWAY_API_METRICS_H

#include "gateway/transport/http.h"

/* Route handlers. */
void metrics_handle(struct http_exchange *x, const struct http_request *r);
void metrics_handle_health(struct http_exchange *x,
                           const struct http_request *r);

#endif
