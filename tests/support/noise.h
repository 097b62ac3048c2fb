// Normal numbers for made models: those of bm_random_normal, and many at a time.
#ifndef TESTS_SUPPORT_NOISE_H
#define TESTS_SUPPORT_NOISE_H

#include "base/random.h"

#define NOISE_DRAWS 4 // numbers of 32 bits that bm_random_normal takes

// out[i] = add + scale * z, rounded once to float32, where z is the number that call first + i of bm_random_normal gives
// from *random on; *random stays where it is. Bit for bit what such calls give.
void noise_fill(const bm_random *random, uint64_t first, uint64_t count, double add, double scale, float *out);

#endif
