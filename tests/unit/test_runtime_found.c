/* Installations found in made-up trees: which, of what version, in what order, what is chosen. */
#include "runtime/found.h"
#include "runtime/install.h"
#include "runtime/packages.h"

#include "base/file.h"
#include "test.h"

#include <elf.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];
static struct error e;
static struct found_list list;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static int set_up(void **state)
{
    (void)state;
    strcpy(root, "/tmp/wattle-found-XXXXXX");
    assert_non_null(mkdtemp(root));
    setenv("WATTLE_HOME", path_of("home"), 1);
    setenv("HOME", path_of("user"), 1);
    setenv("PATH", path_of("python/bin"), 1);
    setenv("WATTLE_LIBRARY_PATH", path_of("system"), 1);
    list = (struct found_list){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    found_release(&list);
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s", path_of(name));
    *strrchr(folder, '/') = '\0';
    assert_int_equal(file_make_folder(folder, &e), 0);
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

/* The header of this program, which is one for this machine, as if it had no segments; one byte
 * changed makes another. */
static void write_library(const char *name, int machine_byte)
{
    Elf64_Ehdr header;
    FILE *f = fopen("/proc/self/exe", "rb");
    assert_non_null(f);
    assert_int_equal(fread(&header, sizeof header, 1, f), 1);
    fclose(f);
    header.e_machine = (Elf64_Half)(header.e_machine + machine_byte);
    header.e_phnum = 0;
    write_file(name, &header, sizeof header);
}

#define CAPI "lib/python3.11/site-packages/onnxruntime/capi/"

static void write_private(const char *package, const char *version)
{
    char name[256], note[512];
    snprintf(name, sizeof name, "home/runtimes/%s-%s/" CAPI "libonnxruntime.so.%s", package, version,
             version);
    write_library(name, 0);
    snprintf(name, sizeof name, "home/runtimes/%s-%s/wattle.json", package, version);
    snprintf(note, sizeof note,
             "{\"package\":\"%s\",\"version\":\"%s\",\"bytes\":1000,\"linked\":false,"
             "\"library\":\"" CAPI "libonnxruntime.so.%s\"}", package, version, version);
    write_text(name, note);
}

static void search(void)
{
    found_release(&list);
    if (found_search(&list, &e))
        fail_msg("%s", e.text);
}

static size_t count_of(const char *package)
{
    size_t n = 0;
    for (size_t i = 0; i < list.count; i++)
        n += !strcmp(list.items[i].package, package);
    return n;
}

/* The n-th of that package. */
static const struct found *item(const char *package, size_t n)
{
    for (size_t i = 0; i < list.count; i++)
        if (!strcmp(list.items[i].package, package) && n-- == 0)
            return &list.items[i];
    fail_msg("%s was not found", package);
    return NULL;
}

static const struct found *pick(const char *text, const char *provider)
{
    struct runtime_name name;
    e = (struct error){0};
    assert_int_equal(runtime_name_parse(text, &name, &e), 0);
    return found_pick(&list, &name, provider, &e);
}

static void refuse(const char *text, const char *provider, int code, const char *why,
                   const char *hint)
{
    assert_null(pick(text, provider));
    assert_int_equal(e.code, code);
    assert_string_equal(e.text, why);
    if (!strstr(e.hint, hint))
        fail_msg("hint: %s", e.hint);
}

static void nothing_but_what_is_built_in(void **state)
{
    (void)state;
    search();
    assert_int_equal(list.count, 2);
    const struct found *f = pick("builtin", "");
    assert_true(f && f->usable && !f->library[0]);
    assert_string_equal(f->origin, "built in");
    assert_string_equal(f->providers[0], "cpu");
    assert_int_equal(f->default_count, 1);
    assert_ptr_equal(pick("builtin:reference", ""), f);
    assert_ptr_equal(pick("builtin", "reference"), f);
    assert_non_null(pick("fake", ""));
    refuse("onnxruntime", "", ERROR_UNSUPPORTED, "runtime onnxruntime is not installed",
           "wattle runtimes install onnxruntime");
    refuse("onnxruntime:gpu@1.2", "", ERROR_UNSUPPORTED, "runtime onnxruntime:gpu is not installed",
           "install onnxruntime-gpu=1.2");
    refuse("onnxrutime", "", ERROR_USAGE, "unknown runtime 'onnxrutime'", "'onnxruntime'");
    refuse("onnxruntime-gpu", "", ERROR_USAGE, "unknown runtime 'onnxruntime-gpu'",
           "'onnxruntime:gpu'");
    refuse("builtin", "cuda", ERROR_USAGE, "runtime builtin " WATTLE_VERSION
           " has no provider 'cuda'", "cpu, reference");
    refuse("onnxruntime:npu", "", ERROR_USAGE,
           "runtime onnxruntime has neither a variant nor a provider 'npu'", "lists");
    refuse("pytorch:aott", "", ERROR_USAGE,
           "runtime pytorch has neither a variant nor a provider 'aott'", "'pytorch:aoti'");
    refuse("pytorch:jit", "", ERROR_USAGE,
           "runtime pytorch has neither a variant nor a provider 'jit'", "aoti, torchscript, ");
}

static void versions_lie_side_by_side(void **state)
{
    (void)state;
    write_private("onnxruntime", "1.9.0");
    write_private("onnxruntime", "1.31.1");
    write_private("onnxruntime", "1.31.0");
    write_private("onnxruntime-openvino", "1.24.1");
    write_library("home/runtimes/onnxruntime-openvino-1.24.1/" CAPI
                  "libonnxruntime_providers_openvino.so", 0);
    search();
    assert_int_equal(count_of("onnxruntime"), 3);
    assert_string_equal(item("onnxruntime", 0)->version, "1.31.1");
    assert_string_equal(item("onnxruntime", 1)->version, "1.31.0");
    assert_string_equal(item("onnxruntime", 2)->version, "1.9.0");
    assert_string_equal(item("onnxruntime", 0)->origin, "private");
    assert_int_equal(item("onnxruntime", 0)->bytes, 1000);
    assert_int_equal(item("onnxruntime", 0)->provider_count, 1);

    const struct found *openvino = item("onnxruntime-openvino", 0);
    assert_string_equal(openvino->providers[0], "openvino");
    assert_string_equal(openvino->providers[1], "cpu");
    assert_int_equal(openvino->provider_count, 2);
    assert_int_equal(openvino->default_count, 1);

    assert_ptr_equal(pick("onnxruntime", ""), item("onnxruntime", 0));
    assert_ptr_equal(pick("onnxruntime@1.31", ""), item("onnxruntime", 0));
    assert_ptr_equal(pick("onnxruntime@1.31.0", ""), item("onnxruntime", 1));
    assert_ptr_equal(pick("onnxruntime", "openvino"), openvino);
    assert_ptr_equal(pick("onnxruntime:openvino", ""), openvino);
    assert_ptr_equal(pick("onnxruntime:openvino@1.24.1", "cpu"), openvino);
    assert_ptr_equal(pick("onnxruntime:cpu", ""), item("onnxruntime", 0));
    refuse("onnxruntime@1.3", "", ERROR_UNSUPPORTED,
           "runtime onnxruntime is not here in version 1.3, but in 1.31.1, 1.31.0, 1.9.0, 1.24.1",
           "install onnxruntime=1.3");
    refuse("onnxruntime@1.31.1", "openvino", ERROR_USAGE,
           "runtime onnxruntime 1.31.1 has no provider 'openvino'", "it has cpu");
}

static void the_first_python_of_the_path(void **state)
{
    (void)state;
    setenv("PATH", "/nonexistent::", 1);
    search();
    assert_int_equal(list.count, 2);
    setenv("PATH", path_of("python/bin"), 1);
#define SITE "python/lib/python3.11/site-packages/"
    write_text("python/bin/python3", "");
    chmod(path_of("python/bin/python3"), 0755);
    write_library(SITE "onnxruntime/capi/libonnxruntime.so.1.32.0", 0);
    search();
    assert_int_equal(list.count, 2); /* without pip's note it is nobody's */
    write_text(SITE "onnxruntime-1.32.0.dist-info/METADATA", "");
    write_text(SITE "onnxruntime_gpu-1.30.0.dist-info/METADATA", "");
    write_library(SITE "onnxruntime/capi/libonnxruntime.so.1.30.0", 0);
    write_library(SITE "openvino/libs/libopenvino_c.so.2641", 0);
    write_text(SITE "openvino-2026.4.1.dist-info/METADATA", "");
    write_text(SITE "openvino_telemetry-2025.1.0.dist-info/METADATA", "");
    search();
    assert_string_equal(item("onnxruntime", 0)->origin, "python");
    assert_string_equal(item("onnxruntime", 0)->version, "1.32.0");
    assert_non_null(strstr(item("onnxruntime", 0)->library, "so.1.32.0"));
    assert_string_equal(item("onnxruntime-gpu", 0)->version, "1.30.0");
    assert_non_null(strstr(item("onnxruntime-gpu", 0)->library, "so.1.30.0"));
    assert_string_equal(item("openvino", 0)->version, "2026.4.1");
    assert_int_equal(count_of("openvino"), 1);
}

static void libraries_of_the_system(void **state)
{
    (void)state;
    write_library("system/libonnxruntime.so.1.21.0", 0);
    assert_int_equal(symlink("libonnxruntime.so.1.21.0", path_of("system/libonnxruntime.so.1")), 0);
    assert_int_equal(symlink("libonnxruntime.so.1", path_of("system/libonnxruntime.so")), 0);
    write_library("system/libopenvino_c.so.2460", 0);
    search();
    assert_int_equal(count_of("onnxruntime"), 1);
    assert_string_equal(item("onnxruntime", 0)->version, "1.21.0");
    assert_string_equal(item("onnxruntime", 0)->origin, "system");
    assert_string_equal(item("openvino", 0)->version, "2024.6.0");
}

static void links_to_what_is_there(void **state)
{
    const struct install_options o = {0};
    char library[PATH_MAX];
    (void)state;
    write_library("build/Linux/Release/libonnxruntime.so.1.33.0", 0);
    write_library("build/Linux/Release/libonnxruntime_providers_dnnl.so", 0);
    assert_int_equal(symlink("Linux", path_of("build/Linux2")), 0);
    for (int twice = 0; twice < 2; twice++)
        assert_int_equal(install_link(package_find("onnxruntime"), path_of("build/Linux/Release"),
                                      &o, library, &e), 0);
    search();
    assert_int_equal(count_of("onnxruntime"), 1);
    const struct found *f = item("onnxruntime", 0);
    assert_string_equal(f->origin, "linked");
    assert_string_equal(f->version, "1.33.0");
    assert_ptr_equal(pick("onnxruntime", "dnnl"), f);
    assert_ptr_equal(pick("onnxruntime", "xnnpack"), f);

    write_text("empty/readme", "");
    assert_int_equal(install_link(package_find("openvino"), path_of("empty"), &o, library, &e),
                     ERROR_USAGE);
    assert_int_equal(install_link(package_find("openvino"), path_of("nowhere"), &o, library, &e),
                     ERROR_USAGE);
    write_text("text/libopenvino_c.so", "this is text");
    assert_int_equal(install_link(package_find("openvino"), path_of("text"), &o, library, &e),
                     ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "not a shared object"));

    char prefix[PATH_MAX];
    assert_int_equal(install_remove(package_find("onnxruntime"), "", 0, &o, prefix, &e), 0);
    search();
    assert_int_equal(count_of("onnxruntime"), 0);
    assert_int_equal(access(path_of("build/Linux/Release/libonnxruntime.so.1.33.0"), F_OK), 0);
    assert_int_equal(install_remove(package_find("onnxruntime"), "", 0, &o, prefix, &e), ERROR_USAGE);
}

static void one_library_is_one_installation(void **state)
{
    const struct install_options o = {0};
    char library[PATH_MAX];
    (void)state;
    write_library("system/libonnxruntime.so.1.21.0", 0);
    assert_int_equal(install_link(package_find("onnxruntime"), path_of("system"), &o, library, &e),
                     0);
    search();
    assert_int_equal(count_of("onnxruntime"), 1);
    assert_string_equal(item("onnxruntime", 0)->origin, "linked");
}

static void what_cannot_be_loaded_is_shown_with_its_reason(void **state)
{
    (void)state;
    write_private("onnxruntime", "1.31.1");
    write_private("onnxruntime", "1.30.0");
    write_library("home/runtimes/onnxruntime-1.31.1/" CAPI "libonnxruntime.so.1.31.1", 1);
    search();
    assert_false(item("onnxruntime", 0)->usable);
    assert_string_equal(item("onnxruntime", 0)->reason,
                        "its library is for another kind of machine");
    assert_ptr_equal(pick("onnxruntime", ""), item("onnxruntime", 1));
    refuse("onnxruntime@1.31.1", "", ERROR_UNSUPPORTED, "runtime onnxruntime 1.31.1 cannot be used: "
           "its library is for another kind of machine", "");
    unlink(path_of("home/runtimes/onnxruntime-1.31.1/" CAPI "libonnxruntime.so.1.31.1"));
    search();
    assert_string_equal(item("onnxruntime", 0)->reason, "damaged: its library cannot be read: No such "
                        "file or directory; wattle runtimes install onnxruntime=1.31.1 repairs");
    write_text("home/runtimes/onnxruntime-1.31.1/" CAPI "libonnxruntime.so.1.31.1", "\177ELF");
    search();
    assert_string_equal(item("onnxruntime", 0)->reason, "its library is not a shared object");
}

/* Cut off behind its header: mapping it would be a SIGBUS in the worker. */
static void a_library_that_is_cut_off(void **state)
{
    static char bytes[64 + 2 * sizeof(Elf64_Phdr) + 100];
    Elf64_Ehdr *header = (Elf64_Ehdr *)bytes;
    Elf64_Phdr *segments = (Elf64_Phdr *)(bytes + 64);
    const char *name = "system/libonnxruntime.so.1.21.0";
    (void)state;
    write_library(name, 0);
    FILE *f = fopen(path_of(name), "rb");
    assert_int_equal(fread(header, sizeof *header, 1, f), 1);
    fclose(f);
    header->e_phnum = 2;
    header->e_phoff = 64;
    header->e_phentsize = sizeof(Elf64_Phdr);
    segments[0] = (Elf64_Phdr){.p_type = PT_LOAD, .p_filesz = sizeof bytes};
    segments[1] = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = 200, .p_filesz = sizeof bytes - 200};
    write_file(name, bytes, sizeof bytes);
    search();
    assert_true(item("onnxruntime", 0)->usable);
    const size_t cuts[] = {sizeof bytes - 1, 64 + sizeof(Elf64_Phdr), 65};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        write_file(name, bytes, cuts[i]);
        search();
        assert_string_equal(item("onnxruntime", 0)->reason,
                            "its library is cut off: the end of the file is missing");
    }
    segments[1].p_offset = UINT64_MAX;
    write_file(name, bytes, sizeof bytes);
    search();
    assert_false(item("onnxruntime", 0)->usable);
    header->e_phoff = UINT64_MAX - 10;
    write_file(name, bytes, sizeof bytes);
    search();
    assert_false(item("onnxruntime", 0)->usable);
}

