/* wattle/worker.h: the worker protocol, version 1. docs/worker-protocol.md tells it as a story.
 *
 * A worker is a process that wattle starts to run one cell of a measurement. It gets four open
 * file descriptors and speaks JSON, one object a line, UTF-8, at most WATTLE_LINE_MAX bytes:
 *
 *   WATTLE_FD_COMMANDS  read    commands from wattle
 *   WATTLE_FD_REPLIES   write   exactly one reply for each command ("window" has two: ready, done)
 *   WATTLE_FD_RING      mmap    struct wattle_ring, shared: one latency a run
 *   WATTLE_FD_TENSORS   mmap    inputs, written by wattle before "inputs"; and outputs, written by
 *                               the worker for "outputs"
 *
 * stdin is /dev/null, stdout and stderr are kept by wattle as the worker's log. Every reply has
 * "ok": true, or "ok": false with "code" (a name of src/base/error.h), "error" (text) and perhaps
 * "hint" (text). Unknown fields are ignored by both sides. End of file on the command pipe means:
 * stop at once.
 *
 *   {"op":"hello","protocol":1}
 *     -> {"ok":true,"protocol":1,"worker":"wattle 0.1.0"}
 *   {"op":"load","runtime":"builtin","provider":"cpu","model":"/path/m.onnx","devices":[],
 *    "threads":2,"batch":1,"precision":"f32","spin":"short","dims":{"N":1},"options":{}}
 *     may have "variant":"eager" (a way in which the runtime runs models),
 *     "library":"/path/lib.so" (the runtime's installation), "provider_library":"",
 *     "require_provider":0 (1: no other provider may take over a node), and "shapes":
 *     {"input":[1,3,224,224]}, the whole sizes of inputs, and "types":{"input":"float32"}, their
 *     element types, both as far as they are known
 *     -> {"ok":true,"load_ns":N,"runtime":"builtin","version":"0.1.0","library":"...",
 *         "provider":"cpu","settings":{...effective...},
 *         "inputs":[{"name":"input","type":"float32","shape":[1,3,224,224]}],"outputs":[...]}
 *     an input may have "range":[LOW,HIGH]: it is made up within it unless the user or the file
 *     tells how
 *   {"op":"inputs","sets":4,"set_bytes":N,"tensors":[{"offset":0,"bytes":N},...]}
 *     tensor i of set s lies at s * set_bytes + tensors[i].offset of WATTLE_FD_TENSORS, at a
 *     multiple of 64 from wattle; its own worker takes multiples of 8
 *     -> {"ok":true}
 *   {"op":"first"}                one inference, set 0, timed
 *     -> {"ok":true,"first_ns":N}
 *   {"op":"outputs","set":0,"offset":N,"limit":N}   one untimed inference of that set; outputs are
 *     written one after the other, each 64-byte aligned, from that offset of WATTLE_FD_TENSORS
 *     (the worker grows it with ftruncate), in the order of "load"'s outputs
 *     -> {"ok":true,"outputs":[{"name":"output","type":"float32","shape":[1,1000],"offset":N,
 *         "bytes":N}]}
 *   {"op":"warmup","min_runs":3,"min_ns":N,"max_ns":N,"gap_ns":0}   pauses of gap_ns between
 *     runs, as in the window; latencies go to the ring; count restarts
 *     -> {"ok":true,"runs":N,"wall_ns":N}
 *   {"op":"window","min_runs":N,"min_ns":N,"max_ns":N,"gap_ns":0}
 *     -> {"ok":true,"state":"ready"}   and the worker sleeps in read() on the command pipe
 *   {"op":"go"}                   the measured window: runs until min_ns AND min_runs, or max_ns
 *     -> {"ok":true,"state":"done","runs":N,"begin_ns":N,"end_ns":N,"user_ns":N,"system_ns":N,
 *         "minor_faults":N,"major_faults":N,"voluntary_switches":N,"involuntary_switches":N,
 *         "rss_peak_bytes":N}
 *     may have "device_memory_peak_bytes":N: the memory the worker holds on accelerators, read once
 *     after the window (so a peak only of what is never given back during it); or, where there is
 *     an accelerator whose memory is not known, "device_memory_reason":"text"
 *     begin_ns and end_ns are CLOCK_MONOTONIC. Between them the worker runs inferences over its
 *     input sets in turn and stores latencies, and does nothing else: no allocation, no I/O.
 *   {"op":"quit"}
 *     -> {"ok":true} and exit status 0
 */
#ifndef WATTLE_WORKER_H
#define WATTLE_WORKER_H

#include <stdint.h>

enum {
    WATTLE_PROTOCOL = 1,
    WATTLE_FD_COMMANDS = 3,
    WATTLE_FD_REPLIES = 4,
    WATTLE_FD_RING = 5,
    WATTLE_FD_TENSORS = 6,
    WATTLE_LINE_MAX = 1 << 20,
};

#define WATTLE_RING_MAGIC 0x676e697265747477ull /* "wttering" little-endian */

/* Latency of run i (from 0) is latency_ns[i % capacity]; wattle sizes the file and sets the first
 * three fields; the worker sets count to 0 at "warmup" and "go", and to i + 1 (release order) after
 * storing run i. A worker that cannot map memory sends "latencies_ns":[...] in its "warmup" and
 * "done" replies instead. */
struct wattle_ring {
    uint64_t magic;
    uint32_t version;  /* WATTLE_PROTOCOL */
    uint32_t reserved;
    uint64_t capacity; /* entries */
    uint64_t count;    /* runs stored since "warmup" or "go" */
    uint64_t latency_ns[];
};

#endif
