/* wsecho.c — the gateway's own WebSocket transport with an echo behind it.
 *
 *     build/wsecho -p PORT [--max-message BYTES]
 *
 * Conformance suites drive the frame path with it: every message comes back
 * as it went in, text as text and binary as binary, on any path. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/config.h"
#include "gateway/server.h"
#include "gateway/session.h"
#include "gateway/transport/ws.h"

static void echo(struct session *s, struct str bytes, bool is_text)
{
    /* An echo has no connect command: it counts as connected, no pings. */
    if (s->state != SESSION_CONNECTED) {
        s->state = SESSION_CONNECTED;
        wheel_stop(&s->client.shard->wheel, &s->timer);
    }
    ws_send(s, bytes, is_text);
}

static const struct ws_app app_echo = {echo};

static const char config_text[] =
    "{\"client\":{\"allowed_origins\":[\"*\"],\"insecure\":true,"
    "\"stale_close_delay\":\"1h\",\"queue_max_size\":1073741824},"
    "\"websocket\":{\"handler_prefix\":\"/echo\"},\"shards\":1}";

static int run(const char *port, const char *max_message)
{
    char err[512];
    struct app *app;
    sigset_t wanted;
    int sig;
    struct config *cfg = config_parse(config_text, sizeof(config_text) - 1,
                                      "wsecho", NULL, err, sizeof(err));
    if (!cfg ||
        config_set(cfg, "http_server.port", port, err, sizeof(err)) < 0 ||
        config_set(cfg, "websocket.message_size_limit", max_message, err,
                   sizeof(err)) < 0) {
        fprintf(stderr, "wsecho: %s\n", err);
        return 2;
    }
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    if (server_start(cfg, &app_echo, &app, err, sizeof(err)) < 0) {
        fprintf(stderr, "wsecho: %s\n", err);
        return 1;
    }
    sigwait(&wanted, &sig);
    server_stop(app);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"max-message", required_argument, NULL, 'm'},
        {NULL, 0, NULL, 0},
    };
    const char *port = NULL;
    const char *max_message = "16777216";
    int opt;
    while ((opt = getopt_long(argc, argv, "p:", options, NULL)) != -1) {
        if (opt == 'p')
            port = optarg;
        else if (opt == 'm')
            max_message = optarg;
        else
            port = NULL, optind = argc;
    }
    if (!port) {
        fputs("usage: wsecho -p PORT [--max-message BYTES]\n", stderr);
        return 2;
    }
    return run(port, max_message);
}
