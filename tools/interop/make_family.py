"""Makes a small trained model of a family out of a llama, so that perplexities say something: those of random models are flat.

    make_family.py FAMILY LLAMA DATA.json FOLDER [STEPS]

Run in an environment with transformers. The model has the sizes, the tokenizer and, where its tensors have them, the weights of LLAMA
(examples/model), and is trained a little on texts of DATA.json (`src` and `tgt`): what the family has beside a llama (biases of qwen2,
norms of q and k of qwen3, norms, activation, caps and windows of gemma) then takes part. Stored in bfloat16.
"""
import json
import math
import pathlib
import shutil
import sys

import torch
import transformers
from tokenizers import Tokenizer

WINDOW = 64 # so that texts of 128 ids and more see it
GEMMA = {"hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 64, "sliding_window": WINDOW}
OWN = {
    "llama": {},
    "mistral": {"sliding_window": None}, # llama.cpp computes this architecture without one
    "qwen2": {"use_sliding_window": False},
    "qwen3": {"use_sliding_window": False},
    "gemma2": GEMMA,
    "gemma3_text": {**GEMMA, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]},
    "phi3": {"sliding_window": WINDOW},
}
SHARED = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
          "vocab_size", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "bos_token_id", "eos_token_id"]
BATCH, CONTEXT, RATE = 8, 160, 1e-3


def fused(weights):
    """phi3 has one linear for q, k and v, one for gate and up."""
    out = dict(weights)
    for name in weights:
        if name.endswith("q_proj.weight"):
            begin = name[:-len("q_proj.weight")]
            out[begin + "qkv_proj.weight"] = torch.cat([weights[f"{begin}{n}_proj.weight"] for n in "qkv"])
        if name.endswith("gate_proj.weight"):
            begin = name[:-len("gate_proj.weight")]
            out[begin + "gate_up_proj.weight"] = torch.cat([weights[f"{begin}{n}_proj.weight"] for n in ("gate", "up")])
    return out


def build(family, llama):
    base = transformers.AutoModelForCausalLM.from_pretrained(str(llama), dtype=torch.float32)
    settings = {key: getattr(base.config, key) for key in SHARED}
    config = transformers.AutoConfig.for_model(family, **settings, pad_token_id=0, attn_implementation="eager", **OWN[family])
    model = transformers.AutoModelForCausalLM.from_config(config).float()
    weights = fused(base.state_dict())
    with torch.no_grad():
        for name, own in model.named_parameters():
            if name.endswith("bias"):
                own.normal_(0, 0.2)
            elif name in weights and weights[name].shape == own.shape:
                own.copy_(weights[name] - int("gemma" in family and own.ndim == 1)) # gemma's norms multiply by 1 + weight
    return model


def train(model, ids, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95))
    draw = torch.Generator().manual_seed(1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / 10, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        begins = torch.randint(0, len(ids) - CONTEXT, (BATCH,), generator=draw)
        batch = torch.stack([ids[b:b + CONTEXT] for b in begins])
        loss = model(batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0 or step + 1 == steps:
            print(f"step {step}: loss {loss.item():.3f}", file=sys.stderr, flush=True)


def main():
    family, llama, data, folder = sys.argv[1], *map(pathlib.Path, sys.argv[2:5])
    torch.manual_seed(1)
    tokenizer = Tokenizer.from_file(str(llama / "tokenizer.json"))
    lines = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines() if line.strip()]
    ids = torch.tensor([i for line in lines for i in tokenizer.encode(f"{line['src']} {line['tgt']}").ids])
    model = build(family, llama)
    train(model, ids, int(sys.argv[5]) if len(sys.argv) > 5 else 60)
    model.to(torch.bfloat16).save_pretrained(str(folder))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(llama / name, folder / name)


if __name__ == "__main__":
    main()
