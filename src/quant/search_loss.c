#include "quant/search_loss.h"
bm_status bm_search_loss_create(bm_device*d, const bm_search_loss_params*p, bm_search_loss **out, bm_error*e){(void)d;(void)p;(void)out;return bm_fail(e,BM_E_UNSUPPORTED,"stub");}
void bm_search_loss_destroy(bm_search_loss **o){(void)o;}
bm_status bm_search_loss_run(void *context, const bm_smooth_batch *batch, double *losses, bm_error *err){(void)context;(void)batch;(void)losses;return bm_fail(err,BM_E_UNSUPPORTED,"stub");}
