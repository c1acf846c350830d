/* A stand-in for NVIDIA's libcuda.so.1, for tests on machines without a GPU.
 *
 * It does what FFmpeg's CUDA code and ctypes callers can observe of a driver: initialisation by process, contexts by
 * thread, memory (of the host) and copies (at once, as if every stream were idle). It runs no kernels.
 *
 * Environment:
 *   STUB_CUDA_LOG=file       append a line "pid function" for each call
 *   STUB_CUDA_NO_DEVICE=1    cuInit returns CUDA_ERROR_NO_DEVICE, as with a driver but no GPU
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stub_driver.h"

typedef int result_t;
typedef int device_t;
typedef uint64_t device_ptr_t;

typedef struct context {
    unsigned flags;
    int is_primary;
    unsigned num_retained; /* of the primary one */
} context_t;

enum { MAX_STACK = 16, ATTRIBUTE_TEXTURE_ALIGNMENT = 14, ATTRIBUTE_MAJOR = 75 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t initialized_by; /* 0 until cuInit; a forked child inherits its parent's */
static context_t primary = {.is_primary = 1};
static __thread context_t *stack[MAX_STACK];
static __thread int depth;

static void log_call(const char *function)
{
    const char *path = getenv("STUB_CUDA_LOG");
    char line[128];
    int file, length;

    if (!path || !*path)
        return;
    file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0)
        return;
    length = snprintf(line, sizeof line, "%d %s\n", (int)getpid(), function);
    if (write(file, line, (size_t)length) != length)
        fprintf(stderr, "stub driver: cannot write to %s\n", path);
    close(file);
}

static int is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value;
}

int stub_begin_call(const char *function)
{
    log_call(function);
    return initialized_by == getpid() ? CU_OK : CU_NOT_INITIALIZED;
}

int stub_begin_call_in_context(const char *function)
{
    int refusal = stub_begin_call(function);
    return refusal ? refusal : depth ? CU_OK : CU_INVALID_CONTEXT;
}

/* Initialisation and devices. */

STUB_API result_t cuInit(unsigned flags)
{
    result_t result = CU_OK;

    log_call(__func__);
    pthread_mutex_lock(&lock);
    if (initialized_by && initialized_by != getpid())
        result = CU_NOT_INITIALIZED; /* the driver's state is the parent's, and cannot be made anew */
    else if (flags)
        result = CU_INVALID_VALUE;
    else if (is_set("STUB_CUDA_NO_DEVICE"))
        result = CU_NO_DEVICE;
    else
        initialized_by = getpid();
    pthread_mutex_unlock(&lock);
    return result;
}

/* These three answer without cuInit, in a forked child too. */

STUB_API result_t cuDriverGetVersion(int *version)
{
    log_call(__func__);
    *version = 13000;
    return CU_OK;
}

static const struct {
    result_t code;
    const char *name, *description;
} ERRORS[] = {
    {CU_OK, "CUDA_SUCCESS", "no error"},
    {CU_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CU_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CU_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CU_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CU_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CU_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CU_MAP_FAILED, "CUDA_ERROR_MAP_FAILED", "mapping of buffer object failed"},
    {CU_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
};

STUB_API result_t cuGetErrorName(result_t code, const char **text)
{
    log_call(__func__);
    *text = NULL;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == code)
            *text = ERRORS[i].name;
    return *text ? CU_OK : CU_INVALID_VALUE;
}

STUB_API result_t cuGetErrorString(result_t code, const char **text)
{
    log_call(__func__);
    *text = NULL;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == code)
            *text = ERRORS[i].description;
    return *text ? CU_OK : CU_INVALID_VALUE;
}

STUB_API result_t cuDeviceGetCount(int *count)
{
    BEGIN_CALL();
    *count = 1;
    return CU_OK;
}

STUB_API result_t cuDeviceGet(device_t *device, int ordinal)
{
    BEGIN_CALL();
    if (ordinal)
        return CU_INVALID_DEVICE;
    *device = 0;
    return CU_OK;
}

