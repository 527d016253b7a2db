/* report.h — what a run found: numbers by name, targets, what went wrong.
 *
 * Two kinds of Markdown rows go to files, for the script that collects them:
 *   rows  | scenario | metric | measured | target | reached? |
 *   runs  | scenario | deliveries/s | CPU ... | lost | dup | ... |
 *
 * Owns: its numbers. Bounds: REPORT_METRICS. Uses: scenario. */
#ifndef LOADTEST_REPORT_H
#define LOADTEST_REPORT_H

#include "loadtest/conn.h"
#include "loadtest/scenario.h"

#include <stdio.h>

#define REPORT_METRICS 48

struct metric {
    const char *key; /* borrowed: one of the table in report.c */
    double value;
};

struct report {
    struct metric metrics[REPORT_METRICS];
    unsigned count;
    unsigned problems; /* lost, duplicated, failed: the run is no good */
    char problem[200]; /* the first one */
};

/* Notes a number; the key must be in the table of report.c. */
void report_add(struct report *r, const char *key, double value);
/* Notes deliveries, losses, failures and latencies of a crowd. */
void report_crowd(struct report *r, const struct crowd *k);
/* Notes something that makes the run fail. */
void report_problem(struct report *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Prints everything for a reader. */
void report_print(const struct report *r, const struct scenario *s, FILE *out);
/* Appends the rows with targets, and the row of the run. */
void report_rows(const struct report *r, const struct scenario *s, FILE *out);
void report_run(const struct report *r, const struct scenario *s, FILE *out);

#endif
