#!/usr/bin/env python3
"""Writes kernel gemm's variant _wgmma, y = bias + factor x w^T on the matrix units of NVIDIA's sm_90a, as PTX text: OpenCL C has
no way to say wgmma, but the driver's OpenCL takes such text by clCreateProgramWithBinary. Used by generate_kernels.py.

There is a module for each storage type of y (f32, f16, bf16) and of x and w (f16, bf16), with two entries of equal parameters:
those that generate_kernels.py gives kernels in OpenCL C (each buffer and its offset in bytes, then the scalars as one struct), then

  maps        a buffer of two tensor maps, for x and w: 128 bytes each, at a multiple of 128
  bias_type   u32: 1 float32, 2 float16, 3 bfloat16; bias is not read where has_bias is 0

tensor_maps writes the maps, in one work-group of 32 work-items; gemm_wgmma reads them. It has as many work-groups as there are
tiles, each of which computes one.

How a tile is computed: slices of SLICE columns of x and w come into STAGES buffers of local memory by the tensor copy engine
(columns behind k, rows behind m become zeros, whatever padding holds). A warpgroup of 128 work-items multiplies them from there, the
sums stay in registers. OpenCL gives a group 48 KiB of local memory at most, so several groups share a multiprocessor: one
multiplies while the others wait. Measured on an H200 with one stage: three groups with tiles of 128 x 128 are 4 to 5 % faster than
two with tiles of 128 x 192; slices by cp.async are slower; clusters of groups, which would share slices of w, end the context.

Layout of local memory: rows of a slice one behind the other, 64 or 128 bytes each; chunk c of 16 bytes of row r lies at chunk
c xor (r / 2 % 4) or c xor (r % 8) of the row (the swizzle of that many bytes).

Bound: as that of gemm_cm: nothing is rounded before the sums, whose additions may cut instead of rounding: 4 k * 2^-24 * sum |x||w|,
then one rounding to the storage type.
"""
import dataclasses

PTX_VERSION = "8.6"  # with which it was measured; before 8.5 strides of tensormap.replace may count in 16 bytes
LOCAL_LIMIT = 48 * 1024
SIZES = {"f32": 4, "f16": 2, "bf16": 2}
Y_TYPES, X_TYPES = ("f32", "f16", "bf16"), ("f16", "bf16")


@dataclasses.dataclass(frozen=True)
class Shape:
    rows: int = 128        # of y in a tile: of x
    columns: int = 128     # of y in a tile: rows of w
    slice: int = 64        # columns of x and w at a time
    stages: int = 1
    group: int = 128       # work-items: warpgroups of 128, one below the other
    groups: int = 3        # that share a multiprocessor: limits the registers
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
        assert self.row_bytes in (64, 128), self
        assert self.stages * (self.stage_bytes + 16) <= LOCAL_LIMIT, self
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


SCALARS = {"u32": ("r", "u32"), "i32": ("r", "s32"), "f32": ("f", "f32")}  # registers and types of loads


def declare(kernel, name, group, groups=None):
    """The head of an entry; kernel: the row of kernels.def."""
    values = [f".u64 {part}" for b in kernel.buffers for part in (f".ptr .global .align 16 {b[0]}", f"{b[0]}_offset")]
    values += [f".align 4 .b8 scalars[{4 * len(kernel.scalars)}]", ".u64 .ptr .global .align 128 maps", ".u32 bias_type"]
    limits = f".reqntid {group}, 1, 1\n" + (f".minnctapersm {groups}\n" if groups else "")
    return f".visible .entry {name}(\n" + ",\n".join("    .param " + v for v in values) + f")\n{limits}"


def load_parameters(t, kernel, wanted):
    """Those parameters of an entry in registers: of buffers the addresses of their views."""
    values = {}
    for b in kernel.buffers:
        if b[0] in wanted:
            offset = t.do("d", "ld.param.u64", f"[{b[0]}_offset]")
            values[b[0]] = t.do("d", "add.u64", t.do("d", "ld.param.u64", f"[{b[0]}]"), offset)
    for i, (kind, name) in enumerate(kernel.scalars):
        if name in wanted:
            values[name] = t.do(SCALARS[kind][0], f"ld.param.{SCALARS[kind][1]}", f"[scalars+{4 * i}]")
    values["maps"] = t.do("d", "cvta.global.u64", t.do("d", "ld.param.u64", "[maps]"))
    values["bias_type"] = t.do("r", "ld.param.u32", "[bias_type]")
    return values


