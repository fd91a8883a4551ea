/* file.h: files read and written so that nothing is half done and nothing unbounded is read. */
#ifndef WATTLE_BASE_FILE_H
#define WATTLE_BASE_FILE_H

#include "base/error.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A whole file, read-only in memory. */
struct file_map {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
};
int file_map_open(const char *path, struct file_map *map, struct error *e);
void file_map_close(struct file_map *map);

/* Reads a small text file (sysfs, procfs) of at most size - 1 bytes into text, NUL-terminated,
 * without its last newline. A longer file is cut. Returns 0 or the negative errno: callers decide
 * whether absence is an error. */
int file_read_text(const char *path, char *text, size_t size);

/* The folder that a path is in, "." for a name alone; cut where it is longer than PATH_MAX. */
void file_folder_of(const char *path, char folder[PATH_MAX]);

/* Writing a file that is either whole or not there: opens a temporary file beside path, without a
 * name where the file system has such files, so that nothing is left of it however the process
 * ends; commit flushes, fsyncs, renames over path and syncs the folder; abort removes it. After
 * either the struct is empty and further aborts do nothing. Of a symbolic link the target is
 * replaced. What cannot be replaced (a device, a pipe that somebody reads) is written as it is. */
struct file_atomic {
    FILE *stream;
    char temporary[PATH_MAX]; /* "": written directly */
    int nameless;             /* temporary is a name still to be given */
    char path[PATH_MAX];      /* of a link: where it leads */
};
int file_atomic_open(struct file_atomic *f, const char *path, struct error *e);
int file_atomic_commit(struct file_atomic *f, struct error *e);
void file_atomic_abort(struct file_atomic *f);

/* mkdir -p with mode 0777 less the umask. */
int file_make_folder(const char *path, struct error *e);

/* Joins with one slash; ERROR_USAGE when the result does not fit PATH_MAX. */
int file_join(char out[PATH_MAX], const char *folder, const char *name, struct error *e);

/* "folder/tail" for glob, of which only the tail is a pattern; 0 when it does not fit. */
int file_pattern(const char *folder, const char *tail, char *out, size_t size);

/* $WATTLE_HOME, else $XDG_DATA_HOME/wattle, else $HOME/.local/share/wattle. Not created. */
int file_home(char out[PATH_MAX], struct error *e);

/* SHA-256 as 64 hexadecimal digits and a NUL. */
int file_sha256(const char *path, char hex[65], struct error *e);

#endif
