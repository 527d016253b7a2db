#include "hub/trie.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "hub/channel.h"

#define CACHE_LINE 64
#define KEY_MAX (sizeof(void *) + CHANNEL_MAX_BYTES + 1)

struct trie_node {
    struct trie_node *parent; /* borrowed; NULL at the root */
    struct trie_node *star;   /* owned: the `*` child */
    struct trie_node *first;  /* borrowed: one of the literal children, tried
                               * before the table; NULL: none or forgotten */
    void *value;              /* borrowed: of the pattern that ends here */
    void *tail;               /* borrowed: of this node's path plus `>` */
    uint32_t children;        /* literal children */
    bool is_star;
    uint16_t key_len;
    UT_hash_handle hh; /* linked: trie.edges, unless root or star */
    char key[];        /* the parent's address, then the token */
};

void trie_init(struct trie *t)
{
    *t = (struct trie){0};
}

/* The first token is the namespace with its colon ("" without one). */
static struct str first_token(struct str *rest)
{
    const char *colon = memchr(rest->p, ':', rest->n);
    if (!colon)
        return (struct str){rest->p, 0};
    struct str token = {rest->p, (size_t)(colon - rest->p) + 1};
    *rest = str_skip(*rest, token.n);
    return token;
}

static size_t make_key(char key[KEY_MAX], const struct trie_node *parent,
                       struct str token)
{
    memcpy(key, &parent, sizeof(parent));
    if (token.n)
        memcpy(key + sizeof(parent), token.p, token.n);
    return sizeof(parent) + token.n;
}

static struct trie_node *child(const struct trie *t,
                               const struct trie_node *parent, struct str token)
{
    if (parent->children == 0)
        return NULL;
    char key[KEY_MAX];
    size_t n = make_key(key, parent, token);
    struct trie_node *found = parent->first;
    if (found && found->key_len == n && memcmp(found->key, key, n) == 0)
        return found;
    if (found && parent->children == 1)
        return NULL;
    HASH_FIND(hh, t->edges, key, n, found);
    return found;
}

static struct trie_node *add_node(struct trie *t, struct trie_node *parent,
                                  struct str token, bool is_star)
{
    char key[KEY_MAX];
    size_t n = make_key(key, parent, token);
    struct trie_node *node = mem_zalloc(sizeof(*node) + n);
    node->parent = parent;
    node->is_star = is_star;
    node->key_len = (uint16_t)n;
    memcpy(node->key, key, n);
    t->node_count++;
    if (is_star) {
        parent->star = node;
    } else if (parent) {
        HASH_ADD_KEYPTR(hh, t->edges, node->key, n, node);
        parent->children++;
        if (!parent->first)
            parent->first = node;
    }
    return node;
}

static bool is_token(struct str token, char wildcard)
{
    return token.n == 1 && token.p[0] == wildcard;
}

/* Where the pattern's value is kept; NULL if the path does not exist and
 * `create` is false. */
static void **place(struct trie *t, struct str pattern, bool create,
                    struct trie_node **at)
{
    struct trie_node *node = t->root;
    if (!node && create)
        node = t->root = add_node(t, NULL, STR_LIT(""), false);
    struct str token = first_token(&pattern);
    bool first = true;
    while (node && (first || pattern.n)) {
        if (!first)
            token = str_cut(&pattern, '.');
        if (!first && pattern.n == 0 && is_token(token, '>')) {
            *at = node;
            return &node->tail;
        }
        bool star = !first && is_token(token, '*');
        struct trie_node *next = star ? node->star : child(t, node, token);
        if (!next && create)
            next = add_node(t, node, token, star);
        node = next;
        first = false;
    }
    *at = node;
    return node ? &node->value : NULL;
}

void *trie_find(const struct trie *t, struct str pattern)
{
    struct trie_node *at;
    void **slot = place((struct trie *)t, pattern, false, &at);
    return slot ? *slot : NULL;
}

void trie_insert(struct trie *t, struct str pattern, void *value)
{
    struct trie_node *at;
    void **slot = place(t, pattern, true, &at);
    CHECK(*slot == NULL && value != NULL);
    *slot = value;
    t->pattern_count++;
}

static bool is_needed(const struct trie_node *n)
{
    return n->value || n->tail || n->star || n->children;
}

