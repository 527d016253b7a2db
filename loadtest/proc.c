#include "loadtest/proc.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_TRIES 500 /* of 10 ms */

static int pin(pid_t pid, int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return sched_setaffinity(pid, sizeof(set), &set);
}

int proc_pin_self(int cpu)
{
    return pin(0, cpu);
}

int proc_allowed_cpu(int n)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == -1)
        return -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, &set) && n-- == 0)
            return cpu;
    return -1;
}

int proc_spawn(struct proc *p, char *const argv[], int cpu)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == -1)
        return -1;
    if (pid == 0) {
        /* It must not outlive the generator, whatever kills that. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(127);
        pin(0, cpu);
        execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    *p = (struct proc){.pid = pid, .ours = true};
    proc_refresh(p);
    return 0;
}

static void pin_threads(pid_t pid, int cpu)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    struct dirent *e;
    while ((e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.')
            pin(atoi(e->d_name), cpu);
    closedir(dir);
}

int proc_attach(struct proc *p, pid_t pid, int cpu)
{
    *p = (struct proc){.pid = pid};
    if (kill(pid, 0) == -1)
        return -1;
    proc_refresh(p);
    for (int i = 0; i < p->member_count; i++)
        pin_threads(p->members[i], cpu);
    return 0;
}

/* Parent of a process; 0 when it is gone. */
static pid_t parent_of(const char *pid)
{
    char path[64];
    char line[512];
    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    size_t n = fread(line, 1, sizeof(line) - 1, f);
    fclose(f);
    line[n] = '\0';
    /* The name in brackets may hold anything, brackets included. */
    const char *after = strrchr(line, ')');
    int parent = 0;
    if (after == NULL || sscanf(after + 1, " %*c %d", &parent) != 1)
        return 0;
    return parent;
}

static bool is_member(const struct proc *p, pid_t pid)
{
    for (int i = 0; i < p->member_count; i++)
        if (p->members[i] == pid)
            return true;
    return false;
}

/* Adds processes whose parent is a member; returns how many. */
static int add_children(struct proc *p)
{
    int added = 0;
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return 0;
    struct dirent *e;
    while ((e = readdir(dir)) != NULL && p->member_count < PROC_MEMBERS) {
        pid_t pid = atoi(e->d_name);
        if (pid <= 0 || is_member(p, pid) ||
            !is_member(p, parent_of(e->d_name)))
            continue;
        p->members[p->member_count++] = pid;
        added++;
    }
    closedir(dir);
    return added;
}

void proc_refresh(struct proc *p)
{
    p->members[0] = p->pid;
    p->member_count = 1;
    while (add_children(p) > 0)
        ;
}

bool proc_is_alive(struct proc *p)
{
    if (p->pid <= 0)
        return false;
    if (!p->ours)
        return kill(p->pid, 0) == 0;
    if (waitpid(p->pid, NULL, WNOHANG) == 0)
        return true;
    p->pid = 0;
    return false;
}

int proc_stop(struct proc *p)
{
    int status = 0;
    if (p->pid <= 0 || !p->ours)
        return 0;
    kill(p->pid, SIGTERM);
    for (int i = 0; i < STOP_TRIES; i++) {
        if (waitpid(p->pid, &status, WNOHANG) != 0)
            goto gone;
        usleep(10000);
    }
    kill(p->pid, SIGKILL);
    waitpid(p->pid, &status, 0);
gone:
    p->pid = 0;
    return status;
}

uint64_t proc_cpu_ns(const struct proc *p)
{
    uint64_t sum = 0;
    for (int i = 0; i < p->member_count; i++) {
        clockid_t id;
        struct timespec t;
        if (clock_getcpuclockid(p->members[i], &id) != 0 ||
            clock_gettime(id, &t) == -1)
            continue;
        sum += (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    return sum;
}

struct proc_memory proc_memory(const struct proc *p)
{
    struct proc_memory m = {0};
    for (int i = 0; i < p->member_count; i++) {
        char path[64];
        char line[256];
        unsigned long kb;
        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup",
                 (int)p->members[i]);
        FILE *f = fopen(path, "re");
        if (f == NULL)
            continue;
        while (fgets(line, sizeof(line), f) != NULL) {
            if (sscanf(line, "Rss: %lu", &kb) == 1)
                m.rss_kb += kb;
            else if (sscanf(line, "Pss: %lu", &kb) == 1)
                m.pss_kb += kb;
        }
        fclose(f);
    }
    return m;
}

/* The pid of ksoftirqd/<cpu>, 0 when this /proc does not show it. */
static pid_t find_softirq_thread(int cpu)
{
    char want[32];
    char path[300];
    char name[32];
    pid_t found = 0;
    snprintf(want, sizeof(want), "ksoftirqd/%d\n", cpu);
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return 0;
    struct dirent *e;
    while (found == 0 && (e = readdir(dir)) != NULL) {
        if (atoi(e->d_name) <= 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
        FILE *f = fopen(path, "re");
        if (f == NULL)
            continue;
        if (fgets(name, sizeof(name), f) != NULL && strcmp(name, want) == 0)
            found = atoi(e->d_name);
        fclose(f);
    }
    closedir(dir);
    return found;
}

uint64_t proc_softirq_ns(int cpu)
{
    static pid_t thread = -1; /* looked up once */
    static int thread_cpu;
    char path[64];
    unsigned long long ns = 0;
    if (thread == -1 || thread_cpu != cpu)
        thread = find_softirq_thread(cpu);
    thread_cpu = cpu;
    if (thread == 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)thread);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu", &ns) != 1)
        ns = 0;
    fclose(f);
    return ns;
}

uint16_t proc_free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return 0;
    if (bind(fd, (struct sockaddr *)&a, n) == -1 ||
        getsockname(fd, (struct sockaddr *)&a, &n) == -1)
        a.sin_port = 0;
    close(fd);
    return ntohs(a.sin_port);
}
