/* sse.h — event streams: our plain one and centrifuge's unidirectional one.
 *
 *     GET /sse?channel=a&channel=ns:b.*   data: {"channel":"a","data":…}
 *     GET /connection/uni_sse?cf_connect= data: {"channel":"a","pub":{…}}
 *
 * A stream takes its socket from http.h and is a session like any other: it
 * subscribes, has a bounded queue and is closed with a code, which it is
 * told in a last event.
 *
 * Owns:   its connections. Thread: the loop's.
 * Bounds: sse.channel_limit channels; what a client sends on an open stream
 *         is read and thrown away, up to SSE_INPUT_MAX bytes.
 * Uses:   libuv, gateway/session, gateway/rules, transport/http. */
#ifndef WEIR_GATEWAY_TRANSPORT_SSE_H
#define WEIR_GATEWAY_TRANSPORT_SSE_H

#include "gateway/transport/http.h"

#define SSE_INPUT_MAX 65536

/* Route handlers. */
void sse_handle_plain(struct http_exchange *x, const struct http_request *r);
void sse_handle_uni(struct http_exchange *x, const struct http_request *r);

#endif
