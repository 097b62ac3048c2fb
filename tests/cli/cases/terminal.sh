# What stands on a terminal: progress in one line of its width, and no control characters of a model, a path or a name.
on_terminal() { # COLUMNS TITLE ARGUMENTS...: the program on a terminal; what it said is in $stdout
    columns=$1 title=$2
    shift 2
    num_cases=$((num_cases + 1))
    : >"$stderr"
    python3 "$here/terminal.py" "$columns" "$program" "$@" >"$stdout" 2>"$stderr" || complain "exit status $?, expected 0"
}

# swap FIRST SECOND: exchanges the ids of two pieces in the model's vocabulary.
swap() {
    python3 - "$model/tokenizer.json" "$1" "$2" <<'PY'
import json, sys
path, first, second = sys.argv[1:]
with open(path, encoding="utf-8") as f:
    j = json.load(f)
v = j["model"]["vocab"]
v[first], v[second] = v[second], v[first]
with open(path, "w", encoding="utf-8") as f:
    json.dump(j, f)
PY
}

# python3 has the pseudo-terminal.
if command -v python3 >/dev/null; then
    # Every state of the line that is redrawn is at most WIDTH characters; a phase reaches 100 % once.
    lines_fit() { # WIDTH
        tr '\r' '\n' <"$stdout" | grep -aF '%' | LC_ALL=C sed "s/$(printf '\033')\[K//" >"$work/states"
        [ -s "$work/states" ] || { complain 'no progress'; return; }
        wide=$(awk -v width="$1" 'length($0) > width' "$work/states" | head -n 1)
        [ -z "$wide" ] || complain "wider than $1 columns: $wide"
        twice=$(grep -a '100 %' "$work/states" | sed 's/,.*//' | sort | uniq -d)
        [ -z "$twice" ] || complain "100 % more than once: $twice"
        grep -aq '100 %' "$work/states" || complain 'expected 100 % once'
    }
    for columns in 80 40 20; do
        on_terminal "$columns" "progress on $columns columns" eval "$model" --data "$data/evaluation.txt" --device "$DEVICE"
        lines_fit $((columns - 1))
    done
    on_terminal 0 'progress on a terminal that does not say its width' quantize "$model" --method rtn --output "$out" --device "$DEVICE"
    lines_fit 79
    rm -rf "$out"
    on_terminal 80 'progress of a benchmark' bench --products --shapes small --variant gemm=generic --device "$DEVICE"
    grep -aq 'measure products, 1 of 3 measurements (33 %)' "$stdout" || complain 'expected the second of three measurements'
    tr '\r' '\n' <"$stdout" | grep -aq "^$(printf '\033')\[K[^ ]* *generic  *1 x 576 x 576 " || complain 'expected results in its place'

    # The text of a model: on a terminal no control characters, elsewhere the bytes, in JSON escapes.
    works '' 'what the model says' generate "$model" --prompt 'Once upon' --max-new-tokens 3 --device "$DEVICE" --json --quiet
    json_is 'j["text"] == " a time,"'
    swap '▁a' '<0x00>'
    swap '▁time' '<0x1B>'
    works '' 'a zero byte in JSON' generate "$model" --prompt 'Once upon' --max-new-tokens 3 --device "$DEVICE" --json --quiet
    json_is 'j["text"] == "\0\x1b,"'
    grep -q '"text": "\\u0000\\u001b,"' "$stdout" || complain 'expected escapes'
    works '' 'a zero byte in a pipe' generate "$model" --prompt 'Once upon' --max-new-tokens 3 --device "$DEVICE" --quiet
    printf 'Once upon\000\033,\n' | cmp -s - "$stdout" || complain 'expected the bytes as they are'
    on_terminal 80 'control characters of a model on a terminal' generate "$model" --prompt "$(printf 'a\033[2J\302\233bOnce upon')" \
        --max-new-tokens 3 --device "$DEVICE" --quiet
    LC_ALL=C grep -aq "$(printf '[\001-\010\013\014\016-\037\177]\|\302[\200-\237]')" "$stdout" && complain 'control characters on a terminal'
    grep -aq "$(printf 'a\357\277\275\[2J\357\277\275bOnce upon')" "$stdout" || complain 'expected U+FFFD in the prompt'
    fresh_model
else
    skip 'terminals: no python3'
fi

# Paths and names that a model brings: no control characters anywhere but in the file system.
no_control_characters() { # FILE
    LC_ALL=C grep -aq "$(printf '[\001-\010\013-\037\177]\|\302[\200-\237]')" "$1" && complain "control characters: $1"
}
odd="$work/$(printf 'odd\033[31m\302\233m')"
cp -r "$model" "$odd"
works 'odd?[31m?m' 'a path of control characters' inspect "$odd"
no_control_characters "$stdout"
safetensors "$work/names.safetensors" '{"a\u001b[31mb\u009bc":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' 4
works 'a?[31mb?c' 'a tensor of control characters' inspect "$work/names.safetensors"
no_control_characters "$stdout"
works '' 'an output whose name has a line break' quantize "$model" --method rtn --device "$DEVICE" --output "$work/$(printf 'two\nlines')"
grep -q '^output:  .*/two?lines, compressed-tensors' "$stderr" || complain 'expected the name in one line'
rm "$odd/config.json"
fails 2 'odd?[31m?m' 'an error about such a path' quantize "$odd" --method rtn --output "$out"
no_control_characters "$stderr"
works 'new?[31m?m' 'an output of such a path' quantize "$model" --method rtn --device "$DEVICE" --output "$work/$(printf 'new\033[31m\302\233m')"
no_control_characters "$stdout"
no_control_characters "$stderr"
