# Whole runs: results as JSON, silence, interruption, and surroundings that lack something.
device=$DEVICE
# PoCL's own cache stays where it is, however HOME is set below: compiling anew takes most of a minute.
[ -z "${HOME:-}" ] || export POCL_CACHE_DIR="${POCL_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pocl/kcache}"

works 'host' 'devices' devices
! grep -q '[ ,]0 compute units\|subgroups of 0' "$stdout" || complain 'devices: a number that is not known'
works '' 'devices as JSON' devices --json
json_is 'all(set(d) >= {"spec", "backend", "name", "kind"} for d in j["devices"]) and j["devices"][-1]["spec"] == "host"'
works 'host' 'devices: one of them' devices --device host
[ "$(grep -c '\[' "$stdout")" -eq 1 ] || complain 'devices --device host: expected one device'
works '' 'devices: one of them as JSON' devices --device host --json
json_is '[d["spec"] for d in j["devices"]] == ["host"]'
fails 3 'opencl:99999|none here' 'devices: none such' devices --device opencl:99999
# What the cache folder remembers of a device: a line of a tuning in the file of the device's own name.
if command -v sha256sum >/dev/null && command -v python3 >/dev/null; then
    works '' 'the device as JSON' devices --device "$device" --json
    key=$(python3 -c 'import json, sys
d = json.load(open(sys.argv[1], encoding="utf-8"))["devices"][0]
print(d["backend"], d["name"], d["driver"], sep="\n", end="")' "$stdout" | sha256sum | cut -d ' ' -f 1)
    mkdir -p "$work/memory/bitmill"
    echo 'gemm=generic' >"$work/memory/bitmill/tuning-$key"
    title='devices that are remembered'
    (XDG_CACHE_HOME=$work/memory && export XDG_CACHE_HOME &&
        "$program" devices --device "$device" --verbose >"$stdout" 2>"$stderr" && grep -q '^ *tuning: gemm=generic$' "$stdout" &&
        "$program" devices --device "$device" --json >"$stdout" 2>"$stderr" && "$program" devices --device "$device" >"$stderr" &&
        ! grep -q 'tuning' "$stderr") || complain 'expected the tuning with --verbose, there alone'
    json_is 'j["devices"][0]["remembered"] == ["tuning: gemm=generic"]'
    title='a tuning that is damaged'
    for words in gemm=generik 'gemm=generic;'; do
        echo "$words" >"$work/memory/bitmill/tuning-$key"
        (XDG_CACHE_HOME=$work/memory && export XDG_CACHE_HOME &&
            "$program" devices --device "$device" --verbose >"$stdout" 2>"$stderr" && grep -q "^ *tuning ignored: .*/tuning-$key: " "$stdout" &&
            ! grep -q '^ *tuning: ' "$stdout") || complain "expected that \"$words\" is ignored"
    done
fi
works '' 'inspect as JSON' inspect "$model" --json
json_is 'j["family"] == "llama" and j["parameters"] > 0 and j["quantization"] is None'
json_is 'all(set(t) >= {"name", "shape", "dtype"} for t in j["tensors"]) and len(j["tensors"]) > 20'
works '' 'inspect a file as JSON' inspect "$model/model.safetensors" --json
json_is 'j["family"] is None and len(j["tensors"]) > 20'

# Results, and silence but for them.
silent() { [ ! -s "$stderr" ] || complain 'expected silence on standard error'; }
works '' 'quantize as JSON' quantize "$model" --method rtn --output "$out" --device "$device" --json --quiet
silent
json_is 'j["output"] and j["seconds"] > 0 and all(set(p) >= {"name", "seconds"} for p in j["phases"])'
json_is 'all(set(l) >= {"name", "bits", "group_size", "nmse", "shape", "squared_error"} for l in j["linears"]) and len(j["linears"]) == 21'
[ -e "$out/bitmill.json" ] && [ -e "$out/model.safetensors" ] && [ -e "$out/tokenizer.json" ] || complain 'files are missing'
grep -q '<td class="heat7">' "$out/report.html" || complain 'report.html shows no linear'
[ -z "$(find "$work" -name '*.partial' -o -name '*.tmp' -o -name '*.journal')" ] || complain 'unfinished files are left'
works '' 'inspect the result' inspect "$out" --json --quiet
silent
json_is 'j["quantization"]["bits"] == 4 and j["quantization"]["group_size"] == 128'
head -c 3000 "$data/evaluation.txt" >"$work/text é.txt"
works '' 'eval as JSON' eval "$out" --reference "$model" --data "$work/text é.txt" --context 64 --device "$device" --json --quiet --profile
silent
json_is 'sum(k["dispatches"] for k in j["profile"]) > 50 and all(k["seconds"] + k["first_seconds"] < j["seconds"] for k in j["profile"])'
json_is '0 < j["model_seconds"] < j["seconds"] and abs(j["tokens"] / j["model_seconds"] / j["tokens_per_second"] - 1) < 1e-9'
json_is '1 < j["perplexity"] < 100 and j["loss"] > 0 and j["tokens"] > 100 and j["kl_divergence"] >= 0 and 0 < j["top1_agreement"] <= 1'
json_is 'abs(j["perplexity"] / 2.718281828459045 ** j["loss"] - 1) < 1e-9'
works '' 'eval of the first chunks' eval "$model" --data "$data/evaluation.txt" --context 64 --chunks 3 --device "$device" --json
grep -q '^evaluate: 192 tokens in 3 sequences, [0-9.]* MB of activations$' "$stderr" || complain 'expected words beforehand'
json_is 'j["sequences"] == 3 and j["tokens"] == 189 and j["chunks"] == 3 and j["max_tokens"] is None'
works '' 'what --verbose says' eval "$model" --data "$data/evaluation.txt" --context 64 --chunks 40 --device "$device" --verbose
grep -q 'attention: \|: \[' "$stderr" || [ "$device" = host ] || complain 'expected the choice of kernels'
[ -z "$(sort "$stderr" | uniq -d)" ] || complain "said twice: $(sort "$stderr" | uniq -d | head -n 1)"
works '' 'eval of the first tokens' eval "$model" --data "$data/evaluation.txt" --context 64 --max-tokens 100 --device "$device" --json --quiet
json_is 'j["sequences"] == 2 and j["tokens"] == 98 and j["chunks"] is None and j["max_tokens"] == 100'
works '' 'generate as JSON' generate "$out" --prompt 'Once upon' --max-new-tokens 4 --device "$device" --json --quiet
silent
json_is 'j["prompt"] == "Once upon" and j["text"].startswith(" ") and j["tokens"] == 4'
works 'Once upon a' 'the continuation keeps its first space' generate "$model" --prompt 'Once upon' --max-new-tokens 4 --device "$device"
mv "$out" "$work/first"
works '' 'a text for evaluation' quantize "$model" --method rtn --data "$work/text é.txt" --set do_eval=true --output "$out" \
    --device "$device" --json --quiet
json_is '1 < j["before"]["perplexity"] < 100 and 1 < j["after"]["perplexity"] < 100'
printf '{"load_quant_model": true, "do_eval": true, "output_dir": "%s", "dataset_name_or_path": "%s"}' "$out" "$work/text é.txt" >"$work/load.json"
works '' 'load_quant_model' quantize "$work/load.json" --set model_name_or_path="$model" --device "$device" --json --quiet
json_is '1 < j["after"]["perplexity"] < 100 and j["peak_device_bytes"] > 0 and not {"before", "linears", "input_bytes", "output_bytes"} & set(j)'
rm -rf "$out"
works '' 'the parameter file of GPTQ' quantize "$source/configs/llama/gptq_argument.json" --set model_name_or_path="$model" \
    --set dataset_name_or_path="$data" --set gptq_step=2 --set do_eval=false --output "$out" --device "$device"
grep -q '^method:  GPTQ, 4 bits, one scale a channel, symmetric, scale search weighted_mse, scales of both signs$' "$stderr" &&
    grep -q '^data:    .*/quant.json, 16 sequences, [0-9]* tokens for calibration$' "$stderr" || complain 'expected words beforehand'
grep -A 1 '"source": .*quant.json' "$out/bitmill.json" | grep -q '"sequences": 16' || complain 'expected the data in bitmill.json'
works '' 'its result' eval "$out" --data "$work/text é.txt" --context 64 --device "$device" --json --quiet
json_is '1 < j["perplexity"] < 100'
rm -rf "$out"
fails 2 'exists' 'a result is not replaced unasked' quantize "$model" --method rtn --output "$work/first/"
works '' 'a result is replaced when asked' quantize "$model" --method rtn --bits 8 --output "$work/first/" --device "$device" \
    --set overwrite_output_dir=true --quiet
ln -s first "$work/link-to-first"
works '' 'a result is replaced through a link' quantize "$model" --method rtn --bits 8 --output "$work/link-to-first" \
    --device "$device" --set overwrite_output_dir=true --quiet
[ -L "$work/link-to-first" ] && [ ! -L "$work/first" ] || complain 'expected the link and its folder as they were'
[ -e "$work/first/model.safetensors" ] && [ ! -e "$work/first/bitmill.journal" ] || complain 'expected the new result'
rm "$work/link-to-first"
fails 2 'first|model itself' 'a quantized model is not replaced by itself' quantize "$work/first" --method rtn \
    --output "$work/first" --set overwrite_output_dir=true
works '' 'and is still there' inspect "$work/first" --json
json_is 'j["quantization"]["bits"] == 8'

# Odd paths.
cp -r "$model" "$work/a model é"
ln -s "$work/a model é" "$work/link"
works '' 'blanks and accents in paths' quantize "$work/a model é" --method rtn --output "$work/new dir ü/a/b" --device "$device" --quiet
works 'llama' 'a result with blanks and accents' inspect "$work/new dir ü/a/b/"
works 'llama' 'a model that is a link, with a slash' inspect "$work/link/"
rm -rf "$work/a model é/model.safetensors"
ln -s "$model/model.safetensors" "$work/a model é/model.safetensors"
works 'llama' 'weights that are a link' inspect "$work/link"
title='standard input closed'
"$program" inspect "$model" <&- >"$stdout" 2>"$stderr" || complain 'expected exit status 0'

# Variants of kernels.
fails 2 'gemm=nosuch|generic' 'an unknown variant' generate "$model" --prompt x --device "$device" --variant gemm=nosuch
fails 2 'variant|expected' 'a variant of control characters' eval "$model" --data "$work/text é.txt" --device "$device" \
    --variant "$(printf 'a\033[31m\nb')"
fails 2 'unknown option|--variant' 'a variant where no device is opened' inspect "$model" --variant gemm=generic
fails 2 'unknown option|--variant' 'a variant for a list of devices' devices --variant gemm=nonsense
fails 2 '--tune|--variant' 'tuning while a variant is forced' bench --tune --variant gemm=generic --device "$device"
works '' 'quantize with variants' quantize "$model" --method rtn --output "$work/generic" --device "$device" --quiet \
    --variant gemm=generic --variant attention=plain
grep -q '"gemm": "generic"' "$work/generic/bitmill.json" || complain 'bitmill.json does not name the variant'
grep -q '21 of 21 quantized' "$work/generic/report.html" || complain 'report.html does not count the linears'

# Devices that are not there.
fails 2 'nosuch' 'unknown device' generate "$model" --prompt x --device nosuch
for spec in vulkan:99 opencl:99 opencl:nosuch host:7; do
    title="device $spec"
    "$program" generate "$model" --prompt x --device "$spec" >"$stdout" 2>"$stderr"
    code=$?
    { [ "$code" -eq 2 ] || [ "$code" -eq 3 ]; } || complain "exit status $code, expected 2 or 3"
    [ "$(grep -c '^bitmill: ' "$stderr")" -eq 1 ] || complain 'expected one line that starts with "bitmill: "'
done
without() { # runs the program without the drivers of both interfaces
    OCL_ICD_VENDORS=/nonexistent VK_DRIVER_FILES=/nonexistent VK_ICD_FILENAMES=/nonexistent "$program" "$@"
}
title='no drivers'
without devices >"$stdout" 2>"$stderr" || complain 'devices: expected exit status 0'
grep -q '^host ' "$stdout" || complain 'expected the host device'
for spec in opencl vulkan gpu GPU gpu:0; do
    title="no drivers, device $spec"
    without quantize "$model" --method rtn --output "$out" --device "$spec" >"$stdout" 2>"$stderr"
    code=$?
    [ "$code" -eq 3 ] || complain "exit status $code, expected 3"
    [ "$(grep -c '^bitmill: ' "$stderr")" -eq 1 ] || complain 'expected one line that starts with "bitmill: "'
    nothing_left
done

fails 2 'nosuch|auto, gpu, host' 'unknown device for quantize' quantize "$model" --method rtn --output "$out" --device nosuch
# gpu in a parameter file is auto, unless the command line says something; the record tells what was used.
recorded() { # 'WORDS' EXPRESSION TITLE ARGUMENTS...: a run of the file without drivers; EXPRESSION over its record, j
    words=$1 expression=$2 title=$3
    shift 3
    num_cases=$((num_cases + 1))
    without quantize "$work/gpu.json" "$@" >"$stdout" 2>"$stderr" </dev/null || complain 'expected exit status 0'
    lacking=$(missing_word "$stderr" "$words")
    [ -z "$lacking" ] || complain "standard error lacks \"$lacking\""
    cp "$out/bitmill.json" "$stdout" && json_is "$expression"
    rm -rf "$out"
}
printf '{"model_name_or_path": "%s", "output_dir": "%s", "do_ptq": true, "quant_type": "wint4", "device": "GPU"}' \
    "$model" "$out" >"$work/gpu.json"
recorded 'taken as auto' 'j["device"]["spec"] == "host" and j["arguments"]["device"] == "auto"' 'gpu in a file'
recorded '' 'j["device"]["spec"] == "host" and j["arguments"]["device"] == "CPU"' 'cpu on the command line' --device CPU
grep -q 'taken as auto' "$stderr" && complain 'words on a value that is replaced'
recorded '' 'j["device"]["name"]' 'nor is that a note' --device host --strict
title='gpu in a file and on the command line'
without quantize "$work/gpu.json" --device gpu >"$stdout" 2>"$stderr"
[ $? -eq 3 ] || complain 'expected exit status 3'
nothing_left

# The cache of compiled kernels is only a help.
small() { "$program" generate "$model" --prompt x --max-new-tokens 2 --device "$device" >"$stdout" 2>"$stderr"; }
title='no HOME'
(unset HOME XDG_CACHE_HOME && small) || complain 'expected exit status 0'
title='a cache that is a file'
(XDG_CACHE_HOME=$data/evaluation.txt && export XDG_CACHE_HOME && small) || complain 'expected exit status 0'
[ "$device" = host ] || grep -q '^warning: cache folder .*evaluation.txt.*; every start compiles its kernels$' "$stderr" ||
    complain 'expected a warning on the cache folder'
title='a cache on a full disk'
mkdir "$work/full"
if unshare -rm mount -t tmpfs -o size=256k none "$work/full" 2>/dev/null; then
    unshare -rm sh -c 'mount -t tmpfs -o size=256k none "$1" && shift && XDG_CACHE_HOME=$0 exec "$@"' "$work/full" "$work/full" \
        "$program" eval "$model" --data "$data/evaluation.txt" --dtype float64 --device "$device" >"$stdout" 2>"$stderr"
    [ "$device" = host ] || grep -q '^warning: cache folder .*/full/bitmill: its disk has 0.3 MB left; ' "$stderr" ||
        complain 'expected a warning on the full disk'
fi
title='auto without PoCL'
if "$program" devices | grep -q '^opencl:0 .*\[cpu\]' &&
    POCL_CACHE_DIR=$data/evaluation.txt/pocl "$program" devices | grep -q '^missing: OpenCL device: PoCL'; then
    POCL_CACHE_DIR=$data/evaluation.txt/pocl "$program" eval "$model" --data "$data/evaluation.txt" --dtype float64 \
        >"$stdout" 2>"$stderr"
    grep -q '^warning: device auto is .*: PoCL shows no device: ' "$stderr" || complain 'expected a warning on PoCL'
fi
title='a cache that is broken'
mkdir "$work/cache"
(XDG_CACHE_HOME=$work/cache && export XDG_CACHE_HOME && small) || complain 'expected exit status 0'
find "$work/cache/bitmill" -type f | while IFS= read -r file; do echo broken >"$file"; done
(XDG_CACHE_HOME=$work/cache && export XDG_CACHE_HOME && small) || complain 'broken: expected exit status 0'
find "$work/cache/bitmill" -type f | while IFS= read -r file; do : >"$file"; done
(XDG_CACHE_HOME=$work/cache && export XDG_CACHE_HOME && small) || complain 'emptied: expected exit status 0'

# A disk that is full: files end at 400 blocks of 512 bytes. A run before has compiled what it needs, for a compiler's files
# end there too.
title='before a full disk'
"$program" quantize "$model" --method rtn --output "$out" --device "$device" >"$stdout" 2>"$stderr" ||
    complain 'expected exit status 0'
rm -rf "$out"
title='a full disk'
(ulimit -f 400 && exec "$program" quantize "$model" --method rtn --output "$out" --device "$device" >"$stdout" 2>"$stderr")
code=$?
[ "$code" -eq 2 ] || [ "$code" -eq 1 ] || complain "exit status $code, expected 1 or 2"
tail -n 1 "$stderr" | grep -q '^bitmill: .*out.partial/model.safetensors: cannot write: ' || complain 'expected the file in the error'
nothing_left
if [ -w /dev/full ]; then
    for command in devices "inspect $model" "devices --json" --help --version help "eval --help"; do
        title="$command to a full device"
        # shellcheck disable=SC2086  # words
        "$program" $command >/dev/full 2>"$stderr"
        code=$?
        [ "$code" -ne 0 ] || complain 'expected an exit status that tells'
        grep -q 'standard output: cannot write' "$stderr" || complain 'expected words on standard output'
    done
fi
for command in --help --version; do
    title="$command with standard output closed"
    "$program" "$command" >&- 2>"$stderr"
    [ $? -eq 2 ] || complain 'expected exit status 2'
done

# Ctrl-C.
interrupt() { # SECONDS: a run that takes some seconds, ended after as many
    title="Ctrl-C after $1 s"
    num_cases=$((num_cases + 1))
    # Evaluation on the host takes many seconds on any machine.
    $heeds_int "$program" quantize "$model" --method rtn --data "$data" --set do_eval=true --output "$out" \
        --device host >"$stdout" 2>"$stderr" </dev/null &
    pid=$!
    sleep "$1"
    kill -INT "$pid"
    wait "$pid"
    code=$?
    [ "$code" -eq 130 ] || complain "exit status $code, expected 130"
    tail -n 1 "$stderr" | grep -q '^bitmill: interrupted' || complain 'expected the words "bitmill: interrupted"'
    nothing_left
}
interrupt 1
interrupt 2

# What was ignored before the program began stays ignored: a shell ignores SIGINT for its background jobs.
title='SIGINT for a background job' num_cases=$((num_cases + 1))
"$program" quantize "$model" --method rtn --output "$out" --device host >"$stdout" 2>"$stderr" </dev/null &
pid=$!
while [ ! -e "$out.partial/bitmill.journal" ] && kill -0 "$pid" 2>/dev/null; do :; done
kill -INT "$pid"
wait "$pid" || complain "exit status $?, expected 0"
rm -rf "$out"

# One product of the benchmark takes the host most of a minute; it is stopped between its parts.
title='Ctrl-C in a benchmark' num_cases=$((num_cases + 1))
$heeds_int "$program" bench --device host >"$stdout" 2>"$stderr" </dev/null &
pid=$!
sleep 3
kill -INT "$pid"
begun=$(date +%s)
wait "$pid"
code=$?
[ "$code" -eq 130 ] || complain "exit status $code, expected 130"
[ $(($(date +%s) - begun)) -le 5 ] || complain 'expected an end within a few seconds'

# A reference with a shorter context shortens the slices of both.
cp -r "$model" "$work/short"
sed -i 's/"max_position_embeddings": *[0-9]*/"max_position_embeddings": 48/' "$work/short/config.json"
fails 2 'context 64|reference|48' 'a context beyond the reference' \
    eval "$model" --reference "$work/short" --data "$work/text é.txt" --context 64 --device "$device" --quiet
