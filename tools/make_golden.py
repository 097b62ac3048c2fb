#!/usr/bin/env python3
"""Makes the files of tests/golden: known answers that Hugging Face transformers and tokenizers computed.

    pip install torch transformers tokenizers compressed-tensors safetensors numpy
    tools/make_golden.py --build build/release [--output tests/golden]

Logits of models with quantized inputs: the same models through make_int8, run by compressed-tensors on codes of inputs; it divides
a token's largest magnitude by 127.5, which is replaced by the 127 of vLLM's kernels and of bitmill.

Logits: seeded models of make_model (the build needs its tests), run by transformers on the CPU with weights and activations
in float64 (its norms, rotary angles and softmax stay float32); of each model 8 positions by 16 columns, and the ids with
which it goes on, most likely first. Evaluation: examples/model on its text, and what `bitmill quantize` made of it, which
compressed-tensors unpacks. Tokens: ids and text of the tokenizers that are in the tree.
"""
import argparse
import importlib.metadata
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile
import warnings

import numpy
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = {
    "llama": [],
    "llama-biases": ["--attention-bias", "--mlp-bias", "--hidden-size=72", "--heads=3", "--kv-heads=1", "--head-dim=24",
                     "--intermediate-size=131", "--vocab-size=307"],
    "llama-gelu": ["--hidden-act=gelu", "--heads=8"],
    "llama-gelu-tanh": ["--hidden-act=gelu_pytorch_tanh", "--kv-heads=1"],
    "llama-rope-linear": ["--rope-scaling=linear", "--rope-parameters"],
    "llama-rope-llama3": ["--rope-scaling=llama3", "--rope-theta=500000"],
    "llama-rope-dynamic": ["--rope-scaling=dynamic", "--max-positions=24"],
    "llama-rope-yarn": ["--rope-scaling=yarn", "--max-positions=64", "--head-dim=32"],
    "llama-rope-yarn-mscale": ["--rope-scaling=yarn-mscale", "--rope-parameters", "--max-positions=64", "--head-dim=32"],
    "phi3": ["--family=phi3", "--heads=6", "--kv-heads=2", "--hidden-size=96", "--vocab-size=307", "--sliding-window=9"],
    "gemma2": ["--family=gemma2", "--tie", "--hidden-act=gelu_pytorch_tanh", "--hidden-size=72", "--heads=6", "--head-dim=16",
               "--sliding-window=9", "--attention-cap=1.5", "--logit-cap=2", "--vocab-size=300"],
    "gemma3": ["--family=gemma3_text", "--tie", "--layers=3", "--hidden-act=gelu_pytorch_tanh", "--hidden-size=72", "--heads=6",
               "--head-dim=16", "--sliding-window=9", "--window-pattern=3", "--rope-scaling=linear", "--rope-theta=100000"],
    "gemma3-bias": ["--family=gemma3_text", "--hidden-act=silu", "--attention-bias", "--sliding-window=17", "--window-pattern=2",
                    "--query-scalar=16", "--rope-parameters"],
    "mistral-window": ["--family=mistral", "--sliding-window=9"],
    "qwen2": ["--family=qwen2", "--tie", "--rope-theta=1000000"],
    "qwen2-window": ["--family=qwen2", "--sliding-window=9", "--max-window-layers=1"],
    "qwen3": ["--family=qwen3", "--heads=6", "--kv-heads=2", "--head-dim=32", "--rms-norm-eps=0.001",
              "--rope-theta=1000000", "--rope-parameters"],
    "bloom": ["--family=bloom", "--tie"],
    "bloom-six-heads": ["--family=bloom", "--tie", "--heads=6", "--hidden-size=96", "--vocab-size=307",
                        "--rms-norm-eps=0.001", "--without-prefix"],
    "qwen3-window": ["--family=qwen3", "--tie", "--attention-bias", "--sliding-window=17", "--max-window-layers=1"],
}
INT8 = {"llama-int8-static": [0.03, 0.02, 0.031, 0.055, 0.0305, 0.017, 0.0325, 0.056], "llama-int8-dynamic": []} # steps of inputs
TOKENS, NEW_TOKENS = 40, 16
POSITIONS = [1, 5, 9, 10, 17, 18, 30, 39] # of a window of 9, the first query that misses a key is 9; of 17, it is 17
COLUMNS = 16
SMALLEST_LEAD = 1e-3 # of a chosen token over the next one, in logits: far more than arithmetic in float32 can take away

EXAMPLE = "examples/model"
TEXT = "examples/data/evaluation.txt"
EVALUATIONS = {"evaluation": (None, 512), "evaluation-part": (800, 128)} # bytes of the text, context
MADE_EVALUATIONS = {"evaluation-made": (["--family=qwen2", "--rms-norm-eps=0.001"], 600, 64), # the model, bytes of the text, context
                    "evaluation-gemma2": (["--family=gemma2", "--sliding-window=20", "--attention-cap=3", "--logit-cap=2"], 200, 64)}
PROMPT, PROMPT_NEW_TOKENS = "Once upon a time", 40

