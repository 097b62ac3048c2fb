// Reading config.json; what its absent keys mean is the family's.
#include "model/family.h"

#include "base/file.h"
#include "formats/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_CONFIG_BYTES (UINT64_C(16) << 20) // with long ignore lists of quantized models

// A reader of one object: the first failure sticks, so that a list of keys reads as a list.
typedef struct reader {
    const bm_json *object;
    const char *path;
    bm_hf_config *config;
    bm_error *err;
    bm_status status;
} reader;

static uint32_t get_u32(reader *r, const char *key, uint32_t low, uint32_t high, uint32_t fallback)
{
    int64_t value = fallback;
    if (r->status == BM_OK)
        r->status = bm_json_get_integer(r->object, key, low, high, fallback, &value, r->path, r->err);
    return (uint32_t)value;
}

static double get_double(reader *r, const char *key, double low, double high, double fallback)
{
    double value = fallback;
    if (r->status == BM_OK)
        r->status = bm_json_get_double(r->object, key, low, high, fallback, &value, r->path, r->err);
    return value;
}

static bool get_bool(reader *r, const char *key, bool fallback)
{
    bool value = fallback;
    if (r->status == BM_OK)
        r->status = bm_json_get_bool(r->object, key, fallback, &value, r->path, r->err);
    return value;
}

static const char *get_string(reader *r, const char *key, const char *fallback)
{
    const char *value = fallback;
    if (r->status == BM_OK)
        r->status = bm_json_get_string(r->object, key, fallback, &value, r->path, r->err);
    return value;
}

static void fail(reader *r, bm_status status, const char *key, const char *found, const char *expected)
{
    char shown[80];
    if (r->status == BM_OK)
        r->status = bm_fail(r->err, status, "%s: key \"%s\": found %s, expected %s", r->path, key,
                            bm_printable(found, strlen(found), shown, sizeof shown), expected);
}

// Of a value that is well-formed and without which a model can be rounded, but not run. The first one counts.
static void note_not_built(reader *r, const char *key, const char *found, const char *expected)
{
    char shown[80];
    if (r->config->not_built[0] == '\0')
        snprintf(r->config->not_built, sizeof r->config->not_built,
                 "key \"%s\": found %s, expected %s to run the model", key,
                 bm_printable(found, strlen(found), shown, sizeof shown), expected);
}

static bool is_there(const reader *r, const char *key)
{
    const bm_json *value = bm_json_find(r->object, key);
    return value && bm_json_kind_of(value) != BM_JSON_NULL;
}

static uint32_t get_required_u32(reader *r, const char *key, uint32_t low, uint32_t high)
{
    if (!is_there(r, key))
        fail(r, BM_E_FORMAT, key, bm_json_find(r->object, key) ? "null" : "none", "a number: it has no default");
    return get_u32(r, key, low, high, low);
}

// transformers takes its class's default without a word, so that this is no error. But who forgot the key has a model that is
// calibrated and measured on other lengths than it was made for: hence words.
static uint32_t get_context(reader *r, const char *key, const bm_family_defaults *d)
{
    bm_hf_config *c = r->config;
    if (!is_there(r, key))
        snprintf(c->assumed, sizeof c->assumed, "config.json: key \"%s\": %s, taken as %u, as transformers does for %s",
                 key, bm_json_find(r->object, key) ? "null" : "none", d->max_position_embeddings, c->model_type);
    return get_u32(r, key, 1, 1u << 30, d->max_position_embeddings);
}

static const bm_family *find_family(reader *r)
{
    const char *type = get_string(r, "model_type", "");
    const bm_family *family = bm_family_find(type);
    char known[128];
    if (!family)
        fail(r, BM_E_UNSUPPORTED, "model_type", type[0] ? type : "none", bm_family_names(known, sizeof known));
    return family;
}

static const uint32_t wide = 1u << 20; // far above every model, far below an overflow

