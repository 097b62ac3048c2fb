#!/usr/bin/env python3
"""tools/rewrite_cooperative_matrix.py on a module that glslang compiles. Exit status 77: no glslangValidator."""
import os, shutil, subprocess, sys, tempfile, unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools"))
import rewrite_cooperative_matrix as r

SHADER = os.path.join(HERE, "test_vulkan_cooperative_matrix.comp")


def compile_text(text, columns=8):
    with tempfile.TemporaryDirectory() as folder:
        source, module = os.path.join(folder, "x.comp"), os.path.join(folder, "x.spv")
        with open(source, "w", encoding="utf-8") as f:
            f.write(text)
        subprocess.run(["glslangValidator", "-V", "--target-env", "vulkan1.2", "-g0", f"-DMATRIX_N={columns}", "-o", module, source], check=True,
                       stdout=subprocess.DEVNULL)
        with open(module, "rb") as f:
            return f.read()


def shader(*changes, columns=8):
    with open(SHADER, encoding="utf-8") as f:
        text = f.read()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return compile_text(text, columns)


def integers(kind):
    """The shader with 8-bit integers, signed (i) or unsigned (u)."""
    matrix = f"{kind}coopmatNV"
    return shader(("#extension GL_NV_cooperative_matrix : require", "#extension GL_NV_cooperative_matrix : require\n"
                   "#extension GL_NV_integer_cooperative_matrix : require\n#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require"),
                  ("fcoopmatNV<16, gl_ScopeSubgroup, 16, 16>", f"{matrix}<8, gl_ScopeSubgroup, 16, 32>"),
                  ("fcoopmatNV<16, gl_ScopeSubgroup, 16, N>", f"{matrix}<8, gl_ScopeSubgroup, 32, N>"),
                  ("fcoopmatNV<32, gl_ScopeSubgroup, 16, N>", f"{matrix}<32, gl_ScopeSubgroup, 16, N>"),
                  ("sum *= factor;", ""), ("N>(0.0)", "N>(0)"), ("{ float16_t v[]; }", "{ uint v[]; }"), ("{ float v[]; }", "{ int v[]; }"))


