#!/usr/bin/env bash
# The example of a worker in Python with numpy.
. "$(dirname "$0")/lib.sh"
for python in python3 /usr/bin/python3; do
    "$python" -c 'import numpy' 2>/dev/null && break
    python=
done
[ -n "$python" ] || { echo "no python3 with numpy"; exit 77; }
take_examples
passes "$python python_numpy.py"
expect 0 "$wattle" run --worker "$python python_numpy.py" -b 1,3 --blocks 1 --duration 200ms \
    --warmup 50ms -t 1 --sysroot "$quiet" --json "$dir/run.json"
json "$dir/run.json" '[.cells[].settings.gc] == ["frozen in the window", "frozen in the window"]'
json "$dir/run.json" '[.cells[].batch] | sort == [1, 3]'
