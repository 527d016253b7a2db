/* The topic index and the trie under it, against a naive matcher that goes
 * through a list of every pattern and compares token by token. */
#include "hub/topic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "hub/channel.h"

#define NAME_MAX_BYTES 64

/* --- the naive side -------------------------------------------------------- */

struct entry {
    char name[NAME_MAX_BYTES];
    bool is_pattern;
    struct topic *topic; /* NULL: not in the index */
    unsigned seen;       /* by the match that runs */
};

struct model {
    struct entry *entries; /* every name that was ever used */
    size_t count;
    size_t cap;
    size_t live;
    struct topic_index index;
    struct rand rand;
};

static bool tokens_match(struct str pattern, struct str name)
{
    for (;;) {
        bool last_pattern = !memchr(pattern.p, '.', pattern.n);
        bool last_name = !memchr(name.p, '.', name.n);
        struct str want = str_cut(&pattern, '.');
        struct str have = str_cut(&name, '.');
        if (last_pattern && str_eq(want, STR_LIT(">")))
            return true;
        if (!str_eq(want, STR_LIT("*")) && !str_eq(want, have))
            return false;
        if (last_pattern || last_name)
            return last_pattern && last_name;
    }
}

/* Namespaces are literal; `a:b` is never matched by a pattern without one. */
static bool naive_match(const char *pattern, const char *name)
{
    const char *pattern_colon = strchr(pattern, ':');
    const char *name_colon = strchr(name, ':');
    size_t pattern_ns =
        pattern_colon ? (size_t)(pattern_colon - pattern) + 1 : 0;
    size_t name_ns = name_colon ? (size_t)(name_colon - name) + 1 : 0;
    if (pattern_ns != name_ns || memcmp(pattern, name, pattern_ns) != 0)
        return false;
    return tokens_match(str_of(pattern + pattern_ns), str_of(name + name_ns));
}

static bool naive_is_pattern(const char *name)
{
    char copy[NAME_MAX_BYTES];
    const char *colon = strchr(name, ':');
    char *rest = NULL;
    snprintf(copy, sizeof(copy), "%s", colon ? colon + 1 : name);
    for (char *t = strtok_r(copy, ".", &rest); t;
         t = strtok_r(NULL, ".", &rest)) {
        if (strcmp(t, "*") == 0 || strcmp(t, ">") == 0)
            return true;
    }
    return false;
}

/* --- names, from so few tokens that they meet often ------------------------- */

static const char *pick(struct rand *r, const char *const *from, size_t n)
{
    return from[rand_below(r, n)];
}

static void random_name(struct rand *r, char to[NAME_MAX_BYTES], unsigned depth,
                        bool wild)
{
    static const char *const spaces[] = {"", "", "ns:", "nt:"};
    static const char *const words[] = {"a", "b", "ab", "*a", ">>"};
    unsigned tokens = 1 + (unsigned)rand_below(r, depth);
    size_t at = (size_t)sprintf(to, "%s", pick(r, spaces, ARRAY_LEN(spaces)));
    for (unsigned i = 0; i < tokens; i++) {
        const char *word = pick(r, words, ARRAY_LEN(words));
        uint64_t dice = wild ? rand_below(r, 6) : 9;
        if (dice <= 1)
            word = "*";
        else if (dice == 2 && i == tokens - 1)
            word = ">";
        at += (size_t)sprintf(to + at, "%s%s", i ? "." : "", word);
    }
}

/* Names of long literals with one wildcard: many of them in one node. */
static void wide_name(struct rand *r, char to[NAME_MAX_BYTES], bool wild)
{
    unsigned a = (unsigned)rand_below(r, 3);
    unsigned b = (unsigned)rand_below(r, 3000);
    static const char *const tails[] = {"", ".*", ".>", ".x"};
    const char *tail =
        tails[wild ? 1 + rand_below(r, 2) : rand_below(r, 2) * 3];
    snprintf(to, NAME_MAX_BYTES, "ns:%u.n%u%s", a, b, tail);
}

/* --- the two side by side --------------------------------------------------- */

static struct entry *find_entry(struct model *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->entries[i].name, name) == 0)
            return &m->entries[i];
    }
    return NULL;
}

static struct entry *get_entry(struct model *m, const char *name)
{
    struct entry *e = find_entry(m, name);
    if (e)
        return e;
    if (m->count == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 64;
        m->entries = mem_realloc(m->entries, m->cap * sizeof(*m->entries));
    }
    e = &m->entries[m->count++];
    *e = (struct entry){.is_pattern = naive_is_pattern(name)};
    snprintf(e->name, sizeof(e->name), "%s", name);
    return e;
}

static uint32_t hash_of(const char *name)
{
    return msg_channel_hash(str_of(name));
}

