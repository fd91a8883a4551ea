/* BERT-base-uncased (Devlin et al. 2018, arXiv 1810.04805) in the shape exporters give it. Names
 * are HuggingFace's parameter names. A weight that feeds a MatMul is stored [in, out], transposed
 * from PyTorch's Linear; the pooler's, which feeds a Gemm with transB, is [out, in]. */
#include "model/zoo_layers.h"
#include "model/zoo_models.h"

#include <math.h>
#include <stdio.h>

enum { LAYERS = 12, HEADS = 12, WIDTH = 768, HEAD = WIDTH / HEADS, INNER = 3072, VOCABULARY = 30522,
       POSITIONS = 512, TYPES = 2 };

static const char *join(char out[ZOO_NAME], const char *prefix, const char *suffix)
{
    snprintf(out, ZOO_NAME, "%s.%s", prefix, suffix);
    return out;
}

/* MatMul and Add, named <prefix>.matmul and <prefix>; the bias comes first, as PyTorch's exporter
 * has it. */
static void linear(struct zoo_builder *b, const char *prefix, const char *input, int64_t in,
                   int64_t out, float sd)
{
    char weight[ZOO_NAME], bias[ZOO_NAME], product[ZOO_NAME];
    join(weight, prefix, "weight");
    join(bias, prefix, "bias");
    join(product, prefix, "matmul");
    zoo_node(b, "MatMul", product, ZOO_NAMES(input, weight));
    zoo_node(b, "Add", prefix, ZOO_NAMES(bias, product));
    zoo_normal(b, weight, ZOO_SHAPE(in, out), 0.0f, sd, 0);
    zoo_normal(b, bias, ZOO_SHAPE(out), 0.0f, 0.02f, 0);
}

static void layer_norm(struct zoo_builder *b, const char *prefix, const char *input,
                       const char *output)
{
    char weight[ZOO_NAME], bias[ZOO_NAME];
    join(weight, prefix, "weight");
    join(bias, prefix, "bias");
    onnx_writer_node(b->writer, "LayerNormalization", prefix, ZOO_NAMES(input, weight, bias),
                     output);
    onnx_writer_int(b->writer, "axis", -1);
    onnx_writer_float(b->writer, "epsilon", 1e-12f);
    zoo_normal(b, weight, ZOO_SHAPE(WIDTH), 1.0f, 0.1f, 0);
    zoo_normal(b, bias, ZOO_SHAPE(WIDTH), 0.0f, 0.1f, 0);
}

static void transpose(struct zoo_builder *b, const char *name, const char *input,
                      const int64_t perm[4])
{
    zoo_node(b, "Transpose", name, ZOO_NAMES(input));
    onnx_writer_ints(b->writer, "perm", perm, 4);
}

/* [N, S, 768] -> [N, 12, S, 64], or [N, 12, 64, S] for the keys. */
static void project(struct zoo_builder *b, const char *self, const char *which, const char *input,
                    float sd, char out[ZOO_NAME])
{
    static const int64_t rows[4] = {0, 2, 1, 3}, columns[4] = {0, 2, 3, 1};
    char prefix[ZOO_NAME], split[ZOO_NAME];
    join(prefix, self, which);
    linear(b, prefix, input, WIDTH, WIDTH, sd);
    zoo_node(b, "Reshape", join(split, prefix, "split"), ZOO_NAMES(prefix, "attention.split"));
    transpose(b, join(out, prefix, "heads"), split, *which == 'k' ? columns : rows);
}

/* Result: <layer>.attention.self, [N, S, 768]. */
static void attention(struct zoo_builder *b, const char *layer, const char *input,
                      char self[ZOO_NAME])
{
    static const int64_t back[4] = {0, 2, 1, 3};
    char q[ZOO_NAME], k[ZOO_NAME], v[ZOO_NAME], a[ZOO_NAME], c[ZOO_NAME];
    join(self, layer, "attention.self");
    /* Deviations of q and k make the scores' about 1: softmax prefers, but not one token only.
     * Those of v and the output keep this branch well below the residual it is added to: a random
     * attention mostly averages, and twelve of them would otherwise make all tokens equal. */
    project(b, self, "query", input, 0.04f, q);
    project(b, self, "key", input, 0.04f, k);
    project(b, self, "value", input, 0.02f, v);
    zoo_node(b, "MatMul", join(a, self, "scores"), ZOO_NAMES(q, k));
    zoo_node(b, "Div", join(c, self, "scaled"), ZOO_NAMES(a, "attention.sqrt_head"));
    zoo_node(b, "Add", join(a, self, "masked"), ZOO_NAMES(c, "attention_mask.additive"));
    zoo_node(b, "Softmax", join(c, self, "probabilities"), ZOO_NAMES(a));
    onnx_writer_int(b->writer, "axis", -1);
    zoo_node(b, "MatMul", join(a, self, "context"), ZOO_NAMES(c, v));
    transpose(b, join(c, self, "rows"), a, back);
    zoo_node(b, "Reshape", self, ZOO_NAMES(c, "attention.merge"));
}

