# generate --chat: messages by the model's chat template.
fresh_model
fails 2 'no chat template' 'chat without a template' generate "$model" --chat --prompt x
fails 2 '--system without --chat' 'system without chat' generate "$model" --system x --prompt x
fails 2 '--chat --json without --prompt' 'JSON of many answers' generate "$model" --chat --json

printf '{%%- for m in messages %%}[{{ m.role }}] {{ m.content }} {%% endfor -%%}' >"$model/chat_template.jinja"
works '' 'an answer' generate "$model" --chat --system Be --prompt 'Once upon' --max-new-tokens 2 --device host --json --quiet
grep -qF '"prompt": "[system] Be [user] Once upon "' "$stdout" || complain 'the template did not write the prompt'


mv "$model/chat_template.jinja" "$work/kept.jinja"
printf '{"chat_template": "<{{ messages[0].content }}>"}' >"$model/chat_template.json"
works '' "a template in transformers' separate file" generate "$model" --chat --prompt Once --max-new-tokens 1 --device host --json --quiet
grep -qF '"prompt": "<Once>"' "$stdout" || complain 'chat_template.json did not write the prompt'
mv "$work/kept.jinja" "$model/chat_template.jinja"

# A context that is full: what fills it, and what to do.
edit "$model/config.json" 's/"max_position_embeddings": *[0-9]*/"max_position_embeddings": 16/'
run 'a conversation that fills the context' generate "$model" --chat --prompt 'Once upon' --device host
[ "$code" -eq 0 ] || complain "exit status $code"
grep -qE 'note: --max-new-tokens 100: the model.s context of 16 has room for [0-9]+ behind the conversation.s [0-9]+$' "$stderr" || complain 'no word beforehand'
grep -qE 'context of 16 tokens is full: [0-9]+ of the conversation and [0-9]+ new, .* begin a new conversation' "$stderr" || complain 'no word on what to do'
fails 2 "--chat: the conversation has|tokens, and the model's context is 16 tokens: no room for an answer|a new conversation" 'a message that is too long' \
    generate "$model" --chat --prompt 'Once upon a time there was a little girl who had a dog and a cat' --device host
edit "$model/config.json" 's/"max_position_embeddings": *[0-9]*/"max_position_embeddings": 512/'

# Each line is a message, and answers join the conversation: the second prompt is longer than both lines.
title='a conversation'
num_cases=$((num_cases + 1))
printf 'Once\r\n\nupon a time' | "$program" generate "$model" --chat --max-new-tokens 3 --device host >"$stdout" 2>"$stderr" ||
    complain 'failed'
[ "$(wc -l <"$stdout")" = 2 ] || complain 'expected two answers'
grep -qE '^3 tokens.*prompt of' "$stderr" || complain 'no rates'

title='a message with a zero byte'
num_cases=$((num_cases + 1))
printf 'On\0ce\n' | "$program" generate "$model" --chat --max-new-tokens 3 --device host >"$stdout" 2>"$stderr"
[ $? = 2 ] || complain 'expected exit status 2'
grep -qF -e '--chat: found a zero byte in the message of the user, expected none' "$stderr" || complain 'no words'

printf '{{ raise_exception("roles must alternate") }}' >"$model/chat_template.jinja"
fails 2 'chat_template.jinja|line 1|roles must alternate' 'a template that refuses' generate "$model" --chat --prompt x --device host
printf ' \n' >"$model/chat_template.jinja"
fails 2 'chat_template.jinja: chat template: found 2 bytes of nothing but white space' 'an empty template' generate "$model" --chat --prompt x --device host
printf '{# nothing #}' >"$model/chat_template.jinja"
fails 2 '--chat: its chat template makes no text of the conversation' 'a template without text' generate "$model" --chat --prompt x --device host
printf '{%% if %%}' >"$model/chat_template.jinja"
fails 2 'chat_template.jinja|line 1|expected a value' 'a broken template' generate "$model" --chat --prompt x --device host
