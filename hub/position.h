/* position.h — where a publication stands in its channel's stream.
 *
 *     epoch "k3Xq_a0Z", offset 17      as text: k3Xq_a0Z:17
 *
 * Why:    an epoch is a number inside a node (48 bits, never 0) and eight
 *         letters outside, the same on every node.
 * Owns:   nothing. Thread: any. Uses: base/. */
#ifndef WEIR_HUB_POSITION_H
#define WEIR_HUB_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define POSITION_EPOCH_LEN 8
#define POSITION_EPOCH_MAX ((UINT64_C(1) << 48) - 1)

struct position {
    uint64_t epoch;  /* 0: none, or not known */
    uint64_t offset; /* 0: before the first publication */
};

/* Any 64 bits become an epoch: 1..POSITION_EPOCH_MAX. */
uint64_t position_epoch_of(uint64_t bits);
/* Not terminated. `epoch` is one. */
void position_epoch_format(uint64_t epoch, char to[POSITION_EPOCH_LEN]);
/* ERR_INVALID for what position_epoch_format does not write. */
int position_epoch_parse(struct str text, uint64_t *out) MUST_USE;

#endif
