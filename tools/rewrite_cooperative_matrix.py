#!/usr/bin/env python3
"""Turns a SPIR-V module of SPV_NV_cooperative_matrix into one of SPV_KHR_cooperative_matrix.

Debian 12's glslang compiles GL_NV_cooperative_matrix only, while devices offer the KHR extension. The instructions are the
same but for their numbers, the order of two operands, and one thing that NV does not write down: whether a matrix type is
A, B or the accumulator of a product. That use is derived from the products of the module. One type can have one use, so A, B
and C must differ in shape or component: 16x8x16 (A 16x16, B 16x8, C 16x8 of float32) does, 16x16x16 does not.

Signed components are of the type in NV, and of each product in KHR.

A type whose columns are a specialization constant differs from one of as many columns by a plain constant: so modules of
16x16x16 are written.

With --bfloat16, 16-bit floats of matrices become bfloat16 (SPV_KHR_bfloat16), a type of its own beside float16, which memory keeps:
matrices are loaded from memory of whatever type, filled with a constant, and multiplied; elements come from float32 and go there.

The shader must say `#pragma use_vulkan_memory_model`, which the KHR extension asks for; `column_major` must be a constant;
length() is refused (see below). A module without NV matrices comes back unchanged.

Usage: rewrite_cooperative_matrix.py [--bfloat16] IN.spv OUT.spv
"""
import struct, sys

EXTENSION_NV, EXTENSION_KHR = b"SPV_NV_cooperative_matrix", b"SPV_KHR_cooperative_matrix"
EXTENSION_BFLOAT16 = b"SPV_KHR_bfloat16"
OP_NAME, OP_MEMBER_NAME, OP_EXTENSION, OP_MEMORY_MODEL, OP_CAPABILITY = 5, 6, 10, 14, 17
OP_TYPE_INT, OP_TYPE_FLOAT, OP_TYPE_VECTOR, OP_TYPE_POINTER = 21, 22, 23, 32
OP_CONSTANT_TRUE, OP_CONSTANT_FALSE, OP_CONSTANT, OP_SPEC_CONSTANT, OP_SPEC_CONSTANT_OP = 41, 42, 43, 50, 52
OP_DECORATE, OP_MEMBER_DECORATE = 71, 72
OP_CONVERSIONS = range(109, 116)  # OpConvertFToU .. OpFConvert: both sides have the same use
TYPE_NV, LOAD_NV, STORE_NV, MUL_ADD_NV, LENGTH_NV = 5358, 5359, 5360, 5361, 5362
TYPE_KHR, LOAD_KHR, STORE_KHR, MUL_ADD_KHR, LENGTH_KHR = 4456, 4457, 4458, 4459, 4460
CAPABILITY_NV, CAPABILITY_KHR = 5357, 6022
CAPABILITY_BFLOAT16, CAPABILITY_BFLOAT16_MATRIX = 5116, 5118
ENCODING_BFLOAT16 = 0
# What may give a bfloat16 matrix: OpUndef, OpConstantComposite, OpFunctionParameter, OpFunctionCall, OpLoad, OpCompositeConstruct,
# OpCompositeExtract (from an array), OpCopyObject, OpSelect, OpPhi, a load of a matrix. An element: OpConstant, OpFConvert, too.
BFLOAT16_SOURCES = (1, 44, 55, 57, 61, 80, 81, 83, 169, 245, LOAD_NV)
BFLOAT16_ELEMENT_SOURCES = (1, OP_CONSTANT, 61, 83, 115, 169, 245)
BFLOAT16_REFUSED_USES = (109, 110, *range(156, 164), *range(180, 192))  # conversions to integers, comparisons
FUNCTION = 7  # a storage class
MEMORY_MODEL_VULKAN = 3
USES = ("A", "B", "accumulator")  # their numbers in the KHR extension
ACCUMULATOR = 2
SIGNED_A, SIGNED_B, SIGNED_SUM, SIGNED_RESULT = 1, 2, 4, 8


def parse(data):
    """The header's five words and the instructions, each a list: opcode, operand words."""
    if len(data) < 20 or len(data) % 4 or data[:4] != b"\x03\x02\x23\x07":
        raise ValueError("not a little-endian SPIR-V module")
    words = list(struct.unpack(f"<{len(data) // 4}I", data))
    instructions, at = [], 5
    while at < len(words):
        count = words[at] >> 16
        if count == 0 or at + count > len(words):
            raise ValueError(f"word {at}: an instruction of {count} words")
        instructions.append([words[at] & 0xffff] + words[at + 1:at + count])
        at += count
    return words[:5], instructions


def assemble(header, instructions):
    words = list(header)
    for i in instructions:
        words += [len(i) << 16 | i[0]] + i[1:]
    return struct.pack(f"<{len(words)}I", *words)


