#include "loadtest/jsbare.h"
#include "loadtest/loop.h"
#include "loadtest/stamp.h"

#include <nats/nats.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 30000
#define SIZE_MAX_BYTES ((uint32_t)1 << 20)

/* What was answered, of the library's thread. */
static _Atomic uint64_t refused;
static _Atomic uint64_t highest; /* sequence in the stream */

static void on_ack(jsCtx *js, natsMsg *msg, jsPubAck *ack, jsPubAckErr *error,
                   void *arg)
{
    (void)js;
    (void)arg;
    if (error != NULL)
        atomic_fetch_add(&refused, 1);
    else if (ack->Sequence > atomic_load(&highest))
        atomic_store(&highest, ack->Sequence);
    natsMsg_Destroy(msg);
}

static uint64_t own_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * LOOP_SECOND + (uint64_t)t.tv_nsec;
}

static natsStatus publish_all(jsCtx *js, const struct jsbare_command *c,
                              char *payload)
{
    natsStatus rc = NATS_OK;
    jsPubOptions o;
    for (uint32_t i = 0; i < c->count && rc == NATS_OK; i++) {
        struct stamp s = {.seq = i, .time_ns = loop_now_ns()};
        stamp_payload(payload, c->size, &s);
        rc = js_PublishAsync(js, c->subject, payload, (int)c->size, NULL);
    }
    jsPubOptions_Init(&o);
    o.MaxWait = WAIT_MS;
    return rc == NATS_OK ? js_PublishAsyncComplete(js, &o) : rc;
}

static void run_one(natsConnection *nc, const struct jsbare_command *c,
                    struct jsbare_answer *a)
{
    jsCtx *js = NULL;
    jsOptions o;
    char *payload = malloc(c->size);
    jsOptions_Init(&o);
    o.PublishAsync.MaxPending = c->window;
    o.PublishAsync.StallWait = WAIT_MS;
    o.PublishAsync.AckHandler = on_ack;
    natsStatus rc = payload == NULL ? NATS_NO_MEMORY
                                    : natsConnection_JetStream(&js, nc, &o);
    uint64_t cpu = own_cpu_ns();
    uint64_t start = loop_now_ns();
    if (rc == NATS_OK)
        rc = publish_all(js, c, payload);
    a->wall_ns = loop_now_ns() - start;
    a->cpu_ns = own_cpu_ns() - cpu;
    a->last = atomic_load(&highest);
    a->errors = atomic_exchange(&refused, 0) + (rc != NATS_OK);
    snprintf(a->error, sizeof(a->error), "%s", natsStatus_GetText(rc));
    jsCtx_Destroy(js);
    free(payload);
}

static void child_main(int fd, uint16_t port)
{
    struct jsbare_command c;
    natsConnection *nc = NULL;
    char url[64];
    snprintf(url, sizeof(url), "nats://127.0.0.1:%u", port);
    natsStatus rc = natsConnection_ConnectTo(&nc, url);
    while (recv(fd, &c, sizeof(c), MSG_WAITALL) == (ssize_t)sizeof(c)) {
        struct jsbare_answer a = {.errors = 1};
        snprintf(a.error, sizeof(a.error), "%s", natsStatus_GetText(rc));
        if (rc == NATS_OK && c.size >= STAMP_PAYLOAD_MIN &&
            c.size <= SIZE_MAX_BYTES)
            run_one(nc, &c, &a);
        if (send(fd, &a, sizeof(a), MSG_NOSIGNAL) != (ssize_t)sizeof(a))
            break;
    }
    _exit(0);
}

int jsbare_start(struct jsbare *j, int cpu, uint16_t nats_port)
{
    int pair[2];
    pid_t parent = getpid();
    *j = (struct jsbare){.fd = -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        close(pair[0]);
        proc_pin_self(cpu);
        child_main(pair[1], nats_port);
    }
    close(pair[1]);
    j->fd = pair[0];
    if (pid == -1)
        return -1;
    j->proc = (struct proc){.pid = pid, .ours = true};
    return 0;
}

void jsbare_stop(struct jsbare *j)
{
    if (j->fd >= 0)
        close(j->fd);
    j->fd = -1;
    proc_stop(&j->proc);
}

int jsbare_run(struct jsbare *j, const struct jsbare_command *c,
               struct jsbare_answer *a)
{
    if (send(j->fd, c, sizeof(*c), MSG_NOSIGNAL) != (ssize_t)sizeof(*c))
        return -1;
    return recv(j->fd, a, sizeof(*a), MSG_WAITALL) == (ssize_t)sizeof(*a) ? 0
                                                                          : -1;
}
