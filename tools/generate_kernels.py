#!/usr/bin/env python3
"""Generates from src/device/kernels.def, with Python's standard library alone:

  generated/device/kernels_generated.h   kernel ids and bm_NAME_scalars structs
  generated/device/kernels_generated.c   bm_kernel_table, bm_kernels_digest
  generated/device/host_kernels.h/.c     prototypes and table of the host functions
  generated/shaders/NAME.args.glsl       push constants and types of one kernel, included by shaders/NAME*.comp
  generated/cl/NAME.args.h               parameters of one kernel
  generated/device/opencl_sources.c      the whole source text of each OpenCL kernel and variant, embedded (PTX by generate_ptx.py)
  generated/device/vulkan_modules.c      the SPIR-V of each shader and variant, embedded (with --glslang)

Usage: generate_kernels.py --source ROOT --out FOLDER [--glslang PROGRAM] [--matrices-by-hand]
                                                           by hand: only what devices need of the kernels that have
                                                           variants on matrix units, which then are done without such
                                                           units (shaders/include/matrix.glsl, cl/include/mma.h), and
                                                           of convert, which fills weights: for tests
       generate_kernels.py --source ROOT --dump FOLDER     the whole source text of each OpenCL kernel and variant, as
                                                           files NAME.cl and NAME_Y_X.ptx, and modules NAME.spv, for
                                                           compilers that are not here as drivers
Files are written only when their content changes, so that a build stays incremental.
"""
import argparse, concurrent.futures, hashlib, os, re, subprocess, sys

import generate_ptx
import rewrite_cooperative_matrix

MAX_ARGUMENT_BYTES = 128  # lavapipe's push constants
ELEMENTS = {"real": ("BM_ELEMENT_REAL", "bm_words", "uint"), "f32": ("BM_ELEMENT_F32", "bm_floats", "float"),
            "u32": ("BM_ELEMENT_U32", "bm_words", "uint"), "i32": ("BM_ELEMENT_I32", "bm_ints", "int"),
            "i8": ("BM_ELEMENT_I8", "bm_words", "uint")}
SCALARS = {"u32": ("uint32_t", "uint", "uint"), "i32": ("int32_t", "int", "int"), "f32": ("float", "float", "float")}
COMPONENTS = {"f32": "BM_DTYPE_F32", "f16": "BM_DTYPE_F16", "bf16": "BM_DTYPE_BF16", "i8": "BM_DTYPE_I8", "i32": "BM_DTYPE_I32"}
NEED = re.compile(r"^(int8_dot|wgmma|nvidia_mma)$|^(subgroup|registers)_(\d+)$|^matrix_(\d+)x(\d+)x(\d+)_([a-z0-9]+)_([a-z0-9]+)$")
OTHER_UNITS = re.compile(r"(_\d+x\d+)?(_s\d+)?(_bf16|_i8)?$")
ROW = re.compile(r"^(\w+)\s*\(([^)]*)\)\s*\(([^)]*)\)\s*\[([^\]]*)\]\s*\{([^}]*)\}\s*(.*)$")