/* <prefix>.dense, then the residual Add, then <prefix>.LayerNorm into `output`. */
static void dense_residual(struct zoo_builder *b, const char *prefix, const char *input,
                           const char *residual, int64_t in, float sd, const char *output)
{
    char dense[ZOO_NAME], sum[ZOO_NAME], norm[ZOO_NAME];
    linear(b, join(dense, prefix, "dense"), input, in, WIDTH, sd);
    zoo_node(b, "Add", join(sum, prefix, "add"), ZOO_NAMES(dense, residual));
    layer_norm(b, join(norm, prefix, "LayerNorm"), sum, output);
}

/* x * (1 + erf(x / sqrt 2)) * 0.5, operator by operator as exporters spell it. */
static void gelu(struct zoo_builder *b, const char *prefix, const char *input, char out[ZOO_NAME])
{
    char a[ZOO_NAME], c[ZOO_NAME];
    zoo_node(b, "Div", join(a, prefix, "gelu.div"), ZOO_NAMES(input, "gelu.sqrt2"));
    zoo_node(b, "Erf", join(c, prefix, "gelu.erf"), ZOO_NAMES(a));
    zoo_node(b, "Add", join(a, prefix, "gelu.add"), ZOO_NAMES(c, "gelu.one"));
    zoo_node(b, "Mul", join(c, prefix, "gelu.mul"), ZOO_NAMES(input, a));
    zoo_node(b, "Mul", join(out, prefix, "gelu"), ZOO_NAMES(c, "gelu.half"));
}

static void encoder_layer(struct zoo_builder *b, int i, char value[ZOO_NAME])
{
    char layer[ZOO_NAME], self[ZOO_NAME], prefix[ZOO_NAME], middle[ZOO_NAME], inner[ZOO_NAME],
        wide[ZOO_NAME], output[ZOO_NAME];
    snprintf(layer, sizeof layer, "encoder.layer.%d", i);
    attention(b, layer, value, self);
    join(prefix, layer, "attention.output");
    join(middle, layer, "attention.output");
    dense_residual(b, prefix, self, value, WIDTH, 0.02f, middle);
    join(prefix, layer, "intermediate");
    join(inner, prefix, "dense");
    linear(b, inner, middle, WIDTH, INNER, 0.036f);
    gelu(b, prefix, inner, wide);
    join(prefix, layer, "output");
    snprintf(output, sizeof output, "%s", i + 1 < LAYERS ? prefix : "last_hidden_state");
    dense_residual(b, prefix, wide, middle, INNER, 0.02f, output);
    snprintf(value, ZOO_NAME, "%s", output);
}

static void embedding(struct zoo_builder *b, const char *which, const char *indices, int64_t rows)
{
    char name[ZOO_NAME], weight[ZOO_NAME];
    join(name, "embeddings", which);
    join(weight, name, "weight");
    zoo_node(b, "Gather", name, ZOO_NAMES(weight, indices));
    onnx_writer_int(b->writer, "axis", 0);
    zoo_normal(b, weight, ZOO_SHAPE(rows, WIDTH), 0.0f, 0.02f, 0);
}

static void position_ids(struct zoo_builder *b)
{
    int64_t ids[POSITIONS];
    for (int64_t i = 0; i < POSITIONS; i++)
        ids[i] = i;
    struct shape shape = ZOO_SHAPE(1, POSITIONS);
    onnx_writer_constant(b->writer, "embeddings.position_ids", DTYPE_I64, &shape, ids);
    zoo_int64s(b, "embeddings.slice_start", (const int64_t[]){0}, 1);
    zoo_int64s(b, "embeddings.slice_axis", (const int64_t[]){1}, 1);
    zoo_node(b, "Shape", "embeddings.length", ZOO_NAMES("input_ids"));
    onnx_writer_int(b->writer, "start", 1);
    onnx_writer_int(b->writer, "end", 2);
    zoo_node(b, "Slice", "embeddings.positions",
             ZOO_NAMES("embeddings.position_ids", "embeddings.slice_start", "embeddings.length",
                       "embeddings.slice_axis"));
}

