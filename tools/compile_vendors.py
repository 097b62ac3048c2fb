#!/usr/bin/env python3
"""Compiles every kernel by the compilers of GPUs that need not be here, with Python's standard library alone:

  AMD    Mesa's RADV on its null device (RADV_FORCE_FAMILY): every pipeline of `bitmill bench --compile`; with --mesa FOLDER
         (tools/fetch_mesa.sh) also that folder's RADV for devices with matrix units, and its spirv-val on all modules
  Intel  ocloc (Debian: intel-opencl-icd): the same kernels, variants, tunables and types in OpenCL C

Prints a line a device, and each pipeline that fails or spills. Exit status: 1 when one does not compile, or spills in a
variant that the tables of devices choose; 77 when no compiler is here.

Usage: compile_vendors.py [--bitmill PROGRAM] [--out FOLDER] [--mesa FOLDER]... [--quick] [--table FILE]
  --out     where sources, reports and logs go (default build/vendors)
  --quick   ocloc compiles one pipeline of each kernel and default variant: that which takes most registers on RADV
  --table   writes the table of docs/performance.md
"""
import argparse, concurrent.futures, glob, json, os, re, shutil, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RADV_FAMILIES = ["gfx1100", "navi21", "vega10", "polaris10"]
MATRIX_FAMILIES = ["navi31", "navi48"]  # RDNA 3 and 4
OTHER_NAMES = {"gfx1100": "navi31", "navi48": "gfx1201"}  # in other versions of Mesa
INTEL_DEVICES = ["skl", "tgllp", "dg2", "pvc"]
TYPES = {"F32": 1, "F16": 2, "BF16": 3}  # as cl/include/bitmill.h has them


def inside(folder, program):
    """The words that run a program with the libraries of an unpacked system."""
    loader = glob.glob(f"{folder}/usr/lib*/ld-linux-*.so.2") + glob.glob(f"{folder}/lib*/ld-linux-*.so.2")
    libraries = glob.glob(f"{folder}/usr/lib/*-linux-gnu")
    if not loader or not libraries:
        sys.exit(f"{folder}: no ld-linux-*.so.2 or no usr/lib/*-linux-gnu: see tools/fetch_mesa.sh")
    return [loader[0], "--library-path", libraries[0], program]


def radv(program, driver, family, name, out):
    """What `bench --compile` says of RADV's null device of a family; None where this RADV does not know it. program: its words."""
    environment = dict(os.environ, RADV_FORCE_FAMILY=family, VK_ICD_FILENAMES=driver, MESA_SHADER_CACHE_DISABLE="true")
    run = subprocess.run([*program, "bench", "--compile", "--device", "vulkan", "--json", "--quiet"], env=environment,
                         capture_output=True, text=True)
    if "Unknown family" in run.stderr and family in OTHER_NAMES:
        return radv(program, driver, OTHER_NAMES[family], name, out)
    if "Unknown family" in run.stderr or "FORCE_FAMILY=<family> has been removed" in run.stderr:
        return None
    with open(f"{out}/{name}.json", "w", encoding="utf-8") as f:
        f.write(run.stdout)
    if not run.stdout:
        sys.exit(f"{name}: exit status {run.returncode}: {run.stderr}")
    return json.loads(run.stdout)


def mesa(program, folder, devices, out):
    """Devices with matrix units by the RADV of a folder; returns how many pipelines failed or spill where they must not."""
    drivers = glob.glob(f"{folder}/usr/share/vulkan/icd.d/radeon_icd*.json")
    if not drivers:
        sys.exit(f"{folder}: no usr/share/vulkan/icd.d/radeon_icd*.json: see tools/fetch_mesa.sh")
    bad = 0
    for family in MATRIX_FAMILIES:
        found = radv(inside(folder, program), drivers[0], family, f"radv-{family}-{len(devices)}", out)
        if not found:
            print(f"radv {family}: skipped, the RADV of {folder} does not know it or has no null devices (Mesa 26)")
            continue
        name = f"radv {family}, " + re.search(r"Mesa [\d.]+", found["device"]["driver"])[0]
        devices[name] = found["pipelines"]
        if not any("_cm" in p["kernel"] for p in found["pipelines"]):
            print(f"{name}: skipped matrix units, which it does not list")
        bad += judge(name, found["pipelines"])
    return bad


