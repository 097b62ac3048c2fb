#!/usr/bin/env python3
"""Writes the variants _wgmma of kernels gemm, y = bias + factor x w^T, and gemm_int8, the same of 8-bit codes, on the matrix units
of NVIDIA's sm_90a, as PTX text: OpenCL C has no way to say wgmma, but the driver's OpenCL takes such text by
clCreateProgramWithBinary. Used by generate_kernels.py.

There is a module for each storage type of y (f32, f16, bf16) and of x and w (gemm: f16, bf16), with two entries of equal parameters:
those that generate_kernels.py gives kernels in OpenCL C (each buffer and its offset in bytes, then the scalars as one struct), then

  maps        a buffer of two tensor maps, for x and w: 128 bytes each, at a multiple of 128
  bias_type   u32: 1 float32, 2 float16, 3 bfloat16; bias is not read where has_bias is 0

tensor_maps writes the maps, in one work-group of 32 work-items; the other entry, named as the variant is, reads them. It has as many
work-groups as there are tiles, each of which computes one.

How a tile is computed: slices of 128 bytes of rows of x and w come into local memory by the tensor copy engine (columns behind k,
rows behind m become zeros, whatever padding holds). A warpgroup of 128 work-items multiplies them from there, the sums stay in
registers. OpenCL gives a group 48 KiB of local memory at most, so there is room for one slice, and several groups share a
multiprocessor: one multiplies while the others wait. Measured on an H200 in float16: three groups with tiles of 128 x 128 are 4 to
5 % faster than two with tiles of 128 x 192, of 8-bit codes 5 to 8 % (8192 and 4096 a side); slices by cp.async are slower; clusters
of groups, which would share slices of w, end the context.

Layout of local memory: rows of a slice one behind the other; chunk c of 16 bytes of row r lies at chunk c xor (r % 8) of the row (the
swizzle of 128 bytes).

matrix_chain's variants multiply ones from local memory in the same way, without any copies: the limit of such products.

Bound of gemm: as that of gemm_cm: nothing is rounded before the sums, whose additions may cut instead of rounding: 4 k * 2^-24 *
sum |x||w|, then one rounding to the storage type. Sums of gemm_int8 are exact, and what follows is what cl/gemm_int8_dot.cl says.
"""
import dataclasses, struct

PTX_VERSION = "8.6"  # with which it was measured; before 8.5 strides of tensormap.replace may count in 16 bytes
LOCAL_LIMIT = 48 * 1024
ROWS, COLUMNS = 128, 128  # of y in a tile: rows of x and of w
GROUP, GROUPS = 128, 3    # work-items: one warpgroup; groups that share a multiprocessor, which limits the registers
BLOCKS = ROWS // 64       # of 64 rows, which an instruction multiplies
ROW_BYTES = 128           # of a slice
SLICE_BYTES = (ROWS + COLUMNS) * ROW_BYTES
assert COLUMNS == GROUP and SLICE_BYTES + 16 <= LOCAL_LIMIT
BAND = 16                 # tile rows that are walked together
SIZES = {"f32": 4, "f16": 2, "bf16": 2, "i8": 1}
Y_TYPES = ("f32", "f16", "bf16")
X_TYPES = {"gemm": ("f16", "bf16"), "gemm_int8": ("i8",)}


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


def declare(kernel, name, more=(), group=GROUP, groups=None):
    """The head of an entry; kernel: the row of kernels.def; more: parameters behind those of OpenCL C."""
    values = [f".u64 {part}" for b in kernel.buffers for part in (f".ptr .global .align 16 {b[0]}", f"{b[0]}_offset")]
    values += [f".align 4 .b8 scalars[{4 * len(kernel.scalars)}]", *more]
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
    return values


OF_PRODUCTS = (".u64 .ptr .global .align 128 maps", ".u32 bias_type")