def place_tile(t, shape, a):
    """First row and first column of this group's tile; ends the group where the tile is not wanted."""
    group = t.do("r", "mov.u32", "%ctaid.x")
    tiles_n = t.do("r", "div.u32", t.do("r", "add.u32", a["n"], shape.columns - 1), shape.columns)
    tiles_m = t.do("r", "div.u32", t.do("r", "add.u32", a["m"], shape.rows - 1), shape.rows)
    a_band = t.do("r", "mul.lo.u32", tiles_n, shape.band)
    band = t.do("r", "div.u32", group, a_band)
    rest = t.do("r", "rem.u32", group, a_band)
    top = t.do("r", "mul.lo.u32", band, shape.band)
    height = t.do("r", "min.u32", t.do("r", "sub.u32", tiles_m, top), shape.band)
    column = t.do("r", "div.u32", rest, height)
    row = t.do("r", "add.u32", top, t.do("r", "rem.u32", rest, height))
    first_m, first_n = t.do("r", "mul.lo.u32", row, shape.rows), t.do("r", "mul.lo.u32", column, shape.columns)
    last = t.do("r", "add.s32", t.do("r", "add.u32", first_m, shape.rows), a["diagonal"])
    above = t.test("ge.s32", first_n, last)
    unwanted = t.new("p")
    t.op(f"setp.ne.and.u32 {unwanted}, {a['lower']}, 0, {above}")
    t.op(f"@{unwanted} ret")
    return first_m, first_n


def advance(t, register, step, count):
    t.op(f"add.u32 {register}, {register}, {step}")
    t.op(f"selp.b32 {register}, 0, {register}, {t.test('eq.u32', register, step * count)}")


