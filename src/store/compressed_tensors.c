// Reading and matching of quantization_config.
#include "store/compressed_tensors.h"

#include "base/hash.h"
#include "base/str.h"
#include "store/module_pattern.h"

#include <string.h>

typedef struct config_group {
    const char *name; // its key; in the parsed JSON
    bm_compressed_tensors_scheme scheme;
    bm_module_pattern *targets;
    uint32_t num_targets;
} config_group;

struct bm_compressed_tensors_config {
    config_group *groups;
    uint32_t num_groups, num_targets; // targets: of all groups, which share one bound on matching steps
    bm_module_pattern *ignore;
    uint32_t num_ignore;
};

void bm_compressed_tensors_destroy(bm_compressed_tensors_config **config)
{
    if (!config || !*config)
        return;
    for (uint32_t i = 0; i < (*config)->num_groups; i++)
        bm_module_patterns_free((*config)->groups[i].targets, (*config)->groups[i].num_targets);
    bm_module_patterns_free((*config)->ignore, (*config)->num_ignore);
    bm_free((*config)->groups);
    bm_free(*config);
    *config = NULL;
}

// "re:" goes before an expression; else it is the exact name of a module, or of a class.
static bm_status read_pattern(const char *text, bm_module_pattern *out, const char *name, bm_error *err)
{
    out->text = text;
    const bm_status status = strncmp(text, "re:", 3) == 0 ? bm_module_pattern_compile(text + 3, out, err) : BM_OK;
    if (status != BM_OK)
        bm_error_prefix(err, "%s: quantization_config", name);
    return status;
}

static bm_status read_patterns(const bm_json *list, const char *key, bm_module_pattern **out, uint32_t *count,
                               const char *name, bm_error *err)
{
    bm_status status = BM_OK;
    bm_module_pattern *patterns = NULL;
    uint32_t n = 0;
    if (!list || bm_json_kind_of(list) == BM_JSON_NULL)
        return BM_OK;
    BM_FAIL_IF(bm_json_kind_of(list) != BM_JSON_ARRAY, err, BM_E_FORMAT,
               "%s: quantization_config: \"%s\": expected a list of strings", name, key);
    BM_FAIL_IF(bm_json_count(list) > BM_MAX_MODULE_PATTERNS, err, BM_E_FORMAT,
               "%s: quantization_config: \"%s\": found %u entries, expected at most %d", name, key, bm_json_count(list),
               BM_MAX_MODULE_PATTERNS);
    patterns = bm_alloc_zero((uint64_t)bm_json_count(list) + 1, sizeof *patterns);
    BM_FAIL_IF(!patterns, err, BM_E_MEMORY, "out of memory");
    for (const bm_json *item = bm_json_first(list); item; item = bm_json_next(item)) {
        BM_FAIL_IF(bm_json_kind_of(item) != BM_JSON_STRING, err, BM_E_FORMAT,
                   "%s: quantization_config: \"%s\": expected a list of strings", name, key);
        BM_TRY(read_pattern(bm_json_string(item), &patterns[n], name, err));
        n++;
    }
    *out = patterns;
    *count = n;
    patterns = NULL;
    n = 0;
done:
    bm_module_patterns_free(patterns, n);
    return status;
}

static bm_status read_group(const bm_json *object, const char *global_format, config_group *group, const char *name,
                            bm_error *err)
{
    bm_status status = BM_OK;
    group->name = bm_json_key(object);
    if (bm_json_kind_of(object) == BM_JSON_ARRAY) {
        BM_TRY(bm_compressed_tensors_read_preset(bm_json_key(object), global_format, &group->scheme, name, err));
        BM_TRY(read_patterns(object, "targets", &group->targets, &group->num_targets, name, err));
        goto done;
    }
    BM_FAIL_IF(bm_json_kind_of(object) != BM_JSON_OBJECT, err, BM_E_FORMAT,
               "%s: quantization_config: config_groups holds something else than objects", name);
    BM_TRY(bm_compressed_tensors_read_scheme(object, global_format, &group->scheme, name, err));
    BM_TRY(read_patterns(bm_json_find(object, "targets"), "targets", &group->targets, &group->num_targets, name, err));
done:
    return status;
}

// Keys beside the groups that change what the stored numbers mean: reading on without them would give wrong weights.
static bm_status refuse_other_schemes(const bm_json *object, const char *name, bm_error *err)
{
    static const char *const keys[] = {"kv_cache_scheme", "sparsity_config", "transform_config"};
    for (size_t i = 0; i < BM_COUNT(keys); i++) {
        const bm_json *value = bm_json_find(object, keys[i]);
        if (!value || bm_json_kind_of(value) == BM_JSON_NULL)
            continue;
        if (bm_json_kind_of(value) != BM_JSON_OBJECT)
            return bm_fail(err, BM_E_FORMAT, "%s: quantization_config: \"%s\": found %s, expected an object or null",
                           name, keys[i], bm_json_kind_name(bm_json_kind_of(value)));
        const bm_json *format = strcmp(keys[i], "sparsity_config") == 0 ? bm_json_find(value, "format") : NULL;
        const bool is_dense = // no sparsity, in words
            format && bm_json_kind_of(format) == BM_JSON_STRING && strcmp(bm_json_string(format), "dense") == 0;
        if (bm_json_count(value) > 0 && !is_dense)
            return bm_fail(err, BM_E_UNSUPPORTED, "%s: quantization_config: \"%s\" is not built", name, keys[i]);
    }
    return BM_OK;
}

