/* throttle.h — what throttled subscribers must get: the naive account.
 *
 *     driver   publishes, subscribes, chokes, lets time pass, reads wires
 *     oracle   is told all of it, knows every value there ever was, and
 *              judges each line that comes and each moment in which none does
 *
 * It judges, for every client, subscription and item:
 *   order      only published values, each once, never an older one later
 *   rate       at most rate + 1 in a second (below 1/s: 2 in 1/rate), and one
 *              for each of the client's own transitions
 *   quiet      what has not changed for 1/rate comes at once
 *   freshness  a value, or a newer one, within 1/rate of its publication or
 *              of the end of what kept the client from reading
 *   state      a merged state is that after some publication
 *   loss       delivered + lost is what was published, told where it happened
 *   snapshot   the newest values of one moment; what follows continues there
 *   urgent     none is skipped, none overtakes what its order group had
 *   bandwidth  a bucket of a quarter of a second, and one item
 *
 * It forgives, and says so where it does:
 *   - with each urgent one an item may come three times more: what waited
 *     before it, itself, what has come behind it meanwhile; all of that at
 *     once, whatever the bandwidth
 *   - a late client gets what is newest: an urgent one may overtake what
 *     something still newer has replaced
 *   - n may count again what a flush has brought already
 *   - rates, bytes and marks are not judged while shards are late themselves,
 *     nor bytes in the moment in which a socket opens
 *
 * Data is "<number>:<the rest>": publications are numbered from 1. A patch
 * is "<number>:<field>", lower case to set it, upper case to delete it; the
 * state is "<number>:<field><number>;..." in the order of the alphabet.
 *
 * Why:    the machinery has lanes, slots and rings; this has one list.
 * Owns:   its account. Borrows: policies. Thread: one.
 * Bounds: MODEL_*. Uses: base/, throttle/policy, hub/codec. */
#ifndef WEIR_TESTS_MODEL_THROTTLE_H
#define WEIR_TESTS_MODEL_THROTTLE_H

#include <sys/queue.h>

#include "hub/codec.h"
#include "throttle/policy.h"

#define MODEL_CHANNELS 4
#define MODEL_PATTERN MODEL_CHANNELS /* the topic that reaches them all */
#define MODEL_TOPICS (MODEL_CHANNELS + 1)
#define MODEL_ITEMS 6
#define MODEL_FIELDS 4
#define MODEL_POLICIES 3
#define MODEL_TIMES 160
/* A tick is up to 1 ms after its moment on the grid, the wheel up to 2; items
 * rest as much longer before they count as quiet. */
#define MODEL_SLACK_NS 4000000u

extern const struct codec model_codec;
/* "a", "b", "c", "d" and the pattern "*". */
extern const char *const model_topics[MODEL_TOPICS];

struct model_pub {
    uint64_t at_ns;
    uint32_t item_before;    /* the same item's; 0: none */
    uint32_t item_after;     /* 0: none so far */
    uint32_t channel_before; /* the same channel's */
    uint32_t urgent_before;  /* the last urgent one of the same channel */
    uint32_t nth_of_channel; /* from 1 */
    uint32_t nth_of_item;
    uint8_t channel;
    uint8_t item;
    bool urgent;
    uint16_t padding; /* in the data, behind text */
    char text[64];    /* what is delivered */
};

struct model_times {
    uint64_t at_ns[MODEL_TIMES]; /* the last ones, in a circle */
    unsigned count;
};

/* What a subscription got of one item. */
struct model_view {
    uint32_t got;              /* newest number; 0: nothing */
    uint64_t got_ns;           /* when it came */
    uint64_t owed_ns;          /* since when a newer one is owed; 0: none */
    bool at_once;              /* what is owed need not wait for a tick */
    bool by_lane;              /* `got` came live */
    struct model_times *times; /* owned: deliveries since the last retune */
};

/* One subscription from the question on. */
struct model_sub {
    struct model_sub *next; /* the client's next, newer */
    struct model_client *client;
    unsigned topic;
    const struct throttle_policy *policy; /* borrowed */
    struct throttle_grant grant;
    bool answered;
    bool begun; /* its S line was read */
    bool ended;
    bool retuned;
    bool was_ring;       /* and lost what it lost */
    bool is_vague;       /* its snapshot's moment is not known */
    bool flushed;        /* got what waited, for another's urgent one */
    uint32_t asked;      /* publications the home surely had at the question */
    uint32_t published;  /* all there were at the answer */
    uint32_t old;        /* up to here only the snapshot brings them */
    uint32_t live;       /* above here all of them come this way; >= old */
    uint32_t owed;       /* items newer than this are owed; <= live */
    uint32_t retuned_at; /* publications there were */
    uint32_t told_left;  /* lines of the snapshot still to come */
    uint32_t told_last;
    uint32_t told_count;
    uint32_t untold;    /* of the snapshot; they follow as publications */
    uint64_t since_ns;  /* its grant holds since */
    uint32_t delivered; /* above `live` */
    uint32_t lost;
    struct model_times kicks; /* reasons for one more delivery */
    uint32_t channel_got[MODEL_CHANNELS];
    uint32_t urgent_got[MODEL_CHANNELS];
    struct model_view views[MODEL_CHANNELS][MODEL_ITEMS];
};

