#include "gateway/auth/base64.h"

#include <limits.h>

#include <openssl/evp.h>

int base64_decode(struct buf *to, struct str text)
{
    if (text.n % 4 || text.n > INT_MAX)
        return ERR_INVALID;
    if (text.n == 0)
        return 0;
    size_t padding =
        text.p[text.n - 1] == '=' ? (text.p[text.n - 2] == '=' ? 2 : 1) : 0;
    /* EVP_DecodeBlock skips white space at the ends; we do not. */
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] <= ' ')
            return ERR_INVALID;
    }
    unsigned char *out = (unsigned char *)buf_reserve(to, text.n / 4 * 3 + 1);
    int n = EVP_DecodeBlock(out, (const unsigned char *)text.p, (int)text.n);
    if (n < 0)
        return ERR_INVALID;
    to->n += (size_t)n - padding;
    return 0;
}
