/* home_parts.h — what home.c (interest, answers) and splice.c (streams over a
 * bus) share of a channel at its home. Nobody else includes this.
 * Thread: the home shard's. Uses: hub/home. */
#ifndef WEIR_HUB_HOME_PARTS_H
#define WEIR_HUB_HOME_PARTS_H

#include "hub/home.h"
#include "hub/shard.h"

struct splice;

struct home_channel {
    UT_hash_handle hh; /* linked: home.channels */
    uint64_t shards;   /* bit set: who has subscribers (or asks) */
    struct ask_list
        asks; /* linked: waiting for feed, stream, acknowledgements */
    uint32_t acks_missing; /* pattern: shards that have not confirmed */
    bool fed;              /* the bus brings the channel (true in-process) */
    bool is_pattern;
    uint32_t error;        /* of the feed: what asks are answered with */
    struct splice *splice; /* owned; NULL: no stream on the bus */
    struct shard *home;    /* borrowed */
    const struct history_policy *history; /* borrowed: the namespace's */
    struct wheel_timer idle; /* runs while only last values or the stream want
                              * the feed */
    uint32_t hash;
    uint16_t len;
    char name[];
};

static inline struct str home_channel_name(const struct home_channel *e)
{
    return str_n(e->name, e->len);
}

/* Patterns and exact channels cannot have the same name, so one table holds
 * both. NULL: nobody here asks for it. */
static inline struct home_channel *home_find(struct shard *s, struct str name,
                                             uint32_t hash)
{
    struct home_channel *e = NULL;
    HASH_FIND_BYHASHVALUE(hh, s->home.channels, name.p, name.n, hash, e);
    return e;
}

/* Answer whoever waits, if all they wait for is there. May free e: nothing of
 * it is touched afterwards. (home.c) */
void home_try_answer(struct shard *home, struct home_channel *e);
/* Answer them with an error. The same holds. */
void home_refuse(struct shard *home, struct home_channel *e, uint32_t error);
/* What the channel remembers of a publication that was not seen before. Takes
 * it, and gives what is to be delivered: NULL for nothing. (home.c) */
struct msg *home_keep(struct shard *home, struct msg *m);
/* The shards that want it, a bit set. (home.c) */
uint64_t home_interested(const struct shard *home, const struct msg *m);
/* To every one of them. Takes the reference. (intake.c) */
void home_deliver(struct shard *home, struct msg *m);
/* The same, but to patterns only. */
void home_deliver_patterns(struct shard *home, struct msg *m);
/* Something of the channel was lost for good: its subscribers get nothing more
 * until they have come back. (intake.c) */
void home_lose(struct shard *home, struct home_channel *e);
/* history.forgotten; arg is the shard. (intake.c) */
void home_forgotten(void *arg, const struct history_stream *stream);

/* How often expired history is looked for. */
#define HOME_AGE_MS 1000

#endif