class Sums:
    """The sums of a warpgroup, and the multiplication of one slice."""
    SWIZZLES = {128: 1, 64: 2}

    def __init__(self, t, shape, kind, local, warpgroup):
        self.t, self.shape, self.kind = t, shape, kind
        self.f = [[t.do("f", "mov.f32", "0f00000000") for _ in range(shape.columns // 2)] for _ in range(shape.blocks)]
        self.block = 64 * shape.row_bytes
        self.high = 8 * shape.row_bytes >> 4 | self.SWIZZLES[shape.row_bytes] << 30  # of the descriptors of x and w
        base = t.do("r", "shr.u32", local, 4)
        own = t.do("r", "mad.lo.u32", warpgroup, shape.blocks * self.block >> 4, base) if shape.group > 128 else base
        self.x = t.do("r", "or.b32", own, 1 << 16)
        self.w = t.do("r", "add.u32", base, (shape.x_bytes >> 4) + (1 << 16))
        self.stage, self.adds = t.do("r", "mov.u32", 0), t.test("eq.u32", base, base)

    def multiply(self):
        t, shape = self.t, self.shape
        x, w = (t.do("r", "add.u32", b, self.stage) if shape.stages > 1 else b for b in (self.x, self.w))
        t.op("wgmma.fence.sync.aligned")
        for k in range(shape.slice // 16):
            wd = self.descriptor(w, 2 * k)
            for b in range(shape.blocks):
                xd = self.descriptor(x, 2 * k + (b * self.block >> 4))
                t.op(f"wgmma.mma_async.sync.aligned.m64n{shape.columns}k16.f32.{self.kind}.{self.kind} "
                     f"{{{', '.join(self.f[b])}}}, {xd}, {wd}, {self.adds}, 1, 1, 0, 0")
        t.op("wgmma.commit_group.sync.aligned")
        if shape.stages > 1:
            advance(t, self.stage, shape.stage_bytes >> 4, shape.stages)

    def descriptor(self, low, step):
        low = self.t.do("r", "add.u32", low, step) if step else low
        return self.t.do("d", "mov.b64", f"{{{low}, {self.high}}}")


def wait_barrier(t, barrier, phase):
    again, ready = t.label("wait"), t.new("p")
    t.at(again)
    t.op(f"mbarrier.try_wait.parity.shared::cta.b64 {ready}, [{barrier}], {phase}")
    t.op(f"@!{ready} bra {again}")


class Tensors:
    """Slices into local memory by the tensor copy engine. Each stage has a barrier `full`, which counts bytes, and a barrier
    `empty`, on which every warp arrives when it has multiplied the slice."""

    def __init__(self, t, shape, a, tid, local, barriers, first_m, first_n):
        self.t, self.shape, self.local, self.barriers = t, shape, local, barriers
        self.map_x = a["maps"]
        self.map_w = t.do("d", "add.u64", self.map_x, 128)
        self.first_m, self.leads = first_m, t.test("eq.u32", tid, 0)
        self.first_n, self.to_w = first_n, t.do("r", "add.u32", local, shape.x_bytes)
        self.elected = t.test("eq.u32", t.do("r", "and.b32", tid, 31), 0)
        self.column, self.stage, self.number = (t.do("r", "mov.u32", 0) for _ in range(3))
        ready = t.label("ready")
        t.op(f"@!{self.leads} bra {ready}")
        for s in range(shape.stages):
            t.op(f"mbarrier.init.shared::cta.b64 [{barriers}+{8 * s}], 1")
            t.op(f"mbarrier.init.shared::cta.b64 [{barriers}+{8 * (shape.stages + s)}], {shape.group // 32}")
        t.op("fence.mbarrier_init.release.cluster")
        t.op("fence.proxy.async")
        for m in (self.map_x, self.map_w):
            t.op(f"fence.proxy.tensormap::generic.acquire.gpu [{m}], 128")
        t.at(ready)
        t.op("bar.warp.sync 0xffffffff")
        t.op("bar.sync 0")

    def issue(self):
        """The next slice into the next stage, by the work-item that leads."""
        t, shape = self.t, self.shape
        barrier = t.do("r", "mad.lo.u32", self.number, 8, self.barriers)
        t.op(f"mbarrier.arrive.expect_tx.shared::cta.b64 _, [{barrier}], {shape.stage_bytes}")
        copy = "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        to_x, to_w = t.do("r", "add.u32", self.local, self.stage), t.do("r", "add.u32", self.to_w, self.stage)
        t.op(f"{copy} [{to_x}], [{self.map_x}, {{{self.column}, {self.first_m}}}], [{barrier}]")
        t.op(f"{copy} [{to_w}], [{self.map_w}, {{{self.column}, {self.first_n}}}], [{barrier}]")
        t.op(f"add.u32 {self.column}, {self.column}, {shape.slice}")
        advance(t, self.stage, shape.stage_bytes, shape.stages)
        advance(t, self.number, 1, shape.stages)

    def release(self, number):
        """This warp has multiplied what the stage held."""
        t, shape = self.t, self.shape
        barrier = t.do("r", "mad.lo.u32", number, 8, t.do("r", "add.u32", self.barriers, 8 * shape.stages))
        t.op(f"@{self.elected} mbarrier.arrive.shared::cta.b64 _, [{barrier}]")
        return barrier


def loop(t, shape, sums, tensors, slices):
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
    t.op(f"@{t.test('eq.u32', slices, 0)} bra {done}")
    t.at(again)
    wait_barrier(t, t.do("r", "mad.lo.u32", number, 8, tensors.barriers), phase)
    sums.multiply()
    t.op("wgmma.wait_group.sync.aligned 0")
    empty = tensors.release(number)
    more = t.new("p")
    following = t.do("r", "add.u32", now, shape.stages)
    t.op(f"setp.lt.and.u32 {more}, {following}, {slices}, {tensors.leads}")
    over = t.label("over")
    t.op(f"@!{more} bra {over}")
    wait_barrier(t, empty, phase)
    tensors.issue()
    t.at(over)
    t.op("bar.warp.sync 0xffffffff")
    advance_phase(t, number, phase, shape.stages)
    t.op(f"add.u32 {now}, {now}, 1")
    t.op(f"@{t.test('lt.u32', now, slices)} bra {again}")
    t.at(done)


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
    t.op(f"@{t.test('eq.u32', a['has_bias'], 0)} bra {over}")
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


def gemm(kernel, shape, y_type, x_type):
    t = Text()
    slice_bytes = shape.stages * shape.stage_bytes
    t.lines.append(f"    .shared .align 1024 .b8 slices[{slice_bytes + 16 * shape.stages}];")  # barriers behind them
    a = load_parameters(t, kernel, {"bias", "y", "m", "n", "k", "y_stride", "has_bias", "adds", "lower", "diagonal", "factor"})
    first_m, first_n = place_tile(t, shape, a)
    tid = t.do("r", "mov.u32", "%tid.x")
    local = t.do("r", "mov.u32", "slices")
    slices = t.do("r", "div.u32", t.do("r", "add.u32", a["k"], shape.slice - 1), shape.slice)
    tensors = Tensors(t, shape, a, tid, local, t.do("r", "add.u32", local, slice_bytes), first_m, first_n)
    sums = Sums(t, shape, x_type, local, t.do("r", "shr.u32", tid, 7))
    loop(t, shape, sums, tensors, slices)
    store_sums(t, shape, a, sums, y_type, tid, local, first_m, first_n)
    t.op("ret")
    return declare(kernel, "gemm_wgmma", shape.group, shape.groups) + "{\n" + t.body() + "\n}\n"


def tensor_maps(kernel, shape, x_type):
    """Writes the tensor maps of x and w, rank 2, from zeros."""
    t = Text()
    t.lines.append("    .shared .align 128 .b8 made[256];")
    a = load_parameters(t, kernel, {"x", "w", "m", "n", "k", "x_stride", "w_stride"})
    tid, made = t.do("r", "mov.u32", "%tid.x"), t.do("r", "mov.u32", "made")
    own = t.do("r", "mad.lo.u32", tid, 4, made)
    for i in range(2):
        t.op(f"st.shared.u32 [{own}+{128 * i}], 0")
    t.op("bar.sync 0")
    over = t.label("over")
    t.op(f"@{t.test('ne.u32', tid, 0)} bra {over}")
    for i, (base, rows, stride, box) in enumerate((("x", "m", "x_stride", shape.rows), ("w", "n", "w_stride", shape.columns))):
        at = t.do("r", "add.u32", made, 128 * i)
        field = lambda name, kind, *values: t.op(f"tensormap.replace.tile.{name}.shared::cta.b1024.{kind} [{at}], " + ", ".join(map(str, values)))
        field("global_address", "b64", t.do("d", "cvta.global.u64", a[base]))
        field("rank", "b32", 1)  # less one
        for d, (extent, length) in enumerate(((a["k"], shape.slice), (a[rows], box))):
            field("box_dim", "b32", d, length)
            field("global_dim", "b32", d, extent)
            field("element_stride", "b32", d, 1)
        field("global_stride", "b64", 0, t.do("d", "mul.wide.u32", a[stride], 2))
        field("elemtype", "b32", {"f16": 6, "bf16": 10}[x_type])
        field("interleave_layout", "b32", 0)
        field("swizzle_mode", "b32", {64: 2, 128: 3}[shape.row_bytes])
        field("fill_mode", "b32", 0)
    t.at(over)
    t.op("bar.sync 0")
    for i in range(2):
        t.op(f"tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [{a['maps']}+{128 * i}], "
             f"[{t.do('r', 'add.u32', made, 128 * i)}], 128")
    t.op("ret")
    return declare(kernel, "tensor_maps", 32) + "{\n" + t.body() + "\n}\n"


def module(kernel, shape, y_type, x_type):
    shape.check()
    head = f".version {PTX_VERSION}\n.target sm_90a\n.address_size 64\n\n"
    return head + tensor_maps(kernel, shape, x_type) + "\n" + gemm(kernel, shape, y_type, x_type)


SHAPES = {"gemm_wgmma": Shape()}  # by kernel and variant