/* By what was recorded, before the library is loaded. */
static void damaged_installations_say_so(void **state)
{
    (void)state;
    write_library("home/runtimes/onnxruntime-1.31.1/x/libonnxruntime.so.1.31.1", 0);
    write_text("home/runtimes/onnxruntime-1.31.1/x/libother.so", "12345");
    write_text("home/runtimes/onnxruntime-1.31.1/wattle.json",
               "{\"package\":\"onnxruntime\",\"version\":\"1.31.1\",\"linked\":false,"
               "\"library\":\"x/libonnxruntime.so.1.31.1\","
               "\"libraries\":{\"libonnxruntime.so.1.31.1\":64,\"libother.so\":5}}");
    search();
    assert_true(item("onnxruntime", 0)->usable);
    write_text("home/runtimes/onnxruntime-1.31.1/x/libother.so", "1234");
    search();
    refuse("onnxruntime", "", ERROR_UNSUPPORTED, "runtime onnxruntime 1.31.1 cannot be used: damaged: "
           "libother.so has 4 bytes, recorded are 5; wattle runtimes install onnxruntime=1.31.1 "
           "repairs", "");
    unlink(path_of("home/runtimes/onnxruntime-1.31.1/x/libother.so"));
    search();
    assert_non_null(strstr(item("onnxruntime", 0)->reason, "damaged: libother.so is missing"));
    write_text("home/runtimes/onnxruntime-1.31.1/wattle.json",
               "{\"package\":\"onnxruntime\",\"version\":\"1.31.1\",\"linked\":false,"
               "\"library\":\"x/libonnxruntime.so.1.31.1\",\"libraries\":{\"a\\u001b[m\\n\":64}}");
    search();
    assert_non_null(strstr(item("onnxruntime", 0)->reason, "damaged: a?[m? is missing"));
    static const char *const notes[] = {"", "{", "{\"package\":\"onnxruntime\"}"};
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        write_text("home/runtimes/onnxruntime-1.31.1/wattle.json", notes[i]);
        search();
        assert_string_equal(item("onnxruntime", 0)->version, "1.31.1");
        assert_string_equal(item("onnxruntime", 0)->reason, "damaged: wattle.json is missing or "
                            "cannot be read; wattle runtimes install onnxruntime=1.31.1 repairs");
    }
    write_text("home/runtimes/openvino-2026.4.1.link/other", "");
    search();
    assert_string_equal(item("openvino", 0)->reason, "damaged: wattle.json is missing or cannot be "
                        "read; wattle runtimes unlink openvino=2026.4.1 forgets it");
}

