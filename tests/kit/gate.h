/* gate.h — a whole gateway in the test's thread: app, hub, loops, and peers
 * on socket pairs. No listener, no threads, and a clock that stands still.
 *
 *     gate_init -> gate_open (http_accept) -> gate_send -> gate_read
 *
 * Why:    every byte that leaves is a function of the bytes that came in, of
 *         which shards were turned, and of gate_pass: nothing sleeps.
 * Owns:   a gate its loops and config, a peer its socket and what it read.
 * Thread: one. From gate_init on, CLOCK_MONOTONIC is the gate's in the whole
 *         process (tests/kit/still).
 * Uses:   gateway/. */
#ifndef WEIR_TESTS_KIT_GATE_H
#define WEIR_TESTS_KIT_GATE_H

#include "gateway/loop.h"
#include "gateway/transport/frame.h"

#define GATE_SHARDS_MAX 4

struct gate {
    struct app app;
    struct loop *loops[GATE_SHARDS_MAX]; /* owned */
};

/* `json` is the configuration; it must be right. */
void gate_init(struct gate *g, unsigned shards, const char *json);
/* CHECKs that nothing is left behind. */
void gate_fini(struct gate *g);

/* One round of one shard's loop, as loop.c makes it. */
void gate_turn(struct gate *g, unsigned shard);
/* Turn all shards until nothing moves, then CHECK every invariant. */
void gate_settle(struct gate *g);
/* Time passes, then settle. */
void gate_pass(struct gate *g, uint64_t ms);

/* Write a name of a channel whose home is that shard into to[32]; names of
 * different `n` differ. */
void gate_channel_of(struct gate *g, unsigned shard, unsigned n, char to[32]);
/* Publish JSON in-process, as a shard's; CHECKs that it is accepted. */
void gate_publish(struct gate *g, unsigned shard, const char *channel,
                  const char *data);

/* All streams and keys go; the epochs of new ones are the same every time. */
void gate_forget(struct gate *g);

struct gate_peer {
    struct gate *gate; /* borrowed */
    int fd;            /* owned; -1 when closed */
    bool eof;          /* the gateway says no more */
    struct buf in;     /* owned: everything read */
    size_t at;         /* how much of it was looked at */
};

/* A new connection to a shard. */
void gate_open(struct gate *g, unsigned shard, struct gate_peer *p);
void gate_close(struct gate_peer *p);
/* Write bytes, turning the gateway while they do not fit; false when it
 * closed the connection. */
bool gate_send(struct gate_peer *p, struct str bytes);
/* Settle and read whatever there is. */
void gate_read(struct gate_peer *p);
/* What was read and not looked at yet. */
struct str gate_rest(const struct gate_peer *p);

struct gate_answer {
    int status;
    struct str head; /* all of it */
    struct str body; /* by Content-Length; the rest when there is none */
};

/* The next whole HTTP answer among what was read; false if there is none.
 * `to_head`: it answers HEAD, so no body follows. Slices live until the next
 * gate_read. */
bool gate_next_answer(struct gate_peer *p, bool to_head, struct gate_answer *a);
/* Does the head have this line (without CRLF)? */
bool gate_has_line(const struct gate_answer *a, const char *line);

/* A WebSocket: upgrade, CHECKs the 101. */
void gate_open_ws(struct gate *g, unsigned shard, struct gate_peer *p);
/* Send a masked frame; false when the connection is closed. */
bool gate_send_frame(struct gate_peer *p, uint8_t first_byte,
                     struct str payload);
/* The next whole frame of the server among what was read. */
bool gate_next_frame(struct gate_peer *p, uint8_t *first_byte,
                     struct str *payload);

/* Append a masked frame as clients send it; `mask` is its masking key. */
void gate_put_frame(struct buf *to, uint8_t first_byte, struct str payload,
                    uint32_t mask);
/* Cut a server's frame off the front of *bytes; false when it is not whole. */
bool gate_cut_frame(struct str *bytes, uint8_t *first_byte,
                    struct str *payload);

#endif
