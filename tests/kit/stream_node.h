/* stream_node.h — a node whose namespaces have streams, and what it reads.
 * Owns:   nothing of its own. Thread: the test's. Bounds: NATS_PATIENCE_MS.
 * Uses:   tests/kit/nats_node. */
#ifndef WEIR_TESTS_KIT_STREAM_NODE_H
#define WEIR_TESTS_KIT_STREAM_NODE_H

#include "tests/kit/nats_node.h"

/* For cmocka: with JetStream; "news" keeps 5 publications for a minute, and
 * everything runs. */
int stream_node_running(void **state);
/* The same, but the server only. */
int stream_node_server(void **state);
/* The configuration of both. */
void stream_node_adjust(struct config *cfg);

/* "floor last newest: offset=data …", or "error N". Until the next call. */
const char *stream_node_read(struct nats_node *n, const char *channel,
                             uint64_t since);
/* Again and again, until that is the answer. */
void stream_node_read_until(struct nats_node *n, const char *channel,
                            uint64_t since, const char *text);
/* Without waiting; counted in stream_node_reads when it is answered. */
void stream_node_read_start(struct nats_node *n, const char *channel,
                            uint64_t since);
extern unsigned stream_node_reads;
/* Its code. */
uint32_t stream_node_remove(struct nats_node *n, const char *channel);
/* Acquire a feed; its answer is in n->last_feed. */
void stream_node_acquire(struct nats_node *n, const char *channel);

#endif
