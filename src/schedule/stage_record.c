// Records of stages.
#include "schedule/stage_record.h"

void bm_stage_record_free(bm_stage_record *record)
{
    bm_smooth_record_free(&record->search);
    *record = (bm_stage_record){0};
}
