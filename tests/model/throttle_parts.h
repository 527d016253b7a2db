/* throttle_parts.h — what the two halves of the model share: the account
 * (throttle.c) and the judgement (throttle_judge.c).
 * Owns:   nothing. Thread: one. Uses: tests/model/throttle. */
#ifndef WEIR_TESTS_MODEL_THROTTLE_PARTS_H
#define WEIR_TESTS_MODEL_THROTTLE_PARTS_H

#include "tests/model/throttle.h"

#define JUDGE(m, cond) \
    ((cond) ? (void)0 : model_fail(m, #cond, __FILE__, __LINE__))
#define TRACE(m, ...) \
    ((m)->trace ? (void)fprintf(stderr, __VA_ARGS__) : (void)0)

/* Tells who is concerned and in which life, and aborts. */
void model_fail(const struct model *m, const char *what, const char *file,
                int line) __attribute__((noreturn, cold));

void model_add_time(struct model_times *t, uint64_t at_ns);
/* How many after from_ns, of those remembered. */
unsigned model_count_times(const struct model_times *t, uint64_t from_ns);

/* Does the subscription reach the channel? */
bool model_covers(const struct model_sub *s, unsigned channel);
/* Do urgent publications of one flush the other? */
bool model_same_group(const struct model_sub *a, const struct model_sub *b);
/* May it lose publications, and tell? */
bool model_may_lose(const struct model_sub *s);

/* A decimal number off the front; 0 without. */
uint32_t model_take_number(struct str *s);

#endif
