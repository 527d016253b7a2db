#include "gateway/api/metrics.h"

#include <stdlib.h>

#include "base/mem.h"
#include "gateway/broker/nats.h"
#include "gateway/loop.h"
#include "hub/hub.h"

/* What one shard answers. */
struct part {
    struct stats stats;
    uint64_t connections;
    uint64_t clients;
    uint64_t users;
    uint64_t subscriptions;
    uint64_t channels;
    uint64_t patterns;
    uint64_t queue_bytes;
    uint64_t waiting;
    uint64_t streams;
    uint64_t history_bytes;
    uint64_t keys;
    uint64_t http_connections;
    uint64_t mailbox_depth;
    uint64_t mailbox_peak;
};

/* Gauges of a shard: X(field, metric, help) */
#define GAUGES(X)                                                            \
    X(connections, "weir_connections", "WebSocket and SSE connections")      \
    X(clients, "weir_clients", "Clients that completed connect")             \
    X(users, "weir_users", "Distinct user ids with a connection, per shard") \
    X(subscriptions, "weir_subscriptions", "Subscriptions of clients")       \
    X(channels, "weir_channels",                                             \
      "Exact channels with a subscriber, per shard")                         \
    X(patterns, "weir_patterns", "Patterns with a subscriber, per shard")    \
    X(queue_bytes, "weir_client_queue_bytes", "Bytes queued for clients")    \
    X(waiting, "weir_throttle_waiting",                                      \
      "Items and publications that wait for slow clients")                   \
    X(streams, "weir_history_streams", "Channels whose stream is kept here") \
    X(history_bytes, "weir_history_bytes", "Bytes of their publications")    \
    X(keys, "weir_idempotency_keys", "Idempotency keys remembered")          \
    X(http_connections, "weir_http_connections", "Open HTTP connections")    \
    X(mailbox_depth, "weir_mailbox_depth", "Letters waiting for a shard")    \
    X(mailbox_peak, "weir_mailbox_peak",                                     \
      "Most letters waiting since the last scrape")

static void *visit(struct shard *s, void *question)
{
    (void)question;
    struct part *p = mem_zalloc(sizeof(*p));
    p->stats = s->stats;
    p->connections = s->client_count;
    p->clients = s->connected_count;
    p->users = HASH_COUNT(s->users);
    p->subscriptions = s->sub_count;
    p->channels = HASH_COUNT(s->topics.exact);
    p->patterns = s->topics.patterns.pattern_count;
    p->queue_bytes = s->queued_bytes;
    p->waiting = s->waiting;
    p->streams = HASH_COUNT(s->home.history.streams);
    p->history_bytes = s->home.history.bytes;
    p->keys = s->home.keys.count;
    p->stats.history_evicted = s->home.history.evicted;
    p->stats.keys_evicted = s->home.keys.evicted;
    p->http_connections = loop_of(s)->http_count;
    p->mailbox_depth = mailbox_depth(&s->mailbox);
    p->mailbox_peak = mailbox_peak(&s->mailbox);
    return p;
}

static void put_head(struct buf *b, const char *metric, const char *help,
                     const char *type)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

static void put_value(struct buf *b, const char *metric, const char *labels,
                      uint64_t v)
{
    buf_str(b, str_of(metric));
    if (labels[0])
        buf_printf(b, "{%s}", labels);
    buf_char(b, ' ');
    buf_u64(b, v);
    buf_char(b, '\n');
}

