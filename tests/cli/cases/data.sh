# Data sets, parameter files and folders that cannot be written.
bad_data() { # 'WORDS' TITLE FILE
    fails 2 "$1" "$2" eval "$model" --data "$3"
}
bad_data 'nowhere.txt' 'no such data' "$work/nowhere.txt"
: >"$work/empty.txt"
bad_data 'empty.txt' 'empty text' "$work/empty.txt"
: >"$work/empty.json"
bad_data 'empty.json: no examples, expected lines of JSON with "src" and "tgt", or "text"' 'empty JSON lines' "$work/empty.json"
bad_data '/dev/null: is no regular file' 'data from a device' /dev/null
fails 2 '"/dev/null": is no regular file; give a local folder' 'calibration from a device' quantize "$model" --method gptq --data /dev/null --output "$out"
mkdir "$work/none"
bad_data 'none' 'data folder without files' "$work/none"
printf '{"src":"a","tgt":"b"}\n{"tgt":"b"}\n' >"$work/d.json"
bad_data 'd.json: line 2: key "src" is missing; expected "src" and "tgt", or "text"' 'a line without src' "$work/d.json"
printf '{"src":"a"}\n' >"$work/d.json"
bad_data 'd.json|1|tgt' 'a line without tgt' "$work/d.json"
printf '{"src":7,"tgt":"b"}\n' >"$work/d.json"
bad_data 'd.json|1|src' 'src that is a number' "$work/d.json"
printf '{"src":"a","tgt":"b"}\n{"src":"a",\n' >"$work/d.json"
bad_data 'd.json|2' 'a broken line' "$work/d.json"
printf '{"src":"a","tgt":"b\tc"}\n' >"$work/d.json"
bad_data 'd.json: line 1: byte 20: a control character in a string|\t' 'a tab in a string' "$work/d.json"
printf '{"src":"a",\t"tgt":"b"}\n' >"$work/d.json"
works perplexity 'tabs between' eval "$model" --data "$work/d.json" --device "$DEVICE"
printf '{"src":"a","tgt":"b","tgt":"c"}\n' >"$work/d.json"
bad_data 'd.json: line 1: key "tgt" is given twice' 'a key twice' "$work/d.json"
printf '{"input_ids":[1,45]}\n{"input_ids":[1,-45]}\n' >"$work/d.json"
bad_data 'd.json: line 2: key "input_ids": element 2: expected an integer from 0|found -45' 'a negative id' "$work/d.json"
printf '{"input_ids":[1,45]}\n{"input_ids":[1,999999]}\n' >"$work/d.json"
bad_data 'd.json: line 2: token id 999999, the model' 'an id beyond the vocabulary' "$work/d.json"
printf '[1,2]\n' >"$work/d.json"
bad_data 'd.json' 'a line of numbers' "$work/d.json"
{ printf '{"src":"a","tgt":'; printf '%020000d' 0 | tr 0 '['; } >"$work/d.json"
bad_data 'd.json' 'a deep line' "$work/d.json"
printf '\377\376\000\n\377' >"$work/noise.json"
bad_data 'noise.json: line 1: is not valid UTF-8' 'noise as JSON lines' "$work/noise.json"
bad_data 'model.safetensors' 'weights as text' "$model/model.safetensors"

# Values that cannot be read, in keys that are not read and in one that is.
printf '{"id":1234567890123456789,"score":NaN,"note":"\\ud83d","src":"Once","tgt":" upon a time"}\n' >"$work/unread.json"
works perplexity 'an integer beyond 2^53, NaN and half a surrogate pair' eval "$model" --data "$work/unread.json" --device "$DEVICE"
printf '{"src":"Once","tgt":" upon"}\n{"src":"Once","tgt":" upon \\ud83d"}\n' >"$work/d.json"
bad_data 'd.json: line 2: key "tgt"|half of a surrogate pair' 'half a surrogate pair that is read' "$work/d.json"
printf '{"src":"Once \\u12","tgt":" upon"}\n' >"$work/d.json"
bad_data 'd.json: line 1|four hexadecimal digits' 'an escape without its digits' "$work/d.json"
edit "$model/tokenizer_config.json" 's/"model_max_length": *512/"model_max_length": 1000000000000000019884624838656/'
works Once 'model_max_length of Llama' generate "$model" --prompt Once --max-new-tokens 2 --device "$DEVICE"
works '' 'model_max_length of Llama, quantized' quantize "$model" --method rtn --output "$out" --device "$DEVICE"
fresh_model
edit "$model/config.json" 's/"hidden_size"/"unread": [NaN, 1e999, 9007199254740993], &/'
works '' 'config.json with values that nobody reads' quantize "$model" --method rtn --output "$out" --device "$DEVICE"
grep -q '9007199254740993' "$out/config.json" || complain 'the copy of config.json says something else'
fresh_model
edit "$model/config.json" 's/"hidden_size": *256/"hidden_size": 9007199254740993/'
fails 2 'config.json|hidden_size|9007199254740993' 'an integer beyond 2^53 that is read' inspect "$model"
fresh_model

