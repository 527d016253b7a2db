/* codes.h — every error, unsubscribe and disconnect code users can see.
 * Why:    one table for WebSocket, SSE, the API and the documentation.
 * Thread: any; constant. Uses: base/str. */
#ifndef WEIR_GATEWAY_PROTOCOL_CODES_H
#define WEIR_GATEWAY_PROTOCOL_CODES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* X(name, code, temporary, HTTP status, message) */
#define CODE_ERRORS(X)                                           \
    X(INTERNAL, 100, true, 500, "internal server error")         \
    X(UNAUTHORIZED, 101, false, 401, "unauthorized")             \
    X(UNKNOWN_CHANNEL, 102, false, 404, "unknown channel")       \
    X(PERMISSION_DENIED, 103, false, 403, "permission denied")   \
    X(METHOD_NOT_FOUND, 104, false, 404, "method not found")     \
    X(ALREADY_SUBSCRIBED, 105, false, 400, "already subscribed") \
    X(LIMIT_EXCEEDED, 106, false, 400, "limit exceeded")         \
    X(BAD_REQUEST, 107, false, 400, "bad request")               \
    X(NOT_AVAILABLE, 108, false, 400, "not available")           \
    X(TOKEN_EXPIRED, 109, false, 401, "token expired")           \
    X(EXPIRED, 110, false, 401, "expired")                       \
    X(TOO_MANY_REQUESTS, 111, true, 429, "too many requests")    \
    X(UNRECOVERABLE, 112, false, 416, "unrecoverable position")  \
    X(CONFLICT, 113, true, 409, "concurrent pagination")

/* X(name, code, reason) */
#define CODE_DISCONNECTS(X)                          \
    X(CLOSED, 3000, "connection closed")             \
    X(SHUTDOWN, 3001, "shutdown")                    \
    X(INTERNAL, 3004, "internal server error")       \
    X(EXPIRED, 3005, "connection expired")           \
    X(SUB_EXPIRED, 3006, "subscription expired")     \
    X(SLOW, 3008, "slow")                            \
    X(WRITE_ERROR, 3009, "write error")              \
    X(INSUFFICIENT, 3010, "insufficient state")      \
    X(FORCE_RECONNECT, 3011, "force reconnect")      \
    X(NO_PONG, 3012, "no pong")                      \
    X(TOO_MANY_REQUESTS, 3013, "too many requests")  \
    X(INVALID_TOKEN, 3500, "invalid token")          \
    X(BAD_REQUEST, 3501, "bad request")              \
    X(STALE, 3502, "stale")                          \
    X(FORCE, 3503, "force disconnect")               \
    X(CONNECTION_LIMIT, 3504, "connection limit")    \
    X(CHANNEL_LIMIT, 3505, "channel limit")          \
    X(INAPPROPRIATE, 3506, "inappropriate protocol") \
    X(PERMISSION_DENIED, 3507, "permission denied")  \
    X(NOT_AVAILABLE, 3508, "not available")

enum error_code {
#define ENTRY(name, code, temporary, status, message) ERROR_##name = code,
    CODE_ERRORS(ENTRY)
#undef ENTRY
};

enum disconnect_code {
#define ENTRY(name, code, reason) DISCONNECT_##name = code,
    CODE_DISCONNECTS(ENTRY)
#undef ENTRY
};

/* Sent by the server to take a subscription away. */
#define UNSUBSCRIBE_SERVER 2000
/* It missed something, and is to subscribe again. */
#define UNSUBSCRIBE_INSUFFICIENT 2500

struct error_info {
    uint32_t code;
    bool temporary;
    int http_status;
    struct str message;
};

/* The row of a code in the table; code 100's for one that is not in it. */
const struct error_info *error_info(uint32_t code);
/* Never empty: SDKs decide by the code only when there is a reason. */
struct str disconnect_reason(uint32_t code);

/* What a unidirectional client is told when its connect fails. */
uint32_t disconnect_for_error(uint32_t error);

#endif