static void read_shape(reader *r, const bm_family_defaults *d, bm_hf_config *c)
{
    char found[32];
    c->hidden_size = get_required_u32(r, "hidden_size", 1, wide);
    c->intermediate_size = get_required_u32(r, "intermediate_size", 1, wide);
    c->num_hidden_layers = get_required_u32(r, "num_hidden_layers", 1, 4096);
    c->num_attention_heads = get_required_u32(r, "num_attention_heads", 1, 65536);
    c->num_key_value_heads = get_u32(r, "num_key_value_heads", 1, 65536,
                                     d->num_key_value_heads ? d->num_key_value_heads : c->num_attention_heads);
    c->head_dim = get_u32(r, "head_dim", 1, 65536, d->head_dim ? d->head_dim : c->hidden_size / c->num_attention_heads);
    c->max_position_embeddings = get_context(r, "max_position_embeddings", d);
    c->norm_epsilon = (float)get_double(r, "rms_norm_eps", 0, 1, d->norm_epsilon > 0 ? d->norm_epsilon : 1e-6);
    snprintf(found, sizeof found, "%u", c->num_key_value_heads);
    if (c->num_attention_heads % c->num_key_value_heads != 0)
        fail(r, BM_E_FORMAT, "num_key_value_heads", found, "a divisor of num_attention_heads");
    if (c->head_dim == 0)
        fail(r, BM_E_FORMAT, "head_dim", "none, and hidden_size below num_attention_heads", "a number");
    if ((uint64_t)c->num_attention_heads * c->head_dim > wide)
        fail(r, BM_E_FORMAT, "num_attention_heads", "heads too wide in all", "at most 2^20 query features");
}

static void read_activation(reader *r, const char *key, const char *usual, bm_hf_config *c)
{
    const char *act = get_string(r, key, usual);
    if (strcmp(act, "silu") == 0 || strcmp(act, "swish") == 0)
        c->hidden_act = BM_ACTIVATION_SILU;
    else if (strcmp(act, "gelu_pytorch_tanh") == 0 || strcmp(act, "gelu_new") == 0)
        c->hidden_act = BM_ACTIVATION_GELU_TANH;
    else if (strcmp(act, "gelu") == 0)
        c->hidden_act = BM_ACTIVATION_GELU;
    else
        note_not_built(r, key, act, "silu, gelu or gelu_pytorch_tanh");
}

// Stands beside rope_theta, wherever that is.
static void read_partial_rotation(reader *r)
{
    if (get_double(r, "partial_rotary_factor", 0, 1, 1) != 1)
        note_not_built(r, "partial_rotary_factor", "a part of the head", "all of it");
}

static double get_required_double(reader *r, const char *key, double low, double high)
{
    if (!is_there(r, key))
        fail(r, BM_E_FORMAT, key, bm_json_find(r->object, key) ? "null" : "none", "a number for this rope type");
    return get_double(r, key, low, high, low);
}

static void read_factor(reader *r, bm_rope_config *rope)
{
    rope->factor = get_required_double(r, "factor", 1e-3, 1e6);
}

static void read_llama3(reader *r, bm_rope_config *rope)
{
    char found[32], expected[64];
    rope->factor = get_required_double(r, "factor", 1e-3, 1e6);
    rope->low_freq_factor = get_required_double(r, "low_freq_factor", 1e-6, 1e6);
    rope->high_freq_factor = get_required_double(r, "high_freq_factor", 1e-6, 1e6);
    rope->original_max_position_embeddings = get_required_double(r, "original_max_position_embeddings", 1, 1e9);
    snprintf(found, sizeof found, "%g", rope->high_freq_factor);
    snprintf(expected, sizeof expected, "more than low_freq_factor, %g", rope->low_freq_factor);
    if (rope->high_freq_factor <= rope->low_freq_factor)
        fail(r, BM_E_FORMAT, "high_freq_factor", found, expected);
}

// Of a model that takes longer texts than max_position_embeddings says.
static void lengthen_context(reader *r, const bm_rope_config *rope)
{
    const double length = fmin(rope->factor * rope->original_max_position_embeddings, 1u << 30);
    if (length > r->config->max_position_embeddings)
        r->config->max_position_embeddings = (uint32_t)length;
}

static void read_dynamic(reader *r, bm_rope_config *rope)
{
    read_factor(r, rope);
    rope->original_max_position_embeddings = r->config->max_position_embeddings;
    char found[32];
    snprintf(found, sizeof found, "%g", rope->factor);
    if (rope->factor < 1)
        fail(r, BM_E_FORMAT, "factor", found, "1 or more for rope type dynamic");
    lengthen_context(r, rope);
}

