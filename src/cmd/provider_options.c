/* provider_options.c: --provider-option, sorted by target; what an adapter can refuse without its
 * library (an option it does not know, a spin time that cannot be set) is refused before anything
 * is measured. */
#include "cmd/request.h"

#include <stdlib.h>
#include <string.h>

#define WORKER "worker"

struct provider_option {
    struct runtime_name scope; /* runtime "": every target; "worker": those of --worker */
    char key[PLAN_NAME_MAX];
    const char *text, *value;  /* the whole, and what follows the "=" */
};

struct options {
    struct provider_option *items;
    size_t count;
};

/* "RUNTIME[:VARIANT]." in front of a key; anything else with a dot is part of the key. */
static const char *take_scope(const char *text, struct runtime_name *scope)
{
    char name[PLAN_NAME_MAX];
    size_t size = strcspn(text, ".=");
    *scope = (struct runtime_name){0};
    if (text[size] != '.' || size >= sizeof name)
        return text;
    snprintf(name, sizeof name, "%.*s", (int)size, text);
    if (!strcmp(name, WORKER) || (!runtime_name_parse(name, scope, NULL) && !scope->version[0] &&
                                  adapter_find(scope->runtime))) {
        snprintf(scope->runtime, sizeof scope->runtime, "%.*s", (int)strcspn(name, ":"), name);
        return text + size + 1;
    }
    *scope = (struct runtime_name){0};
    return text;
}

static int parse_one(const char *text, struct provider_option *o, struct error *e)
{
    const char *key = take_scope(text, &o->scope);
    size_t size = strcspn(key, "=");
    json_t *probe = json_string(text);
    if (!probe)
        return error_set(e, ERROR_USAGE, "provider option '%.60s' is not UTF-8 text", text);
    json_decref(probe);
    if (!key[size] || size == 0 || size >= sizeof o->key)
        return error_set(e, ERROR_USAGE, "provider option '%.60s' is not [RUNTIME.]KEY=VALUE",
                         text);
    snprintf(o->key, sizeof o->key, "%.*s", (int)size, key);
    o->text = text;
    o->value = key + size + 1;
    return 0;
}

static int parse_all(struct options *out, const struct option_list *options, struct error *e)
{
    int result = 0;
    out->items = calloc(options->option_count + 1, sizeof *out->items);
    if (!out->items)
        return error_memory(e);
    for (size_t i = 0; i < options->option_count && !result; i++)
        if (options->options[i].id == OPTION_PROVIDER_OPTION)
            result = parse_one(options->options[i].value, &out->items[out->count++], e);
    return result;
}

/* As -r would mean it; a target of NULL is a worker of the user's own. */
static int means(const struct provider_option *o, const struct request_target *t)
{
    const char *variant = o->scope.variant;
    if (!t)
        return !o->scope.runtime[0] || !strcmp(o->scope.runtime, WORKER);
    if (o->scope.runtime[0] && strcmp(o->scope.runtime, t->found->adapter->name))
        return 0;
    return !variant[0] || !strcmp(variant, t->variant) || !strcmp(variant, t->provider) ||
           !strcmp(variant, found_variant(t->found));
}

static int check_scopes(const struct request *r, const struct options *options, struct error *e)
{
    for (size_t i = 0; i < options->count; i++) {
        const struct provider_option *o = &options->items[i];
        int meant = r->worker_count > 0 && means(o, NULL);
        for (size_t t = 0; t < r->target_count; t++)
            meant |= means(o, &r->targets[t]);
        if (!meant)
            return error_set(e, ERROR_USAGE, "provider option '%.100s': no chosen runtime is "
                             "'%s%s%s'", o->text, o->scope.runtime, o->scope.variant[0] ? ":" : "",
                             o->scope.variant);
    }
    return 0;
}

/* --- what the adapter says -------------------------------------------------------------------- */

static int check_target(const struct request *r, const struct request_target *t, json_t *options,
                        struct error *e)
{
    const struct adapter *a = t->found->adapter;
    const struct adapter_request request = {
        .model = "", .variant = t->variant, .library = t->found->library,
        .version = t->found->version, .provider = t->provider,
        .provider_library = r->provider_library, .require_provider = r->require_provider,
        .precision = r->precision, .spin = r->spin, .threads = r->threads[0], .batch = 1,
        .options = options};
    int result = a->check ? a->check(&request, e) : 0;
    if (result != ERROR_UNSUPPORTED)
        return result;
    e->code = ERROR_USAGE; /* a choice that cannot be */
    return ERROR_USAGE;
}

