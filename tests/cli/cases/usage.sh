# Words of the command line.
fails 2 'unknown command|quantise|quantize' 'misspelt command' quantise
fails 2 'unknown command|did you mean eval?' 'command with a letter too many' evval
fails 2 'unknown command|bitmill --help lists them' 'a word far from every command' compress
fails 2 '--bits 5|one of 2, 3, 4, 8' 'bits that no method takes' quantize "$model" --method rtn --bits 5 --output "$out"
fails 2 'group_size|48|one of 32, 64, 128, 256, -1' 'a group that no method takes' quantize "$model" --method rtn --output "$out" --set group_size=48
fails 2 'a note, which --strict refuses: --data: not read' 'data that nothing reads' quantize "$model" --method rtn --data "$data" --output "$out" --strict --set scale_search=mse
fails 2 'calibration data (--data FILE)' 'GPTQ without data' quantize "$model" --method gptq --output "$out"
fails 2 'damp_percent|1.5|a number above 0, at most 1, or "auto"' 'damping out of range' quantize "$model" --method gptq --data "$data" --output "$out" --set damp_percent=1.5
fails 2 'act_order|group_aware|built: none, static, dynamic' 'an order that is not built' quantize "$model" --method gptq --data "$data" --output "$out" --set act_order=group_aware
fails 2 'act_order|dynamic|no place for g_idx' 'an order that the format does not hold' quantize "$model" --method gptq --data "$data" --output "$out" --set act_order=dynamic --set format=awq
fails 2 'calibration data (--data FILE)' 'AWQ without data' quantize "$model" --method awq --output "$out"
fails 2 '"auto_clip": true|weight-only quant_type (WINT8, WINT4), not a8w8' 'clipping beside quantized inputs' quantize "$model" --method a8w8 --data "$data" --output "$out" --set auto_clip=true
fails 2 '"auto_clip": true: cannot stand beside "scale_search": "mse"|gram or abs_max' 'clipping by the weights alone' quantize "$model" --method awq --data "$data" --output "$out" --set auto_clip=true --set scale_search=mse
fails 2 '"fold_other_linears": "ops": cannot stand beside AWQ|expected auto or off' 'operations beside AWQ' quantize "$model" --method awq --data "$data" --output "$out" --set fold_other_linears=ops
fails 2 'calibration data (--data FILE)' 'clipping without data' quantize "$model" --method rtn --output "$out" --set auto_clip=true
fails 2 'a note, which --strict refuses: "search_loss": not used' 'a key of another search beside AWQ' quantize "$model" --method awq --data "$data" --output "$out" --strict --set search_loss=mse
fails 2 'a note, which --strict refuses: "do_awq": true: scales nothing' 'AWQ of linears that stay float' quantize "$model" --method awq --data "$data" --output "$out" --strict \
    --set smooth_all_linears=false --set 'skip_list_names=["q_proj","k_proj","v_proj","gate_proj","up_proj"]'
fails 2 'awq_n_grid|"0"|an integer in 1..1000' 'a grid of no candidates' quantize "$model" --method awq --data "$data" --output "$out" --set awq_n_grid=0
fails 2 '191 sequences, fewer than a step of 1000' 'data shorter than a step' quantize "$model" --method gptq --data "$data" --output "$out" \
    --set per_device_train_batch_size=1000 --set dataloader_drop_last=true
