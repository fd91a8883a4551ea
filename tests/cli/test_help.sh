#!/usr/bin/env bash
# One source of option text: what the parser takes, --help tells, and the other way round.
. "$(dirname "$0")/lib.sh"

expect 0 "$wattle" --version
in_out "wattle "
expect 0 "$wattle" --help
for command in doctor run runtimes models convert worker; do
    in_out "$command"
done

for command in doctor run runtimes models convert worker; do
    expect 0 "$wattle" "$command" --help
    [ "$(awk 'length > 80' "$dir/out" | wc -l)" -eq 0 ] || fail "help of $command is wider than 80"
    grep -oE -- '--[a-z][a-z-]+' "$dir/out" | sort -u >"$dir/options"
    [ -s "$dir/options" ] || fail "no options in the help of $command"
    while read -r option; do
        "$wattle" "$command" "$option=1" --no-such-option >/dev/null 2>"$dir/err"
        ! grep -qF "unknown option '$option'" "$dir/err" || fail "$command does not take $option"
    done < <(grep -vE -- '--(measured|help|worker)$' "$dir/options")
done
expect 0 "$wattle" run --help
mv "$dir/out" "$dir/help"
expect 0 "$wattle" help run
cmp -s "$dir/out" "$dir/help" || fail "help run is not run --help"

# Every option of the table is in some help.
names=$(sed -nE 's/^    \{OPTION_[A-Z_]+, [^,]+, "([a-z-]+)".*/\1/p' "$root/src/cmd/options.c")
[ "$(echo "$names" | wc -l)" -gt 20 ] || fail "the table was not read"
{ "$wattle" run --help; "$wattle" doctor --help; "$wattle" runtimes --help
  "$wattle" models --help; "$wattle" convert --help; "$wattle" worker --help; } >"$dir/out"
for name in $names; do
    in_out "--$name"
done
