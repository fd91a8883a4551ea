#!/usr/bin/env bash
# What is made of users' models for PyTorch, with the PyTorch that is installed.
. "$(dirname "$0")/lib.sh"

use_installed
library=$("$wattle" runtimes | sed -n '/^pytorch /{n;s/^ *//p;q}')
[ -n "$library" ] || { echo "skipped: PyTorch is not installed"; exit 77; }
python=${library%/lib/python3*}/bin/python3
"$python" -c 'import torch, onnx' 2>/dev/null || { echo "skipped: no Python of PyTorch's"; exit 77; }
"$python" -B "$here/prepare_test.py" "$dir" >"$dir/out" 2>"$dir/err" || fail "prepare_test.py"
