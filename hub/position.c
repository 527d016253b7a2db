#include "hub/position.h"

static const char letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

uint64_t position_epoch_of(uint64_t bits)
{
    uint64_t epoch = (bits ^ bits >> 48) & POSITION_EPOCH_MAX;
    return epoch ? epoch : 1;
}

void position_epoch_format(uint64_t epoch, char to[POSITION_EPOCH_LEN])
{
    for (unsigned i = POSITION_EPOCH_LEN; i-- > 0; epoch >>= 6)
        to[i] = letters[epoch & 63];
}

int position_epoch_parse(struct str text, uint64_t *out)
{
    uint64_t epoch = 0;
    if (text.n != POSITION_EPOCH_LEN)
        return ERR_INVALID;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = text.p[i] ? strchr(letters, text.p[i]) : NULL;
        if (!at)
            return ERR_INVALID;
        epoch = epoch << 6 | (uint64_t)(at - letters);
    }
    if (epoch == 0)
        return ERR_INVALID;
    *out = epoch;
    return 0;
}
