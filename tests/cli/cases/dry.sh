# Plans that are told and not done, and budgets that they do not fit.
# shellcheck shell=sh disable=SC2154  # $model, $out and $data come from run.sh
works 'copy floats|quantize|largest: |disk: |are free|time: |nothing was written' 'a dry run of rounding' \
    quantize "$model" --output "$out" --dry-run
nothing_left
works '"dry_run": true|"batch_tokens"|"residual_stream"|"estimated_by": "measured' 'a dry run of GPTQ as JSON' \
    quantize "$model" --method gptq --data "$data" --set gptq_step=1 --output "$out" --dry-run --json
json_is 'all(c["least_bytes"] <= c["bytes"] for c in j["memory"]["claims"]) and j["seconds"] > 0'
json_is 'max(p["device_bytes"] for p in j["memory"]["phases"]) == j["memory"]["device_bytes"]'
json_is 'j["free_disk_bytes"] > j["disk_bytes"] > 1000000 and j["tokens"] <= j["batches"] * j["batch_tokens"]'
nothing_left
for dry in --dry-run --quiet; do
    fails 2 '--device-memory: 3.0 MB|expected at least|skip_list_names|or raise --device-memory' "a device too small $dry" \
        quantize "$model" --method gptq --data "$data" --set gptq_step=1 --output "$out" --device-memory 3MB "$dry"
    fails 2 '--host-memory: 2.0 MB|expected at least' "a host too small $dry" \
        quantize "$model" --output "$out" --host-memory 2MB "$dry"
done
fails 2 '--device-memory: 3.0 MB' 'a plan that does not fit, told' \
    quantize "$model" --method gptq --data "$data" --set gptq_step=1 --output "$out" --device-memory 3MB --dry-run
lacking=$(missing_word "$stdout" 'of 3.0 MB of the device|solve|row sums|does not fit|nothing was written')
[ -z "$lacking" ] || complain "the plan lacks \"$lacking\""
works 'fits in 60.0 MB of the device|would be enough|time: ' 'a plan that fits, told' \
    quantize "$model" --method gptq --data "$data" --set gptq_step=1 --output "$out" --device-memory 60MB --dry-run
# What memory does not hold lies in a file without a name, in a folder that may be chosen.
mkdir "$work/activations"
fails 2 '--cache-dir: "|no such folder' 'a folder for activations that is not there' \
    quantize "$model" --output "$out" --cache-dir "$work/nowhere"
set -- quantize "$model" --method gptq --data "$data" --set gptq_step=40 --set scale_search=abs_max --output "$out" --cache-dir "$work/activations"
fails 2 '--host-memory: 2.0 MB|expected at least' 'a host too small for GPTQ' "$@" --host-memory 2MB --dry-run --json
least=$(sed -n 's/.*"least_process_bytes": \([0-9]*\).*/\1/p' "$stdout")
least=$((least / 1000000 + 3))MB # the program's own share varies
# The least leaves room for what the program takes by itself; with AddressSanitizer that is as much as the stream, which stays in memory.
grep -q __asan_init "$program" ||
    works '"residual_stream": "in a file"' 'a plan with a file of activations' "$@" --host-memory "$least" --dry-run --json
works '"peak_process_bytes"' 'a run with a file of activations' "$@" --host-memory "$least" --json --quiet
[ -z "$(ls -A "$work/activations")" ] || complain 'activations are left behind'
rm -rf "$out"
[ ! -d /proc ] || fails 2 '--cache-dir: /proc/' 'a folder where nobody may write' quantize "$model" --output "$out" --cache-dir /proc
[ ! -d /proc ] || fails 2 'output folder "/proc/a/b": /proc/' 'a plan for a folder where nobody may write' \
    quantize "$model" --output /proc/a/b --dry-run
fails 2 '--cache-dir: "|not a folder' 'a folder for activations that is a file' \
    quantize "$model" --output "$out" --cache-dir "$model/config.json"
fails 2 '--host-memory "lots": expected a size' 'a size that is none' quantize "$model" --output "$out" --host-memory lots
fails 2 '--device-memory 16: has no unit, expected a size such as 16GB' 'a size without a unit' quantize "$model" --output "$out" --device-memory 16
# Kernels that were compiled before need no compiler: a budget that is refused at first is enough for the second run. AddressSanitizer keeps
# what is freed, so that the process takes more than it claims.
if ! grep -q __asan_init "$program" && "$program" devices 2>/dev/null | grep -q 'opencl:0.*\[cpu\]'; then
    set -- quantize "$model" --method rtn --set scale_search=abs_max --output "$out" --device opencl:0
    XDG_CACHE_HOME=$work/kernels
    export XDG_CACHE_HOME
    run 'a budget without any room' "$@" --host-memory 5MB --dry-run --json
    least=$(sed -n 's/.*"least_process_bytes": \([0-9]*\).*/\1/p' "$stdout")
    less=$((least / 1000000 - 60))
    fails 2 "the driver's compiler" 'no room for the compiler' "$@" --host-memory ${less}MB
    works '' 'kernels are compiled' "$@" --quiet
    rm -rf "$out"
    works '"peak_process_bytes"' 'nothing is compiled' "$@" --host-memory ${less}MB --json --quiet
    json_is "j[\"peak_process_bytes\"] <= $less * 1000000"
    rm -rf "$out"
    unset XDG_CACHE_HOME
else
    skip 'no OpenCL CPU, or its memory is watched'
fi
# A sequence that is longer than others bounds batches from below: halving them ends all the same.
{
    awk 'BEGIN { printf "{\"input_ids\": ["; for (i = 0; i < 200; i++) printf "%d,", i % 90 + 5; print "5]}" }'
    for i in 1 2 3 4 5 6 7 8 9; do echo '{"input_ids": [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]}'; done
} >"$work/mixed.jsonl"
fails 2 '--device-memory: 0.5 MB|expected at least' 'a device too small for any batch' \
    quantize "$model" --method gptq --data "$work/mixed.jsonl" --output "$out" --device-memory 500KB --dry-run
printf '{"model_name_or_path": "%s", "dataset_name_or_path": "%s", "do_eval": true}' "$model" "$data" >"$work/eval.json"
fails 2 'eval.json: --dry-run: the file quantizes nothing' 'a dry run of an evaluation' quantize "$work/eval.json" --dry-run
