// FNV-1a with a final mix for tables, SHA-256 (FIPS 180-4) for keys and checksums, and the table itself.
#include "base/hash.h"

#include <string.h>

uint64_t bm_hash64(const void *bytes, size_t length, uint64_t seed)
{
    const uint8_t *b = bytes;
    uint64_t h = UINT64_C(14695981039346656037) ^ seed;
    for (size_t i = 0; i < length; i++)
        h = (h ^ b[i]) * UINT64_C(1099511628211);
    h ^= h >> 32; // FNV's high bits are weak: mix them down
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

// Four sums of 8 bytes at a time, so that no multiplication waits for the one before. Each step is one to one in the word and
// in the sum: one word that differs always shows.
uint64_t bm_checksum64(const void *bytes, size_t length)
{
    enum { LANES = 4, STRIDE = LANES * sizeof(uint64_t) };
    const uint8_t *b = bytes;
    uint64_t sums[LANES] = {UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xc2b2ae3d27d4eb4f), UINT64_C(0x165667b19e3779f9),
                            UINT64_C(0x27d4eb2f165667c5)};
    uint64_t all;
    size_t at = 0;
    for (; length - at >= STRIDE; at += STRIDE)
        for (int lane = 0; lane < LANES; lane++) {
            uint64_t word;
            memcpy(&word, b + at + (size_t)lane * sizeof word, sizeof word);
            sums[lane] = (sums[lane] ^ word) * UINT64_C(0x9fb21c651e98df25);
            sums[lane] ^= sums[lane] >> 32;
        }
    all = bm_hash64(b + at, length - at, length);
    for (int lane = 0; lane < LANES; lane++)
        all = bm_hash64(&sums[lane], sizeof sums[lane], all);
    return all;
}

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void sha256_block(uint32_t state[8], const uint8_t *block)
{
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        const uint32_t t1 = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) +
                            ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
        const uint32_t t2 =
            (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

void bm_sha256_init(bm_sha256 *hash)
{
    *hash = (bm_sha256){
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void bm_sha256_update(bm_sha256 *hash, const void *bytes, size_t length)
{
    const uint8_t *b = bytes;
    while (length > 0) {
        const size_t filled = (size_t)(hash->length_bytes % 64);
        const size_t take = length < 64 - filled ? length : 64 - filled;
        memcpy(hash->block + filled, b, take);
        hash->length_bytes += take;
        b += take;
        length -= take;
        if (filled + take == 64)
            sha256_block(hash->state, hash->block);
    }
}

void bm_sha256_final(bm_sha256 *hash, uint8_t digest[32])
{
    static const uint8_t padding[64] = {0x80};
    const uint64_t bits = hash->length_bytes * 8;
    const size_t filled = (size_t)(hash->length_bytes % 64);
    uint8_t length[8];
    bm_sha256_update(hash, padding, filled < 56 ? 56 - filled : 120 - filled);
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    bm_sha256_update(hash, length, sizeof length);
    for (int i = 0; i < 32; i++)
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}

void bm_hex(const uint8_t *bytes, size_t count, char *hex)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        hex[2 * i] = digits[bytes[i] >> 4];
        hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hex[2 * count] = '\0';
}

void bm_sha256_hex(const void *bytes, size_t length, char hex[65])
{
    uint8_t digest[32];
    bm_sha256 hash;
    bm_sha256_init(&hash);
    bm_sha256_update(&hash, bytes, length);
    bm_sha256_final(&hash, digest);
    bm_hex(digest, 32, hex);
}

// Open addressing with linear probing; the table is at most half full.
typedef struct map_entry {
    const char *key; // NULL: free
    size_t length;
    uint32_t value;
} map_entry;

struct bm_map {
    map_entry *entries;
    size_t capacity; // a power of two
    size_t count;
    uint64_t seed;
};

bm_map *bm_map_create(size_t expected_entries)
{
    bm_map *map = bm_alloc_zero(1, sizeof *map);
    size_t capacity = 16;
    while (capacity / 2 < expected_entries && capacity < SIZE_MAX / 4)
        capacity *= 2;
    if (map)
        map->entries = bm_alloc_zero(capacity, sizeof *map->entries);
    if (!map || !map->entries) {
        bm_free(map);
        return NULL;
    }
    map->capacity = capacity;
    map->seed = bm_hash64(&map->entries, sizeof map->entries, (uint64_t)(uintptr_t)map); // differs from run to run
    return map;
}

void bm_map_destroy(bm_map **map)
{
    if (!map || !*map)
        return;
    bm_free((*map)->entries);
    bm_free(*map);
    *map = NULL;
}

// The entry of key, or the free one where it belongs.
static map_entry *map_slot(const bm_map *map, const char *key, size_t length)
{
    size_t i = (size_t)bm_hash64(key, length, map->seed) & (map->capacity - 1);
    for (;; i = (i + 1) & (map->capacity - 1)) {
        map_entry *entry = &map->entries[i];
        if (!entry->key || (entry->length == length && memcmp(entry->key, key, length) == 0))
            return entry;
    }
}

static bool map_grow(bm_map *map)
{
    bm_map larger = *map;
    larger.capacity *= 2;
    larger.entries = bm_alloc_zero(larger.capacity, sizeof *larger.entries);
    if (!larger.entries)
        return false;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->entries[i].key)
            *map_slot(&larger, map->entries[i].key, map->entries[i].length) = map->entries[i];
    bm_free(map->entries);
    *map = larger;
    return true;
}

bool bm_map_insert(bm_map *map, const char *key, size_t length, uint32_t value, bool *existing)
{
    if (map->count >= map->capacity / 2 && !map_grow(map))
        return false;
    map_entry *entry = map_slot(map, key, length);
    if (existing)
        *existing = entry->key != NULL;
    if (!entry->key) {
        *entry = (map_entry){key, length, value};
        map->count++;
    }
    return true;
}

bool bm_map_find(const bm_map *map, const char *key, size_t length, uint32_t *value)
{
    const map_entry *entry = map_slot(map, key, length);
    if (!entry->key)
        return false;
    *value = entry->value;
    return true;
}