static void prune(struct trie *t, struct trie_node *n)
{
    while (n && !is_needed(n)) {
        struct trie_node *parent = n->parent;
        if (!parent) {
            t->root = NULL;
        } else if (n->is_star) {
            parent->star = NULL;
        } else {
            HASH_DEL(t->edges, n);
            parent->children--;
            if (parent->first == n)
                parent->first = NULL;
        }
        free(n);
        t->node_count--;
        n = parent;
    }
}

void *trie_remove(struct trie *t, struct str pattern)
{
    struct trie_node *at;
    void **slot = place(t, pattern, false, &at);
    CHECK(slot && *slot);
    void *value = *slot;
    *slot = NULL;
    t->pattern_count--;
    prune(t, at);
    return value;
}

struct walk {
    const struct trie *trie;
    void (*fn)(void *arg, void *value);
    void *arg;
};

/* With many patterns every node is a cache miss: let those that will be
 * needed come while others are waited for. */
static void prefetch_children(const struct trie_node *n)
{
    __builtin_prefetch(n->star);
    if (!n->first)
        return;
    __builtin_prefetch(n->first);
    __builtin_prefetch((const char *)n->first + CACHE_LINE); /* its key */
}

/* Recursion is as deep as the name has tokens, at most 128. */
static void match_from(const struct walk *w, const struct trie_node *node,
                       struct str rest)
{
    if (rest.n == 0) {
        if (node->value)
            w->fn(w->arg, node->value);
        return;
    }
    prefetch_children(node);
    if (node->tail)
        w->fn(w->arg, node->tail);
    struct str token = str_cut(&rest, '.');
    const struct trie_node *next = child(w->trie, node, token);
    if (node->star)
        prefetch_children(node->star);
    if (next)
        match_from(w, next, rest);
    if (node->star)
        match_from(w, node->star, rest);
}

void trie_match(const struct trie *t, struct str name,
                void (*fn)(void *arg, void *value), void *arg)
{
    if (!t->root)
        return;
    struct str token = first_token(&name);
    const struct trie_node *ns = child(t, t->root, token);
    struct walk w = {t, fn, arg};
    if (ns && name.n)
        match_from(&w, ns, name);
}

static void each_from(const struct trie_node *n, void (*fn)(void *, void *),
                      void *arg)
{
    if (n->value)
        fn(arg, n->value);
    if (n->tail)
        fn(arg, n->tail);
    if (n->star)
        each_from(n->star, fn, arg);
}

void trie_each(const struct trie *t, void (*fn)(void *arg, void *value),
               void *arg)
{
    /* Every node is literal (in the table) or hangs off one by stars. */
    for (struct trie_node *n = t->edges; n; n = n->hh.next)
        each_from(n, fn, arg);
}

static void free_stars(struct trie_node *n)
{
    if (!n)
        return;
    free_stars(n->star);
    free(n);
}

void trie_fini(struct trie *t)
{
    struct trie_node *n;
    struct trie_node *tmp;
    HASH_ITER(hh, t->edges, n, tmp) {
        HASH_DEL(t->edges, n);
        free_stars(n);
    }
    free_stars(t->root);
    *t = (struct trie){0};
}

static void check_node(const struct trie_node *n, size_t *nodes,
                       size_t *patterns)
{
    CHECK(is_needed(n));
    CHECK(!n->first ||
          (n->first->parent == n && !n->first->is_star && n->children));
    (*nodes)++;
    *patterns += (n->value != NULL) + (n->tail != NULL);
    if (n->star) {
        CHECK(n->star->parent == n && n->star->is_star);
        check_node(n->star, nodes, patterns);
    }
}

void trie_check(const struct trie *t)
{
    size_t nodes = 0;
    size_t patterns = 0;
    size_t edges = 0;
    if (t->root)
        check_node(t->root, &nodes, &patterns);
    for (const struct trie_node *n = t->edges; n; n = n->hh.next) {
        CHECK(n->parent && n->parent->children > 0);
        check_node(n, &nodes, &patterns);
        edges++;
    }
    CHECK(nodes == t->node_count && patterns == t->pattern_count);
    CHECK(edges == HASH_COUNT(t->edges));
}
