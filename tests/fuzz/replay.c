/* replay.c: the main of a fuzz target in ordinary builds: feeds it each file of the folders that are
 * named, or of tests/fuzz/corpus/NAME for a program fuzz_NAME, in the order of their names. A file that
 * takes longer than a machine in use may need ends the program, as a crash does. */
#include "fuzz.h"

#include <dirent.h>
#include <sys/resource.h>

enum { SECONDS_MAX = 60 };
#define MEMORY_MAX_KB (1l << 20)

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In memory of exactly its size, so that reading past its end is seen. */
static uint8_t *read_file(const char *path, size_t *size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FUZZ_NEED(fd >= 0 && !fstat(fd, &st));
    *size = (size_t)st.st_size;
    uint8_t *bytes = malloc(*size ? *size : 1);
    FUZZ_NEED(bytes && read(fd, bytes, *size) == (ssize_t)*size);
    close(fd);
    return bytes;
}

static void replay(const char *path)
{
    size_t size;
    uint8_t *bytes = read_file(path, &size);
    printf("%s\n", path); /* the last line names the file that was too much */
    fflush(stdout);
    alarm(SECONDS_MAX);
    LLVMFuzzerTestOneInput(bytes, size);
    alarm(0);
    free(bytes);
}

static int replay_folder(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_visible, alphasort);
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        replay(path);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return count > 0 ? count : 0;
}

/* Sanitizers need memory of their own. */
static int took_too_much(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0;
#else
    struct rusage usage;
    return !getrusage(RUSAGE_SELF, &usage) && usage.ru_maxrss > MEMORY_MAX_KB;
#endif
}

int main(int argc, char **argv)
{
    char own[PATH_MAX];
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    int count = 0;
    snprintf(own, sizeof own, "tests/fuzz/corpus/%s", name + (strncmp(name, "fuzz_", 5) ? 0 : 5));
    for (int i = 1; i < argc; i++)
        count += replay_folder(argv[i]);
    if (argc == 1)
        count = replay_folder(own);
    printf("%d files\n", count);
    if (took_too_much())
        printf("they took more than %ld MiB of memory\n", MEMORY_MAX_KB >> 10);
    return count == 0 || took_too_much();
}
