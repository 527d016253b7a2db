#include "gateway/route.h"

#include "gateway/api/api.h"
#include "gateway/api/metrics.h"
#include "gateway/api/pages.h"
#include "gateway/app.h"
#include "gateway/transport/sse.h"

/* Paths without a body of their own still take a small one politely. */
#define SMALL_BODY 65536

static bool is_below(struct str path, struct str prefix)
{
    return str_starts(path, prefix) && path.n > prefix.n &&
           path.p[prefix.n] == '/';
}

struct route route_find(const struct app *app, struct str path)
{
    const struct config *cfg = app->config;
    if (!cfg->http_api.disabled &&
        is_below(path, str_of(cfg->http_api.handler_prefix)))
        return (struct route){api_handle, api_admit,
                              (size_t)cfg->http_server.max_body_size, false};
    if (!cfg->websocket.disabled &&
        str_eq(path, str_of(cfg->websocket.handler_prefix)))
        return (struct route){.is_websocket = true};
    if (cfg->sse.enabled && str_eq(path, str_of(cfg->sse.handler_prefix)))
        return (struct route){sse_handle_plain, NULL, SMALL_BODY, false};
    if (cfg->uni_sse.enabled &&
        str_eq(path, str_of(cfg->uni_sse.handler_prefix)))
        return (struct route){sse_handle_uni, NULL,
                              (size_t)cfg->uni_sse.max_request_body_size,
                              false};
    if (cfg->health.enabled && str_eq(path, str_of(cfg->health.handler_prefix)))
        return (struct route){metrics_handle_health, NULL, SMALL_BODY, false};
    if (cfg->prometheus.enabled &&
        str_eq(path, str_of(cfg->prometheus.handler_prefix)))
        return (struct route){metrics_handle, NULL, SMALL_BODY, false};
    /* Last: a path of its own may be below it. */
    if (cfg->sse.enabled && is_below(path, str_of(cfg->sse.handler_prefix)))
        return (struct route){sse_handle_control, NULL, SSE_CONTROL_MAX, false};
    if (app->pages)
        return (struct route){pages_handle, NULL, SMALL_BODY, false};
    return (struct route){.body_max = SMALL_BODY};
}
