#!/usr/bin/env python3
"""Quantizes checkpoints by bitmill and by other programs on the very same calibration tokens, and measures all alike.

    tools/compare_peers.py texts --data DATA --texts TEXTS
    tools/compare_peers.py quality --peer PEER --data DATA --texts TEXTS --program build/release/bitmill --results FILE
                                   [--only NAME]... [--bits N]... [--group N]... [--seed N]... [--variant NAME]...
    tools/compare_peers.py quality --method a8w8 --peer PEER ... (as above, without --bits and --group)
    tools/compare_peers.py quality --method awq --peer PEER ...
    tools/compare_peers.py table --results FILE [--method a8w8|awq]
    tools/compare_peers.py methods --results FILE
    tools/compare_peers.py time --peer PEER --model FOLDER --text FILE --context N [--bits N] [--group N] [--variant NAME]
                                [--method a8w8]

`texts` writes, for each checkpoint, three calibration texts of exactly 128 sequences of its training context (the three
seeds: other parts of a corpus) and one held-out text, beside each its sequences as JSON lines of ids. `quality` appends a JSON line a run to FILE and skips those that
are there. Every linear of the blocks is quantized, symmetric; embedding and head stay float. A peer's result is widened
to a float32 checkpoint and measured by `bitmill eval` against the float model. `table` prints means over the seeds; `methods` does so for bitmill's rounding and two kinds of GPTQ.
`time` runs one quantization as a whole process would, and says how long importing took; its FILE is text, or JSON lines of ids.
With `--method a8w8` weights and static inputs are of 8 bits; with it and `--method awq` all are given the same ids, and a
peer's folder is measured as it was saved.

Peers: bitmill (needs no package), gptqmodel, llmcompressor, auto-round, autoawq (`--method awq` alone; with torch 2.6.0 and
transformers 4.51.3, the last that it was tested with). All but the first exclude one another's versions of their packages:
install each in an environment of its own and run this file there. --program and its device serve bitmill, and every
measurement.
"""
import argparse
import importlib
import importlib.metadata
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "") # all on the CPU, unless a GPU is named: then only quality is compared
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2") # its own choice, 1 for two cores, is below what it insists on
SEQUENCES = 128

# name: tokens a sequence, group sizes (-1: per channel)
CHECKPOINTS = {
    "stories260K": (256, (-1,)),
    "babyllama-tok105": (256, (32, -1)),
    "tang-poem-750k": (128, (32, -1)),
    "prose-8m": (512, (128, 32, -1)),
}
PLAIN = ["qep_alpha=0", "code_sweeps=0", "scale_refit=false", "signed_scales=false"]
# What each program's documentation names; the first is its default.
A8W8 = {
    "bitmill": {"default": []},
    "llmcompressor": {"SmoothQuant, GPTQ": "GPTQModifier", "SmoothQuant": "QuantizationModifier"}, # GPTQ as its example has it
}
AWQ = {
    "bitmill": {"default": [], "asymmetric": ["symmetric=false"], "GPTQ behind AWQ": ["scaling=awq"]},
    # symmetric, duo_scaling: its own default, then what both families of scales share
    "llmcompressor": {"AWQ": (True, True), "AWQ, both": (True, "both"), "AWQ, asymmetric": (False, True)},
    "autoawq": {"AWQ": {}, "AWQ, no clipping": {"apply_clip": False}}, # asymmetric: its version GEMM has no other
}
VARIANTS = {
    "bitmill": {
        "rounding": None, # without data
        "default": [],
        "plain": PLAIN + ["scale_search=abs_max", "act_order=none"],
        "static": PLAIN + ["scale_search=abs_max", "act_order=static"],
        "search, static": PLAIN + ["scale_search=mse", "act_order=static"],
    },
    "llmcompressor": {"default": "memoryless_minmax", "mse": "memoryless_mse", "imatrix": "imatrix_mse"},
    "gptqmodel": {
        "default": {},
        "mse": {"mse": 2.4},
        "mse, desc_act": {"mse": 2.4, "desc_act": True, "act_group_aware": False},
        "mse, gptaq": {"mse": 2.4, "gptaq": 0.25},
        "mse, foem": {"mse": 2.4, "foem": 0.2},
    },
    "auto-round": {"default": {"iters": 200}, "best": {"iters": 1000}},
}