class Variant:
    def __init__(self, suffix, languages, needs=(), where=""):
        if languages not in ("cl", "vulkan", "both", "ptx"):
            sys.exit(f"{where}: {suffix}: '{languages}': expected cl, vulkan, both or ptx")
        self.suffix = suffix
        self.cl, self.vulkan, self.ptx = languages in ("cl", "both"), languages in ("vulkan", "both"), languages == "ptx"
        self.int8_dot, self.wgmma, self.nvidia_mma, self.max_registers, self.subgroup_size, self.matrix = False, False, False, 0, 0, None
        for need in needs:
            m = NEED.match(need)
            if not m or (m[7] and not {m[7], m[8]} <= COMPONENTS.keys()):
                sys.exit(f"{where}: unknown need '{need}'")
            self.int8_dot |= m[1] == "int8_dot"
            self.wgmma |= m[1] == "wgmma"
            self.nvidia_mma |= m[1] == "nvidia_mma"
            self.max_registers = int(m[3]) if m[2] == "registers" else self.max_registers
            self.subgroup_size = int(m[3]) if m[2] == "subgroup" else self.subgroup_size
            self.matrix = m.groups()[3:] if m[4] else self.matrix
        self.lanes = self.subgroup_size

    @property
    def is_bfloat16(self):
        return self.matrix is not None and self.matrix[3] == "bf16"

    # Of the shader: one source serves all matrix units.
    @property
    def source(self):
        return OTHER_UNITS.sub("", self.suffix) if self.matrix else self.suffix

    # What shaders/include/matrix.glsl is told.
    @property
    def defines(self):
        component = {"bf16": ["-DMATRIX_BFLOAT16"], "i8": ["-DMATRIX_INT8"]}
        if not self.matrix:
            return []
        m, n = self.matrix[:2]
        return [f"-DMATRIX_M={m}", f"-DMATRIX_N={n}", f"-DMATRIX_LANES={self.lanes}"] + component.get(self.matrix[3], [])

    # A bm_kernel_variant. source: number of the first variant of its source.
    def c_row(self, source):
        flag = lambda b: "true" if b else "false"
        matrix = "{0}"
        if self.matrix:
            m, n, k, component, total = self.matrix
            matrix = f"{{{m}, {n}, {k}, {COMPONENTS[component]}, {COMPONENTS[total]}}}"
        return f'{{"{self.suffix}", {flag(self.cl or self.ptx)}, {flag(self.vulkan)}, {flag(self.int8_dot)}, {flag(self.wgmma)}, ' \
               f'{flag(self.nvidia_mma)}, {self.max_registers}, {self.subgroup_size}, {self.lanes}, {matrix}, {source}}}'


class Kernel:
    def __init__(self, line, number):
        m = ROW.match(line)
        if not m:
            sys.exit(f"kernels.def:{number}: not a row: {line}")
        self.name = m[1]
        self.buffers = []
        for text in filter(None, (t.strip() for t in m[2].split(","))):
            direction, element, name = text.split()
            optional = direction.endswith("?")
            direction = direction.rstrip("?")
            if direction not in ("in", "out", "inout") or element not in ELEMENTS:
                sys.exit(f"kernels.def:{number}: bad buffer '{text}'")
            self.buffers.append((name, element, direction, optional))
        self.scalars = [tuple(t.split()) for t in filter(None, (t.strip() for t in m[3].split(",")))]
        for s in self.scalars:
            if len(s) != 2 or s[0] not in SCALARS:
                sys.exit(f"kernels.def:{number}: bad scalar '{s}'")
        self.tunables = [(t.split("=")[0].strip(), int(t.split("=")[1])) for t in filter(None, (t.strip() for t in m[4].split(",")))]
        if not self.tunables or self.tunables[0][0] != "GROUP":
            sys.exit(f"kernels.def:{number}: the first tunable must be GROUP")
        self.variants = [Variant("", "both")]
        for t in filter(None, (t.strip() for t in m[5].split(","))):
            suffix, where, *needs = t.split(":")
            self.variants.append(Variant(suffix, where, needs[0].split("+") if needs else (), f"kernels.def:{number}"))
        flags = m[6].split()
        if any(f != "reports" for f in flags):
            sys.exit(f"kernels.def:{number}: unknown flag in {flags}")
        self.reports = "reports" in flags
        size = 8 * len(self.buffers) + 4 * len(self.scalars) + (8 + 4 if self.reports else 0)
        if size > MAX_ARGUMENT_BYTES:
            sys.exit(f"kernels.def:{number}: {self.name}: arguments take {size} bytes, more than {MAX_ARGUMENT_BYTES}")

    @property
    def reals(self):
        return [b[0] for b in self.buffers if b[1] == "real"]


def parse(path):
    kernels = []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.strip()
            if line and not line.startswith("#"):
                kernels.append(Kernel(line, number))
    return kernels


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.exists(path) and open(path, encoding="utf-8").read() == text:
        return
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


HEAD = "// Generated from src/device/kernels.def. Do not edit.\n"


