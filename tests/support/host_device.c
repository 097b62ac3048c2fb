#include "support/host_device.h"

bm_device *device;
bm_error failure;

int open_host(void **state)
{
    (void)state;
    return bm_device_open(&device, &(bm_device_params){.spec = "host"}, &failure) != BM_OK;
}

int close_host(void **state)
{
    (void)state;
    bm_device_close(&device);
    return 0;
}
