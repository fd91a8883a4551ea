#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/cmd.h"
#include "model/zoo.h"
#include "worker/worker.h"

#include <string.h>
#include <sys/stat.h>

static void print_model(const struct zoo_model *m)
{
    char path[PATH_MAX], size[16] = "not built";
    struct stat st;
    if (zoo_cached(m) && !zoo_path(m, path, NULL) && !stat(path, &st))
        text_bytes((uint64_t)st.st_size, size);
    printf("%-14s %10.2f M %9.2f  %-10s  %s\n", m->name, (double)m->parameters / 1e6,
           (double)m->macs / 1e9, size, m->title);
}

static int list(void)
{
    size_t count;
    const struct zoo_model *zoo = zoo_models(&count);
    printf("%-14s %12s %9s  %-10s  %s\n", "MODEL", "PARAMETERS", "GMAC", "FILE", "ARCHITECTURE");
    for (size_t i = 0; i < count; i++)
        print_model(&zoo[i]);
    return 0;
}

static int unknown(const char *name, struct error *e)
{
    const char *names[16], *nearest;
    size_t count, n = 0;
    const struct zoo_model *zoo = zoo_models(&count);
    for (; n < count && n < sizeof names / sizeof *names; n++)
        names[n] = zoo[n].name;
    nearest = text_nearest(name, names, n);
    error_set(e, ERROR_USAGE, "no built-in model '%s'", name);
    if (nearest)
        return error_hint(e, "did you mean '%s'?", nearest);
    return error_hint(e, "wattle models lists them");
}

static int build(const char *name, struct error *e)
{
    const struct zoo_model *m = zoo_find(name);
    char path[PATH_MAX];
    if (!m)
        return unknown(name, e);
    uint64_t begin_ns = clock_monotonic_ns();
    int result = zoo_build_until(m, worker_interrupted, path, e);
    if (result)
        return result;
    printf("%s\n", path);
    log_note("%s written in %.1f s, sha256 %s", m->name,
             (double)(clock_monotonic_ns() - begin_ns) / 1e9, m->sha256);
    return 0;
}

int cmd_models(const struct option_list *options, struct error *e)
{
    if (options->operand_count == 0)
        return list();
    if (strcmp(options->operands[0], "build"))
        return error_set(e, ERROR_USAGE, "models has no action '%s'; it has: build",
                         options->operands[0]), 0;
    if (options->operand_count == 1)
        return error_set(e, ERROR_USAGE, "models build needs the name of a model"), 0;
    for (size_t i = 1; i < options->operand_count; i++) {
        if (build(options->operands[i], e))
            return 0;
        if (worker_interrupted()) /* at the end of a model */
            return error_set(e, ERROR_INTERRUPTED, "interrupted"), 0;
    }
    return 0;
}
