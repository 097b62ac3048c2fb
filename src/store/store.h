// Checkpoint formats: how the canonical form of a quantized linear lies in tensors of a file, and back. A format is a row of a
// table: what it holds, the tensors of a linear, writing, what config.json says of it, reading. Packing is its own business.
#ifndef BM_STORE_STORE_H
#define BM_STORE_STORE_H

#include "formats/checkpoint.h"
#include "formats/checkpoint_writer.h"
#include "formats/json.h"
#include "base/str.h"
#include "quant/method.h"

// One linear as a format is told of it, to write it, or as a format tells of it, to read it.
typedef struct bm_store_linear {
    const char *module;                 // "model.layers.0.mlp.down_proj": tensors are named behind it
    uint64_t out_features, in_features; // rows and columns
    bm_grid_params grid;                // bits, group_size (in_features: one step a row), symmetric, scale_dtype
    bool per_channel;                   // one step a row is what was asked for, not a group that happens to be as long
    uint32_t absent_group_size;         // what the file's absent key means, before the linear's width; 0: it says one
    bool has_group_index;               // columns name their groups: act_order dynamic, more than one group
    bool per_tensor;                    // a reader's: the file has one step for all rows
    bool index_may_lack; // a reader's: gptq's index of groups need not be there, groups are neighbours then
    bool lacks_index;    // and it is not
    bm_input_kind input; // what becomes of its inputs
    uint32_t version;    // of the format, where it has several; 0: the one that it writes
} bm_store_linear;

// A version that a format writes when it is asked for by this name.
typedef struct bm_store_form {
    const char *name;
    uint32_t version; // bm_store_linear.version
} bm_store_form;
#define BM_STORE_MAX_FORMS 2

#define BM_STORE_HEAD "lm_head" // the one module that is in no block
#define BM_STORE_MAX_BLOCK_MODULES 8

// Linears whose grid is not that of the others.
typedef struct bm_store_scheme {
    bm_grid_params grid;
    bool per_channel;
    const char *const *modules; // by full name
    uint32_t num_modules;
} bm_store_scheme;

// What is said of the whole checkpoint in its quantization_config.
typedef struct bm_store_description {
    bm_grid_params grid; // of all quantized linears but for those of schemes
    bool per_channel;
    const bm_store_scheme *schemes; // of formats that hold some
    uint32_t num_schemes;
    bool quantizes_head; // of formats that hold such: lm_head is no float module, though it is the first of them
    bm_column_order act_order;
    bm_input_kind input;              // of all quantized linears
    const char *const *float_modules; // linears that stay float, by full name, lm_head the first
    uint32_t num_float_modules;
    // Where all blocks quantize the same linears: their names in a block, "self_attn.q_proj". None: blocks differ.
    const char *block_modules[BM_STORE_MAX_BLOCK_MODULES];
    uint32_t num_block_modules;
    const char *model_type; // config.json's
    const char *mixture;    // what types of several grids together are called: "gguf (Q4_K_M)"; NULL: they have no name
    uint32_t version;       // of all quantized linears, as in bm_store_linear
    bool has_no_vocabulary; // of a GGUF file: token ids alone
    // The checkpoint has tensors that other runtimes would leave out (fold.h of room model): its quant_method is then
    // BM_STORE_BITMILL, which they refuse by name. Of compressed-tensors alone.
    bool needs_bitmill;
} bm_store_description;

#define BM_STORE_BITMILL "bitmill"

// One tensor of a quantized linear, named module and suffix.
typedef struct bm_store_part {
    const char *suffix; // ".weight_packed"
    bm_dtype dtype;     // as it is written
    bm_dtype or_dtype;  // of a reader's file as well; BM_DTYPE_NONE: no other
    bool is_real;       // a reader takes every float type
    bool is_optional;   // a reader goes without, too: bm_store_match finds out
    uint32_t num_dims;
    uint64_t shape[2];
} bm_store_part;

#define BM_STORE_MAX_PARTS 6
#define BM_STORE_ROWS 32 // pieces of a linear begin at whole words, whatever the bits
#define BM_STORE_NAME_SIZE 192

// Rows of a linear in host memory.
typedef struct bm_store_rows {
    uint64_t count, groups;
    uint32_t *packed; // [count, ceil(in_features bits / 32)]; NULL where the format takes bytes
    int8_t *bytes;    // [count, in_features]; NULL where it takes packed codes
    float *steps;     // [count, groups]
    int32_t *zero_points;
    int8_t *scales, *minimums; // [count, groups], of nested steps (ops/nested.h); NULL: of others
    float *units, *min_units;  // [count, in_features / 256]; symmetric: no minimums and none of these
    uint32_t *group_index;     // [in_features], with the first rows; NULL: neighbours
    bm_input_grid input;
} bm_store_rows;

