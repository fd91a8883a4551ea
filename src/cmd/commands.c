#include "cmd/cmd.h"

#include <string.h>

static const struct command all[] = {
    {
        .name = "doctor",
        .summary = "what this machine can measure and run (also: wattle alone)",
        .details = "",
        .options = {OPTION_SYSROOT, OPTION_TDP},
        .run = cmd_doctor,
    },
    {
        .name = "run",
        .operands = "[MODEL...]",
        .summary = "measure time and energy of models on every usable runtime",
        .details = "MODEL is a built-in model (see wattle models), an ONNX file, or a file that "
                   "one of the runtimes reads: OpenVINO's .xml, .tflite, a SavedModel folder or "
                   "frozen .pb; PyTorch's .pt2 and TorchScript .pt, or FILE.py:FUNCTION, a "
                   "function that gives a torch.nn.Module. Each cell (model x form x runtime x "
                   "provider x devices x batch x threads x precision) is measured in --blocks "
                   "fresh processes; outputs of all cells of a model are compared before they are "
                   "ranked. Every block is kept in the store.\n\n"
                   "Exit codes: 0 ok, 1 error, 2 usage, 3 completed but invalid, 5 outputs differ, "
                   "130 interrupted with results kept.",
        .options = {OPTION_RUNTIME, OPTION_WORKER, OPTION_DEVICE, OPTION_PROVIDER,
                    OPTION_PROVIDER_OPTION, OPTION_PROVIDER_LIBRARY, OPTION_REQUIRE_PROVIDER,
                    OPTION_BATCH, OPTION_THREADS, OPTION_PRECISION, OPTION_FORM, OPTION_SPIN,
                    OPTION_GAP, OPTION_DIM, OPTION_SHAPE, OPTION_INPUT, OPTION_EXPECT,
                    OPTION_RANGE, OPTION_DURATION, OPTION_MIN_RUNS, OPTION_BLOCKS, OPTION_WARMUP,
                    OPTION_TIMEOUT, OPTION_SEED, OPTION_VERIFY, OPTION_TDP, OPTION_REQUIRE,
                    OPTION_JSON, OPTION_CSV, OPTION_MARKDOWN, OPTION_STORE, OPTION_SYSROOT,
                    OPTION_DRY_RUN},
        .run = cmd_run,
    },
    {
        .name = "runtimes",
        .operands = "[ACTION...]",
        .summary = "list, install, remove, link and unlink runtimes",
        .details = "Without an action, or with list: every runtime that is known or found, with "
                   "its version, place, size, providers and library, or the reason why it cannot "
                   "be used; OpenVINO is asked for its devices.\n\n"
                   "install NAME[=VERSION]...  with pip, into a folder of its own below "
                   "$WATTLE_HOME/runtimes; several versions can lie side by side. One that is "
                   "there is compared with the hashes in its wattle.sha256, and installed anew "
                   "if damaged.\n"
                   "What the index has of pytorch may bring several GB for CUDA: it is PyTorch's "
                   "own index for CPUs, by --pip-args, that has the small build.\n"
                   "remove NAME[=VERSION]...  what was installed or linked.\n"
                   "link NAME DIR  uses what is there: a virtual environment, an unpacked archive, "
                   "a build or a folder with the library; it goes before an installed one of the "
                   "same version.\n"
                   "unlink NAME[=VERSION]...  forgets links, and leaves what is installed.\n\n"
                   "Found without being told: what was installed or linked, the packages of "
                   "$PATH's python3, and the system's library folders or, instead of those, the "
                   "ones in $WATTLE_LIBRARY_PATH.",
        .options = {OPTION_DRY_RUN, OPTION_PIP_ARGS},
        .run = cmd_runtimes,
    },
    {
        .name = "models",
        .operands = "[build NAME...]",
        .summary = "list the built-in models, or write their files",
        .details = "Files go to $WATTLE_HOME/models ($WATTLE_HOME is ~/.local/share/wattle unless "
                   "set). ONNX files are the same bytes on every machine.\n\n"
                   "--format pytorch makes, of the same weights, a plain PyTorch module and of "
                   "that, in the folder NAME-pytorch: exported.pt2 (torch.export), aoti.pt2 "
                   "(compiled ahead of time for any CPU with AVX2), aoti-native.pt2 (for this CPU) "
                   "and torchscript.pt, all for one batch size, each compared with the module. It "
                   "needs PyTorch (wattle runtimes install pytorch) and g++.",
        .options = {OPTION_FORMAT, OPTION_BATCH},
        .run = cmd_models,
    },
    {
        .name = "convert",
        .operands = "MODEL",
        .summary = "PyTorch to ONNX, or ONNX to PyTorch, with outputs compared",
        .details = "MODEL is PyTorch's: FILE.py:FUNCTION, where FUNCTION() gives a torch.nn.Module "
                   "and example_inputs() of the file its inputs; an exported program (.pt2) or "
                   "TorchScript (.pt). Or it is an ONNX file, to be made an exported program of. A "
                   "built-in model is ONNX, and PyTorch's with --form native.\n\n"
                   "Before the file is accepted, PyTorch and onnxruntime, or the built-in engine, "
                   "run both sides on the example inputs and on seeded ones. Where outputs differ, "
                   "nothing is written and the exit code is 5. How the file was made, and the "
                   "largest errors, are kept in it.\n\n"
                   "It takes an installed PyTorch: wattle runtimes install pytorch.",
        .options = {OPTION_TO, OPTION_OUTPUT, OPTION_EXPORTER, OPTION_OPSET, OPTION_DYNAMIC_BATCH,
                    OPTION_DYNAMIC, OPTION_EXTERNAL_DATA, OPTION_TOLERANCE, OPTION_FORCE,
                    OPTION_FORM, OPTION_RUNTIME, OPTION_DIM, OPTION_SHAPE, OPTION_RANGE, OPTION_SEED,
                    OPTION_TIMEOUT},
        .run = cmd_convert,
    },
    {
        .name = "worker",
        .operands = "[MODEL]",
        .summary = "help to write a worker: your own code, in any language, measured by wattle",
        .details = "A worker is any program that speaks the worker protocol "
                   "(docs/worker-protocol.md); wattle run --worker COMMAND measures it.\n\n"
                   "  wattle worker --python-helper >wattle_worker.py\n"
                   "  wattle worker --check 'python3 my_script.py'\n\n"
                   "COMMAND is one program with its arguments, as for a shell; NAME=VALUE may "
                   "stand before it. MODEL is handed to the worker as it is. Exit codes of "
                   "--check: 0 when every rule holds, 1 otherwise.",
        .options = {OPTION_CHECK, OPTION_PYTHON_HELPER, OPTION_TIMEOUT},
        .run = cmd_worker,
    },
};

const struct command *command_all(size_t *count)
{
    *count = sizeof all / sizeof *all;
    return all;
}

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i].name, name))
            return &all[i];
    return NULL;
}

void command_help(const struct command *c, FILE *out)
{
    struct option_spec specs[COMMAND_OPTION_MAX];
    size_t count = command_options(c, specs);
    fprintf(out, "usage: wattle %s [OPTIONS]%s%s\n\n%s\n\n", c->name, c->operands ? " " : "",
            c->operands ? c->operands : "", c->summary);
    if (c->details[0]) {
        options_wrap(c->details, 0, out);
        fputc('\n', out);
    }
    options_help(specs, count, out);
}

void command_overview(FILE *out)
{
    fprintf(out, "usage: wattle [COMMAND] [OPTIONS]\n\n"
                 "Measures, explains and cuts the energy of deep-learning inference.\n\n");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!all[i].hidden)
            fprintf(out, "  %-8s %-18s %s\n", all[i].name, all[i].operands ? all[i].operands : "",
                    all[i].summary);
    fprintf(out, "\nwattle COMMAND --help tells the options; wattle --version the version.\n");
}
