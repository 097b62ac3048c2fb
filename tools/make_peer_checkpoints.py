#!/usr/bin/env python3
"""Small checkpoints as other programs save them, with the weights that those programs compute with: test data of tests/golden.

    make_model --hidden-size=32 --intermediate-size=96 --layers=1 --heads=1 --kv-heads=1 --vocab-size=64  \\
        --dtype=F16 MODEL
    make_peer_checkpoints.py PEER MODEL OUTPUT [NAME]...

PEER is llmcompressor, gptqmodel or auto-round, whose packages must be there; OUTPUT/NAME becomes a folder for each of its variants
(or those named). expected.json holds, of every linear of a block and the head where it is quantized, some weights as the peer's
own layer multiplies by them: those that it has unpacked, or its output for the rows of a unit matrix.
"""
import gc
import json
import os
import pathlib
import re
import shutil
import sys

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
VALUES, STRIDE = 32, 977 # weights of a linear: elements k STRIDE mod all
KEPT = {"config.json", "quantize_config.json", "quant_config.json", "model.safetensors"}


def sequences():
    return [[(7 * s + 3 * t * t + t) % 64 for t in range(32)] for s in range(8)]


def load_float(model):
    import torch
    import transformers
    return transformers.AutoModelForCausalLM.from_pretrained(str(model), dtype=torch.float32).eval()


class Tokenizer:
    """Peers save one; none is needed."""

    def __init__(self):
        self.name_or_path = ""

    def save_pretrained(self, *_, **__):
        return []


def save_llmcompressor(model, out, options):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier
    groups = {}
    for i, (targets, weights, inputs) in enumerate(options["groups"]):
        groups[f"group_{i}"] = QuantizationScheme(targets=targets, weights=QuantizationArgs(**weights),
                                                  input_activations=QuantizationArgs(**inputs) if inputs else None)
    floats = load_float(model)
    oneshot(model=floats, recipe=[QuantizationModifier(config_groups=groups, ignore=options.get("ignore", ["lm_head"]))])
    floats.save_pretrained(str(out), save_compressed=True)


def save_gptqmodel(model, out, options):
    import torch
    from gptqmodel import GPTQModel, QuantizeConfig
    options = dict(options)
    if options.pop("awq", False):
        from gptqmodel.quantization import FORMAT
        from gptqmodel.quantization.config import AWQConfig
        config = AWQConfig(bits=4, group_size=32, format=FORMAT.GEMM, device="cpu", **options)
    else:
        config = QuantizeConfig(group_size=32, device="cpu", act_group_aware=False, **options)
    quantized = GPTQModel.load(str(model), config, dtype=torch.float32)
    quantized.quantize([{"input_ids": s, "attention_mask": [1] * len(s)} for s in sequences()], batch_size=1)
    quantized.save(str(out))


def save_auto_round(model, out, options):
    import torch
    from auto_round import AutoRound
    options = dict(options)
    form = options.pop("format")
    data = torch.utils.data.DataLoader(torch.tensor(sequences()), batch_size=8)
    rounder = AutoRound(load_float(model), tokenizer=Tokenizer(), dataset=data, device_map="cpu", nsamples=8, seqlen=32,
                        iters=0, enable_torch_compile=False, **{"group_size": 32, "bits": 4, **options})
    rounder.quantize_and_save(str(out), format=form)


def int_weights(bits, symmetric=True, group=32):
    return {"num_bits": bits, "symmetric": symmetric,
            **({"strategy": "group", "group_size": group} if group else {"strategy": "channel"})}


INPUTS = {"num_bits": 8, "strategy": "token", "dynamic": True}
VARIANTS = {
    "llmcompressor": (save_llmcompressor, {
        "w4a16": {"groups": [(["Linear"], int_weights(4), None)]},
        "w4a16-asym": {"groups": [(["Linear"], int_weights(4, False), None)]},
        "w8a16-channel": {"groups": [(["Linear"], int_weights(8, group=0), None)]},
        "w8a8": {"groups": [(["Linear"], int_weights(8, group=0), INPUTS)]},
        "mixed": {"groups": [(["re:.*(gate|up)_proj"], int_weights(8), None), (["re:.*(q|k|v|o)_proj"], int_weights(4), None)]},
        "head": {"groups": [(["Linear"], int_weights(4), None)], "ignore": []},
    }),
    "gptqmodel": (save_gptqmodel, {
        "sym": {"bits": 4, "sym": True},
        "asym": {"bits": 4, "sym": False},
        "asym-v2": {"bits": 4, "sym": False, "format": "gptq_v2"},
        "desc-act": {"bits": 4, "sym": True, "desc_act": True},
        "3-bits": {"bits": 3, "sym": True},
        "dynamic": {"bits": 4, "sym": True, "dynamic": {"+:.*\\.down_proj": {"bits": 8}, "-:.*\\.o_proj": {},
                                                        ".*(gate|up)_proj": {"group_size": -1}}},
        "head": {"bits": 4, "sym": True, "lm_head": True},
        "awq": {"awq": True},
    }),
    "auto-round": (save_auto_round, {
        "sym": {"format": "auto_round", "sym": True},
        "asym": {"format": "auto_round", "sym": False},
        "gptq": {"format": "auto_gptq", "sym": True},
        "gptq-asym": {"format": "auto_gptq", "sym": False},
        "awq": {"format": "auto_awq", "sym": False},
        "auto-awq": {"format": "auto_round:auto_awq", "sym": True},
        "auto-gptq": {"format": "auto_round:auto_gptq", "sym": True},
        "mixed": {"format": "auto_round", "sym": True,
                  "layer_config": {"down_proj": {"bits": 8}, "o_proj": {"bits": 16}, "up_proj": {"group_size": 16}}},
        "head": {"format": "auto_round", "sym": True, "layer_config": {"lm_head": {"bits": 4}}},
        "2-bits": {"format": "auto_round", "sym": True, "bits": 2},
        "3-bits": {"format": "auto_round", "sym": True, "bits": 3},
        "compressed": {"format": "llm_compressor", "sym": True},
    }),
}


