#!/usr/bin/env python3
"""Perplexity and KL divergence of quantized checkpoints, as Markdown tables.

    tools/measure_quality.py --program build/release/bitmill --data DATA [--device auto] [--only NAME]... [--bytes N]

Each checkpoint is quantized by plain rounding to 8 and 4 bits, by channel and in every group size of 128, 64 and 32 that
divides all its linears, and evaluated against the float one on text that nothing was chosen on. DATA holds the real
checkpoints and texts; examples/model needs no data. Standard library only.

Texts, each made as one file by the rules below and cut into slices of --context tokens:
  examples/model     examples/data/evaluation.txt
  stories, babyllama the first 100 stories of tinystories-valid-sample.txt, one line feed between two
  tang-poem          the content of the first 200 poems, one line feed between two
  prose              the first --bytes bytes of text/prose/valid.txt, up to the last whole paragraph
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def stories(data, _):
    text = (data / "text/tinystories/tinystories-valid-sample.txt").read_text(encoding="utf-8")
    return "\n".join(s.strip() for s in text.split("<|endoftext|>")[:100])


def poems(data, _):
    lines = (data / "text/tang-poems/tang-poems-train.jsonl").read_text(encoding="utf-8").splitlines()[:200]
    return "\n".join(json.loads(line)["content"] for line in lines)


def prose(data, size):
    text = (data / "text/prose/valid.txt").read_bytes()
    if len(text) > size:
        text = text[:text.rindex(b"\n\n", 0, size)]
    return text.decode("utf-8")


def example(_, __):
    return (ROOT / "examples/data/evaluation.txt").read_text(encoding="utf-8")


# name, what the text is, how it is made, tokens a slice
CHECKPOINTS = [
    ("examples/model", "examples/data/evaluation.txt", example, 512),
    ("stories260K", "100 stories of TinyStories", stories, 512),
    ("stories260K-f16", "100 stories of TinyStories", stories, 512),
    ("babyllama-tok105", "100 stories of TinyStories", stories, 256),
    ("tang-poem-750k", "200 Tang poems", poems, 128),
    ("prose-8m", "text/prose/valid.txt", prose, 512),
]


def folder_of(name, data):
    return ROOT / name if name.startswith("examples/") else data / name


def widths(model):
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return {config["hidden_size"], config["intermediate_size"], head * config["num_attention_heads"]}


def variants(model):
    """(name, options of quantize) in the order of the table."""
    groups = [g for g in (128, 64, 32) if all(w % g == 0 for w in widths(model))]
    grains = [("per channel", ["weight_quant_method=abs_max_channel_wise"])]
    grains += [(f"groups of {g}", ["weight_quant_method=groupwise", f"group_size={g}"]) for g in groups]
    for bits in (8, 4):
        for name, keys in grains:
            yield f"WINT{bits}, {name}", bits, keys
        for name, keys in [grains[0]] + grains[1:][-1:]:
            yield f"WINT{bits}, {name}, asymmetric", bits, keys + ["symmetric=false"]


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, encoding="utf-8")
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def quantize(program, device, model, bits, keys, output):
    command = [program, "quantize", model, "--method", "rtn", "--bits", bits, "--output", output, "--device", device,
               "--json", "--quiet", "--set", "overwrite_output_dir=true"]
    for key in keys:
        command += ["--set", key]
    return json.loads(run(command))


def evaluate(program, device, model, text, context, reference=None, dtype="float32"):
    command = [program, "eval", model, "--data", text, "--context", context, "--device", device, "--dtype", dtype,
               "--json", "--quiet"]
    if reference:
        command += ["--reference", reference]
    return json.loads(run(command))


def tensor_bytes(model):
    return sum(path.stat().st_size for path in pathlib.Path(model).glob("*.safetensors"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/release/bitmill", type=pathlib.Path)
    parser.add_argument("--data", default=ROOT, type=pathlib.Path, help="not needed for examples/model alone")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", action="append", help="name of a checkpoint; may be given several times")
    parser.add_argument("--bytes", type=int, default=1 << 30, help="of text/prose/valid.txt")
    o = parser.parse_args()
    for name, words, make, context in CHECKPOINTS:
        if o.only and name not in o.only:
            continue
        model = folder_of(name, o.data)
        with tempfile.TemporaryDirectory() as folder:
            text = pathlib.Path(folder) / "text.txt"
            text.write_bytes(make(o.data, o.bytes).encode("utf-8"))
            base = evaluate(o.program, o.device, model, text, context)
            size = tensor_bytes(model)
            print(f"\n### {name}\n\n{words}; {base['tokens']} tokens scored, context {context}.\n")
            print("| checkpoint | file, MB | perplexity | change | KL divergence, nats | same top token |")
            print("|---|---|---|---|---|---|")
            print(f"| float | {size / 1e6:.2f} | {base['perplexity']:.4f} | | | |", flush=True)
            for label, bits, keys in variants(model):
                output = pathlib.Path(folder) / "quantized"
                quantize(o.program, o.device, model, bits, keys, output)
                e = evaluate(o.program, o.device, output, text, context, model)
                change = 100 * (e["perplexity"] / base["perplexity"] - 1)
                print(f"| {label} | {tensor_bytes(output) / 1e6:.2f} | {e['perplexity']:.4f} | {change:+.2f} % | "
                      f"{e['kl_divergence']:.6f} | {e['top1_agreement']:.4f} |", flush=True)


if __name__ == "__main__":
    main()
