#include "model/half.h"

#include <math.h>

/* A format with a sign, exponent bits and `fraction` bits, in 16 bits. */
struct format {
    int fraction, bias;
};

static const struct format half = {10, 15}, bfloat = {7, 127};

static double decode(uint16_t bits, struct format f)
{
    int largest = 2 * f.bias + 1, exponent = bits >> f.fraction & largest;
    double fraction = bits & ((1 << f.fraction) - 1), x;
    if (exponent == largest)
        x = fraction > 0 ? NAN : INFINITY;
    else if (exponent == 0)
        x = ldexp(fraction, 1 - f.bias - f.fraction);
    else
        x = ldexp(fraction + (1 << f.fraction), exponent - f.bias - f.fraction);
    return bits & 0x8000 ? -x : x;
}

/* Counts in units of the last place: a carry out of the fraction lands in the exponent by itself,
 * up to infinity. nearbyint rounds ties to even. */
static uint16_t encode(double x, struct format f)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    int exponent, infinite = (2 * f.bias + 1) << f.fraction;
    if (isnan(x))
        return (uint16_t)(sign | infinite | 1 << (f.fraction - 1));
    x = fabs(x);
    if (isinf(x))
        return (uint16_t)(sign | infinite);
    frexp(x, &exponent);
    exponent = x > 0 && exponent - 1 > 1 - f.bias ? exponent - 1 : 1 - f.bias;
    if (exponent > f.bias)
        return (uint16_t)(sign | infinite);
    int units = (int)nearbyint(ldexp(x, f.fraction - exponent));
    int whole = units + ((exponent + f.bias - 1) << f.fraction);
    return (uint16_t)(sign | (whole < infinite ? whole : infinite));
}

double half_to_double(uint16_t bits)
{
    return decode(bits, half);
}

double bfloat_to_double(uint16_t bits)
{
    return decode(bits, bfloat);
}

uint16_t half_from_double(double x)
{
    return encode(x, half);
}

uint16_t bfloat_from_double(double x)
{
    return encode(x, bfloat);
}
