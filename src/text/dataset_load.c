// Loading a data set: files, examples, tokens, packs, and the one order of the run.
//
// Packs are formed in file order and shuffled as packs; without packing the examples are shuffled before they are
// tokenized, so that max_sequences saves the work for the others.
#include "text/dataset_internal.h"

#include "base/random.h"

#include <stdio.h>
#include <string.h>

#define ORDER_STREAM 1u // of the random numbers; other uses of the seed take other streams
#define MAX_TEXT_BYTES (UINT64_C(256) << 20)

struct bm_dataset {
    dataset_tokens tokens;
    bm_token_list packed_ids, packed_targets; // used instead of the tokens' when packed
    uint32_t *starts;                         // of all sequences, one behind the other
    bm_sequence *sequences;
    uint32_t count;
    uint64_t num_tokens, num_targets;
    bool is_plain_text, is_token_ids, is_packed;
    dataset_files files;
    dataset_example *examples; // of lines, in their order: where they stand; NULL: a text
};

void bm_dataset_params_init(bm_dataset_params *params)
{
    *params = (bm_dataset_params){.src_length = 1024, .max_length = 2048, .seed = 42};
}

static bm_status check_params(const bm_dataset_params *params, bm_error *err)
{
    if (!params->path || !params->path[0])
        return bm_fail(err, BM_E_ARGUMENT, "key \"dataset_name_or_path\": expected a path");
    if (params->src_length < 2)
        return bm_fail(err, BM_E_ARGUMENT, "key \"src_length\": %u, expected at least 2", params->src_length);
    if (params->max_length <= params->src_length)
        return bm_fail(err, BM_E_ARGUMENT, "key \"max_length\": %u, expected more than src_length %u",
                       params->max_length, params->src_length);
    if (params->max_length > (1u << 24) || params->context > (1u << 24) || params->context == 1)
        return bm_fail(err, BM_E_ARGUMENT, "max_length %u, context %u: expected 2 to %u tokens", params->max_length,
                       params->context, 1u << 24);
    return BM_OK;
}

static bool is_shuffled(const bm_dataset_params *params)
{
    return params->purpose == BM_DATASET_CALIBRATION && !params->keep_order;
}

// 0 .. count - 1 in the order of the run; bm_free it. NULL: no memory.
static uint32_t *make_order(const bm_dataset_params *params, size_t count)
{
    uint32_t *order = bm_alloc(count, sizeof *order);
    if (!order)
        return NULL;
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    if (is_shuffled(params)) {
        bm_random random;
        bm_random_init(&random, params->seed, ORDER_STREAM);
        bm_random_shuffle(&random, order, (uint32_t)count);
    }
    return order;
}

static bm_status encode_examples(bm_dataset *dataset, const dataset_examples *examples, const uint32_t *order,
                                 size_t max_ranges, dataset_encoder *encoder, bm_error *err)
{
    const char *storage = bm_string_text(&examples->storage);
    for (size_t i = 0; i < examples->count && dataset->tokens.count < max_ranges && !dataset->tokens.is_full; i++) {
        const size_t place = order ? order[i] : i;
        const dataset_example *example = &examples->items[place];
        dataset->tokens.example = (uint32_t)place + 1;
        bm_status status;
        if (examples->kind == DATASET_KIND_IDS)
            status =
                dataset_take_ids(encoder, examples->ids.ids + example->src, example->src_length, &dataset->tokens, err);
        else if (examples->kind == DATASET_KIND_TEXT)
            status = dataset_encode_text(encoder, storage + example->src, example->src_length, &dataset->tokens, err);
        else if (examples->has_turns)
            status = dataset_encode_turns(encoder, storage, examples->turns + example->src,
                                          (uint32_t)example->src_length, &dataset->tokens, err);
        else
            status = dataset_encode_pair(encoder, storage + example->src, example->src_length, storage + example->tgt,
                                         example->tgt_length, &dataset->tokens, err);
        if (status != BM_OK) {
            bm_error_prefix(err, "%s: %s %llu", example->path, example->unit, (unsigned long long)example->number);
            return status;
        }
    }
    return BM_OK;
}

