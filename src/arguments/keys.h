// The table of keys, as the files of this room see it. Private to it, but for schedule/built.c.
#ifndef BM_ARGUMENTS_KEYS_H
#define BM_ARGUMENTS_KEYS_H

#include "arguments/arguments.h"

// How a value is converted and stored.
typedef enum key_type {
    KEY_ANY = 0, // any JSON value; nothing is stored
    KEY_BOOL,
    KEY_INT,    // int64_t
    KEY_DOUBLE, // double
    KEY_STRING, // char *, owned
    KEY_ENUM,   // an enum of arguments.h, by a list of names
    KEY_LIST,   // bm_name_list
} key_type;

// What happens to a key of the file.
typedef enum key_class {
    KEY_HONOUR = 0,
    KEY_NOTE,     // accepted; the words say why it has no effect
    KEY_PARALLEL, // silent at one device (-1, 0, 1, off), else a note
    KEY_REJECT,   // rejected with the words unless it is off
    KEY_TRAINING, // accepted; one note for all of them
} key_class;

// Who reads a key: one bit a phase. A key that is set and read by no phase of the job gives a note.
enum {
    PHASE_RUN = 1 << 0,       // always
    PHASE_QUANTIZE = 1 << 1,  // any job that quantizes
    PHASE_CALIBRATE = 1 << 2, // some phase reads calibration data
    PHASE_ROUND = 1 << 3,     // weight scales are formed (all quantizing jobs)
    PHASE_GROUP = 1 << 4,     // groupwise scales
    PHASE_SHIFT = 1 << 5,
    PHASE_SMOOTH = 1 << 6,       // smooth or the AWQ scale search
    PHASE_PLAIN_SMOOTH = 1 << 7, // smooth by alpha, without a search
    PHASE_PIECEWISE = 1 << 8,
    PHASE_AWQ = 1 << 9,
    PHASE_CLIP = 1 << 10,
    PHASE_OBSERVE = 1 << 11, // activation scales
    PHASE_KV = 1 << 12,
    PHASE_FP8 = 1 << 13,
    PHASE_GPTQ = 1 << 14,
    PHASE_EVALUATE = 1 << 15,
    PHASE_PACK = 1 << 16,   // zero_padding
    PHASE_INT = 1 << 17,    // integer weights
    PHASE_SCALED = 1 << 18, // shift, smooth or AWQ: something is folded
};

// Where a value came from.
enum {
    ORIGIN_DEFAULT = 0,
    ORIGIN_FILE,
    ORIGIN_OVERRIDE,
    ORIGIN_UNSET, // an override said null: the file's value does not count
};

// Flags of a row.
enum {
    KEY_TRUE_IS_ONE = 1 << 0,      // an integer that official files give as true
    KEY_AUTO_IS_ZERO = 1 << 1,     // a number that may be the text "auto", stored as 0
    KEY_NULL_IS_ZERO = 1 << 2,     // null is a value of its own, stored as 0
    KEY_ABOVE_LOW = 1 << 3,        // the lower bound itself is excluded
    KEY_ALL_IS_MINUS_ONE = 1 << 4, // -1 is allowed beside the range: the whole data set
};

typedef struct enum_name {
    const char *name; // NULL ends a list; the first name of a value is the canonical one
    int value;
} enum_name;

#define NO_FIELD ((uint32_t)-1)

typedef struct key_row {
    const char *name; // a '*' at its end: any key with this beginning
    const char *aliases[2];
    key_type type;
    key_class class_of;
    uint32_t field;         // offset in bm_arguments; NO_FIELD: not stored
    const char *fallback;   // default, in the text form of --set; NULL: zero
    uint32_t phases;        // PHASE_ bits
    uint32_t flags;         // KEY_ bits
    double low, high;       // numbers: allowed range
    const int64_t *choices; // integers: the only values allowed, ended by 0; NULL: the range decides
    const enum_name *names; // enumerations
    const char *words;      // note or reason; of choices, those that this version can do; NULL: all
} key_row;

extern const key_row key_table[];
extern const uint32_t key_table_count;

