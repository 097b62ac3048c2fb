#!/usr/bin/env python3
"""The text of tools/generate_ptx.py, without the hardware: entries, parameters, names; and what ptxas says of it, where PTXAS in the
environment names it or PATH has it."""
import os, re, shutil, subprocess, sys, tempfile, unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tools"))
import generate_kernels, generate_ptx

PTXAS = os.environ.get("PTXAS") or shutil.which("ptxas")
ENTRY = re.compile(r"\.visible \.entry (\w+)\((.*?)\)\n(.*?)\{\n(.*?)\n\}\n", re.S)


class Ptx(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        kernels = generate_kernels.parse(os.path.join(ROOT, "src", "device", "kernels.def"))
        cls.gemm = next(k for k in kernels if k.name == "gemm")
        cls.modules = generate_kernels.ptx_modules(cls.gemm, "_wgmma")

    def test_every_module_has_both_entries(self):
        self.assertEqual(set(self.modules), {(y, x) for y in ("f32", "f16", "bf16") for x in ("f16", "bf16")})
        for (_, x), text in self.modules.items():
            self.assertEqual([m[0] for m in ENTRY.findall(text)], ["tensor_maps", "gemm_wgmma"])
            self.assertIn(".target sm_90a\n", text)
            kinds = set(re.findall(r"wgmma\.mma_async\.\S+?k16\.(\S+) ", text))
            self.assertEqual(kinds, {f"f32.{x}.{x}"})

    def test_parameters_are_those_of_opencl_c_and_two_more(self):
        names = [n for b in self.gemm.buffers for n in (b[0], b[0] + "_offset")]
        names += [f"scalars[{4 * len(self.gemm.scalars)}]", "maps", "bias_type"]
        for text in self.modules.values():
            for _, parameters, _, _ in ENTRY.findall(text):
                self.assertEqual([p.split()[-1] for p in parameters.split(",")], names)

    def test_groups_are_what_the_dispatch_launches(self):
        shape = generate_ptx.SHAPES["gemm_wgmma"]
        for text in self.modules.values():
            limits = {name: limit for name, _, limit, _ in ENTRY.findall(text)}
            self.assertIn(".reqntid 32, 1, 1\n", limits["tensor_maps"])
            self.assertIn(f".reqntid {shape.group}, 1, 1\n", limits["gemm_wgmma"])

    # Before 8.5 the strides of a map may count in units of 16 bytes.
    def test_maps_get_every_field_once(self):
        fields = ["global_address", "rank", "box_dim", "global_dim", "global_stride", "element_stride", "elemtype", "interleave_layout",
                  "swizzle_mode", "fill_mode"]
        for text in self.modules.values():
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
            for (y, x), text in self.modules.items():
                self.assertEqual(generate_kernels.read(os.path.join(folder, f"gemm_wgmma_{y}_{x}.ptx")), text)

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
                self.assertEqual(len(re.findall(r"\b0 bytes spill stores, 0 bytes spill loads", said)), 2, (types, said))
                self.assertNotRegex(said.lower(), "warning|serializ")


if __name__ == "__main__":
    unittest.main()
