/* What a pickle of TorchScript's claims of storages and tensors; damaged ones end, and end well. */
#include "test.h"

#include "runtime/pt_pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct error err;
static char claimed[256];

static int note(void *target, const char *key, uint64_t bytes, struct error *e)
{
    (void)target;
    (void)e;
    size_t used = strlen(claimed);
    snprintf(claimed + used, sizeof claimed - used, "%s=%llu;", key, (unsigned long long)bytes);
    return 0;
}

static int read_bytes(const char *bytes, size_t size)
{
    unsigned char *copy = malloc(size ? size : 1); /* of just that size, for ASan */
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    claimed[0] = '\0';
    err = (struct error){0};
    int code = pt_pickle_claims(copy, size, note, NULL, &err);
    free(copy);
    return code;
}

#define STORAGE(type, count)                                                                       \
    "(X\7\0\0\0storagectorch\n" type "Storage\nX\1\0\0\0" "7X\3\0\0\0cpu" count "tQ"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n("
/* A module with one tensor: of 6 floats, as 2 x 3. */
static const char module[] = "\200\2c__torch__\nNet\nq\0)\201q\1}q\2(X\1\0\0\0wq\3" REBUILD
    STORAGE("Float", "K\6") "K\0K\2K\3\206K\3K\1\206\211ccollections\nOrderedDict\nq\4)RtRub.";

#define READ(text) read_bytes(text, sizeof(text) - 1)

static void storages(void **context)
{
    (void)context;
    assert_int_equal(READ(module), 0);
    assert_string_equal(claimed, "7=24;");
    assert_int_equal(READ(STORAGE("Double", "J\0\0\0\20") "."), 0);
    assert_string_equal(claimed, "7=2147483648;");
    assert_int_equal(READ(STORAGE("Unknown", "M\5\1") "."), 0); /* of a byte at least */
    assert_string_equal(claimed, "7=261;");
    assert_int_equal(READ(STORAGE("Long", "\212\5\0\0\0\0\1") "."), 0);
    assert_string_equal(claimed, "7=34359738368;");
    /* By way of the memo, as a second storage of one type is written. */
    assert_int_equal(READ("(X\7\0\0\0storageq\0ctorch\nHalfStorage\nq\1X\1\0\0\0" "1X\3\0\0\0cpuq\2"
                          "K\2tQ0"), ERROR_FORMAT);
    assert_int_equal(READ("(X\7\0\0\0storageq\0ctorch\nHalfStorage\nq\1X\1\0\0\0" "1X\3\0\0\0cpuq\2"
                          "K\2tQ(h\0h\1X\1\0\0\0" "2h\2K\3tQ."), 0);
    assert_string_equal(claimed, "1=4;2=6;");
}

#define TENSOR(offset, sizes, strides)                                                             \
    REBUILD STORAGE("Float", "K\6") offset sizes strides "\211tR."

static void tensors(void **context)
{
    (void)context;
    assert_int_equal(READ(TENSOR("K\0", "K\6\205", "K\1\205")), 0);
    assert_int_equal(READ(TENSOR("K\5", ")", ")")), 0);
    assert_int_equal(READ(TENSOR("K\0", "K\377K\0\206", "K\1K\1\206")), 0); /* of nothing */
    assert_int_equal(READ(TENSOR("K\0", "K\7\205", "K\1\205")), ERROR_FORMAT);
    assert_non_null(strstr(err.text, "beyond its storage of 24 bytes"));
    assert_int_equal(READ(TENSOR("K\1", "K\6\205", "K\1\205")), ERROR_FORMAT);
    assert_int_equal(READ(TENSOR("K\6", ")", ")")), ERROR_FORMAT);
    assert_int_equal(READ(TENSOR("K\0", "K\3\205", "K\3\205")), ERROR_FORMAT);
    assert_int_equal(READ(TENSOR("J\377\377\377\377", "K\1\205", "K\1\205")), ERROR_FORMAT);
    assert_int_equal(READ(TENSOR("K\0", "J\377\377\377\377\205", "K\1\205")), ERROR_FORMAT);
    assert_int_equal(READ(TENSOR("K\0", "K\2\205", "\212\10\377\377\377\377\377\377\377\177\205")),
                     ERROR_FORMAT);
    assert_int_equal(READ(TENSOR("K\0", "K\6\205", ")")), ERROR_FORMAT);
}

/* Cut anywhere it is refused; with any byte changed to any other it ends. */
static void damaged(void **context)
{
    (void)context;
    char bytes[sizeof module];
    for (size_t size = 0; size + 1 < sizeof module; size++)
        assert_int_equal(read_bytes(module, size), ERROR_FORMAT);
    for (size_t i = 0; i + 1 < sizeof module; i++)
        for (int value = 0; value < 256; value++) {
            memcpy(bytes, module, sizeof module);
            bytes[i] = (char)value;
            read_bytes(bytes, sizeof module - 1);
        }
    assert_int_equal(READ("r\377\377\377\377."), ERROR_FORMAT);
    assert_int_equal(READ("X\377\377\377\377."), ERROR_FORMAT);
    assert_int_equal(READ("(\205."), ERROR_FORMAT);
    assert_int_equal(READ("e."), ERROR_FORMAT);
    assert_int_equal(READ("NQ."), ERROR_FORMAT);
    assert_int_equal(READ("\212\011" "111111111."), ERROR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storages),
        cmocka_unit_test(tensors),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
