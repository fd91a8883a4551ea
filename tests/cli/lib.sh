# lib.sh: sourced by every CLI test. $wattle is the program; each test has a fresh folder $dir and a
# fresh $WATTLE_HOME in it, removed at the end.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "$root" && cd "${BUILD:-build}" && pwd)
wattle=$build/wattle
user_home=${WATTLE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/wattle}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export WATTLE_HOME=$dir/home LC_ALL=C.UTF-8
unset XDG_DATA_HOME NO_COLOR COLUMNS

fail() { echo "FAIL: $*" >&2; sed 's/^/  out: /' "$dir/out" >&2; sed 's/^/  err: /' "$dir/err" >&2; exit 1; }

# expect CODE COMMAND...: runs it with stdout in $dir/out and stderr in $dir/err.
expect() {
    local code=$1 got
    shift
    "$@" >"$dir/out" 2>"$dir/err" </dev/null
    got=$?
    [ "$got" -eq "$code" ] || fail "exit $got instead of $code: $*"
}
in_out() { grep -qF -- "$1" "$dir/out" || fail "stdout lacks: $1"; }
in_err() { grep -qF -- "$1" "$dir/err" || fail "stderr lacks: $1"; }
no_out() { [ ! -s "$dir/out" ] || fail "stdout is not empty"; }
# json FILE FILTER: fails unless jq's filter is true of the file.
json() { jq -e "$2" "$1" >/dev/null || { jq . "$1" | head -150 >&2; fail "JSON is not: $2"; }; }
# use_installed [NAME...]: what the user has installed of these runtimes (all when none is named) is
# found by this test too.
use_installed() {
    local name
    mkdir -p "$WATTLE_HOME/runtimes"
    for name in "${@:-*}"; do
        ln -sfn "$user_home/runtimes"/$name-[0-9]* "$WATTLE_HOME/runtimes/" 2>/dev/null
    done
}
# A Python with torch, of what the user has installed (use_installed) or else of $PATH; fails if none.
torch_python() {
    local library python
    library=$("$wattle" runtimes | grep -E '^ +/.*/torch/lib/libtorch_cpu\.so$' | head -n 1 | tr -d ' ')
    for python in ${library:+"${library%%/lib/python*}/bin/python3"} python3; do
        "$python" -c 'import torch' 2>/dev/null && echo "$python" && return
    done
    return 1
}
# The examples and the helper, in $dir, which becomes the current folder.
take_examples() {
    cp "$root"/examples/* "$dir"
    cd "$dir" || exit 1
    "$wattle" worker --python-helper >wattle_worker.py || fail "no Python helper"
}
# passes COMMAND: every rule of the worker protocol holds.
passes() {
    expect 0 "$wattle" worker --check "$1"
    in_out ", 0 wrong"
    ! grep -q '^WRONG' "$dir/out" || fail "$1 is wrong"
}
# No worker of this test, which a worker's WATTLE_HOME tells, is left after a moment.
nothing_runs() {
    local p
    sleep 0.3
    for p in /proc/[0-9]*; do
        if grep -qzxF "WATTLE_HOME=$WATTLE_HOME" "$p/environ" 2>/dev/null &&
            [ "$(tr '\0' ' ' <"$p/cmdline" 2>/dev/null)" = 'wattle worker ' ]; then
            fail "a worker is still running: ${p#/proc/}"
        fi
    done
}
# The fake runtime, which brings its own model and clock: quick blocks. Recorded /proc and /sys files,
# so that the verdict does not depend on how busy the machine is that runs the tests.
quiet=$root/tests/fixtures/sysroot/vm
fake=("$wattle" run fake -r fake -t 1 --blocks 1 --duration 50ms --warmup 20ms --sysroot "$quiet")
fake() { "${fake[@]}" "$@"; }