def load_product_parameters(t, kernel, wanted):
    values = load_parameters(t, kernel, wanted)
    values["maps"] = t.do("d", "cvta.global.u64", t.do("d", "ld.param.u64", "[maps]"))
    values["bias_type"] = t.do("r", "ld.param.u32", "[bias_type]")
    return values


def place_tile(t, a):
    """First row and first column of this group's tile; ends the group where the tile is not wanted."""
    group = t.do("r", "mov.u32", "%ctaid.x")
    tiles_n = t.do("r", "div.u32", t.do("r", "add.u32", a["n"], COLUMNS - 1), COLUMNS)
    tiles_m = t.do("r", "div.u32", t.do("r", "add.u32", a["m"], ROWS - 1), ROWS)
    a_band = t.do("r", "mul.lo.u32", tiles_n, BAND)
    band = t.do("r", "div.u32", group, a_band)
    rest = t.do("r", "rem.u32", group, a_band)
    top = t.do("r", "mul.lo.u32", band, BAND)
    height = t.do("r", "min.u32", t.do("r", "sub.u32", tiles_m, top), BAND)
    column = t.do("r", "div.u32", rest, height)
    row = t.do("r", "add.u32", top, t.do("r", "rem.u32", rest, height))
    first_m, first_n = t.do("r", "mul.lo.u32", row, ROWS), t.do("r", "mul.lo.u32", column, COLUMNS)
    if "lower" in a:
        last = t.do("r", "add.s32", t.do("r", "add.u32", first_m, ROWS), a["diagonal"])
        above = t.test("ge.s32", first_n, last)
        unwanted = t.new("p")
        t.op(f"setp.ne.and.u32 {unwanted}, {a['lower']}, 0, {above}")
        t.op(f"@{unwanted} ret")
    return first_m, first_n


