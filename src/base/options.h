/* options.h: the one source of option text: the parser, --help, and later the man page and shell
 * completion all read the tables of this shape (src/cmd/options.c). */
#ifndef WATTLE_BASE_OPTIONS_H
#define WATTLE_BASE_OPTIONS_H

#include "base/error.h"

#include <stddef.h>
#include <stdio.h>

struct option_spec {
    int id;                 /* > 0, what the command switches on */
    char letter;            /* 'b' for -b, 0 for none */
    const char *name;       /* "batch" for --batch */
    const char *argument;   /* "N[,N...]"; NULL for a flag */
    const char *help;       /* one line or more, wrapped by the printer */
};

struct option_value {
    int id;
    const char *value;      /* NULL for a flag */
};

/* Parsed arguments: options in order, then operands. Arrays are owned, strings are argv's. */
struct option_list {
    struct option_value *options;
    size_t option_count;
    const char **operands;
    size_t operand_count;
    const char *command;    /* the whole command as typed, for records; set by main */
};

/* GNU style: -b 1, -b1, --batch 1, --batch=1, "--" ends options; unambiguous prefixes are NOT
 * taken. Options and operands may be mixed, unless stop_at_operand (then all from the first operand
 * on are operands: `wattle meter CMD -x`). Errors are ERROR_USAGE with "did you mean". */
int options_parse(const struct option_spec *specs, size_t count, int argc, char **argv,
                  int stop_at_operand, struct option_list *out, struct error *e);
void options_release(struct option_list *list);

/* The last value given for id, or NULL / fallback. */
const char *options_last(const struct option_list *list, int id, const char *fallback);
int options_given(const struct option_list *list, int id);

/* Text wrapped at 80 columns, every line but the first indented; newlines are kept. */
void options_wrap(const char *text, int indent, FILE *out);
/* "  -b, --batch N[,N...]  text" lines, wrapped at 80 columns. */
void options_help(const struct option_spec *specs, size_t count, FILE *out);

#endif
