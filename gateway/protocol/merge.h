/* merge.h — JSON Merge Patch (RFC 7396) on text.
 *
 *     state {"bid":1,"ask":2,"lot":{"a":1}}
 *     patch {"ask":3,"lot":{"a":null},"new":{"x":null,"y":0}}
 *     gives {"bid":1,"ask":3,"lot":{},"new":{"y":0}}
 *
 * Why:    a feed sends what changed, a client gets the whole; what the patch
 *         does not touch keeps its bytes, numbers of any size included.
 * Owns:   nothing that outlives the call. Thread: any.
 * Bounds: time and scratch memory grow with state + patch only, whatever
 *         their shape; nesting JSON_MAX_DEPTH, and no deeper in the result.
 * Uses:   base/, protocol/json. */
#ifndef WEIR_GATEWAY_PROTOCOL_MERGE_H
#define WEIR_GATEWAY_PROTOCOL_MERGE_H

#include "base/buf.h"
#include "base/err.h"

/* Append what becomes of `state` (one JSON value, or empty: nothing is known)
 * by `patch` (one JSON value). Neither lies in `to`. Members keep the state's
 * order, new ones follow. Names are compared as decoded text (a lone
 * surrogate escape is U+FFFD) and come once in every object the patch
 * touches or adds: the last value of a name counts. White space between
 * members of these objects is dropped, all other bytes are copied.
 * ERR_TOO_BIG when it would have more than max_bytes, ERR_INVALID when either
 * is no JSON; nothing is appended then. */
int merge_patch(struct buf *to, struct str state, struct str patch,
                size_t max_bytes) MUST_USE;

#endif
