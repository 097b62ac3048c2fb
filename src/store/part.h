// What rows of the table have in common: names of a linear's tensors, and their bytes.
#ifndef BM_STORE_PART_H
#define BM_STORE_PART_H

#include "store/store.h"

// "model.layers.0.mlp.down_proj.weight_packed", in name.
const char *bm_part_name(const bm_store_linear *linear, const char *suffix, char name[BM_STORE_NAME_SIZE]);
// A tensor that is there: opening the checkpoint has seen it. Errors: BM_E_FORMAT.
bm_status bm_part_find(const bm_checkpoint *checkpoint, const bm_store_linear *linear, const char *suffix,
                       const bm_tensor_info **out, bm_error *err);

// Words of the machine to and from those of a file, in place.
void bm_part_swap_words(uint32_t *words, uint64_t count);

// Values of a scale tensor as float32: count from element first on, checked to be finite.
bm_status bm_part_read_scales(bm_checkpoint *checkpoint, const bm_tensor_info *info, uint64_t first, uint64_t count,
                              float *out, bm_error *err);

// The group of each column, [in_features] int32 in the file.
//   put   writes rows->group_index, or c / group_size where there is none
//   get   reads it: each below the number of groups, or, counted from the end as some writers do, at least minus that.
//         *out is NULL where the columns of each group are neighbours in order; with may_be_unused also where an entry is -1.
//         bm_free it.
bm_status bm_part_put_group_index(bm_checkpoint_writer *writer, const bm_store_linear *linear, const char *suffix,
                                  const bm_store_rows *rows, bm_error *err);
bm_status bm_part_get_group_index(bm_checkpoint *checkpoint, const bm_store_linear *linear, const char *suffix,
                                  bool may_be_unused, uint32_t **out, bm_error *err);

#endif