typedef struct bm_store_format {
    const char *name;         // of key "format"
    const char *quant_method; // of quantization_config; NULL: of a file that says by itself what it holds
    const char *config_file;  // the file that holds the same object once more; NULL: none
    const char *older_file;   // the file in which older writers left it alone, without quant_method
    bm_dtype scale_dtype;     // the one type of its scales; BM_DTYPE_NONE: any real one

    bm_store_form forms[BM_STORE_MAX_FORMS]; // beside what its own name stands for, version 0
    uint32_t block;        // inputs of an output that have a step of their own, whatever the group; 0: groups have one
    bool holds_operations; // that folds add: a description may say needs_bitmill
    bool holds_schemes;    // linears with several grids
    bool holds_head;       // a quantized lm_head
    bool writes_groups;    // alone: with one step a row it is read, and not written
    // Whether it holds a linear of such a shape and grid, to write or to read. Errors: BM_E_FORMAT with what was found and
    // expected, without a file.
    bm_status (*check)(const bm_store_linear *linear, bm_error *err);
    // The tensors of a linear, in the order in which they are declared. Returns their number.
    uint32_t (*parts)(const bm_store_linear *linear, bm_store_part parts[BM_STORE_MAX_PARTS]);
    // Whether put takes codes a byte each. NULL: it takes packed ones.
    bool (*takes_bytes)(const bm_store_linear *linear);
    // The type of a float tensor of so many dimensions; asked: that of the key dtype, BM_DTYPE_NONE where none was given.
    // NULL: the one that was asked for, or its own.
    bm_dtype (*float_dtype)(bm_dtype asked, uint32_t num_dims);
    // Writes rows first .. of a linear; first is a multiple of BM_STORE_ROWS. With the first rows goes what belongs to the
    // whole linear; its group_index is then looked at. May change rows' memory. No device is needed, so that another thread
    // may do it. Errors: those of writing; BM_E_MEMORY.
    bm_status (*put)(bm_checkpoint_writer *writer, const bm_store_linear *linear, uint64_t first,
                     const bm_store_rows *rows, bm_error *err);
    // The weights that a loader makes of the codes of one of rows, in float16: out [in_features]. NULL: of a format with get.
    void (*weights)(const bm_store_linear *linear, const bm_store_rows *rows, uint64_t row, uint16_t *out);
    // What it is called for people.
    const char *(*words)(const bm_store_description *description);
    // Appends the members of quantization_config to the open object. NULL where there is no quant_method.
    void (*config)(bm_json_writer *json, const bm_store_description *description);
    // The runtimes besides bitmill that load it, each followed by ", ", with the versions that were tried.
    // vllm_runs: whether vLLM computes models of this kind at all, with these linears quantized.
    void (*loads_in)(const bm_store_description *description, bool vllm_runs, bm_string *out);

    // What follows is NULL where there is no quant_method, but for get and get_grid: bm_store_open_gguf.
    //
    // Reads a quantization_config object; name is its file, for messages. Errors: BM_E_UNSUPPORTED for a scheme that is
    // not built, BM_E_FORMAT for a malformed object. The object must outlive *out; close with close.
    bm_status (*open)(const bm_json *object, const char *name, void **out, bm_error *err);
    void (*close)(void *parsed);
    // Fills linear->grid (but for scale_dtype), has_group_index, per_tensor, input and version by linear->module and its
    // shape; false: it is not quantized.
    bool (*match)(const void *parsed, bm_store_linear *linear);
    // Looks at what a linear's small tensors say. Its parts are there, of the types and shapes of parts. Errors:
    // BM_E_FORMAT with file, tensor, found and expected; BM_E_IO.
    bm_status (*check_values)(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_error *err);
    // Reads how a linear's inputs are quantized. Errors: as of check_values, for a step that is not above 0 and finite.
    // NULL: they never are.
    bm_status (*get_input)(bm_checkpoint *checkpoint, const bm_store_linear *linear, bm_input_grid *out, bm_error *err);
    // Reads rows first .. of a linear, first a multiple of BM_STORE_ROWS, into the memory of rows (bm_store_rows_create); their
    // group_index is made, whatever first is, and input read. No device is needed, and threads may do it side by side. Errors:
    // as of check_values, for scales that are not finite and zero points out of range as well; BM_E_MEMORY.
    bm_status (*get)(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, bm_store_rows *rows,
                     bm_error *err);
    // Parts of that without the codes, in host memory: steps and zero points, [count, groups], of rows first .., and the group
    // of each column, [in_features], NULL where neighbours share one; the caller's. Errors: as of get.
    bm_status (*get_grid)(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint64_t first, uint64_t count,
                          float *steps, int32_t *zero_points, bm_error *err);
    bm_status (*get_group_index)(bm_checkpoint *checkpoint, const bm_store_linear *linear, uint32_t **out,
                                 bm_error *err); // NULL: neighbours always do
} bm_store_format;

