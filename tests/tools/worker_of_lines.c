/* worker_of_lines FILE: a worker that answers each command with the next line of the file, whatever
 * that says, and ends when there is none. A line "@N" is no answer: it says how many runs are in the
 * ring. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FD_COMMANDS = 3, FD_REPLIES = 4, FD_RING = 5, COUNT_AT = 3 };

/* 1 when another answer is wanted: not at the end of commands, nor after the answer to "quit". */
static int take_command(void)
{
    static int is_over;
    char text[64] = "", c = 0;
    size_t size = 0;
    if (is_over)
        return 0;
    while (read(FD_COMMANDS, &c, 1) == 1 && c != '\n')
        if (size + 1 < sizeof text)
            text[size++] = c;
    is_over = strstr(text, "\"quit\"") != NULL;
    return c == '\n';
}

static void set_count(const char *text)
{
    uint64_t *ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, FD_RING, 0);
    if (ring == MAP_FAILED)
        return;
    ring[COUNT_AT] = strtoull(text, NULL, 10);
    munmap(ring, 4096);
}

int main(int argc, char **argv)
{
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    int is_due = 0;
    if (!f)
        return 2;
    while ((size = getline(&line, &capacity, f)) > 0) {
        if (!is_due && !take_command())
            break;
        is_due = line[0] == '@';
        if (is_due)
            set_count(line + 1);
        else if (write(FD_REPLIES, line, (size_t)size) != size)
            break;
    }
    free(line);
    fclose(f);
    return 0;
}
