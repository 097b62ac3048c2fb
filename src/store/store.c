// The table of formats, and what all rows share.
#include "store/store.h"

#include "store/auto_round_config.h"
#include "store/part.h"

#include <string.h>

static const bm_store_format *const formats[] = {&bm_store_compressed_tensors, &bm_store_gptq, &bm_store_awq,
                                                 &bm_store_gguf};

const bm_store_format *bm_store_find(const char *name)
{
    for (size_t i = 0; i < BM_COUNT(formats); i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    return NULL;
}

const char *bm_store_form_at(uint32_t index, const bm_store_format **format, uint32_t *version)
{
    uint32_t i = 0;
    for (size_t f = 0; f < BM_COUNT(formats); f++) {
        *format = formats[f];
        *version = 0;
        if (i++ == index)
            return formats[f]->name;
        for (const bm_store_form *form = formats[f]->forms; form < formats[f]->forms + BM_STORE_MAX_FORMS; form++) {
            *version = form->version;
            if (form->name && i++ == index)
                return form->name;
        }
    }
    return NULL;
}

bm_status bm_store_declare(const bm_store_format *format, bm_checkpoint_writer *writer, const bm_store_linear *linear,
                           bm_error *err)
{
    bm_store_part parts[BM_STORE_MAX_PARTS];
    const uint32_t count = format->parts(linear, parts);
    char name[BM_STORE_NAME_SIZE];
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < count; i++)
        BM_TRY(bm_checkpoint_writer_declare(writer, bm_part_name(linear, parts[i].suffix, name), parts[i].dtype,
                                            parts[i].shape, parts[i].num_dims, err));
done:
    return status;
}

static const bm_store_format *find_method(const char *quant_method)
{
    for (size_t i = 0; i < BM_COUNT(formats); i++)
        if (formats[i]->quant_method && strcmp(formats[i]->quant_method, quant_method) == 0)
            return formats[i];
    return strcmp(quant_method, BM_STORE_BITMILL) == 0 ? &bm_store_compressed_tensors : NULL;
}

const char *bm_store_older_file(uint32_t index, const char **quant_method)
{
    uint32_t i = 0;
    for (size_t f = 0; f < BM_COUNT(formats); f++)
        if (formats[f]->older_file && i++ == index) {
            *quant_method = formats[f]->quant_method;
            return formats[f]->older_file;
        }
    return NULL;
}

bm_status bm_store_open(bm_store_config *out, const bm_json *object, const char *name, bm_error *err)
{
    return bm_store_open_older(out, object, bm_store_compressed_tensors.quant_method, name, err);
}

bm_status bm_store_open_older(bm_store_config *out, const bm_json *object, const char *quant_method, const char *name,
                              bm_error *err)
{
    bm_status status = BM_OK;
    const char *method = NULL;
    char shown[64];
    bm_store_config config = {0};
    BM_TRY(bm_json_get_string(object, "quant_method", quant_method, &method, name, err));
    config.format = find_method(method);
    if (strcmp(method, BM_AUTO_ROUND) == 0) {
        BM_TRY(bm_auto_round_open(object, name, &config.format, &config.parsed, err));
        config.close = bm_auto_round_close;
        config.match = bm_auto_round_match;
        *out = config;
        goto done;
    }
    BM_FAIL_IF(!config.format, err, BM_E_UNSUPPORTED,
               "%s: quantization_config: quant_method \"%s\" cannot be read yet; built: compressed-tensors, gptq, awq, "
               "auto-round, bitmill",
               name, bm_printable(method, strlen(method), shown, sizeof shown));
    config.needs_bitmill = strcmp(method, BM_STORE_BITMILL) == 0;
    config.close = config.format->close;
    config.match = config.format->match;
    BM_TRY(config.format->open(object, name, &config.parsed, err));
    *out = config;
done:
    return status;
}

void bm_store_close(bm_store_config *config)
{
    if (config->close)
        config->close(config->parsed);
    *config = (bm_store_config){0};
}

