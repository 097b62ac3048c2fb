// What the loaders of compressed-tensors ask of a quantization_config, as checks on one that we wrote. V: vLLM,
// T: transformers, C: the compressed-tensors library. Each rule names who breaks on it. Where versions differ the
// strictest counts, so that a config without violations loads in all of them.
#include "support/loaders_rules.h"

#include <stdio.h>
#include <string.h>

#define BITS_Q (1u << 0)
#define BITS_K (1u << 1)
#define BITS_V (1u << 2)
#define BITS_O (1u << 3)
#define BITS_GATE (1u << 4)
#define BITS_UP (1u << 5)
#define BITS_DOWN (1u << 6)

#define BITS_FUSED_QKV (1u << 7) // bloom's: one linear in the checkpoint, one in V

// The linears of a block, and what V fuses: it needs all of a fused layer quantized alike, or none.
static const struct {
    const char *name;
    uint32_t bit;
} linears[] = {
    {"self_attn.q_proj", BITS_Q},     {"self_attn.k_proj", BITS_K},
    {"self_attn.v_proj", BITS_V},     {"self_attn.o_proj", BITS_O},
    {"mlp.gate_proj", BITS_GATE},     {"mlp.up_proj", BITS_UP},
    {"mlp.down_proj", BITS_DOWN},     {"self_attention.query_key_value", BITS_FUSED_QKV},
    {"self_attention.dense", BITS_O}, {"mlp.dense_h_to_4h", BITS_GATE | BITS_UP},
    {"mlp.dense_4h_to_h", BITS_DOWN},
};
static const struct {
    const char *name;
    uint32_t bits;
} fused[] = {{"self_attn.qkv_proj", BITS_Q | BITS_K | BITS_V}, {"mlp.gate_up_proj", BITS_GATE | BITS_UP}};

// Permitted keys, sorted. The objects of schemes and arguments refuse unknown keys (C from 0.11), scale_dtype and
// zp_dtype among them (0.11 and 0.12).
static const char *const outer_keys[] = {
    "config_groups",       "format",          "global_compression_ratio", "ignore", "kv_cache_scheme", "quant_method",
    "quantization_status", "sparsity_config", "transform_config",         "version"};
static const char *const scheme_keys[] = {"format", "input_activations", "output_activations", "targets", "weights"};
static const char *const weights_keys[] = {"actorder", "block_structure", "dynamic",  "group_size", "num_bits",
                                           "observer", "observer_kwargs", "strategy", "symmetric",  "type"};

// The violations so far.
typedef struct findings {
    bm_string *words;
    uint32_t count;
} findings;

static void report(findings *f, const char *where, const char *format, ...) BM_PRINTF(3, 4);
static void report(findings *f, const char *where, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    (void)bm_string_append_format(f->words, "%s: %s\n", where, line);
    f->count++;
}

static bool is_kind(const bm_json *value, bm_json_kind kind)
{
    return value && bm_json_kind_of(value) == kind;
}

static bool is_text(const bm_json *value, const char *text)
{
    return is_kind(value, BM_JSON_STRING) && strcmp(bm_json_string(value), text) == 0;
}

static bool is_integer(const bm_json *value, int64_t low, int64_t high)
{
    return value && bm_json_is_integer(value) && bm_json_number(value) >= (double)low &&
           bm_json_number(value) <= (double)high;
}

// Keys must be permitted, and sorted as the reference writer leaves them.
static void check_keys(findings *f, const bm_json *object, const char *where, const char *const *keys, size_t num_keys)
{
    const char *previous = NULL;
    char shown[80];
    for (const bm_json *member = bm_json_first(object); member; member = bm_json_next(member)) {
        const char *key = bm_json_key(member);
        bool permitted = false;
        for (size_t i = 0; i < num_keys; i++)
            permitted = permitted || strcmp(keys[i], key) == 0;
        bm_printable(key, strlen(key), shown, sizeof shown);
        if (!permitted)
            report(f, where, "key \"%s\" is not among those that every loader accepts", shown);
        if (previous && strcmp(previous, key) >= 0)
            report(f, where, "key \"%s\" is not in sorted order", shown);
        previous = key;
    }
}

static void expect_text(findings *f, const bm_json *object, const char *where, const char *key, const char *text)
{
    if (!is_text(bm_json_find(object, key), text))
        report(f, where, "%s must be \"%s\"", key, text);
}

// Absent counts as null for every loader.
static void expect_null(findings *f, const bm_json *object, const char *where, const char *key)
{
    const bm_json *value = bm_json_find(object, key);
    if (value && bm_json_kind_of(value) != BM_JSON_NULL)
        report(f, where, "%s must be null", key);
}

