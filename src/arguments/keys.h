// The table of keys and one value on its way into a field, as the files of this room see them. Private to it.
#ifndef BM_ARGUMENTS_KEYS_H
#define BM_ARGUMENTS_KEYS_H

#include "arguments/arguments.h"

// How a value is converted and stored.
typedef enum key_type {
    KEY_BOOL,
    KEY_INT,    // int64_t
    KEY_DOUBLE, // double
    KEY_STRING, // char *, owned; NULL where "" was given
    KEY_ENUM,   // an enum of arguments.h or a bm_dtype
    KEY_LIST,   // bm_name_list
} key_type;

// Who reads a key: one bit a phase. A key that is given and read by no phase of the job gives a note (check.c).
enum {
    PHASE_RUN = 1 << 0,       // always
    PHASE_QUANTIZE = 1 << 1,  // any job that quantizes
    PHASE_CALIBRATE = 1 << 2, // some phase reads calibration data
    PHASE_GROUP = 1 << 3,     // groupwise scales
    PHASE_SHIFT = 1 << 4,
    PHASE_SMOOTH = 1 << 5,       // smooth or the AWQ scale search
    PHASE_PLAIN_SMOOTH = 1 << 6, // smooth by alpha, without a search
    PHASE_PIECEWISE = 1 << 7,
    PHASE_AWQ = 1 << 8,
    PHASE_CLIP = 1 << 9,
    PHASE_OBSERVE = 1 << 10, // activation scales
    PHASE_KV = 1 << 11,
    PHASE_FP8 = 1 << 12,
    PHASE_GPTQ = 1 << 13,
    PHASE_PACK = 1 << 14,       // zero_padding
    PHASE_INT = 1 << 15,        // integer weights
    PHASE_SCALED = 1 << 16,     // shift, smooth or AWQ: something is folded
    PHASE_WEIGH = 1 << 17,      // rounding whose search weighs by calibration data
    PHASE_SIGNED = 1 << 18,     // a search of symmetric steps
    PHASE_RANGES = 1 << 19,     // smooth by the ranges of channels, with or without a search: not by AWQ
    PHASE_THRESHOLDS = 1 << 20, // clipping by AWQ's thresholds
    PHASE_SAMPLE = 1 << 21,     // AWQ that looks at a sample: to judge by blocks, or to measure errors behind rounding
    PHASE_SEQUENTIAL = 1 << 22, // linears are solved by inputs that quantized ones before them may change
};

// Where a value came from: of the command line by --set, or by an option of its own. The higher wins.
enum { ORIGIN_DEFAULT = 0, ORIGIN_FILE, ORIGIN_COMMAND, ORIGIN_OPTION };

// Flags of a row.
enum {
    KEY_TRUE_IS_ONE = 1 << 0,       // an integer that official files give as true
    KEY_AUTO_IS_ZERO = 1 << 1,      // a number that may be the text "auto", stored as 0
    KEY_NULL_IS_ZERO = 1 << 2,      // null is a value of its own, stored as 0
    KEY_ABOVE_LOW = 1 << 3,         // the lower bound itself is excluded
    KEY_ALL_IS_MINUS_ONE = 1 << 4,  // -1 is allowed beside the range: the whole data set
    KEY_NOT_COMPAT = 1 << 5,        // compat does it in a way of its own, which does not read the key
    KEY_NOT_COMPAT_SEARCH = 1 << 6, // the same, but where it does not search the key counts
};

// A key that fills a field.
typedef struct key_row {
    const char *name, *alias; // alias NULL: none
    key_type type;
    uint32_t field;       // offset in bm_arguments
    const char *fallback; // default, in the text form of --set; NULL: zero
    uint32_t phases;      // PHASE_ bits
    uint32_t flags;       // KEY_ bits
    double low, high;     // numbers: allowed range
    // The only values allowed, ended by NULL. Of an enumeration they stand in the order of its enumerators; an empty one
    // cannot be given. Integers: NULL where the range decides.
    const char *const *names;
} key_row;

extern const key_row key_table[];
extern const uint32_t key_table_count;

// What happens to keys that fill no field.
typedef enum key_reaction {
    KEY_NO_EFFECT,  // accepted; one note names those of the group
    KEY_ONE_DEVICE, // the same, but silent where the value means one device
    KEY_REFUSED,    // rejected, unless the value means off
} key_reaction;
typedef struct key_group {
    key_reaction reaction;
    const char *words; // why
    const char *names; // separated by spaces; a '*' at the end of one: any key with this beginning
} key_group;

extern const key_group key_groups[];
extern const uint32_t key_groups_count;

// By name or alias. NULL: no such key.
const key_row *key_find(const char *name);
const key_group *key_find_group(const char *name);
// The known name nearest to an unknown one, into out. False: none is near.
bool key_nearest(const char *name, char *out, size_t capacity);

// The canonical name of a value of an enumeration; "" where it is unset.
const char *key_enum_name(const char *key, int value);
// The canonical name of another spelling, or the text itself. Case does not count.
const char *key_canonical(const char *text);

// The words of options->built on a key; NULL: none.
const char *key_built(const bm_arguments_options *options, const char *key);

// One value of a file (json) or of the command line (text alone; converted without a note).
typedef struct key_value {
    bm_json_kind kind;
    const char *text;    // of a string
    const bm_json *json; // NULL: of the command line, or a default
} key_value;
key_value key_value_of_json(const bm_json *json);
key_value key_value_of_text(const char *text);
// Off: null, false, 0, -1, "", [], {} or a text like "off".
bool key_value_is_off(const key_value *value);
// Appends a value as it stood in the file.
void key_value_print(const key_value *value, bm_string *out);
// The same for messages: printable, cut to the capacity. Returns out.
const char *key_value_show(const key_value *value, char *out, size_t capacity);
#define KEY_SHOWN_SIZE 96 // of a name or a value in a message

// Converts a value by the type of the row, checks and stores it. name is the spelling that the user chose, built
// further words for the error (NULL: none).
bm_status key_store(bm_arguments *args, const key_row *row, const char *name, const key_value *value, const char *built,
                    bm_error *err);
void key_field_free(bm_arguments *args, const key_row *row);

// The end of the reading, in this order (read.c).
bm_status arguments_check_jobs(const bm_arguments *args, bm_error *err);    // which keys may stand together
bm_status arguments_resolve_type(bm_arguments *args, bm_error *err);        // job, quant_type, weight_bits, fp8
bm_status arguments_check_methods(const bm_arguments *args, bm_error *err); // what depends on the resolved type
bm_status arguments_resolve_run(bm_arguments *args, bm_error *err);         // dtypes, device, tokenizer, lengths
void arguments_resolve_method(bm_arguments *args);                          // what depends on the job
void arguments_note_unused(bm_arguments *args); // keys that no phase of the job reads; called by the former

// Whether the scale search of weights needs their inputs.
static inline bool arguments_weigh_by_data(const bm_arguments *args)
{
    return args->scale_search == BM_SCALE_GRAM || args->scale_search == BM_SCALE_WEIGHTED_MSE;
}

// Rejects with words and leaves the function when condition is true; args and err are its variables.
#define REJECT_IF(condition, ...)                                                                                      \
    do {                                                                                                               \
        if (condition)                                                                                                 \
            return bm_arguments_reject(args, err, __VA_ARGS__);                                                        \
    } while (0)

#endif