def text_words(text):
    text += b"\0" * (4 - len(text) % 4)
    return list(struct.unpack(f"<{len(text) // 4}I", text))


def results(instructions, types):
    """The instructions whose result is of one of these types."""
    # A result type is the first operand; ids of types come first elsewhere only in names and where they are declared.
    others = (OP_NAME, OP_MEMBER_NAME, OP_DECORATE, OP_MEMBER_DECORATE, OP_TYPE_FLOAT, OP_TYPE_POINTER, TYPE_NV)
    return [i for i in instructions if len(i) > 2 and i[1] in types and i[0] not in others]


def signed_operands(instructions, product, type_of):
    """Operands that say which matrices of a product are of signed integers; none where none is."""
    signed = {i[1] for i in instructions if i[0] == OP_TYPE_INT and i[3] == 1}
    signed = {i[1] for i in instructions if i[0] == TYPE_NV and i[2] in signed}
    flags = ((type_of[product[3]], SIGNED_A), (type_of[product[4]], SIGNED_B), (type_of[product[5]], SIGNED_SUM), (product[1], SIGNED_RESULT))
    mask = sum(flag for type_id, flag in flags if type_id in signed)
    return [mask] if mask else []


def derive_uses(instructions, types, type_of):
    """Use of every matrix type. types: id to description, for messages; type_of: of every matrix."""
    uses = {}

    def assign(type_id, use):
        if uses.setdefault(type_id, use) != use:
            raise ValueError(f"matrix type {types[type_id]} is both {USES[uses[type_id]]} and {USES[use]}: "
                             "choose a shape in which A, B and the accumulator differ, as 16x8x16")
    for i in instructions:
        if i[0] == MUL_ADD_NV:
            for value, use in ((i[3], 0), (i[4], 1), (i[5], ACCUMULATOR), (i[2], ACCUMULATOR)):
                assign(type_of[value], use)
    changed = True
    while changed:
        changed = False
        for i in instructions:
            if i[0] in OP_CONVERSIONS and i[1] in types and i[3] in type_of:
                for a, b in ((i[1], type_of[i[3]]), (type_of[i[3]], i[1])):
                    if a in uses and uses.get(b) != uses[a]:
                        assign(b, uses[a])
                        changed = True
    return {t: uses.get(t, ACCUMULATOR) for t in types}  # never multiplied: the use that all conversions allow


def float16_to_bfloat16(bits):
    """Of a constant that both have."""
    value, = struct.unpack("<e", struct.pack("<H", bits))
    single, = struct.unpack("<I", struct.pack("<f", value))
    if single & 0xffff:
        raise ValueError(f"bfloat16 has no {value}")
    return single >> 16


def check_bfloat16(instructions, halves, types):
    """Elements are made of float32 or constants, and made float32: there is no arithmetic of bfloat16."""
    elements = {i[2] for i in results(instructions, halves)}
    memory = {i[1] for i in instructions if i[0] == OP_TYPE_POINTER and i[2] != FUNCTION and i[3] in halves}
    in_memory = {i[2] for i in results(instructions, memory)}
    for i in results(instructions, types):
        if i[0] not in BFLOAT16_SOURCES:
            raise ValueError(f"a bfloat16 matrix by opcode {i[0]}: it can be loaded, filled and multiplied only")
    for i in results(instructions, halves):
        if i[0] not in BFLOAT16_ELEMENT_SOURCES or (i[0] == 61 and i[3] in in_memory):
            raise ValueError(f"a bfloat16 element by opcode {i[0]}: it can be converted from float32 only")
    for i in instructions:
        if (i[0] in BFLOAT16_REFUSED_USES and elements & set(i[3:])) or (i[0] == OP_TYPE_VECTOR and i[2] in halves):
            raise ValueError(f"a bfloat16 element in opcode {i[0]}: it can be converted to float32 only")


def components_to_bfloat16(header, instructions):
    """The instructions with bfloat16 where 16-bit floats are components of NV matrices, or their elements outside memory."""
    halves = {i[1] for i in instructions if i[0] == OP_TYPE_FLOAT and i[2:] == [16]}
    types = {i[1] for i in instructions if i[0] == TYPE_NV and i[2] in halves}
    check_bfloat16(instructions, halves, types)
    elements = [id(i) for i in results(instructions, halves)]
    bfloat16, out = header[3], []
    header[3] += 1
    for i in instructions:
        if i[0] == OP_CAPABILITY and i[1] == CAPABILITY_NV:
            out += [[OP_CAPABILITY, CAPABILITY_BFLOAT16], [OP_CAPABILITY, CAPABILITY_BFLOAT16_MATRIX]]
        elif i[0] == OP_EXTENSION and i[1:] == text_words(EXTENSION_NV):
            out.append([OP_EXTENSION] + text_words(EXTENSION_BFLOAT16))
        elif i[0] == OP_TYPE_FLOAT and i[1] in halves:
            out.append([OP_TYPE_FLOAT, bfloat16, 16, ENCODING_BFLOAT16])
        elif i[0] == TYPE_NV and i[1] in types:
            i = i[:2] + [bfloat16] + i[3:]
        elif i[0] == OP_TYPE_POINTER and i[2] == FUNCTION and i[3] in halves:
            i = i[:3] + [bfloat16]
        elif id(i) in elements:
            i = [i[0], bfloat16, i[2], float16_to_bfloat16(i[3])] if i[0] == OP_CONSTANT else [i[0], bfloat16] + i[2:]
        out.append(i)
    return out


