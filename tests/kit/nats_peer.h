/* nats_peer.h — a real nats-server in a child process, and the other side of
 * it: a plain socket that speaks NATS, for what is published and heard by
 * anything that is not weir.
 * Owns:   process and socket. Thread: the test's; every call waits until it
 *         is done. Bounds: NATS_PATIENCE_MS, then the test stops.
 * Uses:   base/. */
#ifndef WEIR_TESTS_KIT_NATS_PEER_H
#define WEIR_TESTS_KIT_NATS_PEER_H

#include <sys/types.h>

#include "base/buf.h"

/* Nothing here takes long; this is for machines that do. */
#define NATS_PATIENCE_MS 40000

struct nats_server {
    pid_t pid; /* 0: not running */
    int port;
    char store[32];          /* JetStream's directory; "": no JetStream */
    int64_t max_store_bytes; /* 0: plenty */
    const char *config;      /* more of its configuration; NULL: none */
};

/* A port nobody listens on. */
int nats_server_port(void);
/* The next start has JetStream, with a directory of its own; it survives a
 * kill. */
void nats_server_store(struct nats_server *s);
void nats_server_forget(struct nats_server *s); /* not running; idempotent */
/* On server->port, in a process that ends with this one. `user` (also the
 * password) may be NULL: anybody may connect. */
void nats_server_start(struct nats_server *s, const char *user);
void nats_server_kill(struct nats_server *s); /* SIGKILL; idempotent */
/* Connected, but it does nothing until thawed. */
void nats_server_freeze(struct nats_server *s);
void nats_server_thaw(struct nats_server *s);

struct nats_peer {
    int fd;
    struct buf in; /* owned: received since the last flush */
};

void nats_peer_open(struct nats_peer *p, const struct nats_server *s);
void nats_peer_close(struct nats_peer *p);
void nats_peer_send(struct nats_peer *p, const char *bytes);
/* Until `text` was received. */
void nats_peer_wait(struct nats_peer *p, const char *text);
/* Forget what was received, then until the server has done all that was
 * sent. */
void nats_peer_flush(struct nats_peer *p);
/* One request of JetStream's API, "STREAM.DELETE.X": until it is answered. The
 * answer stays in p->in; it must hold `text`. */
void nats_peer_api(struct nats_peer *p, const char *what, const char *body,
                   const char *text);
/* Again and again, until the answer holds `text`. */
void nats_peer_until(struct nats_peer *p, const char *what, const char *text);
void nats_peer_pub(struct nats_peer *p, const char *subject, const char *data);
/* `headers`: lines that end in CRLF. */
void nats_peer_hpub(struct nats_peer *p, const char *subject,
                    const char *headers, const char *data);

#endif