static bm_status load_lines(bm_dataset *dataset, const bm_dataset_params *params, dataset_encoder *encoder,
                            const bm_log *log, bm_error *err)
{
    const dataset_files *files = &dataset->files;
    bm_status status = BM_OK;
    dataset_examples examples = {.storage = BM_STRING_INIT, .ids = BM_TOKEN_LIST_INIT};
    uint32_t *order = NULL;
    examples.has_turns = params->chat_template != NULL;
    for (uint32_t i = 0; i < files->count; i++)
        BM_TRY(dataset_examples_read(&examples, files->paths[i], log, err));
    BM_FAIL_IF(examples.count == 0, err, BM_E_FORMAT,
               "%s: no examples, expected lines of JSON with \"src\" and \"tgt\", or \"text\", or \"input_ids\"",
               files->source);
    BM_FAIL_IF(examples.count >= UINT32_MAX, err, BM_E_FORMAT, "%s: too many examples", files->source);
    dataset->is_plain_text = examples.kind == DATASET_KIND_TEXT;
    dataset->is_token_ids = examples.kind == DATASET_KIND_IDS;
    if (!dataset->is_plain_text && !params->zero_padding) {
        order = make_order(params, examples.count);
        BM_FAIL_IF(!order, err, BM_E_MEMORY, "%s: out of memory", files->source);
    }
    const size_t max_ranges = order && params->max_sequences ? params->max_sequences : SIZE_MAX;
    BM_TRY(encode_examples(dataset, &examples, order, max_ranges, encoder, err));
    dataset->examples = examples.items;
    examples.items = NULL;
done:
    dataset_examples_free(&examples);
    bm_free(order);
    return status;
}

// Takes out of a text what belongs to its file and not to the text, in place: a byte order mark in front, and the CR
// of the line ends CR LF; a CR alone is a line end, too. So does Python's text mode, which the published numbers were
// measured by. Returns the length that is left.
static size_t clean_text(char *text, size_t length, bool *has_mark, size_t *num_line_ends)
{
    size_t kept = 0;
    *num_line_ends = 0;
    *has_mark = length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0;
    for (size_t i = *has_mark ? 3 : 0; i < length; i++) {
        const bool is_return = text[i] == '\r';
        *num_line_ends += is_return;
        if (!is_return || i + 1 == length || text[i + 1] != '\n')
            text[kept++] = is_return ? '\n' : text[i];
    }
    return kept;
}

// Said of a text that was read: what is refused is the error alone.
static void note_cleaned(const char *path, bool has_mark, size_t num_line_ends, const bm_log *log)
{
    if (has_mark)
        bm_log_write(log, BM_LOG_INFO, "note: %s: the byte order mark in front is left out", path);
    if (num_line_ends)
        bm_log_write(log, BM_LOG_INFO, "note: %s: %zu line end%s with a carriage return, read as line feeds", path,
                     num_line_ends, bm_plural(num_line_ends));
}

static bm_status load_text(bm_dataset *dataset, dataset_encoder *encoder, const bm_log *log, bm_error *err)
{
    const char *path = dataset->files.paths[0];
    char *text = NULL;
    uint64_t size = 0;
    dataset->is_plain_text = true;
    bm_status status = bm_file_read_all(path, MAX_TEXT_BYTES, &text, &size, err);
    if (status != BM_OK)
        return status;
    bool has_mark;
    size_t num_line_ends;
    const size_t length = clean_text(text, (size_t)size, &has_mark, &num_line_ends);
    status = length == 0 ? bm_fail(err, BM_E_FORMAT, "is empty, expected a text")
                         : dataset_encode_text(encoder, text, length, &dataset->tokens, err);
    if (status != BM_OK)
        bm_error_prefix(err, "%s", path);
    else
        note_cleaned(path, has_mark, num_line_ends, log);
    bm_free(text);
    return status;
}

static void add_sequence(bm_dataset *dataset, const uint32_t *ids, const uint32_t *targets, const uint32_t *starts,
                         uint32_t num_segments, uint32_t number)
{
    const uint32_t count = starts[num_segments];
    dataset->sequences[dataset->count++] = (bm_sequence){ids, targets, starts, count, num_segments, number};
    dataset->num_tokens += count;
    for (uint32_t i = 0; i < count; i++)
        dataset->num_targets += targets[i] != BM_NO_TARGET;
}