class Rewrite(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.data = shader()
        cls.header, cls.instructions = r.parse(r.rewrite(cls.data))

    def of(self, opcode):
        return [i for i in self.instructions if i[0] == opcode]

    def test_parse_and_assemble_are_inverse(self):
        self.assertEqual(r.assemble(*r.parse(self.data)), self.data)

    def test_no_nv_is_left(self):
        self.assertFalse([i for i in self.instructions if r.TYPE_NV <= i[0] <= r.LENGTH_NV])
        self.assertFalse([i for i in self.instructions if i[0] == r.OP_CAPABILITY and i[1] == r.CAPABILITY_NV])
        self.assertNotIn([r.OP_EXTENSION] + r.text_words(r.EXTENSION_NV), self.instructions)
        self.assertIn([r.OP_CAPABILITY, r.CAPABILITY_KHR], self.instructions)
        self.assertIn([r.OP_EXTENSION] + r.text_words(r.EXTENSION_KHR), self.instructions)

    def test_types_have_their_uses(self):
        constants = {i[2]: i[3] for i in self.of(r.OP_CONSTANT) + self.of(r.OP_SPEC_CONSTANT)}
        found = sorted(tuple(constants[c] for c in i[4:7]) for i in self.of(r.TYPE_KHR))
        self.assertEqual(found, [(16, 8, 1), (16, 8, 2), (16, 16, 0)])  # rows, columns, use

    def test_constants_precede_the_types(self):
        position = {i[2]: n for n, i in enumerate(self.instructions) if i[0] in (r.OP_CONSTANT, r.OP_SPEC_CONSTANT)}
        for n, i in enumerate(self.instructions):
            if i[0] == r.TYPE_KHR:
                self.assertTrue(all(position[c] < n for c in i[3:7]))

    def test_layouts_are_those_of_the_source(self):
        constants = {i[2]: i[3] for i in self.of(r.OP_CONSTANT)}
        self.assertEqual(sorted(constants[i[4]] for i in self.of(r.LOAD_KHR)), [0, 1])
        self.assertEqual([constants[i[3]] for i in self.of(r.STORE_KHR)], [0])

    def test_a_specialization_constant_tells_a_from_b(self):
        _, instructions = r.parse(r.rewrite(shader(columns=16)))
        constants = {i[2]: i[3] for i in instructions if i[0] in (r.OP_CONSTANT, r.OP_SPEC_CONSTANT)}
        found = sorted(tuple(constants[c] for c in i[4:7]) for i in instructions if i[0] == r.TYPE_KHR)
        self.assertEqual(found, [(16, 16, 0), (16, 16, 1), (16, 16, 2)])

    def test_bfloat16_is_a_type_of_its_own(self):
        data = shader(columns=16)
        old_header, _ = r.parse(data)
        header, instructions = r.parse(r.rewrite(data, True))
        self.assertEqual(header[3], old_header[3] + 4)
        floats = [i for i in instructions if i[0] == r.OP_TYPE_FLOAT]
        self.assertEqual(sorted(i[2:] for i in floats), [[16], [16, 0], [32]])  # memory's float16 stays
        bfloat16 = next(i[1] for i in floats if i[2:] == [16, 0])
        single = next(i[1] for i in floats if i[2:] == [32])
        constants = {i[2]: i[3] for i in instructions if i[0] == r.OP_CONSTANT}
        types = {constants[i[6]]: i for i in instructions if i[0] == r.TYPE_KHR}
        self.assertEqual([types[use][2] for use in range(3)], [bfloat16, bfloat16, single])
        self.assertLess(instructions.index([r.OP_TYPE_FLOAT, bfloat16, 16, 0]), instructions.index(types[0]))
        for capability in (5116, 5118, 6022):
            self.assertEqual(instructions.count([r.OP_CAPABILITY, capability]), 1)
        for name in (b"SPV_KHR_bfloat16", b"SPV_KHR_cooperative_matrix"):
            self.assertEqual(instructions.count([r.OP_EXTENSION] + r.text_words(name)), 1)
        kinds = [i[0] for i in instructions]  # capabilities, then extensions, then the memory model
        self.assertEqual(sorted(kinds[:kinds.index(r.OP_MEMORY_MODEL)], key=[17, 10, 11].index),
                         kinds[:kinds.index(r.OP_MEMORY_MODEL)])

    def test_bfloat16_has_no_arithmetic(self):
        for text in ("left = left + left;", "left *= float16_t(2);", "left[0] += float16_t(1);", "if (left[0] < left[1]) sum *= 2.0;",
                     "f16vec2 two = f16vec2(left[0], left[1]); left[0] = two.y;", "left[0] = a.v[0];",
                     "left[0] = float16_t(i);"):
            with self.subTest(text), self.assertRaisesRegex(ValueError, "a bfloat16"):
                r.rewrite(shader(("        sum = coop", f"        {text}\n        sum = coop"), columns=16), True)

    def test_bfloat16_has_no_constant_of_many_bits(self):
        with self.assertRaisesRegex(ValueError, "1.00097"):
            r.rewrite(shader(("        sum = coop", "        left[0] = float16_t(1.0009765625);\n        sum = coop"), columns=16), True)

    def test_elements_of_bfloat16_come_from_float32(self):
        text = "left[0] = float16_t(sum[1]); sum[0] = float(left[2]); left = fcoopmatNV<16, gl_ScopeSubgroup, 16, 16>(1.0);"
        _, instructions = r.parse(r.rewrite(shader(("        sum = coop", f"        {text}\n        sum = coop"), columns=16), True))
        bfloat16 = next(i[1] for i in instructions if i[0] == r.OP_TYPE_FLOAT and i[2:] == [16, 0])
        half = next(i[1] for i in instructions if i[0] == r.OP_TYPE_FLOAT and i[2:] == [16])
        pointers = {i[1] for i in instructions if i[0] == r.OP_TYPE_POINTER and i[2:] == [7, bfloat16]}
        self.assertTrue([i for i in instructions if i[0] == 115 and i[1] == bfloat16])
        self.assertTrue([i for i in instructions if i[0] == 61 and i[1] == bfloat16])
        self.assertEqual(len([i for i in instructions if i[0] == 65 and i[1] in pointers]), 2)
        self.assertIn([r.OP_CONSTANT, bfloat16, 0x3f80], [i[:2] + i[3:] for i in instructions])
        self.assertFalse([i for i in instructions if i[0] in (61, 115, r.OP_CONSTANT) and i[1] == half])

    def test_products_say_which_components_are_signed(self):
        self.assertEqual([i[6:] for i in self.of(r.MUL_ADD_KHR)], [[]])
        for matrices, mask in (("i", 15), ("u", 0)):
            with self.subTest(matrices):
                data = integers(matrices)
                _, instructions = r.parse(r.rewrite(data))
                self.assertEqual([i[6:] for i in instructions if i[0] == r.MUL_ADD_KHR], [[mask]] if mask else [[]])
                constants = {i[2]: i[3] for i in instructions if i[0] in (r.OP_CONSTANT, r.OP_SPEC_CONSTANT)}
                found = sorted(tuple(constants[c] for c in i[4:7]) for i in instructions if i[0] == r.TYPE_KHR)
                self.assertEqual(found, [(16, 8, 2), (16, 32, 0), (32, 8, 1)])

    def test_ids_stay_below_the_bound(self):
        old_header, _ = r.parse(self.data)
        self.assertEqual(self.header[3], old_header[3] + 3)

    def test_length_is_refused(self):
        with self.assertRaisesRegex(ValueError, "length"):
            r.rewrite(shader(("sum *= factor;", "for (uint i = 0; i < sum.length(); i++) sum[i] *= factor;")))

    def test_equal_types_of_a_and_b_are_refused(self):
        data = shader(("16, N>", "16, 16>"))
        with self.assertRaisesRegex(ValueError, "16x8x16"):
            r.rewrite(data)

    def test_other_memory_model_is_refused(self):
        with self.assertRaisesRegex(ValueError, "use_vulkan_memory_model"):
            header, instructions = r.parse(self.data)
            r.rewrite(r.assemble(header, [i[:2] + [1] if i[0] == r.OP_MEMORY_MODEL else i for i in instructions]))  # GLSL450

    def test_module_without_matrices_is_unchanged(self):
        data = compile_text("#version 450\nlayout(local_size_x = 1) in;\nvoid main() {}\n")
        self.assertEqual(r.rewrite(data), data)

    def test_cut_module_is_refused(self):
        for cut in (0, 7, 16, 24):
            with self.assertRaises(ValueError):
                r.rewrite(self.data[:cut])

    def test_spirv_val_passes(self):
        val = shutil.which("spirv-val")
        if not val:
            self.skipTest("no spirv-val")
        for data, to_bfloat16 in ((self.data, False), (shader(columns=16), False), (shader(columns=16), True), (integers("i"), False)):
            run = subprocess.run([val, "--target-env", "vulkan1.2", "-"], input=r.rewrite(data, to_bfloat16),
                                 capture_output=True)
            words = (run.stdout + run.stderr).decode()
            if run.returncode and ("Invalid capability" in words or "Invalid opcode" in words):
                self.skipTest("this spirv-val does not know SPV_KHR_cooperative_matrix or SPV_KHR_bfloat16")
            self.assertEqual(run.returncode, 0, words)


if __name__ == "__main__":
    if not shutil.which("glslangValidator"):
        sys.exit(77)
    unittest.main()
