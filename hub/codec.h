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
    ENCODING_SSE_ID,  /* the last two with an id: where the channel stands */
    ENCODING_SSE_RAW_ID,
    ENCODING_COUNT,
};

static inline bool encoding_has_ids(uint8_t e)
{
    return e == ENCODING_SSE_ID || e == ENCODING_SSE_RAW_ID;
}

/* A publication as one delivery of it looks. */
struct codec_pub {
    const struct msg *msg; /* borrowed */
    uint32_t n;            /* how many it stands for, itself included */
    uint32_t lost;         /* how many before it the client did not get */
    uint32_t age_ms;       /* since it entered this node */
    uint64_t offset;       /* what is told of it; 0: none */
    bool annotate;         /* tell n and age_ms; lost is told if not 0 */
};

struct codec {
    /* Append `count` publications for subscribers of `topic` (the pattern's
     * name when is_pattern) as one run of bytes. All msgs are JSON. What is
     * told besides goes into the publication's tags, in place of tags of
     * that name: "n", "age_ms", "lost" with decimal numbers as strings. */
    void (*encode)(struct buf *to, enum encoding encoding, struct str topic,
                   bool is_pattern, const struct codec_pub *pubs, size_t count);
    /* Append what RFC 7396 makes of `state` (valid JSON, or empty: nothing is
     * known) by `patch` (valid JSON). Both without raw newlines, and so is
     * the result. ERR_TOO_BIG, and nothing appended, when it would have more
     * than max_bytes. */
    int (*merge)(struct buf *to, struct str state, struct str patch,
                 size_t max_bytes);
};

#endif
