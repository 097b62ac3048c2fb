// The picture of a run's time.
#ifndef BM_REPORT_TIME_CHART_H
#define BM_REPORT_TIME_CHART_H

#include "report/html.h"

// "timeline" of the record as a picture; nothing where there is none.
void report_time_chart_write(const bm_json *record, bm_string *out);

#endif
