# A bloom from float to text: rounding and GPTQ, by our parameter file too. MAKE_MODEL is the program make_model.
device=$DEVICE
if [ -x "${MAKE_MODEL:-}" ]; then
    title='make_model'
    "$MAKE_MODEL" --family=bloom --tie "$work/bloom" 2>"$stderr" || complain 'no model'
    head -c 3000 "$data/evaluation.txt" >"$work/text.txt"

    whole_way() { # LARGEST_DIVERGENCE TITLE ARGUMENTS...: quantizes into $out, which is inspected, evaluated, and talks
        divergence=$1 what=$2
        shift 2
        works '' "bloom: $what" quantize "$@" --output "$out" --device "$device" --json --quiet
        json_is 'len(j["linears"]) == 8 and {l["name"].split(".", 3)[3] for l in j["linears"]} == {
            "self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"}'
        json_is '{tuple(l["shape"]) for l in j["linears"]} == {(192, 64), (64, 64), (256, 64), (64, 256)}'
        works 'family        bloom|query_key_value.weight_packed|query_key_value.bias' "bloom: inspect, $what" inspect "$out"
        works '' "bloom: eval, $what" eval "$out" --reference "$work/bloom" --data "$work/text.txt" --context 64 \
            --device "$device" --json --quiet
        json_is "j['tokens'] > 100 and 0 < j['kl_divergence'] < $divergence and j['top1_agreement'] > 0.5"
        works '' "bloom: generate, $what" generate "$out" --prompt 'Once upon' --max-new-tokens 4 --device "$device" --json --quiet
        json_is 'j["tokens"] == 4'
        rm -rf "$out"
    }
    whole_way 0.01 'rounding to 4 bits' "$work/bloom" --method rtn
    whole_way 0.0001 'rounding to 8 bits' "$work/bloom" --method rtn --bits 8
    whole_way 0.01 'the parameter file of GPTQ' "$source/configs/bloom/gptq_argument.json" \
        --set model_name_or_path="$work/bloom" --set dataset_name_or_path="$data" --set gptq_step=2 --set do_eval=false
else
    skip 'bloom: make_model is not built'
fi
