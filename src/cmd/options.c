#include "cmd/cmd.h"

/* The one source of option text. Spelled the same in every command that takes it. */
static const struct option_spec all[] = {
    {OPTION_RUNTIME, 'r', "runtime", "RUNTIME[:VARIANT][@VERSION][,...]",
     "Runtimes to measure, as wattle runtimes lists them: onnxruntime is the newest of each of its "
     "packages, onnxruntime@1.31.1 a certain one, onnxruntime:openvino the package "
     "onnxruntime-openvino or a provider (default: the newest of every usable one)."},
    {OPTION_WORKER, 0, "worker", "COMMAND",
     "Measure a program of your own that speaks the worker protocol (docs/worker-protocol.md), "
     "such as 'python3 infer.py'; may be repeated. Without -r nothing else is measured, and no "
     "MODEL is needed."},
    {OPTION_PROVIDER, 0, "provider", "NAME[,NAME...]",
     "Execution providers (default: what the installation is made for). builtin has cpu (oneDNN "
     "and kernels of its own) and reference (plain C, slow, for checking)."},
    {OPTION_PROVIDER_OPTION, 0, "provider-option", "[RUNTIME[:VARIANT].]KEY=VALUE",
     "Hand an option to every chosen runtime, or to the named one alone, as in "
     "onnxruntime.memory_arena=off (worker.KEY=VALUE: to those of --worker); may be repeated. Keys "
     "that a runtime does not know are refused."},
    {OPTION_PROVIDER_LIBRARY, 0, "provider-library", "FILE",
     "Register a plug-in provider with onnxruntime and run on it: a shared library or the name of "
     "an installed package such as onnxruntime-ep-webgpu."},
    {OPTION_REQUIRE_PROVIDER, 0, "require-provider", NULL,
     "Fail where a part of the model would run on another provider than the one asked for; what "
     "tensorrt leaves to cuda counts as another's."},
    {OPTION_DEVICE, 'd', "device", "ID[+ID...][,...]",
     "Devices of the provider (default: its first one): 0,1 are two rows, 0+1 is one that uses "
     "both."},
    {OPTION_BATCH, 'b', "batch", "N[,N...]",
     "Batch sizes (default: what a given dimension, given inputs or the file say, or else 1)."},
    {OPTION_THREADS, 't', "threads", "N[,N...]",
     "Intra-op threads (default: every CPU this process may use)."},
    {OPTION_PRECISION, 0, "precision", "NAME", "Arithmetic: f32 (default)."},
    {OPTION_FORM, 0, "form", "native|converted[,...]",
     "What a runtime with an idiom of its own (pytorch) is given: native is the network written "
     "for it, with the same weights (the default for built-in models); converted is made from the "
     "ONNX file by a converter (all that other files have). Both are compared with the file."},
    {OPTION_SPIN, 0, "spin", "short|off|default|USEC",
     "Busy-waiting of a runtime's idle threads: short (the default) for at most 0.25 ms, enough "
     "between two layers and over before the next request; off for none; default for the runtime's "
     "own habit; or microseconds."},
    {OPTION_GAP, 0, "gap", "TIME",
     "Pause between two requests, the worker asleep, such as 20ms (default 0: none). What idle "
     "threads cost shows only then."},
    {OPTION_DIM, 0, "dim", "NAME=SIZE",
     "Size of a symbolic dimension, such as S=128; may be repeated. That of the batch is as -b."},
    {OPTION_SHAPE, 0, "shape", "INPUT=[TYPE:]SIZExSIZE...",
     "Shape of an input whose sizes are free, such as input=1x3x224x224; for files that do not "
     "tell it also the element type, such as ids=int64:1x128; may be repeated."},
    {OPTION_INPUT, 0, "input", "[INPUT=]FILE",
     "Feed what a file holds: .npy, .npz, an ONNX tensor .pb, or a folder with input_0.pb or "
     "INPUT.npy files; may be repeated. Inputs that it lacks are made up."},
    {OPTION_EXPECT, 0, "expect", "[OUTPUT=]FILE",
     "Compare the outputs of every cell with those of a file, as for --input; may be repeated. "
     "Where they differ, the exit code is 5."},
    {OPTION_RANGE, 0, "range", "INPUT=LOW..HIGH",
     "Make up this input uniformly between two values, both included; may be repeated."},
    {OPTION_DURATION, 0, "duration", "TIME",
     "Length of the measured window of each block, such as 500ms, 2m or a bare number of seconds "
     "(default 10s)."},
    {OPTION_MIN_RUNS, 0, "min-runs", "N", "Fewest inferences in a window (default 10)."},
    {OPTION_BLOCKS, 0, "blocks", "N",
     "Fresh processes per cell, interleaved in a seeded random order (default 6)."},
    {OPTION_WARMUP, 0, "warmup", "TIME",
     "Longest warm-up; it ends when latency shows no slope (default 20s)."},
    {OPTION_TIMEOUT, 0, "timeout", "TIME",
     "A load or an inference that takes longer is killed and becomes a failed row (default 5m)."},
    {OPTION_SEED, 0, "seed", "N", "Seed of inputs and of the order of blocks (default 1)."},
    {OPTION_VERIFY, 0, "verify", NULL,
     "Also compare outputs with the built-in engine's plain-C reference kernels."},
    {OPTION_TDP, 0, "tdp", "WATT",
     "Thermal design power of the CPU package: narrows the estimate where there is no counter."},
    {OPTION_REQUIRE, 0, "require", "measured",
     "Refuse to run where energy would only be estimated."},
    {OPTION_JSON, 0, "json", "FILE", "Write the result as JSON, schema wattle/1 (- is stdout)."},
    {OPTION_CSV, 0, "csv", "FILE", "Write the result as CSV (- is stdout)."},
    {OPTION_MARKDOWN, 0, "markdown", "FILE", "Write the result as Markdown (- is stdout)."},
    {OPTION_STORE, 0, "store", "FILE",
     "SQLite file that keeps every block (default $WATTLE_HOME/wattle.db)."},
    {OPTION_SYSROOT, 0, "sysroot", "DIR",
     "Read /sys and /proc of the machine under this folder (recorded or simulated trees)."},
    {OPTION_DRY_RUN, 0, "dry-run", NULL, "Say what would be done, and stop."},
    {OPTION_PIP_ARGS, 0, "pip-args", "ARGUMENTS",
     "Arguments for pip install, separated by blanks, such as an index or a proxy; may be "
     "repeated."},
    {OPTION_FORMAT, 0, "format", "onnx|pytorch", "Format of the files (default onnx)."},
    {OPTION_CHECK, 0, "check", "COMMAND",
     "Start this program as wattle run --worker does and hold it against the worker protocol: a "
     "line for each rule, ok or WRONG with what was expected, what came and what to do."},
    {OPTION_PYTHON_HELPER, 0, "python-helper", NULL,
     "Print wattle_worker.py, with which a Python script becomes a worker in ten lines; it begins "
     "with how."},
    {OPTION_TO, 0, "to", "onnx|pytorch", "What to make (default: by the ending of --output)."},
    {OPTION_OUTPUT, 'o', "output", "FILE", "The file to write: .onnx, or .pt2 for pytorch."},
    {OPTION_EXPORTER, 0, "exporter", "dynamo|torchscript",
     "Which of PyTorch's exporters writes ONNX: dynamo (default) takes the program that "
     "torch.export finds, torchscript traces one run."},
    {OPTION_OPSET, 0, "opset", "N",
     "Version of ONNX's operators: 17 to 23, dynamo from 18 on (default 20)."},
    {OPTION_DYNAMIC_BATCH, 0, "dynamic-batch", NULL,
     "Leave the batch free: the first axis of every input, named batch. It is compared with other "
     "batches too."},
    {OPTION_DYNAMIC, 0, "dynamic", "INPUT:AXIS=NAME",
     "Leave this axis of an input free too, counted from 0, and call its size NAME; axes of one name "
     "have one size. It is compared with other sizes too. May be repeated."},
    {OPTION_EXTERNAL_DATA, 0, "external-data", NULL,
     "Keep weights in FILE.data beside the ONNX file; needed, and done, beyond 1.9 GB."},
    {OPTION_TOLERANCE, 0, "tolerance", "X",
     "Largest error of an output that is accepted, relative to its largest value (default 1e-4)."},
    {OPTION_FORCE, 'f', "force", NULL, "Replace a file that is there."},
    {OPTION_QUIET, 'q', "quiet", NULL, "No progress, notes or warnings on stderr."},
    {OPTION_VERBOSE, 'v', "verbose", NULL, "More detail on stderr."},
    {OPTION_HELP, 'h', "help", NULL, "This text."},
};