// One sequence a range. reorder: the ranges are in file order still.
static bm_status finish_plain(bm_dataset *dataset, const bm_dataset_params *params, bool reorder, bm_error *err)
{
    const dataset_tokens *tokens = &dataset->tokens;
    const size_t count = params->max_sequences ? bm_min_u64(tokens->count, params->max_sequences) : tokens->count;
    uint32_t *order = reorder ? make_order(params, tokens->count) : NULL;
    dataset->sequences = bm_alloc(count, sizeof *dataset->sequences);
    dataset->starts = bm_alloc(count, 2 * sizeof *dataset->starts);
    if (!dataset->sequences || !dataset->starts || (reorder && !order)) {
        bm_free(order);
        return bm_fail(err, BM_E_MEMORY, "%s: out of memory", dataset->files.source);
    }
    for (size_t i = 0; i < count; i++) {
        const dataset_range range = tokens->ranges[order ? order[i] : i];
        uint32_t *starts = dataset->starts + 2 * i;
        starts[0] = 0;
        starts[1] = range.count;
        add_sequence(dataset, tokens->ids.ids + range.start, tokens->targets.ids + range.start, starts, 1,
                     range.number);
    }
    bm_free(order);
    return BM_OK;
}

// The members of each pack in order: members[first[p]] .. members[first[p + 1] - 1]. first has num_packs + 2 entries;
// while counting, entry p + 2 serves as the counter of pack p.
static void group_members(const uint32_t *pack_of, size_t num_ranges, uint32_t num_packs, uint32_t *first,
                          uint32_t *members)
{
    memset(first, 0, ((size_t)num_packs + 2) * sizeof *first);
    for (size_t i = 0; i < num_ranges; i++)
        if (pack_of[i] != UINT32_MAX)
            first[pack_of[i] + 2]++;
    for (uint32_t p = 2; p < num_packs + 2; p++)
        first[p] += first[p - 1];
    for (size_t i = 0; i < num_ranges; i++)
        if (pack_of[i] != UINT32_MAX)
            members[first[pack_of[i] + 1]++] = (uint32_t)i;
}

// Copies the ranges of every pack in the order of the run, so that a pack is one stretch.
static bm_status copy_packs(bm_dataset *dataset, const uint32_t *order, uint32_t num_packs, const uint32_t *first,
                            const uint32_t *members, bm_error *err)
{
    const dataset_tokens *tokens = &dataset->tokens;
    for (uint32_t p = 0; p < num_packs; p++)
        for (uint32_t m = first[order[p]]; m < first[order[p] + 1]; m++) {
            const dataset_range range = tokens->ranges[members[m]];
            if (!bm_token_list_append(&dataset->packed_ids, tokens->ids.ids + range.start, range.count) ||
                !bm_token_list_append(&dataset->packed_targets, tokens->targets.ids + range.start, range.count))
                return bm_fail(err, BM_E_MEMORY, "%s: out of memory", dataset->files.source);
        }
    size_t place = 0;
    uint32_t *starts = dataset->starts;
    for (uint32_t p = 0; p < num_packs; p++) {
        const uint32_t begin = first[order[p]], end = first[order[p] + 1];
        starts[0] = 0;
        for (uint32_t m = begin; m < end; m++)
            starts[m - begin + 1] = starts[m - begin] + tokens->ranges[members[m]].count;
        add_sequence(dataset, dataset->packed_ids.ids + place, dataset->packed_targets.ids + place, starts, end - begin,
                     order[p] + 1);
        place += starts[end - begin];
        starts += end - begin + 1;
    }
    return BM_OK;
}

static bm_status finish_packed(bm_dataset *dataset, const bm_dataset_params *params, bm_error *err)
{
    bm_status status = BM_OK;
    const size_t num_ranges = dataset->tokens.count;
    uint32_t num_packs = 0;
    uint32_t *order = NULL, *first = NULL;
    uint32_t *pack_of = bm_alloc(num_ranges, sizeof *pack_of);
    uint32_t *members = bm_alloc(num_ranges, sizeof *members);
    BM_FAIL_IF(!pack_of || !members, err, BM_E_MEMORY, "%s: out of memory", dataset->files.source);
    BM_TRY(dataset_pack(&dataset->tokens, params->max_length, params->greedy, pack_of, &num_packs, err));
    first = bm_alloc((uint64_t)num_packs + 2, sizeof *first);
    order = make_order(params, num_packs);
    dataset->sequences = bm_alloc(num_packs, sizeof *dataset->sequences);
    dataset->starts = bm_alloc(num_ranges + (uint64_t)num_packs, sizeof *dataset->starts);
    BM_FAIL_IF(!first || !order || !dataset->sequences || !dataset->starts, err, BM_E_MEMORY, "%s: out of memory",
               dataset->files.source);
    group_members(pack_of, num_ranges, num_packs, first, members);
    if (params->max_sequences && params->max_sequences < num_packs)
        num_packs = params->max_sequences;
    BM_TRY(copy_packs(dataset, order, num_packs, first, members, err));
    dataset_tokens_free(&dataset->tokens); // the packs hold copies
done:
    bm_free(pack_of);
    bm_free(members);
    bm_free(first);
    bm_free(order);
    return status;
}

