// Which variants of kernels were asked for by name or found wanting, and the file in which a tuning and comparisons keep that.
//
//   file   CACHE_FOLDER/tuning-KEY, KEY = SHA-256 in hex of backend, device name and driver
//   bytes  a line of a tuning's words, "gemm=tile-16,attention=tile", which may be empty;
//          then, where variants were compared, "DIGEST gemm:matrix:F16:many=right,gemm:matrix-8:F16:adding=slower,rate=512": verdicts
//          by kernel, variant, type and use, "tried:1" or "tried:2" while one is compared, "untimed" where times lack, "timing:1" or
//          "timing:2" while they are taken; and GFLOP/s of a product. They are of the
//          programs of that digest alone
//
// The device layer keeps the words and knows no kernel: ops/variants.h says which names there are. A file that cannot be
// read, or says something else, is as if it were not there, with a warning.
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "device/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES 4096
#define DIGEST_LENGTH 64
#define VERDICTS_VERSION 4 // of the words behind the digest, of which it is a part
#define RATE_WORD "rate"
#define MAX_RATE (UINT32_C(1) << 24) // GFLOP/s
#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789-_=,"
#define VERDICT_LETTERS NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ:"

static bm_status keep(char **where, const char *words, bm_error *err)
{
    char *copy = words ? bm_string_copy(words) : NULL;
    if (words && !copy)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_free(*where);
    *where = copy;
    return BM_OK;
}

bm_status bm_device_set_variants(bm_device *device, const char *words, bm_error *err)
{
    return keep(&device->variants, words, err);
}

const char *bm_device_variants(const bm_device *device)
{
    return device->variants ? device->variants : "";
}

const char *bm_device_tuning(const bm_device *device)
{
    return device->tuning ? device->tuning : "";
}

void bm_device_discard_tuning(bm_device *device)
{
    (void)keep(&device->tuning, NULL, NULL);
}

// The last word for a name wins, as it does for options that are given twice.
static bool find_word(const char *words, const char *name, char *out, size_t size)
{
    const size_t length = strlen(name);
    bool found = false;
    while (words && *words) {
        const size_t all = strcspn(words, ",");
        if (all > length + 1 && strncmp(words, name, length) == 0 && words[length] == '=' && all - length - 1 < size) {
            memcpy(out, words + length + 1, all - length - 1);
            out[all - length - 1] = '\0';
            found = true;
        }
        words += all + (words[all] == ',');
    }
    return found;
}

bool bm_device_variant(const bm_device *device, const char *kernel, char *out, size_t size)
{
    return find_word(device->variants, kernel, out, size) || find_word(device->tuning, kernel, out, size);
}

// ---- verdicts ----

static const char *const use_names[BM_NUM_VARIANT_USES] = {"many", "few", "adding"};
static const char *const use_words[BM_NUM_VARIANT_USES] = {"", " in few tiles", " added up"};

const char *bm_variant_use_words(bm_variant_use use)
{
    return use_words[use];
}

static const char *const verdict_names[] = {"none",  "tried:1", "untimed", "timing:1", "timing:2",
                                            "right", "slower",  "wrong",   "tried:2"};

const char *bm_verdict_name(bm_verdict verdict)
{
    return verdict_names[verdict];
}

typedef struct verdict_name {
    char text[96];
} verdict_name;

static verdict_name name_verdict(const char *kernel, const char *variant, bm_dtype type, bm_variant_use use)
{
    verdict_name name;
    snprintf(name.text, sizeof name.text, "%s:%s:%s:%s", kernel, variant, bm_dtype_name(type), use_names[use]);
    return name;
}

static bm_verdict verdict_of_use(const bm_device *device, const char *kernel, const char *variant, bm_dtype type,
                                 bm_variant_use use)
{
    char word[16];
    if (!find_word(device->verdicts, name_verdict(kernel, variant, type, use).text, word, sizeof word))
        return BM_VERDICT_NONE;
    for (uint32_t v = 1; v < BM_COUNT(verdict_names); v++)
        if (strcmp(word, verdict_names[v]) == 0)
            return (bm_verdict)v;
    return BM_VERDICT_NONE;
}