const bm_store_format *bm_store_find(const char *name); // NULL: unknown, or not built
// The names under which linears are written, one after the other, and what each stands for. NULL: there are no more.
const char *bm_store_form_at(uint32_t index, const bm_store_format **format, uint32_t *version);
extern const bm_store_format bm_store_compressed_tensors, bm_store_gptq, bm_store_awq, bm_store_gguf;

// Brings rows first .. of a linear from the device to the host as the format's put takes them; nothing is pending then. Errors:
// BM_E_DEVICE, BM_E_MEMORY. Free with bm_store_rows_free.
bm_status bm_store_fetch(const bm_store_format *format, bm_device *device, const bm_store_linear *linear,
                         uint64_t first, const bm_codes *codes, bm_store_rows *out, bm_error *err);
// And back: *out is the caller's, and rows' group_index becomes its own. Errors: BM_E_DEVICE, BM_E_MEMORY.
bm_status bm_store_send(bm_device *device, const bm_store_linear *linear, bm_store_rows *rows, bm_codes *out,
                        bm_error *err);
// Memory for what put takes and get fills; values are not set, there is no group_index. Errors: BM_E_MEMORY.
bm_status bm_store_rows_create(const bm_store_format *format, const bm_store_linear *linear, uint64_t count,
                               bm_store_rows *out, bm_error *err);
void bm_store_rows_free(bm_store_rows *rows);
uint64_t bm_store_rows_bytes(const bm_store_format *format, const bm_store_linear *linear, uint64_t count);
// Declares the tensors of a linear.
bm_status bm_store_declare(const bm_store_format *format, bm_checkpoint_writer *writer, const bm_store_linear *linear,
                           bm_error *err);

// How the linears of a checkpoint are quantized: an opened quantization_config. All zeros: they are not.
typedef struct bm_store_config {
    const bm_store_format *format;
    void *
        parsed; // of whoever describes it: the format, or a program that has a description of its own for another one's tensors
    void (*close)(void *parsed);
    bool (*match)(const void *parsed, bm_store_linear *linear);
    bool needs_bitmill; // as in the description: what it says of linears is what compressed-tensors says
} bm_store_config;

// Errors: BM_E_UNSUPPORTED for a quant_method without a row; those of the row's open. Close with bm_store_close.
bm_status bm_store_open(bm_store_config *out, const bm_json *object, const char *name, bm_error *err);
// The files of older writers, one after the other, and what they mean without quant_method. NULL: there are no more.
const char *bm_store_older_file(uint32_t index, const char **quant_method);
// As bm_store_open of such a file's object.
bm_status bm_store_open_older(bm_store_config *out, const bm_json *object, const char *quant_method, const char *name,
                              bm_error *err);
void bm_store_close(bm_store_config *config);
// Describes a linear by its name and shape; false: it is not quantized. scale_dtype is the one of the checkpoint, where its
// scales are there.
bool bm_store_match(const bm_store_config *config, const bm_checkpoint *checkpoint, const char *module,
                    uint64_t out_features, uint64_t in_features, bm_store_linear *out);
// Reads rows first .. first + count - 1 of a linear, first a multiple of BM_STORE_ROWS: as they lie in the file, on the host
// (by threads side by side, if they like), their codes on the device, or the values of those there as float32
// [count, in_features]; *out is the caller's. Errors: as of get; BM_E_DEVICE.
bm_status bm_store_get_rows(const bm_store_config *config, bm_checkpoint *checkpoint, const bm_store_linear *linear,
                            uint64_t first, uint64_t count, bm_store_rows *out, bm_error *err);
bm_status bm_store_read_codes(const bm_store_config *config, bm_checkpoint *checkpoint, const bm_store_linear *linear,
                              bm_device *device, uint64_t first, uint64_t count, bm_codes *out, bm_error *err);
bm_status bm_store_read_rows(const bm_store_config *config, bm_checkpoint *checkpoint, const bm_store_linear *linear,
                             bm_device *device, uint64_t first, uint64_t count, bm_tensor *out, bm_error *err);
// How the inputs of a linear are quantized. Errors: as of get_input.
bm_status bm_store_read_input(const bm_store_config *config, bm_checkpoint *checkpoint, const bm_store_linear *linear,
                              bm_input_grid *out, bm_error *err);

#endif
