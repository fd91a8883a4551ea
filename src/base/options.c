#include "base/options.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 30, HELP_WIDTH = 80, SPEC_MAX = 128 };

struct parser {
    const struct option_spec *specs;
    size_t count;
    int argc;
    char **argv;
    int next;                 /* index of the next argument */
    struct option_list *out;
    struct error *e;
};

static int unknown(struct parser *p, const char *argument, size_t name_size)
{
    const char *names[SPEC_MAX];
    size_t n = 0;
    for (size_t i = 0; i < p->count && n < SPEC_MAX; i++)
        names[n++] = p->specs[i].name;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)name_size, argument);
    const char *bare = name + strspn(name, "-");
    error_set(p->e, ERROR_USAGE, "unknown option '%s'", name);
    const char *nearest = strlen(bare) > 1 ? text_nearest(bare, names, n) : NULL;
    if (nearest)
        return error_hint(p->e, "did you mean --%s?", nearest);
    return error_hint(p->e, "--help lists the options");
}

static void add(struct parser *p, const struct option_spec *spec, const char *value)
{
    struct option_list *out = p->out;
    out->options[out->option_count++] = (struct option_value){spec->id, value};
}

/* The value of an option that takes one: what is attached to it, else the next argument. */
static int take_value(struct parser *p, const struct option_spec *spec, const char *attached)
{
    if (!attached) {
        if (p->next >= p->argc) {
            return error_set(p->e, ERROR_USAGE, "option --%s needs a value: %s", spec->name,
                             spec->argument);
        }
        attached = p->argv[p->next++];
    }
    add(p, spec, attached);
    return 0;
}

static int parse_long(struct parser *p, const char *argument)
{
    const char *name = argument + 2;
    size_t size = strcspn(name, "=");
    const char *attached = name[size] ? name + size + 1 : NULL;
    for (size_t i = 0; i < p->count; i++) {
        const struct option_spec *spec = &p->specs[i];
        if (strlen(spec->name) != size || strncmp(spec->name, name, size))
            continue;
        if (spec->argument)
            return take_value(p, spec, attached);
        if (attached)
            return error_set(p->e, ERROR_USAGE, "option --%s takes no value", spec->name);
        add(p, spec, NULL);
        return 0;
    }
    return unknown(p, argument, size + 2);
}

/* -q, -b1, -b 1; flags cannot be bundled, so that a typing error is never half obeyed. */
static int parse_short(struct parser *p, const char *argument)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct option_spec *spec = &p->specs[i];
        if (!spec->letter || spec->letter != argument[1])
            continue;
        if (spec->argument)
            return take_value(p, spec, argument[2] ? argument + 2 : NULL);
        if (argument[2])
            break;
        add(p, spec, NULL);
        return 0;
    }
    return unknown(p, argument, strlen(argument));
}

int options_parse(const struct option_spec *specs, size_t count, int argc, char **argv,
                  int stop_at_operand, struct option_list *out, struct error *e)
{
    struct parser p = {specs, count, argc, argv, 0, out, e};
    size_t most = (size_t)argc + 1;
    *out = (struct option_list){.options = calloc(most, sizeof *out->options),
                                .operands = calloc(most, sizeof *out->operands)};
    if (!out->options || !out->operands) {
        options_release(out);
        return error_memory(e);
    }
    int result = 0, only_operands = 0;
    while (!result && p.next < argc) {
        const char *argument = argv[p.next++];
        if (!only_operands && !strcmp(argument, "--"))
            only_operands = 1;
        else if (only_operands || argument[0] != '-' || !argument[1]) {
            out->operands[out->operand_count++] = argument;
            only_operands |= stop_at_operand;
        } else if (argument[1] == '-')
            result = parse_long(&p, argument);
        else
            result = parse_short(&p, argument);
    }
    if (result)
        options_release(out);
    return result;
}

void options_release(struct option_list *list)
{
    free(list->options);
    free(list->operands);
    *list = (struct option_list){0};
}

const char *options_last(const struct option_list *list, int id, const char *fallback)
{
    for (size_t i = list->option_count; i-- > 0;)
        if (list->options[i].id == id)
            return list->options[i].value;
    return fallback;
}

int options_given(const struct option_list *list, int id)
{
    for (size_t i = 0; i < list->option_count; i++)
        if (list->options[i].id == id)
            return 1;
    return 0;
}

void options_wrap(const char *text, int indent, FILE *out)
{
    int column = indent;
    while (*text) {
        int size = (int)strcspn(text, " \n");
        if (column + size > HELP_WIDTH && column > indent)
            column = fprintf(out, "\n%*s", indent, "") - 1;
        column += fprintf(out, "%.*s", size, text);
        text += size;
        if (*text == '\n') {
            column = fprintf(out, "\n%*s", indent, "") - 1;
            text++;
        } else if (*text == ' ') {
            text++;
            if (column + 1 + (int)strcspn(text, " \n") <= HELP_WIDTH)
                column += fprintf(out, " ");
            else
                column = HELP_WIDTH;
        }
    }
    fputc('\n', out);
}

void options_help(const struct option_spec *specs, size_t count, FILE *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct option_spec *s = &specs[i];
        int column = s->letter ? fprintf(out, "  -%c, --%s", s->letter, s->name)
                               : fprintf(out, "      --%s", s->name);
        if (s->argument)
            column += fprintf(out, " %s", s->argument);
        if (column > HELP_COLUMN - 2) {
            fputc('\n', out);
            column = 0;
        }
        fprintf(out, "%*s", HELP_COLUMN - column, "");
        options_wrap(s->help, HELP_COLUMN, out);
    }
}