// A factor may be null: then it is that of the lengths. mscale and mscale_all_dim count only together.
static void read_yarn(reader *r, bm_rope_config *rope)
{
    static const char key[] = "original_max_position_embeddings"; // beside the object it counts more than inside
    reader outer = {r->config->root, r->path, r->config, r->err, r->status};
    const double context = r->config->max_position_embeddings;
    const double original = get_double(&outer, key, 1, 1e9, get_double(r, key, 1, 1e9, 0));
    r->status = r->status == BM_OK ? outer.status : r->status;
    rope->original_max_position_embeddings = original > 0 ? original : context;
    rope->factor = get_double(r, "factor", 1e-3, 1e6, original > 0 ? context / original : 0);
    if (rope->factor <= 0) {
        fail(r, BM_E_FORMAT, "factor", "none", "a number for this rope type, or original_max_position_embeddings");
        return;
    }
    rope->beta_fast = get_double(r, "beta_fast", 0, 1e6, 0);
    rope->beta_slow = get_double(r, "beta_slow", 0, 1e6, 0);
    rope->beta_fast = rope->beta_fast > 0 ? rope->beta_fast : 32; // 0 is none, as in transformers
    rope->beta_slow = rope->beta_slow > 0 ? rope->beta_slow : 1;
    rope->untruncated = !get_bool(r, "truncate", true);
    const double one = get_double(r, "mscale", 0, 1e6, 0), all = get_double(r, "mscale_all_dim", 0, 1e6, 0);
    const double usual = one > 0 && all > 0
                             ? bm_rope_yarn_magnitude(rope->factor, one) / bm_rope_yarn_magnitude(rope->factor, all)
                             : bm_rope_yarn_magnitude(rope->factor, 1);
    rope->attention_factor = get_double(r, "attention_factor", 1e-6, 1e6, usual);
    if (rope->theta <= 1)
        fail(r, BM_E_FORMAT, "rope_theta", "1", "a number above 1 for rope type yarn");
    lengthen_context(r, rope);
}

static const struct {
    const char *name;
    bm_rope_scaling scaling;
    void (*read)(reader *r, bm_rope_config *rope);
} rope_types[] = {{"default", BM_ROPE_DEFAULT, NULL},
                  {"linear", BM_ROPE_LINEAR, read_factor},
                  {"llama3", BM_ROPE_LLAMA3, read_llama3},
                  {"dynamic", BM_ROPE_DYNAMIC, read_dynamic},
                  {"yarn", BM_ROPE_YARN, read_yarn}};

// Numbers that scale, and no type that says how: vLLM refuses such an object, transformers 5 computes as if they were not
// there (one log line), transformers 4 ends with a KeyError. The author meant something that nobody can know.
static void refuse_untyped_scaling(reader *r, const char *name)
{
    static const char *const scaling[] = {"factor",      "low_freq_factor", "high_freq_factor", "short_factor",
                                          "long_factor", "beta_fast",       "beta_slow",        "attention_factor"};
    char path[64], found[64];
    for (size_t i = 0; i < BM_COUNT(scaling); i++)
        if (is_there(r, scaling[i])) {
            snprintf(path, sizeof path, "%s.rope_type", name);
            snprintf(found, sizeof found, "none beside \"%s\"", scaling[i]);
            fail(r, BM_E_FORMAT, path, found, "default, linear, dynamic, llama3 or yarn");
            return;
        }
}

// "su" is what longrope was called first.
static bool is_same_type(const char *a, const char *b)
{
    static const char *const longrope[] = {"su", "longrope"};
    return strcmp(a, b) == 0 || (strcmp(a, longrope[0]) == 0 && strcmp(b, longrope[1]) == 0) ||
           (strcmp(a, longrope[1]) == 0 && strcmp(b, longrope[0]) == 0);
}