fails 2 'inspect|model folder' 'inspect without a model' inspect
fails 2 'eval|model folder' 'eval without a model' eval
fails 2 'eval: found no --data' 'eval without data' eval "$model"
fails 2 'generate: found no --prompt' 'generate without a prompt' generate "$model"
fails 2 'quantize' 'quantize without a subject' quantize
fails 2 '--outptu|--output' 'misspelt option' quantize "$model" --outptu "$out"
fails 2 '--method|value' 'option without its value' quantize "$model" --method
fails 2 '--json|no value' 'flag with a value' devices --json=1
fails 2 '--bits|four|integer' 'bits that are no number' quantize "$model" --method rtn --bits four --output "$out"
fails 2 '--bits|an integer of at most 64 bits' 'bits beyond 64 bits' quantize "$model" --method rtn --bits 99999999999999999999 --output "$out"
fails 2 '--bits|an integer of at most 64 bits' 'the least bits of 64 bits' quantize "$model" --bits -9223372036854775808 --output "$out"
fails 2 'bits|99' 'bits out of range' quantize "$model" --method rtn --bits 99 --output "$out"
fails 2 'bits|-4' 'negative bits' quantize "$model" --method rtn --bits -4 --output "$out"
fails 2 '--bits 0: expected one of 2, 3, 4, 8' 'no bits' quantize "$model" --method rtn --bits 0 --output "$out"
fails 2 '--set do_gptq=true: --method is rtn by default; give --method gptq' 'a method by --set alone' quantize "$model" --set do_gptq=true --bits 4 --data "$data" --output "$out"
fails 2 '--set do_ptq=true: --method is gptq; give --method rtn' 'a method by --set beside another' quantize "$model" --method gptq --set do_ptq=true --data "$data" --output "$out"
fails 2 '--set do_awq=true: --method is a8w8; give --method awq' 'AWQ beside quantized inputs' quantize "$model" --method a8w8 --set do_awq=true --data "$data" --output "$out"
fails 2 '--set do_awq=false: --method is awq; give --method rtn' 'AWQ without itself' quantize "$model" --method awq --set do_awq=false --data "$data" --output "$out"
fails 2 '--method awq with --set smooth: "smooth": false: contradicts "do_awq": true' 'AWQ without the phase that finds its scales' quantize "$model" --method awq --set smooth=false --data "$data" --output "$out"
fails 2 'bitmill: --set: "scaling": "awq": needs "do_gptq": true|or --method awq' 'AWQ by the word of GPTQ' quantize "$model" --method rtn --set scaling=awq --data "$data" --output "$out"
fails 2 'a note, which --strict refuses: --bits: replaced by --set bits=3' 'bits twice' quantize "$model" --bits 4 --set bits=3 --output "$out" --strict
fails 2 'format|foo|(built: compressed-tensors, gptq, awq, gguf)' 'a format that does not exist' quantize "$model" --output "$out" --set format=foo
fails 2 'rtm|rtn' 'misspelt method' quantize "$model" --method rtm --output "$out"
fails 2 'method' 'empty method' quantize "$model" --method '' --output "$out"
fails 2 'output' 'no output' quantize "$model" --method rtn
fails 2 'quantize: "output_dir": missing|--output DIR' 'no output and no method' quantize "$model"
fails 2 'unexpected' 'a word too many' inspect "$model" "$model"
fails 2 'unexpected word "models/a"|in quotes' 'blanks without quotes' quantize my models/a model --output "$out"
for command in inspect quantize 'eval --data x' 'generate --prompt x'; do
    # shellcheck disable=SC2086  # words
    fails 2 'unexpected word ""|usage: bitmill' "an empty word: $command" $command ''
done
fails 2 '--data FILE' 'empty data' eval "$model" --data ''
fails 2 'temperature|hot' 'temperature that is no number' generate "$model" --prompt x --temperature hot
fails 2 'temperature' 'negative temperature' generate "$model" --prompt x --temperature -1
fails 2 'temperature' 'temperature NaN' generate "$model" --prompt x --temperature nan
fails 2 'top-p' 'top-p above 1' generate "$model" --prompt x --top-p 2
fails 2 'top-p' 'top-p 0' generate "$model" --prompt x --top-p 0
fails 2 'max-new-tokens' 'no new tokens' generate "$model" --prompt x --max-new-tokens 0
fails 2 'seed|integer' 'seed that is no number' generate "$model" --prompt x --seed x
fails 2 'context|0' 'context 0' eval "$model" --data "$data/evaluation.txt" --context 0
fails 2 'context|1' 'context 1' eval "$model" --data "$data/evaluation.txt" --context 1
fails 2 'context|100000|512' 'context beyond the model' eval "$model" --data "$data/evaluation.txt" --context 100000
fails 2 'context|-8' 'negative context' eval "$model" --data "$data/evaluation.txt" --context -8
fails 2 '--src-length 64, expected at least 2 and less than --max-length 64' 'src-length as max-length' eval "$model" --data "$data" --src-length 64 --max-length 64
fails 2 'src-length' 'src-length 0' eval "$model" --data "$data" --src-length 0
fails 2 'max-length' 'max-length beyond 32 bits' eval "$model" --data "$data" --max-length 4294967299
fails 2 '--chunks 0, expected 1' 'no chunks' eval "$model" --data "$data" --chunks 0
fails 2 '--max-tokens 1, expected at least 2' 'one token' eval "$model" --data "$data" --max-tokens 1
fails 2 'dtype|int3' 'unknown dtype' eval "$model" --data "$data" --dtype int3
fails 2 'resume' 'resume' quantize "$model" --method rtn --output "$out" --resume
fails 2 'convert: found no --format, expected a model folder or a gguf file, --format F and --output DIR' 'convert to nothing' convert "$model" --output "$out"
fails 2 'convert: found no --output' 'convert without a folder' convert "$model" --format gguf
fails 2 'found the name of a gguf file, expected that of a folder, in which the file is made' 'convert into a file' convert "$model" --format gguf --output "$out.gguf"
fails 2 'found the name of a gguf file' 'quantize into a file' quantize "$model" --method rtn --set format=gguf --output "$out.gguf/"
fails 2 '--format "paper", expected one of compressed-tensors, pack-quantized, int-quantized, gptq, gptq_v2, awq, gguf' 'convert to paper' convert "$model" --format paper --output "$out"
fails 2 'is not quantized|bitmill quantize makes them' 'convert of a float model' convert "$model" --format gptq --output "$out"
fails 2 'shapes|giant' 'unknown shapes' bench --shapes giant
fails 2 'dtype|F7' 'unknown storage type' bench --dtype F7
fails 2 '--set' '--set without =' quantize "$model" --method rtn --output "$out" --set weight_bits
fails 2 'bitmill: --set: "wieght_bits": unknown key' '--set of a misspelt key' quantize "$model" --method rtn --output "$out" --set wieght_bits=4
fails 2 'group_size' '--set of the wrong type' quantize "$model" --method rtn --output "$out" --set group_size=many
fails 2 '' '--set of junk' quantize "$model" --method rtn --output "$out" --set '{"a":['
fails 2 '' '--set of nothing' quantize "$model" --method rtn --output "$out" --set ''
fails 2 '' '--set of an empty key' quantize "$model" --method rtn --output "$out" --set '=4'
fails 2 'group_size|48' 'group size that divides nothing' quantize "$model" --method rtn --output "$out" --set group_size=48

