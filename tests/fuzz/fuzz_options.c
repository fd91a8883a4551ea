/* A command line: the first line is the command's name, each further one an argument. It is parsed as far
 * as can be without starting anything. */
#include "fuzz.h"

#include "base/log.h"
#include "base/text.h"
#include "cmd/request.h"

enum { ARGUMENTS_MAX = 64 };

/* main.c has it. */
int exit_code_of(const struct error *e)
{
    return (int)e->code;
}

/* Nothing is to be found: neither programs nor installations. */
static void begin(void)
{
    log_set_level(LOG_QUIET);
    mkdir(fuzz_path("home"), 0755);
    setenv("WATTLE_HOME", fuzz_path("home"), 1);
    setenv("WATTLE_LIBRARY_PATH", fuzz_path("nothing"), 1);
    setenv("PATH", fuzz_path("nothing"), 1);
}

/* Each by itself, as an option's value. */
static void read_values(char *text)
{
    struct error e = {0};
    int64_t integer;
    double number;
    uint64_t ns;
    char **items = NULL, utf8[64];
    size_t count;
    struct runtime_name name;
    static const char *const candidates[] = {"threads", "batch", "provider"};
    fuzz_check_error(text_to_int(text, "n", INT64_MIN, INT64_MAX, &integer, &e), e.text);
    fuzz_check_error(text_to_double(text, "x", -1e300, 1e300, &number, &e), e.text);
    fuzz_check_error(text_to_ns(text, "t", 0, UINT64_MAX, &ns, &e), e.text);
    if (!text_split(text, "list", ARGUMENTS_MAX, &items, &count, &e))
        free(items);
    fuzz_check_error(runtime_name_parse(text, &name, &e), e.text);
    text_nearest(text, candidates, sizeof candidates / sizeof *candidates);
    text_utf8(text, 1, utf8, sizeof utf8);
}

static void request(const struct option_list *list)
{
    static struct request r; /* large */
    static struct cell model;
    struct error e = {0};
    int code = request_parse(&r, list, &e);
    fuzz_check_error(code, e.text);
    for (size_t i = 0; i < list->operand_count && !code; i++) {
        struct cell *cells = NULL;
        size_t count = 0;
        code = request_model(list->operands[i], 0, &model, &e);
        if (!code)
            code = request_cells(&r, &model, &cells, &count, &e);
        fuzz_check_error(code, e.text);
        free(cells);
    }
    request_release(&r);
}

static void parse(const char *name, int argc, char **argv)
{
    struct option_spec specs[COMMAND_OPTION_MAX];
    struct option_list list = {0};
    struct error e = {0};
    const struct command *c = command_find(name);
    if (!c)
        c = command_find("run");
    int code = options_parse(specs, command_options(c, specs), argc, argv, 0, &list, &e);
    if (!code)
        code = command_check_lists(&list, &e);
    fuzz_check_error(code, e.text);
    if (!code && !strcmp(c->name, "run"))
        request(&list);
    options_release(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int is_begun;
    char *text = malloc(size + 1), *argv[ARGUMENTS_MAX + 1] = {NULL};
    int argc = 0;
    FUZZ_NEED(text);
    memcpy(text, data, size);
    text[size] = '\0';
    if (!is_begun)
        begin();
    is_begun = 1;
    for (char *at = text, *line; (line = strsep(&at, "\n")) && argc < ARGUMENTS_MAX;)
        argv[argc++] = line;
    parse(argv[0], argc - 1, argv + 1);
    for (int i = 1; i < argc; i++)
        read_values(argv[i]);
    free(text);
    return 0;
}
