/* The input is two JSON values, a state and a patch, the first of which may
 * be missing. What becomes of them is compared with RFC 7396's own words. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/protocol/json.h"
#include "gateway/protocol/merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json_value parse(struct str text)
{
    struct json_value v;
    CHECK(json_parse(text, &v) == 0);
    return v;
}

/* The member called as `key` is spelt; *count counts it, repeated ones once
 * each. False when there is none. */
static bool member(struct json_value object, struct str key,
                   struct json_value *out, size_t *count)
{
    struct buf scratch = BUF_INIT;
    struct str name;
    struct str k;
    struct json_value v;
    CHECK(json_text((struct json_value){JSON_STRING, key}, &scratch, &name) ==
          0);
    struct json_iter it = json_iter(object);
    *count = 0;
    while (json_next_member(&it, &k, &v)) {
        struct buf other = BUF_INIT;
        struct str text;
        CHECK(json_text((struct json_value){JSON_STRING, k}, &other, &text) ==
              0);
        if (str_eq(text, name)) {
            *out = v;
            ++*count;
        }
        buf_free(&other);
    }
    buf_free(&scratch);
    return *count > 0;
}

/* Is `result` what the patch makes of the state (NULL: of nothing)? */
static void check(const struct json_value *state, struct json_value patch,
                  struct json_value result)
{
    struct json_value before;
    struct json_value change;
    struct json_value v;
    struct str key;
    size_t count;
    if (patch.type != JSON_OBJECT) {
        CHECK(str_eq(result.raw, patch.raw));
        return;
    }
    if (state && state->type != JSON_OBJECT)
        state = NULL;
    CHECK(result.type == JSON_OBJECT);
    /* Everything in it comes from one of them, and comes once. */
    struct json_iter it = json_iter(result);
    while (json_next_member(&it, &key, &v)) {
        struct json_value same;
        CHECK(member(result, key, &same, &count) && count == 1);
        bool known = state && member(*state, key, &before, &count);
        if (member(patch, key, &change, &count)) {
            CHECK(change.type != JSON_NULL);
            check(known ? &before : NULL, change, v);
        } else {
            CHECK(known && str_eq(v.raw, before.raw));
        }
    }
    /* Nothing of either is missing. */
    it = json_iter(patch);
    while (json_next_member(&it, &key, &v)) {
        CHECK(member(patch, key, &change, &count));
        CHECK(member(result, key, &v, &count) == (change.type != JSON_NULL));
    }
    it = state ? json_iter(*state) : json_iter(patch);
    while (state && json_next_member(&it, &key, &v)) {
        bool deleted =
            member(patch, key, &change, &count) && change.type == JSON_NULL;
        CHECK(member(result, key, &v, &count) == !deleted);
    }
}

static void check_merge(struct str state, struct str patch)
{
    struct buf once = BUF_INIT;
    struct buf again = BUF_INIT;
    CHECK(merge_patch(&once, state, patch, SIZE_MAX) == 0);
    CHECK(once.n <= state.n + patch.n + 1); /* the comma between them */
    struct json_value p = parse(patch);
    struct json_value s = state.n ? parse(state) : p;
    check(state.n ? &s : NULL, p, parse(buf_view(&once)));
    buf_lit(&again, "x");
    CHECK(merge_patch(&again, state, patch, once.n - 1) == ERR_TOO_BIG);
    CHECK(again.n == 1);
    CHECK(merge_patch(&again, buf_view(&once), patch, once.n) == 0);
    CHECK(str_eq(str_skip(buf_view(&again), 1), buf_view(&once)));
    buf_free(&once);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mem_alloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    struct str rest = str_n(copy, size);
    struct json_value state;
    struct json_value patch;
    struct buf b = BUF_INIT;
    struct json_value v;
    if (json_parse(rest, &v) < 0) {
        CHECK(merge_patch(&b, STR_LIT("{}"), rest, size) == ERR_INVALID);
        CHECK(!size ||
              merge_patch(&b, rest, STR_LIT("{}"), size) == ERR_INVALID);
        CHECK(b.n == 0);
    }
    if (json_parse_next(&rest, &state) == 0) {
        check_merge(STR_LIT(""), state.raw);
        check_merge(state.raw, STR_LIT("{}"));
        if (json_parse_next(&rest, &patch) == 0)
            check_merge(state.raw, patch.raw);
    }
    free(copy);
    return 0;
}
