/* main.c — the command line and the signals. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "gateway/config.h"
#include "gateway/server.h"
#include "gateway/transport/ws.h"

#ifdef WEIR_JEMALLOC
/* One arena per shard and some: memory of clients that left goes back to the
 * system within seconds, by jemalloc's own thread. */
const char *malloc_conf =
    "background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:0,narenas:4";
#endif

static const char usage_text[] =
    "usage: weir [options]\n"
    "\n"
    "  -c, --config FILE    configuration (JSON); see docs/configuration.md\n"
    "  -p, --port PORT      port to listen on (http_server.port)\n"
    "      --nats URL       publish and subscribe over NATS (nats.url)\n"
    "      --shards N       event loops; 0 = one per CPU (shards)\n"
    "      --check-config   check the configuration and exit\n"
    "      --print-config   print the effective configuration and exit\n"
    "  -v, --version        print the version and exit\n"
    "  -h, --help           print this and exit\n";

enum { OPT_NATS = 256, OPT_SHARDS, OPT_CHECK, OPT_PRINT };

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"port", required_argument, NULL, 'p'},
    {"nats", required_argument, NULL, OPT_NATS},
    {"shards", required_argument, NULL, OPT_SHARDS},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"print-config", no_argument, NULL, OPT_PRINT},
    {"version", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct arguments {
    const char *file;
    const char *port;
    const char *nats;
    const char *shards;
    bool check;
    bool print;
};

/* -1 to go on, else the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *a)
{
    int opt;
    while ((opt = getopt_long(argc, argv, "c:p:vh", long_options, NULL)) !=
           -1) {
        switch (opt) {
        case 'c':
            a->file = optarg;
            break;
        case 'p':
            a->port = optarg;
            break;
        case OPT_NATS:
            a->nats = optarg;
            break;
        case OPT_SHARDS:
            a->shards = optarg;
            break;
        case OPT_CHECK:
            a->check = true;
            break;
        case OPT_PRINT:
            a->print = true;
            break;
        case 'v':
            puts("weir " WEIR_VERSION);
            return 0;
        case 'h':
            fputs(usage_text, stdout);
            return 0;
        default:
            fputs(usage_text, stderr);
            return 2;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr, "weir: unexpected argument \"%s\"\n%s", argv[optind],
            usage_text);
    return 2;
}

static struct config *load(const struct arguments *a, char *err, size_t errlen)
{
    struct config *cfg = config_load(a->file, environ, err, errlen);
    const char *sets[][2] = {{"http_server.port", a->port},
                             {"nats.url", a->nats},
                             {"shards", a->shards}};
    for (size_t i = 0; cfg && i < sizeof(sets) / sizeof(sets[0]); i++) {
        if (sets[i][1] &&
            config_set(cfg, sets[i][0], sets[i][1], err, errlen) < 0) {
            config_free(cfg);
            return NULL;
        }
    }
    return cfg;
}

static int serve(struct config *cfg, const sigset_t *wanted)
{
    char err[512] = "";
    struct app *app;
    int sig = 0;
    if (server_start(cfg, &ws_centrifuge, &app, err, sizeof(err)) < 0) {
        fprintf(stderr, "weir: %s\n", err);
        return 1;
    }
    while (sigwait(wanted, &sig) != 0 || sig == SIGHUP)
        ; /* Configuration is read at start only. */
    log_info("shutdown", "signal=%d", sig);
    server_stop(app);
    log_info("bye", "status=0");
    return 0;
}

int main(int argc, char **argv)
{
    struct arguments a = {0};
    char err[1024];
    sigset_t wanted;
    int status = parse_arguments(argc, argv, &a);
    if (status != -1)
        return status;
    struct config *cfg = load(&a, err, sizeof(err));
    if (!cfg) {
        fprintf(stderr, "weir: %s\n", err);
        return 1;
    }
    if (a.print)
        config_print(cfg, stdout);
    if (a.check)
        printf("%s: fine\n", a.file ? a.file : "configuration");
    if (a.print || a.check) {
        config_free(cfg);
        return 0;
    }
    log_set_level((enum log_level)cfg->log.level);
    hash_seed();
    /* Every thread inherits the mask: only this one takes signals. */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    return serve(cfg, &wanted);
}
