/* python.h: a script of wattle's (scripts.h) run by the Python of an installation.
 *
 * It is given the path of a JSON object, FOLDER/request.json, in which "site" (a folder of packages
 * to look in, or "") and "result" are set here. What it prints are steps, told line by line. It
 * leaves a JSON object in "result", which is FOLDER/result.json: {"error", "text", "hint"} with a
 * code of error_code_name when it exits with other than 0. */
#ifndef WATTLE_RUNTIME_PYTHON_H
#define WATTLE_RUNTIME_PYTHON_H

#include "base/error.h"

#include <jansson.h>

struct python_job {
    const char *library;     /* of the installation */
    const char *script;      /* path of the script */
    const char *folder;      /* is there */
    int (*interrupted)(void);
    void (*tell)(void *context, const char *line); /* NULL: nobody listens */
    void *context;
    int lock;                /* a descriptor handed to it: what that locks stays locked as long as
                                it lives, also when this process does not; 0: none */
};

/* The script's own error, or else what became of the process. */
int python_run(const struct python_job *j, json_t *request, struct error *e);

/* NULL when it is not there, or not a JSON object of a sane size. */
json_t *python_result(const char *folder);

/* "" when the object has no such text. */
const char *python_word(const json_t *object, const char *key);

#endif
