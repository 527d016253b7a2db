#include "gateway/protocol/pointer.h"

#include <stdint.h>

#include "base/mem.h"

/* "a~1b~0c" is "a/b~c"; false when a tilde stands for nothing. */
static bool decode_token(struct buf *to, struct str token)
{
    for (size_t i = 0; i < token.n; i++) {
        char c = token.p[i];
        if (c == '~') {
            i++;
            if (i == token.n || (token.p[i] != '0' && token.p[i] != '1'))
                return false;
            c = token.p[i] == '0' ? '~' : '/';
        }
        buf_char(to, c);
    }
    return true;
}

static bool find_member(struct str token, struct json_value v,
                        struct json_value *out)
{
    if (token.n == 0 || !memchr(token.p, '~', token.n))
        return json_member(v, token, out);
    struct buf name = BUF_INIT;
    bool found =
        decode_token(&name, token) && json_member(v, buf_view(&name), out);
    buf_free(&name);
    return found;
}

static bool find_item(struct str token, struct json_value v,
                      struct json_value *out)
{
    uint64_t index;
    bool is_padded = token.n > 1 && token.p[0] == '0';
    if (is_padded ||
        json_u64((struct json_value){JSON_NUMBER, token}, &index) < 0)
        return false;
    struct json_iter it = json_iter(v);
    while (json_next_item(&it, out)) {
        if (index-- == 0)
            return true;
    }
    return false;
}

bool pointer_find(struct str pointer, struct json_value root,
                  struct json_value *out)
{
    struct json_value v = root;
    if (pointer.n && pointer.p[0] != '/')
        return false;
    while (pointer.n) {
        pointer = str_skip(pointer, 1);
        const char *slash =
            pointer.n ? memchr(pointer.p, '/', pointer.n) : NULL;
        size_t n = slash ? (size_t)(slash - pointer.p) : pointer.n;
        struct str token = str_n(pointer.p, n);
        struct json_value next;
        if (v.type == JSON_ARRAY ? !find_item(token, v, &next)
                                 : !find_member(token, v, &next))
            return false;
        v = next;
        pointer = str_skip(pointer, n);
    }
    *out = v;
    return true;
}

/* Quotes and escapes exactly what must be: equal texts give equal bytes. */
static struct str requote(struct json_value v, struct buf *scratch)
{
    struct str text;
    if (!memchr(v.raw.p, '\\', v.raw.n))
        return v.raw; /* nothing needed an escape */
    /* The text and then its quoted form, neither longer than the original:
     * the first must not move while the second is made. */
    buf_reserve(scratch, v.raw.n * 2);
    int rc = json_text(v, scratch, &text);
    CHECK(rc == 0);
    size_t start = scratch->n;
    json_quote(scratch, text);
    return str_skip(buf_view(scratch), start);
}

bool pointer_item(struct str pointer, struct str data, struct buf *scratch,
                  struct str *item)
{
    struct json_value root;
    struct json_value v;
    if (json_parse(data, &root) < 0 || !pointer_find(pointer, root, &v))
        return false;
    switch (v.type) {
    case JSON_STRING:
        *item = requote(v, scratch);
        return true;
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE:
        *item = v.raw;
        return true;
    default:
        return false;
    }
}
