#!/usr/bin/env python3
"""Compares the GGUF files of `bitmill quantize --set format=gguf` with what llama.cpp makes of them.

    pip install cyllama gguf numpy tokenizers
    tools/interop/compare_llamacpp.py --build build/release --data DATA [--device host] [--only NAME]... [--characters N] [--skip-random]

cyllama's wheels hold llama.cpp, built. Every model is quantized by plain rounding, once to a file (Q4_0, Q4_1 or Q8_0; what stays
float is float32) and once to a folder of compressed-tensors, which holds the same codes and is what bitmill runs. llama.cpp multiplies
such blocks by inputs that it rounds to 8 bits itself; so that what is left can be told from that, it is also given the same
weights as float32: a copy of the file whose blocks the gguf package has decoded. Printed are

    ids      whether llama.cpp's ids of the text are those of tokenizer.json; "none" where the file has no vocabulary or there is no text
    logits   max |difference| / max |logit| of llama.cpp to bitmill over the first 128 tokens: of the copy, of the file
    loss     mean negative log-likelihood of the text, in slices of the context: bitmill's of the folder and of the file,
             llama.cpp's of the copy and of the file

The build needs its tests (make_model, dump_logits). Exit status 1 where ids differ, a copy's logits by more than 1e-5 (Q4_1, whose
least weights are rounded: 3e-3), or its loss by more than 0.1 %.
"""
import argparse
import importlib.metadata
import pathlib
import subprocess
import sys
import tempfile

import numpy
import cyllama.llama.llama_cpp as llama
from tokenizers import Tokenizer

from peer import loss_of
from peer_llamacpp import Peer, silence, write_copy

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
import measure_quality as quality

LOGIT_BOUNDS, LOSS_BOUND = {"Q4_0": 1e-5, "Q4_1": 3e-3, "Q8_0": 1e-5}, 1e-3
TYPES = [("Q4_0", 4, []), ("Q4_1", 4, ["symmetric=false"]), ("Q8_0", 8, [])]
RANDOM = [("llama", ["--attention-bias", "--mlp-bias"]), ("llama", ["--rope-scaling=llama3"]),
          ("llama", ["--rope-scaling=linear"]), ("mistral", []), ("qwen2", ["--tie"]), ("qwen3", ["--head-dim=32"])]
failures = 0


def mean_loss(logits_of, ids, context):
    pieces = [ids[first:first + context] for first in range(0, len(ids), context)]
    parts = [loss_of(logits_of(piece), piece) for piece in pieces if len(piece) > 1]
    return float(numpy.concatenate(parts).mean())


def dump_logits(o, folder, ids, work):
    path, out = work / "ids", work / "logits"
    numpy.array(ids, dtype="<u4").tofile(path)
    subprocess.run([o.build / "tests/model/dump_logits", folder, o.device, "float32", path, out], check=True)
    return numpy.fromfile(out, dtype="<f4").reshape(len(ids), -1)


def quantize(o, model, bits, keys, out):
    subprocess.run([o.build / "bitmill", "quantize", model, "--method", "rtn", "--bits", str(bits), "--device", o.device,
                    "--output", out, "--quiet",
                    *(word for key in ["overwrite_output_dir=true", "scale_search=mse", "group_size=32", "scale_dtype=float16",
                                       "dtype=float32", *keys] for word in ("--set", key))],
                   check=True, stdout=subprocess.DEVNULL)


def compare(o, label, model, ids, text, context, keys, work):
    global failures
    for name, bits, more in TYPES:
        out, folder, copy = work / "file", work / "folder", work / "copy.gguf"
        quantize(o, model, bits, ["format=gguf", *keys, *more], out)
        quantize(o, model, bits, keys + more, folder)
        file, = out.glob(f"*-{name}.gguf")
        write_copy(file, copy)
        first = ids[:min(128, context)]
        ours = dump_logits(o, folder, first, work)
        with silence():
            peer, floats = Peer(file, context), Peer(copy, context)
            theirs, exact, tokens = peer.logits(first), floats.logits(first), text and peer.ids(text)
            losses = [mean_loss(p.logits, ids, context) for p in (floats, peer)]
        scale = numpy.abs(ours).max()
        far, near = numpy.abs(ours - theirs).max() / scale, numpy.abs(ours - exact).max() / scale
        own, again = (mean_loss(lambda piece, m=m: dump_logits(o, m, piece, work), ids, context) for m in (folder, out))
        same = "none" if not tokens else "equal" if list(tokens) == list(ids) else "DIFFER"
        is_bad = same == "DIFFER" or near > LOGIT_BOUNDS[name] or abs(losses[0] / own - 1) > LOSS_BOUND
        failures += is_bad
        print(f"| {label} | {name} | {len(ids)} | {same} | {near:.1e} | {far:.1e} | {own:.5f} | {again - own:+.1e} | "
              f"{losses[0] - own:+.1e} | {losses[1] - own:+.1e} |" + ("  FAILS" if is_bad else ""), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--device", default="host")
    parser.add_argument("--only", action="append")
    parser.add_argument("--characters", type=int, default=4000, help="the beginning of each text")
    parser.add_argument("--skip-random", action="store_true")
    o = parser.parse_args()
    print(", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("cyllama", "gguf", "tokenizers", "numpy")) +
          f", ggml {llama.ggml_version()}\n")
    print("| model | file | tokens | ids | logits: copy | file | loss: bitmill, folder | bitmill, file | llama.cpp, copy | file |\n"
          "|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for name, _, make, context in quality.CHECKPOINTS:
            model = quality.folder_of(name, o.data)
            if o.only and name not in o.only:
                continue
            text = make(o.data, 1 << 30)[:o.characters]
            ids = Tokenizer.from_file(str(model / "tokenizer.json")).encode(text).ids
            keys = ['skip_list_names=["down_proj"]'] if name.startswith("stories260K") else []  # rows of 172
            compare(o, name, model, ids, text, min(context, 512), keys, work)
        for family, options in [] if o.skip_random else RANDOM:
            model = work / "model"
            subprocess.run(["rm", "-rf", model], check=True)
            subprocess.run([o.build / "tests/support/make_model", f"--family={family}", "--intermediate-size=160",
                            "--hidden-size=128", *options, model], check=True, stdout=subprocess.DEVNULL)
            compare(o, f"random {family} {' '.join(options)}".strip(), model, [(i * 7919 + 13) % 512 for i in range(128)],
                    None, 128, [], work)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
