/* hostfeed_proc.c — see hostfeed_proc.h. */
#include "examples/hostfeed_proc.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX (64 * 1024)
#define SECTOR_BYTES 512 /* of /proc/diskstats, whatever the disk's own */
#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

static const char *const topic_names[PROC_TOPICS] = {"cpu", "mem", "net",
                                                     "disk"};

/* Interfaces that carry again what another one already counted. */
static const char *const shadow_links[] = {
    "ifb", "veth", "docker", "br-", "virbr", "dummy", "bond", "tap", NULL};

/* Devices that stand on a disk or in memory that is counted already. */
static const char *const shadow_disks[] = {"loop", "ram", "zram", "dm-",
                                           "md",   "sr",  NULL};

static int64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* Reads a whole file of /proc; what is longer than the buffer is cut. */
static char *slurp(const char *path)
{
    static char buf[FILE_MAX];
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd != -1 && n < sizeof buf - 1) {
        ssize_t got = read(fd, buf + n, sizeof buf - 1 - n);
        if (got == -1 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    if (fd != -1)
        close(fd);
    buf[n] = '\0';
    return buf;
}

static bool starts_with_one_of(const char *name, const char *const *prefixes)
{
    for (; *prefixes; prefixes++)
        if (!strncmp(name, *prefixes, strlen(*prefixes)))
            return true;
    return false;
}

static void read_cpu(struct proc_sample *s)
{
    char *rest = slurp("/proc/stat");
    s->cores = 0;
    for (char *line;
         (line = strsep(&rest, "\n")) && !strncmp(line, "cpu", 3);) {
        uint64_t v[8] = {0};
        int i = isdigit((unsigned char)line[3]) ? s->cores + 1 : 0;
        int n = sscanf(line,
                       "%*s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                       " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                       &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
        if (n < 4 || i > PROC_CORES_MAX)
            break;
        uint64_t idle = v[3] + v[4]; /* idle, waiting for a disk */
        uint64_t busy = v[0] + v[1] + v[2] + v[5] + v[6] + v[7];
        s->core[i] = (struct proc_core){.busy = busy, .all = busy + idle};
        s->cores = i;
    }
}

static void read_net(struct proc_sample *s)
{
    char *rest = slurp("/proc/net/dev");
    s->rx_bytes = s->tx_bytes = s->lo_bytes = 0;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char name[64];
        uint64_t rx;
        uint64_t tx;
        int n = sscanf(
            line, " %63[^: ]: %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64,
            name, &rx, &tx);
        if (n != 3 || starts_with_one_of(name, shadow_links))
            continue;
        if (!strcmp(name, "lo")) {
            s->lo_bytes = rx;
            continue;
        }
        s->rx_bytes += rx;
        s->tx_bytes += tx;
    }
}

/* Whole disks only: partitions have no folder in /sys/block. */
static bool is_disk(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/block/%s", name);
    return !starts_with_one_of(name, shadow_disks) && access(path, F_OK) == 0;
}

static void read_disk(struct proc_sample *s)
{
    char *rest = slurp("/proc/diskstats");
    s->sectors_read = s->sectors_written = s->ios = 0;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char name[64];
        uint64_t v[4]; /* reads, sectors read, writes, sectors written */
        int n = sscanf(line,
                       " %*u %*u %63s %" SCNu64 " %*u %" SCNu64 " %*u %" SCNu64
                       " %*u %" SCNu64,
                       name, &v[0], &v[1], &v[2], &v[3]);
        if (n != 5 || !is_disk(name))
            continue;
        s->ios += v[0] + v[2];
        s->sectors_read += v[1];
        s->sectors_written += v[3];
    }
}

static uint64_t meminfo_bytes(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 10) * 1024 : 0;
}

/* A counter that went backwards (an interface left, a CPU went offline)
 * gives 0, not a spike. */
static double rate(uint64_t was, uint64_t is, int64_t ns)
{
    if (is <= was || ns <= 0)
        return 0;
    return (double)(is - was) * (double)NS_PER_S / (double)ns;
}

