#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/rand.h"

/* The one global that is written: once, before there are threads. */
static uint64_t seed;

uint64_t hash_bytes(const void *p, size_t n)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

void hash_seed(void)
{
    rand_bytes(&seed, sizeof(seed));
}
