/* The input is a run of JSON values. Of each: walk all of it, decode every
 * string, and check that what we say about a value holds of its own text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "gateway/protocol/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(struct str piece, struct str whole)
{
    return piece.p >= whole.p && piece.p + piece.n <= whole.p + whole.n;
}

/* A slice handed out by the walk is a value on its own, of that type. */
static void check_value(struct json_value v, struct str whole)
{
    struct json_value again;
    CHECK(inside(v.raw, whole));
    CHECK(json_parse(v.raw, &again) == 0);
    CHECK(again.type == v.type && str_eq(again.raw, v.raw));
}

static void check_string(struct json_value v)
{
    struct buf scratch = BUF_INIT;
    struct buf quoted = BUF_INIT;
    struct buf decoded = BUF_INIT;
    struct json_value again;
    struct str text;
    struct str same;
    CHECK(json_text(v, &scratch, &text) == 0);
    CHECK(utf8_valid(text) && text.n <= v.raw.n - 2);
    CHECK(json_key_is(v.raw, text));
    json_quote(&quoted, text);
    CHECK(json_parse(buf_view(&quoted), &again) == 0);
    CHECK(json_text(again, &decoded, &same) == 0 && str_eq(text, same));
    buf_free(&decoded);
    buf_free(&quoted);
    buf_free(&scratch);
}

static void check_number(struct json_value v)
{
    uint32_t u32;
    uint64_t u64;
    int64_t i64;
    struct buf b = BUF_INIT;
    if (json_u64(v, &u64) == 0) {
        buf_u64(&b, u64);
        CHECK(str_eq(buf_view(&b), v.raw));
        CHECK((json_u32(v, &u32) == 0) == (u64 <= UINT32_MAX));
        CHECK((json_i64(v, &i64) == 0) == (u64 <= INT64_MAX));
    } else if (json_i64(v, &i64) == 0) {
        buf_i64(&b, i64);
        CHECK(str_eq(buf_view(&b), v.raw) || str_eq(v.raw, STR_LIT("-0")));
    }
    buf_free(&b);
}

/* Depth is bounded by the parser, so this may call itself. */
static size_t walk(struct json_value v)
{
    struct json_iter it = json_iter(v);
    struct json_value item;
    struct str key;
    size_t count = 1;
    check_value(v, v.raw);
    if (v.type == JSON_STRING)
        check_string(v);
    if (v.type == JSON_NUMBER)
        check_number(v);
    while (v.type == JSON_ARRAY && json_next_item(&it, &item)) {
        CHECK(inside(item.raw, v.raw));
        count += walk(item);
    }
    while (v.type == JSON_OBJECT && json_next_member(&it, &key, &item)) {
        CHECK(inside(key, v.raw) && inside(item.raw, v.raw));
        check_string((struct json_value){JSON_STRING, key});
        count += walk(item);
    }
    return count;
}

static void check_compact(struct json_value v, size_t count)
{
    struct buf b = BUF_INIT;
    struct json_value again;
    json_compact_newlines(&b, v.raw);
    CHECK(!memchr(b.p, '\n', b.n) && !memchr(b.p, '\r', b.n));
    CHECK(json_parse(buf_view(&b), &again) == 0);
    CHECK(again.type == v.type && walk(again) == count);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_alloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    struct str text = str_n(copy, size);
    struct str rest = text;
    struct json_value v;
    size_t values = 0;
    while (json_parse_next(&rest, &v) == 0) {
        CHECK(inside(v.raw, text) && inside(rest, text));
        check_compact(v, walk(v));
        values++;
    }
    struct json_value whole;
    bool one = json_parse(text, &whole) == 0;
    bool clean = json_parse_next(&rest, &v) == ERR_NOT_FOUND;
    CHECK(one == (values == 1 && clean));
    struct buf quoted = BUF_INIT;
    json_quote(&quoted, text);
    CHECK(json_parse(buf_view(&quoted), &v) == 0 && v.type == JSON_STRING);
    buf_free(&quoted);
    free(copy);
    return 0;
}
