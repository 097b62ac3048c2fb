# One output folder and two runs; a run that ends early and what it may not leave.
words=$work/first # where a run in the background says what it does
begin() { # OUTPUT ARGUMENTS...: a run in the background, $pid, once it has begun its output
    folder=$1
    shift
    num_cases=$((num_cases + 1))
    $heeds_int "$program" quantize "$model" --method rtn --output "$folder" --device host "$@" >"$stdout" 2>"$words" </dev/null &
    pid=$!
    until_there test -e "$folder.partial/bitmill.journal"
}
until_there() { # COMMAND...: until it holds. A child that ended is still there for kill -0: patience ends, too.
    patience=6000
    while ! "$@" && [ "$patience" -gt 0 ]; do
        sleep 0.01
        patience=$((patience - 1))
    done
    [ "$patience" -gt 0 ] || complain "waited in vain for: $*"
}
end() { # CODE 'WORDS': of that run, ended by Ctrl-C if it still runs
    kill -INT "$pid" 2>/dev/null
    wait "$pid"
    code=$?
    cp "$work/first" "$stderr"
    [ "$code" -eq "$1" ] || complain "exit status $code, expected $1"
    tail -n 1 "$stderr" | grep -qF -- "$2" || complain "the last line lacks \"$2\""
}

# Evaluation on the host takes many seconds.
begin "$work/two" --data "$data" --set do_eval=true
title='the second of two runs with one output'
for more in '' overwrite_output_dir=true; do
    "$program" quantize "$model" --method rtn --output "$work/two" ${more:+--set "$more"} --quiet >"$stdout" 2>"$stderr" </dev/null
    code=$?
    [ "$code" -eq 2 ] || complain "exit status $code, expected 2"
    [ "$(wc -l <"$stderr")" -eq 1 ] || complain 'expected one line'
    grep -q '^bitmill: .*two.partial: another run is writing it' "$stderr" || complain 'expected words on the other run'
    [ -e "$work/two.partial/bitmill.journal" ] || complain "the first run's files are gone"
done
title='the first of two runs with one output'
end 130 'bitmill: interrupted'
[ -z "$(find "$work" -name 'two*')" ] || complain 'left behind'

title='parents of an output that does not come about'
begin "$work/parents/of/out" --data "$data" --set do_eval=true
end 130 'bitmill: interrupted'
[ ! -e "$work/parents" ] || complain "left behind: $(find "$work/parents")"

# As timeout does it: its child, then the group of the child. Stopped, the program cannot have ended before the second.
title='two TERMs, 10 ms apart'
begin "$work/twice" --data "$data" --set do_eval=true
kill -TERM "$pid"
kill -STOP "$pid"
sleep 0.01
kill -TERM "$pid"
kill -CONT "$pid"
end 130 'bitmill: interrupted'
[ -z "$(find "$work" -name 'twice*')" ] || complain "left behind: $(find "$work" -name 'twice*')"
rm -rf "$work"/twice*

# A second and more later it ends the program at once. So that the first cannot have ended it by then, its last words go
# into a pipe that is full and that nobody reads.
title='two TERMs, 1.1 s apart'
mkfifo "$work/full"
exec 9<>"$work/full"
dd if=/dev/zero of="$work/full" bs=4096 oflag=nonblock 2>"$work/fill"
words=$work/full
begin "$work/twice" --data "$data" --set do_eval=true --quiet
words=$work/first
kill -TERM "$pid"
sleep 1.1
kill -TERM "$pid"
# A program that heeds neither ends once its words are read. The end that reads is open before the one that writes is
# closed: a cat that opens the name itself may come when all are gone, and wait forever with the stream of this script.
exec 8<"$work/full" 9>&-
cat <&8 >/dev/null 2>&1 &
exec 8<&-
wait "$pid" 2>/dev/null
code=$?
wait
[ "$code" -eq 143 ] || complain "exit status $code, expected that of TERM"
rm -rf "$work"/twice* "$work/full"

# Ctrl-C while floats are copied: an embedding of 64 million numbers takes a part of a second.
if command -v python3 >/dev/null; then
    python3 - "$model/model.safetensors" <<'PY'
import json, sys
with open(sys.argv[1], "rb") as f:
    size = int.from_bytes(f.read(8), "little")
    header, data = json.loads(f.read(size)), f.read()
header["once"] = header.pop("model.embed_tokens.weight")
header["model.embed_tokens.weight"] = {"dtype": "F32", "shape": [250000, 256], "data_offsets": [len(data), len(data) + 256000000]}
text = json.dumps(header).encode()
with open(sys.argv[1], "wb") as f:
    f.write(len(text).to_bytes(8, "little") + text + data)
    f.truncate(8 + len(text) + len(data) + 256000000)
PY
    edit "$model/config.json" 's/"vocab_size": *1024/"vocab_size": 250000/'
    title='Ctrl-C while floats are copied'
    begin "$out"
    until_there grep -q '^copy floats' "$work/first"
    end 130 'bitmill: interrupted'
    nothing_left
    fresh_model
