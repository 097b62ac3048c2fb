// The parts of the output that no device is needed for: declarations, float tensors, config.json.
#include "schedule/gguf.h"

#include "base/file.h"
#include "base/half.h"
#include "base/str.h"
#include "base/thread.h"
#include "store/gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PIECE_ELEMENTS (UINT64_C(4) << 20)
#define LEAST_CONVERTED (UINT64_C(1) << 18) // elements that a thread converts at least: about half a millisecond

// Whether a linear of a quantized model has a tensor of that suffix for its codes.
static bool is_part(const bm_model *model, const bm_plan_linear *p, const char *module, const char *suffix)
{
    bm_store_linear linear;
    bm_store_part parts[BM_STORE_MAX_PARTS];
    if (!bm_store_match(&model->quantization, model->checkpoint, module, p->out_features, p->in_features, &linear))
        return false;
    const uint32_t count = model->quantization.format->parts(&linear, parts);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(parts[i].suffix, suffix) == 0)
            return true;
    return false;
}

// True for ".weight" of a linear that the plan quantizes, and for what it has instead where it is quantized already.
static bool is_replaced(const bm_model *model, const bm_plan *plan, const char *name)
{
    char module[BM_TENSOR_NAME_SIZE];
    for (uint32_t i = 0; i < bm_plan_num_modules(plan); i++) {
        const bm_plan_linear *p = &plan->linears[i];
        if (!p->quantized || !bm_starts_with(name, bm_plan_linear_name(plan, p, module)))
            continue;
        const char *suffix = name + strlen(module);
        if (model->is_quantized ? is_part(model, p, module, suffix) : strcmp(suffix, ".weight") == 0)
            return true;
    }
    return false;
}

// A tensor that goes into the output as it is, or in the storage type. Opening a float model has seen to it that what the
// model reads is float32, float16 or bfloat16.
static bool is_copied(const bm_model *model, const bm_plan *plan, const bm_tensor_info *info)
{
    if (plan->equalizes && bm_emit_is_of_block(model, info->name))
        return false; // bm_emit_block writes it
    return bm_model_reads(model, info) && !is_replaced(model, plan, info->name);
}

bm_dtype bm_emit_stored_dtype(const bm_plan *plan, const bm_tensor_info *info)
{
    if (plan->format->float_dtype)
        return plan->format->float_dtype(plan->storage_dtype, info->num_dims);
    return plan->storage_dtype != BM_DTYPE_NONE ? plan->storage_dtype : info->dtype;
}

static bm_status declare_block(const bm_model *model, const bm_plan *plan, uint32_t block, bm_checkpoint_writer *writer,
                               bm_error *err)
{
    bm_emit_tensor tensors[BM_EMIT_MAX_BLOCK_TENSORS];
    const uint32_t count = bm_emit_block_tensors(model, plan, block, tensors);
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < count && status == BM_OK; i++)
        status = bm_checkpoint_writer_declare(writer, tensors[i].name, tensors[i].dtype, tensors[i].shape,
                                              tensors[i].num_dims, err);
    return status;
}

bm_status bm_emit_declare(const bm_model *model, const bm_plan *plan, bm_checkpoint_writer *writer, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < bm_checkpoint_count(model->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(model->checkpoint, i);
        if (is_copied(model, plan, info))
            BM_TRY(bm_checkpoint_writer_declare(writer, info->name, bm_emit_stored_dtype(plan, info), info->shape,
                                                info->num_dims, err));
    }
    for (uint32_t i = 0; i < bm_plan_num_modules(plan); i++) {
        char module[BM_TENSOR_NAME_SIZE];
        const bm_store_linear linear = bm_emit_store_linear(plan, &plan->linears[i], module);
        if (plan->equalizes && i % plan->linears_per_block == 0)
            BM_TRY(declare_block(model, plan, plan->linears[i].block, writer, err));
        if (plan->linears[i].quantized)
            BM_TRY(bm_store_declare(plan->format, writer, &linear, err));
    }
done:
    return status;
}

