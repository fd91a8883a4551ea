"""Lets wattle measure Python code: `wattle run --worker 'python3 script.py'`.

    import numpy as np
    import wattle_worker

    def load(request):
        global weights
        weights = np.ones((4, 8), "float32")
        return {"inputs": [("x", "float32", [request["batch"], 4])],
                "outputs": [("y", "float32", [request["batch"], 8])]}

    def infer(inputs):
        return inputs[0] @ weights

    wattle_worker.run(load, infer)

load(request) is called once. It gets wattle's request, a dict: "model", "batch", "threads", "dims",
"shapes", "options" and more, and takes those of "options" that it knows with pop; what is left is
refused. A load() without a parameter refuses every option. It returns a dict with
    "inputs", "outputs"  lists of (name, type, shape) or (name, type, shape, (low, high)), which are
                         the values an input takes; or of dicts with "name", "type", "shape" and
                         "range". Types are those of numpy, and bfloat16. Either may be missing.
    "runtime", "version", "library", "provider"   texts; what ran it. All may be missing.
    "settings"           a dict of effective settings; wattle stores it.
    "infer", "bind"      functions in place of those given to run(), where only the request tells

infer(inputs) is one inference, and its time is what is measured: when it returns, the outputs are
ready. Inputs come in the order of load's, as numpy arrays on the memory that wattle filled when the
program has imported numpy, else as flat memoryviews (of raw 16-bit words for float16 and bfloat16).
It must not write to them. It returns an array, a sequence of arrays in the order of load's outputs,
or a dict NAME -> ARRAY; an array is anything of numpy, or that numpy or memoryview can look at.

run() takes more functions that are not part of what is timed:
    prepare(inputs)   makes of each set of inputs, once, what infer gets
    bind(inputs)      the same before each run, as where inputs are copied to a device
    collect(result)   makes of infer's result what is described above
    device_memory()   bytes held on accelerators, or a text why that is not known, or None

raise Refused(text, code, hint) tells wattle in one line why something cannot be done; any other
exception is told with its type and place, and with a traceback in the worker's log. print() goes to
the log too. The garbage collector does not run inside the measured window.

Needs Python 3.8 and the standard library. The protocol is docs/worker-protocol.md of wattle.
"""
import array
import fcntl
import gc
import inspect
import json
import mmap
import os
import platform
import resource
import select
import signal
import sys
import time
import traceback

PROTOCOL = 1
LINE_MAX = 1 << 20
CHUNK = 1 << 18
MAGIC = 0x676E697265747477
CODES = ("usage", "io", "memory", "format", "unsupported", "permission", "timeout", "crash",
         "mismatch")
INTEGER_MAX = (1 << 63) - 1

# Bytes of an element; the letter by which struct, array and memoryview know it.
TYPES = {
    "float32": (4, "f"), "float64": (8, "d"), "float16": (2, "H"), "bfloat16": (2, "H"),
    "int8": (1, "b"), "int16": (2, "h"), "int32": (4, "i"), "int64": (8, "q"),
    "uint8": (1, "B"), "uint16": (2, "H"), "uint32": (4, "I"), "uint64": (8, "Q"), "bool": (1, "?"),
}
LETTERS = {letter: name for name, (_, letter) in TYPES.items()} # the last of a letter: uint16 of H

# Words of the ring's memory, 64 bits each: see "The ring" on the protocol's page.
RING_CAPACITY, RING_COUNT, RING_FIRST = 2, 3, 4
PAGE_WORDS = 4096 // 8


class Refused(Exception):
    """What was asked for cannot be done; wattle shows the text."""

    def __init__(self, text, code="unsupported", hint=""):
        super().__init__(text)
        self.code = code if code in CODES else "unsupported"
        self.hint = hint


