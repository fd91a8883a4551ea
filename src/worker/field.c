#include "worker/field.h"

static int missing(const char *name, struct error *e)
{
    return error_set(e, ERROR_USAGE, "\"%s\" is missing", name);
}

static int mistyped(const char *name, const char *type, struct error *e)
{
    return error_set(e, ERROR_USAGE, "\"%s\" is not %s", name, type);
}

int field_integer(json_t *command, const char *name, int64_t low, int64_t high, int64_t *out,
                  struct error *e)
{
    json_t *value = json_object_get(command, name);
    if (!value)
        return missing(name, e);
    if (!json_is_integer(value))
        return mistyped(name, "an integer", e);
    int64_t number = json_integer_value(value);
    if (number < low || number > high)
        return error_set(e, ERROR_USAGE, "\"%s\" %lld is outside %lld..%lld", name,
                         (long long)number, (long long)low, (long long)high);
    *out = number;
    return 0;
}

int field_integer_or(json_t *command, const char *name, int64_t low, int64_t high,
                     int64_t fallback, int64_t *out, struct error *e)
{
    *out = fallback;
    return json_object_get(command, name) ? field_integer(command, name, low, high, out, e) : 0;
}

int field_text(json_t *command, const char *name, const char *fallback, const char **out,
               struct error *e)
{
    json_t *value = json_object_get(command, name);
    *out = fallback;
    if (!value)
        return fallback ? 0 : missing(name, e);
    if (!json_is_string(value))
        return mistyped(name, "a text", e);
    *out = json_string_value(value);
    return 0;
}

int field_array(json_t *command, const char *name, json_t **out, struct error *e)
{
    *out = json_object_get(command, name);
    return *out && !json_is_array(*out) ? mistyped(name, "an array", e) : 0;
}

int field_object(json_t *command, const char *name, json_t **out, struct error *e)
{
    *out = json_object_get(command, name);
    return *out && !json_is_object(*out) ? mistyped(name, "an object", e) : 0;
}
