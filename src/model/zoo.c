#include "model/zoo.h"
#include "base/file.h"
#include "model/write.h"
#include "model/zoo_models.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct zoo_model models[] = {
    {
        .name = "resnet50",
        .title = "ResNet-50 v1.5, 3x224x224 images (as torchvision)",
        .parameters = 25557032,
        .macs = 4089184256,
        .seed = 1,
        .file_bytes = 102482962,
        .sha256 = "e57251526b1c3fa6f86ff0138ef98f84307402dadb6459d9c5bc73522a3a0ab7",
        .write = zoo_write_resnet50,
    },
    {
        .name = "mobilenet_v2",
        .title = "MobileNetV2 1.0, 3x224x224 images (as torchvision)",
        .parameters = 3504872,
        .macs = 300774272,
        .seed = 1,
        .file_bytes = 14201878,
        .sha256 = "be5689e02e5062b31fa6938315112fff355bd3fda7e3fdc3de02920a81af88e6",
        .write = zoo_write_mobilenet_v2,
    },
    {
        .name = "bert_base",
        .title = "BERT-base-uncased encoder, 128 tokens (as HuggingFace)",
        .parameters = 109482240,
        .macs = 11174215680,
        .seed = 1,
        .file_bytes = 438017239,
        .sha256 = "ea6ee36797d508f3b980070d851f0409b2fac0866cc7c4dfa7c43636af85e76e",
        .write = zoo_write_bert_base,
    },
};

const struct zoo_model *zoo_models(size_t *count)
{
    *count = sizeof models / sizeof *models;
    return models;
}

const struct zoo_model *zoo_find(const char *name)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (!strcmp(models[i].name, name))
            return &models[i];
    return NULL;
}

static int zoo_folder(char folder[PATH_MAX], struct error *e)
{
    char home[PATH_MAX];
    int result = file_home(home, e);
    return result ? result : file_join(folder, home, "models", e);
}

int zoo_path(const struct zoo_model *m, char path[PATH_MAX], struct error *e)
{
    char folder[PATH_MAX], file[NAME_MAX];
    int result = zoo_folder(folder, e);
    snprintf(file, sizeof file, "%s.onnx", m->name);
    return result ? result : file_join(path, folder, file, e);
}

int zoo_cached(const struct zoo_model *m)
{
    char path[PATH_MAX];
    struct error ignored;
    struct stat st;
    return !zoo_path(m, path, &ignored) && !stat(path, &st) && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == m->file_bytes;
}

enum { STALE_AFTER_S = 600 };

/* Whether a file is the beginning of a model of ours: its name alone (NAME.onnx.sha256, say) is no
 * ground to delete it. */
static int is_partial_model(int folder, const char *name)
{
    static const char start[] = "\x08\x08\x12\x06wattle\x3a";
    char bytes[sizeof start - 1];
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (fd >= 0)
        close(fd);
    return n == 0 || (n == (ssize_t)sizeof bytes && !memcmp(bytes, start, sizeof bytes));
}

/* A build that was killed leaves its temporary file, which nobody else would ever remove. One that
 * is still being written has a fresh time; a copy somebody made is whole. */
static void remove_stale(const char *folder, const struct zoo_model *m)
{
    char prefix[NAME_MAX];
    size_t n = (size_t)snprintf(prefix, sizeof prefix, "%s.onnx.", m->name);
    DIR *dir = opendir(folder);
    struct dirent *entry;
    struct stat st;
    while (dir && (entry = readdir(dir)))
        if (!strncmp(entry->d_name, prefix, n) && strlen(entry->d_name) == n + 6 &&
            !fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
            S_ISREG(st.st_mode) && (uint64_t)st.st_size < m->file_bytes &&
            st.st_mtime + STALE_AFTER_S < time(NULL) && is_partial_model(dirfd(dir), entry->d_name))
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
}

static int write_model(const struct zoo_model *m, int (*stop)(void), FILE *stream,
                       struct error *e)
{
    char hex[65];
    struct onnx_writer *w = onnx_writer_new(m->name);
    if (!w)
        return error_memory(e);
    onnx_writer_stop(w, stop);
    int result = m->write(m, w, e);
    if (!result)
        result = onnx_writer_finish(w, stream, hex, e);
    onnx_writer_free(w);
    if (result == ERROR_INTERRUPTED)
        return result;
    if (result)
        return error_context(e, "cannot build %s", m->name);
    if (strcmp(hex, m->sha256)) {
        error_set(e, ERROR_FORMAT, "the %s built here has SHA-256 %s, not %s", m->name, hex,
                  m->sha256);
        return error_hint(e, "build wattle without -ffast-math; else report this machine and "
                             "compiler");
    }
    return 0;
}

int zoo_build(const struct zoo_model *m, char path[PATH_MAX], struct error *e)
{
    return zoo_build_until(m, NULL, path, e);
}

int zoo_build_until(const struct zoo_model *m, int (*stop)(void), char path[PATH_MAX],
                    struct error *e)
{
    char folder[PATH_MAX];
    struct file_atomic file = {0};
    int result = zoo_folder(folder, e);
    if (!result)
        result = zoo_path(m, path, e);
    if (!result)
        result = file_make_folder(folder, e);
    if (result)
        return result;
    remove_stale(folder, m);
    result = file_atomic_open(&file, path, e);
    if (!result)
        result = write_model(m, stop, file.stream, e);
    if (!result)
        return file_atomic_commit(&file, e);
    file_atomic_abort(&file);
    return result;
}
