/* conn.h — thousands of subscribers, their sockets and what they received.
 *
 *   crowd ── conns[0..n) ── each reads one channel through its dialect
 *                           (how to ask, how to read: ws.c, sse.c)
 *
 * Why:    the same reading code whoever sends, so that a gateway and a bare
 *         send() loop can be compared.
 * Owns:   the sockets, unread remainders, counters. Borrows: loop, dialect,
 *         channels (the caller keeps them). Thread: the generator.
 * Bounds: a message of CONN_CARRY_MAX; `count` connections, `at_once` of them
 *         in the handshake at a time (CONN_OPENING). Uses: loop, stamp, hist. */
#ifndef LOADTEST_CONN_H
#define LOADTEST_CONN_H

#include "loadtest/hist.h"
#include "loadtest/loop.h"
#include "loadtest/stamp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CONN_CARRY_MAX ((size_t)32 << 20)
#define CONN_OPENING 64
#define CHANNEL_NAME_SIZE 32

enum conn_state {
    CONN_CLOSED,
    CONN_CONNECTING,
    CONN_UPGRADING,   /* waits for the head of the HTTP answer */
    CONN_SUBSCRIBING, /* waits for the answer to its first frame */
    CONN_LIVE,
};

struct channel {
    char name[CHANNEL_NAME_SIZE];
    uint16_t id;      /* in every stamp of it */
    uint64_t seq;     /* last number published */
    const char *wish; /* borrowed: JSON that goes with a subscribe, or NULL */
    const char *from; /* borrowed: members of a subscribe that say where to
                       * recover from, or NULL */
};

struct conn {
    struct watch watch;      /* must be first */
    struct crowd *crowd;     /* borrowed */
    struct channel *channel; /* borrowed: the first one it reads */
    uint16_t channel_count;  /* how many from there on; WebSocket only */
    uint16_t unanswered;     /* of them, while subscribing */
    uint8_t state;           /* enum conn_state */
    bool deaf;               /* a slow client: does not read while live */
    uint16_t close_code;     /* of the server's close frame, 0: none */
    uint32_t carry_length;
    uint32_t part_length;
    char *carry; /* owned: bytes of an incomplete unit */
    char *part;  /* owned: fragments of a WebSocket message */
    struct tally tally;
};

struct dialect {
    const char *name; /* in scenario files */
    /* Writes the HTTP request; returns its length. NULL: live at once. */
    size_t (*request)(const struct conn *c, char *out, size_t size);
    /* Eats whole units from n bytes; returns how many bytes, -1 to give the
     * connection up (conn_fail was called). */
    ssize_t (*on_bytes)(struct conn *c, const char *p, size_t n);
    /* Says good-bye before a close; may be NULL. */
    void (*on_leave)(struct conn *c);
};

struct crowd {
    struct loop *loop;             /* borrowed */
    const struct dialect *dialect; /* borrowed */
    uint16_t port;
    uint16_t sources;   /* how many 127.0.0.x it comes from */
    int receive_buffer; /* bytes, SO_RCVBUF; 0: the kernel's choice */
    int segment;        /* bytes, TCP_MAXSEG; 0: the kernel's choice */
    uint32_t at_once;   /* this many in the handshake at a time */
    struct conn *conns; /* owned */
    uint32_t count;
    uint32_t live;
    uint32_t opening;
    uint32_t failed; /* never got live, or were lost */
    char first_failure[160];
    bool measuring; /* fill `latency` */
    struct hist latency;
    uint64_t deliveries;
    uint64_t received_bytes;
    uint64_t pings; /* answered */
    uint64_t last_arrival_ns;
    struct losses losses;
    /* Keeps the book instead of `tally`, which knows one channel without
     * gaps; false: the stamp is of nothing this client reads. May be NULL. */
    bool (*on_stamp)(struct conn *c, const struct stamp *s);
    void *stamp_arg;           /* borrowed: on_stamp's */
    const struct conn *tapped; /* borrowed: its bytes go to `tap` */
    char *tap;                 /* owned */
    size_t tap_length;
    size_t tap_size;
};

/* Prepares room for count connections; conn i reads channels[i % channels]. */
void crowd_init(struct crowd *k, struct loop *l, const struct dialect *d,
                uint16_t port, uint32_t count);
/* Closes everything and frees it. */
void crowd_fini(struct crowd *k);
/* Gives each connection its channel, round robin. */
void crowd_assign(struct crowd *k, struct channel *channels, uint32_t n);
/* Gives each connection all of them. */
void crowd_assign_all(struct crowd *k, struct channel *channels, uint16_t n);
/* Opens connections [from, from + n) and waits until they are live. Returns 0,
 * or -1 when any failed (k->first_failure says why). */
int crowd_open(struct crowd *k, uint32_t from, uint32_t n);
/* Says good-bye on every live connection and closes it. */
void crowd_close(struct crowd *k);
/* Ends the book-keeping: what was published and did not come is missing. Not
 * for a crowd with on_stamp. */
void crowd_settle(struct crowd *k);

/* Starts keeping the raw bytes of one connection; crowd_untap ends it. */
void crowd_tap(struct crowd *k, const struct conn *c);
void crowd_untap(struct crowd *k);

/* Reads what the socket has; a short read is the last, since another event
 * comes with more bytes. */
void conn_read(struct conn *c);
/* Reads until nothing is left, not even an end or an error whose event has
 * been seen already. */
void conn_read_to_end(struct conn *c);
/* Reads at most n bytes, deaf or not: a slow link. Returns how many. */
size_t conn_sip(struct conn *c, size_t n);
/* Sends a small piece; failure closes the connection as failed. 0 or -1. */
int conn_send(struct conn *c, const char *p, size_t n);
/* Every stamp in n bytes of payload is counted. Returns how many there were. */
unsigned conn_count(struct conn *c, const char *p, size_t n);
/* The handshake is over. */
void conn_live(struct conn *c);
/* Closes it, counts it as failed and keeps the first reason. Returns -1. */
int conn_fail(struct conn *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
