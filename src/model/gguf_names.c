// Names of tensors: a GGUF file's become a checkpoint's.
#include "model/gguf_model.h"

#include "model/family.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_LINEAR BM_NUM_LINEARS
#define NO_NORM BM_NUM_NORMS

static const struct {
    const char *name; // in a block, before ".weight" or ".bias"
    bm_linear_id linear;
    bm_norm_id norm;
} parts[] = {
    {"attn_norm", NO_LINEAR, BM_NORM_INPUT}, {"ffn_norm", NO_LINEAR, BM_NORM_POST_ATTENTION},
    {"attn_q_norm", NO_LINEAR, BM_NORM_Q},   {"attn_k_norm", NO_LINEAR, BM_NORM_K},
    {"attn_q", BM_LINEAR_Q, NO_NORM},        {"attn_k", BM_LINEAR_K, NO_NORM},
    {"attn_v", BM_LINEAR_V, NO_NORM},        {"attn_output", BM_LINEAR_O, NO_NORM},
    {"ffn_gate", BM_LINEAR_GATE, NO_NORM},   {"ffn_up", BM_LINEAR_UP, NO_NORM},
    {"ffn_down", BM_LINEAR_DOWN, NO_NORM},
};

typedef struct namer {
    const bm_gguf *gguf;
    const bm_gguf_architecture *architecture;
    const bm_family *family;
    uint32_t heads, kv_heads;
} namer;

// Tensors that config.json holds in other words: llama3's frequencies.
static bool is_metadata(const char *name)
{
    return strcmp(name, "rope_freqs.weight") == 0;
}

// Rows that are rotated in pairs, by heads.
static bm_status pair_rows(const namer *n, bm_linear_id linear, bm_gguf_view *view, bm_error *err)
{
    const bm_gguf_tensor *t = view->tensor;
    const uint32_t heads = linear == BM_LINEAR_Q ? n->heads : n->kv_heads;
    const uint64_t rows = t->num_dims == 1 ? t->dims[0] : t->dims[1];
    if (!n->architecture->pairs_rows || (linear != BM_LINEAR_Q && linear != BM_LINEAR_K))
        return BM_OK;
    if (rows == 0 || rows % (2 * (uint64_t)heads) != 0)
        return bm_fail(err, BM_E_FORMAT, "%s: tensor \"%s\": %llu rows, expected an even number for each of %u heads",
                       t->path, t->name, (unsigned long long)rows, heads);
    view->num_paired_heads = heads;
    return BM_OK;
}

// "blk.7.attn_q.weight"; *found: whether it is a tensor of a block of the family.
static bm_status name_in_block(const namer *n, bm_gguf_view *view, bool *found, bm_error *err)
{
    const char *name = view->tensor->name;
    char module[BM_TENSOR_NAME_SIZE];
    char *end = NULL;
    *found = false;
    if (!bm_starts_with(name, "blk.") || name[4] < '0' || name[4] > '9')
        return BM_OK;
    const unsigned long block = strtoul(name + 4, &end, 10);
    const char *part = end[0] == '.' ? end + 1 : "", *suffix = strchr(part, '.');
    if (block > UINT16_MAX || !suffix || (strcmp(suffix, ".weight") != 0 && strcmp(suffix, ".bias") != 0))
        return BM_OK;
    for (size_t i = 0; i < BM_COUNT(parts); i++) {
        if (strlen(parts[i].name) != (size_t)(suffix - part) || !bm_starts_with(part, parts[i].name))
            continue;
        if (parts[i].linear != NO_LINEAR) {
            bm_linear_tensor_name(n->family, (uint32_t)block, parts[i].linear, suffix, view->name);
            *found = true;
            return pair_rows(n, parts[i].linear, view, err);
        }
        if (!bm_family_has_norm(n->family, parts[i].norm) || strcmp(suffix, ".weight") != 0)
            return BM_OK;
        snprintf(view->name, sizeof view->name, "%s%s", bm_norm_name(n->family, (uint32_t)block, parts[i].norm, module),
                 suffix);
        *found = true;
    }
    return BM_OK;
}