def sampled(matrix):
    rows, cols = matrix.shape
    flat = matrix.reshape(-1)
    return {"shape": [rows, cols], "values": [float(flat[k * STRIDE % (rows * cols)]) for k in range(VALUES)]}


def layers_of_auto_round(out):
    """Its layers in plain torch, a linear at a time: its loader asks for kernels that may not be there."""
    import torch
    from auto_round.export.export_to_awq.utils import dequantize_gemm
    from auto_round_extension.torch import qlinear_torch, qlinear_torch_zp
    from safetensors.torch import load_file
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    packing = config.get("packing_format", "")
    tensors = load_file(str(out / "model.safetensors"))
    linears = {}
    for name in sorted(tensors):
        if not name.endswith(".qweight"):
            continue
        stem = name.removesuffix(".qweight")
        parts = {key.removeprefix(stem + "."): value for key, value in tensors.items() if key.startswith(stem + ".")}
        outputs = parts["scales"].shape[1]
        if "awq" in packing or config["quant_method"] == "awq":
            inputs = parts["qweight"].shape[0]
            group = inputs // parts["scales"].shape[0]
            matrix = dequantize_gemm(parts["qweight"], parts["qzeros"], parts["scales"], 4, group).T
        else:
            inputs = inputs_of(out, stem)
            bits = parts["qweight"].shape[0] * 32 // inputs
            kind = qlinear_torch if packing in ("auto_round", "auto_round:gptqmodel") else qlinear_torch_zp
            layer = kind.QuantLinear(bits, inputs // parts["scales"].shape[0], inputs, outputs, False)
            parts.pop("g_idx", None) # of neighbours; the layer takes it for square matrices alone
            layer.load_state_dict(parts)
            matrix = layer(torch.eye(inputs, dtype=torch.float16)).float().T
        linears[stem] = sampled(matrix.float().contiguous())
    return linears


def inputs_of(out, stem):
    config = json.loads((out / "config.json").read_text())
    return config["intermediate_size"] if stem.endswith("down_proj") else config["hidden_size"]


def weights_of(peer, out):
    """The weights by which the peer's layers multiply."""
    import torch
    import transformers
    if peer == "auto-round" and json.loads((out / "config.json").read_text())["quantization_config"]["quant_method"] != "compressed-tensors":
        return layers_of_auto_round(out)
    if peer == "gptqmodel":
        from gptqmodel import BACKEND, GPTQModel
        backend = BACKEND.TORCH_AWQ if "awq" in out.name and hasattr(BACKEND, "TORCH_AWQ") else BACKEND.TORCH
        model = GPTQModel.load(str(out), backend=backend, device="cpu").model
    else:
        options = {}
        if peer == "llmcompressor" or out.name.endswith("compressed"):
            from transformers.utils.quantization_config import CompressedTensorsConfig
            options["quantization_config"] = CompressedTensorsConfig(run_compressed=False)
        model = transformers.AutoModelForCausalLM.from_pretrained(str(out), dtype=torch.float16, device_map="cpu", **options)
    linears = {}
    for name, module in model.named_modules():
        if not name.endswith("_proj") and name != "lm_head":
            continue
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.is_floating_point():
            matrix = weight.detach().float().contiguous()
        else:
            inputs = getattr(module, "in_features", None) or module.infeatures
            with torch.no_grad():
                matrix = module(torch.eye(inputs, dtype=torch.float16)).float().T.contiguous()
        linears[name] = sampled(matrix)
    return linears


def main():
    peer, model, output = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    save, variants = VARIANTS[peer]
    for name, options in variants.items():
        if sys.argv[4:] and name not in sys.argv[4:]:
            continue
        out = output / f"{peer}-{name}"
        try:
            if not (out / "config.json").exists(): # what is there is kept
                shutil.rmtree(out, ignore_errors=True)
                save(model, out, options)
            for folder in [path.parent for path in out.glob("*/config.json")]: # auto-round names a folder of its own
                for path in folder.iterdir():
                    path.rename(out / path.name)
                folder.rmdir()
            expected = {"peer": peer, "linears": weights_of(peer, out)}
            (out / "expected.json").write_text(json.dumps(expected) + "\n")
            for path in out.glob("*.json"): # a folder of this machine's
                path.write_text(re.sub(r'("offload_to_disk_path": )"[^"]*"', r"\1null", path.read_text()))
            for path in out.iterdir():
                if path.is_file() and path.name not in KEPT | {"expected.json"}:
                    path.unlink()
            print("made", out, flush=True)
        except Exception as error: # the next variant may do better
            import traceback
            traceback.print_exc()
            print("failed", name, type(error).__name__, str(error)[:300], flush=True)
        gc.collect()


main()
