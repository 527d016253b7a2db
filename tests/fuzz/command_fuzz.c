/* The input is messages of a client, each ended by a NUL byte. The first byte
 * says whether it connects first, and which shards turn in between. Whatever
 * comes: lines that leave are JSON objects (talk.c looks), and nothing stays
 * behind. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/protocol/command.h"
#include "tests/kit/talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config[] =
    "{\"client\":{\"insecure\":true,\"channel_limit\":4,"
    "\"queue_max_size\":65536},"
    "\"channel\":{\"max_publication_size\":2048,"
    "\"without_namespace\":{\"allow_patterns\":true},\"namespaces\":["
    "{\"name\":\"re\",\"channel_regex\":\"^[a-c]+$\"},"
    "{\"name\":\"ob\",\"publication_data_format\":\"json_object\"},"
    "{\"name\":\"bin\",\"publication_data_format\":\"binary\"},"
    "{\"name\":\"hh\",\"history_size\":3,\"history_ttl\":\"1h\","
    "\"force_recovery\":true,\"allow_patterns\":true},"
    "{\"name\":\"qq\",\"history_size\":3,\"history_ttl\":\"1h\","
    "\"force_recovery\":true,\"throttle\":{\"mode\":\"latest\","
    "\"key\":\"/s\",\"rate\":20}},"
    "{\"name\":\"cc\",\"history_size\":3,\"history_ttl\":\"1h\","
    "\"force_recovery\":true,\"force_recovery_mode\":\"cache\","
    "\"auto_cache_recover\":true}]}}";

static struct gate gate;

static bool inside(struct str piece, struct str whole)
{
    return piece.n == 0 ||
           (piece.p >= whole.p && piece.p + piece.n <= whole.p + whole.n);
}

static void check_string(struct str s, struct str whole, struct buf *strings)
{
    CHECK(inside(s, whole) || inside(s, buf_view(strings)));
    CHECK(utf8_valid(s));
}

static void check_command(struct str line)
{
    struct command cmd;
    struct command_fields f;
    struct buf strings = BUF_INIT;
    if (command_parse(line, &cmd) < 0)
        return;
    CHECK(cmd.kind <= COMMAND_NONE);
    CHECK(cmd.kind == COMMAND_NONE || cmd.body.type == JSON_OBJECT);
    CHECK(cmd.kind == COMMAND_NONE || inside(cmd.body.raw, line));
    if (cmd.kind != COMMAND_NONE &&
        command_fields(cmd.body, &strings, &f) == 0) {
        check_string(f.channel, line, &strings);
        check_string(f.token, line, &strings);
        check_string(f.delta, line, &strings);
        check_string(f.epoch, line, &strings);
        CHECK(inside(f.data, line));
        CHECK(f.subs.type == JSON_NULL || f.subs.type == JSON_OBJECT);
    }
    buf_free(&strings);
}

static void check_lines(struct str message)
{
    while (message.p)
        check_command(str_cut(&message, '\n'));
}

/* A copy that ends where its memory ends. */
static void say(struct talk *t, struct str message)
{
    char *copy = mem_alloc(message.n ? message.n : 1);
    if (message.n)
        memcpy(copy, message.p, message.n);
    check_lines(str_n(copy, message.n));
    session_message(&t->session, str_n(copy, message.n));
    free(copy);
}

static void read_lines(struct talk *t)
{
    struct str line;
    while (talk_next(t, &line))
        CHECK(line.n >= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!gate.app.config)
        gate_init(&gate, 2, config);
    if (size == 0)
        return 0;
    gate_forget(&gate);
    struct talk *t = talk_open(gate.loops[0]);
    struct str rest = str_n(data + 1, size - 1);
    unsigned turns = data[0] >> 1;
    if (data[0] & 1)
        talk_connect(t);
    while (rest.p && !t->gone) {
        say(t, str_cut(&rest, '\0'));
        if (turns & 1)
            gate_turn(&gate, 0);
        if (turns & 2)
            gate_turn(&gate, 1);
        turns = turns >> 1 | (turns & 1) << 6;
    }
    if (!t->gone)
        read_lines(t);
    CHECK(t->closes == 0 || t->close_code >= 3000);
    talk_end(t);
    gate_settle(&gate);
    CHECK(gate.app.hub.budget.used_bytes == 0);
    for (unsigned i = 0; i < gate.app.hub.count; i++) {
        const struct shard *s = gate.app.hub.shards[i];
        CHECK(s->client_count == 0 && s->sub_count == 0);
        CHECK(home_channel_count(&s->home) == 0);
    }
    return 0;
}