/* What was linked goes before what was installed of the same version, and not of a newer one. */
static void a_link_goes_first(void **state)
{
    const struct install_options o = {0};
    const struct package *p = package_find("onnxruntime");
    char path[PATH_MAX];
    (void)state;
    write_private("onnxruntime", "1.31.1");
    write_private("onnxruntime", "1.31.2");
    write_library("build/libonnxruntime.so.1.31.1", 0);
    assert_int_equal(install_link(p, path_of("build"), &o, path, &e), 0);
    search();
    assert_string_equal(item("onnxruntime", 0)->version, "1.31.2");
    assert_string_equal(item("onnxruntime", 1)->origin, "linked");
    assert_ptr_equal(pick("onnxruntime@1.31.1", ""), item("onnxruntime", 1));
    assert_int_equal(install_remove(p, "", 0, &o, path, &e), ERROR_USAGE);
    assert_string_equal(e.text,
                        "onnxruntime is there more than once: 1.31.1, 1.31.1 (linked), 1.31.2");
    assert_int_equal(install_remove(p, "1.31.2", 1, &o, path, &e), ERROR_USAGE);
    assert_string_equal(e.text, "onnxruntime 1.31.2 is not linked by wattle");
    assert_int_equal(install_remove(p, "1.31.1", 0, &o, path, &e), 0); /* the installed one */
    search();
    assert_string_equal(item("onnxruntime", 1)->origin, "linked");
    assert_int_equal(install_remove(p, "", 1, &o, path, &e), 0);
    search();
    assert_int_equal(count_of("onnxruntime"), 1);
}

