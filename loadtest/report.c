#include "loadtest/report.h"

#include <stdarg.h>
#include <string.h>

struct name {
    const char *key;
    const char *text;
    const char *unit;
    int decimals;
};

static const struct name names[] = {
    {"ratio", "CPU per delivery / bare send()", "", 3},
    {"ratio_p25", "the same, lower quartile of rounds", "", 3},
    {"ratio_p75", "the same, upper quartile of rounds", "", 3},
    {"cpu_us", "server CPU per delivery", "us", 3},
    {"bare_us", "bare send() CPU per delivery", "us", 3},
    {"msg_cpu_us", "server CPU per message", "us", 2},
    {"accept_us", "server CPU per connection", "us", 1},
    {"bare_accept_us", "bare server CPU per connection", "us", 1},
    {"accept_ratio", "CPU per connection / bare server", "", 3},
    {"accept_ratio_p25", "the same, lower quartile of rounds", "", 3},
    {"accept_ratio_p75", "the same, upper quartile of rounds", "", 3},
    {"rss_kb", "RSS per connection", "KB", 2},
    {"pss_kb", "PSS per connection", "KB", 2},
    {"base_mb", "RSS of the server before", "MB", 1},
    {"full_mb", "RSS of the server with all clients", "MB", 1},
    {"rss_first_mb", "RSS with no client left, first time", "MB", 1},
    {"rss_last_mb", "RSS with no client left, last time", "MB", 1},
    {"rss_growth_pct", "growth of that", "%", 1},
    {"idle_cpu_pct", "CPU with idle clients", "% of a core", 2},
    {"pings", "pings answered", "", 0},
    {"messages_s", "messages per second", "/s", 0},
    {"deliveries_s", "deliveries per second", "/s", 0},
    {"deliveries", "deliveries counted", "", 0},
    {"bytes", "bytes received per delivery", "B", 1},
    {"p50_ms", "latency p50", "ms", 3},
    {"p99_ms", "latency p99", "ms", 3},
    {"p999_ms", "latency p99.9", "ms", 3},
    {"max_ms", "latency, longest", "ms", 3},
    {"calm_p50_ms", "other client without the load, p50", "ms", 3},
    {"calm_p99_ms", "other client without the load, p99", "ms", 3},
    {"slice_p50_ms", "other client under the load, p50", "ms", 3},
    {"slice_p99_ms", "other client under the load, p99", "ms", 3},
    {"slice_p999_ms", "other client under the load, p99.9", "ms", 3},
    {"slow_left", "slow clients the server did not close", "", 0},
    {"slow_coded", "slow clients that read close code 3008", "", 0},
    {"slow_kb", "RSS per slow client at its highest", "KB", 1},
    {"stands_for", "publications a delivery stands for", "", 1},
    {"late_ends", "rounds whose last values were late", "", 0},
    {"throttle_ratio", "CPU per delivery / plain, one by one", "", 3},
    {"together_ratio", "CPU per delivery / plain, in one write", "", 3},
    {"net_ratio", "the same without publishing", "", 3},
    {"plain_ratio", "plain, CPU per delivery / bare send()", "", 3},
    {"plain_us", "plain CPU per delivery, one by one", "us", 3},
    {"together_us", "plain CPU per delivery, in one write", "us", 3},
    {"net_us", "CPU per delivery without publishing", "us", 3},
    {"bare_one_us", "bare send() CPU, one by one", "us", 3},
    {"source_pct", "clients' side, source 10 times faster", "%", 1},
    {"source_one_pct", "the same, conflation not counted", "%", 1},
    {"side_slow_us", "clients' side per delivery, slower source", "us", 3},
    {"side_fast_us", "clients' side per delivery, faster source", "us", 3},
    {"side_slow_one_us", "slower source, conflation not counted", "us", 3},
    {"side_fast_one_us", "faster source, conflation not counted", "us", 3},
    {"msg_slow_us", "CPU per message for nobody, slower source", "us", 3},
    {"msg_fast_us", "CPU per message for nobody, faster source", "us", 3},
    {"msg_slow_one_us", "CPU per message for one, slower source", "us", 3},
    {"msg_fast_one_us", "CPU per message for one, faster source", "us", 3},
    {"reading_b", "RSS per item and client that keeps up", "B", 1},
    {"waiting_b", "RSS per item and client that does not read", "B", 1},
    {"waiting", "items that wait for a client that does not read", "", 1},
    {"choked_kb", "RSS per client that does not read, few items", "KB", 1},
    {"awake_mb", "RSS when all read again", "MB", 1},
    {"woken", "values per item and client after that", "", 2},
    {"stale_p50_ms", "age when read on a slow link, p50", "ms", 0},
    {"stale_p90_ms", "age when read on a slow link, p90", "ms", 0},
    {"stale_max_ms", "age when read on a slow link, longest", "ms", 0},
    {"stale_end_ms", "newest values of all items after the end", "ms", 0},
    {"stale_values_s", "values per second on a slow link", "/s", 1},
    {"stale_least_pct", "least served item / most served", "%", 0},
    {"deep_p50_ms", "age without notsent_lowat, p50", "ms", 0},
    {"deep_p90_ms", "age without notsent_lowat, p90", "ms", 0},
    {"deep_max_ms", "age without notsent_lowat, longest", "ms", 0},
    {"deep_end_ms", "newest values without it, after the end", "ms", 0},
    {"fast_calm_p50_ms", "age at the others, no slow link, p50", "ms", 3},
    {"fast_calm_p99_ms", "age at the others, no slow link, p99", "ms", 3},
    {"fast_slow_p50_ms", "age at the others beside a slow link, p50", "ms", 3},
    {"fast_slow_p99_ms", "age at the others beside a slow link, p99", "ms", 3},
    {"probe_calm_p50_ms", "plain channel, no slow link, p50", "ms", 3},
    {"probe_calm_p99_ms", "plain channel, no slow link, p99", "ms", 3},
    {"probe_slow_p50_ms", "plain channel beside a slow link, p50", "ms", 3},
    {"probe_slow_p99_ms", "plain channel beside a slow link, p99", "ms", 3},
    {"storm_p50_ms", "until a client has all it missed, p50", "ms", 1},
    {"storm_p99_ms", "until a client has all it missed, p99", "ms", 1},
    {"storm_bare_p50_ms", "the same of a bare server, p50", "ms", 1},
    {"storm_bare_p99_ms", "the same of a bare server, p99", "ms", 1},
    {"storm_p50_ratio", "p50 / bare server", "", 3},
    {"storm_p99_ratio", "p99 / bare server", "", 3},
    {"storm_p99_low", "the same, lowest of rounds", "", 3},
    {"storm_p99_high", "the same, highest of rounds", "", 3},
    {"storm_us", "server CPU per client that came back", "us", 1},
    {"storm_bare_us", "bare server CPU per client", "us", 1},
    {"storm_cpu_ratio", "CPU per client / bare server", "", 3},
    {"storm_bytes", "bytes to a client that came back", "B", 0},
    {"history_reads", "reads of the bus in one storm, most", "", 0},
    {"recovered", "publications recovered per client and storm", "", 2},
    {"keep_ratio", "CPU per publication / without history", "", 3},
    {"keep_ratio_p25", "the same, lower quartile of rounds", "", 3},
    {"keep_ratio_p75", "the same, upper quartile of rounds", "", 3},
    {"kept_us", "CPU per publication with history", "us", 3},
    {"unkept_us", "CPU per publication without history", "us", 3},
    {"js_http_s", "acknowledged publications, one a request", "/s", 0},
    {"js_batch_s", "acknowledged publications in batches", "/s", 0},
    {"js_bare_s", "js_PublishAsync, as many in flight", "/s", 0},
    {"js_free_s", "js_PublishAsync, any number in flight", "/s", 0},
    {"js_http_ratio", "one a request / js_PublishAsync", "", 3},
    {"js_batch_ratio", "batches / js_PublishAsync", "", 3},
    {"js_batch_free_ratio", "batches / js_PublishAsync, any number", "", 3},
    {"js_http_us", "server CPU, one a request", "us", 2},
    {"js_batch_us", "server CPU, batches", "us", 2},
    {"js_bare_us", "js_PublishAsync CPU", "us", 2},
    {"js_free_us", "js_PublishAsync CPU, any number in flight", "us", 2},
    {"js_http_nats_us", "nats-server CPU, one a request", "us", 2},
    {"js_batch_nats_us", "nats-server CPU, batches", "us", 2},
    {"js_bare_nats_us", "nats-server CPU, js_PublishAsync", "us", 2},
    {"js_free_nats_us", "nats-server CPU, any number in flight", "us", 2},
    {"connect_s", "connections per second", "/s", 0},
    {"lost", "lost", "", 0},
    {"duplicate", "duplicated", "", 0},
    {"reordered", "reordered", "", 0},
    {"stray", "of another channel", "", 0},
    {"failed", "failed connections", "", 0},
};