bm_verdict bm_device_verdict(const bm_device *device, const char *kernel, const char *variant, bm_dtype type,
                             bm_variant_use use)
{
    for (uint32_t other = 0; other < BM_NUM_VARIANT_USES; other++) {
        const bm_verdict verdict = verdict_of_use(device, kernel, variant, type, (bm_variant_use)other);
        if (verdict >= BM_VERDICT_WRONG)
            return verdict;
    }
    return verdict_of_use(device, kernel, variant, type, use);
}

// What a file says may be anything.
static uint32_t rate_in(const char *words)
{
    char word[16];
    if (!find_word(words, RATE_WORD, word, sizeof word) || word[strspn(word, "0123456789")] != '\0')
        return 0;
    return (uint32_t)bm_min_u64(strtoull(word, NULL, 10), MAX_RATE);
}

// Takes them over.
static void replace_verdicts(bm_device *device, char *words)
{
    bm_free(device->verdicts);
    device->verdicts = words;
    device->measured_gflops = rate_in(words);
}

// value NULL: none.
static bm_status set_word(bm_device *device, const char *name, const char *value, bm_error *err)
{
    const size_t length = strlen(name);
    bm_string words = BM_STRING_INIT;
    for (const char *word = device->verdicts; word && *word;) { // the others
        const size_t all = strcspn(word, ",");
        if (strncmp(word, name, length) != 0 || word[length] != '=') {
            (void)bm_string_append(&words, words.length > 0 ? "," : "");
            (void)bm_string_append_bytes(&words, word, all);
        }
        word += all + (word[all] == ',');
    }
    if (value)
        (void)bm_string_append_format(&words, "%s%s=%s", words.length > 0 ? "," : "", name, value);
    const bm_status status = words.failed ? bm_fail(err, BM_E_MEMORY, "out of memory") : BM_OK;
    if (status == BM_OK)
        replace_verdicts(device, words.data);
    else
        bm_string_free(&words);
    return status;
}

bm_status bm_device_set_verdict(bm_device *device, const char *kernel, const char *variant, bm_dtype type,
                                bm_variant_use use, bm_verdict verdict, bm_error *err)
{
    const verdict_name name = name_verdict(kernel, variant, type, use);
    char *unwritten =
        bm_format("%s%s%s=1", device->unwritten ? device->unwritten : "", device->unwritten ? "," : "", name.text);
    if (!unwritten)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    bm_free(device->unwritten);
    device->unwritten = unwritten;
    return set_word(device, name.text, verdict == BM_VERDICT_NONE ? NULL : verdict_names[verdict], err);
}

double bm_device_measured_gflops(const bm_device *device)
{
    return device->measured_gflops;
}

bm_status bm_device_set_measured_gflops(bm_device *device, double gflops, bm_error *err)
{
    char word[16];
    uint32_t rate = 1;
    while (rate < MAX_RATE && 2.0 * rate <= gflops)
        rate *= 2;
    snprintf(word, sizeof word, "%u", rate);
    return set_word(device, RATE_WORD, word, err);
}

static bool names(const char *words, const char *kernel, const char *variant)
{
    char word[32];
    return find_word(words, kernel, word, sizeof word) && strcmp(word, variant) == 0;
}

bool bm_device_is_named(const bm_device *device, const char *kernel, const char *variant)
{
    return names(device->variants, kernel, variant);
}

bool bm_device_may_use(const bm_device *device, const char *kernel, const char *variant, bm_dtype type,
                       bm_variant_use use)
{
    const bm_verdict verdict = bm_device_verdict(device, kernel, variant, type, use);
    return verdict < BM_VERDICT_SLOWER || bm_device_is_named(device, kernel, variant) ||
           (verdict == BM_VERDICT_SLOWER && use != BM_USE_ADDING && names(device->tuning, kernel, variant));
}

// ---- the file ----

