/* command.h — one client command, taken apart.
 *
 *     {"subscribe":{"channel":"a"},"id":2}  ->  kind SUBSCRIBE, id 2, body
 *
 * Owns:   nothing: slices of the text. Thread: any. Uses: protocol/json. */
#ifndef WEIR_GATEWAY_PROTOCOL_COMMAND_H
#define WEIR_GATEWAY_PROTOCOL_COMMAND_H

#include "base/err.h"
#include "gateway/protocol/json.h"

/* X(kind, JSON key), in the order in which the first non-null one wins. */
/* clang-format off */
#define COMMAND_KINDS(X)                \
    X(CONNECT, "connect")               \
    X(SUBSCRIBE, "subscribe")           \
    X(UNSUBSCRIBE, "unsubscribe")       \
    X(PUBLISH, "publish")               \
    X(PRESENCE, "presence")             \
    X(PRESENCE_STATS, "presence_stats") \
    X(HISTORY, "history")               \
    X(RPC, "rpc")                       \
    X(SEND, "send")                     \
    X(REFRESH, "refresh")               \
    X(SUB_REFRESH, "sub_refresh")       \
    X(PING, "ping")
/* clang-format on */

enum command_kind {
#define ENTRY(kind, key) COMMAND_##kind,
    COMMAND_KINDS(ENTRY)
#undef ENTRY
        COMMAND_NONE,
};

struct command {
    uint32_t id;
    enum command_kind kind;
    struct json_value body; /* an object, unless kind is NONE */
};

/* `text` is one command. ERR_INVALID for anything but one JSON object whose
 * id is a uint32 and whose request is an object. */
int command_parse(struct str text, struct command *out) MUST_USE;

/* The fields requests share; absent ones are empty. ERR_INVALID when one has
 * the wrong type. `strings` holds what had escapes and must outlive *out. */
struct command_fields {
    struct str channel;
    struct str token;
    struct str data;        /* raw JSON, empty when absent */
    struct json_value subs; /* connect: type JSON_NULL when absent */
    struct str delta;
    struct str method;        /* of an rpc */
    struct json_value filter; /* tf: type JSON_NULL when absent */
    int64_t type;             /* of a subscription or publication; 0: stream */
    bool recover;
    bool positioned;
    bool recoverable;
    bool reverse;
    int64_t flag;
    int32_t limit; /* of a history */
    /* The position of a subscription, or of a history's `since`. */
    bool has_since;
    uint64_t offset;
    struct str epoch;
};

/* Bits of a subscription's flag. */
#define COMMAND_FLAG_REJECT 2 /* an error when it is not recovered */

int command_fields(struct json_value body, struct buf *strings,
                   struct command_fields *out) MUST_USE;

#endif