PAGE = """Once upon a time, there was a little girl named Lily.  She didn't know: was it 12,345 or 3.14?
\tnaïve café — „Größe“, 'tis; x = y**2 + \tz[3] /* note */\r\n
Быстрая лиса; Ελληνικά; العَرَبِيَّة ١٢٣; हिन्दी क्षत्रिय; 한국어 ㅎㅏㄴ; 日本語、１２３; e\u0301 ﬁ ½ \u00a0\u2003\u200b|
👩‍👩‍👧 👍🏽 🇩🇪 <s> </s> <unk> <0x41> ▁ Ġ \ufffd \U0010fffd   <s>\x01\x7f
"""
MADE_TOKENIZERS = {"byte-fallback": ["--tokenizer=sentencepiece"],
                   "characters": ["--tokenizer=sentencepiece", "--vocab-size=200"],
                   "byte-level": ["--tokenizer=byte-level"]}
DRAWN_IDS = 200


def write(o, name, content):
    """A line a key, and a line a row of numbers: differences are then easy to see."""
    lines = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], (list, dict)):
            lines.append(f'"{key}": [\n  ' + ",\n  ".join(json.dumps(row) for row in value) + "\n ]")
        else:
            lines.append(f'"{key}": {json.dumps(value)}')
    (o.output / f"{name}.json").write_text("{\n " + ",\n ".join(lines) + "\n}\n", encoding="ascii")
    print(f"{name}.json: {(o.output / f'{name}.json').stat().st_size} bytes", flush=True)


def versions(*packages):
    return "tools/make_golden.py, " + ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)


def make(o, options, folder):
    subprocess.run([o.build / "tests/support/make_model", *options, folder], check=True)
    return folder


def load(folder, quantized=False):
    options = {"dtype": torch.float64, "attn_implementation": "eager"}
    if quantized:
        options["quantization_config"] = transformers.CompressedTensorsConfig(dequantize=True)
    return transformers.AutoModelForCausalLM.from_pretrained(str(folder), **options).eval()


def logits_of(model, ids):
    return model(torch.tensor([ids]), use_cache=False).logits[0].double()


def continue_greedily(model, ids, count):
    """The likeliest ids, each from a run over all tokens before it: no cache takes part, but for a rotary embedding that grows
    with the text, whose earlier keys keep their angles in a cache."""
    grows = (getattr(model.config, "rope_parameters", None) or {}).get("rope_type") == "dynamic"
    ids, cache = list(ids), None
    for _ in range(count):
        if grows:
            output = model(torch.tensor([ids[-1:] if cache else ids]), past_key_values=cache, use_cache=True)
            row, cache = output.logits[0, -1].double(), output.past_key_values
        else:
            row = logits_of(model, ids)[-1]
        first, second = torch.topk(row, 2).values.tolist()
        if first - second < SMALLEST_LEAD:
            sys.exit(f"two tokens are {first - second} apart: take another seed")
        ids.append(int(row.argmax()))
        if ids[-1] == model.config.eos_token_id:
            sys.exit("the text ends too early: take another seed")
    return ids[-count:]


def token_scales(value, **_):
    scale = value.abs().amax(-1, keepdim=True).float() / 127
    return torch.where(scale == 0, torch.ones_like(scale), scale), torch.zeros_like(scale)


def load_int8(folder):
    import compressed_tensors.quantization.lifecycle.forward as forward
    forward.compute_dynamic_scales_and_zp = token_scales
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, attn_implementation="eager")
    if not hasattr(model.model.layers[0].mlp.up_proj, "quantization_scheme"):
        sys.exit("inputs are not quantized")
    return model.eval()


def make_int8(o, name, steps, work):
    folder = make(o, [f"--seed={o.seed}"], work / f"{name}-float")
    subprocess.run([o.build / "tests/support/make_int8", folder, work / name, *map(str, steps)], check=True)
    write_logits(o, f"logits-{name}", [], load_int8(work / name),
                 versions("transformers", "torch", "compressed-tensors") + ", float32 on the CPU", {"input_steps": steps})


def make_logits(o, name, options, folder):
    write_logits(o, name, options, load(make(o, [f"--seed={o.seed}", *options], folder)),
                 versions("transformers", "torch") + ", float64 on the CPU", {})


