#include "measure/record.h"

#include <math.h>
#include <stdlib.h>

static void noise_init(struct host_noise *n)
{
    n->load_1min = n->frequency_mhz = n->temperature_c = NAN;
}

void record_init(struct record *r)
{
    *r = (struct record){.energy_meter = -1};
    r->settings = json_object();
    r->environment = json_object();
    r->shapes = json_object();
    r->reasons = json_array();
    r->load_ms = r->first_ms = NAN;
    r->warmup_s = r->wall_s = r->user_s = r->system_s = NAN;
    noise_init(&r->noise_before);
    noise_init(&r->noise_after);
}

void record_release(struct record *r)
{
    json_decref(r->settings);
    json_decref(r->environment);
    json_decref(r->shapes);
    json_decref(r->reasons);
    free(r->latency_ns);
    for (size_t i = 0; i < r->meter_count; i++) {
        free(r->meters[i].domains);
        free(r->meters[i].samples);
    }
    *r = (struct record){.energy_meter = -1};
}

int64_t record_loaded_batch(json_t *inputs)
{
    int64_t common = -1;
    size_t i;
    json_t *input;
    json_array_foreach(inputs, i, input) {
        json_t *shape = json_object_get(input, "shape");
        int64_t first = json_integer_value(json_array_get(shape, 0));
        if (json_array_size(shape) > 1)
            common = common < 0 || common == first ? first : 0;
    }
    return common > 0 ? common : 1;
}