class _Tensor:
    """What load() says of an input or output."""

    def __init__(self, spec, what):
        if isinstance(spec, dict):
            spec = [spec.get("name"), spec.get("type"), spec.get("shape"), spec.get("range")]
        if not isinstance(spec, (list, tuple)) or len(spec) not in (3, 4):
            raise Refused(f"load() describes an {what} as {spec!r}",
                          hint="give (name, type, shape), as in (\"x\", \"float32\", [1, 3])")
        self.name, self.range = str(spec[0]), None
        self.type = getattr(spec[1], "__name__", str(spec[1])) # numpy.float32 is as good
        if self.type not in TYPES:
            raise Refused(f"load() gives {what} '{self.name}' the type {self.type}",
                          hint="types are " + " ".join(TYPES))
        try:
            self.shape = [int(size) for size in spec[2]]
            if len(spec) == 4 and spec[3] is not None:
                low, high = spec[3]
                self.range = [low, high]
        except (TypeError, ValueError):
            raise Refused(f"load() gives {what} '{self.name}' the shape or range {spec[2:]!r}",
                          hint="sizes are whole numbers, a range is two numbers") from None
        if min(self.shape, default=0) < 0:
            raise Refused(f"load() gives {what} '{self.name}' the shape {self.shape}",
                          hint="sizes must be known: take them from request[\"shapes\"], "
                               "request[\"batch\"] or request[\"dims\"]")
        self.bytes = TYPES[self.type][0] * _product(self.shape)

    def reply(self):
        members = {"name": self.name, "type": self.type, "shape": self.shape}
        if self.range:
            members["range"] = self.range
        return members


def _product(shape):
    result = 1
    for size in shape:
        result *= size
    return result


def _number(command, name, low, high, fallback=None):
    value = command.get(name, fallback)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refused(f"\"{name}\" is {value!r}, not a whole number of {low}..{high}", "usage")
    return value


# --- the timed loop ------------------------------------------------------------------------------

def _loop(infer, bind, sets, window, ring, capacity, clock=time.monotonic_ns, sleep=time.sleep):
    """All between the two clock readings of a window. Names are local and memory is written in
    place, so that a run costs two clock readings and a handful of additions beside infer()."""
    min_runs, min_ns, max_ns, gap_ns = window
    gap_s = gap_ns / 1e9
    runs, slot, end_slot = 0, RING_FIRST, RING_FIRST + capacity
    begin = clock()
    while True:
        for inputs in sets:
            if bind:
                inputs = bind(inputs)
            start = clock()
            infer(inputs)
            end = clock()
            ring[slot] = end - start
            runs += 1
            ring[RING_COUNT] = runs
            slot += 1
            if slot == end_slot:
                slot = RING_FIRST
            wall = end - begin
            if (wall >= min_ns and runs >= min_runs) or wall >= max_ns:
                return runs, begin, end
            if gap_ns:
                sleep(gap_s)


def _read_window(command):
    return (_number(command, "min_runs", 0, INTEGER_MAX, 1),
            _number(command, "min_ns", 0, INTEGER_MAX, 0),
            _number(command, "max_ns", 1, INTEGER_MAX),
            _number(command, "gap_ns", 0, INTEGER_MAX, 0))