def validate(folder, out):
    """All modules by the spirv-val of a folder; returns how many are invalid."""
    program = f"{folder}/usr/bin/spirv-val"
    if not os.path.exists(program):
        print(f"{folder}: no spirv-val, modules are not validated by it")
        return 0
    invalid, unknown = [], []
    modules = sorted(glob.glob(f"{out}/cl/*.spv"))
    for path in modules:
        run = subprocess.run([*inside(folder, program), "--target-env", "vulkan1.2", path], capture_output=True, text=True)
        if run.returncode:
            words = run.stdout + run.stderr
            (unknown if "Invalid capability operand" in words else invalid).append((os.path.basename(path), words))
    print(f"{'spirv-val':15} {len(modules):4} modules, {len(invalid)} invalid, {len(unknown)} of capabilities that it does not know")
    for name, words in invalid + unknown:
        print(f"    {name}: {words.strip()}")
    return len(invalid)


def is_default_on_intel(p, device):
    """The list is an AMD GPU's, whose choices differ in src/ops/gemm_choice.c: Intel's have tiles of 64 rows, and those without a
    packed dot product (which src/device/opencl/limits.c does not reach on pvc) the generic kernel of 8-bit products."""
    if p["kernel"] in ("gemm_int8", "gemm_int8_dot"):
        return (p["kernel"] == "gemm_int8_dot") == (device not in ("skl", "pvc"))
    return p["tunables"]["ROWS"] == 4 if p["kernel"] == "gemm_tile" else p["default"]


def as_on_intel(p):
    """The list is an AMD GPU's: the same pipeline as Intel's get it (src/ops/attention_split.c, gemm_codes.c: fewer registers)."""
    tunables = dict(p["tunables"])
    if p["kernel"] == "gemm_codes":
        tunables["ROWS"] = min(4, tunables["ROWS"])
    if p["kernel"] == "attention_split":
        quads, lanes = tunables["HEAD_DIM"] // 4, 16 if tunables["HEAD_DIM"] > 128 else 8
        while tunables["HEADS"] > 1 and tunables["HEADS"] * -(-quads // lanes) > 4:
            tunables["HEADS"] //= 2
    return dict(p, tunables=tunables)


def ocloc(pipeline, device, number, out):
    """One pipeline by Intel's compiler: a pipeline like RADV's."""
    name = pipeline["kernel"]
    has_dot = name.endswith("_dot") and device not in ("skl", "pvc")
    options = "-cl-std=CL3.0" if has_dot else "-cl-std=CL1.2"  # as src/device/opencl/pipeline.c has it
    options += " -cl-fp32-correctly-rounded-divide-sqrt"
    options += " -DBM_SUBGROUP=16" if device == "pvc" else ""  # as src/device/opencl/backend.c has it
    options += "".join(f" -D{n}={v}" for n, v in pipeline["tunables"].items())
    options += "".join(f" -D{n}_type={TYPES[t]}" for n, t in pipeline["types"].items())
    folder = f"{out}/ocloc/{device}-{number}"
    run = subprocess.run(["ocloc", "compile", "-file", f"{out}/cl/{name}.cl", "-device", device, "-out_dir", folder,
                          "-internal_options", "-cl-allow-zebin", "-options", options], capture_output=True, text=True)
    words = run.stdout + run.stderr
    result = dict(pipeline, default=is_default_on_intel(pipeline, device), registers=None, spills=0, shared_bytes=None,
                  subgroup_size=None)
    if run.returncode != 0:
        result["problem"] = " | ".join(words.split("\n"))[:700]
    else:
        spilled = re.search(r"spilled around (\d+)", words)
        result["spills"] = int(spilled[1]) if spilled else 0
        for path in glob.glob(f"{folder}/*.bin"):
            with open(path, "rb") as f:
                info = f.read().decode("latin-1")
            for key, field in (("grf_count", "registers"), ("simd_size", "subgroup_size"), ("slm_size", "shared_bytes")):
                found = re.search(key + r":\s+(\d+)", info)
                result[field] = int(found[1]) if found else 0 if field == "shared_bytes" else None
    shutil.rmtree(folder, ignore_errors=True)
    return result


def intel(pipelines, device, quick, out):
    chosen = [as_on_intel(p) for p in pipelines if os.path.exists(f"{out}/cl/{p['kernel']}.cl")]
    chosen = list({describe(p): p for p in chosen}.values())
    if quick:
        hungry = sorted((p for p in chosen if is_default_on_intel(p, device)), key=lambda p: p["registers"])
        chosen = list({p["kernel"]: p for p in hungry}.values())
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda ip: ocloc(ip[1], device, ip[0], out), enumerate(chosen)))
    with open(f"{out}/ocloc-{device}.json", "w", encoding="utf-8") as f:
        json.dump({"pipelines": results}, f, indent=1)
    return results


