/* clock.h: time, always as integers in ns. */
#ifndef WATTLE_BASE_CLOCK_H
#define WATTLE_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull

uint64_t clock_monotonic_ns(void);  /* CLOCK_MONOTONIC: the one for durations */
uint64_t clock_boottime_ns(void);   /* also counts suspend: differs from monotonic after one */
uint64_t clock_realtime_ns(void);   /* for dates only, never for durations */
void clock_sleep_until_ns(uint64_t monotonic_ns); /* returns early only on a signal */

/* "2026-11-24T07:30:00Z" (UTC) into text[21]. */
void clock_iso8601(uint64_t realtime_ns, char text[21]);

#endif
