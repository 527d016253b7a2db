/* sse.h — event streams: our plain one and centrifuge's unidirectional one.
 *
 *     GET /sse?channel=a&channel=ns:b.*   data: {"channel":"a","data":…}
 *     GET /connection/uni_sse?cf_connect= data: {"channel":"a","pub":{…}}
 *     POST /sse/<session>                 changes what the first one brings
 *
 * A stream takes its socket from http.h and is a session like any other: it
 * subscribes, has a bounded queue and is closed with a code, which it is
 * told in a last event. A POST may arrive at any shard of any node; it finds
 * the stream by its session's name.
 *
 * Owns:   its connections. Thread: the loop's.
 * Bounds: sse.channel_limit channels; what a client sends on an open stream
 *         is read and thrown away, up to SSE_INPUT_MAX bytes; the body of a
 *         POST SSE_CONTROL_MAX; one change of a stream at a time.
 * Uses:   libuv, gateway/session, gateway/rules, transport/http, hub/broker. */
#ifndef WEIR_GATEWAY_TRANSPORT_SSE_H
#define WEIR_GATEWAY_TRANSPORT_SSE_H

#include "gateway/transport/http.h"
#include "hub/broker.h"

#define SSE_INPUT_MAX 65536
/* Together with the session's name it fits into a question to another node. */
#define SSE_CONTROL_MAX (NODE_MAX_BYTES - 256)

/* Route handlers. */
void sse_handle_plain(struct http_exchange *x, const struct http_request *r);
void sse_handle_uni(struct http_exchange *x, const struct http_request *r);
void sse_handle_control(struct http_exchange *x, const struct http_request *r);

/* broker.asked: a POST that arrived at another node. `app` is ours. */
void sse_control_asked(void *app, struct node_request *r);

#endif