/* Rows of one metric stand together: the first has the help text. */
static void put_counters(struct buf *b, const struct stats *sum)
{
#define ROW(field, metric, labels, help)      \
    if (help[0])                              \
        put_head(b, metric, help, "counter"); \
    put_value(b, metric, labels, sum->field);
    STATS_COUNTERS(ROW)
#undef ROW
    put_head(b, "weir_client_closes_total", "Clients gone, by reason",
             "counter");
#define ROW(reason, code)                                              \
    put_value(b, "weir_client_closes_total", "reason=\"" #reason "\"", \
              sum->close_##reason);
    STATS_CLOSES(ROW)
#undef ROW
}

static void put_gauges(struct buf *b, struct part *const *parts, unsigned count)
{
    char label[32];
#define ROW(field, metric, help)                           \
    put_head(b, metric, help, "gauge");                    \
    for (unsigned i = 0; i < count; i++) {                 \
        snprintf(label, sizeof(label), "shard=\"%u\"", i); \
        put_value(b, metric, label, parts[i]->field);      \
    }
    GAUGES(ROW)
#undef ROW
}

static void put_hist(struct buf *b, const char *metric, unsigned shard,
                     const struct hist *h)
{
    uint64_t below = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        below += h->buckets[i];
        if (i < HIST_BUCKETS - 1)
            buf_printf(b, "%s_bucket{shard=\"%u\",le=\"%g\"} %llu\n", metric,
                       shard, hist_bound_s(i), (unsigned long long)below);
    }
    buf_printf(b, "%s_bucket{shard=\"%u\",le=\"+Inf\"} %llu\n", metric, shard,
               (unsigned long long)below);
    buf_printf(b, "%s_sum{shard=\"%u\"} %.9f\n%s_count{shard=\"%u\"} %llu\n",
               metric, shard, (double)h->sum_ns / 1e9, metric, shard,
               (unsigned long long)h->count);
}

/* Throttled lanes, by mode: X(field, metric, help) */
#define MODE_ROWS(X)                                                         \
    X(throttle_publications, "weir_throttle_publications_total",             \
      "Publications offered to throttled subscribers, per shard, topic and " \
      "rate class")                                                          \
    X(throttle_delivered, "weir_throttle_delivered_total",                   \
      "Publications handed to throttled clients")                            \
    X(throttle_conflated, "weir_throttle_conflated_total",                   \
      "Publications replaced by a newer one, per rate class or slow client") \
    X(throttle_dropped, "weir_throttle_dropped_total",                       \
      "Publications lost to slow clients: drop_oldest, or a bound on items")

static void put_modes(struct buf *b, const struct stats *sum)
{
    char label[32];
#define ROW(field, metric, help)                                      \
    put_head(b, metric, help, "counter");                             \
    for (unsigned m = 0; m < THROTTLE_MODES; m++) {                   \
        snprintf(label, sizeof(label), "mode=\"%.*s\"",               \
                 STR_ARG(throttle_mode_name((enum throttle_mode)m))); \
        put_value(b, metric, label, sum->field[m]);                   \
    }
    MODE_ROWS(ROW)
#undef ROW
}

/* A class that was never used has no rows. */
static void put_staleness(struct buf *b, const struct hist hists[])
{
    const char *metric = "weir_throttle_staleness_seconds";
    put_head(b, metric,
             "Age of a publication when a throttled client gets it, by rate",
             "histogram");
    for (unsigned row = 0; row < THROTTLE_CLASSES; row++) {
        char rate[THROTTLE_RATE_TEXT];
        const struct hist *h = &hists[row];
        size_t n = throttle_rate_format(throttle_class_rate(row), rate);
        uint64_t below = 0;
        if (h->count == 0)
            continue;
        for (unsigned i = 0; i < HIST_BUCKETS - 1; i++) {
            below += h->buckets[i];
            buf_printf(b, "%s_bucket{class=\"%.*s\",le=\"%g\"} %llu\n", metric,
                       (int)n, rate, hist_bound_s(i),
                       (unsigned long long)below);
        }
        buf_printf(b,
                   "%s_bucket{class=\"%.*s\",le=\"+Inf\"} %llu\n"
                   "%s_sum{class=\"%.*s\"} %.9f\n"
                   "%s_count{class=\"%.*s\"} %llu\n",
                   metric, (int)n, rate, (unsigned long long)h->count, metric,
                   (int)n, rate, (double)h->sum_ns / 1e9, metric, (int)n, rate,
                   (unsigned long long)h->count);
    }
}

static void put_hists(struct buf *b, struct part *const *parts, unsigned count)
{
    put_head(b, "weir_turn_seconds", "Working time of a shard's turn",
             "histogram");
    for (unsigned i = 0; i < count; i++)
        put_hist(b, "weir_turn_seconds", i, &parts[i]->stats.turn);
    put_head(
        b, "weir_publish_to_socket_seconds",
        "From a publication's entry on this node to a client's socket, per write",
        "histogram");
    for (unsigned i = 0; i < count; i++)
        put_hist(b, "weir_publish_to_socket_seconds", i,
                 &parts[i]->stats.latency);
}