static int takes(const struct request *r, const struct request_target *t,
                 const struct provider_option *o)
{
    struct error ignored;
    json_t *one = json_pack("{s:s}", o->key, o->value);
    int result = one ? check_target(r, t, one, &ignored) : -1;
    json_decref(one);
    return !result;
}

/* All targets of the adapter, or only the one of that provider. */
static int all_take(const struct request *r, const struct adapter *a, const char *provider,
                    const struct provider_option *o)
{
    int any = 0;
    for (size_t t = 0; t < r->target_count; t++) {
        const struct request_target *target = &r->targets[t];
        if (target->found->adapter != a || (provider && strcmp(provider, target->provider)))
            continue;
        if (!a->check || !takes(r, target, o))
            return 0;
        any = 1;
    }
    return any;
}

/* Whether it knows its options: otherwise it is the library that refuses them, later. */
static int knows_options(const struct request *r, const struct request_target *t)
{
    static const struct provider_option none = {.key = "no such option", .value = ""};
    return !takes(r, t, &none);
}

/* An option that was meant for one of several runtimes, or providers of one: how it is given to
 * that alone. */
static int suggest_scope(const struct request *r, const struct provider_option *o,
                         const struct request_target *refused, struct error *e)
{
    const struct adapter *mine = refused->found->adapter;
    for (size_t t = 0; t < r->target_count; t++) {
        const struct adapter *a = r->targets[t].found->adapter;
        const char *provider = a == mine ? r->targets[t].provider : NULL;
        if (!all_take(r, a, provider, o))
            continue;
        char name[2 * PLAN_NAME_MAX];
        snprintf(name, sizeof name, "%s%s%s", a->name, provider ? ":" : "",
                 provider ? provider : "");
        if (!provider || knows_options(r, &r->targets[t]))
            return error_hint(e, "for %s alone: --provider-option %s.%s=%.40s", name, name, o->key,
                              o->value);
        size_t used = strlen(e->text); /* the hint says what is known: that is more likely meant */
        snprintf(e->text + used, sizeof e->text - used, " (if it is %s's: %s.%s=%.40s)", provider,
                 name, o->key, o->value);
        return (int)e->code;
    }
    return (int)e->code;
}

static int suggest(const struct request *r, const struct options *options,
                   const struct request_target *refused, struct error *e)
{
    for (size_t i = 0; i < options->count; i++)
        if (!options->items[i].scope.runtime[0] && !takes(r, refused, &options->items[i]))
            return suggest_scope(r, &options->items[i], refused, e);
    return (int)e->code;
}

/* The options of one target; those that name it come last and win. */
static json_t *collect(const struct options *options, const struct request_target *t)
{
    json_t *object = json_object();
    for (int scoped = 0; object && scoped < 2; scoped++)
        for (size_t i = 0; i < options->count; i++) {
            const struct provider_option *o = &options->items[i];
            if (scoped == (o->scope.runtime[0] != '\0') && means(o, t))
                json_object_set_new(object, o->key, json_string(o->value));
        }
    return object;
}

static int write_object(json_t *object, char *out, size_t size, struct error *e)
{
    size_t used = object ? json_dumpb(object, out, size - 1, JSON_COMPACT | JSON_SORT_KEYS) : 0;
    if (!object || used == 0)
        return error_memory(e);
    if (used >= size)
        return error_set(e, ERROR_USAGE, "provider options take %zu bytes, at most %zu are kept",
                         used, size - 1);
    out[used] = '\0';
    return 0;
}

static int set_worker(const struct options *options, struct request_worker *w, struct error *e)
{
    json_t *object = collect(options, NULL);
    int result = write_object(object, w->options, sizeof w->options, e);
    json_decref(object);
    return result;
}

static int set_target(const struct request *r, const struct options *options,
                      struct request_target *t, struct error *e)
{
    json_t *object = collect(options, t);
    int result = write_object(object, t->options, sizeof t->options, e);
    if (!result && check_target(r, t, object, e))
        result = suggest(r, options, t, e);
    json_decref(object);
    return result;
}

int provider_options_parse(struct request *r, const struct option_list *options, struct error *e)
{
    struct options all = {0};
    int result = parse_all(&all, options, e);
    if (!result)
        result = check_scopes(r, &all, e);
    for (size_t i = 0; i < r->target_count && !result; i++)
        result = set_target(r, &all, &r->targets[i], e);
    for (size_t i = 0; i < r->worker_count && !result; i++)
        result = set_worker(&all, &r->workers[i], e);
    free(all.items);
    return result;
}