STUB_API result_t cuDeviceGetName(char *name, int size, device_t device)
{
    BEGIN_CALL();
    if (device)
        return CU_INVALID_DEVICE;
    snprintf(name, (size_t)size, "Stub device");
    return CU_OK;
}

STUB_API result_t cuDeviceGetAttribute(int *value, int attribute, device_t device)
{
    BEGIN_CALL();
    if (device)
        return CU_INVALID_DEVICE;
    *value = attribute == ATTRIBUTE_TEXTURE_ALIGNMENT ? STUB_PITCH_ALIGNMENT : attribute == ATTRIBUTE_MAJOR ? 9 : 0;
    return CU_OK;
}

STUB_API result_t cuDeviceComputeCapability(int *major, int *minor, device_t device)
{
    BEGIN_CALL();
    if (device)
        return CU_INVALID_DEVICE;
    *major = 9;
    *minor = 0;
    return CU_OK;
}

/* Contexts: one primary, counted; others made and destroyed; a stack of current ones in each thread. */

STUB_API result_t cuDevicePrimaryCtxGetState(device_t device, unsigned *flags, int *is_active)
{
    BEGIN_CALL();
    if (device)
        return CU_INVALID_DEVICE;
    pthread_mutex_lock(&lock);
    *flags = primary.flags;
    *is_active = primary.num_retained > 0;
    pthread_mutex_unlock(&lock);
    return CU_OK;
}

static result_t set_primary_flags(device_t device, unsigned flags)
{
    if (device)
        return CU_INVALID_DEVICE;
    pthread_mutex_lock(&lock);
    primary.flags = flags;
    pthread_mutex_unlock(&lock);
    return CU_OK;
}

static result_t release_primary(device_t device)
{
    result_t result = CU_OK;

    if (device)
        return CU_INVALID_DEVICE;
    pthread_mutex_lock(&lock);
    if (primary.num_retained)
        primary.num_retained--;
    else
        result = CU_INVALID_CONTEXT;
    pthread_mutex_unlock(&lock);
    return result;
}

STUB_API result_t cuDevicePrimaryCtxRetain(context_t **context, device_t device)
{
    BEGIN_CALL();
    if (device)
        return CU_INVALID_DEVICE;
    pthread_mutex_lock(&lock);
    primary.num_retained++;
    pthread_mutex_unlock(&lock);
    *context = &primary;
    return CU_OK;
}

/* Both names of each are exported: callers by ctypes may use the older one. */

STUB_API result_t cuDevicePrimaryCtxSetFlags(device_t device, unsigned flags)
{
    BEGIN_CALL();
    return set_primary_flags(device, flags);
}

STUB_API result_t cuDevicePrimaryCtxSetFlags_v2(device_t device, unsigned flags)
{
    BEGIN_CALL();
    return set_primary_flags(device, flags);
}

STUB_API result_t cuDevicePrimaryCtxRelease(device_t device)
{
    BEGIN_CALL();
    return release_primary(device);
}

STUB_API result_t cuDevicePrimaryCtxRelease_v2(device_t device)
{
    BEGIN_CALL();
    return release_primary(device);
}

static result_t push(context_t *context)
{
    if (!context)
        return CU_INVALID_CONTEXT;
    if (depth == MAX_STACK)
        return CU_OUT_OF_MEMORY;
    stack[depth++] = context;
    return CU_OK;
}

STUB_API result_t cuCtxCreate_v2(context_t **context, unsigned flags, device_t device)
{
    BEGIN_CALL();
    if (device)
        return CU_INVALID_DEVICE;
    *context = calloc(1, sizeof **context);
    if (!*context)
        return CU_OUT_OF_MEMORY;
    (*context)->flags = flags;
    return push(*context);
}

STUB_API result_t cuCtxDestroy_v2(context_t *context)
{
    BEGIN_CALL();
    if (!context || context->is_primary)
        return CU_INVALID_CONTEXT;
    if (depth && stack[depth - 1] == context)
        depth--;
    free(context);
    return CU_OK;
}

