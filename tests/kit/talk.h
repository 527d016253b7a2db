/* talk.h — a session whose transport is a buffer: what it says is read line
 * by line, what it is told is a call.
 *
 *     talk_say(t, "{\"connect\":{},\"id\":1}")    talk_expect(t, "{...}\n")
 *
 * Why:    the state machine of gateway/session.c without sockets.
 * Owns:   the talk is the caller's: talk_end ends and frees it.
 * Thread: its loop's. Uses: tests/kit/gate, gateway/session. */
#ifndef WEIR_TESTS_KIT_TALK_H
#define WEIR_TESTS_KIT_TALK_H

#include "gateway/session.h"
#include "tests/kit/gate.h"

struct talk {
    struct session session; /* first: session_of */
    struct buf wire;        /* owned: everything written */
    size_t at;              /* how much of it was looked at */
    struct buf lines;       /* owned: of the frames cut so far */
    size_t lines_at;
    enum write_result next_write; /* what the socket says from now on */
    bool paused;                  /* the session asked for no more messages */
    bool gone;                    /* killed, or its peer left */
    unsigned frames;              /* text frames seen by talk_next */
    unsigned writes;
    unsigned kills;
    unsigned closes;
    uint32_t close_code;
    char close_reason[128];
};

/* A WebSocket client of centrifuge JSON. */
struct talk *talk_open(struct loop *l);
/* A unidirectional stream: pushes only, as events. */
struct talk *talk_open_uni(struct loop *l);
/* A plain stream that is up. */
struct talk *talk_open_plain(struct loop *l, enum encoding encoding);
/* The client sends a message. Its answers leave with the next turn. */
void talk_say(struct talk *t, const char *text);
/* Settle; then the next line (of a frame, or of an event), if any. */
bool talk_next(struct talk *t, struct str *line);
/* Settle; the lines not looked at yet are exactly these. */
void talk_expect(struct talk *t, const char *lines);
/* Settle; it was told goodbye exactly so. */
void talk_expect_close(struct talk *t, uint32_t code, const char *reason);
/* printf into one buffer: for one use at a time. */
const char *talk_text(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Connect it: say so, and read the reply. */
void talk_connect(struct talk *t);
/* Its peer leaves. */
void talk_leave(struct talk *t);
/* Leaves if it must, and frees it. */
void talk_end(struct talk *t);

#endif
