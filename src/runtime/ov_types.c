#include "runtime/ov_types.h"

/* 2025.1 dropped "undefined" from the front, so that every number became one less; the order is the
 * same. */
static const struct ov_type list[] = {
    {"dynamic", 0},  {"bool", 1},   {"bfloat16", 2}, {"float16", 2}, {"float32", 4}, {"float64", 8},
    {"i4", 0},       {"int8", 1},   {"int16", 2},    {"int32", 4},   {"int64", 8},   {"u1", 0},
    {"u2", 0},       {"u3", 0},     {"u4", 0},       {"u6", 0},      {"uint8", 1},   {"uint16", 2},
    {"uint32", 4},   {"uint64", 8}, {"nf4", 0},      {"f8e4m3", 0},  {"f8e5m2", 0},  {"string", 0},
    {"f4e2m1", 0},   {"f8e8m0", 0},
};

static const struct ov_types tables[] = {
    {.since = "2025.1", .version = 202501, .first = 0},
    {.since = "2024.2", .version = 202402, .first = 1},
};

const struct ov_types *ov_types_for(int major, int minor)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (100 * major + minor >= tables[i].version)
            return &tables[i];
    return NULL;
}

int ov_types_end(const struct ov_types *types)
{
    return types->first + (int)(sizeof list / sizeof *list);
}

const struct ov_type *ov_types_find(const struct ov_types *types, int number)
{
    static const struct ov_type unknown = {"unknown", 0};
    if (number < types->first || number >= ov_types_end(types))
        return &unknown;
    return &list[number - types->first];
}
