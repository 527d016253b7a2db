/* codec.h — what the hub needs to know about wire formats: nothing but this.
 * Why:    the hub decides who gets a publication; gateway/protocol knows what
 *         it looks like. One table of functions is the whole border.
 * Thread: encode runs on any shard; the table is constant.
 * Uses:   base/, hub/msg. */
#ifndef WEIR_HUB_CODEC_H
#define WEIR_HUB_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "hub/msg.h"

enum encoding {
    ENCODING_WS_JSON, /* centrifuge pushes in WebSocket text frames */
    ENCODING_UNI_SSE, /* centrifuge pushes as events */
    ENCODING_SSE,     /* {"channel":…,"data":…} as events */
    ENCODING_SSE_RAW, /* the bare payload as events */
    ENCODING_COUNT,
};

struct codec {
    /* Append `count` publications for subscribers of `topic` (the pattern's
     * name when is_pattern) as one run of bytes. All msgs are JSON. */
    void (*encode)(struct buf *to, enum encoding encoding, struct str topic,
                   bool is_pattern, struct msg *const *msgs, size_t count);
};

#endif
