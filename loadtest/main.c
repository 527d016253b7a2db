/* weir-load — the load generator: runs one scenario and reports.
 *
 *   weir-load --weir build/weir loadtest/scenarios/fanout-1000.conf
 *   weir-load --pid 4711 --port 8000 FILE [key=value ...]
 *   weir-load --self-test
 *
 * Exit: 0 when nothing was lost, duplicated or refused (a missed target is
 * printed, not an error), 1 otherwise, 2 when it could not run at all. */
#include "loadtest/bench.h"
#include "loadtest/selftest.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { EXIT_LOST = 1, EXIT_UNABLE = 2 };

struct command_line {
    struct options options;
    const char *rows; /* file to append table rows to */
    const char *runs;
    bool self_test;
    bool free_port;
};

struct kind {
    const char *name;
    int (*run)(struct bench *b);
};

static const struct kind kinds[] = {
    {"fanout", kind_fanout}, {"idle", kind_idle},
    {"churn", kind_churn},   {"accept", kind_accept},
    {"rate", kind_rate},     {"slice", kind_slice},
    {"slow", kind_slow},     {"throttle", kind_throttle},
    {"source", kind_source}, {"choke", kind_choke},
    {"stale", kind_stale},   {"storm", kind_storm},
    {"keep", kind_keep},     {"jetstream", kind_jetstream},
};

static int usage(void)
{
    fprintf(stderr,
            "usage: weir-load [options] SCENARIO.conf [key=value ...]\n"
            "  --weir PATH       gateway to start (with --shards 1)\n"
            "  --config-dir DIR  where its config lies (default: loadtest)\n"
            "  --nats-server P   binary of the bus (default: nats-server)\n"
            "  --pid N --port N  measure a running server instead\n"
            "  --nats-port N     publish to a running nats-server\n"
            "  --rows FILE       append Markdown rows of the targets\n"
            "  --runs FILE       append a Markdown row of the run\n"
            "  --free-port       print a TCP port nobody listens on\n"
            "  --self-test       check histogram, SHA-1, frames, counting\n");
    return EXIT_UNABLE;
}

static int parse(struct command_line *c, int argc, char **argv)
{
    static const struct option options[] = {
        {"weir", required_argument, NULL, 'w'},
        {"config-dir", required_argument, NULL, 'c'},
        {"nats-server", required_argument, NULL, 'n'},
        {"pid", required_argument, NULL, 'i'},
        {"port", required_argument, NULL, 'p'},
        {"nats-port", required_argument, NULL, 'q'},
        {"rows", required_argument, NULL, 'r'},
        {"runs", required_argument, NULL, 'u'},
        {"free-port", no_argument, NULL, 'f'},
        {"self-test", no_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    struct options *o = &c->options;
    int key;
    while ((key = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (key) {
        case 'w':
            o->weir = optarg;
            break;
        case 'c':
            o->config_dir = optarg;
            break;
        case 'n':
            o->nats_server = optarg;
            break;
        case 'i':
            o->pid = atoi(optarg);
            break;
        case 'p':
            o->port = (uint16_t)atoi(optarg);
            break;
        case 'q':
            o->nats_port = (uint16_t)atoi(optarg);
            break;
        case 'r':
            c->rows = optarg;
            break;
        case 'u':
            c->runs = optarg;
            break;
        case 'f':
            c->free_port = true;
            break;
        case 's':
            c->self_test = true;
            break;
        default:
            return -1;
        }
    }
    return 0;
}

/* key=value arguments change the scenario. */
static int override(struct scenario *s, char **args, int n)
{
    for (int i = 0; i < n; i++) {
        char *value = strchr(args[i], '=');
        if (value != NULL)
            *value++ = '\0';
        const char *why =
            value == NULL ? "not key=value" : scenario_set(s, args[i], value);
        if (why != NULL) {
            fprintf(stderr, "%s: %s\n", args[i], why);
            return -1;
        }
    }
    return 0;
}

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    fprintf(stderr, "unknown kind of run: %s\n", name);
    return NULL;
}

static void append(const char *path, const struct bench *b,
                   void (*write)(const struct report *, const struct scenario *,
                                 FILE *))
{
    if (path == NULL)
        return;
    FILE *f = fopen(path, "ae");
    if (f == NULL) {
        perror(path);
        return;
    }
    write(&b->report, b->scenario, f);
    fclose(f);
}

static int run(const struct command_line *c, const struct scenario *s)
{
    static struct bench b;
    const struct kind *kind = find_kind(s->kind);
    if (kind == NULL)
        return EXIT_UNABLE;
    if (bench_start(&b, s, &c->options) != 0) {
        bench_stop(&b);
        return EXIT_UNABLE;
    }
    if (kind->run(&b) != 0)
        report_problem(&b.report, "the run did not finish");
    bench_stop(&b);
    report_print(&b.report, s, stdout);
    append(c->rows, &b, report_rows);
    append(c->runs, &b, report_run);
    return b.report.problems > 0 ? EXIT_LOST : 0;
}

static void raise_fd_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    struct command_line c = {
        .options = {.config_dir = "loadtest", .nats_server = "nats-server"}};
    struct scenario s;
    if (parse(&c, argc, argv) != 0)
        return usage();
    if (c.self_test)
        return selftest_run() == 0 ? 0 : EXIT_LOST;
    if (c.free_port)
        return printf("%u\n", proc_free_port()) > 0 ? 0 : EXIT_UNABLE;
    bool attach = c.options.pid > 0 && c.options.port > 0;
    if (optind >= argc || attach == (c.options.weir != NULL))
        return usage();
    scenario_init(&s);
    if (scenario_load(&s, argv[optind]) != 0 ||
        override(&s, argv + optind + 1, argc - optind - 1) != 0)
        return EXIT_UNABLE;
    raise_fd_limit();
    return run(&c, &s);
}
