// report.html: one page that shows a person what a quantization did. It reads records (the members of bitmill.json) and
// nothing else, so that a page can be made again from any output folder.
#ifndef BM_REPORT_REPORT_H
#define BM_REPORT_REPORT_H

#include "formats/json.h"

// So many tokens an input channel of a linear are enough for a method that watches inputs; fewer are warned of.
#define REPORT_ENOUGH_TOKENS 2
// A larger share of a linear's inputs beyond its largest 8-bit value is warned of.
#define REPORT_MUCH_SATURATED 1e-3

// Appends the page to out: HTML without scripts, styles and pictures inside, so that one file can be sent around.
// record: what bitmill.json holds. A member that is absent, or of another kind than bitmill writes, leaves its part out.
// Errors: BM_E_MEMORY.
bm_status bm_report_write(const bm_json *record, bm_string *out, bm_error *err);

#endif
