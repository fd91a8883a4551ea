/* The JSON against its schema, and doctored JSON that the schema must refuse. */
#include "report_samples.h"

#include <sys/stat.h>
#include <sys/wait.h>

static char folder[] = "/tmp/wattle-json-XXXXXX";

static int json_text(const struct report *r, FILE *out)
{
    return report_json(r, out, &err);
}

static void keep(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s.json", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Of the files kept under names that begin so: 0 as wanted, 1 not, 77 no validator here. */
static int validate(const char *option, const char *names)
{
    char command[256];
    snprintf(command, sizeof command,
             "$(test -x /usr/bin/python3 && echo /usr/bin/python3 || echo python3)"
             " tests/cli/validate_json.py %s docs/wattle-1.schema.json %s/%s*", option, folder,
             names);
    int status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static char *render(void (*make)(struct store_campaign *))
{
    struct store_campaign c;
    struct report r;
    make(&c);
    assert_int_equal(report_make(&r, &c, &err), 0);
    char *out = written(json_text, &r);
    report_release(&r);
    store_campaign_release(&c);
    return out;
}

static void make_broken(struct store_campaign *c)
{
    make_none(c);
    c->finished_ns = 0;
    c->seed = UINT64_MAX;
    c->models[0].sha256[0] = '\0';
    c->models[0].parameters = c->models[0].macs = -1;
    strcpy(c->models[0].name, "caf\xe9 \"x\"\n\x1b");
    strcpy(c->host_title, "\xff");
    add_cell(c, "never", "cpu");
    add_done(add_cell(c, "short", "cpu"), 3, 10, 0.02);
    struct record *r = add_done(add_cell(c, "odd", "cpu"), 3, 10, 0.02);
    measured(r, 1e300 * 1e10, 1);
    r->wall_s = 0;
    r->runs = UINT64_MAX;
    r->load_ms = NAN;
    r->meters[0].domains[0].status = WATTLE_STUCK;
    r->meters[0].samples[1].gaps = 1;
}

static void real_output_is_valid(void **context)
{
    (void)context;
    static void (*const makers[])(struct store_campaign *) = {make_estimated, make_measured,
                                                              make_none, make_forms};
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        char *text = render(makers[i]), name[16];
        snprintf(name, sizeof name, "good-%zu", i);
        keep(name, text);
        free(text);
    }
    int code = validate("", "good-");
    if (code == 77)
        skip();
    assert_int_equal(code, 0);
    assert_int_equal(validate("--refuse", "good-"), 1); /* the test of the tests below */
}

static void strange_input_gives_json_all_the_same(void **context)
{
    (void)context;
    char *text = render(make_broken);
    json_error_t e;
    json_t *value = json_loads(text, 0, &e);
    if (!value)
        fail_msg("%s", e.text);
    assert_string_equal(json_string_value(json_object_get(json_object_get(value, "host"), "title")),
                        "?");
    json_decref(value);
    free(text);
}

static json_t *at(json_t *top, const char *steps)
{
    char copy[128];
    snprintf(copy, sizeof copy, "%s", steps);
    for (char *step = strtok(copy, "/"); step; step = strtok(NULL, "/"))
        top = json_is_array(top) ? json_array_get(top, (size_t)atoi(step))
                                 : json_object_get(top, step);
    if (!top)
        fail_msg("no %s", steps);
    return top;
}

static void doctored_output_is_refused(void **context)
{
    (void)context;
    static const struct {
        const char *object, *key, *value; /* value NULL: the key is removed */
    } changes[] = {
        {"", "schema", "\"wattle/2\""},
        {"", "extra", "1"},
        {"", "host", NULL},
        {"campaign", "seed", NULL},
        {"campaign", "uuid", "\"x\""},
        {"campaign", "finished", "null"}, /* without its reason */
        {"cells/0", "verdict", "\"GOOD\""},
        {"cells/0", "rank", "null"},
        {"cells/0", "load_ms", "\"400\""},
        {"cells/0", "batch", "1.5"},
        {"cells/0", "throughput_per_s", "null"}, /* though it did not fail */
        {"cells/0", "gpu_reason", "null"},
        {"cells/0/latency_ms", "p99", "null"},
        {"cells/0/latency_ms", "p50", "-1"},
        {"cells/0/latency_ms", "ci95_reason", "null"},
        {"cells/0/latency_ms", "p999", "1"},
        {"cells/0/energy", "provenance", "\"guessed\""},
        {"cells/0/energy", "provenance", "\"none\""},
        {"cells/0/energy", "j_per_inference", "null"},
        {"cells/0/energy", "interval_j", "[1]"},
        {"cells/0/energy", "estimate", "null"},
        {"cells/0/energy", "net_reason", "null"},
        {"cells/0/energy/domains/0", "status", "\"FINE\""},
        {"cells/0/energy/domains/0", "j_per_inference", "null"},
        {"cells/0/blocks/0", "runs", "0"},
        {"cells/0/blocks/0", "wall_s", "null"},
        {"cells/0/blocks/0", "reasons", "null"},
        {"cells/0/blocks/0/energy", "j", "null"},
        {"cells/3/error", "text", "\"\""},
    };
    char *good = render(make_estimated);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        json_t *top = json_loads(good, 0, NULL), *object = at(top, changes[i].object);
        if (changes[i].value)
            json_object_set_new(object, changes[i].key,
                                json_loads(changes[i].value, JSON_DECODE_ANY, NULL));
        else
            json_object_del(object, changes[i].key);
        if (!strcmp(changes[i].key, "j_per_inference"))
            json_object_set_new(object, "reason", json_null());
        if (!strcmp(changes[i].key, "j"))
            json_object_set_new(object, "reason", json_null());
        char *text = json_dumps(top, 0), name[100];
        snprintf(name, sizeof name, "bad-%02zu-%s", i, changes[i].key);
        keep(name, text);
        free(text);
        json_decref(top);
    }
    free(good);
    int code = validate("--refuse", "bad-");
    if (code == 77)
        skip();
    assert_int_equal(code, 0);
}