static bm_status name_tensor(const namer *n, bm_gguf_view *view, bm_error *err)
{
    const bm_family_layout *layout = n->family->layout;
    const char *name = view->tensor->name;
    char shown[80];
    bool found = true;
    bm_status status = BM_OK;
    if (strcmp(name, "token_embd.weight") == 0)
        snprintf(view->name, sizeof view->name, "%s", layout->embedding);
    else if (strcmp(name, "output_norm.weight") == 0)
        snprintf(view->name, sizeof view->name, "%s.weight", layout->final_norm);
    else if (strcmp(name, "output.weight") == 0)
        snprintf(view->name, sizeof view->name, "%s", BM_TENSOR_LM_HEAD);
    else
        status = name_in_block(n, view, &found, err);
    if (status == BM_OK && !found)
        status =
            bm_fail(err, BM_E_UNSUPPORTED, "%s: tensor \"%s\": a %s model that is built has none of this name",
                    view->tensor->path, bm_printable(name, strlen(name), shown, sizeof shown), n->architecture->name);
    return status;
}

static bm_status read_heads(namer *n, bm_error *err)
{
    bm_status status = BM_OK;
    char key[96];
    int64_t heads = 0, kv_heads = 0;
    snprintf(key, sizeof key, "%s.attention.head_count", n->architecture->name);
    BM_TRY(bm_gguf_get_integer(n->gguf, key, 1, 65536, 1, &heads, err));
    snprintf(key, sizeof key, "%s.attention.head_count_kv", n->architecture->name);
    BM_TRY(bm_gguf_get_integer(n->gguf, key, 1, 65536, heads, &kv_heads, err));
    n->heads = (uint32_t)heads;
    n->kv_heads = (uint32_t)kv_heads;
done:
    return status;
}

bm_status bm_gguf_name_tensors(const bm_gguf *gguf, bm_gguf_view **out, uint32_t *count, bm_error *err)
{
    bm_status status = BM_OK;
    namer n = {.gguf = gguf};
    const uint32_t num_tensors = bm_gguf_num_tensors(gguf);
    bm_gguf_view *views = bm_alloc_zero(num_tensors, sizeof *views);
    uint32_t used = 0;
    BM_FAIL_IF(!views, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_gguf_find_architecture(gguf, &n.architecture, err));
    n.family = bm_family_find(n.architecture->name);
    BM_TRY(read_heads(&n, err));
    for (uint32_t i = 0; i < num_tensors; i++) {
        if (is_metadata(bm_gguf_tensor_at(gguf, i)->name))
            continue;
        views[used].tensor = bm_gguf_tensor_at(gguf, i);
        BM_TRY(name_tensor(&n, &views[used++], err));
    }
    *out = views;
    *count = used;
    views = NULL;
done:
    bm_free(views);
    return status;
}

typedef struct type_count {
    const bm_gguf_layout *layout;
    uint32_t count;
} type_count;

static int compare_counts(const void *a, const void *b)
{
    const type_count *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return x->layout->type < y->layout->type ? -1 : x->layout->type > y->layout->type;
}

const char *bm_gguf_describe_types(const bm_gguf *gguf, bool codes_only, char out[BM_GGUF_TYPES_SIZE])
{
    type_count counts[48] = {{0}};
    uint32_t num_types = 0;
    size_t length = 0;
    for (uint32_t i = 0; i < bm_gguf_num_tensors(gguf); i++) {
        const bm_gguf_layout *layout = bm_gguf_layout_of(bm_gguf_tensor_at(gguf, i)->type);
        uint32_t t = 0;
        if (codes_only && layout->block_elements == 1)
            continue;
        while (t < num_types && counts[t].layout != layout)
            t++;
        if (t == BM_COUNT(counts))
            continue;
        num_types += t == num_types;
        counts[t].layout = layout;
        counts[t].count++;
    }
    if (num_types > 1)
        qsort(counts, num_types, sizeof *counts, compare_counts);
    out[0] = '\0';
    for (uint32_t t = 0; t < num_types && length < BM_GGUF_TYPES_SIZE; t++)
        length += (size_t)snprintf(out + length, BM_GGUF_TYPES_SIZE - length, "%s%s (%u%s%s)", t > 0 ? ", " : "",
                                   counts[t].layout->name, counts[t].count, t == 0 ? " tensor" : "",
                                   t == 0 ? bm_plural(counts[t].count) : "");
    return out;
}

const char *bm_gguf_linear_name(bm_linear_id linear)
{
    for (size_t i = 0; i < BM_COUNT(parts); i++)
        if (linear != NO_LINEAR && parts[i].linear == linear)
            return parts[i].name;
    return NULL;
}

const char *bm_gguf_norm_name(bm_norm_id norm)
{
    for (size_t i = 0; i < BM_COUNT(parts); i++)
        if (norm != NO_NORM && parts[i].norm == norm)
            return parts[i].name;
    return NULL;
}
