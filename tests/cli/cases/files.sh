# Broken model folders. quantize and inspect read them before any device is opened.
broken() { # 'WORDS' TITLE: quantize and eval refuse $model, then it is made anew
    fails 2 "$1" "$2" quantize "$model" --method rtn --output "$out"
    fresh_model
}

fails 2 'nowhere' 'no such model' inspect "$work/nowhere"
fails 2 'nowhere' 'no such model' quantize "$work/nowhere" --method rtn --output "$out"
fails 2 'nowhere' 'no such reference' eval "$model" --data "$data" --reference "$work/nowhere"
mkdir "$work/empty"
fails 2 'empty|config.json' 'empty model folder' quantize "$work/empty" --method rtn --output "$out"
fails 2 '' 'a text as safetensors' inspect "$data/evaluation.txt"
fails 2 '' 'a program as safetensors' inspect "$program"
: >"$work/zero.safetensors"
fails 2 'zero.safetensors: found 0 bytes, expected a safetensors file' 'empty safetensors' inspect "$work/zero.safetensors"

# What is no model is told for what it is.
printf 'GGUF\003\000\000\000%050d' 0 >"$work/q.gguf"
printf 'PK\003\004%050d' 0 >"$work/pytorch_model.bin"
printf '\200\002%050d' 0 >"$work/old.bin"
fails 2 'q.gguf: ' 'inspect a broken gguf file' inspect "$work/q.gguf"
fails 2 'pytorch_model.bin: is a PyTorch file' 'inspect a PyTorch file' inspect "$work/pytorch_model.bin"
fails 2 'old.bin: is a PyTorch file' 'inspect an old PyTorch file' inspect "$work/old.bin"
fails 2 "config.json: is JSON, expected a safetensors file or a model's folder" 'inspect config.json' inspect "$model/config.json"
fails 2 'config.json: is a file; expected a Hugging Face model folder' 'generate with config.json' generate "$model/config.json" --prompt x
fails 2 'q.gguf: ' 'eval with a broken gguf file' eval "$work/q.gguf" --data "$data"
others() { # 'WORDS' FILE: a model folder with that file in the place of its weights
    rm "$model/model.safetensors"
    : >"$model/$2"
    fails 2 "no model.safetensors and no model.safetensors.index.json; $2 is $1" "a folder with $2" inspect "$model"
    rm "$model/config.json"
    fails 2 "no config.json in it|$2 is $1" "a folder with $2 alone" inspect "$model"
    fails 2 "has no config.json, expected a Hugging Face model folder; $2 is $1" "quantize a folder with $2 alone" quantize "$model" --output "$out"
    fresh_model
}
others "PyTorch's: save the model as safetensors" pytorch_model-00001-of-00002.bin
others "PyTorch's: save the model as safetensors" consolidated.00.pth
others "PaddlePaddle's: save the model as safetensors" model_state.pdparams
others 'an adapter: merge it' adapter_model.safetensors
others 'there, but neither the name' model-00001-of-00002.safetensors
rm "$model/config.json"
for name in model.safetensors model.safetensors.index.json; do
    mv "$model/model.safetensors" "$model/$name" 2>/dev/null
    fails 2 "no config.json in it; expected a Hugging Face model folder; found $name without it" "a folder without config.json: $name" inspect "$model"
    fails 2 "has no config.json, expected a Hugging Face model folder; found $name without it" "quantize that folder: $name" quantize "$model" --output "$out"
done
fresh_model

# Keys of another kind: file, key, what was found, what was expected.
kind() { # FILE KEY VALUE 'WORDS': where tokenizer.json's key has that value
    printf '%s' "$3" >"$model/$1"
    fails 2 "$4" "$1 with $2" eval "$model" --data "$data/evaluation.txt"
    fresh_model
}
kind tokenizer.json model '{"model":7}' 'tokenizer.json: key "model": expected an object, found 7'
kind tokenizer.json model.vocab '{"model":{"type":"BPE","vocab":[],"merges":[]}}' 'tokenizer.json: key "model.vocab": expected an object of pieces and ids, found an array'
kind tokenizer.json added_tokens '{"added_tokens":7,"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}' 'tokenizer.json: key "added_tokens": expected an array, found 7'
kind tokenizer.json normalizer '{"normalizer":7,"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}' 'tokenizer.json: normalizer: expected an object with a key "type", found 7'
rm "$model/model.safetensors"
kind model.safetensors.index.json weight_map '{"weight_map":7}' 'model.safetensors.index.json: key "weight_map": expected an object, found 7'
[ -d /proc/self ] && fails 2 'output folder "/proc/none/out": /proc/none: cannot create' 'a folder that cannot be made' quantize "$model" --method rtn --output /proc/none/out --device host --set scale_search=abs_max

