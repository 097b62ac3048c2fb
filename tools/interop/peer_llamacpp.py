"""llama.cpp on the CPU: by the wheels of cyllama, which hold it built, or by llama-cpp-python, which compiles it."""
import contextlib
import os
import sys

import numpy

try:
    import cyllama.llama.llama_cpp as llama
except ImportError:
    llama = None


@contextlib.contextmanager
def silence():
    """llama.cpp says much, on the descriptors themselves."""
    sys.stdout.flush()
    saved = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        yield
    finally:
        for descriptor, copy in zip((1, 2), saved):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(null)


class Model(llama.LlamaModel if llama else object):
    """cyllama's contexts ask their model for a number that it has not."""


class Peer:
    def __init__(self, path, context):
        params = llama.LlamaModelParams()
        params.n_gpu_layers = 0
        self.model = Model(path_model=str(path), params=params, verbose=False)
        self.vocab = self.model.get_vocab()
        self.model.n_vocab = self.vocab.n_vocab
        options = llama.LlamaContextParams()
        options.n_ctx = options.n_batch = options.n_ubatch = max(256, context)
        options.type_k = options.type_v = 0  # float32
        options.flash_attn_type = 0
        options.n_threads = options.n_threads_batch = 2
        self.context = llama.LlamaContext(self.model, options, False)
        self.batch = llama.LlamaBatch(n_tokens=options.n_batch, embd=0, n_seq_max=1)

    def logits(self, ids):
        self.context.kv_cache_clear()
        self.batch.set_batch([int(i) for i in ids], 0, True)
        if self.context.decode(self.batch) != 0:
            raise RuntimeError("llama.cpp: decode failed")
        return numpy.array([self.context.get_logits_ith(i) for i in range(len(ids))])

    def ids(self, text):
        return None if self.vocab.vocab_type == 0 else self.vocab.tokenize(text, True, True)


def logits_of(folder, ids):
    file, = folder.glob("*.gguf")
    with silence():
        if llama:
            return Peer(file, len(ids)).logits(ids)
        import llama_cpp
        model = llama_cpp.Llama(str(file), n_ctx=max(256, len(ids)), n_batch=max(256, len(ids)), logits_all=True,
                                n_threads=2, type_k=0, type_v=0, flash_attn=False, verbose=False)
        model.eval(list(ids))
        return numpy.array(model.scores[:len(ids)])


if __name__ == "__main__":
    import peer
    peer.serve(logits_of, ["cyllama", "llama-cpp-python", "numpy"])
