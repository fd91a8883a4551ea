/* test.h: what every unit test includes: cmocka with the headers it wants first. */
#ifndef WATTLE_TEST_H
#define WATTLE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