class Sums:
    """The sums of a warpgroup, and the multiplication of one slice."""
    HIGH = 8 * ROW_BYTES >> 4 | 1 << 30  # of the descriptors of x and w: from 8 rows to the next, the swizzle
    BLOCK = 64 * ROW_BYTES >> 4

    def __init__(self, t, kind, local):
        self.t, self.kind = t, kind
        register, zero = ("r", "0") if kind == "i8" else ("f", "0f00000000")
        self.f = [[t.do(register, "mov.b32", zero) for _ in range(COLUMNS // 2)] for _ in range(BLOCKS)]
        base = t.do("r", "shr.u32", local, 4)
        self.x = t.do("r", "or.b32", base, 1 << 16)
        self.w = t.do("r", "add.u32", base, (ROWS * ROW_BYTES >> 4) + (1 << 16))
        self.adds = t.test("eq.u32", base, base)

    def multiply(self):
        t = self.t
        shape, signs = (f"m64n{COLUMNS}k16.f32.{self.kind}.{self.kind}", ", 1, 1, 0, 0") if self.kind != "i8" else (f"m64n{COLUMNS}k32.s32.s8.s8", "")
        t.op("wgmma.fence.sync.aligned")
        for k in range(ROW_BYTES // 32):
            w = self.descriptor(self.w, 2 * k)
            for b in range(BLOCKS):
                x = self.descriptor(self.x, 2 * k + b * self.BLOCK)
                t.op(f"wgmma.mma_async.sync.aligned.{shape} {{{', '.join(self.f[b])}}}, {x}, {w}, {self.adds}{signs}")
        t.op("wgmma.commit_group.sync.aligned")

    def descriptor(self, low, step):
        low = self.t.do("r", "add.u32", low, step) if step else low
        return self.t.do("d", "mov.b64", f"{{{low}, {self.HIGH}}}")


def wait_barrier(t, barrier, phase):
    again, ready = t.label("wait"), t.new("p")
    t.at(again)
    t.op(f"mbarrier.try_wait.parity.shared::cta.b64 {ready}, [{barrier}], {phase}")
    t.op(f"@!{ready} bra {again}")


class Tensors:
    """Slices into local memory by the tensor copy engine. Barrier `full` counts bytes; on `empty`, 8 bytes behind it, every warp
    arrives when it has multiplied the slice."""

    def __init__(self, t, a, tid, local, full, first_m, first_n, step):
        self.t, self.local, self.full, self.step = t, local, full, step
        self.map_x = a["maps"]
        self.map_w = t.do("d", "add.u64", self.map_x, 128)
        self.first_m, self.leads = first_m, t.test("eq.u32", tid, 0)
        self.first_n, self.to_w = first_n, t.do("r", "add.u32", local, ROWS * ROW_BYTES)
        self.elected = t.test("eq.u32", t.do("r", "and.b32", tid, 31), 0)
        self.column = t.do("r", "mov.u32", 0)
        ready = t.label("ready")
        t.op(f"@!{self.leads} bra {ready}")
        t.op(f"mbarrier.init.shared::cta.b64 [{full}], 1")
        t.op(f"mbarrier.init.shared::cta.b64 [{full}+8], {GROUP // 32}")
        t.op("fence.mbarrier_init.release.cluster")
        t.op("fence.proxy.async")
        for m in (self.map_x, self.map_w):
            t.op(f"fence.proxy.tensormap::generic.acquire.gpu [{m}], 128")
        t.at(ready)
        t.op("bar.warp.sync 0xffffffff")
        t.op("bar.sync 0")

    def issue(self):
        """The next slice, by the work-item that leads."""
        t = self.t
        t.op(f"mbarrier.arrive.expect_tx.shared::cta.b64 _, [{self.full}], {SLICE_BYTES}")
        copy = "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
        t.op(f"{copy} [{self.local}], [{self.map_x}, {{{self.column}, {self.first_m}}}], [{self.full}]")
        t.op(f"{copy} [{self.to_w}], [{self.map_w}, {{{self.column}, {self.first_n}}}], [{self.full}]")
        t.op(f"add.u32 {self.column}, {self.column}, {self.step}")


def loop(t, sums, tensors, k):
    over = t.label("first")
    t.op(f"@!{tensors.leads} bra {over}")
    tensors.issue()
    t.at(over)
    t.op("bar.warp.sync 0xffffffff")
    again, phase = t.label("slice"), t.do("r", "mov.u32", 0)
    first_k = t.do("r", "mov.u32", 0)
    t.at(again)
    wait_barrier(t, tensors.full, phase)
    sums.multiply()
    t.op("wgmma.wait_group.sync.aligned 0")
    t.op(f"@{tensors.elected} mbarrier.arrive.shared::cta.b64 _, [{tensors.full}+8]")
    t.op(f"add.u32 {first_k}, {first_k}, {tensors.step}")
    more, leads = t.test("lt.u32", first_k, k), t.new("p")
    t.op(f"and.pred {leads}, {more}, {tensors.leads}")
    over = t.label("over")
    t.op(f"@!{leads} bra {over}")
    wait_barrier(t, f"{tensors.full}+8", phase)
    tensors.issue()
    t.at(over)
    t.op("bar.warp.sync 0xffffffff")
    t.op(f"xor.b32 {phase}, {phase}, 1")
    t.op(f"@{more} bra {again}")


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


def load_bias(t, a, column, wanted):
    """One element as float32, where the predicate holds; else 0."""
    value, half, word = t.do("f", "mov.f32", "0f00000000"), t.do("h", "mov.b16", 0), t.new("r")
    wide, is_wide, is_narrow = t.test("eq.u32", a["bias_type"], 1), t.new("p"), t.new("p")
    t.op(f"and.pred {is_wide}, {wanted}, {wide}")
    t.op(f"@{is_wide} ld.global.f32 {value}, [{t.do('d', 'mad.wide.u32', column, 4, a['bias'])}]")
    t.op(f"and.pred {is_narrow}, {wanted}, !{wide}")
    t.op(f"@{is_narrow} ld.global.b16 {half}, [{t.do('d', 'mad.wide.u32', column, 2, a['bias'])}]")
    t.op(f"mov.b32 {word}, {{{half}, {half}}}")
    is_f16 = t.test("eq.u32", a["bias_type"], 2)
    t.op(f"@{is_f16} cvt.f32.f16 {value}, {half}")
    is_bf16 = t.test("eq.u32", a["bias_type"], 3)
    t.op(f"@{is_bf16} and.b32 {word}, {word}, 0xffff0000")
    t.op(f"@{is_bf16} mov.b32 {value}, {word}")
    return value


def put_columns(t, a, tid, local, first_n, load):
    """A row of float32 for the tile's columns in local memory, which the slices no longer use; load gives those of a work-item."""
    to = t.do("r", "mad.lo.u32", tid, 4, local)
    column = t.do("r", "add.u32", tid, first_n)
    t.op(f"st.shared.f32 [{to}], {load(column, t.test('lt.u32', column, a['n']))}")


def load_columns(t, own, j, offset=0):
    """Two of such a row; own: address of the work-item's first."""
    pair = t.new("f"), t.new("f")
    t.op(f"ld.shared.v2.f32 {{{pair[0]}, {pair[1]}}}, [{own}+{32 * j + offset}]")
    return pair


def add_bias(t, a, sums, tid, local, first_n):
    over = t.label("no_bias")
    t.op(f"@{t.test('eq.u32', a['has_bias'], 0)} bra {over}")
    t.op("bar.sync 0")
    put_columns(t, a, tid, local, first_n, lambda column, wanted: load_bias(t, a, column, wanted))
    t.op("bar.sync 0")
    own = t.do("r", "mad.lo.u32", t.do("r", "and.b32", tid, 3), 8, local)
    for j in range(COLUMNS // 8):
        pair = load_columns(t, own, j)
        for block in sums.f:
            for i in range(4):
                t.op(f"add.f32 {block[4 * j + i]}, {block[4 * j + i]}, {pair[i % 2]}")
    t.at(over)


def place_sums(t, a, tid, first_m, first_n):
    """First row and first column of a work-item's sums, and columns from there to n."""
    column = t.do("r", "mad.lo.u32", t.do("r", "and.b32", tid, 3), 2, first_n)
    row = t.do("r", "and.b32", t.do("r", "shr.u32", tid, 2), 7)
    row = t.do("r", "mad.lo.u32", t.do("r", "shr.u32", tid, 5), 16, row)
    return t.do("r", "add.u32", row, first_m), column, t.do("r", "sub.s32", a["n"], column)


def store_pair(t, y_type, address, offset, low, high, wanted):
    if y_type == "f32":
        t.op(f"@{wanted} st.global.v2.f32 [{address}+{offset}], {{{low}, {high}}}")
    else:
        t.op(f"@{wanted} st.global.b32 [{address}+{offset}], {t.do('r', f'cvt.rn.{y_type}x2.f32', high, low)}")


def store_sums(t, a, sums, y_type, tid, local, first_m, first_n):
    """y = bias + factor sums, or y += that. A work-item has rows l / 4 and l / 4 + 8 of its warp's 16 in each block, and columns
    2 (l % 4) + 8 j and the one behind."""
    size, pairs = SIZES[y_type], COLUMNS // 8
    row, column, room = place_sums(t, a, tid, first_m, first_n)
    for f in (f for block in sums.f for f in block):
        t.op(f"mul.f32 {f}, {f}, {a['factor']}")
    add_bias(t, a, sums, tid, local, first_n)
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
                    low, high = block[4 * j + 2 * half], block[4 * j + 2 * half + 1]
                    store_pair(t, y_type, address, 8 * j * size, low, high, t.test("gt.s32", here, 8 * j))
            if b + half < len(sums.f):
                t.op(f"add.u64 {address}, {address}, {step56 if half else step8}")


@dataclasses.dataclass(frozen=True)
class Row:
    number: str
    address: str  # of the work-item's first output
    here: str     # columns of y from there on; none of rows behind the last
    x_step: str


def int8_rows(t, a, size, row, column, room, block):
    """A work-item's two rows of a block."""
    out = []
    stride, first = t.do("d", "mul.wide.u32", a["y_stride"], size), t.do("d", "mad.wide.u32", column, size, a["y"])
    for half in range(2):
        r = t.do("r", "add.u32", row, 64 * block + 8 * half)
        inside, x_step = t.test("lt.u32", r, a["m"]), t.do("f", "mov.f32", "0f00000000")
        t.op(f"@{inside} ld.global.f32 {x_step}, [{t.do('d', 'mad.wide.u32', r, 16, a['x_rows'])}]")
        number = t.do("d", "cvt.u64.u32", r)
        out.append(Row(number, t.do("d", "mad.lo.u64", number, stride, first), t.do("r", "selp.b32", room, 0, inside), x_step))
    return out


def int8_outputs(t, sums, steps, x_step, bias):
    """Two outputs of a row, each operation rounded once: .rn keeps a product and a sum from becoming one fma."""
    out = []
    for i in range(2):
        value = t.do("f", "cvt.rn.f32.s32", sums[i])
        for step in (x_step, steps[i]):
            value = t.do("f", "mul.rn.f32", value, step)
        out.append(t.do("f", "add.rn.f32", value, bias[i]))
    return out


def int8_error(t, wants, outputs, here, j):
    """The squared error of the four outputs of two neighbours, and of the four behind them: q0 + q1 or q2 + q3 of loss."""
    squares = []
    for i in range(2):
        d = t.do("f", "sub.rn.f32", wants[i], outputs[i])
        squares.append(t.do("f", "selp.f32", t.do("f", "mul.rn.f32", d, d), "0f00000000", t.test("gt.s32", here, 8 * j + i)))
    error = t.do("f", "add.rn.f32", *squares)
    for distance in (1, 2):
        error = t.do("f", "add.rn.f32", error, t.do("f", "shfl.sync.bfly.b32", error, distance, 31, "0xffffffff"))
    return error


def store_int8(t, a, sums, y_type, tid, local, first_m, first_n):
    """y, or with compares the errors beside y. Work-items have sums as in store_sums."""
    size = SIZES[y_type]
    t.op("bar.sync 0")
    has_bias = t.test("ne.u32", a["has_bias"], 0)

    def step(column, wanted):
        value = t.do("f", "mov.f32", "0f00000000")
        t.op(f"@{wanted} ld.global.f32 {value}, [{t.do('d', 'mad.wide.u32', column, 16, a['w_step'])}]")
        return value

    def bias(column, wanted):
        is_there = t.new("p")
        t.op(f"and.pred {is_there}, {wanted}, {has_bias}")
        return load_bias(t, a, column, is_there)
    put_columns(t, a, tid, local, first_n, step)
    put_columns(t, a, tid, t.do("r", "add.u32", local, 4 * COLUMNS), first_n, bias)
    t.op("bar.sync 0")
    row, column, room = place_sums(t, a, tid, first_m, first_n)
    lane = t.do("r", "and.b32", tid, 3)
    own = t.do("r", "mad.lo.u32", lane, 8, local)
    compares, is_first = t.test("ne.u32", a["compares"], 0), t.test("eq.u32", lane, 0)
    for b in range(BLOCKS):
        rows = int8_rows(t, a, size, row, column, room, b)
        for first in range(0, COLUMNS // 8, 4):  # branches, so that few outputs that are wanted take registers at a time
            few, plain, over, outputs = range(first, first + 4), t.label("plain"), t.label("over"), {}
            for j in few:
                steps, base = load_columns(t, own, j), load_columns(t, own, j, 4 * COLUMNS)
                for half in range(2):
                    outputs[j, half] = int8_outputs(t, sums.f[b][4 * j + 2 * half:], steps, rows[half].x_step, base)
            t.op(f"@!{compares} bra {plain}")
            for half, r in enumerate(rows):
                to = t.do("d", "mad.wide.u32", t.do("r", "shr.u32", first_n, 4), 4, a["loss"])
                to = t.do("d", "mad.lo.u64", r.number, t.do("d", "mul.wide.u32", a["loss_stride"], 4), to)
                for j in few[::2]:
                    halves = []
                    for i in (j, j + 1):
                        wants = load_pair(t, y_type, r.address, 8 * i * size, t.test("gt.s32", r.here, 8 * i))
                        halves.append(int8_error(t, wants, outputs[i, half], r.here, i))
                    wanted = t.new("p")
                    t.op(f"setp.gt.and.s32 {wanted}, {r.here}, {8 * j}, {is_first}")
                    t.op(f"@{wanted} st.global.f32 [{to}+{4 * (j // 2)}], {t.do('f', 'add.rn.f32', *halves)}")
            t.op(f"bra {over}")
            t.at(plain)
            for half, r in enumerate(rows):
                for j in few:
                    store_pair(t, y_type, r.address, 8 * j * size, *outputs[j, half], t.test("gt.s32", r.here, 8 * j))
            t.at(over)


PARAMETERS = {"gemm": {"bias", "y", "m", "n", "k", "y_stride", "has_bias", "adds", "lower", "diagonal", "factor"},
              "gemm_int8": {"x_rows", "w_step", "bias", "y", "loss", "m", "n", "k", "y_stride", "loss_stride", "has_bias", "compares"}}
STORES = {"gemm": store_sums, "gemm_int8": store_int8}


def product(kernel, name, y_type, x_type):
    t = Text()
    t.lines.append(f"    .shared .align 1024 .b8 slices[{SLICE_BYTES + 16}];")  # barriers behind them
    a = load_product_parameters(t, kernel, PARAMETERS[kernel.name])
    first_m, first_n = place_tile(t, a)
    tid = t.do("r", "mov.u32", "%tid.x")
    local = t.do("r", "mov.u32", "slices")
    step = ROW_BYTES // SIZES[x_type]
    tensors = Tensors(t, a, tid, local, t.do("r", "add.u32", local, SLICE_BYTES), first_m, first_n, step)
    sums = Sums(t, x_type, local)
    loop(t, sums, tensors, a["k"])
    STORES[kernel.name](t, a, sums, y_type, tid, local, first_m, first_n)
    t.op("ret")
    return declare(kernel, name, OF_PRODUCTS, GROUP, GROUPS) + "{\n" + t.body() + "\n}\n"


def tensor_maps(kernel, x_type):
    """Writes the tensor maps of x and w, rank 2, from zeros."""
    t = Text()
    t.lines.append("    .shared .align 128 .b8 made[256];")
    a = load_product_parameters(t, kernel, {"x", "w", "m", "n", "k", "x_stride", "w_stride"})
    tid, made = t.do("r", "mov.u32", "%tid.x"), t.do("r", "mov.u32", "made")
    own = t.do("r", "mad.lo.u32", tid, 4, made)
    for i in range(2):
        t.op(f"st.shared.u32 [{own}+{128 * i}], 0")
    t.op("bar.sync 0")
    over = t.label("over")
    t.op(f"@{t.test('ne.u32', tid, 0)} bra {over}")
    for i, (base, rows, stride, box) in enumerate((("x", "m", "x_stride", ROWS), ("w", "n", "w_stride", COLUMNS))):
        at = t.do("r", "add.u32", made, 128 * i)
        field = lambda name, kind, *values: t.op(f"tensormap.replace.tile.{name}.shared::cta.b1024.{kind} [{at}], " + ", ".join(map(str, values)))
        field("global_address", "b64", t.do("d", "cvta.global.u64", a[base]))
        field("rank", "b32", 1)  # less one
        for d, (extent, length) in enumerate(((a["k"], ROW_BYTES // SIZES[x_type]), (a[rows], box))):
            field("box_dim", "b32", d, length)
            field("global_dim", "b32", d, extent)
            field("element_stride", "b32", d, 1)
        field("global_stride", "b64", 0, t.do("d", "mul.wide.u32", a[stride], SIZES[x_type]))
        field("elemtype", "b32", {"i8": 0, "f16": 6, "bf16": 10}[x_type])  # bytes are unsigned in a map, which only copies them
        field("interleave_layout", "b32", 0)
        field("swizzle_mode", "b32", 3)  # of 128 bytes
        field("fill_mode", "b32", 0)
    t.at(over)
    t.op("bar.sync 0")
    for i in range(2):
        t.op(f"tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [{a['maps']}+{128 * i}], "
             f"[{t.do('r', 'add.u32', made, 128 * i)}], 128")
    t.op("ret")
    return declare(kernel, "tensor_maps", OF_PRODUCTS, 32) + "{\n" + t.body() + "\n}\n"


def chain(kernel, name, x_type):
    """Kernel matrix_chain: in each round a tile's product of a slice of ones, which lies in local memory from the start."""
    t = Text()
    t.lines.append(f"    .shared .align 1024 .b8 slices[{SLICE_BYTES}];")
    a = load_parameters(t, kernel, {"y", "items", "rounds"})
    tid, local = t.do("r", "mov.u32", "%tid.x"), t.do("r", "mov.u32", "slices")
    ones, own = t.do("r", "mov.b32", {"i8": "0x01010101", "f16": "0x3c003c00"}[x_type]), t.do("r", "mad.lo.u32", tid, 4, local)
    for first in range(0, SLICE_BYTES, 4 * GROUP):
        t.op(f"st.shared.u32 [{own}+{first}], {ones}")
    t.op("fence.proxy.async")
    t.op("bar.sync 0")
    sums, round_number, again = Sums(t, x_type, local), t.do("r", "mov.u32", 0), t.label("round")
    t.at(again)
    sums.multiply()
    t.op("wgmma.wait_group.sync.aligned 0")
    t.op(f"add.u32 {round_number}, {round_number}, 1")
    t.op(f"@{t.test('lt.u32', round_number, a['rounds'])} bra {again}")
    item = t.do("r", "mad.lo.u32", t.do("r", "mov.u32", "%ctaid.x"), GROUP, tid)
    values = [f for block in sums.f for f in block[:2]]  # of both: products that nobody reads would be left out
    values = [t.do("f", "cvt.rn.f32.s32", f) if x_type == "i8" else f for f in values]
    values = [t.do("f", "mul.f32", f, float_word(SIZES[x_type] / ROW_BYTES)) for f in values]
    address = t.do("d", "mad.wide.u32", item, 16, a["y"])
    t.op(f"@{t.test('lt.u32', item, a['items'])} st.global.v4.f32 [{address}], {{{', '.join(values)}}}")
    t.op("ret")
    return declare(kernel, name, (), GROUP, GROUPS) + "{\n" + t.body() + "\n}\n"


def float_word(value):
    return "0f" + struct.pack(">f", value).hex()


HEAD = f".version {PTX_VERSION}\n.target sm_90a\n.address_size 64\n\n"


def modules(kernel, name):
    """Texts of a variant by types of y and x."""
    if kernel.name == "matrix_chain":
        x_type = "i8" if name.endswith("_i8") else "f16"
        return {("f32", x_type): HEAD + chain(kernel, name, x_type)}
    return {(y, x): HEAD + tensor_maps(kernel, x) + "\n" + product(kernel, name, y, x)
            for y in Y_TYPES for x in X_TYPES[kernel.name]}
