/* half.h: the two 16-bit floating-point formats, to and from double. */
#ifndef WATTLE_MODEL_HALF_H
#define WATTLE_MODEL_HALF_H

#include <stdint.h>

double half_to_double(uint16_t bits);
double bfloat_to_double(uint16_t bits);
/* Rounded to nearest, ties to even; too large becomes infinite. */
uint16_t half_from_double(double x);
uint16_t bfloat_from_double(double x);

#endif
