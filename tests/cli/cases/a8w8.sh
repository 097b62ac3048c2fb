# A8W8 from float to text: the short form, PaddleNLP's parameter files, what changes inputs, and wrong wishes. MAKE_MODEL is the
# program make_model.
device=$DEVICE
few='--set ptq_step=1 --set smooth_step=1 --set shift_step=1 --set per_device_train_batch_size=4'
quick="$few --set search_alpha_step=0.3 --set search_scale_step=2 --set smooth_k_piece=1 --set search_tokens=128"
head -c 3000 "$data/evaluation.txt" >"$work/text.txt"

said() { # WORDS: lines that began the run
    lacking=$(missing_word "$stderr" "$1")
    [ -z "$lacking" ] || complain "the first lines lack \"$lacking\""
}
measured() { # LARGEST_DIVERGENCE TITLE: $out, evaluated
    works '' "eval: $2" eval "$out" --reference "$model" --data "$work/text.txt" --context 128 --device "$device" --json --quiet
    json_is "j['tokens'] > 100 and 0 < j['kl_divergence'] < $1 and j['top1_agreement'] > 0.8"
}
talks() { # TITLE
    works '' "generate: $1" generate "$out" --prompt 'Once upon' --max-new-tokens 4 --device "$device" --json --quiet
    json_is 'j["tokens"] == 4'
}

# shellcheck disable=SC2086  # words
works 'relative squared error of outputs' 'a8w8: the short form' quantize "$model" --method a8w8 --data "$data" --output "$out" --device "$device" $quick
said 'inputs:  8 bits, static: one step for the inputs of a stage, by the share of the largest magnitude that loses least (mse) on 128 tokens, over 1 step|smooth:  piecewise search, 1 piece of channels|judged crosswise, 128 tokens, over 1 step'
said 'folds:   q, k, v into the norm before them; o into v; gate, up into the norm before them; down into up|loads in: vLLM'
said 'linears: 21 of 21 quantized'
works 'inputs 8 bits, static|q_proj.input_scale|I8' 'a8w8: inspect' inspect "$out"
for file in act_scales.json weight_scales.json report.html bitmill.json; do
    [ -s "$out/$file" ] || complain "no $file"
done
grep -q '"share": ' "$out/bitmill.json" || complain 'no share of the largest magnitude that a step is of'
measured 0.1 'the short form'
talks 'the short form'
rm -rf "$out"

# shellcheck disable=SC2086  # words
works '' 'a8w8: the parameter file of PTQ' quantize "$source/configs/llama/ptq_argument.json" --set model_name_or_path="$model" \
    --set dataset_name_or_path="$data" --set do_eval=false --output "$out" --device "$device" $quick
said 'smooth:  piecewise search, 1 to 1 piece'
rm -rf "$out"

# shellcheck disable=SC2086  # words
works '' 'a8w8: a step for each token' quantize "$model" --method a8w8 --data "$data" --output "$out" --device "$device" $few \
    --set smooth_piecewise_search=false --set act_quant_method=per_token
said 'inputs:  8 bits, dynamic (per_token)|smooth:  alpha 0.5'
works 'inputs 8 bits, dynamic' 'a8w8: inspect dynamic inputs' inspect "$out"
measured 0.01 'a step for each token'
rm -rf "$out"

# shellcheck disable=SC2086  # words
works '' 'a8w8: operations' quantize "$model" --method a8w8 --data "$data" --output "$out" --device "$device" $few \
    --set smooth_piecewise_search=false --set shift=true --set shift_all_linears=true --set fold_other_linears=ops
said 'down by operations that bitmill alone runs|norms get biases, which bitmill alone reads'
grep -q '^loads in: bitmill$' "$stderr" || complain 'expected bitmill alone'
works 'down_proj.shift_bias|down_proj.smooth_weight|input_layernorm.bias' 'a8w8: inspect operations' inspect "$out"
measured 0.1 'operations'
talks 'operations'
rm -rf "$out"

# shellcheck disable=SC2086  # words
works '' 'a8w8: weights alone, smoothed' quantize "$model" --method rtn --bits 4 --data "$data" --output "$out" --device "$device" $few \
    --set smooth=true
said 'smooth:  alpha 0.5, weights by rms, over 1 step|folds:   q, k, v into the norm before them; gate, up into the norm before them'
measured 0.1 'weights alone, smoothed'
rm -rf "$out"

if [ -x "${MAKE_MODEL:-}" ]; then
    title='make_model'
    "$MAKE_MODEL" --family=bloom --tie "$work/bloom" 2>"$stderr" || complain 'no model'
    # shellcheck disable=SC2086  # words
    works '' 'a8w8: the parameter file of bloom' quantize "$source/configs/bloom/ptq_argument.json" \
        --set model_name_or_path="$work/bloom" --set dataset_name_or_path="$data" --set do_eval=false --output "$out" \
        --device "$device" $quick --json --quiet
    json_is 'len(j["linears"]) == 8'
    works 'family        bloom|query_key_value.input_scale' 'a8w8: inspect bloom' inspect "$out"
    rm -rf "$out"
else
    skip 'a8w8: make_model is not built'
fi

wrong() { # 'WORDS' TITLE ARGUMENTS...
    words=$1 what=$2
    shift 2
    fails 2 "$words" "a8w8: $what" quantize "$model" "$@" --output "$out" --device "$device"
}
wrong 'dataset_name_or_path|calibration data (--data FILE)' 'without data' --method a8w8
wrong '--bits 4: expected 8 for --method a8w8' 'bits' --method a8w8 --data "$data" --bits 4
wrong '"format": "gptq": cannot hold quantized activations' 'a format for weights alone' --method a8w8 --data "$data" --set format=gptq
wrong '"format": "gptq": has no place for what shift adds|compressed-tensors has' 'shift in a format without biases' \
    --method rtn --bits 4 --data "$data" --set shift=true --set format=gptq
wrong '"act_quant_method": "percentile": not built yet|avg, abs_max, per_token, mse' 'an observer that is not built' \
    --method a8w8 --data "$data" --set act_quant_method=percentile
wrong '"act_quant_method": "mse": cannot stand beside "compat": "paddleslim", which takes avg, abs_max or per_token' 'a searched step with compat' --method a8w8 \
    --data "$data" --set compat=paddleslim --set act_quant_method=mse
wrong '"search_margin": "1.5": expected a number in 0..1' 'a margin above all' --method a8w8 --data "$data" --set search_margin=1.5
wrong '"search_alpha_min": 0.9: must be below search_alpha_max 0.8' 'crossed bounds' --method a8w8 --data "$data" --set search_alpha_min=0.9
wrong '"fold_other_linears": "op": expected one of auto, ops, off' 'a misspelt fold' --method a8w8 --data "$data" --set fold_other_linears=op
wrong '"shift": true: needs "do_ptq": true' 'shift before GPTQ' --method gptq --data "$data" --set shift=true
wrong 'asymmetric|expected symmetric ones' 'zero points beside quantized inputs' --method a8w8 --data "$data" --set symmetric=false
wrong '"compat": "paddleslim": its codes are of scales in float32; found "scale_dtype": F16' 'compat with other scales' \
    --method a8w8 --data "$data" --set compat=paddleslim --set scale_dtype=float16