static double busy_percent(const struct proc_core *was,
                           const struct proc_core *is)
{
    if (is->all <= was->all || is->busy <= was->busy)
        return 0;
    double p =
        100.0 * (double)(is->busy - was->busy) / (double)(is->all - was->all);
    return p > 100 ? 100 : p;
}

static void write_cpu(struct text *t, const struct proc_sample *was,
                      const struct proc_sample *is)
{
    char name[65] = "";
    double load[3] = {0};
    (void)!gethostname(name, sizeof name - 1);
    name[strcspn(name, "\"\\")] = '\0';
    (void)!getloadavg(load, 3);
    text_add(t, "\"host\":\"%s\",\"total\":%.1f,\"cores\":[", name,
             busy_percent(&was->core[0], &is->core[0]));
    for (int i = 1; i <= is->cores; i++)
        text_add(t, "%s%.1f", i > 1 ? "," : "",
                 busy_percent(&was->core[i], &is->core[i]));
    text_add(t, "],\"load\":[%.2f,%.2f,%.2f],\"uptime\":%" PRId64, load[0],
             load[1], load[2], clock_ns(CLOCK_BOOTTIME) / NS_PER_S);
}

static void write_mem(struct text *t)
{
    const char *info = slurp("/proc/meminfo");
    uint64_t total = meminfo_bytes(info, "MemTotal:");
    uint64_t cached =
        meminfo_bytes(info, "\nCached:") + meminfo_bytes(info, "Buffers:");
    uint64_t swap = meminfo_bytes(info, "SwapTotal:");
    text_add(t,
             "\"total\":%" PRIu64 ",\"used\":%" PRIu64 ",\"cached\":%" PRIu64,
             total, total - meminfo_bytes(info, "MemAvailable:"), cached);
    text_add(t, ",\"swap_total\":%" PRIu64 ",\"swap_used\":%" PRIu64, swap,
             swap - meminfo_bytes(info, "SwapFree:"));
}

static void write_net(struct text *t, const struct proc_sample *was,
                      const struct proc_sample *is)
{
    int64_t ns = is->at_ns - was->at_ns;
    text_add(t, "\"rx\":%.0f,\"tx\":%.0f,\"lo\":%.0f",
             rate(was->rx_bytes, is->rx_bytes, ns),
             rate(was->tx_bytes, is->tx_bytes, ns),
             rate(was->lo_bytes, is->lo_bytes, ns));
    text_add(t, ",\"rx_total\":%" PRIu64 ",\"tx_total\":%" PRIu64, is->rx_bytes,
             is->tx_bytes);
}

static void write_disk(struct text *t, const struct proc_sample *was,
                       const struct proc_sample *is)
{
    int64_t ns = is->at_ns - was->at_ns;
    struct statvfs fs = {0};
    (void)!statvfs("/", &fs);
    text_add(t, "\"read\":%.0f,\"write\":%.0f,\"iops\":%.1f",
             rate(was->sectors_read, is->sectors_read, ns) * SECTOR_BYTES,
             rate(was->sectors_written, is->sectors_written, ns) * SECTOR_BYTES,
             rate(was->ios, is->ios, ns));
    text_add(t, ",\"fs_total\":%" PRIu64 ",\"fs_used\":%" PRIu64,
             (uint64_t)fs.f_blocks * fs.f_frsize,
             (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize);
}

int64_t proc_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

const char *proc_topic_name(enum proc_topic topic)
{
    return topic_names[topic];
}

void proc_read(struct proc_sample *s)
{
    s->at_ns = proc_now_ns();
    read_cpu(s);
    read_net(s);
    read_disk(s);
}

void proc_write(struct text *t, enum proc_topic topic,
                const struct proc_sample *was, const struct proc_sample *is)
{
    text_add(t, "{\"t\":%" PRId64 ",", clock_ns(CLOCK_REALTIME) / NS_PER_MS);
    switch (topic) {
    case PROC_CPU:
        write_cpu(t, was, is);
        break;
    case PROC_MEM:
        write_mem(t);
        break;
    case PROC_NET:
        write_net(t, was, is);
        break;
    case PROC_DISK:
    case PROC_TOPICS:
        write_disk(t, was, is);
        break;
    }
    text_add(t, "}");
}
