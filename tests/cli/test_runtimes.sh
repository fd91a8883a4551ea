#!/usr/bin/env bash
# wattle runtimes with a python3 that is a script: what is run, and what is left behind when it fails,
# is interrupted, meets another or finds the disk full.
. "$(dirname "$0")/lib.sh"

mkdir -p "$dir/bin" "$dir/none"
export WATTLE_LIBRARY_PATH=$dir/none HOME=$dir/user
export FAKE_LOG=$dir/log FAKE_MODE=good
real_path=$PATH
PATH=$dir/bin:$PATH
runtimes=$WATTLE_HOME/runtimes

# "python3 -m venv DIR" makes a folder with itself as bin/python; "-m pip install ... NAME==VERSION..."
# makes the files that the wheel of the first one would have, as FAKE_MODE says.
cat >"$dir/bin/python3" <<'PY'
#!/usr/bin/env bash
echo "$*" >>"$FAKE_LOG"
echo "foreign:${PYTHONPATH:-}${PIP_TARGET:-}${PIP_USER:-}" >>"$FAKE_LOG.environment"
if [ "$2" = venv ]; then
    [ "$FAKE_MODE" = no_venv ] && { echo "ensurepip is not available."; exit 1; }
    mkdir -p "$3/bin" "$3/lib/python3.11/site-packages/pip"
    mkdir "$3/lib/python3.11/site-packages/setuptools"
    echo pip >"$3/lib/python3.11/site-packages/pip/__init__.py"
    cp "$0" "$3/bin/python3"; ln -s python3 "$3/bin/python"
    echo '#!/old/place' >"$3/bin/pip"; echo x >"$3/bin/activate"
    exit 0
fi
site=$(cd "$(dirname "$0")/.." && pwd)/lib/python3.11/site-packages
for name; do case $name in *==*) break ;; esac; done
version=${name#*==}; name=${name%%==*}
echo "Collecting $name==$version"
case $FAKE_MODE in
network) echo "WARNING: Retrying after connection broken by 'NewConnectionError'"
         echo "ERROR: No matching distribution found for $name==$version"; exit 1 ;;
missing) echo "ERROR: No matching distribution found for $name==$version"; exit 1 ;;
space)   echo "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"; exit 1 ;;
odd)     printf 'ERROR: \033[31mstrange\007 things\n'; exit 7 ;;
killed)  kill -9 $$ ;;
empty)   mkdir -p "$site/${name//-/_}-$version.dist-info"; exit 0 ;;
old)     case " $* " in *" --report "*) echo "no such option: --report"; exit 2 ;; esac ;;
slow)    sleep 30 & echo $! >"$FAKE_LOG.pid"; wait ;;
pause)   sleep 1 ;;
esac
case $name in
openvino) library=$site/openvino/libs/libopenvino_c.so.2641 ;;
torch)    library=$site/torch/lib/libtorch_cpu.so; version=$version+cpu ;;
*)        library=$site/onnxruntime/capi/libonnxruntime.so.$version ;;
esac
mkdir -p "$(dirname "$library")" "$site/${name//-/_}-$version.dist-info"
cat /proc/self/exe >"$library" || exit 1
echo note >"$site/${name//-/_}-$version.dist-info/METADATA"
echo "Successfully installed $name-$version"
PY
chmod +x "$dir/bin/python3"

install() { "$wattle" runtimes install "$@"; }
only() { # the folders that are there, hidden ones too
    (cd "$runtimes" 2>/dev/null && find . -mindepth 1 -maxdepth 1 ! -name .lock | sort | tr '\n' ' ') >"$dir/list"
    [ "$(cat "$dir/list")" = "$*${*:+ }" ] || fail "there is: $(cat "$dir/list")"
}

# Nothing is removed in a dry run, nor made to lock it in.
expect 2 "$wattle" runtimes remove onnxruntime --dry-run
[ ! -e "$runtimes" ] || fail "a dry run has made a folder"

