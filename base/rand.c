#include "base/rand.h"

#include <errno.h>
#include <sys/random.h>

#include "base/mem.h"

void rand_bytes(void *to, size_t n)
{
    char *p = to;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got == -1 && errno == EINTR)
            continue;
        CHECK(got > 0);
        p += got;
        n -= (size_t)got;
    }
}

/* SplitMix64: one add and three multiplications, good enough for jitter and
 * tests, never for secrets. */
void rand_init(struct rand *r, uint64_t seed)
{
    r->state = seed;
}

uint64_t rand_next(struct rand *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rand_below(struct rand *r, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)rand_next(r) * n) >> 64);
}

void rand_uuid_init(uint8_t bytes[16])
{
    rand_bytes(bytes, 16);
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
}

void rand_uuid_format(const uint8_t bytes[16], char to[RAND_UUID_LEN])
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            to[at++] = '-';
        to[at++] = hex[bytes[i] >> 4];
        to[at++] = hex[bytes[i] & 15];
    }
}
