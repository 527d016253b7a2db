/* stats.h — the counters of one shard, declared once.
 * Why:    the shard counts with plain integers; the scraper asks every shard
 *         by letter, gets a copy and sums. Names are API (docs/operations.md).
 * Thread: the shard's; copies travel. Uses: base/hist, throttle/policy. */
#ifndef WEIR_HUB_STATS_H
#define WEIR_HUB_STATS_H

#include <stdint.h>

#include "base/hist.h"
#include "throttle/policy.h"

/* X(field, metric, labels, help): a monotonic counter each. Rows of one
 * metric stand together. */
#define STATS_COUNTERS(X)                                                      \
    X(connects, "weir_client_connects_total", "",                              \
      "Clients that completed connect")                                        \
    X(accepted, "weir_accepts_total", "result=\"accepted\"",                   \
      "TCP connections accepted")                                              \
    X(accept_refused, "weir_accepts_total", "result=\"refused\"", "")          \
    X(accept_errors, "weir_accepts_total", "result=\"error\"", "")             \
    X(http_requests, "weir_http_requests_total", "", "HTTP requests answered") \
    X(http_bad, "weir_http_bad_requests_total", "",                            \
      "HTTP requests answered 4xx")                                            \
    X(commands, "weir_client_commands_total", "", "Client protocol commands")  \
    X(command_errors, "weir_client_command_errors_total", "",                  \
      "Client commands answered with an error")                                \
    X(pubs_in_client, "weir_publications_in_total", "source=\"client\"",       \
      "Publications accepted")                                                 \
    X(pubs_in_api, "weir_publications_in_total", "source=\"api\"", "")         \
    X(pubs_in_broker, "weir_publications_in_total", "source=\"broker\"", "")   \
    X(pubs_refused, "weir_publications_refused_total", "",                     \
      "Publish requests answered with an error")                               \
    X(pubs_matched, "weir_publications_out_total", "",                         \
      "Publications that had a subscriber here, per shard and topic")          \
    X(deliveries, "weir_deliveries_total", "",                                 \
      "Publications handed to a client queue")                                 \
    X(writes, "weir_socket_writes_total", "",                                  \
      "Writes of client queues to a socket")                                   \
    X(bytes_out, "weir_bytes_total", "direction=\"out\"",                      \
      "Bytes to and from clients")                                             \
    X(bytes_in, "weir_bytes_total", "direction=\"in\"", "")                    \
    X(choked, "weir_client_choked_total", "",                                  \
      "Times a socket took less than offered")                                 \
    X(drop_slow, "weir_drops_total", "reason=\"slow_client\"",                 \
      "Publications not delivered, by reason")                                 \
    X(drop_gone, "weir_drops_total", "reason=\"client_gone\"", "")             \
    X(drop_not_json, "weir_drops_total", "reason=\"not_json\"", "")            \
    X(drop_state, "weir_drops_total", "reason=\"state_too_big\"", "")          \
    X(throttle_keyless, "weir_throttle_keyless_total", "",                     \
      "Publications without the key of their namespace")                       \
    X(throttle_evicted, "weir_throttle_items_evicted_total", "",               \
      "Items given up for a bound")                                            \
    X(throttle_untracked, "weir_throttle_untracked_total", "",                 \
      "Publications sent at once: too many items of one rate class")           \
    X(rate_granted, "weir_throttle_rate_changes_total", "result=\"granted\"",  \
      "Rates changed by clients while subscribed")                             \
    X(rate_refused, "weir_throttle_rate_changes_total", "result=\"refused\"",  \
      "")                                                                      \
    X(history_reads, "weir_history_reads_total", "",                           \
      "Streams read from the bus")                                             \
    X(history_checks, "weir_history_checks_total", "",                         \
      "Quiet streams looked at on the bus")                                    \
    X(history_healed, "weir_history_healed_total", "",                         \
      "Publications that had not arrived and were read from the bus")          \
    X(history_duplicates, "weir_history_duplicates_total", "",                 \
      "Publications of the bus that were there already")                       \
    X(history_lost, "weir_history_lost_total", "",                             \
      "Times a channel's stream could not be proven complete")                 \
    X(history_forgotten, "weir_history_forgotten_total", "",                   \
      "Streams given up with their epoch")                                     \
    X(history_evicted, "weir_history_evicted_total", "",                       \
      "Publications of history given up for history.max_bytes")                \
    X(keys_evicted, "weir_idempotency_keys_evicted_total", "",                 \
      "Idempotency keys given up for history.max_keys")                        \
    X(subs_lost, "weir_subscriptions_lost_total", "reason=\"stream\"",         \
      "Subscriptions told that publications are missing")                      \
    X(subs_gap, "weir_subscriptions_lost_total", "reason=\"gap\"", "")         \
    X(recovered, "weir_recover_total", "result=\"recovered\"",                 \
      "Recoveries, by result")                                                 \
    X(recover_foreign, "weir_recover_total", "result=\"foreign\"", "")         \
    X(recover_too_old, "weir_recover_total", "result=\"too_old\"", "")         \
    X(recover_unknown, "weir_recover_total", "result=\"unknown_id\"", "")      \
    X(recovered_pubs, "weir_recovered_publications_total", "",                 \
      "Publications given by recoveries")                                      \
    X(publish_repeated, "weir_publications_repeated_total", "",                \
      "Publications with an idempotency key that was known")                   \
    X(publish_outdated, "weir_publications_outdated_total", "",                \
      "Publications with a version that was not newer")                        \
    X(slices, "weir_fanout_slices_total", "",                                  \
      "Slices in which publications went out")                                 \
    X(letters, "weir_letters_total", "", "Letters taken from the mailbox")

