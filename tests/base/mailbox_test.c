#include "base/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define WRITERS 4
#define LETTERS 100000

struct note {
    struct letter letter;
    unsigned writer;
    unsigned number;
};

struct box {
    struct mailbox mailbox;
    pthread_mutex_t lock;
    pthread_cond_t rings;
    bool rung;
    unsigned long wakes;
    unsigned expected[WRITERS]; /* next number of each */
    unsigned long read;
};

struct writer {
    pthread_t thread;
    struct box *box;
    unsigned index;
};

static void on_wake(void *arg)
{
    struct box *b = arg;
    pthread_mutex_lock(&b->lock);
    b->rung = true;
    b->wakes++;
    pthread_cond_signal(&b->rings);
    pthread_mutex_unlock(&b->lock);
}

static void on_note(void *reader, struct letter *self)
{
    struct box *b = reader;
    struct note *n = container_of(self, struct note, letter);
    assert_int_equal(n->number, b->expected[n->writer]);
    b->expected[n->writer]++;
    b->read++;
    free(n);
}

static struct note *note(unsigned writer, unsigned number)
{
    struct note *n = mem_zalloc(sizeof(*n));
    n->letter.run = on_note;
    n->writer = writer;
    n->number = number;
    return n;
}

static void box_init(struct box *b)
{
    *b = (struct box){.read = 0};
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->rings, NULL);
    mailbox_init(&b->mailbox, on_wake, b);
}

static void box_fini(struct box *b)
{
    mailbox_fini(&b->mailbox);
    pthread_cond_destroy(&b->rings);
    pthread_mutex_destroy(&b->lock);
}

static void *write_all(void *arg)
{
    struct writer *w = arg;
    for (unsigned i = 0; i < LETTERS; i++)
        mailbox_post(&w->box->mailbox, &note(w->index, i)->letter);
    return NULL;
}

/* Sleep until woken: if a wake were lost this would never end. */
static void wait_for_wake(struct box *b)
{
    pthread_mutex_lock(&b->lock);
    while (!b->rung)
        pthread_cond_wait(&b->rings, &b->lock);
    b->rung = false;
    pthread_mutex_unlock(&b->lock);
}

static bool read_all(struct box *b)
{
    struct letter_list letters = STAILQ_HEAD_INITIALIZER(letters);
    bool any = mailbox_take(&b->mailbox, &letters);
    assert_int_equal(any, !STAILQ_EMPTY(&letters));
    struct letter *l;
    while ((l = STAILQ_FIRST(&letters))) {
        STAILQ_REMOVE_HEAD(&letters, link);
        l->run(b, l);
    }
    return any;
}

static void test_four_writers(void **state)
{
    (void)state;
    struct box b;
    struct writer writers[WRITERS];
    unsigned long takes = 0;
    box_init(&b);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){0, &b, i};
        assert_int_equal(
            pthread_create(&writers[i].thread, NULL, write_all, &writers[i]),
            0);
    }
    while (b.read < (unsigned long)WRITERS * LETTERS) {
        wait_for_wake(&b);
        takes += read_all(&b);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    /* One wake for each time it went from empty to not, and each such time
     * ended with one take that found something. */
    assert_int_equal(b.wakes, takes);
    assert_false(read_all(&b));
    box_fini(&b);
}

static void test_wakes_only_when_empty(void **state)
{
    (void)state;
    struct box b;
    box_init(&b);
    mailbox_post(&b.mailbox, &note(0, 0)->letter);
    mailbox_post(&b.mailbox, &note(0, 1)->letter);
    mailbox_post(&b.mailbox, &note(1, 0)->letter);
    assert_int_equal(b.wakes, 1);
    assert_true(read_all(&b));
    assert_int_equal(b.read, 3);
    mailbox_post(&b.mailbox, &note(1, 1)->letter);
    assert_int_equal(b.wakes, 2);
    assert_true(read_all(&b));
    assert_false(read_all(&b));
    box_fini(&b);
}

static void test_take_appends(void **state)
{
    (void)state;
    struct box b;
    struct letter_list letters = STAILQ_HEAD_INITIALIZER(letters);
    box_init(&b);
    mailbox_post(&b.mailbox, &note(0, 0)->letter);
    mailbox_take(&b.mailbox, &letters);
    mailbox_post(&b.mailbox, &note(0, 1)->letter);
    mailbox_take(&b.mailbox, &letters);
    struct letter *l;
    while ((l = STAILQ_FIRST(&letters))) {
        STAILQ_REMOVE_HEAD(&letters, link);
        l->run(&b, l);
    }
    assert_int_equal(b.read, 2);
    box_fini(&b);
}

static void test_depth_and_peak(void **state)
{
    (void)state;
    struct box b;
    box_init(&b);
    assert_int_equal(mailbox_depth(&b.mailbox), 0);
    for (unsigned i = 0; i < 5; i++)
        mailbox_post(&b.mailbox, &note(0, i)->letter);
    assert_int_equal(mailbox_depth(&b.mailbox), 5);
    read_all(&b);
    assert_int_equal(mailbox_depth(&b.mailbox), 0);
    mailbox_post(&b.mailbox, &note(0, 5)->letter);
    assert_int_equal(mailbox_peak(&b.mailbox), 5);
    assert_int_equal(mailbox_peak(&b.mailbox), 1);
    read_all(&b);
    box_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_four_writers),
        cmocka_unit_test(test_wakes_only_when_empty),
        cmocka_unit_test(test_take_appends),
        cmocka_unit_test(test_depth_and_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
