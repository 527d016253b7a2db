#include "base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* What goes to stderr between begin and end. */
static int saved_stderr;
static int pipe_fds[2];
static char captured[LOG_LINE_MAX * 4];

static void capture_begin(void)
{
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
    saved_stderr = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
}

static struct str capture_end(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(pipe_fds[1]);
    ssize_t n = read(pipe_fds[0], captured, sizeof(captured));
    close(pipe_fds[0]);
    return str_n(captured, n > 0 ? (size_t)n : 0);
}

static bool ends(struct str s, const char *tail)
{
    size_t n = strlen(tail);
    return s.n >= n && memcmp(s.p + s.n - n, tail, n) == 0;
}

static void test_one_line(void **state)
{
    (void)state;
    capture_begin();
    log_info("listen", "port=%d shards=%d", 8000, 2);
    struct str line = capture_end();
    assert_true(str_starts(line, STR_LIT("ts=20")));
    assert_true(ends(line, "Z level=info event=listen port=8000 shards=2\n"));
    assert_int_equal(line.p[3 + 10], 'T');
    assert_int_equal(line.p[3 + 19], '.');
}

static void test_levels(void **state)
{
    (void)state;
    log_set_level(LOG_WARN);
    capture_begin();
    log_info("quiet", "a=%d", 1);
    log_debug("quiet", "a=%d", 1);
    log_error("loud", "a=%d", 2);
    struct str line = capture_end();
    log_set_level(LOG_INFO);
    assert_true(ends(line, "level=error event=loud a=2\n"));
    assert_null(memmem(line.p, line.n, "quiet", 5));
    assert_true(log_enabled(LOG_INFO) && !log_enabled(LOG_DEBUG));
}

static void test_no_pairs_no_space(void **state)
{
    (void)state;
    capture_begin();
    log_warn("stop", "%s", "");
    assert_true(ends(capture_end(), "level=warn event=stop\n"));
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    char *text = malloc(LOG_LINE_MAX * 2 + 1);
    memset(text, 'x', LOG_LINE_MAX * 2);
    text[LOG_LINE_MAX * 2] = '\0';
    capture_begin();
    log_info("long", "text=%s", text);
    struct str line = capture_end();
    free(text);
    assert_int_equal(line.n, LOG_LINE_MAX);
    assert_true(ends(line, "x\n"));
    assert_ptr_equal(memchr(line.p, '\n', line.n), line.p + line.n - 1);
}

static void test_quote(void **state)
{
    (void)state;
    assert_string_equal(log_quote(STR_LIT("plain")), "\"plain\"");
    assert_string_equal(log_quote(STR_LIT("")), "\"\"");
    assert_string_equal(log_quote((struct str){NULL, 0}), "\"\"");
    assert_string_equal(log_quote(STR_LIT("a\"b\\c")), "\"a\\\"b\\\\c\"");
    assert_string_equal(log_quote(STR_LIT("x\ny\r\t\0z\x7f")),
                        "\"x\\x0ay\\x0d\\x09\\x00z\\x7f\"");
    assert_string_equal(log_quote(STR_LIT("caf\xc3\xa9")), "\"caf\xc3\xa9\"");
}

static void test_quote_is_bounded(void **state)
{
    (void)state;
    char bytes[300] = {0};
    const char *quoted = log_quote(str_n(bytes, sizeof(bytes)));
    assert_int_equal(strlen(quoted), 2 + 200 * 4);
    memset(bytes, 'a', sizeof(bytes));
    assert_int_equal(strlen(log_quote(str_n(bytes, sizeof(bytes)))), 202);
}

static void test_eight_quotes_live_at_once(void **state)
{
    (void)state;
    const char *quoted[8];
    for (int i = 0; i < 8; i++) {
        char text[2] = {(char)('a' + i), '\0'};
        quoted[i] = log_quote(str_of(text));
    }
    for (int i = 0; i < 8; i++)
        assert_int_equal(quoted[i][1], 'a' + i);
}

static void test_limit_once_a_second(void **state)
{
    (void)state;
    struct log_limit l = {0, 0};
    uint64_t missed = 99;
    uint64_t t = 5000000000u;
    assert_true(log_limit_pass(&l, t, &missed));
    assert_int_equal(missed, 0);
    assert_false(log_limit_pass(&l, t, &missed));
    assert_false(log_limit_pass(&l, t + 999999999, &missed));
    assert_int_equal(missed, 0);
    assert_true(log_limit_pass(&l, t + 1000000000, &missed));
    assert_int_equal(missed, 2);
    assert_true(log_limit_pass(&l, t + 3000000000, &missed));
    assert_int_equal(missed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_line),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_no_pairs_no_space),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_quote_is_bounded),
        cmocka_unit_test(test_eight_quotes_live_at_once),
        cmocka_unit_test(test_limit_once_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
