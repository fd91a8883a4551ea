/* Each allocation of the parent's side, and of jansson for it, failing in turn: out of memory is
 * said, the worker is ended, no descriptor stays open. (The worker itself is not disturbed.) */
#include "worker_help.h"
#include "failing_alloc.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static int one_call(json_t *environment)
{
    struct worker *w = NULL;
    struct worker_spec spec = {.environment = environment, .ring_capacity = 16};
    json_t *reply = NULL;
    uint8_t *data;
    int code = worker_start(&spec, &w, &err);
    if (!code)
        code = worker_call(w, json_pack("{s:s,s:i}", "op", "hello", "protocol", 1), PATIENCE_NS,
                           &reply, &err);
    if (!code)
        code = worker_tensors(w, 4096, &data, &err);
    json_decref(reply);
    worker_free(w);
    return code;
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

static void every_allocation_may_fail(void **context)
{
    (void)context;
    json_t *environment = json_pack("{s:s}", "A", "b");
    int before = open_descriptors(), failed = 1, survived = 0;
    long n = 0;
    for (; failed && n < 1000; n++) {
        err = (struct error){0};
        until_failure = n;
        int code = one_call(environment);
        failed = until_failure < 0;
        until_failure = -1;
        survived += failed && !code; /* a worker that is stopped needs no memory */
        /* jansson does not tell a reply it has no memory for from one that is no JSON */
        int unread = code == ERROR_FORMAT && strstr(err.text, "not JSON");
        if (code && !unread && (code != ERROR_MEMORY || err.code != ERROR_MEMORY))
            fail_msg("allocation %ld: %s", n, err.text);
        assert_int_equal(open_descriptors(), before);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
    }
    assert_in_range(n, 50, 500);
    assert_in_range(survived, 0, n / 2);
    json_decref(environment);
}

int main(int argc, char **argv)
{
    WORKER_MAIN
    json_set_alloc_funcs(__wrap_malloc, free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
