#include "gateway/auth/base64.h"

#include <limits.h>

#include <openssl/evp.h>

#include "base/mem.h"

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

void base64_encode(struct buf *to, struct str bytes)
{
    CHECK(bytes.n <= INT_MAX / 2);
    if (bytes.n == 0)
        return;
    /* EVP_EncodeBlock adds a NUL. */
    char *out = buf_reserve(to, (bytes.n + 2) / 3 * 4 + 1);
    to->n += (size_t)EVP_EncodeBlock(
        (unsigned char *)out, (const unsigned char *)bytes.p, (int)bytes.n);
}

void base64url_encode(struct buf *to, struct str bytes)
{
    size_t before = to->n;
    if (bytes.n == 0)
        return;
    base64_encode(to, bytes);
    char *out = to->p + before;
    for (size_t i = (bytes.n * 4 + 2) / 3; i-- > 0;) {
        if (out[i] == '+')
            out[i] = '-';
        else if (out[i] == '/')
            out[i] = '_';
    }
    to->n = before + (bytes.n * 4 + 2) / 3;
}

/* The same text in the standard alphabet, padded. */
static void add_standard(struct buf *to, struct str text)
{
    char *out = buf_reserve(to, text.n);
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        out[i] = c == '-' ? '+' : c == '_' ? '/' : c;
    }
    to->n += text.n;
    while (to->n % 4)
        buf_char(to, '=');
}

int base64url_decode(struct buf *to, struct str text)
{
    struct buf standard = BUF_INIT;
    struct buf again = BUF_INIT;
    size_t before = to->n;
    int rc = ERR_INVALID;
    if (text.n > INT_MAX / 2 || text.n % 4 == 1)
        return ERR_INVALID;
    if (text.n == 0)
        return 0;
    add_standard(&standard, text);
    if (base64_decode(to, buf_view(&standard)) < 0)
        goto free_both;
    /* Nor is it what we write with letters of the standard alphabet, padding,
     * or bits the last letter has too many, which OpenSSL does not look at. */
    base64url_encode(&again, str_n(to->p + before, to->n - before));
    if (str_eq(buf_view(&again), text))
        rc = 0;
    else
        to->n = before;
free_both:
    buf_free(&again);
    buf_free(&standard);
    return rc;
}