# safetensors, cut anywhere.
size=$(wc -c <"$model/model.safetensors")
for bytes in 0 1 7 8 9 100 2000 4000 $((size / 2)) $((size - 1)); do
    head -c "$bytes" "$source/examples/model/model.safetensors" >"$model/model.safetensors"
    fails 2 'model.safetensors' "safetensors cut after $bytes bytes" inspect "$model"
done
fresh_model
printf x >>"$model/model.safetensors"
broken 'model.safetensors' 'a byte behind the last tensor'

# safetensors, hostile headers.
hostile() { # 'WORDS' TITLE HEADER DATA_BYTES
    safetensors "$work/h.safetensors" "$3" "$4"
    fails 2 "h.safetensors|$1" "$2" inspect "$work/h.safetensors"
}
printf '\377\377\377\377\377\377\377\377{}' >"$work/h.safetensors"
fails 2 'h.safetensors' 'header of 2^64-1 bytes' inspect "$work/h.safetensors"
printf '\377\377\377\377\377\377\377\177{}' >"$work/h.safetensors"
fails 2 'h.safetensors' 'header of 2^63-1 bytes' inspect "$work/h.safetensors"
printf '\000\000\000\000\001\000\000\000{}' >"$work/h.safetensors"
fails 2 'h.safetensors' 'header of 4 GiB' inspect "$work/h.safetensors"
printf '\000\000\000\000\000\000\000\000' >"$work/h.safetensors"
fails 2 'h.safetensors' 'header of no bytes' inspect "$work/h.safetensors"
hostile '' 'no JSON' 'hello' 0
hostile '' 'an array' '[]' 0
hostile '"a"' 'tensor that is a number' '{"a":1}' 0
hostile '"a"|dtype' 'no dtype' '{"a":{"shape":[1],"data_offsets":[0,4]}}' 4
hostile '"a"|F99' 'unknown dtype' '{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}' 4
hostile '"a"|dtype' 'dtype that is a number' '{"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}' 4
hostile '"a"|shape' 'no shape' '{"a":{"dtype":"F32","data_offsets":[0,4]}}' 4
hostile '"a"|shape' 'negative shape' '{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}' 4
hostile '"a"|shape' 'fractional shape' '{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}' 4
hostile '"a"|shape' 'shape whose product overflows' '{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}' 4
hostile '"a"|dimensions' 'shape of many dimensions' '{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}' 4
hostile '"a"|data_offsets' 'no offsets' '{"a":{"dtype":"F32","shape":[1]}}' 4
hostile '"a"' 'offsets that fall' '{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}' 4
hostile '"a"' 'offsets beyond the file' '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' 2
hostile '18446744073709551612' 'huge offsets' '{"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615]}}' 4
hostile '"a"' 'offsets that disagree with the shape' '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}' 4
hostile '"b"' 'overlapping tensors' '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}' 12
hostile '' 'a gap between tensors' '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}' 12
hostile '"a"' 'a name twice' '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}' 8
hostile '' 'deep nesting' "$(printf '%05000d' 0 | tr 0 '[')" 0
hostile '' 'bytes that are no UTF-8' "$(printf '{"\377\376":1}')" 0

