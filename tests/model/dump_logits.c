// Writes the logits of given token ids to a file, for comparison with other programs (tools/interop/compare_transformers.py):
//
//     dump_logits MODEL DEVICE DTYPE IDS OUT
//
// DTYPE is float32, float16, bfloat16 or, on the host, float64: storage of weights and activations. IDS is a file of
// little-endian 32-bit ids, one sequence. OUT gets little-endian float32, [ids, vocabulary].
#include "base/file.h"
#include "device/device.h"
#include "model/logits.h"

#include <stdio.h>
#include <string.h>

static bm_status parse_dtype(const char *text, bm_dtype *out, bm_error *err)
{
    static const struct {
        const char *name;
        bm_dtype dtype;
    } names[] = {
        {"float32", BM_DTYPE_F32}, {"float16", BM_DTYPE_F16}, {"bfloat16", BM_DTYPE_BF16}, {"float64", BM_DTYPE_F64}};
    for (size_t i = 0; i < BM_COUNT(names); i++)
        if (strcmp(text, names[i].name) == 0) {
            *out = names[i].dtype;
            return BM_OK;
        }
    return bm_fail(err, BM_E_ARGUMENT, "dtype \"%s\", expected float32, float16, bfloat16 or float64", text);
}

static bm_status read_ids(const char *path, uint32_t vocabulary, uint32_t **out, uint32_t *count, bm_error *err)
{
    bm_status status = BM_OK;
    uint64_t size = 0;
    char *bytes = NULL;
    uint32_t *ids = NULL;
    BM_TRY(bm_file_read_all(path, UINT64_C(1) << 24, &bytes, &size, err));
    BM_FAIL_IF(size == 0 || size % 4 != 0, err, BM_E_FORMAT, "%s: expected 32-bit ids, found %llu bytes", path,
               (unsigned long long)size);
    ids = bm_alloc(size / 4, sizeof *ids);
    BM_FAIL_IF(!ids, err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < size / 4; i++) {
        ids[i] = bm_load_le32(bytes + 4 * i);
        BM_FAIL_IF(ids[i] >= vocabulary, err, BM_E_ARGUMENT, "%s: id %u, the vocabulary has %u", path, ids[i],
                   vocabulary);
    }
    *out = ids;
    *count = (uint32_t)(size / 4);
    ids = NULL;
done:
    bm_free(bytes);
    bm_free(ids);
    return status;
}

static bm_status write_logits(const char *path, const double *logits, uint64_t count, bm_error *err)
{
    uint8_t *bytes = bm_alloc(count, 4);
    if (!bytes)
        return bm_fail(err, BM_E_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count; i++) {
        const float value = (float)logits[i];
        uint32_t word;
        memcpy(&word, &value, sizeof word);
        bm_store_le32(bytes + 4 * i, word);
    }
    const bm_status status = bm_file_write_all(path, bytes, count * 4, err);
    bm_free(bytes);
    return status;
}

static bm_status dump(char **words, bm_error *err)
{
    bm_status status = BM_OK;
    bm_model *model = NULL;
    bm_device *device = NULL;
    bm_device_params params;
    bm_dtype dtype = BM_DTYPE_NONE;
    uint32_t *ids = NULL, count = 0;
    double *logits = NULL;
    bm_device_params_init(&params);
    params.spec = words[1];
    BM_TRY(parse_dtype(words[2], &dtype, err));
    BM_TRY(bm_model_open(&model, words[0], err));
    BM_TRY(read_ids(words[3], model->config.vocab_size, &ids, &count, err));
    BM_TRY(bm_device_open(&device, &params, err));
    logits = bm_alloc((uint64_t)count * model->config.vocab_size, sizeof *logits);
    BM_FAIL_IF(!logits, err, BM_E_MEMORY, "out of memory");
    BM_TRY(model_logits(model, device, dtype, ids, count, logits, err));
    BM_TRY(write_logits(words[4], logits, (uint64_t)count * model->config.vocab_size, err));
done:
    bm_free(logits);
    bm_free(ids);
    bm_device_close(&device);
    bm_model_close(&model);
    return status;
}

int main(int argc, char **argv)
{
    bm_error err = {0};
    if (argc != 6) {
        fprintf(stderr, "usage: dump_logits MODEL DEVICE DTYPE IDS OUT\n");
        return 2;
    }
    if (dump(argv + 1, &err) == BM_OK)
        return 0;
    fprintf(stderr, "dump_logits: %s\n", err.message);
    return 1;
}