# Nothing there yet.
expect 0 "$wattle" runtimes
in_out "builtin"; in_out "onnxruntime-openvino"; in_out "not here"
! grep -q fake "$dir/out" || fail "the hidden runtime is listed"
mv "$dir/out" "$dir/listed"
expect 0 "$wattle" runtimes list
cmp -s "$dir/out" "$dir/listed" || fail "list is something else"

# A dry run says what would be done, and does nothing.
expect 0 install onnxruntime openvino=2025.4.1 --dry-run --pip-args "--index-url file:///x y" --pip-args --pre
in_out "python3 -m venv $runtimes/.onnxruntime-1.32.0.partial"
in_out "/bin/python -m pip install --no-input --disable-pip-version-check"; in_out "--no-compile"
in_out "--no-deps --index-url file:///x y --pre onnxruntime==1.32.0"
in_out "--pre openvino==2025.4.1"
in_out "mv $runtimes/.onnxruntime-1.32.0.partial $runtimes/onnxruntime-1.32.0"
WATTLE_HOME="$dir/it's here" expect 0 install openvino --dry-run
in_out "mkdir -p '$dir/it'\\''s here/runtimes'"; in_out "mv '$dir/it'\\''s here/runtimes/.openvino"
only
[ ! -e "$FAKE_LOG" ] || fail "a dry run has run something"

# Success: listed, named by -r, pip gone, hashes right.
expect 0 install onnxruntime
in_out "$runtimes/onnxruntime-1.32.0: installed"; in_err "Successfully installed"
only ./onnxruntime-1.32.0
note=$runtimes/onnxruntime-1.32.0/wattle.json
json "$note" '.package == "onnxruntime" and .version == "1.32.0" and .bytes > 1000'
json "$note" '.commands | length == 2 and (.[1] | index("--no-deps"))'
library=$runtimes/onnxruntime-1.32.0/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0
(cd "$runtimes/onnxruntime-1.32.0" && sha256sum --check --strict --quiet wattle.sha256) >"$dir/out" 2>"$dir/err" ||
    fail "hashes do not match"
grep -q "  lib/.*/libonnxruntime.so.1.32.0\$" "$runtimes/onnxruntime-1.32.0/wattle.sha256" || fail "no hash of the library"
json "$note" ".libraries == {\"libonnxruntime.so.1.32.0\": $(stat -c %s "$library")}"
json "$note" '.file_count == 3 and (.hashes_sha256 | length == 64)'
[ ! -e "$runtimes/onnxruntime-1.32.0/bin/pip" ] || fail "a script with the old place was left"
[ -L "$runtimes/onnxruntime-1.32.0/bin/python" ] || fail "python is gone"
for left in pip setuptools; do
    [ ! -e "$runtimes/onnxruntime-1.32.0/lib/python3.11/site-packages/$left" ] || fail "$left was left"
done

# Twice: at once, and nothing is run.
rm "$FAKE_LOG"
expect 0 install onnxruntime==1.32.0
in_out "was there already"
[ ! -e "$FAKE_LOG" ] || fail "a second time something was run"

# Damaged: not used for a run, and installed anew.
damage() { # COMMAND TEXT: what is said when it is installed again
    eval "$1"
    rm -f "$FAKE_LOG"
    expect 0 install onnxruntime
    in_out "was damaged, installed anew"; in_err "onnxruntime-1.32.0 is damaged: $2"
    [ -e "$FAKE_LOG" ] || fail "nothing was run"
    (cd "$runtimes/onnxruntime-1.32.0" && sha256sum --check --strict --quiet wattle.sha256) || fail "still damaged"
    only ./onnxruntime-1.32.0
    expect 0 install onnxruntime
    in_out "was there already"
}
truncate -s -9 "$library"
expect 1 "$wattle" run resnet50 -r onnxruntime --dry-run
in_err "damaged: libonnxruntime.so.1.32.0 has"; in_err "wattle runtimes install onnxruntime=1.32.0 repairs"
truncate -s +9 "$library"
expect 0 "$wattle" run resnet50 -r onnxruntime --dry-run
damage "printf x | dd of=$library bs=1 seek=3000 conv=notrunc status=none" "lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0 has changed"
damage "rm $library" "lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0 is missing"
damage "echo >$note" "wattle.json is missing or cannot be read"
damage "rm $note" "wattle.json is missing or cannot be read"
damage "rm ${note%.json}.sha256" "wattle.sha256 is missing"
damage "sed -i 1d ${note%.json}.sha256" "wattle.sha256 has changed"
damage "jq 'del(.hashes_sha256)' $note >$dir/n; cp $dir/n $note" "wattle.json does not tell what the files were"
echo >"$note"
expect 0 "$wattle" runtimes
in_out "not usable: damaged: wattle.json is missing or cannot be read; wattle runtimes install onnxruntime=1.32.0 repairs"
FAKE_MODE=network expect 1 install onnxruntime
only ./onnxruntime-1.32.0
damage : "wattle.json is missing"