def c_header(kernels):
    out = [HEAD, "#ifndef BM_KERNELS_GENERATED_H\n#define BM_KERNELS_GENERATED_H\n#include <stdint.h>\n\n"]
    out.append("typedef enum bm_kernel_id {\n")
    out += [f"    BM_KERNEL_{k.name.upper()},\n" for k in kernels]
    out.append("    BM_NUM_KERNELS,\n} bm_kernel_id;\n\n")
    out.append(f"#define BM_MAX_BUFFERS {max(len(k.buffers) for k in kernels)}\n")
    out.append(f"#define BM_MAX_TUNABLES {max(len(k.tunables) for k in kernels)}\n")
    out.append(f"#define BM_MAX_SCALAR_BYTES {max(4 * len(k.scalars) for k in kernels) or 4}\n\n")
    for k in kernels:
        fields = "".join(f"    {SCALARS[t][0]} {n};\n" for t, n in k.scalars) or "    uint32_t unused;\n"
        out.append(f"typedef struct bm_{k.name}_scalars {{\n{fields}}} bm_{k.name}_scalars;\n\n")
        for i, v in enumerate(k.variants[1:], 1):
            out.append(f"#define BM_VARIANT_{k.name.upper()}{v.suffix.upper()} {i}u\n")
    out.append("#endif\n")
    return "".join(out)


def c_table(kernels):
    out = [HEAD, '#include "device/backend.h"\n#include <stddef.h>\n\n']
    flag = lambda b: "true" if b else "false"
    for k in kernels:
        if k.scalars:
            last_t, last_n = k.scalars[-1]
            out.append(f"_Static_assert(offsetof(bm_{k.name}_scalars, {last_n}) == {4 * (len(k.scalars) - 1)}, \"scalars are dense\");\n")
        out.append(f"static const bm_kernel_buffer {k.name}_buffers[] = {{\n")
        for n, e, d, o in k.buffers:
            out.append(f'    {{"{n}", {ELEMENTS[e][0]}, {flag(d in ("in", "inout"))}, {flag(d in ("out", "inout"))}, {flag(o)}}},\n')
        out.append("};\n")
        out.append(f"static const char *const {k.name}_tunable_names[] = {{" + ", ".join(f'"{n}"' for n, _ in k.tunables) + "};\n")
        out.append(f"static const uint32_t {k.name}_tunable_defaults[] = {{" + ", ".join(f"{v}u" for _, v in k.tunables) + "};\n")
        out.append(f"static const bm_kernel_variant {k.name}_variants[] = {{" +
                   ", ".join(v.c_row([o.source for o in k.variants].index(v.source)) for v in k.variants) + "};\n\n")
    out.append("const bm_kernel_info bm_kernel_table[BM_NUM_KERNELS] = {\n")
    for k in kernels:
        out.append(f'    {{"{k.name}", {k.name}_buffers, {len(k.buffers)}, {4 * len(k.scalars)}, {k.name}_tunable_names, '
                   f'{k.name}_tunable_defaults, {len(k.tunables)}, {k.name}_variants, {len(k.variants)}, {flag(k.reports)}}},\n')
    out.append("};\n")
    return "".join(out)


# Where the tunables of variants and their shares of work are chosen.
CHOICES = ("gemm.c", "gemm_choice.c", "attention.c")


# Of everything that becomes a kernel, and of how it is called: what was found out about one holds for the same digest alone.
def c_digest(root, *texts):
    digest = hashlib.sha256("".join(texts).encode())
    for name in CHOICES:
        with open(f"{root}/src/ops/{name}", "rb") as f:
            digest.update(f.read())
    digest = digest.hexdigest()
    return f'\nconst char bm_kernels_digest[] = "{digest}";\n'


def host_table(kernels):
    h = [HEAD, '#ifndef BM_HOST_KERNELS_H\n#define BM_HOST_KERNELS_H\n#include "device/host/host.h"\n\n']
    h += [f"void host_{k.name}(const host_call *call);\n" for k in kernels]
    h.append("\nextern void (*const host_kernel_table[BM_NUM_KERNELS])(const host_call *call);\n#endif\n")
    c = [HEAD, '#include "device/host_kernels.h"\n\nvoid (*const host_kernel_table[BM_NUM_KERNELS])(const host_call *call) = {\n']
    c += [f"    host_{k.name},\n" for k in kernels]
    c.append("};\n")
    return "".join(h), "".join(c)


def glsl_args(k):
    out = [HEAD]
    for i, (n, d) in enumerate(k.tunables):
        out.append(f"layout(constant_id = {i}) const uint {n} = {d};\n")
    for i, n in enumerate(k.reals):
        out.append(f"layout(constant_id = {10 + i}) const uint {n}_type = BM_F32;\n")
    out.append("layout(local_size_x_id = 0) in;\n")
    out.append("layout(push_constant, std430) uniform bm_arguments {\n")
    for n, e, d, o in k.buffers:
        out.append(f"    {ELEMENTS[e][1]} {n};\n")
    if k.reports:
        out.append("    bm_words bm_status_word;\n")
    for t, n in k.scalars:
        out.append(f"    {SCALARS[t][1]} {n};\n")
    if k.reports:
        out.append("    uint bm_subject;\n")
    out.append("} a;\n")
    if k.reports:
        out.append("void bm_report(uint code, uint position) { bm_report_to(a.bm_status_word, a.bm_subject, code, position); }\n")
    return "".join(out)


