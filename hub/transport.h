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

struct client;
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
};

struct session_events {
    /* The subscription asked for with hub_subscribe is answered: queue the
     * reply now; publications follow it. error is 0 or a protocol code; the
     * sub (already removed when error) is valid only during the call. */
    void (*subscribed)(struct client *c, struct sub *s, uint32_t error);
    /* client_close was called: what is queued goes out, then transport->close.
     * The session bounds how long that may take (transport->kill). */
    void (*closing)(struct client *c);
};

#endif