bm_status bm_emit_writer_create(const bm_model *model, const bm_plan *plan, const char *folder,
                                bm_checkpoint_writer **out, bm_error *err)
{
    bm_checkpoint_writer *writer = NULL;
    bm_status status = BM_OK;
    if (bm_plan_writes_gguf(plan))
        return bm_emit_gguf_writer(model, plan, folder, out, err);
    BM_TRY(bm_checkpoint_writer_create(&writer, folder, BM_DEFAULT_SHARD_BYTES, err));
    BM_TRY(bm_emit_declare(model, plan, writer, err));
    *out = writer;
    writer = NULL;
done:
    bm_checkpoint_writer_destroy(&writer);
    return status;
}

bm_status bm_emit_count_bytes(const bm_model *model, bm_plan *plan, bm_error *err)
{
    bm_status status = BM_OK;
    bm_checkpoint_writer *writer = NULL;
    BM_TRY(bm_emit_writer_create(model, plan, "", &writer, err));
    plan->output_bytes = bm_checkpoint_writer_total_bytes(writer);
    plan->companion_bytes += bm_checkpoint_writer_beside_bytes(writer);
done:
    bm_checkpoint_writer_destroy(&writer);
    return status;
}

// A piece of a tensor on its way into another type.
typedef struct conversion {
    const uint8_t *from;
    uint8_t *to;
    bm_dtype from_dtype, to_dtype;
} conversion;

static void convert_range(void *user, uint64_t begin, uint64_t end)
{
    enum { STEP = 4096 };
    const conversion *c = user;
    float values[STEP];
    for (uint64_t first = begin; first < end; first += STEP) {
        const uint64_t count = bm_min_u64(STEP, end - first);
        bm_load_real_all(c->from + first * bm_dtype_size(c->from_dtype), c->from_dtype, count, values);
        bm_store_real_all(c->to + first * bm_dtype_size(c->to_dtype), c->to_dtype, values, count);
    }
}

// Rounds a piece to another type. A number that becomes an infinity there is an error.
static bm_status convert_piece(const bm_tensor_info *info, const uint8_t *from, uint64_t first, uint64_t count,
                               bm_dtype dtype, uint8_t *to, bm_error *err)
{
    conversion c = {from, to, info->dtype, dtype};
    bm_parallel_for(count, LEAST_CONVERTED, convert_range, &c);
    if (bm_are_finite(to, count, dtype))
        return BM_OK;
    for (uint64_t i = 0; i < count; i++) // which one?
        if (!isfinite(bm_load_real(to, dtype, i)))
            return bm_fail(err, BM_E_NUMERIC, "%s: tensor \"%s\": element %llu is %g, which %s does not hold",
                           bm_checkpoint_file_name(info), bm_checkpoint_tensor_name(info),
                           (unsigned long long)(first + i), (double)bm_load_real(from, info->dtype, i),
                           bm_dtype_name(dtype));
    return BM_OK;
}

// Rounds a piece to blocks of codes.
static bm_status pack_piece(const bm_tensor_info *info, const uint8_t *from, uint64_t first, uint64_t count,
                            uint8_t *to, bm_error *err)
{
    bm_status status = BM_OK;
    float *values = bm_alloc(count, sizeof *values);
    BM_FAIL_IF(!values, err, BM_E_MEMORY, "out of memory");
    bm_load_real_all(from, info->dtype, count, values);
    status = bm_store_gguf_round(values, count, to, err);
    if (status != BM_OK)
        bm_error_prefix(err, "%s: tensor \"%s\": elements %llu to %llu", bm_checkpoint_file_name(info),
                        bm_checkpoint_tensor_name(info), (unsigned long long)first,
                        (unsigned long long)(first + count - 1));
done:
    bm_free(values);
    return status;
}

bool bm_emit_is_packed(const bm_model *model, const bm_plan *plan, const char *name)
{
    return plan->packs_embeddings &&
           (strcmp(name, model->family->layout->embedding) == 0 || strcmp(name, BM_TENSOR_LM_HEAD) == 0);
}