static const struct name *find_name(const char *key)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i].key, key) == 0)
            return &names[i];
    return NULL;
}

static const struct metric *find(const struct report *r, const char *key)
{
    for (unsigned i = 0; i < r->count; i++)
        if (strcmp(r->metrics[i].key, key) == 0)
            return &r->metrics[i];
    return NULL;
}

void report_add(struct report *r, const char *key, double value)
{
    const struct name *n = find_name(key);
    if (n == NULL || r->count == REPORT_METRICS) {
        report_problem(r, "weir-load: no room or name for metric %s", key);
        return;
    }
    r->metrics[r->count++] = (struct metric){n->key, value};
}

void report_problem(struct report *r, const char *fmt, ...)
{
    va_list args;
    if (r->problems++ > 0)
        return;
    va_start(args, fmt);
    vsnprintf(r->problem, sizeof(r->problem), fmt, args);
    va_end(args);
}

static void check_losses(struct report *r, const struct crowd *k)
{
    const struct losses *l = &k->losses;
    if (l->missing + l->duplicate + l->reordered + l->stray > 0)
        report_problem(
            r, "%llu lost, %llu duplicated, %llu reordered, %llu stray",
            (unsigned long long)l->missing, (unsigned long long)l->duplicate,
            (unsigned long long)l->reordered, (unsigned long long)l->stray);
    if (k->failed > 0)
        report_problem(r, "%u connections failed, the first: %s", k->failed,
                       k->first_failure);
}

