/* Each allocation of the readers of tensors failing in turn: an error, no crash, no leak. */
#include "data_files.h"
#include "failing_alloc.h"

static void fail_each(const char *name, size_t tensors, long least)
{
    char text[512];
    int result = 1;
    long n = 0;
    snprintf(text, sizeof text, "%s", path_of(name));
    for (; result; n++) {
        struct data data = {0};
        err = (struct error){0};
        until_failure = n;
        result = data_read(&data, text, "input", &err);
        until_failure = -1;
        if (result && (result != ERROR_MEMORY || data.count != 0))
            fail_msg("%s, allocation %ld: %d, %s", name, n, result, err.text);
        assert_int_equal(data.count, result ? 0 : tensors);
        data_release(&data);
        assert_true(n < 1000);
    }
    assert_true(n > least);
}

static void reading_may_run_out_of_memory(void **state)
{
    unsigned char bytes[512];
    (void)state;
    write_bytes("x.npy", bytes, small_npy(bytes));
    fail_each("x.npy", 1, 2);
    write_npz("s.npz");
    fail_each("s.npz", 2, 4);
    write_bytes("t.pb", bytes, small_proto(bytes));
    fail_each("t.pb", 1, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reading_may_run_out_of_memory, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
