#!/usr/bin/env python3
"""Makes tests/golden/tokenizer-parts.json, what sentencepiece and tokenizers make of texts, with the parts of their tokenizers as
a GGUF file holds them, and tests/golden/chat-templates.json, what Jinja2 makes of chat templates.

    pip install sentencepiece tokenizers jinja2
    tools/make_golden_text.py [--output tests/golden]

"llama": a byte pair encoding that sentencepiece trains on examples/data; pieces, scores, types, and the ids of texts.
"gpt2": one byte-level vocabulary, trained across all boundaries so that ids show where words end; for each name of
tokenizer.ggml.pre the ids of the texts, with the pre-tokenizers as the models' tokenizer.json files have them.

Templates: of the forms that families of models publish, written here in a few lines each, and one line for each thing that
the language can do; Jinja2 runs them with the settings of transformers (apply_chat_template). No text: it refuses.
"""
import argparse
import importlib.metadata
import io
import json
import pathlib

import jinja2
import jinja2.ext
import jinja2.sandbox
import sentencepiece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXTS = [
    "Once upon a time there was a little fox. The fox lived in a forest.",
    " leading  and   inner    spaces ",
    "It's what we'LL do, don'T they'Re I'm he'd",
    "12 345 6789 1234567x8y9 3.14 ½ x² ٣٤٥",
    "line\nline\r\n\n\ttab \t\n end\n",
    "aaaaaaaaaaaaa ------- ======= .....!!!??",
    "HelloWorld ABCdef camelCase $x+y<=z^2~|`q` a/b/c //\n",
    "naïve café cafe\u0301 straße Ωμέγα Привет",
    "一只狐狸。カタカナとひらがな 한국어 漢字abc",
    "🦊 <0x0A> \u2581 \u00a0\u3000x \u200d",
]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LATER = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = [r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+", r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*"]
DIGITS = pre_tokenizers.Digits(individual_digits=True)
DEEPSEEK = ("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
            "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")
