/* exp.h: the exponential, sigmoid and tanh, without branches, so that the compiler vectorises loops
 * over them (simd.h). Relative errors stay below 5e-7, also near zero. */
#ifndef WATTLE_ENGINE_EXP_H
#define WATTLE_ENGINE_EXP_H

#if defined(__GNUC__) && !defined(__clang__)
/* A floating-point trap is of no use to us, and room for one makes a selection a branch, which is
 * not vectorised. Holds for all that follows in the file that includes this. */
#pragma GCC optimize("no-trapping-math")
#elif defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* not vectorised for every target: still right */
#endif

#include <math.h>
#include <stdint.h>

#define EXP_INLINE static inline __attribute__((always_inline))

/* e^x for x <= 0 is power * (1 + rest): power 2^n, and rest e^r - 1 with |r| <= ln(2)/2 by its
 * series. Never below the smallest normal number. */
EXP_INLINE float exp_parts(float x, float *rest)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const float low = -87.3365f;
    float c = x < low ? low : x;
    float n = (c * 1.44269504f + magic) - magic;
    float r = c - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    *rest = p * r * r + r;
    union {
        uint32_t bits;
        float number;
    } power = {.bits = (uint32_t)((int32_t)n + 127) << 23};
    return power.number;
}

/* For x <= 0. */
EXP_INLINE float exp_negative(float x)
{
    float rest, power = exp_parts(x, &rest);
    return (rest + 1.0f) * power;
}

EXP_INLINE float exp_sigmoid(float x)
{
    float e = exp_negative(-fabsf(x));
    return (x < 0 ? e : 1.0f) / (1.0f + e);
}

/* (1 - e) / (1 + e) with e = e^(-2|x|), where 1 - e is had without cancellation. */
EXP_INLINE float exp_tanh(float x)
{
    float rest, power = exp_parts(-2.0f * fabsf(x), &rest);
    float minus = rest * power + (power - 1.0f);
    return copysignf(minus / (minus + 2.0f), x);
}

#endif
