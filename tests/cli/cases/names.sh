# Names that must not reach the terminal as they are, shards, quantized models that lie, prompts.
one_clean_line() { # the error stays one line without control characters
    LC_ALL=C grep -q "$(printf '[\001-\010\013-\037\177]')" "$stderr" && complain 'control characters on standard error'
}
safetensors "$work/h.safetensors" '{"a\u001b[31m\nb\u0007":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}' 4
fails 2 'h.safetensors|F99' 'a tensor name of control characters' inspect "$work/h.safetensors"
one_clean_line
fails 2 'nowhere' 'a path of control characters' inspect "$work/$(printf 'nowhere\033[31m\nsecond')"
one_clean_line
fails 2 'unknown option' 'an option of control characters' inspect "$(printf -- '--js\033[31m\non')"
one_clean_line
fails 2 'unknown command' 'a command of control characters' "$(printf 'jump\033[31m\nhigh')"
one_clean_line
long=$(printf '%05000d' 0)
fails 2 'inspect' 'an option of 5000 characters' inspect "--$long"
fails 2 '' 'a path of 5000 characters' inspect "$work/$long"
fails 2 '' 'an output of 5000 characters' quantize "$model" --method rtn --output "$work/$long"

# Shards.
index() { # 'WORDS' TITLE TEXT: of a model whose one file is the shard a.safetensors
    mv "$model/model.safetensors" "$model/a.safetensors"
    printf '%s' "$3" >"$model/model.safetensors.index.json"
    fails 2 "index.json|$1" "$2" inspect "$model"
    fresh_model
}
index '' 'index: empty' ''
index 'weight_map' 'index: no map' '{}'
index 'weight_map' 'index: map a number' '{"weight_map":3}'
index '' 'index: a file that is a number' '{"weight_map":{"model.norm.weight":3}}'
index '' 'index: a file that leaves the folder' '{"weight_map":{"model.norm.weight":"../model/a.safetensors"}}'
index '' 'index: an absolute file' '{"weight_map":{"model.norm.weight":"/etc/passwd"}}'
mv "$model/model.safetensors" "$model/a.safetensors"
printf '{"weight_map":{"model.norm.weight":"b.safetensors"}}' >"$model/model.safetensors.index.json"
fails 2 'b.safetensors' 'index: an absent shard' inspect "$model"
printf '{"weight_map":{"model.morn.weight":"a.safetensors"}}' >"$model/model.safetensors.index.json"
fails 2 'model.morn.weight' 'index: an absent tensor' inspect "$model"
fresh_model

# Sizes that would be much memory.
config() { # 'WORDS' TITLE SED_SCRIPT
    edit "$model/config.json" "$3"
    fails 2 "$1" "$2" generate "$model" --prompt hello
    fresh_model
}
config '' 'blocks: 2^32-1' 's/"num_hidden_layers": *[0-9]*/"num_hidden_layers": 4294967295/'
config '' 'blocks: 100000' 's/"num_hidden_layers": *[0-9]*/"num_hidden_layers": 100000/'
config '' 'vocabulary: 2^31' 's/"vocab_size": *[0-9]*/"vocab_size": 2147483648/'
config '' 'context: 0' 's/"max_position_embeddings": *[0-9]*/"max_position_embeddings": 0/'
config '' 'rope_theta: 0' 's/"rope_theta": *[0-9.]*/"rope_theta": 0/'
config '' 'head_dim: 7' 's/"head_dim": *[0-9]*/"head_dim": 7/'
config 'quantization_config' 'quantization: a number' 's/"hidden_act"/"quantization_config": 3, "hidden_act"/'
config 'quant' 'quantization: another method' 's/"hidden_act"/"quantization_config": {"quant_method":"magic"}, "hidden_act"/'
config 'quantization_config' 'quantization: no groups' 's/"hidden_act"/"quantization_config": {"quant_method":"compressed-tensors"}, "hidden_act"/'

# Prompts.
fails 2 'prompt' 'a prompt longer than the context' generate "$model" --prompt "$(printf '%03000d' 0)"
fails 2 'UTF-8' 'a prompt that is no UTF-8' generate "$model" --prompt "$(printf 'a\377\376b')"
