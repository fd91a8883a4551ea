#include "runtime/adapters.h"

#include "base/buffer.h"
#include "base/text.h"

#include <string.h>

enum { LIST_MAX = 220 };

static int refuse(const char *runtime, const char *name, const struct adapter_option *known,
                  size_t count, struct error *e)
{
    struct buffer list;
    buffer_init(&list, LIST_MAX);
    for (size_t i = 0; i < count; i++)
        buffer_format(&list, "%s%s", i ? ", " : "", known[i].name);
    error_set(e, ERROR_USAGE, "runtime '%s' has no option '%.60s'", runtime, name);
    int code = error_hint(e, "it knows: %s", count ? buffer_string(&list) : "none");
    buffer_release(&list);
    return code;
}

static int set_one(const char *runtime, const char *name, json_t *value,
                   const struct adapter_option *known, size_t count, void *target, struct error *e)
{
    const char *text = json_string_value(value);
    if (!text)
        return error_set(e, ERROR_USAGE, "option '%.60s' of runtime '%s' is not a text", name,
                         runtime);
    for (size_t i = 0; i < count; i++)
        if (!strcmp(known[i].name, name))
            return known[i].set(target, name, text, e);
    return refuse(runtime, name, known, count, e);
}

int adapter_options(const char *runtime, json_t *options, const struct adapter_option *known,
                    size_t count, void *target, struct error *e)
{
    const char *name;
    json_t *value;
    json_object_foreach(options, name, value) {
        int code = set_one(runtime, name, value, known, count, target, e);
        if (code)
            return code;
    }
    return 0;
}

int adapter_check_batch(int64_t batch, const struct adapter_tensor *inputs, size_t count,
                        struct error *e)
{
    for (size_t i = 0; i < count; i++)
        for (int k = 0; k < inputs[i].rank; k++) /* a sequence may come first */
            if (inputs[i].dims[k] == batch)
                return 0;
    if (batch == 1)
        return 0;
    error_set(e, ERROR_UNSUPPORTED, "batch %lld: no input of the model has it as a size",
              (long long)batch);
    return error_hint(e, "the file fixes its batch; leave out -b, or use a file with a free one");
}