def describe(p):
    return (p["kernel"] + "".join(f" {n}={v}" for n, v in p["tunables"].items()) + " " + " ".join(p["types"].values())).strip()


def judge(name, pipelines):
    """Prints a device's line and what is wrong there; returns how many failed or spill where they must not."""
    failed = [p for p in pipelines if "problem" in p]
    spilled = [p for p in pipelines if p["spills"]]
    bad = [p for p in spilled if p["default"]]
    print(f"{name:15} {len(pipelines):4} pipelines, {len(failed)} failed, {len(spilled)} spill, {len(bad)} of them in a default variant")
    for p in failed:
        print(f"    FAILED  {describe(p)}: {p['problem']}")
    for p in spilled:
        print(f"    {'SPILLS' if p['default'] else 'spills'}  {describe(p)}: {p['spills']}")
    sys.stdout.flush()
    return len(failed) + len(bad)


def span(numbers):
    known = [n for n in numbers if n is not None]
    if not known:
        return "-"
    return str(min(known)) if min(known) == max(known) else f"{min(known)}-{max(known)}"


def cell(pipelines, field):
    """The span of a number over pipelines, and the most that one of them spills."""
    spills = max(p["spills"] for p in pipelines)
    return span(p[field] for p in pipelines) + (f", spills {spills}" if spills else "")


def table(devices):
    """Rows: kernels, those with tiles by their rows; AMD: vector registers; Intel: lanes of a subgroup."""
    def row_of(p):
        tile = f", {16 * p['tunables']['ROWS']} rows" if p["kernel"] == "gemm_tile" else ""
        if "_cm" in p["kernel"]:
            tile = ", " + ", ".join(f"{n} {v}" for n, v in p["tunables"].items())
        return p["kernel"] + tile
    names = list(devices)
    lines = ["| kernel | local memory, bytes | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for row in dict.fromkeys(row_of(p) for p in [p for name in names for p in devices[name]]):
        cells = [span(p["shared_bytes"] for name in names for p in devices[name] if row_of(p) == row and name.startswith("radv"))]
        for name in names:
            mine = [p for p in devices[name] if row_of(p) == row]
            field = "registers" if name.startswith("radv") else "subgroup_size"
            cells.append((cell(mine, field) + ("" if any(p["default"] for p in mine) else " *")) if mine else "")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--bitmill", default=f"{ROOT}/build/release/bitmill")
    a.add_argument("--out", default=f"{ROOT}/build/vendors")
    a.add_argument("--mesa", action="append", default=[])
    a.add_argument("--quick", action="store_true")
    a.add_argument("--table")
    o = a.parse_args()
    os.makedirs(o.out, exist_ok=True)
    devices = {}
    bad = 0
    drivers = glob.glob("/usr/share/vulkan/icd.d/radeon_icd*.json")
    if not drivers:
        print("RADV is not here (Debian: mesa-vulkan-drivers)")
        return 77
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        lists = pool.map(lambda family: radv([o.bitmill], drivers[0], family, "radv-" + family, o.out), RADV_FAMILIES)
        for family, found in zip(RADV_FAMILIES, lists):
            if not found:
                sys.exit(f"radv {family}: {drivers[0]} does not know it")
            devices["radv " + family] = found["pipelines"]
            bad += judge("radv " + family, found["pipelines"])
    subprocess.run([sys.executable, f"{ROOT}/tools/generate_kernels.py", "--source", ROOT, "--dump", f"{o.out}/cl"], check=True)
    for folder in o.mesa:
        bad += mesa(o.bitmill, folder, devices, o.out) + validate(folder, o.out)
    if not o.mesa:
        print("no --mesa FOLDER (tools/fetch_mesa.sh): nothing is compiled for AMD's matrix units")
    if not shutil.which("ocloc"):
        print("ocloc is not here (Debian: intel-opencl-icd)")
        return 1 if bad else 0
    for device in INTEL_DEVICES:
        devices["ocloc " + device] = intel(devices["radv gfx1100"], device, o.quick, o.out)
        bad += judge("ocloc " + device, devices["ocloc " + device])
    if o.table:
        with open(o.table, "w", encoding="utf-8") as f:
            f.write(table(devices))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
