/* mem.h — allocation that does not fail.
 * Why:    fixed-size allocations abort on failure, so callers have no dead
 *         error branches. Sizes a peer controls are bounded by config before
 *         they come here.
 * Thread: any. Uses: libc. */
#ifndef WEIR_BASE_MEM_H
#define WEIR_BASE_MEM_H

#include <stddef.h>

#define container_of(ptr, type, member) \
    ((type *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Never NULL; the caller frees. */
void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t n) __attribute__((malloc, returns_nonnull));
/* Never NULL; `p` (may be NULL) is taken. */
void *mem_realloc(void *p, size_t n) __attribute__((returns_nonnull));
/* A NUL-terminated copy of n bytes. */
char *mem_strndup(const char *p, size_t n) __attribute__((returns_nonnull));

/* Our fault, always compiled: prints the condition and aborts. */
#define CHECK(cond) ((cond) ? (void)0 : mem_panic(#cond, __FILE__, __LINE__))
void mem_panic(const char *what, const char *file, int line)
    __attribute__((noreturn, cold));

#endif