/* Why a client went away; rows of weir_client_closes_total{reason}. */
/* clang-format off */
#define STATS_CLOSES(X)             \
    X(client, 0)                    \
    X(shutdown, 3001)               \
    X(internal, 3004)               \
    X(expired, 3005)                \
    X(slow, 3008)                   \
    X(write_error, 3009)            \
    X(insufficient, 3010)           \
    X(no_pong, 3012)                \
    X(too_many_requests, 3013)      \
    X(invalid_token, 3500)          \
    X(bad_request, 3501)            \
    X(stale, 3502)                  \
    X(force, 3503)                  \
    X(channel_limit, 3505)          \
    X(inappropriate_protocol, 3506) \
    X(permission_denied, 3507)      \
    X(not_available, 3508)          \
    X(protocol, 1002)               \
    X(invalid_payload, 1007)        \
    X(too_big, 1009)                \
    X(other, 1)
/* clang-format on */

struct stats {
#define FIELD(field, metric, labels, help) uint64_t field;
    STATS_COUNTERS(FIELD)
#undef FIELD
#define FIELD(reason, code) uint64_t close_##reason;
    STATS_CLOSES(FIELD)
#undef FIELD
    /* By enum throttle_mode; of throttled lanes. */
    uint64_t throttle_publications[THROTTLE_MODES];
    uint64_t throttle_delivered[THROTTLE_MODES];
    uint64_t throttle_conflated[THROTTLE_MODES];
    uint64_t throttle_dropped[THROTTLE_MODES];
    struct hist staleness[THROTTLE_CLASSES]; /* age when it is sent, by rate */
    struct hist turn;                        /* working time of a turn */
    struct hist latency; /* entry on this node to the socket, per write */
};

/* Count a close by its code. */
static inline void stats_close(struct stats *st, uint32_t code)
{
    switch (code) {
#define CASE(reason, number)  \
    case number:              \
        st->close_##reason++; \
        return;
        STATS_CLOSES(CASE)
#undef CASE
    default:
        st->close_other++;
    }
}

#endif
