#include "loadtest/scenario.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { TEXT, NUMBER, FLAG };

struct key {
    const char *name;
    enum type type;
    size_t offset;
    unsigned max; /* NUMBER */
};

#define KEY(field, type, max)                               \
    {                                                       \
#field, type, offsetof(struct scenario, field), max \
    }

static const struct key keys[] = {
    KEY(name, TEXT, 0),
    KEY(title, TEXT, 0),
    KEY(kind, TEXT, 0),
    KEY(transport, TEXT, 0),
    KEY(publish, TEXT, 0),
    KEY(config, TEXT, 0),
    KEY(subject_prefix, TEXT, 0),
    KEY(clients, NUMBER, 19000),
    KEY(channels, NUMBER, 19000),
    KEY(size, NUMBER, 1 << 20),
    KEY(inflight, NUMBER, 1024),
    KEY(rate, NUMBER, 1000000),
    KEY(seconds, NUMBER, 3600),
    KEY(rounds, NUMBER, 1000),
    KEY(batches, NUMBER, 100000),
    KEY(cycles, NUMBER, 1000),
    KEY(slow_clients, NUMBER, 9000),
    KEY(messages, NUMBER, 10000000),
    KEY(sources, NUMBER, 200),
    KEY(settle_ms, NUMBER, 60000),
    KEY(history, TEXT, 0),
    KEY(missed, NUMBER, 1000),
    KEY(jetstream, FLAG, 0),
    KEY(restart, FLAG, 0),
    KEY(throttled, TEXT, 0),
    KEY(items, NUMBER, 10000),
    KEY(updates, NUMBER, 100000),
    KEY(slow_updates, NUMBER, 100000),
    KEY(granted, NUMBER, 60),
    KEY(bunch, NUMBER, 1024),
    KEY(link_bytes, NUMBER, 1 << 20),
    KEY(receive_buffer, NUMBER, 1 << 20),
    KEY(segment, NUMBER, 32768),
    KEY(bare, FLAG, 0),
    KEY(spin, FLAG, 0),
};

void scenario_init(struct scenario *s)
{
    *s = (struct scenario){
        .transport = "ws",
        .publish = "http",
        .config = "weir.json",
        .subject_prefix = "weir.pub._.",
        .clients = 1000,
        .channels = 1,
        .size = 128,
        .inflight = 1,
        .rate = 100,
        .seconds = 5,
        .rounds = 31,
        .batches = 20,
        .cycles = 10,
        .slow_clients = 10,
        .messages = 1000,
        .sources = 4,
        .settle_ms = 500,
        .history = "kept",
        .missed = 100,
        .throttled = "keyed",
        .items = 20,
        .updates = 1000,
        .slow_updates = 100,
        .granted = 5,
        .bunch = 20,
        .link_bytes = 8192,
        .receive_buffer = 4096,
        .segment = 1460,
        .spin = true,
    };
}

static const char *set_number(unsigned *out, const char *value, unsigned max)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || *value == '-')
        return "not a number";
    if (n > max)
        return "too large";
    *out = (unsigned)n;
    return NULL;
}

static const char *set_flag(bool *out, const char *value)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return "neither yes nor no";
    *out = strcmp(value, "yes") == 0;
    return NULL;
}

static const char *set_text(char *out, const char *value)
{
    if (strlen(value) >= SCENARIO_TEXT)
        return "too long";
    strcpy(out, value);
    return NULL;
}

/* `target ratio 1.10` */
static const char *add_target(struct scenario *s, const char *value)
{
    struct target t;
    if (s->target_count == SCENARIO_TARGETS)
        return "too many targets";
    if (sscanf(value, "%31s %lf", t.metric, &t.limit) != 2)
        return "a target is a metric and a number";
    s->targets[s->target_count++] = t;
    return NULL;
}

const char *scenario_set(struct scenario *s, const char *key, const char *value)
{
    if (strcmp(key, "target") == 0)
        return add_target(s, value);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        void *field = (char *)s + keys[i].offset;
        if (strcmp(keys[i].name, key) != 0)
            continue;
        if (keys[i].type == NUMBER)
            return set_number(field, value, keys[i].max);
        if (keys[i].type == FLAG)
            return set_flag(field, value);
        return set_text(field, value);
    }
    return "no such key";
}

/* Cuts a line into key and value; false for blank lines and comments. */
static bool cut(char *line, char **key, char **value)
{
    line[strcspn(line, "\r\n")] = '\0';
    line += strspn(line, " \t");
    if (*line == '\0' || *line == '#')
        return false;
    *key = line;
    line += strcspn(line, " \t");
    if (*line != '\0')
        *line++ = '\0';
    *value = line + strspn(line, " \t");
    size_t n = strlen(*value);
    while (n > 0 && ((*value)[n - 1] == ' ' || (*value)[n - 1] == '\t'))
        (*value)[--n] = '\0';
    return true;
}

int scenario_load(struct scenario *s, const char *path)
{
    char line[512];
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int rc = 0;
    for (int at = 1; rc == 0 && fgets(line, sizeof(line), f) != NULL; at++) {
        char *key;
        char *value;
        if (!cut(line, &key, &value))
            continue;
        const char *why = scenario_set(s, key, value);
        if (why != NULL) {
            fprintf(stderr, "%s:%d: %s %s: %s\n", path, at, key, value, why);
            rc = -1;
        }
    }
    fclose(f);
    return rc;
}