else
    skip 'a model that takes long to write: no python3'
fi

# What lies in a result and is not of it is not removed, nor is a model.
works '' 'a result' quantize "$model" --method rtn --output "$work/mine" --device host --set scale_search=abs_max --quiet
echo precious >"$work/mine/notes.txt"
fails 2 'mine|notes.txt' 'a result with a note of the user' quantize "$model" --method rtn --output "$work/mine" --device host --set scale_search=abs_max \
    --set overwrite_output_dir=true
rm "$work/mine/notes.txt"
cp -r "$model" "$work/mine/model"
fails 2 'mine|is inside it' 'a model in the result that is to be replaced' quantize "$work/mine/model" --method rtn --output "$work/mine" \
    --device host --set scale_search=abs_max --set overwrite_output_dir=true
[ -e "$work/mine/model/config.json" ] || complain 'the model is gone'
rm -r "$work/mine/model"
works '' 'a result alone is replaced' quantize "$model" --method rtn --output "$work/mine" --device host --set scale_search=abs_max --quiet \
    --set overwrite_output_dir=true
ln -s "$model" "$work/way"
fails 2 'inside the model' 'an output in the model, through a link' quantize "$model" --method rtn --output "$work/way/in" --device host --set scale_search=abs_max
before=$(pwd)
cd "$model" || exit 1
fails 2 'inside the model' 'an output in the model, from within' quantize . --method rtn --output in --device host
cd "$before" || exit 1
rm "$work/way"

# Without standard streams a file must not take their numbers: nothing that is printed may land in it.
works '' 'a result to compare with' quantize "$model" --method rtn --output "$work/open" --device host --set scale_search=abs_max --quiet
title='standard streams closed' num_cases=$((num_cases + 1))
: >"$stderr"
"$program" quantize "$model" --method rtn --output "$work/closed" --device host --set scale_search=abs_max <&- >&- 2>&-
code=$?
[ "$code" -eq 2 ] || complain "exit status $code, expected 2: the last words cannot be written"
for name in model.safetensors config.json tokenizer.json; do
    cmp -s "$work/open/$name" "$work/closed/$name" || complain "$name differs"
done
for closed in 0 1 2; do
    title="standard stream $closed closed" num_cases=$((num_cases + 1))
    rm -rf "$work/closed"
    case $closed in
    0) "$program" quantize "$model" --method rtn --output "$work/closed" --device host --set scale_search=abs_max <&- >"$stdout" 2>"$stderr" ;;
    1) "$program" quantize "$model" --method rtn --output "$work/closed" --device host --set scale_search=abs_max </dev/null >&- 2>"$stderr" ;;
    2) "$program" quantize "$model" --method rtn --output "$work/closed" --device host --set scale_search=abs_max </dev/null >"$stdout" 2>&- ;;
    esac
    cmp -s "$work/open/model.safetensors" "$work/closed/model.safetensors" || complain 'model.safetensors differs'
done

# A reader that goes away ends the program as it ends others, and a run leaves nothing behind.
heeds_pipe='env --default-signal=PIPE'
title='a closed pipe while a model is quantized' num_cases=$((num_cases + 1))
: >"$stderr"
{
    $heeds_pipe "$program" quantize "$model" --method rtn --output "$out" --device host --data "$data" --set do_eval=true 2>&1
    echo $? >"$work/code"
} | sed '/^copy floats/q' >"$stdout" # the output is begun
[ "$(cat "$work/code")" -eq 141 ] || complain "exit status $(cat "$work/code"), expected that of SIGPIPE"
grep -q '^copy floats' "$stdout" || complain 'expected the first lines'
nothing_left
for command in "inspect $model" "inspect $model --json" devices; do
    title="a closed pipe: $command" num_cases=$((num_cases + 1))
    # shellcheck disable=SC2086  # words
    { sleep 0.2; $heeds_pipe "$program" $command 2>"$stderr"; echo $? >"$work/code"; } | :
    [ "$(cat "$work/code")" -eq 141 ] || complain "exit status $(cat "$work/code"), expected that of SIGPIPE"
    [ ! -s "$stderr" ] || complain 'expected no words'
done

# A prompt that is being typed. The pipe is full: what is written into it now is accepted once the program has begun to read.
for name in INT TERM HUP; do
    title="$name while a prompt is typed" num_cases=$((num_cases + 1))
    mkfifo "$work/typed"
    exec 9<>"$work/typed"
    dd if=/dev/zero of="$work/typed" bs=4096 oflag=nonblock 2>"$work/fill"
    env --default-signal="$name" "$program" generate "$model" --prompt - --device host <"$work/typed" >"$stdout" 2>"$stderr" &
    pid=$!
    timeout 60 dd if=/dev/zero bs=4096 count=1 2>"$work/fill" >&9 || complain 'nothing is read'
    kill -"$name" "$pid"
    wait "$pid"
    code=$?
    exec 9>&-
    rm "$work/typed"
    [ "$code" -eq 130 ] || complain "exit status $code, expected 130"
done
