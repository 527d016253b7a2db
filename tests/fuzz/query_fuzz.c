/* The input is a query: `name=value&...`. What is read, written anew with
 * every byte escaped, must read the same. Then the query goes to /sse. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/transport/http.h"
#include "tests/kit/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config[] =
    "{\"client\":{\"insecure\":true},\"sse\":{\"channel_limit\":4},"
    "\"uni_sse\":{\"enabled\":true},"
    "\"channel\":{\"without_namespace\":{\"allow_patterns\":true}}}";

static struct gate gate;

static void put_escaped(struct buf *to, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        buf_printf(to, "%%%02x", (unsigned char)s.p[i]);
}

/* Append each pair as name, NUL, value, NUL; false when an escape is broken.
 * `again` gets the same query with every byte escaped. */
static bool read_pairs(struct str query, struct buf *pairs, struct buf *again)
{
    struct buf decoded = BUF_INIT;
    struct str name;
    struct str value;
    size_t most = query.n;
    bool bad = false;
    buf_reserve(&decoded, query.n + 1);
    const char *room = decoded.p;
    while (!bad && http_query_next(&query, &decoded, &name, &value, &bad)) {
        CHECK(decoded.p == room && decoded.n <= most);
        CHECK(name.n + value.n <= most);
        buf_str(pairs, name);
        buf_char(pairs, '\0');
        buf_str(pairs, value);
        buf_char(pairs, '\0');
        if (again) {
            put_escaped(again, name);
            buf_char(again, '=');
            put_escaped(again, value);
            buf_char(again, '&');
        }
    }
    buf_free(&decoded);
    return !bad;
}

static void check_pairs(struct str query)
{
    struct buf pairs = BUF_INIT;
    struct buf again = BUF_INIT;
    struct buf same = BUF_INIT;
    if (read_pairs(query, &pairs, &again)) {
        CHECK(read_pairs(buf_view(&again), &same, NULL));
        CHECK(str_eq(buf_view(&pairs), buf_view(&same)));
    }
    buf_free(&pairs);
    buf_free(&again);
    buf_free(&same);
}

static bool fits_a_request_line(struct str query)
{
    for (size_t i = 0; i < query.n; i++) {
        unsigned char c = (unsigned char)query.p[i];
        if (c <= ' ' || c >= 127 || c == '#')
            return false;
    }
    return query.n < 2000;
}

static void ask_stream(struct str path, struct str query)
{
    struct gate_peer p;
    struct gate_answer a;
    struct buf request = BUF_INIT;
    buf_lit(&request, "GET ");
    buf_str(&request, path);
    buf_char(&request, '?');
    buf_str(&request, query);
    buf_lit(&request, " HTTP/1.1\r\nHost: x\r\n\r\n");
    gate_open(&gate, 0, &p);
    CHECK(gate_send(&p, buf_view(&request)));
    gate_read(&p);
    CHECK(gate_next_answer(&p, false, &a));
    CHECK(a.status == 200 || (a.status >= 400 && a.status < 500));
    CHECK(a.status != 200 ||
          gate_has_line(&a, "Content-Type: text/event-stream; charset=utf-8"));
    buf_free(&request);
    gate_close(&p);
    gate_settle(&gate);
    CHECK(gate.app.connections == 0);
    CHECK(gate.loops[0]->shard->sub_count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!gate.app.config)
        gate_init(&gate, 1, config);
    char *copy = mem_alloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    struct str query = str_n(copy, size);
    check_pairs(query);
    if (fits_a_request_line(query)) {
        ask_stream(STR_LIT("/sse"), query);
        ask_stream(STR_LIT("/connection/uni_sse"), query);
    }
    free(copy);
    return 0;
}
