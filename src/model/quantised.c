#include "model/onnx.h"

#include <ctype.h>
#include <string.h>

/* Quantize-, Dequantize-, DynamicQuantize-, MatMulInteger...; QLinear..., QAttention, QGemm. */
static int is_quantised(const struct onnx_node *n)
{
    const char *name = n->op_type;
    return strstr(name, "uantize") || strstr(name, "Integer") || !strcmp(name, "MatMulNBits") ||
           (name[0] == 'Q' && isupper((unsigned char)name[1]));
}

/* Graphs in graphs are read to a limited depth. */
static int any(const struct onnx_node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_quantised(&nodes[i]))
            return 1;
        for (size_t k = 0; k < nodes[i].attribute_count; k++) {
            const struct onnx_graph *g = nodes[i].attributes[k].graph;
            if (g && any(g->nodes, g->node_count))
                return 1;
        }
    }
    return 0;
}

int onnx_is_quantised(const struct onnx_model *m)
{
    for (size_t i = 0; i < m->function_count; i++)
        if (any(m->functions[i].nodes, m->functions[i].node_count))
            return 1;
    return any(m->nodes, m->node_count);
}
