#!/usr/bin/env python3
"""Compares bitmill with Hugging Face transformers: logits of float models, perplexity of float and quantized ones.

    pip install torch 'transformers>=5.17' compressed-tensors safetensors tokenizers numpy
    tools/interop/compare_transformers.py --build build/release --data DATA [--device host] [--only NAME]... [--skip-logits]
                                          [--skip-perplexity] [--characters N] [--format compressed-tensors|gptq|awq]
                                          [--quantized NAME=FOLDER]...

Logits: the first 128 tokens of each checkpoint's text (tools/measure_quality.py has them), and 128 ids of random models of
every family; both programs in float32; printed is max |difference| / max |logit|. The build needs its tests
(make_model, dump_logits).

Perplexity: the text tokenized whole, cut into slices of the context, every token but the first of each slice scored.
transformers loads what `bitmill quantize` wrote, in float32 on the CPU: through compressed-tensors, decompressed, or, of
format gptq or awq, through gptqmodel (`pip install gptqmodel optimum`). With --quantized, folders that any program quantized
from checkpoint NAME take the place of what is quantized here. Exit status 1 when logits differ by more than 1e-4,
perplexity by more than 0.1 %, or ids at all.
"""
import argparse
import importlib.metadata
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import warnings

from peer_transformers import open_model # first: it sets what the programs below look for

import numpy
import torch
import transformers
from tokenizers import Tokenizer

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import measure_quality as quality

LOGIT_BOUND, PERPLEXITY_BOUND = 1e-4, 1e-3
RANDOM = [("llama", []), ("mistral", ["--sliding-window=40"]), ("qwen2", ["--tie"]), ("qwen3", ["--head-dim=32"]),
          ("bloom", ["--tie"])]
failures = 0


def check(ok, line):
    global failures
    failures += not ok
    print(line + ("" if ok else "  DIFFERS"), flush=True)


@torch.no_grad()
def compare_logits(o, name, folder, ids, work):
    path, out = work / "ids", work / "logits"
    numpy.array(ids, dtype="<u4").tofile(path)
    subprocess.run([o.build / "tests/model/dump_logits", folder, o.device, "float32", path, out], check=True)
    theirs = open_model(folder)(torch.tensor([ids])).logits[0].numpy()
    ours = numpy.fromfile(out, dtype="<f4").reshape(theirs.shape)
    difference = float(numpy.abs(ours - theirs).max() / numpy.abs(theirs).max())
    check(difference <= LOGIT_BOUND, f"| {name} | {len(ids)} | {difference:.2e} |")


@torch.no_grad()
def perplexity(model, ids, context):
    total, scored = 0.0, 0
    for first in range(0, len(ids), context):
        piece = torch.tensor([ids[first:first + context]])
        if piece.shape[1] < 2:
            continue
        logits = model(piece).logits[0, :-1].double()
        total += float(torch.nn.functional.cross_entropy(logits, piece[0, 1:], reduction="sum"))
        scored += piece.shape[1] - 1
    return math.exp(total / scored), scored


def compare_perplexity(o, name, label, folder, ids, text, context):
    ours = quality.evaluate(o.build / "bitmill", o.device, folder, text, context)
    theirs, scored = perplexity(open_model(folder), ids, context)
    ratio = ours["perplexity"] / theirs - 1
    check(abs(ratio) <= PERPLEXITY_BOUND and scored == ours["tokens"],
          f"| {name} | {label} | {scored} | {ours['perplexity']:.5f} | {theirs:.5f} | {ratio:+.1e} |")


def texts_of(o, work):
    for name, _, make, context in quality.CHECKPOINTS:
        if o.only and name not in o.only:
            continue
        folder, text = quality.folder_of(name, o.data), work / "text.txt"
        content = make(o.data, 1 << 30)[:o.characters]
        text.write_bytes(content.encode("utf-8"))
        yield name, folder, text, Tokenizer.from_file(str(folder / "tokenizer.json")).encode(content).ids, context


def variants(format, model):
    for label, bits, keys in quality.variants(model):
        if format == "awq": # groups of 4 bits, asymmetric unless a key says otherwise
            if bits != 4 or "weight_quant_method=groupwise" not in keys:
                continue
            keys = keys if "symmetric=false" in keys else keys + ["symmetric=true"]
        yield label, bits, keys + [f"format={format}"]


def named_folder(text):
    name, folder = text.split("=", 1)
    return name, pathlib.Path(folder).resolve()


def versions():
    for package in ("torch", "transformers", "compressed-tensors", "gptqmodel", "optimum", "numpy"):
        try:
            yield f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--device", default="host")
    parser.add_argument("--only", action="append")
    parser.add_argument("--characters", type=int, default=20000, help="the beginning of each text")
    parser.add_argument("--format", choices=["compressed-tensors", "gptq", "awq"], default="compressed-tensors")
    parser.add_argument("--quantized", action="append", type=named_folder, default=[], metavar="NAME=FOLDER")
    parser.add_argument("--skip-logits", action="store_true")
    parser.add_argument("--skip-perplexity", action="store_true")
    o = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning) # that the checkpoint's own quantization_config is used
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(", ".join(versions()) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        if not o.skip_logits:
            print("| model | tokens | max abs difference / max abs logit |\n|---|---|---|")
            for name, model, _, ids, context in texts_of(o, work):
                compare_logits(o, name, model, ids[:min(128, context)], work)
            for family, options in RANDOM:
                model = work / family
                subprocess.run([o.build / "tests/support/make_model", f"--family={family}", *options, model], check=True,
                               stdout=subprocess.DEVNULL)
                compare_logits(o, f"random {family} {' '.join(options)}".strip(), model,
                               [(i * 7919 + 13) % 512 for i in range(128)], work)
        if not o.skip_perplexity:
            print("\n| model | checkpoint | tokens scored | bitmill | transformers | difference |\n|---|---|---|---|---|---|")
            for name, model, text, ids, context in texts_of(o, work):
                for folder in (f for of, f in o.quantized if of == name):
                    compare_perplexity(o, name, folder.name, folder, ids, text, context)
                if o.quantized:
                    continue
                compare_perplexity(o, name, "float", model, ids, text, context)
                for label, bits, keys in variants(o.format, model):
                    quality.quantize(o.build / "bitmill", o.device, model, bits, keys, work / "quantized")
                    compare_perplexity(o, name, label, work / "quantized", ids, text, context)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
