/* tune.h — how much of a channel a client gets: what it asks for, what it is
 * granted, and how it is told.
 * Why:    WebSocket, SSE and the connect request ask the same and must get
 *         the same.
 * Thread: the shard's. Bounds: TUNE_BURST changes at once and TUNE_RATE a
 *         second per client; half of client.queue_max_size for a snapshot in
 *         an answer (what is over follows as publications).
 * Uses:   throttle/, gateway/session, gateway/rules, protocol/encode. */
#ifndef WEIR_GATEWAY_TUNE_H
#define WEIR_GATEWAY_TUNE_H

#include "gateway/rules.h"
#include "gateway/session.h"
#include "hub/hub.h"

#define TUNE_BURST 20
#define TUNE_RATE 5

/* Fill the throttle part of subscribe options. */
void tune_options(const struct rules_channel *ch,
                  const struct throttle_request *request,
                  struct subscribe_options *o);
/* The same by the `data` of a subscribe request, which may be any JSON, or
 * empty: 0, or 107 when it asks for a rate or mode in a wrong way. */
uint32_t tune_options_of_data(const struct rules_channel *ch, struct str data,
                              struct subscribe_options *o);

/* A change of a subscription by its client. 0 and *granted, 103 when there is
 * no such subscription, 111 when it changes too often. Counted. */
uint32_t tune_change(struct session *s, struct str channel,
                     const struct throttle_request *request,
                     struct throttle_grant *granted);
/* The same for a subscription that may be changed now. Returns what is granted;
 * the client, and with it `sub`, may be gone. */
struct throttle_grant tune_retune(struct session *s, struct sub *sub,
                                  const struct throttle_request *request);
/* May it change something now? Takes one of its changes; counts a refusal. */
bool tune_may_change(struct session *s);

/* Append the members of a subscribe result, with braces: {} or
 * {"publications":[…],"data":{…}}. Returns how many of the snapshot it has. */
uint32_t tune_encode_result(struct buf *to, const struct sub *sub,
                            const struct sub_answer *answer);
/* {"rate":5,"mode":"latest"} as the subscription has it. */
void tune_encode_grant(struct buf *to, const struct sub *sub);
/* Queue the snapshot as ordinary publications. Returns how many. */
uint32_t tune_push_snapshot(struct session *s, struct sub *sub,
                            const struct sub_answer *answer);

#endif