# A package that pip knows by another name, of a longer version, with more beside it: one installation
# under both versions, and what its Python part needs stays.
expect 0 install pytorch --dry-run
in_out "--report $runtimes/.pytorch-2.13.0.partial/pip-report.json torch==2.13.0 numpy onnx=="
in_out "--no-deps onnx2torch=="
! grep -q -- --no-compile "$dir/out" || fail "Python code is not compiled"
rm "$FAKE_LOG"
expect 0 install pytorch
in_out "$runtimes/pytorch-2.13.0+cpu: installed"
[ "$(grep -c 'pip install' "$FAKE_LOG")" -eq 2 ] || fail "pip did not run twice"
json "$runtimes/pytorch-2.13.0+cpu/wattle.json" '.version == "2.13.0+cpu"'
[ -e "$runtimes/pytorch-2.13.0+cpu/lib/python3.11/site-packages/setuptools" ] || fail "setuptools is gone"
rm "$FAKE_LOG"
for version in "" =2.13.0 =2.13 =2.13.0+cpu; do
    expect 0 install "pytorch$version"
    in_out "was there already"
done
[ ! -e "$FAKE_LOG" ] || fail "a second time something was run"
expect 2 "$wattle" runtimes remove pytorch=2.13.1
expect 2 "$wattle" runtimes remove pytorch=2.13.0+cu130
expect 0 "$wattle" runtimes remove pytorch=2.13.0
only ./onnxruntime-1.32.0

# Side by side, compared under names that tell them apart.
expect 0 install onnxruntime=1.9.0 onnxruntime=1.31.1 onnxruntime-openvino -q
[ ! -s "$dir/err" ] || fail "-q talks"
expect 0 "$wattle" runtimes
[ "$(grep -c '^onnxruntime ' "$dir/out")" -eq 3 ] || fail "not three versions"
[ "$(awk '$1 == "onnxruntime" { print $2 }' "$dir/out" | tr '\n' ' ')" = "1.32.0 1.31.1 1.9.0 " ] ||
    fail "versions are not sorted by number"
in_out "onnxruntime:openvino"
expect 0 "$wattle" doctor
in_out "onnxruntime:openvino"
expect 0 "$wattle" run resnet50 -r onnxruntime@1.31,onnxruntime@1.32.0 --dry-run
in_out "onnxruntime 1.31.1:cpu"; in_out "onnxruntime 1.32.0:cpu"; in_out "12 blocks"
expect 0 "$wattle" run resnet50 --dry-run
in_out "onnxruntime 1.32.0:cpu"; in_out "on builtin:cpu"
! grep -q 1.31.1 "$dir/out" || fail "an old version is measured unasked"
expect 1 "$wattle" run resnet50 -r onnxruntime@1.2 --dry-run
in_err "not here in version 1.2, but in 1.32.0, 1.31.1, 1.9.0"; in_err "install onnxruntime=1.2"
expect 1 "$wattle" run resnet50 -r openvino --dry-run
in_err "runtime openvino is not installed"; in_err "wattle runtimes install openvino"

# A library that is none: a row that says so, not a crash.
expect 3 "$wattle" run "$root/tests/fixtures/onnx/ir3.onnx" -r onnxruntime@1.31.1 -t 1 --blocks 1 \
    --duration 20ms --warmup 20ms --sysroot "$quiet" --json "$dir/rows.json"