static void plug_ins_are_no_runtimes(void **state)
{
    (void)state;
    write_library("home/runtimes/onnxruntime-ep-webgpu-0.4.0/libx.so", 0);
    write_text("home/runtimes/onnxruntime-ep-webgpu-0.4.0/wattle.json",
               "{\"package\":\"onnxruntime-ep-webgpu\",\"version\":\"0.4.0\",\"library\":\"libx.so\"}");
    search();
    const struct found *f = item("onnxruntime-ep-webgpu", 0);
    assert_false(f->usable);
    assert_non_null(strstr(f->reason, "--provider-library onnxruntime-ep-webgpu"));
    assert_null(pick("onnxruntime", ""));
    assert_null(pick("onnxruntime:ep-webgpu", ""));
}

static void make_program(const char *name)
{
    write_text(name, "");
    assert_int_equal(chmod(path_of(name), 0755), 0);
}

/* What belongs to the library, relative to the root. */
static void expect_python(const char *library, const char *python, const char *site)
{
    char path[PATH_MAX], got[PATH_MAX], where[PATH_MAX];
    snprintf(path, sizeof path, "%s", path_of(library));
    if (found_python(path, got, where, &e))
        fail_msg("%s", e.text);
    assert_string_equal(got, path_of(python));
    assert_string_equal(where, *site ? path_of(site) : "");
}