// How a tensor that is copied lies in the output.
typedef struct target {
    bm_dtype dtype;               // BM_DTYPE_NONE: in blocks
    uint32_t elements, num_bytes; // of a block; of one element
} target;

static target target_of(const bm_model *model, const bm_plan *plan, const bm_tensor_info *info)
{
    const bm_gguf_layout *layout = bm_gguf_layout_of(BM_GGUF_Q8_0);
    const bm_dtype dtype = bm_emit_stored_dtype(plan, info);
    return bm_emit_is_packed(model, plan, info->name)
               ? (target){BM_DTYPE_NONE, layout->block_elements, layout->block_bytes}
               : (target){dtype, 1, bm_dtype_size(dtype)};
}

static bm_status copy_piece(const bm_emit_context *emit, const bm_tensor_info *info, const target *t, uint64_t first,
                            uint64_t count, bm_error *err)
{
    const uint64_t from_size = bm_dtype_size(info->dtype), to_size = count / t->elements * t->num_bytes;
    bm_status status = BM_OK;
    uint8_t *from = bm_alloc(count, from_size), *to = t->dtype != info->dtype ? bm_alloc(to_size, 1) : NULL;
    BM_FAIL_IF(!from || (t->dtype != info->dtype && !to), err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_checkpoint_read(emit->model->checkpoint, info, first * from_size, from, count * from_size, err));
    BM_TRY(bm_checkpoint_check_finite(info, from, first, count, err));
    if (to)
        BM_TRY(t->dtype == BM_DTYPE_NONE ? pack_piece(info, from, first, count, to, err)
                                         : convert_piece(info, from, first, count, t->dtype, to, err));
    BM_TRY(bm_emit_put_bytes(emit, info->name, first / t->elements * t->num_bytes, to ? &to : &from, to_size, err));
    BM_TRY(bm_phase_step(emit->phase, to_size, err));
done:
    bm_free(from);
    bm_free(to);
    return status;
}

static uint64_t elements_of(const bm_tensor_info *info)
{
    return info->size_bytes / bm_dtype_size(info->dtype);
}

// Files that turn rows round, and blocks, take whole ones.
static uint64_t whole_rows(const bm_tensor_info *info, uint64_t elements)
{
    const uint64_t row = info->num_dims == 2 ? bm_max_u64(info->shape[1], 1) : 1;
    return bm_max_u64(elements / row, 1) * row;
}

static bm_status copy_tensor(const bm_emit_context *emit, const bm_tensor_info *info, bm_error *err)
{
    const target t = target_of(emit->model, emit->plan, info);
    const uint64_t count = elements_of(info), piece = whole_rows(info, PIECE_ELEMENTS);
    bm_status status = BM_OK;
    for (uint64_t first = 0; first < count && status == BM_OK; first += piece)
        status = copy_piece(emit, info, &t, first, bm_min_u64(piece, count - first), err);
    return status;
}

// Vectors of blocks that are equalized are written with their block: a bad one ends the run here, too.
static bm_status check_vector(const bm_emit_context *emit, const bm_tensor_info *info, bm_error *err)
{
    const uint64_t count = elements_of(info);
    bm_status status = BM_OK;
    uint8_t *bytes = bm_alloc(info->size_bytes, 1);
    BM_FAIL_IF(!bytes, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_checkpoint_read(emit->model->checkpoint, info, 0, bytes, info->size_bytes, err));
    BM_TRY(bm_checkpoint_check_finite(info, bytes, 0, count, err));
done:
    bm_free(bytes);
    return status;
}

