# Text ends at every token that one of the model's files calls its end. Greedily the example model goes on from "Once upon a
# time" with ", there was a little girl", and " girl" is token 485.
ends() { # TITLE: it ends in front of " girl"
    works '' "$1" generate "$model" --prompt 'Once upon a time' --max-new-tokens 20 --device host --json --quiet
    json_is 'j["ended"] and j["text"] == ", there was a little"'
    fresh_model
}
goes_on() { # TITLE
    works '' "$1" generate "$model" --prompt 'Once upon a time' --max-new-tokens 20 --device host --json --quiet
    json_is 'not j["ended"] and j["tokens"] == 20 and " girl" in j["text"]'
    fresh_model
}
goes_on 'the end tokens that the model came with'
edit "$model/generation_config.json" 's/"eos_token_id": 2/"eos_token_id": 485/'
ends 'generation_config.json alone, a number'
edit "$model/generation_config.json" 's/"eos_token_id": 2/"eos_token_id": [3, 4, 5, 6, 7, 8, 9, 10, 11, 485]/'
ends 'generation_config.json alone, the tenth of a list'
edit "$model/config.json" 's/"eos_token_id": 2/"eos_token_id": [2, 485]/'
ends 'config.json alone'
edit "$model/tokenizer_config.json" 's/"eos_token": "<.s>"/"eos_token": "▁girl"/'
ends 'tokenizer_config.json alone, a text'
edit "$model/tokenizer_config.json" 's/"eos_token": "<.s>"/"eos_token": {"content": "▁girl", "lstrip": false}/'
ends 'tokenizer_config.json alone, an object'
edit "$model/tokenizer_config.json" 's/"eos_token": "<.s>"/"eos_token": null/'
edit "$model/config.json" '/"eos_token_id"/d'
edit "$model/generation_config.json" 's/"eos_token_id": 2/"eos_token_id": 485/'
ends 'one file alone names an end: it stands for what the family means by none'
edit "$model/tokenizer_config.json" 's/"eos_token": "<.s>"/"eos_token": null/'
edit "$model/config.json" '/"eos_token_id"/d'
rm "$model/generation_config.json"
goes_on 'no file names an end'

refuses() { # 'WORDS' TITLE
    fails 2 "$1" "$2" generate "$model" --prompt Once --max-new-tokens 2 --device host
    fresh_model
}
edit "$model/generation_config.json" 's/"eos_token_id": 2/"eos_token_id": [2, "485"]/'
refuses 'generation_config.json|eos_token_id|expected token ids|found "485"' 'an end token that is a text'
edit "$model/config.json" 's/"eos_token_id": 2/"eos_token_id": -1/'
refuses '/config.json|eos_token_id|expected token ids|found -1' 'a negative end token'
edit "$model/tokenizer_config.json" 's/"eos_token": "<.s>"/"eos_token": 2/'
refuses 'tokenizer_config.json|eos_token|expected a string|found 2' 'an end token of tokenizer_config.json that is a number'
