/* server.h — a node: config in, everything started in the right order, and
 * stopped in the reverse one.
 *
 *     hub -> loops -> broker (first attempt) -> listeners -> threads
 *
 * Thread: main. Uses: the rest of gateway/. */
#ifndef WEIR_GATEWAY_SERVER_H
#define WEIR_GATEWAY_SERVER_H

#include "base/err.h"
#include "gateway/app.h"

struct ws_app;

/* What the configuration says about the hub. */
void server_hub_options(const struct config *cfg, unsigned shards,
                        struct hub_options *out);

/* Start a node; takes cfg. 0 and *out, or an error with a message in err
 * (cfg is freed). */
int server_start(struct config *cfg, const struct ws_app *ws, struct app **out,
                 char *err, size_t errlen) MUST_USE;
/* Say goodbye to everybody and wait until all threads are done. */
void server_stop(struct app *app);

#endif