void report_crowd(struct report *r, const struct crowd *k)
{
    const double ms = 1e6;
    if (k->latency.count > 0) {
        report_add(r, "p50_ms", (double)hist_quantile(&k->latency, 0.5) / ms);
        report_add(r, "p99_ms", (double)hist_quantile(&k->latency, 0.99) / ms);
        report_add(r, "p999_ms",
                   (double)hist_quantile(&k->latency, 0.999) / ms);
        report_add(r, "max_ms", (double)k->latency.max / ms);
    }
    report_add(r, "deliveries", (double)k->deliveries);
    report_add(r, "lost", (double)k->losses.missing);
    report_add(r, "duplicate", (double)k->losses.duplicate);
    report_add(r, "reordered", (double)k->losses.reordered);
    report_add(r, "stray", (double)k->losses.stray);
    report_add(r, "failed", k->failed);
    check_losses(r, k);
}

/* The target of a metric, NULL when it has none. */
static const struct target *find_target(const struct scenario *s,
                                        const char *key)
{
    for (unsigned i = 0; i < s->target_count; i++)
        if (strcmp(s->targets[i].metric, key) == 0)
            return &s->targets[i];
    return NULL;
}

static const char *verdict(const struct metric *m, const struct target *t)
{
    if (m == NULL)
        return "not measured";
    return m->value <= t->limit ? "reached" : "missed";
}

void report_print(const struct report *r, const struct scenario *s, FILE *out)
{
    fprintf(out, "%s: %s\n", s->name, s->title);
    for (unsigned i = 0; i < r->count; i++) {
        const struct metric *m = &r->metrics[i];
        const struct name *n = find_name(m->key);
        const struct target *t = find_target(s, m->key);
        fprintf(out, "  %-42s %12.*f %s", n->text, n->decimals, m->value,
                n->unit);
        if (t != NULL)
            fprintf(out, "   target <= %g: %s", t->limit, verdict(m, t));
        fputc('\n', out);
    }
    if (r->problems > 0)
        fprintf(out, "  FAILED: %s\n", r->problem);
    fflush(out);
}

void report_rows(const struct report *r, const struct scenario *s, FILE *out)
{
    for (unsigned i = 0; i < s->target_count; i++) {
        const struct target *t = &s->targets[i];
        const struct metric *m = find(r, t->metric);
        const struct name *n = find_name(t->metric);
        char value[48] = "-";
        if (m != NULL && n != NULL)
            snprintf(value, sizeof(value), "%.*f %s", n->decimals, m->value,
                     n->unit);
        fprintf(out, "| %s | %s | %s | <= %g %s | %s |\n", s->title,
                n != NULL ? n->text : t->metric, value, t->limit,
                n != NULL ? n->unit : "",
                r->problems > 0 ? "FAILED" : verdict(m, t));
    }
}

void report_run(const struct report *r, const struct scenario *s, FILE *out)
{
    static const char *const columns[] = {
        "messages_s", "deliveries_s", "cpu_us",    "bare_us", "ratio",
        "msg_cpu_us", "rss_kb",       "p50_ms",    "p99_ms",  "p999_ms",
        "lost",       "duplicate",    "reordered", "failed",
    };
    fprintf(out, "| %s |", s->name);
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        const struct metric *m = find(r, columns[i]);
        if (m == NULL)
            fputs(" |", out);
        else
            fprintf(out, " %.*f |", find_name(m->key)->decimals, m->value);
    }
    fputc('\n', out);
}
