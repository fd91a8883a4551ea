#!/usr/bin/env bash
# Exports to what is not a plain file, and exports that fail at the end.
. "$(dirname "$0")/lib.sh"

: >"$dir/out"; : >"$dir/err"
# A pipe with a reader is written, and stays a pipe.
mkfifo "$dir/pipe"
timeout 60 cat "$dir/pipe" >"$dir/read.json" &
reader=$!
exec 7<>"$dir/pipe" # so that the reader is there before wattle looks
"${fake[@]}" --json "$dir/pipe" >"$dir/out" 2>"$dir/err" 7>&- </dev/null || fail "a pipe cannot be written"
exec 7>&-
wait "$reader"
[ -p "$dir/pipe" ] || fail "the pipe was replaced"
json "$dir/read.json" '.schema == "wattle/1"'

# So is bash's >(...).
expect 0 fake --csv >(cat >"$dir/read.csv")
for _ in $(seq 50); do [ -s "$dir/read.csv" ] && break; sleep 0.1; done
grep -q fake "$dir/read.csv" || fail "a process substitution got nothing"

# stdout by another name: the result alone.
expect 0 fake --json /dev/stdout
json "$dir/out" '.schema == "wattle/1"'
fake --json /dev/stdout 2>"$dir/err" | cat >"$dir/out"
json "$dir/out" '.schema == "wattle/1"'
expect 2 fake --json /dev/stdout --csv -
in_err "only one of"

# Of a link the target is replaced; one that leads nowhere is an error.
mkdir "$dir/far"
echo old >"$dir/far/real.json"
ln -s far/real.json "$dir/link.json"
expect 0 fake --json "$dir/link.json"
[ -L "$dir/link.json" ] || fail "the link was replaced"
json "$dir/far/real.json" '.schema == "wattle/1"'
[ "$(ls "$dir/far")" = real.json ] || fail "more than the target was left"
ln -s far/nothing "$dir/dangling"
expect 1 fake --json "$dir/dangling"
in_err "dangling"

# The device stays; what cannot be written there costs neither the table nor the other export.
expect 0 fake --json /dev/null
[ -c /dev/null ] || fail "/dev/null was replaced"
expect 1 fake --json /dev/full --csv "$dir/still.csv"
[ -c /dev/full ] || fail "/dev/full was replaced"
in_err "cannot write '/dev/full'"; in_out "fake"
[ -s "$dir/still.csv" ] || fail "the other export is lost"
[ -z "$(find /dev -maxdepth 1 -name 'null.*' -o -maxdepth 1 -name 'full.*')" ] || fail "left in /dev"

# A store that takes no more blocks, as on a full disk, costs none of those that are kept.
expect 0 fake --store "$dir/s.db"
python3 -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("create unique index stop on block (cell_id) where number >= 3")' "$dir/s.db"
expect 1 fake --blocks 6 --store "$dir/s.db" --json "$dir/some.json"
in_err "store '$dir/s.db'"; in_out "cut short"
json "$dir/some.json" '.campaign.finished == null and (.cells[0].blocks | length >= 3 and length < 6)'
# The table comes without the export too, and both failures are told.
expect 1 fake --blocks 6 --store "$dir/s.db" --json /dev/full
in_err "cannot write '/dev/full'"; in_err "store '$dir/s.db'"; in_out "cut short"

# A file system that is only read: its own words, not those of a file that is not there.
if [ -w / ] && mkdir "$dir/ro" && mount -t tmpfs -o ro none "$dir/ro" 2>/dev/null; then
    expect 1 fake --store "$dir/ro/s.db"
    umount "$dir/ro"
    in_err "cannot open store '$dir/ro/s.db': Read-only file system"
fi

# Closed descriptors: no message goes into what is opened in their place.
: >"$dir/out"; : >"$dir/err"
"${fake[@]}" --json "$dir/closed.json" 2>&- >"$dir/out" <&-
code=$?
[ "$code" -eq 0 ] || fail "exit $code with stdin and stderr closed"
json "$dir/closed.json" '.campaign.finished != null'
"${fake[@]}" --json "$dir/closed.json" 2>&- >"$dir/out" </dev/null || fail "stderr closed"
"${fake[@]}" --json "$dir/closed.json" <&- >"$dir/out" 2>"$dir/err" || fail "stdin closed"
"$wattle" run nonesuch 2>&- <&- >"$dir/out"
[ $? -eq 2 ] || fail "the exit code changes with stderr closed"
nothing_runs
