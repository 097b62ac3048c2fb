// What became of the inputs of linears: the members of "stages" of a record, one a stage of a block.
#ifndef BM_REPORT_STAGES_H
#define BM_REPORT_STAGES_H

#include "report/html.h"

// Stages of a block by their names in a record, and what they are called on the page.
typedef struct report_stage_kind {
    const char *name, *words;
} report_stage_kind;
#define REPORT_NUM_STAGE_KINDS 4
extern const report_stage_kind report_stage_kinds[REPORT_NUM_STAGE_KINDS];

// First and next member of "stages" of that kind; kind NULL: of any. NULL: no more. record: the whole record.
const bm_json *report_stage_first(const bm_json *record, const report_stage_kind *kind);
const bm_json *report_stage_next(const bm_json *stage, const report_stage_kind *kind);
// The observer's largest input "before" or "after"; NAN: it is not there, or 0.
double report_stage_amax(const bm_json *stage, const char *side);
// That over the largest input of a channel, the mean of all: about 1 where all channels reach as far. NAN: not known.
double report_stage_outliers(const bm_json *stage, const char *side);
// The loss of what a search chose over that without scales; NAN: there is none.
double report_stage_loss(const bm_json *stage);

// stages.c: the section. Nothing without stages.
void report_stages_write(const bm_json *record, bm_string *out);
// range_chart.c: ranges of channels before and after, side by side, as parts of what 8 bits hold. Nothing without ranges.
void report_range_chart_write(const bm_json *stage, bm_string *out);
// search_chart.c: losses by candidate, a line a piece; and what each piece got, in words. Nothing without a search.
void report_search_chart_write(const bm_json *stage, bm_string *out);
void report_pieces_write(const bm_json *stage, bm_string *out);
// outlier_chart.c: how far outliers stand out block by block, before and after, a picture a kind of stage. Nothing of
// fewer than three blocks.
void report_outlier_charts_write(const bm_json *record, bm_string *out);

#endif
