/* fake.h: a meter that does as it is told, for tests of what reads meters. Opened by the name
 * "fake"; has no domain until a script adds one. */
#ifndef WATTLE_METER_FAKE_H
#define WATTLE_METER_FAKE_H

#include <wattle/meter.h>

/* What one read of one domain sees. */
struct meter_fake_step {
    uint64_t raw_uj;
    enum wattle_status status; /* other than WATTLE_OK: the read fails with it */
};

/* Appends a domain that is part of the sum and reads steps[] in turn, the last one for ever; the
 * array stays the caller's. range_uj and unit_uj as for a real counter. Returns 0, or -1 when
 * meter is not the fake or is full. */
int meter_fake_domain(struct wattle_meter *meter, const char *name, uint64_t range_uj,
                      double unit_uj, const struct meter_fake_step *steps, size_t count);

#endif
