#!/usr/bin/env python3
"""Compares our tokenizer with Hugging Face `tokenizers`, id by id and decoded text by decoded text.

    pip install tokenizers
    tools/compare_tokenizers.py --program build/release/tests/text/tokenize --data DATA [--made] [--bytes N] [--seed S]

DATA is a folder with models and tokenizers (any tokenizer.json below it is taken) and text/ (its .txt, .utf8 and .jsonl
files become the English and Chinese parts of the mixed text). --made also trains small tokenizers of the kinds of Llama
3, Qwen2, SmolLM, DeepSeek, Metaspace and of awkward added tokens on the mixed text. Exit status 1 when
anything differs.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

SENTENCES = [
    "العَرَبِيَّةُ لُغَةٌ جَمِيلَة، وفيها ١٢٣٤٥ كلمة.", "हिन्दी में क्षत्रिय और ज़मीन; १२३ नमस्ते!",
    "ภาษาไทยไม่มีช่องว่างระหว่างคำ ๑๒๓",
    "한국어 문장과 ㅎㅏㄴ 자모, 각각의 음절.", "日本語のテキスト、カタカナとひらがな。１２３４５", "Быстрая коричневая лиса; ё и ё; й.",
    "Ελληνικά: ἄνθρωπος, ΐ ΰ Ά", "עִבְרִית מנוקדת", "Việt Nam: tiếng Việt có dấu, ế ề ể", "é à ñ ü Å Å ẛ̣ q̣̇",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 😀😃 🇩🇪🇫🇷 ☃️ ♥", "x = y**2 + \tz[3] /* comment */\r\n\tif (a != b) { return -1; }",
    "don't DON'T I'll we'Ve it'ſ you'RE 'sound 'tis '' 'K", "½ ² Ⅷ ㊿ ① 三 百 1234567890 3.14159 1,000,000",
    "tabs\t\t\tand   spaces    and\u00a0nbsp\u2003em\u200bzero\u180emvs\u3000ideographic\u2028line\u2029para\x85nel",
    "\r\n\r\n  \n \n\t\n   x  \r \r\n", "\x00\x01\x1c\x1d\x1e\x1f\x7f control", "ﬁ ﬂ ſ K Å Ω ﬆ ẞ ß İ ı",
    "<s> </s> <unk> <|endoftext|> <|begin_of_text|> <0x41> ▁ Ġ Ċ <s",
    "  <mark>  [WORD]x [WORD] x[WORD] [word]  [LEFT]  [RIGHT]  [BOTH] ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\ufeffBOM \ufffd replacement \U0010fffd private \ue000",
]


def random_unicode(rng, count):
    """Assigned characters of every plane, in short runs of one script so that words and marks form."""
    out = []
    while len(out) < count:
        base = rng.choice([rng.randrange(0x20, 0x3000), rng.randrange(0x3000, 0xD7F0), rng.randrange(0xE000, 0x10000),
                           rng.randrange(0x10000, 0x20000), rng.randrange(0x300, 0x370), rng.randrange(0x20, 0x100)])
        for _ in range(rng.randrange(1, 12)):
            c = chr(min(base + rng.randrange(64), 0x10FFFF))
            # Assigned long ago: this Python's tables may be newer than the libraries'.
            if unicodedata.ucd_3_2_0.category(c) not in ("Cs", "Cn"):
                out.append(c)
        out.append(rng.choice([" ", "", "", "\n", "  ", "\t", "'"]))
    return "".join(out)


def mixed_text(data, size, seed):
    rng = random.Random(seed)
    parts, total = [], 0
    files = sorted(p for p in (data / "text").rglob("*") if p.suffix in (".txt", ".utf8", ".jsonl")) if data else []
    texts = [p.read_text(encoding="utf-8") for p in files]
    while total < size:
        kind = rng.random()
        if texts and kind < 0.5:
            text = rng.choice(texts)
            begin = rng.randrange(len(text))
            part = text[begin:begin + rng.randrange(20, 2000)]
        elif kind < 0.8:
            part = rng.choice(["", " ", "\n", "  "]).join(rng.choices(SENTENCES, k=rng.randrange(1, 6)))
        elif kind < 0.9:
            part = random_unicode(rng, 100)
        else:
            part = "".join(rng.choice(" \t\n\r\u00a0\u3000") * rng.randrange(1, 5)
                           + rng.choice(["a", "1", "'s", "", "é"]) for _ in range(30))
        parts.append(part)
        total += len(part.encode("utf-8"))
    return "".join(parts)


def code_points():
    """Every assigned code point that this Python knows, next to letters, digits, spaces and itself."""
    chars = [chr(i) for i in range(0x110000) if unicodedata.category(chr(i)) not in ("Cs", "Cn")]
    return "".join(f"a{c}1{c}{c} {c}b\n" for c in chars) + " ".join(chars)


def train(text, pre, normalizer=None, vocab=3000, alphabet=True, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    trainer = trainers.BpeTrainer(vocab_size=vocab, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
                                  limit_alphabet=800)
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    return tokenizer


def byte_level(expression, behavior="isolated", invert=False):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(expression), behavior, invert),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def template(*processors_before):
    bos = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return processors.Sequence([*processors_before, bos])


def add_fallback_bytes(tokenizer):
    """The trainer knows no byte fallback: put <0xNN> into the vocabulary of the written file."""
    spec = json.loads(tokenizer.to_str())
    vocab = spec["model"]["vocab"]
    for byte in range(256):
        vocab.setdefault(f"<0x{byte:02X}>", len(vocab))
    spec["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(spec))


def made(text):
    """(name, tokenizer) of the kinds that the data folder lacks."""
    llama3 = train(text, byte_level(LLAMA3), ignore_merges=True)
    llama3.post_processor = template(processors.ByteLevel(trim_offsets=False))
    llama3.decoder = decoders.ByteLevel()
    yield "made: Llama 3", llama3
    qwen2 = train(text, byte_level(QWEN2), normalizers.NFC())
    qwen2.post_processor = processors.ByteLevel(trim_offsets=False)
    qwen2.decoder = decoders.ByteLevel()
    yield "made: Qwen2 (NFC)", qwen2
    smol = train(text, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    smol.decoder = decoders.ByteLevel()
    yield "made: SmolLM", smol
    deepseek = train(text, pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"), pre_tokenizers.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"), "isolated"),
        pre_tokenizers.Split(Regex(DEEPSEEK), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]))
    deepseek.decoder = decoders.ByteLevel()
    yield "made: DeepSeek", deepseek
    for scheme, split in (("first", False), ("always", True), ("never", True)):
        meta = train(text, pre_tokenizers.Metaspace("▁", scheme, split=True), alphabet=False, unk_token="<unk>",
                     fuse_unk=True)
        meta.pre_tokenizer = pre_tokenizers.Metaspace("▁", scheme, split=split)
        meta.decoder = decoders.Metaspace("▁", scheme, split=split)
        meta.post_processor = template()
        yield f"made: Metaspace {scheme}, split {split}", meta
    for fuse in (True, False):
        spm = add_fallback_bytes(train(text, pre_tokenizers.Metaspace("▁", "always"), alphabet=False, unk_token="<unk>",
                                       fuse_unk=fuse))
        spm.pre_tokenizer = None
        spm.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        spm.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                         decoders.Strip(" ", 1, 0)])
        yield f"made: Llama 2, fuse_unk {fuse}", spm
    for behavior in ("removed", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            split = train(text, byte_level(r"\s+|\p{P}", behavior, invert), normalizers.Replace(Regex(r"\d+|\w'"), "#"))
            split.decoder = decoders.ByteLevel()
            yield f"made: Split {behavior}, invert {invert}, Replace Regex", split
    odd = train(text, byte_level(QWEN2), normalizers.NFC())
    odd.add_tokens([AddedToken("[WORD]", single_word=True), AddedToken("[LEFT]", lstrip=True, normalized=False),
                    AddedToken("[RIGHT]", rstrip=True),
                    AddedToken("[BOTH]", lstrip=True, rstrip=True, normalized=False),
                    AddedToken("e\u0301", normalized=True), AddedToken("aaa"), AddedToken("aa"),
                    AddedToken("the", single_word=True),
                    AddedToken("\n\n", normalized=False), AddedToken("<mark>", lstrip=True, rstrip=True)])
    odd.decoder = decoders.ByteLevel()
    yield "made: added tokens", odd


def run_ours(program, tokenizer_path, text_path, *flags):
    result = subprocess.run([program, tokenizer_path, text_path, *flags], capture_output=True)
    if result.returncode:
        sys.exit(f"{program}: {result.stderr.decode()}")
    return result


def first_difference(a, b):
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return i
    return min(len(a), len(b))


def compare(name, path, tokenizer, text, text_path, program):
    begin = time.perf_counter()
    theirs = tokenizer.encode(text, add_special_tokens=True).ids
    seconds = time.perf_counter() - begin
    ours = [int(line) for line in run_ours(program, path, text_path, "--special").stdout.split()]
    decoded = run_ours(program, path, text_path, "--special", "--decode").stdout.decode("utf-8")
    expected = tokenizer.decode(theirs, skip_special_tokens=False)
    speed = run_ours(program, path, text_path, "--special", "--time").stderr.decode().split(";")[0].split(", ")[-1]
    size = len(text.encode("utf-8"))
    differences = sum(x != y for x, y in zip(ours, theirs)) + abs(len(ours) - len(theirs))
    print(f"{name:46} {size:9} bytes {len(theirs):8} tokens {differences:5} differences, decoded text "
          f"{'equal' if decoded == expected else 'DIFFERS'}, {speed} "
          f"(theirs {size * 1e-6 / seconds:.2f} MB/s)", flush=True)
    if differences:
        i = first_difference(ours, theirs)
        print("   first at", i, "ours", ours[i:i + 8], [tokenizer.id_to_token(t) for t in ours[i:i + 8]])
        print("   theirs", theirs[i:i + 8],
              [tokenizer.id_to_token(t) for t in theirs[i:i + 8]])
    if decoded != expected:
        i = first_difference(decoded, expected)
        window = slice(max(0, i - 20), i + 20)
        print("   text first at", i, "ours", repr(decoded[window]), "theirs", repr(expected[window]))
    return differences == 0 and decoded == expected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--made", action="store_true")
    parser.add_argument("--code-points", action="store_true", help="compare on every assigned code point instead")
    parser.add_argument("--bytes", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    text = mixed_text(arguments.data, arguments.bytes, arguments.seed)
    training = text[:200_000].replace("\0", "")  # our JSON reader refuses zero characters in vocabularies
    if arguments.code_points:
        text = code_points()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        text_path = f"{folder}/text.txt"
        pathlib.Path(text_path).write_bytes(text.encode("utf-8"))
        if arguments.data:
            for path in sorted(arguments.data.rglob("tokenizer.json")):
                tokenizer = Tokenizer.from_file(str(path))
                good &= compare(str(path.parent.relative_to(arguments.data)), str(path), tokenizer, text, text_path,
                                arguments.program)
        for name, tokenizer in made(training) if arguments.made else []:
            path = f"{folder}/tokenizer.json"
            tokenizer.save(path)
            good &= compare(name, path, Tokenizer.from_file(path), text, text_path, arguments.program)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
