/* value.h — values with a count of references.
 * Why:    throttle/ borrows its values' meaning from its owner; in its tests
 *         they are these, and none may be left over.
 * Owns:   the count of those alive. Thread: the test's.
 * Uses:   throttle/conflate. */
#ifndef WEIR_TESTS_KIT_VALUE_H
#define WEIR_TESTS_KIT_VALUE_H

#include "throttle/conflate.h"

struct value {
    uint64_t key;
    uint64_t seq;
    int refs;
};

extern int values_alive;
extern const struct conflate_ops VALUE_OPS;

struct value *value_new(uint64_t key, uint64_t seq);
void value_ref(void *value);
void value_unref(void *value);

#endif
