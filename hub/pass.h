/* pass.h — one batch of publications on its way to the subscribers of a lane.
 * Why:    encoded once per encoding and shared; a frame of a throttled lane
 *         keeps its pass, so that what a socket turns out not to take can
 *         still be replaced by something newer (backlog.h).
 * Owns:   references to publications and frames. Thread: one shard's.
 * Bounds: FANOUT_BATCH_MAX publications. Uses: hub/lane, hub/frame, codec. */
#ifndef WEIR_HUB_PASS_H
#define WEIR_HUB_PASS_H

#include "hub/codec.h"
#include "hub/frame.h"
#include "hub/lane.h"

struct shard;

struct pass {
    uint32_t refs; /* the lane's while it runs, and its frames' */
    uint32_t count;
    uint32_t bytes;      /* of its publications, about */
    bool urgent;         /* its first and only one is */
    struct lane *lane;   /* borrowed: compare together with lane_id */
    uint64_t lane_id;    /* pace.id; 0 of a plain lane */
    uint64_t binary_seq; /* greatest of those that are not JSON; 0: all are */
    uint64_t least_seq;  /* of the publications; a tick's come in any order */
    struct frame *frames[ENCODING_COUNT]; /* shared; NULL until first needed */
    struct frame **singles; /* owned array [count * ENCODING_COUNT] or NULL:
                             * one publication each, for clients that must
                             * not get all of the batch */
    struct lane_pub pubs[]; /* shared msgs */
};

/* The lane's next batch, taken from what is pending. */
struct pass *pass_begin(struct lane *l);
/* The lane is through: its frames and its reference go. */
void pass_end(struct pass *p);
void pass_unref(struct pass *p);

/* The whole batch; still the pass's. */
struct frame *pass_frame(struct shard *s, struct pass *p, enum encoding e);
/* Its i-th publication alone. */
struct frame *pass_single(struct shard *s, struct pass *p, uint32_t i,
                          enum encoding e);
/* The same, not kept by the pass (which may be through): the caller's. */
struct frame *pass_new_single(struct shard *s, struct pass *p, uint32_t i,
                              enum encoding e);

/* One publication as a frame of its own, one reference, the caller's; shared
 * with others who get it alone where nothing in it is about one client. */
struct frame *pass_encode_for(struct shard *s, const struct lane *l,
                              enum encoding e, const struct lane_pub *pub,
                              uint32_t lost);

#define PASS_CACHE_SIZE 256

/* Clients that fell behind together get the same values one after another. */
struct pass_cache {
    struct {
        struct msg *msg; /* shared; NULL: free */
        struct frame *frame;
        uint64_t lane_id;
        enum encoding encoding;
    } entries[PASS_CACHE_SIZE];
    uint32_t count;
};

void pass_cache_clear(struct pass_cache *cache);

#endif
