#!/usr/bin/env python3
"""bitmill beside llama.cpp on the same GGUF file and the same cores: perplexity by both protocols, tokens a second.

    pip install cyllama gguf numpy
    tools/interop/beside_llamacpp.py --build build/release FILE.gguf... --text FILE [--device opencl:0] [--tokens N] [--context 512]
                                     [--threads 2] [--repeat 3] [--cpu-time] [--skip-perplexity] [--skip-speed]

Perplexity of the first --tokens ids of the text, as llama.cpp cuts it:

    slices   bitmill's protocol: consecutive slices of the context, every id but the first of each scored
    halves   that of llama.cpp's own program (llama-perplexity): whole chunks of the context, the first id of each replaced by the
             vocabulary's first one where it puts that in front of texts, and the second half of each scored

in bitmill (float32), in llama.cpp as it runs the file (inputs rounded to 8 bits) and of a copy whose blocks are decoded to float32,
which must be bitmill's within 0.1 % (exit status 1).

Speed: the first 256 of these tokens as a prompt, then 64 more one by one (`bitmill generate`, greedy; decode of cyllama without
its sampler), each program in turn --repeat times, the best of each: of the file, and of copies in float32 and float16, which both
compute in one type. On a machine that does other work these are lower bounds, and threads that wait for each other lose most. With
--cpu-time each has one thread and what counts is the processor's time, of bitmill by differences of whole runs (PoCL alone).
"""
import argparse
import importlib.metadata
import json
import math
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import cyllama.llama.llama_cpp as llama
import numpy

from peer import loss_of
from peer_llamacpp import Peer, silence, write_copy

PROMPT, NEW, BOUND = 256, 64, 1e-3


def slices(ids, context, first_id):
    return [(ids[i:i + context], 0) for i in range(0, len(ids), context) if len(ids[i:i + context]) > 1]


