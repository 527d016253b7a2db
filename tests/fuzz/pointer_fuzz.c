/* The input is a JSON pointer, a NUL and JSON. The pointer may say anything;
 * every value's own pointer must lead to it, and an item's name must be the
 * same however its text is written. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/protocol/pointer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(struct str piece, struct str whole)
{
    return piece.p >= whole.p && piece.p + piece.n <= whole.p + whole.n;
}

static void add_token(struct buf *pointer, struct str name)
{
    buf_char(pointer, '/');
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '~')
            buf_lit(pointer, "~0");
        else if (name.p[i] == '/')
            buf_lit(pointer, "~1");
        else
            buf_char(pointer, name.p[i]);
    }
}

static void check_all(struct buf *pointer, struct json_value v,
                      struct json_value root);

static void check_member(struct buf *pointer, struct json_value object,
                         struct str key, struct json_value v,
                         struct json_value root)
{
    struct json_value last;
    struct buf scratch = BUF_INIT;
    struct str name;
    CHECK(json_text((struct json_value){JSON_STRING, key}, &scratch, &name) ==
          0);
    add_token(pointer, name);
    CHECK(json_member(object, name, &last));
    if (last.raw.p == v.raw.p)
        check_all(pointer, v, root);
    buf_free(&scratch);
}

/* `pointer` leads to v. Depth is bounded by the parser. */
static void check_all(struct buf *pointer, struct json_value v,
                      struct json_value root)
{
    struct json_value found;
    struct json_value child;
    struct str key;
    size_t n = pointer->n;
    CHECK(pointer_find(buf_view(pointer), root, &found));
    CHECK(found.raw.p == v.raw.p && found.raw.n == v.raw.n);
    struct json_iter it = json_iter(v);
    for (size_t i = 0; json_next_item(&it, &child); i++, pointer->n = n) {
        buf_printf(pointer, "/%zu", i);
        check_all(pointer, child, root);
    }
    for (; json_next_member(&it, &key, &child); pointer->n = n)
        check_member(pointer, v, key, child, root);
}

/* The item of an item's text is that text. */
static void check_item(struct str pointer, struct str data)
{
    struct buf scratch = BUF_INIT;
    struct buf other = BUF_INIT;
    struct str item;
    struct str same;
    buf_lit(&scratch, "x");
    if (pointer_item(pointer, data, &scratch, &item)) {
        CHECK(inside(item, data) || inside(item, buf_view(&scratch)));
        CHECK(pointer_item(STR_LIT(""), item, &other, &same));
        CHECK(str_eq(item, same));
    }
    buf_free(&scratch);
    buf_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_alloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    struct str text = str_n(copy, size);
    struct str pointer = str_cut(&text, '\0');
    struct json_value root;
    struct json_value found;
    struct buf way = BUF_INIT;
    check_item(pointer, text);
    if (json_parse(text, &root) == 0) {
        if (pointer_find(pointer, root, &found))
            CHECK(inside(found.raw, text));
        check_all(&way, root, root);
    }
    buf_free(&way);
    free(copy);
    return 0;
}
