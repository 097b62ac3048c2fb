#!/usr/bin/env python3
"""Makes tests/golden/tokenizer-parts.json: what sentencepiece and tokenizers make of texts, with the parts of their tokenizers as
a GGUF file holds them.

    pip install sentencepiece tokenizers
    tools/make_golden_text.py [--output tests/golden]

"llama": a byte pair encoding that sentencepiece trains on examples/data; pieces, scores, types, and the ids of texts.
"gpt2": one byte-level vocabulary, trained across all boundaries so that ids show where words end; for each name of
tokenizer.ggml.pre the ids of the texts, with the pre-tokenizers as the models' tokenizer.json files have them.
"""
import argparse
import importlib.metadata
import io
import json
import pathlib

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


if __name__ == "__main__":
    main()
