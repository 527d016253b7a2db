/* config_fuzz.c — the configuration from arbitrary bytes.
 *
 *     {"shards":1} NUL WEIR_SHARDS=2 NUL shards=3
 *     ^ file           ^ environment     ^ config_set
 *
 * Whatever is accepted must survive being printed and read again unchanged;
 * whatever is refused must come with a message of one line. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gateway/config.h"

#define ENTRY_MAX 16
#define ERR_LEN 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const struct config *cfg)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    CHECK(f != NULL);
    config_print(cfg, f);
    fclose(f);
    return text;
}

static void check_round_trip(const struct config *cfg)
{
    char err[ERR_LEN];
    char *first = print(cfg);
    struct config *again =
        config_parse(first, strlen(first), "printed", NULL, err, sizeof(err));
    CHECK(again != NULL);
    char *second = print(again);
    CHECK(strcmp(first, second) == 0);
    free(first);
    free(second);
    config_free(again);
}

static void check_lookup(const struct config *cfg)
{
    for (size_t i = 0; i < cfg->channel.namespace_count; i++) {
        const struct namespace_options *ns = &cfg->channel.namespaces[i];
        CHECK(config_namespace(cfg, str_of(ns->name)) == ns);
        CHECK(!*ns->channel_regex == !ns->regex);
    }
}

static void check_message(const char *err)
{
    CHECK(*err != '\0');
    CHECK(strchr(err, '\n') == NULL);
}

static void set_one(struct config *cfg, char *entry)
{
    char err[ERR_LEN] = "";
    char *equals = strchr(entry, '=');
    if (!equals)
        return;
    *equals = '\0';
    char *before = print(cfg);
    if (config_set(cfg, entry, equals + 1, err, sizeof(err)) < 0) {
        char *after = print(cfg);
        check_message(err);
        CHECK(strcmp(before, after) == 0);
        free(after);
    }
    free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_strndup((const char *)data, size);
    char *env[ENTRY_MAX + 1];
    char *sets[ENTRY_MAX];
    size_t env_count = 0;
    size_t set_count = 0;
    struct str rest = str_n(text, size);
    struct str json = str_cut(&rest, '\0');
    while (rest.n) {
        char *entry = (char *)str_cut(&rest, '\0').p;
        if (strncmp(entry, "WEIR_", 5) == 0 && env_count < ENTRY_MAX)
            env[env_count++] = entry;
        else if (set_count < ENTRY_MAX)
            sets[set_count++] = entry;
    }
    env[env_count] = NULL;

    char err[ERR_LEN] = "";
    struct config *cfg =
        config_parse(json.p, json.n, "fuzz", env, err, sizeof(err));
    if (!cfg)
        check_message(err);
    for (size_t i = 0; cfg && i < set_count; i++)
        set_one(cfg, sets[i]);
    if (cfg) {
        check_round_trip(cfg);
        check_lookup(cfg);
    }
    config_free(cfg);
    free(text);
    return 0;
}
