#!/usr/bin/env python3
r"""Make the example model: its tokenizer, its weights and the files of
examples/model (config.json, model.safetensors, tokenizer.json, ...).

This script is a record and a recipe.  bitmill itself needs no Python.

Command (DATA is the folder that holds the inputs named below):

    python3 tools/train_example_model.py \
        --stories DATA/text/tinystories/tinystories-valid-sample.txt \
        --tales DATA/text/grimm/grimms-fairy-tales.txt \
        --sampler DATA/stories260K --out examples/model \
        --page examples/data/evaluation.txt

It needs torch, tokenizers and safetensors; all other settings are the
defaults below, among them seed 1.

Data:
  * 1000 TinyStories stories (licence CDLA-Sharing-1.0): 940 to train on, 60
    held out, drawn with the seed;
  * Grimms' Fairy Tales in English (public domain), 140 pieces;
  * about 99,000 stories (72 million characters, 23.4 million ids) sampled at
    temperature 1 from stories260K, the 260,032-weight model that Andrej
    Karpathy trained on the whole of TinyStories (MIT licence).  The real text
    is too small to train two million weights on without learning it by heart.
The tokenizer is learnt on the first two alone.  Of every batch 6 % of the
windows are real text (452 thousand ids, seen about 36 times) and 94 % sampled
(about 11 times).

Result of the run that made examples/model (one H100, torch 2.11, bfloat16
autocast over float32 weights): 2100 steps of 256 windows of 512, 275 million
ids in 27 seconds after 70 seconds of sampling.  Loss in nats per id:
  training, mean of the last 100 steps   2.0053
  held-out stories, 17,128 ids           2.0711  (after rounding to float16)
Share and temperature were chosen on the held-out stories (temperature 0.8 did
worse in a short run; 20 % real text overfitted: 2.57).
model.safetensors of that run has the sha256
3e62067b07e9b93f06d492e54dbe7b6dcb4653583ff669da0f3248599343e688.  Sums on
a GPU are not bit-exact, so another run gives another model that is as good.
"""

import argparse
import hashlib
import json
import math
import os
import random
import re
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

UNK, BOS, EOS = 0, 1, 2
BAR = "\u2581"

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 1024,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "use_cache": True,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "torch_dtype": "float16",
}


# ---------------------------------------------------------------- text

def plain(text):
    """Plain quotation marks and dashes, no stray white space."""
    for old, new in (("\u201c", '"'), ("\u201d", '"'), ("\u2018", "'"),
                     ("\u2019", "'"), ("\u2013", "-"), ("\u2014", "-"),
                     ("\u2026", "..."), ("\u00a0", " "), ("\r", "")):
        text = text.replace(old, new)
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in text.split("\n")]
    return "\n".join(line for line in lines if line)


def read_stories(path):
    with open(path, encoding="utf-8") as f:
        parts = f.read().split("<|endoftext|>")
    return [s for s in (plain(p) for p in parts) if s]


def read_tales(path):
    """A book of tales: wrapped lines become paragraphs, a tale begins at a
    line all in capitals, and long tales are cut into pieces."""
    with open(path, encoding="utf-8") as f:
        paragraphs = re.split(r"\n\s*\n", f.read())
    pieces, piece = [], []
    for p in paragraphs:
        p = plain(" ".join(p.split()))
        if not p:
            continue
        title = p.upper() == p
        if title or sum(map(len, piece)) > 4000:
            if piece:
                pieces.append("\n".join(piece))
            piece = []
        if not title:
            piece.append(p)
    if piece:
        pieces.append("\n".join(piece))
    return pieces


# ----------------------------------------------------------- tokenizer

