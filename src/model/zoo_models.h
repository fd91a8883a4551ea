/* zoo_models.h: the writers behind the table in zoo.c. Private to this folder. */
#ifndef WATTLE_MODEL_ZOO_MODELS_H
#define WATTLE_MODEL_ZOO_MODELS_H

#include "model/zoo.h"

int zoo_write_resnet50(const struct zoo_model *m, void *onnx_writer, struct error *e);
int zoo_write_mobilenet_v2(const struct zoo_model *m, void *onnx_writer, struct error *e);
int zoo_write_bert_base(const struct zoo_model *m, void *onnx_writer, struct error *e);

#endif
