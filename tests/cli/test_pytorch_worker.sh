#!/usr/bin/env bash
# The worker of pytorch:eager and pytorch:compile, command by command.
. "$(dirname "$0")/lib.sh"
use_installed
python=$(torch_python) || { echo "no pytorch installed"; exit 77; }
export TORCHINDUCTOR_CACHE_DIR=$dir/cache PYTHONDONTWRITEBYTECODE=1
"$python" "$here/pytorch_worker_test.py" >"$dir/out" 2>"$dir/err" || fail "the worker"
