// PCG32 (O'Neill, PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms, 2014).
#include "base/random.h"

#include <math.h>

#define FACTOR UINT64_C(6364136223846793005)

void bm_random_init(bm_random *random, uint64_t seed, uint64_t stream)
{
    random->state = 0;
    random->stream = stream << 1 | 1u;
    (void)bm_random_u32(random);
    random->state += seed;
    (void)bm_random_u32(random);
}

uint32_t bm_random_u32(bm_random *random)
{
    const uint64_t old = random->state;
    random->state = old * FACTOR + random->stream;
    const uint32_t shifted = (uint32_t)((old >> 18 ^ old) >> 27), rotation = (uint32_t)(old >> 59);
    return shifted >> rotation | shifted << (-rotation & 31);
}

// Brown, Random Number Generation with Arbitrary Strides, 1994: count steps are one, whose factor and addend are made of
// those of 1, 2, 4, ... steps.
void bm_random_advance(bm_random *random, uint64_t count)
{
    uint64_t factor = 1, addend = 0, step_factor = FACTOR, step_addend = random->stream;
    for (; count > 0; count >>= 1) {
        if (count & 1) {
            factor *= step_factor;
            addend = addend * step_factor + step_addend;
        }
        step_addend *= step_factor + 1;
        step_factor *= step_factor;
    }
    random->state = random->state * factor + addend;
}

uint32_t bm_random_below(bm_random *random, uint32_t bound)
{
    const uint32_t threshold = -bound % bound; // values below it would be counted once too often
    for (;;) {
        const uint32_t value = bm_random_u32(random);
        if (value >= threshold)
            return value % bound;
    }
}

double bm_random_double(bm_random *random)
{
    const uint64_t high = bm_random_u32(random), low = bm_random_u32(random);
    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

double bm_random_normal(bm_random *random)
{
    // Box and Muller; one of the pair is dropped so that the state is two numbers a call.
    const double radius = sqrt(-2.0 * log(1.0 - bm_random_double(random)));
    return radius * cos(6.283185307179586 * bm_random_double(random));
}

void bm_random_shuffle(bm_random *random, uint32_t *items, uint32_t count)
{
    for (uint32_t i = count; i > 1; i--) {
        const uint32_t k = bm_random_below(random, i), swap = items[i - 1];
        items[i - 1] = items[k];
        items[k] = swap;
    }
}

void bm_random_choose(bm_random *random, uint32_t n, uint32_t count, uint32_t *out)
{
    uint32_t chosen = 0;
    for (uint32_t i = 0; i < n && chosen < count; i++)
        if (bm_random_below(random, n - i) < count - chosen)
            out[chosen++] = i;
}
