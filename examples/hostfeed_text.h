/* hostfeed_text.h — appends formatted text to a fixed array, never past it.
 * Owns:   nothing; the array is the caller's. Bounds: the array's size.
 * Uses:   libc. */
#ifndef HOSTFEED_TEXT_H
#define HOSTFEED_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct text {
    char *p; /* borrowed: the caller's array */
    size_t n;
    size_t max;
    bool full; /* something did not fit: what is there must not be sent */
};

__attribute__((format(printf, 2, 3))) static inline void text_add(
    struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->p + t->n, t->max - t->n, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= t->max - t->n)
        t->full = true;
    else
        t->n += (size_t)n;
}

#endif
