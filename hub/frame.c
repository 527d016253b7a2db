#include "hub/frame.h"

#include <stdlib.h>

#include "base/mem.h"

struct frame *frame_new(struct str bytes)
{
    struct frame *f = mem_alloc(sizeof(*f) + bytes.n);
    f->refs = 1;
    f->len = (uint32_t)bytes.n;
    f->publications = 0;
    f->born_ns = 0;
    if (bytes.n)
        memcpy(f->bytes, bytes.p, bytes.n);
    return f;
}

void frame_unref(struct frame *f)
{
    if (--f->refs == 0)
        free(f);
}
