/* transport.h — what the hub needs from a socket and from a session.
 * Why:    the hub batches and bounds; gateway/transport moves bytes. A fake
 *         one of a few lines makes every hub test and benchmark possible.
 * Thread: all calls on the client's shard. Uses: base/. */
#ifndef WEIR_HUB_TRANSPORT_H
#define WEIR_HUB_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "hub/position.h"

struct buf;
struct client;
struct msg;
struct sub;

enum write_result {
    WRITE_DONE,   /* the kernel has everything */
    WRITE_CHOKED, /* all was taken, some waits; client_writable comes later */
    WRITE_DEAD,   /* the connection is broken; transport will report it gone */
};

struct transport {
    /* Take all n bytes (whole frames). Not called again while choked. */
    enum write_result (*write)(struct client *c, const char *p, size_t n);
    /* Say goodbye and close; called once, nothing is written afterwards.
     * The transport frees its session later by client_gone. */
    void (*close)(struct client *c, uint32_t code, struct str reason);
    /* Cut the connection without a word; also after close. */
    void (*kill)(struct client *c);
    /* What is sent is chosen late from now on: keep the kernel's share of
     * unsent bytes small. NULL where there is no kernel. */
    void (*keep_late)(struct client *c);
};

/* What the home shard says to a subscription. */
struct sub_answer {
    uint32_t error;              /* 0 or a protocol code */
    bool known;                  /* the last values are complete */
    struct msg *const *snapshot; /* [count] lent, oldest first */
    uint32_t count;
    struct position position; /* of the stream; epoch 0: none */
    uint8_t
        recovery; /* enum recovery: DONE makes the snapshot what was missed */
};

/* Why a subscription gets nothing more. */
enum loss {
    LOSS_STREAM, /* publications of its stream are missing, or it is another */
    LOSS_GAP,    /* the bus may have lost something, and nobody can say what */
};

struct session_events {
    /* The subscription asked for with hub_subscribe is answered: queue the
     * reply now; publications follow it. The sub (removed afterwards when
     * there is an error) is valid only during the call. Returns how many of
     * the snapshot, from its beginning, the reply holds; the rest follows as
     * publications. */
    uint32_t (*subscribed)(struct client *c, struct sub *s,
                           const struct sub_answer *answer);
    /* A live subscription has missed something: it got nothing since, and
     * is told now. hub_unsubscribe is the session's to call, whatever else it
     * does. */
    void (*lost)(struct client *c, struct sub *s, enum loss why);
    /* The bus may have lost something of a plain subscription. True: it was told
     * and goes on. False: it is lost. */
    bool (*gap)(struct client *c, struct sub *s);
    /* NULL, or where a client's stream stands is told with every publication
     * (client.marks): append what goes before the one that brings `s` to
     * s->offset. */
    void (*mark)(struct client *c, const struct sub *s, struct buf *to);
    /* client_close was called: what is queued goes out, then transport->close.
     * The session bounds how long that may take (transport->kill). */
    void (*closing)(struct client *c);
};

#endif
