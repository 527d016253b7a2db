/* session.h — one client's conversation, whatever carries it.
 *
 *     NEW --connect--> CONNECTING --verdict, subs answered--> CONNECTED
 *      |                   | commands wait in order (held)        |
 *      `--10 s: 3502       `--error: FAILED (stale timer closes)  `--> gone
 *
 * Why:    connect may have to ask somebody else; commands of one client keep
 *         their order all the same. The transport hands in whole messages
 *         and moves bytes; everything in between is here.
 * Owns:   its client, held commands and timer. Embedded first in what the
 *         transport allocates. Thread: the shard's.
 * Bounds: held commands: one message beyond what the transport had read when
 *         it was told to pause, at most that message and SESSION_HELD_MAX bytes (else 3501).
 * Uses:   hub/, protocol/, rules, publish, auth. */
#ifndef WEIR_GATEWAY_SESSION_H
#define WEIR_GATEWAY_SESSION_H

#include "gateway/loop.h"
#include "gateway/protocol/codes.h"
#include "hub/client.h"

/* Beside one whole message. */
#define SESSION_HELD_MAX (1u << 20)

enum session_state {
    SESSION_NEW,
    SESSION_CONNECTING,
    SESSION_CONNECTED,
    SESSION_FAILED, /* connect was answered with an error */
};

struct command;
struct meter;
struct session;

/* What a transport does for its sessions beyond struct transport. */
struct session_ops {
    struct transport transport;
    /* Stop and start delivering messages (flow control). */
    void (*pause)(struct session *s, bool paused);
    /* A subscription of a plain stream is answered (NULL elsewhere), or
     * ended before it was (sub and answer are NULL). */
    uint32_t (*subscribed)(struct session *s, struct sub *sub,
                           const struct sub_answer *answer);
    /* A plain stream: a gap of the bus is told. What goes before an event that
     * brings `sub` to its offset. (NULL elsewhere) */
    void (*gap)(struct session *s, const struct sub *sub);
    void (*mark)(struct session *s, const struct sub *sub, struct buf *to);
    /* A plain stream has got a subscription of the server's. (NULL elsewhere) */
    void (*arrange)(struct session *s);
    bool bidirectional; /* speaks commands and pongs; otherwise pushes only */
};

struct session {
    struct client client;
    const struct session_ops *ops; /* borrowed: constant */
    struct loop *loop;             /* borrowed */
    struct grave grave;
    struct wheel_timer timer;
    uint8_t state; /* enum session_state */
    bool awaiting_pong;
    bool paused;
    bool plain; /* /sse: no centrifuge pushes, heartbeats are comments */
    uint32_t connect_id;
    uint8_t session_id[16]; /* UUID of a unidirectional session */
    uint32_t asking;        /* subscriptions not answered yet */
    uint64_t pinged_ms;
    struct buf held;         /* owned: commands that must wait */
    struct buf connect_subs; /* owned: members of the connect result's subs */
    uint32_t connect_error;  /* of one of them, where trying again helps; 0 */
    struct meter *changes;   /* owned; NULL until it changes a rate */
    char reason[124];        /* of the close, when it came from outside */
};

/* Begin: NEW, the stale timer runs. `s` is zeroed. */
void session_open(struct session *s, struct loop *l,
                  const struct session_ops *ops, enum encoding encoding);
/* A whole message from the client. */
void session_message(struct session *s, struct str text);
/* The socket is gone; the transport buries the session afterwards. */
void session_gone(struct session *s);

/* A unidirectional connect: `request` is a ConnectRequest (validated JSON
 * object). The connect push follows when subs are answered. */
struct json_value;
void session_connect_uni(struct session *s, const struct json_value *request);
/* A connect command: once, first. (connect.c) */
void session_connect(struct session *s, const struct command *cmd);
/* A subscription of a connect under way is answered; with the last one the
 * connect is. */
uint32_t session_connect_answered(struct session *s, const struct sub *sub,
                                  const struct sub_answer *answer);
void session_connect_finish(struct session *s);
/* Commands that waited go on after this turn's letters. */
void session_resume_later(struct session *s);
bool session_wants_pong(const struct session *s);
void session_start_pings(struct session *s);
/* /sse: the stream is up (its head was written): heartbeats start. */
void session_start_plain(struct session *s);

/* Commands (commands.c) and replies. */
void session_command(struct session *s, const struct command *cmd);
/* Begin a reply or push; append JSON to the result, then end it. Replies made
 * while the client's message is handled leave in one frame. */
struct buf *session_begin(struct session *s);
void session_end(struct session *s);
void session_reply_error(struct session *s, uint32_t id, uint32_t error);

/* Close with a code and its standard reason. */
void session_close(struct session *s, uint32_t code);
/* With a reason from outside (copied, cut to what a close frame takes). */
void session_close_reason(struct session *s, uint32_t code, struct str reason);

/* Server-side: for the API; `since` may be NULL. 0 or an error code. */
struct recover_request;
uint32_t session_server_subscribe(struct session *s, struct str channel,
                                  const struct recover_request *since);
/* Ends a subscription by order of the server: push 2000. */
void session_server_unsubscribe(struct session *s, struct sub *sub);

static inline struct session *session_of(struct client *c)
{
    return (struct session *)c; /* client is the first member */
}

#endif
