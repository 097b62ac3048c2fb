#!/usr/bin/env python3
"""Makes what K-quants of bitmill are compared with: GGUF files quantized by ggml's own functions, with and without an importance matrix.

    pip install gguf numpy tokenizers
    tools/compare_ggml.py pad MODEL PADDED                      # hidden size 384 to 512 by zero channels: the same function
    tools/compare_ggml.py imatrix PADDED TEXT --output im.npz   # mean squares of inputs over the first 65536 tokens
    tools/compare_ggml.py quantize PADDED FILE.gguf --type Q4_K --library libggml-base.so [--imatrix im.npz] --output OUT.gguf

No model of DATA has whole blocks of 256 inputs but in down_proj; pad gives one that has (llama, tied, float32: prose-8m). FILE.gguf is any
file of `bitmill quantize PADDED --set format=gguf`: its metadata and floats are kept. Types: Q4_K, Q5_K, Q6_K for all linears, as
llama-quantize --pure; Q4_K_M, Q5_K_M with its rule for v and down. The library exports ggml_quantize_chunk, which llama-quantize calls
for each tensor: libggml-base of a build of llama.cpp, or ggml.c, ggml-quants.c and ggml-threading.cpp linked alone.
"""
import argparse
import ctypes
import json
import pathlib
import shutil

import gguf
import numpy
from tokenizers import Tokenizer

WIDTH, TOKENS, SLICE = 512, 65536, 512
PARTS = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def read_tensors(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        for name, info in json.loads(data[8:start]).items():
            if name == "__metadata__":
                continue
            first, end = (start + offset for offset in info["data_offsets"])
            values = numpy.frombuffer(data[first:end], "<u2" if info["dtype"] == "BF16" else "<f4")
            if info["dtype"] == "BF16":
                values = (values.astype("<u4") << 16).view("<f4")
            tensors[name] = values.reshape(info["shape"])
    return tensors


def write_tensors(path, tensors):
    header, parts, at = {}, [], 0
    for name, values in tensors.items():
        parts.append(values.astype("<f4").tobytes())
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + len(parts[-1])]}
        at += len(parts[-1])
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    path.write_bytes(len(words).to_bytes(8, "little") + words + b"".join(parts))