static void the_python_of_a_library(void **state)
{
    char got[PATH_MAX], where[PATH_MAX];
    (void)state;
    static const char library[] = "venv/lib/python3.11/site-packages/torch/lib/libtorch_cpu.so";
    assert_int_equal(found_python(path_of(library), got, where, &e), ERROR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "there is no Python for"));
    make_program("python/bin/python3");
    expect_python(library, "python/bin/python3", "venv/lib/python3.11/site-packages");
    make_program("python/bin/python3.11"); /* rather the same version */
    expect_python(library, "python/bin/python3.11", "venv/lib/python3.11/site-packages");
    assert_int_equal(file_make_folder(path_of("venv/bin/python3.11"), &e), 0); /* no program */
    make_program("venv/bin/python");
    expect_python(library, "venv/bin/python", "");
    make_program("venv/bin/python3");
    expect_python(library, "venv/bin/python3", "");
    /* The nearest one, and only one whose folders are those of a Python. */
    make_program("venv/lib/python3.11/site-packages/x/bin/python3");
    expect_python("venv/lib/python3.11/site-packages/x/lib64/python3.9/dist-packages/t/libt.so",
                  "venv/lib/python3.11/site-packages/x/bin/python3", "");
    expect_python("venv/lib/python3.11/site-packages/own/site-packages/t/libt.so",
                  "venv/bin/python3", "");
    static const char *const none[] = {"build/lib/libtorch_cpu.so", "site-packages/x",
                                       "lib/ruby/site-packages/x"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(found_python(path_of(none[i]), got, where, &e), ERROR_UNSUPPORTED);
    assert_int_equal(found_python("", got, where, &e), ERROR_UNSUPPORTED);
    assert_int_equal(found_python("/site-packages/", got, where, &e), ERROR_UNSUPPORTED);
}

