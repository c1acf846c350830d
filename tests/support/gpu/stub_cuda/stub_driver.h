/* What the two stub libraries share. Neither contains nor needs a header of NVIDIA's: the few constants and structs
 * are declared here and in the .c files, by the binary interface. */
#ifndef STUB_DRIVER_H
#define STUB_DRIVER_H

enum {
    CU_OK = 0,
    CU_INVALID_VALUE = 1,
    CU_OUT_OF_MEMORY = 2,
    CU_NOT_INITIALIZED = 3,
    CU_NO_DEVICE = 100,
    CU_INVALID_DEVICE = 101,
    CU_INVALID_CONTEXT = 201,
    CU_MAP_FAILED = 205,
    CU_NOT_SUPPORTED = 801,
};

#define STUB_PITCH_ALIGNMENT 512
#define STUB_API __attribute__((visibility("default")))

/* Logs one call; CU_OK, or CU_NOT_INITIALIZED before cuInit and in a forked child of a process that called it. */
STUB_API int stub_begin_call(const char *function);

/* The same, and CU_INVALID_CONTEXT where the calling thread has no context. */
STUB_API int stub_begin_call_in_context(const char *function);

#define BEGIN_CALL()                                        \
    do {                                                    \
        int refusal_ = stub_begin_call(__func__);           \
        if (refusal_)                                       \
            return refusal_;                                \
    } while (0)

#define BEGIN_CALL_IN_CONTEXT()                             \
    do {                                                    \
        int refusal_ = stub_begin_call_in_context(__func__); \
        if (refusal_)                                       \
            return refusal_;                                \
    } while (0)

/* Functions that FFmpeg insists on finding but our way through it never calls. */
#define NOT_SUPPORTED(function)                             \
    STUB_API int function(void)                             \
    {                                                       \
        BEGIN_CALL();                                       \
        return CU_NOT_SUPPORTED;                            \
    }

#endif