const bm_tensor_info *bm_emit_largest_float(const bm_model *model, const bm_plan *plan)
{
    const bm_tensor_info *largest = NULL;
    for (uint32_t i = 0; i < bm_checkpoint_count(model->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(model->checkpoint, i);
        if (is_copied(model, plan, info) && info->size_bytes > (largest ? largest->size_bytes : 0))
            largest = info;
    }
    return largest;
}

bm_status bm_emit_float_part(const bm_emit_context *emit, const bm_tensor_info *info, uint64_t *first,
                             uint64_t elements, uint64_t *bytes, bm_error *err)
{
    const target t = target_of(emit->model, emit->plan, info);
    const uint64_t all = elements_of(info), count = bm_min_u64(whole_rows(info, elements), all - *first);
    const bm_status status = copy_piece(emit, info, &t, *first, count, err);
    *first = (*first + count) % all;
    *bytes = count / t.elements * t.num_bytes;
    return status;
}

uint64_t bm_emit_float_bytes(const bm_model *model, const bm_plan *plan)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < bm_checkpoint_count(model->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(model->checkpoint, i);
        const target t = target_of(model, plan, info);
        if (is_copied(model, plan, info))
            bytes += elements_of(info) / t.elements * t.num_bytes;
    }
    return bytes;
}

bm_status bm_emit_float_tensors(const bm_emit_context *emit, bm_error *err)
{
    bm_status status = BM_OK;
    for (uint32_t i = 0; i < bm_checkpoint_count(emit->model->checkpoint); i++) {
        const bm_tensor_info *info = bm_checkpoint_at(emit->model->checkpoint, i);
        if (is_copied(emit->model, emit->plan, info))
            BM_TRY(copy_tensor(emit, info, err));
        else if (info->num_dims == 1 && bm_model_reads(emit->model, info))
            BM_TRY(check_vector(emit, info, err));
    }
    if (bm_plan_writes_gguf(emit->plan) && bm_gguf_has_rope_freqs(emit->model))
        BM_TRY(bm_emit_gguf_rope_freqs(emit, err));
done:
    return status;
}

static bool is_same_grid(const bm_plan_linear *a, const bm_plan_linear *b)
{
    return a->grid.bits == b->grid.bits && a->per_channel == b->per_channel &&
           (a->per_channel || a->grid.group_size == b->grid.group_size);
}

// Names of modules, and the schemes of those whose grid is another than the first linear's.
typedef struct quantized_names {
    char (*text)[BM_TENSOR_NAME_SIZE]; // [modules of the plan + 1]
    const char **modules;              // the same; of schemes behind those that stay float
    bm_store_scheme *schemes;
    uint32_t count, num_float, num_schemes;
} quantized_names;

static void add_name(quantized_names *n, const bm_plan *plan, const bm_plan_linear *linear)
{
    n->modules[n->count] = bm_plan_linear_name(plan, linear, n->text[n->count]);
    n->count++;
}

// Linear i is the first of its grid that is not the first linear's.
static bool begins_scheme(const bm_plan *plan, uint32_t i)
{
    const bm_plan_linear *linears = plan->linears;
    if (!linears[i].quantized || is_same_grid(&linears[i], bm_plan_first(plan)))
        return false;
    for (uint32_t k = 0; k < i; k++)
        if (linears[k].quantized && is_same_grid(&linears[k], &linears[i]))
            return false;
    return true;
}

static void collect_names(const bm_plan *plan, quantized_names *n)
{
    const bm_plan_linear *linears = plan->linears;
    const uint32_t count = bm_plan_num_modules(plan);
    n->modules[n->count++] = BM_STORE_HEAD;
    for (uint32_t i = 0; i < plan->num_linears; i++)
        if (!linears[i].quantized)
            add_name(n, plan, &linears[i]);
    n->num_float = n->count;
    for (uint32_t i = 0; i < count; i++) {
        if (!begins_scheme(plan, i))
            continue;
        bm_store_scheme *scheme = &n->schemes[n->num_schemes++];
        *scheme = (bm_store_scheme){linears[i].grid, linears[i].per_channel, n->modules + n->count, 0};
        for (uint32_t k = i; k < count; k++)
            if (linears[k].quantized && is_same_grid(&linears[k], &linears[i])) {
                add_name(n, plan, &linears[k]);
                scheme->num_modules++;
            }
    }
}