def pad(o):
    """A zero head in each group of query heads makes o_proj as wide. Norms divide by the new width: their weights make that good."""
    config = json.loads((o.model / "config.json").read_text())
    hidden, kv = config["hidden_size"], config["num_key_value_heads"]
    heads = config["num_attention_heads"]
    group, dim = heads // kv, hidden // heads
    places = numpy.concatenate([numpy.arange(dim) + (h // group * (group + 1) + h % group) * dim for h in range(heads)])
    padded = {}
    for name, values in read_tensors(o.model).items():
        rows = WIDTH if "q_proj" in name or "o_proj" in name or "down_proj" in name else values.shape[0]
        to_rows = places if "q_proj" in name else numpy.arange(values.shape[0])
        if values.ndim == 1:
            padded[name] = numpy.zeros(WIDTH, "f4")
            padded[name][:hidden] = values * numpy.sqrt(hidden / WIDTH)
            continue
        to_cols = places if "o_proj" in name else numpy.arange(values.shape[1])
        padded[name] = numpy.zeros((rows, values.shape[1] if "down_proj" in name else WIDTH), "f4")
        padded[name][numpy.ix_(to_rows, to_cols)] = values
    o.padded.mkdir(parents=True)
    config.update(hidden_size=WIDTH, num_attention_heads=kv * (group + 1), rms_norm_eps=config["rms_norm_eps"] * hidden / WIDTH)
    (o.padded / "config.json").write_text(json.dumps(config))
    write_tensors(o.padded / "model.safetensors", padded)
    for path in [*o.model.glob("token*"), *o.model.glob("generation*")]:
        shutil.copy(path, o.padded)


def rotate(x):
    half = x.shape[-1] // 2
    angles = numpy.arange(len(x))[:, None] * 10000.0 ** (-numpy.arange(half) / half)
    cosines, sines = numpy.cos(angles)[:, None].astype("f4"), numpy.sin(angles)[:, None].astype("f4")
    first, second = x[..., :half], x[..., half:]
    return numpy.concatenate([first * cosines - second * sines, second * cosines + first * sines], -1)


def imatrix(o):
    config, tensors = json.loads((o.padded / "config.json").read_text()), read_tensors(o.padded)
    heads, kv, dim = config["num_attention_heads"], config["num_key_value_heads"], WIDTH // config["num_attention_heads"]
    ids = Tokenizer.from_file(str(o.padded / "tokenizer.json")).encode(o.text.read_text()).ids[:TOKENS]
    mask, sums = numpy.triu(numpy.full((SLICE, SLICE), -1e9, "f4"), 1), {}

    def norm(x, name):
        return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"]) * tensors[name]

    def multiply(x, block, *parts):
        for part in parts:
            key = f"blk.{block}.{part}.weight"
            sums[key] = sums.get(key, 0) + (x.astype("f8") ** 2).sum(0)
        return [x @ tensors[f"model.layers.{block}.{PARTS[part]}.weight"].T for part in parts]

    for first in range(0, len(ids) - SLICE + 1, SLICE):
        x = tensors["model.embed_tokens.weight"][ids[first:first + SLICE]]
        for block in range(config["num_hidden_layers"]):
            q, k, v = multiply(norm(x, f"model.layers.{block}.input_layernorm.weight"), block, "attn_q", "attn_k", "attn_v")
            q, k, v = rotate(q.reshape(SLICE, heads, dim)), rotate(k.reshape(SLICE, kv, dim)), v.reshape(SLICE, kv, dim)
            outputs = []
            for head in range(heads):
                scores = q[:, head] @ k[:, head * kv // heads].T / numpy.sqrt(dim) + mask
                scores = numpy.exp(scores - scores.max(-1, keepdims=True))
                outputs.append(scores / scores.sum(-1, keepdims=True) @ v[:, head * kv // heads])
            x = x + multiply(numpy.concatenate(outputs, -1).astype("f4"), block, "attn_output")[0]
            gate, up = multiply(norm(x, f"model.layers.{block}.post_attention_layernorm.weight"), block, "ffn_gate", "ffn_up")
            x = x + multiply(gate / (1 + numpy.exp(-gate)) * up, block, "ffn_down")[0]
    numpy.savez(o.output, **{key: (values / len(ids)).astype("f4") for key, values in sums.items()})


def type_of(o, block, num_blocks, part):
    has_more = block < num_blocks // 8 or block >= 7 * num_blocks // 8 or (block - num_blocks // 8) % 3 == 2
    if o.type.endswith("_M") and part in ("attn_v", "ffn_down") and has_more:
        return gguf.GGMLQuantizationType.Q6_K
    return gguf.GGMLQuantizationType[o.type.removesuffix("_M")]


def interleave(rows, heads):
    return rows.reshape(heads, 2, len(rows) // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def quantize(o):
    config, tensors = json.loads((o.padded / "config.json").read_text()), read_tensors(o.padded)
    counts = numpy.load(o.imatrix) if o.imatrix else None
    chunk = ctypes.CDLL(str(o.library), mode=1).ggml_quantize_chunk  # 1 (RTLD_LAZY): no other library of ggml is wanted
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    reader = gguf.GGUFReader(o.file)
    writer = gguf.GGUFWriter(o.output, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            is_array = field.types[0] == gguf.GGUFValueType.ARRAY
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=field.types[-1] if is_array else None)
    for tensor in reader.tensors:
        words = tensor.name.split(".")
        if words[0] != "blk" or words[2] not in PARTS:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        values = tensors[f"model.layers.{words[1]}.{PARTS[words[2]]}.weight"]
        if words[2] in ("attn_q", "attn_k"):
            values = interleave(values, config["num_attention_heads" if words[2] == "attn_q" else "num_key_value_heads"])
        values = numpy.ascontiguousarray(values, "f4")
        kind = type_of(o, int(words[1]), config["num_hidden_layers"], words[2])
        elements, size = gguf.constants.GGML_QUANT_SIZES[kind]
        out = numpy.zeros((len(values), values.shape[1] // elements * size), numpy.uint8)
        weights = counts[tensor.name].ctypes.data_as(ctypes.c_void_p) if counts else None
        chunk(int(kind), values.ctypes.data, out.ctypes.data, 0, *values.shape, weights)
        writer.add_tensor(tensor.name, out, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for run, paths in ((pad, ["model", "padded"]), (imatrix, ["padded", "text"]), (quantize, ["padded", "file"])):
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        for path in paths:
            command.add_argument(path, type=pathlib.Path)
        if run is not pad:
            command.add_argument("--output", type=pathlib.Path, required=True)
        if run is quantize:
            command.add_argument("--type", choices=["Q4_K", "Q5_K", "Q6_K", "Q4_K_M", "Q5_K_M"], required=True)
            command.add_argument("--library", type=pathlib.Path, required=True)
            command.add_argument("--imatrix", type=pathlib.Path)
    o = parser.parse_args()
    o.run(o)


main()
