#include "base/file.h"

#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/wattle-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int files_in(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;
    for (struct dirent *entry; d && (entry = readdir(d));)
        n += entry->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void atomic_files_are_whole_or_absent(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct error e;
    struct file_atomic f;
    assert_int_equal(file_join(path, folder, "out.json", &e), 0);
    assert_int_equal(file_atomic_open(&f, path, &e), 0);
    fputs("half", f.stream);
    assert_int_equal(access(path, F_OK), -1);
    int nameless = open(folder, O_TMPFILE | O_WRONLY, 0600); /* not everywhere */
    if (nameless >= 0)
        assert_int_equal(files_in(folder), 0); /* as nothing is if this is the end of the process */
    close(nameless);
    file_atomic_abort(&f);
    file_atomic_abort(&f);
    assert_int_equal(files_in(folder), 0);

    assert_int_equal(file_atomic_open(&f, path, &e), 0);
    fputs("whole\n", f.stream);
    assert_int_equal(file_atomic_commit(&f, &e), 0);
    file_atomic_abort(&f); /* after commit: nothing */
    char text[16];
    assert_int_equal(file_read_text(path, text, sizeof text), 0);
    assert_string_equal(text, "whole");
    assert_int_equal(files_in(folder), 1);
}

static void a_full_disk_is_an_error_and_leaves_nothing(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct error e;
    struct file_atomic f;
    struct rlimit old, small = {4096, 4096};
    file_join(path, folder, "big", &e);
    assert_int_equal(file_atomic_open(&f, path, &e), 0);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; i < 10000; i++)
        fputs("0123456789", f.stream);
    int result = file_atomic_commit(&f, &e);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_not_equal(result, 0);
    assert_int_equal(files_in(folder), 0);
}

static void a_pipe_is_written_and_stays(void **state)
{
    (void)state;
    char path[PATH_MAX], text[16] = "";
    struct error e;
    struct file_atomic f;
    struct stat st;
    file_join(path, folder, "pipe", &e);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(5); /* a hang would be the failure */
    assert_int_equal(file_atomic_open(&f, path, &e), ERROR_IO);
    assert_non_null(strstr(e.text, "nobody reads"));
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(file_atomic_open(&f, path, &e), 0);
    assert_int_equal(fcntl(fileno(f.stream), F_GETFL) & O_NONBLOCK, 0);
    fputs("whole", f.stream);
    assert_int_equal(file_atomic_commit(&f, &e), 0);
    assert_int_equal(read(reader, text, sizeof text), 5);
    assert_string_equal(text, "whole");
    assert_int_equal(file_atomic_open(&f, path, &e), 0);
    file_atomic_abort(&f);
    file_atomic_abort(&f);
    alarm(0);
    close(reader);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(files_in(folder), 1);
}

static void of_a_link_the_target_is_replaced(void **state)
{
    (void)state;
    char link[PATH_MAX], target[PATH_MAX], text[16];
    struct error e;
    struct file_atomic f;
    struct stat st;
    file_join(link, folder, "link", &e);
    file_join(target, folder, "target", &e);
    assert_int_equal(symlink("target", link), 0);
    assert_int_equal(file_atomic_open(&f, link, &e), ERROR_IO); /* it leads nowhere */
    assert_non_null(strstr(e.text, link));
    fclose(fopen(target, "w"));
    assert_int_equal(file_atomic_open(&f, link, &e), 0);
    fputs("new", f.stream);
    assert_int_equal(file_atomic_commit(&f, &e), 0);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(file_read_text(target, text, sizeof text), 0);
    assert_string_equal(text, "new");
    assert_int_equal(files_in(folder), 2);
}

static void paths_that_cannot_be_written(void **state)
{
    (void)state;
    struct error e;
    struct file_atomic f;
    assert_int_not_equal(file_atomic_open(&f, "/nonexistent-folder/x", &e), 0);
    assert_non_null(strstr(e.text, "/nonexistent-folder/x"));
    assert_int_equal(file_atomic_open(&f, "", &e), ERROR_USAGE);
    assert_int_equal(file_atomic_open(&f, folder, &e), ERROR_IO);
    assert_non_null(strstr(e.text, strerror(EISDIR)));
    assert_int_equal(files_in(folder), 0);
    char longest[PATH_MAX + 10];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(file_atomic_open(&f, longest, &e), ERROR_USAGE);
    assert_int_equal(file_make_folder(longest, &e), ERROR_USAGE);
}

static void maps_refuse_what_is_not_a_file(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct error e;
    struct file_map map;
    assert_int_equal(file_map_open(folder, &map, &e), ERROR_IO);
    assert_int_equal(file_map_open("/nonexistent", &map, &e), ERROR_IO);
    file_join(path, folder, "pipe", &e);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(5); /* a hang would be the failure */
    assert_int_equal(file_map_open(path, &map, &e), ERROR_IO);
    alarm(0);
    file_join(path, folder, "empty", &e);
    fclose(fopen(path, "w"));
    assert_int_equal(file_map_open(path, &map, &e), 0);
    assert_int_equal(map.size, 0);
    file_map_close(&map);
    file_map_close(&map);
}

static void text_files_are_cut_not_overrun(void **state)
{
    (void)state;
    char path[PATH_MAX], small[8];
    struct error e;
    file_join(path, folder, "long", &e);
    FILE *f = fopen(path, "w");
    fputs("0123456789\n", f);
    fclose(f);
    assert_int_equal(file_read_text(path, small, sizeof small), 0);
    assert_string_equal(small, "0123456");
    assert_int_equal(file_read_text("/nonexistent", small, sizeof small), -ENOENT);
    assert_int_equal(file_read_text(folder, small, sizeof small), -EISDIR);
}

static void sha256_is_sha256(void **state)
{
    (void)state;
    char path[PATH_MAX], hex[65];
    struct error e;
    file_join(path, folder, "abc", &e);
    FILE *f = fopen(path, "w");
    fputs("abc", f);
    fclose(f);
    assert_int_equal(file_sha256(path, hex, &e), 0); /* FIPS 180-2, appendix B.1 */
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void home_follows_the_environment(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct error e;
    setenv("WATTLE_HOME", "/a/b", 1);
    assert_int_equal(file_home(path, &e), 0);
    assert_string_equal(path, "/a/b/");
    unsetenv("WATTLE_HOME");
    setenv("XDG_DATA_HOME", "/data", 1);
    assert_int_equal(file_home(path, &e), 0);
    assert_string_equal(path, "/data/wattle");
    unsetenv("XDG_DATA_HOME");
    setenv("HOME", "/home/x", 1);
    assert_int_equal(file_home(path, &e), 0);
    assert_string_equal(path, "/home/x/.local/share/wattle");
    unsetenv("HOME");
    assert_int_equal(file_home(path, &e), ERROR_USAGE);
}

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct error e;
    struct stat st;
    file_join(path, folder, "a/b/c", &e);
    assert_int_equal(file_make_folder(path, &e), 0);
    assert_int_equal(file_make_folder(path, &e), 0);
    assert_int_equal(stat(path, &st), 0);
    file_join(path, folder, "file", &e);
    fclose(fopen(path, "w"));
    assert_int_not_equal(file_make_folder(path, &e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(atomic_files_are_whole_or_absent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_is_an_error_and_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pipe_is_written_and_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_a_link_the_target_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(paths_that_cannot_be_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(maps_refuse_what_is_not_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(text_files_are_cut_not_overrun, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sha256_is_sha256, set_up, tear_down),
        cmocka_unit_test_setup_teardown(folders_are_made_with_their_parents, set_up, tear_down),
        cmocka_unit_test(home_follows_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