/* X(field, metric, type, help) */
#define NATS_ROWS(X)                                                          \
    X(connected, "weir_nats_connected", "gauge", "1 while connected to NATS") \
    X(connects, "weir_nats_connects_total", "counter",                        \
      "Connects and reconnects")                                              \
    X(disconnects, "weir_nats_disconnects_total", "counter",                  \
      "Connections lost")                                                     \
    X(gaps, "weir_nats_gaps_total", "counter",                                \
      "Times the bus may have lost something")                                \
    X(messages_in, "weir_nats_messages_in_total", "counter",                  \
      "Messages from NATS")                                                   \
    X(bytes_in, "weir_nats_bytes_in_total", "counter",                        \
      "Payload bytes from NATS")                                              \
    X(messages_out, "weir_nats_messages_out_total", "counter",                \
      "Messages to NATS")                                                     \
    X(publish_refused, "weir_nats_publish_refused_total", "counter",          \
      "Publishes refused: NATS away or queue full")                           \
    X(unmapped, "weir_nats_unmapped_total", "counter",                        \
      "Subjects that are no channel")                                         \
    X(not_json, "weir_nats_not_json_total", "counter",                        \
      "Payloads dropped: not JSON")                                           \
    X(too_big, "weir_nats_too_big_total", "counter",                          \
      "Payloads dropped: too large")                                          \
    X(over_budget, "weir_nats_over_budget_total", "counter",                  \
      "Payloads dropped: too many publications in flight")                    \
    X(slow_consumer, "weir_nats_slow_consumer_total", "counter",              \
      "Messages the NATS client dropped")                                     \
    X(feeds, "weir_nats_feeds", "gauge", "Subscriptions to NATS")             \
    X(feeds_evicted, "weir_nats_feeds_evicted_total", "counter",              \
      "Idle subscriptions to NATS given up early: too many")                  \
    X(feeds_waited, "weir_nats_feeds_waited_total", "counter",                \
      "Subscriptions to NATS that waited: too many came and went")            \
    X(asks, "weir_nats_asks_total", "counter", "Requests to other nodes")     \
    X(asks_timed_out, "weir_nats_asks_timed_out_total", "counter",            \
      "Requests to other nodes without an answer in time")                    \
    X(asks_refused, "weir_nats_asks_refused_total", "counter",                \
      "Requests to other nodes not sent: too many or NATS away")              \
    X(answers_dropped, "weir_nats_answers_dropped_total", "counter",          \
      "Answers of nodes dropped: late, forged or too large")                  \
    X(requests, "weir_nats_requests_total", "counter",                        \
      "Requests of other nodes")                                              \
    X(requests_dropped, "weir_nats_requests_dropped_total", "counter",        \
      "Requests of other nodes not answered")                                 \
    X(queue_bytes, "weir_nats_queue_bytes", "gauge",                          \
      "Publications waiting for NATS")                                        \
    X(gaps_told, "weir_nats_gaps_told_total", "counter",                      \
      "Times all streams were looked at after a gap")                         \
    X(acks_waiting, "weir_jetstream_acks_waiting", "gauge",                   \
      "Publications that JetStream has not acknowledged")                     \
    X(acks_timed_out, "weir_jetstream_acks_timed_out_total", "counter",       \
      "Publications without an acknowledgement in time")                      \
    X(acks_refused, "weir_jetstream_acks_refused_total", "counter",           \
      "Publications that JetStream refused, or nobody took")                  \
    X(reads, "weir_jetstream_reads_total", "counter",                         \
      "Reads of streams, and removals")                                       \
    X(reads_refused, "weir_jetstream_reads_refused_total", "counter",         \
      "Reads not done: too many waited")                                      \
    X(reads_failed, "weir_jetstream_reads_failed_total", "counter",           \
      "Reads that failed")                                                    \
    X(stream_errors, "weir_jetstream_stream_errors_total", "counter",         \
      "Looks at a stream that failed")

