/* recover.h — what of a channel's stream a client gets: what it asks for, what
 * it may have, and how it is told.
 *
 *     {"recoverable":true,"recover":true,"offset":7,"epoch":"aBcD"}
 *     -> {"recoverable":true,"epoch":…,"publications":[…],"recovered":true,
 *         "offset":7,"positioned":true,"was_recovering":true}
 *
 * Why:    WebSocket, SSE, the connect request and the API ask the same and
 *         must get the same.
 * Thread: the shard's. Bounds: an answer with all that was missed must fit into
 *         the client's queue (recover_fits).
 * Uses:   hub/, gateway/rules, gateway/session. */
#ifndef WEIR_GATEWAY_RECOVER_H
#define WEIR_GATEWAY_RECOVER_H

#include "gateway/rules.h"
#include "gateway/session.h"
#include "hub/hub.h"

struct recover_request {
    bool positioned;
    bool recoverable;
    bool recover;
    bool reject; /* an error instead of recovered:false */
    enum latest latest;
    uint64_t offset;
    struct str epoch; /* as sent; "": any */
};

/* Fill in the stream's part of subscribe options: what the namespace forces,
 * and what is asked for and allowed. A pattern gets nothing. */
void recover_options(const struct config *cfg, const struct rules_channel *ch,
                     struct str user, const struct recover_request *request,
                     struct subscribe_options *o);
/* An epoch as sent, for position_wish and history_op: *foreign when it cannot
 * be one of ours. */
void recover_epoch(struct str text, uint64_t *epoch, bool *foreign);

/* Will the reply fit with everything that was missed? (Snapshots always do:
 * what does not fit follows.) */
bool recover_fits(const struct session *s, const struct sub *sub,
                  const struct sub_answer *answer);
/* Count what became of a recovery. */
void recover_count(struct shard *shard, const struct sub *sub,
                   const struct sub_answer *answer);
/* Append the members of a subscribe result or push about the stream, each with
 * a comma behind it. */
void recover_encode(struct buf *to, const struct sub *sub,
                    const struct sub_answer *answer);

#endif
