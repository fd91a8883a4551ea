// pytorch.cpp: TorchScript behind a C interface. wattle compiles it once against an installed
// PyTorch and loads it in a worker. Tensors are passed as PyTorch's own C interface passes them, so
// that all else (making inputs, reading outputs) is the same code as for packages that are compiled
// ahead of time.
//
// No exception leaves it; the text of the last one is kept.
#include <torch/csrc/inductor/aoti_torch/utils.h>
#include <torch/script.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace {

std::string last_error;

struct Model {
    torch::jit::Module module;
    std::vector<std::string> inputs, outputs;
    size_t required = 0;  // inputs that have no default
    bool counted = false; // how many outputs there are is known before a run
};

template <typename Function>
int32_t guarded(Function function)
{
    try {
        c10::InferenceMode guard;
        function();
        return 0;
    } catch (const c10::Error &error) {
        last_error = error.what_without_backtrace();
    } catch (const std::exception &error) {
        last_error = error.what();
    } catch (...) {
        last_error = "an exception of no known kind";
    }
    return 1;
}

void fail(const std::string &text)
{
    throw std::runtime_error(text);
}

// Tensors are all that is given: what is something else must have a default.
void check_input(const c10::Argument &argument)
{
    auto type = argument.type();
    if (const auto optional = type->cast<c10::OptionalType>())
        type = optional->getElementType();
    if (type->kind() != c10::TypeKind::TensorType && !argument.default_value())
        fail("input '" + argument.name() + "' of its forward is no tensor but " +
             argument.type()->annotation_str() + ": give it a default value, or make it a tensor");
}

void name_inputs(Model &model, const c10::FunctionSchema &schema)
{
    bool is_self = true;
    for (const auto &argument : schema.arguments()) {
        if (!is_self)
            check_input(argument);
        if (!is_self)
            model.inputs.push_back(argument.name());
        if (!is_self && !argument.default_value())
            model.required = model.inputs.size();
        is_self = false;
    }
}

// The values a model gives, counted where its graph makes them; an output is named after its key,
// or after its value, where those have names of somebody's.
bool count_outputs(Model &model, const torch::jit::Value *value, const std::string &name)
{
    const auto *node = value->node();
    const auto &type = value->type();
    if (type->kind() == c10::TypeKind::TensorType) {
        model.outputs.push_back(name);
        return true;
    }
    if (type->kind() == c10::TypeKind::NoneType)
        return true;
    if (node->kind() == c10::prim::DictConstruct) {
        for (size_t i = 0; i + 1 < node->inputs().size(); i += 2) {
            auto key = torch::jit::toIValue(node->input(i));
            if (!count_outputs(model, node->input(i + 1),
                               key && key->isString() ? key->toStringRef() : ""))
                return false;
        }
        return true;
    }
    if (node->kind() == c10::prim::TupleConstruct || node->kind() == c10::prim::ListConstruct) {
        for (const auto *item : node->inputs())
            if (!count_outputs(model, item, ""))
                return false;
        return true;
    }
    const auto tuple = type->cast<c10::TupleType>();
    if (!tuple)
        return false;
    for (const auto &element : tuple->elements()) {
        if (element->kind() == c10::TypeKind::NoneType)
            continue;
        if (element->kind() != c10::TypeKind::TensorType)
            return false;
        model.outputs.emplace_back();
    }
    return true;
}

void name_outputs(Model &model, const torch::jit::Method &forward)
{
    const auto graph = forward.graph();
    model.counted = true;
    for (const auto *value : graph->outputs())
        model.counted = model.counted && count_outputs(model, value, "");
    if (!model.counted)
        model.outputs.clear();
    for (size_t i = 0; i < model.outputs.size(); i++)
        if (model.outputs[i].empty())
            model.outputs[i] = "output" + std::to_string(i);
}

void flatten(const c10::IValue &value, std::vector<at::Tensor> &out)
{
    if (value.isTensor())
        out.push_back(value.toTensor());
    else if (value.isTuple())
        for (const auto &item : value.toTupleRef().elements())
            flatten(item, out);
    else if (value.isTensorList())
        for (const auto &item : value.toTensorVector())
            out.push_back(item);
    else if (value.isList())
        for (const c10::IValue &item : value.toListRef())
            flatten(item, out);
    else if (value.isGenericDict())
        for (const auto &item : value.toGenericDict())
            flatten(item.value(), out);
    else if (!value.isNone()) // which is left out, as where the module itself is run
        fail("the model gives a " + value.tagKind() + ", wattle takes tensors");
}

const char *name_of(const std::vector<std::string> &names, size_t index)
{
    return index < names.size() ? names[index].c_str() : nullptr;
}

} // namespace

extern "C" {

const char *wattle_pt_error(void)
{
    return last_error.c_str();
}

// mode: 0 as it is, 1 frozen, 2 optimized for inference
int32_t wattle_pt_load(const char *path, const char *device, int mode, void **out)
{
    return guarded([&] {
        auto model = std::make_unique<Model>();
        model->module = torch::jit::load(path, c10::Device(device));
        model->module.eval();
        auto forward = model->module.get_method("forward");
        name_inputs(*model, forward.function().getSchema());
        name_outputs(*model, forward);
        if (mode == 1)
            model->module = torch::jit::freeze(model->module);
        if (mode == 2)
            model->module = torch::jit::optimize_for_inference(model->module);
        *out = model.release();
    });
}

void wattle_pt_free(void *model)
{
    guarded([&] { delete static_cast<Model *>(model); });
}

// Of outputs -1 where only a run tells.
void wattle_pt_counts(void *model, size_t *inputs, size_t *required, int64_t *outputs)
{
    const auto *m = static_cast<Model *>(model);
    *inputs = m->inputs.size();
    *required = m->required;
    *outputs = m->counted ? static_cast<int64_t>(m->outputs.size()) : -1;
}

const char *wattle_pt_input(void *model, size_t index)
{
    return name_of(static_cast<Model *>(model)->inputs, index);
}

const char *wattle_pt_output(void *model, size_t index)
{
    return name_of(static_cast<Model *>(model)->outputs, index);
}

// As a package's program has it: takes the inputs over, gives new tensors.
int32_t wattle_pt_run(void *model, void **inputs, size_t input_count, void **outputs,
                      size_t output_count, void *, void *)
{
    std::vector<c10::IValue> values;
    values.reserve(input_count);
    for (size_t i = 0; i < input_count; i++) {
        std::unique_ptr<at::Tensor> tensor(torch::aot_inductor::tensor_handle_to_tensor_pointer(
            static_cast<AtenTensorHandle>(inputs[i])));
        values.emplace_back(*tensor);
    }
    return guarded([&] {
        std::vector<at::Tensor> results;
        flatten(static_cast<Model *>(model)->module.forward(std::move(values)), results);
        if (results.size() != output_count)
            fail("the model gave " + std::to_string(results.size()) + " outputs, not " +
                 std::to_string(output_count));
        for (size_t i = 0; i < output_count; i++)
            outputs[i] = torch::aot_inductor::new_tensor_handle(std::move(results[i]));
    });
}
}