def cl_args(k):
    out = [HEAD]
    for n, d in k.tunables:
        out.append(f"#ifndef {n}\n#define {n} {d}\n#endif\n")
    for n in k.reals:
        out.append(f"#ifndef {n}_type\n#define {n}_type BM_F32\n#endif\n")
    fields = " ".join(f"{SCALARS[t][2]} {n};" for t, n in k.scalars) or "uint unused;"
    out.append(f"typedef struct {{ {fields} }} bm_scalars;\n")
    parameters, begin = [], []
    for n, e, d, o in k.buffers:
        const = "const " if d == "in" else ""
        parameters.append(f"__global {const}{ELEMENTS[e][2]} *{n}, ulong {n}_offset")
        begin.append(f"{n} = (__global {const}{ELEMENTS[e][2]} *)((__global {const}char *){n} + {n}_offset);")
    if k.reports:
        parameters.append("__global uint *bm_status_word, uint bm_subject")
        out.append("#define bm_report(code, position) bm_report_to(bm_status_word, bm_subject, (code), (position))\n")
    parameters.append("const bm_scalars a")
    out.append("#define BM_PARAMETERS " + ", ".join(parameters) + "\n")
    out.append("#define BM_BEGIN " + " ".join(begin) + "\n")
    out.append("#define BM_KERNEL __kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void\n")
    return "".join(out)


def c_string(text):
    # One C string literal a line: readable, and below the 4095 characters that C11 promises for each after splitting.
    return "".join('    "' + line.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '\\n"\n' for line in text.split("\n"))


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def expand_cl(path, folders):
    """Replaces #include "..." by the file's text, each file once, so that a driver needs no include path."""
    seen = set()

    def expand(text):
        def one(m):
            for folder in folders:
                candidate = os.path.join(folder, m[1])
                if os.path.exists(candidate):
                    if candidate in seen:
                        return ""
                    seen.add(candidate)
                    return expand(read(candidate))
            sys.exit(f"{path}: include file {m[1]} not found")
        return re.sub(r'^[ \t]*#include "([^"]+)"[^\n]*$', one, text, flags=re.M)
    return expand(read(path))


def bytes_array(name, data, per_line=24):
    lines = []
    for i in range(0, len(data), per_line):
        lines.append("    " + ",".join(str(b) for b in data[i:i + per_line]) + ",\n")
    return f"static const unsigned char {name}[] = {{\n{''.join(lines)}}};\n"


def ptx_modules(kernel, suffix):
    """Text by types of y and x."""
    return generate_ptx.modules(kernel, kernel.name + suffix)


def ptx_source(kernel, suffix):
    """An ocl_ptx and its texts."""
    name, out, rows = kernel.name + suffix, [], []
    elements = {b[0]: b[1] for b in kernel.buffers}
    as_in_calls = lambda buffer, component: COMPONENTS[component] if elements.get(buffer) == "real" else "BM_DTYPE_NONE"
    for (y, x), module in ptx_modules(kernel, suffix).items():
        text = module.encode() + b"\0"
        out.append(bytes_array(f"source_{name}_{y}_{x}", text))
        rows.append(f"{{{as_in_calls('x', x)}, {as_in_calls('y', y)}, {{(const char *)source_{name}_{y}_{x}, {len(text) - 1}, NULL}}}}")
    names = [b[0] for b in kernel.buffers]
    is_product = "bias" in names
    tile = (generate_ptx.ROWS, generate_ptx.COLUMNS, names.index("bias"), names.index("y")) if is_product else (0, 0, 0, 0)
    numbers = ", ".join(map(str, (generate_ptx.GROUP, *tile)))
    out.append(f"static const ocl_ptx ptx_{name} = {{{numbers}, {{\n    " + ",\n    ".join(rows) + "}};\n")
    return "".join(out)


