#include "loadtest/dialect.h"

#include <string.h>

const struct dialect *dialect_find(const char *name)
{
    static const struct dialect *const all[] = {
        &dialect_ws,       &dialect_sse,     &dialect_nchan_ws,
        &dialect_nats_ws,  &dialect_bare_ws, &dialect_nchan_sse,
        &dialect_bare_sse,
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

const struct dialect *dialect_bare(const struct dialect *d)
{
    bool stream = d == &dialect_sse || d == &dialect_nchan_sse;
    return stream ? &dialect_bare_sse : &dialect_bare_ws;
}

size_t dialect_head(const char *p, size_t n)
{
    const char *end = memmem(p, n, "\r\n\r\n", 4);
    return end == NULL ? 0 : (size_t)(end - p) + 4;
}

int dialect_line(const char *p, size_t n)
{
    size_t length = 0;
    while (length < n && length < 100 && p[length] != '\r' && p[length] != '\n')
        length++;
    return (int)length;
}
