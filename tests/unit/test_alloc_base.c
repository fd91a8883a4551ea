/* Each allocation of base and plan failing in turn: an error, nothing leaked. */
#include "base/arena.h"
#include "base/buffer.h"
#include "base/options.h"
#include "base/text.h"
#include "plan/plan.h"

#include "test.h"
#include "failing_alloc.h"

#include <stdlib.h>
#include <string.h>

static struct error err;

static int split(void)
{
    char **items;
    size_t count;
    int result = text_split("a,b", "list", 4, &items, &count, &err);
    if (!result)
        free(items);
    return result;
}

static int parse(void)
{
    static const struct option_spec spec = {1, 'b', "batch", "N", ""};
    char *argv[] = {"-b", "1", "m.onnx"};
    struct option_list list;
    int result = options_parse(&spec, 1, 3, argv, 0, &list, &err);
    if (!result)
        options_release(&list);
    return result;
}

static int plan(void)
{
    struct plan p;
    struct cell *cells = __real_calloc(2, sizeof *cells);
    int result = plan_make(&p, cells, 2, 3, 1, &err);
    if (result)
        free(cells);
    plan_release(&p);
    return result;
}

static int grow(void)
{
    struct buffer b;
    buffer_init(&b, 1 << 16);
    for (int i = 0; i < 100; i++)
        buffer_format(&b, "%d thousand ", i);
    int failed = b.failed;
    assert_true(b.size == strlen(buffer_string(&b)));
    buffer_release(&b);
    return failed ? error_memory(&err) : 0;
}

static int bump(void)
{
    struct arena a;
    int failed = 0;
    arena_init(&a, 1 << 20);
    for (int i = 0; i < 100 && !failed; i++)
        failed = !arena_alloc(&a, 1000) || !arena_format(&a, "Conv #%d", i);
    arena_release(&a);
    return failed ? error_memory(&err) : 0;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    int (*const subjects[])(void) = {split, parse, plan, grow, bump};
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        int result = 1;
        long n = 0;
        for (; result && n < 100; n++) {
            err = (struct error){0};
            until_failure = n;
            result = subjects[i]();
            until_failure = -1;
            if (result) {
                assert_int_equal(result, ERROR_MEMORY);
                assert_int_equal(err.code, ERROR_MEMORY);
            }
        }
        assert_in_range(n, 2, 99); /* at least one allocation was made to fail */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