// Two names of one number, of which readers take one or the other.
static void refuse_two_thetas(reader *r, const char *name, const char *outer, double theta, double inner)
{
    char path[64], found[32], expected[64];
    if (!is_there(r, outer) || theta == inner)
        return;
    snprintf(path, sizeof path, "%s.rope_theta", name);
    snprintf(found, sizeof found, "%g", inner);
    snprintf(expected, sizeof expected, "that of \"%s\", %g, or one of the two alone", outer, theta);
    fail(r, BM_E_FORMAT, path, found, expected);
}

// The keys of rope_scaling (old) or rope_parameters (new). theta_key: what stands outside for its rope_theta.
static void read_rope_scaling(reader *r, const char *name, const bm_json *object, const char *theta_key,
                              bm_rope_config *rope)
{
    reader inner = {object, r->path, r->config, r->err, r->status};
    const char *key = "rope_type", *type = get_string(&inner, key, NULL);
    const char *older = get_string(&inner, "type", NULL);
    if (type && older && !is_same_type(type, older)) {
        char path[64], expected[64];
        snprintf(path, sizeof path, "%s.type", name);
        snprintf(expected, sizeof expected, "that of \"rope_type\", %.20s, or one of the two alone", type);
        fail(&inner, BM_E_FORMAT, path, older, expected);
    }
    if (!type) {
        key = "type"; // the older name
        type = older;
    }
    if (!type) {
        refuse_untyped_scaling(&inner, name);
        type = "default";
    }
    const double theta = get_double(&inner, "rope_theta", 1, 1e12, rope->theta);
    if (inner.status == BM_OK)
        refuse_two_thetas(r, name, theta_key, rope->theta, theta);
    inner.status = r->status != BM_OK ? r->status : inner.status;
    rope->theta = theta;
    read_partial_rotation(&inner);
    for (size_t i = 0; i < BM_COUNT(rope_types); i++)
        if (strcmp(type, rope_types[i].name) == 0) {
            rope->scaling = rope_types[i].scaling;
            if (rope_types[i].read)
                rope_types[i].read(&inner, rope);
            r->status = inner.status;
            return;
        }
    char path[64];
    snprintf(path, sizeof path, "%s.%s", name, key);
    note_not_built(&inner, path, type, "default, linear, dynamic, llama3 or yarn");
    r->status = inner.status;
}

static bm_rope_config default_rope(reader *r, const char *key, double theta)
{
    return (bm_rope_config){
        .scaling = BM_ROPE_DEFAULT, .theta = get_double(r, key, 1, 1e12, theta > 0 ? theta : 10000.0), .factor = 1};
}

// One object for each kind of layers, in the place of a single one. False: it is a single one.
static bool read_two_ropes(reader *r, const bm_json *object, bm_hf_config *c)
{
    static const struct {
        const char *key, *name, *theta_key;
    } kinds[] = {{"full_attention", "rope_parameters.full_attention", "rope_theta"},
                 {"sliding_attention", "rope_parameters.sliding_attention", "rope_local_base_freq"}};
    bool any = false;
    for (size_t i = 0; i < BM_COUNT(kinds); i++) {
        const bm_json *one = bm_json_find(object, kinds[i].key);
        any = any || one;
        if (!one || bm_json_kind_of(one) == BM_JSON_NULL)
            continue;
        if (bm_json_kind_of(one) != BM_JSON_OBJECT)
            fail(r, BM_E_FORMAT, kinds[i].name, bm_json_kind_name(bm_json_kind_of(one)), "an object");
        else if (r->status == BM_OK)
            read_rope_scaling(r, kinds[i].name, one, kinds[i].theta_key, i == 0 ? &c->rope : &c->local_rope);
    }
    return any;
}

// But for theta, which rope_scaling does not have.
static bool scale_alike(const bm_rope_config *a, const bm_rope_config *b)
{
    return a->scaling == b->scaling && a->factor == b->factor && a->low_freq_factor == b->low_freq_factor &&
           a->high_freq_factor == b->high_freq_factor && a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow &&
           a->untruncated == b->untruncated && a->attention_factor == b->attention_factor &&
           a->original_max_position_embeddings == b->original_max_position_embeddings;
}