static void expect_empty_object(findings *f, const bm_json *object, const char *where, const char *key)
{
    const bm_json *value = bm_json_find(object, key);
    if (value && (bm_json_kind_of(value) != BM_JSON_OBJECT || bm_json_count(value) != 0))
        report(f, where, "%s must be an empty object", key);
}

// V takes the weight-only path for static integer weights of 4 or 8 bits by channel or group; C infers the strategy
// from group_size only where it is null, and refuses a group size beside the strategy "channel".
static void check_weights(findings *f, const bm_json *weights, const char *where)
{
    if (!is_kind(weights, BM_JSON_OBJECT)) {
        report(f, where, "must be an object");
        return;
    }
    check_keys(f, weights, where, weights_keys, BM_COUNT(weights_keys));
    const bm_json *bits = bm_json_find(weights, "num_bits"), *strategy = bm_json_find(weights, "strategy");
    const bm_json *group_size = bm_json_find(weights, "group_size"), *actorder = bm_json_find(weights, "actorder");
    const bm_json *dynamic = bm_json_find(weights, "dynamic"), *observer = bm_json_find(weights, "observer");
    if (!is_integer(bits, 4, 4) && !is_integer(bits, 8, 8))
        report(f, where, "num_bits must be 4 or 8");
    expect_text(f, weights, where, "type", "int");
    if (!is_kind(bm_json_find(weights, "symmetric"), BM_JSON_BOOL))
        report(f, where, "symmetric must be true or false");
    if (!is_kind(dynamic, BM_JSON_BOOL) || bm_json_bool(dynamic))
        report(f, where, "dynamic must be false");
    if (is_text(strategy, "channel"))
        expect_null(f, weights, where, "group_size");
    else if (!is_text(strategy, "group"))
        report(f, where, "strategy must be \"channel\" or \"group\"");
    else if (!is_integer(group_size, 1, INT32_MAX))
        report(f, where, "group_size must be a positive integer with the strategy \"group\"");
    if (actorder && bm_json_kind_of(actorder) != BM_JSON_NULL && !is_text(actorder, "group") &&
        !is_text(actorder, "weight"))
        report(f, where, "actorder must be null, \"group\" or \"weight\"");
    if (observer && !is_kind(observer, BM_JSON_STRING))
        report(f, where, "observer must be a string for static weights");
    expect_null(f, weights, where, "block_structure");
    expect_empty_object(f, weights, where, "observer_kwargs");
}

// V reads targets from each group's object: a preset's name in its place is legal for C alone.
static void check_targets(findings *f, const bm_json *targets, const char *where, uint32_t *num_classes)
{
    if (!is_kind(targets, BM_JSON_ARRAY) || bm_json_count(targets) == 0) {
        report(f, where, "targets must be a list with at least one entry");
        return;
    }
    for (const bm_json *target = bm_json_first(targets); target; target = bm_json_next(target)) {
        if (!is_kind(target, BM_JSON_STRING) || bm_json_string(target)[0] == '\0')
            report(f, where, "targets must hold names, patterns or the class \"Linear\"");
        else if (is_text(target, "Linear") && (*num_classes)++ > 0)
            report(f, where, "the class \"Linear\" is the target of two groups");
    }
}

static bool is_group_name(const char *name)
{
    uint64_t number = 0;
    return bm_starts_with(name, "group_") && bm_parse_u64(name + strlen("group_"), &number);
}

static void check_groups(findings *f, const bm_json *object)
{
    const bm_json *groups = bm_json_find(object, "config_groups");
    uint32_t num_classes = 0;
    if (!is_kind(groups, BM_JSON_OBJECT) || bm_json_count(groups) == 0) {
        report(f, "config_groups", "must be an object with at least one group");
        return;
    }
    for (const bm_json *group = bm_json_first(groups); group; group = bm_json_next(group)) {
        char where[96], weights_where[112], shown[64];
        const char *name = bm_json_key(group);
        snprintf(where, sizeof where, "config_groups.%s", bm_printable(name, strlen(name), shown, sizeof shown));
        snprintf(weights_where, sizeof weights_where, "%s.weights", where);
        if (!is_group_name(name))
            report(f, where, "must be named group_N");
        if (!is_kind(group, BM_JSON_OBJECT)) {
            report(f, where, "must be an explicit scheme, an object; presets load in the library only");
            continue;
        }
        check_keys(f, group, where, scheme_keys, BM_COUNT(scheme_keys));
        if (bm_json_find(group, "format"))
            expect_text(f, group, where, "format", "pack-quantized");
        expect_null(f, group, where, "input_activations"); // weight-only: the one scheme of this format
        expect_null(f, group, where, "output_activations");
        check_targets(f, bm_json_find(group, "targets"), where, &num_classes);
        check_weights(f, bm_json_find(group, "weights"), weights_where);
    }
}

