/* libcuda.so.1 on paper: torch links against it and calls next to nothing of it. */
#define ANSWERS_ZERO(name) int name(void) { return 0; }
ANSWERS_ZERO(cuCtxSetCurrent)
ANSWERS_ZERO(cuDevicePrimaryCtxRetain)
ANSWERS_ZERO(cuFuncGetAttribute)
ANSWERS_ZERO(cuFuncSetAttribute)
ANSWERS_ZERO(cuFuncSetCacheConfig)
ANSWERS_ZERO(cuGetErrorString)
ANSWERS_ZERO(cuLaunchCooperativeKernel)
ANSWERS_ZERO(cuLaunchKernel)
ANSWERS_ZERO(cuLinkAddData_v2)
ANSWERS_ZERO(cuLinkComplete)
ANSWERS_ZERO(cuLinkCreate_v2)
ANSWERS_ZERO(cuMemAddressFree)
ANSWERS_ZERO(cuMemAddressReserve)
ANSWERS_ZERO(cuMemCreate)
ANSWERS_ZERO(cuMemExportToShareableHandle)
ANSWERS_ZERO(cuMemGetAllocationGranularity)
ANSWERS_ZERO(cuMemImportFromShareableHandle)
ANSWERS_ZERO(cuMemMap)
ANSWERS_ZERO(cuMemRelease)
ANSWERS_ZERO(cuMemSetAccess)
ANSWERS_ZERO(cuMemUnmap)
ANSWERS_ZERO(cuMemsetD32Async)
ANSWERS_ZERO(cuModuleGetFunction)
ANSWERS_ZERO(cuModuleLoad)
ANSWERS_ZERO(cuModuleLoadData)
ANSWERS_ZERO(cuModuleLoadDataEx)
ANSWERS_ZERO(cuModuleUnload)
ANSWERS_ZERO(cuMulticastAddDevice)
ANSWERS_ZERO(cuMulticastBindMem)
ANSWERS_ZERO(cuMulticastCreate)
ANSWERS_ZERO(cuMulticastUnbind)
ANSWERS_ZERO(cuOccupancyMaxActiveBlocksPerMultiprocessor)
ANSWERS_ZERO(cuPointerGetAttribute)
ANSWERS_ZERO(cuStreamWriteValue32)
ANSWERS_ZERO(cuTensorMapEncodeTiled)

int cuCtxGetCurrent(void **context) {
    *context = (void *)8;
    return 0;
}

int cuDeviceGet(int *device, int index) {
    *device = index;
    return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = 1;
    return 0;
}

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    *flags = 0;
    *active = 1;
    return 0;
}