// The row of a key or alias, by wildcards too. -1: unknown. *is_alias (may be NULL) tells an alias.
int32_t key_find(const char *name, bool *is_alias);
// The known name nearest to an unknown one, or NULL when none is near.
const char *key_nearest(const char *name);
// The row that fills a field of bm_arguments. Use KEY_OF.
uint32_t key_of_field(size_t offset);
#define KEY_OF(member) key_of_field(offsetof(bm_arguments, member))
// True when the user gave a value for the field.
bool key_is_given(const bm_arguments *args, uint32_t row);
#define IS_GIVEN(args, member) key_is_given((args), KEY_OF(member))

// Enumerations (enums.c). Texts are compared without case.
extern const enum_name names_job[], names_quant_type[], names_weight_method[], names_act_method[], names_kv_method[],
    names_shift_sampler[], names_smooth_sampler[], names_scale_search[], names_format[], names_act_order[],
    names_scaling[], names_group_tail[], names_opt_level[], names_calibration_inputs[], names_method_choice[],
    names_shift_statistic[], names_fold_other[], names_search_loss[], names_piece_order[], names_piece_candidates[],
    names_awq_inspect[], names_awq_candidates[], names_compat[], names_float_dtype[], names_auto_dtype[];
bool enum_find(const enum_name *names, const char *text, int *value);
const char *enum_text(const enum_name *names, int value); // canonical name; "?" for unknown values
// Appends the canonical names, separated by ", ".
void enum_append_names(const enum_name *names, bm_string *out);

// One value on its way from a file or the command line into a field.
typedef struct key_value {
    bm_json_kind kind;
    bool boolean;
    double number;
    bool is_integer;
    const char *text;    // strings
    const bm_json *json; // arrays and objects; NULL for texts of the command line
    bool from_command;   // a text of the command line: converted without a note
} key_value;
key_value key_value_from_json(const bm_json *json);
key_value key_value_from_text(const char *text);
// Off: null, false, 0, -1, "", [], {} or a text like "off".
bool key_value_is_off(const key_value *value);
// Prints a value for messages: strings in quotes, cut. Returns out.
const char *key_value_text(const key_value *value, char *out, size_t capacity);

// Converts value by the type of the row and stores it (value.c). name is the spelling the user chose.
bm_status key_store(bm_arguments *args, const key_row *row, const char *name, const key_value *value, bm_error *err);
// Equality of two stored values of a row, for keys given under two names.
bool key_field_equals(const bm_arguments *a, const bm_arguments *b, const key_row *row);
void key_field_free(bm_arguments *args, const key_row *row);

// Notes (notes.c). Choices state a default; they are not errors under `strict`.
#define STRICT_WORDS "a note, which --strict refuses: " // before a note that is an error
void note_add(bm_arguments *args, const char *format, ...) BM_PRINTF(2, 3);
void note_choice(bm_arguments *args, const char *format, ...) BM_PRINTF(2, 3);

// Dependencies and resolution, called once and in this order by the readers (parse.c).
bm_status arguments_check_jobs(const bm_arguments *args, bm_error *err);    // which keys may stand together
bm_status arguments_resolve_type(bm_arguments *args, bm_error *err);        // job, quant_type, weight_bits, fp8
bm_status arguments_check_methods(const bm_arguments *args, bm_error *err); // what depends on the resolved type
bm_status arguments_resolve_run(bm_arguments *args, bm_error *err);         // dtypes, device, paths, lengths
void arguments_resolve_method(bm_arguments *args); // what depends on the method: scale search, groups, steps
void arguments_note_unused(bm_arguments *args);    // keys that no phase of the job reads; called by the former

// FILE: WORDS; for the dependency checks.
bm_status arguments_reject(const bm_arguments *args, bm_error *err, const char *format, ...) BM_PRINTF(3, 4);

static inline bool job_quantizes(bm_job job)
{
    return job != BM_JOB_EVALUATE && job != BM_JOB_LOAD;
}
static inline bool type_is_weight_only(bm_quant_type type)
{
    return type == BM_QUANT_WINT8 || type == BM_QUANT_WINT4;
}

#endif
