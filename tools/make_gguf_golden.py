#!/usr/bin/env python3
"""Makes tests/golden/gguf-blocks.json: blocks of GGUF's types and their elements, as the Python package gguf decodes them.

    pip install gguf numpy
    tools/make_gguf_golden.py [--output tests/golden]

Of types that the package encodes, blocks of seeded normal numbers; of K-quants, which it only decodes, seeded bytes with
steps of usual size. Bytes and elements (float32, little-endian) are hexadecimal.
"""
import argparse
import importlib.metadata
import json
import pathlib

import numpy
from gguf import GGMLQuantizationType, quants
from gguf.constants import GGML_QUANT_SIZES

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENCODED = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
STEPS = {"Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]} # where float16 numbers lie in a block


def make_blocks(name, generator):
    kind = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[kind]
    if name in ENCODED:
        return quants.quantize(generator.normal(0, 0.05, 64).astype(numpy.float32), kind).view(numpy.uint8).reshape(-1)
    blocks = generator.integers(0, 256, size, dtype=numpy.uint8)
    for at in STEPS[name]:
        blocks[at:at + 2] = numpy.float16(generator.uniform(1e-4, 1e-2)).reshape(1).view(numpy.uint8)
    return blocks


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "tests/golden")
    o = parser.parse_args()
    generator = numpy.random.default_rng(1)
    rows = []
    for name in ENCODED + list(STEPS):
        blocks = make_blocks(name, generator)
        values = quants.dequantize(blocks, GGMLQuantizationType[name]).astype("<f4").reshape(-1)
        rows.append({"type": int(GGMLQuantizationType[name]), "bytes": blocks.tobytes().hex(), "values": values.tobytes().hex()})
    source = f"tools/make_gguf_golden.py, gguf {importlib.metadata.version('gguf')}"
    text = f'{{\n "source": "{source}",\n "types": [\n  ' + ",\n  ".join(map(json.dumps, rows)) + "\n ]\n}\n"
    (o.output / "gguf-blocks.json").write_text(text, encoding="ascii")


main()