def opencl_sources(kernels, root, out, defines=""):
    text = [HEAD, '#include "device/opencl/opencl.h"\n\n']
    rows = []
    for k in kernels:
        for v in k.variants:
            suffix = v.suffix
            if v.ptx:
                text.append(ptx_source(k, suffix))
                rows.append(f"    {{NULL, 0, &ptx_{k.name}{suffix}}},\n")
                continue
            if not v.cl:
                rows.append("    {NULL, 0, NULL},\n")
                continue
            source = expand_cl(f"{root}/cl/{k.name}{suffix}.cl", [f"{root}/cl/include", f"{out}/cl"])
            source = (defines + source).encode() + b"\0"
            text.append(bytes_array(f"source_{k.name}{suffix}", source))
            rows.append(f"    {{(const char *)source_{k.name}{suffix}, {len(source) - 1}, NULL}},\n")
    text.append("\nconst ocl_source ocl_sources[] = {\n" + "".join(rows) + "};\n")
    firsts, n = [], 0
    for k in kernels:
        firsts.append(str(n))
        n += len(k.variants)
    text.append("const uint32_t ocl_first_source[] = {" + ", ".join(firsts) + "};\n")
    return "".join(text)


def casts_pointers(spirv):
    """Whether a module casts a pointer to another pointer type straight, which kills SwiftShader: shaders/include/bitmill.glsl."""
    words = [int.from_bytes(spirv[i:i + 4], "little") for i in range(0, len(spirv), 4)]
    pointer_types, pointers = set(), set()
    i = 5
    while i < len(words):
        length, opcode = words[i] >> 16, words[i] & 0xffff
        if opcode == 32:  # OpTypePointer
            pointer_types.add(words[i + 1])
        elif opcode in (55, 57, 61, 65, 81, 83, 124, 169, 245) and words[i + 1] in pointer_types:  # what makes a pointer
            if opcode == 124 and words[i + 3] in pointers:  # OpBitcast
                return True
            pointers.add(words[i + 2])
        i += length
    return False


def compile_shader(glslang, root, out, kernel, variant, options):
    name, spirv = kernel.name + variant.source, f"{out}/spirv/{kernel.name}{variant.suffix}.spv"
    defines = variant.defines
    os.makedirs(os.path.dirname(spirv), exist_ok=True)
    inputs = [f"{root}/shaders/{name}.comp"] + [os.path.join(f"{root}/shaders/include", f) for f in os.listdir(f"{root}/shaders/include")]
    inputs += [os.path.join(f"{out}/shaders", f) for f in os.listdir(f"{out}/shaders")]
    inputs += [f"{root}/src/device/kernels.def"] if defines else []
    stale = not os.path.exists(spirv) or any(os.path.getmtime(i) > os.path.getmtime(spirv) for i in inputs)
    if stale:
        r = subprocess.run([glslang, *options, *defines, "-V", "--target-env", "vulkan1.2", "-g0", f"-I{root}/shaders/include", f"-I{out}/shaders",
                            "-S", "comp", "-o", spirv, f"{root}/shaders/{name}.comp"], capture_output=True, text=True)
        if r.returncode:
            if os.path.exists(spirv):
                os.remove(spirv)
            sys.exit(f"shaders/{name}.comp:\n{r.stdout}{r.stderr}")
    with open(spirv, "rb") as f:
        data = f.read()
    if casts_pointers(data):
        sys.exit(f"shaders/{name}.comp: casts a buffer reference to another type straight; by way of uvec2: bm_floats4(uvec2(b))")
    try:
        return rewrite_cooperative_matrix.rewrite(data, variant.is_bfloat16)  # unchanged without matrices
    except ValueError as e:
        sys.exit(f"shaders/{name}.comp: {e}")


