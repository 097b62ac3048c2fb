// The picture of a run's time.
#ifndef BM_REPORT_TIMELINE_H
#define BM_REPORT_TIMELINE_H

#include "report/html.h"

// "timeline" of the record as a picture; nothing where there is none.
void report_timeline_write(const bm_json *record, bm_string *out);

#endif
