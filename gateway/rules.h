/* rules.h — which channel names may stand where, and who may do what there.
 * Why:    WebSocket, SSE and the API ask the same questions and must get the
 *         same answers.
 * Thread: any (reads the immutable config). Uses: gateway/config,
 *         hub/channel, protocol/codes. */
#ifndef WEIR_GATEWAY_RULES_H
#define WEIR_GATEWAY_RULES_H

#include "gateway/config.h"
#include "hub/channel.h"

struct rules_channel {
    struct channel_name name;
    const struct namespace_options *options; /* borrowed: the config's */
};

enum rules_use {
    RULES_CONCRETE,            /* publish: a pattern is refused */
    RULES_CONCRETE_OR_PATTERN, /* subscribe */
};

/* 0, or the protocol's error: 107 (grammar, length, regex, a pattern where
 * none may be), 102 (no such namespace), 103 (a private channel of one). */
uint32_t rules_channel(const struct config *cfg, struct str name,
                       enum rules_use use, struct rules_channel *out);

/* Whether a client of this user ("" is anonymous) may subscribe: 0 or 103. */
uint32_t rules_subscribe(const struct config *cfg,
                         const struct rules_channel *ch, struct str user);
/* The same for publishing; `subscribed`: it has a live subscription there. */
uint32_t rules_publish(const struct config *cfg, const struct rules_channel *ch,
                       struct str user, bool subscribed);
/* The same for reading its history. */
uint32_t rules_history(const struct config *cfg, const struct rules_channel *ch,
                       struct str user, bool subscribed);
/* May somebody without credentials connect? */
bool rules_anonymous(const struct config *cfg);

#endif
