#!/usr/bin/env python3
"""The text of tools/generate_ptx.py, without the hardware: entries, parameters, names; and what ptxas says of it, where PTXAS in the
environment names it or PATH has it."""
import os, re, shutil, subprocess, sys, tempfile, unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tools"))
import generate_kernels, generate_ptx

PTXAS = os.environ.get("PTXAS") or shutil.which("ptxas")
ENTRY = re.compile(r"\.visible \.entry (\w+)\((.*?)\)\n(.*?)\{\n(.*?)\n\}\n", re.S)


def is_product(kernel):
    return kernel.name.startswith("gemm")


class Ptx(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        kernels = generate_kernels.parse(os.path.join(ROOT, "src", "device", "kernels.def"))
        cls.variants = [(k, k.name + v.suffix, generate_kernels.ptx_modules(k, v.suffix)) for k in kernels for v in k.variants if v.ptx]
        cls.modules = {(name, *types): text for _, name, modules in cls.variants for types, text in modules.items()}

    def test_every_module_has_both_entries(self):
        wanted = {"gemm_wgmma": ("f16", "bf16"), "gemm_int8_wgmma": ("i8",), "matrix_chain_wgmma": ("f16",),
                  "matrix_chain_wgmma_i8": ("i8",)}
        self.assertEqual([name for _, name, _ in self.variants], list(wanted))
        for kernel, name, modules in self.variants:
            y_types = ("f32", "f16", "bf16") if is_product(kernel) else ("f32",)
            self.assertEqual(set(modules), {(y, x) for y in y_types for x in wanted[name]})
        for (name, _, x), text in self.modules.items():
            maps = [] if name.startswith("matrix_chain") else ["tensor_maps"]
            self.assertEqual([m[0] for m in ENTRY.findall(text)], maps + [name])
            self.assertIn(".target sm_90a\n", text)
            kinds = set(re.findall(r"wgmma\.mma_async\.\S+?\.m64n\d+(\S+) ", text))
            self.assertEqual(kinds, {"k32.s32.s8.s8" if x == "i8" else f"k16.f32.{x}.{x}"})

    def test_parameters_are_those_of_opencl_c_and_two_more(self):
        for kernel, _, modules in self.variants:
            names = [n for b in kernel.buffers for n in (b[0], b[0] + "_offset")]
            names += [f"scalars[{4 * len(kernel.scalars)}]"] + (["maps", "bias_type"] if is_product(kernel) else [])
            for text in modules.values():
                for _, parameters, _, _ in ENTRY.findall(text):
                    self.assertEqual([p.split()[-1] for p in parameters.split(",")], names)

    # As src/device/opencl/ptx.c takes them.
    def test_sizes_are_the_first_scalars(self):
        for kernel in (k for k, _, _ in self.variants if is_product(k)):
            self.assertEqual(kernel.scalars[:2], [("u32", "m"), ("u32", "n")])
            self.assertEqual([b[0] for b in kernel.buffers[:2]], ["x", "w"])

    # The bits of outputs are those of other devices: no product and sum become one fma.
    def test_outputs_of_codes_are_rounded_after_each_operation(self):
        for (name, _, _), text in self.modules.items():
            if name.startswith("gemm_int8"):
                self.assertFalse(re.findall(r"\b(?:add|sub|mul)\.f32|\bfma\.", text))

    def test_groups_are_what_the_dispatch_launches(self):
        for (variant, _, _), text in self.modules.items():
            limits = {name: limit for name, _, limit, _ in ENTRY.findall(text)}
            self.assertIn(".reqntid 32, 1, 1\n", limits.get("tensor_maps", ".reqntid 32, 1, 1\n"))
            self.assertIn(f".reqntid {generate_ptx.GROUP}, 1, 1\n", limits[variant])

    # Before 8.5 the strides of a map may count in units of 16 bytes.
    def test_maps_get_every_field_once(self):
        fields = ["global_address", "rank", "box_dim", "global_dim", "global_stride", "element_stride", "elemtype", "interleave_layout",
                  "swizzle_mode", "fill_mode"]
        for text in (text for kernel, _, modules in self.variants if is_product(kernel) for text in modules.values()):
            self.assertGreaterEqual(tuple(map(int, re.search(r"\.version (\d+)\.(\d+)", text).groups())), (8, 5))
            maps = next(body for name, _, _, body in ENTRY.findall(text) if name == "tensor_maps")
            for field in fields:
                times = len(re.findall(rf"tensormap\.replace\.tile\.{field}\.", maps))
                self.assertEqual(times, 4 if field in ("box_dim", "global_dim", "element_stride") else 2, field)  # of 2 dimensions

    def test_registers_and_labels_are_declared(self):
        for text in self.modules.values():
            for _, _, _, body in ENTRY.findall(text):
                declared = {kind: int(count) for kind, count in re.findall(r"\.reg \.\w+ %(\w)<(\d+)>;", body)}
                for kind, number in re.findall(r"%([rdpfh])(\d+)", body):
                    self.assertLess(int(number), declared[kind])
                labels = re.findall(r"^(\$\w+):", body, re.M)
                self.assertEqual(len(labels), len(set(labels)))
                self.assertEqual(set(re.findall(r"bra (\$\w+)", body)), set(labels))

    def test_dump_writes_every_module(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, os.path.join(ROOT, "tools", "generate_kernels.py"), "--source", ROOT, "--dump", folder],
                           check=True)
            for types, text in self.modules.items():
                self.assertEqual(generate_kernels.read(os.path.join(folder, "_".join(types) + ".ptx")), text)

    @unittest.skipUnless(PTXAS, "no ptxas")
    def test_ptxas_assembles_without_spills(self):
        with tempfile.TemporaryDirectory() as folder:
            for types, text in self.modules.items():
                path = os.path.join(folder, "module.ptx")
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                run = subprocess.run([PTXAS, "-arch=sm_90a", "-v", "-o", os.path.join(folder, "module.cubin"), path],
                                     capture_output=True, text=True)
                said = run.stdout + run.stderr
                self.assertEqual(run.returncode, 0, said)
                self.assertEqual(len(re.findall(r"\b0 bytes spill stores, 0 bytes spill loads", said)), len(ENTRY.findall(text)), (types, said))
                self.assertNotRegex(said.lower(), "warning|serializ")


if __name__ == "__main__":
    unittest.main()
