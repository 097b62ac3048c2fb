# GGUF files as models: what a folder gives its file gives.
# shellcheck disable=SC2086  # $fast is two words
folder=$source/examples/model file=$work/m.gguf home=$work/home
[ -x "${MAKE_GGUF:-}" ] || { echo "make_gguf: not built" >&2; exit 77; }
fast="--set scale_search=abs_max"
mkdir "$home"
"$MAKE_GGUF" "$folder" "$file" F16 || exit 1
"$MAKE_GGUF" "$folder" "$home/q.gguf" Q8_0 || exit 1
head -c 300 "$data/evaluation.txt" >"$work/t.txt"

works 'GGUF version 3, 1 file|architecture  llama|3 blocks, hidden 256|context 512|F16 (22 tensors), F32 (7)|token_embd.weight' 'inspect' inspect "$file"
works '' 'inspect --json' inspect "$file" --json
json_is 'j["family"] == "llama" and j["gguf"]["types"] == "F16 (22 tensors), F32 (7)" and j["tensors"][0]["dtype"] in ("F16", "F32")'
works 'Q8_0 (22 tensors)' 'inspect the only model of a folder' inspect "$home"

evaluate() { # MODEL: its perplexity, as printed
    "$program" eval "$1" --data "$work/t.txt" --context 64 --device host --quiet 2>"$stderr" | grep '^perplexity'
}
same() { # TITLE MODEL OTHER
    title=$1
    num_cases=$((num_cases + 1))
    one=$(evaluate "$2")
    two=$(evaluate "$3")
    [ -n "$one" ] && [ "$one" = "$two" ] || complain "\"$one\" of $2 and \"$two\" of $3"
}
same 'perplexity' "$folder" "$file"
works ', there was a little girl' 'generate' generate "$file" --prompt 'Once upon a time' --max-new-tokens 8 --device host --quiet
works '' 'quantize' quantize "$file" --method rtn --bits 4 --output "$out" --device host --quiet $fast
title='the files of the output'
for name in config.json tokenizer.json model.safetensors bitmill.json; do
    [ -s "$out/$name" ] || complain "$name is missing"
done
cmp -s "$out/tokenizer.json" "$folder/tokenizer.json" || complain 'tokenizer.json is another'
works '' 'quantize the folder' quantize "$folder" --method rtn --bits 4 --output "$work/of-folder" --device host --quiet $fast
same 'perplexity of both, quantized' "$out" "$work/of-folder"
rm -rf "$out"
works '' 'codes once more' quantize "$home" --method rtn --bits 8 --output "$out" --device host $fast
grep -q 'note: weights were Q8_0 (22 tensors) before' "$stderr" || complain 'no word on the codes before'
rm -rf "$out"
fails 2 'output folder|the model|is inside it' 'the output folder is where the model lies' quantize "$home/q.gguf" --method rtn --output "$home" --set overwrite_output_dir=true

works 'the same codes' 'convert from gguf' convert "$home/q.gguf" --format gptq --output "$out"
rm -rf "$out"
fails 2 'm.gguf: no linear is Q4_0, Q4_1 or Q8_0' 'convert of floats' convert "$file" --format gptq --output "$out"
fails 2 'cannot be converted to awq|formats that hold it: compressed-tensors' 'convert to what holds no 8 bits' convert "$home/q.gguf" --format awq --output "$out"

size=$(wc -c <"$file")
for bytes in 0 3 23 1000 $((size / 2)) $((size - 40)); do
    head -c "$bytes" "$file" >"$work/cut.gguf"
    fails 2 'cut.gguf: ' "gguf cut after $bytes bytes" inspect "$work/cut.gguf"
    fails 2 'cut.gguf: ' "the same, to quantize" quantize "$work/cut.gguf" --method rtn --output "$out"
done
{ cat "$file"; printf more; } >"$work/long.gguf"
works 'note          long.gguf: found 4 bytes behind the last tensor' 'inspect with bytes behind the tensors' inspect "$work/long.gguf"
works '' 'bytes behind the tensors' quantize "$work/long.gguf" --method rtn --output "$out" --device host $fast
grep -q 'note: long.gguf: found 4 bytes behind the last tensor, expected .* they are left out' "$stderr" || complain 'no word on four bytes'
rm -rf "$out"
cp "$file" "$home"
fails 2 'holds m.gguf and q.gguf, expected one gguf model' 'two models in a folder' eval "$home" --data "$work/t.txt"
fails 2 'holds m.gguf and q.gguf' 'the same, to quantize' quantize "$home" --method rtn --output "$out"

works '21 linears' 'a mixture' quantize "$folder" --method rtn --set format=gguf --set gguf_type=q4_k_m --output "$work/mixed" --device host $fast
grep -q 'note: "gguf_type": "q4_k_m": of 21 linears 19 Q4_K, 2 Q6_K' "$stderr" || complain 'no counts of types'
