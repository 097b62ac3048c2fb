// The linears of a record as the report sees them, and the parts of the page that show them.
//
// A linear's share is its error over the sum over all linears. Of these errors it is the first that every linear of the
// record has: the relative one of its outputs with quantized weights and inputs ("layer_error"), that of its outputs,
// that of its weights. Shares are there only when every linear has an error that is finite and not negative, and one is
// not zero; likewise weights.
#ifndef BM_REPORT_LINEARS_H
#define BM_REPORT_LINEARS_H

#include "report/html.h"

typedef struct report_linear {
    const bm_json *record; // its member of "linears"
    const char *name;      // "model.layers.3.self_attn.q_proj"
    const char *kind;      // what follows the block's number: "self_attn.q_proj"; without a number the whole name
    uint32_t block;        // REPORT_NO_BLOCK: its name has no number
    double share;          // of the error, 0 to 1
    double weights;        // its part of all weights, 0 to 1
} report_linear;
#define REPORT_NO_BLOCK UINT32_MAX

typedef struct report_linears {
    report_linear *items;           // in the record's order; owned
    const report_linear **by_share; // largest share first, equal ones in the record's order; owned
    uint32_t count;
    bool has_shares, has_weights;
    bool of_layers;        // the shares are of "layer_error"
    bool quantizes_inputs; // of a linear at least
    const char *error;     // what they are of: "relative output error", "output error" or "squared error"
    const char *what;      // that as a paragraph
    int percent_digits;    // behind the point: enough for two digits of the mean share
} report_linears;

// calibration.c: what went less well than asked for, in words; and the section on what inputs were watched and what was
// made of them. Nothing of a record without such linears.
void report_warnings_write(const bm_json *record, bm_string *out);
void report_calibration_write(const bm_json *record, bm_string *out);

// The section on linears: which are the worst, the heat map, the table. record: the whole record. Nothing when it has
// no linear with a name.
void report_linears_write(const bm_json *record, bm_string *out);

// worst.c: the linears of the largest shares in words, and the lines that leave them out of the next run.
// skipped: "skip_list_names" of this run, or NULL; those names stay in the lines.
void report_worst_write(const report_linears *linears, const bm_json *skipped, bm_string *out);
// heat_map.c: shares, a row a block, a column a kind of linear. has_shares is true.
void report_heat_map_write(const report_linears *linears, bm_string *out);
// linear_table.c: every linear with all that the record has of it, largest share first, in up to three tables.
void report_linear_table_write(const report_linears *linears, bm_string *out);

#endif
