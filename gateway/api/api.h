/* api.h — the server API: POST /api/<method>.
 *
 *     request -> key -> method table -> task ... -> {"result":…} or {"error":…}
 *
 * A task is one command on its way: it may finish at once or when the bus or
 * other shards have answered. broadcast and batch are tasks with children.
 *
 * Owns:   its tasks. Thread: the loop that took the request.
 * Bounds: body http_server.max_body_size; API_MAX_CHILDREN channels of a
 *         broadcast or commands of a batch; API_HISTORIES_MAX_BYTES of
 *         publications in a batch: histories over it are error 107.
 * Uses:   hub/, protocol/json, transport/http, publish, session. */
#ifndef WEIR_GATEWAY_API_API_H
#define WEIR_GATEWAY_API_API_H

#include "gateway/transport/http.h"

struct app;

#define API_MAX_CHILDREN 10000
#define API_HISTORIES_MAX_BYTES (32 * 1024 * 1024)

/* Is the API key right (or none needed)? Asked before the body is read. */
bool api_admit(const struct app *app, const struct http_request *r);
/* Route handler. */
void api_handle(struct http_exchange *x, const struct http_request *r);

#endif