json "$dir/rows.json" '.cells[0].runtime | .version == "1.31.1" and (.library | test("so.1.31.1$"))'
json "$dir/rows.json" '.cells[0].error != null'

# Remove: one of several must be named.
expect 2 "$wattle" runtimes remove onnxruntime
in_err "more than once: 1.31.1, 1.32.0, 1.9.0"
expect 0 "$wattle" runtimes remove onnxruntime=1.9.0 --dry-run
in_out "rm -r $runtimes/onnxruntime-1.9.0"
[ -e "$runtimes/onnxruntime-1.9.0" ] || fail "a dry run removes"
expect 0 "$wattle" runtimes remove onnxruntime=1.9.0 onnxruntime=1.31.1 onnxruntime-openvino
only ./onnxruntime-1.32.0
expect 2 "$wattle" runtimes remove onnxruntime=1.9.0
in_err "onnxruntime 1.9.0 is not installed"
expect 0 "$wattle" runtimes remove onnxruntime
only

# Links: a virtual environment and a library folder; the folder itself is never touched.
mkdir -p "$dir/venv" && FAKE_MODE=good "$dir/bin/python3" -m venv "$dir/venv" &&
    "$dir/venv/bin/python3" -m pip install openvino==2026.4.1 >/dev/null || fail "no venv"
expect 0 "$wattle" runtimes link openvino "$dir/venv"
in_out "libopenvino_c.so.2641: linked"
expect 0 "$wattle" runtimes link openvino "$dir/venv/"
expect 0 "$wattle" runtimes
[ "$(awk '$1 == "openvino" { print $2, $3 }' "$dir/out" | head -n 1)" = "2026.4.1 linked" ] || fail "no link"
expect 0 install openvino
expect 0 "$wattle" runtimes link openvino "$dir/venv"
in_err "it goes before $runtimes/openvino-2026.4.1"
expect 0 "$wattle" runtimes
[ "$(awk '$1 == "openvino" { print $3 }' "$dir/out" | tr '\n' ' ')" = "linked private " ] || fail "no order"
in_out "never chosen: the one above is of the same version"
in_out "devices: not known: cannot load OpenVINO" # it is no library at all
expect 0 "$wattle" runtimes unlink openvino --dry-run
in_out "rm -r $runtimes/openvino-2026.4.1.link"
expect 0 "$wattle" runtimes remove openvino=2026.4.1
in_out "$runtimes/openvino-2026.4.1: removed"
only ./openvino-2026.4.1.link
expect 0 "$wattle" runtimes unlink openvino
expect 2 "$wattle" runtimes unlink openvino
in_err "openvino is not linked by wattle"
[ -d "$dir/venv/lib" ] || fail "removing a link removed what it points to"
expect 2 "$wattle" runtimes link openvino "$dir/none"
in_err "there is no library of openvino below"
expect 2 "$wattle" runtimes link openvino "$dir/nowhere"
in_err "is not a folder"
expect 2 "$wattle" runtimes link openvino
expect 2 "$wattle" runtimes link openvino=1 "$dir/venv"
only

# Wrong names.
expect 2 install onnxrutime
in_err "did you mean 'onnxruntime'?"
expect 2 install
expect 2 "$wattle" runtimes frobnicate
in_err "it has: install, remove, link, unlink"
for version in ../x 1/2 '' '1 2' -1 "$(printf '1\033')"; do
    expect 2 install "onnxruntime=$version"
done
only

# Failures: the reason and what to do, and nothing half-installed.
try() { # MODE TEXT HINT
    FAKE_MODE=$1 expect 1 install onnxruntime
    in_err "$2"; in_err "$3"; no_out; only
}
try network "cannot reach a package index for onnxruntime 1.32.0" "--pip-args"
try missing "onnxruntime 1.32.0 does not exist for this Python and machine" "install onnxruntime=VERSION"
try space "no space for onnxruntime 1.32.0" "make room below"
try no_venv "cannot make virtual environments" "apt-get install python3-venv"
try killed "killed by signal 9" "wattle: "
try empty "the library is not in it" "wattle: "
try odd "things" "wattle: "
! grep -q "$(printf '\033')" "$dir/err" || fail "an escape reached the terminal"
FAKE_MODE=old expect 0 install onnxruntime
expect 0 "$wattle" runtimes remove onnxruntime

