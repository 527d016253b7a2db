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

void frame_unref(struct frame *f)
{
    if (--f->refs)
        return;
    if (f->pass)
        pass_unref(f->pass);
    free(f);
}
