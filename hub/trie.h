/* trie.h — a set of patterns, each with a value, matched token by token.
 *
 *     news:eu.*  news:>                 "news:" is the first token; names of
 *                                       no namespace start with token ""
 *       (root) --"news:"--> n1 --"eu"--> n2 --star--> n3   value of news:eu.*
 *                            `-- tail: value of news:>
 *
 * All literal edges of the whole trie live in one hash table keyed by
 * (parent, token), so a node with 100,000 children costs no more per step
 * than one with two.
 *
 * Why:    a publish must cost O(tokens + matches), never O(patterns).
 * Owns:   its nodes. Borrows: the values (never NULL).
 * Thread: the owner's. Bounds: patterns are at most CHANNEL_MAX_BYTES long;
 *         how many there are is bounded by subscriptions.
 * Uses:   base/, uthash, xxhash. */
#ifndef WEIR_HUB_TRIE_H
#define WEIR_HUB_TRIE_H

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct trie_node;

struct trie {
    struct trie_node *root;  /* owned; NULL while empty */
    struct trie_node *edges; /* hash of every literal node */
    size_t pattern_count;
    size_t node_count;
};

void trie_init(struct trie *t);
void trie_fini(struct trie *t); /* frees nodes, not values */

/* The value of exactly this pattern, or NULL. */
void *trie_find(const struct trie *t, struct str pattern);
/* Set the value of a well-formed pattern that is not in the set. */
void trie_insert(struct trie *t, struct str pattern, void *value);
/* Remove a pattern that is in the set; returns its value. */
void *trie_remove(struct trie *t, struct str pattern);
/* Call fn(arg, value) once for every pattern that matches a concrete name.
 * fn must not change the trie. */
void trie_match(const struct trie *t, struct str name,
                void (*fn)(void *arg, void *value), void *arg);
/* Call fn for every pattern's value, in no order. */
void trie_each(const struct trie *t, void (*fn)(void *arg, void *value),
               void *arg);
/* Asserts every invariant; for tests. */
void trie_check(const struct trie *t);

#endif
