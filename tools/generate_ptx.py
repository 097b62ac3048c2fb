#!/usr/bin/env python3
"""Writes the matrix product y = bias + factor x w^T for NVIDIA's sm_90a as PTX text, with Python's standard library alone.

The driver's OpenCL takes such text by clCreateProgramWithBinary; OpenCL C has no way to say wgmma. One module a shape; its
entries are gemm_Y_X for Y of f32, f16, bf16 (the storage of y) and X of f16, bf16 (that of x and w):

  x, w, bias, y   buffers; x [m, k], w [n, k], rows padded to 16 bytes; bias is not read where bias_type is 0
  m n k x_stride w_stride y_stride   u32, strides in elements
  bias_type       u32: 0 none, 1 float32, 2 float16, 3 bfloat16
  adds lower diagonal factor         as kernel gemm of src/device/kernels.def has them

A work-group computes one tile, so there are as many work-groups as tiles; with `copy` "tensor" x is a buffer of two tensor maps
(128 bytes each, for x and w), which the entry tensor_maps of the same module writes in one work-group of 32 work-items.

How a tile is computed: slices of SLICE columns of x and w come into STAGES buffers of local memory, by cp.async (16 bytes a
work-item; the part of a chunk behind column k becomes zeros) or by the tensor copy engine (columns behind k, rows behind m become
zeros). Warpgroups of 128 work-items multiply them from there, the sums stay in registers. Local memory is limited to 48 KiB a
group, so two groups or more share a multiprocessor: one multiplies while the other waits.

Layout of local memory (`swizzle` bytes in a row of a slice, 64 or 128): chunk c of 16 bytes of row r lies at chunk
c xor (r / 2 % 4) or c xor (r % 8) of the row. With swizzle 0, blocks of 8 rows by 16 bytes, columns of such blocks outermost.

Usage: generate_ptx.py --out FOLDER
"""
import argparse, dataclasses, os

PTX_VERSION = "8.6"
LOCAL_LIMIT = 48 * 1024
SIZES = {"f32": 4, "f16": 2, "bf16": 2}
PARAMETERS = [("u64", n) for n in ("x", "w", "bias", "y")] + \
             [("u32", n) for n in ("m", "n", "k", "x_stride", "w_stride", "y_stride", "bias_type", "adds", "lower")] + \
             [("s32", "diagonal"), ("f32", "factor")]


