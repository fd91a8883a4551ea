#!/usr/bin/env bash
# The README shows what people will see: the same commands, and output of the same shape. Numbers,
# verdicts and notes depend on the machine and are not compared.
. "$(dirname "$0")/lib.sh"

readme=$root/README.md
grep -qx '    make run' "$readme" || grep -q '^make run' "$readme" || fail "README does not say make run"
grep -q '^make check' "$readme" || fail "README does not say make check"

# The lines that every run prints: headings of models and tables, rows, in order.
shape() {
    grep -E '^(resnet50|mobilenet_v2|bert_base|RUNTIME|builtin) ' |
        sed -E 's/[0-9]+(\.[0-9]+)?/#/g; s/ (VALID|SUSPECT|INVALID|FAILED)$//; s/\[[^]]*\]/[]/; s/ ±#//g;
                s/ p(90|95|99|#) ms/ p# ms/; s/ +- / # /g; s/ m?J\/inference/ J\/inference/; s/ +/ /g; s/ $//'
}
sed -n '/^\$ make run/,/^```/p' "$readme" >"$dir/block"
[ -s "$dir/block" ] || fail "README has no block that begins with \$ make run"
shape <"$dir/block" >"$dir/expected"
[ "$(grep -c . "$dir/expected")" -ge 9 ] || fail "the README's block is incomplete"

# The same models as the Makefile's, on shorter windows; only the built-in engine, as in the README.
models=$(sed -n 's/^run_models := //p' "$root/Makefile")
[ -n "$models" ] || fail "the Makefile's models were not found"
# shellcheck disable=SC2086
expect 0 "$wattle" run $models -b 1 --verify -r builtin --blocks 1 --duration 200ms --min-runs 2 --warmup 200ms \
    --sysroot "$quiet"
shape <"$dir/out" >"$dir/got"
diff "$dir/expected" "$dir/got" >"$dir/err" || fail "the README's output has another shape"
in_out "outputs agree with builtin:reference"
