/* selftest.h — checks of the generator's own parts, without a server.
 * Why: a wrong histogram or a parser that skips frames would make every
 * number a lie. Uses: hist, sha1, frame, stamp, dialect, ledger, source,
 * ceiling. */
#ifndef LOADTEST_SELFTEST_H
#define LOADTEST_SELFTEST_H

/* Runs all checks, prints what failed. 0 when everything held. */
int selftest_run(void);

#endif