static void embeddings(struct zoo_builder *b, char value[ZOO_NAME])
{
    position_ids(b);
    embedding(b, "word_embeddings", "input_ids", VOCABULARY);
    embedding(b, "token_type_embeddings", "token_type_ids", TYPES);
    zoo_node(b, "Add", "embeddings.add_type",
             ZOO_NAMES("embeddings.word_embeddings", "embeddings.token_type_embeddings"));
    embedding(b, "position_embeddings", "embeddings.positions", POSITIONS);
    zoo_node(b, "Add", "embeddings.add_position",
             ZOO_NAMES("embeddings.add_type", "embeddings.position_embeddings"));
    snprintf(value, ZOO_NAME, "embeddings");
    layer_norm(b, "embeddings.LayerNorm", "embeddings.add_position", value);
}

/* (1 - mask) * -10000, [N, 1, 1, S]. Not the lowest float: -10000 already makes exp() exactly 0,
 * stays finite when added to scores and when kept as a half float, and so leaves a row that is
 * masked throughout uniform instead of NaN. */
static void mask(struct zoo_builder *b)
{
    zoo_int64s(b, "attention_mask.axes", (const int64_t[]){1, 2}, 2);
    zoo_scalar(b, "attention_mask.one", 1.0f);
    zoo_scalar(b, "attention_mask.lowest", -10000.0f);
    zoo_node(b, "Unsqueeze", "attention_mask.unsqueeze",
             ZOO_NAMES("attention_mask", "attention_mask.axes"));
    zoo_node(b, "Cast", "attention_mask.cast", ZOO_NAMES("attention_mask.unsqueeze"));
    onnx_writer_int(b->writer, "to", DTYPE_F32);
    zoo_node(b, "Sub", "attention_mask.sub",
             ZOO_NAMES("attention_mask.one", "attention_mask.cast"));
    zoo_node(b, "Mul", "attention_mask.additive",
             ZOO_NAMES("attention_mask.sub", "attention_mask.lowest"));
}

static void pooler(struct zoo_builder *b)
{
    int64_t first = 0;
    onnx_writer_constant(b->writer, "pooler.index", DTYPE_I64, &(struct shape){0}, &first);
    zoo_node(b, "Gather", "pooler.first", ZOO_NAMES("last_hidden_state", "pooler.index"));
    onnx_writer_int(b->writer, "axis", 1);
    zoo_node(b, "Gemm", "pooler.dense",
             ZOO_NAMES("pooler.first", "pooler.dense.weight", "pooler.dense.bias"));
    onnx_writer_float(b->writer, "alpha", 1.0f);
    onnx_writer_float(b->writer, "beta", 1.0f);
    onnx_writer_int(b->writer, "transB", 1);
    onnx_writer_node(b->writer, "Tanh", "pooler.tanh", ZOO_NAMES("pooler.dense"), "pooled");
    zoo_normal(b, "pooler.dense.weight", ZOO_SHAPE(WIDTH, WIDTH), 0.0f, 0.02f, 0);
    zoo_normal(b, "pooler.dense.bias", ZOO_SHAPE(WIDTH), 0.0f, 0.02f, 0);
}

static void interface(struct onnx_writer *w)
{
    static const char *const inputs[] = {"input_ids", "attention_mask", "token_type_ids"};
    for (int i = 0; i < 3; i++)
        onnx_writer_input(w, inputs[i], DTYPE_I64, ZOO_NAMES("N", "S"));
    onnx_writer_output(w, "last_hidden_state", DTYPE_F32, ZOO_NAMES("N", "S", "768"));
    onnx_writer_output(w, "pooled", DTYPE_F32, ZOO_NAMES("N", "768"));
    onnx_writer_metadata(w, "wattle.dim.S", "128");
    onnx_writer_metadata(w, "wattle.input.input_ids", "uniform 0 30521");
    onnx_writer_metadata(w, "wattle.input.attention_mask", "constant 1");
    onnx_writer_metadata(w, "wattle.input.token_type_ids", "uniform 0 1");
}

static void shared_constants(struct zoo_builder *b)
{
    zoo_int64s(b, "attention.split", (const int64_t[]){0, 0, HEADS, HEAD}, 4);
    zoo_int64s(b, "attention.merge", (const int64_t[]){0, 0, WIDTH}, 3);
    zoo_scalar(b, "attention.sqrt_head", 8.0f);
    zoo_scalar(b, "gelu.sqrt2", sqrtf(2.0f));
    zoo_scalar(b, "gelu.one", 1.0f);
    zoo_scalar(b, "gelu.half", 0.5f);
}

int zoo_write_bert_base(const struct zoo_model *m, void *onnx_writer, struct error *e)
{
    struct zoo_builder b = {onnx_writer, m->seed};
    char value[ZOO_NAME];
    (void)e;
    interface(onnx_writer);
    shared_constants(&b);
    mask(&b);
    embeddings(&b, value);
    for (int i = 0; i < LAYERS; i++)
        encoder_layer(&b, i, value);
    pooler(&b);
    return 0;
}
