/* What wattle once wrote of itself and reads back: the record of an installation (wattle.json and, after
 * an empty line, wattle.sha256), the result of a script, the description of a prepared model. */
#include "fuzz.h"

#include "base/file.h"
#include "runtime/found.h"
#include "runtime/packages.h"
#include "runtime/prepare.h"
#include "runtime/python.h"
#include "runtime/record.h"

#define PREFIX "home/runtimes/onnxruntime-1.31.1"

/* One installation in a home of its own, and no other to be found. */
static void begin(void)
{
    static int is_done;
    struct error e;
    if (is_done)
        return;
    is_done = 1;
    setenv("WATTLE_HOME", fuzz_path("home"), 1);
    setenv("WATTLE_LIBRARY_PATH", fuzz_path("nothing"), 1);
    setenv("PATH", fuzz_path("nothing"), 1);
    FUZZ_NEED(!file_make_folder(fuzz_path(PREFIX "/lib"), &e));
    fuzz_write(fuzz_path(PREFIX "/lib/libonnxruntime.so.1.31.1"), "x", 1);
    fuzz_write(fuzz_path(PREFIX "/a"), "a", 1);
}

/* So that the list is read, and not only found to be another than was noted. */
static void note_hashes(const char *folder, const char *list)
{
    char hex[65];
    struct error e;
    json_t *note = record_read(folder);
    if (note && !file_sha256(list, hex, &e)) {
        json_object_set_new(note, "hashes_sha256", json_string(hex));
        record_write(note, folder, &e);
    }
    json_decref(note);
}

static void search(void)
{
    struct found_list list;
    struct runtime_name name = {.runtime = "onnxruntime"};
    struct error e = {0};
    fuzz_check_error(found_search(&list, &e), e.text);
    found_pick(&list, &name, "", &e);
    found_release(&list);
}

static void verify(const char *list)
{
    char why[128] = "";
    struct error e = {0};
    const char *folder = fuzz_path(PREFIX);
    note_hashes(folder, list);
    int wrong = record_verify(package_find("onnxruntime"), folder, NULL, why, sizeof why, &e);
    if (wrong > 0 && (!why[0] || strchr(why, '\n')))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    const uint8_t *empty = size ? memmem(data, size, "\n\n", 2) : NULL;
    size_t note_size = empty ? (size_t)(empty - data) : size;
    size_t list_size = empty ? size - note_size - 2 : 0;
    const char *list = fuzz_path(PREFIX "/wattle.sha256");
    fuzz_write(fuzz_path(PREFIX "/wattle.json"), data, note_size);
    fuzz_write(list, empty ? empty + 2 : data, list_size);
    search();
    verify(list);
    fuzz_write(fuzz_path("home/result.json"), data, note_size);
    json_t *result = python_result(fuzz_path("home"));
    fuzz_touch(python_word(result, "text"), strlen(python_word(result, "text")));
    json_decref(result);
    prepare_batch(fuzz_path("home/result.json"));
    return 0;
}
