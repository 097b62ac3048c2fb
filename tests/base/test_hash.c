#include "support/unit.h"

#include "base/base.h"
#include "base/hash.h"
#include "base/random.h"

#include <stdio.h>
#include <string.h>

// Vectors of FIPS 180-4's examples and of NIST's short messages.
static const struct {
    const char *text;
    uint32_t repeats;
    const char *hex;
} vectors[] = {
    {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
     1, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

static void sha256_gives_the_published_digests(void **state)
{
    (void)state;
    for (size_t i = 0; i < BM_COUNT(vectors); i++) {
        const size_t length = strlen(vectors[i].text), total = length * vectors[i].repeats;
        char *message = bm_alloc(total + 1, 1), hex[65];
        for (uint32_t k = 0; k < vectors[i].repeats; k++)
            memcpy(message + k * length, vectors[i].text, length);
        bm_sha256_hex(message, total, hex);
        assert_string_equal(hex, vectors[i].hex);
        bm_free(message);
    }
}

// Lengths around the padding's edges, each cut in every place.
static void sha256_of_pieces_is_that_of_the_whole(void **state)
{
    uint8_t message[200], whole[32], pieces[32];
    (void)state;
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)(i * 7);
    for (size_t length = 50; length <= 140; length++)
        for (size_t cut = 0; cut <= length; cut++) {
            bm_sha256 hash;
            bm_sha256_init(&hash);
            bm_sha256_update(&hash, message, length);
            bm_sha256_final(&hash, whole);
            bm_sha256_init(&hash);
            bm_sha256_update(&hash, message, cut);
            bm_sha256_update(&hash, message + cut, length - cut);
            bm_sha256_final(&hash, pieces);
            assert_memory_equal(whole, pieces, 32);
        }
}

static void map_finds_what_was_inserted_and_nothing_else(void **state)
{
    enum { COUNT = 20000 };
    static char keys[COUNT][12];
    uint32_t value = 0;
    bm_map *map = bm_map_create(4); // grows many times
    (void)state;
    assert_non_null(map);
    for (uint32_t i = 0; i < COUNT; i++) {
        bool existing = true;
        snprintf(keys[i], sizeof keys[i], "k%u", i * 17);
        assert_true(bm_map_insert(map, keys[i], strlen(keys[i]), i, &existing));
        assert_false(existing);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        char other[16];
        assert_true(bm_map_find(map, keys[i], strlen(keys[i]), &value));
        assert_int_equal(value, i);
        snprintf(other, sizeof other, "k%u", i * 17 + 1);
        assert_false(bm_map_find(map, other, strlen(other), &value));
    }
    bm_map_destroy(&map);
    assert_null(map);
    bm_map_destroy(&map);
}

static void map_keeps_the_first_value_of_a_key(void **state)
{
    bool existing = false;
    uint32_t value = 0;
    bm_map *map = bm_map_create(0);
    (void)state;
    assert_true(bm_map_insert(map, "key", 3, 1, NULL));
    assert_true(bm_map_insert(map, "key", 3, 2, &existing));
    assert_true(existing);
    assert_true(bm_map_find(map, "key", 3, &value));
    assert_int_equal(value, 1);
    bm_map_destroy(&map);
}

static void map_keys_are_bytes_with_a_length(void **state)
{
    uint32_t value = 0;
    bm_map *map = bm_map_create(8);
    (void)state;
    assert_true(bm_map_insert(map, "", 0, 1, NULL));
    assert_true(bm_map_insert(map, "a\0b", 3, 2, NULL));
    assert_true(bm_map_insert(map, "a\0c", 3, 3, NULL));
    assert_true(bm_map_find(map, "", 0, &value) && value == 1);
    assert_true(bm_map_find(map, "a\0b", 3, &value) && value == 2);
    assert_false(bm_map_find(map, "a", 1, &value));
    bm_map_destroy(&map);
}

// All beginnings of one text: so many that some meet in the table, whatever its seed.
static void map_keeps_prefixes_apart(void **state)
{
    enum { COUNT = 1000 };
    static char text[COUNT];
    uint32_t value = 0;
    bool existing = false;
    bm_map *map = bm_map_create(COUNT);
    (void)state;
    memset(text, 'a', sizeof text);
    for (uint32_t length = COUNT; length > 0; length--) { // a longer one is there before each
        assert_true(bm_map_insert(map, text, length, length, &existing));
        assert_false(existing);
    }
    for (uint32_t length = 1; length <= COUNT; length++)
        assert_true(bm_map_find(map, text, length, &value) && value == length);
    bm_map_destroy(&map);
}

static void hash64_depends_on_bytes_and_seed(void **state)
{
    (void)state;
    assert_true(bm_hash64("abc", 3, 0) == bm_hash64("abc", 3, 0));
    assert_true(bm_hash64("abc", 3, 0) != bm_hash64("abd", 3, 0));
    assert_true(bm_hash64("abc", 3, 0) != bm_hash64("abc", 3, 1));
    assert_true(bm_hash64("abc", 3, 0) != bm_hash64("abc", 2, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_published_digests),
        cmocka_unit_test(sha256_of_pieces_is_that_of_the_whole),
        cmocka_unit_test(map_finds_what_was_inserted_and_nothing_else),
        cmocka_unit_test(map_keeps_the_first_value_of_a_key),
        cmocka_unit_test(map_keys_are_bytes_with_a_length),
        cmocka_unit_test(map_keeps_prefixes_apart),
        cmocka_unit_test(hash64_depends_on_bytes_and_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
