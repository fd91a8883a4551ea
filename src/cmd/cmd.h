/* cmd.h: the commands and the options, each in one table. A command is one file with one function
 * and one line in commands.c; an option is one line in options.c. */
#ifndef WATTLE_CMD_CMD_H
#define WATTLE_CMD_CMD_H

#include "base/options.h"

enum option_id {
    OPTION_RUNTIME = 1,
    OPTION_WORKER,
    OPTION_PROVIDER,
    OPTION_DEVICE,
    OPTION_PROVIDER_OPTION,
    OPTION_PROVIDER_LIBRARY,
    OPTION_REQUIRE_PROVIDER,
    OPTION_BATCH,
    OPTION_THREADS,
    OPTION_PRECISION,
    OPTION_FORM,
    OPTION_SPIN,
    OPTION_GAP,
    OPTION_DIM,
    OPTION_SHAPE,
    OPTION_INPUT,
    OPTION_EXPECT,
    OPTION_RANGE,
    OPTION_DURATION,
    OPTION_MIN_RUNS,
    OPTION_BLOCKS,
    OPTION_WARMUP,
    OPTION_TIMEOUT,
    OPTION_SEED,
    OPTION_VERIFY,
    OPTION_TDP,
    OPTION_REQUIRE,
    OPTION_JSON,
    OPTION_CSV,
    OPTION_MARKDOWN,
    OPTION_STORE,
    OPTION_SYSROOT,
    OPTION_DRY_RUN,
    OPTION_PIP_ARGS,
    OPTION_FORMAT,
    OPTION_CHECK,
    OPTION_PYTHON_HELPER,
    OPTION_TO,
    OPTION_OUTPUT,
    OPTION_EXPORTER,
    OPTION_OPSET,
    OPTION_DYNAMIC_BATCH,
    OPTION_DYNAMIC,
    OPTION_EXTERNAL_DATA,
    OPTION_TOLERANCE,
    OPTION_FORCE,
    OPTION_QUIET,
    OPTION_VERBOSE,
    OPTION_HELP,
};

enum { COMMAND_OPTION_MAX = 40 };

struct command {
    const char *name;
    const char *operands;  /* "MODEL...", "" */
    const char *summary;   /* one line */
    const char *details;   /* paragraphs for --help; "" */
    int hidden;
    int options[COMMAND_OPTION_MAX]; /* ids, 0-terminated; --help, -q and -v are added to all */
    /* Returns the exit code. A failure is put into *e, and its code decides unless it is 0. */
    int (*run)(const struct option_list *options, struct error *e);
};

const struct command *command_all(size_t *count);
const struct command *command_find(const char *name);
void command_help(const struct command *c, FILE *out);
void command_overview(FILE *out);

/* ERROR_USAGE for a list that is given twice: one of them would be dropped in silence. */
int command_check_lists(const struct option_list *list, struct error *e);

/* The specs a command takes, into specs[COMMAND_OPTION_MAX]; returns how many. */
size_t command_options(const struct command *c, struct option_spec *specs);

/* The table of what is found, for `wattle runtimes` and `wattle doctor`. */
struct found_list;
void runtimes_print_found(const struct found_list *list);
void runtimes_print_gpus(void); /* one line: those seen through NVML, or why none */

/* 1, 2, 5 or 130: how the kind of a failure becomes an exit code. */
int exit_code_of(const struct error *e);

int cmd_run(const struct option_list *options, struct error *e);
int cmd_doctor(const struct option_list *options, struct error *e);
int cmd_runtimes(const struct option_list *options, struct error *e);
int cmd_models(const struct option_list *options, struct error *e);
int cmd_convert(const struct option_list *options, struct error *e);
int cmd_worker(const struct option_list *options, struct error *e);

#endif
