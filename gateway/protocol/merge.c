#include "gateway/protocol/merge.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "base/hash.h"
#include "base/mem.h"
#include "gateway/protocol/json.h"

/* Up to so many members a list is searched faster than a table. */
#define LIST_MAX 8
/* Members allocated at a time; most states have fewer. */
#define CHUNK_MEMBERS 24

/* Patch and state are read into trees of members, the state only as deep as
 * the patch reaches:
 *
 *     state {"a":{"b":1},"c":{"d":2}}    patch {"a":{"b":2}}
 *
 *     a ── b 1                           a ── b 2
 *     c {"d":2}    (text)
 */
struct object {
    STAILQ_HEAD(, member) members; /* linked, in order of appearance */
    unsigned count;
    struct member *table; /* by name; NULL while the list will do */
};

struct member {
    struct str key;  /* borrowed: as written first, with quotes */
    struct str name; /* borrowed: decoded, in the text or in merger.names */
    enum json_type type;
    bool is_placed;       /* of the patch: its place is the state's */
    struct str raw;       /* borrowed: the value's text, unless ... */
    struct object inner;  /* ... it is an object and was looked into */
    struct member *patch; /* of the state: the patch's of that name, or NULL */
    STAILQ_ENTRY(member) link;
    UT_hash_handle hh;
};

struct chunk {
    SLIST_ENTRY(chunk) link;
    size_t used;
    struct member members[CHUNK_MEMBERS];
};

struct merger {
    SLIST_HEAD(, chunk) chunks; /* owned */
    struct buf names;           /* owned: decoded ones */
    size_t names_max;           /* bytes they can have together */
};

static const struct object no_members;

static struct member *new_member(struct merger *g)
{
    struct chunk *c = SLIST_FIRST(&g->chunks);
    if (!c || c->used == CHUNK_MEMBERS) {
        c = mem_alloc(sizeof(*c));
        c->used = 0;
        SLIST_INSERT_HEAD(&g->chunks, c, link);
    }
    return &c->members[c->used++];
}

static void object_init(struct object *o)
{
    STAILQ_INIT(&o->members);
    o->count = 0;
    o->table = NULL;
}

static void merger_fini(struct merger *g)
{
    struct chunk *c;
    /* All tables before any chunk: a table is reached through its members. */
    SLIST_FOREACH(c, &g->chunks, link) {
        for (size_t i = 0; i < c->used; i++)
            HASH_CLEAR(hh, c->members[i].inner.table);
    }
    while ((c = SLIST_FIRST(&g->chunks))) {
        SLIST_REMOVE_HEAD(&g->chunks, link);
        free(c);
    }
    buf_free(&g->names);
}

static struct str decode(struct merger *g, struct str key)
{
    struct str name;
    /* Room for all names at once, so that the ones decoded stay put. */
    if (g->names.cap == 0 && memchr(key.p, '\\', key.n))
        buf_reserve(&g->names, g->names_max);
    int rc = json_text((struct json_value){JSON_STRING, key}, &g->names, &name);
    CHECK(rc == 0);
    return name;
}

static struct member *find(const struct object *o, struct str name)
{
    struct member *m;
    if (o->table) {
        HASH_FIND(hh, o->table, name.p, name.n, m);
        return m;
    }
    STAILQ_FOREACH(m, &o->members, link) {
        if (str_eq(m->name, name))
            return m;
    }
    return NULL;
}

static void add(struct object *o, struct member *m)
{
    STAILQ_INSERT_TAIL(&o->members, m, link);
    o->count++;
    if (o->count <= LIST_MAX)
        return;
    /* All of them the first time, later only the new one. */
    if (!o->table)
        m = STAILQ_FIRST(&o->members);
    for (; m; m = STAILQ_NEXT(m, link))
        HASH_ADD_KEYPTR(hh, o->table, m->name.p, m->name.n, m);
}