STUB_API result_t cuCtxPushCurrent_v2(context_t *context)
{
    BEGIN_CALL();
    return push(context);
}

STUB_API result_t cuCtxPopCurrent_v2(context_t **context)
{
    BEGIN_CALL_IN_CONTEXT();
    depth--;
    if (context)
        *context = stack[depth];
    return CU_OK;
}

STUB_API result_t cuCtxGetCurrent(context_t **context)
{
    BEGIN_CALL();
    *context = depth ? stack[depth - 1] : NULL;
    return CU_OK;
}

STUB_API result_t cuCtxSetCurrent(context_t *context)
{
    BEGIN_CALL();
    if (depth)
        depth--;
    return context ? push(context) : CU_OK;
}

STUB_API result_t cuCtxGetDevice(device_t *device)
{
    BEGIN_CALL_IN_CONTEXT();
    *device = 0;
    return CU_OK;
}

STUB_API result_t cuCtxSynchronize(void)
{
    BEGIN_CALL_IN_CONTEXT();
    return CU_OK;
}

/* Memory: the host's. What was freed is overwritten first, so that reading it late shows. */

typedef struct {
    size_t num_bytes;
    char padding[STUB_PITCH_ALIGNMENT - sizeof(size_t)]; /* keeps what follows aligned */
} allocation_t;

STUB_API result_t cuMemAlloc_v2(device_ptr_t *pointer, size_t num_bytes)
{
    const size_t unit = STUB_PITCH_ALIGNMENT;
    allocation_t *allocation;

    BEGIN_CALL_IN_CONTEXT();
    if (!num_bytes)
        return CU_INVALID_VALUE;
    allocation = aligned_alloc(unit, sizeof *allocation + (num_bytes + unit - 1) / unit * unit);
    if (!allocation)
        return CU_OUT_OF_MEMORY;
    allocation->num_bytes = num_bytes;
    *pointer = (device_ptr_t)(uintptr_t)(allocation + 1);
    return CU_OK;
}

STUB_API result_t cuMemFree_v2(device_ptr_t pointer)
{
    allocation_t *allocation = (allocation_t *)(uintptr_t)pointer - 1;

    BEGIN_CALL_IN_CONTEXT();
    if (!pointer)
        return CU_OK;
    memset(allocation + 1, 0xEE, allocation->num_bytes);
    free(allocation);
    return CU_OK;
}

typedef struct {
    size_t x_in_bytes, y;
    int memory_type; /* 1 host, 2 device, 4 unified */
    void *host;
    device_ptr_t device;
    void *array;
    size_t pitch;
} copy_end_t;

typedef struct {
    copy_end_t source, target;
    size_t width_in_bytes, height;
} copy_2d_t;

enum { MEMORY_HOST = 1, MEMORY_ARRAY = 3 };

static char *first_byte(const copy_end_t *end)
{
    char *base = end->memory_type == MEMORY_HOST ? end->host : (char *)(uintptr_t)end->device;
    return base + end->y * end->pitch + end->x_in_bytes;
}

static result_t copy_2d(const copy_2d_t *copy)
{
    if (copy->source.memory_type == MEMORY_ARRAY || copy->target.memory_type == MEMORY_ARRAY)
        return CU_NOT_SUPPORTED;
    for (size_t row = 0; row < copy->height; row++)
        memcpy(first_byte(&copy->target) + row * copy->target.pitch,
               first_byte(&copy->source) + row * copy->source.pitch, copy->width_in_bytes);
    return CU_OK;
}

STUB_API result_t cuMemcpy2D_v2(const copy_2d_t *copy)
{
    BEGIN_CALL_IN_CONTEXT();
    return copy_2d(copy);
}

STUB_API result_t cuMemcpy2DAsync_v2(const copy_2d_t *copy, void *stream)
{
    BEGIN_CALL_IN_CONTEXT();
    (void)stream;
    return copy_2d(copy);
}