def vulkan_modules(kernels, root, out, glslang, options=()):
    text = [HEAD, '#include "device/vulkan/vulkan.h"\n\n']
    shaders = [(k, v) for k in kernels for v in k.variants if v.vulkan]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        data = dict(zip([k.name + v.suffix for k, v in shaders],
                        pool.map(lambda s: compile_shader(glslang, root, out, *s, options), shaders)))
    rows, firsts, n = [], [], 0
    for k in kernels:
        firsts.append(str(n))
        for v in k.variants:
            suffix = v.suffix
            n += 1
            if not v.vulkan:
                rows.append("    {NULL, 0},\n")
                continue
            d = data[k.name + suffix]
            words = [str(int.from_bytes(d[i:i + 4], "little")) + "u" for i in range(0, len(d), 4)]
            lines = "".join("    " + ",".join(words[i:i + 12]) + ",\n" for i in range(0, len(words), 12))
            text.append(f"static const uint32_t module_{k.name}{suffix}[] = {{\n{lines}}};\n")
            rows.append(f"    {{module_{k.name}{suffix}, sizeof module_{k.name}{suffix}}},\n")
    text.append("\nconst vk_module vk_modules[] = {\n" + "".join(rows) + "};\n")
    text.append("const uint32_t vk_first_module[] = {" + ", ".join(firsts) + "};\n")
    return "".join(text)


def by_hand(kernels, root, out, glslang):
    for k in kernels:
        write(f"{out}/shaders/{k.name}.args.glsl", glsl_args(k))
        write(f"{out}/cl/{k.name}.args.h", cl_args(k))
        has_matrices = any(v.matrix for v in k.variants)
        for v in k.variants:
            v.cl &= k.name == "convert" or v.nvidia_mma or (v.suffix == "" and any(o.nvidia_mma for o in k.variants))
            v.ptx, v.max_registers = False, 0
            v.vulkan &= has_matrices or k.name == "convert"
            v.subgroup_size = 0 if v.matrix else v.subgroup_size
    table, sources = c_table(kernels), opencl_sources(kernels, root, out, "#define BM_MATRICES_BY_HAND\n")
    modules = vulkan_modules(kernels, root, out, glslang, ["-DBM_MATRICES_BY_HAND"])
    write(f"{out}/device/kernels_generated.c", table + c_digest(root, table, sources, modules))
    write(f"{out}/device/opencl_sources.c", sources)
    write(f"{out}/device/vulkan_modules.c", modules)


def stamp(out):
    with open(f"{out}/device/kernels.stamp", "w", encoding="utf-8") as f:
        f.write("ok\n")


def dump_cl(kernels, root, out):
    for k in kernels:
        write(f"{out}/include/{k.name}.args.h", cl_args(k))
        for v in k.variants:
            if v.cl:
                name = k.name + v.suffix
                write(f"{out}/{name}.cl", expand_cl(f"{root}/cl/{name}.cl", [f"{root}/cl/include", f"{out}/include"]))
            if v.ptx:
                for (y, x), text in ptx_modules(k, v.suffix).items():
                    write(f"{out}/{k.name}{v.suffix}_{y}_{x}.ptx", text)


def dump_spirv(kernels, root, out, glslang):
    for k in kernels:
        write(f"{out}/shaders/{k.name}.args.glsl", glsl_args(k))
    for k in kernels:
        for v in k.variants:
            if v.vulkan:
                data = compile_shader(glslang, root, out, k, v, ())
                with open(f"{out}/{k.name}{v.suffix}.spv", "wb") as f:
                    f.write(data)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--source", required=True)
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--out")
    where.add_argument("--dump")
    p.add_argument("--glslang", default="glslangValidator")
    p.add_argument("--matrices-by-hand", action="store_true")
    o = p.parse_args()
    kernels = parse(f"{o.source}/src/device/kernels.def")
    if o.dump:
        dump_cl(kernels, o.source, o.dump)
        dump_spirv(kernels, o.source, o.dump, o.glslang)
        return
    if o.matrices_by_hand:
        by_hand(kernels, o.source, o.out, o.glslang)
        stamp(o.out)
        return
    write(f"{o.out}/device/kernels_generated.h", c_header(kernels))
    h, c = host_table(kernels)
    write(f"{o.out}/device/host_kernels.h", h)
    write(f"{o.out}/device/host_kernels.c", c)
    for k in kernels:
        write(f"{o.out}/shaders/{k.name}.args.glsl", glsl_args(k))
        write(f"{o.out}/cl/{k.name}.args.h", cl_args(k))
    table, sources = c_table(kernels), opencl_sources(kernels, o.source, o.out)
    modules = vulkan_modules(kernels, o.source, o.out, o.glslang)
    write(f"{o.out}/device/kernels_generated.c", table + c_digest(o.source, table, sources, modules))
    write(f"{o.out}/device/opencl_sources.c", sources)
    write(f"{o.out}/device/vulkan_modules.c", modules)
    stamp(o.out)


if __name__ == "__main__":
    main()