static void note_cuts(const dataset_tokens *tokens, const char *source, const bm_log *log)
{
    if (tokens->num_cut_prompts || tokens->num_cut_answers)
        bm_log_write(log, BM_LOG_INFO, "note: %s: %llu prompt%s cut to src_length, %llu answer%s cut to max_length",
                     source, (unsigned long long)tokens->num_cut_prompts, bm_plural(tokens->num_cut_prompts),
                     (unsigned long long)tokens->num_cut_answers, bm_plural(tokens->num_cut_answers));
    if (tokens->num_cut_lines)
        bm_log_write(log, BM_LOG_INFO, "note: %s: %llu line%s of ids cut to max_length", source,
                     (unsigned long long)tokens->num_cut_lines, bm_plural(tokens->num_cut_lines));
    if (tokens->num_left_turns)
        bm_log_write(log, BM_LOG_INFO,
                     "note: %s: %llu turn%s left out at the beginning of conversations, for max_length", source,
                     (unsigned long long)tokens->num_left_turns, bm_plural(tokens->num_left_turns));
}

static void name_example(const bm_dataset *dataset, uint32_t number, char *out, size_t capacity)
{
    const dataset_example *e = &dataset->examples[number - 1];
    snprintf(out, capacity, "%s: %s %llu", e->path, e->unit, (unsigned long long)e->number);
}

// "quant.json: line 3", "quant.json: line 3 and 4 more"; of a text its file
static const char *name_empty(const bm_dataset *dataset, char *out, size_t capacity)
{
    const uint64_t more = dataset->tokens.num_empty - 1;
    if (!dataset->examples) {
        snprintf(out, capacity, "%s", dataset->files.source);
        return out;
    }
    name_example(dataset, dataset->tokens.first_empty, out, capacity);
    const size_t length = strlen(out);
    if (more > 0)
        snprintf(out + length, capacity - length, " and %llu more", (unsigned long long)more);
    return out;
}

// Where nothing else is left, the error says it.
static void note_empty(const bm_dataset *dataset, const bm_log *log)
{
    char name[512];
    if (dataset->tokens.num_empty > 0 && dataset->tokens.count > 0)
        bm_log_write(log, BM_LOG_INFO, "note: %s: too short to feed or score anything, left out",
                     name_empty(dataset, name, sizeof name));
}

