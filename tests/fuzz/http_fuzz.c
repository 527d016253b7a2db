/* The first byte says how the rest is cut into packets, the rest is what a
 * peer sends to the HTTP port: requests, upgrades, frames. Answers must be
 * answers, and when the peer is gone nothing may be left of it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/rand.h"
#include "tests/kit/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config[] =
    "{\"client\":{\"insecure\":true,\"channel_limit\":4,"
    "\"allowed_origins\":[\"http://a.test\"]},"
    "\"http_server\":{\"max_header_size\":1024,\"max_body_size\":4096},"
    "\"http_api\":{\"insecure\":true},\"uni_sse\":{\"enabled\":true},"
    "\"websocket\":{\"message_size_limit\":4096},"
    "\"channel\":{\"without_namespace\":{\"allow_patterns\":true},"
    "\"namespaces\":["
    "{\"name\":\"hh\",\"history_size\":3,\"history_ttl\":\"1h\","
    "\"force_recovery\":true,\"allow_patterns\":true},"
    "{\"name\":\"qq\",\"history_size\":3,\"history_ttl\":\"1h\","
    "\"force_recovery\":true,\"throttle\":{\"mode\":\"latest\","
    "\"key\":\"/s\",\"rate\":20}},"
    "{\"name\":\"cc\",\"history_size\":3,\"history_ttl\":\"1h\","
    "\"force_recovery\":true,\"force_recovery_mode\":\"cache\","
    "\"auto_cache_recover\":true}]}}";

static struct gate gate;

/* Answers to HEAD have no body, and streams are no answers: where either may
 * be, only the heads can be judged. */
static void check_answers(struct gate_peer *p, struct str sent)
{
    struct gate_answer a;
    bool heads = memmem(sent.p, sent.n, "HEAD", 4);
    while (!heads && gate_next_answer(p, false, &a)) {
        CHECK(a.status >= 100 && a.status < 600);
        heads = a.status == 101 || a.status == 200;
    }
}

static void send_pieces(struct gate_peer *p, const uint8_t *data, size_t size,
                        struct rand *cut)
{
    while (size) {
        size_t n = size;
        if (cut)
            n = 1 + (size_t)rand_below(cut, rand_below(cut, 3) ? 16 : 400);
        n = n < size ? n : size;
        if (!gate_send(p, str_n(data, n)))
            return;
        gate_turn(&gate, 0);
        data += n;
        size -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gate_peer p;
    struct rand cut;
    if (!gate.app.config)
        gate_init(&gate, 2, config);
    if (size < 2)
        return 0;
    gate_forget(&gate);
    rand_init(&cut, data[0]);
    gate_open(&gate, 0, &p);
    send_pieces(&p, data + 1, size - 1, data[0] ? &cut : NULL);
    if (data[0] & 1)
        shutdown(p.fd, SHUT_WR);
    gate_read(&p);
    check_answers(&p, str_n(data + 1, size - 1));
    gate_close(&p);
    gate_settle(&gate);
    /* Whoever lingers or was told goodbye has a few seconds. */
    gate_pass(&gate, 6000);
    CHECK(gate.app.connections == 0);
    CHECK(gate.app.hub.budget.used_bytes == 0);
    for (unsigned i = 0; i < gate.app.hub.count; i++) {
        CHECK(gate.loops[i]->http_count == 0);
        CHECK(gate.loops[i]->shard->client_count == 0);
        CHECK(gate.loops[i]->shard->sub_count == 0);
        CHECK(home_channel_count(&gate.loops[i]->shard->home) == 0);
    }
    return 0;
}
