// Files of records with checksums.
#include "base/scratch.h"

#include "base/file_system.h"
#include "base/hash.h"

typedef struct scratch_record {
    uint64_t offset, size; // in the file; size 0: it was never put
    uint64_t checksum;
} scratch_record;

struct bm_scratch {
    bm_file *file;
    scratch_record *records;
    uint64_t size; // of the file
};

bm_status bm_scratch_create(bm_scratch **out, const char *folder, uint64_t num_records, bm_error *err)
{
    bm_status status = BM_OK;
    bm_scratch *s = bm_alloc_zero(1, sizeof *s);
    BM_FAIL_IF(!s, err, BM_E_MEMORY, "out of memory");
    s->records = bm_alloc_zero(num_records, sizeof *s->records);
    BM_FAIL_IF(!s->records, err, BM_E_MEMORY, "out of memory");
    BM_TRY(bm_system_open_scratch(&s->file, folder, err));
    *out = s;
    s = NULL;
done:
    bm_scratch_close(&s);
    return status;
}

static bm_status put(bm_scratch *s, scratch_record *record, const void *bytes, uint64_t size, bm_error *err)
{
    if (record->size != size) {
        const bm_status status = bm_system_reserve(s->file, s->size, size, err);
        if (status != BM_OK)
            return status;
        *record = (scratch_record){.offset = s->size, .size = size};
        s->size += size;
    }
    record->checksum = bm_checksum64(bytes, size);
    return bm_system_write_at(s->file, record->offset, bytes, size, err);
}

bm_status bm_scratch_put(bm_scratch *s, uint64_t first, uint64_t count, const void *bytes, uint64_t size, bm_error *err)
{
    const uint8_t *from = bytes;
    bm_status status = BM_OK;
    for (uint64_t i = 0; i < count && status == BM_OK; i++)
        status = put(s, &s->records[first + i], from + i * size, size, err);
    return status;
}

static bm_status get(const bm_scratch *s, const scratch_record *record, void *out, uint64_t size, bm_error *err)
{
    if (record->size != size)
        return bm_fail(err, BM_E_INTERNAL, "a record of a scratch file has %llu bytes, expected %llu",
                       (unsigned long long)record->size, (unsigned long long)size);
    const bm_status status = bm_file_read_at(s->file, record->offset, out, size, err);
    if (status != BM_OK || bm_checksum64(out, size) == record->checksum)
        return status;
    return bm_fail(err, BM_E_IO, "%s: the disk has lost what was written: bytes %llu to %llu are read back as others",
                   bm_file_path(s->file), (unsigned long long)record->offset,
                   (unsigned long long)(record->offset + size - 1));
}

bm_status bm_scratch_get(const bm_scratch *s, uint64_t first, uint64_t count, void *out, uint64_t size, bm_error *err)
{
    uint8_t *to = out;
    bm_status status = BM_OK;
    for (uint64_t i = 0; i < count && status == BM_OK; i++)
        status = get(s, &s->records[first + i], to + i * size, size, err);
    return status;
}

void bm_scratch_close(bm_scratch **scratch)
{
    if (!scratch || !*scratch)
        return;
    bm_file_close(&(*scratch)->file);
    bm_free((*scratch)->records);
    bm_free(*scratch);
    *scratch = NULL;
}
