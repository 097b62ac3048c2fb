// The arithmetic of rounding to a grid, shared by the kernels of quantization.   Twins: cl/include/quantization.h, src/device/host/quantization.h
//
//   value = (code - zero_point) * step      code = clamp(rint(value * (1 / step)) + zero_point, -2^(bits-1), 2^(bits-1)-1)
//
// Every device must compute the same codes. Only float32 addition and multiplication round alike everywhere, so division
// is corrected in integers, what could meet denormal numbers (which some devices flush) is scaled or cut off before, and
// `precise` forbids to fuse a product with a sum.
const uint BM_UNIT = 0;          // beside BM_F32 and its like
const float BM_ZERO_PEAK = 1e-30; // a group whose largest magnitude is below counts as zero
const float BM_LARGEST_PEAK = 1329227995784915872903807060280344576.0; // 2^120: larger magnitudes saturate: steps and
                                                                       // their reciprocals stay normal

// a / b, correctly rounded. a, b: positive and normal, as is the quotient.
//
// The device's quotient of the two significands is off by a few units at most; the remainder ma 2^shift - r mb of a
// quotient that near is below 2^28 and so exact in 32 bits although its terms are not. Half-way quotients do not exist.
float bm_divide(float a, float b)
{
    const uint ma = (floatBitsToUint(a) & 0x7fffffu) | 0x800000u, mb = (floatBitsToUint(b) & 0x7fffffu) | 0x800000u;
    const uint less = ma < mb ? 1u : 0u; // then twice ma: the quotient's significand lies in [2^23, 2^24)
    const uint shift = 23u + less;
    uint r = uint(float(ma) / float(mb) * (less != 0u ? 16777216.0 : 8388608.0));
    int rest = int((ma << shift) - r * mb);
    for (uint i = 0; i < 5; i++) {
        if (2 * rest > int(mb)) {
            r++;
            rest -= int(mb);
        } else if (2 * rest < -int(mb)) {
            r--;
            rest += int(mb);
        }
    }
    const uint exponent = (floatBitsToUint(a) >> 23) + 127u - (floatBitsToUint(b) >> 23) - less;
    return uintBitsToFloat((exponent << 23) | (r & 0x7fffffu));
}

// x with the sign of y.
float bm_copy_sign(float x, float y)
{
    return uintBitsToFloat((floatBitsToUint(x) & 0x7fffffffu) | (floatBitsToUint(y) & 0x80000000u));
}

// 1 / step, with the sign of step.
float bm_inverse_step(float step) { return bm_copy_sign(bm_divide(1.0, abs(step)), step); }

// A step as its stored type holds it: rounded half to even, never below the smallest normal number, never infinite. BM_UNIT: a unit of
// nested steps, float16 down to its smallest number; what they make of it is normal float32 all the same.
float bm_stored_step(float step, uint scale_type)
{
    const float least = scale_type == BM_UNIT ? 5.9604644775390625e-8 : 0.00006103515625; // 2^-24, 2^-14
    if (scale_type == BM_F16 || scale_type == BM_UNIT)
        return bm_copy_sign(bm_f16_value(bm_f16_bits(vec4(min(max(abs(step), least), 65504.0))).x), step);
    return scale_type == BM_BF16 ? uintBitsToFloat(bm_bf16_bits(vec4(step)).x << 16) : step;
}

// The step of a group of zeros: any positive number does, since all its codes are 0.
float bm_zero_step(uint scale_type) { return scale_type == BM_F32 ? 1e-8 : 1.0; }

// The range of a group as steps are made from it: zero lies in it, and its ends are finite.
float bm_range_low(float minimum) { return max(min(minimum, 0.0), -BM_LARGEST_PEAK); }
float bm_range_high(float maximum) { return min(max(maximum, 0.0), BM_LARGEST_PEAK); }

// The step of a group with this range, shrunk by factor. Not for groups of zeros. Symmetric: with the sign of factor, so
// that the code without a partner, -2^(bits-1), lies on either side.
float bm_group_step(float low, float high, float factor, uint bits, uint symmetric, uint scale_type)
{
    const float steps = float((1u << (bits - 1)) - 1); // Q
    precise float peak = max(-low, high) * abs(factor);
    if (symmetric != 0u)
        return bm_stored_step(bm_copy_sign(bm_divide(peak, steps), factor), scale_type);
    precise float half_range = high * factor * 0.5 - low * factor * 0.5; // halved: the whole could overflow
    return bm_stored_step(bm_divide(half_range, steps + 0.5), scale_type);
}

// The code of 0 for a range that starts at low; inverse = 1 / step.
float bm_group_zero_point(float low, float factor, float inverse, uint bits, uint symmetric)
{
    const float half_codes = float(1u << (bits - 1));
    precise float zero_point = roundEven(-low * factor * inverse) - half_codes;
    return symmetric != 0u ? 0.0 : clamp(zero_point, -half_codes, half_codes - 1.0);
}

// The grid that factor gives a group of this range; a group of zeros has the grid of zeros.
struct bm_grid {
    float step, zero_point;
};
bm_grid bm_group_grid(float minimum, float maximum, float factor, uint bits, uint symmetric, uint scale_type)
{
    const float low = bm_range_low(minimum), high = bm_range_high(maximum);
    bm_grid grid = bm_grid(bm_zero_step(scale_type), 0.0);
    if (max(-low, high) >= BM_ZERO_PEAK) {
        grid.step = bm_group_step(low, high, factor, bits, symmetric, scale_type);
        grid.zero_point = bm_group_zero_point(low, factor, bm_inverse_step(grid.step), bits, symmetric);
    }
    return grid;
}

// Codes of four neighbours: round half to even, add the zero point, clamp; in this order.
vec4 bm_codes4(vec4 w, float inverse, float zero_point, uint bits)
{
    const float half_codes = float(1u << (bits - 1));
    precise vec4 scaled = w * inverse;
    precise vec4 codes = roundEven(scaled) + zero_point;
    return clamp(codes, vec4(-half_codes), vec4(half_codes - 1.0));
}

// Four codes in a word, the first in the lowest byte.
uint bm_pack_bytes(vec4 codes)
{
    const uvec4 u = uvec4(ivec4(codes)) & 255u;
    return u.x | u.y << 8 | u.z << 16 | u.w << 24;
}

// The power of two that brings range near 2^40: squares of differences then neither overflow nor meet denormal numbers
// that matter (a difference below 2^-103 of the range counts on some devices and not on others; beside it no other does).
float bm_range_unit(float range) { return uintBitsToFloat(min(294u - (floatBitsToUint(range) >> 23), 254u) << 23); }

// The power of two that brings the larger end of a range to 2^10 .. 2^11: float16 then holds differences from it, and their halves
// down to 2^-24 of the range.
float bm_half_unit(float minimum, float maximum)
{
    return uintBitsToFloat(uint(clamp(264 - int(floatBitsToUint(max(abs(minimum), abs(maximum))) >> 23), 1, 254)) << 23);
}