bool bm_store_match(const bm_store_config *config, const bm_checkpoint *checkpoint, const char *module,
                    uint64_t out_features, uint64_t in_features, bm_store_linear *out)
{
    bm_store_part parts[BM_STORE_MAX_PARTS];
    char name[BM_STORE_NAME_SIZE];
    *out = (bm_store_linear){.module = module, .out_features = out_features, .in_features = in_features};
    if (!config->format || !config->match(config->parsed, out))
        return false;
    const uint32_t count = config->format->parts(out, parts);
    for (uint32_t i = 0; i < count; i++) {
        const bm_tensor_info *info = parts[i].is_real || parts[i].is_optional
                                         ? bm_checkpoint_find(checkpoint, bm_part_name(out, parts[i].suffix, name))
                                         : NULL;
        if (info && parts[i].is_real)
            out->grid.scale_dtype = info->dtype;
        out->lacks_index = out->lacks_index || (parts[i].is_optional && !info);
    }
    return true;
}

// Groups of any length, shorter last ones and orders of their own go by an index; what is common does without.
static bm_status dequantize(bm_device *device, const bm_store_linear *linear, const bm_codes *rows,
                            const bm_tensor *values, bm_error *err)
{
    const uint64_t cols = linear->in_features;
    const uint32_t group_size = linear->grid.group_size;
    bm_status status = BM_OK;
    bm_buffer *buffer = NULL;
    uint32_t *neighbours = NULL;
    if (!rows->group_index && (group_size % 4 == 0 || group_size == cols))
        return bm_dequantize(device, &rows->codes, &rows->step, &rows->zero_point, group_size, values, err);
    if (!rows->group_index) {
        neighbours = bm_alloc(cols, sizeof *neighbours);
        BM_FAIL_IF(!neighbours, err, BM_E_MEMORY, "out of memory");
        for (uint64_t c = 0; c < cols; c++)
            neighbours[c] = (uint32_t)(c / group_size);
    }
    BM_TRY(bm_buffer_create(device, bm_round_up(cols * sizeof(uint32_t), 16), "group index", &buffer, err));
    const bm_view view = bm_view_part(bm_buffer_view(buffer), 0, cols * sizeof(uint32_t));
    BM_TRY(bm_upload(device, view, neighbours ? neighbours : rows->group_index, cols * sizeof(uint32_t), err));
    BM_TRY(bm_dequantize_indexed(device, &rows->codes, &rows->step, &rows->zero_point, view, values, err));
done:
    bm_buffer_destroy(&buffer);
    bm_free(neighbours);
    return status;
}

bm_status bm_store_get_rows(const bm_store_config *config, bm_checkpoint *checkpoint, const bm_store_linear *linear,
                            uint64_t first, uint64_t count, bm_store_rows *out, bm_error *err)
{
    bm_status status = bm_store_rows_create(config->format, linear, count, out, err);
    if (status != BM_OK)
        return status;
    status = config->format->get(checkpoint, linear, first, out, err);
    if (status != BM_OK)
        bm_store_rows_free(out);
    return status;
}

bm_status bm_store_read_codes(const bm_store_config *config, bm_checkpoint *checkpoint, const bm_store_linear *linear,
                              bm_device *device, uint64_t first, uint64_t count, bm_codes *out, bm_error *err)
{
    bm_store_rows rows = {0};
    bm_status status = bm_store_get_rows(config, checkpoint, linear, first, count, &rows, err);
    if (status == BM_OK)
        status = bm_store_send(device, linear, &rows, out, err);
    bm_store_rows_free(&rows);
    return status;
}

bm_status bm_store_read_rows(const bm_store_config *config, bm_checkpoint *checkpoint, const bm_store_linear *linear,
                             bm_device *device, uint64_t first, uint64_t count, bm_tensor *out, bm_error *err)
{
    bm_status status = BM_OK;
    bm_codes rows = {0};
    bm_tensor values = {0};
    BM_TRY(bm_store_read_codes(config, checkpoint, linear, device, first, count, &rows, err));
    BM_TRY(bm_tensor_create(device, BM_DTYPE_F32, count, linear->in_features, "weights", &values, err));
    BM_TRY(dequantize(device, linear, &rows, &values, err));
    *out = values;
    values = (bm_tensor){0};
done:
    bm_codes_destroy(&rows);
    bm_tensor_destroy(&values);
    return status;
}

bm_status bm_store_read_input(const bm_store_config *config, bm_checkpoint *checkpoint, const bm_store_linear *linear,
                              bm_input_grid *out, bm_error *err)
{
    *out = (bm_input_grid){0};
    return config->format->get_input ? config->format->get_input(checkpoint, linear, out, err) : BM_OK;
}