def train_tokenizer(texts, vocab_size, min_count=20):
    """SentencePiece-like BPE with byte fallback.  Merges are learnt inside
    words (with the space before them) and single signs; a line feed is never
    a piece of its own, so it goes through the byte tokens."""
    count = {}
    for text in texts:
        for c in text:
            count[c] = count.get(c, 0) + 1
    rare = {c for c, n in count.items() if n < min_count or c == "\n"}

    def lines():
        for text in texts:
            text = BAR + text.replace(" ", BAR)
            for line in text.split("\n"):
                yield "".join("\n" if c in rare else c for c in line)

    special = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split("\n", "removed"),
        pre_tokenizers.Split(Regex("%s?[A-Za-z]+|%s?[^A-Za-z%s]|%s" %
                                   (BAR, BAR, BAR, BAR)), "isolated"),
    ])
    learner.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, show_progress=False))
    learnt = json.loads(learner.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" "))
              for m in learnt["merges"]]
    assert len(learnt["vocab"]) == vocab_size, len(learnt["vocab"])

    # SentencePiece order: specials, bytes, merged pieces, single signs.
    vocab, singles = {}, []
    for piece, _ in sorted(learnt["vocab"].items(), key=lambda kv: kv[1]):
        if piece in special or len(piece) > 1:
            vocab[piece] = len(vocab)
        else:
            singles.append(piece)
    for c in sorted(singles, key=lambda c: (c != BAR, -count.get(c, 0), c)):
        vocab[c] = len(vocab)

    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>",
                               fuse_unk=True, byte_fallback=True))
    tok.add_special_tokens(["<unk>", "<s>", "</s>"])
    tok.normalizer = normalizers.Sequence([
        normalizers.Prepend(BAR), normalizers.Replace(" ", BAR)])
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1",
        special_tokens=[("<s>", BOS)])
    tok.decoder = decoders.Sequence([
        decoders.Replace(BAR, " "), decoders.ByteFallback(),
        decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return tok


def encode_all(tok, texts):
    """Id lists with <s> in front and </s> behind."""
    out = []
    for i in range(0, len(texts), 20000):
        for e in tok.encode_batch(texts[i:i + 20000]):
            out.append(e.ids + [EOS])
    return out


def stream(tok, texts, rng, join_share):
    """One long row of ids.  A share of the neighbours is joined by an empty
    line instead of </s> <s>, as stories on one page are."""
    texts = list(texts)
    rng.shuffle(texts)
    joined = []
    for t in texts:
        if joined and rng.random() < join_share:
            joined[-1] += "\n\n" + t
        else:
            joined.append(t)
    ids = [i for row in encode_all(tok, joined) for i in row]
    return torch.tensor(ids, dtype=torch.int16)


# --------------------------------------------------------------- model

class Norm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))
        self.eps = eps

    def forward(self, x):
        f = x.float()
        f = f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + self.eps)
        return (f * self.weight).to(x.dtype)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, hd = c["hidden_size"], c["head_dim"]
        self.h, self.kv, self.hd = (c["num_attention_heads"],
                                    c["num_key_value_heads"], hd)
        self.q_proj = nn.Linear(d, self.h * hd, bias=False)
        self.k_proj = nn.Linear(d, self.kv * hd, bias=False)
        self.v_proj = nn.Linear(d, self.kv * hd, bias=False)
        self.o_proj = nn.Linear(self.h * hd, d, bias=False)

    def forward(self, x, cos, sin, cache=None, pos=0):
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, self.h, self.hd).transpose(1, 2)
        k = self.k_proj(x).view(b, t, self.kv, self.hd).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv, self.hd).transpose(1, 2)
        q = rotate(q, cos, sin).to(v.dtype)
        k = rotate(k, cos, sin).to(v.dtype)
        if cache is not None:
            cache[0][:, :, pos:pos + t] = k
            cache[1][:, :, pos:pos + t] = v
            k, v = cache[0][:, :, :pos + t], cache[1][:, :, :pos + t]
            g = self.h // self.kv
            s = q.view(b, self.kv, g, self.hd) @ k.transpose(-1, -2)
            y = torch.softmax(s / math.sqrt(self.hd), -1) @ v
            return self.o_proj(y.reshape(b, t, -1))
        k = k.repeat_interleave(self.h // self.kv, 1)
        v = v.repeat_interleave(self.h // self.kv, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, m = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = nn.Linear(d, m, bias=False)
        self.up_proj = nn.Linear(d, m, bias=False)
        self.down_proj = nn.Linear(m, d, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, c, dropout):
        super().__init__()
        self.self_attn = Attention(c)
        self.mlp = MLP(c)
        self.input_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.post_attention_layernorm = Norm(c["hidden_size"],
                                             c["rms_norm_eps"])
        self.drop = nn.Dropout(dropout)

    def forward(self, x, cos, sin, cache=None, pos=0):
        x = x + self.drop(self.self_attn(self.input_layernorm(x), cos, sin,
                                         cache, pos))
        return x + self.drop(self.mlp(self.post_attention_layernorm(x)))


class Llama(nn.Module):
    """Parameter names are those of the Hugging Face layout, less the
    leading "model."; the output head is the embedding."""

    def __init__(self, c, dropout=0.0):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(
            Block(c, dropout) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"], c["rms_norm_eps"])
        hd, n = c["head_dim"], c["max_position_embeddings"]
        freq = c["rope_theta"] ** (-torch.arange(0, hd, 2).double() / hd)
        ang = torch.arange(n).double()[:, None] * freq
        ang = torch.cat((ang, ang), -1)
        self.register_buffer("cos", ang.cos().float(), persistent=False)
        self.register_buffer("sin", ang.sin().float(), persistent=False)

    def reset(self, seed):
        g = torch.Generator().manual_seed(seed)
        deep = 1.0 / math.sqrt(2 * self.c["num_hidden_layers"])
        for name, p in self.named_parameters():
            with torch.no_grad():
                if p.dim() == 1:
                    p.fill_(1.0)
                else:
                    std = self.c["initializer_range"] * 2
                    if "o_proj" in name or "down_proj" in name:
                        std *= deep
                    p.copy_(torch.randn(p.shape, generator=g) * std)

    def forward(self, ids, cache=None, pos=0):
        t = ids.shape[1]
        cos, sin = self.cos[pos:pos + t], self.sin[pos:pos + t]
        x = self.embed_tokens(ids)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, None if cache is None else cache[i], pos)
        return F.linear(self.norm(x), self.embed_tokens.weight)

    def loss(self, ids):
        logits = self(ids[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1),
                               ids[:, 1:].flatten())


@torch.no_grad()
def generate(model, rows, steps, temperature, device, seed, start=(BOS,)):
    """Sample `rows` continuations of `start`; temperature 0 is greedy."""
    c = model.c
    n = min(len(start) + steps, c["max_position_embeddings"])
    shape = (rows, c["num_key_value_heads"], n, c["head_dim"])
    cache = [(torch.zeros(shape, device=device),
              torch.zeros(shape, device=device))
             for _ in range(c["num_hidden_layers"])]
    g = torch.Generator(device=device).manual_seed(seed)
    out = torch.zeros(rows, n, dtype=torch.long, device=device)
    out[:, :len(start)] = torch.tensor(start, device=device)
    done = torch.zeros(rows, dtype=torch.bool, device=device)
    for t in range(n - 1):
        logits = model(out[:, t:t + 1], cache, t)[:, -1]
        if t + 1 < len(start):
            continue
        if temperature > 0:
            p = torch.softmax(logits / temperature, -1)
            # The exponential trick: a sample without a host round trip.
            e = torch.empty_like(p).exponential_(generator=g)
            nxt = (p / e.clamp_min(1e-20)).argmax(-1)
        else:
            nxt = logits.argmax(-1)
        out[:, t + 1] = nxt
        done |= (nxt == BOS) | (nxt == EOS)
        if t % 32 == 0 and bool(done.all()):
            break
    return out.cpu().tolist()


def sampled_stories(folder, batches, rows, temperature, device, seed):
    """Stories told by a small published model of the same data."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    teacher = Llama(c)
    weights = load_file(os.path.join(folder, "model.safetensors"))
    teacher.load_state_dict(
        {k[len("model."):]: v.float() for k, v in weights.items()})
    teacher.to(device).eval()
    stories = []
    for b in range(batches):
        ids = generate(teacher, rows, 511, temperature, device,
                       seed * 1000 + b)
        ended = []
        for row in ids:
            end = next((j for j in range(1, len(row))
                        if row[j] in (BOS, EOS)), 0)
            if end > 60:
                ended.append(row[:end])
        for text in tok.decode_batch(ended):
            text = plain(text)
            if text.isascii() and text[-1:] in '.!?"' and text[:1].isalpha():
                stories.append(text)
    return stories


# ------------------------------------------------------------ training

@torch.no_grad()
def story_loss(model, rows, device):
    """Mean loss over stories, each on its own, cut to 512 ids."""
    total = n = 0
    model.eval()
    for ids in rows:
        ids = torch.tensor([ids[:512]], device=device)
        total += model.loss(ids).item() * (ids.shape[1] - 1)
        n += ids.shape[1] - 1
    model.train()
    return total / n


@torch.no_grad()
def page_loss(model, tok, text, device):
    """The text as one row of ids with <s> in front, cut into slices of 512;
    each slice on its own, every id but its first scored."""
    ids = tok.encode(text).ids
    total = n = slices = 0
    model.eval()
    for i in range(0, len(ids), 512):
        row = ids[i:i + 512]
        if len(row) < 2:
            continue
        loss = model.loss(torch.tensor([row], device=device)).item()
        total += loss * (len(row) - 1)
        n += len(row) - 1
        slices += 1
    model.train()
    return total / n, n, slices


def train(a, model, step_fn, real, sampled, valid_rows, device):
    """step_fn(ids) returns the loss; model holds the float32 weights."""
    matrices = [p for n, p in model.named_parameters()
                if p.dim() == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters()
              if p.dim() == 1 or "embed" in n]
    opt = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": a.weight_decay},
         {"params": others, "weight_decay": 0.0}],
        lr=a.lr, betas=(0.9, 0.95), fused=device.type == "cuda")
    g = torch.Generator(device=device).manual_seed(a.seed)
    window = torch.arange(a.context + 1, device=device)
    n_real = a.batch if sampled is None else round(a.batch * a.real_share)
    started, recent, total, kept = time.time(), [], 0.0, []

    def draw(row, n):
        at = torch.randint(0, row.numel() - a.context - 1, (n, 1),
                           device=device, generator=g)
        return row[at + window]

    for step in range(a.steps):
        if step < a.warmup:
            lr = a.lr * (step + 1) / a.warmup
        else:
            x = (step - a.warmup) / max(1, a.steps - a.warmup)
            lr = a.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * x)))
        for group in opt.param_groups:
            group["lr"] = lr
        ids = draw(real, n_real)
        if sampled is not None:
            ids = torch.cat((ids, draw(sampled, a.batch - n_real)))
        loss = step_fn(ids.long())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        recent.append(loss.detach())
        if (step + 1) % a.report == 0 or step + 1 == a.steps:
            mean = torch.stack(recent).mean().item()
            recent = []
            print("step %5d  lr %.2e  train %.4f  valid %.4f  %.0f s" % (
                step + 1, lr, mean, story_loss(model, valid_rows, device),
                time.time() - started), flush=True)
    return mean


def compiled_step(model, device):
    fn = model.loss
    if device.type == "cuda":
        fn = torch.compile(fn, dynamic=False)

    def step(ids):
        model.train()
        with torch.autocast(device.type, dtype=torch.bfloat16,
                            enabled=device.type == "cuda"):
            return fn(ids)
    return step


# -------------------------------------------------------------- output

def dump(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def write_model(folder, model, tok):
    os.makedirs(folder, exist_ok=True)
    dump(os.path.join(folder, "config.json"), model.c)
    dump(os.path.join(folder, "generation_config.json"),
         {"bos_token_id": BOS, "eos_token_id": EOS, "do_sample": False})
    dump(os.path.join(folder, "tokenizer_config.json"), {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": False,
        "model_max_length": 512, "clean_up_tokenization_spaces": False})
    tok.save(os.path.join(folder, "tokenizer.json"))
    weights = {"model." + k: v.detach().to("cpu", torch.float16).contiguous()
               for k, v in model.named_parameters()}
    save_file(weights, os.path.join(folder, "model.safetensors"),
              metadata={"format": "pt"})


def make_data(a, device):
    rng = random.Random(a.seed)
    stories = read_stories(a.stories)
    rng.shuffle(stories)
    valid, stories = stories[:a.valid], stories[a.valid:]
    tales = read_tales(a.tales)
    tok = train_tokenizer(stories + tales, CONFIG["vocab_size"])
    real = stream(tok, stories + tales, rng, a.join_share).to(device)
    print("stories %d, tales %d pieces, %d ids; valid %d stories" % (
        len(stories), len(tales), real.numel(), len(valid)), flush=True)
    sampled = None
    if a.sampler:
        t0 = time.time()
        told = sampled_stories(a.sampler, a.sample_batches, a.sample_rows,
                               a.temperature, device, a.seed)
        t1 = time.time()
        sampled = stream(tok, told, rng, a.join_share).to(device)
        print("sampled %d stories, %d characters, %d ids (%.0f s + %.0f s)" % (
            len(told), sum(map(len, told)), sampled.numel(), t1 - t0,
            time.time() - t1), flush=True)
        print("one of them: " + told[0][:300].replace("\n", " / "), flush=True)
    return tok, real, sampled, encode_all(tok, valid)


def arguments(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--stories", required=True,
                   help="stories apart by lines <|endoftext|>")
    p.add_argument("--tales", required=True, help="a book of tales")
    p.add_argument("--sampler", help="folder of a small model of such "
                   "stories, whose samples are trained on too")
    p.add_argument("--out", required=True, help="folder to write")
    p.add_argument("--page", help="a text to measure the result on")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--valid", type=int, default=60)
    p.add_argument("--sample-batches", type=int, default=14)
    p.add_argument("--sample-rows", type=int, default=8192)
    p.add_argument("--temperature", type=float, default=1.0)
    p.add_argument("--real-share", type=float, default=0.06)
    p.add_argument("--join-share", type=float, default=0.25)
    p.add_argument("--context", type=int, default=512)
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--steps", type=int, default=2100)
    p.add_argument("--warmup", type=int, default=150)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--weight-decay", type=float, default=0.1)
    p.add_argument("--dropout", type=float, default=0.0)
    p.add_argument("--report", type=int, default=200)
    return p.parse_args(argv)


def finish(a, model, tok, valid_rows, train_loss, device):
    write_model(a.out, model, tok)
    exact = {n: p.detach().clone() for n, p in model.named_parameters()}
    before = story_loss(model, valid_rows, device)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half().float())
    torch.backends.cuda.matmul.allow_tf32 = False
    record = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_loss": train_loss,
        "valid_loss_float32": before,
        "valid_loss_float16": story_loss(model, valid_rows, device),
        "valid_ids": sum(min(len(r), 512) - 1 for r in valid_rows),
        "arguments": {k: v for k, v in vars(a).items() if v is not None},
        "torch": torch.__version__,
    }
    if a.page:
        with open(a.page, encoding="utf-8") as f:
            loss, n, slices = page_loss(model, tok, f.read(), device)
        record.update(page_loss=loss, page_scored=n, page_slices=slices,
                      page_perplexity=math.exp(loss))
    with open(os.path.join(a.out, "model.safetensors"), "rb") as f:
        record["sha256"] = hashlib.sha256(f.read()).hexdigest()
    model.eval()
    start = tok.encode("Once upon a time").ids
    row = generate(model, 1, 120, 0.0, device, a.seed, start)[0]
    row = row[:row.index(EOS)] if EOS in row else row
    record["greedy"] = tok.decode(row)
    print(json.dumps(record, indent=1, ensure_ascii=False), flush=True)
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.copy_(exact[n])
    return record


def main():
    a = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(a.seed)
    tok, real, sampled, valid_rows = make_data(a, device)
    model = Llama(CONFIG, a.dropout).to(device)
    model.reset(a.seed)
    last = train(a, model, compiled_step(model, device), real, sampled,
                 valid_rows, device)
    finish(a, model, tok, valid_rows, last, device)


if __name__ == "__main__":
    main()