#define TORCH "venv/lib/python3.11/site-packages/torch"

/* Whatever folder of it is named, the version is that of pip's note, or of the archive's own. */
static void links_to_pytorch(void **state)
{
    const struct install_options o = {0};
    static const char *const folders[] = {"venv", "venv/lib/python3.11/site-packages", TORCH,
                                          TORCH "/lib"};
    char path[PATH_MAX], prefix[PATH_MAX];
    const struct package *p = package_find("pytorch");
    (void)state;
    write_library(TORCH "/lib/libtorch_cpu.so", 0);
    write_text("venv/lib/python3.11/site-packages/torch-2.13.0+cpu.dist-info/METADATA", "");
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        assert_int_equal(install_link(p, path_of(folders[i]), &o, path, &e), 0);
        assert_string_equal(path, path_of(TORCH "/lib/libtorch_cpu.so"));
        assert_int_equal(access(path_of("home/runtimes/pytorch-2.13.0+cpu.link"), F_OK), 0);
        assert_int_equal(install_remove(p, "2.13.0", 0, &o, prefix, &e), 0);
    }
    write_library("libtorch/lib/libtorch_cpu.so", 0);
    write_text("libtorch/build-version", "2.12.1+cu130\n");
    assert_int_equal(install_link(p, path_of("libtorch"), &o, path, &e), 0);
    assert_int_equal(access(path_of("home/runtimes/pytorch-2.12.1+cu130.link"), F_OK), 0);
    write_text("libtorch/build-version", "../../x\n");
    assert_int_equal(install_link(p, path_of("libtorch"), &o, path, &e), 0);
    assert_int_equal(access(path_of("home/runtimes/pytorch-unknown.link"), F_OK), 0);
}

/* "1.31" is 1.31.x; "2.13.0" is also a build of it. */
static void a_build_of_a_version(void **state)
{
    (void)state;
    write_private("onnxruntime", "1.31.1+own");
    write_private("onnxruntime", "1.31.10");
    search();
    assert_ptr_equal(pick("onnxruntime@1.31.1", ""), item("onnxruntime", 1));
    assert_ptr_equal(pick("onnxruntime@1.31.1+own", ""), item("onnxruntime", 1));
    assert_ptr_equal(pick("onnxruntime@1.31", ""), item("onnxruntime", 0));
    assert_null(pick("onnxruntime@1.31.1+o", ""));
}

static int is_absent(const struct found *f, const char *provider)
{
    for (size_t i = 0; i < f->provider_count; i++)
        if (!strcmp(f->providers[i], provider))
            return f->absent[i];
    fail_msg("no provider %s", provider);
    return -1;
}

