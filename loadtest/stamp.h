/* stamp.h — the mark in every payload, and the book a client keeps about it.
 *
 *   {"wq":"<seq 12 hex><time 16 hex><channel 4 hex>","pad":"xxxx..."}
 *   {"k":"<channel 4 hex>","wq":"...","pad":"xxxx..."}   an item of many
 *
 * Why:    finding a fixed-width string by memmem costs tens of nanoseconds,
 *         parsing JSON would make the generator the slowest part; and a
 *         fixed width lets the bare sender renew a frame in place.
 * Owns:   nothing. Bounds: 2^48 messages and 65,536 channels. Uses: libc. */
#ifndef LOADTEST_STAMP_H
#define LOADTEST_STAMP_H

#include <stddef.h>
#include <stdint.h>

#define STAMP_KEY "\"wq\":\""
#define STAMP_KEY_BYTES 6
#define STAMP_BYTES 32
#define STAMP_PAYLOAD_MIN 61 /* the longer one with an empty pad */

struct stamp {
    uint64_t seq;
    uint64_t time_ns;
    uint16_t channel;
};

/* Writes the 32 characters of a stamp. */
void stamp_write(char *out, const struct stamp *s);
/* Writes a whole payload of exactly size bytes (>= STAMP_PAYLOAD_MIN). */
void stamp_payload(char *out, size_t size, const struct stamp *s);
/* The same with the channel's number as "k", the key of an item. */
void stamp_item_payload(char *out, size_t size, const struct stamp *s);
/* Finds the first stamp in n bytes. Returns the place of its 32 characters,
 * NULL when there is none. */
const char *stamp_find(const char *p, size_t n);
/* Reads 32 characters; 0, or -1 when they are not hexadecimal. */
int stamp_read(const char *p, struct stamp *s);

/* What one subscriber saw of one channel. `window` remembers which of the 64
 * numbers up to `last` came, so late ones differ from repeated ones. */
struct tally {
    uint64_t last;
    uint64_t window;
};

/* What a crowd of subscribers saw together. */
struct losses {
    uint64_t missing; /* numbers jumped over and not seen later */
    uint64_t duplicate;
    uint64_t reordered; /* came after a higher number */
    uint64_t stray;     /* of another channel, or unreadable */
};

/* The subscriber joins when `seq` was the last number published. */
void tally_start(struct tally *t, uint64_t seq);
/* Number seq arrived. */
void tally_see(struct tally *t, uint64_t seq, struct losses *sum);
/* No more will come; `seq` was the last number published. */
void tally_end(struct tally *t, uint64_t seq, struct losses *sum);

#endif