static void read_rope(reader *r, const bm_family_defaults *d, bm_hf_config *c)
{
    c->rope = default_rope(r, "rope_theta", d->rope_theta);
    c->has_local_rope = d->local_rope_theta > 0;
    if (c->has_local_rope)
        c->local_rope = default_rope(r, "rope_local_base_freq", d->local_rope_theta);
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    const uint32_t context = c->max_position_embeddings;
    const bm_rope_config unscaled = c->rope;
    bm_rope_config first = {0}; // of rope_scaling
    bool has_first = false;
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        const bm_json *object = bm_json_find(r->object, keys[i]);
        if (!object || bm_json_kind_of(object) == BM_JSON_NULL)
            continue;
        if (bm_json_kind_of(object) != BM_JSON_OBJECT)
            fail(r, BM_E_FORMAT, keys[i], bm_json_kind_name(bm_json_kind_of(object)), "an object");
        c->max_position_embeddings = context; // the later object alone lengthens it
        c->rope = unscaled;
        if (r->status == BM_OK && !(c->has_local_rope && i == 1 && read_two_ropes(r, object, c)))
            read_rope_scaling(r, keys[i], object, "rope_theta", &c->rope);
        if (has_first && !scale_alike(&first, &c->rope)) // readers take one or the other
            fail(r, BM_E_FORMAT, keys[i], "a rope that scales otherwise than \"rope_scaling\"",
                 "the same, or one of the two alone");
        first = c->rope;
        has_first = true;
    }
    read_partial_rotation(r);
}

// Without layer_types; transformers reads the period of gemma 3 alone from a file.
static void take_turns(const reader *r, uint32_t period, bm_hf_config *c)
{
    for (uint32_t layer = 0; r->status == BM_OK && layer < c->num_hidden_layers; layer++)
        c->layer_windowed[layer] = (layer + 1) % period != 0;
}

// Kinds of attention, layer by layer; where there is a window, they say which layers have it.
static void read_layer_types(reader *r, const bm_family_defaults *d, bm_hf_config *c)
{
    const bm_json *types = bm_json_find(r->object, "layer_types");
    const bool has_window = c->sliding_window > 0, is_there = types && bm_json_kind_of(types) != BM_JSON_NULL;
    uint32_t layer = 0;
    if (r->status != BM_OK || (!is_there && (!has_window || d->full_attention_every == 0)))
        return;
    const uint32_t period = get_u32(r, "sliding_window_pattern", 1, 1u << 20, d->full_attention_every);
    if (is_there &&
        (bm_json_kind_of(types) != BM_JSON_ARRAY || (has_window && bm_json_count(types) != c->num_hidden_layers))) {
        char found[48], expected[64];
        if (bm_json_kind_of(types) == BM_JSON_ARRAY)
            snprintf(found, sizeof found, "%u entries", bm_json_count(types));
        else
            snprintf(found, sizeof found, "%s", bm_json_kind_name(bm_json_kind_of(types)));
        snprintf(expected, sizeof expected, "a list of %u, as num_hidden_layers", c->num_hidden_layers);
        fail(r, BM_E_FORMAT, "layer_types", found, expected);
        return;
    }
    c->layer_windowed = has_window ? bm_alloc_zero(c->num_hidden_layers, 1) : NULL;
    if (has_window && !c->layer_windowed) {
        r->status = bm_fail(r->err, BM_E_MEMORY, "out of memory");
        return;
    }
    if (!is_there)
        take_turns(r, period, c);
    for (const bm_json *type = is_there ? bm_json_first(types) : NULL; r->status == BM_OK && type;
         type = bm_json_next(type), layer++) {
        const char *text = bm_json_kind_of(type) == BM_JSON_STRING ? bm_json_string(type) : NULL;
        if (!text)
            fail(r, BM_E_FORMAT, "layer_types", bm_json_kind_name(bm_json_kind_of(type)), "a list of strings");
        else if (has_window && strcmp(text, "sliding_attention") == 0)
            c->layer_windowed[layer] = 1;
        else if (strcmp(text, "full_attention") != 0 && strcmp(text, "sliding_attention") != 0)
            note_not_built(r, "layer_types", text, "full_attention or sliding_attention");
    }
}

