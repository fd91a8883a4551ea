#!/usr/bin/env bash
# Counters in a simulated /sys that a writer advances in real time with known watts: the whole program
# must report those watts, wraps and all, and must never call anything else measured.
. "$(dirname "$0")/lib.sh"

tree=$dir/tree
mkdir "$tree"
cp -r "$quiet/." "$tree"
"$build/tools/sysroot_writer" "$tree" intel-rapl:0/package-0=40 intel-rapl:1/package-1=25 \
    intel-rapl:0:0/dram=3.5 intel-rapl:2/psys=90 < <(sleep 120) >"$dir/writer" &
writer=$!
for _ in $(seq 50); do grep -q ready "$dir/writer" && break; sleep 0.1; done

expect 0 "$wattle" doctor --sysroot "$tree"
in_out "package-0"; in_out "energy is measured here"; in_out "psys"

# 68.5 W (packages and dram, not psys) for the window: J/inference x inferences = 68.5 W x wall.
expect 0 "$wattle" run fake -r fake -t 1 --blocks 1 --duration 2500ms --warmup 20ms \
    --sysroot "$tree" --require measured --json "$dir/m.json"
json "$dir/m.json" '.cells[0].energy.provenance == "measured"'
json "$dir/m.json" '.cells[0].blocks[0] | (.energy.j / .wall_s) as $w | $w > 67.5 and $w < 69.5'
json "$dir/m.json" '.cells[0].blocks[0] | (.wall_s * 68.5) as $truth
    | .energy.interval_j[0] <= $truth * 1.01 and $truth * 0.99 <= .energy.interval_j[1]'
json "$dir/m.json" '[.cells[0].energy.domains[] | select(.name == "psys") | .in_total] == [false]'
grep -q ' e ' "$dir/out" && fail "a measured figure is marked as an estimate"

# The writer stops: the counters stand still, and standing still is not 0 J.
kill "$writer"
wait "$writer" 2>/dev/null
expect 1 "$wattle" run fake -r fake -t 1 --blocks 1 --duration 300ms --sysroot "$tree" \
    --require measured
in_err "energy cannot be measured here"; in_err "--require measured"
expect 0 "$wattle" run fake -r fake -t 1 --blocks 1 --duration 300ms --warmup 20ms \
    --sysroot "$tree" --json "$dir/s.json"
json "$dir/s.json" '.cells[0].energy.provenance == "estimated"'
json "$dir/s.json" '[.cells[0].energy.domains[] | select(.meter == "powercap") | .j_per_inference]
    | all(. == null)'
expect 0 "$wattle" doctor --sysroot "$tree"
in_out "STUCK"

# Hidden by a container: the folder is there and empty.
rm -r "$tree/sys/class/powercap" && mkdir -p "$tree/sys/class/powercap"
expect 0 "$wattle" doctor --sysroot "$tree"
in_out "MASKED"
