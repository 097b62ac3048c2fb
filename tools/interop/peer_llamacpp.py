"""llama.cpp on the CPU: by the wheels of cyllama, which hold it built, or by llama-cpp-python, which compiles it.

It multiplies blocks of a file by inputs that it rounds to 8 bits. What the file says is seen without that in a copy whose blocks the gguf
package has decoded to float32; one in bfloat16, by whose weights it multiplies inputs of that type, shows what 16 bits are worth in it.
"""
import contextlib
import os
import sys
import tempfile

import numpy

try:
    import cyllama.llama.llama_cpp as llama
except ImportError:
    llama = None

LONGEST = 512 # ids of a text


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
    def __init__(self, path, context, threads=1):
        params = llama.LlamaModelParams()
        params.n_gpu_layers = 0
        self.model = Model(path_model=str(path), params=params, verbose=False)
        self.vocab = self.model.get_vocab()
        self.model.n_vocab = self.vocab.n_vocab
        options = llama.LlamaContextParams()
        options.n_ctx = options.n_batch = options.n_ubatch = max(256, context)
        options.type_k = options.type_v = 0  # float32
        options.flash_attn_type = 0
        options.n_threads = options.n_threads_batch = threads
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


def write_copy(source, target, arithmetic="float32"):
    """The same metadata and tensors, blocks decoded; matrices in bfloat16 or float16 where that is asked."""
    import gguf
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        writer.add_key_value(field.name, 0 if field.name == "general.file_type" else field.contents(), kind,
                             sub_type=field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        values = values.reshape(tuple(int(n) for n in reversed(tensor.shape)))
        if arithmetic != "float32" and values.ndim == 2:
            kind = {"bfloat16": gguf.GGMLQuantizationType.BF16, "float16": gguf.GGMLQuantizationType.F16}[arithmetic]
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def open_file(file):
    if llama:
        return Peer(file, LONGEST).logits
    import llama_cpp
    model = llama_cpp.Llama(str(file), n_ctx=LONGEST, n_batch=LONGEST, logits_all=True, n_threads=1, type_k=0, type_v=0,
                            flash_attn=False, verbose=False)

    def logits_of(ids):
        model.reset()
        model.eval(list(ids))
        return numpy.array(model.scores[:len(ids)])

    return logits_of


def load(folder, arithmetic):
    file, = folder.glob("*.gguf")
    with tempfile.TemporaryDirectory() as work, silence():
        if arithmetic != "inputs in 8 bits":
            copy = os.path.join(work, "copy.gguf")
            write_copy(file, copy, arithmetic)
            file = copy
        logits_of = open_file(file) # which keeps a file that it has mapped

    def quietly(ids):
        with silence():
            return logits_of(ids)

    return quietly


if __name__ == "__main__":
    import peer
    peer.serve(load, ["cyllama", "llama-cpp-python", "gguf", "numpy"])
