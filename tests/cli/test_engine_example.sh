#!/usr/bin/env bash
# The program that opens include/wattle/engine.h compiles against the engine alone, as it stands
# there, runs a built-in model, and says why it cannot run something else.
. "$(dirname "$0")/lib.sh"

header=$root/include/wattle/engine.h
awk '/The shortest useful program:/ { on = 1; next }
     on && /^ \*     cc / { exit }
     on { sub(/^ \*( {5})?/, ""); print }' "$header" >"$dir/shortest.c"
grep -q wattle_engine_load "$dir/shortest.c" || { echo "FAIL: no program in $header"; exit 1; }

libraries=(-fopenmp -ldnnl -lprotobuf-c -lcrypto -lm)
expect 0 ${CC:-cc} -std=c17 -Wall -Wextra -Wpedantic -Werror ${SAN:+-fsanitize=$SAN} \
    -I"$root/include" "$dir/shortest.c" -o "$dir/shortest" "$build/libwattle-engine.a" "${libraries[@]}"

expect 0 "$wattle" models build mobilenet_v2
model=$WATTLE_HOME/models/mobilenet_v2.onnx
expect 0 "$dir/shortest" "$model"
grep -Eq '^[a-z_]+\[0\] = -?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?$' "$dir/out" || fail "not a number"
[ ! -s "$dir/err" ] || fail "stderr is not empty"

expect 1 "$dir/shortest"
in_err "usage: shortest MODEL.onnx"
expect 1 "$dir/shortest" "$dir/absent.onnx"
in_err "absent.onnx"
head -c 100000 "$model" >"$dir/cut.onnx"
expect 1 "$dir/shortest" "$dir/cut.onnx"
in_err "cut.onnx"
no_out
