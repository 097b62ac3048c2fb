# One output folder and two runs; a run that ends early and what it may not leave.
begin() { # OUTPUT ARGUMENTS...: a run in the background, $pid, once it has begun its output
    folder=$1
    shift
    num_cases=$((num_cases + 1))
    "$program" quantize "$model" --method rtn --output "$folder" --device host "$@" >"$stdout" 2>"$work/first" </dev/null &
    pid=$!
    while [ ! -e "$folder.partial/bitmill.journal" ] && kill -0 "$pid" 2>/dev/null; do :; done
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
