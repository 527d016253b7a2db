/* frame.h — encoded bytes ready for the wire, shared inside one shard.
 * Why:    a batch of publications is encoded once per shard and encoding;
 *         a subscriber's backlog holds a pointer.
 * Owns:   its bytes, and a reference to the pass it came from, if any.
 * Thread: one shard (the count is a plain integer).
 * Bounds: the encoder's. Uses: base/. */
#ifndef WEIR_HUB_FRAME_H
#define WEIR_HUB_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct pass;

#define FRAME_WHOLE UINT32_MAX

struct frame {
    uint32_t refs;
    uint32_t len;
    uint32_t publications; /* how many it carries; 0 for replies and pings */
    uint32_t index;        /* in the pass; FRAME_WHOLE: all of it */
    uint64_t born_ns;      /* of the oldest publication in it; 0 without */
    struct pass *pass;     /* shared: of a throttled lane, else NULL */
    bool urgent;           /* nothing may overtake it */
    char bytes[];
};

/* A copy of `bytes`, one reference, owned by the caller. */
struct frame *frame_new(struct str bytes);
/* A copy of f with bytes in front of it that say what the client has had by
 * then: nobody's of a pass, and nothing before it is taken back. */
struct frame *frame_behind(struct str bytes, const struct frame *f);
void frame_unref(struct frame *f);

static inline struct frame *frame_ref(struct frame *f)
{
    f->refs++;
    return f;
}

#endif