// An explicit null switches the window off; only an absent key takes the family's default.
static void read_window(reader *r, const bm_family_defaults *d, bm_hf_config *c)
{
    const bm_json *key = bm_json_find(r->object, "sliding_window");
    const bool is_null = key && bm_json_kind_of(key) == BM_JSON_NULL;
    const bool on = d->window == BM_WINDOW_WHEN_SET ||
                    (d->window == BM_WINDOW_WHEN_USED && get_bool(r, "use_sliding_window", false));
    const uint32_t window = is_null ? 0 : get_u32(r, "sliding_window", 1, 1u << 30, d->sliding_window);
    c->sliding_window = on ? window : 0;
    c->first_windowed_layer = d->window == BM_WINDOW_WHEN_USED ? get_u32(r, "max_window_layers", 0, 1u << 20, 28) : 0;
    if (d->window != BM_WINDOW_NEVER)
        read_layer_types(r, d, c);
}

// An explicit null is none, as it is for a window.
static float read_cap(reader *r, const char *key, float usual)
{
    const bm_json *value = bm_json_find(r->object, key);
    return value && bm_json_kind_of(value) == BM_JSON_NULL ? 0 : (float)get_double(r, key, 1e-3, 1e6, usual);
}

// What gemma's files say beside the keys of llama.
static void read_gemma(reader *r, const bm_family_defaults *defaults, bm_hf_config *c)
{
    c->query_scalar = get_double(r, "query_pre_attn_scalar", 1e-6, 1e9, defaults->query_scalar);
    c->attention_cap = read_cap(r, "attn_logit_softcapping", defaults->attention_cap);
    c->logit_cap = read_cap(r, "final_logit_softcapping", defaults->logit_cap);
    if (get_bool(r, "use_bidirectional_attention", false))
        note_not_built(r, "use_bidirectional_attention", "true", "false");
    if (c->sliding_window == 0)
        note_not_built(r, "sliding_window", "null", "a number");
}

// The keys of llama and its relatives.
static void read_llama(reader *r, const bm_family_defaults *defaults, bm_hf_config *c)
{
    const bool is_gemma = defaults->query_scalar > 0;
    read_shape(r, defaults, c);
    if (is_gemma)
        read_activation(r, "hidden_activation", "gelu_pytorch_tanh", c);
    else
        read_activation(r, "hidden_act", "silu", c);
    read_rope(r, defaults, c);
    c->attention_bias = get_bool(r, "attention_bias", false);
    c->mlp_bias = get_bool(r, "mlp_bias", false);
    read_window(r, defaults, c);
    c->query_scalar = c->head_dim;
    if (is_gemma)
        read_gemma(r, defaults, c);
}

// bloom has its own names of sizes, and its files those of the first release too. What it does not let a file choose has no
// key: the activation, the width of the multilayer perceptron, biases.
static void read_bloom(reader *r, const bm_family_defaults *defaults, bm_hf_config *c)
{
    const char *hidden = is_there(r, "n_embed") ? "n_embed" : "hidden_size";
    const char *heads = is_there(r, "num_attention_heads") ? "num_attention_heads" : "n_head";
    const char *layers = is_there(r, "num_hidden_layers") ? "num_hidden_layers" : "n_layer";
    char found[32];
    c->hidden_size = get_required_u32(r, hidden, 1, wide / 4);
    c->num_hidden_layers = get_required_u32(r, layers, 1, 4096);
    c->num_attention_heads = c->num_key_value_heads = get_required_u32(r, heads, 1, 65536);
    c->intermediate_size = 4 * c->hidden_size;
    c->head_dim = c->hidden_size / c->num_attention_heads;
    c->query_scalar = c->head_dim;
    c->hidden_act = BM_ACTIVATION_GELU_TANH;
    c->max_position_embeddings = get_context(r, "seq_length", defaults);
    c->norm_epsilon = (float)get_double(r, "layer_norm_epsilon", 0, 1, 1e-5);
    snprintf(found, sizeof found, "%u", c->num_attention_heads);
    if (c->hidden_size % c->num_attention_heads != 0)
        fail(r, BM_E_FORMAT, heads, found, "a divisor of hidden_size");
    if (get_bool(r, "apply_residual_connection_post_layernorm", false))
        note_not_built(r, "apply_residual_connection_post_layernorm", "true", "false");
}

