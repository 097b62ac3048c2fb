// Hashes: 64-bit for tables, SHA-256 for cache keys and checksums; and a table from byte strings to 32-bit numbers.
#ifndef BM_BASE_HASH_H
#define BM_BASE_HASH_H

#include "base/base.h"

// A 64-bit hash of bytes; not for adversarial tables by itself (bm_map mixes a random-looking seed in).
uint64_t bm_hash64(const void *bytes, size_t length, uint64_t seed);

// A 64-bit checksum of bytes in memory, as fast as they are read; of the same bytes another one on a machine of the other
// byte order.
uint64_t bm_checksum64(const void *bytes, size_t length);

// SHA-256 (FIPS 180-4).
typedef struct bm_sha256 {
    uint32_t state[8];
    uint64_t length_bytes;
    uint8_t block[64];
} bm_sha256;
void bm_sha256_init(bm_sha256 *hash);
void bm_sha256_update(bm_sha256 *hash, const void *bytes, size_t length);
void bm_sha256_final(bm_sha256 *hash, uint8_t digest[32]);
// Two hexadecimal digits a byte, lower case, and a zero behind them: hex has room for 2 * count + 1.
void bm_hex(const uint8_t *bytes, size_t count, char *hex);
void bm_sha256_hex(const void *bytes, size_t length, char hex[65]); // whole message at once, lower case

// Map from byte strings to uint32_t. Keys are not copied: they must outlive the map.
typedef struct bm_map bm_map;
bm_map *bm_map_create(size_t expected_entries); // NULL: no memory
void bm_map_destroy(bm_map **map);
// Adds an entry. *existing (may be NULL) is set to true and nothing changes when the key is already there.
// Returns false only when memory is used up.
bool bm_map_insert(bm_map *map, const char *key, size_t length, uint32_t value, bool *existing);
bool bm_map_find(const bm_map *map, const char *key, size_t length, uint32_t *value); // false: absent

#endif
