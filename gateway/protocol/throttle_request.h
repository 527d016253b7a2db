/* throttle_request.h — what a client asks for, out of its JSON.
 *
 *     {"rate":2e-1,"mode":"latest"}      0.2/s, newest of each item
 *
 * Why:    a subscribe, the RPC and a POST to an event stream ask alike.
 * Thread: any. Uses: throttle/policy, protocol/json. */
#ifndef WEIR_GATEWAY_PROTOCOL_THROTTLE_REQUEST_H
#define WEIR_GATEWAY_PROTOCOL_THROTTLE_REQUEST_H

#include "gateway/protocol/json.h"
#include "throttle/policy.h"

/* Read the members rate and mode of `data`; others are not looked at. What is
 * absent or null is not asked for, and so is everything of what is no object.
 * Rates are cut to whole millihertz, but positive ones do not become 0, and
 * are at most THROTTLE_RATE_MAX. ERR_INVALID for a rate that is no number or
 * negative, and for a mode that is no mode's name. */
int throttle_request_read(struct json_value data, struct throttle_request *out)
    MUST_USE;

#endif