// The members of quantization_config. Named are lm_head and every linear that stays float, as planned.
static bm_status write_quantization(const bm_plan *plan, bm_json_writer *json, bm_error *err)
{
    bm_status status = BM_OK;
    const uint64_t room = (uint64_t)bm_plan_num_modules(plan) + 1;
    quantized_names n = {.text = bm_alloc_zero(room, sizeof *n.text),
                         .modules = bm_alloc_zero(room, sizeof *n.modules),
                         .schemes = bm_alloc_zero(room, sizeof *n.schemes)};
    BM_FAIL_IF(!n.text || !n.modules || !n.schemes, err, BM_E_MEMORY, "out of memory");
    collect_names(plan, &n);
    bm_store_description description = bm_plan_description(plan);
    description.float_modules = n.modules;
    description.num_float_modules = n.num_float;
    description.schemes = n.schemes;
    description.num_schemes = n.num_schemes;
    plan->format->config(json, &description);
done:
    bm_free(n.text);
    bm_free(n.modules);
    bm_free(n.schemes);
    return status;
}

// The file that holds the same object once more, for readers that look there.
static bm_status write_config_file(const bm_plan *plan, const char *folder, bm_error *err)
{
    bm_status status = BM_OK;
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    char *path = bm_path_join(folder, plan->format->config_file);
    bm_json_writer_init(&json, &text, 2);
    bm_json_begin_object(&json, NULL);
    BM_TRY(write_quantization(plan, &json, err));
    bm_json_end_object(&json);
    (void)bm_string_append(&text, "\n");
    BM_FAIL_IF(text.failed || !path, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_file_write_all(path, text.data, text.length, err));
done:
    bm_free(path);
    bm_string_free(&text);
    return status;
}

static const char *hf_dtype_name(bm_dtype dtype)
{
    return dtype == BM_DTYPE_F32 ? "float32" : dtype == BM_DTYPE_F16 ? "float16" : "bfloat16";
}

// Where the tensors keep their types, so does what the model says of them.
bm_status bm_emit_config(const bm_model *model, const bm_plan *plan, const char *folder, bm_error *err)
{
    bm_status status = BM_OK;
    bm_string text = BM_STRING_INIT;
    bm_json_writer json;
    if (!plan->format->config)
        return BM_OK;
    const bm_dtype stored =
        bm_emit_stored_dtype(plan, bm_checkpoint_find(model->checkpoint, model->family->layout->embedding));
    char *path = bm_path_join(folder, "config.json");
    bool has_dtype = false;
    bm_json_writer_init(&json, &text, 2);
    bm_json_begin_object(&json, NULL);
    for (const bm_json *member = bm_json_first(model->config.root); member; member = bm_json_next(member)) {
        const char *key = bm_json_key(member);
        const bool is_dtype = strcmp(key, "torch_dtype") == 0 || strcmp(key, "dtype") == 0;
        has_dtype = has_dtype || is_dtype;
        if (is_dtype && (plan->storage_dtype != BM_DTYPE_NONE || bm_json_kind_of(member) == BM_JSON_NULL)) {
            bm_json_put_string(&json, key, hf_dtype_name(stored));
        } else if (!bm_hf_config_is_quantization_key(key)) { // null in a float model, another format's; ours follows
            bm_json_put_value(&json, key, member);
        }
    }
    if (!has_dtype)
        bm_json_put_string(&json, "torch_dtype", hf_dtype_name(stored));
    bm_json_begin_object(&json, "quantization_config");
    BM_TRY(write_quantization(plan, &json, err));
    bm_json_end_object(&json);
    bm_json_end_object(&json);
    (void)bm_string_append(&text, "\n");
    BM_FAIL_IF(text.failed || !path, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_file_write_all(path, text.data, text.length, err));
    if (plan->format->config_file)
        BM_TRY(write_config_file(plan, folder, err));
done:
    bm_free(path);
    bm_string_free(&text);
    return status;
}