bm_status bm_dataset_load(bm_dataset **out, const bm_dataset_params *params, const bm_tokenizer *tokenizer,
                          const bm_log *log, bm_error *err)
{
    bm_status status = check_params(params, err);
    if (status != BM_OK)
        return status;
    dataset_encoder encoder = {0};
    char empty[512];
    bm_dataset *dataset = bm_alloc_zero(1, sizeof *dataset);
    BM_FAIL_IF(!dataset, err, BM_E_MEMORY, "%s: out of memory", params->path);
    BM_TRY(dataset_files_find(&dataset->files, params, log, err));
    const char *source = dataset->files.source;
    BM_TRY(dataset_encoder_begin(&encoder, tokenizer, params, log, err));
    const bool is_text_file = bm_ends_with(dataset->files.paths[0], ".txt");
    if (is_text_file)
        BM_TRY(load_text(dataset, &encoder, log, err));
    else
        BM_TRY(load_lines(dataset, params, &encoder, log, err));
    note_cuts(&dataset->tokens, source, log);
    note_empty(dataset, log);
    BM_FAIL_IF(dataset->tokens.count == 0 && dataset->is_plain_text && params->drop_last, err, BM_E_ARGUMENT,
               "%s: no whole slice of %u tokens%s, and drop_last leaves shorter ones out", source, encoder.slice,
               dataset->tokens.is_full ? " within max_tokens" : "");
    BM_FAIL_IF(dataset->tokens.count == 0 && dataset->tokens.is_full, err, BM_E_ARGUMENT,
               "%s: the first example has more tokens than the %llu that were asked for", source,
               (unsigned long long)params->max_tokens);
    BM_FAIL_IF(dataset->tokens.count == 0, err, BM_E_FORMAT, "%s: nothing of 2 tokens or more",
               dataset->tokens.num_empty > 0 ? name_empty(dataset, empty, sizeof empty) : source);
    BM_FAIL_IF(dataset->tokens.count >= UINT32_MAX, err, BM_E_FORMAT, "%s: too many sequences", source);
    if (params->zero_padding && params->purpose == BM_DATASET_CALIBRATION && !is_text_file) {
        dataset->is_packed = true;
        BM_TRY(finish_packed(dataset, params, err));
    } else
        BM_TRY(finish_plain(dataset, params, dataset->is_plain_text || params->zero_padding, err));
    *out = dataset;
    dataset = NULL;
done:
    bm_dataset_destroy(&dataset);
    dataset_encoder_end(&encoder);
    return status;
}

void bm_dataset_destroy(bm_dataset **address)
{
    bm_dataset *dataset = *address;
    if (!dataset)
        return;
    dataset_tokens_free(&dataset->tokens);
    bm_token_list_free(&dataset->packed_ids);
    bm_token_list_free(&dataset->packed_targets);
    bm_free(dataset->starts);
    bm_free(dataset->sequences);
    bm_free(dataset->examples);
    dataset_files_free(&dataset->files);
    bm_free(dataset);
    *address = NULL;
}

uint32_t bm_dataset_count(const bm_dataset *dataset)
{
    return dataset->count;
}

const bm_sequence *bm_dataset_sequence(const bm_dataset *dataset, uint32_t index)
{
    return &dataset->sequences[index];
}

uint64_t bm_dataset_num_tokens(const bm_dataset *dataset)
{
    return dataset->num_tokens;
}

uint64_t bm_dataset_num_targets(const bm_dataset *dataset)
{
    return dataset->num_targets;
}

bool bm_dataset_is_plain_text(const bm_dataset *dataset)
{
    return dataset->is_plain_text;
}

bool bm_dataset_is_token_ids(const bm_dataset *dataset)
{
    return dataset->is_token_ids;
}

const char *bm_dataset_source(const bm_dataset *dataset)
{
    return dataset->files.source;
}

const char *bm_dataset_name_sequence(const bm_dataset *dataset, uint32_t index, char *out, size_t capacity)
{
    const uint32_t number = dataset->sequences[index].number;
    if (dataset->is_packed || dataset->is_plain_text)
        snprintf(out, capacity, "%s: %s %u", dataset->files.source, dataset->is_packed ? "pack" : "slice", number);
    else
        name_example(dataset, number, out, capacity);
    return out;
}

bm_status bm_dataset_check_ids(const bm_dataset *dataset, uint32_t vocabulary, bm_error *err)
{
    char name[512];
    for (uint32_t index = 0; index < dataset->count; index++) {
        const bm_sequence *s = &dataset->sequences[index];
        for (uint32_t i = 0; i < s->count; i++) {
            const uint32_t target = s->targets[i] == BM_NO_TARGET ? 0 : s->targets[i];
            const uint32_t largest = s->ids[i] > target ? s->ids[i] : target;
            if (largest >= vocabulary)
                return bm_fail(err, BM_E_ARGUMENT, "%s: token id %u, the model's vocabulary has %u; %s",
                               bm_dataset_name_sequence(dataset, index, name, sizeof name), largest, vocabulary,
                               dataset->is_token_ids ? "were the ids made by the model's tokenizer?"
                                                     : "does the tokenizer belong to the model?");
        }
    }
    return BM_OK;
}

uint32_t bm_dataset_num_batches(const bm_dataset *dataset, uint32_t batch_size, bool drop_last)
{
    return drop_last ? dataset->count / batch_size : (uint32_t)bm_divide_up(dataset->count, batch_size);
}
