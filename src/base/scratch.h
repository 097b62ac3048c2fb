// A file for what this process alone writes and reads back: records, each written and read whole, any number of times.
//
// A disk that reports late, over a network for example, may lose what it has taken, and then zeros or older bytes are read. So room
// is taken before a record is written, where the system can, and what comes back is compared with a checksum of what was put.
#ifndef BM_BASE_SCRATCH_H
#define BM_BASE_SCRATCH_H

#include "base/base.h"

typedef struct bm_scratch bm_scratch;

// The file is the user's alone, and has no name that stays: it is gone when it is closed, also where the process is killed.
// Errors: BM_E_IO, BM_E_MEMORY.
bm_status bm_scratch_create(bm_scratch **out, const char *folder, uint64_t num_records, bm_error *err);
// count records of size bytes each, one behind the other in memory, from record first on; a record keeps its size.
// Errors of put: BM_E_IO, a full disk among them. Of get: BM_E_IO too where a record is not what was put, or never was.
bm_status bm_scratch_put(bm_scratch *scratch, uint64_t first, uint64_t count, const void *bytes, uint64_t size,
                         bm_error *err);
bm_status bm_scratch_get(const bm_scratch *scratch, uint64_t first, uint64_t count, void *out, uint64_t size,
                         bm_error *err);
void bm_scratch_close(bm_scratch **scratch);

#endif