# --- texts ------------------------------------------------------------------------------------------------------------

def parts_of(name, data):
    """The held-out text and three calibration texts, of which the beginnings are used."""
    if name in ("stories260K", "babyllama-tok105"):
        stories = (data / "text/tinystories/tinystories-valid-sample.txt").read_text(encoding="utf-8").split("<|endoftext|>")
        pieces = ["\n".join(s.strip() for s in stories[a:b]) for a, b in ((0, 100), (100, 400), (400, 700), (700, 1000))]
    elif name == "tang-poem-750k":
        lines = (data / "text/tang-poems/tang-poems-train.jsonl").read_text(encoding="utf-8").splitlines()
        poems = [json.loads(line)["content"] for line in lines]
        pieces = ["\n".join(poems[a:b]) for a, b in ((0, 1000), (1000, 3900), (3900, 6800), (6800, 9700))]
    else:
        text = (data / "text/prose/calibration.txt").read_text(encoding="utf-8")
        pieces = [(data / "text/prose/valid.txt").read_text(encoding="utf-8")]
        pieces += [text[i * len(text) // 3:(i + 1) * len(text) // 3] for i in range(3)]
    return pieces[0], pieces[1:]


def exact_text(tokenizer, text, count):
    """The beginning of text that has just count tokens, special ones included."""
    whole = tokenizer.encode(text)
    for last in range(count - 1, len(whole.ids)):
        cut = text[:whole.offsets[last][1]]
        if len(tokenizer.encode(cut).ids) == count:
            return cut
    sys.exit(f"no beginning of the text has {count} tokens")


def write_texts(o):
    from tokenizers import Tokenizer
    for name, (context, _) in CHECKPOINTS.items():
        tokenizer = Tokenizer.from_file(str(o.data / name / "tokenizer.json"))
        folder = o.texts / name
        folder.mkdir(parents=True, exist_ok=True)
        heldout, calibration = parts_of(name, o.data)
        (folder / "heldout.txt").write_text(heldout, encoding="utf-8", newline="\n")
        write_ids(folder / "heldout.jsonl", slices(tokenizer.encode(heldout).ids, context))
        for seed, text in enumerate(calibration):
            cut = exact_text(tokenizer, text, SEQUENCES * context)
            (folder / f"calibration-{seed}.txt").write_text(cut, encoding="utf-8", newline="\n")
            write_ids(folder / f"calibration-{seed}.jsonl", slices(tokenizer.encode(cut).ids, context))


def slices(ids, context):
    """Consecutive ones, as bitmill cuts them."""
    return [ids[i:i + context] for i in range(0, len(ids) - context + 1, context)]


def write_ids(path, sequences):
    path.write_text("".join(json.dumps({"input_ids": s}) + "\n" for s in sequences), encoding="utf-8")


def sequences_of(model, path, context):
    """Of the tokens of a whole text, or lines of ids."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line)["input_ids"] for line in text.splitlines()][:SEQUENCES]
    from tokenizers import Tokenizer
    return slices(Tokenizer.from_file(str(model / "tokenizer.json")).encode(text).ids, context)[:SEQUENCES]


# --- peers: each returns the weights as float32, by name; to be timed it saves in its own format instead --------

def load_float(model):
    import torch
    import transformers
    return transformers.AutoModelForCausalLM.from_pretrained(str(model), dtype=torch.float32).eval()


def linears_of(model):
    import torch
    return {f"{name}.weight": module.weight.detach().float().clone() for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and name != "lm_head"}


def run_llmcompressor(o, model, sequences, bits, group, observer, output):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
    if o.method == "a8w8":
        scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(num_bits=8, strategy="channel"),
                                    input_activations=QuantizationArgs(num_bits=8, strategy="tensor"))
        modifier = {"GPTQModifier": GPTQModifier, "QuantizationModifier": QuantizationModifier}[observer]
        recipe = [SmoothQuantModifier(smoothing_strength=0.8), modifier(config_groups={"group_0": scheme}, ignore=["lm_head"])]
    elif o.method == "awq":
        import torch
        from llmcompressor.modifiers.transform.awq import AWQModifier
        if not torch.cuda.is_available():
            torch.Tensor.pin_memory = lambda tensor, device=None: tensor # 0.14.0.1 pins without asking for a GPU
        grain = {"strategy": "channel"} if group < 0 else {"strategy": "group", "group_size": group}
        symmetric, duo_scaling = observer
        scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(num_bits=bits, symmetric=symmetric, **grain))
        recipe = [AWQModifier(duo_scaling=duo_scaling),
                  QuantizationModifier(config_groups={"group_0": scheme}, ignore=["lm_head"])]
    else:
        grain = {"strategy": "channel"} if group < 0 else {"strategy": "group", "group_size": group}
        args = QuantizationArgs(num_bits=bits, symmetric=True, observer=observer, **grain)
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        recipe = [GPTQModifier(config_groups={"group_0": scheme}, ignore=["lm_head"])]
    data = Dataset.from_dict({"input_ids": sequences, "attention_mask": [[1] * len(s) for s in sequences]})
    floats = load_float(model)
    oneshot(model=floats, dataset=data, recipe=recipe, max_seq_length=len(sequences[0]),
            num_calibration_samples=len(sequences), shuffle_calibration_samples=False,
            **({"batch_size": 16} if o.method == "awq" and o.action == "quality" else {})) # the same sums in less time
    if o.action == "time" or o.method != "gptq":
        floats.save_pretrained(str(output), save_compressed=True)
        return None
    return linears_of(floats)


def unpack(words, bits, count):
    """Codes of the GPTQ format: a stream of bits along the first axis of 32-bit words."""
    import numpy
    stream = numpy.unpackbits(numpy.ascontiguousarray(words.T).view(numpy.uint8), axis=1, bitorder="little")
    stream = stream[:, :count * bits].reshape(stream.shape[0], count, bits)
    return (stream * (1 << numpy.arange(bits))).sum(axis=2)


def run_gptqmodel(o, model, sequences, bits, group, options, output):
    import torch
    from gptqmodel import GPTQModel, QuantizeConfig
    from gptqmodel.quantization.config import FOEMConfig, GPTAQConfig
    from safetensors.torch import load_file
    options = dict(options)
    if group < 0:
        options["act_group_aware"] = False # an order of groups, refused without them
    if "gptaq" in options:
        options["gptaq"] = GPTAQConfig(alpha=options["gptaq"])
    if "foem" in options:
        options["foem"] = FOEMConfig(beta=options["foem"])
    config = QuantizeConfig(bits=bits, group_size=group, sym=True, device="cpu", **options)
    quantized = GPTQModel.load(str(model), config, dtype=torch.float32)
    quantized.quantize([{"input_ids": s, "attention_mask": [1] * len(s)} for s in sequences], batch_size=1)
    quantized.save(str(output))
    if o.action == "time":
        return None
    tensors, weights = {}, {}
    for path in output.glob("*.safetensors"):
        tensors.update(load_file(str(path)))
    for name in tensors:
        if not name.endswith(".qweight"):
            continue
        stem = name.removesuffix(".qweight")
        group_of = tensors[stem + ".g_idx"].numpy()
        codes = unpack(tensors[name].numpy(), bits, len(group_of)) # outputs x inputs
        steps = tensors[stem + ".scales"].float().numpy().T # outputs x groups
        weights[stem + ".weight"] = torch.from_numpy(((codes - (1 << (bits - 1))) * steps[:, group_of]).astype("float32"))
    return weights


def run_auto_round(o, model, sequences, bits, group, options, output):
    import torch
    import transformers
    from auto_round import AutoRound
    floats = load_float(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(model))
    data = torch.utils.data.DataLoader(torch.tensor(sequences), batch_size=8)
    rounder = AutoRound(floats, tokenizer=tokenizer, bits=bits, group_size=group, sym=True, dataset=data, device_map="cpu",
                        nsamples=len(sequences), seqlen=len(sequences[0]), enable_torch_compile=False, **options)
    if o.action == "time":
        rounder.quantize_and_save(str(output), format="auto_round")
        return None
    return linears_of(rounder.quantize()[0])


def run_autoawq(o, model, sequences, bits, group, options, output):
    import torch
    from awq import AutoAWQForCausalLM
    from awq.quantize.quantizer import AwqQuantizer

    class Quantizer(AwqQuantizer):
        def _compute_best_scale(self, x, w_mean, x_mean, module, *others):
            """A candidate rounds the weights where they are; 0.2.9 keeps them by .cpu(), which copies from a GPU alone."""
            kept = module.state_dict
            module.state_dict = lambda: {name: tensor.clone() for name, tensor in kept().items()}
            scales = super()._compute_best_scale(x, w_mean, x_mean, module, *others)
            del module.state_dict
            return scales

        def _compute_best_clip(self, w, input_feat):
            """Each output has thresholds of its own, but 0.2.9 takes 64 at a time and refuses a rest: zeros fill it up."""
            padded = torch.nn.functional.pad(w, (0, 0, 0, -len(w) % 64))
            return super()._compute_best_clip(padded, input_feat)[:len(w)]

    quantized = AutoAWQForCausalLM.from_pretrained(str(model), torch_dtype=torch.float32, device_map="cpu")
    config = {"zero_point": True, "q_group_size": group, "w_bit": bits, "version": "GEMM"}
    context = len(sequences[0]) # it drops longer ones, and joins all to cut them by this
    quantized.quantize(None, quant_config=config, calib_data=sequences, max_calib_samples=len(sequences), max_calib_seq_len=context,
                       quantizer_cls=Quantizer, **options)
    quantized.save_quantized(str(output))


PACKAGES = {"llmcompressor": "llmcompressor.modifiers.gptq", "gptqmodel": "gptqmodel", "auto-round": "auto_round",
            "autoawq": "awq"}
PEERS = {"llmcompressor": run_llmcompressor, "gptqmodel": run_gptqmodel, "auto-round": run_auto_round,
         "autoawq": run_autoawq}


def run_bitmill(o, model, text, context, bits, group, keys, output):
    name = "gptq" if "scaling=awq" in (keys or []) else o.method
    method = ["rtn"] if keys is None else [name, "--data", text]
    command = [o.program, "quantize", model, "--output", output, "--device", o.device, "--quiet", "--method"] + method
    grids = []
    if o.method != "a8w8":
        command += ["--bits", bits]
        grids = [f"group_size={group}"] + (["format=gptq"] if bits == 3 else []) # compressed-tensors holds no 3 bits
    for key in [f"max_length={context}"] + grids + (keys or []):
        command += ["--set", key]
    run(command)


# --- measuring --------------------------------------------------------------------------------------------------------

def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, encoding="utf-8")
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def write_float(model, weights, folder):
    """The checkpoint with these weights in place of its own, all float32."""
    from safetensors.torch import load_file, save_file
    tensors = {}
    for path in sorted(model.glob("*.safetensors")):
        tensors.update({name: t.float() for name, t in load_file(str(path)).items()})
    own = {n for n in tensors if n.endswith("_proj.weight")}
    if own != set(weights):
        sys.exit(f"the peer's linears are not the checkpoint's: {sorted(own ^ set(weights))[:4]}")
    tensors.update({name: t.contiguous() for name, t in weights.items()})
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def evaluate(o, folder, reference, text, context):
    return json.loads(run([o.program, "eval", folder, "--data", text, "--context", context, "--max-tokens", o.tokens, "--dtype",
                           "float32", "--reference", reference, "--device", o.device, "--json", "--quiet"]))


def version_of(o):
    if o.peer == "bitmill":
        return run([o.program, "--version"]).split()[-1]
    return importlib.metadata.version(o.peer)


def quality(o):
    done = set()
    if o.results.exists():
        for line in o.results.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            done.add(tuple(row[k] for k in ("model", "bits", "group", "seed", "peer", "variant")))
    variants = variants_of(o)
    jobs = [(name, bits, group, seed, variant)
            for name in o.only or CHECKPOINTS for variant in o.variant or variants for bits in o.bits or (4, 3)
            for group in CHECKPOINTS[name][1] if not o.group or group in o.group for seed in o.seed or (0, 1, 2)]
    if o.method == "awq":
        jobs = [(name, bits, group, seed, variant) for name in o.only or list(CHECKPOINTS)[1:] for variant in o.variant or variants
                for bits in o.bits or (4,) for group in CHECKPOINTS[name][1]
                if group > 0 and (not o.group or group in o.group) for seed in o.seed or (0, 1, 2)]
    if o.method == "a8w8":
        jobs = [(name, 8, -1, seed, variant) for name in o.only or list(CHECKPOINTS)[1:] for variant in o.variant or variants
                for seed in o.seed or (0, 1, 2)]
    for name, bits, group, seed, variant in jobs:
        if (name, bits, group, seed, o.peer, variant) in done:
            continue
        model, context = o.data / name, CHECKPOINTS[name][0]
        ending = ".txt" if o.method == "gptq" else ".jsonl"
        text = o.texts / name / f"calibration-{seed}{ending}"
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            folder = work / "result"
            start = time.monotonic()
            if o.peer == "bitmill":
                run_bitmill(o, model, text, context, bits, group, variants[variant], folder)
            else:
                sequences = sequences_of(model, text, context)
                assert len(sequences) == SEQUENCES
                own = work / "own" if o.method == "gptq" else folder
                weights = PEERS[o.peer](o, model, sequences, bits, group, variants[variant], own)
            seconds = time.monotonic() - start
            if o.peer != "bitmill" and o.method == "gptq":
                write_float(model, weights, folder)
            for path in model.glob("*token*"): # no peer saves them, every reader asks for them
                shutil.copy(path, folder)
            found = evaluate(o, folder, model, o.texts / name / f"heldout{ending}", context)
        row = {"model": name, "bits": bits, "group": group, "seed": seed, "peer": o.peer, "variant": variant,
               "version": version_of(o), "seconds": round(seconds, 1), "eval": found}
        with o.results.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
        print(json.dumps(row), file=sys.stderr, flush=True)


def variants_of(o):
    return {"a8w8": A8W8, "awq": AWQ, "gptq": VARIANTS}[o.method][o.peer]


def table_of_seeds(o, variants):
    """KL divergence a seed; bitmill's default by each of the others, on the mean over all checkpoints and seeds, and its
    asymmetric variant by the other programs."""
    rows = [json.loads(line) for line in o.results.read_text(encoding="utf-8").splitlines()]
    found = {(f"{r['model']}, groups of {r['group']}" if r["group"] > 0 else r["model"], r["peer"], r["variant"], r["seed"]):
             r["eval"]["kl_divergence"] for r in rows}
    columns = sorted({key[1:3] for key in found}, key=lambda c: (list(variants).index(c[0]), c[1]))
    print("| checkpoint | seed | " + " | ".join(f"{peer}, {v}" for peer, v in columns) + " |")
    print("|---" * (len(columns) + 2) + "|")
    keys = sorted({(key[0], key[3]) for key in found}, key=lambda k: (list(CHECKPOINTS).index(k[0].split(",")[0]), k))
    for name, seed in keys:
        cells = [found.get((name, *column, seed)) for column in columns]
        print(f"| {name} | {seed} | " + " | ".join("" if c is None else f"{c:.6f}" for c in cells) + " |")
    print()
    default, asymmetric = ("bitmill", "default"), ("bitmill", "asymmetric")
    pairs = [(default, c) for c in columns if c != default] + [(asymmetric, c) for c in columns if c[0] != "bitmill"]
    for ours, column in pairs:
        both = [k for k in keys if (k[0], *column, k[1]) in found and (k[0], *ours, k[1]) in found]
        own = [found[name, *ours, seed] for name, seed in both]
        its = [found[name, *column, seed] for name, seed in both]
        if both:
            print(f"{' '.join(ours)} by {' '.join(column)}: {sum(own) / sum(its):.3f} of the mean of {len(both)} runs, "
                  f"{statistics.geometric_mean(x / y for x, y in zip(own, its)):.3f} (geometric mean of ratios), "
                  f"{min(x / y for x, y in zip(own, its)):.3f} to {max(x / y for x, y in zip(own, its)):.3f}")


def table(o):
    """Mean KL divergence over the seeds; last, bitmill's default by the best of the GPTQ programs, each on the seeds that both have."""
    rows = [json.loads(line) for line in o.results.read_text(encoding="utf-8").splitlines()]
    found = {} # (checkpoint, bits, group): {(peer, variant): {seed: divergence}}
    for r in rows:
        own = found.setdefault((r["model"], r["bits"], r["group"]), {})
        own.setdefault((r["peer"], r["variant"]), {})[r["seed"]] = r["eval"]["kl_divergence"]
    columns = [(peer, v) for peer in VARIANTS for v in VARIANTS[peer] if any((peer, v) in own for own in found.values())]
    print("| checkpoint | bits | group | " + " | ".join(f"{peer}, {v}" for peer, v in columns) + " | ratio |")
    print("|---" * (len(columns) + 4) + "|")
    ratios = {}
    for name, bits, group in sorted(found, key=lambda k: (list(CHECKPOINTS).index(k[0]), -k[1], -k[2] % 1000)):
        own = found[name, bits, group]
        cells = [name, str(bits), "channel" if group < 0 else str(group)]
        for column in columns:
            seeds = own.get(column, {})
            few = f" ({len(seeds)})" if 0 < len(seeds) < 3 else ""
            cells.append(f"{statistics.mean(seeds.values()):.4f}{few}" if seeds else "")
        ours = own.get(("bitmill", "default"), {})
        for column in columns:
            both = [s for s in own.get(column, {}) if s in ours]
            if column[0] != "bitmill" and both:
                of = ratios.setdefault("auto-round" if column[0] == "auto-round" else "GPTQ", {})
                ratio = sum(ours[s] for s in both) / sum(own[column][s] for s in both)
                of[name, bits, group] = max(ratio, of.get((name, bits, group), 0))
        ratio = ratios.get("GPTQ", {}).get((name, bits, group))
        cells.append(f"{ratio:.2f}" if ratio else "")
        print("| " + " | ".join(cells) + " |")
    print()
    for kind, of in sorted(ratios.items()):
        print(f"bitmill by the best of {kind}: {statistics.geometric_mean(of.values()):.3f} (geometric mean of {len(of)} rows), "
              f"at most {max(of.values()):.3f}")
    spreads = [(max(v.values()) - min(v.values())) / statistics.mean(v.values()) for own in found.values() for v in own.values()
               if len(v) == 3]
    if spreads:
        print(f"spread over three seeds, (largest - least) / mean: {statistics.median(spreads):.3f}, at most {max(spreads):.3f}")


def methods(o):
    """Perplexity and KL divergence of bitmill's own methods, means over the seeds (least to largest)."""
    rows = [json.loads(line) for line in o.results.read_text(encoding="utf-8").splitlines()]
    names = ["rounding", "plain", "default"]
    print("| checkpoint | bits | group | float | " + " | ".join(f"{n}, perplexity | {n}, KL" for n in names) + " | default by plain |")
    print("|---" * (2 * len(names) + 5) + "|")
    jobs = [(name, bits, group) for name in CHECKPOINTS for bits in (4, 3) for group in CHECKPOINTS[name][1]]
    for job in jobs:
        here = [r for r in rows if r["peer"] == "bitmill" and (r["model"], r["bits"], r["group"]) == job]
        cells, means = [job[0], str(job[1]), "channel" if job[2] < 0 else str(job[2])], {}
        cells.append(f"{math.exp(here[0]['eval']['reference_loss']):.4f}" if here else "")
        for n in names:
            found = [r["eval"] for r in here if r["variant"] == n]
            kls = [e["kl_divergence"] for e in found]
            if not found:
                cells += ["", ""]
                continue
            means[n] = statistics.mean(kls)
            spread = f" ({min(kls):.4f} to {max(kls):.4f})" if len(kls) > 1 else ""
            cells += [f"{statistics.mean(e['perplexity'] for e in found):.4f}", f"{means[n]:.4f}{spread}"]
        cells.append(f"{means['default'] / means['plain']:.2f}" if len(means) == 3 else "")
        print("| " + " | ".join(cells) + " |")


def processor_seconds():
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def timing(o):
    """One process does one quantization, saved as its own program saves it; importing is told apart from the rest, and
    beside the clock stands the processor's time, which other programs on the machine disturb less."""
    begin, begin_cpu = time.monotonic(), processor_seconds()
    bits, group, variant = (o.bits or [4])[0], (o.group or [128])[0], (o.variant or ["default"])[0]
    if o.method == "a8w8":
        bits, group, variant = 8, -1, (o.variant or list(A8W8[o.peer]))[0]
    keys = variants_of(o)[variant]
    with tempfile.TemporaryDirectory() as work:
        output = pathlib.Path(work) / "own"
        if o.peer == "bitmill":
            run_bitmill(o, o.model, o.text, o.context, bits, group, keys, output)
            imported, imported_cpu = begin, begin_cpu
        else:
            importlib.import_module(PACKAGES[o.peer])
            imported, imported_cpu = time.monotonic(), processor_seconds()
            PEERS[o.peer](o, o.model, sequences_of(o.model, o.text, o.context), bits, group, keys, output)
        end, end_cpu = time.monotonic(), processor_seconds()
    print(json.dumps({"peer": o.peer, "variant": variant, "version": version_of(o), "bits": bits, "group": group,
                      "import": round(imported - begin, 1), "rest": round(end - imported, 1),
                      "import_cpu": round(imported_cpu - begin_cpu, 1), "rest_cpu": round(end_cpu - imported_cpu, 1),
                      "load": [round(x, 1) for x in os.getloadavg()]}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["texts", "quality", "table", "methods", "time"])
    parser.add_argument("--method", choices=["gptq", "a8w8", "awq"], default="gptq")
    parser.add_argument("--peer", choices=["bitmill", *PEERS])
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--texts", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, help="time: the model's folder")
    parser.add_argument("--text", type=pathlib.Path, help="time: the calibration text")
    parser.add_argument("--context", type=int, default=512, help="time: tokens a sequence (512)")
    parser.add_argument("--program", type=pathlib.Path, default="build/release/bitmill")
    parser.add_argument("--device", default="opencl:0")
    parser.add_argument("--tokens", type=int, default=40960, help="of the held-out text (40960)")
    parser.add_argument("--only", action="append", choices=list(CHECKPOINTS))
    parser.add_argument("--bits", action="append", type=int)
    parser.add_argument("--group", action="append", type=int)
    parser.add_argument("--seed", action="append", type=int)
    parser.add_argument("--variant", action="append")
    o = parser.parse_args()
    for name in ("data", "texts", "results", "model", "text", "program"):
        path = getattr(o, name)
        setattr(o, name, path and path.resolve())
    with tempfile.TemporaryDirectory() as current: # some peers leave logs in the current folder
        os.chdir(current)
        tables = {"gptq": table, "a8w8": lambda o: table_of_seeds(o, A8W8), "awq": lambda o: table_of_seeds(o, AWQ)}
        actions = {"texts": write_texts, "quality": quality, "table": tables[o.method],
                   "methods": methods, "time": timing}
        actions[o.action](o)
        os.chdir("/")


if __name__ == "__main__":
    main()