static void insert(struct model *m, const char *name)
{
    struct channel_name parsed;
    assert_int_equal(channel_parse(str_of(name), &parsed), 0);
    struct entry *e = get_entry(m, name);
    assert_int_equal(parsed.is_pattern, e->is_pattern);
    struct topic *t =
        topic_get(&m->index, str_of(name), hash_of(name), e->is_pattern);
    if (e->topic) {
        assert_ptr_equal(t, e->topic);
        return;
    }
    assert_true(str_eq(topic_name(t), str_of(name)));
    t->asking = 1; /* Somebody holds it. */
    e->topic = t;
    m->live++;
}

static void remove_entry(struct model *m, struct entry *e)
{
    if (!e->topic)
        return;
    e->topic->asking = 0;
    topic_free(&m->index, e->topic);
    e->topic = NULL;
    m->live--;
}

static struct model *matching; /* for the callback */
static bool exact_seen;

static void on_match(void *arg, void *value)
{
    struct topic *t = value;
    assert_false(exact_seen); /* The exact one comes last. */
    exact_seen = !t->is_pattern;
    if (exact_seen)
        assert_true(str_eq(topic_name(t), str_of(arg)));
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof(name), "%.*s", STR_ARG(topic_name(t)));
    struct entry *e = find_entry(matching, name);
    assert_non_null(e);
    assert_ptr_equal(e->topic, t);
    e->seen++;
}

static void match(struct model *m, char *name)
{
    matching = m;
    exact_seen = false;
    topic_match(&m->index, str_of(name), hash_of(name), on_match, name);
    for (size_t i = 0; i < m->count; i++) {
        struct entry *e = &m->entries[i];
        bool hit = e->topic && (e->is_pattern ? naive_match(e->name, name)
                                              : strcmp(e->name, name) == 0);
        assert_int_equal(e->seen, hit);
        e->seen = 0;
    }
}

static void look_up(struct model *m, const char *name)
{
    const struct entry *e = find_entry(m, name);
    const struct topic *t = topic_find(&m->index, str_of(name), hash_of(name),
                                       naive_is_pattern(name));
    assert_ptr_equal(t, e ? e->topic : NULL);
}

static void model_init(struct model *m, uint64_t seed)
{
    *m = (struct model){.count = 0};
    rand_init(&m->rand, seed);
    topic_index_init(&m->index);
}

static void model_fini(struct model *m)
{
    for (size_t i = 0; i < m->count; i++)
        remove_entry(m, &m->entries[i]);
    topic_index_check(&m->index);
    assert_null(m->index.patterns.root);
    assert_int_equal(m->index.patterns.node_count, 0);
    topic_index_fini(&m->index);
    free(m->entries);
}

/* `ops` operations on names of up to `depth` tokens; the share of inserts
 * swings, so that the index grows and empties again. */
static void run(uint64_t seed, unsigned ops, unsigned depth,
                unsigned check_every)
{
    struct model m;
    char name[NAME_MAX_BYTES];
    model_init(&m, seed);
    for (unsigned i = 0; i < ops; i++) {
        unsigned inserts = i / 2000 % 2 ? 2 : 5;
        uint64_t dice = rand_below(&m.rand, 10);
        bool wild = dice < 7 && rand_below(&m.rand, 4) != 0;
        random_name(&m.rand, name, depth, wild);
        if (dice < inserts)
            insert(&m, name);
        else if (dice < 7 && m.count)
            remove_entry(&m, &m.entries[rand_below(&m.rand, m.count)]);
        else if (dice == 7)
            look_up(&m, name);
        else
            match(&m, name);
        if (i % check_every == 0)
            topic_index_check(&m.index);
    }
    model_fini(&m);
}

/* Few names: every operation is followed by a check of everything. */
static void test_small_index(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++)
        run(seed, 70000, 2, 1);
}

static void test_larger_index(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 104; seed++)
        run(seed, 100000, 3, 32);
}

/* Thousands of literal children of one node. */
static void test_wide_index(void **state)
{
    (void)state;
    struct model m;
    char name[NAME_MAX_BYTES];
    model_init(&m, 7);
    for (unsigned i = 0; i < 20000; i++) {
        bool wild = rand_below(&m.rand, 2);
        wide_name(&m.rand, name, wild);
        if (i % 20 == 0 && !wild)
            match(&m, name);
        else if (i % 5 == 0 && m.count)
            remove_entry(&m, &m.entries[rand_below(&m.rand, m.count)]);
        else
            insert(&m, name);
        if (i % 1000 == 0)
            topic_index_check(&m.index);
    }
    assert_true(m.live > 3000);
    model_fini(&m);
}

static void count_match(void *arg, void *value)
{
    (void)value;
    ++*(size_t *)arg;
}

static size_t count_matches(const struct topic_index *ix, const char *name)
{
    size_t n = 0;
    topic_match(ix, str_of(name), hash_of(name), count_match, &n);
    return n;
}

