/* config_read.h — one reading of the configuration, while it lasts.
 *
 *     defaults -> file -> environment -> checks -> struct config
 *
 * Why:    values of every source take the same way into struct config, and
 *         every refusal names the source, the key and the value the same way.
 * Owns:   the record of where each value came from.
 * Borrows: the config being filled, the sources and the caller's message
 *         buffer; the caller outlives the reading.
 * Thread: the caller's.
 * Uses:   gateway/config_schema, jansson. For gateway/config*.c only. */
#ifndef WEIR_GATEWAY_CONFIG_READ_H
#define WEIR_GATEWAY_CONFIG_READ_H

#include "gateway/config_schema.h"

struct json_t; /* jansson's; its header stays in gateway/config*.c */

/* How jansson writes numbers: 0.2, and not the double's 0.20000000000000001. */
#define CONFIG_REALS JSON_REAL_PRECISION(15)

enum config_from {
    CONFIG_FROM_DEFAULT,
    CONFIG_FROM_FILE,
    CONFIG_FROM_VARIABLE, /* of the environment */
    CONFIG_FROM_CALLER,   /* config_set: the command line */
};

struct config_origin {
    enum config_from from;
    const char *entry; /* borrowed; FROM_VARIABLE: "WEIR_X=value" */
};

struct config_read {
    struct config *cfg;           /* borrowed; being filled */
    const char *file;             /* borrowed; what messages call the file */
    struct config_origin now;     /* of what is being set; DEFAULT: nothing */
    struct config_origin *origin; /* owned; one per key */
    char *err;                    /* borrowed; errlen bytes */
    size_t errlen;
};

/* --- config_read.c: the reading itself --- */

/* Every key at its default. `cfg` is zeroed memory. */
void config_read_init(struct config_read *r, struct config *cfg,
                      const char *file, char *err, size_t errlen);
void config_read_fini(struct config_read *r);

/* Text as JSON; NULL after a message with line and column. */
struct json_t *config_read_json(struct config_read *r, struct str text);

/* The members of `object` under the section `prefix` ("" for all). */
int config_read_object(struct config_read *r, const char *prefix,
                       struct json_t *object) MUST_USE;

/* One key from text in the environment's syntax. */
int config_read_text(struct config_read *r, const char *name, const char *text)
    MUST_USE;

/* --- config_message.c: refusals; each returns ERR_INVALID --- */

/* `key` (NULL: a section) at `path` has the value `v`, NULL if it is not
 * there; `want` says what would be right. */
int config_message_bad(struct config_read *r, const struct config_key *key,
                       const char *path, const struct json_t *v,
                       const char *want, ...) PRINTF_LIKE(5, 6);
/* The same of a key of the table whose value is in r->cfg. */
int config_message_field(struct config_read *r, const struct config_key *key,
                         const char *want, ...) PRINTF_LIKE(3, 4);
int config_message_unknown(struct config_read *r, enum config_near among,
                           const char *path, const struct json_t *v);
/* Anything else: source, colon, the text. */
int config_message(struct config_read *r, const char *fmt, ...)
    PRINTF_LIKE(2, 3);

/* --- config_value.c: one value --- */

/* `base` is the struct the key's offset counts from. The old value is freed;
 * on failure it stays. */
int config_value_set(struct config_read *r, const struct config_key *key,
                     void *base, const char *path, const struct json_t *v)
    MUST_USE;
void config_value_default(const struct config_key *key, void *base);
void config_value_free(const struct config_key *key, void *base);

/* A new reference; secrets are "***" if `mask`. */
struct json_t *config_value_json(const struct config_key *key, const void *base,
                                 bool mask);

/* Put that into `root`, in an object for every dot of the key's name. */
void config_value_put(struct json_t *root, const struct config_key *key,
                      const void *base, bool mask);

/* Text of the environment as the JSON the file would have; a new reference.
 * What is not of the key's type comes as a string, for the message; NULL if
 * it is not UTF-8. Lists and objects in JSON are not for here. */
struct json_t *config_value_from_text(const struct config_key *key,
                                      const char *text);

/* "1m30s" -> 90000. ERR_INVALID if it is no duration of whole milliseconds
 * or not below 2^53 of them. */
int config_value_duration(const char *text, int64_t *ms) MUST_USE;
/* 90000 -> "1m30s". */
void config_value_print_duration(int64_t ms, char out[32]);

/* --- config_namespaces.c: the list of namespaces --- */

int config_namespaces_set(struct config_read *r, const char *path,
                          const struct json_t *v) MUST_USE;
struct json_t *config_namespaces_json(const struct config *cfg);
void config_namespaces_free(struct config *cfg);

/* Check the options that one namespace can get wrong by itself and compile
 * its regex. `path` is its dotted name. */
int config_namespaces_check(struct config_read *r, struct namespace_options *ns,
                            const char *path) MUST_USE;

/* Refuse what one of its options is. `want` says what would be right. */
int config_namespaces_refuse(struct config_read *r,
                             const struct namespace_options *ns,
                             const char *path, const char *option,
                             const char *want);

/* 2 to 64 of the characters -, _, a-z, A-Z, 0-9; in words for messages. */
bool config_namespaces_is_name(const char *name);
#define CONFIG_NAME_WANT \
    "a name of 2 to 64 of the characters -, _, a-z, A-Z, 0-9"

/* --- config_throttle.c: a namespace's section `throttle` --- */

/* Check the settings and make the policy of them. */
int config_throttle_check(struct config_read *r, struct namespace_options *ns,
                          const char *path) MUST_USE;
/* Number the order groups: equal names, equal numbers; none is 0. */
void config_throttle_number(struct config *cfg);

/* --- config_history.c: what a namespace keeps of its channels --- */

/* Check what can be wrong by itself and make the policy of it. */
int config_history_check(struct config_read *r, struct namespace_options *ns,
                         const char *path) MUST_USE;
/* Check all namespaces against keys outside them, once everything is read,
 * and complete their policies with those. */
int config_history_finish(struct config_read *r) MUST_USE;

/* --- config_env.c --- */

int config_env_read(struct config_read *r, char *const *env) MUST_USE;

/* --- config_check.c: what involves more than one key --- */

int config_check(struct config_read *r) MUST_USE;

#endif