def write_logits(o, name, options, model, source, more):
    vocabulary = model.config.vocab_size
    ids = [(i * 7919 + 13) % vocabulary if i else 1 for i in range(TOKENS)]
    columns = [i * (vocabulary - 1) // (COLUMNS - 1) for i in range(COLUMNS)]
    rows = logits_of(model, ids)[POSITIONS][:, columns].tolist()
    write(o, name, {"source": source, "model": [f"--seed={o.seed}", *options], **more,
                    "ids": ids, "positions": POSITIONS, "columns": columns,
                    "logits": [[float(f"{x:.9g}") for x in row] for row in rows],
                    "next_ids": continue_greedily(model, ids, NEW_TOKENS)})


def quantize(o, output):
    subprocess.run([o.build / "bitmill", "quantize", ROOT / EXAMPLE, "--method", "rtn", "--bits", "4", "--output", output,
                    "--device", "host", "--quiet"], check=True)
    # compressed-tensors rounds code times scale to the type of the scales. In float32 the product is exact, and the scales
    # keep their values.
    file = str(output / "model.safetensors")
    tensors = load_file(file)
    save_file({k: v.float() if k.endswith("weight_scale") else v for k, v in tensors.items()}, file, {"format": "pt"})
    return load(output, quantized=True)


def evaluate(model, reference, ids, context):
    """Every token but the first of each slice is scored."""
    sums, sequences = numpy.zeros(5), []
    for first in range(0, len(ids), context):
        piece = ids[first:first + context]
        if len(piece) < 2:
            continue
        logs, logs_reference = (torch.log_softmax(logits_of(m, piece)[:-1], -1) for m in (model, reference))
        targets = torch.tensor(piece[1:])
        losses, losses_reference = (-x.gather(1, targets[:, None])[:, 0] for x in (logs, logs_reference))
        best, best_reference = logs.argmax(-1), logs_reference.argmax(-1)
        divergences = (logs_reference.exp() * (logs_reference - logs)).sum(-1)
        sums += [float(x.sum()) for x in (losses, losses_reference, best == targets, divergences, best == best_reference)]
        sequences.append((len(piece) - 1, float(losses.mean())))
    tokens = sum(n for n, _ in sequences)
    loss, loss_reference, accuracy, divergence, agreement = sums / tokens
    return {"tokens": tokens, "sequences": len(sequences), "loss": loss, "perplexity": math.exp(loss), "accuracy": accuracy,
            "sequence_loss": sum(mean for _, mean in sequences) / len(sequences), "reference_loss": loss_reference,
            "kl_divergence": divergence, "top1_agreement": agreement}


def make_evaluations(o, work):
    model, rounded = load(ROOT / EXAMPLE), quantize(o, work / "rounded")
    tokenizer = Tokenizer.from_file(str(ROOT / EXAMPLE / "tokenizer.json"))
    content = (ROOT / TEXT).read_bytes()
    source = versions("transformers", "torch", "compressed-tensors", "tokenizers") + ", float64 on the CPU"
    for name, (size, context) in EVALUATIONS.items():
        ids = tokenizer.encode(content[:size].decode("utf-8")).ids
        write(o, name, {"source": source, "model": EXAMPLE, "text": TEXT, "bytes": size or len(content), "context": context,
                        "wint4": evaluate(rounded, model, ids, context)}) # the float model's loss is the reference's
    ids = tokenizer.encode(PROMPT).ids
    write(o, "generation", {
        "source": source, "model": EXAMPLE, "prompt": PROMPT, "prompt_ids": ids, "new_tokens": PROMPT_NEW_TOKENS,
        "float": tokenizer.decode(ids + continue_greedily(model, ids, PROMPT_NEW_TOKENS)),
        "wint4": tokenizer.decode(ids + continue_greedily(rounded, ids, PROMPT_NEW_TOKENS))})


def make_made_evaluation(o, name, options, size, context, folder):
    make(o, [f"--seed={o.seed}", *options], folder)
    text = (ROOT / TEXT).read_bytes()[:size].decode("utf-8")
    made, ids = load(folder), Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids
    write(o, name, {"source": versions("transformers", "torch", "tokenizers") + ", float64 on the CPU",
                    "model": [f"--seed={o.seed}", *options], "text": TEXT, "bytes": size, "context": context,
                    "float": evaluate(made, made, ids, context)})


def make_tokens(o, name, options, folder):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rng = random.Random(1)
    ids = tokenizer.encode(PAGE).ids
    drawn = [i for i in (rng.randrange(tokenizer.get_vocab_size()) for _ in range(DRAWN_IDS))
             if "\0" not in tokenizer.decode([i], skip_special_tokens=False)] # a string of our JSON holds no zero byte
    write(o, name, {"source": versions("tokenizers"), "model": options, "text": PAGE, "ids": ids,
                    "ids_without_special": tokenizer.encode(PAGE, add_special_tokens=False).ids,
                    "decoded": tokenizer.decode(ids), "drawn_ids": drawn, "drawn": tokenizer.decode(drawn),
                    "drawn_with_special": tokenizer.decode(drawn, skip_special_tokens=False)})


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "tests/golden")
    parser.add_argument("--seed", type=int, default=1, help="of the made models")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="logits and made evaluations of these names, and nothing else")
    o = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning) # that the checkpoint's own quantization_config is used
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        for name, options in MODELS.items():
            if not o.only or name in o.only:
                make_logits(o, f"logits-{name}", options, work / name)
        for name, (options, size, context) in MADE_EVALUATIONS.items():
            if not o.only or name in o.only:
                make_made_evaluation(o, name, options, size, context, work / name)
        if o.only:
            return
        for name, steps in INT8.items():
            make_int8(o, name, steps, work)
        make_evaluations(o, work)
        make_tokens(o, "tokens-example", [], ROOT / EXAMPLE)
        for name, options in MADE_TOKENIZERS.items():
            make_tokens(o, f"tokens-{name}", options, make(o, options, work / name))


if __name__ == "__main__":
    main()
