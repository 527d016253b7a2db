/* event_id.h — the ids of SSE events: where a stream of events goes on.
 *
 *     one recoverable channel   k3Xq_a0Z:17          epoch:offset
 *     several                   ~AgECAwQFBg...       base64url, unpadded, of
 *
 *         [1 byte: channels]
 *         [6 bytes: name][6 bytes: epoch][1..10 bytes: offset]   each channel
 *
 *     Numbers are little endian, the offset is LEB128. The name is the low 48
 *     bits of the unseeded XXH3 of the channel's name: the same on every node.
 *
 * Why:    a browser sends the last id back by itself (Last-Event-ID), to any
 *         node; it must say everything and fit into a header line.
 * Owns:   nothing. Thread: any.
 * Bounds: EVENT_ID_MAX_CHANNELS, EVENT_ID_MAX_BYTES. There is one text for
 *         each id: what is not written here is not read.
 * Uses:   base/, xxhash, gateway/auth/base64, hub/position. */
#ifndef WEIR_GATEWAY_PROTOCOL_EVENT_ID_H
#define WEIR_GATEWAY_PROTOCOL_EVENT_ID_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "hub/position.h"

#define EVENT_ID_MAX_CHANNELS 32
#define EVENT_ID_MAX_BYTES 1024
#define EVENT_ID_ONE_MAX_BYTES (POSITION_EPOCH_LEN + 1 + 20)
#define EVENT_ID_NAME_MAX ((UINT64_C(1) << 48) - 1)

enum event_id_kind {
    EVENT_ID_ONE,
    EVENT_ID_MANY,
};

struct event_id_entry {
    uint64_t name; /* event_id_name; 0 in EVENT_ID_ONE, which has none */
    struct position position;
};

struct event_id {
    enum event_id_kind kind;
    size_t count; /* 1..EVENT_ID_MAX_CHANNELS; of EVENT_ID_ONE: 1 */
    struct event_id_entry entries[EVENT_ID_MAX_CHANNELS];
};

/* What an id calls the channel. Keep it: it is made from the whole name. */
uint64_t event_id_name(struct str channel);

/* The id of one channel, into `to`; returns its length. `p.epoch` is one. */
static inline size_t event_id_write_one(char to[EVENT_ID_ONE_MAX_BYTES],
                                        struct position p)
{
    char digits[20];
    size_t at = sizeof(digits);
    position_epoch_format(p.epoch, to);
    to[POSITION_EPOCH_LEN] = ':';
    do {
        digits[--at] = (char)('0' + p.offset % 10);
        p.offset /= 10;
    } while (p.offset);
    memcpy(to + POSITION_EPOCH_LEN + 1, digits + at, sizeof(digits) - at);
    return POSITION_EPOCH_LEN + 1 + sizeof(digits) - at;
}

/* The same, appended. */
void event_id_add_one(struct buf *to, struct position p);

/* Append the id of `count` channels, in their order. ERR_INVALID, and nothing
 * appended, when no id can say it: no channel or too many, two with one name
 * (clients choose names, and 48 bits can be made to collide), a name or an
 * epoch that is none. */
int event_id_add_many(struct buf *to, const struct event_id_entry *entries,
                      size_t count) MUST_USE;

/* ERR_INVALID for what the functions above do not write. */
int event_id_parse(struct str text, struct event_id *out) MUST_USE;

/* The position of a channel by its event_id_name; NULL when the id does not
 * say it. An EVENT_ID_ONE does not say whose its position is: NULL. */
const struct position *event_id_find(const struct event_id *id, uint64_t name);

#endif
