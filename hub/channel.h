/* channel.h — the grammar of channel names, patterns and NATS subjects.
 *
 *     news:eu.politics      namespace "news", tokens "eu" and "politics"
 *     news:eu.*  news:>     patterns: `*` one token, `>` one or more at the end
 *     weir.pub.news.eu.politics    the subject of the first one
 *     weir.pub._.caf=C3=A9         channel "café" of no namespace
 *
 * Why:    one place decides what a name is, for clients, API and the bus.
 * Owns:   nothing. Thread: any. Bounds: CHANNEL_MAX_BYTES.
 * Uses:   base/. */
#ifndef WEIR_HUB_CHANNEL_H
#define WEIR_HUB_CHANNEL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define CHANNEL_MAX_BYTES 255

struct channel_name {
    struct str full;
    struct str ns;   /* "" when the name has no `:` */
    struct str rest; /* what follows the first `:` */
    bool is_pattern; /* some token is `*`, or the last is `>` */
};

/* Split and check. ERR_TOO_BIG over CHANNEL_MAX_BYTES, ERR_INVALID for an
 * empty name or token, a space or control byte (0..31, 127), a namespace not
 * matching ^[-a-zA-Z0-9_]{2,64}$ when there is a `:`, or `>` before the last
 * token. A `*` or `>` inside a longer token is an ordinary byte. A pattern
 * is well-formed here; whether one may stand here is the caller's question.
 * Bytes above 127 pass. */
int channel_parse(struct str name, struct channel_name *out) MUST_USE;

/* Does a well-formed pattern (or plain name) match a concrete name, that is a
 * well-formed one that is no pattern? The namespaces must be equal byte for
 * byte, and none is equal only to none. O(bytes). */
bool channel_matches(struct str pattern, struct str name);

/* Append the tokens' escaped form: `.`-separated, bytes outside
 * [A-Za-z0-9_-] as =XX (upper-case hex); whole-token wildcards stay bare
 * only when `pattern`. */
void channel_escape(struct buf *to, struct str rest, bool pattern);

/* Undo channel_escape, appending to `to`. ERR_INVALID, and nothing appended,
 * for anything channel_escape does not produce from the rest of a well-formed
 * concrete name: lower-case or needless escapes, whole-token wildcards bare
 * or escaped, empty tokens, spaces and control bytes, too many bytes. So one
 * channel has one subject, and no subject becomes a pattern. What is left to
 * the caller is channel_parse of the full name: without a namespace a `:` in
 * the result would start one, and the length limit is that of the whole. */
int channel_unescape(struct buf *to, struct str escaped) MUST_USE;

#endif
