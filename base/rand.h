/* rand.h — random numbers: secret ones from the kernel, cheap ones per owner.
 * Thread: rand_bytes any; a struct rand belongs to one thread. Uses: libc. */
#ifndef WEIR_BASE_RAND_H
#define WEIR_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rand {
    uint64_t state;
};

/* Unpredictable bytes (getrandom); aborts if the kernel has none. */
void rand_bytes(void *to, size_t n);

void rand_init(struct rand *r, uint64_t seed);
uint64_t rand_next(struct rand *r);
/* Uniform in [0, n), n > 0. */
uint64_t rand_below(struct rand *r, uint64_t n);

#define RAND_UUID_LEN 36
/* The 36 characters of a version 4 UUID made of 16 random bytes; not
 * terminated. The version and variant bits of `bytes` are set. */
void rand_uuid_init(uint8_t bytes[16]);
void rand_uuid_format(const uint8_t bytes[16], char to[RAND_UUID_LEN]);

#endif
