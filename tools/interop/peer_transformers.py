"""transformers, in float32 or bfloat16 on the CPU: compressed-tensors decompressed, gptq and awq through gptqmodel."""
import json
import os

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2") # its own choice, 1 for two cores, is below what it insists on
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1") # gptqmodel would compile each of its linears
os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")

import torch
import transformers

import peer


def open_model(folder, arithmetic="float32"):
    options = {"dtype": getattr(torch, arithmetic), "attn_implementation": "eager"}
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("quantization_config", {})
    if stored.get("quant_method") == "compressed-tensors":
        options["quantization_config"] = transformers.CompressedTensorsConfig(dequantize=stored["format"] == "pack-quantized")
    elif stored.get("quant_method") == "gptq": # its own choice may take few group sizes
        options["quantization_config"] = transformers.GPTQConfig(bits=stored["bits"], backend="gptq_torch")
    elif stored.get("quant_method") == "awq":
        options["quantization_config"] = transformers.AwqConfig(backend="torch_awq")
    return transformers.AutoModelForCausalLM.from_pretrained(str(folder), **options).eval()


def load(folder, arithmetic):
    model = open_model(folder, arithmetic)

    @torch.no_grad()
    def logits_of(ids):
        return model(torch.tensor([ids])).logits[0].float().numpy()

    return logits_of


if __name__ == "__main__":
    peer.serve(load, ["torch", "transformers", "compressed-tensors", "gptqmodel", "optimum", "numpy"])
