#!/bin/sh
# Tests of the program as its users meet it: exit statuses, words on standard error, what is left behind.
#
#   run.sh PROGRAM SOURCE_FOLDER CASES...     CASES: names of files in cases/, without .sh
#
# A case file is a table of calls of the functions below; "$work" is an empty folder of its own, "$model" a copy of the
# example model in it. Exit status: 0 all pass, 1 some fail, 77 nothing could be tested.
# shellcheck disable=SC2034  # the variables are for the case files
set -u
[ $# -ge 3 ] || { echo "usage: run.sh PROGRAM SOURCE_FOLDER CASES..." >&2; exit 2; }
program=$1 source=$2
shift 2
[ -x "$program" ] || { echo "$program: not built" >&2; exit 77; }
here=$(dirname "$0")
work=$(mktemp -d "${TMPDIR:-/tmp}/bitmill-cli.XXXXXX") || exit 1
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
model=$work/model out=$work/out stdout=$work/stdout stderr=$work/stderr
data=$source/examples/data
num_cases=0 num_failed=0 num_skipped=0
DEVICE=${BITMILL_TEST_DEVICE:-auto}
# Before a program that runs in the background: a shell ignores SIGINT for it, and it would leave that as it is.
heeds_int='env --default-signal=INT'

# A case that is not possible here: says why, is no pass.
skip() {
    num_skipped=$((num_skipped + 1))
    echo "skip: $*"
}

# complain WORDS: the case failed; what the program said follows.
complain() {
    num_failed=$((num_failed + 1))
    printf 'FAILED: %s\n  %s\n' "$title" "$1"
    sed 's/^/  | /' "$stderr" | head -n 12
}

# A fresh copy of the example model in $model.
fresh_model() {
    rm -rf "$model" "$out" "$out.partial"
    mkdir "$model"
    cp "$source"/examples/model/*.json "$source"/examples/model/model.safetensors "$model"
}

# run TITLE ARGUMENTS...: runs the program, status in $code.
run() {
    title=$1
    shift
    num_cases=$((num_cases + 1))
    "$program" "$@" >"$stdout" 2>"$stderr" </dev/null
    code=$?
}

# Whether a word of the list, '|' between them, is missing in the file: prints it.
missing_word() {
    printf '%s\n' "$2" | tr '|' '\n' | while IFS= read -r word; do
        [ -z "$word" ] || grep -qF -- "$word" "$1" || { printf '%s\n' "$word"; break; }
    done
}

# fails CODE 'WORD|WORD' TITLE ARGUMENTS...: that exit status; exactly one line "bitmill: ..." and it last; the words in
# it; no output and no .partial folder.
fails() {
    want=$1 words=$2
    shift 2
    run "$@"
    [ "$code" -eq "$want" ] || { complain "exit status $code, expected $want"; return; }
    [ "$(grep -c '^bitmill: ' "$stderr")" -eq 1 ] || { complain "expected one line that starts with \"bitmill: \""; return; }
    case $(tail -n 1 "$stderr") in
    "bitmill: "*) ;;
    *) complain "expected the error on the last line"; return ;;
    esac
    tail -n 1 "$stderr" >"$work/line"
    lacking=$(missing_word "$work/line" "$words")
    [ -z "$lacking" ] || { complain "the error lacks \"$lacking\""; return; }
    nothing_left
}

# The output folder and its unfinished form are not there.
nothing_left() {
    for path in "$work"/*.partial "$model"/*.partial "$out"; do
        [ ! -e "$path" ] || complain "left behind: $path"
        [ ! -e "$path" ] || rm -rf "$path"
    done
}

# works 'WORD|WORD' TITLE ARGUMENTS...: exit status 0, the words on standard output.
works() {
    words=$1
    shift
    run "$@"
    [ "$code" -eq 0 ] || { complain "exit status $code, expected 0"; return; }
    lacking=$(missing_word "$stdout" "$words")
    [ -z "$lacking" ] || complain "standard output lacks \"$lacking\""
}

# json_is EXPRESSION: standard output is JSON and the Python expression over it, j, is true. Without python3: a skip.
json_is() {
    command -v python3 >/dev/null || { skip "$title: the JSON is not looked at: no python3"; return; }
    python3 -c 'import json, sys
j = json.load(open(sys.argv[1], encoding="utf-8"))
sys.exit(0 if eval(sys.argv[2]) else 1)' "$stdout" "$1" 2>"$stderr" || complain "no JSON or not true of it: $1"
}

# le64 NUMBER: its eight bytes, the lowest first.
le64() {
    n=$1
    for _ in 1 2 3 4 5 6 7 8; do
        # shellcheck disable=SC2059  # the format is the byte
        printf "\\$(printf '%03o' $((n % 256)))"
        n=$((n / 256))
    done
}

# safetensors FILE HEADER DATA_BYTES: a file of that header and zeros.
safetensors() {
    { le64 "${#2}"; printf '%s' "$2"; head -c "$3" /dev/zero; } >"$1"
}

# edit FILE SED_SCRIPT: edits the file in place, as bytes.
edit() {
    LC_ALL=C sed "$2" "$1" >"$1.new" && mv "$1.new" "$1"
}

for name in "$@"; do
    fresh_model
    # shellcheck disable=SC1090
    . "$here/cases/$name.sh"
done
echo "$num_cases cases, $num_failed failed, $num_skipped skipped"
[ "$num_failed" -eq 0 ] || exit 1
[ "$num_cases" -gt 0 ] || exit 77