static void test_borders(void **state)
{
    (void)state;
    static const char *const names[] = {">",     "*",   "ns:>",    "ns:*",
                                        "a.*.c", "a.>", "ns:a.b.>"};
    struct model m;
    model_init(&m, 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        insert(&m, names[i]);
    assert_int_equal(count_matches(&m.index, "x"), 2);
    assert_int_equal(count_matches(&m.index, "ns:x"), 2);
    assert_int_equal(count_matches(&m.index, "nt:x"), 0);
    assert_int_equal(count_matches(&m.index, "a.b"), 2);
    assert_int_equal(count_matches(&m.index, "a.b.c"), 3);
    assert_int_equal(count_matches(&m.index, "ns:a.b"), 1);
    assert_int_equal(count_matches(&m.index, "ns:a.b.c"), 2);
    model_fini(&m);
}

/* The longest name there is, one byte a token. */
static void test_deepest_name(void **state)
{
    (void)state;
    char name[CHANNEL_MAX_BYTES + 1];
    char pattern[CHANNEL_MAX_BYTES + 1];
    struct trie t;
    int value;
    size_t n = 0;
    for (size_t i = 0; i < CHANNEL_MAX_BYTES; i++) {
        name[i] = i % 2 ? '.' : 'a';
        pattern[i] = i % 2 ? '.' : '*';
    }
    struct str deep = str_n(pattern, CHANNEL_MAX_BYTES);
    trie_init(&t);
    trie_insert(&t, deep, &value);
    trie_match(&t, str_n(name, CHANNEL_MAX_BYTES), count_match, &n);
    trie_match(&t, str_n(name, CHANNEL_MAX_BYTES - 2), count_match, &n);
    assert_int_equal(n, 1);
    trie_check(&t);
    assert_ptr_equal(trie_remove(&t, deep), &value);
    trie_check(&t);
    assert_int_equal(t.node_count, 0);
    trie_fini(&t);
}

static void test_fini_frees_what_is_left(void **state)
{
    (void)state;
    struct trie t;
    int value;
    size_t n = 0;
    trie_init(&t);
    trie_insert(&t, STR_LIT("ns:a.*.b.*.>"), &value);
    trie_insert(&t, STR_LIT("*.*.*"), &value);
    trie_insert(&t, STR_LIT("a.b"), &value);
    trie_each(&t, count_match, &n);
    assert_int_equal(n, 3);
    assert_null(trie_find(&t, STR_LIT("*.*")));
    assert_null(trie_find(&t, STR_LIT("ns:>")));
    trie_fini(&t);
    assert_null(t.root);
}

/* --- slots ------------------------------------------------------------------ */

enum { SUBS = 40 };

struct part {
    bool live;
    bool served;
    bool may_be; /* was there when the pass began */
};

/* Subscribers come and go while a pass runs: everybody who was there when it
 * began and stays is served once, nobody who came later is. */
static void run_pass(struct rand *r, struct lane *l, struct sub *subs,
                     struct part *parts)
{
    l->limit = l->count;
    for (size_t i = 0; i < SUBS; i++) {
        parts[i].served = false;
        parts[i].may_be = parts[i].live;
    }
    while (l->cursor < l->limit) {
        struct sub *s = l->slots[l->cursor++].sub;
        struct part *p = &parts[s - subs];
        assert_true(p->live && p->may_be && !p->served);
        p->served = true;
        for (uint64_t n = rand_below(r, 4); n > 0; n--) {
            size_t i = (size_t)rand_below(r, SUBS);
            if (parts[i].live)
                lane_remove(l, &subs[i]);
            else
                lane_add(l, &subs[i], 0);
            parts[i].live = !parts[i].live;
            parts[i].may_be = false;
        }
    }
    l->cursor = 0;
    l->limit = 0;
    for (size_t i = 0; i < SUBS; i++)
        assert_true(!parts[i].may_be || parts[i].served);
}

static void test_slots_while_a_pass_runs(void **state)
{
    (void)state;
    struct rand r;
    struct sub subs[SUBS] = {{.index = 0}};
    struct part parts[SUBS] = {{false, false, false}};
    struct topic_index ix;
    rand_init(&r, 11);
    topic_index_init(&ix);
    struct topic *t = topic_get(&ix, STR_LIT("a"), hash_of("a"), false);
    struct lane *l = &t->plain;
    t->asking = 1;
    for (size_t i = 0; i < SUBS; i++)
        subs[i].topic = t;
    for (unsigned i = 0; i < 20000; i++) {
        size_t at = (size_t)rand_below(&r, SUBS);
        if (!parts[at].live) {
            lane_add(l, &subs[at], 0);
            parts[at].live = true;
        }
        run_pass(&r, l, subs, parts);
        topic_index_check(&ix);
    }
    for (size_t i = 0; i < SUBS; i++) {
        if (parts[i].live)
            lane_remove(l, &subs[i]);
    }
    t->asking = 0;
    topic_free(&ix, t);
    topic_index_fini(&ix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_index),
        cmocka_unit_test(test_larger_index),
        cmocka_unit_test(test_wide_index),
        cmocka_unit_test(test_borders),
        cmocka_unit_test(test_deepest_name),
        cmocka_unit_test(test_fini_frees_what_is_left),
        cmocka_unit_test(test_slots_while_a_pass_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