# A parameter file by another name, a model that is not there: the word that was typed is answered.
printf '{"do_ptq": true}' >"$work/params"
cp "$work/params" "$work/params.yaml"
fails 2 'params: is a file; a parameter file ends in .json' 'a parameter file without .json' quantize "$work/params"
fails 2 'params.yaml: is a file; a parameter file ends in .json' 'a parameter file that ends in .yaml' quantize "$work/params.yaml"
mkdir "$work/folder.json"
fails 2 'folder.json|config.json' 'a folder that ends in .json is a model' quantize "$work/folder.json" --bits 4 --output "$out"
fails 2 'nomodel: no such model folder or parameter file' 'a word that is nothing' quantize "$work/nomodel" --output "$out"

# An option is no value, unless '=' says so.
fails 2 '--output needs a value|--output=--quiet' 'an option where a value should be' quantize "$model" --method rtn --output --quiet
[ ! -e ./--quiet ] || complain 'made a folder named --quiet'
fails 2 '--set needs a value' 'the end of options where a value should be' quantize "$model" --method rtn --set -- --output "$out"
fails 2 '"--x"' 'a value that starts with --' eval "$model" --data "$data" --dtype=--x

# An option is suggested only when it is near.
fails 2 '--frobnicate|bitmill quantize --help lists them' 'an option far from all' quantize "$model" --frobnicate
fails 2 'did you mean --dtype?' 'a misspelt option with a value' eval "$model" --dtpye=float32
fails 2 '--products|--tune' 'products alone while tuning' bench --products --tune
fails 2 '--variant attention=plain: |gemm=NAME' 'products by attention' bench --products --variant attention=plain
fails 2 '--variant gemm_int8=generic: |gemm=NAME' 'products by those of codes' bench --products --shapes small --variant gemm_int8=generic
fails 2 '--variant gemm=generic: |gemm_int8=NAME' 'products of codes by others' bench --products --dtype int8 --variant gemm_int8=generic,gemm=generic
fails 2 '--variant gemm_int8=generic: |attention=NAME' 'attention by products' bench --attention --variant gemm_int8=generic
fails 2 '--profile|--json' 'a table that nobody sees' bench --profile --quiet
fails 2 '--attention|--shapes' 'attention at sizes of products' bench --attention --shapes large
fails 2 'bench: --dtype "float64"' 'a type that the benchmark does not know' bench --dtype float64
fails 2 'unknown option "--dype"' 'both spellings of a type' bench --dtype bf16 --dtype Float16 --dype
fails 2 'unknown option "--dype"' 'both spellings of a type for eval' eval "$model" --dtype F16 --dtype float16 --dype

# What a parameter file says is shown as it stands there.
for text in '' ' '; do
    printf '%s' "$text" >"$work/p.json"
    fails 2 'p.json: is empty' 'an empty parameter file' quantize "$work/p.json"
