#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_boottime_ns(void)
{
    return read_ns(CLOCK_BOOTTIME);
}

uint64_t clock_realtime_ns(void)
{
    return read_ns(CLOCK_REALTIME);
}

void clock_sleep_until_ns(uint64_t monotonic_ns)
{
    struct timespec t = {.tv_sec = (time_t)(monotonic_ns / NS_PER_S),
                         .tv_nsec = (long)(monotonic_ns % NS_PER_S)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

void clock_iso8601(uint64_t realtime_ns, char text[21])
{
    time_t seconds = (time_t)(realtime_ns / NS_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    if (strftime(text, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        text[0] = '\0';
}
