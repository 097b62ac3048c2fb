// Reproducible random numbers: the same seed gives the same numbers on every platform (PCG32, O'Neill 2014).
#ifndef BM_BASE_RANDOM_H
#define BM_BASE_RANDOM_H

#include <stdint.h>

typedef struct bm_random {
    uint64_t state, stream;
} bm_random;

void bm_random_init(bm_random *random, uint64_t seed, uint64_t stream); // different streams are independent
uint32_t bm_random_u32(bm_random *random);
void bm_random_advance(bm_random *random, uint64_t count);   // leaves out the next count numbers of 32 bits
uint32_t bm_random_below(bm_random *random, uint32_t bound); // uniform in 0..bound-1 without bias; bound >= 1
double bm_random_double(bm_random *random);                  // uniform in [0, 1), 53 bits
double bm_random_normal(bm_random *random);                  // mean 0, standard deviation 1
void bm_random_shuffle(bm_random *random, uint32_t *items, uint32_t count); // Fisher-Yates
// count of the numbers 0..n-1, rising, each choice of them as likely as any other; count <= n (selection sampling: Knuth,
// The Art of Computer Programming, volume 2, 3.4.2, algorithm S).
void bm_random_choose(bm_random *random, uint32_t n, uint32_t count, uint32_t *out);

#endif