static char *path_of(const bm_device_info *info, const char *cache_folder)
{
    char name[sizeof "tuning-" + 64] = "tuning-", hex[65];
    if (!cache_folder)
        return NULL;
    char *key = bm_format("%s\n%s\n%s", info->backend, info->name, info->driver);
    if (!key)
        return NULL;
    bm_sha256_hex(key, strlen(key), hex);
    bm_free(key);
    memcpy(name + strlen(name), hex, sizeof hex);
    return bm_path_join(cache_folder, name);
}

char *bm_tuning_path(const bm_device *device)
{
    return path_of(&device->info, device->cache_folder);
}

void bm_verdicts_digest(char hex[65])
{
    char key[96];
    snprintf(key, sizeof key, "%d %s", VERDICTS_VERSION, bm_kernels_digest);
    bm_sha256_hex(key, strlen(key), hex);
}

static bool consists_of(const char *text, const char *letters)
{
    return text[strspn(text, letters)] == '\0';
}

// A word of the file in parts; false: it is none.
typedef struct verdict_word {
    char kernel[32], variant[32], type[16], use[16], verdict[16];
    const char *use_words;
} verdict_word;

static bool split_word(const char *word, verdict_word *out)
{
    out->use_words = NULL;
    if (sscanf(word, "%31[^:=,]:%31[^:=,]:%15[^:=,]:%15[^:=,]=%15[^=,]", out->kernel, out->variant, out->type, out->use,
               out->verdict) != 5)
        return false;
    for (uint32_t use = 0; use < BM_NUM_VARIANT_USES; use++)
        if (strcmp(out->use, use_names[use]) == 0)
            out->use_words = use_words[use];
    return out->use_words != NULL;
}

static const char *next_word(const char *word)
{
    word += strcspn(word, ",");
    return word + (*word == ',');
}

static bool is_verdict(const char *word)
{
    verdict_word w;
    uint32_t v = 1;
    if (!split_word(word, &w))
        return false;
    while (v < BM_COUNT(verdict_names) && strcmp(w.verdict, verdict_names[v]) != 0)
        v++;
    return v < BM_COUNT(verdict_names);
}

static bool is_rate(const char *word)
{
    const char *number = word + sizeof RATE_WORD; // behind "="
    const size_t digits = strncmp(word, RATE_WORD "=", sizeof RATE_WORD) == 0 ? strspn(number, "0123456789") : 0;
    const uint64_t rate = digits > 0 && digits < 10 ? strtoull(number, NULL, 10) : 0;
    return rate > 0 && (rate & (rate - 1)) == 0 && (number[digits] == '\0' || number[digits] == ',');
}

static bool are_verdicts(const char *words)
{
    bool are_ours = true;
    for (const char *word = words; *word && are_ours; word = next_word(word))
        are_ours = is_verdict(word) || is_rate(word);
    return are_ours;
}

// What the file says: both texts are to be freed, NULL where there is none. False: it says something else.
static bool read_file(const char *path, char **tuning, char **verdicts, bm_error *err)
{
    char *text = NULL;
    char digest[65];
    uint64_t size = 0;
    *tuning = *verdicts = NULL;
    bm_verdicts_digest(digest);
    if (!path || bm_path_kind_of(path) == BM_PATH_ABSENT)
        return true;
    if (bm_file_read_all(path, MAX_FILE_BYTES, &text, &size, err) != BM_OK)
        return false;
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    text[size] = '\0';
    char *second = strchr(text, '\n');
    if (second)
        *second++ = '\0';
    const bool has_digest =
        second && strspn(second, "0123456789abcdef") == DIGEST_LENGTH && second[DIGEST_LENGTH] == ' ';
    const char *words = has_digest ? second + DIGEST_LENGTH + 1 : NULL;
    const bool is_of_these_kernels = words && strncmp(second, digest, DIGEST_LENGTH) == 0;
    const bool is_ours = strlen(text) + (second ? 1 + strlen(second) : 0) == size && consists_of(text, NAME_LETTERS) &&
                         (!second || (words && consists_of(words, VERDICT_LETTERS))) &&
                         (!is_of_these_kernels || are_verdicts(words));
    if (!is_ours)
        (void)bm_fail(err, BM_E_FORMAT, "%s: not what bitmill writes", path);
    else if (keep(tuning, text[0] ? text : NULL, NULL) == BM_OK && is_of_these_kernels)
        (void)keep(verdicts, words, NULL);
    bm_free(text);
    return is_ours;
}

