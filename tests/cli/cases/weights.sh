# Checkpoints as other programs leave them, and what is said of them.
said() { # 'WORDS': on standard error
    lacking=$(missing_word "$stderr" "$1")
    [ -z "$lacking" ] || complain "standard error lacks \"$lacking\""
}

# Git LFS pointers in the place of every file that is read.
lfs='is a Git LFS pointer|git lfs pull'
pointer() { # FILE
    printf 'version https://git-lfs.github.com/spec/v1\noid sha256:81c4a3c9a9bb\nsize 9085657\n' >"$1"
}
for name in config.json tokenizer.json tokenizer_config.json model.safetensors generation_config.json tokenizer.model; do
    pointer "$model/$name"
    fails 2 "$model/$name: $lfs" "a pointer: $name" quantize "$model" --method rtn --output "$out"
    fresh_model
done
rm "$model/model.safetensors"
pointer "$model/model.safetensors.index.json"
fails 2 "index.json: $lfs" 'a pointer: the index' inspect "$model"
pointer "$model/a.safetensors"
printf '{"weight_map":{"model.norm.weight":"a.safetensors"}}' >"$model/model.safetensors.index.json"
fails 2 "a.safetensors: $lfs" 'a pointer: a shard' inspect "$model"
fresh_model
for name in text.txt lines.json lines.jsonl; do
    pointer "$work/$name"
    fails 2 "$name: $lfs" "a pointer: $name" eval "$model" --data "$work/$name" --device host
done
pointer "$work/arguments.json"
fails 2 "arguments.json: $lfs" 'a pointer: a parameter file' quantize "$work/arguments.json"

# A model's configuration is no parameter file.
fails 2 "$model/config.json: is the configuration of a model|give its folder" 'a config.json as parameter file' quantize "$model/config.json"

# Tensors that nothing reads: said by whoever opens the model, left out of a result.
add() { # NAME COUNT: a float16 tensor of zeros
    python3 - "$model/model.safetensors" "$1" "$2" <<'PY'
import json, sys
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(path, "rb") as f:
    size = int.from_bytes(f.read(8), "little")
    header, data = json.loads(f.read(size)), f.read()
header[name] = {"dtype": "F16", "shape": [count], "data_offsets": [len(data), len(data) + 2 * count]}
text = json.dumps(header).encode()
with open(path, "wb") as f:
    f.write(len(text).to_bytes(8, "little") + text + data + bytes(2 * count))
PY
}
if command -v python3 >/dev/null; then
    add v_head.summary.weight 256
    add v_head.summary.bias 1
    add model.layers.0.self_attn.q_proj.bias 256
    head='2 tensors that a llama model does not compute with are' bias='1 bias that config.json does not declare is'
    works '' 'quantize: tensors that nothing reads' quantize "$model" --method rtn --output "$out" --device host --set scale_search=abs_max
    said "note: $head left out (the first is \"v_head.summary.bias\")|note: $bias left out|attention_bias|loads in: vLLM 0.32.0, transformers"
    works '' 'a result without them' inspect "$out"
    grep -q 'v_head\|q_proj.bias\|note' "$stdout" && complain 'the result has tensors that nothing reads'
    rm -rf "$out"
    works "note          $head not read|note          $bias not read" 'inspect: tensors that nothing reads' inspect "$model"
    works '' 'generate: tensors that nothing reads' generate "$model" --prompt Once --max-new-tokens 1 --device host
    said "note: $model: $head not read|$bias not read"
    fails 2 'which --strict refuses|v_head' 'strict: tensors that nothing reads' quantize "$model" --method rtn --output "$out" --strict
    fresh_model

    # A shard a tensor: more shards than files may be open.
    python3 - "$model" <<'PY'
import json, os, sys
folder = sys.argv[1]
path = os.path.join(folder, "model.safetensors")
with open(path, "rb") as f:
    size = int.from_bytes(f.read(8), "little")
    header, data = json.loads(f.read(size)), f.read()