# The same text as other systems write it.
text='Once upon a time there was a dog named Spot.'
printf '%s\nHe ran in the park.\n' "$text" >"$work/lf.txt"
printf '\357\273\277%s\nHe ran in the park.\n' "$text" >"$work/bom.txt"
printf '%s\r\nHe ran in the park.\r\n' "$text" >"$work/crlf.txt"
for form in lf bom crlf; do
    works perplexity "text with $form" eval "$model" --data "$work/$form.txt" --device "$DEVICE"
    grep perplexity "$stdout" >"$work/$form.perplexity"
    cmp -s "$work/lf.perplexity" "$work/$form.perplexity" || complain "$form: another perplexity than without"
    [ "$form" = lf ] || grep -qF "$form.txt: " "$stderr" || complain "$form: no note"
done

# Parameter files.
arguments() { # 'WORDS' TITLE TEXT
    printf '%s' "$3" >"$work/args.json"
    fails 2 "$1" "$2" quantize "$work/args.json"
}
fails 2 'nowhere.json' 'no such parameter file' quantize "$work/nowhere.json"
fails 2 '--set' '--bits beside a parameter file' quantize "$work/args.json" --bits 4
arguments 'args.json' 'empty parameter file' ''
arguments 'args.json: byte 23: is not valid JSON' 'parameter file cut' '{"model_name_or_path": '
arguments 'args.json' 'parameter file is an array' '[]'
arguments 'do_ptq' 'parameter file that does nothing' '{"output_dir": "x"}'
arguments 'model_name_or_path' 'parameter file without a model' "{\"output_dir\": \"$out\", \"do_ptq\": true}"
arguments 'model_name_or_path' 'model that is a number' '{"model_name_or_path": 7}'
arguments 'four hexadecimal digits' 'path with an escape cut short' "{\"model_name_or_path\": \"$model\\u00\", \"do_ptq\": true}"
arguments 'outptu_dir|output_dir' 'misspelt key' "{\"model_name_or_path\": \"$model\", \"outptu_dir\": \"$out\"}"

# The output folder.
quantize() { # 'WORDS' TITLE OUTPUT MORE...
    words=$1 title=$2 folder=$3
    shift 3
    fails 2 "$words" "$title" quantize "$model" --method rtn --output "$folder" "$@"
}
quantize 'output' 'output without a name' ''
quantize 'output' 'output /' /
quantize 'no shell replaced the ~|./~' 'output behind a ~ that is no home' '~/out'
quantize 'no shell replaced the ~' 'output ~' '~'
quantize 'output' 'output ..' ..
quantize 'is the model itself' 'output is the model' "$model"
quantize "model" 'output is the model, replaced' "$model" --set overwrite_output_dir=true
quantize "model" 'output is the model by another path' "$model/../model/" --set overwrite_output_dir=true
quantize 'inside the model' 'output inside the model' "$model/out"
quantize 'inside the model' 'output deep inside the model' "$model/new/deeper"
[ -e "$model/out" ] && complain 'written inside the model'
mkdir "$work/stranger" && echo keep >"$work/stranger/note.txt"
quantize 'stranger|exists' 'output exists' "$work/stranger"
quantize 'stranger|bitmill.json|not replaced' 'output holds a stranger'"'"'s files' "$work/stranger" --set overwrite_output_dir=true
[ "$(cat "$work/stranger/note.txt")" = keep ] || complain "a stranger's file is gone"
: >"$work/file"
quantize 'file' 'output is a file' "$work/file"
quantize 'file/|no folder' 'output is a file, with a slash' "$work/file/"
ln -s nowhere "$work/dangling"
quantize 'dangling|leads nowhere' 'output is a link that leads nowhere' "$work/dangling"
quantize 'file/out|no folder' 'output below a file' "$work/file/out"
quantize 'x.partial|unfinished' 'output of the name of an unfinished one' "$work/x.partial"
quantize '/dev/null: cannot list: ' 'output is a device' /dev/null
quantize '/dev/null' 'output on a device file' /dev/null/nowhere
mkdir "$work/blocked" "$work/blocked.partial" && echo keep >"$work/blocked.partial/note.txt" && rmdir "$work/blocked"
title='a stranger in the way'
"$program" quantize "$model" --method rtn --output "$work/blocked" >"$stdout" 2>"$stderr"
[ $? -eq 2 ] && [ -e "$work/blocked.partial/note.txt" ] || complain "expected exit status 2 and the stranger kept"
rm -rf "$work/blocked.partial"
if [ "$(id -u)" -ne 0 ]; then
    mkdir "$work/data" && cp "$data/dev.json" "$work/data" && chmod 000 "$work/data"
    bad_data 'data: cannot list: Permission denied' 'a data folder that may not be looked into' "$work/data"
    fails 2 'data: cannot list: Permission denied' 'the same for quantize' quantize "$model" --output "$out" --data "$work/data" --set do_eval=true
    chmod 700 "$work/data"
    mkdir "$work/locked" && chmod a-w "$work/locked"
    quantize 'locked' 'output in a folder that is read-only' "$work/locked/out"
    chmod a-r "$model/model.safetensors"
    quantize 'model.safetensors' 'weights that cannot be read' "$out"
    fresh_model
