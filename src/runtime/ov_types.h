/* ov_types.h: OpenVINO's numbers for element types, which are not the same in all its versions. */
#ifndef WATTLE_RUNTIME_OV_TYPES_H
#define WATTLE_RUNTIME_OV_TYPES_H

#include <stddef.h>

struct ov_type {
    const char *name;  /* wattle's: "float32"; OpenVINO's where wattle has none: "u4" */
    size_t bytes;      /* of one element; 0: not one that wattle can feed or compare */
};

struct ov_types {
    const char *since; /* the first version that numbers them so */
    int version;       /* that version: 100 major + minor */
    int first;         /* the number of the first entry of the list */
};

/* Of a library of this version; NULL for one that is too old to be known. */
const struct ov_types *ov_types_for(int major, int minor);
/* Never NULL: an entry named "unknown" for a number beyond the list. */
const struct ov_type *ov_types_find(const struct ov_types *types, int number);
/* Numbers that ov_types_find knows are first .. end - 1. */
int ov_types_end(const struct ov_types *types);

#endif