size_t command_options(const struct command *c, struct option_spec *specs)
{
    static const int common[] = {OPTION_QUIET, OPTION_VERBOSE, OPTION_HELP, 0};
    const int *lists[] = {c->options, common};
    size_t count = 0;
    for (size_t l = 0; l < 2; l++)
        for (const int *id = lists[l]; *id; id++)
            for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                if (all[i].id == *id && count < COMMAND_OPTION_MAX)
                    specs[count++] = all[i];
    return count;
}

static size_t times_given(const struct option_list *list, int id)
{
    size_t count = 0;
    for (size_t i = 0; i < list->option_count; i++)
        count += list->options[i].id == id;
    return count;
}

int command_check_lists(const struct option_list *list, struct error *e)
{
    static const struct {
        int id;
        const char *name, *example;
    } lists[] = {{OPTION_RUNTIME, "runtime", "-r builtin,onnxruntime"},
                 {OPTION_PROVIDER, "provider", "--provider cpu,reference"},
                 {OPTION_DEVICE, "device", "-d 0,1"},
                 {OPTION_BATCH, "batch", "-b 1,8"},
                 {OPTION_THREADS, "threads", "-t 1,2"},
                 {OPTION_FORM, "form", "--form native,converted"}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        size_t times = times_given(list, lists[i].id);
        if (times < 2)
            continue;
        error_set(e, ERROR_USAGE, "--%s is given %zu times", lists[i].name, times);
        return error_hint(e, "it takes a list, as in %s", lists[i].example);
    }
    return 0;
}