def _peak_bytes():
    """Not ru_maxrss: that begins with the memory of whoever started us."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _differences(before, after):
    def nanoseconds(name):
        return round((getattr(after, name) - getattr(before, name)) * 1e6) * 1000

    counts = {"minor_faults": "ru_minflt", "major_faults": "ru_majflt",
              "voluntary_switches": "ru_nvcsw", "involuntary_switches": "ru_nivcsw"}
    members = {name: getattr(after, key) - getattr(before, key) for name, key in counts.items()}
    members["user_ns"] = nanoseconds("ru_utime")
    members["system_ns"] = nanoseconds("ru_stime")
    return members


# --- outputs -------------------------------------------------------------------------------------

def _numpy():
    """Only when the program itself uses it: importing it here would change what is measured."""
    return sys.modules.get("numpy")


def _as_list(result, outputs):
    if result is None:
        return []
    if isinstance(result, dict):
        names = [t.name for t in outputs] or list(result)
        missing = [name for name in names if name not in result]
        if missing:
            raise Refused(f"infer() returned no '{missing[0]}', only {', '.join(map(str, result))}")
        return [result[name] for name in names]
    if isinstance(result, (list, tuple)) and not _is_plain(result):
        return list(result)
    return [result]


def _is_plain(values):
    """[1.0, 2.0] is one array, [array, array] are two."""
    return bool(values) and all(isinstance(v, (int, float)) for v in values)


def _raw(value, declared):
    """An output as (type, shape, bytes)."""
    numpy = _numpy()
    if isinstance(value, (int, float)):
        value = [value]
    if isinstance(value, (list, tuple)):
        letter = TYPES[declared.type][1] if declared else "d"
        value = array.array("B" if letter == "?" else letter, value)
    if numpy and not isinstance(value, (array.array, memoryview, bytes, bytearray)):
        value = numpy.asarray(value)
        return value.dtype.name, list(value.shape), numpy.ascontiguousarray(value).tobytes()
    view = memoryview(value)
    letter = {"l": "q", "L": "Q"}.get(view.format, view.format)
    kind = LETTERS.get(letter, view.format)
    if declared and letter in (TYPES[declared.type][1], "B" if declared.type == "bool" else ""):
        kind = declared.type # what load() calls these words
    shape = list(view.shape or [])
    if declared and len(shape) == 1 and _product(declared.shape) == shape[0]:
        shape = declared.shape # without numpy an array has no other shape than its length
    return kind, shape, view.tobytes()


def _check_output(i, value, outputs):
    declared = outputs[i] if i < len(outputs) else None
    name = declared.name if declared else f"output{i}"
    kind, shape, data = _raw(value, declared)
    if kind not in TYPES:
        raise Refused(f"output '{name}' has elements of type {kind}",
                      hint="types are " + " ".join(TYPES))
    if declared and declared.type == "bfloat16" and kind == "uint16":
        kind = "bfloat16" # numpy has none: its bits come as words
    if declared and declared.type != kind:
        raise Refused(f"output '{name}' is {kind}, load() said {declared.type}", "mismatch")
    fits = declared and len(shape) == len(declared.shape) and all(
        said in (0, size) for said, size in zip(declared.shape, shape))
    if declared and not fits:
        raise Refused(f"output '{name}' has shape {shape}, load() said {declared.shape}",
                      "mismatch", "a size that only a run can tell is 0 in load()'s outputs")
    return name, kind, shape, data


# --- the worker ----------------------------------------------------------------------------------

class _Worker:
    def __init__(self, load, infer, name, prepare=None, bind=None, collect=None,
                 device_memory=None):
        self.load_function, self.infer = load, infer
        self.prepare, self.bind, self.collect = prepare, bind, collect
        self.device_memory = device_memory
        self.name = name
        self.inputs = self.outputs = None  # described by load()
        self.sets = []                     # what infer gets
        self.inputs_end = 0
        self.window = None
        self.memory = None
        self.map_ring()
        self.commands = {
            "hello": self.hello, "load": self.load, "inputs": self.take_inputs,
            "first": self.first, "outputs": self.write_outputs, "warmup": self.warmup,
            "window": self.prepare_window, "go": self.go, "quit": lambda command: {},
        }

    def map_ring(self):
        fd = _descriptor("RING")
        size = os.fstat(fd).st_size
        words = memoryview(mmap.mmap(fd, size)).cast("Q")
        capacity = words[RING_CAPACITY]
        if words[0] != MAGIC or not 0 < capacity <= len(words) - RING_FIRST:
            raise SystemExit("wattle_worker: the ring's header is wrong")
        self.ring, self.capacity = words, capacity

    def hello(self, command):
        if command.get("protocol") != PROTOCOL:
            raise Refused(f"protocol {command.get('protocol')!r}, this worker speaks {PROTOCOL}")
        return {"protocol": PROTOCOL, "worker": self.name}

    # --- loading ---

    def load(self, command):
        if self.inputs is not None:
            raise Refused("a model is already loaded: one for each process", "usage")
        request = {"batch": 1, "threads": 1, "model": "", "dims": {}, "shapes": {}, "options": {}}
        request.update(command)
        takes = inspect.signature(self.load_function).parameters
        begin = time.monotonic_ns()
        info = self.load_function(request) if takes else self.load_function()
        load_ns = time.monotonic_ns() - begin
        if not isinstance(info, dict):
            raise Refused(f"load() returned {type(info).__name__}, not a dict",
                          hint="return {\"inputs\": [...], \"outputs\": [...]}")
        if request["options"]:
            raise Refused(f"unknown option '{next(iter(request['options']))}'", "usage",
                          "a script takes those it knows with request[\"options\"].pop(NAME, ...)")
        inputs = [_Tensor(spec, "input") for spec in info.get("inputs") or []]
        outputs = [_Tensor(spec, "output") for spec in info.get("outputs") or []]
        reply = self.describe(request, info, inputs, outputs)
        reply["load_ns"] = load_ns
        _encode(reply) # before anything is taken as loaded
        self.inputs, self.outputs = inputs, outputs
        self.infer, self.bind = info.get("infer", self.infer), info.get("bind", self.bind)
        return reply

    def describe(self, request, info, inputs, outputs):
        settings = dict(info.get("settings") or {})
        settings["python"] = platform.python_version()
        settings["gc"] = "frozen in the window"
        if _numpy():
            settings["numpy"] = _numpy().__version__
        return {
            "runtime": str(info.get("runtime") or request.get("runtime") or "python"),
            "version": str(info.get("version") or platform.python_version()),
            "library": str(info.get("library") or sys.executable),
            "provider": str(info.get("provider") or request.get("provider") or "cpu"),
            "settings": settings,
            "inputs": [t.reply() for t in inputs],
            "outputs": [t.reply() for t in outputs],
        }

    def take_inputs(self, command):
        if self.inputs is None:
            raise Refused("\"inputs\" before \"load\"", "usage")
        count = _number(command, "sets", 1, 4096)
        set_bytes = _number(command, "set_bytes", 0, 1 << 46)
        places = command.get("tensors")
        if not isinstance(places, list) or len(places) != len(self.inputs):
            raise Refused(f"\"tensors\" is not a list of {len(self.inputs)} inputs", "usage")
        offsets = []
        for t, place in zip(self.inputs, places):
            offset = _number(place, "offset", 0, set_bytes)
            if place.get("bytes") != t.bytes or offset + t.bytes > set_bytes:
                raise Refused(f"input '{t.name}' has {place.get('bytes')} bytes at {offset}, "
                              f"the model takes {t.bytes}", "usage")
            offsets.append(offset)
        self.memory = memory = self.map_inputs(count * set_bytes)
        sets = [[self.view(memory, s * set_bytes + offset, t)
                 for offset, t in zip(offsets, self.inputs)] for s in range(count)]
        self.inputs_end = count * set_bytes
        self.sets = [self.prepare(inputs) for inputs in sets] if self.prepare else sets
        self.window = None
        return {}

    def map_inputs(self, size):
        """A private view: code that writes to its inputs cannot change what wattle put there. Each
        page is read once, so that none is new in the window."""
        if not size:
            return memoryview(b"")
        fd = _descriptor("TENSORS")
        if os.fstat(fd).st_size < size:
            raise Refused(f"inputs of {size} bytes in a memory of {os.fstat(fd).st_size}", "usage")
        memory = memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_COPY))
        sum(memory[::mmap.PAGESIZE])
        return memory

    def view(self, memory, offset, t):
        numpy = _numpy()
        part = memory[offset:offset + t.bytes]
        if not numpy:
            return part.cast(TYPES[t.type][1]).toreadonly()
        kind = "uint16" if t.type == "bfloat16" else t.type
        result = numpy.frombuffer(part, kind).reshape(t.shape) if t.bytes else \
            numpy.empty(t.shape, kind)
        result.flags.writeable = False
        return result

    # --- inferring ---

    def check_ready(self, op):
        if not self.sets:
            raise Refused(f"\"{op}\" before \"inputs\"", "usage")

    def bound(self, chosen):
        return self.bind(self.sets[chosen]) if self.bind else self.sets[chosen]

    def first(self, command):
        self.check_ready("first")
        inputs = self.bound(0)
        begin = time.monotonic_ns()
        self.infer(inputs)
        first_ns = time.monotonic_ns() - begin
        self.check_inputs()
        return {"first_ns": first_ns}

    def check_inputs(self):
        """Whether set 0 is still what wattle wrote: a run that changes its inputs would be given
        others the next time."""
        size = self.inputs_end // len(self.sets)
        for at in range(0, size, CHUNK): # in pieces, as a copy of all would count as our memory
            piece = os.pread(_descriptor("TENSORS"), min(CHUNK, size - at), at)
            if self.memory[at:at + len(piece)] != piece:
                raise Refused("infer() writes to its inputs: later runs would get other ones",
                              "mismatch", "work on a copy")

    def write_outputs(self, command):
        self.check_ready("outputs")
        chosen = _number(command, "set", 0, len(self.sets) - 1)
        offset = _number(command, "offset", self.inputs_end, 1 << 46)
        end = offset + _number(command, "limit", 0, 1 << 46)
        result = self.infer(self.bound(chosen))
        values = _as_list(self.collect(result) if self.collect else result, self.outputs)
        if self.outputs and len(values) != len(self.outputs):
            raise Refused(f"infer() returned {len(values)} outputs, load() said "
                          f"{len(self.outputs)}", "mismatch")
        replies = []
        for i, value in enumerate(values):
            name, kind, shape, data = _check_output(i, value, self.outputs)
            offset = (offset + 63) // 64 * 64
            if offset + len(data) > end:
                raise Refused(f"output '{name}' of {len(data)} bytes goes beyond the limit",
                              "memory")
            self.write(data, offset)
            replies.append({"name": name, "type": kind, "shape": shape, "offset": offset,
                            "bytes": len(data)})
            offset += len(data)
        return {"outputs": replies}

    def write(self, data, offset):
        fd = _descriptor("TENSORS")
        if os.fstat(fd).st_size < offset + len(data):
            os.ftruncate(fd, offset + len(data))
        data = memoryview(data)
        while data:
            n = os.pwrite(fd, data, offset)
            data, offset = data[n:], offset + n

    def measure(self, window):
        """The collector is off in warm-ups too, so that they are of the state that is measured."""
        self.ring[RING_COUNT] = 0
        collects = gc.isenabled()
        gc.disable()
        try:
            return _loop(self.infer, self.bind, self.sets, window, self.ring, self.capacity)
        finally:
            if collects:
                gc.enable()

    def warmup(self, command):
        self.check_ready("warmup")
        runs, begin, end = self.measure(_read_window(command))
        return {"runs": runs, "wall_ns": end - begin}

    def prepare_window(self, command):
        self.check_ready("window")
        self.window = _read_window(command)
        self.touch_ring()
        gc.collect()
        gc.freeze()
        return {"state": "ready"}

    def touch_ring(self):
        """The pages of the ring that the window will need, by the fastest run so far."""
        known = min(self.ring[RING_COUNT], self.capacity)
        fastest = min(self.ring[RING_FIRST:RING_FIRST + known], default=0) or 1
        runs = max(self.window[0], self.window[1] // fastest)
        last = RING_FIRST + min(self.capacity, runs + runs // 2 + 1)
        for word in range(RING_FIRST, last, PAGE_WORDS):
            self.ring[word] = 0
        self.ring[last - 1] = 0

    def go(self, command):
        if not self.window:
            raise Refused("\"go\" before \"window\"", "usage")
        window, self.window = self.window, None
        before = resource.getrusage(resource.RUSAGE_SELF)
        runs, begin, end = self.measure(window)
        after = resource.getrusage(resource.RUSAGE_SELF)
        reply = {"state": "done", "runs": runs, "begin_ns": begin, "end_ns": end}
        reply.update(_differences(before, after))
        peak = _peak_bytes()
        if peak:
            reply["rss_peak_bytes"] = peak
        self.tell_device_memory(reply)
        return reply

    def tell_device_memory(self, reply):
        held = self.device_memory() if self.device_memory else None
        if isinstance(held, str):
            reply["device_memory_reason"] = held
        elif held is not None:
            reply["device_memory_peak_bytes"] = int(held)

    # --- talking ---

    def answer(self, line):
        """One command line to one reply; whether it was "quit"."""
        try:
            command = json.loads(line)
            if not isinstance(command, dict):
                raise Refused("a command is a JSON object", "format")
        except (ValueError, RecursionError, Refused) as why:
            return _failure(Refused(f"a command that is not JSON: {why}", "format"), ""), False
        name = command.get("op")
        handler = self.commands.get(name) if isinstance(name, str) else None
        try:
            if not handler:
                raise Refused(f"unknown command {name!r:.60}")
            reply = {"ok": True}
            reply.update(handler(command))
            return _encode(reply), name == "quit"
        except (Exception, SystemExit) as why: # whatever the user's code raises is an answer
            return _failure(why, name), False

    def serve(self):
        reader = _Reader(_descriptor("COMMANDS"))
        for line in reader:
            reader.end_with_the_pipe(True)
            reply, is_last = self.answer(line) if line is not None else (
                _failure(Refused(f"a command longer than {LINE_MAX} bytes", "format"), ""), False)
            _flush_stdout()
            reader.end_with_the_pipe(False)
            _write_all(_descriptor("REPLIES"), reply)
            if is_last:
                return 0
        return 1


class _Reader:
    """Command lines, None for one that is too long, until the pipe ends."""

    def __init__(self, fd):
        self.fd = fd
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())

    def __iter__(self):
        rest, skips = b"", False
        while True:
            chunk = os.read(self.fd, 1 << 16)
            if not chunk:
                return
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                yield None if skips or len(line) >= LINE_MAX else line
                skips = False
            if len(rest) >= LINE_MAX:
                rest, skips = b"", True

    def end_with_the_pipe(self, wanted):
        """While a command is carried out nobody reads the pipe, and wattle sends nothing: then the
        kernel ends this process (SIGIO) when wattle is gone."""
        flags = fcntl.fcntl(self.fd, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self.fd, fcntl.F_SETFL,
                        flags | os.O_ASYNC if wanted else flags & ~os.O_ASYNC)
        except OSError:
            return # then it is seen after the command
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if wanted and any(event & select.POLLHUP for _, event in poll.poll(0)):
            raise SystemExit(1)


def _flush_stdout():
    """What was printed is in the log before the answer is there; a program may have closed it."""
    try:
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):
        pass


def _write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


def _encode(reply):
    text = json.dumps(reply, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    line = text.encode() + b"\n"
    if len(line) > LINE_MAX:
        raise Refused(f"the reply would be {len(line)} bytes long, more than {LINE_MAX}", "memory")
    if "\\u0000" in text:
        raise Refused("a text of the reply has a zero character", "format")
    return line


def _one_line(text, size):
    """Fit for JSON, which knows no half characters and, for wattle, no zero."""
    text = " ".join(str(text).replace("\0", " ").split())[:size]
    return text.encode("utf-8", "replace").decode()


def _place(error):
    """Where the user's own code raised it: not here, and not in a library."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if frame.filename != __file__]
    own = [f for f in frames if "-packages" not in f.filename and os.path.isfile(f.filename) and
           not f.filename.startswith(os.path.dirname(os.__file__))]
    chosen = (own or frames)[-1:]
    return "".join(f" ({os.path.basename(f.filename)}:{f.lineno})" for f in chosen)