/* Bytes of one policy with a bandwidth. */
struct model_bucket {
    double level;
    uint64_t at_ns;
    uint64_t over_ns; /* more than it may, until something urgent explains it;
                       * 0: not */
};

struct model_client {
    LIST_ENTRY(model_client) link; /* linked: model.clients */
    struct model_sub *subs;        /* owned, oldest first */
    const char *name;              /* borrowed */
    bool choked;
    bool was_choked;
    uint64_t now_ns;     /* of what is read */
    uint64_t flushed_ns; /* when something urgent came last */
    uint64_t free_ns;    /* its socket takes everything since */
    uint32_t urgent;     /* urgent publications it had to get */
    struct model_bucket buckets[MODEL_POLICIES];
};

struct model {
    struct throttle_policy policies[MODEL_POLICIES];
    unsigned policy_count;
    unsigned policy_of[MODEL_TOPICS];
    unsigned home_of[MODEL_CHANNELS]; /* shard: publications of one home keep
                                       * their order */
    bool is_prompt; /* everything is done before time passes */
    bool trace;
    LIST_HEAD(, model_client) clients;
    const char *label;              /* printed when something is wrong */
    const struct model_sub *judged; /* the same; NULL: none in particular */
    struct model_pub *pubs;         /* owned; [0] is unused */
    uint32_t count;                 /* the newest number */
    uint32_t settled;               /* up to here none is under way */
    uint32_t cap;
    uint32_t newest[MODEL_CHANNELS][MODEL_ITEMS];
    uint32_t newest_of_channel[MODEL_CHANNELS];
    uint32_t urgent_of_channel[MODEL_CHANNELS];
    uint32_t fields[MODEL_CHANNELS][MODEL_ITEMS][MODEL_FIELDS];
    uint64_t deliveries; /* counters: was it worth it? */
    uint64_t conflated;
    uint64_t lost;
    uint64_t flushed;
    uint64_t told;
};

/* `m` zeroed, with policies and topics set. */
void model_init(struct model *m);
void model_fini(struct model *m);

/* A publication enters; its number is m->count afterwards. Appends the data
 * to publish. `field` counts where the channel's policy merges: 0..3 to set,
 * 4..7 to delete. */
void model_publish(struct model *m, unsigned channel, unsigned item,
                   bool urgent, unsigned field, unsigned padding,
                   uint64_t now_ns, struct buf *data);

/* `name` is for the trace. */
void model_client_init(struct model *m, struct model_client *c,
                       const char *name);
void model_client_fini(struct model_client *c);

/* The client asks; the newest publications the home surely knows are those
 * up to `settled`. */
struct model_sub *model_ask(struct model *m, struct model_client *c,
                            unsigned topic, struct throttle_grant grant,
                            uint32_t settled);
/* The one that lasts; NULL without. */
struct model_sub *model_open_sub(const struct model_client *c, unsigned topic);
void model_answered(struct model *m, struct model_client *c, unsigned topic,
                    uint32_t told, uint32_t untold, uint64_t now_ns);
void model_retuned(struct model *m, struct model_sub *s,
                   struct throttle_grant grant, uint64_t now_ns);
void model_ended(struct model_sub *s);
/* The socket refuses bytes; it takes some; it takes all. */
void model_choked(struct model_client *c);
void model_kicked(struct model_client *c, uint64_t now_ns);
void model_free(struct model_client *c, uint64_t now_ns);

/* What came over the wire since the last call; whole lines. */
void model_read(struct model *m, struct model_client *c, struct str wire,
                uint64_t now_ns);
/* Nothing is under way any more: who keeps up has everything it is owed by
 * now. */
void model_judge(struct model *m, struct model_client *c, uint64_t now_ns);
/* All sockets took everything, and all intervals are over. */
void model_judge_end(struct model *m, struct model_client *c);
/* When all is owed at the latest, in ns from the newest publication. */
uint64_t model_longest_ns(const struct model_client *c);

#endif
