#include "hub/frame.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/pass.h"

struct frame *frame_new(struct str bytes)
{
    struct frame *f = mem_alloc(sizeof(*f) + bytes.n);
    *f = (struct frame){.refs = 1, .len = (uint32_t)bytes.n};
    if (bytes.n)
        memcpy(f->bytes, bytes.p, bytes.n);
    return f;
}

struct frame *frame_behind(struct str bytes, const struct frame *f)
{
    size_t n = bytes.n + f->len;
    struct frame *to = mem_alloc(sizeof(*to) + n);
    *to = (struct frame){
        .refs = 1,
        .len = (uint32_t)n,
        .publications = f->publications,
        .born_ns = f->born_ns,
        .urgent = true,
    };
    memcpy(to->bytes, bytes.p, bytes.n);
    memcpy(to->bytes + bytes.n, f->bytes, f->len);
    return to;
}

void frame_unref(struct frame *f)
{
    if (--f->refs)
        return;
    if (f->pass)
        pass_unref(f->pass);
    free(f);
}
