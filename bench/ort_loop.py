"""ort_loop.py MODEL.onnx THREADS SECONDS [SYMBOL=SIZE...]: engine_loop.c's loop over ONNX Runtime.

Prints the same line: min_ms median_ms p99_ms runs load_ms cpu_ms_per_run rss_mib
"""
import resource
import sys
import time

import numpy as np
import onnxruntime as ort


def make_input(arg, sizes):
    shape = [d if isinstance(d, int) else sizes.get(d, 1) for d in arg.shape]
    random = np.random.default_rng(1)
    if arg.type == "tensor(float)":
        return random.uniform(-2, 2, shape).astype(np.float32)
    if "mask" in arg.name:
        return np.ones(shape, np.int64)
    return random.integers(0, 1 if "type" in arg.name else 16384, shape, dtype=np.int64)


def main():
    path, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    sizes = dict(pair.split("=") for pair in sys.argv[4:])
    sizes = {symbol: int(size) for symbol, size in sizes.items()}
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    start = time.perf_counter()
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    load = time.perf_counter() - start
    binding = session.io_binding()
    for arg in session.get_inputs():
        binding.bind_cpu_input(arg.name, make_input(arg, sizes))
    for arg in session.get_outputs():
        binding.bind_output(arg.name)
    for _ in range(3):
        session.run_with_iobinding(binding)
    times, start, cpu = [], time.perf_counter(), time.process_time()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter() - before)
    cpu = (time.process_time() - cpu) / len(times)
    times.sort()
    n = len(times)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{times[0] * 1e3:.3f} {times[n // 2] * 1e3:.3f} {times[n - 1 - n // 100] * 1e3:.3f} {n} "
          f"{load * 1e3:.0f} {cpu * 1e3:.3f} {rss:.1f}")


main()
