#include "meter/fake.h"
#include "meter/meter.h"

#include <stdlib.h>

struct fake {
    struct {
        const struct meter_fake_step *steps;
        size_t count, next;
    } scripts[WATTLE_DOMAIN_MAX];
};

static void fake_read(struct wattle_meter *m, struct wattle_reading *out)
{
    struct fake *f = m->state;
    for (size_t i = 0; i < m->count; i++) {
        const struct meter_fake_step *step = &f->scripts[i].steps[f->scripts[i].next];
        if (f->scripts[i].next + 1 < f->scripts[i].count)
            f->scripts[i].next++;
        if (step->status == WATTLE_OK)
            counter_read(&m->counters[i], meter_now_ns(m), step->raw_uj, &out[i]);
        else
            counter_fail(&m->counters[i], meter_now_ns(m), step->status, &out[i]);
    }
}

int meter_fake_domain(struct wattle_meter *m, const char *name, uint64_t range_uj, double unit_uj,
                      const struct meter_fake_step *steps, size_t count)
{
    size_t i = m->count;
    if (m->driver != &meter_fake || !count || !meter_add(m, name))
        return -1;
    m->domains[i].provenance = WATTLE_MEASURED;
    m->domains[i].resolution_uj = unit_uj;
    m->domains[i].wrap_uj = range_uj;
    m->domains[i].period_ns = 1000000;
    counter_init(&m->counters[i], range_uj, unit_uj, COUNTER_ZONE_LIMIT_W);
    struct fake *f = m->state;
    f->scripts[i].steps = steps;
    f->scripts[i].count = count;
    return 0;
}

static int fake_open(struct wattle_meter *m)
{
    m->state = calloc(1, sizeof(struct fake));
    return m->state ? 0 : ERROR_MEMORY;
}

static void fake_close(struct wattle_meter *m)
{
    free(m->state);
}

const struct meter_driver meter_fake = {
    .name = "fake",
    .open = fake_open,
    .read = fake_read,
    .close = fake_close,
};