/* What has no device here is known and not offered: the last one, never measured unasked. */
static void providers_without_their_device(void **state)
{
    (void)state;
    int nvidia = !access("/dev/nvidiactl", F_OK) || !access("/dev/dxg", F_OK);
    write_private("onnxruntime-gpu", "1.31.1");
    write_library("home/runtimes/onnxruntime-gpu-1.31.1/" CAPI "libonnxruntime_providers_cuda.so", 0);
    search();
    const struct found *f = item("onnxruntime-gpu", 0);
    assert_int_equal(f->provider_count, 2);
    assert_int_equal(is_absent(f, "cuda"), !nvidia);
    assert_int_equal(is_absent(f, "cpu"), 0);
    assert_string_equal(f->providers[0], nvidia ? "cuda" : "cpu");
    assert_int_equal(f->default_count, 1);
    assert_ptr_equal(pick("onnxruntime", "cuda"), f); /* asked for all the same: the runtime says why */
}

/* The package's folder in a site-packages folder, else only the library. */
static void what_it_takes_on_the_disk(void **state)
{
    (void)state;
    write_private("onnxruntime", "1.31.1");
    make_program("python/bin/python3");
    write_library(SITE "openvino/libs/libopenvino_c.so.2641", 0);
    write_text(SITE "openvino/frontend/x.py", "12345");
    write_text(SITE "other/x.py", "12345");
    write_text(SITE "openvino-2026.4.1.dist-info/METADATA", "12345");
    write_library("system/libonnxruntime.so.1.21.0", 0);
    search();
    assert_int_equal(found_bytes(item("onnxruntime", 0)), 1000);
    assert_int_equal(found_bytes(item("onnxruntime", 1)), 64);
    assert_int_equal(found_bytes(item("openvino", 0)), 69);
    assert_int_equal(found_bytes(pick("builtin", "")), 0);
}

static void hostile_notes_are_passed_over(void **state)
{
    static const char *const notes[] = {
        "", "{", "[]", "1", "null", "\"x\"", "\377\376", "{\"package\":1}", "{\"package\":\"onnxruntime\"}",
        "{\"package\":\"nothing\",\"version\":\"1\",\"library\":\"/x\"}",
        "{\"package\":\"onnxruntime\",\"version\":\"../../etc\",\"library\":\"/x\"}",
        "{\"package\":\"onnxruntime\",\"version\":\"1\\u001b[m\",\"library\":\"/x\"}",
        "{\"package\":\"onnxruntime\",\"version\":\"1\",\"library\":7}",
        "{\"package\":\"onnxruntime\",\"version\":\"1\",\"library\":\"\"}",
        "{\"package\":\"onnxruntime\",\"package\":\"openvino\",\"version\":\"1\",\"library\":\"/x\"}",
        "{\"package\":\"onnxruntime\",\"version\":\"11111111111111111111111111111111\",\"library\":\"x\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        char name[64];
        snprintf(name, sizeof name, "home/runtimes/a[%zu]*?/wattle.json", i);
        write_text(name, notes[i]);
    }
    static char deep[200000];
    memset(deep, '[', sizeof deep);
    write_file("home/runtimes/deep/wattle.json", deep, sizeof deep);
    assert_int_equal(file_make_folder(path_of("home/runtimes/folder/wattle.json"), &e), 0);
    mkfifo(path_of("home/runtimes/fifo"), 0600);
    write_private(".onnxruntime", "1.0"); /* unfinished: hidden */
    search();
    assert_int_equal(list.count, 2);
    /* A library that is a pipe must not block. */
    write_private("onnxruntime", "1.0");
    unlink(path_of("home/runtimes/onnxruntime-1.0/" CAPI "libonnxruntime.so.1.0"));
    mkfifo(path_of("home/runtimes/onnxruntime-1.0/" CAPI "libonnxruntime.so.1.0"), 0600);
    search();
    assert_false(item("onnxruntime", 0)->usable);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_but_what_is_built_in),
        TEST(versions_lie_side_by_side),
        TEST(the_first_python_of_the_path),
        TEST(libraries_of_the_system),
        TEST(links_to_what_is_there),
        TEST(one_library_is_one_installation),
        TEST(what_cannot_be_loaded_is_shown_with_its_reason),
        TEST(a_library_that_is_cut_off),
        TEST(damaged_installations_say_so),
        TEST(a_link_goes_first),
        TEST(plug_ins_are_no_runtimes),
        TEST(the_python_of_a_library),
        TEST(links_to_pytorch),
        TEST(a_build_of_a_version),
        TEST(providers_without_their_device),
        TEST(what_it_takes_on_the_disk),
        TEST(hostile_notes_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
