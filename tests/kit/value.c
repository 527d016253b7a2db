#include "tests/kit/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

int values_alive;

struct value *value_new(uint64_t key, uint64_t seq)
{
    struct value *v = mem_zalloc(sizeof(*v));
    *v = (struct value){.key = key, .seq = seq, .refs = 1};
    values_alive++;
    return v;
}

void value_ref(void *value)
{
    struct value *v = value;
    assert_true(v->refs > 0);
    v->refs++;
}

void value_unref(void *value)
{
    struct value *v = value;
    assert_true(v->refs > 0);
    if (--v->refs)
        return;
    values_alive--;
    free(v);
}

const struct conflate_ops VALUE_OPS = {
    .ref = value_ref,
    .unref = value_unref,
};