// A target of two groups has two schemes: whichever we took, another reader may take the other.
static bm_status refuse_shared_targets(const bm_compressed_tensors_config *config, const char *name, bm_error *err)
{
    bm_status status = BM_OK;
    char shown[80], shown_first[80], shown_second[80];
    bm_map *owners = bm_map_create(16);
    BM_FAIL_IF(!owners, err, BM_E_MEMORY, "out of memory");
    for (uint32_t g = 0; g < config->num_groups; g++)
        for (uint32_t t = 0; t < config->groups[g].num_targets; t++) {
            const char *target = config->groups[g].targets[t].text;
            uint32_t owner = g;
            if (!bm_map_find(owners, target, strlen(target), &owner))
                BM_FAIL_IF(!bm_map_insert(owners, target, strlen(target), g, NULL), err, BM_E_MEMORY, "out of memory");
            BM_FAIL_IF(
                owner != g, err, BM_E_FORMAT,
                "%s: quantization_config: config_groups: found target \"%s\" in \"%s\" and \"%s\", expected it in "
                "one group",
                name, bm_printable(target, strlen(target), shown, sizeof shown),
                bm_printable(config->groups[owner].name, strlen(config->groups[owner].name), shown_first,
                             sizeof shown_first),
                bm_printable(config->groups[g].name, strlen(config->groups[g].name), shown_second,
                             sizeof shown_second));
        }
done:
    bm_map_destroy(&owners);
    return status;
}

// Groups may each name a format; the outer one then says the same, or that they are mixed.
static bm_status check_outer_format(const char *format, const char *name, bm_error *err)
{
    char shown[64];
    static const char *const formats[] = {"pack-quantized", "int-quantized", "mixed-precision"};
    for (size_t i = 0; i < BM_COUNT(formats); i++)
        if (strcmp(format, formats[i]) == 0)
            return BM_OK;
    return bm_fail(err, BM_E_UNSUPPORTED,
                   "%s: quantization_config: key \"format\": found \"%s\", expected pack-quantized or int-quantized",
                   name, bm_printable(format, strlen(format), shown, sizeof shown));
}

bm_status bm_compressed_tensors_parse(bm_compressed_tensors_config **out, const bm_json *object, const char *name,
                                      bm_error *err)
{
    bm_status status = BM_OK;
    const char *format = NULL;
    bm_compressed_tensors_config *config = bm_alloc_zero(1, sizeof *config);
    BM_FAIL_IF(!config, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_json_get_string(object, "format", "pack-quantized", &format, name, err));
    BM_TRY(check_outer_format(format, name, err));
    BM_TRY(refuse_other_schemes(object, name, err));
    const bm_json *groups = bm_json_find(object, "config_groups");
    BM_FAIL_IF(!groups || bm_json_kind_of(groups) != BM_JSON_OBJECT, err, BM_E_FORMAT,
               "%s: quantization_config: no object \"config_groups\"", name);
    config->groups = bm_alloc_zero((uint64_t)bm_json_count(groups) + 1, sizeof *config->groups);
    BM_FAIL_IF(!config->groups, err, BM_E_MEMORY, "out of memory");
    for (const bm_json *group = bm_json_first(groups); group; group = bm_json_next(group)) {
        config_group *read = &config->groups[config->num_groups++];
        BM_TRY(read_group(group, format, read, name, err));
        config->num_targets += read->num_targets;
        BM_FAIL_IF(config->num_targets > BM_MAX_MODULE_PATTERNS, err, BM_E_FORMAT,
                   "%s: quantization_config: config_groups: found %u targets in the first %u groups, expected at most "
                   "%d in all",
                   name, config->num_targets, config->num_groups, BM_MAX_MODULE_PATTERNS);
    }
    BM_TRY(refuse_shared_targets(config, name, err));
    BM_TRY(read_patterns(bm_json_find(object, "ignore"), "ignore", &config->ignore, &config->num_ignore, name, err));
    *out = config;
    config = NULL;
done:
    bm_compressed_tensors_destroy(&config);
    return status;
}

typedef enum match_kind { MATCH_NAME, MATCH_REGEX, MATCH_CLASS, NUM_MATCH_KINDS } match_kind;

static bool pattern_matches(const bm_module_pattern *pattern, uint32_t count, const char *module, match_kind kind)
{
    switch (kind) {
    case MATCH_NAME:
        return !pattern->regex && strcmp(pattern->text, module) == 0;
    case MATCH_REGEX:
        return pattern->regex && bm_module_pattern_matches(pattern, count, module);
    case MATCH_CLASS:
        return !pattern->regex && strcmp(pattern->text, "Linear") == 0;
    case NUM_MATCH_KINDS:
        break;
    }
    return false;
}

const bm_compressed_tensors_scheme *bm_compressed_tensors_match(const bm_compressed_tensors_config *config,
                                                                const char *module)
{
    for (uint32_t i = 0; i < config->num_ignore; i++)
        for (match_kind kind = 0; kind < NUM_MATCH_KINDS; kind++)
            if (pattern_matches(&config->ignore[i], config->num_ignore, module, kind))
                return NULL;
    for (match_kind kind = 0; kind < NUM_MATCH_KINDS; kind++)
        for (uint32_t g = 0; g < config->num_groups; g++)
            for (uint32_t t = 0; t < config->groups[g].num_targets; t++)
                if (pattern_matches(&config->groups[g].targets[t], config->num_targets, module, kind))
                    return &config->groups[g].scheme;
    return NULL;
}