static bm_status write_file(const bm_device *device, const char *tuning, const char *verdicts, bm_error *err)
{
    bm_status status = BM_OK;
    char *path = bm_tuning_path(device);
    char digest[65];
    bm_string text = BM_STRING_INIT;
    bm_verdicts_digest(digest);
    (void)bm_string_append_format(&text, "%s\n", tuning ? tuning : "");
    if (verdicts)
        (void)bm_string_append_format(&text, "%s %s\n", digest, verdicts);
    BM_FAIL_IF(!device->cache_folder, err, BM_E_IO, "there is no cache folder in which a tuning could be kept");
    BM_FAIL_IF(!path || text.failed, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(text.length > MAX_FILE_BYTES, err, BM_E_IO, "%s: a tuning of %llu bytes, expected at most %d", path,
               (unsigned long long)text.length, MAX_FILE_BYTES);
    BM_TRY(bm_folder_create(device->cache_folder, true, err));
    BM_TRY(bm_file_write_all(path, text.data, text.length, err));
done:
    bm_free(path);
    bm_string_free(&text);
    return status;
}

// Of a name and its "=": what another comparison will replace.
static bool is_passing(const char *value)
{
    return strncmp(value, "=tried:", 7) == 0 || strncmp(value, "=untimed", 8) == 0 ||
           strncmp(value, "=timing:", 8) == 0;
}

typedef enum word_kind { STAYING, PASSING, PASSING_UNWRITTEN } word_kind;

static word_kind kind_of_word(const bm_device *device, const char *name, const char *value)
{
    char word[16];
    if (!is_passing(value))
        return STAYING;
    return find_word(device->unwritten, name, word, sizeof word) ? PASSING_UNWRITTEN : PASSING;
}

// Words of names that are not there yet, those of one kind alone.
static void add_missing(const bm_device *device, bm_string *out, const char *words, word_kind kind)
{
    while (words && *words) {
        const size_t all = strcspn(words, ","), length = strcspn(words, "=");
        char name[sizeof(verdict_name)], word[16];
        if (length < all && length < sizeof name) {
            memcpy(name, words, length);
            name[length] = '\0';
            if (kind_of_word(device, name, words + length) == kind &&
                !find_word(bm_string_text(out), name, word, sizeof word)) {
                (void)bm_string_append(out, out->length > 0 ? "," : "");
                (void)bm_string_append_bytes(out, words, all);
            }
        }
        words += all + (words[all] == ',');
    }
}

// A tuning's words, or (NULL) those in the file now, and verdicts of both: another process may have written it.
static bm_file_lock *lock_beside(const bm_device *device, const char *ending)
{
    bm_file_lock *lock = NULL;
    char *path = bm_tuning_path(device), *name = path ? bm_format("%s%s", path, ending) : NULL;
    if (name && bm_folder_create(device->cache_folder, true, NULL) == BM_OK)
        (void)bm_file_lock_acquire(&lock, name, NULL);
    bm_free(name);
    bm_free(path);
    return lock;
}

bm_file_lock *bm_tuning_lock_comparisons(const bm_device *device)
{
    return lock_beside(device, ".comparing");
}

static bm_status rewrite(bm_device *device, const char *tuning, bm_error *err)
{
    char *path = bm_tuning_path(device), *old_tuning = NULL, *old_verdicts = NULL;
    bm_string verdicts = BM_STRING_INIT;
    bm_status status = BM_OK;
    bm_file_lock *lock = lock_beside(device, ".lock"); // without one it is tried all the same
    (void)read_file(path, &old_tuning, &old_verdicts, NULL);
    add_missing(device, &verdicts, tuning ? device->verdicts : old_verdicts, STAYING);
    add_missing(device, &verdicts, tuning ? old_verdicts : device->verdicts, STAYING);
    add_missing(device, &verdicts, device->verdicts, PASSING_UNWRITTEN);
    add_missing(device, &verdicts, old_verdicts, PASSING); // of other processes, which compare or ended while they did
    BM_FAIL_IF(verdicts.failed, err, BM_E_MEMORY, "out of memory");
    replace_verdicts(device, verdicts.data);
    verdicts = (bm_string)BM_STRING_INIT;
    BM_TRY(write_file(device, tuning ? tuning : old_tuning, device->verdicts, err));
    bm_free(device->unwritten);
    device->unwritten = NULL;
done:
    bm_file_lock_release(&lock);
    bm_string_free(&verdicts);
    bm_free(path);
    bm_free(old_tuning);
    bm_free(old_verdicts);
    return status;
}

bm_status bm_tuning_write(bm_device *device, const char *words, bm_error *err)
{
    return rewrite(device, words, err);
}

bm_status bm_verdicts_write(bm_device *device, bm_error *err)
{
    return rewrite(device, NULL, err);
}

static void say_tried_twice(const bm_device *device, const char *path)
{
    verdict_word w;
    for (const char *word = device->verdicts; word && *word; word = next_word(word)) {
        if (!split_word(word, &w))
            continue;
        if (strcmp(w.verdict, verdict_names[BM_VERDICT_TRIED_TWICE]) == 0)
            bm_log_write(device->log, BM_LOG_WARNING,
                         "%s=%s is not used for %s on %s: two starts ended while it was compared; without %s it is "
                         "compared again",
                         w.kernel, w.variant, w.type, device->info.name, path);
        if (strcmp(w.verdict, verdict_names[BM_VERDICT_TIMING_TWICE]) == 0)
            bm_log_write(device->log, BM_LOG_WARNING,
                         "%s=%s is used for %s on %s without times: it is right, and two starts ended while they were "
                         "taken; without %s they are taken again, and --variant %s=NAME takes another",
                         w.kernel, w.variant, w.type, device->info.name, path, w.kernel);
    }
}

void bm_tuning_read(bm_device *device)
{
    char *path = bm_tuning_path(device);
    char *verdicts = NULL;
    bm_error problem = {0};
    if (read_file(path, &device->tuning, &verdicts, &problem)) {
        replace_verdicts(device, verdicts);
        if (device->tuning)
            bm_log_write(device->log, BM_LOG_DEBUG, "tuning: %s (%s)", device->tuning, path);
        if (device->verdicts)
            bm_log_write(device->log, BM_LOG_DEBUG, "compared: %s (%s)", device->verdicts, path);
        say_tried_twice(device, path);
    } else {
        bm_log_write(device->log, BM_LOG_WARNING, "tuning ignored: %s", problem.message);
    }
    bm_free(path);
}

bool bm_tuning_describe(const bm_device_info *info, const char *cache_folder, bm_string *out)
{
    char *path = path_of(info, cache_folder), *tuning = NULL, *verdicts = NULL;
    bm_error problem = {0};
    if (!read_file(path, &tuning, &verdicts, &problem))
        (void)bm_string_append_format(out, "tuning ignored: %s\n", problem.message);
    if (tuning)
        (void)bm_string_append_format(out, "tuning: %s\n", tuning);
    verdict_word w;
    for (const char *word = verdicts; word && *word; word = next_word(word))
        if (split_word(word, &w))
            (void)bm_string_append_format(out, "%s=%s for %s%s: %s\n", w.kernel, w.variant, w.type, w.use_words,
                                          w.verdict);
    if (rate_in(verdicts) > 0)
        (void)bm_string_append_format(out, "product in float32: %u GFLOP/s and more\n", rate_in(verdicts));
    bm_free(path);
    bm_free(tuning);
    bm_free(verdicts);
    return !out->failed;
}
