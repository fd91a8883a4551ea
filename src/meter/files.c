#include "meter/meter.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int meter_path(char out[PATH_MAX], const char *sysroot, const char *path)
{
    int n = snprintf(out, PATH_MAX, "%s%s", sysroot, path);
    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int meter_file_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    struct stat st;
    int code = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
    if (!code)
        return fd;
    close(fd);
    return code;
}

int meter_file_pread(int fd, char *text, size_t size)
{
    ssize_t n;
    do {
        n = pread(fd, text, size - 1, 0);
    } while (n < 0 && errno == EINTR);
    text[n < 0 ? 0 : n] = '\0';
    return n < 0 ? -errno : (int)n;
}

int meter_parse_value(const char *text, size_t size, uint64_t *value)
{
    if (size && text[size - 1] == '\n')
        size--;
    if (!size || size > 19)
        return -EBADMSG;
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EBADMSG;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    if (v > METER_VALUE_MAX)
        return -EBADMSG;
    *value = v;
    return 0;
}

int meter_file_value(int fd, uint64_t *value)
{
    char text[32]; /* a longer file does not parse: 19 digits are the most */
    int n = meter_file_pread(fd, text, sizeof text);
    return n < 0 ? n : meter_parse_value(text, (size_t)n, value);
}

int meter_path_value(const char *path, uint64_t *value)
{
    int fd = meter_file_open(path);
    if (fd < 0)
        return fd;
    int code = meter_file_value(fd, value);
    close(fd);
    return code;
}

int meter_path_line(const char *path, char *line, size_t size)
{
    line[0] = '\0';
    int fd = meter_file_open(path);
    if (fd < 0)
        return fd;
    int n = meter_file_pread(fd, line, size);
    close(fd);
    if (n < 0)
        return n;
    size_t used = (size_t)n;
    int whole = used + 1 < size;
    if (used && line[used - 1] == '\n')
        line[--used] = '\0';
    for (size_t i = 0; i < used; i++)
        whole &= isprint((unsigned char)line[i]) != 0;
    if (used && whole)
        return 0;
    line[0] = '\0';
    return -EBADMSG;
}

const char *meter_reason(int code)
{
    switch (-code) {
    case EBADMSG:
        return "its text is not what it should be";
    case EINVAL:
        return "it is not a regular file";
    case EACCES:
        return "permission denied";
    case ENOENT:
        return "it is missing";
    case ENODATA:
        return "it has no data at the moment";
    case EIO:
        return "input/output error";
    case ELOOP:
        return "too many symbolic links";
    case EISDIR:
        return "it is a folder";
    case ENOTDIR:
        return "its parent is not a folder";
    case ENAMETOOLONG:
        return "its path is too long";
    default:
        return "it cannot be read";
    }
}
