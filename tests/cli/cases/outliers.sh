# Planted outliers: tools/plant_outliers.py gives a model that computes the same. MAKE_MODEL is the program make_model.
device=$DEVICE
plant() { # TITLE ARGUMENTS...: status in $code
    title=$1
    shift
    num_cases=$((num_cases + 1))
    python3 "$source/tools/plant_outliers.py" "$@" >"$stdout" 2>"$stderr"
    code=$?
}
planted() { # TITLE MODEL OPTIONS...: the same perplexity, in $out
    rm -rf "$out"
    what=$1 original=$2
    shift 2
    plant "outliers: $what" "$@" "$original" "$out"
    [ "$code" -eq 0 ] || { complain "exit status $code, expected 0"; return; }
    works '' "outliers: eval, $what" eval "$out" --reference "$original" --data "$work/text.txt" --context 64 \
        --dtype float32 --device "$device" --json --quiet
    json_is 'abs(j["loss"] - j["reference_loss"]) < 1e-4 and j["kl_divergence"] < 1e-6 and j["tokens"] > 100'
}
refused() { # WORD TITLE ARGUMENTS...: one line with the word; nothing is left
    word=$1
    shift
    plant "$@"
    [ "$code" -eq 2 ] && [ "$(wc -l <"$stderr")" -eq 1 ] || complain "exit status $code, expected 2 and one line"
    grep -qF "$word" "$stderr" || complain "the error lacks \"$word\""
    nothing_left
}
# changes OLD NEW: how many places of which factor, as JSON: {tensor: [rows or columns, least, most]}
cat >"$work/changes.py" <<'PY'
import array, json, struct, sys
def read(folder):
    with open(folder + "/model.safetensors", "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    for name, t in header.items():
        if name != "__metadata__":
            raw = data[slice(*t["data_offsets"])]
            yield name, t["shape"], struct.unpack(f"<{len(raw) // 2}e", raw) if t["dtype"] == "F16" else array.array("f", raw)
old, new, found = {n: v for n, _, v in read(sys.argv[1])}, read(sys.argv[2]), {}
for name, shape, values in new:
    width = shape[-1] if len(shape) == 2 else 1
    ratios = [(i // width, i % width, b / a) for i, (a, b) in enumerate(zip(old[name], values)) if a != b]
    if ratios:
        kind = name.split(".", 3)[3].removesuffix(".weight") + "." + name.split(".")[2]
        sizes = [r if abs(r) > 1 else 1 / r for _, _, r in ratios]
        found[kind] = [len({r for r, _, _ in ratios}), len({c for _, c, _ in ratios}), min(sizes), max(sizes)]
json.dump(found, sys.stdout)
PY

if ! command -v python3 >/dev/null; then
    skip 'planted outliers: no python3'
else
    head -c 3000 "$data/evaluation.txt" >"$work/text.txt"
    planted 'the example model' "$model" --channels 5 --rows 7
    python3 "$work/changes.py" "$model" "$out" >"$stdout" 2>"$stderr" || complain 'files of other tensors'
    # In each of 3 blocks: 5 entries of two norms; rows of v and up are behind their divided columns, so that all of these differ.
    json_is 'len(j) == 3 * 9 and all(j[n + k][0] == 5 for n in ("input_layernorm.", "post_attention_layernorm.") for k in "012")'
    json_is 'all(j[f"mlp.down_proj.{k}"][1] == 7 and j[f"self_attn.o_proj.{k}"][1] == 14 and j[f"mlp.gate_proj.{k}"][1] == 5 and
        j[f"self_attn.q_proj.{k}"][1] == j[f"self_attn.k_proj.{k}"][1] == 5 for k in range(3))'
    json_is 'all(29.9 < v[2] <= v[3] < 100.1 for n, v in j.items() if "v_proj" not in n and "up_proj" not in n)'
    json_is 'len({v[3] for v in j.values()}) > 9 and j["input_layernorm.0"] != j["input_layernorm.1"]'
    mv "$out" "$work/first"
    plant 'outliers: the same seed' --channels 5 --rows 7 --seed 1 "$model" "$work/again"
    cmp -s "$work/first/model.safetensors" "$work/again/model.safetensors" || complain 'expected the same bytes'
    plant 'outliers: another seed' --channels 5 --rows 7 --seed 2 "$model" "$work/other"
    cmp -s "$work/first/model.safetensors" "$work/other/model.safetensors" && complain 'expected other bytes'
    plant 'outliers: norms alone' --rows 0 "$model" "$work/norms"
    python3 "$work/changes.py" "$model" "$work/norms" >"$stdout" 2>"$stderr" || complain 'files of other tensors'
    json_is 'len(j) == 3 * 7 and not any("o_proj" in n or "down_proj" in n for n in j) and j["input_layernorm.2"][0] == 4'

    refused "$work/first: exists" 'outliers: a folder that is there' "$model" "$work/first"
    refused '129 places of v_proj, which has 128' 'outliers: more rows than there are' --rows 129 "$model" "$out"
    refused 'not negative' 'outliers: factors in the wrong order' --least 30 --most 20 "$model" "$out"
    edit "$model/config.json" 's/"model_type": "llama"/"model_type": "bloom"/'
    refused '"model_type": found "bloom", expected one of llama' 'outliers: another family' "$model" "$out"
    fresh_model
    edit "$model/config.json" 's/"intermediate_size": 512/"intermediate_size": 511/'
    refused 'mlp.up_proj.weight": found shape [512, 256], expected 511' 'outliers: a shape' "$model" "$out"
    fresh_model
    head -c 100000 "$model/model.safetensors" >"$work/short" && mv "$work/short" "$model/model.safetensors"
    refused 'do not hold' 'outliers: a file cut short' "$model" "$out"
    fresh_model

    # One value head for four, biases, bfloat16, shards.
    if [ -x "${MAKE_MODEL:-}" ]; then
        title='make_model'
        "$MAKE_MODEL" --family=qwen3 --kv-heads=1 --attention-bias --dtype=BF16 --shard-bytes=100000 "$work/qwen3" 2>"$stderr" ||
            complain 'no model'
        planted 'shared value heads, biases and shards' "$work/qwen3"
    else
        skip 'outliers in shards: make_model is not built'
    fi
fi
