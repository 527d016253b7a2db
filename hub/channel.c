#include "hub/channel.h"

#define NAMESPACE_MIN_BYTES 2
#define NAMESPACE_MAX_BYTES 64

static bool is_subject_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_name_byte(char c)
{
    return (unsigned char)c > ' ' && c != 127;
}

static bool is_namespace(struct str ns)
{
    if (ns.n < NAMESPACE_MIN_BYTES || ns.n > NAMESPACE_MAX_BYTES)
        return false;
    for (size_t i = 0; i < ns.n; i++) {
        if (!is_subject_byte(ns.p[i]))
            return false;
    }
    return true;
}

static bool is_token(struct str s, char c)
{
    return s.n == 1 && s.p[0] == c;
}

/* The token at the start of *rest, and step over its dot. False behind the
 * last one, which str_cut leaves as a NULL slice: an empty token at the end
 * is still a token. */
static bool next_token(struct str *rest, struct str *token)
{
    if (!rest->p)
        return false;
    *token = str_cut(rest, '.');
    return true;
}

/* Check the tokens; true in *wildcard when one of them is `*` or `>`. */
static int check_tokens(struct str rest, bool *wildcard)
{
    struct str token;
    *wildcard = false;
    while (next_token(&rest, &token)) {
        bool tail = is_token(token, '>');
        if (token.n == 0 || (tail && rest.p))
            return ERR_INVALID;
        *wildcard |= tail || is_token(token, '*');
    }
    return 0;
}

int channel_parse(struct str name, struct channel_name *out)
{
    if (name.n > CHANNEL_MAX_BYTES)
        return ERR_TOO_BIG;
    if (name.n == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < name.n; i++) {
        if (!is_name_byte(name.p[i]))
            return ERR_INVALID;
    }
    struct channel_name c = {.full = name, .ns = STR_LIT(""), .rest = name};
    const char *colon = memchr(name.p, ':', name.n);
    if (colon) {
        c.ns = str_n(name.p, (size_t)(colon - name.p));
        c.rest = str_skip(name, c.ns.n + 1);
        if (!is_namespace(c.ns))
            return ERR_INVALID;
    }
    if (check_tokens(c.rest, &c.is_pattern) < 0)
        return ERR_INVALID;
    *out = c;
    return 0;
}

/* Bytes of the namespace with its colon; 0 without one. */
static size_t prefix_bytes(struct str name)
{
    const char *colon = name.n ? memchr(name.p, ':', name.n) : NULL;
    return colon ? (size_t)(colon - name.p) + 1 : 0;
}

bool channel_matches(struct str pattern, struct str name)
{
    size_t prefix = prefix_bytes(pattern);
    if (prefix != prefix_bytes(name) ||
        !str_starts(name, str_n(pattern.p, prefix)))
        return false;
    pattern = str_skip(pattern, prefix);
    name = str_skip(name, prefix);
    struct str want;
    struct str have;
    while (next_token(&pattern, &want)) {
        if (!next_token(&name, &have))
            return false;
        if (is_token(want, '>'))
            return true;
        if (!is_token(want, '*') && !str_eq(want, have))
            return false;
    }
    return !name.p;
}

static void escape_token(struct buf *to, struct str token)
{
    static const char hex[] = "0123456789ABCDEF";
    char *at = buf_reserve(to, 3 * token.n);
    for (size_t i = 0; i < token.n; i++) {
        unsigned char c = (unsigned char)token.p[i];
        if (is_subject_byte(token.p[i])) {
            *at++ = token.p[i];
            continue;
        }
        *at++ = '=';
        *at++ = hex[c >> 4];
        *at++ = hex[c & 15];
    }
    to->n = (size_t)(at - to->p);
}

void channel_escape(struct buf *to, struct str rest, bool pattern)
{
    struct str token;
    while (next_token(&rest, &token)) {
        bool wildcard = is_token(token, '*') || is_token(token, '>');
        if (pattern && wildcard)
            buf_str(to, token);
        else
            escape_token(to, token);
        if (rest.p)
            buf_char(to, '.');
    }
}

/* 0..15 for an upper-case hexadecimal digit, else -1. */
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decode the =XX at the start of s. Only a byte that may be in a name and
 * may not be in a subject has this form. */
static int unescape_byte(struct str s, char *out)
{
    if (s.n < 3 || s.p[0] != '=')
        return ERR_INVALID;
    int high = hex_digit(s.p[1]);
    int low = hex_digit(s.p[2]);
    if (high < 0 || low < 0)
        return ERR_INVALID;
    char c = (char)(high << 4 | low);
    if (is_subject_byte(c) || c == '.' || !is_name_byte(c))
        return ERR_INVALID;
    *out = c;
    return 0;
}

/* Bytes may arrive from anybody on the bus, so the result is built on the
 * stack and bounded; it becomes part of `to` only when all of it is good. */
int channel_unescape(struct buf *to, struct str escaped)
{
    char out[CHANNEL_MAX_BYTES];
    size_t n = 0;
    while (escaped.n > 0) {
        char c = escaped.p[0];
        size_t used = 1;
        if (!is_subject_byte(c) && c != '.') {
            if (unescape_byte(escaped, &c) < 0)
                return ERR_INVALID;
            used = 3;
        }
        if (n == sizeof(out))
            return ERR_INVALID;
        out[n++] = c;
        escaped = str_skip(escaped, used);
    }
    bool wildcard;
    if (n == 0 || check_tokens(str_n(out, n), &wildcard) < 0 || wildcard)
        return ERR_INVALID;
    buf_add(to, out, n);
    return 0;
}