def halves(ids, context, first_id):
    """Pieces, and how many scored ids of each are left out in front."""
    pieces = [ids[i:i + context] for i in range(0, len(ids) - context + 1, context)]
    return [([first_id if first_id is not None else piece[0], *piece[1:]], context // 2) for piece in pieces]


def bitmill_logits(o, file, work):
    def logits(ids):
        numpy.array(ids, dtype="<u4").tofile(work / "ids")
        subprocess.run([o.build / "tests/model/dump_logits", file, o.device, "float32", work / "ids", work / "logits"], check=True)
        return numpy.fromfile(work / "logits", dtype="<f4").reshape(len(ids), -1)
    return logits


def quietly(peer):
    def logits(ids):
        with silence():
            return peer.logits(ids)
    return logits


def perplexity(logits_of, pieces):
    losses = [loss_of(logits_of(ids), ids)[skipped:] for ids, skipped in pieces]
    return math.exp(numpy.concatenate(losses).mean()), sum(map(len, losses))


def compare_perplexity(o, file, peer, ids, work):
    copy = work / "copy.gguf"
    write_copy(file, copy)
    with silence():
        floats = Peer(copy, o.context)
    first_id = ids[0] if peer.vocab.get_add_bos() else None
    failures = 0
    for protocol in (slices, halves):
        pieces = protocol(ids, o.context, first_id)
        if not pieces:
            continue
        own, count = perplexity(bitmill_logits(o, file, work), pieces)
        (theirs, _), (exact, _) = (perplexity(quietly(p), pieces) for p in (peer, floats))
        bad = abs(exact / own - 1) > BOUND
        failures += bad
        print(f"| {file.stem} | {protocol.__name__}, {count} scored | {own:.4f} | {theirs:.4f} ({100 * (theirs / own - 1):+.3f} %) | "
              f"{exact:.4f} ({100 * (exact / own - 1):+.4f} %) |" + ("  DIFFERS" if bad else ""), flush=True)
    copy.unlink()
    return failures


def speed_of_llamacpp(o, peer, ids):
    context, batch, now = peer.context, peer.batch, time.process_time if o.cpu_time else time.perf_counter
    with silence():
        context.kv_cache_clear()
        batch.set_batch([int(i) for i in ids], 0, False)
        begin = now()
        context.decode(batch)
        word = int(numpy.argmax(context.get_logits_ith(len(ids) - 1)))
        middle = now()
        for n in range(NEW - 1):
            batch.set_batch([word], len(ids) + n, True)
            context.decode(batch)
            word = int(numpy.argmax(context.get_logits_ith(0)))
        end = now()
    return middle - begin, end - middle


def generate(o, file, prompt, count):
    """What bitmill says, and the processor's time of the whole run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run([o.build / "bitmill", "generate", file, "--prompt", "-", "--device", o.device, "--max-new-tokens", str(count),
                          "--json", "--quiet"], input=prompt, check=True, capture_output=True, text=True,
                         env={**os.environ, "POCL_MAX_PTHREAD_COUNT": str(1 if o.cpu_time else o.threads)}).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return json.loads(out), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def speed_of_bitmill(o, file, prompt):
    """Seconds of the prompt and of what is generated, or the processor's times of three whole runs."""
    answer, time_of_all = generate(o, file, prompt, NEW)
    if answer["tokens"] != NEW:
        raise RuntimeError(f"{file}: the text ends after {answer['tokens']} tokens")
    if not o.cpu_time:
        return answer["prompt_seconds"], answer["decode_seconds"]
    return time_of_all, generate(o, file, prompt, 1)[1], generate(o, file, prompt.split()[0], 1)[1]


def compare_speed(o, file, text, work):
    for label, arithmetic in ((file.stem, None), ("the same in float32", "float32"), ("the same in float16", "float16")):
        used = work / "speed.gguf" if arithmetic else file
        if arithmetic:
            write_copy(file, used, arithmetic)
        with silence():
            peer = Peer(used, PROMPT + NEW, 1 if o.cpu_time else o.threads)
            prompt = prompt_of(peer, text)
            ids = peer.ids(prompt)
        ours, theirs = [], []
        for _ in range(o.repeat):
            ours.append(speed_of_bitmill(o, used, prompt))
            theirs.append(speed_of_llamacpp(o, peer, ids))
        ours, theirs = ([min(column) for column in zip(*rows)] for rows in (ours, theirs))
        if o.cpu_time:
            ours = [ours[1] - ours[2], ours[0] - ours[1]]
        speeds = [count / seconds for count, part in ((len(ids), 0), (NEW - 1, 1)) for seconds in (ours[part], theirs[part])]
        print(f"| {label} | " + " | ".join(f"{speed:.1f}" for speed in speeds) + " |", flush=True)
        del peer
        if arithmetic:
            used.unlink()


def prompt_of(peer, text):
    """The beginning of the text that has as many ids."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(peer.ids(text[:middle])) <= PROMPT else (low, middle - 1)
    return text[:low]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--text", required=True, type=pathlib.Path)
    parser.add_argument("--device", default="opencl:0")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--skip-perplexity", action="store_true")
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    o = parser.parse_args()
    text = o.text.read_text(encoding="utf-8")
    print(f"cyllama {importlib.metadata.version('cyllama')}, ggml {llama.ggml_version()}\n")
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        if not o.skip_perplexity:
            print("| file | protocol | bitmill | llama.cpp | llama.cpp, copy in float32 |\n|---|---|---|---|---|")
            for file in o.files:
                with silence():
                    peer = Peer(file, o.context) # one thread: several wait for each other on a busy machine
                    ids = list(peer.ids(text))[:o.tokens]
                failures += compare_perplexity(o, file, peer, ids, work)
        if not o.skip_speed:
            what = "second of one core" if o.cpu_time else f"second, {o.threads} threads"
            print(f"\n| file | prompt, tokens a {what}: bitmill | llama.cpp | generation: bitmill | llama.cpp |\n|---|---|---|---|---|")
            for file in o.files:
                compare_speed(o, file, text, work)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
