/* buf.h — a growable run of bytes.
 * Why:    encoders append without counting first; readers collect without
 *         fixed limits of their own. Bounds are the caller's: check before
 *         appending what a peer sent.
 * Owns:   its storage. Thread: the owner's. Uses: base/mem, base/str. */
#ifndef WEIR_BASE_BUF_H
#define WEIR_BASE_BUF_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct buf {
    char *p;  /* owned; NULL until the first append */
    size_t n; /* bytes in use */
    size_t cap;
};

#define BUF_INIT ((struct buf){NULL, 0, 0})

void buf_free(struct buf *b);                   /* back to BUF_INIT */
void buf_clear(struct buf *b);                  /* n = 0, storage kept */
char *buf_reserve(struct buf *b, size_t extra); /* room after n */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_char(struct buf *b, char c);
void buf_u64(struct buf *b, uint64_t v); /* decimal */
void buf_i64(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Drop the first n bytes, n <= b->n. */
void buf_consume(struct buf *b, size_t n);
/* The storage, which the caller frees; b is empty afterwards. */
char *buf_take(struct buf *b, size_t *n);

#define buf_lit(b, lit) buf_add(b, "" lit, sizeof(lit) - 1)

static inline struct str buf_view(const struct buf *b)
{
    return (struct str){b->p, b->n};
}

#endif
