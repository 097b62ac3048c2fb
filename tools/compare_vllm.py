#!/usr/bin/env python3
"""Compares the log-probabilities of one text in vLLM and in bitmill, for model folders that bitmill wrote (or float ones).

    tools/compare_vllm.py --build build/release --text FILE [--tokens N] [--device host] MODEL...

The build needs its tests (dump_logits). vLLM runs in its own process as it comes, in bfloat16 on the CPU (its kernels of
packed weights take no float32); bitmill's logits are float32 arithmetic on float32 storage and, beside it, on bfloat16
storage, which shows how far two bfloat16 programs may differ. Printed: mean negative log-likelihood and the largest
difference of a token's log-probability.
"""
import argparse
import os
import pathlib
import subprocess
import tempfile

os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_CPU_OMP_THREADS_BIND="nobind",
                  HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="ERROR")

import numpy
from tokenizers import Tokenizer
from vllm import LLM, SamplingParams


def from_vllm(folder, ids):
    model = LLM(model=str(folder), dtype="bfloat16", enforce_eager=True, max_model_len=len(ids) + 1, max_num_seqs=1,
                enable_prefix_caching=False)
    options = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
    found = model.generate([{"prompt_token_ids": ids}], options, use_tqdm=False)[0].prompt_logprobs
    return numpy.array([found[i][ids[i]].logprob for i in range(1, len(ids))])


def from_bitmill(o, folder, ids, dtype, work):
    numpy.array(ids, dtype="<u4").tofile(work / "ids")
    subprocess.run([o.build / "tests/model/dump_logits", folder, o.device, dtype, work / "ids", work / "logits"], check=True)
    logits = numpy.fromfile(work / "logits", dtype="<f4").reshape(len(ids), -1).astype(numpy.float64)[:-1]
    logits -= logits.max(axis=1, keepdims=True)
    logits -= numpy.log(numpy.exp(logits).sum(axis=1, keepdims=True))
    return logits[numpy.arange(len(ids) - 1), ids[1:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--text", required=True, type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--device", default="host")
    parser.add_argument("models", nargs="+", type=pathlib.Path)
    o = parser.parse_args()
    print("| model | vLLM | bitmill, float32 | bitmill, bfloat16 | largest difference, vLLM to float32 | bfloat16 to float32 |")
    print("|---|---|---|---|---|---|", flush=True)
    for folder in o.models:
        text = o.text.read_text(encoding="utf-8")
        ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids[:o.tokens]
        try:
            theirs = from_vllm(folder, ids)
        except Exception as error: # what vLLM says of a folder that it refuses is a result too
            print(f"| {folder.name} | {type(error).__name__}: {' '.join(str(error).split())} | | | | |", flush=True)
            continue
        with tempfile.TemporaryDirectory() as work:
            wide, narrow = (from_bitmill(o, folder, ids, t, pathlib.Path(work)) for t in ("float32", "bfloat16"))
        print(f"| {folder.name} | {-theirs.mean():.5f} | {-wide.mean():.5f} | {-narrow.mean():.5f} | "
              f"{abs(theirs - wide).max():.4f} | {abs(narrow - wide).max():.4f} |", flush=True)


if __name__ == "__main__":
    main()