# Tensors that disagree with config.json; the header keeps its length.
edit "$model/model.safetensors" '1,/}}/s/"model.norm.weight"/"model.morn.weight"/'
broken 'model.norm.weight' 'a tensor is absent'
edit "$model/model.safetensors" 's/\("model.norm.weight":{"dtype":"\)F16/\1I16/'
broken 'model.norm.weight|I16' 'a tensor of integers'
edit "$model/config.json" 's/"hidden_size": *256/"hidden_size": 128/'
broken 'model.safetensors|256' 'hidden_size that the tensors have not'
edit "$model/config.json" 's/"vocab_size": *1024/"vocab_size": 1025/'
broken 'model.embed_tokens.weight|1025|1024' 'vocab_size that the tensors have not'
edit "$model/config.json" 's/"num_hidden_layers": *3/"num_hidden_layers": 4/'
broken 'model.layers.3' 'a block too many'
edit "$model/config.json" 's/"num_hidden_layers": *3/"num_hidden_layers": 2/'
broken 'config.json|num_hidden_layers|found 2|expected 3|model.layers.2.' 'a block too few'
edit "$model/config.json" 's/"tie_word_embeddings": *true/"tie_word_embeddings": false/'
broken 'config.json|tie_word_embeddings|found false|lm_head.weight' 'neither tied nor a head'
edit "$model/config.json" '/"tie_word_embeddings"/d'
broken 'config.json|tie_word_embeddings|found none|lm_head.weight' 'no word of ties and no head'
printf '\377\377' | dd of="$model/model.safetensors" bs=1 seek=$((size - 100000)) conv=notrunc 2>/dev/null
broken 'NaN' 'a weight that is no number'

# config.json
rm "$model/config.json"
broken 'config.json' 'no config.json'
config() { # 'WORDS' TITLE SED_SCRIPT
    edit "$model/config.json" "$3"
    broken "config.json|$1" "$2"
}
config '' 'config.json: cut' '$d'
config 'model_type|bert' 'config.json: another family' 's/"model_type": *"llama"/"model_type": "bert"/;s/Llama/Bert/'
for key in hidden_size num_hidden_layers num_attention_heads intermediate_size vocab_size; do
    config "$key|found none" "config.json: $key missing" "/\"$key\"/d"
    config "$key|found null" "config.json: $key null" "s/\"$key\": *[0-9]*/\"$key\": null/"
done
config 'hidden_size' 'config.json: hidden_size a string' 's/"hidden_size": *256/"hidden_size": "256"/'
config 'hidden_size|0' 'config.json: hidden_size 0' 's/"hidden_size": *256/"hidden_size": 0/'
config 'hidden_size|-256' 'config.json: hidden_size negative' 's/"hidden_size": *256/"hidden_size": -256/'
config 'hidden_size' 'config.json: hidden_size 2^40' 's/"hidden_size": *256/"hidden_size": 1099511627776/'
config '1e999' 'config.json: hidden_size 1e999' 's/"hidden_size": *256/"hidden_size": 1e999/'
config 'num_hidden_layers|0' 'config.json: no blocks' 's/"num_hidden_layers": *[0-9]*/"num_hidden_layers": 0/'
config 'num_hidden_layers' 'config.json: blocks a list' 's/"num_hidden_layers": *[0-9]*/"num_hidden_layers": [3]/'
config 'num_attention_heads' 'config.json: heads 0' 's/"num_attention_heads": *[0-9]*/"num_attention_heads": 0/'
config 'num_key_value_heads' 'config.json: key/value heads do not divide' 's/"num_key_value_heads": *[0-9]*/"num_key_value_heads": 3/'
config 'rms_norm_eps' 'config.json: rms_norm_eps a string' 's/"rms_norm_eps": *[0-9.e-]*/"rms_norm_eps": "x"/'
config 'rope_scaling' 'config.json: rope a number' 's/"rope_scaling": *null/"rope_scaling": 7/'
for text in '' '[]' '"x"' '{' 'null' '{"model_type": "llama"'; do
    printf '%s' "$text" >"$model/config.json"
    broken 'config.json' "config.json: $text"