def rewrite(data, to_bfloat16=False):
    """bytes of a module -> bytes of a module."""
    header, instructions = parse(data)
    types = {i[1]: None for i in instructions if i[0] == TYPE_NV}
    if not any(i[0] == OP_CAPABILITY and i[1] == CAPABILITY_NV for i in instructions):
        return data
    if not any(i[0] == OP_MEMORY_MODEL and i[2] == MEMORY_MODEL_VULKAN for i in instructions):
        raise ValueError("cooperative matrices need #pragma use_vulkan_memory_model")
    constants = {i[2]: i for i in instructions if i[0] in (OP_CONSTANT, OP_SPEC_CONSTANT)}
    is_column_major = {i[2]: int(i[0] == OP_CONSTANT_TRUE) for i in instructions if i[0] in (OP_CONSTANT_TRUE, OP_CONSTANT_FALSE)}
    for i in instructions:
        if i[0] == TYPE_NV:
            size = [str(constants[c][3]) if c in constants else "?" for c in i[4:6]]
            types[i[1]] = f"%{i[1]} [{'x'.join(size)}]"
    type_of = {i[2]: i[1] for i in results(instructions, types)}
    uses = derive_uses(instructions, types, type_of)
    signed = {i[2]: signed_operands(instructions, i, type_of) for i in instructions if i[0] == MUL_ADD_NV}  # by result
    if to_bfloat16:
        instructions = components_to_bfloat16(header, instructions)

    # Constants 0, 1, 2 of the type of the first matrix's scope: uses, and the first two are layouts, too.
    numbers = list(range(header[3], header[3] + 3))
    header[3] += 3

    def layout(column_major):
        if column_major not in is_column_major:
            raise ValueError("column_major must be a constant")
        return numbers[is_column_major[column_major]]

    out, has_numbers = [], False
    for i in instructions:
        if i[0] == OP_CAPABILITY and i[1] == CAPABILITY_NV:
            i = [OP_CAPABILITY, CAPABILITY_KHR]
        elif i[0] == OP_EXTENSION and i[1:] == text_words(EXTENSION_NV):
            i = [OP_EXTENSION] + text_words(EXTENSION_KHR)
        elif i[0] == TYPE_NV:
            if not has_numbers:
                integer = constants[i[3]][1]
                out += [[OP_CONSTANT, integer, number, value] for value, number in enumerate(numbers)]
                has_numbers = True
            i = [TYPE_KHR] + i[1:] + [numbers[uses[i[1]]]]
        elif i[0] == LOAD_NV:  # type, result, pointer, stride, column major, memory operands
            i = [LOAD_KHR] + i[1:4] + [layout(i[5]), i[4]] + i[6:]
        elif i[0] == STORE_NV:  # pointer, object, stride, column major, memory operands
            i = [STORE_KHR] + i[1:3] + [layout(i[4]), i[3]] + i[5:]
        elif i[0] == MUL_ADD_NV:
            i = [MUL_ADD_KHR] + i[1:] + signed[i[2]]
        elif i[0] == LENGTH_NV:
            i = [LENGTH_KHR] + i[1:]
        elif i[0] == OP_SPEC_CONSTANT_OP and i[3] == LENGTH_NV:
            raise ValueError("length() of a matrix: as a constant it crashes NVIDIA's compiler (driver 580); work on whole "
                             "matrices instead, as in sum *= factor")
        out.append(i)
    return assemble(header, out)


def main():
    to_bfloat16 = sys.argv[1:2] == ["--bfloat16"]
    paths = sys.argv[1 + to_bfloat16:]
    if len(paths) != 2:
        sys.exit(__doc__)
    with open(paths[0], "rb") as f:
        data = f.read()
    try:
        data = rewrite(data, to_bfloat16)
    except ValueError as e:
        sys.exit(f"{paths[0]}: {e}")
    with open(paths[1], "wb") as f:
        f.write(data)


if __name__ == "__main__":
    main()