PRE = { # name: (normalizer, stages, ignore_merges)
    "gpt-2": (None, [GPT2], False),
    "llama-bpe": (None, [LATER % r"\p{N}{1,3}"], True),
    "dbrx": (None, [LATER % r"\p{N}{1,3}"], False),
    "qwen2": (normalizers.NFC(), [LATER % r"\p{N}"], False),
    "stablelm2": (None, [LATER % r"\p{N}"], False),
    "smollm": (None, [DIGITS, GPT2], False),
    "tekken": (None, ["|".join(CASED) + r"|\p{N}" + REST], True),
    "gpt-4o": (None, ["|".join(c + SHORT + "?" for c in CASED) + r"|\p{N}{1,3}" + REST], False),
    "deepseek-v3": (None, [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK], False),
    "deepseek-coder": (None, ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", DIGITS], False),
    "falcon": (None, [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"], False),
    "default": (None, [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], False),
}


def sentencepiece_answers():
    model = io.BytesIO()
    text = (ROOT / "examples/data/evaluation.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip()] + TEXTS[5:6] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=460, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True, minloglevel=2,
        allow_whitespace_only_pieces=True, character_coverage=0.999)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(processor.get_piece_size())
    types = [2 if processor.is_unknown(i) else 3 if processor.is_control(i) else 6 if processor.is_byte(i) else 1 for i in ids]
    return {"tokens": [processor.id_to_piece(i) for i in ids], "scores": [processor.get_score(i) for i in ids], "types": types,
            "texts": [{"text": text, "ids": processor.encode(text)} for text in TEXTS]}


def byte_level_answers():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainers.BpeTrainer(
        vocab_size=600, min_frequency=2, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(tokenizer.to_str())["model"]
    answers = []
    for name, (normalizer, stages, ignore_merges) in PRE.items():
        tokenizer.model = models.BPE(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]], ignore_merges=ignore_merges)
        tokenizer.normalizer = normalizer if normalizer else normalizers.Sequence([])
        splits = [pre_tokenizers.Split(Regex(s), "isolated") if isinstance(s, str) else s for s in stages]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        answers.append({"pre": name, "ids": [tokenizer.encode(text).ids for text in TEXTS]})
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return {"tokens": tokens, "merges": [" ".join(m) for m in model["merges"]], "texts": TEXTS, "answers": answers}


TURNS = {
    "question": [("user", "What is a fox?")],
    "system": [("system", "You are brief."), ("user", " Hi \n"), ("assistant", "Hello!"), ("user", "1+1?")],
    "answered": [("user", "naïve “q”"), ("assistant", "<think>\nhm\n</think>\n\nyes \n")],
    "twice": [("user", "a"), ("user", "b")],
}
TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
              "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "smollm2": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe "
               "helpful.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
               "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama-2": """{% if messages[0]['role'] == 'system' %}
  {% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}
{% else %}
  {% set loop_messages = messages %}{% set system_message = false %}
{% endif %}
{% for message in loop_messages %}
  {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
    {{ raise_exception('roles must alternate') }}
  {% endif %}
  {% if loop.index0 == 0 and system_message != false %}
    {% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}
  {% else %}
    {% set content = message['content'] %}
  {% endif %}
  {% if message['role'] == 'user' %}
    {{- bos_token + '[INST] ' + content.strip() + ' [/INST]' -}}
  {% elif message['role'] == 'assistant' %}
    {{- ' ' + content.strip() + ' ' + eos_token -}}
  {% endif %}
{% endfor %}
""",
    "llama-3": "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
               "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
               "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
               "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "llama-3.1": """{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{#- The system text comes out of the list. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Tools: " + tools | tojson(indent=4) }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "qwen3": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    "mistral": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- endif %}
{%- endfor %}
{{- user_messages | length }}
""",
    "gemma": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
             "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') "
             "}}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
             "{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
             "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
    "phi-3": "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + "
             "message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
             "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "macros": """{%- macro show(message, mark="*") %}
{{ mark ~ message.role }}: {% generation %}{{ message.content|trim }}{% endgeneration %}
{%- endmacro %}
{%- for message in messages if message.role != 'system' %}
{{- show(message) }}|{{ show(message, mark='#' * loop.index) }}
{%- else %}
nobody
{%- endfor %}""",
}
LINES = [ # one thing each
    "{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 * 3.5 }} {{ 1 - 0.5 }} {{ 4 / 2 }}",
    "{{ 1 ~ 'a' ~ true ~ none ~ 1.0 }}", "{{ 'a' 'b' + \"c\" }}", "{{ 'x' * 3 }}{{ 'x' * -1 }}", "{{ [1, 2] + [3] | first }}",
    "{{ ([1, 2] + [3]) | last }}", "{{ -3 | abs }}", "{{ 'abc'[0] }}{{ 'abc'[-1] }}{{ 'abc'[5] }}",
    "{{ 'hällo'[1:3] }}{{ 'hello'[::-1] }}{{ 'hello'[-3:] }}{{ 'hello'[:-1:2] }}{{ 'hello'[10:] }}{{ 'hello'[3:1] }}",
    "{{ [1,2,3,4][1:3] | join(',') }} {{ [1,2,3,4][::-1] | join }} {{ [1,2,3][-2:] | join('-') }}",
    "{{ not true or false }}{{ not (true and false) }}{{ 1 and 2 }}{{ 0 or 'x' }}{{ '' and 1 }}",
    "{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'a' < 'b' }}{{ 1 == 1.0 }}{{ true == 1 }}{{ 'a' != 'b' }}{{ [1,'a'] == [1,'a'] }}",
    "{{ 'ell' in 'hello' }}{{ 'x' not in 'hello' }}{{ 2 in [1,2] }}{{ 'a' in {'a': 1} }}{{ '' in 'a' }}{{ not 'a' in 'b' }}",
    "{{ 'yes' if 1 else 'no' }}{{ 'yes' if 0 else 'no' }}{{ 'yes' if 0 }}|{{ 'a' if 0 else 'b' if 0 else 'c' }}",
    "{{ x is defined }}{{ x is undefined }}{{ x }}|{{ x | default('d') }}{{ '' | default('e') }}{{ '' | default('f', true) }}",
    "{{ none is none }}{{ 'a' is string }}{{ 1 is number }}{{ true is number }}{{ 1.5 is float }}{{ 1 is integer }}{{ true is integer }}",
    "{{ {} is mapping }}{{ [] is iterable }}{{ 'a' is sequence }}{{ 1 is iterable }}{{ true is boolean }}{{ false is false }}{{ 1 is true }}",
    "{{ 3 is odd }}{{ 4 is even }}{{ 6 is divisibleby 3 }}{{ 1 is eq 1 }}{{ 1 is not eq(1) }}{{ 2 is in [1,2] }}{{ 1 is lt 2 }}",
    "{{ x is not defined and 1 is not none }}{{ 'a' is string and 'b' is string }}",
    "{{ '  a b ' | trim }}|{{ 'xxaxx'.strip('x') }}|{{ ' a '.lstrip() }}|{{ ' a '.rstrip() }}|{{ '--a-'|trim('-') }}",
    "{{ 'aBc' | upper }}{{ 'aBc' | lower }}{{ 'aBc dEf' | capitalize }}{{ 'aBc dEf' | title }}{{ 'ab'.upper() }}{{ \"it's x\".title() }}",
    "{{ 'a,b,,c'.split(',') | join('|') }} {{ ' a  b '.split() | join('|') }} {{ 'a,b,c'.split(',', 1) | join('|') }}",
    "{{ 'a b c d'.split(none, 2) | join('|') }} {{ 'abc'.find('c') }} {{ 'abc'.find('x') }} {{ ','.join(['a','b']) }}",
    "{{ 'aXbX' | replace('X', 'yy') }}{{ 'aaa'.replace('a', 'b', 2) }}{{ 'aaa' | replace('aa', 'b') }}",
    "{{ 'hello'.startswith('he') }}{{ 'hello'.endswith(('x', 'lo')) }}{{ 'hello'.startswith('lo') }}",
    "{{ [1,2,3] | length }}{{ 'häl' | length }}{{ {'a':1} | count }}{{ x | length }}{{ '' | length }}",
    "{{ [3,1] | first }}{{ [3,1] | last }}{{ [] | first }}|{{ 'abc' | last }}{{ [1,2] | reverse | join }}{{ 'abc' | reverse | list | join('.') }}",
    "{{ '12' | int + 1 }}{{ 'x' | int }}{{ '1.9' | int }}{{ 2.9 | int }}{{ '1.5' | float }}{{ 3 | string + 'a' }}",
    "{{ {'a': [1, 2.5, true, none, 'x\\n\\\"é<>&']} | tojson }}", "{{ [] | tojson }}{{ {} | tojson }}{{ 'a/b' | tojson }}{{ 1.0 | tojson }}",
    "{{ {'a': [1, {'b': []}], 'c': {}} | tojson(indent=2) }}", "{{ messages | tojson }}", "{{ messages[0] | tojson(indent=4) }}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}{% for k in {'a': 1} %}{{ k }}{% endfor %}",
    "{% for k, v in {'a': 1, 'b': 2} | items %}{{ k }}={{ v }};{% endfor %}{{ {'a': 1}.keys() | join }}{{ {'a': 1}.values() | join }}",
    "{{ {'a': 1}.get('a') }}{{ {'a': 1}.get('b') }}{{ {'a': 1}.get('b', 7) }}{{ {'a': 1}['a'] }}{{ {'a': 1}.a }}{{ {'a': 1}.b }}",
    "{% for c in 'ab' %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }} {% endfor %}",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in [1,2,3] if i != 2 %}{{ i }}{{ loop.last }}{{ loop.previtem }}{% endfor %}{% for i in [] %}{% else %}none{% endfor %}",
    "{% for i in range(2, 8, 3) %}{{ i }}{% endfor %}{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}{% for i in nothing %}x{% endfor %}",
    "{% set x = 1 %}{% for i in [1,2] %}{{ x }}{% set x = 5 %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}",
    "{% set ns = namespace(a=1) %}{% for i in [1,2] %}{% set ns.a = ns.a + i %}{% set ns.b = i %}{% endfor %}{{ ns.a }}{{ ns.b }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c %}x{{ a }}y{% endset %}{{ c }}{{ c | length }}{% set t = (1, 2) %}{{ t | join('+') }}",
    "{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(b=4, a=5) }}{{ f() }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}",
    "a {%- if true -%} b {%- endif -%} c {#- note -#} d", "a\n  {% if true %}\n  b\n  {% endif %}\nc\n\n", "  {%+ if true %} x{% endif +%}\ny",
    "a \n {{- 'b' -}} \n c\n{{ 'd' }}\n", "{# a\n#}\nb {# c #} d\n  {# e #}\nf", "{% if true %}\n\n x {% endif %} {% if true %}\n{% endif %}",
    "\r\na\r\n{% if true %}\r\nb{% endif %}\rc\n", "{{ {'a': {'b': 1}}.a.b }}{{ {'a': {}}|length}}{{ {'a': {}}['a']|tojson}}", "{{ 'a\\tb\\\\c\\x41\\u00e9\\q\\'' }}",
    "{{ messages | map(attribute='role') | join(',') }}{{ ['a','b'] | map('upper') | join }}{{ messages | rejectattr('role', 'eq', 'user') | list | length }}",
    "{{ [0,1,2] | select | join }}{{ [0,1,2] | reject('odd') | join }}{{ messages | selectattr('content') | list | length }}",
    "{{ 'a\nb\n\nc' | indent(2) }}{{ 'a\nb' | indent(1, true) }}", "{{ true }}{{ True }}{{ none }}{{ None }}{{ false }}{{ False }}",
    "{{ x.y }}", "{{ x['y'] }}", "{{ x + 1 }}", "{{ 'a' + 1 }}", "{{ 1 / 0 }}", "{{ raise_exception('no') }}", "{{ nothing() }}", "{{ 1 < 'a' }}",
    "{{ none.a }}|{{ 'a'.b }}|{{ 1['a'] }}", "{{ none | length }}", "{% for a, b in [[1, 2], [3, 4]] %}{{ a + b }} {% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{% endfor %}", "{{ messages[0].content.strip().split(' ')[0] | upper }}", "{{ (1, 2)[1] }}{{ () | length }}",
    "{% if messages | length > 0 and messages[-1].role == 'user' %}u{% elif x %}v{% else %}w{% endif %}", "{{ 1 if x else 2 }}{{ 'a' if 'b' in 'abc' and not x }}",
    "{{ '%' }}{{ '}}' }}{{ '{%' }} { % } {{ '{{' }}", "{% set messages = messages + [{'role': 'x', 'content': 'y'}] %}{{ messages[-1].role }}",
    "{{ namespace(a=1).a }}{{ dict(a=1).a }}{{ dict(a=1) | tojson }}", "{{ 10 | string | length }}{{ '5' ~ 5 }}{{ 'a' ~ x ~ 'b' }}",
    "{{ loop }}|", "{{ 1.50 }} {{ 100000.0 }} {{ 0.1 + 0.2 }} {{ 3.0 // 2 }} {{ 0.0001 }} {{ 0.00001234 }} {{ 123456789012345678.0 }} {{ 12345678.5 }} {{ -0.5 }} {{ 1234567890123456.0 }}", "{% for x in [1] %}{% for y in [2] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
]
BROKEN = ["{% if true %}", "{{ 1 + }}", "{{ 'a }}", "{% endif %}", "{% for in x %}{% endfor %}", "{{ a b }}", "{% set = 1 %}", "{{ (1 }}", "{{ [1 }}", "{%", "{{ a.",
          "{# x", "{{ a | }}", "{{ a is }}", "{% else %}", "{% foo %}", "{{ ! }}", "{% if %}{% endif %}", "{{ a[] }}", "{% break %}", "{{ }}"]


class Generation(jinja2.ext.Extension):
    """{% generation %}: its body, as it is."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def render(text, turns, prompt):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                               extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    environment.globals["raise_exception"] = raise_exception
    messages = [{"role": role, "content": content} for role, content in turns]
    try:
        return environment.from_string(text).render(messages=messages, tools=None, documents=None, add_generation_prompt=prompt,
                                                    bos_token="<s>", eos_token="</s>")
    except (jinja2.exceptions.TemplateError, TypeError, ZeroDivisionError, ValueError, SyntaxError):
        return None


def chat_answers():
    templates = [{"name": name, "template": text, "answers": [
        {"turns": turns, "prompt": prompt, "text": render(text, TURNS[turns], prompt)} for turns in TURNS for prompt in (True, False)]}
        for name, text in TEMPLATES.items()]
    lines = [{"template": text, "text": render(text, TURNS["system"], True)} for text in LINES + BROKEN]
    return {"turns": {name: [{"role": r, "content": c} for r, c in turns] for name, turns in TURNS.items()},
            "templates": templates, "lines": lines}


def write(path, value):
    lines = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    path.write_text(lines.replace('},{', '},\n{').replace('],"', '],\n"') + "\n", encoding="ascii")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "tests/golden")
    output = parser.parse_args().output
    versions = {name: importlib.metadata.version(name) for name in ("sentencepiece", "tokenizers")}
    write(output / "tokenizer-parts.json", {"made_by": "tools/make_golden_text.py", "versions": versions,
                                            "llama": sentencepiece_answers(), "gpt2": byte_level_answers()})
    versions = {"jinja2": importlib.metadata.version("jinja2")}
    write(output / "chat-templates.json", {"made_by": "tools/make_golden_text.py", "versions": versions, **chat_answers()})


if __name__ == "__main__":
    main()