static void put_node(struct buf *b, const struct app *app, uint64_t now_ns)
{
    struct nats_status n;
    put_head(b, "weir_build_info", "Version", "gauge");
    put_value(b, "weir_build_info", "version=\"" WEIR_VERSION "\"", 1);
    put_head(b, "weir_uptime_seconds", "Since the start", "gauge");
    put_value(b, "weir_uptime_seconds", "",
              (now_ns - app->started_ns) / 1000000000u);
    put_head(b, "weir_publications_in_flight_bytes",
             "Publications admitted and not handed to every subscriber yet",
             "gauge");
    put_value(b, "weir_publications_in_flight_bytes", "",
              (uint64_t)atomic_load(&app->hub.budget.used_bytes));
    put_head(b, "weir_publications_over_budget_total",
             "Publications turned away: too many in flight", "counter");
    put_value(b, "weir_publications_over_budget_total", "",
              atomic_load(&app->hub.budget.refused));
    put_head(
        b, "weir_throttle_held_bytes",
        "Values kept: history, last ones, what waits for ticks and slow clients",
        "gauge");
    put_value(b, "weir_throttle_held_bytes", "",
              (uint64_t)atomic_load(&app->hub.held.used_bytes));
    if (!app->nats)
        return;
    nats_broker_status(app->nats, &n);
#define ROW(field, metric, type, help) \
    put_head(b, metric, help, type);   \
    put_value(b, metric, "", n.field);
    NATS_ROWS(ROW)
#undef ROW
}

static void add_hist(struct hist *sum, const struct hist *h)
{
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        sum->buckets[i] += h->buckets[i];
    sum->sum_ns += h->sum_ns;
    sum->count += h->count;
}

static void add_stats(struct stats *sum, const struct stats *st)
{
#define ROW(field, metric, labels, help) sum->field += st->field;
    STATS_COUNTERS(ROW)
#undef ROW
#define ROW(reason, code) sum->close_##reason += st->close_##reason;
    STATS_CLOSES(ROW)
#undef ROW
#define ROW(field, metric, help)                  \
    for (unsigned m = 0; m < THROTTLE_MODES; m++) \
        sum->field[m] += st->field[m];
    MODE_ROWS(ROW)
#undef ROW
    for (unsigned row = 0; row < THROTTLE_CLASSES; row++)
        add_hist(&sum->staleness[row], &st->staleness[row]);
}

static void done(struct shard *from, void *question, void **parts,
                 unsigned count)
{
    struct http_exchange *x = question;
    struct buf b = BUF_INIT;
    struct stats sum = {0};
    for (unsigned i = 0; i < count; i++)
        add_stats(&sum, &((struct part *)parts[i])->stats);
    put_node(&b, loop_of(from)->app, from->now_ns);
    put_counters(&b, &sum);
    put_modes(&b, &sum);
    put_staleness(&b, sum.staleness);
    put_gauges(&b, (struct part *const *)parts, count);
    put_hists(&b, (struct part *const *)parts, count);
    http_respond(x, &(struct http_response){
                        .status = 200,
                        .content_type = STR_LIT("text/plain; version=0.0.4"),
                        .body = buf_view(&b),
                    });
    buf_free(&b);
    for (unsigned i = 0; i < count; i++)
        free(parts[i]);
}

static bool is_read(const struct http_request *r)
{
    return r->method == HTTP_IS_GET || r->method == HTTP_IS_HEAD;
}

static void refuse_method(struct http_exchange *x)
{
    http_respond(
        x, &(struct http_response){.status = 405,
                                   .headers = STR_LIT("Allow: GET, HEAD\r\n")});
}

void metrics_handle(struct http_exchange *x, const struct http_request *r)
{
    if (!is_read(r)) {
        refuse_method(x);
        return;
    }
    struct survey survey = {visit, done, x};
    hub_survey(http_loop(x)->shard, &survey);
}

void metrics_handle_health(struct http_exchange *x,
                           const struct http_request *r)
{
    const struct app *app = http_loop(x)->app;
    struct nats_status n = {.connected = true};
    struct buf b = BUF_INIT;
    if (!is_read(r)) {
        refuse_method(x);
        return;
    }
    if (app->nats)
        nats_broker_status(app->nats, &n);
    bool draining = atomic_load(&app->draining);
    bool fine = n.connected && !draining;
    buf_printf(&b,
               "{\"status\":\"%s\",\"node\":\"%s\",\"broker\":{\"type\":\"%s\","
               "\"connected\":%s}}\n",
               draining ? "draining"
               : fine   ? "ok"
                        : "degraded",
               app->node_id, app->nats ? "nats" : "memory",
               n.connected ? "true" : "false");
    http_respond(x, &(struct http_response){
                        .status = fine ? 200 : 503,
                        .content_type = STR_LIT("application/json"),
                        .body = buf_view(&b),
                    });
    buf_free(&b);
}