static void values_are_where_they_belong(void **context)
{
    (void)context;
    char *text = render(make_estimated);
    json_t *top = json_loads(text, 0, NULL);
    assert_non_null(top);
    assert_string_equal(json_string_value(at(top, "cells/0/runtime/name")), "builtin");
    assert_int_equal(json_integer_value(at(top, "cells/0/rank")), 1);
    assert_true(fabs(json_real_value(at(top, "cells/0/latency_ms/p50")) - 32.546) < 1e-9);
    assert_true(fabs(json_real_value(at(top, "cells/0/energy/interval_j/0")) - 0.2919) < 1e-9);
    assert_string_equal(json_string_value(at(top, "cells/0/energy/domains/0/meter")), "estimate");
    assert_true(json_is_null(at(top, "cells/0/energy/net_j_per_inference")));
    assert_true(json_is_false(at(top, "cells/2/agreement/ok")));
    assert_string_equal(json_string_value(at(top, "cells/3/error/code")), "crash");
    assert_string_equal(json_string_value(at(top, "cells/3/error/log")),
                        "libfoo: cannot ? allocate\nbye");
    assert_int_equal(json_array_size(at(top, "cells/0/blocks")), 2);
    json_decref(top);
    free(text);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_where_they_belong),
        cmocka_unit_test(real_output_is_valid),
        cmocka_unit_test(strange_input_gives_json_all_the_same),
        cmocka_unit_test(doctored_output_is_refused),
    };
    int code = cmocka_run_group_tests(tests, NULL, NULL);
    int missing = code == 0 && validate("", "good-") == 77;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command))
        return 1;
    if (missing)
        printf("python3-jsonschema is not installed: the schema was not checked\n");
    return code ? code : missing ? 77 : 0;
}
