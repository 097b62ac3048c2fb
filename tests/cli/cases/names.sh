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
# One that is too long for the system, and no more than that.
long=$(printf '%0300d' 0)
fails 2 "$long: cannot list: File name too long" 'an output of 300 characters' quantize "$model" --output "$work/$long"
fails 2 "$long: cannot open: File name too long" 'data of 300 characters' eval "$model" --data "$work/$long" --device host
fails 2 ".partial.lock: " 'an output of 250 characters' quantize "$model" --output "$work/$(printf '%0250d' 0)" --device host

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
fails 2 'index.json: tensor "model.norm.weight" is to be in "b.safetensors", which is not in the folder' 'index: an absent shard' inspect "$model"
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

# Names that are no UTF-8, which no parameter file or record can hold.
odd=$(printf '%s/o\377d' "$work")
cp -r "$model" "$odd"
fails 2 "the model's folder \"|o?d\": is not valid UTF-8" 'a model whose name is no UTF-8' quantize "$odd" --output "$out"
fails 2 '--output "|o?d.new": is not valid UTF-8' 'an output whose name is no UTF-8' quantize "$model" --output "$odd.new"
fails 2 '--data "|o?d": is not valid UTF-8' 'data whose name is no UTF-8' quantize "$model" --output "$out" --data "$odd"
printf '{"do_ptq": true, "quant_type": "wint4", "model_name_or_path": "m"}' >"$work/p.json"
fails 2 'bitmill: --output "|o?d.new": is not valid UTF-8' 'the same with a parameter file' quantize "$work/p.json" --output "$odd.new"
works 'llama' 'inspect a model whose name is no UTF-8' inspect "$odd"
rm -r "$odd"

# Prompts. One that is refused is not shown.
refused() { # 'WORDS' TITLE ARGUMENTS...
    words=$1 title=$2
    shift 2
    fails 2 "$words" "$title" generate "$model" "$@"
    [ ! -s "$stdout" ] || complain 'expected nothing on standard output'
}
refused 'the prompt has 3002 tokens|512' 'a prompt longer than the context' --prompt "$(printf '%03000d' 0)"
refused 'the prompt has 512 tokens|512 tokens: no room for a new one' 'a prompt that fills the context' --prompt "$(printf '%0510d' 0)"
refused '--prompt: the text is not valid UTF-8' 'a prompt that is no UTF-8' --prompt "$(printf 'a\377\376b')"
edit "$model/config.json" 's/"head_dim": *[0-9]*/"head_dim": 258/'
refused 'config.json' 'a prompt for a model that is refused' --prompt hello
fresh_model
refused 'nosuch' 'a prompt without a device' --prompt hello --device nosuch

# A prompt from standard input, without its last line break.
from_input() { # EXPECTED_PROMPT_AS_JSON TITLE: the prompt is in $work/prompt
    title=$2
    num_cases=$((num_cases + 1))
    "$program" generate "$model" --prompt - --max-new-tokens 2 --device "$DEVICE" --json --quiet <"$work/prompt" >"$stdout" 2>"$stderr" ||
        complain "exit status $?, expected 0"
    grep -qF "\"prompt\": \"$1\"," "$stdout" || complain "expected the prompt $1"
}
printf 'Once upon\n' >"$work/prompt"
from_input 'Once upon' 'a prompt from standard input'
printf 'Once\000 upon\n\r\n' >"$work/prompt"
from_input 'Once\u0000 upon\n' 'a prompt of a zero byte and two line breaks'
: >"$work/prompt"
from_input '' 'an empty prompt from standard input'
title='a prompt from standard input that is closed' num_cases=$((num_cases + 1))
"$program" generate "$model" --prompt - <&- >"$stdout" 2>"$stderr"
[ $? -eq 2 ] && grep -q '^bitmill: standard input: cannot read' "$stderr" || complain 'expected exit status 2 and words'

# What the context leaves of the tokens that were asked for.
works 'Once upon a time' 'more new tokens than the context has room for' generate "$model" --prompt 'Once upon' --max-new-tokens 600 --device "$DEVICE"
for words in "note: --max-new-tokens 600: the model's context of 512 has room for 509 behind the prompt's 3" '^509 tokens, ' \
    "^the model's context of 512 tokens is full: 3 of the prompt and 509 new, which end there"; do
    grep -q -- "$words" "$stderr" || complain "standard error lacks \"$words\""
done
works 'Once upon a time' 'fewer new tokens' generate "$model" --prompt 'Once upon' --max-new-tokens 20 --device "$DEVICE"
grep -q 'note: --max\|is full' "$stderr" && complain 'words about a context that is not full'
grep -q '^compile kernels \.\.\.' "$stderr" || [ "$(sed -n 's/^device: \([a-z]*\).*/\1/p' "$stderr")" = host ] || complain 'compiling is not named'
works '' 'new tokens up to the end as JSON' generate "$model" --prompt "$(printf '%0507d' 0)" --max-new-tokens 3 --device "$DEVICE" --json --quiet
json_is 'j["tokens"] == 3 and j["context_full"] and not j["ended"]'
works '' 'new tokens short of the end as JSON' generate "$model" --prompt "$(printf '%0507d' 0)" --max-new-tokens 2 --device "$DEVICE" --json --quiet
json_is 'j["tokens"] == 2 and not j["context_full"]'