static void read_dtype(reader *r, bm_hf_config *c)
{
    const char *name = get_string(r, "dtype", NULL);
    if (!name)
        name = get_string(r, "torch_dtype", "");
    c->dtype = strcmp(name, "float32") == 0    ? BM_DTYPE_F32
               : strcmp(name, "float16") == 0  ? BM_DTYPE_F16
               : strcmp(name, "bfloat16") == 0 ? BM_DTYPE_BF16
                                               : BM_DTYPE_NONE;
}

static const char *const quantization_keys[] = {"compression_config", "quantization_config"}; // the first is older

bool bm_hf_config_is_quantization_key(const char *key)
{
    for (size_t i = 0; i < BM_COUNT(quantization_keys); i++)
        if (strcmp(key, quantization_keys[i]) == 0)
            return true;
    return false;
}

static void read_quantization(reader *r, bm_hf_config *c)
{
    for (size_t i = 0; i < BM_COUNT(quantization_keys); i++) {
        const bm_json *object = bm_json_find(r->object, quantization_keys[i]);
        if (!object || bm_json_kind_of(object) == BM_JSON_NULL)
            continue;
        if (bm_json_kind_of(object) != BM_JSON_OBJECT)
            fail(r, BM_E_FORMAT, quantization_keys[i], bm_json_kind_name(bm_json_kind_of(object)), "an object");
        c->quantization_config = object;
    }
}

bm_status bm_hf_config_parse(bm_hf_config *out, bm_json **root, const char *path, bm_error *err)
{
    bm_status status = BM_OK;
    bm_hf_config c = {.root = *root};
    *root = NULL;
    BM_FAIL_IF(bm_json_kind_of(c.root) != BM_JSON_OBJECT, err, BM_E_FORMAT, "%s: is no JSON object", path);
    reader r = {c.root, path, &c, err, BM_OK};
    const bm_family *family = find_family(&r);
    if (family) {
        const bm_family_defaults *defaults = &family->defaults;
        snprintf(c.model_type, sizeof c.model_type, "%s", family->model_type);
        c.vocab_size = get_required_u32(&r, "vocab_size", 1, 1u << 24);
        if (family->has_alibi)
            read_bloom(&r, defaults, &c);
        else
            read_llama(&r, defaults, &c);
        c.tie_word_embeddings = get_bool(&r, "tie_word_embeddings", defaults->tie_word_embeddings);
        c.default_eos_token_id = defaults->eos;
        read_dtype(&r, &c);
        read_quantization(&r, &c);
    }
    status = r.status;
    if (status == BM_OK) {
        *out = c;
        c = (bm_hf_config){0};
    }
done:
    bm_hf_config_destroy(&c);
    return status;
}

bm_status bm_hf_config_read(bm_hf_config *out, const char *folder, bm_error *err)
{
    bm_status status = BM_OK;
    bm_json *root = NULL;
    char others[BM_CHECKPOINT_OTHERS_SIZE];
    char *path = bm_path_join(folder, "config.json");
    BM_FAIL_IF(!path, err, BM_E_MEMORY, "out of memory");
    BM_FAIL_IF(bm_path_kind_of(path) == BM_PATH_ABSENT, err, BM_E_IO, // of anything else, opening it says what is wrong
               "%s: no config.json in it; expected a Hugging Face model folder%s", folder,
               bm_checkpoint_describe_others(folder, others, sizeof others));
    BM_TRY(bm_json_read_file(&root, path, MAX_CONFIG_BYTES, err));
    BM_TRY(bm_hf_config_parse(out, &root, path, err));
done:
    bm_free(path);
    return status;
}

void bm_hf_config_destroy(bm_hf_config *config)
{
    bm_free(config->layer_windowed);
    bm_json_destroy(&config->root);
    *config = (bm_hf_config){0};
}

bool bm_hf_config_is_windowed(const bm_hf_config *config, uint32_t layer)
{
    if (config->sliding_window == 0)
        return false;
    return config->layer_windowed ? config->layer_windowed[layer] != 0 : layer >= config->first_windowed_layer;
}