/* The member of that name, without a value. */
static struct member *put(struct merger *g, struct object *o, struct str key,
                          const struct object *patch)
{
    struct str name = decode(g, key);
    struct member *m = find(o, name);
    if (m) {
        HASH_CLEAR(hh, m->inner.table);
    } else {
        m = new_member(g);
        *m = (struct member){.key = key, .name = name};
        m->patch = patch ? find(patch, name) : NULL;
        add(o, m);
    }
    object_init(&m->inner);
    return m;
}

/* Read the object that is walked. Without a patch it is the patch itself and
 * all of it is looked into; else only what the patch has objects for. Calls
 * itself JSON_MAX_DEPTH deep at most. */
static void read_object(struct merger *g, struct json_iter *it,
                        struct object *o, const struct object *patch)
{
    struct str key;
    enum json_type type;
    while (json_next_key(it, &key, &type)) {
        struct member *m = put(g, o, key, patch);
        bool is_touched = m->patch && m->patch->type == JSON_OBJECT;
        m->type = type;
        if (type == JSON_OBJECT && (!patch || is_touched)) {
            struct json_iter inner = json_enter(it);
            read_object(g, &inner, &m->inner, patch ? &m->patch->inner : NULL);
            json_leave(it, &inner);
        } else {
            m->raw = json_take(it).raw;
        }
    }
}

static void write_key(struct buf *to, size_t start, struct str key)
{
    if (to->n > start)
        buf_char(to, ',');
    buf_str(to, key);
    buf_char(to, ':');
}

static void write_object(struct buf *to, const struct object *state,
                         const struct object *patch);

/* What a member of the patch, which is not null, makes of a value. */
static void write_value(struct buf *to, const struct member *patch,
                        const struct object *state)
{
    if (patch->type == JSON_OBJECT)
        write_object(to, state, &patch->inner);
    else
        buf_str(to, patch->raw);
}

static void write_object(struct buf *to, const struct object *state,
                         const struct object *patch)
{
    struct member *m;
    buf_char(to, '{');
    size_t start = to->n;
    STAILQ_FOREACH(m, &state->members, link) {
        struct member *p = m->patch;
        if (p)
            p->is_placed = true;
        if (p && p->type == JSON_NULL)
            continue;
        write_key(to, start, m->key);
        if (p)
            write_value(to, p, &m->inner);
        else
            buf_str(to, m->raw);
    }
    STAILQ_FOREACH(m, &patch->members, link) {
        if (m->is_placed || m->type == JSON_NULL)
            continue;
        write_key(to, start, m->key);
        write_value(to, m, &no_members);
    }
    buf_char(to, '}');
}

static void merge_objects(struct buf *to, const struct json_value *state,
                          struct json_value patch)
{
    struct merger g = {.names = BUF_INIT};
    struct object before;
    struct object change;
    SLIST_INIT(&g.chunks);
    object_init(&before);
    object_init(&change);
    g.names_max = patch.raw.n + (state ? state->raw.n : 0);
    struct json_iter it = json_iter(patch);
    read_object(&g, &it, &change, NULL);
    if (state) {
        it = json_iter(*state);
        read_object(&g, &it, &before, &change);
    }
    write_object(to, &before, &change);
    HASH_CLEAR(hh, before.table);
    HASH_CLEAR(hh, change.table);
    merger_fini(&g);
}

int merge_patch(struct buf *to, struct str state, struct str patch,
                size_t max_bytes)
{
    struct json_value s;
    struct json_value p;
    size_t start = to->n;
    if (json_parse(patch, &p) < 0 || (state.n && json_parse(state, &s) < 0))
        return ERR_INVALID;
    if (p.type == JSON_OBJECT)
        merge_objects(to, state.n && s.type == JSON_OBJECT ? &s : NULL, p);
    else
        buf_str(to, p.raw);
    if (to->n - start <= max_bytes)
        return 0;
    to->n = start;
    return ERR_TOO_BIG;
}