done
# What only running needs is refused where a model is run, and nowhere else.
unrunnable() { # 'WORDS' TITLE SED_SCRIPT
    edit "$model/config.json" "$3"
    works "$1" "inspect: $2" inspect "$model"
    fails 2 "config.json|$1" "generate: $2" generate "$model" --prompt hello
    fails 2 "config.json|$1" "eval: $2" eval "$model" --data "$data"
    fails 2 "config.json|$1" "do_eval: $2" quantize "$model" --method rtn --output "$out" --data "$data" --set do_eval=true
    works '' "quantize: $2" quantize "$model" --method rtn --output "$out" --device host --set scale_search=abs_max
    lacking=$(missing_word "$stderr" "$1|bitmill (to inspect, not to run)")
    [ -z "$lacking" ] || complain "standard error lacks \"$lacking\""
    rm -rf "$out"
    fresh_model
}
unrunnable 'hidden_act|tanh' 'another activation' 's/"hidden_act": *"silu"/"hidden_act": "tanh"/'
unrunnable 'key "rope_scaling.type": found longrope' 'the older name of a kind of rope' 's/"rope_scaling": *null/"rope_scaling": {"type": "longrope", "factor": 4.0}/'
unrunnable 'rope_type|longrope' 'a rope of another kind' 's/"rope_scaling": *null/"rope_scaling": {"rope_type": "longrope", "factor": 4.0}/'
{ printf '{"a":'; printf '%0100000d' 0 | tr 0 '['; } >"$model/config.json"
broken 'config.json' 'config.json: deep nesting'
head -c 3000000 /dev/urandom >"$model/config.json"
broken 'config.json' 'config.json: 3 MB of noise'
rm "$model/config.json" && mkdir "$model/config.json"
broken 'config.json' 'config.json: a folder'
ln -sf config.json "$model/config.json" # a loop of links, which keeps root out too
broken 'config.json: cannot open' 'config.json: not to be looked at'
ln -s loop "$work/loop"
fails 2 'loop/config.json: cannot open' 'a model folder that is not to be looked at' eval "$work/loop" --data "$data/evaluation.txt"
if [ "$(id -u)" -ne 0 ]; then
    chmod 000 "$model/config.json"
    broken 'config.json: cannot open: Permission denied' 'config.json: not to be read'
    chmod 000 "$model"
    fails 2 'config.json: cannot open: Permission denied' 'a model folder of somebody else' eval "$model" --data "$data/evaluation.txt"
    chmod 700 "$model"
else
    skip 'folders and files that may not be read: root reads them all'
fi

# tokenizer.json
for text in '' '{' '[]' '{}' '{"model":{}}' '{"model":{"type":"BPE"}}' '{"model":{"type":"WordLevel","vocab":{}}}' \
    '{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}' '{"model":{"type":"BPE","vocab":{"a":4294967296},"merges":[]}}' \
    '{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}' '{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","b"]]}}'; do
    printf '%s' "$text" >"$model/tokenizer.json"
    fails 2 'tokenizer' "tokenizer.json: $text" generate "$model" --prompt hello
done
: >"$model/tokenizer.json"
fails 2 'tokenizer.json: is empty, expected JSON' 'tokenizer.json: empty' generate "$model" --prompt hello
truncate -s 67108865 "$model/tokenizer.json"
fails 2 'tokenizer.json: 67108865 bytes, expected at most 67108864' 'tokenizer.json: more than 64 MiB' quantize "$model" --output "$out"
rm "$model/tokenizer.json"
run 'quantize without a tokenizer' quantize "$model" --method rtn --output "$out" --device "$DEVICE"
[ "$code" -eq 0 ] || complain "exit status $code, expected 0"
for words in 'note: .*/tokenizer.json: no such file' 'bitmill: the weights alone'; do
    grep -q "$words" "$stderr" || complain "standard error lacks \"$words\""
done
rm -rf "$out"
fails 2 'tokenizer.json: no such file' 'quantize and evaluate without a tokenizer' \
    quantize "$model" --method rtn --data "$data" --set do_eval=true --output "$out"
for text in '' '{' '{}' 'junk'; do
    printf '%s' "$text" >"$model/tokenizer.json"
    fails 2 'tokenizer.json' "quantize with tokenizer.json: $text" quantize "$model" --method rtn --output "$out"
done
printf '{"model":{"type":"WordPiece","vocab":{}}}' >"$model/tokenizer.json"
run 'quantize with a tokenizer that is not built' quantize "$model" --method rtn --output "$out" --device "$DEVICE"
[ "$code" -eq 0 ] || complain "exit status $code, expected 0"
grep -q 'note: .*WordPiece' "$stderr" || complain 'no note about the tokenizer'
grep -q 'bitmill (the weights alone)' "$stderr" || complain 'more is promised of bitmill than it reads'
rm -rf "$out" "$model/tokenizer.json"
fails 2 'tokenizer.json' 'no tokenizer' eval "$model" --data "$data/evaluation.txt"
head -c 20000 "$source/examples/model/tokenizer.json" >"$model/tokenizer.json"
fails 2 'tokenizer.json' 'tokenizer cut' eval "$model" --data "$data/evaluation.txt"
fresh_model
