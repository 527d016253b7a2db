#include "tests/kit/stream_node.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

unsigned stream_node_reads;

static char text[16384]; /* of the last read */
static uint32_t remove_code;
static bool removed;

void stream_node_adjust(struct config *cfg)
{
    nats_node_set_history(cfg, "news", 5, 60000);
}

int stream_node_server(void **state)
{
    nats_node_stored(state);
    struct nats_node *n = *state;
    n->adjust = stream_node_adjust;
    nats_server_start(&n->server, NULL);
    nats_peer_open(&n->peer, &n->server);
    return 0;
}

int stream_node_running(void **state)
{
    stream_node_server(state);
    nats_node_start(*state, ",\"grace\":\"50ms\"");
    return 0;
}

static void write_read(struct buf *b, const struct read_op *op)
{
    if (op->error) {
        buf_printf(b, "error %u", op->error);
        return;
    }
    buf_printf(b, "%llu %llu %llu:", (unsigned long long)op->floor,
               (unsigned long long)op->last, (unsigned long long)op->newest);
    for (uint32_t i = 0; i < op->count; i++) {
        const struct msg *m = op->msgs[i];
        CHECK(m->epoch == op->epoch && m->offset > op->floor);
        CHECK(op->at_ms[i] <= clock_ns_to_ms(clock_now_ns()));
        buf_printf(b, " %llu=%.*s", (unsigned long long)m->offset,
                   STR_ARG(msg_data(m)));
    }
    CHECK(op->floor <= op->last && op->newest <= op->last);
}

static void on_read(struct read_op *op)
{
    struct buf b = BUF_INIT;
    write_read(&b, op);
    snprintf(text, sizeof(text), "%.*s", (int)b.n, b.p);
    buf_free(&b);
    stream_node_reads++;
    read_op_free(op);
}

void stream_node_read_start(struct nats_node *n, const char *channel,
                            uint64_t since)
{
    size_t len = strlen(channel);
    struct read_op *op = mem_zalloc(sizeof(*op) + len);
    op->origin = n->hub.hub.shards[1];
    op->since = since;
    op->channel_len = (uint32_t)len;
    op->done = on_read;
    memcpy(op->channel, channel, len);
    n->hub.hub.broker.ops->read(n->broker, op);
}

const char *stream_node_read(struct nats_node *n, const char *channel,
                             uint64_t since)
{
    unsigned before = stream_node_reads;
    stream_node_read_start(n, channel, since);
    NATS_NODE_PUMP(n, stream_node_reads > before);
    return text;
}

void stream_node_read_until(struct nats_node *n, const char *channel,
                            uint64_t since, const char *want)
{
    for (int i = 0; i < NATS_PATIENCE_MS / 10; i++) {
        if (strcmp(stream_node_read(n, channel, since), want) == 0)
            return;
        usleep(10000);
    }
    fprintf(stderr, "wanted %s, got %s\n", want, text);
    CHECK(!"the answer comes");
}

static void on_removed(struct remove_op *op)
{
    removed = true;
    remove_code = op->error;
    free(op);
}

uint32_t stream_node_remove(struct nats_node *n, const char *channel)
{
    size_t len = strlen(channel);
    struct remove_op *op = mem_zalloc(sizeof(*op) + len);
    op->origin = n->hub.hub.shards[0];
    op->channel_len = (uint32_t)len;
    op->done = on_removed;
    memcpy(op->channel, channel, len);
    removed = false;
    n->hub.hub.broker.ops->remove(n->broker, op);
    NATS_NODE_PUMP(n, removed);
    return remove_code;
}

void stream_node_acquire(struct nats_node *n, const char *channel)
{
    unsigned before = n->fed;
    nats_node_acquire(n, channel);
    NATS_NODE_PUMP(n, n->fed > before);
}
