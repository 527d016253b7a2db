/* err.h — the one vocabulary of failures inside weir.
 * Why:    functions that can fail return 0 or one of these, negated by
 *         nature, so that `if (rc < 0)` is the only test anybody writes.
 * Thread: any. Uses: nothing. */
#ifndef WEIR_BASE_ERR_H
#define WEIR_BASE_ERR_H

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

enum err {
    ERR_AGAIN = -1,   /* would block or not yet: try later */
    ERR_FULL = -2,    /* a bound was reached */
    ERR_INVALID = -3, /* the input breaks the grammar */
    ERR_NOT_FOUND = -4,
    ERR_EXISTS = -5,
    ERR_CLOSED = -6, /* the other side is gone */
    ERR_SYSTEM = -7, /* a system or library call failed; see errno or log */
    ERR_TOO_BIG = -8,
};

#endif
