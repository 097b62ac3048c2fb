// The picture of a run's time.
#ifndef BM_REPORT_TIME_CHART_H
#define BM_REPORT_TIME_CHART_H

#include "report/html.h"

// The colour of a phase by its place in the table of phases; that of waiting is grey. The hues are told apart beside each other,
// half light: light and dark screens show them.
void report_phase_fill(bm_string *out, const char *name, uint32_t index);
// "timeline" of the record as a picture; nothing where there is none.
void report_time_chart_write(const bm_json *record, bm_string *out);

#endif
