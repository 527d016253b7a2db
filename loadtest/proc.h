/* proc.h — processes under test: started, pinned, measured, stopped.
 * Why:    what a delivery costs is the server's CPU clock, in nanoseconds,
 *         over all its threads and children, and what a connection costs is
 *         its resident memory.
 * Owns:   a process it started, until proc_stop. An attached one is only
 *         pinned and read. Bounds: PROC_MEMBERS processes per server.
 * Uses:   libc, /proc of Linux. */
#ifndef LOADTEST_PROC_H
#define LOADTEST_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROC_MEMBERS 32

struct proc {
    pid_t pid;
    bool ours;                   /* started here: stop it, reap it */
    pid_t members[PROC_MEMBERS]; /* pid and its descendants */
    int member_count;
};

struct proc_memory {
    uint64_t rss_kb;
    uint64_t pss_kb; /* shared pages divided among those who share them */
};

/* Pins the calling process; -1 when the CPU is not ours to use. */
int proc_pin_self(int cpu);
/* The n-th CPU (from 0) this process may use; -1 when there are fewer. */
int proc_allowed_cpu(int n);
/* Starts argv (argv[0] looked up in PATH) pinned to a CPU. 0 or -1. */
int proc_spawn(struct proc *p, char *const argv[], int cpu);
/* Takes a running process as the one to measure, with its descendants, and
 * pins all their threads. 0 or -1. */
int proc_attach(struct proc *p, pid_t pid, int cpu);
/* Looks for descendants again; call before a series of measurements. */
void proc_refresh(struct proc *p);
/* True while the process runs. Reaps it when it was ours and has ended. */
bool proc_is_alive(struct proc *p);
/* SIGTERM, at most 5 s, SIGKILL. Returns the wait status; 0 for an attached
 * process, which is left running. */
int proc_stop(struct proc *p);

/* CPU time used so far by all members. */
uint64_t proc_cpu_ns(const struct proc *p);
/* Memory of all members; zeros when /proc does not tell. */
struct proc_memory proc_memory(const struct proc *p);
/* CPU time of the kernel's softirq thread of a CPU, 0 when it is not visible:
 * loopback work that was pushed off the sender's clock. */
uint64_t proc_softirq_ns(int cpu);

/* A TCP port that was free a moment ago on 127.0.0.1; 0 on failure. */
uint16_t proc_free_port(void);

#endif