done
printf '{"do_ptq": true, "skip_list_names": ["lm_head", 7, ["a"]]}' >"$work/p.json"
fails 2 '"skip_list_names": ["lm_head",7,["a"]]: expected a JSON list of non-empty texts' 'a list in words' quantize "$work/p.json"
printf '{"do_ptq": true, "skip_list_names": [7, "%050d", "%060d"]}' 1 2 >"$work/p.json"
fails 2 '"skip_list_names": [7,"000|...: expected' 'a list too long for words' quantize "$work/p.json"
# What is refused has no notes in front: the keys of the file have three.
fails 2 '"compat": "paddleslim": beside it AWQ is not built yet|built: A8W8 and rounding, with one scale an output channel; expected none' 'a shipped file with compat' quantize "$source/configs/llama/awq_argument.json" --output "$out" --set compat=paddleslim
[ "$(wc -l <"$stderr")" -eq 1 ] || complain 'more than the error was said'
fails 2 'no-model' 'a shipped file without its model' quantize "$source/configs/llama/awq_argument.json" --output "$out" --set model_name_or_path="$work/no-model" \
    --set tokenizer_name_or_path="$model"
[ "$(wc -l <"$stderr")" -eq 1 ] || complain 'more than the error was said'
printf '{"do_ptq": true, "quant_type": "WINT3"}' >"$work/p.json"
fails 2 'one of a8w8|(built: A8W8, WINT8, WINT4)' 'a type that does not exist' quantize "$work/p.json"
fails 2 '--temperature 1e+30, expected 0..1000000' 'temperature too high' generate "$model" --prompt x --temperature 1e30

# Help agrees with itself: every command of the overview has a page; each page names its command and the shared options.
works 'Usage:|quantize|eval|generate|inspect|convert|devices|bench|130' 'help' --help
for command in quantize eval generate inspect convert devices bench; do
    [ "$command" = inspect ] && device_option= || device_option=--device
    works "Usage: bitmill $command|$device_option|--json|--quiet|--verbose|--help" "help of $command" "$command" --help
    cp "$stdout" "$work/page"
    works '' "help $command" help "$command"
    cmp -s "$stdout" "$work/page" || complain "bitmill help $command differs from bitmill $command --help"
    usage=$(sed -n 's/^Usage: //p' "$stdout")
    "$program" --help | grep -qF "$usage" || complain "usage of $command differs from the overview's"
    # Every option named on the usage line is explained below it.
    for option in $(printf '%s\n' "$usage" | grep -o -- '--[a-z-]*'); do
        grep -q -- "^  $option " "$stdout" || complain "$option stands in the usage and is not explained"
    done
    # Every option explained is accepted: it is never "unknown".
    for option in $(sed -n 's/^  \(--[a-z-]*\).*/\1/p' "$stdout"); do
        "$program" "$command" "$option" x --no-such-option </dev/null 2>&1 | grep -q -- "unknown option \"$option\"" &&
            complain "$option is explained and unknown"
    done
done
works 'a8w8: 8, of an input too|gptq, awq and a8w8, which calibrate, need them' 'help on what a8w8 takes' quantize --help
# The manual has an example of each kind of result, and the status of each end.
title='examples of the manual' num_cases=$((num_cases + 1))
for words in '--method rtn --bits 4' '--method a8w8 --output story-int8' 'configs/llama/wint4_argument.json'; do
    sed -n '/^\.Sh EXAMPLES/,$p' "$source/docs/bitmill.1" | grep -q -- "$words" || complain "no example has $words"
done
for status in 130 141 143; do
    sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EXAMPLES/p' "$source/docs/bitmill.1" | grep -q "$status" || complain "$status is not explained"
done
# The manual's synopsis names the options of the usage lines.
for command in quantize eval generate inspect convert devices bench; do
    title="synopsis of $command" num_cases=$((num_cases + 1))
    awk -v want="$command" '/^\.Sh/ { on = $2 == "SYNOPSIS" } on && $1 == ".Cm" { mine = $2 == want }
        on && mine { for (i = 1; i < NF; i++) if ($i == "Fl" || $i == ".Fl") print "-" $(i + 1) }' \
        "$source/docs/bitmill.1" | sort -u >"$work/manual"
    "$program" "$command" --help | sed -n 's/^Usage: //p' | grep -o -- '--[a-z-]*' | sort -u >"$work/usage"
    cmp -s "$work/manual" "$work/usage" || complain "$(diff "$work/manual" "$work/usage" | tr '\n' ' ')"
done
for words in 'help --help' 'help -h' -h help; do
    # shellcheck disable=SC2086  # words
    works 'bitmill help [COMMAND]|bitmill --help | --version' "$words" $words
done
works '0.1.0' 'version' --version
cp "$stdout" "$work/version"
works '0.1.0' 'version in short' -V
cmp -s "$stdout" "$work/version" || complain 'bitmill -V differs from bitmill --version'
fails 2 'unknown command "quantise"; did you mean quantize?' 'help of a misspelt command' help quantise
fails 2 'unknown command "compress"|bitmill --help lists them' 'help of a word far from every command' help compress
fails 2 'help: expected one command' 'help of two commands' help eval bench
