/* hash.h — the hash of every table here: uthash on seeded XXH3.
 * Why:    names come from clients; with a seed of its own per process nobody
 *         can choose names that share a bucket.
 * Owns:   the seed. Thread: hash_seed before threads, hash_bytes any.
 * Uses:   xxhash, uthash. Include this instead of uthash.h. */
#ifndef WEIR_BASE_HASH_H
#define WEIR_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_FUNCTION(key, len, hashv) \
    ((hashv) = (unsigned)hash_bytes((key), (len)))
#include <uthash.h>

uint64_t hash_bytes(const void *p, size_t n);

/* Take a random seed; without this call the seed is fixed (tests). Not
 * while any table has entries. */
void hash_seed(void);

#endif