# No python at all.
PATH=$dir/none expect 1 install onnxruntime
in_err "there is no program 'python3'"; in_err "apt-get install python3"
only

# A full disk (a file size limit): nothing stays.
(ulimit -f 20; install onnxruntime) >"$dir/out" 2>"$dir/err" </dev/null &&
    fail "a full disk goes unnoticed"
only
(ulimit -f 0; install onnxruntime) >"$dir/out" 2>"$dir/err" </dev/null && fail "no space at all goes unnoticed"
only

# Interrupted: 130, everything that was started has ended, nothing stays; then it works.
FAKE_MODE=slow "$wattle" runtimes install onnxruntime >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
for _ in $(seq 100); do [ -s "$FAKE_LOG.pid" ] && break; sleep 0.05; done
kill -INT "$pid"; wait "$pid"
[ $? -eq 130 ] || fail "an interrupt is no exit 130"
in_err "interrupted"
sleep 0.2
grep -qs '^State:.*[RSD] (' "/proc/$(cat "$FAKE_LOG.pid")/status" && fail "a program that pip started still runs"
only

# Killed: what is left is hidden, and taken away by whichever comes next, once the pip that was left
# has ended.
rm -f "$FAKE_LOG.pid"
FAKE_MODE=slow "$wattle" runtimes install onnxruntime >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
for _ in $(seq 100); do [ -s "$FAKE_LOG.pid" ] && break; sleep 0.05; done
kill -9 "$pid"; wait "$pid" 2>/dev/null
only ./.onnxruntime-1.32.0.partial
expect 0 "$wattle" runtimes
in_out "not here"
"$wattle" runtimes install openvino >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
for _ in $(seq 100); do [ -s "$dir/err" ] && break; sleep 0.05; done
in_err "waiting for another wattle that installs or removes, or the pip that it has left"
only ./.onnxruntime-1.32.0.partial
kill "$(cat "$FAKE_LOG.pid")"
wait "$pid" || fail "after a killed one it fails"
only ./openvino-2026.4.1
expect 0 "$wattle" runtimes remove openvino

# Two at once: one waits, both succeed, pip runs once.
rm -f "$FAKE_LOG"
export FAKE_MODE=pause
"$wattle" runtimes install onnxruntime >"$dir/one" 2>&1 </dev/null &
one=$!
"$wattle" runtimes install onnxruntime >"$dir/two" 2>&1 </dev/null &
two=$!
wait "$one" || fail "the first of two: $(cat "$dir/one")"
wait "$two" || fail "the second of two: $(cat "$dir/two")"
[ "$(grep -c 'pip install' "$FAKE_LOG")" -eq 1 ] || fail "pip ran twice"
cat "$dir/one" "$dir/two" >"$dir/out"
in_out "waiting for another wattle"; in_out "was there already"
only ./onnxruntime-1.32.0
PATH=$real_path

# The user's own Python settings do not reach pip, and credentials are not kept.
PATH=$dir/bin:$real_path FAKE_MODE=good
: >"$FAKE_LOG.environment"
PYTHONPATH=/somewhere PIP_TARGET=/elsewhere PIP_USER=1 expect 0 install onnxruntime=1.30.0 \
    --pip-args "--extra-index-url http://user:s3cret@127.0.0.1/x"
grep -q '^foreign:$' "$FAKE_LOG.environment" || fail "python3 was not run"
! grep -q 'foreign:.' "$FAKE_LOG.environment" || fail "foreign settings reached pip"
grep -q 's3cret' "$FAKE_LOG" || fail "the credentials did not reach pip"
! grep -rq 's3cret' "$runtimes" || fail "credentials were kept"