def _code_of(error):
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError": # of torch
        return "memory"
    if isinstance(error, PermissionError):
        return "permission"
    if isinstance(error, OSError):
        return "io"
    if isinstance(error, (ImportError, NotImplementedError)):
        return "unsupported"
    return "crash"


def _failure(error, op):
    if isinstance(error, Refused):
        members = {"code": error.code, "error": _one_line(error, 400)}
        if error.hint:
            members["hint"] = _one_line(error.hint, 250)
    else:
        traceback.print_exception(type(error), error, error.__traceback__)
        sys.stderr.flush()
        text = _one_line(error, 300)
        members = {"code": _code_of(error), "error":
                   f"'{op}' raised {type(error).__name__}{': ' if text else ''}{text}"
                   f"{_place(error)}"}
    return json.dumps({"ok": False, **members}, separators=(",", ":")).encode() + b"\n"


def _descriptor(name):
    return int(os.environ["WATTLE_FD_" + name])


def _is_started_by_wattle():
    try:
        for name in ("COMMANDS", "REPLIES", "RING", "TENSORS"):
            os.fstat(_descriptor(name))
    except (KeyError, ValueError, OSError):
        return False
    return True


def run(load, infer, *, name=None, **functions):
    """Speaks the worker protocol until wattle ends it; then ends the program. The functions are
    those that are not part of what is timed: prepare, bind, collect, device_memory."""
    script = os.path.basename(sys.argv[0] or "script.py")
    if not _is_started_by_wattle():
        command = f"'python3 {script}'"
        raise SystemExit(f"{script} is a worker: wattle starts it, with wattle run --worker "
                         f"{command}; wattle worker --check {command} tells whether it works")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    worker = _Worker(load, infer, name or script, **functions)
    try:
        status = worker.serve()
    except BrokenPipeError: # wattle is gone
        status = 1
    _flush_stdout()
    raise SystemExit(status)
