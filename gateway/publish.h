/* publish.h — from "somebody wants to publish this" to a checked msg.
 * Why:    size, format and names are checked in one place for clients and
 *         API; NATS payloads go through the same format check and get their
 *         item here too.
 * Thread: a shard's (format check, item: any). Uses: rules, hub/msg, json,
 *         protocol/pointer. */
#ifndef WEIR_GATEWAY_PUBLISH_H
#define WEIR_GATEWAY_PUBLISH_H

#include "base/buf.h"
#include "gateway/rules.h"
#include "hub/msg.h"

struct publish_request {
    const struct rules_channel *channel;
    struct str data;     /* as sent */
    bool data_is_json;   /* data went through json_parse already */
    struct str tags;     /* a JSON object of strings, or empty */
    bool tags_are_valid; /* publish_tags_valid said so already */
    struct str info;     /* ClientInfo made by us, or empty */
    bool urgent;         /* never conflated */
    bool skip_history;   /* gets no place in the stream */
    uint64_t born_ns;
};

/* Make the msg: 0 and *out (the caller's reference), or the protocol's error
 * code: 107 for empty, over-large or wrongly formatted data, 111 when too
 * many publications are in flight on this node. */
uint32_t publish_make(const struct config *cfg, struct msg_budget *budget,
                      const struct publish_request *r, struct msg **out);

/* Fill in parts->policy, and the item that the policy's key names in `data`:
 * the channel, and keyless, when there is no such thing in it. The rest of
 * the parts stays. `scratch` is cleared first: nothing given may lie in it. */
void publish_item(const struct namespace_options *o, struct str channel,
                  struct str data, bool is_json, struct buf *scratch,
                  struct msg_parts *parts);

/* Is `tags` a JSON object whose values are all strings? */
bool publish_tags_valid(struct str tags);

#endif
