#include "base/options.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>

static const struct option_spec specs[] = {
    {1, 'b', "batch", "N[,N...]", "Batch sizes."},
    {2, 'q', "quiet", NULL, "No talk."},
    {3, 0, "provider", "NAME", "Execution provider."},
};

static int parse(char **argv, int stop, struct option_list *out, struct error *e)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    return options_parse(specs, 3, argc, argv, stop, out, e);
}

static void all_spellings(void **state)
{
    (void)state;
    char *argv[] = {"-b", "1", "-b2", "--batch", "3", "m.onnx", "--batch=4", "-q", "--", "-x", NULL};
    struct option_list l;
    struct error e;
    assert_int_equal(parse(argv, 0, &l, &e), 0);
    assert_int_equal(l.option_count, 5);
    const char *values[] = {"1", "2", "3", "4"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(l.options[i].value, values[i]);
    assert_string_equal(options_last(&l, 1, "none"), "4");
    assert_string_equal(options_last(&l, 3, "none"), "none");
    assert_true(options_given(&l, 2));
    assert_int_equal(l.operand_count, 2);
    assert_string_equal(l.operands[1], "-x");
    options_release(&l);
}

static void operands_can_end_options(void **state)
{
    (void)state;
    char *argv[] = {"-q", "cmd", "-b", NULL};
    struct option_list l;
    struct error e;
    assert_int_equal(parse(argv, 1, &l, &e), 0);
    assert_int_equal(l.operand_count, 2);
    assert_string_equal(l.operands[1], "-b");
    options_release(&l);
}

static void errors_name_the_option(void **state)
{
    (void)state;
    static const struct {
        char *argument;
        const char *text, *hint;
    } bad[] = {
        {"--bach", "unknown option '--bach'", "did you mean --batch?"},
        {"--bat", "unknown option '--bat'", "did you mean --batch?"}, /* prefixes are not taken */
        {"-z", "unknown option '-z'", "--help lists the options"},
        {"-qb", "unknown option '-qb'", "--help lists the options"},
        {"--batch", "option --batch needs a value: N[,N...]", ""},
        {"--quiet=1", "option --quiet takes no value", ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *argv[] = {bad[i].argument, NULL};
        struct option_list l;
        struct error e;
        assert_int_equal(parse(argv, 0, &l, &e), ERROR_USAGE);
        assert_string_equal(e.text, bad[i].text);
        assert_string_equal(e.hint, bad[i].hint);
    }
}

static void help_wraps_at_80(void **state)
{
    (void)state;
    struct option_spec wordy = {9, 0, "a-very-long-option-name", "ARGUMENT",
                                "Many words that go on and on until they have to be wrapped more "
                                "than once because a line of a terminal has eighty columns."};
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    options_help(&wordy, 1, out);
    options_help(specs, 3, out);
    fclose(out);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 80);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_spellings),
        cmocka_unit_test(operands_can_end_options),
        cmocka_unit_test(errors_name_the_option),
        cmocka_unit_test(help_wraps_at_80),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
