/* encode.h — centrifuge replies and pushes as JSON, and the hub's codec.
 *
 *     {"id":2,"subscribe":{}}
 *     {"push":{"channel":"a","pub":{"data":{"x":1}}}}
 *     data: {"channel":"a","data":{"x":1},"tags":{"n":"7","age_ms":"120"}}
 *
 * Why:    zero values are left out as the protocol wants; payloads are
 *         copied byte for byte.
 * Thread: any. Uses: base/, hub/codec, throttle/policy, protocol/json,
 *         protocol/event_id. */
#ifndef WEIR_GATEWAY_PROTOCOL_ENCODE_H
#define WEIR_GATEWAY_PROTOCOL_ENCODE_H

#include "base/buf.h"
#include "hub/codec.h"
#include "hub/position.h"
#include "throttle/policy.h"

/* The table hub_options.codec wants. */
extern const struct codec encode_codec;

/* {"id":N,"error":{…}} */
void encode_error_reply(struct buf *to, uint32_t id, uint32_t error);
/* {"id":N,"<name>":{}} */
void encode_empty_reply(struct buf *to, uint32_t id, struct str name);
/* {"code":…,"message":"…"} with "temporary":true where it holds. */
void encode_error(struct buf *to, uint32_t error);

struct connect_result {
    struct str client;  /* UUID text */
    struct str session; /* only on unidirectional transports */
    uint32_t ping_s;    /* 0: no pings */
    bool pong;
    struct str subs; /* the members of the `subs` object, or empty */
};
/* The members of a connect result, with braces. */
void encode_connect(struct buf *to, const struct connect_result *r);

/* {"push":{"channel":"c","<name>":<body>}}; without the wrapper when uni. */
void encode_push(struct buf *to, bool uni, struct str channel, struct str name,
                 struct str body);
/* [{"data":…,"info":…,"tags":…},…]: the publications of a subscribe result,
 * each as in a push. */
void encode_snapshot(struct buf *to, bool is_pattern,
                     const struct codec_pub *pubs, size_t count);
/* {"rate":5,"mode":"latest"}; with "snapshot":false where a snapshot was to be
 * expected and there is none. */
void encode_throttle_grant(struct buf *to, struct throttle_grant g,
                           bool tell_no_snapshot);

/* "epoch":"k3Xq_a0Z" */
void encode_epoch(struct buf *to, uint64_t epoch);
/* {"publications":[…],"epoch":"…","offset":N}; a publication that is not JSON
 * has "b64data" instead of "data". */
void encode_history(struct buf *to, struct position at, struct msg *const *msgs,
                    uint32_t count);

/* {"code":N,"reason":"…"} */
void encode_code_reason(struct buf *to, uint32_t code, struct str reason);

/* ClientInfo: {"user":"…","client":"<uuid>"} */
void encode_client_info(struct buf *to, struct str user, struct str client);

#endif