/* Streams and events: handles without work behind them. */

static char no_work;

STUB_API result_t cuStreamCreate(void **stream, unsigned flags)
{
    BEGIN_CALL_IN_CONTEXT();
    (void)flags;
    *stream = &no_work;
    return CU_OK;
}

STUB_API result_t cuEventCreate(void **event, unsigned flags)
{
    BEGIN_CALL_IN_CONTEXT();
    (void)flags;
    *event = &no_work;
    return CU_OK;
}

#define DONE_AT_ONCE(function)                              \
    STUB_API result_t function(void)                        \
    {                                                       \
        BEGIN_CALL_IN_CONTEXT();                            \
        return CU_OK;                                       \
    }

DONE_AT_ONCE(cuStreamSynchronize)
DONE_AT_ONCE(cuStreamQuery)
DONE_AT_ONCE(cuStreamWaitEvent)
DONE_AT_ONCE(cuStreamDestroy_v2)
DONE_AT_ONCE(cuEventRecord)
DONE_AT_ONCE(cuEventQuery)
DONE_AT_ONCE(cuEventSynchronize)
DONE_AT_ONCE(cuEventDestroy_v2)

NOT_SUPPORTED(cuCtxSetLimit)
NOT_SUPPORTED(cuDevicePrimaryCtxReset)
NOT_SUPPORTED(cuMemAllocPitch_v2)
NOT_SUPPORTED(cuMemAllocManaged)
NOT_SUPPORTED(cuMemsetD8Async)
NOT_SUPPORTED(cuStreamAddCallback)
NOT_SUPPORTED(cuLaunchKernel)
NOT_SUPPORTED(cuLinkCreate)
NOT_SUPPORTED(cuLinkAddData)
NOT_SUPPORTED(cuLinkComplete)
NOT_SUPPORTED(cuLinkDestroy)
NOT_SUPPORTED(cuModuleLoadData)
NOT_SUPPORTED(cuModuleUnload)
NOT_SUPPORTED(cuModuleGetFunction)
NOT_SUPPORTED(cuModuleGetGlobal)
NOT_SUPPORTED(cuTexObjectCreate)
NOT_SUPPORTED(cuTexObjectDestroy)
NOT_SUPPORTED(cuGLGetDevices_v2)
NOT_SUPPORTED(cuGraphicsGLRegisterImage)
NOT_SUPPORTED(cuGraphicsUnregisterResource)
NOT_SUPPORTED(cuGraphicsMapResources)
NOT_SUPPORTED(cuGraphicsUnmapResources)
NOT_SUPPORTED(cuGraphicsSubResourceGetMappedArray)
NOT_SUPPORTED(cuGraphicsResourceGetMappedPointer_v2)
NOT_SUPPORTED(cuDeviceGetByPCIBusId)
NOT_SUPPORTED(cuDeviceGetPCIBusId)
NOT_SUPPORTED(cuMemcpy)
NOT_SUPPORTED(cuMemcpyAsync)
NOT_SUPPORTED(cuMemcpyDtoD_v2)
NOT_SUPPORTED(cuMemcpyDtoDAsync_v2)
NOT_SUPPORTED(cuMemcpyDtoH_v2)
NOT_SUPPORTED(cuMemcpyDtoHAsync_v2)
NOT_SUPPORTED(cuMemcpyHtoD_v2)
NOT_SUPPORTED(cuMemcpyHtoDAsync_v2)
NOT_SUPPORTED(cuArrayCreate_v2)
NOT_SUPPORTED(cuArray3DCreate_v2)
NOT_SUPPORTED(cuArrayDestroy)
NOT_SUPPORTED(cuEGLStreamConsumerDisconnect)
NOT_SUPPORTED(cuEGLStreamProducerConnect)
NOT_SUPPORTED(cuEGLStreamProducerDisconnect)
NOT_SUPPORTED(cuEGLStreamProducerPresentFrame)
NOT_SUPPORTED(cuEGLStreamProducerReturnFrame)