// Reads "model.layers.LAYER.LINEAR", and bloom's names likewise; returns the linear's bit, 0 when name is no linear of the model.
static uint32_t parse_linear(const char *name, uint32_t num_layers, uint32_t *layer)
{
    const char *prefix = bm_starts_with(name, "transformer.") ? "transformer.h." : "model.layers.";
    char digits[16];
    uint64_t number = 0;
    if (!bm_starts_with(name, prefix))
        return 0;
    const char *start = name + strlen(prefix), *end = strchr(start, '.');
    const size_t length = end ? (size_t)(end - start) : sizeof digits;
    if (length >= sizeof digits || (length > 1 && start[0] == '0'))
        return 0;
    memcpy(digits, start, length);
    digits[length] = '\0';
    if (!bm_parse_u64(digits, &number) || number >= num_layers)
        return 0;
    *layer = (uint32_t)number;
    for (size_t i = 0; i < BM_COUNT(linears); i++)
        if (strcmp(end + 1, linears[i].name) == 0)
            return linears[i].bit;
    return 0;
}

// V compares whole names with those of its own modules, after splitting what it fused: entries are full names of
// linears. "Linear" covers lm_head for C: it has to be listed since we never quantize it.
static void check_ignore(findings *f, const bm_json *object, uint32_t num_layers)
{
    static const char where[] = "ignore";
    const bm_json *ignore = bm_json_find(object, where);
    bool has_head = false;
    uint8_t *bits = bm_alloc_zero(num_layers, 1);
    if (!bits) {
        report(f, where, "out of memory, not checked");
        return;
    }
    if (!is_kind(ignore, BM_JSON_ARRAY))
        report(f, where, "must be a list");
    for (const bm_json *entry = bm_json_first(ignore); entry; entry = bm_json_next(entry)) {
        uint32_t layer = 0;
        char shown[96];
        if (!is_kind(entry, BM_JSON_STRING)) {
            report(f, where, "holds something other than names");
            continue;
        }
        const char *name = bm_json_string(entry);
        bm_printable(name, strlen(name), shown, sizeof shown);
        const uint32_t bit = parse_linear(name, num_layers, &layer);
        const bool is_head = strcmp(name, "lm_head") == 0;
        if (!is_head && bit == 0)
            report(f, where, "\"%s\" is not the full name of a linear of this model", shown);
        if ((is_head && has_head) || (bit != 0 && (bits[layer] & bit)))
            report(f, where, "\"%s\" is listed twice", shown);
        has_head = has_head || is_head;
        if (bit != 0)
            bits[layer] = (uint8_t)(bits[layer] | bit);
    }
    if (!has_head)
        report(f, where, "\"lm_head\" is missing");
    for (uint32_t layer = 0; layer < num_layers; layer++)
        for (size_t i = 0; i < BM_COUNT(fused); i++)
            if ((bits[layer] & fused[i].bits) != 0 && (bits[layer] & fused[i].bits) != fused[i].bits)
                report(f, where, "only some shards of the fused layer model.layers.%u.%s are ignored", layer,
                       fused[i].name);
    bm_free(bits);
}

uint32_t bm_compressed_tensors_check_loaders(const bm_json *object, uint32_t num_layers, bm_string *words)
{
    static const char where[] = "quantization_config";
    findings f = {words, 0};
    if (!is_kind(object, BM_JSON_OBJECT)) {
        report(&f, where, "must be an object");
        return f.count;
    }
    check_keys(&f, object, where, outer_keys, BM_COUNT(outer_keys));
    expect_text(&f, object, where, "quant_method", "compressed-tensors"); // T and V dispatch on it
    expect_text(&f, object, where, "quantization_status", "compressed");  // T decompresses or runs by it
    expect_text(&f, object, where, "format", "pack-quantized");           // V reads the outer one
    if (!is_kind(bm_json_find(object, "version"), BM_JSON_STRING))
        report(&f, where, "version must be a string");
    check_groups(&f, object);
    check_ignore(&f, object, num_layers);
    expect_null(&f, object, where, "kv_cache_scheme"); // V would look for scales of keys and values
    expect_null(&f, object, where, "global_compression_ratio");
    expect_empty_object(&f, object, where, "sparsity_config");
    expect_empty_object(&f, object, where, "transform_config");
    return f.count;
}
