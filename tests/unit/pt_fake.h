/* pt_fake.h: a stand-in for an installation of PyTorch, in a fresh folder, and packages for it. */
#ifndef WATTLE_TEST_PT_FAKE_H
#define WATTLE_TEST_PT_FAKE_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#define PT_META "{\"AOTI_DEVICE_KEY\":\"cpu\",\"AOTI_PLATFORM\":\"linux\",\"AOTI_CPU_ISA\":\"\"}"
#define PT_DESCRIPTION                                                                             \
    "{\"schema\":1,\"form\":\"native\",\"how\":\"by hand\",\"torch\":\"2.13.0\","                  \
    "\"inputs\":[{\"name\":\"x\","                                                                 \
    "\"type\":\"float32\",\"shape\":[2,3]}],\"outputs\":["                                         \
    "{\"name\":\"y\",\"type\":\"float32\",\"shape\":[2,3]},"                                       \
    "{\"name\":\"z\",\"type\":\"float32\",\"shape\":[null,3]}]}"
#define PT_MODEL "p/data/aotinductor/model/"

static char pt_folder[64], pt_torch[128], pt_library[160], pt_program[160], pt_path[160];

/* A member; text NULL: the bytes of the file `from`. */
struct pt_member {
    const char *name, *text, *from;
};

static int pt_sh(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int pt_sh(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command);
}

static int pt_build(const char *out, const char *flags)
{
    return pt_sh("cc -shared -fPIC -O1 -fvisibility=hidden -o %s tests/tools/fake_torch.c %s", out,
                 flags);
}

/* $WATTLE_HOME is in the folder too. */
static int pt_install(void)
{
    char flags[256];
    snprintf(pt_folder, sizeof pt_folder, "/tmp/wattle-pt-XXXXXX");
    if (!mkdtemp(pt_folder))
        return -1;
    setenv("WATTLE_HOME", pt_folder, 1);
    snprintf(pt_torch, sizeof pt_torch, "%s/torch", pt_folder);
    snprintf(pt_library, sizeof pt_library, "%s/lib/libtorch_cpu.so", pt_torch);
    snprintf(pt_program, sizeof pt_program, "%s/program.so", pt_folder);
    snprintf(pt_path, sizeof pt_path, "%s/p.pt2", pt_folder);
    snprintf(flags, sizeof flags, "-DPROGRAM -L%s/lib -l:libtorch_cpu.so", pt_torch);
    return pt_sh("mkdir -p %s/lib %s/shims", pt_torch, pt_folder) ||
           pt_build(pt_library, "-Wl,-soname,libtorch_cpu.so") || pt_build(pt_program, flags);
}

static int pt_remove(void)
{
    return pt_sh("rm -rf %s", pt_folder);
}

/* Written anew, stored; returns 0. Ends at a member without a name. */
static int pt_write(const char *path, const struct pt_member *members)
{
    int code;
    remove(path);
    zip_t *z = zip_open(path, ZIP_CREATE | ZIP_EXCL, &code);
    for (; z && members->name; members++) {
        zip_source_t *s = members->text
                              ? zip_source_buffer(z, members->text, strlen(members->text), 0)
                              : zip_source_file(z, members->from, 0, -1);
        zip_int64_t i = zip_file_add(z, members->name, s, 0);
        if (i < 0 || zip_set_file_compression(z, (zip_uint64_t)i, ZIP_CM_STORE, 0))
            return -1;
    }
    return z ? zip_close(z) : -1;
}

/* The usual package; a NULL description makes one of somebody else's. */
static int pt_package(const char *metadata, const char *description)
{
    const struct pt_member members[] = {
        {"p/archive_format", "pt2", NULL},
        {PT_MODEL "a.wrapper.so", NULL, pt_program},
        {PT_MODEL "a.wrapper_metadata.json", metadata, NULL},
        {PT_MODEL "a.wrapper.cpp", "code", NULL},
        {description ? "p/extra/wattle.json" : NULL, description, NULL},
        {NULL, NULL, NULL},
    };
    return pt_write(pt_path, members);
}

#endif