@dataclasses.dataclass(frozen=True)
class Shape:
    rows: int = 128        # of y in a tile: of x
    columns: int = 128     # of y in a tile: rows of w
    slice: int = 32        # columns of x and w at a time
    stages: int = 3
    group: int = 256       # work-items: warpgroups of 128, one below the other
    groups: int = 2        # that share a multiprocessor: limits the registers
    swizzle: int = 64
    copy: str = "async"    # or "tensor"
    lag: int = 0           # 1: the next slice's multiplication starts before the last one's stage is filled again
    cluster: int = 1       # groups below one another that share the rows of w (copy "tensor")
    band: int = 16         # tile rows that are walked together

    @property
    def row_bytes(self):
        return 2 * self.slice

    @property
    def x_bytes(self):
        return self.rows * self.row_bytes

    @property
    def stage_bytes(self):
        return (self.rows + self.columns) * self.row_bytes

    @property
    def blocks(self):
        """Blocks of 64 rows that a warpgroup computes."""
        return self.rows // 64 // (self.group // 128)

    def check(self):
        assert self.rows % (64 * (self.group // 128)) == 0 and self.columns % 8 == 0 and self.columns <= 256, self
        assert self.swizzle in (0, self.row_bytes) and self.row_bytes in (64, 128), self
        barriers = 16 * self.stages if self.copy == "tensor" else 0
        assert self.stages * self.stage_bytes + barriers <= LOCAL_LIMIT, self
        assert self.copy in ("async", "tensor") and (self.swizzle or self.copy == "async"), self
        assert 0 <= self.lag < min(self.stages, 2), self
        assert self.cluster == 1 or (self.copy == "tensor" and self.band % self.cluster == 0), self
        return self


class Text:
    """Lines of one entry and the registers that they use."""
    KINDS = {"r": "b32", "d": "b64", "p": "pred", "f": "f32", "h": "b16"}

    def __init__(self):
        self.lines, self.counts, self.labels = [], dict.fromkeys(self.KINDS, 0), 0

    def new(self, kind):
        self.counts[kind] += 1
        return f"%{kind}{self.counts[kind] - 1}"

    def label(self, name):
        self.labels += 1
        return f"${name}_{self.labels}"

    def op(self, line):
        self.lines.append(f"    {line};")

    def at(self, label):
        self.lines.append(f"{label}:")

    def do(self, kind, opcode, *operands):
        """A new register with the result of an instruction."""
        to = self.new(kind)
        self.op(f"{opcode} {to}, " + ", ".join(map(str, operands)))
        return to

    def test(self, compare, a, b):
        return self.do("p", f"setp.{compare}", a, b)

    def body(self):
        declared = [f"    .reg .{t} %{k}<{self.counts[k]}>;" for k, t in self.KINDS.items() if self.counts[k]]
        return "\n".join(declared + self.lines)


def parameters(t):
    """The scalars of an entry in registers, buffers as global addresses."""
    values = {}
    for kind, name in PARAMETERS:
        values[name] = t.do({"u64": "d", "f32": "f"}.get(kind, "r"), f"ld.param.{kind}", f"[{name}]")
    return values


def place_tile(t, shape, a):
    """First row and first column of this group's tile; ends the group where the tile is not wanted."""
    group = t.do("r", "mov.u32", "%ctaid.x")
    tiles_n = t.do("r", "div.u32", t.do("r", "add.u32", a["n"], shape.columns - 1), shape.columns)
    step = shape.rows * shape.cluster
    tiles_m = t.do("r", "div.u32", t.do("r", "add.u32", a["m"], step - 1), step)
    if shape.cluster > 1:
        tiles_m = t.do("r", "mul.lo.u32", tiles_m, shape.cluster)
    a_band = t.do("r", "mul.lo.u32", tiles_n, shape.band)
    band = t.do("r", "div.u32", group, a_band)
    rest = t.do("r", "rem.u32", group, a_band)
    top = t.do("r", "mul.lo.u32", band, shape.band)
    height = t.do("r", "min.u32", t.do("r", "sub.u32", tiles_m, top), shape.band)
    column = t.do("r", "div.u32", rest, height)
    row = t.do("r", "add.u32", top, t.do("r", "rem.u32", rest, height))
    first_m, first_n = t.do("r", "mul.lo.u32", row, shape.rows), t.do("r", "mul.lo.u32", column, shape.columns)
    last = t.do("r", "add.u32", first_m, shape.rows)
    if shape.cluster > 1:  # the groups of a cluster agree
        last = t.do("r", "mul.lo.u32", t.do("r", "add.u32", t.do("r", "div.u32", row, shape.cluster), 1), step)
    last = t.do("r", "add.s32", last, a["diagonal"])
    above = t.test("ge.s32", first_n, last)
    unwanted = t.new("p")
    t.op(f"setp.ne.and.u32 {unwanted}, {a['lower']}, 0, {above}")
    t.op(f"@{unwanted} ret")
    return first_m, first_n


class Copies:
    """Slices into local memory by cp.async: every work-item has one chunk of each `pass_rows` rows."""

    def __init__(self, t, shape, a, tid, local, first_m, first_n):
        self.t, self.shape = t, shape
        chunks = shape.row_bytes // 16
        self.pass_rows = shape.group // chunks
        if shape.swizzle:
            chunk, row = t.do("r", "and.b32", tid, chunks - 1), t.do("r", "shr.u32", tid, chunks.bit_length() - 1)
            bits = t.do("r", "and.b32", t.do("r", "shr.u32", row, 1 if chunks == 4 else 0), chunks - 1)
            place = t.do("r", "shl.b32", t.do("r", "xor.b32", chunk, bits), 4)
            place = t.do("r", "mad.lo.u32", row, shape.row_bytes, place)
            self.to_x = t.do("r", "add.u32", local, place)
            self.to_w = t.do("r", "add.u32", self.to_x, shape.x_bytes)
            self.pass_bytes = self.pass_rows * shape.row_bytes
        else:  # 8 neighbours have the 8 rows of a block
            chunk = t.do("r", "and.b32", t.do("r", "shr.u32", tid, 3), chunks - 1)
            block = t.do("r", "shr.u32", tid, 3 + chunks.bit_length() - 1)
            row = t.do("r", "mad.lo.u32", block, 8, t.do("r", "and.b32", tid, 7))
            place = t.do("r", "mad.lo.u32", row, 16, local)
            self.to_x = t.do("r", "mad.lo.u32", chunk, 16 * shape.rows, place)
            self.to_w = t.do("r", "mad.lo.u32", chunk, 16 * shape.columns, t.do("r", "add.u32", place, shape.x_bytes))
            self.pass_bytes = self.pass_rows * 16
        assert shape.rows % self.pass_rows == 0 and shape.columns % self.pass_rows == 0, shape
        self.from_x = self.sources(a["x"], a["x_stride"], a["m"], first_m, shape.rows, row, chunk)
        self.from_w = self.sources(a["w"], a["w_stride"], a["n"], first_n, shape.columns, row, chunk)
        # bytes of the row that are left at this work-item's chunk
        self.left = t.do("r", "sub.s32", t.do("r", "shl.b32", a["k"], 1), t.do("r", "shl.b32", chunk, 4))
        self.stage = t.do("r", "mov.u32", 0)

    def sources(self, base, stride, rows, first, tile_rows, row, chunk):
        """Rows behind the last are read as the last: their products are not stored."""
        t, result = self.t, []
        last = t.do("r", "sub.u32", rows, 1)
        chunk_bytes = t.do("d", "mul.wide.u32", chunk, 16)
        stride_bytes = t.do("r", "shl.b32", stride, 1)
        for i in range(tile_rows // self.pass_rows):
            r = t.do("r", "add.u32", t.do("r", "add.u32", first, row), i * self.pass_rows)
            r = t.do("r", "min.u32", r, last)
            offset = t.do("d", "mad.wide.u32", r, stride_bytes, chunk_bytes)
            result.append(t.do("d", "add.u64", base, offset))
        return result

    def issue(self, wanted):
        """The next slice into the next stage, where the predicate holds; one group of copies either way."""
        t, shape = self.t, self.shape
        size = t.do("r", "min.s32", t.do("r", "max.s32", self.left, 0), 16)
        for to, sources in ((self.to_x, self.from_x), (self.to_w, self.from_w)):
            to = t.do("r", "add.u32", to, self.stage) if shape.stages > 1 else to
            for i, source in enumerate(sources):
                t.op(f"@{wanted} cp.async.cg.shared.global [{to}+{i * self.pass_bytes}], [{source}], 16, {size}")
                t.op(f"add.u64 {source}, {source}, {shape.row_bytes}")
        t.op("cp.async.commit_group")
        t.op(f"sub.s32 {self.left}, {self.left}, {shape.row_bytes}")
        if shape.stages > 1:
            advance(t, self.stage, shape.stage_bytes, shape.stages)


def advance(t, register, step, count):
    t.op(f"add.u32 {register}, {register}, {step}")
    t.op(f"selp.b32 {register}, 0, {register}, {t.test('eq.u32', register, step * count)}")


class Sums:
    """The sums of a warpgroup, and the multiplication of one slice."""
    MODES = {0: 0, 128: 1, 64: 2}

    def __init__(self, t, shape, kind, local, warpgroup):
        self.t, self.shape, self.kind = t, shape, kind
        self.f = [[t.do("f", "mov.f32", "0f00000000") for _ in range(shape.columns // 2)] for _ in range(shape.blocks)]
        if shape.swizzle:
            self.block, self.step = 64 * shape.row_bytes, 32
            leads, stride = (1, 1), 8 * shape.row_bytes
        else:
            self.block, self.step = 64 * 16, None
            leads, stride = (shape.rows, shape.columns), 128
        self.leads = leads
        self.high = stride >> 4 | self.MODES[shape.swizzle] << 30
        base = t.do("r", "shr.u32", local, 4)
        own = t.do("r", "mad.lo.u32", warpgroup, shape.blocks * self.block >> 4, base) if shape.group > 128 else base
        self.x = t.do("r", "or.b32", own, leads[0] << 16)
        self.w = t.do("r", "add.u32", base, (shape.x_bytes >> 4) + (leads[1] << 16))
        self.stage, self.adds = t.do("r", "mov.u32", 0), t.test("eq.u32", base, base)

    def multiply(self):
        t, shape = self.t, self.shape
        x, w = (t.do("r", "add.u32", b, self.stage) if shape.stages > 1 else b for b in (self.x, self.w))
        t.op("wgmma.fence.sync.aligned")
        for k in range(shape.slice // 16):
            steps = [self.step * k >> 4 if self.step else 2 * k * lead for lead in self.leads]
            wd = self.descriptor(w, steps[1])
            for b in range(shape.blocks):
                xd = self.descriptor(x, steps[0] + (b * self.block >> 4))
                t.op(f"wgmma.mma_async.sync.aligned.m64n{shape.columns}k16.f32.{self.kind}.{self.kind} "
                     f"{{{', '.join(self.f[b])}}}, {xd}, {wd}, {self.adds}, 1, 1, 0, 0")
        t.op("wgmma.commit_group.sync.aligned")
        if shape.stages > 1:
            advance(t, self.stage, shape.stage_bytes >> 4, shape.stages)

    def descriptor(self, low, step):
        low = self.t.do("r", "add.u32", low, step) if step else low
        return self.t.do("d", "mov.b64", f"{{{low}, {self.high}}}")


def wait_sums(t, pending):
    t.op(f"wgmma.wait_group.sync.aligned {pending}")


def loop_async(t, shape, a, sums, copies, slices):
    """Multiplies all slices. A stage is filled again once every warp has multiplied what it held; with lag 1 the next slice is
    being multiplied meanwhile."""
    ahead = max(shape.stages - 1, 1)
    for i in range(ahead):
        copies.issue(t.test("gt.u32", slices, i))
    now, again, done = t.do("r", "mov.u32", ahead), t.label("slice"), t.label("done")
    left = t.do("r", "mov.u32", slices)
    t.op(f"@{t.test('eq.u32', slices, 0)} bra {done}")
    t.at(again)
    t.op(f"cp.async.wait_group {ahead - 1}")
    if shape.stages > 1 and shape.lag == 0:
        wait_sums(t, 0)
    t.op("fence.proxy.async.shared::cta")
    t.op("bar.sync 0")
    sums.multiply()
    if shape.stages == 1 or shape.lag:
        wait_sums(t, shape.lag)
        t.op("bar.sync 0")
    copies.issue(t.test("lt.u32", now, slices))
    t.op(f"add.u32 {now}, {now}, 1")
    t.op(f"sub.u32 {left}, {left}, 1")
    t.op(f"@{t.test('ne.u32', left, 0)} bra {again}")
    t.at(done)
    wait_sums(t, 0)
    t.op("cp.async.wait_group 0")


def wait_barrier(t, barrier, phase):
    again, ready = t.label("wait"), t.new("p")
    t.at(again)
    t.op(f"mbarrier.try_wait.parity.shared::cta.b64 {ready}, [{barrier}], {phase}")
    t.op(f"@!{ready} bra {again}")


class Tensors:
    """Slices into local memory by the tensor copy engine. Each stage has a barrier `full`, which counts bytes, and a barrier
    `empty`, on which every warp of every group that shares the slice arrives when it has multiplied it."""

    def __init__(self, t, shape, a, tid, local, barriers, first_m, first_n):
        self.t, self.shape, self.local, self.barriers = t, shape, local, barriers
        self.map_x = t.do("d", "cvta.global.u64", a["x"])
        self.map_w = t.do("d", "add.u64", self.map_x, 128)
        self.first_m, self.leads = first_m, t.test("eq.u32", tid, 0)
        self.first_n, self.to_w, self.rank = first_n, t.do("r", "add.u32", local, shape.x_bytes), None
        if shape.cluster > 1:  # each brings its share of the rows of w to all
            share = shape.columns // shape.cluster
            self.rank = t.do("r", "mov.u32", "%cluster_ctarank")
            self.first_n = t.do("r", "mad.lo.u32", self.rank, share, first_n)
            self.to_w = t.do("r", "mad.lo.u32", self.rank, share * shape.row_bytes, self.to_w)
        self.elected = t.test("eq.u32", t.do("r", "and.b32", tid, 31), 0)
        self.column, self.stage, self.number = (t.do("r", "mov.u32", 0) for _ in range(3))
        ready = t.label("ready")
        t.op(f"@!{self.leads} bra {ready}")
        for s in range(shape.stages):
            t.op(f"mbarrier.init.shared::cta.b64 [{barriers}+{8 * s}], 1")
            t.op(f"mbarrier.init.shared::cta.b64 [{barriers}+{8 * (shape.stages + s)}], {shape.group // 32 * shape.cluster}")
        t.op("fence.mbarrier_init.release.cluster")
        t.op("fence.proxy.async")
        for m in (self.map_x, self.map_w):
            t.op(f"fence.proxy.tensormap::generic.acquire.gpu [{m}], 128")
        t.at(ready)
        t.op("bar.warp.sync 0xffffffff")
        self.meet()

    def meet(self):
        if self.shape.cluster > 1:
            self.t.op("barrier.cluster.arrive.release.aligned")
            self.t.op("barrier.cluster.wait.acquire.aligned")
        else:
            self.t.op("bar.sync 0")

    def issue(self):
        """The next slice into the next stage, by the work-item that leads."""
        t, shape = self.t, self.shape
        barrier = t.do("r", "mad.lo.u32", self.number, 8, self.barriers)
        t.op(f"mbarrier.arrive.expect_tx.shared::cta.b64 _, [{barrier}], {shape.stage_bytes}")
        copy = "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        to_x, to_w = t.do("r", "add.u32", self.local, self.stage), t.do("r", "add.u32", self.to_w, self.stage)
        t.op(f"{copy} [{to_x}], [{self.map_x}, {{{self.column}, {self.first_m}}}], [{barrier}]")
        many, mask = (".multicast::cluster", f", {t.do('h', 'mov.b16', (1 << shape.cluster) - 1)}") if shape.cluster > 1 else ("", "")
        t.op(f"{copy}{many} [{to_w}], [{self.map_w}, {{{self.column}, {self.first_n}}}], [{barrier}]{mask}")
        t.op(f"add.u32 {self.column}, {self.column}, {shape.slice}")
        advance(t, self.stage, shape.stage_bytes, shape.stages)
        advance(t, self.number, 1, shape.stages)

    def release(self, number):
        """This warp has multiplied what the stage held."""
        t, shape = self.t, self.shape
        barrier = t.do("r", "mad.lo.u32", number, 8, t.do("r", "add.u32", self.barriers, 8 * shape.stages))
        for rank in range(shape.cluster):
            if shape.cluster == 1:
                t.op(f"@{self.elected} mbarrier.arrive.shared::cta.b64 _, [{barrier}]")
            else:
                there = t.do("r", "mapa.shared::cluster.u32", barrier, rank)
                t.op(f"@{self.elected} mbarrier.arrive.release.cluster.shared::cluster.b64 _, [{there}]")
        return barrier


def loop_tensor(t, shape, a, sums, tensors, slices):
    for i in range(shape.stages):
        over = t.label("first")
        wanted = t.new("p")
        t.op(f"setp.gt.and.u32 {wanted}, {slices}, {i}, {tensors.leads}")
        t.op(f"@!{wanted} bra {over}")
        tensors.issue()
        t.at(over)
    t.op("bar.warp.sync 0xffffffff")
    again, done = t.label("slice"), t.label("done")
    now, number, phase = (t.do("r", "mov.u32", 0) for _ in range(3))
    freed, freed_phase = (t.do("r", "mov.u32", 0) for _ in range(2))
    t.op(f"@{t.test('eq.u32', slices, 0)} bra {done}")
    t.at(again)
    wait_barrier(t, t.do("r", "mad.lo.u32", number, 8, tensors.barriers), phase)
    sums.multiply()
    wait_sums(t, shape.lag)
    keep = t.label("keep")
    if shape.lag:
        t.op(f"@{t.test('lt.u32', now, shape.lag)} bra {keep}")
    empty = tensors.release(freed)
    more = t.new("p")
    following = t.do("r", "add.u32", now, shape.stages - shape.lag)
    t.op(f"setp.lt.and.u32 {more}, {following}, {slices}, {tensors.leads}")
    over = t.label("over")
    t.op(f"@!{more} bra {over}")
    wait_barrier(t, empty, freed_phase)
    tensors.issue()
    t.at(over)
    t.op("bar.warp.sync 0xffffffff")
    advance_phase(t, freed, freed_phase, shape.stages)
    if shape.lag:
        t.at(keep)
    advance_phase(t, number, phase, shape.stages)
    t.op(f"add.u32 {now}, {now}, 1")
    t.op(f"@{t.test('lt.u32', now, slices)} bra {again}")
    t.at(done)
    wait_sums(t, 0)
    if shape.cluster > 1:
        tensors.meet()  # no group ends while another may still write to it


def advance_phase(t, number, phase, stages):
    t.op(f"add.u32 {number}, {number}, 1")
    wraps = t.test("eq.u32", number, stages)
    t.op(f"selp.b32 {number}, 0, {number}, {wraps}")
    t.op(f"@{wraps} xor.b32 {phase}, {phase}, 1")


def halves(t, kind, word):
    """Two float32 of a word of two float16 or bfloat16."""
    if kind == "bf16":
        low, high = t.do("r", "shl.b32", word, 16), t.do("r", "and.b32", word, "0xffff0000")
        return t.do("f", "mov.b32", low), t.do("f", "mov.b32", high)
    low, high = t.new("h"), t.new("h")
    t.op(f"mov.b32 {{{low}, {high}}}, {word}")
    return t.do("f", "cvt.f32.f16", low), t.do("f", "cvt.f32.f16", high)


def load_pair(t, kind, address, offset, wanted):
    """Two neighbours, where the predicate holds; otherwise not defined."""
    if kind == "f32":
        a, b = t.new("f"), t.new("f")
        t.op(f"@{wanted} ld.global.v2.f32 {{{a}, {b}}}, [{address}+{offset}]")
        return a, b
    word = t.new("r")
    t.op(f"@{wanted} ld.global.b32 {word}, [{address}+{offset}]")
    return halves(t, kind, word)


def add_bias(t, shape, a, sums, tid, local, first_n):
    """By way of local memory, which the slices no longer use: a row of float32."""
    over = t.label("no_bias")
    t.op(f"@{t.test('eq.u32', a['bias_type'], 0)} bra {over}")
    t.op("bar.sync 0")
    to = t.do("r", "mad.lo.u32", tid, 4, local)
    for first in range(0, shape.columns, shape.group):
        at = t.do("r", "add.u32", tid, first)
        column, value = t.do("r", "add.u32", at, first_n), t.do("f", "mov.f32", "0f00000000")
        inside, wide, wanted = t.test("lt.u32", column, a["n"]), t.test("eq.u32", a["bias_type"], 1), t.new("p")
        t.op(f"and.pred {wanted}, {inside}, {wide}")
        t.op(f"@{wanted} ld.global.f32 {value}, [{t.do('d', 'mad.wide.u32', column, 4, a['bias'])}]")
        half, word = t.do("h", "mov.b16", 0), t.new("r")
        narrow = t.new("p")
        t.op(f"and.pred {narrow}, {inside}, !{wide}")
        t.op(f"@{narrow} ld.global.b16 {half}, [{t.do('d', 'mad.wide.u32', column, 2, a['bias'])}]")
        t.op(f"mov.b32 {word}, {{{half}, {half}}}")
        is_f16 = t.test("eq.u32", a["bias_type"], 2)
        t.op(f"@{is_f16} cvt.f32.f16 {value}, {half}")
        is_bf16 = t.test("eq.u32", a["bias_type"], 3)
        t.op(f"@{is_bf16} and.b32 {word}, {word}, 0xffff0000")
        t.op(f"@{is_bf16} mov.b32 {value}, {word}")
        t.op(f"@{t.test('lt.u32', at, shape.columns)} st.shared.f32 [{to}+{4 * first}], {value}")
    t.op("bar.sync 0")
    own = t.do("r", "mad.lo.u32", t.do("r", "and.b32", tid, 3), 8, local)
    for j in range(shape.columns // 8):
        pair = t.new("f"), t.new("f")
        t.op(f"ld.shared.v2.f32 {{{pair[0]}, {pair[1]}}}, [{own}+{32 * j}]")
        for block in sums.f:
            for i in range(4):
                t.op(f"add.f32 {block[4 * j + i]}, {block[4 * j + i]}, {pair[i % 2]}")
    t.at(over)


def store_sums(t, shape, a, sums, y_type, tid, local, first_m, first_n):
    """y = bias + factor sums, or y += that. A work-item has rows l / 4 and l / 4 + 8 of its warp's 16 in each block, and columns
    2 (l % 4) + 8 j and the one behind."""
    size, pairs = SIZES[y_type], shape.columns // 8
    column = t.do("r", "mad.lo.u32", t.do("r", "and.b32", tid, 3), 2, first_n)
    row = t.do("r", "and.b32", t.do("r", "shr.u32", tid, 2), 7)
    warp = t.do("r", "and.b32", t.do("r", "shr.u32", tid, 5), 3)
    row = t.do("r", "mad.lo.u32", warp, 16, row)
    row = t.do("r", "mad.lo.u32", t.do("r", "shr.u32", tid, 7), 64 * shape.blocks, row)
    row = t.do("r", "add.u32", row, first_m)
    room = t.do("r", "sub.s32", a["n"], column)
    for f in (f for block in sums.f for f in block):
        t.op(f"mul.f32 {f}, {f}, {a['factor']}")
    add_bias(t, shape, a, sums, tid, local, first_n)
    stride = t.do("d", "mul.wide.u32", a["y_stride"], size)
    address = t.do("d", "mad.wide.u32", column, size, a["y"])
    wide_row = t.do("d", "cvt.u64.u32", row)
    address = t.do("d", "mad.lo.u64", wide_row, stride, address)
    step8, step56 = t.do("d", "shl.b64", stride, 3), t.do("d", "mul.lo.u64", stride, 56)
    adds = t.test("ne.u32", a["adds"], 0)
    for b, block in enumerate(sums.f):
        for half in range(2):
            inside = t.test("lt.u32", t.do("r", "add.u32", row, 64 * b + 8 * half), a["m"])
            here = t.do("r", "selp.b32", room, 0, inside)
            for first in range(0, pairs, 8):  # branches, so that the loads of few pairs take registers at a time
                few, plain = range(first, min(first + 8, pairs)), t.label("plain")
                t.op(f"@!{adds} bra {plain}")
                for j in few:
                    pair = load_pair(t, y_type, address, 8 * j * size, t.test("gt.s32", here, 8 * j))
                    for i in range(2):
                        f = block[4 * j + 2 * half + i]
                        t.op(f"add.f32 {f}, {f}, {pair[i]}")
                t.at(plain)
                for j in few:
                    wanted = t.test("gt.s32", here, 8 * j)
                    low, high = block[4 * j + 2 * half], block[4 * j + 2 * half + 1]
                    if y_type == "f32":
                        t.op(f"@{wanted} st.global.v2.f32 [{address}+{8 * j * size}], {{{low}, {high}}}")
                    else:
                        word = t.do("r", f"cvt.rn.{y_type}x2.f32", high, low)
                        t.op(f"@{wanted} st.global.b32 [{address}+{8 * j * size}], {word}")
            if b + half < len(sums.f):
                t.op(f"add.u64 {address}, {address}, {step56 if half else step8}")


def declare(name, group, values, groups=None, cluster=1):
    listed = ",\n".join(f"    .param .{kind} {'.ptr .global .align 16 ' if kind == 'u64' else ''}{n}" for kind, n in values)
    limits = f".reqntid {group}, 1, 1\n" + (f".minnctapersm {groups}\n" if groups else "")
    return f".visible .entry {name}(\n{listed})\n{limits}" + (f".reqnctapercluster {cluster}, 1, 1\n" if cluster > 1 else "")


def gemm(shape, y_type, kind):
    t = Text()
    barriers = 16 * shape.stages if shape.copy == "tensor" else 0
    local_bytes = shape.stages * shape.stage_bytes
    t.lines.append(f"    .shared .align 1024 .b8 slices[{local_bytes + barriers}];")
    a = parameters(t)
    first_m, first_n = place_tile(t, shape, a)
    tid = t.do("r", "mov.u32", "%tid.x")
    local = t.do("r", "mov.u32", "slices")
    slices = t.do("r", "div.u32", t.do("r", "add.u32", a["k"], shape.slice - 1), shape.slice)
    if shape.copy == "tensor":
        source = Tensors(t, shape, a, tid, local, t.do("r", "add.u32", local, local_bytes), first_m, first_n)
    else:
        source = Copies(t, shape, a, tid, local, first_m, first_n)
    sums = Sums(t, shape, kind, local, t.do("r", "shr.u32", tid, 7))
    (loop_tensor if shape.copy == "tensor" else loop_async)(t, shape, a, sums, source, slices)
    store_sums(t, shape, a, sums, y_type, tid, local, first_m, first_n)
    t.op("ret")
    return declare(f"gemm_{y_type}_{kind}", shape.group, PARAMETERS, shape.groups, shape.cluster) + "{\n" + t.body() + "\n}\n"


def tensor_maps(shape):
    """Writes the tensor maps of x and w, rank 2, from zeros."""
    values = [("u64", "x"), ("u64", "w"), ("u64", "maps")] + [("u32", n) for n in ("m", "n", "k", "x_stride", "w_stride", "kind")]
    t = Text()
    t.lines.append("    .shared .align 128 .b8 made[256];")
    a = {n: t.do("d" if kind == "u64" else "r", f"ld.param.{kind}", f"[{n}]") for kind, n in values}
    tid, made = t.do("r", "mov.u32", "%tid.x"), t.do("r", "mov.u32", "made")
    own = t.do("r", "mad.lo.u32", tid, 4, made)
    for i in range(2):
        t.op(f"st.shared.u32 [{own}+{128 * i}], 0")
    t.op("bar.sync 0")
    over = t.label("over")
    t.op(f"@{t.test('ne.u32', tid, 0)} bra {over}")
    for i, (base, rows, stride, box) in enumerate((("x", "m", "x_stride", shape.rows), ("w", "n", "w_stride", shape.columns // shape.cluster))):
        at = t.do("r", "add.u32", made, 128 * i)
        field = lambda name, kind, *values: t.op(f"tensormap.replace.tile.{name}.shared::cta.b1024.{kind} [{at}], " + ", ".join(map(str, values)))
        field("global_address", "b64", t.do("d", "cvta.global.u64", a[base]))
        field("rank", "b32", 1)
        for d, (extent, length) in enumerate(((a["k"], shape.slice), (a[rows], box))):
            field("box_dim", "b32", d, length)
            field("global_dim", "b32", d, extent)
            field("element_stride", "b32", d, 1)
        field("global_stride", "b64", 0, t.do("d", "mul.wide.u32", a[stride], 2))
        kind, bf16 = t.test("eq.u32", a["kind"], 3), t.label("bf16")
        field("elemtype", "b32", 6)
        t.op(f"@!{kind} bra {bf16}")
        field("elemtype", "b32", 10)
        t.at(bf16)
        field("interleave_layout", "b32", 0)
        field("swizzle_mode", "b32", {64: 2, 128: 3}[shape.swizzle])
        field("fill_mode", "b32", 0)
    t.at(over)
    t.op("bar.sync 0")
    maps = t.do("d", "cvta.global.u64", a["maps"])
    for i in range(2):
        t.op(f"tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [{maps}+{128 * i}], "
             f"[{t.do('r', 'add.u32', made, 128 * i)}], 128")
    t.op("ret")
    return declare("tensor_maps", 32, values) + "{\n" + t.body() + "\n}\n"


def module(shape, y_types=("f32", "f16", "bf16"), kinds=("f16", "bf16")):
    shape.check()
    entries = [tensor_maps(shape)] if shape.copy == "tensor" else []
    entries += [gemm(shape, y, k) for y in y_types for k in kinds]
    return f".version {PTX_VERSION}\n.target sm_90a\n.address_size 64\n\n" + "\n".join(entries)


SHAPES = {"gemm_wgmma": Shape()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    folder = parser.parse_args().out
    os.makedirs(folder, exist_ok=True)
    for name, shape in SHAPES.items():
        with open(os.path.join(folder, name + ".ptx"), "w", encoding="utf-8") as f:
            f.write(module(shape))


if __name__ == "__main__":
    main()