else
    skip 'read-only folders: run as the superuser'
fi

# Options for data of the other kind: said in a note. A text knows no prompt, lines no slices.
noted() { # 'WORDS': on standard error
    lacking=$(missing_word "$stderr" "$1")
    [ -z "$lacking" ] || complain "standard error lacks \"$lacking\""
}
printf '{"src":"Once upon","tgt":" a time"}\n' >"$work/pairs.json"
works 'tokens scored   4 in 1 sequence' 'a context for src and tgt lines' eval "$model" --data "$work/pairs.json" --device "$DEVICE" --context 64 --drop-last
noted 'note: src and tgt lines: context and drop_last have no effect'
grep -q 'in 1 sequence$' "$stdout" || complain 'a context that cuts nothing is printed'
works '' 'the same as JSON' eval "$model" --data "$work/pairs.json" --device "$DEVICE" --json
json_is 'j["context"] is None'
grep -q 'note: ' "$stderr" && complain 'a note on options that were not given'
printf '{"input_ids":[5,45,7,9]}\n{"input_ids":[1,2,3]}\n' >"$work/ids.jsonl"
works 'tokens scored   5 in 2 sequences' 'lines of ids' eval "$model" --data "$work/ids.jsonl" --device "$DEVICE" --context 64 --src-length 2
noted 'note: input_ids lines: context and drop_last have no effect|note: input_ids lines: src_length has no effect'
works '' 'calibration on lines of ids' quantize "$model" --method gptq --bits 4 --data "$work/ids.jsonl" --output "$out" --device "$DEVICE"
noted 'ids.jsonl, 2 sequences, 7 tokens for calibration'
rm -rf "$out"
works ', context 512' 'a prompt of plain text' eval "$model" --data "$work/lf.txt" --device "$DEVICE" --src-length 8
noted 'note: plain text: src_length and max_length have no effect|evaluate: 22 tokens in 1 sequence, '
works 'perplexity' 'lengths beyond the model' eval "$model" --data "$work/pairs.json" --device "$DEVICE" --src-length 600
noted "note: src_length 256 and max_length 512: what the model's context allows"
works 'perplexity' 'prompts that are cut' eval "$model" --data "$work/pairs.json" --device "$DEVICE" --src-length 2
noted 'note: |1 prompt cut to src_length, 0 answers cut to max_length'
printf '[{"src":"Once upon","tgt":" a time"}]' >"$work/array.json"
works 'perplexity' 'an array of examples' eval "$model" --data "$work/array.json" --device "$DEVICE"
noted 'note: |array.json: one JSON array'
works 'perplexity' 'a short max_length' quantize "$model" --method rtn --output "$out" --device "$DEVICE" --data "$work/lf.txt" --set do_eval=true --set max_length=16
rm -rf "$out"
bad_data 'empty.txt: is empty, expected a text' 'no text at all' "$work/empty.txt"
fails 2 'lf.txt: no whole slice of 64 tokens, and drop_last' 'no slice' eval "$model" --data "$work/lf.txt" --device "$DEVICE" --context 64 --drop-last
fails 2 'evaluation.txt: no whole slice of 64 tokens within max_tokens, and drop_last' 'no slice within the tokens asked for' \
    eval "$model" --data "$data/evaluation.txt" --device "$DEVICE" --context 64 --drop-last --max-tokens 50