header.pop("__metadata__", None)
places = {}
for i, (name, entry) in enumerate(sorted(header.items())):
    begin, end = entry["data_offsets"]
    text = json.dumps({name: {**entry, "data_offsets": [0, end - begin]}}).encode()
    places[name] = f"part-{i}.safetensors"
    with open(os.path.join(folder, places[name]), "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + data[begin:end])
os.remove(path)
with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
    json.dump({"weight_map": places}, f)
PY
    limit=$(ulimit -n)
    ulimit -S -n 20
    works 'tensors       29' 'inspect: more shards than files may be open' inspect "$model"
    works '' 'quantize: more shards than files may be open' quantize "$model" --method rtn --output "$out" --device host --set scale_search=abs_max
    ulimit -S -n "$limit"
    rm -rf "$out"
    fresh_model
else
    skip 'tensors that nothing reads, and many shards: no python3'
fi

# Links of companions.
mv "$model/tokenizer_config.json" "$work/elsewhere.json"
ln -s ../elsewhere.json "$model/tokenizer_config.json"
works '' 'a companion that is a link' quantize "$model" --method rtn --output "$out" --device host --set scale_search=abs_max
said "note: links out of the model's folder, whose content is copied: tokenizer_config.json"
[ -f "$out/tokenizer_config.json" ] && [ ! -L "$out/tokenizer_config.json" ] || complain 'the content is not copied'
rm -rf "$out"
fresh_model

# An output folder that is there and empty; a lock in the way.
mkdir "$out"
works '' 'an empty output' quantize "$model" --method rtn --output "$out" --device host --set scale_search=abs_max --set overwrite_output_dir=true
grep -q warning "$stderr" && complain 'a warning'
[ ! -e "$out.partial" ] || complain "left behind: $out.partial"
rm -rf "$out"
echo letter >"$out.partial.lock"
fails 2 "output folder \"$out\": $out.partial.lock: is in the way" 'a lock in the way' quantize "$model" --method rtn --output "$out" --device host
grep -q ': : ' "$stderr" && complain 'a colon too many'
rm "$out.partial.lock"

# The format of GPTQ's tools: written, inspected, run; its scales are float16.
fresh_model
works '' 'format=gptq' quantize "$model" --method rtn --output "$out" --device host --set scale_search=abs_max --set format=gptq --set bits=3
said 'output:|gptq (qweight, qzeros, scales, g_idx), scales F16|loads in:|GPTQModel'
mv "$out" "$work/quantized"
works 'quantization  gptq, 3 bits, groups of 128, symmetric|q_proj.g_idx|q_proj.qzeros' 'inspect: gptq' inspect "$work/quantized"
grep -q '"checkpoint_format": "gptq"' "$work/quantized/config.json" || complain 'config.json does not say gptq'
grep -q '"checkpoint_format": "gptq"' "$work/quantized/quantize_config.json" || complain 'no quantize_config.json'
works '' 'generate: gptq' generate "$work/quantized" --prompt Once --max-new-tokens 1 --device host
fails 2 'is quantized already' 'quantize what is quantized' quantize "$work/quantized" --method rtn --output "$out" --device host
fails 2 '"scale_dtype": BF16: the format gptq holds scales of type F16 alone' 'format=gptq with other scales' quantize "$model" --method rtn --output "$out" --device host --set format=gptq --set scale_dtype=bfloat16
fails 2 'format|paddle|built: compressed-tensors, gptq, awq, gguf' 'format=paddle' quantize "$model" --method rtn --output "$out" --device host --set format=paddle
rm -rf "$work/quantized"

# A GGUF file: its groups are those of its blocks, and the folder of the only file is a model.
works '' 'format=gguf' quantize "$model" --method rtn --output "$out" --device host --set scale_search=abs_max --set format=gguf --set gguf_embeddings=q8_0
said 'method:|4 bits, groups of 32, symmetric|output:|gguf (Q4_0), scales F16|loads in:|llama.cpp (by cyllama 0.7.0; token ids alone, no vocabulary)'
set -- "$out"/*-Q4_0.gguf
[ -s "$1" ] && [ ! -e "$out/config.json" ] && [ ! -e "$out/tokenizer.json" ] || complain 'not one file'
works 'Q4_0 (|Q8_0 (' 'inspect: gguf' inspect "$out"
works '' 'generate: gguf' generate "$out" --prompt Once --max-new-tokens 1 --device host
works '' 'a file without a vocabulary, to gguf' convert "$out" --format gguf --output "$work/again"
said 'loads in:|llama.cpp (by cyllama 0.7.0; token ids alone, no vocabulary)'
rm -rf "$out" "$work/again"
fails 2 '"act_order": "dynamic": the format gguf has no place for g_idx; compressed-tensors and gptq have' 'format=gguf with an order' quantize "$model" --method gptq --data "$data" --output "$out" --device host --set format=gguf --set act_order=dynamic

# AutoAWQ's format: groups of 4 bits with zero points.
works '' 'format=awq' quantize "$model" --method rtn --output "$out" --device host --set scale_search=abs_max --set format=awq
said 'method:|4 bits, groups of 128, asymmetric|output:|awq (qweight, qzeros, scales), scales F16|loads in:|GPTQModel'
mv "$out" "$work/quantized"
works 'quantization  awq, 4 bits, groups of 128, asymmetric|q_proj.qweight|q_proj.qzeros' 'inspect: awq' inspect "$work/quantized"
grep -q '"version": "gemm"' "$work/quantized/config.json" || complain 'config.json does not say gemm'
[ ! -e "$work/quantized/quantize_config.json" ] || complain 'awq has no quantize_config.json'
works '' 'generate: awq' generate "$work/quantized" --prompt Once --max-new-tokens 1 --device host
echo 'Once upon a time there was a little girl.' >"$work/short.txt"
works 'perplexity' 'eval: awq' eval "$work/quantized" --data "$work/short.txt" --device host
fails 2 'is quantized already' 'quantize awq' quantize "$work/quantized" --method rtn --output "$out" --device host
sed 's/"version": "gemm"/"version": "gemv"/' "$work/quantized/config.json" >"$work/other.json"
mv "$work/other.json" "$work/quantized/config.json"
fails 2 'config.json: quantization_config: version "gemv" is not built; built: gemm' 'awq of another layout' inspect "$work/quantized"
fails 2 '"format": "awq": holds 4 bits, not 8' 'format=awq of 8 bits' quantize "$model" --method rtn --bits 8 --output "$out" --device host --set format=awq
fails 2 '"weight_quant_method": "abs_max_channel_wise": the format awq holds groups alone' 'format=awq per channel' quantize "$model" --method rtn --output "$out" --device host --set format=awq --set weight_quant_method=abs_max_channel_wise

# What other runtimes would compute wrongly names them no method of theirs; it is compressed-tensors all the same.
works '' 'a checkpoint to be marked' quantize "$model" --method rtn --output "$out" --device host --set scale_search=abs_max
sed 's/"quant_method": "compressed-tensors"/"quant_method": "bitmill"/' "$out/config.json" >"$work/marked.json"
mv "$work/marked.json" "$out/config.json"
works 'quantization  compressed-tensors, 4 bits, groups of 128, symmetric; bitmill only' 'inspect: a marked checkpoint' inspect "$out"
echo 'Once upon a time there was a little girl.' >"$work/short.txt"
works 'perplexity' 'eval: a marked checkpoint' eval "$out" --data "$work/short.txt" --device host
rm -rf "$out"
